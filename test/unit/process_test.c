/* Which process is which: what a lease records of the one that it lives with. The other processes are this program again.
 * SPDX-License-Identifier: MIT */
#include "host/host.h"
#include "lib/scratch.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT = 128 };

static struct np_arena *arena;

static int make_arena(void **state)
{
    (void)state;
    arena = np_arena_new();
    return 0;
}

static int free_arena(void **state)
{
    (void)state;
    np_arena_free(arena);
    return 0;
}

/* Another process, which says who it is and then does nothing. */
static int say_self(void)
{
    char text[TEXT] = "";
    struct np_arena *own = np_arena_new();
    const char *self = np_process_self(own);
    snprintf(text, sizeof text, "%s", self ? self : "");
    np_arena_free(own);
    if (!scratch_say(text, sizeof text))
        return 1;
    for (;;)
        np_host_pause_ms(1000);
}

static scratch_handle start_other(char ret[TEXT])
{
    scratch_handle pipe[2];
    scratch_pipe(pipe);
    const scratch_handle other = scratch_start((const char *const[]){"say-self", NULL}, pipe[1]);
    scratch_close(pipe[1]);
    assert_true(scratch_hear(pipe[0], ret, TEXT));
    scratch_close(pipe[0]);
    return other;
}

static void end(scratch_handle process)
{
    scratch_kill(process);
    assert_int_equal(scratch_wait(process), SCRATCH_KILLED);
}

static void a_process_that_runs_has_not_ended(void **state)
{
    (void)state;
    char other[TEXT];
    const char *self = np_process_self(arena);
    assert_non_null(self);
    assert_false(np_process_has_ended(self));
    const scratch_handle child = start_other(other);
    assert_false(np_process_has_ended(other));
    assert_string_not_equal(other, self);
    end(child);
}

static void a_process_that_was_killed_has_ended(void **state)
{
    (void)state;
    char other[TEXT];
    end(start_other(other));
    assert_true(np_process_has_ended(other));
}

static void a_process_is_the_same_whenever_it_is_asked(void **state)
{
    (void)state;
    assert_string_equal(np_process_self(arena), np_process_self(arena));
}

/* "PID START BOOT" with another start. */
static const char *begun_later(const char *text)
{
    unsigned long pid;
    uint64_t start;
    char boot[TEXT];
    assert_int_equal(sscanf(text, "%lu %" SCNu64 " %127s", &pid, &start, boot), 3);
    return np_sprintf(arena, "%lu %" PRIu64 " %s", pid, start + 1, boot);
}

static void another_process_with_the_number_is_not_taken_for_it(void **state)
{
    (void)state;
    assert_true(np_process_has_ended(begun_later(np_process_self(arena))));
}

static void what_cannot_be_read_has_not_ended(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        " ",
                                        "x",
                                        "1",
                                        "1 1",
                                        "1 1 ",
                                        "0 1 -",
                                        "-1 1 -",
                                        "1 x -",
                                        "1 1 x",
                                        "99999999999999999999 1 -",
                                        "1 99999999999999999999 -",
                                        "1  -"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        print_message("# '%s'\n", texts[i]);
        assert_false(np_process_has_ended(texts[i]));
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "say-self") == 0)
        return say_self();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_runs_has_not_ended),
        cmocka_unit_test(a_process_that_was_killed_has_ended),
        cmocka_unit_test(a_process_is_the_same_whenever_it_is_asked),
        cmocka_unit_test(another_process_with_the_number_is_not_taken_for_it),
        cmocka_unit_test(what_cannot_be_read_has_not_ended),
    };
    return cmocka_run_group_tests_name("process", tests, make_arena, free_arena);
}
