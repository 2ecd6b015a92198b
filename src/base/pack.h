/* Numbers and texts as bytes, for the same program on the same machine to read again: neither portable nor for people.
 * What is read may be anything at all.
 * SPDX-License-Identifier: MIT */
#ifndef NP_PACK_H
#define NP_PACK_H

#include "base/text.h"

void np_pack_number(struct np_buf *, uint64_t);
/* NULL stays NULL. */
void np_pack_text(struct np_buf *, const char *);
/* Bytes of any kind, a packed whole among them. */
void np_pack_bytes(struct np_buf *, struct np_text);

/* Reads in the order in which it was packed. Once it met something else it is broken, and all it gives is 0 and NULL. */
struct np_unpack {
    const char *at, *end;
    bool broken;
};

struct np_unpack np_unpack_begin(struct np_text);
/* More than `max`: broken. */
uint64_t np_unpack_number(struct np_unpack *, uint64_t max);
/* In the packed bytes, NUL-terminated. */
const char *np_unpack_text(struct np_unpack *);
struct np_text np_unpack_bytes(struct np_unpack *);
/* Was that all, and none of it broken? */
bool np_unpack_is_done(const struct np_unpack *);

/* Adds a sum of all that is there, which tells torn and mixed-up bytes from whole ones. Not meant to withstand anybody. */
void np_pack_sum(struct np_buf *);
/* Takes it off again. false: they are not whole. */
bool np_unpack_sum(struct np_text *bytes);

/* Eight bytes that are the same for the same text, and hardly ever for others. */
uint64_t np_sum(struct np_text);

#endif
