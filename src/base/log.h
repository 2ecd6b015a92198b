/* Messages for people, kept in order until a program prints them. Libraries never print.
 * SPDX-License-Identifier: MIT */
#ifndef NP_LOG_H
#define NP_LOG_H

#include "base/arena.h"

struct np_log {
    struct np_arena *arena;
    struct nextport_note *notes;
    size_t n_notes, capacity;
};

void np_note(struct np_log *, enum nextport_level, const char *fmt, ...) NP_PRINTF(3, 4);

#endif
