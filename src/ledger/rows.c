/* Leases as rows: reading and changing them.
 * SPDX-License-Identifier: MIT */
#include "ledger/sqlite.h"

#include <string.h>

#include "core/owner.h"

static bool parse_state(const char *text, enum nextport_lease_state *ret)
{
    static const enum nextport_lease_state states[] = {NEXTPORT_PENDING, NEXTPORT_CONFIRMED, NEXTPORT_UNSEEN,
                                                       NEXTPORT_RESTING};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (text != NULL && strcmp(text, np_state_name(states[i])) == 0) {
            *ret = states[i];
            return true;
        }
    }
    return false;
}

/* Most leases have the same name, and neighbours the same owner: equal neighbours share one copy. */
static const char *shared_column(sqlite3_stmt *s, int at, struct np_arena *a, const char *last)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    return text != NULL && last != NULL && strcmp(text, last) == 0 ? last : np_sql_column(s, at, a);
}

/* The row read last. */
struct row {
    struct nextport_lease lease;
    const char *owner; /* as the ledger keeps it; NULL: nobody */
};

/* false: no such text. */
static bool read_owner(sqlite3_stmt *s, int at, struct np_arena *a, const struct row *last, struct row *ret)
{
    ret->owner = shared_column(s, at, a, last->owner);
    struct np_owner owner = {
        .labels = last->lease.labels, .n_labels = last->lease.n_labels, .shown = last->lease.owner};
    if (ret->owner == NULL)
        return true;
    if (ret->owner != last->owner && !np_owner_parse(&owner, ret->owner, a))
        return false;
    ret->lease.labels = owner.labels;
    ret->lease.n_labels = owner.n_labels;
    ret->lease.owner = owner.shown;
    return true;
}

/* To the end of the year 9999: what people can read, and sums of which do not overflow. */
static bool is_time(int64_t seconds)
{
    return seconds >= 0 && seconds <= INT64_C(253402300799);
}

/* false: a value that this schema cannot hold. `row` is the one read before, or empty. */
static bool read_lease(sqlite3_stmt *s, struct np_arena *a, struct row *row)
{
    const struct row last = *row;
    const int64_t port = sqlite3_column_int64(s, 1), looks = sqlite3_column_int64(s, 13);
    const char *protocol = (const char *)sqlite3_column_text(s, 2);
    row->lease = (struct nextport_lease){
        .id = sqlite3_column_int64(s, 0),
        .port = (uint16_t)port,
        .name = shared_column(s, 3, a, last.lease.name),
        .owner_key = shared_column(s, 4, a, last.lease.owner_key),
        .deployment = shared_column(s, 5, a, last.lease.deployment),
        .holder = shared_column(s, 7, a, last.lease.holder),
        .created = sqlite3_column_int64(s, 8),
        .renewed = sqlite3_column_int64(s, 9),
        .expires = sqlite3_column_int64(s, 10),
        .process = np_sql_column(s, 12, a),
        .looks = (unsigned)looks,
        .revision = sqlite3_column_int64(s, 14),
    };
    return is_time(row->lease.created) && is_time(row->lease.renewed) && is_time(row->lease.expires) && port >= 1 &&
           port <= 65535 && looks >= 0 && looks <= INT32_MAX && protocol != NULL &&
           np_protocol_parse(np_text_of(protocol), &row->lease.protocol) &&
           parse_state((const char *)sqlite3_column_text(s, 6), &row->lease.state) && read_owner(s, 11, a, &last, row);
}

static enum nextport_status unknown_value(sqlite3_stmt *s, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "lease %lld has a value that schema %d does not know",
            (long long)sqlite3_column_int64(s, 0), NP_SCHEMA);
    sqlite3_reset(s);
    return NEXTPORT_LEDGER;
}

/* The leases that the statement yields, behind those that are there already. */
static enum nextport_status read_rows(struct np_ledger *l, sqlite3_stmt *s, struct np_leases *to,
                                      struct nextport_error *err)
{
    struct row row = {0};
    int code;
    to->n = 0;
    to->taken = (struct np_portset){{0}};
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        if (!read_lease(s, to->arena, &row))
            return unknown_value(s, err);
        *(struct nextport_lease *)np_push(to->arena, &to->items, &to->n, &to->capacity, sizeof row.lease) = row.lease;
        np_portset_add(&to->taken, row.lease.port, row.lease.port);
    }
    sqlite3_reset(s);
    return code == SQLITE_DONE ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

/* The ports that the statement yields, of those of `states` where it yields the state too (0: it does not). */
static enum nextport_status read_ports(struct np_ledger *l, sqlite3_stmt *s, unsigned states, struct np_portset *to,
                                       struct nextport_error *err)
{
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        const int64_t port = sqlite3_column_int64(s, 0);
        enum nextport_lease_state state = NEXTPORT_PENDING;
        if (port < 1 || port > 65535 ||
            (states != 0 && !parse_state((const char *)sqlite3_column_text(s, 1), &state))) {
            sqlite3_reset(s);
            return np_fail(err, NEXTPORT_LEDGER, "a lease has a port or a state that cannot be");
        }
        if (states == 0 || states & NP_STATE(state))
            np_portset_add(to, (uint16_t)port, (uint16_t)port);
    }
    sqlite3_reset(s);
    return code == SQLITE_DONE ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

/* The ports behind the last lease whose details were read: the index alone has them. */
static enum nextport_status read_rest(struct np_ledger *l, const struct np_sql_look *look, struct nextport_error *err)
{
    struct np_leases *to = look->leases;
    sqlite3_stmt *s = np_sql_prepared(l, PORTS, err);
    if (s == NULL)
        return err->status;
    np_sql_bind(s, 1, look->scope);
    sqlite3_bind_int64(s, 2, to->n > 0 ? to->items[to->n - 1].port : 0);
    return read_ports(l, s, 0, &to->taken, err);
}

static enum nextport_status read_leases(struct np_ledger *l, struct np_sql_look *look, struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, LEASES, err);
    if (s == NULL)
        return err->status;
    np_sql_bind(s, 1, look->scope);
    sqlite3_bind_int64(s, 2, look->limit < INT64_MAX ? (int64_t)look->limit : -1);
    if (read_rows(l, s, look->leases, err) != NEXTPORT_OK)
        return err->status;
    return look->leases->n < look->limit ? NEXTPORT_OK : read_rest(l, look, err);
}

enum nextport_status np_rows_leases(struct np_ledger *l, const char *scope, size_t limit, struct np_leases *ret,
                                    struct nextport_error *err)
{
    return np_sql_steadily(l, &(struct np_sql_look){.at = read_leases, .scope = scope, .limit = limit, .leases = ret},
                           err);
}

static enum nextport_status read_owned(struct np_ledger *l, struct np_sql_look *look, struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, OWNED, err);
    if (s == NULL)
        return err->status;
    np_sql_bind(s, 1, look->scope);
    np_sql_bind(s, 2, look->key);
    return read_rows(l, s, look->leases, err);
}

enum nextport_status np_rows_owned(struct np_ledger *l, const char *scope, const char *owner_key, struct np_leases *ret,
                                   struct nextport_error *err)
{
    return np_sql_steadily(l, &(struct np_sql_look){.at = read_owned, .scope = scope, .key = owner_key, .leases = ret},
                           err);
}

static enum nextport_status add_ports(struct np_ledger *l, enum np_sql which, const char *scope, int64_t until,
                                      unsigned states, struct np_portset *to, struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, which, err);
    if (s == NULL)
        return err->status;
    np_sql_bind(s, 1, scope);
    if (which == DUE)
        sqlite3_bind_int64(s, 2, until);
    return read_ports(l, s, states, to, err);
}

enum nextport_status np_rows_ports(struct np_ledger *l, const char *scope, const struct np_which *which,
                                   struct np_portset *ret, struct nextport_error *err)
{
    const unsigned all = ~0u;
    const bool confirmed = which->states & NP_STATE(NEXTPORT_CONFIRMED) && which->until == INT64_MAX;
    enum nextport_status st = NEXTPORT_OK;
    *ret = (struct np_portset){{0}};
    if (which->states & ~NP_STATE(NEXTPORT_CONFIRMED))
        st = add_ports(l, DUE, scope, which->until, which->states, ret, err);
    if (st == NEXTPORT_OK && confirmed)
        st = add_ports(l, CONFIRMED, scope, 0, all, ret, err);
    if (st == NEXTPORT_OK && which->processes)
        st = add_ports(l, WITH_PROCESS, scope, 0, all, ret, err);
    return st;
}

static enum nextport_status read_one(struct np_ledger *l, struct np_sql_look *look, struct nextport_error *err)
{
    struct row row = {0};
    sqlite3_stmt *s = np_sql_prepared(l, FIND, err);
    if (s == NULL)
        return err->status;
    np_sql_bind(s, 1, look->scope);
    sqlite3_bind_int64(s, 2, look->port);
    int code = sqlite3_step(s);
    *look->found = code == SQLITE_ROW;
    if (*look->found && !read_lease(s, look->arena, &row))
        return unknown_value(s, err);
    if (*look->found)
        *look->lease = row.lease;
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

enum nextport_status np_rows_find(struct np_ledger *l, const char *scope, uint16_t port, struct np_arena *a,
                                  struct nextport_lease *ret, bool *ret_found, struct nextport_error *err)
{
    struct np_sql_look look = {
        .at = read_one, .scope = scope, .port = port, .arena = a, .lease = ret, .found = ret_found};
    return np_sql_steadily(l, &look, err);
}

enum nextport_status np_rows_scopes(struct np_ledger *l, struct np_arena *a, const char *const **ret, size_t *ret_n,
                                    struct nextport_error *err)
{
    const char **scopes = NULL;
    size_t capacity = 0;
    int code;
    sqlite3_stmt *s = np_sql_prepared(l, SCOPES, err);
    if (s == NULL)
        return err->status;
    *ret_n = 0;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        const char *scope = np_sql_column(s, 0, a); /* none for the machine's own */
        *(const char **)np_push(a, &scopes, ret_n, &capacity, sizeof *scopes) = scope != NULL ? scope : "";
    }
    sqlite3_reset(s);
    *ret = scopes;
    return code == SQLITE_DONE ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

/* ---- Changes ------------------------------------------------------------------------------------------------- */

static enum nextport_status not_granted(struct np_ledger *l, const struct nextport_lease *lease, int code,
                                        struct nextport_error *err)
{
    if (code != SQLITE_CONSTRAINT_UNIQUE)
        return np_sql_failed(l, code, err);
    if (strstr(sqlite3_errmsg(l->db), "owner_key") != NULL)
        return np_fail(err, NEXTPORT_CONFLICT, "this owner has a port \"%s\" already", lease->name);
    return np_fail(err, NEXTPORT_CONFLICT, "port %u is leased already", lease->port);
}

/* The owner's text ("": nobody), looked at before it is kept: the ledger never holds one that it could not read. */
static enum nextport_status owner_text(struct np_ledger *l, const struct nextport_lease *lease, const char **ret,
                                       struct nextport_error *err)
{
    struct np_owner owner = {.key = ""};
    struct np_buf b = {.arena = l->arena};
    for (size_t i = 0; i < lease->n_labels; i++)
        np_buf_printf(&b, "%s%s=%s", i > 0 ? "\n" : "", lease->labels[i].key, lease->labels[i].value);
    *ret = b.ptr != NULL ? b.ptr : "";
    if (b.ptr != NULL && !np_owner_parse(&owner, b.ptr, l->arena))
        return np_fail(err, NEXTPORT_FAILED, "its labels are no owner");
    if (strcmp(owner.key, lease->owner_key != NULL ? lease->owner_key : "") != 0)
        return np_fail(err, NEXTPORT_FAILED, "its labels and its key are two owners'");
    return NEXTPORT_OK;
}

enum nextport_status np_rows_add(struct np_ledger *l, struct nextport_lease *lease, const char *event,
                                 struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, ADD, err);
    const char *owner;
    if (s == NULL || np_sql_check_begun(l, err) != NEXTPORT_OK || owner_text(l, lease, &owner, err) != NEXTPORT_OK)
        return err->status;
    const int64_t created = lease->created != 0 ? lease->created : l->actor.now;
    const int64_t renewed = lease->renewed != 0 ? lease->renewed : l->actor.now;
    np_sql_bind(s, 1, l->actor.scope);
    sqlite3_bind_int64(s, 2, lease->port);
    np_sql_bind(s, 3, np_protocol_name(lease->protocol));
    np_sql_bind_or_empty(s, 4, lease->owner_key);
    np_sql_bind(s, 5, owner);
    np_sql_bind_or_empty(s, 6, lease->deployment);
    np_sql_bind_or_empty(s, 7, lease->name);
    np_sql_bind(s, 8, np_state_name(lease->state));
    np_sql_bind(s, 9, lease->holder);
    sqlite3_bind_int64(s, 10, created);
    sqlite3_bind_int64(s, 11, renewed);
    sqlite3_bind_int64(s, 12, lease->expires);
    np_sql_bind(s, 13, lease->process);
    sqlite3_bind_int64(s, 14, lease->looks);
    int code = np_sql_run(s);
    if (code != SQLITE_OK)
        return not_granted(l, lease, code, err);
    lease->id = sqlite3_last_insert_rowid(l->db);
    lease->created = created;
    lease->renewed = renewed;
    return np_history_add(l, lease->id, event, NULL, err);
}

/* *ret: in the ledger's own memory. */
static enum nextport_status read_as_json(struct np_ledger *l, int64_t id, const char **ret, struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, AS_JSON, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, id);
    int code = sqlite3_step(s);
    *ret = code == SQLITE_ROW ? np_sql_column(s, 0, l->arena) : NULL;
    sqlite3_reset(s);
    if (code == SQLITE_DONE)
        return np_no_such_lease(id, err);
    return code == SQLITE_ROW ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

static enum nextport_status update(struct np_ledger *l, const struct nextport_lease *lease, struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, SAVE, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, lease->id);
    sqlite3_bind_int64(s, 2, lease->port);
    np_sql_bind(s, 3, np_protocol_name(lease->protocol));
    np_sql_bind(s, 4, np_state_name(lease->state));
    np_sql_bind(s, 5, lease->holder);
    sqlite3_bind_int64(s, 6, lease->renewed);
    sqlite3_bind_int64(s, 7, lease->expires);
    np_sql_bind(s, 8, lease->process);
    sqlite3_bind_int64(s, 9, lease->looks);
    int code = np_sql_run(s);
    if (code != SQLITE_OK)
        return not_granted(l, lease, code, err);
    return sqlite3_changes(l->db) == 1 ? NEXTPORT_OK : np_no_such_lease(lease->id, err);
}

enum nextport_status np_rows_save(struct np_ledger *l, const struct nextport_lease *lease, const char *event,
                                  struct nextport_error *err)
{
    const char *before = NULL;
    enum nextport_status st = np_sql_check_begun(l, err);
    if (st == NEXTPORT_OK && event != NULL)
        st = read_as_json(l, lease->id, &before, err);
    if (st == NEXTPORT_OK)
        st = update(l, lease, err);
    return st == NEXTPORT_OK && event != NULL ? np_history_add(l, lease->id, event, before, err) : st;
}

enum nextport_status np_rows_drop(struct np_ledger *l, const struct nextport_lease *lease, const char *event,
                                  struct nextport_error *err)
{
    if (np_sql_check_begun(l, err) != NEXTPORT_OK || np_history_end(l, lease->id, event, err) != NEXTPORT_OK)
        return err->status;
    sqlite3_stmt *s = np_sql_prepared(l, DROP, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, lease->id);
    int code = np_sql_run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : np_sql_failed(l, code, err);
}
