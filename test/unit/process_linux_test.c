/* Which process is which, where Linux makes it hard: zombies, threads, names that look like numbers, other namespaces and
 * users. Without root what needs namespaces is skipped.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/host.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT = 128, NOBODY = 65534 };

/* What a child does before it says who it is, and after. */
typedef void act_fn(void);

static void say_self(int to)
{
    char text[TEXT] = "";
    struct np_arena *arena = np_arena_new();
    const char *self = np_process_self(arena);
    snprintf(text, sizeof text, "%s", self ? self : "");
    np_arena_free(arena);
    if (write(to, text, sizeof text) != sizeof text)
        _exit(1);
}

static void wait_for_the_end(void)
{
    for (;;)
        pause();
}

static pid_t begin(act_fn *before, act_fn *after, char ret[TEXT])
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (before)
            before();
        say_self(ends[1]);
        after();
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], ret, TEXT), TEXT);
    close(ends[0]);
    return child;
}

static void reap(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void a_zombie_has_ended(void **state)
{
    (void)state;
    char text[TEXT];
    siginfo_t seen;
    const pid_t child = begin(NULL, wait_for_the_end, text);
    assert_false(np_process_has_ended(text));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)child, &seen, WEXITED | WNOWAIT), 0);
    assert_true(np_process_has_ended(text));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(np_process_has_ended(text));
}

static void *go_on(void *arg)
{
    (void)arg;
    wait_for_the_end();
    return NULL;
}

static void end_first_thread(void)
{
    pthread_t other;
    if (pthread_create(&other, NULL, go_on, NULL) == 0)
        pthread_exit(NULL);
}

/* The state of the child's first thread. */
static char state_of(pid_t child)
{
    char path[32], line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    return strrchr(line, ')')[2];
}

static void a_process_whose_first_thread_ended_goes_on(void **state)
{
    (void)state;
    char text[TEXT];
    const pid_t child = begin(NULL, end_first_thread, text);
    while (state_of(child) != 'Z')
        sched_yield();
    assert_false(np_process_has_ended(text));
    reap(child);
    assert_true(np_process_has_ended(text));
}

static void take_an_odd_name(void)
{
    prctl(PR_SET_NAME, "a) Z 1 (b");
}

static void a_name_misleads_nobody(void **state)
{
    (void)state;
    char text[TEXT];
    const pid_t child = begin(take_an_odd_name, wait_for_the_end, text);
    assert_false(np_process_has_ended(text));
    reap(child);
    assert_true(np_process_has_ended(text));
}

static int say_again_to;

static void become_another(void)
{
    char to[16];
    snprintf(to, sizeof to, "%d", say_again_to);
    execl("/proc/self/exe", "process_linux", to, (char *)NULL);
}

static void a_process_that_becomes_another_program_is_the_same(void **state)
{
    (void)state;
    char before[TEXT], after[TEXT];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    say_again_to = ends[1];
    const pid_t child = begin(NULL, become_another, before);
    close(ends[1]);
    assert_int_equal(read(ends[0], after, TEXT), TEXT);
    close(ends[0]);
    assert_string_equal(before, after);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void what_ran_before_the_system_was_started_has_ended(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    char *self = np_strdup(arena, np_process_self(arena)), *boot = strrchr(self, ' ') + 1;
    *boot = *boot == '0' ? '1' : '0';
    assert_true(np_process_has_ended(self));
    np_arena_free(arena);
}

/* ---- Namespaces ------------------------------------------------------------------------------------------------- */

/* Runs `act` in a child that is process 1 of a namespace, with its own /proc or the one outside; what it says first. */
static pid_t begin_in_namespace(bool own_proc, char ret[TEXT])
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = (pid_t)fork();
    if (child == 0) {
        if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
            _exit(77);
        const pid_t first = fork();
        if (first == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
                (own_proc && mount("proc", "/proc", "proc", 0, NULL) != 0))
                _exit(77);
            say_self(ends[1]);
            wait_for_the_end();
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[1]);
        waitpid(first, NULL, 0);
        _exit(0);
    }
    close(ends[1]);
    const bool said = read(ends[0], ret, TEXT) == TEXT;
    close(ends[0]);
    if (!said) {
        waitpid(child, NULL, 0);
        skip();
    }
    return child;
}

static void what_another_container_ran_is_not_judged(void **state)
{
    (void)state;
    char text[TEXT];
    const pid_t child = begin_in_namespace(true, text);
    assert_int_equal(strncmp(text, "1 ", 2), 0);
    assert_false(np_process_has_ended(text));
    reap(child);
    assert_false(np_process_has_ended(text));
}

static void who_does_not_see_its_own_numbers_says_nothing(void **state)
{
    (void)state;
    char text[TEXT];
    const pid_t child = begin_in_namespace(false, text);
    assert_string_equal(text, "");
    reap(child);
}

/* 0: it has not ended; 1: it has; 77: this cannot be tried here. */
static int judge_as_nobody(const char *text)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("proc", "/proc", "proc", 0, "hidepid=2") != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
        return 77;
    return np_process_has_ended(text);
}

static int status_of_judging(const char *text)
{
    int status;
    const pid_t child = fork();
    if (child == 0)
        _exit(judge_as_nobody(text));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    return WEXITSTATUS(status);
}

static void a_process_that_is_hidden_from_this_user_has_not_ended(void **state)
{
    (void)state;
    char text[TEXT];
    const pid_t child = begin(NULL, wait_for_the_end, text);
    assert_int_equal(status_of_judging(text), 0);
    reap(child);
    assert_int_equal(status_of_judging(text), 1);
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        say_self(atoi(argv[1]));
        return 0;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zombie_has_ended),
        cmocka_unit_test(a_process_whose_first_thread_ended_goes_on),
        cmocka_unit_test(a_name_misleads_nobody),
        cmocka_unit_test(a_process_that_becomes_another_program_is_the_same),
        cmocka_unit_test(what_ran_before_the_system_was_started_has_ended),
        cmocka_unit_test(what_another_container_ran_is_not_judged),
        cmocka_unit_test(who_does_not_see_its_own_numbers_says_nothing),
        cmocka_unit_test(a_process_that_is_hidden_from_this_user_has_not_ended),
    };
    return cmocka_run_group_tests_name("process_linux", tests, NULL, NULL);
}
