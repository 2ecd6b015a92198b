/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <string.h>

struct np_text np_text_of(const char *text)
{
    return (struct np_text){text, text ? strlen(text) : 0};
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct np_text np_text_trim(struct np_text text)
{
    while (text.len && blank(text.ptr[0]))
        text.ptr++, text.len--;
    while (text.len && blank(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

bool np_text_is(struct np_text text, const char *word)
{
    return text.len == strlen(word) && (!text.len || memcmp(text.ptr, word, text.len) == 0);
}

static unsigned char fold(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool np_text_is_nocase(struct np_text text, const char *word)
{
    if (text.len != strlen(word))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (fold(text.ptr[i]) != fold(word[i]))
            return false;
    return true;
}

/* As many bytes as `word` has, or all there are. */
static struct np_text first_of(struct np_text text, const char *word)
{
    const size_t n = strlen(word);
    return text.len > n ? (struct np_text){text.ptr, n} : text;
}

static struct np_text last_of(struct np_text text, const char *word)
{
    const size_t n = strlen(word);
    return text.len > n ? (struct np_text){text.ptr + text.len - n, n} : text;
}

bool np_text_begins(struct np_text text, const char *word)
{
    return np_text_is(first_of(text, word), word);
}

bool np_text_ends(struct np_text text, const char *word)
{
    return np_text_is(last_of(text, word), word);
}

bool np_text_begins_nocase(struct np_text text, const char *word)
{
    return np_text_is_nocase(first_of(text, word), word);
}

bool np_text_ends_nocase(struct np_text text, const char *word)
{
    return np_text_is_nocase(last_of(text, word), word);
}

int np_compare(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

bool np_equal(const char *a, const char *b)
{
    return a == b || np_compare(a, b) == 0;
}

bool np_equal_nocase(const char *a, const char *b)
{
    return np_text_is_nocase(np_text_of(a), b);
}

int np_compare_nocase(const char *a, const char *b)
{
    if (!a || !b)
        return (a != NULL) - (b != NULL);
    while (*a && fold(*a) == fold(*b))
        a++, b++;
    return (unsigned char)fold(*a) - (unsigned char)fold(*b);
}

bool np_text_split(struct np_text *rest, char separator, struct np_text *part)
{
    if (!rest->ptr)
        return false;
    const char *at = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    if (!at) {
        *part = *rest;
        *rest = (struct np_text){NULL, 0};
        return true;
    }
    *part = (struct np_text){rest->ptr, (size_t)(at - rest->ptr)};
    rest->len -= part->len + 1;
    rest->ptr = at + 1;
    return true;
}

char *np_text_dup(struct np_arena *arena, struct np_text text)
{
    return np_strndup(arena, text.ptr, text.len);
}

bool np_text_u64(struct np_text text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (!text.len)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        unsigned digit = (unsigned)(text.ptr[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value > max)
        return false;
    *ret = value;
    return true;
}

bool np_text_port(struct np_text text, uint16_t *ret)
{
    uint64_t value;
    if (!np_text_u64(text, 65535, &value) || value == 0)
        return false;
    *ret = (uint16_t)value;
    return true;
}

bool np_text_duration(struct np_text text, int64_t *ret_s)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    int64_t unit = 1;
    if (text.len)
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (text.ptr[text.len - 1] == units[i].letter) {
                unit = units[i].seconds;
                text.len--;
                break;
            }
    uint64_t value;
    if (!np_text_u64(text, (uint64_t)(NP_DURATION_MAX / unit), &value) || value == 0)
        return false;
    *ret_s = (int64_t)value * unit;
    return true;
}

/* Length of the UTF-8 sequence at `p`, 0 when there is none (RFC 3629: no overlong forms, surrogates, > U+10FFFF). */
static size_t utf8_step(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/* A character has four bytes at most: what goes on for longer is none, and may be cut anywhere. */
size_t np_text_cut(struct np_text text, size_t most)
{
    size_t n = text.len < most ? text.len : most;
    for (unsigned i = 0; i < 3 && n < text.len && n > 0 && ((unsigned char)text.ptr[n] & 0xc0) == 0x80; i++)
        n--;
    return n;
}

bool np_utf8_valid(struct np_text text)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    for (size_t i = 0; i < text.len;) {
        size_t n = utf8_step(p + i, text.len - i);
        if (!n)
            return false;
        i += n;
    }
    return true;
}

size_t np_columns(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

enum { WORD_MAX = 48 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits between two words; swapping two neighbours, the commonest slip, is one (optimal string alignment). */
static size_t distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), rows[3][WORD_MAX + 1];
    if (na > WORD_MAX || nb > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= nb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        const size_t *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
        size_t *row = rows[i % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            bool same = fold(a[i - 1]) == fold(b[j - 1]);
            row[j] = least(above[j - 1] + !same, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]))
                row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[na % 3][nb];
}

const char *np_nearest(const char *word, const char *(*candidate)(const void *ctx, size_t i), const void *ctx)
{
    const char *best = NULL, *c;
    size_t best_d = 0;
    for (size_t i = 0; (c = candidate(ctx, i)); i++) {
        size_t d = distance(word, c), length = strlen(c);
        bool prefix = *word && strncmp(word, c, strlen(word)) == 0;
        if (prefix)
            d = 1;
        if (d * 3 <= length + 2 && (!best || d < best_d)) {
            best = c;
            best_d = d;
        }
    }
    return best;
}

/* Of valid UTF-8. */
static uint32_t code_point(const unsigned char *p, size_t n)
{
    uint32_t ret = n == 1 ? *p : n == 2 ? *p & 0x1fu : n == 3 ? *p & 0x0fu : *p & 0x07u;
    for (size_t i = 1; i < n; i++)
        ret = ret << 6 | (p[i] & 0x3fu);
    return ret;
}

bool np_is_control(uint32_t c)
{
    /* C1 controls steer terminals as well as C0 do; line separators end lines; the marks turn the order of what is read */
    static const uint32_t ranges[][2] = {{0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},
                                         {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i][0] <= c && c <= ranges[i][1])
            return true;
    return false;
}

char *np_neutral(struct np_arena *arena, const char *text, bool ascii)
{
    struct np_buf out = {.arena = arena};
    np_buf_add(&out, "", 0);
    if (!text)
        return out.ptr;
    size_t left = strlen(text);
    if (strncmp(text, "::", 2) == 0)
        np_buf_puts(&out, "\\");
    for (const unsigned char *p = (const unsigned char *)text; left;) {
        size_t n = utf8_step(p, left);
        if (!n || np_is_control(code_point(p, n)) || (ascii && n > 1)) {
            size_t bytes = n ? n : 1;
            for (size_t i = 0; i < bytes; i++)
                np_buf_printf(&out, "\\x%02x", p[i]);
            p += bytes, left -= bytes;
            continue;
        }
        np_buf_add(&out, (const char *)p, n);
        if (*p == '#' && left > 1 && p[1] == '#')
            np_buf_puts(&out, "\\");
        p += n, left -= n;
    }
    return out.ptr;
}
