/* What the readers of text configurations share: a main file and the files it includes, where each word stands, how much
 * is read at most, and how it is said what could not be.
 *
 * Not the grammar: nginx's words, Apache's lines and systemd's sections have a tokenizer each, on top of np_cursor.
 * A parser is pure. It gets its files from an np_include, so that one sample is test, fuzz seed and example:
 *
 *     static enum nextport_status parse(ret, file, bytes, include, err)
 *     {
 *         struct nginx nginx;
 *         np_files_init(&nginx.files, "nginx", ret, include, err);
 *         np_files_main(&nginx.files, file, bytes, parse_file, &nginx);
 *         return np_files_finish(&nginx.files);
 *     }
 *
 * and parse_file() walks the bytes, calls np_files_include() where it meets one, np_files_claim() for a port, and one of
 * the three below for what is wrong. What was found is kept whatever comes after: it only excludes more.
 *
 *     np_files_warn()   a thing that a person should know; no port is missing for it
 *     np_files_gap()    ports may be missing, because this user may not read a file, or a value is not known here: the
 *                       sighting is partial, which only warns unless the policy was set
 *     np_files_fail()   the configuration is not to be understood: unreadable, and by default no port is given
 * SPDX-License-Identifier: MIT */
#ifndef NP_TEXT_FILES_H
#define NP_TEXT_FILES_H

#include "base/map.h"
#include "source/source.h"

enum {
    /* Of all that one main file has parsed: what is included twice counts twice. */
    NP_FILES_BYTES_MAX = 128 * 1024 * 1024,
    NP_FILES_MAX = 100000,
    NP_FILE_BYTES_MAX = 8 * 1024 * 1024, /* of one file */
    NP_FILES_DEPTH_MAX = 20,             /* of includes */
    NP_FILES_CLAIMS_MAX = 1 << 18,
    NP_FILES_WARNINGS_MAX = 20, /* said; the others are counted */
};

struct np_file {
    const char *path;     /* for np_include */
    const char *name;     /* for people and claims; NULL: many files as one, by np_files_look_around() */
    struct np_text bytes; /* without a byte order mark; of an included file good until it has been parsed */
};

/* Where something stands. Lines and columns count from 1, columns in bytes. Line 0: the file as a whole. */
struct np_position {
    const struct np_file *file;
    unsigned line, column;
};

/* ---- The files of one configuration ---- */

/* Parses one file: the main one or one that is included. A status other than NEXTPORT_OK ends everything; the error is
 * np_files.err. */
typedef enum nextport_status np_file_fn(void *ctx, const struct np_file *);

struct np_files {
    const char *source; /* the row's name */
    struct np_evidence *ret;
    const struct np_include *include; /* NULL: nothing can be included */
    struct nextport_error *err;

    /* its own */
    const struct np_file *open[NP_FILES_DEPTH_MAX + 1]; /* the main file, and what is being included by it */
    unsigned depth;
    enum nextport_status status;          /* of the first failure */
    struct np_map read, searched, listed; /* files by path, patterns and folders: what became of each */
    size_t n_parsed, n_bytes, n_claims, n_warnings;
};

void np_files_init(struct np_files *, const char *source, struct np_evidence *ret, const struct np_include *,
                   struct nextport_error *);
/* Parses the main file. */
void np_files_main(struct np_files *, const char *path, struct np_text bytes, np_file_fn *each, void *ctx);
/* Says what was left unsaid. Returns what parse() is to return: OK, or the first failure. */
enum nextport_status np_files_finish(struct np_files *);

/* Calls `each` for every file that an include names, in byte order: a path, or a shell pattern (* ? [...]), which may match
 * nothing. `pattern` comes from np_files_beside(). A file that is missing, or is open already, is warned of; one that this
 * user may not read is a gap; any other that cannot be read, and too much of anything, is a failure, after which the walk
 * goes on all the same. Returns what `each` did where that was not NEXTPORT_OK. What `each` keeps of a file's bytes it
 * copies; the np_file itself lives as long as the arena. A file that is included again and has changed since is a failure
 * to be tried again. */
enum nextport_status np_files_include(struct np_files *, struct np_position from, const char *pattern, np_file_fn *each,
                                      void *ctx);
/* The same of one file, whatever its path looks like. */
enum nextport_status np_files_include_path(struct np_files *, struct np_position from, const char *path,
                                           np_file_fn *each, void *ctx);
/* The same of what can be read as a file, and *ret is what `each` did. false, without a word: it cannot; it may be a
 * folder. */
bool np_files_include_readable(struct np_files *, struct np_position from, const char *path, np_file_fn *each,
                               void *ctx, enum nextport_status *ret);
/* One file, for those who choose their files themselves (drop-ins); `path` lives as long as the arena. NULL when it is
 * absent, which is not said, or cannot be read, which is, as above. It lives as long as the arena, with its bytes. */
const struct np_file *np_files_open(struct np_files *, struct np_position from, const char *path);
/* The same without a word: *ret when NP_READ_OK, else *why. */
enum np_read np_files_try(struct np_files *, const char *path, const struct np_file **ret, const char **why);
/* The paths that match, in byte order; `pattern` lives as long as the arena. A folder that may not be looked into is a gap,
 * and one that is broken a failure. Without an np_include.glob: none. */
void np_files_glob(struct np_files *, struct np_position from, const char *pattern, const char *const **ret,
                   size_t *ret_n);
/* The same of what is one of many programs': what is broken is a gap as well. */
void np_files_find(struct np_files *, struct np_position from, const char *pattern, const char *const **ret,
                   size_t *ret_n);
/* The names in a folder, in byte order; `folder` lives as long as the arena. A folder that cannot be looked into is a gap,
 * whatever the reason: folders are listed where many programs have files. One that is not there has no names. */
void np_files_list(struct np_files *, struct np_position from, const char *folder, const struct np_entry **ret,
                   size_t *ret_n);
/* The same without a word: *why, unless NP_READ_OK. */
enum np_read np_files_try_list(struct np_files *, const char *folder, const struct np_entry **ret, size_t *ret_n,
                               const char **why);

/* `path` as it is when it is absolute ('/', or a drive: where that lies on this machine; NULL when nowhere), else below
 * the folder of `file`. In the arena. */
const char *np_files_beside(struct np_files *, const struct np_file *file, struct np_text path);

/* An absolute path as a pattern that matches nothing else; one with a drive as it is, as nothing can be escaped there. */
const char *np_files_literally(struct np_arena *, const char *path);

/* ---- What is found and what is wrong ---- */

/* Fills in source, file and line. */
void np_files_claim(struct np_files *, struct np_position, struct nextport_claim);

/* "FILE:LINE:COLUMN: ..." */
void np_files_warn(struct np_files *, struct np_position, const char *fmt, ...) NP_PRINTF(3, 4);
/* The same for those who want to see everything: no port depends on it. */
void np_files_note(struct np_files *, struct np_position, const char *fmt, ...) NP_PRINTF(3, 4);
/* Also a warning. `hint` is a sentence or NULL. */
void np_files_gap(struct np_files *, struct np_position, const char *hint, const char *fmt, ...) NP_PRINTF(4, 5);
/* `status` is NEXTPORT_RETRY where the file may have been caught half-written, which np_files_look() reads again, else
 * NEXTPORT_BLIND. The first failure is the one that is told; the walk may go on. Returns NEXTPORT_OK for that. */
enum nextport_status np_files_fail(struct np_files *, enum nextport_status status, struct np_position, const char *fmt,
                                   ...) NP_PRINTF(4, 5);

/* How a person would name the path. */
const char *np_files_shown(const struct np_files *, const char *path);
/* Foreign text, cut to what is worth repeating in every claim. In the arena. */
const char *np_files_text(struct np_files *, struct np_text);

/* ---- Walking one file ---- */

struct np_cursor {
    const struct np_file *file;
    const char *at, *end, *line_begins;
    unsigned line;
};

void np_cursor_init(struct np_cursor *, const struct np_file *);

/* The byte at the cursor, or -1 at the end. */
static inline int np_cursor_peek(const struct np_cursor *c)
{
    return c->at < c->end ? (unsigned char)*c->at : -1;
}

/* Takes that byte. */
static inline int np_cursor_next(struct np_cursor *c)
{
    if (c->at == c->end)
        return -1;
    if (*c->at == '\n') {
        c->line++;
        c->line_begins = c->at + 1;
    }
    return (unsigned char)*c->at++;
}

static inline struct np_position np_cursor_position(const struct np_cursor *c)
{
    return (struct np_position){c->file, c->line, (unsigned)(c->at - c->line_begins) + 1};
}

/* The rest of this line, without its end (LF or CRLF), which is taken as well. false: nothing is left. */
bool np_cursor_line(struct np_cursor *, struct np_text *ret);

/* ---- The look at a machine ---- */

/* What is to be read, by a reader of the machine. */
struct np_include np_files_of(struct np_reader *);

/* Reads the configurations that a person named (`given`, each of which must be there; a pattern may match nothing) and
 * those of `places` that are there, and makes the sighting. `places` are absolute paths or patterns, ending in NULL; an
 * absent one costs one failed open. One that this user may not read is a gap. */
enum nextport_status np_files_look(struct np_look *, const struct np_source *, const struct np_string_list *given,
                                   const char *const *places, struct nextport_error *);

/* The same for those who find their files in folders of their own, before np_files_look(), which then reads what was given:
 * `each` walks them all as one configuration and returns whether there were any; again where something was caught half-written.
 * The whole has no name in messages. The folders are Unix's: on Windows itself, which has none, nothing is looked
 * for. */
typedef bool np_files_fn(struct np_files *, struct np_position whole, void *ctx);
enum nextport_status np_files_look_around(struct np_look *, const struct np_source *, np_files_fn *each, void *ctx,
                                          struct nextport_error *);

#endif
