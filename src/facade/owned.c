/* What an owner gets that asks: its port again, or another one (doc/lifetimes.md, "What an owner gets").
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

#include <stdlib.h>
#include <string.h>

/* ---- What it has --------------------------------------------------------------------------------------------- */

static void collect_own(struct np_run *run, struct np_leases *ret)
{
    for (size_t i = 0; i < run->leases.n; i++)
        if (np_equal(run->leases.items[i].owner_key, run->owner.key))
            *(struct nextport_lease *)np_push(run->arena, &ret->items, &ret->n, &ret->capacity, sizeof *ret->items) =
                run->leases.items[i];
}

static int by_name(const void *a, const void *b)
{
    const struct nextport_lease *const *x = a, *const *y = b;
    return np_compare((*x)->name, (*y)->name);
}

/* The leases of the deployment that is asked for, by name. */
static const struct nextport_lease **of_deployment(struct np_run *run, const struct np_wants *wants, size_t *ret_n)
{
    const struct nextport_lease **ret = np_alloc_array(run->arena, wants->owned.n + 1, sizeof(void *));
    *ret_n = 0;
    for (size_t i = 0; i < wants->owned.n; i++)
        if (np_equal(wants->owned.items[i].deployment, wants->request->deployment))
            ret[(*ret_n)++] = &wants->owned.items[i];
    qsort(ret, *ret_n, sizeof *ret, by_name);
    return ret;
}

enum nextport_status np_run_find_own(struct np_run *run, struct np_wants *wants, struct nextport_error *err)
{
    wants->owned = (struct np_leases){.arena = run->arena};
    wants->n_new = (unsigned)wants->n;
    if (!run->owner.n_labels)
        return NEXTPORT_OK;
    if (!run->ledger)
        collect_own(run, &wants->owned);
    else if (run->ops->owned(run->ledger, run->actor.scope, run->owner.key, &wants->owned, err) != NEXTPORT_OK)
        return np_wrap(err, "read ledger %s", run->path);
    size_t n;
    const struct nextport_lease **own = of_deployment(run, wants, &n);
    for (size_t i = 0; i < wants->n && n > 0; i++) {
        const struct nextport_lease wanted = {.name = wants->items[i].name}, *key = &wanted;
        const struct nextport_lease **found = bsearch(&key, own, n, sizeof *own, by_name);
        if (!found)
            continue;
        wants->items[i].own = *found;
        np_portset_add(&wants->ports, (*found)->port, (*found)->port);
    }
    for (size_t i = 0; i < wants->owned.n && wants->request->keep > 0; i++)
        np_portset_add(&wants->ports, wants->owned.items[i].port, wants->owned.items[i].port);
    return NEXTPORT_OK;
}

/* ---- What it keeps ------------------------------------------------------------------------------------------- */

static enum nextport_status runs_already(const struct np_run *run, const struct nextport_lease *own,
                                         struct nextport_error *err)
{
    np_fail(err, NEXTPORT_CONFLICT, "port %u of %s belongs to a command that still runs, process %.*s", own->port,
            run->owner.shown, (int)strcspn(own->process, " "), own->process);
    np_hint(err, "End that one first, or tell the two apart with --label or --name.");
    return err->status;
}

/* A command is about to bind the port, so it must be free now; the probe holds it until then. Whoever has it may well be the
 * owner's own: it keeps its port. */
static enum nextport_status rule_live(struct np_run *run, struct np_want *want, struct nextport_error *err)
{
    enum nextport_probe answer;
    if (want->own->process && !np_process_has_ended(want->own->process))
        return runs_already(run, want->own, err);
    if (!want->ruling.keep)
        return NEXTPORT_OK;
    if (np_probe_try_again(run->probe, want->own->port, &answer, err) != NEXTPORT_OK)
        return err->status;
    want->ruling.confirm = NULL;
    if (answer == NEXTPORT_PROBE_FREE)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_CONFLICT, "port %u of %s cannot be bound now: %s", want->own->port, run->owner.shown,
            np_lease_use(&run->evidence, want->own->port, want->own->protocol) ? want->ruling.why : "something has it");
    np_hint(err, "End what has it first, or tell the two apart with --label or --name.");
    return err->status;
}

/* Is the claim a socket of a program that serves the holder recorded, as "System" does a site? */
static bool serves(const char *holder, const struct nextport_claim *claim)
{
    const size_t n = holder ? strcspn(holder, ":") : 0;
    for (size_t i = 0; claim->holder && np_sources[i]; i++) {
        const char *const *programs = np_sources[i]->programs;
        const bool is_source =
            n > 0 && strlen(np_sources[i]->name) == n && strncmp(np_sources[i]->name, holder, n) == 0;
        for (size_t j = 0; is_source && programs && programs[j]; j++)
            if (np_equal_nocase(programs[j], claim->holder))
                return true;
    }
    return false;
}

/* The lease is for one protocol and now another is asked for as well. */
static enum nextport_status rule_protocol(struct np_run *run, struct np_want *want, struct nextport_error *err)
{
    const unsigned more = (unsigned)want->protocol & ~(unsigned)want->own->protocol;
    struct np_probe *probe = NULL;
    enum nextport_probe answer = NEXTPORT_PROBE_FREE;
    if (!more || !want->ruling.keep || run->np->settings.root)
        return NEXTPORT_OK;
    const struct nextport_claim *use = np_lease_use(&run->evidence, want->own->port, (enum nextport_protocol)more);
    const char *recorded = want->own->holder;
    if (use && use->holder && recorded && np_holder_kin(recorded, use) == NP_STRANGER && !serves(recorded, use))
        want->ruling = (struct np_ruling){.why = np_sprintf(run->arena, "its %s side is taken: %s has it",
                                                            np_protocol_name((enum nextport_protocol)more),
                                                            np_holder_of(run->arena, use))};
    if (use)
        return NEXTPORT_OK;
    enum nextport_status status = np_probe_open(&probe, (enum nextport_protocol)more, err);
    if (status == NEXTPORT_OK)
        status = np_probe_try(probe, want->own->port, &answer, err);
    np_probe_close(probe);
    if (status == NEXTPORT_OK && answer != NEXTPORT_PROBE_FREE)
        want->ruling = (struct np_ruling){
            .why = np_sprintf(run->arena, "its %s side is taken", np_protocol_name((enum nextport_protocol)more))};
    return status;
}

static const char *why_returned(struct np_run *run, const struct np_want *want)
{
    static const char taken_back[] = "taken back while it rested";
    const bool used = np_lease_use(&run->evidence, want->own->port, want->own->protocol) != NULL;
    return used ? np_sprintf(run->arena, "%s; %s", taken_back, want->ruling.why) : taken_back;
}

/* The ports that this request allows. The pool of the configuration says where new ports come from; a lease that lies
 * elsewhere, because the pool was another one or the port was assigned, stays unless the request itself names ports. */
static struct np_portset allowed(const struct np_run *run)
{
    const struct np_settings *settings = &run->np->settings;
    struct np_portset ret = {{0}};
    if (np_settings_strength(settings, "pool.range") == NP_BY_CALLER)
        ret = settings->pool;
    else
        np_portset_add(&ret, 1, 65535);
    if (np_settings_strength(settings, "pool.exclude") == NP_BY_CALLER)
        np_portset_subtract(&ret, &settings->exclude);
    return ret;
}

static enum nextport_status rule(struct np_run *run, const struct np_wants *wants, struct np_want *want,
                                 struct nextport_error *err)
{
    const struct nextport_lease *own = want->own;
    const struct np_portset ports = allowed(run);
    want->protocol = (enum nextport_protocol)((unsigned)run->np->settings.protocol | (unsigned)own->protocol);
    want->ruling = np_lease_rule(own, want->protocol, &ports, &run->evidence, run->arena);
    if (rule_protocol(run, want, err) != NEXTPORT_OK)
        return err->status;
    if (wants->request->live && rule_live(run, want, err) != NEXTPORT_OK)
        return err->status;
    if (want->ruling.keep && own->state == NEXTPORT_RESTING)
        want->ruling.why = why_returned(run, want);
    if (want->ruling.keep || !wants->request->no_move)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_CONFLICT, "port %u of %s: %s", own->port, run->owner.shown, want->ruling.why);
    np_hint(err, "Free the port, or leave --no-move out to get another one.");
    return err->status;
}

/* One unbroken run, as it was given. */
static enum nextport_status check_run(const struct np_run *run, const struct np_wants *wants,
                                      struct nextport_error *err)
{
    bool whole = wants->n_new == 0;
    if (!wants->request->consecutive || wants->n_new == wants->n)
        return NEXTPORT_OK;
    for (size_t i = 1; i < wants->n && whole; i++)
        whole = wants->items[i].own->port == wants->items[i - 1].own->port + 1;
    if (whole)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_CONFLICT, "%s has some of these ports already, and they are no unbroken run",
            run->owner.shown);
    np_hint(err, "Release them first, or leave --consecutive out.");
    return err->status;
}

enum nextport_status np_run_rule(struct np_run *run, struct np_wants *wants, struct nextport_error *err)
{
    for (size_t i = 0; i < wants->n; i++) {
        struct np_want *want = &wants->items[i];
        want->protocol = run->np->settings.protocol;
        if (want->own && rule(run, wants, want, err) != NEXTPORT_OK)
            return err->status;
        wants->n_new -= want->ruling.keep;
    }
    return check_run(run, wants, err);
}

/* ---- Recording ----------------------------------------------------------------------------------------------- */

/* Promised, as if for the first time. */
static void promise(const struct np_run *run, struct nextport_lease *lease)
{
    lease->state = NEXTPORT_PENDING;
    lease->renewed = run->actor.now;
    lease->expires = run->actor.now + np_run_ttl(run, run->owner.n_labels > 0);
    lease->looks = 0;
}

/* A lease that was made for a command lives with the next one, too. One that was promised to the owner itself stays that:
 * it does not end with a command. A command that runs keeps its lease whoever asks. */
static void bind_to_process(struct np_run *run, const struct np_wants *wants, const struct nextport_lease *before,
                            struct nextport_lease *lease)
{
    const bool made_for_one = !before || before->process || before->state == NEXTPORT_RESTING;
    if (wants->request->live && made_for_one)
        lease->process = np_process_self(run->arena);
    else if (lease->process && np_process_has_ended(lease->process))
        lease->process = NULL;
}

/* The lease after its owner asked again, and the event. */
static const char *renew(struct np_run *run, const struct np_wants *wants, const struct np_want *want,
                         struct nextport_lease *lease)
{
    const struct nextport_claim *use = want->ruling.confirm;
    bind_to_process(run, wants, want->own, lease);
    if (lease->state == NEXTPORT_RESTING) {
        promise(run, lease);
        return "returned";
    }
    if (use) {
        np_lease_apply(lease, NP_LEASE_CONFIRM, run->actor.now, np_holder_of(run->arena, use),
                       &run->np->settings.lifetimes);
        return "confirmed";
    }
    if (lease->state != NEXTPORT_CONFIRMED || want->own->process)
        promise(run, lease);
    lease->renewed = run->actor.now;
    return "kept";
}

static struct nextport_granted kept(struct np_run *run, const struct np_wants *wants, const struct np_want *want,
                                    struct nextport_lease *lease, const char **ret_event)
{
    *lease = *want->own;
    lease->protocol = want->protocol;
    *ret_event = renew(run, wants, want, lease);
    return (struct nextport_granted){.verdict = NEXTPORT_KEEP, .why = want->ruling.why};
}

static struct nextport_granted moved(struct np_run *run, const struct np_wants *wants, const struct np_want *want,
                                     uint16_t port, struct nextport_lease *lease)
{
    *lease = *want->own;
    lease->protocol = want->protocol;
    lease->port = port;
    lease->holder = lease->process = NULL;
    bind_to_process(run, wants, want->own, lease);
    promise(run, lease);
    return (struct nextport_granted){.verdict = NEXTPORT_MOVE, .moved_from = want->own->port, .why = want->ruling.why};
}

enum nextport_status np_run_rest(struct np_run *run, const struct nextport_lease *left, struct nextport_error *err)
{
    struct nextport_lease rest = {.port = left->port,
                                  .protocol = left->protocol,
                                  .name = left->name,
                                  .holder = left->holder,
                                  .state = NEXTPORT_RESTING,
                                  .expires = run->actor.now + run->np->settings.lifetimes.rest_s};
    run->ops->because(run->ledger, "its lease has another port now");
    return run->ops->add(run->ledger, &rest, "released", err);
}

static void fresh_lease(struct np_run *run, const struct np_wants *wants, const struct np_want *want, uint16_t port,
                        struct nextport_lease *ret)
{
    *ret = (struct nextport_lease){.port = port,
                                   .protocol = want->protocol,
                                   .name = want->name,
                                   .deployment = wants->request->deployment,
                                   .created = run->actor.now,
                                   .owner = run->owner.shown,
                                   .owner_key = run->owner.n_labels ? run->owner.key : NULL,
                                   .labels = run->owner.labels,
                                   .n_labels = run->owner.n_labels};
    bind_to_process(run, wants, NULL, ret);
    promise(run, ret);
}

static enum nextport_status record(struct np_run *run, const struct np_wants *wants, const struct np_want *want,
                                   uint16_t port, struct nextport_granted *ret, struct nextport_error *err)
{
    struct nextport_lease lease;
    const char *event = "moved";
    enum nextport_status status = NEXTPORT_OK;
    *ret = (struct nextport_granted){.verdict = NEXTPORT_GRANT};
    if (!want->own)
        fresh_lease(run, wants, want, port, &lease);
    else if (want->ruling.keep)
        *ret = kept(run, wants, want, &lease, &event);
    else
        *ret = moved(run, wants, want, port, &lease);
    if (run->ledger && ret->verdict == NEXTPORT_MOVE)
        run->ops->because(run->ledger, ret->why);
    if (run->ledger && want->own)
        status = run->ops->save(run->ledger, &lease, event, err);
    else if (run->ledger)
        status = run->ops->add(run->ledger, &lease, "granted", err);
    if (status == NEXTPORT_OK && run->ledger && ret->verdict == NEXTPORT_MOVE)
        status = np_run_rest(run, want->own, err);
    ret->name = want->name;
    ret->port = lease.port;
    ret->lease_id = lease.id;
    ret->expires = lease.expires;
    ret->socket = -1;
    return status == NEXTPORT_OK ? status : np_wrap(err, "lease port %u in %s", lease.port, run->path);
}

enum nextport_status np_run_record(struct np_run *run, const struct np_wants *wants, const uint16_t *fresh,
                                   struct nextport_error *err)
{
    struct nextport_granted *granted = np_alloc_array(run->arena, wants->n, sizeof *granted);
    bool any[] = {[NEXTPORT_GRANT] = false, [NEXTPORT_KEEP] = false, [NEXTPORT_MOVE] = false};
    for (size_t i = 0; i < wants->n; i++) {
        const struct np_want *want = &wants->items[i];
        const bool stays = want->own && want->ruling.keep;
        if (record(run, wants, want, stays ? 0 : *fresh++, &granted[i], err) != NEXTPORT_OK)
            return err->status;
        any[granted[i].verdict] = true;
    }
    run->res->verdict = any[NEXTPORT_MOVE] ? NEXTPORT_MOVE : any[NEXTPORT_GRANT] ? NEXTPORT_GRANT : NEXTPORT_KEEP;
    run->res->ports = granted;
    run->res->n_ports = wants->n;
    return NEXTPORT_OK;
}

void np_run_hand_out_sockets(struct np_run *run, const struct np_wants *wants)
{
    struct nextport_granted *granted = (struct nextport_granted *)(uintptr_t)run->res->ports;
    for (size_t i = 0; i < run->res->n_ports && wants->request->open && run->probe; i++)
        granted[i].socket = np_probe_take(run->probe, granted[i].port);
}

/* ---- Older deployments --------------------------------------------------------------------------------------- */

struct deployment {
    const char *id;
    int64_t newest; /* the number of its newest lease */
};

static int newest_first(const void *a, const void *b)
{
    const struct deployment *x = a, *y = b;
    return x->newest < y->newest ? 1 : x->newest > y->newest ? -1 : 0;
}

/* The owner's deployments but this one, the newest first. *ret_newer: those that came after this one. */
static struct deployment *others(struct np_run *run, const struct np_wants *wants, size_t *ret_n, size_t *ret_newer)
{
    struct deployment *ret = NULL;
    size_t capacity = 0;
    int64_t mine = 0;
    *ret_n = *ret_newer = 0;
    for (size_t i = 0; i < wants->owned.n; i++) {
        const struct nextport_lease *lease = &wants->owned.items[i];
        size_t at = 0;
        if (np_equal(lease->deployment, wants->request->deployment))
            mine = lease->id > mine ? lease->id : mine;
        if (!lease->deployment || np_equal(lease->deployment, wants->request->deployment) ||
            lease->state == NEXTPORT_RESTING)
            continue;
        while (at < *ret_n && !np_equal(ret[at].id, lease->deployment))
            at++;
        if (at == *ret_n)
            *(struct deployment *)np_push(run->arena, &ret, ret_n, &capacity, sizeof *ret) =
                (struct deployment){lease->deployment, lease->id};
        else if (ret[at].newest < lease->id)
            ret[at].newest = lease->id;
    }
    if (*ret_n > 0)
        qsort(ret, *ret_n, sizeof *ret, newest_first);
    while (mine && *ret_newer < *ret_n && ret[*ret_newer].newest > mine)
        (*ret_newer)++;
    return ret;
}

/* NULL, or why a port may not be given back. */
static const char *still_needed(struct np_run *run, const struct nextport_lease *lease)
{
    const struct nextport_claim *use = np_lease_use(&run->evidence, lease->port, lease->protocol);
    if (use)
        return np_sprintf(run->arena, "%s still uses it", use->holder ? use->holder : use->source);
    return np_run_hides_something(run, lease) ? "what was not seen may use it" : NULL;
}

static enum nextport_status trim_one(struct np_run *run, const struct nextport_request *request,
                                     const struct nextport_lease *lease, struct nextport_error *err)
{
    const char *needed = still_needed(run, lease);
    if (needed) {
        np_note(&run->log, NEXTPORT_INFO, "port %u of deployment %s stays leased: %s", lease->port, lease->deployment,
                needed);
        return NEXTPORT_OK;
    }
    np_note(&run->log, NEXTPORT_INFO, "port %u of deployment %s %s released", lease->port, lease->deployment,
            run->ledger ? "is" : "would be");
    if (!run->ledger)
        return NEXTPORT_OK;
    run->ops->because(run->ledger, np_sprintf(run->arena, "deployment %s came, and the newest %u are kept",
                                              request->deployment, request->keep));
    return np_run_release(run, lease, err);
}

/* A retry of an older deployment gives nothing back that came after it. */
enum nextport_status np_run_trim(struct np_run *run, const struct np_wants *wants, struct nextport_error *err)
{
    size_t n, newer;
    if (!wants->request->keep || !wants->request->deployment)
        return NEXTPORT_OK;
    const struct deployment *other = others(run, wants, &n, &newer);
    const size_t kept = wants->request->keep - 1u; /* beside this one */
    for (size_t i = kept > newer ? kept : newer; i < n; i++)
        for (size_t j = 0; j < wants->owned.n; j++) {
            const struct nextport_lease *lease = &wants->owned.items[j];
            if (np_equal(lease->deployment, other[i].id) && lease->state != NEXTPORT_RESTING &&
                trim_one(run, wants->request, lease, err) != NEXTPORT_OK)
                return np_wrap(err, "release port %u in %s", lease->port, run->path);
        }
    return NEXTPORT_OK;
}
