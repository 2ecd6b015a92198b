/* Lines and tables on a terminal: what the answers for people are made of.
 * SPDX-License-Identifier: MIT */
#ifndef NP_GRID_H
#define NP_GRID_H

#include "output/writer.h"

enum np_tint { NP_PLAIN, NP_DIM, NP_BOLD, NP_RED, NP_GREEN, NP_YELLOW, NP_BLUE, NP_MAGENTA, NP_CYAN };

/* Colour from here on, and its end; nothing on a page without colour. */
void np_tint_begin(struct np_page *, enum np_tint);
void np_tint_end(struct np_page *, enum np_tint);

/* Foreign text, made safe to show on this terminal; NULL for NULL. */
const char *np_safe(struct np_page *, const char *text);
/* One line, as it is: its text is harmless already. */
void np_line(struct np_page *, enum np_tint, const char *text);
/* Text of several lines, each made harmless and indented. */
void np_block(struct np_page *, unsigned indent, const char *text);
/* Harmless text behind `lead` in as many lines as it takes, broken at blanks where the terminal ends, those after the
 * first as far in as `lead` is long, and `hang` more. */
void np_paragraph(struct np_page *, enum np_tint, const char *lead, unsigned hang, const char *text);

/* ---- Rows of cells, columns as wide as what they hold ---- */

enum { NP_MOST_COLUMNS = 10 };

struct np_column {
    const char *title; /* NULL in the first column: no header */
    bool right;        /* numbers */
    bool elastic;      /* text that may be cut when the terminal is narrow */
    bool vital;        /* what the table is read for: cut after the others */
    bool tail;         /* its end says more than its beginning: file:line */
    bool minor;        /* left out, the first of them first, before any text is cut */
    bool folds;        /* the last column: goes on in further lines, and is never cut */
};

struct np_row {
    const char *heading; /* a line before it, or NULL */
    const char *remark;  /* text after it, folded as far in as it begins with blanks, or NULL */
    enum np_tint tint;
    const char *cells[NP_MOST_COLUMNS]; /* harmless already; NULL: nothing to say */
};

struct np_grid {
    struct np_page *page;
    const struct np_column *columns;
    bool once;                                 /* rows that print alike are one */
    size_t n_columns, widths[NP_MOST_COLUMNS]; /* width 0: no row has anything to say there, so it is left out */
    struct np_row *rows;
    size_t n, capacity;
};

struct np_row *np_grid_row(struct np_grid *); /* a new one */
void np_grid_print(struct np_grid *);

/* ---- The longer answers: one file each ---- */

void np_table_check(struct np_page *, const struct nextport_result *);
void np_table_log(struct np_page *, const struct nextport_result *);
void np_table_map(struct np_page *, const struct nextport_result *);

/* A line for each source that was not fully seen: an empty table must not pass for an empty machine. */
void np_table_unseen(struct np_page *, const struct nextport_result *);
/* "iis: configured for Shop, tcp, *:49001, applicationHost.config:12" */
const char *np_claim_text(struct np_page *, const struct nextport_claim *);

#endif
