/* The queue before the ledger, and the promises of its file, folder and neighbours, on Windows. Each test has a folder of
 * its own in %ProgramData%; the other processes are this program again, told by its arguments what to do.
 * SPDX-License-Identifier: MIT */
#include "lib/begin_process.h"
#include "host/windows/guard.h"
#include "ledger/ledger.h"

#include <fcntl.h>
#include <io.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tlhelp32.h>
#include <wchar.h>

#include <cmocka.h>

enum { LONGEST = 4096 };

static char folder[LONGEST], path[LONGEST];
static struct np_arena *arena;
static struct nextport_error err;

/* ---- Fixture ------------------------------------------------------------------------------------------------- */

static const wchar_t *wide(const char *name)
{
    return np_wide_path(arena, name);
}

static const char *beside(const char *suffix)
{
    return np_sprintf(arena, "%s%s", path, suffix);
}

static bool is_there(const char *name)
{
    return GetFileAttributesW(wide(name)) != INVALID_FILE_ATTRIBUTES;
}

static int make_folder(void **state)
{
    (void)state;
    arena = np_arena_new();
    err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    const char *machine = np_host_machine_ledger(arena);
    snprintf(folder, sizeof folder, "%.*s/nextport-lock-%lu", (int)(strstr(machine, "/nextport/") - machine), machine,
             GetCurrentProcessId());
    snprintf(path, sizeof path, "%.4000s/ledger.db", folder);
    return np_host_ledger_folder(path, NP_PLACE_MACHINE, &err) == NEXTPORT_OK ? 0 : -1;
}

static void remove_tree(const char *name)
{
    WIN32_FIND_DATAW found;
    HANDLE search = FindFirstFileW(wide(np_sprintf(arena, "%s/*", name)), &found);
    for (bool more = search != INVALID_HANDLE_VALUE; more; more = FindNextFileW(search, &found)) {
        if (wcscmp(found.cFileName, L".") == 0 || wcscmp(found.cFileName, L"..") == 0)
            continue;
        const char *entry = np_sprintf(arena, "%s/%s", name, np_narrow(arena, found.cFileName));
        SetFileAttributesW(wide(entry), FILE_ATTRIBUTE_NORMAL);
        if (found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY)
            remove_tree(entry);
        else
            DeleteFileW(wide(entry));
    }
    FindClose(search);
    RemoveDirectoryW(wide(name));
}

static int remove_folder(void **state)
{
    (void)state;
    remove_tree(folder);
    const bool removed = !is_there(folder);
    np_arena_free(arena);
    return removed ? 0 : -1;
}

static void touch(const char *file, const char *content)
{
    DWORD n = 0;
    HANDLE handle = CreateFileW(wide(file), GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    assert_true(handle != INVALID_HANDLE_VALUE);
    assert_true(WriteFile(handle, content, (DWORD)strlen(content), &n, NULL));
    CloseHandle(handle);
}

/* Everyone may write: the one weakness that Wine keeps, in the bits of a Unix file's mode. */
static void open_to_everyone(const char *file)
{
    static const BYTE everyone[] = {SID_REVISION, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
    BYTE room[64];
    SECURITY_DESCRIPTOR sd;
    SID sid;
    bool changed = false;
    memcpy(&sid, everyone, sizeof everyone);
    assert_true(InitializeAcl((ACL *)(void *)room, sizeof room, ACL_REVISION));
    assert_true(AddAccessAllowedAce((ACL *)(void *)room, ACL_REVISION, FILE_ALL_ACCESS, &sid));
    assert_true(InitializeSecurityDescriptor(&sd, SECURITY_DESCRIPTOR_REVISION));
    assert_true(SetSecurityDescriptorDacl(&sd, TRUE, (ACL *)(void *)room, FALSE));
    assert_int_equal(np_guard_apply(file, &sd, &changed, &err), NEXTPORT_OK);
}

static void assert_said(const char *text)
{
    if (!strstr(err.text, text))
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
    assert_true(err.hint[0] != '\0');
}

/* ---- Other processes ----------------------------------------------------------------------------------------- */

struct child {
    HANDLE process, in, out; /* our ends of its pipes */
    DWORD pid;
};

static void our_end_stays_here(HANDLE handle)
{
    assert_true(SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0));
}

/* This program as "ROLE PATH". */
static struct child start(const char *role)
{
    SECURITY_ATTRIBUTES inherit = {.nLength = sizeof inherit, .bInheritHandle = TRUE};
    STARTUPINFOW info = {.cb = sizeof info, .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION made;
    struct child child;
    wchar_t program[LONGEST];
    assert_true(GetModuleFileNameW(NULL, program, LONGEST) < LONGEST);
    assert_true(CreatePipe(&info.hStdInput, &child.in, &inherit, 0));
    assert_true(CreatePipe(&child.out, &info.hStdOutput, &inherit, 0));
    info.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    our_end_stays_here(child.in);
    our_end_stays_here(child.out);
    wchar_t *line = np_wide(arena, np_sprintf(arena, "\"%s\" %s \"%s\"", np_narrow(arena, program), role, path));
    if (!begin_process(program, line, TRUE, 0, &info, &made))
        fail_msg("start \"%s\": error %lu", role, GetLastError());
    CloseHandle(made.hThread);
    CloseHandle(info.hStdInput);
    CloseHandle(info.hStdOutput);
    child.process = made.hProcess;
    child.pid = made.dwProcessId;
    return child;
}

/* What it writes in one go; "" at its end. */
static const char *hear(const struct child *child)
{
    static char text[64];
    DWORD n = 0;
    if (!ReadFile(child->out, text, sizeof text - 1, &n, NULL))
        n = 0;
    text[n] = '\0';
    return text;
}

static DWORD wait_for(struct child *child)
{
    DWORD status = 99;
    CloseHandle(child->in);
    assert_int_equal(WaitForSingleObject(child->process, 120000), WAIT_OBJECT_0);
    assert_true(GetExitCodeProcess(child->process, &status));
    CloseHandle(child->process);
    CloseHandle(child->out);
    return status;
}

static void kill_child(struct child *child)
{
    assert_true(TerminateProcess(child->process, 3));
    assert_int_equal(wait_for(child), 3);
}

static enum nextport_status take(struct np_lock **ret, int64_t wait_s)
{
    return np_lock_take(ret, path, NP_PLACE_MACHINE, wait_s, &err);
}

/* A process that has the lock by the time this returns, and keeps it until it is killed or its input ends. */
static struct child holder(void)
{
    struct child child = start("hold");
    assert_string_equal(hear(&child), "held");
    return child;
}

static void say(const char *text)
{
    DWORD n;
    WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), text, (DWORD)strlen(text), &n, NULL);
}

static void until_input_ends(void)
{
    char byte;
    DWORD n;
    while (ReadFile(GetStdHandle(STD_INPUT_HANDLE), &byte, 1, &n, NULL) && n > 0)
        continue;
}

static int hold(void)
{
    struct np_lock *lock;
    if (take(&lock, 60) != NEXTPORT_OK)
        return 1;
    say("held");
    until_input_ends();
    np_lock_release(lock);
    return 0;
}

static int idle(void)
{
    say("idle");
    until_input_ends();
    return 0;
}

/* Has the lock, and a child that was offered all that can be inherited. Says that child's number. */
static int hold_with_child(void)
{
    struct np_lock *lock;
    if (take(&lock, 60) != NEXTPORT_OK)
        return 1;
    struct child child = start("idle");
    if (strcmp(hear(&child), "idle") != 0)
        return 2;
    say(np_sprintf(arena, "%lu", child.pid));
    until_input_ends();
    return 0;
}

/* 200 times, a counter that only works when one holds the lock. */
static int count(void)
{
    struct np_lock *lock;
    for (int i = 0; i < 200; i++) {
        char text[32] = "";
        DWORD n = 0;
        OVERLAPPED at = {0};
        if (take(&lock, 100) != NEXTPORT_OK)
            return 1;
        HANDLE file = CreateFileW(wide(path), GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                                  OPEN_EXISTING, 0, NULL);
        if (file == INVALID_HANDLE_VALUE || !ReadFile(file, text, sizeof text - 1, &n, NULL))
            return 2;
        snprintf(text, sizeof text, "%d", atoi(text) + 1);
        if (!WriteFile(file, text, (DWORD)strlen(text), &n, &at))
            return 3;
        CloseHandle(file);
        np_lock_release(lock);
    }
    return 0;
}

/* ---- The lock ------------------------------------------------------------------------------------------------ */

static void a_released_lock_can_be_taken_again(void **state)
{
    (void)state;
    struct np_lock *lock;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take(&lock, 0), NEXTPORT_OK);
        np_lock_release(lock);
    }
    np_lock_release(NULL);
}

static void two_handles_of_one_process_exclude_each_other(void **state)
{
    (void)state;
    struct np_lock *first, *second;
    assert_int_equal(take(&first, 0), NEXTPORT_OK);
    assert_int_equal(take(&second, 0), NEXTPORT_RETRY);
    np_lock_release(first);
    assert_int_equal(take(&second, 0), NEXTPORT_OK);
    np_lock_release(second);
}

static void the_deadline_names_the_holder(void **state)
{
    (void)state;
    wchar_t program[LONGEST];
    struct np_lock *lock;
    struct child child = holder();
    GetModuleFileNameW(NULL, program, LONGEST);
    const char *wanted = np_sprintf(arena, "locked by process %lu (%s) since ", child.pid,
                                    np_narrow(arena, wcsrchr(program, L'\\') + 1));
    const ULONGLONG before = GetTickCount64();
    assert_int_equal(take(&lock, 1), NEXTPORT_RETRY);
    const ULONGLONG waited = GetTickCount64() - before;
    assert_said(wanted);
    assert_true(waited >= 950 && waited < 10000);
    assert_int_equal(wait_for(&child), 0);
    assert_int_equal(take(&lock, 10), NEXTPORT_OK);
    np_lock_release(lock);
}

static void a_killed_holder_frees_the_lock(void **state)
{
    (void)state;
    struct np_lock *lock;
    struct child child = holder();
    kill_child(&child);
    assert_int_equal(take(&lock, 0), NEXTPORT_OK);
    np_lock_release(lock);
}

static unsigned threads_of_this_process(void)
{
    THREADENTRY32 thread = {.dwSize = sizeof thread};
    unsigned n = 0;
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    for (BOOL more = Thread32First(all, &thread); more; more = Thread32Next(all, &thread))
        n += thread.th32OwnerProcessID == GetCurrentProcessId();
    CloseHandle(all);
    return n;
}

struct killer {
    HANDLE victim;
    unsigned threads;
};

/* Until somebody waits, which takes a thread. */
static DWORD WINAPI kill_when_awaited(void *ctx)
{
    const struct killer *killer = ctx;
    while (threads_of_this_process() <= killer->threads)
        SwitchToThread();
    return TerminateProcess(killer->victim, 3) ? 0 : 1;
}

static void a_waiter_goes_on_as_soon_as_the_holder_ends(void **state)
{
    (void)state;
    struct np_lock *lock;
    DWORD status = 99;
    struct child child = holder();
    struct killer killer = {.victim = child.process, .threads = threads_of_this_process() + 1};
    HANDLE thread = CreateThread(NULL, 0, kill_when_awaited, &killer, 0, NULL);
    assert_non_null(thread);
    const ULONGLONG before = GetTickCount64();
    assert_int_equal(take(&lock, 60), NEXTPORT_OK);
    assert_true(GetTickCount64() - before < 30000);
    np_lock_release(lock);
    assert_int_equal(WaitForSingleObject(thread, 60000), WAIT_OBJECT_0);
    assert_true(GetExitCodeThread(thread, &status));
    assert_int_equal(status, 0);
    CloseHandle(thread);
    assert_int_equal(wait_for(&child), 3);
}

static DWORD WINAPI wait_in_vain(void *ctx)
{
    struct nextport_error own = NEXTPORT_ERROR_INIT;
    struct np_lock *lock;
    (void)ctx;
    return (DWORD)np_lock_take(&lock, path, NP_PLACE_MACHINE, 1, &own);
}

/* What a waiter that gave up wins later, it gives back. */
static void waiters_that_gave_up_keep_nothing(void **state)
{
    (void)state;
    enum { N = 8 };
    HANDLE threads[N];
    DWORD status;
    struct np_lock *lock;
    struct child child = holder();
    for (int i = 0; i < N; i++)
        assert_non_null(threads[i] = CreateThread(NULL, 0, wait_in_vain, NULL, 0, NULL));
    assert_int_equal(WaitForMultipleObjects(N, threads, TRUE, 60000), WAIT_OBJECT_0);
    for (int i = 0; i < N; i++) {
        assert_true(GetExitCodeThread(threads[i], &status));
        assert_int_equal(status, NEXTPORT_RETRY);
        CloseHandle(threads[i]);
    }
    kill_child(&child);
    for (int i = 0; i < N; i++) {
        assert_int_equal(take(&lock, 30), NEXTPORT_OK);
        np_lock_release(lock);
    }
}

static HANDLE lock_as_a_stranger(const char *note)
{
    OVERLAPPED at = {.OffsetHigh = 0x40000000};
    touch(beside("-lock"), note);
    HANDLE file = CreateFileW(wide(beside("-lock")), GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE,
                              NULL, OPEN_EXISTING, 0, NULL);
    assert_true(file != INVALID_HANDLE_VALUE);
    assert_true(LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at));
    return file;
}

static void nonsense_in_the_lock_file_is_harmless(void **state)
{
    (void)state;
    static const char *const notes[] = {"", "x", "-1 0 init", "99999999999999999999 1 x", "1", "0 0 \n", "1 1 "};
    struct np_lock *lock;
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        HANDLE file = lock_as_a_stranger(notes[i]);
        assert_int_equal(take(&lock, 0), NEXTPORT_RETRY);
        CloseHandle(file);
        assert_said("did not leave its name");
    }
}

/* Its number may be another process' by now: ours was started after that note. */
static void a_note_older_than_its_process_is_not_believed(void **state)
{
    (void)state;
    struct np_lock *lock;
    HANDLE file = lock_as_a_stranger(np_sprintf(arena, "%lu 1000 old.exe\n", GetCurrentProcessId()));
    assert_int_equal(take(&lock, 0), NEXTPORT_RETRY);
    assert_said("did not leave its name");
    CloseHandle(file);
    file = lock_as_a_stranger(np_sprintf(arena, "%lu %lld new.exe\n", GetCurrentProcessId(), (long long)np_host_now()));
    assert_int_equal(take(&lock, 0), NEXTPORT_RETRY);
    assert_said("(new.exe) since ");
    CloseHandle(file);
}

static void nothing_is_counted_twice_whoever_is_killed(void **state)
{
    (void)state;
    enum { N = 8, N_KILLS = 10 };
    struct child children[N];
    char text[32] = "";
    DWORD n = 0;
    touch(path, "0");
    for (int i = 0; i < N; i++)
        children[i] = start("count");
    for (int i = 0; i < N_KILLS; i++) {
        struct child victim = holder();
        kill_child(&victim);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(wait_for(&children[i]), 0);
    HANDLE file = CreateFileW(wide(path), GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    assert_true(ReadFile(file, text, sizeof text - 1, &n, NULL));
    CloseHandle(file);
    assert_string_equal(text, "1600");
}

static void a_lock_that_is_not_a_file_is_refused(void **state)
{
    (void)state;
    struct np_lock *lock;
    assert_true(CreateDirectoryW(wide(beside("-lock")), NULL));
    assert_int_equal(take(&lock, 0), NEXTPORT_LEDGER);
    assert_said("a folder, not a plain file");
    assert_true(RemoveDirectoryW(wide(beside("-lock"))));
    touch(beside("-other"), "");
    assert_true(CreateHardLinkW(wide(beside("-lock")), wide(beside("-other")), NULL));
    assert_int_equal(take(&lock, 0), NEXTPORT_LEDGER);
    assert_said("a file with a second name");
}

static void an_open_lock_file_is_closed_to_others(void **state)
{
    (void)state;
    struct np_lock *lock;
    const struct np_trust trust = {.user = np_guard_user(arena), .kind = NP_GUARD_PRIVATE};
    bool there;
    touch(beside("-lock"), "");
    open_to_everyone(beside("-lock"));
    assert_int_equal(np_guard_vet(beside("-lock"), false, &trust, true, &there, &err), NEXTPORT_DENIED);
    assert_int_equal(take(&lock, 0), NEXTPORT_OK);
    np_lock_release(lock);
    assert_int_equal(np_guard_vet(beside("-lock"), false, &trust, true, &there, &err), NEXTPORT_OK);
}

static void a_program_that_the_holder_started_does_not_inherit_the_lock(void **state)
{
    (void)state;
    struct np_lock *lock;
    struct child child = start("hold-with-child");
    const DWORD pid = (DWORD)strtoul(hear(&child), NULL, 10);
    HANDLE grandchild = OpenProcess(PROCESS_TERMINATE | SYNCHRONIZE, FALSE, pid);
    assert_non_null(grandchild);
    assert_int_equal(take(&lock, 0), NEXTPORT_RETRY);
    kill_child(&child);
    assert_int_equal(take(&lock, 0), NEXTPORT_OK);
    np_lock_release(lock);
    TerminateProcess(grandchild, 0);
    assert_int_equal(WaitForSingleObject(grandchild, 60000), WAIT_OBJECT_0);
    CloseHandle(grandchild);
}

/* ---- Vetting ------------------------------------------------------------------------------------------------- */

static enum nextport_status vet_as(enum np_place place, bool write, bool *ret_present)
{
    err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    return np_host_ledger_vet(path, place, write, ret_present, &err);
}

static void assert_vet(enum np_place place, enum nextport_status status, const char *text)
{
    bool present;
    if (vet_as(place, true, &present) != status)
        fail_msg("%d %s", err.status, err.text);
    if (status != NEXTPORT_OK)
        assert_said(text);
}

static void what_is_as_promised_is_accepted(void **state)
{
    (void)state;
    bool present = true;
    assert_int_equal(vet_as(NP_PLACE_MACHINE, true, &present), NEXTPORT_OK);
    assert_false(present);
    touch(path, "x");
    touch(beside("-wal"), "x");
    touch(beside("-shm"), "x");
    touch(beside("-lock"), "x");
    assert_int_equal(vet_as(NP_PLACE_MACHINE, true, &present), NEXTPORT_OK);
    assert_true(present);
    assert_int_equal(vet_as(NP_PLACE_GIVEN, false, &present), NEXTPORT_OK);
    assert_true(present);
}

static void a_folder_that_is_missing_has_no_ledger(void **state)
{
    (void)state;
    bool present = true;
    snprintf(path, sizeof path, "%.4000s/a/b/ledger.db", folder);
    assert_int_equal(vet_as(NP_PLACE_GIVEN, true, &present), NEXTPORT_OK);
    assert_false(present);
    assert_int_equal(np_host_ledger_folder(path, NP_PLACE_GIVEN, &err), NEXTPORT_INPUT);
    assert_said("no such f");
}

static void only_a_plain_file_is_a_ledger(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (i == 1)
            touch(path, "x");
        assert_true(CreateDirectoryW(wide(beside(suffixes[i])), NULL));
        assert_vet(NP_PLACE_MACHINE, NEXTPORT_LEDGER, "a folder, not a plain file");
        assert_true(RemoveDirectoryW(wide(beside(suffixes[i]))));
    }
}

static void a_log_without_its_ledger_is_not_thrown_away(void **state)
{
    (void)state;
    touch(beside("-wal"), "");
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_OK, "");
    touch(beside("-wal"), "x");
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_LEDGER, "there is no ledger to it, and it holds leases");
}

static void what_everyone_may_write_is_refused(void **state)
{
    (void)state;
    touch(path, "x");
    touch(beside("-wal"), "x");
    open_to_everyone(beside("-wal"));
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_DENIED, "may write to it");
    assert_vet(NP_PLACE_GIVEN, NEXTPORT_DENIED, "ledger.db-wal: ");
    assert_true(DeleteFileW(wide(beside("-wal"))));
    open_to_everyone(path);
    assert_vet(NP_PLACE_USER, NEXTPORT_DENIED, "may write to it");
    assert_true(DeleteFileW(wide(path)));
    open_to_everyone(folder);
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_DENIED, "may write to it");
    assert_vet(NP_PLACE_USER, NEXTPORT_DENIED, "may read or write it");
}

/* Wine, when root runs it, writes whatever it is told. */
static void make_read_only(const char *file)
{
    assert_true(SetFileAttributesW(wide(file), FILE_ATTRIBUTE_READONLY));
    HANDLE handle =
        CreateFileW(wide(file), GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (handle == INVALID_HANDLE_VALUE)
        return;
    CloseHandle(handle);
    print_message("# this system lets us write what is read-only\n");
    skip();
}

static void a_ledger_that_may_not_be_written_can_still_be_read(void **state)
{
    (void)state;
    bool present = false;
    touch(path, "x");
    make_read_only(path);
    assert_int_equal(vet_as(NP_PLACE_MACHINE, false, &present), NEXTPORT_OK);
    assert_true(present);
    assert_int_equal(vet_as(NP_PLACE_MACHINE, true, &present), NEXTPORT_DENIED);
    assert_said("write ");
    assert_non_null(strstr(err.hint, "nextport setup"));
}

static void a_path_that_names_no_file_is_bad_input(void **state)
{
    (void)state;
    bool present;
    static char long_path[40000];
    memset(long_path, 'x', sizeof long_path - 1);
    const char *const paths[] = {
        "", "C:/", "C:\\x\\", long_path, "C:/windows/notepad.exe/ledger.db", "C:/windows/notepad.exe/x/ledger.db"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_int_equal(np_host_ledger_vet(paths[i], NP_PLACE_GIVEN, true, &present, &err), NEXTPORT_INPUT);
    assert_int_equal(np_host_ledger_vet("//server/share/x.db", NP_PLACE_GIVEN, true, &present, &err), NEXTPORT_LEDGER);
    assert_said("another computer");
}

/* ---- Names --------------------------------------------------------------------------------------------------- */

static void the_machines_ledger_is_known_however_it_is_written(void **state)
{
    (void)state;
    const char *machine = np_host_machine_ledger(arena);
    char *other = np_strdup(arena, machine);
    for (char *p = other; *p; p++)
        *p = *p == '/' ? '\\' : *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
    assert_null(strchr(machine, '\\'));
    assert_true(np_host_is_machine_ledger(machine));
    assert_true(np_host_is_machine_ledger(other));
    assert_true(np_host_is_machine_ledger(np_sprintf(arena, "\\\\?\\%s", other)));
    assert_true(np_host_is_machine_ledger(np_sprintf(arena, "%s/../ledger.db", machine)));
    assert_false(np_host_is_machine_ledger(np_sprintf(arena, "%s2", machine)));
    assert_false(np_host_is_machine_ledger("ledger.db"));
    assert_false(np_host_is_machine_ledger(""));
}

static void the_users_ledger_has_its_place(void **state)
{
    (void)state;
    const char *got = NULL;
    assert_int_equal(np_host_user_ledger(arena, &got, &err), NEXTPORT_OK);
    assert_non_null(strstr(got, "/nextport/ledger.db"));
    assert_int_equal(got[1], ':');
}

static void a_configuration_that_strangers_may_write_is_not_read(void **state)
{
    (void)state;
    const char *file = NULL, *machine = np_host_machine_ledger(arena), *own = np_strdup(arena, folder);
    const char *shared = np_strndup(arena, machine, (size_t)(strrchr(machine, '/') - machine));
    if (is_there(shared)) {
        print_message("# this machine has a ledger of its own\n");
        skip();
    }
    assert_int_equal(np_host_config_file(arena, &file, &err), NEXTPORT_OK);
    assert_null(file);
    strcpy(folder, shared); /* so that it is removed, should something fail */
    assert_int_equal(np_host_ledger_folder(machine, NP_PLACE_MACHINE, &err), NEXTPORT_OK);
    const char *config = np_sprintf(arena, "%s/nextport.conf", shared);
    touch(config, "x");
    assert_int_equal(np_host_config_file(arena, &file, &err), NEXTPORT_OK);
    assert_string_equal(file, config);
    open_to_everyone(config);
    assert_int_equal(np_host_config_file(arena, &file, &err), NEXTPORT_DENIED);
    assert_null(file);
    assert_said("nextport.conf: ");
    assert_true(DeleteFileW(wide(config)));
    assert_int_equal(np_host_config_file(arena, &file, &err), NEXTPORT_OK);
    assert_null(file);
    open_to_everyone(folder);
    assert_int_equal(np_host_config_file(arena, &file, &err), NEXTPORT_DENIED);
    assert_non_null(strstr(err.hint, "--config NUL"));
    assert_true(RemoveDirectoryW(wide(folder)));
    touch(folder, "x");
    assert_int_equal(np_host_config_file(arena, &file, &err), NEXTPORT_DENIED);
    assert_said("/nextport: ");
    assert_true(DeleteFileW(wide(folder)));
    strcpy(folder, own);
}

/* ---- Making -------------------------------------------------------------------------------------------------- */

static void a_users_folder_is_made_closed(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%.4000s/deep/nextport/ledger.db", folder);
    assert_int_equal(np_host_ledger_folder(path, NP_PLACE_USER, &err), NEXTPORT_OK);
    assert_int_equal(np_host_ledger_folder(path, NP_PLACE_USER, &err), NEXTPORT_OK);
    assert_vet(NP_PLACE_USER, NEXTPORT_OK, "");
}

static void a_folder_that_a_stranger_was_faster_to_make_is_refused(void **state)
{
    (void)state;
    open_to_everyone(folder);
    assert_int_equal(np_host_ledger_folder(path, NP_PLACE_MACHINE, &err), NEXTPORT_DENIED);
    assert_said("may write to it");
}

static void a_ledger_is_published_once(void **state)
{
    (void)state;
    touch(beside("-new"), "x");
    assert_int_equal(np_host_ledger_publish(beside("-new"), path, NP_PLACE_MACHINE, &err), NEXTPORT_OK);
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_OK, "");
    assert_false(is_there(beside("-new")));
    touch(beside("-new"), "x");
    assert_int_equal(np_host_ledger_publish(beside("-new"), path, NP_PLACE_MACHINE, &err), NEXTPORT_CONFLICT);
    assert_false(is_there(beside("-new")));
}

static void what_a_killed_maker_left_is_cleared(void **state)
{
    (void)state;
    assert_int_equal(np_host_ledger_fresh(beside("-new"), &err), NEXTPORT_OK);
    touch(beside("-new"), "x");
    touch(beside("-new-wal"), "x");
    assert_int_equal(np_host_ledger_fresh(beside("-new"), &err), NEXTPORT_OK);
    assert_false(is_there(beside("-new")));
    assert_false(is_there(beside("-new-wal")));
    assert_true(CreateDirectoryW(wide(beside("-new")), NULL));
    assert_int_equal(np_host_ledger_fresh(beside("-new"), &err), NEXTPORT_DENIED);
    assert_said("in the way of a ledger to be made");
}

static void setup_mends_rights_once(void **state)
{
    (void)state;
    bool changed = false;
    touch(path, "x");
    touch(beside("-wal"), "x");
    open_to_everyone(path);
    open_to_everyone(beside("-wal"));
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_DENIED, "may write to it");
    assert_int_equal(np_host_ledger_modes(path, &changed, &err), NEXTPORT_OK);
    assert_true(changed);
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_OK, "");
    assert_int_equal(np_host_ledger_modes(path, &changed, &err), NEXTPORT_OK);
    assert_false(changed);
    /* What has a second name may be anybody's: its rights are not touched. */
    assert_true(CreateHardLinkW(wide(beside("-journal")), wide(path), NULL));
    assert_int_equal(np_host_ledger_modes(path, &changed, &err), NEXTPORT_LEDGER);
}

/* Its words would be the administrators' with its rights. */
static void setup_mends_no_configuration_that_others_may_have_written(void **state)
{
    (void)state;
    bool changed = false;
    const char *config = np_sprintf(arena, "%s/nextport.conf", folder);
    touch(path, "x");
    touch(config, "policy.os = off\n");
    open_to_everyone(config);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(np_host_ledger_modes(path, &changed, &err), NEXTPORT_DENIED);
        assert_said("nextport.conf: ");
        assert_non_null(strstr(err.hint, "remove it"));
    }
    assert_true(DeleteFileW(wide(config)));
    assert_int_equal(np_host_ledger_modes(path, &changed, &err), NEXTPORT_OK);
    assert_true(is_there(config));
    assert_int_equal(np_host_ledger_modes(path, &changed, &err), NEXTPORT_OK);
}

/* Users that are no members may read the ledger, and may not even look at its queue. */
static void what_the_queues_file_is_concerns_no_reader(void **state)
{
    (void)state;
    bool present;
    touch(path, "x");
    touch(beside("-lock"), "x");
    open_to_everyone(beside("-lock"));
    assert_int_equal(vet_as(NP_PLACE_MACHINE, false, &present), NEXTPORT_OK);
    assert_true(present);
}

/* ---- What SQLite is told ------------------------------------------------------------------------------------- */

static const struct np_actor actor = {.host = "test", .scope = "", .user = "test", .machine_id = NULL, .now = 1000};

static void lease_port(uint16_t port)
{
    struct np_ledger *ledger = NULL;
    struct nextport_lease lease = {.port = port, .protocol = NEXTPORT_TCP, .name = "x", .expires = 2000};
    assert_int_equal(np_ledger_sqlite.open(&ledger, path, NP_LEDGER_WRITE, &actor, &err), NEXTPORT_OK);
    assert_int_equal(np_ledger_sqlite.add(ledger, &lease, "granted", &err), NEXTPORT_OK);
    assert_int_equal(np_ledger_sqlite.end(ledger, true, &err), NEXTPORT_OK);
    np_ledger_sqlite.close(ledger);
}

static void assert_leased(size_t n)
{
    struct np_ledger *ledger = NULL;
    struct np_leases leases = {.arena = arena};
    if (np_ledger_sqlite.open(&ledger, path, NP_LEDGER_READ, &actor, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    assert_int_equal(np_ledger_sqlite.leases(ledger, "", SIZE_MAX, &leases, &err), NEXTPORT_OK);
    np_ledger_sqlite.close(ledger);
    assert_int_equal(leases.n, n);
}

static void make_ledger(void)
{
    if (np_ledger_sqlite.create(beside("-new"), &actor, &err) != NEXTPORT_OK ||
        np_host_ledger_publish(beside("-new"), path, NP_PLACE_MACHINE, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
}

/* Alone, beside a log without its index, and beside a reader that looks. */
static void a_reader_creates_nothing(void **state)
{
    (void)state;
    make_ledger();
    assert_false(is_there(beside("-wal")));
    assert_leased(0);
    assert_false(is_there(beside("-wal")) || is_there(beside("-shm")));
    lease_port(50000);
    assert_true(is_there(beside("-wal")));
    assert_true(DeleteFileW(wide(beside("-shm"))));
    assert_leased(1);
    assert_false(is_there(beside("-shm")));
    lease_port(50001);
    assert_true(is_there(beside("-shm")));
    assert_leased(2);
}

static void who_may_only_read_can_read(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    make_ledger();
    lease_port(50000);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        make_read_only(beside(suffixes[i]));
    assert_leased(1);
}

/* Longer than 260 characters, with what a URI takes for its own. */
static void a_long_and_strange_path_is_a_path(void **state)
{
    (void)state;
    struct np_lock *lock;
    char *at = strrchr(path, '/');
    for (int i = 0; i < 8; i++)
        at += sprintf(at, "/%d 100%%41 #1 &= \xc3\xa9\xe6\xbc\xa2 ;,+~'!@$^() []", i);
    strcpy(at, "/ledger 100%25#.db");
    assert_true(wcslen(wide(path)) > 300);
    if (np_host_ledger_folder(path, NP_PLACE_MACHINE, &err) != NEXTPORT_OK || take(&lock, 0) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    make_ledger();
    lease_port(50000);
    assert_leased(1);
    assert_true(DeleteFileW(wide(beside("-shm"))));
    assert_leased(1);
    np_lock_release(lock);
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_OK, "");
    assert_true(is_there(path) && is_there(beside("-wal")) && is_there(beside("-lock")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

static int test_all(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_released_lock_can_be_taken_again),
        TEST(two_handles_of_one_process_exclude_each_other),
        TEST(the_deadline_names_the_holder),
        TEST(a_killed_holder_frees_the_lock),
        TEST(a_waiter_goes_on_as_soon_as_the_holder_ends),
        TEST(waiters_that_gave_up_keep_nothing),
        TEST(nonsense_in_the_lock_file_is_harmless),
        TEST(a_note_older_than_its_process_is_not_believed),
        TEST(nothing_is_counted_twice_whoever_is_killed),
        TEST(a_lock_that_is_not_a_file_is_refused),
        TEST(an_open_lock_file_is_closed_to_others),
        TEST(a_program_that_the_holder_started_does_not_inherit_the_lock),
        TEST(what_is_as_promised_is_accepted),
        TEST(a_folder_that_is_missing_has_no_ledger),
        TEST(only_a_plain_file_is_a_ledger),
        TEST(a_log_without_its_ledger_is_not_thrown_away),
        TEST(what_everyone_may_write_is_refused),
        TEST(a_ledger_that_may_not_be_written_can_still_be_read),
        TEST(a_path_that_names_no_file_is_bad_input),
        TEST(the_machines_ledger_is_known_however_it_is_written),
        TEST(the_users_ledger_has_its_place),
        TEST(a_configuration_that_strangers_may_write_is_not_read),
        TEST(a_users_folder_is_made_closed),
        TEST(a_folder_that_a_stranger_was_faster_to_make_is_refused),
        TEST(a_ledger_is_published_once),
        TEST(what_a_killed_maker_left_is_cleared),
        TEST(setup_mends_rights_once),
        TEST(setup_mends_no_configuration_that_others_may_have_written),
        TEST(what_the_queues_file_is_concerns_no_reader),
        TEST(a_reader_creates_nothing),
        TEST(who_may_only_read_can_read),
        TEST(a_long_and_strange_path_is_a_path),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } roles[] = {{"hold", hold}, {"idle", idle}, {"hold-with-child", hold_with_child}, {"count", count}};
    for (size_t i = 0; argc == 3 && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(argv[1], roles[i].name) == 0) {
            arena = np_arena_new();
            snprintf(path, sizeof path, "%s", argv[2]);
            return roles[i].run();
        }
    return test_all();
}
