/* The table of `log`: one line for each event, the newest last.
 * SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "output/grid.h"
#include "output/kept.h"

#include <string.h>

enum { REASON_INDENT = 18 /* below EVENT */, WIDE = 120, SHORT_ID = 9 };

/* Only what is worth a look, and what is over. */
static const struct {
    const char *kind;
    enum np_tint tint;
} tints[] = {
    {"moved", NP_YELLOW}, {"absent", NP_YELLOW}, {"rebased", NP_YELLOW}, {"rebound", NP_YELLOW}, {"kept", NP_DIM},
    {"released", NP_DIM}, {"ended", NP_DIM},     {"expired", NP_DIM},    {"rested", NP_DIM},     {"withdrawn", NP_DIM},
};

static enum np_tint tint_of(const struct nextport_event *event)
{
    for (size_t i = 0; event->kind && i < sizeof tints / sizeof *tints; i++)
        if (strcmp(tints[i].kind, event->kind) == 0)
            return tints[i].tint;
    return NP_PLAIN;
}

/* A deployment's ID, of which the end tells most where there is not room for all. */
static const char *short_id(struct np_page *page, const char *id)
{
    const struct nextport_style *style = page->style;
    id = np_safe(page, id);
    return style->columns && style->columns < WIDE ? np_elide(page->arena, id, SHORT_ID, style->unicode, true) : id;
}

/* The owner; the port's name, when it has one of its own; and the deployment: "shop/QA Admin (417)". */
static const char *whose(struct np_page *page, const struct nextport_event *event)
{
    bool named = event->name && strcmp(event->name, "Port") != 0;
    struct np_buf text = {.arena = page->arena};
    if (!event->owner && !event->name)
        return NULL;
    np_buf_puts(&text, np_safe(page, event->owner ? event->owner : event->name));
    if (event->owner && named)
        np_buf_printf(&text, " %s", np_safe(page, event->name));
    if (event->deployment)
        np_buf_printf(&text, " (%s)", short_id(page, event->deployment));
    return text.ptr;
}

/* The user, and the machine when it is not this one. */
static const char *who(struct np_page *page, const struct nextport_event *event, const char *here)
{
    bool elsewhere = event->host && here && strcmp(event->host, here) != 0;
    if (!event->user || !elsewhere)
        return np_safe(page, event->user ? event->user : event->host);
    return np_safe(page, np_sprintf(page->arena, "%s@%s", event->user, event->host));
}

/* "49001 -> 49004", of a lease that has another port than before; else NULL. */
static const char *move_text(struct np_page *page, const struct nextport_event *event)
{
    const char *before = np_json_member(page->arena, event->before, "port");
    const char *after = np_json_member(page->arena, event->after, "port");
    if (!before || !after || strcmp(before, after) == 0)
        return NULL;
    return np_sprintf(page->arena, "%.5s -> %.5s", before, after);
}

/* What was asked; where that says less, what came of it: the ports of a move, who was seen. */
static const char *what(struct np_page *page, const struct nextport_event *event)
{
    const char *outcome = move_text(page, event);
    if (!outcome && event->kind && strcmp(event->kind, "confirmed") == 0)
        outcome = np_json_member(page->arena, event->after, "holder");
    return np_safe(page, outcome ? outcome : event->request ? event->request : event->program);
}

void np_table_log(struct np_page *page, const struct nextport_result *res)
{
    enum { TIME, EVENT, PORT, FOR, WHO, WHAT, N };
    static const struct np_column columns[N] = {
        [TIME] = {.title = "TIME (UTC)"},
        [EVENT] = {.title = "EVENT"},
        [PORT] = {.title = "PORT"},
        [FOR] = {.title = "FOR", .elastic = true, .vital = true},
        [WHO] = {.title = "WHO", .elastic = true},
        [WHAT] = {.title = "WHAT", .elastic = true},
    };
    struct np_grid grid = {.page = page, .columns = columns, .n_columns = N};
    for (size_t i = 0; i < res->n_events; i++) {
        const struct nextport_event *event = &res->events[i];
        struct np_row *row = np_grid_row(&grid);
        row->tint = tint_of(event);
        row->cells[TIME] = np_time_text(page->arena, event->time);
        row->cells[EVENT] = np_safe(page, event->kind);
        row->cells[PORT] = event->port ? np_range_text(page->arena, event->port, event->port) : NULL;
        row->cells[FOR] = whose(page, event);
        row->cells[WHO] = who(page, event, res->host);
        row->cells[WHAT] = what(page, event);
        if (event->reason)
            row->remark = np_sprintf(page->arena, "%*s%s", REASON_INDENT, "", np_safe(page, event->reason));
    }
    np_grid_print(&grid);
    if (!res->n_events)
        np_line(page, NP_PLAIN, "no events");
}
