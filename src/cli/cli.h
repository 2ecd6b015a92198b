/* The command line: tables of commands and options, and what every command has in common.
 * It uses the library only through nextport.h.
 * SPDX-License-Identifier: MIT */
#ifndef CLI_H
#define CLI_H

#include <stdio.h>

#include "nextport.h"

/* What the words of one command line say. */
struct cli {
    const struct command *command;
    struct nextport *np;
    struct nextport_style style;
    struct nextport_error err;
    const char *config;
    const char **names, **sources; /* room for every word of the command line */
    struct nextport_label *labels; /* as much */
    size_t n_names, n_sources, n_labels;
    const char *deployment;
    char *request; /* the command line as one line, for the history */
    size_t *ends;  /* where in it each word of the command line ends */
    unsigned count, keep;
    int64_t id, limit;
    bool consecutive, dry_run, all, raw, rebind, remove, help, version;
    bool fresh, no_move, labels_from_env, apply, undo, in_use, listen;
    const char *const *args; /* ends with NULL */
    int n_args;
    int exit; /* what the program ends with when it failed; 0: the status */
};

enum {
    ON_NEXT = 1 << 0,
    ON_USED = 1 << 1,
    ON_FREE = 1 << 2,
    ON_WHY = 1 << 3,
    ON_LEASES = 1 << 4,
    ON_RELEASE = 1 << 5,
    ON_DOCTOR = 1 << 6,
    ON_SETUP = 1 << 7,
    ON_CONFIG = 1 << 8,
    ON_HELP = 1 << 9,
    ON_SWEEP = 1 << 10,
    ON_ADOPT = 1 << 11,
    ON_ASSIGN = 1 << 12,
    ON_EXPORT = 1 << 13,
    ON_IMPORT = 1 << 14,
    ON_CHECK = 1 << 15,
    ON_PROTECT = 1 << 16,
    ON_LOG = 1 << 17,
    ON_MAP = 1 << 18,
    ON_EXEC = 1 << 19,
    ON_GRANTS = ON_NEXT | ON_EXEC,
    ON_LOOKS = ON_GRANTS | ON_USED | ON_FREE | ON_WHY | ON_DOCTOR | ON_CONFIG | ON_CHECK | ON_ADOPT | ON_MAP,
    ON_EVIDENCE = ON_LOOKS | ON_SWEEP | ON_ASSIGN | ON_IMPORT,
    ON_POOL = ON_GRANTS | ON_USED | ON_FREE | ON_DOCTOR | ON_CONFIG | ON_CHECK | ON_ADOPT | ON_MAP | ON_PROTECT,
    ON_OWNERS = ON_GRANTS | ON_ASSIGN | ON_ADOPT | ON_RELEASE | ON_LEASES | ON_LOG,
    ON_WRITES = ON_GRANTS | ON_ASSIGN | ON_ADOPT | ON_RELEASE | ON_IMPORT | ON_SWEEP | ON_SETUP,
    ON_LEDGER = ON_EVIDENCE | ON_LEASES | ON_RELEASE | ON_SETUP | ON_EXPORT | ON_LOG,
    ON_SETTINGS = ON_LEDGER | ON_PROTECT,
    ON_ALL = ON_SETTINGS | ON_HELP,
};

struct command {
    const char *name, *args, *about;
    const char *details; /* paragraphs for its help, wrapped already */
    unsigned bit;
    enum nextport_what what;
    int min_args, max_args;
    enum nextport_status (*run)(struct cli *, struct nextport_result **ret);
};

extern const struct command cli_commands[]; /* ends with name NULL */
const struct command *cli_command(const char *name);

/* An option either sets a setting (`key`) or a field of struct cli (`take`). */
struct option_row {
    const char *name;
    char letter;             /* 0: none */
    const char *arg;         /* what its value is called; NULL: it takes none */
    unsigned on;             /* the commands that know it */
    const char *key, *value; /* value: what a flag sets the key to */
    enum nextport_status (*take)(struct cli *, const char *value);
    const char *about;
};

extern const struct option_row cli_options[]; /* ends with name NULL */

/* Fills the error and returns NEXTPORT_INPUT. `hint` may be NULL. */
enum nextport_status cli_usage(struct cli *, const char *hint, const char *fmt, ...)
    __attribute__((format(NP_PRINTF_FORMAT, 3, 4)));

/* Reads the words behind the command. After an error it goes on, so that --format is known to whoever reports it. */
enum nextport_status cli_parse(struct cli *, int argc, char **argv);

/* Reads a file, or standard input when it is "-"; *ret is the caller's to free. */
enum nextport_status cli_read(struct cli *, const char *file, char **ret, size_t *ret_n);
/* What both systems do of it. Closes the stream; NULL: it could not be opened, and `why` says why. */
enum nextport_status cli_read_stream(struct cli *, const char *file, FILE *, const char *why, char **ret,
                                     size_t *ret_n);

/* `exec`: one file for each system. Leases, and becomes or runs the command; then the program ends with its status. It
 * returns only when the command could not be run. */
enum nextport_status cli_exec(struct cli *, struct nextport_result **ret);

/* ---- What both systems do of it (exec.c) ---- */

/* What the program ends with, as env(1) and timeout(1) do, so that a command's own statuses can be told from it. */
enum { CLI_EXEC_FAILED = 125, CLI_EXEC_CANNOT_RUN = 126, CLI_EXEC_NOT_FOUND = 127 };

/* Checks the names and leases; with `listen`, the ports' sockets are in the answer. From here on signals are held. */
enum nextport_status cli_exec_lease(struct cli *, struct nextport_result **ret);
/* With --verbose: how the ports were chosen. Without, the command has the standard streams for itself. */
void cli_exec_say(struct cli *, const struct nextport_result *);
/* Fills the error, gives the lease back and returns NEXTPORT_FAILED. `exit`: CLI_EXEC_... */
enum nextport_status cli_exec_give_up(struct cli *, const struct nextport_result *, int exit, const char *fmt, ...)
    __attribute__((format(NP_PRINTF_FORMAT, 4, 5)));
/* After any failure of the command `exec`: the error says its status, and the program ends with CLI_EXEC_FAILED. */
void cli_exec_failed(struct cli *);

/* `help [COMMAND|STATUS]`, and --help. */
enum nextport_status cli_help(struct cli *, const char *topic);

/* ---- The terminal and the streams: one file for each system ---- */

enum cli_stream { CLI_OUT, CLI_LOG };

/* The program: what main() does once its words are UTF-8. */
int cli_main(int argc, char **argv);

/* Before anything is opened: no file of ours may become a standard stream, and a closed pipe is an error, not a death. */
void cli_prepare(void);
/* The value of an environment variable, UTF-8, for good; NULL when unset. */
const char *cli_env(const char *name);
/* Fills in width, colour and character set of the terminal. */
void cli_look_at_terminal(struct nextport_style *);
/* From here on the signals that end a program wait, and interrupt only cli_write() while it waits for its reader. */
void cli_hold_signals(void);
/* Did one come since they are held? */
bool cli_has_signal(void);
/* Ends the program by the signal that came meanwhile, if one did. */
void cli_obey_signals(void);
/* For a command that takes this program's place or is run by it: signals, streams and terminal as this program found
 * them. On Windows this program goes on, and events that would end it still wait. */
void cli_restore(void);
/* Why, when a pipe's reader has gone. */
extern const char cli_no_reader[];
/* All bytes: NULL, or why not. What fits into a pipe's smallest atomic write goes out in one. */
const char *cli_write(enum cli_stream, const char *bytes, size_t n);

#endif
