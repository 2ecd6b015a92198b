/* Builds one situation on one port with the system's own sockets, says "ready PORT" and holds it until its standard
 * input ends: holder_windows SITUATION [PORT]. Without PORT the system chooses one. "skip REASON": this machine cannot
 * build it. The sister of test/lib/holder.c; situations that both build have the same name.
 * SPDX-License-Identifier: MIT */
#include <winsock2.h>

#include <fcntl.h>
#include <io.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>
#include <ws2tcpip.h>

enum {
    EXCLUSIVE = 1,
    REUSE_ADDRESS = 2,
    ONLY_IPV6 = 4,
    LISTEN = 8,
    DATAGRAM = 16,
    AUTOMATIC = 32, /* connect() chooses the port */
};

struct situation {
    const char *name;
    void (*build)(const struct situation *);
    const char *address;
    unsigned options;
};

static uint16_t port; /* 0: to be chosen */

/* What a machine may lack is skipped; anything else is a failure of the test. */
static void check(bool ok, const char *what)
{
    const int reason = WSAGetLastError();
    if (ok)
        return;
    const bool lacking = reason == WSAEAFNOSUPPORT || reason == WSAEADDRNOTAVAIL;
    printf("%s %s: error %d\n", lacking ? "skip" : "failed", what, reason);
    exit(lacking ? 0 : 1);
}

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static int make_address(union address *ret, const char *text, uint16_t number)
{
    *ret = (union address){0};
    if (strchr(text, ':')) {
        ret->six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(number)};
        inet_pton(AF_INET6, text, &ret->six.sin6_addr);
        return sizeof ret->six;
    }
    ret->four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(number)};
    inet_pton(AF_INET, text, &ret->four.sin_addr);
    return sizeof ret->four;
}

static uint16_t port_of(SOCKET fd)
{
    union address own = {0};
    int len = sizeof own;
    check(getsockname(fd, &own.any, &len) == 0, "getsockname");
    return ntohs(own.any.sa_family == AF_INET6 ? own.six.sin6_port : own.four.sin_port);
}

static void set(SOCKET fd, int level, int option, DWORD value, const char *what)
{
    check(setsockopt(fd, level, option, (const char *)&value, sizeof value) == 0, what);
}

static SOCKET make_socket(const char *address, unsigned options)
{
    const int family = strchr(address, ':') ? AF_INET6 : AF_INET;
    SOCKET fd = socket(family, options & DATAGRAM ? SOCK_DGRAM : SOCK_STREAM, 0);
    check(fd != INVALID_SOCKET, "socket");
    if (family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, options & ONLY_IPV6 ? 1 : 0, "IPV6_V6ONLY");
    if (options & EXCLUSIVE)
        set(fd, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1, "SO_EXCLUSIVEADDRUSE");
    if (options & REUSE_ADDRESS)
        set(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
    return fd;
}

static SOCKET bind_to(SOCKET fd, const char *address, uint16_t number)
{
    union address own;
    const int len = make_address(&own, address, number);
    check(bind(fd, &own.any, len) == 0, "bind");
    return fd;
}

static void connect_to(SOCKET fd, const char *address, uint16_t number)
{
    union address peer;
    const int len = make_address(&peer, address, number);
    check(connect(fd, &peer.any, len) == 0, "connect");
}

static SOCKET accept_one(SOCKET listener)
{
    SOCKET fd = accept(listener, NULL, NULL);
    check(fd != INVALID_SOCKET, "accept");
    return fd;
}

/* A port that nothing has; to bind it by its number is what a server does. */
static void choose_port(void)
{
    SOCKET fd = make_socket("0.0.0.0", 0);
    if (!port)
        port = port_of(bind_to(fd, "0.0.0.0", 0));
    closesocket(fd);
}

/* On the port of the situation. */
static SOCKET bound_socket(const struct situation *s)
{
    choose_port();
    return bind_to(make_socket(s->address, s->options), s->address, port);
}

/* A server on some other port. */
static SOCKET some_server(const char *address)
{
    SOCKET fd = bind_to(make_socket(address, 0), address, 0);
    check(listen(fd, 8) == 0, "listen");
    return fd;
}

static const char *loopback(const struct situation *s)
{
    return strchr(s->address, ':') ? "::1" : "127.0.0.1";
}

static void read_to_end(SOCKET fd)
{
    char byte;
    check(recv(fd, &byte, 1, 0) == 0, "read to the end");
}

/* ---- Situations ----------------------------------------------------------------------------------------------- */

static void build_server(const struct situation *s)
{
    SOCKET fd = bound_socket(s);
    if (s->options & LISTEN)
        check(listen(fd, 8) == 0, "listen");
}

static void build_outgoing(const struct situation *s)
{
    SOCKET server = some_server(s->address);
    SOCKET fd = s->options & AUTOMATIC ? make_socket(s->address, s->options) : bound_socket(s);
    connect_to(fd, s->address, port_of(server));
    accept_one(server);
    port = port_of(fd);
}

struct pair {
    SOCKET server, client;
};

/* An accepted connection whose listener is closed. */
static struct pair accepted_pair(const struct situation *s)
{
    SOCKET listener = bound_socket(s);
    check(listen(listener, 8) == 0, "listen");
    struct pair pair = {.client = make_socket(loopback(s), 0)};
    connect_to(pair.client, loopback(s), port);
    pair.server = accept_one(listener);
    closesocket(listener);
    return pair;
}

static void build_accepted(const struct situation *s)
{
    accepted_pair(s);
}

static void build_close_wait(const struct situation *s)
{
    struct pair pair = accepted_pair(s);
    closesocket(pair.client);
    read_to_end(pair.server);
}

/* The side that closes first keeps the port. */
static void build_server_time_wait(const struct situation *s)
{
    struct pair pair = accepted_pair(s);
    closesocket(pair.server);
    read_to_end(pair.client);
    closesocket(pair.client);
}

static void build_outgoing_time_wait(const struct situation *s)
{
    SOCKET listener = some_server(s->address), fd = bound_socket(s);
    connect_to(fd, s->address, port_of(listener));
    SOCKET server = accept_one(listener);
    closesocket(fd);
    read_to_end(server);
    closesocket(server);
}

static void build_connected_udp(const struct situation *s)
{
    SOCKET server = bind_to(make_socket(s->address, DATAGRAM), s->address, 0);
    connect_to(bound_socket(s), s->address, port_of(server));
}

static const struct situation situations[] = {
    {"listen4", build_server, "0.0.0.0", LISTEN},
    {"listen4-exclusive", build_server, "0.0.0.0", LISTEN | EXCLUSIVE},
    {"listen4-reuse", build_server, "0.0.0.0", LISTEN | REUSE_ADDRESS},
    {"listen127", build_server, "127.0.0.1", LISTEN},
    {"listen127-exclusive", build_server, "127.0.0.1", LISTEN | EXCLUSIVE},
    {"listen6", build_server, "::", LISTEN},
    {"listen6-exclusive", build_server, "::", LISTEN | EXCLUSIVE},
    {"listen6only", build_server, "::", LISTEN | ONLY_IPV6},
    {"listen6lo", build_server, "::1", LISTEN | ONLY_IPV6},
    {"bound", build_server, "0.0.0.0", 0},
    {"bound-exclusive", build_server, "0.0.0.0", EXCLUSIVE},
    {"bound6", build_server, "::1", 0},
    {"outgoing4", build_outgoing, "127.0.0.1", AUTOMATIC},
    {"outgoing4-bind", build_outgoing, "127.0.0.1", 0},
    {"outgoing6", build_outgoing, "::1", AUTOMATIC},
    {"accepted", build_accepted, "0.0.0.0", 0},
    {"accepted6", build_accepted, "::", 0},
    {"closewait", build_close_wait, "0.0.0.0", 0},
    {"timewait-server", build_server_time_wait, "0.0.0.0", 0},
    {"timewait-outgoing", build_outgoing_time_wait, "127.0.0.1", 0},
    {"udp", build_server, "0.0.0.0", DATAGRAM},
    {"udp-exclusive", build_server, "0.0.0.0", DATAGRAM | EXCLUSIVE},
    {"udp6", build_server, "::1", DATAGRAM},
    {"udp-connected", build_connected_udp, "127.0.0.1", DATAGRAM},
};

static int usage(void)
{
    fputs("usage: holder_windows SITUATION [PORT]\n", stderr);
    for (size_t i = 0; i < sizeof situations / sizeof *situations; i++)
        fprintf(stderr, "  %s\n", situations[i].name);
    return 2;
}

static void hold(const struct situation *s)
{
    char buf[64];
    s->build(s);
    printf("ready %u\n", port);
    fflush(stdout);
    while (_read(_fileno(stdin), buf, sizeof buf) > 0)
        continue;
}

int main(int argc, char **argv)
{
    WSADATA data;
    if (argc < 2 || argc > 3)
        return usage();
    if (argc == 3)
        port = (uint16_t)strtoul(argv[2], NULL, 10);
    _setmode(_fileno(stdout), _O_BINARY);
    check(WSAStartup(MAKEWORD(2, 2), &data) == 0, "WSAStartup");
    for (size_t i = 0; i < sizeof situations / sizeof *situations; i++)
        if (strcmp(argv[1], situations[i].name) == 0) {
            hold(&situations[i]);
            return 0;
        }
    return usage();
}
