/* Writer "json": one object on one line, the same fields in the same order every time; absent values are null.
 * doc/formats.md says what each field means, doc/schema/ holds a JSON Schema for each answer.
 * SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "core/evidence.h"
#include "output/writer.h"

enum { SCHEMA = 1 };

static void int_or_null(struct np_json *json, const char *key, int64_t value)
{
    if (value)
        np_json_int(json, key, value);
    else
        np_json_null(json, key);
}

static void add_range(struct np_json *json, uint16_t first, uint16_t last)
{
    int_or_null(json, "first", first);
    int_or_null(json, "last", last);
}

static void add_ports(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "ports", '[');
    for (size_t i = 0; i < res->n_ports; i++) {
        np_json_begin(json, NULL, '{');
        np_json_string(json, "name", res->ports[i].name);
        np_json_int(json, "port", res->ports[i].port);
        int_or_null(json, "lease_id", res->ports[i].lease_id);
        int_or_null(json, "expires", res->ports[i].expires);
        np_json_end(json, '}');
    }
    np_json_end(json, ']');
}

static void add_rejected(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "rejected", '[');
    for (size_t i = 0; i < res->n_rejected; i++) {
        const struct nextport_reject *r = &res->rejected[i];
        np_json_begin(json, NULL, '{');
        add_range(json, r->first, r->last);
        np_json_int(json, "count", (int64_t)r->count);
        np_json_string(json, "kind", np_kind_name(r->kind));
        np_json_string(json, "source", r->source);
        np_json_string(json, "holder", r->holder);
        np_json_end(json, '}');
    }
    np_json_end(json, ']');
}

static void add_unseen(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "unseen", '[');
    for (size_t i = 0; i < res->n_sources; i++)
        if (np_unseen(&res->sources[i]))
            np_json_string(json, NULL, res->sources[i].source);
    np_json_end(json, ']');
}

static void add_sources(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "sources", '[');
    for (size_t i = 0; i < res->n_sources; i++) {
        const struct nextport_sighting *s = &res->sources[i];
        np_json_begin(json, NULL, '{');
        np_json_string(json, "source", s->source);
        np_json_string(json, "sight", np_sight_name(s->sight));
        np_json_string(json, "policy", np_policy_name(s->policy));
        np_json_string(json, "why", s->why);
        np_json_string(json, "hint", s->hint);
        np_json_end(json, '}');
    }
    np_json_end(json, ']');
}

static void add_claim(struct np_json *json, const struct nextport_claim *claim)
{
    np_json_begin(json, NULL, '{');
    add_range(json, claim->first, claim->last);
    np_json_string(json, "protocol", np_protocol_name(claim->protocol));
    np_json_string(json, "kind", np_kind_name(claim->kind));
    np_json_string(json, "certainty", np_certainty_name(claim->certainty));
    np_json_string(json, "address", claim->address);
    np_json_string(json, "holder", claim->holder);
    np_json_string(json, "source", claim->source);
    np_json_string(json, "file", claim->file);
    int_or_null(json, "line", claim->line);
    int_or_null(json, "pid", claim->pid);
    np_json_int(json, "count", (int64_t)claim->count);
    np_json_string(json, "detail", claim->detail);
    np_json_bool(json, "transient", claim->transient);
    np_json_end(json, '}');
}

static void add_claims(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "claims", '[');
    for (size_t i = 0; i < res->n_claims; i++)
        add_claim(json, &res->claims[i]);
    np_json_end(json, ']');
}

static void add_lease(struct np_json *json, const char *key, const struct nextport_lease *lease)
{
    np_json_begin(json, key, '{');
    np_json_int(json, "id", lease->id);
    np_json_int(json, "port", lease->port);
    np_json_string(json, "protocol", np_protocol_name(lease->protocol));
    np_json_string(json, "name", lease->name);
    np_json_string(json, "owner", lease->owner);
    np_json_string(json, "deployment", lease->deployment);
    np_json_string(json, "state", np_state_name(lease->state));
    np_json_string(json, "holder", lease->holder);
    np_json_int(json, "created", lease->created);
    int_or_null(json, "expires", lease->expires);
    np_json_end(json, '}');
}

static void write_next(struct np_json *json, const struct nextport_result *res)
{
    static const char *const verdicts[] = {
        [NEXTPORT_GRANT] = "grant",
        [NEXTPORT_KEEP] = "keep",
        [NEXTPORT_MOVE] = "move",
    };
    np_json_string(json, "verdict", verdicts[res->verdict]);
    np_json_bool(json, "changed", res->changed);
    np_json_bool(json, "dry_run", res->dry_run);
    add_ports(json, res);
    add_rejected(json, res);
    add_unseen(json, res);
    add_sources(json, res);
}

static void write_used(struct np_json *json, const struct nextport_result *res)
{
    add_claims(json, res);
    add_sources(json, res);
}

static void write_free(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "free", '[');
    for (size_t i = 0; i < res->n_free; i++) {
        np_json_begin(json, NULL, '{');
        add_range(json, res->free[i].first, res->free[i].last);
        np_json_end(json, '}');
    }
    np_json_end(json, ']');
    np_json_int(json, "count", (int64_t)res->free_count);
    add_sources(json, res);
}

static void write_why(struct np_json *json, const struct nextport_result *res)
{
    static const char *const probes[] = {
        [NEXTPORT_PROBE_NONE] = NULL,       [NEXTPORT_PROBE_FREE] = "free",       [NEXTPORT_PROBE_TAKEN] = "taken",
        [NEXTPORT_PROBE_DENIED] = "denied", [NEXTPORT_PROBE_REFUSED] = "refused",
    };
    np_json_int(json, "port", res->port);
    np_json_bool(json, "free", res->is_free);
    add_claims(json, res);
    if (res->n_leases)
        add_lease(json, "lease", &res->leases[0]);
    else
        np_json_null(json, "lease");
    np_json_string(json, "probe", probes[res->probe]);
    add_sources(json, res);
}

static void write_leases(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "leases", '[');
    for (size_t i = 0; i < res->n_leases; i++)
        add_lease(json, NULL, &res->leases[i]);
    np_json_end(json, ']');
}

static void write_release(struct np_json *json, const struct nextport_result *res)
{
    np_json_bool(json, "changed", res->changed);
    write_leases(json, res);
}

static void write_sweep(struct np_json *json, const struct nextport_result *res)
{
    np_json_bool(json, "changed", res->changed);
    np_json_begin(json, "ended", '[');
    for (size_t i = 0; i < res->n_leases; i++)
        add_lease(json, NULL, &res->leases[i]);
    np_json_end(json, ']');
    np_json_int(json, "confirmed", (int64_t)res->n_confirmed);
    add_sources(json, res);
}

static void write_items(struct np_json *json, const struct nextport_result *res)
{
    static const char *const healths[] = {
        [NEXTPORT_GOOD] = "good",
        [NEXTPORT_NOTICE] = "notice",
        [NEXTPORT_BAD] = "bad",
    };
    np_json_begin(json, "items", '[');
    for (size_t i = 0; i < res->n_items; i++) {
        const struct nextport_item *item = &res->items[i];
        np_json_begin(json, NULL, '{');
        np_json_string(json, "section", item->section);
        np_json_string(json, "name", item->name);
        np_json_string(json, "value", item->value);
        np_json_string(json, "health", healths[item->health]);
        np_json_string(json, "origin", item->origin);
        np_json_string(json, "advice", item->advice);
        np_json_end(json, '}');
    }
    np_json_end(json, ']');
    if (res->raw)
        np_json_string(json, "raw", res->raw);
}

static void write_setup(struct np_json *json, const struct nextport_result *res)
{
    np_json_bool(json, "changed", res->changed);
    write_items(json, res);
}

/* What stood in the way of `next`. */
static void write_refusal(struct np_json *json, const struct nextport_result *res)
{
    np_json_string(json, "exhausted", res->exhausted);
    add_rejected(json, res);
    add_unseen(json, res);
    add_sources(json, res);
}

static void (*const bodies[])(struct np_json *, const struct nextport_result *) = {
    [NEXTPORT_ANSWER_NEXT] = write_next,     [NEXTPORT_ANSWER_USED] = write_used,
    [NEXTPORT_ANSWER_FREE] = write_free,     [NEXTPORT_ANSWER_WHY] = write_why,
    [NEXTPORT_ANSWER_LEASES] = write_leases, [NEXTPORT_ANSWER_RELEASE] = write_release,
    [NEXTPORT_ANSWER_DOCTOR] = write_items,  [NEXTPORT_ANSWER_SETUP] = write_setup,
    [NEXTPORT_ANSWER_CONFIG] = write_items,  [NEXTPORT_ANSWER_SWEEP] = write_sweep,
};

static void add_error(struct np_json *json, const struct nextport_error *err)
{
    np_json_begin(json, "error", '{');
    np_json_int(json, "status", err->status);
    np_json_string(json, "slug", nextport_statuses[err->status].slug);
    np_json_string(json, "message", err->text);
    np_json_string(json, "hint", err->hint[0] ? err->hint : NULL);
    np_json_end(json, '}');
}

static void add_notes(struct np_json *json, const struct nextport_result *res)
{
    static const char *const levels[] = {
        [NEXTPORT_WARNING] = "warning",
        [NEXTPORT_INFO] = "info",
        [NEXTPORT_VERBOSE] = "verbose",
    };
    np_json_begin(json, "notes", '[');
    for (size_t i = 0; i < res->n_notes; i++) {
        np_json_begin(json, NULL, '{');
        np_json_string(json, "level", levels[res->notes[i].level]);
        np_json_string(json, "text", res->notes[i].text);
        np_json_end(json, '}');
    }
    np_json_end(json, ']');
}

/* An answer, a failure, or a failure with what was seen all the same. */
static void write_object(struct np_page *page, const struct nextport_result *res, const struct nextport_error *err)
{
    struct np_json json = {.out = &page->out};
    np_json_begin(&json, NULL, '{');
    np_json_int(&json, "schema", SCHEMA);
    np_json_string(&json, "host", res ? res->host : page->host);
    if (res && !(err && res->what == NEXTPORT_ANSWER_NEXT))
        bodies[res->what](&json, res);
    if (err)
        add_error(&json, err);
    if (err && res && res->what == NEXTPORT_ANSWER_NEXT)
        write_refusal(&json, res);
    if (res)
        add_notes(&json, res);
    np_json_end(&json, '}');
    np_buf_puts(&page->out, "\n");
}

static void log_warnings(struct np_page *page, const struct nextport_result *res)
{
    if (page->style->verbosity >= 0)
        np_log_notes(&page->log, !page->style->unicode, res, NEXTPORT_WARNING);
}

static void write_json(struct np_page *page, const struct nextport_result *res)
{
    write_object(page, res, NULL);
    log_warnings(page, res);
}

static void fail_json(struct np_page *page, const struct nextport_error *err, const struct nextport_result *partial)
{
    write_object(page, partial, err);
    if (partial)
        log_warnings(page, partial);
    np_log_failure(&page->log, !page->style->unicode, err);
}

const struct np_writer np_writer_json = {
    .name = "json",
    .about = "one JSON object on one line (doc/schema)",
    .answers = NP_ANSWER(NEXTPORT_ANSWER_NEXT) | NP_ANSWER(NEXTPORT_ANSWER_USED) | NP_ANSWER(NEXTPORT_ANSWER_FREE) |
               NP_ANSWER(NEXTPORT_ANSWER_WHY) | NP_ANSWER(NEXTPORT_ANSWER_LEASES) | NP_ANSWER(NEXTPORT_ANSWER_RELEASE) |
               NP_ANSWER(NEXTPORT_ANSWER_DOCTOR) | NP_ANSWER(NEXTPORT_ANSWER_SETUP) |
               NP_ANSWER(NEXTPORT_ANSWER_CONFIG) | NP_ANSWER(NEXTPORT_ANSWER_SWEEP),
    .write = write_json,
    .fail = fail_json,
};
