/* Fuzzes what is made of an engine's answers: HTTP, the list of containers, and what is said of each. Input: all that the
 * other side sends; the byte 0x1e, which JSON has nowhere, ends a connection. What comes out must not depend on the pieces
 * in which it is sent. Seeds: test/http.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "source/engine.h"
#include "source/http.h"

#include <stdlib.h>
#include <string.h>

enum { RECORD_SEPARATOR = 0x1e };

/* The other side, in the place of the system's: what is left of its bytes, and how many it sends at a time. */
static struct np_text sent;
static size_t piece;

struct np_stream {
    struct np_text bytes;
};

enum np_read np_stream_open(struct np_stream **ret, struct np_arena *arena, const char *path, unsigned budget_ms,
                            const char **why)
{
    (void)path, (void)budget_ms;
    struct np_stream *stream = np_alloc(arena, sizeof *stream);
    if (!np_text_split(&sent, RECORD_SEPARATOR, &stream->bytes)) {
        *why = "nobody answers";
        return NP_READ_BAD;
    }
    *ret = stream;
    return NP_READ_OK;
}

void np_stream_close(struct np_stream *stream)
{
    (void)stream;
}

unsigned np_stream_left_ms(const struct np_stream *stream)
{
    (void)stream;
    return 1;
}

bool np_stream_send(struct np_stream *stream, const char *bytes, size_t n, const char **why)
{
    (void)stream, (void)bytes, (void)n, (void)why;
    return true;
}

ptrdiff_t np_stream_receive(struct np_stream *stream, char *bytes, size_t n, const char **why)
{
    (void)why;
    n = n < piece ? n : piece;
    n = n < stream->bytes.len ? n : stream->bytes.len;
    if (n)
        memcpy(bytes, stream->bytes.ptr, n);
    stream->bytes.ptr += n;
    stream->bytes.len -= n;
    return (ptrdiff_t)n;
}

static void must(bool so)
{
    if (!so)
        abort();
}

struct asked {
    struct np_log log;
    struct np_evidence evidence;
    struct np_engine_look engine;
};

static void ask(struct asked *asked, struct np_arena *arena, struct np_text bytes, size_t at_a_time)
{
    static const struct np_source source = {.name = "engine"};
    struct np_look look = {.ret = &asked->evidence};
    const char *why = NULL;
    sent = bytes;
    piece = at_a_time;
    asked->log.arena = arena;
    asked->evidence = (struct np_evidence){.arena = arena, .log = &asked->log};
    asked->engine = (struct np_engine_look){.look = &look, .source = &source};
    must(np_engine_ask(&asked->engine, "/engine", NULL, &why) == NP_READ_OK || why);
    must(!asked->engine.n_unseen == !asked->engine.why);
}

static void same(const struct asked *a, const struct asked *b)
{
    must(a->evidence.n_claims == b->evidence.n_claims && a->engine.n_unseen == b->engine.n_unseen);
    must(!a->engine.why || strcmp(a->engine.why, b->engine.why) == 0);
    for (size_t i = 0; i < a->evidence.n_claims; i++) {
        const struct nextport_claim *one = &a->evidence.claims[i], *other = &b->evidence.claims[i];
        must(one->certainty == NEXTPORT_UNRESOLVED || (one->first > 0 && one->first <= one->last));
        must(one->first == other->first && one->last == other->last && one->certainty == other->certainty);
        must(strcmp(one->detail, other->detail) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct np_arena *arena = np_arena_new();
    struct asked whole = {0}, parts = {0};
    const struct np_text bytes = {(const char *)data, size};
    ask(&whole, arena, bytes, SIZE_MAX);
    ask(&parts, arena, bytes, 1);
    same(&whole, &parts);
    np_arena_free(arena);
    return 0;
}
