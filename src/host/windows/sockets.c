/* Every TCP and UDP socket of this machine, from the system's own tables (GetExtendedTcpTable and its sister).
 *
 * Sockets that are bound and do not listen are in no documented table; the bind probe sees them. On Windows a listener
 * on both families is a row in each.
 * SPDX-License-Identifier: MIT */
#include "host/windows/win32.h"

#include <iphlpapi.h>
#include <stdio.h>
#include <string.h>
#include <ws2tcpip.h>

const char np_sockets_unseen[] = "raw sockets, sockets that are bound and do not listen, other network compartments";

/* Most tables fit at once. Others may grow between the answer that names their size and the next question: each try
 * leaves more room. */
enum { FIRST_SIZE = 64 * 1024, TRIES = 8, ROOM = 4096 };

/* What the documentation leaves out and PowerShell calls "Bound". */
enum { STATE_RESERVED = 100 };

struct state {
    DWORD number;
    const char *name;
    bool standing;
};

static const struct state tcp_states[] = {
    {MIB_TCP_STATE_CLOSED, "closed", false},
    {MIB_TCP_STATE_LISTEN, "listening", true},
    {MIB_TCP_STATE_SYN_SENT, "syn-sent", false},
    {MIB_TCP_STATE_SYN_RCVD, "syn-received", false},
    {MIB_TCP_STATE_ESTAB, "established", false},
    {MIB_TCP_STATE_FIN_WAIT1, "fin-wait-1", false},
    {MIB_TCP_STATE_FIN_WAIT2, "fin-wait-2", false},
    {MIB_TCP_STATE_CLOSE_WAIT, "close-wait", false},
    {MIB_TCP_STATE_CLOSING, "closing", false},
    {MIB_TCP_STATE_LAST_ACK, "last-ack", false},
    {MIB_TCP_STATE_TIME_WAIT, "time-wait", false},
    {MIB_TCP_STATE_DELETE_TCB, "closed", false},
    {STATE_RESERVED, "bound", true},
};

static const struct state unknown = {0, "unknown", true};
static const struct state udp_bound = {0, "bound", true}; /* the table does not tell which are connected */

/* What a row of any of the four tables says. */
struct row {
    DWORD port, state, process; /* the port in network order in the lower half */
    const void *address;
};

struct answers {
    struct np_arena *arena;
    const struct np_portset *ports;
    struct np_socket *rows;
    size_t n, capacity;
};

/* ---- The four tables ----------------------------------------------------------------------------------------- */

static DWORD ask_tcp(void *table, DWORD *size, ULONG family, enum np_socket_scope scope)
{
    const TCP_TABLE_CLASS class =
        scope == NP_SOCKETS_LISTENING ? TCP_TABLE_OWNER_PID_LISTENER : TCP_TABLE_OWNER_PID_ALL;
    return GetExtendedTcpTable(table, size, FALSE, family, class, 0);
}

static DWORD ask_udp(void *table, DWORD *size, ULONG family, enum np_socket_scope scope)
{
    (void)scope;
    return GetExtendedUdpTable(table, size, FALSE, family, UDP_TABLE_OWNER_PID, 0);
}

static struct row tcp4_row(const void *table, DWORD i)
{
    const MIB_TCPROW_OWNER_PID *row = &((const MIB_TCPTABLE_OWNER_PID *)table)->table[i];
    return (struct row){row->dwLocalPort, row->dwState, row->dwOwningPid, &row->dwLocalAddr};
}

static struct row tcp6_row(const void *table, DWORD i)
{
    const MIB_TCP6ROW_OWNER_PID *row = &((const MIB_TCP6TABLE_OWNER_PID *)table)->table[i];
    return (struct row){row->dwLocalPort, row->dwState, row->dwOwningPid, row->ucLocalAddr};
}

static struct row udp4_row(const void *table, DWORD i)
{
    const MIB_UDPROW_OWNER_PID *row = &((const MIB_UDPTABLE_OWNER_PID *)table)->table[i];
    return (struct row){row->dwLocalPort, 0, row->dwOwningPid, &row->dwLocalAddr};
}

static struct row udp6_row(const void *table, DWORD i)
{
    const MIB_UDP6ROW_OWNER_PID *row = &((const MIB_UDP6TABLE_OWNER_PID *)table)->table[i];
    return (struct row){row->dwLocalPort, 0, row->dwOwningPid, row->ucLocalAddr};
}

/* Each table begins with the number of its rows. */
static const struct table {
    const char *name;
    enum nextport_protocol protocol;
    int family;
    DWORD (*ask)(void *table, DWORD *size, ULONG family, enum np_socket_scope);
    struct row (*row)(const void *table, DWORD i);
    size_t head, row_size;
} tables[] = {
    {"tcp over IPv4", NEXTPORT_TCP, AF_INET, ask_tcp, tcp4_row, offsetof(MIB_TCPTABLE_OWNER_PID, table),
     sizeof(MIB_TCPROW_OWNER_PID)},
    {"tcp over IPv6", NEXTPORT_TCP, AF_INET6, ask_tcp, tcp6_row, offsetof(MIB_TCP6TABLE_OWNER_PID, table),
     sizeof(MIB_TCP6ROW_OWNER_PID)},
    {"udp over IPv4", NEXTPORT_UDP, AF_INET, ask_udp, udp4_row, offsetof(MIB_UDPTABLE_OWNER_PID, table),
     sizeof(MIB_UDPROW_OWNER_PID)},
    {"udp over IPv6", NEXTPORT_UDP, AF_INET6, ask_udp, udp6_row, offsetof(MIB_UDP6TABLE_OWNER_PID, table),
     sizeof(MIB_UDP6ROW_OWNER_PID)},
};

/* ---- Reading one --------------------------------------------------------------------------------------------- */

static const struct state *tcp_state(DWORD number)
{
    for (size_t i = 0; i < sizeof tcp_states / sizeof *tcp_states; i++)
        if (tcp_states[i].number == number)
            return &tcp_states[i];
    return &unknown;
}

static void add_row(struct answers *answers, const struct table *table, struct row row)
{
    const uint16_t port = ntohs((u_short)(row.port & 0xffff));
    if (!np_portset_has(answers->ports, port))
        return;
    const struct state *state = table->protocol == NEXTPORT_UDP ? &udp_bound : tcp_state(row.state);
    char text[INET6_ADDRSTRLEN] = "?";
    struct np_socket *socket = np_push(answers->arena, &answers->rows, &answers->n, &answers->capacity, sizeof *socket);
    *socket = (struct np_socket){.port = port,
                                 .protocol = table->protocol,
                                 .state = state->name,
                                 .transient = !state->standing,
                                 .process_key = row.process};
    inet_ntop(table->family, row.address, text, sizeof text);
    snprintf(socket->address, sizeof socket->address, table->family == AF_INET6 ? "[%s]" : "%s", text);
}

/* false: it has fewer bytes than it says it has rows. */
static bool take(struct answers *answers, const struct table *table, const void *bytes, size_t size)
{
    DWORD n = 0;
    memcpy(&n, bytes, sizeof n);
    if (n > 0 && (size < table->head || (size - table->head) / table->row_size < n))
        return false;
    for (DWORD i = 0; i < n; i++)
        add_row(answers, table, table->row(bytes, i));
    return true;
}

/* Did the table only grow or change while it was read? The second is what Wine says when sockets come and go fast. */
static bool was_disturbed(DWORD reason)
{
    return reason == ERROR_INSUFFICIENT_BUFFER || reason == ERROR_OUTOFMEMORY;
}

/* Returns the system's reason, 0 for none. */
static DWORD read_table(struct answers *answers, const struct table *table, enum np_socket_scope scope)
{
    DWORD size = FIRST_SIZE, reason = ERROR_INSUFFICIENT_BUFFER;
    for (int i = 0; i < TRIES && was_disturbed(reason); i++) {
        struct np_arena *arena = np_arena_new();
        const DWORD room = size;
        void *bytes = np_alloc(arena, room);
        reason = table->ask(bytes, &size, (ULONG)table->family, scope);
        if (reason == NO_ERROR && !take(answers, table, bytes, room))
            reason = ERROR_INVALID_DATA;
        np_arena_free(arena);
        size = size > room ? size : room;
        if (size > MAXDWORD - size / 4 - ROOM)
            return ERROR_NOT_ENOUGH_MEMORY;
        size += size / 4 + ROOM;
    }
    return reason;
}

static enum nextport_status read_tables(struct answers *answers, enum np_socket_scope scope,
                                        enum nextport_protocol protocol, struct nextport_error *err)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const struct table *table = &tables[i];
        const DWORD reason = protocol & table->protocol ? read_table(answers, table, scope) : NO_ERROR;
        if (reason == NO_ERROR || (reason == ERROR_NOT_SUPPORTED && table->family == AF_INET6))
            continue; /* the latter: there is no IPv6 on this machine */
        np_fail_win32(err, NEXTPORT_BLIND, reason, "list %s sockets", table->name);
        if (was_disturbed(reason))
            np_hint(err, "The table grew while it was read, %d times in a row: run it again.", TRIES);
        else
            np_hint(err, "See whether 'netstat -ano' can list them on this machine.");
        return err->status;
    }
    return NEXTPORT_OK;
}

enum nextport_status np_host_sockets(enum np_socket_scope scope, enum nextport_protocol protocol,
                                     const struct np_portset *ports, np_socket_fn *each, void *ctx,
                                     const char **partial, struct nextport_error *err)
{
    struct answers answers = {.arena = np_arena_new(), .ports = ports};
    *partial = NULL; /* what the tables leave out is no news about this machine: no Windows tells it */
    enum nextport_status status = read_tables(&answers, scope, protocol, err);
    for (size_t i = 0; !status && i < answers.n; i++)
        each(ctx, &answers.rows[i]);
    np_arena_free(answers.arena);
    return status;
}
