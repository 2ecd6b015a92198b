/* Leasing what is there already: what is configured, and ports fixed by hand.
 * SPDX-License-Identifier: MIT */
#include "core/owner.h"
#include "facade/run.h"

#include <stdlib.h>
#include <string.h>

#define PORT_NAME "Port"

static enum nextport_status refuse_root(const struct nextport *np, bool dry_run, struct nextport_error *err)
{
    if (!np->settings.root || dry_run)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "--root reads files only: no port of this machine can be leased by them");
    np_hint(err, "Run it on that machine, without --root.");
    return err->status;
}

/* Reads declarations, then takes the ledger and reads again what has changed meanwhile; `beside`: what no file's stamp tells,
 * looked at last. Every lease is read. */
static enum nextport_status look_and_begin(struct np_run *run, const struct np_scope *declared,
                                           const struct np_scope *beside, bool dry_run, struct nextport_error *err)
{
    if (np_run_look_and_begin(run, declared, SIZE_MAX, dry_run, err) != NEXTPORT_OK)
        return err->status;
    if (beside && np_run_look(run, beside, err) != NEXTPORT_OK)
        return err->status;
    np_run_honour_machine(run);
    return np_run_blind(run, err);
}

static struct nextport_lease confirmed_by(struct np_run *run, const struct nextport_claim *use)
{
    return (struct nextport_lease){.state = NEXTPORT_CONFIRMED,
                                   .protocol = use->protocol,
                                   .holder = np_holder_of(run->arena, use),
                                   .created = run->actor.now,
                                   .renewed = run->actor.now};
}

static void set_owner(struct nextport_lease *lease, const struct np_owner *owner)
{
    lease->labels = owner->labels;
    lease->n_labels = owner->n_labels;
    lease->owner = owner->shown;
    lease->owner_key = owner->key;
}

/* ---- Adopt --------------------------------------------------------------------------------------------------- */

/* How many ports of one owner have been named. */
struct numbering {
    const char *owner_key;
    unsigned last;
};

struct adoption {
    const struct nextport_adoption *asked;
    const char **sources; /* those to look at */
    size_t n_sources;
    const struct nextport_claim **best; /* by port: the claim whose holder gets it */
    bool *shared;                       /* by port: others claim it as well */
    struct nextport_lease *leases;      /* to be added */
    size_t n, capacity;
    struct numbering *numberings;
    size_t n_numberings, numberings_capacity;
};

static enum nextport_status refuse_source(struct np_run *run, const char *name, struct nextport_error *err)
{
    struct np_buf names = {.arena = run->arena};
    if (np_source_find(name))
        np_fail(err, NEXTPORT_INPUT, "the source '%s' does not say whose a port is", name);
    else
        np_fail(err, NEXTPORT_INPUT, "unknown source '%s'", np_neutral(run->arena, name, false));
    for (size_t i = 0; np_sources[i]; i++)
        if (np_sources[i]->adopts)
            np_buf_printf(&names, "%s%s", names.len ? ", " : "", np_sources[i]->name);
    if (names.len)
        np_hint(err, "Sources to adopt from are %s.", names.ptr);
    return err->status;
}

/* Those named, or all that need not be. */
static enum nextport_status choose_sources(struct np_run *run, struct adoption *adoption, struct nextport_error *err)
{
    const struct nextport_adoption *asked = adoption->asked;
    size_t capacity = 0;
    for (size_t i = 0; i < asked->n_sources; i++) {
        const struct np_source *source = np_source_find(asked->sources[i]);
        if (!source || !source->adopts)
            return refuse_source(run, asked->sources[i], err);
        *(const char **)np_push(run->arena, &adoption->sources, &adoption->n_sources, &capacity,
                                sizeof *adoption->sources) = source->name;
    }
    for (size_t i = 0; !asked->n_sources && np_sources[i]; i++)
        if (np_sources[i]->adopts && !np_sources[i]->adopts_when_asked)
            *(const char **)np_push(run->arena, &adoption->sources, &adoption->n_sources, &capacity,
                                    sizeof *adoption->sources) = np_sources[i]->name;
    return NEXTPORT_OK;
}

/* Lower is better: what is declared says more than what happens to run. */
static unsigned rank(const struct nextport_claim *claim)
{
    return claim->kind == NEXTPORT_PUBLISHED ? 0 : claim->kind == NEXTPORT_CONFIGURED ? 1 : 2;
}

/* By holder, behind their ranks. */
static int compare_claims(const struct nextport_claim *a, const struct nextport_claim *b)
{
    if (rank(a) != rank(b))
        return rank(a) < rank(b) ? -1 : 1;
    if (!a->holder || !b->holder)
        return (a->holder == NULL) - (b->holder == NULL);
    return strcmp(a->holder, b->holder);
}

/* A use by which a port may be adopted: a claim of a source that says whose it is, and of TCP sockets those that
 * listen. */
static bool is_adoptable(const struct nextport_claim *claim)
{
    const struct np_source *source = np_source_find(claim->source);
    const bool unfinished = claim->kind == NEXTPORT_SOCKET && claim->protocol == NEXTPORT_TCP &&
                            (!claim->detail || strcmp(claim->detail, "listening") != 0);
    return source && source->adopts && np_claim_is_use(claim) && claim->first > 0 && !unfinished;
}

/* The ports that have no lease, neither in this ledger nor in the machine's. One that was given back and rests is nobody's
 * any more: what is configured there need not wait. */
static struct np_portset not_leased(const struct np_run *run)
{
    struct np_portset ports = run->pool;
    for (size_t i = 0; i < run->leases.n; i++)
        if (run->leases.items[i].state != NEXTPORT_RESTING)
            np_portset_remove(&ports, run->leases.items[i].port, run->leases.items[i].port);
    for (size_t i = 0; i < run->evidence.n_claims; i++)
        if (run->evidence.claims[i].kind == NEXTPORT_LEASED)
            np_portset_remove(&ports, run->evidence.claims[i].first, run->evidence.claims[i].last);
    return ports;
}

/* What is declared will be used; what is conditional, perhaps. */
static bool is_better(const struct nextport_claim *claim, const struct nextport_claim *best)
{
    const bool is_declared = claim->certainty == NEXTPORT_DECLARED, was_declared = best->certainty == NEXTPORT_DECLARED;
    return rank(claim) == rank(best) && is_declared != was_declared ? is_declared : compare_claims(claim, best) < 0;
}

static void weigh(struct adoption *adoption, uint16_t port, const struct nextport_claim *claim)
{
    const struct nextport_claim *best = adoption->best[port];
    if (best && !np_equal(best->holder, claim->holder) && rank(best) == rank(claim))
        adoption->shared[port] = true;
    if (!best || is_better(claim, best))
        adoption->best[port] = claim;
}

/* The claim of each port whose holder is to get it. */
static void gather(struct np_run *run, struct adoption *adoption)
{
    const struct np_portset ports = not_leased(run);
    adoption->best = np_alloc_array(run->arena, 65536, sizeof *adoption->best);
    adoption->shared = np_alloc_array(run->arena, 65536, sizeof *adoption->shared);
    for (size_t i = 0; i < run->evidence.n_claims; i++) {
        const struct nextport_claim *claim = &run->evidence.claims[i];
        if (!is_adoptable(claim))
            continue;
        for (uint32_t port = claim->first; port <= claim->last; port++)
            if (np_portset_has(&ports, (uint16_t)port))
                weigh(adoption, (uint16_t)port, claim);
    }
}

static bool claims_port(const struct nextport_claim *claim, uint16_t port)
{
    return claim->first <= port && port <= claim->last;
}

/* The protocols by which the holder has the port. */
static enum nextport_protocol protocols_of(const struct np_run *run, uint16_t port, const struct nextport_claim *best)
{
    unsigned protocol = best->protocol;
    for (size_t i = 0; i < run->evidence.n_claims; i++) {
        const struct nextport_claim *claim = &run->evidence.claims[i];
        if (claims_port(claim, port) && is_adoptable(claim) && rank(claim) == rank(best) &&
            np_equal(claim->holder, best->holder))
            protocol |= claim->protocol;
    }
    return (enum nextport_protocol)protocol;
}

static void note_sharers(struct np_run *run, uint16_t port, const struct nextport_claim *best)
{
    enum { NAMED = 5 };
    struct np_buf others = {.arena = run->arena};
    const struct nextport_claim *last = NULL;
    for (unsigned n = 0;; n++) { /* by name, each once */
        const struct nextport_claim *next = NULL;
        for (size_t i = 0; i < run->evidence.n_claims; i++) {
            const struct nextport_claim *claim = &run->evidence.claims[i];
            const bool other = claims_port(claim, port) && is_adoptable(claim) && claim->holder &&
                               rank(claim) == rank(best) && !np_equal(claim->holder, best->holder) &&
                               (!last || compare_claims(claim, last) > 0);
            if (other && (!next || compare_claims(claim, next) < 0))
                next = claim;
        }
        if (!next)
            break;
        if (n == NAMED) {
            np_buf_puts(&others, " and others");
            break;
        }
        np_buf_printf(&others, "%s'%s'", others.len ? ", " : "", np_neutral(run->arena, next->holder, false));
        last = next;
    }
    if (others.len)
        np_note(&run->log, NEXTPORT_INFO, "port %u: shared with %s; its one lease is for '%s'", port, others.ptr,
                np_neutral(run->arena, best->holder, false));
}

/* The holder's label and those given, of which one with the same key is stronger. */
static enum nextport_status owner_of(struct np_run *run, const struct nextport_adoption *asked,
                                     const struct nextport_claim *claim, struct np_owner *ret,
                                     struct nextport_error *err)
{
    struct nextport_label *labels = np_alloc_array(run->arena, asked->n_labels + 1, sizeof *labels);
    const struct np_source *source = np_source_find(claim->source);
    const char *key = source->adopts;
    size_t n = 0;
    bool given = false;
    for (size_t i = 0; i < asked->n_labels; i++) {
        given = given || np_equal_nocase(asked->labels[i].key, key);
        labels[n++] = asked->labels[i];
    }
    if (!given)
        labels[n++] = (struct nextport_label){key, source->label ? source->label(run->arena, claim) : claim->holder};
    return np_owner_make(ret, labels, n, run->arena, err);
}

/* Does it rest on a port that is adopted now? */
static bool is_replaced(const struct adoption *adoption, const struct nextport_lease *lease)
{
    return lease->state == NEXTPORT_RESTING && adoption->best[lease->port];
}

static bool has_name(const struct adoption *adoption, const struct np_leases *leases, const char *owner_key,
                     const char *name)
{
    for (size_t i = 0; i < leases->n; i++) {
        const struct nextport_lease *lease = &leases->items[i];
        if (!is_replaced(adoption, lease) && !lease->deployment && np_equal(lease->owner_key, owner_key) &&
            np_equal(lease->name, name))
            return true;
    }
    return false;
}

static struct numbering *numbering_of(struct np_run *run, struct adoption *adoption, const char *owner_key)
{
    for (size_t i = 0; i < adoption->n_numberings; i++)
        if (strcmp(adoption->numberings[i].owner_key, owner_key) == 0)
            return &adoption->numberings[i];
    struct numbering *fresh = np_push(run->arena, &adoption->numberings, &adoption->n_numberings,
                                      &adoption->numberings_capacity, sizeof *fresh);
    fresh->owner_key = owner_key;
    return fresh;
}

/* "Port", "Port2", ..: the next that the owner does not have. */
static const char *next_name(struct np_run *run, struct adoption *adoption, const char *owner_key)
{
    struct numbering *numbering = numbering_of(run, adoption, owner_key);
    const char *name;
    do {
        numbering->last++;
        name = numbering->last == 1 ? PORT_NAME : np_sprintf(run->arena, PORT_NAME "%u", numbering->last);
    } while (has_name(adoption, &run->leases, owner_key, name));
    return name;
}

static void adopt_port(struct np_run *run, struct adoption *adoption, uint16_t port)
{
    const struct nextport_claim *claim = adoption->best[port];
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_owner owner;
    if (!claim->holder) {
        np_note(&run->log, claim->kind == NEXTPORT_SOCKET ? NEXTPORT_VERBOSE : NEXTPORT_WARNING,
                "port %u: left out, %s does not say who has it", port, claim->source);
        return;
    }
    if (owner_of(run, adoption->asked, claim, &owner, &err) != NEXTPORT_OK) {
        np_note(&run->log, NEXTPORT_WARNING, "port %u: left out, its holder '%s' is no name for an owner: %s", port,
                np_neutral(run->arena, claim->holder, false), err.text);
        return;
    }
    if (adoption->shared[port])
        note_sharers(run, port, claim);
    struct nextport_lease lease = confirmed_by(run, claim);
    set_owner(&lease, &owner);
    lease.port = port;
    lease.protocol = protocols_of(run, port, claim);
    lease.name = next_name(run, adoption, owner.key);
    *(struct nextport_lease *)np_push(run->arena, &adoption->leases, &adoption->n, &adoption->capacity, sizeof lease) =
        lease;
}

static enum nextport_status write_leases(struct np_run *run, struct adoption *adoption, struct nextport_error *err)
{
    for (size_t i = 0; run->ledger && i < adoption->n; i++) {
        const struct nextport_lease *rests = np_leases_at(&run->leases, adoption->leases[i].port);
        if (rests && run->ops->drop(run->ledger, rests, "rested", err) != NEXTPORT_OK)
            return np_wrap(err, "end the rest of port %u in %s", rests->port, run->path);
    }
    for (size_t i = 0; run->ledger && i < adoption->n; i++)
        if (run->ops->add(run->ledger, &adoption->leases[i], "adopted", err) != NEXTPORT_OK)
            return np_wrap(err, "lease port %u in %s", adoption->leases[i].port, run->path);
    run->res->changed = run->ledger && adoption->n > 0;
    if (run->ledger && run->ops->end(run->ledger, run->res->changed, err) != NEXTPORT_OK)
        return np_wrap(err, "commit to ledger %s", run->path);
    run->res->leases = adoption->leases;
    run->res->n_leases = adoption->n;
    return NEXTPORT_OK;
}

static bool asks(const struct adoption *adoption, const struct np_source *source)
{
    for (size_t i = 0; i < adoption->n_sources; i++)
        if (strcmp(adoption->sources[i], source->name) == 0)
            return true;
    return false;
}

static enum nextport_status adopt(struct np_run *run, struct adoption *adoption, struct nextport_error *err)
{
    static const char *const sockets[] = {"sockets"};
    struct np_owner given;
    if (np_owner_make_filter(&given, adoption->asked->labels, adoption->asked->n_labels, run->arena, err) !=
            NEXTPORT_OK ||
        choose_sources(run, adoption, err) != NEXTPORT_OK || np_run_pool(run, err) != NEXTPORT_OK)
        return err->status;
    const struct np_scope declared = {.ports = run->pool,
                                      .protocol = NEXTPORT_BOTH,
                                      .thorough = true,
                                      .only = adoption->sources,
                                      .n_only = adoption->n_sources};
    const struct np_scope running = {
        .ports = run->pool, .protocol = NEXTPORT_BOTH, .sockets = true, .thorough = true, .only = sockets, .n_only = 1};
    if (look_and_begin(run, &declared, asks(adoption, &np_source_sockets) ? &running : NULL, !adoption->asked->apply,
                       err) != NEXTPORT_OK)
        return err->status;
    gather(run, adoption);
    for (uint32_t port = 1; port < 65536; port++)
        if (adoption->best[port])
            adopt_port(run, adoption, (uint16_t)port);
    return write_leases(run, adoption, err);
}

enum nextport_status nextport_adopt(struct nextport *np, const struct nextport_adoption *asked,
                                    struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct adoption adoption = {.asked = asked};
    np_run_init(&run, np, NEXTPORT_ANSWER_ADOPT);
    np_run_asked(&run, asked->text);
    run.res->dry_run = !asked->apply;
    enum nextport_status status = refuse_root(np, !asked->apply, err);
    if (status == NEXTPORT_OK)
        status = adopt(&run, &adoption, err);
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}

/* ---- Assign -------------------------------------------------------------------------------------------------- */

struct assignment {
    const struct nextport_assignment *asked;
    const char *name;
    struct np_owner owner;
    const struct nextport_lease *own; /* the owner's lease of this name, on whatever port; NULL: none */
    const struct nextport_claim *use; /* who uses the port; NULL: nobody is seen */
};

static enum nextport_status check_assignment(struct np_run *run, struct assignment *assignment,
                                             struct nextport_error *err)
{
    const struct nextport_assignment *asked = assignment->asked;
    assignment->name = np_strdup(run->arena, asked->name ? asked->name : PORT_NAME);
    if (refuse_root(run->np, asked->dry_run, err) != NEXTPORT_OK)
        return err->status;
    if (!asked->port)
        return np_fail(err, NEXTPORT_INPUT, "no port is given");
    if (np_check_word(assignment->name, "the name", err) != NEXTPORT_OK ||
        (asked->deployment && np_check_word(asked->deployment, "the deployment", err) != NEXTPORT_OK) ||
        np_owner_make(&assignment->owner, asked->labels, asked->n_labels, run->arena, err) != NEXTPORT_OK)
        return err->status;
    if (assignment->owner.n_labels)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "nobody is named to lease port %u to", asked->port);
    np_hint(err, "Say whose it is: --project, or --label.");
    return err->status;
}

static bool is_own(const struct assignment *assignment, const struct nextport_lease *lease)
{
    return np_equal(lease->owner_key, assignment->owner.key) &&
           np_equal(lease->deployment, assignment->asked->deployment) && np_equal(lease->name, assignment->name);
}

static const char *whose(struct np_arena *arena, const struct nextport_lease *lease)
{
    return np_sprintf(arena, "%s ('%s'%s%s, %s)", lease->owner ? lease->owner : "nobody in particular",
                      lease->name ? lease->name : "", lease->deployment ? ", deployment " : "",
                      lease->deployment ? lease->deployment : "", np_state_name(lease->state));
}

static bool is_on(const struct nextport_claim *claim, const struct assignment *assignment,
                  enum nextport_protocol protocol)
{
    return claims_port(claim, assignment->asked->port) &&
           (claim->protocol & protocol || claim->kind == NEXTPORT_LEASED);
}

/* What the bind probe sees, no other look need see whole. */
static bool is_hidden(const struct np_evidence *evidence, const struct nextport_lease *lease)
{
    for (size_t i = 0; i < evidence->n_sightings; i++) {
        const struct nextport_sighting *s = &evidence->sightings[i];
        const bool probed = np_probe_sees_all && strcmp(s->source, np_source_sockets.name) == 0;
        if (!probed && np_run_may_hide(s, lease))
            return true;
    }
    return false;
}

/* A connection that has the port for now; NULL: none. */
static const struct nextport_claim *passer(const struct np_run *run, const struct assignment *assignment,
                                           enum nextport_protocol protocol)
{
    for (size_t i = 0; i < run->evidence.n_claims; i++)
        if (run->evidence.claims[i].transient && is_on(&run->evidence.claims[i], assignment, protocol))
            return &run->evidence.claims[i];
    return NULL;
}

/* Another's lease whose time is over, and whose port nobody uses, stands in nobody's way; `next` would end it, too. */
static enum nextport_status end_if_over(struct np_run *run, const struct assignment *assignment,
                                        struct nextport_error *err)
{
    const uint16_t port = assignment->asked->port;
    const struct nextport_lease *at = np_leases_at(&run->leases, port);
    struct np_probe *probe = NULL;
    enum nextport_probe answer;
    if (!at || is_own(assignment, at) || !at->expires || at->expires > run->actor.now || run->np->settings.root)
        return NEXTPORT_OK;
    enum nextport_status status = np_probe_open(&probe, at->protocol, err);
    if (status == NEXTPORT_OK)
        status = np_probe_try(probe, port, &answer, err);
    np_probe_close(probe);
    if (status != NEXTPORT_OK)
        return np_wrap(err, "probe port %u", port);
    const struct np_seen seen = {.use = np_lease_use(&run->evidence, port, at->protocol),
                                 .occupied = answer != NEXTPORT_PROBE_FREE || passer(run, assignment, at->protocol),
                                 .hidden = is_hidden(&run->evidence, at),
                                 .ended = at->process && np_process_has_ended(at->process)};
    if (np_lease_next_step(at, run->actor.now, &seen, &run->np->settings.lifetimes) != NP_LEASE_EXPIRE)
        return NEXTPORT_OK;
    if (run->ledger && run->ops->drop(run->ledger, at, np_lease_event(NP_LEASE_EXPIRE, at->state), err) != NEXTPORT_OK)
        return np_wrap(err, "end the lease of port %u in %s", port, run->path);
    np_leases_remove(&run->leases, port);
    return NEXTPORT_OK;
}

/* What was given back and is said to be this owner's own need not rest. */
static enum nextport_status end_rest(struct np_run *run, const struct assignment *assignment,
                                     struct nextport_error *err)
{
    const uint16_t port = assignment->asked->port;
    const struct nextport_lease *at = np_leases_at(&run->leases, port);
    if (!at || at->state != NEXTPORT_RESTING || !assignment->asked->in_use || is_own(assignment, at))
        return NEXTPORT_OK;
    if (run->ledger && run->ops->drop(run->ledger, at, "rested", err) != NEXTPORT_OK)
        return np_wrap(err, "end the rest of port %u in %s", port, run->path);
    np_leases_remove(&run->leases, port);
    return NEXTPORT_OK;
}

/* Leases that stand in the way. */
static enum nextport_status check_leases(struct np_run *run, struct assignment *assignment, struct nextport_error *err)
{
    if (end_if_over(run, assignment, err) != NEXTPORT_OK || end_rest(run, assignment, err) != NEXTPORT_OK)
        return err->status;
    const uint16_t port = assignment->asked->port;
    const struct nextport_lease *at = np_leases_at(&run->leases, port);
    for (size_t i = 0; i < run->leases.n && !assignment->own; i++)
        if (is_own(assignment, &run->leases.items[i]))
            assignment->own = &run->leases.items[i];
    if (at && at != assignment->own) {
        np_fail(err, NEXTPORT_CONFLICT, "port %u is leased to %s", port, whose(run->arena, at));
        if (at->state == NEXTPORT_RESTING)
            np_hint(
                err,
                "It was given back and rests until nothing uses it; --in-use says that what uses it is the owner's.");
        else
            np_hint(err, "'nextport release %u' gives it back, if nobody needs it any more.", port);
        return err->status;
    }
    if (assignment->own && assignment->own->port != port && assignment->own->state != NEXTPORT_RESTING) {
        np_fail(err, NEXTPORT_CONFLICT, "%s has port %u for '%s' already", assignment->owner.shown,
                assignment->own->port, assignment->name);
        np_hint(err, "'nextport release %u' gives it back; or choose another --name for this one.",
                assignment->own->port);
        return err->status;
    }
    return NEXTPORT_OK;
}

static const char *noun_of(const struct nextport_claim *claim)
{
    static const struct {
        const char *source, *noun;
    } rows[] = {{"iis", "site "}, {"sockets", "program "}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].source, claim->source) == 0)
            return rows[i].noun;
    return "";
}

/* "is used by site 'Shop' (iis, /x/applicationHost.config:12)" */
static enum nextport_status refuse_claim(struct np_run *run, uint16_t port, const struct nextport_claim *claim,
                                         struct nextport_error *err)
{
    const char *who = claim->holder ? np_sprintf(run->arena, "%s'%s'", noun_of(claim), claim->holder) : "somebody",
               *where = claim->source;
    if (claim->file && claim->line)
        where = np_sprintf(run->arena, "%s, %s:%u", where, claim->file, claim->line);
    else if (claim->file)
        where = np_sprintf(run->arena, "%s, %s", where, claim->file);
    else if (claim->pid)
        where = np_sprintf(run->arena, "%s, process %lld", where, (long long)claim->pid);
    else if (claim->detail)
        where = np_sprintf(run->arena, "%s, %s", where, claim->detail);
    np_fail(err, NEXTPORT_CONFLICT, "port %u is %s %s (%s)", port,
            claim->kind == NEXTPORT_LEASED ? "leased to" : "used by", who, where);
    if (claim->kind == NEXTPORT_LEASED)
        np_hint(err, "That is the machine's ledger, which has the last word.");
    else
        np_hint(err, "Add --in-use if that is the owner's own.");
    return err->status;
}

static enum nextport_status probe(struct np_run *run, const struct assignment *assignment, struct nextport_error *err)
{
    const uint16_t port = assignment->asked->port;
    const struct nextport_claim *passing = passer(run, assignment, run->np->settings.protocol);
    enum nextport_probe answer = NEXTPORT_PROBE_FREE;
    if (run->np->settings.root) {
        np_run_sight(run, &np_source_probe, NEXTPORT_ABSENT, "--root reads files only", NULL);
        return NEXTPORT_OK;
    }
    np_run_sight(run, &np_source_probe, NEXTPORT_SEEN, NULL, NULL);
    if (np_probe_open(&run->probe, run->np->settings.protocol, err) != NEXTPORT_OK ||
        np_probe_try(run->probe, port, &answer, err) != NEXTPORT_OK)
        return np_wrap(err, "probe port %u", port);
    switch (answer) {
    case NEXTPORT_PROBE_NONE:
    case NEXTPORT_PROBE_FREE:
        if (!passing)
            return NEXTPORT_OK;
        break;
    case NEXTPORT_PROBE_TAKEN:
        break;
    case NEXTPORT_PROBE_DENIED:
        np_fail(err, NEXTPORT_DENIED, "this user may not bind port %u, so it is not known whether it is free", port);
        np_hint(err, "%s, or add --in-use if the port is the owner's own.", np_host_words.elevate);
        return err->status;
    case NEXTPORT_PROBE_REFUSED:
        np_fail(err, NEXTPORT_CONFLICT, "the system keeps port %u back", port);
        np_hint(err, "'nextport why %u' says more. Add --in-use if that is for the owner.", port);
        return err->status;
    }
    if (passing)
        np_fail(err, NEXTPORT_CONFLICT, "a connection has port %u for now (%s)", port, passing->detail);
    else
        np_fail(err, NEXTPORT_CONFLICT, "port %u is in use, by whom cannot be seen", port);
    np_hint(err, passing ? "Try again when it has gone." : "Add --in-use if that is the owner's own.");
    return err->status;
}

/* What uses the port stands in the way, unless it is the owner's own. */
static enum nextport_status check_use(struct np_run *run, struct assignment *assignment, struct nextport_error *err)
{
    const uint16_t port = assignment->asked->port;
    for (size_t i = 0; i < run->evidence.n_claims; i++)
        if (run->evidence.claims[i].kind == NEXTPORT_LEASED &&
            is_on(&run->evidence.claims[i], assignment, NEXTPORT_BOTH))
            return refuse_claim(run, port, &run->evidence.claims[i], err);
    assignment->use = np_lease_use(&run->evidence, port, run->np->settings.protocol);
    const bool returns = assignment->own && assignment->own->port == port && assignment->use &&
                         np_holder_is(assignment->own->holder, assignment->use);
    if (assignment->asked->in_use || returns) {
        if (!assignment->use)
            np_note(&run->log, NEXTPORT_INFO, "port %u: nothing is seen that uses it yet", port);
        return NEXTPORT_OK;
    }
    return assignment->use ? refuse_claim(run, port, assignment->use, err) : probe(run, assignment, err);
}

static enum nextport_status write_assignment(struct np_run *run, const struct assignment *assignment,
                                             struct nextport_error *err)
{
    struct nextport_lease *lease = np_alloc(run->arena, sizeof *lease);
    enum nextport_status status = NEXTPORT_OK;
    *lease = (struct nextport_lease){
        .created = run->actor.now, .renewed = run->actor.now, .expires = run->actor.now + np_run_ttl(run, true)};
    if (assignment->use)
        *lease = confirmed_by(run, assignment->use);
    set_owner(lease, &assignment->owner);
    lease->port = assignment->asked->port;
    lease->protocol = run->np->settings.protocol;
    lease->name = assignment->name;
    lease->deployment = np_strdup(run->arena, assignment->asked->deployment);
    if (assignment->own) {
        lease->id = assignment->own->id;
        lease->created = assignment->own->created;
    }
    if (run->ledger && assignment->own)
        status = run->ops->save(run->ledger, lease, "assigned", err);
    if (status == NEXTPORT_OK && run->ledger && assignment->own && assignment->own->port != lease->port)
        status = np_run_rest(run, assignment->own, err);
    if (run->ledger && !assignment->own)
        status = run->ops->add(run->ledger, lease, "assigned", err);
    if (status != NEXTPORT_OK)
        return np_wrap(err, "lease port %u in %s", lease->port, run->path);
    if (run->ledger && run->ops->end(run->ledger, true, err) != NEXTPORT_OK)
        return np_wrap(err, "commit to ledger %s", run->path);
    run->res->changed = run->ledger != NULL;
    run->res->leases = lease;
    run->res->n_leases = 1;
    return NEXTPORT_OK;
}

static enum nextport_status assign(struct np_run *run, struct assignment *assignment, struct nextport_error *err)
{
    static const char *const sockets[] = {"sockets"};
    struct np_scope declared = {.protocol = run->np->settings.protocol};
    np_portset_add(&declared.ports, assignment->asked->port, assignment->asked->port);
    struct np_scope running = declared;
    running.sockets = running.thorough = true;
    running.only = sockets;
    running.n_only = 1;
    if (look_and_begin(run, &declared, &running, assignment->asked->dry_run, err) != NEXTPORT_OK ||
        check_leases(run, assignment, err) != NEXTPORT_OK)
        return err->status;
    if (assignment->own && assignment->own->port == assignment->asked->port &&
        assignment->own->state != NEXTPORT_RESTING) {
        run->res->leases = assignment->own;
        run->res->n_leases = 1;
        return NEXTPORT_OK;
    }
    if (check_use(run, assignment, err) != NEXTPORT_OK)
        return err->status;
    return write_assignment(run, assignment, err);
}

enum nextport_status nextport_assign(struct nextport *np, const struct nextport_assignment *asked,
                                     struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    struct assignment assignment = {.asked = asked};
    np_run_init(&run, np, NEXTPORT_ANSWER_ASSIGN);
    np_run_asked(&run, asked->text);
    run.res->port = asked->port;
    run.res->dry_run = asked->dry_run;
    enum nextport_status status = check_assignment(&run, &assignment, err);
    run.res->owner = assignment.owner.shown;
    if (status == NEXTPORT_OK)
        status = assign(&run, &assignment, err);
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}
