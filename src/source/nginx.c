/* nginx and OpenResty: every `listen` of every server, whether nginx runs or not. doc/sources/nginx.md says what is read
 * and what each outcome means; ngx_conf_read_token() and ngx_parse_url() of nginx are the grammar.
 *
 * nginx itself is never asked: `nginx -t` and `nginx -T` bind every port that they print.
 * SPDX-License-Identifier: MIT */
#include "source/service_files.h"
#include "source/text_files.h"

#include <stdlib.h>
#include <string.h>

enum {
    WORDS_MAX = 64, /* of one directive that are kept; longer ones are lists of names and of types */
    HTTP_PORT = 80,
    HTTP_PORT_OF_USERS = 8000, /* instead of that, where it is not root who starts nginx */
};

/* A word as it stands in the file, without quotes. */
struct word {
    struct np_text text;
    struct np_position at;
    bool escaped; /* it has a backslash */
};

/* Blocks in which a `server` has ports. */
static const struct protocol {
    const char *block;
    bool default_port;
    const char *scheme;
    enum nextport_certainty certainty;
} protocols[] = {
    {"http", true, "http", NEXTPORT_DECLARED},
    {"stream", false, "stream", NEXTPORT_DECLARED},
    {"mail", false, "mail", NEXTPORT_DECLARED},
    {"rtmp", false, "rtmp", NEXTPORT_DECLARED},
};
/* A block of some module that we do not know. */
static const struct protocol other_protocol = {"", false, NULL, NEXTPORT_CONDITIONAL};

/* One `listen` with all its words. */
struct listen {
    struct word words[8]; /* the address, and parameters as far as they fit */
    size_t n_words;
    bool udp, quic, ssl;
};

struct server {
    struct np_position at;
    const char *name; /* the first that names something; NULL: none */
    struct listen *listens;
    size_t n, capacity;
};

/* Where the walk is: main < protocol < server, and then below what is not looked at. */
enum level { MAIN, PROTOCOL, SERVER };

struct nginx {
    struct np_files files;
    struct np_arena *arena;
    enum level level;
    unsigned skipped; /* blocks open below `level` */
    bool bare;        /* the server stands outside of any protocol */
    bool has_servers, has_events;
    const struct protocol *protocol;
    struct server server;
    struct np_buf detail; /* used again for each claim */
    /* the directive being read */
    struct word words[WORDS_MAX];
    size_t n_words;
};

/* ---- Words ---------------------------------------------------------------------------------------------------- */

/* What ends a directive. */
enum end { SEMICOLON, BLOCK_BEGIN, BLOCK_END, FILE_END };

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_template(const struct np_cursor *c)
{
    return c->end - c->at > 1 && c->at[0] == '{' && (c->at[1] == '{' || c->at[1] == '%');
}

/* Passes "{{ ... }}" and "{% ... %}" of template languages, which nginx has never seen filled in. */
static void skip_template(struct np_cursor *c)
{
    np_cursor_next(c);
    const int close = np_cursor_next(c) == '{' ? '}' : '%';
    for (int byte; (byte = np_cursor_next(c)) >= 0 && !(byte == close && np_cursor_peek(c) == '}');)
        continue;
    np_cursor_next(c);
}

static void skip_blanks_and_comments(struct np_cursor *c)
{
    for (int byte; (byte = np_cursor_peek(c)) >= 0;) {
        if (byte == '#')
            while ((byte = np_cursor_peek(c)) >= 0 && byte != '\n')
                np_cursor_next(c);
        else if (is_template(c) && c->at[1] == '%')
            skip_template(c);
        else if (is_blank(byte))
            np_cursor_next(c);
        else
            return;
    }
}

/* Up to the quote that was opened. false: the file ends first. */
static bool take_quoted(struct np_cursor *c, struct word *word)
{
    const int quote = np_cursor_next(c);
    const char *begin = c->at;
    for (int byte; (byte = np_cursor_next(c)) >= 0;) {
        if (byte == quote) {
            word->text = (struct np_text){begin, (size_t)(c->at - 1 - begin)};
            return true;
        }
        if (byte == '\\') {
            word->escaped = true;
            np_cursor_next(c);
        }
    }
    return false;
}

/* Braces that follow a dollar are part of the word: ${name}. */
static void take_plain(struct np_cursor *c, struct word *word)
{
    const char *begin = c->at;
    bool dollar = false;
    for (int byte; (byte = np_cursor_peek(c)) >= 0;) {
        if (!dollar && is_template(c)) {
            skip_template(c);
            continue;
        }
        if (is_blank(byte) || byte == ';' || (byte == '{' && !dollar))
            break;
        dollar = byte == '$' || (dollar && byte == '{');
        np_cursor_next(c);
        if (byte == '\\') {
            word->escaped = true;
            np_cursor_next(c);
        }
    }
    word->text = (struct np_text){begin, (size_t)(c->at - begin)};
}

/* nginx takes no configuration with this in it; it may be half-written. */
static void refuse(struct nginx *nginx, struct np_position at, const char *what)
{
    np_files_fail(&nginx->files, NEXTPORT_RETRY, at, "%s", what);
}

static bool take_word(struct nginx *nginx, struct np_cursor *c)
{
    struct word word = {.at = np_cursor_position(c)};
    const int byte = np_cursor_peek(c);
    if (byte == '"' || byte == '\'') {
        if (!take_quoted(c, &word)) {
            refuse(nginx, word.at, "a quote that does not end");
            return false;
        }
    } else {
        take_plain(c, &word);
    }
    if (nginx->n_words < WORDS_MAX)
        nginx->words[nginx->n_words] = word;
    nginx->n_words++;
    return true;
}

/* Reads the words of the next directive. One that ends wrongly counts all the same. */
static enum end read_directive(struct nginx *nginx, struct np_cursor *c)
{
    nginx->n_words = 0;
    for (;;) {
        skip_blanks_and_comments(c);
        const struct np_position at = np_cursor_position(c);
        const bool begun = nginx->n_words > 0;
        switch (np_cursor_peek(c)) {
        case -1:
            if (begun)
                refuse(nginx, at, "the file ends within a directive");
            return begun ? SEMICOLON : FILE_END;
        case ';':
            np_cursor_next(c);
            if (begun)
                return SEMICOLON;
            refuse(nginx, at, "unexpected \";\"");
            break;
        case '{':
            if (is_template(c))
                goto word;
            np_cursor_next(c);
            if (!begun)
                refuse(nginx, at, "unexpected \"{\"");
            return BLOCK_BEGIN;
        case '}':
            if (begun) /* the brace stays, and ends the block */
                refuse(nginx, at, "unexpected \"}\"");
            else
                np_cursor_next(c);
            return begun ? SEMICOLON : BLOCK_END;
        default:
        word:
            if (!take_word(nginx, c))
                return FILE_END;
        }
    }
}

/* What nginx makes of a word's backslashes. */
static struct np_text text_of(struct nginx *nginx, const struct word *word)
{
    if (!word->escaped)
        return word->text;
    char *out = np_text_dup(nginx->arena, word->text);
    size_t n = 0;
    for (size_t i = 0; i < word->text.len; i++) {
        const char *next = i + 1 < word->text.len ? &word->text.ptr[i + 1] : "";
        static const char written[] = "\"'\\trn", meant[] = "\"'\\\t\r\n";
        const char *at = word->text.ptr[i] == '\\' && *next ? strchr(written, *next) : NULL;
        out[n++] = at ? meant[at - written] : word->text.ptr[i];
        i += at != NULL;
    }
    return (struct np_text){out, n};
}

static bool is_directive(const struct nginx *nginx, const char *name)
{
    return nginx->n_words > 0 && np_text_is(nginx->words[0].text, name);
}

/* ---- Code inside braces --------------------------------------------------------------------------------------- */

/* Is this "[[", "[=[", ...? Its level, or -1. The cursor is at the '['. */
static int long_bracket(const struct np_cursor *c)
{
    const char *p = c->at + 1;
    while (p < c->end && *p == '=')
        p++;
    return p < c->end && *p == '[' ? (int)(p - c->at - 1) : -1;
}

static bool closes(const struct np_cursor *c, int level)
{
    if (c->end - c->at < level + 2 || c->at[0] != ']' || c->at[level + 1] != ']')
        return false;
    for (int i = 1; i <= level; i++)
        if (c->at[i] != '=')
            return false;
    return true;
}

static void skip_bytes(struct np_cursor *c, int n)
{
    for (int i = 0; i < n; i++)
        np_cursor_next(c);
}

static void skip_long_bracket(struct np_cursor *c, int level)
{
    skip_bytes(c, level + 2);
    while (np_cursor_peek(c) >= 0 && !closes(c, level))
        np_cursor_next(c);
    skip_bytes(c, level + 2);
}

static void skip_line(struct np_cursor *c)
{
    for (int byte; (byte = np_cursor_peek(c)) >= 0 && byte != '\n';)
        np_cursor_next(c);
}

/* A string ends with its line at the latest, unless `long_lines`. */
static void skip_string(struct np_cursor *c, bool long_lines)
{
    const int quote = np_cursor_next(c);
    for (int byte; (byte = np_cursor_next(c)) >= 0 && byte != quote && (byte != '\n' || long_lines);)
        if (byte == '\\')
            np_cursor_next(c);
}

static void skip_lua_bracket(struct np_cursor *c)
{
    const int level = long_bracket(c);
    if (level >= 0)
        skip_long_bracket(c, level);
    else
        np_cursor_next(c);
}

/* Strings, comments and long brackets, in which braces do not count. */
static void skip_lua_element(struct np_cursor *c)
{
    const int byte = np_cursor_peek(c);
    if (byte == '"' || byte == '\'') {
        skip_string(c, false);
    } else if (byte == '[') {
        skip_lua_bracket(c);
    } else if (byte == '-' && c->end - c->at > 1 && c->at[1] == '-') {
        skip_bytes(c, 2);
        if (np_cursor_peek(c) == '[' && long_bracket(c) >= 0)
            skip_lua_bracket(c);
        else
            skip_line(c);
    } else {
        np_cursor_next(c);
    }
}

/* PHP, JavaScript and their like. */
static void skip_c_element(struct np_cursor *c)
{
    const int byte = np_cursor_peek(c), next = c->end - c->at > 1 ? c->at[1] : -1;
    if (byte == '"' || byte == '\'' || byte == '`') {
        skip_string(c, true);
    } else if (byte == '#' || (byte == '/' && next == '/')) {
        skip_line(c);
    } else if (byte == '/' && next == '*') {
        skip_bytes(c, 2);
        while (np_cursor_peek(c) >= 0 && !(c->end - c->at > 1 && c->at[0] == '*' && c->at[1] == '/'))
            np_cursor_next(c);
        skip_bytes(c, 2);
    } else {
        np_cursor_next(c);
    }
}

/* Passes the code after "content_by_lua_block {" and its like. false: these are no such words. */
static bool skip_code(struct nginx *nginx, struct np_cursor *c)
{
    const struct word *name = &nginx->words[0];
    if (!nginx->n_words || !np_text_ends(name->text, "_block"))
        return false;
    void (*const skip)(struct np_cursor *) =
        np_text_ends(name->text, "_by_lua_block")                                                ? skip_lua_element
        : np_text_ends(name->text, "_by_php_block") || np_text_ends(name->text, "_by_njs_block") ? skip_c_element
                                                                                                 : NULL;
    if (!skip)
        return false;
    const struct np_position at = name->at;
    for (unsigned depth = 1; depth;) {
        const int byte = np_cursor_peek(c);
        if (byte < 0) {
            refuse(nginx, at, "a block of code that does not end");
            return true;
        }
        depth += byte == '{' ? 1u : 0u;
        depth -= byte == '}' ? 1u : 0u;
        skip(c);
    }
    return true;
}

/* ---- listen --------------------------------------------------------------------------------------------------- */

static struct np_text part(struct np_text text, size_t begin, size_t end)
{
    return (struct np_text){text.ptr + begin, end - begin};
}

/* Where `byte` is; the text's length when it is not. */
static size_t find(struct np_text text, char byte)
{
    const char *at = text.len ? memchr(text.ptr, byte, text.len) : NULL;
    return at ? (size_t)(at - text.ptr) : text.len;
}

/* "8080" or "8080-8090". */
static bool parse_ports(struct np_text text, struct nextport_range *ret)
{
    const size_t dash = find(text, '-');
    struct nextport_range ports;
    if (!np_text_port(part(text, 0, dash), &ports.first))
        return false;
    ports.last = ports.first;
    if (dash < text.len && !np_text_port(part(text, dash + 1, text.len), &ports.last))
        return false;
    if (ports.first > ports.last)
        return false;
    *ret = ports;
    return true;
}

/* Is it what nginx takes for ports, right or wrong, and not for the name of a host? */
static bool is_number(struct np_text text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((text.ptr[i] < '0' || text.ptr[i] > '9') && (text.ptr[i] != '-' || i == 0))
            return false;
    return text.len > 0;
}

static bool is_ipv4(struct np_text host)
{
    struct np_text rest = host, octet;
    unsigned n = 0;
    uint64_t value;
    for (; np_text_split(&rest, '.', &octet); n++)
        if (octet.len > 3 || !np_text_u64(octet, 255, &value))
            return false;
    return n == 4;
}

static bool is_host_name(struct np_text host)
{
    for (size_t i = 0; i < host.len; i++) {
        const char c = host.ptr[i];
        const bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_')
            return false;
    }
    return host.len > 0;
}

/* What a program filled in or a person forgot to. */
static bool is_unresolved(struct np_text text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == '$' || text.ptr[i] == '%' || text.ptr[i] == '{' || text.ptr[i] == '<' || text.ptr[i] == '@')
            return true;
    return false;
}

/* What an address is, as nginx takes it. */
struct endpoint {
    struct nextport_range ports; /* 0: none was written */
    struct np_text host;         /* as written; empty: any */
    bool v6;                     /* in brackets */
    const char *wrong;           /* NULL, or why nginx would not take it */
};

static struct endpoint parse_bracketed(struct np_text text)
{
    struct endpoint to = {.v6 = true};
    const size_t close = find(text, ']');
    if (close == text.len)
        return (struct endpoint){.wrong = "a bracket that does not close"};
    to.host = part(text, 0, close + 1);
    const struct np_text rest = part(text, close + 1, text.len);
    if (rest.len && (rest.ptr[0] != ':' || !parse_ports(part(rest, 1, rest.len), &to.ports)))
        to.wrong = "not a port";
    return to;
}

static struct endpoint parse_endpoint(struct np_text text)
{
    struct endpoint to = {0};
    if (text.len && text.ptr[0] == '[')
        return parse_bracketed(text);
    if (parse_ports(text, &to.ports))
        return to;
    const size_t colon = find(text, ':');
    to.host = part(text, 0, colon);
    if (colon < text.len && !parse_ports(part(text, colon + 1, text.len), &to.ports))
        to.wrong = "not a port";
    else if (colon == text.len && is_number(text))
        to.wrong = "not a port";
    else if (!np_text_is(to.host, "*") && !is_host_name(to.host))
        to.wrong = "not an address";
    if (np_text_is(to.host, "*"))
        to.host.len = 0;
    return to;
}

/* The number that a malformed address shows: after its last colon, or all of it. */
static uint16_t number_in(struct np_text text)
{
    uint16_t port = 0;
    size_t begin = text.len;
    while (begin > 0 && text.ptr[begin - 1] >= '0' && text.ptr[begin - 1] <= '9')
        begin--;
    const bool apart = (begin == 0 || text.ptr[begin - 1] == ':') && (text.ptr[0] != '[' || find(text, ']') < begin);
    return apart && np_text_port(part(text, begin, text.len), &port) ? port : 0;
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The claim that a `listen` of this server makes, apart from ports and address. */
static struct nextport_claim claim_of(struct nginx *nginx, const char *detail)
{
    const struct server *server = &nginx->server;
    return (struct nextport_claim){.protocol = NEXTPORT_TCP,
                                   .kind = NEXTPORT_CONFIGURED,
                                   .certainty = nginx->protocol->certainty,
                                   .holder = server->name ? server->name : file_name(server->at.file->name),
                                   .host = server->name,
                                   .scheme = nginx->protocol->scheme,
                                   .detail = detail};
}

/* "listen 8080 ssl", good until the next one. */
static const char *detail_of(struct nginx *nginx, const struct listen *listen)
{
    enum { SHOWN_MAX = 300 };
    nginx->detail.len = 0;
    np_buf_puts(&nginx->detail, "listen");
    for (size_t i = 0; i < listen->n_words && nginx->detail.len < SHOWN_MAX; i++) {
        const struct np_text text = listen->words[i].text;
        np_buf_puts(&nginx->detail, " ");
        np_buf_add(&nginx->detail, text.ptr, text.len < SHOWN_MAX ? text.len : SHOWN_MAX);
    }
    return nginx->detail.ptr;
}

/* Where a variable or a template stands. Its number is one only if it is written. */
static void claim_unresolved(struct nginx *nginx, struct np_position at, struct nextport_claim claim,
                             struct np_text address)
{
    size_t colon = address.len;
    struct nextport_range ports = {0};
    while (colon > 0 && address.ptr[colon - 1] != ':')
        colon--;
    const bool known = colon > 0 && parse_ports(part(address, colon, address.len), &ports);
    claim.certainty = known ? NEXTPORT_CONDITIONAL : NEXTPORT_UNRESOLVED;
    claim.first = ports.first;
    claim.last = ports.last;
    np_files_claim(&nginx->files, at, claim);
    np_files_warn(&nginx->files, at, "\"%s\" has a part that is not filled in: which %s it means is not known",
                  claim.detail, known ? "address" : "port");
}

static void claim_wrong(struct nginx *nginx, struct np_position at, struct nextport_claim claim, struct np_text address,
                        const char *wrong)
{
    np_files_warn(&nginx->files, at, "\"%s\": %s, so nginx refuses the configuration", claim.detail, wrong);
    claim.first = claim.last = number_in(address);
    claim.kind = NEXTPORT_SUSPECT;
    claim.certainty = NEXTPORT_CONDITIONAL;
    if (claim.first)
        np_files_claim(&nginx->files, at, claim);
}

/* "[::]", also as "[::0]" and the like. */
static bool is_any_v6(struct np_text host)
{
    for (size_t i = 0; i < host.len; i++)
        if (!strchr("[]:0", host.ptr[i]))
            return false;
    return true;
}

/* One claim for each address that a host stands for. */
static void claim_host(struct nginx *nginx, struct np_position at, struct nextport_claim claim, struct np_text host,
                       bool v6)
{
    if (!host.len) {
        claim.address = "0.0.0.0";
    } else if (v6 && is_any_v6(host)) {
        claim.address = "[::]";
    } else if (v6 || is_ipv4(host)) {
        claim.address = np_files_text(&nginx->files, host);
    } else if (np_text_is_nocase(host, "localhost")) {
        claim.address = "127.0.0.1";
        np_files_claim(&nginx->files, at, claim);
        claim.address = "[::1]";
    } else {
        claim.address = NULL; /* whatever the name means where nginx starts */
    }
    np_files_claim(&nginx->files, at, claim);
}

static void look_at_listen(struct nginx *nginx, const struct listen *listen)
{
    const struct np_position at = listen->words[0].at;
    const struct np_text address = text_of(nginx, &listen->words[0]);
    struct nextport_claim claim = claim_of(nginx, detail_of(nginx, listen));
    if (address.len >= 5 && np_text_is_nocase(part(address, 0, 5), "unix:"))
        return;
    if (listen->udp || listen->quic)
        claim.protocol = NEXTPORT_UDP;
    if (nginx->protocol->default_port && (listen->ssl || listen->quic))
        claim.scheme = "https";
    if (is_unresolved(address)) {
        claim_unresolved(nginx, at, claim, address);
        return;
    }
    struct endpoint to = parse_endpoint(address);
    if (!to.wrong && !to.ports.first && !nginx->protocol->default_port)
        to.wrong = "no port";
    if (to.wrong) {
        claim_wrong(nginx, at, claim, address, to.wrong);
        return;
    }
    claim.first = to.ports.first ? to.ports.first : HTTP_PORT;
    claim.last = to.ports.first ? to.ports.last : HTTP_PORT;
    if (!to.ports.first && !to.v6 && to.host.len && !is_ipv4(to.host) && !np_text_is_nocase(to.host, "localhost")) {
        claim.certainty = NEXTPORT_CONDITIONAL;
        np_files_warn(&nginx->files, at, "\"%s\": nginx takes this for the name of a host, and port %d of it",
                      claim.detail, HTTP_PORT);
    }
    claim_host(nginx, at, claim, to.host, to.v6);
}

/* The bytes of a file that a server includes are gone when the server ends. */
static struct word keep_word(struct nginx *nginx, struct word word)
{
    if (word.at.file != nginx->server.at.file)
        word.text.ptr = np_text_dup(nginx->arena, word.text);
    return word;
}

static bool is_parameter(const struct word *word, const char *name)
{
    return np_text_is(word->text, name);
}

static void keep_listen(struct nginx *nginx)
{
    struct server *server = &nginx->server;
    if (nginx->n_words < 2) {
        np_files_warn(&nginx->files, nginx->words[0].at, "\"listen\" without an address");
        return;
    }
    struct listen *listen =
        np_push(nginx->arena, &server->listens, &server->n, &server->capacity, sizeof *server->listens);
    *listen = (struct listen){0};
    const size_t fit = sizeof listen->words / sizeof *listen->words;
    for (size_t i = 1; i < nginx->n_words && i < WORDS_MAX; i++) {
        const struct word *word = &nginx->words[i];
        if (listen->n_words < fit)
            listen->words[listen->n_words++] = keep_word(nginx, *word);
        listen->udp = listen->udp || is_parameter(word, "udp");
        listen->quic = listen->quic || is_parameter(word, "quic");
        listen->ssl = listen->ssl || is_parameter(word, "ssl");
    }
}

/* ---- Servers -------------------------------------------------------------------------------------------------- */

/* The first name that is one: "_" and "" answer to nobody, patterns and variables are not known here. */
static void keep_name(struct nginx *nginx)
{
    for (size_t i = 1; i < nginx->n_words && i < WORDS_MAX && !nginx->server.name; i++) {
        const struct np_text name = text_of(nginx, &nginx->words[i]);
        const bool names = name.len && name.ptr[0] != '~' && !np_text_is(name, "_") && !is_unresolved(name);
        if (names)
            nginx->server.name = np_files_text(&nginx->files, name);
    }
}

/* Of a port that nothing says: by root's nginx 80, else 8000. */
static void claim_default(struct nginx *nginx)
{
    struct nextport_claim claim = claim_of(nginx, "a server without listen");
    claim.address = "0.0.0.0";
    claim.first = claim.last = HTTP_PORT;
    np_files_claim(&nginx->files, nginx->server.at, claim);
    claim.first = claim.last = HTTP_PORT_OF_USERS;
    claim.certainty = NEXTPORT_CONDITIONAL;
    claim.detail = "a server without listen, if it is not root who starts nginx";
    np_files_claim(&nginx->files, nginx->server.at, claim);
}

static void end_server(struct nginx *nginx)
{
    const struct server *server = &nginx->server;
    for (size_t i = 0; i < server->n; i++)
        look_at_listen(nginx, &server->listens[i]);
    if (!server->n && nginx->protocol->default_port)
        claim_default(nginx);
    else if (!server->n && nginx->protocol->certainty == NEXTPORT_DECLARED)
        np_files_warn(&nginx->files, server->at, "a server without listen, which nginx refuses here");
}

static void begin_server(struct nginx *nginx)
{
    struct server *server = &nginx->server;
    server->at = nginx->words[0].at;
    server->name = NULL;
    server->n = 0; /* the room is used again */
    nginx->level = SERVER;
    nginx->has_servers = true;
}

/* ---- Blocks --------------------------------------------------------------------------------------------------- */

static const struct protocol *find_protocol(struct np_text block)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (np_text_is(block, protocols[i].block))
            return &protocols[i];
    return &other_protocol;
}

static void enter_block(struct nginx *nginx)
{
    const bool is_server = is_directive(nginx, "server") && nginx->n_words == 1;
    if (nginx->skipped || nginx->level == SERVER || !nginx->n_words) {
        nginx->skipped++;
    } else if (nginx->level == PROTOCOL && is_server) {
        begin_server(nginx);
    } else if (nginx->level == PROTOCOL) {
        nginx->skipped++;
    } else if (is_directive(nginx, "events")) {
        nginx->has_events = true;
        nginx->skipped++;
    } else if (is_server) {
        np_files_warn(&nginx->files, nginx->words[0].at,
                      "a server outside of http, stream and mail; it is taken for http's");
        nginx->protocol = &protocols[0];
        nginx->bare = true;
        begin_server(nginx);
    } else {
        nginx->protocol = find_protocol(nginx->words[0].text);
        nginx->level = PROTOCOL;
    }
}

static void leave_block(struct nginx *nginx)
{
    if (nginx->skipped) {
        nginx->skipped--;
        return;
    }
    if (nginx->level == SERVER)
        end_server(nginx);
    nginx->level = nginx->level == SERVER && !nginx->bare ? PROTOCOL : MAIN;
    nginx->bare = false;
}

static unsigned depth_of(const struct nginx *nginx)
{
    return (unsigned)nginx->level + nginx->skipped - nginx->bare;
}

static enum nextport_status parse_file(void *ctx, const struct np_file *file);

/* Includes are relative to the main file's folder, whatever file they stand in. */
static enum nextport_status include(struct nginx *nginx)
{
    const struct word *word = &nginx->words[1];
    if (nginx->n_words != 2) {
        np_files_warn(&nginx->files, nginx->words[0].at, "\"include\" takes one path");
        return NEXTPORT_OK;
    }
    const struct np_position at = word->at;
    const struct np_text path = text_of(nginx, word);
    const char *pattern = np_files_beside(&nginx->files, nginx->files.open[0], path);
    if (!pattern) {
        np_files_gap(&nginx->files, at, NULL, "%s: on a drive that is not here", np_files_text(&nginx->files, path));
        return NEXTPORT_OK;
    }
    return np_files_include(&nginx->files, at, pattern, parse_file, nginx);
}

static enum nextport_status look_at_directive(struct nginx *nginx)
{
    if (nginx->skipped)
        return NEXTPORT_OK;
    if (is_directive(nginx, "include"))
        return include(nginx);
    if (nginx->level == SERVER && is_directive(nginx, "listen"))
        keep_listen(nginx);
    else if (nginx->level == SERVER && is_directive(nginx, "server_name"))
        keep_name(nginx);
    return NEXTPORT_OK;
}

/* Every file must close what it opens, and nothing else. */
static enum nextport_status parse_file(void *ctx, const struct np_file *file)
{
    struct nginx *nginx = ctx;
    struct np_cursor c;
    const unsigned outside = depth_of(nginx);
    enum nextport_status status = NEXTPORT_OK;
    np_cursor_init(&c, file);
    for (enum end end; status == NEXTPORT_OK && (end = read_directive(nginx, &c)) != FILE_END;)
        switch (end) {
        case SEMICOLON:
            status = look_at_directive(nginx);
            break;
        case BLOCK_BEGIN:
            if (!skip_code(nginx, &c))
                enter_block(nginx);
            break;
        case BLOCK_END:
            if (depth_of(nginx) > outside)
                leave_block(nginx);
            else
                refuse(nginx, np_cursor_position(&c), "unexpected \"}\"");
            break;
        case FILE_END:
            break;
        }
    if (depth_of(nginx) > outside)
        refuse(nginx, np_cursor_position(&c), "the file ends within a block");
    while (depth_of(nginx) > outside)
        leave_block(nginx);
    return status;
}

/* ---- One configuration ---------------------------------------------------------------------------------------- */

static enum nextport_status parse(struct np_evidence *ret, const char *file, struct np_text bytes,
                                  const struct np_include *include, struct nextport_error *err)
{
    struct nginx nginx = {.arena = ret->arena, .detail.arena = ret->arena};
    np_files_init(&nginx.files, "nginx", ret, include, err);
    np_files_main(&nginx.files, file, bytes, parse_file, &nginx);
    /* What nginx demands too: else it is another file, or one that is not written yet. */
    const bool whole = nginx.files.status == NEXTPORT_OK && !np_evidence_sighting(ret, "nginx");
    if (whole && !nginx.has_events && !nginx.has_servers) {
        np_files_fail(&nginx.files, NEXTPORT_RETRY, (struct np_position){.file = nginx.files.open[0]},
                      "no events block in it, as every configuration of nginx has");
        np_hint(err, "Give the main file, nginx.conf, and not one that it includes.");
    }
    return np_files_finish(&nginx.files);
}

/* ---- The look at a machine ------------------------------------------------------------------------------------ */

/* Where packages and people put it. Below a root, or on this machine unless it is Windows: */
static const char *const places[] = {
    "/etc/nginx/nginx.conf",
    "/usr/local/nginx/conf/nginx.conf",
    "/usr/local/openresty/nginx/conf/nginx.conf",
};
/* Below a root, or with the drive before it on Windows: */
static const char *const windows_places[] = {
    "/nginx/conf/nginx.conf",
    "/nginx*/conf/nginx.conf",
    "/tools/nginx*/conf/nginx.conf",
    "/Program Files/nginx*/conf/nginx.conf",
};
/* Where a running nginx leaves its number. */
static const char *const pid_files[] = {
    "/run/nginx.pid",
    "/usr/local/nginx/logs/nginx.pid",
    "/usr/local/openresty/nginx/logs/nginx.pid",
};

/* The value of "-c FILE" or "-cFILE"; empty: it is not there. */
static struct np_text option(const char *command, char letter)
{
    struct np_text rest = np_text_of(command), word, value = {0};
    bool next = false;
    while (np_text_split(&rest, ' ', &word)) {
        if (next && word.len) {
            value = word;
            next = false;
        } else if (word.len >= 2 && word.ptr[0] == '-' && word.ptr[1] == letter) {
            value = part(word, 2, word.len);
            next = !value.len;
        }
    }
    return value;
}

/* The configuration that a running master was started with, where it is not the one that it was built for: nginx finds
 * it from its prefix. NULL: none, or that prefix is not known. */
static const char *started_with(struct np_arena *arena, const char *command)
{
    const struct np_text file = option(command, 'c');
    struct np_text prefix = option(command, 'p');
    if (file.len && file.ptr[0] == '/')
        return np_text_dup(arena, file);
    if (!prefix.len || prefix.ptr[0] != '/')
        return NULL;
    while (prefix.len && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    const struct np_text below = file.len ? file : np_text_of("conf/nginx.conf");
    return np_sprintf(arena, "%.*s/%.*s", (int)prefix.len, prefix.ptr, (int)below.len, below.ptr);
}

/* A process that got the number of an nginx that is gone is called otherwise. */
static void add_running(const struct np_look *look, const char **ret, size_t *n)
{
    for (size_t i = 0; i < sizeof pid_files / sizeof *pid_files; i++) {
        const char *command = np_reader_command_of(look->reader, pid_files[i]);
        const char *file = command && strncmp(command, "nginx:", strlen("nginx:")) == 0
                               ? started_with(look->ret->arena, command)
                               : NULL;
        if (file)
            ret[(*n)++] = file;
    }
}

static bool is_installed(const struct np_look *look)
{
    static const char *const signs[] = {"/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/nginx/sbin/nginx",
                                        "/usr/local/openresty/nginx/sbin/nginx"};
    bool found = false;
    for (size_t i = 0; i < sizeof signs / sizeof *signs && !found; i++)
        found = np_reader_exists(look->reader, signs[i]);
    return found;
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    static const struct np_service_files services = {.program = "nginx", .file = 'c', .prefix = 'p', .valued = "cegps"};
    enum { N_PLACES = sizeof places / sizeof *places, N_WINDOWS = sizeof windows_places / sizeof *windows_places };
    struct np_arena *arena = look->ret->arena;
    const char *all[N_PLACES + N_WINDOWS + sizeof pid_files / sizeof *pid_files + 1] = {NULL};
    const char *drive = look->settings->root ? NULL : np_host_windows_path(arena, "C:\\nginx");
    size_t n = 0;
    if (!look->settings->root)
        add_running(look, all, &n);
    for (size_t i = 0; i < N_PLACES && !drive; i++)
        all[n++] = places[i];
    for (size_t i = 0; i < N_WINDOWS && (drive || look->settings->root); i++)
        all[n++] = drive ? np_sprintf(arena, "C:%s", windows_places[i]) : windows_places[i];
    const char *const *files = all;
    if (!drive && (look->settings->root || is_installed(look)) &&
        np_services_files(look, &np_source_nginx, &services, all, &files, err) != NEXTPORT_OK)
        return err->status;
    return np_files_look(look, &np_source_nginx, &look->settings->nginx_files, files, err);
}

static const char *const programs[] = {"nginx", "openresty", NULL};

const struct np_source np_source_nginx = {
    .name = "nginx",
    .about = "servers of nginx and OpenResty, started or stopped, in nginx.conf and what it includes",
    .policy = NEXTPORT_REQUIRE,
    .files = true,
    .adopts = "project",
    .programs = programs,
    .look = look,
    .parse = parse,
    .no_dump = "'nginx -T' binds every port that it prints, and gives its folders to other users",
};
