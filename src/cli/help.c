/* Help texts, made from the tables of commands, options, formats, sources and statuses.
 * SPDX-License-Identifier: MIT */
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_SIZE = 16384, TEXT_COLUMN = 27 };

struct page {
    char text[HELP_SIZE];
    size_t len;
};

static void say(struct page *page, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct page *page, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(page->text + page->len, sizeof page->text - page->len, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < sizeof page->text - page->len)
        page->len += (size_t)n;
}

/* Words up to column 79, the first line going on at `column`, further ones beginning at `indent`. */
static void wrap(struct page *page, const char *text, int indent, int column)
{
    bool first = true;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (!first && column + 1 + word > 79) {
            say(page, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        say(page, "%s%.*s", first ? "" : " ", word, text);
        column += word + !first;
        first = false;
        text += word + (text[word] == ' ');
    }
    say(page, "\n");
}

static void option_line(struct page *page, const struct option_row *row)
{
    char left[64];
    int n = row->letter ? snprintf(left, sizeof left, "  -%c, --%s", row->letter, row->name)
                        : snprintf(left, sizeof left, "      --%s", row->name);
    if (row->arg)
        n += snprintf(left + n, sizeof left - (size_t)n, " %s", row->arg);
    if (n > TEXT_COLUMN - 2)
        say(page, "%s\n%*s", left, TEXT_COLUMN, "");
    else
        say(page, "%-*s", TEXT_COLUMN, left);
    wrap(page, row->about, TEXT_COLUMN, TEXT_COLUMN);
}

static void about_table(struct page *page, const char *title, bool (*row)(size_t, struct nextport_about *))
{
    struct nextport_about about;
    say(page, "\n%s\n", title);
    for (size_t i = 0; row(i, &about); i++) {
        say(page, "  %-11s", about.name);
        wrap(page, about.about, 13, 13);
    }
}

static void overview(struct page *page)
{
    say(page, "nextport - the next port on this server that nothing listens on, nothing has\n"
              "configured and nobody else was promised, leased durably and handed over\n\n"
              "usage: nextport COMMAND [OPTIONS]\n\ncommands\n");
    for (const struct command *command = cli_commands; command->name; command++)
        say(page, "  %-11s%s\n", command->name, command->about);
    about_table(page, "sources", nextport_about_source);
    about_table(page, "formats", nextport_about_format);
    say(page, "  %-11s%s\n", "auto", "that of the deployment tool that runs this, else plain or table");
    say(page, "\n'nextport COMMAND --help' lists its options, 'nextport help STATUS' explains an\n"
              "exit status. Manual pages: nextport(1), nextport.conf(5).\n");
}

static void command_page(struct page *page, const struct command *command)
{
    const bool ours_first = command->bit == ON_EXEC; /* what follows its first word is no option of ours */
    say(page, "nextport %s - %s\n\nusage: nextport %s%s%s%s%s\n", command->name, command->about, command->name,
        ours_first ? " [OPTIONS]" : "", command->args[0] ? " " : "", command->args, ours_first ? "" : " [OPTIONS]");
    if (command->details[0])
        say(page, "\n%s", command->details);
    say(page, "\noptions\n");
    for (const struct option_row *row = cli_options; row->name; row++)
        if (row->on & command->bit)
            option_line(page, row);
}

static void status_page(struct page *page, const struct nextport_status_info *info)
{
    say(page, "status %d (%s): ", (int)info->status, info->slug);
    wrap(page, info->meaning, 2, (int)strlen(info->slug) + 14);
    if (info->advice[0]) {
        say(page, "\n  ");
        wrap(page, info->advice, 2, 2);
    }
}

static const struct nextport_status_info *find_status(const char *topic)
{
    for (size_t i = 0; i < NEXTPORT_N_STATUS; i++) {
        char digit[8];
        snprintf(digit, sizeof digit, "%d", (int)nextport_statuses[i].status);
        if (strcmp(topic, digit) == 0 || strcmp(topic, nextport_statuses[i].slug) == 0)
            return &nextport_statuses[i];
    }
    return NULL;
}

static bool is_status_word(const char *topic)
{
    return strcmp(topic, "STATUS") == 0 || strcmp(topic, "status") == 0;
}

enum nextport_status cli_help(struct cli *cli, const char *topic)
{
    static struct page page;
    const struct command *command = topic ? cli_command(topic) : NULL;
    const struct nextport_status_info *status = topic ? find_status(topic) : NULL;
    if (!topic || strcmp(topic, "help") == 0) {
        overview(&page);
    } else if (strcmp(topic, "--version") == 0) {
        say(&page, "nextport %s\n", nextport_version());
    } else if (command) {
        command_page(&page, command);
    } else if (status) {
        status_page(&page, status);
    } else if (is_status_word(topic)) {
        for (size_t i = 0; i < NEXTPORT_N_STATUS; i++) {
            say(&page, "%d  %-10s", (int)nextport_statuses[i].status, nextport_statuses[i].slug);
            wrap(&page, nextport_statuses[i].meaning, 13, 13);
        }
    } else {
        return cli_usage(cli,
                         "'nextport help' lists the commands; statuses are 0 to 8, and those of 'nextport exec' are "
                         "in its --help.",
                         "there is no help on '%s'", topic);
    }
    const char *why = cli_write(CLI_OUT, page.text, page.len);
    if (!why || why == cli_no_reader)
        return NEXTPORT_OK;
    cli->err = (struct nextport_error){.status = NEXTPORT_FAILED};
    snprintf(cli->err.text, sizeof cli->err.text, "write to standard output: %s", why);
    return NEXTPORT_FAILED;
}
