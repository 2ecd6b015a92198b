/* The ledger in one SQLite file (doc/ledger.md). Every call is on the hot path of a process that lives for two
 * milliseconds: statements are prepared when they are first used, and what can be set without SQL is.
 *
 * Write-ahead log with synchronous=FULL: what COMMIT acknowledged survives a power failure, and readers wait for nobody.
 * A one-shot process is always the first connection, and a first connection reads the whole log to build its index;
 * therefore the log is emptied at WAL_LIMIT pages by the process that fills it. SQLite's own automatic checkpoint would
 * not do: how far it came is kept in that index, so the next process would append and copy everything again.
 *
 * SPDX-License-Identifier: MIT */
#include "ledger/ledger.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/owner.h"
#include "host/host.h"

#define APPLICATION_ID 0x4e585054 /* "NXPT" */
#define PAGE_SIZE "4096"
#define WAL_LIMIT 64
#define BUSY_MS 3000 /* writers wait here for other tools only: our own processes queue at the lock */
#define N_READ_TRIES 100

/* A lease as the history keeps it: every column, so that the events replay to the leases. */
#define LEASE_AS_JSON                                                                                                  \
    "json_object('id', id, 'host', host, 'scope', scope, 'port', port, 'protocol', protocol, 'labels', labels,"        \
    " 'owner_key', owner_key, 'deployment', deployment, 'name', name, 'ordinal', ordinal, 'state', state,"             \
    " 'holder', holder, 'created', created, 'renewed', renewed, 'expires', expires, 'process', process,"               \
    " 'looks', looks, 'rev', rev)"

#define LEASE_FIELDS "id, port, protocol, name, owner_key, deployment, state, holder, created, renewed, expires"
#define LEASE_COLUMNS LEASE_FIELDS ", labels, process, looks"
#define LEASE_COLUMNS_1 LEASE_FIELDS ", '', NULL, 0"
#define OF_SCOPE " FROM lease WHERE host = 'local' AND scope = ?1"
#define OF_OWNER OF_SCOPE " AND owner_key = ?2 AND owner_key <> '' ORDER BY port"
#define OF_PORT OF_SCOPE " AND port = ?2"
#define LOWEST OF_SCOPE " ORDER BY port LIMIT ?2"
#define EVENT_FIELDS "id, time, kind, lease, port, name, user, host"
#define NEWEST                                                                                                         \
    " FROM event WHERE (?1 = 0 OR port = ?1) AND (?2 = 0 OR lease = ?2) AND (?3 IS NULL OR name = ?3)"                 \
    " ORDER BY id DESC"

/* What `remember` keeps has keys of its own. */
#define NOTE "note:"
#define HORIZON "history-horizon" /* events before it may be forgotten */
#define CURSOR "history-cursor"   /* the last event that `forget` looked at; 0: begin anew */

enum which {
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
    RECORD_END,
    EVENTS,
    RECALL,
    REMEMBER,
    SET_META,
    SCAN,
    FORGET,
    MACHINE_ID,
    REBIND,
    RECORD_META,
    N_STATEMENTS
};

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
    [RECORD] = "INSERT INTO event(time, kind, lease, port, name, user, host, program, request, owner, before, detail)"
               " SELECT ?2, ?3, id, port, name, ?4, ?5, ?6, ?7, labels, ?8, " LEASE_AS_JSON " FROM lease WHERE id = ?1",
    [RECORD_END] = "INSERT INTO event(time, kind, lease, port, name, user, host, program, request, owner, before)"
                   " SELECT ?2, ?3, id, port, name, ?4, ?5, ?6, ?7, labels, " LEASE_AS_JSON " FROM lease WHERE id = ?1",
    [EVENTS] = "SELECT " EVENT_FIELDS ", program, request, owner, before, detail" NEWEST,
    [RECALL] = "SELECT value FROM meta WHERE key = '" NOTE "' || ?1",
    [REMEMBER] = "INSERT INTO meta(key, value) VALUES ('" NOTE "' || ?1, ?2)"
                 " ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
    [SET_META] = "INSERT INTO meta(key, value) VALUES (?1, ?2)"
                 " ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
    [SCAN] = "SELECT max(id), sum(time < ?2) FROM (SELECT id, time FROM event"
             " WHERE id > (SELECT ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE key = '" CURSOR "'), 0))"
             " ORDER BY id LIMIT ?1)",
    [FORGET] = "DELETE FROM event WHERE id <= ?2 AND time < ?1 AND lease NOT NULL"
               " AND id > (SELECT ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE key = '" CURSOR "'), 0))"
               " AND id < (SELECT max(id) FROM event) AND NOT EXISTS (SELECT 1 FROM lease WHERE id = event.lease)",
    [MACHINE_ID] = "SELECT value FROM meta WHERE key = 'machine-id'",
    [REBIND] = "INSERT OR REPLACE INTO meta(key, value) VALUES ('machine-id', ?1)",
    [RECORD_META] = "INSERT INTO event(time, kind, user, host, program, request, before, detail)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, CASE WHEN ?8 NOT NULL THEN json_object(?7, ?8) END,"
                    " json_object(?7, ?9))",
};

/* How a reader asks a ledger that no writer has brought forward yet. */
static const char *const statements_1[N_STATEMENTS] = {
    [LEASES] = "SELECT " LEASE_COLUMNS_1 LOWEST,
    [OWNED] = "SELECT " LEASE_COLUMNS_1 OF_OWNER,
    [FIND] = "SELECT " LEASE_COLUMNS_1 OF_PORT,
    [EVENTS] = "SELECT " EVENT_FIELDS ", NULL, NULL, NULL,"
               " CASE WHEN kind NOT IN ('created', 'rebound', 'granted', 'confirmed') THEN detail END,"
               " CASE WHEN kind IN ('created', 'rebound', 'granted', 'confirmed') THEN detail END" NEWEST,
};

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
     " 'scope', (SELECT scope FROM lease WHERE id = e.lease), 'port', port, 'protocol', detail ->> 'protocol',"
     " 'labels', '', 'owner_key', detail ->> 'owner', 'deployment', detail ->> 'deployment', 'name', name,"
     " 'ordinal', 0, 'state', detail ->> 'state', 'holder', detail ->> 'holder', 'created', detail ->> 'created',"
     " 'renewed', (SELECT max(o.time) FROM event AS o WHERE o.lease = e.lease AND o.id <= e.id"
     " AND o.kind IN ('granted', 'confirmed')), 'expires', detail ->> 'expires', 'process', NULL, 'looks', 0,"
     " 'rev', detail ->> 'rev') WHERE lease NOT NULL;"
     "UPDATE event AS e SET before = (SELECT o.detail FROM event AS o WHERE o.lease = e.lease AND o.id < e.id"
     " ORDER BY o.id DESC LIMIT 1) WHERE kind = 'confirmed';"
     "UPDATE event SET before = detail, detail = NULL WHERE lease NOT NULL AND kind NOT IN ('granted', 'confirmed');"
     "UPDATE event SET detail = json_object('machine-id', detail ->> 'machine-id'),"
     " before = CASE WHEN detail ->> 'before' NOT NULL THEN json_object('machine-id', detail ->> 'before') END"
     " WHERE lease IS NULL;"
     "UPDATE event SET owner = '' WHERE lease NOT NULL;"
     "DROP INDEX event_lease;"
     "CREATE TRIGGER event_fixed BEFORE UPDATE ON event"
     " BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;"
     "CREATE TRIGGER event_added BEFORE INSERT ON event WHEN EXISTS (SELECT 1 FROM event WHERE id = NEW.id)"
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
#define SCHEMA (migrations[N_MIGRATIONS - 1].version)
#define OLDEST_READ 1

/* How a connection reaches the file. A reader must create nothing, and SQLite makes -wal and -shm for whoever asks. */
enum reach {
    SHARED, /* beside others, through -wal and -shm */
    ALONE,  /* -wal has content but nobody has the ledger open (no -shm): its index is built in memory */
    FROZEN, /* the file alone holds everything */
};

/* File access as usual (NULL: SQLite's own choice), and without locks (NULL: this SQLite has none). The usual one of
 * Windows knows no path beyond 260 characters. https://sqlite.org/vfs.html#standard_unix_vfses */
static const char *usual_vfs(void)
{
    static const char long_paths[] = "win32-longpath";
    return sqlite3_vfs_find(long_paths) != NULL ? long_paths : NULL;
}

static const char *lockless_vfs(void)
{
    static const char *const names[] = {"unix-none", "win32-longpath-none"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (sqlite3_vfs_find(names[i]) != NULL)
            return names[i];
    return NULL;
}

static bool parse_owner(struct np_owner *ret, const char *text, struct np_arena *a)
{
    struct np_text rest = np_text_of(text), line;
    size_t capacity = 0;
    struct nextport_label *labels = NULL;
    struct np_buf shown = {.arena = a};
    *ret = (struct np_owner){.text = text, .key = text};
    while (np_text_split(&rest, '\n', &line)) {
        struct np_text key;
        if (line.len == 0)
            continue;
        if (!np_text_split(&line, '=', &key))
            return false;
        struct nextport_label *label = np_push(a, &labels, &ret->n_labels, &capacity, sizeof *label);
        *label = (struct nextport_label){np_text_dup(a, key), np_text_dup(a, line)};
        np_buf_puts(&shown, shown.len > 0 ? "/" : "");
        np_buf_puts(&shown, label->value);
    }
    ret->labels = labels;
    ret->shown = shown.ptr;
    return true;
}

struct np_ledger {
    sqlite3 *db;
    sqlite3_stmt *prepared[N_STATEMENTS];
    struct np_arena *arena; /* path and actor */
    const char *path;       /* as SQLite must be told it */
    struct np_actor actor;
    enum np_access access;
    enum reach reach;
    int schema;    /* that was found */
    bool wal;      /* the file's header asks for the log */
    int wal_pages; /* after the last commit */
};

/* ---- Errors -------------------------------------------------------------------------------------------------- */

static const struct trouble {
    int code; /* extended codes before the primary one they belong to */
    enum nextport_status status;
    const char *what, *hint;
} troubles[] = {
    {SQLITE_CORRUPT, NEXTPORT_LEDGER, "the file is damaged",
     "Keep a copy of it with its -wal, then put a backup in its place; 'nextport doctor' says more."},
    {SQLITE_NOTADB, NEXTPORT_LEDGER, "the file is not a ledger",
     "Move it away if it is not needed; nextport overwrites nothing."},
    {SQLITE_FULL, NEXTPORT_LEDGER, "the disk is full", "Free space on its file system, then repeat the request."},
    {SQLITE_READONLY, NEXTPORT_DENIED, "it cannot be written to",
     "Use an account that may: an administrator's, or a member of the group nextport; or a ledger of your own with "
     "--user."},
    {SQLITE_PERM, NEXTPORT_DENIED, "permission denied",
     "Use an account that may: an administrator's, or a member of the group nextport; or a ledger of your own with "
     "--user."},
    {SQLITE_CANTOPEN, NEXTPORT_LEDGER, "the file or one beside it (-wal, -shm) cannot be opened",
     "Look at the folder's content and permissions; 'nextport doctor' says more."},
    {SQLITE_IOERR_NOMEM, NEXTPORT_FAILED, "out of memory", ""},
    {SQLITE_IOERR, NEXTPORT_LEDGER, "reading or writing failed", "Look at the disk and at the system's log."},
    {SQLITE_BUSY, NEXTPORT_RETRY, "another program keeps it locked",
     "Close the program that has the ledger open, then repeat the request."},
    {SQLITE_LOCKED, NEXTPORT_RETRY, "another program keeps it locked",
     "Close the program that has the ledger open, then repeat the request."},
    {SQLITE_PROTOCOL, NEXTPORT_RETRY, "too many programs contend for it", "Repeat the request."},
    {SQLITE_NOMEM, NEXTPORT_FAILED, "out of memory", ""},
};

static const struct trouble *trouble_of(int code)
{
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++)
        if (troubles[i].code == code || troubles[i].code == (code & 0xff))
            return &troubles[i];
    static const struct trouble other = {SQLITE_ERROR, NEXTPORT_FAILED, "SQLite failed", ""};
    return &other;
}

/* SQLite says "unable to open" and keeps the reason apart. */
static int true_code(sqlite3 *db, int code)
{
    const int reason = sqlite3_system_errno(db);
    if ((code & 0xff) != SQLITE_CANTOPEN && (code & 0xff) != SQLITE_IOERR)
        return code;
    return np_host_is_denied(reason) ? SQLITE_PERM : np_host_is_kept(reason) ? SQLITE_BUSY : code;
}

/* Callers say which ledger and what they were doing with it. */
static enum nextport_status failed(const struct np_ledger *l, int code, struct nextport_error *err)
{
    const struct trouble *t = trouble_of(true_code(l->db, code));
    const char *said = sqlite3_errcode(l->db) != SQLITE_OK ? sqlite3_errmsg(l->db) : sqlite3_errstr(code);
    np_fail(err, t->status, "%s (%s)", t->what, said);
    np_hint(err, "%s", t->hint);
    return t->status;
}

static enum nextport_status unusable(const char *what, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "%s", what);
    np_hint(err, "%s", trouble_of(SQLITE_NOTADB)->hint);
    return NEXTPORT_LEDGER;
}

/* ---- Statements ---------------------------------------------------------------------------------------------- */

/* NULL: `err` says why. */
static sqlite3_stmt *prepared(struct np_ledger *l, enum which which, struct nextport_error *err)
{
    sqlite3_stmt **s = &l->prepared[which];
    if (*s == NULL) {
        const char *older = l->schema == 1 ? statements_1[which] : NULL;
        int code = sqlite3_prepare_v2(l->db, older != NULL ? older : statements[which], -1, s, NULL);
        if (code != SQLITE_OK)
            failed(l, code, err);
    }
    return *s;
}

/* NULL is bound as NULL. The text must live until the statement has run. */
static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

static void bind_or_empty(sqlite3_stmt *s, int at, const char *text)
{
    bind_text(s, at, text != NULL ? text : "");
}

/* Runs a statement that yields no row, and makes it ready for its next use. */
static int run(sqlite3_stmt *s)
{
    int code = sqlite3_step(s);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int execute(struct np_ledger *l, const char *sql)
{
    return sqlite3_exec(l->db, sql, NULL, NULL, NULL);
}

/* The first column of the first row as a number. */
static int read_number(struct np_ledger *l, const char *sql, int64_t *ret)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(l->db, sql, -1, &s, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW)
        *ret = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* NULL for NULL and for the empty text, which the schema has where the API has no text. */
static const char *column(sqlite3_stmt *s, int at, struct np_arena *a)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    return text != NULL && text[0] != '\0' ? np_strndup(a, text, (size_t)sqlite3_column_bytes(s, at)) : NULL;
}

/* ---- Opening ------------------------------------------------------------------------------------------------- */

static const char *uri_of(struct np_ledger *l, enum reach reach)
{
    struct np_buf b = {.arena = l->arena};
    np_buf_puts(&b, l->path[0] == '/' ? "file://" : "file:");
    for (const char *p = l->path; *p != '\0'; p++) {
        if (strchr("%?#", *p) != NULL)
            np_buf_printf(&b, "%%%02X", (unsigned)*p);
        else
            np_buf_add(&b, p, 1);
    }
    if (reach == ALONE)
        np_buf_printf(&b, "?vfs=%s", lockless_vfs());
    if (reach == FROZEN)
        np_buf_puts(&b, "?immutable=1");
    return b.ptr;
}

/* Is there a neighbour with content? Asked through SQLite: to open and close -shm would drop this process's locks on it
 * (POSIX), should another handle have the ledger open. */
static bool has_content(struct np_ledger *l, const char *suffix)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(usual_vfs());
    const char *name = np_sprintf(l->arena, "%s%s", l->path, suffix);
    int there = 0;
    return vfs->xAccess(vfs, name, SQLITE_ACCESS_EXISTS, &there) != SQLITE_OK || there;
}

/* SQLite would make a -wal that is missing. */
static bool has_wal_file(struct np_ledger *l)
{
    return np_host_exists(np_sprintf(l->arena, "%s-wal", l->path));
}

static enum reach reach_now(struct np_ledger *l)
{
    if (l->access == NP_LEDGER_WRITE || has_content(l, "-journal"))
        return SHARED;
    if (has_content(l, "-shm") && has_wal_file(l))
        return SHARED;
    if (!has_content(l, "-wal"))
        return FROZEN;
    return lockless_vfs() != NULL ? ALONE : SHARED;
}

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static enum nextport_status too_new(int64_t schema, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "made by a newer nextport, schema %lld; this one knows %d", (long long)schema,
            SCHEMA);
    np_hint(err, "Install a nextport at least as new as the one that wrote it.");
    return NEXTPORT_LEDGER;
}

/* Looks at the file's first bytes before SQLite does: a hot journal of a foreign database would be rolled back by the
 * first statement, and an empty file would become a database. Offsets: https://sqlite.org/fileformat.html#the_database_header */
static enum nextport_status check_header(struct np_ledger *l, struct nextport_error *err)
{
    unsigned char h[100];
    sqlite3_file *f = NULL;
    sqlite3_int64 size = 0;
    int code = sqlite3_file_control(l->db, "main", SQLITE_FCNTL_FILE_POINTER, &f);
    if (code == SQLITE_OK)
        code = f->pMethods->xFileSize(f, &size);
    if (code == SQLITE_OK && size == 0)
        return unusable("the file is empty", err);
    if (code == SQLITE_OK)
        code = f->pMethods->xRead(f, h, sizeof h, 0);
    if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ)
        return failed(l, code, err);
    if (code != SQLITE_OK || memcmp(h, "SQLite format 3", 16) != 0)
        return unusable("the file is not a ledger", err);
    if (big_endian(h + 68) != APPLICATION_ID)
        return unusable("the file is a database of another program", err);
    l->wal = h[18] == 2;
    return (int32_t)big_endian(h + 60) > SCHEMA ? too_new(big_endian(h + 60), err) : NEXTPORT_OK;
}

static int on_commit(void *ctx, sqlite3 *db, const char *name, int pages)
{
    struct np_ledger *l = ctx;
    (void)db, (void)name;
    l->wal_pages = pages;
    return SQLITE_OK;
}

/* The rows are data of whoever may write the file: nothing in the schema may call functions with side effects. */
static void configure(struct np_ledger *l)
{
    sqlite3_extended_result_codes(l->db, 1);
    sqlite3_busy_timeout(l->db, BUSY_MS);
    sqlite3_db_config(l->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(l->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(l->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_wal_hook(l->db, on_commit, l);
}

static void disconnect(struct np_ledger *l)
{
    for (size_t i = 0; i < N_STATEMENTS; i++) {
        sqlite3_finalize(l->prepared[i]);
        l->prepared[i] = NULL;
    }
    sqlite3_close(l->db);
    l->db = NULL;
}

static enum nextport_status connect_file(struct np_ledger *l, struct nextport_error *err)
{
    int flags = l->access == NP_LEDGER_WRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    l->reach = reach_now(l);
    int code = sqlite3_open_v2(uri_of(l, l->reach), &l->db,
                               flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, usual_vfs());
    if (code != SQLITE_OK)
        return failed(l, sqlite3_extended_errcode(l->db), err);
    configure(l);
    /* SQLite opens what it may not write for reading, without a word. */
    if (l->access == NP_LEDGER_WRITE && sqlite3_db_readonly(l->db, "main") != 0)
        return failed(l, SQLITE_READONLY, err);
    enum nextport_status st = check_header(l, err);
    if (st != NEXTPORT_OK || l->reach != ALONE)
        return st;
    code = execute(l, "PRAGMA locking_mode=EXCLUSIVE");
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
}

static enum nextport_status migrate_to(struct np_ledger *l, const struct migration *step, struct nextport_error *err)
{
    char version[64];
    snprintf(version, sizeof version, "PRAGMA user_version=%d", step->version);
    int code = execute(l, step->sql);
    if (code == SQLITE_OK)
        code = execute(l, version);
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
}

/* Within a transaction. */
static enum nextport_status migrate(struct np_ledger *l, int64_t schema, struct nextport_error *err)
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

static enum nextport_status begin(struct np_ledger *l, struct nextport_error *err)
{
    /* a backup comes back without WAL */
    int code = l->wal ? SQLITE_OK : execute(l, "PRAGMA journal_mode=WAL");
    if (code == SQLITE_OK)
        code = execute(l, "PRAGMA synchronous=FULL;BEGIN IMMEDIATE");
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
}

static void roll_back(struct np_ledger *l)
{
    if (!sqlite3_get_autocommit(l->db))
        execute(l, "ROLLBACK");
}

/* Empties the log into the file. A reader that stands in the way leaves it to the next commit. */
static void empty_log(struct np_ledger *l)
{
    sqlite3_busy_timeout(l->db, 0);
    sqlite3_wal_checkpoint_v2(l->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(l->db, BUSY_MS);
    l->wal_pages = 0;
}

/* Once the commit frame was written, a failed sync leaves open whether a recovery will find it whole. A full disk does
 * not: then the frame was not written. */
static enum nextport_status not_committed(struct np_ledger *l, int code, struct nextport_error *err)
{
    enum nextport_status st = failed(l, code, err);
    roll_back(l);
    if ((code & 0xff) != SQLITE_IOERR)
        return st;
    np_wrap(err, "outcome unknown");
    err->hint[0] = '\0';
    np_hint(err, "Repeat the same request; look at the disk and at the system's log if it happens again.");
    return err->status = NEXTPORT_RETRY;
}

static enum nextport_status end(struct np_ledger *l, bool commit, struct nextport_error *err)
{
    if (!commit) {
        roll_back(l);
        return NEXTPORT_OK;
    }
    int code = execute(l, "COMMIT");
    if (code != SQLITE_OK)
        return not_committed(l, code, err);
    if (l->wal_pages >= WAL_LIMIT)
        empty_log(l);
    return NEXTPORT_OK;
}

/* An event of the ledger itself: what one of its properties became, and what it was (NULL: nothing). */
static enum nextport_status record_meta(struct np_ledger *l, const char *kind, const char *property, const char *before,
                                        const char *after, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, RECORD_META, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, l->actor.now);
    bind_text(s, 2, kind);
    bind_or_empty(s, 3, l->actor.user);
    bind_or_empty(s, 4, l->actor.host);
    bind_text(s, 5, l->actor.program);
    bind_text(s, 6, l->actor.request);
    bind_text(s, 7, property);
    bind_text(s, 8, before);
    bind_text(s, 9, after);
    int code = run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
}

static enum nextport_status bring_forward(struct np_ledger *l, struct nextport_error *err)
{
    char before[16], after[16];
    snprintf(before, sizeof before, "%d", l->schema);
    snprintf(after, sizeof after, "%d", SCHEMA);
    enum nextport_status st = migrate(l, l->schema, err);
    l->schema = SCHEMA;
    return st == NEXTPORT_OK ? record_meta(l, "migrated", "schema", before, after, err) : st;
}

static enum nextport_status check_schema(struct np_ledger *l, struct nextport_error *err)
{
    int64_t schema = 0;
    int code = read_number(l, "PRAGMA user_version", &schema);
    if (code != SQLITE_OK)
        return failed(l, code, err);
    if (schema > SCHEMA)
        return too_new(schema, err);
    l->schema = (int)schema;
    if (schema == SCHEMA)
        return NEXTPORT_OK;
    if (l->access == NP_LEDGER_WRITE)
        return bring_forward(l, err);
    if (schema >= OLDEST_READ)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_LEDGER, "schema %lld is older than %d", (long long)schema, OLDEST_READ);
    np_hint(err, "The next 'nextport next' or 'nextport setup' brings it up to date.");
    return NEXTPORT_LEDGER;
}

/* *ret: NULL when none is known. */
static enum nextport_status read_machine_id(struct np_ledger *l, struct np_arena *a, const char **ret,
                                            struct nextport_error *err)
{
    *ret = NULL;
    sqlite3_stmt *s = prepared(l, MACHINE_ID, err);
    if (s == NULL)
        return err->status;
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW)
        *ret = column(s, 0, a);
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? NEXTPORT_OK : failed(l, code, err);
}

static enum nextport_status check_machine(struct np_ledger *l, struct nextport_error *err)
{
    const char *id;
    enum nextport_status st = read_machine_id(l, l->arena, &id, err);
    if (st != NEXTPORT_OK || id == NULL || l->actor.machine_id == NULL || strcmp(id, l->actor.machine_id) == 0)
        return st;
    np_fail(err, NEXTPORT_LEDGER, "it belongs to another machine (id %s, this one is %s)", id, l->actor.machine_id);
    np_hint(err, "If this machine took the other's place, make the ledger its own with 'nextport doctor --rebind'; "
                 "otherwise move the copy away.");
    return NEXTPORT_LEDGER;
}

static struct np_ledger *ledger_new(const char *path, enum np_access access, const struct np_actor *actor)
{
    struct np_arena *a = np_arena_new();
    struct np_ledger *l = np_alloc(a, sizeof *l);
    l->arena = a;
    l->path = np_strdup(a, np_host_sqlite_path(a, path));
    l->access = access;
    l->actor = (struct np_actor){
        .host = np_strdup(a, actor->host),
        .scope = np_strdup(a, actor->scope != NULL ? actor->scope : ""),
        .user = np_strdup(a, actor->user),
        .program = np_strdup(a, actor->program),
        .request = np_strdup(a, actor->request),
        .machine_id = np_strdup(a, actor->machine_id),
        .now = actor->now,
    };
    return l;
}

static void close_ledger(struct np_ledger *l)
{
    if (l == NULL)
        return;
    disconnect(l);
    np_arena_free(l->arena);
}

static enum nextport_status connect_checked(struct np_ledger *l, struct nextport_error *err)
{
    enum nextport_status st = connect_file(l, err);
    if (st == NEXTPORT_OK && l->access == NP_LEDGER_WRITE)
        st = begin(l, err);
    if (st == NEXTPORT_OK)
        st = check_schema(l, err);
    if (st == NEXTPORT_OK)
        st = check_machine(l, err);
    return st;
}

/* What a reader does, again while a writer changed under it what was taken for frozen. */
struct look {
    enum nextport_status (*at)(struct np_ledger *, struct look *, struct nextport_error *);
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

static bool was_disturbed(struct np_ledger *l)
{
    return l->reach != SHARED && reach_now(l) != l->reach;
}

static enum nextport_status look_steadily(struct np_ledger *l, struct look *look, struct nextport_error *err)
{
    for (int i = 0; i < N_READ_TRIES; i++) {
        enum nextport_status st = l->db == NULL ? connect_checked(l, err) : NEXTPORT_OK;
        if (st == NEXTPORT_OK && look->at != NULL)
            st = look->at(l, look, err);
        if (!was_disturbed(l))
            return st;
        disconnect(l);
    }
    np_fail(err, NEXTPORT_RETRY, "it changed each time it was read");
    np_hint(err, "Repeat the request.");
    return NEXTPORT_RETRY;
}

static enum nextport_status open_ledger(struct np_ledger **ret, const char *path, enum np_access access,
                                        const struct np_actor *actor, struct nextport_error *err)
{
    struct np_ledger *l = ledger_new(path, access, actor);
    enum nextport_status st = look_steadily(l, &(struct look){0}, err);
    if (st == NEXTPORT_OK)
        *ret = l;
    else
        close_ledger(l);
    return st;
}

/* ---- Making one ---------------------------------------------------------------------------------------------- */

static enum nextport_status set_machine_id(struct np_ledger *l, struct nextport_error *err)
{
    sqlite3_stmt *s = l->actor.machine_id != NULL ? prepared(l, REBIND, err) : NULL;
    if (s == NULL)
        return l->actor.machine_id != NULL ? err->status : NEXTPORT_OK;
    bind_text(s, 1, l->actor.machine_id);
    int code = run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
}

static enum nextport_status fill(struct np_ledger *l, struct nextport_error *err)
{
    enum nextport_status st = migrate(l, 0, err);
    if (st == NEXTPORT_OK)
        st = set_machine_id(l, err);
    return st == NEXTPORT_OK ? record_meta(l, "created", "machine-id", NULL, l->actor.machine_id, err) : st;
}

static enum nextport_status make(struct np_ledger *l, struct nextport_error *err)
{
    int code = sqlite3_open_v2(uri_of(l, SHARED), &l->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
                               usual_vfs());
    if (code != SQLITE_OK)
        return failed(l, code, err);
    configure(l);
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA page_size=" PAGE_SIZE ";PRAGMA application_id=%d", APPLICATION_ID);
    code = execute(l, pragmas);
    if (code != SQLITE_OK)
        return failed(l, code, err);
    enum nextport_status st = begin(l, err);
    if (st == NEXTPORT_OK)
        st = fill(l, err);
    if (st == NEXTPORT_OK)
        st = end(l, true, err);
    if (st != NEXTPORT_OK)
        return st;
    code = sqlite3_wal_checkpoint_v2(l->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (code != SQLITE_OK)
        return failed(l, code, err);
    /* The last to close takes -wal and -shm away, if it may. */
    sqlite3_db_config(l->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return NEXTPORT_OK;
}

static enum nextport_status create(const char *path, const struct np_actor *actor, struct nextport_error *err)
{
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    enum nextport_status st = np_host_make_file(path, err);
    if (st != NEXTPORT_OK)
        return st;
    struct np_ledger *l = ledger_new(path, NP_LEDGER_WRITE, actor);
    st = make(l, err);
    disconnect(l);
    if (st != NEXTPORT_OK)
        np_host_ledger_fresh(path, &ignored);
    close_ledger(l);
    return st;
}

static enum nextport_status rebind_within(struct np_ledger *l, struct nextport_error *err)
{
    const char *before;
    enum nextport_status st = read_machine_id(l, l->arena, &before, err);
    if (st == NEXTPORT_OK)
        st = set_machine_id(l, err);
    if (st != NEXTPORT_OK)
        return st;
    return record_meta(l, "rebound", "machine-id", before, l->actor.machine_id, err);
}

/* Without an identity of this machine there is nothing to bind to, and nothing that would refuse the ledger. */
static enum nextport_status rebind(const char *path, const struct np_actor *actor, struct nextport_error *err)
{
    if (actor->machine_id == NULL)
        return NEXTPORT_OK;
    struct np_ledger *l = ledger_new(path, NP_LEDGER_WRITE, actor);
    enum nextport_status st = connect_file(l, err);
    if (st == NEXTPORT_OK)
        st = begin(l, err);
    if (st == NEXTPORT_OK)
        st = check_schema(l, err);
    if (st == NEXTPORT_OK)
        st = rebind_within(l, err);
    if (st == NEXTPORT_OK)
        st = end(l, true, err);
    close_ledger(l);
    return st;
}

/* ---- Leases -------------------------------------------------------------------------------------------------- */

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
    return text != NULL && last != NULL && strcmp(text, last) == 0 ? last : column(s, at, a);
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
    if (ret->owner != last->owner && !parse_owner(&owner, ret->owner, a))
        return false;
    ret->lease.labels = owner.labels;
    ret->lease.n_labels = owner.n_labels;
    ret->lease.owner = owner.shown;
    return true;
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
        .process = column(s, 12, a),
        .looks = (unsigned)looks,
    };
    return port >= 1 && port <= 65535 && looks >= 0 && looks <= INT32_MAX && protocol != NULL &&
           np_protocol_parse(np_text_of(protocol), &row->lease.protocol) &&
           parse_state((const char *)sqlite3_column_text(s, 6), &row->lease.state) && read_owner(s, 11, a, &last, row);
}

static enum nextport_status unknown_value(sqlite3_stmt *s, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "lease %lld has a value that schema %d does not know",
            (long long)sqlite3_column_int64(s, 0), SCHEMA);
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
    return code == SQLITE_DONE ? NEXTPORT_OK : failed(l, code, err);
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
    return code == SQLITE_DONE ? NEXTPORT_OK : failed(l, code, err);
}

/* The ports behind the last lease whose details were read: the index alone has them. */
static enum nextport_status read_rest(struct np_ledger *l, const struct look *look, struct nextport_error *err)
{
    struct np_leases *to = look->leases;
    sqlite3_stmt *s = prepared(l, PORTS, err);
    if (s == NULL)
        return err->status;
    bind_text(s, 1, look->scope);
    sqlite3_bind_int64(s, 2, to->n > 0 ? to->items[to->n - 1].port : 0);
    return read_ports(l, s, 0, &to->taken, err);
}

static enum nextport_status read_leases(struct np_ledger *l, struct look *look, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, LEASES, err);
    if (s == NULL)
        return err->status;
    bind_text(s, 1, look->scope);
    sqlite3_bind_int64(s, 2, look->limit < INT64_MAX ? (int64_t)look->limit : -1);
    if (read_rows(l, s, look->leases, err) != NEXTPORT_OK)
        return err->status;
    return look->leases->n < look->limit ? NEXTPORT_OK : read_rest(l, look, err);
}

static enum nextport_status leases(struct np_ledger *l, const char *scope, size_t limit, struct np_leases *ret,
                                   struct nextport_error *err)
{
    return look_steadily(l, &(struct look){.at = read_leases, .scope = scope, .limit = limit, .leases = ret}, err);
}

static enum nextport_status read_owned(struct np_ledger *l, struct look *look, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, OWNED, err);
    if (s == NULL)
        return err->status;
    bind_text(s, 1, look->scope);
    bind_text(s, 2, look->key);
    return read_rows(l, s, look->leases, err);
}

static enum nextport_status owned(struct np_ledger *l, const char *scope, const char *owner_key, struct np_leases *ret,
                                  struct nextport_error *err)
{
    return look_steadily(l, &(struct look){.at = read_owned, .scope = scope, .key = owner_key, .leases = ret}, err);
}

static enum nextport_status add_ports(struct np_ledger *l, enum which which, const char *scope, int64_t until,
                                      unsigned states, struct np_portset *to, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, which, err);
    if (s == NULL)
        return err->status;
    bind_text(s, 1, scope);
    if (which == DUE)
        sqlite3_bind_int64(s, 2, until);
    return read_ports(l, s, states, to, err);
}

static enum nextport_status ports(struct np_ledger *l, const char *scope, const struct np_which *which,
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

static enum nextport_status read_one(struct np_ledger *l, struct look *look, struct nextport_error *err)
{
    struct row row = {0};
    sqlite3_stmt *s = prepared(l, FIND, err);
    if (s == NULL)
        return err->status;
    bind_text(s, 1, look->scope);
    sqlite3_bind_int64(s, 2, look->port);
    int code = sqlite3_step(s);
    *look->found = code == SQLITE_ROW;
    if (*look->found && !read_lease(s, look->arena, &row))
        return unknown_value(s, err);
    if (*look->found)
        *look->lease = row.lease;
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? NEXTPORT_OK : failed(l, code, err);
}

static enum nextport_status find(struct np_ledger *l, const char *scope, uint16_t port, struct np_arena *a,
                                 struct nextport_lease *ret, bool *ret_found, struct nextport_error *err)
{
    struct look look = {.at = read_one, .scope = scope, .port = port, .arena = a, .lease = ret, .found = ret_found};
    return look_steadily(l, &look, err);
}

/* ---- Changes ------------------------------------------------------------------------------------------------- */

/* Without this a change made after SQLite had rolled back by itself (full disk) would be committed alone. */
static enum nextport_status check_begun(struct np_ledger *l, struct nextport_error *err)
{
    if (!sqlite3_get_autocommit(l->db))
        return NEXTPORT_OK;
    return np_fail(err, NEXTPORT_FAILED, "no transaction was begun");
}

static enum nextport_status no_such(int64_t id, struct nextport_error *err)
{
    return np_fail(err, NEXTPORT_CONFLICT, "there is no lease %lld", (long long)id);
}

/* Adds the lease, as it is, to the history: as what became of `before` (RECORD; NULL: it began), or as what has ended
 * (RECORD_END). NEXTPORT_CONFLICT: there is no such lease. */
static enum nextport_status record(struct np_ledger *l, enum which how, int64_t id, const char *event,
                                   const char *before, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, how, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, l->actor.now);
    bind_text(s, 3, event);
    bind_or_empty(s, 4, l->actor.user);
    bind_or_empty(s, 5, l->actor.host);
    bind_text(s, 6, l->actor.program);
    bind_text(s, 7, l->actor.request);
    if (how == RECORD)
        bind_text(s, 8, before);
    int code = run(s);
    if (code != SQLITE_OK)
        return failed(l, code, err);
    return sqlite3_changes(l->db) == 1 ? NEXTPORT_OK : no_such(id, err);
}

static enum nextport_status not_granted(struct np_ledger *l, const struct nextport_lease *lease, int code,
                                        struct nextport_error *err)
{
    if (code != SQLITE_CONSTRAINT_UNIQUE)
        return failed(l, code, err);
    if (strstr(sqlite3_errmsg(l->db), "owner_key") != NULL)
        return np_fail(err, NEXTPORT_CONFLICT, "this owner has a port \"%s\" already", lease->name);
    return np_fail(err, NEXTPORT_CONFLICT, "port %u is leased already", lease->port);
}

/* "" for nobody. */
static const char *owner_text(struct np_ledger *l, const struct nextport_lease *lease)
{
    struct np_buf b = {.arena = l->arena};
    for (size_t i = 0; i < lease->n_labels; i++)
        np_buf_printf(&b, "%s%s=%s", i > 0 ? "\n" : "", lease->labels[i].key, lease->labels[i].value);
    return b.ptr;
}

static enum nextport_status add(struct np_ledger *l, struct nextport_lease *lease, const char *event,
                                struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, ADD, err);
    if (s == NULL || check_begun(l, err) != NEXTPORT_OK)
        return err->status;
    const int64_t created = lease->created != 0 ? lease->created : l->actor.now;
    const int64_t renewed = lease->renewed != 0 ? lease->renewed : l->actor.now;
    bind_text(s, 1, l->actor.scope);
    sqlite3_bind_int64(s, 2, lease->port);
    bind_text(s, 3, np_protocol_name(lease->protocol));
    bind_or_empty(s, 4, lease->owner_key);
    bind_or_empty(s, 5, owner_text(l, lease));
    bind_or_empty(s, 6, lease->deployment);
    bind_or_empty(s, 7, lease->name);
    bind_text(s, 8, np_state_name(lease->state));
    bind_text(s, 9, lease->holder);
    sqlite3_bind_int64(s, 10, created);
    sqlite3_bind_int64(s, 11, renewed);
    sqlite3_bind_int64(s, 12, lease->expires);
    bind_text(s, 13, lease->process);
    sqlite3_bind_int64(s, 14, lease->looks);
    int code = run(s);
    if (code != SQLITE_OK)
        return not_granted(l, lease, code, err);
    lease->id = sqlite3_last_insert_rowid(l->db);
    lease->created = created;
    lease->renewed = renewed;
    return record(l, RECORD, lease->id, event, NULL, err);
}

/* *ret: in the ledger's own memory. */
static enum nextport_status read_as_json(struct np_ledger *l, int64_t id, const char **ret, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, AS_JSON, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, id);
    int code = sqlite3_step(s);
    *ret = code == SQLITE_ROW ? column(s, 0, l->arena) : NULL;
    sqlite3_reset(s);
    if (code == SQLITE_DONE)
        return no_such(id, err);
    return code == SQLITE_ROW ? NEXTPORT_OK : failed(l, code, err);
}

static enum nextport_status update(struct np_ledger *l, const struct nextport_lease *lease, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, SAVE, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, lease->id);
    sqlite3_bind_int64(s, 2, lease->port);
    bind_text(s, 3, np_protocol_name(lease->protocol));
    bind_text(s, 4, np_state_name(lease->state));
    bind_text(s, 5, lease->holder);
    sqlite3_bind_int64(s, 6, lease->renewed);
    sqlite3_bind_int64(s, 7, lease->expires);
    bind_text(s, 8, lease->process);
    sqlite3_bind_int64(s, 9, lease->looks);
    int code = run(s);
    if (code != SQLITE_OK)
        return not_granted(l, lease, code, err);
    return sqlite3_changes(l->db) == 1 ? NEXTPORT_OK : no_such(lease->id, err);
}

static enum nextport_status save(struct np_ledger *l, const struct nextport_lease *lease, const char *event,
                                 struct nextport_error *err)
{
    const char *before = NULL;
    enum nextport_status st = check_begun(l, err);
    if (st == NEXTPORT_OK && event != NULL)
        st = read_as_json(l, lease->id, &before, err);
    if (st == NEXTPORT_OK)
        st = update(l, lease, err);
    return st == NEXTPORT_OK && event != NULL ? record(l, RECORD, lease->id, event, before, err) : st;
}

static enum nextport_status drop(struct np_ledger *l, const struct nextport_lease *lease, const char *event,
                                 struct nextport_error *err)
{
    if (check_begun(l, err) != NEXTPORT_OK || record(l, RECORD_END, lease->id, event, NULL, err) != NEXTPORT_OK)
        return err->status;
    sqlite3_stmt *s = prepared(l, DROP, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, lease->id);
    int code = run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
}

/* ---- Notes --------------------------------------------------------------------------------------------------- */

static enum nextport_status read_note(struct np_ledger *l, struct look *look, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, RECALL, err);
    if (s == NULL)
        return err->status;
    bind_text(s, 1, look->key);
    int code = sqlite3_step(s);
    *look->note = code == SQLITE_ROW ? column(s, 0, look->arena) : NULL;
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? NEXTPORT_OK : failed(l, code, err);
}

static enum nextport_status recall(struct np_ledger *l, const char *key, struct np_arena *a, const char **ret,
                                   struct nextport_error *err)
{
    return look_steadily(l, &(struct look){.at = read_note, .key = key, .arena = a, .note = ret}, err);
}

static enum nextport_status put(struct np_ledger *l, enum which which, const char *key, const char *value,
                                struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, which, err);
    if (s == NULL || check_begun(l, err) != NEXTPORT_OK)
        return err->status;
    bind_text(s, 1, key);
    bind_text(s, 2, value);
    int code = run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
}

static enum nextport_status remember(struct np_ledger *l, const char *key, const char *value,
                                     struct nextport_error *err)
{
    return put(l, REMEMBER, key, value, err);
}

/* ---- History ------------------------------------------------------------------------------------------------- */

static struct nextport_event read_event(sqlite3_stmt *s, struct np_arena *a)
{
    struct np_owner owner = {0};
    const char *text = (const char *)sqlite3_column_text(s, 10);
    if (text != NULL && text[0] != '\0' && !parse_owner(&owner, text, a))
        owner.shown = column(s, 10, a);
    return (struct nextport_event){
        .id = sqlite3_column_int64(s, 0),
        .time = sqlite3_column_int64(s, 1),
        .kind = column(s, 2, a),
        .lease = sqlite3_column_int64(s, 3),
        .port = (uint16_t)sqlite3_column_int64(s, 4),
        .name = column(s, 5, a),
        .user = column(s, 6, a),
        .host = column(s, 7, a),
        .program = column(s, 8, a),
        .request = column(s, 9, a),
        .owner = owner.shown,
        .before = column(s, 11, a),
        .after = column(s, 12, a),
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
static enum nextport_status read_events(struct np_ledger *l, struct look *look, struct nextport_error *err)
{
    const struct np_event_query *query = look->query;
    size_t capacity = 0;
    sqlite3_stmt *s = prepared(l, EVENTS, err);
    if (s == NULL)
        return err->status;
    *look->events = NULL;
    *look->n_events = 0;
    sqlite3_bind_int64(s, 1, query->port);
    sqlite3_bind_int64(s, 2, query->lease);
    bind_text(s, 3, query->name);
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
        return failed(l, code, err);
    turn_round(*look->events, *look->n_events);
    return NEXTPORT_OK;
}

static enum nextport_status events(struct np_ledger *l, const struct np_event_query *query, struct np_arena *a,
                                   struct nextport_event **ret, size_t *ret_n, struct nextport_error *err)
{
    struct look look = {.at = read_events, .query = query, .arena = a, .events = ret, .n_events = ret_n};
    return look_steadily(l, &look, err);
}

/* How far the next `limit` events reach, and how many of them are old. */
static enum nextport_status scan(struct np_ledger *l, int64_t before, unsigned limit, int64_t *ret_last,
                                 int64_t *ret_old, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, SCAN, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, limit);
    sqlite3_bind_int64(s, 2, before);
    int code = sqlite3_step(s);
    *ret_last = sqlite3_column_int64(s, 0);
    *ret_old = sqlite3_column_int64(s, 1);
    sqlite3_reset(s);
    return code == SQLITE_ROW ? NEXTPORT_OK : failed(l, code, err);
}

static enum nextport_status forget_until(struct np_ledger *l, int64_t before, int64_t last, struct nextport_error *err)
{
    if (put(l, SET_META, HORIZON, np_sprintf(l->arena, "%lld", (long long)before), err) != NEXTPORT_OK)
        return err->status;
    sqlite3_stmt *s = prepared(l, FORGET, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, before);
    sqlite3_bind_int64(s, 2, last);
    int code = run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
}

/* Looks at `limit` events, behind those it looked at the last time; where none is old it begins anew. */
static enum nextport_status forget(struct np_ledger *l, int64_t before, unsigned limit, struct nextport_error *err)
{
    int64_t last = 0, old = 0;
    if (check_begun(l, err) != NEXTPORT_OK || scan(l, before, limit, &last, &old, err) != NEXTPORT_OK)
        return err->status;
    if (old > 0 && forget_until(l, before, last, err) != NEXTPORT_OK)
        return err->status;
    return put(l, SET_META, CURSOR, np_sprintf(l->arena, "%lld", old > 0 ? (long long)last : 0), err);
}

/* ---- Health -------------------------------------------------------------------------------------------------- */

/* NULL: sound. */
static const char *find_problem(struct np_ledger *l, struct np_arena *a)
{
    sqlite3_stmt *s = NULL;
    const char *problem = NULL;
    int code = sqlite3_prepare_v2(l->db, "PRAGMA integrity_check(1)", -1, &s, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW)
        problem = column(s, 0, a);
    else
        problem = np_strdup(a, sqlite3_errmsg(l->db));
    sqlite3_finalize(s);
    return problem != NULL && strcmp(problem, "ok") == 0 ? NULL : problem;
}

static enum nextport_status read_health(struct np_ledger *l, struct look *look, struct nextport_error *err)
{
    struct np_ledger_health *h = look->health;
    *h = (struct np_ledger_health){.problem = find_problem(l, look->arena)};
    int64_t schema = 0;
    const struct {
        const char *sql;
        int64_t *to;
    } numbers[] = {
        {"PRAGMA user_version", &schema},
        {"SELECT count(*) FROM lease", &h->n_leases},
        {"SELECT count(*) FROM event", &h->n_events},
        {"SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", &h->bytes},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int code = read_number(l, numbers[i].sql, numbers[i].to);
        if (code != SQLITE_OK && h->problem == NULL)
            return failed(l, code, err);
    }
    h->schema = (int)schema;
    return h->problem == NULL ? read_machine_id(l, look->arena, &h->machine_id, err) : NEXTPORT_OK;
}

static enum nextport_status health(struct np_ledger *l, struct np_arena *a, struct np_ledger_health *ret,
                                   struct nextport_error *err)
{
    return look_steadily(l, &(struct look){.at = read_health, .arena = a, .health = ret}, err);
}

const struct np_ledger_ops np_ledger_sqlite = {
    .scheme = "sqlite",
    .about = "one SQLite file on this machine",
    .create = create,
    .open = open_ledger,
    .leases = leases,
    .ports = ports,
    .owned = owned,
    .find = find,
    .add = add,
    .save = save,
    .drop = drop,
    .recall = recall,
    .remember = remember,
    .events = events,
    .forget = forget,
    .end = end,
    .health = health,
    .rebind = rebind,
    .close = close_ledger,
};
