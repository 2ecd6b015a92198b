/* Ledgers: where leases live. A ledger keeps rows and the history of their changes; it decides nothing, waits for no
 * lock but its own and trusts that its file was vetted (host.h). Its errors say what happened, not where: callers add
 * which ledger it was and what they were doing.
 * SPDX-License-Identifier: MIT */
#ifndef NP_LEDGER_H
#define NP_LEDGER_H

#include "core/lease.h"

/* Who acts, for the history: "root@host nextport next". */
struct np_actor {
    const char *host, *scope, *user;
    const char *machine_id; /* NULL: none */
    int64_t now;
};

enum np_access {
    NP_LEDGER_READ,  /* creates nothing, changes nothing, waits for nobody */
    NP_LEDGER_WRITE, /* one transaction of one writer, from open to end */
};

struct np_ledger;

struct np_ledger_health {
    int schema;
    int64_t n_leases, n_events, bytes;
    const char *machine_id; /* NULL: none was known */
    const char *problem;    /* NULL: integrity is sound */
};

struct np_ledger_ops {
    const char *scheme, *about;
    /* Makes a new, empty ledger in a file that must not exist, durable and closed on return. */
    enum nextport_status (*create)(const char *path, const struct np_actor *, struct nextport_error *);
    /* NEXTPORT_LEDGER: damaged, foreign, newer, of another machine, disk full. To write begins before anything is read,
     * and migrates forward; NEXTPORT_RETRY when another program keeps the ledger. */
    enum nextport_status (*open)(struct np_ledger **ret, const char *path, enum np_access, const struct np_actor *,
                                 struct nextport_error *);
    /* Leases of this scope: all their ports, and the lowest `limit` of them whole. Strings go into the arena. */
    enum nextport_status (*leases)(struct np_ledger *, const char *scope, size_t limit, struct np_leases *ret,
                                   struct nextport_error *);
    /* The ports of this scope's pending leases that expire at `until` or before. For a writer. */
    enum nextport_status (*pending)(struct np_ledger *, const char *scope, int64_t until, struct np_portset *ret,
                                    struct nextport_error *);
    /* The lease of one port. For a writer. */
    enum nextport_status (*find)(struct np_ledger *, const char *scope, uint16_t port, struct np_arena *,
                                 struct nextport_lease *ret, bool *ret_found, struct nextport_error *);
    /* Adds a pending lease; fills id, state and created. NEXTPORT_CONFLICT when the port is leased already. */
    enum nextport_status (*grant)(struct np_ledger *, struct nextport_lease *, struct nextport_error *);
    /* pending -> confirmed by `holder` (may be NULL). */
    enum nextport_status (*confirm)(struct np_ledger *, const struct nextport_lease *, const char *holder,
                                    struct nextport_error *);
    /* Ends a lease; `event` is "expired", "released" or "withdrawn". Like `confirm`, NEXTPORT_CONFLICT when there is no
     * such lease. */
    enum nextport_status (*drop)(struct np_ledger *, const struct nextport_lease *, const char *event,
                                 struct nextport_error *);
    /* Durable when it returns NEXTPORT_OK to a commit. A commit that failed has changed nothing, unless it says
     * NEXTPORT_RETRY: then the outcome is unknown. */
    enum nextport_status (*end)(struct np_ledger *, bool commit, struct nextport_error *);
    enum nextport_status (*health)(struct np_ledger *, struct np_arena *, struct np_ledger_health *ret,
                                   struct nextport_error *);
    /* Makes a ledger that was copied from another machine this machine's own. */
    enum nextport_status (*rebind)(const char *path, const struct np_actor *, struct nextport_error *);
    void (*close)(struct np_ledger *); /* NULL allowed; rolls back what was not committed */
};

extern const struct np_ledger_ops np_ledger_sqlite;
extern const struct np_ledger_ops *const np_ledgers[]; /* ends with NULL */

#endif
