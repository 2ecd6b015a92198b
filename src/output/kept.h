/* JSON that the ledger has kept, handed on. Who can write the ledger's file can write anything there, so nothing is
 * handed on that was not read whole and written anew.
 * SPDX-License-Identifier: MIT */
#ifndef NP_KEPT_H
#define NP_KEPT_H

#include "base/text.h"

/* Adds what stands between the braces of a JSON object, as the writer of base/json.h writes it. false: it is no
 * object, or holds what the ledger never keeps: a fraction, or a NUL byte in a text. */
bool np_json_members(struct np_buf *out, struct np_text object);

/* The text or number that a member of such an object is; NULL: there is none, or it is something else. */
const char *np_json_member(struct np_arena *, const char *object, const char *key);

#endif
