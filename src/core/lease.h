/* Leases: the ports promised, as the ledger keeps them, and the rules of their life (doc/lifetimes.md).
 *
 *     pending      promised; ends at `expires` unless seen in standing use
 *     confirmed    seen in standing use or configured; does not end by time
 *     absent       was confirmed and is no longer seen; ends at `expires`, and after enough looks
 *     quarantined  given back; rests until `expires`
 *
 * SPDX-License-Identifier: MIT */
#ifndef NP_LEASE_H
#define NP_LEASE_H

#include "core/evidence.h"

struct np_leases {
    struct np_arena *arena;
    struct np_portset taken;      /* the ports of all leases */
    struct nextport_lease *items; /* the lowest of them, or all, by port */
    size_t n, capacity;
};

/* NULL: there is no lease of this port, or only its port is known. */
struct nextport_lease *np_leases_at(const struct np_leases *, uint16_t port);
void np_leases_remove(struct np_leases *, uint16_t port);

/* ---- What time and use do to a lease ---- */

struct np_lifetimes {
    int64_t absent_s; /* how long an absent lease is kept */
    int64_t rest_s;   /* how long a port that was given back rests */
    int64_t look_s;   /* looks closer together than this count as one */
    unsigned looks;   /* so many counted looks, the first and the last among them, must not have seen an absent lease */
};

/* What one look says about one leased port. */
struct np_seen {
    const struct nextport_claim *use; /* the standing socket, configured or published claim on it, or NULL */
    bool occupied;                    /* the bind probe failed, or the table shows a socket: someone has it */
    bool hidden;                      /* a source could not be read whole: that nothing is seen proves nothing */
    /* Counted: now - renewed >= look_s. An absent lease's `renewed` is its last counted look, any other's the last time
     * that it was asked for, confirmed or given back. */
    bool look;
    bool ended; /* the process that the lease lives with is gone */
};

enum np_lease_step {
    NP_LEASE_KEEP,    /* nothing changes */
    NP_LEASE_CONFIRM, /* -> confirmed by `use` */
    NP_LEASE_MISS,    /* confirmed -> absent; the first look that did not see it */
    NP_LEASE_COUNT,   /* absent, one more look */
    NP_LEASE_REST,    /* -> quarantined: its process has ended */
    NP_LEASE_REBASE,  /* the clock went backwards: its times count from now */
    NP_LEASE_EXPIRE,  /* the row ends */
};

enum np_if { NP_EITHER, NP_YES, NP_NO };

/* A row of the table of doc/lifetimes.md: what must hold, and what is done then. */
struct np_lease_row {
    unsigned states; /* bits 1 << enum nextport_lease_state */
    bool in_future;  /* renewed in the future: the clock went backwards */
    enum np_if seen, hidden, occupied;
    enum np_if ended; /* YES and NO only of a lease that lives with a process */
    enum np_if due;
    bool enough_looks; /* this one among them */
    enum np_if counted;
    enum np_lease_step step;
};

extern const struct np_lease_row np_lease_rows[]; /* in the order of doc/lifetimes.md */
extern const size_t np_n_lease_rows;

/* The first row that fits. */
enum np_lease_step np_lease_next_step(const struct nextport_lease *, int64_t now, const struct np_seen *,
                                      const struct np_lifetimes *);
/* Makes the step's change, in time as well (`renewed`); nothing for KEEP and EXPIRE. `holder` is what a confirmation
 * records, borrowed. */
void np_lease_apply(struct nextport_lease *, enum np_lease_step, int64_t now, const char *holder,
                    const struct np_lifetimes *);
/* The event that the history gets; NULL: none (KEEP, COUNT). */
const char *np_lease_event(enum np_lease_step, enum nextport_lease_state before);

/* ---- Who uses it ---- */

/* Does this claim keep a lease alive? A standing socket, a configured or a published claim does. */
bool np_claim_is_use(const struct nextport_claim *);
/* The claim that speaks best for the use of a port: published before configured before a socket, with a holder before
 * without. NULL: none. */
const struct nextport_claim *np_lease_use(const struct np_evidence *, uint16_t port, enum nextport_protocol);
/* "SOURCE: WHO", as a lease records it; NULL when the claim does not say who. */
const char *np_holder_of(struct np_arena *, const struct nextport_claim *);
/* Is the claim's holder the one recorded? Schema 1 recorded WHO alone. A container that a file of Quadlet declares is the
 * one that Podman shows; a unit of systemd has the sockets of the programs in it, and a socket unit and a service of one name
 * are one. Where it is not known in which unit a program runs, it may be any. */
enum np_kin { NP_STRANGER, NP_MAYBE, NP_SAME };
enum np_kin np_holder_kin(const char *recorded, const struct nextport_claim *);
bool np_holder_is(const char *recorded, const struct nextport_claim *); /* NP_SAME */

/* ---- What an owner that asks again gets ---- */

struct np_ruling {
    bool keep;
    const struct nextport_claim *confirm; /* what confirms the lease to this owner; NULL: nothing, or it is already */
    const char *why;                      /* "iis: Blog has it, and not iis: Shop": `it` is the port */
};

/* Sound is a port that nobody else is known to use: unused, used by the holder recorded, by one that cannot be seen, or, for
 * a lease that never had a holder, by anyone. A known stranger, a port outside the pool, and one that the system excludes
 * are not. What is transient never moves a lease. `protocol` and `pool` are those of the request. */
struct np_ruling np_lease_rule(const struct nextport_lease *, enum nextport_protocol protocol,
                               const struct np_portset *pool, const struct np_evidence *, struct np_arena *);

#endif
