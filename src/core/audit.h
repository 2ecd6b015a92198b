/* The audit: conflicts and hazards in evidence and leases. Pure, and its findings are in a fixed order, so that the
 * same machine gives the same answer. doc/check.md says what each finding means.
 * SPDX-License-Identifier: MIT */
#ifndef NP_AUDIT_H
#define NP_AUDIT_H

#include "core/lease.h"
#include "core/settings.h"

struct np_audit {
    const struct np_settings *settings;
    const struct np_evidence
        *evidence; /* not merged, with programs, and with `host` and `scheme` where sources know them */
    const struct np_leases *leases;
    bool has_ledger; /* else findings about leases are left out */
    bool whole;      /* everything was looked at, so that what was not seen is not there */
    int64_t now;
    /* What the programs are called that have the sockets of a source's claims ("System" for iis), ending in NULL; NULL:
     * not known, and any program may be the one. */
    const char *const *(*programs)(const char *source);
    char *(*time_text)(struct np_arena *, int64_t); /* a time, for people */
    uint16_t ephemeral_first, ephemeral_last;       /* 0: not known */
    struct np_portset protected;                    /* kept out of automatic assignment */
    struct np_portset excluded;                     /* the system gives them to nobody */
};

/* The gravest first, then by port, then by slug. They borrow from evidence and leases. */
void np_audit(const struct np_audit *, struct np_arena *, const struct nextport_finding **ret, size_t *ret_n);

const char *np_severity_name(enum nextport_severity); /* "hint", "hazard", "error" */
bool np_severity_parse(struct np_text, enum nextport_severity *ret);

#endif
