/* Writer "junit": what `check` found as a test report, which most CI servers show. A finding is a test case: hazards
 * and errors fail it, hints do not. Nothing found is one case that passed, because servers take an empty report for a
 * broken one.
 *
 * ASCII only, so that no code page can spoil it; without times, so that the same machine gives the same bytes.
 * SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "output/grid.h"

#include <string.h>

/* Foreign text inside an element or between double quotes. What XML 1.0 cannot hold is gone by np_neutral(), except
 * for the two noncharacters of the first plane. */
static void add_text(struct np_page *page, const char *foreign)
{
    static const char *const entities[] = {['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;"};
    const unsigned char *p = (const unsigned char *)np_neutral(page->arena, foreign, false);
    while (*p) {
        unsigned more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
        uint32_t c = more ? *p & (0x3fu >> more) : *p;
        for (p++; more; more--)
            c = c << 6 | (*p++ & 0x3fu);
        if (c < sizeof entities / sizeof *entities && entities[c])
            np_buf_puts(&page->out, entities[c]);
        else if (c < 0x80)
            np_buf_printf(&page->out, "%c", (int)c);
        else
            np_buf_printf(&page->out, "&#%u;", (unsigned)(c == 0xfffe || c == 0xffff ? 0xfffd : c));
    }
}

static void add_attribute(struct np_page *page, const char *name, const char *foreign)
{
    np_buf_printf(&page->out, " %s=\"", name);
    add_text(page, foreign);
    np_buf_puts(&page->out, "\"");
}

static void begin_case(struct np_page *page, const char *kind, const char *name)
{
    np_buf_puts(&page->out, "    <testcase classname=\"nextport.check");
    if (kind)
        add_text(page, np_sprintf(page->arena, ".%s", kind));
    np_buf_puts(&page->out, "\"");
    add_attribute(page, "name", name);
    np_buf_puts(&page->out, ">\n");
}

static void end_case(struct np_page *page)
{
    np_buf_puts(&page->out, "    </testcase>\n");
}

/* The evidence and the cure, a line each. */
static void add_details(struct np_page *page, const struct nextport_finding *finding)
{
    for (size_t i = 0; i < finding->n_evidence; i++) {
        add_text(page, np_claim_text(page, &finding->evidence[i]));
        np_buf_puts(&page->out, "\n");
    }
    if (finding->cure) {
        add_text(page, np_sprintf(page->arena, "-> %s", finding->cure));
        np_buf_puts(&page->out, "\n");
    }
}

/* "two-holders 49001", and of a second one there "two-holders 49001 (2)": servers tell cases apart by their names. */
static const char *name_of(struct np_page *page, const struct nextport_result *res, size_t which)
{
    const struct nextport_finding *finding = &res->findings[which];
    const char *name = finding->slug;
    unsigned nth = 1;
    for (size_t i = 0; i < which; i++)
        nth += strcmp(res->findings[i].slug, finding->slug) == 0 && res->findings[i].first == finding->first &&
               res->findings[i].last == finding->last;
    if (finding->first)
        name = np_sprintf(page->arena, "%s %s", name, np_range_text(page->arena, finding->first, finding->last));
    return nth > 1 ? np_sprintf(page->arena, "%s (%u)", name, nth) : name;
}

static const char *const severities[] = {
    [NEXTPORT_HINT] = "hint",
    [NEXTPORT_HAZARD] = "hazard",
    [NEXTPORT_ERROR] = "error",
};

static void add_finding(struct np_page *page, const struct nextport_result *res, size_t which)
{
    const struct nextport_finding *finding = &res->findings[which];
    begin_case(page, finding->slug, name_of(page, res, which));
    if (finding->severity < res->fail_on) {
        np_buf_puts(&page->out, "      <system-out>");
        add_text(page, finding->text);
        np_buf_puts(&page->out, "\n");
        add_details(page, finding);
        np_buf_puts(&page->out, "</system-out>\n");
    } else {
        np_buf_puts(&page->out, "      <failure");
        add_attribute(page, "type", severities[finding->severity]);
        add_attribute(page, "message", finding->text);
        np_buf_puts(&page->out, ">");
        add_details(page, finding);
        np_buf_puts(&page->out, "</failure>\n");
    }
    end_case(page);
}

static void add_error(struct np_page *page, const struct nextport_error *err)
{
    begin_case(page, NULL, "check");
    np_buf_puts(&page->out, "      <error");
    add_attribute(page, "type", nextport_statuses[err->status].slug);
    add_attribute(page, "message", err->text);
    np_buf_puts(&page->out, ">");
    add_text(page, err->hint);
    np_buf_puts(&page->out, "</error>\n");
    end_case(page);
}

static void add_suite(struct np_page *page, const struct nextport_result *res, const struct nextport_error *err)
{
    size_t n = res ? res->n_findings : 0, failures = 0;
    const char *host = res ? res->host : page->host;
    for (size_t i = 0; i < n; i++)
        failures += res->findings[i].severity >= res->fail_on;
    np_buf_puts(&page->out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
                            "  <testsuite name=\"nextport check\"");
    if (host)
        add_attribute(page, "hostname", host);
    np_buf_printf(&page->out, " tests=\"%zu\" failures=\"%zu\" errors=\"%d\" skipped=\"0\">\n", n + (err || !n),
                  failures, err ? 1 : 0);
    for (size_t i = 0; i < n; i++)
        add_finding(page, res, i);
    if (err) {
        add_error(page, err);
    } else if (!n) {
        begin_case(page, NULL, "nothing is wrong");
        end_case(page);
    }
    np_buf_puts(&page->out, "  </testsuite>\n</testsuites>\n");
}

/* Whatever the terminal can show, the report is the same. */
static void write_report(struct np_page *page, const struct nextport_result *res, const struct nextport_error *err)
{
    const struct nextport_style *terminal = page->style;
    struct nextport_style style = *terminal;
    style.unicode = true;
    page->style = &style;
    add_suite(page, res, err);
    page->style = terminal;
}

static void log_warnings(struct np_page *page, const struct nextport_result *res)
{
    if (page->style->verbosity >= 0)
        np_log_notes(&page->log, !page->style->unicode, res, NEXTPORT_WARNING);
}

static void write_junit(struct np_page *page, const struct nextport_result *res)
{
    write_report(page, res, NULL);
    log_warnings(page, res);
}

/* A report all the same: a server that finds none shows an old one, or nothing. */
static void fail_junit(struct np_page *page, const struct nextport_error *err, const struct nextport_result *partial)
{
    write_report(page, partial, err);
    if (partial)
        log_warnings(page, partial);
    np_log_failure(&page->log, !page->style->unicode, err);
}

const struct np_writer np_writer_junit = {
    .name = "junit",
    .about = "what 'check' finds, as a test report for CI servers",
    .answers = NP_ANSWER(NEXTPORT_ANSWER_CHECK),
    .write = write_junit,
    .fail = fail_junit,
};
