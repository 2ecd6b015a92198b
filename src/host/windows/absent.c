/* What only Linux has.
 * SPDX-License-Identifier: MIT */
#include "host/host.h"

enum nextport_status np_host_nat(struct np_arena *arena, bool thorough, struct np_nat *ret, struct nextport_error *err)
{
    (void)arena, (void)thorough, (void)err;
    *ret = (struct np_nat){0};
    return NEXTPORT_OK;
}

const char *np_host_home(struct np_arena *arena, bool below_root)
{
    (void)arena;
    return below_root ? "/root" : NULL;
}

/* Few files are read here, and their times are kept in other ways by each file system. */
const char *np_host_view(struct np_arena *arena)
{
    (void)arena;
    return NULL;
}

bool np_host_recall(struct np_arena *arena, const char *ledger, struct np_text *ret)
{
    (void)arena, (void)ledger, (void)ret;
    return false;
}

struct np_keeper *np_host_keep(struct np_arena *arena, const char *ledger)
{
    (void)arena, (void)ledger;
    return NULL;
}

void np_host_keep_more(struct np_keeper *keeper, struct np_text bytes)
{
    (void)keeper, (void)bytes;
}

void np_host_keep_end(struct np_keeper *keeper)
{
    (void)keeper;
}
