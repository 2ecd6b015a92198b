/* Has a network namespace ended? Nobody tells, so it is looked for: where no process is in it and nothing keeps it by a
 * mount, nothing can use a port of it.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_PIDS UINT64_C(0xEFFFFFFC) /* the number of the namespace in which every process is seen */

/* "1a2b3c4d:PIDS:TIMES:FILE", FILE being the number of /proc/net/dev, which each network namespace has its own of: everyone
 * may look at that of any process, and only root at ns/net. */
const char *np_scope_life(struct np_arena *arena)
{
    char boot[NP_BOOT_SIZE];
    struct stat seen;
    if (!np_boot_text(boot) || stat("/proc/self/net/dev", &seen) != 0)
        return NULL;
    return np_sprintf(arena, "%s:%ju", boot, (uintmax_t)seen.st_ino);
}

/* A number in what np_scope_life() said; 0: it does not say. */
enum part { BOOT, PIDS, TIMES, FILE_NUMBER };

static uint64_t part_of(const char *life, enum part wanted)
{
    struct np_text rest = np_text_of(life), part = {NULL, 0};
    uint64_t number;
    for (int i = BOOT; i <= (int)wanted; i++)
        if (!np_text_split(&rest, ':', &part))
            return 0;
    return np_text_u64(part, UINT64_MAX, &number) ? number : 0;
}

enum found { NOT_FOUND, FOUND, UNKNOWN };

/* A network namespace: the numbers of its own file and of its /proc/net/dev are used again when it has ended, its cookie
 * is not (0: this kernel has none). */
struct space {
    uint64_t inode, file, cookie;
};

/* Of a process that ends under our eyes, or has and was not waited for, there is no such file. */
static bool has_ended(int errnum)
{
    return errnum == ENOENT || errnum == ESRCH || errnum == EINVAL;
}

struct asked {
    int fd;
    uint64_t cookie;
};

/* In a thread of its own, which is in the other namespace while it lives. */
static void *ask_cookie(void *ctx)
{
    struct asked *asked = ctx;
    if (setns(asked->fd, CLONE_NEWNET) == 0)
        asked->cookie = np_network_cookie();
    return NULL;
}

/* Is the namespace of this file, whose number is the same, the one? So it is where that cannot be found out. */
static enum found is_same(int folder, const char *path, uint64_t cookie)
{
    struct asked asked = {.fd = openat(folder, path, O_RDONLY | O_CLOEXEC)};
    pthread_t thread;
    if (asked.fd < 0)
        return has_ended(errno) ? NOT_FOUND : FOUND;
    if (cookie && pthread_create(&thread, NULL, ask_cookie, &asked) == 0)
        pthread_join(thread, NULL);
    close(asked.fd);
    return asked.cookie && asked.cookie != cookie ? NOT_FOUND : FOUND;
}

static enum found is_in(int folder, const char *name, const struct space *space)
{
    char path[NAME_MAX + 16];
    struct stat seen;
    snprintf(path, sizeof path, "%s/net/dev", name);
    if (fstatat(folder, path, &seen, 0) != 0)
        return has_ended(errno) ? NOT_FOUND : UNKNOWN;
    snprintf(path, sizeof path, "%s/ns/net", name);
    return (uint64_t)seen.st_ino == space->file ? is_same(folder, path, space->cookie) : NOT_FOUND;
}

typedef enum found look_fn(int folder, const char *name, const struct space *);

/* Each entry of a folder whose name is a number. */
static enum found any(int folder, look_fn *look, const struct space *space)
{
    DIR *dir = folder < 0 ? NULL : fdopendir(folder);
    enum found found = dir || has_ended(errno) ? NOT_FOUND : UNKNOWN;
    if (!dir && folder >= 0)
        close(folder);
    errno = 0;
    for (struct dirent *entry; dir && found == NOT_FOUND && (entry = readdir(dir)); errno = 0)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            found = look(dirfd(dir), entry->d_name, space);
    if (dir && found == NOT_FOUND && errno != 0 && !has_ended(errno))
        found = UNKNOWN;
    if (dir)
        closedir(dir);
    return found;
}

/* Each thread may be in a namespace of its own. */
static enum found any_thread(int folder, const char *name, const struct space *space)
{
    char path[NAME_MAX + 16];
    snprintf(path, sizeof path, "%s/task", name);
    return any(openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), is_in, space);
}

/* "412 29 0:4 net:[4026532179] /run/netns/blue rw ..": what keeps a namespace in which no process is. */
static enum found is_mount(char *line, const struct space *space)
{
    char root[40], *word, *rest = line, *words[5];
    snprintf(root, sizeof root, "net:[%" PRIu64 "]", space->inode);
    for (size_t i = 0; i < 5; i++)
        if (!(words[i] = strtok_r(rest, " ", &word)))
            return NOT_FOUND;
        else
            rest = NULL;
    if (strcmp(words[3], root) != 0)
        return NOT_FOUND;
    return strchr(words[4], '\\') ? FOUND : is_same(AT_FDCWD, words[4], space->cookie);
}

static enum found any_mount(const struct space *space)
{
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    enum found found = file ? NOT_FOUND : UNKNOWN;
    while (file && found == NOT_FOUND && getline(&line, &size, file) > 0)
        found = is_mount(line, space);
    if (file && ferror(file))
        found = UNKNOWN;
    free(line);
    if (file)
        fclose(file);
    return found;
}

/* Others than root may not see every process; and of other containers' nothing is seen from within one. */
static bool is_gone(const struct space *space, uint64_t pids_then, uint64_t pids_now)
{
    if (geteuid() != 0 || !space->file || (pids_now != FIRST_PIDS && pids_now != pids_then))
        return false;
    return any(open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), any_thread, space) == NOT_FOUND &&
           any_mount(space) == NOT_FOUND;
}

bool np_scope_has_ended(const char *scope, const char *life)
{
    static const char form[] = "net:";
    char now[NP_BOOT_SIZE];
    struct np_text rest = np_text_of(scope), inode, cookie;
    struct space space = {.file = part_of(life, FILE_NUMBER)};
    if (strncmp(scope, form, sizeof form - 1) != 0 || strspn(life, "0123456789abcdef") != NP_BOOT_DIGITS ||
        !np_boot_text(now))
        return false;
    if (memcmp(life, now, NP_BOOT_DIGITS) != 0)
        return true;
    rest.ptr += sizeof form - 1;
    rest.len -= sizeof form - 1;
    return np_text_split(&rest, ':', &inode) && np_text_u64(inode, UINT64_MAX, &space.inode) &&
           np_text_split(&rest, ':', &cookie) && np_text_u64(cookie, UINT64_MAX, &space.cookie) &&
           is_gone(&space, part_of(life, PIDS), part_of(now, PIDS));
}
