/* Writer "json": one object on one line, the same fields in the same order every time; absent values are null.
 * doc/formats.md says what each field means, doc/schema/ holds a JSON Schema for each answer.
 * SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "base/text.h"
#include "core/audit.h"
#include "core/evidence.h"
#include "output/kept.h"
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

static const char *const verdicts[] = {
    [NEXTPORT_GRANT] = "grant",
    [NEXTPORT_KEEP] = "keep",
    [NEXTPORT_MOVE] = "move",
};

static void add_ports(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "ports", '[');
    for (size_t i = 0; i < res->n_ports; i++) {
        const struct nextport_granted *granted = &res->ports[i];
        np_json_begin(json, NULL, '{');
        np_json_string(json, "name", granted->name);
        np_json_int(json, "port", granted->port);
        np_json_string(json, "verdict", verdicts[granted->verdict]);
        int_or_null(json, "moved_from", granted->moved_from);
        np_json_string(json, "why", granted->why);
        int_or_null(json, "lease_id", granted->lease_id);
        int_or_null(json, "expires", granted->expires);
        np_json_end(json, '}');
    }
    np_json_end(json, ']');
}

static void add_ranges(struct np_json *json, const char *key, const struct nextport_range *ranges, size_t n)
{
    np_json_begin(json, key, '[');
    for (size_t i = 0; i < n; i++) {
        np_json_begin(json, NULL, '{');
        add_range(json, ranges[i].first, ranges[i].last);
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
    np_json_string(json, "host", claim->host);
    np_json_string(json, "source", claim->source);
    np_json_string(json, "file", claim->file);
    int_or_null(json, "line", claim->line);
    int_or_null(json, "pid", claim->pid);
    np_json_int(json, "count", (int64_t)claim->count);
    np_json_string(json, "detail", claim->detail);
    np_json_bool(json, "transient", claim->transient);
    np_json_end(json, '}');
}

static void add_claims(struct np_json *json, const char *key, const struct nextport_claim *claims, size_t n)
{
    np_json_begin(json, key, '[');
    for (size_t i = 0; i < n; i++)
        add_claim(json, &claims[i]);
    np_json_end(json, ']');
}

static void add_labels(struct np_json *json, const struct nextport_lease *lease)
{
    np_json_begin(json, "labels", '{');
    for (size_t i = 0; i < lease->n_labels; i++)
        np_json_string(json, lease->labels[i].key, lease->labels[i].value);
    np_json_end(json, '}');
}

static void add_lease(struct np_json *json, const char *key, const struct nextport_lease *lease)
{
    np_json_begin(json, key, '{');
    int_or_null(json, "id", lease->id);
    np_json_int(json, "port", lease->port);
    np_json_string(json, "protocol", np_protocol_name(lease->protocol));
    np_json_string(json, "name", lease->name);
    np_json_string(json, "owner", lease->owner);
    add_labels(json, lease);
    np_json_string(json, "deployment", lease->deployment);
    np_json_string(json, "state", np_state_name(lease->state));
    np_json_string(json, "holder", lease->holder);
    int_or_null(json, "created", lease->created);
    int_or_null(json, "renewed", lease->renewed);
    int_or_null(json, "expires", lease->expires);
    np_json_int(json, "looks", lease->looks);
    np_json_string(json, "process", lease->process);
    np_json_end(json, '}');
}

static void add_leases(struct np_json *json, const char *key, const struct nextport_result *res)
{
    np_json_begin(json, key, '[');
    for (size_t i = 0; i < res->n_leases; i++)
        add_lease(json, NULL, &res->leases[i]);
    np_json_end(json, ']');
}

static void write_next(struct np_json *json, const struct nextport_result *res)
{
    np_json_string(json, "verdict", verdicts[res->verdict]);
    np_json_string(json, "owner", res->owner);
    np_json_bool(json, "changed", res->changed);
    np_json_bool(json, "dry_run", res->dry_run);
    add_ports(json, res);
    add_rejected(json, res);
    add_unseen(json, res);
    add_sources(json, res);
}

static void write_used(struct np_json *json, const struct nextport_result *res)
{
    add_claims(json, "claims", res->claims, res->n_claims);
    add_sources(json, res);
}

static void write_free(struct np_json *json, const struct nextport_result *res)
{
    add_ranges(json, "free", res->free, res->n_free);
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
    add_claims(json, "claims", res->claims, res->n_claims);
    if (res->n_leases)
        add_lease(json, "lease", &res->leases[0]);
    else
        np_json_null(json, "lease");
    np_json_string(json, "probe", probes[res->probe]);
    add_sources(json, res);
}

static void write_leases(struct np_json *json, const struct nextport_result *res)
{
    add_leases(json, "leases", res);
}

static void write_release(struct np_json *json, const struct nextport_result *res)
{
    np_json_bool(json, "changed", res->changed);
    add_leases(json, "leases", res);
}

/* adopt, assign, import */
static void write_leased(struct np_json *json, const struct nextport_result *res)
{
    np_json_bool(json, "changed", res->changed);
    np_json_bool(json, "dry_run", res->dry_run);
    add_leases(json, "leases", res);
}

static void write_sweep(struct np_json *json, const struct nextport_result *res)
{
    np_json_bool(json, "changed", res->changed);
    add_leases(json, "ended", res);
    np_json_int(json, "confirmed", (int64_t)res->n_confirmed);
    np_json_int(json, "absent", (int64_t)res->n_absent);
    np_json_int(json, "resting", (int64_t)res->n_resting);
    add_sources(json, res);
}

static void write_check(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "findings", '[');
    for (size_t i = 0; i < res->n_findings; i++) {
        const struct nextport_finding *finding = &res->findings[i];
        np_json_begin(json, NULL, '{');
        np_json_string(json, "severity", np_severity_name(finding->severity));
        np_json_string(json, "slug", finding->slug);
        add_range(json, finding->first, finding->last);
        np_json_string(json, "text", finding->text);
        np_json_string(json, "cure", finding->cure);
        add_claims(json, "evidence", finding->evidence, finding->n_evidence);
        np_json_end(json, '}');
    }
    np_json_end(json, ']');
    add_unseen(json, res);
    add_sources(json, res);
}

/* What the ledger has kept as JSON, as an object of ours; null when it is none. */
static void add_kept(struct np_json *json, const char *key, const char *text)
{
    struct np_buf members = {.arena = json->out->arena};
    if (!text || !np_json_members(&members, np_text_of(text))) {
        np_json_null(json, key);
        return;
    }
    np_json_begin(json, key, '{');
    np_buf_add(json->out, members.ptr, members.len);
    np_json_end(json, '}');
}

static void write_log(struct np_json *json, const struct nextport_result *res)
{
    np_json_begin(json, "events", '[');
    for (size_t i = 0; i < res->n_events; i++) {
        const struct nextport_event *event = &res->events[i];
        np_json_begin(json, NULL, '{');
        np_json_int(json, "id", event->id);
        np_json_int(json, "time", event->time);
        np_json_string(json, "kind", event->kind);
        int_or_null(json, "lease", event->lease);
        int_or_null(json, "port", event->port);
        np_json_string(json, "name", event->name);
        np_json_string(json, "owner", event->owner);
        np_json_string(json, "deployment", event->deployment);
        np_json_string(json, "user", event->user);
        np_json_string(json, "host", event->host);
        np_json_string(json, "program", event->program);
        np_json_string(json, "request", event->request);
        np_json_string(json, "reason", event->reason);
        add_kept(json, "before", event->before);
        add_kept(json, "after", event->after);
        np_json_end(json, '}');
    }
    np_json_end(json, ']');
}

static void write_map(struct np_json *json, const struct nextport_result *res)
{
    add_ranges(json, "pool", res->pool, res->n_pool);
    add_claims(json, "claims", res->claims, res->n_claims);
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
}

static void write_doctor(struct np_json *json, const struct nextport_result *res)
{
    write_items(json, res);
    if (res->raw)
        np_json_string(json, "raw", res->raw);
}

static void write_setup(struct np_json *json, const struct nextport_result *res)
{
    np_json_bool(json, "changed", res->changed);
    write_items(json, res);
}

static void write_protect(struct np_json *json, const struct nextport_result *res)
{
    write_setup(json, res);
    np_json_string(json, "raw", res->raw);
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
    [NEXTPORT_ANSWER_DOCTOR] = write_doctor, [NEXTPORT_ANSWER_SETUP] = write_setup,
    [NEXTPORT_ANSWER_CONFIG] = write_items,  [NEXTPORT_ANSWER_SWEEP] = write_sweep,
    [NEXTPORT_ANSWER_ADOPT] = write_leased,  [NEXTPORT_ANSWER_ASSIGN] = write_leased,
    [NEXTPORT_ANSWER_EXPORT] = NULL,         [NEXTPORT_ANSWER_IMPORT] = write_leased,
    [NEXTPORT_ANSWER_CHECK] = write_check,   [NEXTPORT_ANSWER_PROTECT] = write_protect,
    [NEXTPORT_ANSWER_LOG] = write_log,       [NEXTPORT_ANSWER_MAP] = write_map,
    [NEXTPORT_ANSWER_EXEC] = write_next,
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
    bool refused = err && res && (NP_ANSWER(res->what) & NP_GRANTS);
    if (res && !refused && bodies[res->what])
        bodies[res->what](&json, res);
    if (err)
        add_error(&json, err);
    if (refused)
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
    .answers = NP_ANSWERS & ~NP_ANSWER(NEXTPORT_ANSWER_EXPORT), /* which is JSON already: of plain */
    .write = write_json,
    .fail = fail_json,
};
