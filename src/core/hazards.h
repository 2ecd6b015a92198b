/* Ports that are better not given: browsers refuse some, and some are assigned to well-known services.
 * SPDX-License-Identifier: MIT */
#ifndef NP_HAZARDS_H
#define NP_HAZARDS_H

#include "core/portset.h"

/* Ports that browsers do not connect to: the bad ports of https://fetch.spec.whatwg.org/#port-blocking. */
extern const uint16_t np_browser_blocked[];
extern const unsigned np_n_browser_blocked;
void np_hazards_browser(struct np_portset *);

/* The ports of a services(5) file, TCP and UDP. Lines that are none are passed over. Pure. */
void np_hazards_services(struct np_portset *, struct np_text bytes);

#endif
