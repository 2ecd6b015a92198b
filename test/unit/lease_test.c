/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/lease.h"

enum { NOW = 1000000, COLUMNS = 9 };

static const struct np_lifetimes lifetimes = {.absent_s = 7 * 86400, .rest_s = 120, .look_s = 3600, .looks = 3};

/* ---- The document ---- */

/* The lines of doc/lifetimes.md below a heading, up to the next. */
static char *section(struct np_arena *arena, const char *heading)
{
    FILE *file = fopen(TEST_DIR "/../doc/lifetimes.md", "rb");
    struct np_buf out = {.arena = arena};
    char line[1024];
    bool inside = false;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strncmp(line, "## ", 3) == 0)
            inside = strcmp(line + 3, heading) == 0;
        else if (inside)
            np_buf_printf(&out, "%s\n", line);
    }
    fclose(file);
    if (!out.len)
        fail_msg("doc/lifetimes.md has no '%s'", heading);
    return out.ptr;
}

/* The next row of a table with so many columns, behind its heading and the line below that. */
static bool next_row(struct np_arena *arena, struct np_text *rest, size_t columns, const char **ret)
{
    struct np_text line, cell;
    while (np_text_split(rest, '\n', &line)) {
        size_t n = 0;
        if (!line.len || line.ptr[0] != '|')
            continue;
        line.ptr++, line.len--;
        while (n < columns && np_text_split(&line, '|', &cell))
            ret[n++] = np_text_dup(arena, np_text_trim(cell));
        if (n == columns && strncmp(ret[0], "---", 3) != 0 && strcmp(ret[0], "state") != 0 &&
            strcmp(ret[0], "event") != 0)
            return true;
    }
    return false;
}

static enum np_if read_if(const char *cell)
{
    if (!*cell)
        return NP_EITHER;
    assert_true(strncmp(cell, "yes", 3) == 0 || strcmp(cell, "no") == 0);
    return *cell == 'y' ? NP_YES : NP_NO;
}

static enum np_lease_step read_step(const char *cell)
{
    static const struct {
        const char *words;
        enum np_lease_step step;
    } rows[] = {
        {"", NP_LEASE_KEEP},
        {"-> confirmed", NP_LEASE_CONFIRM},
        {"-> absent", NP_LEASE_MISS},
        {"one more look", NP_LEASE_COUNT},
        {"-> quarantined", NP_LEASE_REST},
        {"times count from now", NP_LEASE_REBASE},
        {"the row ends", NP_LEASE_EXPIRE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].words, cell) == 0)
            return rows[i].step;
    fail_msg("doc/lifetimes.md: what is '%s'?", cell);
    return NP_LEASE_KEEP;
}

static unsigned read_states(const char *cell)
{
    unsigned all = 0;
    const char *but = strstr(cell, " but ");
    for (int i = NEXTPORT_PENDING; i <= NEXTPORT_RESTING; i++) {
        const char *name = np_state_name((enum nextport_lease_state)i);
        if (strcmp(cell, name) == 0)
            return 1u << i;
        if (!but || strcmp(but + 5, name) != 0)
            all |= 1u << i;
    }
    if (strncmp(cell, "any", 3) != 0)
        fail_msg("doc/lifetimes.md: what is '%s'?", cell);
    return all;
}

static struct np_lease_row read_row(const char *const cells[COLUMNS])
{
    return (struct np_lease_row){
        .states = read_states(cells[0]),
        .in_future = strstr(cells[0], "renewed in the future") != NULL,
        .seen = read_if(cells[1]),
        .hidden = read_if(cells[2]),
        .occupied = read_if(cells[3]),
        .ended = read_if(cells[4]),
        .due = read_if(cells[5]),
        .enough_looks = strstr(cells[5], "enough looks") != NULL,
        .counted = read_if(cells[6]),
        .step = read_step(cells[7]),
    };
}

static bool same_row(const struct np_lease_row *a, const struct np_lease_row *b)
{
    return a->states == b->states && a->in_future == b->in_future && a->seen == b->seen && a->hidden == b->hidden &&
           a->occupied == b->occupied && a->ended == b->ended && a->due == b->due &&
           a->enough_looks == b->enough_looks && a->counted == b->counted && a->step == b->step;
}

static void the_documents_table_is_the_programs(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_text rest = np_text_of(section(arena, "What a look does"));
    const char *cells[COLUMNS];
    size_t n = 0;
    for (; next_row(arena, &rest, COLUMNS, cells); n++) {
        const struct np_lease_row row = read_row(cells);
        assert_true(n < np_n_lease_rows);
        if (!same_row(&row, &np_lease_rows[n]))
            fail_msg("row %zu, '%s', is another one in lease.c", n + 1, cells[0]);
        for (int before = NEXTPORT_PENDING; before <= NEXTPORT_RESTING; before++) {
            const char *event = np_lease_event(row.step, (enum nextport_lease_state)before);
            if (row.states & 1u << before)
                assert_string_equal(event ? event : "", cells[8]);
        }
    }
    assert_int_equal(n, np_n_lease_rows);
    np_arena_free(arena);
}

static void every_event_of_a_step_is_in_the_documents_list(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    for (int step = NP_LEASE_KEEP; step <= NP_LEASE_EXPIRE; step++)
        for (int before = NEXTPORT_PENDING; before <= NEXTPORT_RESTING; before++) {
            const char *event = np_lease_event((enum np_lease_step)step, (enum nextport_lease_state)before), *cells[2];
            struct np_text rest = np_text_of(section(arena, "Events")), word;
            bool found = !event;
            while (!found && next_row(arena, &rest, 2, cells)) {
                struct np_text words = np_text_of(cells[0]);
                while (np_text_split(&words, ',', &word))
                    found = found || np_text_is(np_text_trim(word), event);
            }
            if (!found)
                fail_msg("doc/lifetimes.md does not list '%s'", event);
        }
    np_arena_free(arena);
}

/* ---- Steps ---- */

/* The life of a lease, as a person would tell it. `due`: a second ago, or only in a second. */
static void a_look_moves_a_lease_on(void **state)
{
    (void)state;
    enum { P = NEXTPORT_PENDING, C = NEXTPORT_CONFIRMED, A = NEXTPORT_UNSEEN, Q = NEXTPORT_RESTING };
    enum { DUE = 1, SEEN = 2, OCCUPIED = 4, HIDDEN = 8, COUNTED = 16, LIVES = 32, ENDED = 64, FUTURE = 128 };
    static const struct {
        unsigned state, looks, what;
        enum np_lease_step step;
    } rows[] = {
        {P, 0, 0, NP_LEASE_KEEP},
        {P, 0, SEEN, NP_LEASE_CONFIRM},
        {P, 0, DUE, NP_LEASE_EXPIRE},
        {P, 0, DUE | SEEN | OCCUPIED, NP_LEASE_CONFIRM},
        {P, 0, DUE | SEEN | HIDDEN, NP_LEASE_CONFIRM},
        {P, 0, DUE | OCCUPIED, NP_LEASE_KEEP},
        {P, 0, DUE | HIDDEN, NP_LEASE_KEEP},
        {P, 0, DUE | COUNTED, NP_LEASE_EXPIRE},
        {P, 0, DUE | LIVES, NP_LEASE_KEEP},
        {P, 0, ENDED, NP_LEASE_REST},
        {P, 0, ENDED | OCCUPIED, NP_LEASE_KEEP},
        {P, 0, ENDED | HIDDEN, NP_LEASE_KEEP},
        {P, 0, ENDED | SEEN, NP_LEASE_CONFIRM},
        {P, 0, ENDED | DUE, NP_LEASE_REST},
        {C, 0, DUE, NP_LEASE_KEEP},
        {C, 0, SEEN | OCCUPIED | COUNTED, NP_LEASE_KEEP},
        {C, 0, COUNTED, NP_LEASE_MISS},
        {C, 0, COUNTED | OCCUPIED, NP_LEASE_MISS},
        {C, 0, COUNTED | HIDDEN, NP_LEASE_KEEP},
        {C, 0, COUNTED | LIVES, NP_LEASE_KEEP},
        {C, 0, ENDED, NP_LEASE_REST},
        {C, 0, ENDED | OCCUPIED, NP_LEASE_KEEP},
        {A, 1, SEEN | DUE | COUNTED, NP_LEASE_CONFIRM},
        {A, 1, COUNTED, NP_LEASE_COUNT},
        {A, 1, 0, NP_LEASE_KEEP},
        {A, 2, DUE, NP_LEASE_KEEP},
        {A, 1, DUE | COUNTED, NP_LEASE_COUNT},
        {A, 2, DUE | COUNTED, NP_LEASE_EXPIRE},
        {A, UINT32_MAX, DUE | COUNTED, NP_LEASE_EXPIRE},
        {A, 2, DUE | COUNTED | OCCUPIED, NP_LEASE_COUNT},
        {A, 2, DUE | COUNTED | HIDDEN, NP_LEASE_KEEP},
        {A, 2, COUNTED, NP_LEASE_COUNT},
        {A, 2, ENDED, NP_LEASE_REST},
        {Q, 0, 0, NP_LEASE_KEEP},
        {Q, 0, DUE, NP_LEASE_EXPIRE},
        {Q, 0, DUE | OCCUPIED, NP_LEASE_KEEP},
        {Q, 0, DUE | SEEN, NP_LEASE_KEEP},
        {Q, 0, DUE | HIDDEN, NP_LEASE_KEEP},
        {Q, 0, ENDED, NP_LEASE_KEEP},
        {P, 0, DUE | FUTURE, NP_LEASE_REBASE},
        {C, 0, SEEN | FUTURE, NP_LEASE_REBASE},
        {A, 9, COUNTED | DUE | FUTURE | HIDDEN, NP_LEASE_REBASE},
        {Q, 0, DUE | FUTURE, NP_LEASE_REBASE},
    };
    static const struct nextport_claim site = {.first = 1, .last = 1, .kind = NEXTPORT_CONFIGURED};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const unsigned what = rows[i].what;
        const struct nextport_lease lease = {.state = (enum nextport_lease_state)rows[i].state,
                                             .looks = rows[i].looks,
                                             .process = what & (LIVES | ENDED) ? "1 2 3" : NULL,
                                             .renewed = what & FUTURE ? NOW + 1 : NOW,
                                             .expires = what & DUE ? NOW : NOW + 1};
        const struct np_seen seen = {.use = what & SEEN ? &site : NULL,
                                     .occupied = what & OCCUPIED,
                                     .hidden = what & HIDDEN,
                                     .look = what & COUNTED,
                                     .ended = !(what & LIVES)};
        if (np_lease_next_step(&lease, NOW, &seen, &lifetimes) != rows[i].step)
            fail_msg("row %zu: step %d", i, np_lease_next_step(&lease, NOW, &seen, &lifetimes));
    }
}

/* Every combination: what is seen or hidden never ends, and one look at a time is forgotten by none. */
static void nothing_that_is_seen_or_hidden_ends(void **state)
{
    (void)state;
    static const struct nextport_claim site = {.first = 1, .last = 1, .kind = NEXTPORT_CONFIGURED};
    for (unsigned bits = 0; bits < 1u << 10; bits++) {
        const struct nextport_lease lease = {.state = (enum nextport_lease_state)(bits & 3),
                                             .looks = bits & 4 ? 100 : 0,
                                             .process = bits & 8 ? "1 2 3" : NULL,
                                             .expires = bits & 16 ? NOW - 1 : 0,
                                             .renewed = bits & 32 ? NOW + 1 : 0};
        const struct np_seen seen = {.use = bits & 64 ? &site : NULL,
                                     .occupied = bits & 128,
                                     .hidden = bits & 256,
                                     .look = bits & 512,
                                     .ended = true};
        const enum np_lease_step step = np_lease_next_step(&lease, NOW, &seen, &lifetimes);
        const bool ends = step == NP_LEASE_EXPIRE || step == NP_LEASE_REST;
        assert_false(ends && (seen.use || seen.hidden || seen.occupied || lease.renewed > NOW));
        assert_false(step == NP_LEASE_EXPIRE && !lease.expires);
        assert_false(step == NP_LEASE_MISS && (seen.use || seen.hidden));
        assert_int_equal(step == NP_LEASE_REBASE, lease.renewed > NOW);
    }
}

static void each_step_makes_its_change_and_no_other(void **state)
{
    (void)state;
    static const struct nextport_lease before = {.id = 7,
                                                 .port = 49000,
                                                 .state = NEXTPORT_UNSEEN,
                                                 .holder = "old",
                                                 .created = 5,
                                                 .renewed = 100,
                                                 .expires = 400,
                                                 .process = "1 2 3",
                                                 .looks = 2};
    static const struct {
        enum np_lease_step step;
        enum nextport_lease_state state;
        const char *holder, *process;
        int64_t renewed, expires;
        unsigned looks;
    } rows[] = {
        {NP_LEASE_KEEP, NEXTPORT_UNSEEN, "old", "1 2 3", 100, 400, 2},
        {NP_LEASE_EXPIRE, NEXTPORT_UNSEEN, "old", "1 2 3", 100, 400, 2},
        {NP_LEASE_CONFIRM, NEXTPORT_CONFIRMED, "new", "1 2 3", NOW, 0, 0},
        {NP_LEASE_MISS, NEXTPORT_UNSEEN, "old", "1 2 3", NOW, NOW + 7 * 86400, 1},
        {NP_LEASE_COUNT, NEXTPORT_UNSEEN, "old", "1 2 3", NOW, 400, 3},
        {NP_LEASE_REST, NEXTPORT_RESTING, "old", NULL, NOW, NOW + 120, 2},
        {NP_LEASE_REBASE, NEXTPORT_UNSEEN, "old", "1 2 3", NOW, NOW + 300, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nextport_lease after = before;
        np_lease_apply(&after, rows[i].step, NOW, "new", &lifetimes);
        assert_int_equal(after.id, 7);
        assert_int_equal(after.port, 49000);
        assert_int_equal(after.created, 5);
        assert_int_equal(after.state, rows[i].state);
        assert_string_equal(after.holder, rows[i].holder);
        assert_int_equal(after.process != NULL, rows[i].process != NULL);
        assert_int_equal(after.renewed, rows[i].renewed);
        assert_int_equal(after.expires, rows[i].expires);
        assert_int_equal(after.looks, rows[i].looks);
    }
}

static void a_clock_that_was_far_off_makes_no_lease_eternal(void **state)
{
    (void)state;
    static const struct {
        int64_t renewed, expires, left;
    } rows[] = {
        {INT64_MAX - 10, INT64_MAX, 10},         {NOW + 5, NOW + 5, 0}, {NOW + 5, 3, 0},
        {INT64_MIN, INT64_MAX, NP_DURATION_MAX}, {NOW + 5, 0, -NOW}, /* never stays never */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nextport_lease lease = {.renewed = rows[i].renewed, .expires = rows[i].expires};
        np_lease_apply(&lease, NP_LEASE_REBASE, NOW, NULL, &lifetimes);
        assert_true(lease.expires == NOW + rows[i].left);
        assert_int_equal(lease.renewed, NOW);
    }
    struct nextport_lease much = {.state = NEXTPORT_UNSEEN, .looks = UINT32_MAX};
    np_lease_apply(&much, NP_LEASE_COUNT, NOW, NULL, &lifetimes);
    assert_true(much.looks == UINT32_MAX);
}

/* ---- Who uses it ---- */

static void only_standing_sockets_and_declarations_keep_a_lease_alive(void **state)
{
    (void)state;
    static const struct {
        enum nextport_kind kind;
        bool transient, alive;
    } rows[] = {{NEXTPORT_SOCKET, false, true},     {NEXTPORT_SOCKET, true, false},
                {NEXTPORT_CONFIGURED, false, true}, {NEXTPORT_PUBLISHED, false, true},
                {NEXTPORT_RESERVED, false, false},  {NEXTPORT_LEASED, false, false},
                {NEXTPORT_SUSPECT, false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nextport_claim claim = {
            .first = 5, .last = 9, .protocol = NEXTPORT_TCP, .kind = rows[i].kind, .transient = rows[i].transient};
        struct np_evidence evidence = {.claims = &claim, .n_claims = 1};
        assert_int_equal(np_lease_use(&evidence, 7, NEXTPORT_TCP) != NULL, rows[i].alive);
        assert_int_equal(np_claim_is_use(&claim), rows[i].alive);
        assert_null(np_lease_use(&evidence, 10, NEXTPORT_TCP));
    }
}

static void the_claim_that_says_most_speaks_for_a_port(void **state)
{
    (void)state;
    const enum nextport_protocol tcp = NEXTPORT_TCP;
    struct nextport_claim claims[] = {
        {.first = 5, .last = 9, .protocol = tcp, .kind = NEXTPORT_RESERVED, .holder = "x", .source = "os"},
        {.first = 7, .last = 7, .protocol = tcp, .kind = NEXTPORT_SOCKET, .source = "sockets"},
        {.first = 7, .last = 7, .protocol = tcp, .kind = NEXTPORT_SOCKET, .holder = "nginx", .source = "sockets"},
        {.first = 7, .last = 7, .protocol = tcp, .kind = NEXTPORT_CONFIGURED, .source = "iis"},
        {.first = 7, .last = 7, .protocol = tcp, .kind = NEXTPORT_CONFIGURED, .holder = "Shop", .source = "iis"},
        {.first = 7, .last = 7, .protocol = tcp, .kind = NEXTPORT_PUBLISHED, .source = "docker"},
        {.first = 7, .last = 7, .protocol = tcp, .kind = NEXTPORT_PUBLISHED, .holder = "web", .source = "docker"},
        {.first = 7, .last = 7, .protocol = NEXTPORT_UDP, .kind = NEXTPORT_PUBLISHED, .holder = "u", .source = "z"},
    };
    struct np_evidence evidence = {.claims = claims, .n_claims = 1};
    assert_null(np_lease_use(&evidence, 7, tcp));
    for (evidence.n_claims = 2; evidence.n_claims < 8; evidence.n_claims++)
        assert_ptr_equal(np_lease_use(&evidence, 7, tcp), &claims[evidence.n_claims - 1]);
    assert_ptr_equal(np_lease_use(&evidence, 7, tcp), &claims[6]);
    claims[1].transient = claims[2].transient = true;
    evidence.n_claims = 3;
    assert_null(np_lease_use(&evidence, 7, tcp));
}

static void a_holder_is_named_with_its_source(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const struct nextport_claim site = {.kind = NEXTPORT_CONFIGURED, .source = "iis", .holder = "Shop QA"};
    const struct nextport_claim nobody = {.kind = NEXTPORT_SOCKET, .source = "sockets"};
    const struct nextport_claim empty = {.kind = NEXTPORT_SOCKET, .source = "sockets", .holder = ""};
    assert_string_equal(np_holder_of(arena, &site), "iis: Shop QA");
    assert_null(np_holder_of(arena, &nobody));
    assert_null(np_holder_of(arena, &empty));
    assert_true(np_holder_is("iis: Shop QA", &site));
    assert_true(np_holder_is("Shop QA", &site)); /* as schema 1 had it */
    assert_false(np_holder_is("iis: Shop", &site));
    assert_false(np_holder_is("iis: shop qa", &site));
    assert_false(np_holder_is("sockets: Shop QA", &site));
    assert_false(np_holder_is("iis", &site));
    assert_false(np_holder_is("", &empty));
    assert_false(np_holder_is(NULL, &site));
    assert_false(np_holder_is("sockets: ", &nobody));
    np_arena_free(arena);
}

static void a_container_that_quadlet_declares_is_the_one_that_podman_shows(void **state)
{
    (void)state;
    const struct nextport_claim declared = {.source = "quadlet", .holder = "systemd-shop"},
                                shown = {.source = "podman", .holder = "systemd-shop"},
                                docker = {.source = "docker", .holder = "systemd-shop"};
    assert_true(np_holder_is("quadlet: systemd-shop", &shown));
    assert_true(np_holder_is("podman: systemd-shop", &declared));
    assert_true(np_holder_is("quadlet: systemd-shop", &declared));
    assert_false(np_holder_is("quadlet: systemd-blog", &shown));
    assert_false(np_holder_is("quadlet: systemd-shop", &docker));
    assert_false(np_holder_is("quadlet", &shown));
}

static void a_unit_has_the_sockets_of_the_programs_in_it(void **state)
{
    (void)state;
    const struct nextport_claim service = {.source = "systemd", .holder = "shop.service"},
                                other = {.source = "systemd", .holder = "blog.service"};
    struct nextport_claim socket = {.source = "sockets", .kind = NEXTPORT_SOCKET, .holder = "python3"};
    assert_int_equal(np_holder_kin("systemd: shop.socket", &service), NP_SAME);
    assert_int_equal(np_holder_kin("systemd: shop.socket", &other), NP_STRANGER);
    assert_int_equal(np_holder_kin("systemd: shop.service", &socket), NP_MAYBE);
    assert_int_equal(np_holder_kin("sockets: python3", &service), NP_MAYBE);
    socket.unit = "shop.service";
    assert_int_equal(np_holder_kin("systemd: shop.socket", &socket), NP_SAME);
    socket.unit = "session-3.scope";
    assert_int_equal(np_holder_kin("systemd: shop.service", &socket), NP_STRANGER);
    assert_int_equal(np_holder_kin("iis: shop", &service), NP_STRANGER);
    assert_int_equal(np_holder_kin(NULL, &socket), NP_STRANGER);
}

/* ---- What an owner that asks again gets ---- */

/* Claims in a word: who, as what. */
static const struct {
    const char *word;
    struct nextport_claim claim;
} cast[] = {
    {"site", {.kind = NEXTPORT_CONFIGURED, .source = "iis", .holder = "Shop"}},
    {"other-site", {.kind = NEXTPORT_CONFIGURED, .source = "iis", .holder = "Blog"}},
    {"nginx", {.kind = NEXTPORT_SOCKET, .source = "sockets", .holder = "nginx"}},
    {"somebody", {.kind = NEXTPORT_SOCKET, .source = "sockets"}},
    {"passing", {.kind = NEXTPORT_SOCKET, .source = "sockets", .holder = "curl", .transient = true}},
    {"excluded", {.kind = NEXTPORT_RESERVED, .source = "os", .holder = "an administrator", .detail = "a list"}},
    {"url", {.kind = NEXTPORT_RESERVED, .source = "httpsys", .holder = "http://+:7/"}},
    {"malformed", {.kind = NEXTPORT_SUSPECT, .source = "iis", .holder = "Blog"}},
    {"promised", {.kind = NEXTPORT_LEASED, .source = "ledger", .holder = "blog"}},
};

static void add_claim(struct np_evidence *evidence, struct np_text word)
{
    for (size_t i = 0; i < sizeof cast / sizeof *cast; i++)
        if (np_text_is(word, cast[i].word)) {
            struct nextport_claim claim = cast[i].claim;
            claim.first = claim.last = 7;
            claim.protocol = NEXTPORT_TCP;
            np_evidence_claim(evidence, &claim);
            return;
        }
    fail_msg("who is '%.*s'?", (int)word.len, word.ptr);
}

static void only_a_known_stranger_or_the_system_moves_a_lease(void **state)
{
    (void)state;
    static const struct {
        const char *holder, *claims, *unreadable;
        bool keep;
        const char *confirm, *why; /* confirm: the holder of what confirms; why: a part */
    } rows[] = {
        {NULL, "", NULL, true, NULL, "nobody else is seen on it"},
        {"iis: Shop", "", NULL, true, NULL, "nobody else is seen on it"},
        {"iis: Shop", "passing", NULL, true, NULL, "nobody else"},
        {NULL, "passing", NULL, true, NULL, "nobody else"},
        {"iis: Shop", "site", NULL, true, "Shop", "iis: Shop has it"},
        {"Shop", "site", NULL, true, "Shop", "iis: Shop has it"},
        {"iis: Shop", "site nginx", NULL, true, "Shop", "iis: Shop has it"},
        {"iis: Shop", "nginx other-site site excluded", NULL, true, "Shop", "iis: Shop has it"},
        {"iis: Shop", "somebody", NULL, true, NULL, "cannot be seen"},
        {"iis: Shop", "somebody nginx", NULL, true, NULL, "cannot be seen"},
        {"iis: Shop", "somebody excluded", NULL, true, NULL, "cannot be seen"},
        {NULL, "somebody", NULL, true, NULL, "cannot be seen"},
        {NULL, "nginx", NULL, true, "nginx", "sockets: nginx has it: its application has started"},
        {NULL, "somebody nginx", NULL, true, "nginx", "sockets: nginx has it"},
        {NULL, "nginx site", NULL, true, "Shop", "iis: Shop has it"},
        {"iis: Shop", "nginx", NULL, false, NULL, "sockets: nginx has it, and not iis: Shop"},
        {"iis: Shop", "other-site", NULL, false, NULL, "iis: Blog has it, and not iis: Shop"},
        {"iis: Shop", "other-site passing url", NULL, false, NULL, "iis: Blog"},
        {"sockets: nginx", "other-site", NULL, false, NULL, "iis: Blog"},
        {"iis: Shop", "nginx", "iis", true, NULL, "whether iis: Shop does cannot be seen"},
        {"iis: Shop", "nginx", "sockets", false, NULL, "and not iis: Shop"},
        {"Shop", "nginx", "sockets", true, NULL, "cannot be seen"},
        {"iis: Shop", "excluded", NULL, false, NULL, "the system excludes it (a list)"},
        {NULL, "excluded", NULL, false, NULL, "the system excludes it"},
        {NULL, "excluded nginx", NULL, true, "nginx", "has started"},
        {"iis: Shop", "url", NULL, true, NULL, "nobody else"},
        {"iis: Shop", "malformed", NULL, true, NULL, "nobody else"},
        {"iis: Shop", "promised", NULL, false, NULL, "another ledger has leased it to blog"},
        {"iis: Shop", "promised site", NULL, true, "Shop", "iis: Shop has it"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int st = NEXTPORT_PENDING; st <= NEXTPORT_RESTING; st++) {
            struct np_arena *arena = np_arena_new();
            struct np_evidence evidence = {.arena = arena};
            struct np_portset pool = {{0}};
            struct np_text words = np_text_of(rows[i].claims), word;
            np_portset_add(&pool, 7, 7);
            while (words.len && np_text_split(&words, ' ', &word))
                add_claim(&evidence, word);
            if (rows[i].unreadable)
                np_evidence_sight(&evidence, rows[i].unreadable, NEXTPORT_UNREADABLE, NEXTPORT_WARN, "why", NULL);
            const struct nextport_lease lease = {
                .port = 7, .state = (enum nextport_lease_state)st, .holder = rows[i].holder};
            const struct np_ruling ruling = np_lease_rule(&lease, NEXTPORT_TCP, &pool, &evidence, arena);
            const bool already = st == NEXTPORT_CONFIRMED && lease.holder;
            const char *confirm = already ? NULL : rows[i].confirm;
            if (ruling.keep != rows[i].keep || !strstr(ruling.why, rows[i].why))
                fail_msg("row %zu: %s, %s", i, ruling.keep ? "kept" : "moved", ruling.why);
            assert_int_equal(ruling.confirm != NULL, confirm != NULL);
            if (confirm)
                assert_string_equal(ruling.confirm->holder, confirm);
            np_portset_remove(&pool, 7, 7);
            assert_false(np_lease_rule(&lease, NEXTPORT_TCP, &pool, &evidence, arena).keep); /* whatever is there */
            np_arena_free(arena);
        }
}

static void a_lease_that_ended_leaves_nothing_behind(void **state)
{
    (void)state;
    struct nextport_lease items[] = {{.port = 5}, {.port = 7}, {.port = 9}};
    struct np_leases leases = {.items = items, .n = 3};
    np_portset_add(&leases.taken, 5, 11);
    assert_ptr_equal(np_leases_at(&leases, 9), &items[2]);
    assert_null(np_leases_at(&leases, 4));
    assert_null(np_leases_at(&leases, 6));
    assert_null(np_leases_at(&leases, 11));
    np_leases_remove(&leases, 7);
    np_leases_remove(&leases, 11);
    assert_null(np_leases_at(&leases, 7));
    assert_int_equal(leases.n, 2);
    assert_int_equal(np_leases_at(&leases, 9)->port, 9);
    np_leases_remove(&leases, 9);
    np_leases_remove(&leases, 5);
    assert_int_equal(leases.n, 0);
    assert_null(np_leases_at(&leases, 5));
    assert_int_equal(np_portset_count(&leases.taken), 3);
    assert_false(np_portset_has(&leases.taken, 7) || np_portset_has(&leases.taken, 11));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_documents_table_is_the_programs),
        cmocka_unit_test(every_event_of_a_step_is_in_the_documents_list),
        cmocka_unit_test(a_look_moves_a_lease_on),
        cmocka_unit_test(nothing_that_is_seen_or_hidden_ends),
        cmocka_unit_test(each_step_makes_its_change_and_no_other),
        cmocka_unit_test(a_clock_that_was_far_off_makes_no_lease_eternal),
        cmocka_unit_test(only_standing_sockets_and_declarations_keep_a_lease_alive),
        cmocka_unit_test(the_claim_that_says_most_speaks_for_a_port),
        cmocka_unit_test(a_holder_is_named_with_its_source),
        cmocka_unit_test(a_container_that_quadlet_declares_is_the_one_that_podman_shows),
        cmocka_unit_test(a_unit_has_the_sockets_of_the_programs_in_it),
        cmocka_unit_test(only_a_known_stranger_or_the_system_moves_a_lease),
        cmocka_unit_test(a_lease_that_ended_leaves_nothing_behind),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
