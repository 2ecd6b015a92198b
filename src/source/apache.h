/* Apache httpd, what its files share. Where a httpd lies, and with what it is started there: the places of distributions,
 * their built-in modules, and the files of shell assignments that give a server its environment and its command line.
 * SPDX-License-Identifier: MIT */
#ifndef NP_APACHE_H
#define NP_APACHE_H

#include "source/text_files.h"

enum { NP_VALUES_MAX = 8 }; /* that one variable may have, if conditions decide */

struct np_variable {
    const char *name;
    const char *values[NP_VALUES_MAX];
    size_t n;
    bool maybe_unset, too_many; /* too_many: it may be anything */
    struct np_position at;      /* where it was set last */
};

/* `certain`: this value and no other. */
void np_variable_set(struct np_variable *, const char *value, bool certain);

/* Forgets its values. */
void np_variable_clear(struct np_variable *);

/* Variables by name, in the order that they were first met. */
struct np_variables {
    struct np_map map;
    struct np_variable **items;
    size_t n, capacity;
};

/* Made when it is new. The name is kept. */
struct np_variable *np_variable_at(struct np_variables *, const char *name);

/* A file of assignments that a start script or unit reads. */
struct np_apache_environment {
    const char *file; /* absolute, or beside the main file */
    bool maybe;       /* not every release reads it */
    bool literal;     /* '$' in a value means itself, to some of those who read it */
    /* Variables that mean something to who starts the server; NULL: it has none such. */
    const char *options;     /* words of httpd's own command line */
    const char *flags;       /* names for -D */
    const char *modules;     /* modules to load, without "mod_" */
    const char *includes[2]; /* files and folders to include */
};

struct np_apache_place {
    const char *main; /* path or pattern of the main file; without a slash: whatever has that name; NULL: all others */
    bool windows;     /* a path below drive C */
    const char *beside;   /* only where this is there as well */
    const char *instead;  /* only where this is not */
    const char *root;     /* ServerRoot until the file says it; NULL: the main file's folder, or the one above "conf" */
    const char *builtins; /* modules that are compiled in, beside core, http and so; separated by blanks */
    const char *never;    /* modules that it cannot have */
    bool closed;          /* no others are compiled in; else any may be */
    const struct np_apache_environment *environment; /* NULL: none is known */
    const char *before[2], *after;                   /* what the start script includes before and after the main file */
    const char *program;                             /* absolute, or beside the main file; for dumps */
    const char *info;                                /* mod_info, absolute or below the server's root */
};

extern const struct np_apache_place np_apache_places[];
extern const size_t np_apache_n_places;

/* The row of a main file. `is_there` looks below the same root as the path. Never NULL: the last row is for all. */
const struct np_apache_place *np_apache_place_of(const char *path, bool (*is_there)(void *ctx, const char *path),
                                                 void *ctx);

/* The rows' patterns for this machine, or for an image of any; ends with NULL. */
const char *const *np_apache_patterns(struct np_look *);

/* Those, and the files with which services of systemd start httpd (httpd@.service). */
enum nextport_status np_apache_found(struct np_look *, const char *const **ret, struct nextport_error *);

/* ServerRoot of a main file until it says another. */
const char *np_apache_root(struct np_arena *, const struct np_apache_place *, const char *main_file);

/* Is anything there, or can it not be known? An is_there() of np_apache_place_of(). */
bool np_apache_is_below(void *reader, const char *path);

/* What the place's file assigns. Simple values only: any other may be anything. */
void np_apache_environment(struct np_files *, const struct np_file *main_file, const struct np_apache_place *,
                           struct np_variables *ret);

/* Takes the next word of a command line off its front: blanks part words, quotes join them. */
bool np_apache_option_word(struct np_arena *, struct np_text *rest, struct np_text *ret);

/* "[ADDRESS:]PORT [PROTOCOL]" of a Listen. *ret_address: NULL for a name. false: there is no port in it. */
bool np_apache_listen(struct np_arena *, struct np_text args, uint16_t *ret_port, const char **ret_address);

/* np_source.dump of the source (apache_dump.c). */
enum nextport_status np_apache_dump(struct np_look *, struct nextport_error *);

#endif
