/* The queue before the ledger: LockFileEx on PATH-lock. The kernel serves waiters and frees the lock when its process ends,
 * however it ends; SQLite's own busy handler polls and starves. Correctness does not rest on it.
 *
 * LockFileEx has no deadline. A thread blocks in it, and the caller waits for that thread as long as it may. At the
 * deadline the thread's call is cancelled and the thread let go with its handle: should it win the lock all the same (it
 * had not begun to wait yet, or the system cannot cancel a lock, as Wine 8), it gives it back at once. An overlapped call
 * would need no thread, but under Wine 8 it is never completed.
 *
 * Locks of Windows are mandatory: the locked byte lies far behind the note, which others must be able to read.
 * SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "host/windows/guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct np_lock {
    HANDLE file;
};

/* Offset 2^62, length 1. */
#define LOCKED_AT ((OVERLAPPED){.OffsetHigh = 0x40000000})

/* ---- The file ------------------------------------------------------------------------------------------------ */

/* Who may open the file may block everybody, be it only for reading: whoever may write the ledger, and nobody else. */
static PSECURITY_DESCRIPTOR promise_of(struct np_arena *arena, const char *path, enum np_place place,
                                       const struct np_trust *trust)
{
    const struct np_trust alone = {.user = trust->user};
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    bool there;
    const char *folder = np_strndup(arena, path, (size_t)(strrchr(path, '/') - path) + 1);
    /* A ledger that was named is the group's if the group may write to its folder. */
    const bool shared = place == NP_PLACE_MACHINE ||
                        (trust->group && np_guard_vet(folder, true, &alone, false, &there, &ignored) != NEXTPORT_OK);
    return np_guard_promise(arena, place, NP_PROMISED_LOCK, shared ? trust->group : NULL);
}

static enum nextport_status cannot_open(struct np_arena *arena, DWORD reason, const char *file,
                                        struct nextport_error *err)
{
    const DWORD attributes = GetFileAttributesW(np_wide_path(arena, file));
    if (attributes == INVALID_FILE_ATTRIBUTES || (attributes & FILE_ATTRIBUTE_DIRECTORY) == 0)
        return np_guard_cannot(err, reason, "open", file);
    np_fail(err, NEXTPORT_LEDGER, "%s: a folder, not a plain file", file);
    np_hint(err, "Look who put it there and move it away, or name another ledger.");
    return NEXTPORT_LEDGER;
}

/* Open to strangers, and still so if we may not close it: then it is for its owner, or an administrator, to mend. */
static enum nextport_status keep_promise(HANDLE handle, const char *file, const struct np_trust *trust,
                                         PSECURITY_DESCRIPTOR promise, struct nextport_error *err)
{
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    struct np_trust closed = *trust;
    bool changed;
    closed.kind = NP_GUARD_PRIVATE;
    enum nextport_status status = np_guard_vet_handle(handle, file, false, &closed, true, err);
    if (status != NEXTPORT_DENIED || np_guard_apply(file, promise, &changed, &ignored) != NEXTPORT_OK)
        return status;
    return np_guard_vet_handle(handle, file, false, &closed, true, err);
}

/* Not shared for deletion: nobody exchanges the file while anyone waits at it. */
static enum nextport_status open_file(struct np_arena *arena, const char *ledger_path, enum np_place place, HANDLE *ret,
                                      const char **ret_file, struct nextport_error *err)
{
    const char *path;
    if (np_guard_full_path(arena, ledger_path, &path, err) != NEXTPORT_OK)
        return err->status;
    const char *file = *ret_file = np_sprintf(arena, "%s-lock", path);
    const wchar_t *wide = np_wide_path(arena, file);
    const struct np_trust trust = np_guard_trust(arena, place); /* once: it costs a call to another process */
    SECURITY_ATTRIBUTES with = {.nLength = sizeof with, .lpSecurityDescriptor = promise_of(arena, path, place, &trust)};
    if (!wide)
        return np_fail(err, NEXTPORT_INPUT, "the ledger's path is longer than the system allows");
    if (!with.lpSecurityDescriptor)
        return np_fail(err, NEXTPORT_FAILED, "%s: the access rights that were promised cannot be put together", file);
    HANDLE handle = CreateFileW(wide, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, &with,
                                OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    if (handle == INVALID_HANDLE_VALUE)
        return cannot_open(arena, GetLastError(), file, err);
    if (keep_promise(handle, file, &trust, with.lpSecurityDescriptor, err) != NEXTPORT_OK) {
        CloseHandle(handle);
        return err->status;
    }
    *ret = handle;
    return NEXTPORT_OK;
}

/* ---- Who holds it -------------------------------------------------------------------------------------------- */

/* The note "PID TIME PROGRAM" is for people: it may be missing, stale (another program locked the file) or false. */
struct holder {
    int64_t pid, since;
    char program[64];
};

static void write_note(HANDLE file)
{
    struct np_arena *arena = np_arena_new();
    wchar_t program[MAX_PATH] = L"";
    OVERLAPPED at = {0};
    DWORD written;
    GetModuleFileNameW(NULL, program, MAX_PATH - 1);
    const wchar_t *slash = wcsrchr(program, L'\\');
    const char *note = np_sprintf(arena, "%lu %lld %.63s\n", GetCurrentProcessId(), (long long)np_host_now(),
                                  np_narrow(arena, slash ? slash + 1 : program));
    /* Whether it could be written does not matter to the lock. */
    SetFilePointer(file, 0, NULL, FILE_BEGIN);
    if (SetEndOfFile(file))
        WriteFile(file, note, (DWORD)strlen(note), &written, &at);
    np_arena_free(arena);
}

/* Through a handle of its own: on the one that was waited with, a call may still be under way. */
static bool read_note(struct np_arena *arena, const char *file, struct holder *ret)
{
    char note[128];
    DWORD n = 0;
    HANDLE handle = CreateFileW(np_wide_path(arena, file), GENERIC_READ,
                                FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING, 0, NULL);
    if (handle == INVALID_HANDLE_VALUE)
        return false;
    const bool read = ReadFile(handle, note, sizeof note - 1, &n, NULL);
    CloseHandle(handle);
    note[read ? n : 0] = '\0';
    return sscanf(note, "%18" SCNd64 " %18" SCNd64 " %63[^\n]", &ret->pid, &ret->since, ret->program) == 3 &&
           ret->pid > 0 && ret->pid <= UINT32_MAX;
}

/* Seconds since 1970 of a time in units of 100 ns since 1601. */
static int64_t unix_time(FILETIME t)
{
    const uint64_t units = (uint64_t)t.dwHighDateTime << 32 | t.dwLowDateTime;
    return (int64_t)(units / 10000000) - INT64_C(11644473600);
}

/* Does that process still run? One that was started after the note was written only has its number. */
static bool is_alive(const struct holder *holder)
{
    FILETIME born, unused[3];
    HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, (DWORD)holder->pid);
    if (!process)
        return GetLastError() == ERROR_ACCESS_DENIED; /* it is there, and somebody else's */
    const bool runs = WaitForSingleObject(process, 0) == WAIT_TIMEOUT,
               older = !GetProcessTimes(process, &born, &unused[0], &unused[1], &unused[2]) ||
                       unix_time(born) <= holder->since + 1;
    CloseHandle(process);
    return runs && older;
}

static enum nextport_status still_locked(struct np_arena *arena, const char *file, struct nextport_error *err)
{
    struct holder h;
    if (!read_note(arena, file, &h) || !is_alive(&h)) {
        np_fail(err, NEXTPORT_RETRY, "%s: locked by a process that did not leave its name", file);
        np_hint(err, "Repeat the request, or allow more time with --wait; the Resource Monitor's handles show which "
                     "process has the file open.");
        return NEXTPORT_RETRY;
    }
    const int64_t age = np_host_now() - h.since;
    np_fail(err, NEXTPORT_RETRY, "%s: locked by process %" PRId64 " (%s) since %" PRId64 " s", file, h.pid, h.program,
            age > 0 ? age : 0);
    np_hint(err, "Repeat the request, or allow more time with --wait.");
    return NEXTPORT_RETRY;
}

/* ---- Waiting ------------------------------------------------------------------------------------------------- */

/* Belongs to the caller and to the thread; whoever comes second to `state` frees it. */
struct waiter {
    HANDLE file;
    DWORD reason; /* 0: the lock is ours */
    LONG volatile state;
};

enum { WAITING, FINISHED, LET_GO };

static DWORD lock_now(HANDLE file, DWORD flags)
{
    OVERLAPPED at = LOCKED_AT;
    return LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | flags, 0, 1, 0, &at) ? 0 : GetLastError();
}

static DWORD WINAPI wait_in_kernel(void *ctx)
{
    struct waiter *w = ctx;
    w->reason = lock_now(w->file, 0);
    if (InterlockedCompareExchange(&w->state, FINISHED, WAITING) == LET_GO) {
        CloseHandle(w->file); /* gives the lock back, if it was won after all */
        free(w);
    }
    return 0;
}

/* Waits in pieces that fit the system's unit. */
static bool has_ended_within(HANDLE thread, int64_t wait_s)
{
    enum { PIECE_MS = 1 << 30 };
    const ULONGLONG most_s = (ULONGLONG)(wait_s < NP_DURATION_MAX ? wait_s : NP_DURATION_MAX);
    const ULONGLONG deadline = GetTickCount64() + most_s * 1000;
    for (ULONGLONG now; (now = GetTickCount64()) < deadline;) {
        const ULONGLONG rest = deadline - now;
        if (WaitForSingleObject(thread, rest < PIECE_MS ? (DWORD)rest : PIECE_MS) == WAIT_OBJECT_0)
            return true;
    }
    return false;
}

/* 0, WAIT_TIMEOUT, or why it failed. *file: NULL when the thread was let go with it. */
static DWORD lock_within(HANDLE *file, int64_t wait_s)
{
    struct waiter *w = malloc(sizeof *w);
    if (!w)
        return ERROR_NOT_ENOUGH_MEMORY;
    *w = (struct waiter){.file = *file, .state = WAITING};
    HANDLE thread = CreateThread(NULL, 0, wait_in_kernel, w, 0, NULL);
    DWORD reason = thread ? WAIT_TIMEOUT : GetLastError();
    if (!thread) {
        free(w);
        return reason;
    }
    if (!has_ended_within(thread, wait_s))
        CancelSynchronousIo(thread);
    if (InterlockedCompareExchange(&w->state, LET_GO, WAITING) == WAITING) {
        *file = NULL;
    } else {
        WaitForSingleObject(thread, INFINITE); /* it has done its work, and is about to end */
        if (w->reason != ERROR_OPERATION_ABORTED)
            reason = w->reason;
        free(w);
    }
    CloseHandle(thread);
    return reason;
}

static enum nextport_status lock_file(struct np_arena *arena, HANDLE *handle, const char *file, int64_t wait_s,
                                      struct nextport_error *err)
{
    DWORD reason = lock_now(*handle, LOCKFILE_FAIL_IMMEDIATELY);
    if ((reason == ERROR_LOCK_VIOLATION || reason == ERROR_IO_PENDING) && wait_s > 0)
        reason = lock_within(handle, wait_s);
    if (reason == ERROR_LOCK_VIOLATION || reason == ERROR_IO_PENDING || reason == WAIT_TIMEOUT)
        return still_locked(arena, file, err);
    return reason ? np_fail_win32(err, NEXTPORT_FAILED, reason, "lock %s", file) : NEXTPORT_OK;
}

enum nextport_status np_lock_take(struct np_lock **ret, const char *ledger_path, enum np_place place, int64_t wait_s,
                                  struct nextport_error *err)
{
    struct np_arena *arena = np_arena_new();
    HANDLE handle = NULL;
    const char *file = NULL;
    enum nextport_status status = open_file(arena, ledger_path, place, &handle, &file, err);
    if (status == NEXTPORT_OK)
        status = lock_file(arena, &handle, file, wait_s, err);
    struct np_lock *lock = status == NEXTPORT_OK ? malloc(sizeof *lock) : NULL;
    if (status == NEXTPORT_OK && !lock)
        status = np_fail(err, NEXTPORT_FAILED, "lock %s: out of memory", file);
    if (status == NEXTPORT_OK) {
        write_note(handle);
        lock->file = handle;
        *ret = lock;
    } else if (handle) {
        CloseHandle(handle);
    }
    np_arena_free(arena);
    return status;
}

void np_lock_release(struct np_lock *lock)
{
    OVERLAPPED at = LOCKED_AT;
    if (!lock)
        return;
    /* An empty file: whoever locks it next without a note is not mistaken for us. */
    SetFilePointer(lock->file, 0, NULL, FILE_BEGIN);
    SetEndOfFile(lock->file);
    UnlockFileEx(lock->file, 0, 1, 0, &at);
    CloseHandle(lock->file);
    free(lock);
}
