/* The plan: the pure decision. Request, evidence and leases in; ports, or the reasons why not, out.
 * The bind probe, the one thing asked of the machine on the way, comes in as a function, so that a test can be one.
 * SPDX-License-Identifier: MIT */
#ifndef NP_PLAN_H
#define NP_PLAN_H

#include "core/lease.h"

/* Asks the machine for one port. FREE means held for us until the plan's answer is on disk; TAKEN and DENIED let the
 * plan go on; anything that is not an answer is an error. */
typedef enum nextport_status np_probe_fn(void *ctx, uint16_t port, enum nextport_probe *ret, struct nextport_error *);

struct np_ask {
    struct np_portset pool; /* ranges minus exclusions */
    enum nextport_protocol protocol;
    unsigned count; /* at least 1 */
    bool consecutive;
    /* Begin not at the lowest port but at the (seed modulo the pool's size)-th, and go on from the lowest at the pool's
     * end. A consecutive run does not go over that end. */
    bool seeded;
    uint64_t seed;
    np_probe_fn *probe;
    void (*let_go)(void *ctx, uint16_t port); /* a held port is not needed after all; NULL allowed */
    void *probe_ctx;
};

struct np_plan {
    uint16_t *ports; /* `count` of the ask, in the order found; only on NEXTPORT_OK */
    size_t n_ports;
    struct nextport_reject *rejected; /* passed over on the way, or of the whole pool when refused; merged */
    size_t n_rejected;
    uint64_t rejected_rest; /* ports rejected that the list, cut at 100 rows, does not show */
    const char *exhausted;  /* on NEXTPORT_FULL: "16001 ports: 15990 sockets, 11 iis" */
};

/* NEXTPORT_OK, NEXTPORT_FULL (the plan says why), or the probe's error. */
enum nextport_status np_plan_make(struct np_plan *ret, const struct np_ask *, const struct np_evidence *,
                                  const struct np_leases *, struct np_arena *, struct nextport_error *);

#endif
