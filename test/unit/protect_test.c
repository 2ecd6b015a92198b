/* Keeping outgoing connections out of the pool: what is decided, and the texts it is written in. Those of both systems, on
 * both.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/linux/sysctl.h"
#include "host/windows/dynamic.h"

static struct np_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = np_arena_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    np_arena_free(arena);
    return 0;
}

/* "80,8000-8003"; "" is the empty set. */
static struct np_portset set(const char *text)
{
    struct np_portset ret = {{0}};
    assert_true(np_sysctl_parse(&ret, np_text_of(text)));
    return ret;
}

static const char *text(const struct np_portset *set_)
{
    return np_portset_format(arena, set_);
}

/* ---- Linux: the list and its file ----------------------------------------------------------------------------- */

static void the_kernels_list_is_read_as_the_kernel_writes_it(void **state)
{
    (void)state;
    static const struct {
        const char *list, *means; /* NULL: not what the kernel writes */
    } samples[] = {
        {"\n", ""},
        {"", ""},
        {"80\n", "80"},
        {"80,8000-8003\n", "80,8000-8003"},
        {"0-3,65535\n", "1-3,65535"},
        {"0\n", ""},
        {"65536\n", NULL},
        {"9-8\n", NULL},
        {"80,\n", "80"},
        {"a\n", NULL},
        {"80-\n", NULL},
        {"-80\n", NULL},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct np_portset ports = {{0}};
        const bool ok = np_sysctl_parse(&ports, np_text_of(samples[i].list));
        assert_int_equal(ok, samples[i].means != NULL);
        if (ok)
            assert_string_equal(text(&ports), samples[i].means);
    }
}

static void the_last_setting_of_a_file_counts(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *means; /* NULL: it says nothing of the list */
    } samples[] = {
        {"net.ipv4.ip_local_reserved_ports = 80\n", "80"},
        {"net/ipv4/ip_local_reserved_ports=80,90", "80,90"},
        {"-net.ipv4.ip_local_reserved_ports = 80\r\n", "80"},
        {"net.ipv4.ip_local_reserved_ports = 80\nnet.ipv4.ip_local_reserved_ports = 90\n", "90"},
        {"net.ipv4.ip_local_reserved_ports =\n", ""},
        {"#net.ipv4.ip_local_reserved_ports = 80\n; net.ipv4.ip_local_reserved_ports = 80\n", NULL},
        {"net.ipv4.ip_local_reserved_ports\n", NULL},
        {"net.ipv4.ip_local_reserved_ports = all\n", NULL},
        {"net.ipv4.ip_local_port_range = 32768 60999\n", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct np_portset ports = {{0}};
        const bool found = np_sysctl_setting(np_text_of(samples[i].bytes), &ports);
        assert_int_equal(found, samples[i].means != NULL);
        if (found)
            assert_string_equal(text(&ports), samples[i].means);
    }
}

static void the_file_says_what_is_ours_and_is_read_again(void **state)
{
    (void)state;
    struct np_sysctl_file file = {.all = set("8080,49000-65000"), .ours = set("49000-65000"), .scope = ""}, again;
    const char *bytes = np_sysctl_compose(arena, &file);
    struct np_portset ports = {{0}};
    assert_true(np_sysctl_read(arena, np_text_of(bytes), &again));
    assert_string_equal(text(&again.all), "8080,49000-65000");
    assert_string_equal(text(&again.ours), "49000-65000");
    assert_string_equal(again.scope, "");
    assert_true(np_sysctl_setting(np_text_of(bytes), &ports));
    assert_string_equal(text(&ports), "8080,49000-65000");
    file.scope = "net:4026532178:7";
    file.ours = set("");
    assert_true(np_sysctl_read(arena, np_text_of(np_sysctl_compose(arena, &file)), &again));
    assert_string_equal(again.scope, "net:4026532178:7");
    assert_string_equal(text(&again.ours), "");
}

static void a_file_that_was_changed_is_not_ours(void **state)
{
    (void)state;
    const struct np_sysctl_file file = {.all = set("8080,49000-65000"), .ours = set("49000-65000"), .scope = ""};
    struct np_sysctl_file again;
    const char *bytes = np_sysctl_compose(arena, &file);
    const size_t n = strlen(bytes);
    for (size_t i = 0; i < n; i++)
        assert_false(np_sysctl_read(arena, (struct np_text){bytes, i}, &again));
    assert_false(np_sysctl_read(arena, np_text_of(np_sprintf(arena, "%sx", bytes)), &again));
    assert_false(np_sysctl_read(arena, np_text_of(np_sprintf(arena, "%s\n", bytes)), &again));
    for (size_t i = 0; i < n; i++) {
        char *changed = np_strndup(arena, bytes, n);
        changed[i] = '\x01';
        /* but the namespace's name may be any */
        if (np_sysctl_read(arena, np_text_of(changed), &again))
            assert_non_null(strchr(again.scope, '\x01'));
    }
}

/* ---- Linux: what is wanted ------------------------------------------------------------------------------------ */

static const struct want {
    const char *live, *elsewhere, *all, *ours; /* all, ours: of our file; NULL: there is none */
    const char *pool;
    const char *wanted, *wanted_all, *wanted_ours; /* the list; of the file */
    const char *undone;
} wants[] = {
    /* a fresh machine */
    {"", "", NULL, NULL, "49000-65000", "49000-65000", "49000-65000", "49000-65000", ""},
    /* what others have stays theirs, inside the pool and beside it */
    {"8080,50000-50010", "", NULL, NULL, "49000-65000", "8080,49000-65000", "8080,49000-65000",
     "49000-49999,50011-65000", "8080,50000-50010"},
    /* applied already: the same again */
    {"8080,49000-65000", "", "8080,49000-65000", "49000-65000", "49000-65000", "8080,49000-65000", "8080,49000-65000",
     "49000-65000", "8080"},
    /* another pool: the first one goes */
    {"8080,49000-65000", "", "8080,49000-65000", "49000-65000", "40000-40099", "8080,40000-40099", "8080,40000-40099",
     "40000-40099", "8080"},
    /* other files' ports are kept for the next start, and are not ours */
    {"", "7000,50000", NULL, NULL, "49999-50001", "49999-50001", "7000,49999-50001", "49999,50001", ""},
    /* somebody reserved for himself what was ours: it stays */
    {"49000-65000", "50000-50010", "49000-65000", "49000-65000", "49000-65000", "49000-65000", "49000-65000",
     "49000-49999,50011-65000", "50000-50010"},
    /* somebody replaced the list by a part of ours: that part is theirs */
    {"50000-50010", "", "49000-65000", "49000-65000", "49000-65000", "49000-65000", "49000-65000",
     "49000-49999,50011-65000", "50000-50010"},
    /* what somebody wrote into our file stays in it */
    {"49000-65000", "", "7000,49000-65000", "49000-65000", "49000-65000", "49000-65000", "7000,49000-65000",
     "49000-65000", ""},
    /* all is there by others already */
    {"49000-65000", "", NULL, NULL, "50000-50010", "49000-65000", "49000-65000", "", "49000-65000"},
};

static void the_union_keeps_what_others_reserved(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        const struct want *want = &wants[i];
        const struct np_portset pool = set(want->pool);
        struct np_sysctl_file file = {.scope = ""};
        struct np_sysctl_present present = {.live = set(want->live),
                                            .elsewhere = set(want->elsewhere),
                                            .ephemeral = {32768, 60999},
                                            .file = want->all ? &file : NULL,
                                            .scope = ""};
        struct np_sysctl_wanted wanted;
        if (want->all) {
            file.all = set(want->all);
            file.ours = set(want->ours);
        }
        np_sysctl_want(arena, &present, &pool, &wanted);
        assert_null(wanted.cannot);
        assert_string_equal(text(&wanted.live), want->wanted);
        assert_string_equal(text(&wanted.file.all), want->wanted_all);
        assert_string_equal(text(&wanted.file.ours), want->wanted_ours);
        const struct np_portset undone = np_sysctl_without(&present);
        if (want->all)
            assert_string_equal(text(&undone), want->undone);
        /* done, and undone */
        present.live = wanted.live;
        present.file = &wanted.file;
        const struct np_portset back = np_sysctl_without(&present);
        struct np_portset lost = set(want->undone);
        assert_true(np_sysctl_covers(&back, &lost));
        lost = back;
        np_portset_subtract(&lost, &present.elsewhere);
        const struct np_portset before = set(want->undone);
        assert_true(np_sysctl_covers(&before, &lost));
        /* again: nothing new */
        struct np_sysctl_wanted again;
        np_sysctl_want(arena, &present, &pool, &again);
        assert_string_equal(text(&again.live), text(&wanted.live));
        assert_string_equal(np_sysctl_compose(arena, &again.file), np_sysctl_compose(arena, &wanted.file));
    }
}

static void the_file_of_the_machine_says_nothing_of_other_namespaces(void **state)
{
    (void)state;
    const struct np_sysctl_file machines = {.all = set("49000-65000"), .ours = set("49000-65000"), .scope = ""},
                                one = {.all = set("49000-65000"), .ours = set("49000-65000"), .scope = "net:1:2"};
    const struct np_portset live = set("49000-65000");
    struct np_portset ours = np_sysctl_ours(&machines, &live, "");
    assert_string_equal(text(&ours), "49000-65000");
    ours = np_sysctl_ours(&machines, &live, "net:1:2");
    assert_string_equal(text(&ours), "");
    ours = np_sysctl_ours(&one, &live, "net:1:2");
    assert_string_equal(text(&ours), "49000-65000");
    ours = np_sysctl_ours(NULL, &live, "");
    assert_string_equal(text(&ours), "");
}

/* "10001,10003,...": n isolated ports of five digits, so 6 * n bytes with the newline. */
static struct np_portset isolated(unsigned n)
{
    struct np_portset ret = {{0}};
    for (unsigned i = 0; i < n; i++)
        np_portset_add(&ret, (uint16_t)(10001 + 2 * i), (uint16_t)(10001 + 2 * i));
    return ret;
}

static void a_list_that_does_not_fit_one_write_is_refused_with_its_size(void **state)
{
    (void)state;
    const struct np_portset pool = set("49000-65000");
    struct np_sysctl_present present = {.ephemeral = {32768, 60999}, .scope = ""};
    struct np_sysctl_wanted wanted;
    present.live = isolated(680); /* 4080 bytes, and 12 for ",49000-65000" */
    np_sysctl_want(arena, &present, &pool, &wanted);
    assert_null(wanted.cannot);
    present.live = isolated(681);
    np_sysctl_want(arena, &present, &pool, &wanted);
    assert_non_null(wanted.cannot);
    assert_non_null(strstr(wanted.cannot, "4098 bytes"));
    assert_non_null(strstr(wanted.cannot, "ip_local_port_range"));
    present.live = set("");
    present.elsewhere = isolated(681);
    np_sysctl_want(arena, &present, &pool, &wanted);
    assert_non_null(wanted.cannot);
}

static void a_pool_that_others_cut_into_too_many_pieces_is_refused(void **state)
{
    (void)state;
    const struct np_portset pool = set("10000-20000");
    const struct np_sysctl_present present = {.live = isolated(4000), .ephemeral = {32768, 60999}, .scope = ""};
    struct np_sysctl_wanted wanted;
    np_sysctl_want(arena, &present, &pool, &wanted);
    assert_string_equal(text(&wanted.live), "10000-20000");
    assert_non_null(wanted.cannot);
    assert_non_null(strstr(wanted.cannot, "pieces"));
}

static void a_pool_that_leaves_connections_too_few_ports_is_refused(void **state)
{
    (void)state;
    struct np_sysctl_present present = {.ephemeral = {32768, 60999}, .scope = ""};
    struct np_sysctl_wanted wanted;
    struct np_portset pool = set("33768-65000");
    np_sysctl_want(arena, &present, &pool, &wanted);
    assert_null(wanted.cannot);
    pool = set("33767-65000");
    np_sysctl_want(arena, &present, &pool, &wanted);
    assert_non_null(wanted.cannot);
    assert_non_null(strstr(wanted.cannot, " 999 "));
    /* it is not the pool that leaves so few */
    pool = set("20000-20099");
    present.ephemeral = (struct nextport_range){40000, 40099};
    np_sysctl_want(arena, &present, &pool, &wanted);
    assert_null(wanted.cannot);
}

/* ---- Windows -------------------------------------------------------------------------------------------------- */

static void connections_move_above_the_pool_or_to_the_widest_room(void **state)
{
    (void)state;
    static const struct {
        const char *pool;
        unsigned size;
        struct nextport_range to; /* 0: there is no room */
    } samples[] = {
        {"49000-65000", 16384, {32616, 48999}},
        {"1025-40000", 64511, {40001, 65535}},
        {"40000-49999", 16384, {50000, 65535}},
        {"49152-49999", 16384, {50000, 65535}},
        {"1300-64535", 16384, {64536, 65535}},
        {"1300-64536", 16384, {0, 0}},
        {"2025-65535", 16384, {1025, 2024}},
        {"2024-65535", 16384, {0, 0}},
        {"50000-50099", 10, {64536, 65535}},
        {"1-65535", 16384, {0, 0}},
        {"49000-52000,60000-65000", 16384, {32616, 48999}},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        const struct np_portset pool = set(samples[i].pool);
        struct nextport_range to = {0, 0};
        assert_int_equal(np_dynamic_choose(&pool, samples[i].size, &to), samples[i].to.first != 0);
        assert_int_equal(to.first, samples[i].to.first);
        assert_int_equal(to.last, samples[i].to.last);
    }
}

static void netsh_is_told_to_move_the_range_and_never_to_exclude_one(void **state)
{
    (void)state;
    const struct np_dynamic row = {.ipv6 = true, .protocol = NEXTPORT_UDP};
    assert_string_equal(np_dynamic_question(arena, &row), "int ipv6 show dynamicport udp");
    assert_string_equal(np_dynamic_command(arena, &row, (struct nextport_range){32616, 48999}),
                        "int ipv6 set dynamicport udp start=32616 num=16384");
}

static void what_was_changed_is_read_again_or_not_believed(void **state)
{
    (void)state;
    const struct np_dynamic rows[] = {
        {false, NEXTPORT_TCP, {49152, 65535}, {32616, 48999}},
        {true, NEXTPORT_UDP, {1025, 65535}, {32616, 48999}},
    };
    struct np_dynamic again[NP_DYNAMIC_RANGES];
    size_t n;
    const char *bytes = np_dynamic_compose(arena, rows, 2);
    assert_true(np_dynamic_read(np_text_of(bytes), again, &n));
    assert_int_equal(n, 2);
    assert_string_equal(np_dynamic_compose(arena, again, n), bytes);
    for (size_t i = 0; i + 1 < strlen(bytes); i++) /* without the last newline it is whole all the same */
        assert_false(np_dynamic_read((struct np_text){bytes, i}, again, &n));
    static const char *const damaged[] = {
        "nextport dynamic-ports 2\nend\n",
        "nextport dynamic-ports 1\nipv5 tcp 1 2 3 4\nend\n",
        "nextport dynamic-ports 1\nipv4 tcp 2 1 3 4\nend\n",
        "nextport dynamic-ports 1\nipv4 tcp 1 2 3\nend\n",
        "nextport dynamic-ports 1\nipv4 tcp 1 2 3 4 5\nend\n",
        "nextport dynamic-ports 1\nend\nmore\n",
    };
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++)
        assert_false(np_dynamic_read(np_text_of(damaged[i]), again, &n));
}

#define IN_ARENA(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ARENA(the_kernels_list_is_read_as_the_kernel_writes_it),
        IN_ARENA(the_last_setting_of_a_file_counts),
        IN_ARENA(the_file_says_what_is_ours_and_is_read_again),
        IN_ARENA(a_file_that_was_changed_is_not_ours),
        IN_ARENA(the_union_keeps_what_others_reserved),
        IN_ARENA(the_file_of_the_machine_says_nothing_of_other_namespaces),
        IN_ARENA(a_list_that_does_not_fit_one_write_is_refused_with_its_size),
        IN_ARENA(a_pool_that_others_cut_into_too_many_pieces_is_refused),
        IN_ARENA(a_pool_that_leaves_connections_too_few_ports_is_refused),
        IN_ARENA(connections_move_above_the_pool_or_to_the_widest_room),
        IN_ARENA(netsh_is_told_to_move_the_range_and_never_to_exclude_one),
        IN_ARENA(what_was_changed_is_read_again_or_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
