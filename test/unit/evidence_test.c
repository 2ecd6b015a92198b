/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/evidence.h"

static int setup(void **state)
{
    struct np_arena *arena = np_arena_new();
    struct np_evidence *evidence = np_alloc(arena, sizeof *evidence);
    evidence->arena = arena;
    evidence->log = np_alloc(arena, sizeof *evidence->log);
    evidence->log->arena = arena;
    *state = evidence;
    return 0;
}

static int teardown(void **state)
{
    np_arena_free(((struct np_evidence *)*state)->arena);
    return 0;
}

static void socket_claim(struct np_evidence *evidence, uint16_t port, const char *holder, bool transient,
                         const char *address)
{
    np_evidence_claim(evidence, &(struct nextport_claim){.first = port,
                                                         .last = port,
                                                         .protocol = NEXTPORT_TCP,
                                                         .kind = NEXTPORT_SOCKET,
                                                         .transient = transient,
                                                         .address = address,
                                                         .holder = holder,
                                                         .detail = transient ? "established" : "listening",
                                                         .source = "sockets"});
}

static void sockets_of_one_program_become_one_row_with_their_count(void **state)
{
    struct np_evidence *evidence = *state;
    for (uint16_t port = 50010; port >= 50001; port--) {
        socket_claim(evidence, port, "nginx", false, "0.0.0.0");
        socket_claim(evidence, port, "nginx", false, "::");
    }
    socket_claim(evidence, 50020, "nginx", false, "0.0.0.0");
    np_evidence_sort(evidence, false);
    assert_int_equal(evidence->n_claims, 2);
    assert_int_equal(evidence->claims[0].first, 50001);
    assert_int_equal(evidence->claims[0].last, 50010);
    assert_int_equal(evidence->claims[0].count, 20);
    assert_null(evidence->claims[0].address);
    assert_string_equal(evidence->claims[0].detail, "listening");
    assert_string_equal(evidence->claims[1].address, "0.0.0.0");
}

static void a_listener_and_its_connections_stay_apart(void **state)
{
    struct np_evidence *evidence = *state;
    for (int i = 0; i < 3; i++)
        socket_claim(evidence, 443, "nginx", true, "10.0.0.1");
    socket_claim(evidence, 443, "nginx", false, "0.0.0.0");
    np_evidence_sort(evidence, false);
    assert_int_equal(evidence->n_claims, 2);
    assert_false(evidence->claims[0].transient);
    assert_int_equal(evidence->claims[1].count, 3);
}

static void what_a_person_wrote_into_a_file_stays_a_row_of_its_own(void **state)
{
    struct np_evidence *evidence = *state;
    struct nextport_claim claim = {.first = 80,
                                   .last = 80,
                                   .protocol = NEXTPORT_TCP,
                                   .kind = NEXTPORT_CONFIGURED,
                                   .holder = "Shop",
                                   .source = "iis",
                                   .file = "a.config",
                                   .line = 3};
    np_evidence_claim(evidence, &claim);
    np_evidence_claim(evidence, &claim);
    np_evidence_sort(evidence, false);
    assert_int_equal(evidence->n_claims, 2);
}

/* As many as a file may declare. */
static void claims_of_one_port_are_sorted_however_many_there_are(void **state)
{
    enum { MANY = 200000 };
    struct np_evidence *evidence = *state;
    for (unsigned i = 0; i < MANY; i++)
        np_evidence_claim(evidence, &(struct nextport_claim){.first = 80,
                                                             .last = 80,
                                                             .protocol = NEXTPORT_TCP,
                                                             .kind = NEXTPORT_CONFIGURED,
                                                             .source = "nginx",
                                                             .line = MANY - i});
    socket_claim(evidence, 80, "nginx", false, "0.0.0.0");
    socket_claim(evidence, 81, "nginx", false, "0.0.0.0");
    np_evidence_sort(evidence, false);
    assert_int_equal(evidence->n_claims, MANY + 1);
    assert_int_equal(evidence->claims[0].last, 81);
    assert_int_equal(evidence->claims[1].line, 1);
    assert_int_equal(evidence->claims[MANY].line, MANY);
}

static void all_keeps_every_socket(void **state)
{
    struct np_evidence *evidence = *state;
    socket_claim(evidence, 81, "a", false, "x");
    socket_claim(evidence, 80, "a", false, "x");
    np_evidence_sort(evidence, true);
    assert_int_equal(evidence->n_claims, 2);
    assert_int_equal(evidence->claims[0].first, 80);
}

static void the_worse_of_two_sightings_counts(void **state)
{
    struct np_evidence *evidence = *state;
    np_evidence_sight(evidence, "iis", NEXTPORT_UNREADABLE, NEXTPORT_REQUIRE, "denied", NULL);
    np_evidence_sight(evidence, "iis", NEXTPORT_SEEN, NEXTPORT_REQUIRE, NULL, NULL);
    assert_int_equal(evidence->n_sightings, 1);
    assert_int_equal(np_evidence_sighting(evidence, "iis")->sight, NEXTPORT_UNREADABLE);
}

static void only_a_required_source_that_was_not_seen_forbids_an_answer(void **state)
{
    struct np_evidence *evidence = *state;
    np_evidence_sight(evidence, "a", NEXTPORT_UNREADABLE, NEXTPORT_WARN, "x", NULL);
    np_evidence_sight(evidence, "b", NEXTPORT_ABSENT, NEXTPORT_REQUIRE, NULL, NULL);
    np_evidence_sight(evidence, "c", NEXTPORT_SEEN, NEXTPORT_REQUIRE, NULL, NULL);
    assert_null(np_evidence_blind(evidence));
    np_evidence_sight(evidence, "d", NEXTPORT_PARTIAL, NEXTPORT_REQUIRE, "half", NULL);
    assert_string_equal(np_evidence_blind(evidence)->source, "d");
}

/* The caller's strings may go. */
static void a_claim_keeps_every_one_of_its_strings(void **state)
{
    struct np_evidence *evidence = *state;
    char text[] = "text";
    np_evidence_claim(evidence, &(struct nextport_claim){.first = 1,
                                                         .last = 1,
                                                         .address = text,
                                                         .holder = text,
                                                         .host = text,
                                                         .detail = text,
                                                         .source = text,
                                                         .file = text});
    memset(text, 'x', 4);
    const struct nextport_claim *claim = &evidence->claims[0];
    const char *const kept[] = {claim->address, claim->holder, claim->host, claim->detail, claim->source, claim->file};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_string_equal(kept[i], "text");
}

/* ---- From one request to the next ---- */

static const struct nextport_claim site = {.first = 49000,
                                           .last = 49003,
                                           .protocol = NEXTPORT_BOTH,
                                           .kind = NEXTPORT_CONFIGURED,
                                           .certainty = NEXTPORT_CONDITIONAL,
                                           .address = "[::1]",
                                           .holder = "shop",
                                           .host = "shop.example.org",
                                           .scheme = "https",
                                           .detail = "listen 49000-49003",
                                           .source = "nginx",
                                           .file = "/etc/nginx/nginx.conf",
                                           .line = 70000,
                                           .count = 1};

/* Packed: what a look at nginx brings, after something else. */
static struct np_text look_at_nginx(struct np_evidence *evidence, enum nextport_sight sight, bool *ret_ok)
{
    struct np_buf buf = {.arena = evidence->arena};
    socket_claim(evidence, 80, "nginx", false, "0.0.0.0");
    const struct np_mark since = np_evidence_mark(evidence);
    np_evidence_claim(evidence, &site);
    np_evidence_claim(evidence, &(struct nextport_claim){.kind = NEXTPORT_CONFIGURED,
                                                         .certainty = NEXTPORT_UNRESOLVED,
                                                         .protocol = NEXTPORT_TCP,
                                                         .source = "nginx"});
    np_evidence_fact(evidence, "shared-configuration", &site)->ends = 7;
    np_note(evidence->log, NEXTPORT_WARNING, "a warning of 100%%");
    np_evidence_sight(evidence, "nginx", sight, NEXTPORT_REQUIRE, NULL, NULL);
    const struct np_mark until = np_evidence_mark(evidence);
    socket_claim(evidence, 81, "nginx", false, "0.0.0.0");
    *ret_ok = np_evidence_write_down(evidence, since, until, "nginx", &buf);
    return (struct np_text){buf.ptr, buf.len};
}

static struct np_evidence *anew(struct np_evidence *evidence)
{
    const struct np_evidence empty = {.arena = evidence->arena, .log = evidence->log};
    evidence->log->n_notes = 0;
    *evidence = empty;
    return evidence;
}

static void what_was_written_down_is_read_as_if_it_had_come_now(void **state)
{
    struct np_evidence *evidence = *state;
    bool ok;
    struct np_unpack unpack = np_unpack_begin(look_at_nginx(evidence, NEXTPORT_SEEN, &ok));
    assert_true(ok);
    anew(evidence);
    assert_true(np_evidence_read(evidence, "nginx", NEXTPORT_WARN, &unpack));
    assert_int_equal(evidence->n_claims, 2);
    const struct nextport_claim *claim = &evidence->claims[0];
    const char *const texts[][2] = {{claim->address, site.address}, {claim->holder, site.holder},
                                    {claim->host, site.host},       {claim->scheme, site.scheme},
                                    {claim->detail, site.detail},   {claim->source, site.source},
                                    {claim->file, site.file}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_string_equal(texts[i][0], texts[i][1]);
    assert_int_equal(claim->first, site.first);
    assert_int_equal(claim->last, site.last);
    assert_int_equal(claim->protocol, site.protocol);
    assert_int_equal(claim->kind, site.kind);
    assert_int_equal(claim->certainty, site.certainty);
    assert_int_equal(claim->line, site.line);
    assert_int_equal(claim->count, site.count);
    assert_int_equal(evidence->claims[1].first, 0);
    assert_int_equal(evidence->n_facts, 1);
    assert_string_equal(evidence->facts[0].slug, "shared-configuration");
    assert_int_equal(evidence->facts[0].ends, 7);
    assert_string_equal(evidence->facts[0].where.holder, "shop");
    assert_int_equal(evidence->log->n_notes, 1);
    assert_string_equal(evidence->log->notes[0].text, "a warning of 100%");
    const struct nextport_sighting *s = np_evidence_sighting(evidence, "nginx");
    assert_int_equal(s->sight, NEXTPORT_SEEN);
    assert_int_equal(s->policy, NEXTPORT_WARN); /* of today */
}

static void what_another_look_may_better_is_not_written_down(void **state)
{
    bool ok;
    look_at_nginx(*state, NEXTPORT_PARTIAL, &ok);
    assert_false(ok);
    look_at_nginx(anew(*state), NEXTPORT_UNREADABLE, &ok);
    assert_false(ok);
    look_at_nginx(anew(*state), NEXTPORT_ABSENT, &ok);
    assert_true(ok);
}

static void what_a_process_has_is_not_written_down(void **state)
{
    struct np_evidence *evidence = *state;
    struct np_buf buf = {.arena = evidence->arena};
    const struct np_mark since = np_evidence_mark(evidence);
    np_evidence_sight(evidence, "sockets", NEXTPORT_SEEN, NEXTPORT_REQUIRE, NULL, NULL);
    socket_claim(evidence, 80, "nginx", false, "0.0.0.0");
    assert_false(np_evidence_write_down(evidence, since, np_evidence_mark(evidence), "sockets", &buf));
}

static void what_is_cut_off_or_no_claim_leaves_nothing_behind(void **state)
{
    struct np_evidence *evidence = *state;
    bool ok;
    const struct np_text whole = look_at_nginx(evidence, NEXTPORT_SEEN, &ok);
    const size_t n_claims = evidence->n_claims;
    char *bytes = np_text_dup(evidence->arena, whole);
    for (size_t n = 0; n < whole.len; n++) {
        struct np_unpack unpack = np_unpack_begin((struct np_text){bytes, n});
        assert_false(np_evidence_read(evidence, "nginx", NEXTPORT_WARN, &unpack));
        assert_int_equal(evidence->n_claims, n_claims);
        assert_int_equal(evidence->n_facts, 1);
        assert_int_equal(evidence->log->n_notes, 1);
    }
    for (size_t i = 0; i < 8 * whole.len; i++) { /* may be another claim, but never none */
        bytes[i / 8] ^= (char)(1 << i % 8);
        struct np_unpack unpack = np_unpack_begin((struct np_text){bytes, whole.len});
        anew(evidence);
        if (np_evidence_read(evidence, "nginx", NEXTPORT_WARN, &unpack))
            for (size_t k = 0; k < evidence->n_claims; k++)
                assert_true(evidence->claims[k].first <= evidence->claims[k].last && evidence->claims[k].source);
        bytes[i / 8] ^= (char)(1 << i % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sockets_of_one_program_become_one_row_with_their_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_listener_and_its_connections_stay_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_person_wrote_into_a_file_stays_a_row_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(claims_of_one_port_are_sorted_however_many_there_are, setup, teardown),
        cmocka_unit_test_setup_teardown(all_keeps_every_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(the_worse_of_two_sightings_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(only_a_required_source_that_was_not_seen_forbids_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_claim_keeps_every_one_of_its_strings, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_written_down_is_read_as_if_it_had_come_now, setup, teardown),
        cmocka_unit_test_setup_teardown(what_another_look_may_better_is_not_written_down, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_process_has_is_not_written_down, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_cut_off_or_no_claim_leaves_nothing_behind, setup, teardown),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
