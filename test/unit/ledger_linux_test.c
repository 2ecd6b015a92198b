/* The ledger's promises that need users or file systems of Linux.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "lib/ledger_fixture.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void as_root_only(void)
{
    if (geteuid() != 0)
        skip();
}

/* ---- Users --------------------------------------------------------------------------------------------------- */

/* What an unprivileged reader finds: the number of leases, or -1. */
static int count_as_nobody(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct np_ledger *l = NULL;
        struct np_leases leases = {.arena = np_arena_new()};
        if (setgid(65534) != 0 || setuid(65534) != 0 ||
            OPS.open(&l, path, NP_LEDGER_READ, &actor, &err) != NEXTPORT_OK ||
            OPS.leases(l, "", SIZE_MAX, &leases, &err) != NEXTPORT_OK)
            _exit(255);
        OPS.close(l);
        _exit(OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err) == NEXTPORT_DENIED ? (int)leases.n : 254);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* An unprivileged reader gets no lock on -shm and no new file. */
static void anyone_may_read_the_ledger_of_root(void **state)
{
    (void)state;
    as_root_only();
    create();
    assert_int_equal(chmod(folder, 0755) | chmod(path, 0644), 0);
    assert_int_equal(count_as_nobody(), 0);
    grant_one(49000);
    assert_int_equal(count_as_nobody(), 1);
}

/* Without the right to lock -shm it must not trust it. */
static void an_index_left_behind_misleads_no_unprivileged_reader(void **state)
{
    (void)state;
    static char stale[1 << 16];
    as_root_only();
    const size_t n = make_stale_index(stale, sizeof stale);
    write_bytes(beside("-shm"), -1, stale, n);
    assert_int_equal(chmod(folder, 0755) | chmod(path, 0644) | chmod(beside("-shm"), 0644), 0);
    assert_int_equal(count_as_nobody(), 2);
}

/* ---- File systems -------------------------------------------------------------------------------------------- */

/* Runs `work` in a child with a small file system of its own on the test's folder. */
static void on_tmpfs(const char *options, int (*work)(void))
{
    as_root_only();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", folder, "tmpfs", 0, options) != 0)
            _exit(77);
        _exit(work());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static int fill_the_disk(void)
{
    struct np_ledger *l = NULL;
    struct np_leases leases = {.arena = np_arena_new()};
    size_t granted = 0;
    enum nextport_status st = OPS.create(path, &actor, &err);
    for (uint16_t port = 1; st == NEXTPORT_OK && port < 65535; port++) {
        st = OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err);
        if (st == NEXTPORT_OK)
            st = grant(l, port, NULL);
        if (st == NEXTPORT_OK)
            st = OPS.end(l, true, &err);
        granted += st == NEXTPORT_OK;
        if (st == NEXTPORT_OK)
            OPS.close(l);
    }
    fprintf(stderr, "# after %zu leases: %d %s\n", granted, st, err.text);
    OPS.close(l);
    if (st != NEXTPORT_LEDGER || err.hint[0] == '\0')
        return 1;
    /* What was acknowledged can be read, on the full disk. */
    if (OPS.open(&l, path, NP_LEDGER_READ, &actor, &err) != NEXTPORT_OK ||
        OPS.leases(l, "", SIZE_MAX, &leases, &err) != NEXTPORT_OK || leases.n != granted)
        return 2;
    OPS.close(l);
    return 0;
}

static void a_full_disk_is_told_and_loses_nothing(void **state)
{
    (void)state;
    on_tmpfs("size=256k", fill_the_disk);
}

static int work_read_only(void)
{
    struct np_ledger *l = NULL;
    struct np_leases leases = {.arena = np_arena_new()};
    bool present;
    if (chmod(folder, 0700) != 0 || OPS.create(path, &actor, &err) != NEXTPORT_OK ||
        mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
        return 77;
    if (np_host_ledger_vet(path, NP_PLACE_GIVEN, true, &present, &err) != NEXTPORT_LEDGER)
        return 1;
    if (np_host_ledger_vet(path, NP_PLACE_GIVEN, false, &present, &err) != NEXTPORT_OK || !present)
        return 2;
    if (OPS.open(&l, path, NP_LEDGER_READ, &actor, &err) != NEXTPORT_OK ||
        OPS.leases(l, "", SIZE_MAX, &leases, &err) != NEXTPORT_OK)
        return 3;
    OPS.close(l);
    return OPS.open(&l, path, NP_LEDGER_WRITE, &actor, &err) == NEXTPORT_OK ? 4 : 0;
}

static void a_read_only_file_system_lets_read_and_refuses_to_write(void **state)
{
    (void)state;
    on_tmpfs("size=1m", work_read_only);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(anyone_may_read_the_ledger_of_root),
        LEDGER_TEST(an_index_left_behind_misleads_no_unprivileged_reader),
        LEDGER_TEST(a_full_disk_is_told_and_loses_nothing),
        LEDGER_TEST(a_read_only_file_system_lets_read_and_refuses_to_write),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
