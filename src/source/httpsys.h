/* The pure half of the source httpsys.
 * SPDX-License-Identifier: MIT */
#ifndef NP_HTTPSYS_H
#define NP_HTTPSYS_H

#include "source/source.h"

/* What one row claims. */
void np_httpsys_claim(struct np_evidence *, const struct np_http_row *);

#endif
