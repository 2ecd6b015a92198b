/* `exec` on Windows, where no program can become another: this one runs the command, waits for it and ends with its status.
 * The lease lives with this process, and the command does too: they share a job that ends when this process is killed.
 * SPDX-License-Identifier: MIT */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

enum { LONGEST_LINE = 32767, LONGEST_PATH = 32767 }; /* characters, with the end */
enum { ELEVATION_REQUIRED = 740 };                   /* ERROR_ELEVATION_REQUIRED, where the headers have it */

/* ---- Which file ---------------------------------------------------------------------------------------------- */

/* The caller frees it. */
static wchar_t *wide(const char *text)
{
    const int n = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    wchar_t *ret = calloc((size_t)n + 1, sizeof *ret);
    if (ret)
        MultiByteToWideChar(CP_UTF8, 0, text, -1, ret, n);
    return ret;
}

static bool is_file(const wchar_t *path)
{
    const DWORD attributes = GetFileAttributesW(path);
    return attributes != INVALID_FILE_ATTRIBUTES && !(attributes & FILE_ATTRIBUTE_DIRECTORY);
}

/* A name without a folder is looked for in the folders of PATH, and never where somebody happens to stand. */
static bool find_file(const wchar_t *name, const wchar_t *folders, wchar_t ret[LONGEST_PATH])
{
    static wchar_t found[LONGEST_PATH];
    const bool is_path = wcspbrk(name, L"\\/:");
    if (!is_path && (!folders || !SearchPathW(folders, name, NULL, LONGEST_PATH, found, NULL)))
        return false;
    /* the whole path, without the points and blanks at the end of a name that the system takes off */
    const DWORD n = GetFullPathNameW(is_path ? name : found, LONGEST_PATH, ret, NULL);
    return n > 0 && n < LONGEST_PATH && is_file(ret);
}

static bool find_program(const char *word, wchar_t ret[LONGEST_PATH])
{
    static const wchar_t *const endings[] = {L"", L".exe", L".com", L".cmd", L".bat"};
    static wchar_t folders[LONGEST_PATH];
    const DWORD n = GetEnvironmentVariableW(L"PATH", folders, LONGEST_PATH);
    wchar_t *name = wide(word);
    const size_t len = name ? wcslen(name) : 0;
    wchar_t *longer = calloc(len + 8, sizeof *longer);
    const wchar_t *last = name ? wcspbrk(name, L"\\/:") : NULL;
    for (const wchar_t *next = last; next; next = wcspbrk(next + 1, L"\\/:"))
        last = next;
    const bool has_ending = len && wcschr(last ? last : name, L'.');
    bool found = false;
    for (size_t i = has_ending ? 0 : 1; longer && len && !found && i < sizeof endings / sizeof *endings; i++) {
        wcscat(wcscpy(longer, name), endings[i]);
        found = find_file(longer, n > 0 && n < LONGEST_PATH ? folders : NULL, ret);
    }
    free(longer);
    free(name);
    return found;
}

static bool ends_with(const wchar_t *path, const wchar_t *ending)
{
    const size_t len = wcslen(path), n = wcslen(ending);
    return len >= n && _wcsicmp(path + len - n, ending) == 0;
}

static bool is_batch(const wchar_t *path)
{
    return ends_with(path, L".bat") || ends_with(path, L".cmd");
}

/* ---- The command line ---------------------------------------------------------------------------------------- */

struct line {
    wchar_t text[LONGEST_LINE];
    size_t len;
    bool cut;
};

static void add(struct line *line, wchar_t unit, size_t times)
{
    line->cut = line->cut || times >= LONGEST_LINE - line->len;
    for (size_t i = 0; !line->cut && i < times; i++)
        line->text[line->len++] = unit;
}

static void add_text(struct line *line, const wchar_t *text)
{
    for (; *text; text++)
        add(line, *text, 1);
}

/* So that CommandLineToArgvW() and the C runtime read the word again: backslashes count only before a quotation mark, and
 * there twice. */
static void add_word(struct line *line, const wchar_t *word)
{
    const bool bare = *word && !wcspbrk(word, L" \t\n\v\"");
    size_t backslashes = 0;
    add(line, L'"', !bare);
    for (; *word; word++) {
        if (*word == L'"')
            add(line, L'\\', backslashes + 1);
        backslashes = *word == L'\\' ? backslashes + 1 : 0;
        add(line, *word, 1);
    }
    add(line, L'\\', bare ? 0 : backslashes);
    add(line, L'"', !bare);
}

/* cmd.exe reads the words of a batch file by rules of its own, and some of them cannot be kept from it by any quoting. */
static const wchar_t read_by_cmd[] = L"\"%!^&|<>\r\n";

static enum nextport_status make_line(struct cli *cli, const wchar_t *program, struct line *ret)
{
    const bool batch = is_batch(program);
    bool unsafe = batch && wcspbrk(program, read_by_cmd);
    add_text(ret, batch ? L"cmd.exe /d /e:on /v:off /s /c \"\"" : L"\"");
    add_text(ret, program);
    add(ret, L'"', 1);
    for (int i = 1; i < cli->n_args; i++) {
        wchar_t *word = wide(cli->args[i]);
        if (!word)
            return cli_usage(cli, NULL, "run '%s': out of memory", cli->args[0]);
        unsafe = unsafe || (batch && wcspbrk(word, read_by_cmd));
        add(ret, L' ', 1);
        if (batch) {
            add(ret, L'"', 1);
            add_text(ret, word);
            add(ret, L'"', 1);
        } else {
            add_word(ret, word);
        }
        free(word);
    }
    add(ret, L'"', batch);
    if (unsafe)
        return cli_usage(cli, "Run what the batch file runs, or hand the words over in the environment.",
                         "run '%s': a batch file is read by cmd.exe, which cannot be given words with \"%%!^&|<> or "
                         "line ends safely",
                         cli->args[0]);
    if (ret->cut)
        return cli_usage(cli, NULL, "run '%s': the command line is longer than Windows allows (%d characters)",
                         cli->args[0], LONGEST_LINE - 1);
    return NEXTPORT_OK;
}

/* ---- The command --------------------------------------------------------------------------------------------- */

static bool set_ports(const struct nextport_result *answer)
{
    bool ok = true;
    for (size_t i = 0; ok && i < answer->n_ports; i++) {
        wchar_t value[8];
        wchar_t *name = wide(answer->ports[i].name);
        swprintf(value, sizeof value / sizeof *value, L"%u", (unsigned)answer->ports[i].port);
        ok = name && SetEnvironmentVariableW(name, value);
        free(name);
    }
    return ok;
}

/* The job's limit: does it end with its last handle, which only this process has? */
static bool bind_job(HANDLE job, bool bound)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {.BasicLimitInformation.LimitFlags =
                                                       bound ? JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE : 0};
    return SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);
}

struct running {
    HANDLE job;
    PROCESS_INFORMATION child;
};

/* 0, or why not. The command takes its first step when it is in the job, so that nothing it starts is left out. Whatever
 * this program was given to hand on, its streams among it, is handed on. */
static DWORD start(struct running *running, const wchar_t *program, struct line *line)
{
    static wchar_t cmd[MAX_PATH + 16];
    STARTUPINFOW info = {.cb = sizeof info};
    if (is_batch(program) && !GetSystemDirectoryW(cmd, MAX_PATH))
        return GetLastError();
    running->job = CreateJobObjectW(NULL, NULL);
    if (!running->job || !bind_job(running->job, true) ||
        !CreateProcessW(is_batch(program) ? wcscat(cmd, L"\\cmd.exe") : program, line->text, NULL, NULL, TRUE,
                        CREATE_SUSPENDED, NULL, NULL, &info, &running->child))
        return GetLastError();
    if (AssignProcessToJobObject(running->job, running->child.hProcess) &&
        ResumeThread(running->child.hThread) != (DWORD)-1)
        return NO_ERROR;
    const DWORD reason = GetLastError();
    TerminateProcess(running->child.hProcess, CLI_EXEC_FAILED);
    return reason;
}

/* The command has ended: the lease that was made for it does now, and not only at the next look. What it left running goes on, as it would
 * have without us. */
static void release(struct cli *cli, const struct nextport_result *answer)
{
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    nextport_set(cli->np, "ledger.wait", "2s", "exec", &ignored); /* whoever has the ledger ends the lease as well */
    for (size_t i = 0; i < answer->n_ports; i++) {
        struct nextport_selection which = NEXTPORT_SELECTION_INIT;
        struct nextport_result *released = NULL;
        if (answer->ports[i].verdict != NEXTPORT_GRANT) /* the owner may have been promised it before */
            continue;
        which.id = answer->ports[i].lease_id;
        which.text = cli->request;
        nextport_release(cli->np, &which, &released, &ignored);
        nextport_result_free(released);
    }
}

static const char *text_of(DWORD reason)
{
    static const struct {
        DWORD reason;
        const char *text;
    } known[] = {
        {ERROR_FILE_NOT_FOUND, "it is not there"},
        {ERROR_PATH_NOT_FOUND, "it is not there"},
        {ERROR_BAD_EXE_FORMAT, "it is no program of this system"},
        {ERROR_ACCESS_DENIED, "access is denied"},
        {ELEVATION_REQUIRED, "it must be run by an administrator"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].reason == reason)
            return known[i].text;
    return "Windows does not run it";
}

static enum nextport_status failed(struct cli *cli, const struct nextport_result *answer, DWORD reason)
{
    const bool absent = reason == ERROR_FILE_NOT_FOUND || reason == ERROR_PATH_NOT_FOUND;
    return cli_exec_give_up(cli, answer, absent ? CLI_EXEC_NOT_FOUND : CLI_EXEC_CANNOT_RUN, "run '%s': %s (error %lu)",
                            cli->args[0], text_of(reason), reason);
}

/* Ends the program. */
static void wait_for(struct cli *cli, const struct nextport_result *answer, const struct running *running)
{
    DWORD status = CLI_EXEC_FAILED;
    WaitForSingleObject(running->child.hProcess, INFINITE);
    GetExitCodeProcess(running->child.hProcess, &status);
    bind_job(running->job, false);
    release(cli, answer);
    exit((int)status);
}

enum nextport_status cli_exec(struct cli *cli, struct nextport_result **ret)
{
    static wchar_t program[LONGEST_PATH];
    static struct line line;
    struct running running = {0};
    if (cli->listen)
        return cli_usage(cli, "Leave it out: the command gets the port's number and listens itself.",
                         "--listen is for systems where a program is handed sockets (LISTEN_FDS); Windows is none");
    if (!find_program(cli->args[0], program)) {
        cli->exit = CLI_EXEC_NOT_FOUND;
        return cli_usage(cli, NULL, "run '%s': there is no such program", cli->args[0]);
    }
    if (make_line(cli, program, &line) != NEXTPORT_OK || cli_exec_lease(cli, ret) != NEXTPORT_OK)
        return cli->err.status;
    if (!set_ports(*ret))
        return cli_exec_give_up(cli, *ret, 0, "prepare the command: error %lu", GetLastError());
    if (cli_has_signal()) {
        cli_exec_give_up(cli, *ret, 0, "interrupted");
        cli_obey_signals();
    }
    cli_exec_say(cli, *ret);
    cli_restore();
    const DWORD reason = start(&running, program, &line);
    if (reason)
        return failed(cli, *ret, reason);
    wait_for(cli, *ret, &running);
    return NEXTPORT_OK;
}
