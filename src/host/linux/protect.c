/* Keeping outgoing connections out of the pool: one list of the kernel, net.ipv4.ip_local_reserved_ports, and a file of
 * sysctl.d(5) that sets it again at every start. It governs IPv6 and UDP as well, and leaves explicit binds alone.
 *
 * The list is everybody's, and the last one to write it wins: so it is written whole, with what others have put there, by
 * one write, and read back. The file says which of its ports are ours, so that no other is ever taken away.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"
#include "host/linux/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "/etc/sysctl.d"
#define PLACE FOLDER "/" NP_SYSCTL_NAME

/* ---- Our file ------------------------------------------------------------------------------------------------ */

enum own_file {
    OWN_ABSENT,
    OWN_SOUND,
    OWN_FOREIGN, /* not what we wrote, or strangers may write it */
    OWN_UNKNOWN, /* it could not be read */
};

static enum own_file read_own(struct np_arena *arena, struct np_sysctl_file *ret, struct np_text *ret_text,
                              int *ret_errno)
{
    struct stat st;
    int fd = open(PLACE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    *ret_errno = fd < 0 ? errno : 0;
    if (fd < 0)
        return errno == ENOENT ? OWN_ABSENT : errno == ELOOP ? OWN_FOREIGN : OWN_UNKNOWN;
    char *bytes = np_alloc(arena, NP_SYSCTL_FILE_MAX);
    ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, bytes, NP_SYSCTL_FILE_MAX) : 0;
    *ret_errno = n < 0 ? errno : 0;
    close(fd);
    if (n < 0)
        return OWN_UNKNOWN;
    *ret_text = (struct np_text){bytes, (size_t)n};
    if (n == 0 || n == NP_SYSCTL_FILE_MAX || st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) ||
        !np_sysctl_read(arena, *ret_text, ret))
        return OWN_FOREIGN;
    return OWN_SOUND;
}

struct np_portset np_protected_ports(struct np_arena *arena, const struct np_portset *live)
{
    struct np_sysctl_file file;
    struct np_text text;
    int errnum;
    if (read_own(arena, &file, &text, &errnum) != OWN_SOUND)
        return (struct np_portset){{0}};
    return np_sysctl_ours(&file, live, np_host_scope(arena));
}

/* ---- The files of others ------------------------------------------------------------------------------------- */

/* Where the same name in an earlier folder hides the one in a later. */
static const char *const patterns[] = {FOLDER "/*.conf", "/run/sysctl.d/*.conf", "/usr/local/lib/sysctl.d/*.conf",
                                       "/usr/lib/sysctl.d/*.conf", "/lib/sysctl.d/*.conf"};

struct other {
    const char *path, *name; /* name: what the files are ordered by */
    struct np_portset ports;
};

struct others {
    struct np_arena *arena;
    struct np_reader *reader;
    const char **names; /* that hide those of later folders */
    size_t n_names, names_capacity;
    struct other *rows; /* that set the list */
    size_t n, capacity;
};

static const char *base_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

static bool is_hidden(struct others *others, const char *path)
{
    const char *name = base_name(path);
    for (size_t i = 0; i < others->n_names; i++)
        if (strcmp(others->names[i], name) == 0)
            return true;
    const char **slot = np_push(others->arena, &others->names, &others->n_names, &others->names_capacity, sizeof *slot);
    *slot = name;
    return strcmp(name, NP_SYSCTL_NAME) == 0;
}

/* A link to /dev/null says that there is no such file, even where a later folder has one. */
static bool is_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

static enum nextport_status add_other(struct others *others, const char *path, const char *name,
                                      struct nextport_error *err)
{
    enum { LIMIT = 1 << 20 };
    struct np_text bytes;
    struct np_portset ports = {{0}};
    const char *why;
    enum np_read outcome = np_reader_read(others->reader, path, LIMIT, &bytes, &why);
    if (outcome == NP_READ_ABSENT || (outcome == NP_READ_BAD && is_device(path)))
        return NEXTPORT_OK;
    if (outcome != NP_READ_OK) {
        np_fail(err, NEXTPORT_BLIND, "read %s: %s", path, why);
        np_hint(err, "It may reserve ports, which must stay in the list. %s.", np_host_words.elevate);
        return err->status;
    }
    if (!np_sysctl_setting(bytes, &ports))
        return NEXTPORT_OK;
    struct other *row = np_push(others->arena, &others->rows, &others->n, &others->capacity, sizeof *row);
    *row = (struct other){.path = path, .name = name, .ports = ports};
    return NEXTPORT_OK;
}

static enum nextport_status add_folder(struct others *others, const char *pattern, struct nextport_error *err)
{
    const char *const *paths, *why;
    size_t n;
    np_reader_glob(others->reader, pattern, &paths, &n, &why);
    if (why)
        return np_fail(err, NEXTPORT_BLIND, "look for %s: %s", pattern, why);
    for (size_t i = 0; i < n; i++)
        if (!is_hidden(others, paths[i]) && add_other(others, paths[i], base_name(paths[i]), err) != NEXTPORT_OK)
            return err->status;
    return NEXTPORT_OK;
}

/* /etc/sysctl.conf is read last of all, where it is read. */
static const char *const last_file = "/etc/sysctl.conf", last_name[] = "\xff";

static enum nextport_status read_others(struct others *others, struct nextport_error *err)
{
    enum nextport_status status = np_reader_open(&others->reader, NULL, others->arena, err);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns && status == NEXTPORT_OK; i++)
        status = add_folder(others, patterns[i], err);
    if (status == NEXTPORT_OK)
        status = add_other(others, last_file, last_name, err);
    np_reader_close(others->reader);
    return status;
}

/* Whose word counts at the next start: the last one's; NULL: nobody's. */
static const struct other *find_last(const struct others *others)
{
    const struct other *last = NULL;
    for (size_t i = 0; i < others->n; i++)
        if (!last || strcmp(others->rows[i].name, last->name) > 0)
            last = &others->rows[i];
    return last;
}

/* ---- What there is, and what there should be ------------------------------------------------------------------ */

struct state {
    struct np_sysctl_present present;
    enum own_file own;
    int own_errno;
    struct np_sysctl_file file; /* valid where own is sound */
    struct np_text file_text;
    const struct other *last; /* whose word counts at the next start, besides ours */
};

static enum nextport_status learn(struct np_arena *arena, struct state *ret, struct nextport_error *err)
{
    struct np_os_ports os;
    struct others others = {.arena = arena};
    *ret = (struct state){.present = {.scope = np_host_scope(arena)}};
    if (np_host_os_ports(arena, true, &os, err) != NEXTPORT_OK || read_others(&others, err) != NEXTPORT_OK)
        return err->status;
    ret->present.live = os.reserved;
    ret->present.ephemeral = (struct nextport_range){os.ephemeral_first, os.ephemeral_last};
    ret->own = read_own(arena, &ret->file, &ret->file_text, &ret->own_errno);
    if (ret->own == OWN_SOUND)
        ret->present.file = &ret->file;
    for (size_t i = 0; i < others.n; i++) {
        struct nextport_range run;
        for (uint32_t from = 1; np_portset_run(&others.rows[i].ports, from, &run); from = run.last + UINT32_C(1))
            np_portset_add(&ret->present.elsewhere, run.first, run.last);
    }
    ret->last = find_last(&others);
    return NEXTPORT_OK;
}

static bool equal(const struct np_portset *a, const struct np_portset *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Is the file of the machine's own namespace, while this is another one? */
static bool is_not_this(const struct state *state)
{
    return state->own == OWN_SOUND && !state->file.scope[0] && state->present.scope[0];
}

/* NEXTPORT_OK when our name is free, or the file our own. */
static enum nextport_status check_own(const struct state *state, struct nextport_error *err)
{
    if (state->own == OWN_UNKNOWN)
        return np_fail_errno(err, NEXTPORT_BLIND, state->own_errno, "read " PLACE);
    if (state->own == OWN_FOREIGN) {
        np_fail(err, NEXTPORT_CONFLICT, PLACE " is not what nextport wrote: a link, changed, or somebody else's");
        np_hint(err, "Look at it, move it away if it is not needed, and try again.");
        return err->status;
    }
    return NEXTPORT_OK;
}

static enum nextport_status check_scope(const struct state *state, struct nextport_error *err)
{
    if (!is_not_this(state))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_CONFLICT, PLACE " is for the machine's own network namespace, and this is another one");
    np_hint(err, "Set " NP_SYSCTL_KEY " in this namespace by whatever makes it.");
    return err->status;
}

/* Nothing of ours is needed where others have done it all, for now and for the next start. */
static bool is_done(const struct state *state, const struct np_sysctl_wanted *wanted, const struct np_portset *pool,
                    const char *text)
{
    if (!equal(&state->present.live, &wanted->live))
        return false;
    if (state->own == OWN_SOUND)
        return !is_not_this(state) && np_text_is(state->file_text, text);
    return state->own == OWN_ABSENT && !np_portset_next(&wanted->file.ours, 1) && state->last &&
           np_sysctl_covers(&state->last->ports, pool);
}

static bool is_overruled(const struct state *state, const struct np_portset *pool)
{
    return state->last && strcmp(state->last->name, NP_SYSCTL_NAME) > 0 && !np_sysctl_covers(&state->last->ports, pool);
}

/* What the next start may undo. */
static const char *warn(struct np_arena *arena, const struct state *state, const struct np_sysctl_wanted *wanted,
                        const struct np_portset *pool)
{
    const char *namespace = state->present.scope[0]
                                ? "This is a network namespace of its own, and the list of such a one begins empty: "
                                  "let whatever makes it run 'nextport protect --apply' each time."
                                : NULL;
    if (!is_overruled(state, pool))
        return namespace;
    return np_sprintf(arena,
                      "%s sets the same list and is read later, so the pool is not protected after the next start. "
                      "Write into it: " NP_SYSCTL_KEY " = %s%s%s",
                      state->last->path, np_portset_format(arena, &wanted->file.all), namespace ? ". " : "",
                      namespace ? namespace : "");
}

static const char *shown(struct np_arena *arena, const struct np_portset *set)
{
    return np_portset_next(set, 1) ? np_portset_format(arena, set) : "none";
}

enum nextport_status np_host_protect_plan(struct np_arena *arena, const struct np_portset *pool,
                                          struct np_protection *ret, struct nextport_error *err)
{
    struct state *state = np_alloc(arena, sizeof *state);
    struct np_sysctl_wanted *wanted = np_alloc(arena, sizeof *wanted);
    if (learn(arena, state, err) != NEXTPORT_OK || check_own(state, err) != NEXTPORT_OK)
        return err->status;
    np_sysctl_want(arena, &state->present, pool, wanted);
    const struct np_portset ours = np_sysctl_ours(state->present.file, &state->present.live, state->present.scope);
    *ret = (struct np_protection){.text = np_sysctl_compose(arena, &wanted->file),
                                  .place = PLACE,
                                  .cannot = wanted->cannot,
                                  .warning = warn(arena, state, wanted, pool)};
    ret->in_force = is_done(state, wanted, pool, ret->text);
    ret->present = np_sprintf(arena, "reserved: %s", shown(arena, &state->present.live));
    if (is_not_this(state))
        ret->cannot = "There is a file " PLACE
                      " for the machine's own network namespace, and this is another one: set " NP_SYSCTL_KEY
                      " in this namespace by whatever makes it.";
    else if (state->own == OWN_SOUND)
        ret->ours = np_sprintf(arena, "%s: %s", PLACE, shown(arena, &ours));
    return NEXTPORT_OK;
}

/* ---- Changing it ---------------------------------------------------------------------------------------------- */

static enum nextport_status denied(struct nextport_error *err)
{
    np_fail(err, NEXTPORT_DENIED, "change " NP_SYSCTL_KEY ": only %s may", np_host_words.admin);
    np_hint(err, "%s.", np_host_words.elevate);
    return err->status;
}

static enum nextport_status cannot(struct nextport_error *err, int errnum, const char *doing, const char *path)
{
    const bool right = errnum == EACCES || errnum == EPERM || errnum == EROFS;
    np_fail_errno(err, right ? NEXTPORT_DENIED : NEXTPORT_FAILED, errnum, "%s %s", doing, path);
    if (right)
        np_hint(err, "%s, where the system lets that be written: in a container, it is its host that decides.",
                np_host_words.elevate);
    return err->status;
}

/* Returns an errno value. */
static int write_whole(int fd, struct np_text text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        text.ptr += n;
        text.len -= (size_t)n;
    }
    return 0;
}

static int sync_folder(void)
{
    int fd = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int errnum = fd < 0 ? errno : fsync(fd) == 0 ? 0 : errno;
    if (fd >= 0)
        close(fd);
    return errnum;
}

/* A new file in the place of the old, whole or not at all. Names that do not end in .conf mean nothing there. */
static enum nextport_status write_file(struct np_text text, struct nextport_error *err)
{
    static const char made[] = PLACE "-new";
    if (mkdir(FOLDER, 0755) != 0 && errno != EEXIST)
        return cannot(err, errno, "make", FOLDER);
    if (unlink(made) != 0 && errno != ENOENT)
        return cannot(err, errno, "remove", made);
    int fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return cannot(err, errno, "make", made);
    int errnum = write_whole(fd, text);
    if (!errnum && (fchmod(fd, 0644) != 0 || fsync(fd) != 0))
        errnum = errno;
    if (close(fd) != 0 && !errnum)
        errnum = errno;
    if (!errnum && rename(made, PLACE) != 0)
        errnum = errno;
    if (errnum) {
        unlink(made);
        return cannot(err, errnum, "write", PLACE);
    }
    errnum = sync_folder();
    return errnum ? cannot(err, errnum, "write", FOLDER) : NEXTPORT_OK;
}

static enum nextport_status remove_file(struct nextport_error *err)
{
    if (unlink(PLACE) != 0 && errno != ENOENT)
        return cannot(err, errno, "remove", PLACE);
    int errnum = sync_folder();
    return errnum ? cannot(err, errnum, "write", FOLDER) : NEXTPORT_OK;
}

/* One write: a second one would add to the list instead of replacing it. */
static enum nextport_status write_list(struct np_arena *arena, const struct np_portset *list,
                                       struct nextport_error *err)
{
    static const char path[] = NP_RESERVED_PORTS;
    const char *text = np_sprintf(arena, "%s\n", np_portset_format(arena, list));
    const size_t len = strlen(text);
    struct np_portset now;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return cannot(err, errno, "write", path);
    ssize_t n = write(fd, text, len);
    int errnum = n < 0 ? errno : 0;
    close(fd);
    if (errnum)
        return cannot(err, errnum, "write", path);
    if (np_read_reserved(&now, err) != NEXTPORT_OK)
        return err->status;
    if ((size_t)n != len || !equal(&now, list))
        return np_fail(err, NEXTPORT_RETRY,
                       "write %s: it now has other ports than were written: another program writes it", path);
    return NEXTPORT_OK;
}

/* As it was before the list refused: the file says what was done, and nothing was. */
static void put_back(const struct state *state)
{
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    if (state->own == OWN_SOUND)
        write_file(state->file_text, &ignored);
    else
        remove_file(&ignored);
}

/* The file first: a list that has ports of ours, and no file that says so, would read as an administrator's. */
enum nextport_status np_host_protect(struct np_arena *arena, const struct np_portset *pool, bool *ret_changed,
                                     struct nextport_error *err)
{
    struct state *state = np_alloc(arena, sizeof *state);
    struct np_sysctl_wanted *wanted = np_alloc(arena, sizeof *wanted);
    *ret_changed = false;
    if (learn(arena, state, err) != NEXTPORT_OK || check_own(state, err) != NEXTPORT_OK ||
        check_scope(state, err) != NEXTPORT_OK)
        return err->status;
    np_sysctl_want(arena, &state->present, pool, wanted);
    const char *text = np_sysctl_compose(arena, &wanted->file);
    if (is_done(state, wanted, pool, text))
        return NEXTPORT_OK;
    if (wanted->cannot) {
        np_fail(err, NEXTPORT_FAILED, "the pool %s cannot be protected", np_portset_format(arena, pool));
        np_hint(err, "%s", wanted->cannot);
        return err->status;
    }
    if (!np_host_privileged())
        return denied(err);
    const bool same = state->own == OWN_SOUND && np_text_is(state->file_text, text);
    if (!same && write_file(np_text_of(text), err) != NEXTPORT_OK)
        return err->status;
    if (!equal(&state->present.live, &wanted->live) && write_list(arena, &wanted->live, err) != NEXTPORT_OK) {
        if (!same && err->status != NEXTPORT_RETRY)
            put_back(state);
        return err->status;
    }
    *ret_changed = true;
    return NEXTPORT_OK;
}

/* The list first: as long as the file is there, this can be repeated. */
enum nextport_status np_host_unprotect(struct np_arena *arena, bool *ret_changed, struct nextport_error *err)
{
    struct state *state = np_alloc(arena, sizeof *state);
    *ret_changed = false;
    if (learn(arena, state, err) != NEXTPORT_OK || check_own(state, err) != NEXTPORT_OK)
        return err->status;
    if (state->own == OWN_ABSENT || is_not_this(state))
        return NEXTPORT_OK;
    if (!np_host_privileged())
        return denied(err);
    const struct np_portset rest = np_sysctl_without(&state->present);
    const size_t size = strlen(np_portset_format(arena, &rest)) + 1;
    if (size > NP_SYSCTL_WRITE_MAX)
        return np_fail(err, NEXTPORT_FAILED,
                       "the list without nextport's ports would have %zu bytes, of which the kernel takes %d", size,
                       NP_SYSCTL_WRITE_MAX);
    if ((!equal(&rest, &state->present.live) && write_list(arena, &rest, err) != NEXTPORT_OK) ||
        remove_file(err) != NEXTPORT_OK)
        return err->status;
    *ret_changed = true;
    return NEXTPORT_OK;
}
