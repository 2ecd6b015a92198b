/* What systemd's socket units listen on and what port its services are told to use, started or not.
 *
 * systemd is never asked: its manager does not run in an image, and does not know what was written since it last read.
 * Where systemd ignores a line and goes on, so is done here.
 * SPDX-License-Identifier: MIT */
#include "source/units.h"

#include <string.h>

enum { PORTS_MAX = 64 }; /* that one variable can mean */

struct systemd {
    struct np_files *files;
    struct np_units units;
    struct np_arena *arena;
    struct np_map claimed; /* by users' managers, which share most of their units */
    bool once;             /* only what was not claimed before */
    size_t n_units;
};

/* One listening line of a socket unit. */
struct listener {
    struct np_setting setting;
    enum nextport_protocol protocol; /* 0: of no port, whatever it says */
};

/* One unit being read. */
struct reading {
    struct systemd *s;
    const struct np_unit *unit;
    struct listener *listeners;
    size_t n, capacity;
    struct np_text service; /* that the socket starts, if it is not the one of its name */
    struct np_environment environment;
    unsigned n_claimed, n_malformed;   /* ports, and parts that are none, of the variable being read */
    bool six_only, no_port, elsewhere; /* IPv6 alone; a protocol with ports of its own; another network namespace */
};

/* ---- Claims --------------------------------------------------------------------------------------------------- */

static void claim(struct reading *r, struct np_position at, struct nextport_claim claim)
{
    struct systemd *s = r->s;
    if (s->once) {
        void **known = np_map_at(&s->claimed, np_sprintf(s->arena, "%s %s:%u %u-%u %d", r->unit->name, at.file->name,
                                                         at.line, claim.first, claim.last, (int)claim.protocol));
        if (*known)
            return;
        *known = s;
    }
    claim.holder = np_files_text(s->files, np_text_of(r->unit->name));
    np_files_claim(s->files, at, claim);
}

/* A value that is not known here. Of a template that nobody has made an instance of there is nothing to know yet. */
static void claim_unresolved(struct reading *r, struct np_position at, struct nextport_claim what)
{
    what.kind = NEXTPORT_CONFIGURED;
    what.certainty = NEXTPORT_UNRESOLVED;
    if (!np_unit_is_template(r->unit))
        np_files_gap(r->s->files, at, np_units_hint(r->s->files, at), "%s: its value is not known here", what.detail);
    claim(r, at, what);
}

/* ---- Socket units --------------------------------------------------------------------------------------------- */

/* Which listening lines there are; each of them, empty, resets them all. */
static const struct {
    const char *key;
    enum nextport_protocol protocol;
} listening[] = {{"ListenStream", NEXTPORT_TCP}, {"ListenDatagram", NEXTPORT_UDP},
                 {"ListenSequentialPacket", 0},  {"ListenFIFO", 0},
                 {"ListenNetlink", 0},           {"ListenSpecial", 0},
                 {"ListenMessageQueue", 0},      {"ListenUSBFunction", 0}};

static bool take_listener(struct reading *r, const struct np_setting *setting)
{
    for (size_t i = 0; i < sizeof listening / sizeof *listening; i++) {
        if (!np_text_is(setting->key, listening[i].key))
            continue;
        if (!setting->value.len)
            r->n = 0;
        else
            *(struct listener *)np_push(r->s->arena, &r->listeners, &r->n, &r->capacity, sizeof *r->listeners) =
                (struct listener){*setting, listening[i].protocol};
        return true;
    }
    return false;
}

/* Units of both kinds can be put into another network namespace. */
static void take_namespace(struct reading *r, const struct np_setting *setting)
{
    if (np_text_is(setting->key, "PrivateNetwork"))
        np_unit_truth(setting->value, &r->elsewhere);
    else if (np_text_is(setting->key, "NetworkNamespacePath"))
        r->elsewhere = setting->value.len > 0;
}

static void take_socket(void *ctx, const struct np_setting *setting)
{
    struct reading *r = ctx;
    bool is_true;
    if (!np_text_is(setting->section, "Socket") || take_listener(r, setting))
        return;
    if (np_text_is(setting->key, "BindIPv6Only"))
        r->six_only = np_text_is(setting->value, "ipv6-only") || (np_unit_truth(setting->value, &is_true) && is_true);
    else if (np_text_is(setting->key, "SocketProtocol"))
        r->no_port = np_text_is(setting->value, "sctp") || np_text_is(setting->value, "udplite");
    else if (np_text_is(setting->key, "Service") && np_text_ends(setting->value, ".service"))
        r->service = setting->value;
    else
        take_namespace(r, setting);
}

/* As systemd reads numbers: what stands before the digits says which they are. */
static bool read_port(struct np_text text, uint16_t *ret)
{
    static const char two[] = "01", eight[] = "01234567", ten[] = "0123456789", sixteen[] = "0123456789abcdef";
    static const struct {
        const char *prefix, *digits;
    } bases[] = {{"0b+", two},    {"0b", two},   {"0o+", eight}, {"0o", eight}, {"+0x", sixteen},
                 {"0x", sixteen}, {"+0", eight}, {"0", eight},   {"+", ten},    {"", ten}};
    size_t base = 0;
    uint32_t port = 0;
    while (!np_text_begins_nocase(text, bases[base].prefix))
        base++;
    const char *digits = bases[base].digits;
    for (size_t i = strlen(bases[base].prefix); i < text.len && port <= UINT16_MAX; i++) {
        const char c = text.ptr[i], *digit = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;
        if (!digit)
            return false;
        port = port * (uint32_t)strlen(digits) + (uint32_t)(digit - digits);
    }
    *ret = (uint16_t)port;
    return port > 0 && port <= UINT16_MAX;
}

static bool is_ipv4(struct np_text text)
{
    struct np_text part;
    unsigned n = 0;
    uint64_t number;
    for (; np_text_split(&text, '.', &part); n++)
        if (part.len > 3 || (part.len > 1 && part.ptr[0] == '0') || !np_text_u64(part, 255, &number))
            return false;
    return n == 4;
}

static bool is_ipv6(struct np_text text)
{
    bool has_colon = false;
    for (size_t i = 0; i < text.len; i++) {
        has_colon = has_colon || text.ptr[i] == ':';
        if (!strchr("0123456789abcdefABCDEF:.", text.ptr[i]))
            return false;
    }
    return has_colon;
}

enum address { NO_PORT, A_PORT, NONSENSE };

/* What systemd takes for an address of a socket: paths, names and VSOCK have no port; host names there are none. */
static enum address read_address(struct np_text text, struct np_text *ret_host, uint16_t *ret_port)
{
    const char *colon = NULL;
    for (size_t i = 0; i < text.len; i++)
        colon = text.ptr[i] == ':' ? text.ptr + i : colon;
    if (text.len && (text.ptr[0] == '/' || text.ptr[0] == '@'))
        return NO_PORT;
    if (text.len >= 5 && memcmp(text.ptr, "vsock", 5) == 0)
        return NO_PORT;
    *ret_host = (struct np_text){0};
    if (!colon)
        return read_port(text, ret_port) ? A_PORT : NONSENSE;
    struct np_text rest = {colon + 1, text.len - (size_t)(colon + 1 - text.ptr)}, port = rest;
    struct np_text host = {text.ptr, (size_t)(colon - text.ptr)};
    *ret_host = host;
    np_text_split(&rest, '%', &port); /* behind it stands an interface */
    const bool has_brackets = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (has_brackets)
        host = (struct np_text){host.ptr + 1, host.len - 2};
    return (has_brackets ? is_ipv6(host) : is_ipv4(host)) && read_port(port, ret_port) ? A_PORT : NONSENSE;
}

/* A bare port, and [::], are both families', unless the unit says otherwise. */
static const char *address_of(const struct reading *r, struct np_text host)
{
    if (!host.len || np_text_is(host, "[::]"))
        return r->six_only ? "[::]" : "*";
    return np_files_text(r->s->files, host);
}

static const char *line_of(struct reading *r, const struct np_setting *setting)
{
    return np_sprintf(r->s->arena, "%.*s=%s", (int)setting->key.len, setting->key.ptr,
                      np_files_text(r->s->files, setting->value));
}

/* The folders of a user's manager are not known here, but are folders. */
static bool is_path(struct np_text value)
{
    const bool is_folder = value.len > 1 && value.ptr[0] == '%' && strchr("tSCLEdhTVY", value.ptr[1]);
    return is_folder || value.ptr[0] == '/' || value.ptr[0] == '@';
}

/* What nothing enables may be started all the same, but conflicts with nobody until it is. */
static enum nextport_certainty certainty_of(struct reading *r)
{
    const bool is_certain =
        !np_unit_is_template(r->unit) && !r->elsewhere && (r->unit->given || np_units_is_wanted(&r->s->units, r->unit));
    return is_certain ? NEXTPORT_DECLARED : NEXTPORT_CONDITIONAL;
}

static void claim_listener(struct reading *r, const struct listener *listener)
{
    const struct np_setting *setting = &listener->setting;
    const char *text = np_unit_expand(&r->s->units, r->unit, np_text_dup(r->s->arena, setting->value));
    struct nextport_claim what = {
        .kind = NEXTPORT_CONFIGURED, .protocol = listener->protocol, .detail = line_of(r, setting)};
    struct np_text host;
    uint16_t port;
    if (!listener->protocol || r->no_port)
        return;
    if (!text) {
        if (!is_path(setting->value))
            claim_unresolved(r, setting->at, what);
        return;
    }
    switch (read_address(np_text_of(text), &host, &port)) {
    case NO_PORT:
        break;
    case A_PORT:
        what.first = what.last = port;
        what.address = address_of(r, host);
        what.certainty = certainty_of(r);
        claim(r, setting->at, what);
        break;
    case NONSENSE:
        np_files_warn(r->s->files, setting->at, "%s: neither a port nor an address with one: systemd ignores the line",
                      what.detail);
        break;
    }
}

static void read_socket(struct reading *r)
{
    np_unit_read(&r->s->units, r->unit, take_socket, r);
}

static void claim_socket(struct reading *r)
{
    const char *service = np_unit_expand(&r->s->units, r->unit, np_text_dup(r->s->arena, r->service));
    if (service)
        np_units_start(&r->s->units, service);
    for (size_t i = 0; i < r->n; i++)
        claim_listener(r, &r->listeners[i]);
}

/* Is there anything that can be a port, or may start an instance of a service that has one? */
static bool socket_matters(const struct reading *r)
{
    if (r->service.len)
        return true;
    for (size_t i = 0; i < r->n; i++)
        if (r->listeners[i].protocol && !is_path(r->listeners[i].setting.value))
            return true;
    return false;
}

/* ---- Services ------------------------------------------------------------------------------------------------- */

/* How the value of a variable is read, in which `text` is. */
typedef void value_fn(struct reading *, const struct np_variable *, struct np_text text);

/* Is it meant as no port at all? 0 and nothing are: the program chooses, or does not listen. */
static bool means_none(struct np_text text)
{
    return !text.len || strspn(text.ptr, "0") >= text.len || text.ptr[0] == '/';
}

/* A variable, with its value where everybody may see that. */
static const char *shown(const struct reading *r, const struct np_variable *variable)
{
    if (variable->is_secret || !variable->value)
        return variable->name;
    return np_sprintf(r->s->arena, "%s=%s", variable->name, np_files_text(r->s->files, np_text_of(variable->value)));
}

/* A value may be long, and mean anything. */
static bool is_too_many(struct reading *r, const struct np_variable *variable)
{
    struct np_files *files = r->s->files;
    if (++r->n_claimed == PORTS_MAX + 1)
        np_files_gap(files, variable->at, np_units_hint(files, variable->at), "%s: %s has more than %d ports",
                     r->unit->name, variable->name, PORTS_MAX);
    return r->n_claimed > PORTS_MAX;
}

/* A host that is a name may be anything in a value that is not to be shown. */
static const char *host_of(const struct reading *r, const struct np_variable *variable, struct np_text host)
{
    const bool has_brackets = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    const bool is_number = is_ipv4(host) || (has_brackets && is_ipv6((struct np_text){host.ptr + 1, host.len - 2}));
    if (!host.len || (variable->is_secret && !is_number && !np_text_is(host, "*")))
        return NULL;
    return np_files_text(r->s->files, host);
}

static void claim_variable(struct reading *r, const struct np_variable *variable, struct np_text host, uint16_t port)
{
    if (!is_too_many(r, variable))
        claim(r, variable->at,
              (struct nextport_claim){.kind = NEXTPORT_CONFIGURED,
                                      .first = port,
                                      .last = port,
                                      .protocol = NEXTPORT_TCP,
                                      .certainty = NEXTPORT_CONDITIONAL,
                                      .address = host_of(r, variable, host),
                                      .detail = shown(r, variable)});
}

/* ---- Malformed values -------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The next number that may be a port, where `*text` goes on behind it: none of those of an address. */
static bool next_suspect(struct np_text *text, uint16_t *ret)
{
    const char *const begin = text->ptr, *const end = begin + text->len;
    bool closes = true; /* looked for once, not for each that opens */
    for (const char *p = begin; p < end;) {
        const char *bracket = closes && *p == '[' ? memchr(p, ']', (size_t)(end - p)) : NULL;
        closes = closes && (*p != '[' || bracket);
        const char *from = p = bracket ? bracket : p;
        while (p < end && (is_digit(*p) || (p > from && *p == '.' && p + 1 < end && is_digit(p[1]))))
            p++;
        const struct np_text number = {from, (size_t)(p - from)};
        if (!number.len) {
            p++;
        } else if (np_text_port(number, ret)) {
            *text = (struct np_text){p, (size_t)(end - p)};
            return true;
        }
    }
    return false;
}

static void warn_of(struct reading *r, const struct np_variable *variable, const char *what, struct np_text text)
{
    struct np_files *files = r->s->files;
    if (variable->is_secret)
        np_files_warn(files, variable->at, "%s: %s is %s", r->unit->name, variable->name, what);
    else
        np_files_warn(files, variable->at, "%s: %s is %s: \"%s\"", r->unit->name, variable->name, what,
                      np_files_text(files, text));
}

/* The program may make something of it, or find it where it was meant to stand: what may be a port is left alone. */
static void claim_suspects(struct reading *r, const struct np_variable *variable, const char *what, struct np_text text)
{
    uint16_t port;
    if (++r->n_malformed <= PORTS_MAX)
        warn_of(r, variable, what, text);
    while (next_suspect(&text, &port) && !is_too_many(r, variable))
        claim(r, variable->at,
              (struct nextport_claim){.kind = NEXTPORT_SUSPECT,
                                      .first = port,
                                      .last = port,
                                      .protocol = NEXTPORT_TCP,
                                      .certainty = NEXTPORT_CONDITIONAL,
                                      .detail = shown(r, variable)});
}

/* ---- Forms of values --------------------------------------------------------------------------------------------- */

static void read_one_port(struct reading *r, const struct np_variable *variable, struct np_text text)
{
    uint16_t port;
    text = np_text_trim(text);
    if (np_text_port(text, &port))
        claim_variable(r, variable, (struct np_text){0}, port);
    else if (!means_none(text))
        claim_suspects(r, variable, "no port", text);
}

/* "5000;5001" */
static void read_ports(struct reading *r, const struct np_variable *variable, struct np_text text)
{
    struct np_text part;
    while (np_text_split(&text, ';', &part))
        read_one_port(r, variable, part);
}

/* "127.0.0.1:8080", "[::1]:8080". */
struct authority {
    struct np_text host, port;
    bool has_port; /* a colon, whatever stands behind it */
    bool is_list;  /* which is none */
};

static struct authority authority_of(struct np_text text)
{
    struct authority found = {.host = text};
    const char *colon = NULL;
    for (size_t i = 0; i < text.len; i++) {
        colon = text.ptr[i] == ':' ? text.ptr + i : text.ptr[i] == ']' ? NULL : colon;
        found.is_list = found.is_list || strchr(",; \t", text.ptr[i]);
    }
    if (colon) {
        found.has_port = true;
        found.host.len = (size_t)(colon - text.ptr);
        found.port = (struct np_text){colon + 1, text.len - found.host.len - 1};
    }
    return found;
}

static struct np_text behind_scheme(struct np_text text)
{
    for (size_t i = 0; i + 3 <= text.len; i++)
        if (memcmp(text.ptr + i, "://", 3) == 0)
            return (struct np_text){text.ptr + i + 3, text.len - i - 3};
    return text;
}

/* An address alone, whose last part may be a port as well. */
static bool is_bare_ipv6(struct np_text text)
{
    const char *colon = memchr(text.ptr, ':', text.len);
    return colon && memchr(colon + 1, ':', text.len - (size_t)(colon + 1 - text.ptr)) && is_ipv6(text);
}

/* Of digits and what stands between those of ports and addresses. */
static bool is_of_numbers(struct np_text text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("0123456789.,;:/- \t", text.ptr[i]))
            return false;
    return text.len && !is_ipv4(text);
}

/* "127.0.0.1:8080", ":8080", "8080", "tcp://0.0.0.0:8080"; a host alone says nothing of a port. */
static void read_host(struct reading *r, const struct np_variable *variable, struct np_text text)
{
    const struct np_text whole = np_text_trim(text);
    struct np_text rest = behind_scheme(whole), address = rest;
    uint16_t port;
    const bool has_scheme = rest.len < whole.len;
    if (means_none(rest))
        return;
    if (has_scheme)
        np_text_split(&rest, '/', &address);
    const struct authority found = authority_of(address);
    if (!found.is_list && np_text_port(found.port, &port))
        claim_variable(r, variable, found.host, port);
    else if (!has_scheme && np_text_port(address, &port))
        claim_variable(r, variable, (struct np_text){0}, port);
    else if (found.is_list || (found.has_port ? !means_none(found.port) && !is_bare_ipv6(address)
                                              : !has_scheme && is_of_numbers(address)))
        claim_suspects(r, variable, "no address with a port", whole);
}

/* Without a port it is the scheme's. */
static void read_url(struct reading *r, const struct np_variable *variable, struct np_text url)
{
    const bool is_https = np_text_begins_nocase(url, "https://");
    if (!is_https && !np_text_begins_nocase(url, "http://")) {
        claim_suspects(r, variable, "no URL", url);
        return;
    }
    struct np_text rest = behind_scheme(url), host = rest;
    uint16_t port = is_https ? 443 : 80;
    if (np_text_begins_nocase(rest, "unix:") || np_text_begins_nocase(rest, "pipe:"))
        return;
    np_text_split(&rest, '/', &host);
    struct authority found = authority_of(host);
    if (np_text_is(found.host, "+"))
        found.host = np_text_of("*");
    if (!found.is_list && (!found.has_port || np_text_port(found.port, &port)))
        claim_variable(r, variable, found.host, port);
    else if (found.is_list || !found.port.len || !means_none(found.port))
        claim_suspects(r, variable, "no URL", url);
}

static void read_urls(struct reading *r, const struct np_variable *variable, struct np_text text)
{
    struct np_text part;
    while (np_text_split(&text, ';', &part))
        if (np_text_trim(part).len)
            read_url(r, variable, np_text_trim(part));
}

/* The variables by which programs are told their own port. `end`: any name may stand between the two. */
static const struct {
    const char *begin, *end;
    value_fn *read;
} variables[] = {
    {"PORT", NULL, read_one_port},
    {"SERVER_PORT", NULL, read_one_port},
    {"MANAGEMENT_SERVER_PORT", NULL, read_one_port},
    {"HTTP_PORT", NULL, read_one_port},
    {"HTTPS_PORT", NULL, read_one_port},
    {"APP_PORT", NULL, read_one_port},
    {"API_PORT", NULL, read_one_port},
    {"WEB_PORT", NULL, read_one_port},
    {"ADMIN_PORT", NULL, read_one_port},
    {"GRPC_PORT", NULL, read_one_port},
    {"METRICS_PORT", NULL, read_one_port},
    {"LISTEN_PORT", NULL, read_one_port},
    {"FLASK_RUN_PORT", NULL, read_one_port},
    {"UVICORN_PORT", NULL, read_one_port},
    {"NITRO_PORT", NULL, read_one_port},
    {"GF_SERVER_HTTP_PORT", NULL, read_one_port},
    {"ASPNETCORE_URLS", NULL, read_urls},
    {"DOTNET_URLS", NULL, read_urls},
    {"Kestrel__Endpoints__", "__Url", read_urls},
    {"ASPNETCORE_HTTP_PORTS", NULL, read_ports},
    {"ASPNETCORE_HTTPS_PORTS", NULL, read_ports},
    {"DOTNET_HTTP_PORTS", NULL, read_ports},
    {"DOTNET_HTTPS_PORTS", NULL, read_ports},
    {"HTTP_PORTS", NULL, read_ports},
    {"HTTPS_PORTS", NULL, read_ports},
    {"LISTEN_ADDR", NULL, read_host},
    {"LISTEN_ADDRESS", NULL, read_host},
    {"BIND_ADDR", NULL, read_host},
    {"HTTP_ADDR", NULL, read_host},
};

static value_fn *reader_of(const char *name)
{
    const struct np_text text = np_text_of(name);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *begin = variables[i].begin, *end = variables[i].end;
        if (!end && strcmp(name, begin) == 0)
            return variables[i].read;
        if (end && np_text_begins_nocase(text, begin) && text.len > strlen(begin) + strlen(end) &&
            np_equal_nocase(name + text.len - strlen(end), end))
            return variables[i].read;
    }
    return NULL;
}

static void take_service(void *ctx, const struct np_setting *setting)
{
    struct reading *r = ctx;
    if (np_text_is(setting->section, "Service"))
        np_environment_take(&r->environment, setting);
}

static void read_service(struct reading *r)
{
    np_environment_init(&r->environment, &r->s->units, r->unit);
    np_unit_read(&r->s->units, r->unit, take_service, r);
}

static bool is_of_interest(const char *name)
{
    return reader_of(name) != NULL;
}

static void claim_service(struct reading *r)
{
    np_environment_finish(&r->environment, is_of_interest);
    for (size_t i = 0; i < r->environment.n; i++) {
        const struct np_variable *variable = &r->environment.variables[i];
        value_fn *read = reader_of(variable->name);
        r->n_claimed = r->n_malformed = 0;
        if (read && variable->value)
            read(r, variable, np_text_of(variable->value));
        else if (read)
            claim_unresolved(r, variable->at,
                             (struct nextport_claim){.protocol = NEXTPORT_TCP,
                                                     .detail = np_sprintf(r->s->arena, "%s=", variable->name)});
    }
}

/* A file may have anything. */
static bool service_matters(const struct reading *r)
{
    for (size_t i = 0; i < r->environment.n; i++)
        if (reader_of(r->environment.variables[i].name))
            return true;
    return r->environment.n_files > 0;
}

/* ---- A manager's units ---------------------------------------------------------------------------------------- */

static const char *const suffixes[] = {".socket", ".service", NULL};

/* A row for each of the suffixes. */
static const struct {
    const char *word; /* which every unit has that matters */
    void (*read)(struct reading *);
    bool (*matters)(const struct reading *);
    void (*claim)(struct reading *);
} kinds[] = {{"Listen", read_socket, socket_matters, claim_socket},
             {"Environment", read_service, service_matters, claim_service}};

static void read_unit(struct systemd *s, const struct np_unit *unit, size_t kind)
{
    struct reading r = {.s = s, .unit = unit};
    kinds[kind].read(&r);
    kinds[kind].claim(&r);
}

/* Each instance that something wants, and each that was given drop-ins; where there is none, the template says what
 * every instance will use. Most templates say nothing that matters: then it is not looked for what wants them. */
static void read_template(struct systemd *s, const struct np_unit *unit, size_t kind)
{
    struct reading r = {.s = s, .unit = unit};
    const struct np_unit *const *wanted = NULL, *const * apart;
    size_t n_wanted = 0, n_apart;
    struct np_map done = {.arena = s->arena};
    if (np_unit_may_say(&s->units, unit, kinds[kind].word))
        kinds[kind].read(&r);
    const bool matters = kinds[kind].matters(&r), may_differ = np_units_set_apart(&s->units, unit, &apart, &n_apart);
    for (size_t i = 0; i < n_apart; i++) {
        *np_map_at(&done, apart[i]->name) = s;
        read_unit(s, apart[i], kind);
    }
    if (matters || may_differ)
        np_units_instances(&s->units, unit, &wanted, &n_wanted);
    for (size_t i = 0; i < n_wanted; i++)
        if (!np_map_find(&done, wanted[i]->name))
            read_unit(s, wanted[i], kind);
    if (matters && !n_wanted && !n_apart)
        kinds[kind].claim(&r);
}

static void read_units(struct systemd *s, size_t kind)
{
    const struct np_unit *const *units;
    size_t n;
    np_units_all(&s->units, suffixes[kind], &units, &n);
    s->n_units += n;
    for (size_t i = 0; i < n; i++)
        if (np_unit_is_template(units[i]))
            read_template(s, units[i], kind);
        else if (np_unit_may_say(&s->units, units[i], kinds[kind].word))
            read_unit(s, units[i], kind);
}

static void read_manager(struct systemd *s, struct np_position whole, const struct np_units_place *place)
{
    np_units_init(&s->units, s->files, whole, place);
    for (size_t i = 0; suffixes[i]; i++)
        read_units(s, i);
}

static struct systemd begin(struct np_files *files)
{
    return (struct systemd){.files = files, .arena = files->ret->arena, .claimed = {.arena = files->ret->arena}};
}

static void read_machine(struct systemd *s, struct np_position whole)
{
    static const struct np_units_place system = {
        .folders = np_units_system_folders, .suffixes = suffixes, .is_system = true, .by_systemd = true};
    static const struct np_units_place users = {
        .folders = np_units_user_folders, .suffixes = suffixes, .by_systemd = true};
    read_manager(s, whole, &system);
    s->once = true;
    read_manager(s, whole, &users);
}

/* The manager of one user: folders of the home, and behind them those of all users. */
static void read_home(struct systemd *s, struct np_position whole, const char *home)
{
    static const char *const own[] = {".config/systemd/user.control", ".config/systemd/user",
                                      ".local/share/systemd/user"};
    enum { OWN = sizeof own / sizeof *own };
    const char *folders[32];
    size_t n = 0;
    for (; n < OWN; n++)
        folders[n] = np_sprintf(s->arena, "%s/%s", home, own[n]);
    for (size_t i = 0; np_units_user_folders[i]; i++)
        folders[n++] = np_units_user_folders[i];
    folders[n] = NULL;
    const struct np_units_place place = {.folders = folders, .suffixes = suffixes, .by_systemd = true, .home = home};
    read_manager(s, whole, &place);
}

/* Of this user alone. Where there are no units, which is usual, that is one look. */
static void read_own_home(struct systemd *s, struct np_position whole, const char *home)
{
    const struct np_entry *entries;
    size_t n = 0;
    if (home)
        np_files_list(s->files, whole, np_sprintf(s->arena, "%s/.config/systemd/user", home), &entries, &n);
    if (n)
        read_home(s, whole, home);
}

/* ---- The source ----------------------------------------------------------------------------------------------- */

/* A file that a person named, as a unit of its name; one whose name says nothing may be of either kind. */
static enum nextport_status read_given(void *ctx, const struct np_file *file)
{
    static const char *const no_folders[] = {NULL};
    static const struct np_units_place nowhere = {
        .folders = no_folders, .suffixes = suffixes, .is_system = true, .by_systemd = true};
    struct systemd *s = ctx;
    const char *dot = strrchr(file->path, '.');
    const bool is_named = dot && (strcmp(dot, ".socket") == 0 || strcmp(dot, ".service") == 0);
    np_units_init(&s->units, s->files, (struct np_position){.file = file}, &nowhere);
    for (size_t i = 0; suffixes[i]; i++)
        if (!is_named || strcmp(dot, suffixes[i]) == 0) {
            const struct np_unit *unit = np_units_given(&s->units, file, suffixes[i]);
            if (np_unit_may_say(&s->units, unit, kinds[i].word))
                read_unit(s, unit, i);
        }
    return NEXTPORT_OK;
}

static enum nextport_status parse_given(struct np_evidence *ret, const char *path, struct np_text bytes,
                                        const struct np_include *include, struct nextport_error *err)
{
    struct np_files files;
    np_files_init(&files, "systemd", ret, include, err);
    struct systemd s = begin(&files);
    np_files_main(&files, path, bytes, read_given, &s);
    return np_files_finish(&files);
}

static enum nextport_status read_both(void *ctx, const struct np_file *file)
{
    read_given(ctx, file);
    read_machine(ctx, (struct np_position){.file = file});
    return NEXTPORT_OK;
}

/* The given file, and the machine on which it lies. */
static enum nextport_status parse(struct np_evidence *ret, const char *path, struct np_text bytes,
                                  const struct np_include *include, struct nextport_error *err)
{
    struct np_files files;
    np_files_init(&files, "systemd", ret, include, err);
    struct systemd s = begin(&files);
    np_files_main(&files, path, bytes, read_both, &s);
    return np_files_finish(&files);
}

static bool look_around(struct np_files *files, struct np_position whole, void *ctx)
{
    const struct np_look *look = ctx;
    struct systemd s = begin(files);
    read_machine(&s, whole);
    read_own_home(&s, whole, np_host_home(s.arena, look->settings->root != NULL));
    return s.n_units > 0;
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    static const struct np_source given = {.name = "systemd", .parse = parse_given};
    static const char *const nowhere[] = {NULL};
    if (np_files_look_around(look, &np_source_systemd, look_around, look, err) != NEXTPORT_OK)
        return err->status;
    return np_files_look(look, &given, &look->settings->systemd_files, nowhere, err);
}

/* "shop" of "shop.socket" and "shop.service": they belong together. */
static const char *label(struct np_arena *arena, const struct nextport_claim *claim)
{
    const char *dot = strrchr(claim->holder, '.');
    return dot && dot != claim->holder ? np_strndup(arena, claim->holder, (size_t)(dot - claim->holder))
                                       : claim->holder;
}

const struct np_source np_source_systemd = {
    .name = "systemd",
    .about = "what socket units listen on and services are told to use, started or not",
    .policy = NEXTPORT_REQUIRE,
    .narrow = true,
    .files = true,
    .adopts = "project",
    .label = label,
    .look = look,
    .parse = parse,
};
