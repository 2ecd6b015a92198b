/* What netsh prints about ports, in any language: only digits and "*" count. Pure; knows nothing of Windows.
 * SPDX-License-Identifier: MIT */
#ifndef NP_NETSH_H
#define NP_NETSH_H

#include "core/portset.h"

struct np_excluded {
    struct nextport_range ports;
    bool administered; /* "*": sockets may bind it, HTTP.sys may not */
};

/* "netsh int ipv4 show excludedportrange protocol=tcp": lines of two numbers and perhaps "*", between a rule of dashes and
 * the legend of "*". false: this is not what netsh prints (empty, an error, cut short), so nothing is known. An empty
 * table is true. */
bool np_netsh_excluded(struct np_arena *, struct np_text, const struct np_excluded **ret, size_t *ret_n);

/* "netsh int ipv4 show dynamicport tcp": the first port and how many, behind colons. false: nothing is known. */
bool np_netsh_dynamic(struct np_text, struct nextport_range *ret);

#endif
