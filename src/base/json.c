/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- Writer -------------------------------------------------------------------------------------------------- */

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

/* ---- Reader: bytes ------------------------------------------------------------------------------------------- */

enum expects {
    VALUE,        /* and nothing else */
    FIRST_VALUE,  /* or the array's end */
    KEY,          /* and nothing else */
    FIRST_KEY,    /* or the object's end */
    COMMA_OR_END, /* between values; at the outermost level: the end */
};

/* The token, or what is wrong, begins here. */
static void mark(struct np_json_reader *reader)
{
    reader->begins = reader->at;
    reader->line = reader->next_line;
    reader->line_begins = reader->next_line_begins;
}

void np_json_reader_init(struct np_json_reader *reader, struct np_text bytes, unsigned options, struct np_arena *arena)
{
    static const char order_mark[] = "\xef\xbb\xbf";
    const char *begin = bytes.len ? bytes.ptr : "";
    *reader = (struct np_json_reader){.arena = arena, .at = begin, .end = begin + bytes.len};
    reader->options = options;
    reader->expects = VALUE;
    if (bytes.len >= 3 && memcmp(begin, order_mark, 3) == 0)
        reader->at += 3;
    reader->next_line_begins = reader->at;
    reader->next_line = 1;
    mark(reader);
}

bool np_json_is_bad(const struct np_json_reader *reader)
{
    return reader->token == NP_JSON_BAD;
}

unsigned np_json_column(const struct np_json_reader *reader)
{
    unsigned column = 1;
    for (const char *p = reader->line_begins; p < reader->begins; p++)
        column += ((unsigned char)*p & 0xc0) != 0x80;
    return column;
}

static void refuse(struct np_json_reader *reader, const char *fmt, va_list args) NP_PRINTF(2, 0);

static void refuse(struct np_json_reader *reader, const char *fmt, va_list args)
{
    if (np_json_is_bad(reader))
        return;
    vsnprintf(reader->why, sizeof reader->why, fmt, args);
    reader->token = NP_JSON_BAD;
}

void np_json_refuse(struct np_json_reader *reader, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    refuse(reader, fmt, args);
    va_end(args);
}

/* At the byte that comes next, which is what is wrong. */
static bool bad_here(struct np_json_reader *reader, const char *fmt, ...) NP_PRINTF(2, 3);

static bool bad_here(struct np_json_reader *reader, const char *fmt, ...)
{
    va_list args;
    mark(reader);
    va_start(args, fmt);
    refuse(reader, fmt, args);
    va_end(args);
    return false;
}

static bool bad_next(struct np_json_reader *reader, const char *expected)
{
    const unsigned char c = reader->at < reader->end ? (unsigned char)*reader->at : 0;
    if (reader->at == reader->end)
        return bad_here(reader, "%s is missing: the text ends here", expected);
    if (c > 0x20 && c < 0x7f)
        return bad_here(reader, "%s is missing: '%c' is here", expected, c);
    return bad_here(reader, "%s is missing: byte 0x%02x is here", expected, c);
}

/* Takes one code point, which must be UTF-8. */
static bool take_rune(struct np_json_reader *reader)
{
    uint32_t c;
    const size_t n = decode((const unsigned char *)reader->at, (size_t)(reader->end - reader->at), &c);
    if (c == 0xfffd && n == 1)
        return bad_here(reader, "byte 0x%02x is not UTF-8", (unsigned char)*reader->at);
    reader->at += n;
    return true;
}

static void end_line(struct np_json_reader *reader)
{
    reader->next_line++;
    reader->next_line_begins = reader->at;
}

/* ---- Reader: what stands between tokens ---- */

/* What stands in a comment, and its end. */
static bool comment(struct np_json_reader *reader, bool block)
{
    for (;;) {
        if (reader->at == reader->end)
            return !block || bad_here(reader, "a comment does not end");
        if (*reader->at == '\n') {
            reader->at++;
            end_line(reader);
            if (!block)
                return true;
        } else if (block && reader->end - reader->at >= 2 && memcmp(reader->at, "*/", 2) == 0) {
            reader->at += 2;
            return true;
        } else if (!take_rune(reader)) {
            return false;
        }
    }
}

/* Passes over blanks and, where they are taken, comments. */
static bool pass_blanks(struct np_json_reader *reader)
{
    while (reader->at < reader->end) {
        const char c = *reader->at;
        if (c == '\n') {
            reader->at++;
            end_line(reader);
        } else if (c == ' ' || c == '\t' || c == '\r') {
            reader->at++;
        } else if (c == '/' && reader->options & NP_JSON_COMMENTS && reader->end - reader->at >= 2 &&
                   (reader->at[1] == '/' || reader->at[1] == '*')) {
            const bool block = reader->at[1] == '*';
            reader->at += 2;
            if (!comment(reader, block))
                return false;
        } else {
            return true;
        }
    }
    return true;
}

/* ---- Reader: strings ---- */

/* Four hexadecimal digits behind "\u". */
static bool take_hex(struct np_json_reader *reader, uint32_t *ret)
{
    *ret = 0;
    for (int i = 0; i < 4; i++, reader->at++) {
        const char c = reader->at < reader->end ? *reader->at : '\0';
        const uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                               : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                               : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                      : 16;
        if (digit > 15)
            return bad_next(reader, "a hexadecimal digit");
        *ret = *ret << 4 | digit;
    }
    return true;
}

/* What stands behind "\u", with the second half of a pair. */
static bool take_code(struct np_json_reader *reader, uint32_t *ret)
{
    uint32_t low = 0;
    if (!take_hex(reader, ret))
        return false;
    if (*ret < 0xd800 || *ret > 0xdfff)
        return true;
    const bool pair = *ret < 0xdc00 && reader->end - reader->at >= 2 && memcmp(reader->at, "\\u", 2) == 0;
    if (pair) {
        reader->at += 2;
        if (!take_hex(reader, &low))
            return false;
    }
    if (!pair || low < 0xdc00 || low > 0xdfff)
        return bad_here(reader, "half of a surrogate pair is no character");
    *ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

static void put_code(struct np_buf *out, uint32_t c)
{
    const char bytes[] = {(char)(c < 0x80      ? c
                                 : c < 0x800   ? 0xc0 | c >> 6
                                 : c < 0x10000 ? 0xe0 | c >> 12
                                               : 0xf0 | c >> 18),
                          (char)(0x80 | (c >> 12 & 0x3f)), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))};
    const size_t more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    np_buf_add(out, bytes, 1);
    np_buf_add(out, bytes + 4 - more, more);
}

/* What stands behind a backslash. */
static bool take_escape(struct np_json_reader *reader, uint32_t *ret)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char c = reader->at < reader->end ? *reader->at : '\0';
    const char *found = c ? strchr(names, c) : NULL;
    if (c != 'u' && !found)
        return bad_next(reader, "a known escape");
    reader->at++;
    if (c == 'u')
        return take_code(reader, ret);
    *ret = (unsigned char)meanings[found - names];
    return true;
}

/* Stands for itself, and is all of itself? */
static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The quote has been taken. A string without escapes is left where it is. */
static bool take_string(struct np_json_reader *reader)
{
    struct np_buf out = {.arena = reader->arena};
    const char *plain = reader->at; /* not copied yet */
    bool copied = false;
    for (;;) {
        while (reader->at < reader->end && is_plain((unsigned char)*reader->at))
            reader->at++;
        if (reader->at == reader->end)
            return bad_here(reader, "a string does not end");
        const unsigned char c = (unsigned char)*reader->at;
        if (c == '"')
            break;
        if (c < 0x20)
            return bad_here(reader, "control character 0x%02x stands in a string", c);
        if (c != '\\') {
            if (!take_rune(reader))
                return false;
            continue;
        }
        uint32_t code = 0;
        if (!reader->skips)
            np_buf_add(&out, plain, (size_t)(reader->at - plain));
        reader->at++;
        if (!take_escape(reader, &code))
            return false;
        if (!reader->skips)
            put_code(&out, code);
        plain = reader->at;
        copied = true;
    }
    if (copied && !reader->skips)
        np_buf_add(&out, plain, (size_t)(reader->at - plain));
    reader->text = (struct np_text){plain, (size_t)(reader->at - plain)};
    if (copied)
        reader->text = (struct np_text){out.ptr ? out.ptr : "", out.len};
    reader->at++;
    return true;
}

/* ---- Reader: numbers and words ---- */

static bool take_digits(struct np_json_reader *reader)
{
    const char *begin = reader->at;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
        reader->at++;
    return reader->at > begin || bad_next(reader, "a digit");
}

static bool take_byte(struct np_json_reader *reader, const char *any)
{
    if (reader->at == reader->end || !*reader->at || !strchr(any, *reader->at))
        return false;
    reader->at++;
    return true;
}

/* Counted downwards, because INT64_MIN has no positive counterpart. */
static bool whole(struct np_text digits, int64_t *ret)
{
    const bool negative = digits.ptr[0] == '-';
    int64_t value = 0;
    for (size_t i = negative; i < digits.len; i++) {
        const int64_t digit = digits.ptr[i] - '0';
        if (value < (INT64_MIN + digit) / 10)
            return false;
        value = value * 10 - digit;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *ret = negative ? value : -value;
    return true;
}

static bool take_number(struct np_json_reader *reader)
{
    bool fraction = false;
    take_byte(reader, "-");
    const char *first = reader->at;
    if (!take_digits(reader))
        return false;
    if (*first == '0' && reader->at - first > 1) {
        reader->at = first;
        return bad_here(reader, "a number begins with 0");
    }
    if (take_byte(reader, ".")) {
        fraction = true;
        if (!take_digits(reader))
            return false;
    }
    if (take_byte(reader, "eE")) {
        fraction = true;
        take_byte(reader, "+-");
        if (!take_digits(reader))
            return false;
    }
    reader->text = (struct np_text){reader->begins, (size_t)(reader->at - reader->begins)};
    reader->is_integer = !fraction && whole(reader->text, &reader->integer);
    return true;
}

static bool take_word(struct np_json_reader *reader, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(reader->end - reader->at) < n || memcmp(reader->at, word, n) != 0)
        return bad_next(reader, "a value");
    reader->at += n;
    return true;
}

/* ---- Reader: tokens ---- */

static bool in_object(const struct np_json_reader *reader)
{
    return reader->depth && reader->objects >> (reader->depth - 1) & 1;
}

static enum np_json_token open_level(struct np_json_reader *reader, bool object)
{
    if (reader->depth == NP_JSON_DEPTH_MAX) {
        bad_here(reader, "nested more than %d levels deep", NP_JSON_DEPTH_MAX);
        return NP_JSON_BAD;
    }
    const uint64_t bit = UINT64_C(1) << reader->depth++;
    reader->objects = object ? reader->objects | bit : reader->objects & ~bit;
    reader->at++;
    reader->expects = object ? FIRST_KEY : FIRST_VALUE;
    return object ? NP_JSON_OBJECT : NP_JSON_ARRAY;
}

static enum np_json_token close_level(struct np_json_reader *reader)
{
    const bool object = in_object(reader);
    reader->depth--;
    reader->at++;
    reader->expects = COMMA_OR_END;
    return object ? NP_JSON_OBJECT_END : NP_JSON_ARRAY_END;
}

static enum np_json_token read_value(struct np_json_reader *reader)
{
    static const struct {
        const char *word;
        enum np_json_token token;
    } words[] = {{"true", NP_JSON_TRUE}, {"false", NP_JSON_FALSE}, {"null", NP_JSON_NULL}};
    const char c = reader->at < reader->end ? *reader->at : '\0';
    if (c == '{' || c == '[')
        return open_level(reader, c == '{');
    reader->expects = COMMA_OR_END;
    if (c == '"') {
        reader->at++;
        return take_string(reader) ? NP_JSON_STRING : NP_JSON_BAD;
    }
    if (c == '-' || (c >= '0' && c <= '9'))
        return take_number(reader) ? NP_JSON_NUMBER : NP_JSON_BAD;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (c == words[i].word[0])
            return take_word(reader, words[i].word) ? words[i].token : NP_JSON_BAD;
    bad_next(reader, "a value");
    return NP_JSON_BAD;
}

static enum np_json_token read_key(struct np_json_reader *reader)
{
    if (reader->at == reader->end || *reader->at != '"') {
        bad_next(reader, reader->expects == FIRST_KEY ? "a key or '}'" : "a key");
        return NP_JSON_BAD;
    }
    reader->at++;
    if (!take_string(reader) || !pass_blanks(reader))
        return NP_JSON_BAD;
    if (reader->at == reader->end || *reader->at != ':') {
        bad_next(reader, "':'");
        return NP_JSON_BAD;
    }
    reader->at++;
    reader->key = reader->text;
    reader->expects = VALUE;
    return NP_JSON_KEY;
}

/* A comma between two values of an object or array; false: there is none, or what comes next is bad. */
static bool take_comma(struct np_json_reader *reader)
{
    const bool object = in_object(reader), lax = reader->options & NP_JSON_TRAILING_COMMAS;
    if (reader->at == reader->end || *reader->at != ',')
        return bad_next(reader, object ? "',' or '}'" : "',' or ']'");
    reader->at++;
    reader->expects = object ? (lax ? FIRST_KEY : KEY) : (lax ? FIRST_VALUE : VALUE);
    return pass_blanks(reader);
}

static enum np_json_token read_token(struct np_json_reader *reader)
{
    const char closer = in_object(reader) ? '}' : ']';
    if (!pass_blanks(reader))
        return NP_JSON_BAD;
    if (reader->expects == COMMA_OR_END && !reader->depth) {
        mark(reader);
        if (reader->at == reader->end)
            return NP_JSON_END;
        bad_next(reader, "the end");
        return NP_JSON_BAD;
    }
    const bool ends = reader->depth && reader->at < reader->end && *reader->at == closer;
    if (reader->expects == COMMA_OR_END && !ends && !take_comma(reader))
        return NP_JSON_BAD;
    mark(reader);
    const bool may_end =
        reader->expects == COMMA_OR_END || reader->expects == FIRST_KEY || reader->expects == FIRST_VALUE;
    if (may_end && reader->at < reader->end && *reader->at == closer)
        return close_level(reader);
    if (reader->expects == KEY || reader->expects == FIRST_KEY)
        return read_key(reader);
    return read_value(reader);
}

enum np_json_token np_json_next(struct np_json_reader *reader)
{
    if (np_json_is_bad(reader))
        return NP_JSON_BAD;
    reader->text = (struct np_text){"", 0};
    reader->is_integer = false;
    const enum np_json_token token = read_token(reader);
    if (!np_json_is_bad(reader))
        reader->token = token;
    return reader->token;
}

void np_json_skip(struct np_json_reader *reader)
{
    const bool skips = reader->skips;
    reader->skips = true;
    if (reader->token == NP_JSON_KEY)
        np_json_next(reader);
    if (reader->token == NP_JSON_OBJECT || reader->token == NP_JSON_ARRAY)
        for (const unsigned outside = reader->depth - 1; !np_json_is_bad(reader) && reader->depth > outside;)
            np_json_next(reader);
    reader->skips = skips;
}

/* ---- Reader: what callers want ---- */

static const char *last_key(struct np_json_reader *reader)
{
    if (!reader->key.ptr)
        return "the value";
    return np_sprintf(reader->arena, "'%s'", np_neutral(reader->arena, np_text_dup(reader->arena, reader->key), false));
}

bool np_json_enter(struct np_json_reader *reader, enum np_json_token token)
{
    static const char *const names[] = {
        [NP_JSON_END] = "the end",      [NP_JSON_BAD] = "nothing",
        [NP_JSON_OBJECT] = "an object", [NP_JSON_OBJECT_END] = "an object's end",
        [NP_JSON_ARRAY] = "an array",   [NP_JSON_ARRAY_END] = "an array's end",
        [NP_JSON_KEY] = "a key",        [NP_JSON_STRING] = "a string",
        [NP_JSON_NUMBER] = "a number",  [NP_JSON_TRUE] = "true",
        [NP_JSON_FALSE] = "false",      [NP_JSON_NULL] = "null",
    };
    if (np_json_next(reader) == token)
        return !np_json_is_bad(reader);
    np_json_refuse(reader, "%s is not %s", last_key(reader), names[token]);
    return false;
}

static const char *text_of(struct np_json_reader *reader)
{
    if (np_json_is_bad(reader))
        return NULL;
    if (reader->token != NP_JSON_STRING)
        np_json_refuse(reader, "%s is not a string", last_key(reader));
    else if (memchr(reader->text.ptr, '\0', reader->text.len))
        np_json_refuse(reader, "%s holds a NUL character", last_key(reader));
    return np_json_is_bad(reader) ? NULL : np_text_dup(reader->arena, reader->text);
}

const char *np_json_read_text(struct np_json_reader *reader)
{
    np_json_next(reader);
    return text_of(reader);
}

const char *np_json_read_text_or_null(struct np_json_reader *reader)
{
    return np_json_next(reader) == NP_JSON_NULL ? NULL : text_of(reader);
}

int64_t np_json_read_int(struct np_json_reader *reader, int64_t least, int64_t most)
{
    const bool number = np_json_next(reader) == NP_JSON_NUMBER && reader->is_integer;
    if (number && least <= reader->integer && reader->integer <= most)
        return reader->integer;
    np_json_refuse(reader, "%s is not a whole number from %" PRId64 " to %" PRId64, last_key(reader), least, most);
    return least;
}

int np_json_which(struct np_json_reader *reader, const char *const keys[], uint64_t *seen)
{
    int i = 0;
    while (keys[i] && !(reader->key.len && keys[i][0] == reader->key.ptr[0] && np_text_is(reader->key, keys[i])))
        i++; /* most differ in their first byte */
    if (!keys[i])
        return -1;
    if (seen && *seen >> i & 1) {
        np_json_refuse(reader, "the key '%s' is given twice", keys[i]);
        return -1;
    }
    if (seen)
        *seen |= UINT64_C(1) << i;
    return i;
}

void np_json_finish(struct np_json_reader *reader)
{
    if (np_json_next(reader) != NP_JSON_END)
        np_json_refuse(reader, "more follows where the text should end");
}

enum nextport_status np_json_fail(const struct np_json_reader *reader, const char *origin, struct nextport_error *err)
{
    return np_fail(err, NEXTPORT_INPUT, "%s:%u:%u: %s", origin, reader->line, np_json_column(reader), reader->why);
}
