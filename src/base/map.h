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

/* The value of `key`; NULL: it has none. */
void *np_map_find(const struct np_map *, const char *key);
/* Where the value of `key` is kept: NULL when the key is new, which must then live as long as the map. The place is good
 * until the next call. */
void **np_map_at(struct np_map *, const char *key);

#endif
