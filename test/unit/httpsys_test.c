/* What a row of HTTP.sys' configuration claims.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "source/httpsys.h"

static const struct {
    enum np_http_kind kind;
    const char *text, *claims; /* "ADDRESS PORT"; NULL: a port that nobody can name */
} samples[] = {
    /* What Windows brings along. */
    {NP_HTTP_URL, "http://+:80/Temporary_Listen_Addresses/", "* 80"},
    {NP_HTTP_URL, "https://+:443/sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/", "* 443"},
    {NP_HTTP_URL, "http://*:5357/", "* 5357"},
    {NP_HTTP_URL, "https://*:5358/", "* 5358"},
    {NP_HTTP_URL, "http://+:5985/wsman/", "* 5985"},
    {NP_HTTP_URL, "http://+:47001/wsman/", "* 47001"},
    {NP_HTTP_URL, "http://+:10246/MDEServer/", "* 10246"},
    {NP_HTTP_ADDRESS, "0.0.0.0:44300", "0.0.0.0 44300"},
    /* What people add. */
    {NP_HTTP_URL, "http://+:8080/app/", "* 8080"},
    {NP_HTTP_URL, "http://+:8080", "* 8080"},
    {NP_HTTP_URL, "http://www.example.com:8080/", "* 8080"},
    {NP_HTTP_URL, "http://192.0.2.1:8080/", "192.0.2.1 8080"},
    {NP_HTTP_URL, "http://[2001:db8::1]:8080/a:b/", "[2001:db8::1] 8080"},
    {NP_HTTP_URL, "http://*:8080:192.0.2.1/", "192.0.2.1 8080"},
    {NP_HTTP_URL, "http://*:8080:[::1]/", "[::1] 8080"},
    {NP_HTTP_URL, "http://+:65535/", "* 65535"},
    {NP_HTTP_ADDRESS, "[::]:443", "[::] 443"},
    {NP_HTTP_ADDRESS, "192.0.2.1:443", "192.0.2.1 443"},
    {NP_HTTP_NAME, "www.example.com:443", "* 443"},
    {NP_HTTP_NAME, "*.example.com:443", "* 443"},
    {NP_HTTP_STORE, "443", "* 443"},
    /* What nobody can read. */
    {NP_HTTP_URL, "", NULL},
    {NP_HTTP_URL, "http://", NULL},
    {NP_HTTP_URL, "http://+/", NULL},
    {NP_HTTP_URL, "http://+:/", NULL},
    {NP_HTTP_URL, "http://:80/", NULL},
    {NP_HTTP_URL, "http://+:0/", NULL},
    {NP_HTTP_URL, "http://+:65536/", NULL},
    {NP_HTTP_URL, "http://+:-1/", NULL},
    {NP_HTTP_URL, "http://+:80x/", NULL},
    {NP_HTTP_URL, "http://[::1:80/", NULL},
    {NP_HTTP_URL, "http://[::1]80/", NULL},
    {NP_HTTP_URL, "+:80", NULL},
    {NP_HTTP_ADDRESS, "443", NULL},
    {NP_HTTP_ADDRESS, "0.0.0.0:443:1", NULL},
    {NP_HTTP_NAME, ":443", NULL},
    {NP_HTTP_STORE, "", NULL},
    {NP_HTTP_STORE, "x:443", NULL},
};

static void every_row_claims_its_port_or_says_that_it_cannot(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct np_arena *arena = np_arena_new();
        struct np_log log = {.arena = arena};
        struct np_evidence evidence = {.arena = arena, .log = &log};
        np_httpsys_claim(&evidence, &(struct np_http_row){.kind = samples[i].kind, .text = samples[i].text});
        assert_int_equal(evidence.n_claims, 1);
        const struct nextport_claim *claim = evidence.claims;
        assert_int_equal(claim->kind, NEXTPORT_RESERVED);
        assert_int_equal(claim->protocol, NEXTPORT_TCP);
        assert_string_equal(claim->source, "httpsys");
        assert_non_null(strstr(claim->detail, samples[i].text));
        if (!samples[i].claims) {
            if (claim->certainty != NEXTPORT_UNRESOLVED || claim->first != 0 || claim->last != 0 || log.n_notes != 1)
                fail_msg("'%s' was read as port %u", samples[i].text, claim->first);
        } else {
            const char *claims = np_sprintf(arena, "%s %u", claim->address ? claim->address : "-", claim->first);
            if (claim->certainty != NEXTPORT_DECLARED || claim->last != claim->first || log.n_notes != 0 ||
                strcmp(claims, samples[i].claims) != 0)
                fail_msg("'%s': expected %s, got %s", samples[i].text, samples[i].claims, claims);
        }
        np_arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row_claims_its_port_or_says_that_it_cannot)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
