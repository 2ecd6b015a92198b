/* Leases of other network namespaces (doc/lifetimes.md, "Network namespaces"). Nobody looks at their ports from here, and when
 * a namespace ends nobody ever will. That it has ended cannot be known while the system runs: a process, a mount, an open file
 * or a socket that some process far away has keeps it. No namespace outlives the system.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* "scope:NAME" is remembered of each that has leases: "BOOT", or "BOOT gone TIME" since it was found to have ended. (Of BOOT only
 * what is before a ':' counts: older ones wrote more.) */
static const char gone_word[] = " gone ";

static const char *note_key(const struct np_run *run, const char *scope)
{
    return np_sprintf(run->arena, "scope:%s", scope);
}

const char *np_run_looked_key(const struct np_run *run, const char *scope)
{
    return scope[0] ? np_sprintf(run->arena, "looked:%s", scope) : "looked";
}

/* A namespace that asks lives. */
enum nextport_status np_run_mark_scope(struct np_run *run, struct nextport_error *err)
{
    const char *boot = run->actor.scope[0] ? np_host_boot(run->arena) : NULL, *told;
    if (!boot)
        return NEXTPORT_OK;
    const char *key = note_key(run, run->actor.scope);
    if (run->ops->recall(run->ledger, key, run->arena, &told, err) != NEXTPORT_OK)
        return err->status;
    return told && strcmp(told, boot) == 0 ? NEXTPORT_OK : run->ops->remember(run->ledger, key, boot, err);
}

/* During which start of the system a scope asked last (one of which nothing was remembered: this one), and since when it is
 * known to have ended (0: it is not). */
static enum nextport_status read_life(struct np_run *run, const char *scope, const char *boot, const char **ret_boot,
                                      int64_t *ret_gone, struct nextport_error *err)
{
    const char *told;
    if (run->ops->recall(run->ledger, note_key(run, scope), run->arena, &told, err) != NEXTPORT_OK)
        return err->status;
    const char *word = told ? strstr(told, gone_word) : NULL;
    *ret_gone = word ? strtoll(word + strlen(gone_word), NULL, 10) : 0;
    *ret_boot = told ? np_strndup(run->arena, told, strcspn(told, ": ")) : boot;
    return NEXTPORT_OK;
}

/* All of its leases, and what was remembered of it. */
static enum nextport_status end_scope(struct np_run *run, const char *scope, struct nextport_error *err)
{
    struct np_leases leases = {.arena = run->arena};
    if (run->ops->leases(run->ledger, scope, SIZE_MAX, &leases, err) != NEXTPORT_OK)
        return err->status;
    for (size_t i = 0; i < leases.n; i++) {
        if (run->ops->drop(run->ledger, &leases.items[i], "expired", err) != NEXTPORT_OK)
            return err->status;
        *(struct nextport_lease *)np_push(run->arena, &run->ended, &run->n_ended, &run->ended_capacity,
                                          sizeof *leases.items) = leases.items[i];
    }
    np_note(&run->log, NEXTPORT_INFO, "the network namespace %s is gone for long: its %zu lease%s ended", scope,
            leases.n, leases.n == 1 ? " is" : "s are");
    if (run->ops->remember(run->ledger, np_run_looked_key(run, scope), NULL, err) != NEXTPORT_OK)
        return err->status;
    return run->ops->remember(run->ledger, note_key(run, scope), NULL, err);
}

static enum nextport_status judge(struct np_run *run, const char *scope, const char *boot, struct nextport_error *err)
{
    const int64_t now = run->actor.now, absent_s = run->np->settings.lifetimes.absent_s;
    const char *asked = boot;
    int64_t gone = 0;
    if (read_life(run, scope, boot, &asked, &gone, err) != NEXTPORT_OK)
        return err->status;
    if (strcmp(asked, boot) == 0)
        return run->ops->remember(run->ledger, note_key(run, scope), boot, err);
    const bool known = gone && gone <= now; /* else the clock went backwards */
    if (known && now - gone >= absent_s)
        return end_scope(run, scope, err);
    np_note(&run->log, NEXTPORT_VERBOSE, "the network namespace %s has ended: its leases are kept as absent ones are",
            scope);
    if (known)
        return NEXTPORT_OK;
    return run->ops->remember(run->ledger, note_key(run, scope),
                              np_sprintf(run->arena, "%s%s%" PRId64, asked, gone_word, now), err);
}

enum nextport_status np_run_end_scopes(struct np_run *run, struct nextport_error *err)
{
    const char *const *scopes, *boot = np_host_boot(run->arena);
    size_t n;
    if (!boot)
        return NEXTPORT_OK;
    if (run->ops->scopes(run->ledger, run->arena, &scopes, &n, err) != NEXTPORT_OK)
        return err->status;
    for (size_t i = 0; i < n; i++)
        if (scopes[i][0] && strcmp(scopes[i], run->actor.scope) != 0 && judge(run, scopes[i], boot, err) != NEXTPORT_OK)
            return err->status;
    return NEXTPORT_OK;
}
