/* Which process has a socket: the links in /proc/PID/fd, read once and ordered by inode.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct owner {
    uint64_t inode;
    int64_t pid;
    const char *program; /* NULL: not visible */
};

struct np_processes {
    struct np_arena *arena;
    struct owner *owners; /* by inode, then by process: the oldest of several is mostly the master */
    size_t n, capacity;
    bool hidden;
};

static int by_inode(const void *a, const void *b)
{
    const struct owner *x = a, *y = b;
    if (x->inode != y->inode)
        return x->inode < y->inode ? -1 : 1;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static bool number_of(const char *text, uint64_t *ret)
{
    return np_text_u64(np_text_of(text), INT32_MAX, ret);
}

/* "socket:[12345]" */
static bool socket_inode(struct np_text link, uint64_t *ret)
{
    static const char prefix[] = "socket:[";
    if (link.len < sizeof prefix || memcmp(link.ptr, prefix, sizeof prefix - 1) != 0)
        return false;
    struct np_text digits = {.ptr = link.ptr + sizeof prefix - 1, .len = link.len - sizeof prefix};
    return np_text_u64(digits, UINT64_MAX, ret);
}

/* The kernel keeps 15 bytes of the name; the file's name has the rest, where we may see it. */
static const char *whole_name(struct np_arena *arena, int64_t pid, const char *name)
{
    char path[32], file[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%lld/exe", (long long)pid);
    ssize_t len = readlink(path, file, sizeof file - 1);
    if (len > 0) {
        file[len] = '\0';
        const char *slash = strrchr(file, '/');
        if (slash && strncmp(slash + 1, name, strlen(name)) == 0)
            name = slash + 1;
    }
    return np_strdup(arena, name);
}

static const char *program_of(struct np_arena *arena, int64_t pid)
{
    enum { LONGEST = 15 };
    char path[32], name[64];
    snprintf(path, sizeof path, "/proc/%lld/comm", (long long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    ssize_t len = read(fd, name, sizeof name - 1);
    close(fd);
    if (len <= 0)
        return NULL;
    name[len] = '\0';
    if (name[len - 1] == '\n')
        name[--len] = '\0';
    return len < LONGEST ? np_strdup(arena, name) : whole_name(arena, pid, name);
}

/* A process that ended meanwhile is none; anything else that keeps us out may hide sockets. */
static void hide_unless_gone(struct np_processes *processes, int errnum)
{
    if (errnum != ENOENT && errnum != ESRCH)
        processes->hidden = true;
}

static void add_owner(struct np_processes *processes, uint64_t inode, int64_t pid, const char *program)
{
    struct owner *owner =
        np_push(processes->arena, &processes->owners, &processes->n, &processes->capacity, sizeof *owner);
    *owner = (struct owner){.inode = inode, .pid = pid, .program = program};
}

static void read_process(struct np_processes *processes, int proc, int64_t pid)
{
    char path[32];
    snprintf(path, sizeof path, "%lld/fd", (long long)pid);
    int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        hide_unless_gone(processes, errno);
        if (fd >= 0)
            close(fd);
        return;
    }
    const char *program = NULL;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char link[64];
        uint64_t inode;
        ssize_t len = entry->d_name[0] == '.' ? 0 : readlinkat(fd, entry->d_name, link, sizeof link);
        if (len < 0)
            hide_unless_gone(processes, errno);
        if (len <= 0 || !socket_inode((struct np_text){.ptr = link, .len = (size_t)len}, &inode))
            continue;
        program = program ? program : program_of(processes->arena, pid);
        add_owner(processes, inode, pid, program);
    }
    closedir(dir);
}

/* The mount option hidepid= leaves other users' processes out of /proc altogether; the first one is always there. */
struct np_processes *np_processes_read(struct np_arena *arena)
{
    struct np_processes *processes = np_alloc(arena, sizeof *processes);
    processes->arena = arena;
    DIR *proc = opendir("/proc");
    processes->hidden = !proc || faccessat(dirfd(proc), "1", F_OK, 0) != 0;
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        uint64_t pid;
        if (number_of(entry->d_name, &pid))
            read_process(processes, dirfd(proc), (int64_t)pid);
    }
    if (proc)
        closedir(proc);
    if (processes->n > 1)
        qsort(processes->owners, processes->n, sizeof *processes->owners, by_inode);
    return processes;
}

bool np_processes_find(const struct np_processes *processes, uint64_t process_key, int64_t *ret_pid,
                       const char **ret_program)
{
    size_t low = 0, high = processes->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (processes->owners[middle].inode < process_key)
            low = middle + 1;
        else
            high = middle;
    }
    if (process_key == 0 || low == processes->n || processes->owners[low].inode != process_key)
        return false;
    *ret_pid = processes->owners[low].pid;
    *ret_program = processes->owners[low].program;
    return true;
}

bool np_processes_hidden(const struct np_processes *processes)
{
    return processes->hidden;
}
