/* nextport: one command line, one answer. Words in, library calls, bytes out; every decision is the library's.
 * SPDX-License-Identifier: MIT */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Handing over -------------------------------------------------------------------------------------------- */

/* Nobody got the answer, so nobody holds the lease. */
static void take_back(struct cli *cli, const struct nextport_result *result, const char *why)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    cli->err = (struct nextport_error){.status = NEXTPORT_FAILED};
    bool leased = result && result->what == NEXTPORT_ANSWER_NEXT && result->changed;
    if (leased && nextport_withdraw(cli->np, result, &err) != NEXTPORT_OK)
        snprintf(cli->err.text, sizeof cli->err.text,
                 "write to standard output: %s; the lease could not be undone either and will lapse: %s", why,
                 err.text);
    else
        snprintf(cli->err.text, sizeof cli->err.text, "write to standard output: %s%s", why,
                 leased                      ? "; the lease is undone"
                 : result && result->changed ? "; what was done stays, and the same command again changes nothing"
                                             : "");
}

/* Renders and writes a result, a failure, or both. NULL, or why the answer did not reach standard output. */
static const char *hand_over(struct cli *cli, const struct nextport_result *result,
                             const struct nextport_error *failure)
{
    struct nextport_text text;
    if (nextport_render(cli->np, &cli->style, result, failure, &text, &cli->err) != NEXTPORT_OK)
        return cli->err.text;
    const char *why = cli_write(CLI_OUT, text.out, text.out_len);
    if (!why)
        cli_write(CLI_LOG, text.log, text.log_len);
    return why;
}

/* The last resort: the answer's stream is gone, so a plain line on the log's. */
static void complain(const struct nextport_error *err)
{
    char line[sizeof err->text + 16];
    int n = snprintf(line, sizeof line, "nextport: %s\n", err->text);
    if (n > 0)
        cli_write(CLI_LOG, line, strlen(line));
}

static bool has_failed(const struct nextport_result *result)
{
    bool failed = false;
    for (size_t i = 0; i < result->n_findings; i++)
        failed = failed || result->findings[i].severity >= result->fail_on;
    return failed;
}

static enum nextport_status answer(struct cli *cli, enum nextport_status status, const struct nextport_result *result)
{
    struct nextport_error failure = cli->err;
    bool only_status = cli->command == cli_command("why") && cli->style.verbosity < 0;
    if (only_status && status == NEXTPORT_OK)
        return result->is_free ? NEXTPORT_OK : NEXTPORT_FAILED;
    if (status == NEXTPORT_OK && !result)
        return status;
    const char *why = hand_over(cli, only_status ? NULL : result, status == NEXTPORT_OK ? NULL : &failure);
    if (why) {
        const bool has_enough = why == cli_no_reader && result && !result->changed; /* `nextport used | head` */
        take_back(cli, result, why);
        if (!has_enough)
            complain(&cli->err);
        status = status == NEXTPORT_OK ? NEXTPORT_FAILED : status;
    }
    cli_obey_signals();
    if (status == NEXTPORT_OK && result->what == NEXTPORT_ANSWER_CHECK && has_failed(result))
        status = NEXTPORT_CONFLICT;
    return status;
}

/* ---- main ---------------------------------------------------------------------------------------------------- */

static enum nextport_status find_command(struct cli *cli, int argc, char **argv)
{
    const char *names[64];
    size_t n = 0;
    if (argc < 2)
        return cli_usage(cli, "'nextport next' prints the next free port, 'nextport help' lists every command.",
                         "no command is given");
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "/?") == 0)
        word = "help";
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        cli->version = true;
        return NEXTPORT_OK;
    }
    if (word[0] == '-')
        return cli_usage(cli, "Write 'nextport COMMAND [OPTIONS]'; 'nextport help' lists the commands.",
                         "'%s' stands before the command", word);
    cli->command = cli_command(word);
    if (cli->command)
        return NEXTPORT_OK;
    for (; cli_commands[n].name; n++)
        names[n] = cli_commands[n].name;
    names[n] = NULL;
    const char *near = nextport_nearest(word, names);
    char hint[128];
    if (near)
        snprintf(hint, sizeof hint, "Did you mean '%s'?", near);
    else
        snprintf(hint, sizeof hint, "'nextport help' lists the commands.");
    return cli_usage(cli, hint, "unknown command '%s'", word);
}

/* Labels that were not given. An empty variable is judged as an empty option is. */
static bool labels_from_environment(struct cli *cli)
{
    static const struct {
        const char *key, *variable;
    } rows[] = {{"project", "NEXTPORT_PROJECT"},
                {"environment", "NEXTPORT_ENVIRONMENT"},
                {"channel", "NEXTPORT_CHANNEL"},
                {"tenant", "NEXTPORT_TENANT"}};
    const size_t n_given = cli->n_labels;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *value = cli_env(rows[i].variable);
        bool given = !value;
        for (size_t j = 0; j < n_given; j++)
            given = given || strcmp(cli->labels[j].key, rows[i].key) == 0;
        if (!given)
            cli->labels[cli->n_labels++] = (struct nextport_label){rows[i].key, value};
    }
    return cli->n_labels > 0;
}

/* The command line as a person would read it again, for the history, and where in it each word ends. NULL when memory is
 * exhausted. */
static char *request_line(int argc, char **argv, size_t *ends)
{
    enum { LONGEST = 1000 };
    char *line = calloc(1, LONGEST + 8);
    size_t len = 0;
    for (int i = 1; line && i < argc && len < LONGEST; i++) {
        const char *quote = argv[i][0] == '\0' || strpbrk(argv[i], " \t\"'") ? "'" : "";
        int n = snprintf(line + len, LONGEST - len, "%s%s%s%s", i > 1 ? " " : "", quote, argv[i], quote);
        len += n > 0 ? (size_t)n : 0;
        ends[i] = len < LONGEST ? len : LONGEST;
    }
    if (len >= LONGEST)
        strcpy(line + LONGEST - 4, "...");
    return line;
}

static enum nextport_status run(struct cli *cli, int argc, char **argv, struct nextport_result **ret)
{
    /* the options are read even when the command is unknown, so that the error is written in the format asked for */
    enum nextport_status status = find_command(cli, argc, argv);
    if (cli->command && cli->command->bit == ON_EXEC)
        cli->style.format = "plain"; /* standard output is the command's */
    if (!cli->version && cli_parse(cli, argc, argv) != NEXTPORT_OK)
        status = cli->err.status;
    if (status != NEXTPORT_OK)
        return status;
    if (cli->labels_from_env && !labels_from_environment(cli))
        return cli_usage(cli, "Set NEXTPORT_PROJECT, and where they differ NEXTPORT_ENVIRONMENT, _CHANNEL and _TENANT.",
                         "--labels-from-env: no label is in the environment");
    if (cli->command && cli->command->bit == ON_EXEC && cli->n_args)
        cli->request[cli->ends[argc - cli->n_args]] = '\0'; /* the command's words may hold secrets */
    if (cli->version)
        return cli_help(cli, "--version");
    if (cli->help)
        return cli_help(cli, cli->command->name);
    if (cli->command->bit != ON_HELP && nextport_load(cli->np, cli->config, &cli->err) != NEXTPORT_OK)
        return cli->err.status;
    const char *format;
    if (!(cli->command->bit & (ON_HELP | ON_EXEC)) &&
        nextport_format(cli->np, cli->command->what, &format, &cli->err) != NEXTPORT_OK)
        return cli->err.status;
    return cli->command->run(cli, ret);
}

int cli_main(int argc, char **argv)
{
    struct cli cli = {.style = NEXTPORT_STYLE_INIT, .err = NEXTPORT_ERROR_INIT};
    struct nextport_result *result = NULL;
    cli_prepare();
    cli_look_at_terminal(&cli.style);
    cli.np = nextport_new();
    cli.ends = calloc((size_t)argc + 1, sizeof *cli.ends);
    cli.request =
        cli.ends ? request_line(argc, argv, cli.ends) : NULL; /* before options are read: some are cut in place */
    cli.names = calloc((size_t)argc + 1, sizeof *cli.names);
    cli.labels = calloc((size_t)argc + 5, sizeof *cli.labels); /* and those of the environment */
    cli.sources = calloc((size_t)argc + 1, sizeof *cli.sources);
    enum nextport_status status = NEXTPORT_FAILED;
    if (cli.np && cli.names && cli.sources && cli.labels && cli.request) {
        status = run(&cli, argc, argv, &result);
        if (status != NEXTPORT_OK && cli.command && cli.command->bit == ON_EXEC)
            cli_exec_failed(&cli);
        status = answer(&cli, status, result);
    }
    nextport_result_free(result);
    nextport_free(cli.np);
    free(cli.names);
    free(cli.sources);
    free(cli.labels);
    free(cli.request);
    free(cli.ends);
    return status != NEXTPORT_OK && cli.exit ? cli.exit : (int)status;
}
