/* The options: one table, from which parsing, --help and the errors come.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 96 };

enum nextport_status cli_usage(struct cli *cli, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cli->err = (struct nextport_error){.status = NEXTPORT_INPUT};
    vsnprintf(cli->err.text, sizeof cli->err.text, fmt, ap);
    va_end(ap);
    if (hint)
        snprintf(cli->err.hint, sizeof cli->err.hint, "%s", hint);
    return NEXTPORT_INPUT;
}

static enum nextport_status number(struct cli *cli, const char *option, const char *text, int64_t max, int64_t *ret)
{
    char hint[64];
    int64_t value = 0;
    bool digits = *text != '\0' && strlen(text) <= 18;
    for (const char *p = text; digits && *p; p++) {
        digits = *p >= '0' && *p <= '9';
        value = value * 10 + (*p - '0');
    }
    *ret = value;
    if (digits && value >= 1 && value <= max)
        return NEXTPORT_OK;
    snprintf(hint, sizeof hint, "It takes a number from 1 to %lld.", (long long)max);
    return cli_usage(cli, hint, "%s: '%s' is not such a number", option, text);
}

static enum nextport_status take_config(struct cli *cli, const char *value)
{
    cli->config = value;
    return NEXTPORT_OK;
}

static enum nextport_status take_name(struct cli *cli, const char *value)
{
    cli->names[cli->n_names++] = value;
    return NEXTPORT_OK;
}

static enum nextport_status take_source(struct cli *cli, const char *value)
{
    cli->sources[cli->n_sources++] = value;
    return NEXTPORT_OK;
}

static enum nextport_status take_count(struct cli *cli, const char *value)
{
    int64_t count;
    if (number(cli, "--count", value, 16384, &count) != NEXTPORT_OK)
        return cli->err.status;
    cli->count = (unsigned)count;
    return NEXTPORT_OK;
}

static enum nextport_status take_id(struct cli *cli, const char *value)
{
    return number(cli, "--id", value, INT64_C(999999999999999999), &cli->id);
}

/* "Sources are probe, sockets, os." */
static void list_names(char *hint, size_t size, const char *what, const char *const *names)
{
    size_t n = (size_t)snprintf(hint, size, "%s", what);
    for (size_t i = 0; names[i] && n < size; i++)
        n += (size_t)snprintf(hint + n, size - n, "%s %s", i ? "," : "", names[i]);
    if (n < size)
        snprintf(hint + n, size - n, ".");
}

static enum nextport_status take_policy(struct cli *cli, const char *value)
{
    char key[128], hint[256];
    const char *equals = strchr(value, '='), *names[OPTIONS_MAX];
    struct nextport_about source;
    size_t n = 0;
    if (!equals || equals - value > 64)
        return cli_usage(cli, "Write --policy iis=warn.", "--policy: '%s' is not SOURCE=POLICY", value);
    snprintf(key, sizeof key, "policy.%.*s", (int)(equals - value), value);
    for (; n + 1 < OPTIONS_MAX && nextport_about_source(n, &source); n++) {
        names[n] = source.name;
        if (strcmp(source.name, key + strlen("policy.")) == 0)
            return nextport_set(cli->np, key, equals + 1, "--policy", &cli->err);
    }
    names[n] = NULL;
    const char *near = nextport_nearest(key + strlen("policy."), names);
    if (near)
        snprintf(hint, sizeof hint, "Did you mean '%s'?", near);
    else
        list_names(hint, sizeof hint, "Sources are", names);
    return cli_usage(cli, hint, "--policy: unknown source '%.*s'", (int)(equals - value), value);
}

static enum nextport_status take_consecutive(struct cli *cli, const char *value)
{
    (void)value;
    cli->consecutive = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_dry_run(struct cli *cli, const char *value)
{
    (void)value;
    cli->dry_run = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_no_newline(struct cli *cli, const char *value)
{
    (void)value;
    cli->style.no_newline = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_all(struct cli *cli, const char *value)
{
    (void)value;
    cli->all = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_raw(struct cli *cli, const char *value)
{
    (void)value;
    cli->raw = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_rebind(struct cli *cli, const char *value)
{
    (void)value;
    cli->rebind = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_remove(struct cli *cli, const char *value)
{
    (void)value;
    cli->remove = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_fresh(struct cli *cli, const char *value)
{
    (void)value;
    cli->fresh = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_no_move(struct cli *cli, const char *value)
{
    (void)value;
    cli->no_move = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_labels_from_env(struct cli *cli, const char *value)
{
    (void)value;
    cli->labels_from_env = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_apply(struct cli *cli, const char *value)
{
    (void)value;
    cli->apply = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_undo(struct cli *cli, const char *value)
{
    (void)value;
    cli->undo = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_in_use(struct cli *cli, const char *value)
{
    (void)value;
    cli->in_use = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_listen(struct cli *cli, const char *value)
{
    (void)value;
    cli->listen = true;
    return NEXTPORT_OK;
}

static enum nextport_status add_label(struct cli *cli, const char *key, const char *value)
{
    cli->labels[cli->n_labels++] = (struct nextport_label){key, value};
    return NEXTPORT_OK;
}

static enum nextport_status take_project(struct cli *cli, const char *value)
{
    return add_label(cli, "project", value);
}

static enum nextport_status take_environment(struct cli *cli, const char *value)
{
    return add_label(cli, "environment", value);
}

static enum nextport_status take_channel(struct cli *cli, const char *value)
{
    return add_label(cli, "channel", value);
}

static enum nextport_status take_tenant(struct cli *cli, const char *value)
{
    return add_label(cli, "tenant", value);
}

/* The word is ours to cut: it lies in argv. */
static enum nextport_status take_label(struct cli *cli, const char *value)
{
    char *equals = strchr(value, '=');
    if (!equals || equals == value)
        return cli_usage(cli, "Write --label team=web.", "--label: '%s' is not KEY=VALUE", value);
    *equals = '\0';
    return add_label(cli, value, equals + 1);
}

static enum nextport_status take_deployment(struct cli *cli, const char *value)
{
    cli->deployment = value;
    return NEXTPORT_OK;
}

static enum nextport_status take_keep(struct cli *cli, const char *value)
{
    int64_t keep;
    if (number(cli, "--keep", value, 1000, &keep) != NEXTPORT_OK)
        return cli->err.status;
    cli->keep = (unsigned)keep;
    return NEXTPORT_OK;
}

static enum nextport_status take_limit(struct cli *cli, const char *value)
{
    return number(cli, "--limit", value, INT64_C(1000000000), &cli->limit);
}

static enum nextport_status take_verbose(struct cli *cli, const char *value)
{
    (void)value;
    cli->style.verbosity = 1;
    return NEXTPORT_OK;
}

static enum nextport_status take_quiet(struct cli *cli, const char *value)
{
    (void)value;
    cli->style.verbosity = -1;
    return NEXTPORT_OK;
}

static enum nextport_status take_help(struct cli *cli, const char *value)
{
    (void)value;
    cli->help = true;
    return NEXTPORT_OK;
}

static enum nextport_status take_version(struct cli *cli, const char *value)
{
    (void)value;
    cli->version = true;
    return NEXTPORT_OK;
}

const struct option_row cli_options[] = {
    {"name", 'n', "NAME", ON_OWNERS & ~ON_ADOPT, NULL, NULL, take_name,
     "the port's name, the output variable; repeatable"},
    {"count", 'c', "N", ON_NEXT, NULL, NULL, take_count, "N ports, called NAME, NAME2, NAME3"},
    {"consecutive", 0, NULL, ON_NEXT, NULL, NULL, take_consecutive, "all ports in one unbroken run"},
    {"project", 'P', "NAME", ON_OWNERS, NULL, NULL, take_project, "whose the port is: an owner keeps its port"},
    {"environment", 'E', "NAME", ON_OWNERS, NULL, NULL, take_environment, "its environment: Dev, QA, UAT"},
    {"channel", 'C', "NAME", ON_OWNERS, NULL, NULL, take_channel, "its channel"},
    {"tenant", 'T', "NAME", ON_OWNERS, NULL, NULL, take_tenant, "its tenant"},
    {"label", 'L', "K=V", ON_OWNERS, NULL, NULL, take_label, "anything else that tells owners apart; repeatable"},
    {"labels-from-env", 0, NULL, ON_OWNERS, NULL, NULL, take_labels_from_env,
     "take what is not given from NEXTPORT_PROJECT and so on"},
    {"fresh", 0, NULL, ON_NEXT, NULL, NULL, take_fresh, "a port of this deployment's own, beside earlier ones"},
    {"deployment", 'D', "ID", ON_NEXT | ON_RELEASE | ON_LEASES | ON_LOG | ON_ASSIGN, NULL, NULL, take_deployment,
     "the deployment: a retry is the same one"},
    {"keep", 0, "N", ON_NEXT, NULL, NULL, take_keep, "--fresh: keep the newest N deployments, release older"},
    {"no-move", 0, NULL, ON_GRANTS, NULL, NULL, take_no_move, "status 6 instead of another port than the owner had"},
    {"select", 0, "HOW", ON_GRANTS | ON_CONFIG, "pool.select", NULL, NULL, "lowest (default), or owner: by its key"},
    {"avoid", 0, "WHAT", ON_GRANTS | ON_FREE | ON_WHY | ON_MAP | ON_CONFIG, "pool.avoid", NULL, NULL,
     "ports that browsers block, or of known services"},
    {"ttl", 't', "TIME", ON_GRANTS, "lease.pending", NULL, NULL, "how long an unused lease lives: 90s, 24h, 7d"},
    {"wait", 'w', "TIME", ON_WRITES, "ledger.wait", NULL, NULL, "how long to wait for the ledger's lock; default 30s"},
    {"dry-run", 0, NULL, ON_NEXT | ON_ASSIGN | ON_IMPORT, NULL, NULL, take_dry_run,
     "say what would be done, change nothing"},
    {"apply", 0, NULL, ON_ADOPT | ON_PROTECT, NULL, NULL, take_apply, "do what is shown without it"},
    {"undo", 0, NULL, ON_PROTECT, NULL, NULL, take_undo, "take back what --apply did"},
    {"in-use", 0, NULL, ON_ASSIGN | ON_IMPORT, NULL, NULL, take_in_use, "what uses the port is its owner's own"},
    {"listen", 0, NULL, ON_EXEC, NULL, NULL, take_listen, "pass listening sockets (LISTEN_FDS), not only numbers"},
    {"fail-on", 0, "SEVERITY", ON_CHECK, "check.fail-on", NULL, NULL,
     "hint, hazard or error (default): ends with status 6"},
    {"limit", 0, "N", ON_LOG, NULL, NULL, take_limit, "only the newest N"},
    {"no-newline", 0, NULL, ON_NEXT, NULL, NULL, take_no_newline, "plain: no newline at the end"},
    {"id", 0, "N", ON_RELEASE | ON_LEASES | ON_LOG, NULL, NULL, take_id, "the lease's number"},
    {"source", 's', "SOURCE", ON_USED | ON_ADOPT, NULL, NULL, take_source, "only this source; repeatable"},
    {"all", 'a', NULL, ON_USED, NULL, NULL, take_all, "one row for each socket"},
    {"raw", 0, NULL, ON_DOCTOR, NULL, NULL, take_raw, "everything seen, as text to attach to a report"},
    {"rebind", 0, NULL, ON_DOCTOR, NULL, NULL, take_rebind, "accept a ledger copied from another machine"},
    {"remove", 0, NULL, ON_SETUP, NULL, NULL, take_remove, "take back what setup made; the ledger stays"},
    {"range", 'r', "PORTS", ON_POOL, "pool.range", NULL, NULL, "the pool: 49000-65000, or several: 8000-8099,9000"},
    {"exclude", 'x', "PORTS", ON_POOL & ~(ON_USED | ON_PROTECT), "pool.exclude", NULL, NULL,
     "ports never to give; repeatable"},
    {"protocol", 'p', "PROTO", ON_LOOKS, "pool.protocol", NULL, NULL, "tcp (default), udp or both"},
    {"iis-config", 0, "FILE", ON_EVIDENCE, "iis.files", NULL, NULL, "read this applicationHost.config; repeatable"},
    {"iis-express", 0, NULL, ON_EVIDENCE, "iis.express", "yes", NULL, "read the sites of this user's IIS Express too"},
    {"nginx-config", 0, "FILE", ON_EVIDENCE, "nginx.files", NULL, NULL, "read this nginx.conf as well; repeatable"},
    {"haproxy-config", 0, "FILE", ON_EVIDENCE, "haproxy.files", NULL, NULL,
     "read this haproxy.cfg as well; repeatable"},
    {"apache-config", 0, "FILE", ON_EVIDENCE, "apache.files", NULL, NULL,
     "read this apache2.conf or httpd.conf as well; repeatable"},
    {"systemd-config", 0, "FILE", ON_EVIDENCE, "systemd.files", NULL, NULL, "read this unit file as well; repeatable"},
    {"quadlet-config", 0, "FILE", ON_EVIDENCE, "quadlet.files", NULL, NULL,
     "read this .container, .pod or .kube as well; repeatable"},
    {"dump", 0, "SOURCE", ON_EVIDENCE, "machine.dump", NULL, NULL,
     "run the server itself to cross-check what is read: apache; repeatable"},
    {"root", 0, "DIR", ON_LOOKS & ~ON_EXEC, "machine.root", NULL, NULL,
     "read the files of the machine below DIR, no sockets"},
    {"policy", 0, "S=P", ON_EVIDENCE, NULL, NULL, take_policy, "when source S cannot be seen: require, warn or off"},
    {"strict", 0, NULL, ON_EVIDENCE, "policy.strict", "yes", NULL, "require every source that would only warn"},
    {"ledger", 'l', "FILE", ON_LEDGER, "ledger.file", NULL, NULL, "another ledger than the machine's"},
    {"user", 'u', NULL, ON_LEDGER, "ledger.user", "yes", NULL, "a ledger of this user's own"},
    {"config", 0, "FILE", ON_SETTINGS, NULL, NULL, take_config, "another configuration than the machine's"},
    {"format", 'f', "FORMAT", ON_SETTINGS & ~ON_EXEC, "output.format", NULL, NULL,
     "how to say it: 'nextport help' lists the formats"},
    {"verbose", 'v', NULL, ON_ALL, NULL, NULL, take_verbose, "say more"},
    {"quiet", 'q', NULL, ON_ALL, NULL, NULL, take_quiet, "say nothing but errors"},
    {"help", 'h', NULL, ON_ALL, NULL, NULL, take_help, "this help"},
    {"version", 'V', NULL, ON_ALL, NULL, NULL, take_version, "the version"},
    {NULL, 0, NULL, 0, NULL, NULL, NULL, NULL},
};

/* ---- Parsing ------------------------------------------------------------------------------------------------- */

struct getopt_tables {
    struct option longs[OPTIONS_MAX];
    const struct option_row *rows[OPTIONS_MAX];
    const char *names[OPTIONS_MAX];
    char letters[3 * OPTIONS_MAX];
};

/* Without a command every option is known: only --format matters then. */
static void make_tables(struct getopt_tables *t, unsigned on)
{
    size_t n = 0;
    char *letter = t->letters;
    if (on == ON_EXEC)
        *letter++ = '+'; /* the first word that is no option begins the command, whose options are its own */
    *letter++ = ':';     /* a missing value is told apart from an unknown option */
    for (const struct option_row *row = cli_options; row->name && n + 1 < OPTIONS_MAX; row++) {
        if (on && !(row->on & on))
            continue;
        t->longs[n] = (struct option){row->name, row->arg ? required_argument : no_argument, NULL, (int)(256 + n)};
        t->rows[n] = row;
        t->names[n++] = row->name;
        if (row->letter)
            *letter++ = row->letter;
        if (row->letter && row->arg)
            *letter++ = ':';
    }
    t->longs[n] = (struct option){0};
    t->names[n] = NULL;
    *letter = '\0';
}

static const struct option_row *row_of(const struct getopt_tables *t, int found)
{
    for (size_t i = 0; t->names[i]; i++)
        if (found == (int)(256 + i) || (found < 256 && found == t->rows[i]->letter))
            return t->rows[i];
    return NULL;
}

static enum nextport_status take(struct cli *cli, const struct option_row *row, const char *value)
{
    char origin[64];
    if (row->take)
        return row->take(cli, value);
    snprintf(origin, sizeof origin, "--%s", row->name);
    return nextport_set(cli->np, row->key, row->arg ? value : row->value, origin, &cli->err);
}

/* The option of another command that this is, by its name or letter; NULL: there is none. */
static const struct option_row *elsewhere(const char *name, char letter)
{
    for (const struct option_row *row = cli_options; row->name; row++)
        if ((name && strcmp(row->name, name) == 0) || (letter && row->letter == letter))
            return row;
    return NULL;
}

/* "It is --keep of next and exec." */
static void hint_elsewhere(char *hint, size_t size, const struct option_row *row)
{
    enum { NAMED = 6 }; /* of more commands it is enough to say that there are some */
    size_t n = (size_t)snprintf(hint, size, "It is --%s of", row->name), named = 0;
    const char *before = " ";
    unsigned rest = row->on & ~(unsigned)ON_HELP;
    for (const struct command *command = cli_commands; command->name && n < size; command++) {
        if (!(rest & command->bit))
            continue;
        rest &= ~command->bit;
        n += (size_t)snprintf(hint + n, size - n, "%s%s", before, command->name);
        before = rest & (rest - 1) ? ", " : " and "; /* more than one is left */
        if (++named == NAMED && rest & (rest - 1)) {
            n += n < size ? (size_t)snprintf(hint + n, size - n, " and others") : 0;
            break;
        }
    }
    if (n < size)
        snprintf(hint + n, size - n, ".");
}

static enum nextport_status unknown_option(struct cli *cli, const struct getopt_tables *t, const char *word)
{
    char hint[256], name[64] = "";
    const char *command = cli->command ? cli->command->name : "COMMAND";
    const bool is_long = strncmp(word, "--", 2) == 0;
    if (is_long)
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (size_t i = 0; is_long && t->names[i]; i++)
        if (strcmp(t->names[i], name) == 0) { /* known: so it was a flag that got a value */
            snprintf(hint, sizeof hint, "Write --%s alone.", name);
            return cli_usage(cli, hint, "--%s takes no value", name);
        }
    const struct option_row *other = elsewhere(is_long ? name : NULL, is_long ? '\0' : word[1]);
    const char *near = is_long ? nextport_nearest(name, t->names) : NULL;
    if (other)
        hint_elsewhere(hint, sizeof hint, other);
    else if (near)
        snprintf(hint, sizeof hint, "Did you mean '--%s'?", near);
    else
        snprintf(hint, sizeof hint, "'nextport %s --help' lists the options.", command);
    return cli_usage(cli, hint, "unknown option '%s' of %s", word, command);
}

static enum nextport_status missing_value(struct cli *cli, const struct option_row *row, const char *word)
{
    char hint[128] = "";
    if (row)
        snprintf(hint, sizeof hint, "Write --%s %s (%s).", row->name, row->arg, row->about);
    return cli_usage(cli, row ? hint : NULL, "option '%s' needs a value", word);
}

/* Too many words, or too few. */
static enum nextport_status check_words(struct cli *cli)
{
    char hint[160];
    const struct command *command = cli->command;
    const bool many = cli->n_args > command->max_args;
    if (!many && cli->n_args >= command->min_args)
        return NEXTPORT_OK;
    snprintf(hint, sizeof hint, "Write 'nextport %s%s%s'; 'nextport %s --help' says more.", command->name,
             command->args[0] ? " " : "", command->args, command->name);
    if (many)
        return cli_usage(cli, hint, "%s: '%s' is one word too many", command->name, cli->args[command->max_args]);
    return cli_usage(cli, hint, "%s: %s is missing", command->name, command->args);
}

enum nextport_status cli_parse(struct cli *cli, int argc, char **argv)
{
    struct getopt_tables tables;
    struct nextport_error first = cli->err; /* an unknown command was found before */
    int found;
    make_tables(&tables, cli->command ? cli->command->bit : 0);
    opterr = 0;
    optind = 1; /* getopt_long() skips argv[0], which is the command's name here */
    argc--, argv++;
    for (;;) {
        /* a bundle of letters is left behind only when it is done, so the word in hand is found before the call */
        int at = optind;
        found = argc > 0 ? getopt_long(argc, argv, tables.letters, tables.longs, NULL) : -1;
        if (found == -1)
            break;
        const struct option_row *row = row_of(&tables, found);
        char letter[] = {'-', (char)optopt, '\0'};
        const char *word = found == '?' && optopt && optopt < 256 ? letter : argv[optind > at ? optind - 1 : at];
        enum nextport_status status;
        if (found == ':' && !strchr(word, '=')) /* some say ':' of a flag that got a value, too */
            status = missing_value(cli, row_of(&tables, optopt), word);
        else
            status = row ? take(cli, row, optarg) : unknown_option(cli, &tables, word);
        if (status != NEXTPORT_OK && first.status == NEXTPORT_OK)
            first = cli->err;
    }
    cli->args = (const char *const *)argv + optind;
    cli->n_args = argc > optind ? argc - optind : 0;
    if (first.status == NEXTPORT_OK && cli->command && !cli->help && !cli->version) {
        check_words(cli);
        first = cli->err;
    }
    cli->err = first;
    return first.status;
}
