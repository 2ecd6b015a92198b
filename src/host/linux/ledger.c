/* The ledger's file and folder: who may own them, who may write them, and how they are made so.
 *
 * Nothing here is opened for its content, because to close a file drops every POSIX lock that this process has on it,
 * also those of a SQLite connection. Looking by name is safe where it counts: once a folder and all above it can be
 * changed only by root and by us, nobody else can exchange what was looked at.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_GID ((gid_t)-1)

static const char cure[] =
    "Run 'nextport setup' once as root, join the group nextport, or use a ledger of your own with --user.";

/* The ledger itself first. */
static const struct neighbour {
    const char *suffix;
    bool holds_data; /* leases that the ledger lacks: without it they would be lost */
    bool private;    /* not for readers */
} neighbours[] = {{"", false, false},
                  {"-wal", true, false},
                  {"-shm", false, false},
                  {"-journal", true, false},
                  {"-lock", false, true}};

#define N_NEIGHBOURS (sizeof neighbours / sizeof neighbours[0])

/* ---- Names --------------------------------------------------------------------------------------------------- */

struct place {
    enum np_place kind;
    const char *path;
    char folder[PATH_MAX];
};

static enum nextport_status place_of(struct place *ret, const char *path, enum np_place kind,
                                     struct nextport_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    /* Room for the longest suffix. */
    if (strlen(path) + sizeof "-journal" > PATH_MAX)
        return np_fail(err, NEXTPORT_INPUT, "the ledger's path is longer than the system allows");
    if (path[0] == '\0' || (slash != NULL && slash[1] == '\0'))
        return np_fail(err, NEXTPORT_INPUT, "\"%s\" names a folder, not a ledger", path);
    ret->kind = kind;
    ret->path = path;
    memcpy(ret->folder, slash == NULL ? "." : path, length);
    ret->folder[length] = '\0';
    return NEXTPORT_OK;
}

static void neighbour_path(char ret[PATH_MAX], const struct place *p, size_t i)
{
    snprintf(ret, PATH_MAX, "%s%s", p->path, neighbours[i].suffix);
}

/* ---- The group ----------------------------------------------------------------------------------------------- */

/* /etc/group first: to load the plugins of the name service costs more than all else we do. */
static gid_t find_in_file(const char *name)
{
    char text[8192];
    struct group g, *found;
    gid_t gid = NO_GID;
    FILE *f = fopen("/etc/group", "re");
    if (f == NULL)
        return NO_GID;
    int rc;
    while ((rc = fgetgrent_r(f, &g, text, sizeof text, &found)) != ENOENT && gid == NO_GID) {
        if (rc == 0 && strcmp(g.gr_name, name) == 0)
            gid = g.gr_gid;
        if (rc != 0)
            break;
    }
    fclose(f);
    return gid;
}

static gid_t find_group(void)
{
    char text[16384];
    struct group g, *found = NULL;
    gid_t gid = find_in_file(NP_GROUP);
    if (gid == NO_GID && getgrnam_r(NP_GROUP, &g, text, sizeof text, &found) == 0 && found != NULL)
        gid = g.gr_gid;
    return gid;
}

/* ---- Vetting ------------------------------------------------------------------------------------------------- */

static enum nextport_status refuse(struct nextport_error *err, const char *path, const char *what, const char *hint)
{
    np_fail(err, NEXTPORT_DENIED, "%s: %s", path, what);
    np_hint(err, "%s", hint);
    return NEXTPORT_DENIED;
}

static enum nextport_status cannot(struct nextport_error *err, int reason, const char *doing, const char *path)
{
    static const struct {
        int reason;
        enum nextport_status status;
        const char *hint;
    } known[] = {
        {EACCES, NEXTPORT_DENIED, cure},
        {EPERM, NEXTPORT_DENIED, cure},
        {EROFS, NEXTPORT_LEDGER, "Mount the file system for writing, or use another ledger with --ledger."},
        {ENOSPC, NEXTPORT_LEDGER, "Free space on the file system, then repeat the request."},
        {EDQUOT, NEXTPORT_LEDGER, "Free space within the quota, then repeat the request."},
        {ENOENT, NEXTPORT_INPUT, "Make the folder, or name another ledger."},
        {ENOTDIR, NEXTPORT_INPUT, "A part of the path is not a folder: name another ledger."},
        {ELOOP, NEXTPORT_INPUT, "The path goes round in links: name another ledger."},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].reason != reason)
            continue;
        np_fail_errno(err, known[i].status, reason, "%s %s", doing, path);
        np_hint(err, "%s", known[i].hint);
        return known[i].status;
    }
    return np_fail_errno(err, NEXTPORT_FAILED, reason, "%s %s", doing, path);
}

static bool is_trusted(uid_t uid)
{
    return uid == 0 || uid == geteuid();
}

/* May others change what is in this folder? In a sticky one they can add, but neither remove nor rename. */
static bool is_open(const struct stat *st, mode_t bits)
{
    return (st->st_mode & bits) != 0 && (st->st_mode & S_ISVTX) == 0;
}

/* One folder on the way. Its owner could put another in the place of what is below. */
static enum nextport_status vet_ancestor(const char *folder, const struct stat *st, struct nextport_error *err)
{
    if (!S_ISDIR(st->st_mode))
        return cannot(err, ENOTDIR, "look at", folder);
    if (!is_trusted(st->st_uid))
        return refuse(err, folder, "the folder belongs to another user, who could exchange the ledger below it",
                      "Keep the ledger below folders that belong to root or to you.");
    if (is_open(st, S_IWOTH))
        return refuse(err, folder, "anyone may write to the folder", "Take that right away: 'chmod o-w', or '+t'.");
    return NEXTPORT_OK;
}

/* Follows a link only where root, or this user, made it. *ret_found: false when there is nothing. */
static enum nextport_status look_at_folder(const char *folder, struct stat *ret, bool *ret_found,
                                           struct nextport_error *err)
{
    *ret_found = false;
    int rc = lstat(folder, ret);
    if (rc == 0 && S_ISLNK(ret->st_mode)) {
        if (!is_trusted(ret->st_uid))
            return refuse(err, folder, "a symbolic link of another user", "Name the ledger by its real path.");
        rc = stat(folder, ret);
    }
    *ret_found = rc == 0;
    return rc == 0 || errno == ENOENT ? NEXTPORT_OK : cannot(err, errno, "look at", folder);
}

/* Every folder above the ledger's own: "/", "/var", "/var/lib" for "/var/lib/nextport". */
static enum nextport_status vet_ancestors(const struct place *p, struct nextport_error *err)
{
    char folder[PATH_MAX];
    struct stat st;
    bool found = true;
    for (size_t i = 0; p->folder[i] != '\0' && found; i++) {
        if (p->folder[i] != '/' || p->folder[i + 1] == '\0')
            continue;
        size_t length = i == 0 ? 1 : i;
        memcpy(folder, p->folder, length);
        folder[length] = '\0';
        enum nextport_status status = look_at_folder(folder, &st, &found, err);
        if (status == NEXTPORT_OK && found)
            status = vet_ancestor(folder, &st, err);
        if (status != NEXTPORT_OK)
            return status;
    }
    return NEXTPORT_OK;
}

/* Group-writable is what a machine's ledger is for the group nextport, and nothing for anyone else. */
static bool is_for_group(const struct place *p, const struct stat *st)
{
    return p->kind != NP_PLACE_USER && st->st_gid == find_group();
}

static enum nextport_status vet_folder(const struct place *p, const struct stat *st, struct nextport_error *err)
{
    if (!S_ISDIR(st->st_mode))
        return cannot(err, ENOTDIR, "look at", p->folder);
    if (p->kind == NP_PLACE_MACHINE ? st->st_uid != 0 : !is_trusted(st->st_uid))
        return refuse(err, p->folder, "the folder belongs to another user",
                      p->kind == NP_PLACE_MACHINE
                          ? "Look who changed it and whether the leases can be trusted; then 'chown root' it."
                          : "Keep the ledger in a folder that belongs to root or to you.");
    if (p->kind == NP_PLACE_USER && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return refuse(err, p->folder, "the folder is open to others", "Close it: 'chmod 700'.");
    if (p->kind == NP_PLACE_MACHINE ? (st->st_mode & S_IWOTH) != 0 : is_open(st, S_IWOTH))
        return refuse(err, p->folder, "anyone may write to the folder", "Take that right away: 'chmod o-w'.");
    if (is_open(st, S_IWGRP) && !is_for_group(p, st))
        return refuse(err, p->folder, "a group other than nextport may write to the folder",
                      "Take that right away: 'chmod g-w'.");
    return NEXTPORT_OK;
}

static const char *kind_of_file(mode_t mode)
{
    static const struct {
        mode_t type;
        const char *name;
    } kinds[] = {{S_IFLNK, "a symbolic link"}, {S_IFDIR, "a folder"},       {S_IFIFO, "a named pipe"},
                 {S_IFSOCK, "a socket"},       {S_IFBLK, "a block device"}, {S_IFCHR, "a character device"}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if ((mode & S_IFMT) == kinds[i].type)
            return kinds[i].name;
    return "a file with a second name";
}

static enum nextport_status not_a_file(const char *path, mode_t mode, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "%s: %s, not a plain file", path, kind_of_file(mode));
    if (S_ISDIR(mode))
        np_hint(err, "Name a file: --ledger %s/ledger.db", path);
    else
        np_hint(err, "Look who put it there, and remove it, or name another ledger.");
    return NEXTPORT_LEDGER;
}

/* Members of the group make -wal, -shm and -lock, which are then theirs; only they can, in that folder. */
static bool is_made_by_member(const struct place *p, const struct stat *folder, const struct stat *st)
{
    return (folder->st_mode & S_IWGRP) != 0 && st->st_gid == folder->st_gid && is_for_group(p, folder);
}

static enum nextport_status vet_file(const struct place *p, size_t i, const struct stat *folder, const struct stat *st,
                                     struct nextport_error *err)
{
    char file[PATH_MAX];
    neighbour_path(file, p, i);
    if (!S_ISREG(st->st_mode))
        return not_a_file(file, st->st_mode, err);
    const bool strict = p->kind == NP_PLACE_MACHINE && i == 0;
    if ((strict ? st->st_uid != 0 : !is_trusted(st->st_uid)) && (strict || !is_made_by_member(p, folder, st)))
        return refuse(err, file, "the file belongs to another user",
                      p->kind == NP_PLACE_MACHINE
                          ? "Look who changed it and whether the leases can be trusted; then 'chown root' it."
                          : "Use a ledger that belongs to root or to you.");
    if ((st->st_mode & S_IWOTH) != 0)
        return refuse(err, file, "anyone may write to it", "Take that right away: 'chmod o-w'.");
    if ((st->st_mode & S_IWGRP) != 0 && !is_for_group(p, st))
        return refuse(err, file, "a group other than nextport may write to it", "Take that right away: 'chmod g-w'.");
    return NEXTPORT_OK;
}

static enum nextport_status without_ledger(const char *file, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "%s: there is no ledger to it, and it holds leases", file);
    np_hint(err, "Put the ledger back beside it (from a backup); only if the leases may be lost, move this file away.");
    return NEXTPORT_LEDGER;
}

static enum nextport_status vet_files(const struct place *p, const struct stat *folder, bool *ret_present,
                                      struct nextport_error *err)
{
    char file[PATH_MAX];
    struct stat st;
    for (size_t i = 0; i < N_NEIGHBOURS; i++) {
        neighbour_path(file, p, i);
        if (lstat(file, &st) != 0) {
            if (errno != ENOENT)
                return cannot(err, errno, "look at", file);
            continue;
        }
        enum nextport_status status = vet_file(p, i, folder, &st, err);
        if (status != NEXTPORT_OK)
            return status;
        if (i == 0)
            *ret_present = true;
        else if (!*ret_present && neighbours[i].holds_data && st.st_size > 0)
            return without_ledger(file, err);
    }
    return NEXTPORT_OK;
}

static enum nextport_status vet_access(const struct place *p, bool write, bool present, struct nextport_error *err)
{
    if (present && faccessat(AT_FDCWD, p->path, write ? R_OK | W_OK : R_OK, AT_EACCESS) != 0)
        return cannot(err, errno, write ? "write" : "read", p->path);
    if (write && faccessat(AT_FDCWD, p->folder, W_OK | X_OK, AT_EACCESS) != 0)
        return cannot(err, errno, "write to folder", p->folder);
    return NEXTPORT_OK;
}

enum nextport_status np_host_ledger_vet(const char *path, enum np_place kind, bool write, bool *ret_present,
                                        struct nextport_error *err)
{
    struct place p;
    struct stat folder;
    bool found;
    *ret_present = false;
    enum nextport_status st = place_of(&p, path, kind, err);
    if (st == NEXTPORT_OK)
        st = vet_ancestors(&p, err);
    if (st == NEXTPORT_OK)
        st = look_at_folder(p.folder, &folder, &found, err);
    if (st != NEXTPORT_OK || !found)
        return st;
    st = vet_folder(&p, &folder, err);
    if (st == NEXTPORT_OK)
        st = vet_files(&p, &folder, ret_present, err);
    return st == NEXTPORT_OK ? vet_access(&p, write, *ret_present, err) : st;
}

enum nextport_status np_host_make_file(const char *path, struct nextport_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST)
        return np_fail(err, NEXTPORT_CONFLICT, "%s: there is a file already", path);
    if (fd < 0)
        return cannot(err, errno, "make", path);
    close(fd);
    return NEXTPORT_OK;
}

bool np_host_is_denied(int reason)
{
    return reason == EACCES || reason == EPERM;
}

bool np_host_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 || errno != ENOENT;
}

/* ---- Making -------------------------------------------------------------------------------------------------- */

#define MACHINE_LEDGER "/var/lib/nextport/ledger.db"

const char *np_host_machine_ledger(struct np_arena *arena)
{
    (void)arena;
    return MACHINE_LEDGER;
}

bool np_host_is_machine_ledger(const char *path)
{
    return strcmp(path, MACHINE_LEDGER) == 0;
}

enum nextport_status np_host_user_ledger(struct np_arena *a, const char **ret, struct nextport_error *err)
{
    char text[16384];
    struct passwd pw, *found = NULL;
    const char *state = np_host_env(a, "XDG_STATE_HOME"), *home = np_host_env(a, "HOME");
    /* A relative path counts as unset: https://specifications.freedesktop.org/basedir-spec/ */
    if (state != NULL && state[0] == '/') {
        *ret = np_sprintf(a, "%s/nextport/ledger.db", state);
        return NEXTPORT_OK;
    }
    if (home == NULL || home[0] != '/')
        home = getpwuid_r(geteuid(), &pw, text, sizeof text, &found) == 0 && found != NULL ? pw.pw_dir : NULL;
    if (home == NULL || home[0] != '/') {
        np_fail(err, NEXTPORT_FAILED, "find the ledger of user %ld: no home directory", (long)geteuid());
        np_hint(err, "Set HOME or XDG_STATE_HOME, or name the file with --ledger.");
        return NEXTPORT_FAILED;
    }
    *ret = np_sprintf(a, "%s/.local/state/nextport/ledger.db", home);
    return NEXTPORT_OK;
}

const char *np_host_sqlite_path(struct np_arena *arena, const char *path)
{
    (void)arena;
    return path;
}

/* Owner and modes promised for a place. */
struct promise {
    mode_t folder, parent, file, lock;
    uid_t uid; /* -1: as it is */
    gid_t gid;
};

static struct promise promise_of(enum np_place kind)
{
    if (kind != NP_PLACE_MACHINE)
        return (struct promise){0700, 0700, 0600, 0600, (uid_t)-1, NO_GID};
    gid_t gid = find_group();
    return gid == NO_GID ? (struct promise){0755, 0755, 0644, 0600, 0, 0}
                         : (struct promise){02775, 0755, 0664, 0660, 0, gid};
}

/* Through a path handle, which follows no link and drops no lock. A second name (hard link) would mean that the file is
 * also something else, which is not to be opened to others. *ret_changed is only ever set. */
static enum nextport_status set_modes(const char *path, mode_t mode, uid_t uid, gid_t gid, bool *ret_changed,
                                      struct nextport_error *err)
{
    char handle[64];
    struct stat st;
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cannot(err, errno, "open", path);
    snprintf(handle, sizeof handle, "/proc/self/fd/%d", fd);
    int rc = fstat(fd, &st), reason = errno;
    if (rc == 0 && !S_ISDIR(st.st_mode) && (!S_ISREG(st.st_mode) || st.st_nlink > 1)) {
        close(fd);
        return not_a_file(path, st.st_mode, err);
    }
    const bool owner = rc == 0 && ((uid != (uid_t)-1 && st.st_uid != uid) || (gid != NO_GID && st.st_gid != gid));
    const bool bits = rc == 0 && (owner || (st.st_mode & 07777) != mode);
    /* The owner first: chown(2) clears the set-group-ID bit. */
    if (owner && (rc = fchownat(fd, "", uid, gid, AT_EMPTY_PATH)) != 0)
        reason = errno;
    if (bits && rc == 0 && (rc = chmod(handle, mode)) != 0)
        reason = errno;
    close(fd);
    *ret_changed |= rc == 0 && bits;
    return rc == 0 ? NEXTPORT_OK : cannot(err, reason, "set owner and mode of", path);
}

static enum nextport_status sync_path(const char *path, int flags, struct nextport_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags);
    int rc = fd < 0 ? -1 : fsync(fd), reason = errno;
    if (fd >= 0)
        close(fd);
    return rc == 0 ? NEXTPORT_OK : cannot(err, reason, "sync", path);
}

/* Makes one folder that is missing, and makes its name durable in `above`. */
static enum nextport_status make_folder(const char *folder, const char *above, mode_t mode, const struct promise *p,
                                        struct nextport_error *err)
{
    bool changed = false;
    if (mkdir(folder, mode & 0755) != 0)
        return errno == EEXIST ? NEXTPORT_OK : cannot(err, errno, "make folder", folder);
    enum nextport_status st = set_modes(folder, mode, p->uid, (mode & S_ISGID) != 0 ? p->gid : NO_GID, &changed, err);
    if (st != NEXTPORT_OK)
        return st;
    int fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        /* A parent that may not be read cannot be synced either; the folder's own content is synced on its own. */
        fsync(fd);
        close(fd);
    }
    return NEXTPORT_OK;
}

enum nextport_status np_host_ledger_folder(const char *path, enum np_place kind, struct nextport_error *err)
{
    struct place p;
    struct stat st;
    char folder[PATH_MAX], above[PATH_MAX] = "/";
    enum nextport_status status = place_of(&p, path, kind, err);
    if (status != NEXTPORT_OK || stat(p.folder, &st) == 0)
        return status;
    if (kind == NP_PLACE_GIVEN)
        return cannot(err, errno, "look at folder", p.folder);
    const struct promise promise = promise_of(kind);
    for (size_t i = 1; i <= strlen(p.folder) && status == NEXTPORT_OK; i++) {
        const bool last = p.folder[i] == '\0';
        if (!last && p.folder[i] != '/')
            continue;
        memcpy(folder, p.folder, i);
        folder[i] = '\0';
        status = make_folder(folder, above, last ? promise.folder : promise.parent, &promise, err);
        memcpy(above, folder, i + 1);
    }
    return status;
}

enum nextport_status np_host_ledger_fresh(const char *made, struct nextport_error *err)
{
    static const char *const leftovers[] = {"", "-journal", "-wal", "-shm"};
    char file[PATH_MAX];
    struct stat st;
    for (size_t i = 0; i < sizeof leftovers / sizeof leftovers[0]; i++) {
        snprintf(file, sizeof file, "%s%s", made, leftovers[i]);
        if (lstat(file, &st) != 0 && errno == ENOENT)
            continue;
        if (!S_ISREG(st.st_mode) || !is_trusted(st.st_uid))
            return refuse(err, file, "in the way of a ledger to be made, and not ours",
                          "Look who put it there, and remove it.");
        if (unlink(file) != 0 && errno != ENOENT)
            return cannot(err, errno, "remove", file);
    }
    return NEXTPORT_OK;
}

/* Never over a ledger that came in between. link(2) is for file systems that know no such rename. */
static enum nextport_status put_in_place(const char *made, const char *path, struct nextport_error *err)
{
    if (renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return NEXTPORT_OK;
    if ((errno == EINVAL || errno == ENOSYS) && link(made, path) == 0)
        return NEXTPORT_OK;
    if (errno == EEXIST)
        return np_fail(err, NEXTPORT_CONFLICT, "%s: a ledger is there already", path);
    return cannot(err, errno, "make", path);
}

/* With "/.", so that a link in the place of the folder is followed: vetting has seen who put it there. */
static const char *folder_itself(const struct place *p, char ret[static PATH_MAX + 2])
{
    snprintf(ret, PATH_MAX + 2, "%s/.", p->folder);
    return ret;
}

enum nextport_status np_host_ledger_publish(const char *made, const char *path, enum np_place kind,
                                            struct nextport_error *err)
{
    struct place p;
    char folder[PATH_MAX + 2];
    bool changed = false;
    enum nextport_status st = place_of(&p, path, kind, err);
    const struct promise promise = promise_of(kind);
    if (st == NEXTPORT_OK)
        st = set_modes(made, promise.file, promise.uid, promise.gid, &changed, err);
    if (st == NEXTPORT_OK)
        st = sync_path(made, 0, err);
    if (st == NEXTPORT_OK)
        st = put_in_place(made, path, err);
    unlink(made);
    return st == NEXTPORT_OK ? sync_path(folder_itself(&p, folder), O_DIRECTORY, err) : st;
}

static enum nextport_status set_folder_modes(const struct place *p, const struct promise *promise, bool *ret_changed,
                                             struct nextport_error *err)
{
    char folder[PATH_MAX + 2];
    return set_modes(folder_itself(p, folder), promise->folder, promise->uid, promise->gid, ret_changed, err);
}

enum nextport_status np_host_ledger_modes(const char *path, bool *ret_changed, struct nextport_error *err)
{
    struct place p;
    struct stat unused;
    char file[PATH_MAX];
    *ret_changed = false;
    enum nextport_status st = place_of(&p, path, NP_PLACE_MACHINE, err);
    const struct promise promise = promise_of(NP_PLACE_MACHINE);
    if (st == NEXTPORT_OK)
        st = set_folder_modes(&p, &promise, ret_changed, err);
    for (size_t i = 0; i < N_NEIGHBOURS && st == NEXTPORT_OK; i++) {
        neighbour_path(file, &p, i);
        if (lstat(file, &unused) != 0 && errno == ENOENT)
            continue;
        st = set_modes(file, neighbours[i].private ? promise.lock : promise.file, promise.uid, promise.gid, ret_changed,
                       err);
    }
    return st;
}

/* ---- The group ----------------------------------------------------------------------------------------------- */

/* An errno value, or the exit status of the program as *ret_status. It may not write where the caller's answer goes. */
static int run_quietly(const char *program, char *const argv[], int *ret_status)
{
    char *envp[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, (char[]){"LC_ALL=C"}, NULL};
    posix_spawn_file_actions_t files;
    pid_t pid;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int reason = posix_spawn(&pid, program, &files, NULL, argv, envp);
    posix_spawn_file_actions_destroy(&files);
    if (reason != 0)
        return reason;
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return errno;
    return 0;
}

static enum nextport_status change_group(const char *doing, const char *program, char *const argv[], bool wanted,
                                         bool *ret_changed, struct nextport_error *err)
{
    int status = 0;
    *ret_changed = false;
    if ((find_group() != NO_GID) == wanted)
        return NEXTPORT_OK;
    if (geteuid() != 0) {
        np_fail(err, NEXTPORT_DENIED, "%s group " NP_GROUP ": only root may", doing);
        np_hint(err, "Run 'nextport setup' as root.");
        return NEXTPORT_DENIED;
    }
    int reason = run_quietly(program, argv, &status);
    *ret_changed = (find_group() != NO_GID) == wanted;
    if (*ret_changed)
        return NEXTPORT_OK;
    if (reason != 0)
        np_fail_errno(err, NEXTPORT_FAILED, reason, "%s group " NP_GROUP ": run %s", doing, program);
    else
        np_fail(err, NEXTPORT_FAILED, "%s group " NP_GROUP ": %s ended with status %d", doing, program,
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    np_hint(err, "Do that with this system's own tool, then repeat.");
    return NEXTPORT_FAILED;
}

enum nextport_status np_host_make_group(bool *ret_changed, struct nextport_error *err)
{
    char *argv[] = {(char[]){"groupadd"}, (char[]){"--system"}, (char[]){NP_GROUP}, NULL};
    return change_group("make", "/usr/sbin/groupadd", argv, true, ret_changed, err);
}

enum nextport_status np_host_remove_group(bool *ret_changed, struct nextport_error *err)
{
    char *argv[] = {(char[]){"groupdel"}, (char[]){NP_GROUP}, NULL};
    return change_group("remove", "/usr/sbin/groupdel", argv, false, ret_changed, err);
}
