/* Every socket of this network namespace, from the kernel itself: sock_diag(7) over netlink, without a library.
 *
 * TCP is asked for in all states and, beyond those, for sockets that are bound and do not listen, which /proc/net/tcp
 * and older tools leave out. Kernels before 6.8 cannot tell of those; they ignore the question, so the release number
 * decides whether the answer was whole. (A socket of our own to test it with would take a port that somebody may be
 * about to bind.) The bind probe sees bound sockets on every kernel.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

const char np_sockets_unseen[] = "raw sockets, other network namespaces";

/* The kernel's numbers, of which <netinet/tcp.h> lacks the last two. */
enum {
    ESTABLISHED = 1,
    SYN_SENT,
    SYN_RECV,
    FIN_WAIT1,
    FIN_WAIT2,
    TIME_WAIT,
    CLOSE,
    CLOSE_WAIT,
    LAST_ACK,
    LISTEN,
    CLOSING,
    NEW_SYN_RECV,
    BOUND_INACTIVE,
    N_STATES,
};

#define BIT(state) (1u << (state))
#define ALL_STATES (BIT(N_STATES) - BIT(ESTABLISHED))

enum { RECEIVE_SIZE = 64 * 1024, TRIES = 3 };

struct state {
    const char *name;
    bool standing;
};

/* Rows asked for as BOUND_INACTIVE come back as CLOSE. */
static const struct state tcp_states[N_STATES] = {
    [0] = {"unknown", true},
    [ESTABLISHED] = {"established", false},
    [SYN_SENT] = {"syn-sent", false},
    [SYN_RECV] = {"syn-received", false},
    [FIN_WAIT1] = {"fin-wait-1", false},
    [FIN_WAIT2] = {"fin-wait-2", false},
    [TIME_WAIT] = {"time-wait", false},
    [CLOSE] = {"bound", true},
    [CLOSE_WAIT] = {"close-wait", false},
    [LAST_ACK] = {"last-ack", false},
    [LISTEN] = {"listening", true},
    [CLOSING] = {"closing", false},
    [NEW_SYN_RECV] = {"syn-received", false},
    [BOUND_INACTIVE] = {"bound", true},
};

static const struct state udp_connected = {"connected", false}, udp_bound = {"bound", true};

/* What is asked in one dump. */
struct question {
    int family, ip_protocol;
    enum nextport_protocol protocol;
    uint32_t states;
    uint16_t first, last; /* ports; more rows may come, for other reasons too */
};

/* Answers are kept until the last one came: a dump that was disturbed begins again from nothing. */
struct answers {
    struct np_arena *arena;
    const struct np_portset *ports;
    struct np_socket *rows;
    size_t n, capacity;
};

struct request {
    struct nlmsghdr header;
    struct inet_diag_req_v2 ask;
    struct nlattr filter;
    struct inet_diag_bc_op ops[4];
};

/* The filter, a program of the kernel's little machine: port >= first and port <= last. An operation with an operand
 * takes eight bytes, the operand in `no` of its second half; a jump to four bytes beyond the end rejects. */
static struct request compose(const struct question *question)
{
    enum { OP = sizeof(struct inet_diag_bc_op), SIZE = 4 * OP };
    return (struct request){
        .header = {.nlmsg_len = sizeof(struct request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .ask = {.sdiag_family = (uint8_t)question->family,
                .sdiag_protocol = (uint8_t)question->ip_protocol,
                .idiag_states = question->states},
        .filter = {.nla_len = sizeof(struct nlattr) + SIZE, .nla_type = INET_DIAG_REQ_BYTECODE},
        .ops = {{.code = INET_DIAG_BC_S_GE, .yes = 2 * OP, .no = SIZE + OP},
                {.no = question->first},
                {.code = INET_DIAG_BC_S_LE, .yes = 2 * OP, .no = SIZE - 2 * OP + OP},
                {.no = question->last}},
    };
}

static void format_address(char ret[64], const struct inet_diag_msg *message)
{
    char text[INET6_ADDRSTRLEN] = "?";
    inet_ntop(message->idiag_family, message->id.idiag_src, text, sizeof text);
    snprintf(ret, 64, message->idiag_family == AF_INET6 ? "[%s]" : "%s", text);
}

static const struct state *state_of(enum nextport_protocol protocol, uint8_t number)
{
    if (protocol == NEXTPORT_UDP)
        return number == ESTABLISHED ? &udp_connected : &udp_bound;
    return &tcp_states[number < N_STATES ? number : 0];
}

static void add_row(struct answers *answers, const struct question *question, const struct inet_diag_msg *message)
{
    uint16_t port = ntohs(message->id.idiag_sport);
    if (!np_portset_has(answers->ports, port))
        return;
    struct np_socket *row = np_push(answers->arena, &answers->rows, &answers->n, &answers->capacity, sizeof *row);
    const struct state *state = state_of(question->protocol, message->idiag_state);
    row->port = port;
    row->protocol = question->protocol;
    row->state = state->name;
    row->transient = !state->standing;
    row->process_key = message->idiag_inode;
    format_address(row->address, message);
}

/* Takes in what one datagram holds. Returns an errno value; EAGAIN: disturbed, begin again. *ret_done: it was the
 * last. */
static int take(struct answers *answers, const struct question *question, const char *bytes, size_t len, bool *ret_done)
{
    while (len >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr header;
        memcpy(&header, bytes, sizeof header);
        const char *payload = bytes + NLMSG_HDRLEN;
        if (header.nlmsg_len < sizeof header || header.nlmsg_len > len)
            return EBADMSG;
        if (header.nlmsg_flags & NLM_F_DUMP_INTR)
            return EAGAIN;
        size_t size = header.nlmsg_len - NLMSG_HDRLEN;
        int code = 0; /* the end of a dump and an error both carry a negative errno value first */
        if (size >= sizeof code)
            memcpy(&code, payload, sizeof code);
        if (header.nlmsg_type == NLMSG_OVERRUN)
            return EAGAIN;
        if (header.nlmsg_type == NLMSG_ERROR)
            return code < 0 ? -code : EBADMSG;
        if (header.nlmsg_type == NLMSG_DONE) {
            *ret_done = true;
            return code < 0 ? -code : 0;
        }
        if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
            struct inet_diag_msg message;
            if (size < sizeof message)
                return EBADMSG;
            memcpy(&message, payload, sizeof message);
            add_row(answers, question, &message);
        }
        size_t step = NLMSG_ALIGN(header.nlmsg_len);
        bytes += step < len ? step : len;
        len -= step < len ? step : len;
    }
    return 0;
}

ssize_t np_netlink_receive(int fd, void *buf, size_t size)
{
    for (;;) {
        struct sockaddr_nl from = {0};
        struct iovec part = {.iov_base = buf, .iov_len = size};
        struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
        ssize_t n = recvmsg(fd, &message, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (from.nl_pid != 0)
            continue;
        if (message.msg_flags & MSG_TRUNC || n == 0) {
            errno = EBADMSG;
            return -1;
        }
        return n;
    }
}

static int dump_on(int fd, struct answers *answers, const struct question *question, char *buf)
{
    struct request request = compose(question);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return errno;
    for (bool done = false; !done;) {
        ssize_t n = np_netlink_receive(fd, buf, RECEIVE_SIZE);
        if (n < 0)
            return errno == ENOBUFS ? EAGAIN : errno;
        int failed = take(answers, question, buf, (size_t)n, &done);
        if (failed)
            return failed;
    }
    return 0;
}

/* A socket for each try: what is left of a disturbed dump goes away with it. */
static int dump(struct answers *answers, const struct question *question, char *buf)
{
    size_t before = answers->n;
    int failed = EAGAIN;
    for (int i = 0; i < TRIES && failed == EAGAIN; i++) {
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
        if (fd < 0)
            return errno;
        answers->n = before;
        failed = dump_on(fd, answers, question, buf);
        close(fd);
    }
    return failed;
}

static enum nextport_status dump_failed(int errnum, enum nextport_protocol protocol, struct nextport_error *err)
{
    const char *name = protocol == NEXTPORT_TCP ? "tcp" : "udp";
    np_fail_errno(err, NEXTPORT_BLIND, errnum, "list %s sockets", name);
    if (errnum == ENOENT)
        np_hint(err, "The kernel's module %s_diag is missing: load it (modprobe %s_diag).", name, name);
    else if (errnum == EAGAIN)
        np_hint(err, "The kernel's answer was disturbed %d times in a row: run it again.", TRIES);
    return err->status;
}

static bool tells_bound_sockets(void)
{
    struct utsname system;
    unsigned major = 0, minor = 0;
    if (uname(&system) != 0 || sscanf(system.release, "%u.%u", &major, &minor) != 2)
        return false;
    return major > 6 || (major == 6 && minor >= 8);
}

static struct nextport_range span(const struct np_portset *ports)
{
    struct nextport_range run, all = {0};
    for (uint32_t from = 1; np_portset_run(ports, from, &run); from = run.last + UINT32_C(1)) {
        all.first = all.first ? all.first : run.first;
        all.last = run.last;
    }
    return all;
}

static enum nextport_status ask(struct answers *answers, enum np_socket_scope scope, enum nextport_protocol protocol,
                                char *buf, struct nextport_error *err)
{
    static const struct {
        enum nextport_protocol protocol;
        int ip_protocol;
        uint32_t listening;
    } kinds[] = {{NEXTPORT_TCP, IPPROTO_TCP, BIT(LISTEN)}, {NEXTPORT_UDP, IPPROTO_UDP, BIT(CLOSE)}};
    static const int families[] = {AF_INET, AF_INET6};
    struct nextport_range all = span(answers->ports);
    for (size_t i = 0; i < 4; i++) {
        struct question question = {.family = families[i % 2],
                                    .protocol = kinds[i / 2].protocol,
                                    .ip_protocol = kinds[i / 2].ip_protocol,
                                    .states = scope == NP_SOCKETS_LISTENING ? kinds[i / 2].listening : ALL_STATES,
                                    .first = all.first,
                                    .last = all.last};
        int failed = protocol & question.protocol ? dump(answers, &question, buf) : 0;
        if (failed)
            return dump_failed(failed, question.protocol, err);
    }
    return NEXTPORT_OK;
}

enum nextport_status np_host_sockets(enum np_socket_scope scope, enum nextport_protocol protocol,
                                     const struct np_portset *ports, np_socket_fn *each, void *ctx,
                                     const char **partial, struct nextport_error *err)
{
    struct answers answers = {.arena = np_arena_new(), .ports = ports};
    char *buf = np_alloc(answers.arena, RECEIVE_SIZE);
    enum nextport_status status = ask(&answers, scope, protocol, buf, err);
    *partial = NULL;
    if (!status && scope == NP_SOCKETS_ALL && protocol & NEXTPORT_TCP && !tells_bound_sockets())
        *partial = "sockets that are bound but do not listen (the kernel tells of them from Linux 6.8 on)";
    for (size_t i = 0; !status && i < answers.n; i++)
        each(ctx, &answers.rows[i]);
    np_arena_free(answers.arena);
    return status;
}
