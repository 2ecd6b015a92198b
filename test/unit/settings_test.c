/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/settings.h"

static const struct np_policy_setting policies[] = {
    {"probe", NEXTPORT_REQUIRE, true}, {"iis", NEXTPORT_REQUIRE, false}, {"nat", NEXTPORT_WARN, false}};
static const char *const formats[] = {"plain", "json", "octopus", "auto", NULL};

static int setup(void **state)
{
    struct np_arena *arena = np_arena_new();
    struct np_settings *settings = np_alloc(arena, sizeof *settings);
    np_settings_init(settings, arena, policies, 3, formats);
    *state = settings;
    return 0;
}

static int teardown(void **state)
{
    np_arena_free(((struct np_settings *)*state)->arena);
    return 0;
}

static enum nextport_status parse(struct np_settings *s, const char *text, struct nextport_error *err)
{
    return np_settings_parse(s, "n.conf", np_text_of(text), err);
}

static void a_file_sets_what_it_says(void **state)
{
    struct np_settings *s = *state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(
        parse(s,
              "\xef\xbb\xbf# comment\r\n; another\r\n\r\n[pool]\r\n range = 8000-8099,9000 \r\nexclude=8001\n"
              "exclude = 8002\nprotocol = both\n[lease]\npending = 7d\n[ledger]\nfile = /x/y z.db\nwait = 0\n"
              "[output]\nformat = octopus\n[iis]\nfiles = /a\nfiles = /b\n[policy]\niis = warn",
              &err),
        NEXTPORT_OK);
    assert_string_equal(np_portset_format(s->arena, &s->pool), "8000-8099,9000");
    assert_string_equal(np_portset_format(s->arena, &s->exclude), "8001-8002");
    assert_int_equal(s->protocol, NEXTPORT_BOTH);
    assert_int_equal(s->pending_s, 604800);
    assert_int_equal(s->wait_s, 0);
    assert_string_equal(s->ledger, "/x/y z.db");
    assert_string_equal(s->format, "octopus");
    assert_int_equal(s->iis_files.n, 2);
    assert_string_equal(s->iis_files.items[1], "/b");
    assert_int_equal(np_settings_policy(s, "iis"), NEXTPORT_WARN);
}

static void a_mistake_is_named_with_its_line_and_the_nearest_word(void **state)
{
    struct np_settings *s = *state;
    static const struct {
        const char *text, *message, *hint;
    } rows[] = {
        {"[pool]\nrnage = 1-2", "n.conf:2: unknown setting 'pool.rnage'", "Did you mean 'pool.range'?"},
        {"\n[pol]\n", "n.conf:2: unknown section [pol]", "Did you mean [pool]?"},
        {"[pool]\nrange = 80-", "n.conf:2: pool.range: '80-' is not a port or a range of ports", NULL},
        {"[pool]\nrange = 5\nrange = 6", "n.conf:3: pool.range was set already in line 2", ""},
        {"[pool\n", "n.conf:1: the section's closing ']' is missing", ""},
        {"range = 5", "n.conf:1: a setting before the first [section]", ""},
        {"[pool]\nrange", "n.conf:2: neither '[section]' nor 'key = value'", NULL},
        {"[lease]\npending = 5x", "n.conf:2: lease.pending: '5x' is not a duration", NULL},
        {"[lease]\npending = 0", "n.conf:2: lease.pending: '0' is not a duration", NULL},
        {"[output]\nformat = jsn", "n.conf:2: output.format: unknown format 'jsn'", "Did you mean 'json'?"},
        {"[policy]\niis = maybe", "n.conf:2: policy.iis: 'maybe' is not a policy", NULL},
        {"[policy]\nprobe = off", "n.conf:2: policy.probe: the policy of 'probe' cannot be weakened", NULL},
        {"[policy]\nssockets = off", "n.conf:2: unknown setting 'policy.ssockets'", NULL},
        {"[ledger]\nuser = perhaps", "n.conf:2: ledger.user: 'perhaps' is neither yes nor no", NULL},
        {"[ledger]\nfile =", "n.conf:2: ledger.file: the path is empty", ""},
        {"[pool]\nrange = \xff", "n.conf:2: not text in UTF-8",
         "Save it as UTF-8; some editors and shells write UTF-16 or a code page of their own."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        np_settings_init(s, s->arena, policies, 3, formats);
        assert_int_equal(parse(s, rows[i].text, &err), NEXTPORT_INPUT);
        assert_string_equal(err.text, rows[i].message);
        if (rows[i].hint)
            assert_string_equal(err.hint, rows[i].hint);
        else
            assert_string_not_equal(err.hint, "");
    }
}

static void an_option_beats_the_environment_beats_the_file_in_any_order(void **state)
{
    struct np_settings *s = *state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    np_settings_set(s, "output.format", np_text_of("json"), NP_BY_CALLER, "--format", &err);
    np_settings_set(s, "output.format", np_text_of("octopus"), NP_BY_ENVIRONMENT, "NEXTPORT_FORMAT", &err);
    assert_int_equal(parse(s, "[output]\nformat = plain", &err), NEXTPORT_OK);
    assert_string_equal(s->format, "json");
    assert_true(np_settings_is_set(s, "output.format", NP_BY_ENVIRONMENT));
    assert_false(np_settings_is_set(s, "pool.range", NP_BY_DEFAULT));
}

static void an_overridden_value_must_be_sound_all_the_same(void **state)
{
    struct np_settings *s = *state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    np_settings_set(s, "pool.range", np_text_of("1-2"), NP_BY_CALLER, "--range", &err);
    assert_int_equal(parse(s, "[pool]\nrange = nonsense", &err), NEXTPORT_INPUT);
    assert_string_equal(np_portset_format(s->arena, &s->pool), "1-2");
}

static void strict_requires_what_would_only_warn(void **state)
{
    struct np_settings *s = *state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(np_settings_policy(s, "nat"), NEXTPORT_WARN);
    np_settings_set(s, "policy.strict", np_text_of("yes"), NP_BY_CALLER, "--strict", &err);
    assert_int_equal(np_settings_policy(s, "nat"), NEXTPORT_REQUIRE);
}

static void every_value_tells_where_it_came_from(void **state)
{
    struct np_settings *s = *state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct nextport_item *items;
    size_t n, checked = 0;
    parse(s, "[pool]\nexclude = 5\nexclude = 7", &err);
    np_settings_set(s, "lease.pending", np_text_of("1h"), NP_BY_CALLER, "--ttl", &err);
    np_settings_items(s, s->arena, &items, &n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(items[i].name, "exclude") == 0) {
            assert_string_equal(items[i].value, "5,7");
            assert_string_equal(items[i].origin, "n.conf:2, n.conf:3");
            checked++;
        } else if (strcmp(items[i].name, "pending") == 0) {
            assert_string_equal(items[i].value, "1h");
            assert_string_equal(items[i].origin, "--ttl");
            checked++;
        } else if (strcmp(items[i].name, "range") == 0) {
            assert_string_equal(items[i].origin, "default");
            checked++;
        }
    }
    assert_int_equal(checked, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_sets_what_it_says, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mistake_is_named_with_its_line_and_the_nearest_word, setup, teardown),
        cmocka_unit_test_setup_teardown(an_option_beats_the_environment_beats_the_file_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(an_overridden_value_must_be_sound_all_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(strict_requires_what_would_only_warn, setup, teardown),
        cmocka_unit_test_setup_teardown(every_value_tells_where_it_came_from, setup, teardown),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
