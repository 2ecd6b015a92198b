/* Writers: how an answer is handed over. Pure: a result goes in, bytes for standard output and for the log come out.
 * SPDX-License-Identifier: MIT */
#ifndef NP_WRITER_H
#define NP_WRITER_H

#include "base/arena.h"

struct np_page {
    const struct nextport_style *style;
    const char *host;       /* the machine's name, for answers without a result */
    struct np_arena *arena; /* for scratch */
    struct np_buf out, log;
};

/* The value of an environment variable, or NULL when it is unset or empty. */
typedef const char *np_env_fn(struct np_arena *, const char *name);

struct np_writer {
    const char *name, *about;
    unsigned answers; /* NP_ANSWER(what) bits: what it can write */
    /* Is this the system we run under? `env` gives a variable or NULL. NULL: never detected. */
    bool (*detect)(np_env_fn *env, struct np_arena *);
    /* Can the names of a request be written? NULL: any valid name. NEXTPORT_INPUT: says which and why. */
    enum nextport_status (*check_name)(const char *name, struct nextport_error *);
    void (*write)(struct np_page *, const struct nextport_result *);
    /* `partial` is what was seen before it failed, or NULL. */
    void (*fail)(struct np_page *, const struct nextport_error *, const struct nextport_result *partial);
};

#define NP_ANSWER(what) (1u << (what))
#define NP_ANSWERS (NP_ANSWER(NEXTPORT_ANSWER_EXEC + 1) - 1)                          /* all */
#define NP_GRANTS (NP_ANSWER(NEXTPORT_ANSWER_NEXT) | NP_ANSWER(NEXTPORT_ANSWER_EXEC)) /* of ports */

extern const struct np_writer *const np_writers[]; /* ends with NULL, in the order that help prints */
const struct np_writer *np_writer_find(const char *name);

extern const struct np_writer np_writer_plain, np_writer_table, np_writer_json, np_writer_octopus, np_writer_junit;

/* ---- What people read is said in the same words by every writer (summary.c) ---- */

/* One sentence about how the ports were chosen, or what was changed; NULL for answers that say it themselves. Holds
 * foreign text: for np_log_line(), or through np_neutral(). */
const char *np_summary(struct np_arena *, const struct nextport_result *);

char *np_time_text(struct np_arena *, int64_t seconds); /* "2026-11-23 14:05", UTC */
char *np_range_text(struct np_arena *, uint16_t first, uint16_t last);
char *np_reject_text(struct np_arena *, const struct nextport_reject *); /* "49000-49001 (iis: Shop)" */
/* `text` (valid UTF-8) cut to `columns`, at its end or, with `keep_tail`, at its beginning; "..." marks the cut. */
const char *np_elide(struct np_arena *, const char *text, size_t columns, bool unicode, bool keep_tail);
/* Was there something that this source could not see? */
bool np_unseen(const struct nextport_sighting *);
/* "2 errors", "1 error" */
char *np_count_text(struct np_arena *, uint64_t n, const char *one, const char *many);

/* One line of a log: "nextport: ", the text made harmless, a newline. */
void np_log_line(struct np_buf *, bool ascii, const char *fmt, ...) NP_PRINTF(3, 4);
/* The notes of a level; the warnings of `next` end with a line that names the sources not fully seen. */
void np_log_notes(struct np_buf *, bool ascii, const struct nextport_result *, enum nextport_level);
/* Each run of ports passed over, and each source: what became of it. */
void np_log_details(struct np_buf *, bool ascii, const struct nextport_result *);
void np_log_failure(struct np_buf *, bool ascii, const struct nextport_error *);
/* What standard error gets of a result, by the style's verbosity; quiet leaves nothing. */
void np_log_result(struct np_page *, const struct nextport_result *);

#endif
