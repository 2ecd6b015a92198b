/* The small things everything uses: text, numbers, JSON, error prefixes, and what makes foreign text harmless.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/pack.h"
#include "base/text.h"

static void an_error_reads_from_the_task_down_to_the_cause(void **state)
{
    (void)state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    np_fail(&err, NEXTPORT_DENIED, "open %s: permission denied", "/x");
    np_hint(&err, "Run as root.");
    np_hint(&err, "A later hint does not replace the first.");
    assert_int_equal(np_wrap(&err, "lock ledger"), NEXTPORT_DENIED);
    assert_string_equal(err.text, "lock ledger: open /x: permission denied");
    assert_string_equal(err.hint, "Run as root.");
    np_fail(&err, NEXTPORT_INPUT, "afresh");
    assert_string_equal(err.hint, "");
}

static void a_message_longer_than_its_room_is_cut_and_ends(void **state)
{
    (void)state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    char longest[4096];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    np_fail(&err, NEXTPORT_INPUT, "%s", longest);
    for (int i = 0; i < 5; i++)
        np_wrap(&err, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void ports_are_plain_digits_from_1_to_65535(void **state)
{
    (void)state;
    static const char *const bad[] = {"",   "0",   "65536", "-1",   "+1",  " 1",
                                      "1 ", "0x1", "1e3",   "port", "1.0", "99999999999999999999999"};
    uint16_t port = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(np_text_port(np_text_of(bad[i]), &port));
    assert_int_equal(port, 7);
    assert_true(np_text_port(np_text_of("1"), &port) && port == 1);
    assert_true(np_text_port(np_text_of("65535"), &port) && port == 65535);
    assert_true(np_text_port(np_text_of("00080"), &port) && port == 80);
}

static void a_text_begins_and_ends_with_itself_and_with_nothing(void **state)
{
    (void)state;
    const struct np_text text = np_text_of("shop.Socket"), none = {0};
    static const char *const begins[] = {"", "shop", "shop.Socket"}, *const ends[] = {"", ".Socket", "shop.Socket"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(np_text_begins(text, begins[i]) && np_text_begins_nocase(text, begins[i]));
        assert_true(np_text_ends(text, ends[i]) && np_text_ends_nocase(text, ends[i]));
    }
    assert_true(np_text_begins_nocase(text, "SHOP") && !np_text_begins(text, "SHOP"));
    assert_true(np_text_ends_nocase(text, ".socket") && !np_text_ends(text, ".socket"));
    assert_false(np_text_begins(text, "shop.Socket.d") || np_text_begins_nocase(text, "hop"));
    assert_false(np_text_ends(text, "a shop.Socket") || np_text_ends_nocase(text, ".socke"));
    assert_true(np_text_begins(none, "") && np_text_ends(none, ""));
    assert_false(np_text_begins(none, "x") || np_text_ends_nocase(none, "x"));
}

static void durations_have_a_unit_and_a_bound(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds; /* 0: refused */
    } rows[] = {{"90", 90},
                {"90s", 90},
                {"15m", 900},
                {"24h", 86400},
                {"7d", 604800},
                {"0", 0},
                {"0s", 0},
                {"5x", 0},
                {"", 0},
                {"s", 0},
                {"-5s", 0},
                {"1.5h", 0},
                {"3650d", NP_DURATION_MAX},
                {"3651d", 0},
                {"99999999999999999999d", 0},
                {"1h30m", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t seconds = 0;
        assert_int_equal(np_text_duration(np_text_of(rows[i].text), &seconds), rows[i].seconds != 0);
        assert_int_equal(seconds, rows[i].seconds);
    }
}

static void splitting_yields_empty_parts_too(void **state)
{
    (void)state;
    struct np_text rest = np_text_of(",a,"), part;
    assert_true(np_text_split(&rest, ',', &part) && part.len == 0);
    assert_true(np_text_split(&rest, ',', &part) && np_text_is(part, "a"));
    assert_true(np_text_split(&rest, ',', &part) && part.len == 0);
    assert_false(np_text_split(&rest, ',', &part));
}

static void utf8_refuses_overlong_forms_surrogates_and_cut_sequences(void **state)
{
    (void)state;
    static const char *const bad[] = {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(np_utf8_valid(np_text_of(bad[i])));
    assert_true(np_utf8_valid(np_text_of("Kaufhaus \xc3\x9c \xe2\x82\xac \xf0\x9f\x98\x80")));
}

static void a_text_is_cut_between_characters(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xa4\xf0\x9f\x98\x80z", endless[] = "\x89\x89\x89\x89\x89\x89\x89\x89";
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 3, 7, 8, 8};
    for (size_t most = 0; most < sizeof expected / sizeof *expected; most++)
        assert_int_equal(np_text_cut(np_text_of(text), most), expected[most]);
    for (size_t most = 0; most < 8; most++) /* no characters: anywhere, but never before the beginning */
        assert_in_range(np_text_cut(np_text_of(endless), most), most > 3 ? most - 3 : 0, most);
}

static void the_nearest_word_is_what_was_meant_or_nothing(void **state)
{
    (void)state;
    static const char *const words[] = {"next", "used", "free", "why", "leases", "release", NULL};
    assert_string_equal(nextport_nearest("nxt", words), "next");
    assert_string_equal(nextport_nearest("lease", words), "leases");
    assert_string_equal(nextport_nearest("realease", words), "release");
    assert_null(nextport_nearest("banana", words));
    assert_null(nextport_nearest("", words));
}

static void no_text_equals_only_no_text(void **state)
{
    (void)state;
    char other[] = "a";
    assert_true(np_equal(NULL, NULL) && np_equal("", "") && np_equal("a", other));
    assert_false(np_equal(NULL, "") || np_equal("", NULL) || np_equal("a", "A") || np_equal("a", "ab"));
    assert_true(np_compare(NULL, "") < 0 && np_compare("", NULL) > 0 && np_compare("a", "b") < 0);
}

static void foreign_text_cannot_steer_a_log(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    static const struct {
        const char *text, *shown, *ascii;
    } rows[] = {
        {"##octopus[setVariable name='x']", "#\\#octopus[setVariable name='x']", "#\\#octopus[setVariable name='x']"},
        {"a##[error]b", "a#\\#[error]b", "a#\\#[error]b"},
        {"####vso[", "#\\#\\#\\#vso[", "#\\#\\#\\#vso["},
        {"two\nlines\r\x1b[31m", "two\\x0alines\\x0d\\x1b[31m", "two\\x0alines\\x0d\\x1b[31m"},
        {"M\xc3\xbcller", "M\xc3\xbcller", "M\\xc3\\xbcller"},
        {"\xc2\x9b"
         "31m\x7f\xff",
         "\\xc2\\x9b31m\\x7f\\xff", "\\xc2\\x9b31m\\x7f\\xff"},
        {NULL, "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(np_neutral(arena, rows[i].text, false), rows[i].shown);
        assert_string_equal(np_neutral(arena, rows[i].text, true), rows[i].ascii);
    }
    np_arena_free(arena);
}

static void json_is_ascii_whatever_it_is_given(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_buf out = {.arena = arena};
    struct np_json json = {.out = &out};
    np_json_begin(&json, NULL, '{');
    np_json_string(&json, "a\"b", "\\ \n \xc3\xbc \xf0\x9f\x98\x80 \xff \xed\xa0\x80");
    np_json_begin(&json, "list", '[');
    np_json_int(&json, NULL, INT64_MIN);
    np_json_bool(&json, NULL, false);
    np_json_string(&json, NULL, NULL);
    np_json_end(&json, ']');
    np_json_begin(&json, "empty", '{');
    np_json_end(&json, '}');
    np_json_int(&json, "last", 1);
    np_json_end(&json, '}');
    assert_string_equal(out.ptr, "{\"a\\\"b\":\"\\\\ \\u000a \\u00fc \\ud83d\\ude00 \\ufffd \\ufffd\\ufffd\\ufffd\","
                                 "\"list\":[-9223372036854775808,false,null],\"empty\":{},\"last\":1}");
    np_arena_free(arena);
}

static void an_array_keeps_its_items_while_it_grows(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    unsigned *items = NULL;
    size_t n = 0, capacity = 0;
    for (unsigned i = 0; i < 100000; i++)
        *(unsigned *)np_push(arena, &items, &n, &capacity, sizeof *items) = i;
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(items[i], i);
    np_arena_free(arena);
}

static void a_map_finds_what_was_put_in_by_name(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_map map = {.arena = arena};
    assert_null(np_map_find(&map, "0"));
    for (unsigned i = 0; i < 10000; i++) {
        const char *key = np_sprintf(arena, "%u", i);
        assert_null(*np_map_at(&map, key));
        *np_map_at(&map, key) = arena;
    }
    assert_int_equal(map.n, 10000);
    for (unsigned i = 0; i < 10000; i++)
        assert_ptr_equal(np_map_find(&map, np_sprintf(arena, "%u", i)), arena);
    assert_null(np_map_find(&map, "10000"));
    np_arena_free(arena);
}

static void what_is_packed_is_read_as_it_was(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    const size_t n = sizeof numbers / sizeof *numbers;
    struct np_arena *arena = np_arena_new();
    struct np_buf buf = {.arena = arena};
    for (size_t i = 0; i < n; i++)
        np_pack_number(&buf, numbers[i]);
    np_pack_text(&buf, "shop");
    np_pack_text(&buf, NULL);
    np_pack_text(&buf, "");
    np_pack_bytes(&buf, (struct np_text){"a\0b", 3});
    np_pack_sum(&buf);
    struct np_text whole = {buf.ptr, buf.len};
    assert_true(np_unpack_sum(&whole));
    struct np_unpack unpack = np_unpack_begin(whole);
    for (size_t i = 0; i < n; i++)
        assert_true(np_unpack_number(&unpack, UINT64_MAX) == numbers[i]);
    assert_string_equal(np_unpack_text(&unpack), "shop");
    assert_null(np_unpack_text(&unpack));
    assert_string_equal(np_unpack_text(&unpack), "");
    assert_false(np_unpack_is_done(&unpack));
    const struct np_text bytes = np_unpack_bytes(&unpack);
    assert_int_equal(bytes.len, 3);
    assert_memory_equal(bytes.ptr, "a\0b", 3);
    assert_true(np_unpack_is_done(&unpack));
    assert_int_equal(np_unpack_number(&unpack, UINT64_MAX), 0);
    assert_true(unpack.broken);
    np_arena_free(arena);
}

static void what_was_not_packed_so_is_broken_and_gives_nothing(void **state)
{
    (void)state;
    static const struct np_text texts[] = {{"", 0},         {"\5abc", 4},
                                           {"\5abcd", 5},   {"\5abcde", 6},
                                           {"\4a\0b\0", 5}, {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 10}};
    static const struct np_text numbers[] = {{"", 0},
                                             {"\x80", 1},
                                             {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\2", 10},
                                             {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", 11}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct np_unpack unpack = np_unpack_begin(texts[i]);
        assert_null(np_unpack_text(&unpack));
        assert_true(unpack.broken);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct np_unpack unpack = np_unpack_begin(numbers[i]);
        assert_true(np_unpack_number(&unpack, UINT64_MAX) == 0 && unpack.broken);
    }
    struct np_unpack unpack = np_unpack_begin((struct np_text){"\5", 1});
    assert_true(np_unpack_number(&unpack, 4) == 0 && unpack.broken);
}

static void a_sum_knows_each_bit_and_where_bytes_were_cut_off(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_buf buf = {.arena = arena};
    np_buf_puts(&buf, "nineteen bytes long");
    np_pack_sum(&buf);
    for (size_t i = 0; i < 8 * buf.len; i++) {
        struct np_text whole = {buf.ptr, buf.len};
        buf.ptr[i / 8] ^= (char)(1 << i % 8);
        assert_false(np_unpack_sum(&whole));
        buf.ptr[i / 8] ^= (char)(1 << i % 8);
    }
    for (size_t n = 0; n < buf.len; n++) {
        struct np_text cut = {buf.ptr, n};
        assert_false(np_unpack_sum(&cut));
    }
    np_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_reads_from_the_task_down_to_the_cause),
        cmocka_unit_test(a_message_longer_than_its_room_is_cut_and_ends),
        cmocka_unit_test(ports_are_plain_digits_from_1_to_65535),
        cmocka_unit_test(a_text_begins_and_ends_with_itself_and_with_nothing),
        cmocka_unit_test(durations_have_a_unit_and_a_bound),
        cmocka_unit_test(splitting_yields_empty_parts_too),
        cmocka_unit_test(utf8_refuses_overlong_forms_surrogates_and_cut_sequences),
        cmocka_unit_test(a_text_is_cut_between_characters),
        cmocka_unit_test(the_nearest_word_is_what_was_meant_or_nothing),
        cmocka_unit_test(no_text_equals_only_no_text),
        cmocka_unit_test(foreign_text_cannot_steer_a_log),
        cmocka_unit_test(json_is_ascii_whatever_it_is_given),
        cmocka_unit_test(an_array_keeps_its_items_while_it_grows),
        cmocka_unit_test(a_map_finds_what_was_put_in_by_name),
        cmocka_unit_test(what_is_packed_is_read_as_it_was),
        cmocka_unit_test(what_was_not_packed_so_is_broken_and_gives_nothing),
        cmocka_unit_test(a_sum_knows_each_bit_and_where_bytes_were_cut_off),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
