/* The table of `check`: each finding as a few lines, the gravest first.
 * SPDX-License-Identifier: MIT */
#include "base/map.h"
#include "base/text.h"
#include "output/grid.h"

static const struct {
    const char *word, *one, *many;
    enum np_tint tint;
} severities[] = {
    [NEXTPORT_HINT] = {"hint", "hint", "hints", NP_CYAN},
    [NEXTPORT_HAZARD] = {"HAZARD", "hazard", "hazards", NP_YELLOW},
    [NEXTPORT_ERROR] = {"ERROR", "error", "errors", NP_RED},
};

static void print_head(struct np_page *page, const struct nextport_finding *finding)
{
    enum np_tint tint = severities[finding->severity].tint;
    np_tint_begin(page, tint);
    np_buf_puts(&page->out, severities[finding->severity].word);
    np_tint_end(page, tint);
    if (finding->first)
        np_buf_printf(&page->out, "  %s %s", finding->first == finding->last ? "port" : "ports",
                      np_range_text(page->arena, finding->first, finding->last));
    np_buf_puts(&page->out, "  ");
    np_line(page, NP_DIM, np_safe(page, finding->slug));
}

static void print_finding(struct np_page *page, const struct nextport_finding *finding)
{
    print_head(page, finding);
    np_paragraph(page, NP_PLAIN, "  ", 0, np_safe(page, finding->text));
    for (size_t i = 0; i < finding->n_evidence; i++)
        np_paragraph(page, NP_DIM, "    ", 2, np_claim_text(page, &finding->evidence[i]));
    if (finding->cure)
        np_paragraph(page, NP_PLAIN, "  -> ", 0, np_safe(page, finding->cure));
    np_buf_puts(&page->out, "\n");
}

/* "1 error, 2 hazards" */
static const char *sum(struct np_page *page, const struct nextport_result *res)
{
    struct np_buf text = {.arena = page->arena};
    np_buf_puts(&text, "");
    for (int severity = NEXTPORT_ERROR; severity >= NEXTPORT_HINT; severity--) {
        uint64_t n = 0;
        for (size_t i = 0; i < res->n_findings; i++)
            n += (int)res->findings[i].severity == severity;
        if (n)
            np_buf_printf(&text, "%s%s", text.len ? ", " : "",
                          np_count_text(page->arena, n, severities[severity].one, severities[severity].many));
    }
    return text.len ? text.ptr : "nothing is wrong: no errors, no hazards, no hints";
}

/* Hints of one kind are many on a machine that nextport is new to. */
enum { ALIKE_SHOWN = 5 };

static bool is_one_too_many(struct np_map *shown, const struct nextport_finding *finding)
{
    if (finding->severity != NEXTPORT_HINT)
        return false;
    void **at = np_map_at(shown, finding->slug);
    unsigned *n = *at ? *at : np_alloc(shown->arena, sizeof *n);
    *at = n;
    return ++*n > ALIKE_SHOWN;
}

static void print_findings(struct np_page *page, const struct nextport_result *res)
{
    struct np_map shown = {.arena = page->arena};
    uint64_t left_out = 0;
    for (size_t i = 0; i < res->n_findings; i++)
        if (is_one_too_many(&shown, &res->findings[i]))
            left_out++;
        else
            print_finding(page, &res->findings[i]);
    if (left_out)
        np_line(page, NP_DIM,
                np_sprintf(page->arena, "%s like these; --format json has all",
                           np_count_text(page->arena, left_out, "more hint", "more hints")));
}

void np_table_check(struct np_page *page, const struct nextport_result *res)
{
    print_findings(page, res);
    np_line(page, NP_PLAIN, sum(page, res));
    np_table_unseen(page, res);
}
