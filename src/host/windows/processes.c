/* Which program a process is. The socket table gives the process; its program and the services that run in it are read
 * once. Every user may see all processes, and local users all services; without these a program is still named. And which
 * process is which.
 * SPDX-License-Identifier: MIT */
#include "host/windows/processes.h"

#include "host/windows/win32.h"

#include <inttypes.h>
#include <stdlib.h>
#include <tlhelp32.h>

enum {
    SYSTEM_PROCESS = 4, /* on every Windows */
    SHOWN_SERVICES = 3, /* an old svchost.exe has dozens */
    TRIES = 8,
};

struct np_processes {
    struct np_arena *arena;
    struct np_process *programs, *services; /* by process */
    size_t n_programs, n_services;
    bool hidden;
};

/* ---- The lookup ---------------------------------------------------------------------------------------------- */

static int by_pid(const void *a, const void *b)
{
    const struct np_process *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static void sort(struct np_process *list, size_t n)
{
    if (n > 1)
        qsort(list, n, sizeof *list, by_pid);
}

/* The first of `pid`, or where it would be. */
static size_t find(const struct np_process *list, size_t n, uint64_t pid)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (list[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct np_processes *np_processes_of(struct np_arena *arena, struct np_process *programs, size_t n_programs,
                                     struct np_process *services, size_t n_services, bool hidden)
{
    struct np_processes *processes = np_alloc(arena, sizeof *processes);
    sort(programs, n_programs);
    sort(services, n_services);
    *processes = (struct np_processes){.arena = arena,
                                       .programs = programs,
                                       .services = services,
                                       .n_programs = n_programs,
                                       .n_services = n_services,
                                       .hidden = hidden};
    return processes;
}

/* "svchost.exe (W3SVC, WAS)" */
static const char *with_services(const struct np_processes *processes, uint64_t pid, const char *program)
{
    const size_t first = find(processes->services, processes->n_services, pid);
    const size_t n = find(processes->services, processes->n_services, pid + 1) - first;
    struct np_buf out = {.arena = processes->arena};
    if (n == 0)
        return program;
    for (size_t i = 0; i < n && i < SHOWN_SERVICES; i++)
        np_buf_printf(&out, "%s%s", i ? ", " : "", processes->services[first + i].name);
    return n <= SHOWN_SERVICES
               ? np_sprintf(processes->arena, "%s (%s)", program, out.ptr)
               : np_sprintf(processes->arena, "%s (%s and %zu more services)", program, out.ptr, n - SHOWN_SERVICES);
}

/* A process that ended meanwhile is not known; its number may be another's soon. */
bool np_processes_find(const struct np_processes *processes, uint64_t process_key, int64_t *ret_pid,
                       const char **ret_program, const char **ret_unit)
{
    const size_t i = find(processes->programs, processes->n_programs, process_key);
    if (process_key == 0 || i == processes->n_programs || processes->programs[i].pid != process_key)
        return false;
    *ret_pid = (int64_t)process_key;
    *ret_unit = NULL;
    *ret_program = process_key == SYSTEM_PROCESS ? "System (HTTP.sys or another driver)"
                                                 : with_services(processes, process_key, processes->programs[i].name);
    return true;
}

bool np_processes_hidden(const struct np_processes *processes)
{
    return processes->hidden;
}

/* ---- The lists ----------------------------------------------------------------------------------------------- */

struct list {
    struct np_arena *arena;
    struct np_process *items;
    size_t n, capacity;
};

static void add(struct list *list, DWORD pid, const wchar_t *name)
{
    struct np_process *process = np_push(list->arena, &list->items, &list->n, &list->capacity, sizeof *process);
    *process = (struct np_process){.pid = pid, .name = np_narrow(list->arena, name)};
}

/* false: they could not be listed to the end. */
static bool list_programs(struct list *list)
{
    PROCESSENTRY32W entry = {.dwSize = sizeof entry};
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    if (snapshot == INVALID_HANDLE_VALUE)
        return false;
    for (BOOL more = Process32FirstW(snapshot, &entry); more; more = Process32NextW(snapshot, &entry))
        add(list, entry.th32ProcessID, entry.szExeFile);
    const bool whole = GetLastError() == ERROR_NO_MORE_FILES;
    CloseHandle(snapshot);
    return whole;
}

static void list_services_of(SC_HANDLE manager, struct list *list)
{
    enum { ROOM = 256 * 1024 }; /* the most that the system fills at once */
    DWORD n = 0, needed = 0, resume = 0;
    BYTE *bytes = np_alloc(list->arena, ROOM);
    bool more = true;
    for (int i = 0; i < TRIES && more; i++) {
        const bool whole = EnumServicesStatusExW(manager, SC_ENUM_PROCESS_INFO, SERVICE_WIN32, SERVICE_ACTIVE, bytes,
                                                 ROOM, &needed, &n, &resume, NULL);
        more = !whole && GetLastError() == ERROR_MORE_DATA;
        if (!whole && !more)
            return;
        const ENUM_SERVICE_STATUS_PROCESSW *rows = (const void *)bytes;
        for (DWORD row = 0; row < n; row++)
            if (rows[row].ServiceStatusProcess.dwProcessId != 0)
                add(list, rows[row].ServiceStatusProcess.dwProcessId, rows[row].lpServiceName);
    }
}

/* Some users may not ask, over the network for one. */
static void list_services(struct list *list)
{
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT | SC_MANAGER_ENUMERATE_SERVICE);
    if (!manager)
        return;
    list_services_of(manager, list);
    CloseServiceHandle(manager);
}

struct np_processes *np_processes_read(struct np_arena *arena)
{
    struct list programs = {.arena = arena}, services = {.arena = arena};
    const bool whole = list_programs(&programs);
    list_services(&services);
    return np_processes_of(arena, programs.items, programs.n, services.items, services.n, !whole);
}

/* ---- One process ------------------------------------------------------------------------------------------------ */

/* In units of 100 ns since 1601; false: the system does not tell. */
static bool start_of(HANDLE process, uint64_t *ret)
{
    FILETIME start, end, kernel, user;
    if (!GetProcessTimes(process, &start, &end, &kernel, &user))
        return false;
    *ret = (uint64_t)start.dwHighDateTime << 32 | start.dwLowDateTime;
    return true;
}

const char *np_process_self(struct np_arena *arena)
{
    uint64_t start;
    if (!start_of(GetCurrentProcess(), &start))
        return NULL;
    return np_sprintf(arena, "%lu %" PRIu64 " -", GetCurrentProcessId(), start);
}

/* A process that has ended can still be opened while anybody has a handle of it. */
bool np_process_has_ended(const char *text)
{
    struct np_text rest = np_text_of(text), pid_word, start_word;
    uint64_t pid, start, found;
    if (!np_text_split(&rest, ' ', &pid_word) || !np_text_split(&rest, ' ', &start_word) ||
        !np_text_u64(pid_word, UINT32_MAX, &pid) || pid == 0 || !np_text_u64(start_word, UINT64_MAX, &start) ||
        !np_text_is(rest, "-"))
        return false;
    HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, (DWORD)pid);
    if (!process)
        return GetLastError() == ERROR_INVALID_PARAMETER; /* there is none of this number */
    const bool over = start_of(process, &found) && (found != start || WaitForSingleObject(process, 0) == WAIT_OBJECT_0);
    CloseHandle(process);
    return over;
}

const char *np_host_command_of(struct np_arena *arena, const char *pid_file)
{
    (void)arena, (void)pid_file;
    return NULL;
}
