/* The reader on Windows: what is read, what is refused, and that nothing leads out of an image.
 * SPDX-License-Identifier: MIT */
#include "lib/image.h"

#include "host/windows/win32.h"

#include <aclapi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

enum { PATIENCE = 200, HELD_MS = 100, WAIT_MS = 60000 };

static wchar_t *wide(const struct image *image, const char *path)
{
    wchar_t *ret = np_wide_path(image->arena, path);
    assert_non_null(ret);
    return ret;
}

static HANDLE open_file(const struct image *image, const char *path, DWORD access, DWORD share, DWORD how, DWORD flags)
{
    HANDLE file = CreateFileW(wide(image, path), access, share, NULL, how, flags, NULL);
    if (file == INVALID_HANDLE_VALUE)
        fail_msg("%s: %s", path, np_win32_text(image->arena, GetLastError()));
    return file;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

static void a_file_is_read_whole(void **state)
{
    struct image *image = *state;
    char *long_text = np_alloc(image->arena, IMAGE_LIMIT + 1);
    memset(long_text, 'x', IMAGE_LIMIT);
    image_add_file(image, "/etc/empty", "");
    image_add_file(image, "/etc/short", "port 49000\r\n\x1a");
    image_add_file(image, "/etc/long", long_text);
    for (int here = 0; here < 2; here++) {
        image_open_reader(image, here ? NULL : image->root);
        const char *before = here ? image->root : "";
        image_reads(image, np_sprintf(image->arena, "%s/etc/empty", before), "");
        image_reads(image, np_sprintf(image->arena, "%s/etc/short", before), "port 49000\r\n\x1a");
        image_reads(image, np_sprintf(image->arena, "%s\\ETC\\long", before), long_text);
        const char *shown = np_reader_shown(image->reader, np_sprintf(image->arena, "%s\\etc/short", before));
        assert_string_equal(shown, image_in(image, "/etc/short"));
    }
}

static void what_is_no_file_is_refused_by_its_kind(void **state)
{
    struct image *image = *state;
    char *too_long = np_alloc(image->arena, IMAGE_LIMIT + 2);
    memset(too_long, 'x', IMAGE_LIMIT + 1);
    image_add_file(image, "/etc/long", too_long);
    image_refuses(image, "/etc/none", NP_READ_ABSENT, "no such file (error 2)");
    image_refuses(image, "/none/none", NP_READ_ABSENT, "no such file (error 2)");
    image_refuses(image, "/etc/long/none", NP_READ_ABSENT, "not a folder (error 267)");
    image_refuses(image, "/etc", NP_READ_BAD, "a folder, not a file");
    image_refuses(image, "/", NP_READ_BAD, "a folder, not a file");
    image_refuses(image, "/etc/long", NP_READ_BAD, "larger than 65536 bytes, the most that is read");
    image_open_reader(image, NULL);
    image_refuses(image, image_in(image, "/etc/none"), NP_READ_ABSENT, "no such file (error 2)");
    image_refuses(image, image_in(image, "/none/none"), NP_READ_ABSENT, "no such folder (error 3)");
    image_refuses(image, "C:/", NP_READ_BAD, "a folder, not a file");
    image_refuses(image, "NUL", NP_READ_BAD, "not a valid path (error 123)");
    image_refuses(image, "\\\\.\\pipe\\x", NP_READ_BAD, "not a valid path (error 123)");
    image_refuses(image, image_in(image, "/etc/long:stream"), NP_READ_BAD, "not a valid path (error 123)");
    image_refuses(image, "", NP_READ_BAD, "not a valid path (error 123)");
}

static void a_file_that_does_not_fit_into_260_characters_is_read(void **state)
{
    struct image *image = *state;
    const char *path = "";
    for (int i = 0; i < 4; i++) {
        path = np_sprintf(image->arena, "%s/%0100d", path, i);
        image_add_folder(image, path);
    }
    path = np_sprintf(image->arena, "%s/file", path);
    image_add_file(image, path, "far");
    image_reads(image, path, "far");
    image_open_reader(image, NULL);
    image_reads(image, image_in(image, path), "far");
}

/* Everyone is denied; where that does not keep this user out (as under Wine), there is nothing to see. */
static void a_file_that_may_not_be_read_is_not_absent(void **state)
{
    struct image *image = *state;
    image_add_file(image, "/etc/private", "x");
    wchar_t *path = wide(image, image_in(image, "/etc/private"));
    ACL *nobody = np_alloc(image->arena, sizeof *nobody);
    assert_true(InitializeAcl(nobody, sizeof *nobody, ACL_REVISION));
    const DWORD what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    assert_int_equal(SetNamedSecurityInfoW(path, SE_FILE_OBJECT, what, NULL, NULL, nobody, NULL), ERROR_SUCCESS);
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file != INVALID_HANDLE_VALUE) {
        CloseHandle(file);
        print_message("# this system lets us read what everyone is denied\n");
        skip();
    }
    const ULONGLONG before = GetTickCount64();
    image_refuses(image, "/etc/private", NP_READ_DENIED, "access denied (error 5)");
    assert_true(GetTickCount64() - before < 200);
    assert_true(np_host_exists(image_in(image, "/etc/private")));
}

/* ---- Files that others have open -------------------------------------------------------------------------------- */

static DWORD WINAPI let_go(void *handle)
{
    Sleep(HELD_MS);
    CloseHandle(handle);
    return 0;
}

static void a_file_that_is_held_for_a_moment_is_read(void **state)
{
    struct image *image = *state;
    image_add_file(image, "/etc/held", "held");
    HANDLE file = open_file(image, image_in(image, "/etc/held"), GENERIC_READ, 0, OPEN_EXISTING, 0);
    HANDLE thread = CreateThread(NULL, 0, let_go, file, 0, NULL);
    assert_non_null(thread);
    image_reads(image, "/etc/held", "held");
    assert_int_equal(WaitForSingleObject(thread, WAIT_MS), WAIT_OBJECT_0);
    CloseHandle(thread);
}

static void a_file_that_is_held_is_not_absent(void **state)
{
    struct image *image = *state;
    const char *why = NULL;
    image_add_file(image, "/etc/held", "held");
    HANDLE file = open_file(image, image_in(image, "/etc/held"), GENERIC_READ, 0, OPEN_EXISTING, 0);
    image_refuses(image, "/etc/held", NP_READ_BAD, "another program has it open (error 32)");
    assert_true(np_host_exists(image_in(image, "/etc/held")));
    assert_non_null(np_reader_find_nocase(image->reader, "/etc/held", &why));
    CloseHandle(file);
}

static void a_file_that_another_writes_is_read(void **state)
{
    struct image *image = *state;
    image_add_file(image, "/etc/written", "text");
    const DWORD all = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    HANDLE file = open_file(image, image_in(image, "/etc/written"), GENERIC_WRITE, all, OPEN_EXISTING, 0);
    image_reads(image, "/etc/written", "text");
    CloseHandle(file);
}

/* Windows takes the name away at once since version 1809, and before that when the last handle is closed. */
static void a_file_that_is_being_deleted_is_not_called_denied(void **state)
{
    struct image *image = *state;
    const char *why = NULL, *path = image_in(image, "/etc/going");
    const DWORD all = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    image_add_file(image, "/etc/going", "x");
    HANDLE file = open_file(image, path, GENERIC_READ, all, OPEN_EXISTING, 0);
    CloseHandle(open_file(image, path, DELETE, all, OPEN_EXISTING, FILE_FLAG_DELETE_ON_CLOSE));
    enum np_read outcome = image_read(image, "/etc/going", &why);
    const bool exists = np_host_exists(path);
    CloseHandle(file);
    assert_false(np_host_exists(path));
    if (outcome == NP_READ_OK) {
        print_message("# this system lets a file be opened that is being deleted\n");
        skip();
    }
    assert_int_equal(outcome, exists ? NP_READ_BAD : NP_READ_ABSENT);
    if (exists)
        assert_string_equal(why, "it is being deleted (error 303)");
}

static void what_is_there_exists(void **state)
{
    struct image *image = *state;
    image_add_file(image, "/etc/file", "");
    assert_true(np_host_exists(image_in(image, "/etc/file")));
    assert_true(np_host_exists(image_in(image, "/ETC")));
    assert_false(np_host_exists(image_in(image, "/etc/none")));
    assert_false(np_host_exists(image_in(image, "/none/none")));
    assert_true(np_host_exists("NUL")); /* what cannot be looked at counts as there */
}

/* ---- The root --------------------------------------------------------------------------------------------------- */

static void no_name_leads_out_of_the_root(void **state)
{
    struct image *image = *state;
    static const char *const others[] = {"/etc/inside:stream", "/etc/inside::$DATA", "/C:/Windows/win.ini", "C:/x",
                                         "/etc/NUL",           "/etc/con.txt",       "/aux/inside",         "/etc/*",
                                         "/etc/\xFF"};
    image_add_file(image, "/etc/inside", "inside");
    image_reads(image, "/../../etc/inside", "inside");
    image_reads(image, "/etc/../../etc/./inside", "inside");
    image_reads(image, "\\etc\\..\\..\\ETC//inside", "inside");
    image_refuses(image, "/../secret", NP_READ_ABSENT, "no such file (error 2)");
    image_refuses(image, "/etc/../../secret", NP_READ_ABSENT, "no such file (error 2)");
    image_refuses(image, "..\\secret", NP_READ_ABSENT, "no such file (error 2)");
    image_refuses(image, image->top + 2, NP_READ_ABSENT, "no such file (error 2)");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        image_refuses(image, others[i], NP_READ_BAD, "not a valid path (error 123)");
}

/* A symbolic link needs a permission, and Wine has no links of this kind; *ret says whether one was made. */
static bool add_link(const struct image *image, const char *kind, const char *path, const char *target)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_text text;
    DWORD status;
    char *words = np_sprintf(image->arena, "/d /s /c \"mklink %s \"%s\" \"%s\"\"", kind, image_in(image, path), target);
    for (char *p = words + strlen("/d /s /c \"mklink /D "); *p; p++)
        *p = *p == '/' ? '\\' : *p;
    if (np_run_program(image->arena, L"cmd.exe", np_wide(image->arena, words), IMAGE_LIMIT, WAIT_MS, &text, &status,
                       NEXTPORT_FAILED, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    const DWORD attributes = GetFileAttributesW(wide(image, image_in(image, path)));
    return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_REPARSE_POINT);
}

static void a_link_is_followed_here_and_refused_below_a_root(void **state)
{
    static const char refused[] = "a link, which is not followed below a root";
    struct image *image = *state;
    image_add_file(image, "/etc/inside", "inside");
    if (!add_link(image, "/J", "/way", image_in(image, "/etc"))) {
        print_message("# this system makes no junctions\n");
        skip();
    }
    const char *why = NULL;
    image_refuses(image, "/way", NP_READ_BAD, refused);
    image_refuses(image, "/way/inside", NP_READ_BAD, refused);
    image_refuses(image, "/way/none", NP_READ_BAD, refused);
    assert_null(np_reader_find_nocase(image->reader, "/WAY/inside", &why));
    assert_non_null(strstr(why, refused));
    assert_string_equal(image_match(image, "/*/inside"),
                        np_sprintf(image->arena, "%s: %s /etc/inside", image_in(image, "/way/inside"), refused));
    assert_string_equal(image_match(image, "/way/*"),
                        np_sprintf(image->arena, "%s: %s", image_in(image, "/way"), refused));
    if (add_link(image, "  ", "/etc/name", image_in(image, "/etc/inside")))
        image_refuses(image, "/etc/name", NP_READ_BAD, refused);
    image_open_reader(image, NULL);
    image_reads(image, image_in(image, "/way/inside"), "inside");
}

static void a_root_that_is_none_is_refused(void **state)
{
    struct image *image = *state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_reader *reader;
    assert_int_equal(np_reader_open(&reader, "C:/nowhere", image->arena, &err), NEXTPORT_INPUT);
    assert_string_equal(err.text, "open root 'C:/nowhere': no such file (error 2)");
    image_add_file(image, "/etc/file", "");
    assert_int_equal(np_reader_open(&reader, image_in(image, "/etc/file"), image->arena, &err), NEXTPORT_INPUT);
    assert_int_equal(np_reader_open(&reader, "NUL", image->arena, &err), NEXTPORT_INPUT);
}

static void a_root_with_a_slash_is_shown_with_one(void **state)
{
    struct image *image = *state;
    image_open_reader(image, image_in(image, "/"));
    assert_string_equal(np_reader_shown(image->reader, "/etc"), image_in(image, "/etc"));
    image_open_reader(image, image_in(image, "\\"));
    assert_string_equal(np_reader_shown(image->reader, "\\etc"), image_in(image, "/etc"));
    image_open_reader(image, "C:\\");
    assert_string_equal(np_reader_shown(image->reader, "/etc"), "C:/etc");
}

/* ---- Names without regard to case ------------------------------------------------------------------------------- */

static void names_are_found_without_regard_to_case(void **state)
{
    struct image *image = *state;
    image_add_folder(image, "/WINDOWS");
    image_add_file(image, "/WINDOWS/ApplicationHost.Config", "one");
    assert_string_equal(image_find(image, "/windows/applicationhost.config"), "/WINDOWS/ApplicationHost.Config");
    assert_string_equal(image_find(image, "//Windows//"), "/WINDOWS");
    assert_null(image_find(image, "/windows/none"));
    assert_null(image_find(image, "/none/applicationhost.config"));
    assert_null(image_find(image, "/WINDOWS/ApplicationHost.Config/below-a-file"));
    image_reads(image, "/windows/applicationhost.config", "one");
    image_open_reader(image, NULL);
    assert_string_equal(image_find(image, image_in(image, "\\windows\\applicationhost.config")),
                        image_in(image, "/windows/applicationhost.config"));
    assert_null(image_find(image, image_in(image, "/none")));
}

static void what_cannot_be_looked_at_is_not_simply_not_found(void **state)
{
    struct image *image = *state;
    const char *why = NULL;
    assert_null(np_reader_find_nocase(image->reader, "/etc/con", &why));
    assert_string_equal(why, image_in(image, "/etc/con: not a valid path (error 123)"));
}

/* ---- Globs ------------------------------------------------------------------------------------------------------ */

static void globs_match_below_the_root_in_order(void **state)
{
    struct image *image = *state;
    image_add_folder(image, "/etc/sites");
    image_add_folder(image, "/etc/sites/dir");
    image_add_file(image, "/etc/sites/b.conf", "");
    image_add_file(image, "/etc/sites/a.conf", "");
    image_add_file(image, "/etc/sites/.hidden.conf", "");
    image_add_file(image, "/etc/sites/c.txt", "");
    image_add_file(image, "/etc/sites/dir/d.conf", "");
    assert_string_equal(image_match(image, "/etc/sites/*.conf"), " /etc/sites/a.conf /etc/sites/b.conf");
    assert_string_equal(image_match(image, "\\etc\\sites\\[ab].CONF"), " /etc/sites/a.conf /etc/sites/b.conf");
    assert_string_equal(image_match(image, "/e?c//s*/*/*.conf"), " /etc/sites/dir/d.conf");
    assert_string_equal(image_match(image, "/etc/sites/c.txt"), " /etc/sites/c.txt");
    assert_string_equal(image_match(image, "/*"), " /etc");
    assert_string_equal(image_match(image, "/etc/sites/none"), "");
    assert_string_equal(image_match(image, "/none/*"), "");
    assert_string_equal(image_match(image, "/*/../../secret"), "");
    assert_string_equal(image_match(image, "/etc/sites/a.conf/*"), "");
    assert_string_equal(image_match(image, "/etc/NUL/*"), image_in(image, "/etc/NUL: not a valid path (error 123)"));
}

static void a_pattern_is_that_of_a_shell(void **state)
{
    static const char *const patterns[][2] = {
        {"*", " a.conf aXbXc b[1].txt caf\xC3\xA9 q-r"},
        {"?.conf", " a.conf"},
        {"caf?", " caf\xC3\xA9"},
        {"CAF\xC3\xA9", " CAF\xC3\xA9"},
        {"[!a]*[!9]", " b[1].txt caf\xC3\xA9 q-r"},
        {"[^a-c]*", " q-r"},
        {"a*x*", " aXbXc"},
        {"a*x*x*x*", ""},
        {"b[[]1].txt", " b[1].txt"},
        {"b[[]*", " b[1].txt"},
        {"?[]a[]1*", " b[1].txt"},
        {"q[a-]r", " q-r"},
        {"q[", ""},
        {"[", ""},
        {"?[1*", " b[1].txt"},
        {".*", " .hidden"},
        {"?hidden", ""},
        {"[.]hidden", ""},
        {"*[\xC3\xA0-\xC3\xBF]", " caf\xC3\xA9"},
        {"****t", " b[1].txt"},
        {"a.conf/.", ""}, /* no folder */
    };
    struct image *image = *state;
    static const char *const names[] = {"/a.conf", "/aXbXc", "/b[1].txt", "/caf\xC3\xA9", "/q-r", "/.hidden"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        image_add_file(image, np_sprintf(image->arena, "/etc%s", names[i]), "");
    image_open_reader(image, image_in(image, "/etc"));
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        const char *all = image_match(image, np_sprintf(image->arena, "/%s", patterns[i][0]));
        struct np_buf names_only = {.arena = image->arena};
        np_buf_puts(&names_only, "");
        for (const char *p = all; *p; p++)
            if (*p != '/')
                np_buf_add(&names_only, p, 1);
        if (strcmp(names_only.ptr, patterns[i][1]) != 0)
            fail_msg("%s matched%s, not%s", patterns[i][0], names_only.ptr, patterns[i][1]);
    }
}

static void globs_of_this_machine_begin_where_paths_do(void **state)
{
    struct image *image = *state;
    wchar_t before[MAX_PATH];
    image_add_file(image, "/etc/a.config", "");
    const char *expected = np_sprintf(image->arena, " %s", image_in(image, "/etc/a.config"));
    image_open_reader(image, NULL);
    assert_string_equal(image_match(image, image_in(image, "/etc/*.config")), expected);
    assert_string_equal(image_match(image, image_in(image, "\\e?c\\*.config")),
                        np_sprintf(image->arena, " %s", image_in(image, "/etc/a.config")));
    assert_string_equal(image_match(image, image_in(image, "/etc/A.CONFIG")),
                        np_sprintf(image->arena, " %s", image_in(image, "/etc/A.CONFIG")));
    assert_in_range(GetCurrentDirectoryW(MAX_PATH, before), 1, MAX_PATH - 1);
    assert_true(SetCurrentDirectoryW(np_wide(image->arena, image->root)));
    const char *relative = image_match(image, "etc/*.config");
    const char *of_the_drive = image_match(image, np_sprintf(image->arena, "%.2setc/*.config", image->root));
    const char *from_the_top = image_match(image, np_sprintf(image->arena, "%s/etc/*.config", image->root + 2));
    assert_true(SetCurrentDirectoryW(before));
    assert_string_equal(relative, expected);
    assert_string_equal(of_the_drive, expected);
    if (wide(image, "/")[4] == (wchar_t)image->root[0]) /* Wine takes "/" for the top of the system below it */
        assert_string_equal(from_the_top, expected);
    assert_string_equal(image_match(image, "//"), "//: not a valid path (error 123)");
    assert_non_null(strstr(image_match(image, "C:/*"), " C:/"));
}

/* A name that is half a pair of surrogates has no UTF-8, so it could not be opened again. */
static void a_name_that_is_no_unicode_is_said(void **state)
{
    struct image *image = *state;
    wchar_t path[MAX_PATH];
    swprintf(path, MAX_PATH, L"%ls\\x\xD83D.conf", wide(image, image_in(image, "/etc")));
    HANDLE file = CreateFileW(path, GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        print_message("# this system makes no such name\n");
        skip();
    }
    CloseHandle(file);
    image_add_file(image, "/etc/a.conf", "");
    const char *all = image_match(image, "/etc/*.conf");
    assert_non_null(strstr(all, " /etc/a.conf"));
    assert_non_null(strstr(all, ": a name that is not Unicode"));
    assert_string_equal(image_match(image, "/etc/a*"), " /etc/a.conf");
}

static void a_folder_of_many_names_is_listed_whole(void **state)
{
    enum { NAMES = 500 };
    struct image *image = *state;
    const char *const *paths, *why;
    size_t n;
    for (int i = 0; i < NAMES; i++)
        image_add_file(image, np_sprintf(image->arena, "/etc/a-name-that-takes-some-room-%d", i), "");
    np_reader_glob(image->reader, "/etc/a*", &paths, &n, &why);
    assert_null(why);
    assert_int_equal(n, NAMES);
}

/* ---- Changes ---------------------------------------------------------------------------------------------------- */

static void watch(struct image *image)
{
    image_add_file(image, "/etc/watched", "one");
    image_add_folder(image, "/etc/sites");
    if (!image_settles(image)) {
        print_message("# the temporary folder's file system does not tell when a file was changed\n");
        skip();
    }
}

/* Again where the machine was too busy to read it at once. */
static void what_was_written_just_now_counts_as_changed(void **state)
{
    struct image *image = *state;
    bool changed = false;
    for (int i = 0; i < PATIENCE && !changed; i++) {
        image_add_file(image, "/etc/watched", "one");
        image_reads(image, "/etc/watched", "one");
        changed = np_reader_changed(image->reader);
    }
    assert_true(changed);
}

static void a_file_written_again_is_noticed(void **state)
{
    struct image *image = *state;
    watch(image);
    image_add_file(image, "/etc/watched", "two");
    assert_true(np_reader_changed(image->reader));
    assert_true(image_settles(image));
}

/* Its size and its last write time are those of before. */
static void a_file_written_again_with_its_old_time_is_noticed(void **state)
{
    struct image *image = *state;
    FILETIME written;
    watch(image);
    const char *path = image_in(image, "/etc/watched");
    HANDLE file = open_file(image, path, GENERIC_READ | GENERIC_WRITE, 0, OPEN_EXISTING, 0);
    DWORD n;
    assert_true(GetFileTime(file, NULL, NULL, &written));
    assert_true(WriteFile(file, "two", 3, &n, NULL));
    assert_true(SetFileTime(file, NULL, NULL, &written));
    CloseHandle(file);
    assert_true(np_reader_changed(image->reader));
}

static void a_file_put_in_the_place_of_another_is_noticed(void **state)
{
    struct image *image = *state;
    watch(image);
    image_add_file(image, "/etc/other", "one");
    assert_true(MoveFileExW(wide(image, image_in(image, "/etc/other")), wide(image, image_in(image, "/etc/watched")),
                            MOVEFILE_REPLACE_EXISTING));
    assert_true(np_reader_changed(image->reader));
}

static void a_file_that_was_absent_is_noticed_when_it_comes(void **state)
{
    struct image *image = *state;
    watch(image);
    image_add_file(image, "/etc/none", "");
    assert_true(np_reader_changed(image->reader));
}

static void a_file_that_was_looked_for_is_noticed_when_it_comes(void **state)
{
    struct image *image = *state;
    watch(image);
    image_add_file(image, "/etc/sites/wanted", "");
    assert_true(np_reader_changed(image->reader));
}

static void a_file_that_goes_is_noticed(void **state)
{
    struct image *image = *state;
    watch(image);
    assert_true(DeleteFileW(wide(image, image_in(image, "/etc/watched"))));
    assert_true(np_reader_changed(image->reader));
}

static void a_new_name_in_a_folder_that_was_searched_is_noticed(void **state)
{
    struct image *image = *state;
    watch(image);
    image_add_file(image, "/etc/sites/new", "");
    assert_true(np_reader_changed(image->reader));
}

static void a_reader_that_read_nothing_has_nothing_to_notice(void **state)
{
    struct image *image = *state;
    assert_false(np_reader_changed(image->reader));
}

static void nothing_is_left_open(void **state)
{
    struct image *image = *state;
    DWORD before = 0, after = 0;
    image_add_file(image, "/etc/watched", "one");
    image_settles(image);
    assert_true(GetProcessHandleCount(GetCurrentProcess(), &before));
    for (int i = 0; i < PATIENCE; i++) {
        const char *why;
        image_reads(image, "/etc/watched", "one");
        image_read(image, "/etc/none/none", &why);
        image_read(image, "/etc", &why);
        image_match(image, "/*/*");
        image_find(image, "/etc/WATCHED");
        np_reader_changed(image->reader);
        np_host_exists(image->root);
    }
    assert_true(GetProcessHandleCount(GetCurrentProcess(), &after));
    assert_true(after < before + PATIENCE);
}

#define image_test(f) cmocka_unit_test_setup_teardown(f, image_make, image_drop)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        image_test(a_file_is_read_whole),
        image_test(what_is_no_file_is_refused_by_its_kind),
        image_test(a_file_that_does_not_fit_into_260_characters_is_read),
        image_test(a_file_that_may_not_be_read_is_not_absent),
        image_test(a_file_that_is_held_for_a_moment_is_read),
        image_test(a_file_that_is_held_is_not_absent),
        image_test(a_file_that_another_writes_is_read),
        image_test(a_file_that_is_being_deleted_is_not_called_denied),
        image_test(what_is_there_exists),
        image_test(no_name_leads_out_of_the_root),
        image_test(a_link_is_followed_here_and_refused_below_a_root),
        image_test(a_root_that_is_none_is_refused),
        image_test(a_root_with_a_slash_is_shown_with_one),
        image_test(names_are_found_without_regard_to_case),
        image_test(what_cannot_be_looked_at_is_not_simply_not_found),
        image_test(globs_match_below_the_root_in_order),
        image_test(a_pattern_is_that_of_a_shell),
        image_test(globs_of_this_machine_begin_where_paths_do),
        image_test(a_name_that_is_no_unicode_is_said),
        image_test(a_folder_of_many_names_is_listed_whole),
        image_test(what_was_written_just_now_counts_as_changed),
        image_test(a_file_written_again_is_noticed),
        image_test(a_file_written_again_with_its_old_time_is_noticed),
        image_test(a_file_put_in_the_place_of_another_is_noticed),
        image_test(a_file_that_was_absent_is_noticed_when_it_comes),
        image_test(a_file_that_was_looked_for_is_noticed_when_it_comes),
        image_test(a_file_that_goes_is_noticed),
        image_test(a_new_name_in_a_folder_that_was_searched_is_noticed),
        image_test(a_reader_that_read_nothing_has_nothing_to_notice),
        image_test(nothing_is_left_open),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
