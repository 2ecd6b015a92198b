/* The audit of a machine: looks at everything, and asks the core what is wrong with it.
 * SPDX-License-Identifier: MIT */
#include "core/audit.h"
#include "facade/run.h"

static const char *const *programs_of(const char *name)
{
    const struct np_source *source = np_source_find(name);
    return source ? source->programs : NULL;
}

/* Facts that nobody could read have no findings; that they could not be read is seen at the source. */
static void add_os_facts(struct np_run *run, struct np_audit *audit)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_os_ports os;
    if (run->np->settings.root || np_host_os_ports(run->arena, false, &os, &err) != NEXTPORT_OK)
        return;
    audit->ephemeral_first = os.ephemeral_first;
    audit->ephemeral_last = os.ephemeral_last;
    audit->protected = os.reserved;
    for (size_t i = 0; i < os.n_excluded; i++)
        np_portset_add(&audit->excluded, os.excluded[i].ports.first, os.excluded[i].ports.last);
}

static enum nextport_sight sight_of(const struct np_run *run, const struct np_source *source)
{
    const struct nextport_sighting *s = np_evidence_sighting(&run->evidence, source->name);
    return s ? s->sight : NEXTPORT_UNREADABLE;
}

/* Was everything looked at, running and configured? */
static bool is_whole(const struct np_run *run)
{
    for (size_t i = 0; i < run->evidence.n_sightings; i++) {
        const struct nextport_sighting *s = &run->evidence.sightings[i];
        if (s->sight == NEXTPORT_PARTIAL || s->sight == NEXTPORT_UNREADABLE || s->policy == NEXTPORT_OFF)
            return false;
    }
    return sight_of(run, &np_source_sockets) == NEXTPORT_SEEN;
}

/* A ledger that does not exist yet has no leases; one that was not asked may have any. */
static bool has_ledger(const struct np_run *run)
{
    const enum nextport_sight sight = sight_of(run, &np_source_ledger);
    return sight == NEXTPORT_SEEN || (sight == NEXTPORT_ABSENT && run->path);
}

static void audit(struct np_run *run)
{
    struct np_audit audit = {.settings = &run->np->settings,
                             .evidence = &run->evidence,
                             .leases = &run->leases,
                             .has_ledger = has_ledger(run),
                             .whole = is_whole(run),
                             .now = run->actor.now,
                             .programs = programs_of,
                             .time_text = np_time_text};
    add_os_facts(run, &audit);
    np_audit(&audit, run->arena, &run->res->findings, &run->res->n_findings);
}

enum nextport_status nextport_check(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct np_scope scope = {.protocol = NEXTPORT_BOTH, .sockets = true, .thorough = true};
    np_run_init(&run, np, NEXTPORT_ANSWER_CHECK);
    run.res->fail_on = np->settings.fail_on;
    np_portset_add(&scope.ports, 1, 65535);
    enum nextport_status status = np_run_pool(&run, err);
    if (status == NEXTPORT_OK)
        status = np_run_look_at_all(&run, &scope, err);
    if (np_run_has_looked(status))
        audit(&run);
    return np_run_done(&run, np_run_has_looked(status), ret, status);
}
