/* What one request left for the next, taken for true as it is: whatever the bytes are, what comes of them is well-formed or
 * nothing. Seeds: test/memory.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "core/evidence.h"
#include "host/host.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct np_arena *arena = np_arena_new();
    struct np_log log = {.arena = arena};
    struct np_evidence evidence = {.arena = arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_reader *reader;
    struct np_unpack unpack = np_unpack_begin((struct np_text){(const char *)data, size});
    if (np_reader_open(&reader, NULL, arena, &err) != NEXTPORT_OK)
        abort();
    const bool is_whole =
        np_reader_take_over(reader, &unpack, true) && np_evidence_read(&evidence, "nginx", NEXTPORT_WARN, &unpack);
    if (!is_whole && (evidence.n_claims || evidence.n_facts || evidence.n_sightings || log.n_notes))
        abort();
    for (size_t i = 0; i < evidence.n_claims; i++)
        if (!evidence.claims[i].source || evidence.claims[i].first > evidence.claims[i].last)
            abort();
    np_reader_close(reader);
    np_arena_free(arena);
    return 0;
}
