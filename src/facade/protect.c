/* Keeping outgoing connections out of the pool.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

struct items {
    struct np_arena *arena;
    struct nextport_item *rows;
    size_t n, capacity;
};

static void item(struct items *items, const char *name, const char *value, enum nextport_health health,
                 const char *advice)
{
    struct nextport_item *row = np_push(items->arena, &items->rows, &items->n, &items->capacity, sizeof *row);
    *row = (struct nextport_item){
        .section = "protection", .name = name, .value = value, .health = health, .advice = advice};
}

/* How many ports of the pool an outgoing connection may be given. */
static unsigned count_at_risk(const struct np_portset *pool, const struct np_os_ports *os)
{
    struct np_portset open = {{0}}, safe = *pool;
    np_portset_add(&open, os->ephemeral_first, os->ephemeral_last);
    np_portset_subtract(&open, &os->reserved);
    np_portset_subtract(&safe, &open);
    return np_portset_count(pool) - np_portset_count(&safe);
}

bool np_run_may_be_taken(const struct np_run *run)
{
    return run->os && count_at_risk(&run->pool, run->os) > 0;
}

/* ---- The command --------------------------------------------------------------------------------------------- */

static void list(struct np_run *run, const struct np_protection *found, const struct np_os_ports *os)
{
    struct items items = {.arena = run->arena};
    const unsigned size = np_portset_count(&run->pool), at_risk = count_at_risk(&run->pool, os);
    const char *how = found->cannot ? found->cannot
                                    : np_sprintf(run->arena, "%s: 'nextport protect --apply'.", np_host_words.elevate);
    item(&items, "pool",
         np_sprintf(run->arena, "%s: %u port%s", np_portset_format(run->arena, &run->pool), size, size == 1 ? "" : "s"),
         NEXTPORT_GOOD, NULL);
    item(&items, "ephemeral ports",
         np_sprintf(run->arena, "%u-%u: %u of %u pool ports are at risk", os->ephemeral_first, os->ephemeral_last,
                    at_risk, size),
         at_risk ? NEXTPORT_NOTICE : NEXTPORT_GOOD, at_risk ? how : NULL);
    item(&items, "in force", found->present, NEXTPORT_GOOD, NULL);
    item(&items, found->place ? "file" : "commands",
         np_sprintf(run->arena, "%s%s", found->place ? np_sprintf(run->arena, "%s: ", found->place) : "",
                    found->in_force ? "nothing to do"
                    : found->cannot ? "cannot be done"
                                    : "to be done"),
         found->in_force ? NEXTPORT_GOOD
         : found->cannot ? NEXTPORT_BAD
                         : NEXTPORT_NOTICE,
         found->in_force ? NULL : how);
    item(&items, "of nextport", found->ours ? found->ours : "nothing", NEXTPORT_GOOD, NULL);
    if (found->warning)
        np_note(&run->log, NEXTPORT_WARNING, "%s", found->warning);
    run->res->items = items.rows;
    run->res->n_items = items.n;
}

static enum nextport_status check(const struct np_run *run, struct nextport_error *err)
{
    if (!run->np->settings.root)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "--root reads files only: this machine's ports are protected by its own system");
    np_hint(err, "Run it on that machine, without --root.");
    return err->status;
}

static enum nextport_status act(struct np_run *run, enum nextport_protect what, struct nextport_error *err)
{
    switch (what) {
    case NEXTPORT_PROTECT_SHOW:
        return NEXTPORT_OK;
    case NEXTPORT_PROTECT_APPLY:
        if (np_host_protect(run->arena, &run->pool, &run->res->changed, err) != NEXTPORT_OK)
            return np_wrap(err, "protect the pool");
        np_note(&run->log, NEXTPORT_INFO, "%s",
                run->res->changed ? "the pool is protected now" : "the pool was protected already");
        return NEXTPORT_OK;
    case NEXTPORT_PROTECT_UNDO:
        if (np_host_unprotect(run->arena, &run->res->changed, err) != NEXTPORT_OK)
            return np_wrap(err, "take back the pool's protection");
        np_note(&run->log, NEXTPORT_INFO, "%s",
                run->res->changed ? "what --apply had set is taken back" : "there was nothing to take back");
        return NEXTPORT_OK;
    }
    return np_fail(err, NEXTPORT_INPUT, "protect: no such action %d", (int)what);
}

/* What is shown is what is found afterwards, so that it is never only believed. */
enum nextport_status nextport_protect(struct nextport *np, enum nextport_protect what, struct nextport_result **ret,
                                      struct nextport_error *err)
{
    struct np_run run;
    struct np_protection found;
    struct np_os_ports os;
    np_run_init(&run, np, NEXTPORT_ANSWER_PROTECT);
    enum nextport_status status = check(&run, err);
    if (status == NEXTPORT_OK)
        status = np_run_pool(&run, err);
    if (status == NEXTPORT_OK)
        status = act(&run, what, err);
    if (status == NEXTPORT_OK)
        status = np_host_protect_plan(run.arena, &run.pool, &found, err);
    if (status == NEXTPORT_OK)
        status = np_host_os_ports(run.arena, false, &os, err);
    if (status == NEXTPORT_OK) {
        list(&run, &found, &os);
        if (what != NEXTPORT_PROTECT_UNDO && !found.cannot)
            run.res->raw = found.text;
    }
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}
