/* What only looks: used, free, why, leases.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

/* Those that reach in stay whole. */
void np_run_keep_claims(struct np_run *run, const struct np_portset *ports)
{
    size_t kept = 0;
    for (size_t i = 0; i < run->evidence.n_claims; i++) {
        const struct nextport_claim *claim = &run->evidence.claims[i];
        uint16_t next = np_portset_next(ports, claim->first);
        if (!claim->first || (next && next <= claim->last))
            run->evidence.claims[kept++] = *claim;
    }
    run->evidence.n_claims = kept;
}

static enum nextport_status check_sources(const struct nextport_query *query, struct np_arena *arena,
                                          struct nextport_error *err)
{
    for (size_t i = 0; i < query->n_sources; i++) {
        if (np_source_find(query->sources[i]))
            continue;
        np_fail(err, NEXTPORT_INPUT, "unknown source '%s'", np_neutral(arena, query->sources[i], false));
        struct np_buf names = {.arena = arena};
        for (size_t j = 0; np_sources[j]; j++)
            np_buf_printf(&names, "%s%s", j ? ", " : "", np_sources[j]->name);
        np_hint(err, "Sources are %s.", names.ptr);
        return err->status;
    }
    return NEXTPORT_OK;
}

/* What is there is shown whole, unless someone asked for one protocol. */
static enum nextport_protocol asked_protocol(const struct nextport *np)
{
    bool asked = np_settings_is_set(&np->settings, "pool.protocol", NP_BY_DEFAULT);
    return asked ? np->settings.protocol : NEXTPORT_BOTH;
}

enum nextport_status nextport_used(struct nextport *np, const struct nextport_query *query,
                                   struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct np_scope scope = {.sockets = true,
                             .thorough = true,
                             .protocol = asked_protocol(np),
                             .only = query->n_sources ? query->sources : NULL,
                             .n_only = query->n_sources};
    np_run_init(&run, np, NEXTPORT_ANSWER_USED);
    enum nextport_status status = check_sources(query, run.arena, err);
    if (np_settings_is_set(&np->settings, "pool.range", NP_BY_ENVIRONMENT))
        scope.ports = np->settings.pool;
    else
        np_portset_add(&scope.ports, 1, 65535);
    if (status == NEXTPORT_OK)
        status = np_run_look_at_all(&run, &scope, err);
    np_run_keep_claims(&run, &scope.ports);
    np_evidence_sort(&run.evidence, query->all);
    run.res->claims = run.evidence.claims;
    run.res->n_claims = run.evidence.n_claims;
    return np_run_done(&run, np_run_has_looked(status), ret, status);
}

void np_run_ranges(struct np_run *run, const struct np_portset *set, const struct nextport_range **ret, size_t *ret_n)
{
    struct nextport_range *items = NULL, range;
    size_t capacity = 0;
    *ret_n = 0;
    for (uint32_t from = 1; np_portset_run(set, from, &range); from = range.last + 1u)
        *(struct nextport_range *)np_push(run->arena, &items, ret_n, &capacity, sizeof range) = range;
    *ret = items;
}

enum nextport_status nextport_unused(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct np_scope scope = {.protocol = np->settings.protocol, .sockets = true};
    np_run_init(&run, np, NEXTPORT_ANSWER_FREE);
    enum nextport_status status = np_run_pool(&run, err);
    scope.ports = run.pool;
    if (status == NEXTPORT_OK)
        status = np_run_look_at_all(&run, &scope, err);
    if (status == NEXTPORT_OK)
        status = np_run_avoid(&run, err);
    struct np_portset unused = run.pool;
    for (size_t i = 0; i < run.evidence.n_claims; i++) {
        const struct nextport_claim *claim = &run.evidence.claims[i];
        if (np_claim_blocks(claim, np->settings.protocol))
            np_portset_remove(&unused, claim->first, claim->last);
    }
    np_run_ranges(&run, &run.pool, &run.res->pool, &run.res->n_pool);
    np_run_ranges(&run, &unused, &run.res->free, &run.res->n_free);
    run.res->free_count = np_portset_count(&unused);
    return np_run_done(&run, np_run_has_looked(status), ret, status);
}

static bool is_blocked(const struct nextport_result *res)
{
    for (size_t i = 0; i < res->n_claims; i++)
        if (np_claim_blocks(&res->claims[i], res->protocol))
            return true;
    return false;
}

/* A port that is declared or promised, and that nothing uses, is not probed: its owner may be about to bind it. */
static bool may_probe(const struct nextport_result *res)
{
    bool promised = false;
    for (size_t i = 0; i < res->n_claims; i++) {
        if (!np_claim_blocks(&res->claims[i], res->protocol))
            continue;
        if (res->claims[i].kind == NEXTPORT_SOCKET)
            return true;
        promised = promised || res->claims[i].kind != NEXTPORT_RESERVED;
    }
    return !promised;
}

static enum nextport_status probe_one(struct np_run *run, uint16_t port, struct nextport_error *err)
{
    if (run->np->settings.root) {
        np_run_sight(run, &np_source_probe, NEXTPORT_ABSENT, "--root reads files only", NULL);
        return NEXTPORT_OK;
    }
    if (!may_probe(run->res))
        return NEXTPORT_OK;
    np_run_sight(run, &np_source_probe, NEXTPORT_SEEN, NULL, NULL);
    if (np_probe_open(&run->probe, run->np->settings.protocol, err) != NEXTPORT_OK)
        return err->status;
    return np_probe_try(run->probe, port, &run->res->probe, err);
}

enum nextport_status nextport_why(struct nextport *np, uint16_t port, struct nextport_result **ret,
                                  struct nextport_error *err)
{
    struct np_run run;
    struct np_scope scope = {.protocol = asked_protocol(np), .sockets = true, .thorough = true};
    np_run_init(&run, np, NEXTPORT_ANSWER_WHY);
    run.res->port = port;
    run.res->protocol = np->settings.protocol;
    np_portset_add(&scope.ports, port, port);
    enum nextport_status status = np_run_look_at_all(&run, &scope, err);
    if (status == NEXTPORT_OK)
        status = np_run_avoid(&run, err);
    np_run_keep_claims(&run, &scope.ports);
    np_evidence_sort(&run.evidence, false);
    run.res->claims = run.evidence.claims;
    run.res->n_claims = run.evidence.n_claims;
    for (size_t i = 0; i < run.leases.n; i++)
        if (run.leases.items[i].port == port) {
            run.res->leases = &run.leases.items[i];
            run.res->n_leases = 1;
        }
    if (np_run_has_looked(status)) {
        struct nextport_error probe_error = NEXTPORT_ERROR_INIT;
        if (probe_one(&run, port, &probe_error) != NEXTPORT_OK) {
            np_run_sight(&run, &np_source_probe, NEXTPORT_UNREADABLE, probe_error.text, NULL);
            *err = probe_error;
            status = NEXTPORT_BLIND;
        }
    }
    /* what was not seen may have it */
    run.res->is_free =
        status == NEXTPORT_OK && !is_blocked(run.res) && (run.res->probe == NEXTPORT_PROBE_FREE || np->settings.root);
    return np_run_done(&run, np_run_has_looked(status), ret, status);
}

bool np_run_selects(const struct nextport_selection *which, const struct nextport_lease *lease)
{
    return (!which->port || which->port == lease->port) && (!which->id || which->id == lease->id) &&
           (!which->name || np_equal(which->name, lease->name)) &&
           (!which->deployment || np_equal(which->deployment, lease->deployment));
}

static enum nextport_status select_leases(struct np_run *run, const struct nextport_selection *which,
                                          struct nextport_error *err)
{
    struct np_owner owner;
    size_t kept = 0;
    if (np_owner_make_filter(&owner, which->labels, which->n_labels, run->arena, err) != NEXTPORT_OK ||
        np_run_ledger_look(run, SIZE_MAX, err) != NEXTPORT_OK)
        return err->status;
    for (size_t i = 0; i < run->leases.n; i++) {
        const struct nextport_lease lease = run->leases.items[i];
        if (np_run_selects(which, &lease) && np_owner_matches(lease.labels, lease.n_labels, &owner))
            run->leases.items[kept++] = lease;
    }
    run->res->leases = run->leases.items;
    run->res->n_leases = kept;
    return NEXTPORT_OK;
}

enum nextport_status nextport_leases(struct nextport *np, const struct nextport_selection *which,
                                     struct nextport_result **ret, struct nextport_error *err)
{
    static const struct nextport_selection all = NEXTPORT_SELECTION_INIT;
    struct np_run run;
    np_run_init(&run, np, NEXTPORT_ANSWER_LEASES);
    enum nextport_status status = select_leases(&run, which ? which : &all, err);
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}

/* Where the ledger is that nothing in the settings names. */
static void show_ledger(struct np_run *run, struct nextport_item *items, size_t n)
{
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    for (size_t i = 0; i < n; i++)
        if (np_equal(items[i].section, "ledger") && np_equal(items[i].name, "file") && !items[i].value &&
            np_run_ledger_place(run, &ignored) == NEXTPORT_OK)
            items[i].value = run->path;
}

enum nextport_status nextport_config(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct nextport_item *items;
    (void)err;
    np_run_init(&run, np, NEXTPORT_ANSWER_CONFIG);
    np_settings_items(&np->settings, run.arena, &items, &run.res->n_items);
    show_ledger(&run, items, run.res->n_items);
    run.res->items = items;
    return np_run_done(&run, true, ret, NEXTPORT_OK);
}
