/* The JSON reader: what RFC 8259 allows and nothing else, told with line and column. The rows follow the ideas of the
 * JSONTestSuite, https://github.com/nst/JSONTestSuite.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

enum { LAX = NP_JSON_COMMENTS | NP_JSON_TRAILING_COMMAS };

#define BYTES(literal)                                                                                                 \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }

static struct np_arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = np_arena_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    np_arena_free(arena);
    return 0;
}

/* The tokens of a text as letters, with texts and numbers; "! LINE:COLUMN: WHY" where it ends badly. */
static const char *tokens(struct np_text bytes, unsigned options)
{
    static const char letters[] = "$!{}[]:sntf0";
    struct np_json_reader reader;
    struct np_buf out = {.arena = arena};
    np_json_reader_init(&reader, bytes, options, arena);
    do {
        np_json_next(&reader);
        np_buf_printf(&out, "%c", letters[reader.token]);
        if (reader.token == NP_JSON_KEY || reader.token == NP_JSON_STRING || reader.token == NP_JSON_NUMBER)
            np_buf_printf(&out, "<%s>", np_text_dup(arena, reader.text));
    } while (reader.token != NP_JSON_END && !np_json_is_bad(&reader));
    if (np_json_is_bad(&reader))
        np_buf_printf(&out, " %u:%u: %s", reader.line, np_json_column(&reader), reader.why);
    return out.ptr;
}

static void every_value_is_told_in_order(void **state)
{
    (void)state;
    static const struct {
        struct np_text text;
        const char *tokens;
    } rows[] = {
        {BYTES("{}"), "{}$"},
        {BYTES(" [\t]\r\n "), "[]$"},
        {BYTES("\xef\xbb\xbf[]"), "[]$"},
        {BYTES("[[],[{}]]"), "[[][{}]]$"},
        {BYTES("{\"a\" :{\"b\":\n[1, \"x\"]} , \"c\":null}"), "{:<a>{:<b>[n<1>s<x>]}:<c>0}$"},
        {BYTES("true"), "t$"},
        {BYTES("[true,false,null]"), "[tf0]$"},
        {BYTES("\"\""), "s<>$"},
        {BYTES("{\"\":0}"), "{:<>n<0>}$"},
        {BYTES("{\"a\":1,\"a\":2}"), "{:<a>n<1>:<a>n<2>}$"}, /* np_json_which() minds */
        {BYTES("[-0, 0.0, 1e5, 1E+5, 1.25e-07, -12]"), "[n<-0>n<0.0>n<1e5>n<1E+5>n<1.25e-07>n<-12>]$"},
        {BYTES("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"), "[s<\"\\/\b\f\n\r\t>]$"},
        {BYTES("[\"a\\u0041b\\u00e9\\u20AC\\uD83D\\uDE00z\"]"), "[s<aAb\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z>]$"},
        {BYTES("\"\x7f\xc2\x80\xef\xbf\xbd\xf4\x8f\xbf\xbf\""), "s<\x7f\xc2\x80\xef\xbf\xbd\xf4\x8f\xbf\xbf>$"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(tokens(rows[i].text, 0), rows[i].tokens);
}

static void whatever_is_not_json_is_refused_where_it_is_wrong(void **state)
{
    (void)state;
    static const struct {
        struct np_text text;
        const char *tokens;
    } rows[] = {
        {BYTES(""), "! 1:1: a value is missing: the text ends here"},
        {BYTES(" \n\n "), "! 3:2: a value is missing: the text ends here"},
        {BYTES("["), "[! 1:2: a value is missing: the text ends here"},
        {BYTES("[1"), "[n<1>! 1:3: ',' or ']' is missing: the text ends here"},
        {BYTES("[1,]"), "[n<1>! 1:4: a value is missing: ']' is here"},
        {BYTES("[,1]"), "[! 1:2: a value is missing: ',' is here"},
        {BYTES("[1 2]"), "[n<1>! 1:4: ',' or ']' is missing: '2' is here"},
        {BYTES("[1}"), "[n<1>! 1:3: ',' or ']' is missing: '}' is here"},
        {BYTES("[1]]"), "[n<1>]! 1:4: the end is missing: ']' is here"},
        {BYTES("{}{}"), "{}! 1:3: the end is missing: '{' is here"},
        {BYTES("{"), "{! 1:2: a key or '}' is missing: the text ends here"},
        {BYTES("{1:2}"), "{! 1:2: a key or '}' is missing: '1' is here"},
        {BYTES("{\"a\"}"), "{! 1:5: ':' is missing: '}' is here"},
        {BYTES("{\"a\":}"), "{:<a>! 1:6: a value is missing: '}' is here"},
        {BYTES("{\"a\":1,}"), "{:<a>n<1>! 1:8: a key is missing: '}' is here"},
        {BYTES("{\"a\":1 \"b\":2}"), "{:<a>n<1>! 1:8: ',' or '}' is missing: '\"' is here"},
        {BYTES("{'a':1}"), "{! 1:2: a key or '}' is missing: ''' is here"},
        {BYTES("[tru]"), "[! 1:2: a value is missing: 't' is here"},
        {BYTES("[nul"), "[! 1:2: a value is missing: 'n' is here"},
        {BYTES("[True]"), "[! 1:2: a value is missing: 'T' is here"},
        {BYTES("[NaN]"), "[! 1:2: a value is missing: 'N' is here"},
        {BYTES("[+1]"), "[! 1:2: a value is missing: '+' is here"},
        {BYTES("[01]"), "[! 1:2: a number begins with 0"},
        {BYTES("[-01]"), "[! 1:3: a number begins with 0"},
        {BYTES("[-]"), "[! 1:3: a digit is missing: ']' is here"},
        {BYTES("[.5]"), "[! 1:2: a value is missing: '.' is here"},
        {BYTES("[1.]"), "[! 1:4: a digit is missing: ']' is here"},
        {BYTES("[1e]"), "[! 1:4: a digit is missing: ']' is here"},
        {BYTES("[1e+]"), "[! 1:5: a digit is missing: ']' is here"},
        {BYTES("[0x1]"), "[n<0>! 1:3: ',' or ']' is missing: 'x' is here"},
        {BYTES("\""), "! 1:2: a string does not end"},
        {BYTES("[\"a\n\"]"), "[! 1:4: control character 0x0a stands in a string"},
        {BYTES("\"\0\""), "! 1:2: control character 0x00 stands in a string"},
        {BYTES("[\0]"), "[! 1:2: a value is missing: byte 0x00 is here"},
        {BYTES("[]\0"), "[]! 1:3: the end is missing: byte 0x00 is here"},
        {BYTES("\"\\x\""), "! 1:3: a known escape is missing: 'x' is here"},
        {BYTES("\"\\\0\""), "! 1:3: a known escape is missing: byte 0x00 is here"},
        {BYTES("\"\\"), "! 1:3: a known escape is missing: the text ends here"},
        {BYTES("\"\\u12\""), "! 1:6: a hexadecimal digit is missing: '\"' is here"},
        {BYTES("\"\\ud800\""), "! 1:8: half of a surrogate pair is no character"},
        {BYTES("\"\\ud800\\u0041\""), "! 1:14: half of a surrogate pair is no character"},
        {BYTES("\"\\ude00\\ud83d\""), "! 1:8: half of a surrogate pair is no character"},
        {BYTES("\"\xc3\xa9\xff\""), "! 1:3: byte 0xff is not UTF-8"},
        {BYTES("\"\xc0\xaf\""), "! 1:2: byte 0xc0 is not UTF-8"},     /* overlong */
        {BYTES("\"\xed\xa0\x80\""), "! 1:2: byte 0xed is not UTF-8"}, /* a surrogate */
        {BYTES("\"\xf4\x90\x80\x80\""), "! 1:2: byte 0xf4 is not UTF-8"},
        {BYTES("\"\xe2\x82\""), "! 1:2: byte 0xe2 is not UTF-8"}, /* cut */
        {BYTES("\"\xe2\x82"), "! 1:2: byte 0xe2 is not UTF-8"},
        {BYTES("[\xc2\xa0]"), "[! 1:2: a value is missing: byte 0xc2 is here"},
        {BYTES("\xef\xbb\xbf\xef\xbb\xbf[]"), "! 1:1: a value is missing: byte 0xef is here"},
        {BYTES("\xff\xfe[\0]\0"), "! 1:1: a value is missing: byte 0xff is here"}, /* UTF-16 */
        {BYTES("{\"a\"\n\n:1,\n\"b\"\n:x}"), "{:<a>n<1>:<b>! 5:2: a value is missing: 'x' is here"},
        {BYTES("[\r\n1,\r\n\"\xc3\xa9\",?]"), "[n<1>s<\xc3\xa9>! 3:5: a value is missing: '?' is here"},
        {BYTES("[1,//\n2]"), "[n<1>! 1:4: a value is missing: '/' is here"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(tokens(rows[i].text, 0), rows[i].tokens);
}

static void comments_and_trailing_commas_are_taken_where_they_are_allowed(void **state)
{
    (void)state;
    static const struct {
        struct np_text text;
        const char *tokens;
    } rows[] = {
        {BYTES("// \xc3\xa9\n[1, /* **/ 2,/***/]//"), "[n<1>n<2>]$"},
        {BYTES("{\"a\"/*:*/: //}\n1,/*\n*/}\n/**/"), "{:<a>n<1>}$"},
        {BYTES("[,]"), "[! 1:2: a value is missing: ',' is here"},
        {BYTES("[1,,]"), "[n<1>! 1:4: a value is missing: ',' is here"},
        {BYTES("{,}"), "{! 1:2: a key or '}' is missing: ',' is here"},
        {BYTES("[1,"), "[n<1>! 1:4: a value is missing: the text ends here"},
        {BYTES("[]/"), "[]! 1:3: the end is missing: '/' is here"},
        {BYTES("[/*\n"), "[! 2:1: a comment does not end"},
        {BYTES("/*/"), "! 1:4: a comment does not end"},
        {BYTES("// \xff\n1"), "! 1:4: byte 0xff is not UTF-8"},
        {BYTES("#\n1"), "! 1:1: a value is missing: '#' is here"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(tokens(rows[i].text, LAX), rows[i].tokens);
    assert_string_equal(tokens((struct np_text)BYTES("[1,/**/]"), NP_JSON_TRAILING_COMMAS),
                        "[n<1>! 1:4: a value is missing: '/' is here");
    assert_string_equal(tokens((struct np_text)BYTES("[1,/**/]"), NP_JSON_COMMENTS),
                        "[n<1>! 1:8: a value is missing: ']' is here");
}

static void nesting_has_a_bound_and_costs_no_stack(void **state)
{
    (void)state;
    enum { MANY = 1000000 };
    struct np_json_reader reader;
    static char deep[MANY];
    memset(deep, '[', NP_JSON_DEPTH_MAX);
    memset(&deep[NP_JSON_DEPTH_MAX], ']', NP_JSON_DEPTH_MAX);
    np_json_reader_init(&reader, (struct np_text){deep, 2 * NP_JSON_DEPTH_MAX}, 0, arena);
    np_json_next(&reader);
    np_json_skip(&reader);
    assert_int_equal(np_json_next(&reader), NP_JSON_END);
    memset(deep, '[', MANY);
    np_json_reader_init(&reader, (struct np_text){deep, MANY}, 0, arena);
    np_json_next(&reader);
    np_json_skip(&reader);
    assert_true(np_json_is_bad(&reader));
    assert_string_equal(reader.why, "nested more than 64 levels deep");
    assert_int_equal(np_json_column(&reader), NP_JSON_DEPTH_MAX + 1);
}

static void whole_numbers_are_told_from_others(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_integer;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"65535", true, 65535},
        {"-17", true, -17},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999999", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct np_json_reader reader;
        np_json_reader_init(&reader, np_text_of(rows[i].text), 0, arena);
        assert_int_equal(np_json_next(&reader), NP_JSON_NUMBER);
        assert_int_equal(reader.is_integer, rows[i].is_integer);
        if (rows[i].is_integer)
            assert_true(reader.integer == rows[i].value);
    }
}

/* {"port":..,"name":..} */
struct thing {
    int64_t port;
    const char *name;
};

static bool read_thing(const char *text, struct thing *ret, struct nextport_error *err)
{
    static const char *const keys[] = {"port", "name", NULL};
    struct np_json_reader reader;
    uint64_t seen = 0;
    *ret = (struct thing){0};
    np_json_reader_init(&reader, np_text_of(text), 0, arena);
    np_json_enter(&reader, NP_JSON_OBJECT);
    while (np_json_next(&reader) == NP_JSON_KEY)
        switch (np_json_which(&reader, keys, &seen)) {
        case 0:
            ret->port = np_json_read_int(&reader, 1, 65535);
            break;
        case 1:
            ret->name = np_json_read_text_or_null(&reader);
            break;
        default:
            np_json_skip(&reader);
        }
    np_json_finish(&reader);
    if (!np_json_is_bad(&reader))
        return true;
    np_json_fail(&reader, "a.json", err);
    return false;
}

static void what_a_caller_does_not_know_is_passed_over_but_checked(void **state)
{
    (void)state;
    struct thing thing;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_true(read_thing("{\"x\":{\"port\":[2,{\"\\u00e9\":\"\\n\"}]},\"name\":\"\\u0050\",\"y\":[],\"port\":80}",
                           &thing, &err));
    assert_int_equal(thing.port, 80);
    assert_string_equal(thing.name, "P");
    assert_true(read_thing("{\"name\":null}", &thing, &err));
    assert_null(thing.name);
    assert_false(read_thing("{\"x\":{\"y\":[\"\\q\"]},\"port\":80}", &thing, &err));
    assert_string_equal(err.text, "a.json:1:14: a known escape is missing: 'q' is here");
}

static void what_a_caller_does_not_want_is_named_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"[]", "a.json:1:1: the value is not an object"},
        {"{\n \"port\": 0}", "a.json:2:10: 'port' is not a whole number from 1 to 65535"},
        {"{\"port\":65536}", "a.json:1:9: 'port' is not a whole number from 1 to 65535"},
        {"{\"port\":\"80\"}", "a.json:1:9: 'port' is not a whole number from 1 to 65535"},
        {"{\"port\":80.0}", "a.json:1:9: 'port' is not a whole number from 1 to 65535"},
        {"{\"port\":80,\n\"port\":80}", "a.json:2:1: the key 'port' is given twice"},
        {"{\"name\":[\"x\"]}", "a.json:1:9: 'name' is not a string"},
        {"{\"name\":\"a\\u0000b\"}", "a.json:1:9: 'name' holds a NUL character"},
        {"{} {}", "a.json:1:4: the end is missing: '{' is here"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct thing thing;
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        assert_false(read_thing(rows[i].text, &thing, &err));
        assert_string_equal(err.text, rows[i].why);
        assert_int_equal(err.status, NEXTPORT_INPUT);
    }
}

static void a_bad_reader_keeps_its_first_reason_and_gives_nothing_more(void **state)
{
    (void)state;
    struct np_json_reader reader;
    np_json_reader_init(&reader, np_text_of("[1,2]"), 0, arena);
    np_json_next(&reader);
    np_json_next(&reader);
    np_json_refuse(&reader, "port %d is odd", 1);
    np_json_refuse(&reader, "later");
    np_json_skip(&reader);
    assert_int_equal(np_json_next(&reader), NP_JSON_BAD);
    assert_null(np_json_read_text(&reader));
    assert_int_equal(np_json_read_int(&reader, 3, 4), 3);
    np_json_finish(&reader);
    assert_string_equal(reader.why, "port 1 is odd");
    assert_int_equal(np_json_column(&reader), 2);
}

/* What the writer writes the reader reads. */
static void written_text_is_read_as_it_was(void **state)
{
    (void)state;
    static const char text[] = "\x01\x1f\"\\/##[\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
    struct np_buf out = {.arena = arena};
    struct np_json json = {.out = &out};
    struct np_json_reader reader;
    np_json_begin(&json, NULL, '[');
    np_json_string(&json, NULL, text);
    np_json_int(&json, NULL, INT64_MIN);
    np_json_end(&json, ']');
    np_json_reader_init(&reader, (struct np_text){out.ptr, out.len}, 0, arena);
    assert_true(np_json_enter(&reader, NP_JSON_ARRAY));
    assert_string_equal(np_json_read_text(&reader), text);
    assert_true(np_json_read_int(&reader, INT64_MIN, 0) == INT64_MIN);
    assert_true(np_json_enter(&reader, NP_JSON_ARRAY_END));
    np_json_finish(&reader);
    assert_false(np_json_is_bad(&reader));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_told_in_order),
        cmocka_unit_test(whatever_is_not_json_is_refused_where_it_is_wrong),
        cmocka_unit_test(comments_and_trailing_commas_are_taken_where_they_are_allowed),
        cmocka_unit_test(nesting_has_a_bound_and_costs_no_stack),
        cmocka_unit_test(whole_numbers_are_told_from_others),
        cmocka_unit_test(what_a_caller_does_not_know_is_passed_over_but_checked),
        cmocka_unit_test(what_a_caller_does_not_want_is_named_with_its_place),
        cmocka_unit_test(a_bad_reader_keeps_its_first_reason_and_gives_nothing_more),
        cmocka_unit_test(written_text_is_read_as_it_was),
    };
    return cmocka_run_group_tests_name("json", tests, setup, teardown);
}
