/* What one request leaves for the next: a file beside the ledger that may be lost at any time.
 *
 * It counts as evidence, so nobody but its reader may have written it: each user has one of its own, also where all of a
 * group may lease.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MEMORY_MAX = 64 * 1024 * 1024 };

/* ---- Whose it is ------------------------------------------------------------------------------------------------- */

/* A sum of the build ID among the notes of a segment; 0: it is not there. */
static uint64_t find_build_id(const char *at, size_t left)
{
    while (left >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        const size_t name = (note.n_namesz + 3u) & ~3u, whole = sizeof note + name + ((note.n_descsz + 3u) & ~3u);
        if (whole > left)
            return 0;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof "GNU" &&
            memcmp(at + sizeof note, "GNU", sizeof "GNU") == 0)
            return np_sum((struct np_text){at + sizeof note + name, note.n_descsz});
        at += whole;
        left -= whole;
    }
    return 0;
}

/* One object of this process. The one that this code is in counts: the program, or the library. */
static int look_at_object(struct dl_phdr_info *object, size_t size, void *ctx)
{
    const uintptr_t here = (uintptr_t)np_host_view;
    uint64_t *id = ctx;
    bool is_ours = false;
    (void)size;
    for (size_t i = 0; i < object->dlpi_phnum && !is_ours; i++)
        is_ours = object->dlpi_phdr[i].p_type == PT_LOAD &&
                  here - (object->dlpi_addr + object->dlpi_phdr[i].p_vaddr) < object->dlpi_phdr[i].p_memsz;
    for (size_t i = 0; i < object->dlpi_phnum && is_ours && !*id; i++)
        if (object->dlpi_phdr[i].p_type == PT_NOTE)
            *id = find_build_id((const void *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr),
                                object->dlpi_phdr[i].p_memsz);
    return is_ours;
}

/* Tells this very program from one that was built otherwise. 0: not known. */
static uint64_t build_id(void)
{
    uint64_t id = 0;
    dl_iterate_phdr(look_at_object, &id);
    return id;
}

/* Rights to files come of the user, the groups and the capabilities. After a power cut files may have the times of what was
 * written last, and not the content, so nothing counts beyond a start of the system. */
const char *np_host_view(struct np_arena *arena)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3];
    gid_t groups[NGROUPS_MAX / 64];
    const int n = getgroups(sizeof groups / sizeof *groups, groups);
    const uint64_t id = build_id();
    const char *boot = np_host_boot(arena);
    struct np_buf view = {.arena = arena};
    if (n < 0 || !id || !boot || syscall(SYS_capget, &header, have) != 0)
        return NULL;
    np_buf_printf(&view, "%" PRIx64 " %s %u:%u %x%08x", id, boot, (unsigned)geteuid(), (unsigned)getegid(),
                  have[1].effective, have[0].effective);
    for (int i = 0; i < n; i++)
        np_buf_printf(&view, " %u", (unsigned)groups[i]);
    return view.ptr;
}

/* ---- The file ---------------------------------------------------------------------------------------------------- */

static bool is_sound(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
           st->st_size > 0 && st->st_size <= MEMORY_MAX;
}

static const char *path_of(struct np_arena *arena, const char *ledger)
{
    return np_sprintf(arena, "%s-seen-%u", ledger, (unsigned)geteuid());
}

bool np_host_recall(struct np_arena *arena, const char *ledger, struct np_text *ret)
{
    struct stat st;
    const int fd = open(path_of(arena, ledger), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fstat(fd, &st) == 0 && is_sound(&st);
    if (ok) {
        char *bytes = np_room(arena, (size_t)st.st_size);
        ok = read(fd, bytes, (size_t)st.st_size) == st.st_size;
        *ret = (struct np_text){bytes, (size_t)st.st_size};
    }
    close(fd);
    return ok;
}

struct np_keeper {
    const char *path, *made;
    int fd;
    size_t written;
    bool failed;
};

struct np_keeper *np_host_keep(struct np_arena *arena, const char *ledger)
{
    struct np_keeper *keeper = np_alloc(arena, sizeof *keeper);
    keeper->path = path_of(arena, ledger);
    keeper->made = np_sprintf(arena, "%s-new", keeper->path);
    unlink(keeper->made); /* of a maker that was killed */
    keeper->fd = open(keeper->made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (keeper->fd < 0)
        return NULL;
    keeper->failed = fchown(keeper->fd, (uid_t)-1, getegid()) != 0; /* not the group's, as all else in its folder */
    return keeper;
}

void np_host_keep_more(struct np_keeper *keeper, struct np_text bytes)
{
    keeper->written += bytes.len;
    keeper->failed =
        keeper->failed || keeper->written > MEMORY_MAX || write(keeper->fd, bytes.ptr, bytes.len) != (ssize_t)bytes.len;
}

/* Not flushed: what a power cut leaves of it is known by its sum, and made again. */
void np_host_keep_end(struct np_keeper *keeper)
{
    close(keeper->fd);
    if (keeper->failed || rename(keeper->made, keeper->path) != 0)
        unlink(keeper->made);
}
