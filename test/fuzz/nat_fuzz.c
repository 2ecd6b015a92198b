/* Fuzzes what reads the kernel's rules. Input: a sample as test/nat/ has them.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "nat/sample.h"

#include <stdlib.h>

static void read_sample(const uint8_t *data, size_t size, bool thorough)
{
    static const struct np_nat_address own = {{10, 0, 0, 1}, 4};
    struct np_arena *arena = np_arena_new();
    struct np_nat_rules rules = {.arena = arena, .thorough = thorough, .own = &own, .n_own = thorough};
    nat_sample_read(&rules, (struct np_text){(const char *)data, size});
    for (size_t i = 0; i < rules.n_rows; i++) {
        const struct np_nat_row *row = &rules.rows[i];
        if (row->ports.first > row->ports.last || (!row->ports.first && row->ports.last) || !row->detail ||
            !(row->protocol & NEXTPORT_BOTH) || (row->hijacks && (!row->holder || !row->ports.first)))
            abort();
    }
    np_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_sample(data, size, false);
    read_sample(data, size, true);
    return 0;
}
