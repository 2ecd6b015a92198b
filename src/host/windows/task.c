/* The scheduled task that sweeps the machine's ledger.
 *
 * It runs as SYSTEM, so the program must be one that only SYSTEM and administrators can replace, and nobody else may touch
 * the definition between our writing and the scheduler's reading: it is written into the program's own folder, which was
 * judged, and not into the ledger's, where every member of the group may write.
 * SPDX-License-Identifier: MIT */
#include "host/windows/task.h"

#include "host/windows/guard.h"
#include <initguid.h> /* FOLDERID_... are defined here */

#include <knownfolders.h>
#include <stdio.h>
#include <string.h>

#define NAME "nextport sweep"

static const char advice[] = "Copy nextport.exe to %ProgramFiles%\\nextport and run setup again from there.";

/* ---- The definition ------------------------------------------------------------------------------------------ */

/* https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema. A start in the past, repeated without end:
 * every hour from now on, and once more after a night when the machine was off. */
static const char head[] =
    "<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n"
    "<Task version=\"1.2\" xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\">\r\n"
    "  <RegistrationInfo>\r\n"
    "    <Author>nextport</Author>\r\n"
    "    <Description>Confirms the port leases in use and ends those that lapsed.</Description>\r\n"
    "    <URI>\\" NAME "</URI>\r\n"
    "  </RegistrationInfo>\r\n"
    "  <Triggers>\r\n"
    "    <TimeTrigger>\r\n"
    "      <Repetition>\r\n"
    "        <Interval>PT1H</Interval>\r\n"
    "        <StopAtDurationEnd>false</StopAtDurationEnd>\r\n"
    "      </Repetition>\r\n"
    "      <StartBoundary>2024-01-01T00:17:00</StartBoundary>\r\n"
    "      <Enabled>true</Enabled>\r\n"
    "    </TimeTrigger>\r\n"
    "  </Triggers>\r\n"
    "  <Principals>\r\n"
    "    <Principal id=\"Author\">\r\n"
    "      <UserId>S-1-5-18</UserId>\r\n"
    "      <RunLevel>HighestAvailable</RunLevel>\r\n"
    "    </Principal>\r\n"
    "  </Principals>\r\n"
    "  <Settings>\r\n"
    "    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>\r\n"
    "    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>\r\n"
    "    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>\r\n"
    "    <AllowHardTerminate>true</AllowHardTerminate>\r\n"
    "    <StartWhenAvailable>true</StartWhenAvailable>\r\n"
    "    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>\r\n"
    "    <AllowStartOnDemand>true</AllowStartOnDemand>\r\n"
    "    <Enabled>true</Enabled>\r\n"
    "    <Hidden>false</Hidden>\r\n"
    "    <RunOnlyIfIdle>false</RunOnlyIfIdle>\r\n"
    "    <WakeToRun>false</WakeToRun>\r\n"
    "    <ExecutionTimeLimit>PT5M</ExecutionTimeLimit>\r\n"
    "    <Priority>7</Priority>\r\n"
    "  </Settings>\r\n"
    "  <Actions Context=\"Author\">\r\n"
    "    <Exec>\r\n      ";

static const char tail[] = "\r\n"
                           "      <Arguments>sweep --quiet</Arguments>\r\n"
                           "    </Exec>\r\n"
                           "  </Actions>\r\n"
                           "</Task>\r\n";

static void add_escaped(struct np_buf *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&':
            np_buf_puts(out, "&amp;");
            break;
        case '<':
            np_buf_puts(out, "&lt;");
            break;
        case '>':
            np_buf_puts(out, "&gt;");
            break;
        default:
            np_buf_add(out, text, 1);
        }
}

/* The part by which a task that is there is known to run this program. */
static const char *command(struct np_arena *arena, const char *program)
{
    struct np_buf out = {.arena = arena};
    np_buf_puts(&out, "<Command>\"");
    add_escaped(&out, program);
    np_buf_puts(&out, "\"</Command>");
    return out.ptr;
}

const char *np_task_xml(struct np_arena *arena, const char *program)
{
    return np_sprintf(arena, "%s%s%s", head, command(arena, program), tail);
}

/* ---- The program --------------------------------------------------------------------------------------------- */

static const char *own_path(struct np_arena *arena)
{
    enum { LONGEST = 32768 };
    wchar_t *given = np_alloc_array(arena, LONGEST, sizeof *given),
            *real = np_alloc_array(arena, LONGEST, sizeof *real);
    DWORD n = GetModuleFileNameW(NULL, given, LONGEST);
    if (n == 0 || n >= LONGEST)
        return NULL;
    HANDLE file = CreateFileW(given, FILE_READ_ATTRIBUTES, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                              OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return NULL;
    n = GetFinalPathNameByHandleW(file, real, LONGEST, FILE_NAME_NORMALIZED | VOLUME_NAME_DOS);
    CloseHandle(file);
    return n > 0 && n < LONGEST ? np_narrow(arena, real) : NULL;
}

/* Where this program really is, whatever links led to it, as "C:/x/nextport.exe"; NULL: on no drive of this machine, or
 * only on one of this session (a share, "subst"). */
static const char *own_program(struct np_arena *arena)
{
    static const char verbatim[] = "\\\\?\\";
    const char *real = own_path(arena);
    if (!real || strncmp(real, verbatim, sizeof verbatim - 1) != 0)
        return NULL;
    char *path = np_strdup(arena, real + sizeof verbatim - 1);
    const wchar_t drive[] = {(unsigned char)path[0], L':', L'\\', L'\0'};
    if (!path[0] || path[1] != ':' || path[2] != '\\' || GetDriveTypeW(drive) != DRIVE_FIXED)
        return NULL;
    for (char *p = path; *p; p++)
        if (*p == '\\')
            *p = '/';
    return path;
}

static const char *backslashes(struct np_arena *arena, const char *path)
{
    char *ret = np_strdup(arena, path);
    for (char *p = ret; *p; p++)
        if (*p == '/')
            *p = '\\';
    return ret;
}

static const char *folder_of(struct np_arena *arena, const char *path)
{
    return np_strndup(arena, path, (size_t)(strrchr(path, '/') - path));
}

/* What helps: not to copy the program to where it is already. */
static const char *remedy(struct np_arena *arena, const char *program, const struct nextport_error *err)
{
    const char *files = np_known_folder(arena, &FOLDERID_ProgramFiles);
    const size_t n = files ? strlen(files) : 0;
    const bool inside = n > 0 && _strnicmp(program, files, n) == 0 && program[n] == '/';
    return inside && err->hint[0] ? np_strdup(arena, err->hint) : advice;
}

const char *np_task_refusal(struct np_arena *arena, const char *program, PSID user)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const struct np_trust trust = {.user = user};
    const char *folder = folder_of(arena, program);
    bool there = false;
    if (strchr(program, '%')) /* the scheduler would put variables in its place */
        return np_sprintf(arena, "The path %s has a '%%'. %s", program, advice);
    if (strlen(folder) <= strlen("C:"))
        return np_sprintf(arena, "%s stands in a drive's root, where others may write. %s", program, advice);
    enum nextport_status status = np_guard_vet_above(program, &trust, &err);
    if (status == NEXTPORT_OK)
        status = np_guard_vet(folder, true, &trust, false, &there, &err);
    if (status == NEXTPORT_OK && there)
        status = np_guard_vet(program, false, &trust, false, &there, &err);
    if (status == NEXTPORT_OK && there)
        return NULL;
    return np_sprintf(arena, "SYSTEM must not run a program that others can replace: %s. %s",
                      there || err.text[0] ? err.text : "it is gone", remedy(arena, program, &err));
}

/* ---- The scheduler ------------------------------------------------------------------------------------------- */

/* Where the scheduler keeps the definition; what it prints instead is in a code page and loses characters. */
static const char *kept_file(struct np_arena *arena)
{
    return np_sprintf(arena, "%s\\Tasks\\" NAME, np_narrow(arena, np_system_folder(arena)));
}

static bool holds(struct np_arena *arena, struct np_text kept, const char *what)
{
    const wchar_t *text = np_wide(arena, what);
    const size_t n = wcslen(text) * sizeof *text;
    for (size_t at = 0; at + n <= kept.len; at++)
        if (memcmp(kept.ptr + at, text, n) == 0)
            return true;
    return false;
}

bool np_task_runs(struct np_arena *arena, struct np_text kept, const char *program)
{
    return holds(arena, kept, command(arena, program)) && holds(arena, kept, "<UserId>S-1-5-18</UserId>");
}

/* Does the task that is there run this program as SYSTEM, and could only administrators have made it? If so they may have
 * changed the rest, and it stays. */
static bool is_equal(struct np_arena *arena, const char *program)
{
    enum { LIMIT = 1 << 20 };
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    struct np_reader *reader = NULL;
    struct np_text kept;
    const char *why;
    const struct np_trust nobody = {0};
    bool there = false;
    if (np_guard_vet(kept_file(arena), false, &nobody, false, &there, &ignored) != NEXTPORT_OK || !there)
        return false;
    bool equal = np_reader_open(&reader, NULL, arena, &ignored) == NEXTPORT_OK &&
                 np_reader_read(reader, kept_file(arena), LIMIT, &kept, &why) == NP_READ_OK &&
                 np_task_runs(arena, kept, program);
    np_reader_close(reader);
    return equal;
}

static enum nextport_status schtasks(struct np_arena *arena, const char *words, struct nextport_error *err)
{
    enum { LIMIT = 1 << 16, WAIT_MS = 30000 };
    struct np_text said;
    DWORD status = 0;
    if (np_run_program(arena, L"schtasks.exe", np_wide(arena, words), LIMIT, WAIT_MS, &said, &status, NEXTPORT_FAILED,
                       err) != NEXTPORT_OK)
        return err->status;
    if (status == 0)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_FAILED, "schtasks.exe %s: it ended with status %lu", words, status);
    np_hint(err, "Is the service Task Scheduler (Schedule) running? Try the same command by hand to see what it says.");
    return err->status;
}

/* A task that is replaced would keep its file, with the rights that its maker gave it. */
static enum nextport_status drop_other(struct np_arena *arena, struct nextport_error *err)
{
    return np_host_exists(kept_file(arena)) ? schtasks(arena, "/Delete /TN \"" NAME "\" /F", err) : NEXTPORT_OK;
}

static enum nextport_status write_xml(struct np_arena *arena, const char *path, const char *xml,
                                      struct nextport_error *err)
{
    const wchar_t *text = np_wide(arena, np_sprintf(arena, "\xef\xbb\xbf%s", xml)); /* with a byte order mark */
    DWORD written = 0, n = (DWORD)(wcslen(text) * sizeof *text);
    HANDLE file =
        CreateFileW(np_wide_path(arena, path), GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return np_fail_win32(err, NEXTPORT_FAILED, GetLastError(), "write %s", path);
    BOOL ok = WriteFile(file, text, n, &written, NULL);
    DWORD reason = ok ? ERROR_WRITE_FAULT : GetLastError();
    CloseHandle(file);
    return ok && written == n ? NEXTPORT_OK : np_fail_win32(err, NEXTPORT_FAILED, reason, "write %s", path);
}

enum nextport_status np_task_register(struct np_arena *arena, const char *program, bool *ret_changed,
                                      struct nextport_error *err)
{
    const char *shown = backslashes(arena, program);
    const char *file = np_sprintf(arena, "%s/nextport-task.xml", folder_of(arena, program));
    *ret_changed = false;
    if (is_equal(arena, shown))
        return NEXTPORT_OK;
    enum nextport_status status = write_xml(arena, file, np_task_xml(arena, shown), err);
    if (status == NEXTPORT_OK)
        status = drop_other(arena, err);
    if (status == NEXTPORT_OK)
        status = schtasks(arena, np_sprintf(arena, "/Create /TN \"" NAME "\" /XML \"%s\" /F", backslashes(arena, file)),
                          err);
    DeleteFileW(np_wide_path(arena, file));
    *ret_changed = status == NEXTPORT_OK;
    return status == NEXTPORT_OK ? status : np_wrap(err, "make the task \"" NAME "\"");
}

enum nextport_status np_host_make_task(struct np_arena *arena, struct np_task *ret, struct nextport_error *err)
{
    const char *program = own_program(arena);
    *ret = (struct np_task){.name = NAME};
    /* No user is trusted, not even an elevated one: the same person without rights could replace what SYSTEM runs. */
    ret->why = program ? np_task_refusal(arena, program, NULL)
                       : np_sprintf(arena, "This program is on no fixed drive of this machine. %s", advice);
    return ret->why ? NEXTPORT_OK : np_task_register(arena, program, &ret->changed, err);
}

enum nextport_status np_host_remove_task(struct np_arena *arena, struct np_task *ret, struct nextport_error *err)
{
    *ret = (struct np_task){.name = NAME};
    if (!np_host_exists(kept_file(arena)))
        return NEXTPORT_OK;
    if (schtasks(arena, "/Delete /TN \"" NAME "\" /F", err) != NEXTPORT_OK)
        return np_wrap(err, "remove the task \"" NAME "\"");
    ret->changed = true;
    return NEXTPORT_OK;
}
