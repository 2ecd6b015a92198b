/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct nextport_status_info nextport_statuses[NEXTPORT_N_STATUS] = {
    {NEXTPORT_OK, "ok", "done", ""},
    {NEXTPORT_FAILED, "failed",
     "any other failure: the answer could not be written, memory ran out, a system call failed",
     "Read the message; nothing was promised, so the command can be repeated."},
    {NEXTPORT_INPUT, "input", "usage or bad input: an option, a value or the configuration file is wrong",
     "The message names the place and, where there is one, the nearest right word."},
    {NEXTPORT_FULL, "full", "no port, or not enough ports, in the pool are free",
     "The message counts what takes them. Widen the pool (--range), release leases (nextport leases), or free ports "
     "(nextport used)."},
    {NEXTPORT_BLIND, "blind", "required evidence could not be read, so no port can be promised",
     "Run as root (on Windows: elevated), or mend what the message names; 'nextport doctor' shows every source. "
     "'--policy SOURCE=warn' accepts the risk for one source."},
    {NEXTPORT_LEDGER, "ledger",
     "the ledger is unusable: damaged, foreign, newer than this program, or the disk is full",
     "A person has to look: nothing was overwritten. 'nextport doctor' checks the file."},
    {NEXTPORT_CONFLICT, "conflict",
     "a conflict: a finding of check, a port or owner that has another lease, a move that --no-move forbids",
     "Do what the message or the findings say: release the lease that stands in the way, or choose another port."},
    {NEXTPORT_DENIED, "denied", "not permitted",
     "Run 'nextport setup' once as root (on Windows: elevated), join the group nextport, or use a ledger of your own "
     "with --user."},
    {NEXTPORT_RETRY, "retry", "temporary, or the outcome is unknown: another process holds the ledger",
     "Repeat the same request. The message names who holds the lock; '--wait' allows more time."},
};

static void vset(char *buf, size_t size, const char *fmt, va_list ap) NP_PRINTF(3, 0);

static void vset(char *buf, size_t size, const char *fmt, va_list ap)
{
    if (vsnprintf(buf, size, fmt, ap) < 0)
        buf[0] = '\0';
}

enum nextport_status np_fail(struct nextport_error *err, enum nextport_status status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err->status = status;
    err->hint[0] = '\0';
    vset(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return status;
}

enum nextport_status np_wrap(struct nextport_error *err, const char *fmt, ...)
{
    char context[sizeof err->text], text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    vset(context, sizeof context, fmt, ap);
    va_end(ap);
    memcpy(text, err->text, sizeof text);
    int n = snprintf(err->text, sizeof err->text, "%s: ", context);
    if (n > 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, "%s", text);
    return err->status;
}

void np_hint(struct nextport_error *err, const char *fmt, ...)
{
    if (err->hint[0] != '\0')
        return;
    va_list ap;
    va_start(ap, fmt);
    vset(err->hint, sizeof err->hint, fmt, ap);
    va_end(ap);
}
