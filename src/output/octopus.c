/* Writer "octopus": Octopus Deploy's service messages, read from a script's standard output line by line.
 *
 * What its readers agree on is narrow, so one exact form is written: a message alone on its line, from column 0, single
 * quotes, `name` before `value`, padded base64 without a break. The log goes to standard output as well, because
 * Octopus flags a step that writes to standard error; a level lasts until the next one, so every block ends with
 * stdout-default. Log lines are ASCII: on Windows they are read in the OEM code page.
 * SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "output/writer.h"

#include <string.h>

enum { NAME_BYTES = 200 };

static void add_base64(struct np_buf *out, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)text;
    for (size_t left = strlen(text), n; left; p += n, left -= n) {
        n = left < 3 ? left : 3;
        uint32_t bits = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], n > 1 ? digits[bits >> 6 & 63] : '=',
                        n > 2 ? digits[bits & 63] : '='};
        np_buf_add(out, four, sizeof four);
    }
}

static void level(struct np_page *page, const char *name)
{
    np_buf_printf(&page->out, "##octopus[stdout-%s]\n", name);
}

/* Lines at a level of their own; no lines, no level. */
static void add_block(struct np_page *page, const char *name, const struct np_buf *lines)
{
    if (!lines->len)
        return;
    level(page, name);
    np_buf_add(&page->out, lines->ptr, lines->len);
    level(page, "default");
}

static void add_log(struct np_page *page, const struct nextport_result *res)
{
    struct np_buf verbose = {.arena = page->arena}, warnings = {.arena = page->arena};
    if (page->style->verbosity < 0)
        return;
    np_log_notes(&verbose, true, res, NEXTPORT_VERBOSE);
    np_log_details(&verbose, true, res);
    add_block(page, "verbose", &verbose);
    np_log_notes(&warnings, true, res, NEXTPORT_WARNING);
    add_block(page, "warning", &warnings);
    np_log_notes(&page->out, true, res, NEXTPORT_INFO);
}

static void add_variable(struct np_page *page, const struct nextport_granted *granted)
{
    np_buf_puts(&page->out, "##octopus[setVariable name='");
    add_base64(&page->out, granted->name);
    np_buf_puts(&page->out, "' value='");
    add_base64(&page->out, np_range_text(page->arena, granted->port, granted->port));
    np_buf_puts(&page->out, "']\n");
}

/* A dry run sets nothing: a later step would deploy to a port that nobody holds. */
static void write_octopus(struct np_page *page, const struct nextport_result *res)
{
    add_log(page, res);
    if (page->style->verbosity >= 0)
        np_log_line(&page->out, true, "%s", np_summary(page->arena, res));
    for (size_t i = 0; i < res->n_ports && !res->dry_run; i++)
        add_variable(page, &res->ports[i]);
}

/* The result message is what Octopus shows instead of "the script failed with exit code N". */
static void fail_octopus(struct np_page *page, const struct nextport_error *err, const struct nextport_result *partial)
{
    struct np_buf lines = {.arena = page->arena};
    if (partial)
        add_log(page, partial);
    const char *message = np_sprintf(page->arena, "nextport on %s: %s%s%s", page->host ? page->host : "this machine",
                                     err->text, err->hint[0] ? ". " : "", err->hint);
    np_log_failure(&lines, true, err);
    add_block(page, "error", &lines);
    np_buf_puts(&page->out, "##octopus[resultMessage message='");
    add_base64(&page->out, np_neutral(page->arena, message, true));
    np_buf_puts(&page->out, "']\n");
}

/* Set by a Tentacle for its scripts; the first one also by a server's own worker. A hint, not a proof: a daemon started
 * from a step inherits them. */
static bool detect_octopus(np_env_fn *env, struct np_arena *arena)
{
    static const char *const names[] = {"AgentProgramDirectoryPath", "TentacleHome"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (env(arena, names[i]))
            return true;
    return false;
}

static bool has_control(const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0))
            return true;
    }
    return false;
}

/* Why Octopus could not keep a variable under this very name, or NULL. */
static const char *name_fault(const char *name)
{
    size_t length = strlen(name);
    if (!length)
        return "it is empty";
    if (length > NAME_BYTES)
        return "it is longer than 200 bytes";
    if (!np_utf8_valid(np_text_of(name)))
        return "it is not valid UTF-8";
    if (has_control(name))
        return "it holds a control character";
    if (name[0] == ' ' || name[length - 1] == ' ')
        return "it begins or ends with a blank";
    return NULL;
}

static enum nextport_status check_octopus_name(const char *name, struct nextport_error *err)
{
    const char *fault = name_fault(name);
    if (!fault)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "'%.*s' cannot be the name of an Octopus variable: %s", NAME_BYTES, name, fault);
    np_hint(err, "Choose a plain name, such as Port; later steps read it as "
                 "#{Octopus.Action[STEP].Output.Port}.");
    return err->status;
}

const struct np_writer np_writer_octopus = {
    .name = "octopus",
    .about = "an output variable of an Octopus Deploy step",
    .answers = NP_GRANTS,
    .detect = detect_octopus,
    .check_name = check_octopus_name,
    .write = write_octopus,
    .fail = fail_octopus,
};
