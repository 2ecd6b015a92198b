/* The bind probe: may a server have this port on every address? On Windows only one question is never answered wrongly
 * with yes: a bind to the wildcard address with SO_EXCLUSIVEADDRUSE. A plain bind succeeds beside a listener on one
 * address, and SO_REUSEADDR takes a port away from its owner.
 *
 * Each family is asked by itself: a listener on both refuses either, and one question of both would not tell what a
 * machine without IPv6 leaves. Nothing listens, so no firewall asks a user about it.
 * SPDX-License-Identifier: MIT */
#include "host/windows/win32.h"

#include <stdlib.h>
#include <ws2tcpip.h>

#ifndef WSA_FLAG_NO_HANDLE_INHERIT
#define WSA_FLAG_NO_HANDLE_INHERIT 0x80
#endif

enum { N_KINDS = 4 };

const bool np_probe_sees_all = false;

static const struct kind {
    enum nextport_protocol protocol;
    int family, type, ip_protocol;
    const char *name;
} kinds[N_KINDS] = {
    {NEXTPORT_TCP, AF_INET, SOCK_STREAM, IPPROTO_TCP, "tcp socket over IPv4"},
    {NEXTPORT_TCP, AF_INET6, SOCK_STREAM, IPPROTO_TCP, "tcp socket over IPv6"},
    {NEXTPORT_UDP, AF_INET, SOCK_DGRAM, IPPROTO_UDP, "udp socket over IPv4"},
    {NEXTPORT_UDP, AF_INET6, SOCK_DGRAM, IPPROTO_UDP, "udp socket over IPv6"},
};

/* A port held: INVALID_SOCKET for what was not asked for. */
struct held {
    uint16_t port;
    SOCKET sockets[N_KINDS];
};

struct np_probe {
    enum nextport_protocol protocol;
    bool without_ipv6; /* it turned out that this machine has none: IPv4 alone decides */
    struct held *held;
    size_t n_held, capacity;
};

enum nextport_status np_probe_open(struct np_probe **ret, enum nextport_protocol protocol, struct nextport_error *err)
{
    if (np_winsock(err) != NEXTPORT_OK)
        return np_wrap(err, "open the bind probe");
    struct np_probe *probe = calloc(1, sizeof *probe);
    if (!probe)
        return np_fail(err, NEXTPORT_FAILED, "open the bind probe: out of memory");
    probe->protocol = protocol;
    *ret = probe;
    return NEXTPORT_OK;
}

static void close_all(const struct held *held)
{
    for (int i = 0; i < N_KINDS; i++)
        if (held->sockets[i] != INVALID_SOCKET)
            closesocket(held->sockets[i]);
}

void np_probe_close(struct np_probe *probe)
{
    if (!probe)
        return;
    for (size_t i = 0; i < probe->n_held; i++)
        close_all(&probe->held[i]);
    free(probe->held);
    free(probe);
}

/* From the end, because what was held last is usually let go of first. */
void np_probe_release(struct np_probe *probe, uint16_t port)
{
    for (size_t i = probe->n_held; i-- > 0;)
        if (probe->held[i].port == port) {
            close_all(&probe->held[i]);
            probe->held[i] = probe->held[--probe->n_held];
            return;
        }
}

/* A program of Windows is not handed sockets by number. */
intptr_t np_probe_take(struct np_probe *probe, uint16_t port)
{
    (void)probe, (void)port;
    return -1;
}

static bool set(SOCKET socket, int level, int option)
{
    const DWORD on = 1;
    return setsockopt(socket, level, option, (const char *)&on, sizeof on) == 0;
}

static bool bind_wildcard(SOCKET socket, int family, uint16_t port)
{
    const struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    const void *address = family == AF_INET6 ? (const void *)&six : (const void *)&four;
    return bind(socket, address, family == AF_INET6 ? sizeof six : sizeof four) == 0;
}

/* *ret: the socket that has the port now, or INVALID_SOCKET. Returns the system's reason, 0 for none. */
static int take_port(const struct kind *kind, uint16_t port, SOCKET *ret)
{
    SOCKET fd = WSASocketW(kind->family, kind->type, kind->ip_protocol, NULL, 0, WSA_FLAG_NO_HANDLE_INHERIT);
    *ret = INVALID_SOCKET;
    if (fd == INVALID_SOCKET)
        return WSAGetLastError();
    if ((kind->family != AF_INET6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY)) && set(fd, SOL_SOCKET, SO_EXCLUSIVEADDRUSE) &&
        bind_wildcard(fd, kind->family, port)) {
        *ret = fd;
        return 0;
    }
    const int reason = WSAGetLastError();
    closesocket(fd);
    return reason;
}

static enum nextport_status blind(const struct np_probe *probe, const struct kind *kind, uint16_t port, int reason,
                                  struct nextport_error *err)
{
    np_fail_win32(err, NEXTPORT_BLIND, (DWORD)reason, "probe port %u: bind a %s", port, kind->name);
    if (reason == WSAEMFILE || reason == WSAENOBUFS)
        np_hint(err,
                "Every port is held until all are leased, %zu by now. Ask for fewer ports at once, or run it again "
                "when this machine has fewer sockets.",
                probe->n_held);
    else
        np_hint(err, "A security product or a broken Winsock provider may be in the way ('netsh winsock show catalog' "
                     "lists them).");
    return err->status;
}

/* Takes the port for every kind that was asked for, or for none. WSAEACCES: the port belongs to an excluded range, to
 * HTTP.sys or to another program that has it exclusively, which no right of ours would change. */
static enum nextport_status try_all(struct np_probe *probe, uint16_t port, struct held *ret,
                                    enum nextport_probe *verdict, struct nextport_error *err)
{
    *verdict = NEXTPORT_PROBE_FREE;
    for (int i = 0; i < N_KINDS; i++) {
        const struct kind *kind = &kinds[i];
        const bool is_six = kind->family == AF_INET6;
        if (!(probe->protocol & kind->protocol) || (is_six && probe->without_ipv6))
            continue;
        const int reason = take_port(kind, port, &ret->sockets[i]);
        if (is_six && (reason == WSAEAFNOSUPPORT || reason == WSAEADDRNOTAVAIL)) {
            probe->without_ipv6 = true;
        } else if (reason == WSAEADDRINUSE || reason == WSAEACCES) {
            *verdict = reason == WSAEACCES ? NEXTPORT_PROBE_REFUSED : NEXTPORT_PROBE_TAKEN;
            return NEXTPORT_OK;
        } else if (reason != 0) {
            *verdict = NEXTPORT_PROBE_NONE;
            return blind(probe, kind, port, reason, err);
        }
    }
    return NEXTPORT_OK;
}

static bool room_for_one(struct np_probe *probe)
{
    if (probe->n_held < probe->capacity)
        return true;
    size_t capacity = probe->capacity ? 2 * probe->capacity : 16;
    struct held *held = realloc(probe->held, capacity * sizeof *held);
    if (held) {
        probe->held = held;
        probe->capacity = capacity;
    }
    return held;
}

enum nextport_status np_probe_try(void *ctx, uint16_t port, enum nextport_probe *ret, struct nextport_error *err)
{
    struct np_probe *probe = ctx;
    struct held held = {.port = port, .sockets = {INVALID_SOCKET, INVALID_SOCKET, INVALID_SOCKET, INVALID_SOCKET}};
    if (!room_for_one(probe))
        return np_fail(err, NEXTPORT_FAILED, "probe port %u: out of memory", port);
    enum nextport_status status = try_all(probe, port, &held, ret, err);
    if (*ret == NEXTPORT_PROBE_FREE)
        probe->held[probe->n_held++] = held;
    else
        close_all(&held);
    return status;
}

/* Which does not mind what is left of connections in any case. */
enum nextport_status np_probe_try_again(struct np_probe *probe, uint16_t port, enum nextport_probe *ret,
                                        struct nextport_error *err)
{
    return np_probe_try(probe, port, ret, err);
}
