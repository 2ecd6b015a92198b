/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <inttypes.h>
#include <string.h>

/* One code point at `p`, or U+FFFD and one byte where there is none. Returns the bytes taken. */
static size_t decode(const unsigned char *p, size_t left, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    *ret = 0xfffd;
    if (left < n || (n > 1 && (p[0] < 0xc2 || p[0] > 0xf4)))
        return 1;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if ((n > 1 && c < least[n]) || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 1;
    *ret = c;
    return n;
}

static void quoted(struct np_buf *out, const char *text)
{
    np_buf_puts(out, "\"");
    size_t left = strlen(text);
    for (const unsigned char *p = (const unsigned char *)text; left;) {
        uint32_t c;
        size_t n = decode(p, left, &c);
        if (c == '"' || c == '\\')
            np_buf_printf(out, "\\%c", (int)c);
        else if (c == '#' && p != (const unsigned char *)text && p[-1] == '#')
            np_buf_puts(out, "\\u0023"); /* "##" opens a command where the log is read by a deployment system */
        else if (c >= 0x20 && c < 0x7f)
            np_buf_add(out, (const char *)p, 1);
        else if (c < 0x10000)
            np_buf_printf(out, "\\u%04" PRIx32, c);
        else
            np_buf_printf(out, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + ((c - 0x10000) >> 10),
                          0xdc00 + ((c - 0x10000) & 0x3ff));
        p += n, left -= n;
    }
    np_buf_puts(out, "\"");
}

static void before(struct np_json *json, const char *key)
{
    if (json->comma)
        np_buf_puts(json->out, ",");
    if (key) {
        quoted(json->out, key);
        np_buf_puts(json->out, ":");
    }
    json->comma = true;
}

void np_json_begin(struct np_json *json, const char *key, char bracket)
{
    before(json, key);
    np_buf_add(json->out, &bracket, 1);
    json->comma = false;
}

void np_json_end(struct np_json *json, char bracket)
{
    np_buf_add(json->out, &bracket, 1);
    json->comma = true;
}

void np_json_string(struct np_json *json, const char *key, const char *value)
{
    if (!value) {
        np_json_null(json, key);
        return;
    }
    before(json, key);
    quoted(json->out, value);
}

void np_json_int(struct np_json *json, const char *key, int64_t value)
{
    before(json, key);
    np_buf_printf(json->out, "%" PRId64, value);
}

void np_json_bool(struct np_json *json, const char *key, bool value)
{
    before(json, key);
    np_buf_puts(json->out, value ? "true" : "false");
}

void np_json_null(struct np_json *json, const char *key)
{
    before(json, key);
    np_buf_puts(json->out, "null");
}
