/* The terminal and the standard streams on Windows.
 *
 * Ctrl-C and its like come as calls on a thread of their own. So what they may interrupt, a write that waits for its
 * reader, is done on a second thread: to cancel I/O of the first might hit the ledger's.
 * SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

/* ---- Words --------------------------------------------------------------------------------------------------- */

/* NULL: not valid Unicode, such as a file's name may be. */
static char *utf8(const wchar_t *word)
{
    int n = WideCharToMultiByte(CP_UTF8, WC_ERR_INVALID_CHARS, word, -1, NULL, 0, NULL, NULL);
    char *ret = n > 0 ? malloc((size_t)n) : NULL;
    if (ret)
        WideCharToMultiByte(CP_UTF8, WC_ERR_INVALID_CHARS, word, -1, ret, n, NULL, NULL);
    return ret;
}

static int refuse_word(int at)
{
    char line[128];
    int n = snprintf(line, sizeof line, "nextport: word %d of the command line is not valid Unicode\n", at);
    cli_prepare();
    cli_write(CLI_LOG, line, (size_t)n);
    return NEXTPORT_INPUT;
}

int wmain(int argc, wchar_t **wide_argv);

int wmain(int argc, wchar_t **wide_argv)
{
    int status = -1;
    char **argv = calloc((size_t)argc + 1, sizeof *argv), **words = calloc((size_t)argc + 1, sizeof *words);
    for (int i = 0; argv && words && status < 0 && i < argc; i++) {
        argv[i] = words[i] = utf8(wide_argv[i]); /* getopt_long() changes the order of argv */
        if (!argv[i])
            status = refuse_word(i);
    }
    if (!argv || !words)
        status = NEXTPORT_FAILED;
    else if (status < 0)
        status = cli_main(argc, argv);
    for (int i = 0; words && i < argc; i++)
        free(words[i]);
    free(words);
    free(argv);
    return status;
}

/* ---- The terminal -------------------------------------------------------------------------------------------- */

static HANDLE streams[2]; /* by enum cli_stream; NULL: closed */
static DWORD mode_before;
static bool mode_changed;

/* A number that names nothing now might be given to a file that is opened later. */
static HANDLE living(DWORD which)
{
    HANDLE handle = GetStdHandle(which);
    SetLastError(NO_ERROR);
    if (handle && handle != INVALID_HANDLE_VALUE &&
        (GetFileType(handle) != FILE_TYPE_UNKNOWN || GetLastError() == NO_ERROR))
        return handle;
    SetStdHandle(which, NULL);
    return NULL;
}

static UINT error_mode; /* as it was */

void cli_prepare(void)
{
    streams[CLI_OUT] = living(STD_OUTPUT_HANDLE);
    streams[CLI_LOG] = living(STD_ERROR_HANDLE);
    living(STD_INPUT_HANDLE);
    error_mode = SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX); /* no window that waits for a click */
    SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32);                     /* none from where somebody stands */
}

static bool is_console(enum cli_stream stream)
{
    DWORD mode;
    return streams[stream] && GetConsoleMode(streams[stream], &mode);
}

static void restore_mode(void)
{
    if (mode_changed)
        SetConsoleMode(streams[CLI_OUT], mode_before);
}

/* Both are inherited by a program that is run. */
void cli_restore(void)
{
    restore_mode();
    mode_changed = false;
    SetErrorMode(error_mode);
}

/* The console belongs to the shell too, which may not know colours: it gets it back as it was. */
static bool take_escapes(void)
{
    const DWORD wanted = ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING;
    if (!GetConsoleMode(streams[CLI_OUT], &mode_before))
        return false;
    if ((mode_before & wanted) == wanted)
        return true;
    mode_changed = SetConsoleMode(streams[CLI_OUT], mode_before | wanted);
    return mode_changed && atexit(restore_mode) == 0;
}

const char *cli_env(const char *name)
{
    wchar_t wide[64];
    if (!MultiByteToWideChar(CP_UTF8, 0, name, -1, wide, 64))
        return NULL;
    const DWORD size = GetEnvironmentVariableW(wide, NULL, 0);
    wchar_t *value = size > 1 ? calloc(size, sizeof *value) : NULL;
    char *ret = NULL;
    if (value && GetEnvironmentVariableW(wide, value, size) > 0) {
        const int n = WideCharToMultiByte(CP_UTF8, 0, value, -1, NULL, 0, NULL, NULL);
        ret = n > 0 ? calloc((size_t)n, 1) : NULL;
        if (ret)
            WideCharToMultiByte(CP_UTF8, 0, value, -1, ret, n, NULL, NULL);
    }
    free(value);
    return ret;
}

enum nextport_status cli_read(struct cli *cli, const char *file, char **ret, size_t *ret_n)
{
    FILE *stream = stdin;
    if (strcmp(file, "-") == 0) {
        _setmode(_fileno(stdin), _O_BINARY);
    } else {
        const int n = MultiByteToWideChar(CP_UTF8, 0, file, -1, NULL, 0);
        wchar_t *wide = calloc((size_t)n + 1, sizeof *wide);
        stream = wide && MultiByteToWideChar(CP_UTF8, 0, file, -1, wide, n) ? _wfopen(wide, L"rb") : NULL;
        free(wide);
    }
    return cli_read_stream(cli, file, stream, strerror(errno), ret, ret_n);
}

void cli_look_at_terminal(struct nextport_style *style)
{
    CONSOLE_SCREEN_BUFFER_INFO info;
    if (!is_console(CLI_OUT))
        return; /* PowerShell and cmd read a pipe in the OEM code page: what people read stays ASCII */
    const bool escapes = take_escapes();
    style->colour = escapes && GetEnvironmentVariableW(L"NO_COLOR", NULL, 0) <= 1;
    style->unicode = is_console(CLI_LOG) || !streams[CLI_LOG];
    if (GetConsoleScreenBufferInfo(streams[CLI_OUT], &info) && info.srWindow.Right > info.srWindow.Left)
        /* without escapes a full line wraps at once, and its newline leaves an empty one */
        style->columns = (unsigned)(info.srWindow.Right - info.srWindow.Left) + escapes;
}

/* ---- Events that end a program ------------------------------------------------------------------------------- */

static HANDLE event; /* set when one came; NULL: they are not held */
static volatile LONG caught;

static BOOL WINAPI catch_event(DWORD type)
{
    InterlockedExchange(&caught, 1);
    SetEvent(event);
    if (type != CTRL_C_EVENT && type != CTRL_BREAK_EVENT)
        Sleep(INFINITE); /* the window closes: to return would end the program at once, so it ends in its own time */
    return TRUE;
}

void cli_hold_signals(void)
{
    HANDLE made = CreateEventW(NULL, TRUE, FALSE, NULL);
    event = made;
    if (made && !SetConsoleCtrlHandler(catch_event, TRUE)) {
        event = NULL;
        CloseHandle(made);
    }
}

bool cli_has_signal(void)
{
    return InterlockedCompareExchange(&caught, 0, 0);
}

void cli_obey_signals(void)
{
    if (cli_has_signal())
        ExitProcess((UINT)CONTROL_C_EXIT); /* as it would have ended by itself */
}

/* ---- Writing ------------------------------------------------------------------------------------------------- */

static DWORD write_bytes(HANDLE file, const char *bytes, size_t n)
{
    enum { MOST = 1 << 30 };
    while (n) {
        DWORD written = 0;
        if (!WriteFile(file, bytes, n < MOST ? (DWORD)n : MOST, &written, NULL))
            return GetLastError();
        if (!written) /* a pipe that does not wait */
            return ERROR_NO_DATA;
        bytes += written;
        n -= written;
    }
    return NO_ERROR;
}

/* How many of the bytes to take at once, so that no character is cut in two. */
static size_t whole_characters(const char *bytes, size_t n, size_t most)
{
    size_t take = n < most ? n : most;
    if (take == n)
        return n;
    while (take > most - 4 && ((unsigned char)bytes[take] & 0xc0) == 0x80)
        take--;
    return take;
}

static DWORD write_console(HANDLE console, const char *bytes, size_t n)
{
    enum { CHUNK = 4096 };
    wchar_t wide[CHUNK];
    while (n) {
        const size_t take = whole_characters(bytes, n, CHUNK);
        DWORD left = (DWORD)MultiByteToWideChar(CP_UTF8, 0, bytes, (int)take, wide, CHUNK), written = 0;
        if (!left)
            return GetLastError();
        for (const wchar_t *next = wide; left; next += written, left -= written)
            if (!WriteConsoleW(console, next, left, &written, NULL) || !written)
                return GetLastError() ? GetLastError() : ERROR_WRITE_FAULT;
        bytes += take;
        n -= take;
    }
    return NO_ERROR;
}

struct job {
    enum cli_stream stream;
    const char *bytes;
    size_t n;
};

static DWORD WINAPI do_job(void *arg)
{
    const struct job *job = arg;
    return is_console(job->stream) ? write_console(streams[job->stream], job->bytes, job->n)
                                   : write_bytes(streams[job->stream], job->bytes, job->n);
}

/* Ends a write that waits for its reader. What it wrote all the same, it says. */
static void cancel(HANDLE thread)
{
    enum { STEP_MS = 10, STEPS = 50 };
    for (int i = 0; i < STEPS; i++) {
        CancelSynchronousIo(thread); /* there may be nothing yet to cancel, hence the loop */
        if (WaitForSingleObject(thread, STEP_MS) == WAIT_OBJECT_0)
            return;
    }
    /* A driver that cannot be cancelled. The thread holds nothing, and the program is about to end; but the bytes must not
     * go out once the lease is undone. */
    TerminateThread(thread, ERROR_OPERATION_ABORTED);
    if (WaitForSingleObject(thread, STEPS * STEP_MS) != WAIT_OBJECT_0)
        ExitProcess((UINT)CONTROL_C_EXIT); /* not even that: the lease stays and lapses */
}

static DWORD do_job_until_caught(struct job *job)
{
    enum { LOG_MS = 500 }; /* for a last line after the event */
    const bool late = InterlockedCompareExchange(&caught, 0, 0);
    DWORD reason = NO_ERROR, n = late ? 1 : 2;
    HANDLE thread = CreateThread(NULL, 0, do_job, job, 0, NULL), ends[] = {thread, event};
    if (!thread)
        return GetLastError();
    if (WaitForMultipleObjects(n, ends, FALSE, late ? LOG_MS : INFINITE) != WAIT_OBJECT_0)
        cancel(thread);
    if (!GetExitCodeThread(thread, &reason))
        reason = GetLastError();
    CloseHandle(thread);
    return reason;
}

const char cli_no_reader[] = "nobody reads it any more";

static const char *text_of(DWORD reason)
{
    static const struct {
        DWORD reason;
        const char *text;
    } known[] = {
        {ERROR_OPERATION_ABORTED, "interrupted"},
        {ERROR_NO_DATA, cli_no_reader},
        {ERROR_BROKEN_PIPE, cli_no_reader},
        {ERROR_PIPE_NOT_CONNECTED, cli_no_reader},
        {ERROR_DISK_FULL, "the disk is full"},
        {ERROR_HANDLE_DISK_FULL, "the disk is full"},

        {ERROR_ACCESS_DENIED, "it is not open for writing"},
        {ERROR_INVALID_HANDLE, "it is closed"},
    };
    static char other[32];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].reason == reason)
            return known[i].text;
    snprintf(other, sizeof other, "error %lu", reason);
    return other;
}

const char *cli_write(enum cli_stream stream, const char *bytes, size_t n)
{
    struct job job = {stream, bytes, n};
    if (!n)
        return NULL;
    if (!streams[stream])
        return text_of(ERROR_INVALID_HANDLE);
    if (stream == CLI_OUT && cli_has_signal())
        return text_of(ERROR_OPERATION_ABORTED);
    const DWORD reason = event ? do_job_until_caught(&job) : do_job(&job);
    return reason ? text_of(reason) : NULL;
}
