/* What the kernel has in use now, and the bind probe's row.
 * SPDX-License-Identifier: MIT */
#include "source/source.h"

struct finding {
    struct np_look *look;
    struct np_processes *processes; /* NULL: not asked for */
    uint64_t n_hidden;              /* sockets of programs that this user may not look into */
};

static void sight(struct np_look *look, enum nextport_sight sight, enum nextport_policy policy, const char *why,
                  const char *hint)
{
    np_evidence_sight(look->ret, "sockets", sight, policy, why, hint);
}

struct nextport_claim np_socket_claim(const struct np_socket *socket)
{
    return (struct nextport_claim){.first = socket->port,
                                   .last = socket->port,
                                   .protocol = socket->protocol,
                                   .kind = NEXTPORT_SOCKET,
                                   .transient = socket->transient,
                                   .address = socket->address,
                                   .detail = socket->state,
                                   .source = "sockets"};
}

static void claim(void *ctx, const struct np_socket *socket)
{
    struct finding *finding = ctx;
    struct nextport_claim claim = np_socket_claim(socket);
    if (finding->processes &&
        !np_processes_find(finding->processes, socket->process_key, &claim.pid, &claim.holder, &claim.unit) &&
        socket->process_key && np_processes_hidden(finding->processes))
        finding->n_hidden++;
    np_evidence_claim(finding->look->ret, &claim);
}

static const char *others_unasked(enum nextport_protocol protocol)
{
    switch (protocol) {
    case NEXTPORT_TCP:
        return "udp (ask with --protocol both), ";
    case NEXTPORT_UDP:
        return "tcp (ask with --protocol both), ";
    case NEXTPORT_BOTH:
        break;
    }
    return "";
}

/* What no user can see on this kernel is no reason to refuse by default: the bind probe sees it. */
static void sight_partial(struct np_look *look, enum nextport_policy policy, const char *partial)
{
    if (policy == NEXTPORT_REQUIRE && !look->settings->strict)
        policy = NEXTPORT_WARN;
    sight(look, NEXTPORT_PARTIAL, policy, partial, "Ask 'nextport why PORT': its bind probe sees every socket.");
}

static enum nextport_status look_at_machine(struct np_look *look, enum nextport_policy policy,
                                            struct nextport_error *err)
{
    const char *partial;
    struct finding finding = {.look = look, .processes = look->thorough ? np_processes_read(look->ret->arena) : NULL};
    if (np_host_sockets(NP_SOCKETS_ALL, look->protocol, &look->ports, claim, &finding, &partial, err)) {
        sight(look, NEXTPORT_UNREADABLE, policy, err->text, err->hint[0] ? err->hint : NULL);
        *err = (struct nextport_error)NEXTPORT_ERROR_INIT;
        return NEXTPORT_OK;
    }
    np_note(look->ret->log, NEXTPORT_VERBOSE, "not looked at: %s%s", others_unasked(look->protocol), np_sockets_unseen);
    if (finding.n_hidden)
        np_note(look->ret->log, NEXTPORT_INFO, "the programs of %llu socket%s cannot be seen: %s",
                (unsigned long long)finding.n_hidden, finding.n_hidden == 1 ? "" : "s",
                np_host_privileged() ? "their processes are out of sight of this one"
                                     : np_sprintf(look->ret->arena, "%s sees them", np_host_words.admin));
    if (partial)
        sight_partial(look, policy, partial);
    else
        sight(look, NEXTPORT_SEEN, policy, NULL, NULL);
    return NEXTPORT_OK;
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    enum nextport_policy policy = np_settings_policy(look->settings, "sockets");
    if (!look->settings->root)
        return look_at_machine(look, policy, err);
    sight(look, NEXTPORT_ABSENT, policy, "--root reads files only", NULL);
    return NEXTPORT_OK;
}

const struct np_source np_source_sockets = {
    .name = "sockets",
    .about = "TCP and UDP sockets of every state, from the kernel",
    .policy = NEXTPORT_REQUIRE,
    .adopts = "project",
    .adopts_when_asked = true,
    .look = look,
};

/* Asked by the plan, port for port. */
const struct np_source np_source_probe = {
    .name = "probe",
    .about = "a trial bind, the last word on every port that is given",
    .policy = NEXTPORT_REQUIRE,
    .fixed = true,
};
