/* The writers: each promise of doc/formats.md as bytes.
 * SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "output/kept.h"
#include "output/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <expat.h>

#define NOV_23 INT64_C(1795442700) /* 2026-11-23 14:05 UTC */
#define MESSAGE "##octopus[setVariable name='UG9ydA==' value='NDkwMDM=']\n"
#define VERBOSE "##octopus[stdout-verbose]\n"
#define DEFAULT "##octopus[stdout-default]\n"

static struct np_arena *arena;

static int open_arena(void **state)
{
    (void)state;
    arena = np_arena_new();
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    np_arena_free(arena);
    return 0;
}

static const struct nextport_granted one_port[] = {
    {.name = "Port", .port = 49003, .lease_id = 12, .expires = NOV_23, .socket = -1}};
static const struct nextport_reject two_rejects[] = {
    {49000, 49001, 2, NEXTPORT_CONFIGURED, "iis", "Shop"},
    {49002, 49002, 1, NEXTPORT_SOCKET, "probe", NULL},
};
static const struct nextport_sighting half_seen[] = {
    {"probe", NEXTPORT_SEEN, NEXTPORT_REQUIRE, NULL, NULL},
    {"iis", NEXTPORT_PARTIAL, NEXTPORT_WARN, "line 7: malformed", "Mend the file."},
};

static struct nextport_result granted(void)
{
    return (struct nextport_result){.what = NEXTPORT_ANSWER_NEXT,
                                    .host = "srv1",
                                    .changed = true,
                                    .ports = one_port,
                                    .n_ports = 1,
                                    .rejected = two_rejects,
                                    .n_rejected = 2};
}

static const struct nextport_style usual = NEXTPORT_STYLE_INIT;

static struct np_page new_page(const struct nextport_style *style)
{
    struct np_page page = {.style = style, .host = "srv1", .arena = arena};
    page.out.arena = page.log.arena = arena;
    np_buf_puts(&page.out, "");
    np_buf_puts(&page.log, "");
    return page;
}

static struct np_page written(const char *format, const struct nextport_style *style, const struct nextport_result *res)
{
    struct np_page page = new_page(style);
    np_writer_find(format)->write(&page, res);
    return page;
}

static struct np_page failed(const char *format, const struct nextport_style *style, const struct nextport_error *err,
                             const struct nextport_result *partial)
{
    struct np_page page = new_page(style);
    (np_writer_find(format)->fail)(&page, err, partial); /* cmocka has a macro fail() */
    return page;
}

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* ---- summary ---- */

static void times_are_utc_and_follow_the_calendar(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {0, "1970-01-01 00:00"},          {NOV_23, "2026-11-23 14:05"},
        {951782399, "2000-02-28 23:59"},  {951782400, "2000-02-29 00:00"},
        {951868800, "2000-03-01 00:00"},  {-1, "1969-12-31 23:59"},
        {4107542400, "2100-03-01 00:00"}, {4107542399, "2100-02-28 23:59"},
        {1798761599, "2026-12-31 23:59"}, {-62135596800, "0001-01-01 00:00"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(np_time_text(arena, cases[i].seconds), cases[i].text);
}

static void a_cut_keeps_whole_characters_and_the_bound(void **state)
{
    (void)state;
    assert_string_equal(np_elide(arena, "short", 5, false, false), "short");
    assert_string_equal(np_elide(arena, "a long name", 8, false, false), "a lon...");
    assert_string_equal(np_elide(arena, "/etc/iis/site.config:12", 10, false, true), "...nfig:12");
    assert_string_equal(np_elide(arena, "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", 3, true, false),
                        "\xc3\xa4\xc3\xb6\xe2\x80\xa6");
    assert_string_equal(np_elide(arena, "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", 3, true, true),
                        "\xe2\x80\xa6\xc3\xbc\xc3\x9f");
}

static void the_summary_says_what_was_chosen_and_what_was_passed_over(void **state)
{
    struct nextport_result res = granted();
    (void)state;
    assert_string_equal(np_summary(arena, &res),
                        "srv1: port 49003 for Port, fresh, pending until 2026-11-23 14:05 UTC; "
                        "passed over 49000-49001 (iis: Shop), 49002 (in use)");
}

static void the_summary_of_a_dry_run_promises_nothing(void **state)
{
    struct nextport_result res = granted();
    (void)state;
    res.dry_run = true;
    res.n_rejected = 0;
    assert_string_equal(np_summary(arena, &res), "srv1: port 49003 for Port would be given, fresh; dry run, no lease");
}

static void the_summary_stays_short_however_much_there_is_to_say(void **state)
{
    char huge[4000];
    struct nextport_reject rejects[100];
    struct nextport_granted ports[50];
    struct nextport_result res = granted();
    (void)state;
    memset(huge, 'x', sizeof huge);
    huge[sizeof huge - 1] = '\0';
    for (unsigned i = 0; i < 100; i++)
        rejects[i] = (struct nextport_reject){
            (uint16_t)(49000 + 2 * i), (uint16_t)(49000 + 2 * i), 1, NEXTPORT_CONFIGURED, "iis", huge};
    for (unsigned i = 0; i < 50; i++)
        ports[i] =
            (struct nextport_granted){.name = huge, .port = (uint16_t)(50000 + i), .lease_id = i, .expires = NOV_23};
    res.rejected = rejects, res.n_rejected = 100, res.rejected_rest = 900;
    res.ports = ports, res.n_ports = 50;
    const char *text = np_summary(arena, &res);
    assert_true(strlen(text) < 512);
    res.owner = huge, ports[0].why = huge;
    assert_true(strlen(np_summary(arena, &res)) < 640);
    assert_true(has(text, " and 46 more up to 50049, fresh, "));
    assert_true(has(text, " and 997 more"));
}

static void a_run_with_gaps_is_counted(void **state)
{
    struct nextport_reject gappy = {49000, 49100, 12, NEXTPORT_SOCKET, "sockets", NULL};
    struct nextport_reject leased = {49101, 49101, 1, NEXTPORT_LEASED, "ledger", "Port"};
    struct nextport_reject os = {49102, 49102, 1, NEXTPORT_RESERVED, "os", NULL};
    (void)state;
    assert_string_equal(np_reject_text(arena, &gappy), "12 of 49000-49100 (in use)");
    assert_string_equal(np_reject_text(arena, &leased), "49101 (leased: Port)");
    assert_string_equal(np_reject_text(arena, &os), "49102 (os: reserved)");
}

/* ---- plain ---- */

static void plain_is_the_number_and_a_newline(void **state)
{
    struct nextport_result res = granted();
    struct np_page page = written("plain", &usual, &res);
    (void)state;
    assert_string_equal(page.out.ptr, "49003\n");
    assert_string_equal(page.log.ptr, "nextport: srv1: port 49003 for Port, fresh, pending until 2026-11-23 14:05 UTC; "
                                      "passed over 49000-49001 (iis: Shop), 49002 (in use)\n");
}

static void plain_gives_one_line_for_each_port_and_no_last_newline_on_request(void **state)
{
    static const struct nextport_granted ports[] = {{.name = "A", .port = 1, .expires = 1},
                                                    {.name = "B", .port = 65535, .expires = 1}};
    struct nextport_result res = granted();
    struct nextport_style bare = NEXTPORT_STYLE_INIT;
    (void)state;
    bare.no_newline = true;
    res.ports = ports, res.n_ports = 2;
    assert_string_equal(written("plain", &usual, &res).out.ptr, "1\n65535\n");
    assert_string_equal(written("plain", &bare, &res).out.ptr, "1\n65535");
}

static void quiet_leaves_errors_only(void **state)
{
    static const struct nextport_note notes[] = {{NEXTPORT_WARNING, "w"}, {NEXTPORT_INFO, "i"}};
    struct nextport_result res = granted();
    struct nextport_style quiet = NEXTPORT_STYLE_INIT;
    struct nextport_error err = {NEXTPORT_FULL, "no free port", "Widen it."};
    (void)state;
    quiet.verbosity = -1;
    res.notes = notes, res.n_notes = 2;
    assert_string_equal(written("plain", &quiet, &res).log.ptr, "");
    assert_string_equal(written("json", &quiet, &res).log.ptr, "");
    assert_string_equal(written("octopus", &quiet, &res).out.ptr, MESSAGE);
    assert_string_equal(failed("plain", &quiet, &err, &res).log.ptr,
                        "nextport: no free port\nnextport: hint: Widen it.\n");
}

static void notes_appear_by_their_level(void **state)
{
    static const struct nextport_note notes[] = {
        {NEXTPORT_WARNING, "care"}, {NEXTPORT_INFO, "news"}, {NEXTPORT_VERBOSE, "chatter"}};
    struct nextport_result res = granted();
    struct nextport_style verbose = NEXTPORT_STYLE_INIT;
    (void)state;
    verbose.verbosity = 1;
    res.notes = notes, res.n_notes = 3;
    const char *usually = written("plain", &usual, &res).log.ptr;
    assert_true(has(usually, "nextport: warning: care\n") && has(usually, "nextport: news\n"));
    assert_false(has(usually, "chatter"));
    const char *verbosely = written("plain", &verbose, &res).log.ptr;
    assert_true(has(verbosely, "nextport: chatter\n"));
    assert_true(has(verbosely, "nextport: passed over 49000-49001 (iis: Shop)\n"));
}

static void what_was_not_seen_is_a_warning(void **state)
{
    struct nextport_result res = granted();
    (void)state;
    res.sources = half_seen, res.n_sources = 2;
    static const char line[] = "nextport: warning: not fully seen: iis (partial: line 7: malformed). Mend the file.\n";
    assert_true(has(written("plain", &usual, &res).log.ptr, line));
    assert_string_equal(written("json", &usual, &res).log.ptr, line);
    assert_true(has(written("octopus", &usual, &res).out.ptr, line));
    const struct nextport_sighting two[] = {half_seen[1],
                                            {"nat", NEXTPORT_PARTIAL, NEXTPORT_WARN, "denied", "Be root."}};
    res.sources = two;
    assert_true(has(written("plain", &usual, &res).log.ptr,
                    "nextport: warning: not fully seen: iis (partial: line 7: malformed), nat (partial: denied); "
                    "'nextport doctor' says how to see it\n"));
}

static void a_failure_leaves_standard_output_empty(void **state)
{
    struct nextport_error err = {NEXTPORT_RETRY, "lock x: held", ""};
    struct np_page page = failed("plain", &usual, &err, NULL);
    (void)state;
    assert_string_equal(page.out.ptr, "");
    assert_string_equal(page.log.ptr, "nextport: lock x: held\n");
}

static void no_foreign_text_can_begin_a_line_or_a_command(void **state)
{
    static const struct nextport_reject hostile[] = {
        {49000, 49000, 1, NEXTPORT_CONFIGURED, "iis", "x\n##octopus[setVariable name='QQ==' value='MQ==']\r\033[31m"}};
    static const struct nextport_note notes[] = {{NEXTPORT_WARNING, "site a\n##vso[x]"},
                                                 {NEXTPORT_VERBOSE, "b\r##teamcity[y"}};
    struct nextport_result res = granted();
    (void)state;
    res.rejected = hostile, res.n_rejected = 1;
    res.notes = notes, res.n_notes = 2;
    const char *out = written("octopus", &usual, &res).out.ptr;
    for (const char *p = out; (p = strstr(p, "##")); p += 2) {
        assert_true(p == out || p[-1] == '\n');
        assert_true(strncmp(p, MESSAGE, strlen(MESSAGE)) == 0 || strncmp(p, "##octopus[stdout-", 17) == 0);
    }
    for (const char *p = out; *p; p++)
        assert_true(*p == '\n' || (*p >= ' ' && *p < 0x7f));
}

/* ---- octopus ---- */

static void octopus_sets_the_variable_by_exactly_one_line(void **state)
{
    struct nextport_result res = granted();
    struct np_page page = written("octopus", &usual, &res);
    (void)state;
    assert_string_equal(page.out.ptr,
                        VERBOSE "nextport: passed over 49000-49001 (iis: Shop)\n"
                                "nextport: passed over 49002 (in use)\n" DEFAULT
                                "nextport: srv1: port 49003 for Port, fresh, pending until 2026-11-23 14:05 UTC; "
                                "passed over 49000-49001 (iis: Shop), 49002 (in use)\n" MESSAGE);
    assert_string_equal(page.log.ptr, "");
}

static void octopus_pads_base64(void **state)
{
    static const struct {
        const char *name, *base64;
    } cases[] = {
        {"P", "UA=="},        {"Po", "UG8="},        {"Por", "UG9y"},
        {"Port", "UG9ydA=="}, {"\xc3\xbf?", "w78/"}, {"\xf3\xb0\xbe\xbe", "87C+vg=="},
        {"\xc3\xa4", "w6Q="},
    };
    struct nextport_style quiet = NEXTPORT_STYLE_INIT;
    (void)state;
    quiet.verbosity = -1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nextport_granted port = {.name = cases[i].name, .port = 80, .lease_id = 1, .expires = 1};
        struct nextport_result res = granted();
        res.ports = &port;
        assert_string_equal(written("octopus", &quiet, &res).out.ptr,
                            np_sprintf(arena, "##octopus[setVariable name='%s' value='ODA=']\n", cases[i].base64));
    }
}

static void octopus_puts_warnings_at_their_level_on_standard_output(void **state)
{
    static const struct nextport_note notes[] = {{NEXTPORT_WARNING, "caf\xc3\xa9"}};
    struct nextport_result res = granted();
    (void)state;
    res.n_rejected = 0;
    res.notes = notes, res.n_notes = 1;
    struct np_page page = written("octopus", &usual, &res);
    assert_true(has(page.out.ptr, "##octopus[stdout-warning]\nnextport: warning: caf\\xc3\\xa9\n" DEFAULT));
    assert_string_equal(page.log.ptr, "");
}

static void octopus_sets_nothing_in_a_dry_run(void **state)
{
    struct nextport_result res = granted();
    (void)state;
    res.dry_run = true;
    const char *out = written("octopus", &usual, &res).out.ptr;
    assert_false(has(out, "setVariable"));
    assert_true(has(out, "would be given"));
}

static void octopus_fails_with_a_result_message_and_no_variable(void **state)
{
    struct nextport_error err = {NEXTPORT_BLIND, "a\nb", "Do it."};
    struct nextport_result partial = granted();
    struct np_page page = failed("octopus", &usual, &err, &partial);
    (void)state;
    /* "nextport on srv1: a\x0ab. Do it." */
    assert_true(has(page.out.ptr, "##octopus[stdout-error]\nnextport: a\\x0ab\nnextport: hint: Do it.\n" DEFAULT
                                  "##octopus[resultMessage message='bmV4dHBvcnQgb24gc3J2MTogYVx4MGFiLiBEbyBpdC4=']\n"));
    assert_false(has(page.out.ptr, "setVariable"));
    assert_string_equal(page.log.ptr, "");
}

static void octopus_refuses_names_it_could_not_keep(void **state)
{
    char longest[202];
    const struct np_writer *octopus = np_writer_find("octopus");
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    static const char *const bad[] = {"", " Port", "Port ", "a\nb", "a\x7f", "\xc3", "a\xc2\x85", "\t", "\xff"};
    static const char *const good[] = {"Port", "My Port", "\xc3\xa4", "a'b\"]<&", "##octopus["};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(octopus->check_name(bad[i], &err), NEXTPORT_INPUT);
        assert_true(err.text[0] && err.hint[0]);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(octopus->check_name(good[i], &err), NEXTPORT_OK);
    memset(longest, 'x', sizeof longest);
    longest[201] = '\0';
    assert_int_equal(octopus->check_name(longest, &err), NEXTPORT_INPUT);
    longest[200] = '\0';
    assert_int_equal(octopus->check_name(longest, &err), NEXTPORT_OK);
}

static const char *env_value, *env_name;

static const char *env(struct np_arena *unused, const char *name)
{
    (void)unused;
    return strcmp(name, env_name) == 0 ? env_value : NULL;
}

static void octopus_is_detected_by_what_a_tentacle_sets(void **state)
{
    const struct np_writer *octopus = np_writer_find("octopus");
    (void)state;
    env_value = "C:\\Octopus";
    env_name = "TentacleHome";
    assert_true(octopus->detect(env, NULL));
    env_name = "AgentProgramDirectoryPath";
    assert_true(octopus->detect(env, NULL));
    env_name = "HOME";
    assert_false(octopus->detect(env, NULL));
}

/* ---- json ---- */

static void json_of_next_has_its_fields_in_order(void **state)
{
    struct nextport_result res = granted();
    (void)state;
    res.sources = half_seen, res.n_sources = 2;
    assert_string_equal(
        written("json", &usual, &res).out.ptr,
        "{\"schema\":1,\"host\":\"srv1\",\"verdict\":\"grant\",\"owner\":null,\"changed\":true,\"dry_run\":false,"
        "\"ports\":[{\"name\":\"Port\",\"port\":49003,\"verdict\":\"grant\",\"moved_from\":null,"
        "\"why\":null,\"lease_id\":12,\"expires\":1795442700}],"
        "\"rejected\":[{\"first\":49000,\"last\":49001,\"count\":2,\"kind\":\"configured\",\"source\":\"iis\","
        "\"holder\":\"Shop\"},{\"first\":49002,\"last\":49002,\"count\":1,\"kind\":\"socket\",\"source\":\"probe\","
        "\"holder\":null}],\"unseen\":[\"iis\"],\"sources\":[{\"source\":\"probe\",\"sight\":\"seen\","
        "\"policy\":\"require\",\"why\":null,\"hint\":null},{\"source\":\"iis\",\"sight\":\"partial\","
        "\"policy\":\"warn\",\"why\":\"line 7: malformed\",\"hint\":\"Mend the file.\"}],\"notes\":[]}\n");
}

static void json_of_a_failure_names_status_slug_message_and_hint(void **state)
{
    struct nextport_error err = {NEXTPORT_DENIED, "make /x: permission denied", ""};
    struct np_page page = failed("json", &usual, &err, NULL);
    (void)state;
    assert_string_equal(page.out.ptr, "{\"schema\":1,\"host\":\"srv1\",\"error\":{\"status\":7,\"slug\":\"denied\","
                                      "\"message\":\"make /x: permission denied\",\"hint\":null}}\n");
    assert_string_equal(page.log.ptr, "nextport: make /x: permission denied\n");
}

static void json_of_a_full_pool_says_what_takes_it(void **state)
{
    struct nextport_error err = {NEXTPORT_FULL, "no free port: 3 ports", "Widen it."};
    struct nextport_result res = granted();
    (void)state;
    res.n_ports = 0;
    res.n_rejected = 0;
    res.exhausted = "3 ports: 3 sockets";
    assert_string_equal(failed("json", &usual, &err, &res).out.ptr,
                        "{\"schema\":1,\"host\":\"srv1\",\"error\":{\"status\":3,\"slug\":\"full\","
                        "\"message\":\"no free port: 3 ports\",\"hint\":\"Widen it.\"},"
                        "\"exhausted\":\"3 ports: 3 sockets\",\"rejected\":[],\"unseen\":[],\"sources\":[],"
                        "\"notes\":[]}\n");
}

static const struct nextport_claim site = {.first = 49001,
                                           .last = 49001,
                                           .protocol = NEXTPORT_TCP,
                                           .kind = NEXTPORT_CONFIGURED,
                                           .address = "*",
                                           .holder = "Shop",
                                           .detail = "http *:49001:",
                                           .source = "iis",
                                           .file = "/srv/applicationHost.config",
                                           .line = 12,
                                           .count = 1};
static const struct nextport_claim guess = {
    .protocol = NEXTPORT_TCP, .kind = NEXTPORT_SUSPECT, .certainty = NEXTPORT_UNRESOLVED, .source = "iis", .count = 1};
static const struct nextport_lease lease = {.id = 7,
                                            .port = 49001,
                                            .protocol = NEXTPORT_TCP,
                                            .name = "Port",
                                            .state = NEXTPORT_PENDING,
                                            .created = NOV_23,
                                            .expires = NOV_23 + 86400};

static struct nextport_result why_taken(void)
{
    return (struct nextport_result){.what = NEXTPORT_ANSWER_WHY,
                                    .protocol = NEXTPORT_TCP,
                                    .host = "srv1",
                                    .port = 49001,
                                    .claims = &site,
                                    .n_claims = 1,
                                    .leases = &lease,
                                    .n_leases = 1,
                                    .probe = NEXTPORT_PROBE_FREE};
}

#define SITE_JSON                                                                                                      \
    "{\"first\":49001,\"last\":49001,\"protocol\":\"tcp\",\"kind\":\"configured\",\"certainty\":\"declared\","         \
    "\"address\":\"*\",\"holder\":\"Shop\",\"host\":null,\"source\":\"iis\",\"file\":\"/srv/"                          \
    "applicationHost.config\",\"line\":12,"                                                                            \
    "\"pid\":null,\"count\":1,\"detail\":\"http *:49001:\",\"transient\":false}"

static void json_of_why_has_claims_lease_and_probe(void **state)
{
    struct nextport_result res = why_taken();
    (void)state;
    assert_string_equal(written("json", &usual, &res).out.ptr,
                        "{\"schema\":1,\"host\":\"srv1\",\"port\":49001,\"free\":false,\"claims\":[" SITE_JSON "],"
                        "\"lease\":{\"id\":7,\"port\":49001,\"protocol\":\"tcp\",\"name\":\"Port\",\"owner\":null,"
                        "\"labels\":{},\"deployment\":null,\"state\":\"pending\",\"holder\":null,"
                        "\"created\":1795442700,\"renewed\":null,\"expires\":1795529100,\"looks\":0,\"process\":null},"
                        "\"probe\":\"free\",\"sources\":[],\"notes\":[]}\n");
}

static void json_of_a_look_that_failed_keeps_what_was_seen(void **state)
{
    struct nextport_error err = {NEXTPORT_BLIND, "iis", ""};
    struct nextport_result res = {.what = NEXTPORT_ANSWER_USED, .host = "srv1", .claims = &site, .n_claims = 1};
    (void)state;
    assert_string_equal(failed("json", &usual, &err, &res).out.ptr,
                        "{\"schema\":1,\"host\":\"srv1\",\"claims\":[" SITE_JSON "],\"sources\":[],\"error\":{"
                        "\"status\":4,\"slug\":\"blind\",\"message\":\"iis\",\"hint\":null},\"notes\":[]}\n");
}

static void json_invents_no_number(void **state)
{
    struct nextport_result res = {.what = NEXTPORT_ANSWER_USED, .host = "srv1", .claims = &guess, .n_claims = 1};
    (void)state;
    assert_true(has(written("json", &usual, &res).out.ptr, "[{\"first\":null,\"last\":null,\"protocol\":\"tcp\","));
}

/* ---- table ---- */

static void a_table_leaves_out_empty_columns_and_trailing_blanks(void **state)
{
    struct nextport_claim claims[] = {site, guess};
    struct nextport_result res = {.what = NEXTPORT_ANSWER_USED, .host = "srv1", .claims = claims, .n_claims = 2};
    (void)state;
    assert_string_equal(
        written("table", &usual, &res).out.ptr,
        "PORT   ADDRESS  PROTO  KIND        SOURCE  HOLDER  DETAIL         PLACE\n"
        "49001  *        tcp    configured  iis     Shop    http *:49001:  /srv/applicationHost.config:12\n"
        "?               tcp    suspect     iis\n");
}

static void a_table_fits_the_terminal(void **state)
{
    struct nextport_claim wide = site;
    struct nextport_result res = {.what = NEXTPORT_ANSWER_USED, .host = "srv1", .claims = &wide, .n_claims = 1};
    struct nextport_style narrow = NEXTPORT_STYLE_INIT;
    (void)state;
    wide.holder = "A site whose name goes on and on and on and on and on and on and on and on";
    narrow.columns = 80;
    char *out = written("table", &narrow, &res).out.ptr;
    for (char *row = strtok(out, "\n"); row; row = strtok(NULL, "\n")) {
        assert_true(np_columns(row) <= 80);
        assert_true(row[strlen(row) - 1] != ' ');
        assert_true(row == out || has(row, ":12") || has(row, "no room for ADDRESS; a pipe ('| cat') shows all"));
    }
}

static void colour_is_an_option_and_always_ends(void **state)
{
    struct nextport_result res = {.what = NEXTPORT_ANSWER_USED, .host = "srv1", .claims = &guess, .n_claims = 1};
    struct nextport_style colour = NEXTPORT_STYLE_INIT;
    (void)state;
    colour.colour = true;
    assert_string_equal(written("table", &colour, &res).out.ptr, "\033[2mPORT  PROTO  KIND     SOURCE\033[0m\n"
                                                                 "\033[33m?     tcp    suspect  iis\033[0m\n");
    assert_false(has(written("table", &usual, &res).out.ptr, "\033"));
}

static void nothing_found_is_said_in_a_sentence(void **state)
{
    struct nextport_result used = {.what = NEXTPORT_ANSWER_USED, .sources = half_seen, .n_sources = 2};
    struct nextport_result leases = {.what = NEXTPORT_ANSWER_LEASES}, release = {.what = NEXTPORT_ANSWER_RELEASE};
    (void)state;
    assert_string_equal(written("table", &usual, &used).out.ptr,
                        "no port is taken, as far as could be seen\nnot fully seen: iis (partial): line 7: malformed; "
                        "Mend the file.\n");
    assert_string_equal(written("table", &usual, &leases).out.ptr, "no leases\n");
    assert_string_equal(written("table", &usual, &release).out.ptr, "no lease to release\n");
}

static void why_gives_each_reason_and_what_would_have_to_change(void **state)
{
    struct nextport_result res = why_taken();
    (void)state;
    assert_string_equal(written("table", &usual, &res).out.ptr,
                        "port 49001 is taken\n"
                        "  iis: configured for Shop, tcp, *, http *:49001:, /srv/applicationHost.config:12\n"
                        "  ledger: lease 7, pending, for Port, since 2026-11-23 14:05 UTC, until 2026-11-24 14:05 UTC\n"
                        "  probe: it can be bound\n"
                        "to make it free:\n"
                        "  change or remove the setting; stopping the site is not enough\n"
                        "  release the lease: nextport release 49001\n");
}

static void why_tells_whose_a_lease_is_and_who_uses_it(void **state)
{
    struct nextport_lease shops = lease;
    struct nextport_result res = why_taken();
    (void)state;
    shops.owner = "shop/QA", shops.deployment = "Deployments-418", shops.state = NEXTPORT_CONFIRMED;
    shops.holder = "iis: Shop", shops.expires = 0;
    res.leases = &shops, res.n_claims = 0, res.probe = NEXTPORT_PROBE_NONE;
    assert_true(
        has(written("table", &usual, &res).out.ptr,
            "  ledger: lease 7, confirmed, for Port of shop/QA, deployment Deployments-418, since 2026-11-23 14:05 "
            "UTC, used by iis: Shop\n"));
    shops.state = NEXTPORT_UNSEEN, shops.expires = NOV_23 + 86400, shops.deployment = NULL;
    assert_true(
        has(written("table", &usual, &res).out.ptr,
            "  ledger: lease 7, absent, for Port of shop/QA, since 2026-11-23 14:05 UTC, until 2026-11-24 14:05 "
            "UTC, last used by iis: Shop\n"));
}

static void why_tells_what_is_only_avoided(void **state)
{
    static const struct nextport_claim avoided = {.first = 6665,
                                                  .last = 6669,
                                                  .protocol = NEXTPORT_BOTH,
                                                  .kind = NEXTPORT_RESERVED,
                                                  .holder = "browsers block it",
                                                  .source = "avoid",
                                                  .count = 1};
    struct nextport_result res = why_taken();
    (void)state;
    res.port = 6667, res.claims = &avoided, res.n_leases = 0;
    assert_string_equal(written("table", &usual, &res).out.ptr, "port 6667 is avoided\n"
                                                                "  avoid: not given: browsers block it\n"
                                                                "  probe: it can be bound\n"
                                                                "to make it free:\n"
                                                                "  leave it out of pool.avoid (--avoid)\n");
}

static void why_tells_a_lease_once(void **state)
{
    static const struct nextport_claim leased = {.first = 49001,
                                                 .last = 49001,
                                                 .protocol = NEXTPORT_TCP,
                                                 .kind = NEXTPORT_LEASED,
                                                 .holder = "Port",
                                                 .source = "ledger",
                                                 .count = 1};
    struct nextport_result res = why_taken();
    (void)state;
    res.claims = &leased;
    res.probe = NEXTPORT_PROBE_NONE;
    assert_string_equal(written("table", &usual, &res).out.ptr,
                        "port 49001 is taken\n"
                        "  ledger: lease 7, pending, for Port, since 2026-11-23 14:05 UTC, until 2026-11-24 14:05 UTC\n"
                        "to make it free:\n"
                        "  release the lease: nextport release 49001\n");
}

static void free_shows_ranges_and_their_sum(void **state)
{
    static const struct nextport_range pool = {49000, 49009}, free_ports[] = {{49000, 49000}, {49002, 49009}};
    struct nextport_result res = {
        .what = NEXTPORT_ANSWER_FREE, .pool = &pool, .n_pool = 1, .free = free_ports, .n_free = 2, .free_count = 9};
    (void)state;
    assert_string_equal(written("table", &usual, &res).out.ptr, "FREE         COUNT\n"
                                                                "49000            1\n"
                                                                "49002-49009      8\n"
                                                                "9 of 10 ports are free in 49000-49009\n");
    res.n_free = 0, res.free_count = 0;
    assert_string_equal(written("table", &usual, &res).out.ptr, "0 of 10 ports are free in 49000-49009\n");
}

static void leases_show_utc_times(void **state)
{
    struct nextport_result res = {.what = NEXTPORT_ANSWER_LEASES, .leases = &lease, .n_leases = 1};
    (void)state;
    assert_string_equal(written("table", &usual, &res).out.ptr,
                        "PORT   NAME  STATE    EXPIRES (UTC)     CREATED (UTC)     PROTO  ID\n"
                        "49001  Port  pending  2026-11-24 14:05  2026-11-23 14:05  tcp     7\n");
}

static void doctor_marks_what_is_bad_without_colour_too(void **state)
{
    static const struct nextport_item items[] = {
        {"source", "iis", "seen", NEXTPORT_GOOD, NULL, NULL},
        {"source", "os", "partial", NEXTPORT_NOTICE, NULL, "Run as root."},
        {"ledger", "/x", "damaged", NEXTPORT_BAD, NULL, NULL},
    };
    struct nextport_result res = {.what = NEXTPORT_ANSWER_DOCTOR, .items = items, .n_items = 3, .raw = "a\n\nb\tc\n"};
    (void)state;
    assert_string_equal(written("table", &usual, &res).out.ptr, "source\n"
                                                                "  ok    iis  seen\n"
                                                                "  note  os   partial\n"
                                                                "        Run as root.\n"
                                                                "ledger\n"
                                                                "  BAD   /x   damaged\n"
                                                                "a\n\nb\\x09c\n");
}

static void config_says_where_each_value_comes_from(void **state)
{
    static const struct nextport_item items[] = {
        {"pool", "range", "49000-65000", NEXTPORT_GOOD, "default", NULL},
        {"output", "format", "octopus", NEXTPORT_GOOD, "/etc/nextport/nextport.conf:3", NULL},
    };
    struct nextport_result res = {.what = NEXTPORT_ANSWER_CONFIG, .items = items, .n_items = 2};
    (void)state;
    assert_string_equal(written("table", &usual, &res).out.ptr,
                        "SETTING        VALUE        ORIGIN\n"
                        "pool.range     49000-65000  default\n"
                        "output.format  octopus      /etc/nextport/nextport.conf:3\n");
}

/* ---- what the ledger has kept ---- */

static void what_the_ledger_kept_is_handed_on_only_when_it_is_an_object(void **state)
{
    static const struct {
        const char *text, *members; /* NULL: refused */
    } cases[] = {
        {"{}", ""},
        {" { \"a\" : 1 , \"b\" : [ true, null, {} ] }\n", "\"a\":1,\"b\":[true,null,{}]"},
        {"{\"a\":-7,\"b\":0}", "\"a\":-7,\"b\":0"},
        {"{\"a\":0.5}", NULL},
        {"{\"a\":\"\\u0000\"}", NULL},
        {"{\"a\":\"\xc3\xa4\xf0\x9f\x98\x80\x7f\"}", "\"a\":\"\\u00e4\\ud83d\\ude00\\u007f\""},
        {"{\"a\":\"##[x\",\"b\":\"\\u0041\\n\"}", "\"a\":\"#\\u0023[x\",\"b\":\"A\\u000a\""},
        {"", NULL},
        {"{", NULL},
        {"[]", NULL},
        {"1", NULL},
        {"null", NULL},
        {"{}{}", NULL},
        {"{},\"schema\":2", NULL},
        {"{\"a\"}", NULL},
        {"{\"a\":}", NULL},
        {"{\"a\":1,}", NULL},
        {"{a:1}", NULL},
        {"{\"a\":01}", NULL},
        {"{\"a\":+1}", NULL},
        {"{\"a\":1.}", NULL},
        {"{\"a\":1e}", NULL},
        {"{\"a\":NaN}", NULL},
        {"{\"a\":\"\n\"}", NULL},
        {"{\"a\":\"\\x\"}", NULL},
        {"{\"a\":\"\\u12g4\"}", NULL},
        {"{\"a\":\"\\u12", NULL},
        {"{\"a\":\"\\", NULL},
        {"{\"a\":\"x", NULL},
        {"{\"a\":\"\xff\"}", NULL},
        {"{\"a\":\"\xc3", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct np_buf out = {.arena = arena};
        np_buf_puts(&out, "");
        assert_int_equal(np_json_members(&out, np_text_of(cases[i].text)), cases[i].members != NULL);
        if (cases[i].members)
            assert_string_equal(out.ptr, cases[i].members);
    }
}

static void a_member_that_was_kept_is_read_as_it_was(void **state)
{
    static const char text[] =
        "{\"port\":49001,\"x\":{\"port\":1},\"holder\":\"iis: \\\"Gr\\u00fc\xc3\x9f\x65\\ud83d\\ude00\\\"\","
        "\"none\":null}";
    (void)state;
    assert_string_equal(np_json_member(arena, text, "port"), "49001");
    assert_string_equal(np_json_member(arena, text, "holder"), "iis: \"Gr\xc3\xbc\xc3\x9f\x65\xf0\x9f\x98\x80\"");
    assert_null(np_json_member(arena, text, "none"));
    assert_null(np_json_member(arena, text, "por"));
    assert_null(np_json_member(arena, "{\"port\":1", "port"));
    assert_null(np_json_member(arena, NULL, "port"));
}

/* ---- owners ---- */

#define QA "shop/QA/feature-x"

static const struct nextport_label qa_labels[] = {{"project", "shop"}, {"environment", "QA"}, {"channel", "feature-x"}};
static const struct nextport_lease owned[] = {
    {.id = 7,
     .port = 49001,
     .protocol = NEXTPORT_TCP,
     .name = "Port",
     .owner = QA,
     .labels = qa_labels,
     .n_labels = 3,
     .state = NEXTPORT_CONFIRMED,
     .holder = "iis: Shop QA",
     .created = NOV_23,
     .renewed = NOV_23 + 60},
    {.id = 8,
     .port = 49002,
     .protocol = NEXTPORT_TCP,
     .name = "Admin",
     .owner = "shop/Production team=web",
     .state = NEXTPORT_UNSEEN,
     .holder = "sockets: a program with a long name",
     .created = NOV_23,
     .expires = NOV_23 + 86400,
     .looks = 2},
    {.id = 9,
     .port = 49003,
     .protocol = NEXTPORT_TCP,
     .name = "PORT",
     .state = NEXTPORT_PENDING,
     .process = "4711 123 4cd8",
     .created = NOV_23,
     .expires = NOV_23 + 86400},
    {.id = 10,
     .port = 49004,
     .protocol = NEXTPORT_TCP,
     .name = "Port",
     .owner = "billing/QA",
     .state = NEXTPORT_RESTING,
     .created = NOV_23,
     .expires = NOV_23 + 120},
};

static struct nextport_granted port_of(enum nextport_verdict verdict, const char *why)
{
    return (struct nextport_granted){
        .name = "Port", .port = 49004, .lease_id = 7, .verdict = verdict, .why = why, .socket = -1};
}

static void the_summary_says_whose_a_port_is_and_why_it_was_kept_or_moved(void **state)
{
    struct nextport_granted fresh = port_of(NEXTPORT_GRANT, NULL);
    struct nextport_granted kept = port_of(NEXTPORT_KEEP, "iis: Shop QA has it");
    struct nextport_granted moved = port_of(NEXTPORT_MOVE, "sockets: node has it, and not iis: Shop");
    struct nextport_result res = granted();
    (void)state;
    res.owner = "shop/QA", res.n_rejected = 0;
    fresh.expires = NOV_23;
    res.ports = &fresh;
    assert_string_equal(np_summary(arena, &res),
                        "srv1: port 49004 for Port, fresh for shop/QA, pending until 2026-11-23 14:05 UTC");
    res.ports = &kept, res.verdict = NEXTPORT_KEEP;
    assert_string_equal(np_summary(arena, &res),
                        "srv1: port 49004 for Port, kept for shop/QA: iis: Shop QA has it, confirmed");
    moved.moved_from = 49001, moved.expires = NOV_23;
    res.ports = &moved, res.verdict = NEXTPORT_MOVE;
    assert_string_equal(
        np_summary(arena, &res),
        "srv1: port 49004 for Port, moved from 49001 to 49004 for shop/QA, because sockets: node has it, "
        "and not iis: Shop, pending until 2026-11-23 14:05 UTC");
    res.dry_run = true;
    assert_string_equal(np_summary(arena, &res),
                        "srv1: port 49004 for Port would be given, moved from 49001 to 49004 for shop/QA, because "
                        "sockets: node has it, and not iis: Shop; dry run, no lease");
}

static void the_summary_tells_several_ports_apart(void **state)
{
    struct nextport_granted ports[] = {port_of(NEXTPORT_MOVE, "x"), port_of(NEXTPORT_KEEP, "y"),
                                       port_of(NEXTPORT_GRANT, NULL)};
    struct nextport_result res = granted();
    (void)state;
    ports[0].moved_from = 49001;
    ports[1].name = "Admin", ports[1].port = 49005;
    ports[2].name = "Debug", ports[2].port = 49006;
    res.owner = "shop/QA", res.n_rejected = 0, res.ports = ports, res.n_ports = 3, res.verdict = NEXTPORT_MOVE;
    assert_string_equal(np_summary(arena, &res),
                        "srv1: ports 49004 for Port (before 49001), 49005 for Admin (kept), 49006 for Debug (fresh), "
                        "for shop/QA, confirmed");
}

static void each_change_is_summed_up_in_a_sentence(void **state)
{
    struct nextport_result res = {.host = "srv1", .changed = true, .leases = &owned[3], .n_leases = 1};
    (void)state;
    res.what = NEXTPORT_ANSWER_RELEASE;
    assert_string_equal(np_summary(arena, &res),
                        "srv1: gave back port 49004 of billing/QA, kept from others until 2026-11-23 14:07 UTC");
    res.what = NEXTPORT_ANSWER_ASSIGN, res.leases = owned;
    assert_string_equal(np_summary(arena, &res), "srv1: leased port 49001 to " QA);
    res.changed = false;
    assert_string_equal(np_summary(arena, &res), "srv1: port 49001 is leased to " QA " already");
    res.what = NEXTPORT_ANSWER_ADOPT, res.changed = true, res.n_leases = 4;
    assert_string_equal(np_summary(arena, &res), "srv1: leased 4 ports");
    res.what = NEXTPORT_ANSWER_SWEEP, res.n_leases = 1, res.n_confirmed = 2;
    assert_string_equal(np_summary(arena, &res), "srv1: 1 lease ended, 2 confirmed");
    res.n_leases = 0, res.n_confirmed = 0, res.n_absent = 3, res.n_resting = 1;
    assert_string_equal(np_summary(arena, &res), "srv1: 0 leases ended, 0 confirmed, 3 absent, 1 resting");
    assert_string_equal(written("table", &usual, &res).out.ptr, "3 leases are no longer seen in use and absent now\n"
                                                                "1 lease rests: its process has ended\n");
    res.n_absent = 0, res.n_resting = 0;
    assert_string_equal(written("table", &usual, &res).out.ptr,
                        "no lease is in another state than before: looks were counted, or times set right\n");
    assert_null(np_summary(arena, &res));
    res.what = NEXTPORT_ANSWER_USED;
    assert_null(np_summary(arena, &res));
}

static void octopus_tells_owner_and_reason_in_ascii(void **state)
{
    struct nextport_granted kept = port_of(NEXTPORT_KEEP, "iis: Gr\xc3\xbc\xc3\x9f\x65\n##octopus[x] has it");
    struct nextport_result res = granted();
    (void)state;
    res.owner = "l\xc3\xa4"
                "den/QA",
    res.n_rejected = 0, res.ports = &kept, res.verdict = NEXTPORT_KEEP;
    assert_string_equal(written("octopus", &usual, &res).out.ptr,
                        "nextport: srv1: port 49004 for Port, kept for l\\xc3\\xa4"
                        "den/QA: iis: "
                        "Gr\\xc3\\xbc\\xc3\\x9f\x65\\x0a#\\#octopus[x] has it, confirmed\n"
                        "##octopus[setVariable name='UG9ydA==' value='NDkwMDQ=']\n");
}

static void json_of_next_says_what_became_of_each_port(void **state)
{
    struct nextport_granted moved = port_of(NEXTPORT_MOVE, "sockets: node has it");
    struct nextport_result res = granted();
    (void)state;
    moved.moved_from = 49001;
    res.ports = &moved, res.verdict = NEXTPORT_MOVE, res.owner = QA;
    assert_true(has(written("json", &usual, &res).out.ptr,
                    "\"verdict\":\"move\",\"owner\":\"" QA "\",\"changed\":true,\"dry_run\":false,\"ports\":["
                    "{\"name\":\"Port\",\"port\":49004,\"verdict\":\"move\",\"moved_from\":49001,"
                    "\"why\":\"sockets: node has it\",\"lease_id\":7,\"expires\":null}],"));
}

static void json_of_a_lease_has_its_labels_in_order(void **state)
{
    struct nextport_result res = {
        .what = NEXTPORT_ANSWER_ADOPT, .host = "srv1", .dry_run = true, .leases = owned, .n_leases = 1};
    (void)state;
    assert_string_equal(written("json", &usual, &res).out.ptr,
                        "{\"schema\":1,\"host\":\"srv1\",\"changed\":false,\"dry_run\":true,\"leases\":[{\"id\":7,"
                        "\"port\":49001,\"protocol\":\"tcp\",\"name\":\"Port\",\"owner\":\"" QA "\",\"labels\":{"
                        "\"project\":\"shop\",\"environment\":\"QA\",\"channel\":\"feature-x\"},\"deployment\":null,"
                        "\"state\":\"confirmed\",\"holder\":\"iis: Shop QA\",\"created\":1795442700,"
                        "\"renewed\":1795442760,\"expires\":null,\"looks\":0,\"process\":null}],\"notes\":[]}\n");
}

static const struct nextport_event history[] = {
    {.id = 1, .time = NOV_23, .kind = "created", .user = "root", .host = "srv1", .program = "nextport 0.1.0"},
    {.id = 2,
     .time = NOV_23 + 60,
     .kind = "granted",
     .lease = 7,
     .port = 49001,
     .name = "Port",
     .owner = QA,
     .user = "octopus",
     .host = "srv1",
     .program = "nextport 0.1.0",
     .request = "next --project shop --environment QA --channel feature-x",
     .after = "{\"port\":49001}"},
    {.id = 3,
     .time = NOV_23 + 600,
     .kind = "confirmed",
     .lease = 7,
     .port = 49001,
     .name = "Port",
     .owner = QA,
     .user = "root",
     .host = "srv1",
     .request = "sweep",
     .before = "{\"port\":49001}",
     .after = "{\"port\":49001,\"holder\":\"iis: Shop QA\"}"},
    {.id = 4,
     .time = NOV_23 + 6000,
     .kind = "moved",
     .lease = 7,
     .port = 49004,
     .name = "Port",
     .owner = QA,
     .user = "octopus",
     .host = "srv1",
     .request = "next --project shop --environment QA --channel feature-x",
     .before = "{\"port\":49001}",
     .after = "{\"port\":49004}",
     .reason = "sockets: node has it, and not iis: Shop QA, which is configured there"},
    {.id = 5,
     .time = NOV_23 + 7000,
     .kind = "released",
     .lease = 9,
     .port = 49003,
     .name = "Admin\n##vso[x]",
     .user = "anna",
     .host = "build7",
     .request = "release 49003",
     .deployment = "Deployments-417",
     .before = "{\"port\":49003},\"after\":{\"port\":1}"},
};

static void json_of_the_log_embeds_what_is_an_object_and_nothing_else(void **state)
{
    struct nextport_result res = {.what = NEXTPORT_ANSWER_LOG, .host = "srv1", .events = history + 3, .n_events = 2};
    (void)state;
    assert_string_equal(
        written("json", &usual, &res).out.ptr,
        "{\"schema\":1,\"host\":\"srv1\",\"events\":[{\"id\":4,\"time\":1795448700,\"kind\":\"moved\",\"lease\":7,"
        "\"port\":49004,\"name\":\"Port\",\"owner\":\"" QA "\",\"deployment\":null,\"user\":\"octopus\","
        "\"host\":\"srv1\",\"program\":null,\"request\":\"next --project shop --environment QA --channel feature-x\","
        "\"reason\":\"sockets: node has it, and not iis: Shop QA, which is configured "
        "there\",\"before\":{\"port\":49001},"
        "\"after\":{\"port\":49004}},{\"id\":5,\"time\":1795449700,\"kind\":\"released\",\"lease\":9,\"port\":49003,"
        "\"name\":\"Admin\\u000a#\\u0023vso[x]\",\"owner\":null,\"deployment\":\"Deployments-417\",\"user\":\"anna\","
        "\"host\":"
        "\"build7\","
        "\"program\":null,\"request\":\"release "
        "49003\",\"reason\":null,\"before\":null,\"after\":null}],\"notes\":[]}\n");
}

static const struct nextport_claim two_holders[] = {
    {.first = 49001,
     .last = 49001,
     .protocol = NEXTPORT_TCP,
     .kind = NEXTPORT_CONFIGURED,
     .holder = "Shop \"QA\" <&>",
     .host = "qa.example.org",
     .detail = "http *:49001:qa.example.org",
     .source = "iis",
     .file = "C:\\Windows\\System32\\inetsrv\\config\\applicationHost.config",
     .line = 212,
     .count = 1},
    {.first = 49001,
     .last = 49001,
     .protocol = NEXTPORT_TCP,
     .kind = NEXTPORT_SOCKET,
     .holder = "node",
     .address = "*",
     .detail = "listening",
     .source = "sockets",
     .pid = 4711,
     .count = 1},
};
static const struct nextport_finding findings[] = {
    {NEXTPORT_ERROR, "two-holders", 49001, 49001,
     "Two have port 49001, and only one of them can start: the site Shop \"QA\" <&> is configured for it, and node "
     "listens.",
     "Give one of them another port: 'nextport next' leases one.", two_holders, 2},
    {NEXTPORT_HAZARD, "pool-unprotected", 49000, 65000,
     "The system may give ports of the pool to outgoing connections at any moment.",
     "'nextport protect --apply' keeps them out.", NULL, 0},
    {NEXTPORT_HINT, "old", 0, 0, "A lease is old: \x01 \xef\xbf\xbf \xc3\xa4 ]]>", NULL, NULL, 0},
};

static struct nextport_result checked(size_t n)
{
    return (struct nextport_result){.what = NEXTPORT_ANSWER_CHECK,
                                    .fail_on = NEXTPORT_HAZARD,
                                    .host = "srv1",
                                    .findings = findings,
                                    .n_findings = n};
}

static void hints_of_one_kind_are_cut_off_after_a_few(void **state)
{
    struct nextport_finding many[8] = {{0}};
    struct nextport_result res = checked(8);
    (void)state;
    for (size_t i = 0; i < 8; i++)
        many[i] = (struct nextport_finding){NEXTPORT_HINT, i == 7 ? "old" : "no-lease", 0, 0, "One.", NULL, NULL, 0};
    res.findings = many;
    const char *out = written("table", &usual, &res).out.ptr;
    assert_true(has(out, "hint  old\n  One.\n\n2 more hints like these; --format json has all\n8 hints\n"));
    many[5].severity = many[6].severity = NEXTPORT_ERROR;
    assert_false(has(written("table", &usual, &res).out.ptr, "more hint"));
}

static void json_of_check_has_findings_with_evidence(void **state)
{
    struct nextport_result res = checked(2);
    (void)state;
    const char *out = written("json", &usual, &res).out.ptr;
    assert_true(has(out,
                    "\"findings\":[{\"severity\":\"error\",\"slug\":\"two-holders\",\"first\":49001,\"last\":49001,"
                    "\"text\":\"Two have"));
    assert_true(has(out, "\"evidence\":[{\"first\":49001,\"last\":49001,\"protocol\":\"tcp\",\"kind\":\"configured\","
                         "\"certainty\":\"declared\",\"address\":null,\"holder\":\"Shop \\\"QA\\\" <&>\","
                         "\"host\":\"qa.example.org\",\"source\":\"iis\""));
    assert_true(
        has(out,
            "\"cure\":\"'nextport protect --apply' keeps them out.\",\"evidence\":[]}],\"unseen\":[],\"sources\":[],"));
}

static void json_of_protect_and_map(void **state)
{
    static const struct nextport_range pool[] = {{49000, 49009}};
    struct nextport_result protect = {.what = NEXTPORT_ANSWER_PROTECT, .host = "srv1", .changed = true};
    struct nextport_result map = {.what = NEXTPORT_ANSWER_MAP, .host = "srv1", .pool = pool, .n_pool = 1};
    (void)state;
    assert_string_equal(written("json", &usual, &protect).out.ptr,
                        "{\"schema\":1,\"host\":\"srv1\",\"changed\":true,\"items\":[],\"raw\":null,\"notes\":[]}\n");
    assert_string_equal(written("json", &usual, &map).out.ptr,
                        "{\"schema\":1,\"host\":\"srv1\",\"pool\":[{\"first\":49000,\"last\":49009}],\"claims\":[],"
                        "\"sources\":[],\"notes\":[]}\n");
}

static void plain_hands_an_export_on_byte_for_byte(void **state)
{
    static const char lines[] = "{\"nextport\":1}\n{\"a\":\"##octopus[\"}\n";
    struct nextport_result res = {.what = NEXTPORT_ANSWER_EXPORT, .host = "srv1", .raw = lines};
    (void)state;
    assert_string_equal(written("plain", &usual, &res).out.ptr, lines);
    assert_string_equal(written("plain", &usual, &res).log.ptr, "");
}

/* ---- answers for people, at 80 columns ---- */

static const struct nextport_style ascii80 = {.size = sizeof ascii80, .columns = 80};
static const struct nextport_style unicode80 = {.size = sizeof unicode80, .columns = 80, .unicode = true};
static const struct nextport_style colour80 = {.size = sizeof colour80, .columns = 80, .unicode = true, .colour = true};

static const char *table(const struct nextport_style *style, const struct nextport_result *res)
{
    return written("table", style, res).out.ptr;
}

static void leases_show_which_port_an_owner_uses(void **state)
{
    struct nextport_result res = {.what = NEXTPORT_ANSWER_LEASES, .leases = owned, .n_leases = 4};
    (void)state;
    assert_string_equal(table(&ascii80, &res),
                        "OWNER                PORT   NAME   STATE        HOLDER          EXPIRES (UTC)\n"
                        "shop/QA/feature-x    49001  Port   confirmed    iis: Shop QA\n"
                        "shop/Production ...  49002  Admin  absent       sockets: a ...  2026-11-24 14:05\n"
                        "                     49003  PORT   pending      process 4711    2026-11-24 14:05\n"
                        "billing/QA           49004  Port   quarantined                  2026-11-23 14:07\n"
                        "no room for CREATED (UTC), PROTO, ID; a pipe ('| cat') shows all\n");
    assert_string_equal(
        table(&unicode80, &res),
        "OWNER                PORT   NAME   STATE        HOLDER          EXPIRES (UTC)\n"
        "shop/QA/feature-x    49001  Port   confirmed    iis: Shop QA\n"
        "shop/Production te\xe2\x80\xa6  49002  Admin  absent       sockets: a pr\xe2\x80\xa6  2026-11-24 14:05\n"
        "                     49003  PORT   pending      process 4711    2026-11-24 14:05\n"
        "billing/QA           49004  Port   quarantined                  2026-11-23 14:07\n"
        "no room for CREATED (UTC), PROTO, ID; a pipe ('| cat') shows all\n");
    assert_string_equal(
        table(&colour80, &res),
        "\033[2mOWNER                PORT   NAME   STATE        HOLDER          EXPIRES (UTC)\033[0m\n"
        "shop/QA/feature-x    49001  Port   confirmed    iis: Shop QA\n"
        "\033[33mshop/Production te\xe2\x80\xa6  49002  Admin  absent       sockets: a pr\xe2\x80\xa6  2026-11-24 "
        "14:05\033[0m\n"
        "                     49003  PORT   pending      process 4711    2026-11-24 14:05\n"
        "\033[2mbilling/QA           49004  Port   quarantined                  2026-11-23 14:07\033[0m\n"
        "\033[2mno room for CREATED (UTC), PROTO, ID; a pipe ('| cat') shows all\033[0m\n");
}

static void what_would_be_leased_says_how_to_have_it_done(void **state)
{
    struct nextport_result res = {
        .what = NEXTPORT_ANSWER_ADOPT, .host = "srv1", .dry_run = true, .leases = owned, .n_leases = 1};
    (void)state;
    assert_true(has(table(&ascii80, &res), "\n1 port would be leased; the same with --apply leases them\n"));
    assert_string_equal(written("table", &ascii80, &res).log.ptr, "");
    res.dry_run = false, res.changed = true;
    assert_false(has(table(&ascii80, &res), "would"));
    assert_string_equal(written("table", &ascii80, &res).log.ptr, "nextport: srv1: leased port 49001 to " QA "\n");
    res.n_leases = 0;
    assert_string_equal(table(&ascii80, &res),
                        "nothing to adopt: no port of the pool is configured that is not leased\n");
}

static void the_log_is_one_line_for_each_event(void **state)
{
    struct nextport_result res = {.what = NEXTPORT_ANSWER_LOG, .host = "srv1", .events = history, .n_events = 5};
    (void)state;
    assert_string_equal(table(&ascii80, &res),
                        "TIME (UTC)        EVENT      PORT   FOR              WHO          WHAT\n"
                        "2026-11-23 14:05  created                            root         nextport 0.1.0\n"
                        "2026-11-23 14:06  granted    49001  shop/QA/feat...  octopus      next --proj...\n"
                        "2026-11-23 14:15  confirmed  49001  shop/QA/feat...  root         iis: Shop QA\n"
                        "2026-11-23 15:45  moved      49004  shop/QA/feat...  octopus      49001 -> 49004\n"
                        "                  sockets: node has it, and not iis: Shop QA, which is\n"
                        "                  configured there\n"
                        "2026-11-23 16:01  released   49003  Admin\\x0a#\\#...  anna@build7  release 49003\n");
    assert_string_equal(
        table(&colour80, &res),
        "\033[2mTIME (UTC)        EVENT      PORT   FOR              WHO          WHAT\033[0m\n"
        "2026-11-23 14:05  created                            root         nextport 0.1.0\n"
        "2026-11-23 14:06  granted    49001  shop/QA/featur\xe2\x80\xa6  octopus      next "
        "--projec\xe2\x80\xa6\n"
        "2026-11-23 14:15  confirmed  49001  shop/QA/featur\xe2\x80\xa6  root         iis: Shop QA\n"
        "\033[33m2026-11-23 15:45  moved      49004  shop/QA/featur\xe2\x80\xa6  octopus      49001 -> 49004\033[0m\n"
        "\033[33m                  sockets: node has it, and not iis: Shop QA, which is\033[0m\n"
        "\033[33m                  configured there\033[0m\n"
        "\033[2m2026-11-23 16:01  released   49003  Admin\\x0a#\\#vs\xe2\x80\xa6  anna@build7  release 49003\033[0m\n");
    res.n_events = 0;
    assert_string_equal(table(&ascii80, &res), "no events\n");
}

static void what_was_found_and_advised_is_folded_where_the_terminal_ends(void **state)
{
    static const struct nextport_style narrow = {.size = sizeof narrow, .columns = 48};
    const struct nextport_item items[] = {
        {"system", "ephemeral ports", "32768-60999: 12000 of 16001 ports are at risk", NEXTPORT_NOTICE, NULL,
         "Outgoing connections may take them: 'nextport protect'."},
        {"system", "nothing", "", NEXTPORT_GOOD, NULL, NULL},
    };
    struct nextport_result res = {.what = NEXTPORT_ANSWER_DOCTOR, .items = items, .n_items = 2};
    (void)state;
    assert_string_equal(table(&narrow, &res), "system\n"
                                              "  note  ephemeral ports  32768-60999: 12000 of\n"
                                              "                         16001 ports are at risk\n"
                                              "        Outgoing connections may take them:\n"
                                              "        'nextport protect'.\n"
                                              "  ok    nothing\n");
}

static void check_gives_each_finding_its_evidence_and_a_cure(void **state)
{
    struct nextport_result res = checked(3);
    (void)state;
    assert_string_equal(table(&ascii80, &res),
                        "ERROR  port 49001  two-holders\n"
                        "  Two have port 49001, and only one of them can start: the site Shop \"QA\" <&> is\n"
                        "  configured for it, and node listens.\n"
                        "    iis: configured for Shop \"QA\" <&>, tcp, http *:49001:qa.example.org,\n"
                        "      C:\\Windows\\System32\\inetsrv\\config\\applicationHost.config:212\n"
                        "    sockets: in use by node, tcp, *, listening, pid 4711\n"
                        "  -> Give one of them another port: 'nextport next' leases one.\n"
                        "\n"
                        "HAZARD  ports 49000-65000  pool-unprotected\n"
                        "  The system may give ports of the pool to outgoing connections at any moment.\n"
                        "  -> 'nextport protect --apply' keeps them out.\n"
                        "\n"
                        "hint  old\n"
                        "  A lease is old: \\x01 \\xef\\xbf\\xbf \\xc3\\xa4 ]]>\n"
                        "\n"
                        "1 error, 1 hazard, 1 hint\n");
    assert_string_equal(table(&colour80, &res),
                        "\033[31mERROR\033[0m  port 49001  \033[2mtwo-holders\033[0m\n"
                        "  Two have port 49001, and only one of them can start: the site Shop \"QA\" <&> is\n"
                        "  configured for it, and node listens.\n"
                        "\033[2m    iis: configured for Shop \"QA\" <&>, tcp, http *:49001:qa.example.org,\033[0m\n"
                        "\033[2m      C:\\Windows\\System32\\inetsrv\\config\\applicationHost.config:212\033[0m\n"
                        "\033[2m    sockets: in use by node, tcp, *, listening, pid 4711\033[0m\n"
                        "  -> Give one of them another port: 'nextport next' leases one.\n"
                        "\n"
                        "\033[33mHAZARD\033[0m  ports 49000-65000  \033[2mpool-unprotected\033[0m\n"
                        "  The system may give ports of the pool to outgoing connections at any moment.\n"
                        "  -> 'nextport protect --apply' keeps them out.\n"
                        "\n"
                        "\033[36mhint\033[0m  \033[2mold\033[0m\n"
                        "  A lease is old: \\x01 \xef\xbf\xbf \xc3\xa4 ]]>\n"
                        "\n"
                        "1 error, 1 hazard, 1 hint\n");
    res = checked(0);
    res.sources = half_seen, res.n_sources = 2;
    assert_string_equal(table(&ascii80, &res), "nothing is wrong: no errors, no hazards, no hints\n"
                                               "not fully seen: iis (partial): line 7: malformed; Mend the file.\n");
}

static void protect_shows_what_it_would_write(void **state)
{
    static const struct nextport_item item = {
        "protection", "reserved ports", "do not hold the pool", NEXTPORT_NOTICE, NULL, "Write them with --apply."};
    struct nextport_result res = {.what = NEXTPORT_ANSWER_PROTECT,
                                  .items = &item,
                                  .n_items = 1,
                                  .raw = "# by nextport\n\nreserved = 49000-65000\n"};
    (void)state;
    assert_string_equal(table(&ascii80, &res), "protection\n"
                                               "  note  reserved ports  do not hold the pool\n"
                                               "        Write them with --apply.\n"
                                               "    # by nextport\n"
                                               "\n"
                                               "    reserved = 49000-65000\n");
}

static const struct nextport_claim mapped[] = {
    {.first = 49000, .last = 49002, .kind = NEXTPORT_LEASED},
    {.first = 49001, .last = 49001, .kind = NEXTPORT_CONFIGURED},
    {.first = 49003, .last = 49003, .kind = NEXTPORT_CONFIGURED},
    {.first = 49105, .last = 49105, .kind = NEXTPORT_SOCKET},
    {.first = 49995, .last = 50059, .kind = NEXTPORT_RESERVED},
    {.first = 50100, .last = 50101, .kind = NEXTPORT_PUBLISHED},
    {.first = 52000, .last = 52000, .kind = NEXTPORT_SUSPECT},
    {.kind = NEXTPORT_SUSPECT, .certainty = NEXTPORT_UNRESOLVED},
};

static struct nextport_result map_of(const struct nextport_range *pool, size_t n)
{
    return (struct nextport_result){
        .what = NEXTPORT_ANSWER_MAP, .claims = mapped, .n_claims = 8, .pool = pool, .n_pool = n};
}

static void a_map_shows_every_port_of_a_small_pool(void **state)
{
    static const struct nextport_range ten = {49000, 49009},
                                       several[] = {{49000, 49099}, {49101, 49170}, {60003, 60012}};
    struct nextport_result res = map_of(&ten, 1);
    (void)state;
    assert_string_equal(table(&ascii80, &res), "10 ports, 6 free\n"
                                               "\n"
                                               "49000  LLLC......\n"
                                               "\n"
                                               "       . free 6   L leased 3   C configured 1\n");
    assert_string_equal(table(&unicode80, &res), "10 ports, 6 free\n"
                                                 "\n"
                                                 "49000  LLLC......\n"
                                                 "\n"
                                                 "       . free 6   L leased 3   C configured 1\n");
    assert_string_equal(table(&colour80, &res),
                        "10 ports, 6 free\n"
                        "\n"
                        "49000  "
                        "\033[32m\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\033[0m\033[34m\xe2\x96\x93\033[0m\033["
                        "2m\xc2\xb7\xc2\xb7\xc2\xb7\xc2\xb7\xc2\xb7\xc2\xb7\033[0m\n"
                        "\n"
                        "       \033[2m\xc2\xb7\033[0m free 6   \033[32m\xe2\x96\x88\033[0m leased 3   "
                        "\033[34m\xe2\x96\x93\033[0m configured 1\n");
    res = map_of(several, 3);
    assert_string_equal(table(&ascii80, &res), "180 ports, 175 free\n"
                                               "\n"
                                               "49000  LLLC...... .......... .......... .......... ..........\n"
                                               "49050  .......... .......... .......... .......... ..........\n"
                                               "49100   ....S.... .......... .......... .......... ..........\n"
                                               "49150  .......... .......... .\n"
                                               "60000     ....... ...\n"
                                               "\n"
                                               "       . free 175   L leased 3   C configured 1   S in use 1\n");
}

static void a_map_of_a_large_pool_still_fits_a_screen(void **state)
{
    static const struct nextport_range usual_pool = {49000, 65000}, all = {1, 65535};
    struct nextport_result res = map_of(&usual_pool, 1);
    (void)state;
    assert_string_equal(table(&ascii80, &res),
                        "16001 ports, 15928 free; a cell is 20 ports and shows what has any of them\n"
                        "\n"
                        "49000  *....S.... .......... .......... .......... .........R\n"
                        "50000  RRR..P.... .......... .......... .......... ..........\n"
                        "51000  .......... .......... .......... .......... ..........\n"
                        "52000  ?......... .......... .......... .......... ..........\n"
                        "53000  .......... .......... .......... .......... ..........\n"
                        "54000  .......... .......... .......... .......... ..........\n"
                        "55000  .......... .......... .......... .......... ..........\n"
                        "56000  .......... .......... .......... .......... ..........\n"
                        "57000  .......... .......... .......... .......... ..........\n"
                        "58000  .......... .......... .......... .......... ..........\n"
                        "59000  .......... .......... .......... .......... ..........\n"
                        "60000  .......... .......... .......... .......... ..........\n"
                        "61000  .......... .......... .......... .......... ..........\n"
                        "62000  .......... .......... .......... .......... ..........\n"
                        "63000  .......... .......... .......... .......... ..........\n"
                        "64000  .......... .......... .......... .......... ..........\n"
                        "65000  .\n"
                        "\n"
                        "       . free 15928   L leased 3   C configured 1   P published 2\n"
                        "       R reserved 65   S in use 1   ? doubtful 1   * several of these\n");
    res = map_of(&all, 1);
    char *out = written("table", &ascii80, &res).out.ptr;
    size_t rows = 0;
    for (char *row = strtok(out, "\n"); row; row = strtok(NULL, "\n"), rows++)
        assert_true(np_columns(row) <= 80);
    assert_in_range(rows, 20, 36);
}

static void a_map_fits_any_width(void **state)
{
    static const struct nextport_range several[] = {{1, 1}, {500, 777}, {65535, 65535}};
    struct nextport_result res = map_of(several, 3);
    (void)state;
    for (unsigned columns = 24; columns < 200; columns++) {
        struct nextport_style style = ascii80;
        style.columns = columns;
        char *out = written("table", &style, &res).out.ptr;
        for (char *row = strtok(out, "\n"); row; row = strtok(NULL, "\n"))
            assert_true(np_columns(row) <= columns);
    }
    res.n_pool = 0;
    assert_true(has(table(&ascii80, &res), "0 ports, 0 free\n"));
}

/* ---- junit ---- */

static bool is_xml(const char *text)
{
    XML_Parser parser = XML_ParserCreate("US-ASCII");
    enum XML_Status status = XML_Parse(parser, text, (int)strlen(text), 1);
    XML_ParserFree(parser);
    return status == XML_STATUS_OK;
}

static void junit_is_a_case_for_each_finding(void **state)
{
    struct nextport_result res = checked(3);
    (void)state;
    assert_string_equal(
        written("junit", &usual, &res).out.ptr,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuites>\n"
        "  <testsuite name=\"nextport check\" hostname=\"srv1\" tests=\"3\" failures=\"2\" errors=\"0\" "
        "skipped=\"0\">\n"
        "    <testcase classname=\"nextport.check.two-holders\" name=\"two-holders 49001\">\n"
        "      <failure type=\"error\" message=\"Two have port 49001, and only one of them can start: the site Shop "
        "&quot;QA&quot; &lt;&amp;&gt; is configured for it, and node listens.\">iis: configured for Shop "
        "&quot;QA&quot; &lt;&amp;&gt;, tcp, http *:49001:qa.example.org, "
        "C:\\Windows\\System32\\inetsrv\\config\\applicationHost.config:212\n"
        "sockets: in use by node, tcp, *, listening, pid 4711\n"
        "-&gt; Give one of them another port: 'nextport next' leases one.\n"
        "</failure>\n"
        "    </testcase>\n"
        "    <testcase classname=\"nextport.check.pool-unprotected\" name=\"pool-unprotected 49000-65000\">\n"
        "      <failure type=\"hazard\" message=\"The system may give ports of the pool to outgoing connections at any "
        "moment.\">-&gt; 'nextport protect --apply' keeps them out.\n"
        "</failure>\n"
        "    </testcase>\n"
        "    <testcase classname=\"nextport.check.old\" name=\"old\">\n"
        "      <system-out>A lease is old: \\x01 &#65533; &#228; ]]&gt;\n"
        "</system-out>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "</testsuites>\n");
    res = checked(0);
    assert_string_equal(written("junit", &usual, &res).out.ptr,
                        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                        "<testsuites>\n"
                        "  <testsuite name=\"nextport check\" hostname=\"srv1\" tests=\"1\" failures=\"0\" "
                        "errors=\"0\" skipped=\"0\">\n"
                        "    <testcase classname=\"nextport.check\" name=\"nothing is wrong\">\n"
                        "    </testcase>\n"
                        "  </testsuite>\n"
                        "</testsuites>\n");
}

static void junit_tells_findings_of_one_kind_and_port_apart(void **state)
{
    struct nextport_finding same[] = {findings[0], findings[0], findings[1], findings[0]};
    struct nextport_result res = checked(0);
    (void)state;
    res.findings = same, res.n_findings = 4;
    const char *out = written("junit", &usual, &res).out.ptr;
    assert_true(has(out, " name=\"two-holders 49001\"") && has(out, " name=\"two-holders 49001 (2)\"") &&
                has(out, " name=\"two-holders 49001 (3)\""));
}

static void junit_reports_a_failure_with_what_was_found_all_the_same(void **state)
{
    struct nextport_error err = {NEXTPORT_BLIND, "iis: x\x1b <denied>", "Run as root."};
    struct nextport_result res = checked(2);
    (void)state;
    struct np_page page = failed("junit", &usual, &err, &res);
    assert_true(has(page.out.ptr, " tests=\"3\" failures=\"2\" errors=\"1\" "));
    assert_true(has(page.out.ptr, "<error type=\"blind\" message=\"iis: x\\x1b &lt;denied&gt;\">Run as root.</error>"));
    assert_string_equal(page.log.ptr, "nextport: iis: x\\x1b <denied>\nnextport: hint: Run as root.\n");
    assert_true(is_xml(page.out.ptr));
    assert_true(is_xml(failed("junit", &usual, &err, NULL).out.ptr));
}

static void junit_is_xml_whatever_is_found(void **state)
{
    (void)state;
    for (unsigned c = 1; c < 0x110000; c = c < 0x3000 ? c + 1 : c < 0xff00 ? c + 61 : c < 0x10100 ? c + 1 : c + 4099) {
        char text[16];
        size_t n = 0;
        if (c >= 0x80 && c < 0x800) {
            text[n++] = (char)(0xc0 | c >> 6);
        } else if (c >= 0x800 && c < 0x10000) {
            text[n++] = (char)(0xe0 | c >> 12); /* surrogates too: not UTF-8 */
            text[n++] = (char)(0x80 | (c >> 6 & 63));
        } else if (c >= 0x10000) {
            text[n++] = (char)(0xf0 | c >> 18);
            text[n++] = (char)(0x80 | (c >> 12 & 63));
            text[n++] = (char)(0x80 | (c >> 6 & 63));
        }
        text[n++] = (char)(c < 0x80 ? c : 0x80 | (c & 63));
        text[n] = '\0';
        struct nextport_claim claim = {
            .source = "iis", .holder = text, .detail = text, .count = 1, .protocol = NEXTPORT_TCP};
        struct nextport_finding finding = {NEXTPORT_ERROR, "x", 1, 1, text, text, &claim, 1};
        struct nextport_result res = {.what = NEXTPORT_ANSWER_CHECK,
                                      .fail_on = NEXTPORT_HAZARD,
                                      .host = text,
                                      .findings = &finding,
                                      .n_findings = 1};
        assert_true(is_xml(written("junit", &usual, &res).out.ptr));
    }
}

static void every_writer_writes_and_fails_every_answer_it_claims(void **state)
{
    struct nextport_error err = {NEXTPORT_FAILED, "x", ""};
    (void)state;
    for (size_t i = 0; np_writers[i]; i++)
        for (int what = NEXTPORT_ANSWER_NEXT; what <= NEXTPORT_ANSWER_EXEC; what++) {
            struct nextport_result res = {.what = (enum nextport_what)what, .host = "srv1"};
            if (!(np_writers[i]->answers & NP_ANSWER(what)))
                continue;
            written(np_writers[i]->name, &usual, &res);
            failed(np_writers[i]->name, &usual, &err, &res);
            failed(np_writers[i]->name, &usual, &err, NULL);
        }
    assert_null(np_writer_find("yaml"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_arena, close_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(times_are_utc_and_follow_the_calendar),
        TEST(a_cut_keeps_whole_characters_and_the_bound),
        TEST(the_summary_says_what_was_chosen_and_what_was_passed_over),
        TEST(the_summary_of_a_dry_run_promises_nothing),
        TEST(the_summary_stays_short_however_much_there_is_to_say),
        TEST(a_run_with_gaps_is_counted),
        TEST(plain_is_the_number_and_a_newline),
        TEST(plain_gives_one_line_for_each_port_and_no_last_newline_on_request),
        TEST(quiet_leaves_errors_only),
        TEST(notes_appear_by_their_level),
        TEST(what_was_not_seen_is_a_warning),
        TEST(a_failure_leaves_standard_output_empty),
        TEST(no_foreign_text_can_begin_a_line_or_a_command),
        TEST(octopus_sets_the_variable_by_exactly_one_line),
        TEST(octopus_pads_base64),
        TEST(octopus_puts_warnings_at_their_level_on_standard_output),
        TEST(octopus_sets_nothing_in_a_dry_run),
        TEST(octopus_fails_with_a_result_message_and_no_variable),
        TEST(octopus_refuses_names_it_could_not_keep),
        TEST(octopus_is_detected_by_what_a_tentacle_sets),
        TEST(json_of_next_has_its_fields_in_order),
        TEST(json_of_a_failure_names_status_slug_message_and_hint),
        TEST(json_of_a_full_pool_says_what_takes_it),
        TEST(json_of_why_has_claims_lease_and_probe),
        TEST(json_of_a_look_that_failed_keeps_what_was_seen),
        TEST(json_invents_no_number),
        TEST(a_table_leaves_out_empty_columns_and_trailing_blanks),
        TEST(a_table_fits_the_terminal),
        TEST(colour_is_an_option_and_always_ends),
        TEST(nothing_found_is_said_in_a_sentence),
        TEST(why_gives_each_reason_and_what_would_have_to_change),
        TEST(why_tells_a_lease_once),
        TEST(why_tells_whose_a_lease_is_and_who_uses_it),
        TEST(why_tells_what_is_only_avoided),
        TEST(free_shows_ranges_and_their_sum),
        TEST(leases_show_utc_times),
        TEST(doctor_marks_what_is_bad_without_colour_too),
        TEST(config_says_where_each_value_comes_from),
        TEST(what_the_ledger_kept_is_handed_on_only_when_it_is_an_object),
        TEST(a_member_that_was_kept_is_read_as_it_was),
        TEST(the_summary_says_whose_a_port_is_and_why_it_was_kept_or_moved),
        TEST(the_summary_tells_several_ports_apart),
        TEST(each_change_is_summed_up_in_a_sentence),
        TEST(octopus_tells_owner_and_reason_in_ascii),
        TEST(json_of_next_says_what_became_of_each_port),
        TEST(json_of_a_lease_has_its_labels_in_order),
        TEST(json_of_the_log_embeds_what_is_an_object_and_nothing_else),
        TEST(hints_of_one_kind_are_cut_off_after_a_few),
        TEST(json_of_check_has_findings_with_evidence),
        TEST(json_of_protect_and_map),
        TEST(plain_hands_an_export_on_byte_for_byte),
        TEST(leases_show_which_port_an_owner_uses),
        TEST(what_would_be_leased_says_how_to_have_it_done),
        TEST(the_log_is_one_line_for_each_event),
        TEST(what_was_found_and_advised_is_folded_where_the_terminal_ends),
        TEST(check_gives_each_finding_its_evidence_and_a_cure),
        TEST(protect_shows_what_it_would_write),
        TEST(a_map_shows_every_port_of_a_small_pool),
        TEST(a_map_of_a_large_pool_still_fits_a_screen),
        TEST(a_map_fits_any_width),
        TEST(junit_is_a_case_for_each_finding),
        TEST(junit_tells_findings_of_one_kind_and_port_apart),
        TEST(junit_reports_a_failure_with_what_was_found_all_the_same),
        TEST(junit_is_xml_whatever_is_found),
        TEST(every_writer_writes_and_fails_every_answer_it_claims),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
