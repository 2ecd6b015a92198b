/* Small files beside a ledger, in which something is remembered that only administrators (or, beside their own ledger, the
 * user) may say.
 * SPDX-License-Identifier: MIT */
#ifndef NP_SHELF_H
#define NP_SHELF_H

#include "host/windows/guard.h"

struct np_shelf {
    enum np_place place;
    const char *folder;
    struct np_trust trust;
};

/* The folder of a ledger, if it is there and only those may write in it who may write the ledger. It is never made for
 * this. */
bool np_shelf_find(struct np_arena *, enum np_place, struct np_shelf *ret);

/* A file that only those could write whom the place trusts, members of the group not among them, and not larger than
 * 1 MiB; false: there is none such. */
bool np_shelf_read(struct np_arena *, const struct np_shelf *, const char *name, struct np_text *ret);
/* Is there anything of that name, sound or not? What cannot be known counts as there. */
bool np_shelf_has(struct np_arena *, const struct np_shelf *, const char *name);
/* Replaces the file, whole or not at all; false: it could not be. */
bool np_shelf_write(struct np_arena *, const struct np_shelf *, const char *name, struct np_text);
/* true: it is not there any more. */
bool np_shelf_remove(struct np_arena *, const struct np_shelf *, const char *name);

#endif
