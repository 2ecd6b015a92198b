/* SPDX-License-Identifier: MIT */
#include "core/lease.h"

#include <string.h>

struct nextport_lease *np_leases_at(const struct np_leases *leases, uint16_t port)
{
    size_t low = 0, high = leases->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (leases->items[middle].port < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low < leases->n && leases->items[low].port == port ? &leases->items[low] : NULL;
}

void np_leases_remove(struct np_leases *leases, uint16_t port)
{
    struct nextport_lease *lease = np_leases_at(leases, port);
    np_portset_remove(&leases->taken, port, port);
    if (lease)
        memmove(lease, lease + 1, (size_t)(leases->items + leases->n-- - (lease + 1)) * sizeof *lease);
}

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

const struct nextport_claim *np_lease_use(const struct np_evidence *evidence, uint16_t port,
                                          enum nextport_protocol protocol)
{
    for (size_t i = 0; i < evidence->n_claims; i++) {
        const struct nextport_claim *claim = &evidence->claims[i];
        bool same = claim->first <= port && port <= claim->last && claim->protocol & protocol;
        if (same && keeps_alive(claim))
            return claim;
    }
    return NULL;
}

enum np_lease_step np_lease_next_step(const struct nextport_lease *lease, int64_t now, const struct np_seen *seen,
                                      const struct np_lifetimes *lifetimes)
{
    (void)lifetimes;
    if (lease->state != NEXTPORT_PENDING)
        return NP_LEASE_KEEP;
    if (seen->use)
        return NP_LEASE_CONFIRM;
    if (now < lease->expires || seen->occupied || seen->hidden)
        return NP_LEASE_KEEP;
    return NP_LEASE_EXPIRE;
}
