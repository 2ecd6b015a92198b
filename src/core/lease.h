/* Leases: the ports promised, as the ledger keeps them, and the rules of their life.
 *
 *     pending    promised; ends at `expires` unless seen in standing use
 *     confirmed  seen in standing use or configured; does not end by time
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

/* What becomes of a pending lease at a look. */
enum np_lease_step {
    NP_LEASE_KEEP,
    NP_LEASE_CONFIRM, /* seen in standing use */
    NP_LEASE_EXPIRE,  /* due, nothing seen, and nothing hid anything */
};

/* `hidden`: a source could not be read whole, so that nothing seen proves nothing. `in_use` is the standing socket,
 * configured or published claim on the port, or NULL; `occupied`: the bind probe failed, so someone has it. */
enum np_lease_step np_lease_next_step(const struct nextport_lease *, int64_t now, const struct nextport_claim *in_use,
                                      bool occupied, bool hidden);

/* The claim that keeps a lease alive: a standing socket, a configured or a published claim on the port. */
const struct nextport_claim *np_lease_use(const struct np_evidence *, uint16_t port, enum nextport_protocol);

#endif
