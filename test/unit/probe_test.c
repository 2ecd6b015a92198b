/* The bind probe, the socket list and the system's own ports, each against the kernel: in network namespaces of the
 * test's own, with the situations of test/lib/holder.c. Without root these are skipped.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOBODY = 65534 };

/* A namespace of our own with loopback up. */
static void own_namespace(void)
{
    if (unshare(CLONE_NEWNET) != 0)
        skip();
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    close(fd);
}

static enum nextport_probe ask(struct np_probe *probe, uint16_t port)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    enum nextport_probe verdict = NEXTPORT_PROBE_NONE;
    if (np_probe_try(probe, port, &verdict, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    return verdict;
}

static enum nextport_probe ask_once(enum nextport_protocol protocol, uint16_t port)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_probe *probe = NULL;
    assert_int_equal(np_probe_open(&probe, protocol, &err), NEXTPORT_OK);
    enum nextport_probe verdict = ask(probe, port);
    np_probe_close(probe);
    return verdict;
}

/* ---- A program that holds one situation ------------------------------------------------------------------------ */

struct holder {
    pid_t pid;
    int input;
    uint16_t port; /* 0: this kernel cannot build it */
};

static const char *holder_path(void)
{
    static char path[PATH_MAX + 16];
    char self[PATH_MAX] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(path, sizeof path, "%s/holder", dirname(self));
    return path;
}

static struct holder hold(const char *situation)
{
    int in[2], out[2];
    char line[256] = "";
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    struct holder holder = {.pid = fork(), .input = in[1]};
    if (holder.pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execl(holder_path(), "holder", situation, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    assert_true(read(out[0], line, sizeof line - 1) > 0);
    close(out[0]);
    unsigned port = 0;
    if (sscanf(line, "ready %u", &port) != 1 && strncmp(line, "skip ", 5) != 0)
        fail_msg("%s: %s", situation, line);
    holder.port = (uint16_t)port;
    return holder;
}

static void let_go(struct holder *holder)
{
    close(holder->input);
    waitpid(holder->pid, NULL, 0);
}

/* ---- The socket list -------------------------------------------------------------------------------------------- */

struct found {
    struct np_socket standing, transient, last;
    size_t n;
};

static void find(void *ctx, const struct np_socket *row)
{
    struct found *found = ctx;
    *(row->transient ? &found->transient : &found->standing) = *row;
    found->last = *row;
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
    if (partial)
        print_message("# partial: %s\n", partial);
    return found;
}

/* What the kernel must say about each situation. `state` NULL: no method can see it. */
static const struct expected {
    const char *situation, *state;
    enum nextport_protocol protocol;
    bool transient;
    const char *address;
} matrix[] = {
    {"listen4", "listening", NEXTPORT_TCP, false, "0.0.0.0"},
    {"listen127", "listening", NEXTPORT_TCP, false, "127.0.0.1"},
    {"listen127other", "listening", NEXTPORT_TCP, false, "127.9.9.9"},
    {"listendev", "listening", NEXTPORT_TCP, false, "0.0.0.0"},
    {"listen6", "listening", NEXTPORT_TCP, false, "[::]"},
    {"listen6mapped", "listening", NEXTPORT_TCP, false, "[::ffff:127.0.0.1]"},
    {"listen6only", "listening", NEXTPORT_TCP, false, "[::]"},
    {"listen6lo", "listening", NEXTPORT_TCP, false, "[::1]"},
    {"reuseport", "listening", NEXTPORT_TCP, false, "0.0.0.0"},
    {"reuseport-ra", "listening", NEXTPORT_TCP, false, "0.0.0.0"},
    {"mptcp", "listening", NEXTPORT_TCP, false, "0.0.0.0"},
    {"transparent", "listening", NEXTPORT_TCP, false, "192.0.2.7"},
    {"bound", "bound", NEXTPORT_TCP, false, "0.0.0.0"},
    {"bound-ra", "bound", NEXTPORT_TCP, false, "0.0.0.0"},
    {"bound6", "bound", NEXTPORT_TCP, false, "[::1]"},
    {"failed-connect", "bound", NEXTPORT_TCP, false, "127.0.0.1"},
    {"outgoing4", "established", NEXTPORT_TCP, true, "127.0.0.1"},
    {"outgoing4-bind", "established", NEXTPORT_TCP, true, "127.0.0.1"},
    {"outgoing6", "established", NEXTPORT_TCP, true, "[::1]"},
    {"outgoing-ra-noport", "established", NEXTPORT_TCP, true, "127.0.0.1"},
    {"synsent", "syn-sent", NEXTPORT_TCP, true, "127.0.0.2"},
    {"accepted", "established", NEXTPORT_TCP, true, "127.0.0.1"},
    {"accepted-ra", "established", NEXTPORT_TCP, true, "127.0.0.1"},
    {"accepted6", "established", NEXTPORT_TCP, true, "[::1]"},
    {"closewait", "close-wait", NEXTPORT_TCP, true, "127.0.0.1"},
    {"finwait2", "fin-wait-2", NEXTPORT_TCP, true, "127.0.0.1"},
    {"timewait-server", "time-wait", NEXTPORT_TCP, true, "127.0.0.1"},
    {"timewait-server-ra", "time-wait", NEXTPORT_TCP, true, "127.0.0.1"},
    {"timewait-outgoing", "time-wait", NEXTPORT_TCP, true, "127.0.0.1"},
    {"synqueue", "syn-received", NEXTPORT_TCP, true, "127.0.0.1"},
    {"synqueue", "listening", NEXTPORT_TCP, false, "0.0.0.0"},
    {"udp", "bound", NEXTPORT_UDP, false, "0.0.0.0"},
    {"udp6", "bound", NEXTPORT_UDP, false, "[::1]"},
    {"udp-connected", "connected", NEXTPORT_UDP, true, "127.0.0.1"},
    {"udp", NULL, NEXTPORT_TCP, false, NULL},
    {"raw", NULL, NEXTPORT_TCP, false, NULL},
    {"other-namespace", NULL, NEXTPORT_TCP, false, NULL},
};

static void meets(const struct expected *e, uint16_t port)
{
    struct found found = list(NP_SOCKETS_ALL, e->protocol, port);
    enum nextport_probe verdict = ask_once(e->protocol, port);
    if (!e->state) {
        assert_int_equal(found.n, 0);
        assert_int_equal(verdict, NEXTPORT_PROBE_FREE);
        return;
    }
    const struct np_socket *row = e->transient ? &found.transient : &found.standing;
    assert_int_equal(verdict, NEXTPORT_PROBE_TAKEN);
    assert_int_equal(ask_once(NEXTPORT_BOTH, port), NEXTPORT_PROBE_TAKEN);
    assert_non_null(row->state);
    assert_string_equal(row->state, e->state);
    assert_string_equal(row->address, e->address);
    assert_int_equal(row->port, port);
    assert_int_equal(row->protocol, e->protocol);
}

static void every_situation_that_can_be_seen_is_taken_and_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++) {
        own_namespace();
        struct holder holder = hold(matrix[i].situation);
        print_message("# %s%s\n", matrix[i].situation, holder.port ? "" : ": skipped");
        if (holder.port)
            meets(&matrix[i], holder.port);
        let_go(&holder);
    }
}

static void the_cheap_list_has_listeners_only(void **state)
{
    (void)state;
    own_namespace();
    struct holder listening = hold("listen6"), bound = hold("bound"), udp = hold("udp");
    assert_int_equal(list(NP_SOCKETS_LISTENING, NEXTPORT_TCP, listening.port).n, 1);
    assert_int_equal(list(NP_SOCKETS_LISTENING, NEXTPORT_TCP, bound.port).n, 0);
    assert_int_equal(list(NP_SOCKETS_LISTENING, NEXTPORT_BOTH, udp.port).n, 1);
    let_go(&listening);
    let_go(&bound);
    let_go(&udp);
}

static void ports_that_were_not_asked_for_are_left_out(void **state)
{
    (void)state;
    own_namespace();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct holder holder = hold("listen4");
    struct np_portset around = {0};
    struct found found = {0};
    const char *partial;
    np_portset_add(&around, 1, 65535);
    np_portset_remove(&around, holder.port, holder.port);
    assert_int_equal(np_host_sockets(NP_SOCKETS_ALL, NEXTPORT_BOTH, &around, find, &found, &partial, &err), 0);
    assert_int_equal(found.n, 0);
    let_go(&holder);
}

/* Many answers need more than one datagram. */
static void a_long_list_is_whole(void **state)
{
    (void)state;
    own_namespace();
    enum { MANY = 900 };
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_portset ports = {0};
    struct found found = {0};
    const char *partial;
    int fd[MANY];
    for (int i = 0; i < MANY; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(listen(fd[i], 1), 0);
    }
    np_portset_add(&ports, 1, 65535);
    assert_int_equal(np_host_sockets(NP_SOCKETS_ALL, NEXTPORT_TCP, &ports, find, &found, &partial, &err), 0);
    for (int i = 0; i < MANY; i++)
        close(fd[i]);
    assert_int_equal(found.n, MANY);
}

/* ---- Who has a socket ------------------------------------------------------------------------------------------- */

static void a_socket_leads_to_its_program(void **state)
{
    (void)state;
    own_namespace();
    struct np_arena *arena = np_arena_new();
    struct holder holder = hold("listen4");
    struct np_socket row = list(NP_SOCKETS_ALL, NEXTPORT_TCP, holder.port).last;
    struct np_processes *processes = np_processes_read(arena);
    int64_t pid = 0;
    const char *program = NULL, *unit = NULL;
    assert_true(np_processes_find(processes, row.process_key, &pid, &program, &unit));
    assert_int_equal(pid, holder.pid);
    assert_string_equal(program, "holder");
    assert_false(np_processes_find(processes, 0, &pid, &program, &unit));
    let_go(&holder);
    np_arena_free(arena);
}

static void what_this_user_may_not_read_is_known_to_be_hidden(void **state)
{
    (void)state;
    own_namespace();
    struct np_arena *arena = np_arena_new();
    assert_int_equal(seteuid(NOBODY), 0);
    bool hidden = np_processes_hidden(np_processes_read(arena));
    assert_int_equal(seteuid(0), 0);
    assert_true(hidden);
    np_arena_free(arena);
}

/* ---- The probe -------------------------------------------------------------------------------------------------- */

static void a_free_port_is_held_until_it_is_let_go(void **state)
{
    (void)state;
    own_namespace();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_probe *probe = NULL;
    assert_int_equal(np_probe_open(&probe, NEXTPORT_TCP, &err), NEXTPORT_OK);
    assert_int_equal(ask(probe, 50000), NEXTPORT_PROBE_FREE);
    assert_int_equal(ask(probe, 50001), NEXTPORT_PROBE_FREE);
    assert_int_equal(ask_once(NEXTPORT_TCP, 50000), NEXTPORT_PROBE_TAKEN);
    assert_int_equal(ask_once(NEXTPORT_UDP, 50000), NEXTPORT_PROBE_FREE);
    np_probe_release(probe, 50000);
    np_probe_release(probe, 50000);
    assert_int_equal(ask_once(NEXTPORT_TCP, 50000), NEXTPORT_PROBE_FREE);
    assert_int_equal(ask_once(NEXTPORT_TCP, 50001), NEXTPORT_PROBE_TAKEN);
    np_probe_close(probe);
    assert_int_equal(ask_once(NEXTPORT_TCP, 50001), NEXTPORT_PROBE_FREE);
}

static bool is_listening(uint16_t port)
{
    const struct found found = list(NP_SOCKETS_LISTENING, NEXTPORT_TCP, port);
    return found.n == 1;
}

static void a_socket_that_was_taken_holds_the_port_without_the_probe(void **state)
{
    (void)state;
    own_namespace();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_probe *probe = NULL;
    assert_int_equal(np_probe_open(&probe, NEXTPORT_BOTH, &err), NEXTPORT_OK);
    assert_int_equal(ask(probe, 50000), NEXTPORT_PROBE_FREE);
    assert_int_equal(ask(probe, 50001), NEXTPORT_PROBE_FREE);
    const int taken = (int)np_probe_take(probe, 50000);
    assert_true(taken >= 0);
    assert_true(fcntl(taken, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(np_probe_take(probe, 50000), -1);
    assert_int_equal(np_probe_take(probe, 50002), -1);
    assert_int_equal(ask_once(NEXTPORT_UDP, 50000), NEXTPORT_PROBE_TAKEN);
    np_probe_close(probe);
    assert_int_equal(ask_once(NEXTPORT_UDP, 50000), NEXTPORT_PROBE_FREE);
    assert_int_equal(ask_once(NEXTPORT_TCP, 50000), NEXTPORT_PROBE_TAKEN);
    assert_int_equal(ask_once(NEXTPORT_TCP, 50001), NEXTPORT_PROBE_FREE);
    assert_false(is_listening(50000));
    assert_int_equal(listen(taken, 1), 0);
    assert_true(is_listening(50000));
    close(taken);
    assert_int_equal(ask_once(NEXTPORT_TCP, 50000), NEXTPORT_PROBE_FREE);
}

static enum nextport_probe ask_again(struct np_probe *probe, uint16_t port)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    enum nextport_probe verdict = NEXTPORT_PROBE_NONE;
    if (np_probe_try_again(probe, port, &verdict, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    return verdict;
}

/* What its owner may bind again is still nobody else's, and the next question is as strict as the first. */
static void a_port_with_old_connections_is_free_for_its_owner_alone(void **state)
{
    (void)state;
    static const struct {
        const char *situation;
        enum nextport_protocol protocol;
        enum nextport_probe again;
    } rows[] = {
        {"timewait-server-ra", NEXTPORT_TCP, NEXTPORT_PROBE_FREE}, {"accepted-ra", NEXTPORT_TCP, NEXTPORT_PROBE_FREE},
        {"timewait-server", NEXTPORT_TCP, NEXTPORT_PROBE_TAKEN},   {"listen4", NEXTPORT_TCP, NEXTPORT_PROBE_TAKEN},
        {"reuseport-ra", NEXTPORT_TCP, NEXTPORT_PROBE_TAKEN},      {"udp", NEXTPORT_UDP, NEXTPORT_PROBE_TAKEN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        own_namespace();
        struct holder holder = hold(rows[i].situation);
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        struct np_probe *probe = NULL;
        print_message("# %s%s\n", rows[i].situation, holder.port ? "" : ": skipped");
        assert_int_equal(np_probe_open(&probe, rows[i].protocol, &err), NEXTPORT_OK);
        if (holder.port) {
            assert_int_equal(ask(probe, holder.port), NEXTPORT_PROBE_TAKEN);
            assert_int_equal(ask_again(probe, holder.port), rows[i].again);
            assert_int_equal(ask(probe, holder.port), NEXTPORT_PROBE_TAKEN);
        }
        np_probe_close(probe);
        let_go(&holder);
    }
}

static void of_udp_there_is_no_socket_to_take(void **state)
{
    (void)state;
    own_namespace();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_probe *probe = NULL;
    assert_int_equal(np_probe_open(&probe, NEXTPORT_UDP, &err), NEXTPORT_OK);
    assert_int_equal(ask(probe, 50000), NEXTPORT_PROBE_FREE);
    assert_int_equal(np_probe_take(probe, 50000), -1);
    assert_int_equal(ask_once(NEXTPORT_UDP, 50000), NEXTPORT_PROBE_TAKEN);
    np_probe_close(probe);
}

static void both_means_that_tcp_and_udp_are_free(void **state)
{
    (void)state;
    own_namespace();
    struct holder udp = hold("udp"), tcp = hold("listen127");
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_probe *probe = NULL;
    assert_int_equal(np_probe_open(&probe, NEXTPORT_BOTH, &err), NEXTPORT_OK);
    assert_int_equal(ask(probe, udp.port), NEXTPORT_PROBE_TAKEN);
    assert_int_equal(ask_once(NEXTPORT_TCP, udp.port), NEXTPORT_PROBE_FREE); /* nothing is held of a half success */
    assert_int_equal(ask(probe, tcp.port), NEXTPORT_PROBE_TAKEN);
    assert_int_equal(ask(probe, 50000), NEXTPORT_PROBE_FREE);
    assert_int_equal(ask_once(NEXTPORT_UDP, 50000), NEXTPORT_PROBE_TAKEN);
    assert_int_equal(ask_once(NEXTPORT_TCP, 50000), NEXTPORT_PROBE_TAKEN);
    np_probe_close(probe);
    let_go(&udp);
    let_go(&tcp);
}

static void a_port_that_this_user_may_not_bind_is_denied(void **state)
{
    (void)state;
    own_namespace();
    assert_int_equal(seteuid(NOBODY), 0);
    enum nextport_probe verdict = ask_once(NEXTPORT_TCP, 80);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(verdict, NEXTPORT_PROBE_DENIED);
}

static void more_ports_than_the_soft_limit_of_files_can_be_held(void **state)
{
    (void)state;
    own_namespace();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct rlimit before, now;
    struct np_probe *probe = NULL;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(np_probe_open(&probe, NEXTPORT_TCP, &err), NEXTPORT_OK);
    for (uint16_t port = 50000; port < 50300; port++)
        assert_int_equal(ask(probe, port), NEXTPORT_PROBE_FREE);
    np_probe_close(probe);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(now.rlim_cur, 64);
}

/* In a child, because a hard limit cannot be raised again without privilege. */
static void too_low_a_limit_of_files_is_said(void **state)
{
    (void)state;
    own_namespace();
    pid_t child = fork();
    if (child == 0) {
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        struct rlimit low = {.rlim_cur = 20, .rlim_max = 24};
        struct np_probe *probe = NULL;
        enum nextport_probe verdict;
        enum nextport_status status = NEXTPORT_OK;
        if (setrlimit(RLIMIT_NOFILE, &low) != 0 || np_probe_open(&probe, NEXTPORT_TCP, &err) != NEXTPORT_OK)
            _exit(2);
        for (uint16_t port = 50000; port < 50100 && !status; port++)
            status = np_probe_try(probe, port, &verdict, &err);
        np_probe_close(probe);
        print_message("# %s. %s\n", err.text, err.hint);
        _exit(status == NEXTPORT_BLIND && strncmp(err.text, "probe port 500", 14) == 0 && err.hint[0] ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

/* The lowest free file descriptor. */
static int lowest_file(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    return fd;
}

/* From now on this process finds no IPv6 in the kernel. */
static bool take_ipv6_away(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void without_ipv6_the_probe_asks_ipv4(void **state)
{
    (void)state;
    own_namespace();
    struct holder holder = hold("listen127other");
    pid_t child = fork();
    if (child == 0) {
        if (!take_ipv6_away())
            _exit(77);
        bool sound = ask_once(NEXTPORT_BOTH, holder.port) == NEXTPORT_PROBE_TAKEN &&
                     ask_once(NEXTPORT_BOTH, holder.port == 50000 ? 50001 : 50000) == NEXTPORT_PROBE_FREE;
        _exit(sound ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    let_go(&holder);
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static void a_failed_try_costs_no_file(void **state)
{
    (void)state;
    own_namespace();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct holder holder = hold("listen4");
    struct np_probe *probe = NULL;
    assert_int_equal(np_probe_open(&probe, NEXTPORT_BOTH, &err), NEXTPORT_OK);
    assert_int_equal(ask(probe, holder.port), NEXTPORT_PROBE_TAKEN);
    int before = lowest_file();
    for (int i = 0; i < 5000; i++)
        assert_int_equal(ask(probe, holder.port), NEXTPORT_PROBE_TAKEN);
    assert_int_equal(lowest_file(), before);
    np_probe_close(probe);
    let_go(&holder);
}

/* ---- What the system keeps for itself --------------------------------------------------------------------------- */

static void write_sysctl(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        skip();
    for (size_t left = strlen(text); left > 0;) { /* one write takes 4 KiB at most */
        ssize_t n = write(fd, text, left);
        assert_true(n > 0);
        text += n;
        left -= (size_t)n;
    }
    close(fd);
}

static void reserved_ports_are_read_whole_however_many_there_are(void **state)
{
    (void)state;
    own_namespace();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_os_ports os;
    static char list[16384];
    size_t len = 0;
    for (unsigned port = 20000; port < 24000; port += 2)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%u", len ? "," : "", port);
    snprintf(list + len, sizeof list - len, ",40000-40009\n");
    write_sysctl("/proc/sys/net/ipv4/ip_local_reserved_ports", list);
    assert_int_equal(np_host_os_ports(NULL, false, &os, &err), NEXTPORT_OK);
    assert_int_equal(np_portset_count(&os.reserved), 2010);
    assert_true(np_portset_has(&os.reserved, 23998));
    assert_false(np_portset_has(&os.reserved, 23999));
    assert_true(np_portset_has(&os.reserved, 40009));
}

static void a_machine_as_installed_reserves_nothing(void **state)
{
    (void)state;
    own_namespace();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_os_ports os;
    assert_int_equal(np_host_os_ports(NULL, false, &os, &err), NEXTPORT_OK);
    assert_int_equal(np_portset_count(&os.reserved), 0);
    assert_true(os.ephemeral_first >= 1 && os.ephemeral_first <= os.ephemeral_last);
    assert_int_equal(os.unprivileged_first, 1024);
    assert_true(os.may_bind_low);
    assert_int_equal(seteuid(NOBODY), 0);
    enum nextport_status status = np_host_os_ports(NULL, false, &os, &err);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, NEXTPORT_OK);
    assert_false(os.may_bind_low);
}

/* ---- Identity --------------------------------------------------------------------------------------------------- */

static void root_and_others_agree_on_the_namespace(void **state)
{
    (void)state;
    own_namespace();
    struct np_arena *arena = np_arena_new();
    const char *root = np_host_scope(arena);
    assert_int_equal(seteuid(NOBODY), 0);
    const char *other = np_host_scope(arena);
    assert_int_equal(seteuid(0), 0);
    assert_string_equal(root, other);
    assert_int_equal(strncmp(root, "net:", 4), 0);
    own_namespace();
    assert_string_not_equal(np_host_scope(arena), root);
    np_arena_free(arena);
}

static void users_are_named_for_the_log(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    if (geteuid() != 0)
        skip();
    assert_string_equal(np_host_user(arena), "root");
    assert_true(np_host_privileged());
    assert_int_equal(seteuid(NOBODY), 0);
    const char *user = np_host_user(arena);
    bool privileged = np_host_privileged();
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(strncmp(user, "65534", 5), 0);
    assert_false(privileged);
    np_arena_free(arena);
}

static void system_errors_read_as_part_of_a_sentence(void **state)
{
    (void)state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(np_fail_errno(&err, NEXTPORT_DENIED, EACCES, "open '%s'", "/x"), NEXTPORT_DENIED);
    assert_string_equal(err.text, "open '/x': permission denied");
    np_fail_errno(&err, NEXTPORT_FAILED, 99999, "x");
    assert_string_equal(err.text, "x: system error 99999");
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_situation_that_can_be_seen_is_taken_and_named),
        cmocka_unit_test(the_cheap_list_has_listeners_only),
        cmocka_unit_test(ports_that_were_not_asked_for_are_left_out),
        cmocka_unit_test(a_long_list_is_whole),
        cmocka_unit_test(a_socket_leads_to_its_program),
        cmocka_unit_test(what_this_user_may_not_read_is_known_to_be_hidden),
        cmocka_unit_test(a_free_port_is_held_until_it_is_let_go),
        cmocka_unit_test(a_socket_that_was_taken_holds_the_port_without_the_probe),
        cmocka_unit_test(a_port_with_old_connections_is_free_for_its_owner_alone),
        cmocka_unit_test(of_udp_there_is_no_socket_to_take),
        cmocka_unit_test(both_means_that_tcp_and_udp_are_free),
        cmocka_unit_test(a_port_that_this_user_may_not_bind_is_denied),
        cmocka_unit_test(more_ports_than_the_soft_limit_of_files_can_be_held),
        cmocka_unit_test(too_low_a_limit_of_files_is_said),
        cmocka_unit_test(without_ipv6_the_probe_asks_ipv4),
        cmocka_unit_test(a_failed_try_costs_no_file),
        cmocka_unit_test(reserved_ports_are_read_whole_however_many_there_are),
        cmocka_unit_test(a_machine_as_installed_reserves_nothing),
        cmocka_unit_test(root_and_others_agree_on_the_namespace),
        cmocka_unit_test(users_are_named_for_the_log),
        cmocka_unit_test(system_errors_read_as_part_of_a_sentence),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
