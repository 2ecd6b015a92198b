/* A set of ports as 65536 bits: a value of 8 KiB to copy, compare and keep on the stack. Port 0 is never a member.
 * SPDX-License-Identifier: MIT */
#ifndef NP_PORTSET_H
#define NP_PORTSET_H

#include "base/text.h"

struct np_portset {
    uint64_t word[1024];
};

void np_portset_add(struct np_portset *, uint16_t first, uint16_t last);
void np_portset_remove(struct np_portset *, uint16_t first, uint16_t last);
bool np_portset_has(const struct np_portset *, uint16_t port);
unsigned np_portset_count(const struct np_portset *);
/* The lowest member >= from; 0 when there is none. */
uint16_t np_portset_next(const struct np_portset *, uint16_t from);
/* The member with so many below it; 0 when there are not so many. */
uint16_t np_portset_nth(const struct np_portset *, unsigned below);
/* The run of members that starts at the lowest member >= from. */
bool np_portset_run(const struct np_portset *, uint32_t from, struct nextport_range *ret);
void np_portset_subtract(struct np_portset *, const struct np_portset *);

/* "49000-65000,8080": adds to the set. `what` names the setting in the error. Overlaps and repeats are refused, because
 * they are nearly always a slip; so are 0, 65536, reversed, empty and half ranges. */
enum nextport_status np_portset_parse(struct np_portset *, struct np_text, const char *what, struct nextport_error *);
char *np_portset_format(struct np_arena *, const struct np_portset *);

#endif
