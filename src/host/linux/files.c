/* Linux's half of the reader of files. In an image every path, and every link on the way, is resolved by the kernel inside
 * the root (openat2, RESOLVE_IN_ROOT), so that no link leads out of it.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"
#include "host/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U /* Linux 6.8 */
#endif

enum {
    TRIES = 8, /* RESOLVE_IN_ROOT gives EAGAIN while somebody renames folders */
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

/* /proc has links that lead to what a process has open, wherever that is: nobody's configuration lies behind one. Where
 * the kernel cannot be told so (before 5.6, or a container that forbids the call) they are as any other. */
static int open_here(const char *path, int flags)
{
    const struct open_how how = {.flags = (uint64_t)(unsigned)flags, .resolve = RESOLVE_NO_MAGICLINKS};
    const long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    return fd < 0 && (errno == ENOSYS || errno == EPERM) ? open(path, flags) : (int)fd;
}

static int open_below(const struct np_disk *disk, const char *path, int flags)
{
    if (disk->root)
        return open_in_root((int)disk->folder, path, flags | O_CLOEXEC);
    return open_here(path, flags | O_CLOEXEC);
}

enum nextport_status np_disk_open_root(struct np_disk *disk, const char *root, struct nextport_error *err)
{
    const int folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return np_fail_errno(err, errno == EACCES ? NEXTPORT_DENIED : NEXTPORT_INPUT, errno, "open root '%s'", root);
    int fd = open_in_root(folder, "/", O_PATH | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        disk->folder = folder;
        return NEXTPORT_OK;
    }
    np_fail_errno(err, NEXTPORT_FAILED, errno, "stay inside root '%s': openat2", root);
    if (errno == ENOSYS || errno == EPERM)
        np_hint(err, "Reading below a root needs Linux 5.6, and a container that allows the call openat2.");
    close(folder);
    return err->status;
}

/* To open a device, /dev/watchdog say, or a FIFO is to do something to it: what is no file gets a name of ours only, for
 * np_disk_stamp() to say what it is. One may take a file's place after that: O_NONBLOCK, so that a FIFO's writer is not
 * waited for, and O_NOCTTY, so that a terminal does not become ours. */
int np_disk_open(const struct np_disk *disk, const char *path, enum np_purpose purpose, intptr_t *ret)
{
    struct np_stamp what = {0};
    const int reason = purpose == NP_TO_READ ? np_disk_look(disk, path, &what) : 0;
    if (reason)
        return reason;
    const int to_read = what.not_file ? O_PATH : O_NONBLOCK | O_NOCTTY;
    *ret = open_below(disk, path, O_RDONLY | (purpose == NP_TO_LIST ? O_DIRECTORY : to_read));
    return *ret < 0 ? errno : 0;
}

void np_disk_close(intptr_t file)
{
    close((int)file);
}

bool np_disk_is_missing(int reason)
{
    return reason == ENOENT;
}

bool np_disk_is_absent(int reason)
{
    return reason == 0 || reason == ENOENT || reason == ENOTDIR;
}

bool np_disk_is_denied(int reason)
{
    return reason == EACCES || reason == EPERM;
}

const char *np_disk_because(struct np_arena *arena, int reason)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    np_fail_errno(&err, NEXTPORT_FAILED, reason, "x");
    return np_strdup(arena, err.text + strlen("x: "));
}

/* Any bytes but '/' are a name. */
const int np_disk_broken_name = EILSEQ;

/* ---- Stamps --------------------------------------------------------------------------------------------------- */

/* A damaged file system may tell any seconds. */
static int64_t nanoseconds(int64_t s, int64_t ns)
{
    return (int64_t)((uint64_t)s * 1000000000 + (uint64_t)ns);
}

static const char *not_file(mode_t mode)
{
    static const struct {
        mode_t type;
        const char *name;
    } kinds[] = {{S_IFDIR, "a folder"}, {S_IFIFO, "a FIFO"},           {S_IFCHR, "a device"},
                 {S_IFBLK, "a device"}, {S_IFSOCK, "a socket's name"}, {S_IFLNK, "a link"}};
    if (S_ISREG(mode))
        return NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if ((mode & S_IFMT) == kinds[i].type)
            return kinds[i].name;
    return "something else";
}

/* In whole seconds: of a file system without room for fractions, or of an image, where builders set all times to one. */
static bool is_coarse(const struct np_stamp *stamp)
{
    return stamp->changed % 1000000000 == 0;
}

bool np_stamp_is_ambiguous(const struct np_stamp *stamp)
{
    return stamp->present && is_coarse(stamp) && !stamp->mount;
}

/* /dev/null, which people include for nothing, and link names to that shall have no file. */
static bool is_empty_device(const struct statx *st)
{
    return S_ISCHR(st->stx_mode) && st->stx_rdev_major == 1 && st->stx_rdev_minor == 3;
}

static struct np_stamp stamp_of(const struct statx *st)
{
    struct np_stamp stamp = {.present = true,
                             .not_file = is_empty_device(st) ? NULL : not_file(st->stx_mode),
                             .device = makedev(st->stx_dev_major, st->stx_dev_minor),
                             .inode = st->stx_ino,
                             .size = st->stx_size,
                             .written = nanoseconds(st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec),
                             .changed = nanoseconds(st->stx_ctime.tv_sec, st->stx_ctime.tv_nsec)};
    if (is_coarse(&stamp) && st->stx_mask & STATX_MNT_ID_UNIQUE)
        stamp.mount = st->stx_mnt_id;
    return stamp;
}

/* What statx() tells where a container forbids it. */
static struct statx without_mount(const struct stat *st)
{
    return (struct statx){.stx_mode = (uint16_t)st->st_mode,
                          .stx_rdev_major = major(st->st_rdev),
                          .stx_rdev_minor = minor(st->st_rdev),
                          .stx_dev_major = major(st->st_dev),
                          .stx_dev_minor = minor(st->st_dev),
                          .stx_ino = st->st_ino,
                          .stx_size = (uint64_t)st->st_size,
                          .stx_mtime = {.tv_sec = st->st_mtim.tv_sec, .tv_nsec = (uint32_t)st->st_mtim.tv_nsec},
                          .stx_ctime = {.tv_sec = st->st_ctim.tv_sec, .tv_nsec = (uint32_t)st->st_ctim.tv_nsec}};
}

/* Of what is at `path`, or where that is empty of `fd`. */
static int stamp_at(int fd, const char *path, struct np_stamp *ret)
{
    const int flags = *path ? 0 : AT_EMPTY_PATH;
    struct statx more;
    struct stat st;
    if (statx(fd, path, flags, STATX_BASIC_STATS | STATX_MNT_ID_UNIQUE, &more) != 0) {
        if ((errno != ENOSYS && errno != EPERM) || fstatat(fd, path, &st, flags) != 0)
            return errno;
        more = without_mount(&st);
    }
    *ret = stamp_of(&more);
    return 0;
}

static int64_t clock_now(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return nanoseconds(now.tv_sec, now.tv_nsec);
}

/* File times are taken from the coarse clock, which advances in ticks (10 ms at most), or kept in whole seconds: what was
 * written in the one in which it was read may be written again without a new time. */
bool np_stamp_settles(const struct np_stamp *stamp)
{
    const int64_t two_seconds = INT64_C(2000000000), two_ticks = 20 * 1000000;
    const int64_t grain = is_coarse(stamp) ? two_seconds : two_ticks;
    return stamp->present && stamp->changed >= clock_now(CLOCK_REALTIME_COARSE) - grain &&
           stamp->changed <= clock_now(CLOCK_REALTIME);
}

/* File systems whose content only this machine changes, file by file: not those of images, which are exchanged whole. */
static bool is_own(const struct statfs *fs)
{
    static const uint32_t types[] = {EXT4_SUPER_MAGIC,     XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
                                     0x2fc12fc1 /* ZFS */, TMPFS_MAGIC,     RAMFS_MAGIC,       OVERLAYFS_SUPER_MAGIC};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((uint32_t)fs->f_type == types[i])
            return true;
    return false;
}

/* Of what is missing, the folder counts in which it would have to be made. */
bool np_disk_times_tell(const char *path)
{
    char folder[PATH_MAX];
    struct statfs fs;
    const size_t n = strlen(path);
    if (n >= sizeof folder)
        return false;
    memcpy(folder, path, n + 1);
    while (statfs(*folder ? folder : "/", &fs) != 0) {
        char *slash = strrchr(folder, '/');
        if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
            return false;
        if (slash)
            *slash = '\0';
        else if (strcmp(folder, ".") != 0)
            memcpy(folder, ".", sizeof ".");
        else
            return false;
    }
    return is_own(&fs);
}

int np_disk_stamp(intptr_t file, struct np_stamp *ret)
{
    return stamp_at((int)file, "", ret);
}

int np_disk_look(const struct np_disk *disk, const char *path, struct np_stamp *ret)
{
    if (!disk->root)
        return *path ? stamp_at(AT_FDCWD, path, ret) : ENOENT;
    int fd = open_below(disk, path, O_PATH);
    if (fd < 0)
        return errno;
    const int reason = np_disk_stamp(fd, ret);
    close(fd);
    return reason;
}

/* ---- Reading -------------------------------------------------------------------------------------------------- */

int np_disk_read(intptr_t file, char *ret, size_t size, size_t *ret_n)
{
    ssize_t n;
    do
        n = read((int)file, ret, size);
    while (n < 0 && errno == EINTR);
    *ret_n = n < 0 ? 0 : (size_t)n;
    return n < 0 ? errno : 0;
}

static enum np_entry_kind kind_of(unsigned char type)
{
    switch (type) {
    case DT_REG:
        return NP_ENTRY_FILE;
    case DT_DIR:
        return NP_ENTRY_FOLDER;
    case DT_LNK:
        return NP_ENTRY_LINK;
    case DT_UNKNOWN: /* some file systems do not tell it with the name */
        return NP_ENTRY_UNKNOWN;
    default:
        return NP_ENTRY_OTHER;
    }
}

/* Some of a folder's names, as getdents64(2) gives them. */
static bool each_entry(const char *bytes, size_t length, np_name_fn *each, void *ctx)
{
    bool more = true;
    for (size_t at = 0; more && at < length;) {
        const struct dirent64 *entry = (const void *)(bytes + at);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            more = each(ctx, entry->d_name, kind_of(entry->d_type));
        at += entry->d_reclen;
    }
    return more;
}

int np_disk_list(struct np_arena *arena, intptr_t folder, np_name_fn *each, void *ctx)
{
    _Alignas(struct dirent64) char bytes[16384]; /* opendir() would ask for more, and for what is known */
    ssize_t n;
    (void)arena;
    while ((n = getdents64((int)folder, bytes, sizeof bytes)) > 0 && each_entry(bytes, (size_t)n, each, ctx))
        continue;
    return n < 0 ? errno : 0;
}

const char *np_disk_link(const struct np_disk *disk, const char *path)
{
    char target[PATH_MAX];
    const int fd = open_below(disk, path, O_PATH | O_NOFOLLOW);
    const ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof target);
    if (fd >= 0)
        close(fd);
    return n > 0 ? np_strndup(disk->arena, target, (size_t)n) : NULL;
}

/* ---- Names ---------------------------------------------------------------------------------------------------- */

const char np_disk_special[] = "*?[\\";

bool np_disk_matches(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, FNM_PERIOD) == 0;
}

const char *np_disk_slashed(struct np_arena *arena, const char *path)
{
    (void)arena;
    return path;
}

const char *np_disk_folder(struct np_arena *arena, const char *folder)
{
    (void)arena;
    return *folder ? folder : "/";
}

int np_disk_start(const struct np_disk *disk, struct np_text *rest, const char **ret)
{
    const bool relative = !disk->root && !(rest->len && *rest->ptr == '/');
    *ret = relative ? "." : ""; /* a relative path lies below the working folder */
    return 0;
}

struct nocase_search {
    struct np_arena *arena;
    const char *wanted, *found;
};

/* Of several that differ in case only, the first in byte order: the answer must not depend on the folder's order. */
static bool match_nocase(void *ctx, const char *name, enum np_entry_kind kind)
{
    struct nocase_search *search = ctx;
    (void)kind;
    if (np_equal_nocase(name, search->wanted) && (!search->found || strcmp(name, search->found) < 0))
        search->found = np_strdup(search->arena, name);
    return true;
}

/* The exact name needs no search. */
static const char *find_in(struct np_reader *reader, const char *folder, const char *name, const char **why)
{
    const struct np_disk *disk = np_reader_disk(reader);
    const char *exact = np_sprintf(disk->arena, "%s/%s", folder, name);
    struct np_stamp stamp;
    int reason = np_disk_look(disk, exact, &stamp);
    if (reason == 0)
        return exact;
    struct nocase_search search = {.arena = disk->arena, .wanted = name};
    if (np_disk_is_absent(reason))
        reason = np_reader_names(reader, folder, match_nocase, &search);
    if (!np_disk_is_absent(reason))
        *why = np_reader_unreadable(reader, folder, reason);
    return search.found ? np_sprintf(disk->arena, "%s/%s", folder, search.found) : NULL;
}

const char *np_reader_find_nocase(struct np_reader *reader, const char *path, const char **why)
{
    struct np_text part, rest = np_text_of(path);
    const char *start = *path == '/' ? "" : ".", *found = start; /* a relative path lies below the working folder */
    *why = NULL;
    while (found && np_next_component(&rest, &part))
        found = find_in(reader, found, np_text_dup(np_reader_disk(reader)->arena, part), why);
    return found != start ? found : NULL;
}
