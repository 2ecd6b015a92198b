/* Plan cases: each file of test/plan says a situation in lines and what must come of it.
 *
 *     @pool RANGES  @exclude RANGES  @protocol P  @count N  @consecutive  @seed N
 *     @claim FIRST[-LAST] KIND PROTOCOL SOURCE HOLDER      someone claims it
 *     @lease PORT [NAME]                                   the ledger promised it; no name: that is all we know
 *     @socket PORT   @denied PORT                          what the bind probe finds
 *     @expect PORT..  or  @full BREAKDOWN
 *     @rejected FIRST-LAST COUNT KIND SOURCE HOLDER        in order, all of them
 *     @probed N                                            how many ports the machine was asked about
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/plan.h"
#include "lib/scratch.h"

struct machine {
    struct np_portset taken, denied, held;
    unsigned asked;
};

struct scene {
    struct np_arena *arena;
    struct np_ask ask;
    struct np_evidence evidence;
    struct np_leases leases;
    struct machine machine;
    struct np_buf expected, got;
    bool probed;
    const char *where;
};

static enum nextport_status probe(void *ctx, uint16_t port, enum nextport_probe *ret, struct nextport_error *err)
{
    struct machine *machine = ctx;
    machine->asked++;
    if (np_portset_has(&machine->held, port))
        return np_fail(err, NEXTPORT_FAILED, "port %u is asked twice while it is held", port);
    *ret = np_portset_has(&machine->taken, port)    ? NEXTPORT_PROBE_TAKEN
           : np_portset_has(&machine->denied, port) ? NEXTPORT_PROBE_DENIED
                                                    : NEXTPORT_PROBE_FREE;
    if (*ret == NEXTPORT_PROBE_FREE)
        np_portset_add(&machine->held, port, port);
    return NEXTPORT_OK;
}

static void release(void *ctx, uint16_t port)
{
    np_portset_remove(&((struct machine *)ctx)->held, port, port);
}

static void add_ports(struct scene *scene, struct np_portset *set, const char *text)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    if (np_portset_parse(set, np_text_of(text), scene->where, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
}

static enum nextport_kind kind_of(const struct scene *scene, const char *word)
{
    for (int i = NEXTPORT_SOCKET; i <= NEXTPORT_SUSPECT; i++)
        if (strcmp(np_kind_name((enum nextport_kind)i), word) == 0)
            return (enum nextport_kind)i;
    fail_msg("%s: no kind '%s'", scene->where, word);
    return NEXTPORT_SOCKET;
}

static void line_pool(struct scene *scene, char *rest)
{
    add_ports(scene, &scene->ask.pool, rest);
}

static void line_exclude(struct scene *scene, char *rest)
{
    struct np_portset set = {{0}};
    add_ports(scene, &set, rest);
    np_portset_subtract(&scene->ask.pool, &set);
}

static void line_protocol(struct scene *scene, char *rest)
{
    assert_true(np_protocol_parse(np_text_of(rest), &scene->ask.protocol));
}

static void line_count(struct scene *scene, char *rest)
{
    scene->ask.count = (unsigned)strtoul(rest, NULL, 10);
}

static void line_consecutive(struct scene *scene, char *rest)
{
    (void)rest;
    scene->ask.consecutive = true;
}

static void line_seed(struct scene *scene, char *rest)
{
    scene->ask.seeded = true;
    scene->ask.seed = strtoull(rest, NULL, 10);
}

static void line_claim(struct scene *scene, char *rest)
{
    unsigned first, last;
    char *ports = strtok(rest, " "), *kind = strtok(NULL, " "), *protocol = strtok(NULL, " ");
    char *source = strtok(NULL, " "), *holder = strtok(NULL, "");
    if (sscanf(ports, "%u-%u", &first, &last) == 1)
        last = first;
    struct nextport_claim claim = {.first = (uint16_t)first,
                                   .last = (uint16_t)last,
                                   .kind = kind_of(scene, kind),
                                   .source = source,
                                   .holder = holder};
    assert_true(np_protocol_parse(np_text_of(protocol), &claim.protocol));
    if (!first)
        claim.certainty = NEXTPORT_UNRESOLVED;
    np_evidence_claim(&scene->evidence, &claim);
}

static void line_lease(struct scene *scene, char *rest)
{
    uint16_t port = (uint16_t)strtoul(strtok(rest, " "), NULL, 10);
    const char *name = strtok(NULL, "");
    np_portset_add(&scene->leases.taken, port, port);
    if (!name)
        return;
    struct nextport_lease *lease =
        np_push(scene->arena, &scene->leases.items, &scene->leases.n, &scene->leases.capacity, sizeof *lease);
    lease->port = port;
    lease->name = np_strdup(scene->arena, name);
}

static void line_socket(struct scene *scene, char *rest)
{
    add_ports(scene, &scene->machine.taken, rest);
}

static void line_denied(struct scene *scene, char *rest)
{
    add_ports(scene, &scene->machine.denied, rest);
}

static void expect(struct scene *scene, const char *word, const char *rest)
{
    np_buf_printf(&scene->expected, "@%s%s%s\n", word, *rest ? " " : "", rest);
}

static const struct {
    const char *word;
    void (*take)(struct scene *, char *rest); /* NULL: an expectation */
} lines[] = {
    {"pool", line_pool},
    {"exclude", line_exclude},
    {"protocol", line_protocol},
    {"count", line_count},
    {"claim", line_claim},
    {"lease", line_lease},
    {"consecutive", line_consecutive},
    {"seed", line_seed},
    {"socket", line_socket},
    {"denied", line_denied},
    {"expect", NULL},
    {"full", NULL},
    {"rejected", NULL},
    {"probed", NULL},
};

static void read_line(struct scene *scene, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    if (!*line || *line == '#')
        return;
    char *word = line + 1, *rest = word + strcspn(word, " ");
    if (*rest)
        *rest++ = '\0';
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (*line != '@' || strcmp(word, lines[i].word) != 0)
            continue;
        scene->probed = scene->probed || strcmp(word, "probed") == 0;
        if (lines[i].take)
            lines[i].take(scene, rest);
        else
            expect(scene, word, rest);
        return;
    }
    fail_msg("%s: what is '%s'?", scene->where, line);
}

static void say_plan(struct scene *scene, enum nextport_status status, const struct np_plan *plan)
{
    if (status == NEXTPORT_FULL)
        np_buf_printf(&scene->got, "@full %s\n", plan->exhausted);
    else
        np_buf_puts(&scene->got, "@expect");
    for (size_t i = 0; i < plan->n_ports; i++)
        np_buf_printf(&scene->got, " %u%s", plan->ports[i], i + 1 == plan->n_ports ? "\n" : "");
    for (size_t i = 0; i < plan->n_rejected; i++) {
        const struct nextport_reject *r = &plan->rejected[i];
        np_buf_printf(&scene->got, "@rejected %u-%u %u %s %s%s%s\n", r->first, r->last, (unsigned)r->count,
                      np_kind_name(r->kind), r->source, r->holder ? " " : "", r->holder ? r->holder : "");
    }
    if (scene->probed)
        np_buf_printf(&scene->got, "@probed %u\n", scene->machine.asked);
}

/* What is asked for is granted, nothing else stays held. */
static void check_held(const struct scene *scene, const struct np_plan *plan)
{
    assert_int_equal(np_portset_count(&scene->machine.held), plan->n_ports);
    for (size_t i = 0; i < plan->n_ports; i++)
        assert_true(np_portset_has(&scene->machine.held, plan->ports[i]));
}

static void run_case(const char *path)
{
    struct scene scene = {.arena = np_arena_new(), .where = path};
    char line[512];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    scene.evidence.arena = scene.leases.arena = scene.expected.arena = scene.got.arena = scene.arena;
    scene.ask = (struct np_ask){.protocol = NEXTPORT_TCP, .count = 1, .probe = probe, .let_go = release};
    np_buf_puts(&scene.expected, "");
    np_buf_puts(&scene.got, "");
    while (fgets(line, sizeof line, file))
        read_line(&scene, line);
    fclose(file);
    scene.ask.probe_ctx = &scene.machine;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_plan plan;
    enum nextport_status status = np_plan_make(&plan, &scene.ask, &scene.evidence, &scene.leases, scene.arena, &err);
    if (status != NEXTPORT_OK && status != NEXTPORT_FULL)
        fail_msg("%s: %s", path, err.text);
    say_plan(&scene, status, &plan);
    check_held(&scene, &plan);
    if (strcmp(scene.expected.ptr, scene.got.ptr) != 0)
        fail_msg("%s: expected\n%sgot\n%s", path, scene.expected.ptr, scene.got.ptr);
    np_arena_free(scene.arena);
}

static void a_case(void **state)
{
    run_case(*state);
}

/* For any claims, leases and sockets: never a port that someone has, and never none while one is free. */
static void no_plan_gives_a_taken_port_or_misses_a_free_one(void **state)
{
    (void)state;
    unsigned seed = 20261122;
    for (int round = 0; round < 2000; round++) {
        struct scene scene = {.arena = np_arena_new()};
        scene.evidence.arena = scene.leases.arena = scene.arena;
        scene.ask = (struct np_ask){.protocol = NEXTPORT_TCP, .probe = probe, .let_go = release};
        scene.ask.probe_ctx = &scene.machine;
        np_portset_add(&scene.ask.pool, 100, 139);
        struct np_portset unfree = {{0}}, left = scene.ask.pool;
        for (uint16_t port = 100; port < 140; port++) {
            seed = seed * 1103515245u + 12345u;
            unsigned dice = seed >> 16 & 7;
            if (dice > 3)
                continue;
            np_portset_add(&unfree, port, port);
            if (dice == 0)
                np_portset_add(&scene.machine.taken, port, port);
            else if (dice == 1)
                np_portset_add(&scene.machine.denied, port, port);
            else if (dice == 2)
                np_evidence_claim(&scene.evidence, &(struct nextport_claim){.first = port,
                                                                            .last = port,
                                                                            .source = "x",
                                                                            .protocol = NEXTPORT_BOTH,
                                                                            .kind = NEXTPORT_SUSPECT});
            else
                np_portset_add(&scene.leases.taken, port, port);
        }
        np_portset_subtract(&left, &unfree);
        scene.ask.count = 1 + (seed >> 8) % 25;
        struct np_plan plan;
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        enum nextport_status status =
            np_plan_make(&plan, &scene.ask, &scene.evidence, &scene.leases, scene.arena, &err);
        assert_int_equal(status, np_portset_count(&left) >= scene.ask.count ? NEXTPORT_OK : NEXTPORT_FULL);
        for (size_t i = 0; i < plan.n_ports; i++) {
            assert_int_equal(plan.ports[i], np_portset_next(&left, 1)); /* and the lowest */
            np_portset_remove(&left, plan.ports[i], plan.ports[i]);
        }
        np_arena_free(scene.arena);
    }
}

/* Wherever the search begins: as many free ports as there are, and a run of them if there is one. */
static void no_seed_makes_a_plan_miss_a_free_port_or_a_run_of_them(void **state)
{
    (void)state;
    unsigned random = 20261122;
    for (int round = 0; round < 4000; round++) {
        struct scene scene = {.arena = np_arena_new()};
        scene.evidence.arena = scene.leases.arena = scene.arena;
        scene.ask = (struct np_ask){.protocol = NEXTPORT_TCP, .probe = probe, .let_go = release, .seeded = true};
        scene.ask.probe_ctx = &scene.machine;
        np_portset_add(&scene.ask.pool, 100, 111);
        np_portset_add(&scene.ask.pool, 65524, 65535);
        struct np_portset left = scene.ask.pool;
        struct nextport_range run;
        unsigned longest = 0;
        for (uint16_t port = np_portset_next(&scene.ask.pool, 1); port;
             port = port < 65535 ? np_portset_next(&scene.ask.pool, (uint16_t)(port + 1)) : 0) {
            random = random * 1103515245u + 12345u;
            struct np_portset *taken[] = {&scene.machine.taken, &scene.leases.taken};
            if ((random >> 16) % 5 < 2)
                np_portset_add(taken[(random >> 16) % 5], port, port);
        }
        np_portset_subtract(&left, &scene.machine.taken);
        np_portset_subtract(&left, &scene.leases.taken);
        for (uint32_t from = 1; np_portset_run(&left, from, &run); from = run.last + UINT32_C(1))
            longest = run.last - run.first + 1u > longest ? run.last - run.first + 1u : longest;
        scene.ask.seed = random >> 4;
        scene.ask.consecutive = round % 2;
        scene.ask.count = 1 + (random >> 8) % 6;
        struct np_plan plan;
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        const unsigned possible = scene.ask.consecutive ? longest : np_portset_count(&left);
        const enum nextport_status status =
            np_plan_make(&plan, &scene.ask, &scene.evidence, &scene.leases, scene.arena, &err);
        assert_int_equal(status, possible >= scene.ask.count ? NEXTPORT_OK : NEXTPORT_FULL);
        for (size_t i = 0; i < plan.n_ports; i++) {
            assert_true(np_portset_has(&left, plan.ports[i]));
            assert_false(i && scene.ask.consecutive && plan.ports[i] != plan.ports[i - 1] + 1);
            np_portset_remove(&left, plan.ports[i], plan.ports[i]);
        }
        check_held(&scene, &plan);
        np_arena_free(scene.arena);
    }
}

int main(void)
{
    struct CMUnitTest tests[128] = {cmocka_unit_test(no_plan_gives_a_taken_port_or_misses_a_free_one),
                                    cmocka_unit_test(no_seed_makes_a_plan_miss_a_free_port_or_a_run_of_them)};
    enum { FIRST = 2, MOST = sizeof tests / sizeof *tests - FIRST };
    char **names, paths[MOST][SCRATCH_PATH];
    const size_t n = scratch_list(TEST_DIR "/plan", ".case", &names);
    if (n < 3 || n > MOST)
        return 1; /* no cases, or not all of them: nothing was proved */
    for (size_t i = 0; i < n; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/plan/%s", TEST_DIR, names[i]);
        tests[i + FIRST] = (struct CMUnitTest){names[i], a_case, NULL, NULL, paths[i]};
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const int failed = _cmocka_run_group_tests("plan", tests, n + FIRST, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return failed;
}
