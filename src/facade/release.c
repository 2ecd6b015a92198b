/* Giving leases back.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

typedef bool lease_match_fn(const struct nextport_lease *, const void *ctx);

/* Ends every lease that matches, in one transaction; the result lists them. */
static enum nextport_status end_leases(struct np_run *run, lease_match_fn *match, const void *ctx, const char *event,
                                       struct nextport_error *err)
{
    bool present;
    size_t capacity = 0;
    struct nextport_lease *ended = NULL;
    if (np_run_ledger_place(run, err) != NEXTPORT_OK || np_run_ledger_begin(run, false, &present, err) != NEXTPORT_OK)
        return err->status;
    if (!present)
        return NEXTPORT_OK;
    if (run->ops->leases(run->ledger, run->actor.scope, SIZE_MAX, &run->leases, err) != NEXTPORT_OK)
        return np_wrap(err, "read ledger %s", run->path);
    for (size_t i = 0; i < run->leases.n; i++) {
        const struct nextport_lease *lease = &run->leases.items[i];
        if (!match(lease, ctx))
            continue;
        if (run->ops->drop(run->ledger, lease, event, err) != NEXTPORT_OK)
            return np_wrap(err, "end the lease of port %u in %s", lease->port, run->path);
        *(struct nextport_lease *)np_push(run->arena, &ended, &run->res->n_leases, &capacity, sizeof *ended) = *lease;
    }
    run->res->leases = ended;
    run->res->changed = run->res->n_leases > 0;
    if (run->ops->end(run->ledger, run->res->changed, err) != NEXTPORT_OK)
        return np_wrap(err, "commit to ledger %s", run->path);
    return NEXTPORT_OK;
}

static bool in_answer(const struct nextport_lease *lease, const void *ctx)
{
    const struct nextport_result *answer = ctx;
    for (size_t i = 0; i < answer->n_ports; i++)
        if (answer->ports[i].lease_id == lease->id)
            return true;
    return false;
}

enum nextport_status nextport_withdraw(struct nextport *np, const struct nextport_result *answer,
                                       struct nextport_error *err)
{
    struct np_run run;
    if (!answer->changed)
        return NEXTPORT_OK;
    np_run_init(&run, np, NEXTPORT_ANSWER_RELEASE);
    enum nextport_status status = end_leases(&run, in_answer, answer, "withdrawn", err);
    return np_run_done(&run, false, NULL, status);
}

static bool is_named(const struct nextport_lease *lease, const void *ctx)
{
    const struct nextport_selection *which = ctx;
    return which->port ? lease->port == which->port : lease->id == which->id;
}

enum nextport_status nextport_release(struct nextport *np, const struct nextport_selection *which,
                                      struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    np_run_init(&run, np, NEXTPORT_ANSWER_RELEASE);
    run.res->port = which->port;
    enum nextport_status status = end_leases(&run, is_named, which, "released", err);
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}
