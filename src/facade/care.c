/* Caring for the machine: setup, doctor, rebind.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

#include <string.h>

struct items {
    struct np_arena *arena;
    struct nextport_item *rows;
    size_t n, capacity;
};

static void item(struct items *items, const char *section, const char *name, const char *value,
                 enum nextport_health health, const char *advice)
{
    struct nextport_item *row = np_push(items->arena, &items->rows, &items->n, &items->capacity, sizeof *row);
    *row = (struct nextport_item){
        .section = section, .name = name, .value = value, .health = health, .advice = np_strdup(items->arena, advice)};
}

/* ---- Setup --------------------------------------------------------------------------------------------------- */

static enum nextport_status may_set_up(const struct np_run *run, const char *doing, struct nextport_error *err)
{
    if (run->place != NP_PLACE_MACHINE || np_host_privileged())
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_DENIED, "%s the machine's ledger %s: only %s may", doing, run->path, np_host_words.admin);
    np_hint(err, "%s, or use a ledger of your own with --user.", np_host_words.setup);
    return err->status;
}

static enum nextport_status set_up_ledger(struct np_run *run, struct items *items, struct nextport_error *err)
{
    bool present = false;
    if (np_host_ledger_vet(run->path, run->place, true, &present, err) != NEXTPORT_OK)
        return err->status;
    item(items, "setup", "ledger", np_sprintf(run->arena, "%s: %s", run->path, present ? "was there" : "made"),
         NEXTPORT_GOOD, NULL);
    run->res->changed = run->res->changed || !present;
    if (np_run_ledger_begin(run, true, &present, err) != NEXTPORT_OK)
        return err->status;
    return run->ops->end(run->ledger, false, err);
}

static enum nextport_status set_up_group(struct np_run *run, struct items *items, struct nextport_error *err)
{
    bool made;
    if (np_host_make_group(&made, err) != NEXTPORT_OK)
        return err->status;
    item(items, "setup", "group", made ? NP_GROUP ": made" : NP_GROUP ": was there", NEXTPORT_GOOD,
         np_sprintf(run->arena, "Members may lease ports: %s.", np_host_words.join));
    run->res->changed = run->res->changed || made;
    return NEXTPORT_OK;
}

static enum nextport_status set_up_modes(struct np_run *run, struct items *items, struct nextport_error *err)
{
    bool changed;
    if (np_host_ledger_modes(run->path, &changed, err) != NEXTPORT_OK)
        return err->status;
    item(items, "setup", "modes", changed ? "set as promised" : "are as promised", NEXTPORT_GOOD, NULL);
    run->res->changed = run->res->changed || changed;
    return NEXTPORT_OK;
}

static void add_task(struct np_run *run, struct items *items, const struct np_task *task, const char *what)
{
    if (task->name)
        item(items, "setup", "task", np_sprintf(run->arena, "%s: %s", task->name, what),
             task->why ? NEXTPORT_NOTICE : NEXTPORT_GOOD, task->why);
    run->res->changed = run->res->changed || task->changed;
}

static enum nextport_status set_up_task(struct np_run *run, struct items *items, struct nextport_error *err)
{
    struct np_task task;
    if (np_host_make_task(run->arena, &task, err) != NEXTPORT_OK)
        return err->status;
    add_task(run, items, &task, task.why ? "not made" : task.changed ? "made" : "was there");
    return NEXTPORT_OK;
}

enum nextport_status nextport_setup(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct items items;
    np_run_init(&run, np, NEXTPORT_ANSWER_SETUP);
    items = (struct items){.arena = run.arena};
    enum nextport_status status = np_run_ledger_place(&run, err);
    const bool machine = status == NEXTPORT_OK && run.place == NP_PLACE_MACHINE;
    if (status == NEXTPORT_OK)
        status = may_set_up(&run, "setup makes", err);
    if (status == NEXTPORT_OK && machine)
        status = set_up_group(&run, &items, err);
    if (status == NEXTPORT_OK)
        status = set_up_ledger(&run, &items, err);
    if (status == NEXTPORT_OK && machine)
        status = set_up_modes(&run, &items, err);
    if (status == NEXTPORT_OK && machine)
        status = set_up_task(&run, &items, err);
    run.res->items = items.rows;
    run.res->n_items = items.n;
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}

/* ---- Setup taken back ---------------------------------------------------------------------------------------- */

static enum nextport_status remove_task(struct np_run *run, struct items *items, struct nextport_error *err)
{
    struct np_task task;
    if (np_host_remove_task(run->arena, &task, err) != NEXTPORT_OK)
        return err->status;
    add_task(run, items, &task, task.changed ? "removed" : "was not there");
    return NEXTPORT_OK;
}

static enum nextport_status remove_group(struct np_run *run, struct items *items, struct nextport_error *err)
{
    bool removed;
    if (np_host_remove_group(&removed, err) != NEXTPORT_OK)
        return err->status;
    item(items, "setup", "group", removed ? NP_GROUP ": removed" : NP_GROUP ": was not there", NEXTPORT_GOOD, NULL);
    run->res->changed = run->res->changed || removed;
    return NEXTPORT_OK;
}

/* A group that is made later may get the number of the one removed, and must not get its rights. */
static enum nextport_status leave_ledger(struct np_run *run, struct items *items, struct nextport_error *err)
{
    const char *folder = np_strndup(run->arena, run->path, (size_t)(strrchr(run->path, '/') - run->path));
    if (!np_host_exists(folder)) {
        item(items, "setup", "ledger", np_sprintf(run->arena, "%s: does not exist", run->path), NEXTPORT_GOOD, NULL);
        return NEXTPORT_OK;
    }
    item(items, "setup", "ledger", np_sprintf(run->arena, "%s: stays", run->path), NEXTPORT_GOOD,
         np_sprintf(run->arena, "It is data. When its leases are not needed any more, delete the folder %s.", folder));
    return set_up_modes(run, items, err);
}

/* What a stranger put in the ledger's place must not get the modes that make it trusted, so it is vetted as long as there
 * is the group to vet it by. */
static enum nextport_status take_back(struct np_run *run, struct items *items, struct nextport_error *err)
{
    bool present;
    struct nextport_error unsound = NEXTPORT_ERROR_INIT;
    np_host_ledger_vet(run->path, run->place, false, &present, &unsound);
    if (remove_task(run, items, err) != NEXTPORT_OK || remove_group(run, items, err) != NEXTPORT_OK)
        return err->status;
    if (unsound.status == NEXTPORT_OK)
        return leave_ledger(run, items, err);
    *err = unsound;
    return np_wrap(err, "task and group are removed, the ledger %s is left as it is", run->path);
}

enum nextport_status nextport_undo_setup(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct items items;
    np_run_init(&run, np, NEXTPORT_ANSWER_SETUP);
    items = (struct items){.arena = run.arena};
    enum nextport_status status = np_run_ledger_place(&run, err);
    if (status == NEXTPORT_OK && run.place != NP_PLACE_MACHINE) {
        status =
            np_fail(err, NEXTPORT_INPUT, "%s is not the machine's ledger: setup made nothing else for it", run.path);
        np_hint(err, "Delete the file and its neighbours when its leases are not needed any more.");
    }
    if (status == NEXTPORT_OK)
        status = may_set_up(&run, "take back the setup of", err);
    if (status == NEXTPORT_OK)
        status = take_back(&run, &items, err);
    run.res->items = items.rows;
    run.res->n_items = items.n;
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}

/* ---- Rebind -------------------------------------------------------------------------------------------------- */

enum nextport_status nextport_rebind(struct nextport *np, struct nextport_error *err)
{
    struct np_run run;
    bool present = false;
    np_run_init(&run, np, NEXTPORT_ANSWER_DOCTOR);
    enum nextport_status status = np_run_ledger_place(&run, err);
    if (status == NEXTPORT_OK)
        status = np_host_ledger_vet(run.path, run.place, true, &present, err);
    if (status == NEXTPORT_OK && !present)
        status = np_fail(err, NEXTPORT_LEDGER, "there is no ledger %s to rebind", run.path);
    if (status == NEXTPORT_OK)
        status = np_lock_take(&run.lock, run.path, run.place, np->settings.wait_s, err);
    if (status == NEXTPORT_OK)
        status = run.ops->rebind(run.path, &run.actor, err);
    return np_run_done(&run, false, NULL, status);
}

/* ---- Doctor -------------------------------------------------------------------------------------------------- */

static const char *source_value(struct np_run *run, const struct np_source *source,
                                const struct nextport_sighting *sighting)
{
    size_t claims = 0;
    for (size_t i = 0; i < run->evidence.n_claims; i++)
        claims += strcmp(run->evidence.claims[i].source, source->name) == 0;
    const char *seen =
        np_sprintf(run->arena, "%s, policy %s", np_sight_name(sighting->sight), np_policy_name(sighting->policy));
    if (sighting->why)
        return np_sprintf(run->arena, "%s: %s", seen, sighting->why);
    if (source == &np_source_probe) /* it is asked about one port at a time, so it has nothing to count */
        return seen;
    return np_sprintf(run->arena, "%s, %zu claim%s", seen, claims, claims == 1 ? "" : "s");
}

static void doctor_sources(struct np_run *run, struct items *items)
{
    for (size_t i = 0; np_sources[i]; i++) {
        const struct nextport_sighting *s = np_evidence_sighting(&run->evidence, np_sources[i]->name);
        if (!s || s->policy == NEXTPORT_OFF) {
            item(items, "source", np_sources[i]->name, "off by policy: not asked", NEXTPORT_NOTICE,
                 "Ports that only this source knows can be given away.");
            continue;
        }
        bool bad = s->sight == NEXTPORT_PARTIAL || s->sight == NEXTPORT_UNREADABLE;
        enum nextport_health health = !bad                            ? NEXTPORT_GOOD
                                      : s->policy == NEXTPORT_REQUIRE ? NEXTPORT_BAD
                                                                      : NEXTPORT_NOTICE;
        const char *mend = health == NEXTPORT_BAD && np_sources[i]->files ? "Mend the file that is named." : NULL;
        item(items, "source", np_sources[i]->name, source_value(run, np_sources[i], s), health,
             s->hint ? s->hint : mend);
    }
}

static void doctor_os(struct np_run *run, struct items *items)
{
    static const char keep_out[] = "Outgoing connections may take them. 'nextport protect --apply' keeps these out; "
                                   "'nextport protect' shows how.";
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_os_ports os;
    if (np_host_os_ports(run->arena, false, &os, &err) != NEXTPORT_OK)
        return;
    struct np_portset open = {{0}}, safe = run->pool;
    np_portset_add(&open, os.ephemeral_first, os.ephemeral_last);
    np_portset_subtract(&open, &os.reserved);
    np_portset_subtract(&safe, &open);
    unsigned size = np_portset_count(&run->pool), at_risk = size - np_portset_count(&safe);
    item(items, "system", "ephemeral ports",
         np_sprintf(run->arena, "%u-%u: %u of %u pool ports are at risk", os.ephemeral_first, os.ephemeral_last,
                    at_risk, size),
         at_risk ? NEXTPORT_NOTICE : NEXTPORT_GOOD, at_risk ? keep_out : NULL);
}

static void doctor_ledger(struct np_run *run, struct items *items)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_ledger_health health = {0};
    bool present = false;
    if (!run->path || np_host_ledger_vet(run->path, run->place, false, &present, &err) != NEXTPORT_OK) {
        item(items, "ledger", run->path ? run->path : "none",
             err.text[0] ? np_strdup(run->arena, err.text) : "not asked", err.text[0] ? NEXTPORT_BAD : NEXTPORT_GOOD,
             err.hint[0] ? err.hint : NULL);
        return;
    }
    if (!present) {
        item(items, "ledger", run->path, "does not exist yet", NEXTPORT_NOTICE,
             run->place == NP_PLACE_MACHINE
                 ? np_sprintf(run->arena, "%s: until then only %s can lease.", np_host_words.setup, np_host_words.admin)
                 : "The first 'nextport next' makes it.");
        return;
    }
    enum nextport_status status = run->ops->open(&run->ledger, run->path, NP_LEDGER_READ, &run->actor, &err);
    if (status == NEXTPORT_OK)
        status = run->ops->health(run->ledger, run->arena, &health, &err);
    if (status != NEXTPORT_OK || health.problem) {
        item(items, "ledger", run->path, np_strdup(run->arena, health.problem ? health.problem : err.text),
             NEXTPORT_BAD,
             err.hint[0] ? err.hint : "Keep a copy of the file, then restore a backup or start a fresh ledger.");
        return;
    }
    const char *elsewhere = "";
    if (health.n_elsewhere)
        elsewhere = np_sprintf(run->arena, " (%lld of other network namespaces)", (long long)health.n_elsewhere);
    item(items, "ledger", run->path,
         np_sprintf(run->arena, "sound: schema %d, %lld lease%s%s, %lld event%s, %lld bytes", health.schema,
                    (long long)health.n_leases, health.n_leases == 1 ? "" : "s", elsewhere, (long long)health.n_events,
                    health.n_events == 1 ? "" : "s", (long long)health.bytes),
         NEXTPORT_GOOD, NULL);
}

static void raw_bundle(struct np_run *run, const struct items *items)
{
    struct np_buf out = {.arena = run->arena};
    struct nextport_item *settings;
    size_t n;
    np_buf_printf(&out, "nextport %s\nhost %s, scope '%s', user %s, machine id %s\n", nextport_version(),
                  run->res->host, run->actor.scope, run->actor.user, run->actor.machine_id ? "known" : "none");
    np_settings_items(&run->np->settings, run->arena, &settings, &n);
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&out, "setting %s.%s = %s (%s)\n", settings[i].section, settings[i].name,
                      settings[i].value ? settings[i].value : "", settings[i].origin);
    for (size_t i = 0; i < items->n; i++)
        np_buf_printf(&out, "%s %s: %s\n", items->rows[i].section, items->rows[i].name, items->rows[i].value);
    for (size_t i = 0; i < run->log.n_notes; i++)
        np_buf_printf(&out, "note: %s\n", run->log.notes[i].text);
    for (size_t i = 0; i < run->evidence.n_claims; i++) {
        const struct nextport_claim *c = &run->evidence.claims[i];
        np_buf_printf(&out, "claim %u-%u %s %s %s %s holder=%s detail=%s file=%s:%u pid=%lld count=%llu\n", c->first,
                      c->last, np_protocol_name(c->protocol), np_kind_name(c->kind), c->source,
                      c->address ? c->address : "-", c->holder ? c->holder : "-", c->detail ? c->detail : "-",
                      c->file ? c->file : "-", c->line, (long long)c->pid, (unsigned long long)c->count);
    }
    run->res->raw = out.ptr;
}

static void doctor_probe(struct np_run *run)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_probe *probe;
    if (run->np->settings.root) {
        np_run_sight(run, &np_source_probe, NEXTPORT_ABSENT, "--root reads files only", NULL);
    } else if (np_probe_open(&probe, run->np->settings.protocol, &err) == NEXTPORT_OK) {
        np_probe_close(probe);
        np_run_sight(run, &np_source_probe, NEXTPORT_SEEN, NULL, NULL);
    } else {
        np_run_sight(run, &np_source_probe, NEXTPORT_UNREADABLE, err.text, err.hint);
    }
}

enum nextport_status nextport_doctor(struct nextport *np, bool raw, struct nextport_result **ret,
                                     struct nextport_error *err)
{
    struct np_run run;
    struct items items;
    struct np_scope scope = {.protocol = NEXTPORT_BOTH, .sockets = true, .thorough = true};
    np_run_init(&run, np, NEXTPORT_ANSWER_DOCTOR);
    items = (struct items){.arena = run.arena};
    np_portset_add(&scope.ports, 1, 65535);
    enum nextport_status status = np_run_pool(&run, err);
    if (status == NEXTPORT_OK)
        status = np_run_look_at_all(&run, &scope, err);
    if (np_run_has_looked(status)) {
        np_evidence_sort(&run.evidence, false);
        doctor_probe(&run);
        doctor_sources(&run, &items);
        if (!np->settings.root)
            doctor_os(&run, &items);
        doctor_ledger(&run, &items);
        if (raw)
            raw_bundle(&run, &items);
    }
    run.res->items = items.rows;
    run.res->n_items = items.n;
    return np_run_done(&run, np_run_has_looked(status), ret, status);
}
