/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/owner.h"

enum { MOST = 20 };

/* "key=value" items, as a person gives them on the command line; ends with NULL. */
static size_t labels_of(struct np_arena *arena, const char *const items[], struct nextport_label *ret)
{
    size_t n = 0;
    for (; items[n]; n++) {
        struct np_text value = np_text_of(items[n]), key;
        np_text_split(&value, '=', &key);
        ret[n] = (struct nextport_label){np_text_dup(arena, key), np_text_dup(arena, value)};
    }
    return n;
}

static void an_owner_is_its_labels_in_one_order(void **state)
{
    (void)state;
    static const struct {
        const char *items[MOST], *text, *key, *shown;
    } rows[] = {
        {{NULL}, "", "", NULL},
        {{"project=shop"}, "project=shop", "project=shop", "shop"},
        {{"Project=Shop"}, "project=Shop", "project=shop", "Shop"},
        {{"environment=QA", "project=Shop"}, "project=Shop\nenvironment=QA", "project=shop\nenvironment=qa", "Shop/QA"},
        {{"zone=b", "tenant=t", "channel=c", "Area=1", "environment=e", "project=p"},
         "project=p\nenvironment=e\nchannel=c\ntenant=t\narea=1\nzone=b",
         "project=p\nenvironment=e\nchannel=c\ntenant=t\narea=1\nzone=b",
         "p/e/c/t area=1 zone=b"},
        {{"project=p", "tenant=t"}, "project=p\ntenant=t", "project=p\ntenant=t", "p/-/-/t"},
        {{"project=p", "channel=c"}, "project=p\nchannel=c", "project=p\nchannel=c", "p/-/c"},
        {{"project=p", "channel=", "tenant="}, "project=p", "project=p", "p"},
        {{"team=web"}, "team=web", "team=web", "team=web"},
        {{"team=web", "a.b-c_d=1"}, "a.b-c_d=1\nteam=web", "a.b-c_d=1\nteam=web", "a.b-c_d=1 team=web"},
        {{"project=Straße ÄÖ"}, "project=Straße ÄÖ", "project=straße ÄÖ", "Straße ÄÖ"},
        {{"project=a=b"}, "project=a=b", "project=a=b", "a=b"},
        {{"project=%20 $HOME \"x\" #1 {y}"},
         "project=%20 $HOME \"x\" #1 {y}",
         "project=%20 $home \"x\" #1 {y}",
         "%20 $HOME \"x\" #1 {y}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct np_arena *arena = np_arena_new();
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        struct nextport_label labels[MOST];
        struct np_owner owner, parsed;
        const size_t n = labels_of(arena, rows[i].items, labels);
        if (np_owner_make(&owner, labels, n, arena, &err) != NEXTPORT_OK)
            fail_msg("row %zu: %s", i, err.text);
        assert_string_equal(owner.text, rows[i].text);
        assert_string_equal(owner.key, rows[i].key);
        assert_int_equal(owner.shown == NULL, rows[i].shown == NULL);
        if (owner.shown)
            assert_string_equal(owner.shown, rows[i].shown);
        assert_true(np_owner_parse(&parsed, owner.text, arena));
        assert_string_equal(parsed.text, owner.text);
        assert_string_equal(parsed.key, owner.key);
        assert_int_equal(parsed.n_labels, owner.n_labels);
        np_arena_free(arena);
    }
}

static const char *long_text(struct np_arena *arena, size_t n)
{
    char *text = np_alloc(arena, n + 1);
    memset(text, 'x', n);
    return text;
}

static void labels_that_are_none_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *items[MOST], *text, *hint; /* parts of them */
    } rows[] = {
        {{"project="}, "label 'project': is empty", "everybody"},
        {{"project=p", "environment="}, "label 'environment': is empty", "everybody"},
        {{"project=p", "team="}, "label 'team': is empty", "everybody"},
        {{"project=#{Octopus.Project.Name}"}, "label 'project': holds \"#{\"", "did not substitute a variable"},
        {{"project=p", "x=a#{b}"}, "label 'x': holds \"#{\"", "did not substitute a variable"},
        {{"project=a\nb"}, "label 'project': byte 2 is the control character 0x0a", "copied"},
        {{"project=a\tb"}, "byte 2 is the control character 0x09", "copied"},
        {{"project=\x7f"}, "byte 1 is the control character 0x7f", "copied"},
        {{"project=ab\xc2\x85"}, "byte 3 begins the control character U+0085", "copied"},
        {{"project=\xe2\x80\xa8"}, "byte 1 begins the control character U+2028", "copied"},
        {{"project=\xe2\x80\xa9"}, "U+2029", "copied"},
        {{"project=\xe2\x80\xae"}, "U+202E", "copied"},
        {{"project=\xe2\x81\xa6"}, "U+2066", "copied"},
        {{"project=\xe2\x81\xa9"}, "U+2069", "copied"},
        {{"project=a\xff"}, "label 'project': is not UTF-8", "UTF-8"},
        {{"project=\xc0\xaf"}, "label 'project': is not UTF-8", "UTF-8"},
        {{"project=\xed\xa0\x80"}, "label 'project': is not UTF-8", "UTF-8"},
        {{"project=a", "project=b"}, "label 'project' is given twice", ""},
        {{"project=a", "Team=b", "tEAM=b"}, "label 'team' is given twice", ""},
        {{"project=a", "channel=", "channel=x"}, "label 'channel' is given twice", ""},
        {{"project=a", "channel=x", "channel="}, "label 'channel' is given twice", ""},
        {{"environment=QA"}, "label 'environment' without a project", "--project"},
        {{"team=web", "tenant=t"}, "label 'tenant' without a project", "--project"},
        {{"channel=", "tenant="}, "every label is empty", "--project"},
        {{"=x"}, "'' is not the key of a label", "A key is a letter"},
        {{"1st=x"}, "'1st' is not the key of a label", "A key is a letter"},
        {{"a b=x"}, "'a b' is not the key of a label", "A key is a letter"},
        {{"ä=x"}, "'ä' is not the key of a label", "A key is a letter"},
        {{"a\nb=x"}, "'a\\x0ab' is not the key of a label", "A key is a letter"},
        {{"a=1", "b=1", "c=1", "d=1", "e=1", "f=1", "g=1", "h=1", "i=1", "j=1", "k=1", "l=1", "m=1", "n=1", "o=1",
          "p=1", "q=1"},
         "17 labels, at most 16",
         ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct np_arena *arena = np_arena_new();
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        struct nextport_label labels[MOST];
        struct np_owner owner;
        const size_t n = labels_of(arena, rows[i].items, labels);
        assert_int_equal(np_owner_make(&owner, labels, n, arena, &err), NEXTPORT_INPUT);
        assert_int_equal(owner.n_labels, 0);
        if (!strstr(err.text, rows[i].text) || !strstr(err.hint, rows[i].hint))
            fail_msg("row %zu: expected '%s', '%s', got '%s', '%s'", i, rows[i].text, rows[i].hint, err.text, err.hint);
        np_arena_free(arena);
    }
}

static void keys_and_values_have_their_bounds(void **state)
{
    (void)state;
    static const struct {
        size_t key, value;
        bool good;
    } rows[] = {{63, 1, true}, {64, 1, false}, {1, 200, true}, {1, 201, false}, {10240, 1, false}, {1, 10240, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct np_arena *arena = np_arena_new();
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        struct nextport_label label = {long_text(arena, rows[i].key), long_text(arena, rows[i].value)};
        struct np_owner owner;
        assert_int_equal(np_owner_make(&owner, &label, 1, arena, &err), rows[i].good ? NEXTPORT_OK : NEXTPORT_INPUT);
        assert_true(strlen(err.text) < 200);
        np_arena_free(arena);
    }
}

static void only_what_was_kept_is_read_back(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "project",
        "=shop",
        "project=",
        "project=shop\n",
        "\nproject=shop",
        "project=shop\n\nenvironment=QA",
        "Project=shop",
        "environment=QA\nproject=shop",
        "environment=QA",
        "project=a\nproject=a",
        "project=a\nzone=1\narea=1",
        "project=a\nchannel=",
        "project=#{x}",
        "project=a\r\nzone=1",
        "project=a\xff",
        "project=a\nzone",
        "\n",
    };
    struct np_arena *arena = np_arena_new();
    struct np_owner owner;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (np_owner_parse(&owner, bad[i], arena) || owner.n_labels)
            fail_msg("'%s' was read", bad[i]);
    assert_false(np_owner_parse(&owner, NULL, arena));
    assert_false(np_owner_parse(&owner, np_sprintf(arena, "project=%s", long_text(arena, 10240)), arena));
    struct np_buf many = {.arena = arena};
    for (int i = 0; i < 17; i++)
        np_buf_printf(&many, "%sk%c=1", i ? "\n" : "", 'a' + i);
    assert_false(np_owner_parse(&owner, many.ptr, arena));
    np_arena_free(arena);
}

/* ---- Of many owners ---- */

static unsigned dice(unsigned *seed, unsigned sides)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 16) % sides;
}

/* Letters that differ in case only, and everything that the text of labels is made of. */
static size_t any_labels(struct np_arena *arena, unsigned *seed, struct nextport_label *ret)
{
    static const char *const keys[] = {"project", "environment", "channel", "tenant", "a", "ab", "B"};
    static const char *const parts[] = {"a", "A", "b", "=", "project=", " ", "/", "-", "ß", "ẞ", "Ä", "ä"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (dice(seed, 3) == 0)
            continue;
        struct np_buf value = {.arena = arena};
        for (unsigned left = 1 + dice(seed, 2); left; left--)
            np_buf_puts(&value, parts[dice(seed, sizeof parts / sizeof *parts)]);
        ret[n++] = (struct nextport_label){keys[i], value.ptr};
    }
    for (size_t i = n; i > 1; i--) {
        const size_t j = dice(seed, (unsigned)i);
        const struct nextport_label swap = ret[i - 1];
        ret[i - 1] = ret[j];
        ret[j] = swap;
    }
    return n;
}

/* Said in the words of doc/lifetimes.md and nothing else: the same keys, and values that differ at most in ASCII case. */
static bool same_labels(const struct nextport_label *a, size_t n_a, const struct nextport_label *b, size_t n_b)
{
    for (size_t i = 0; i < n_a; i++) {
        bool found = false;
        for (size_t j = 0; j < n_b; j++)
            found = found || (np_equal_nocase(a[i].key, b[j].key) && np_equal_nocase(a[i].value, b[j].value));
        if (!found)
            return false;
    }
    return n_a == n_b;
}

static void two_owners_are_the_same_if_and_only_if_their_labels_are(void **state)
{
    (void)state;
    unsigned seed = 20261122, same = 0, other = 0;
    for (int round = 0; round < 20000; round++) {
        struct np_arena *arena = np_arena_new();
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        struct nextport_label labels[2][MOST];
        struct np_owner owners[2], again;
        size_t n[2];
        for (int i = 0; i < 2; i++) {
            n[i] = any_labels(arena, &seed, labels[i]);
            if (i && dice(&seed, 2)) { /* the same ones in upper case and backwards, often with another value */
                n[1] = n[0];
                for (size_t j = 0; j < n[0]; j++) {
                    char *value = np_strdup(arena, labels[0][n[0] - 1 - j].value);
                    for (char *c = value; *c; c++)
                        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
                    labels[1][j] = (struct nextport_label){labels[0][n[0] - 1 - j].key, value};
                }
                if (n[1] && dice(&seed, 2))
                    labels[1][0].value = "other";
            }
            if (np_owner_make_filter(&owners[i], labels[i], n[i], arena, &err) != NEXTPORT_OK)
                fail_msg("%s", err.text);
            if (np_owner_make(&again, labels[i], n[i], arena, &err) == NEXTPORT_OK) {
                assert_string_equal(again.text, owners[i].text);
                assert_true(np_owner_parse(&again, owners[i].text, arena));
                assert_string_equal(again.key, owners[i].key);
            } else {
                assert_false(np_owner_parse(&again, owners[i].text, arena));
            }
        }
        const bool equal = same_labels(labels[0], n[0], labels[1], n[1]);
        assert_int_equal(strcmp(owners[0].key, owners[1].key) == 0, equal);
        assert_int_equal(np_owner_matches(owners[0].labels, owners[0].n_labels, &owners[1]) &&
                             np_owner_matches(owners[1].labels, owners[1].n_labels, &owners[0]),
                         equal);
        same += equal, other += !equal;
        np_arena_free(arena);
    }
    assert_true(same > 1000 && other > 1000); /* both were tried */
}

static void a_filter_takes_the_owners_that_have_all_its_labels(void **state)
{
    (void)state;
    static const struct {
        const char *filter[MOST];
        bool matches;
    } rows[] = {
        {{NULL}, true},
        {{"project=SHOP"}, true},
        {{"environment=qa"}, true}, /* alone: to search by */
        {{"Team=WEB", "project=shop"}, true},
        {{"project=shop", "tenant=t"}, false},
        {{"project=sho"}, false},
        {{"project=shop "}, false},
        {{"team=Straße"}, false},
    };
    struct np_arena *arena = np_arena_new();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct nextport_label labels[MOST];
    struct np_owner owner, filter;
    size_t n = labels_of(arena, (const char *const[]){"project=Shop", "environment=QA", "team=web", NULL}, labels);
    assert_int_equal(np_owner_make(&owner, labels, n, arena, &err), NEXTPORT_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        n = labels_of(arena, rows[i].filter, labels);
        assert_int_equal(np_owner_make_filter(&filter, labels, n, arena, &err), NEXTPORT_OK);
        assert_int_equal(np_owner_matches(owner.labels, owner.n_labels, &filter), rows[i].matches);
        if (filter.n_labels)
            assert_false(np_owner_matches(NULL, 0, &filter)); /* nobody's lease has no labels */
    }
    np_arena_free(arena);
}

static void names_are_held_to_the_same_characters(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(np_check_word("Deployments-123 ü", "--deployment", &err), NEXTPORT_OK);
    assert_int_equal(np_check_word(long_text(arena, 200), "--deployment", &err), NEXTPORT_OK);
    assert_int_equal(np_check_word(long_text(arena, 201), "--deployment", &err), NEXTPORT_INPUT);
    assert_int_equal(np_check_word("", "--name", &err), NEXTPORT_INPUT);
    assert_string_equal(err.text, "--name: is empty");
    assert_int_equal(np_check_word("a\x1b[31m", "--name", &err), NEXTPORT_INPUT);
    assert_string_equal(err.text, "--name: byte 2 is the control character 0x1b");
    assert_int_equal(np_check_word("a\xe2\x80\xaf", "--name", &err), NEXTPORT_OK); /* U+202F, a narrow space */
    assert_int_equal(np_check_word("\xf0\x9f\x98\x80\xc2\xa0", "--name", &err), NEXTPORT_OK);
    np_arena_free(arena);
}

/* The same number on every machine, in every release: an owner's port must not wander when a program is updated. */
static void an_owners_search_begins_where_it_always_did(void **state)
{
    (void)state;
    static const struct {
        const char *key, *name;
        uint64_t seed;
    } rows[] = {
        {"", "", UINT64_C(0x25fc6dd36ce04b20)},
        {"project=shop", "Port", UINT64_C(0xeef601a3570cdb4d)},
        {"project=shop", "Port2", UINT64_C(0x7884a61efad53ec7)},
        {"project=shop\nenvironment=qa", "Port", UINT64_C(0x5ecd1558ed30f4b5)},
        {"project=straße\nteam=web", "HttpsPort", UINT64_C(0x1d0ca85248637d82)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(np_owner_seed(rows[i].key, rows[i].name) == rows[i].seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_owner_is_its_labels_in_one_order),
        cmocka_unit_test(labels_that_are_none_are_refused_with_the_reason),
        cmocka_unit_test(keys_and_values_have_their_bounds),
        cmocka_unit_test(only_what_was_kept_is_read_back),
        cmocka_unit_test(two_owners_are_the_same_if_and_only_if_their_labels_are),
        cmocka_unit_test(a_filter_takes_the_owners_that_have_all_its_labels),
        cmocka_unit_test(names_are_held_to_the_same_characters),
        cmocka_unit_test(an_owners_search_begins_where_it_always_did),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
