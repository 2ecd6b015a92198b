/* HTTP.sys: ports that its configuration keeps for somebody although nothing listens. A URL reservation says who may
 * register a URL, so its owner will want the port again; a certificate bound to an address says that a server was set up
 * there. https://learn.microsoft.com/windows/win32/http/urlprefix-strings is the grammar.
 * SPDX-License-Identifier: MIT */
#include "source/httpsys.h"

#include <string.h>

static const char *const about[] = {
    [NP_HTTP_URL] = "URL reservation",
    [NP_HTTP_ADDRESS] = "TLS certificate for an address",
    [NP_HTTP_NAME] = "TLS certificate for a host name",
    [NP_HTTP_STORE] = "central certificate store",
};

/* "http://+:8080/app/" names the place "+:8080". */
static bool place_of(const char *url, struct np_text *ret)
{
    const char *begin = strstr(url, "://");
    if (!begin)
        return false;
    begin += strlen("://");
    *ret = (struct np_text){begin, strcspn(begin, "/")};
    return true;
}

/* How much of a place is the host; IPv6 stands in brackets. */
static size_t host_length(struct np_text place)
{
    const char *end = memchr(place.ptr, place.len > 0 && place.ptr[0] == '[' ? ']' : ':', place.len);
    return end ? (size_t)(end - place.ptr) + (*end == ']') : place.len;
}

/* HTTP.sys takes a host name, "+" and "*" on every address. */
static const char *address_of(struct np_arena *arena, struct np_text host)
{
    for (size_t i = 0; i < host.len && host.ptr[0] != '['; i++)
        if (host.ptr[i] != '.' && (host.ptr[i] < '0' || host.ptr[i] > '9'))
            return "*";
    return host.len > 0 ? np_text_dup(arena, host) : "*";
}

/* "HOST:PORT", or the port alone where there is no host. A URL may name an address behind its port
 * ("http://x:80:192.0.2.1/"). */
static bool parse_row(struct np_arena *arena, const struct np_http_row *row, const char **ret_address,
                      uint16_t *ret_port)
{
    struct np_text rest = np_text_of(row->text), port;
    if (row->kind == NP_HTTP_URL && !place_of(row->text, &rest))
        return false;
    const struct np_text host = {rest.ptr, row->kind == NP_HTTP_STORE ? 0 : host_length(rest)};
    rest.ptr += host.len;
    rest.len -= host.len;
    if (row->kind != NP_HTTP_STORE) {
        if (host.len == 0 || rest.len == 0 || rest.ptr[0] != ':')
            return false;
        rest.ptr++;
        rest.len--;
    }
    if (!np_text_split(&rest, ':', &port) || (rest.len > 0 && row->kind != NP_HTTP_URL) ||
        !np_text_port(port, ret_port))
        return false;
    *ret_address = address_of(arena, rest.len > 0 ? rest : host);
    return true;
}

/* A row without a port that can be read holds some port that nobody can name: that is said, and no reason to stop. */
void np_httpsys_claim(struct np_evidence *ret, const struct np_http_row *row)
{
    struct nextport_claim claim = {.protocol = NEXTPORT_TCP,
                                   .kind = NEXTPORT_RESERVED,
                                   .holder = "HTTP.sys",
                                   .detail = np_sprintf(ret->arena, "%s %s", about[row->kind], row->text),
                                   .source = np_source_httpsys.name};
    if (!parse_row(ret->arena, row, &claim.address, &claim.first)) {
        np_note(ret->log, NEXTPORT_WARNING, "HTTP.sys: %s '%s' has no port that can be read", about[row->kind],
                np_neutral(ret->arena, row->text, false));
        claim.certainty = NEXTPORT_UNRESOLVED;
    }
    claim.last = claim.first;
    np_evidence_claim(ret, &claim);
}

static void sight(struct np_look *look, enum nextport_sight sight, const char *why, const char *hint)
{
    np_evidence_sight(look->ret, np_source_httpsys.name, sight,
                      np_settings_policy(look->settings, np_source_httpsys.name), why, hint);
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    const struct np_http_row *rows;
    size_t n;
    bool present;
    if (look->settings->root) {
        sight(look, NEXTPORT_ABSENT, "--root reads files only", NULL);
        return NEXTPORT_OK;
    }
    if (np_host_http_rows(look->ret->arena, &rows, &n, &present, err) != NEXTPORT_OK) {
        sight(look, NEXTPORT_UNREADABLE, err->text, err->hint[0] ? err->hint : NULL);
        *err = (struct nextport_error)NEXTPORT_ERROR_INIT;
        return NEXTPORT_OK;
    }
    for (size_t i = 0; i < n; i++)
        np_httpsys_claim(look->ret, &rows[i]);
    sight(look, present ? NEXTPORT_SEEN : NEXTPORT_ABSENT, NULL, NULL);
    return NEXTPORT_OK;
}

const struct np_source np_source_httpsys = {
    .name = "httpsys",
    .about = "URL reservations and TLS bindings of HTTP.sys (Windows)",
    .policy = NEXTPORT_REQUIRE,
    .look = look,
};
