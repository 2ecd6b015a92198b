/* The ledger in one SQLite file (doc/ledger.md). Every call is on the hot path of a process that lives for two
 * milliseconds: statements are prepared when they are first used, and what can be set without SQL is.
 *
 * Write-ahead log with synchronous=FULL: what COMMIT acknowledged survives a power failure, and readers wait for nobody.
 * A one-shot process is always the first connection, and a first connection reads the whole log to build its index;
 * therefore the log is emptied at WAL_LIMIT pages by the process that fills it. SQLite's own automatic checkpoint would
 * not do: how far it came is kept in that index, so the next process would append and copy everything again.
 *
 * SPDX-License-Identifier: MIT */
#include "ledger/sqlite.h"

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
enum nextport_status np_sql_failed(const struct np_ledger *l, int code, struct nextport_error *err)
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
sqlite3_stmt *np_sql_prepared(struct np_ledger *l, enum np_sql which, struct nextport_error *err)
{
    sqlite3_stmt **s = &l->prepared[which];
    if (*s == NULL) {
        int code = sqlite3_prepare_v2(l->db, np_schema_sql(l->schema, which), -1, s, NULL);
        if (code != SQLITE_OK)
            np_sql_failed(l, code, err);
    }
    return *s;
}

/* NULL is bound as NULL. The text must live until the statement has run. */
void np_sql_bind(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

void np_sql_bind_or_empty(sqlite3_stmt *s, int at, const char *text)
{
    np_sql_bind(s, at, text != NULL ? text : "");
}

/* Runs a statement that yields no row, and makes it ready for its next use. */
int np_sql_run(sqlite3_stmt *s)
{
    int code = sqlite3_step(s);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int np_sql_execute(struct np_ledger *l, const char *sql)
{
    return sqlite3_exec(l->db, sql, NULL, NULL, NULL);
}

/* The first column of the first row as a number. */
int np_sql_number(struct np_ledger *l, const char *sql, int64_t *ret)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(l->db, sql, -1, &s, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW)
        *ret = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* NULL for NULL and for the empty text, which the schema has where the API has no text. */
const char *np_sql_column(sqlite3_stmt *s, int at, struct np_arena *a)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    return text != NULL && text[0] != '\0' ? np_strndup(a, text, (size_t)sqlite3_column_bytes(s, at)) : NULL;
}

/* ---- Opening ------------------------------------------------------------------------------------------------- */

static const char *uri_of(struct np_ledger *l, enum np_reach reach)
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

static enum np_reach reach_now(struct np_ledger *l)
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
        return np_sql_failed(l, code, err);
    if (code != SQLITE_OK || memcmp(h, "SQLite format 3", 16) != 0)
        return unusable("the file is not a ledger", err);
    if (big_endian(h + 68) != APPLICATION_ID)
        return unusable("the file is a database of another program", err);
    l->wal = h[18] == 2;
    return (int32_t)big_endian(h + 60) > NP_SCHEMA ? np_schema_too_new(big_endian(h + 60), err) : NEXTPORT_OK;
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
    np_log_unregister(&l->log_vfs);
}

static enum nextport_status connect_file(struct np_ledger *l, struct nextport_error *err)
{
    const bool write = l->access == NP_LEDGER_WRITE;
    const int flags = write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    const char *vfs = write ? np_log_register(&l->log_vfs, usual_vfs()) : usual_vfs();
    l->reach = reach_now(l);
    int code = sqlite3_open_v2(uri_of(l, l->reach), &l->db,
                               flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, vfs);
    if (code != SQLITE_OK)
        return np_sql_failed(l, sqlite3_extended_errcode(l->db), err);
    configure(l);
    /* SQLite opens what it may not write for reading, without a word. */
    if (l->access == NP_LEDGER_WRITE && sqlite3_db_readonly(l->db, "main") != 0)
        return np_sql_failed(l, SQLITE_READONLY, err);
    enum nextport_status st = check_header(l, err);
    if (st != NEXTPORT_OK || l->reach != ALONE)
        return st;
    code = np_sql_execute(l, "PRAGMA locking_mode=EXCLUSIVE");
    return code == SQLITE_OK ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

static enum nextport_status begin(struct np_ledger *l, struct nextport_error *err)
{
    /* a backup comes back without WAL */
    int code = l->wal ? SQLITE_OK : np_sql_execute(l, "PRAGMA journal_mode=WAL");
    if (code == SQLITE_OK)
        code = np_sql_execute(l, "PRAGMA synchronous=FULL;BEGIN IMMEDIATE");
    return code == SQLITE_OK ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

static void roll_back(struct np_ledger *l)
{
    if (!sqlite3_get_autocommit(l->db))
        np_sql_execute(l, "ROLLBACK");
}

/* Without this a change made after SQLite had rolled back by itself (full disk) would be committed alone. */
enum nextport_status np_sql_check_begun(struct np_ledger *l, struct nextport_error *err)
{
    if (!sqlite3_get_autocommit(l->db))
        return NEXTPORT_OK;
    return np_fail(err, NEXTPORT_FAILED, "no transaction was begun");
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
    enum nextport_status st = np_sql_failed(l, code, err);
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
    int code = np_sql_execute(l, "COMMIT");
    if (code != SQLITE_OK)
        return not_committed(l, code, err);
    if (l->wal_pages >= WAL_LIMIT)
        empty_log(l);
    return NEXTPORT_OK;
}

/* *ret: NULL when none is known. */
static enum nextport_status read_machine_id(struct np_ledger *l, struct np_arena *a, const char **ret,
                                            struct nextport_error *err)
{
    *ret = NULL;
    sqlite3_stmt *s = np_sql_prepared(l, MACHINE_ID, err);
    if (s == NULL)
        return err->status;
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW)
        *ret = np_sql_column(s, 0, a);
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

static enum nextport_status check_machine(struct np_ledger *l, struct nextport_error *err)
{
    const char *id;
    enum nextport_status st = read_machine_id(l, l->arena, &id, err);
    if (st != NEXTPORT_OK || id == NULL || (l->actor.machine_id != NULL && strcmp(id, l->actor.machine_id) == 0))
        return st;
    if (l->actor.machine_id == NULL) { /* a container, say, that sees a ledger and not the sockets of its machine */
        np_fail(err, NEXTPORT_LEDGER, "it belongs to the machine with the id %s, and this system has no id", id);
        np_hint(err, "Run nextport on that machine itself; an id is made by 'systemd-machine-id-setup'.");
        return NEXTPORT_LEDGER;
    }
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
        st = np_schema_check(l, err);
    if (st == NEXTPORT_OK)
        st = check_machine(l, err);
    return st;
}

static bool was_disturbed(struct np_ledger *l)
{
    return l->reach != SHARED && reach_now(l) != l->reach;
}

enum nextport_status np_sql_steadily(struct np_ledger *l, struct np_sql_look *look, struct nextport_error *err)
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
    enum nextport_status st = np_sql_steadily(l, &(struct np_sql_look){0}, err);
    if (st == NEXTPORT_OK)
        *ret = l;
    else
        close_ledger(l);
    return st;
}

/* ---- Making one ---------------------------------------------------------------------------------------------- */

static enum nextport_status set_machine_id(struct np_ledger *l, struct nextport_error *err)
{
    sqlite3_stmt *s = l->actor.machine_id != NULL ? np_sql_prepared(l, REBIND, err) : NULL;
    if (s == NULL)
        return l->actor.machine_id != NULL ? err->status : NEXTPORT_OK;
    np_sql_bind(s, 1, l->actor.machine_id);
    int code = np_sql_run(s);
    return code == SQLITE_OK ? NEXTPORT_OK : np_sql_failed(l, code, err);
}

static enum nextport_status fill(struct np_ledger *l, struct nextport_error *err)
{
    enum nextport_status st = np_schema_make(l, 0, err);
    if (st == NEXTPORT_OK)
        st = set_machine_id(l, err);
    return st == NEXTPORT_OK ? np_history_of_ledger(l, "created", "machine-id", NULL, l->actor.machine_id, err) : st;
}

static enum nextport_status make(struct np_ledger *l, struct nextport_error *err)
{
    int code = sqlite3_open_v2(uri_of(l, SHARED), &l->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
                               usual_vfs());
    if (code != SQLITE_OK)
        return np_sql_failed(l, code, err);
    configure(l);
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA page_size=" PAGE_SIZE ";PRAGMA application_id=%d", APPLICATION_ID);
    code = np_sql_execute(l, pragmas);
    if (code != SQLITE_OK)
        return np_sql_failed(l, code, err);
    enum nextport_status st = begin(l, err);
    if (st == NEXTPORT_OK)
        st = fill(l, err);
    if (st == NEXTPORT_OK)
        st = end(l, true, err);
    if (st != NEXTPORT_OK)
        return st;
    code = sqlite3_wal_checkpoint_v2(l->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (code != SQLITE_OK)
        return np_sql_failed(l, code, err);
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
    return np_history_of_ledger(l, "rebound", "machine-id", before, l->actor.machine_id, err);
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
        st = np_schema_check(l, err);
    if (st == NEXTPORT_OK)
        st = rebind_within(l, err);
    if (st == NEXTPORT_OK)
        st = end(l, true, err);
    close_ledger(l);
    return st;
}

/* ---- Health -------------------------------------------------------------------------------------------------- */

/* NULL: sound. */
static const char *find_problem(struct np_ledger *l, struct np_arena *a)
{
    sqlite3_stmt *s = NULL;
    const char *problem = NULL;
    int code = sqlite3_prepare_v2(l->db, "PRAGMA integrity_check(1)", -1, &s, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW)
        problem = np_sql_column(s, 0, a);
    else
        problem = np_strdup(a, sqlite3_errmsg(l->db));
    sqlite3_finalize(s);
    return problem != NULL && strcmp(problem, "ok") == 0 ? NULL : problem;
}

static enum nextport_status read_health(struct np_ledger *l, struct np_sql_look *look, struct nextport_error *err)
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
        int code = np_sql_number(l, numbers[i].sql, numbers[i].to);
        if (code != SQLITE_OK && h->problem == NULL)
            return np_sql_failed(l, code, err);
    }
    h->schema = (int)schema;
    sqlite3_stmt *s = np_sql_prepared(l, ELSEWHERE, err);
    if (s == NULL)
        return h->problem == NULL ? err->status : NEXTPORT_OK;
    np_sql_bind(s, 1, l->actor.scope);
    if (sqlite3_step(s) == SQLITE_ROW)
        h->n_elsewhere = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    return h->problem == NULL ? read_machine_id(l, look->arena, &h->machine_id, err) : NEXTPORT_OK;
}

static enum nextport_status health(struct np_ledger *l, struct np_arena *a, struct np_ledger_health *ret,
                                   struct nextport_error *err)
{
    return np_sql_steadily(l, &(struct np_sql_look){.at = read_health, .arena = a, .health = ret}, err);
}

const struct np_ledger_ops np_ledger_sqlite = {
    .scheme = "sqlite",
    .about = "one SQLite file on this machine",
    .create = create,
    .open = open_ledger,
    .leases = np_rows_leases,
    .ports = np_rows_ports,
    .owned = np_rows_owned,
    .find = np_rows_find,
    .add = np_rows_add,
    .save = np_rows_save,
    .drop = np_rows_drop,
    .because = np_history_because,
    .recall = np_history_recall,
    .remember = np_history_remember,
    .scopes = np_rows_scopes,
    .events = np_history_events,
    .forget = np_history_forget,
    .end = end,
    .health = health,
    .rebind = rebind,
    .close = close_ledger,
};
