/* SPDX-License-Identifier: MIT */
#include "lib/ledger_fixture.h"

#include <stdio.h>
#include <string.h>

const struct np_actor actor = {.host = "here",
                               .scope = "",
                               .user = "tester",
                               .program = "nextport test",
                               .request = "next --test",
                               .machine_id = "0123456789abcdef",
                               .now = 1700000000};

char folder[SCRATCH_PATH], path[SCRATCH_PATH + 64];
struct nextport_error err;

int make_folder(void **state)
{
    (void)state;
    scratch_make(folder, "ledger");
    snprintf(path, sizeof path, "%s/%s", folder, scratch_odd_name);
    err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    return 0;
}

int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(folder) ? 0 : -1;
}

const char *beside(const char *suffix)
{
    static char name[SCRATCH_PATH + 128];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return name;
}

void create(void)
{
    assert_ok(OPS.create(path, &actor, &err));
}

struct np_ledger *open_as(enum np_access access)
{
    struct np_ledger *l = NULL;
    assert_ok(OPS.open(&l, path, access, &actor, &err));
    return l;
}

struct np_ledger *begun(void)
{
    return open_as(NP_LEDGER_WRITE);
}

void commit(struct np_ledger *l)
{
    assert_ok(OPS.end(l, true, &err));
    OPS.close(l);
}

enum nextport_status grant(struct np_ledger *l, uint16_t port, int64_t *ret_id)
{
    struct nextport_lease lease = {.port = port, .protocol = NEXTPORT_TCP, .name = "Port", .expires = 1700086400};
    enum nextport_status st = OPS.add(l, &lease, "granted", &err);
    if (ret_id != NULL)
        *ret_id = lease.id;
    return st;
}

enum nextport_status confirm(struct np_ledger *l, const struct nextport_lease *lease, const char *holder)
{
    struct nextport_lease confirmed = *lease;
    confirmed.state = NEXTPORT_CONFIRMED;
    confirmed.holder = holder;
    confirmed.expires = 0;
    return OPS.save(l, &confirmed, "confirmed", &err);
}

int64_t grant_one(uint16_t port)
{
    int64_t id = 0;
    struct np_ledger *l = begun();
    assert_ok(grant(l, port, &id));
    commit(l);
    return id;
}

size_t count(struct np_ledger *l)
{
    struct np_arena *a = np_arena_new();
    struct np_leases leases = {.arena = a};
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    size_t n = leases.n;
    np_arena_free(a);
    return n;
}

int sql(const char *statement)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
    int code = sqlite3_exec(db, statement, NULL, NULL, NULL);
    sqlite3_close(db);
    return code;
}

void write_bytes(const char *file, long at, const char *bytes, size_t n)
{
    FILE *f = fopen(file, at < 0 ? "wb" : "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at < 0 ? 0 : at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

size_t read_bytes(const char *file, char *ret, size_t size)
{
    FILE *f = fopen(file, "rb");
    assert_non_null(f);
    const size_t n = fread(ret, 1, size, f);
    assert_false(ferror(f));
    fclose(f);
    return n;
}

uint64_t fingerprint(const char *file)
{
    uint64_t hash = 14695981039346656037u;
    FILE *f = fopen(file, "rb");
    assert_non_null(f);
    for (int c; (c = getc(f)) != EOF;)
        hash = (hash ^ (uint64_t)c) * 1099511628211u;
    fclose(f);
    return hash;
}

void assert_refused(enum np_access access, enum nextport_status status, const char *text)
{
    struct np_ledger *l = NULL;
    const uint64_t before = fingerprint(path);
    assert_int_equal(OPS.open(&l, path, access, &actor, &err), status);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
    assert_true(err.hint[0] != '\0');
    assert_true(fingerprint(path) == before);
}

void assert_refused_always(const char *text)
{
    assert_refused(NP_LEDGER_READ, NEXTPORT_LEDGER, text);
    assert_refused(NP_LEDGER_WRITE, NEXTPORT_LEDGER, text);
}

sqlite3 *open_shell(void)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_exec(db, "SELECT count(*) FROM lease", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

size_t make_stale_index(char *ret, size_t size)
{
    create();
    sqlite3 *db = open_shell();
    grant_one(49000);
    sqlite3_close(db);
    const size_t n = read_bytes(beside("-shm"), ret, size);
    assert_true(n >= 32768);
    grant_one(49001);
    return n;
}
