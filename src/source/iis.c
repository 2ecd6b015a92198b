/* IIS: every port of every site in applicationHost.config, started or stopped. The file is the right evidence because
 * a stopped site keeps its ports in it and has no socket. doc/sources/iis.md says what is read and what each outcome
 * means; IIS_schema.xml of an IIS installation is the grammar.
 *
 * A configuration may be spread over files (redirection.config, configSource) and says in any order what depends on
 * each other (siteDefaults may follow the sites), so it is collected first and turned into claims at the end.
 * SPDX-License-Identifier: MIT */
#include "source/source.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

/* in an image, whose root is the system's drive */
#define LIVE_FILE "/Windows/System32/inetsrv/config/applicationHost.config"
#define EXPRESS_FILES "/Users/*/Documents/IISExpress/config/applicationhost.config"

enum {
    FILE_MAX = 8 * 1024 * 1024,
    DEPTH_MAX = 100,
    BINDINGS_MAX = 1 << 18, /* siteDefaults multiply: sites times bindings */
    WARNINGS_MAX = 20,
    SHOWN_MAX = 300, /* bytes of one foreign text that are worth repeating in every claim */
    INFO_MAX = 1000, /* bytes of a bindingInformation: an address, a port and a host name take 310 at most */
    TRIES = 4,
    PAUSE_MS = 60,
    /* The IIS step of Octopus Deploy gives a site this port for a moment while it makes it. */
    DEPLOYMENT_PORT = 81,
};

/* ---- What a configuration says ------------------------------------------------------------------------------- */

struct binding {
    const char *protocol, *info; /* never NULL */
    const char *file;
    unsigned line;
    bool cleared; /* a later <clear/> of the same collection */
};

struct bindings {
    struct binding *items;
    size_t n, capacity;
    bool no_defaults; /* it has a <clear/> */
};

struct site {
    const char *name;
    bool manual; /* not started automatically */
    struct bindings bindings;
};

struct passive_range {
    const char *low, *high; /* never NULL; empty: not set */
    const char *file;
    unsigned line;
};

struct iis {
    struct np_evidence *ret;
    const struct np_include *include;
    struct nextport_error *err;
    struct site *sites;
    size_t n_sites, sites_capacity;
    struct bindings defaults;
    struct passive_range *ranges;
    size_t n_ranges, ranges_capacity;
    const char *redirected; /* to this folder, as written; NULL: not */
    bool has_section;       /* <sites> was met */
    bool has_ftp;
    size_t n_uses, n_claims, n_warnings;
};

static void warn(struct iis *iis, const char *file, unsigned line, const char *fmt, ...) NP_PRINTF(4, 5);

static void warn(struct iis *iis, const char *file, unsigned line, const char *fmt, ...)
{
    if (++iis->n_warnings > WARNINGS_MAX)
        return;
    va_list ap;
    va_start(ap, fmt);
    np_note(iis->ret->log, NEXTPORT_WARNING, "%s:%u: %s", file, line, np_vsprintf(iis->ret->arena, fmt, ap));
    va_end(ap);
}

/* A copy, cut where a text is longer than any that IIS takes. */
static const char *keep(struct iis *iis, const char *text)
{
    const struct np_text whole = np_text_of(text);
    if (whole.len <= SHOWN_MAX)
        return np_text_dup(iis->ret->arena, whole);
    return np_sprintf(iis->ret->arena, "%.*s...", (int)np_text_cut(whole, SHOWN_MAX), text);
}

/* How a person would name a path. */
static const char *shown(const struct iis *iis, const char *path)
{
    return iis->include && iis->include->shown ? iis->include->shown(iis->include->ctx, path) : path;
}

/* ---- Paths --------------------------------------------------------------------------------------------------- */

/* Windows drops dots and blanks at the end of a name, so that ".. " climbs as well as "..". */
static bool climbs(struct np_text name)
{
    if (np_text_is(name, "."))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] != '.' && name.ptr[i] != ' ')
            return false;
    return name.len > 0;
}

/* The path of `relative`, in Windows' spelling, below `folder`; NULL when it would lead out of it. */
static const char *below(struct np_arena *arena, struct np_text folder, const char *relative)
{
    struct np_buf path = {.arena = arena};
    np_buf_add(&path, folder.ptr, folder.len);
    size_t start = path.len;
    np_buf_puts(&path, "/");
    np_buf_puts(&path, relative);
    for (char *p = path.ptr + start; *p; p++)
        if (*p == '\\')
            *p = '/';
    while (path.len > start && path.ptr[path.len - 1] == '/')
        path.ptr[--path.len] = '\0';
    struct np_text rest = {path.ptr + start, path.len - start}, name;
    while (np_text_split(&rest, '/', &name))
        if (climbs(name))
            return NULL;
    return strpbrk(path.ptr + start, ":%*?\"<>|") ? NULL : path.ptr;
}

static struct np_text folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (struct np_text){path, (size_t)(slash - path)} : np_text_of(".");
}

/* A file that `file` names, relative to its own folder; NULL when it is absolute or leads out of the folder. */
static const char *beside(struct np_arena *arena, const char *file, const char *relative)
{
    bool absolute = strchr("/\\", relative[0]) != NULL; /* or empty */
    return absolute ? NULL : below(arena, folder_of(file), relative);
}

/* Where the folder lies that a configuration names. Off Windows "C:\shared" is "/shared" below the root, which stands for
 * the system's drive, and any other drive or share is nowhere: NULL. */
static const char *place_of(const struct iis *iis, const char *windows)
{
    struct np_arena *arena = iis->ret->arena;
    const char *here =
        iis->include && iis->include->place ? iis->include->place(iis->include->ctx, arena, windows) : NULL;
    if (here)
        return here;
    bool on_c = (windows[0] == 'C' || windows[0] == 'c') && windows[1] == ':' && strchr("/\\", windows[2]);
    return on_c && windows[2] ? below(arena, np_text_of(""), windows + 3) : NULL;
}

/* ---- XML: elements known by their full path ------------------------------------------------------------------- */

enum node {
    OTHER,
    /* what a file must begin with */
    MAIN_FILE,
    REDIRECTION_FILE,
    SITES_FILE,
    FIREWALL_FILE,
    /* what is inside */
    CONFIGURATION,
    LOCATION,
    SCOPED_LOCATION, /* for one path: a place where no site belongs */
    APPLICATION_HOST,
    SCOPED_APPLICATION_HOST,
    SITES,
    SITE_DEFAULTS,
    SITE,
    BINDINGS,
    BINDING,
    FTP_SERVER,
    FIREWALL,
    REDIRECTION_CONFIGURATION,
    REDIRECTION,
};

struct document {
    struct iis *iis;
    XML_Parser xml;
    const char *path, *file; /* for reading and for people */
    struct bindings *open;   /* <binding> belongs here */
    bool refused;
    unsigned depth;
    enum node stack[DEPTH_MAX + 1];
};

typedef void enter_fn(struct document *, const char **attributes);
static enter_fn enter_location, enter_sites, enter_scoped_sites, enter_defaults, enter_site, enter_binding, enter_clear,
    enter_firewall, enter_redirection;

static const struct element {
    enum node parent;
    const char *name;
    enum node node;
    enter_fn *enter;
} elements[] = {
    {MAIN_FILE, "configuration", CONFIGURATION, NULL},
    {CONFIGURATION, "location", LOCATION, enter_location},
    {CONFIGURATION, "system.applicationHost", APPLICATION_HOST, NULL},
    {LOCATION, "system.applicationHost", APPLICATION_HOST, NULL},
    {SCOPED_LOCATION, "system.applicationHost", SCOPED_APPLICATION_HOST, NULL},
    {APPLICATION_HOST, "sites", SITES, enter_sites},
    {SCOPED_APPLICATION_HOST, "sites", SITES, enter_scoped_sites},
    {SITES_FILE, "sites", SITES, enter_sites},
    {SITES, "siteDefaults", SITE_DEFAULTS, enter_defaults},
    {SITES, "site", SITE, enter_site},
    {SITE_DEFAULTS, "bindings", BINDINGS, NULL},
    {SITE, "bindings", BINDINGS, NULL},
    {BINDINGS, "binding", BINDING, enter_binding},
    {BINDINGS, "clear", OTHER, enter_clear},
    {CONFIGURATION, "system.ftpServer", FTP_SERVER, NULL},
    {LOCATION, "system.ftpServer", FTP_SERVER, NULL},
    {FTP_SERVER, "firewallSupport", FIREWALL, enter_firewall},
    {FIREWALL_FILE, "firewallSupport", FIREWALL, enter_firewall},
    {REDIRECTION_FILE, "configuration", REDIRECTION_CONFIGURATION, NULL},
    {REDIRECTION_CONFIGURATION, "configurationRedirection", REDIRECTION, enter_redirection},
};

/* `name` NULL: whatever the parent has first. */
static const struct element *find_element(enum node parent, const char *name)
{
    for (size_t i = 0; parent != OTHER && i < sizeof elements / sizeof *elements; i++)
        if (elements[i].parent == parent && (!name || np_equal_nocase(elements[i].name, name)))
            return &elements[i];
    return NULL;
}

static const char *attribute(const char **attributes, const char *name)
{
    for (; attributes[0]; attributes += 2)
        if (np_equal_nocase(attributes[0], name))
            return attributes[1];
    return NULL;
}

static unsigned line_of(const struct document *doc)
{
    return (unsigned)XML_GetCurrentLineNumber(doc->xml);
}

static void stop(struct document *doc)
{
    doc->refused = true;
    XML_StopParser(doc->xml, XML_FALSE);
}

static void refuse(struct document *doc, const char *fmt, ...) NP_PRINTF(2, 3);

static void refuse(struct document *doc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    np_fail(doc->iis->err, NEXTPORT_BLIND, "%s:%u: %s", doc->file, line_of(doc),
            np_vsprintf(doc->iis->ret->arena, fmt, ap));
    va_end(ap);
    stop(doc);
}

static void XMLCALL on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct document *doc = ctx;
    if (doc->depth == DEPTH_MAX) {
        refuse(doc, "elements nested deeper than %d", DEPTH_MAX);
        return;
    }
    enum node parent = doc->stack[doc->depth];
    const struct element *element = find_element(parent, name);
    doc->stack[++doc->depth] = element ? element->node : OTHER;
    if (element && element->enter)
        element->enter(doc, attributes);
    else if (!element && doc->depth == 1)
        refuse(doc, "the root element is <%.100s>, not <%s>", name, find_element(parent, NULL)->name);
}

static void XMLCALL on_end(void *ctx, const XML_Char *name)
{
    struct document *doc = ctx;
    (void)name;
    if (doc->depth)
        doc->depth--;
}

/* IIS files have none, and without one there are no entities to expand. */
static void XMLCALL on_doctype(void *ctx, const XML_Char *name, const XML_Char *system, const XML_Char *public,
                               int inner)
{
    (void)name, (void)system, (void)public, (void)inner;
    refuse(ctx, "a document type declaration, which no IIS configuration has");
}

/* Not well-formed may be half-written: IIS and replication rewrite the file in place. Hence RETRY. */
static enum nextport_status fail_xml(struct document *doc)
{
    enum XML_Error error = XML_GetErrorCode(doc->xml);
    if (error == XML_ERROR_NO_MEMORY)
        return np_fail(doc->iis->err, NEXTPORT_FAILED, "parse %s: out of memory", doc->file);
    np_fail(doc->iis->err, NEXTPORT_RETRY, "%s:%u:%lu: %s", doc->file, line_of(doc),
            (unsigned long)XML_GetCurrentColumnNumber(doc->xml) + 1, XML_ErrorString(error));
    np_hint(doc->iis->err,
            "Mend the file, or save it as UTF-8 if it is in another encoding; if it was being written, try again.");
    return doc->iis->err->status;
}

static enum nextport_status parse_file(struct iis *iis, const char *path, struct np_text bytes, enum node kind)
{
    struct document doc = {.iis = iis, .path = path, .file = shown(iis, path), .stack = {kind}};
    if (bytes.len > FILE_MAX)
        return np_fail(iis->err, NEXTPORT_BLIND, "%s: larger than %d bytes", doc.file, FILE_MAX);
    doc.xml = XML_ParserCreate(NULL);
    if (!doc.xml)
        return np_fail(iis->err, NEXTPORT_FAILED, "parse %s: out of memory", doc.file);
    XML_SetUserData(doc.xml, &doc);
    XML_SetElementHandler(doc.xml, on_start, on_end);
    XML_SetStartDoctypeDeclHandler(doc.xml, on_doctype);
    enum nextport_status status = NEXTPORT_OK;
    if (XML_Parse(doc.xml, bytes.ptr, (int)bytes.len, XML_TRUE) != XML_STATUS_OK)
        status = doc.refused ? iis->err->status : fail_xml(&doc);
    XML_ParserFree(doc.xml);
    return status;
}

static enum nextport_status fail_read(struct nextport_error *err, const char *file, enum np_read outcome,
                                      const char *why)
{
    bool denied = outcome == NP_READ_DENIED;
    np_fail(err, denied ? NEXTPORT_BLIND : NEXTPORT_RETRY, "read %s: %s", file, why ? why : "no such file");
    if (denied)
        np_hint(err, "%s: ordinary users may not read IIS's configuration.", np_host_words.elevate);
    return err->status;
}

static enum np_read read_bytes(const struct iis *iis, const char *path, struct np_text *ret, const char **why)
{
    *why = NULL;
    return iis->include ? iis->include->read(iis->include->ctx, iis->ret->arena, path, ret, why) : NP_READ_ABSENT;
}

static enum nextport_status read_file(struct iis *iis, const char *path, enum node kind)
{
    struct np_text bytes;
    const char *why;
    enum np_read outcome = read_bytes(iis, path, &bytes, &why);
    return outcome == NP_READ_OK ? parse_file(iis, path, bytes, kind)
                                 : fail_read(iis->err, shown(iis, path), outcome, why);
}

/* ---- XML: what the elements mean ------------------------------------------------------------------------------ */

/* A section's content may be in a file of its own. Other ways to keep it elsewhere, IIS has them only for other
 * sections, must not look like an empty section. */
static void follow_source(struct document *doc, const char **attributes, enum node kind)
{
    struct np_arena *arena = doc->iis->ret->arena;
    const char *source = attribute(attributes, "configSource");
    if (attribute(attributes, "configProtectionProvider") || attribute(attributes, "childSource")) {
        refuse(doc, "the section is encrypted or kept elsewhere");
        return;
    }
    if (!source)
        return;
    if (doc->stack[0] == SITES_FILE || doc->stack[0] == FIREWALL_FILE || kind == OTHER) {
        refuse(doc, "configSource \"%.200s\" in a place where IIS has none", source);
        return;
    }
    const char *path = beside(arena, doc->path, source);
    if (!path) {
        refuse(doc, "configSource \"%.200s\" is not a path below this file's folder", source);
    } else if (read_file(doc->iis, path, kind) != NEXTPORT_OK) {
        np_wrap(doc->iis->err, "%s:%u: configSource", doc->file, line_of(doc));
        stop(doc);
    }
}

static void enter_location(struct document *doc, const char **attributes)
{
    const char *path = attribute(attributes, "path");
    if (path && *path && strcmp(path, ".") != 0)
        doc->stack[doc->depth] = SCOPED_LOCATION;
}

static void enter_sites(struct document *doc, const char **attributes)
{
    doc->iis->has_section = true;
    follow_source(doc, attributes, SITES_FILE);
}

static void enter_scoped_sites(struct document *doc, const char **attributes)
{
    warn(doc->iis, doc->file, line_of(doc),
         "<sites> inside a <location> with a path, where IIS has none; its ports are avoided all the same");
    enter_sites(doc, attributes);
}

static void enter_defaults(struct document *doc, const char **attributes)
{
    (void)attributes;
    doc->open = &doc->iis->defaults;
}

static bool is_false(const char *text)
{
    return text && (np_equal_nocase(text, "false") || strcmp(text, "0") == 0);
}

static bool is_true(const char *text)
{
    return text && (np_equal_nocase(text, "true") || strcmp(text, "1") == 0);
}

static void enter_site(struct document *doc, const char **attributes)
{
    struct iis *iis = doc->iis;
    struct site *site = np_push(iis->ret->arena, &iis->sites, &iis->n_sites, &iis->sites_capacity, sizeof *site);
    const char *name = attribute(attributes, "name"), *id = attribute(attributes, "id");
    site->name =
        keep(iis, name && *name ? name : np_sprintf(iis->ret->arena, "site %.20s", id ? id : "without a name"));
    site->manual = is_false(attribute(attributes, "serverAutoStart"));
    doc->open = &site->bindings;
}

static void enter_binding(struct document *doc, const char **attributes)
{
    struct bindings *to = doc->open;
    const char *protocol = attribute(attributes, "protocol"), *info = attribute(attributes, "bindingInformation");
    if (info && strlen(info) > INFO_MAX) {
        refuse(doc, "bindingInformation longer than %d bytes", INFO_MAX);
        return;
    }
    struct binding *binding = np_push(doc->iis->ret->arena, &to->items, &to->n, &to->capacity, sizeof *binding);
    binding->protocol = keep(doc->iis, protocol ? protocol : "");
    binding->info = np_strdup(doc->iis->ret->arena, info ? info : "");
    binding->file = doc->file;
    binding->line = line_of(doc);
}

static void enter_clear(struct document *doc, const char **attributes)
{
    (void)attributes;
    struct bindings *of = doc->open;
    of->no_defaults = true;
    /* From the end: what an earlier <clear/> did need not be done again. */
    for (size_t i = of->n; i > 0 && !of->items[i - 1].cleared; i--)
        of->items[i - 1].cleared = true;
}

static void enter_firewall(struct document *doc, const char **attributes)
{
    struct iis *iis = doc->iis;
    const char *low = attribute(attributes, "lowDataChannelPort"), *high = attribute(attributes, "highDataChannelPort");
    if (low || high) {
        struct passive_range *range =
            np_push(iis->ret->arena, &iis->ranges, &iis->n_ranges, &iis->ranges_capacity, sizeof *range);
        *range =
            (struct passive_range){keep(iis, low ? low : ""), keep(iis, high ? high : ""), doc->file, line_of(doc)};
    }
    follow_source(doc, attributes, FIREWALL_FILE);
}

/* Servers that share their configuration share their ports. */
static void share(struct document *doc, const char *path)
{
    doc->iis->redirected = keep(doc->iis, path);
    np_evidence_fact(
        doc->iis->ret, "shared-configuration",
        &(struct nextport_claim){.protocol = NEXTPORT_TCP,
                                 .kind = NEXTPORT_CONFIGURED,
                                 .certainty = NEXTPORT_UNRESOLVED,
                                 .holder = "IIS",
                                 .detail = np_sprintf(doc->iis->ret->arena, "redirected to %s", doc->iis->redirected),
                                 .source = "iis",
                                 .file = doc->file,
                                 .line = line_of(doc)});
}

static void enter_redirection(struct document *doc, const char **attributes)
{
    const char *enabled = attribute(attributes, "enabled"), *path = attribute(attributes, "path");
    follow_source(doc, attributes, OTHER);
    if (doc->refused || !enabled || is_false(enabled))
        return;
    if (!is_true(enabled))
        refuse(doc, "enabled=\"%.100s\" is neither true nor false", enabled);
    else if (!path || !*path)
        refuse(doc, "the configuration is redirected, but not where to");
    else
        share(doc, path);
}

/* ---- Bindings ------------------------------------------------------------------------------------------------- */

/* How each protocol writes its port: the field that has it, of fields separated by colons. 0 fields: no TCP port. */
static const struct scheme {
    const char *protocol;
    unsigned fields, port;
    bool ftp;
} schemes[] = {
    {"http", 3, 1, false},
    {"https", 3, 1, false},
    {"ftp", 3, 1, true},
    {"net.tcp", 2, 0, false},
    {"net.pipe", 0, 0, false},
    {"net.msmq", 0, 0, false},
    {"msmq.formatname", 0, 0, false},
};

static const struct scheme *find_scheme(const char *protocol)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (np_equal_nocase(schemes[i].protocol, protocol))
            return &schemes[i];
    return NULL;
}

enum { FIELDS_MAX = 3 };

/* Cuts at each colon that is not inside brackets. Returns how many fields there are; the first FIELDS_MAX are set. */
static unsigned split_fields(const char *info, struct np_text *fields)
{
    unsigned n = 0;
    bool bracket = false;
    const char *start = info;
    for (const char *p = info;; p++) {
        if (*p == '[' || *p == ']')
            bracket = *p == '[';
        if (*p && (*p != ':' || bracket))
            continue;
        if (n < FIELDS_MAX)
            fields[n] = (struct np_text){start, (size_t)(p - start)};
        n++;
        start = p + 1;
        if (!*p)
            return n;
    }
}

/* One binding of one site on its way to a claim. */
struct use {
    const struct site *site;
    const struct binding *binding;
    bool inherited;
    bool repeated; /* an earlier use has the same key */
};

/* Is there room for one more claim? A malformed text can name many ports. */
static bool counts(struct iis *iis)
{
    return ++iis->n_claims <= BINDINGS_MAX;
}

static const char *protocol_of(const struct binding *binding)
{
    return *binding->protocol ? binding->protocol : "no protocol";
}

static void claim_use(struct iis *iis, const struct use *use, struct nextport_claim claim)
{
    const struct binding *binding = use->binding;
    if (!counts(iis))
        return;
    claim.protocol = NEXTPORT_TCP;
    claim.holder = use->site->name;
    claim.detail = np_sprintf(iis->ret->arena, "%s %s%s%s%s", protocol_of(binding), keep(iis, binding->info),
                              use->inherited ? ", from siteDefaults" : "", binding->cleared ? ", before a clear" : "",
                              use->site->manual ? ", not started automatically" : "");
    claim.source = "iis";
    claim.file = binding->file;
    claim.line = binding->line;
    if (binding->cleared)
        claim.certainty = NEXTPORT_CONDITIONAL;
    np_evidence_claim(iis->ret, &claim);
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Is this neighbour of a number a sign that the number is a part of an address or a name? */
static bool word(char c)
{
    return c == '.' || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

/* Takes the next number that may be meant as a port off *p, passing over addresses and names; 0 at the end. */
static uint16_t next_number(const char *text, const char **p)
{
    while (**p) {
        const char *start = *p;
        uint16_t port;
        size_t inside = *start == '[' ? strcspn(start + 1, "[]") : 0;
        *p += *start == '[' && start[1 + inside] == ']' ? 1 + inside : 1;
        if (!digit(*start))
            continue;
        while (digit(**p))
            ++*p;
        bool stands_alone = (start == text || !word(start[-1])) && !word(**p);
        if (stands_alone && np_text_port((struct np_text){start, (size_t)(*p - start)}, &port))
            return port;
    }
    return 0;
}

/* IIS loads such a binding and gives it no endpoint, until someone mends it: its numbers are avoided until then. */
static void suspect_use(struct iis *iis, const struct use *use, bool known)
{
    const struct binding *binding = use->binding;
    struct np_buf ports = {.arena = iis->ret->arena};
    const char *p = binding->info;
    for (uint16_t port; (port = next_number(binding->info, &p)) != 0;) {
        claim_use(iis, use,
                  (struct nextport_claim){
                      .first = port, .last = port, .kind = NEXTPORT_SUSPECT, .certainty = NEXTPORT_CONDITIONAL});
        if (ports.len < SHOWN_MAX)
            np_buf_printf(&ports, "%s%u", ports.len ? ", " : "; avoided: ", port);
    }
    if (!known && !ports.len)
        return; /* as any protocol without ports would look */
    warn(iis, binding->file, binding->line, "site \"%s\": %s binding \"%s\" is malformed%s", use->site->name,
         protocol_of(binding), keep(iis, binding->info), ports.len ? ports.ptr : " and names no port");
}

/* The port of a binding of known form; 0: malformed. */
static uint16_t port_of(const struct scheme *scheme, const struct np_text *fields, unsigned n)
{
    uint16_t port = 0;
    unsigned field = scheme ? scheme->port : n == 2 ? 0 : 1;
    bool fits = scheme ? n == scheme->fields : n == 2 || n == 3;
    return fits && np_text_port(fields[field], &port) ? port : 0;
}

static void look_at_use(struct iis *iis, const struct use *use)
{
    const struct scheme *scheme = find_scheme(use->binding->protocol);
    if (scheme && scheme->ftp)
        iis->has_ftp = true;
    if (scheme && !scheme->fields)
        return;
    struct np_text fields[FIELDS_MAX];
    unsigned n = split_fields(use->binding->info, fields);
    uint16_t port = port_of(scheme, fields, n);
    if (!port) {
        suspect_use(iis, use, scheme != NULL);
        return;
    }
    bool any = n < 3 || !fields[0].len;
    const struct np_text host = n == 3 ? np_text_trim(fields[2]) : (struct np_text){"", 0};
    claim_use(iis, use,
              (struct nextport_claim){.first = port,
                                      .last = port,
                                      .kind = NEXTPORT_CONFIGURED,
                                      .certainty = scheme ? NEXTPORT_DECLARED : NEXTPORT_CONDITIONAL,
                                      .address = any ? "*" : np_text_dup(iis->ret->arena, fields[0]),
                                      .host = host.len > 0 ? np_text_dup(iis->ret->arena, host) : NULL,
                                      .scheme = scheme ? scheme->protocol : NULL});
}

/* ---- Sites ---------------------------------------------------------------------------------------------------- */

/* A binding's key is protocol and information, without regard to case. */
static int compare_keys(const struct use *a, const struct use *b)
{
    int d = np_compare_nocase(a->binding->info, b->binding->info);
    d = d ? d : np_compare_nocase(a->binding->protocol, b->binding->protocol);
    return d ? d : a->binding->cleared - b->binding->cleared;
}

static int compare_uses(const void *pa, const void *pb)
{
    const struct use *const *a = pa, *const *b = pb;
    int d = compare_keys(*a, *b);
    return d ? d : (*a > *b) - (*a < *b);
}

/* By sorting: one site may have 100,000 bindings. */
static void mark_repeated(struct np_arena *arena, struct use *uses, size_t n)
{
    if (n < 2)
        return;
    struct use **order = np_alloc_array(arena, n, sizeof *order);
    for (size_t i = 0; i < n; i++)
        order[i] = &uses[i];
    qsort(order, n, sizeof *order, compare_uses);
    for (size_t i = 1; i < n; i++)
        order[i]->repeated = compare_keys(order[i - 1], order[i]) == 0;
}

/* Own bindings, then those of siteDefaults unless a <clear/> drops them. */
static void look_at_site(struct iis *iis, const struct site *site)
{
    const struct bindings *own = &site->bindings, *defaults = &iis->defaults;
    size_t n = own->n + (own->no_defaults ? 0 : defaults->n);
    iis->n_uses += n;
    if (iis->n_uses > BINDINGS_MAX)
        return;
    struct use *uses = np_alloc_array(iis->ret->arena, n, sizeof *uses);
    for (size_t i = 0; i < n; i++)
        uses[i] = i < own->n ? (struct use){site, &own->items[i], false, false}
                             : (struct use){site, &defaults->items[i - own->n], true, false};
    mark_repeated(iis->ret->arena, uses, n);
    for (size_t i = 0; i < n; i++) {
        const struct binding *binding = uses[i].binding;
        if (!uses[i].repeated)
            look_at_use(iis, &uses[i]);
        else if (!uses[i].inherited)
            warn(iis, binding->file, binding->line,
                 "site \"%s\": %s binding \"%s\" is there twice; IIS refuses the section", site->name,
                 binding->protocol, keep(iis, binding->info));
    }
}

/* ---- FTP ------------------------------------------------------------------------------------------------------ */

/* Absent is 0: the system's own dynamic range. */
static bool channel_port(const char *text, uint64_t *ret)
{
    *ret = 0;
    return !*text || np_text_u64(np_text_of(text), UINT16_MAX, ret);
}

/* The numbers of one end as suspects: a range that ends nowhere has no ports in between. */
static void suspect_end(struct iis *iis, const char *end, struct nextport_claim claim)
{
    claim.kind = NEXTPORT_SUSPECT;
    claim.certainty = NEXTPORT_CONDITIONAL;
    for (const char *p = end; (claim.first = claim.last = next_number(end, &p)) != 0 && counts(iis);)
        np_evidence_claim(iis->ret, &claim);
}

static void look_at_range(struct iis *iis, const struct passive_range *range)
{
    struct nextport_claim claim = {.protocol = NEXTPORT_TCP,
                                   .kind = NEXTPORT_RESERVED,
                                   .address = "*",
                                   .holder = "IIS FTP",
                                   .detail = "passive data channel",
                                   .source = "iis",
                                   .file = range->file,
                                   .line = range->line};
    uint64_t low, high;
    bool numbers = channel_port(range->low, &low);
    numbers = channel_port(range->high, &high) && numbers;
    if (numbers && !low && !high)
        return;
    claim.first = (uint16_t)low;
    claim.last = (uint16_t)high;
    if (numbers && low && low <= high) {
        np_evidence_claim(iis->ret, &claim);
        return;
    }
    suspect_end(iis, range->low, claim);
    suspect_end(iis, range->high, claim);
    warn(iis, range->file, range->line, "FTP data channel ports \"%s\" to \"%s\" are not a range", range->low,
         range->high);
}

/* ---- One configuration ---------------------------------------------------------------------------------------- */

/* Is the configuration kept elsewhere? */
static enum nextport_status read_redirection(struct iis *iis, const char *file)
{
    const char *path = beside(iis->ret->arena, file, "redirection.config"), *why;
    struct np_text bytes;
    enum np_read outcome = read_bytes(iis, path, &bytes, &why);
    if (outcome == NP_READ_ABSENT)
        return NEXTPORT_OK;
    if (outcome != NP_READ_OK)
        return fail_read(iis->err, shown(iis, path), outcome, why);
    return parse_file(iis, path, bytes, REDIRECTION_FILE);
}

static enum nextport_status read_redirected(struct iis *iis, const char *file)
{
    struct np_arena *arena = iis->ret->arena;
    const char *folder = place_of(iis, iis->redirected);
    np_note(iis->ret->log, NEXTPORT_WARNING,
            "%s: the configuration is shared (\"%s\"): servers that share it must share one ledger as well",
            shown(iis, file), iis->redirected);
    if (!folder)
        np_fail(iis->err, NEXTPORT_BLIND, "a folder that cannot be followed from here");
    else if (read_file(iis, np_sprintf(arena, "%s/applicationHost.config", folder), MAIN_FILE) == NEXTPORT_OK)
        return NEXTPORT_OK;
    np_wrap(iis->err, "%s: redirected to \"%.300s\"", shown(iis, file), iis->redirected);
    np_hint(iis->err, "Copy the shared folder's applicationHost.config to a folder without redirection.config and give "
                      "the copy by --iis-config.");
    return iis->err->status;
}

static enum nextport_status read_configuration(struct iis *iis, const char *file, struct np_text bytes)
{
    enum nextport_status status = read_redirection(iis, file);
    if (status != NEXTPORT_OK)
        return status;
    status = iis->redirected ? read_redirected(iis, file) : parse_file(iis, file, bytes, MAIN_FILE);
    if (status == NEXTPORT_OK && !iis->has_section) {
        status =
            np_fail(iis->err, NEXTPORT_BLIND, "%s: no <system.applicationHost> with <sites> in it", shown(iis, file));
        np_hint(iis->err, "Give the server's applicationHost.config: a web.config has no sites.");
    }
    return status;
}

/* What was found before a failure becomes claims too: they only exclude more. */
static enum nextport_status parse(struct np_evidence *ret, const char *file, struct np_text bytes,
                                  const struct np_include *include, struct nextport_error *err)
{
    struct iis iis = {.ret = ret, .include = include, .err = err};
    enum nextport_status status = read_configuration(&iis, file, bytes);
    for (size_t i = 0; i < iis.n_sites; i++)
        look_at_site(&iis, &iis.sites[i]);
    for (size_t i = 0; i < iis.n_ranges && iis.has_ftp; i++)
        look_at_range(&iis, &iis.ranges[i]);
    if (iis.n_warnings > WARNINGS_MAX)
        np_note(ret->log, NEXTPORT_WARNING, "%s: %zu more warnings", shown(&iis, file), iis.n_warnings - WARNINGS_MAX);
    if (status == NEXTPORT_OK && (iis.n_uses > BINDINGS_MAX || iis.n_claims > BINDINGS_MAX))
        status = np_fail(err, NEXTPORT_BLIND, "%s: more than %d bindings", shown(&iis, file), BINDINGS_MAX);
    return status;
}

/* ---- The look at a machine ------------------------------------------------------------------------------------ */

/* Windows finds a file whatever the case of its name. */
static enum np_read read_nocase(void *ctx, struct np_arena *arena, const char *path, struct np_text *ret,
                                const char **why)
{
    struct np_reader *reader = ctx;
    const char *found = np_reader_find_nocase(reader, path, why);
    if (!found)
        return *why ? NP_READ_DENIED : NP_READ_ABSENT;
    return np_reader_read_into(reader, arena, found, FILE_MAX, ret, why);
}

static const char *show(void *ctx, const char *path)
{
    return np_reader_shown(ctx, path);
}

/* On Windows itself a configuration means what it says; in an image its drive is the root. */
static const char *place(void *ctx, struct np_arena *arena, const char *path)
{
    return np_reader_has_root(ctx) ? NULL : np_host_windows_path(arena, path);
}

static enum nextport_status try_file(struct np_evidence *ret, struct np_reader *reader, const char *path,
                                     struct nextport_error *err)
{
    const struct np_include include = {.read = read_nocase, .shown = show, .place = place, .ctx = reader};
    struct np_text bytes;
    const char *why = NULL;
    enum np_read outcome = np_reader_read(reader, path, FILE_MAX, &bytes, &why);
    if (outcome == NP_READ_OK)
        return parse(ret, path, bytes, &include, err);
    fail_read(err, np_reader_shown(reader, path), outcome, why);
    np_hint(err, "Give the path of an applicationHost.config that is there.");
    return err->status;
}

static void sight(struct np_look *look, enum nextport_sight what, const char *why, const char *hint)
{
    np_evidence_sight(look->ret, "iis", what, np_settings_policy(look->settings, "iis"), why, hint);
}

/* Reads one configuration, again if it may have been caught half-written, as if there had been one try. */
static enum nextport_status look_at_file(struct np_look *look, struct np_reader *reader, const char *path,
                                         struct nextport_error *err)
{
    const struct np_mark before = np_evidence_mark(look->ret);
    enum nextport_status status = try_file(look->ret, reader, path, err);
    for (unsigned i = 1; i < TRIES && status == NEXTPORT_RETRY; i++) {
        np_host_pause_ms(PAUSE_MS);
        np_evidence_go_back(look->ret, before);
        status = try_file(look->ret, reader, path, err);
    }
    if (status == NEXTPORT_OK)
        sight(look, NEXTPORT_SEEN, NULL, NULL);
    else if (status == NEXTPORT_BLIND || status == NEXTPORT_RETRY)
        sight(look, NEXTPORT_UNREADABLE, err->text, err->hint[0] ? err->hint : NULL);
    else
        return status;
    *err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    return NEXTPORT_OK;
}

/* A file that was named must be there; a pattern may match nothing. */
static enum nextport_status look_at_given(struct np_look *look, struct np_reader *reader, const char *file,
                                          struct nextport_error *err)
{
    const char *const *paths;
    const char *why;
    size_t n;
    if (!strpbrk(file, "*?["))
        return look_at_file(look, reader, file, err);
    np_reader_glob(reader, file, &paths, &n, &why);
    if (why)
        sight(look, NEXTPORT_UNREADABLE, np_sprintf(look->ret->arena, "%s: %s", file, why), NULL);
    for (size_t i = 0; i < n; i++)
        if (look_at_file(look, reader, paths[i], err) != NEXTPORT_OK)
            return err->status;
    return NEXTPORT_OK;
}

static enum nextport_status look_at_root(struct np_look *look, struct nextport_error *err)
{
    const char *why = NULL, *path = np_reader_find_nocase(look->reader, LIVE_FILE, &why);
    if (path)
        return look_at_file(look, look->reader, path, err);
    if (why) {
        fail_read(err, np_reader_shown(look->reader, LIVE_FILE), NP_READ_DENIED, why);
        sight(look, NEXTPORT_UNREADABLE, err->text, err->hint);
        *err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    }
    return NEXTPORT_OK;
}

/* The sites of the IIS that runs here. Where IIS is installed, a configuration that is not there is one that was not
 * found: a 32-bit program would be shown another folder. */
static enum nextport_status look_at_live(struct np_look *look, const char *path, struct nextport_error *err)
{
    if (np_reader_exists(look->reader, path))
        return look_at_file(look, look->reader, path, err);
    if (np_host_iis_installed())
        sight(look, NEXTPORT_UNREADABLE, np_sprintf(look->ret->arena, "IIS is installed, but %s is not there", path),
              "Look where its applicationHost.config is and give that by --iis-config.");
    return NEXTPORT_OK;
}

/* IIS Express keeps one configuration for each user. */
static enum nextport_status look_at_express(struct np_look *look, struct nextport_error *err)
{
    const char *path = np_host_iis_express_file(look->ret->arena);
    if (look->settings->root)
        return look_at_given(look, look->reader, EXPRESS_FILES, err);
    return path && np_reader_exists(look->reader, path) ? look_at_file(look, look->reader, path, err) : NEXTPORT_OK;
}

static void claim_deployment_port(struct np_evidence *ret)
{
    np_evidence_claim(ret, &(struct nextport_claim){.first = DEPLOYMENT_PORT,
                                                    .last = DEPLOYMENT_PORT,
                                                    .protocol = NEXTPORT_TCP,
                                                    .kind = NEXTPORT_RESERVED,
                                                    .address = "*",
                                                    .holder = "Octopus Deploy to IIS",
                                                    .detail = "temporary binding of the deployment step",
                                                    .source = "iis"});
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    const struct np_string_list *files = &look->settings->iis_files;
    const char *live = np_host_iis_file(look->ret->arena);
    enum nextport_status status = NEXTPORT_OK;
    for (size_t i = 0; i < files->n && status == NEXTPORT_OK; i++)
        status = look_at_given(look, look->given, files->items[i], err);
    if (status == NEXTPORT_OK && look->settings->root)
        status = look_at_root(look, err);
    else if (status == NEXTPORT_OK && live)
        status = look_at_live(look, live, err);
    if (status == NEXTPORT_OK && look->settings->iis_express)
        status = look_at_express(look, err);
    if (status != NEXTPORT_OK)
        return status;
    if (np_evidence_sighting(look->ret, "iis"))
        claim_deployment_port(look->ret);
    else
        sight(look, NEXTPORT_ABSENT, NULL, NULL);
    return NEXTPORT_OK;
}

/* HTTP.sys listens for sites, the port sharing service for net.tcp and a service of its own for FTP. */
static const char *const programs[] = {"System", "w3wp", "iisexpress", "SMSvcHost", "ftpsvc", NULL};

const struct np_source np_source_iis = {
    .name = "iis",
    .about = "sites of IIS, started or stopped, in applicationHost.config",
    .policy = NEXTPORT_REQUIRE,
    .files = true,
    .adopts = "project",
    .programs = programs,
    .look = look,
    .parse = parse,
};
