/* What the ledger remembers: its events replay to its leases, are found again, and are forgotten when nobody needs them;
 * and notes between requests.
 * SPDX-License-Identifier: MIT */
#include "lib/ledger_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/owner.h"

static uint64_t random_state;

static unsigned pick(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

/* What another tool reads: the first column of the first row, until the next call. */
static const char *ask(const char *question)
{
    static char answer[4096];
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, question, -1, &s, NULL) != SQLITE_OK)
        fail_msg("%s: %s", question, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    const char *said = (const char *)sqlite3_column_text(s, 0);
    snprintf(answer, sizeof answer, "%s", said != NULL ? said : "");
    sqlite3_finalize(s);
    sqlite3_close(db);
    return answer;
}

static long ask_number(const char *question)
{
    return strtol(ask(question), NULL, 10);
}

/* ---- Replay -------------------------------------------------------------------------------------------------- */

enum { N_CHANGES = 3000, N_PORTS = 60 };

static const struct nextport_label owners[][2] = {{{"project", "shop"}},
                                                  {{"project", "shop"}, {"environment", "QA"}},
                                                  {{"project", "Stra\xc3\x9f"
                                                               "e 7"}},
                                                  {{"team", "a=b"}}};
static const size_t n_labels[] = {1, 2, 1, 1};

static void own(struct nextport_lease *lease, unsigned which, struct np_arena *a)
{
    struct np_owner owner;
    assert_ok(np_owner_make(&owner, owners[which], n_labels[which], a, &err));
    lease->labels = owner.labels;
    lease->n_labels = owner.n_labels;
    lease->owner_key = owner.key;
}

static void add_at_random(struct np_ledger *l, struct np_arena *a)
{
    static const char *const deployments[] = {NULL, "Deployments-7", "it's"};
    struct nextport_lease lease = {.port = (uint16_t)(1 + pick(N_PORTS)),
                                   .protocol = (enum nextport_protocol)(1 + pick(3)),
                                   .name = pick(2) ? "Port" : "Admin",
                                   .deployment = deployments[pick(3)],
                                   .expires = actor.now + pick(1000),
                                   .process = pick(3) ? NULL : "17 4711 boot"};
    if (pick(3))
        own(&lease, pick(4), a);
    enum nextport_status st = OPS.add(l, &lease, "granted", &err);
    assert_true(st == NEXTPORT_OK || st == NEXTPORT_CONFLICT);
}

static void save_at_random(struct np_ledger *l, struct nextport_lease *lease)
{
    static const char *const holders[] = {NULL, "iis: Shop \"QA\"", "sockets: nginx"};
    if (pick(4) == 0) {
        lease->looks++;
        assert_ok(OPS.save(l, lease, NULL, &err));
        return;
    }
    lease->state = (enum nextport_lease_state)pick(4);
    lease->port = pick(3) ? lease->port : (uint16_t)(1 + pick(N_PORTS));
    lease->holder = holders[pick(3)];
    lease->renewed += pick(100);
    lease->expires = pick(2) ? 0 : lease->renewed + 100;
    lease->process = pick(2) ? NULL : lease->process;
    lease->looks = pick(3);
    enum nextport_status st = OPS.save(l, lease, "confirmed", &err);
    assert_true(st == NEXTPORT_OK || st == NEXTPORT_CONFLICT);
}

static void change_at_random(struct np_ledger *l)
{
    struct np_arena *a = np_arena_new();
    struct nextport_lease lease;
    bool found;
    assert_ok(OPS.find(l, "", (uint16_t)(1 + pick(N_PORTS)), a, &lease, &found, &err));
    if (!found)
        add_at_random(l, a);
    else if (pick(4) > 0)
        save_at_random(l, &lease);
    else
        assert_ok(OPS.drop(l, &lease, "expired", &err));
    np_arena_free(a);
}

/* The leases that are not, in every column, what their last event says. What is counted without an event is left out. */
static long differences(void)
{
    const char *question = ask(
        "SELECT 'SELECT count(*) FROM (SELECT lease AS of, detail AS after FROM event WHERE id IN (SELECT max(id) FROM"
        " event WHERE lease NOT NULL GROUP BY lease)) AS last LEFT JOIN lease ON lease.id = of"
        " WHERE NOT (CASE WHEN after IS NULL THEN lease.id IS NULL ELSE ' ||"
        " group_concat('lease.' || name || ' IS json_extract(after, ''$.' || name || ''')', ' AND ') || ' END)'"
        " FROM pragma_table_info('lease') WHERE name NOT IN ('looks', 'rev')");
    return ask_number(question);
}

static void the_events_replay_to_the_leases(void **state)
{
    (void)state;
    random_state = (uint64_t)time(NULL) | 1;
    print_message("# seed %llu\n", (unsigned long long)random_state);
    create();
    for (int i = 0; i < N_CHANGES;) {
        struct np_ledger *l = begun();
        for (unsigned n = 1 + pick(50); n > 0; n--, i++)
            change_at_random(l);
        assert_ok(OPS.end(l, pick(5) > 0, &err));
        OPS.close(l);
    }
    assert_true(ask_number("SELECT count(*) FROM lease") > 10);
    assert_true(ask_number("SELECT count(*) FROM event") > N_CHANGES / 4);
    assert_int_equal(differences(), 0);
    assert_int_equal(ask_number("SELECT count(*) FROM lease WHERE id NOT IN (SELECT lease FROM event WHERE lease NOT"
                                " NULL)"),
                     0);
    /* Nothing but those two changed between an event and the next. */
    assert_int_equal(
        ask_number("SELECT count(*) FROM (SELECT before, lag(detail) OVER (PARTITION BY lease ORDER BY id) AS last FROM"
                   " event WHERE lease NOT NULL) WHERE json_remove(before, '$.looks', '$.rev') IS NOT"
                   " json_remove(last, '$.looks', '$.rev')"),
        0);
    assert_int_equal(ask_number("SELECT count(*) FROM event, lease WHERE lease.id = event.lease"
                                " AND event.owner IS NOT lease.labels"),
                     0);
}

/* ---- Finding ------------------------------------------------------------------------------------------------- */

static struct nextport_event *found(const struct np_event_query *query, struct np_arena *a, size_t *ret_n)
{
    struct nextport_event *events;
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    assert_ok(OPS.events(l, query, a, &events, ret_n, &err));
    OPS.close(l);
    return events;
}

static bool is_shop(const void *ctx, const char *owner_text)
{
    return strcmp(owner_text, ctx) == 0;
}

static void events_tell_who_did_what_to_which_lease(void **state)
{
    (void)state;
    create();
    struct np_arena *a = np_arena_new();
    struct np_ledger *l = begun();
    struct nextport_lease lease = {.port = 49000, .protocol = NEXTPORT_TCP, .name = "Port", .expires = 1700086400};
    own(&lease, 1, a);
    assert_ok(OPS.add(l, &lease, "granted", &err));
    assert_ok(grant(l, 49005, NULL));
    lease.port = 49001;
    assert_ok(OPS.save(l, &lease, "moved", &err));
    assert_ok(OPS.drop(l, &lease, "expired", &err));
    commit(l);

    size_t n;
    struct nextport_event *events = found(&(struct np_event_query){.lease = lease.id}, a, &n);
    assert_int_equal(n, 3);
    assert_string_equal(events[0].kind, "granted");
    assert_string_equal(events[0].user, actor.user);
    assert_string_equal(events[0].host, actor.host);
    assert_string_equal(events[0].program, actor.program);
    assert_string_equal(events[0].request, actor.request);
    assert_string_equal(events[0].name, "Port");
    assert_string_equal(events[0].owner, "shop/QA");
    assert_int_equal(events[0].time, actor.now);
    assert_null(events[0].before);
    assert_non_null(strstr(events[0].after, "\"port\":49000"));
    assert_string_equal(events[1].kind, "moved");
    assert_int_equal(events[1].port, 49001);
    assert_string_equal(events[1].before, events[0].after);
    assert_non_null(strstr(events[1].after, "\"port\":49001"));
    assert_string_equal(events[2].before, events[1].after);
    assert_null(events[2].after);

    found(&(struct np_event_query){0}, a, &n);
    assert_int_equal(n, 5);
    events = found(&(struct np_event_query){.limit = 2}, a, &n);
    assert_int_equal(n, 2);
    assert_true(strcmp(events[0].kind, "moved") == 0 && strcmp(events[1].kind, "expired") == 0);
    /* of a port also what left it */
    events = found(&(struct np_event_query){.port = 49000}, a, &n);
    assert_int_equal(n, 2);
    assert_string_equal(events[1].kind, "moved");
    found(&(struct np_event_query){.name = "Admin"}, a, &n);
    assert_int_equal(n, 0);
    events = found(&(struct np_event_query){.matches = is_shop, .ctx = "", .limit = 1}, a, &n);
    assert_int_equal(n, 1);
    assert_int_equal(events[0].port, 49005);
    found(&(struct np_event_query){.matches = is_shop, .ctx = "project=shop\nenvironment=QA"}, a, &n);
    assert_int_equal(n, 3);
    np_arena_free(a);
}

static void an_event_says_why_and_of_which_deployment(void **state)
{
    static const char why[] = "sockets: \"node\" has it, and not iis: B\xc3\xbc"
                              "cher";
    (void)state;
    create();
    struct np_arena *a = np_arena_new();
    struct np_ledger *l = begun();
    struct nextport_lease lease = {
        .port = 49000, .protocol = NEXTPORT_TCP, .name = "Port", .expires = 1700086400, .deployment = "417"};
    own(&lease, 1, a);
    assert_ok(OPS.add(l, &lease, "granted", &err));
    lease.port = 49001;
    OPS.because(l, why);
    assert_ok(OPS.save(l, &lease, "moved", &err));
    lease.looks = 1;
    assert_ok(OPS.save(l, &lease, "absent", &err)); /* for no reason that is given */
    assert_ok(OPS.drop(l, &lease, "expired", &err));
    commit(l);

    size_t n;
    struct nextport_event *events = found(&(struct np_event_query){.deployment = "417"}, a, &n);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(events[i].deployment, "417");
    assert_string_equal(events[1].reason, why);
    assert_null(strstr(events[1].after, "reason")); /* the lease, and nothing else */
    assert_string_equal(events[1].after, events[2].before);
    assert_true(!events[0].reason && !events[2].reason && !events[3].reason);
    found(&(struct np_event_query){.deployment = "41"}, a, &n);
    assert_int_equal(n, 0);
    np_arena_free(a);
}

/* ---- Forgetting ---------------------------------------------------------------------------------------------- */

/* A ledger that leased and ended `n` ports at this time, and leased one that it has still. */
static void make_past(int64_t now, uint16_t still, unsigned n)
{
    struct np_actor then = actor;
    struct np_ledger *l = NULL;
    then.now = now;
    assert_ok(OPS.open(&l, path, NP_LEDGER_WRITE, &then, &err));
    assert_ok(grant(l, still, NULL));
    for (unsigned i = 0; i < n; i++) {
        struct nextport_lease lease = {.port = 49000, .protocol = NEXTPORT_TCP, .name = "Port"};
        assert_ok(OPS.add(l, &lease, "granted", &err));
        assert_ok(OPS.drop(l, &lease, "expired", &err));
    }
    commit(l);
}

static void forget(int64_t before, unsigned limit)
{
    struct np_ledger *l = begun();
    assert_ok(OPS.forget(l, before, limit, &err));
    commit(l);
}

static void only_what_ended_long_ago_is_forgotten(void **state)
{
    (void)state;
    create();
    make_past(1000, 1, 10);
    make_past(2000, 2, 10);
    assert_int_equal(ask_number("SELECT count(*) FROM event"), 1 + 21 + 21);
    forget(1000, 100);
    assert_int_equal(ask_number("SELECT count(*) FROM event"), 1 + 21 + 21);
    forget(2000, 100);
    assert_int_equal(ask_number("SELECT count(*) FROM event"), 1 + 1 + 21);
    assert_int_equal(ask_number("SELECT count(*) FROM event WHERE time = 1000 AND port = 1"), 1);
    forget(3000, 100);
    forget(3000, 100);
    /* the newest keeps its number from being given again */
    assert_int_equal(ask_number("SELECT count(*) FROM event"), 1 + 1 + 1 + 1);
    assert_int_equal(ask_number("SELECT max(id) FROM event"), 43);
}

static void a_few_are_forgotten_at_a_time_until_none_is_left(void **state)
{
    (void)state;
    create();
    make_past(1000, 1, 10);
    make_past(5000, 2, 10);
    long last = ask_number("SELECT count(*) FROM event");
    for (int i = 0; i < 10; i++) {
        forget(2000, 4);
        const long now = ask_number("SELECT count(*) FROM event");
        assert_true(now <= last && now >= last - 4);
        last = now;
    }
    assert_int_equal(last, 1 + 1 + 21);
    /* what ends later is found by the next round */
    struct np_ledger *l = begun();
    struct np_arena *a = np_arena_new();
    struct nextport_lease lease;
    bool there;
    assert_ok(OPS.find(l, "", 1, a, &lease, &there, &err));
    assert_ok(OPS.drop(l, &lease, "expired", &err));
    commit(l);
    for (int i = 0; i < 20; i++)
        forget(2000, 4);
    assert_int_equal(ask_number("SELECT count(*) FROM event WHERE time < 2000"), 0);
    np_arena_free(a);
}

static void nobody_else_takes_events_away(void **state)
{
    (void)state;
    create();
    make_past(1000, 1, 1);
    make_past(3000, 2, 1);
    assert_int_equal(sql("DELETE FROM event WHERE time = 1000 AND port = 49000"), SQLITE_CONSTRAINT);
    forget(2000, 2); /* not as far as the end of 49000 */
    assert_int_equal(sql("DELETE FROM event WHERE time = 1000 AND port = 1"), SQLITE_CONSTRAINT);
    assert_int_equal(sql("DELETE FROM event WHERE time = 3000 AND port = 49000"), SQLITE_CONSTRAINT);
    assert_int_equal(sql("DELETE FROM event WHERE lease IS NULL"), SQLITE_CONSTRAINT);
    assert_int_equal(sql("DELETE FROM event WHERE time = 1000 AND port = 49000"), SQLITE_OK);
    assert_int_equal(sql("UPDATE event SET before = NULL"), SQLITE_CONSTRAINT);
}

/* ---- Notes --------------------------------------------------------------------------------------------------- */

static void assert_note(const char *key, const char *expected)
{
    struct np_arena *a = np_arena_new();
    struct np_ledger *l = open_as(NP_LEDGER_READ);
    const char *note = "?";
    assert_ok(OPS.recall(l, key, a, &note, &err));
    if (expected == NULL)
        assert_null(note);
    else
        assert_string_equal(note, expected);
    OPS.close(l);
    np_arena_free(a);
}

static void what_is_remembered_is_recalled(void **state)
{
    (void)state;
    create();
    assert_note("look", NULL);
    assert_note("machine-id", NULL);
    struct np_ledger *l = begun();
    assert_ok(OPS.remember(l, "look", "1700000000", &err));
    assert_ok(OPS.remember(l, "machine-id", "mine", &err));
    commit(l);
    assert_note("look", "1700000000");
    l = begun();
    assert_ok(OPS.remember(l, "look", "1700000001", &err));
    OPS.close(l);
    assert_note("look", "1700000000");
    l = begun();
    assert_ok(OPS.remember(l, "look", "1700000002", &err));
    commit(l);
    assert_note("look", "1700000002");
    assert_note("machine-id", "mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(the_events_replay_to_the_leases),
        LEDGER_TEST(events_tell_who_did_what_to_which_lease),
        LEDGER_TEST(an_event_says_why_and_of_which_deployment),
        LEDGER_TEST(only_what_ended_long_ago_is_forgotten),
        LEDGER_TEST(a_few_are_forgotten_at_a_time_until_none_is_left),
        LEDGER_TEST(nobody_else_takes_events_away),
        LEDGER_TEST(what_is_remembered_is_recalled),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
