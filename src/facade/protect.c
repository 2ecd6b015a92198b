/* Keeping outgoing connections out of the pool.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

enum nextport_status nextport_protect(struct nextport *np, enum nextport_protect what, struct nextport_result **ret,
                                      struct nextport_error *err)
{
    (void)np, (void)what, (void)ret;
    return np_fail(err, NEXTPORT_FAILED, "not built yet");
}
