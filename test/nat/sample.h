/* Reads a sample of this folder; record.py says what they hold.
 * SPDX-License-Identifier: MIT */
#ifndef NAT_SAMPLE_H
#define NAT_SAMPLE_H

#include <string.h>

#include "host/linux/nat.h"

static bool read_nft(struct np_nat_rules *rules, struct np_text bytes)
{
    struct np_nft *nft = np_nft_new(rules);
    const char *table, *set;
    int family;
    bool done;
    /* in memory of its own size, so that a byte read beyond the end is noticed */
    if (np_nft_take(nft, bytes.ptr, bytes.len, &done) != 0)
        return false;
    for (size_t i = 0; np_nft_set(nft, i, &family, &table, &set); i++)
        ;
    np_nft_finish(nft);
    return true;
}

static bool read_xt(struct np_nat_rules *rules, int family, struct np_text bytes)
{
    uint32_t hooks[5];
    if (bytes.len < sizeof hooks)
        return false;
    memcpy(hooks, bytes.ptr, sizeof hooks);
    return np_xt_table(rules, family, "nat", (struct np_text){bytes.ptr + sizeof hooks, bytes.len - sizeof hooks},
                       hooks);
}

/* false: it makes no sense. */
static bool nat_sample_read(struct np_nat_rules *rules, struct np_text bytes)
{
    enum { IPV4 = 2, IPV6 = 10 }; /* NFPROTO_* */
    bool good = false;
    if (!bytes.len)
        return false;
    const char kind = bytes.ptr[0];
    const struct np_text rest = {bytes.ptr + 1, bytes.len - 1};
    if (kind == 'n')
        good = read_nft(rules, rest);
    else if (kind == '4' || kind == '6')
        good = read_xt(rules, kind == '6' ? IPV6 : IPV4, rest);
    np_nat_rows(rules);
    return kind == 'v' ? np_ipvs_parse(rules, rest) : good;
}

#endif
