/* JSON (RFC 8259): a streaming writer, and a reader that knows where it is.
 * Ours rather than a library's because the writer is forty lines on the hot path, and because the reader names line and
 * column, takes the comments that configuration files have, and is bounded in depth and memory whatever it is given.
 * SPDX-License-Identifier: MIT */
#ifndef NP_JSON_H
#define NP_JSON_H

#include "base/text.h"

/* ---- Writer: ASCII only, one line, keys in the order written ---- */

struct np_json {
    struct np_buf *out;
    bool comma; /* a value was written at this level, so the next one needs a comma */
};

/* `key` is NULL inside arrays and for the outermost value. */
void np_json_begin(struct np_json *, const char *key, char bracket);       /* '{' or '[' */
void np_json_end(struct np_json *, char bracket);                          /* '}' or ']' */
void np_json_string(struct np_json *, const char *key, const char *value); /* NULL: null; invalid UTF-8: U+FFFD */
void np_json_int(struct np_json *, const char *key, int64_t value);
void np_json_bool(struct np_json *, const char *key, bool value);
void np_json_null(struct np_json *, const char *key);

/* ---- Reader: one token after the other, the caller keeps what it wants ----
 *
 *     np_json_reader_init(&reader, bytes, 0, arena);
 *     np_json_enter(&reader, NP_JSON_OBJECT);
 *     while (np_json_next(&reader) == NP_JSON_KEY)
 *         if (np_text_is(reader.text, "port"))
 *             port = np_json_read_int(&reader, 1, 65535);
 *         else
 *             np_json_skip(&reader);
 *     np_json_finish(&reader);
 *     if (np_json_is_bad(&reader))
 *         return np_json_fail(&reader, "/x/file.json", err);
 *
 * The first thing wrong makes the reader bad, and a bad reader stays bad and gives nothing more, so that it is enough to ask
 * once, at the end. Pure: it opens nothing. The input is checked whole, also where it is skipped. Nothing recurses. */

enum np_json_token {
    NP_JSON_END, /* the outermost value is over, and only blanks followed */
    NP_JSON_BAD, /* `why` says it */
    NP_JSON_OBJECT,
    NP_JSON_OBJECT_END,
    NP_JSON_ARRAY,
    NP_JSON_ARRAY_END,
    NP_JSON_KEY, /* its value comes next */
    NP_JSON_STRING,
    NP_JSON_NUMBER,
    NP_JSON_TRUE,
    NP_JSON_FALSE,
    NP_JSON_NULL,
};

enum { NP_JSON_DEPTH_MAX = 64 };

/* What is not JSON, and some configuration files have. */
enum { NP_JSON_COMMENTS = 1, NP_JSON_TRAILING_COMMAS = 2 };

struct np_json_reader {
    enum np_json_token token; /* the last one */
    struct np_text key;       /* the last one */
    struct np_text text; /* of a key or string: decoded UTF-8, which may hold NUL bytes; of a number: as written. In the
                                 input or the arena */
    int64_t integer;     /* of a number, when is_integer */
    bool is_integer;     /* written without fraction and exponent, and an int64_t holds it */
    unsigned line;       /* of the token, from 1 */
    unsigned depth;      /* of open objects and arrays */
    char why[160];       /* what is wrong; empty: nothing */

    /* its own */
    struct np_arena *arena;
    const char *at, *end, *begins;              /* what comes next; the input's end; the token's first byte */
    const char *line_begins, *next_line_begins; /* of the token, of what comes next */
    unsigned next_line;                         /* who reads a file line by line sets it before the first token */
    uint64_t objects;                           /* a bit for each open level: an object, else an array */
    unsigned options;
    bool skips; /* strings are checked and not kept */
    int expects;
};

/* A byte order mark before the value is passed over. Bytes and arena must outlive the reader and what it gave. */
void np_json_reader_init(struct np_json_reader *, struct np_text bytes, unsigned options, struct np_arena *);
enum np_json_token np_json_next(struct np_json_reader *);
/* After a key: passes over its value. After the begin of an object or array: to behind its end. Else nothing. */
void np_json_skip(struct np_json_reader *);
/* Columns are counted in code points, from 1. */
unsigned np_json_column(const struct np_json_reader *);

/* Makes the reader bad for a reason of the caller's, at the last token. A reader that is bad keeps its first reason. */
void np_json_refuse(struct np_json_reader *, const char *fmt, ...) NP_PRINTF(2, 3);
bool np_json_is_bad(const struct np_json_reader *);
/* NEXTPORT_INPUT: "ORIGIN:LINE:COLUMN: WHY". Only of a bad reader. */
enum nextport_status np_json_fail(const struct np_json_reader *, const char *origin, struct nextport_error *);

/* The next token must be this, else the reader is bad. These name the key that came last. */
bool np_json_enter(struct np_json_reader *, enum np_json_token);
/* The next value as C text in the arena; a text that holds a NUL byte, or is no string, makes the reader bad: NULL.
 * read_text_or_null: null gives NULL and is fine. */
const char *np_json_read_text(struct np_json_reader *);
const char *np_json_read_text_or_null(struct np_json_reader *);
/* The next value as a whole number from `least` to `most`; else the reader is bad: `least`. */
int64_t np_json_read_int(struct np_json_reader *, int64_t least, int64_t most);
/* Which of `keys`, 64 at most and ending in NULL, was read last: its index; -1: none. `seen` (NULL: do not care) collects a
 * bit for each; a key that is in it already makes the reader bad and gives -1. */
int np_json_which(struct np_json_reader *, const char *const keys[], uint64_t *seen);
/* The outermost value must end here. */
void np_json_finish(struct np_json_reader *);

#endif
