/* Files of one machine: this one, or an image below a root. In an image every path, and every link on the way, is
 * resolved by the kernel inside the root (openat2, RESOLVE_IN_ROOT), so that no link leads out of it.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/map.h"
#include "host/linux/linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    GLOB_MATCHES = 10000,  /* more than any server's folder of sites; a bound on what an image can make us do */
    GLOB_ENTRIES = 200000, /* names looked at for one pattern */
    TRIES = 8,             /* RESOLVE_IN_ROOT gives EAGAIN while somebody renames folders */
    FIRST_READ = 4096,     /* for files that do not know their size, as in /proc */
};

/* Identity of a file's content; present = false: there was none. */
struct stamp {
    bool present;
    uint64_t device, inode, size;
    int64_t mtime_ns, ctime_ns;
};

/* What was at a path when it was looked at. */
struct seen {
    struct seen *next;
    const char *path;
    struct stamp stamp;
    bool settling; /* so fresh that a later change could leave the same times */
};

struct np_reader {
    struct np_arena *arena;
    const char *root;  /* NULL: this machine */
    int root_fd;       /* -1 without a root */
    struct seen *seen; /* the latest first */
    struct np_map by_path;
};

/* ---- Opening -------------------------------------------------------------------------------------------------- */

static int open_in_root(int root_fd, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)flags, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    for (int i = 0; i < TRIES && fd < 0; i++) {
        fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
        if (fd < 0 && errno != EAGAIN && errno != EINTR)
            break;
    }
    return (int)fd;
}

static int open_below(const struct np_reader *reader, const char *path, int flags)
{
    if (reader->root)
        return open_in_root(reader->root_fd, path, flags | O_CLOEXEC);
    return open(path, flags | O_CLOEXEC);
}

static enum nextport_status open_root(struct np_reader *reader, struct nextport_error *err)
{
    reader->root_fd = open(reader->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (reader->root_fd < 0)
        return np_fail_errno(err, errno == EACCES ? NEXTPORT_DENIED : NEXTPORT_INPUT, errno, "open root '%s'",
                             reader->root);
    int fd = open_in_root(reader->root_fd, "/", O_PATH | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return NEXTPORT_OK;
    }
    np_fail_errno(err, NEXTPORT_FAILED, errno, "stay inside root '%s': openat2", reader->root);
    if (errno == ENOSYS || errno == EPERM)
        np_hint(err, "Reading below a root needs Linux 5.6, and a container that allows the call openat2.");
    close(reader->root_fd);
    return err->status;
}

enum nextport_status np_reader_open(struct np_reader **ret, const char *root, struct np_arena *arena,
                                    struct nextport_error *err)
{
    struct np_reader *reader = np_alloc(arena, sizeof *reader);
    *reader =
        (struct np_reader){.arena = arena, .root = np_strdup(arena, root), .root_fd = -1, .by_path = {.arena = arena}};
    if (root && open_root(reader, err))
        return err->status;
    *ret = reader;
    return NEXTPORT_OK;
}

void np_reader_close(struct np_reader *reader)
{
    if (reader && reader->root_fd >= 0)
        close(reader->root_fd);
}

bool np_reader_has_root(const struct np_reader *reader)
{
    return reader->root != NULL;
}

const char *np_reader_shown(struct np_reader *reader, const char *path)
{
    size_t len = reader->root ? strlen(reader->root) : 0;
    while (len > 0 && reader->root[len - 1] == '/')
        len--;
    return len ? np_sprintf(reader->arena, "%.*s%s", (int)len, reader->root, path) : path;
}

static const char *because(struct np_reader *reader, int errnum)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    np_fail_errno(&err, NEXTPORT_FAILED, errnum, "x");
    return np_strdup(reader->arena, err.text + strlen("x: "));
}

/* ---- Stamps --------------------------------------------------------------------------------------------------- */

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static struct stamp stamp_of(const struct stat *st)
{
    return (struct stamp){.present = true,
                          .device = st->st_dev,
                          .inode = st->st_ino,
                          .size = (uint64_t)st->st_size,
                          .mtime_ns = nanoseconds(st->st_mtim),
                          .ctime_ns = nanoseconds(st->st_ctim)};
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->present == b->present && a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

/* File times advance in ticks (10 ms at most): what was written in the tick in which it was read may be written again
 * without a new time. */
static bool is_settling(const struct stamp *stamp)
{
    const int64_t two_ticks = 20 * 1000000;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return stamp->present && stamp->ctime_ns + two_ticks >= nanoseconds(now) && stamp->ctime_ns <= nanoseconds(now);
}

/* Keeps one stamp for each path, the last. To be called before the bytes are read: what is written later shows. */
static void remember(struct np_reader *reader, const char *path, const struct stamp *stamp)
{
    struct seen *seen = np_map_find(&reader->by_path, path);
    if (!seen) {
        seen = np_alloc(reader->arena, sizeof *seen);
        *seen = (struct seen){.next = reader->seen, .path = np_strdup(reader->arena, path)};
        *np_map_at(&reader->by_path, seen->path) = reader->seen = seen;
    }
    seen->stamp = *stamp;
    seen->settling = is_settling(stamp);
}

/* The stamp of whatever is at `path`; what cannot be looked at counts as absent, as it did then. */
static struct stamp stamp_at(const struct np_reader *reader, const char *path)
{
    struct stat st;
    struct stamp stamp = {0};
    if (!reader->root)
        return stat(path, &st) == 0 ? stamp_of(&st) : stamp;
    int fd = open_below(reader, path, O_PATH);
    if (fd < 0)
        return stamp;
    if (fstat(fd, &st) == 0)
        stamp = stamp_of(&st);
    close(fd);
    return stamp;
}

static void remember_path(struct np_reader *reader, const char *path)
{
    struct stamp stamp = stamp_at(reader, path);
    remember(reader, path, &stamp);
}

bool np_reader_changed(struct np_reader *reader)
{
    for (const struct seen *seen = reader->seen; seen; seen = seen->next) {
        struct stamp now = stamp_at(reader, seen->path);
        if (seen->settling || !same_stamp(&now, &seen->stamp))
            return true;
    }
    return false;
}

/* ---- Reading -------------------------------------------------------------------------------------------------- */

static const char *kind_of(mode_t mode)
{
    static const struct {
        mode_t type;
        const char *name;
    } kinds[] = {{S_IFDIR, "a folder"}, {S_IFIFO, "a FIFO"},           {S_IFCHR, "a device"},
                 {S_IFBLK, "a device"}, {S_IFSOCK, "a socket's name"}, {S_IFLNK, "a link"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if ((mode & S_IFMT) == kinds[i].type)
            return kinds[i].name;
    return "something else";
}

static enum np_read failed_read(struct np_reader *reader, int errnum, const char **why)
{
    *why = because(reader, errnum);
    if (errnum == ENOENT || errnum == ENOTDIR)
        return NP_READ_ABSENT;
    return errnum == EACCES || errnum == EPERM ? NP_READ_DENIED : NP_READ_BAD;
}

static enum np_read too_large(struct np_reader *reader, size_t limit, const char **why)
{
    *why = np_sprintf(reader->arena, "larger than %zu bytes, the most that is read", limit);
    return NP_READ_BAD;
}

/* Reads to the end, up to `limit` and one byte more to know that there is more. */
static enum np_read read_bytes(struct np_reader *reader, int fd, size_t expected, size_t limit, struct np_text *ret,
                               const char **why)
{
    size_t len = 0, capacity = expected ? expected + 1 : FIRST_READ;
    char *bytes = np_alloc(reader->arena, capacity + 1);
    for (;;) {
        ssize_t n = read(fd, bytes + len, capacity - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed_read(reader, errno, why);
        len += (size_t)n;
        if (len > limit)
            return too_large(reader, limit, why);
        if (n == 0 || (expected && len == expected)) /* had it grown meanwhile, its times would tell */
            break;
        if (len == capacity) {
            char *larger = np_alloc(reader->arena, 2 * capacity + 1);
            bytes = memcpy(larger, bytes, len);
            capacity *= 2;
        }
    }
    bytes[len] = '\0';
    *ret = (struct np_text){.ptr = bytes, .len = len};
    return NP_READ_OK;
}

/* *ret_moved: the file was written while we read. A file of size 0 may be one of /proc that does not say its size. */
static enum np_read read_file(struct np_reader *reader, const char *path, int fd, size_t limit, struct np_text *ret,
                              const char **why, bool *ret_moved)
{
    struct stat before, after;
    if (fstat(fd, &before) != 0)
        return failed_read(reader, errno, why);
    const struct stamp stamp = stamp_of(&before);
    remember(reader, path, &stamp);
    if (!S_ISREG(before.st_mode)) {
        *why = np_sprintf(reader->arena, "%s, not a file", kind_of(before.st_mode));
        return NP_READ_BAD;
    }
    if ((uint64_t)before.st_size > limit)
        return too_large(reader, limit, why);
    enum np_read outcome = read_bytes(reader, fd, (size_t)before.st_size, limit, ret, why);
    if (fstat(fd, &after) != 0)
        return failed_read(reader, errno, why);
    struct stamp now = stamp_of(&after);
    *ret_moved = !same_stamp(&stamp, &now) || (outcome == NP_READ_OK && stamp.size && ret->len != stamp.size);
    return outcome;
}

/* O_NONBLOCK: to open a FIFO must not wait for its writer. O_NOCTTY: to open a terminal must not make it ours. */
static enum np_read read_once(struct np_reader *reader, const char *path, size_t limit, struct np_text *ret,
                              const char **why, bool *ret_moved)
{
    int fd = open_below(reader, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        enum np_read outcome = failed_read(reader, errno, why);
        remember_path(reader, path);
        return outcome;
    }
    enum np_read outcome = read_file(reader, path, fd, limit, ret, why, ret_moved);
    close(fd);
    return outcome;
}

enum np_read np_reader_read(struct np_reader *reader, const char *path, size_t limit, struct np_text *ret,
                            const char **why)
{
    for (int i = 0; i < 2; i++) {
        bool moved = false;
        *ret = (struct np_text){0};
        *why = NULL;
        enum np_read outcome = read_once(reader, path, limit, ret, why, &moved);
        if (!moved)
            return outcome;
    }
    *ret = (struct np_text){0};
    *why = "it was written while it was read, twice";
    return NP_READ_BAD;
}

/* ---- Folders -------------------------------------------------------------------------------------------------- */

/* Takes the next component off an absolute path; doubled and trailing slashes are none. */
static bool next_component(struct np_text *rest, struct np_text *part)
{
    do {
        if (!np_text_split(rest, '/', part))
            return false;
    } while (part->len == 0);
    return true;
}

static const char *join(struct np_reader *reader, const char *folder, const char *name)
{
    return np_sprintf(reader->arena, "%s/%s", folder, name);
}

/* A folder's names, one call of `each` for every one until it says stop; "." and ".." are left out. `is_file`: a regular
 * file for certain. Returns an errno value. */
typedef bool name_fn(void *ctx, const char *name, bool is_file);

static int each_name(struct np_reader *reader, const char *folder, name_fn *each, void *ctx)
{
    const char *path = *folder ? folder : "/";
    remember_path(reader, path);
    int fd = open_below(reader, path, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int errnum = errno;
        if (fd >= 0)
            close(fd);
        return errnum;
    }
    struct dirent *entry;
    bool more = true;
    errno = 0;
    while (more && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            more = each(ctx, entry->d_name, entry->d_type == DT_REG);
        errno = 0;
    }
    int errnum = errno;
    closedir(dir);
    return errnum;
}

static bool is_absent(int errnum)
{
    return errnum == 0 || errnum == ENOENT || errnum == ENOTDIR;
}

static const char *folder_unreadable(struct np_reader *reader, const char *folder, int errnum)
{
    return np_sprintf(reader->arena, "%s: %s", np_reader_shown(reader, *folder ? folder : "/"),
                      because(reader, errnum));
}

/* 0 when there is something at `path`, else an errno value. */
static int missing(struct np_reader *reader, const char *path)
{
    int fd = open_below(reader, path, O_PATH);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

struct nocase_search {
    struct np_arena *arena;
    const char *wanted, *found;
};

/* Of several that differ in case only, the first in byte order: the answer must not depend on the folder's order. */
static bool match_nocase(void *ctx, const char *name, bool is_file)
{
    struct nocase_search *search = ctx;
    (void)is_file;
    if (np_equal_nocase(name, search->wanted) && (!search->found || strcmp(name, search->found) < 0))
        search->found = np_strdup(search->arena, name);
    return true;
}

/* The exact name needs no search. */
static const char *find_in(struct np_reader *reader, const char *folder, const char *name, const char **why)
{
    const char *exact = join(reader, folder, name);
    int errnum = missing(reader, exact);
    if (errnum == 0)
        return exact;
    struct nocase_search search = {.arena = reader->arena, .wanted = name};
    if (is_absent(errnum))
        errnum = each_name(reader, folder, match_nocase, &search);
    if (!is_absent(errnum))
        *why = folder_unreadable(reader, folder, errnum);
    return search.found ? join(reader, folder, search.found) : NULL;
}

const char *np_reader_find_nocase(struct np_reader *reader, const char *path, const char **why)
{
    struct np_text part, rest = np_text_of(path);
    const char *start = *path == '/' ? "" : ".", *found = start; /* a relative path lies below the working folder */
    *why = NULL;
    while (found && next_component(&rest, &part))
        found = find_in(reader, found, np_text_dup(reader->arena, part), why);
    return found != start ? found : NULL;
}

/* ---- Lists ---------------------------------------------------------------------------------------------------- */

static enum np_entry_kind entry_kind(mode_t type)
{
    return type == S_IFREG   ? NP_ENTRY_FILE
           : type == S_IFDIR ? NP_ENTRY_FOLDER
           : type == S_IFLNK ? NP_ENTRY_LINK
                             : NP_ENTRY_OTHER;
}

/* Some file systems do not tell the kind with the name. */
static struct np_entry entry_of(struct np_reader *reader, int folder, const struct dirent *found)
{
    struct np_entry entry = {.name = np_strdup(reader->arena, found->d_name), .kind = NP_ENTRY_UNKNOWN};
    struct stat st;
    char target[PATH_MAX];
    if (found->d_type != DT_UNKNOWN)
        entry.kind = entry_kind(DTTOIF(found->d_type));
    else if (fstatat(folder, found->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        entry.kind = entry_kind(st.st_mode & S_IFMT);
    if (entry.kind == NP_ENTRY_LINK) {
        const ssize_t n = readlinkat(folder, found->d_name, target, sizeof target);
        entry.link = n > 0 ? np_strndup(reader->arena, target, (size_t)n) : NULL;
    }
    return entry;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct np_entry *)a)->name, ((const struct np_entry *)b)->name);
}

/* Returns an errno value; E2BIG: too many names. */
static int list_folder(struct np_reader *reader, DIR *dir, struct np_entry **ret, size_t *ret_n)
{
    struct dirent *found;
    size_t capacity = 0;
    for (errno = 0; *ret_n <= GLOB_ENTRIES && (found = readdir(dir)); errno = 0)
        if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
            *(struct np_entry *)np_push(reader->arena, ret, ret_n, &capacity, sizeof **ret) =
                entry_of(reader, dirfd(dir), found);
    return *ret_n > GLOB_ENTRIES ? E2BIG : errno;
}

enum np_read np_reader_list(struct np_reader *reader, const char *folder, const struct np_entry **ret, size_t *ret_n,
                            const char **why)
{
    struct np_entry *entries = NULL;
    const int fd = open_below(reader, folder, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int errnum = errno;
    *ret_n = 0;
    *why = NULL;
    if (dir) {
        struct stat st;
        const struct stamp stamp = fstat(fd, &st) == 0 ? stamp_of(&st) : (struct stamp){0};
        remember(reader, folder, &stamp);
        errnum = list_folder(reader, dir, &entries, ret_n);
        closedir(dir);
    } else {
        if (fd >= 0)
            close(fd);
        remember_path(reader, folder);
    }
    if (*ret_n > 1)
        qsort(entries, *ret_n, sizeof *entries, by_name);
    *ret = entries;
    if (dir && errnum == 0)
        return NP_READ_OK;
    *why = errnum == E2BIG ? "too many names" : because(reader, errnum);
    return is_absent(errnum) ? NP_READ_ABSENT : errnum == EACCES || errnum == EPERM ? NP_READ_DENIED : NP_READ_BAD;
}

bool np_reader_is_same(struct np_reader *reader, const char *path, const char *other)
{
    const struct stamp a = stamp_at(reader, path), b = stamp_at(reader, other);
    return a.present && b.present && a.device == b.device && a.inode == b.inode;
}

/* ---- Globs ---------------------------------------------------------------------------------------------------- */

struct glob {
    struct np_reader *reader;
    const char **paths;
    size_t n, capacity, entries;
    enum np_read outcome;
    const char *why;
};

struct glob_name {
    const char *name;
    bool is_file;
};

/* One folder of a pattern being matched against one component. */
struct glob_level {
    struct glob *glob;
    const char *pattern;
    struct glob_name *names;
    size_t n, capacity;
};

static bool match_pattern(void *ctx, const char *name, bool is_file)
{
    struct glob_level *level = ctx;
    struct np_arena *arena = level->glob->reader->arena;
    if (++level->glob->entries > GLOB_ENTRIES)
        return false;
    if (fnmatch(level->pattern, name, FNM_PERIOD) == 0)
        *(struct glob_name *)np_push(arena, &level->names, &level->n, &level->capacity, sizeof *level->names) =
            (struct glob_name){np_strdup(arena, name), is_file};
    return true;
}

static bool over_budget(struct glob *glob, const char *folder)
{
    if (glob->n < GLOB_MATCHES && glob->entries <= GLOB_ENTRIES)
        return false;
    glob->outcome = NP_READ_BAD;
    glob->why =
        np_sprintf(glob->reader->arena, "%s: too many names", np_reader_shown(glob->reader, *folder ? folder : "/"));
    return true;
}

/* A worse reason stays. */
static void glob_failed(struct glob *glob, const char *folder, int errnum)
{
    if (glob->outcome == NP_READ_BAD)
        return;
    glob->outcome = errnum == EACCES || errnum == EPERM ? NP_READ_DENIED : NP_READ_BAD;
    glob->why = folder_unreadable(glob->reader, folder, errnum);
}

static void glob_keep(struct glob *glob, const char *path)
{
    *(const char **)np_push(glob->reader->arena, &glob->paths, &glob->n, &glob->capacity, sizeof *glob->paths) = path;
}

static void glob_keep_present(struct glob *glob, const char *path)
{
    int errnum = missing(glob->reader, path);
    if (errnum == 0) {
        glob_keep(glob, path);
        return;
    }
    if (!is_absent(errnum))
        glob_failed(glob, path, errnum);
    remember_path(glob->reader, path);
}

/* The depth is that of the pattern. */
static void glob_below(struct glob *glob, const char *folder, struct np_text rest) /* NOLINT(misc-no-recursion) */
{
    struct np_text part, behind;
    struct np_arena *arena = glob->reader->arena;
    if (over_budget(glob, folder))
        return;
    if (!next_component(&rest, &part)) {
        glob_keep_present(glob, *folder ? folder : "/");
        return;
    }
    struct glob_level level = {.glob = glob, .pattern = np_text_dup(arena, part)};
    if (!strpbrk(level.pattern, "*?[\\")) {
        glob_below(glob, join(glob->reader, folder, level.pattern), rest);
        return;
    }
    int errnum = each_name(glob->reader, folder, match_pattern, &level);
    if (!is_absent(errnum))
        glob_failed(glob, folder, errnum);
    behind = rest;
    const bool is_last = !next_component(&behind, &part);
    for (size_t i = 0; i < level.n && !over_budget(glob, folder); i++) {
        const char *path = join(glob->reader, folder, level.names[i].name);
        if (is_last && level.names[i].is_file)
            glob_keep(glob, path);
        else
            glob_below(glob, path, rest);
    }
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum np_read np_reader_glob(struct np_reader *reader, const char *pattern, const char *const **ret, size_t *ret_n,
                            const char **why)
{
    struct glob glob = {.reader = reader};
    const bool relative = !reader->root && *pattern != '/';
    glob_below(&glob, relative ? "." : "", np_text_of(pattern));
    if (glob.n > 1)
        qsort(glob.paths, glob.n, sizeof *glob.paths, by_bytes);
    *ret = glob.paths;
    *ret_n = glob.n;
    *why = glob.why;
    return glob.outcome;
}
