/* The edge of the Win32 API: text, errors, paths, and programs run for what they print. The programs are this one, in
 * one of its parts below, started by cmd.exe, because only programs of the system's folder are run.
 * SPDX-License-Identifier: MIT */
#include "lib/begin_process.h"
#include "host/windows/win32.h"

#include <fcntl.h>
#include <initguid.h>
#include <io.h>
#include <knownfolders.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

enum { LIMIT = 1 << 20, WAIT_MS = 60000, ENOUGH = 300000 };

static int make_arena(void **state)
{
    *state = np_arena_new();
    return 0;
}

static int drop_arena(void **state)
{
    np_arena_free(*state);
    return 0;
}

/* ---- Text ------------------------------------------------------------------------------------------------------- */

static void text_goes_there_and_back(void **state)
{
    static const char text[] = "C:/Gr\xC3\xBC\xC3\x9F"
                               "e/\xE6\x97\xA5/\xF0\x9F\x9A\x80";
    assert_string_equal(np_narrow(*state, np_wide(*state, text)), text);
    assert_int_equal(wcscmp(np_wide(*state, "\xF0\x9F\x9A\x80"), L"\xD83D\xDE80"), 0);
    assert_null(np_wide(*state, NULL));
    assert_null(np_narrow(*state, NULL));
}

static void what_is_no_text_becomes_the_replacement_character(void **state)
{
    assert_int_equal(wcscmp(np_wide(*state, "a\xFF"
                                            "b"),
                            L"a\xFFFD"
                            L"b"),
                     0);
    assert_string_equal(np_narrow(*state, L"a\xD83D"
                                          L"b"),
                        "a\xEF\xBF\xBD"
                        "b");
}

/* ---- Errors ----------------------------------------------------------------------------------------------------- */

static void an_error_says_what_the_system_said_and_its_number(void **state)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(np_fail_win32(&err, NEXTPORT_DENIED, ERROR_ACCESS_DENIED, "open '%s'", "x"), NEXTPORT_DENIED);
    assert_string_equal(err.text, "open 'x': access denied (error 5)");
    assert_string_equal(np_win32_text(*state, WSAEADDRINUSE), "the address is in use (error 10048)");
    assert_string_equal(np_win32_text(*state, 0x20000001), "error 536870913");
}

/* A system without English has the number only. */
static void the_systems_own_words_fit_into_a_sentence(void **state)
{
    const char *text = np_win32_text(*state, ERROR_NOT_LOCKED);
    assert_non_null(strstr(text, "error 158"));
    assert_true(text[0] >= 'a' && text[0] <= 'z');
    assert_null(strstr(text, ". ("));
}

/* ---- Paths ------------------------------------------------------------------------------------------------------ */

static void assert_wide(struct np_arena *arena, const char *path, const char *expected)
{
    const char *wide = np_narrow(arena, np_wide_path(arena, path));
    if (!expected && wide)
        fail_msg("'%s' was taken for '%s'", path, wide);
    if (expected && (!wide || strcmp(wide, expected) != 0))
        fail_msg("'%s' became '%s', not '%s'", path, wide ? wide : "NULL", expected);
}

static void a_path_becomes_absolute_and_verbatim(void **state)
{
    static const char *const paths[][2] = {
        {"C:/a/b", "\\\\?\\C:\\a\\b"},
        {"C:\\a//b/", "\\\\?\\C:\\a\\b\\"},
        {"C:/", "\\\\?\\C:\\"},
        {"C:/a/./x/../b", "\\\\?\\C:\\a\\b"},
        {"C:/../../b", "\\\\?\\C:\\b"},
        {"C:/a/b. .", "\\\\?\\C:\\a\\b"},
        {"C:/a/\xE6\x97\xA5", "\\\\?\\C:\\a\\\xE6\x97\xA5"},
        {"//server/share/x", "\\\\?\\UNC\\server\\share\\x"},
        {"\\\\server\\share\\..\\..\\x", "\\\\?\\UNC\\server\\share\\x"},
        {"\\\\?\\C:\\x\\y", "\\\\?\\C:\\x\\y"},
        {"//?/C:/x", "\\\\?\\C:\\x"},
        {"\\\\?\\UNC\\server\\share\\x", "\\\\?\\UNC\\server\\share\\x"},
        {"\\\\?\\Volume{1-2}\\x", "\\\\?\\Volume{1-2}\\x"},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_wide(*state, paths[i][0], paths[i][1]);
}

static void what_is_no_path_of_a_file_is_none(void **state)
{
    static const char *const paths[] = {
        "",
        "NUL",
        "\\\\.\\pipe\\x",
        "//./pipe/x",
        "\\\\.\\C:\\x",
        "\\\\.\\PhysicalDrive0",
        "\\\\?\\pipe\\x",
        "\\\\?\\C:",
        "\\\\?\\GLOBALROOT\\Device\\x",
        "\\\\?\\Volume{1-2}",
        "C:/a/file:stream",
        "C:/a/file::$DATA",
        "//server/share/file:stream",
        "C:/a/\xFF",
        "C:/a/\xED\xA0\x80",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_wide(*state, paths[i], NULL);
}

static void a_relative_path_lies_in_the_working_folder(void **state)
{
    wchar_t folder[MAX_PATH];
    assert_in_range(GetCurrentDirectoryW(MAX_PATH, folder), 1, MAX_PATH - 1);
    const char *here = np_narrow(*state, folder);
    const char *expected = np_sprintf(*state, "\\\\?\\%s\\x", here);
    assert_wide(*state, "x", expected);
    assert_wide(*state, "./y/../x", expected);
    assert_wide(*state, np_sprintf(*state, "%.2sx", here), expected);
    assert_wide(*state, "/x", np_sprintf(*state, "\\\\?\\%.2s\\x", here));
}

static const char *long_path(struct np_arena *arena, size_t len)
{
    char *path = np_alloc(arena, len + 1);
    for (size_t i = 0; i < len; i++)
        path[i] = i % 100 == 2 ? '/' : 'x';
    memcpy(path, "C:", 2);
    return path;
}

static void a_path_may_be_as_long_as_the_system_allows(void **state)
{
    const wchar_t *wide = np_wide_path(*state, long_path(*state, 1000));
    assert_non_null(wide);
    assert_int_equal(wcslen(wide), 1004);
    assert_non_null(np_wide_path(*state, long_path(*state, 32000)));
    assert_null(np_wide_path(*state, long_path(*state, 32765)));
    assert_null(np_wide_path(*state, long_path(*state, 40000)));
}

static void a_file_name_is_nothing_else(void **state)
{
    (void)state;
    static const char *const names[] = {"x",     "x.config", ".x",    "a b",         "con1",         "com",
                                        "com10", "nulx",     "x.nul", "lpt\xC2\xB4", "\xE6\x97\xA5", "console"};
    static const char *const others[] = {
        "",     ".",    "..",     "a/b",     "a\\b",       "C:",   "x:y",   "a*",       "a?",
        "a|b",  "a\nb", "a\xFF",  "NUL",     "con",        "Aux.", "prn.x", "nul .txt", "COM1.x.config",
        "lpt9", "com0", "CONIN$", "conout$", "com\xC2\xB2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!np_is_file_name(names[i]))
            fail_msg("'%s' was refused", names[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (np_is_file_name(others[i]))
            fail_msg("'%s' was accepted", others[i]);
}

static void links_redirect_and_other_reparse_points_do_not(void **state)
{
    (void)state;
    const DWORD reparse = FILE_ATTRIBUTE_REPARSE_POINT, folder = FILE_ATTRIBUTE_DIRECTORY;
    const DWORD lx_symlink = 0xA000001D, dedup = 0x80000013, cloud = 0x9000001A, compressed = 0x80000017;
    assert_true(np_redirects(reparse, IO_REPARSE_TAG_SYMLINK));
    assert_true(np_redirects(reparse | folder, IO_REPARSE_TAG_MOUNT_POINT));
    assert_true(np_redirects(reparse, lx_symlink));
    assert_false(np_redirects(reparse, dedup));
    assert_false(np_redirects(reparse | folder, cloud));
    assert_false(np_redirects(reparse, compressed));
    assert_false(np_redirects(folder, IO_REPARSE_TAG_SYMLINK)); /* the tag means nothing without the attribute */
}

static void the_systems_folders_are_there(void **state)
{
    const wchar_t *folder = np_system_folder(*state);
    assert_true(GetFileAttributesW(folder) & FILE_ATTRIBUTE_DIRECTORY);
    const char *data = np_known_folder(*state, &FOLDERID_ProgramData);
    assert_non_null(data);
    assert_non_null(strchr(data, '/'));
    assert_null(strchr(data, '\\'));
}

static void winsock_starts_as_often_as_one_asks(void **state)
{
    (void)state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(np_winsock(&err), NEXTPORT_OK);
    assert_int_equal(np_winsock(&err), NEXTPORT_OK);
}

/* ---- The parts that this program plays for its tests ------------------------------------------------------------ */

static int play_print(const char *n)
{
    _setmode(1, _O_BINARY);
    for (long i = atol(n); i > 0; i--)
        putchar('x');
    return 0;
}

static int play_count_input(const char *unused)
{
    (void)unused;
    int n = 0;
    while (getchar() != EOF)
        n++;
    printf("%d", n);
    return 0;
}

/* Prints its number and stays. */
static int play_stay(const char *unused)
{
    (void)unused;
    printf("%lu\n", GetCurrentProcessId());
    fflush(stdout);
    Sleep(INFINITE);
    return 1;
}

/* Uses a handle that it should not have. */
static int play_set(const char *handle)
{
    return SetEvent((HANDLE)(uintptr_t)strtoull(handle, NULL, 10)) ? 0 : 9;
}

static const wchar_t *self(void)
{
    static wchar_t path[MAX_PATH];
    if (GetModuleFileNameW(NULL, path, MAX_PATH) >= MAX_PATH)
        abort();
    return path;
}

/* Starts one that stays, says which, and ends. */
static int play_leave(const char *unused)
{
    (void)unused;
    wchar_t line[MAX_PATH + 16];
    STARTUPINFOW info = {.cb = sizeof info};
    PROCESS_INFORMATION process;
    swprintf(line, sizeof line / sizeof *line, L"\"%ls\" stay", self());
    if (!begin_process(self(), line, FALSE, 0, &info, &process))
        return 1;
    printf("%lu\n", process.dwProcessId);
    return 0;
}

static const struct {
    const char *name;
    int (*play)(const char *);
} parts[] = {{"print", play_print},
             {"count-input", play_count_input},
             {"stay", play_stay},
             {"set", play_set},
             {"leave", play_leave}};

/* ---- Programs --------------------------------------------------------------------------------------------------- */

struct outcome {
    enum nextport_status status;
    struct np_text text;
    DWORD ended_with;
    struct nextport_error err;
};

static struct outcome run(struct np_arena *arena, const wchar_t *arguments, size_t limit, unsigned wait_ms)
{
    struct outcome ret = {.err = NEXTPORT_ERROR_INIT};
    ret.status = np_run_program(arena, L"cmd.exe", arguments, limit, wait_ms, &ret.text, &ret.ended_with,
                                NEXTPORT_BLIND, &ret.err);
    return ret;
}

static const wchar_t *part(struct np_arena *arena, const char *words)
{
    return np_wide(arena, np_sprintf(arena, "/d /s /c \"\"%s\" %s\"", np_narrow(arena, self()), words));
}

static struct outcome run_part(struct np_arena *arena, const char *words)
{
    struct outcome ret = run(arena, part(arena, words), LIMIT, WAIT_MS);
    if (ret.status != NEXTPORT_OK)
        fail_msg("%s", ret.err.text);
    return ret;
}

static void a_program_is_run_to_its_end(void **state)
{
    struct outcome none = run(*state, L"/d /c exit 3", LIMIT, WAIT_MS);
    assert_int_equal(none.status, NEXTPORT_OK);
    assert_int_equal(none.ended_with, 3);
    assert_int_equal(none.text.len, 0);
    assert_string_equal(none.text.ptr, "");
    assert_string_equal(run_part(*state, "print 3").text.ptr, "xxx");
}

static void more_output_than_a_pipe_holds_is_read_whole(void **state)
{
    struct outcome all = run_part(*state, "print 300000");
    assert_int_equal(all.ended_with, 0);
    assert_int_equal(all.text.len, ENOUGH);
    assert_int_equal(strspn(all.text.ptr, "x"), ENOUGH);
}

static void output_up_to_the_limit_is_read_and_more_is_refused(void **state)
{
    struct outcome all = run(*state, part(*state, "print 300000"), ENOUGH, WAIT_MS);
    assert_int_equal(all.status, NEXTPORT_OK);
    assert_int_equal(all.text.len, ENOUGH);
    struct outcome more = run(*state, part(*state, "print 300000"), ENOUGH - 1, WAIT_MS);
    assert_int_equal(more.status, NEXTPORT_BLIND);
    assert_non_null(strstr(more.err.text, ": it printed more than 299999 bytes"));
    assert_int_equal(strncmp(more.err.text, "run ", 4), 0);
    assert_true(more.text.len < ENOUGH);
}

static void a_program_has_no_input(void **state)
{
    assert_string_equal(run_part(*state, "count-input").text.ptr, "0");
}

static void a_program_works_in_the_systems_folder(void **state)
{
    struct outcome where = run(*state, L"/d /c cd", LIMIT, WAIT_MS);
    const char *folder = np_narrow(*state, np_system_folder(*state));
    if (!np_text_is_nocase(np_text_trim(where.text), folder))
        fail_msg("it works in %s, not in %s", where.text.ptr, folder);
}

static void a_program_that_is_not_there_is_an_error(void **state)
{
    struct np_text text;
    DWORD ended_with;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(
        np_run_program(*state, L"nextport-none.exe", L"a b", LIMIT, WAIT_MS, &text, &ended_with, NEXTPORT_BLIND, &err),
        NEXTPORT_BLIND);
    assert_non_null(strstr(err.text, "\\nextport-none.exe a b: no such file (error 2)"));
}

/* NULL for one that has been gone for long. */
static HANDLE process_named_in(struct np_text text)
{
    return OpenProcess(SYNCHRONIZE, FALSE, strtoul(text.ptr, NULL, 10));
}

static void assert_ends(struct np_text printed)
{
    assert_true(atol(printed.ptr) > 0);
    HANDLE process = process_named_in(printed);
    if (process) {
        assert_int_equal(WaitForSingleObject(process, WAIT_MS), WAIT_OBJECT_0);
        CloseHandle(process);
    }
}

/* Again with more time where the machine was too busy for the program to say who it is. */
static void a_program_that_does_not_end_is_ended(void **state)
{
    struct outcome late = {.text.ptr = ""};
    for (unsigned wait_ms = 1000; !*late.text.ptr && wait_ms < WAIT_MS; wait_ms *= 2)
        late = run(*state, part(*state, "stay"), LIMIT, wait_ms);
    assert_int_equal(late.status, NEXTPORT_BLIND);
    assert_non_null(strstr(late.err.text, ": it took too long"));
    assert_ends(late.text);
}

static void what_a_program_left_running_is_ended(void **state)
{
    assert_ends(run_part(*state, "leave").text);
}

/* The same program with every handle, as CreateProcess does it by default. */
static void run_with_all_handles(struct np_arena *arena, const wchar_t *arguments)
{
    STARTUPINFOW info = {.cb = sizeof info};
    PROCESS_INFORMATION process;
    const wchar_t *file = np_wide(arena, np_sprintf(arena, "%s\\cmd.exe", np_narrow(arena, np_system_folder(arena))));
    wchar_t *line = np_wide(arena, np_sprintf(arena, "cmd.exe %s", np_narrow(arena, arguments)));
    assert_true(begin_process(file, line, TRUE, CREATE_NO_WINDOW, &info, &process));
    assert_int_equal(WaitForSingleObject(process.hProcess, WAIT_MS), WAIT_OBJECT_0);
    CloseHandle(process.hThread);
    CloseHandle(process.hProcess);
}

static void a_program_inherits_no_handle_of_ours(void **state)
{
    SECURITY_ATTRIBUTES inherit = {.nLength = sizeof inherit, .bInheritHandle = TRUE};
    HANDLE event = CreateEventW(&inherit, TRUE, FALSE, NULL);
    assert_non_null(event);
    const wchar_t *set = part(*state, np_sprintf(*state, "set %zu", (size_t)(uintptr_t)event));
    run(*state, set, LIMIT, WAIT_MS);
    assert_int_equal(WaitForSingleObject(event, 0), WAIT_TIMEOUT);
    run_with_all_handles(*state, set);
    assert_int_equal(WaitForSingleObject(event, 0), WAIT_OBJECT_0);
    CloseHandle(event);
}

static void nothing_is_left_open(void **state)
{
    DWORD before = 0, after = 0;
    run(*state, L"/d /c exit 0", LIMIT, WAIT_MS); /* what the first run alone opens */
    assert_true(GetProcessHandleCount(GetCurrentProcess(), &before));
    for (int i = 0; i < 3; i++)
        run(*state, L"/d /c exit 0", LIMIT, WAIT_MS);
    assert_true(GetProcessHandleCount(GetCurrentProcess(), &after));
    assert_true(after < before + 3);
}

#define arena_test(f) cmocka_unit_test_setup_teardown(f, make_arena, drop_arena)

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof *parts; i++)
        if (strcmp(parts[i].name, argv[1]) == 0)
            return parts[i].play(argc > 2 ? argv[2] : "");
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        arena_test(text_goes_there_and_back),
        arena_test(what_is_no_text_becomes_the_replacement_character),
        arena_test(an_error_says_what_the_system_said_and_its_number),
        arena_test(the_systems_own_words_fit_into_a_sentence),
        arena_test(a_path_becomes_absolute_and_verbatim),
        arena_test(what_is_no_path_of_a_file_is_none),
        arena_test(a_relative_path_lies_in_the_working_folder),
        arena_test(a_path_may_be_as_long_as_the_system_allows),
        arena_test(a_file_name_is_nothing_else),
        arena_test(links_redirect_and_other_reparse_points_do_not),
        arena_test(the_systems_folders_are_there),
        arena_test(winsock_starts_as_often_as_one_asks),
        arena_test(a_program_is_run_to_its_end),
        arena_test(more_output_than_a_pipe_holds_is_read_whole),
        arena_test(output_up_to_the_limit_is_read_and_more_is_refused),
        arena_test(a_program_has_no_input),
        arena_test(a_program_works_in_the_systems_folder),
        arena_test(a_program_that_is_not_there_is_an_error),
        arena_test(a_program_that_does_not_end_is_ended),
        arena_test(what_a_program_left_running_is_ended),
        arena_test(a_program_inherits_no_handle_of_ours),
        arena_test(nothing_is_left_open),
    };
    return cmocka_run_group_tests_name("win32", tests, NULL, NULL);
}
