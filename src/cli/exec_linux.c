/* `exec` on Linux: this program becomes the command. So signals, job control, a supervisor's number and the status are the
 * command's own without anybody in between, and the process that the lease lives with is the command.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* sd_listen_fds(3) */
enum { FIRST_SOCKET = 3 };

static bool set_number(const char *name, unsigned long value)
{
    char text[24];
    snprintf(text, sizeof text, "%lu", value);
    return setenv(name, text, 1) == 0;
}

static bool set_ports(const struct nextport_result *answer)
{
    for (size_t i = 0; i < answer->n_ports; i++)
        if (!set_number(answer->ports[i].name, answer->ports[i].port))
            return false;
    return true;
}

/* The names, joined by ':', which no variable's name has. */
static bool set_socket_names(const struct nextport_result *answer)
{
    size_t size = 1;
    for (size_t i = 0; i < answer->n_ports; i++)
        size += strlen(answer->ports[i].name) + 1;
    char *names = calloc(1, size), *end = names;
    for (size_t i = 0; names && i < answer->n_ports; i++)
        end = stpcpy(stpcpy(end, i ? ":" : ""), answer->ports[i].name);
    const bool ok = names && setenv("LISTEN_FDNAMES", names, 1) == 0;
    free(names);
    return ok;
}

/* The sockets may have the very numbers that they are to get, in another order: they make room first. What this program
 * was given under these numbers is closed, as the convention has it. */
static bool place_sockets(const struct nextport_result *answer)
{
    const int n = (int)answer->n_ports;
    int *sockets = calloc(answer->n_ports, sizeof *sockets);
    bool ok = sockets;
    for (int i = 0; ok && i < n; i++) {
        sockets[i] = fcntl((int)answer->ports[i].socket, F_DUPFD_CLOEXEC, FIRST_SOCKET + n);
        ok = sockets[i] >= 0;
    }
    for (int i = 0; ok && i < n; i++)
        ok = dup2(sockets[i], FIRST_SOCKET + i) >= 0; /* without FD_CLOEXEC */
    free(sockets);
    return ok;
}

/* Old connections that linger are no hindrance then, now or when the server is started again. Whoever else binds the port
 * in this moment cannot listen any more. */
static bool make_listen(const struct nextport_result *answer)
{
    for (size_t i = 0; i < answer->n_ports; i++) {
        const int fd = (int)answer->ports[i].socket;
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0 || listen(fd, SOMAXCONN) != 0)
            return false;
    }
    return true;
}

static bool pass_sockets(const struct nextport_result *answer)
{
    return make_listen(answer) && place_sockets(answer) && set_number("LISTEN_FDS", answer->n_ports) &&
           set_number("LISTEN_PID", (unsigned long)getpid()) && set_socket_names(answer);
}

/* Both would have the same descriptors. */
static bool has_sockets_already(void)
{
    const char *pid = cli_env("LISTEN_PID");
    return pid && cli_env("LISTEN_FDS") && strtol(pid, NULL, 10) == getpid();
}

static bool has_every_socket(const struct nextport_result *answer)
{
    bool has = true;
    for (size_t i = 0; i < answer->n_ports; i++)
        has = has && answer->ports[i].socket >= 0;
    return has;
}

enum nextport_status cli_exec(struct cli *cli, struct nextport_result **ret)
{
    if (cli->listen && has_sockets_already())
        return cli_usage(cli, "Leave --listen out: they are passed on as they are.",
                         "--listen: this program was handed sockets of its own (LISTEN_FDS)");
    if (cli_exec_lease(cli, ret) != NEXTPORT_OK)
        return cli->err.status;
    const struct nextport_result *answer = *ret;
    if (cli->listen && !has_every_socket(answer))
        return cli_exec_give_up(cli, answer, 0,
                                "--listen: there is no socket of the port; only TCP ports are listened on");
    if (!set_ports(answer) || (cli->listen && !pass_sockets(answer)))
        return cli_exec_give_up(cli, answer, 0, "prepare the command: %s", strerror(errno));
    if (cli_has_signal()) {
        cli_exec_give_up(cli, answer, 0, "interrupted by a signal");
        cli_obey_signals();
        return NEXTPORT_FAILED;
    }
    cli_exec_say(cli, answer);
    cli_restore();
    execvp(cli->args[0], (char *const *)(uintptr_t)cli->args);
    return cli_exec_give_up(cli, answer, errno == ENOENT ? CLI_EXEC_NOT_FOUND : CLI_EXEC_CANNOT_RUN, "run '%s': %s",
                            cli->args[0], strerror(errno));
}
