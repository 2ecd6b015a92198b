/* The commands: one table, and what each does with its words. Every decision is the library's.
 * SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

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
    request.labels = cli->labels;
    request.n_labels = cli->n_labels;
    request.deployment = cli->deployment;
    request.keep = cli->keep;
    request.no_move = cli->no_move;
    request.text = cli->request;
    if (cli->fresh && !cli->deployment)
        return cli_usage(cli, "Give the deployment's number, so that a retry of it gets the same port again.",
                         "--fresh needs --deployment");
    if (cli->deployment && !cli->fresh)
        return cli_usage(cli, "Write --fresh --deployment ID for a port of this deployment's own.",
                         "--deployment goes with --fresh");
    if (cli->keep && !cli->fresh)
        return cli_usage(cli, "Write --fresh --deployment ID --keep N.", "--keep goes with --fresh");
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

/* What the words and options select; a word is a port. */
static enum nextport_status selection(struct cli *cli, struct nextport_selection *ret)
{
    *ret = (struct nextport_selection)NEXTPORT_SELECTION_INIT;
    if (cli->n_names > 1)
        return cli_usage(cli, "It selects one name; leave it out for all.", "--name is given twice");
    if (cli->n_args == 1 && parse_port(cli, cli->args[0], &ret->port) != NEXTPORT_OK)
        return cli->err.status;
    ret->id = cli->id;
    ret->labels = cli->labels;
    ret->n_labels = cli->n_labels;
    ret->name = cli->n_names ? cli->names[0] : NULL;
    ret->deployment = cli->deployment;
    ret->limit = cli->limit;
    ret->text = cli->request;
    return NEXTPORT_OK;
}

static enum nextport_status run_leases(struct cli *cli, struct nextport_result **ret)
{
    struct nextport_selection which;
    if (selection(cli, &which) != NEXTPORT_OK)
        return cli->err.status;
    return nextport_leases(cli->np, &which, ret, &cli->err);
}

static enum nextport_status run_release(struct cli *cli, struct nextport_result **ret)
{
    struct nextport_selection which;
    if (selection(cli, &which) != NEXTPORT_OK)
        return cli->err.status;
    if (which.port && which.id)
        return cli_usage(cli, "'nextport leases' lists both.", "release takes either a port or --id");
    if (!which.port && !which.id && !which.n_labels)
        return cli_usage(cli, "'nextport leases' lists what there is.",
                         "release takes a port, --id, or an owner (--project)");
    return nextport_release(cli->np, &which, ret, &cli->err);
}

static enum nextport_status run_log(struct cli *cli, struct nextport_result **ret)
{
    struct nextport_selection which;
    if (selection(cli, &which) != NEXTPORT_OK)
        return cli->err.status;
    return nextport_log(cli->np, &which, ret, &cli->err);
}

static enum nextport_status run_map(struct cli *cli, struct nextport_result **ret)
{
    return nextport_map(cli->np, ret, &cli->err);
}

static enum nextport_status run_check(struct cli *cli, struct nextport_result **ret)
{
    return nextport_check(cli->np, ret, &cli->err);
}

static enum nextport_status run_adopt(struct cli *cli, struct nextport_result **ret)
{
    struct nextport_adoption adoption = NEXTPORT_ADOPTION_INIT;
    adoption.apply = cli->apply;
    adoption.sources = cli->sources;
    adoption.n_sources = cli->n_sources;
    adoption.labels = cli->labels;
    adoption.n_labels = cli->n_labels;
    adoption.text = cli->request;
    return nextport_adopt(cli->np, &adoption, ret, &cli->err);
}

static enum nextport_status run_assign(struct cli *cli, struct nextport_result **ret)
{
    struct nextport_assignment assignment = NEXTPORT_ASSIGNMENT_INIT;
    if (cli->n_names > 1)
        return cli_usage(cli, "One port has one name; assign each port by itself.", "--name is given twice");
    if (parse_port(cli, cli->args[0], &assignment.port) != NEXTPORT_OK)
        return cli->err.status;
    assignment.labels = cli->labels;
    assignment.n_labels = cli->n_labels;
    assignment.name = cli->n_names ? cli->names[0] : NULL;
    assignment.deployment = cli->deployment;
    assignment.in_use = cli->in_use;
    assignment.dry_run = cli->dry_run;
    assignment.text = cli->request;
    return nextport_assign(cli->np, &assignment, ret, &cli->err);
}

static enum nextport_status run_export(struct cli *cli, struct nextport_result **ret)
{
    return nextport_export(cli->np, ret, &cli->err);
}

enum nextport_status cli_read_stream(struct cli *cli, const char *file, FILE *stream, const char *why, char **ret,
                                     size_t *ret_n)
{
    enum { LIMIT = 256 << 20 };
    size_t capacity = 1 << 16, n = 0, got = 0;
    char *bytes = stream ? malloc(capacity) : NULL;
    if (!stream)
        return cli_usage(cli, "Name a file that 'nextport export' wrote; without FILE standard input is read.",
                         "%s: %s", file, why);
    while (bytes && n < LIMIT && (got = fread(bytes + n, 1, capacity - n, stream)) > 0) {
        n += got;
        char *more = n == capacity ? realloc(bytes, capacity *= 2) : bytes;
        if (!more)
            free(bytes);
        bytes = more;
    }
    const bool failed = ferror(stream), whole = feof(stream);
    if (failed)
        why = strerror(errno);
    if (stream != stdin)
        fclose(stream);
    if (bytes && whole && !failed) {
        *ret = bytes;
        *ret_n = n;
        return NEXTPORT_OK;
    }
    free(bytes);
    return cli_usage(cli, NULL, "%s: %s", file, !bytes ? "out of memory" : failed ? why : "it is too large");
}

static enum nextport_status run_import(struct cli *cli, struct nextport_result **ret)
{
    size_t n;
    char *bytes;
    const char *file = cli->n_args ? cli->args[0] : "-";
    if (cli_read(cli, file, &bytes, &n) != NEXTPORT_OK)
        return cli->err.status;
    const char *origin = strcmp(file, "-") == 0 ? "standard input" : file;
    enum nextport_status status =
        nextport_import(cli->np, bytes, n, origin, cli->dry_run, cli->in_use, cli->request, ret, &cli->err);
    free(bytes);
    return status;
}

static enum nextport_status run_protect(struct cli *cli, struct nextport_result **ret)
{
    if (cli->apply && cli->undo)
        return cli_usage(cli, "Without either it only shows what would be done.",
                         "protect takes either --apply or --undo");
    return nextport_protect(cli->np,
                            cli->apply  ? NEXTPORT_PROTECT_APPLY
                            : cli->undo ? NEXTPORT_PROTECT_UNDO
                                        : NEXTPORT_PROTECT_SHOW,
                            ret, &cli->err);
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
    {"leases", "[PORT]", "the ports promised so far, and to whom",
     "With labels only the leases that have all of them: 'nextport leases --project\nshop --environment QA'.\n",
     ON_LEASES, NEXTPORT_ANSWER_LEASES, 0, 1, run_leases},
    {"release", "[PORT]", "give a leased port back",
     "Names the lease by its port, by --id or by its owner. Nothing to release is no\nerror. The port rests for two "
     "minutes before anyone else gets it.\n",
     ON_RELEASE, NEXTPORT_ANSWER_RELEASE, 0, 1, run_release},
    {"assign", "PORT", "lease a port that was fixed by hand",
     "For ports that are set in stone, inside the pool or not. A port that is leased\nor in use is refused, naming "
     "what "
     "has it; --in-use says that it is the owner's\nown.\n",
     ON_ASSIGN, NEXTPORT_ANSWER_ASSIGN, 1, 1, run_assign},
    {"adopt", "", "lease what is configured today to its owners",
     "Shows what would be leased: each port of the pool that a site is configured for\nand that is not leased yet, "
     "to a project named after the site. --apply does it.\n",
     ON_ADOPT, NEXTPORT_ANSWER_ADOPT, 0, 0, run_adopt},
    {"check", "", "conflicts and hazards: what is wrong or will be",
     "Each finding with its evidence and a cure. Ends with status 6 when one is at or\nabove --fail-on.\n", ON_CHECK,
     NEXTPORT_ANSWER_CHECK, 0, 0, run_check},
    {"protect", "", "keep outgoing connections out of the pool",
     "Shows what would do it; --apply does it, --undo takes it back.\n", ON_PROTECT, NEXTPORT_ANSWER_PROTECT, 0, 0,
     run_protect},
    {"map", "", "the pool as a picture", "One cell for each port or run of ports.\n", ON_MAP, NEXTPORT_ANSWER_MAP, 0, 0,
     run_map},
    {"log", "[PORT]", "the history of the ledger", "Every change, who made it and what was asked; the newest last.\n",
     ON_LOG, NEXTPORT_ANSWER_LOG, 0, 1, run_log},
    {"exec", "[--] COMMAND [ARG]...", "run a command with ports of its own",
     "The ports are in its environment, by name (PORT unless --name says otherwise),\nand leased until it ends, "
     "however it ends. The status is the command's; 125 is\na failure of nextport's own, 126 a command that cannot be "
     "run, 127 one that is\nnot there.\n",
     ON_EXEC, NEXTPORT_ANSWER_EXEC, 1, INT_MAX, cli_exec},
    {"export", "", "the leases as JSON Lines", "For a backup, or another machine: 'nextport import' reads it.\n",
     ON_EXPORT, NEXTPORT_ANSWER_EXPORT, 0, 0, run_export},
    {"import", "[FILE]", "add the leases of an export, all or none", "Reads standard input without FILE.\n", ON_IMPORT,
     NEXTPORT_ANSWER_IMPORT, 0, 1, run_import},
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
