/* What the files of this folder share.
 * SPDX-License-Identifier: MIT */
#ifndef NP_LINUX_H
#define NP_LINUX_H

#include "host/host.h"

/* np_fail() with ": " and the text of an errno value, in English whatever the locale. */
enum nextport_status np_fail_errno(struct nextport_error *err, enum nextport_status status, int errnum, const char *fmt,
                                   ...) NP_PRINTF(4, 5);

#endif
