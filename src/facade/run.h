/* The facade: the only code that orders the steps of a request - look, begin, plan, record, commit.
 *
 * A run is one operation and all it holds; it begins with np_run_init() and ends, however it went, with np_run_done(),
 * which lets go of everything but the answer.
 * SPDX-License-Identifier: MIT */
#ifndef NP_RUN_H
#define NP_RUN_H

#include "core/owner.h"
#include "core/settings.h"
#include "host/host.h"
#include "ledger/ledger.h"
#include "output/writer.h"
#include "source/source.h"

struct nextport {
    struct np_arena *arena;
    struct np_settings settings;
    struct np_arena *rendered; /* the text that nextport_render() gave last */
};

struct answer {
    struct nextport_result result; /* first: the caller's pointer is ours */
    struct np_arena *arena;
};

struct np_run {
    struct nextport *np;
    struct np_arena *arena; /* the answer's */
    struct nextport_result *res;
    struct np_log log;
    struct np_evidence evidence;
    struct np_dumped dumped;
    struct np_memory *memory;     /* of what was seen before; NULL: everything is looked at */
    const struct np_os_ports *os; /* what the last look learned of the system; NULL: nothing */
    struct np_portset pool;
    struct np_reader *reader; /* below the root */
    struct np_reader *given;  /* of files that a person named; the same one when there is no root */
    struct np_actor actor;
    const char *path; /* of the ledger; NULL: none was asked */
    enum np_place place;
    const struct np_ledger_ops *ops;
    struct np_lock *lock;
    int64_t waited_s;         /* for the lock, before it was let go of again */
    struct np_ledger *ledger; /* open and begun */
    struct np_leases leases;
    struct np_probe *probe;
    struct np_owner owner; /* whose ports are asked */
    struct np_portset due; /* leases that time may end now */
    bool look_is_due;      /* at all leases, and it counts for those that it does not see */
    bool look_at_all;      /* whether it counts or not */
    /* what the steps did: the leases they ended, the numbers that became confirmed, absent and quarantined */
    struct nextport_lease *ended;
    size_t n_ended, ended_capacity, n_confirmed, n_absent, n_resting;
};

void np_run_init(struct np_run *, struct nextport *, enum nextport_what);
/* Hands the answer over to *ret when `keep`, else frees it. Returns `status`. */
enum nextport_status np_run_done(struct np_run *, bool keep, struct nextport_result **ret, enum nextport_status status);

/* What was asked, for the history, cut where it is longer than anybody types; NULL: not known. */
void np_run_asked(struct np_run *, const char *text);

/* The pool: the ranges minus the exclusions. NEXTPORT_INPUT when nothing is left. */
enum nextport_status np_run_pool(struct np_run *, struct nextport_error *);

/* ---- Looking (run.c) ---- */

struct np_scope {
    struct np_portset ports;
    enum nextport_protocol protocol; /* of sockets */
    bool sockets;                    /* dump the socket table */
    bool thorough;                   /* with programs, and nothing from a cache */
    const char *const *only;         /* NULL: every source */
    size_t n_only;
};

enum nextport_status np_run_open_readers(struct np_run *, struct nextport_error *);
enum nextport_status np_run_look(struct np_run *, const struct np_scope *, struct nextport_error *);
/* Did a file that the last look read change since? */
bool np_run_changed(struct np_run *);
/* Forgets the last look. */
void np_run_forget(struct np_run *);
void np_run_sight(struct np_run *, const struct np_source *, enum nextport_sight, const char *why, const char *hint);
/* NEXTPORT_BLIND when a required source could not be seen. */
enum nextport_status np_run_blind(struct np_run *, struct nextport_error *);

/* ---- What was seen before (memory.c) ---- */

/* Takes into account what earlier requests on this ledger saw; the readers are open, and the place of the ledger is known.
 * Unless it is a dry run that is taken for true at first, and np_run_changed() tells whether it was. */
void np_run_remember(struct np_run *, bool dry_run);
/* From here on nothing is taken for true. false: nothing was. */
bool np_run_doubt(struct np_run *);
/* Of the source of this number in the table: as if it had been looked at now. false: it has to be. */
bool np_run_recall(struct np_run *, unsigned source);
/* It was looked at, and this is what has come of it; `is_live`: what would have to be asked again. */
void np_run_learn(struct np_run *, unsigned source, struct np_mark since, bool is_live);
/* What was learned in this request is gone. */
void np_run_forget_news(struct np_run *);
/* For the next request, if there is anything new. */
void np_run_keep_memory(struct np_run *);

/* Everything there is to see, leases included, without lock and without a trace. NEXTPORT_BLIND, with the evidence
 * kept, when a required source could not be seen. */
enum nextport_status np_run_look_at_all(struct np_run *, const struct np_scope *, struct nextport_error *);
/* Was there a look, whole or partial, to answer with? */
bool np_run_has_looked(enum nextport_status);

/* May the system still give a port of the pool to an outgoing connection? From what the last look learned, so it costs
 * next to nothing; false when that is not known. (protect.c) */
bool np_run_may_be_taken(const struct np_run *);
/* Claims the ports that a request would rather not have (pool.avoid; next.c). Needs the readers. NEXTPORT_BLIND when the
 * list of services cannot be read. */
enum nextport_status np_run_avoid(struct np_run *, struct nextport_error *);
/* Leaves out the claims that do not touch these ports; those of no port stay. */
void np_run_keep_claims(struct np_run *, const struct np_portset *);
/* Does the selection name this lease, by whatever it says of port, id, name and deployment? Its labels are not looked at. */
bool np_run_selects(const struct nextport_selection *, const struct nextport_lease *);
/* The runs of a set, into the answer. */
void np_run_ranges(struct np_run *, const struct np_portset *, const struct nextport_range **ret, size_t *ret_n);

/* ---- The ledger (run.c) ---- */

/* Which ledger: fills path and place. */
enum nextport_status np_run_ledger_place(struct np_run *, struct nextport_error *);
/* Lock, make the ledger if there is none and `make` is set, open it and begin: from here on nobody else of this ledger
 * allocates. */
enum nextport_status np_run_ledger_begin(struct np_run *, bool make, bool *ret_present, struct nextport_error *);
/* The leases, the lowest `limit` of them whole, without lock and without a trace, and a sighting. A ledger that does not
 * exist has none. */
enum nextport_status np_run_ledger_look(struct np_run *, size_t limit, struct nextport_error *);
/* What a plan needs to name: the ports it lists as rejected. */
enum { NP_LEASES_NAMED = 128 };
/* Reads declarations before the lock, takes it and begins, and reads again what has changed meanwhile; then the leases, the
 * lowest `limit` of them whole. A dry run reads the leases without lock, and all of them whole. */
enum nextport_status np_run_look_and_begin(struct np_run *, const struct np_scope *declared, size_t limit, bool dry_run,
                                           struct nextport_error *);
/* A ledger of the user's own still honours the machine's, as far as it can be read. */
void np_run_honour_machine(struct np_run *);

/* ---- Lifetimes (lifetime.c) ---- */

enum {
    NP_STEPS_OF_A_REQUEST = 64, /* beside what it is for */
    NP_STEPS_OF_A_SWEEP = 1024, /* in one transaction */
};

void np_claim_socket(void *evidence, const struct np_socket *); /* an np_socket_fn */
/* How long a pending lease lives: longer with an owner, unless the caller said how long. */
int64_t np_run_ttl(const struct np_run *, bool owned);

/* Could what was not seen be the use of this lease (NULL: of one that nobody was seen to use)? */
bool np_run_may_hide(const struct nextport_sighting *, const struct nextport_lease *);
/* Did the look hide anything that could be the use of this lease (NULL: as above), so that not to see it proves nothing? */
bool np_run_hides_something(const struct np_run *, const struct nextport_lease *);

/* Which leases this request may move on, and whether they are in use: looks at the sockets of the ports of `own`, of those
 * leases that are due and, once in a while, of all. */
enum nextport_status np_run_look_at_leases(struct np_run *, const struct np_portset *own, struct nextport_error *);
/* Moves on the leases that can be, but for `own`: `limit` at most, the lowest ports first. */
enum nextport_status np_run_steps(struct np_run *, const struct np_portset *own, size_t limit, size_t *ret_stepped,
                                  struct nextport_error *);
/* A dry run answers as the real one would: looks at the same ports, and takes out of `leases`, and of nothing else, what
 * that would end. */
enum nextport_status np_run_look_ahead(struct np_run *, const struct np_portset *own, struct nextport_error *);
enum nextport_status np_run_foresee(struct np_run *, const struct np_portset *own, size_t limit, size_t *ret_stepped,
                                    struct nextport_error *);
/* Fills look_is_due and look_at_all by what the ledger remembers. */
enum nextport_status np_run_is_look_due(struct np_run *, struct np_ledger *, struct nextport_error *);

/* ---- Leases of other network namespaces (scopes.c) ---- */

/* Remembers that this scope lives. */
enum nextport_status np_run_mark_scope(struct np_run *, struct nextport_error *);
/* Ends the leases of scopes that ended as long ago as an absent lease is kept. */
enum nextport_status np_run_end_scopes(struct np_run *, struct nextport_error *);
/* What the ledger remembers by this: when all leases of a scope were looked at last. */
const char *np_run_looked_key(const struct np_run *, const char *scope);

/* ---- Requests of owners (owned.c) ---- */

/* One port of a request on its way to an answer. */
struct np_want {
    const char *name;
    const struct nextport_lease *own; /* the owner's lease of this name, or NULL */
    struct np_ruling ruling;          /* on it */
    enum nextport_protocol protocol;  /* of the lease to be */
};

struct np_wants {
    const struct nextport_request *request;
    struct np_want *items; /* `n`, by the order asked */
    size_t n;
    unsigned n_new;          /* those that get another port than they have, or a first one */
    struct np_leases owned;  /* every lease of the owner */
    struct np_portset ports; /* of its leases that this request is about */
};

/* The leases that the owner has, if it has any. */
enum nextport_status np_run_find_own(struct np_run *, struct np_wants *, struct nextport_error *);
/* Which of them stay as they are. NEXTPORT_CONFLICT: one does not, and may not move; or the owner's command still runs. */
enum nextport_status np_run_rule(struct np_run *, struct np_wants *, struct nextport_error *);
/* Writes the answer into the ledger, if it is open, and into the result; `fresh` has n_new ports. */
enum nextport_status np_run_record(struct np_run *, const struct np_wants *, const uint16_t *fresh,
                                   struct nextport_error *);
/* Releases what older deployments have, but for the newest that are to be kept and what is still in use. */
enum nextport_status np_run_trim(struct np_run *, const struct np_wants *, struct nextport_error *);
/* Hands the sockets that hold the ports to the caller, if it asked for them. */
void np_run_hand_out_sockets(struct np_run *, const struct np_wants *);

/* The port that a lease has left rests, nobody's. */
enum nextport_status np_run_rest(struct np_run *, const struct nextport_lease *left, struct nextport_error *);
/* Gives a lease back: it rests, and is then free. */
enum nextport_status np_run_release(struct np_run *, const struct nextport_lease *, struct nextport_error *);

#endif
