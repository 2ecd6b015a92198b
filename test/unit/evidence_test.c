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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sockets_of_one_program_become_one_row_with_their_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_listener_and_its_connections_stay_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_person_wrote_into_a_file_stays_a_row_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(all_keeps_every_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(the_worse_of_two_sightings_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(only_a_required_source_that_was_not_seen_forbids_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_claim_keeps_every_one_of_its_strings, setup, teardown),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
