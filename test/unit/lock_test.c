/* The queue before the ledger, and the promises of its file, folder and neighbours. Each test has a folder of its own.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "lib/scratch.h"

#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOBODY = 65534, SKIP = 77 };

static char folder[SCRATCH_PATH], path[PATH_MAX];
static struct nextport_error err;

/* ---- Fixture ------------------------------------------------------------------------------------------------- */

static int make_folder(void **state)
{
    (void)state;
    scratch_make(folder, "lock");
    snprintf(path, sizeof path, "%s/ledger.db", folder);
    err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(folder) ? 0 : -1;
}

static const char *beside(const char *suffix)
{
    static char name[PATH_MAX + 16];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return name;
}

static void touch(const char *file, mode_t mode)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static mode_t mode_of(const char *file)
{
    struct stat st;
    assert_int_equal(lstat(file, &st), 0);
    return st.st_mode & 07777;
}

static void assert_said(const char *text)
{
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
    assert_true(err.hint[0] != '\0');
}

static void as_root_only(void)
{
    if (geteuid() != 0)
        skip();
}

static void assert_exits_with(pid_t pid, int wanted)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIP)
        skip();
    assert_int_equal(WEXITSTATUS(status), wanted);
}

static pid_t child(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* ---- The lock ------------------------------------------------------------------------------------------------ */

static enum nextport_status take(struct np_lock **ret, int64_t wait_s)
{
    return np_lock_take(ret, path, NP_PLACE_GIVEN, wait_s, &err);
}

/* A process that has the lock by the time this returns, and keeps it until it is killed. */
static pid_t holder(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = child();
    if (pid == 0) {
        struct np_lock *lock;
        if (take(&lock, 10) != NEXTPORT_OK || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void a_released_lock_can_be_taken_again(void **state)
{
    (void)state;
    struct np_lock *lock;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take(&lock, 0), NEXTPORT_OK);
        np_lock_release(lock);
    }
    np_lock_release(NULL);
    assert_int_equal(mode_of(beside("-lock")), 0600);
}

static void two_handles_of_one_process_exclude_each_other(void **state)
{
    (void)state;
    struct np_lock *first, *second;
    assert_int_equal(take(&first, 0), NEXTPORT_OK);
    assert_int_equal(take(&second, 0), NEXTPORT_RETRY);
    np_lock_release(first);
    assert_int_equal(take(&second, 0), NEXTPORT_OK);
    np_lock_release(second);
}

static void the_deadline_names_the_holder(void **state)
{
    (void)state;
    char wanted[128];
    struct np_lock *lock;
    pid_t pid = holder();
    snprintf(wanted, sizeof wanted, "locked by process %d (unit-lock) since ", (int)pid);
    double before = seconds();
    assert_int_equal(take(&lock, 1), NEXTPORT_RETRY);
    double waited = seconds() - before;
    end(pid);
    assert_said(wanted);
    assert_true(waited > 0.95 && waited < 5);
}

static void a_stopped_holder_is_called_stopped(void **state)
{
    (void)state;
    struct np_lock *lock;
    int status;
    pid_t pid = holder();
    kill(pid, SIGSTOP);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(take(&lock, 1), NEXTPORT_RETRY);
    end(pid);
    assert_said("(unit-lock, stopped) since");
    assert_non_null(strstr(err.hint, "kill -CONT"));
}

static void a_killed_holder_frees_the_lock(void **state)
{
    (void)state;
    struct np_lock *lock;
    end(holder());
    assert_int_equal(take(&lock, 0), NEXTPORT_OK);
    np_lock_release(lock);
}

/* Killed by another process while we already wait in the kernel. */
static void a_waiter_goes_on_as_soon_as_the_holder_ends(void **state)
{
    (void)state;
    struct np_lock *lock;
    pid_t pid = holder(), killer = child();
    if (killer == 0) {
        /* Until somebody waits: /proc/locks shows a waiter as "-> ". */
        char line[256];
        for (bool waiting = false; !waiting;) {
            FILE *f = fopen("/proc/locks", "re");
            char wanted[32];
            snprintf(wanted, sizeof wanted, " %d ", (int)getppid());
            while (f != NULL && fgets(line, sizeof line, f) != NULL)
                waiting = waiting || (strstr(line, "->") != NULL && strstr(line, wanted) != NULL);
            if (f != NULL)
                fclose(f);
            sched_yield();
        }
        _exit(kill(pid, SIGKILL));
    }
    double before = seconds();
    assert_int_equal(take(&lock, 30), NEXTPORT_OK);
    assert_true(seconds() - before < 20);
    np_lock_release(lock);
    assert_exits_with(killer, 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_strangers_lock_is_not_blamed_on_the_last_holder(void **state)
{
    (void)state;
    struct np_lock *lock;
    end(holder());
    int fd = open(beside("-lock"), O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(take(&lock, 0), NEXTPORT_RETRY);
    close(fd);
    assert_said("locked by a process that did not leave its name");
}

static void nonsense_in_the_lock_file_is_harmless(void **state)
{
    (void)state;
    static const char *const notes[] = {"", "x", "-1 0 init", "99999999999999999999 1 x", "1", "0 0 \n", "1 1 "};
    struct np_lock *lock;
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        int fd = open(beside("-lock"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, notes[i], strlen(notes[i])), strlen(notes[i]));
        assert_int_equal(flock(fd, LOCK_EX), 0);
        assert_int_equal(take(&lock, 0), NEXTPORT_RETRY);
        close(fd);
        assert_said("did not leave its name");
    }
}

static void sixty_four_waiters_are_all_served(void **state)
{
    (void)state;
    enum { N = 64 };
    pid_t pids[N];
    struct np_lock *lock;
    assert_int_equal(take(&lock, 0), NEXTPORT_OK);
    touch(path, 0600);
    for (int i = 0; i < N; i++) {
        pids[i] = child();
        if (pids[i] != 0)
            continue;
        /* A counter that only works when one holds the lock. */
        struct np_lock *own;
        char text[32] = "";
        if (take(&own, 60) != NEXTPORT_OK)
            _exit(1);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        sched_yield();
        int length = snprintf(text, sizeof text, "%d", (n > 0 ? atoi(text) : 0) + 1);
        bool written = pwrite(fd, text, (size_t)length, 0) == length;
        np_lock_release(own);
        _exit(written ? 0 : 2);
    }
    np_lock_release(lock);
    for (int i = 0; i < N; i++)
        assert_exits_with(pids[i], 0);
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_int_equal(atoi(text), N);
}

/* The deadline and the release race, again and again: the lock is ours or free, never lost. */
static void a_lock_won_at_the_last_moment_is_not_lost(void **state)
{
    (void)state;
    int won = 0;
    for (int i = 0; i < 4; i++) {
        int taken[2];
        char byte = 0;
        struct np_lock *lock;
        assert_int_equal(pipe(taken), 0);
        pid_t pid = child();
        if (pid == 0) {
            const long ms = 985 + i * 10;
            const struct timespec held = {ms / 1000, ms % 1000 * 1000000};
            bool ok = take(&lock, 10) == NEXTPORT_OK && write(taken[1], &byte, 1) == 1;
            _exit(!ok || clock_nanosleep(CLOCK_MONOTONIC, 0, &held, NULL) != 0);
        }
        close(taken[1]);
        assert_int_equal(read(taken[0], &byte, 1), 1);
        close(taken[0]);
        if (take(&lock, 1) == NEXTPORT_OK) {
            won++;
            np_lock_release(lock);
        }
        assert_exits_with(pid, 0);
        assert_int_equal(take(&lock, 0), NEXTPORT_OK);
        np_lock_release(lock);
    }
    print_message("# won %d of 4\n", won);
}

static void a_lock_that_is_not_a_file_is_refused(void **state)
{
    (void)state;
    struct np_lock *lock;
    assert_int_equal(symlink("/etc/passwd", beside("-lock")), 0);
    assert_int_equal(take(&lock, 0), NEXTPORT_LEDGER);
    assert_int_equal(unlink(beside("-lock")), 0);
    assert_int_equal(mkfifo(beside("-lock"), 0600), 0);
    assert_int_equal(take(&lock, 0), NEXTPORT_LEDGER);
    assert_int_equal(unlink(beside("-lock")), 0);
    assert_int_equal(mkdir(beside("-lock"), 0700), 0);
    assert_int_equal(take(&lock, 0), NEXTPORT_LEDGER);
}

static void an_open_lock_file_is_closed_to_others(void **state)
{
    (void)state;
    struct np_lock *lock;
    touch(beside("-lock"), 0666);
    assert_int_equal(take(&lock, 0), NEXTPORT_OK);
    assert_int_equal(mode_of(beside("-lock")), 0600);
    np_lock_release(lock);
}

static void the_lock_of_a_groups_ledger_is_the_groups(void **state)
{
    (void)state;
    as_root_only();
    struct np_lock *lock;
    struct stat st;
    touch(path, 0664);
    assert_int_equal(chown(path, 0, NOBODY), 0);
    assert_int_equal(take(&lock, 0), NEXTPORT_OK);
    np_lock_release(lock);
    assert_int_equal(stat(beside("-lock"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(st.st_gid, NOBODY);
}

static void a_program_that_we_start_does_not_inherit_the_lock(void **state)
{
    (void)state;
    struct np_lock *lock;
    assert_int_equal(take(&lock, 0), NEXTPORT_OK);
    pid_t pid = child();
    if (pid == 0) {
        execl("/bin/cat", "cat", (char *)NULL);
        _exit(127);
    }
    np_lock_release(lock);
    assert_int_equal(take(&lock, 0), NEXTPORT_OK);
    np_lock_release(lock);
    end(pid);
}

/* ---- Vetting ------------------------------------------------------------------------------------------------- */

static enum nextport_status vet_as(enum np_place place, bool write, bool *ret_present)
{
    err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    return np_host_ledger_vet(path, place, write, ret_present, &err);
}

static void assert_vet(enum np_place place, enum nextport_status status, const char *text)
{
    bool present;
    if (vet_as(place, true, &present) != status)
        fail_msg("%d %s", err.status, err.text);
    if (status != NEXTPORT_OK)
        assert_said(text);
}

static void assert_refused(enum nextport_status status, const char *text)
{
    assert_vet(NP_PLACE_GIVEN, status, text);
}

static void what_is_as_promised_is_accepted(void **state)
{
    (void)state;
    bool present = true;
    assert_int_equal(vet_as(NP_PLACE_GIVEN, true, &present), NEXTPORT_OK);
    assert_false(present);
    touch(beside("-lock"), 0600);
    assert_int_equal(vet_as(NP_PLACE_GIVEN, true, &present), NEXTPORT_OK);
    assert_false(present);
    touch(path, 0600);
    touch(beside("-wal"), 0600);
    touch(beside("-shm"), 0600);
    assert_int_equal(vet_as(NP_PLACE_GIVEN, true, &present), NEXTPORT_OK);
    assert_true(present);
    assert_int_equal(vet_as(NP_PLACE_USER, false, &present), NEXTPORT_OK);
    assert_true(present);
}

static void a_folder_that_is_missing_has_no_ledger(void **state)
{
    (void)state;
    bool present = true;
    snprintf(path, sizeof path, "%.4000s/a/b/ledger.db", folder);
    assert_int_equal(vet_as(NP_PLACE_GIVEN, true, &present), NEXTPORT_OK);
    assert_false(present);
    assert_int_equal(np_host_ledger_folder(path, NP_PLACE_GIVEN, &err), NEXTPORT_INPUT);
}

static void only_a_plain_file_is_a_ledger(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"", "-wal", "-shm", "-lock", "-journal"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (i == 1)
            touch(path, 0600);
        assert_int_equal(symlink("/etc/passwd", beside(suffixes[i])), 0);
        assert_refused(NEXTPORT_LEDGER, "a symbolic link, not a plain file");
        assert_int_equal(unlink(beside(suffixes[i])), 0);
        assert_int_equal(mkfifo(beside(suffixes[i]), 0600), 0);
        assert_refused(NEXTPORT_LEDGER, "a named pipe, not a plain file");
        assert_int_equal(unlink(beside(suffixes[i])), 0);
        assert_int_equal(mkdir(beside(suffixes[i]), 0700), 0);
        assert_refused(NEXTPORT_LEDGER, "a folder, not a plain file");
        assert_int_equal(rmdir(beside(suffixes[i])), 0);
    }
}

static void a_log_without_its_ledger_is_not_thrown_away(void **state)
{
    (void)state;
    touch(beside("-wal"), 0600);
    assert_refused(NEXTPORT_LEDGER, "there is no ledger to it, and it holds leases");
}

static void a_file_that_others_may_write_is_refused(void **state)
{
    (void)state;
    touch(path, 0602);
    assert_refused(NEXTPORT_DENIED, "anyone may write to it");
    assert_int_equal(chmod(path, 0660), 0);
    assert_refused(NEXTPORT_DENIED, "a group other than nextport may write to it");
    assert_int_equal(chmod(path, 0600), 0);
    touch(beside("-wal"), 0622);
    assert_refused(NEXTPORT_DENIED, "anyone may write to it");
}

static void a_folder_that_others_may_write_is_refused(void **state)
{
    (void)state;
    assert_int_equal(chmod(folder, 0707), 0);
    assert_refused(NEXTPORT_DENIED, "anyone may write to the folder");
    assert_int_equal(chmod(folder, 0770), 0);
    assert_refused(NEXTPORT_DENIED, "a group other than nextport may write to the folder");
    assert_int_equal(chmod(folder, 0750), 0);
    assert_vet(NP_PLACE_USER, NEXTPORT_DENIED, "the folder is open to others");
    /* Also one further up. */
    snprintf(path, sizeof path, "%.4000s/below", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%.4000s/below/ledger.db", folder);
    assert_refused(NEXTPORT_OK, "");
    assert_int_equal(chmod(folder, 0777), 0);
    assert_refused(NEXTPORT_DENIED, "anyone may write to the folder");
}

static void a_sticky_folder_is_as_safe_as_the_files_in_it(void **state)
{
    (void)state;
    assert_int_equal(chmod(folder, 01777), 0);
    touch(path, 0600);
    assert_refused(NEXTPORT_OK, "");
    as_root_only();
    touch(beside("-wal"), 0600);
    assert_int_equal(chown(beside("-wal"), NOBODY, NOBODY), 0);
    assert_refused(NEXTPORT_DENIED, "the file belongs to another user");
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_DENIED, "anyone may write to the folder");
}

static void what_belongs_to_another_user_is_refused(void **state)
{
    (void)state;
    as_root_only();
    touch(path, 0644);
    assert_int_equal(chown(path, NOBODY, NOBODY), 0);
    assert_refused(NEXTPORT_DENIED, "the file belongs to another user");
    assert_int_equal(chown(path, 0, 0), 0);
    assert_int_equal(chown(folder, NOBODY, NOBODY), 0);
    assert_refused(NEXTPORT_DENIED, "the folder belongs to another user");
    assert_int_equal(chown(folder, 0, 0), 0);
    assert_vet(NP_PLACE_MACHINE, NEXTPORT_OK, "");
}

static void only_links_of_root_and_our_own_are_followed(void **state)
{
    (void)state;
    char link[PATH_MAX + 8];
    snprintf(link, sizeof link, "%s/link", folder);
    snprintf(path, sizeof path, "%.4000s/real", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(symlink("real", link), 0);
    snprintf(path, sizeof path, "%.4000s/link/ledger.db", folder);
    assert_refused(NEXTPORT_OK, "");
    as_root_only();
    assert_int_equal(lchown(link, NOBODY, NOBODY), 0);
    assert_refused(NEXTPORT_DENIED, "a symbolic link of another user");
}

static int vet_as_nobody(void)
{
    bool present;
    if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
        return SKIP;
    if (vet_as(NP_PLACE_GIVEN, false, &present) != NEXTPORT_OK || !present)
        return 1;
    if (vet_as(NP_PLACE_GIVEN, true, &present) != NEXTPORT_DENIED || strstr(err.hint, "nextport setup") == NULL)
        return 2;
    return 0;
}

static void without_the_right_to_write_one_may_read(void **state)
{
    (void)state;
    as_root_only();
    assert_int_equal(chmod(folder, 0755), 0);
    touch(path, 0644);
    pid_t pid = child();
    if (pid == 0)
        _exit(vet_as_nobody());
    assert_exits_with(pid, 0);
}

static void a_path_that_names_no_file_is_bad_input(void **state)
{
    (void)state;
    bool present;
    static char long_path[2 * PATH_MAX];
    memset(long_path, 'x', sizeof long_path - 1);
    assert_int_equal(np_host_ledger_vet("", NP_PLACE_GIVEN, true, &present, &err), NEXTPORT_INPUT);
    assert_int_equal(np_host_ledger_vet("/tmp/", NP_PLACE_GIVEN, true, &present, &err), NEXTPORT_INPUT);
    assert_int_equal(np_host_ledger_vet(long_path, NP_PLACE_GIVEN, true, &present, &err), NEXTPORT_INPUT);
    assert_int_equal(np_host_ledger_vet("/etc/passwd/ledger.db", NP_PLACE_GIVEN, true, &present, &err), NEXTPORT_INPUT);
}

/* ---- Making -------------------------------------------------------------------------------------------------- */

static void a_users_folder_is_closed_whatever_the_umask(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%.4000s/.local/state/nextport/ledger.db", folder);
    mode_t before = umask(0);
    assert_int_equal(np_host_ledger_folder(path, NP_PLACE_USER, &err), NEXTPORT_OK);
    assert_int_equal(np_host_ledger_folder(path, NP_PLACE_USER, &err), NEXTPORT_OK);
    umask(before);
    assert_vet(NP_PLACE_USER, NEXTPORT_OK, "");
    snprintf(path, sizeof path, "%.4000s/.local", folder);
    assert_int_equal(mode_of(path), 0700);
}

static void a_ledger_is_published_once(void **state)
{
    (void)state;
    char made[PATH_MAX + 8];
    snprintf(made, sizeof made, "%s-new", path);
    touch(made, 0666);
    assert_int_equal(np_host_ledger_publish(made, path, NP_PLACE_GIVEN, &err), NEXTPORT_OK);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(access(made, F_OK), -1);
    touch(made, 0600);
    assert_int_equal(np_host_ledger_publish(made, path, NP_PLACE_GIVEN, &err), NEXTPORT_CONFLICT);
    assert_int_equal(access(made, F_OK), -1);
}

static void what_a_killed_maker_left_is_cleared(void **state)
{
    (void)state;
    char made[PATH_MAX + 8];
    snprintf(made, sizeof made, "%s-new", path);
    assert_int_equal(np_host_ledger_fresh(made, &err), NEXTPORT_OK);
    touch(made, 0600);
    touch(beside("-new-wal"), 0600);
    assert_int_equal(np_host_ledger_fresh(made, &err), NEXTPORT_OK);
    assert_int_equal(access(made, F_OK), -1);
    assert_int_equal(access(beside("-new-wal"), F_OK), -1);
    assert_int_equal(symlink("/etc/passwd", made), 0);
    assert_int_equal(np_host_ledger_fresh(made, &err), NEXTPORT_DENIED);
}

/* /etc as a copy of the test's own, so that groups can be made. */
static int make_everything(void)
{
    bool made, changed;
    char command[PATH_MAX * 4], etc[PATH_MAX + 8], secret[PATH_MAX + 8], var[PATH_MAX + 32];
    struct stat st;
    snprintf(etc, sizeof etc, "%s/etc", folder);
    snprintf(command, sizeof command, "cp -a /etc '%s' && sed -i /^nextport:/d '%s/group' '%s/gshadow'", etc, etc, etc);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || system(command) != 0 ||
        mount(etc, "/etc", NULL, MS_BIND, NULL) != 0 || access("/usr/sbin/groupadd", X_OK) != 0)
        return SKIP;
    if (np_host_make_group(&made, &err) != NEXTPORT_OK || !made || np_host_make_group(&made, &err) != NEXTPORT_OK ||
        made)
        return 1;
    snprintf(path, sizeof path, "%.4000s/var/lib/nextport/ledger.db", folder);
    snprintf(var, sizeof var, "%s/var/lib/nextport", folder);
    if (np_host_ledger_folder(path, NP_PLACE_MACHINE, &err) != NEXTPORT_OK || stat(var, &st) != 0 ||
        (st.st_mode & 07777) != 02775)
        return 2;
    const gid_t gid = st.st_gid;
    touch(path, 0600);
    touch(beside("-wal"), 0666);
    struct np_lock *lock;
    if (gid == 0 || np_host_ledger_modes(path, &changed, &err) != NEXTPORT_OK || !changed ||
        np_lock_take(&lock, path, NP_PLACE_MACHINE, 0, &err) != NEXTPORT_OK || stat(path, &st) != 0 ||
        (st.st_mode & 07777) != 0664 || st.st_gid != gid || mode_of(beside("-lock")) != 0660 ||
        mode_of(beside("-wal")) != 0664)
        return 3;
    np_lock_release(lock);
    if (np_host_ledger_modes(path, &changed, &err) != NEXTPORT_OK || changed)
        return 4;
    /* A member makes -shm, which is then the member's; a file of nobody's group is not. */
    touch(beside("-shm"), 0664);
    if (chown(beside("-shm"), NOBODY, gid) != 0 || vet_as(NP_PLACE_MACHINE, true, &made) != NEXTPORT_OK)
        return 5;
    if (chown(beside("-shm"), NOBODY, NOBODY) != 0 || vet_as(NP_PLACE_MACHINE, true, &made) != NEXTPORT_DENIED)
        return 6;
    snprintf(secret, sizeof secret, "%s/secret", folder);
    touch(secret, 0600);
    /* What has a second name may be anybody's: its mode is not touched. */
    if (link(secret, beside("-journal")) != 0)
        return SKIP;
    return np_host_ledger_modes(path, &changed, &err) == NEXTPORT_LEDGER && mode_of(secret) == 0600 ? 0 : 7;
}

static void setup_makes_group_folder_and_modes(void **state)
{
    (void)state;
    as_root_only();
    pid_t pid = child();
    if (pid == 0) {
        int status = make_everything();
        if (status != 0)
            fprintf(stderr, "# step %d: %s\n", status, err.text);
        _exit(status);
    }
    assert_exits_with(pid, 0);
}

static void the_users_ledger_has_its_place(void **state)
{
    (void)state;
    const char *got;
    struct np_arena *a = np_arena_new();
    setenv("XDG_STATE_HOME", "/x/state", 1);
    assert_int_equal(np_host_user_ledger(a, &got, &err), NEXTPORT_OK);
    assert_string_equal(got, "/x/state/nextport/ledger.db");
    setenv("XDG_STATE_HOME", "relative", 1);
    setenv("HOME", "/home/x", 1);
    assert_int_equal(np_host_user_ledger(a, &got, &err), NEXTPORT_OK);
    assert_string_equal(got, "/home/x/.local/state/nextport/ledger.db");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    assert_int_equal(np_host_user_ledger(a, &got, &err), NEXTPORT_OK);
    assert_int_equal(got[0], '/');
    np_arena_free(a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_released_lock_can_be_taken_again),
        TEST(two_handles_of_one_process_exclude_each_other),
        TEST(the_deadline_names_the_holder),
        TEST(a_stopped_holder_is_called_stopped),
        TEST(a_killed_holder_frees_the_lock),
        TEST(a_waiter_goes_on_as_soon_as_the_holder_ends),
        TEST(a_strangers_lock_is_not_blamed_on_the_last_holder),
        TEST(nonsense_in_the_lock_file_is_harmless),
        TEST(sixty_four_waiters_are_all_served),
        TEST(a_lock_won_at_the_last_moment_is_not_lost),
        TEST(a_lock_that_is_not_a_file_is_refused),
        TEST(an_open_lock_file_is_closed_to_others),
        TEST(the_lock_of_a_groups_ledger_is_the_groups),
        TEST(a_program_that_we_start_does_not_inherit_the_lock),
        TEST(what_is_as_promised_is_accepted),
        TEST(a_folder_that_is_missing_has_no_ledger),
        TEST(only_a_plain_file_is_a_ledger),
        TEST(a_log_without_its_ledger_is_not_thrown_away),
        TEST(a_file_that_others_may_write_is_refused),
        TEST(a_folder_that_others_may_write_is_refused),
        TEST(a_sticky_folder_is_as_safe_as_the_files_in_it),
        TEST(what_belongs_to_another_user_is_refused),
        TEST(only_links_of_root_and_our_own_are_followed),
        TEST(without_the_right_to_write_one_may_read),
        TEST(a_path_that_names_no_file_is_bad_input),
        TEST(a_users_folder_is_closed_whatever_the_umask),
        TEST(a_ledger_is_published_once),
        TEST(what_a_killed_maker_left_is_cleared),
        TEST(setup_makes_group_folder_and_modes),
        TEST(the_users_ledger_has_its_place),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
