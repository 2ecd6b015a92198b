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
#include "host/host.h"

#define APPLICATION_ID 0x4e585054 /* "NXPT" */
#define PAGE_SIZE "4096"
#define WAL_LIMIT 64
#define BUSY_MS 3000 /* writers wait here for other tools only: our own processes queue at the lock */
#define N_READ_TRIES 100

/* A lease as the history keeps it: as it is after a grant or a confirmation, as it was before its end. */
#define LEASE_AS_JSON                                                                                                  \
    "json_object('protocol', protocol, 'owner', owner_key, 'deployment', deployment, 'state', state,"                  \
    " 'holder', holder, 'created', created, 'expires', expires, 'rev', rev)"

#define LEASE_COLUMNS "id, port, protocol, name, owner_key, deployment, state, holder, created, expires"

enum which { LEASES, PORTS, SOME, FIND, ADD, SAVE, DROP, RECORD, MACHINE_ID, REBIND, RECORD_META, N_STATEMENTS };

static const char *const statements[N_STATEMENTS] = {
    [LEASES] = "SELECT " LEASE_COLUMNS " FROM lease WHERE host = 'local' AND scope = ?1 ORDER BY port"
               " LIMIT ?2",
    [PORTS] = "SELECT port FROM lease WHERE host = 'local' AND scope = ?1 AND port > ?2",
    [SOME] = "SELECT port FROM lease WHERE state = 'pending' AND scope = ?1 AND expires <= ?2",
    [FIND] = "SELECT " LEASE_COLUMNS " FROM lease WHERE host = 'local' AND scope = ?1 AND port = ?2",
    [ADD] = "INSERT INTO lease(host, scope, port, protocol, owner_key, deployment, name, ordinal, state, created,"
            " renewed, expires, rev) VALUES ('local', ?1, ?2, ?3, ?4, ?5, ?6, 0, 'pending', ?7, ?7, ?8, 1)",
    [SAVE] = "UPDATE lease SET state = ?4, holder = ?2, renewed = ?3, expires = ?5, rev = rev + 1"
             " WHERE id = ?1",
    [DROP] = "DELETE FROM lease WHERE id = ?1",
    [RECORD] = "INSERT INTO event(time, kind, lease, port, name, user, host, detail)"
               " SELECT ?2, ?3, id, port, name, ?4, ?5, " LEASE_AS_JSON " FROM lease WHERE id = ?1",
    [MACHINE_ID] = "SELECT value FROM meta WHERE key = 'machine-id'",
    [REBIND] = "INSERT OR REPLACE INTO meta(key, value) VALUES ('machine-id', ?1)",
    [RECORD_META] = "INSERT INTO event(time, kind, user, host, detail) VALUES (?1, ?2, ?3, ?4,"
                    " json_object('machine-id', ?5, 'before', ?6))",
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
};

#define N_MIGRATIONS (sizeof migrations / sizeof migrations[0])
#define SCHEMA (migrations[N_MIGRATIONS - 1].version)

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

struct np_ledger {
    sqlite3 *db;
    sqlite3_stmt *prepared[N_STATEMENTS];
    struct np_arena *arena; /* path and actor */
    const char *path;       /* as SQLite must be told it */
    struct np_actor actor;
    enum np_access access;
    enum reach reach;
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
        int code = sqlite3_prepare_v2(l->db, statements[which], -1, s, NULL);
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

static enum nextport_status check_schema(struct np_ledger *l, struct nextport_error *err)
{
    int64_t schema = 0;
    int code = read_number(l, "PRAGMA user_version", &schema);
    if (code != SQLITE_OK)
        return failed(l, code, err);
    if (schema == SCHEMA)
        return NEXTPORT_OK;
    if (schema > SCHEMA)
        return too_new(schema, err);
    if (l->access == NP_LEDGER_WRITE)
        return migrate(l, schema, err);
    np_fail(err, NEXTPORT_LEDGER, "schema %lld is older than %d", (long long)schema, SCHEMA);
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
    struct np_leases *leases;
    struct np_arena *arena;
    struct np_ledger_health *health;
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

/* An event of the ledger itself: whose it became, and whose it was. */
static enum nextport_status record_meta(struct np_ledger *l, const char *kind, const char *before,
                                        struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, RECORD_META, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, l->actor.now);
    bind_text(s, 2, kind);
    bind_or_empty(s, 3, l->actor.user);
    bind_or_empty(s, 4, l->actor.host);
    bind_text(s, 5, l->actor.machine_id);
    bind_text(s, 6, before);
    int code = run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
}

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
    return st == NEXTPORT_OK ? record_meta(l, "created", NULL, err) : st;
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
    return record_meta(l, "rebound", before, err);
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
    static const enum nextport_lease_state states[] = {NEXTPORT_PENDING, NEXTPORT_CONFIRMED};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (text != NULL && strcmp(text, np_state_name(states[i])) == 0) {
            *ret = states[i];
            return true;
        }
    }
    return false;
}

/* Most leases have the same name and no owner: equal neighbours share one copy. */
static const char *shared_column(sqlite3_stmt *s, int at, struct np_arena *a, const char *last)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    return text != NULL && last != NULL && strcmp(text, last) == 0 ? last : column(s, at, a);
}

/* false: a value that this schema cannot hold. `last` is the lease read before. */
static bool read_lease(sqlite3_stmt *s, struct np_arena *a, const struct nextport_lease *last,
                       struct nextport_lease *ret)
{
    const int64_t port = sqlite3_column_int64(s, 1);
    const char *protocol = (const char *)sqlite3_column_text(s, 2);
    *ret = (struct nextport_lease){
        .id = sqlite3_column_int64(s, 0),
        .port = (uint16_t)port,
        .name = shared_column(s, 3, a, last->name),
        .owner = shared_column(s, 4, a, last->owner),
        .deployment = shared_column(s, 5, a, last->deployment),
        .holder = shared_column(s, 7, a, last->holder),
        .created = sqlite3_column_int64(s, 8),
        .expires = sqlite3_column_int64(s, 9),
    };
    return port >= 1 && port <= 65535 && protocol != NULL && np_protocol_parse(np_text_of(protocol), &ret->protocol) &&
           parse_state((const char *)sqlite3_column_text(s, 6), &ret->state);
}

static enum nextport_status unknown_value(sqlite3_stmt *s, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "lease %lld has a value that schema %d does not know",
            (long long)sqlite3_column_int64(s, 0), SCHEMA);
    sqlite3_reset(s);
    return NEXTPORT_LEDGER;
}

/* The ports of one column, from where the statement stands to its end. */
static enum nextport_status read_ports(struct np_ledger *l, sqlite3_stmt *s, struct np_portset *to,
                                       struct nextport_error *err)
{
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        const int64_t port = sqlite3_column_int64(s, 0);
        if (port < 1 || port > 65535) {
            sqlite3_reset(s);
            return np_fail(err, NEXTPORT_LEDGER, "a lease has a port that cannot be");
        }
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
    return read_ports(l, s, &to->taken, err);
}

static enum nextport_status read_leases(struct np_ledger *l, struct look *look, struct nextport_error *err)
{
    struct np_leases *to = look->leases;
    struct nextport_lease lease = {0};
    sqlite3_stmt *s = prepared(l, LEASES, err);
    if (s == NULL)
        return err->status;
    bind_text(s, 1, look->scope);
    sqlite3_bind_int64(s, 2, look->limit < INT64_MAX ? (int64_t)look->limit : -1);
    to->n = 0;
    to->taken = (struct np_portset){{0}};
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        const struct nextport_lease last = lease;
        if (!read_lease(s, to->arena, &last, &lease))
            return unknown_value(s, err);
        *(struct nextport_lease *)np_push(to->arena, &to->items, &to->n, &to->capacity, sizeof lease) = lease;
        np_portset_add(&to->taken, lease.port, lease.port);
    }
    sqlite3_reset(s);
    if (code != SQLITE_DONE)
        return failed(l, code, err);
    return to->n < look->limit ? NEXTPORT_OK : read_rest(l, look, err);
}

static enum nextport_status leases(struct np_ledger *l, const char *scope, size_t limit, struct np_leases *ret,
                                   struct nextport_error *err)
{
    return look_steadily(l, &(struct look){.at = read_leases, .scope = scope, .limit = limit, .leases = ret}, err);
}

static enum nextport_status ports(struct np_ledger *l, const char *scope, const struct np_which *which,
                                  struct np_portset *ret, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, SOME, err);
    if (s == NULL)
        return err->status;
    bind_text(s, 1, scope);
    sqlite3_bind_int64(s, 2, which->until);
    *ret = (struct np_portset){{0}};
    return read_ports(l, s, ret, err);
}

static enum nextport_status find(struct np_ledger *l, const char *scope, uint16_t port, struct np_arena *a,
                                 struct nextport_lease *ret, bool *ret_found, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, FIND, err);
    if (s == NULL)
        return err->status;
    bind_text(s, 1, scope);
    sqlite3_bind_int64(s, 2, port);
    int code = sqlite3_step(s);
    *ret_found = code == SQLITE_ROW;
    if (*ret_found && !read_lease(s, a, &(struct nextport_lease){0}, ret))
        return unknown_value(s, err);
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? NEXTPORT_OK : failed(l, code, err);
}

/* Without this a change made after SQLite had rolled back by itself (full disk) would be committed alone. */
static enum nextport_status check_begun(struct np_ledger *l, struct nextport_error *err)
{
    if (!sqlite3_get_autocommit(l->db))
        return NEXTPORT_OK;
    return np_fail(err, NEXTPORT_FAILED, "no transaction was begun");
}

/* Adds the lease, as it is, to the history. NEXTPORT_CONFLICT: there is no such lease. */
static enum nextport_status record(struct np_ledger *l, int64_t id, const char *event, struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, RECORD, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, l->actor.now);
    bind_text(s, 3, event);
    bind_or_empty(s, 4, l->actor.user);
    bind_or_empty(s, 5, l->actor.host);
    int code = run(s);
    if (code != SQLITE_OK)
        return failed(l, code, err);
    if (sqlite3_changes(l->db) == 1)
        return NEXTPORT_OK;
    return np_fail(err, NEXTPORT_CONFLICT, "there is no lease %lld", (long long)id);
}

static enum nextport_status not_granted(struct np_ledger *l, const struct nextport_lease *lease, int code,
                                        struct nextport_error *err)
{
    if (code != SQLITE_CONSTRAINT_UNIQUE)
        return failed(l, code, err);
    if (strstr(sqlite3_errmsg(l->db), "owner_key") != NULL)
        return np_fail(err, NEXTPORT_CONFLICT, "\"%s\" of this owner has a port already", lease->name);
    return np_fail(err, NEXTPORT_CONFLICT, "port %u is leased already", lease->port);
}

static enum nextport_status add(struct np_ledger *l, struct nextport_lease *lease, const char *event,
                                struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, ADD, err);
    if (s == NULL || check_begun(l, err) != NEXTPORT_OK)
        return err->status;
    bind_text(s, 1, l->actor.scope);
    sqlite3_bind_int64(s, 2, lease->port);
    bind_text(s, 3, np_protocol_name(lease->protocol));
    bind_or_empty(s, 4, lease->owner);
    bind_or_empty(s, 5, lease->deployment);
    bind_or_empty(s, 6, lease->name);
    sqlite3_bind_int64(s, 7, l->actor.now);
    sqlite3_bind_int64(s, 8, lease->expires);
    int code = run(s);
    if (code != SQLITE_OK)
        return not_granted(l, lease, code, err);
    lease->id = sqlite3_last_insert_rowid(l->db);
    lease->state = NEXTPORT_PENDING;
    lease->created = l->actor.now;
    return record(l, lease->id, event, err);
}

static enum nextport_status save(struct np_ledger *l, const struct nextport_lease *lease, const char *event,
                                 struct nextport_error *err)
{
    sqlite3_stmt *s = prepared(l, SAVE, err);
    if (s == NULL || check_begun(l, err) != NEXTPORT_OK)
        return err->status;
    sqlite3_bind_int64(s, 1, lease->id);
    bind_text(s, 2, lease->holder);
    sqlite3_bind_int64(s, 3, l->actor.now);
    bind_text(s, 4, np_state_name(lease->state));
    sqlite3_bind_int64(s, 5, lease->expires);
    int code = run(s);
    return code == SQLITE_OK ? record(l, lease->id, event, err) : failed(l, code, err);
}

static enum nextport_status drop(struct np_ledger *l, const struct nextport_lease *lease, const char *event,
                                 struct nextport_error *err)
{
    if (check_begun(l, err) != NEXTPORT_OK || record(l, lease->id, event, err) != NEXTPORT_OK)
        return err->status;
    sqlite3_stmt *s = prepared(l, DROP, err);
    if (s == NULL)
        return err->status;
    sqlite3_bind_int64(s, 1, lease->id);
    int code = run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : failed(l, code, err);
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
    .find = find,
    .add = add,
    .save = save,
    .drop = drop,
    .end = end,
    .health = health,
    .rebind = rebind,
    .close = close_ledger,
};
