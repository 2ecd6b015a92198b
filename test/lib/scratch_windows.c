/* SPDX-License-Identifier: MIT */
#include "scratch.h"

#include "begin_process.h"

#include "host/windows/win32.h"

#include <aclapi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

static void failed(const char *what)
{
    const DWORD code = GetLastError();
    struct np_arena *arena = np_arena_new();
    char why[256];
    snprintf(why, sizeof why, "%s", np_win32_text(arena, code));
    np_arena_free(arena);
    fail_msg("%s: %s", what, why);
}

/* ---- Files ---------------------------------------------------------------------------------------------------- */

const char scratch_odd_name[] = "a%41;mode=memory#x.db"; /* '?' is in no file's name */

/* Not the short names that the environment may have: programs show the long ones. */
static const char *temporary_folder(struct np_arena *arena)
{
    wchar_t given[MAX_PATH + 1], long_name[MAX_PATH + 1];
    assert_in_range(GetTempPathW(MAX_PATH + 1, given), 1, MAX_PATH);
    assert_in_range(GetLongPathNameW(given, long_name, MAX_PATH + 1), 1, MAX_PATH);
    char *ret = np_narrow(arena, long_name);
    for (char *p = ret; *p; p++)
        *p = *p == '\\' ? '/' : *p;
    return ret;
}

void scratch_make(char *ret, const char *name)
{
    static unsigned number;
    struct np_arena *arena = np_arena_new();
    const int length = snprintf(ret, SCRATCH_PATH, "%snextport-%s-%lu-%llx-%u", temporary_folder(arena), name,
                                GetCurrentProcessId(), GetTickCount64(), number++);
    assert_in_range(length, 1, SCRATCH_PATH - 1);
    const bool made = CreateDirectoryW(np_wide_path(arena, ret), NULL);
    np_arena_free(arena);
    if (!made)
        failed(ret);
}

static void remove_below(struct np_arena *arena, const wchar_t *folder) /* NOLINT(misc-no-recursion) */
{
    WIN32_FIND_DATAW entry;
    const size_t size = wcslen(folder) + MAX_PATH + 2;
    wchar_t *path = np_alloc_array(arena, size, sizeof *path);
    wcscat(wcscpy(path, folder), L"\\*");
    HANDLE find = FindFirstFileW(path, &entry);
    if (find == INVALID_HANDLE_VALUE)
        return;
    do {
        const DWORD kind = entry.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT);
        wcscat(wcscat(wcscpy(path, folder), L"\\"), entry.cFileName);
        if (!(kind & FILE_ATTRIBUTE_DIRECTORY))
            DeleteFileW(path);
        else if (kind & FILE_ATTRIBUTE_REPARSE_POINT)
            RemoveDirectoryW(path);
        else if (wcscmp(entry.cFileName, L".") != 0 && wcscmp(entry.cFileName, L"..") != 0)
            remove_below(arena, path);
    } while (FindNextFileW(find, &entry));
    FindClose(find);
    RemoveDirectoryW(folder);
}

bool scratch_remove(const char *folder)
{
    struct np_arena *arena = np_arena_new();
    remove_below(arena, np_wide_path(arena, folder));
    np_arena_free(arena);
    return !np_host_exists(folder);
}

void scratch_add_folder(const char *path)
{
    struct np_arena *arena = np_arena_new();
    const bool there = CreateDirectoryW(np_wide_path(arena, path), NULL) || GetLastError() == ERROR_ALREADY_EXISTS;
    np_arena_free(arena);
    if (!there)
        failed(path);
}

void scratch_write(const char *path, const char *text)
{
    struct np_arena *arena = np_arena_new();
    DWORD n;
    HANDLE file = CreateFileW(np_wide_path(arena, path), GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    np_arena_free(arena);
    if (file == INVALID_HANDLE_VALUE)
        failed(path);
    assert_true(WriteFile(file, text, (DWORD)strlen(text), &n, NULL));
    assert_int_equal(n, strlen(text));
    CloseHandle(file);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool ends_with(const char *name, const char *suffix)
{
    const size_t length = strlen(name), n = strlen(suffix);
    return length > n && strcmp(name + length - n, suffix) == 0;
}

size_t scratch_list(const char *folder, const char *suffix, char ***ret)
{
    struct np_arena *arena = np_arena_new();
    WIN32_FIND_DATAW entry;
    char **names = NULL;
    size_t n = 0;
    const wchar_t *path = np_wide_path(arena, folder);
    wchar_t *pattern = np_alloc_array(arena, wcslen(path) + sizeof "\\*", sizeof *pattern);
    HANDLE find = FindFirstFileW(wcscat(wcscpy(pattern, path), L"\\*"), &entry);
    if (find == INVALID_HANDLE_VALUE)
        failed(folder);
    do {
        const char *name = np_narrow(arena, entry.cFileName);
        if (!ends_with(name, suffix))
            continue;
        names = realloc(names, (n + 1) * sizeof *names);
        assert_non_null(names);
        assert_non_null(names[n++] = _strdup(name));
    } while (FindNextFileW(find, &entry));
    FindClose(find);
    np_arena_free(arena);
    if (n > 0)
        qsort(names, n, sizeof *names, by_bytes);
    *ret = names;
    return n;
}

/* NULL: everyone may do everything. */
static void set_dacl(const char *path, ACL *dacl)
{
    struct np_arena *arena = np_arena_new();
    const DWORD what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    const DWORD code = SetNamedSecurityInfoW(np_wide_path(arena, path), SE_FILE_OBJECT, what, NULL, NULL, dacl, NULL);
    np_arena_free(arena);
    SetLastError(code);
    if (code != ERROR_SUCCESS)
        failed(path);
}

bool scratch_deny(const char *folder, const char *path)
{
    (void)folder;
    ACL nobody;
    assert_true(InitializeAcl(&nobody, sizeof nobody, ACL_REVISION));
    set_dacl(path, &nobody);
    struct np_arena *arena = np_arena_new();
    HANDLE file = CreateFileW(np_wide_path(arena, path), GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    np_arena_free(arena);
    if (file != INVALID_HANDLE_VALUE)
        CloseHandle(file);
    return file == INVALID_HANDLE_VALUE;
}

void scratch_permit(const char *path)
{
    set_dacl(path, NULL);
}

/* ---- Processes ------------------------------------------------------------------------------------------------ */

enum { KILLED = 0x4b494c4c }; /* no status that a program of ours ends with */

/* Ends all that are in it when we end, because nobody else has its handle. */
static HANDLE children(void)
{
    static HANDLE job;
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {.BasicLimitInformation.LimitFlags =
                                                       JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE};
    if (job)
        return job;
    job = CreateJobObjectW(NULL, NULL);
    if (!job || !SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits))
        failed("job object");
    return job;
}

static wchar_t *command_line(struct np_arena *arena, const wchar_t *program, const char *const *words)
{
    struct np_buf line = {.arena = arena};
    np_buf_printf(&line, "\"%s\"", np_narrow(arena, program));
    for (size_t i = 0; words[i]; i++)
        np_buf_printf(&line, " \"%s\"", words[i]);
    return np_wide(arena, line.ptr);
}

/* What the child is given as its own may be inherited only while it is begun. */
static bool begin(const wchar_t *program, wchar_t *line, HANDLE output, PROCESS_INFORMATION *ret)
{
    STARTUPINFOW with = {.cb = sizeof with, .dwFlags = STARTF_USESTDHANDLES};
    with.hStdOutput = output;
    with.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    SetHandleInformation(with.hStdError, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT);
    SetHandleInformation(output, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT);
    const bool begun = begin_process(program, line, TRUE, CREATE_SUSPENDED, &with, ret);
    const DWORD reason = GetLastError();
    SetHandleInformation(output, HANDLE_FLAG_INHERIT, 0);
    SetLastError(reason);
    return begun;
}

scratch_handle scratch_start(const char *const *words, scratch_handle output)
{
    struct np_arena *arena = np_arena_new();
    wchar_t program[MAX_PATH + 1];
    PROCESS_INFORMATION child;
    assert_in_range(GetModuleFileNameW(NULL, program, MAX_PATH + 1), 1, MAX_PATH);
    HANDLE out = output == SCRATCH_NONE ? GetStdHandle(STD_ERROR_HANDLE) : (HANDLE)output;
    if (!begin(program, command_line(arena, program, words), out, &child))
        failed("start");
    np_arena_free(arena);
    if (!AssignProcessToJobObject(children(), child.hProcess) || ResumeThread(child.hThread) != 1) {
        TerminateProcess(child.hProcess, KILLED);
        failed("start");
    }
    CloseHandle(child.hThread);
    return (scratch_handle)child.hProcess;
}

/* One that has ended meanwhile, but was not waited for, cannot be killed. */
void scratch_kill(scratch_handle process)
{
    if (!TerminateProcess((HANDLE)process, KILLED) && WaitForSingleObject((HANDLE)process, 0) != WAIT_OBJECT_0)
        failed("kill");
}

int scratch_wait(scratch_handle process)
{
    DWORD status;
    assert_int_equal(WaitForSingleObject((HANDLE)process, INFINITE), WAIT_OBJECT_0);
    assert_true(GetExitCodeProcess((HANDLE)process, &status));
    CloseHandle((HANDLE)process);
    return status == KILLED ? SCRATCH_KILLED : (int)status;
}

void scratch_pipe(scratch_handle ends[2])
{
    HANDLE from, to;
    if (!CreatePipe(&from, &to, NULL, 0))
        failed("pipe");
    ends[0] = (scratch_handle)from;
    ends[1] = (scratch_handle)to;
}

bool scratch_hear(scratch_handle from, void *ret, size_t n)
{
    DWORD got = 1;
    size_t there = 0;
    while (there < n && ReadFile((HANDLE)from, (char *)ret + there, (DWORD)(n - there), &got, NULL) && got > 0)
        there += got;
    assert_true(there == n || (there == 0 && GetLastError() == ERROR_BROKEN_PIPE));
    return there == n;
}

bool scratch_say(const void *what, size_t n)
{
    DWORD written;
    return WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), what, (DWORD)n, &written, NULL) && written == n;
}

void scratch_close(scratch_handle end)
{
    CloseHandle((HANDLE)end);
}
