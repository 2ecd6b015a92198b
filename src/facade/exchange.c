/* Leases out of the ledger and into it, as JSON Lines.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

enum nextport_status nextport_export(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    (void)np, (void)ret;
    return np_fail(err, NEXTPORT_FAILED, "not built yet");
}

enum nextport_status nextport_import(struct nextport *np, const char *bytes, size_t n, const char *origin, bool dry_run,
                                     const char *text, struct nextport_result **ret, struct nextport_error *err)
{
    (void)np, (void)bytes, (void)n, (void)origin, (void)dry_run, (void)text, (void)ret;
    return np_fail(err, NEXTPORT_FAILED, "not built yet");
}
