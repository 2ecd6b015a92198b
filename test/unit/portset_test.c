/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/portset.h"

/* Against the obvious model, an array of 65536 booleans, over all the edges of words. */
static void a_set_agrees_with_an_array_of_booleans(void **state)
{
    (void)state;
    static const uint16_t edges[] = {1,    2,    62,    63,    64,    65,    127,   128,
                                     8191, 8192, 49000, 65000, 65471, 65472, 65534, 65535};
    enum { N = sizeof edges / sizeof *edges };
    static bool model[65536];
    struct np_portset set = {{0}};
    unsigned turn = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t j = i; j < N; j += 3) {
            bool add = turn++ % 3 != 0;
            (add ? np_portset_add : np_portset_remove)(&set, edges[i], edges[j]);
            for (uint32_t p = edges[i]; p <= edges[j]; p++)
                model[p] = add;
            unsigned count = 0;
            uint16_t next = 0;
            for (uint32_t p = 65535; p >= 1; p--) {
                count += model[p];
                next = model[p] ? (uint16_t)p : next;
                if (np_portset_has(&set, (uint16_t)p) != model[p] || np_portset_next(&set, (uint16_t)p) != next)
                    fail_msg("port %u", p);
            }
            assert_int_equal(np_portset_count(&set), count);
        }
}

static void port_0_is_never_a_member(void **state)
{
    (void)state;
    struct np_portset set = {{0}};
    np_portset_add(&set, 0, 3);
    assert_false(np_portset_has(&set, 0));
    assert_int_equal(np_portset_count(&set), 3);
}

static void the_nth_member_has_so_many_below_it(void **state)
{
    (void)state;
    struct np_portset set = {{0}};
    assert_int_equal(np_portset_nth(&set, 0), 0);
    np_portset_add(&set, 1, 1);
    np_portset_add(&set, 60, 200);
    np_portset_add(&set, 65535, 65535);
    unsigned below = 0;
    for (uint32_t port = 1; port <= 65535; port++)
        if (np_portset_has(&set, (uint16_t)port))
            assert_int_equal(np_portset_nth(&set, below++), port);
    assert_int_equal(np_portset_nth(&set, below), 0);
    assert_int_equal(np_portset_nth(&set, UINT32_MAX), 0);
}

static void a_list_of_ranges_reads_back_as_it_was_meant(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_portset set = {{0}};
    assert_int_equal(np_portset_parse(&set, np_text_of(" 65535, 8080 ,49000-49001 , 1 - 3 "), "--range", &err),
                     NEXTPORT_OK);
    assert_string_equal(np_portset_format(arena, &set), "1-3,8080,49000-49001,65535");
    np_arena_free(arena);
}

static void a_bad_range_says_what_is_wrong_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "--range: no ports are given"},
        {"65000-49000", "--range: the range 65000-49000 is reversed"},
        {"0", "--range: '0' is not a port or a range of ports"},
        {"0-5", "--range: '0-5' is not a port or a range of ports"},
        {"1-65536", "--range: '1-65536' is not a port or a range of ports"},
        {"80-", "--range: '80-' is not a port or a range of ports"},
        {"-80", "--range: '-80' is not a port or a range of ports"},
        {"80--90", "--range: '80--90' is not a port or a range of ports"},
        {"80,", "--range: '' is not a port or a range of ports"},
        {"80,,90", "--range: '' is not a port or a range of ports"},
        {"http", "--range: 'http' is not a port or a range of ports"},
        {"80-90,85", "--range: '85' overlaps what was given before it at port 85"},
        {"80,70-90", "--range: '70-90' overlaps what was given before it at port 80"},
        {"99999999999999999999", "--range: '99999999999999999999' is not a port or a range of ports"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        struct np_portset set = {{0}};
        assert_int_equal(np_portset_parse(&set, np_text_of(rows[i].text), "--range", &err), NEXTPORT_INPUT);
        assert_string_equal(err.text, rows[i].message);
        assert_string_not_equal(err.hint, "");
        assert_int_equal(np_portset_count(&set), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_agrees_with_an_array_of_booleans),
        cmocka_unit_test(port_0_is_never_a_member),
        cmocka_unit_test(the_nth_member_has_so_many_below_it),
        cmocka_unit_test(a_list_of_ranges_reads_back_as_it_was_meant),
        cmocka_unit_test(a_bad_range_says_what_is_wrong_and_changes_nothing),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
