/* SPDX-License-Identifier: MIT */
#include "facade/run.h"

#include <string.h>

void np_run_init(struct np_run *run, struct nextport *np, enum nextport_what what)
{
    struct np_arena *arena = np_arena_new();
    struct answer *answer = np_alloc(arena, sizeof *answer);
    answer->arena = arena;
    *run = (struct np_run){.np = np, .arena = arena, .res = &answer->result};
    run->log.arena = run->leases.arena = run->evidence.arena = arena;
    run->evidence.log = &run->log;
    run->ops = np_ledgers[0];
    run->res->what = what;
    run->res->host = np_host_name(arena);
    run->actor = (struct np_actor){.host = run->res->host,
                                   .scope = np_host_scope(arena),
                                   .user = np_host_user(arena),
                                   .program = "nextport " NEXTPORT_VERSION,
                                   .machine_id = np_host_machine_id(arena),
                                   .now = np_host_now()};
}

/* In the order that nobody sees a port free before its lease is on disk, and nobody waits longer than needed. */
static void let_go(struct np_run *run)
{
    const bool had_lock = run->lock != NULL;
    if (run->ledger)
        run->ops->close(run->ledger);
    np_probe_close(run->probe);
    np_lock_release(run->lock);
    if (had_lock)
        np_run_keep_memory(run);
    if (run->given != run->reader)
        np_reader_close(run->given);
    np_reader_close(run->reader);
    run->ledger = NULL;
    run->probe = NULL;
    run->lock = NULL;
    run->reader = run->given = NULL;
}

/* Hands the answer over when `keep`, else frees it. */
enum nextport_status np_run_done(struct np_run *run, bool keep, struct nextport_result **ret,
                                 enum nextport_status status)
{
    let_go(run);
    if (!keep) {
        np_arena_free(run->arena);
        return status;
    }
    run->res->notes = run->log.notes;
    run->res->n_notes = run->log.n_notes;
    run->res->sources = run->evidence.sightings;
    run->res->n_sources = run->evidence.n_sightings;
    *ret = run->res;
    return status;
}

void np_run_asked(struct np_run *run, const char *text)
{
    enum { LIMIT = 1000 };
    run->actor.request = text ? np_strndup(run->arena, text, np_text_cut(np_text_of(text), LIMIT)) : NULL;
}

enum nextport_status np_run_pool(struct np_run *run, struct nextport_error *err)
{
    run->pool = run->np->settings.pool;
    np_portset_subtract(&run->pool, &run->np->settings.exclude);
    if (np_portset_next(&run->pool, 1))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "the pool is empty: every port of %s is excluded",
            np_portset_format(run->arena, &run->np->settings.pool));
    np_hint(err, "'nextport config' shows where the exclusions come from.");
    return err->status;
}

enum nextport_status np_run_open_readers(struct np_run *run, struct nextport_error *err)
{
    const char *root = run->np->settings.root;
    if (np_reader_open(&run->reader, root, run->arena, err) != NEXTPORT_OK)
        return err->status;
    if (!root)
        run->given = run->reader;
    else if (np_reader_open(&run->given, NULL, run->arena, err) != NEXTPORT_OK)
        return err->status;
    return NEXTPORT_OK;
}

bool np_run_changed(struct np_run *run)
{
    return np_reader_changed(run->reader) || (run->given != run->reader && np_reader_changed(run->given));
}

/* ---- Looking ------------------------------------------------------------------------------------------------- */

static bool asked(const struct np_scope *scope, const char *source)
{
    if (!scope->only)
        return true;
    for (size_t i = 0; i < scope->n_only; i++)
        if (strcmp(scope->only[i], source) == 0)
            return true;
    return false;
}

static bool is_dumped(const struct np_settings *settings, const struct np_source *source)
{
    for (size_t i = 0; i < settings->dumps.n; i++)
        if (strcmp(settings->dumps.items[i], source->name) == 0)
            return source->dump != NULL;
    return false;
}

static enum nextport_status refuse_dump(struct np_run *run, const char *name, struct nextport_error *err)
{
    const struct np_source *source = np_source_find(name);
    np_fail(err, NEXTPORT_INPUT, "--dump: %s '%s'%s%s", source ? "there is no dump of" : "unknown source",
            np_neutral(run->arena, name, false), source && source->no_dump ? ": " : "",
            source && source->no_dump ? source->no_dump : "");
    struct np_buf names = {.arena = run->arena};
    for (size_t i = 0; np_sources[i]; i++)
        if (np_sources[i]->dump)
            np_buf_printf(&names, "%s%s", names.len ? ", " : "", np_sources[i]->name);
    np_hint(err, "Sources with a dump are: %s. All others are read without it.", names.ptr);
    return err->status;
}

/* Only what somebody asked for is run, and only of this machine. */
static enum nextport_status check_dumps(struct np_run *run, struct nextport_error *err)
{
    const struct np_settings *settings = &run->np->settings;
    for (size_t i = 0; i < settings->dumps.n; i++) {
        const struct np_source *source = np_source_find(settings->dumps.items[i]);
        if (!source || !source->dump)
            return refuse_dump(run, settings->dumps.items[i], err);
    }
    if (!settings->root || !settings->dumps.n)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "--dump runs a program of this machine, and --root reads the files of another");
    np_hint(err, "Leave one of them out.");
    return err->status;
}

/* One source, by its number in the table. What it saw before it need not be asked for; what programs say, it must. */
static enum nextport_status look_at(struct np_run *run, struct np_look *look, unsigned i, struct nextport_error *err)
{
    const struct np_source *source = np_sources[i];
    const bool dumps = is_dumped(look->settings, source);
    const struct np_mark before = np_evidence_mark(&run->evidence);
    np_reader_ask_for(run->reader, i);
    np_reader_ask_for(run->given, i);
    look->is_live = dumps;
    if (!dumps && !look->thorough && np_run_recall(run, i))
        return NEXTPORT_OK;
    if (source->look(look, err) != NEXTPORT_OK)
        return np_wrap(err, "look at %s", source->name);
    if (dumps && source->dump(look, err) != NEXTPORT_OK)
        return np_wrap(err, "look at the dump of %s", source->name);
    np_run_learn(run, i, before, look->is_live);
    return NEXTPORT_OK;
}

enum nextport_status np_run_look(struct np_run *run, const struct np_scope *scope, struct nextport_error *err)
{
    const struct np_settings *settings = &run->np->settings;
    if (check_dumps(run, err) != NEXTPORT_OK)
        return err->status;
    struct np_look look = {.settings = settings,
                           .reader = run->reader,
                           .given = run->given,
                           .ret = &run->evidence,
                           .ports = scope->ports,
                           .protocol = scope->protocol,
                           .dumped = &run->dumped,
                           .is_locked = run->lock != NULL,
                           .thorough = scope->thorough};
    for (unsigned i = 0; np_sources[i]; i++) {
        const struct np_source *source = np_sources[i];
        bool wanted = source->look && asked(scope, source->name) && (scope->sockets || source != &np_source_sockets);
        if (wanted && np_settings_policy(settings, source->name) == NEXTPORT_OFF)
            np_run_sight(run, source, NEXTPORT_ABSENT, "not asked: its policy is off", NULL);
        else if (wanted && look_at(run, &look, i, err) != NEXTPORT_OK)
            return err->status;
    }
    np_reader_ask_for(run->reader, NP_READER_NOBODY);
    np_reader_ask_for(run->given, NP_READER_NOBODY);
    if (look.ret_os)
        run->os = look.ret_os;
    return NEXTPORT_OK;
}

void np_run_forget(struct np_run *run)
{
    run->evidence.n_claims = run->evidence.n_sightings = run->evidence.n_facts = run->log.n_notes = 0;
    run->os = NULL;
    np_run_forget_news(run);
    np_reader_begin_look(run->reader);
    if (run->given != run->reader)
        np_reader_begin_look(run->given);
}

enum nextport_status np_run_blind(struct np_run *run, struct nextport_error *err)
{
    const struct nextport_sighting *s = np_evidence_blind(&run->evidence);
    if (!s)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_BLIND, "the %s evidence is %s: %s", s->source, np_sight_name(s->sight),
            s->why ? s->why : "no reason is known");
    if (s->hint)
        np_hint(err, "%s", s->hint);
    if (np_source_find(s->source)->fixed)
        np_hint(err, "'nextport doctor' says more.");
    else
        np_hint(err,
                "Mend what is named, or accept the risk by '--policy %s=warn'; 'nextport doctor' shows every source.",
                s->source);
    return err->status;
}

void np_run_sight(struct np_run *run, const struct np_source *source, enum nextport_sight what, const char *why,
                  const char *hint)
{
    np_evidence_sight(&run->evidence, source->name, what, np_settings_policy(&run->np->settings, source->name), why,
                      hint);
}

/* ---- The ledger ---------------------------------------------------------------------------------------------- */

enum nextport_status np_run_ledger_place(struct np_run *run, struct nextport_error *err)
{
    const struct np_settings *s = &run->np->settings;
    enum np_strength by_user = np_settings_strength(s, "ledger.user"), by_file = np_settings_strength(s, "ledger.file");
    if (s->user && s->ledger && by_user == by_file) {
        np_fail(err, NEXTPORT_INPUT, "--user and --ledger %s are two different ledgers", s->ledger);
        np_hint(err, "Leave one of them out; 'nextport config' shows where each comes from.");
        return err->status;
    }
    if (s->user && by_user >= by_file) {
        run->place = NP_PLACE_USER;
        return np_host_user_ledger(run->arena, &run->path, err);
    }
    run->path = s->ledger ? s->ledger : np_host_machine_ledger(run->arena);
    run->place = np_host_is_machine_ledger(run->path) ? NP_PLACE_MACHINE : NP_PLACE_GIVEN;
    return NEXTPORT_OK;
}

static enum nextport_status ledger_make(struct np_run *run, struct nextport_error *err)
{
    const char *made = np_sprintf(run->arena, "%s-new", run->path);
    enum nextport_status status = np_host_ledger_fresh(made, err);
    if (status == NEXTPORT_OK)
        status = run->ops->create(made, &run->actor, err);
    if (status == NEXTPORT_OK)
        status = np_host_ledger_publish(made, run->path, run->place, err);
    return status;
}

/* Lock, make the ledger if there is none, open it and begin: from here on nobody else of this ledger allocates. */
enum nextport_status np_run_ledger_begin(struct np_run *run, bool make, bool *ret_present, struct nextport_error *err)
{
    bool present;
    *ret_present = false;
    if (np_host_ledger_vet(run->path, run->place, true, &present, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    if (!present && !make)
        return NEXTPORT_OK;
    if (!present && np_host_ledger_folder(run->path, run->place, err) != NEXTPORT_OK)
        return np_wrap(err, "make ledger %s", run->path);
    const int64_t before = np_host_now(), wait_s = run->np->settings.wait_s - run->waited_s;
    if (np_lock_take(&run->lock, run->path, run->place, wait_s > 0 ? wait_s : 0, err) != NEXTPORT_OK)
        return np_wrap(err, "lock ledger %s", run->path);
    run->actor.now = np_host_now(); /* the wait may have been long, and times of leases count from here */
    run->waited_s += run->actor.now > before ? run->actor.now - before : 0;
    /* another process may have made it while we waited */
    if (!present && np_host_ledger_vet(run->path, run->place, true, &present, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    if (!present && ledger_make(run, err) != NEXTPORT_OK)
        return np_wrap(err, "make ledger %s", run->path);
    if (run->ops->open(&run->ledger, run->path, NP_LEDGER_WRITE, &run->actor, err) != NEXTPORT_OK)
        return np_wrap(err, "open ledger %s", run->path);
    if (np_run_mark_scope(run, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    *ret_present = true;
    return NEXTPORT_OK;
}

/* The leases of one ledger, without lock and without a trace. A ledger that does not exist has none. */
static enum nextport_status ledger_peek(struct np_run *run, const char *path, enum np_place place, size_t limit,
                                        bool *ret_present, struct np_leases *ret, struct nextport_error *err)
{
    struct np_ledger *ledger = NULL;
    if (np_host_ledger_vet(path, place, false, ret_present, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", path);
    if (!*ret_present)
        return NEXTPORT_OK;
    enum nextport_status status = run->ops->open(&ledger, path, NP_LEDGER_READ, &run->actor, err);
    if (status == NEXTPORT_OK)
        status = run->ops->leases(ledger, run->actor.scope, limit, ret, err);
    if (status == NEXTPORT_OK && ret == &run->leases)
        status = np_run_is_look_due(run, ledger, err);
    run->ops->close(ledger);
    return status == NEXTPORT_OK ? status : np_wrap(err, "read ledger %s", path);
}

/* Readers tell what they saw, so a bad ledger is a sighting here and not yet a failure. Returns the status that the
 * operation must end with when it could only look. */
enum nextport_status np_run_ledger_look(struct np_run *run, size_t limit, struct nextport_error *err)
{
    bool present;
    if (run->np->settings.root && !run->np->settings.ledger) {
        np_run_sight(run, &np_source_ledger, NEXTPORT_ABSENT, "--root reads files only; name a ledger with --ledger",
                     NULL);
        return NEXTPORT_OK;
    }
    if (np_run_ledger_place(run, err) != NEXTPORT_OK)
        return err->status;
    if (ledger_peek(run, run->path, run->place, limit, &present, &run->leases, err) != NEXTPORT_OK) {
        np_run_sight(run, &np_source_ledger, NEXTPORT_UNREADABLE, err->text, err->hint);
        return err->status;
    }
    np_run_sight(run, &np_source_ledger, present ? NEXTPORT_SEEN : NEXTPORT_ABSENT,
                 present ? NULL : np_sprintf(run->arena, "%s does not exist yet: nothing is leased", run->path), NULL);
    return NEXTPORT_OK;
}

static void claim_lease(struct np_evidence *evidence, const struct nextport_lease *lease, const char *file)
{
    np_evidence_claim(evidence, &(struct nextport_claim){.first = lease->port,
                                                         .last = lease->port,
                                                         .protocol = lease->protocol,
                                                         .kind = NEXTPORT_LEASED,
                                                         .holder = lease->owner ? lease->owner : lease->name,
                                                         .detail = np_state_name(lease->state),
                                                         .source = np_source_ledger.name,
                                                         .file = file});
}

/* A ledger of the user's own still honours the machine's, as far as it can be read. */
void np_run_honour_machine(struct np_run *run)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_leases theirs = {.arena = run->arena};
    const char *path = np_host_machine_ledger(run->arena);
    bool present;
    if (run->place != NP_PLACE_USER)
        return;
    if (ledger_peek(run, path, NP_PLACE_MACHINE, SIZE_MAX, &present, &theirs, &err) != NEXTPORT_OK)
        np_evidence_sight(&run->evidence, np_source_ledger.name, NEXTPORT_PARTIAL,
                          run->np->settings.strict ? NEXTPORT_REQUIRE : NEXTPORT_WARN,
                          np_sprintf(run->arena, "the machine's own leases are not known: %s", err.text), err.hint);
    for (size_t i = 0; i < theirs.n; i++)
        claim_lease(&run->evidence, &theirs.items[i], path);
}

/* A server's own dump is of no use where the files change under it, and is not repeated under the lock: so once more before. */
static enum nextport_status look_until_settled(struct np_run *run, const struct np_scope *declared,
                                               struct nextport_error *err)
{
    enum { TRIES = 3, PAUSE_MS = 60 };
    enum nextport_status status = np_run_look(run, declared, err);
    for (unsigned i = 1; i < TRIES && status == NEXTPORT_OK && run->np->settings.dumps.n && np_run_changed(run); i++) {
        np_host_pause_ms(PAUSE_MS);
        np_run_forget(run);
        run->dumped.n = 0;
        status = np_run_look(run, declared, err);
    }
    return status;
}

/* Lets others have the ledger while everything is looked at again. */
static void step_back(struct np_run *run)
{
    run->ops->close(run->ledger);
    np_lock_release(run->lock);
    run->ledger = NULL;
    run->lock = NULL;
}

static enum nextport_status look_before_lock(struct np_run *run, const struct np_scope *declared,
                                             struct nextport_error *err)
{
    if (look_until_settled(run, declared, err) != NEXTPORT_OK)
        return err->status;
    return np_run_blind(run, err);
}

/* The lock is taken at once where nothing is expected to be new: whether it is has to be looked at behind the lock anyway. */
enum nextport_status np_run_look_and_begin(struct np_run *run, const struct np_scope *declared, size_t limit,
                                           bool dry_run, struct nextport_error *err)
{
    bool present, changed;
    if (np_run_open_readers(run, err) != NEXTPORT_OK ||
        (!run->np->settings.root && np_run_ledger_place(run, err) != NEXTPORT_OK))
        return err->status;
    np_run_remember(run, dry_run);
    if (look_before_lock(run, declared, err) != NEXTPORT_OK)
        return err->status;
    if (dry_run)
        return np_run_ledger_look(run, SIZE_MAX, err);
    if (np_run_ledger_begin(run, true, &present, err) != NEXTPORT_OK)
        return err->status;
    changed = np_run_changed(run);
    if (changed && run->waited_s < run->np->settings.wait_s && np_run_doubt(run)) {
        step_back(run);
        np_run_forget(run);
        run->dumped.n = 0;
        if (look_before_lock(run, declared, err) != NEXTPORT_OK ||
            np_run_ledger_begin(run, true, &present, err) != NEXTPORT_OK)
            return err->status;
        changed = np_run_changed(run);
    }
    if (changed) {
        np_run_forget(run);
        if (np_run_look(run, declared, err) != NEXTPORT_OK || np_run_blind(run, err) != NEXTPORT_OK)
            return err->status;
    }
    np_run_sight(run, &np_source_ledger, NEXTPORT_SEEN, NULL, NULL);
    if (run->ops->leases(run->ledger, run->actor.scope, limit, &run->leases, err) != NEXTPORT_OK)
        return np_wrap(err, "read ledger %s", run->path);
    return NEXTPORT_OK;
}

/* ---- All at once --------------------------------------------------------------------------------------------- */

/* Everything there is to see. Returns NEXTPORT_BLIND, with the evidence kept, when a required source could not be read. */
enum nextport_status np_run_look_at_all(struct np_run *run, const struct np_scope *scope, struct nextport_error *err)
{
    if (np_run_open_readers(run, err) != NEXTPORT_OK || np_run_look(run, scope, err) != NEXTPORT_OK)
        return err->status;
    if (asked(scope, np_source_ledger.name)) {
        enum nextport_status status = np_run_ledger_look(run, SIZE_MAX, err);
        if (status != NEXTPORT_OK && !np_evidence_sighting(&run->evidence, np_source_ledger.name))
            return status;
        np_run_honour_machine(run);
        for (size_t i = 0; i < run->leases.n; i++)
            if (np_portset_has(&scope->ports, run->leases.items[i].port))
                claim_lease(&run->evidence, &run->leases.items[i], run->path);
    }
    return np_run_blind(run, err);
}

bool np_run_has_looked(enum nextport_status status)
{
    return status == NEXTPORT_OK || status == NEXTPORT_BLIND;
}
