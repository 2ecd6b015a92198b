/* `exec`, what both systems do of it: the names, the lease, and what to say when it came to nothing.
 * SPDX-License-Identifier: MIT */
#include "cli.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Variables that a command, or what it starts, would not run without, and those that say what it was handed. */
static const char *const needed[] = {"PATH",   "HOME", "SHELL",   "PWD",        "IFS",    "ENV", "BASH_ENV",
                                     "TMPDIR", "TEMP", "COMSPEC", "SYSTEMROOT", "WINDIR", "TMP", "PATHEXT"};
static const char *const needed_families[] = {"LD_", "LISTEN_", "NEXTPORT_"};

/* Windows takes names that differ in case alone for one. `n`: compared bytes, at most. */
static bool same(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (tolower((unsigned char)a[i]) != tolower((unsigned char)b[i]))
            return false;
        if (!a[i])
            return true;
    }
    return true;
}

static bool is_needed(const char *name)
{
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (same(name, needed[i], SIZE_MAX))
            return true;
    for (size_t i = 0; i < sizeof needed_families / sizeof *needed_families; i++)
        if (same(name, needed_families[i], strlen(needed_families[i])))
            return true;
    return false;
}

static bool is_variable(const char *name)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_",
                      rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    return *name && strchr(first, *name) && name[strspn(name, rest)] == '\0';
}

static enum nextport_status check_names(struct cli *cli)
{
    for (size_t i = 0; i < cli->n_names; i++) {
        const char *name = cli->names[i];
        if (!is_variable(name))
            return cli_usage(cli, "Letters, digits and '_', not beginning with a digit: --name HTTP_PORT.",
                             "--name: '%s' is no name of an environment variable", name);
        if (is_needed(name))
            return cli_usage(cli, "Take another name: --name HTTP_PORT.",
                             "--name: the command needs the variable '%s' for itself", name);
        for (size_t j = 0; j < i; j++)
            if (same(name, cli->names[j], SIZE_MAX))
                return cli_usage(cli, "Case alone does not tell variables apart everywhere.",
                                 "--name: '%s' and '%s' are one variable", cli->names[j], name);
    }
    return NEXTPORT_OK;
}

static void hold_signals(void *ctx)
{
    (void)ctx;
    cli_hold_signals();
}

enum nextport_status cli_exec_lease(struct cli *cli, struct nextport_result **ret)
{
    struct nextport_request request = NEXTPORT_REQUEST_INIT;
    if (!cli->n_names)
        cli->names[cli->n_names++] = "PORT";
    /* no format's rules apply to names that only the environment gets */
    if (check_names(cli) != NEXTPORT_OK ||
        nextport_set(cli->np, "output.format", "plain", "exec", &cli->err) != NEXTPORT_OK)
        return cli->err.status;
    request.names = cli->names;
    request.n_names = cli->n_names;
    request.before_commit = hold_signals;
    request.labels = cli->labels;
    request.n_labels = cli->n_labels;
    request.no_move = cli->no_move;
    request.live = true;
    request.open = cli->listen;
    request.text = cli->request;
    return nextport_next(cli->np, &request, ret, &cli->err);
}

void cli_exec_say(struct cli *cli, const struct nextport_result *answer)
{
    struct nextport_text text;
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    if (cli->style.verbosity > 0 && nextport_render(cli->np, &cli->style, answer, NULL, &text, &ignored) == NEXTPORT_OK)
        cli_write(CLI_LOG, text.log, text.log_len);
}

enum nextport_status cli_exec_give_up(struct cli *cli, const struct nextport_result *answer, int exit, const char *fmt,
                                      ...)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    va_list ap;
    va_start(ap, fmt);
    cli->err = (struct nextport_error){.status = NEXTPORT_FAILED};
    vsnprintf(cli->err.text, sizeof cli->err.text, fmt, ap);
    va_end(ap);
    cli->exit = exit;
    if (nextport_withdraw(cli->np, answer, &err) != NEXTPORT_OK)
        snprintf(cli->err.hint, sizeof cli->err.hint,
                 "The lease could not be undone (%.400s); it ends at the next look, as its process has.", err.text);
    return NEXTPORT_FAILED;
}

void cli_exec_failed(struct cli *cli)
{
    const size_t len = strlen(cli->err.text);
    if (cli->exit) /* the command could not be run, which the number says */
        return;
    cli->exit = CLI_EXEC_FAILED;
    for (size_t i = 0; i < NEXTPORT_N_STATUS; i++)
        if (nextport_statuses[i].status == cli->err.status)
            snprintf(cli->err.text + len, sizeof cli->err.text - len, " (status %d, %s)", (int)cli->err.status,
                     nextport_statuses[i].slug);
}
