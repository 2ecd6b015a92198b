/* Which ports the kernel's rules hand to somebody, on what a kernel said (test/nat/, made by record.py from *.nft and
 * from calls of iptables). ipvs.in is a reconstruction of the kernel's format.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nat/sample.h"

static struct np_text slurp(struct np_arena *arena, const char *name)
{
    enum { LIMIT = 65536 };
    FILE *file = fopen(np_sprintf(arena, "%s/nat/%s.in", TEST_DIR, name), "rb");
    assert_non_null(file);
    char *bytes = np_alloc(arena, LIMIT);
    const size_t n = fread(bytes, 1, LIMIT, file);
    assert_true(n < LIMIT && !ferror(file));
    fclose(file);
    return (struct np_text){bytes, n};
}

static const char *row_text(struct np_arena *arena, const struct np_nat_row *row)
{
    static const char *const protocols[] = {"none", "tcp", "udp", "both"};
    return np_sprintf(arena, "%u-%u %s%s%s%s %s | %s\n", row->ports.first, row->ports.last, protocols[row->protocol],
                      row->conditional ? " perhaps" : "", row->address ? " on " : "", row->address ? row->address : "",
                      row->holder ? row->holder : "-", row->detail);
}

static const char *all(struct np_arena *arena, const char *name)
{
    struct np_nat_rules rules = {.arena = arena};
    struct np_buf out = {.arena = arena};
    assert_true(nat_sample_read(&rules, slurp(arena, name)));
    np_buf_puts(&out, "");
    for (size_t i = 0; i < rules.n_rows; i++)
        np_buf_puts(&out, row_text(arena, &rules.rows[i]));
    return out.ptr;
}

/* Those of a sample that make programs of this machine, 10.0.0.1, unreachable. */
static void assert_hijacks(const char *name, const char *expected)
{
    static const struct np_nat_address own = {{10, 0, 0, 1}, 4};
    struct np_arena *arena = np_arena_new();
    struct np_nat_rules rules = {.arena = arena, .thorough = true, .own = &own, .n_own = 1};
    struct np_buf out = {.arena = arena};
    assert_true(nat_sample_read(&rules, slurp(arena, name)));
    np_buf_puts(&out, "");
    for (size_t i = 0; i < rules.n_rows; i++)
        if (rules.rows[i].hijacks)
            np_buf_printf(&out, "%u-%u at %s to %u | %s\n", rules.rows[i].ports.first, rules.rows[i].ports.last,
                          rules.rows[i].reach ? rules.rows[i].reach : "every address", rules.rows[i].ends,
                          rules.rows[i].detail);
    assert_string_equal(out.ptr, expected);
    np_arena_free(arena);
}

static void assert_rows(const char *name, const char *expected)
{
    struct np_arena *arena = np_arena_new();
    assert_string_equal(all(arena, name), expected);
    np_arena_free(arena);
}

static void every_form_of_nf_tables_names_its_ports(void **state)
{
    (void)state;
    assert_rows("forms", "0-0 both DNAT to 10.0.0.77 | forms hosts, every port\n"
                         "49011-49011 tcp chain shop | forms pre\n"
                         "49010-49010 tcp chain shop | forms pre\n"
                         "49020-49020 tcp DNAT to 10.0.0.2:80 | forms pre\n"
                         "49022-49022 tcp DNAT to 10.0.0.4 | forms pre\n"
                         "49025-49027 tcp DNAT to 10.0.0.5 | forms pre\n"
                         "49028-49029 tcp DNAT to 10.0.0.6 | forms pre\n"
                         "49030-49030 tcp DNAT to 10.0.0.2:80 | forms pre\n"
                         "49040-49050 tcp DNAT to 10.0.0.2:80 | forms pre\n"
                         "49060-49070 tcp DNAT to 10.0.0.2:80 | forms pre: hello\n"
                         "49080-49080 udp REDIRECT to :80 | forms pre\n"
                         "49100-49110 tcp DNAT to 10.0.0.2 | forms pre\n"
                         "49120-49120 udp DNAT to 10.0.0.2 | forms pre\n"
                         "49130-49130 tcp DNAT to 10.0.0.2 | forms pre\n"
                         "0-0 tcp REDIRECT to :8080 | forms pre, nearly every port\n"
                         "65000-65535 tcp REDIRECT to :8080 | forms pre\n"
                         "49091-49091 both REDIRECT to :9 | forms pre\n"
                         "40960-41215 tcp REDIRECT to :9 | forms pre\n"
                         "49092-49092 tcp REDIRECT to :9 | forms pre\n"
                         "0-0 tcp REDIRECT to :99 | forms pre, ports 1024-65535\n"
                         "49093-49093 tcp REDIRECT to :9 | forms pre\n"
                         "49094-49094 udp REDIRECT to :9 | forms pre\n"
                         "49095-49095 tcp REDIRECT to :9 | forms pre\n"
                         "49096-49096 tcp - | forms pre\n"
                         "22-22 tcp perhaps - | forms pre\n"
                         "49097-49097 tcp perhaps - | forms pre\n"
                         "49098-49098 tcp chain shop | forms pre\n"
                         "49099-49099 tcp - | forms pre\n"
                         "49150-49150 tcp DNAT to [fd00::2]:80 | both pre (inet)\n");
}

static void many_ports_at_once_are_named_or_told(void **state)
{
    (void)state;
    assert_rows("many", "0-0 tcp REDIRECT to :80 | many web, every port\n"
                        "0-0 tcp REDIRECT to :81 | many rest, nearly every port\n"
                        "0-0 both DNAT to 10.0.0.77 | many hosts, every port\n"
                        "49008-49023 tcp REDIRECT to :9 | many pre\n"
                        "49056-49087 tcp perhaps REDIRECT to :9 | many pre\n"
                        "49000-49007 tcp DNAT to 10.0.0.2 | many pre\n"
                        "49024-49031 tcp chain web | many pre\n"
                        "65000-65535 tcp perhaps REDIRECT to :9 | many pre\n"
                        "48640-48895 tcp REDIRECT to :9 | many pre\n"
                        "49300-49300 tcp DNAT to 10.0.0.3:80 | many pre\n"
                        "49302-49302 tcp DNAT to 10.0.0.3:80 | many pre\n"
                        "49300-49300 udp REDIRECT to :9 | many pre\n"
                        "49302-49302 udp REDIRECT to :9 | many pre\n"
                        "49320-49320 tcp - | many pre\n"
                        "49330-49330 udp DNAT to 10.0.0.5 | many pre\n"
                        "0-0 udp perhaps DNAT to 10.0.0.6 | many pre, every port\n"
                        "0-0 tcp REDIRECT to :9 | many pre, nearly every port\n");
}

static void what_iptables_writes_into_nf_tables_is_read(void **state)
{
    (void)state;
    assert_rows("iptables", "49200-49200 tcp DNAT to 172.17.0.2:80 | nat PREROUTING\n"
                            "49201-49210 udp REDIRECT to :80 | nat PREROUTING: web\n"
                            "49220-49220 tcp DNAT to 172.17.0.2 | nat PREROUTING\n"
                            "49230-49240 tcp DNAT to 172.17.0.2 | nat PREROUTING\n"
                            "49280-49280 tcp chain KUBE-SEP | nat PREROUTING\n"
                            "49290-49290 tcp perhaps - | nat PREROUTING\n"
                            "0-0 both DNAT to 10.0.0.10 | nat OUTPUT, every port\n"
                            "49260-49260 tcp TPROXY to :5000 | mangle PREROUTING\n"
                            "49250-49250 tcp DNAT to [fd00::2]:80 | nat PREROUTING (ip6)\n"
                            "49340-49349 udp REDIRECT to :80 | nat PREROUTING (ip6): six\n");
}

static void the_older_tables_say_the_same(void **state)
{
    (void)state;
    assert_rows("legacy", "49200-49200 tcp DNAT to 172.17.0.2:80 | nat PREROUTING\n"
                          "49201-49210 udp REDIRECT to :80 | nat PREROUTING: web\n"
                          "49220-49220 tcp DNAT to 172.17.0.2 | nat PREROUTING\n"
                          "49230-49240 tcp DNAT to 172.17.0.2 | nat PREROUTING\n"
                          "49280-49280 tcp chain KUBE-SEP | nat PREROUTING\n"
                          "49290-49290 tcp perhaps - | nat PREROUTING\n"
                          "0-0 both DNAT to 10.0.0.10 | nat OUTPUT, every port\n");
}

static void the_older_tables_of_ipv6_are_read(void **state)
{
    (void)state;
    assert_rows("legacy6", "49250-49250 tcp DNAT to [fd00::2]:80 | nat PREROUTING (ip6)\n"
                           "49340-49349 udp REDIRECT to :80 | nat PREROUTING (ip6): six\n");
}

static void virtual_services_of_ipvs_are_read(void **state)
{
    (void)state;
    assert_rows("ipvs", "49000-49000 tcp on 192.168.0.1 IPVS to 10.0.0.2:8080 | virtual service\n"
                        "53-53 udp on 192.168.0.1 IPVS | virtual service\n"
                        "49001-49001 tcp on [2001:0db8:0000:0000:0000:0000:0000:0001] IPVS to "
                        "[fd00:0000:0000:0000:0000:0000:0000:0002]:80 | virtual service\n"
                        "0-0 tcp on 192.168.0.2 IPVS | virtual service, every port\n"
                        "0-0 both IPVS | virtual service of a firewall mark\n");
}

static void rules_that_make_a_program_unreachable_say_which_they_are(void **state)
{
    (void)state;
    assert_hijacks("forms", "49011-49011 at 0.0.0.0 to 0 | forms pre handle 12\n"
                            "49010-49010 at 0.0.0.0 to 0 | forms pre handle 12\n"
                            "49020-49020 at 0.0.0.0 to 0 | forms pre handle 13\n"
                            "49022-49022 at 0.0.0.0 to 0 | forms pre handle 15\n"
                            "49025-49027 at 0.0.0.0 to 0 | forms pre handle 15\n"
                            "49028-49029 at 0.0.0.0 to 0 | forms pre handle 15\n"
                            "49030-49030 at 0.0.0.0 to 0 | forms pre handle 17\n"
                            "49040-49050 at 0.0.0.0 to 0 | forms pre handle 17\n"
                            "49060-49070 at 0.0.0.0 to 0 | forms pre handle 18: hello\n"
                            "49080-49080 at 0.0.0.0 to 80 | forms pre handle 19\n"
                            "49100-49110 at 0.0.0.0 to 0 | forms pre handle 20\n"
                            "49120-49120 at 0.0.0.0 to 0 | forms pre handle 20\n"
                            "65000-65535 at 0.0.0.0 to 8080 | forms pre handle 23\n"
                            "49091-49091 at 0.0.0.0 to 9 | forms pre handle 25\n"
                            "40960-41215 at 0.0.0.0 to 9 | forms pre handle 26\n"
                            "49093-49093 at 0.0.0.0 to 9 | forms pre handle 29\n"
                            "49094-49094 at 0.0.0.0 to 9 | forms pre handle 30\n"
                            "49095-49095 at 0.0.0.0 to 9 | forms pre handle 31\n"
                            "49150-49150 at [::] to 0 | both pre handle 3 (inet)\n");
    assert_hijacks("many", "49008-49023 at 0.0.0.0 to 9 | many pre handle 10\n"
                           "49000-49007 at 0.0.0.0 to 0 | many pre handle 12\n"
                           "49300-49300 at 0.0.0.0 to 0 | many pre handle 18\n"
                           "49302-49302 at 0.0.0.0 to 0 | many pre handle 18\n"
                           "49300-49300 at 0.0.0.0 to 9 | many pre handle 20\n"
                           "49302-49302 at 0.0.0.0 to 9 | many pre handle 20\n");
    assert_hijacks("iptables", "49200-49200 at 0.0.0.0 to 0 | nat PREROUTING handle 2\n"
                               "49201-49210 at 0.0.0.0 to 80 | nat PREROUTING handle 3: web\n"
                               "49220-49220 at 0.0.0.0 to 0 | nat PREROUTING handle 4\n"
                               "49230-49240 at 0.0.0.0 to 0 | nat PREROUTING handle 4\n"
                               "49280-49280 at 0.0.0.0 to 0 | nat PREROUTING handle 6\n"
                               "49250-49250 at [::] to 0 | nat PREROUTING handle 2 (ip6)\n"
                               "49340-49349 at [::] to 80 | nat PREROUTING handle 3 (ip6): six\n");
    assert_hijacks("legacy", "49200-49200 at 0.0.0.0 to 0 | nat PREROUTING rule 1\n"
                             "49201-49210 at 0.0.0.0 to 80 | nat PREROUTING rule 2: web\n"
                             "49220-49220 at 0.0.0.0 to 0 | nat PREROUTING rule 3\n"
                             "49230-49240 at 0.0.0.0 to 0 | nat PREROUTING rule 3\n"
                             "49280-49280 at 0.0.0.0 to 0 | nat PREROUTING rule 4\n");
    assert_hijacks("legacy6", "49250-49250 at [::] to 0 | nat PREROUTING rule 1 (ip6)\n"
                              "49340-49349 at [::] to 80 | nat PREROUTING rule 2 (ip6): six\n");
}

/* A copy of exactly that size, so that a sanitizer notices a byte read behind it. */
static bool reads(const char *bytes, size_t n)
{
    struct np_arena *arena = np_arena_new();
    struct np_nat_rules rules = {.arena = arena};
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    const bool good = nat_sample_read(&rules, (struct np_text){copy, n});
    free(copy);
    np_arena_free(arena);
    return good;
}

static void an_answer_that_was_cut_short_or_garbled_does_no_harm(void **state)
{
    static const char *const names[] = {"forms", "many", "iptables", "legacy", "legacy6", "ipvs"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct np_arena *arena = np_arena_new();
        const struct np_text whole = slurp(arena, names[i]);
        char *garbled = np_alloc(arena, whole.len);
        for (size_t n = 0; n < whole.len; n += 7)
            reads(whole.ptr, n);
        for (size_t n = 0; n < whole.len; n += 5) {
            memcpy(garbled, whole.ptr, whole.len);
            garbled[n] = (char)~garbled[n];
            reads(garbled, whole.len);
        }
        np_arena_free(arena);
    }
}

static void half_a_table_is_no_table(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const struct np_text legacy = slurp(arena, "legacy"), ipvs = slurp(arena, "ipvs");
    assert_true(reads(legacy.ptr, legacy.len));
    assert_false(reads(legacy.ptr, legacy.len - 1));
    assert_false(reads("n\x14\0\0\0\6\x0a\0\0", 9));
    assert_true(reads(ipvs.ptr, ipvs.len));
    static const char bad[] = "vhead\nhead\n  -> head\nTCP  C0A80001:BF6 rr\n";
    assert_false(reads(bad, strlen(bad)));
    np_arena_free(arena);
}

/* The rules of two answers that do not belong together would be half of each. */
static void rules_that_change_meanwhile_are_asked_for_again(void **state)
{
    enum { GENERATION = 16 + 2 }; /* behind the head of the message */
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_nat_rules rules = {.arena = arena};
    struct np_text forms = slurp(arena, "forms");
    struct np_nft *nft = np_nft_new(&rules);
    bool done;
    forms.ptr++, forms.len--;
    assert_int_equal(np_nft_take(nft, forms.ptr, forms.len, &done), 0);
    char *later = np_alloc(arena, forms.len);
    memcpy(later, forms.ptr, forms.len);
    later[GENERATION + 1]++;
    assert_int_not_equal(np_nft_take(nft, later, forms.len, &done), 0);
    np_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_nf_tables_names_its_ports),
        cmocka_unit_test(many_ports_at_once_are_named_or_told),
        cmocka_unit_test(what_iptables_writes_into_nf_tables_is_read),
        cmocka_unit_test(the_older_tables_say_the_same),
        cmocka_unit_test(the_older_tables_of_ipv6_are_read),
        cmocka_unit_test(virtual_services_of_ipvs_are_read),
        cmocka_unit_test(rules_that_make_a_program_unreachable_say_which_they_are),
        cmocka_unit_test(an_answer_that_was_cut_short_or_garbled_does_no_harm),
        cmocka_unit_test(half_a_table_is_no_table),
        cmocka_unit_test(rules_that_change_meanwhile_are_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
