/* SPDX-License-Identifier: MIT */
#include "output/kept.h"

#include <inttypes.h>
#include <string.h>

enum { DEEPEST = 8 };

struct reader {
    const char *p, *end;
    struct np_buf *out;
    unsigned depth;
    const char *wanted; /* a key of the outermost object; NULL: none */
    size_t at, len;     /* its value in `out`; len 0: not found */
};

static bool value(struct reader *);

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

/* Takes `c` over, with the blanks before it. */
static bool take(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->p == r->end || *r->p != c)
        return false;
    np_buf_add(r->out, r->p++, 1);
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* What stands behind a backslash. */
static bool escape(struct reader *r)
{
    if (r->p == r->end || !*r->p || !strchr("\"\\/bfnrtu", *r->p))
        return false;
    size_t n = *r->p == 'u' ? 5 : 1;
    if ((size_t)(r->end - r->p) < n)
        return false;
    for (size_t i = 1; i < n; i++)
        if (hex_digit(r->p[i]) < 0)
            return false;
    np_buf_add(r->out, "\\", 1);
    np_buf_add(r->out, r->p, n);
    r->p += n;
    return true;
}

/* A code point beyond ASCII; the text is known to be valid UTF-8. */
static void wide(struct reader *r)
{
    unsigned char lead = (unsigned char)*r->p++;
    unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    uint32_t c = lead & (0x3fu >> more);
    for (; more && r->p < r->end; more--)
        c = c << 6 | ((unsigned char)*r->p++ & 0x3fu);
    if (c < 0x10000)
        np_buf_printf(r->out, "\\u%04" PRIx32, c);
    else
        np_buf_printf(r->out, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + ((c - 0x10000) >> 10),
                      0xdc00 + ((c - 0x10000) & 0x3ff));
}

static bool character(struct reader *r)
{
    unsigned char c = (unsigned char)*r->p;
    if (c < 0x20)
        return false;
    if (c >= 0x80) {
        wide(r);
        return true;
    }
    r->p++;
    if (c == '\\')
        return escape(r);
    if (c == 0x7f)
        np_buf_puts(r->out, "\\u007f");
    else if (c == '#' && r->out->ptr[r->out->len - 1] == '#')
        np_buf_puts(r->out, "\\u0023");
    else
        np_buf_add(r->out, r->p - 1, 1);
    return true;
}

static bool string(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    while (r->p < r->end && *r->p != '"')
        if (!character(r))
            return false;
    return r->p < r->end && take(r, '"');
}

static size_t digits(struct reader *r)
{
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return (size_t)(r->p - from);
}

static bool is_next(const struct reader *r, const char *any)
{
    return r->p < r->end && *r->p && strchr(any, *r->p);
}

static bool number(struct reader *r)
{
    const char *from = r->p;
    if (is_next(r, "-"))
        r->p++;
    bool zero = is_next(r, "0"), sound;
    size_t whole = digits(r);
    sound = whole && !(zero && whole > 1);
    if (sound && is_next(r, ".")) {
        r->p++;
        sound = digits(r) > 0;
    }
    if (sound && is_next(r, "eE")) {
        r->p++;
        if (is_next(r, "+-"))
            r->p++;
        sound = digits(r) > 0;
    }
    np_buf_add(r->out, from, (size_t)(r->p - from));
    return sound;
}

static bool word(struct reader *r)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(r->end - r->p) < n || memcmp(r->p, words[i], n) != 0)
            continue;
        np_buf_add(r->out, words[i], n);
        r->p += n;
        return true;
    }
    return false;
}

/* One member of an object. */
static bool member(struct reader *r)
{
    skip_blanks(r);
    size_t key = r->out->len;
    if (!string(r))
        return false;
    bool wanted = r->wanted && r->depth == 1 && r->out->len - key == strlen(r->wanted) + 2 &&
                  memcmp(r->out->ptr + key + 1, r->wanted, strlen(r->wanted)) == 0;
    if (!take(r, ':'))
        return false;
    size_t at = r->out->len;
    if (!value(r))
        return false;
    if (wanted)
        r->at = at, r->len = r->out->len - at;
    return true;
}

static bool group(struct reader *r, char open, char close, bool (*item)(struct reader *))
{
    if (r->depth++ == DEEPEST || !take(r, open))
        return false;
    if (!take(r, close)) {
        do
            if (!item(r))
                return false;
        while (take(r, ','));
        if (!take(r, close))
            return false;
    }
    r->depth--;
    return true;
}

static bool value(struct reader *r)
{
    skip_blanks(r);
    if (r->p == r->end)
        return false;
    switch (*r->p) {
    case '{':
        return group(r, '{', '}', member);
    case '[':
        return group(r, '[', ']', value);
    case '"':
        return string(r);
    case 't':
    case 'f':
    case 'n':
        return word(r);
    default:
        return number(r);
    }
}

/* The whole object, braces and all, into the reader's buffer. */
static bool object(struct reader *r)
{
    skip_blanks(r);
    if (!np_utf8_valid((struct np_text){r->p, (size_t)(r->end - r->p)}) || !is_next(r, "{") || !value(r))
        return false;
    skip_blanks(r);
    return r->p == r->end;
}

bool np_json_members(struct np_buf *out, struct np_text text)
{
    struct np_buf whole = {.arena = out->arena};
    struct reader r = {.p = text.ptr, .end = text.ptr + text.len, .out = &whole};
    if (!text.len || !object(&r))
        return false;
    np_buf_add(out, whole.ptr + 1, whole.len - 2);
    return true;
}

static void add_utf8(struct np_buf *out, uint32_t c)
{
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xf0u) | c);
    np_buf_add(out, bytes, n);
}

static uint32_t four_digits(const char *p)
{
    uint32_t c = 0;
    for (int i = 0; i < 4; i++)
        c = c << 4 | (uint32_t)hex_digit(p[i]);
    return c;
}

/* The code point behind "\u"; half a pair is U+FFFD. */
static uint32_t code_point(const char **p)
{
    uint32_t c = four_digits(*p);
    *p += 4;
    if (c >= 0xd800 && c < 0xdc00 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        uint32_t low = four_digits(*p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            *p += 6;
            return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    /* a zero byte would end the text */
    return c == 0 || (c >= 0xd800 && c < 0xe000) ? 0xfffd : c;
}

/* A string of ours, which is sound, without quotes and escapes. */
static const char *unquoted(struct np_arena *arena, const char *p)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    struct np_buf out = {.arena = arena};
    np_buf_puts(&out, "");
    for (p++; *p != '"';) {
        const char *simple;
        if (*p != '\\') {
            np_buf_add(&out, p++, 1);
        } else if (p[1] == 'u') {
            p += 2;
            add_utf8(&out, code_point(&p));
        } else {
            simple = strchr(from, p[1]);
            np_buf_add(&out, simple ? &to[simple - from] : &p[1], 1);
            p += 2;
        }
    }
    return out.ptr;
}

const char *np_json_member(struct np_arena *arena, const char *text, const char *key)
{
    struct np_buf whole = {.arena = arena};
    struct np_text bytes = np_text_of(text ? text : "");
    struct reader r = {.p = bytes.ptr, .end = bytes.ptr + bytes.len, .out = &whole, .wanted = key};
    if (!bytes.len || !object(&r) || !r.len)
        return NULL;
    const char *found = np_strndup(arena, whole.ptr + r.at, r.len);
    if (found[0] == '"')
        return unquoted(arena, found);
    return strcmp(found, "null") == 0 ? NULL : found;
}
