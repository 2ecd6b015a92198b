/* What Podman keeps of its containers in an SQLite database (4.8 and later): pure, from the file's bytes.
 * SPDX-License-Identifier: MIT */
#ifndef NP_PODMAN_STATE_H
#define NP_PODMAN_STATE_H

#include "source/source.h"

/* Claims what its containers publish. `file` names it. NEXTPORT_BLIND: it is none, is not whole, or is of a form that is not
 * known; what was claimed until then counts. */
enum nextport_status np_podman_state_claim(struct np_evidence *, const char *file, struct np_text bytes,
                                           struct nextport_error *);
bool np_podman_state_is_one(struct np_text bytes);

#endif
