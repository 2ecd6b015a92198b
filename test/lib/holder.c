/* Builds one situation on one port of this network namespace, says "ready PORT" and holds it until its standard input
 * ends: holder SITUATION [PORT]. Without PORT the kernel chooses one. "skip REASON": this kernel or user cannot build
 * it.
 * Every socket is made by the real course of events; nothing is injected.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* Linux 6.3 */
#endif

enum {
    REUSE_ADDRESS = 1,
    REUSE_PORT = 2,
    ONLY_IPV6 = 4,
    LISTEN = 8,
    DEVICE = 16,
    TRANSPARENT = 32,
    MPTCP = 64,
    DATAGRAM = 128,
    AUTOMATIC = 256, /* connect() chooses the port */
    NO_PORT = 512,   /* IP_BIND_ADDRESS_NO_PORT: bind() chooses the address alone */
};

struct situation {
    const char *name;
    void (*build)(const struct situation *);
    const char *address;
    unsigned options;
};

static uint16_t port; /* 0: to be chosen */

/* What a kernel or a user may lack is skipped; anything else is a failure of the test. */
static void check(bool ok, const char *what)
{
    static const int lacking[] = {EAFNOSUPPORT, EPROTONOSUPPORT, ENOPROTOOPT, EPERM, EADDRNOTAVAIL};
    const char *verdict = "failed";
    if (ok)
        return;
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++)
        if (errno == lacking[i])
            verdict = "skip";
    printf("%s %s: %s\n", verdict, what, strerror(errno));
    exit(strcmp(verdict, "skip") == 0 ? 0 : 1);
}

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static socklen_t make_address(union address *ret, const char *text, uint16_t number)
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

static uint16_t port_of(int fd)
{
    union address own = {0};
    socklen_t len = sizeof own;
    check(getsockname(fd, &own.any, &len) == 0, "getsockname");
    return ntohs(own.any.sa_family == AF_INET6 ? own.six.sin6_port : own.four.sin_port);
}

static void set(int fd, int level, int option, int value, const char *what)
{
    check(setsockopt(fd, level, option, &value, sizeof value) == 0, what);
}

static int make_socket(const char *address, unsigned options)
{
    int family = strchr(address, ':') ? AF_INET6 : AF_INET;
    int fd = socket(family, options & DATAGRAM ? SOCK_DGRAM : SOCK_STREAM, options & MPTCP ? IPPROTO_MPTCP : 0);
    check(fd >= 0, "socket");
    if (family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, options & ONLY_IPV6 ? 1 : 0, "IPV6_V6ONLY");
    if (options & REUSE_ADDRESS)
        set(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
    if (options & REUSE_PORT)
        set(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
    if (options & TRANSPARENT)
        set(fd, IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT");
    if (options & NO_PORT)
        set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
    if (options & DEVICE)
        check(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0, "SO_BINDTODEVICE");
    return fd;
}

static int bind_to(int fd, const char *address, uint16_t number)
{
    union address own;
    socklen_t len = make_address(&own, address, number);
    check(bind(fd, &own.any, len) == 0, "bind");
    return fd;
}

static bool connect_to(int fd, const char *address, uint16_t number)
{
    union address peer;
    socklen_t len = make_address(&peer, address, number);
    return connect(fd, &peer.any, len) == 0;
}

/* A port that nothing has. To bind it by its number is what a server does, and the kernel keeps a number that was asked
 * for longer than one that it chose. */
static void choose_port(void)
{
    int fd = make_socket("0.0.0.0", 0);
    if (!port)
        port = port_of(bind_to(fd, "0.0.0.0", 0));
    close(fd);
}

/* On the port of the situation. */
static int bound_socket(const struct situation *s)
{
    choose_port();
    return bind_to(make_socket(s->address, s->options), s->address, port);
}

/* A server on some other port. */
static int some_server(const char *address, int backlog)
{
    int fd = bind_to(make_socket(address, 0), address, 0);
    check(listen(fd, backlog) == 0, "listen");
    return fd;
}

static int client_of(const char *address, uint16_t number)
{
    int fd = make_socket(address, 0);
    check(connect_to(fd, address, number), "connect");
    return fd;
}

static const char *loopback(const struct situation *s)
{
    return strchr(s->address, ':') ? "::1" : "127.0.0.1";
}

static int tcp_state(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    check(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0, "TCP_INFO");
    return info.tcpi_state;
}

static void read_to_end(int fd)
{
    char byte;
    check(read(fd, &byte, 1) == 0, "read to the end");
}

/* ---- Situations ----------------------------------------------------------------------------------------------- */

static void build_server(const struct situation *s)
{
    int fd = bound_socket(s);
    if (s->options & LISTEN)
        check(listen(fd, 8) == 0, "listen");
}

static void build_failed_connect(const struct situation *s)
{
    int closed = some_server(s->address, 1), fd = bound_socket(s);
    uint16_t nobody = port_of(closed);
    close(closed);
    check(!connect_to(fd, s->address, nobody), "connect to nobody");
}

static void build_outgoing(const struct situation *s)
{
    int server = some_server(loopback(s), 8), fd = make_socket(s->address, s->options);
    if (s->options & AUTOMATIC && port)
        set(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, (int)((uint32_t)port << 16 | port), "IP_LOCAL_PORT_RANGE");
    if (!(s->options & AUTOMATIC))
        choose_port();
    if (!(s->options & AUTOMATIC) || s->options & NO_PORT)
        bind_to(fd, s->address, s->options & NO_PORT ? 0 : port);
    check(connect_to(fd, loopback(s), port_of(server)), "connect");
    check(accept(server, NULL, NULL) >= 0, "accept");
    port = port_of(fd);
}

/* A server whose queue is full leaves the next SYN without an answer. */
static void build_syn_sent(const struct situation *s)
{
    enum { MORE_THAN_ENOUGH = 64 };
    uint16_t server = port_of(some_server("127.0.0.1", 0));
    int state = TCP_ESTABLISHED;
    for (int i = 0; i < MORE_THAN_ENOUGH && state == TCP_ESTABLISHED; i++) {
        int filler = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        check(connect_to(filler, "127.0.0.1", server) || errno == EINPROGRESS, "connect");
        state = tcp_state(filler);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    choose_port();
    bind_to(fd, s->address, port);
    check(!connect_to(fd, "127.0.0.1", server) && errno == EINPROGRESS, "connect");
    check(tcp_state(fd) == TCP_SYN_SENT, "SYN_SENT");
}

struct pair {
    int server, client;
};

/* An accepted connection whose listener is closed. */
static struct pair accepted_pair(const struct situation *s)
{
    int listener = bound_socket(s);
    check(listen(listener, 8) == 0, "listen");
    struct pair pair = {.client = client_of(loopback(s), port)};
    pair.server = accept(listener, NULL, NULL);
    check(pair.server >= 0, "accept");
    close(listener);
    return pair;
}

static void build_accepted(const struct situation *s)
{
    accepted_pair(s);
}

static void build_close_wait(const struct situation *s)
{
    struct pair pair = accepted_pair(s);
    close(pair.client);
    read_to_end(pair.server);
}

/* The side that closes first keeps the port. The client's acknowledgement may not be delayed. */
static void build_fin_wait2(const struct situation *s)
{
    struct pair pair = accepted_pair(s);
    close(pair.server);
    read_to_end(pair.client);
    set(pair.client, IPPROTO_TCP, TCP_QUICKACK, 1, "TCP_QUICKACK");
}

static void build_server_time_wait(const struct situation *s)
{
    struct pair pair = accepted_pair(s);
    close(pair.server);
    read_to_end(pair.client);
    close(pair.client);
}

static void build_outgoing_time_wait(const struct situation *s)
{
    int listener = some_server(s->address, 8), fd = bound_socket(s);
    check(connect_to(fd, s->address, port_of(listener)), "connect");
    int server = accept(listener, NULL, NULL);
    check(server >= 0, "accept");
    close(fd);
    read_to_end(server);
    close(server);
}

/* A connection that waits for its first data stays a request in the queue. */
static void build_syn_queue(const struct situation *s)
{
    int listener = bound_socket(s);
    set(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, 60, "TCP_DEFER_ACCEPT");
    check(listen(listener, 8) == 0, "listen");
    client_of(loopback(s), port);
}

static void build_connected_udp(const struct situation *s)
{
    int server = bind_to(make_socket(s->address, DATAGRAM), s->address, 0);
    check(connect_to(bound_socket(s), s->address, port_of(server)), "connect");
}

static void build_raw(const struct situation *s)
{
    (void)s;
    choose_port();
    check(socket(AF_INET, SOCK_RAW, IPPROTO_TCP) >= 0, "raw socket");
}

static void build_elsewhere(const struct situation *s)
{
    choose_port();
    check(unshare(CLONE_NEWNET) == 0, "unshare");
    build_server(s);
}

static const struct situation situations[] = {
    {"listen4", build_server, "0.0.0.0", LISTEN},
    {"listen127", build_server, "127.0.0.1", LISTEN},
    {"listen127other", build_server, "127.9.9.9", LISTEN},
    {"listendev", build_server, "0.0.0.0", LISTEN | DEVICE},
    {"listen6", build_server, "::", LISTEN},
    {"listen6mapped", build_server, "::ffff:127.0.0.1", LISTEN},
    {"listen6only", build_server, "::", LISTEN | ONLY_IPV6},
    {"listen6lo", build_server, "::1", LISTEN},
    {"reuseport", build_server, "0.0.0.0", LISTEN | REUSE_PORT},
    {"reuseport-ra", build_server, "0.0.0.0", LISTEN | REUSE_PORT | REUSE_ADDRESS},
    {"mptcp", build_server, "0.0.0.0", LISTEN | MPTCP},
    {"transparent", build_server, "192.0.2.7", LISTEN | TRANSPARENT},
    {"bound", build_server, "0.0.0.0", 0},
    {"bound-ra", build_server, "0.0.0.0", REUSE_ADDRESS},
    {"bound6", build_server, "::1", 0},
    {"failed-connect", build_failed_connect, "127.0.0.1", 0},
    {"outgoing4", build_outgoing, "127.0.0.1", AUTOMATIC},
    {"outgoing4-bind", build_outgoing, "127.0.0.1", 0},
    {"outgoing6", build_outgoing, "::1", AUTOMATIC},
    {"outgoing-ra-noport", build_outgoing, "127.0.0.1", AUTOMATIC | NO_PORT | REUSE_ADDRESS},
    {"synsent", build_syn_sent, "127.0.0.2", 0},
    {"accepted", build_accepted, "0.0.0.0", 0},
    {"accepted-ra", build_accepted, "0.0.0.0", REUSE_ADDRESS},
    {"accepted6", build_accepted, "::", 0},
    {"closewait", build_close_wait, "0.0.0.0", 0},
    {"finwait2", build_fin_wait2, "0.0.0.0", 0},
    {"timewait-server", build_server_time_wait, "0.0.0.0", 0},
    {"timewait-server-ra", build_server_time_wait, "0.0.0.0", REUSE_ADDRESS},
    {"timewait-outgoing", build_outgoing_time_wait, "127.0.0.1", 0},
    {"synqueue", build_syn_queue, "0.0.0.0", 0},
    {"udp", build_server, "0.0.0.0", DATAGRAM},
    {"udp6", build_server, "::1", DATAGRAM},
    {"udp-connected", build_connected_udp, "127.0.0.1", DATAGRAM},
    {"raw", build_raw, "0.0.0.0", 0},
    {"other-namespace", build_elsewhere, "0.0.0.0", LISTEN},
};

static void wait_for_end_of_input(void)
{
    char buf[64];
    while (read(STDIN_FILENO, buf, sizeof buf) > 0)
        continue;
}

static int usage(void)
{
    fputs("usage: holder SITUATION [PORT]\n", stderr);
    for (size_t i = 0; i < sizeof situations / sizeof *situations; i++)
        fprintf(stderr, "  %s\n", situations[i].name);
    return 2;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3)
        return usage();
    if (argc == 3)
        port = (uint16_t)strtoul(argv[2], NULL, 10);
    for (size_t i = 0; i < sizeof situations / sizeof *situations; i++)
        if (strcmp(argv[1], situations[i].name) == 0) {
            situations[i].build(&situations[i]);
            printf("ready %u\n", port);
            fflush(stdout);
            wait_for_end_of_input();
            return 0;
        }
    return usage();
}
