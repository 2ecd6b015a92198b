/* SPDX-License-Identifier: MIT */
#include "core/lease.h"

#include <string.h>

struct nextport_lease *np_leases_at(const struct np_leases *leases, uint16_t port)
{
    size_t low = 0, high = leases->n;
    if (!leases->n || leases->items[leases->n - 1].port < port) /* as of most, where only the first ones are told */
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (leases->items[middle].port < port)
            low = middle + 1;
        else
            high = middle;
    }
    return leases->items[low].port == port ? &leases->items[low] : NULL;
}

void np_leases_remove(struct np_leases *leases, uint16_t port)
{
    struct nextport_lease *lease = np_leases_at(leases, port);
    np_portset_remove(&leases->taken, port, port);
    if (lease)
        memmove(lease, lease + 1, (size_t)(leases->items + leases->n-- - (lease + 1)) * sizeof *lease);
}

/* ---- What time and use do to a lease ---- */

enum {
    PENDING = 1u << NEXTPORT_PENDING,
    CONFIRMED = 1u << NEXTPORT_CONFIRMED,
    UNSEEN = 1u << NEXTPORT_UNSEEN,
    RESTING = 1u << NEXTPORT_RESTING,
    ANY = PENDING | CONFIRMED | UNSEEN | RESTING,
};

const struct np_lease_row np_lease_rows[] = {
    {.states = ANY, .in_future = true, .step = NP_LEASE_REBASE},
    {.states = PENDING, .seen = NP_YES, .step = NP_LEASE_CONFIRM},
    {.states = UNSEEN, .seen = NP_YES, .step = NP_LEASE_CONFIRM},
    {.states = CONFIRMED, .seen = NP_YES, .step = NP_LEASE_KEEP},
    {.states = RESTING, .seen = NP_YES, .step = NP_LEASE_KEEP},
    {.states = ANY, .hidden = NP_YES, .step = NP_LEASE_KEEP},
    {.states = ANY, .ended = NP_NO, .step = NP_LEASE_KEEP},
    {.states = ANY & ~RESTING, .occupied = NP_NO, .ended = NP_YES, .step = NP_LEASE_REST},
    {.states = PENDING, .occupied = NP_NO, .due = NP_YES, .step = NP_LEASE_EXPIRE},
    {.states = CONFIRMED, .counted = NP_YES, .step = NP_LEASE_MISS},
    {.states = UNSEEN,
     .occupied = NP_NO,
     .due = NP_YES,
     .enough_looks = true,
     .counted = NP_YES,
     .step = NP_LEASE_EXPIRE},
    {.states = UNSEEN, .counted = NP_YES, .step = NP_LEASE_COUNT},
    {.states = RESTING, .occupied = NP_NO, .due = NP_YES, .step = NP_LEASE_EXPIRE},
    {.states = ANY, .step = NP_LEASE_KEEP},
};
const size_t np_n_lease_rows = sizeof np_lease_rows / sizeof *np_lease_rows;

static bool is(enum np_if wanted, bool so)
{
    return wanted == NP_EITHER || (wanted == NP_YES) == so;
}

static bool fits(const struct np_lease_row *row, const struct nextport_lease *lease, int64_t now,
                 const struct np_seen *seen, const struct np_lifetimes *lifetimes)
{
    const bool due = lease->expires && lease->expires <= now;
    return row->states & 1u << lease->state && (!row->in_future || lease->renewed > now) &&
           is(row->seen, seen->use != NULL) && is(row->hidden, seen->hidden) && is(row->occupied, seen->occupied) &&
           (row->ended == NP_EITHER || (lease->process && is(row->ended, seen->ended))) && is(row->due, due) &&
           (!row->enough_looks || lease->looks + UINT64_C(1) >= lifetimes->looks) && is(row->counted, seen->look);
}

enum np_lease_step np_lease_next_step(const struct nextport_lease *lease, int64_t now, const struct np_seen *seen,
                                      const struct np_lifetimes *lifetimes)
{
    for (size_t i = 0; i < np_n_lease_rows; i++)
        if (fits(&np_lease_rows[i], lease, now, seen, lifetimes))
            return np_lease_rows[i].step;
    return NP_LEASE_KEEP;
}

/* What was left of its time when it was renewed; a clock that was far off must not have made it longer than any setting
 * could. */
static int64_t whole_time(const struct nextport_lease *lease)
{
    if (lease->expires <= lease->renewed)
        return 0;
    const uint64_t left = (uint64_t)lease->expires - (uint64_t)lease->renewed;
    return left < (uint64_t)NP_DURATION_MAX ? (int64_t)left : NP_DURATION_MAX;
}

void np_lease_apply(struct nextport_lease *lease, enum np_lease_step step, int64_t now, const char *holder,
                    const struct np_lifetimes *lifetimes)
{
    switch (step) {
    case NP_LEASE_KEEP:
    case NP_LEASE_EXPIRE:
        return;
    case NP_LEASE_CONFIRM:
        lease->state = NEXTPORT_CONFIRMED;
        lease->holder = holder;
        lease->expires = 0;
        lease->looks = 0;
        break;
    case NP_LEASE_MISS:
        lease->state = NEXTPORT_UNSEEN;
        lease->expires = now + lifetimes->absent_s;
        lease->looks = 1;
        break;
    case NP_LEASE_COUNT:
        lease->looks += lease->looks < INT32_MAX; /* what a ledger holds */
        break;
    case NP_LEASE_REST:
        lease->state = NEXTPORT_RESTING;
        lease->expires = now + lifetimes->rest_s;
        lease->process = NULL;
        break;
    case NP_LEASE_REBASE:
        if (lease->expires)
            lease->expires = now + whole_time(lease);
        break;
    }
    lease->renewed = now;
}

const char *np_lease_event(enum np_lease_step step, enum nextport_lease_state before)
{
    switch (step) {
    case NP_LEASE_KEEP:
    case NP_LEASE_COUNT:
        break;
    case NP_LEASE_CONFIRM:
        return "confirmed";
    case NP_LEASE_MISS:
        return "absent";
    case NP_LEASE_REST:
        return "ended";
    case NP_LEASE_REBASE:
        return "rebased";
    case NP_LEASE_EXPIRE:
        return before == NEXTPORT_RESTING ? "rested" : "expired";
    }
    return NULL;
}

/* ---- Who uses it ---- */

/* How well a kind of claim speaks for the use of a port; 0: not at all. */
static unsigned weight(const struct nextport_claim *claim)
{
    switch (claim->kind) {
    case NEXTPORT_PUBLISHED:
        return 3;
    case NEXTPORT_CONFIGURED:
        return 2;
    case NEXTPORT_SOCKET:
        return !claim->transient;
    case NEXTPORT_RESERVED:
    case NEXTPORT_LEASED:
    case NEXTPORT_SUSPECT:
        break;
    }
    return 0;
}

bool np_claim_is_use(const struct nextport_claim *claim)
{
    return weight(claim) > 0;
}

static bool is_on(const struct nextport_claim *claim, uint16_t port, enum nextport_protocol protocol)
{
    return claim->first <= port && port <= claim->last && claim->protocol & protocol &&
           claim->certainty != NEXTPORT_UNRESOLVED;
}

static bool is_known(const struct nextport_claim *claim)
{
    return claim->holder && *claim->holder;
}

const struct nextport_claim *np_lease_use(const struct np_evidence *evidence, uint16_t port,
                                          enum nextport_protocol protocol)
{
    const struct nextport_claim *best = NULL;
    unsigned best_weight = 0;
    for (size_t i = 0; i < evidence->n_claims; i++) {
        const struct nextport_claim *claim = &evidence->claims[i];
        const unsigned w = is_on(claim, port, protocol) ? 2 * weight(claim) + (weight(claim) && is_known(claim)) : 0;
        if (w > best_weight) {
            best = claim;
            best_weight = w;
        }
    }
    return best;
}

const char *np_holder_of(struct np_arena *arena, const struct nextport_claim *claim)
{
    return is_known(claim) ? np_sprintf(arena, "%s: %s", claim->source, claim->holder) : NULL;
}

/* Sources that speak of the same holders: what one declares, the other shows while it is there. */
static const char *const akin[][2] = {{"quadlet", "podman"}};

/* What of a recorded holder stands behind the name of the source, or of one that is akin; NULL: it is another source's. */
static const char *who_of(const char *recorded, const char *source)
{
    const char *colon = strstr(recorded, ": ");
    const struct np_text name = {recorded, colon ? (size_t)(colon - recorded) : 0};
    bool is_its = np_text_is(name, source);
    for (size_t i = 0; i < sizeof akin / sizeof *akin; i++)
        for (size_t j = 0; j < 2; j++)
            is_its = is_its || (np_text_is(name, akin[i][j]) && strcmp(source, akin[i][!j]) == 0);
    return colon && is_its ? colon + 2 : NULL;
}

/* "shop" of "shop.socket" and "shop.service". */
static bool is_same_unit(const char *a, const char *b)
{
    const char *a_dot = strrchr(a, '.'), *b_dot = strrchr(b, '.');
    const size_t n = a_dot ? (size_t)(a_dot - a) : strlen(a);
    return n == (b_dot ? (size_t)(b_dot - b) : strlen(b)) && strncmp(a, b, n) == 0;
}

/* Between a unit, which is declared, and a socket, which a program has. */
static enum np_kin unit_kin(const char *recorded, const struct nextport_claim *claim)
{
    const char *unit = who_of(recorded, "systemd");
    const bool is_unit = strcmp(claim->source, "systemd") == 0;
    if (unit && is_unit)
        return is_same_unit(unit, claim->holder) ? NP_SAME : NP_STRANGER;
    if (unit && claim->kind == NEXTPORT_SOCKET)
        return !claim->unit ? NP_MAYBE : is_same_unit(unit, claim->unit) ? NP_SAME : NP_STRANGER;
    return is_unit && who_of(recorded, "sockets") ? NP_MAYBE : NP_STRANGER;
}

enum np_kin np_holder_kin(const char *recorded, const struct nextport_claim *claim)
{
    if (!recorded || !is_known(claim))
        return NP_STRANGER;
    const char *who = who_of(recorded, claim->source);
    if ((who && strcmp(who, claim->holder) == 0) || strcmp(recorded, claim->holder) == 0)
        return NP_SAME;
    return unit_kin(recorded, claim);
}

bool np_holder_is(const char *recorded, const struct nextport_claim *claim)
{
    return np_holder_kin(recorded, claim) == NP_SAME;
}

/* ---- What an owner that asks again gets ---- */

/* What stands on a lease's port. */
struct users {
    const struct nextport_claim *own;      /* its holder's best claim */
    const struct nextport_claim *known;    /* the best of somebody else who is known */
    const struct nextport_claim *unknown;  /* of somebody who is not */
    const struct nextport_claim *maybe;    /* of somebody who may be the holder */
    const struct nextport_claim *excluded; /* the system's own */
    const struct nextport_claim *promised; /* another ledger's lease */
};

static void prefer(const struct nextport_claim **best, const struct nextport_claim *claim)
{
    if (!*best || weight(claim) > weight(*best))
        *best = claim;
}

static const struct nextport_claim **slot_of(struct users *users, enum np_kin kin, const struct nextport_claim *claim)
{
    return kin == NP_SAME    ? &users->own
           : kin == NP_MAYBE ? &users->maybe
           : is_known(claim) ? &users->known
                             : &users->unknown;
}

static struct users users_of(const struct nextport_lease *lease, enum nextport_protocol protocol,
                             const struct np_evidence *evidence)
{
    struct users users = {NULL, NULL, NULL, NULL, NULL, NULL};
    for (size_t i = 0; i < evidence->n_claims; i++) {
        const struct nextport_claim *claim = &evidence->claims[i];
        if (!is_on(claim, lease->port, protocol))
            continue;
        if (claim->kind == NEXTPORT_RESERVED && strcmp(claim->source, "os") == 0)
            prefer(&users.excluded, claim);
        else if (claim->kind == NEXTPORT_LEASED)
            prefer(&users.promised, claim);
        else if (np_claim_is_use(claim))
            prefer(slot_of(&users, np_holder_kin(lease->holder, claim), claim), claim);
    }
    return users;
}

/* Could the holder be there, and its source not have shown it? A holder that schema 1 recorded may be of any source. */
static bool may_be_hidden(const char *holder, const struct np_evidence *evidence)
{
    for (size_t i = 0; holder && i < evidence->n_sightings; i++) {
        const struct nextport_sighting *s = &evidence->sightings[i];
        const bool is_bad = s->sight == NEXTPORT_PARTIAL || s->sight == NEXTPORT_UNREADABLE;
        if (is_bad && (!strstr(holder, ": ") || who_of(holder, s->source)))
            return true;
    }
    return false;
}

/* Nothing, when the lease says so already. */
static const struct nextport_claim *news(const struct nextport_lease *lease, const struct nextport_claim *claim)
{
    return lease->state == NEXTPORT_CONFIRMED && lease->holder ? NULL : claim;
}

static struct np_ruling keep(const struct nextport_claim *confirm, const char *why)
{
    return (struct np_ruling){true, confirm, why};
}

static struct np_ruling move(const char *why)
{
    return (struct np_ruling){false, NULL, why};
}

struct np_ruling np_lease_rule(const struct nextport_lease *lease, enum nextport_protocol protocol,
                               const struct np_portset *pool, const struct np_evidence *evidence,
                               struct np_arena *arena)
{
    const struct users on = users_of(lease, protocol, evidence);
    if (!np_portset_has(pool, lease->port))
        return move("it is not among the ports that were asked for");
    if (on.own)
        return keep(news(lease, on.own), np_sprintf(arena, "%s has it", np_holder_of(arena, on.own)));
    if (on.promised)
        return move(np_sprintf(arena, "another ledger has leased it%s%s", on.promised->holder ? " to " : "",
                               on.promised->holder ? on.promised->holder : ""));
    if (on.known && !lease->holder)
        return keep(on.known,
                    np_sprintf(arena, "%s has it: its application has started", np_holder_of(arena, on.known)));
    if (on.unknown)
        return keep(NULL, "who has it cannot be seen");
    if (on.maybe)
        return keep(NULL, np_sprintf(arena, "%s has it, and may be %s", np_holder_of(arena, on.maybe), lease->holder));
    if (on.known && may_be_hidden(lease->holder, evidence))
        return keep(NULL, np_sprintf(arena, "%s has it, but whether %s does cannot be seen",
                                     np_holder_of(arena, on.known), lease->holder));
    if (on.known)
        return move(np_sprintf(arena, "%s has it, and not %s", np_holder_of(arena, on.known), lease->holder));
    if (on.excluded)
        return move(np_sprintf(arena, "the system excludes it%s%s%s", on.excluded->detail ? " (" : "",
                               on.excluded->detail ? on.excluded->detail : "", on.excluded->detail ? ")" : ""));
    return keep(NULL, "nobody else is seen on it");
}
