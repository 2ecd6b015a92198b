/* What httpd itself says of its configuration, to cross-check what was read: `httpd -t -D DUMP_CONFIG`, with mod_info,
 * which prints every directive that is left once conditions, variables and macros are done with, and binds nothing.
 * Only where a person asked for it, because httpd runs what its configuration loads.
 * SPDX-License-Identifier: MIT */
#include "source/apache.h"

#include <string.h>

enum {
    BUDGET_MS = 10000,
    PRINTED_MAX = 64 * 1024 * 1024, /* bytes */
    WORDS_MAX = 256,
};

struct dump {
    struct np_look *look;
    struct np_arena *arena;
    struct np_portset read;   /* ports that the reader of files claims already */
    struct np_portset dumped; /* by any configuration */
    struct np_map done;       /* main files */
    const char **agreeing;    /* those that were dumped, for people */
    size_t n_agreeing, agreeing_capacity;
    bool failed, differs;          /* one of them could not be dumped; or had something else than was read */
    struct np_reader *reader;      /* of the main file */
    const char *main_file, *shown; /* for people */
    const char *words[WORDS_MAX];
    size_t n_words;
};

/* ---- What is run ---------------------------------------------------------------------------------------------- */

static void add_word(struct dump *dump, const char *word)
{
    if (dump->n_words + 1 < WORDS_MAX)
        dump->words[dump->n_words++] = word;
}

static void add_option(struct dump *dump, const char *option, const char *value)
{
    if (dump->n_words + 2 < WORDS_MAX) {
        add_word(dump, option);
        add_word(dump, value);
    }
}

static const char *beside(struct dump *dump, const char *path)
{
    const char *slash = strrchr(dump->main_file, '/');
    if (path[0] == '/')
        return path;
    return np_sprintf(dump->arena, "%.*s/%s", slash ? (int)(slash - dump->main_file) : 1, slash ? dump->main_file : ".",
                      path);
}

/* The row whose program is there: that of the place, else any. NULL: there is no httpd. */
static const struct np_apache_place *find_program(struct dump *dump, const struct np_apache_place *place,
                                                  const char **ret)
{
    const struct np_apache_place *row = place;
    for (size_t i = 0; i <= np_apache_n_places; row = &np_apache_places[i++])
        if (row->program && np_host_exists(*ret = beside(dump, row->program)))
            return row;
    return NULL;
}

/* The one value of a variable; empty: there is none, or more. */
static struct np_text value_of(const struct np_variables *variables, const char *name)
{
    const struct np_variable *variable = name ? np_map_find(&variables->map, name) : NULL;
    return np_text_of(variable && variable->n == 1 && !variable->too_many ? variable->values[0] : "");
}

/* Of the words that the start script gives to httpd, those that say what is configured. */
static void add_options(struct dump *dump, struct np_text words)
{
    struct np_text word;
    while (np_apache_option_word(dump->arena, &words, &word)) {
        if (word.len < 2 || word.ptr[0] != '-' || !strchr("CDc", word.ptr[1]))
            continue;
        struct np_text value = {word.ptr + 2, word.len - 2};
        if (value.len || np_apache_option_word(dump->arena, &words, &value))
            add_option(dump, np_sprintf(dump->arena, "-%c", word.ptr[1]), np_text_dup(dump->arena, value));
    }
}

static void add_include(struct dump *dump, const char *option, const char *file)
{
    if (file && np_host_exists(file))
        add_option(dump, option, np_sprintf(dump->arena, "Include \"%s\"", file));
}

static void add_words(struct dump *dump, const struct np_apache_place *place, const struct np_variables *variables,
                      const char *info)
{
    const struct np_apache_environment *from = place->environment;
    struct np_text flags = value_of(variables, from ? from->flags : NULL), flag;
    dump->n_words = 0;
    add_word(dump, "-t");
    add_option(dump, "-D", "DUMP_CONFIG");
    add_option(dump, "-d", np_apache_root(dump->arena, place, dump->main_file));
    add_option(dump, "-f", dump->main_file);
    for (size_t i = 0; i < 2; i++)
        add_include(dump, "-C", place->before[i]);
    add_include(dump, "-c", place->after);
    while (np_apache_option_word(dump->arena, &flags, &flag))
        add_option(dump, "-D", np_text_dup(dump->arena, flag));
    add_options(dump, value_of(variables, from ? from->options : NULL));
    /* last, so that no condition of the configuration sees it */
    if (np_host_exists(info))
        add_option(dump, "-c", np_sprintf(dump->arena, "LoadModule info_module \"%s\"", info));
    dump->words[dump->n_words] = NULL;
}

/* Clean, but for what the start script exports. */
static const char *const *environment_of(struct dump *dump, const struct np_variables *variables)
{
    const char **ret = np_alloc_array(dump->arena, variables->n + 3, sizeof *ret);
    size_t n = 0;
    for (size_t i = 0; i < variables->n; i++) {
        const struct np_text value = value_of(variables, variables->items[i]->name);
        if (value.len && strncmp(variables->items[i]->name, "LD_", 3) != 0)
            ret[n++] = np_sprintf(dump->arena, "%s=%s", variables->items[i]->name, value.ptr);
    }
    ret[n++] = "LC_ALL=C";
    ret[n++] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    return ret;
}

/* What is wrong with the file of the environment has been said by the look. */
static void read_environment(struct dump *dump, const struct np_apache_place *place, struct np_variables *ret)
{
    struct np_log log = {.arena = dump->arena};
    struct np_evidence said = {.arena = dump->arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const struct np_include include = np_files_of(dump->reader);
    const struct np_file file = {.path = dump->main_file, .name = dump->main_file};
    struct np_files files;
    np_files_init(&files, "apache", &said, &include, &err);
    np_apache_environment(&files, &file, place, ret);
}

/* ---- What it printed ------------------------------------------------------------------------------------------ */

/* Where a directive of the dump stands: "# In file: /x/ports.conf", "#   7:". */
struct spot {
    const char *file;
    unsigned line;
};

static bool takes(struct np_text *text, const char *word)
{
    const size_t n = strlen(word);
    if (text->len < n || !np_text_is_nocase((struct np_text){text->ptr, n}, word))
        return false;
    *text = np_text_trim((struct np_text){text->ptr + n, text->len - n});
    return true;
}

static void read_comment(struct dump *dump, struct np_text line, struct spot *spot)
{
    uint64_t number;
    takes(&line, "#");
    if (takes(&line, "In file:"))
        *spot = (struct spot){.file = np_text_dup(dump->arena, line)};
    else if (line.len && line.ptr[line.len - 1] == ':' &&
             np_text_u64((struct np_text){line.ptr, line.len - 1}, UINT32_MAX, &number))
        spot->line = (unsigned)number;
}

/* Also for a look under the lock. */
static void keep(struct dump *dump, const struct nextport_claim *claim)
{
    struct np_dumped *dumped = dump->look->dumped;
    struct nextport_claim *kept = np_alloc(dump->arena, sizeof *kept);
    *kept = *claim;
    np_evidence_claim(dump->look->ret, claim);
    *(const struct nextport_claim **)np_push(dump->arena, &dumped->items, &dumped->n, &dumped->capacity,
                                             sizeof(*dumped->items)) = kept;
}

/* A port that was not read from the files counts, whatever they are thought to say. */
static void take_listen(struct dump *dump, struct np_text args, const struct spot *spot)
{
    struct np_evidence *ret = dump->look->ret;
    const char *address, *shown = np_neutral(dump->arena, np_text_dup(dump->arena, args), false);
    uint16_t port;
    if (!np_apache_listen(dump->arena, args, &port, &address)) {
        np_note(ret->log, NEXTPORT_WARNING, "%s:%u: Listen %s: a port was expected in httpd's dump", spot->file,
                spot->line, shown);
        return;
    }
    np_portset_add(&dump->dumped, port, port);
    if (np_portset_has(&dump->read, port))
        return;
    np_portset_add(&dump->read, port, port);
    dump->differs = true;
    np_note(ret->log, NEXTPORT_WARNING,
            "%s:%u: Listen %s: only httpd's own dump has it, and what was read of the files has not", spot->file,
            spot->line, shown);
    keep(dump, &(struct nextport_claim){.first = port,
                                        .last = port,
                                        .protocol = NEXTPORT_TCP,
                                        .kind = NEXTPORT_CONFIGURED,
                                        .certainty = NEXTPORT_DECLARED,
                                        .address = address,
                                        .holder = dump->shown,
                                        .detail = np_sprintf(dump->arena, "Listen %s, by its dump", shown),
                                        .source = "apache",
                                        .file = spot->file,
                                        .line = spot->line});
}

/* false: it is no dump. */
static bool read_dump(struct dump *dump, struct np_text text)
{
    struct spot spot = {.file = dump->main_file};
    struct np_text line;
    bool begun = false;
    while (np_text_split(&text, '\n', &line)) {
        line = np_text_trim(line);
        begun = begun || (line.len && line.ptr[0] == '#');
        if (line.len && line.ptr[0] == '#')
            read_comment(dump, line, &spot);
        else if (takes(&line, "Listen ") || takes(&line, "Listen\t"))
            take_listen(dump, line, &spot);
    }
    return begun;
}

/* ---- One configuration ---------------------------------------------------------------------------------------- */

/* As a gap of the files: it warns, unless a person said what it is to do. A sighting has one reason; others are notes. */
static void give_up(struct dump *dump, const char *why, const char *hint)
{
    const struct np_settings *settings = dump->look->settings;
    struct np_evidence *ret = dump->look->ret;
    const bool chosen = settings->strict || np_settings_strength(settings, "policy.apache") > NP_BY_DEFAULT;
    const struct nextport_sighting *seen = np_evidence_sighting(ret, "apache");
    dump->failed = true;
    why = np_sprintf(dump->arena, "dump %s: %s", dump->shown, why);
    if (seen && (seen->sight == NEXTPORT_PARTIAL || seen->sight == NEXTPORT_UNREADABLE))
        np_note(ret->log, NEXTPORT_WARNING, "%s", why);
    else
        np_evidence_sight(ret, "apache", NEXTPORT_PARTIAL,
                          chosen ? np_settings_policy(settings, "apache") : NEXTPORT_WARN, why, hint);
}

/* The last line that says something, with the one before it that introduces it: httpd ends with the reason. */
static const char *reason_of(struct dump *dump, struct np_text log)
{
    enum { SHOWN_MAX = 500 };
    struct np_text line, last = np_text_of("it said nothing"), before = {0};
    while (np_text_split(&log, '\n', &line)) {
        line = np_text_trim(line);
        if (!line.len || np_text_is(line, "Action '-t -D DUMP_CONFIG' failed.") ||
            np_text_is(line, "The Apache error log may have more information."))
            continue;
        before = last;
        last = line;
    }
    const char *shown = before.len && before.ptr[before.len - 1] == ':'
                            ? np_sprintf(dump->arena, "%.*s %.*s", (int)before.len, before.ptr, (int)last.len, last.ptr)
                            : np_text_dup(dump->arena, last);
    return np_neutral(dump->arena, np_sprintf(dump->arena, "%.*s", SHOWN_MAX, shown), false);
}

static void dump_one(struct dump *dump)
{
    struct np_variables variables = {.map.arena = dump->arena};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_printed printed;
    const struct np_apache_place *place = np_apache_place_of(dump->main_file, np_apache_is_below, dump->reader);
    const char *program = NULL;
    const struct np_apache_place *row = find_program(dump, place, &program);
    if (dump->main_file[0] != '/' && dump->main_file[1] != ':') {
        give_up(dump, "httpd takes a path that does not begin at the top for one below its own folder",
                "Give --apache-config the whole path.");
        return;
    }
    if (!row) {
        give_up(dump, "no program of httpd is there", "Leave out --dump where Apache is not installed.");
        return;
    }
    const char *root = np_apache_root(dump->arena, place, dump->main_file);
    const char *info = row->info[0] == '/' ? row->info : np_sprintf(dump->arena, "%s/%s", root, row->info);
    read_environment(dump, place, &variables);
    add_words(dump, place, &variables, info);
    if (np_host_vet(dump->main_file, &err) != NEXTPORT_OK)
        give_up(dump, np_strdup(dump->arena, err.text), "Its modules are run: let only root, or this user, change it.");
    else if (np_host_run(dump->arena,
                         &(struct np_program){.file = program,
                                              .words = dump->words,
                                              .environment = environment_of(dump, &variables),
                                              .limit = PRINTED_MAX,
                                              .budget_ms = BUDGET_MS},
                         &printed, &err) != NEXTPORT_OK)
        give_up(dump, np_strdup(dump->arena, err.text), *err.hint ? np_strdup(dump->arena, err.hint) : NULL);
    else if (printed.status != 0)
        give_up(dump,
                np_sprintf(dump->arena, "%s ended with status %d: %s", program, printed.status,
                           reason_of(dump, printed.log)),
                "Mend what httpd says, or leave out --dump: what was read of the files counts without it.");
    else if (!read_dump(dump, printed.out))
        give_up(dump, np_sprintf(dump->arena, "%s printed none, as without mod_info", program),
                np_sprintf(dump->arena, "Install or load mod_info (%s), or leave out --dump.", info));
    else
        *(const char **)np_push(dump->arena, &dump->agreeing, &dump->n_agreeing, &dump->agreeing_capacity,
                                sizeof(*dump->agreeing)) = dump->shown;
}

static void dump_matches(struct dump *dump, struct np_reader *reader, const char *pattern)
{
    const char *const *paths = &pattern, *why;
    size_t n = 0;
    np_reader_glob(reader, pattern, &paths, &n, &why);
    for (size_t i = 0; i < n; i++) {
        void **done = np_map_at(&dump->done, paths[i]);
        if (*done)
            continue;
        *done = dump;
        dump->reader = reader;
        dump->main_file = paths[i];
        dump->shown = np_reader_shown(reader, paths[i]);
        dump_one(dump);
    }
}

/* Declared and not dumped: either the reader or the dump, started otherwise than the server, is wrong. The port stays. */
static void warn_of_undumped(struct dump *dump)
{
    const struct np_evidence *ret = dump->look->ret;
    struct np_portset said = {0};
    for (size_t i = 0; i < ret->n_claims; i++) {
        const struct nextport_claim *claim = &ret->claims[i];
        if (strcmp(claim->source, "apache") != 0 || claim->certainty != NEXTPORT_DECLARED || !claim->first ||
            np_portset_has(&dump->dumped, claim->first) || np_portset_has(&said, claim->first))
            continue;
        np_portset_add(&said, claim->first, claim->first);
        dump->differs = true;
        np_note(ret->log, NEXTPORT_WARNING, "%s:%u: %s: httpd's own dump has it not; the port counts all the same",
                claim->file, claim->line, claim->detail);
    }
}

/* Says that something was asked at all. Ports are compared together, and so an answer of one is an answer of all. */
static void tell(struct dump *dump)
{
    if (!dump->done.n)
        np_note(dump->look->ret->log, NEXTPORT_INFO, "no httpd to ask: no configuration of Apache is in its places");
    for (size_t i = 0; i < dump->n_agreeing; i++)
        np_note(dump->look->ret->log, NEXTPORT_VERBOSE, "httpd's dump of %s %s", dump->agreeing[i],
                dump->differs ? "was compared" : "agrees");
}

/* Nobody waits for httpd while others wait for the lock. What it said before was of files that may be other ones now. */
static void dump_nothing(struct dump *dump)
{
    const struct np_dumped *dumped = dump->look->dumped;
    for (size_t i = 0; i < dumped->n; i++)
        if (strcmp(dumped->items[i]->source, "apache") == 0)
            np_evidence_claim(dump->look->ret, dumped->items[i]);
    dump->shown = "of Apache";
    if (np_evidence_sighting(dump->look->ret, "apache")->sight != NEXTPORT_ABSENT)
        give_up(dump, "files changed after httpd was asked, and it is not asked again while others wait",
                "Repeat the request once nothing changes them.");
}

/* What is wrong with the services has been said by the look. */
static const char *const *find_places(const struct np_look *look)
{
    struct np_log log = {.arena = look->ret->arena};
    struct np_evidence said = {.arena = look->ret->arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_look quiet = *look;
    const char *const *ret;
    quiet.ret = &said;
    return np_apache_found(&quiet, &ret, &err) == NEXTPORT_OK ? ret : np_apache_patterns(&quiet);
}

enum nextport_status np_apache_dump(struct np_look *look, struct nextport_error *err)
{
    struct np_arena *arena = look->ret->arena;
    struct dump *dump = np_alloc(arena, sizeof *dump);
    *dump = (struct dump){.look = look, .arena = arena, .done.arena = arena};
    const struct np_string_list *given = &look->settings->apache_files;
    const char *const *patterns = find_places(look);
    (void)err;
    if (look->is_locked) {
        dump_nothing(dump);
        return NEXTPORT_OK;
    }
    for (size_t i = 0; i < look->ret->n_claims; i++) {
        const struct nextport_claim *claim = &look->ret->claims[i];
        if (strcmp(claim->source, "apache") == 0 && claim->first)
            np_portset_add(&dump->read, claim->first, claim->last);
    }
    for (size_t i = 0; i < given->n; i++)
        dump_matches(dump, look->given, given->items[i]);
    for (size_t i = 0; patterns[i]; i++)
        dump_matches(dump, look->reader, patterns[i]);
    if (!dump->failed)
        warn_of_undumped(dump);
    tell(dump);
    return NEXTPORT_OK;
}
