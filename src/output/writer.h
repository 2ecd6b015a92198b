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

struct np_writer {
    const char *name, *about;
    unsigned answers; /* NP_ANSWER(what) bits: what it can write */
    /* Is this the system we run under? `env` gives a variable or NULL. NULL: never detected. */
    bool (*detect)(const char *(*env)(const char *name));
    /* Can the names of a request be written? NULL: any valid name. NEXTPORT_INPUT: says which and why. */
    enum nextport_status (*check_name)(const char *name, struct nextport_error *);
    void (*write)(struct np_page *, const struct nextport_result *);
    /* `partial` is what was seen before it failed, or NULL. */
    void (*fail)(struct np_page *, const struct nextport_error *, const struct nextport_result *partial);
};

#define NP_ANSWER(what) (1u << (what))

extern const struct np_writer *const np_writers[]; /* ends with NULL, in the order that help prints */
const struct np_writer *np_writer_find(const char *name);

extern const struct np_writer np_writer_plain, np_writer_table, np_writer_json, np_writer_octopus;

/* One sentence about how the ports were chosen: shared by every writer. */
const char *np_summary(struct np_arena *, const struct nextport_result *);

#endif
