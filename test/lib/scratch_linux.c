/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Files ---------------------------------------------------------------------------------------------------- */

const char scratch_odd_name[] = "a%41?mode=memory#x.db";

void scratch_make(char *ret, const char *name)
{
    const char *tmp = getenv("TMPDIR");
    assert_in_range(snprintf(ret, SCRATCH_PATH, "%s/nextport-%s-XXXXXX", tmp ? tmp : "/tmp", name), 1,
                    SCRATCH_PATH - 1);
    if (!mkdtemp(ret))
        fail_msg("%s: %s", ret, strerror(errno));
}

static int remove_entry(const char *file, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(file);
}

bool scratch_remove(const char *folder)
{
    return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0;
}

void scratch_add_folder(const char *path)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        fail_msg("%s: %s", path, strerror(errno));
}

void scratch_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

size_t scratch_list(const char *folder, const char *suffix, char ***ret)
{
    struct dirent **entries;
    const int found = scandir(folder, &entries, NULL, by_bytes);
    if (found < 0)
        fail_msg("%s: %s", folder, strerror(errno));
    char **names = calloc(found > 0 ? (size_t)found : 1, sizeof *names);
    assert_non_null(names);
    size_t n = 0;
    for (int i = 0; i < found; i++) {
        const char *name = entries[i]->d_name;
        const size_t length = strlen(name);
        if (length > strlen(suffix) && strcmp(name + length - strlen(suffix), suffix) == 0)
            assert_non_null(names[n++] = strdup(name));
        free(entries[i]);
    }
    free(entries);
    *ret = names;
    return n;
}

/* Root may read every file, so it becomes nobody for a while. */
bool scratch_deny(const char *folder, const char *path)
{
    const uid_t user = geteuid(), nobody = 65534;
    assert_int_equal(chmod(folder, 0755) | chmod(path, 0), 0);
    assert_int_equal(seteuid(user ? user : nobody), 0);
    return true;
}

void scratch_permit(const char *path)
{
    assert_int_equal(seteuid(getuid()), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

/* ---- Processes ------------------------------------------------------------------------------------------------ */

/* Between fork() and exec only what is safe there. */
static void become(char **words, int output)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(output, STDOUT_FILENO) == STDOUT_FILENO)
        execv("/proc/self/exe", words);
    _exit(127);
}

scratch_handle scratch_start(const char *const *words, scratch_handle output)
{
    char *argv[8] = {program_invocation_name};
    for (size_t i = 0; words[i]; i++) {
        assert_true(i + 2 < sizeof argv / sizeof *argv);
        argv[i + 1] = (char *)(uintptr_t)words[i];
    }
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        become(argv, output == SCRATCH_NONE ? STDERR_FILENO : (int)output);
    return pid;
}

void scratch_kill(scratch_handle process)
{
    assert_int_equal(kill((pid_t)process, SIGKILL), 0);
}

int scratch_wait(scratch_handle process)
{
    int status;
    assert_int_equal(waitpid((pid_t)process, &status, 0), process);
    return WIFEXITED(status) ? WEXITSTATUS(status) : SCRATCH_KILLED;
}

void scratch_pipe(scratch_handle ends[2])
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    ends[0] = fds[0];
    ends[1] = fds[1];
}

bool scratch_hear(scratch_handle from, void *ret, size_t n)
{
    ssize_t got = 1;
    size_t there = 0;
    while (there < n && (got = read((int)from, (char *)ret + there, n - there)) > 0)
        there += (size_t)got;
    assert_true(got >= 0 && (there == n || there == 0));
    return there == n;
}

bool scratch_say(const void *what, size_t n)
{
    return write(STDOUT_FILENO, what, n) == (ssize_t)n;
}

void scratch_close(scratch_handle end)
{
    close((int)end);
}
