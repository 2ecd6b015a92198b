/* JSON that the ledger has kept, handed on. Who can write the ledger's file can write anything there, so nothing is handed
 * on that was not checked.
 * SPDX-License-Identifier: MIT */
#ifndef NP_KEPT_H
#define NP_KEPT_H

#include "base/text.h"

/* Adds what stands between the braces of a JSON object (RFC 8259), as the writer of base/json.h would have written it: ASCII
 * only, no blanks, "##" apart. false: it is no object, is not UTF-8 or nests deeper than 8; what was added is of no use. */
bool np_json_members(struct np_buf *out, struct np_text object);

/* The value of a member of such an object, for people: text as it is, anything else as written. NULL: none, or null. */
const char *np_json_member(struct np_arena *, const char *object, const char *key);

#endif
