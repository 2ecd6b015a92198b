/* Programs that are run for what they print: what they get, what comes back, and that they end.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/host.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/scratch.h"

enum { PLENTY_MS = 60000, LIMIT = 1 << 20 };

static struct np_arena *arena;
static struct nextport_error err;

static int begin_arena(void **state)
{
    (void)state;
    arena = np_arena_new();
    err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    return 0;
}

static int end_arena(void **state)
{
    (void)state;
    np_arena_free(arena);
    return 0;
}

/* /bin/sh with a script: the tests want a program that does as it is told. */
static enum nextport_status run(const char *script, const char *value, size_t limit, unsigned budget_ms,
                                struct np_printed *ret)
{
    const char *const words[] = {"-c", script, NULL};
    const char *const environment[] = {value ? value : "A=b", NULL};
    const struct np_program program = {"/bin/sh", words, environment, limit, budget_ms};
    return np_host_run(arena, &program, ret, &err);
}

static void what_it_prints_and_ends_with_comes_back(void **state)
{
    struct np_printed printed;
    (void)state;
    assert_int_equal(run("echo out; echo log >&2; exit 3", NULL, LIMIT, PLENTY_MS, &printed), NEXTPORT_OK);
    assert_string_equal(printed.out.ptr, "out\n");
    assert_string_equal(printed.log.ptr, "log\n");
    assert_int_equal(printed.status, 3);
    assert_int_equal(run("kill -9 $$", NULL, LIMIT, PLENTY_MS, &printed), NEXTPORT_OK);
    assert_int_equal(printed.status, 128 + 9);
}

static void more_than_a_pipe_holds_is_read_whole(void **state)
{
    struct np_printed printed;
    (void)state;
    const char *both = "i=0; while [ $i -lt 20000 ]; do echo 0123456789; echo 0123456789 >&2; i=$((i+1)); done";
    assert_int_equal(run(both, NULL, LIMIT, PLENTY_MS, &printed), NEXTPORT_OK);
    assert_int_equal(printed.out.len, 20000 * 11);
    assert_int_equal(printed.log.len, 20000 * 11);
}

static void it_gets_the_given_environment_and_no_other(void **state)
{
    struct np_printed printed;
    (void)state;
    assert_int_equal(setenv("NEXTPORT_TEST", "ours", 1), 0);
    assert_int_equal(run("echo \"$NEXTPORT_TEST,$A,$(pwd)\"; cat", "A=given", LIMIT, PLENTY_MS, &printed), NEXTPORT_OK);
    assert_string_equal(printed.out.ptr, ",given,/\n");
    assert_int_equal(unsetenv("NEXTPORT_TEST"), 0);
}

/* Whether it is to be closed at an exec or not, and whatever signals its parent holds. */
static void it_inherits_neither_descriptors_nor_signals(void **state)
{
    struct np_printed printed, signals;
    sigset_t held, before;
    (void)state;
    const int low = open("/dev/null", O_RDONLY), high = fcntl(low, F_DUPFD, 200);
    assert_true(low >= 0 && high >= 200);
    sigfillset(&held);
    sigprocmask(SIG_SETMASK, &held, &before);
    signal(SIGPIPE, SIG_IGN);
    const enum nextport_status status = run("exec ls /proc/self/fd", "PATH=/usr/bin:/bin", LIMIT, PLENTY_MS, &printed);
    const enum nextport_status other =
        run("exec grep -E '^Sig(Blk|Ign)' /proc/self/status", "PATH=/usr/bin:/bin", LIMIT, PLENTY_MS, &signals);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(low);
    close(high);
    assert_int_equal(status, NEXTPORT_OK);
    assert_int_equal(other, NEXTPORT_OK);
    assert_string_equal(printed.out.ptr, "0\n1\n2\n3\n"); /* the last is the folder that ls reads */
    assert_string_equal(signals.out.ptr, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

/* Does the process do anything any more? It may be a zombie until its new parent looks. */
static bool is_running(int pid)
{
    char path[64], bytes[8];
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    FILE *file = fopen(path, "r");
    const size_t n = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file)
        fclose(file);
    return n > 0;
}

static int read_pid(const char *folder)
{
    char path[SCRATCH_PATH + 8], text[32] = "";
    snprintf(path, sizeof path, "%s/pid", folder);
    FILE *file = fopen(path, "r");
    if (file && !fgets(text, sizeof text, file))
        text[0] = '\0';
    if (file)
        fclose(file);
    return atoi(text);
}

/* On a busy machine it may need more time to come as far as to start something. */
static void one_that_does_not_end_is_ended_with_what_it_started(void **state)
{
    struct np_printed printed;
    char folder[SCRATCH_PATH], script[SCRATCH_PATH + 128];
    int pid = 0;
    (void)state;
    scratch_make(folder, "run");
    snprintf(script, sizeof script, "sleep 600 & echo $! > %s/pid; wait", folder);
    for (unsigned budget_ms = 250; !pid && budget_ms < 60000; budget_ms *= 2) {
        assert_int_equal(run(script, "PATH=/usr/bin:/bin", LIMIT, budget_ms, &printed), NEXTPORT_FAILED);
        assert_non_null(strstr(err.text, "did not end within"));
        pid = read_pid(folder);
    }
    assert_true(pid > 0);
    for (int i = 0; i < 30000 && is_running(pid); i++)
        np_host_pause_ms(1);
    assert_false(is_running(pid));
    scratch_remove(folder);
}

/* Its streams are closed, so that nobody waits for it. */
static void what_it_leaves_behind_ends_with_it(void **state)
{
    struct np_printed printed;
    (void)state;
    assert_int_equal(run("sleep 600 >/dev/null 2>&1 3>&- & echo $!", "PATH=/usr/bin:/bin", LIMIT, PLENTY_MS, &printed),
                     NEXTPORT_OK);
    const int pid = atoi(printed.out.ptr);
    assert_true(pid > 0);
    for (int i = 0; i < 30000 && is_running(pid); i++)
        np_host_pause_ms(1);
    assert_false(is_running(pid));
}

static void one_that_prints_too_much_is_ended(void **state)
{
    struct np_printed printed;
    (void)state;
    assert_int_equal(run("while :; do echo x; done", NULL, 1000, PLENTY_MS, &printed), NEXTPORT_FAILED);
    assert_non_null(strstr(err.text, "more than 1000 bytes"));
    assert_int_equal(run("while :; do echo x; done >&2", NULL, 1000, PLENTY_MS, &printed), NEXTPORT_FAILED);
}

static enum nextport_status run_file(const char *file)
{
    static const char *const none[] = {NULL};
    struct np_printed printed;
    return np_host_run(arena, &(struct np_program){file, none, none, LIMIT, PLENTY_MS}, &printed, &err);
}

static void what_is_no_program_or_may_be_changed_by_others_is_not_run(void **state)
{
    char folder[SCRATCH_PATH], path[SCRATCH_PATH + 16];
    (void)state;
    scratch_make(folder, "run");
    snprintf(path, sizeof path, "%s/program", folder);
    assert_int_equal(run_file(path), NEXTPORT_FAILED);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("#!/bin/sh\nexit 0\n", file);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(run_file(path), NEXTPORT_DENIED);
    assert_int_equal(chmod(path, 0722), 0);
    assert_int_equal(run_file(path), NEXTPORT_DENIED);
    assert_non_null(strstr(err.text, "may change it"));
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(run_file(path), NEXTPORT_OK);
    assert_int_equal(run_file(folder), NEXTPORT_DENIED);
    scratch_remove(folder);
}

static void nor_what_may_be_exchanged_by_a_folder_or_link_on_its_way(void **state)
{
    char folder[SCRATCH_PATH], below[SCRATCH_PATH + 8], path[SCRATCH_PATH + 24], link[SCRATCH_PATH + 8];
    (void)state;
    scratch_make(folder, "run");
    snprintf(below, sizeof below, "%s/bin", folder);
    snprintf(path, sizeof path, "%s/program", below);
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(mkdir(below, 0700), 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("#!/bin/sh\nexit 0\n", file);
    fclose(file);
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(symlink(below, link), 0);
    snprintf(path, sizeof path, "%s/program", link);
    assert_int_equal(run_file(path), NEXTPORT_OK);
    assert_int_equal(chmod(below, 0777), 0);
    assert_int_equal(run_file(path), NEXTPORT_DENIED);
    assert_non_null(strstr(err.text, "may change"));
    assert_int_equal(chmod(below, 01777), 0); /* as /tmp: others can add, and not exchange */
    assert_int_equal(run_file(path), NEXTPORT_OK);
    scratch_remove(folder);
}

/* The system would forget how it ended. */
static void nothing_is_run_by_a_process_that_ignores_its_children(void **state)
{
    struct np_printed printed;
    (void)state;
    signal(SIGCHLD, SIG_IGN);
    const enum nextport_status status = run("exit 3", NULL, LIMIT, PLENTY_MS, &printed);
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(status, NEXTPORT_FAILED);
    assert_non_null(strstr(err.text, "SIGCHLD"));
    assert_int_equal(run("exit 3", NULL, LIMIT, PLENTY_MS, &printed), NEXTPORT_OK);
    assert_int_equal(printed.status, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_arena, end_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_it_prints_and_ends_with_comes_back),
        TEST(more_than_a_pipe_holds_is_read_whole),
        TEST(it_gets_the_given_environment_and_no_other),
        TEST(it_inherits_neither_descriptors_nor_signals),
        TEST(one_that_does_not_end_is_ended_with_what_it_started),
        TEST(what_it_leaves_behind_ends_with_it),
        TEST(one_that_prints_too_much_is_ended),
        TEST(what_is_no_program_or_may_be_changed_by_others_is_not_run),
        TEST(nor_what_may_be_exchanged_by_a_folder_or_link_on_its_way),
        TEST(nothing_is_run_by_a_process_that_ignores_its_children),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
