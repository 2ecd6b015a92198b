/* Just enough of TOML: keys, and the strings among their values; all others are skipped, but as a whole.
 * SPDX-License-Identifier: MIT */
#include "source/podman_storage.h"

#include "source/text_files.h"

#include <string.h>

static const char bare[] = "-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"; /* letters of a key */
static const char *const name_letters = bare + 1;                                              /* of a variable */

struct toml {
    struct np_arena *arena;
    struct np_cursor at;
    const char *section; /* "storage.options." */
    const char *wrong;   /* NULL: nothing yet */
};

static bool refuse(struct toml *toml, const char *why)
{
    toml->wrong = toml->wrong ? toml->wrong : why;
    return false;
}

static bool takes(struct toml *toml, const char *text)
{
    const size_t n = strlen(text);
    if ((size_t)(toml->at.end - toml->at.at) < n || memcmp(toml->at.at, text, n) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        np_cursor_next(&toml->at);
    return true;
}

/* `blanks` with line ends in it: comments too. */
static void skip_blanks(struct toml *toml, const char *blanks)
{
    for (int c; (c = np_cursor_peek(&toml->at)) > 0;)
        if (c == '#' && strchr(blanks, '\n'))
            while (np_cursor_peek(&toml->at) >= 0 && np_cursor_peek(&toml->at) != '\n')
                np_cursor_next(&toml->at);
        else if (strchr(blanks, c))
            np_cursor_next(&toml->at);
        else
            return;
}

/* Adds what it says to `ret`. Of escapes only those of '"' and '\' stand in paths. */
static bool take_string(struct toml *toml, struct np_buf *ret)
{
    static const char *const quotes[] = {"\"\"\"", "'''", "\"", "'"};
    size_t kind = 0;
    while (kind < sizeof quotes / sizeof *quotes && !takes(toml, quotes[kind]))
        kind++;
    if (kind == sizeof quotes / sizeof *quotes)
        return refuse(toml, "a value that is not a string");
    np_buf_puts(ret, "");
    while (!takes(toml, quotes[kind])) {
        const int c = np_cursor_next(&toml->at);
        if (c < 0 || (c == '\n' && !quotes[kind][1]))
            return refuse(toml, "a string that does not end");
        const bool is_escape = c == '\\' && *quotes[kind] == '"' && np_cursor_peek(&toml->at) >= 0;
        const char byte = (char)(is_escape ? np_cursor_next(&toml->at) : c);
        np_buf_add(ret, &byte, 1);
    }
    return true;
}

/* "storage.graphroot", 'storage' . "graphroot" */
static bool take_key(struct toml *toml, struct np_buf *ret)
{
    for (;;) {
        const int c = np_cursor_peek(&toml->at);
        if (c == '"' || c == '\'') {
            if (!take_string(toml, ret))
                return false;
        } else {
            const char *begin = toml->at.at;
            while (np_cursor_peek(&toml->at) > 0 && strchr(bare, np_cursor_peek(&toml->at)))
                np_cursor_next(&toml->at);
            if (toml->at.at == begin)
                return refuse(toml, "not a key");
            np_buf_add(ret, begin, (size_t)(toml->at.at - begin));
        }
        skip_blanks(toml, " \t");
        if (!takes(toml, "."))
            return true;
        np_buf_puts(ret, ".");
        skip_blanks(toml, " \t");
    }
}

/* Numbers, truths and times, arrays and tables in braces, whatever is in them. */
static bool skip_value(struct toml *toml)
{
    struct np_buf text = {.arena = toml->arena};
    unsigned depth = 0;
    for (int c;;) {
        skip_blanks(toml, depth ? " \t\r\n" : " \t\r");
        c = np_cursor_peek(&toml->at);
        if (c < 0 && depth)
            return refuse(toml, "a value that does not end");
        if (c < 0 || c == '\n' || (c == '#' && !depth))
            return true;
        if (c == '"' || c == '\'') {
            text.len = 0;
            if (!take_string(toml, &text))
                return false;
            continue;
        }
        if ((c == ']' || c == '}') && depth-- == 0)
            return refuse(toml, "a bracket too many");
        depth += c == '[' || c == '{';
        np_cursor_next(&toml->at);
    }
}

static bool take_section(struct toml *toml)
{
    struct np_buf name = {.arena = toml->arena};
    const bool is_list = takes(toml, "[");
    skip_blanks(toml, " \t");
    if (!take_key(toml, &name))
        return false;
    if (!takes(toml, is_list ? "]]" : "]"))
        return refuse(toml, "a section's name that does not end");
    np_buf_puts(&name, ".");
    toml->section = name.ptr;
    return true;
}

/* Podman takes keys in letters of either case. */
static bool take_setting(struct toml *toml, struct np_podman_storage *ret)
{
    const struct {
        const char *key, **value;
    } keys[] = {{"storage.graphroot", &ret->graphroot}, {"storage.rootless_storage_path", &ret->rootless_path}};
    struct np_buf key = {.arena = toml->arena}, value = {.arena = toml->arena};
    np_buf_puts(&key, toml->section);
    if (!take_key(toml, &key))
        return false;
    if (!takes(toml, "="))
        return refuse(toml, "a key without a value");
    skip_blanks(toml, " \t");
    if (np_equal_nocase(key.ptr, "storage"))
        return refuse(toml, "a table that is not read");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (np_equal_nocase(key.ptr, keys[i].key)) {
            if (!take_string(toml, &value))
                return false;
            *keys[i].value = value.ptr;
            return true;
        }
    return skip_value(toml);
}

enum nextport_status np_podman_storage_read(struct np_arena *arena, const char *file, struct np_text bytes,
                                            struct np_podman_storage *ret, struct nextport_error *err)
{
    const struct np_file whole = {.path = file, .name = file, .bytes = bytes};
    struct toml toml = {.arena = arena, .section = ""};
    np_cursor_init(&toml.at, &whole);
    *ret = (struct np_podman_storage){.file = file};
    for (;;) {
        skip_blanks(&toml, " \t\r\n");
        if (np_cursor_peek(&toml.at) < 0)
            return NEXTPORT_OK;
        if (takes(&toml, "[") ? take_section(&toml) : take_setting(&toml, ret)) {
            skip_blanks(&toml, " \t\r");
            const int c = np_cursor_peek(&toml.at);
            if (c >= 0 && c != '\n' && c != '#')
                refuse(&toml, "more than a value");
        }
        if (toml.wrong)
            return np_fail(err, NEXTPORT_BLIND, "%s:%u: %s", file, toml.at.line, toml.wrong);
    }
}

/* The value of "$NAME" or "${NAME}" at the front of *at, which is moved behind it. NULL: not known. */
static const char *take_variable(const char **at, const struct np_podman_place *place)
{
    const struct {
        const char *name, *value;
    } known[] = {{"HOME", place->home}, {"UID", place->uid}, {"USER", place->user}};
    const bool is_braced = (*at)[1] == '{';
    const struct np_text name = {*at + 1 + is_braced, strspn(*at + 1 + is_braced, name_letters)};
    if (is_braced && name.ptr[name.len] != '}')
        return NULL;
    *at = name.ptr + name.len + is_braced;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (np_text_is(name, known[i].name))
            return known[i].value;
    return NULL;
}

const char *np_podman_storage_glob(struct np_arena *arena, const char *path, const struct np_podman_place *place)
{
    struct np_buf ret = {.arena = arena};
    np_buf_puts(&ret, "");
    while (*path)
        if (*path == '$') {
            const char *value = take_variable(&path, place);
            if (!value)
                return NULL;
            np_buf_puts(&ret, value);
        } else {
            const size_t n = strcspn(path, "$");
            np_buf_puts(&ret, np_files_literally(arena, np_strndup(arena, path, n)));
            path += n;
        }
    return *ret.ptr == '/' ? ret.ptr : NULL;
}
