/* The scheduled task, in the pieces that can be tried one by one.
 * SPDX-License-Identifier: MIT */
#ifndef NP_TASK_H
#define NP_TASK_H

#include "host/windows/win32.h"

/* The task's definition, as UTF-8 that claims to be UTF-16, which is how it must be stored. `program` is a path of
 * Windows ("C:\x\nextport.exe"). Pure. */
const char *np_task_xml(struct np_arena *, const char *program);

/* Does a definition, as the scheduler keeps it (UTF-16), run this program as SYSTEM? Pure. */
bool np_task_runs(struct np_arena *, struct np_text kept, const char *program);

/* NULL, or why the system must not run this program (absolute, with '/') on its own, and what to do. `user`: who may replace
 * it besides the system and administrators, or NULL. */
const char *np_task_refusal(struct np_arena *, const char *program, PSID user);

/* Makes the task, or replaces one that runs another program, as another user, or that others may have made. */
enum nextport_status np_task_register(struct np_arena *, const char *program, bool *ret_changed,
                                      struct nextport_error *);

#endif
