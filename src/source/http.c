/* SPDX-License-Identifier: MIT */
#include "source/http.h"

#include <string.h>

enum {
    BUFFER = 16 * 1024,
    LINE_MAX_BYTES = 8 * 1024,
    HEADERS_MAX = 100,
};

struct np_http {
    struct np_arena *arena;
    const char *path;
    struct np_stream *stream;
    char *buffer; /* received and not yet taken: from `begin` to `end` */
    size_t begin, end;
    bool over; /* the connection answers no further request */
};

/* What the headers of one answer said of its body. */
struct answer {
    unsigned status;
    bool chunked, has_length, closes;
    uint64_t length;
};

enum np_read np_http_open(struct np_http **ret, struct np_arena *arena, const char *path, unsigned budget_ms,
                          const char **why)
{
    struct np_http *http = np_alloc(arena, sizeof *http);
    http->arena = arena;
    http->path = path;
    http->buffer = np_alloc(arena, BUFFER);
    enum np_read outcome = np_stream_open(&http->stream, arena, path, budget_ms, why);
    if (outcome == NP_READ_OK)
        *ret = http;
    return outcome;
}

void np_http_close(struct np_http *http)
{
    if (http)
        np_stream_close(http->stream);
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------ */

/* Makes sure that there is a byte to take. */
static bool fill(struct np_http *http, const char **why)
{
    if (http->begin < http->end)
        return true;
    const ptrdiff_t n = np_stream_receive(http->stream, http->buffer, BUFFER, why);
    http->begin = 0;
    http->end = n > 0 ? (size_t)n : 0;
    if (n == 0)
        *why = "the answer was cut off";
    return n > 0;
}

/* A line without its end; CR LF, or LF alone. */
static bool take_line(struct np_http *http, struct np_text *ret, const char **why)
{
    struct np_buf line = {.arena = http->arena};
    np_buf_add(&line, "", 0);
    for (;;) {
        if (!fill(http, why))
            return false;
        const char *from = http->buffer + http->begin, *lf = memchr(from, '\n', http->end - http->begin);
        const size_t n = lf ? (size_t)(lf - from) : http->end - http->begin;
        np_buf_add(&line, from, n);
        http->begin += n + (lf != NULL);
        if (line.len > LINE_MAX_BYTES) {
            *why = "the answer has a line that is too long";
            return false;
        }
        if (lf)
            break;
    }
    *ret = (struct np_text){line.ptr, line.len};
    if (ret->len > 0 && ret->ptr[ret->len - 1] == '\r')
        ret->len--;
    return true;
}

static bool take_bytes(struct np_http *http, uint64_t n, struct np_buf *body, size_t limit, const char **why)
{
    if (n > limit || body->len > limit - (size_t)n) {
        *why = np_sprintf(http->arena, "an answer larger than %zu bytes, the most that is read", limit);
        return false;
    }
    while (n > 0) {
        if (!fill(http, why))
            return false;
        const size_t here = http->end - http->begin, part = n < here ? (size_t)n : here;
        np_buf_add(body, http->buffer + http->begin, part);
        http->begin += part;
        n -= part;
    }
    return true;
}

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

static bool malformed(const char **why)
{
    *why = "the answer is not HTTP";
    return false;
}

/* "HTTP/1.1 200 OK" */
static bool take_status(struct np_http *http, struct answer *answer, const char **why)
{
    struct np_text line, version, code;
    uint64_t status;
    if (!take_line(http, &line, why))
        return false;
    if (!np_text_split(&line, ' ', &version) || !np_text_split(&line, ' ', &code) || code.len != 3 ||
        !np_text_u64(code, 599, &status) || version.len != strlen("HTTP/1.1") ||
        memcmp(version.ptr, "HTTP/1.", strlen("HTTP/1.")) != 0)
        return malformed(why);
    answer->status = (unsigned)status;
    answer->closes = version.ptr[version.len - 1] == '0';
    return status >= 200 || malformed(why); /* nothing was asked that has an interim answer */
}

static bool take_headers(struct np_http *http, struct answer *answer, const char **why)
{
    for (unsigned i = 0; i < HEADERS_MAX; i++) {
        struct np_text line, name;
        if (!take_line(http, &line, why))
            return false;
        if (line.len == 0)
            return true;
        if (!np_text_split(&line, ':', &name))
            return malformed(why);
        const struct np_text value = np_text_trim(line);
        if (np_text_is_nocase(name, "content-length")) {
            uint64_t length;
            if (!np_text_u64(value, INT64_MAX, &length) || (answer->has_length && length != answer->length))
                return malformed(why);
            answer->length = length;
            answer->has_length = true;
        } else if (np_text_is_nocase(name, "transfer-encoding")) {
            if (!np_text_is_nocase(value, "chunked"))
                return malformed(why);
            answer->chunked = true;
        } else if (np_text_is_nocase(name, "connection") && np_text_is_nocase(value, "close")) {
            answer->closes = true;
        }
    }
    *why = "the answer has too many headers";
    return false;
}

/* "1f;extension" */
static bool chunk_size(struct np_text line, uint64_t *ret)
{
    struct np_text digits;
    *ret = 0;
    if (!np_text_split(&line, ';', &digits))
        return false;
    digits = np_text_trim(digits);
    for (size_t i = 0; i < digits.len; i++) {
        const char c = digits.ptr[i] | 0x20;
        const int digit = digits.ptr[i] >= '0' && digits.ptr[i] <= '9' ? digits.ptr[i] - '0'
                          : c >= 'a' && c <= 'f'                       ? c - 'a' + 10
                                                                       : -1;
        if (digit < 0)
            return false;
        *ret = *ret << 4 | (unsigned)digit;
    }
    return digits.len > 0 && digits.len <= 15;
}

static bool take_chunks(struct np_http *http, struct np_buf *body, size_t limit, const char **why)
{
    struct np_text line;
    for (;;) {
        uint64_t size;
        if (!take_line(http, &line, why))
            return false;
        if (!chunk_size(line, &size))
            return malformed(why);
        if (size == 0)
            break;
        if (!take_bytes(http, size, body, limit, why) || !take_line(http, &line, why))
            return false;
        if (line.len > 0)
            return malformed(why);
    }
    for (unsigned i = 0; i < HEADERS_MAX; i++) { /* trailers */
        if (!take_line(http, &line, why))
            return false;
        if (line.len == 0)
            return true;
    }
    return malformed(why);
}

/* A body that neither says its length nor comes in chunks could be cut off without a trace: it is not taken. */
static bool take_body(struct np_http *http, const struct answer *answer, struct np_buf *body, size_t limit,
                      const char **why)
{
    np_buf_add(body, "", 0);
    if (answer->chunked)
        return take_chunks(http, body, limit, why);
    if (answer->has_length)
        return take_bytes(http, answer->length, body, limit, why);
    if (answer->status == 204 || answer->status == 304)
        return true;
    *why = "the answer does not say how long it is";
    return false;
}

/* ---- Asking ----------------------------------------------------------------------------------------------------- */

/* Within what is left of the budget. */
static enum np_read reopen(struct np_http *http, const char **why)
{
    const unsigned left = np_stream_left_ms(http->stream);
    np_stream_close(http->stream);
    http->stream = NULL;
    http->begin = http->end = 0;
    http->over = false;
    const enum np_read outcome = np_stream_open(&http->stream, http->arena, http->path, left, why);
    return outcome == NP_READ_ABSENT ? NP_READ_BAD : outcome; /* it was there */
}

static enum np_read outcome_of(struct np_http *http, unsigned status, const char **why)
{
    if (status == 200)
        return NP_READ_OK;
    *why = np_sprintf(http->arena, "it answered with status %u", status);
    return status == 404 ? NP_READ_ABSENT : status == 401 || status == 403 ? NP_READ_DENIED : NP_READ_BAD;
}

enum np_read np_http_get(struct np_http *http, const char *target, size_t limit, struct np_text *ret, const char **why)
{
    struct answer answer = {0};
    struct np_buf body = {.arena = http->arena};
    const char *ask = np_sprintf(http->arena,
                                 "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: nextport/" NEXTPORT_VERSION
                                 "\r\nAccept: application/json\r\n\r\n",
                                 target);
    *ret = (struct np_text){0};
    *why = NULL;
    if (!http->stream || http->over) {
        if (!http->stream) {
            *why = "it no longer answers";
            return NP_READ_BAD;
        }
        const enum np_read outcome = reopen(http, why);
        if (outcome != NP_READ_OK)
            return outcome;
    }
    http->over = true; /* unless all goes well */
    if (!np_stream_send(http->stream, ask, strlen(ask), why) || !take_status(http, &answer, why) ||
        !take_headers(http, &answer, why) || !take_body(http, &answer, &body, limit, why))
        return NP_READ_BAD;
    http->over = answer.closes;
    *ret = (struct np_text){body.ptr, body.len};
    return outcome_of(http, answer.status, why);
}
