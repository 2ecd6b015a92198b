/* What only Windows has.
 * SPDX-License-Identifier: MIT */
#include "host/host.h"

enum nextport_status np_host_http_rows(struct np_arena *arena, const struct np_http_row **ret, size_t *ret_n,
                                       bool *ret_present, struct nextport_error *err)
{
    (void)arena, (void)err;
    *ret = NULL;
    *ret_n = 0;
    *ret_present = false;
    return NEXTPORT_OK;
}

const char *np_host_iis_file(struct np_arena *arena)
{
    (void)arena;
    return NULL;
}

bool np_host_iis_installed(void)
{
    return false;
}

const char *np_host_iis_express_file(struct np_arena *arena)
{
    (void)arena;
    return NULL;
}

const char *np_host_windows_path(struct np_arena *arena, const char *path)
{
    (void)arena, (void)path;
    return NULL;
}

/* A package brings a timer unit, which an administrator can see and change; setup makes none. */
enum nextport_status np_host_make_task(struct np_arena *arena, struct np_task *ret, struct nextport_error *err)
{
    (void)arena, (void)err;
    *ret = (struct np_task){0};
    return NEXTPORT_OK;
}

enum nextport_status np_host_remove_task(struct np_arena *arena, struct np_task *ret, struct nextport_error *err)
{
    return np_host_make_task(arena, ret, err);
}

bool np_host_is_kept(int reason)
{
    (void)reason;
    return false;
}
