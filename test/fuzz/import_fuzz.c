/* An import of any bytes, which is all read and then not done; seeds: test/json. What it takes must be leases that a ledger
 * may have, and what it refuses must be told.
 * SPDX-License-Identifier: MIT */
#include "core/owner.h"
#include "fuzz.h"

#include <stdlib.h>

static void check(const struct nextport_lease *lease, struct np_arena *arena)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_owner owner;
    if (!lease->port || lease->id || lease->process || lease->looks || lease->created <= 0 || lease->renewed <= 0)
        abort();
    if ((lease->state == NEXTPORT_CONFIRMED) != !lease->expires || np_check_word(lease->name, "", &err) != NEXTPORT_OK)
        abort();
    if (np_owner_make(&owner, lease->labels, lease->n_labels, arena, &err) != NEXTPORT_OK)
        abort();
    if ((lease->owner_key != NULL) != (owner.n_labels > 0) || (lease->deployment && !lease->owner_key))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct np_arena *arena = np_arena_new();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct nextport_result *res = NULL;
    struct nextport *np = nextport_new();
    nextport_set(np, "ledger.file", "/nonexistent/ledger.db", "fuzz", &err);
    nextport_set(np, "machine.root", "/sys", "fuzz", &err); /* where nobody is configured, so no port is in use */
    const enum nextport_status status =
        nextport_import(np, (const char *)data, size, "fuzz", true, false, "import", &res, &err);
    if ((status == NEXTPORT_OK) != (res != NULL) || (status != NEXTPORT_OK && (status != NEXTPORT_INPUT || !*err.text)))
        abort();
    for (size_t i = 0; res && i < res->n_leases; i++) {
        check(&res->leases[i], arena);
        if (i && res->leases[i].port == res->leases[i - 1].port)
            abort();
    }
    nextport_result_free(res);
    nextport_free(np);
    np_arena_free(arena);
    return 0;
}
