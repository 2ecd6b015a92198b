/* Leasing what is there already: what is configured, and ports fixed by hand.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

enum nextport_status nextport_adopt(struct nextport *np, const struct nextport_adoption *adoption,
                                    struct nextport_result **ret, struct nextport_error *err)
{
    (void)np, (void)adoption, (void)ret;
    return np_fail(err, NEXTPORT_FAILED, "not built yet");
}

enum nextport_status nextport_assign(struct nextport *np, const struct nextport_assignment *assignment,
                                     struct nextport_result **ret, struct nextport_error *err)
{
    (void)np, (void)assignment, (void)ret;
    return np_fail(err, NEXTPORT_FAILED, "not built yet");
}
