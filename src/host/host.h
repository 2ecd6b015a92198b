/* This machine: the only part that knows which system it runs on (host_linux.c; a Windows file comes beside it).
 * SPDX-License-Identifier: MIT */
#ifndef NP_HOST_H
#define NP_HOST_H

#include "core/plan.h"

/* np_fail() with ": " and the text of an errno value, in English whatever the locale. */
enum nextport_status np_fail_errno(struct nextport_error *err, enum nextport_status status, int errnum, const char *fmt,
                                   ...) NP_PRINTF(4, 5);

/* ---- Identity ------------------------------------------------------------------------------------------------ */

const char *np_host_name(struct np_arena *); /* "unknown" when the system does not say */
/* /etc/machine-id, or NULL where there is none. */
const char *np_host_machine_id(struct np_arena *);
/* '' in the machine's own network namespace, else that namespace's identity, stable while it lives. */
const char *np_host_scope(struct np_arena *);
const char *np_host_user(struct np_arena *); /* "root", "1000(alice)": for the event log */
int64_t np_host_now(void);                   /* Unix seconds */
bool np_host_privileged(void);               /* may it make the machine's ledger? */
const char *np_host_env(const char *name);   /* NULL when unset or empty; borrowed */

/* ---- Files, always below a root ------------------------------------------------------------------------------ */

/* Identity of a file's content; present = false: there was none. */
struct np_stamp {
    bool present;
    uint64_t device, inode, size;
    int64_t mtime_ns, ctime_ns;
};

/* Reads files of one machine: this one (root NULL), or an image below `root`, where links are resolved inside it.
 * Remembers what it read, so that a later look can be cheap. */
struct np_reader;

enum nextport_status np_reader_open(struct np_reader **ret, const char *root, struct np_arena *,
                                    struct nextport_error *);
void np_reader_close(struct np_reader *); /* NULL allowed */

/* The outcome of reading one file; not an error in itself. `why` is for people when it is not NP_READ_OK, and does not
 * repeat the file's name. */
enum np_read {
    NP_READ_OK,
    NP_READ_ABSENT,
    NP_READ_DENIED,
    NP_READ_BAD, /* a directory, FIFO or device; too large; an I/O error; changed while it was read */
};

/* Reads a regular file whole, in one open, without blocking on a FIFO. `path` is absolute and '/'-separated, below the
 * root. `limit` in bytes. The bytes live in the arena that the reader was opened with and are NUL-terminated beyond
 * their length. */
enum np_read np_reader_read(struct np_reader *, const char *path, size_t limit, struct np_text *ret, const char **why);

/* The name of `path` on disk, each component matched without regard to ASCII case; NULL when there is none. Looks only
 * below the root. An unreadable folder on the way gives NULL and *why; an absent one NULL and *why NULL. */
const char *np_reader_find_nocase(struct np_reader *, const char *path, const char **why);

/* Paths that match a glob (shell patterns; as absolute paths below the root), sorted. *why: NULL, or which folder could
 * not be looked into, so that more may match. */
void np_reader_glob(struct np_reader *, const char *pattern, const char *const **ret, size_t *ret_n, const char **why);

/* How a person would name the path: with the root before it. */
const char *np_reader_shown(struct np_reader *, const char *path);

/* Did any file read, found absent or searched for change since? What was written within the last hundredths of a second
 * before it was read counts as changed: its times could not tell. */
bool np_reader_changed(struct np_reader *);

/* Waits before a file that looked half-written is read again. */
void np_host_pause_ms(unsigned ms);

/* ---- Sockets ------------------------------------------------------------------------------------------------- */

enum np_socket_scope {
    NP_SOCKETS_ALL,       /* every state, bound-only ones where the kernel tells (Linux 6.8) */
    NP_SOCKETS_LISTENING, /* cheap: does not grow with the number of connections */
};

struct np_socket {
    uint16_t port; /* local */
    enum nextport_protocol protocol;
    bool transient;    /* an outgoing connection, TIME_WAIT, or any other state that ends by itself */
    const char *state; /* static: "listening", "established", "time-wait", "bound", ... */
    char address[64];  /* "0.0.0.0", "[::1]" */
    uint64_t inode;    /* 0: none any more */
    uint32_t uid;
};

typedef void np_socket_fn(void *ctx, const struct np_socket *);

/* Calls `each` for every TCP (and, when asked, UDP) socket whose local port is in `ports`. `*partial` says, in words, what the kernel
 * could not tell (NULL: nothing). */
enum nextport_status np_host_sockets(enum np_socket_scope, enum nextport_protocol, const struct np_portset *ports,
                                     np_socket_fn *each, void *ctx, const char **partial, struct nextport_error *);

/* Which process has a socket. Scans /proc once; what this user may not read stays unknown. */
struct np_processes;
struct np_processes *np_processes_read(struct np_arena *);
/* false: unknown or not visible. */
bool np_processes_find(const struct np_processes *, uint64_t inode, int64_t *ret_pid, const char **ret_program);
/* Some processes could not be looked into. */
bool np_processes_hidden(const struct np_processes *);
/* The program's name of a process, or NULL. */
const char *np_process_program(struct np_arena *, int64_t pid);

/* The bind probe. Holds every port it found free until it is closed, so that no other program that binds can come
 * between the choice and the lease. */
struct np_probe;

enum nextport_status np_probe_open(struct np_probe **ret, enum nextport_protocol, struct nextport_error *);
void np_probe_close(struct np_probe *); /* NULL allowed; lets go of every port */
/* Lets go of one held port. */
void np_probe_release(struct np_probe *, uint16_t port);
/* An np_probe_fn; ctx is the probe. */
enum nextport_status np_probe_try(void *probe, uint16_t port, enum nextport_probe *ret, struct nextport_error *);

/* ---- What the system keeps for itself ------------------------------------------------------------------------ */

struct np_os_ports {
    uint16_t ephemeral_first, ephemeral_last; /* ports of outgoing connections */
    struct np_portset reserved;               /* kept out of automatic assignment by an administrator */
    uint16_t unprivileged_first;              /* lower ports need a capability */
    bool may_bind_low;
};

/* NEXTPORT_BLIND when a fact could not be read. */
enum nextport_status np_host_os_ports(struct np_os_ports *ret, struct nextport_error *);

/* ---- The ledger's file --------------------------------------------------------------------------------------- */

#define NP_MACHINE_LEDGER "/var/lib/nextport/ledger.db"
#define NP_GROUP "nextport"

/* $XDG_STATE_HOME/nextport/ledger.db or ~/.local/state/nextport/ledger.db (HOME, else the password database). */
enum nextport_status np_host_user_ledger(struct np_arena *, const char **ret, struct nextport_error *);

enum np_place {
    NP_PLACE_MACHINE, /* NP_MACHINE_LEDGER: owned by root, group-writable only for the group nextport */
    NP_PLACE_USER,    /* --user: folder owned by this user, closed to others */
    NP_PLACE_GIVEN,   /* --ledger FILE */
};

/* Is the ledger's file, with its neighbours (-wal, -shm, -lock), what was promised? Regular files and no links, owned by
 * root or this user (a machine's ledger: by root), not writable by everyone, in a folder of which the same holds.
 * *ret_present: is there a ledger? NEXTPORT_DENIED: weaker than promised, or no access. NEXTPORT_LEDGER: not a file, or
 * neighbours without a ledger (its content would be lost), or a read-only file system when `write`. */
enum nextport_status np_host_ledger_vet(const char *path, enum np_place, bool write, bool *ret_present,
                                        struct nextport_error *);

/* Makes the missing folders of the ledger (machine: 2775 root:nextport, or 0755 without the group; user: 0700; given:
 * none, they must exist). NEXTPORT_DENIED with the cure. */
enum nextport_status np_host_ledger_folder(const char *path, enum np_place, struct nextport_error *);

/* Clears away what a maker that was killed left behind under this name (a regular file of ours), so that `create` can
 * begin afresh. Call it under the lock. */
enum nextport_status np_host_ledger_fresh(const char *made, struct nextport_error *);

/* Puts the finished file `made` (same folder) in the place of `path`, which must not exist; sets owner and mode as
 * promised; both durable. */
enum nextport_status np_host_ledger_publish(const char *made, const char *path, enum np_place, struct nextport_error *);

/* Makes the group if it is missing. *ret_made: it was. */
enum nextport_status np_host_make_group(bool *ret_made, struct nextport_error *);

/* Gives folder and files of an existing machine's ledger the promised owner and modes. *ret_changed: something was. */
enum nextport_status np_host_ledger_modes(const char *path, bool *ret_changed, struct nextport_error *);

/* The queue before the ledger: an exclusive lock on PATH-lock that the system gives back when its process ends, however it
 * ends. Waiters are served by the kernel. */
struct np_lock;

/* NEXTPORT_RETRY after `wait_s` seconds, naming the process that holds it. */
enum nextport_status np_lock_take(struct np_lock **ret, const char *ledger_path, enum np_place, int64_t wait_s,
                                  struct nextport_error *);
void np_lock_release(struct np_lock *); /* NULL allowed */

#endif
