/* nextport: one command line, one answer. Words in, library calls, bytes out; every decision is the library's.
 * SPDX-License-Identifier: MIT */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Commands ------------------------------------------------------------------------------------------------ */

static enum nextport_status parse_port(struct cli *cli, const char *text, uint16_t *ret)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || strlen(text) > 5 || port < 1 || port > 65535)
        return cli_usage(cli, "Ports are 1 to 65535.", "'%s' is not a port", text);
    *ret = (uint16_t)port;
    return NEXTPORT_OK;
}

static void hold_signals(void *ctx)
{
    (void)ctx;
    cli_hold_signals();
}

static enum nextport_status run_next(struct cli *cli, struct nextport_result **ret)
{
    struct nextport_request request = NEXTPORT_REQUEST_INIT;
    request.names = cli->names;
    request.n_names = cli->n_names;
    request.count = cli->count;
    request.consecutive = cli->consecutive;
    request.dry_run = cli->dry_run;
    request.before_commit = hold_signals;
    return nextport_next(cli->np, &request, ret, &cli->err);
}

static enum nextport_status run_used(struct cli *cli, struct nextport_result **ret)
{
    struct nextport_query query = NEXTPORT_QUERY_INIT;
    query.sources = cli->sources;
    query.n_sources = cli->n_sources;
    query.all = cli->all;
    return nextport_used(cli->np, &query, ret, &cli->err);
}

static enum nextport_status run_free(struct cli *cli, struct nextport_result **ret)
{
    return nextport_unused(cli->np, ret, &cli->err);
}

static enum nextport_status run_why(struct cli *cli, struct nextport_result **ret)
{
    uint16_t port = 0;
    if (parse_port(cli, cli->args[0], &port) != NEXTPORT_OK)
        return cli->err.status;
    return nextport_why(cli->np, port, ret, &cli->err);
}

static enum nextport_status run_leases(struct cli *cli, struct nextport_result **ret)
{
    return nextport_leases(cli->np, ret, &cli->err);
}

static enum nextport_status run_release(struct cli *cli, struct nextport_result **ret)
{
    uint16_t port = 0;
    if ((cli->n_args == 1) == (cli->id != 0))
        return cli_usage(cli, "'nextport leases' lists both.", "release takes either a port or --id");
    if (cli->n_args == 1 && parse_port(cli, cli->args[0], &port) != NEXTPORT_OK)
        return cli->err.status;
    return nextport_release(cli->np, port, cli->id, ret, &cli->err);
}

static enum nextport_status run_sweep(struct cli *cli, struct nextport_result **ret)
{
    return nextport_sweep(cli->np, ret, &cli->err);
}

static enum nextport_status run_doctor(struct cli *cli, struct nextport_result **ret)
{
    if (cli->rebind && nextport_rebind(cli->np, &cli->err) != NEXTPORT_OK)
        return cli->err.status;
    return nextport_doctor(cli->np, cli->raw, ret, &cli->err);
}

static enum nextport_status run_setup(struct cli *cli, struct nextport_result **ret)
{
    return cli->remove ? nextport_undo_setup(cli->np, ret, &cli->err) : nextport_setup(cli->np, ret, &cli->err);
}

static enum nextport_status run_config(struct cli *cli, struct nextport_result **ret)
{
    return nextport_config(cli->np, ret, &cli->err);
}

static enum nextport_status run_help(struct cli *cli, struct nextport_result **ret)
{
    (void)ret;
    return cli_help(cli, cli->n_args ? cli->args[0] : NULL);
}

const struct command cli_commands[] = {
    {"next", "", "the next free port, leased and handed over",
     "Prints the lowest port of the pool that no socket uses, no server is configured\n"
     "for and nobody was promised. The lease is on disk before the port is printed.\n"
     "It lapses after --ttl unless the port is seen in use by then.\n",
     ON_NEXT, NEXTPORT_ANSWER_NEXT, 0, 0, run_next},
    {"used", "", "every port that is taken, and by what",
     "One row for each port or range; --all gives one for each socket. Ends with\n"
     "status 4 when a required source could not be read.\n",
     ON_USED, NEXTPORT_ANSWER_USED, 0, 0, run_used},
    {"free", "", "the ports of the pool that are free", "Takes no lock and promises nothing.\n", ON_FREE,
     NEXTPORT_ANSWER_FREE, 0, 0, run_free},
    {"why", "PORT", "everything known about one port",
     "With --quiet it prints nothing and ends with 0 when the port is free, 1 when it\nis taken.\n", ON_WHY,
     NEXTPORT_ANSWER_WHY, 1, 1, run_why},
    {"leases", "", "the ports promised so far", "", ON_LEASES, NEXTPORT_ANSWER_LEASES, 0, 0, run_leases},
    {"release", "[PORT]", "give a leased port back",
     "Names the lease by its port or by --id. Nothing to release is no error.\n", ON_RELEASE, NEXTPORT_ANSWER_RELEASE,
     0, 1, run_release},
    {"sweep", "", "confirm the leases in use, end those that lapsed",
     "Does for all leases at once what every 'nextport next' does for a few. Meant for\na timer. Ends with status 4, "
     "and ends no lease, when a required source could not\nbe read.\n",
     ON_SWEEP, NEXTPORT_ANSWER_SWEEP, 0, 0, run_sweep},
    {"doctor", "", "what is present and readable, and what to mend", "", ON_DOCTOR, NEXTPORT_ANSWER_DOCTOR, 0, 0,
     run_doctor},
    {"setup", "", "make the machine's ledger and its group",
     "Run it once as root, or elevated on Windows, where it makes an hourly task for\n'nextport sweep' too. Members of "
     "the group nextport may then lease ports. Safe\nto repeat.\n",
     ON_SETUP, NEXTPORT_ANSWER_SETUP, 0, 0, run_setup},
    {"config", "", "the settings in force and where each comes from", "", ON_CONFIG, NEXTPORT_ANSWER_CONFIG, 0, 0,
     run_config},
    {"help", "[COMMAND|STATUS]", "help on a command, or what an exit status means", "", ON_HELP, NEXTPORT_ANSWER_NEXT,
     0, 1, run_help},
    {NULL, NULL, NULL, NULL, 0, NEXTPORT_ANSWER_NEXT, 0, 0, NULL},
};

const struct command *cli_command(const char *name)
{
    for (const struct command *command = cli_commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

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
                 leased ? "; the lease is undone" : "");
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
        take_back(cli, result, why);
        complain(&cli->err);
        status = status == NEXTPORT_OK ? NEXTPORT_FAILED : status;
    }
    cli_obey_signals();
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

static enum nextport_status run(struct cli *cli, int argc, char **argv, struct nextport_result **ret)
{
    /* the options are read even when the command is unknown, so that the error is written in the format asked for */
    enum nextport_status status = find_command(cli, argc, argv);
    if (!cli->version && cli_parse(cli, argc, argv) != NEXTPORT_OK)
        status = cli->err.status;
    if (status != NEXTPORT_OK)
        return status;
    if (cli->version)
        return cli_help(cli, "--version");
    if (cli->help)
        return cli_help(cli, cli->command->name);
    if (cli->command->bit != ON_HELP && nextport_load(cli->np, cli->config, &cli->err) != NEXTPORT_OK)
        return cli->err.status;
    const char *format;
    if (cli->command->bit != ON_HELP && nextport_format(cli->np, cli->command->what, &format, &cli->err) != NEXTPORT_OK)
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
    cli.names = calloc((size_t)argc + 1, sizeof *cli.names);
    cli.sources = calloc((size_t)argc + 1, sizeof *cli.sources);
    enum nextport_status status = NEXTPORT_FAILED;
    if (cli.np && cli.names && cli.sources) {
        status = run(&cli, argc, argv, &result);
        status = answer(&cli, status, result);
    }
    nextport_result_free(result);
    nextport_free(cli.np);
    free(cli.names);
    free(cli.sources);
    return (int)status;
}
