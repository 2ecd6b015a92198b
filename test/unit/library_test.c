/* The library as its callers see it: nextport.h and nothing else.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <nextport.h>

#include "lib/scratch.h"

struct fixture {
    char folder[SCRATCH_PATH], ledger[SCRATCH_PATH + 16];
    struct nextport *np;
    struct nextport_error err;
};

static void set(struct fixture *f, const char *key, const char *value)
{
    if (nextport_set(f->np, key, value, "test", &f->err) != NEXTPORT_OK)
        fail_msg("%s", f->err.text);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    scratch_make(f->folder, "library");
    snprintf(f->ledger, sizeof f->ledger, "%s/ledger.db", f->folder);
    f->np = nextport_new();
    set(f, "ledger.file", f->ledger);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    nextport_free(f->np);
    const bool removed = scratch_remove(f->folder);
    free(f);
    return removed ? 0 : -1;
}

static size_t leases(struct fixture *f)
{
    struct nextport_result *result = NULL;
    assert_int_equal(nextport_leases(f->np, NULL, &result, &f->err), NEXTPORT_OK);
    size_t n = result->n_leases;
    nextport_result_free(result);
    return n;
}

static struct nextport_result *next(struct fixture *f, unsigned count)
{
    struct nextport_request ask = NEXTPORT_REQUEST_INIT;
    struct nextport_result *result = NULL;
    ask.count = count;
    if (nextport_next(f->np, &ask, &result, &f->err) != NEXTPORT_OK)
        fail_msg("%s", f->err.text);
    return result;
}

static void a_granted_port_is_a_lease_in_the_ledger(void **state)
{
    struct fixture *f = *state;
    struct nextport_result *first = next(f, 0), *second = next(f, 0), *known = NULL;
    assert_true(first->changed);
    assert_int_equal(first->n_ports, 1);
    assert_string_equal(first->ports[0].name, "Port");
    assert_true(second->ports[0].port > first->ports[0].port);
    assert_int_equal(nextport_leases(f->np, NULL, &known, &f->err), NEXTPORT_OK);
    assert_int_equal(known->n_leases, 2);
    assert_int_equal(known->leases[0].id, first->ports[0].lease_id);
    assert_int_equal(known->leases[0].expires, first->ports[0].expires);
    nextport_result_free(first);
    nextport_result_free(second);
    nextport_result_free(known);
}

static void a_withdrawn_answer_leaves_no_lease(void **state)
{
    struct fixture *f = *state;
    struct nextport_result *kept = next(f, 0), *lost = next(f, 3);
    assert_int_equal(leases(f), 4);
    assert_int_equal(nextport_withdraw(f->np, lost, &f->err), NEXTPORT_OK);
    assert_int_equal(nextport_withdraw(f->np, lost, &f->err), NEXTPORT_OK);
    assert_int_equal(leases(f), 1);
    nextport_result_free(kept);
    nextport_result_free(lost);
}

static void a_dry_run_makes_nothing(void **state)
{
    struct fixture *f = *state;
    struct nextport_request ask = NEXTPORT_REQUEST_INIT;
    struct nextport_result *result = NULL;
    ask.dry_run = true;
    assert_int_equal(nextport_next(f->np, &ask, &result, &f->err), NEXTPORT_OK);
    assert_false(result->changed);
    assert_int_equal(result->ports[0].lease_id, 0);
    nextport_result_free(result);
    FILE *file = fopen(f->ledger, "rb");
    assert_null(file);
}

static void a_refusal_comes_with_what_stood_in_the_way(void **state)
{
    struct fixture *f = *state;
    struct nextport_request ask = NEXTPORT_REQUEST_INIT;
    struct nextport_result *result = next(f, 0);
    char port[16];
    snprintf(port, sizeof port, "%u", result->ports[0].port);
    nextport_result_free(result);
    set(f, "pool.range", port);
    result = NULL;
    assert_int_equal(nextport_next(f->np, &ask, &result, &f->err), NEXTPORT_FULL);
    assert_non_null(result);
    assert_string_equal(result->exhausted, "1 port: 1 lease");
    assert_int_equal(result->n_ports, 0);
    assert_int_equal(result->rejected[0].kind, NEXTPORT_LEASED);
    nextport_result_free(result);
}

static void a_release_is_repeatable(void **state)
{
    struct fixture *f = *state;
    struct nextport_result *granted = next(f, 0), *result = NULL;
    struct nextport_selection which = NEXTPORT_SELECTION_INIT;
    which.port = granted->ports[0].port;
    assert_int_equal(nextport_release(f->np, &which, &result, &f->err), NEXTPORT_OK);
    assert_true(result->changed);
    nextport_result_free(result);
    assert_int_equal(nextport_release(f->np, &which, &result, &f->err), NEXTPORT_OK);
    assert_false(result->changed);
    nextport_result_free(result);
    nextport_result_free(granted);
}

static void an_unreadable_source_forbids_the_answer_and_shows_itself(void **state)
{
    struct fixture *f = *state;
    struct nextport_request ask = NEXTPORT_REQUEST_INIT;
    struct nextport_result *result = NULL;
    set(f, "iis.files", "/nonexistent/applicationHost.config");
    assert_int_equal(nextport_next(f->np, &ask, &result, &f->err), NEXTPORT_BLIND);
    assert_non_null(strstr(f->err.text, "/nonexistent/applicationHost.config"));
    assert_string_not_equal(f->err.hint, "");
    assert_non_null(result);
    nextport_result_free(result);
    assert_int_equal(leases(f), 0);
}

static void an_answer_is_rendered_without_being_printed(void **state)
{
    struct fixture *f = *state;
    struct nextport_style style = NEXTPORT_STYLE_INIT;
    struct nextport_text text;
    struct nextport_result *result = next(f, 0);
    char expected[16];
    snprintf(expected, sizeof expected, "%u\n", result->ports[0].port);
    assert_int_equal(nextport_render(f->np, &style, result, NULL, &text, &f->err), NEXTPORT_OK);
    assert_int_equal(text.out_len, strlen(expected));
    assert_memory_equal(text.out, expected, text.out_len);
    assert_true(text.log_len > 0);
    style.format = "nonsense";
    assert_int_equal(nextport_render(f->np, &style, result, NULL, &text, &f->err), NEXTPORT_INPUT);
    nextport_result_free(result);
}

static void each_status_has_its_word_and_its_advice(void **state)
{
    (void)state;
    for (size_t i = 0; i < NEXTPORT_N_STATUS; i++) {
        assert_int_equal(nextport_statuses[i].status, i);
        assert_true(strlen(nextport_statuses[i].slug) > 0 && strlen(nextport_statuses[i].meaning) > 0);
        assert_true(i == 0 || strlen(nextport_statuses[i].advice) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_granted_port_is_a_lease_in_the_ledger, setup, teardown),
        cmocka_unit_test_setup_teardown(a_withdrawn_answer_leaves_no_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dry_run_makes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refusal_comes_with_what_stood_in_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(a_release_is_repeatable, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unreadable_source_forbids_the_answer_and_shows_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_is_rendered_without_being_printed, setup, teardown),
        cmocka_unit_test(each_status_has_its_word_and_its_advice),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
