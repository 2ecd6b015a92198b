/* What people read, in the same words whatever the format: the sentence about a choice, the lines of the log.
 * SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "core/evidence.h"
#include "output/writer.h"

#include <inttypes.h>
#include <string.h>

/* A log line stays readable, whatever a site is called and however many ports were passed over. */
enum { NAME_COLUMNS = 40, REASON_COLUMNS = 80, PORTS_SHOWN = 4, REJECTS_SHOWN = 3 };

/* Days since 1970-01-01 to a date of the proleptic Gregorian calendar. Years begin in March, so that the leap day comes
 * last and month lengths follow one formula; 400 years are one cycle of 146,097 days. */
static void date_of(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468; /* from 0000-03-01 */
    int64_t cycle = (days >= 0 ? days : days - 146096) / 146097;
    int64_t in_cycle = days - cycle * 146097;
    int64_t y = (in_cycle - in_cycle / 1460 + in_cycle / 36524 - in_cycle / 146096) / 365;
    int64_t in_year = in_cycle - (365 * y + y / 4 - y / 100);
    int from_march = (int)((5 * in_year + 2) / 153);
    *day = (int)(in_year - (153 * from_march + 2) / 5) + 1;
    *month = from_march < 10 ? from_march + 3 : from_march - 9;
    *year = cycle * 400 + y + (*month <= 2);
}

char *np_time_text(struct np_arena *arena, int64_t seconds)
{
    int64_t days = seconds / 86400, rest = seconds % 86400, year;
    int month, day;
    if (rest < 0)
        days--, rest += 86400;
    date_of(days, &year, &month, &day);
    return np_sprintf(arena, "%04" PRId64 "-%02d-%02d %02d:%02d", year, month, day, (int)(rest / 3600),
                      (int)(rest / 60 % 60));
}

char *np_range_text(struct np_arena *arena, uint16_t first, uint16_t last)
{
    return first == last ? np_sprintf(arena, "%u", first) : np_sprintf(arena, "%u-%u", first, last);
}

/* The start of the n-th code point of valid UTF-8. */
static const char *code_point(const char *text, size_t n)
{
    for (; *text; text++)
        if (((unsigned char)*text & 0xc0) != 0x80 && n-- == 0)
            break;
    return text;
}

const char *np_elide(struct np_arena *arena, const char *text, size_t columns, bool unicode, bool keep_tail)
{
    const char *mark = unicode ? "\xe2\x80\xa6" : "...";
    size_t length = np_columns(text), keep = np_columns(mark);
    if (length <= columns)
        return text;
    keep = columns > keep ? columns - keep : 0;
    if (keep_tail)
        return np_sprintf(arena, "%s%s", mark, code_point(text, length - keep));
    return np_sprintf(arena, "%s%s", np_strndup(arena, text, (size_t)(code_point(text, keep) - text)), mark);
}

static const char *short_name(struct np_arena *arena, const char *foreign)
{
    return np_elide(arena, np_neutral(arena, foreign, false), NAME_COLUMNS, false, false);
}

static const char *reason_text(struct np_arena *arena, const struct nextport_reject *reject)
{
    bool leased = reject->kind == NEXTPORT_LEASED;
    if (reject->holder)
        return np_sprintf(arena, "%s: %s", leased ? "leased" : reject->source, short_name(arena, reject->holder));
    if (leased)
        return "leased";
    if (reject->kind == NEXTPORT_SOCKET)
        return "in use";
    return np_sprintf(arena, "%s: %s", reject->source, np_kind_name(reject->kind));
}

char *np_reject_text(struct np_arena *arena, const struct nextport_reject *reject)
{
    const char *range = np_range_text(arena, reject->first, reject->last), *why = reason_text(arena, reject);
    if (reject->count < (uint64_t)(reject->last - reject->first) + 1)
        return np_sprintf(arena, "%" PRIu64 " of %s (%s)", reject->count, range, why);
    return np_sprintf(arena, "%s (%s)", range, why);
}

bool np_unseen(const struct nextport_sighting *sighting)
{
    return sighting->sight == NEXTPORT_PARTIAL || sighting->sight == NEXTPORT_UNREADABLE;
}

static bool all_alike(const struct nextport_result *res)
{
    for (size_t i = 1; i < res->n_ports; i++)
        if (res->ports[i].verdict != res->ports[0].verdict)
            return false;
    return true;
}

/* What became of one of several ports, where it is not what became of all. */
static void add_own_verdict(struct np_buf *out, const struct nextport_granted *granted)
{
    if (granted->verdict == NEXTPORT_MOVE)
        np_buf_printf(out, " (before %u)", granted->moved_from);
    else
        np_buf_puts(out, granted->verdict == NEXTPORT_KEEP ? " (kept)" : " (fresh)");
}

static void add_ports(struct np_buf *out, const struct nextport_result *res)
{
    bool alike = all_alike(res);
    np_buf_puts(out, res->n_ports == 1 ? "port " : "ports ");
    for (size_t i = 0; i < res->n_ports && i < PORTS_SHOWN; i++) {
        np_buf_printf(out, "%s%u for %s", i ? ", " : "", res->ports[i].port,
                      short_name(out->arena, res->ports[i].name));
        if (!alike || (res->n_ports > 1 && res->ports[i].verdict == NEXTPORT_MOVE))
            add_own_verdict(out, &res->ports[i]);
    }
    if (res->n_ports > PORTS_SHOWN)
        np_buf_printf(out, " and %zu more up to %u", res->n_ports - PORTS_SHOWN, res->ports[res->n_ports - 1].port);
}

static const char *short_reason(struct np_arena *arena, const char *foreign)
{
    return np_elide(arena, np_neutral(arena, foreign, false), REASON_COLUMNS, false, false);
}

/* "fresh", "kept for shop/QA: iis: Shop has it", "moved from 49001 to 49004 for shop/QA, because sockets: node has
 * it"; of several ports the reason of the first. */
static void add_verdict(struct np_buf *out, const struct nextport_result *res)
{
    static const char *const modes[] = {
        [NEXTPORT_GRANT] = "fresh",
        [NEXTPORT_KEEP] = "kept",
        [NEXTPORT_MOVE] = "moved",
    };
    static const struct nextport_granted none = {.verdict = NEXTPORT_GRANT};
    const bool alike = all_alike(res);
    const struct nextport_granted *first = res->n_ports && alike ? &res->ports[0] : &none;
    if (alike || !res->owner) /* else each says its own */
        np_buf_puts(out, modes[res->verdict]);
    if (res->n_ports == 1 && first->moved_from)
        np_buf_printf(out, " from %u to %u", first->moved_from, first->port);
    if (res->owner)
        np_buf_printf(out, "%sfor %s", alike ? " " : "", short_name(out->arena, res->owner));
    if (first->why)
        np_buf_printf(out, "%s%s", first->verdict == NEXTPORT_MOVE ? ", because " : ": ",
                      short_reason(out->arena, first->why));
}

static void add_lease(struct np_buf *out, const struct nextport_result *res)
{
    np_buf_puts(out, res->dry_run ? " would be given, " : ", ");
    add_verdict(out, res);
    if (res->dry_run)
        np_buf_puts(out, "; dry run, no lease");
    else if (res->n_ports && res->ports[0].expires)
        np_buf_printf(out, ", pending until %s UTC", np_time_text(out->arena, res->ports[0].expires));
    else
        np_buf_puts(out, ", confirmed");
}

static void add_rejects(struct np_buf *out, const struct nextport_result *res)
{
    uint64_t rest = res->rejected_rest;
    for (size_t i = 0; i < res->n_rejected; i++)
        if (i < REJECTS_SHOWN)
            np_buf_printf(out, "%s%s", i ? ", " : "; passed over ", np_reject_text(out->arena, &res->rejected[i]));
        else
            rest += res->rejected[i].count;
    if (rest)
        np_buf_printf(out, " and %" PRIu64 " more", rest);
}

static void sum_grants(struct np_buf *out, const struct nextport_result *res)
{
    add_ports(out, res);
    add_lease(out, res);
    add_rejects(out, res);
}

char *np_count_text(struct np_arena *arena, uint64_t n, const char *one, const char *many)
{
    return np_sprintf(arena, "%" PRIu64 " %s", n, n == 1 ? one : many);
}

/* "port 49001 of shop/QA", "3 ports" */
static void add_leases(struct np_buf *out, const struct nextport_result *res, const char *to)
{
    const struct nextport_lease *lease = &res->leases[0];
    if (res->n_leases > 1)
        np_buf_printf(out, "%zu ports", res->n_leases);
    else if (lease->owner)
        np_buf_printf(out, "port %u %s %s", lease->port, to, short_name(out->arena, lease->owner));
    else
        np_buf_printf(out, "port %u", lease->port);
}

static void sum_release(struct np_buf *out, const struct nextport_result *res)
{
    const struct nextport_lease *lease = &res->leases[0];
    np_buf_puts(out, "gave back ");
    add_leases(out, res, "of");
    if (lease->state == NEXTPORT_RESTING && lease->expires)
        np_buf_printf(out, ", kept from others until %s UTC", np_time_text(out->arena, lease->expires));
}

/* adopt, assign, import */
static void sum_leased(struct np_buf *out, const struct nextport_result *res)
{
    if (res->changed)
        np_buf_puts(out, "leased ");
    add_leases(out, res, res->changed ? "to" : "is leased to");
    if (!res->changed)
        np_buf_puts(out, " already");
}

static void sum_sweep(struct np_buf *out, const struct nextport_result *res)
{
    np_buf_printf(out, "%s ended, %" PRIu64 " confirmed", np_count_text(out->arena, res->n_leases, "lease", "leases"),
                  res->n_confirmed);
    if (res->n_absent)
        np_buf_printf(out, ", %" PRIu64 " absent", res->n_absent);
    if (res->n_resting)
        np_buf_printf(out, ", %" PRIu64 " resting", res->n_resting);
}

const char *np_summary(struct np_arena *arena, const struct nextport_result *res)
{
    static void (*const sums[])(struct np_buf *, const struct nextport_result *) = {
        [NEXTPORT_ANSWER_NEXT] = sum_grants,     [NEXTPORT_ANSWER_EXEC] = sum_grants,
        [NEXTPORT_ANSWER_RELEASE] = sum_release, [NEXTPORT_ANSWER_ADOPT] = sum_leased,
        [NEXTPORT_ANSWER_ASSIGN] = sum_leased,   [NEXTPORT_ANSWER_IMPORT] = sum_leased,
        [NEXTPORT_ANSWER_SWEEP] = sum_sweep,
    };
    struct np_buf out = {.arena = arena};
    /* that nothing was done is said by the answer itself */
    const bool any = res->n_leases || res->n_confirmed || res->n_absent || res->n_resting;
    bool nothing = !(NP_ANSWER(res->what) & NP_GRANTS) && (res->dry_run || !any);
    if (!sums[res->what] || nothing)
        return NULL;
    np_buf_printf(&out, "%s: ", res->host);
    sums[res->what](&out, res);
    return out.ptr;
}

void np_log_line(struct np_buf *log, bool ascii, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = np_vsprintf(log->arena, fmt, ap);
    va_end(ap);
    np_buf_printf(log, "nextport: %s\n", np_neutral(log->arena, text, ascii));
}

/* A required source that was not seen is an error already. Other answers than `next` show their sources themselves. */
static void log_unseen(struct np_buf *log, bool ascii, const struct nextport_result *res)
{
    struct np_buf names = {.arena = log->arena};
    const char *hint = NULL;
    size_t n = 0;
    for (size_t i = 0; i < res->n_sources; i++) {
        const struct nextport_sighting *s = &res->sources[i];
        if (!np_unseen(s) || s->policy == NEXTPORT_REQUIRE)
            continue;
        np_buf_printf(&names, "%s%s (%s%s%s)", n++ ? ", " : "", s->source, np_sight_name(s->sight), s->why ? ": " : "",
                      s->why ? s->why : "");
        hint = s->hint;
    }
    if (n == 1 && hint)
        np_log_line(log, ascii, "warning: not fully seen: %s. %s", names.ptr, hint);
    else if (n)
        np_log_line(log, ascii, "warning: not fully seen: %s; 'nextport doctor' says how to see it", names.ptr);
}

void np_log_notes(struct np_buf *log, bool ascii, const struct nextport_result *res, enum nextport_level level)
{
    for (size_t i = 0; i < res->n_notes; i++)
        if (res->notes[i].level == level)
            np_log_line(log, ascii, "%s%s", level == NEXTPORT_WARNING ? "warning: " : "", res->notes[i].text);
    if (level == NEXTPORT_WARNING && res->what == NEXTPORT_ANSWER_NEXT)
        log_unseen(log, ascii, res);
}

void np_log_details(struct np_buf *log, bool ascii, const struct nextport_result *res)
{
    for (size_t i = 0; i < res->n_rejected; i++)
        np_log_line(log, ascii, "passed over %s", np_reject_text(log->arena, &res->rejected[i]));
    if (res->rejected_rest)
        np_log_line(log, ascii, "passed over %" PRIu64 " more", res->rejected_rest);
    for (size_t i = 0; i < res->n_sources; i++)
        np_log_line(log, ascii, "source %s: %s", res->sources[i].source, np_sight_name(res->sources[i].sight));
}

void np_log_failure(struct np_buf *log, bool ascii, const struct nextport_error *err)
{
    np_log_line(log, ascii, "%s", err->text);
    if (err->hint[0])
        np_log_line(log, ascii, "hint: %s", err->hint);
}

void np_log_result(struct np_page *page, const struct nextport_result *res)
{
    bool ascii = !page->style->unicode;
    if (page->style->verbosity < 0)
        return;
    if (page->style->verbosity > 0) {
        np_log_notes(&page->log, ascii, res, NEXTPORT_VERBOSE);
        np_log_details(&page->log, ascii, res);
    }
    np_log_notes(&page->log, ascii, res, NEXTPORT_INFO);
    np_log_notes(&page->log, ascii, res, NEXTPORT_WARNING);
}
