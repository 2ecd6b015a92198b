/* What netsh says, from test/netsh/. Those texts are reconstructions of the layout that Microsoft and users of Windows
 * have published, in the code pages that Windows uses; they are no captures.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "host/windows/netsh.h"

#define EXCLUDED(rows) "Title\r\n\r\nA    B\r\n-----    -----\r\n" rows "\r\n* - Legend\r\n"
#define DYNAMIC(rows) "Title\r\n---------------\r\n" rows "\r\n"

static const char usual[] = "80-80 5357-5357 49700-49799 50000-50059*";

static const struct {
    const char *file, *excluded, *dynamic; /* NULL: nothing is known */
} samples[] = {
    {"excluded-english", usual, NULL},
    {"excluded-german", usual, NULL},
    {"excluded-french", usual, NULL},
    {"excluded-japanese", usual, NULL},
    {"excluded-udp", "56030-56129 65535-65535", NULL},
    {"excluded-empty", "", NULL},
    {"excluded-truncated", NULL, NULL},
    {"dynamic-english", NULL, "49152-65535"},
    {"dynamic-german", NULL, "49152-65535"},
    {"dynamic-french", NULL, "49152-65535"},
    {"dynamic-japanese", NULL, "49152-65535"},
    {"dynamic-lowered", NULL, "1025-65535"},
    {"dynamic-truncated", NULL, NULL},
    {"empty", NULL, NULL},
    {"error", NULL, NULL},
    {"not-found", NULL, NULL},
    {"help", NULL, NULL},
};

static const char *excluded(struct np_arena *arena, struct np_text text)
{
    const struct np_excluded *rows;
    size_t n;
    struct np_buf out = {.arena = arena};
    if (!np_netsh_excluded(arena, text, &rows, &n))
        return NULL;
    np_buf_puts(&out, "");
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&out, "%s%u-%u%s", i ? " " : "", rows[i].ports.first, rows[i].ports.last,
                      rows[i].administered ? "*" : "");
    return out.ptr;
}

static const char *dynamic(struct np_arena *arena, struct np_text text)
{
    struct nextport_range range;
    return np_netsh_dynamic(text, &range) ? np_sprintf(arena, "%u-%u", range.first, range.last) : NULL;
}

static struct np_text slurp(struct np_arena *arena, const char *name)
{
    enum { LIMIT = 65536 };
    FILE *file = fopen(np_sprintf(arena, "%s/netsh/%s.in", TEST_DIR, name), "rb");
    assert_non_null(file);
    char *bytes = np_alloc(arena, LIMIT);
    const size_t n = fread(bytes, 1, LIMIT, file);
    assert_true(n < LIMIT && !ferror(file));
    fclose(file);
    return (struct np_text){bytes, n};
}

static void assert_says(const char *file, const char *said, const char *expected)
{
    if (!said != !expected || (said && strcmp(said, expected) != 0))
        fail_msg("%s: expected %s, got %s", file, expected ? expected : "nothing", said ? said : "nothing");
}

static void every_language_is_read_and_an_empty_table_is_no_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct np_arena *arena = np_arena_new();
        const struct np_text text = slurp(arena, samples[i].file);
        assert_says(samples[i].file, excluded(arena, text), samples[i].excluded);
        assert_says(samples[i].file, dynamic(arena, text), samples[i].dynamic);
        np_arena_free(arena);
    }
}

/* Wherever the text is cut, it says all or nothing. */
static void what_is_cut_short_is_unknown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct np_arena *arena = np_arena_new();
        struct np_text text = slurp(arena, samples[i].file);
        for (; text.len > 0; text.len--) {
            const char *ranges = excluded(arena, text), *range = dynamic(arena, text);
            if (ranges)
                assert_says(samples[i].file, ranges, samples[i].excluded);
            if (range)
                assert_says(samples[i].file, range, samples[i].dynamic);
        }
        np_arena_free(arena);
    }
}

static void a_row_that_does_not_fit_makes_the_table_unknown(void **state)
{
    (void)state;
    static const char *const good[] = {
        EXCLUDED("1 65535\r\n"),
        EXCLUDED("80 80 *\r\n"),
        EXCLUDED("\t80\t80\t*\r\n"),
        EXCLUDED(""),
        EXCLUDED("80 80\r\n\r\n90 90\r\n"),
        "-----    -----\n80 80\n* - Legend",
        EXCLUDED("80 80\r\n") "\r\nOk.\r\n",
    };
    static const char *const bad[] = {
        EXCLUDED("80\r\n"),
        EXCLUDED("80 80 80\r\n"),
        EXCLUDED("80 80 **\r\n"),
        EXCLUDED("80 80 * *\r\n"),
        EXCLUDED("80 80*\r\n"),
        EXCLUDED("81 80\r\n"),
        EXCLUDED("0 80\r\n"),
        EXCLUDED("65530 70000\r\n"),
        EXCLUDED("80 4294967376\r\n"),
        EXCLUDED("-80 80\r\n"),
        EXCLUDED("80-90 95\r\n"),
        EXCLUDED("80 80\r\nOne of 2 stores was read.\r\n"),
        EXCLUDED("80 80\r\n-----    -----\r\n"),
        "80 80\r\n\r\n",
        "A    B\r\n\r\n80 80\r\n\r\n",
        EXCLUDED("80 80\r\nAccess is denied.\r\n"),
        EXCLUDED("Access is denied.\r\n"),
        EXCLUDED("80 80\r\n") "\r\n90 90\r\n",
        "----------\r\n80 80\r\n\r\n* - Legend\r\n",
        "-----    -----\r\n80 80\r\n\r\n",
        "-----    -----\r\n80 80\r\n   ",
        "-----    -----\r\n",
        "-----    -----",
    };
    struct np_arena *arena = np_arena_new();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!excluded(arena, np_text_of(good[i])))
            fail_msg("not read: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (excluded(arena, np_text_of(bad[i])))
            fail_msg("read as %s: %s", excluded(arena, np_text_of(bad[i])), bad[i]);
    np_arena_free(arena);
}

static void two_numbers_that_make_a_range_or_nothing(void **state)
{
    (void)state;
    static const char *const good[] = {
        DYNAMIC("a : 1025\r\nb : 255\r\n"),
        DYNAMIC("a : 1\r\nb : 65535\r\n"),
        DYNAMIC("a : 65535\r\nb : 1\r\n"),
        DYNAMIC("\x81\x46"
                "1025\r\n\x81\x46"
                "255\r\n"),
    };
    static const char *const bad[] = {
        DYNAMIC("a : 49152\r\n"),
        DYNAMIC("a : 49152\r\nb : 16385\r\n"),
        DYNAMIC("a : 65535\r\nb : 2\r\n"),
        DYNAMIC("a : 0\r\nb : 255\r\n"),
        DYNAMIC("a : 1025\r\nb : 0\r\n"),
        DYNAMIC("a : 1025\r\nb : -255\r\n"),
        DYNAMIC("a : 65536\r\nb : 1\r\n"),
        DYNAMIC("a : 1025\r\nb : 4294967551\r\n"),
        DYNAMIC("a : 1025\r\nb : 255\r\nc : 255\r\n"),
        DYNAMIC("a : 1025 255\r\nb : 255\r\n"),
        DYNAMIC("ipv4 : 1025\r\nb : 255\r\n"),
        DYNAMIC("a : 1025\r\nb : none\r\n"),
        DYNAMIC("a : 1025\r\nb : 255 ports\r\n"),
        DYNAMIC(""),
        "a : 1025\r\nb : 255\r\n",
        "----\r\na : 1025\r\nb : 255",
    };
    struct np_arena *arena = np_arena_new();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!dynamic(arena, np_text_of(good[i])))
            fail_msg("not read: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (dynamic(arena, np_text_of(bad[i])))
            fail_msg("read as %s: %s", dynamic(arena, np_text_of(bad[i])), bad[i]);
    np_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_language_is_read_and_an_empty_table_is_no_error),
        cmocka_unit_test(what_is_cut_short_is_unknown),
        cmocka_unit_test(a_row_that_does_not_fit_makes_the_table_unknown),
        cmocka_unit_test(two_numbers_that_make_a_range_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
