/* Evidence: all claims and sightings of one look at the machine.
 * SPDX-License-Identifier: MIT */
#ifndef NP_EVIDENCE_H
#define NP_EVIDENCE_H

#include "base/log.h"
#include "base/map.h"
#include "base/pack.h"
#include "core/portset.h"

/* What a source noticed that is no claim, for the audit. Of "shared-configuration", `where` has no ports and is unresolved,
 * and its detail says what was seen. Of "hijacked", it is a rule, and `address` where connections to its ports never reach
 * this machine's sockets (NULL: everywhere). */
struct np_fact {
    const char *slug; /* of the finding: "shared-configuration"; static */
    struct nextport_claim where;
    uint16_t ends; /* of "hijacked": the port of this machine where the connections end after all; 0: elsewhere */
};

struct np_evidence {
    struct np_arena *arena; /* owns every string */
    struct np_log *log;     /* warnings about what was read */
    struct nextport_claim *claims;
    size_t n_claims, claims_capacity;
    struct nextport_sighting *sightings;
    size_t n_sightings, sightings_capacity;
    struct np_fact *facts;
    size_t n_facts, facts_capacity;
    struct np_map words; /* of claims, that there are few of: kept once */
};

/* Copies the claim and its strings into the arena; count 0 is taken as 1. */
void np_evidence_claim(struct np_evidence *, const struct nextport_claim *);
/* Copies the strings of `where` into the arena. The answer is valid until the next fact. */
struct np_fact *np_evidence_fact(struct np_evidence *, const char *slug, const struct nextport_claim *where);
/* One sighting for each source: a second call for the same source keeps the worse one. */
void np_evidence_sight(struct np_evidence *, const char *source, enum nextport_sight, enum nextport_policy,
                       const char *why, const char *hint);
const struct nextport_sighting *np_evidence_sighting(const struct np_evidence *, const char *source);

/* How much there was at one moment. */
struct np_mark {
    size_t n_claims, n_facts, n_sightings, n_notes;
};
struct np_mark np_evidence_mark(const struct np_evidence *);
/* As if nothing had come since. */
void np_evidence_go_back(struct np_evidence *, struct np_mark);

/* Was it seen, or found absent? Another look may better anything else. */
bool np_evidence_is_whole(const struct np_evidence *, const char *source);
/* What has come of one source between the marks, packed (pack.h); false: it is not whole, or would not last. */
bool np_evidence_write_down(const struct np_evidence *, struct np_mark since, struct np_mark until, const char *source,
                            struct np_buf *ret);
/* As if it had come now; false, and nothing has: the bytes are broken. */
bool np_evidence_read(struct np_evidence *, const char *source, enum nextport_policy, struct np_unpack *written);

/* The first sighting that forbids an answer: policy require, and unreadable or partial. NULL: none. */
const struct nextport_sighting *np_evidence_blind(const struct np_evidence *);

/* Orders claims by port, kind, source; unless `all`, merges equal claims of neighbouring ports or sockets of one
 * holder, adding up their counts. */
void np_evidence_sort(struct np_evidence *, bool all);

/* Does it take its ports from a request of that protocol? Not when it may be any port, or none; a lease takes its port whole. */
bool np_claim_blocks(const struct nextport_claim *, enum nextport_protocol);

const char *np_kind_name(enum nextport_kind);           /* "socket", "configured", ... */
const char *np_sight_name(enum nextport_sight);         /* "seen", "absent", ... */
const char *np_policy_name(enum nextport_policy);       /* "require", "warn", "off" */
const char *np_certainty_name(enum nextport_certainty); /* "declared", ... */
const char *np_protocol_name(enum nextport_protocol);   /* "tcp", "udp", "both" */
const char *np_state_name(enum nextport_lease_state);   /* "pending", "confirmed" */
bool np_policy_parse(struct np_text, enum nextport_policy *ret);
bool np_protocol_parse(struct np_text, enum nextport_protocol *ret);

#endif
