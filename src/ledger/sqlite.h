/* The inside of the ledger in one SQLite file (doc/ledger.md), each file with one subject:
 *
 *     sqlite.c    the connection and its transaction, the file and its machine
 *     schema.c    what is in it: tables, how older ones become these, and all SQL
 *     rows.c      leases
 *     history.c   events, and what else is remembered
 *     log.c       how the write-ahead log is opened
 *
 * Texts that a function takes must live until it returns. Errors are as in ledger.h.
 * SPDX-License-Identifier: MIT */
#ifndef NP_SQLITE_H
#define NP_SQLITE_H

#include "ledger/ledger.h"

#include <sqlite3.h>

enum { NP_SCHEMA = 2, NP_SCHEMA_READ = 1 /* the oldest that a reader knows */ };

/* The statements, prepared when they are first used. schema.c has their texts, in this order of the parameters and columns
 * that the callers know. */
enum np_sql {
    LEASES,
    PORTS,
    DUE,
    CONFIRMED,
    WITH_PROCESS,
    OWNED,
    FIND,
    ADD,
    AS_JSON,
    SAVE,
    DROP,
    RECORD,
    RECORD_REASON,
    RECORD_END,
    EVENTS,
    RECALL,
    REMEMBER,
    UNLEARN,
    SCOPES,
    ELSEWHERE,
    SET_HORIZON,
    SET_CURSOR,
    SCAN,
    FORGET,
    MACHINE_ID,
    REBIND,
    RECORD_META,
    N_STATEMENTS
};

/* How a connection reaches the file. A reader must create nothing, and SQLite makes -wal and -shm for whoever asks. */
enum np_reach {
    SHARED, /* beside others, through -wal and -shm */
    ALONE,  /* -wal has content but nobody has the ledger open (no -shm): its index is built in memory */
    FROZEN, /* the file alone holds everything */
};

/* The usual access to files but for one; `base` is NULL while it is not registered. */
struct np_log_vfs {
    sqlite3_vfs vfs; /* first: SQLite knows this alone */
    sqlite3_vfs *base;
    char name[32];
};

struct np_ledger {
    sqlite3 *db;
    struct np_log_vfs log_vfs; /* a writer's */
    sqlite3_stmt *prepared[N_STATEMENTS];
    struct np_arena *arena; /* path and actor, and what only one call needs */
    const char *path;       /* as SQLite must be told it */
    struct np_actor actor;
    const char *reason; /* of the next change; NULL: none was given */
    enum np_access access;
    enum np_reach reach;
    int schema;    /* that was found */
    bool wal;      /* the file's header asks for the log */
    int wal_pages; /* after the last commit */
};

/* What a reader does: at() with what it needs of the rest. */
struct np_sql_look {
    enum nextport_status (*at)(struct np_ledger *, struct np_sql_look *, struct nextport_error *);
    const char *scope;
    size_t limit;
    const char *key; /* an owner's, or a note's */
    struct np_leases *leases;
    struct np_arena *arena;
    struct np_ledger_health *health;
    const char **note;
    uint16_t port;
    struct nextport_lease *lease;
    bool *found;
    const struct np_event_query *query;
    struct nextport_event **events;
    size_t *n_events;
};

/* ---- The connection ---- */

/* Fills `err` with what SQLite's code means. */
enum nextport_status np_sql_failed(const struct np_ledger *, int code, struct nextport_error *err);
/* NULL: `err` says why. */
sqlite3_stmt *np_sql_prepared(struct np_ledger *, enum np_sql, struct nextport_error *err);
void np_sql_bind(sqlite3_stmt *, int at, const char *text); /* NULL: NULL */
void np_sql_bind_or_empty(sqlite3_stmt *, int at, const char *text);
/* Runs a statement that yields no row, and makes it ready for its next use. SQLite's code. */
int np_sql_run(sqlite3_stmt *);
int np_sql_execute(struct np_ledger *, const char *sql);
/* The first column of the first row as a number. */
int np_sql_number(struct np_ledger *, const char *sql, int64_t *ret);
/* NULL for NULL and for the empty text, which the schema has where the API has no text. */
const char *np_sql_column(sqlite3_stmt *, int at, struct np_arena *);
/* Looks, again while a writer changes under a reader what was taken for frozen. */
enum nextport_status np_sql_steadily(struct np_ledger *, struct np_sql_look *, struct nextport_error *);
/* For whoever changes something: NEXTPORT_FAILED when no transaction was begun. */
enum nextport_status np_sql_check_begun(struct np_ledger *, struct nextport_error *);

/* The name that a writer's connection is opened by; it must be closed before this is undone. `usual` is returned when
 * there is no memory for more. */
const char *np_log_register(struct np_log_vfs *, const char *usual);
void np_log_unregister(struct np_log_vfs *); /* does nothing when it is not registered */

/* ---- What is in the file ---- */

/* The statement for a ledger of this schema. */
const char *np_schema_sql(int schema, enum np_sql);
enum nextport_status np_schema_too_new(int64_t schema, struct nextport_error *);
/* Makes the tables, within a transaction, from those of `schema` (0: none). */
enum nextport_status np_schema_make(struct np_ledger *, int64_t schema, struct nextport_error *);
/* Is it one that we know? A writer brings an older one forward. */
enum nextport_status np_schema_check(struct np_ledger *, struct nextport_error *);

/* ---- Operations of ledger.h ---- */

enum nextport_status np_rows_leases(struct np_ledger *, const char *scope, size_t limit, struct np_leases *ret,
                                    struct nextport_error *);
enum nextport_status np_rows_ports(struct np_ledger *, const char *scope, const struct np_which *,
                                   struct np_portset *ret, struct nextport_error *);
enum nextport_status np_rows_owned(struct np_ledger *, const char *scope, const char *owner_key, struct np_leases *ret,
                                   struct nextport_error *);
enum nextport_status np_rows_find(struct np_ledger *, const char *scope, uint16_t port, struct np_arena *,
                                  struct nextport_lease *ret, bool *ret_found, struct nextport_error *);
enum nextport_status np_rows_add(struct np_ledger *, struct nextport_lease *, const char *event,
                                 struct nextport_error *);
enum nextport_status np_rows_save(struct np_ledger *, const struct nextport_lease *, const char *event,
                                  struct nextport_error *);
enum nextport_status np_rows_drop(struct np_ledger *, const struct nextport_lease *, const char *event,
                                  struct nextport_error *);
enum nextport_status np_rows_scopes(struct np_ledger *, struct np_arena *, const char *const **ret, size_t *ret_n,
                                    struct nextport_error *);
enum nextport_status np_history_recall(struct np_ledger *, const char *key, struct np_arena *, const char **ret,
                                       struct nextport_error *);
enum nextport_status np_history_remember(struct np_ledger *, const char *key, const char *value,
                                         struct nextport_error *);
enum nextport_status np_history_events(struct np_ledger *, const struct np_event_query *, struct np_arena *,
                                       struct nextport_event **ret, size_t *ret_n, struct nextport_error *);
void np_history_because(struct np_ledger *, const char *reason);
enum nextport_status np_history_forget(struct np_ledger *, int64_t before, unsigned limit, struct nextport_error *);

/* ---- What the history gets ---- */

/* The lease as it is now: as what became of `before` (its JSON; NULL: it began), or as what has ended.
 * NEXTPORT_CONFLICT: there is no such lease. */
enum nextport_status np_history_add(struct np_ledger *, int64_t lease, const char *event, const char *before,
                                    struct nextport_error *);
enum nextport_status np_history_end(struct np_ledger *, int64_t lease, const char *event, struct nextport_error *);
/* A property of the ledger itself: what it became, and what it was (NULL: nothing). */
enum nextport_status np_history_of_ledger(struct np_ledger *, const char *event, const char *property,
                                          const char *before, const char *after, struct nextport_error *);

enum nextport_status np_no_such_lease(int64_t id, struct nextport_error *);

#endif
