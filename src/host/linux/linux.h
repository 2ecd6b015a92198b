/* What the files of this folder share.
 * SPDX-License-Identifier: MIT */
#ifndef NP_LINUX_H
#define NP_LINUX_H

#include "host/host.h"

#include <sys/types.h>

/* np_fail() with ": " and the text of an errno value, in English whatever the locale. */
enum nextport_status np_fail_errno(struct nextport_error *err, enum nextport_status status, int errnum, const char *fmt,
                                   ...) NP_PRINTF(4, 5);

/* Receives one datagram of the kernel's on a netlink socket: any process can send to our address. -1 with errno; EBADMSG when
 * it was longer than `size`. */
ssize_t np_netlink_receive(int fd, void *buf, size_t size);

/* "1a2b3c4d:PIDS:TIMES": this start of the system, and the namespaces in which numbers and times of processes are what we
 * take them for. False: /proc is missing, or is another namespace's. */
enum { NP_BOOT_DIGITS = 8, NP_BOOT_SIZE = 64 };
bool np_boot_text(char ret[NP_BOOT_SIZE]);

/* The kernel's list of ports kept out of automatic assignment, in this network namespace. NEXTPORT_BLIND when it cannot
 * be read. */
#define NP_RESERVED_PORTS "/proc/sys/net/ipv4/ip_local_reserved_ports"
enum nextport_status np_read_reserved(struct np_portset *ret, struct nextport_error *err);

/* What of that list np_host_protect() put there. What cannot be known is nobody's of ours. */
struct np_portset np_protected_ports(struct np_arena *, const struct np_portset *live);

#endif
