/* Writer "plain": the number and a newline, for shells, and the log says why; the lines of an export as they are.
 * SPDX-License-Identifier: MIT */
#include "output/writer.h"

static void write_ports(struct np_page *page, const struct nextport_result *res)
{
    for (size_t i = 0; i < res->n_ports; i++)
        np_buf_printf(&page->out, "%s%u", i ? "\n" : "", res->ports[i].port);
    if (!page->style->no_newline)
        np_buf_puts(&page->out, "\n");
}

static void write_plain(struct np_page *page, const struct nextport_result *res)
{
    if (res->what == NEXTPORT_ANSWER_EXPORT)
        np_buf_puts(&page->out, res->raw ? res->raw : "");
    else
        write_ports(page, res);
    const char *summary = page->style->verbosity >= 0 ? np_summary(page->arena, res) : NULL;
    np_log_result(page, res);
    if (summary)
        np_log_line(&page->log, !page->style->unicode, "%s", summary);
}

static void fail_plain(struct np_page *page, const struct nextport_error *err, const struct nextport_result *partial)
{
    if (partial)
        np_log_result(page, partial);
    np_log_failure(&page->log, !page->style->unicode, err);
}

const struct np_writer np_writer_plain = {
    .name = "plain",
    .about = "the port's number, one line each; of export the lines",
    .answers = NP_GRANTS | NP_ANSWER(NEXTPORT_ANSWER_EXPORT),
    .write = write_plain,
    .fail = fail_plain,
};
