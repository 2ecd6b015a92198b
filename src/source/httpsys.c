/* HTTP.sys: ports that its configuration keeps for somebody although nothing listens. A URL reservation says who may
 * register a URL, so its owner will want the port again; a certificate bound to an address says that a server was set up
 * there. https://learn.microsoft.com/windows/win32/http/urlprefix-strings is the grammar.
 * SPDX-License-Identifier: MIT */
#include "source/source.h"

#include <string.h>

static const char *const about[] = {
    [NP_HTTP_URL] = "URL reservation",
    [NP_HTTP_ADDRESS] = "TLS certificate for an address",
    [NP_HTTP_NAME] = "TLS certificate for a host name",
    [NP_HTTP_STORE] = "central certificate store",
};

/* "http://+:8080/app/" names "+:8080". A host in brackets may hold slashes no more than any other. */
static bool authority_of(const char *url, struct np_text *ret)
{
    const char *begin = strstr(url, "://");
    if (!begin)
        return false;
    begin += strlen("://");
    *ret = (struct np_text){begin, strcspn(begin, "/")};
    return true;
}

/* The port stands behind the last colon; there is always one. The address is what is before it, if anything. */
static bool parse_row(struct np_arena *arena, const struct np_http_row *row, const char **ret_address,
                      uint16_t *ret_port)
{
    struct np_text place = np_text_of(row->text);
    uint64_t port;
    if (row->kind == NP_HTTP_URL && !authority_of(row->text, &place))
        return false;
    size_t colon = place.len;
    while (colon > 0 && place.ptr[colon - 1] != ':')
        colon--;
    if ((colon == 0) != (row->kind == NP_HTTP_STORE) ||
        !np_text_u64((struct np_text){place.ptr + colon, place.len - colon}, UINT16_MAX, &port) || port == 0)
        return false;
    *ret_address = colon > 1 ? np_text_dup(arena, (struct np_text){place.ptr, colon - 1}) : "*";
    *ret_port = (uint16_t)port;
    return true;
}

/* A row without a port that can be read holds some port that nobody can name: that is said, and no reason to stop. */
static void claim(struct np_evidence *ret, const struct np_http_row *row)
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
        claim(look->ret, &rows[i]);
    sight(look, present ? NEXTPORT_SEEN : NEXTPORT_ABSENT, NULL, NULL);
    return NEXTPORT_OK;
}

const struct np_source np_source_httpsys = {
    .name = "httpsys",
    .about = "URL reservations and TLS bindings of HTTP.sys (Windows)",
    .policy = NEXTPORT_REQUIRE,
    .look = look,
};
