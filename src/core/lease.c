/* SPDX-License-Identifier: MIT */
#include "core/lease.h"

static bool keeps_alive(const struct nextport_claim *claim)
{
    switch (claim->kind) {
    case NEXTPORT_SOCKET:
        return !claim->transient;
    case NEXTPORT_CONFIGURED:
    case NEXTPORT_PUBLISHED:
        return true;
    case NEXTPORT_RESERVED:
    case NEXTPORT_LEASED:
    case NEXTPORT_SUSPECT:
        break;
    }
    return false;
}

const struct nextport_claim *np_lease_use(const struct np_evidence *evidence, uint16_t port)
{
    for (size_t i = 0; i < evidence->n_claims; i++) {
        const struct nextport_claim *claim = &evidence->claims[i];
        if (claim->first <= port && port <= claim->last && keeps_alive(claim))
            return claim;
    }
    return NULL;
}

enum np_lease_step np_lease_next_step(const struct nextport_lease *lease, int64_t now,
                                      const struct nextport_claim *in_use, bool occupied, bool hidden)
{
    if (lease->state != NEXTPORT_PENDING)
        return NP_LEASE_KEEP;
    if (in_use)
        return NP_LEASE_CONFIRM;
    if (now < lease->expires || occupied || hidden)
        return NP_LEASE_KEEP;
    return NP_LEASE_EXPIRE;
}
