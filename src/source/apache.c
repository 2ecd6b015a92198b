/* Apache httpd: every `Listen`, whether the server runs or not, with the virtual hosts that answer there.
 * doc/sources/apache.md says what is read and what each outcome means; server/config.c, server/listen.c and
 * mod_macro.c of httpd are the grammar.
 *
 * Only `Listen` opens a port. What stands in a section whose condition cannot be decided from files (a version, a -D of
 * the command line) counts, as conditional. Nothing is ever executed.
 * SPDX-License-Identifier: MIT */
#include "source/apache.h"
#include "source/service_files.h"

#include <stdlib.h>
#include <string.h>

enum {
    SECTIONS_MAX = 1000,                /* open at a time */
    WORDS_MAX = 64,                     /* of one line that are looked at */
    VARIANTS_MAX = 32,                  /* of one line, likewise */
    LINE_MAX_BYTES = 64 * 1024,         /* after variables were put in */
    MACRO_BYTES_MAX = 16 * 1024 * 1024, /* of all lines that macros make */
    MACRO_DEPTH_MAX = 20,
    FOLDERS_MAX = 1000, /* included */
    ADDRESS_MAX = 64,   /* bytes of one that is in digits */
    ROOTS_MAX = 8,      /* that conditions decide between */
};

enum answer { NO, MAYBE, YES };

static enum answer not_of(enum answer a)
{
    return (enum answer)(YES - a);
}

struct line {
    struct np_text text; /* continued lines joined, without blanks before it */
    struct np_position at;
};

struct macro {
    bool certain, used; /* used: being put in */
    struct np_text *parameters;
    size_t n_parameters;
    struct line *lines;
    size_t n, capacity;
    struct macro *other; /* what its name may mean instead, if a condition decides */
};

struct vhost {
    struct np_position at;
    const char *addresses; /* as written */
    const char *name;      /* NULL: none */
    const char **aliases;
    size_t n_aliases, aliases_capacity;
    bool every_port;
};

struct vhost_port {
    uint16_t port;
    struct vhost *vhost;
    size_t order;
};

struct listen {
    struct np_position at;
    uint16_t port;
    bool conditional;
    const char *address, *scheme, *detail;
};

/* A section that is open. */
struct section {
    struct np_text name;
    struct np_position at;
    enum answer answer; /* NO: what is in it is left out */
    bool context;       /* of directories and the like: Listen is refused in it */
    struct vhost *vhost;
};

struct apache {
    struct np_files files;
    struct np_arena *arena;
    const char *roots[ROOTS_MAX]; /* each that ServerRoot may be */
    size_t n_roots;
    struct np_position at; /* of the line */
    const struct np_apache_place *place;
    struct np_variables variables, environment;
    struct np_map defines, modules, macros, forgiven;
    bool has_modules, has_mpm;
    struct line *late; /* of the command line, to come after the main file */
    size_t n_late, late_capacity;
    struct section *sections;
    size_t n_sections, sections_capacity;
    unsigned n_no, n_maybe, n_context;
    struct macro *collecting; /* between <Macro> and </Macro>; NULL: not */
    unsigned collected_depth; /* of <Macro> in <Macro> */
    struct vhost *vhost;      /* the one that is open */
    unsigned macro_depth, n_folders;
    size_t macro_bytes;
    bool given_up, has_directives;
    struct listen *listens;
    size_t n_listens, listens_capacity, n_unresolved;
    struct vhost **any; /* those of every port */
    size_t n_any, any_capacity;
    struct vhost_port *ports;
    size_t n_ports, ports_capacity;
};

static bool is_certain(const struct apache *apache)
{
    return apache->n_maybe == 0;
}

static const char *lowered(struct np_arena *arena, struct np_text text)
{
    char *copy = np_text_dup(arena, text);
    for (char *p = copy; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p | 0x20);
    return copy;
}

static struct np_text base_of(struct np_text path)
{
    for (size_t i = path.len; i > 0; i--)
        if (path.ptr[i - 1] == '/' || path.ptr[i - 1] == '\\')
            return (struct np_text){path.ptr + i, path.len - i};
    return path;
}

/* ---- Words ---------------------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

static struct np_text skip_blanks(struct np_text text)
{
    while (text.len && is_blank(*text.ptr))
        text = (struct np_text){text.ptr + 1, text.len - 1};
    return text;
}

/* ap_getword_conf(): a word, or what quotes hold, in which a backslash is before a quote or a backslash. */
static bool next_word(struct np_arena *arena, struct np_text *rest, struct np_text *ret)
{
    *rest = skip_blanks(*rest);
    if (!rest->len)
        return false;
    const char quote = *rest->ptr;
    size_t n = 0;
    if (quote != '"' && quote != '\'') {
        while (n < rest->len && !is_blank(rest->ptr[n]))
            n++;
        *ret = (struct np_text){rest->ptr, n};
        *rest = (struct np_text){rest->ptr + n, rest->len - n};
        return true;
    }
    char *word = np_alloc(arena, rest->len);
    size_t i = 1;
    for (; i < rest->len && rest->ptr[i] != quote; i++) {
        if (rest->ptr[i] == '\\' && i + 1 < rest->len && (rest->ptr[i + 1] == quote || rest->ptr[i + 1] == '\\'))
            i++;
        word[n++] = rest->ptr[i];
    }
    if (i < rest->len)
        i++;
    *ret = (struct np_text){word, n};
    *rest = (struct np_text){rest->ptr + i, rest->len - i};
    return true;
}

struct words {
    struct np_text at[WORDS_MAX];
    size_t n;
};

static struct words words_of(struct apache *apache, struct np_text text)
{
    struct words words = {.n = 0};
    while (words.n < WORDS_MAX && next_word(apache->arena, &text, &words.at[words.n]))
        words.n++;
    return words;
}

/* ---- Variables ------------------------------------------------------------------------------------------------ */

/* What ${NAME} may be, in *ret of NP_VALUES_MAX * 2. 0: not known here. */
static size_t values_of(struct apache *apache, struct np_text name, const char **ret)
{
    const struct np_variable *defined = np_variable_at(&apache->variables, lowered(apache->arena, name));
    size_t n = 0;
    if (defined->too_many)
        return 0;
    for (size_t i = 0; i < defined->n; i++)
        ret[n++] = defined->values[i];
    if (!defined->maybe_unset)
        return n;
    const struct np_variable *set = np_variable_at(&apache->environment, np_text_dup(apache->arena, name));
    for (size_t i = 0; i < set->n && !set->too_many; i++)
        ret[n++] = set->values[i];
    return n;
}

/* "${NAME}" at the front? Names with a colon are left to mod_rewrite's maps. Where a name does not end, none does that begins
 * within it: *barrier, which the walk over a text keeps and begins with NULL, stands behind those, so that no byte is looked
 * at twice. */
static bool is_reference(struct np_text text, const char **barrier, struct np_text *ret_name)
{
    size_t n = 2;
    if (text.len < 4 || text.ptr[0] != '$' || text.ptr[1] != '{' || (*barrier && text.ptr < *barrier))
        return false;
    while (n < text.len && text.ptr[n] != '}' && text.ptr[n] != ':')
        n++;
    *ret_name = (struct np_text){text.ptr + 2, n - 2};
    if (n == text.len || text.ptr[n] == ':')
        *barrier = text.ptr + n;
    return n < text.len && text.ptr[n] == '}' && ret_name->len;
}

static bool has_reference(struct np_text text)
{
    struct np_text name;
    const char *barrier = NULL;
    for (const char *p; text.len && (p = memchr(text.ptr, '$', text.len));) {
        text = (struct np_text){p, text.len - (size_t)(p - text.ptr)};
        if (is_reference(text, &barrier, &name))
            return true;
        text = (struct np_text){text.ptr + 1, text.len - 1};
    }
    return false;
}

struct variants {
    struct np_buf *items;
    size_t n;
    bool too_many;
};

static void add_to_each(struct variants *variants, struct np_text text)
{
    for (size_t i = 0; i < variants->n; i++)
        if (variants->items[i].len + text.len <= LINE_MAX_BYTES)
            np_buf_add(&variants->items[i], text.ptr, text.len);
        else
            variants->too_many = true;
}

/* Every variant with every value. */
static void multiply(struct apache *apache, struct variants *variants, const char *const *values, size_t n)
{
    if (variants->n * n > VARIANTS_MAX) {
        variants->too_many = true;
        n = 1;
    }
    struct np_buf *items = np_alloc_array(apache->arena, variants->n * n, sizeof *items);
    size_t made = 0;
    for (size_t i = 0; i < variants->n; i++)
        for (size_t j = 0; j < n; j++, made++) {
            items[made].arena = apache->arena;
            np_buf_add(&items[made], variants->items[i].ptr ? variants->items[i].ptr : "", variants->items[i].len);
            if (items[made].len + strlen(values[j]) <= LINE_MAX_BYTES)
                np_buf_puts(&items[made], values[j]);
            else
                variants->too_many = true;
        }
    variants->items = items;
    variants->n = made;
}

/* What a text may be once its variables are put in. What is not known stays as it is, as in httpd. */
static struct variants resolve(struct apache *apache, struct np_text text)
{
    struct variants variants = {.items = np_alloc(apache->arena, sizeof *variants.items), .n = 1};
    struct np_text name;
    const char *barrier = NULL;
    variants.items[0].arena = apache->arena;
    np_buf_add(&variants.items[0], "", 0);
    while (text.len && !variants.too_many) {
        const char *values[NP_VALUES_MAX * 2];
        const char *next = memchr(text.ptr + 1, '$', text.len - 1);
        size_t n_values = 0, n = next ? (size_t)(next - text.ptr) : text.len;
        if (is_reference(text, &barrier, &name)) {
            n_values = values_of(apache, name, values);
            n = name.len + 3;
        }
        if (n_values == 1)
            add_to_each(&variants, np_text_of(values[0]));
        else if (n_values)
            multiply(apache, &variants, values, n_values);
        else
            add_to_each(&variants, (struct np_text){text.ptr, n});
        text = (struct np_text){text.ptr + n, text.len - n};
    }
    return variants;
}

/* ---- Conditions ----------------------------------------------------------------------------------------------- */

static bool takes(struct np_text *text, const char *word)
{
    const size_t n = strlen(word);
    if (text->len < n || memcmp(text->ptr, word, n) != 0)
        return false;
    *text = (struct np_text){text->ptr + n, text->len - n};
    return true;
}

/* Modules whose source file is called otherwise than "mod_" and their name: no other name of a file is theirs. */
static const struct {
    const char *module, *file;
} odd_modules[] = {
    {"mpm_event_module", "event.c"},     {"mpm_worker_module", "worker.c"}, {"mpm_prefork_module", "prefork.c"},
    {"mpm_winnt_module", "mpm_winnt.c"}, {"core_module", "core.c"},         {"http_module", "http_core.c"},
    {"ldap_module", "util_ldap.c"},
};

static void set_answer(struct np_map *map, const char *name, enum answer answer)
{
    static const enum answer answers[] = {NO, MAYBE, YES};
    void **at = np_map_at(map, name);
    *at = (void *)(uintptr_t)&answers[answer];
}

static bool get_answer(struct np_map *map, const char *name, enum answer *ret)
{
    const enum answer *known = *np_map_at(map, name);
    if (known)
        *ret = *known;
    return known != NULL;
}

/* By all the names that it may have. */
static void add_module(struct apache *apache, struct np_text module, struct np_text library, enum answer answer)
{
    struct np_arena *arena = apache->arena;
    const char *id = np_text_dup(arena, module);
    struct np_text file = base_of(library);
    set_answer(&apache->modules, id, answer);
    for (size_t i = 0; i < sizeof odd_modules / sizeof *odd_modules; i++)
        if (np_text_is(module, odd_modules[i].module)) {
            set_answer(&apache->modules, odd_modules[i].file, answer);
            return;
        }
    if (np_text_ends_nocase(file, ".so"))
        file.len -= 3;
    if (file.len)
        set_answer(&apache->modules, np_sprintf(arena, "%.*s.c", (int)file.len, file.ptr), answer);
    if (np_text_ends_nocase(module, "_module"))
        set_answer(&apache->modules, np_sprintf(arena, "mod_%.*s.c", (int)(module.len - 7), module.ptr), answer);
}

static void add_modules(struct apache *apache, const char *names, enum answer answer)
{
    struct np_text rest = np_text_of(names ? names : ""), name;
    while (np_text_split(&rest, ' ', &name))
        if (name.len)
            add_module(apache, name, np_text_of(""), answer);
}

static void add_builtins(struct apache *apache)
{
    add_modules(apache, "core_module http_module so_module", YES);
    add_modules(apache, apache->place->builtins, YES);
    add_modules(apache, apache->place->never, NO);
}

static bool is_mpm(const char *name)
{
    static const char *const names[] = {"event.c",          "worker.c",          "prefork.c",
                                        "mpm_winnt.c",      "mpm_event_module",  "mpm_worker_module",
                                        "mpm_winnt_module", "mpm_prefork_module"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* A httpd that loads nothing has its modules built in, which the files do not say, and so may one that is not known to be
 * built by a distribution. */
static enum answer has_module(struct apache *apache, struct np_text argument)
{
    enum answer answer;
    const char *name = np_text_dup(apache->arena, argument);
    if (get_answer(&apache->modules, name, &answer))
        return answer;
    return !apache->place->closed || !apache->has_modules || (is_mpm(name) && !apache->has_mpm) ? MAYBE : NO;
}

/* What is not defined here may be by -D, which the files do not say. */
static enum answer is_defined(struct apache *apache, struct np_text argument)
{
    enum answer answer = MAYBE;
    get_answer(&apache->defines, np_text_dup(apache->arena, argument), &answer);
    return answer;
}

static bool has_drive(struct np_text path)
{
    const bool letter = path.len > 2 && ((path.ptr[0] | 0x20) >= 'a' && (path.ptr[0] | 0x20) <= 'z');
    return letter && path.ptr[1] == ':' && (path.ptr[2] == '/' || path.ptr[2] == '\\');
}

/* As httpd does it: by the names alone, whatever a link on the way leads to. `first`: where the names begin. */
static void resolve_dots(char *path, size_t first)
{
    struct np_text rest = np_text_of(path + first), name;
    char *to = path + first;
    while (np_text_split(&rest, '/', &name)) {
        if (!name.len || np_text_is(name, "."))
            continue;
        if (np_text_is(name, "..") && to > path + first) {
            while (to > path + first && *--to != '/')
                continue;
            continue;
        }
        if (np_text_is(name, "..") && first)
            continue;
        if (to > path + first)
            *to++ = '/';
        memmove(to, name.ptr, name.len);
        to += name.len;
    }
    *to = '\0';
}

/* Where the names of a path begin: behind "/", "C:/" or "//"; 0: it is relative. */
static size_t names_begin(struct np_text path, bool windows)
{
    if (windows && has_drive(path))
        return 3;
    if (!path.len || path.ptr[0] != '/')
        return 0;
    return windows && path.len > 1 && path.ptr[1] == '/' ? 2 : 1;
}

/* Where a path of Windows lies on this machine; of a pattern, the folders before it. NULL: on a drive that is not here. */
static const char *placed(struct apache *apache, const char *path)
{
    size_t n = strcspn(path, "*?[");
    if (!path[n])
        return np_files_beside(&apache->files, apache->files.open[0], np_text_of(path));
    while (n > 3 && path[n - 1] != '/')
        n--;
    const char *folder = np_files_beside(&apache->files, apache->files.open[0], (struct np_text){path, n});
    return folder ? np_sprintf(apache->arena, "%s%s%s", folder, np_text_ends_nocase(np_text_of(folder), "/") ? "" : "/",
                               path + n)
                  : NULL;
}

/* Relative to `server_root`. NULL: on a drive that is not here. */
static const char *path_below(struct apache *apache, const char *server_root, struct np_text path)
{
    const struct np_text root = np_text_of(server_root);
    const bool windows = has_drive(path) || has_drive(root);
    char *whole = np_text_dup(apache->arena, path);
    for (char *p = whole; windows && *p; p++)
        if (*p == '\\')
            *p = '/';
    const size_t begin = names_begin(np_text_of(whole), windows);
    if (!begin)
        whole = np_sprintf(apache->arena, "%s/%s", strcmp(root.ptr, "/") ? root.ptr : "", whole);
    else if (windows && begin == 1)
        whole = np_sprintf(apache->arena, "%.2s%s", root.ptr, whole);
    for (char *p = whole; windows && *p; p++)
        if (*p == '\\')
            *p = '/';
    resolve_dots(whole, names_begin(np_text_of(whole), windows));
    return has_drive(np_text_of(whole)) ? placed(apache, whole) : whole;
}

struct paths {
    const char *at[ROOTS_MAX];
    size_t n; /* 0: nowhere on this machine */
};

/* What a path may be, as the server's root may be several. */
static struct paths paths_of(struct apache *apache, struct np_text text)
{
    struct paths paths = {.n = 0};
    for (size_t i = 0; i < apache->n_roots; i++) {
        const char *path = path_below(apache, apache->roots[i], text);
        size_t j = 0;
        while (path && j < paths.n && strcmp(paths.at[j], path) != 0)
            j++;
        if (path && j == paths.n)
            paths.at[paths.n++] = path;
    }
    return paths;
}

static void find(struct apache *apache, struct np_position at, const char *pattern, const char *const **ret,
                 size_t *ret_n)
{
    if (is_certain(apache))
        np_files_glob(&apache->files, at, pattern, ret, ret_n);
    else
        np_files_find(&apache->files, at, pattern, ret, ret_n);
}

/* Is anything there? */
static bool is_there(struct apache *apache, struct np_position at, const char *path)
{
    const char *const *paths;
    size_t n;
    find(apache, at, np_files_literally(apache->arena, path), &paths, &n);
    return n > 0;
}

static bool has_glob(const struct apache *apache)
{
    return apache->files.include && apache->files.include->glob;
}

/* What ends in a slash, or a dot behind one, is a folder. */
static bool means_folder(struct np_text path)
{
    if (path.len && path.ptr[path.len - 1] == '.')
        path.len--;
    return path.len && path.ptr[path.len - 1] == '/';
}

static enum answer is_file(struct apache *apache, struct np_text argument)
{
    const struct paths paths = paths_of(apache, argument);
    size_t n = 0;
    if (!paths.n || !has_glob(apache))
        return MAYBE;
    for (size_t i = 0; i < paths.n; i++) {
        if (has_drive(np_text_of(paths.at[i])) && strpbrk(paths.at[i], "*?["))
            return MAYBE;
        const char *path = means_folder(argument) ? np_sprintf(apache->arena, "%s/.", paths.at[i]) : paths.at[i];
        n += is_there(apache, apache->at, path);
    }
    return n == paths.n ? YES : n ? MAYBE : NO;
}

static enum answer undecidable(struct apache *apache, struct np_text argument)
{
    (void)apache, (void)argument;
    return MAYBE;
}

static enum answer decide(struct apache *apache, struct np_text argument,
                          enum answer (*condition)(struct apache *, struct np_text))
{
    struct np_text word;
    const bool negated = takes(&argument, "!"); /* within quotes it is a part of the word */
    if (!next_word(apache->arena, &argument, &word))
        return MAYBE;
    const enum answer answer = has_reference(word) ? MAYBE : condition(apache, word);
    return negated ? not_of(answer) : answer;
}

static const struct {
    const char *name;
    enum answer (*condition)(struct apache *, struct np_text);
} conditions[] = {
    {"<IfModule", has_module},   {"<IfDefine", is_defined},     {"<IfFile", is_file},
    {"<IfVersion", undecidable}, {"<IfDirective", undecidable}, {"<IfSection", undecidable},
};

/* ---- Sections ------------------------------------------------------------------------------------------------- */

/* "ADDRESS>" of <VirtualHost ADDRESS>, without the end. */
static struct np_text argument_of(struct np_text text)
{
    const char *end = NULL;
    for (size_t i = text.len; i > 0 && !end; i--)
        if (text.ptr[i - 1] == '>')
            end = text.ptr + i - 1;
    return np_text_trim(end ? (struct np_text){text.ptr, (size_t)(end - text.ptr)} : text);
}

/* apr_parse_addr_port(): the digits at the end, if a colon or nothing is before them. *ret_address is what is left. */
static bool split_port(struct np_text text, struct np_text *ret_address, struct np_text *ret_port)
{
    size_t n = text.len;
    while (n && text.ptr[n - 1] >= '0' && text.ptr[n - 1] <= '9')
        n--;
    *ret_port = (struct np_text){text.ptr + n, text.len - n};
    *ret_address = (struct np_text){text.ptr, n ? n - 1 : 0};
    return ret_port->len && (n == 0 || text.ptr[n - 1] == ':');
}

static void add_vhost_address(struct apache *apache, struct vhost *vhost, struct np_text text)
{
    struct np_text address, digits;
    uint16_t port;
    if (split_port(text, &address, &digits)) {
        if (!np_text_port(digits, &port))
            np_files_warn(&apache->files, vhost->at, "VirtualHost \"%s\": not a port",
                          np_files_text(&apache->files, text));
        else
            *(struct vhost_port *)np_push(apache->arena, &apache->ports, &apache->n_ports, &apache->ports_capacity,
                                          sizeof *apache->ports) = (struct vhost_port){port, vhost, apache->n_ports};
    } else if (!vhost->every_port) {
        vhost->every_port = true;
        *(struct vhost **)np_push(apache->arena, &apache->any, &apache->n_any, &apache->any_capacity,
                                  sizeof *apache->any) = vhost;
    }
}

static struct vhost *open_vhost(struct apache *apache, struct np_position at, struct np_text argument)
{
    struct vhost *vhost = np_alloc(apache->arena, sizeof *vhost);
    const struct words words = words_of(apache, argument);
    *vhost = (struct vhost){.at = at, .addresses = np_files_text(&apache->files, argument)};
    for (size_t i = 0; i < words.n; i++)
        if (!has_reference(words.at[i]))
            add_vhost_address(apache, vhost, words.at[i]);
    return vhost;
}

static void push_section(struct apache *apache, struct section section)
{
    if (apache->n_sections >= SECTIONS_MAX) {
        apache->given_up = true;
        np_files_fail(&apache->files, NEXTPORT_BLIND, section.at, "more than %d sections in each other", SECTIONS_MAX);
        return;
    }
    *(struct section *)np_push(apache->arena, &apache->sections, &apache->n_sections, &apache->sections_capacity,
                               sizeof section) = section;
    apache->n_no += section.answer == NO;
    apache->n_maybe += section.answer == MAYBE;
    apache->n_context += section.context;
    if (section.vhost)
        apache->vhost = section.vhost;
}

static void pop_section(struct apache *apache)
{
    const struct section *section = &apache->sections[--apache->n_sections];
    apache->n_no -= section->answer == NO;
    apache->n_maybe -= section->answer == MAYBE;
    apache->n_context -= section->context;
    if (section->vhost)
        apache->vhost = NULL;
}

/* One value for certain, or else as it is. */
static struct np_text resolved(struct apache *apache, struct np_text text)
{
    if (!has_reference(text))
        return text;
    const struct variants variants = resolve(apache, text);
    return variants.n == 1 && !variants.too_many ? (struct np_text){variants.items[0].ptr, variants.items[0].len}
                                                 : text;
}

/* Code in another language, which may configure anything. */
static const char *const code_sections[] = {"<Perl", "<Lua"};

static void open_macro(struct apache *apache, struct np_text rest);

static void open_section(struct apache *apache, struct np_position at, struct np_text name, struct np_text rest)
{
    struct section section = {.name = name, .at = at, .answer = YES};
    if (apache->n_no) {
        push_section(apache, section);
        return;
    }
    const struct np_text argument = argument_of(resolved(apache, rest));
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++)
        if (np_text_is_nocase(name, conditions[i].name)) {
            section.answer = decide(apache, argument, conditions[i].condition);
            push_section(apache, section);
            return;
        }
    for (size_t i = 0; i < sizeof code_sections / sizeof *code_sections; i++)
        if (np_text_is_nocase(name, code_sections[i])) {
            np_files_gap(&apache->files, at, NULL, "%s>: code that is not run here may open ports", code_sections[i]);
            section.answer = NO;
        }
    if (np_text_is_nocase(name, "<Macro")) {
        open_macro(apache, argument);
        return;
    }
    if (np_text_is_nocase(name, "<VirtualHost"))
        section.vhost = open_vhost(apache, at, argument);
    else
        section.context = true;
    push_section(apache, section);
}

/* `base`: the sections that were open before this file or macro. */
static void close_section(struct apache *apache, struct np_position at, struct np_text name, size_t base)
{
    const struct np_text closed = {name.ptr + 2, name.len - 2};
    size_t n = apache->n_sections;
    for (; n > base; n--) {
        const struct np_text open = apache->sections[n - 1].name;
        if (np_text_is_nocase((struct np_text){open.ptr + 1, open.len - 1}, np_text_dup(apache->arena, closed)))
            break;
    }
    if (n < apache->n_sections || n == base)
        np_files_gap(&apache->files, at, "Mend it: httpd refuses such a configuration.",
                     "\"%s>\" does not close the section that is open", np_files_text(&apache->files, name));
    while (n > base && apache->n_sections >= n)
        pop_section(apache);
}

/* ---- Directives ----------------------------------------------------------------------------------------------- */

/* The file's name without its folders: it stays when the machine is looked at as an image. */
static const char *file_name(struct apache *apache, const char *path)
{
    return np_text_dup(apache->arena, base_of(np_text_of(path)));
}

static void keep_unresolved(struct apache *apache, struct np_position at, const char *shown)
{
    apache->n_unresolved++;
    np_files_claim(&apache->files, at,
                   (struct nextport_claim){.protocol = NEXTPORT_TCP,
                                           .kind = NEXTPORT_CONFIGURED,
                                           .certainty = NEXTPORT_UNRESOLVED,
                                           .holder = file_name(apache, apache->files.open[0]->name),
                                           .detail = np_sprintf(apache->arena, "Listen %s", shown)});
    np_files_gap(&apache->files, at, "Give httpd's environment by Define, or exclude the port with --exclude.",
                 "Listen \"%s\": a variable whose value is not known here", shown);
}

/* Numbers that could be the port when someone mends it. */
static void keep_malformed(struct apache *apache, struct np_position at, struct np_text text, const char *shown)
{
    apache->n_unresolved++;
    np_files_warn(&apache->files, at, "Listen \"%s\": not a port, or an address and a port: httpd refuses it", shown);
    struct nextport_claim claim = {.protocol = NEXTPORT_TCP,
                                   .kind = NEXTPORT_SUSPECT,
                                   .certainty = NEXTPORT_CONDITIONAL,
                                   .holder = file_name(apache, apache->files.open[0]->name),
                                   .detail = np_sprintf(apache->arena, "Listen %s", shown)};
    if (memchr(text.ptr, '.', text.len) || memchr(text.ptr, '[', text.len))
        return;
    for (size_t i = 0, n; i < text.len; i += n ? n : 1) {
        for (n = 0; i + n < text.len && text.ptr[i + n] >= '0' && text.ptr[i + n] <= '9'; n++)
            continue;
        if (np_text_port((struct np_text){text.ptr + i, n}, &claim.first)) {
            claim.last = claim.first;
            np_files_claim(&apache->files, at, claim);
        }
    }
}

static bool is_numeric_address(struct np_text text)
{
    bool colon = false, other = false;
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.ptr[i];
        colon = colon || c == ':';
        other = other || !((c >= '0' && c <= '9') || c == '.');
    }
    return colon || !other;
}

/* "*", "127.0.0.1", "[::1]"; NULL for a name, which may be any address. */
static const char *address_of(struct np_arena *arena, struct np_text text)
{
    if (!text.len || np_text_is(text, "*"))
        return "*";
    if (has_reference(text) || text.len > ADDRESS_MAX || !is_numeric_address(text))
        return NULL;
    const char *shown = np_text_dup(arena, text);
    return memchr(text.ptr, ':', text.len) && *text.ptr != '[' ? np_sprintf(arena, "[%s]", shown) : shown;
}

/* Digits as atoi() takes them where long has 64 bits: the lower 32 count. *ret_plain: other systems agree. */
static bool port_of(struct np_text digits, uint16_t *ret_port, bool *ret_plain)
{
    uint64_t number = 0;
    for (size_t i = 0; i < digits.len; i++) {
        const uint64_t digit = (uint64_t)(digits.ptr[i] - '0');
        if (number > (INT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    const uint32_t lower = (uint32_t)number;
    *ret_plain = lower == number;
    *ret_port = (uint16_t)lower;
    return lower > 0 && lower <= UINT16_MAX;
}

bool np_apache_listen(struct np_arena *arena, struct np_text args, uint16_t *ret_port, const char **ret_address)
{
    struct np_text where, address, digits;
    bool plain;
    if (!next_word(arena, &args, &where) || !split_port(where, &address, &digits) || !port_of(digits, ret_port, &plain))
        return false;
    *ret_address = address_of(arena, address);
    return true;
}

static void do_listen(struct apache *apache, struct np_position at, struct np_text args)
{
    const struct words words = words_of(apache, args);
    struct np_text address, digits;
    uint16_t port;
    bool plain;
    if (!words.n) {
        np_files_warn(&apache->files, at, "Listen without a port");
        return;
    }
    const struct np_text where = words.at[0];
    const char *shown = np_files_text(&apache->files, where);
    if (!split_port(where, &address, &digits) || !port_of(digits, &port, &plain)) {
        if (has_reference(where))
            keep_unresolved(apache, at, shown);
        else
            keep_malformed(apache, at, where, shown);
        return;
    }
    if (!plain)
        np_files_warn(&apache->files, at, "Listen \"%s\": not a port, but httpd may take it for %u", shown, port);
    const bool proto = words.n > 1 && !memchr(words.at[1].ptr, '=', words.at[1].len);
    if (apache->vhost || apache->n_context)
        np_files_warn(&apache->files, at, "Listen in a section, where httpd refuses it");
    struct listen *listen =
        np_push(apache->arena, &apache->listens, &apache->n_listens, &apache->listens_capacity, sizeof *listen);
    *listen = (struct listen){.at = at,
                              .port = port,
                              .conditional = !is_certain(apache) || !plain || has_reference(where) || apache->vhost ||
                                             apache->n_context,
                              .address = address_of(apache->arena, address),
                              .detail = np_sprintf(apache->arena, "Listen %s", shown)};
    listen->scheme = proto         ? lowered(apache->arena, np_text_of(np_files_text(&apache->files, words.at[1])))
                     : port == 443 ? "https"
                                   : "http";
}

static void do_define(struct apache *apache, struct np_position at, struct np_text args)
{
    const struct words words = words_of(apache, args);
    if (!words.n) {
        np_files_warn(&apache->files, at, "Define without a name");
        return;
    }
    const bool certain = is_certain(apache);
    const char *name = np_text_dup(apache->arena, words.at[0]);
    enum answer before = MAYBE;
    get_answer(&apache->defines, name, &before);
    set_answer(&apache->defines, name, certain || before == YES ? YES : MAYBE);
    if (words.n < 2)
        return;
    struct np_variable *variable = np_variable_at(&apache->variables, lowered(apache->arena, words.at[0]));
    if (has_reference(words.at[1]))
        variable->too_many = true;
    else
        np_variable_set(variable, np_text_dup(apache->arena, words.at[1]), certain);
}

static void do_undefine(struct apache *apache, struct np_position at, struct np_text args)
{
    (void)at;
    const struct words words = words_of(apache, args);
    if (!words.n)
        return;
    struct np_variable *variable = np_variable_at(&apache->variables, lowered(apache->arena, words.at[0]));
    if (is_certain(apache))
        np_variable_clear(variable);
    variable->maybe_unset = true;
    set_answer(&apache->defines, np_text_dup(apache->arena, words.at[0]), is_certain(apache) ? NO : MAYBE);
}

static void do_load_module(struct apache *apache, struct np_position at, struct np_text args)
{
    (void)at;
    const struct words words = words_of(apache, args);
    if (!words.n)
        return;
    enum answer answer = is_certain(apache) ? YES : MAYBE, before;
    if (get_answer(&apache->modules, np_text_dup(apache->arena, words.at[0]), &before) && before == YES)
        answer = YES;
    apache->has_modules = true;
    if (is_mpm(np_text_dup(apache->arena, words.at[0])))
        apache->has_mpm = true;
    add_module(apache, words.at[0], words.n > 1 ? words.at[1] : np_text_of(""), answer);
}

static void add_root(struct apache *apache, struct np_position at, const char *root)
{
    if (is_certain(apache))
        apache->n_roots = 0;
    for (size_t i = 0; i < apache->n_roots; i++)
        if (strcmp(apache->roots[i], root) == 0)
            return;
    if (apache->n_roots == ROOTS_MAX)
        np_files_gap(&apache->files, at, NULL, "ServerRoot may be more than %d folders", ROOTS_MAX);
    else
        apache->roots[apache->n_roots++] = root;
}

static void do_server_root(struct apache *apache, struct np_position at, struct np_text args)
{
    const struct words words = words_of(apache, args);
    if (!words.n || has_reference(words.at[0])) {
        np_files_gap(&apache->files, at, NULL, "ServerRoot \"%s\": not known here",
                     np_files_text(&apache->files, args));
        return;
    }
    char *root = np_text_dup(apache->arena, words.at[0]);
    for (size_t n = strlen(root); n > 1 && (root[n - 1] == '/' || root[n - 1] == '\\'); n--)
        root[n - 1] = '\0';
    add_root(apache, at, root);
}

/* "name:80", "https://name" */
static struct np_text host_of(struct np_text text)
{
    for (size_t i = 0; i + 2 < text.len; i++)
        if (memcmp(text.ptr + i, "://", 3) == 0) {
            text = (struct np_text){text.ptr + i + 3, text.len - i - 3};
            break;
        }
    const char *colon = memchr(text.ptr, ':', text.len);
    return colon && text.ptr[0] != '[' ? (struct np_text){text.ptr, (size_t)(colon - text.ptr)} : text;
}

static void do_server_name(struct apache *apache, struct np_position at, struct np_text args)
{
    (void)at;
    const struct words words = words_of(apache, args);
    if (apache->vhost && !apache->n_context && words.n && !has_reference(words.at[0]))
        apache->vhost->name = np_files_text(&apache->files, host_of(words.at[0]));
}

static void do_server_alias(struct apache *apache, struct np_position at, struct np_text args)
{
    (void)at;
    struct vhost *vhost = apache->vhost;
    struct np_text word;
    while (vhost && !apache->n_context && next_word(apache->arena, &args, &word))
        if (!has_reference(word))
            *(const char **)np_push(apache->arena, &vhost->aliases, &vhost->n_aliases, &vhost->aliases_capacity,
                                    sizeof *vhost->aliases) = np_files_text(&apache->files, word);
}

/* ---- Includes ------------------------------------------------------------------------------------------------- */

static enum nextport_status parse_file(void *ctx, const struct np_file *file);

/* What is broken in what may be left out is a gap, unless it is too much of something. */
static void forgive(struct apache *apache, const char *path)
{
    static const struct np_file unnamed; /* the text says where already */
    struct np_files *files = &apache->files;
    if (is_certain(apache) || files->status == NEXTPORT_OK || apache->given_up || files->n_parsed > NP_FILES_MAX ||
        files->n_bytes > NP_FILES_BYTES_MAX)
        return;
    np_files_gap(files, (struct np_position){.file = &unnamed}, NULL, "%s", files->err->text);
    files->status = NEXTPORT_OK;
    *np_map_at(&apache->forgiven, path) = apache;
}

/* What cannot be read is said once, which may have been where it was forgiven. */
static void forgive_no_more(struct apache *apache, struct np_position at, const char *path)
{
    const struct np_file *file;
    const char *why;
    if (is_certain(apache) && *np_map_at(&apache->forgiven, path) &&
        np_files_try(&apache->files, path, &file, &why) == NP_READ_BAD)
        np_files_fail(&apache->files, NEXTPORT_BLIND, at, "%s: %s", np_files_shown(&apache->files, path), why);
}

static void include_path(struct apache *apache, struct np_position at, const char *path, bool optional);

/* A folder is all that is in it, and in the folders below. */
static bool include_folder(struct apache *apache, struct np_position at,
                           const char *path) /* NOLINT(misc-no-recursion) */
{
    static const char *const patterns[] = {".*", "*"};
    if (!has_glob(apache) || !is_there(apache, at, np_sprintf(apache->arena, "%s/.", path)))
        return false;
    if (++apache->n_folders > FOLDERS_MAX) {
        apache->given_up = true;
        np_files_fail(&apache->files, NEXTPORT_BLIND, at, "more than %d folders included", FOLDERS_MAX);
    }
    for (size_t i = 0; i < 2; i++) {
        const char *const *paths;
        size_t n;
        find(apache, at, np_sprintf(apache->arena, "%s/%s", np_files_literally(apache->arena, path), patterns[i]),
             &paths, &n);
        for (size_t j = 0; j < n && !apache->given_up; j++)
            include_path(apache, at, paths[j], false);
    }
    return true;
}

/* A file or a folder, not a pattern. There are more files: that it is one shows when it is read. */
static void include_path(struct apache *apache, struct np_position at, const char *path,
                         bool optional) /* NOLINT(misc-no-recursion) */
{
    struct np_files *files = &apache->files;
    const bool was_fine = files->status == NEXTPORT_OK;
    enum nextport_status ignored;
    if (!np_files_include_readable(files, at, path, parse_file, apache, &ignored) &&
        !include_folder(apache, at, path) && (!optional || np_files_open(files, at, path)))
        np_files_include_path(files, at, path, parse_file, apache);
    if (was_fine)
        forgive(apache, path);
    forgive_no_more(apache, at, path);
}

static void include(struct apache *apache, struct np_position at, const char *path, bool optional)
{
    if (!strpbrk(path, "*?[")) {
        include_path(apache, at, path, optional);
        return;
    }
    const char *const *paths;
    size_t n;
    find(apache, at, path, &paths, &n);
    for (size_t i = 0; i < n && !apache->given_up; i++)
        include_path(apache, at, paths[i], false);
}

static void do_include_of(struct apache *apache, struct np_position at, struct np_text args, bool optional)
{
    const struct words words = words_of(apache, args);
    if (words.n != 1) {
        np_files_warn(&apache->files, at, "Include takes one path");
        return;
    }
    const char *shown = np_files_text(&apache->files, words.at[0]);
    const struct paths paths = has_reference(words.at[0]) ? (struct paths){.n = 0} : paths_of(apache, words.at[0]);
    if (!paths.n) {
        np_files_gap(&apache->files, at, NULL, "Include \"%s\": where that is is not known here", shown);
        return;
    }
    const bool several = paths.n > 1;
    apache->n_maybe += several;
    for (size_t i = 0; i < paths.n && !apache->given_up; i++)
        include(apache, at, paths.at[i], optional || several);
    apache->n_maybe -= several;
}

static void do_include(struct apache *apache, struct np_position at, struct np_text args)
{
    do_include_of(apache, at, args, false);
}

static void do_include_optional(struct apache *apache, struct np_position at, struct np_text args)
{
    do_include_of(apache, at, args, true);
}

/* ---- Macros --------------------------------------------------------------------------------------------------- */

static void do_line(struct apache *apache, struct line line, size_t base);

static void open_macro(struct apache *apache, struct np_text rest)
{
    struct words words = words_of(apache, rest);
    struct macro *macro = np_alloc(apache->arena, sizeof *macro);
    macro->certain = is_certain(apache);
    if (words.n) {
        macro->n_parameters = words.n - 1;
        macro->parameters = np_alloc_array(apache->arena, words.n, sizeof *macro->parameters);
        for (size_t i = 0; i < macro->n_parameters; i++)
            macro->parameters[i] = np_text_of(np_text_dup(apache->arena, words.at[i + 1]));
        void **at = np_map_at(&apache->macros, lowered(apache->arena, words.at[0]));
        macro->other = macro->certain ? NULL : *at;
        *at = macro;
    }
    apache->collecting = macro;
    apache->collected_depth = 1;
}

static void collect(struct apache *apache, struct line line)
{
    struct np_text rest = line.text, word;
    struct macro *macro = apache->collecting;
    if (next_word(apache->arena, &rest, &word)) {
        if (word.len && word.ptr[word.len - 1] == '>')
            word.len--;
        if (np_text_is_nocase(word, "<Macro"))
            apache->collected_depth++;
        else if (np_text_is_nocase(word, "</Macro") && --apache->collected_depth == 0) {
            apache->collecting = NULL;
            return;
        }
    }
    line.text = np_text_of(np_text_dup(apache->arena, line.text));
    *(struct line *)np_push(apache->arena, &macro->lines, &macro->n, &macro->capacity, sizeof line) = line;
}

/* The longest parameter that stands here. -1: none. */
static int parameter_at(const struct macro *macro, struct np_text text)
{
    int found = -1;
    for (size_t i = 0; i < macro->n_parameters; i++) {
        const struct np_text p = macro->parameters[i];
        if (p.len && p.len <= text.len && memcmp(p.ptr, text.ptr, p.len) == 0 &&
            (found < 0 || p.len > macro->parameters[found].len))
            found = (int)i;
    }
    return found;
}

static struct np_text substitute(struct apache *apache, const struct macro *macro, const struct words *args,
                                 struct np_text text)
{
    struct np_buf buf = {.arena = apache->arena};
    np_buf_add(&buf, "", 0);
    while (text.len) {
        const int i = parameter_at(macro, text);
        const size_t n = i < 0 ? 1 : macro->parameters[i].len;
        if (i < 0)
            np_buf_add(&buf, text.ptr, 1);
        else
            np_buf_add(&buf, args->at[i + 1].ptr, args->at[i + 1].len);
        text = (struct np_text){text.ptr + n, text.len - n};
        if (apache->macro_bytes + buf.len > MACRO_BYTES_MAX)
            break;
    }
    return (struct np_text){buf.ptr, buf.len};
}

/* At the end of the file httpd closes a section that it took because of a condition, and refuses any other. */
static void end_sections(struct apache *apache, size_t base)
{
    for (size_t i = apache->n_sections; i > base && !apache->given_up; i--) {
        const struct section *open = &apache->sections[i - 1];
        const char *name = np_files_text(&apache->files, open->name);
        if (open->answer == YES && !open->context && !open->vhost) {
            np_files_gap(&apache->files, open->at, "Close it: the file may have been cut short.", "%s> is not closed",
                         name);
            continue;
        }
        np_files_fail(&apache->files, NEXTPORT_RETRY, open->at, "%s> is not closed", name);
        break;
    }
    while (apache->n_sections > base)
        pop_section(apache);
}

/* For what a macro makes? Each line, and each macro that may be meant, counts as more than its bytes: empty ones end, too. */
static bool has_room(struct apache *apache, struct np_position at, size_t n_bytes)
{
    apache->macro_bytes += n_bytes + 64;
    if (apache->macro_bytes <= MACRO_BYTES_MAX)
        return true;
    apache->given_up = true;
    np_files_fail(&apache->files, NEXTPORT_BLIND, at, "macros make more than %d bytes", MACRO_BYTES_MAX);
    return false;
}

static void run_macro(struct apache *apache, struct np_position at, struct macro *macro, const struct words *args)
{
    const size_t base = apache->n_sections;
    macro->used = true;
    apache->macro_depth++;
    apache->n_maybe += !macro->certain;
    for (size_t i = 0; i < macro->n && !apache->given_up; i++) {
        const struct np_text text = substitute(apache, macro, args, macro->lines[i].text);
        if (has_room(apache, at, text.len))
            do_line(apache, (struct line){skip_blanks(text), at}, base);
    }
    end_sections(apache, base);
    apache->n_maybe -= !macro->certain;
    apache->macro_depth--;
    macro->used = false;
}

static void use_macro(struct apache *apache, struct np_position at, struct macro *macro, const struct words *words,
                      struct np_text args)
{
    const char *why = macro->used                             ? "it uses itself"
                      : macro->n_parameters != words->n - 1   ? "another number of arguments"
                      : apache->macro_depth > MACRO_DEPTH_MAX ? "macros used too deep"
                                                              : NULL;
    if (why)
        np_files_gap(&apache->files, at, NULL, "Use \"%s\": %s", np_files_text(&apache->files, args), why);
    else
        run_macro(apache, at, macro, words);
}

static void do_use(struct apache *apache, struct np_position at, struct np_text args)
{
    const struct words words = words_of(apache, args);
    struct macro *first = words.n ? *np_map_at(&apache->macros, lowered(apache->arena, words.at[0])) : NULL;
    const bool several = first && first->other;
    if (!first)
        np_files_gap(&apache->files, at, NULL, "Use \"%s\": no such macro", np_files_text(&apache->files, args));
    apache->n_maybe += several;
    for (struct macro *macro = first; macro && !apache->given_up && has_room(apache, at, 0); macro = macro->other)
        use_macro(apache, at, macro, &words, args);
    apache->n_maybe -= several;
}

static void do_undef_macro(struct apache *apache, struct np_position at, struct np_text args)
{
    (void)at;
    const struct words words = words_of(apache, args);
    if (words.n && is_certain(apache))
        *np_map_at(&apache->macros, lowered(apache->arena, words.at[0])) = NULL;
}

/* ---- Lines ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*directive)(struct apache *, struct np_position, struct np_text args);
} directives[] = {
    {"Define", do_define},
    {"Include", do_include},
    {"IncludeOptional", do_include_optional},
    {"Listen", do_listen},
    {"LoadModule", do_load_module},
    {"ServerAlias", do_server_alias},
    {"ServerName", do_server_name},
    {"ServerRoot", do_server_root},
    {"UnDefine", do_undefine},
    {"UndefMacro", do_undef_macro},
    {"Use", do_use},
};

/* Where conditions decide what a variable is, for each of its values. */
static void do_variants(struct apache *apache, struct np_position at, size_t row, struct np_text args)
{
    const struct variants variants = resolve(apache, args);
    if (variants.too_many)
        np_files_gap(&apache->files, at, NULL, "%s: its variables have too many values", directives[row].name);
    apache->n_maybe += variants.n > 1;
    for (size_t i = 0; i < variants.n && !apache->given_up; i++)
        directives[row].directive(apache, at, (struct np_text){variants.items[i].ptr, variants.items[i].len});
    apache->n_maybe -= variants.n > 1;
}

static void do_directive(struct apache *apache, struct np_position at, struct np_text name, struct np_text args)
{
    apache->has_directives = true;
    args = skip_blanks(args);
    for (size_t i = 0; i < sizeof directives / sizeof *directives; i++)
        if (np_text_is_nocase(name, directives[i].name)) {
            if (has_reference(args))
                do_variants(apache, at, i, args);
            else
                directives[i].directive(apache, at, args);
            return;
        }
}

static void do_words(struct apache *apache, struct np_position at, struct np_text name, struct np_text rest,
                     size_t base) /* NOLINT(misc-no-recursion) */
{
    if (*name.ptr != '<') {
        if (!apache->n_no)
            do_directive(apache, at, name, rest);
        return;
    }
    if (name.ptr[name.len - 1] == '>')
        name.len--;
    if (name.len > 1 && name.ptr[1] == '/')
        close_section(apache, at, name, base);
    else
        open_section(apache, at, name, rest);
}

/* httpd puts variables in before it looks for the directive's name. */
static void do_named_by_variable(struct apache *apache, struct line line, size_t base) /* NOLINT(misc-no-recursion) */
{
    const struct variants variants = resolve(apache, line.text);
    const bool several = variants.n > 1;
    bool known = !variants.too_many;
    apache->has_directives = true;
    apache->n_maybe += several;
    for (size_t i = 0; i < variants.n && !apache->given_up; i++) {
        struct np_text rest = {variants.items[i].ptr, variants.items[i].len}, name;
        if (!next_word(apache->arena, &rest, &name) || !name.len)
            continue;
        if (has_reference(name) || (several && *name.ptr == '<'))
            known = false;
        else
            do_words(apache, line.at, name, rest, base);
    }
    apache->n_maybe -= several;
    if (!known)
        np_files_gap(&apache->files, line.at, NULL, "\"%s\": which directive that is is not known here",
                     np_files_text(&apache->files, line.text));
}

static void do_line(struct apache *apache, struct line line, size_t base) /* NOLINT(misc-no-recursion) */
{
    struct np_text rest = line.text, word;
    if (!rest.len || *rest.ptr == '#')
        return;
    if (apache->collecting) {
        collect(apache, line);
        return;
    }
    if (!next_word(apache->arena, &rest, &word) || !word.len)
        return;
    apache->at = line.at;
    if (!apache->n_no && has_reference(word))
        do_named_by_variable(apache, line, base);
    else
        do_words(apache, line.at, word, rest, base);
}

/* The next line, with those that it goes on in. A comment goes on too. */
static bool next_line(struct apache *apache, struct np_cursor *c, struct line *ret)
{
    struct np_text text;
    struct np_buf joined = {.arena = apache->arena};
    ret->at = np_cursor_position(c);
    if (!np_cursor_line(c, &text))
        return false;
    while (text.len && text.ptr[text.len - 1] == '\\') {
        np_buf_add(&joined, text.ptr, text.len - 1);
        if (!np_cursor_line(c, &text))
            text.len = 0;
    }
    if (joined.ptr) {
        np_buf_add(&joined, text.ptr, text.len);
        text = (struct np_text){joined.ptr, joined.len};
    }
    ret->text = skip_blanks(text);
    if (!joined.ptr)
        ret->at.column += (unsigned)(text.len - ret->text.len);
    return true;
}

static enum nextport_status parse_file(void *ctx, const struct np_file *file)
{
    struct apache *apache = ctx;
    struct np_cursor c;
    struct line line;
    const size_t base = apache->n_sections;
    const struct np_position whole = {.file = file};
    if (file->bytes.len && memchr(file->bytes.ptr, '\0', file->bytes.len)) {
        np_files_fail(&apache->files, NEXTPORT_BLIND, whole, "not a text");
        return NEXTPORT_OK;
    }
    np_cursor_init(&c, file);
    while (!apache->given_up && next_line(apache, &c, &line))
        do_line(apache, line, base);
    if (apache->collecting && !apache->given_up) {
        np_files_fail(&apache->files, NEXTPORT_RETRY, whole, "<Macro> is not closed");
        apache->collecting = NULL;
    }
    end_sections(apache, base);
    return NEXTPORT_OK;
}

/* ---- Claims --------------------------------------------------------------------------------------------------- */

static int by_port(const void *a, const void *b)
{
    const struct vhost_port *one = a, *other = b;
    if (one->port != other->port)
        return one->port < other->port ? -1 : 1;
    return one->order < other->order ? -1 : one->order > other->order;
}

/* The first of the port, in order of ports. */
static size_t first_of(const struct apache *apache, uint16_t port)
{
    size_t low = 0, high = apache->n_ports;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (apache->ports[middle].port < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void claim_vhost(struct apache *apache, const struct listen *listen, const struct vhost *vhost)
{
    struct nextport_claim claim = {.first = listen->port,
                                   .last = listen->port,
                                   .protocol = NEXTPORT_TCP,
                                   .kind = NEXTPORT_CONFIGURED,
                                   .certainty = listen->conditional ? NEXTPORT_CONDITIONAL : NEXTPORT_DECLARED,
                                   .address = listen->address,
                                   .holder = vhost->name ? vhost->name : file_name(apache, vhost->at.file->name),
                                   .host = vhost->name,
                                   .scheme = listen->scheme};
    claim.detail = np_sprintf(apache->arena, "%s, VirtualHost %s", listen->detail, vhost->addresses);
    np_files_claim(&apache->files, vhost->at, claim);
    for (size_t i = 0; i < vhost->n_aliases && apache->files.n_claims <= NP_FILES_CLAIMS_MAX; i++) {
        claim.host = vhost->aliases[i];
        np_files_claim(&apache->files, vhost->at, claim);
    }
}

/* One claim for each name that answers there; the server itself where there is none. */
static void claim_listen(struct apache *apache, const struct listen *listen)
{
    const struct vhost *last = NULL;
    size_t n = 0;
    for (size_t i = first_of(apache, listen->port);
         i < apache->n_ports && apache->ports[i].port == listen->port && apache->files.n_claims <= NP_FILES_CLAIMS_MAX;
         i++) {
        if (apache->ports[i].vhost != last && !apache->ports[i].vhost->every_port) {
            claim_vhost(apache, listen, apache->ports[i].vhost);
            n++;
        }
        last = apache->ports[i].vhost;
    }
    for (size_t i = 0; i < apache->n_any && apache->files.n_claims <= NP_FILES_CLAIMS_MAX; i++, n++)
        claim_vhost(apache, listen, apache->any[i]);
    if (n)
        return;
    np_files_claim(&apache->files, listen->at,
                   (struct nextport_claim){.first = listen->port,
                                           .last = listen->port,
                                           .protocol = NEXTPORT_TCP,
                                           .kind = NEXTPORT_CONFIGURED,
                                           .certainty = listen->conditional ? NEXTPORT_CONDITIONAL : NEXTPORT_DECLARED,
                                           .address = listen->address,
                                           .holder = file_name(apache, apache->files.open[0]->name),
                                           .scheme = listen->scheme,
                                           .detail = listen->detail});
}

/* A port of a virtual host that nothing opens. */
static void warn_of_unheard(struct apache *apache)
{
    unsigned char heard[UINT16_MAX / 8 + 1] = {0};
    for (size_t i = 0; i < apache->n_listens; i++)
        heard[apache->listens[i].port / 8] |= (unsigned char)(1u << apache->listens[i].port % 8);
    for (size_t i = 0; i < apache->n_ports && !apache->n_unresolved; i++) {
        const uint16_t port = apache->ports[i].port;
        if ((i == 0 || apache->ports[i - 1].port != port) && !(heard[port / 8] & 1u << port % 8))
            np_files_warn(&apache->files, apache->ports[i].vhost->at,
                          "VirtualHost %s: no Listen opens port %u, so that nothing answers there",
                          apache->ports[i].vhost->addresses, port);
    }
}

/* ---- The command line ----------------------------------------------------------------------------------------- */

/* The value of the environment's variable; empty: it has none that is known. */
static struct np_text set_to(struct apache *apache, const char *name, struct np_position *ret_at)
{
    const struct np_variable *variable = name ? np_variable_at(&apache->environment, name) : NULL;
    if (!variable || variable->n == 0)
        return (struct np_text){0};
    if (variable->n > 1 || variable->too_many)
        np_files_warn(&apache->files, variable->at, "%s may have several values, of which one is looked at", name);
    *ret_at = variable->at;
    return np_text_of(variable->values[0]);
}

static void define(struct apache *apache, struct np_text name)
{
    set_answer(&apache->defines, np_text_dup(apache->arena, name), is_certain(apache) ? YES : MAYBE);
}

static void option_directive(struct apache *apache, struct np_position at, struct np_text text)
{
    do_line(apache, (struct line){skip_blanks(text), at}, apache->n_sections);
}

static void option_late_directive(struct apache *apache, struct np_position at, struct np_text text)
{
    *(struct line *)np_push(apache->arena, &apache->late, &apache->n_late, &apache->late_capacity,
                            sizeof *apache->late) = (struct line){skip_blanks(text), at};
}

static void option_define(struct apache *apache, struct np_position at, struct np_text name)
{
    (void)at;
    define(apache, name);
}

/* Another main file: both count. */
static void option_file(struct apache *apache, struct np_position at, struct np_text path)
{
    const struct paths others = paths_of(apache, path);
    for (size_t i = 0; i < others.n; i++)
        if (strcmp(others.at[i], apache->files.open[0]->path) != 0)
            option_late_directive(apache, at, np_text_of(np_sprintf(apache->arena, "Include \"%s\"", others.at[i])));
}

static void option_root(struct apache *apache, struct np_position at, struct np_text path)
{
    do_server_root(apache, at, path);
}

static const struct {
    char letter;
    void (*option)(struct apache *, struct np_position, struct np_text);
} options[] = {{'C', option_directive},
               {'D', option_define},
               {'c', option_late_directive},
               {'d', option_root},
               {'f', option_file}};

static void do_options(struct apache *apache, struct np_position at, struct np_text words)
{
    struct np_text word;
    while (np_apache_option_word(apache->arena, &words, &word)) {
        if (word.len < 2 || word.ptr[0] != '-')
            continue;
        const char letter = word.ptr[1];
        for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
            struct np_text value = {word.ptr + 2, word.len - 2};
            if (letter == options[i].letter && (value.len || np_apache_option_word(apache->arena, &words, &value)))
                options[i].option(apache, at, value);
        }
    }
}

/* Modules that a start script will load, and files that it will include. What it has generated may be older. */
static void do_generated(struct apache *apache, const struct np_apache_environment *from)
{
    struct np_position at = {.file = apache->files.open[0]};
    struct np_text words = set_to(apache, from->modules, &at), word;
    while (np_apache_option_word(apache->arena, &words, &word)) {
        word = base_of(word);
        takes(&word, "mod_");
        if (np_text_ends_nocase(word, ".so"))
            word.len -= 3;
        enum answer before;
        const char *id = np_sprintf(apache->arena, "%.*s_module", (int)word.len, word.ptr);
        apache->has_modules = true;
        if (!get_answer(&apache->modules, id, &before))
            add_module(apache, np_text_of(id), np_text_of(""), MAYBE);
    }
    for (size_t i = 0; i < sizeof from->includes / sizeof *from->includes; i++) {
        words = set_to(apache, from->includes[i], &at);
        while (np_apache_option_word(apache->arena, &words, &word)) {
            const char *path = np_files_beside(&apache->files, apache->files.open[0], word);
            option_late_directive(apache, at, np_text_of(np_sprintf(apache->arena, "IncludeOptional \"%s\"", path)));
        }
    }
}

/* What the start script says before the main file. */
static void begin(struct apache *apache, const struct np_file *file)
{
    const struct np_apache_environment *from = apache->place->environment;
    struct np_position at = {.file = file};
    np_apache_environment(&apache->files, file, apache->place, &apache->environment);
    for (size_t i = 0; i < 2 && apache->place->before[i]; i++)
        do_include_optional(apache, at, np_text_of(apache->place->before[i]));
    if (!from)
        return;
    apache->n_maybe += from->maybe;
    struct np_text words = set_to(apache, from->flags, &at), word;
    while (np_apache_option_word(apache->arena, &words, &word)) {
        takes(&word, "-D");
        if (word.len)
            define(apache, word);
    }
    words = set_to(apache, from->options, &at);
    do_options(apache, at, words);
    do_generated(apache, from);
    apache->n_maybe -= from->maybe;
}

/* And what it says after it. */
static void end(struct apache *apache)
{
    const bool maybe = apache->place->environment && apache->place->environment->maybe;
    const struct np_position at = {.file = apache->files.open[0]};
    if (apache->place->after)
        do_include_optional(apache, at, np_text_of(apache->place->after));
    apache->n_maybe += maybe;
    for (size_t i = 0; i < apache->n_late && !apache->given_up; i++)
        do_line(apache, apache->late[i], apache->n_sections);
    apache->n_maybe -= maybe;
}

/* ---- One configuration ---------------------------------------------------------------------------------------- */

static bool is_beside(void *ctx, const char *path)
{
    struct apache *apache = ctx;
    return is_there(apache, (struct np_position){.file = apache->files.open[0]}, path);
}

static enum nextport_status parse_main(void *ctx, const struct np_file *file)
{
    struct apache *apache = ctx;
    apache->place = np_apache_place_of(file->path, is_beside, apache);
    add_root(apache, (struct np_position){.file = file}, np_apache_root(apache->arena, apache->place, file->path));
    add_builtins(apache);
    begin(apache, file);
    apache->has_directives = false;
    const enum nextport_status status = parse_file(apache, file);
    const bool has_directives = apache->has_directives;
    if (status == NEXTPORT_OK && !apache->given_up)
        end(apache);
    apache->has_directives = has_directives;
    return status;
}

static enum nextport_status parse(struct np_evidence *ret, const char *file, struct np_text bytes,
                                  const struct np_include *include, struct nextport_error *err)
{
    const struct np_map map = {.arena = ret->arena};
    struct apache apache = {.arena = ret->arena,
                            .variables.map = map,
                            .environment.map = map,
                            .defines = map,
                            .modules = map,
                            .macros = map,
                            .forgiven = map};
    np_files_init(&apache.files, "apache", ret, include, err);
    np_files_main(&apache.files, file, bytes, parse_main, &apache);
    if (apache.n_ports > 1)
        qsort(apache.ports, apache.n_ports, sizeof *apache.ports, by_port);
    for (size_t i = 0; i < apache.n_listens && apache.files.n_claims <= NP_FILES_CLAIMS_MAX; i++)
        claim_listen(&apache, &apache.listens[i]);
    warn_of_unheard(&apache);
    const struct np_position whole = {.file = apache.files.open[0]};
    if (!apache.has_directives && !apache.given_up && apache.files.status == NEXTPORT_OK) {
        np_files_fail(&apache.files, NEXTPORT_RETRY, whole, "no directive in it");
        np_hint(err, "Give the main file, apache2.conf or httpd.conf.");
    } else if (!apache.n_listens && !apache.n_unresolved) {
        np_files_warn(&apache.files, whole, "no Listen, without which httpd does not start");
    }
    return np_files_finish(&apache.files);
}

/* ---- The look at a machine ------------------------------------------------------------------------------------ */

enum nextport_status np_apache_found(struct np_look *look, const char *const **ret, struct nextport_error *err)
{
    static const struct np_service_files services[] = {
        {.program = "httpd", .file = 'f', .prefix = 'd', .valued = "CDEcdefk", .base = "/etc/httpd"},
        {.program = "apache2", .file = 'f', .prefix = 'd', .valued = "CDEcdefk", .base = "/etc/apache2"}};
    static const char *const signs[] = {"/usr/sbin/httpd", "/usr/sbin/apache2"};
    *ret = np_apache_patterns(look);
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        if ((look->settings->root || np_reader_exists(look->reader, signs[i])) &&
            np_services_files(look, &np_source_apache, &services[i], *ret, ret, err) != NEXTPORT_OK)
            return err->status;
    return NEXTPORT_OK;
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    const char *const *places;
    if (np_apache_found(look, &places, err) != NEXTPORT_OK)
        return err->status;
    return np_files_look(look, &np_source_apache, &look->settings->apache_files, places, err);
}

static const char *const programs[] = {"apache2", "httpd", "httpd.worker", NULL};

const struct np_source np_source_apache = {
    .name = "apache",
    .about = "Listen lines of Apache httpd, running or not, with their virtual hosts",
    .policy = NEXTPORT_REQUIRE,
    .files = true,
    .adopts = "project",
    .programs = programs,
    .look = look,
    .parse = parse,
    .dump = np_apache_dump,
};
