/* SPDX-License-Identifier: MIT */
#include "base/log.h"

void np_note(struct np_log *log, enum nextport_level level, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct nextport_note *note = np_push(log->arena, &log->notes, &log->n_notes, &log->capacity, sizeof *note);
    *note = (struct nextport_note){level, np_vsprintf(log->arena, fmt, ap)};
    va_end(ap);
}
