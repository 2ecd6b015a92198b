/* What happened, and the pool as a picture.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

enum nextport_status nextport_log(struct nextport *np, const struct nextport_selection *selection,
                                  struct nextport_result **ret, struct nextport_error *err)
{
    (void)np, (void)selection, (void)ret;
    return np_fail(err, NEXTPORT_FAILED, "not built yet");
}

enum nextport_status nextport_map(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    (void)np, (void)ret;
    return np_fail(err, NEXTPORT_FAILED, "not built yet");
}
