/* The bind probe, the socket tables, the processes and the identity of Windows, each against the system, with the
 * situations of test/windows/holder_windows.c, which stands beside this program.
 *
 * Under Wine the sockets of the machine that it runs on are there as well. Whoever holds some of those (by
 * test/lib/holder.c, in the same network namespace) names them in NEXTPORT_TEST_NATIVE: "listen4=40001 udp=40002".
 * Without it that test is skipped.
 * SPDX-License-Identifier: MIT */
#include "lib/begin_process.h"
#include "host/windows/processes.h"
#include "host/windows/win32.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>
#include <ws2tcpip.h>

#include <cmocka.h>

static bool under_wine(void)
{
    return GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version") != NULL;
}

static enum nextport_probe ask(struct np_probe *probe, uint16_t port)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    enum nextport_probe verdict = NEXTPORT_PROBE_NONE;
    if (np_probe_try(probe, port, &verdict, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    return verdict;
}

static struct np_probe *open_probe(enum nextport_protocol protocol)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_probe *probe = NULL;
    if (np_probe_open(&probe, protocol, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    return probe;
}

static enum nextport_probe ask_once(enum nextport_protocol protocol, uint16_t port)
{
    struct np_probe *probe = open_probe(protocol);
    enum nextport_probe verdict = ask(probe, port);
    np_probe_close(probe);
    return verdict;
}

/* ---- A program that holds one situation ------------------------------------------------------------------------ */

struct holder {
    HANDLE process, input;
    DWORD pid;
    uint16_t port; /* 0: this machine cannot build it */
};

static void read_line(HANDLE pipe, char *ret, size_t size)
{
    size_t len = 0;
    DWORD n;
    while (len < size - 1 && ReadFile(pipe, ret + len, 1, &n, NULL) && n == 1 && ret[len] != '\n')
        len++;
    ret[len] = '\0';
}

static void start(struct holder *holder, const char *situation, HANDLE in, HANDLE out)
{
    wchar_t file[MAX_PATH + 32], line[MAX_PATH + 128];
    STARTUPINFOW info = {.cb = sizeof info, .dwFlags = STARTF_USESTDHANDLES, .hStdInput = in, .hStdOutput = out};
    PROCESS_INFORMATION process;
    const DWORD len = GetModuleFileNameW(NULL, file, MAX_PATH);
    assert_true(len > 0 && len < MAX_PATH);
    wcscpy(wcsrchr(file, L'\\') + 1, L"holder_windows.exe");
    _snwprintf(line, sizeof line / sizeof *line, L"\"%ls\" %hs", file, situation);
    if (!begin_process(file, line, TRUE, CREATE_NO_WINDOW, &info, &process))
        fail_msg("start holder_windows.exe: error %lu", GetLastError());
    CloseHandle(process.hThread);
    holder->process = process.hProcess;
    holder->pid = process.dwProcessId;
}

static struct holder hold(const char *situation)
{
    SECURITY_ATTRIBUTES inherit = {.nLength = sizeof inherit, .bInheritHandle = TRUE};
    HANDLE in, out, their_out;
    struct holder holder = {0};
    char line[256];
    unsigned port = 0;
    assert_true(CreatePipe(&in, &holder.input, &inherit, 0) && CreatePipe(&out, &their_out, &inherit, 0));
    assert_true(SetHandleInformation(holder.input, HANDLE_FLAG_INHERIT, 0));
    assert_true(SetHandleInformation(out, HANDLE_FLAG_INHERIT, 0));
    start(&holder, situation, in, their_out);
    CloseHandle(in);
    CloseHandle(their_out);
    read_line(out, line, sizeof line);
    CloseHandle(out);
    if (sscanf(line, "ready %u", &port) != 1 && strncmp(line, "skip ", 5) != 0)
        fail_msg("%s: %s", situation, line);
    holder.port = (uint16_t)port;
    return holder;
}

static void let_go(struct holder *holder)
{
    CloseHandle(holder->input);
    assert_int_equal(WaitForSingleObject(holder->process, 30000), WAIT_OBJECT_0);
    CloseHandle(holder->process);
}

/* ---- The socket tables ------------------------------------------------------------------------------------------ */

struct found {
    struct np_socket rows[64];
    size_t n;
};

static void find(void *ctx, const struct np_socket *row)
{
    struct found *found = ctx;
    if (found->n < sizeof found->rows / sizeof *found->rows)
        found->rows[found->n] = *row;
    found->n++;
}

static struct found list(enum np_socket_scope scope, enum nextport_protocol protocol, uint16_t port)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_portset ports = {0};
    struct found found = {0};
    const char *partial = "not set";
    np_portset_add(&ports, port, port);
    if (np_host_sockets(scope, protocol, &ports, find, &found, &partial, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    assert_null(partial);
    return found;
}

static const struct np_socket *row_of(const struct found *found, const char *state)
{
    for (size_t i = 0; i < found->n && i < sizeof found->rows / sizeof *found->rows; i++)
        if (strcmp(found->rows[i].state, state) == 0)
            return &found->rows[i];
    return NULL;
}

/* What must be said about each situation. `state` NULL: the tables leave it out. The probe's word on a connection is
 * the system's own affair: that is what the tables are asked for. Wine calls TIME_WAIT of its own sockets free. */
enum word { IS_FREE, IS_TAKEN, FREE_UNDER_WINE, EITHER };

static const struct expected {
    const char *situation, *state;
    enum nextport_protocol protocol;
    bool transient;
    const char *address;
    enum word word;
} matrix[] = {
    {"listen4", "listening", NEXTPORT_TCP, false, "0.0.0.0", IS_TAKEN},
    {"listen4-exclusive", "listening", NEXTPORT_TCP, false, "0.0.0.0", IS_TAKEN},
    {"listen4-reuse", "listening", NEXTPORT_TCP, false, "0.0.0.0", IS_TAKEN},
    {"listen127", "listening", NEXTPORT_TCP, false, "127.0.0.1", IS_TAKEN},
    {"listen127-exclusive", "listening", NEXTPORT_TCP, false, "127.0.0.1", IS_TAKEN},
    {"listen6", "listening", NEXTPORT_TCP, false, "[::]", IS_TAKEN},
    {"listen6-exclusive", "listening", NEXTPORT_TCP, false, "[::]", IS_TAKEN},
    {"listen6only", "listening", NEXTPORT_TCP, false, "[::]", IS_TAKEN},
    {"listen6lo", "listening", NEXTPORT_TCP, false, "[::1]", IS_TAKEN},
    {"bound", NULL, NEXTPORT_TCP, false, NULL, IS_TAKEN},
    {"bound-exclusive", NULL, NEXTPORT_TCP, false, NULL, IS_TAKEN},
    {"bound6", NULL, NEXTPORT_TCP, false, NULL, IS_TAKEN},
    {"outgoing4", "established", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"outgoing4-bind", "established", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"outgoing6", "established", NEXTPORT_TCP, true, "[::1]", EITHER},
    {"accepted", "established", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"accepted6", "established", NEXTPORT_TCP, true, "[::1]", EITHER},
    {"closewait", "close-wait", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"timewait-server", "time-wait", NEXTPORT_TCP, true, "127.0.0.1", FREE_UNDER_WINE},
    {"timewait-outgoing", "time-wait", NEXTPORT_TCP, true, "127.0.0.1", FREE_UNDER_WINE},
    {"udp", "bound", NEXTPORT_UDP, false, "0.0.0.0", IS_TAKEN},
    {"udp-exclusive", "bound", NEXTPORT_UDP, false, "0.0.0.0", IS_TAKEN},
    {"udp6", "bound", NEXTPORT_UDP, false, "[::1]", IS_TAKEN},
    {"udp-connected", "bound", NEXTPORT_UDP, false, "127.0.0.1", IS_TAKEN},
    {"udp", NULL, NEXTPORT_TCP, false, NULL, IS_FREE},
};

static void meets_table(const struct expected *e, uint16_t port)
{
    struct found found = list(NP_SOCKETS_ALL, e->protocol, port);
    if (!e->state) {
        assert_int_equal(found.n, 0);
        return;
    }
    const struct np_socket *row = row_of(&found, e->state);
    if (!row)
        fail_msg("%s: port %u: %u rows, none %s", e->situation, port, (unsigned)found.n, e->state);
    assert_string_equal(row->address, e->address);
    assert_int_equal(row->transient, e->transient);
    assert_int_equal(row->port, port);
    assert_int_equal(row->protocol, e->protocol);
}

static void meets_probe(const struct expected *e, uint16_t port)
{
    const enum nextport_probe verdict = ask_once(e->protocol, port);
    print_message("# %s: the probe says %s\n", e->situation, verdict == NEXTPORT_PROBE_FREE ? "free" : "taken");
    if (e->word == IS_TAKEN)
        assert_int_not_equal(verdict, NEXTPORT_PROBE_FREE);
    if (e->word == IS_FREE || (e->word == FREE_UNDER_WINE && under_wine()))
        assert_int_equal(verdict, NEXTPORT_PROBE_FREE);
    if (verdict != NEXTPORT_PROBE_FREE)
        assert_int_not_equal(ask_once(NEXTPORT_BOTH, port), NEXTPORT_PROBE_FREE);
}

static void every_situation_is_in_a_table_or_refused_by_the_probe(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++) {
        struct holder holder = hold(matrix[i].situation);
        if (holder.port) {
            meets_table(&matrix[i], holder.port);
            meets_probe(&matrix[i], holder.port);
        } else {
            print_message("# %s: skipped\n", matrix[i].situation);
        }
        let_go(&holder);
    }
}

/* The sockets of the system below Wine, which differ in what binding alone and connecting without a choice do. */
static const struct expected native[] = {
    {"listen4", "listening", NEXTPORT_TCP, false, "0.0.0.0", IS_TAKEN},
    {"listen127", "listening", NEXTPORT_TCP, false, "127.0.0.1", IS_TAKEN},
    {"listen127other", "listening", NEXTPORT_TCP, false, "127.9.9.9", IS_TAKEN},
    {"listen6", "listening", NEXTPORT_TCP, false, "[::]", IS_TAKEN},
    {"listen6only", "listening", NEXTPORT_TCP, false, "[::]", IS_TAKEN},
    {"listen6lo", "listening", NEXTPORT_TCP, false, "[::1]", IS_TAKEN},
    {"reuseport", "listening", NEXTPORT_TCP, false, "0.0.0.0", IS_TAKEN},
    {"bound", NULL, NEXTPORT_TCP, false, NULL, IS_TAKEN},
    {"outgoing4", "established", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"outgoing6", "established", NEXTPORT_TCP, true, "[::1]", EITHER},
    {"synsent", "syn-sent", NEXTPORT_TCP, true, "127.0.0.2", EITHER},
    {"accepted", "established", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"closewait", "close-wait", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"finwait2", "fin-wait-2", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"timewait-server", "time-wait", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"timewait-outgoing", "time-wait", NEXTPORT_TCP, true, "127.0.0.1", EITHER},
    {"udp", "bound", NEXTPORT_UDP, false, "0.0.0.0", IS_TAKEN},
    {"udp6", "bound", NEXTPORT_UDP, false, "[::1]", IS_TAKEN},
    {"udp-connected", "bound", NEXTPORT_UDP, false, "127.0.0.1", IS_TAKEN},
    {"other-namespace", NULL, NEXTPORT_TCP, false, NULL, IS_FREE},
};

static uint16_t given_port(const char *given, const char *situation)
{
    const size_t len = strlen(situation);
    for (const char *p = strstr(given, situation); p; p = strstr(p + 1, situation))
        if ((p == given || p[-1] == ' ') && p[len] == '=')
            return (uint16_t)strtoul(p + len + 1, NULL, 10);
    return 0;
}

static void native_sockets_are_seen_like_our_own(void **state)
{
    (void)state;
    const char *given = getenv("NEXTPORT_TEST_NATIVE");
    unsigned n = 0;
    if (!given)
        skip();
    for (size_t i = 0; i < sizeof native / sizeof *native; i++) {
        const uint16_t port = given_port(given, native[i].situation);
        if (!port)
            continue;
        meets_table(&native[i], port);
        meets_probe(&native[i], port);
        n++;
    }
    print_message("# %u native situations\n", n);
    assert_true(n > 0);
}

static void the_cheap_list_has_listeners_only(void **state)
{
    (void)state;
    struct holder listening = hold("listen4"), outgoing = hold("outgoing4"), udp = hold("udp");
    assert_int_equal(list(NP_SOCKETS_LISTENING, NEXTPORT_TCP, listening.port).n, 1);
    assert_int_equal(list(NP_SOCKETS_LISTENING, NEXTPORT_UDP, listening.port).n, 0);
    assert_int_equal(list(NP_SOCKETS_LISTENING, NEXTPORT_BOTH, outgoing.port).n, 0);
    assert_int_equal(list(NP_SOCKETS_LISTENING, NEXTPORT_BOTH, udp.port).n, 1);
    let_go(&listening);
    let_go(&outgoing);
    let_go(&udp);
}

static void ports_that_were_not_asked_for_are_left_out(void **state)
{
    (void)state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct holder holder = hold("listen4");
    struct np_portset around = {0};
    struct found found = {0};
    const char *partial;
    np_portset_add(&around, (uint16_t)(holder.port - 1), (uint16_t)(holder.port - 1));
    np_portset_add(&around, (uint16_t)(holder.port + 1), (uint16_t)(holder.port + 1));
    assert_int_equal(np_host_sockets(NP_SOCKETS_ALL, NEXTPORT_BOTH, &around, find, &found, &partial, &err), 0);
    for (size_t i = 0; i < found.n; i++)
        assert_int_not_equal(found.rows[i].port, holder.port);
    let_go(&holder);
}

static void start_winsock(void)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(np_winsock(&err), NEXTPORT_OK);
}

/* A listener of this process on every address; INVALID_SOCKET when the port is not to be had. */
static SOCKET listener_on(uint16_t port)
{
    const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    start_winsock();
    SOCKET fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd != INVALID_SOCKET);
    if (bind(fd, (const void *)&any, sizeof any) == 0 && listen(fd, 1) == 0)
        return fd;
    closesocket(fd);
    return INVALID_SOCKET;
}

static uint16_t port_of(SOCKET fd)
{
    struct sockaddr_in own = {0};
    int len = sizeof own;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    return ntohs(own.sin_port);
}

static void count_wildcards(void *n, const struct np_socket *row)
{
    *(unsigned *)n += strcmp(row->address, "0.0.0.0") == 0;
}

/* Longer than the first question has room for. */
static void a_long_list_is_whole(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_portset ports = {0};
    const char *partial;
    unsigned n = 0;
    static SOCKET fd[MANY];
    for (int i = 0; i < MANY; i++) {
        fd[i] = listener_on(0);
        assert_true(fd[i] != INVALID_SOCKET);
        np_portset_add(&ports, port_of(fd[i]), port_of(fd[i]));
    }
    assert_int_equal(np_host_sockets(NP_SOCKETS_LISTENING, NEXTPORT_TCP, &ports, count_wildcards, &n, &partial, &err),
                     0);
    for (int i = 0; i < MANY; i++)
        closesocket(fd[i]);
    assert_int_equal(n, MANY);
}

/* ---- The probe -------------------------------------------------------------------------------------------------- */

/* A port that nothing has, as good as that can be known. */
static uint16_t free_port(void)
{
    SOCKET fd = listener_on(0);
    assert_true(fd != INVALID_SOCKET);
    const uint16_t port = port_of(fd);
    closesocket(fd);
    return port;
}

static void a_free_port_is_held_until_it_is_let_go(void **state)
{
    (void)state;
    struct np_probe *probe = open_probe(NEXTPORT_TCP);
    const uint16_t first = free_port();
    assert_int_equal(ask(probe, first), NEXTPORT_PROBE_FREE);
    const uint16_t second = free_port();
    assert_int_equal(ask(probe, second), NEXTPORT_PROBE_FREE);
    assert_int_not_equal(ask_once(NEXTPORT_TCP, first), NEXTPORT_PROBE_FREE);
    assert_int_equal(ask_once(NEXTPORT_UDP, first), NEXTPORT_PROBE_FREE);
    assert_true(listener_on(first) == INVALID_SOCKET);
    np_probe_release(probe, first);
    np_probe_release(probe, first);
    assert_int_equal(ask_once(NEXTPORT_TCP, first), NEXTPORT_PROBE_FREE);
    assert_int_not_equal(ask_once(NEXTPORT_TCP, second), NEXTPORT_PROBE_FREE);
    np_probe_close(probe);
    SOCKET server = listener_on(second);
    assert_true(server != INVALID_SOCKET);
    closesocket(server);
}

/* Each family and each protocol is held, also against programs that would take a port from its owner: whoever is
 * refused first would not see that another is missing. */
static void every_family_and_protocol_is_held(void **state)
{
    (void)state;
    static const struct {
        int family, type;
    } kinds[] = {{AF_INET, SOCK_STREAM}, {AF_INET6, SOCK_STREAM}, {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_DGRAM}};
    struct np_probe *probe = open_probe(NEXTPORT_BOTH);
    const uint16_t port = free_port();
    const DWORD on = 1;
    assert_int_equal(ask(probe, port), NEXTPORT_PROBE_FREE);
    for (size_t i = 0; i < 2 * sizeof kinds / sizeof *kinds; i++) {
        const int family = kinds[i / 2].family, type = kinds[i / 2].type;
        const struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        const struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
        const void *any = family == AF_INET6 ? (const void *)&six : (const void *)&four;
        SOCKET fd = socket(family, type, 0);
        assert_true(fd != INVALID_SOCKET || family == AF_INET6);
        if (family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, (const char *)&on, sizeof on);
        if (i % 2)
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, (const char *)&on, sizeof on);
        assert_int_not_equal(bind(fd, any, family == AF_INET6 ? sizeof six : sizeof four), 0);
        closesocket(fd);
    }
    np_probe_close(probe);
}

static void nothing_is_held_of_a_half_success(void **state)
{
    (void)state;
    struct holder udp = hold("udp"), six = hold("listen6only");
    struct np_probe *both = open_probe(NEXTPORT_BOTH);
    assert_int_not_equal(ask(both, udp.port), NEXTPORT_PROBE_FREE);
    assert_int_equal(ask_once(NEXTPORT_TCP, udp.port), NEXTPORT_PROBE_FREE);
    if (six.port) {
        assert_int_not_equal(ask(both, six.port), NEXTPORT_PROBE_FREE);
        SOCKET four = listener_on(six.port);
        assert_true(four != INVALID_SOCKET);
        closesocket(four);
    }
    np_probe_close(both);
    let_go(&udp);
    let_go(&six);
}

/* What a program that we start would inherit, it would hold as long as it runs. */
static void held_ports_are_not_inherited(void **state)
{
    (void)state;
    struct np_probe *probe = open_probe(NEXTPORT_BOTH);
    const uint16_t port = free_port();
    assert_int_equal(ask(probe, port), NEXTPORT_PROBE_FREE);
    struct holder child = hold("udp");
    np_probe_close(probe);
    assert_int_equal(ask_once(NEXTPORT_BOTH, port), NEXTPORT_PROBE_FREE);
    let_go(&child);
}

static void a_thousand_ports_can_be_held(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    struct np_probe *probe = open_probe(NEXTPORT_TCP);
    unsigned n = 0;
    for (uint16_t port = 20000; port < 40000 && n < MANY; port++)
        n += ask(probe, port) == NEXTPORT_PROBE_FREE;
    np_probe_close(probe);
    assert_int_equal(n, MANY);
}

/* ---- Processes -------------------------------------------------------------------------------------------------- */

static void processes_are_named_with_their_services(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_process programs[] = {
        {4000, "w3wp.exe"}, {0, "[System Process]"}, {700, "svchost.exe"}, {4, "System"}, {708, "svchost.exe"}};
    struct np_process services[] = {{708, "BFE"},  {700, "W3SVC"}, {708, "mpssvc"}, {700, "WAS"},
                                    {708, "Dhcp"}, {708, "Nsi"},   {9999, "Gone"}};
    static const struct {
        uint64_t pid;
        const char *one, *other; /* services of one process come in no order */
    } expected[] = {
        {4, "System (HTTP.sys or another driver)", NULL},
        {4000, "w3wp.exe", NULL},
        {700, "svchost.exe (W3SVC, WAS)", "svchost.exe (WAS, W3SVC)"},
    };
    int64_t pid = 0;
    const char *program = NULL, *unit = NULL;
    struct np_processes *processes = np_processes_of(arena, programs, 5, services, 7, false);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_true(np_processes_find(processes, expected[i].pid, &pid, &program, &unit));
        assert_int_equal(pid, expected[i].pid);
        if (!expected[i].other || strcmp(program, expected[i].other) != 0)
            assert_string_equal(program, expected[i].one);
    }
    assert_true(np_processes_find(processes, 708, &pid, &program, &unit));
    assert_non_null(strstr(program, " and 1 more services)"));
    assert_false(np_processes_find(processes, 0, &pid, &program, &unit));
    assert_false(np_processes_find(processes, 5, &pid, &program, &unit));
    assert_false(np_processes_find(processes, 9999, &pid, &program, &unit));
    assert_false(np_processes_find(processes, UINT64_MAX, &pid, &program, &unit));
    assert_false(np_processes_hidden(processes));
    assert_true(np_processes_hidden(np_processes_of(arena, NULL, 0, NULL, 0, true)));
    assert_false(np_processes_find(np_processes_of(arena, NULL, 0, NULL, 0, true), 4, &pid, &program, &unit));
    np_arena_free(arena);
}

static void a_process_that_runs_is_named(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct holder holder = hold("listen4");
    struct np_processes *processes = np_processes_read(arena);
    int64_t pid = 0;
    const char *program = NULL, *unit = NULL;
    assert_false(np_processes_hidden(processes));
    assert_true(np_processes_find(processes, holder.pid, &pid, &program, &unit));
    assert_int_equal(pid, holder.pid);
    assert_string_equal(program, "holder_windows.exe");
    if (!under_wine()) { /* where the table says that every socket is nobody's */
        struct found found = list(NP_SOCKETS_ALL, NEXTPORT_TCP, holder.port);
        assert_true(np_processes_find(processes, found.rows[0].process_key, &pid, &program, &unit));
        assert_int_equal(pid, holder.pid);
    }
    let_go(&holder);
    np_arena_free(arena);
}

/* The service manager runs wherever there are services; one of those that run must be named with its process. */
static void a_service_that_runs_is_named(void **state)
{
    (void)state;
    static BYTE bytes[256 * 1024];
    struct np_arena *arena = np_arena_new();
    DWORD needed, n = 0, resume = 0;
    int64_t pid;
    const char *program = NULL, *unit = NULL;
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT | SC_MANAGER_ENUMERATE_SERVICE);
    if (!manager ||
        !EnumServicesStatusExW(manager, SC_ENUM_PROCESS_INFO, SERVICE_WIN32, SERVICE_ACTIVE, bytes, sizeof bytes,
                               &needed, &n, &resume, NULL) ||
        n == 0)
        skip();
    const ENUM_SERVICE_STATUS_PROCESSW *row = (const void *)bytes;
    struct np_processes *processes = np_processes_read(arena);
    if (!np_processes_find(processes, row->ServiceStatusProcess.dwProcessId, &pid, &program, &unit))
        skip(); /* it has ended */
    print_message("# %s\n", program);
    assert_non_null(strchr(program, '('));
    CloseServiceHandle(manager);
    np_arena_free(arena);
}

/* ---- Identity --------------------------------------------------------------------------------------------------- */

static void the_machine_is_named(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const char *id = np_host_machine_id(arena);
    wchar_t name[256];
    DWORD n = 256;
    assert_true(GetComputerNameExW(ComputerNamePhysicalDnsHostname, name, &n));
    assert_string_equal(np_host_name(arena), np_narrow(arena, name));
    assert_non_null(id);
    print_message("# host %s, machine %s, user %s\n", np_host_name(arena), id, np_host_user(arena));
    assert_int_equal(strlen(id), 36);
    assert_int_equal(strspn(id, "0123456789abcdef-"), 36);
    assert_string_equal(np_host_scope(arena), "");
    assert_true(llabs(np_host_now() - (int64_t)time(NULL)) <= 2);
    np_arena_free(arena);
}

static void users_are_named_for_the_log(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const char *user = np_host_user(arena), *backslash = strchr(user, '\\');
    wchar_t own[256];
    DWORD n = 256;
    assert_non_null(backslash);
    assert_true(backslash > user);
    assert_true(GetUserNameW(own, &n));
    if (wcscmp(own, L"SYSTEM") != 0)
        assert_string_equal(backslash + 1, np_narrow(arena, own));
    np_arena_free(arena);
}

/* As a filtered token has it: Administrators for denials only. */
static void an_administrator_who_is_not_elevated_is_not_privileged(void **state)
{
    (void)state;
    BYTE administrators[SECURITY_MAX_SID_SIZE];
    DWORD size = sizeof administrators;
    HANDLE own, weaker, thread;
    if (!np_host_privileged())
        skip();
    assert_true(CreateWellKnownSid(WinBuiltinAdministratorsSid, NULL, administrators, &size));
    SID_AND_ATTRIBUTES disabled = {.Sid = administrators};
    assert_true(OpenProcessToken(GetCurrentProcess(), TOKEN_DUPLICATE | TOKEN_QUERY | TOKEN_ASSIGN_PRIMARY, &own));
    assert_true(CreateRestrictedToken(own, 0, 1, &disabled, 0, NULL, 0, NULL, &weaker));
    assert_true(DuplicateTokenEx(weaker, TOKEN_QUERY | TOKEN_IMPERSONATE, NULL, SecurityImpersonation,
                                 TokenImpersonation, &thread));
    assert_true(SetThreadToken(NULL, thread));
    const bool privileged = np_host_privileged();
    assert_true(RevertToSelf());
    assert_false(privileged);
    CloseHandle(thread);
    CloseHandle(weaker);
    CloseHandle(own);
}

static void variables_are_utf8_and_empty_is_unset(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    assert_null(np_host_env(arena, "NEXTPORT_TEST_VARIABLE"));
    SetEnvironmentVariableW(L"NEXTPORT_TEST_VARIABLE", L"gr\u00fc\u00df dich");
    assert_string_equal(np_host_env(arena, "NEXTPORT_TEST_VARIABLE"), "gr\xc3\xbc\xc3\x9f dich");
    SetEnvironmentVariableW(L"NEXTPORT_TEST_VARIABLE", L"");
    assert_null(np_host_env(arena, "NEXTPORT_TEST_VARIABLE"));
    SetEnvironmentVariableW(L"NEXTPORT_TEST_VARIABLE", NULL);
    np_arena_free(arena);
}

/* ---- IIS and paths ---------------------------------------------------------------------------------------------- */

static void iis_is_looked_for_in_the_system_folder(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const char *live = np_host_iis_file(arena), *express = np_host_iis_express_file(arena);
    const char *expected =
        np_sprintf(arena, "%s/inetsrv/config/applicationHost.config", np_narrow(arena, np_system_folder(arena)));
    assert_null(strchr(live, '\\'));
    assert_int_equal(strlen(live), strlen(expected));
    for (size_t i = 0; live[i]; i++)
        assert_int_equal(live[i], expected[i] == '\\' ? '/' : expected[i]);
    assert_non_null(express);
    assert_non_null(strstr(express, "/IISExpress/config/applicationhost.config"));
    assert_null(strchr(express, '\\'));
    np_arena_free(arena);
}

/* Only where no real service could be meant. */
static void iis_is_installed_where_its_service_is(void **state)
{
    (void)state;
    static const wchar_t service[] = L"SYSTEM\\CurrentControlSet\\Services\\W3SVC";
    HKEY key;
    if (!under_wine() || np_host_iis_installed())
        skip();
    assert_int_equal(RegCreateKeyExW(HKEY_LOCAL_MACHINE, service, 0, NULL, 0, KEY_WRITE, NULL, &key, NULL), 0);
    const bool installed = np_host_iis_installed();
    RegCloseKey(key);
    assert_int_equal(RegDeleteKeyW(HKEY_LOCAL_MACHINE, service), 0);
    assert_true(installed);
    assert_false(np_host_iis_installed());
}

static void paths_of_a_configuration_are_absolute_and_plain(void **state)
{
    (void)state;
    static const struct {
        const char *given, *expected;
    } cases[] = {
        {"C:\\shared", "C:/shared"},
        {"c:/shared\\iis", "c:/shared/iis"},
        {"C:\\", "C:/"},
        {"%NEXTPORT_TEST_DRIVE%\\inetpub", "Q:/inetpub"},
        {"\\\\server\\share\\x", "//server/share/x"},
        {"//server/share$/", "//server/share$/"},
        {"C:\\a\\.\\b", "C:/a/./b"},
        {"C:\\gr\xc3\xbc\xc3\x9f", "C:/gr\xc3\xbc\xc3\x9f"},
        {"C:\\a\\.config", "C:/a/.config"},
        {"", NULL},
        {"C:", NULL},
        {"C:shared", NULL},
        {"\\shared", NULL},
        {"shared\\iis", NULL},
        {"..\\shared", NULL},
        {"C:\\a\\..\\b", NULL},
        {"C:\\a\\.. \\b", NULL},
        {"C:\\...", NULL},
        {"\\\\server\\..\\x", NULL},
        {"\\\\..\\share\\x", NULL},
        {"\\\\server\\share", NULL},
        {"\\\\server", NULL},
        {"\\\\\\share\\x", NULL},
        {"\\\\server\\\\x", NULL},
        {"\\\\?\\C:\\x", NULL},
        {"\\\\.\\pipe\\x", NULL},
        {"\\??\\C:\\x", NULL},
        {"C:\\x:stream", NULL},
        {"C:\\x\\*.config", NULL},
        {"C:\\x\ny", NULL},
        {"%NEXTPORT_TEST_UNSET%\\x", NULL},
        {"%NEXTPORT_TEST_UP%\\x", NULL},
        {"1:\\x", NULL},
    };
    struct np_arena *arena = np_arena_new();
    SetEnvironmentVariableW(L"NEXTPORT_TEST_DRIVE", L"Q:");
    SetEnvironmentVariableW(L"NEXTPORT_TEST_UP", L"C:\\a\\..");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = np_host_windows_path(arena, cases[i].given);
        if (!path != !cases[i].expected || (path && strcmp(path, cases[i].expected) != 0))
            fail_msg("'%s' gives '%s'", cases[i].given, path ? path : "nothing");
    }
    np_arena_free(arena);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_situation_is_in_a_table_or_refused_by_the_probe),
        cmocka_unit_test(native_sockets_are_seen_like_our_own),
        cmocka_unit_test(the_cheap_list_has_listeners_only),
        cmocka_unit_test(ports_that_were_not_asked_for_are_left_out),
        cmocka_unit_test(a_long_list_is_whole),
        cmocka_unit_test(a_free_port_is_held_until_it_is_let_go),
        cmocka_unit_test(every_family_and_protocol_is_held),
        cmocka_unit_test(nothing_is_held_of_a_half_success),
        cmocka_unit_test(held_ports_are_not_inherited),
        cmocka_unit_test(a_thousand_ports_can_be_held),
        cmocka_unit_test(processes_are_named_with_their_services),
        cmocka_unit_test(a_process_that_runs_is_named),
        cmocka_unit_test(a_service_that_runs_is_named),
        cmocka_unit_test(the_machine_is_named),
        cmocka_unit_test(users_are_named_for_the_log),
        cmocka_unit_test(an_administrator_who_is_not_elevated_is_not_privileged),
        cmocka_unit_test(variables_are_utf8_and_empty_is_unset),
        cmocka_unit_test(iis_is_looked_for_in_the_system_folder),
        cmocka_unit_test(iis_is_installed_where_its_service_is),
        cmocka_unit_test(paths_of_a_configuration_are_absolute_and_plain),
    };
    return cmocka_run_group_tests_name("probe_windows", tests, NULL, NULL);
}
