/* SPDX-License-Identifier: MIT */
#include "output/kept.h"
#include "base/json.h"

#include <string.h>

/* The text of the last token, for a writer of C texts; one that holds a NUL byte makes the reader bad. */
static const char *text_of(struct np_json_reader *reader, struct np_text text)
{
    if (text.len && memchr(text.ptr, '\0', text.len))
        np_json_refuse(reader, "a text holds a NUL byte");
    return np_text_dup(reader->arena, text);
}

/* Writes the last token. The ledger keeps whole numbers only. */
static void copy(struct np_json *to, struct np_json_reader *from, const char *key)
{
    switch (from->token) {
    case NP_JSON_OBJECT:
    case NP_JSON_ARRAY:
        np_json_begin(to, key, from->token == NP_JSON_OBJECT ? '{' : '[');
        break;
    case NP_JSON_OBJECT_END:
    case NP_JSON_ARRAY_END:
        np_json_end(to, from->token == NP_JSON_OBJECT_END ? '}' : ']');
        break;
    case NP_JSON_STRING:
        np_json_string(to, key, text_of(from, from->text));
        break;
    case NP_JSON_NUMBER:
        if (!from->is_integer)
            np_json_refuse(from, "a number is not whole");
        np_json_int(to, key, from->integer);
        break;
    case NP_JSON_TRUE:
    case NP_JSON_FALSE:
        np_json_bool(to, key, from->token == NP_JSON_TRUE);
        break;
    case NP_JSON_NULL:
        np_json_null(to, key);
        break;
    case NP_JSON_KEY:
    case NP_JSON_END:
    case NP_JSON_BAD:
        break;
    }
}

bool np_json_members(struct np_buf *out, struct np_text object)
{
    struct np_buf whole = {.arena = out->arena};
    struct np_json to = {.out = &whole};
    struct np_json_reader from;
    const char *key = NULL;
    np_json_reader_init(&from, object, 0, out->arena);
    if (!np_json_enter(&from, NP_JSON_OBJECT))
        return false;
    do {
        copy(&to, &from, key);
        key = from.token == NP_JSON_KEY ? text_of(&from, from.text) : NULL;
    } while (np_json_next(&from) != NP_JSON_END && !np_json_is_bad(&from));
    if (np_json_is_bad(&from))
        return false;
    np_buf_add(out, whole.ptr + 1, whole.len - 2); /* without the braces */
    return true;
}

const char *np_json_member(struct np_arena *arena, const char *object, const char *key)
{
    const char *found = NULL;
    struct np_json_reader reader;
    np_json_reader_init(&reader, np_text_of(object ? object : ""), 0, arena);
    np_json_enter(&reader, NP_JSON_OBJECT);
    while (np_json_next(&reader) == NP_JSON_KEY) {
        if (!np_text_is(reader.text, key)) {
            np_json_skip(&reader);
            continue;
        }
        enum np_json_token token = np_json_next(&reader);
        if (token == NP_JSON_STRING || token == NP_JSON_NUMBER)
            found = text_of(&reader, reader.text);
        else
            np_json_skip(&reader);
    }
    np_json_finish(&reader);
    return np_json_is_bad(&reader) ? NULL : found;
}
