/* The command line: tables of commands and options, and what every command has in common.
 * It uses the library only through nextport.h.
 * SPDX-License-Identifier: MIT */
#ifndef CLI_H
#define CLI_H

#include "nextport.h"

/* What the words of one command line say. */
struct cli {
    const struct command *command;
    struct nextport *np;
    struct nextport_style style;
    struct nextport_error err;
    const char *config;
    const char **names, **sources; /* room for every word of the command line */
    size_t n_names, n_sources;
    unsigned count;
    int64_t id;
    bool consecutive, dry_run, all, raw, rebind, remove, help, version;
    const char *const *args;
    int n_args;
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
    ON_LOOKS = ON_NEXT | ON_USED | ON_FREE | ON_WHY | ON_DOCTOR | ON_CONFIG,
    ON_POOL = ON_NEXT | ON_USED | ON_FREE | ON_DOCTOR | ON_CONFIG,
    ON_LEDGER = ON_LOOKS | ON_LEASES | ON_RELEASE | ON_SWEEP | ON_SETUP,
    ON_ALL = ON_LEDGER | ON_HELP,
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

/* `help [COMMAND|STATUS]`, and --help. */
enum nextport_status cli_help(struct cli *, const char *topic);

/* ---- The terminal and the streams: one file for each system ---- */

enum cli_stream { CLI_OUT, CLI_LOG };

/* The program: what main() does once its words are UTF-8. */
int cli_main(int argc, char **argv);

/* Before anything is opened: no file of ours may become a standard stream, and a closed pipe is an error, not a death. */
void cli_prepare(void);
/* Fills in width, colour and character set of the terminal. */
void cli_look_at_terminal(struct nextport_style *);
/* From here on the signals that end a program wait, and interrupt only cli_write() while it waits for its reader. */
void cli_hold_signals(void);
/* Ends the program by the signal that came meanwhile, if one did. */
void cli_obey_signals(void);
/* All bytes: NULL, or why not. What fits into a pipe's smallest atomic write goes out in one. */
const char *cli_write(enum cli_stream, const char *bytes, size_t n);

#endif
