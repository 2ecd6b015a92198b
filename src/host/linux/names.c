/* The name service, asked through getent(1): its plugins belong to the libc of the system, and the program brings its own
 * libc along. Rare: what is in /etc/group and HOME answers first.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/text.h"
#include "host/linux/linux.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reads to the end or until `ret` is full. */
static size_t read_all(int fd, char *ret, size_t size)
{
    size_t len = 0;
    ssize_t n;
    while (len < size && ((n = read(fd, ret + len, size - len)) > 0 || (n < 0 && errno == EINTR)))
        len += n > 0 ? (size_t)n : 0;
    return len;
}

/* What getent says; whether it fails or is missing, it says nothing. */
static size_t run_getent(char *const argv[], char *ret, size_t size)
{
    char *envp[] = {(char[]){"PATH=/usr/bin:/bin"}, (char[]){"LC_ALL=C"}, NULL};
    posix_spawn_file_actions_t files;
    size_t len = 0;
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return 0;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const int failed = posix_spawn(&pid, "/usr/bin/getent", &files, NULL, argv, envp);
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    if (!failed)
        len = read_all(ends[0], ret, size);
    close(ends[0]);
    while (!failed && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return len;
}

bool np_name_field(const char *database, const char *key, unsigned field, char *ret, size_t size)
{
    char text[8192], what[32], whose[64];
    char *argv[] = {(char[]){"getent"}, what, whose, NULL};
    snprintf(what, sizeof what, "%s", database);
    snprintf(whose, sizeof whose, "%s", key);
    struct np_text line, part, rest = {.ptr = text, .len = run_getent(argv, text, sizeof text)};
    if (!np_text_split(&rest, '\n', &line))
        return false;
    for (unsigned i = 0; i <= field; i++)
        if (!np_text_split(&line, ':', &part))
            return false;
    return snprintf(ret, size, "%.*s", (int)part.len, part.ptr) < (int)size;
}
