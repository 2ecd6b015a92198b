/* Giving leases back.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

typedef bool match_fn(const struct nextport_lease *, const void *ctx);
typedef enum nextport_status end_fn(struct np_run *, const struct nextport_lease *, struct nextport_error *);

/* Ends every lease that matches, in one transaction; the result lists them as they are then. */
static enum nextport_status end_leases(struct np_run *run, match_fn *match, const void *ctx, end_fn *end,
                                       struct nextport_error *err)
{
    size_t capacity = 0;
    struct nextport_lease *ended = NULL;
    for (size_t i = 0; i < run->leases.n; i++) {
        const struct nextport_lease lease = run->leases.items[i];
        if (!match(&lease, ctx))
            continue;
        if (end(run, &lease, err) != NEXTPORT_OK)
            return np_wrap(err, "end the lease of port %u in %s", lease.port, run->path);
        *(struct nextport_lease *)np_push(run->arena, &ended, &run->res->n_leases, &capacity, sizeof *ended) =
            run->leases.items[i];
    }
    run->res->leases = ended;
    run->res->changed = run->res->n_leases > 0;
    if (run->ops->end(run->ledger, run->res->changed, err) != NEXTPORT_OK)
        return np_wrap(err, "commit to ledger %s", run->path);
    return NEXTPORT_OK;
}

/* *ret_present false: there is no ledger, so nothing to end. */
static enum nextport_status begin(struct np_run *run, bool *ret_present, struct nextport_error *err)
{
    if (np_run_ledger_place(run, err) != NEXTPORT_OK ||
        np_run_ledger_begin(run, false, ret_present, err) != NEXTPORT_OK)
        return err->status;
    if (*ret_present && run->ops->leases(run->ledger, run->actor.scope, SIZE_MAX, &run->leases, err) != NEXTPORT_OK)
        return np_wrap(err, "read ledger %s", run->path);
    return NEXTPORT_OK;
}

/* ---- Withdrawing --------------------------------------------------------------------------------------------- */

/* What was there before the request stays, and what somebody was given since: another request of the same owner. */
static bool was_new(const struct nextport_lease *lease, const void *ctx)
{
    const struct nextport_result *answer = ctx;
    for (size_t i = 0; i < answer->n_ports; i++)
        if (answer->ports[i].lease_id == lease->id && answer->ports[i].verdict == NEXTPORT_GRANT)
            return lease->revision == 1;
    return false;
}

static enum nextport_status withdraw(struct np_run *run, const struct nextport_lease *lease, struct nextport_error *err)
{
    return run->ops->drop(run->ledger, lease, "withdrawn", err);
}

enum nextport_status nextport_withdraw(struct nextport *np, const struct nextport_result *answer,
                                       struct nextport_error *err)
{
    struct np_run run;
    bool present;
    if (!answer->changed)
        return NEXTPORT_OK;
    np_run_init(&run, np, NEXTPORT_ANSWER_RELEASE);
    enum nextport_status status = begin(&run, &present, err);
    if (status == NEXTPORT_OK && present)
        status = end_leases(&run, was_new, answer, withdraw, err);
    return np_run_done(&run, false, NULL, status);
}

/* ---- Releasing ----------------------------------------------------------------------------------------------- */

struct choice {
    const struct nextport_selection *which;
    const struct np_owner *owner;
};

static bool is_owners(const struct np_owner *owner, const struct nextport_lease *lease)
{
    return !owner->n_labels || np_equal(owner->key, lease->owner_key);
}

static bool is_chosen(const struct nextport_lease *lease, const void *ctx)
{
    const struct choice *choice = ctx;
    return lease->state != NEXTPORT_RESTING && np_run_selects(choice->which, lease) && is_owners(choice->owner, lease);
}

/* A port that is named together with an owner must be this owner's. */
static enum nextport_status check_owner(const struct np_run *run, const struct nextport_selection *which,
                                        struct nextport_error *err)
{
    const struct nextport_selection place = {.port = which->port, .id = which->id};
    for (size_t i = 0; (place.port || place.id) && i < run->leases.n; i++) {
        const struct nextport_lease *lease = &run->leases.items[i];
        if (!np_run_selects(&place, lease) || lease->state == NEXTPORT_RESTING || is_owners(&run->owner, lease))
            continue;
        np_fail(err, NEXTPORT_DENIED, "port %u is leased to %s, not to %s", lease->port,
                lease->owner ? lease->owner : "nobody", run->owner.shown);
        np_hint(err, "'nextport leases' shows whose is whose.");
        return err->status;
    }
    return NEXTPORT_OK;
}

/* Nothing was this owner's, but there are owners with these labels and more: was one of them meant? */
static void note_near(struct np_run *run)
{
    const struct nextport_lease *near = NULL;
    size_t n = 0;
    if (run->res->changed || !run->owner.n_labels)
        return;
    for (size_t i = 0; i < run->leases.n; i++) {
        const struct nextport_lease *lease = &run->leases.items[i];
        const bool has = lease->state != NEXTPORT_RESTING && !is_owners(&run->owner, lease) &&
                         np_owner_matches(lease->labels, lease->n_labels, &run->owner);
        near = has && !near ? lease : near;
        n += has;
    }
    if (near)
        np_note(&run->log, NEXTPORT_WARNING,
                "%s itself has no lease, but %zu lease%s of owners with more labels, as %s: name the whole owner",
                run->owner.shown, n, n == 1 ? " is" : "s are", near->owner);
}

static enum nextport_status release(struct np_run *run, const struct nextport_selection *which,
                                    struct nextport_error *err)
{
    const struct choice choice = {which, &run->owner};
    bool present;
    if (!which->port && !which->id && !which->n_labels)
        return np_fail(err, NEXTPORT_INPUT, "nothing is selected to be released");
    if (np_owner_make(&run->owner, which->labels, which->n_labels, run->arena, err) != NEXTPORT_OK ||
        begin(run, &present, err) != NEXTPORT_OK)
        return err->status;
    if (!present)
        return NEXTPORT_OK;
    if (check_owner(run, which, err) != NEXTPORT_OK)
        return err->status;
    if (end_leases(run, is_chosen, &choice, np_run_release, err) != NEXTPORT_OK)
        return err->status;
    note_near(run);
    return NEXTPORT_OK;
}

enum nextport_status nextport_release(struct nextport *np, const struct nextport_selection *which,
                                      struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    np_run_init(&run, np, NEXTPORT_ANSWER_RELEASE);
    run.res->port = which->port;
    np_run_asked(&run, which->text);
    enum nextport_status status = release(&run, which, err);
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}
