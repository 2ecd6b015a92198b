/* The life of leases: what each look does for those it can move on.
SPDX-License-Identifier: MIT */
#include "facade/run.h"

static void claim_socket(void *ctx, const struct np_socket *socket)
{
    np_evidence_claim(ctx, &(struct nextport_claim){.first = socket->port,
                                                    .last = socket->port,
                                                    .protocol = socket->protocol,
                                                    .kind = NEXTPORT_SOCKET,
                                                    .transient = socket->transient,
                                                    .address = socket->address,
                                                    .detail = socket->state,
                                                    .source = np_source_sockets.name});
}

static bool is_due(const struct np_run *run, const struct nextport_lease *lease)
{
    return lease->state == NEXTPORT_PENDING && lease->expires <= run->actor.now;
}

/* Only a lease that is due is worth a look at the sockets: it costs a walk over all listeners. */
enum nextport_status np_run_look_at_due(struct np_run *run, struct nextport_error *err)
{
    struct np_portset due = {{0}};
    const char *partial;
    for (size_t i = 0; i < run->leases.n; i++)
        if (is_due(run, &run->leases.items[i]))
            np_portset_add(&due, run->leases.items[i].port, run->leases.items[i].port);
    if (!np_portset_next(&due, 1))
        return NEXTPORT_OK;
    return np_host_sockets(NP_SOCKETS_LISTENING, NEXTPORT_BOTH, &due, claim_socket, &run->evidence, &partial, err);
}

static bool hides_something(const struct np_evidence *evidence)
{
    for (size_t i = 0; i < evidence->n_sightings; i++)
        if (evidence->sightings[i].sight == NEXTPORT_PARTIAL || evidence->sightings[i].sight == NEXTPORT_UNREADABLE)
            return true;
    return false;
}

static enum nextport_status occupied(struct np_run *run, uint16_t port, bool *ret, struct nextport_error *err)
{
    enum nextport_probe answer;
    if (np_probe_try(run->probe, port, &answer, err) != NEXTPORT_OK)
        return err->status;
    if (answer == NEXTPORT_PROBE_FREE)
        np_probe_release(run->probe, port);
    *ret = answer != NEXTPORT_PROBE_FREE;
    return NEXTPORT_OK;
}

static enum nextport_status step(struct np_run *run, const struct nextport_lease *lease, bool hidden, bool *ret_gone,
                                 bool *ret_stepped, struct nextport_error *err)
{
    const struct nextport_claim *use = np_lease_use(&run->evidence, lease->port);
    bool taken = false;
    *ret_gone = *ret_stepped = false;
    if (is_due(run, lease) && !use && occupied(run, lease->port, &taken, err) != NEXTPORT_OK)
        return err->status;
    switch (np_lease_next_step(lease, run->actor.now, use, taken, hidden)) {
    case NP_LEASE_KEEP:
        return NEXTPORT_OK;
    case NP_LEASE_CONFIRM:
        *ret_stepped = true;
        np_note(&run->log, NEXTPORT_VERBOSE, "port %u: seen in use by %s, its lease is confirmed", lease->port,
                use->holder ? use->holder : use->source);
        return run->ops->confirm(run->ledger, lease, use->holder, err);
    case NP_LEASE_EXPIRE:
        *ret_gone = *ret_stepped = true;
        np_note(&run->log, NEXTPORT_VERBOSE, "port %u: promised, never seen in use, its lease has expired",
                lease->port);
        return run->ops->drop(run->ledger, lease, "expired", err);
    }
    return NEXTPORT_OK;
}

/* Moves on the leases that can be, a bounded number, the lowest ports first. */
enum nextport_status np_run_steps(struct np_run *run, size_t *ret_stepped, struct nextport_error *err)
{
    struct np_portset seen = {{0}};
    bool hidden = hides_something(&run->evidence);
    size_t kept = 0;
    *ret_stepped = 0;
    for (size_t i = 0; i < run->evidence.n_claims; i++)
        np_portset_add(&seen, run->evidence.claims[i].first, run->evidence.claims[i].last);
    for (size_t i = 0; i < run->leases.n; i++) {
        struct nextport_lease *lease = &run->leases.items[i];
        bool gone = false, stepped = false;
        bool may = is_due(run, lease) || (lease->state == NEXTPORT_PENDING && np_portset_has(&seen, lease->port));
        if (may && *ret_stepped < NP_STEPS_AT_ONCE && step(run, lease, hidden, &gone, &stepped, err) != NEXTPORT_OK)
            return err->status;
        if (stepped && !gone)
            lease->state = NEXTPORT_CONFIRMED;
        *ret_stepped += stepped;
        if (!gone)
            run->leases.items[kept++] = *lease;
    }
    run->leases.n = kept;
    return NEXTPORT_OK;
}
