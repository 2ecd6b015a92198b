/* Borrowed bytes with a length, and the few locale-free things done to them.
 * SPDX-License-Identifier: MIT */
#ifndef NP_TEXT_H
#define NP_TEXT_H

#include "base/arena.h"

struct np_text {
    const char *ptr; /* not NUL-terminated, not owned */
    size_t len;
};

struct np_text np_text_of(const char *zero_terminated);
struct np_text np_text_trim(struct np_text);          /* blanks, tabs, CR and LF at both ends */
bool np_text_is(struct np_text, const char *);        /* exactly */
bool np_text_is_nocase(struct np_text, const char *); /* ASCII case folded */
bool np_text_begins(struct np_text, const char *);    /* with it, or is it; so does every text with "" */
bool np_text_ends(struct np_text, const char *);
bool np_text_begins_nocase(struct np_text, const char *); /* ASCII case folded */
bool np_text_ends_nocase(struct np_text, const char *);
bool np_equal(const char *, const char *);         /* NULL equals NULL only */
int np_compare(const char *, const char *);        /* as strcmp(); NULL comes first */
bool np_equal_nocase(const char *, const char *);  /* ASCII case folded */
int np_compare_nocase(const char *, const char *); /* an order with ASCII case folded; NULL comes first */
/* Takes the part before the first `separator` off the front; false when nothing is left. An empty text is one part. */
bool np_text_split(struct np_text *rest, char separator, struct np_text *part);
char *np_text_dup(struct np_arena *, struct np_text);

/* Plain decimal digits only (no sign, no blanks), at most `max`. */
bool np_text_u64(struct np_text, uint64_t max, uint64_t *ret);
/* A port: digits, 1..65535. */
bool np_text_port(struct np_text, uint16_t *ret);
/* "90", "90s", "15m", "24h", "7d": 1 second to ten years. */
bool np_text_duration(struct np_text, int64_t *ret_s);
/* Ten years: no duration may reach further. */
#define NP_DURATION_MAX INT64_C(315360000)

bool np_utf8_valid(struct np_text);
/* How many bytes of it to take, `most` or a little less, so that no character is cut in two. */
size_t np_text_cut(struct np_text, size_t most);

/* The candidate nearest to `word` (edit distance), or NULL when none is near enough to be what was meant.
 * `candidate(ctx, i)` gives the i-th, NULL at the end. */
const char *np_nearest(const char *word, const char *(*candidate)(const void *ctx, size_t i), const void *ctx);

/* A control character (C0, C1, DEL), one that ends lines (U+2028, U+2029), or a mark that turns the order of what is read. */
bool np_is_control(uint32_t code_point);

/* Foreign text made safe to show in one line of any log: what np_is_control() says and invalid UTF-8 become \xNN (and so do
 * all non-ASCII bytes when `ascii`); "##", with which other systems' log commands begin ("##octopus[", "##vso[",
 * "##teamcity[", "##["), becomes "#\#", and "::" at the beginning ("::name::") "\::". NULL gives "". */
char *np_neutral(struct np_arena *, const char *text, bool ascii);

/* Columns that valid UTF-8 takes on a terminal, counting every code point as one. */
size_t np_columns(const char *text);

#endif
