/* The JSON reader on any bytes, strict and lax. What it passes over it must judge as it does what it keeps,
 * and what the strict one takes the lax one takes too. Seeds: test/json.
 * SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { LAX = NP_JSON_COMMENTS | NP_JSON_TRAILING_COMMAS };

/* What must hold of every token, whatever was read. */
static void check(const struct np_json_reader *reader)
{
    const bool has_text =
        reader->token == NP_JSON_KEY || reader->token == NP_JSON_STRING || reader->token == NP_JSON_NUMBER;
    if (reader->depth > NP_JSON_DEPTH_MAX || !reader->line || !np_json_column(reader) || !reader->text.ptr)
        abort();
    if (has_text && !np_utf8_valid(reader->text))
        abort();
    if (reader->is_integer && reader->token != NP_JSON_NUMBER)
        abort();
    if (np_json_is_bad(reader) != (reader->why[0] != '\0'))
        abort();
}

static bool walk(struct np_text bytes, unsigned options, bool skip, struct np_arena *arena)
{
    struct np_json_reader reader;
    np_json_reader_init(&reader, bytes, options, arena);
    while (np_json_next(&reader) != NP_JSON_END && !np_json_is_bad(&reader)) {
        check(&reader);
        if (skip)
            np_json_skip(&reader);
    }
    check(&reader);
    return !np_json_is_bad(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct np_arena *arena = np_arena_new();
    const struct np_text bytes = {(const char *)data, size};
    const bool strict = walk(bytes, 0, false, arena);
    if (strict != walk(bytes, 0, true, arena))
        abort();
    const bool loose = walk(bytes, LAX, false, arena);
    if (loose != walk(bytes, LAX, true, arena) || (strict && !loose))
        abort();
    np_arena_free(arena);
    return 0;
}
