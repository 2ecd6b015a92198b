/* systemd's unit files: which file a unit of a name is, what its drop-ins add to it, and what its lines mean.
 *
 * Every folder of a manager is listed once, whatever is asked of it then; a unit costs one read, and one more for each of
 * its drop-ins. Nothing is started or asked. The grammar is that of systemd.syntax(7), the order of the folders that of
 * systemd.unit(5), and so for quadlets, which are written the same way and lie elsewhere.
 *
 *     np_units_init(&units, &files, from, &place);           place.folders = np_units_system_folders
 *     np_units_all(&units, ".socket", &all, &n);
 *     for each: np_unit_read(&units, all[i], take, ctx);     take(ctx, setting) for each "key=value", in the order that counts
 *
 * SPDX-License-Identifier: MIT */
#ifndef NP_UNITS_H
#define NP_UNITS_H

#include "source/text_files.h"

enum { NP_UNITS_FOLDERS_MAX = 64 }; /* of one manager */

/* Where the units of a manager lie. */
struct np_units_place {
    const char *const *folders;  /* the one that counts most first; ends with NULL; at most NP_UNITS_FOLDERS_MAX */
    const char *const *suffixes; /* of the units that are wanted: ".socket"; ends with NULL */
    bool is_system;              /* the machine's manager: its specifiers have the values of root */
    bool by_systemd;             /* systemd reads them itself: its rules of links and drop-ins, not those of Quadlet */
    const char *home;            /* of the user whose manager it is; NULL: not known */
};

/* The folders of the machine's manager, and of all users' managers behind the folders of their homes. End with NULL. */
extern const char *const np_units_system_folders[], *const np_units_user_folders[];

struct np_unit {
    const char *name;     /* "shop@blue.socket" */
    const char *path;     /* of its file */
    const char *prefix;   /* "shop" */
    const char *instance; /* "blue", escaped; "" of a template; NULL: neither */
    const char *suffix;   /* ".socket" */
    /* The file that a person named, wherever it lies: its drop-ins lie beside it. NULL: it is one of a folder's. */
    const struct np_file *given;
};

bool np_unit_is_template(const struct np_unit *);

struct np_units {
    struct np_files *files;
    const struct np_units_place *place;

    /* its own */
    struct np_arena *arena;
    struct np_position from;
    struct np_map names;     /* what is in the folders under each unit's name */
    struct np_map aliases;   /* the other names of each */
    struct np_map drop_ins;  /* the folders in which "shop.socket.d" is */
    struct np_map instances; /* of each template */
    struct np_map apart;     /* those that have drop-ins of their own */
    struct np_map taken;     /* the instances that are among those, by name */
    struct np_map linked;    /* the links that name an instance of a template, by both */
    struct np_map wanted;    /* the names that something wants */
    struct np_map read;      /* units by name */
    const char **sorted, **wants, **drop_in_names;
    size_t n_sorted, sorted_capacity, n_wants, wants_capacity, n_drop_ins, drop_ins_capacity;
    size_t n_looked_for;                      /* drop-ins */
    bool wants_read, apart_read, has_unknown; /* drop-ins of templates or instances that are no unit's own */
};

/* Lists the folders. `from` is where what they hide is said to be missing. */
void np_units_init(struct np_units *, struct np_files *, struct np_position from, const struct np_units_place *);

/* The units of this suffix by name, in byte order, templates among them; neither masked ones nor second names (links to
 * another unit). In the arena. */
void np_units_all(struct np_units *, const char *suffix, const struct np_unit *const **ret, size_t *ret_n);
/* The unit of this name, or of which it is another name; an instance is made of its template. NULL: none, or masked. */
const struct np_unit *np_units_find(struct np_units *, const char *name);
/* The instances of a template that something wants: by a link in *.wants, *.requires or *.upholds, or one beside it, or as the
 * service of a socket; those with a file of their own are among np_units_all(). By name, in byte order. */
void np_units_instances(struct np_units *, const struct np_unit *, const struct np_unit *const **ret, size_t *ret_n);
/* The instances of a template that have drop-ins of their own, wanted or not. true: some that are wanted may have others,
 * by the beginning of their name or the end of a link. */
bool np_units_set_apart(struct np_units *, const struct np_unit *, const struct np_unit *const **ret, size_t *ret_n);
/* Something else starts the unit of this name, which may be an instance of a template. */
void np_units_start(struct np_units *, const char *name);
/* Does something want it, by such a link? */
bool np_units_is_wanted(struct np_units *, const struct np_unit *);
/* The unit that a file is which a person named, by the file's name; `suffix` where that has none. */
const struct np_unit *np_units_given(struct np_units *, const struct np_file *, const char *suffix);

/* ---- Settings ---- */

/* One "key=value". The texts live as long as the arena. */
struct np_setting {
    struct np_text section, key; /* "Socket", "ListenStream" */
    struct np_text value;        /* one line, blanks at both ends gone; neither unquoted nor expanded */
    struct np_position at;       /* of the key */
};

typedef void np_setting_fn(void *ctx, const struct np_setting *);

/* Every setting of a unit: of its file, then of its drop-ins in their order. What systemd ignores is left out, and warned
 * of. false: there is no such file, which is not said, or it cannot be read, which is. */
bool np_unit_read(struct np_units *, const struct np_unit *, np_setting_fn *each, void *ctx);
/* false: neither the unit's file nor any drop-in can have this word (a key, say), so that it need not be read. */
bool np_unit_may_say(struct np_units *, const struct np_unit *, const char *word);
/* Those of one file in this grammar. */
void np_settings_of(struct np_files *, const struct np_file *, np_setting_fn *each, void *ctx);

/* What to do about something there that is not known, where nothing better can be said. */
const char *np_units_hint(const struct np_files *, struct np_position);

/* Fills in "%i" and its kin. NULL: not known here, as of a template's instance, or on another machine. */
const char *np_unit_expand(struct np_units *, const struct np_unit *, const char *text);

/* The next word of a list, unquoted and unescaped. 0: none is left; -1: a quote or an escape is wrong, which makes systemd
 * ignore the rest. */
int np_unit_word(struct np_arena *, struct np_text *rest, const char **ret);

/* "yes", "1", "on", "true", ... as systemd reads them. false: none of them. */
bool np_unit_truth(struct np_text, bool *ret);

/* ---- The environment of a service ---- */

struct np_variable {
    const char *name, *value; /* value NULL: not known here */
    struct np_position at;
    bool is_secret; /* from a file of variables, which may be for few to read: the value is not to be shown */
};

/* Gathers Environment=, EnvironmentFile= and UnsetEnvironment= of one unit: hand it every setting of the section that
 * has them, then finish. */
struct np_environment {
    struct np_units *units;
    const struct np_unit *unit;
    struct np_variable *variables; /* the last of each name counts: np_environment_find() */
    size_t n, capacity;

    /* its own */
    struct np_setting *files;
    size_t n_files, files_capacity;
    struct np_map unset;       /* "NAME", "NAME=VALUE" */
    struct np_map by_name;     /* once it is finished */
    struct np_setting *unread; /* files that systemd does not find */
    size_t n_unread, unread_capacity;
    size_t n_filled; /* bytes of variables in words */
};

void np_environment_init(struct np_environment *, struct np_units *, const struct np_unit *);
/* false: the setting is about something else. */
bool np_environment_take(struct np_environment *, const struct np_setting *);
/* Reads the EnvironmentFiles, and makes `variables` what the service gets: each name once. A file that is missing, unless
 * "-" stands before it, is warned of where a variable `matters` (NULL: each does), else it is a note for those who want
 * to see everything; one that cannot be read is a gap. */
void np_environment_finish(struct np_environment *, bool (*matters)(const char *name));
/* Of one that is finished. NULL: it is not set there. */
const struct np_variable *np_environment_find(const struct np_environment *, const char *name);

/* Fills in "${NAME}" as systemd does in a word of a command, and "$NAME" where that is the whole word, which may have
 * several in it then; "$$" is a dollar. NULL: a variable's value is not known here, or they are too long. */
const char *np_environment_expand(struct np_environment *, const char *word);

/* The assignments of a file as systemd reads it, names as written (a shell's "export NAME" too, which systemd drops). */
typedef void np_variable_fn(void *ctx, const struct np_variable *);
void np_environment_of(struct np_files *, const struct np_file *, np_variable_fn *each, void *ctx);

#endif
