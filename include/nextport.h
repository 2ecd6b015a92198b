/* nextport.h - the next free port on this machine, durably leased.
 * SPDX-License-Identifier: MIT
 *
 * The shape of a program
 * ----------------------
 *     struct nextport_error err = NEXTPORT_ERROR_INIT;
 *     struct nextport *np = nextport_new();
 *     nextport_load(np, NULL, &err);                         the machine's configuration file
 *     nextport_set(np, "pool.range", "49000-65000", "here", &err);
 *
 *     struct nextport_request ask = NEXTPORT_REQUEST_INIT;
 *     struct nextport_result *res = NULL;
 *     if (nextport_next(np, &ask, &res, &err) == NEXTPORT_OK)
 *         use(res->ports[0].port);                           the lease is on disk by now
 *     nextport_result_free(res);
 *     nextport_free(np);
 *
 * An answer that could not be handed on (the pipe was closed, say) is given back with nextport_withdraw().
 *
 * Threads. A handle belongs to one thread at a time; several handles may live in one process. The library starts a
 * thread only while it waits for the ledger's lock or looks into another network namespace, installs no signal handler
 * and changes no process-wide state.
 *
 * Errors. Every function that can fail returns a status and fills the error it was given: `text` says what happened,
 * from the task down to the system call, `hint` what to do about it (it may be empty). Statuses are also the program's
 * exit statuses. The library never prints and never exits.
 *
 * Memory. A result owns everything it points at, until nextport_result_free(). Strings are UTF-8 as they were found,
 * and may hold control characters: the renderer neutralises them, other users must. The library allocates result
 * structs, which may grow at their end; callers allocate requests and say their size.
 *
 * Ports are 1..65535. Times are seconds since 1970-01-01 UTC, durations seconds. Absent strings are NULL.
 */
#ifndef NEXTPORT_H
#define NEXTPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define NEXTPORT_API
#else
#define NEXTPORT_API __attribute__((visibility("default")))
#endif

/* ---- Statuses and errors ------------------------------------------------------------------------------------- */

enum nextport_status {
    NEXTPORT_OK = 0,
    NEXTPORT_FAILED = 1,   /* any other failure */
    NEXTPORT_INPUT = 2,    /* usage or bad input */
    NEXTPORT_FULL = 3,     /* no port in the pool is free */
    NEXTPORT_BLIND = 4,    /* required evidence could not be read */
    NEXTPORT_LEDGER = 5,   /* the ledger is unusable and needs a person */
    NEXTPORT_CONFLICT = 6, /* a conflict was found */
    NEXTPORT_DENIED = 7,   /* not permitted */
    NEXTPORT_RETRY = 8,    /* temporary, or outcome unknown: repeat the same request */
};

#define NEXTPORT_N_STATUS 9

/* One row for each status: the word used in JSON, a sentence, and what a person can do. */
struct nextport_status_info {
    enum nextport_status status;
    const char *slug, *meaning, *advice;
};

NEXTPORT_API extern const struct nextport_status_info nextport_statuses[NEXTPORT_N_STATUS];

struct nextport_error {
    enum nextport_status status;
    char text[1024]; /* "open ledger /x/ledger.db: open: permission denied" */
    char hint[512];  /* a sentence, or empty */
};

#define NEXTPORT_ERROR_INIT                                                                                            \
    {                                                                                                                  \
        NEXTPORT_OK, "", ""                                                                                            \
    }

/* ---- Words: what a machine says about its ports -------------------------------------------------------------- */

enum nextport_protocol {
    NEXTPORT_TCP = 1,
    NEXTPORT_UDP = 2,
    NEXTPORT_BOTH = NEXTPORT_TCP | NEXTPORT_UDP,
};

/* Why a port is taken. */
enum nextport_kind {
    NEXTPORT_SOCKET,     /* the kernel has it */
    NEXTPORT_CONFIGURED, /* a server's configuration names it, running or not */
    NEXTPORT_PUBLISHED,  /* a container engine or NAT publishes it without a socket */
    NEXTPORT_RESERVED,   /* an OS exclusion, a URL reservation, an FTP passive range, a deployment step's own port */
    NEXTPORT_LEASED,     /* the ledger promised it */
    NEXTPORT_SUSPECT,    /* a number in a malformed setting: avoided and reported */
};

enum nextport_certainty {
    NEXTPORT_DECLARED,
    NEXTPORT_CONDITIONAL, /* counts as taken */
    NEXTPORT_UNRESOLVED,  /* reported, no number invented */
};

/* One reason why a port, or a range of them, is taken. */
struct nextport_claim {
    uint16_t first, last; /* first <= last; both 0 only where certainty is unresolved */
    enum nextport_protocol protocol;
    enum nextport_kind kind;
    enum nextport_certainty certainty;
    bool transient;      /* an outgoing connection or TIME_WAIT: it will pass, and never confirms a lease */
    const char *address; /* "*", "127.0.0.1", "[::1]"; NULL: not said, or several were merged */
    const char *holder;  /* site, program or owner */
    const char *host;    /* the host name that the holder answers to, where several share a port by it; NULL: any */
    const char *scheme; /* "http", "net.tcp": how the holder speaks, which decides what can be shared; NULL: not said */
    const char *detail; /* the binding as written, the socket's state, ... */
    const char *source; /* never NULL */
    const char *file;
    unsigned line;    /* 0: none */
    int64_t pid;      /* 0: none or not visible */
    const char *unit; /* in which systemd runs that process ("shop.service"); NULL: in none, or not visible */
    uint64_t count;   /* how many equal findings this row stands for, at least 1 */
};

/* What became of asking one source. Unreadable is never "nothing there". */
enum nextport_sight {
    NEXTPORT_SEEN,
    NEXTPORT_ABSENT, /* not installed here */
    NEXTPORT_PARTIAL,
    NEXTPORT_UNREADABLE,
};

/* What a bad sighting does to a request. */
enum nextport_policy {
    NEXTPORT_REQUIRE, /* refuse */
    NEXTPORT_WARN,    /* answer, and say what was not seen */
    NEXTPORT_OFF,     /* do not ask */
};

struct nextport_sighting {
    const char *source;
    enum nextport_sight sight;
    enum nextport_policy policy;
    const char *why;  /* NULL when all was seen */
    const char *hint; /* how to see it, or NULL */
};

enum nextport_lease_state {
    NEXTPORT_PENDING,   /* promised, not yet seen in use */
    NEXTPORT_CONFIRMED, /* seen in standing use or configured */
    NEXTPORT_UNSEEN,    /* "absent": was confirmed, and is no longer seen */
    NEXTPORT_RESTING,   /* "quarantined": given back, and kept from everyone else for a while */
};

/* One thing that says who a port is for. Keys are "project", "environment", "channel", "tenant", or free: a letter, then
 * letters, digits, '_', '.' and '-', at most 63 bytes, in lower case whatever was given. Values are 1 to 200 bytes of
 * UTF-8 without control characters. An owner has at most 16 labels, each key once. */
struct nextport_label {
    const char *key, *value;
};

struct nextport_lease {
    int64_t id;
    uint16_t port;
    enum nextport_protocol protocol;
    const char *name;       /* the output variable's name */
    const char *owner;      /* as people read it: "shop/QA/feature-x"; NULL: leased to nobody */
    const char *owner_key;  /* what makes two owners the same one (doc/lifetimes.md); NULL: leased to nobody */
    const char *deployment; /* NULL: none */
    enum nextport_lease_state state;
    const char *holder; /* who was seen using it, "SOURCE: WHO", or NULL */
    int64_t created, renewed;
    int64_t expires;                     /* 0: never while in use */
    const char *process;                 /* the process it lives with: "PID START BOOT"; NULL: none */
    unsigned looks;                      /* how often it was looked for and not seen, since it was seen last */
    const struct nextport_label *labels; /* as given, in the order of the key */
    size_t n_labels;
    int64_t revision; /* 1 when it is new, one more with every change */
};

/* One change of the ledger. Texts are NULL where they do not apply. */
struct nextport_event {
    int64_t id, time;
    const char *kind; /* "granted", "confirmed", "moved", ...: doc/lifetimes.md lists them */
    int64_t lease;    /* 0: of the ledger itself */
    uint16_t port;
    const char *name, *owner;
    const char *user, *host, *program; /* who */
    const char *request;               /* what was asked: "next --project shop" */
    const char *before, *after;        /* the lease as a JSON object; before NULL: it began; after NULL: it ended */
    const char *reason;                /* why, for people: "sockets: node has it, and not iis: Shop" */
    const char *deployment;            /* the lease's */
};

enum nextport_severity { NEXTPORT_HINT, NEXTPORT_HAZARD, NEXTPORT_ERROR };

/* One thing that nextport_check() found. */
struct nextport_finding {
    enum nextport_severity severity;
    const char *slug;     /* "two-holders": stable, one for each kind of finding; doc/check.md lists them */
    uint16_t first, last; /* 0: not about ports */
    const char *text;     /* a sentence */
    const char *cure;     /* a sentence: what to do */
    const struct nextport_claim *evidence; /* what says so */
    size_t n_evidence;
};

/* A message for a person, at the moment it arose. */
enum nextport_level { NEXTPORT_WARNING, NEXTPORT_INFO, NEXTPORT_VERBOSE };

struct nextport_note {
    enum nextport_level level;
    const char *text;
};

/* ---- Results ------------------------------------------------------------------------------------------------- */

enum nextport_what {
    NEXTPORT_ANSWER_NEXT,
    NEXTPORT_ANSWER_USED,
    NEXTPORT_ANSWER_FREE,
    NEXTPORT_ANSWER_WHY,
    NEXTPORT_ANSWER_LEASES,
    NEXTPORT_ANSWER_RELEASE,
    NEXTPORT_ANSWER_DOCTOR,
    NEXTPORT_ANSWER_SETUP,
    NEXTPORT_ANSWER_CONFIG,
    NEXTPORT_ANSWER_SWEEP,
    NEXTPORT_ANSWER_ADOPT,
    NEXTPORT_ANSWER_ASSIGN,
    NEXTPORT_ANSWER_EXPORT,
    NEXTPORT_ANSWER_IMPORT,
    NEXTPORT_ANSWER_CHECK,
    NEXTPORT_ANSWER_PROTECT,
    NEXTPORT_ANSWER_LOG,
    NEXTPORT_ANSWER_MAP,
    NEXTPORT_ANSWER_EXEC,
};

enum nextport_verdict { NEXTPORT_GRANT, NEXTPORT_KEEP, NEXTPORT_MOVE };

struct nextport_range {
    uint16_t first, last;
};

struct nextport_granted {
    const char *name;
    uint16_t port;
    int64_t lease_id; /* 0 in a dry run, unless it was kept */
    int64_t expires;
    enum nextport_verdict verdict;
    uint16_t moved_from; /* with NEXTPORT_MOVE */
    const char *why;     /* kept or moved: in words */
    intptr_t socket;     /* bound to the port, the caller's to close; -1: none was asked for */
};

/* Ports below the answer and what stood in the way, runs of one reason merged. */
struct nextport_reject {
    uint16_t first, last;
    uint64_t count; /* ports, which may be fewer than the range spans */
    enum nextport_kind kind;
    const char *source, *holder;
};

/* What the bind probe, the last word, says of one port. */
enum nextport_probe {
    NEXTPORT_PROBE_NONE, /* not asked */
    NEXTPORT_PROBE_FREE,
    NEXTPORT_PROBE_TAKEN,
    NEXTPORT_PROBE_DENIED, /* not usable by this user */
    /* Windows: kept back, by an excluded range, HTTP.sys or an exclusive owner; the system does not say which */
    NEXTPORT_PROBE_REFUSED,
};

/* One row of doctor, setup and config. */
enum nextport_health { NEXTPORT_GOOD, NEXTPORT_NOTICE, NEXTPORT_BAD };

struct nextport_item {
    const char *section, *name, *value; /* value: what was found or is in force */
    enum nextport_health health;
    const char *origin; /* config: "default", "/etc/nextport/nextport.conf:3", "option --range" */
    const char *advice; /* NULL when there is nothing to do */
};

struct nextport_result {
    enum nextport_what what;
    const char *host;
    const struct nextport_note *notes;
    size_t n_notes;
    const struct nextport_sighting *sources;
    size_t n_sources;

    enum nextport_verdict verdict; /* next: MOVE if any port was moved, else GRANT if any is new, else KEEP */
    const char *owner;             /* next, adopt, assign: whose, as people read it; NULL: nobody's */
    bool changed;                  /* next, release, setup, sweep: something was written */
    bool dry_run;
    const struct nextport_granted *ports;
    size_t n_ports;
    const struct nextport_reject *rejected;
    size_t n_rejected;
    uint64_t rejected_rest; /* ports passed over that the list, cut at 100 rows, does not show */
    const char *exhausted;  /* next, with NEXTPORT_FULL: "16001 ports: 15990 sockets, 11 iis" */

    const struct nextport_claim *claims; /* used, why: ordered by first port */
    size_t n_claims;

    const struct nextport_range *pool; /* free */
    size_t n_pool;
    const struct nextport_range *free;
    size_t n_free;
    uint64_t free_count;

    uint16_t port; /* why, release by port */
    bool is_free;
    enum nextport_protocol protocol; /* why: a port is free for it */
    enum nextport_probe probe;

    /* leases; why: at most one; release: what was given back, as it rests; sweep: what ended; adopt, assign, import: what
     * was leased */
    const struct nextport_lease *leases;
    size_t n_leases;

    const struct nextport_item *items; /* doctor, setup, config */
    size_t n_items;
    const char *raw; /* doctor --raw: text to attach to a report; export: the lines; protect: the file or commands */

    const struct nextport_finding *findings; /* check: the gravest first */
    size_t n_findings;
    enum nextport_severity fail_on;      /* check: the least that counts as a failure (setting check.fail-on) */
    const struct nextport_event *events; /* log: the newest last */
    size_t n_events;

    uint64_t n_confirmed; /* sweep: leases seen in use, for the first time or again */
    uint64_t n_absent;    /* sweep: confirmed leases that were no longer seen in use */
    uint64_t n_resting;   /* sweep: leases that rest now, because the process that they lived with has ended */
};

/* NULL is allowed. */
NEXTPORT_API void nextport_result_free(struct nextport_result *);

/* ---- The handle and its settings ----------------------------------------------------------------------------- */

struct nextport;

/* NULL only when memory is exhausted. */
NEXTPORT_API struct nextport *nextport_new(void);
NEXTPORT_API void nextport_free(struct nextport *);

/* Settings have one name each, as in nextport.conf(5): "section.key". A later call wins, except for list settings
 * (pool.exclude, iis.files), to which it adds. `origin` is borrowed for the call and repeated by
 * nextport_config() and in errors. NEXTPORT_INPUT: unknown key (the nearest one is named) or bad value. */
NEXTPORT_API enum nextport_status nextport_set(struct nextport *, const char *key, const char *value,
                                               const char *origin, struct nextport_error *);

/* Reads a configuration file and the environment's NEXTPORT_LEDGER and NEXTPORT_FORMAT. NULL: the file that
 * NEXTPORT_CONFIG names, else the machine's: /etc/nextport/nextport.conf or %ProgramData%\nextport\nextport.conf, which
 * need not exist. What nextport_set() sets is stronger than the environment and that is stronger than the file, in
 * whatever order they are called. */
NEXTPORT_API enum nextport_status nextport_load(struct nextport *, const char *file, struct nextport_error *);

/* ---- Questions and requests ---------------------------------------------------------------------------------- */

struct nextport_request {
    size_t size;              /* sizeof(struct nextport_request) */
    const char *const *names; /* one port each; NULL: one, called "Port" */
    size_t n_names;
    unsigned count;   /* this many ports, called NAME, NAME2, NAME3; 0: one for each name */
    bool consecutive; /* in one unbroken run */
    bool dry_run;     /* choose and explain, write nothing */
    /* Called once, when all is decided and nothing is on disk yet; may be NULL. A program holds its signals from here
     * until the answer is handed over, so that it is not ended between the two and leaves a lease that nobody knows. */
    void (*before_commit)(void *ctx);
    void *ctx;
    /* Whose port it is: the same owner gets the same port again, as long as it is sound. None: a fresh port each time. */
    const struct nextport_label *labels;
    size_t n_labels;
    const char *deployment; /* a port of this deployment's own, the same one when it is retried; needs labels */
    unsigned keep;          /* with `deployment`: release those older than the newest N of this owner; 0: none */
    bool no_move;           /* NEXTPORT_CONFLICT instead of another port than the owner has */
    bool live;              /* the leases end with this process (exec) */
    bool open;              /* give the sockets that hold the ports, bound and not listening; with `live` */
    const char *text;       /* what was asked, in a line, for the history; NULL allowed */
};

#define NEXTPORT_REQUEST_INIT                                                                                          \
    {                                                                                                                  \
        .size = sizeof(struct nextport_request)                                                                        \
    }

/* Chooses, leases and returns ports: all of them or none, lowest first. On NEXTPORT_OK the leases are on disk.
 * On NEXTPORT_FULL and NEXTPORT_BLIND *ret is set as well: it says what stood in the way. */
NEXTPORT_API enum nextport_status nextport_next(struct nextport *, const struct nextport_request *,
                                                struct nextport_result **ret, struct nextport_error *);

/* Undoes the leases of an answer that nobody got, except those that another request was answered with since. Safe to
 * repeat. */
NEXTPORT_API enum nextport_status nextport_withdraw(struct nextport *, const struct nextport_result *answer,
                                                    struct nextport_error *);

/* The following only look: they take no lock and create nothing. When a required source could not be read they
 * return NEXTPORT_BLIND and set *ret to what was seen all the same. */

struct nextport_query {
    size_t size;
    const char *const *sources; /* NULL: every source */
    size_t n_sources;
    bool all; /* one claim for each finding, not merged */
};

#define NEXTPORT_QUERY_INIT                                                                                            \
    {                                                                                                                  \
        sizeof(struct nextport_query), NULL, 0, false                                                                  \
    }

/* Every claim in the pool's ranges; in 1-65535 when the pool was not set by option. */
NEXTPORT_API enum nextport_status nextport_used(struct nextport *, const struct nextport_query *,
                                                struct nextport_result **ret, struct nextport_error *);
NEXTPORT_API enum nextport_status nextport_unused(struct nextport *, struct nextport_result **ret,
                                                  struct nextport_error *);
NEXTPORT_API enum nextport_status nextport_why(struct nextport *, uint16_t port, struct nextport_result **ret,
                                               struct nextport_error *);

/* Which leases or events: all that is set must match. Labels are compared as keys are, without regard to ASCII case. */
struct nextport_selection {
    size_t size;
    uint16_t port; /* 0: any */
    int64_t id;    /* 0: any */
    const struct nextport_label *labels;
    size_t n_labels;
    const char *name, *deployment; /* NULL: any */
    uint64_t limit;                /* the newest N events; 0: all */
    const char *text;              /* what was asked, for the history; NULL allowed */
};

#define NEXTPORT_SELECTION_INIT                                                                                        \
    {                                                                                                                  \
        .size = sizeof(struct nextport_selection)                                                                      \
    }

/* A selection of NULL is every lease. */
NEXTPORT_API enum nextport_status nextport_leases(struct nextport *, const struct nextport_selection *,
                                                  struct nextport_result **ret, struct nextport_error *);

/* Every change that the selection names, the newest last; NULL: all. */
NEXTPORT_API enum nextport_status nextport_log(struct nextport *, const struct nextport_selection *,
                                               struct nextport_result **ret, struct nextport_error *);

/* Every claim of the pool's ports, and the pool, to be drawn. */
NEXTPORT_API enum nextport_status nextport_map(struct nextport *, struct nextport_result **ret,
                                               struct nextport_error *);

/* What is wrong on this machine, or will be: conflicts and hazards. NEXTPORT_OK whatever was found. */
NEXTPORT_API enum nextport_status nextport_check(struct nextport *, struct nextport_result **ret,
                                                 struct nextport_error *);

/* ---- Changes ------------------------------------------------------------------------------------------------- */

/* Gives leases back: they rest for a while and are then free. With labels only those of exactly this owner (all its
 * labels); a port or id of another owner, when labels are given, is NEXTPORT_DENIED. Nothing to release is NEXTPORT_OK
 * with changed = false. NEXTPORT_INPUT when nothing is selected. */
NEXTPORT_API enum nextport_status nextport_release(struct nextport *, const struct nextport_selection *,
                                                   struct nextport_result **ret, struct nextport_error *);

struct nextport_adoption {
    size_t size;
    bool apply;                 /* else: only say what would be leased */
    const char *const *sources; /* NULL: all that name who is configured; sockets only when asked for */
    size_t n_sources;
    const struct nextport_label *labels; /* for all, beside the one that comes from the holder's name */
    size_t n_labels;
    const char *text;
};

#define NEXTPORT_ADOPTION_INIT                                                                                         \
    {                                                                                                                  \
        .size = sizeof(struct nextport_adoption)                                                                       \
    }

/* Leases what is configured in the pool and not leased yet, each to an owner named after its holder. */
NEXTPORT_API enum nextport_status nextport_adopt(struct nextport *, const struct nextport_adoption *,
                                                 struct nextport_result **ret, struct nextport_error *);

struct nextport_assignment {
    size_t size;
    uint16_t port;
    const struct nextport_label *labels; /* at least one */
    size_t n_labels;
    const char *name;       /* NULL: "Port" */
    const char *deployment; /* NULL: none */
    bool in_use;            /* what uses the port is this owner's own */
    bool dry_run;
    const char *text;
};

#define NEXTPORT_ASSIGNMENT_INIT                                                                                       \
    {                                                                                                                  \
        .size = sizeof(struct nextport_assignment)                                                                     \
    }

/* Leases a port that was fixed by hand, inside the pool or not. NEXTPORT_CONFLICT, naming the claim, when it is taken, or
 * when the owner has another port of this name. The same again is NEXTPORT_OK with changed = false. */
NEXTPORT_API enum nextport_status nextport_assign(struct nextport *, const struct nextport_assignment *,
                                                  struct nextport_result **ret, struct nextport_error *);

/* Every lease as JSON Lines, in `raw` (doc/formats.md). */
NEXTPORT_API enum nextport_status nextport_export(struct nextport *, struct nextport_result **ret,
                                                  struct nextport_error *);
/* Adds the leases of an export, all or none; those that are here already, unchanged, are passed over. `origin` names the
 * bytes in errors ("FILE:3: ..."). NEXTPORT_INPUT: cut short, not an export, of a newer nextport; NEXTPORT_CONFLICT: a
 * port or an owner has another lease here, or somebody else than the lease's holder is seen on its port, unless `in_use`
 * says that who uses the ports is who they are leased to. */
NEXTPORT_API enum nextport_status nextport_import(struct nextport *, const char *bytes, size_t n, const char *origin,
                                                  bool dry_run, bool in_use, const char *text,
                                                  struct nextport_result **ret, struct nextport_error *);

/* What keeps the system's own outgoing connections out of the pool: shown, done, or undone. NEXTPORT_DENIED without the
 * privilege. Safe to repeat. */
enum nextport_protect { NEXTPORT_PROTECT_SHOW, NEXTPORT_PROTECT_APPLY, NEXTPORT_PROTECT_UNDO };
NEXTPORT_API enum nextport_status nextport_protect(struct nextport *, enum nextport_protect,
                                                   struct nextport_result **ret, struct nextport_error *);

/* Moves on every lease that time or use has changed, as nextport_next() does for a few: confirms those seen in use, ends
 * those that are due and unused. NEXTPORT_BLIND, and nothing is touched, when a required source could not be read. No
 * ledger yet is NEXTPORT_OK with nothing done. */
NEXTPORT_API enum nextport_status nextport_sweep(struct nextport *, struct nextport_result **ret,
                                                 struct nextport_error *);

/* Looks at everything and says what to mend. */
NEXTPORT_API enum nextport_status nextport_doctor(struct nextport *, bool raw, struct nextport_result **ret,
                                                  struct nextport_error *);

/* Makes a ledger that was copied here from another machine this machine's own. */
NEXTPORT_API enum nextport_status nextport_rebind(struct nextport *, struct nextport_error *);

/* Makes the machine's ledger: group, folder, file, and on Windows the task that sweeps it. NEXTPORT_DENIED without the
 * privilege. Safe to repeat. */
NEXTPORT_API enum nextport_status nextport_setup(struct nextport *, struct nextport_result **ret,
                                                 struct nextport_error *);

/* Takes back what nextport_setup() made, the task and the group; the ledger stays. Safe to repeat. */
NEXTPORT_API enum nextport_status nextport_undo_setup(struct nextport *, struct nextport_result **ret,
                                                      struct nextport_error *);

/* Every setting in force and where it came from. */
NEXTPORT_API enum nextport_status nextport_config(struct nextport *, struct nextport_result **ret,
                                                  struct nextport_error *);

/* ---- Formats: how an answer is handed over ------------------------------------------------------------------- */

struct nextport_style {
    size_t size;
    const char *format; /* "plain", "table", "json", "octopus", "junit"; NULL or "auto": see nextport_format() */
    unsigned columns;   /* width of the terminal; 0: unbounded */
    bool colour;
    bool unicode;
    bool no_newline; /* plain: no newline at the end */
    int verbosity;   /* -1 quiet, 0, 1 verbose */
};

#define NEXTPORT_STYLE_INIT                                                                                            \
    {                                                                                                                  \
        sizeof(struct nextport_style), NULL, 0, false, false, false, 0                                                 \
    }

/* What to write where. Each is to be written whole, by one write. */
struct nextport_text {
    const char *out; /* for standard output: the answer */
    size_t out_len;
    const char *log; /* for standard error: for people */
    size_t log_len;
};

/* The format in force for this kind of answer: the settings' "output.format", "auto" resolved by asking the
 * environment. NEXTPORT_INPUT: unknown, does not fit the answer, or two systems were detected. */
NEXTPORT_API enum nextport_status nextport_format(struct nextport *, enum nextport_what, const char **ret,
                                                  struct nextport_error *);

/* Renders a result, or an error (result NULL or partial). The text lives until the handle is freed or the next call. */
NEXTPORT_API enum nextport_status nextport_render(struct nextport *, const struct nextport_style *,
                                                  const struct nextport_result *, const struct nextport_error *failure,
                                                  struct nextport_text *ret, struct nextport_error *);

/* ---- What is built in, for help texts ------------------------------------------------------------------------ */

struct nextport_about {
    const char *name, *about;
};

/* The i-th source or format, in the order to show them; false when there are no more. */
NEXTPORT_API bool nextport_about_source(size_t i, struct nextport_about *ret);
NEXTPORT_API bool nextport_about_format(size_t i, struct nextport_about *ret);

NEXTPORT_API const char *nextport_version(void);

/* The word of a NULL-ended list that `word` was nearly, for "did you mean"; NULL when none is near. */
NEXTPORT_API const char *nextport_nearest(const char *word, const char *const words[]);

#ifdef __cplusplus
}
#endif

#endif
