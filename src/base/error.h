/* One error idiom: the function that fails names the status and the fact, each level above adds what it was doing.
 * "lock ledger /x/ledger.db: open /x/ledger.db-lock: permission denied" reads from the task to the system call.
 * SPDX-License-Identifier: MIT */
#ifndef NP_ERROR_H
#define NP_ERROR_H

#include "nextport.h"

#define NP_PRINTF(fmt, args) __attribute__((format(NP_PRINTF_FORMAT, fmt, args)))

/* Replaces what `err` held and returns `status`. Lower case, no full stop, quotes round what a user typed. */
enum nextport_status np_fail(struct nextport_error *err, enum nextport_status status, const char *fmt, ...)
    NP_PRINTF(3, 4);

/* Puts "CONTEXT: " before the text and returns the status that `err` holds. */
enum nextport_status np_wrap(struct nextport_error *err, const char *fmt, ...) NP_PRINTF(2, 3);

/* A sentence: what to do. Kept by np_wrap(); the first hint given stays. */
void np_hint(struct nextport_error *err, const char *fmt, ...) NP_PRINTF(2, 3);

#endif
