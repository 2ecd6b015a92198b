/* What happened, and the pool as a picture.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

/* ---- What happened ---- */

/* An owner that cannot be read has none of the labels. Its text is read in memory of its own: a history may be long. */
static bool has_labels(const void *ctx, const char *owner_text)
{
    struct np_arena *arena = np_arena_new();
    struct np_owner owner;
    const bool ret = np_owner_parse(&owner, owner_text, arena) && np_owner_matches(owner.labels, owner.n_labels, ctx);
    np_arena_free(arena);
    return ret;
}

static enum nextport_status read_events(struct np_run *run, const struct np_event_query *query,
                                        struct nextport_error *err)
{
    struct np_ledger *ledger = NULL;
    struct nextport_event *events = NULL;
    enum nextport_status status = run->ops->open(&ledger, run->path, NP_LEDGER_READ, &run->actor, err);
    if (status == NEXTPORT_OK)
        status = run->ops->events(ledger, query, run->arena, &events, &run->res->n_events, err);
    run->ops->close(ledger);
    run->res->events = events;
    return status == NEXTPORT_OK ? status : np_wrap(err, "read ledger %s", run->path);
}

static enum nextport_status find_ledger(struct np_run *run, bool *ret_present, struct nextport_error *err)
{
    *ret_present = false;
    if (run->np->settings.root && !run->np->settings.ledger) {
        np_fail(err, NEXTPORT_INPUT, "a root has files only, and no history");
        np_hint(err, "Name a ledger with --ledger.");
        return err->status;
    }
    if (np_run_ledger_place(run, err) != NEXTPORT_OK)
        return err->status;
    if (np_host_ledger_vet(run->path, run->place, false, ret_present, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    return NEXTPORT_OK;
}

static enum nextport_status look_back(struct np_run *run, const struct nextport_selection *which,
                                      struct nextport_error *err)
{
    struct np_owner owner;
    bool present;
    if (np_owner_make_filter(&owner, which->labels, which->n_labels, run->arena, err) != NEXTPORT_OK ||
        find_ledger(run, &present, err) != NEXTPORT_OK)
        return err->status;
    const struct np_event_query query = {.port = which->port,
                                         .lease = which->id,
                                         .name = which->name,
                                         .deployment = which->deployment,
                                         .matches = owner.n_labels ? has_labels : NULL,
                                         .ctx = &owner,
                                         .limit = which->limit};
    if (present && read_events(run, &query, err) != NEXTPORT_OK)
        return err->status;
    np_run_sight(run, &np_source_ledger, present ? NEXTPORT_SEEN : NEXTPORT_ABSENT,
                 present ? NULL : np_sprintf(run->arena, "%s does not exist yet: nothing has happened", run->path),
                 NULL);
    return NEXTPORT_OK;
}

enum nextport_status nextport_log(struct nextport *np, const struct nextport_selection *selection,
                                  struct nextport_result **ret, struct nextport_error *err)
{
    static const struct nextport_selection all = NEXTPORT_SELECTION_INIT;
    struct np_run run;
    np_run_init(&run, np, NEXTPORT_ANSWER_LOG);
    enum nextport_status status = look_back(&run, selection ? selection : &all, err);
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}

/* ---- The pool as a picture ---- */

/* What is in no one's way is not drawn. A lease keeps its port whatever its protocol. */
static void keep_protocol(struct np_evidence *evidence, enum nextport_protocol protocol)
{
    size_t kept = 0;
    for (size_t i = 0; i < evidence->n_claims; i++) {
        const struct nextport_claim claim = evidence->claims[i];
        if (claim.kind == NEXTPORT_LEASED || claim.protocol & protocol)
            evidence->claims[kept++] = claim;
    }
    evidence->n_claims = kept;
}

enum nextport_status nextport_map(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct np_scope scope = {.protocol = np->settings.protocol, .sockets = true};
    np_run_init(&run, np, NEXTPORT_ANSWER_MAP);
    enum nextport_status status = np_run_pool(&run, err);
    scope.ports = run.pool;
    if (status == NEXTPORT_OK)
        status = np_run_look_at_all(&run, &scope, err);
    if (status == NEXTPORT_OK)
        status = np_run_avoid(&run, err);
    np_run_keep_claims(&run, &run.pool);
    keep_protocol(&run.evidence, np->settings.protocol);
    np_evidence_sort(&run.evidence, false);
    np_run_ranges(&run, &run.pool, &run.res->pool, &run.res->n_pool);
    run.res->claims = run.evidence.claims;
    run.res->n_claims = run.evidence.n_claims;
    return np_run_done(&run, np_run_has_looked(status), ret, status);
}
