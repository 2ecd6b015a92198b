/* What is in the file: its tables, how older ones become these, and every statement that asks them.
 * SPDX-License-Identifier: MIT */
#include "ledger/sqlite.h"

#include <stdio.h>

/* A lease as the history keeps it: every column, so that the events replay to the leases. */
#define LEASE_AS_JSON                                                                                                  \
    "json_object('id', id, 'host', host, 'scope', scope, 'port', port, 'protocol', protocol, 'labels', labels,"        \
    " 'owner_key', owner_key, 'deployment', deployment, 'name', name, 'ordinal', ordinal, 'state', state,"             \
    " 'holder', holder, 'created', created, 'renewed', renewed, 'expires', expires, 'process', process,"               \
    " 'looks', looks, 'rev', rev)"

#define LEASE_FIELDS "id, port, protocol, name, owner_key, deployment, state, holder, created, renewed, expires"
#define LEASE_COLUMNS LEASE_FIELDS ", labels, process, looks, rev"
#define LEASE_COLUMNS_1 LEASE_FIELDS ", '', NULL, 0, rev"
#define OF_SCOPE " FROM lease WHERE host = 'local' AND scope = ?1"
#define OF_OWNER                                                                                                       \
    " FROM lease INDEXED BY lease_owner WHERE host = 'local' AND scope = ?1"                                           \
    " AND owner_key = ?2 AND owner_key <> '' ORDER BY port"
#define OF_PORT OF_SCOPE " AND port = ?2"
#define LOWEST OF_SCOPE " ORDER BY port LIMIT ?2"
#define EVENT_FIELDS "id, time, kind, lease, port, name, user, host"
/* A member of what the history keeps as JSON; NULL: there is none, or it is no JSON. */
#define MEMBER(text, name) "CASE WHEN json_valid(" text ") THEN json_extract(" text ", '$." name "') END"
#define REASON MEMBER("detail", "reason")
#define NEWEST(or_port, json)                                                                                          \
    " FROM event WHERE (?1 = 0 OR port = ?1" or_port ") AND (?2 = 0 OR lease = ?2) AND (?3 IS NULL OR name = ?3)"      \
    " AND (?4 IS NULL OR " MEMBER(json, "deployment") " = ?4) ORDER BY id DESC"

/* What `remember` keeps has keys of its own. */
#define NOTE "note:"
#define HORIZON "history-horizon" /* events before it may be forgotten */
#define CURSOR "history-cursor"   /* the last event that `forget` looked at; 0: begin anew */

#define KEEP(key)                                                                                                      \
    "INSERT INTO meta(key, value) VALUES (" key ", ?1)"                                                                \
    " ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value"
#define RECORD_AFTER(json)                                                                                             \
    "INSERT INTO event(time, kind, lease, port, name, user, host, program, request, owner, before, detail)"            \
    " SELECT ?2, ?3, id, port, name, ?4, ?5, ?6, ?7, labels, ?8, " json " FROM lease WHERE id = ?1"
#define AFTER_CURSOR "id > ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE key = '" CURSOR "'), 0)"

static const char *const statements[N_STATEMENTS] = {
    [LEASES] = "SELECT " LEASE_COLUMNS LOWEST,
    [PORTS] = "SELECT port" OF_SCOPE " AND port > ?2",
    [DUE] = "SELECT port, state FROM lease WHERE state <> 'confirmed' AND scope = ?1 AND expires <= ?2",
    [CONFIRMED] = "SELECT port, state" OF_SCOPE " AND state = 'confirmed'",
    [WITH_PROCESS] = "SELECT port, state FROM lease WHERE process IS NOT NULL AND scope = ?1",
    [OWNED] = "SELECT " LEASE_COLUMNS OF_OWNER,
    [FIND] = "SELECT " LEASE_COLUMNS OF_PORT,
    [ADD] =
        "INSERT INTO lease(host, scope, port, protocol, owner_key, labels, deployment, name, ordinal, state, holder,"
        " created, renewed, expires, process, looks, rev)"
        " VALUES ('local', ?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 1)",
    [AS_JSON] = "SELECT " LEASE_AS_JSON " FROM lease WHERE id = ?1",
    [SAVE] = "UPDATE lease SET port = ?2, protocol = ?3, state = ?4, holder = ?5, renewed = ?6, expires = ?7,"
             " process = ?8, looks = ?9, rev = rev + 1 WHERE id = ?1",
    [DROP] = "DELETE FROM lease WHERE id = ?1",
    [RECORD] = RECORD_AFTER(LEASE_AS_JSON),
    [RECORD_REASON] = RECORD_AFTER("json_insert(" LEASE_AS_JSON ", '$.reason', ?9)"),
    [RECORD_END] = "INSERT INTO event(time, kind, lease, port, name, user, host, program, request, owner, before)"
                   " SELECT ?2, ?3, id, port, name, ?4, ?5, ?6, ?7, labels, " LEASE_AS_JSON " FROM lease WHERE id = ?1",
    [EVENTS] = "SELECT " EVENT_FIELDS ", program, request, owner, before,"
               " CASE WHEN " REASON " IS NULL THEN detail ELSE json_remove(detail, '$.reason') END, " REASON
               ", " MEMBER("ifnull(detail, before)", "deployment")
                   NEWEST(" OR (kind = 'moved' AND " MEMBER("before", "port") " = ?1)", "ifnull(detail, before)"),
    [RECALL] = "SELECT value FROM meta WHERE key = '" NOTE "' || ?1",
    [REMEMBER] = KEEP("'" NOTE "' || ?2"),
    [UNLEARN] = "DELETE FROM meta WHERE key = '" NOTE "' || ?2 AND ?1 IS NULL",
    [ELSEWHERE] = "SELECT count(*) FROM lease WHERE host = 'local' AND scope <> ?1",
    [SCOPES] = "SELECT DISTINCT scope FROM lease WHERE host = 'local'",
    [SET_HORIZON] = KEEP("'" HORIZON "'"),
    [SET_CURSOR] = KEEP("'" CURSOR "'"),
    [SCAN] = "SELECT max(id), sum(time < ?2) FROM (SELECT id, time FROM event"
             " WHERE " AFTER_CURSOR " ORDER BY id LIMIT ?1)",
    [FORGET] = "DELETE FROM event WHERE id <= ?2 AND time < ?1 AND lease NOT NULL"
               " AND " AFTER_CURSOR
               " AND id < (SELECT max(id) FROM event) AND NOT EXISTS (SELECT 1 FROM lease WHERE id = event.lease)",
    [MACHINE_ID] = "SELECT value FROM meta WHERE key = 'machine-id'",
    [REBIND] = "INSERT OR REPLACE INTO meta(key, value) VALUES ('machine-id', ?1)",
    [RECORD_META] = "INSERT INTO event(time, kind, user, host, program, request, before, detail)"
                    " VALUES (?2, ?3, ?4, ?5, ?6, ?7, CASE WHEN ?8 NOT NULL THEN json_object(?1, ?8) END,"
                    " json_object(?1, ?9))",
};

/* How a reader asks a ledger that no writer has brought forward yet. */
static const char *const statements_1[N_STATEMENTS] = {
    [LEASES] = "SELECT " LEASE_COLUMNS_1 LOWEST,
    [OWNED] = "SELECT " LEASE_COLUMNS_1 OF_OWNER,
    [FIND] = "SELECT " LEASE_COLUMNS_1 OF_PORT,
    [EVENTS] = "SELECT " EVENT_FIELDS ", NULL, NULL, NULL,"
               " CASE WHEN kind NOT IN ('created', 'rebound', 'granted', 'confirmed') THEN detail END,"
               " CASE WHEN kind IN ('created', 'rebound', 'granted', 'confirmed') THEN detail END, NULL, " MEMBER(
                   "detail", "deployment") NEWEST("", "detail"),
};

const char *np_schema_sql(int schema, enum np_sql which)
{
    return schema == 1 && statements_1[which] != NULL ? statements_1[which] : statements[which];
}

/* Schema steps, each from the version before it. Never edit one that was released: add a row. */
static const struct migration {
    int version;
    const char *sql;
} migrations[] = {
    {1, "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
        "CREATE TABLE lease("
        " id INTEGER PRIMARY KEY AUTOINCREMENT," /* an id is never given twice, not even after the row's end */
        " host TEXT NOT NULL,"
        " scope TEXT NOT NULL,"
        " port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),"
        " protocol TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp', 'both')),"
        " owner_key TEXT NOT NULL,"
        " deployment TEXT NOT NULL,"
        " name TEXT NOT NULL,"
        " ordinal INTEGER NOT NULL,"
        " state TEXT NOT NULL CHECK (state IN ('pending', 'confirmed', 'absent', 'quarantined')),"
        " holder TEXT,"
        " created INTEGER NOT NULL,"
        " renewed INTEGER NOT NULL,"
        " expires INTEGER NOT NULL,"
        " rev INTEGER NOT NULL,"
        " UNIQUE (host, scope, port)) STRICT;"
        "CREATE UNIQUE INDEX lease_owner ON lease(host, owner_key, deployment, name, ordinal) WHERE owner_key <> '';"
        "CREATE INDEX lease_pending ON lease(scope, expires, port) WHERE state = 'pending';"
        "CREATE TABLE event("
        " id INTEGER PRIMARY KEY,"
        " time INTEGER NOT NULL,"
        " kind TEXT NOT NULL,"
        " lease INTEGER,"
        " port INTEGER,"
        " name TEXT,"
        " user TEXT NOT NULL,"
        " host TEXT NOT NULL,"
        " detail TEXT) STRICT;"
        "CREATE TRIGGER event_kept BEFORE DELETE ON event"
        " BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;"
        "CREATE TRIGGER event_fixed BEFORE UPDATE ON event"
        " BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;"},
    {2,
     "ALTER TABLE lease ADD COLUMN labels TEXT NOT NULL DEFAULT '';" /* the owner, as core/owner.h keeps it */
     "ALTER TABLE lease ADD COLUMN process TEXT;"
     "ALTER TABLE lease ADD COLUMN looks INTEGER NOT NULL DEFAULT 0;"
     "DROP INDEX lease_owner;" /* an owner may have a port in each scope */
     "CREATE UNIQUE INDEX lease_owner ON lease(host, scope, owner_key, deployment, name, ordinal) WHERE owner_key <> "
     "'';"
     "DROP INDEX lease_pending;"
     "CREATE INDEX lease_due ON lease(scope, expires, port, state) WHERE state <> 'confirmed';"
     "CREATE INDEX lease_process ON lease(scope, port, state) WHERE process IS NOT NULL;"
     "ALTER TABLE event ADD COLUMN program TEXT;"
     "ALTER TABLE event ADD COLUMN request TEXT;"
     "ALTER TABLE event ADD COLUMN owner TEXT;"  /* as lease.labels */
     "ALTER TABLE event ADD COLUMN before TEXT;" /* and `detail` is what was after */
     "DROP TRIGGER event_fixed;"
     /* What a lease was renewed at was not told: a grant and a confirmation renewed it. The scope of leases that have ended
      * was not told either. */
     "CREATE INDEX event_lease ON event(lease, id);"
     "UPDATE event AS e SET detail = json_object('id', lease, 'host', 'local',"
     " 'scope', (SELECT scope FROM lease WHERE id = e.lease), 'port', port, 'protocol', json_extract(detail, "
     "'$.protocol'),"
     " 'labels', '', 'owner_key', json_extract(detail, '$.owner'), 'deployment', json_extract(detail, '$.deployment'), "
     "'name', name,"
     " 'ordinal', 0, 'state', json_extract(detail, '$.state'), 'holder', json_extract(detail, '$.holder'), 'created', "
     "json_extract(detail, '$.created'),"
     " 'renewed', (SELECT max(o.time) FROM event AS o WHERE o.lease = e.lease AND o.id <= e.id"
     " AND o.kind IN ('granted', 'confirmed')), 'expires', json_extract(detail, '$.expires'), 'process', NULL, "
     "'looks', 0,"
     " 'rev', json_extract(detail, '$.rev')) WHERE lease NOT NULL;"
     "UPDATE event AS e SET before = (SELECT o.detail FROM event AS o WHERE o.lease = e.lease AND o.id < e.id"
     " ORDER BY o.id DESC LIMIT 1) WHERE kind = 'confirmed';"
     "UPDATE event SET before = detail, detail = NULL WHERE lease NOT NULL AND kind NOT IN ('granted', 'confirmed');"
     "UPDATE event SET detail = json_object('machine-id', json_extract(detail, '$.\"machine-id\"')),"
     " before = CASE WHEN json_extract(detail, '$.before') NOT NULL THEN json_object('machine-id', "
     "json_extract(detail, '$.before')) END"
     " WHERE lease IS NULL;"
     "UPDATE event SET owner = '' WHERE lease NOT NULL;"
     "DROP INDEX event_lease;"
     "CREATE TRIGGER event_fixed BEFORE UPDATE ON event"
     " BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;"
     "DROP TRIGGER event_kept;"
     /* The newest stays, so that no number is given twice. */
     "CREATE TRIGGER event_kept BEFORE DELETE ON event"
     " WHEN OLD.lease IS NULL OR EXISTS (SELECT 1 FROM lease WHERE id = OLD.lease)"
     " OR OLD.id = (SELECT max(id) FROM event)"
     " OR OLD.time >= ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'history-horizon'), OLD.time)"
     " BEGIN SELECT RAISE(ABORT, 'events of leases and of the last time are kept'); END;"},
};

#define N_MIGRATIONS (sizeof migrations / sizeof migrations[0])

enum nextport_status np_schema_too_new(int64_t schema, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "made by a newer nextport, schema %lld; this one knows %d", (long long)schema,
            NP_SCHEMA);
    np_hint(err, "Install a nextport at least as new as the one that wrote it.");
    return NEXTPORT_LEDGER;
}

static enum nextport_status migrate_to(struct np_ledger *l, const struct migration *step, struct nextport_error *err)
{
    char version[64];
    snprintf(version, sizeof version, "PRAGMA user_version=%d", step->version);
    int code = np_sql_execute(l, step->sql);
    if (code == SQLITE_OK)
        code = np_sql_execute(l, version);
    return code == SQLITE_OK ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

/* Within a transaction. */
enum nextport_status np_schema_make(struct np_ledger *l, int64_t schema, struct nextport_error *err)
{
    for (size_t i = 0; i < N_MIGRATIONS; i++) {
        if (migrations[i].version <= schema)
            continue;
        enum nextport_status st = migrate_to(l, &migrations[i], err);
        if (st != NEXTPORT_OK)
            return st;
    }
    return NEXTPORT_OK;
}

static enum nextport_status bring_forward(struct np_ledger *l, struct nextport_error *err)
{
    char before[16], after[16];
    snprintf(before, sizeof before, "%d", l->schema);
    snprintf(after, sizeof after, "%d", NP_SCHEMA);
    enum nextport_status st = np_schema_make(l, l->schema, err);
    l->schema = NP_SCHEMA;
    return st == NEXTPORT_OK ? np_history_of_ledger(l, "migrated", "schema", before, after, err) : st;
}

enum nextport_status np_schema_check(struct np_ledger *l, struct nextport_error *err)
{
    int64_t schema = 0;
    int code = np_sql_number(l, "PRAGMA user_version", &schema);
    if (code != SQLITE_OK)
        return np_sql_failed(l, code, err);
    if (schema > NP_SCHEMA)
        return np_schema_too_new(schema, err);
    l->schema = (int)schema;
    if (schema == NP_SCHEMA)
        return NEXTPORT_OK;
    if (l->access == NP_LEDGER_WRITE)
        return bring_forward(l, err);
    if (schema >= NP_SCHEMA_READ)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_LEDGER, "schema %lld is older than %d", (long long)schema, NP_SCHEMA_READ);
    np_hint(err, "The next 'nextport next' or 'nextport setup' brings it up to date.");
    return NEXTPORT_LEDGER;
}
