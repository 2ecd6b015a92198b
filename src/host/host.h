/* This machine: the only part that knows which system it runs on. linux/ and windows/ hold one implementation each.
 *
 * Paths are UTF-8. A path is written as its system writes it; Windows takes both separators and gives '/'.
 * SPDX-License-Identifier: MIT */
#ifndef NP_HOST_H
#define NP_HOST_H

#include "base/pack.h"
#include "core/plan.h"

/* ---- Identity ------------------------------------------------------------------------------------------------ */

const char *np_host_name(struct np_arena *); /* "unknown" when the system does not say */
/* What the system gave this installation (/etc/machine-id, MachineGuid), or NULL where there is none. */
const char *np_host_machine_id(struct np_arena *);
/* '' in the machine's own network namespace (Windows: always), else that namespace's identity, stable while it lives. */
const char *np_host_scope(struct np_arena *);
/* Tells this start of the system from others: no network namespace outlives it. NULL: it is not known, or there are no
 * namespaces. Without ':' and ' '. */
const char *np_host_boot(struct np_arena *);
const char *np_host_user(struct np_arena *); /* "root", "1000(alice)", "SHOP\alice": for the event log */
int64_t np_host_now(void);                   /* Unix seconds */
bool np_host_privileged(void);               /* may it make the machine's ledger? */
const char *np_host_env(struct np_arena *, const char *name); /* NULL when unset or empty */

/* What people of this system call things, for messages. */
struct np_host_words {
    const char *admin;   /* "root", "an administrator": who may do everything */
    const char *elevate; /* "Run as root", "Run elevated, ...": how to become that; begins a sentence */
    const char *setup;   /* "Run 'sudo nextport setup'": how the machine's ledger is made; begins a sentence */
    const char *join;    /* the command that puts a user into the group, in quotes, and when it counts */
};
extern const struct np_host_words np_host_words;

/* /etc/nextport/nextport.conf or %ProgramData%\nextport\nextport.conf; NULL: there is none. NEXTPORT_DENIED: strangers may
 * write what is there (on Windows everyone may make folders in that place), so it must not be read. */
enum nextport_status np_host_config_file(struct np_arena *, const char **ret, struct nextport_error *);

/* ---- Files, always below a root ------------------------------------------------------------------------------ */

/* Is there anything at this path of this machine? What cannot be looked at counts as there. */
bool np_host_exists(const char *path);

/* Reads files of one machine: this one (root NULL), or an image below `root`, where links are resolved inside it or, where
 * the system cannot do that, refused. Remembers what it read, so that a later look can be cheap. */
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

/* Reads a regular file whole, in one open, without blocking on a FIFO. `path` lies below the root, if there is one, and is
 * then absolute and '/'-separated. `limit` in bytes. The bytes live in the arena that the reader was opened with and are NUL-terminated beyond
 * their length. */
enum np_read np_reader_read(struct np_reader *, const char *path, size_t limit, struct np_text *ret, const char **why);
/* The same with the bytes in another arena. */
enum np_read np_reader_read_into(struct np_reader *, struct np_arena *, const char *path, size_t limit,
                                 struct np_text *ret, const char **why);

/* The name of `path` on disk, each component matched without regard to ASCII case; NULL when there is none. Looks only
 * below the root. An unreadable folder on the way gives NULL and *why; an absent one NULL and *why NULL. */
const char *np_reader_find_nocase(struct np_reader *, const char *path, const char **why);

/* Paths that match a glob (shell patterns; absolute, as the paths, where there is a root), sorted. NP_READ_OK: all of
 * them; else more may match, and *why, not NULL then, names the folder: NP_READ_DENIED where this user may not look into
 * it, NP_READ_BAD for any other reason, too many names among them. */
enum np_read np_reader_glob(struct np_reader *, const char *pattern, const char *const **ret, size_t *ret_n,
                            const char **why);

/* One name in a folder. */
enum np_entry_kind {
    NP_ENTRY_FILE, /* a regular one, to be read as it is */
    NP_ENTRY_FOLDER,
    NP_ENTRY_LINK,  /* to anything or nothing */
    NP_ENTRY_OTHER, /* a FIFO, a device, ... */
    NP_ENTRY_UNKNOWN,
    NP_ENTRY_BROKEN, /* not to be written as text, and so not to be opened; in no list */
};

struct np_entry {
    const char *name;
    enum np_entry_kind kind;
    const char *link; /* what a link says, as it says it; NULL: no link, or the system does not tell (Windows) */
};

/* The names in a folder, in byte order, but "." and "..". In the arena. */
enum np_read np_reader_list(struct np_reader *, const char *folder, const struct np_entry **ret, size_t *ret_n,
                            const char **why);
/* Are both paths names of one file or folder? false also when one of them is not there. */
bool np_reader_is_same(struct np_reader *, const char *path, const char *other);

bool np_reader_has_root(const struct np_reader *);

/* How a person would name the path: with the root before it. */
const char *np_reader_shown(struct np_reader *, const char *path);

/* What np_host_exists() and np_host_command_of() say, and it is remembered as well. Not of an image. */
bool np_reader_exists(struct np_reader *, const char *path);
const char *np_reader_command_of(struct np_reader *, const char *pid_file);

/* From here on what was seen before does not count. */
void np_reader_begin_look(struct np_reader *);
/* For whom the next questions are asked: a number below that of nobody in particular, or that. */
enum { NP_READER_NOBODY = 63 };
void np_reader_ask_for(struct np_reader *, unsigned asker);

/* Did anything that was seen in this look change since? What was written within the last hundredths of a second before it
 * was read counts as changed: its times could not tell. */
bool np_reader_changed(struct np_reader *);

/* All that was seen for one asker in this look, as bytes. false: it would be no use later, because something is fresh, was
 * changing, or lies where its times do not tell (and always on Windows). */
bool np_reader_write_down(struct np_reader *, unsigned asker, struct np_buf *ret);
/* All that counts as seen now, for the present asker, if it still is so; or else `unseen`: np_reader_changed() will tell.
 * The bytes live as long as the reader. false, and nothing does: it is otherwise, or broken. */
bool np_reader_take_over(struct np_reader *, struct np_unpack *written, bool unseen);

/* Waits before a file that looked half-written is read again. */
void np_host_pause_ms(unsigned ms);

/* ---- From one request to the next ------------------------------------------------------------------------------ */

/* Who looks, and by which program: what one sees another may not. NULL: not known (Windows: never). */
const char *np_host_view(struct np_arena *);
/* What np_host_keep() kept last beside this ledger for this user. false: nothing, or somebody else may have written it. It may
 * be torn. */
bool np_host_recall(struct np_arena *, const char *ledger, struct np_text *ret);
/* As well as it can be done; it may be lost again. NULL: it cannot. To be ended, and until then what was there stays. */
struct np_keeper;
struct np_keeper *np_host_keep(struct np_arena *, const char *ledger);
void np_host_keep_more(struct np_keeper *, struct np_text);
void np_host_keep_end(struct np_keeper *);

/* ---- Streams to programs of this machine ----------------------------------------------------------------------- */

/* A Unix socket, or a named pipe ("\\\\.\\pipe\\docker_engine") on Windows, whose server is not let act as us. */
struct np_stream;

/* Everything that is sent and received together may last `budget_ms`. NP_READ_ABSENT: there is nothing at `path`;
 * NP_READ_BAD: nobody answers there, or not now. Lives in the arena until it is closed. */
enum np_read np_stream_open(struct np_stream **ret, struct np_arena *, const char *path, unsigned budget_ms,
                            const char **why);
void np_stream_close(struct np_stream *); /* NULL allowed */
unsigned np_stream_left_ms(const struct np_stream *);
/* Sends all; false, with *why, when it could not in time. */
bool np_stream_send(struct np_stream *, const char *bytes, size_t n, const char **why);
/* Up to `n` bytes, as soon as there are some; 0: the other side has ended; -1, with *why: it failed, or not in time. */
ptrdiff_t np_stream_receive(struct np_stream *, char *bytes, size_t n, const char **why);

/* ---- Programs ------------------------------------------------------------------------------------------------ */

/* One run of a program: by its file and no shell, with nothing to read, no descriptor of ours but its own output, and in the
 * system's topmost folder. */
struct np_program {
    const char *file;               /* absolute */
    const char *const *words;       /* behind its name; ends with NULL */
    const char *const *environment; /* "NAME=VALUE", all it gets beside what the system itself needs; ends with NULL */
    size_t limit;                   /* bytes that each of its streams may print */
    unsigned budget_ms;
};

struct np_printed {
    struct np_text out, log; /* standard output and standard error; NUL-terminated */
    int status;              /* what it ended with; a signal is 128 and its number */
};

/* May nobody but root and this user change this file, nor exchange it by a folder or link on its way? NEXTPORT_DENIED: others
 * may. Not asked on Windows. */
enum nextport_status np_host_vet(const char *file, struct nextport_error *);

/* Runs it to its end, whatever status that is. It ends with us at the latest, and what it started with it. On Linux the
 * caller must not ignore SIGCHLD. NEXTPORT_DENIED: np_host_vet() says so, or it may not be run. NEXTPORT_FAILED: it did not end in time, printed
 * too much, or could not be run; *ret is left alone then. */
enum nextport_status np_host_run(struct np_arena *, const struct np_program *, struct np_printed *ret,
                                 struct nextport_error *);

/* Where a container engine keeps its things on this system. */
struct np_engine_place {
    const char *config;   /* its configuration file */
    const char *data;     /* its folder, unless the configuration says otherwise */
    const char *endpoint; /* for np_stream_open() */
    const char *group;    /* whose members may ask it; NULL: none is known */
    const char *running;  /* is there while it runs; NULL: to ask does not start it */
};

/* `below_root`: as paths below the root of an image. */
struct np_engine_place np_host_docker(struct np_arena *, bool below_root);

/* Where Podman keeps the containers of the machine, and those of this user or, to root, of others. */
struct np_podman_place {
    const char *storage;           /* a folder, unless a configuration says otherwise; may be a glob */
    const char *endpoint;          /* for np_stream_open(); NULL: other users' */
    bool rootless;                 /* of ordinary users, who have configurations of their own */
    const char *home, *uid, *user; /* of whom it is; may be globs; NULL: not known */
};

size_t np_host_podman(struct np_arena *, bool below_root, const struct np_podman_place **ret);

/* The home of the user who runs this, with whose rights it is read; of root, whatever HOME says, and below a root that is
 * /root. An absolute path; NULL: none is known, and on Windows. Other users' homes are not looked at: root would read what
 * they chose to put there. */
const char *np_host_home(struct np_arena *, bool below_root);

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
    uint64_t
        process_key; /* for np_processes_find(): the inode on Linux, the process on Windows; 0: nobody's any more */
};

typedef void np_socket_fn(void *ctx, const struct np_socket *);

/* What is never looked at, in words: "raw sockets, ..." */
extern const char np_sockets_unseen[];

/* Calls `each` for every TCP (and, when asked, UDP) socket whose local port is in `ports`. `*partial` says, in words, what the kernel
 * could not tell (NULL: nothing). */
enum nextport_status np_host_sockets(enum np_socket_scope, enum nextport_protocol, const struct np_portset *ports,
                                     np_socket_fn *each, void *ctx, const char **partial, struct nextport_error *);

/* Which process has a socket. Reads the processes once; what this user may not see stays unknown. */
struct np_processes;
struct np_processes *np_processes_read(struct np_arena *);
/* false: unknown or not visible. `*ret_unit`: where systemd runs it ("shop.service"); NULL: nowhere, or not visible. */
bool np_processes_find(const struct np_processes *, uint64_t process_key, int64_t *ret_pid, const char **ret_program,
                       const char **ret_unit);
/* Some processes could not be looked into. */
bool np_processes_hidden(const struct np_processes *);

/* Does the bind probe alone refuse every port that a socket uses? On Linux it does. On Windows it calls the ports of
 * outgoing connections and of TIME_WAIT free, so there the table of sockets is asked for every request as well. */
extern const bool np_probe_sees_all;

/* One process, so that another one with its number later is not taken for it: "PID START BOOT", START in the system's own
 * unit, BOOT what names this start of the system and where numbers and times mean this (Linux: the namespaces of process
 * numbers and of time; Windows: "-", as START tells it already, and the time of the boot moves with the clock). This
 * process's own, the same after it has become another program; NULL: the system does not tell (no /proc). */
const char *np_process_self(struct np_arena *);
/* Has the process that a text of np_process_self() names ended, whether or not its parent knows? What cannot be known, as of
 * a process of another container, has not; what ran before this system was started has. */
bool np_process_has_ended(const char *process);

/* How the process was started whose number a file holds ("/run/nginx.pid"): its command line, words separated by blanks; NULL:
 * there is no such file or process, or the system does not tell (Windows). */
const char *np_host_command_of(struct np_arena *, const char *pid_file);

/* The bind probe. Holds every port it found free until it is closed, so that no other program that binds can come
 * between the choice and the lease. */
struct np_probe;

enum nextport_status np_probe_open(struct np_probe **ret, enum nextport_protocol, struct nextport_error *);
void np_probe_close(struct np_probe *); /* NULL allowed; lets go of every port */
/* Lets go of one held port. */
void np_probe_release(struct np_probe *, uint16_t port);
/* Takes a held port's TCP socket out of the probe: bound, not listening, not inherited; the caller closes it. On Windows,
 * and where it cannot be, -1. */
intptr_t np_probe_take(struct np_probe *, uint16_t port);
/* An np_probe_fn; ctx is the probe. */
enum nextport_status np_probe_try(void *probe, uint16_t port, enum nextport_probe *ret, struct nextport_error *);
/* The same of a port that its owner had before: what is left of old TCP connections (TIME_WAIT) does not count, where a
 * server that is started again may bind beside it. */
enum nextport_status np_probe_try_again(struct np_probe *, uint16_t port, enum nextport_probe *ret,
                                        struct nextport_error *);

/* ---- What the system keeps for itself ------------------------------------------------------------------------ */

/* Ports that the system gives to nobody, or only to those who hold a permission. */
struct np_os_range {
    struct nextport_range ports;
    enum nextport_protocol protocol;
    const char *holder, *detail; /* static, or in the arena */
};

struct np_os_ports {
    uint16_t ephemeral_first, ephemeral_last; /* ports of outgoing TCP connections */
    struct np_portset reserved;               /* Linux: kept out of automatic assignment by an administrator */
    struct np_portset protected;              /* what of that np_host_protect() put there */
    const char *reserved_by;                  /* where that is set */
    const struct np_os_range *excluded;       /* Windows: by programs and administrators */
    size_t n_excluded;
    uint16_t unprivileged_first; /* lower ports need a permission; 0: none do */
    bool may_bind_low;
};

/* `fresh`: ask the system, even if what it said since it started is remembered. NEXTPORT_BLIND when a fact could not be
 * read. */
enum nextport_status np_host_os_ports(struct np_arena *, bool fresh, struct np_os_ports *ret, struct nextport_error *);

/* What keeps outgoing connections out of a pool, as the system wants to be told it. */
struct np_protection {
    const char *text;    /* the file's content, or the commands */
    const char *place;   /* the file, or NULL: commands */
    const char *present; /* what is in force now, in words */
    bool in_force;       /* nothing is left to do */
    const char *ours;    /* what np_host_unprotect() would take back, in words; NULL: nothing */
    const char *cannot;  /* NULL, or why the system cannot be told this, and what to do instead: sentences */
    const char *warning; /* NULL, or what may come in the way of it nevertheless, and what to do: sentences */
};

enum nextport_status np_host_protect_plan(struct np_arena *, const struct np_portset *pool, struct np_protection *ret,
                                          struct nextport_error *);
/* Does it, reads it back, and makes it last over a restart. NEXTPORT_DENIED without the privilege, NEXTPORT_FAILED when it
 * cannot be, and NEXTPORT_CONFLICT when something that is not ours is in the way; nothing is changed then. *ret_changed: it
 * was not so before. */
enum nextport_status np_host_protect(struct np_arena *, const struct np_portset *pool, bool *ret_changed,
                                     struct nextport_error *);
/* Takes back what np_host_protect() did, and nothing else. */
enum nextport_status np_host_unprotect(struct np_arena *, bool *ret_changed, struct nextport_error *);

/* ---- Ports that the system hands to somebody without a socket --------------------------------------------------- */

/* Ports that a rule of the kernel's address translation takes, although a bind succeeds. */
struct np_nat_row {
    struct nextport_range ports; /* 0-0: a rule that takes every port, or nearly: no reason to give none away */
    enum nextport_protocol protocol;
    bool conditional;    /* named by a rule of which it is not known whether it takes them */
    const char *address; /* NULL: not said */
    const char *holder;  /* "DNAT to 172.17.0.2:80"; NULL: not said */
    const char *detail;  /* "nat PREROUTING"; thorough: "nat PREROUTING handle 7" */
    /* Thorough: whoever connects from elsewhere to these ports of this machine ends there and at none of its sockets.
     * `reach`: at "0.0.0.0", "[::]" or one address; NULL: at all of them. */
    bool hijacks;
    const char *reach;
    uint16_t ends; /* the port of this machine where they end after all; 0: elsewhere */
};

struct np_nat {
    const struct np_nat_row *rows;
    size_t n;
    bool present;       /* this system has something of the kind */
    const char *unseen; /* NULL, or what this user may not look into, in words */
};

/* Executes nothing, loads no module of ip_tables, and changes nothing. NEXTPORT_BLIND when an answer made no sense. */
enum nextport_status np_host_nat(struct np_arena *, bool thorough, struct np_nat *ret, struct nextport_error *);

/* ---- What only Windows has; elsewhere these say that there is nothing ---------------------------------------- */

/* One row of HTTP.sys' configuration, which holds a port for somebody although no socket does. */
struct np_http_row {
    enum np_http_kind {
        NP_HTTP_URL,     /* a URL reservation: "http://+:8080/app/" */
        NP_HTTP_ADDRESS, /* a certificate for an address: "0.0.0.0:443", "[::]:443" */
        NP_HTTP_NAME,    /* a certificate for a host name (SNI): "www.example.com:443" */
        NP_HTTP_STORE,   /* the central certificate store: "443" */
    } kind;
    const char *text;
};

/* *ret_present: this system has HTTP.sys. NEXTPORT_BLIND when it could not be asked. */
enum nextport_status np_host_http_rows(struct np_arena *, const struct np_http_row **ret, size_t *ret_n,
                                       bool *ret_present, struct nextport_error *);

/* The services(5) file of this system, whether there or not. */
const char *np_host_services_file(struct np_arena *);

/* The live applicationHost.config, whether there or not; NULL where there cannot be one. */
const char *np_host_iis_file(struct np_arena *);
/* Is IIS installed, whatever can be read? */
bool np_host_iis_installed(void);
/* The configuration of this user's own IIS Express, whether there or not; NULL where there cannot be one. */
const char *np_host_iis_express_file(struct np_arena *);
/* An absolute Windows path ("C:\shared", "\\server\share", "%SystemDrive%\x") as a path of this machine; NULL where it
 * is none, or leads up with "..". */
const char *np_host_windows_path(struct np_arena *, const char *path);

/* ---- The ledger's file --------------------------------------------------------------------------------------- */

#define NP_GROUP "nextport"

/* /var/lib/nextport/ledger.db, %ProgramData%\nextport\ledger.db */
const char *np_host_machine_ledger(struct np_arena *);
/* Does `path` mean that file? */
bool np_host_is_machine_ledger(const char *path);

/* $XDG_STATE_HOME/nextport/ledger.db or ~/.local/state/nextport/ledger.db (HOME, else the password database);
 * %LocalAppData%\nextport\ledger.db. */
enum nextport_status np_host_user_ledger(struct np_arena *, const char **ret, struct nextport_error *);

/* How SQLite must be told a path: on Windows, where it is long, with the prefix that lifts the limit of 260 characters. */
const char *np_host_sqlite_path(struct np_arena *, const char *path);

enum np_place {
    NP_PLACE_MACHINE, /* the machine's: owned by root or the system, writable by others only as members of NP_GROUP */
    NP_PLACE_USER,    /* --user: folder owned by this user, closed to others */
    NP_PLACE_GIVEN,   /* --ledger FILE */
};

/* Is the ledger's file, with its neighbours (-wal, -shm, -lock), what was promised? Regular files and no links, owned by
 * root or this user (a machine's ledger: by root), not writable by everyone, in a folder of which the same holds.
 * *ret_present: is there a ledger? NEXTPORT_DENIED: weaker than promised, or no access. NEXTPORT_LEDGER: not a file, or
 * neighbours without a ledger (its content would be lost), or a read-only file system when `write`. */
enum nextport_status np_host_ledger_vet(const char *path, enum np_place, bool write, bool *ret_present,
                                        struct nextport_error *);

/* Makes the missing folders of the ledger (given: none, they must exist). Linux: machine 2775 root:nextport, or 0755
 * without the group; user 0700. Windows: a protected DACL, machine SYSTEM and Administrators full, NP_GROUP modify, Users
 * read; user: that user, SYSTEM and Administrators. NEXTPORT_DENIED with the cure. */
enum nextport_status np_host_ledger_folder(const char *path, enum np_place, struct nextport_error *);

/* Makes an empty file, whose name is then ours. NEXTPORT_CONFLICT: there is something already. */
enum nextport_status np_host_make_file(const char *path, struct nextport_error *);
/* Does this number of the system's (errno, GetLastError) mean that a right is missing, or that another program keeps the
 * file from everyone (Windows)? */
bool np_host_is_denied(int reason);
bool np_host_is_kept(int reason);

/* Clears away what a maker that was killed left behind under this name (a regular file of ours), so that `create` can
 * begin afresh. Call it under the lock. */
enum nextport_status np_host_ledger_fresh(const char *made, struct nextport_error *);

/* Puts the finished file `made` (same folder) in the place of `path`, which must not exist; sets owner and mode as
 * promised; both durable. */
enum nextport_status np_host_ledger_publish(const char *made, const char *path, enum np_place, struct nextport_error *);

/* Gives folder and files of an existing machine's ledger the promised owner and modes; where the configuration lies in the
 * same folder, it is made and given its own. *ret_changed: something was. */
enum nextport_status np_host_ledger_modes(const char *path, bool *ret_changed, struct nextport_error *);

/* Makes the group if it is missing, or removes it if it is there. *ret_changed: it was made or removed. */
enum nextport_status np_host_make_group(bool *ret_changed, struct nextport_error *);
enum nextport_status np_host_remove_group(bool *ret_changed, struct nextport_error *);

/* The system's task that runs `nextport sweep` on the machine's ledger from time to time. */
struct np_task {
    const char *name; /* NULL: this system has none */
    bool changed;     /* it was made, replaced or removed */
    const char *why;  /* NULL, or why there is none although the system could have one, and what to do */
};

enum nextport_status np_host_make_task(struct np_arena *, struct np_task *ret, struct nextport_error *);
enum nextport_status np_host_remove_task(struct np_arena *, struct np_task *ret, struct nextport_error *);

/* The queue before the ledger: an exclusive lock on PATH-lock that the system gives back when its process ends, however it
 * ends. Waiters are served by the kernel. */
struct np_lock;

/* NEXTPORT_RETRY after `wait_s` seconds, naming the process that holds it. */
enum nextport_status np_lock_take(struct np_lock **ret, const char *ledger_path, enum np_place, int64_t wait_s,
                                  struct nextport_error *);
void np_lock_release(struct np_lock *); /* NULL allowed */

#endif
