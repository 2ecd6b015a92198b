/* The bind probe: may a server have this port on every address? Asked of the kernel by the one question that sees every
 * socket whatever its state: a bind to the wildcard address without SO_REUSEADDR and SO_REUSEPORT. Its cost does not
 * grow with the number of sockets.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { N_TYPES = 2 };

const bool np_probe_sees_all = true;

static const struct {
    enum nextport_protocol protocol;
    int type;
    const char *name;
} types[N_TYPES] = {
    {NEXTPORT_TCP, SOCK_STREAM, "tcp"},
    {NEXTPORT_UDP, SOCK_DGRAM, "udp"},
};

/* A port held: one socket for each type that is asked for, -1 for the other. */
struct held {
    uint16_t port;
    int fd[N_TYPES];
};

struct np_probe {
    enum nextport_protocol protocol;
    int family[N_TYPES]; /* AF_INET6, until it turns out that there is none here */
    int spare[N_TYPES];  /* sockets not bound yet, or -1: a bind that failed leaves its socket as good as new */
    struct held *held;
    size_t n_held, capacity;
    bool raised; /* the limit of open files was, and goes back to this: */
    struct rlimit limit;
};

enum nextport_status np_probe_open(struct np_probe **ret, enum nextport_protocol protocol, struct nextport_error *err)
{
    struct np_probe *probe = calloc(1, sizeof *probe);
    if (!probe)
        return np_fail(err, NEXTPORT_FAILED, "open the bind probe: out of memory");
    *probe = (struct np_probe){.protocol = protocol, .family = {AF_INET6, AF_INET6}, .spare = {-1, -1}};
    *ret = probe;
    return NEXTPORT_OK;
}

static void close_all(const int fd[N_TYPES])
{
    for (int i = 0; i < N_TYPES; i++)
        if (fd[i] >= 0)
            close(fd[i]);
}

void np_probe_close(struct np_probe *probe)
{
    if (!probe)
        return;
    for (size_t i = 0; i < probe->n_held; i++)
        close_all(probe->held[i].fd);
    close_all(probe->spare);
    if (probe->raised)
        setrlimit(RLIMIT_NOFILE, &probe->limit);
    free(probe->held);
    free(probe);
}

/* From the end, because what was held last is usually let go of first. */
void np_probe_release(struct np_probe *probe, uint16_t port)
{
    for (size_t i = probe->n_held; i-- > 0;)
        if (probe->held[i].port == port) {
            close_all(probe->held[i].fd);
            probe->held[i] = probe->held[--probe->n_held];
            return;
        }
}

intptr_t np_probe_take(struct np_probe *probe, uint16_t port)
{
    enum { TCP = 0 };
    for (size_t i = probe->n_held; i-- > 0;)
        if (probe->held[i].port == port) {
            const int fd = probe->held[i].fd[TCP];
            probe->held[i].fd[TCP] = -1;
            return fd;
        }
    return -1;
}

/* Only a request for a thousand ports and more needs it; servers start with a soft limit of 1024 and a hard one of
 * several thousand at least. */
static bool raise_limit(struct np_probe *probe)
{
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) != 0 || now.rlim_cur == now.rlim_max)
        return false;
    if (!probe->raised)
        probe->limit = now;
    now.rlim_cur = now.rlim_max;
    probe->raised = setrlimit(RLIMIT_NOFILE, &now) == 0 || probe->raised;
    return probe->raised;
}

static enum nextport_status out_of_files(const struct np_probe *probe, int errnum, struct nextport_error *err)
{
    np_fail_errno(err, NEXTPORT_BLIND, errnum, "open a socket while %zu ports are held", probe->n_held);
    np_hint(err,
            "Every port is held open until all are leased. Ask for fewer ports at once, or raise the limit of open "
            "files (ulimit -n).");
    return err->status;
}

/* The sysctl bindv6only may have changed the default, so both families are asked for. */
static int open_socket(int family, int type)
{
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    if (fd >= 0 && family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, sizeof(int)) != 0) {
        int errnum = errno;
        close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

/* Makes probe->spare[i] a socket. */
static enum nextport_status spare_socket(struct np_probe *probe, int i, struct nextport_error *err)
{
    int *fd = &probe->spare[i];
    if (*fd < 0)
        *fd = open_socket(probe->family[i], types[i].type);
    if (*fd < 0 && errno == EMFILE && raise_limit(probe))
        *fd = open_socket(probe->family[i], types[i].type);
    if (*fd < 0 && errno == EAFNOSUPPORT && probe->family[i] == AF_INET6) {
        probe->family[i] = AF_INET;
        *fd = open_socket(AF_INET, types[i].type);
    }
    if (*fd >= 0)
        return NEXTPORT_OK;
    if (errno == EMFILE || errno == ENFILE)
        return out_of_files(probe, errno, err);
    return np_fail_errno(err, NEXTPORT_BLIND, errno, "open a %s socket", types[i].name);
}

static int bind_wildcard(int fd, int family, uint16_t port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY), .sin_port = htons(port)};
    const void *address = family == AF_INET6 ? (const void *)&six : (const void *)&four;
    return bind(fd, address, family == AF_INET6 ? sizeof six : sizeof four) == 0 ? 0 : errno;
}

/* With SO_REUSEADDR the kernel minds listeners only, and sockets without it: so it is on for this bind alone. Of UDP it
 * would mind nobody. */
static int bind_beside_old(int fd, int type, int family, uint16_t port)
{
    const bool set = type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0;
    const int failed = bind_wildcard(fd, family, port);
    if (set && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){0}, sizeof(int)) != 0)
        return errno;
    return failed;
}

/* Binds probe->spare[i], in IPv4 alone where the kernel knows IPv6 but was told to leave it off. */
static enum nextport_status try_type(struct np_probe *probe, int i, uint16_t port, bool again, enum nextport_probe *ret,
                                     struct nextport_error *err)
{
    if (spare_socket(probe, i, err))
        return err->status;
    int failed = again ? bind_beside_old(probe->spare[i], types[i].type, probe->family[i], port)
                       : bind_wildcard(probe->spare[i], probe->family[i], port);
    if ((failed == EADDRNOTAVAIL || failed == EAFNOSUPPORT) && probe->family[i] == AF_INET6) {
        probe->family[i] = AF_INET;
        close(probe->spare[i]);
        probe->spare[i] = -1;
        return try_type(probe, i, port, again, ret, err);
    }
    *ret = failed == 0                           ? NEXTPORT_PROBE_FREE
           : failed == EADDRINUSE                ? NEXTPORT_PROBE_TAKEN
           : failed == EACCES || failed == EPERM ? NEXTPORT_PROBE_DENIED
                                                 : NEXTPORT_PROBE_NONE;
    if (*ret == NEXTPORT_PROBE_NONE)
        return np_fail_errno(err, NEXTPORT_BLIND, failed, "bind a %s socket", types[i].name);
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

/* The sockets that were bound stop being spare ones. */
static void hold(struct np_probe *probe, uint16_t port)
{
    struct held *held = &probe->held[probe->n_held++];
    held->port = port;
    for (int i = 0; i < N_TYPES; i++) {
        held->fd[i] = -1;
        if (probe->protocol & types[i].protocol) {
            held->fd[i] = probe->spare[i];
            probe->spare[i] = -1;
        }
    }
}

/* A socket cannot be unbound, so those that were bound before another type failed are given up. */
static void give_up(struct np_probe *probe, int n_bound)
{
    for (int i = 0; i < n_bound; i++)
        if (probe->spare[i] >= 0) {
            close(probe->spare[i]);
            probe->spare[i] = -1;
        }
}

static enum nextport_status try_port(struct np_probe *probe, uint16_t port, bool again, enum nextport_probe *ret,
                                     struct nextport_error *err)
{
    if (!room_for_one(probe))
        return np_fail(err, NEXTPORT_FAILED, "probe port %u: out of memory", port);
    for (int i = 0; i < N_TYPES; i++) {
        if (!(probe->protocol & types[i].protocol))
            continue;
        enum nextport_status status = try_type(probe, i, port, again, ret, err);
        if (status || *ret != NEXTPORT_PROBE_FREE) {
            give_up(probe, i);
            return status ? np_wrap(err, "probe port %u", port) : NEXTPORT_OK;
        }
    }
    hold(probe, port);
    return NEXTPORT_OK;
}

enum nextport_status np_probe_try(void *probe, uint16_t port, enum nextport_probe *ret, struct nextport_error *err)
{
    return try_port(probe, port, false, ret, err);
}

enum nextport_status np_probe_try_again(struct np_probe *probe, uint16_t port, enum nextport_probe *ret,
                                        struct nextport_error *err)
{
    return try_port(probe, port, true, ret, err);
}
