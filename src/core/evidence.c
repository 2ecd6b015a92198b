/* SPDX-License-Identifier: MIT */
#include "core/evidence.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
    [NEXTPORT_SOCKET] = "socket",     [NEXTPORT_CONFIGURED] = "configured", [NEXTPORT_PUBLISHED] = "published",
    [NEXTPORT_RESERVED] = "reserved", [NEXTPORT_LEASED] = "leased",         [NEXTPORT_SUSPECT] = "suspect",
};
static const char *const sight_names[] = {
    [NEXTPORT_SEEN] = "seen",
    [NEXTPORT_ABSENT] = "absent",
    [NEXTPORT_PARTIAL] = "partial",
    [NEXTPORT_UNREADABLE] = "unreadable",
};
static const char *const policy_names[] = {
    [NEXTPORT_REQUIRE] = "require",
    [NEXTPORT_WARN] = "warn",
    [NEXTPORT_OFF] = "off",
};
static const char *const certainty_names[] = {
    [NEXTPORT_DECLARED] = "declared",
    [NEXTPORT_CONDITIONAL] = "conditional",
    [NEXTPORT_UNRESOLVED] = "unresolved",
};
static const char *const protocol_names[] = {
    [NEXTPORT_TCP] = "tcp",
    [NEXTPORT_UDP] = "udp",
    [NEXTPORT_BOTH] = "both",
};
static const char *const state_names[] = {
    [NEXTPORT_PENDING] = "pending",
    [NEXTPORT_CONFIRMED] = "confirmed",
    [NEXTPORT_UNSEEN] = "absent",
    [NEXTPORT_RESTING] = "quarantined",
};

const char *np_kind_name(enum nextport_kind kind)
{
    return kind_names[kind];
}

const char *np_sight_name(enum nextport_sight sight)
{
    return sight_names[sight];
}

const char *np_policy_name(enum nextport_policy policy)
{
    return policy_names[policy];
}

const char *np_certainty_name(enum nextport_certainty certainty)
{
    return certainty_names[certainty];
}

const char *np_protocol_name(enum nextport_protocol protocol)
{
    return protocol_names[protocol];
}

const char *np_state_name(enum nextport_lease_state state)
{
    return state_names[state];
}

bool np_policy_parse(struct np_text text, enum nextport_policy *ret)
{
    for (unsigned i = NEXTPORT_REQUIRE; i <= NEXTPORT_OFF; i++)
        if (np_text_is(text, policy_names[i])) {
            *ret = (enum nextport_policy)i;
            return true;
        }
    return false;
}

bool np_protocol_parse(struct np_text text, enum nextport_protocol *ret)
{
    for (unsigned i = NEXTPORT_TCP; i <= NEXTPORT_BOTH; i++)
        if (np_text_is(text, protocol_names[i])) {
            *ret = (enum nextport_protocol)i;
            return true;
        }
    return false;
}

bool np_claim_blocks(const struct nextport_claim *claim, enum nextport_protocol protocol)
{
    return claim->first && claim->certainty != NEXTPORT_UNRESOLVED &&
           (claim->kind == NEXTPORT_LEASED || claim->protocol & protocol);
}

/* Neighbours often say the same: then one copy does. */
static const char *keep(struct np_arena *arena, const char *text, const char *same)
{
    return np_equal(text, same) ? same : np_strdup(arena, text);
}

/* An address, a scheme or the name of a source. */
static const char *keep_word(struct np_evidence *evidence, const char *word)
{
    if (!word)
        return NULL;
    evidence->words.arena = evidence->arena;
    char *kept = np_map_find(&evidence->words, word);
    if (!kept) {
        kept = np_strdup(evidence->arena, word);
        *np_map_at(&evidence->words, kept) = kept;
    }
    return kept;
}

/* With strings of the arena's own. `last` is the claim before, which has such. */
static struct nextport_claim copy(struct np_evidence *evidence, const struct nextport_claim *claim,
                                  const struct nextport_claim *last)
{
    struct np_arena *arena = evidence->arena;
    struct nextport_claim to = *claim;
    to.address = keep_word(evidence, claim->address);
    to.scheme = keep_word(evidence, claim->scheme);
    to.source = keep_word(evidence, claim->source);
    to.holder = keep(arena, claim->holder, last->holder);
    to.host = claim->host == claim->holder ? to.holder : keep(arena, claim->host, last->host);
    to.detail = keep(arena, claim->detail, last->detail);
    to.file = keep(arena, claim->file, last->file);
    if (!to.count)
        to.count = 1;
    return to;
}

static const struct nextport_claim nothing;

void np_evidence_claim(struct np_evidence *evidence, const struct nextport_claim *claim)
{
    struct nextport_claim *to =
        np_push(evidence->arena, &evidence->claims, &evidence->n_claims, &evidence->claims_capacity, sizeof *to);
    *to = copy(evidence, claim, evidence->n_claims > 1 ? to - 1 : &nothing);
}

struct np_fact *np_evidence_fact(struct np_evidence *evidence, const char *slug, const struct nextport_claim *where)
{
    struct np_fact *fact =
        np_push(evidence->arena, &evidence->facts, &evidence->n_facts, &evidence->facts_capacity, sizeof *fact);
    *fact = (struct np_fact){slug, copy(evidence, where, &nothing), 0};
    return fact;
}

const struct nextport_sighting *np_evidence_sighting(const struct np_evidence *evidence, const char *source)
{
    for (size_t i = 0; i < evidence->n_sightings; i++)
        if (strcmp(evidence->sightings[i].source, source) == 0)
            return &evidence->sightings[i];
    return NULL;
}

/* Absent and seen are both whole answers; seen, being the richer, is the "worse" of the two. */
static unsigned badness(enum nextport_sight sight)
{
    static const unsigned order[] = {
        [NEXTPORT_ABSENT] = 0,
        [NEXTPORT_SEEN] = 1,
        [NEXTPORT_PARTIAL] = 2,
        [NEXTPORT_UNREADABLE] = 3,
    };
    return order[sight];
}

void np_evidence_sight(struct np_evidence *evidence, const char *source, enum nextport_sight sight,
                       enum nextport_policy policy, const char *why, const char *hint)
{
    struct nextport_sighting *to = NULL;
    for (size_t i = 0; i < evidence->n_sightings && !to; i++)
        if (strcmp(evidence->sightings[i].source, source) == 0)
            to = &evidence->sightings[i];
    if (to && badness(to->sight) >= badness(sight))
        return;
    if (!to)
        to = np_push(evidence->arena, &evidence->sightings, &evidence->n_sightings, &evidence->sightings_capacity,
                     sizeof *to);
    *to = (struct nextport_sighting){np_strdup(evidence->arena, source), sight, policy, np_strdup(evidence->arena, why),
                                     np_strdup(evidence->arena, hint)};
}

const struct nextport_sighting *np_evidence_blind(const struct np_evidence *evidence)
{
    for (size_t i = 0; i < evidence->n_sightings; i++) {
        const struct nextport_sighting *s = &evidence->sightings[i];
        if (s->policy == NEXTPORT_REQUIRE && (s->sight == NEXTPORT_PARTIAL || s->sight == NEXTPORT_UNREADABLE))
            return s;
    }
    return NULL;
}

/* ---- Marks, and what has come since ------------------------------------------------------------------------------ */

struct np_mark np_evidence_mark(const struct np_evidence *evidence)
{
    return (struct np_mark){evidence->n_claims, evidence->n_facts, evidence->n_sightings, evidence->log->n_notes};
}

void np_evidence_go_back(struct np_evidence *evidence, struct np_mark mark)
{
    evidence->n_claims = mark.n_claims;
    evidence->n_facts = mark.n_facts;
    evidence->n_sightings = mark.n_sightings;
    evidence->log->n_notes = mark.n_notes;
}

static void write_claim(struct np_buf *buf, const struct nextport_claim *claim)
{
    const uint64_t numbers[] = {claim->first,     claim->last,      claim->protocol, claim->kind,
                                claim->certainty, claim->transient, claim->line,     claim->count};
    const char *const texts[] = {claim->source, claim->holder, claim->host, claim->address,
                                 claim->scheme, claim->detail, claim->file};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        np_pack_number(buf, numbers[i]);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        np_pack_text(buf, texts[i]);
}

static bool read_claim(struct np_unpack *unpack, struct nextport_claim *ret)
{
    *ret = (struct nextport_claim){0};
    ret->first = (uint16_t)np_unpack_number(unpack, UINT16_MAX);
    ret->last = (uint16_t)np_unpack_number(unpack, UINT16_MAX);
    ret->protocol = (enum nextport_protocol)np_unpack_number(unpack, NEXTPORT_BOTH);
    ret->kind = (enum nextport_kind)np_unpack_number(unpack, NEXTPORT_SUSPECT);
    ret->certainty = (enum nextport_certainty)np_unpack_number(unpack, NEXTPORT_UNRESOLVED);
    ret->transient = np_unpack_number(unpack, 1);
    ret->line = (unsigned)np_unpack_number(unpack, UINT_MAX);
    ret->count = np_unpack_number(unpack, UINT64_MAX);
    const char **const texts[] = {&ret->source, &ret->holder, &ret->host, &ret->address,
                                  &ret->scheme, &ret->detail, &ret->file};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = np_unpack_text(unpack);
    const bool has_ports = ret->first && ret->first <= ret->last, has_none = !ret->first && !ret->last;
    return !unpack->broken && ret->source && (has_ports || (has_none && ret->certainty == NEXTPORT_UNRESOLVED));
}

/* Of processes there is nothing: they come and go. */
static bool is_lasting(const struct nextport_claim *claim)
{
    return !claim->pid && !claim->unit && claim->kind != NEXTPORT_SOCKET;
}

bool np_evidence_is_whole(const struct np_evidence *evidence, const char *source)
{
    const struct nextport_sighting *s = np_evidence_sighting(evidence, source);
    return s && (s->sight == NEXTPORT_SEEN || s->sight == NEXTPORT_ABSENT);
}

bool np_evidence_write_down(const struct np_evidence *evidence, struct np_mark since, struct np_mark until,
                            const char *source, struct np_buf *ret)
{
    const struct nextport_sighting *s = np_evidence_sighting(evidence, source);
    if (!np_evidence_is_whole(evidence, source))
        return false;
    np_pack_number(ret, s->sight);
    np_pack_text(ret, s->why);
    np_pack_text(ret, s->hint);
    np_pack_number(ret, until.n_claims - since.n_claims);
    for (size_t i = since.n_claims; i < until.n_claims; i++) {
        if (!is_lasting(&evidence->claims[i]))
            return false;
        write_claim(ret, &evidence->claims[i]);
    }
    np_pack_number(ret, until.n_facts - since.n_facts);
    for (size_t i = since.n_facts; i < until.n_facts; i++) {
        np_pack_text(ret, evidence->facts[i].slug);
        np_pack_number(ret, evidence->facts[i].ends);
        write_claim(ret, &evidence->facts[i].where);
    }
    np_pack_number(ret, until.n_notes - since.n_notes);
    for (size_t i = since.n_notes; i < until.n_notes; i++) {
        np_pack_number(ret, evidence->log->notes[i].level);
        np_pack_text(ret, evidence->log->notes[i].text);
    }
    return true;
}

static bool read_claims(struct np_evidence *evidence, struct np_unpack *unpack)
{
    struct nextport_claim claim;
    for (uint64_t n = np_unpack_number(unpack, UINT64_MAX); n > 0; n--) {
        if (!read_claim(unpack, &claim))
            return false;
        np_evidence_claim(evidence, &claim);
    }
    return true;
}

static bool read_facts(struct np_evidence *evidence, struct np_unpack *unpack)
{
    struct nextport_claim where;
    for (uint64_t n = np_unpack_number(unpack, UINT64_MAX); n > 0; n--) {
        const char *slug = np_unpack_text(unpack);
        const uint16_t ends = (uint16_t)np_unpack_number(unpack, UINT16_MAX);
        if (!slug || !read_claim(unpack, &where))
            return false;
        np_evidence_fact(evidence, np_strdup(evidence->arena, slug), &where)->ends = ends;
    }
    return true;
}

static bool read_notes(struct np_evidence *evidence, struct np_unpack *unpack)
{
    for (uint64_t n = np_unpack_number(unpack, UINT64_MAX); n > 0; n--) {
        const enum nextport_level level = (enum nextport_level)np_unpack_number(unpack, NEXTPORT_VERBOSE);
        const char *text = np_unpack_text(unpack);
        if (!text)
            return false;
        np_note(evidence->log, level, "%s", text);
    }
    return true;
}

bool np_evidence_read(struct np_evidence *evidence, const char *source, enum nextport_policy policy,
                      struct np_unpack *written)
{
    const struct np_mark before = np_evidence_mark(evidence);
    const enum nextport_sight sight = (enum nextport_sight)np_unpack_number(written, NEXTPORT_ABSENT);
    const char *why = np_unpack_text(written), *hint = np_unpack_text(written);
    const bool is_whole = read_claims(evidence, written) && read_facts(evidence, written) &&
                          read_notes(evidence, written) && np_unpack_is_done(written);
    if (is_whole)
        np_evidence_sight(evidence, source, sight, policy, why, hint);
    else
        np_evidence_go_back(evidence, before);
    return is_whole;
}

/* ---- Order --------------------------------------------------------------------------------------------------------- */

static int compare_number(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* What makes two findings one row, apart from the port. */
static int compare_reason(const struct nextport_claim *a, const struct nextport_claim *b)
{
    int d = compare_number(a->kind, b->kind);
    d = d ? d : np_compare(a->source, b->source);
    d = d ? d : np_compare(a->holder, b->holder);
    d = d ? d : np_compare(a->host, b->host);
    d = d ? d : compare_number((uint64_t)a->pid, (uint64_t)b->pid);
    d = d ? d : compare_number(a->transient, b->transient);
    d = d ? d : compare_number(a->protocol, b->protocol);
    d = d ? d : compare_number(a->certainty, b->certainty);
    d = d ? d : np_compare(a->file, b->file);
    return d ? d : compare_number(a->line, b->line);
}

static int compare_claims(const void *pa, const void *pb)
{
    const struct nextport_claim *a = pa, *b = pb;
    int d = compare_number(a->first, b->first);
    d = d ? d : compare_number(a->last, b->last);
    d = d ? d : compare_reason(a, b);
    d = d ? d : np_compare(a->address, b->address);
    return d ? d : np_compare(a->detail, b->detail);
}

/* Only sockets come in thousands; what a person wrote into a file stays a row of its own. */
static bool merges(const struct nextport_claim *row, const struct nextport_claim *next)
{
    return next->first <= (uint32_t)row->last + 1 && row->kind == NEXTPORT_SOCKET && compare_reason(row, next) == 0;
}

static void merge(struct nextport_claim *row, const struct nextport_claim *next)
{
    if (next->last > row->last)
        row->last = next->last;
    if (np_compare(row->address, next->address) != 0)
        row->address = NULL;
    if (np_compare(row->detail, next->detail) != 0)
        row->detail = "several states";
    row->count += next->count;
}

void np_evidence_sort(struct np_evidence *evidence, bool all)
{
    if (!evidence->n_claims)
        return;
    qsort(evidence->claims, evidence->n_claims, sizeof *evidence->claims, compare_claims);
    if (all)
        return;
    /* Rows of one port interleave (a listener and its connections), so a row may go on past others of the same port:
     * look back over the rows of sockets that could still take this one. */
    size_t n = 0, first_open = 0, n_open = 0;
    size_t *open = np_alloc_array(evidence->arena, evidence->n_claims, sizeof *open);
    for (size_t i = 0; i < evidence->n_claims; i++) {
        struct nextport_claim *claims = evidence->claims, *claim = &claims[i], *row = NULL;
        const bool is_socket = claim->kind == NEXTPORT_SOCKET;
        while (is_socket && first_open < n_open && (uint32_t)claims[open[first_open]].last + 1 < claim->first)
            first_open++;
        for (size_t j = n_open; is_socket && j > first_open && !row; j--)
            if (merges(&claims[open[j - 1]], claim))
                row = &claims[open[j - 1]];
        if (row) {
            merge(row, claim);
            continue;
        }
        if (is_socket)
            open[n_open++] = n;
        claims[n++] = *claim;
    }
    evidence->n_claims = n;
}
