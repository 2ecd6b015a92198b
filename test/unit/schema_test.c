/* What a ledger that an older nextport made has promised is kept. test/ledger holds one for each schema that was released,
 * written by the program of its time.
 * SPDX-License-Identifier: MIT */
#include "lib/ledger_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Schema 1 ------------------------------------------------------------------------------------------------ */

static const struct nextport_lease leases_1[] = {
    {.id = 1,
     .port = 49000,
     .name = "Port",
     .state = NEXTPORT_CONFIRMED,
     .holder = "Shop QA",
     .created = 1795385346,
     .renewed = 1795385348},
    {.id = 2,
     .port = 49001,
     .name = "Admin",
     .state = NEXTPORT_CONFIRMED,
     .holder = "Blog QA",
     .created = 1795385346,
     .renewed = 1795385348},
    {.id = 3,
     .port = 49002,
     .name = "Port",
     .state = NEXTPORT_CONFIRMED,
     .holder = "Blog QA",
     .created = 1795385346,
     .renewed = 1795385348},
    {.id = 6,
     .port = 49003,
     .name = "Port",
     .state = NEXTPORT_PENDING,
     .created = 1795385348,
     .renewed = 1795385348,
     .expires = 1795471748},
};
static const char inner_scope[] = "net:4026532179:26340"; /* where lease 7 is */

static const struct {
    const char *kind;
    int64_t lease;
    uint16_t port;
    bool before, after;
} events_1[] = {
    {"created", 0, 0, false, true},      {"granted", 1, 49000, false, true},  {"granted", 2, 49001, false, true},
    {"granted", 3, 49002, false, true},  {"granted", 4, 49003, false, true},  {"granted", 5, 49004, false, true},
    {"confirmed", 1, 49000, true, true}, {"confirmed", 2, 49001, true, true}, {"confirmed", 3, 49002, true, true},
    {"expired", 4, 49003, true, false},  {"released", 5, 49004, true, false}, {"granted", 6, 49003, false, true},
    {"granted", 7, 49000, false, true},
};

enum { N_LEASES_1 = sizeof leases_1 / sizeof *leases_1, N_EVENTS_1 = sizeof events_1 / sizeof *events_1 };

static struct np_actor actor_1;

static char *sample(const char *name, size_t *ret_n)
{
    static char bytes[1 << 16];
    char file[SCRATCH_PATH];
    snprintf(file, sizeof file, "%s/ledger/%s", TEST_DIR, name);
    *ret_n = read_bytes(file, bytes, sizeof bytes - 1);
    bytes[*ret_n] = '\0';
    return bytes;
}

static int as_the_file(void **state)
{
    size_t n;
    make_folder(state);
    const char *bytes = sample("schema-1.db", &n);
    write_bytes(path, -1, bytes, n);
    return 0;
}

static int as_text(void **state)
{
    size_t n;
    make_folder(state);
    return sql(sample("schema-1.sql", &n));
}

static struct np_ledger *open_sample(enum np_access access)
{
    struct np_ledger *l = NULL;
    actor_1 = actor;
    actor_1.machine_id = "0123456789abcdef0123456789abcdef";
    assert_ok(OPS.open(&l, path, access, &actor_1, &err));
    return l;
}

static void assert_same(const char *got, const char *expected)
{
    if (expected == NULL)
        assert_null(got);
    else
        assert_string_equal(got, expected);
}

static void assert_lease(const struct nextport_lease *got, const struct nextport_lease *expected)
{
    assert_int_equal(got->id, expected->id);
    assert_int_equal(got->port, expected->port);
    assert_int_equal(got->protocol, NEXTPORT_TCP);
    assert_int_equal(got->state, expected->state);
    assert_same(got->name, expected->name);
    assert_same(got->holder, expected->holder);
    assert_int_equal(got->created, expected->created);
    assert_int_equal(got->renewed, expected->renewed);
    assert_int_equal(got->expires, expected->expires);
    assert_null(got->owner);
    assert_null(got->owner_key);
    assert_null(got->deployment);
    assert_null(got->process);
    assert_int_equal(got->looks, 0);
    assert_int_equal(got->n_labels, 0);
}

static void assert_leases(struct np_ledger *l)
{
    struct np_leases leases = {.arena = np_arena_new()};
    struct nextport_lease lease;
    bool found;
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    assert_int_equal(leases.n, N_LEASES_1);
    for (size_t i = 0; i < N_LEASES_1; i++)
        assert_lease(&leases.items[i], &leases_1[i]);
    assert_ok(OPS.leases(l, inner_scope, SIZE_MAX, &leases, &err));
    assert_int_equal(leases.n, 1);
    assert_string_equal(leases.items[0].name, "Inner");
    assert_ok(OPS.find(l, "", 49002, leases.arena, &lease, &found, &err));
    assert_true(found);
    assert_lease(&lease, &leases_1[2]);
    assert_ok(OPS.owned(l, "", "project=shop", &leases, &err));
    assert_int_equal(leases.n, 0);
    np_arena_free(leases.arena);
}

/* `whole`: with what only the newest schema has of them. */
static void assert_events(struct np_ledger *l, bool whole)
{
    struct np_arena *a = np_arena_new();
    struct nextport_event *events;
    size_t n;
    assert_ok(OPS.events(l, &(struct np_event_query){0}, a, &events, &n, &err));
    assert_int_equal(n, N_EVENTS_1 + whole);
    for (size_t i = 0; i < N_EVENTS_1; i++) {
        const struct nextport_event *got = &events[i];
        assert_int_equal(got->id, i + 1);
        assert_string_equal(got->kind, events_1[i].kind);
        assert_int_equal(got->lease, events_1[i].lease);
        assert_int_equal(got->port, events_1[i].port);
        assert_string_equal(got->user, "root");
        assert_string_equal(got->host, "here");
        assert_int_equal(got->after != NULL, events_1[i].after);
        if (whole || strcmp(got->kind, "confirmed") != 0)
            assert_int_equal(got->before != NULL, events_1[i].before);
        assert_null(got->request);
        assert_null(got->owner);
    }
    if (whole)
        assert_string_equal(events[N_EVENTS_1].kind, "migrated");
    np_arena_free(a);
}

static void assert_schema(int schema)
{
    struct np_ledger_health health;
    struct np_arena *a = np_arena_new();
    struct np_ledger *l = open_sample(NP_LEDGER_READ);
    assert_ok(OPS.health(l, a, &health, &err));
    assert_null(health.problem);
    assert_int_equal(health.schema, schema);
    OPS.close(l);
    np_arena_free(a);
}

static void a_reader_reads_it_and_changes_nothing(void **state)
{
    (void)state;
    const uint64_t before = fingerprint(path);
    struct np_ledger *l = open_sample(NP_LEDGER_READ);
    assert_leases(l);
    assert_events(l, false);
    OPS.close(l);
    assert_schema(1);
    assert_true(fingerprint(path) == before);
    assert_false(np_host_exists(beside("-wal")) || np_host_exists(beside("-shm")));
}

static void a_writer_brings_it_forward_and_keeps_every_lease_and_event(void **state)
{
    (void)state;
    struct np_ledger *l = open_sample(NP_LEDGER_WRITE);
    assert_leases(l);
    commit(l);
    assert_schema(2);
    l = open_sample(NP_LEDGER_READ);
    assert_leases(l);
    assert_events(l, true);
    OPS.close(l);
    /* Again nothing is brought forward. */
    l = open_sample(NP_LEDGER_WRITE);
    commit(l);
    l = open_sample(NP_LEDGER_READ);
    assert_events(l, true);
    OPS.close(l);
}

static const char *ask(const char *question)
{
    static char answer[4096];
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, question, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    snprintf(answer, sizeof answer, "%s", (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    sqlite3_close(db);
    return answer;
}

static void its_events_replay_to_its_leases(void **state)
{
    (void)state;
    commit(open_sample(NP_LEDGER_WRITE));
    static const char compare[] =
        "SELECT 'SELECT count(*) FROM lease JOIN event ON event.id = (SELECT max(id) FROM event WHERE lease = lease.id)"
        " WHERE ' || group_concat('lease.' || name || ' IS json_extract(detail, ''$.' || name || ''')', ' AND ')"
        " FROM pragma_table_info('lease')";
    char question[4096];
    snprintf(question, sizeof question, "%s", ask(compare));
    assert_string_equal(ask(question), "5");
    assert_string_equal(
        ask("SELECT group_concat(json_extract(before, '$.state') || ' ' || ifnull("
            "json_extract(before, '$.renewed'), '-') || '>' || ifnull(json_extract(detail, '$.state') ||"
            " ' ' || json_extract(detail, '$.holder'), ''), ', ') FROM event"
            " WHERE kind IN ('confirmed', 'expired', 'released')"),
        "pending 1795385346>confirmed Shop QA, pending 1795385346>confirmed Blog QA,"
        " pending 1795385346>confirmed Blog QA, pending 1795385346>, pending 1795385346>");
    assert_string_equal(ask("SELECT before || detail FROM event WHERE kind = 'migrated'"),
                        "{\"schema\":\"1\"}{\"schema\":\"2\"}");
    assert_string_equal(ask("SELECT detail FROM event WHERE kind = 'created'"),
                        "{\"machine-id\":\"0123456789abcdef0123456789abcdef\"}");
}

static void what_was_not_committed_leaves_it_as_it_was(void **state)
{
    (void)state;
    OPS.close(open_sample(NP_LEDGER_WRITE));
    assert_schema(1);
    struct np_ledger *l = open_sample(NP_LEDGER_READ);
    assert_leases(l);
    assert_events(l, false);
    OPS.close(l);
}

static void it_still_lets_nobody_change_its_history(void **state)
{
    (void)state;
    commit(open_sample(NP_LEDGER_WRITE));
    assert_int_equal(sql("UPDATE event SET user = 'someone else'"), SQLITE_CONSTRAINT);
    assert_int_equal(sql("DELETE FROM event"), SQLITE_CONSTRAINT);
}

static void no_id_is_given_again(void **state)
{
    (void)state;
    struct np_ledger *l = open_sample(NP_LEDGER_WRITE);
    int64_t id;
    assert_ok(grant(l, 49050, &id));
    assert_int_equal(id, 8);
    commit(l);
}

#define OF_FILE(test) cmocka_unit_test_setup_teardown(test, as_the_file, remove_folder)
#define OF_TEXT(test) cmocka_unit_test_setup_teardown(test, as_text, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OF_FILE(a_reader_reads_it_and_changes_nothing),
        OF_FILE(a_writer_brings_it_forward_and_keeps_every_lease_and_event),
        OF_TEXT(a_writer_brings_it_forward_and_keeps_every_lease_and_event),
        OF_FILE(its_events_replay_to_its_leases),
        OF_TEXT(its_events_replay_to_its_leases),
        OF_FILE(what_was_not_committed_leaves_it_as_it_was),
        OF_FILE(it_still_lets_nobody_change_its_history),
        OF_FILE(no_id_is_given_again),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
