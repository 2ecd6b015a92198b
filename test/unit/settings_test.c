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

static void a_file_sets_how_long_what_lives(void **state)
{
    struct np_settings *s = *state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(s->pending_s, 86400); /* as doc/lifetimes.md says */
    assert_int_equal(s->owned_s, 7 * 86400);
    assert_int_equal(s->lifetimes.absent_s, 7 * 86400);
    assert_int_equal(s->lifetimes.looks, 3);
    assert_int_equal(s->lifetimes.look_s, 3600);
    assert_int_equal(s->lifetimes.rest_s, 120);
    assert_int_equal(s->history_s, 400 * 86400);
    assert_false(s->select_owner || s->avoid_browser || s->avoid_services);
    assert_int_equal(parse(s,
                           "[lease]\nowned = 8d\nabsent = 9d\nlooks = 1000\nlook = 10m\nrest = 1s\n"
                           "[history]\nkeep = 3650d\n[pool]\nselect = owner\navoid = services , browser\n",
                           &err),
                     NEXTPORT_OK);
    assert_int_equal(s->owned_s, 8 * 86400);
    assert_int_equal(s->lifetimes.absent_s, 9 * 86400);
    assert_int_equal(s->lifetimes.looks, 1000);
    assert_int_equal(s->lifetimes.look_s, 600);
    assert_int_equal(s->lifetimes.rest_s, 1);
    assert_int_equal(s->history_s, NP_DURATION_MAX);
    assert_true(s->select_owner && s->avoid_browser && s->avoid_services);
    np_settings_set(s, "pool.avoid", np_text_of("browser"), NP_BY_CALLER, "--avoid", &err);
    assert_true(s->avoid_browser && !s->avoid_services); /* the last one counts, whole */
    np_settings_set(s, "pool.avoid", np_text_of("none"), NP_BY_CALLER, "--avoid", &err);
    np_settings_set(s, "pool.select", np_text_of("lowest"), NP_BY_CALLER, "--select", &err);
    assert_false(s->select_owner || s->avoid_browser || s->avoid_services);
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
        {"[policy]\niis = warn\niis = off", "n.conf:3: policy.iis was set already in line 2", ""},
        {"[pool\n", "n.conf:1: the section's closing ']' is missing", ""},
        {"range = 5", "n.conf:1: a setting before the first [section]", ""},
        {"[pool]\nrange", "n.conf:2: neither '[section]' nor 'key = value'", NULL},
        {"[lease]\npending = 5x", "n.conf:2: lease.pending: '5x' is not a duration", NULL},
        {"[lease]\npending = 0", "n.conf:2: lease.pending: '0' is not a duration", NULL},
        {"[lease]\nlooks = 0", "n.conf:2: lease.looks: '0' is not a number of looks", NULL},
        {"[lease]\nlooks = 1001", "n.conf:2: lease.looks: '1001' is not a number of looks", NULL},
        {"[lease]\nrest = 3651d", "n.conf:2: lease.rest: '3651d' is not a duration", NULL},
        {"[pool]\nselect = highest", "n.conf:2: pool.select: 'highest' is no way to select", NULL},
        {"[pool]\navoid = browser,bowser", "n.conf:2: pool.avoid: 'bowser' is nothing to avoid", NULL},
        {"[pool]\navoid = browser,none", "n.conf:2: pool.avoid: 'none' is nothing to avoid", NULL},
        {"[pool]\navoid =", "n.conf:2: pool.avoid: '' is nothing to avoid", NULL},
        {"[output]\nformat = jsn", "n.conf:2: output.format: unknown format 'jsn'", "Did you mean 'json'?"},
        {"[policy]\niis = maybe", "n.conf:2: policy.iis: 'maybe' is not a policy", NULL},
        {"[policy]\nprobe = off", "n.conf:2: policy.probe: the policy of 'probe' cannot be weakened", NULL},
        {"[policy]\nssockets = off", "n.conf:2: unknown setting 'policy.ssockets'", NULL},
        {"[ledger]\nuser = perhaps", "n.conf:2: ledger.user: 'perhaps' is neither yes nor no", NULL},
        {"[ledger]\nfile =", "n.conf:2: ledger.file: the path is empty", NULL},
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
        cmocka_unit_test_setup_teardown(a_file_sets_how_long_what_lives, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mistake_is_named_with_its_line_and_the_nearest_word, setup, teardown),
        cmocka_unit_test_setup_teardown(an_option_beats_the_environment_beats_the_file_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(an_overridden_value_must_be_sound_all_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(strict_requires_what_would_only_warn, setup, teardown),
        cmocka_unit_test_setup_teardown(every_value_tells_where_it_came_from, setup, teardown),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
