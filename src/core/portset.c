/* SPDX-License-Identifier: MIT */
#include "core/portset.h"

#include <string.h>

/* The bits of word `w` that lie between first and last. */
static uint64_t mask(unsigned w, uint16_t first, uint16_t last)
{
    uint64_t bits = UINT64_MAX;
    if (w == first / 64u)
        bits &= UINT64_MAX << first % 64u;
    if (w == last / 64u)
        bits &= UINT64_MAX >> (63u - last % 64u);
    return bits;
}

void np_portset_add(struct np_portset *set, uint16_t first, uint16_t last)
{
    if (first > last)
        return;
    for (unsigned w = first / 64u; w <= last / 64u; w++)
        set->word[w] |= mask(w, first, last);
    set->word[0] &= ~UINT64_C(1);
}

void np_portset_remove(struct np_portset *set, uint16_t first, uint16_t last)
{
    if (first > last)
        return;
    for (unsigned w = first / 64u; w <= last / 64u; w++)
        set->word[w] &= ~mask(w, first, last);
}

bool np_portset_has(const struct np_portset *set, uint16_t port)
{
    return set->word[port / 64u] >> port % 64u & 1;
}

unsigned np_portset_count(const struct np_portset *set)
{
    unsigned n = 0;
    for (unsigned w = 0; w < 1024; w++)
        if (set->word[w]) /* to count the bits is a call */
            n += (unsigned)__builtin_popcountll(set->word[w]);
    return n;
}

uint16_t np_portset_next(const struct np_portset *set, uint16_t from)
{
    unsigned w = from / 64u;
    uint64_t bits = set->word[w] & UINT64_MAX << from % 64u;
    while (!bits && ++w < 1024)
        bits = set->word[w];
    return bits ? (uint16_t)(w * 64u + (unsigned)__builtin_ctzll(bits)) : 0;
}

uint16_t np_portset_nth(const struct np_portset *set, unsigned below)
{
    for (unsigned w = 0; w < 1024; w++) {
        uint64_t bits = set->word[w];
        const unsigned here = (unsigned)__builtin_popcountll(bits);
        if (below >= here) {
            below -= here;
            continue;
        }
        while (below--)
            bits &= bits - 1;
        return (uint16_t)(w * 64u + (unsigned)__builtin_ctzll(bits));
    }
    return 0;
}

bool np_portset_run(const struct np_portset *set, uint32_t from, struct nextport_range *ret)
{
    uint16_t first = from > 65535 ? 0 : np_portset_next(set, (uint16_t)from);
    if (!first)
        return false;
    uint32_t last = first;
    while (last < 65535 && np_portset_has(set, (uint16_t)(last + 1)))
        last++;
    *ret = (struct nextport_range){first, (uint16_t)last};
    return true;
}

void np_portset_subtract(struct np_portset *set, const struct np_portset *other)
{
    for (unsigned w = 0; w < 1024; w++)
        set->word[w] &= ~other->word[w];
}

static enum nextport_status parse_range(struct np_text part, const char *what, struct nextport_range *ret,
                                        struct nextport_error *err)
{
    struct np_text rest = part, low, high;
    np_text_split(&rest, '-', &low);
    low = np_text_trim(low);
    high = rest.ptr ? np_text_trim(rest) : low;
    if (!np_text_port(low, &ret->first) || !np_text_port(high, &ret->last)) {
        np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is not a port or a range of ports", what, (int)part.len, part.ptr);
        np_hint(err, "Ports are 1 to 65535, ranges FIRST-LAST, several separated by commas: 49000-49999,50500.");
        return err->status;
    }
    if (ret->first > ret->last) {
        np_fail(err, NEXTPORT_INPUT, "%s: the range %u-%u is reversed", what, ret->first, ret->last);
        np_hint(err, "Write %u-%u.", ret->last, ret->first);
        return err->status;
    }
    return NEXTPORT_OK;
}

enum nextport_status np_portset_parse(struct np_portset *set, struct np_text text, const char *what,
                                      struct nextport_error *err)
{
    struct np_portset seen = {{0}};
    struct np_text part, rest = np_text_trim(text);
    if (!rest.len) {
        np_fail(err, NEXTPORT_INPUT, "%s: no ports are given", what);
        np_hint(err, "Write a range such as "
                     "49000-65000"
                     ", or several separated by commas.");
        return err->status;
    }
    while (np_text_split(&rest, ',', &part)) {
        struct nextport_range range;
        part = np_text_trim(part);
        if (parse_range(part, what, &range, err) != NEXTPORT_OK)
            return err->status;
        uint16_t twice = np_portset_next(&seen, range.first);
        if (twice && twice <= range.last) {
            np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' overlaps what was given before it at port %u", what, (int)part.len,
                    part.ptr, twice);
            np_hint(err, "Give each port once.");
            return err->status;
        }
        np_portset_add(&seen, range.first, range.last);
    }
    for (unsigned w = 0; w < 1024; w++)
        set->word[w] |= seen.word[w];
    return NEXTPORT_OK;
}

char *np_portset_format(struct np_arena *arena, const struct np_portset *set)
{
    struct np_buf out = {.arena = arena};
    struct nextport_range run;
    np_buf_puts(&out, "");
    for (uint32_t from = 1; np_portset_run(set, from, &run); from = run.last + 1u)
        np_buf_printf(&out, run.first == run.last ? "%s%u" : "%s%u-%u", out.len ? "," : "", run.first, run.last);
    return out.ptr;
}
