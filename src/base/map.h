/* A map from texts to pointers, for what is met by name again and again. It only grows.
 * SPDX-License-Identifier: MIT */
#ifndef NP_MAP_H
#define NP_MAP_H

#include "base/arena.h"

struct np_map {
    struct np_arena *arena; /* all else zero */
    struct np_map_slot *slots;
    size_t n, capacity;
};

/* Where the value of `key` is kept: NULL when the key is new, which is then copied. The place is good until the next call. */
void **np_map_at(struct np_map *, const char *key);

#endif
