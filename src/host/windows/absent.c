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
