/* The life of leases (doc/lifetimes.md): what each look does for those it can move on.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const unsigned mortal = NP_STATE(NEXTPORT_PENDING) | NP_STATE(NEXTPORT_UNSEEN) | NP_STATE(NEXTPORT_RESTING);

int64_t np_run_ttl(const struct np_run *run, bool owned)
{
    const struct np_settings *settings = &run->np->settings;
    const bool said = np_settings_strength(settings, "lease.pending") == NP_BY_CALLER;
    return owned && !said ? settings->owned_s : settings->pending_s;
}

void np_claim_socket(void *ctx, const struct np_socket *socket)
{
    const struct nextport_claim claim = np_socket_claim(socket);
    np_evidence_claim(ctx, &claim);
}

static void add(struct np_portset *set, const struct np_portset *more)
{
    for (size_t i = 0; i < sizeof set->word / sizeof *set->word; i++)
        set->word[i] |= more->word[i];
}

static void intersect(struct np_portset *set, const struct np_portset *other)
{
    for (size_t i = 0; i < sizeof set->word / sizeof *set->word; i++)
        set->word[i] &= other->word[i];
}

static uint16_t next_after(const struct np_portset *set, uint16_t port)
{
    return port < 65535 ? np_portset_next(set, (uint16_t)(port + 1)) : 0;
}

/* ---- Looking ------------------------------------------------------------------------------------------------- */

/* Sockets of leased ports, with the program where a lease could record it: that takes a walk over all processes. */
struct finding {
    struct np_run *run;
    const struct np_portset *named;
    struct np_processes *processes; /* NULL: not read yet */
};

static void find_socket(void *ctx, const struct np_socket *socket)
{
    struct finding *finding = ctx;
    struct nextport_claim claim = np_socket_claim(socket);
    const bool named = !socket->transient && np_portset_has(finding->named, socket->port);
    if (named && !finding->processes)
        finding->processes = np_processes_read(finding->run->arena);
    if (named)
        np_processes_find(finding->processes, socket->process_key, &claim.pid, &claim.holder, &claim.unit);
    np_evidence_claim(&finding->run->evidence, &claim);
}

/* Listeners alone, which does not grow with the number of connections; the whole table where the probe would not do. */
static enum nextport_status look_at_sockets(struct np_run *run, const struct np_portset *ports,
                                            const struct np_portset *named, struct nextport_error *err)
{
    struct finding finding = {.run = run, .named = named};
    const char *partial;
    if (!np_portset_next(ports, 1) || run->np->settings.root)
        return NEXTPORT_OK;
    return np_host_sockets(np_probe_sees_all ? NP_SOCKETS_LISTENING : NP_SOCKETS_ALL, NEXTPORT_BOTH, ports, find_socket,
                           &finding, &partial, err);
}

static enum nextport_status ports_in(struct np_run *run, unsigned states, int64_t until, bool processes,
                                     struct np_portset *ret, struct nextport_error *err)
{
    const struct np_which which = {.states = states, .until = until, .processes = processes};
    return run->ops->ports(run->ledger, run->actor.scope, &which, ret, err);
}

/* A look that lies in the future was made before the clock went backwards. */
enum nextport_status np_run_is_look_due(struct np_run *run, struct np_ledger *ledger, struct nextport_error *err)
{
    const char *text;
    if (run->ops->recall(ledger, np_run_looked_key(run, run->actor.scope), run->arena, &text, err) != NEXTPORT_OK)
        return err->status;
    const int64_t looked = text ? strtoll(text, NULL, 10) : 0, now = run->actor.now;
    run->look_is_due = looked < 0 || looked > now || now - looked >= run->np->settings.lifetimes.look_s;
    run->look_at_all = run->look_at_all || run->look_is_due;
    return NEXTPORT_OK;
}

enum nextport_status np_run_look_at_leases(struct np_run *run, const struct np_portset *own, struct nextport_error *err)
{
    struct np_portset ports, named = *own;
    if (ports_in(run, mortal, run->actor.now, true, &run->due, err) != NEXTPORT_OK ||
        np_run_is_look_due(run, run->ledger, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    ports = run->look_at_all ? run->leases.taken : run->due;
    add(&ports, own);
    if (run->look_at_all && ports_in(run, mortal, INT64_MAX, false, &named, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    add(&named, &run->due);
    add(&named, own);
    return look_at_sockets(run, &ports, &named, err);
}

static bool is_of(const struct nextport_lease *lease, const char *source)
{
    const size_t n = strlen(source);
    return lease && lease->holder && strncmp(lease->holder, source, n) == 0 && lease->holder[n] == ':';
}

/* A ledger that could not be read hides leases, and no use. */
bool np_run_may_hide(const struct nextport_sighting *s, const struct nextport_lease *lease)
{
    const struct np_source *source = np_source_find(s->source);
    if ((s->sight != NEXTPORT_PARTIAL && s->sight != NEXTPORT_UNREADABLE) || source == &np_source_ledger)
        return false;
    return !source || !source->narrow || is_of(lease, s->source);
}

bool np_run_hides_something(const struct np_run *run, const struct nextport_lease *lease)
{
    for (size_t i = 0; i < run->evidence.n_sightings; i++)
        if (np_run_may_hide(&run->evidence.sightings[i], lease))
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

/* ---- Steps --------------------------------------------------------------------------------------------------- */

/* Everything that a walk over the leases needs. */
struct walk {
    struct np_run *run;
    struct np_portset tcp, udp; /* what is used */
    struct np_leases all;       /* read whole when all are looked at */
    bool read_all;
};

static void begin_walk(struct walk *walk, struct np_run *run)
{
    *walk = (struct walk){.run = run};
    for (size_t i = 0; i < run->evidence.n_claims; i++) {
        const struct nextport_claim *claim = &run->evidence.claims[i];
        if (np_claim_is_use(claim) && claim->protocol & NEXTPORT_TCP)
            np_portset_add(&walk->tcp, claim->first, claim->last);
        if (np_claim_is_use(claim) && claim->protocol & NEXTPORT_UDP)
            np_portset_add(&walk->udp, claim->first, claim->last);
    }
}

static bool is_used(const struct walk *walk, const struct nextport_lease *lease)
{
    return (lease->protocol & NEXTPORT_TCP && np_portset_has(&walk->tcp, lease->port)) ||
           (lease->protocol & NEXTPORT_UDP && np_portset_has(&walk->udp, lease->port));
}

/* What to do with a lease. The probe is asked last, and only when the answer may end it. */
static enum nextport_status decide(struct walk *walk, const struct nextport_lease *lease, struct np_seen *seen,
                                   enum np_lease_step *ret, struct nextport_error *err)
{
    struct np_run *run = walk->run;
    const struct np_lifetimes *lifetimes = &run->np->settings.lifetimes;
    const bool used = is_used(walk, lease);
    const bool since = run->actor.now - lease->renewed >= lifetimes->look_s;
    *seen = (struct np_seen){.use = used ? np_lease_use(&run->evidence, lease->port, lease->protocol) : NULL,
                             .hidden = np_run_hides_something(run, lease),
                             .look = lease->state == NEXTPORT_UNSEEN ? since : run->look_is_due,
                             .ended = lease->process && np_process_has_ended(lease->process)};
    *ret = np_lease_next_step(lease, run->actor.now, seen, lifetimes);
    if (*ret != NP_LEASE_EXPIRE && *ret != NP_LEASE_REST)
        return NEXTPORT_OK;
    if (occupied(run, lease, &seen->occupied, err) != NEXTPORT_OK)
        return err->status;
    *ret = np_lease_next_step(lease, run->actor.now, seen, lifetimes);
    return NEXTPORT_OK;
}

static void say(struct np_run *run, const struct nextport_lease *lease, enum np_lease_step step,
                const struct np_seen *seen)
{
    static const char *const words[] = {
        [NP_LEASE_KEEP] = NULL,
        [NP_LEASE_CONFIRM] = NULL,
        [NP_LEASE_MISS] = "no longer seen in use, its lease is absent",
        [NP_LEASE_COUNT] = NULL,
        [NP_LEASE_REST] = "its process has ended, it rests",
        [NP_LEASE_REBASE] = "the clock went backwards, its lease counts from now",
        [NP_LEASE_EXPIRE] = NULL,
    };
    static const char *const ends[] = {
        [NEXTPORT_PENDING] = "promised, never seen in use, its lease has expired",
        [NEXTPORT_CONFIRMED] = "its lease has expired",
        [NEXTPORT_UNSEEN] = "not seen in use for long, its lease has expired",
        [NEXTPORT_RESTING] = "has rested and is free again",
    };
    const char *word = step == NP_LEASE_EXPIRE ? ends[lease->state] : words[step];
    if (step == NP_LEASE_CONFIRM)
        np_note(&run->log, NEXTPORT_VERBOSE, "port %u: seen in use by %s, its lease is confirmed", lease->port,
                seen->use->holder ? seen->use->holder : seen->use->source);
    else if (word)
        np_note(&run->log, NEXTPORT_VERBOSE, "port %u: %s", lease->port, word);
}

/* One that outlives the walk. */
static struct nextport_lease copy_of(struct np_arena *arena, const struct nextport_lease *lease)
{
    struct nextport_lease ret = *lease;
    struct nextport_label *labels = np_alloc_array(arena, lease->n_labels, sizeof *labels);
    ret.name = np_strdup(arena, lease->name);
    ret.owner = np_strdup(arena, lease->owner);
    ret.owner_key = np_strdup(arena, lease->owner_key);
    ret.deployment = np_strdup(arena, lease->deployment);
    ret.holder = np_strdup(arena, lease->holder);
    ret.process = np_strdup(arena, lease->process);
    for (size_t i = 0; i < lease->n_labels; i++)
        labels[i] =
            (struct nextport_label){np_strdup(arena, lease->labels[i].key), np_strdup(arena, lease->labels[i].value)};
    ret.labels = labels;
    return ret;
}

static enum nextport_status make(struct np_run *run, const struct nextport_lease *lease, enum np_lease_step step,
                                 const struct np_seen *seen, struct nextport_error *err)
{
    const char *event = np_lease_event(step, lease->state);
    say(run, lease, step, seen);
    if (step == NP_LEASE_EXPIRE) {
        np_leases_remove(&run->leases, lease->port);
        *(struct nextport_lease *)np_push(run->arena, &run->ended, &run->n_ended, &run->ended_capacity, sizeof *lease) =
            copy_of(run->arena, lease);
        return run->ops->drop(run->ledger, lease, event, err);
    }
    struct nextport_lease after = *lease, *known = np_leases_at(&run->leases, lease->port);
    np_lease_apply(&after, step, run->actor.now, seen->use ? np_holder_of(run->arena, seen->use) : NULL,
                   &run->np->settings.lifetimes);
    run->n_confirmed += step == NP_LEASE_CONFIRM;
    run->n_absent += step == NP_LEASE_MISS;
    run->n_resting += step == NP_LEASE_REST;
    if (known)
        *known = copy_of(run->arena, &after);
    return run->ops->save(run->ledger, &after, event, err);
}

/* *ret_found: the lease of this port, as it was when this transaction began or as it is. */
static enum nextport_status read_lease(struct walk *walk, uint16_t port, struct nextport_lease *ret, bool *ret_found,
                                       struct nextport_error *err)
{
    struct np_run *run = walk->run;
    const struct nextport_lease *known = walk->read_all ? np_leases_at(&walk->all, port) : NULL;
    *ret_found = known != NULL;
    if (known)
        *ret = *known;
    if (walk->read_all)
        return NEXTPORT_OK;
    return run->ops->find(run->ledger, run->actor.scope, port, run->arena, ret, ret_found, err);
}

static enum nextport_status step(struct walk *walk, uint16_t port, size_t *stepped, struct nextport_error *err)
{
    struct nextport_lease lease;
    struct np_seen seen;
    enum np_lease_step next;
    bool found;
    if (read_lease(walk, port, &lease, &found, err) != NEXTPORT_OK)
        return err->status;
    if (!found)
        return NEXTPORT_OK;
    if (lease.state == NEXTPORT_CONFIRMED && !lease.process && is_used(walk, &lease) &&
        lease.renewed <= walk->run->actor.now)
        return NEXTPORT_OK; /* most are, so not worth finding out by what */
    if (decide(walk, &lease, &seen, &next, err) != NEXTPORT_OK)
        return err->status;
    *stepped += next != NP_LEASE_KEEP;
    return next == NP_LEASE_KEEP ? NEXTPORT_OK : make(walk->run, &lease, next, &seen, err);
}

/* The leases that this look may move on: those due, those on a port that something uses, or all. */
static enum nextport_status movable(struct walk *walk, const struct np_portset *own, struct np_portset *ret,
                                    struct nextport_error *err)
{
    const unsigned waiting = NP_STATE(NEXTPORT_PENDING) | NP_STATE(NEXTPORT_UNSEEN);
    struct np_run *run = walk->run;
    struct np_portset used = walk->tcp;
    add(&used, &walk->udp);
    *ret = run->look_at_all ? run->leases.taken : run->due;
    intersect(&used, &run->leases.taken);
    np_portset_subtract(&used, ret);
    if (np_portset_next(&used, 1)) {
        struct np_portset idle;
        if (ports_in(run, waiting, INT64_MAX, false, &idle, err) != NEXTPORT_OK)
            return err->status;
        intersect(&used, &idle);
        add(ret, &used);
    }
    np_portset_subtract(ret, own);
    walk->read_all = run->look_at_all && np_portset_next(ret, 1);
    if (!walk->read_all)
        return NEXTPORT_OK;
    return run->ops->leases(run->ledger, run->actor.scope, SIZE_MAX, &walk->all, err);
}

/* All leases were looked at; what was hidden will have to be looked at again. */
static enum nextport_status remember_look(struct walk *walk, struct nextport_error *err)
{
    struct np_run *run = walk->run;
    if (!run->look_is_due || np_run_hides_something(run, NULL))
        return NEXTPORT_OK;
    run->look_is_due = run->look_at_all = false;
    return run->ops->remember(run->ledger, np_run_looked_key(run, run->actor.scope),
                              np_sprintf(run->arena, "%" PRId64, run->actor.now), err);
}

static enum nextport_status walk_all(struct walk *walk, const struct np_portset *own, size_t limit, size_t *ret_stepped,
                                     struct nextport_error *err)
{
    struct np_portset candidates;
    if (movable(walk, own, &candidates, err) != NEXTPORT_OK)
        return err->status;
    uint16_t port = np_portset_next(&candidates, 1);
    for (; port && *ret_stepped < limit; port = next_after(&candidates, port))
        if (step(walk, port, ret_stepped, err) != NEXTPORT_OK)
            return err->status;
    return port ? NEXTPORT_OK : remember_look(walk, err);
}

enum nextport_status np_run_steps(struct np_run *run, const struct np_portset *own, size_t limit, size_t *ret_stepped,
                                  struct nextport_error *err)
{
    struct walk walk;
    begin_walk(&walk, run);
    walk.all.arena = np_arena_new(); /* all leases, again for each walk: they go with it */
    *ret_stepped = 0;
    const enum nextport_status status = walk_all(&walk, own, limit, ret_stepped, err);
    np_arena_free(walk.all.arena);
    return status;
}

enum nextport_status np_run_look_ahead(struct np_run *run, const struct np_portset *own, struct nextport_error *err)
{
    struct np_portset ports;
    run->due = (struct np_portset){{0}};
    for (size_t i = 0; i < run->leases.n; i++) {
        const struct nextport_lease *lease = &run->leases.items[i];
        if (lease->process || (lease->state != NEXTPORT_CONFIRMED && lease->expires <= run->actor.now))
            np_portset_add(&run->due, lease->port, lease->port);
    }
    ports = run->look_at_all ? run->leases.taken : run->due;
    add(&ports, own);
    return look_at_sockets(run, &ports, own, err);
}

/* As movable(), of the leases that were read. */
static struct np_portset foreseen(const struct walk *walk, const struct np_portset *own)
{
    const struct np_run *run = walk->run;
    struct np_portset ret = run->look_at_all ? run->leases.taken : run->due;
    for (size_t i = 0; i < run->leases.n; i++) {
        const struct nextport_lease *lease = &run->leases.items[i];
        const bool waits = lease->state == NEXTPORT_PENDING || lease->state == NEXTPORT_UNSEEN;
        if (waits && (np_portset_has(&walk->tcp, lease->port) || np_portset_has(&walk->udp, lease->port)))
            np_portset_add(&ret, lease->port, lease->port);
    }
    np_portset_subtract(&ret, own);
    return ret;
}

enum nextport_status np_run_foresee(struct np_run *run, const struct np_portset *own, size_t limit, size_t *ret_stepped,
                                    struct nextport_error *err)
{
    struct walk walk;
    begin_walk(&walk, run);
    const struct np_portset candidates = foreseen(&walk, own);
    uint16_t port = np_portset_next(&candidates, 1);
    *ret_stepped = 0;
    for (; port && *ret_stepped < limit; port = next_after(&candidates, port)) {
        const struct nextport_lease *lease = np_leases_at(&run->leases, port);
        struct np_seen seen;
        enum np_lease_step next = NP_LEASE_KEEP;
        if (lease && decide(&walk, lease, &seen, &next, err) != NEXTPORT_OK)
            return err->status;
        *ret_stepped += next != NP_LEASE_KEEP;
        if (next == NP_LEASE_EXPIRE)
            np_leases_remove(&run->leases, port);
    }
    return NEXTPORT_OK;
}

enum nextport_status np_run_release(struct np_run *run, const struct nextport_lease *lease, struct nextport_error *err)
{
    struct nextport_lease after = *lease, *known = np_leases_at(&run->leases, lease->port);
    np_lease_apply(&after, NP_LEASE_REST, run->actor.now, NULL, &run->np->settings.lifetimes);
    const enum nextport_status status = run->ops->save(run->ledger, &after, "released", err);
    if (known && status == NEXTPORT_OK)
        *known = after;
    return status;
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
    if (ports_in(run, mortal, run->actor.now, false, &due, err) != NEXTPORT_OK)
        return err->status;
    const unsigned n = (unsigned)np_portset_count(&due);
    if (n && np_run_hides_something(run, NULL))
        np_note(&run->log, NEXTPORT_WARNING, "%u due lease%s kept: what was not seen may use %s", n,
                n == 1 ? " is" : "s are", n == 1 ? "its port" : "their ports");
    else if (n)
        np_note(&run->log, NEXTPORT_VERBOSE, "%u due lease%s kept: something has %s, or too few looks have missed %s",
                n, n == 1 ? " is" : "s are", n == 1 ? "its port" : "their ports", n == 1 ? "it" : "them");
    return NEXTPORT_OK;
}

/* One transaction's worth. *ret_more: there may be more to do. */
static enum nextport_status sweep_some(struct np_run *run, bool *ret_more, struct nextport_error *err)
{
    const struct np_portset nobodys = {{0}};
    size_t stepped;
    const size_t declared = run->evidence.n_claims;
    run->leases = (struct np_leases){.arena = run->arena};
    if (run->ops->leases(run->ledger, run->actor.scope, NP_LEASES_NAMED, &run->leases, err) != NEXTPORT_OK)
        return np_wrap(err, "read ledger %s", run->path);
    if (np_run_look_at_leases(run, &nobodys, err) != NEXTPORT_OK)
        return np_wrap(err, "look for the use of leases");
    if (np_run_steps(run, &nobodys, NP_STEPS_OF_A_SWEEP, &stepped, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    *ret_more = stepped == NP_STEPS_OF_A_SWEEP;
    const size_t ended = run->n_ended;
    if (!*ret_more &&
        (note_what_stays(run, err) != NEXTPORT_OK || np_run_end_scopes(run, err) != NEXTPORT_OK ||
         run->ops->forget(run->ledger, run->actor.now - run->np->settings.history_s, 10000, err) != NEXTPORT_OK))
        return np_wrap(err, "ledger %s", run->path);
    if (run->ops->end(run->ledger, true, err) != NEXTPORT_OK)
        return np_wrap(err, "commit to ledger %s", run->path);
    run->res->changed = run->res->changed || stepped > 0 || run->n_ended > ended;
    run->evidence.n_claims = declared; /* sockets are looked at afresh each time */
    return NEXTPORT_OK;
}

/* In bounded transactions with the lock let go between them, so that nobody who wants a port waits for all of it. */
static enum nextport_status sweep(struct np_run *run, struct nextport_error *err)
{
    bool present, more = true;
    while (more) {
        run->waited_s = 0; /* each has a deadline of its own */
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
    run.actor.request = "sweep";
    run.look_at_all = true;
    enum nextport_status status = look_and_sweep(&run, err);
    run.res->leases = run.ended;
    run.res->n_leases = run.n_ended;
    run.res->n_confirmed = run.n_confirmed;
    run.res->n_absent = run.n_absent;
    run.res->n_resting = run.n_resting;
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}
