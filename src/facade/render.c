/* Handing over: which writer, and what it writes.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

#include <string.h>

static enum nextport_status detect(struct np_arena *arena, enum nextport_what what, const char *fallback,
                                   const char **ret, struct nextport_error *err)
{
    const struct np_writer *found = NULL;
    for (size_t i = 0; np_writers[i]; i++) {
        const struct np_writer *writer = np_writers[i];
        if (!writer->detect || !(writer->answers & NP_ANSWER(what)) || !writer->detect(np_host_env, arena))
            continue;
        if (found) {
            np_fail(err, NEXTPORT_INPUT, "format auto: the environment looks like both %s and %s", found->name,
                    writer->name);
            np_hint(err, "Say which with --format.");
            return err->status;
        }
        found = writer;
    }
    *ret = found ? found->name : fallback;
    return NEXTPORT_OK;
}

/* What is written when nobody says how: numbers and lines for programs, else something for people. */
static const char *usual_format(enum nextport_what what)
{
    bool bare = NP_ANSWER(what) & (NP_GRANTS | NP_ANSWER(NEXTPORT_ANSWER_EXPORT));
    return bare ? np_writer_plain.name : np_writer_table.name;
}

/* "plain, json or octopus": the formats that can write this answer. */
static const char *formats_of(struct np_arena *arena, enum nextport_what what)
{
    struct np_buf text = {.arena = arena};
    size_t left = 0;
    np_buf_puts(&text, "");
    for (size_t i = 0; np_writers[i]; i++)
        left += (np_writers[i]->answers & NP_ANSWER(what)) != 0;
    for (size_t i = 0; np_writers[i]; i++)
        if (np_writers[i]->answers & NP_ANSWER(what))
            np_buf_printf(&text, "%s%s", text.len == 0 ? "" : --left == 1 ? " or " : ", ", np_writers[i]->name);
    return text.ptr;
}

enum nextport_status nextport_format(struct nextport *np, enum nextport_what what, const char **ret,
                                     struct nextport_error *err)
{
    const char *fallback = usual_format(what), *format = np->settings.format;
    if (!format) {
        *ret = fallback;
        return NEXTPORT_OK;
    }
    if (strcmp(format, "auto") == 0)
        return detect(np->arena, what, fallback, ret, err);
    const struct np_writer *writer = np_writer_find(format);
    if (writer->answers & NP_ANSWER(what)) {
        *ret = format;
        return NEXTPORT_OK;
    }
    /* a format that the machine's configuration prefers for `next` says nothing about other answers */
    if (!np_settings_is_set(&np->settings, "output.format", NP_BY_ENVIRONMENT)) {
        *ret = fallback;
        return NEXTPORT_OK;
    }
    np_fail(err, NEXTPORT_INPUT, "--format: %s cannot write this answer", format);
    np_hint(err, "Use %s.", formats_of(np->arena, what));
    return err->status;
}

enum nextport_status nextport_render(struct nextport *np, const struct nextport_style *style,
                                     const struct nextport_result *result, const struct nextport_error *failure,
                                     struct nextport_text *ret, struct nextport_error *err)
{
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    const char *format = style->format, *wanted = np_host_env(np->arena, "NEXTPORT_FORMAT");
    /* a command line that could not be read fails before the environment is */
    if (failure && !np->settings.format && wanted)
        np_settings_set(&np->settings, "output.format", np_text_of(wanted), NP_BY_ENVIRONMENT, "NEXTPORT_FORMAT",
                        &ignored);
    enum nextport_what what = result ? result->what : NEXTPORT_ANSWER_NEXT;
    if (!format && nextport_format(np, what, &format, failure ? &ignored : err) != NEXTPORT_OK) {
        if (!failure)
            return err->status;
        format = "plain";
    }
    const struct np_writer *writer = np_writer_find(format);
    if (!writer)
        return np_fail(err, NEXTPORT_INPUT, "unknown format '%s'", format);
    np_arena_free(np->rendered);
    np->rendered = np_arena_new();
    struct np_page page = {.style = style, .arena = np->rendered};
    page.host = result ? result->host : np_host_name(np->rendered);
    page.out.arena = page.log.arena = np->rendered;
    if (failure)
        writer->fail(&page, failure, result);
    else
        writer->write(&page, result);
    *ret = (struct nextport_text){page.out.ptr, page.out.len, page.log.ptr, page.log.len};
    return NEXTPORT_OK;
}
