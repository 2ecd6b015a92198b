/* SPDX-License-Identifier: MIT */
#include "output/grid.h"
#include "base/map.h"
#include "base/text.h"

#include <string.h>

enum { GAP = 2, READABLE = 14, NARROWEST = 8, FOLDED = 20 };

static const char *const tints[] = {
    [NP_PLAIN] = NULL,      [NP_DIM] = "\033[2m",      [NP_BOLD] = "\033[1m",
    [NP_RED] = "\033[31m",  [NP_GREEN] = "\033[32m",   [NP_YELLOW] = "\033[33m",
    [NP_BLUE] = "\033[34m", [NP_MAGENTA] = "\033[35m", [NP_CYAN] = "\033[36m",
};

void np_tint_begin(struct np_page *page, enum np_tint tint)
{
    if (page->style->colour && tints[tint])
        np_buf_puts(&page->out, tints[tint]);
}

void np_tint_end(struct np_page *page, enum np_tint tint)
{
    if (page->style->colour && tints[tint])
        np_buf_puts(&page->out, "\033[0m");
}

const char *np_safe(struct np_page *page, const char *text)
{
    return text ? np_neutral(page->arena, text, !page->style->unicode) : NULL;
}

void np_line(struct np_page *page, enum np_tint tint, const char *text)
{
    np_tint_begin(page, tint);
    np_buf_puts(&page->out, text);
    np_tint_end(page, tint);
    np_buf_puts(&page->out, "\n");
}

void np_block(struct np_page *page, unsigned indent, const char *text)
{
    struct np_text rest = np_text_of(text), part;
    while (np_text_split(&rest, '\n', &part))
        if (part.len)
            np_line(page, NP_PLAIN,
                    np_sprintf(page->arena, "%*s%s", (int)indent, "", np_safe(page, np_text_dup(page->arena, part))));
        else if (rest.ptr)
            np_line(page, NP_PLAIN, "");
}

/* How many bytes of `text` fit into `columns`, up to a blank; all of its first word at least. */
static size_t that_fits(const char *text, size_t columns)
{
    size_t fits = 0, used = 0;
    for (const char *p = text;; p++) {
        if (!*p || *p == ' ') {
            if (fits && used > columns)
                return fits;
            fits = (size_t)(p - text);
            if (!*p || used > columns)
                return fits;
        }
        used += ((unsigned char)*p & 0xc0) != 0x80;
    }
}

void np_paragraph(struct np_page *page, enum np_tint tint, const char *lead, unsigned hang, const char *text)
{
    size_t columns = page->style->columns;
    const char *rest = np_sprintf(page->arena, "%*s", (int)(np_columns(lead) + hang), "");
    do {
        size_t indent = np_columns(lead);
        size_t n = that_fits(text, !columns ? SIZE_MAX : columns > indent ? columns - indent : 1);
        np_line(page, tint, np_sprintf(page->arena, "%s%s", lead, np_strndup(page->arena, text, n)));
        lead = rest;
        text += n;
        while (*text == ' ')
            text++;
    } while (*text);
}

struct np_row *np_grid_row(struct np_grid *grid)
{
    return np_push(grid->page->arena, &grid->rows, &grid->n, &grid->capacity, sizeof *grid->rows);
}

static bool has_header(const struct np_grid *grid)
{
    return grid->columns[0].title != NULL;
}

static void measure(struct np_grid *grid)
{
    for (size_t c = 0; c < grid->n_columns; c++) {
        size_t widest = 0;
        for (size_t r = 0; r < grid->n; r++) {
            size_t width = grid->rows[r].cells[c] ? np_columns(grid->rows[r].cells[c]) : 0;
            widest = width > widest ? width : widest;
        }
        size_t title = has_header(grid) ? np_columns(grid->columns[c].title) : 0;
        grid->widths[c] = widest && widest < title ? title : widest;
    }
}

static size_t total_width(const struct np_grid *grid)
{
    size_t total = 0;
    for (size_t c = 0; c < grid->n_columns; c++)
        if (grid->widths[c])
            total += grid->widths[c] + (total ? GAP : 0);
    return total;
}

/* The widest elastic column that is wider than `least`, or NULL. */
static size_t *widest_elastic(struct np_grid *grid, size_t least, bool vital)
{
    size_t *widest = NULL;
    for (size_t c = 0; c < grid->n_columns; c++)
        if (grid->columns[c].elastic && (vital || !grid->columns[c].vital) &&
            grid->widths[c] > (widest ? *widest : least))
            widest = &grid->widths[c];
    return widest;
}

static bool is_too_wide(const struct np_grid *grid)
{
    return grid->page->style->columns && total_width(grid) > grid->page->style->columns;
}

/* Leaves columns out that do not fit; returns their titles, or NULL. */
static const char *leave_out(struct np_grid *grid)
{
    struct np_buf titles = {.arena = grid->page->arena};
    for (size_t c = 0; c < grid->n_columns && is_too_wide(grid); c++)
        if (grid->columns[c].minor && grid->widths[c]) {
            grid->widths[c] = 0;
            np_buf_printf(&titles, "%s%s", titles.len ? ", " : "", grid->columns[c].title);
        }
    return titles.ptr;
}

static void fit(struct np_grid *grid)
{
    static const struct {
        size_t least;
        bool vital;
    } rounds[] = {{READABLE, false}, {READABLE, true}, {NARROWEST, false}, {NARROWEST, true}};
    size_t *widest;
    for (size_t c = 0; c < grid->n_columns; c++)
        while (is_too_wide(grid) && grid->columns[c].folds && grid->widths[c] > FOLDED)
            grid->widths[c]--;
    for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++)
        while (is_too_wide(grid) && (widest = widest_elastic(grid, rounds[i].least, rounds[i].vital)))
            --*widest;
}

/* The rest of a row's last cell, below its beginning. */
static void print_fold(struct np_grid *grid, enum np_tint tint, const char *cell)
{
    const size_t width = grid->widths[grid->n_columns - 1];
    while (*cell == ' ')
        cell++;
    if (*cell)
        np_paragraph(grid->page, tint, np_sprintf(grid->page->arena, "%*s", (int)(total_width(grid) - width), ""), 0,
                     cell);
}

static void print_row(struct np_grid *grid, enum np_tint tint, const char *const *cells)
{
    struct np_page *page = grid->page;
    const char *fold = NULL;
    size_t owed = 0; /* blanks due before the next text, so that none end the line */
    np_tint_begin(page, tint);
    for (size_t c = 0; c < grid->n_columns; c++) {
        const struct np_column *column = &grid->columns[c];
        size_t width = grid->widths[c];
        if (!width)
            continue;
        if (column->folds) {
            const size_t n = cells[c] ? that_fits(cells[c], width) : 0;
            if (n)
                np_buf_printf(&page->out, "%*s%.*s", (int)owed, "", (int)n, cells[c]);
            fold = n ? cells[c] + n : NULL;
            continue;
        }
        const char *cell = np_elide(page->arena, cells[c] ? cells[c] : "", width, page->style->unicode, column->tail);
        size_t spare = width - np_columns(cell);
        if (*cell) {
            np_buf_printf(&page->out, "%*s%s", (int)(owed + (column->right ? spare : 0)), "", cell);
            owed = column->right ? 0 : spare;
        } else {
            owed += width;
        }
        owed += GAP;
    }
    np_tint_end(page, tint);
    np_buf_puts(&page->out, "\n");
    if (fold)
        print_fold(grid, tint, fold);
}

static void print_remark(struct np_page *page, const struct np_row *row)
{
    const size_t blanks = strspn(row->remark, " ");
    np_paragraph(page, row->tint, np_strndup(page->arena, row->remark, blanks), 0, row->remark + blanks);
}

/* What a row shows in the columns that are shown. */
static const char *shown(const struct np_grid *grid, const struct np_row *row)
{
    struct np_buf text = {.arena = grid->page->arena};
    for (size_t c = 0; c < grid->n_columns; c++)
        if (grid->widths[c])
            np_buf_printf(&text, "%s\n", row->cells[c] ? row->cells[c] : "");
    return text.ptr;
}

static bool is_printed(const struct np_grid *grid, struct np_map *printed, struct np_row *row)
{
    void **before = grid->once ? np_map_at(printed, shown(grid, row)) : NULL;
    if (!before || *before)
        return before != NULL;
    *before = row;
    return false;
}

void np_grid_print(struct np_grid *grid)
{
    const char *titles[NP_MOST_COLUMNS] = {NULL};
    struct np_map printed = {.arena = grid->page->arena};
    measure(grid);
    const char *left_out = leave_out(grid);
    fit(grid);
    for (size_t c = 0; c < grid->n_columns; c++)
        titles[c] = grid->columns[c].title;
    if (has_header(grid) && grid->n)
        print_row(grid, NP_DIM, titles);
    for (size_t r = 0; r < grid->n; r++) {
        struct np_row *row = &grid->rows[r];
        if (is_printed(grid, &printed, row))
            continue;
        if (row->heading)
            np_line(grid->page, NP_DIM, row->heading);
        print_row(grid, row->tint, row->cells);
        if (row->remark)
            print_remark(grid->page, row);
    }
    if (left_out)
        np_paragraph(grid->page, NP_DIM, "", 0,
                     np_sprintf(grid->page->arena, "no room for %s; a pipe ('| cat') shows all", left_out));
}
