/* Services that start a program.
 * SPDX-License-Identifier: MIT */
#include "source/services.h"

#include "source/service_files.h"

#include <string.h>

/* Scripts that hand their words on to a program: of Apache, and of Red Hat's old packages of HAProxy. */
static const struct {
    const char *name, *program;
} fronts[] = {{"haproxy-systemd-wrapper", "haproxy"},
              {"apache2ctl", "apache2"},
              {"apachectl", "apache2"},
              {"apachectl", "httpd"}};

struct commands {
    struct np_service *service;
    const char *program;
    struct np_setting *items; /* those that have the program's name in them */
    size_t n, capacity;
};

static bool has(struct np_text text, const char *word)
{
    const size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.len; i++)
        if (memcmp(text.ptr + i, word, n) == 0)
            return true;
    return false;
}

static bool may_name(struct np_text text, const char *program)
{
    bool found = has(text, program);
    for (size_t i = 0; i < sizeof fronts / sizeof *fronts && !found; i++)
        found = strcmp(fronts[i].program, program) == 0 && has(text, fronts[i].name);
    return found;
}

/* A folder that does not begin at the top, "~", is that of a user. */
static void take_folder(struct np_service *service, struct np_text value)
{
    struct np_units *units = service->environment.units;
    const char *text = np_text_dup(units->files->ret->arena, value);
    const char *folder = *text ? np_unit_expand(units, service->unit, text + (*text == '-')) : "/";
    service->folder = folder && *folder == '/' ? folder : NULL;
}

static void take(void *ctx, const struct np_setting *setting)
{
    struct commands *commands = ctx;
    struct np_service *service = commands->service;
    if (!np_text_is(setting->section, "Service") || np_environment_take(&service->environment, setting))
        return;
    if (np_text_is(setting->key, "WorkingDirectory"))
        take_folder(service, setting->value);
    if (!np_text_is(setting->key, "ExecStart"))
        return;
    if (!setting->value.len)
        commands->n = 0;
    else if (may_name(setting->value, commands->program))
        *(struct np_setting *)np_push(service->environment.units->files->ret->arena, &commands->items, &commands->n,
                                      &commands->capacity, sizeof *commands->items) = *setting;
}

/* ---- Words ---------------------------------------------------------------------------------------------------- */

struct words {
    struct np_arena *arena;
    const char **items; /* NULL: not known here */
    size_t n, capacity;
};

static void add_word(struct words *words, const char *word)
{
    *(const char **)np_push(words->arena, &words->items, &words->n, &words->capacity, sizeof *words->items) = word;
}

/* A variable alone may have several words in it, and none where it is not set. */
static void expand_word(struct np_service *service, struct words *words, const char *word)
{
    struct np_units *units = service->environment.units;
    const char *filled = np_unit_expand(units, service->unit, word);
    const char *value = filled ? np_environment_expand(&service->environment, filled) : NULL;
    const bool is_variable = *word == '$' && word[1] != '{' && word[1] != '$';
    if (!is_variable) {
        add_word(words, value);
        return;
    }
    struct np_text rest = np_text_of(value ? value : "");
    for (const char *one; np_unit_word(words->arena, &rest, &one) > 0;)
        add_word(words, one);
}

/* The program first. What stands before it says how it is started; behind '@' a name follows under which it knows itself. */
static struct words words_of(struct np_service *service, const struct np_setting *command)
{
    struct words words = {.arena = service->environment.units->files->ret->arena};
    struct np_text rest = command->value;
    const char *word;
    if (np_unit_word(words.arena, &rest, &word) <= 0)
        return words;
    const size_t n = strspn(word, "@-:+!|");
    add_word(&words, word + n);
    if (memchr(word, '@', n))
        np_unit_word(words.arena, &rest, &word);
    while (np_unit_word(words.arena, &rest, &word) > 0)
        expand_word(service, &words, word);
    return words;
}

/* ---- Programs that start programs ----------------------------------------------------------------------------- */

static const char *const shells[] = {"sh", "bash", "dash", "ash", "ksh", "zsh", NULL};
/* What follows their options is a command. */
static const struct wrapper {
    const char *name, *valued; /* letters of options behind which a value stands */
} wrappers[] = {{"env", "uCS"},     {"nice", "n"},         {"ionice", "cnpPu"},
                {"chrt", "DPT"},    {"taskset", ""},       {"numactl", "CNimp"},
                {"setpriv", ""},    {"runuser", "Gcgsuw"}, {"sudo", "CDRTUghprtu"},
                {"setsid", ""},     {"nohup", ""},         {"stdbuf", "eio"},
                {"timeout", "ks"},  {"unshare", "GRSw"},   {"nsenter", "GSt"},
                {"ip", "fn"},       {"prlimit", "p"},      {"chpst", "/CLUbcdeflmnoprtu"},
                {"cgexec", "g"},    {"flock", "Ecw"},      {"tini", "ep"},
                {"dumb-init", "r"}, {"exec", "a"},         {"command", ""},
                {"time", "fo"}};
/* What they start has its own files and ports, or is none. */
static const char *const engines[] = {"docker", "podman", "nerdctl", "ctr", "systemctl", NULL};

static const char *name_of(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "";
}

static bool is_one_of(const char *word, const char *const *names)
{
    while (*names && strcmp(name_of(word), *names) != 0)
        names++;
    return *names != NULL;
}

static const struct wrapper *wrapper_of(const char *word)
{
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (strcmp(name_of(word), wrappers[i].name) == 0)
            return &wrappers[i];
    return NULL;
}

/* The letter in a word of options that has a value, behind it or in the next word: "c" in "-qc". NULL: none has. */
static const char *valued_letter(const char *word, const char *valued)
{
    if (!word || word[0] != '-' || word[1] == '-')
        return NULL;
    const char *letter = word + 1 + strcspn(word + 1, valued);
    return *letter ? letter : NULL;
}

static bool is_program(const char *word, const char *program)
{
    const char *name = name_of(word);
    bool is_it = strcmp(name, program) == 0;
    for (size_t i = 0; i < sizeof fronts / sizeof *fronts && !is_it; i++)
        is_it = strcmp(fronts[i].program, program) == 0 && strcmp(fronts[i].name, name) == 0;
    return is_it && !strstr(word, "/init.d/");
}

static size_t name_length(const char *text)
{
    return strspn(text, "_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
}

/* "NAME=VALUE" of env and shells. */
static bool take_assignment(struct np_service *service, const char *word)
{
    struct np_environment *environment = &service->environment;
    struct np_arena *arena = environment->units->files->ret->arena;
    const size_t n = word ? name_length(word) : 0;
    if (!n || word[n] != '=')
        return false;
    struct np_variable *made = np_alloc(arena, sizeof *made);
    *made = (struct np_variable){.name = np_strndup(arena, word, n), .value = word + n + 1, .at = service->at};
    *(struct np_variable *)np_push(arena, &environment->variables, &environment->n, &environment->capacity,
                                   sizeof *environment->variables) = *made;
    *np_map_at(&environment->by_name, made->name) = made;
    return true;
}

static bool find_in_shell(struct np_service *service, const char *text, const char *program);

/* The string of `-c`, `-ec` and so on. */
static bool find_behind_shell(struct np_service *service, const char *const *words, size_t n, const char *program)
{
    for (size_t i = 1; i + 1 < n && words[i] && words[i][0] == '-'; i++)
        if (words[i][1] != '-' && words[i][strlen(words[i]) - 1] == 'c')
            return words[i + 1] && find_in_shell(service, words[i + 1], program);
    return false;
}

/* false: the words do not start the program, or not in a way that is understood. A name alone may be the value of an option:
 * "-u haproxy". */
static bool find_command(struct np_service *service, const char *const *words, size_t n, const char *program)
{
    size_t i = 0;
    const struct wrapper *wrapper = n ? wrapper_of(words[0]) : NULL;
    if (wrapper)
        for (i = 1; i < n; i++) {
            const char *letter = valued_letter(words[i - 1], wrapper->valued);
            const bool is_value = letter && !letter[1];
            if (words[i] && (strncmp(words[i], "--chdir", 7) == 0 || strcmp(words[i], "-C") == 0))
                service->folder = NULL;
            if (take_assignment(service, words[i]) || !words[i] || (is_value && !strchr(words[i], '/')))
                continue;
            if (is_program(words[i], program) || is_one_of(words[i], shells))
                break;
            wrapper = wrapper_of(words[i]) ? wrapper_of(words[i]) : wrapper;
        }
    if (i < n && is_one_of(words[i], shells))
        return find_behind_shell(service, words + i, n - i, program);
    if (i == n || !words[i] || !is_program(words[i], program))
        return false;
    service->words = words + i + 1;
    service->n = n - i - 1;
    return true;
}

enum { FILLED_MAX = 4 * 1024 * 1024 }; /* bytes of variables in one string */

/* One string of a shell being read. */
struct script {
    struct np_service *service;
    const char *program;
    struct words words; /* of the command so far */
    struct np_buf word;
    bool in_word, is_unknown, found;
    size_t n_filled;
};

static void end_word(struct script *script)
{
    if (script->in_word)
        add_word(&script->words, script->is_unknown ? NULL : np_strdup(script->words.arena, script->word.ptr));
    script->word.len = 0;
    script->in_word = script->is_unknown = false;
}

static void put(struct script *script, char c)
{
    np_buf_add(&script->word, &c, 1);
    script->in_word = true;
}

/* Several commands may start it, as one that checks its files: the last one stays. */
static void end_command(struct script *script)
{
    static const char *const keywords[] = {"if", "then", "else", "elif", "while", "until", "do", "!", "{", NULL};
    struct np_service *service = script->service;
    end_word(script);
    const struct words words = script->words;
    size_t i = 0;
    while (i < words.n && words.items[i] &&
           (is_one_of(words.items[i], keywords) || take_assignment(service, words.items[i])))
        i++;
    if (i + 1 < words.n && words.items[i] && strcmp(words.items[i], "cd") == 0)
        service->folder = words.items[i + 1] && words.items[i + 1][0] == '/' ? words.items[i + 1] : NULL;
    script->found =
        (i < words.n && find_command(service, words.items + i, words.n - i, script->program)) || script->found;
    script->words = (struct words){.arena = words.arena};
}

/* "$NAME" or "${NAME}", which has several words in it where it is not quoted. Returns how many bytes it has. */
static size_t put_variable(struct script *script, const char *at, bool is_quoted)
{
    const struct np_environment *environment = &script->service->environment;
    const bool is_braced = at[1] == '{';
    const size_t n = name_length(at + 1 + is_braced);
    const char *name = np_strndup(script->words.arena, at + 1 + is_braced, n);
    script->in_word = true;
    const struct np_variable *variable = script->n_filled < FILLED_MAX ? np_environment_find(environment, name) : NULL;
    script->n_filled += variable && variable->value ? strlen(variable->value) : 0;
    if (!n || (is_braced && at[2 + n] != '}') || !variable || !variable->value || script->n_filled >= FILLED_MAX) {
        script->is_unknown = true;
        return 1 + is_braced + n;
    }
    for (const char *p = variable->value; *p; p++)
        if (!is_quoted && strchr(" \t\n", *p))
            end_word(script);
        else
            put(script, *p);
    return 1 + n + (is_braced ? 2 : 0);
}

static bool find_in_shell(struct np_service *service, const char *text, const char *program)
{
    struct np_arena *arena = service->environment.units->files->ret->arena;
    struct script script = {.service = service, .program = program, .words.arena = arena, .word.arena = arena};
    char quote = '\0';
    np_buf_puts(&script.word, "");
    for (const char *p = text; *p; p++) {
        if (quote ? *p == quote : *p == '"' || *p == '\'') {
            quote = quote ? '\0' : *p;
            script.in_word = true;
        } else if (*p == '$' && quote != '\'') {
            p += put_variable(&script, p, quote != '\0') - 1;
        } else if (*p == '`' && quote != '\'') {
            script.in_word = script.is_unknown = true;
        } else if (*p == '\\' && quote != '\'' && p[1]) {
            put(&script, *++p);
        } else if (!quote && strchr(" \t", *p)) {
            end_word(&script);
        } else if (!quote && strchr(";&|()\n", *p)) {
            end_command(&script);
        } else {
            put(&script, *p);
        }
    }
    end_command(&script);
    return script.found;
}

/* As a whole name behind these words. */
static bool names_behind(const char *text, const char *before, const char *program)
{
    const size_t n = strlen(before), n_program = strlen(program);
    for (const char *p = text; (p = strstr(p, before)); p += n) {
        const char end = strncmp(p + n, program, n_program) == 0 ? p[n + n_program] : 'x';
        if (!end || !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", end))
            return true;
    }
    return false;
}

/* "/usr/sbin/haproxy" anywhere, or a script with the name. */
static bool may_start(const struct words *words, const char *program)
{
    static const char *const befores[] = {"bin/", "which ", "command -v "};
    if (words->n && is_one_of(words->items[0], engines))
        return false;
    for (size_t i = 0; i < words->n; i++) {
        const char *word = words->items[i] ? words->items[i] : "", *name = name_of(word);
        const size_t n = strlen(name);
        for (size_t k = 0; k < sizeof befores / sizeof *befores; k++)
            if (names_behind(word, befores[k], program))
                return true;
        if (i < 2 && strstr(name, program) && n > 3 && strcmp(name + n - 3, ".sh") == 0)
            return true;
    }
    return false;
}

/* For a command of its own, whose variables are no other's. */
static struct np_environment copy_of(const struct np_environment *environment)
{
    struct np_arena *arena = environment->units->files->ret->arena;
    struct np_environment copy = *environment;
    copy.variables = np_alloc_array(arena, copy.n + 1, sizeof *copy.variables);
    copy.capacity = copy.n + 1;
    copy.by_name = (struct np_map){.arena = arena};
    for (size_t i = 0; i < copy.n; i++) {
        copy.variables[i] = environment->variables[i];
        *np_map_at(&copy.by_name, copy.variables[i].name) = &copy.variables[i];
    }
    return copy;
}

void np_service_read(struct np_units *units, const struct np_unit *unit, const char *program, struct np_services *ret)
{
    struct np_arena *arena = units->files->ret->arena;
    struct np_service whole = {.unit = unit, .folder = "/"};
    struct commands commands = {.service = &whole, .program = program};
    np_environment_init(&whole.environment, units, unit);
    if (!np_unit_read(units, unit, take, &commands) || !commands.n)
        return;
    np_environment_finish(&whole.environment, NULL);
    for (size_t i = 0; i < commands.n; i++) {
        struct np_service service = whole;
        service.environment = copy_of(&whole.environment);
        service.at = commands.items[i].at;
        const struct words words = words_of(&service, &commands.items[i]);
        if (find_command(&service, words.items, words.n, program))
            *(struct np_service *)np_push(arena, &ret->items, &ret->n, &ret->capacity, sizeof service) = service;
        else if (may_start(&words, program))
            np_files_gap(units->files, service.at, np_sprintf(arena, "Give its files by --%s-config.", program),
                         "how this starts %s is not understood, nor which files it reads", program);
    }
}

static bool is_worth_reading(const struct np_unit *unit, const char *program)
{
    static const char *const vendors[] = {"/usr/lib/", "/lib/"};
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++)
        if (strncmp(unit->path, vendors[i], strlen(vendors[i])) == 0)
            return strstr(unit->name, program) != NULL;
    return true;
}

void np_services_of(struct np_units *units, const char *program, const char *but, struct np_services *ret)
{
    const struct np_unit *const *all, *const *chosen;
    size_t n_all, n;
    np_units_all(units, ".service", &all, &n_all);
    for (size_t i = 0; i < n_all; i++) {
        if (!is_worth_reading(all[i], program) || (but && strcmp(all[i]->name, but) == 0))
            continue;
        chosen = &all[i];
        n = 1;
        if (np_unit_is_template(all[i]))
            np_units_instances(units, all[i], &chosen, &n);
        for (size_t k = 0; k < n; k++)
            np_service_read(units, chosen[k], program, ret);
    }
}

/* ---- The files of other servers --------------------------------------------------------------------------------- */

struct search {
    const struct np_service_files *of;
    const char **paths;
    size_t n, capacity;
};

static void add_path(struct search *search, struct np_arena *arena, const char *path)
{
    *(const char **)np_push(arena, &search->paths, &search->n, &search->capacity, sizeof *search->paths) = path;
}

static void add_new_path(struct search *search, struct np_map *known, const char *path)
{
    void **at = np_map_at(known, path);
    if (!*at)
        add_path(search, known->arena, path);
    *at = known;
}

/* The value of "-c FILE", "-cFILE" or "-qc FILE"; the last one counts. *ret NULL: not known here. false: there is no such
 * option. */
static bool option(const struct np_service *service, const char *valued, char wanted, const char **ret)
{
    bool found = false;
    for (size_t i = 0; i < service->n; i++) {
        const char *letter = valued_letter(service->words[i], valued);
        if (!letter)
            continue;
        const bool is_wanted = *letter == wanted;
        const char *value = letter[1] ? letter + 1 : ++i < service->n ? service->words[i] : NULL;
        *ret = is_wanted ? value : *ret;
        found = found || is_wanted;
    }
    return found;
}

static void add_file(struct search *search, struct np_files *files, const struct np_service *service)
{
    const char *path = NULL, *folder = search->of->base;
    if (!option(service, search->of->valued, search->of->file, &path))
        return;
    option(service, search->of->valued, search->of->prefix, &folder);
    if (path && path[0] != '/' && folder && folder[0] == '/')
        path = np_sprintf(files->ret->arena, "%s/%s", folder, path);
    if (path && path[0] == '/')
        add_path(search, files->ret->arena, path);
    else
        np_files_gap(files, service->at, NULL, "%s is started with -%c %s: where that lies is not known here",
                     search->of->program, search->of->file,
                     path ? np_files_text(files, np_text_of(path)) : "and a variable");
}

/* They are read by themselves, each as one configuration. */
static bool find_files(struct np_files *files, struct np_position whole, void *ctx)
{
    static const char *const suffixes[] = {".service", NULL};
    static const struct np_units_place place = {
        .folders = np_units_system_folders, .suffixes = suffixes, .is_system = true, .by_systemd = true};
    struct search *search = ctx;
    struct np_units *units = np_alloc(files->ret->arena, sizeof *units);
    struct np_services services = {0};
    search->n = 0;
    np_units_init(units, files, whole, &place);
    np_services_of(units, search->of->program, NULL, &services);
    for (size_t i = 0; i < services.n; i++)
        add_file(search, files, &services.items[i]);
    return false;
}

enum nextport_status np_services_files(struct np_look *look, const struct np_source *source,
                                       const struct np_service_files *of, const char *const *places,
                                       const char *const **ret, struct nextport_error *err)
{
    struct search found = {.of = of}, all = {.of = of};
    struct np_map known = {.arena = look->ret->arena};
    if (np_files_look_around(look, source, find_files, &found, err) != NEXTPORT_OK)
        return err->status;
    for (size_t i = 0; places[i]; i++)
        add_new_path(&all, &known, places[i]);
    for (size_t i = 0; i < found.n; i++)
        add_new_path(&all, &known, found.paths[i]);
    add_path(&all, look->ret->arena, NULL);
    *ret = all.paths;
    return NEXTPORT_OK;
}
