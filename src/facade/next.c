/* Granting and ending leases: look, lock, look again at what changed, plan, record, commit.
 * SPDX-License-Identifier: MIT */
#include "core/hazards.h"
#include "facade/run.h"

#include <string.h>

enum {
    COUNT_LIMIT = 16384, /* ports in one request: each holds a descriptor until the lease is on disk */
};

/* A name in an error: enough of it to know which. */
static const char *shown_name(struct np_arena *arena, const char *name)
{
    enum { SHOWN = 40 };
    const char *head = strlen(name) > SHOWN ? np_sprintf(arena, "%.*s...", SHOWN, name) : name;
    return np_neutral(arena, head, false);
}

/* The names of all ports asked: those given, or NAME, NAME2, NAME3 for a count. */
static enum nextport_status request_names(struct np_run *run, const struct nextport_request *request, const char ***ret,
                                          size_t *ret_n, struct nextport_error *err)
{
    const char *const fallback[] = {"Port"}, *const *given = request->n_names ? request->names : fallback;
    size_t n_given = request->n_names ? request->n_names : 1, n = request->count ? request->count : n_given;
    const char *format;
    if (nextport_format(run->np, NEXTPORT_ANSWER_NEXT, &format, err) != NEXTPORT_OK)
        return err->status;
    if (request->count && n_given > 1) {
        np_fail(err, NEXTPORT_INPUT, "a count goes with one name, not with %zu", n_given);
        np_hint(err, "Give each --name, or one and --count: its ports are NAME, NAME2, NAME3.");
        return err->status;
    }
    if (n > COUNT_LIMIT)
        return np_fail(err, NEXTPORT_INPUT, "%zu ports are asked at once, %d are the most", n, COUNT_LIMIT);
    const struct np_writer *writer = np_writer_find(format);
    const char **names = np_alloc_array(run->arena, n, sizeof *names);
    for (size_t i = 0; i < n; i++) {
        if (request->count)
            names[i] = i ? np_sprintf(run->arena, "%s%zu", given[0], i + 1) : np_strdup(run->arena, given[0]);
        else
            names[i] = np_strdup(run->arena, given[i]);
        const char *what = np_sprintf(run->arena, "name '%s'", shown_name(run->arena, names[i]));
        if (np_check_word(names[i], what, err) != NEXTPORT_OK)
            return err->status;
        if (writer->check_name && writer->check_name(names[i], err) != NEXTPORT_OK)
            return np_wrap(err, "%s", what);
    }
    for (size_t i = 1; !request->count && i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(names[i], names[j]) == 0) {
                np_fail(err, NEXTPORT_INPUT, "the name '%s' is given twice", np_neutral(run->arena, names[i], false));
                np_hint(err, "Give each port a name of its own, or one --name and --count: NAME, NAME2, NAME3.");
                return err->status;
            }
    *ret = names;
    *ret_n = n;
    return NEXTPORT_OK;
}

static void let_go_of_port(void *probe, uint16_t port)
{
    np_probe_release(probe, port);
}

/* No port is answered by looking at files alone, so a root has no probe; every port is as free as the files say. */
static enum nextport_status no_probe(void *ctx, uint16_t port, enum nextport_probe *ret, struct nextport_error *err)
{
    (void)ctx, (void)port, (void)err;
    *ret = NEXTPORT_PROBE_FREE;
    return NEXTPORT_OK;
}

static enum nextport_status open_probe(struct np_run *run, struct np_ask *ask, struct nextport_error *err)
{
    if (run->np->settings.root) {
        np_run_sight(run, &np_source_probe, NEXTPORT_ABSENT, "--root reads files only", NULL);
        ask->probe = no_probe;
        return NEXTPORT_OK;
    }
    if (np_probe_open(&run->probe, ask->protocol, err) != NEXTPORT_OK)
        return err->status;
    np_run_sight(run, &np_source_probe, NEXTPORT_SEEN, NULL, NULL);
    ask->probe = np_probe_try;
    ask->let_go = let_go_of_port;
    ask->probe_ctx = run->probe;
    return NEXTPORT_OK;
}

/* What the probe does not see, and no file's stamp tells: connections and reservations come and go. After the lock,
 * because the wait for it may be long. */
static enum nextport_status look_beside_probe(struct np_run *run, struct nextport_error *err)
{
    static const char *const only[] = {"sockets", "httpsys"};
    struct np_scope scope = {
        .ports = run->pool, .protocol = run->np->settings.protocol, .sockets = true, .only = only, .n_only = 2};
    if (np_probe_sees_all || run->np->settings.root)
        return NEXTPORT_OK;
    return np_run_look(run, &scope, err);
}

/* A connection may have taken a port between that look and the probe's bind, which did not mind. Once a port is held
 * nothing can, so one more look at those ports settles it. Only TCP has connections; of UDP the table would show our own.
 * *ret_free: they are ours; else they are let go of, and claimed. */
static enum nextport_status look_at_held(struct np_run *run, const struct np_plan *plan, bool *ret_free,
                                         struct nextport_error *err)
{
    const enum nextport_policy policy = np_settings_policy(&run->np->settings, np_source_sockets.name);
    const size_t before = run->evidence.n_claims;
    struct np_portset held = {{0}};
    const char *partial;
    *ret_free = true;
    if (np_probe_sees_all || !run->probe || !(run->np->settings.protocol & NEXTPORT_TCP) || policy == NEXTPORT_OFF)
        return NEXTPORT_OK;
    for (size_t i = 0; i < plan->n_ports; i++)
        np_portset_add(&held, plan->ports[i], plan->ports[i]);
    if (np_host_sockets(NP_SOCKETS_ALL, NEXTPORT_TCP, &held, np_claim_socket, &run->evidence, &partial, err) !=
        NEXTPORT_OK) {
        if (policy == NEXTPORT_REQUIRE)
            return np_wrap(err, "look at the sockets of the ports that are held");
        *err = (struct nextport_error)NEXTPORT_ERROR_INIT; /* the first look has said so */
        return NEXTPORT_OK;
    }
    *ret_free = run->evidence.n_claims == before;
    for (size_t i = 0; i < plan->n_ports && !*ret_free; i++)
        np_probe_release(run->probe, plan->ports[i]);
    return NEXTPORT_OK;
}

static void claim_avoided(struct np_run *run, const struct np_portset *ports, const char *holder)
{
    struct nextport_range range;
    for (uint32_t from = 1; np_portset_run(ports, from, &range); from = range.last + 1u)
        np_evidence_claim(&run->evidence, &(struct nextport_claim){.first = range.first,
                                                                   .last = range.last,
                                                                   .protocol = NEXTPORT_BOTH,
                                                                   .kind = NEXTPORT_RESERVED,
                                                                   .source = "avoid",
                                                                   .holder = holder});
}

/* A list of services that is not there names none. */
enum nextport_status np_run_avoid(struct np_run *run, struct nextport_error *err)
{
    enum { LARGEST = 4 << 20 };
    struct np_portset browser = {{0}}, services = {{0}};
    struct np_text bytes;
    const char *why, *file = np_host_services_file(run->arena);
    if (run->np->settings.avoid_browser)
        np_hazards_browser(&browser);
    claim_avoided(run, &browser, "browsers block it");
    if (!run->np->settings.avoid_services || !file)
        return NEXTPORT_OK;
    switch (np_reader_read(run->reader, file, LARGEST, &bytes, &why)) {
    case NP_READ_OK:
        np_hazards_services(&services, bytes);
        claim_avoided(run, &services, "a known service");
        return NEXTPORT_OK;
    case NP_READ_ABSENT:
        return NEXTPORT_OK;
    case NP_READ_DENIED:
    case NP_READ_BAD:
        break;
    }
    np_fail(err, NEXTPORT_BLIND, "%s: %s", file, why);
    np_hint(err, "It was asked to avoid the services in it; make it readable, or leave --avoid services out.");
    return err->status;
}

/* Says once for each ledger that the system gives ports of the pool to outgoing connections too: what is leased now may be
 * taken when its application starts. */
static enum nextport_status tell_of_the_system(struct np_run *run, struct nextport_error *err)
{
    static const char key[] = "told-ephemeral";
    const char *told;
    if (!np_run_may_be_taken(run))
        return NEXTPORT_OK;
    if (run->ops->recall(run->ledger, key, run->arena, &told, err) != NEXTPORT_OK)
        return err->status;
    if (told)
        return NEXTPORT_OK;
    np_note(&run->log, NEXTPORT_INFO,
            "the system gives ports of this pool to outgoing connections too; 'nextport protect' shows what keeps them "
            "out (said once)");
    return run->ops->remember(run->ledger, key, "yes", err);
}

static enum nextport_status look_and_begin(struct np_run *run, bool dry_run, struct nextport_error *err)
{
    struct np_scope scope = {.protocol = run->np->settings.protocol};
    np_portset_add(&scope.ports, 1, 65535); /* leases may lie outside the pool */
    if (np_run_look_and_begin(run, &scope, NP_LEASES_NAMED, dry_run, err) != NEXTPORT_OK ||
        look_beside_probe(run, err) != NEXTPORT_OK || np_run_avoid(run, err) != NEXTPORT_OK)
        return err->status;
    np_run_honour_machine(run);
    return np_run_blind(run, err);
}

/* Moves leases on, and plans the ports that are new. */
static enum nextport_status plan(struct np_run *run, const struct np_wants *wants, const struct np_ask *ask,
                                 struct np_plan *ret, struct nextport_error *err)
{
    size_t stepped = 0, limit = NP_STEPS_OF_A_REQUEST, last;
    enum nextport_status status = NEXTPORT_OK;
    *ret = (struct np_plan){0};
    do {
        last = limit;
        if (run->ledger && np_run_steps(run, &wants->ports, limit, &stepped, err) != NEXTPORT_OK)
            return np_wrap(err, "ledger %s", run->path);
        if (!run->ledger && run->probe && np_run_foresee(run, &wants->ports, limit, &stepped, err) != NEXTPORT_OK)
            return np_wrap(err, "foresee what ends");
        if (ask->count > 0)
            status = np_plan_make(ret, ask, &run->evidence, &run->leases, run->arena, err);
        limit = SIZE_MAX; /* nobody is refused while there is a lease to end */
    } while (status == NEXTPORT_FULL && stepped == last);
    return status;
}

static enum nextport_status look_at_leases(struct np_run *run, const struct np_wants *wants, struct nextport_error *err)
{
    enum nextport_status status = NEXTPORT_OK;
    if (run->ledger)
        status = np_run_look_at_leases(run, &wants->ports, err);
    else if (run->probe)
        status = np_run_look_ahead(run, &wants->ports, err);
    return status == NEXTPORT_OK ? status : np_wrap(err, "look for the use of leases");
}

static enum nextport_status plan_free(struct np_run *run, const struct np_wants *wants, const struct np_ask *ask,
                                      struct np_plan *ret, struct nextport_error *err)
{
    enum nextport_status status;
    bool is_free = true;
    do {
        status = plan(run, wants, ask, ret, err);
        if (status == NEXTPORT_OK && look_at_held(run, ret, &is_free, err) != NEXTPORT_OK)
            return err->status;
    } while (status == NEXTPORT_OK && !is_free);
    run->res->rejected = ret->rejected;
    run->res->n_rejected = ret->n_rejected;
    run->res->rejected_rest = ret->rejected_rest;
    run->res->exhausted = ret->exhausted;
    return status;
}

static enum nextport_status choose(struct np_run *run, struct np_wants *wants, struct nextport_error *err)
{
    struct np_plan made;
    struct np_ask ask = {
        .pool = run->pool, .protocol = run->np->settings.protocol, .consecutive = wants->request->consecutive};
    if (open_probe(run, &ask, err) != NEXTPORT_OK || np_run_find_own(run, wants, err) != NEXTPORT_OK ||
        look_at_leases(run, wants, err) != NEXTPORT_OK || np_run_rule(run, wants, err) != NEXTPORT_OK)
        return err->status;
    ask.count = wants->n_new;
    ask.seeded = run->np->settings.select_owner && run->owner.n_labels > 0;
    ask.seed = ask.seeded ? np_owner_seed(run->owner.key, wants->items[0].name) : 0;
    const enum nextport_status status = plan_free(run, wants, &ask, &made, err);
    if (status != NEXTPORT_OK) {
        /* the leases that were moved on stay moved on, or a full pool would stay full for ever */
        struct nextport_error ignored = NEXTPORT_ERROR_INIT;
        if (status == NEXTPORT_FULL && run->ledger)
            run->ops->end(run->ledger, true, &ignored);
        return status;
    }
    if (np_run_record(run, wants, made.ports, err) != NEXTPORT_OK || np_run_trim(run, wants, err) != NEXTPORT_OK)
        return err->status;
    if (run->ledger && tell_of_the_system(run, err) != NEXTPORT_OK)
        return np_wrap(err, "ledger %s", run->path);
    if (run->ledger && wants->request->before_commit)
        wants->request->before_commit(wants->request->ctx);
    if (run->ledger && run->ops->end(run->ledger, true, err) != NEXTPORT_OK)
        return np_wrap(err, "commit to ledger %s", run->path);
    run->res->changed = run->ledger != NULL;
    np_run_hand_out_sockets(run, wants);
    return NEXTPORT_OK;
}

static enum nextport_status check_request(const struct nextport *np, const struct nextport_request *request,
                                          struct nextport_error *err)
{
    if (np->settings.root && !request->dry_run) {
        np_fail(err, NEXTPORT_INPUT, "--root reads files only: no port of this machine can be leased by them");
        np_hint(err, "Add --dry-run to see which port the files leave free.");
        return err->status;
    }
    if (request->deployment && !request->n_labels) {
        np_fail(err, NEXTPORT_INPUT, "a deployment needs an owner");
        np_hint(err, "Say whose it is: --project NAME, and --environment, --channel, --tenant where they differ.");
        return err->status;
    }
    if (request->deployment && strstr(request->deployment, "#{")) { /* one deployment for all of them */
        np_fail(err, NEXTPORT_INPUT, "deployment: holds \"#{\"");
        np_hint(err, "The deployment tool did not substitute a variable: check its name and that it has a value here.");
        return err->status;
    }
    return request->deployment ? np_check_word(request->deployment, "deployment", err) : NEXTPORT_OK;
}

static enum nextport_status ask(struct np_run *run, struct np_wants *wants, struct nextport_error *err)
{
    const struct nextport_request *request = wants->request;
    const char **names = NULL;
    if (check_request(run->np, request, err) != NEXTPORT_OK ||
        np_owner_make(&run->owner, request->labels, request->n_labels, run->arena, err) != NEXTPORT_OK ||
        request_names(run, request, &names, &wants->n, err) != NEXTPORT_OK || np_run_pool(run, err) != NEXTPORT_OK)
        return err->status;
    run->res->owner = run->owner.shown;
    wants->items = np_alloc_array(run->arena, wants->n, sizeof *wants->items);
    for (size_t i = 0; i < wants->n; i++)
        wants->items[i].name = names[i];
    if (look_and_begin(run, request->dry_run, err) != NEXTPORT_OK)
        return err->status;
    return choose(run, wants, err);
}

enum nextport_status nextport_next(struct nextport *np, const struct nextport_request *request,
                                   struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct np_wants wants = {.request = request};
    np_run_init(&run, np, NEXTPORT_ANSWER_NEXT);
    np_run_asked(&run, request->text);
    run.res->verdict = NEXTPORT_GRANT;
    run.res->dry_run = request->dry_run;
    const enum nextport_status status = ask(&run, &wants, err);
    if (status != NEXTPORT_OK)
        run.res->ports = NULL, run.res->n_ports = 0;
    bool partial = status == NEXTPORT_FULL || status == NEXTPORT_BLIND;
    return np_run_done(&run, status == NEXTPORT_OK || partial, ret, status);
}
