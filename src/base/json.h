/* A streaming JSON writer (RFC 8259): ASCII only, one line, keys in the order written.
 * Ours rather than a library's because it is forty lines and on the hot path. The positioned reader joins it when a
 * source needs one.
 * SPDX-License-Identifier: MIT */
#ifndef NP_JSON_H
#define NP_JSON_H

#include "base/arena.h"

struct np_json {
    struct np_buf *out;
    bool comma; /* a value was written at this level, so the next one needs a comma */
};

/* `key` is NULL inside arrays and for the outermost value. */
void np_json_begin(struct np_json *, const char *key, char bracket);       /* '{' or '[' */
void np_json_end(struct np_json *, char bracket);                          /* '}' or ']' */
void np_json_string(struct np_json *, const char *key, const char *value); /* NULL: null; invalid UTF-8: U+FFFD */
void np_json_int(struct np_json *, const char *key, int64_t value);
void np_json_bool(struct np_json *, const char *key, bool value);
void np_json_null(struct np_json *, const char *key);

#endif
