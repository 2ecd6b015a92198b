/* Which process has a socket: the links in /proc/PID/fd, read once and ordered by inode. And which process is which.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct owner {
    uint64_t inode;
    int64_t pid;
    const char *program, *unit; /* NULL: not visible; no unit */
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

static bool read_small(const char *path, char *ret, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t len = fd < 0 ? -1 : read(fd, ret, size - 1);
    if (fd >= 0)
        close(fd);
    ret[len > 0 ? len : 0] = '\0';
    return len > 0;
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

static bool is_unit(struct np_text name)
{
    const char *dot = name.len ? memrchr(name.ptr, '.', name.len) : NULL;
    const struct np_text suffix = {dot, dot ? name.len - (size_t)(dot - name.ptr) : 0};
    return np_text_is(suffix, ".service") || np_text_is(suffix, ".scope");
}

/* The last part of a line of cgroups(7) that is a unit: "0::/system.slice/shop.service/worker". */
static const char *unit_in(struct np_arena *arena, struct np_text line)
{
    const char *found = NULL;
    struct np_text part;
    while (np_text_split(&line, '/', &part))
        found = is_unit(part) ? np_text_dup(arena, part) : found;
    return found;
}

static const char *unit_of(struct np_arena *arena, int64_t pid)
{
    char path[32], text[4096];
    struct np_text line, rest;
    const char *unit = NULL;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/cgroup", pid);
    rest = np_text_of(read_small(path, text, sizeof text) ? text : "");
    while (!unit && np_text_split(&rest, '\n', &line))
        unit = unit_in(arena, line);
    return unit;
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
    struct owner owner = {.pid = pid};
    for (struct dirent *entry; (entry = readdir(dir));) {
        char link[64];
        uint64_t inode;
        ssize_t len = entry->d_name[0] == '.' ? 0 : readlinkat(fd, entry->d_name, link, sizeof link);
        if (len < 0)
            hide_unless_gone(processes, errno);
        if (len <= 0 || !socket_inode((struct np_text){.ptr = link, .len = (size_t)len}, &inode))
            continue;
        if (!owner.inode) {
            owner.program = program_of(processes->arena, pid);
            owner.unit = unit_of(processes->arena, pid);
        }
        owner.inode = inode;
        *(struct owner *)np_push(processes->arena, &processes->owners, &processes->n, &processes->capacity,
                                 sizeof owner) = owner;
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
                       const char **ret_program, const char **ret_unit)
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
    *ret_unit = processes->owners[low].unit;
    return true;
}

bool np_processes_hidden(const struct np_processes *processes)
{
    return processes->hidden;
}

/* ---- One process ------------------------------------------------------------------------------------------------ */

/* What is read of "PID (NAME) STATE PPID ..": proc_pid_stat(5) counts from 1, and NAME is the second. */
enum { STATE = 3, THREADS = 20, START = 22 };

struct process {
    char state;
    uint64_t threads, start; /* start: ticks since the system's start, as this time namespace counts them */
};

/* The name may hold anything, ") R 1" too: what counts stands behind its last parenthesis. */
static bool read_process_of(int64_t pid, struct process *ret)
{
    char path[32], stat[2048];
    struct np_text rest, word;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    const char *end = read_small(path, stat, sizeof stat) ? strrchr(stat, ')') : NULL;
    if (!end || end[1] != ' ')
        return false;
    rest = np_text_of(end + 2);
    for (int field = STATE; np_text_split(&rest, ' ', &word); field++) {
        if (field == STATE)
            ret->state = word.len ? word.ptr[0] : '\0';
        else if (field == THREADS && !np_text_u64(word, UINT64_MAX, &ret->threads))
            return false;
        else if (field == START)
            return np_text_u64(word, UINT64_MAX, &ret->start);
    }
    return false;
}

const char *np_host_command_of(struct np_arena *arena, const char *pid_file)
{
    enum { WORDS_MAX = 4096 }; /* bytes: what comes later is not looked for */
    char number[32], path[48], *words = np_alloc(arena, WORDS_MAX);
    uint64_t pid;
    if (!read_small(pid_file, number, sizeof number) || !np_text_u64(np_text_trim(np_text_of(number)), INT32_MAX, &pid))
        return NULL;
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, words, WORDS_MAX - 1);
    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < len; i++)
        if (!words[i])
            words[i] = ' ';
    return len > 0 ? words : NULL;
}

/* 0: this kernel has no such namespaces. */
static uint64_t namespace_of(const char *path)
{
    struct stat seen;
    return stat(path, &seen) == 0 ? (uint64_t)seen.st_ino : 0;
}

static const char hexadecimal[] = "0123456789abcdef";

bool np_boot_text(char ret[NP_BOOT_SIZE])
{
    char id[64], self[32];
    ssize_t len = readlink("/proc/self", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    if (len <= 0 || strtol(self, NULL, 10) != getpid() ||
        !read_small("/proc/sys/kernel/random/boot_id", id, sizeof id) || strspn(id, hexadecimal) < NP_BOOT_DIGITS)
        return false;
    snprintf(ret, NP_BOOT_SIZE, "%.*s:%" PRIu64 ":%" PRIu64, NP_BOOT_DIGITS, id, namespace_of("/proc/self/ns/pid"),
             namespace_of("/proc/self/ns/time"));
    return true;
}

const char *np_process_self(struct np_arena *arena)
{
    char boot[NP_BOOT_SIZE];
    struct process self = {0};
    if (!np_boot_text(boot) || !read_process_of(getpid(), &self))
        return NULL;
    return np_sprintf(arena, "%d %" PRIu64 " %s", (int)getpid(), self.start, boot);
}

/* A zombie has ended, unless it is the first thread of a process whose others go on. */
static bool is_over(const struct process *process)
{
    return process->state == 'X' || (process->state == 'Z' && process->threads <= 1);
}

bool np_process_has_ended(const char *text)
{
    char boot[NP_BOOT_SIZE];
    struct np_text rest = np_text_of(text), pid_word, start_word, boot_word;
    uint64_t pid, start;
    if (!np_text_split(&rest, ' ', &pid_word) || !np_text_split(&rest, ' ', &start_word) ||
        !np_text_split(&rest, ' ', &boot_word) || !np_text_u64(pid_word, INT32_MAX, &pid) || pid == 0 ||
        !np_text_u64(start_word, UINT64_MAX, &start) || strspn(boot_word.ptr, hexadecimal) != NP_BOOT_DIGITS ||
        !np_boot_text(boot))
        return false;
    if (memcmp(boot_word.ptr, boot, NP_BOOT_DIGITS) != 0)
        return true;
    if (!np_text_is(boot_word, boot))
        return false;
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH)
        return true;
    struct process found = {0}; /* the mount option hidepid= may keep it from us: then it lives */
    return read_process_of((int64_t)pid, &found) && (found.start != start || is_over(&found));
}
