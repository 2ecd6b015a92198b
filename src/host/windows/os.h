/* What os.c asks the system, for others who must.
 * SPDX-License-Identifier: MIT */
#ifndef NP_OS_H
#define NP_OS_H

#include "host/windows/win32.h"

/* Runs "netsh ARGUMENTS" to its end. *ret_ended: what it ended with. Any failure to run it is `status`. */
enum nextport_status np_netsh_run(struct np_arena *, const char *arguments, struct np_text *ret, DWORD *ret_ended,
                                  enum nextport_status status, struct nextport_error *err);

/* Does the system say that it has no IPv6? */
bool np_has_no_ipv6(void);

/* Makes the next np_host_os_ports() of this user ask the system. */
void np_forget_os_ports(struct np_arena *);

#endif
