/* The ledger's promises: rows and history, what damage and strangers do to it, what survives a crash, and that a reader
 * leaves no trace. Each test has a folder of its own.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/host.h"
#include "ledger/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define OPS np_ledger_sqlite

static const struct np_actor actor = {
    .host = "here", .scope = "", .user = "tester", .machine_id = "0123456789abcdef", .now = 1700000000};

static char folder[PATH_MAX], path[PATH_MAX];
static struct nextport_error err;

/* ---- Fixture ------------------------------------------------------------------------------------------------- */

static int make_folder(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/nextport-ledger-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(folder) == NULL)
        return -1;
    /* A name in which everything that a URI would take for its own is only a name. */
    snprintf(path, sizeof path, "%.4000s/a%%41?mode=memory#x.db", folder);
    err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    return 0;
}

static int remove_entry(const char *file, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(file);
}

static int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        if ((call) != NEXTPORT_OK)                                                                                     \
            fail_msg("%s: %d %s (%s)", #call, err.status, err.text, err.hint);                                         \
    } while (0)

static const char *beside(const char *suffix)
{
    static char name[PATH_MAX + 16];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return name;
}

static bool exists(const char *file)
{
    struct stat st;
    return lstat(file, &st) == 0;
}

static void create(void)
{
    assert_ok(OPS.create(path, &actor, &err));
}

static struct np_ledger *open_as(enum np_access access)
{
    struct np_ledger *l = NULL;
    assert_ok(OPS.open(&l, path, access, &actor, &err));
    return l;
}

static struct np_ledger *begun(void)
{
    return open_as(NP_LEDGER_WRITE);
}

static void commit(struct np_ledger *l)
{
    assert_ok(OPS.end(l, true, &err));
    OPS.close(l);
}

static enum nextport_status grant(struct np_ledger *l, uint16_t port, int64_t *ret_id)
{
    struct nextport_lease lease = {.port = port, .protocol = NEXTPORT_TCP, .name = "Port", .expires = 1700086400};
    enum nextport_status st = OPS.grant(l, &lease, &err);
    if (ret_id != NULL)
        *ret_id = lease.id;
    return st;
}

static int64_t grant_one(uint16_t port)
{
    int64_t id = 0;
    struct np_ledger *l = begun();
    assert_ok(grant(l, port, &id));
    commit(l);
    return id;
}

static size_t count(struct np_ledger *l)
{
    struct np_arena *a = np_arena_new();
    struct np_leases leases = {.arena = a};
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    size_t n = leases.n;
    np_arena_free(a);
    return n;
}

/* What another tool does to the file. */
static int sql(const char *statement)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
    int code = sqlite3_exec(db, statement, NULL, NULL, NULL);
    sqlite3_close(db);
    return code;
}

static void write_bytes(const char *file, long at, const char *bytes, size_t n)
{
    FILE *f = fopen(file, at < 0 ? "wb" : "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at < 0 ? 0 : at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Every byte of a file, to see that nothing touched it. */
static uint64_t fingerprint(const char *file)
{
    uint64_t hash = 14695981039346656037u;
    FILE *f = fopen(file, "rb");
    assert_non_null(f);
    for (int c; (c = getc(f)) != EOF;)
        hash = (hash ^ (uint64_t)c) * 1099511628211u;
    fclose(f);
    return hash;
}

static void assert_refused(enum np_access access, enum nextport_status status, const char *text)
{
    struct np_ledger *l = NULL;
    const uint64_t before = fingerprint(path);
    assert_int_equal(OPS.open(&l, path, access, &actor, &err), status);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
    assert_true(err.hint[0] != '\0');
    assert_true(fingerprint(path) == before);
}

static void assert_refused_always(const char *text)
{
    assert_refused(NP_LEDGER_READ, NEXTPORT_LEDGER, text);
    assert_refused(NP_LEDGER_WRITE, NEXTPORT_LEDGER, text);
}

/* ---- Rows and history ---------------------------------------------------------------------------------------- */

static void a_lease_comes_back_as_it_was_given(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    struct nextport_lease given = {.port = 49001,
                                   .protocol = NEXTPORT_BOTH,
                                   .name = "Shop'; DROP TABLE lease; --",
                                   .owner = "shop/QA",
                                   .deployment = "Deployments-7",
                                   .expires = 1700604800};
    assert_ok(OPS.grant(l, &given, &err));
    assert_true(given.id > 0);
    assert_int_equal(given.created, actor.now);
    assert_ok(grant(l, 49000, NULL));
    commit(l);

    struct np_arena *a = np_arena_new();
    struct np_leases leases = {.arena = a};
    l = open_as(NP_LEDGER_READ);
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    assert_int_equal(leases.n, 2);
    assert_int_equal(leases.items[0].port, 49000);
    assert_null(leases.items[0].owner);
    assert_null(leases.items[0].deployment);
    assert_null(leases.items[0].holder);
    const struct nextport_lease *got = &leases.items[1];
    assert_int_equal(got->id, given.id);
    assert_int_equal(got->port, 49001);
    assert_int_equal(got->protocol, NEXTPORT_BOTH);
    assert_int_equal(got->state, NEXTPORT_PENDING);
    assert_string_equal(got->name, given.name);
    assert_string_equal(got->owner, given.owner);
    assert_string_equal(got->deployment, given.deployment);
    assert_int_equal(got->created, actor.now);
    assert_int_equal(got->expires, given.expires);
    OPS.close(l);
    np_arena_free(a);
}

static void a_confirmed_lease_has_a_holder_and_no_end(void **state)
{
    (void)state;
    create();
    const struct nextport_lease lease = {.id = grant_one(49000), .port = 49000};
    struct np_ledger *l = begun();
    assert_ok(OPS.confirm(l, &lease, "Default Web Site", &err));
    commit(l);
    struct np_arena *a = np_arena_new();
    struct np_leases leases = {.arena = a};
    l = open_as(NP_LEDGER_READ);
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    assert_int_equal(leases.items[0].state, NEXTPORT_CONFIRMED);
    assert_string_equal(leases.items[0].holder, "Default Web Site");
    assert_int_equal(leases.items[0].expires, 0);
    OPS.close(l);
    np_arena_free(a);
}

static void a_port_is_leased_once(void **state)
{
    (void)state;
    create();
    grant_one(49000);
    struct np_ledger *l = begun();
    assert_int_equal(grant(l, 49000, NULL), NEXTPORT_CONFLICT);
    assert_string_equal(err.text, "port 49000 is leased already");
    assert_ok(grant(l, 49001, NULL));
    commit(l);
}

static void an_owner_has_one_port_for_a_name(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    struct nextport_lease lease = {.port = 49000, .protocol = NEXTPORT_TCP, .name = "Port", .owner = "shop"};
    assert_ok(OPS.grant(l, &lease, &err));
    lease.port = 49001;
    assert_int_equal(OPS.grant(l, &lease, &err), NEXTPORT_CONFLICT);
    assert_string_equal(err.text, "\"Port\" of this owner has a port already");
    OPS.close(l);
}

static void each_scope_has_its_own_ports(void **state)
{
    (void)state;
    create();
    grant_one(49000);
    struct np_actor other = actor;
    other.scope = "net:1:2";
    struct np_ledger *l = NULL;
    assert_ok(OPS.open(&l, path, NP_LEDGER_WRITE, &other, &err));
    assert_ok(grant(l, 49000, NULL));
    assert_int_equal(count(l), 1);
    commit(l);
}

static void an_id_is_never_given_twice(void **state)
{
    (void)state;
    create();
    const struct nextport_lease lease = {.id = grant_one(49000), .port = 49000};
    struct np_ledger *l = begun();
    assert_ok(OPS.drop(l, &lease, "withdrawn", &err));
    commit(l);
    assert_true(grant_one(49000) > lease.id);
}

static void what_is_not_there_cannot_be_changed(void **state)
{
    (void)state;
    create();
    const struct nextport_lease lease = {.id = 7, .port = 49000};
    struct np_ledger *l = begun();
    assert_int_equal(OPS.drop(l, &lease, "released", &err), NEXTPORT_CONFLICT);
    assert_int_equal(OPS.confirm(l, &lease, NULL, &err), NEXTPORT_CONFLICT);
    OPS.close(l);
}

static void nothing_is_written_outside_a_transaction(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    assert_ok(OPS.end(l, false, &err));
    assert_int_equal(grant(l, 49000, NULL), NEXTPORT_FAILED);
    assert_int_equal(count(l), 0);
    OPS.close(l);
}

static void what_was_not_committed_is_gone(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    assert_ok(grant(l, 49000, NULL));
    assert_ok(OPS.end(l, false, &err));
    OPS.close(l);
    l = begun();
    assert_ok(grant(l, 49001, NULL));
    OPS.close(l);
    l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 0);
    OPS.close(l);
}

static void every_change_leaves_an_event_that_cannot_be_changed(void **state)
{
    (void)state;
    create();
    const struct nextport_lease lease = {.id = grant_one(49000), .port = 49000};
    struct np_ledger *l = begun();
    assert_ok(OPS.confirm(l, &lease, "nginx", &err));
    assert_ok(OPS.drop(l, &lease, "released", &err));
    commit(l);
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT group_concat(kind || ' ' || ifnull(port, '') || ' ' ||"
                                        " ifnull(detail ->> 'holder', ''), ', ') FROM event",
                                        -1, &s, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(s, 0),
                        "created  , granted 49000 , confirmed 49000 nginx, released 49000 nginx");
    sqlite3_finalize(s);
    sqlite3_close(db);
    assert_int_equal(sql("UPDATE event SET user = 'someone else'"), SQLITE_CONSTRAINT);
    assert_int_equal(sql("DELETE FROM event"), SQLITE_CONSTRAINT);
}

static void leases_of_the_whole_range_are_read_in_order(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    for (unsigned port = 65535; port >= 49000; port--)
        assert_ok(grant(l, (uint16_t)port, NULL));
    commit(l);
    struct np_arena *a = np_arena_new();
    struct np_leases leases = {.arena = a};
    l = open_as(NP_LEDGER_READ);
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    assert_int_equal(leases.n, 65536 - 49000);
    for (size_t i = 0; i < leases.n; i++)
        assert_int_equal(leases.items[i].port, 49000 + i);
    OPS.close(l);
    np_arena_free(a);
}

static void of_many_leases_the_lowest_are_read_whole_and_all_are_known(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    for (uint16_t port = 100; port > 0; port--)
        assert_ok(grant(l, (uint16_t)(port * 2), NULL));
    struct np_leases leases = {.arena = np_arena_new()};
    static const size_t limits[] = {0, 1, 99, 100, 101, SIZE_MAX};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        assert_ok(OPS.leases(l, "", limits[i], &leases, &err));
        assert_int_equal(leases.n, limits[i] < 100 ? limits[i] : 100);
        assert_int_equal(np_portset_count(&leases.taken), 100);
        assert_true(np_portset_has(&leases.taken, 200) && !np_portset_has(&leases.taken, 199));
        if (leases.n > 0)
            assert_int_equal(leases.items[leases.n - 1].port, 2 * leases.n);
    }
    OPS.close(l);
    np_arena_free(leases.arena);
}

/* Granted to expire at 10 x its port. */
static void pending_leases_are_found_by_their_end(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    struct np_arena *a = np_arena_new();
    struct nextport_lease lease = {.protocol = NEXTPORT_TCP, .name = "Port"};
    for (lease.port = 1; lease.port <= 5; lease.port++) {
        lease.expires = 10 * lease.port;
        assert_ok(OPS.grant(l, &lease, &err));
    }
    bool found;
    assert_ok(OPS.find(l, "", 2, a, &lease, &found, &err));
    assert_true(found && lease.port == 2 && lease.expires == 20);
    assert_ok(OPS.confirm(l, &lease, NULL, &err));
    assert_ok(OPS.find(l, "", 6, a, &lease, &found, &err));
    assert_false(found);
    assert_ok(OPS.find(l, "net:1:2", 1, a, &lease, &found, &err));
    assert_false(found);
    struct np_portset ports;
    static const struct {
        int64_t until;
        unsigned n;
    } rows[] = {{9, 0}, {10, 1}, {30, 2}, {INT64_MAX, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_ok(OPS.pending(l, "", rows[i].until, &ports, &err));
        assert_int_equal(np_portset_count(&ports), rows[i].n);
        assert_false(np_portset_has(&ports, 2));
    }
    OPS.close(l);
    np_arena_free(a);
}

/* ---- The file ------------------------------------------------------------------------------------------------ */

static void a_new_ledger_is_one_file_and_replaces_none(void **state)
{
    (void)state;
    create();
    assert_true(exists(path));
    assert_false(exists(beside("-wal")) || exists(beside("-shm")) || exists(beside("-journal")));
    const uint64_t before = fingerprint(path);
    assert_int_equal(OPS.create(path, &actor, &err), NEXTPORT_CONFLICT);
    assert_true(fingerprint(path) == before);
}

static void a_reader_creates_nothing(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 0);
    OPS.close(l);
    assert_false(exists(beside("-wal")) || exists(beside("-shm")));
    grant_one(49000);
    /* as a backup of the two files would leave it */
    assert_int_equal(unlink(beside("-shm")), 0);
    const uint64_t before[] = {fingerprint(path), fingerprint(beside("-wal"))};
    l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 1);
    struct np_ledger_health health;
    struct np_arena *a = np_arena_new();
    assert_ok(OPS.health(l, a, &health, &err));
    np_arena_free(a);
    OPS.close(l);
    assert_false(exists(beside("-shm")));
    assert_true(fingerprint(path) == before[0] && fingerprint(beside("-wal")) == before[1]);
}

static void a_reader_sees_what_was_committed_meanwhile(void **state)
{
    (void)state;
    create();
    struct np_ledger *reader = open_as(NP_LEDGER_READ);
    assert_int_equal(count(reader), 0);
    grant_one(49000);
    assert_int_equal(count(reader), 1);
    struct np_ledger *writer = begun();
    assert_ok(grant(writer, 49001, NULL));
    assert_int_equal(count(reader), 1);
    commit(writer);
    assert_int_equal(count(reader), 2);
    OPS.close(reader);
}

static void a_reader_may_not_write(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_int_equal(grant(l, 49000, NULL), NEXTPORT_FAILED);
    OPS.close(l);
}

/* What an unprivileged reader finds: the number of leases, or -1. */
static int count_as_nobody(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct np_ledger *l = NULL;
        struct np_leases leases = {.arena = np_arena_new()};
        if (setgid(65534) != 0 || setuid(65534) != 0 ||
            OPS.open(&l, path, NP_LEDGER_READ, &actor, &err) != NEXTPORT_OK ||
            OPS.leases(l, "", SIZE_MAX, &leases, &err) != NEXTPORT_OK)
            _exit(255);
        OPS.close(l);
        _exit(OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err) == NEXTPORT_DENIED ? (int)leases.n : 254);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* An unprivileged reader gets no lock on -shm and no new file. */
static void anyone_may_read_the_ledger_of_root(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    create();
    assert_int_equal(chmod(folder, 0755) | chmod(path, 0644), 0);
    assert_int_equal(count_as_nobody(), 0);
    grant_one(49000);
    assert_int_equal(count_as_nobody(), 1);
}

/* Another program that has the ledger open and read it. */
static sqlite3 *open_shell(void)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_exec(db, "SELECT count(*) FROM lease", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void an_open_shell_keeps_nobody_from_a_port(void **state)
{
    (void)state;
    create();
    sqlite3 *db = open_shell();
    grant_one(49000);
    assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT count(*) FROM lease", NULL, NULL, NULL), SQLITE_OK);
    grant_one(49001);
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 2);
    OPS.close(l);
    sqlite3_close(db);
    grant_one(49002);
    l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 3);
    OPS.close(l);
}

static void an_index_left_behind_misleads_nobody(void **state)
{
    (void)state;
    static char stale[1 << 16];
    create();
    assert_int_equal(chmod(folder, 0755) | chmod(path, 0644), 0);
    sqlite3 *db = open_shell();
    grant_one(49000);
    sqlite3_close(db);
    FILE *f = fopen(beside("-shm"), "rb");
    assert_non_null(f);
    const size_t n = fread(stale, 1, sizeof stale, f);
    assert_true(n >= 32768);
    fclose(f);
    grant_one(49001);
    write_bytes(beside("-shm"), -1, stale, n);
    assert_int_equal(chmod(beside("-shm"), 0644), 0);
    if (geteuid() == 0)
        assert_int_equal(count_as_nobody(), 2);
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 2);
    OPS.close(l);
    write_bytes(beside("-shm"), -1, stale, n);
    grant_one(49002);
    l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 3);
    OPS.close(l);
}

static void another_programs_lock_is_a_reason_to_retry(void **state)
{
    (void)state;
    create();
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct np_ledger *l = NULL;
    assert_int_equal(OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err), NEXTPORT_RETRY);
    assert_non_null(strstr(err.text, "another program"));
    sqlite3_close(db);
}

static void the_log_stays_short(void **state)
{
    (void)state;
    create();
    struct stat st;
    off_t longest = 0;
    for (uint16_t port = 1; port <= 200; port++) {
        grant_one(port);
        assert_int_equal(stat(beside("-wal"), &st), 0);
        longest = st.st_size > longest ? st.st_size : longest;
    }
    assert_true(longest < 100 * 4120);
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 200);
    OPS.close(l);
}

/* ---- Damage and strangers ------------------------------------------------------------------------------------ */

static void an_empty_file_is_not_a_new_ledger(void **state)
{
    (void)state;
    write_bytes(path, -1, "", 0);
    assert_refused_always("the file is empty");
}

static void text_is_not_a_ledger(void **state)
{
    (void)state;
    write_bytes(path, -1, "leases: none\n", 13);
    assert_refused_always("the file is not a ledger");
}

static void a_database_of_another_program_is_left_alone(void **state)
{
    (void)state;
    assert_int_equal(sql("CREATE TABLE theirs(x); PRAGMA user_version = 1"), SQLITE_OK);
    assert_refused_always("a database of another program");
}

static void a_newer_schema_is_left_alone(void **state)
{
    (void)state;
    create();
    assert_int_equal(sql("PRAGMA user_version = 2"), SQLITE_OK);
    assert_refused_always("made by a newer nextport, schema 2; this one knows 1");
}

/* The version may still be in the log when the file's header has the old one. */
static void a_newer_schema_is_seen_in_the_log_too(void **state)
{
    (void)state;
    create();
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 9", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_refused_always("schema 9");
}

static void an_older_schema_is_brought_forward_by_a_writer(void **state)
{
    (void)state;
    assert_int_equal(sql("PRAGMA application_id = 1314410580; PRAGMA journal_mode = WAL; CREATE TABLE t(x);"
                         "DROP TABLE t"),
                     SQLITE_OK);
    assert_refused(NP_LEDGER_READ, NEXTPORT_LEDGER, "schema 0 is older than 1");
    grant_one(49000);
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 1);
    OPS.close(l);
}

static void damage_is_told_and_not_repaired(void **state)
{
    (void)state;
    create();
    grant_one(49000);
    assert_int_equal(sql("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
    char noise[3000];
    memset(noise, 0xa5, sizeof noise);
    write_bytes(path, 100, noise, sizeof noise);
    assert_refused_always("the file is damaged");
    write_bytes(path, 0, noise, 64);
    assert_refused_always("the file is not a ledger");
}

static void a_truncated_ledger_is_told(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    for (uint16_t port = 1; port <= 500; port++)
        assert_ok(grant(l, port, NULL));
    commit(l);
    assert_int_equal(sql("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
    assert_int_equal(truncate(path, 4096 * 3 + 100), 0);
    struct np_leases leases = {.arena = np_arena_new()};
    struct np_ledger *opened = NULL;
    enum nextport_status st = OPS.open(&opened, path, NP_LEDGER_READ, &actor, &err);
    if (st == NEXTPORT_OK)
        st = OPS.leases(opened, "", SIZE_MAX, &leases, &err);
    assert_int_equal(st, NEXTPORT_LEDGER);
    OPS.close(opened);
    np_arena_free(leases.arena);
}

static void a_row_that_no_schema_allows_is_told(void **state)
{
    (void)state;
    create();
    grant_one(49000);
    assert_int_equal(sql("PRAGMA ignore_check_constraints = 1; UPDATE lease SET state = 'lost'"), SQLITE_OK);
    struct np_leases leases = {.arena = np_arena_new()};
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_int_equal(OPS.leases(l, "", SIZE_MAX, &leases, &err), NEXTPORT_LEDGER);
    OPS.close(l);
    np_arena_free(leases.arena);
}

static void health_tells_the_truth(void **state)
{
    (void)state;
    create();
    grant_one(49000);
    struct np_arena *a = np_arena_new();
    struct np_ledger_health health;
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_ok(OPS.health(l, a, &health, &err));
    OPS.close(l);
    assert_null(health.problem);
    assert_int_equal(health.schema, 1);
    assert_int_equal(health.n_leases, 1);
    assert_int_equal(health.n_events, 2);
    assert_true(health.bytes >= 4096);
    assert_string_equal(health.machine_id, actor.machine_id);
    /* An index that misses a row. */
    assert_int_equal(
        sql("PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = NULL, name = 'gone', type = 'table'"
            " WHERE name = 'lease_owner'"),
        SQLITE_OK);
    if (OPS.open(&l, path, NP_LEDGER_READ, &actor, &err) == NEXTPORT_OK) {
        assert_ok(OPS.health(l, a, &health, &err));
        assert_non_null(health.problem);
        OPS.close(l);
    } else {
        assert_int_equal(err.status, NEXTPORT_LEDGER);
    }
    np_arena_free(a);
}

static void a_copy_on_another_machine_is_refused_until_rebound(void **state)
{
    (void)state;
    create();
    grant_one(49000);
    struct np_actor stranger = actor;
    struct np_ledger *l = NULL;
    stranger.machine_id = "another";
    assert_int_equal(OPS.open(&l, path, NP_LEDGER_READ, &stranger, &err), NEXTPORT_LEDGER);
    assert_int_equal(OPS.open(&l, path, NP_LEDGER_WRITE, &stranger, &err), NEXTPORT_LEDGER);
    assert_non_null(strstr(err.hint, "nextport doctor --rebind"));
    stranger.machine_id = NULL;
    assert_ok(OPS.open(&l, path, NP_LEDGER_READ, &stranger, &err));
    OPS.close(l);
    stranger.machine_id = "another";
    assert_ok(OPS.rebind(path, &stranger, &err));
    assert_ok(OPS.open(&l, path, NP_LEDGER_WRITE, &stranger, &err));
    assert_int_equal(count(l), 1);
    OPS.close(l);
    assert_int_equal(OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err), NEXTPORT_LEDGER);
}

static void a_backup_without_wal_is_taken_up_again(void **state)
{
    (void)state;
    create();
    grant_one(49000);
    char statement[PATH_MAX + 64], copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%.4000s/copy.db", folder);
    snprintf(statement, sizeof statement, "VACUUM INTO '%s'", copy);
    assert_int_equal(sql(statement), SQLITE_OK);
    snprintf(path, sizeof path, "%s", copy);
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 1);
    OPS.close(l);
    grant_one(49001);
    assert_true(exists(beside("-wal")));
    l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 2);
    OPS.close(l);
}

/* ---- Crashes ------------------------------------------------------------------------------------------------- */

enum { N_WRITERS = 8, N_ROUNDS = 12 };

/* Leases the lowest free port again and again; says each one on `to` after its commit. */
static void lease_until_killed(int to)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        struct np_arena *a = np_arena_new();
        struct np_leases leases = {.arena = a};
        struct np_lock *lock = NULL;
        struct np_ledger *l = NULL;
        if (np_lock_take(&lock, path, NP_PLACE_GIVEN, 60, &err) != NEXTPORT_OK ||
            OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err) != NEXTPORT_OK ||
            OPS.leases(l, "", SIZE_MAX, &leases, &err) != NEXTPORT_OK)
            break;
        uint16_t port = 1;
        for (size_t i = 0; i < leases.n && leases.items[i].port == port; i++)
            port++;
        if (grant(l, port, NULL) != NEXTPORT_OK || OPS.end(l, true, &err) != NEXTPORT_OK ||
            write(to, &port, sizeof port) != sizeof port)
            break;
        OPS.close(l);
        np_lock_release(lock);
        np_arena_free(a);
    }
    fprintf(stderr, "writer: %s\n", err.text);
    _exit(1);
}

/* Reads what was acknowledged for a moment, then kills all writers; false when one ended by itself. */
static bool run_writers(bool acknowledged[65536], unsigned *seed)
{
    int ends[2];
    pid_t pids[N_WRITERS];
    bool killed = true;
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < N_WRITERS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            lease_until_killed(ends[1]);
    }
    close(ends[1]);
    uint16_t port;
    for (int wanted = 5 + rand_r(seed) % 40; wanted > 0 && read(ends[0], &port, sizeof port) == sizeof port; wanted--) {
        assert_false(acknowledged[port]);
        acknowledged[port] = true;
    }
    for (int i = 0; i < N_WRITERS; i++) {
        int status;
        kill(pids[i], SIGKILL);
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        killed = killed && WIFSIGNALED(status);
    }
    for (; read(ends[0], &port, sizeof port) == sizeof port;) {
        assert_false(acknowledged[port]);
        acknowledged[port] = true;
    }
    close(ends[0]);
    return killed;
}

static void killed_writers_lose_no_acknowledged_lease(void **state)
{
    (void)state;
    static bool acknowledged[65536];
    unsigned seed = (unsigned)time(NULL);
    print_message("# seed %u\n", seed);
    memset(acknowledged, 0, sizeof acknowledged);
    create();
    for (int round = 0; round < N_ROUNDS; round++)
        assert_true(run_writers(acknowledged, &seed));
    struct np_arena *a = np_arena_new();
    struct np_leases leases = {.arena = a};
    struct np_ledger_health health;
    struct np_ledger *l = open_as(NP_LEDGER_WRITE);
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    assert_ok(OPS.health(l, a, &health, &err));
    assert_null(health.problem);
    for (size_t i = 0; i < leases.n; i++)
        acknowledged[leases.items[i].port] = false;
    for (size_t port = 0; port < 65536; port++)
        assert_false(acknowledged[port]);
    OPS.close(l);
    np_arena_free(a);
}

/* ---- Crowds -------------------------------------------------------------------------------------------------- */

enum { N_CROWD = 64, N_GRANTS = 4, N_READERS = 3 };

/* Takes the lowest free port N_GRANTS times. */
static int crowd_write(void)
{
    for (int i = 0; i < N_GRANTS; i++) {
        struct np_leases leases = {.arena = np_arena_new()};
        struct np_lock *lock = NULL;
        struct np_ledger *l = NULL;
        if (np_lock_take(&lock, path, NP_PLACE_GIVEN, 60, &err) != NEXTPORT_OK ||
            OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err) != NEXTPORT_OK ||
            OPS.leases(l, "", 1, &leases, &err) != NEXTPORT_OK)
            return 1;
        uint16_t port = 1;
        while (np_portset_has(&leases.taken, port))
            port++;
        if (grant(l, port, NULL) != NEXTPORT_OK || OPS.end(l, true, &err) != NEXTPORT_OK)
            return 2;
        OPS.close(l);
        np_lock_release(lock);
        np_arena_free(leases.arena);
    }
    return 0;
}

/* Reads until all is there: at any time an unbroken run of ports, never fewer than before. */
static int crowd_read(void)
{
    for (size_t last = 0; last < N_CROWD * N_GRANTS;) {
        struct np_leases leases = {.arena = np_arena_new()};
        struct np_ledger_health health;
        struct np_ledger *l = NULL;
        if (OPS.open(&l, path, NP_LEDGER_READ, &actor, &err) != NEXTPORT_OK ||
            OPS.leases(l, "", SIZE_MAX, &leases, &err) != NEXTPORT_OK ||
            OPS.health(l, leases.arena, &health, &err) != NEXTPORT_OK)
            return 1;
        if (health.problem != NULL || leases.n < last || (leases.n > 0 && leases.items[leases.n - 1].port != leases.n))
            return 2;
        last = leases.n;
        OPS.close(l);
        np_arena_free(leases.arena);
    }
    return 0;
}

/* Another program that comes and goes; as the last to go it empties the log and takes it away. */
static int crowd_look_in(void)
{
    for (int i = 0; i < 50; i++) {
        sqlite3 *db;
        if (sqlite3_open(path, &db) != SQLITE_OK)
            return 1;
        sqlite3_busy_timeout(db, 60000);
        if (sqlite3_exec(db, "SELECT count(*) FROM lease", NULL, NULL, NULL) != SQLITE_OK)
            return 2;
        sqlite3_close(db);
    }
    return 0;
}

static pid_t start(int (*work)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int failed = work();
    if (failed != 0)
        fprintf(stderr, "# %d: %s\n", failed, err.text);
    _exit(failed);
}

static void run_crowd(bool strangers)
{
    pid_t pids[N_CROWD + N_READERS + 1];
    size_t n = 0;
    create();
    for (int i = 0; i < N_CROWD; i++)
        pids[n++] = start(crowd_write);
    for (int i = 0; i < N_READERS; i++)
        pids[n++] = start(crowd_read);
    if (strangers)
        pids[n++] = start(crowd_look_in);
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        failed += status != 0;
        for (size_t j = 0; status != 0 && j < n; j++) /* readers wait for writers that will not come */
            if (j > i)
                kill(pids[j], SIGKILL);
    }
    assert_int_equal(failed, 0);
}

static void readers_among_many_writers_see_whole_states(void **state)
{
    (void)state;
    run_crowd(false);
}

static void strangers_among_them_change_nothing(void **state)
{
    (void)state;
    run_crowd(true);
}

/* ---- File systems -------------------------------------------------------------------------------------------- */

/* Runs `work` in a child with a small file system of its own on the test's folder. */
static void on_tmpfs(const char *options, int (*work)(void))
{
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", folder, "tmpfs", 0, options) != 0)
            _exit(77);
        _exit(work());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static int fill_the_disk(void)
{
    struct np_ledger *l = NULL;
    struct np_leases leases = {.arena = np_arena_new()};
    size_t granted = 0;
    enum nextport_status st = OPS.create(path, &actor, &err);
    for (uint16_t port = 1; st == NEXTPORT_OK && port < 65535; port++) {
        st = OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err);
        if (st == NEXTPORT_OK)
            st = grant(l, port, NULL);
        if (st == NEXTPORT_OK)
            st = OPS.end(l, true, &err);
        granted += st == NEXTPORT_OK;
        if (st == NEXTPORT_OK)
            OPS.close(l);
    }
    fprintf(stderr, "# after %zu leases: %d %s\n", granted, st, err.text);
    OPS.close(l);
    if (st != NEXTPORT_LEDGER || err.hint[0] == '\0')
        return 1;
    /* What was acknowledged can be read, on the full disk. */
    if (OPS.open(&l, path, NP_LEDGER_READ, &actor, &err) != NEXTPORT_OK ||
        OPS.leases(l, "", SIZE_MAX, &leases, &err) != NEXTPORT_OK || leases.n != granted)
        return 2;
    OPS.close(l);
    return 0;
}

static void a_full_disk_is_told_and_loses_nothing(void **state)
{
    (void)state;
    on_tmpfs("size=256k", fill_the_disk);
}

static int work_read_only(void)
{
    struct np_ledger *l = NULL;
    struct np_leases leases = {.arena = np_arena_new()};
    bool present;
    if (chmod(folder, 0700) != 0 || OPS.create(path, &actor, &err) != NEXTPORT_OK ||
        mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
        return 77;
    if (np_host_ledger_vet(path, NP_PLACE_GIVEN, true, &present, &err) != NEXTPORT_LEDGER)
        return 1;
    if (np_host_ledger_vet(path, NP_PLACE_GIVEN, false, &present, &err) != NEXTPORT_OK || !present)
        return 2;
    if (OPS.open(&l, path, NP_LEDGER_READ, &actor, &err) != NEXTPORT_OK ||
        OPS.leases(l, "", SIZE_MAX, &leases, &err) != NEXTPORT_OK)
        return 3;
    OPS.close(l);
    return OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err) == NEXTPORT_OK ? 4 : 0;
}

static void a_read_only_file_system_lets_read_and_refuses_to_write(void **state)
{
    (void)state;
    on_tmpfs("size=1m", work_read_only);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lease_comes_back_as_it_was_given),
        TEST(a_confirmed_lease_has_a_holder_and_no_end),
        TEST(a_port_is_leased_once),
        TEST(an_owner_has_one_port_for_a_name),
        TEST(each_scope_has_its_own_ports),
        TEST(an_id_is_never_given_twice),
        TEST(what_is_not_there_cannot_be_changed),
        TEST(nothing_is_written_outside_a_transaction),
        TEST(what_was_not_committed_is_gone),
        TEST(every_change_leaves_an_event_that_cannot_be_changed),
        TEST(leases_of_the_whole_range_are_read_in_order),
        TEST(of_many_leases_the_lowest_are_read_whole_and_all_are_known),
        TEST(pending_leases_are_found_by_their_end),
        TEST(a_new_ledger_is_one_file_and_replaces_none),
        TEST(a_reader_creates_nothing),
        TEST(a_reader_sees_what_was_committed_meanwhile),
        TEST(a_reader_may_not_write),
        TEST(anyone_may_read_the_ledger_of_root),
        TEST(an_open_shell_keeps_nobody_from_a_port),
        TEST(an_index_left_behind_misleads_nobody),
        TEST(another_programs_lock_is_a_reason_to_retry),
        TEST(the_log_stays_short),
        TEST(an_empty_file_is_not_a_new_ledger),
        TEST(text_is_not_a_ledger),
        TEST(a_database_of_another_program_is_left_alone),
        TEST(a_newer_schema_is_left_alone),
        TEST(a_newer_schema_is_seen_in_the_log_too),
        TEST(an_older_schema_is_brought_forward_by_a_writer),
        TEST(damage_is_told_and_not_repaired),
        TEST(a_truncated_ledger_is_told),
        TEST(a_row_that_no_schema_allows_is_told),
        TEST(health_tells_the_truth),
        TEST(a_copy_on_another_machine_is_refused_until_rebound),
        TEST(a_backup_without_wal_is_taken_up_again),
        TEST(killed_writers_lose_no_acknowledged_lease),
        TEST(readers_among_many_writers_see_whole_states),
        TEST(strangers_among_them_change_nothing),
        TEST(a_full_disk_is_told_and_loses_nothing),
        TEST(a_read_only_file_system_lets_read_and_refuses_to_write),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
