/* What Windows keeps for itself, asked of netsh and remembered. Two runs:
 * - with FAKE_NETSH_DIR naming an empty folder, and the double of test/windows/fake_netsh.c in the system folder of a
 *   prefix that nobody else uses: it makes the folders of the ledgers and empties them;
 * - without: whatever netsh there is.
 * SPDX-License-Identifier: MIT */
#include "host/windows/guard.h"

#include <sddl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXCLUDED(rows) "\r\nT\r\n\r\nA    B\r\n-----    -----\r\n" rows "\r\n* - L\r\n\r\n"
#define DYNAMIC(first, n) "\r\nT\r\n---------\r\nA : " first "\r\nB : " n "\r\n\r\n"

enum { QUESTIONS = 6 };

static struct np_arena *arena;
static const char *shelf[2], *folder[2]; /* the machine's, the user's: file and folder */

/* ---- Files ---------------------------------------------------------------------------------------------------- */

static void spill(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* NULL: there is none. */
static char *slurp(const char *path)
{
    enum { LIMIT = 65536 };
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *bytes = np_alloc(arena, LIMIT);
    assert_true(fread(bytes, 1, LIMIT - 1, file) < LIMIT - 1);
    fclose(file);
    return bytes;
}

static void tell(const char *question, const char *answer)
{
    spill(np_sprintf(arena, "%s/%s", getenv("FAKE_NETSH_DIR"), question), answer);
}

/* How often netsh ran since the last call. */
static size_t calls(void)
{
    const char *path = np_sprintf(arena, "%s/calls", getenv("FAKE_NETSH_DIR")), *said = slurp(path);
    size_t n = 0;
    for (; said && *said; said++)
        n += *said == '\n';
    remove(path);
    return n;
}

static bool is_there(const char *path)
{
    return GetFileAttributesW(np_wide_path(arena, path)) != INVALID_FILE_ATTRIBUTES;
}

static void empty_folder(int i)
{
    DeleteFileW(np_wide_path(arena, shelf[i]));
    DeleteFileW(np_wide_path(arena, np_sprintf(arena, "%s-new", shelf[i])));
    RemoveDirectoryW(np_wide_path(arena, np_sprintf(arena, "%s-new", shelf[i])));
    RemoveDirectoryW(np_wide_path(arena, folder[i]));
    assert_false(is_there(folder[i]));
}

static void make_folder(int i)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const char *ledger = np_sprintf(arena, "%s/ledger.db", folder[i]);
    if (np_host_ledger_folder(ledger, i ? NP_PLACE_USER : NP_PLACE_MACHINE, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    (void)state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const char *ledger[2];
    arena = np_arena_new();
    ledger[0] = np_host_machine_ledger(arena);
    assert_int_equal(np_host_user_ledger(arena, &ledger[1], &err), NEXTPORT_OK);
    for (int i = 0; i < 2; i++) {
        folder[i] = np_strndup(arena, ledger[i], strlen(ledger[i]) - strlen("/ledger.db"));
        shelf[i] = np_sprintf(arena, "%s/os-ports", folder[i]);
        empty_folder(i);
    }
    tell("ipv4-dynamic-tcp", DYNAMIC("49152", "16384"));
    tell("ipv6-dynamic-tcp", DYNAMIC("49152", "16384"));
    tell("ipv4-excluded-tcp", EXCLUDED("   80   80\r\n 5357 5357\r\n50000 50059 *\r\n"));
    tell("ipv6-excluded-tcp", EXCLUDED(" 5357 5357\r\n50000 50059 *\r\n49700 49799\r\n"));
    tell("ipv4-excluded-udp", EXCLUDED(" 5357 5357\r\n"));
    tell("ipv6-excluded-udp", EXCLUDED(""));
    tell("status", "0\n");
    calls();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    empty_folder(0);
    empty_folder(1);
    np_arena_free(arena);
    return 0;
}

/* ---- With the double ------------------------------------------------------------------------------------------ */

/* "49152-65535; tcp 80-80 the system; ..." */
static const char *ask(bool fresh)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_os_ports os;
    struct np_buf out = {.arena = arena};
    if (np_host_os_ports(arena, fresh, &os, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    assert_int_equal(os.unprivileged_first, 0);
    assert_true(os.may_bind_low);
    assert_int_equal(np_portset_count(&os.reserved), 0);
    np_buf_printf(&out, "%u-%u", os.ephemeral_first, os.ephemeral_last);
    for (size_t i = 0; i < os.n_excluded; i++)
        np_buf_printf(&out, "; %s %u-%u %s", os.excluded[i].protocol == NEXTPORT_TCP ? "tcp" : "udp",
                      os.excluded[i].ports.first, os.excluded[i].ports.last, os.excluded[i].holder);
    return out.ptr;
}

static const char everything[] = "49152-65535; tcp 80-80 the system; tcp 5357-5357 the system; tcp 49700-49799 the "
                                 "system; tcp 50000-50059 an administrator; udp 5357-5357 the system";

static void equal_ranges_of_both_families_are_one(void **state)
{
    (void)state;
    assert_string_equal(ask(false), everything);
    assert_int_equal(calls(), QUESTIONS);
    tell("ipv6-dynamic-tcp", DYNAMIC("1025", "16384"));
    assert_true(strncmp(ask(false), "1025-65535;", strlen("1025-65535;")) == 0);
}

static void netsh_is_asked_once_and_what_it_said_remembered(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        make_folder(i);
        assert_string_equal(ask(false), everything);
        assert_int_equal(calls(), QUESTIONS);
        assert_true(is_there(shelf[i]));
        assert_string_equal(ask(false), everything);
        assert_int_equal(calls(), 0);
        empty_folder(i);
    }
}

static void without_a_folder_nothing_is_made(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ask(false);
        assert_int_equal(calls(), QUESTIONS);
    }
    assert_false(is_there(folder[0]) || is_there(folder[1]));
}

static void a_fresh_answer_replaces_what_was_remembered(void **state)
{
    (void)state;
    make_folder(0);
    ask(false);
    tell("ipv4-excluded-udp", EXCLUDED(" 9000 9001\r\n"));
    calls();
    assert_string_equal(ask(false), everything);
    assert_int_equal(calls(), 0);
    assert_non_null(strstr(ask(true), "udp 9000-9001"));
    assert_int_equal(calls(), QUESTIONS);
    assert_non_null(strstr(ask(false), "udp 9000-9001"));
    assert_int_equal(calls(), 0);
}

/* `from` becomes `to` in the file. */
static void forge(const char *original, const char *from, const char *to)
{
    const char *at = strstr(original, from);
    assert_non_null(at);
    spill(shelf[0], np_sprintf(arena, "%.*s%s%s", (int)(at - original), original, to, at + strlen(from)));
}

static void what_is_damaged_or_of_another_start_is_not_believed(void **state)
{
    (void)state;
    static const char *const forgeries[][2] = {
        {"os-ports 1", "os-ports 2"},
        {"started 1", "started 2"},
        {"started 1", "started 99999999999999999991"},
        {"asked ", "asked 9"},
        {"asked ", "asked -"},
        {"dynamic 49152", "dynamic 0"},
        {"65535", "65536"},
        {"tcp 80", "sctp 80"},
        {"tcp 80 80", "tcp 81 80"},
        {"50000 50059 *", "50000 50059 **"},
        {"\nend", "\n"},
        {"end\n", "end\nudp 1 1\n"},
        {"tcp 5357 5357\n", "\n"},
        {"end\n", "end"},
    };
    make_folder(0);
    ask(false);
    const char *original = slurp(shelf[0]);
    calls();
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        const bool harmless = strcmp(forgeries[i][1], "end") == 0; /* the last line needs no end */
        forge(original, forgeries[i][0], forgeries[i][1]);
        assert_string_equal(ask(false), everything);
        if (calls() != (harmless ? 0 : QUESTIONS))
            fail_msg("believed, or not: %s -> %s", forgeries[i][0], forgeries[i][1]);
    }
    for (size_t length = strlen(original) - strlen("end\n") + 1; length-- > 0;) {
        spill(shelf[0], np_sprintf(arena, "%.*s", (int)length, original));
        assert_string_equal(ask(false), everything);
        assert_int_equal(calls(), QUESTIONS);
        if (length > 8)
            length -= 8; /* netsh takes its time */
    }
}

/* Two starts are one within a minute, and what was asked in the first minute of a start is not believed. */
static void a_clock_that_was_set_by_seconds_is_still_the_same_start(void **state)
{
    (void)state;
    static const struct {
        int off;
        bool believed;
    } samples[] = {{-55, true}, {55, true}, {-65, false}, {65, false}};
    make_folder(0);
    ask(false);
    const char *original = slurp(shelf[0]), *started = strstr(original, "started ") + strlen("started ");
    const char *rest = strchr(started, '\n'), *asked = strstr(rest, "asked "), *after = strchr(asked, '\n');
    calls();
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        spill(shelf[0], np_sprintf(arena, "%.*s%lld%s", (int)(started - original), original,
                                   strtoll(started, NULL, 10) + samples[i].off, rest));
        ask(false);
        assert_int_equal(calls(), samples[i].believed ? 0 : QUESTIONS);
    }
    spill(shelf[0], np_sprintf(arena, "%.*sasked 59%s", (int)(asked - original), original, after));
    ask(false);
    assert_int_equal(calls(), QUESTIONS);
}

static void what_was_asked_an_hour_ago_is_asked_again(void **state)
{
    (void)state;
    enum { HOUR_S = 3600, SLACK_S = 60 };
    static const struct {
        long long ago;
        bool believed;
    } samples[] = {{HOUR_S - SLACK_S, true}, {HOUR_S, false}, {HOUR_S + SLACK_S, false}};
    make_folder(0);
    ask(false);
    const char *original = slurp(shelf[0]), *asked = strstr(original, "asked ") + strlen("asked ");
    const long long up = strtoll(asked, NULL, 10);
    if (up < HOUR_S + 3 * SLACK_S)
        skip(); /* the machine was not on for so long */
    calls();
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        spill(shelf[0], np_sprintf(arena, "%.*s%lld%s", (int)(asked - original), original, up - samples[i].ago,
                                   strchr(asked, '\n')));
        assert_string_equal(ask(false), everything);
        assert_int_equal(calls(), samples[i].believed ? 0 : QUESTIONS);
    }
}

static void a_file_that_cannot_be_written_is_no_error(void **state)
{
    (void)state;
    const wchar_t *made = np_wide_path(arena, np_sprintf(arena, "%s-new", shelf[0]));
    make_folder(0);
    spill(np_sprintf(arena, "%s-new", shelf[0]), "left behind by a writer that was killed");
    assert_string_equal(ask(false), everything);
    assert_true(is_there(shelf[0]));
    assert_int_equal(GetFileAttributesW(made), INVALID_FILE_ATTRIBUTES);
    assert_true(CreateDirectoryW(made, NULL)); /* which no file can replace */
    calls();
    assert_string_equal(ask(true), everything);
    assert_int_equal(calls(), QUESTIONS);
    RemoveDirectoryW(made);
    HANDLE other = CreateFileW(np_wide_path(arena, shelf[0]), GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    assert_ptr_not_equal(other, INVALID_HANDLE_VALUE);
    assert_string_equal(ask(false), everything);
    assert_int_equal(calls(), QUESTIONS);
    CloseHandle(other);
    assert_int_equal(GetFileAttributesW(made), INVALID_FILE_ATTRIBUTES);
}

/* Lets everyone write. */
static void open_to_all(const char *path)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    bool changed = false;
    assert_true(
        ConvertStringSecurityDescriptorToSecurityDescriptorA("D:P(A;;FA;;;WD)", SDDL_REVISION_1, &descriptor, NULL));
    if (np_guard_apply(path, descriptor, &changed, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    LocalFree(descriptor);
}

static void what_strangers_can_write_is_not_believed(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        make_folder(i);
        ask(false);
        calls();
        open_to_all(shelf[i]);
        assert_string_equal(ask(false), everything);
        assert_int_equal(calls(), QUESTIONS); /* and the file is another one now */
        ask(false);
        assert_int_equal(calls(), 0);
        open_to_all(folder[i]);
        assert_true(DeleteFileW(np_wide_path(arena, shelf[i])));
        ask(false);
        assert_int_equal(calls(), QUESTIONS);
        assert_false(is_there(shelf[i]));
        empty_folder(i);
    }
}

static void a_silent_netsh_is_no_empty_answer(void **state)
{
    (void)state;
    static const char *const answers[][2] = {{"ipv4-dynamic-tcp", ""},
                                             {"ipv6-dynamic-tcp", "Element not found.\r\n"},
                                             {"ipv4-excluded-tcp", ""},
                                             {"ipv6-excluded-udp", "\r\nT\r\n"}};
    struct np_os_ports os;
    make_folder(0);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        const char *before = slurp(np_sprintf(arena, "%s/%s", getenv("FAKE_NETSH_DIR"), answers[i][0]));
        tell(answers[i][0], answers[i][1]);
        assert_int_equal(np_host_os_ports(arena, false, &os, &err), NEXTPORT_BLIND);
        assert_non_null(strstr(err.text, "netsh"));
        assert_true(err.hint[0]);
        assert_false(is_there(shelf[0]));
        assert_non_null(strstr(err.text, "status 0"));
        tell(answers[i][0], before);
    }
    tell("status", "1\n"); /* says nothing about what was said in full */
    assert_string_equal(ask(false), everything);
}

/* ---- Without -------------------------------------------------------------------------------------------------- */

static void the_real_netsh_is_understood_or_said_to_be_silent(void **state)
{
    (void)state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_os_ports os;
    arena = np_arena_new();
    if (np_host_os_ports(arena, true, &os, &err) == NEXTPORT_OK) {
        assert_in_range(os.ephemeral_first, 1, os.ephemeral_last);
    } else {
        assert_int_equal(err.status, NEXTPORT_BLIND);
        assert_true(err.hint[0]);
    }
    np_arena_free(arena);
}

#define WITH_FOLDERS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest with_double[] = {
        WITH_FOLDERS(equal_ranges_of_both_families_are_one),
        WITH_FOLDERS(netsh_is_asked_once_and_what_it_said_remembered),
        WITH_FOLDERS(without_a_folder_nothing_is_made),
        WITH_FOLDERS(a_fresh_answer_replaces_what_was_remembered),
        WITH_FOLDERS(what_is_damaged_or_of_another_start_is_not_believed),
        WITH_FOLDERS(a_clock_that_was_set_by_seconds_is_still_the_same_start),
        WITH_FOLDERS(what_was_asked_an_hour_ago_is_asked_again),
        WITH_FOLDERS(a_file_that_cannot_be_written_is_no_error),
        WITH_FOLDERS(what_strangers_can_write_is_not_believed),
        WITH_FOLDERS(a_silent_netsh_is_no_empty_answer),
    };
    const struct CMUnitTest without[] = {
        cmocka_unit_test(the_real_netsh_is_understood_or_said_to_be_silent),
    };
    return getenv("FAKE_NETSH_DIR") ? cmocka_run_group_tests(with_double, NULL, NULL)
                                    : cmocka_run_group_tests(without, NULL, NULL);
}
