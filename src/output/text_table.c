/* Writer "table": answers for people, fitted to the terminal. What a script reads is "json".
 * SPDX-License-Identifier: MIT */
#include "base/map.h"
#include "base/text.h"
#include "core/evidence.h"
#include "output/grid.h"

#include <inttypes.h>
#include <string.h>

/* ---- Words ------------------------------------------------------------------------------------------------------ */

static const char *claim_range(struct np_page *page, const struct nextport_claim *claim)
{
    return claim->first ? np_range_text(page->arena, claim->first, claim->last) : "?";
}

/* "applicationHost.config:12", or NULL when no file says it. */
static const char *claim_place(struct np_page *page, const struct nextport_claim *claim)
{
    if (!claim->file || !claim->line)
        return np_safe(page, claim->file);
    return np_safe(page, np_sprintf(page->arena, "%s:%u", claim->file, claim->line));
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

static bool is_doubtful(const struct nextport_claim *claim)
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

/* The log says why a required source was not seen: that is what the answer failed by. */
void np_table_unseen(struct np_page *page, const struct nextport_result *res)
{
    for (size_t i = 0; i < res->n_sources; i++) {
        const struct nextport_sighting *s = &res->sources[i];
        bool required = s->policy == NEXTPORT_REQUIRE;
        if (np_unseen(s))
            np_paragraph(page, required ? NP_RED : NP_YELLOW, "", 2,
                         np_safe(page, np_sprintf(page->arena, "not fully seen: %s (%s)%s%s%s%s", s->source,
                                                  np_sight_name(s->sight), !required && s->why ? ": " : "",
                                                  !required && s->why ? s->why : "", !required && s->hint ? "; " : "",
                                                  !required && s->hint ? s->hint : "")));
    }
}

static bool all_seen(const struct nextport_result *res)
{
    for (size_t i = 0; i < res->n_sources; i++)
        if (np_unseen(&res->sources[i]))
            return false;
    return true;
}

/* ---- used, free ------------------------------------------------------------------------------------------------- */

static void write_used(struct np_page *page, const struct nextport_result *res)
{
    enum { PORT, ADDRESS, PROTOCOL, KIND, SOURCE, HOLDER, PROCESS, COUNT, DETAIL, PLACE, N };
    static const struct np_column columns[N] = {
        [PORT] = {.title = "PORT"},
        [ADDRESS] = {.title = "ADDRESS", .minor = true},
        [PROTOCOL] = {.title = "PROTO"},
        [KIND] = {.title = "KIND"},
        [SOURCE] = {.title = "SOURCE"},
        [HOLDER] = {.title = "HOLDER", .elastic = true},
        [PROCESS] = {.title = "PROCESS", .minor = true},
        [COUNT] = {.title = "COUNT", .right = true},
        [DETAIL] = {.title = "DETAIL", .elastic = true},
        [PLACE] = {.title = "PLACE", .elastic = true, .tail = true},
    };
    struct np_grid grid = {.page = page, .columns = columns, .n_columns = N, .once = true};
    for (size_t i = 0; i < res->n_claims; i++) {
        const struct nextport_claim *claim = &res->claims[i];
        struct np_row *row = np_grid_row(&grid);
        row->tint = is_doubtful(claim) ? NP_YELLOW : NP_PLAIN;
        row->cells[PORT] = claim_range(page, claim);
        row->cells[ADDRESS] = np_safe(page, claim->address);
        row->cells[PROTOCOL] = np_protocol_name(claim->protocol);
        row->cells[KIND] = claim->transient ? "transient" : np_kind_name(claim->kind);
        row->cells[SOURCE] = claim->source;
        row->cells[HOLDER] = np_safe(page, claim->holder);
        row->cells[PROCESS] = process_text(page, claim);
        row->cells[COUNT] = count_text(page, claim->count);
        row->cells[DETAIL] = np_safe(page, claim->detail);
        row->cells[PLACE] = claim_place(page, claim);
    }
    np_grid_print(&grid);
    if (!res->n_claims)
        np_line(page, NP_PLAIN, all_seen(res) ? "no port is taken" : "no port is taken, as far as could be seen");
    np_table_unseen(page, res);
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
    static const struct np_column columns[] = {{.title = "FREE"}, {.title = "COUNT", .right = true}};
    struct np_grid grid = {.page = page, .columns = columns, .n_columns = 2};
    for (size_t i = 0; i < res->n_free; i++) {
        const struct nextport_range *range = &res->free[i];
        struct np_row *row = np_grid_row(&grid);
        row->cells[0] = np_range_text(page->arena, range->first, range->last);
        row->cells[1] = np_sprintf(page->arena, "%d", range->last - range->first + 1);
    }
    np_grid_print(&grid);
    np_line(page, NP_PLAIN,
            np_sprintf(page->arena, "%" PRIu64 " of %" PRIu64 " ports are free in %s%s", res->free_count,
                       pool_size(res), pool_text(page, res), all_seen(res) ? "" : ", as far as could be seen"));
    np_table_unseen(page, res);
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
    [NEXTPORT_LEASED] = {"leased", "leased to", NULL},
    [NEXTPORT_SUSPECT] = {"named by a malformed setting", "named by a malformed setting of", "mend the setting"},
};
static const struct words passing = {"in use by a connection that will pass", "in use by a passing connection of",
                                     "wait until the connection has passed"};

static const struct words avoided = {"not given", "not given:", "leave it out of pool.avoid (--avoid)"};

/* What a request would rather not have, which nobody has. */
static bool is_avoidance(const struct nextport_claim *claim)
{
    return claim->kind == NEXTPORT_RESERVED && strcmp(claim->source, "avoid") == 0;
}

static const struct words *claim_words(const struct nextport_claim *claim)
{
    return claim->transient ? &passing : is_avoidance(claim) ? &avoided : &words[claim->kind];
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

const char *np_claim_text(struct np_page *page, const struct nextport_claim *claim)
{
    struct np_buf text = {.arena = page->arena};
    const struct words *w = claim_words(claim);
    np_buf_printf(&text, "%s: %s", claim->source, claim->holder ? w->of_holder : w->alone);
    if (claim->holder)
        np_buf_printf(&text, " %s", np_safe(page, claim->holder));
    if (claim->certainty != NEXTPORT_DECLARED)
        add_part(&text, np_certainty_name(claim->certainty));
    if (!is_avoidance(claim))
        add_part(&text, np_protocol_name(claim->protocol));
    add_part(&text, np_safe(page, claim->address));
    if (claim->host && !(claim->detail && strstr(claim->detail, claim->host)))
        add_part(&text, np_safe(page, claim->host));
    add_part(&text, np_safe(page, claim->detail));
    add_part(&text, process_text(page, claim));
    if (claim->count > 1)
        np_buf_printf(&text, ", %" PRIu64 " times", claim->count);
    add_part(&text, claim_place(page, claim));
    return text.ptr;
}

/* May the claim be about any port, or none? Then it is no reason, and may be one. */
static bool is_perhaps(const struct nextport_claim *claim)
{
    return !claim->first || claim->certainty == NEXTPORT_UNRESOLVED;
}

/* Each text once: several rows of one setting differ in what no line says. */
static void print_reasons(struct np_page *page, const struct nextport_result *res, bool perhaps)
{
    struct np_map told = {.arena = page->arena};
    for (size_t i = 0; i < res->n_claims; i++) {
        const struct nextport_claim *claim = &res->claims[i];
        if (told_as_lease(res, claim) || is_perhaps(claim) != perhaps)
            continue;
        char *text = np_sprintf(page->arena, "%s%s", perhaps ? "perhaps " : "", np_claim_text(page, claim));
        void **seen = np_map_at(&told, text);
        if (!*seen)
            np_paragraph(page, is_doubtful(claim) ? NP_YELLOW : NP_PLAIN, "  ", 2, text);
        *seen = text;
    }
}

/* Who has a lease, or lives with it. */
static const char *lease_holder(struct np_page *page, const struct nextport_lease *lease)
{
    if (lease->holder || !lease->process)
        return np_safe(page, lease->holder);
    struct np_text rest = np_text_of(lease->process), pid;
    np_text_split(&rest, ' ', &pid);
    return np_safe(page, np_sprintf(page->arena, "process %s", np_text_dup(page->arena, pid)));
}

static void print_lease(struct np_page *page, const struct nextport_result *res)
{
    const struct nextport_lease *lease = res->n_leases ? &res->leases[0] : NULL;
    struct np_buf text = {.arena = page->arena};
    if (!lease)
        return;
    np_buf_printf(&text, "ledger: lease %" PRId64 ", %s", lease->id, np_state_name(lease->state));
    if (lease->name)
        np_buf_printf(&text, ", for %s", np_safe(page, lease->name));
    if (lease->owner)
        np_buf_printf(&text, " of %s", np_safe(page, lease->owner));
    if (lease->deployment)
        np_buf_printf(&text, ", deployment %s", np_safe(page, lease->deployment));
    if (lease->created)
        np_buf_printf(&text, ", since %s UTC", np_time_text(page->arena, lease->created));
    if (lease->expires)
        np_buf_printf(&text, ", until %s UTC", expiry(page, lease));
    if (lease->holder || lease->process)
        np_buf_printf(&text, ", %s %s", lease->state == NEXTPORT_CONFIRMED ? "used by" : "last used by",
                      lease_holder(page, lease));
    np_paragraph(page, NP_PLAIN, "  ", 2, text.ptr);
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
        np_line(page, NP_PLAIN, texts[res->probe]);
}

/* One line for each thing to do; equal ones once. */
static void print_change(struct np_page *page, const char *change, const char **done, size_t *n_done)
{
    for (size_t i = 0; i < *n_done; i++)
        if (strcmp(done[i], change) == 0)
            return;
    if (!*n_done)
        np_line(page, NP_PLAIN, "to make it free:");
    done[(*n_done)++] = change;
    np_paragraph(page, NP_PLAIN, "  ", 2, change);
}

/* The claim of a lease is one of another ledger: this one's is told as a lease. */
static const char *change_of(struct np_page *page, const struct nextport_result *res,
                             const struct nextport_claim *claim)
{
    static const char *const engines[] = {"docker", "podman"};
    const char *change = claim_words(claim)->change;
    for (size_t i = 0; i < sizeof engines / sizeof *engines && claim->holder; i++)
        if (claim->kind == NEXTPORT_PUBLISHED && strcmp(claim->source, engines[i]) == 0)
            return np_sprintf(page->arena, "remove the container, stopped or not: %s rm %s", engines[i],
                              np_safe(page, claim->holder));
    if (change)
        return change;
    return np_sprintf(page->arena, "release its lease: nextport release %u%s%s", res->port,
                      claim->file ? " --ledger " : "", claim->file ? np_safe(page, claim->file) : "");
}

static void print_changes(struct np_page *page, const struct nextport_result *res)
{
    const char **done = np_alloc_array(page->arena, res->n_claims + 2, sizeof *done);
    size_t n_done = 0;
    for (size_t i = 0; i < res->n_claims; i++)
        if (!told_as_lease(res, &res->claims[i]) && np_claim_blocks(&res->claims[i], res->protocol))
            print_change(page, change_of(page, res, &res->claims[i]), done, &n_done);
    if (res->n_leases && res->leases[0].state == NEXTPORT_RESTING)
        print_change(page, "wait until it has rested: it was given back", done, &n_done);
    else if (res->n_leases)
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
    size_t blocking = 0, avoidances = 0;
    if (res->is_free)
        return all_seen(res) ? "is free" : "is free, as far as could be seen";
    for (size_t i = 0; i < res->n_claims; i++) {
        const bool blocks = np_claim_blocks(&res->claims[i], res->protocol);
        blocking += blocks;
        avoidances += blocks && is_avoidance(&res->claims[i]);
    }
    if (blocking && blocking == avoidances && res->probe <= NEXTPORT_PROBE_FREE)
        return "is avoided";
    return blocking || res->probe > NEXTPORT_PROBE_FREE
               ? "is taken"
               : "cannot be called free: nothing that was seen has it, but not everything was seen";
}

static void write_why(struct np_page *page, const struct nextport_result *res)
{
    np_line(page, NP_PLAIN, np_sprintf(page->arena, "port %u %s", res->port, verdict(res)));
    print_reasons(page, res, false);
    print_lease(page, res);
    print_probe(page, res);
    print_reasons(page, res, true);
    if (!res->is_free)
        print_changes(page, res);
    np_table_unseen(page, res);
}

/* ---- leases ----------------------------------------------------------------------------------------------------- */

static void print_leases(struct np_page *page, const struct nextport_result *res)
{
    enum { OWNER, PORT, NAME, DEPLOYMENT, STATE, HOLDER, EXPIRES, CREATED, PROTOCOL, ID, N };
    static const struct np_column columns[N] = {
        [OWNER] = {.title = "OWNER", .elastic = true, .vital = true},
        [PORT] = {.title = "PORT"},
        [NAME] = {.title = "NAME", .elastic = true},
        [DEPLOYMENT] = {.title = "DEPLOYMENT", .elastic = true, .tail = true},
        [STATE] = {.title = "STATE"},
        [HOLDER] = {.title = "HOLDER", .elastic = true},
        [EXPIRES] = {.title = "EXPIRES (UTC)"},
        [CREATED] = {.title = "CREATED (UTC)", .minor = true},
        [PROTOCOL] = {.title = "PROTO", .minor = true},
        [ID] = {.title = "ID", .right = true, .minor = true},
    };
    static const enum np_tint tints[] = {
        [NEXTPORT_PENDING] = NP_PLAIN,
        [NEXTPORT_CONFIRMED] = NP_PLAIN,
        [NEXTPORT_UNSEEN] = NP_YELLOW,
        [NEXTPORT_RESTING] = NP_DIM,
    };
    struct np_grid grid = {.page = page, .columns = columns, .n_columns = N};
    for (size_t i = 0; i < res->n_leases; i++) {
        const struct nextport_lease *lease = &res->leases[i];
        struct np_row *row = np_grid_row(&grid);
        row->tint = tints[lease->state];
        row->cells[OWNER] = np_safe(page, lease->owner);
        row->cells[PORT] = np_range_text(page->arena, lease->port, lease->port);
        row->cells[NAME] = np_safe(page, lease->name);
        row->cells[DEPLOYMENT] = np_safe(page, lease->deployment);
        row->cells[STATE] = np_state_name(lease->state);
        row->cells[HOLDER] = lease_holder(page, lease);
        row->cells[EXPIRES] = expiry(page, lease);
        row->cells[CREATED] = lease->id && lease->created ? np_time_text(page->arena, lease->created) : NULL;
        row->cells[PROTOCOL] = np_protocol_name(lease->protocol);
        row->cells[ID] = lease->id ? np_sprintf(page->arena, "%" PRId64, lease->id) : NULL;
    }
    np_grid_print(&grid);
}

static void write_leases(struct np_page *page, const struct nextport_result *res)
{
    print_leases(page, res);
    if (!res->n_leases)
        np_line(page, NP_PLAIN, "no leases");
}

static void print_ended(struct np_page *page, const struct nextport_result *res, const char *how)
{
    for (size_t i = 0; i < res->n_leases; i++) {
        const struct nextport_lease *lease = &res->leases[i];
        np_line(page, NP_PLAIN,
                np_sprintf(page->arena, "%s port %u (lease %" PRId64 ", %s, for %s%s%s)", how, lease->port, lease->id,
                           np_state_name(lease->state), lease->name ? np_safe(page, lease->name) : "nobody",
                           lease->owner ? " of " : "", lease->owner ? np_safe(page, lease->owner) : ""));
    }
}

/* ---- adopt, assign, import -------------------------------------------------------------------------------------- */

/* What was leased, or would be, and how to have it done. */
static void print_leased(struct np_page *page, const struct nextport_result *res, const char *nothing, const char *how)
{
    print_leases(page, res);
    if (!res->n_leases)
        np_line(page, NP_PLAIN, nothing);
    else if (res->dry_run)
        np_line(page, NP_PLAIN,
                np_sprintf(page->arena, "%zu port%s would be leased; %s", res->n_leases, res->n_leases == 1 ? "" : "s",
                           how));
}

static void write_adopt(struct np_page *page, const struct nextport_result *res)
{
    print_leased(page, res, "nothing to adopt: no port of the pool is configured that is not leased",
                 "the same with --apply leases them");
    np_table_unseen(page, res);
}

static void write_assign(struct np_page *page, const struct nextport_result *res)
{
    print_leased(page, res, "nothing was leased", "without --dry-run it is");
    np_table_unseen(page, res);
}

static void write_import(struct np_page *page, const struct nextport_result *res)
{
    print_leased(page, res, "nothing to import: every lease is here already", "without --dry-run they are");
}

/* ---- release, sweep --------------------------------------------------------------------------------------------- */

static void write_release(struct np_page *page, const struct nextport_result *res)
{
    print_ended(page, res, "released");
    if (!res->n_leases)
        np_line(page, NP_PLAIN, "no lease to release");
}

static void print_moved_on(struct np_page *page, uint64_t n, const char *one, const char *many)
{
    if (n)
        np_line(
            page, NP_PLAIN,
            np_sprintf(page->arena, "%s %s", np_count_text(page->arena, n, "lease", "leases"), n == 1 ? one : many));
}

/* It runs from timers, whose mails nobody should have to read: quiet, it says what it did or nothing. */
static void write_sweep(struct np_page *page, const struct nextport_result *res)
{
    print_ended(page, res, "expired");
    print_moved_on(page, res->n_confirmed, "was seen in use and confirmed", "were seen in use and confirmed");
    print_moved_on(page, res->n_absent, "is no longer seen in use and absent now",
                   "are no longer seen in use and absent now");
    print_moved_on(page, res->n_resting, "rests: its process has ended", "rest: their processes have ended");
    if (page->style->verbosity < 0)
        return;
    if (!res->changed)
        np_line(page, NP_PLAIN, "nothing had to be done");
    else if (!res->n_leases && !res->n_confirmed && !res->n_absent && !res->n_resting)
        np_line(page, NP_PLAIN, "no lease is in another state than before: looks were counted, or times set right");
    np_table_unseen(page, res);
}

/* ---- doctor, setup, config -------------------------------------------------------------------------------------- */

static const struct {
    const char *mark;
    enum np_tint tint;
} healths[] = {
    [NEXTPORT_GOOD] = {"ok", NP_PLAIN},
    [NEXTPORT_NOTICE] = {"note", NP_YELLOW},
    [NEXTPORT_BAD] = {"BAD", NP_RED},
};

static bool begins_section(const struct nextport_result *res, size_t i)
{
    return i == 0 || strcmp(res->items[i].section, res->items[i - 1].section) != 0;
}

static void write_items(struct np_page *page, const struct nextport_result *res)
{
    static const struct np_column columns[] = {{.title = NULL}, {.title = NULL}, {.title = NULL, .folds = true}};
    struct np_grid grid = {.page = page, .columns = columns, .n_columns = 3};
    for (size_t i = 0; i < res->n_items; i++) {
        const struct nextport_item *item = &res->items[i];
        struct np_row *row = np_grid_row(&grid);
        row->heading = begins_section(res, i) ? np_safe(page, item->section) : NULL;
        row->tint = healths[item->health].tint;
        row->cells[0] = np_sprintf(page->arena, "  %s", healths[item->health].mark);
        row->cells[1] = np_safe(page, item->name);
        row->cells[2] = np_safe(page, item->value);
        if (item->advice)
            row->remark = np_sprintf(page->arena, "        %s", np_safe(page, item->advice));
    }
    np_grid_print(&grid);
}

static void write_doctor(struct np_page *page, const struct nextport_result *res)
{
    write_items(page, res);
    if (res->raw)
        np_block(page, 0, res->raw);
}

static void write_setup(struct np_page *page, const struct nextport_result *res)
{
    write_items(page, res);
    if (!res->changed)
        np_line(page, NP_PLAIN, "nothing had to be changed");
}

static void write_protect(struct np_page *page, const struct nextport_result *res)
{
    write_items(page, res);
    if (res->raw)
        np_block(page, 4, res->raw);
}

static void write_config(struct np_page *page, const struct nextport_result *res)
{
    static const struct np_column columns[] = {
        {.title = "SETTING"},
        {.title = "VALUE", .elastic = true},
        {.title = "ORIGIN", .elastic = true, .tail = true},
    };
    struct np_grid grid = {.page = page, .columns = columns, .n_columns = 3};
    for (size_t i = 0; i < res->n_items; i++) {
        const struct nextport_item *item = &res->items[i];
        struct np_row *row = np_grid_row(&grid);
        row->tint = healths[item->health].tint;
        row->cells[0] = np_safe(page, np_sprintf(page->arena, "%s.%s", item->section, item->name));
        row->cells[1] = np_safe(page, item->value);
        row->cells[2] = np_safe(page, item->origin);
        row->remark = item->advice ? np_sprintf(page->arena, "  %s", np_safe(page, item->advice)) : NULL;
    }
    np_grid_print(&grid);
}

/* ---- The writer ------------------------------------------------------------------------------------------------- */

static void (*const bodies[])(struct np_page *, const struct nextport_result *) = {
    [NEXTPORT_ANSWER_NEXT] = NULL,
    [NEXTPORT_ANSWER_USED] = write_used,
    [NEXTPORT_ANSWER_FREE] = write_free,
    [NEXTPORT_ANSWER_WHY] = write_why,
    [NEXTPORT_ANSWER_LEASES] = write_leases,
    [NEXTPORT_ANSWER_RELEASE] = write_release,
    [NEXTPORT_ANSWER_DOCTOR] = write_doctor,
    [NEXTPORT_ANSWER_SETUP] = write_setup,
    [NEXTPORT_ANSWER_CONFIG] = write_config,
    [NEXTPORT_ANSWER_SWEEP] = write_sweep,
    [NEXTPORT_ANSWER_ADOPT] = write_adopt,
    [NEXTPORT_ANSWER_ASSIGN] = write_assign,
    [NEXTPORT_ANSWER_EXPORT] = NULL,
    [NEXTPORT_ANSWER_IMPORT] = write_import,
    [NEXTPORT_ANSWER_CHECK] = np_table_check,
    [NEXTPORT_ANSWER_PROTECT] = write_protect,
    [NEXTPORT_ANSWER_LOG] = np_table_log,
    [NEXTPORT_ANSWER_MAP] = np_table_map,
    [NEXTPORT_ANSWER_EXEC] = NULL,
};

static void show(struct np_page *page, const struct nextport_result *res)
{
    if (bodies[res->what])
        bodies[res->what](page, res);
    np_log_result(page, res);
}

static void write_table(struct np_page *page, const struct nextport_result *res)
{
    const char *summary = page->style->verbosity >= 0 ? np_summary(page->arena, res) : NULL;
    show(page, res);
    if (summary)
        np_log_line(&page->log, !page->style->unicode, "%s", summary);
}

/* What was seen is shown all the same; the error then says why it is not the whole. */
static void fail_table(struct np_page *page, const struct nextport_error *err, const struct nextport_result *partial)
{
    if (partial)
        show(page, partial);
    np_log_failure(&page->log, !page->style->unicode, err);
}

const struct np_writer np_writer_table = {
    .name = "table",
    .about = "a table for people, fitted to the terminal",
    .answers = NP_ANSWERS & ~(NP_GRANTS | NP_ANSWER(NEXTPORT_ANSWER_EXPORT)),
    .write = write_table,
    .fail = fail_table,
};
