/* The life of leases: what each look does for those it can move on.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

void np_claim_socket(void *ctx, const struct np_socket *socket)
{
    const struct nextport_claim claim = np_socket_claim(socket);
    np_evidence_claim(ctx, &claim);
}

static enum nextport_status pending_until(struct np_run *run, int64_t until, struct np_portset *ret,
                                          struct nextport_error *err)
{
    const struct np_which which = {.states = NP_STATE(NEXTPORT_PENDING), .until = until};
    return run->ops->ports(run->ledger, run->actor.scope, &which, ret, err);
}

static bool is_due(const struct np_run *run, const struct nextport_lease *lease)
{
    return lease->state == NEXTPORT_PENDING && lease->expires <= run->actor.now;
}

/* For a request, only a lease that is due is worth this look: it costs a walk over all listeners, or over the whole table
 * where the probe alone would not do. */
static enum nextport_status look_at_sockets(struct np_run *run, const struct np_portset *ports,
                                            struct nextport_error *err)
{
    const char *partial;
    if (!np_portset_next(ports, 1))
        return NEXTPORT_OK;
    return np_host_sockets(np_probe_sees_all ? NP_SOCKETS_LISTENING : NP_SOCKETS_ALL, NEXTPORT_BOTH, ports,
                           np_claim_socket, &run->evidence, &partial, err);
}

/* Looks whether the pending leases that expire at `until` or before are in use. */
static enum nextport_status look_at_pending(struct np_run *run, int64_t until, struct nextport_error *err)
{
    struct np_portset pending;
    if (pending_until(run, until, &pending, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    return look_at_sockets(run, &pending, err);
}

enum nextport_status np_run_look_at_due(struct np_run *run, struct nextport_error *err)
{
    return look_at_pending(run, run->actor.now, err);
}

static bool hides_something(const struct np_evidence *evidence)
{
    for (size_t i = 0; i < evidence->n_sightings; i++)
        if (evidence->sightings[i].sight == NEXTPORT_PARTIAL || evidence->sightings[i].sight == NEXTPORT_UNREADABLE)
            return true;
    return false;
}

/* Does the table show a socket that the probe may not mind: a connection, TIME_WAIT? */
static bool has_socket(const struct np_evidence *evidence, const struct nextport_lease *lease)
{
    for (size_t i = 0; i < evidence->n_claims; i++) {
        const struct nextport_claim *claim = &evidence->claims[i];
        if (claim->kind == NEXTPORT_SOCKET && claim->first == lease->port && claim->protocol & lease->protocol)
            return true;
    }
    return false;
}

static enum nextport_status occupied(struct np_run *run, const struct nextport_lease *lease, bool *ret,
                                     struct nextport_error *err)
{
    enum nextport_probe answer;
    *ret = has_socket(&run->evidence, lease);
    if (*ret)
        return NEXTPORT_OK;
    if (np_probe_try(run->probe, lease->port, &answer, err) != NEXTPORT_OK)
        return err->status;
    if (answer == NEXTPORT_PROBE_FREE)
        np_probe_release(run->probe, lease->port);
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
    run->n_confirmed++;
    struct nextport_lease confirmed = *lease;
    confirmed.state = NEXTPORT_CONFIRMED;
    confirmed.holder = use->holder;
    confirmed.expires = 0;
    return run->ops->save(run->ledger, &confirmed, "confirmed", err);
}

static enum nextport_status expire(struct np_run *run, const struct nextport_lease *lease, struct nextport_error *err)
{
    np_note(&run->log, NEXTPORT_VERBOSE, "port %u: promised, never seen in use, its lease has expired", lease->port);
    np_leases_remove(&run->leases, lease->port);
    struct nextport_lease *ended = np_push(run->arena, &run->ended, &run->n_ended, &run->ended_capacity, sizeof *ended);
    *ended = *lease;
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
    if (is_due(run, &lease) && !use && occupied(run, &lease, &taken, err) != NEXTPORT_OK)
        return err->status;
    enum np_lease_step next =
        np_lease_next_step(&lease, run->actor.now, &(struct np_seen){.use = use, .occupied = taken, .hidden = hidden},
                           &run->np->settings.lifetimes);
    *stepped += next != NP_LEASE_KEEP;
    switch (next) {
    case NP_LEASE_KEEP:
        break;
    case NP_LEASE_CONFIRM:
        return confirm(run, &lease, use, err);
    case NP_LEASE_EXPIRE:
        return expire(run, &lease, err);
    case NP_LEASE_MISS:
    case NP_LEASE_COUNT:
    case NP_LEASE_REST:
    case NP_LEASE_REBASE:
        break;
    }
    return NEXTPORT_OK;
}

/* The pending leases that this look may move on: those on a port that something claims, and those due. */
static enum nextport_status movable(struct np_run *run, struct np_portset *ret, struct nextport_error *err)
{
    struct np_portset claimed = {{0}}, due, unleased, idle;
    if (pending_until(run, run->actor.now, &due, err) != NEXTPORT_OK)
        return err->status;
    for (size_t i = 0; i < run->evidence.n_claims; i++)
        np_portset_add(&claimed, run->evidence.claims[i].first, run->evidence.claims[i].last);
    unleased = claimed;
    np_portset_subtract(&unleased, &run->leases.taken);
    np_portset_subtract(&claimed, &unleased);
    *ret = due;
    if (!np_portset_next(&claimed, 1))
        return NEXTPORT_OK;
    if (pending_until(run, INT64_MAX, ret, err) != NEXTPORT_OK)
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
        if (!use && occupied(run, lease, &taken, err) != NEXTPORT_OK)
            return err->status;
        if (np_lease_next_step(lease, run->actor.now,
                               &(struct np_seen){.use = use, .occupied = taken, .hidden = hidden},
                               &run->np->settings.lifetimes) == NP_LEASE_EXPIRE)
            np_leases_remove(&run->leases, port);
    }
    return NEXTPORT_OK;
}

/* ---- Sweep --------------------------------------------------------------------------------------------------- */

static enum nextport_status look_at_declarations(struct np_run *run, struct nextport_error *err)
{
    struct np_scope scope = {.protocol = NEXTPORT_BOTH};
    np_portset_add(&scope.ports, 1, 65535); /* the pool may have been another when a lease was given */
    if (np_run_look(run, &scope, err) != NEXTPORT_OK)
        return err->status;
    return np_run_blind(run, err);
}

/* Leases that stay although they are due: someone must know when that is because nothing could be proved. */
static enum nextport_status note_what_stays(struct np_run *run, struct nextport_error *err)
{
    struct np_portset due;
    if (pending_until(run, run->actor.now, &due, err) != NEXTPORT_OK)
        return err->status;
    const unsigned n = (unsigned)np_portset_count(&due);
    if (n && hides_something(&run->evidence))
        np_note(&run->log, NEXTPORT_WARNING, "%u due lease%s kept: what was not seen may use %s", n,
                n == 1 ? " is" : "s are", n == 1 ? "its port" : "their ports");
    else if (n)
        np_note(&run->log, NEXTPORT_VERBOSE, "%u due lease%s kept: something has %s", n, n == 1 ? " is" : "s are",
                n == 1 ? "its port" : "their ports");
    return NEXTPORT_OK;
}

/* One transaction's worth. *ret_more: there may be more to do. */
static enum nextport_status sweep_some(struct np_run *run, bool *ret_more, struct nextport_error *err)
{
    size_t stepped;
    const size_t declared = run->evidence.n_claims;
    run->leases = (struct np_leases){.arena = run->arena};
    if (run->ops->leases(run->ledger, run->actor.scope, NP_LEASES_NAMED, &run->leases, err) != NEXTPORT_OK)
        return np_wrap(err, "read ledger %s", run->path);
    if (look_at_pending(run, INT64_MAX, err) != NEXTPORT_OK)
        return np_wrap(err, "look for the use of leases");
    if (np_run_steps(run, &stepped, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    *ret_more = stepped == NP_STEPS_AT_ONCE;
    if (!*ret_more && note_what_stays(run, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    if (run->ops->end(run->ledger, stepped > 0, err) != NEXTPORT_OK)
        return np_wrap(err, "commit to ledger %s", run->path);
    run->res->changed = run->res->changed || stepped > 0;
    run->evidence.n_claims = declared; /* sockets are looked at afresh each time */
    return NEXTPORT_OK;
}

/* In bounded transactions with the lock let go between them, so that nobody who wants a port waits for all of it. */
static enum nextport_status sweep(struct np_run *run, struct nextport_error *err)
{
    bool present, more = true;
    while (more) {
        if (np_run_ledger_begin(run, false, &present, err) != NEXTPORT_OK)
            return err->status;
        if (!present) /* it was taken away meanwhile */
            return NEXTPORT_OK;
        if (np_run_changed(run)) {
            np_run_forget(run);
            if (look_at_declarations(run, err) != NEXTPORT_OK)
                return err->status;
        }
        if (sweep_some(run, &more, err) != NEXTPORT_OK)
            return err->status;
        run->ops->close(run->ledger);
        np_lock_release(run->lock);
        run->ledger = NULL;
        run->lock = NULL;
    }
    return NEXTPORT_OK;
}

static enum nextport_status look_and_sweep(struct np_run *run, struct nextport_error *err)
{
    bool present;
    if (run->np->settings.root)
        return np_fail(err, NEXTPORT_INPUT, "a root has files only: which leases are in use is seen on the machine");
    if (np_run_ledger_place(run, err) != NEXTPORT_OK)
        return err->status;
    if (np_host_ledger_vet(run->path, run->place, false, &present, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    if (!present) {
        np_note(&run->log, NEXTPORT_VERBOSE, "%s does not exist yet: nothing is leased", run->path);
        return NEXTPORT_OK;
    }
    if (np_run_open_readers(run, err) != NEXTPORT_OK || look_at_declarations(run, err) != NEXTPORT_OK ||
        np_probe_open(&run->probe, NEXTPORT_BOTH, err) != NEXTPORT_OK || sweep(run, err) != NEXTPORT_OK)
        return err->status;
    np_run_sight(run, &np_source_probe, NEXTPORT_SEEN, NULL, NULL);
    np_run_sight(run, &np_source_ledger, NEXTPORT_SEEN, NULL, NULL);
    if (!run->res->changed)
        np_note(&run->log, NEXTPORT_VERBOSE, "no lease had to be moved on");
    return NEXTPORT_OK;
}

enum nextport_status nextport_sweep(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    np_run_init(&run, np, NEXTPORT_ANSWER_SWEEP);
    enum nextport_status status = look_and_sweep(&run, err);
    run.res->leases = run.ended;
    run.res->n_leases = run.n_ended;
    run.res->n_confirmed = run.n_confirmed;
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}
