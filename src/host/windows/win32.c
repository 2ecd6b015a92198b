/* Text, errors and paths at the edge of the Win32 API, and programs run for what they print.
 * SPDX-License-Identifier: MIT */
#include "host/windows/win32.h"

#include <shlobj.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* ---- Text ---------------------------------------------------------------------------------------------------- */

wchar_t *np_wide(struct np_arena *arena, const char *text)
{
    if (!text)
        return NULL;
    int n = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    wchar_t *wide = np_alloc_array(arena, n > 0 ? (size_t)n : 1, sizeof *wide);
    if (n > 0)
        MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, n);
    return wide;
}

char *np_narrow(struct np_arena *arena, const wchar_t *text)
{
    if (!text)
        return NULL;
    int n = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *narrow = np_alloc(arena, n > 0 ? (size_t)n : 1);
    if (n > 0)
        WideCharToMultiByte(CP_UTF8, 0, text, -1, narrow, n, NULL, NULL);
    return narrow;
}

/* ---- Errors -------------------------------------------------------------------------------------------------- */

/* The few that people meet, in words that fit into a sentence. */
static const struct {
    DWORD code;
    const char *text;
} known[] = {
    {ERROR_FILE_NOT_FOUND, "no such file"},
    {ERROR_PATH_NOT_FOUND, "no such folder"},
    {ERROR_ACCESS_DENIED, "access denied"},
    {ERROR_SHARING_VIOLATION, "another program has it open"},
    {ERROR_LOCK_VIOLATION, "another program has it locked"},
    {ERROR_FILE_EXISTS, "it exists already"},
    {ERROR_ALREADY_EXISTS, "it exists already"},
    {ERROR_DELETE_PENDING, "it is being deleted"},
    {ERROR_DIRECTORY, "not a folder"},
    {ERROR_CANT_ACCESS_FILE, "a link, or a file whose driver is missing"},
    {ERROR_NOT_READY, "there is no disk in the drive"},
    {ERROR_NO_UNICODE_TRANSLATION, "a name that is not Unicode"},
    {ERROR_DISK_FULL, "the disk is full"},
    {ERROR_WRITE_PROTECT, "the disk is write-protected"},
    {ERROR_BAD_NETPATH, "the server cannot be found"},
    {ERROR_BAD_NET_NAME, "the share cannot be found"},
    {ERROR_INVALID_NAME, "not a valid path"},
    {ERROR_FILENAME_EXCED_RANGE, "the path is too long"},
    {ERROR_PRIVILEGE_NOT_HELD, "a privilege is missing"},
    {ERROR_NO_DATA, "the pipe is closed"},
    {ERROR_BROKEN_PIPE, "the pipe is closed"},
    {ERROR_INVALID_HANDLE, "it is closed"},
    {WAIT_TIMEOUT, "it took too long"},
    {WSAEACCES, "access denied"},
    {WSAEADDRINUSE, "the address is in use"},
};

/* The system's own words, if it has English ones: one line without the full stop. */
static bool system_text(char *ret, size_t size, DWORD code)
{
    wchar_t wide[256];
    const DWORD flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK;
    DWORD n = FormatMessageW(flags, NULL, code, MAKELANGID(LANG_ENGLISH, SUBLANG_ENGLISH_US), wide,
                             sizeof wide / sizeof *wide, NULL);
    while (n > 0 && (wide[n - 1] == L' ' || wide[n - 1] == L'.'))
        wide[--n] = L'\0';
    if (n > 1 && wide[0] >= L'A' && wide[0] <= L'Z' && !(wide[1] >= L'A' && wide[1] <= L'Z'))
        wide[0] += L'a' - L'A';
    return n > 0 && WideCharToMultiByte(CP_UTF8, 0, wide, -1, ret, (int)size, NULL, NULL) > 0;
}

static void describe(char *ret, size_t size, DWORD code)
{
    char text[512];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code) {
            snprintf(ret, size, "%s (error %lu)", known[i].text, code);
            return;
        }
    if (system_text(text, sizeof text, code))
        snprintf(ret, size, "%s (error %lu)", text, code);
    else
        snprintf(ret, size, "error %lu", code);
}

DWORD np_last_error(void)
{
    DWORD code = GetLastError();
    return code ? code : ERROR_GEN_FAILURE;
}

const char *np_win32_text(struct np_arena *arena, DWORD code)
{
    char text[600];
    describe(text, sizeof text, code);
    return np_strdup(arena, text);
}

enum nextport_status np_fail_win32(struct nextport_error *err, enum nextport_status status, DWORD code, const char *fmt,
                                   ...)
{
    char what[sizeof err->text], why[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    describe(why, sizeof why, code);
    return np_fail(err, status, "%s: %s", what, why);
}

/* ---- Paths --------------------------------------------------------------------------------------------------- */

enum { LONGEST_PATH = 32767 - 1 }; /* UTF-16 units, without the NUL */

static bool starts_with(const wchar_t *text, const wchar_t *prefix)
{
    return _wcsnicmp(text, prefix, wcslen(prefix)) == 0;
}

static bool is_drive(const wchar_t *path)
{
    const wchar_t letter = path[0] | 0x20;
    return letter >= L'a' && letter <= L'z' && path[1] == L':' && path[2] == L'\\';
}

/* "C:\x" or "\\server\share\x", absolute. NULL: neither. */
static wchar_t *full_path(struct np_arena *arena, const wchar_t *given)
{
    DWORD n = GetFullPathNameW(given, 0, NULL, NULL);
    wchar_t *full = np_alloc_array(arena, n + 1u, sizeof *full);
    DWORD len = n ? GetFullPathNameW(given, n, full, NULL) : 0;
    return len > 0 && len < n ? full : NULL; /* else the working folder changed meanwhile */
}

/* What follows the prefix of verbatim paths must be a drive, a share, or a volume: "\\?\pipe\x" is a pipe. */
static const wchar_t *after_verbatim(const wchar_t *full)
{
    static const wchar_t verbatim[] = L"\\\\?\\", volume[] = L"Volume{";
    if (!starts_with(full, verbatim))
        return NULL;
    full += wcslen(verbatim);
    const wchar_t *end = starts_with(full, volume) ? wcschr(full, L'}') : NULL;
    return is_drive(full) || starts_with(full, L"UNC\\") || (end && end[1] == L'\\') ? full : NULL;
}

/* Beyond 260 characters the W functions need this prefix, which also stops them from giving names a second meaning. */
wchar_t *np_wide_path(struct np_arena *arena, const char *path)
{
    static const wchar_t share[] = L"\\\\", device[] = L"\\\\.\\", odd[] = L"\\\\?";
    const wchar_t *full = *path && np_utf8_valid(np_text_of(path)) ? full_path(arena, np_wide(arena, path)) : NULL;
    if (!full || starts_with(full, device))
        return NULL;
    const bool is_share = starts_with(full, share) && !starts_with(full, odd);
    const wchar_t *prefix = is_share ? L"\\\\?\\UNC\\" : L"\\\\?\\", *rest = NULL;
    if (is_share)
        rest = full + wcslen(share);
    else
        rest = is_drive(full) ? full : after_verbatim(full);
    if (!rest || wcschr(is_drive(rest) ? rest + 2 : rest, L':'))
        return NULL;
    const size_t len = wcslen(prefix) + wcslen(rest);
    wchar_t *ret = np_alloc_array(arena, len + 1, sizeof *ret);
    return len <= LONGEST_PATH ? wcscat(wcscpy(ret, prefix), rest) : NULL;
}

/* "NUL", "com1.txt", "CON .x": what Win32 takes for a device in any folder. The three superscript digits count as
 * digits. */
static bool is_device(const char *name)
{
    static const char *const devices[] = {"con", "prn", "aux", "nul", "conin$", "conout$"};
    static const char *const digits[] = {"0", "1", "2", "3",        "4",        "5",       "6",
                                         "7", "8", "9", "\xC2\xB9", "\xC2\xB2", "\xC2\xB3"};
    struct np_text stem = {.ptr = name, .len = strcspn(name, ".")};
    while (stem.len > 0 && stem.ptr[stem.len - 1] == ' ')
        stem.len--;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (np_text_is_nocase(stem, devices[i]))
            return true;
    const struct np_text port = {.ptr = name, .len = stem.len < 3 ? stem.len : 3};
    const struct np_text digit = {.ptr = name + port.len, .len = stem.len - port.len};
    for (size_t i = 0; i < sizeof digits / sizeof *digits; i++)
        if (np_text_is(digit, digits[i]))
            return np_text_is_nocase(port, "com") || np_text_is_nocase(port, "lpt");
    return false;
}

bool np_is_file_name(const char *name)
{
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < ' ' || strchr("/\\:*?\"<>|", *p))
            return false;
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && np_utf8_valid(np_text_of(name)) &&
           !is_device(name);
}

bool np_redirects(DWORD attributes, DWORD tag)
{
    return (attributes & FILE_ATTRIBUTE_REPARSE_POINT) && IsReparseTagNameSurrogate(tag);
}

const wchar_t *np_system_folder(struct np_arena *arena)
{
    UINT n = GetSystemDirectoryW(NULL, 0);
    wchar_t *folder = np_alloc_array(arena, n + 1u, sizeof *folder);
    UINT len = n ? GetSystemDirectoryW(folder, n) : 0;
    if (len == 0 || len >= n) {
        fputs("nextport: Windows does not tell its system folder\n", stderr);
        abort();
    }
    return folder;
}

const char *np_known_folder(struct np_arena *arena, const GUID *id)
{
    PWSTR folder = NULL;
    char *ret = SHGetKnownFolderPath(id, KF_FLAG_DONT_VERIFY, NULL, &folder) == S_OK ? np_narrow(arena, folder) : NULL;
    CoTaskMemFree(folder);
    for (char *p = ret; p && *p; p++)
        if (*p == '\\')
            *p = '/';
    return ret;
}

/* ---- Winsock ------------------------------------------------------------------------------------------------- */

/* Never undone: it belongs to the process, which may be somebody else's. */
enum nextport_status np_winsock(struct nextport_error *err)
{
    WSADATA data;
    int code = WSAStartup(MAKEWORD(2, 2), &data);
    return code == 0 ? NEXTPORT_OK : np_fail_win32(err, NEXTPORT_BLIND, (DWORD)code, "start Winsock");
}

/* ---- Programs ------------------------------------------------------------------------------------------------ */

struct run {
    HANDLE read, write, null, job;
    HANDLE read_log, write_log; /* NULL: nobody reads what it says of errors */
    PROCESS_INFORMATION process;
    const wchar_t *environment; /* a block; NULL: ours */
};

static void close_handle(HANDLE *handle)
{
    if (*handle && *handle != INVALID_HANDLE_VALUE)
        CloseHandle(*handle);
    *handle = NULL;
}

/* With the job ends what the program started; an end that is asked for does not wait for the last handle. */
static void end_run(struct run *run)
{
    if (run->job)
        TerminateJobObject(run->job, 1);
    else if (run->process.hProcess)
        TerminateProcess(run->process.hProcess, 1); /* no harm when it has ended */
    close_handle(&run->job);
    close_handle(&run->process.hThread);
    close_handle(&run->process.hProcess);
    close_handle(&run->read);
    close_handle(&run->write);
    close_handle(&run->read_log);
    close_handle(&run->write_log);
    close_handle(&run->null);
}

/* Only the three standard handles are inherited: the ledger's lock must not live on in a child. It works in the
 * system's folder, not in the caller's, which others may write. */
static bool create_process(struct run *run, const wchar_t *folder, const wchar_t *file, wchar_t *line)
{
    HANDLE inherited[] = {run->null, run->write, run->write_log};
    const size_t n = sizeof *inherited * (run->write_log ? 3 : 2);
    alignas(max_align_t) char room[256];
    SIZE_T size = sizeof room;
    STARTUPINFOEXW info = {.StartupInfo = {.cb = sizeof info,
                                           .dwFlags = STARTF_USESTDHANDLES,
                                           .hStdInput = run->null,
                                           .hStdOutput = run->write,
                                           .hStdError = run->write_log ? run->write_log : run->null},
                           .lpAttributeList = (LPPROC_THREAD_ATTRIBUTE_LIST)room};
    const DWORD flags = CREATE_NO_WINDOW | CREATE_SUSPENDED | EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT;
    if (!InitializeProcThreadAttributeList(info.lpAttributeList, 1, 0, &size))
        return false;
    bool ok = UpdateProcThreadAttribute(info.lpAttributeList, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, inherited, n, NULL,
                                        NULL) &&
              CreateProcessW(file, line, NULL, NULL, TRUE, flags, (void *)(uintptr_t)run->environment, folder,
                             &info.StartupInfo, &run->process);
    DWORD reason = GetLastError();
    DeleteProcThreadAttributeList(info.lpAttributeList);
    SetLastError(reason);
    return ok;
}

static bool prepare(struct run *run)
{
    SECURITY_ATTRIBUTES inherit = {.nLength = sizeof inherit, .bInheritHandle = TRUE};
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {.BasicLimitInformation.LimitFlags =
                                                       JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE};
    run->null = CreateFileW(L"NUL", GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, &inherit,
                            OPEN_EXISTING, 0, NULL);
    if (run->null == INVALID_HANDLE_VALUE || !CreatePipe(&run->read, &run->write, &inherit, 1 << 16) ||
        !SetHandleInformation(run->read, HANDLE_FLAG_INHERIT, 0))
        return false;
    run->job = CreateJobObjectW(NULL, NULL);
    return run->job && SetInformationJobObject(run->job, JobObjectExtendedLimitInformation, &limits, sizeof limits);
}

/* 0, or why not. The program takes its first step when it is in the job, so that nothing it starts is left out. Some
 * services run in a job that allows none below it (UI restrictions): then the program alone is ended with us. */
static DWORD start(struct run *run, const wchar_t *folder, const wchar_t *file, wchar_t *line)
{
    if (!prepare(run) || !create_process(run, folder, file, line))
        return np_last_error();
    close_handle(&run->write);
    close_handle(&run->write_log);
    if (!AssignProcessToJobObject(run->job, run->process.hProcess))
        close_handle(&run->job);
    if (ResumeThread(run->process.hThread) != (DWORD)-1)
        return 0;
    DWORD reason = np_last_error();
    TerminateProcess(run->process.hProcess, 1);
    return reason;
}

/* What there is to read now: a pipe cannot be waited for, so it is looked at. 0, or the system's reason; that the
 * other end is closed is none. */
static DWORD read_some(HANDLE pipe, struct np_buf *out, size_t limit)
{
    char bytes[4096];
    DWORD there = 0, n = 0;
    while (PeekNamedPipe(pipe, NULL, 0, NULL, &there, NULL)) {
        if (there == 0)
            return 0;
        if (!ReadFile(pipe, bytes, there < sizeof bytes ? there : (DWORD)sizeof bytes, &n, NULL))
            return np_last_error();
        if (n > limit - out->len)
            return ERROR_FILE_TOO_LARGE;
        np_buf_add(out, bytes, n);
    }
    const DWORD reason = np_last_error();
    return reason == ERROR_BROKEN_PIPE ? 0 : reason;
}

/* 0, or why the program did not come to its end. `log`: what it says of errors, where that is read. */
static DWORD read_to_end(struct run *run, struct np_buf *out, struct np_buf *log, size_t limit, unsigned wait_ms,
                         DWORD *ret_status)
{
    enum { STEP_MS = 10 };
    const ULONGLONG deadline = GetTickCount64() + wait_ms;
    for (;;) {
        const DWORD state = WaitForSingleObject(run->process.hProcess, STEP_MS);
        DWORD reason = read_some(run->read, out, limit);
        if (!reason && run->read_log)
            reason = read_some(run->read_log, log, limit);
        if (reason)
            return reason;
        if (state == WAIT_OBJECT_0)
            break; /* what it wrote was read after it had ended */
        if (state == WAIT_FAILED)
            return np_last_error();
        if (GetTickCount64() > deadline)
            return WAIT_TIMEOUT;
    }
    return GetExitCodeProcess(run->process.hProcess, ret_status) ? 0 : np_last_error();
}

enum nextport_status np_run_program(struct np_arena *arena, const wchar_t *program, const wchar_t *arguments,
                                    size_t limit, unsigned wait_ms, struct np_text *ret, DWORD *ret_status,
                                    enum nextport_status status, struct nextport_error *err)
{
    struct run run = {0};
    struct np_buf out = {.arena = arena};
    const wchar_t *folder = np_system_folder(arena);
    const size_t file_size = wcslen(folder) + wcslen(program) + 2, line_size = file_size + wcslen(arguments) + 4;
    wchar_t *file = np_alloc_array(arena, file_size, sizeof *file);
    wchar_t *line = np_alloc_array(arena, line_size, sizeof *line);
    wcscat(wcscat(wcscpy(file, folder), L"\\"), program);
    wcscat(wcscat(wcscat(wcscpy(line, L"\""), file), L"\" "), arguments);
    np_buf_puts(&out, "");
    *ret_status = (DWORD)-1;
    DWORD reason = start(&run, folder, file, line);
    if (!reason)
        reason = read_to_end(&run, &out, NULL, limit, wait_ms, ret_status);
    end_run(&run);
    *ret = (struct np_text){.ptr = out.ptr, .len = out.len};
    if (reason == 0)
        return NEXTPORT_OK;
    if (reason == ERROR_FILE_TOO_LARGE)
        np_fail(err, status, "it printed more than %zu bytes", limit);
    else
        np_fail(err, status, "%s", np_win32_text(arena, reason));
    return np_wrap(err, "run %s %s", np_narrow(arena, file), np_narrow(arena, arguments));
}

/* ---- Programs of others ---------------------------------------------------------------------------------------- */

static bool read_log_too(struct run *run)
{
    SECURITY_ATTRIBUTES inherit = {.nLength = sizeof inherit, .bInheritHandle = TRUE};
    return CreatePipe(&run->read_log, &run->write_log, &inherit, 1 << 16) &&
           SetHandleInformation(run->read_log, HANDLE_FLAG_INHERIT, 0);
}

/* As the C runtime of most programs takes it apart again: a quote, and the backslashes before one, have a backslash. */
static void add_quoted(struct np_buf *line, const char *word)
{
    np_buf_puts(line, line->len ? " \"" : "\"");
    for (size_t n; *word; word += n) {
        n = strspn(word, "\\");
        for (size_t i = 0; i < n * (word[n] == '"' || !word[n] ? 2 : 1); i++)
            np_buf_puts(line, "\\");
        if (word[n])
            np_buf_printf(line, word[n] == '"' ? "\\%c" : "%c", word[n]);
        n += word[n] != '\0';
    }
    np_buf_puts(line, "\"");
}

/* Variables one behind the other, and an empty one; what programs of this system cannot do without comes first. */
static const wchar_t *environment_block(struct np_arena *arena, const char *const *variables)
{
    static const char *const needed[] = {"SystemRoot", "SystemDrive", "TEMP", "PATH"};
    size_t capacity = 1, n = 0;
    const char **all = NULL;
    size_t n_all = 0, all_capacity = 0;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        const char *value = np_host_env(arena, needed[i]);
        if (value)
            *(const char **)np_push(arena, &all, &n_all, &all_capacity, sizeof *all) =
                np_sprintf(arena, "%s=%s", needed[i], value);
    }
    for (size_t i = 0; variables[i]; i++)
        if (strncmp(variables[i], "PATH=", 5) != 0) /* of this system the caller does not know it */
            *(const char **)np_push(arena, &all, &n_all, &all_capacity, sizeof *all) = variables[i];
    for (size_t i = 0; i < n_all; i++)
        capacity += wcslen(np_wide(arena, all[i])) + 1;
    wchar_t *block = np_alloc_array(arena, capacity + 1, sizeof *block);
    for (size_t i = 0; i < n_all; n += wcslen(block + n) + 1, i++)
        wcscpy(block + n, np_wide(arena, all[i]));
    return block;
}

enum nextport_status np_host_vet(const char *file, struct nextport_error *err)
{
    (void)file;
    (void)err;
    return NEXTPORT_OK;
}

enum nextport_status np_host_run(struct np_arena *arena, const struct np_program *program, struct np_printed *ret,
                                 struct nextport_error *err)
{
    struct run run = {.environment = environment_block(arena, program->environment)};
    struct np_buf out = {.arena = arena}, log = {.arena = arena}, line = {.arena = arena};
    DWORD status = (DWORD)-1;
    add_quoted(&line, program->file);
    for (size_t i = 0; program->words[i]; i++)
        add_quoted(&line, program->words[i]);
    np_buf_puts(&out, "");
    np_buf_puts(&log, "");
    const wchar_t *file = np_wide_path(arena, program->file);
    DWORD reason = !file ? ERROR_INVALID_NAME : read_log_too(&run) ? 0 : np_last_error();
    if (!reason)
        reason = start(&run, np_system_folder(arena), file, np_wide(arena, line.ptr));
    if (!reason)
        reason = read_to_end(&run, &out, &log, program->limit, program->budget_ms, &status);
    end_run(&run);
    if (reason == ERROR_FILE_TOO_LARGE)
        return np_fail(err, NEXTPORT_FAILED, "run %s: it printed more than %zu bytes", program->file, program->limit);
    if (reason == WAIT_TIMEOUT)
        return np_fail(err, NEXTPORT_FAILED, "run %s: it did not end within %u ms", program->file, program->budget_ms);
    if (reason)
        return np_fail_win32(err, reason == ERROR_ACCESS_DENIED ? NEXTPORT_DENIED : NEXTPORT_FAILED, reason, "run %s",
                             program->file);
    *ret = (struct np_printed){
        .out = {out.ptr, out.len}, .log = {log.ptr, log.len}, .status = status <= INT_MAX ? (int)status : INT_MAX};
    return NEXTPORT_OK;
}
