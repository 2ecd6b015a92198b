/* Which program a process is: the lookup over a list of processes and of services, apart from how they are listed.
 * SPDX-License-Identifier: MIT */
#ifndef NP_PROCESSES_H
#define NP_PROCESSES_H

#include "host/host.h"

struct np_process {
    uint64_t pid;
    const char *name; /* a program ("svchost.exe"), or a service that runs in it ("W3SVC") */
};

/* Names are borrowed. Both lists are sorted in place. `hidden`: there may be more. Pure. */
struct np_processes *np_processes_of(struct np_arena *, struct np_process *programs, size_t n_programs,
                                     struct np_process *services, size_t n_services, bool hidden);

#endif
