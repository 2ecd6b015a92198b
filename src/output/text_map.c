/* The table of `map`: the pool as a picture, one cell for each port or run of ports.
 *
 * Rows are decimal, so that a port is found by counting: groups of ten cells, and a cell of 1, 2, 5, 10, .. ports.
 * SPDX-License-Identifier: MIT */
#include "output/grid.h"

#include <inttypes.h>
#include <string.h>

enum { ROWS = 32, GROUP = 10, LABEL = 7, NONE = -1 }; /* more rows than that would not be seen at once */

/* What a cell shows. Of one port the first that applies is shown, of several ports MIXED when they differ. */
enum cell { OUTSIDE, FREE, LEASED, CONFIGURED, PUBLISHED, RESERVED, SOCKET, SUSPECT, MIXED, N_CELLS };

static const struct {
    const char *word, *ascii, *unicode;
    enum np_tint tint;
} cells[N_CELLS] = {
    [OUTSIDE] = {NULL, " ", " ", NP_PLAIN},
    [FREE] = {"free", ".", "\xc2\xb7", NP_DIM},
    [LEASED] = {"leased", "L", "\xe2\x96\x88", NP_GREEN},
    [CONFIGURED] = {"configured", "C", "\xe2\x96\x93", NP_BLUE},
    [PUBLISHED] = {"published", "P", "\xe2\x96\x9a", NP_CYAN},
    [RESERVED] = {"reserved", "R", "\xe2\x96\x91", NP_DIM},
    [SOCKET] = {"in use", "S", "\xe2\x96\x92", NP_YELLOW},
    [SUSPECT] = {"doubtful", "?", "?", NP_RED},
    [MIXED] = {"several of these", "*", "\xe2\x97\x86", NP_MAGENTA},
};

static const enum cell kinds[] = {
    [NEXTPORT_SOCKET] = SOCKET,     [NEXTPORT_CONFIGURED] = CONFIGURED, [NEXTPORT_PUBLISHED] = PUBLISHED,
    [NEXTPORT_RESERVED] = RESERVED, [NEXTPORT_LEASED] = LEASED,         [NEXTPORT_SUSPECT] = SUSPECT,
};

struct map {
    struct np_page *page;
    const struct nextport_result *res;
    unsigned char *ports;  /* 65536 cells */
    unsigned cells, scale; /* cells of a row, ports of a cell */
    unsigned counts[N_CELLS];
    bool has_mixed;
};

static void fill(struct map *map)
{
    const struct nextport_result *res = map->res;
    for (size_t i = 0; i < res->n_pool; i++)
        memset(map->ports + res->pool[i].first, FREE, (size_t)(res->pool[i].last - res->pool[i].first) + 1);
    for (size_t i = 0; i < res->n_claims; i++) {
        enum cell kind = kinds[res->claims[i].kind];
        for (unsigned port = res->claims[i].first; port && port <= res->claims[i].last; port++)
            if (map->ports[port] == FREE || map->ports[port] > kind)
                map->ports[port] = (unsigned char)kind;
    }
    for (unsigned port = 1; port <= 65535; port++)
        map->counts[map->ports[port]]++;
}

/* The first port of the row after `row` (NONE: of the first) in which there is anything of the pool, or NONE. Rows
 * follow each other without a gap as long as each holds some of the pool, and begin at a round number. */
static int next_row(const struct map *map, int row)
{
    const int span = (int)(map->cells * map->scale), group = (int)(GROUP * map->scale);
    const int next = row == NONE ? 0 : row + span;
    for (size_t i = 0; i < map->res->n_pool; i++) {
        const struct nextport_range *range = &map->res->pool[i];
        if (range->last < next)
            continue;
        return row != NONE && range->first < next + span ? next : range->first / group * group;
    }
    return NONE;
}

static unsigned count_rows(const struct map *map)
{
    unsigned n = 0;
    for (int row = next_row(map, NONE); row != NONE; row = next_row(map, row))
        n++;
    return n;
}

static void choose_scale(struct map *map)
{
    static const unsigned scales[] = {1, 2, 5, 10, 20, 50, 100};
    static const unsigned widths[] = {100, 50, 40, 30, 20, 10};
    const unsigned columns = map->page->style->columns ? map->page->style->columns : 80;
    size_t i = 0;
    while (widths[i] > GROUP && LABEL + widths[i] + widths[i] / GROUP - 1 > columns)
        i++;
    map->cells = widths[i];
    for (i = 0; i < sizeof scales / sizeof *scales; i++) {
        map->scale = scales[i];
        if (count_rows(map) <= ROWS)
            return;
    }
}

static enum cell cell_at(const struct map *map, unsigned first)
{
    enum cell ret = OUTSIDE;
    for (unsigned port = first; port < first + map->scale && port <= 65535; port++) {
        enum cell here = (enum cell)map->ports[port];
        if (ret <= FREE)
            ret = here > ret ? here : ret;
        else if (here > FREE && here != ret)
            return MIXED;
    }
    return ret;
}

/* Blocks need their colours to be told apart. */
static const char *sign(const struct np_page *page, enum cell cell)
{
    return page->style->unicode && page->style->colour ? cells[cell].unicode : cells[cell].ascii;
}

static void print_cell(struct map *map, enum cell cell, enum np_tint *tint)
{
    struct np_page *page = map->page;
    if (cells[cell].tint != *tint && cell != OUTSIDE) {
        np_tint_end(page, *tint);
        *tint = cells[cell].tint;
        np_tint_begin(page, *tint);
    }
    np_buf_puts(&page->out, sign(page, (enum cell)cell));
    map->has_mixed = map->has_mixed || cell == MIXED;
}

static void print_row(struct map *map, int row)
{
    enum np_tint tint = NP_PLAIN;
    unsigned n = map->cells;
    while (n && cell_at(map, (unsigned)row + (n - 1) * map->scale) == OUTSIDE)
        n--;
    np_buf_printf(&map->page->out, "%*d  ", LABEL - 2, row);
    for (unsigned i = 0; i < n; i++) {
        if (i && i % GROUP == 0)
            np_buf_puts(&map->page->out, " ");
        print_cell(map, cell_at(map, (unsigned)row + i * map->scale), &tint);
    }
    np_tint_end(map->page, tint);
    np_buf_puts(&map->page->out, "\n");
}

static void print_head(struct map *map)
{
    struct np_page *page = map->page;
    unsigned total = 65535 - map->counts[OUTSIDE];
    np_buf_printf(&page->out, "%s, %u free", np_count_text(page->arena, total, "port", "ports"), map->counts[FREE]);
    if (map->scale > 1)
        np_buf_printf(&page->out, "; a cell is %u ports and shows what has any of them", map->scale);
    np_buf_puts(&page->out, "\n\n");
}

/* What each sign means, and how many ports it is; in as many lines as it takes. */
static void print_legend(struct map *map)
{
    struct np_page *page = map->page;
    size_t used = 0;
    for (int cell = FREE; cell < N_CELLS; cell++) {
        if (cell == MIXED ? !map->has_mixed : !map->counts[cell])
            continue;
        const char *text =
            cell == MIXED ? cells[cell].word : np_sprintf(page->arena, "%s %u", cells[cell].word, map->counts[cell]);
        const size_t width = strlen(text) + 2;
        bool breaks = used && page->style->columns && used + 3 + width > page->style->columns;
        np_buf_puts(&page->out, !used    ? "\n"
                                           "       "
                                : breaks ? "\n"
                                           "       "
                                         : "   ");
        used = !used || breaks ? LABEL + width : used + 3 + width;
        np_tint_begin(page, cells[cell].tint);
        np_buf_puts(&page->out, sign(page, (enum cell)cell));
        np_tint_end(page, cells[cell].tint);
        np_buf_printf(&page->out, " %s", text);
    }
    np_buf_puts(&page->out, "\n");
}

void np_table_map(struct np_page *page, const struct nextport_result *res)
{
    struct map map = {.page = page, .res = res, .ports = np_alloc(page->arena, 65536)};
    fill(&map);
    choose_scale(&map);
    print_head(&map);
    for (int row = next_row(&map, NONE); row != NONE; row = next_row(&map, row))
        print_row(&map, row);
    print_legend(&map);
    np_table_unseen(page, res);
}
