/* The life of leases: what each look does for those it can move on.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

static void claim_socket(void *ctx, const struct np_socket *socket)
{
    const struct nextport_claim claim = np_socket_claim(socket);
    np_evidence_claim(ctx, &claim);
}

static bool is_due(const struct np_run *run, const struct nextport_lease *lease)
{
    return lease->state == NEXTPORT_PENDING && lease->expires <= run->actor.now;
}

/* Only a lease that is due is worth a look at the sockets: it costs a walk over all listeners. */
static enum nextport_status look_at_sockets(struct np_run *run, const struct np_portset *due,
                                            struct nextport_error *err)
{
    const char *partial;
    if (!np_portset_next(due, 1))
        return NEXTPORT_OK;
    return np_host_sockets(NP_SOCKETS_LISTENING, NEXTPORT_BOTH, due, claim_socket, &run->evidence, &partial, err);
}

enum nextport_status np_run_look_at_due(struct np_run *run, struct nextport_error *err)
{
    struct np_portset due;
    if (run->ops->pending(run->ledger, run->actor.scope, run->actor.now, &due, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    return look_at_sockets(run, &due, err);
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

static enum nextport_status confirm(struct np_run *run, const struct nextport_lease *lease,
                                    const struct nextport_claim *use, struct nextport_error *err)
{
    struct nextport_lease *known = np_leases_at(&run->leases, lease->port);
    np_note(&run->log, NEXTPORT_VERBOSE, "port %u: seen in use by %s, its lease is confirmed", lease->port,
            use->holder ? use->holder : use->source);
    if (known)
        known->state = NEXTPORT_CONFIRMED;
    return run->ops->confirm(run->ledger, lease, use->holder, err);
}

static enum nextport_status expire(struct np_run *run, const struct nextport_lease *lease, struct nextport_error *err)
{
    np_note(&run->log, NEXTPORT_VERBOSE, "port %u: promised, never seen in use, its lease has expired", lease->port);
    np_leases_remove(&run->leases, lease->port);
    return run->ops->drop(run->ledger, lease, "expired", err);
}

static enum nextport_status step(struct np_run *run, uint16_t port, bool hidden, size_t *stepped,
                                 struct nextport_error *err)
{
    struct nextport_lease lease;
    bool found, taken = false;
    if (run->ops->find(run->ledger, run->actor.scope, port, run->arena, &lease, &found, err) != NEXTPORT_OK)
        return err->status;
    if (!found)
        return NEXTPORT_OK;
    const struct nextport_claim *use = np_lease_use(&run->evidence, port, lease.protocol);
    if (is_due(run, &lease) && !use && occupied(run, port, &taken, err) != NEXTPORT_OK)
        return err->status;
    enum np_lease_step next = np_lease_next_step(&lease, run->actor.now, use, taken, hidden);
    *stepped += next != NP_LEASE_KEEP;
    switch (next) {
    case NP_LEASE_KEEP:
        break;
    case NP_LEASE_CONFIRM:
        return confirm(run, &lease, use, err);
    case NP_LEASE_EXPIRE:
        return expire(run, &lease, err);
    }
    return NEXTPORT_OK;
}

/* The pending leases that this look may move on: those on a port that something claims, and those due. */
static enum nextport_status movable(struct np_run *run, struct np_portset *ret, struct nextport_error *err)
{
    struct np_portset claimed = {{0}}, due, unleased, idle;
    if (run->ops->pending(run->ledger, run->actor.scope, run->actor.now, &due, err) != NEXTPORT_OK)
        return err->status;
    for (size_t i = 0; i < run->evidence.n_claims; i++)
        np_portset_add(&claimed, run->evidence.claims[i].first, run->evidence.claims[i].last);
    unleased = claimed;
    np_portset_subtract(&unleased, &run->leases.taken);
    np_portset_subtract(&claimed, &unleased);
    *ret = due;
    if (!np_portset_next(&claimed, 1))
        return NEXTPORT_OK;
    if (run->ops->pending(run->ledger, run->actor.scope, INT64_MAX, ret, err) != NEXTPORT_OK)
        return err->status;
    idle = *ret;
    np_portset_subtract(&idle, &claimed);
    np_portset_subtract(&idle, &due);
    np_portset_subtract(ret, &idle);
    return NEXTPORT_OK;
}

/* Moves on the leases that can be, a bounded number, the lowest ports first. */
enum nextport_status np_run_steps(struct np_run *run, size_t *ret_stepped, struct nextport_error *err)
{
    struct np_portset candidates;
    bool hidden = hides_something(&run->evidence);
    *ret_stepped = 0;
    if (movable(run, &candidates, err) != NEXTPORT_OK)
        return err->status;
    for (uint16_t port = np_portset_next(&candidates, 1); port && *ret_stepped < NP_STEPS_AT_ONCE;
         port = port < 65535 ? np_portset_next(&candidates, (uint16_t)(port + 1)) : 0)
        if (step(run, port, hidden, ret_stepped, err) != NEXTPORT_OK)
            return err->status;
    return NEXTPORT_OK;
}

enum nextport_status np_run_foresee(struct np_run *run, struct nextport_error *err)
{
    struct np_portset due = {{0}};
    bool hidden = hides_something(&run->evidence);
    for (size_t i = 0; i < run->leases.n; i++)
        if (is_due(run, &run->leases.items[i]))
            np_portset_add(&due, run->leases.items[i].port, run->leases.items[i].port);
    if (look_at_sockets(run, &due, err) != NEXTPORT_OK)
        return err->status;
    for (uint16_t port = np_portset_next(&due, 1); port;
         port = port < 65535 ? np_portset_next(&due, (uint16_t)(port + 1)) : 0) {
        const struct nextport_lease *lease = np_leases_at(&run->leases, port);
        const struct nextport_claim *use = np_lease_use(&run->evidence, port, lease->protocol);
        bool taken = false;
        if (!use && occupied(run, port, &taken, err) != NEXTPORT_OK)
            return err->status;
        if (np_lease_next_step(lease, run->actor.now, use, taken, hidden) == NP_LEASE_EXPIRE)
            np_leases_remove(&run->leases, port);
    }
    return NEXTPORT_OK;
}
