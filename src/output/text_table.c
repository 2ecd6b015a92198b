/* Writer "table": answers for people, fitted to the terminal. What a script reads is "json".
 * SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "core/evidence.h"
#include "output/writer.h"

#include <inttypes.h>
#include <string.h>

/* ---- The grid: rows of cells, columns as wide as what they hold ------------------------------------------------ */

enum { GAP = 2, NARROWEST = 8, MOST_COLUMNS = 10 };

enum tint { PLAIN, DIM, YELLOW, RED };

static const char *const tints[] = {
    [PLAIN] = NULL,
    [DIM] = "\033[2m",
    [YELLOW] = "\033[33m",
    [RED] = "\033[31m",
};

struct column {
    const char *title; /* NULL in the first column: no header */
    bool right;        /* numbers */
    bool elastic;      /* text that may be cut when the terminal is narrow */
    bool tail;         /* its end says more than its beginning: file:line */
    bool minor;        /* left out, the first of them first, before any text is cut */
};

struct row {
    const char *heading; /* a line before it, or NULL */
    const char *remark;  /* a line after it, or NULL */
    enum tint tint;
    const char *cells[MOST_COLUMNS]; /* harmless already; NULL: nothing to say */
};

struct grid {
    struct np_page *page;
    const struct column *columns;
    size_t n_columns, widths[MOST_COLUMNS]; /* width 0: no row has anything to say there, so it is left out */
    struct row *rows;
    size_t n, capacity;
};

static struct row *add_row(struct grid *grid)
{
    return np_push(grid->page->arena, &grid->rows, &grid->n, &grid->capacity, sizeof *grid->rows);
}

/* Foreign text, made safe to show on this terminal. */
static const char *safe(struct np_page *page, const char *text)
{
    return text ? np_neutral(page->arena, text, !page->style->unicode) : NULL;
}

static void begin_line(struct np_page *page, enum tint tint)
{
    if (page->style->colour && tints[tint])
        np_buf_puts(&page->out, tints[tint]);
}

static void end_line(struct np_page *page, enum tint tint)
{
    np_buf_puts(&page->out, page->style->colour && tints[tint] ? "\033[0m\n" : "\n");
}

static void line(struct np_page *page, enum tint tint, const char *text)
{
    begin_line(page, tint);
    np_buf_puts(&page->out, text);
    end_line(page, tint);
}

static bool has_header(const struct grid *grid)
{
    return grid->columns[0].title != NULL;
}

static void measure(struct grid *grid)
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

static size_t total_width(const struct grid *grid)
{
    size_t total = 0;
    for (size_t c = 0; c < grid->n_columns; c++)
        if (grid->widths[c])
            total += grid->widths[c] + (total ? GAP : 0);
    return total;
}

/* The widest column that may still shrink, or NULL. */
static size_t *widest_elastic(struct grid *grid)
{
    size_t *widest = NULL;
    for (size_t c = 0; c < grid->n_columns; c++)
        if (grid->columns[c].elastic && grid->widths[c] > (widest ? *widest : NARROWEST))
            widest = &grid->widths[c];
    return widest;
}

static bool is_too_wide(const struct grid *grid)
{
    return grid->page->style->columns && total_width(grid) > grid->page->style->columns;
}

static void fit(struct grid *grid)
{
    size_t *widest;
    for (size_t c = 0; c < grid->n_columns && is_too_wide(grid); c++)
        if (grid->columns[c].minor)
            grid->widths[c] = 0;
    while (is_too_wide(grid) && (widest = widest_elastic(grid)))
        --*widest;
}

static void print_row(struct grid *grid, enum tint tint, const char *const *cells)
{
    struct np_page *page = grid->page;
    size_t owed = 0; /* blanks due before the next text, so that none end the line */
    begin_line(page, tint);
    for (size_t c = 0; c < grid->n_columns; c++) {
        const struct column *column = &grid->columns[c];
        size_t width = grid->widths[c];
        if (!width)
            continue;
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
    end_line(page, tint);
}

static void print_grid(struct grid *grid)
{
    const char *titles[MOST_COLUMNS] = {NULL};
    measure(grid);
    fit(grid);
    for (size_t c = 0; c < grid->n_columns; c++)
        titles[c] = grid->columns[c].title;
    if (has_header(grid) && grid->n)
        print_row(grid, DIM, titles);
    for (size_t r = 0; r < grid->n; r++) {
        const struct row *row = &grid->rows[r];
        if (row->heading)
            line(grid->page, DIM, row->heading);
        print_row(grid, row->tint, row->cells);
        if (row->remark)
            line(grid->page, row->tint, row->remark);
    }
}

/* ---- Words ------------------------------------------------------------------------------------------------------ */

static const char *claim_range(struct np_page *page, const struct nextport_claim *claim)
{
    return claim->first ? np_range_text(page->arena, claim->first, claim->last) : "?";
}

/* "applicationHost.config:12", or NULL when no file says it. */
static const char *claim_place(struct np_page *page, const struct nextport_claim *claim)
{
    if (!claim->file || !claim->line)
        return safe(page, claim->file);
    return safe(page, np_sprintf(page->arena, "%s:%u", claim->file, claim->line));
}

static const char *process_text(struct np_page *page, const struct nextport_claim *claim)
{
    return claim->pid ? np_sprintf(page->arena, "pid %" PRId64, claim->pid) : NULL;
}

static const char *count_text(struct np_page *page, uint64_t count)
{
    return count > 1 ? np_sprintf(page->arena, "%" PRIu64, count) : NULL;
}

static const char *expiry(struct np_page *page, const struct nextport_lease *lease)
{
    return lease->expires ? np_time_text(page->arena, lease->expires) : NULL;
}

static bool doubtful(const struct nextport_claim *claim)
{
    return claim->kind == NEXTPORT_SUSPECT || claim->certainty == NEXTPORT_UNRESOLVED;
}

static const char *pool_text(struct np_page *page, const struct nextport_result *res)
{
    struct np_buf text = {.arena = page->arena};
    np_buf_puts(&text, "");
    for (size_t i = 0; i < res->n_pool; i++)
        np_buf_printf(&text, "%s%s", i ? "," : "", np_range_text(page->arena, res->pool[i].first, res->pool[i].last));
    return text.ptr;
}

/* A line for each source that was not fully seen: an empty table must not pass for an empty machine. */
/* The log says why a required source was not seen: that is what the answer failed by. */
static void print_unseen(struct np_page *page, const struct nextport_result *res)
{
    for (size_t i = 0; i < res->n_sources; i++) {
        const struct nextport_sighting *s = &res->sources[i];
        bool required = s->policy == NEXTPORT_REQUIRE;
        if (np_unseen(s))
            line(page, required ? RED : YELLOW,
                 safe(page,
                      np_sprintf(page->arena, "not fully seen: %s (%s)%s%s%s%s", s->source, np_sight_name(s->sight),
                                 !required && s->why ? ": " : "", !required && s->why ? s->why : "",
                                 !required && s->hint ? "; " : "", !required && s->hint ? s->hint : "")));
    }
}

/* ---- used, free ------------------------------------------------------------------------------------------------- */

static void write_used(struct np_page *page, const struct nextport_result *res)
{
    enum { PORT, ADDRESS, PROTOCOL, KIND, SOURCE, HOLDER, PROCESS, COUNT, DETAIL, PLACE, N };
    static const struct column columns[N] = {
        [PORT] = {.title = "PORT"},
        [ADDRESS] = {.title = "ADDRESS", .minor = true},
        [PROTOCOL] = {.title = "PROTO", .minor = true},
        [KIND] = {.title = "KIND"},
        [SOURCE] = {.title = "SOURCE"},
        [HOLDER] = {.title = "HOLDER", .elastic = true},
        [PROCESS] = {.title = "PROCESS", .minor = true},
        [COUNT] = {.title = "COUNT", .right = true},
        [DETAIL] = {.title = "DETAIL", .elastic = true},
        [PLACE] = {.title = "PLACE", .elastic = true, .tail = true},
    };
    struct grid grid = {.page = page, .columns = columns, .n_columns = N};
    for (size_t i = 0; i < res->n_claims; i++) {
        const struct nextport_claim *claim = &res->claims[i];
        struct row *row = add_row(&grid);
        row->tint = doubtful(claim) ? YELLOW : PLAIN;
        row->cells[PORT] = claim_range(page, claim);
        row->cells[ADDRESS] = safe(page, claim->address);
        row->cells[PROTOCOL] = np_protocol_name(claim->protocol);
        row->cells[KIND] = claim->transient ? "transient" : np_kind_name(claim->kind);
        row->cells[SOURCE] = claim->source;
        row->cells[HOLDER] = safe(page, claim->holder);
        row->cells[PROCESS] = process_text(page, claim);
        row->cells[COUNT] = count_text(page, claim->count);
        row->cells[DETAIL] = safe(page, claim->detail);
        row->cells[PLACE] = claim_place(page, claim);
    }
    print_grid(&grid);
    if (!res->n_claims)
        line(page, PLAIN, "no port is taken");
    print_unseen(page, res);
}

static uint64_t pool_size(const struct nextport_result *res)
{
    uint64_t n = 0;
    for (size_t i = 0; i < res->n_pool; i++)
        n += (uint64_t)(res->pool[i].last - res->pool[i].first) + 1;
    return n;
}

static void write_free(struct np_page *page, const struct nextport_result *res)
{
    static const struct column columns[] = {{.title = "FREE"}, {.title = "COUNT", .right = true}};
    struct grid grid = {.page = page, .columns = columns, .n_columns = 2};
    for (size_t i = 0; i < res->n_free; i++) {
        const struct nextport_range *range = &res->free[i];
        struct row *row = add_row(&grid);
        row->cells[0] = np_range_text(page->arena, range->first, range->last);
        row->cells[1] = np_sprintf(page->arena, "%d", range->last - range->first + 1);
    }
    print_grid(&grid);
    line(page, PLAIN,
         np_sprintf(page->arena, "%" PRIu64 " of %" PRIu64 " ports are free in %s", res->free_count, pool_size(res),
                    pool_text(page, res)));
    print_unseen(page, res);
}

/* ---- why -------------------------------------------------------------------------------------------------------- */

/* How a kind of claim takes a port, with and without a holder, and what would have to change. */
static const struct words {
    const char *alone, *of_holder, *change;
} words[] = {
    [NEXTPORT_SOCKET] = {"in use", "in use by", "stop the program, or let it use another port"},
    [NEXTPORT_CONFIGURED] = {"configured", "configured for",
                             "change or remove the setting; stopping the site is not enough"},
    [NEXTPORT_PUBLISHED] = {"published", "published for", "end the publishing of this port"},
    [NEXTPORT_RESERVED] = {"reserved", "reserved for", "end the reservation"},
    [NEXTPORT_LEASED] = {"leased", "leased to", "release the lease: nextport release"},
    [NEXTPORT_SUSPECT] = {"named by a malformed setting", "named by a malformed setting of", "mend the setting"},
};
static const struct words passing = {"in use by a connection that will pass", "in use by a passing connection of",
                                     "wait until the connection has passed"};

static const struct words *claim_words(const struct nextport_claim *claim)
{
    return claim->transient ? &passing : &words[claim->kind];
}

static void add_part(struct np_buf *text, const char *part)
{
    if (part && *part)
        np_buf_printf(text, ", %s", part);
}

/* The lease itself says more than the claim it makes. */
static bool told_as_lease(const struct nextport_result *res, const struct nextport_claim *claim)
{
    return claim->kind == NEXTPORT_LEASED && res->n_leases;
}

static void print_reason(struct np_page *page, const struct nextport_claim *claim)
{
    struct np_buf text = {.arena = page->arena};
    const struct words *w = claim_words(claim);
    np_buf_printf(&text, "  %s: %s", claim->source, claim->holder ? w->of_holder : w->alone);
    if (claim->holder)
        np_buf_printf(&text, " %s", safe(page, claim->holder));
    if (claim->certainty != NEXTPORT_DECLARED)
        add_part(&text, np_certainty_name(claim->certainty));
    add_part(&text, np_protocol_name(claim->protocol));
    add_part(&text, safe(page, claim->address));
    add_part(&text, safe(page, claim->detail));
    add_part(&text, process_text(page, claim));
    if (claim->count > 1)
        np_buf_printf(&text, ", %" PRIu64 " times", claim->count);
    add_part(&text, claim_place(page, claim));
    line(page, doubtful(claim) ? YELLOW : PLAIN, text.ptr);
}

static void print_lease(struct np_page *page, const struct nextport_result *res)
{
    const struct nextport_lease *lease = res->n_leases ? &res->leases[0] : NULL;
    struct np_buf text = {.arena = page->arena};
    if (!lease)
        return;
    np_buf_printf(&text, "  ledger: lease %" PRId64 ", %s", lease->id, np_state_name(lease->state));
    if (lease->name)
        np_buf_printf(&text, ", for %s", safe(page, lease->name));
    if (lease->owner)
        np_buf_printf(&text, " of %s", safe(page, lease->owner));
    if (lease->expires)
        np_buf_printf(&text, ", until %s UTC", expiry(page, lease));
    line(page, PLAIN, text.ptr);
}

static void print_probe(struct np_page *page, const struct nextport_result *res)
{
    static const char *const texts[] = {
        [NEXTPORT_PROBE_NONE] = NULL,
        [NEXTPORT_PROBE_FREE] = "  probe: it can be bound",
        [NEXTPORT_PROBE_TAKEN] = "  probe: it cannot be bound, somebody has it",
        [NEXTPORT_PROBE_DENIED] = "  probe: this user may not bind it",
        [NEXTPORT_PROBE_REFUSED] = "  probe: the system refuses it: an excluded range, HTTP.sys, or an exclusive owner",
    };
    if (texts[res->probe])
        line(page, PLAIN, texts[res->probe]);
}

/* One line for each thing to do; equal ones once. */
static void print_change(struct np_page *page, const char *change, const char **done, size_t *n_done)
{
    for (size_t i = 0; i < *n_done; i++)
        if (strcmp(done[i], change) == 0)
            return;
    if (!*n_done)
        line(page, PLAIN, "to make it free:");
    done[(*n_done)++] = change;
    line(page, PLAIN, np_sprintf(page->arena, "  %s", change));
}

static void print_changes(struct np_page *page, const struct nextport_result *res)
{
    const char **done = np_alloc_array(page->arena, res->n_claims + 2, sizeof *done);
    size_t n_done = 0;
    for (size_t i = 0; i < res->n_claims; i++)
        if (!told_as_lease(res, &res->claims[i]))
            print_change(page, claim_words(&res->claims[i])->change, done, &n_done);
    if (res->n_leases)
        print_change(page, np_sprintf(page->arena, "release the lease: nextport release %u", res->port), done, &n_done);
    if (!n_done && res->probe == NEXTPORT_PROBE_TAKEN)
        print_change(page, "find who has it: run this again with full rights", done, &n_done);
    if (!n_done && res->probe == NEXTPORT_PROBE_REFUSED)
        print_change(page,
                     "find who keeps it: netsh int ipv4 show excludedportrange protocol=tcp; netsh http show "
                     "servicestate",
                     done, &n_done);
    if (!n_done && res->probe == NEXTPORT_PROBE_DENIED)
        print_change(page, "run as a user who may bind it, or choose a higher port", done, &n_done);
}

static const char *verdict(const struct nextport_result *res)
{
    if (res->is_free)
        return "is free";
    return res->n_claims || res->probe > NEXTPORT_PROBE_FREE
               ? "is taken"
               : "cannot be called free: nothing that was seen has it, but not everything was seen";
}

static void write_why(struct np_page *page, const struct nextport_result *res)
{
    line(page, PLAIN, np_sprintf(page->arena, "port %u %s", res->port, verdict(res)));
    for (size_t i = 0; i < res->n_claims; i++)
        if (!told_as_lease(res, &res->claims[i]))
            print_reason(page, &res->claims[i]);
    print_lease(page, res);
    print_probe(page, res);
    if (!res->is_free)
        print_changes(page, res);
    print_unseen(page, res);
}

/* ---- leases, release, sweep ------------------------------------------------------------------------------------- */

static void write_leases(struct np_page *page, const struct nextport_result *res)
{
    enum { PORT, PROTOCOL, NAME, OWNER, DEPLOYMENT, STATE, HOLDER, ID, CREATED, EXPIRES, N };
    static const struct column columns[N] = {
        [PORT] = {.title = "PORT"},
        [PROTOCOL] = {.title = "PROTO"},
        [NAME] = {.title = "NAME", .elastic = true},
        [OWNER] = {.title = "OWNER", .elastic = true},
        [DEPLOYMENT] = {.title = "DEPLOYMENT", .elastic = true},
        [STATE] = {.title = "STATE"},
        [HOLDER] = {.title = "HOLDER", .elastic = true},
        [ID] = {.title = "ID", .right = true},
        [CREATED] = {.title = "CREATED (UTC)"},
        [EXPIRES] = {.title = "EXPIRES (UTC)"},
    };
    struct grid grid = {.page = page, .columns = columns, .n_columns = N};
    for (size_t i = 0; i < res->n_leases; i++) {
        const struct nextport_lease *lease = &res->leases[i];
        struct row *row = add_row(&grid);
        row->cells[PORT] = np_range_text(page->arena, lease->port, lease->port);
        row->cells[PROTOCOL] = np_protocol_name(lease->protocol);
        row->cells[NAME] = safe(page, lease->name);
        row->cells[OWNER] = safe(page, lease->owner);
        row->cells[DEPLOYMENT] = safe(page, lease->deployment);
        row->cells[STATE] = np_state_name(lease->state);
        row->cells[HOLDER] = safe(page, lease->holder);
        row->cells[ID] = np_sprintf(page->arena, "%" PRId64, lease->id);
        row->cells[CREATED] = np_time_text(page->arena, lease->created);
        row->cells[EXPIRES] = expiry(page, lease);
    }
    print_grid(&grid);
    if (!res->n_leases)
        line(page, PLAIN, "no leases");
}

static void print_ended(struct np_page *page, const struct nextport_result *res, const char *how)
{
    for (size_t i = 0; i < res->n_leases; i++) {
        const struct nextport_lease *lease = &res->leases[i];
        line(page, PLAIN,
             np_sprintf(page->arena, "%s port %u (lease %" PRId64 ", %s, for %s)", how, lease->port, lease->id,
                        np_state_name(lease->state), lease->name ? safe(page, lease->name) : "nobody"));
    }
}

static void write_release(struct np_page *page, const struct nextport_result *res)
{
    print_ended(page, res, "released");
    if (!res->n_leases)
        line(page, PLAIN, "no lease to release");
}

/* It runs from timers, whose mails nobody should have to read: quiet, it says what it did or nothing. */
static void write_sweep(struct np_page *page, const struct nextport_result *res)
{
    print_ended(page, res, "expired");
    if (res->n_confirmed)
        line(page, PLAIN,
             np_sprintf(page->arena, "%" PRIu64 " lease%s seen in use and confirmed", res->n_confirmed,
                        res->n_confirmed == 1 ? " was" : "s were"));
    if (page->style->verbosity < 0)
        return;
    if (!res->changed)
        line(page, PLAIN, "nothing had to be done");
    print_unseen(page, res);
}

/* ---- doctor, setup, config -------------------------------------------------------------------------------------- */

static const struct {
    const char *mark;
    enum tint tint;
} healths[] = {
    [NEXTPORT_GOOD] = {"ok", PLAIN},
    [NEXTPORT_NOTICE] = {"note", YELLOW},
    [NEXTPORT_BAD] = {"BAD", RED},
};

/* Text of several lines, each made harmless. */
static void print_raw(struct np_page *page, const char *raw)
{
    struct np_text rest = np_text_of(raw), part;
    while (np_text_split(&rest, '\n', &part))
        if (part.len || rest.ptr)
            line(page, PLAIN, safe(page, np_text_dup(page->arena, part)));
}

static bool begins_section(const struct nextport_result *res, size_t i)
{
    return i == 0 || strcmp(res->items[i].section, res->items[i - 1].section) != 0;
}

static void write_items(struct np_page *page, const struct nextport_result *res)
{
    static const struct column columns[] = {{.title = NULL}, {.title = NULL}, {.title = NULL}};
    struct grid grid = {.page = page, .columns = columns, .n_columns = 3};
    for (size_t i = 0; i < res->n_items; i++) {
        const struct nextport_item *item = &res->items[i];
        struct row *row = add_row(&grid);
        row->heading = begins_section(res, i) ? safe(page, item->section) : NULL;
        row->tint = healths[item->health].tint;
        row->cells[0] = np_sprintf(page->arena, "  %s", healths[item->health].mark);
        row->cells[1] = safe(page, item->name);
        row->cells[2] = safe(page, item->value);
        if (item->advice)
            row->remark = np_sprintf(page->arena, "        %s", safe(page, item->advice));
    }
    print_grid(&grid);
    if (res->raw)
        print_raw(page, res->raw);
}

static void write_setup(struct np_page *page, const struct nextport_result *res)
{
    write_items(page, res);
    if (!res->changed)
        line(page, PLAIN, "nothing had to be changed");
}

static void write_config(struct np_page *page, const struct nextport_result *res)
{
    static const struct column columns[] = {
        {.title = "SETTING"},
        {.title = "VALUE", .elastic = true},
        {.title = "ORIGIN", .elastic = true, .tail = true},
    };
    struct grid grid = {.page = page, .columns = columns, .n_columns = 3};
    for (size_t i = 0; i < res->n_items; i++) {
        const struct nextport_item *item = &res->items[i];
        struct row *row = add_row(&grid);
        row->tint = healths[item->health].tint;
        row->cells[0] = safe(page, np_sprintf(page->arena, "%s.%s", item->section, item->name));
        row->cells[1] = safe(page, item->value);
        row->cells[2] = safe(page, item->origin);
        row->remark = item->advice ? np_sprintf(page->arena, "  %s", safe(page, item->advice)) : NULL;
    }
    print_grid(&grid);
}

/* ---- The writer ------------------------------------------------------------------------------------------------- */

static void (*const bodies[])(struct np_page *, const struct nextport_result *) = {
    [NEXTPORT_ANSWER_NEXT] = NULL,           [NEXTPORT_ANSWER_USED] = write_used,
    [NEXTPORT_ANSWER_FREE] = write_free,     [NEXTPORT_ANSWER_WHY] = write_why,
    [NEXTPORT_ANSWER_LEASES] = write_leases, [NEXTPORT_ANSWER_RELEASE] = write_release,
    [NEXTPORT_ANSWER_DOCTOR] = write_items,  [NEXTPORT_ANSWER_SETUP] = write_setup,
    [NEXTPORT_ANSWER_CONFIG] = write_config, [NEXTPORT_ANSWER_SWEEP] = write_sweep,
};

static void write_table(struct np_page *page, const struct nextport_result *res)
{
    if (bodies[res->what])
        bodies[res->what](page, res);
    np_log_result(page, res);
}

/* What was seen is shown all the same; the error then says why it is not the whole. */
static void fail_table(struct np_page *page, const struct nextport_error *err, const struct nextport_result *partial)
{
    if (partial)
        write_table(page, partial);
    np_log_failure(&page->log, !page->style->unicode, err);
}

const struct np_writer np_writer_table = {
    .name = "table",
    .about = "a table for people, fitted to the terminal",
    .answers = NP_ANSWER(NEXTPORT_ANSWER_USED) | NP_ANSWER(NEXTPORT_ANSWER_FREE) | NP_ANSWER(NEXTPORT_ANSWER_WHY) |
               NP_ANSWER(NEXTPORT_ANSWER_LEASES) | NP_ANSWER(NEXTPORT_ANSWER_RELEASE) |
               NP_ANSWER(NEXTPORT_ANSWER_DOCTOR) | NP_ANSWER(NEXTPORT_ANSWER_SETUP) |
               NP_ANSWER(NEXTPORT_ANSWER_CONFIG) | NP_ANSWER(NEXTPORT_ANSWER_SWEEP),
    .write = write_table,
    .fail = fail_table,
};
