/* A port binding is what was asked for ("-p"), and stays while the container exists; what runs has its numbers in
 * NetworkSettings as well, which alone tell those that the engine chose. So both are read, and the first decides.
 * SPDX-License-Identifier: MIT */
#include "source/container.h"

#include "base/json.h"

#include <string.h>

enum {
    BINDINGS_MAX = 1 << 17, /* of one container: every port of both protocols */
    WARNINGS_MAX = 20,
    SHOWN_MAX = 200, /* bytes of one foreign text that are worth repeating in every claim */
};

struct binding {
    const char *inside;    /* "80/tcp" */
    const char *ip, *port; /* as written; NULL: not said */
    const char *origin;
    unsigned line;
};

struct bindings {
    struct binding *items;
    size_t n, capacity;
};

struct container {
    struct np_evidence *ret;
    const char *source, *name, *origin; /* origin: of the text that is being read */
    struct bindings asked, assigned;
    struct np_portset tcp, udp;          /* that were asked for by number */
    const char *mode, *restart, *status; /* NULL: not said */
    bool publishes_all;
    bool has_bindings, has_state; /* the keys were met */
    bool running, paused, restarting, dead, started;
    unsigned n_warnings;
};

static void warn(struct container *c, const char *origin, unsigned line, const char *fmt, ...) NP_PRINTF(4, 5);

static void warn(struct container *c, const char *origin, unsigned line, const char *fmt, ...)
{
    if (++c->n_warnings > WARNINGS_MAX)
        return;
    va_list ap;
    va_start(ap, fmt);
    np_note(c->ret->log, NEXTPORT_WARNING, "%s:%u: container %s: %s", origin, line, c->name,
            np_vsprintf(c->ret->arena, fmt, ap));
    va_end(ap);
}

/* A text cut where it is longer than any that an engine takes. */
static const char *cut(struct np_arena *arena, const char *text)
{
    const struct np_text whole = np_text_of(text ? text : "");
    if (whole.len <= SHOWN_MAX)
        return text;
    return np_sprintf(arena, "%.*s...", (int)np_text_cut(whole, SHOWN_MAX), text);
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

/* Into the object that comes next; null is none. */
static bool enter_if_any(struct np_json_reader *json)
{
    struct np_json_reader ahead = *json;
    if (np_json_next(&ahead) != NP_JSON_NULL)
        return np_json_enter(json, NP_JSON_OBJECT);
    np_json_next(json);
    return false;
}

static bool read_bool(struct np_json_reader *json)
{
    const enum np_json_token token = np_json_next(json);
    if (token != NP_JSON_TRUE && token != NP_JSON_FALSE)
        np_json_refuse(json, "'%s' is neither true nor false", np_text_dup(json->arena, json->key));
    return token == NP_JSON_TRUE;
}

/* {"HostIp":"127.0.0.1","HostPort":"49100"} */
static void read_binding(struct np_json_reader *json, struct container *c, struct bindings *list, const char *inside)
{
    static const char *const keys[] = {"HostIp", "HostPort", NULL};
    struct binding binding = {.inside = inside, .origin = c->origin, .line = json->line};
    uint64_t seen = 0;
    while (np_json_next(json) == NP_JSON_KEY)
        switch (np_json_which(json, keys, &seen)) {
        case 0:
            binding.ip = cut(json->arena, np_json_read_text_or_null(json));
            break;
        case 1:
            binding.port = cut(json->arena, np_json_read_text_or_null(json));
            binding.line = json->line;
            break;
        default:
            np_json_skip(json);
        }
    if (np_json_is_bad(json) && !binding.port)
        return;
    if (list->n == BINDINGS_MAX)
        np_json_refuse(json, "more than %d bindings", BINDINGS_MAX);
    else
        *(struct binding *)np_push(json->arena, &list->items, &list->n, &list->capacity, sizeof binding) = binding;
}

/* {"80/tcp":[..],"53/udp":null} */
static void read_bindings(struct np_json_reader *json, struct container *c, struct bindings *list)
{
    if (!enter_if_any(json))
        return;
    while (np_json_next(json) == NP_JSON_KEY) {
        const char *inside = cut(json->arena, np_text_dup(json->arena, json->text));
        enum np_json_token token = np_json_next(json);
        if (token == NP_JSON_NULL)
            continue;
        if (token != NP_JSON_ARRAY)
            np_json_refuse(json, "the bindings of '%s' are not an array", inside);
        while ((token = np_json_next(json)) == NP_JSON_OBJECT)
            read_binding(json, c, list, inside);
        if (token != NP_JSON_ARRAY_END)
            np_json_refuse(json, "a binding of '%s' is not an object", inside);
    }
}

static void read_restart(struct np_json_reader *json, struct container *c)
{
    static const char *const keys[] = {"Name", NULL};
    uint64_t seen = 0;
    if (!enter_if_any(json))
        return;
    while (np_json_next(json) == NP_JSON_KEY)
        if (np_json_which(json, keys, &seen) == 0)
            c->restart = cut(json->arena, np_json_read_text_or_null(json));
        else
            np_json_skip(json);
}

static void read_state(struct np_json_reader *json, struct container *c)
{
    static const char *const keys[] = {"Status", "Running", "Paused", "Restarting", "Dead", "StartedAt", NULL};
    bool *const flags[] = {NULL, &c->running, &c->paused, &c->restarting, &c->dead};
    uint64_t seen = 0;
    c->has_state = np_json_enter(json, NP_JSON_OBJECT);
    while (c->has_state && np_json_next(json) == NP_JSON_KEY) {
        const int which = np_json_which(json, keys, &seen);
        const char *text = NULL;
        if (which == 0 || which == 5)
            text = np_json_read_text_or_null(json);
        else if (which > 0)
            *flags[which] = read_bool(json);
        else
            np_json_skip(json);
        if (which == 0)
            c->status = cut(json->arena, text);
        if (which == 5)
            c->started = text && strncmp(text, "0001-", 5) != 0; /* the engine's word for never */
    }
    c->has_state = c->has_state && !np_json_is_bad(json);
}

static void read_network(struct np_json_reader *json, struct container *c)
{
    static const char *const keys[] = {"Ports", NULL};
    uint64_t seen = 0;
    if (!enter_if_any(json))
        return;
    while (np_json_next(json) == NP_JSON_KEY)
        if (np_json_which(json, keys, &seen) == 0)
            read_bindings(json, c, &c->assigned);
        else
            np_json_skip(json);
}

static const char *const host_keys[] = {"PortBindings", "NetworkMode", "RestartPolicy", "PublishAllPorts", NULL};

/* What of the host's side was read by np_json_which(), or nothing. */
static void read_host_value(struct np_json_reader *json, struct container *c, int which)
{
    switch (which) {
    case 0:
        c->has_bindings = true;
        read_bindings(json, c, &c->asked);
        break;
    case 1:
        c->mode = np_json_read_text_or_null(json);
        break;
    case 2:
        read_restart(json, c);
        break;
    case 3:
        c->publishes_all = read_bool(json);
        break;
    default:
        np_json_skip(json);
    }
}

static void read_host(struct np_json_reader *json, struct container *c)
{
    uint64_t seen = 0;
    if (!np_json_enter(json, NP_JSON_OBJECT))
        return;
    while (np_json_next(json) == NP_JSON_KEY)
        read_host_value(json, c, np_json_which(json, host_keys, &seen));
}

static void read_name(struct np_json_reader *json, struct container *c)
{
    const char *name = np_json_read_text_or_null(json);
    if (name && *name == '/')
        name++;
    if (name && *name)
        c->name = cut(json->arena, name);
}

/* Any of the three: hostconfig.json, config.v2.json, and an inspection, which is the second with the first in it. */
static enum nextport_status read_text(struct container *c, const struct np_container_text *text,
                                      struct nextport_error *err)
{
    static const char *const keys[] = {"Name", "State", "NetworkSettings", "HostConfig", NULL};
    struct np_json_reader json;
    uint64_t seen = 0, host_seen = 0;
    np_json_reader_init(&json, text->bytes, 0, c->ret->arena);
    c->origin = text->origin;
    np_json_enter(&json, NP_JSON_OBJECT);
    while (np_json_next(&json) == NP_JSON_KEY)
        switch (np_json_which(&json, keys, &seen)) {
        case 0:
            read_name(&json, c);
            break;
        case 1:
            read_state(&json, c);
            break;
        case 2:
            read_network(&json, c);
            break;
        case 3:
            read_host(&json, c);
            break;
        default:
            read_host_value(&json, c, np_json_which(&json, host_keys, &host_seen));
        }
    np_json_finish(&json);
    if (!np_json_is_bad(&json))
        return NEXTPORT_OK;
    np_json_fail(&json, text->origin, err);
    err->status = NEXTPORT_BLIND;
    return err->status;
}

/* ---- Claims ----------------------------------------------------------------------------------------------------- */

/* "created, not running, restart unless-stopped" */
static const char *state_of(const struct container *c)
{
    struct np_buf text = {.arena = c->ret->arena};
    const char *status = c->status;
    if (!status || !*status)
        status = c->running      ? c->paused       ? "paused"
                                   : c->restarting ? "restarting"
                                                   : "running"
                 : c->dead       ? "dead"
                 : !c->has_state ? "state not known"
                 : c->started    ? "exited"
                                 : "created";
    np_buf_puts(&text, status);
    if (c->has_state && !c->running)
        np_buf_puts(&text, ", not running");
    if (c->restart && *c->restart)
        np_buf_printf(&text, ", restart %s", c->restart);
    return text.ptr;
}

static const char *address_of(struct np_arena *arena, const char *ip)
{
    if (!ip || !*ip)
        return "*";
    return strchr(ip, ':') && *ip != '[' ? np_sprintf(arena, "[%s]", ip) : ip;
}

static const struct {
    const char *word;
    unsigned protocol;
} protocols[] = {{"tcp", NEXTPORT_TCP}, {"udp", NEXTPORT_UDP}, {"sctp", 0}};

static bool find_protocol(struct np_text word, unsigned *ret)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (np_text_is_nocase(word, protocols[i].word)) {
            *ret = protocols[i].protocol;
            return true;
        }
    return false;
}

/* 0: of neither kind that is looked at (sctp). What is not known is both. */
static unsigned protocols_of(const char *inside)
{
    const char *slash = strchr(inside, '/');
    unsigned protocol = slash ? NEXTPORT_BOTH : NEXTPORT_TCP;
    if (slash)
        find_protocol(np_text_of(slash + 1), &protocol);
    return protocol;
}

/* The engine chooses the number, or chose it, when the container is started. */
static bool is_chosen(const struct binding *binding)
{
    return !binding->port || !*binding->port || strcmp(binding->port, "0") == 0;
}

/* Takes what stands behind the last separator off the end; false: there is none, and `part` is all of it. */
static bool take_last(struct np_text *rest, char separator, struct np_text *part)
{
    size_t n = rest->len;
    while (n > 0 && rest->ptr[n - 1] != separator)
        n--;
    *part = (struct np_text){rest->ptr + n, rest->len - n};
    rest->len = n ? n - 1 : 0;
    return n > 0;
}

/* Podman reads a number as Go does, which takes a sign. */
static bool parse_port(struct np_text text, uint16_t *ret)
{
    const bool is_signed = text.len && text.ptr[0] == '+';
    return np_text_port((struct np_text){text.ptr + is_signed, text.len - is_signed}, ret);
}

/* "49100" and "49100-49110". */
static bool parse_range(struct np_text text, struct nextport_range *ret)
{
    struct np_text low = text, high;
    if (!take_last(&low, '-', &high))
        low = high;
    return parse_port(low, &ret->first) && parse_port(high, &ret->last) && ret->first <= ret->last;
}

/* Of a range the engine takes one. */
static bool parse_ports(const char *text, struct nextport_claim *ret)
{
    struct nextport_range ports;
    if (!parse_range(np_text_of(text), &ports))
        return false;
    ret->first = ports.first;
    ret->last = ports.last;
    if (ports.first != ports.last)
        ret->certainty = NEXTPORT_CONDITIONAL;
    return true;
}

static bool is_address(struct np_text text)
{
    const bool brackets = text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']';
    const size_t from = brackets, to = text.len - brackets;
    const char *allowed = brackets ? "0123456789abcdefABCDEF:." : "0123456789.";
    for (size_t i = from; i < to; i++)
        if (!text.ptr[i] || !strchr(allowed, text.ptr[i]))
            return false;
    return from < to;
}

const char *np_published_parse(struct np_arena *arena, struct np_text text, struct np_published *ret)
{
    struct np_text rest = text, protocol, inside, outside = {"", 0};
    *ret = (struct np_published){.address = "*", .protocol = NEXTPORT_TCP};
    if (!take_last(&rest, '/', &protocol))
        rest = protocol;
    else if (!find_protocol(protocol, &ret->protocol))
        return "its protocol is neither tcp, udp nor sctp";
    const bool has_outside = take_last(&rest, ':', &inside),
               has_address = has_outside && take_last(&rest, ':', &outside);
    if (!parse_range(inside, &ret->inside))
        return "its container port is no port";
    if (outside.len && !parse_range(outside, &ret->outside))
        return "its host port is no port";
    if (has_address && !is_address(rest))
        return "its address is no IP address";
    if (has_address)
        ret->address = np_text_dup(arena, rest);
    return NULL;
}

/* Is the port of this running container known by what was asked for? */
static bool is_declared(const struct container *c, const struct nextport_claim *claim)
{
    return (!(claim->protocol & NEXTPORT_TCP) || np_portset_has(&c->tcp, claim->first)) &&
           (!(claim->protocol & NEXTPORT_UDP) || np_portset_has(&c->udp, claim->first));
}

static void declare(struct container *c, const struct nextport_claim *claim)
{
    np_evidence_claim(c->ret, claim);
    if (claim->first != claim->last)
        return; /* the engine took one of them: that is worth a claim of its own */
    if (claim->protocol & NEXTPORT_TCP)
        np_portset_add(&c->tcp, claim->first, claim->last);
    if (claim->protocol & NEXTPORT_UDP)
        np_portset_add(&c->udp, claim->first, claim->last);
}

static struct nextport_claim claim_of(const struct container *c, const struct binding *binding, const char *state)
{
    return (struct nextport_claim){.protocol = (enum nextport_protocol)protocols_of(binding->inside),
                                   .kind = NEXTPORT_PUBLISHED,
                                   .address = address_of(c->ret->arena, binding->ip),
                                   .holder = c->name,
                                   .detail = np_sprintf(c->ret->arena, "%s, %s", binding->inside, state),
                                   .source = c->source,
                                   .file = binding->origin,
                                   .line = binding->line};
}

/* No number is invented: that there is one is all that is known. */
static void claim_unknown(struct container *c, struct nextport_claim *claim, const char *why)
{
    claim->first = claim->last = 0;
    claim->certainty = NEXTPORT_UNRESOLVED;
    claim->detail = np_sprintf(c->ret->arena, "%s, %s", claim->detail, why);
    np_evidence_claim(c->ret, claim);
}

static bool is_assigned(const struct container *c, const char *inside)
{
    for (size_t i = 0; c->running && i < c->assigned.n; i++)
        if (strcmp(c->assigned.items[i].inside, inside) == 0 && !is_chosen(&c->assigned.items[i]))
            return true;
    return false;
}

static void claim_asked(struct container *c, const struct binding *binding, const char *state)
{
    struct nextport_claim claim = claim_of(c, binding, state);
    if (!claim.protocol) {
        np_note(c->ret->log, NEXTPORT_VERBOSE, "%s:%u: container %s: %s is neither tcp nor udp", binding->origin,
                binding->line, c->name, binding->inside);
        return;
    }
    if (is_chosen(binding)) {
        if (!is_assigned(c, binding->inside))
            claim_unknown(c, &claim, "its port is chosen when it starts");
    } else if (parse_ports(binding->port, &claim)) {
        declare(c, &claim);
    } else {
        warn(c, binding->origin, binding->line, "host port \"%s\" of %s is not a port", binding->port, binding->inside);
        claim_unknown(c, &claim, np_sprintf(c->ret->arena, "host port \"%s\"", binding->port));
    }
}

/* What a running container has beside what was asked for by number. */
static void claim_assigned(struct container *c, const struct binding *binding, const char *state)
{
    struct nextport_claim claim = claim_of(c, binding, state);
    if (!claim.protocol || is_chosen(binding))
        return;
    if (!parse_ports(binding->port, &claim))
        warn(c, binding->origin, binding->line, "host port \"%s\" of %s is not a port", binding->port, binding->inside);
    else if (!is_declared(c, &claim))
        np_evidence_claim(c->ret, &claim);
}

static void claim_all(struct container *c)
{
    const char *state = state_of(c);
    for (size_t i = 0; i < c->asked.n; i++)
        claim_asked(c, &c->asked.items[i], state);
    for (size_t i = 0; c->running && i < c->assigned.n; i++)
        claim_assigned(c, &c->assigned.items[i], state);
    if (c->publishes_all && !c->running) {
        struct nextport_claim claim =
            claim_of(c, &(struct binding){.inside = "all its ports", .origin = c->origin}, state);
        claim_unknown(c, &claim, "chosen when it starts");
    }
    if (c->mode && strcmp(c->mode, "host") == 0)
        np_note(c->ret->log, NEXTPORT_VERBOSE, "container %s has no network of its own: its ports are its programs'",
                c->name);
    if (c->n_warnings > WARNINGS_MAX)
        np_note(c->ret->log, NEXTPORT_WARNING, "%s: %u more warnings", c->origin, c->n_warnings - WARNINGS_MAX);
}

/* Does anything that is said of it depend on its state or its name? Where thousands publish nothing, that saves half. */
static bool matters(const struct container *c, enum nextport_status status)
{
    return c->asked.n || c->publishes_all || (c->mode && strcmp(c->mode, "host") == 0) || status != NEXTPORT_OK;
}

enum nextport_status np_container_claim(struct np_evidence *ret, const char *source, const char *id,
                                        const struct np_container_text *ports, np_container_state_fn *state, void *ctx,
                                        struct nextport_error *err)
{
    struct container c = {
        .ret = ret, .source = source, .name = *id ? np_sprintf(ret->arena, "%.*s", NP_CONTAINER_ID, id) : "unnamed"};
    struct nextport_error other = NEXTPORT_ERROR_INIT;
    enum nextport_status status = read_text(&c, ports, err);
    if (status == NEXTPORT_OK && !c.has_bindings)
        status = np_fail(err, NEXTPORT_BLIND, "%s: no PortBindings in it", ports->origin);
    const struct np_container_text more = state && matters(&c, status) ? state(ctx) : (struct np_container_text){0};
    if (more.bytes.ptr && read_text(&c, &more, &other) != NEXTPORT_OK && status == NEXTPORT_OK) {
        *err = other;
        status = other.status;
    }
    c.origin = ports->origin;
    claim_all(&c);
    return status;
}
