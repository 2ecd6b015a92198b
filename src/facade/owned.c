/* What an owner gets that asks: its port again, or another one (doc/lifetimes.md, "What an owner gets").
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

#include <stdlib.h>
#include <string.h>

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* ---- What it has --------------------------------------------------------------------------------------------- */

static void collect_own(struct np_run *run, struct np_leases *ret)
{
    for (size_t i = 0; i < run->leases.n; i++)
        if (same(run->leases.items[i].owner_key, run->owner.key))
            *(struct nextport_lease *)np_push(run->arena, &ret->items, &ret->n, &ret->capacity, sizeof *ret->items) =
                run->leases.items[i];
}

static int by_name(const void *a, const void *b)
{
    const struct nextport_lease *const *x = a, *const *y = b;
    return strcmp((*x)->name ? (*x)->name : "", (*y)->name ? (*y)->name : "");
}

/* The leases of the deployment that is asked for, by name. */
static const struct nextport_lease **of_deployment(struct np_run *run, const struct np_wants *wants, size_t *ret_n)
{
    const struct nextport_lease **ret = np_alloc_array(run->arena, wants->owned.n + 1, sizeof(void *));
    *ret_n = 0;
    for (size_t i = 0; i < wants->owned.n; i++)
        if (same(wants->owned.items[i].deployment, wants->request->deployment))
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

/* A command is about to bind the port, so it must be free now; the probe holds it until then. */
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
    if (answer != NEXTPORT_PROBE_FREE)
        want->ruling = (struct np_ruling){.why = "something has it"};
    return NEXTPORT_OK;
}

/* The lease is for one protocol and now another is asked for as well. */
static enum nextport_status rule_protocol(struct np_run *run, struct np_want *want, struct nextport_error *err)
{
    const enum nextport_protocol asked = run->np->settings.protocol, has = want->own->protocol;
    const unsigned more = (unsigned)asked & ~(unsigned)has;
    struct np_probe *probe = NULL;
    enum nextport_probe answer = NEXTPORT_PROBE_FREE;
    want->protocol = (enum nextport_protocol)((unsigned)asked | (unsigned)has);
    if (!more || !want->ruling.keep || run->np->settings.root)
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

static enum nextport_status rule(struct np_run *run, const struct np_wants *wants, struct np_want *want,
                                 struct nextport_error *err)
{
    const struct nextport_lease *own = want->own;
    const struct np_again again = {.port = own->port, .protocol = own->protocol, .pool = &run->pool};
    want->ruling = np_lease_rule(own, &again, &run->evidence, run->arena);
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
static void promise(const struct np_run *run, const struct np_wants *wants, struct nextport_lease *lease)
{
    lease->state = NEXTPORT_PENDING;
    lease->renewed = run->actor.now;
    lease->expires = run->actor.now + np_run_ttl(run, run->owner.n_labels > 0);
    lease->looks = 0;
    lease->process = wants->request->live ? np_process_self(run->arena) : NULL;
}

/* The lease after its owner asked again, and the event. */
static const char *renew(struct np_run *run, const struct np_wants *wants, const struct np_want *want,
                         struct nextport_lease *lease)
{
    const struct nextport_claim *use = want->ruling.confirm;
    if (lease->state == NEXTPORT_RESTING) {
        promise(run, wants, lease);
        return "returned";
    }
    if (use && !wants->request->live) {
        np_lease_apply(lease, NP_LEASE_CONFIRM, run->actor.now, np_holder_of(run->arena, use),
                       &run->np->settings.lifetimes);
        return "confirmed";
    }
    const bool ended = lease->process && np_process_has_ended(lease->process);
    if (lease->state != NEXTPORT_CONFIRMED || wants->request->live || ended)
        promise(run, wants, lease);
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
    lease->holder = NULL;
    promise(run, wants, lease);
    return (struct nextport_granted){.verdict = NEXTPORT_MOVE, .moved_from = want->own->port, .why = want->ruling.why};
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
    promise(run, wants, ret);
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
    if (run->ledger && want->own)
        status = run->ops->save(run->ledger, &lease, event, err);
    else if (run->ledger)
        status = run->ops->add(run->ledger, &lease, "granted", err);
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

/* The owner's deployments before this one. */
static struct deployment *earlier(struct np_run *run, const struct np_wants *wants, size_t *ret_n)
{
    struct deployment *ret = NULL;
    size_t capacity = 0;
    *ret_n = 0;
    for (size_t i = 0; i < wants->owned.n; i++) {
        const struct nextport_lease *lease = &wants->owned.items[i];
        size_t at = 0;
        if (!lease->deployment || same(lease->deployment, wants->request->deployment) ||
            lease->state == NEXTPORT_RESTING)
            continue;
        while (at < *ret_n && !same(ret[at].id, lease->deployment))
            at++;
        if (at == *ret_n)
            *(struct deployment *)np_push(run->arena, &ret, ret_n, &capacity, sizeof *ret) =
                (struct deployment){lease->deployment, lease->id};
        else if (ret[at].newest < lease->id)
            ret[at].newest = lease->id;
    }
    if (*ret_n > 0)
        qsort(ret, *ret_n, sizeof *ret, newest_first);
    return ret;
}

static enum nextport_status trim_one(struct np_run *run, const struct nextport_lease *lease, struct nextport_error *err)
{
    const struct nextport_claim *use = np_lease_use(&run->evidence, lease->port, lease->protocol);
    if (use) {
        np_note(&run->log, NEXTPORT_INFO, "port %u of deployment %s stays leased: %s still uses it", lease->port,
                lease->deployment, use->holder ? use->holder : use->source);
        return NEXTPORT_OK;
    }
    np_note(&run->log, NEXTPORT_INFO, "port %u of deployment %s %s released", lease->port, lease->deployment,
            run->ledger ? "is" : "would be");
    return run->ledger ? np_run_release(run, lease, err) : NEXTPORT_OK;
}

enum nextport_status np_run_trim(struct np_run *run, const struct np_wants *wants, struct nextport_error *err)
{
    size_t n;
    if (!wants->request->keep || !wants->request->deployment)
        return NEXTPORT_OK;
    const struct deployment *old = earlier(run, wants, &n);
    for (size_t i = wants->request->keep - 1u; i < n; i++)
        for (size_t j = 0; j < wants->owned.n; j++) {
            const struct nextport_lease *lease = &wants->owned.items[j];
            if (same(lease->deployment, old[i].id) && lease->state != NEXTPORT_RESTING &&
                trim_one(run, lease, err) != NEXTPORT_OK)
                return np_wrap(err, "release port %u in %s", lease->port, run->path);
        }
    return NEXTPORT_OK;
}
