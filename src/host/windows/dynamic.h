/* The dynamic ranges of Windows, from which outgoing connections get their ports, and what was changed of them. Pure; knows
 * nothing of Windows.
 * SPDX-License-Identifier: MIT */
#ifndef NP_DYNAMIC_H
#define NP_DYNAMIC_H

#include "core/portset.h"

enum {
    NP_DYNAMIC_LOWEST = 1025, /* netsh takes no lower one; https://support.microsoft.com/kb/929851 */
    NP_DYNAMIC_FEWEST = 1000, /* ports that outgoing connections are left with, at least; netsh wants 255 */
    NP_DYNAMIC_RANGES = 4,
};

/* One range: of a family and a protocol. */
struct np_dynamic {
    bool ipv6;
    enum nextport_protocol protocol; /* TCP or UDP */
    struct nextport_range now;       /* in force, or as it was */
    struct nextport_range set;       /* what it was, or is to be, changed to */
};

/* Where outgoing connections are to move: beside the pool, above it if that is room enough, else where the most is. The range
 * keeps its `size` if that fits, and the upper end of the room, because low ports are those that servers are given by
 * hand. false: nowhere is room enough. */
bool np_dynamic_choose(const struct np_portset *pool, unsigned size, struct nextport_range *ret);

/* "int ipv4 show dynamicport tcp", "int ipv4 set dynamicport tcp start=32616 num=16384": what netsh is told. */
char *np_dynamic_question(struct np_arena *, const struct np_dynamic *);
char *np_dynamic_command(struct np_arena *, const struct np_dynamic *, struct nextport_range);

/* What was changed, as a text to be kept and read again. */
char *np_dynamic_compose(struct np_arena *, const struct np_dynamic *, size_t n);
bool np_dynamic_read(struct np_text, struct np_dynamic ret[NP_DYNAMIC_RANGES], size_t *ret_n);

#endif
