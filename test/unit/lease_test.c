/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/lease.h"

/* The life of a lease, whole: state, due or not, what is seen -> what becomes of it. */
static void a_lease_ends_only_when_it_is_due_and_nobody_uses_it_and_nothing_is_hidden(void **state)
{
    (void)state;
    static const struct nextport_claim site = {.first = 1, .last = 1, .kind = NEXTPORT_CONFIGURED};
    static const struct {
        enum nextport_lease_state state;
        bool due, in_use, occupied, hidden;
        enum np_lease_step step;
    } rows[] = {
        {NEXTPORT_PENDING, false, false, false, false, NP_LEASE_KEEP},
        {NEXTPORT_PENDING, false, true, false, false, NP_LEASE_CONFIRM},
        {NEXTPORT_PENDING, true, false, false, false, NP_LEASE_EXPIRE},
        {NEXTPORT_PENDING, true, true, true, false, NP_LEASE_CONFIRM},
        {NEXTPORT_PENDING, true, true, true, true, NP_LEASE_CONFIRM},
        {NEXTPORT_PENDING, true, false, true, false, NP_LEASE_KEEP},
        {NEXTPORT_PENDING, true, false, false, true, NP_LEASE_KEEP},
        {NEXTPORT_CONFIRMED, true, false, false, false, NP_LEASE_KEEP},
        {NEXTPORT_CONFIRMED, false, true, true, false, NP_LEASE_KEEP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nextport_lease lease = {.port = 1, .state = rows[i].state, .expires = rows[i].due ? 1000 : 1001};
        assert_int_equal(
            np_lease_next_step(&lease, 1000, rows[i].in_use ? &site : NULL, rows[i].occupied, rows[i].hidden),
            rows[i].step);
    }
}

static void only_standing_sockets_and_declarations_keep_a_lease_alive(void **state)
{
    (void)state;
    static const struct {
        enum nextport_kind kind;
        bool transient, alive;
    } rows[] = {{NEXTPORT_SOCKET, false, true},     {NEXTPORT_SOCKET, true, false},
                {NEXTPORT_CONFIGURED, false, true}, {NEXTPORT_PUBLISHED, false, true},
                {NEXTPORT_RESERVED, false, false},  {NEXTPORT_LEASED, false, false},
                {NEXTPORT_SUSPECT, false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nextport_claim claim = {
            .first = 5, .last = 9, .protocol = NEXTPORT_TCP, .kind = rows[i].kind, .transient = rows[i].transient};
        struct np_evidence evidence = {.claims = &claim, .n_claims = 1};
        assert_int_equal(np_lease_use(&evidence, 7, NEXTPORT_TCP) != NULL, rows[i].alive);
        assert_null(np_lease_use(&evidence, 10, NEXTPORT_TCP));
    }
}

static void a_lease_that_ended_leaves_nothing_behind(void **state)
{
    (void)state;
    struct nextport_lease items[] = {{.port = 5}, {.port = 7}, {.port = 9}};
    struct np_leases leases = {.items = items, .n = 3};
    np_portset_add(&leases.taken, 5, 11);
    assert_ptr_equal(np_leases_at(&leases, 9), &items[2]);
    assert_null(np_leases_at(&leases, 4));
    assert_null(np_leases_at(&leases, 6));
    assert_null(np_leases_at(&leases, 11));
    np_leases_remove(&leases, 7);
    np_leases_remove(&leases, 11);
    assert_null(np_leases_at(&leases, 7));
    assert_int_equal(leases.n, 2);
    assert_int_equal(np_leases_at(&leases, 9)->port, 9);
    np_leases_remove(&leases, 9);
    np_leases_remove(&leases, 5);
    assert_int_equal(leases.n, 0);
    assert_null(np_leases_at(&leases, 5));
    assert_int_equal(np_portset_count(&leases.taken), 3);
    assert_false(np_portset_has(&leases.taken, 7) || np_portset_has(&leases.taken, 11));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_ends_only_when_it_is_due_and_nobody_uses_it_and_nothing_is_hidden),
        cmocka_unit_test(only_standing_sockets_and_declarations_keep_a_lease_alive),
        cmocka_unit_test(a_lease_that_ended_leaves_nothing_behind),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
