/* Who may change a file or folder: security descriptors, made and judged.
 * SPDX-License-Identifier: MIT */
#ifndef NP_GUARD_H
#define NP_GUARD_H

#include "host/windows/win32.h"

/* What strangers may do, besides reading. */
enum np_guard_kind {
    NP_GUARD_WRITERS,  /* nothing: a file, or a folder that holds such files */
    NP_GUARD_PRIVATE,  /* nothing, and they may not even read */
    NP_GUARD_ANCESTOR, /* a folder above: add to it, but not exchange what is below */
    NP_GUARD_ROOT,     /* a drive's root, which nobody can delete or rename */
};

/* Whom a place trusts to write. SYSTEM, Administrators and TrustedInstaller are trusted everywhere. */
struct np_trust {
    PSID user;  /* this user; NULL: not trusted */
    PSID group; /* NP_GROUP; NULL: there is none, or it is not trusted here */
    enum np_guard_kind kind;
    bool folder; /* it is a folder: the group may write in it, but not move it away; set by np_guard_vet() */
};

/* What a descriptor lets strangers do. Pure. */
enum np_guard {
    NP_GUARD_SOUND,
    NP_GUARD_FOREIGN, /* its owner, who may always change the DACL, is not trusted */
    NP_GUARD_OPEN,    /* somebody not trusted may do what the kind forbids */
    NP_GUARD_NONE,    /* no DACL: everyone may do everything; or one that cannot be read */
};

/* *ret_who: the SID of whoever is not trusted, within the descriptor; NULL when it is nobody in particular. `any_owner`:
 * only the DACL counts. */
enum np_guard np_guard_judge(PSECURITY_DESCRIPTOR, const struct np_trust *, bool any_owner, PSID *ret_who);

/* Judges what is at `path` (UTF-8), a file or folder, through a handle that follows no reparse point.
 * NEXTPORT_OK and *ret_there false: nothing is there. NEXTPORT_DENIED: it is not sound, or it may not be looked at; the
 * error names who may do what. NEXTPORT_LEDGER: a reparse point, a file with a second name, on another computer, or a
 * folder in a file's place. NEXTPORT_INPUT: a file in a folder's place. */
enum nextport_status np_guard_vet(const char *path, bool folder, const struct np_trust *, bool any_owner,
                                  bool *ret_there, struct nextport_error *);

/* The same of what is open already (READ_CONTROL and FILE_READ_ATTRIBUTES). */
enum nextport_status np_guard_vet_handle(HANDLE, const char *path, bool folder, const struct np_trust *, bool any_owner,
                                         struct nextport_error *);

/* Every folder above `path`, which is absolute, with a drive's letter and '/' (np_guard_full_path()). Reparse points are
 * judged like what they lead to. A folder that is missing ends the walk. NEXTPORT_INPUT: one of them is not a folder. */
enum nextport_status np_guard_vet_above(const char *path, const struct np_trust *, struct nextport_error *);

/* "C:/x/ledger.db" for what a user wrote. NEXTPORT_INPUT: it names no file of a local drive. NEXTPORT_LEDGER: it is on
 * another computer, where SQLite's locks and its log's shared memory are not safe. Asks no server. */
enum nextport_status np_guard_full_path(struct np_arena *, const char *path, const char **ret, struct nextport_error *);

/* This process' user, and NP_GROUP of this machine (on a domain controller: of its domain), as SIDs in the arena; NULL
 * where there is none. */
PSID np_guard_user(struct np_arena *);
PSID np_guard_group(struct np_arena *);

/* Whom a place trusts: this user and, unless it is the user's own, NP_GROUP. */
struct np_trust np_guard_trust(struct np_arena *, enum np_place);

enum np_promised {
    NP_PROMISED_FOLDER,
    NP_PROMISED_FILE,
    NP_PROMISED_NEIGHBOUR, /* without owner: whoever made it */
    NP_PROMISED_LOCK,      /* likewise, and without readers: who can open a file can lock it, and so block everybody */
};

/* The descriptor promised for a place, self-relative, in the arena; NULL when it cannot be made. `group` (NULL: none)
 * may write as well. */
PSECURITY_DESCRIPTOR np_guard_promise(struct np_arena *, enum np_place, enum np_promised, PSID group);

/* Gives what is at `path` the owner (if there is one in it) and the DACL of a descriptor; the DACL is then protected.
 * *ret_changed is only ever set, and only when something became different. NEXTPORT_DENIED with the cure. */
enum nextport_status np_guard_apply(const char *path, PSECURITY_DESCRIPTOR, bool *ret_changed, struct nextport_error *);

/* np_fail_win32() with the status and the hint that suit the code. */
enum nextport_status np_guard_cannot(struct nextport_error *, DWORD code, const char *doing, const char *path);

#endif
