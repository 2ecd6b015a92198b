/* Open addressing: a slot is found at its hash or behind it.
 * SPDX-License-Identifier: MIT */
#include "base/map.h"

#include "base/pack.h"

#include <string.h>

enum { FIRST_CAPACITY = 16 }; /* a power of two, as all are */

struct np_map_slot {
    const char *key; /* NULL: empty */
    void *value;
};

/* The key's slot, or the empty one that it may have. There is always an empty one. */
static struct np_map_slot *find(const struct np_map *map, const char *key)
{
    const uint64_t hash = np_sum(np_text_of(key));
    size_t i = (size_t)(hash ^ hash >> 32) & (map->capacity - 1);
    while (map->slots[i].key && strcmp(map->slots[i].key, key) != 0)
        i = (i + 1) & (map->capacity - 1);
    return &map->slots[i];
}

static void grow(struct np_map *map)
{
    const struct np_map old = *map;
    map->capacity = old.capacity ? 2 * old.capacity : FIRST_CAPACITY;
    map->slots = np_alloc_array(map->arena, map->capacity, sizeof *map->slots);
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].key)
            *find(map, old.slots[i].key) = old.slots[i];
}

void *np_map_find(const struct np_map *map, const char *key)
{
    return map->capacity ? find(map, key)->value : NULL;
}

void **np_map_at(struct np_map *map, const char *key)
{
    if (4 * map->n >= 3 * map->capacity)
        grow(map);
    struct np_map_slot *slot = find(map, key);
    if (!slot->key) {
        slot->key = key;
        map->n++;
    }
    return &slot->value;
}
