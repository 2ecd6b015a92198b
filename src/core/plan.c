/* SPDX-License-Identifier: MIT */
#include "core/plan.h"

#include <inttypes.h>
#include <string.h>

enum { REJECTS_SHOWN = 100, REASONS_COUNTED = 32 };

/* Why a port was passed over. `word` is what the breakdown of a full pool calls many of them, `one` a single one. */
struct reason {
    enum nextport_kind kind;
    const char *source, *holder, *word, *one;
};

struct tally {
    const char *word, *one;
    uint64_t ports;
};

struct planner {
    const struct np_ask *ask;
    const struct np_evidence *evidence;
    const struct np_leases *leases;
    struct np_arena *arena;
    struct np_plan *plan;
    struct np_portset taken;
    uint32_t *why; /* per port: 0 no claim, else 1 + its index. Made when first asked */
    size_t rejects_capacity;
    struct tally tallies[REASONS_COUNTED];
    size_t n_tallies;
    uint64_t n_rejected, n_free;
};

static void mark_taken(struct planner *p)
{
    for (size_t i = 0; i < p->evidence->n_claims; i++)
        if (np_claim_blocks(&p->evidence->claims[i], p->ask->protocol))
            np_portset_add(&p->taken, p->evidence->claims[i].first, p->evidence->claims[i].last);
}

static void index_reasons(struct planner *p)
{
    p->why = np_alloc_array(p->arena, 65536, sizeof *p->why);
    for (size_t i = 0; i < p->evidence->n_claims; i++) {
        const struct nextport_claim *claim = &p->evidence->claims[i];
        if (!np_claim_blocks(claim, p->ask->protocol))
            continue;
        for (uint32_t port = np_portset_next(&p->ask->pool, claim->first); port && port <= claim->last;
             port = port < 65535 ? np_portset_next(&p->ask->pool, (uint16_t)(port + 1)) : 0)
            if (!p->why[port])
                p->why[port] = (uint32_t)i + 1;
    }
}

/* Not every lease comes with details. */
static struct reason leased(const struct np_leases *leases, uint16_t port)
{
    const struct nextport_lease *lease = np_leases_at(leases, port);
    const char *holder = !lease ? NULL : lease->owner ? lease->owner : lease->name;
    return (struct reason){NEXTPORT_LEASED, "ledger", holder, "leases", "lease"};
}

/* Claims come before leases: that a site is configured there says more than that it was promised. */
static struct reason reason_of(struct planner *p, uint16_t port)
{
    if (!p->why && p->evidence->n_claims)
        index_reasons(p);
    if (!p->why || !p->why[port])
        return leased(p->leases, port);
    const struct nextport_claim *claim = &p->evidence->claims[p->why[port] - 1];
    return (struct reason){claim->kind, claim->source, claim->holder, claim->source, claim->source};
}

static void count(struct planner *p, const struct reason *reason)
{
    size_t i = 0;
    while (i < p->n_tallies && !np_equal(p->tallies[i].word, reason->word))
        i++;
    if (i == REASONS_COUNTED)
        return;
    if (i == p->n_tallies)
        p->tallies[p->n_tallies++] = (struct tally){reason->word, reason->one, 0};
    p->tallies[i].ports++;
}

static void reject(struct planner *p, uint16_t port, struct reason reason)
{
    struct np_plan *plan = p->plan;
    p->n_rejected++;
    count(p, &reason);
    struct nextport_reject *last = plan->n_rejected ? &plan->rejected[plan->n_rejected - 1] : NULL;
    if (last && last->kind == reason.kind && np_equal(last->source, reason.source) &&
        np_equal(last->holder, reason.holder) && last->last < port && !plan->rejected_rest) {
        last->last = port;
        last->count++;
    } else if (plan->n_rejected < REJECTS_SHOWN) {
        last = np_push(p->arena, &plan->rejected, &plan->n_rejected, &p->rejects_capacity, sizeof *last);
        *last = (struct nextport_reject){port, port, 1, reason.kind, reason.source, reason.holder};
    } else {
        plan->rejected_rest++;
    }
}

/* Bitmap first, probe last: a port that someone claims may be about to be bound by its owner, and a probe at that very
 * moment would make that fail. */
static enum nextport_status try_port(struct planner *p, uint16_t port, bool *ret_free, struct nextport_error *err)
{
    static const struct reason in_use = {NEXTPORT_SOCKET, "probe", NULL, "sockets", "socket"};
    static const struct reason denied = {NEXTPORT_RESERVED, "probe", "not permitted to this user", "not permitted",
                                         "not permitted"};
    enum nextport_probe answer;
    *ret_free = false;
    if (np_portset_has(&p->taken, port)) {
        reject(p, port, reason_of(p, port));
        return NEXTPORT_OK;
    }
    if (p->ask->probe(p->ask->probe_ctx, port, &answer, err) != NEXTPORT_OK)
        return err->status;
    *ret_free = answer == NEXTPORT_PROBE_FREE;
    if (!*ret_free)
        reject(p, port, answer == NEXTPORT_PROBE_DENIED ? denied : in_use);
    return NEXTPORT_OK;
}

static void let_go(const struct planner *p)
{
    for (size_t i = 0; i < p->plan->n_ports; i++)
        if (p->ask->let_go)
            p->ask->let_go(p->ask->probe_ctx, p->plan->ports[i]);
}

static int by_ports(const struct tally *a, const struct tally *b)
{
    return a->ports < b->ports;
}

/* "16001 ports: 15990 sockets, 11 iis", the largest first. */
static void explain_full(struct planner *p)
{
    struct np_buf out = {.arena = p->arena};
    for (size_t i = 1; i < p->n_tallies; i++)
        for (size_t j = i; j > 0 && by_ports(&p->tallies[j - 1], &p->tallies[j]); j--) {
            struct tally swap = p->tallies[j];
            p->tallies[j] = p->tallies[j - 1];
            p->tallies[j - 1] = swap;
        }
    unsigned size = np_portset_count(&p->ask->pool);
    np_buf_printf(&out, "%u port%s", size, size == 1 ? "" : "s");
    for (size_t i = 0; i < p->n_tallies; i++)
        np_buf_printf(&out, "%s%" PRIu64 " %s", i ? ", " : ": ", p->tallies[i].ports,
                      p->tallies[i].ports == 1 ? p->tallies[i].one : p->tallies[i].word);
    if (p->n_free)
        np_buf_printf(&out, "%s%" PRIu64 " free", p->n_tallies ? ", " : ": ", p->n_free);
    p->plan->exhausted = out.ptr;
}

static uint32_t next_of_pool(const struct planner *p, uint32_t from)
{
    return from <= 65535 ? np_portset_next(&p->ask->pool, (uint16_t)from) : 0;
}

static const struct nextport_claim *claim_at(const struct planner *p, uint32_t port)
{
    return p->why && p->why[port] ? &p->evidence->claims[p->why[port] - 1] : NULL;
}

static bool is_of_one_holder(const struct nextport_claim *a, const struct nextport_claim *b)
{
    return a && b && np_equal(a->source, b->source) && np_equal(a->holder, b->holder) && np_equal(a->file, b->file);
}

/* The claim of the one holder that has more than half of the pool, and how many ports that are; NULL: none has. One vote
 * for it and one against it for each port leave it, if there is one. */
static const struct nextport_claim *largest_holder(const struct planner *p, unsigned *ret_ports)
{
    const struct nextport_claim *held = NULL;
    unsigned votes = 0;
    for (uint32_t port = next_of_pool(p, 1); port; port = next_of_pool(p, port + 1)) {
        const struct nextport_claim *claim = claim_at(p, port);
        if (!votes)
            held = claim;
        votes = !votes || is_of_one_holder(held, claim) ? votes + 1 : votes - 1;
    }
    *ret_ports = 0;
    for (uint32_t port = next_of_pool(p, 1); port; port = next_of_pool(p, port + 1))
        *ret_ports += is_of_one_holder(held, claim_at(p, port));
    return held && (held->holder || held->file) && *ret_ports > np_portset_count(&p->ask->pool) / 2 ? held : NULL;
}

/* "systemd-shop (quadlet, /etc/containers/systemd/shop.container:7)" */
static const char *whose(struct np_arena *arena, const struct nextport_claim *claim)
{
    struct np_buf text = {.arena = arena};
    np_buf_printf(&text, "%s%s%s", claim->holder ? np_neutral(arena, claim->holder, false) : "",
                  claim->holder ? " (" : "", claim->source);
    if (claim->file)
        np_buf_printf(&text, "%s%s", claim->holder ? ", " : " (", np_neutral(arena, claim->file, false));
    if (claim->file && claim->line)
        np_buf_printf(&text, ":%u", claim->line);
    np_buf_puts(&text, ")");
    return text.ptr;
}

/* What to do about a full pool. */
static void advise(const struct planner *p, struct nextport_error *err)
{
    unsigned ports;
    const struct nextport_claim *held = largest_holder(p, &ports);
    if (held && strcmp(held->source, "os") == 0)
        np_hint(err, "The system keeps %u of them for %s: choose another range with --range.", ports,
                held->holder ? np_neutral(p->arena, held->holder, false) : "itself");
    if (held && ports > 1)
        np_hint(err, "%s has %u of them: widen the pool with --range, or let it have fewer.", whose(p->arena, held),
                ports);
    np_hint(err, "Widen the pool with --range, or see what holds it with 'nextport used' and 'nextport leases'.");
}

static enum nextport_status full(struct planner *p, struct nextport_error *err)
{
    explain_full(p);
    if (p->ask->count == 1)
        np_fail(err, NEXTPORT_FULL, "no free port: %s", p->plan->exhausted);
    else if (p->ask->consecutive)
        np_fail(err, NEXTPORT_FULL, "no run of %u free ports: %s", p->ask->count, p->plan->exhausted);
    else
        np_fail(err, NEXTPORT_FULL, "fewer than the %u free ports asked for: %s", p->ask->count, p->plan->exhausted);
    advise(p, err);
    let_go(p);
    p->plan->n_ports = 0;
    return err->status;
}

/* A consecutive run that `port` does not go on is given up. */
static void break_run(struct planner *p, uint32_t port)
{
    struct np_plan *plan = p->plan;
    if (!p->ask->consecutive || !plan->n_ports || plan->ports[plan->n_ports - 1] + UINT32_C(1) == port)
        return;
    let_go(p);
    plan->n_ports = 0;
}

/* The ports of the pool from `first` to `last`, until there are enough. */
static enum nextport_status search(struct planner *p, uint32_t first, uint32_t last, struct nextport_error *err)
{
    struct np_plan *plan = p->plan;
    for (uint32_t port = next_of_pool(p, first); port && port <= last && plan->n_ports < p->ask->count;
         port = next_of_pool(p, port + 1)) {
        bool is_free;
        break_run(p, port);
        if (try_port(p, (uint16_t)port, &is_free, err) != NEXTPORT_OK)
            return err->status;
        if (is_free) {
            p->n_free++;
            plan->ports[plan->n_ports++] = (uint16_t)port;
        }
    }
    return NEXTPORT_OK;
}

/* A run that ends where the search began may go on over ports that were found free, and were given up because nothing
 * before them was known yet. They alone are asked for twice. */
static enum nextport_status finish_run(struct planner *p, struct nextport_error *err)
{
    struct np_plan *plan = p->plan;
    while (plan->n_ports && plan->n_ports < p->ask->count) {
        const uint32_t port = plan->ports[plan->n_ports - 1] + UINT32_C(1);
        enum nextport_probe answer;
        if (next_of_pool(p, port) != port || np_portset_has(&p->taken, (uint16_t)port))
            break;
        if (p->ask->probe(p->ask->probe_ctx, (uint16_t)port, &answer, err) != NEXTPORT_OK)
            return err->status;
        if (answer != NEXTPORT_PROBE_FREE)
            break;
        plan->ports[plan->n_ports++] = (uint16_t)port;
    }
    return NEXTPORT_OK;
}

static enum nextport_status search_from(struct planner *p, uint32_t begin, struct nextport_error *err)
{
    if (search(p, begin, 65535, err) != NEXTPORT_OK)
        return err->status;
    if (begin <= 1 || p->plan->n_ports == p->ask->count)
        return NEXTPORT_OK;
    break_run(p, 0);
    if (search(p, 1, begin - 1, err) != NEXTPORT_OK)
        return err->status;
    return p->ask->consecutive ? finish_run(p, err) : NEXTPORT_OK;
}

enum nextport_status np_plan_make(struct np_plan *ret, const struct np_ask *ask, const struct np_evidence *evidence,
                                  const struct np_leases *leases, struct np_arena *arena, struct nextport_error *err)
{
    struct planner p = {
        .ask = ask, .evidence = evidence, .leases = leases, .arena = arena, .plan = ret, .taken = leases->taken};
    const unsigned size = np_portset_count(&ask->pool);
    *ret = (struct np_plan){.ports = np_alloc_array(arena, ask->count, sizeof *ret->ports)};
    mark_taken(&p);
    const uint32_t begin = ask->seeded && size ? np_portset_nth(&ask->pool, (unsigned)(ask->seed % size)) : 1;
    if (search_from(&p, begin, err) != NEXTPORT_OK)
        return err->status;
    return ret->n_ports == ask->count ? NEXTPORT_OK : full(&p, err);
}
