/* The two halves of the reader of files: reader.c remembers what was read, and walks patterns; linux/files.c and
 * windows/files.c open, read and list what lies on a disk.
 *
 * A reason is the system's number (errno, GetLastError) for what went wrong, 0 for nothing.
 * SPDX-License-Identifier: MIT */
#ifndef NP_READER_H
#define NP_READER_H

#include "host/host.h"

/* ---- The system's half --------------------------------------------------------------------------------------- */

/* This machine's files, or those of an image. */
struct np_disk {
    struct np_arena *arena;
    const char *root; /* NULL: this machine; '/'-separated */
    intptr_t folder;  /* the root's handle; meaningless without one */
};

/* Identity of a file's content; present = false: there was none. Device, inode and times in whatever units. */
struct np_stamp {
    bool present;
    int reason;           /* why it cannot be looked at; 0: it can, or there is nothing */
    bool vague;           /* its times do not tell when it was changed */
    const char *not_file; /* what it is instead of a regular file ("a folder"), static; NULL: it is one */
    uint64_t device, inode, size;
    int64_t written, changed;
    /* Of something with coarse times: which mount it is on, by a number that the system gives no other one before it is started
     * again; 0: not told. */
    uint64_t mount;
};

/* Do the times of what is at `path`, or may come to be there, tell of every change, whoever makes it? Not where another machine
 * can make one that is told here late. */
bool np_disk_times_tell(const char *path);

/* May a later change leave the same stamp, because this one is so fresh? */
bool np_stamp_settles(const struct np_stamp *);
/* May another file have this stamp, because times are kept in whole seconds, or were made up with an image that has been
 * exchanged? */
bool np_stamp_is_ambiguous(const struct np_stamp *);

/* Opens `root`, as it was given, as disk->folder. */
enum nextport_status np_disk_open_root(struct np_disk *, const char *root, struct nextport_error *);

enum np_purpose { NP_TO_READ, NP_TO_LIST };
/* Waits neither for a FIFO's writer nor, beyond a moment, for a program that keeps the file to itself. */
int np_disk_open(const struct np_disk *, const char *path, enum np_purpose, intptr_t *ret);
void np_disk_close(intptr_t file);
/* `ret->not_file` is set even where the rest cannot be told. */
int np_disk_stamp(intptr_t file, struct np_stamp *ret);
/* The same of whatever is at `path`, which need not be readable. */
int np_disk_look(const struct np_disk *, const char *path, struct np_stamp *ret);
/* At most `size` bytes; *ret_n 0: the end. */
int np_disk_read(intptr_t file, char *ret, size_t size, size_t *ret_n);

/* false: enough. */
typedef bool np_name_fn(void *ctx, const char *name, enum np_entry_kind);
/* A folder's names, but for "." and "..". */
int np_disk_list(struct np_arena *, intptr_t folder, np_name_fn *each, void *ctx);

/* What the link at `path` says; NULL: it is none, or the system does not tell. */
const char *np_disk_link(const struct np_disk *, const char *path);

bool np_disk_is_missing(int reason); /* nothing has that name */
/* That, or what has it is no folder; or (0) nothing went wrong. */
bool np_disk_is_absent(int reason);
bool np_disk_is_denied(int reason);
const char *np_disk_because(struct np_arena *, int reason);
extern const int np_disk_broken_name; /* the reason why such a name cannot be opened */

/* A path as people of this program write it: '/'-separated. */
const char *np_disk_slashed(struct np_arena *, const char *path);
/* A folder as the walk has it, without '/' at its end, as a path: "" is the top of the root, "C:" of a drive. */
const char *np_disk_folder(struct np_arena *, const char *folder);
/* The folder in which a pattern begins, which no pattern is part of; takes it off the pattern. */
int np_disk_start(const struct np_disk *, struct np_text *rest, const char **ret);
/* Does the name match the shell pattern of one component? A point at the front has to be said. */
bool np_disk_matches(const char *pattern, const char *name);
extern const char np_disk_special[]; /* what makes a component a pattern */

/* ---- The shared half, as np_reader_find_nocase(), which each system has for itself, needs it ------------------- */

const struct np_disk *np_reader_disk(const struct np_reader *);
/* Keeps for np_reader_changed() what could not be opened, and why. */
void np_reader_remember_failure(struct np_reader *, const char *path, int reason);
/* The names of a folder as the walk has it; it is remembered. */
int np_reader_names(struct np_reader *, const char *folder, np_name_fn *each, void *ctx);
/* "FOLDER: why" */
const char *np_reader_unreadable(struct np_reader *, const char *folder, int reason);
/* Takes the next component off a path; doubled and trailing slashes are none. */
bool np_next_component(struct np_text *rest, struct np_text *part);

#endif
