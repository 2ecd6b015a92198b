/* Leases out of the ledger and into it, as JSON Lines (doc/formats.md). An export is a file that somebody hands over: all of
 * it is read and judged before the ledger is opened, and nothing in it is believed that the ledger's own rules would not
 * allow.
 * SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "core/owner.h"
#include "facade/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SCHEMA = 1, LINE_LIMIT = 1 << 16, LEASES_MAX = 65535 };

#define TIME_MAX INT64_C(253402300799) /* the end of the year 9999 */

/* The keys of each kind of line, in the order written. All of them are there, and no others. */
enum header_key { NEXTPORT, SCHEMA_NUMBER, HOST, MACHINE_ID, EXPORTED, HEADER_LEASES };
static const char *const header_keys[] = {"nextport", "schema", "host", "machine_id", "exported", "leases", NULL};

enum lease_key { PORT, PROTOCOL, NAME, LABELS, DEPLOYMENT, STATE, HOLDER, CREATED, RENEWED, EXPIRES, LOOKS, PROCESS };
static const char *const lease_keys[] = {"port",    "protocol", "name",    "labels", "deployment", "state", "holder",
                                         "created", "renewed",  "expires", "looks",  "process",    NULL};

enum end_key { END, END_LEASES };
static const char *const end_keys[] = {"end", "leases", NULL};

/* ---- Out ----------------------------------------------------------------------------------------------------- */

static void write_header(struct np_json *json, const struct np_run *run)
{
    np_json_begin(json, NULL, '{');
    np_json_string(json, header_keys[NEXTPORT], "leases");
    np_json_int(json, header_keys[SCHEMA_NUMBER], SCHEMA);
    np_json_string(json, header_keys[HOST], run->actor.host);
    np_json_string(json, header_keys[MACHINE_ID], run->actor.machine_id);
    np_json_int(json, header_keys[EXPORTED], run->actor.now);
    np_json_int(json, header_keys[HEADER_LEASES], (int64_t)run->leases.n);
    np_json_end(json, '}');
}

static void write_lease(struct np_json *json, const struct nextport_lease *lease)
{
    np_json_begin(json, NULL, '{');
    np_json_int(json, lease_keys[PORT], lease->port);
    np_json_string(json, lease_keys[PROTOCOL], np_protocol_name(lease->protocol));
    np_json_string(json, lease_keys[NAME], lease->name);
    np_json_begin(json, lease_keys[LABELS], '{');
    for (size_t i = 0; i < lease->n_labels; i++)
        np_json_string(json, lease->labels[i].key, lease->labels[i].value);
    np_json_end(json, '}');
    np_json_string(json, lease_keys[DEPLOYMENT], lease->deployment);
    np_json_string(json, lease_keys[STATE], np_state_name(lease->state));
    np_json_string(json, lease_keys[HOLDER], lease->holder);
    np_json_int(json, lease_keys[CREATED], lease->created);
    np_json_int(json, lease_keys[RENEWED], lease->renewed);
    if (lease->expires)
        np_json_int(json, lease_keys[EXPIRES], lease->expires);
    else
        np_json_null(json, lease_keys[EXPIRES]);
    np_json_int(json, lease_keys[LOOKS], lease->looks);
    np_json_string(json, lease_keys[PROCESS], lease->process);
    np_json_end(json, '}');
}

static void write_end(struct np_json *json, size_t n)
{
    np_json_begin(json, NULL, '{');
    np_json_bool(json, end_keys[END], true);
    np_json_int(json, end_keys[END_LEASES], (int64_t)n);
    np_json_end(json, '}');
}

static void end_line(struct np_json *json)
{
    np_buf_puts(json->out, "\n");
    json->comma = false;
}

enum nextport_status nextport_export(struct nextport *np, struct nextport_result **ret, struct nextport_error *err)
{
    struct np_run run;
    np_run_init(&run, np, NEXTPORT_ANSWER_EXPORT);
    struct np_buf out = {.arena = run.arena};
    struct np_json json = {.out = &out};
    enum nextport_status status = np_run_ledger_look(&run, SIZE_MAX, err);
    write_header(&json, &run);
    end_line(&json);
    for (size_t i = 0; i < run.leases.n; i++) {
        write_lease(&json, &run.leases.items[i]);
        end_line(&json);
    }
    write_end(&json, run.leases.n);
    end_line(&json);
    run.res->raw = out.ptr;
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}

/* ---- In: reading --------------------------------------------------------------------------------------------- */

struct entry {
    struct nextport_lease lease;
    unsigned line;
};

struct import {
    struct np_arena *arena;
    const char *origin;
    struct np_text rest;
    struct np_json_reader reader; /* of this line */
    unsigned line;
    int64_t announced; /* leases, by the header */
    bool ended;        /* the last line was there */
    struct entry *entries;
    size_t n, capacity;
    struct np_portset ports;
    bool in_use; /* who uses the ports is who they are leased to */
};

/* "FILE:3: WHAT" */
static enum nextport_status refuse(const struct import *import, struct nextport_error *err, const char *fmt, ...)
    NP_PRINTF(3, 4);

static enum nextport_status refuse(const struct import *import, struct nextport_error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *what = np_vsprintf(import->arena, fmt, args);
    va_end(args);
    return np_fail(err, NEXTPORT_INPUT, "%s:%u: %s", import->origin, import->line, what);
}

static enum nextport_status refuse_json(const struct import *import, struct nextport_error *err)
{
    return np_json_fail(&import->reader, import->origin, err);
}

/* The next line; false: there is none, or it cannot be one. *ret_none: there is none. */
static bool take_line(struct import *import, struct np_text *ret, bool *ret_none, struct nextport_error *err)
{
    *ret_none = !np_text_split(&import->rest, '\n', ret) || (!np_text_trim(*ret).len && !import->rest.ptr);
    if (*ret_none)
        return false;
    import->line++;
    if (ret->len > LINE_LIMIT) {
        refuse(import, err, "the line has %zu bytes, at most %d are possible", ret->len, LINE_LIMIT);
        return false;
    }
    np_json_reader_init(&import->reader, *ret, 0, import->arena);
    import->reader.next_line = import->line;
    return true;
}

/* Was every one of the keys there? */
static void require_keys(struct np_json_reader *reader, const char *const keys[], uint64_t seen)
{
    for (size_t i = 0; keys[i]; i++)
        if (!(seen >> i & 1))
            np_json_refuse(reader, "the key '%s' is missing", keys[i]);
}

static void refuse_key(struct np_json_reader *reader, struct np_arena *arena)
{
    np_json_refuse(reader, "the key '%s' is not known", np_neutral(arena, np_text_dup(arena, reader->key), false));
}

/* A key of another kind of export, or of a later one, is told only when the rest says that this is ours. */
static enum nextport_status read_header(struct import *import, struct nextport_error *err)
{
    struct np_json_reader *reader = &import->reader;
    const char *what = NULL, *unknown = NULL;
    int64_t schema = 0;
    uint64_t seen = 0;
    np_json_enter(reader, NP_JSON_OBJECT);
    while (np_json_next(reader) == NP_JSON_KEY) {
        const int key = np_json_which(reader, header_keys, &seen);
        if (key == NEXTPORT)
            what = np_json_read_text(reader);
        else if (key == SCHEMA_NUMBER)
            schema = np_json_read_int(reader, 1, INT32_MAX);
        else if (schema > SCHEMA)
            np_json_skip(reader);
        else if (key == HOST)
            np_json_read_text(reader);
        else if (key == MACHINE_ID)
            np_json_read_text_or_null(reader);
        else if (key == EXPORTED)
            np_json_read_int(reader, 0, TIME_MAX);
        else if (key == HEADER_LEASES)
            import->announced = np_json_read_int(reader, 0, LEASES_MAX);
        else {
            unknown = np_neutral(import->arena, np_text_dup(import->arena, reader->key), false);
            np_json_skip(reader);
        }
    }
    np_json_finish(reader);
    if (np_json_is_bad(reader))
        return refuse_json(import, err);
    if (!what || strcmp(what, "leases") != 0)
        return refuse(import, err, "this is no export of leases");
    if (schema > SCHEMA) {
        refuse(import, err, "the export has schema %" PRId64 ", made by a newer nextport; this one knows %d", schema,
               SCHEMA);
        np_hint(err, "Import it with that release, or export with this one.");
        return err->status;
    }
    if (unknown)
        return refuse(import, err, "the key '%s' is not known", unknown);
    require_keys(reader, header_keys, seen);
    return np_json_is_bad(reader) ? refuse_json(import, err) : NEXTPORT_OK;
}

static enum nextport_protocol read_protocol(struct np_json_reader *reader)
{
    enum nextport_protocol protocol = NEXTPORT_TCP;
    const char *word = np_json_read_text(reader);
    if (word && !np_protocol_parse(np_text_of(word), &protocol))
        np_json_refuse(reader, "'protocol' is not tcp, udp or both");
    return protocol;
}

static enum nextport_lease_state read_state(struct np_json_reader *reader)
{
    static const enum nextport_lease_state all[] = {NEXTPORT_PENDING, NEXTPORT_CONFIRMED, NEXTPORT_UNSEEN,
                                                    NEXTPORT_RESTING};
    const char *word = np_json_read_text(reader);
    for (size_t i = 0; word && i < sizeof all / sizeof *all; i++)
        if (strcmp(word, np_state_name(all[i])) == 0)
            return all[i];
    np_json_refuse(reader, "'state' is not pending, confirmed, absent or quarantined");
    return NEXTPORT_PENDING;
}

static int64_t read_time_or_null(struct np_json_reader *reader)
{
    struct np_json_reader ahead = *reader;
    if (np_json_next(&ahead) != NP_JSON_NULL)
        return np_json_read_int(reader, 1, TIME_MAX);
    *reader = ahead;
    return 0;
}

static void read_labels(struct np_json_reader *reader, struct np_arena *arena, struct nextport_lease *lease)
{
    struct nextport_label *labels = np_alloc_array(arena, NP_LABELS_MAX, sizeof *labels);
    lease->labels = labels;
    np_json_enter(reader, NP_JSON_OBJECT);
    while (np_json_next(reader) == NP_JSON_KEY) {
        const struct np_text key = reader->key;
        const char *value = np_json_read_text(reader);
        if (memchr(key.ptr, '\0', key.len))
            np_json_refuse(reader, "the key of a label holds a NUL character");
        if (lease->n_labels == NP_LABELS_MAX) {
            np_json_refuse(reader, "there are more than %d labels", NP_LABELS_MAX);
            return;
        }
        labels[lease->n_labels++] = (struct nextport_label){np_text_dup(arena, key), value};
    }
}

static void read_field(struct np_json_reader *reader, int key, struct np_arena *arena, struct nextport_lease *lease)
{
    switch ((enum lease_key)key) {
    case PORT:
        lease->port = (uint16_t)np_json_read_int(reader, 1, 65535);
        return;
    case PROTOCOL:
        lease->protocol = read_protocol(reader);
        return;
    case NAME:
        lease->name = np_json_read_text(reader);
        return;
    case LABELS:
        read_labels(reader, arena, lease);
        return;
    case DEPLOYMENT:
        lease->deployment = np_json_read_text_or_null(reader);
        return;
    case STATE:
        lease->state = read_state(reader);
        return;
    case HOLDER:
        lease->holder = np_json_read_text_or_null(reader);
        return;
    case CREATED:
        lease->created = np_json_read_int(reader, 1, TIME_MAX);
        return;
    case RENEWED:
        lease->renewed = np_json_read_int(reader, 1, TIME_MAX);
        return;
    case EXPIRES:
        lease->expires = read_time_or_null(reader);
        return;
    case LOOKS:
        lease->looks = (unsigned)np_json_read_int(reader, 0, UINT32_MAX);
        return;
    case PROCESS:
        lease->process = np_json_read_text_or_null(reader);
        return;
    }
}

/* What the fields mean together. */
static enum nextport_status check_lease(struct import *import, struct nextport_lease *lease, struct nextport_error *err)
{
    struct np_owner owner;
    if (np_check_word(lease->name, "the name", err) != NEXTPORT_OK ||
        (lease->deployment && np_check_word(lease->deployment, "the deployment", err) != NEXTPORT_OK) ||
        np_owner_make(&owner, lease->labels, lease->n_labels, import->arena, err) != NEXTPORT_OK)
        return np_wrap(err, "%s:%u", import->origin, import->line);
    if (lease->deployment && !owner.n_labels)
        return refuse(import, err, "a deployment without labels");
    if ((lease->state == NEXTPORT_CONFIRMED) != !lease->expires)
        return refuse(import, err, "a lease that is %s %s", np_state_name(lease->state),
                      lease->expires ? "does not expire" : "has an end, and 'expires' is null");
    if (lease->expires && lease->expires - lease->renewed > NP_DURATION_MAX)
        return refuse(import, err, "it lasts for more than ten years");
    if (np_portset_has(&import->ports, lease->port))
        return refuse(import, err, "port %u is here twice", lease->port);
    np_portset_add(&import->ports, lease->port, lease->port);
    lease->labels = owner.labels;
    lease->n_labels = owner.n_labels;
    lease->owner = owner.shown;
    lease->owner_key = owner.n_labels ? owner.key : NULL;
    return NEXTPORT_OK;
}

/* The first key has been read. */
static enum nextport_status read_lease(struct import *import, struct nextport_error *err)
{
    struct np_json_reader *reader = &import->reader;
    struct nextport_lease lease = {0};
    uint64_t seen = 0;
    for (; reader->token == NP_JSON_KEY; np_json_next(reader)) {
        const int key = np_json_which(reader, lease_keys, &seen);
        if (key < 0)
            refuse_key(reader, import->arena);
        else
            read_field(reader, key, import->arena, &lease);
    }
    require_keys(reader, lease_keys, seen);
    np_json_finish(reader);
    if (np_json_is_bad(reader))
        return refuse_json(import, err);
    if (check_lease(import, &lease, err) != NEXTPORT_OK)
        return err->status;
    struct entry *entry = np_push(import->arena, &import->entries, &import->n, &import->capacity, sizeof *entry);
    *entry = (struct entry){lease, import->line};
    return NEXTPORT_OK;
}

/* The first key has been read. */
static enum nextport_status read_end(struct import *import, struct nextport_error *err)
{
    struct np_json_reader *reader = &import->reader;
    int64_t n = 0;
    uint64_t seen = 0;
    for (; reader->token == NP_JSON_KEY; np_json_next(reader))
        switch (np_json_which(reader, end_keys, &seen)) {
        case END:
            np_json_enter(reader, NP_JSON_TRUE);
            break;
        case END_LEASES:
            n = np_json_read_int(reader, 0, LEASES_MAX);
            break;
        default:
            refuse_key(reader, import->arena);
        }
    require_keys(reader, end_keys, seen);
    np_json_finish(reader);
    if (np_json_is_bad(reader))
        return refuse_json(import, err);
    if (n != import->announced || (size_t)n != import->n)
        return refuse(import, err, "%zu leases are here, the first line says %" PRId64 " and the last %" PRId64,
                      import->n, import->announced, n);
    import->ended = true;
    return NEXTPORT_OK;
}

static enum nextport_status read_record(struct import *import, struct nextport_error *err)
{
    struct np_json_reader *reader = &import->reader;
    if (import->ended)
        return refuse(import, err, "more follows after the end");
    np_json_enter(reader, NP_JSON_OBJECT);
    np_json_next(reader);
    return np_text_is(reader->key, end_keys[END]) ? read_end(import, err) : read_lease(import, err);
}

static const struct entry *with_other_port(const struct entry *const *sorted, size_t n, const struct nextport_lease *);
static const struct entry **by_owner(struct np_arena *, const struct entry *, size_t n);

/* Within one export an owner has one port for each name, too. */
static enum nextport_status check_owners(struct import *import, struct nextport_error *err)
{
    const struct entry **sorted = by_owner(import->arena, import->entries, import->n);
    for (size_t i = 0; i < import->n; i++) {
        const struct nextport_lease *lease = &import->entries[i].lease;
        const struct entry *other = with_other_port(sorted, import->n, lease);
        if (!other)
            continue;
        import->line = import->entries[i].line > other->line ? import->entries[i].line : other->line;
        return refuse(import, err, "%s has both port %u and port %u for '%s'", lease->owner,
                      import->entries[i].line < other->line ? lease->port : other->lease.port,
                      import->entries[i].line < other->line ? other->lease.port : lease->port, lease->name);
    }
    return NEXTPORT_OK;
}

static enum nextport_status hint_at_export(const struct np_text bytes, struct nextport_error *err)
{
    const bool wide = bytes.len >= 2 && (memcmp(bytes.ptr, "\xff\xfe", 2) == 0 || memchr(bytes.ptr, '\0', 2));
    if (wide)
        np_hint(err,
                "This is UTF-16, as '>' of Windows PowerShell writes it: export with cmd.exe, or through '| Out-File "
                "-Encoding ascii'.");
    np_hint(err, "'nextport export' writes what can be imported.");
    return err->status;
}

static enum nextport_status read_all(struct import *import, struct nextport_error *err)
{
    const struct np_text bytes = import->rest;
    struct np_text line;
    bool none;
    if (!take_line(import, &line, &none, err)) {
        if (none)
            np_fail(err, NEXTPORT_INPUT, "%s: it is empty", import->origin);
        return hint_at_export(bytes, err);
    }
    if (read_header(import, err) != NEXTPORT_OK)
        return hint_at_export(bytes, err);
    while (take_line(import, &line, &none, err)) {
        const bool blank_end = import->ended && !np_text_trim(line).len;
        if (!blank_end && read_record(import, err) != NEXTPORT_OK)
            return err->status;
    }
    if (!none)
        return err->status;
    if (!import->ended) {
        np_fail(err, NEXTPORT_INPUT,
                "%s: it is cut short: %zu of %" PRId64 " leases are here, and the last line is missing", import->origin,
                import->n, import->announced);
        np_hint(err, "Export again, and copy the file whole.");
        return err->status;
    }
    return check_owners(import, err);
}

/* ---- In: adding ---------------------------------------------------------------------------------------------- */

/* By what an owner may have only once. */
static int compare_owners(const struct nextport_lease *a, const struct nextport_lease *b)
{
    int order = np_compare(a->owner_key, b->owner_key);
    if (!order)
        order = np_compare(a->deployment, b->deployment);
    return order ? order : np_compare(a->name, b->name);
}

static int compare_entries(const void *pa, const void *pb)
{
    const struct entry *const *a = pa, *const *b = pb;
    const int order = compare_owners(&(*a)->lease, &(*b)->lease);
    return order ? order : ((*a)->lease.port > (*b)->lease.port) - ((*a)->lease.port < (*b)->lease.port);
}

static const struct entry **by_owner(struct np_arena *arena, const struct entry *entries, size_t n)
{
    const struct entry **sorted = np_alloc_array(arena, n, sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &entries[i];
    if (n)
        qsort(sorted, n, sizeof *sorted, compare_entries);
    return sorted;
}

/* What the owner of this lease has for its name and deployment on another port. NULL: nothing; nobody may have many. */
static const struct entry *with_other_port(const struct entry *const *sorted, size_t n,
                                           const struct nextport_lease *lease)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare_owners(&sorted[middle]->lease, lease) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; lease->owner_key && low < n && compare_owners(&sorted[low]->lease, lease) == 0; low++)
        if (sorted[low]->lease.port != lease->port)
            return sorted[low];
    return NULL;
}

/* What time and use did to a lease meanwhile does not make it another one. Of leases to nobody, only the same grant is. */
static bool is_same(const struct nextport_lease *here, const struct nextport_lease *other)
{
    return here->port == other->port && here->protocol == other->protocol && compare_owners(here, other) == 0 &&
           (here->owner_key || here->created == other->created);
}

static const char *whose(struct np_arena *arena, const struct nextport_lease *lease)
{
    const char *to = lease->owner ? lease->owner : "nobody in particular";
    if (lease->deployment)
        return np_sprintf(arena, "%s ('%s', deployment %s)", to, lease->name, lease->deployment);
    return np_sprintf(arena, "%s ('%s')", to, lease->name);
}

/* Leases of this ledger as entries, to be searched by owner. */
static struct entry *entries_here(const struct np_run *run)
{
    struct entry *entries = np_alloc_array(run->arena, run->leases.n, sizeof *entries);
    for (size_t i = 0; i < run->leases.n; i++)
        entries[i].lease = run->leases.items[i];
    return entries;
}

static void hint_at_conflict(const struct nextport_lease *here, struct nextport_error *err)
{
    if (here->state == NEXTPORT_RESTING)
        np_hint(err,
                "Nothing was changed. Port %u was given back here and rests; 'nextport sweep' ends that in its time.",
                here->port);
    else
        np_hint(err, "Nothing was changed. 'nextport release %u' gives the one here back, if nobody needs it.",
                here->port);
}

/* *ret_new: in their order, those that are not here. */
static enum nextport_status compare_with_here(struct np_run *run, const struct import *import, struct entry **ret_new,
                                              size_t *ret_n, struct nextport_error *err)
{
    const struct entry **here = by_owner(run->arena, entries_here(run), run->leases.n);
    size_t capacity = 0;
    for (size_t i = 0; i < import->n; i++) {
        const struct nextport_lease *lease = &import->entries[i].lease;
        const struct nextport_lease *at = np_leases_at(&run->leases, lease->port);
        const struct entry *other = at ? NULL : with_other_port(here, run->leases.n, lease);
        if (at && is_same(at, lease))
            continue;
        if (at)
            np_fail(err, NEXTPORT_CONFLICT, "%s:%u: port %u of %s is leased to %s here", import->origin,
                    import->entries[i].line, lease->port, whose(run->arena, lease), whose(run->arena, at));
        else if (other)
            np_fail(err, NEXTPORT_CONFLICT, "%s:%u: %s has port %u in the export and port %u here", import->origin,
                    import->entries[i].line, whose(run->arena, lease), lease->port, other->lease.port);
        if (at || other) {
            hint_at_conflict(at ? at : &other->lease, err);
            return err->status;
        }
        *(struct entry *)np_push(run->arena, ret_new, ret_n, &capacity, sizeof **ret_new) = import->entries[i];
    }
    return NEXTPORT_OK;
}

/* As this machine may believe it: no process of another machine, or of another time, is the one that has its number here,
 * and a look there was none here. */
static void make_local(const struct np_run *run, struct nextport_lease *lease)
{
    lease->looks = 0;
    if (!lease->process)
        return;
    lease->process = NULL;
    if (lease->state == NEXTPORT_RESTING)
        return;
    lease->state = NEXTPORT_PENDING;
    lease->holder = NULL;
    lease->renewed = run->actor.now;
    lease->expires = run->actor.now + np_run_ttl(run, lease->owner_key != NULL);
}

/* Does another ledger have the port, whose leases come first? */
static const struct nextport_claim *promise_on(const struct np_run *run, uint16_t port)
{
    for (size_t i = 0; i < run->evidence.n_claims; i++) {
        const struct nextport_claim *claim = &run->evidence.claims[i];
        if (claim->kind == NEXTPORT_LEASED && claim->first <= port && port <= claim->last)
            return claim;
    }
    return NULL;
}

/* NULL, or who has the port of a lease: as when its owner asks again, but for who may be "its application at last", which
 * cannot be said of a lease that another machine gave. */
static const char *stranger_on(struct np_run *run, const struct nextport_lease *lease)
{
    struct np_portset every = {{0}};
    np_portset_add(&every, 1, 65535);
    const struct np_ruling ruling = np_lease_rule(lease, lease->protocol, &every, &run->evidence, run->arena);
    if (!ruling.keep)
        return ruling.why;
    if (ruling.confirm && !lease->holder)
        return np_sprintf(run->arena, "%s has it", np_holder_of(run->arena, ruling.confirm));
    return NULL;
}

/* What rests keeps its port from everyone, whoever has it. */
static enum nextport_status check_use(struct np_run *run, const struct import *import, const struct entry *entry,
                                      struct nextport_error *err)
{
    const struct nextport_lease *lease = &entry->lease;
    const struct nextport_claim *promise = promise_on(run, lease->port);
    const char *stranger = import->in_use || lease->state == NEXTPORT_RESTING ? NULL : stranger_on(run, lease);
    if (promise) {
        np_fail(err, NEXTPORT_CONFLICT, "%s:%u: port %u of %s is leased to %s in %s", import->origin, entry->line,
                lease->port, whose(run->arena, lease), promise->holder, promise->file);
        np_hint(err, "Nothing was changed. That is the machine's ledger, which has the last word.");
    } else if (stranger) {
        np_fail(err, NEXTPORT_CONFLICT, "%s:%u: port %u of %s is in use here: %s", import->origin, entry->line,
                lease->port, whose(run->arena, lease), stranger);
        np_hint(err,
                "Nothing was changed. Free the port; or, if all that uses ports of this export is their owners' own, "
                "add --in-use.");
    }
    return promise || stranger ? err->status : NEXTPORT_OK;
}

static enum nextport_status check_uses(struct np_run *run, const struct import *import, const struct entry *entries,
                                       size_t n, struct nextport_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (check_use(run, import, &entries[i], err) != NEXTPORT_OK)
            return err->status;
    return NEXTPORT_OK;
}

static enum nextport_status add_all(struct np_run *run, const struct entry *entries, size_t n,
                                    struct nextport_error *err)
{
    struct nextport_lease *added = np_alloc_array(run->arena, n, sizeof *added);
    for (size_t i = 0; i < n; i++) {
        added[i] = entries[i].lease;
        make_local(run, &added[i]);
        if (run->ledger && run->ops->add(run->ledger, &added[i], "imported", err) != NEXTPORT_OK)
            return np_wrap(err, "lease port %u in %s", added[i].port, run->path);
    }
    run->res->leases = added;
    run->res->n_leases = n;
    run->res->changed = run->ledger && n > 0;
    if (run->ledger && run->ops->end(run->ledger, n > 0, err) != NEXTPORT_OK)
        return np_wrap(err, "commit to ledger %s", run->path);
    return NEXTPORT_OK;
}

/* At all ports of the export, and at the ledger, which is begun. */
static enum nextport_status look(struct np_run *run, const struct import *import, bool dry_run,
                                 struct nextport_error *err)
{
    static const char *const sockets[] = {"sockets"};
    const struct np_scope declared = {.ports = import->ports, .protocol = NEXTPORT_BOTH, .thorough = true};
    struct np_scope running = declared;
    running.sockets = true;
    running.only = sockets;
    running.n_only = 1;
    if (run->np->settings.root && !dry_run)
        return np_fail(err, NEXTPORT_INPUT, "a root has files only: no port of this machine can be leased by them");
    if (np_run_look_and_begin(run, &declared, SIZE_MAX, dry_run, err) != NEXTPORT_OK ||
        np_run_look(run, &running, err) != NEXTPORT_OK)
        return err->status;
    np_run_honour_machine(run);
    return np_run_blind(run, err);
}

static enum nextport_status read_and_add(struct np_run *run, struct import *import, bool dry_run,
                                         struct nextport_error *err)
{
    struct entry *new_ones = NULL;
    size_t n = 0;
    if (read_all(import, err) != NEXTPORT_OK || look(run, import, dry_run, err) != NEXTPORT_OK ||
        compare_with_here(run, import, &new_ones, &n, err) != NEXTPORT_OK ||
        check_uses(run, import, new_ones, n, err) != NEXTPORT_OK || add_all(run, new_ones, n, err) != NEXTPORT_OK)
        return err->status;
    if (n < import->n)
        np_note(&run->log, NEXTPORT_INFO, "%zu of %zu leases %s here already", import->n - n, import->n,
                import->n - n == 1 ? "is" : "are");
    return NEXTPORT_OK;
}

enum nextport_status nextport_import(struct nextport *np, const char *bytes, size_t n, const char *origin, bool dry_run,
                                     bool in_use, const char *text, struct nextport_result **ret,
                                     struct nextport_error *err)
{
    struct np_run run;
    np_run_init(&run, np, NEXTPORT_ANSWER_IMPORT);
    np_run_asked(&run, text);
    run.res->dry_run = dry_run;
    struct import import = {.arena = run.arena, .origin = origin, .rest = {n ? bytes : "", n}, .in_use = in_use};
    enum nextport_status status = read_and_add(&run, &import, dry_run, err);
    return np_run_done(&run, status == NEXTPORT_OK, ret, status);
}
