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
    const char *program;    /* "nextport 0.1.0" */
    const char *request;    /* what was asked, in a line; NULL: not known */
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
    int64_t n_leases, n_elsewhere, n_events,
        bytes;              /* n_elsewhere: of n_leases, those of other scopes than the actor's */
    const char *machine_id; /* NULL: none was known */
    const char *problem;    /* NULL: integrity is sound */
};

/* Some leases of a scope. */
struct np_which {
    unsigned states; /* NP_STATE() bits */
    int64_t until;   /* that expire then or before; INT64_MAX: all */
    bool processes;  /* and, whatever their state and end, those that live with a process */
};
#define NP_STATE(state) (1u << (state))

struct np_event_query {
    uint16_t port;
    int64_t lease;
    const char *name, *deployment; /* NULL: any */
    bool (*matches)(const void *ctx, const char *owner_text);
    const void *ctx;
    uint64_t limit;
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
    /* Their ports. Confirmed leases do not expire: they are among those of INT64_MAX. For a writer. */
    enum nextport_status (*ports)(struct np_ledger *, const char *scope, const struct np_which *,
                                  struct np_portset *ret, struct nextport_error *);
    /* The leases of one owner, all deployments and names, in any state, by port. */
    enum nextport_status (*owned)(struct np_ledger *, const char *scope, const char *owner_key, struct np_leases *ret,
                                  struct nextport_error *);
    /* The lease of one port. For a writer. */
    enum nextport_status (*find)(struct np_ledger *, const char *scope, uint16_t port, struct np_arena *,
                                 struct nextport_lease *ret, bool *ret_found, struct nextport_error *);
    /* Adds a lease as it is given, in the actor's scope, and an event; fills id and, where they are 0, created and renewed.
     * NEXTPORT_CONFLICT when the port is leased already, or this name of this owner and deployment has one. */
    enum nextport_status (*add)(struct np_ledger *, struct nextport_lease *, const char *event,
                                struct nextport_error *);
    /* Makes the row with this id what is given: port, protocol, state, holder, renewed, expires, process, looks. `event`
     * NULL: nothing that history should know. NEXTPORT_CONFLICT when there is no such lease, or its new port is leased. */
    enum nextport_status (*save)(struct np_ledger *, const struct nextport_lease *, const char *event,
                                 struct nextport_error *);
    /* Ends a lease: its row goes. Like `save`, NEXTPORT_CONFLICT when there is no such lease. */
    enum nextport_status (*drop)(struct np_ledger *, const struct nextport_lease *, const char *event,
                                 struct nextport_error *);
    /* Why the change that comes next is made, for its event; one that ends a lease says it by its kind. */
    void (*because)(struct np_ledger *, const char *reason);
    /* What the ledger remembers between requests, by key; NULL: nothing (any more). */
    enum nextport_status (*recall)(struct np_ledger *, const char *key, struct np_arena *, const char **ret,
                                   struct nextport_error *);
    enum nextport_status (*remember)(struct np_ledger *, const char *key, const char *value, struct nextport_error *);
    /* The scopes that have leases. For a writer. */
    enum nextport_status (*scopes)(struct np_ledger *, struct np_arena *, const char *const **ret, size_t *ret_n,
                                   struct nextport_error *);
    /* The newest `limit` events (0: all) of the port and lease (0: any), the newest last, of those that `matches` (NULL:
     * any) takes; it sees the owner's text. Strings go into the arena. For a reader. */
    enum nextport_status (*events)(struct np_ledger *, const struct np_event_query *, struct np_arena *,
                                   struct nextport_event **ret, size_t *ret_n, struct nextport_error *);
    /* Forgets the events older than `before` of leases that have ended, `limit` at most; what is left of a lease that is
     * still there is its whole history. */
    enum nextport_status (*forget)(struct np_ledger *, int64_t before, unsigned limit, struct nextport_error *);
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
