/* What the ledger remembers beside its leases: every change of them, and notes between requests.
 * SPDX-License-Identifier: MIT */
#include "ledger/sqlite.h"

#include "core/owner.h"

/* ---- Notes ---- */

static enum nextport_status read_note(struct np_ledger *l, struct np_sql_look *look, struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, RECALL, err);
    if (s == NULL)
        return err->status;
    np_sql_bind(s, 1, look->key);
    int code = sqlite3_step(s);
    *look->note = code == SQLITE_ROW ? np_sql_column(s, 0, look->arena) : NULL;
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

enum nextport_status np_history_recall(struct np_ledger *l, const char *key, struct np_arena *a, const char **ret,
                                       struct nextport_error *err)
{
    return np_sql_steadily(l, &(struct np_sql_look){.at = read_note, .key = key, .arena = a, .note = ret}, err);
}

/* Keeps a value of the ledger's own; `key` is NULL where the statement knows it. */
static enum nextport_status keep(struct np_ledger *l, enum np_sql which, const char *key, const char *value,
                                 struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, which, err);
    if (s == NULL || np_sql_check_begun(l, err) != NEXTPORT_OK)
        return err->status;
    np_sql_bind(s, 1, value);
    if (key != NULL)
        np_sql_bind(s, 2, key);
    int code = np_sql_run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

static enum nextport_status keep_number(struct np_ledger *l, enum np_sql which, int64_t number,
                                        struct nextport_error *err)
{
    return keep(l, which, NULL, np_sprintf(l->arena, "%lld", (long long)number), err);
}

enum nextport_status np_history_remember(struct np_ledger *l, const char *key, const char *value,
                                         struct nextport_error *err)
{
    return keep(l, value != NULL ? REMEMBER : UNLEARN, key, value, err);
}

/* ---- Adding events ---- */

/* Who acts, as ?2 to ?7. */
static void bind_actor(const struct np_ledger *l, sqlite3_stmt *s, const char *event)
{
    sqlite3_bind_int64(s, 2, l->actor.now);
    np_sql_bind(s, 3, event);
    np_sql_bind_or_empty(s, 4, l->actor.user);
    np_sql_bind_or_empty(s, 5, l->actor.host);
    np_sql_bind(s, 6, l->actor.program);
    np_sql_bind(s, 7, l->actor.request);
}

void np_history_because(struct np_ledger *l, const char *reason)
{
    l->reason = np_strdup(l->arena, reason);
}

enum nextport_status np_no_such_lease(int64_t id, struct nextport_error *err)
{
    return np_fail(err, NEXTPORT_CONFLICT, "there is no lease %lld", (long long)id);
}

static enum nextport_status record(struct np_ledger *l, enum np_sql how, int64_t lease, const char *event,
                                   const char *before, struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, how, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, lease);
    bind_actor(l, s, event);
    if (how != RECORD_END)
        np_sql_bind(s, 8, before);
    if (how == RECORD_REASON)
        np_sql_bind(s, 9, l->reason);
    int code = np_sql_run(s);
    l->reason = NULL;
    if (code != SQLITE_OK)
        return np_sql_failed(l, code, err);
    return sqlite3_changes(l->db) == 1 ? NEXTPORT_OK : np_no_such_lease(lease, err);
}

enum nextport_status np_history_add(struct np_ledger *l, int64_t lease, const char *event, const char *before,
                                    struct nextport_error *err)
{
    return record(l, l->reason != NULL ? RECORD_REASON : RECORD, lease, event, before, err);
}

enum nextport_status np_history_end(struct np_ledger *l, int64_t lease, const char *event, struct nextport_error *err)
{
    return record(l, RECORD_END, lease, event, NULL, err);
}

enum nextport_status np_history_of_ledger(struct np_ledger *l, const char *event, const char *property,
                                          const char *before, const char *after, struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, RECORD_META, err);
    if (s == NULL)
        return err->status;
    np_sql_bind(s, 1, property);
    bind_actor(l, s, event);
    np_sql_bind(s, 8, before);
    np_sql_bind(s, 9, after);
    int code = np_sql_run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

/* ---- Reading and forgetting them ---- */

static struct nextport_event read_event(sqlite3_stmt *s, struct np_arena *a)
{
    struct np_owner owner = {0};
    const char *text = (const char *)sqlite3_column_text(s, 10);
    if (text != NULL && text[0] != '\0' && !np_owner_parse(&owner, text, a))
        owner.shown = np_sql_column(s, 10, a);
    return (struct nextport_event){
        .id = sqlite3_column_int64(s, 0),
        .time = sqlite3_column_int64(s, 1),
        .kind = np_sql_column(s, 2, a),
        .lease = sqlite3_column_int64(s, 3),
        .port = (uint16_t)sqlite3_column_int64(s, 4),
        .name = np_sql_column(s, 5, a),
        .user = np_sql_column(s, 6, a),
        .host = np_sql_column(s, 7, a),
        .program = np_sql_column(s, 8, a),
        .request = np_sql_column(s, 9, a),
        .owner = owner.shown,
        .before = np_sql_column(s, 11, a),
        .after = np_sql_column(s, 12, a),
        .reason = np_sql_column(s, 13, a),
        .deployment = np_sql_column(s, 14, a),
    };
}

static bool is_wanted(sqlite3_stmt *s, const struct np_event_query *query)
{
    const char *owner = (const char *)sqlite3_column_text(s, 10);
    return query->matches == NULL || query->matches(query->ctx, owner != NULL ? owner : "");
}

static void turn_round(struct nextport_event *events, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        const struct nextport_event event = events[i];
        events[i] = events[n - 1 - i];
        events[n - 1 - i] = event;
    }
}

/* From the newest back, as long as they are wanted. */
static enum nextport_status read_events(struct np_ledger *l, struct np_sql_look *look, struct nextport_error *err)
{
    const struct np_event_query *query = look->query;
    size_t capacity = 0;
    sqlite3_stmt *s = np_sql_prepared(l, EVENTS, err);
    if (s == NULL)
        return err->status;
    *look->events = NULL;
    *look->n_events = 0;
    sqlite3_bind_int64(s, 1, query->port);
    sqlite3_bind_int64(s, 2, query->lease);
    np_sql_bind(s, 3, query->name);
    np_sql_bind(s, 4, query->deployment);
    int code = SQLITE_DONE;
    while ((query->limit == 0 || *look->n_events < query->limit) && (code = sqlite3_step(s)) == SQLITE_ROW) {
        if (!is_wanted(s, query))
            continue;
        struct nextport_event *event = np_push(look->arena, look->events, look->n_events, &capacity, sizeof *event);
        *event = read_event(s, look->arena);
    }
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return np_sql_failed(l, code, err);
    turn_round(*look->events, *look->n_events);
    return NEXTPORT_OK;
}

enum nextport_status np_history_events(struct np_ledger *l, const struct np_event_query *query, struct np_arena *a,
                                       struct nextport_event **ret, size_t *ret_n, struct nextport_error *err)
{
    struct np_sql_look look = {.at = read_events, .query = query, .arena = a, .events = ret, .n_events = ret_n};
    return np_sql_steadily(l, &look, err);
}

/* How far the next `limit` events reach, and how many of them are old. */
static enum nextport_status scan(struct np_ledger *l, int64_t before, unsigned limit, int64_t *ret_last,
                                 int64_t *ret_old, struct nextport_error *err)
{
    sqlite3_stmt *s = np_sql_prepared(l, SCAN, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, limit);
    sqlite3_bind_int64(s, 2, before);
    int code = sqlite3_step(s);
    *ret_last = sqlite3_column_int64(s, 0);
    *ret_old = sqlite3_column_int64(s, 1);
    sqlite3_reset(s);
    return code == SQLITE_ROW ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

static enum nextport_status forget_until(struct np_ledger *l, int64_t before, int64_t last, struct nextport_error *err)
{
    if (keep_number(l, SET_HORIZON, before, err) != NEXTPORT_OK)
        return err->status;
    sqlite3_stmt *s = np_sql_prepared(l, FORGET, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, before);
    sqlite3_bind_int64(s, 2, last);
    int code = np_sql_run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

/* Looks at `limit` events, behind those it looked at the last time; where none is old it begins anew. */
enum nextport_status np_history_forget(struct np_ledger *l, int64_t before, unsigned limit, struct nextport_error *err)
{
    int64_t last = 0, old = 0;
    if (np_sql_check_begun(l, err) != NEXTPORT_OK || scan(l, before, limit, &last, &old, err) != NEXTPORT_OK)
        return err->status;
    if (old > 0 && forget_until(l, before, last, err) != NEXTPORT_OK)
        return err->status;
    return keep_number(l, SET_CURSOR, old > 0 ? last : 0, err);
}
