/* Streams to programs of this machine, by Unix sockets.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct np_stream {
    struct np_arena *arena;
    int fd;
    int64_t deadline_ms;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *because(struct np_arena *arena, int errnum)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    np_fail_errno(&err, NEXTPORT_FAILED, errnum, "x");
    return np_strdup(arena, err.text + strlen("x: "));
}

/* A socket's name that nobody listens at is what an engine leaves behind that was stopped, or its unit's. */
static enum np_read failed(struct np_arena *arena, int errnum, const char **why)
{
    *why = because(arena, errnum);
    if (errnum == ENOENT || errnum == ENOTDIR)
        return NP_READ_ABSENT;
    return errnum == EACCES || errnum == EPERM ? NP_READ_DENIED : NP_READ_BAD;
}

enum np_read np_stream_open(struct np_stream **ret, struct np_arena *arena, const char *path, unsigned budget_ms,
                            const char **why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int64_t deadline_ms = now_ms() + budget_ms;
    if (strlen(path) >= sizeof address.sun_path)
        return failed(arena, ENAMETOOLONG, why);
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return failed(arena, errno, why);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        const int errnum = errno;
        close(fd);
        return failed(arena, errnum, why);
    }
    struct np_stream *stream = np_alloc(arena, sizeof *stream);
    *stream = (struct np_stream){.arena = arena, .fd = fd, .deadline_ms = deadline_ms};
    *ret = stream;
    return NP_READ_OK;
}

void np_stream_close(struct np_stream *stream)
{
    if (stream)
        close(stream->fd);
}

unsigned np_stream_left_ms(const struct np_stream *stream)
{
    const int64_t left = stream->deadline_ms - now_ms();
    return left > 0 ? (unsigned)left : 0;
}

/* Until the other side is ready, or the time is over. */
static bool wait_for(struct np_stream *stream, short events, const char **why)
{
    for (;;) {
        const unsigned left = np_stream_left_ms(stream);
        struct pollfd poller = {.fd = stream->fd, .events = events};
        const int n = left > 0 ? poll(&poller, 1, (int)left) : 0;
        if (n > 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        *why = n == 0 ? "it did not answer in time" : because(stream->arena, errno);
        return false;
    }
}

bool np_stream_send(struct np_stream *stream, const char *bytes, size_t n, const char **why)
{
    while (n > 0) {
        if (!wait_for(stream, POLLOUT, why))
            return false;
        const ssize_t sent = send(stream->fd, bytes, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR && errno != EAGAIN) {
            *why = because(stream->arena, errno);
            return false;
        }
        if (sent > 0) {
            bytes += sent;
            n -= (size_t)sent;
        }
    }
    return true;
}

ptrdiff_t np_stream_receive(struct np_stream *stream, char *bytes, size_t n, const char **why)
{
    for (;;) {
        if (!wait_for(stream, POLLIN, why))
            return -1;
        const ssize_t got = recv(stream->fd, bytes, n, 0);
        if (got >= 0)
            return got;
        if (errno != EINTR && errno != EAGAIN) {
            *why = because(stream->arena, errno);
            return -1;
        }
    }
}

struct np_engine_place np_host_docker(struct np_arena *arena, bool below_root)
{
    (void)arena, (void)below_root;
    return (struct np_engine_place){.config = "/etc/docker/daemon.json",
                                    .data = "/var/lib/docker",
                                    .endpoint = "/var/run/docker.sock",
                                    .group = "docker",
                                    .running = "/var/run/docker.pid"};
}

size_t np_host_podman(struct np_arena *arena, bool below_root, const struct np_podman_place **ret)
{
    struct np_podman_place *places = np_alloc_array(arena, 2, sizeof *places);
    const bool is_own = !below_root && geteuid() != 0;
    const char *home = is_own ? np_host_env(arena, "HOME") : "/home/*";
    const char *uid = is_own ? np_sprintf(arena, "%u", (unsigned)geteuid()) : "*";
    places[0] = (struct np_podman_place){.storage = "/var/lib/containers/storage",
                                         .endpoint = "/run/podman/podman.sock",
                                         .home = "/root",
                                         .uid = "0",
                                         .user = "root"};
    places[1] =
        (struct np_podman_place){.storage = np_sprintf(arena, "%s/.local/share/containers/storage", home ? home : ""),
                                 .endpoint = is_own ? np_sprintf(arena, "/run/user/%s/podman/podman.sock", uid) : NULL,
                                 .rootless = true,
                                 .home = home,
                                 .uid = uid,
                                 .user = is_own ? np_host_env(arena, "USER") : "*"};
    *ret = places;
    return home ? 2 : 1;
}

const char *np_host_home(struct np_arena *arena, bool below_root)
{
    const char *home = np_host_env(arena, "HOME");
    if (below_root || geteuid() == 0)
        return "/root";
    return home && *home == '/' ? home : NULL;
}
