/* What netsh prints about ports. Its words are in the user's language and in the OEM code page, so only digits, "*" and
 * dashes are looked at; no second byte of a character in an OEM code page is one of them.
 *
 * Both answers have a rule of dashes below their heading, the table of exclusions one of two columns; no message of an
 * error has any. That tells an empty table from a text that says nothing. A heading may hold digits ("IPv4") and is not
 * looked at.
 * SPDX-License-Identifier: MIT */
#include "host/windows/netsh.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool has_digit(struct np_text text)
{
    for (size_t i = 0; i < text.len; i++)
        if (is_digit(text.ptr[i]))
            return true;
    return false;
}

/* The next line without its end; *ret_whole: it has one, so that no digit of it is missing. */
static bool next_line(struct np_text *rest, struct np_text *ret, bool *ret_whole)
{
    if (rest->len == 0)
        return false;
    const char *end = memchr(rest->ptr, '\n', rest->len);
    const size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
    *ret = np_text_trim((struct np_text){rest->ptr, len});
    *ret_whole = end != NULL;
    rest->ptr += len + *ret_whole;
    rest->len -= len + *ret_whole;
    return true;
}

/* The columns of a rule of dashes; 0: it is none. */
static unsigned rule_columns(struct np_text line)
{
    unsigned columns = 0;
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] != '-' && line.ptr[i] != ' ')
            return 0;
        columns += line.ptr[i] == '-' && (i == 0 || line.ptr[i - 1] == ' ');
    }
    return columns;
}

/* Leaves in `rest` what stands below the first rule, which must have so many columns. */
static bool skip_heading(struct np_text *rest, unsigned columns)
{
    struct np_text line;
    bool whole;
    while (next_line(rest, &line, &whole))
        if (rule_columns(line) > 0)
            return whole && rule_columns(line) == columns;
    return false;
}

/* The next word of a line; blanks part them. */
static bool next_word(struct np_text *line, struct np_text *ret)
{
    *line = np_text_trim(*line);
    size_t n = 0;
    while (n < line->len && line->ptr[n] != ' ' && line->ptr[n] != '\t')
        n++;
    *ret = (struct np_text){line->ptr, n};
    line->ptr += n;
    line->len -= n;
    return n > 0;
}

/* "50000       50059     *" */
static bool parse_row(struct np_text line, struct np_excluded *ret)
{
    struct np_text first, last, mark;
    if (!next_word(&line, &first) || !next_word(&line, &last) || !np_text_port(first, &ret->ports.first) ||
        !np_text_port(last, &ret->ports.last) || ret->ports.first > ret->ports.last)
        return false;
    ret->administered = next_word(&line, &mark);
    return !ret->administered || (np_text_is(mark, "*") && np_text_trim(line).len == 0);
}

/* Rows, then the legend of "*", which is there even when no row has one: a table without it was cut short, or something
 * went wrong below the heading. */
bool np_netsh_excluded(struct np_arena *arena, struct np_text text, const struct np_excluded **ret, size_t *ret_n)
{
    struct np_excluded *rows = NULL;
    size_t n = 0, capacity = 0;
    struct np_text line;
    bool whole, legend = false;
    if (!skip_heading(&text, 2))
        return false;
    while (next_line(&text, &line, &whole)) {
        if (line.len > 0 && is_digit(line.ptr[0])) {
            struct np_excluded *row = np_push(arena, &rows, &n, &capacity, sizeof *rows);
            if (legend || !whole || !parse_row(line, row))
                return false;
            continue;
        }
        legend = legend || memchr(line.ptr, '*', line.len);
        if (has_digit(line) || (line.len > 0 && !legend))
            return false;
    }
    *ret = rows;
    *ret_n = n;
    return legend;
}

/* "Start Port      : 49152": what stands before the number is not looked at, but must not hold another. The colon may be
 * a wide one, whose last byte looks like a letter. */
static bool parse_setting(struct np_text line, uint16_t *ret)
{
    size_t begin = line.len;
    while (begin > 0 && is_digit(line.ptr[begin - 1]))
        begin--;
    return begin > 0 && line.ptr[begin - 1] != '-' && !has_digit((struct np_text){line.ptr, begin}) &&
           np_text_port((struct np_text){line.ptr + begin, line.len - begin}, ret);
}

bool np_netsh_dynamic(struct np_text text, struct nextport_range *ret)
{
    uint16_t number[2]; /* the first port, how many */
    size_t n = 0;
    struct np_text line;
    bool whole;
    if (!skip_heading(&text, 1))
        return false;
    while (next_line(&text, &line, &whole)) {
        if (line.len == 0)
            continue;
        if (n == 2 || !whole || !parse_setting(line, &number[n]))
            return false;
        n++;
    }
    if (n < 2 || number[1] - 1 > UINT16_MAX - number[0])
        return false;
    *ret = (struct nextport_range){number[0], (uint16_t)(number[0] + number[1] - 1)};
    return true;
}
