/* The ledger's promises: rows and history, what damage and strangers do to it, what survives a crash, and that a reader
 * leaves no trace.
 * SPDX-License-Identifier: MIT */
#include "lib/ledger_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Rows and history ---------------------------------------------------------------------------------------- */

static void a_lease_comes_back_as_it_was_given(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    static const struct nextport_label labels[] = {{"project", "shop"}, {"environment", "QA"}};
    struct nextport_lease given = {.port = 49001,
                                   .protocol = NEXTPORT_BOTH,
                                   .name = "Shop'; DROP TABLE lease; --",
                                   .owner_key = "project=shop\nenvironment=qa",
                                   .labels = labels,
                                   .n_labels = 2,
                                   .state = NEXTPORT_UNSEEN,
                                   .holder = "iis: Shop QA",
                                   .process = "17 4711 boot",
                                   .looks = 2,
                                   .deployment = "Deployments-7",
                                   .expires = 1700604800};
    assert_ok(OPS.add(l, &given, "granted", &err));
    assert_true(given.id > 0);
    assert_int_equal(given.created, actor.now);
    assert_int_equal(given.renewed, actor.now);
    assert_ok(grant(l, 49000, NULL));
    commit(l);

    struct np_arena *a = np_arena_new();
    struct np_leases leases = {.arena = a};
    l = open_as(NP_LEDGER_READ);
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    assert_int_equal(leases.n, 2);
    assert_int_equal(leases.items[0].port, 49000);
    assert_null(leases.items[0].owner);
    assert_null(leases.items[0].owner_key);
    assert_null(leases.items[0].process);
    assert_int_equal(leases.items[0].n_labels, 0);
    assert_null(leases.items[0].deployment);
    assert_null(leases.items[0].holder);
    const struct nextport_lease *got = &leases.items[1];
    assert_int_equal(got->id, given.id);
    assert_int_equal(got->port, 49001);
    assert_int_equal(got->protocol, NEXTPORT_BOTH);
    assert_int_equal(got->state, NEXTPORT_UNSEEN);
    assert_string_equal(got->name, given.name);
    assert_string_equal(got->owner, "shop/QA");
    assert_string_equal(got->owner_key, given.owner_key);
    assert_int_equal(got->n_labels, 2);
    assert_string_equal(got->labels[1].key, "environment");
    assert_string_equal(got->labels[1].value, "QA");
    assert_string_equal(got->holder, given.holder);
    assert_string_equal(got->process, given.process);
    assert_int_equal(got->looks, 2);
    assert_int_equal(got->renewed, actor.now);
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
    const struct nextport_lease lease = {.id = grant_one(49000), .port = 49000, .protocol = NEXTPORT_TCP};
    struct np_ledger *l = begun();
    assert_ok(confirm(l, &lease, "iis: Default Web Site"));
    commit(l);
    struct np_arena *a = np_arena_new();
    struct np_leases leases = {.arena = a};
    l = open_as(NP_LEDGER_READ);
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    assert_int_equal(leases.items[0].state, NEXTPORT_CONFIRMED);
    assert_string_equal(leases.items[0].holder, "iis: Default Web Site");
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
    static const struct nextport_label labels[] = {{"project", "Shop"}};
    struct np_ledger *l = begun();
    struct nextport_lease lease = {.port = 49000,
                                   .protocol = NEXTPORT_TCP,
                                   .name = "Port",
                                   .owner_key = "project=shop",
                                   .labels = labels,
                                   .n_labels = 1};
    assert_ok(OPS.add(l, &lease, "granted", &err));
    lease.port = 49001;
    assert_int_equal(OPS.add(l, &lease, "granted", &err), NEXTPORT_CONFLICT);
    assert_string_equal(err.text, "this owner has a port \"Port\" already");
    lease.deployment = "Deployments-7";
    assert_ok(OPS.add(l, &lease, "granted", &err));
    commit(l);
    struct np_actor other = actor;
    other.scope = "net:1:2";
    assert_ok(OPS.open(&l, path, NP_LEDGER_WRITE, &other, &err));
    lease.deployment = NULL;
    assert_ok(OPS.add(l, &lease, "granted", &err));
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
    const struct nextport_lease lease = {.id = grant_one(49000), .port = 49000, .protocol = NEXTPORT_TCP};
    struct np_ledger *l = begun();
    assert_ok(OPS.drop(l, &lease, "withdrawn", &err));
    commit(l);
    assert_true(grant_one(49000) > lease.id);
}

static void what_is_not_there_cannot_be_changed(void **state)
{
    (void)state;
    create();
    struct nextport_lease lease = {.id = 7, .port = 49000, .protocol = NEXTPORT_TCP};
    struct np_ledger *l = begun();
    assert_int_equal(OPS.drop(l, &lease, "released", &err), NEXTPORT_CONFLICT);
    assert_int_equal(OPS.save(l, &lease, "confirmed", &err), NEXTPORT_CONFLICT);
    assert_int_equal(OPS.save(l, &lease, NULL, &err), NEXTPORT_CONFLICT);
    assert_string_equal(err.text, "there is no lease 7");
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
    const struct nextport_lease lease = {.id = grant_one(49000), .port = 49000, .protocol = NEXTPORT_TCP};
    struct np_ledger *l = begun();
    assert_ok(confirm(l, &lease, "nginx"));
    assert_ok(OPS.drop(l, &lease, "released", &err));
    commit(l);
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT group_concat(kind || ' ' || ifnull(port, '') || ' ' ||"
                                        " ifnull(before ->> 'holder', '') || '>' || ifnull(detail ->> 'holder', ''),"
                                        " ', ') FROM event",
                                        -1, &s, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(s, 0),
                        "created  >, granted 49000 >, confirmed 49000 >nginx, released 49000 nginx>");
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
        assert_ok(OPS.add(l, &lease, "granted", &err));
    }
    bool found;
    assert_ok(OPS.find(l, "", 2, a, &lease, &found, &err));
    assert_true(found && lease.port == 2 && lease.expires == 20);
    assert_ok(confirm(l, &lease, NULL));
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
        const struct np_which which = {.states = NP_STATE(NEXTPORT_PENDING), .until = rows[i].until};
        assert_ok(OPS.ports(l, "", &which, &ports, &err));
        assert_int_equal(np_portset_count(&ports), rows[i].n);
        assert_false(np_portset_has(&ports, 2));
    }
    OPS.close(l);
    np_arena_free(a);
}

/* One lease in each state: pending, confirmed, absent and quarantined on ports 1 to 4, the third with a process. */
static void ports_are_found_by_state_end_and_process(void **state)
{
    (void)state;
    create();
    struct np_ledger *l = begun();
    for (uint16_t port = 1; port <= 4; port++) {
        struct nextport_lease lease = {.port = port,
                                       .protocol = NEXTPORT_TCP,
                                       .name = "Port",
                                       .state = (enum nextport_lease_state)(port - 1),
                                       .expires = port == 2 ? 0 : 10 * port,
                                       .process = port == 3 ? "17 4711 boot" : NULL};
        assert_ok(OPS.add(l, &lease, "granted", &err));
    }
    const unsigned all = NP_STATE(NEXTPORT_PENDING) | NP_STATE(NEXTPORT_CONFIRMED) | NP_STATE(NEXTPORT_UNSEEN) |
                         NP_STATE(NEXTPORT_RESTING);
    const struct {
        struct np_which which;
        const char *ports;
    } rows[] = {
        {{.states = all, .until = INT64_MAX}, "1234"},
        {{.states = all, .until = 30}, "13"},
        {{.states = NP_STATE(NEXTPORT_CONFIRMED), .until = INT64_MAX}, "2"},
        {{.states = NP_STATE(NEXTPORT_CONFIRMED), .until = 30}, ""},
        {{.states = NP_STATE(NEXTPORT_PENDING) | NP_STATE(NEXTPORT_RESTING), .until = 40}, "14"},
        {{.states = NP_STATE(NEXTPORT_RESTING), .until = 39}, ""},
        {{.states = NP_STATE(NEXTPORT_PENDING), .until = 10, .processes = true}, "13"},
        {{.processes = true}, "3"},
        {{0}, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct np_portset ports;
        assert_ok(OPS.ports(l, "", &rows[i].which, &ports, &err));
        for (uint16_t port = 1; port <= 5; port++)
            assert_int_equal(np_portset_has(&ports, port), strchr(rows[i].ports, '0' + port) != NULL);
        assert_ok(OPS.ports(l, "net:1:2", &rows[i].which, &ports, &err));
        assert_int_equal(np_portset_count(&ports), 0);
    }
    OPS.close(l);
}

static void an_owner_finds_all_its_leases(void **state)
{
    (void)state;
    static const struct nextport_label shop[] = {{"project", "Shop"}}, blog[] = {{"project", "blog"}};
    static const struct {
        uint16_t port;
        const struct nextport_label *labels;
        const char *key, *name, *deployment;
    } rows[] = {
        {49003, shop, "project=shop", "Port", NULL},  {49001, shop, "project=shop", "Port", "Deployments-7"},
        {49002, blog, "project=blog", "Port", NULL},  {49004, NULL, NULL, "Port", NULL},
        {49000, shop, "project=shop", "Admin", NULL},
    };
    create();
    struct np_ledger *l = begun();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct nextport_lease lease = {.port = rows[i].port,
                                       .protocol = NEXTPORT_TCP,
                                       .name = rows[i].name,
                                       .deployment = rows[i].deployment,
                                       .owner_key = rows[i].key,
                                       .labels = rows[i].labels,
                                       .n_labels = rows[i].labels != NULL};
        assert_ok(OPS.add(l, &lease, "granted", &err));
    }
    commit(l);
    struct np_leases leases = {.arena = np_arena_new()};
    l = open_as(NP_LEDGER_READ);
    assert_ok(OPS.owned(l, "", "project=shop", &leases, &err));
    assert_int_equal(leases.n, 3);
    assert_true(leases.items[0].port == 49000 && leases.items[1].port == 49001 && leases.items[2].port == 49003);
    assert_string_equal(leases.items[2].owner, "Shop");
    assert_ok(OPS.owned(l, "net:1:2", "project=shop", &leases, &err));
    assert_int_equal(leases.n, 0);
    assert_ok(OPS.owned(l, "", "", &leases, &err));
    assert_int_equal(leases.n, 0);
    OPS.close(l);
    np_arena_free(leases.arena);
}

/* Labels that could not be read again, or that are not those of the key, would shut everybody out. */
static void an_owner_that_is_none_is_not_kept(void **state)
{
    (void)state;
    static const struct nextport_label disordered[] = {{"team", "web"}, {"project", "shop"}},
                                       shop[] = {{"project", "shop"}};
    create();
    struct np_ledger *l = begun();
    struct nextport_lease lease = {
        .port = 49000, .protocol = NEXTPORT_TCP, .name = "Port", .owner_key = "project=blog"};
    assert_int_equal(OPS.add(l, &lease, "granted", &err), NEXTPORT_FAILED);
    lease.labels = shop;
    lease.n_labels = 1;
    assert_int_equal(OPS.add(l, &lease, "granted", &err), NEXTPORT_FAILED);
    lease.labels = disordered;
    lease.n_labels = 2;
    assert_int_equal(OPS.add(l, &lease, "granted", &err), NEXTPORT_FAILED);
    assert_int_equal(count(l), 0);
    OPS.close(l);
}

static void a_saved_lease_is_what_it_was_made(void **state)
{
    (void)state;
    create();
    struct nextport_lease lease = {.id = grant_one(49000)}, got;
    grant_one(49001);
    struct np_ledger *l = begun();
    struct np_arena *a = np_arena_new();
    bool found;
    assert_ok(OPS.find(l, "", 49000, a, &lease, &found, &err));
    lease.port = 49001;
    assert_int_equal(OPS.save(l, &lease, "moved", &err), NEXTPORT_CONFLICT);
    assert_string_equal(err.text, "port 49001 is leased already");
    lease.port = 49002;
    lease.protocol = NEXTPORT_UDP;
    lease.state = NEXTPORT_UNSEEN;
    lease.holder = "sockets: nginx";
    lease.renewed = 1700000007;
    lease.expires = 1700000008;
    lease.process = "1 2 boot";
    lease.looks = 9;
    assert_ok(OPS.save(l, &lease, "moved", &err));
    assert_ok(OPS.find(l, "", 49002, a, &got, &found, &err));
    assert_true(found && got.id == lease.id && got.protocol == NEXTPORT_UDP && got.state == NEXTPORT_UNSEEN);
    assert_true(got.renewed == 1700000007 && got.expires == 1700000008 && got.looks == 9);
    assert_string_equal(got.holder, lease.holder);
    assert_string_equal(got.process, lease.process);
    assert_int_equal(got.created, actor.now);
    assert_ok(OPS.find(l, "", 49000, a, &got, &found, &err));
    assert_false(found);
    OPS.close(l);
    np_arena_free(a);
}

/* ---- The file ------------------------------------------------------------------------------------------------ */

static void a_new_ledger_is_one_file_and_replaces_none(void **state)
{
    (void)state;
    create();
    assert_true(np_host_exists(path));
    assert_false(np_host_exists(beside("-wal")) || np_host_exists(beside("-shm")) ||
                 np_host_exists(beside("-journal")));
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
    assert_false(np_host_exists(beside("-wal")) || np_host_exists(beside("-shm")));
    grant_one(49000);
    /* as a backup of the two files would leave it */
    assert_int_equal(remove(beside("-shm")), 0);
    const uint64_t before[] = {fingerprint(path), fingerprint(beside("-wal"))};
    l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 1);
    struct np_ledger_health health;
    struct np_arena *a = np_arena_new();
    assert_ok(OPS.health(l, a, &health, &err));
    np_arena_free(a);
    OPS.close(l);
    assert_false(np_host_exists(beside("-shm")));
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
    const size_t n = make_stale_index(stale, sizeof stale);
    write_bytes(beside("-shm"), -1, stale, n);
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
    static char log[200 * 4120];
    for (uint16_t port = 1; port <= 200; port++) {
        grant_one(port);
        assert_true(read_bytes(beside("-wal"), log, sizeof log) < 100 * 4120);
    }
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
    assert_int_equal(sql("PRAGMA user_version = 3"), SQLITE_OK);
    assert_refused_always("made by a newer nextport, schema 3; this one knows 2");
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
    static char beginning[4096 * 3 + 100];
    assert_int_equal(read_bytes(path, beginning, sizeof beginning), sizeof beginning);
    write_bytes(path, -1, beginning, sizeof beginning);
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
    assert_int_equal(health.schema, 2);
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
    stranger.machine_id = NULL; /* a container, say */
    assert_int_equal(OPS.open(&l, path, NP_LEDGER_READ, &stranger, &err), NEXTPORT_LEDGER);
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
    char statement[SCRATCH_PATH + 64], copy[SCRATCH_PATH + 16];
    snprintf(copy, sizeof copy, "%s/copy.db", folder);
    snprintf(statement, sizeof statement, "VACUUM INTO '%s'", copy);
    assert_int_equal(sql(statement), SQLITE_OK);
    snprintf(path, sizeof path, "%s", copy);
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 1);
    OPS.close(l);
    grant_one(49001);
    assert_true(np_host_exists(beside("-wal")));
    l = open_as(NP_LEDGER_READ);
    assert_int_equal(count(l), 2);
    OPS.close(l);
}

/* ---- Crashes ------------------------------------------------------------------------------------------------- */

enum { N_WRITERS = 8, N_ROUNDS = 12 };

/* Leases the lowest free port again and again; says each one after its commit. */
static int lease_until_killed(void)
{
    for (;;) {
        struct np_arena *a = np_arena_new();
        struct np_leases leases = {.arena = a};
        struct np_lock *lock = NULL;
        struct np_ledger *l = NULL;
        if (np_lock_take(&lock, path, NP_PLACE_GIVEN, 60, &err) != NEXTPORT_OK ||
            OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err) != NEXTPORT_OK ||
            OPS.leases(l, "", SIZE_MAX, &leases, &err) != NEXTPORT_OK)
            return 1;
        uint16_t port = 1;
        for (size_t i = 0; i < leases.n && leases.items[i].port == port; i++)
            port++;
        if (grant(l, port, NULL) != NEXTPORT_OK || OPS.end(l, true, &err) != NEXTPORT_OK ||
            !scratch_say(&port, sizeof port))
            return 1;
        OPS.close(l);
        np_lock_release(lock);
        np_arena_free(a);
    }
}

static scratch_handle start(const char *role, scratch_handle output)
{
    return scratch_start((const char *const[]){role, path, NULL}, output);
}

/* Notes the next port that was acknowledged; false: there is none any more. */
static bool hear_one(scratch_handle from, bool acknowledged[65536])
{
    uint16_t port;
    if (!scratch_hear(from, &port, sizeof port))
        return false;
    assert_false(acknowledged[port]);
    return acknowledged[port] = true;
}

/* Hears what is acknowledged for a moment, then kills all writers; false when one ended by itself. */
static bool run_writers(bool acknowledged[65536], unsigned *seed)
{
    scratch_handle ends[2], writers[N_WRITERS];
    bool killed = true;
    scratch_pipe(ends);
    for (int i = 0; i < N_WRITERS; i++)
        writers[i] = start("lease", ends[1]);
    scratch_close(ends[1]);
    *seed = *seed * 1103515245u + 12345u;
    for (unsigned wanted = 5 + (*seed >> 16) % 40; wanted > 0; wanted--)
        assert_true(hear_one(ends[0], acknowledged));
    for (int i = 0; i < N_WRITERS; i++) {
        scratch_kill(writers[i]);
        killed = scratch_wait(writers[i]) == SCRATCH_KILLED && killed;
    }
    while (hear_one(ends[0], acknowledged))
        ;
    scratch_close(ends[0]);
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

static void run_crowd(bool strangers)
{
    scratch_handle crowd[N_CROWD + N_READERS + 1];
    size_t n = 0;
    create();
    for (int i = 0; i < N_CROWD; i++)
        crowd[n++] = start("write", SCRATCH_NONE);
    for (int i = 0; i < N_READERS; i++)
        crowd[n++] = start("read", SCRATCH_NONE);
    if (strangers)
        crowd[n++] = start("look-in", SCRATCH_NONE);
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        if (scratch_wait(crowd[i]) == 0)
            continue;
        failed++;
        for (size_t j = i + 1; j < n; j++) /* readers wait for writers that will not come */
            scratch_kill(crowd[j]);
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

/* ---- The program --------------------------------------------------------------------------------------------- */

/* What it does when a test begins it once more. */
static const struct {
    const char *role;
    int (*work)(void);
} roles[] = {{"lease", lease_until_killed}, {"write", crowd_write}, {"read", crowd_read}, {"look-in", crowd_look_in}};

static int play(const char *role)
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(role, roles[i].role) != 0)
            continue;
        const int failed = roles[i].work();
        if (failed != 0)
            fprintf(stderr, "# %s: %d: %s\n", role, failed, err.text);
        return failed;
    }
    return 127;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        snprintf(path, sizeof path, "%s", argv[2]);
        return play(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(a_lease_comes_back_as_it_was_given),
        LEDGER_TEST(a_confirmed_lease_has_a_holder_and_no_end),
        LEDGER_TEST(a_port_is_leased_once),
        LEDGER_TEST(an_owner_has_one_port_for_a_name),
        LEDGER_TEST(each_scope_has_its_own_ports),
        LEDGER_TEST(an_id_is_never_given_twice),
        LEDGER_TEST(what_is_not_there_cannot_be_changed),
        LEDGER_TEST(nothing_is_written_outside_a_transaction),
        LEDGER_TEST(what_was_not_committed_is_gone),
        LEDGER_TEST(every_change_leaves_an_event_that_cannot_be_changed),
        LEDGER_TEST(leases_of_the_whole_range_are_read_in_order),
        LEDGER_TEST(of_many_leases_the_lowest_are_read_whole_and_all_are_known),
        LEDGER_TEST(pending_leases_are_found_by_their_end),
        LEDGER_TEST(ports_are_found_by_state_end_and_process),
        LEDGER_TEST(an_owner_finds_all_its_leases),
        LEDGER_TEST(an_owner_that_is_none_is_not_kept),
        LEDGER_TEST(a_saved_lease_is_what_it_was_made),
        LEDGER_TEST(a_new_ledger_is_one_file_and_replaces_none),
        LEDGER_TEST(a_reader_creates_nothing),
        LEDGER_TEST(a_reader_sees_what_was_committed_meanwhile),
        LEDGER_TEST(a_reader_may_not_write),
        LEDGER_TEST(an_open_shell_keeps_nobody_from_a_port),
        LEDGER_TEST(an_index_left_behind_misleads_nobody),
        LEDGER_TEST(another_programs_lock_is_a_reason_to_retry),
        LEDGER_TEST(the_log_stays_short),
        LEDGER_TEST(an_empty_file_is_not_a_new_ledger),
        LEDGER_TEST(text_is_not_a_ledger),
        LEDGER_TEST(a_database_of_another_program_is_left_alone),
        LEDGER_TEST(a_newer_schema_is_left_alone),
        LEDGER_TEST(a_newer_schema_is_seen_in_the_log_too),
        LEDGER_TEST(an_older_schema_is_brought_forward_by_a_writer),
        LEDGER_TEST(damage_is_told_and_not_repaired),
        LEDGER_TEST(a_truncated_ledger_is_told),
        LEDGER_TEST(a_row_that_no_schema_allows_is_told),
        LEDGER_TEST(health_tells_the_truth),
        LEDGER_TEST(a_copy_on_another_machine_is_refused_until_rebound),
        LEDGER_TEST(a_backup_without_wal_is_taken_up_again),
        LEDGER_TEST(killed_writers_lose_no_acknowledged_lease),
        LEDGER_TEST(readers_among_many_writers_see_whole_states),
        LEDGER_TEST(strangers_among_them_change_nothing),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
