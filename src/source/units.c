/* systemd's unit files.
 * SPDX-License-Identifier: MIT */
#include "source/units.h"

#include <stdlib.h>
#include <string.h>

enum {
    ALIASES_MAX = 16,             /* links from name to name */
    LINE_MAX_BYTES = 1024 * 1024, /* longer ones systemd refuses, with all that follows */
    FILLED_MAX = 4 * 1024 * 1024, /* bytes of variables in the words of one unit */
    DROP_INS_MAX = 500000,        /* of a manager's units together, each with each of its other names */
};

const char *const np_units_system_folders[] = {"/etc/systemd/system.control", "/run/systemd/system.control",
                                               "/run/systemd/transient",      "/run/systemd/generator.early",
                                               "/etc/systemd/system",         "/etc/systemd/system.attached",
                                               "/run/systemd/system",         "/run/systemd/system.attached",
                                               "/run/systemd/generator",      "/usr/local/lib/systemd/system",
                                               "/lib/systemd/system",         "/usr/lib/systemd/system",
                                               "/run/systemd/generator.late", NULL};

const char *const np_units_user_folders[] = {"/etc/xdg/systemd/user",
                                             "/etc/systemd/user",
                                             "/run/systemd/user",
                                             "/usr/local/share/systemd/user",
                                             "/usr/share/systemd/user",
                                             "/usr/local/lib/systemd/user",
                                             "/lib/systemd/user",
                                             "/usr/lib/systemd/user",
                                             NULL};

struct names {
    const char **items;
    size_t n, capacity;
};

/* What a folder has under a unit's name; the folder that counts most is the only one that matters. */
struct entry {
    const char *path;
    const char *alias; /* the unit of which this is another name */
    bool masked;
};

/* The other names of what has a name, whether there is a file of it or it is an instance. */
struct aliases {
    struct names names;
    struct names sifted; /* those, and theirs, that may have drop-ins, in the order that counts */
    bool is_sifted;
};

/* The folders that have drop-ins under a name, a bit for each. */
struct places {
    uint64_t folders;
};

struct instances {
    const struct np_unit **units;
    size_t n, capacity;
};

/* ---- Names ---------------------------------------------------------------------------------------------------- */

static bool is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *suffix_of(const struct np_units *units, const char *name)
{
    for (size_t i = 0; units->place->suffixes[i]; i++)
        if (np_text_ends(np_text_of(name), units->place->suffixes[i]))
            return units->place->suffixes[i];
    return NULL;
}

/* Editors and packagers leave files beside units whose names are none. */
static bool is_valid(const char *name)
{
    static const char others[] = "@:-_.\\0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const size_t len = strlen(name);
    return len < 256 && *name != '.' && *name != '@' && strspn(name, others) == len;
}

/* A file that a person named may have none. */
static const char *without_suffix(struct np_arena *arena, const char *name, const char *suffix)
{
    return np_text_ends(np_text_of(name), suffix) ? np_strndup(arena, name, strlen(name) - strlen(suffix)) : name;
}

static void add_name(struct np_units *units, struct names *names, const char *name)
{
    *(const char **)np_push(units->arena, &names->items, &names->n, &names->capacity, sizeof *names->items) = name;
}

static struct np_unit *make_unit(struct np_units *units, const char *name, const char *path, const char *suffix)
{
    struct np_unit *unit = np_alloc(units->arena, sizeof *unit);
    char *stem = np_strdup(units->arena, without_suffix(units->arena, name, suffix)), *at = strchr(stem, '@');
    *unit = (struct np_unit){.name = name, .path = path, .suffix = suffix, .prefix = stem};
    if (at) {
        *at = '\0';
        unit->instance = at + 1;
    }
    return unit;
}

bool np_unit_is_template(const struct np_unit *unit)
{
    return unit->instance && !*unit->instance;
}

/* "shop@blue.socket": "shop@.socket"; NULL: no instance. */
static const char *template_of(struct np_arena *arena, const char *name)
{
    const char *at = strchr(name, '@'), *dot = at ? strrchr(at, '.') : NULL;
    if (!dot || dot == at + 1)
        return NULL;
    return np_sprintf(arena, "%.*s%s", (int)(at + 1 - name), name, dot);
}

static bool is_template(const char *name)
{
    const char *at = strchr(name, '@');
    return at && at[1] == '.' && !strchr(at + 2, '.');
}

/* The instance of another template that `name` is of its own. */
static const char *instance_of(struct np_arena *arena, const char *template, const char *name)
{
    const char *from = strchr(name, '@') + 1, *dot = strrchr(from, '.'), *at = strchr(template, '@');
    return np_sprintf(arena, "%.*s%.*s%s", (int)(at + 1 - template), template, (int)(dot - from), from, at + 1);
}

/* ---- Folders -------------------------------------------------------------------------------------------------- */

/* An absolute path without ".", ".." and empty parts. */
static const char *normal(struct np_arena *arena, const char *path)
{
    char *out = np_alloc(arena, strlen(path) + 2), *end = out;
    struct np_text rest = np_text_of(path), part;
    while (np_text_split(&rest, '/', &part)) {
        if (part.len == 0 || np_text_is(part, "."))
            continue;
        if (np_text_is(part, "..")) {
            while (end > out && *--end != '/')
                ;
            *end = '\0';
            continue;
        }
        *end++ = '/';
        memcpy(end, part.ptr, part.len);
        end += part.len;
        *end = '\0';
    }
    return out;
}

static char *join(struct np_units *units, const char *folder, const char *name)
{
    const size_t n = strlen(folder), len = strlen(name);
    char *path = np_alloc(units->arena, n + len + 2);
    memcpy(path, folder, n);
    path[n] = '/';
    memcpy(path + n + 1, name, len + 1);
    return path;
}

static const char *target_of(struct np_units *units, const char *folder, const char *link)
{
    return normal(units->arena, *link == '/' ? link : join(units, folder, link));
}

static bool is_null(struct np_units *units, const char *folder, const struct np_entry *entry)
{
    return entry->link && strcmp(target_of(units, folder, entry->link), "/dev/null") == 0;
}

/* One of our folders; to systemd what lies deeper in them is theirs as well. */
static bool is_ours(const struct np_units *units, struct np_text folder)
{
    for (size_t i = 0; units->place->folders[i]; i++) {
        const size_t n = strlen(units->place->folders[i]);
        if (np_text_is(folder, units->place->folders[i]) ||
            (units->place->by_systemd && np_text_begins(folder, units->place->folders[i]) && folder.ptr[n] == '/'))
            return true;
    }
    return false;
}

/* Only names of one form can stand for each other, and an instance for any template. */
static bool can_stand_for(const char *name, const char *target)
{
    const char *at = strchr(name, '@'), *other = strchr(target, '@');
    return at && other ? is_template(target) || strcmp(at, other) == 0 : !at && !other;
}

/* A link to another unit in any of our folders makes a second name of it. One that leads out of them is the file itself,
 * wherever it lies. false: systemd rejects the link, so that what a folder that counts less has is the unit. */
static bool read_link(struct np_units *units, const char *folder, const struct np_entry *entry, const char **ret)
{
    const char *target = target_of(units, folder, entry->link), *slash = strrchr(target, '/');
    *ret = NULL;
    if (!slash || !is_ours(units, (struct np_text){target, (size_t)(slash - target)}))
        return true;
    const char *name = slash + 1, *suffix = suffix_of(units, name);
    if (suffix && is_valid(name) && np_text_ends(np_text_of(entry->name), suffix) && strcmp(name, entry->name) != 0 &&
        (!units->place->by_systemd || can_stand_for(entry->name, name)))
        *ret = name;
    return *ret || !units->place->by_systemd;
}

static void take_unit(struct np_units *units, const char *folder, const struct np_entry *entry)
{
    const char *alias = NULL;
    if (np_map_find(&units->names, entry->name) || entry->kind == NP_ENTRY_FOLDER || entry->kind == NP_ENTRY_OTHER ||
        (entry->link && !read_link(units, folder, entry, &alias)))
        return;
    struct entry *known = np_alloc(units->arena, sizeof *known);
    known->path = join(units, folder, entry->name);
    known->masked = is_null(units, folder, entry);
    known->alias = alias;
    *np_map_at(&units->names, entry->name) = known;
    *(const char **)np_push(units->arena, &units->sorted, &units->n_sorted, &units->sorted_capacity,
                            sizeof *units->sorted) = entry->name;
}

static bool is_wants(const char *name)
{
    return np_text_ends(np_text_of(name), ".wants") || np_text_ends(np_text_of(name), ".requires") ||
           np_text_ends(np_text_of(name), ".upholds");
}

static void take_folder(struct np_units *units, size_t i, const struct np_entry *entry)
{
    if (is_wants(entry->name)) {
        *(const char **)np_push(units->arena, &units->wants, &units->n_wants, &units->wants_capacity,
                                sizeof *units->wants) = join(units, units->place->folders[i], entry->name);
    } else if (np_text_ends(np_text_of(entry->name), ".d")) {
        void **at = np_map_at(&units->drop_ins, entry->name);
        if (!*at) {
            *at = np_alloc(units->arena, sizeof(struct places));
            *(const char **)np_push(units->arena, &units->drop_in_names, &units->n_drop_ins, &units->drop_ins_capacity,
                                    sizeof *units->drop_in_names) = entry->name;
        }
        ((struct places *)*at)->folders |= UINT64_C(1) << i;
    }
}

/* Where /lib is a link to /usr/lib, one list is enough. */
static bool is_listed(struct np_units *units, size_t i)
{
    const struct np_include *include = units->files->include;
    const char *folder = units->place->folders[i];
    if (strncmp(folder, "/usr/lib/", strlen("/usr/lib/")) != 0 || !include || !include->is_same)
        return false;
    const char *other = folder + strlen("/usr");
    return is_ours(units, np_text_of(other)) && include->is_same(include->ctx, folder, other);
}

static void list_folder(struct np_units *units, size_t i)
{
    const struct np_entry *entries;
    const char *folder = units->place->folders[i];
    size_t n;
    if (is_listed(units, i))
        return;
    np_files_list(units->files, units->from, folder, &entries, &n);
    for (size_t k = 0; k < n; k++)
        if (suffix_of(units, entries[k].name) && is_valid(entries[k].name))
            take_unit(units, folder, &entries[k]);
        else
            take_folder(units, i, &entries[k]);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_names(const char **names, size_t n)
{
    if (n > 1)
        qsort(names, n, sizeof *names, by_bytes);
}

static const char *key_of_link(struct np_units *units, const char *template, const char *instance)
{
    return np_sprintf(units->arena, "%s %s", instance, template);
}

/* A template may have thousands of links that name an instance; each is another name of that instance alone. */
static void take_alias(struct np_units *units, const char *name, const char *target)
{
    void **at;
    if (!is_template(target) || !template_of(units->arena, name)) {
        at = np_map_at(&units->aliases, target);
        struct aliases *aliases = *at = *at ? *at : np_alloc(units->arena, sizeof *aliases);
        add_name(units, &aliases->names, name);
        return;
    }
    const char *instance = strchr(name, '@') + 1;
    at = np_map_at(
        &units->linked,
        key_of_link(units, target, np_strndup(units->arena, instance, (size_t)(strrchr(name, '.') - instance))));
    add_name(units, *at = *at ? *at : np_alloc(units->arena, sizeof(struct names)), name);
}

void np_units_init(struct np_units *units, struct np_files *files, struct np_position from,
                   const struct np_units_place *place)
{
    const struct np_map empty = {.arena = files->ret->arena};
    *units = (struct np_units){.files = files,
                               .place = place,
                               .arena = files->ret->arena,
                               .from = from,
                               .names = empty,
                               .aliases = empty,
                               .drop_ins = empty,
                               .instances = empty,
                               .taken = empty,
                               .apart = empty,
                               .linked = empty,
                               .wanted = empty,
                               .read = empty};
    for (size_t i = 0; place->folders[i] && i < NP_UNITS_FOLDERS_MAX; i++)
        list_folder(units, i);
    sort_names(units->sorted, units->n_sorted);
    sort_names(units->drop_in_names, units->n_drop_ins);
    for (size_t i = 0; i < units->n_sorted; i++) {
        const struct entry *known = np_map_find(&units->names, units->sorted[i]);
        if (known->alias)
            take_alias(units, units->sorted[i], known->alias);
    }
}

/* ---- Which unit a name is ------------------------------------------------------------------------------------- */

/* The name under which the unit has its file: "autovt@tty1.service" is "getty@tty1.service". NULL: links in a circle. */
static const char *own_name(struct np_units *units, const char *name, const struct entry **ret)
{
    for (int i = 0; i < ALIASES_MAX; i++) {
        const struct entry *known = np_map_find(&units->names, name);
        const char *template = template_of(units->arena, name);
        const bool is_instance = !known && template;
        if (is_instance)
            known = np_map_find(&units->names, template);
        if (known && known->alias && template && !is_instance && strcmp(known->alias, template) == 0)
            known = np_map_find(&units->names, template); /* a link to its own template */
        *ret = known;
        if (!known || !known->alias)
            return name;
        name = template && is_template(known->alias) ? instance_of(units->arena, known->alias, name) : known->alias;
    }
    *ret = NULL;
    return NULL;
}

const struct np_unit *np_units_find(struct np_units *units, const char *name)
{
    const struct entry *known;
    const char *suffix = suffix_of(units, name), *own = suffix && is_valid(name) ? own_name(units, name, &known) : NULL;
    if (!own || !known || known->masked || !suffix_of(units, own))
        return NULL;
    void **at = np_map_at(&units->read, own);
    if (!*at) {
        union {
            const struct np_unit *unit;
            void *kept;
        } made = {.unit = make_unit(units, own, known->path, suffix)};
        *at = made.kept;
    }
    return *at;
}

void np_units_all(struct np_units *units, const char *suffix, const struct np_unit *const **ret, size_t *ret_n)
{
    const struct np_unit **all = np_alloc_array(units->arena, units->n_sorted + 1, sizeof(*all));
    size_t n = 0;
    for (size_t i = 0; i < units->n_sorted; i++) {
        const char *name = units->sorted[i];
        const struct entry *known = np_map_find(&units->names, name);
        const struct np_unit *unit = np_text_ends(np_text_of(name), suffix) && !known->alias && !known->masked
                                         ? np_units_find(units, name)
                                         : NULL;
        if (unit)
            all[n++] = unit;
    }
    *ret = all;
    *ret_n = n;
}

/* ---- Instances ------------------------------------------------------------------------------------------------ */

static void add_instance(struct np_units *units, struct np_map *of, const char *template, const struct np_unit *unit)
{
    void **at = np_map_at(of, template);
    struct instances *instances = *at = *at ? *at : np_alloc(units->arena, sizeof *instances);
    *(const struct np_unit **)np_push(units->arena, &instances->units, &instances->n, &instances->capacity,
                                      sizeof(*instances->units)) = unit;
}

/* Its template, unless it has a file of its own, or is none. */
static const char *template_read_for(struct np_units *units, const struct np_unit *instance)
{
    const struct entry *own = np_map_find(&units->names, instance->name);
    return own && !own->alias ? NULL : template_of(units->arena, instance->name);
}

static void take_instance(struct np_units *units, const char *wanted)
{
    const struct np_unit *unit = strchr(wanted, '@') ? np_units_find(units, wanted) : NULL;
    const char *template = unit ? template_read_for(units, unit) : NULL;
    void **taken = template ? np_map_at(&units->taken, unit->name) : NULL;
    if (!taken || *taken)
        return;
    *taken = units;
    add_instance(units, &units->instances, template, unit);
}

void np_units_start(struct np_units *units, const char *name)
{
    take_instance(units, name);
}

/* A socket starts the service of its name. */
static void take_started(struct np_units *units, const char *name)
{
    const struct np_unit *socket =
        strchr(name, '@') && np_text_ends(np_text_of(name), ".socket") ? np_units_find(units, name) : NULL;
    take_instance(units, name);
    if (socket && !np_unit_is_template(socket))
        take_instance(units,
                      np_sprintf(units->arena, "%s.service", without_suffix(units->arena, socket->name, ".socket")));
}

static int by_unit(const void *a, const void *b)
{
    return strcmp((*(const struct np_unit *const *)a)->name, (*(const struct np_unit *const *)b)->name);
}

static void read_wants(struct np_units *units)
{
    const struct np_entry *entries;
    size_t n;
    units->wants_read = true;
    for (size_t i = 0; i < units->n_sorted; i++)
        take_started(units, units->sorted[i]);
    for (size_t i = 0; i < units->n_wants; i++) {
        np_files_list(units->files, units->from, units->wants[i], &entries, &n);
        for (size_t k = 0; k < n; k++) {
            const struct np_unit *unit = np_units_find(units, entries[k].name);
            if (unit)
                *np_map_at(&units->wanted, unit->name) = units;
            take_started(units, entries[k].name);
        }
    }
}

/* Folders of drop-ins may have the name of an instance, or another name of it. */
static void read_apart(struct np_units *units)
{
    struct np_map done = {.arena = units->arena};
    units->apart_read = true;
    for (size_t i = 0; i < units->n_drop_ins; i++) {
        const char *name =
            strchr(units->drop_in_names[i], '@') ? without_suffix(units->arena, units->drop_in_names[i], ".d") : NULL;
        const struct np_unit *unit = name ? np_units_find(units, name) : NULL;
        const char *template = unit ? template_read_for(units, unit) : NULL;
        void **at = template ? np_map_at(&done, unit->name) : NULL;
        units->has_unknown = units->has_unknown || (name && !unit && suffix_of(units, name));
        if (!at || *at)
            continue;
        *at = units;
        add_instance(units, &units->apart, template, unit);
    }
}

static void get_instances(const struct np_map *of, const struct np_unit *template, const struct np_unit *const **ret,
                          size_t *ret_n)
{
    const struct instances *instances = np_map_find(of, template->name);
    if (instances)
        qsort(instances->units, instances->n, sizeof(*instances->units), by_unit);
    *ret = instances ? instances->units : NULL;
    *ret_n = instances ? instances->n : 0;
}

bool np_units_set_apart(struct np_units *units, const struct np_unit *template, const struct np_unit *const **ret,
                        size_t *ret_n)
{
    if (!units->apart_read)
        read_apart(units);
    get_instances(&units->apart, template, ret, ret_n);
    return units->has_unknown;
}

bool np_units_is_wanted(struct np_units *units, const struct np_unit *unit)
{
    if (!units->wants_read)
        read_wants(units);
    return np_map_find(&units->wanted, unit->name) != NULL;
}

void np_units_instances(struct np_units *units, const struct np_unit *template, const struct np_unit *const **ret,
                        size_t *ret_n)
{
    if (!units->wants_read)
        read_wants(units);
    get_instances(&units->instances, template, ret, ret_n);
}

const struct np_unit *np_units_given(struct np_units *units, const struct np_file *file, const char *suffix)
{
    const char *slash = strrchr(file->path, '/'), *name = slash ? slash + 1 : file->path;
    const char *own = suffix_of(units, name);
    struct np_unit *unit =
        make_unit(units, own ? name : np_sprintf(units->arena, "%s%s", name, suffix), file->path, own ? own : suffix);
    unit->name = name;
    unit->given = file;
    return unit;
}

/* ---- Drop-ins ------------------------------------------------------------------------------------------------- */

struct drop_in {
    const char *name, *path; /* path "": masked */
    size_t at;               /* in the order that counts among those of its name */
};

struct drop_ins {
    struct np_units *units;
    struct np_map owners; /* the name of the unit under which a file's name was found last */
    struct np_map taken;  /* paths */
    const char *alias;    /* whose folders are looked at; NULL: those of the unit's own name */
    struct drop_in *items;
    size_t n, capacity;
};

static struct drop_ins no_drop_ins(struct np_units *units)
{
    const struct np_map empty = {.arena = units->arena};
    return (struct drop_ins){.units = units, .owners = empty, .taken = empty};
}

static int by_drop_in(const void *a, const void *b)
{
    const struct drop_in *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Thousands of instances may have thousands of other names, each with drop-ins. */
static bool is_too_much(struct np_units *units)
{
    if (++units->n_looked_for == DROP_INS_MAX + 1)
        np_files_gap(units->files, units->from, NULL, "units have more than %d drop-ins and other names", DROP_INS_MAX);
    return units->n_looked_for > DROP_INS_MAX;
}

/* The first of a file's name hides all others; but which of a unit's other names is the first to systemd is left to chance,
 * so that each of these counts. */
static bool is_hidden(const struct drop_ins *ret, const char *owner, const char *path)
{
    const bool is_rival =
        owner && *owner && ret->alias && ret->units->place->by_systemd && strcmp(owner, ret->alias) != 0;
    return owner && (!is_rival || np_map_find(&ret->taken, path));
}

static void take_drop_ins(struct drop_ins *ret, const char *folder)
{
    struct np_units *units = ret->units;
    const struct np_entry *entries;
    size_t n;
    np_files_list(units->files, units->from, folder, &entries, &n);
    for (size_t i = 0; i < n; i++) {
        const struct np_entry *entry = &entries[i];
        if (!np_text_ends(np_text_of(entry->name), ".conf") || entry->name[0] == '.' ||
            entry->kind == NP_ENTRY_FOLDER || entry->kind == NP_ENTRY_OTHER)
            continue;
        if (is_too_much(units))
            return;
        const char *path = join(units, folder, entry->name);
        void **owner = np_map_at(&ret->owners, entry->name);
        if (is_hidden(ret, *owner, path))
            continue;
        *owner = np_strdup(units->arena, ret->alias ? ret->alias : "");
        *np_map_at(&ret->taken, path) = units;
        const struct drop_in found = {entry->name, is_null(units, folder, entry) ? "" : path, ret->n};
        *(struct drop_in *)np_push(units->arena, &ret->items, &ret->n, &ret->capacity, sizeof *ret->items) = found;
    }
}

/* The folder's name of a unit's, and where there is one. */
struct candidate {
    const char *name;
    uint64_t folders;
};

enum { CANDIDATES_MAX = 3 * 130 }; /* names are shorter than 256 bytes, and have less than 128 dashes */

static void add_candidate(struct np_units *units, struct candidate *candidates, size_t *n, const char *stem, size_t len,
                          const char *suffix)
{
    char name[512];
    const size_t more = strlen(suffix);
    if (len + more + sizeof ".d" > sizeof name || *n == CANDIDATES_MAX)
        return;
    memcpy(name, stem, len);
    memcpy(name + len, suffix, more);
    memcpy(name + len + more, ".d", sizeof ".d");
    const struct places *places = np_map_find(&units->drop_ins, name);
    if (places)
        candidates[(*n)++] = (struct candidate){np_strdup(units->arena, name), places->folders};
}

/* How much of "foo-bar" there is up to a dash before its end: "foo-". 0: nothing, or a dash alone. */
static size_t cut(const char *prefix, size_t len)
{
    len -= len > 0 && prefix[len - 1] == '-';
    while (len > 0 && prefix[len - 1] != '-')
        len--;
    return len > 1 ? len : 0;
}

/* "foo-bar@1.socket": itself, "foo-bar@.socket", "foo-.socket", "foo-@1.socket", "foo-@.socket". Quadlet knows the last before
 * "foo-.socket", and the one before it not at all. */
static size_t find_candidates(struct np_units *units, const struct np_unit *unit, struct candidate *ret)
{
    const char *prefix = unit->prefix, *suffix = unit->suffix;
    const size_t whole = strlen(prefix), longest = cut(prefix, whole);
    const bool is_instance = unit->instance && *unit->instance, by_systemd = units->place->by_systemd;
    const char *template = unit->instance && longest ? np_sprintf(units->arena, "@%s", suffix) : NULL;
    size_t n = 0;
    add_candidate(units, ret, &n, unit->name, strlen(unit->name), "");
    if (is_instance)
        add_candidate(units, ret, &n, unit->name, whole + 1, suffix);
    for (size_t len = longest; len; len = cut(prefix, len)) {
        if (template && !by_systemd)
            add_candidate(units, ret, &n, prefix, len, template);
        add_candidate(units, ret, &n, prefix, len, suffix);
    }
    for (size_t len = template && by_systemd ? longest : 0; len; len = cut(prefix, len)) {
        if (is_instance)
            add_candidate(units, ret, &n, prefix, len, unit->name + whole);
        add_candidate(units, ret, &n, prefix, len, template);
    }
    return n;
}

/* The folder that counts most first, and in each the most particular name. */
static void look_for_name(struct drop_ins *ret, const struct np_unit *unit)
{
    struct candidate found[CANDIDATES_MAX];
    struct np_units *units = ret->units;
    const size_t n = find_candidates(units, unit, found);
    for (size_t i = 0; n && units->place->folders[i] && i < NP_UNITS_FOLDERS_MAX; i++)
        for (size_t k = 0; k < n; k++)
            if (found[k].folders >> i & 1)
                take_drop_ins(ret, join(units, units->place->folders[i], found[k].name));
}

static void look_for_alias(struct drop_ins *ret, const struct np_unit *unit, const char *alias)
{
    ret->alias = alias;
    look_for_name(ret, make_unit(ret->units, alias, unit->path, unit->suffix));
    ret->alias = NULL;
}

/* Where the drop-ins begin whose folders' names are not before this one. */
static size_t first_drop_in(const struct np_units *units, const char *name)
{
    size_t low = 0, high = units->n_drop_ins;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(units->drop_in_names[middle], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Has it a folder of drop-ins, or may an instance of it have one? */
static bool may_have_drop_ins(struct np_units *units, const struct np_unit *unit)
{
    struct candidate found[CANDIDATES_MAX];
    for (size_t len = np_unit_is_template(unit) ? strlen(unit->prefix) : 0; len; len = cut(unit->prefix, len)) {
        const char *begin = np_sprintf(units->arena, "%.*s@", (int)len, unit->prefix);
        const size_t first = first_drop_in(units, begin);
        if (first < units->n_drop_ins && np_text_begins(np_text_of(units->drop_in_names[first]), begin))
            return true;
    }
    return find_candidates(units, unit, found) > 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by ALIASES_MAX */
static void sift(struct np_units *units, struct names *ret, const struct aliases *of, const char *suffix, int depth)
{
    for (size_t i = 0; of && i < of->names.n && depth < ALIASES_MAX; i++) {
        const char *alias = of->names.items[i];
        if (may_have_drop_ins(units, make_unit(units, alias, NULL, suffix)))
            add_name(units, ret, alias);
        sift(units, ret, np_map_find(&units->aliases, alias), suffix, depth + 1);
    }
}

/* The other names of what has this name, once for all that ask. */
static void look_for_aliases(struct drop_ins *ret, const struct np_unit *unit, const char *name)
{
    struct np_units *units = ret->units;
    struct aliases *aliases = np_map_find(&units->aliases, name);
    if (!aliases)
        return;
    if (!aliases->is_sifted)
        sift(units, &aliases->sifted, aliases, unit->suffix, 0);
    aliases->is_sifted = true;
    for (size_t i = 0; i < aliases->sifted.n && !is_too_much(units); i++) {
        const char *alias = aliases->sifted.items[i];
        if (unit->instance && *unit->instance && is_template(alias))
            alias = instance_of(units->arena, alias, unit->name);
        look_for_alias(ret, unit, alias);
    }
}

/* Links that name this instance of its template. */
static void look_for_links(struct drop_ins *ret, const struct np_unit *unit, const char *template)
{
    struct np_units *units = ret->units;
    const struct names *links = np_map_find(&units->linked, key_of_link(units, template, unit->instance));
    for (size_t i = 0; links && i < links->n; i++) {
        if (strcmp(links->items[i], unit->name) != 0)
            look_for_alias(ret, unit, links->items[i]);
        look_for_aliases(ret, unit, links->items[i]);
    }
}

/* "socket.d", which is every unit's of that kind. */
static void look_for_type(struct drop_ins *ret, const struct np_unit *unit)
{
    struct candidate found;
    struct np_units *units = ret->units;
    size_t n = 0;
    add_candidate(units, &found, &n, unit->suffix + 1, strlen(unit->suffix + 1), "");
    for (size_t i = 0; n && units->place->folders[i] && i < NP_UNITS_FOLDERS_MAX; i++)
        if (found.folders >> i & 1)
            take_drop_ins(ret, join(units, units->place->folders[i], found.name));
}

static void find_drop_ins(struct drop_ins *ret, const struct np_unit *unit)
{
    struct np_units *units = ret->units;
    const char *template = template_of(units->arena, unit->name);
    if (unit->given)
        take_drop_ins(ret, np_sprintf(units->arena, "%s.d", unit->path));
    if (unit->given || !units->drop_ins.n)
        return;
    look_for_name(ret, unit);
    look_for_aliases(ret, unit, unit->name);
    if (template) {
        look_for_aliases(ret, unit, template);
        look_for_links(ret, unit, template);
    }
    look_for_type(ret, unit);
    if (ret->n > 1)
        qsort(ret->items, ret->n, sizeof *ret->items, by_drop_in);
}

/* ---- Settings ------------------------------------------------------------------------------------------------- */

/* One line, which ends with LF, CR or NUL; several different ones are one end, but for what follows a NUL. false: nothing is
 * left. */
static bool next_line(struct np_cursor *c, struct np_text *ret)
{
    static const char ends[] = "\n\r"; /* and the NUL at its end */
    static const unsigned nul = 1u << (sizeof ends - 1);
    const char *begin = c->at;
    unsigned met = 0;
    if (c->at == c->end)
        return false;
    while (c->at < c->end && !memchr(ends, *c->at, sizeof ends))
        c->at++;
    *ret = (struct np_text){begin, (size_t)(c->at - begin)};
    while (c->at < c->end && memchr(ends, *c->at, sizeof ends)) {
        const unsigned which = 1u << (unsigned)((const char *)memchr(ends, *c->at, sizeof ends) - ends);
        if (met & (which | nul))
            break;
        met |= which;
        np_cursor_next(c);
    }
    return true;
}

static bool goes_on(struct np_text line)
{
    bool escaped = false;
    for (size_t i = 0; i < line.len; i++)
        escaped = !escaped && line.ptr[i] == '\\';
    return escaped;
}

static struct np_text without_blanks_before(struct np_text text)
{
    while (text.len && is_space(text.ptr[0]))
        text = (struct np_text){text.ptr + 1, text.len - 1};
    return text;
}

static bool is_comment(struct np_text line)
{
    return line.len && (line.ptr[0] == '#' || line.ptr[0] == ';');
}

struct walk {
    struct np_files *files;
    struct np_text section;
    np_setting_fn *each;
    void *ctx;
    bool broken; /* systemd reads no further */
};

/* Where systemd warns of a line and goes on, so do we; what it says is about no port. */
static void take_line(struct walk *walk, struct np_text text, struct np_position at)
{
    const struct np_text line = np_text_trim(text);
    if (!line.len)
        return;
    if (line.ptr[0] == '[') {
        walk->broken = line.ptr[line.len - 1] != ']';
        if (walk->broken)
            np_files_warn(walk->files, at, "a section's name does not end with ']': systemd refuses the file");
        walk->section = (struct np_text){line.ptr + 1, line.len - 1 - !walk->broken};
        return;
    }
    struct np_setting setting = {.section = walk->section, .value = line, .at = at};
    const char *equals = memchr(line.ptr, '=', line.len);
    if (!equals || equals == line.ptr || !walk->section.len)
        return;
    setting.key = np_text_trim((struct np_text){line.ptr, (size_t)(equals - line.ptr)});
    setting.value = np_text_trim((struct np_text){equals + 1, line.len - (size_t)(equals + 1 - line.ptr)});
    walk->each(walk->ctx, &setting);
}

/* The lines that continue another one, each behind a backslash; comments among them are left out. */
static struct np_text rest_of_line(struct np_files *files, struct np_cursor *c, struct np_text line)
{
    struct np_buf joined = {.arena = files->ret->arena};
    bool more = true;
    np_buf_add(&joined, line.ptr, line.len - 1);
    while (more && joined.len < LINE_MAX_BYTES && next_line(c, &line)) {
        line = without_blanks_before(line);
        if (is_comment(line))
            continue;
        more = goes_on(line);
        np_buf_add(&joined, " ", 1);
        np_buf_add(&joined, line.ptr, line.len - more);
    }
    return (struct np_text){joined.ptr, joined.len};
}

void np_settings_of(struct np_files *files, const struct np_file *file, np_setting_fn *each, void *ctx)
{
    struct walk walk = {.files = files, .each = each, .ctx = ctx};
    struct np_cursor c;
    struct np_text line;
    np_cursor_init(&c, file);
    for (struct np_position at = np_cursor_position(&c); !walk.broken && next_line(&c, &line);
         at = np_cursor_position(&c)) {
        struct np_text text = without_blanks_before(line);
        at.column += (unsigned)(line.len - text.len);
        if (is_comment(text))
            continue;
        if (goes_on(text))
            text = rest_of_line(files, &c, text);
        walk.broken = text.len >= LINE_MAX_BYTES;
        if (walk.broken)
            np_files_warn(files, at, "a line of %d bytes or more: systemd refuses the file", LINE_MAX_BYTES);
        else
            take_line(&walk, text, at);
    }
}

const char *np_units_hint(const struct np_files *files, struct np_position at)
{
    if (!at.file->name)
        return NULL;
    return np_sprintf(files->ret->arena, "Look at %s, or do without: '--policy %s=off'.", at.file->name, files->source);
}

/* What cannot be read is missing; but one unit, which systemd may be unable to read as well, is no reason to give no port at
 * all. */
static const struct np_file *open_file(struct np_units *units, const char *path)
{
    struct np_files *files = units->files;
    const struct np_file *file;
    const struct np_file unread = {.path = path, .name = np_files_shown(files, path)};
    const struct np_position whole = {.file = &unread};
    const char *why, *hint = NULL;
    switch (np_files_try(files, path, &file, &why)) {
    case NP_READ_OK:
        return file;
    case NP_READ_ABSENT:
        return NULL;
    case NP_READ_DENIED:
        hint = np_sprintf(units->arena, "%s: this user may not read it.", np_host_words.elevate);
        break;
    case NP_READ_BAD:
        hint = np_units_hint(files, whole);
        break;
    }
    np_files_gap(files, whole, hint, "%s", why);
    return NULL;
}

static bool holds(struct np_text text, const char *word)
{
    const size_t n = strlen(word);
    const char *end = text.ptr + text.len;
    for (const char *at = text.ptr; (size_t)(end - at) >= n && (at = memchr(at, *word, (size_t)(end - at) - n + 1));
         at++)
        if (memcmp(at, word, n) == 0)
            return true;
    return false;
}

bool np_unit_may_say(struct np_units *units, const struct np_unit *unit, const char *word)
{
    struct drop_ins drop_ins = no_drop_ins(units);
    const struct np_file *file = unit->given ? unit->given : open_file(units, unit->path);
    if (!file || !file->bytes.len)
        return false;
    if (holds(file->bytes, word))
        return true;
    find_drop_ins(&drop_ins, unit);
    return drop_ins.n > 0;
}

bool np_unit_read(struct np_units *units, const struct np_unit *unit, np_setting_fn *each, void *ctx)
{
    struct drop_ins drop_ins = no_drop_ins(units);
    const struct np_file *file = unit->given ? unit->given : open_file(units, unit->path);
    if (!file || !file->bytes.len) /* an empty file masks the unit */
        return file != NULL;
    np_settings_of(units->files, file, each, ctx);
    find_drop_ins(&drop_ins, unit);
    for (size_t i = 0; i < drop_ins.n; i++) {
        const char *path = drop_ins.items[i].path;
        file = *path ? open_file(units, path) : NULL;
        if (file)
            np_settings_of(units->files, file, each, ctx);
    }
    return true;
}

/* ---- Values --------------------------------------------------------------------------------------------------- */

bool np_unit_truth(struct np_text text, bool *ret)
{
    static const char *const words[2][6] = {{"0", "no", "n", "false", "f", "off"},
                                            {"1", "yes", "y", "true", "t", "on"}};
    for (size_t value = 0; value < 2; value++)
        for (size_t i = 0; i < 6; i++)
            if (np_text_is_nocase(text, words[value][i])) {
                *ret = value == 1;
                return true;
            }
    return false;
}

static int hex_digit(char c)
{
    const char lower = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* What systemd-escape made of a path. */
static const char *unescaped(struct np_arena *arena, const char *text)
{
    char *out = np_alloc(arena, strlen(text) + 1), *to = out;
    for (; *text; text++)
        if (*text == '-') {
            *to++ = '/';
        } else if (text[0] == '\\' && text[1] == 'x' && hex_digit(text[2]) >= 0 && hex_digit(text[3]) >= 0) {
            *to++ = (char)(hex_digit(text[2]) * 16 + hex_digit(text[3]));
            text += 3;
        } else {
            *to++ = *text;
        }
    return out;
}

static const char *behind_dash(const char *prefix)
{
    const char *dash = strrchr(prefix, '-');
    return dash ? dash + 1 : prefix;
}

/* What is the same on every machine. */
static const struct {
    char letter;
    const char *system, *user; /* NULL: not known */
} constants[] = {{'t', "/run", NULL}, {'S', "/var/lib", NULL}, {'C', "/var/cache", NULL}, {'L', "/var/log", NULL},
                 {'E', "/etc", NULL}, {'h', "/root", NULL},    {'u', "root", NULL},       {'U', "0", NULL},
                 {'g', "root", NULL}, {'G', "0", NULL},        {'T', "/tmp", "/tmp"},     {'V', "/var/tmp", "/var/tmp"},
                 {'%', "%", "%"}};

static const char *constant(const struct np_units *units, char letter)
{
    if (letter == 'h' && !units->place->is_system)
        return units->place->home;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (constants[i].letter == letter)
            return units->place->is_system ? constants[i].system : constants[i].user;
    return NULL;
}

static const char *specifier(struct np_units *units, const struct np_unit *unit, char letter)
{
    struct np_arena *arena = units->arena;
    const bool is_known = !np_unit_is_template(unit);
    switch (letter) {
    case 'n':
        return is_known ? unit->name : NULL;
    case 'N':
        return is_known ? without_suffix(arena, unit->name, unit->suffix) : NULL;
    case 'p':
        return unit->prefix;
    case 'P':
        return unescaped(arena, unit->prefix);
    case 'i':
        return !unit->instance ? "" : is_known ? unit->instance : NULL;
    case 'I':
        return !unit->instance ? "" : is_known ? unescaped(arena, unit->instance) : NULL;
    case 'j':
        return behind_dash(unit->prefix);
    case 'J':
        return unescaped(arena, behind_dash(unit->prefix));
    case 'f':
        return is_known ? np_sprintf(arena, "/%s", unescaped(arena, unit->instance ? unit->instance : unit->prefix))
                        : NULL;
    default:
        return constant(units, letter);
    }
}

const char *np_unit_expand(struct np_units *units, const struct np_unit *unit, const char *text)
{
    static const char specifiers[] = "aAbBCdDEfgGhHiIjJlLmMnNopPqrRsStTuUvVwWyY%"; /* anything else stays as it is */
    if (!strchr(text, '%'))
        return text;
    struct np_buf out = {.arena = units->arena};
    np_buf_add(&out, "", 0);
    for (const char *p = text; *p; p++) {
        if (*p != '%' || !p[1] || !strchr(specifiers, p[1])) {
            np_buf_add(&out, p, 1);
            continue;
        }
        const char *value = specifier(units, unit, *++p);
        if (!value)
            return NULL;
        np_buf_puts(&out, value);
    }
    return out.ptr;
}

static void put_utf8(struct np_buf *out, uint32_t c)
{
    const char bytes[] = {(char)(0xF0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3F)), (char)(0x80 | (c >> 6 & 0x3F)),
                          (char)(0x80 | (c & 0x3F))};
    const char three = (char)(0xE0 | c >> 12), two = (char)(0xC0 | c >> 6), one = (char)c;
    if (c < 0x80) {
        np_buf_add(out, &one, 1);
    } else if (c < 0x800) {
        np_buf_add(out, &two, 1);
        np_buf_add(out, bytes + 3, 1);
    } else if (c < 0x10000) {
        np_buf_add(out, &three, 1);
        np_buf_add(out, bytes + 2, 2);
    } else {
        np_buf_add(out, bytes, 4);
    }
}

/* `digits` of them in `base`. false: they are not there. */
static bool put_number(struct np_buf *out, struct np_text *rest, unsigned digits, unsigned base, bool is_byte)
{
    uint32_t c = 0;
    if (rest->len < digits)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        const int digit = hex_digit(rest->ptr[i]);
        if (digit < 0 || (unsigned)digit >= base)
            return false;
        c = c * base + (unsigned)digit;
    }
    if (c == 0 || c > 0x10FFFF || (is_byte && c > 0xFF) || (c >= 0xD800 && c < 0xE000 && !is_byte))
        return false;
    *rest = (struct np_text){rest->ptr + digits, rest->len - digits};
    if (is_byte)
        np_buf_add(out, (char[]){(char)c}, 1);
    else
        put_utf8(out, c);
    return true;
}

/* What stands behind a backslash. */
static bool put_escape(struct np_buf *out, struct np_text *rest)
{
    static const char letters[] = "abfnrtvs\\\"'", values[] = "\a\b\f\n\r\t\v \\\"'";
    if (!rest->len)
        return false;
    const char c = rest->ptr[0];
    const char *found = memchr(letters, c, sizeof letters - 1);
    if (c >= '0' && c <= '7')
        return put_number(out, rest, 3, 8, true);
    *rest = (struct np_text){rest->ptr + 1, rest->len - 1};
    if (found)
        np_buf_add(out, &values[found - letters], 1);
    return found || (c == 'x' && put_number(out, rest, 2, 16, true)) ||
           (c == 'u' && put_number(out, rest, 4, 16, false)) || (c == 'U' && put_number(out, rest, 8, 16, false));
}

int np_unit_word(struct np_arena *arena, struct np_text *rest, const char **ret)
{
    struct np_buf out = {.arena = arena};
    char quote = '\0';
    *rest = without_blanks_before(*rest);
    if (!rest->len)
        return 0;
    np_buf_add(&out, "", 0);
    while (rest->len && (quote || !is_space(rest->ptr[0]))) {
        const char c = rest->ptr[0];
        *rest = (struct np_text){rest->ptr + 1, rest->len - 1};
        if (c == '\\') {
            if (!put_escape(&out, rest))
                return -1;
        } else if (quote ? c == quote : c == '"' || c == '\'') {
            quote = quote ? '\0' : c;
        } else {
            np_buf_add(&out, &c, 1);
        }
    }
    *ret = out.ptr;
    return quote ? -1 : 1;
}

/* ---- The environment of a service ----------------------------------------------------------------------------- */

void np_environment_init(struct np_environment *environment, struct np_units *units, const struct np_unit *unit)
{
    const struct np_map empty = {.arena = units->arena};
    *environment = (struct np_environment){.units = units, .unit = unit, .unset = empty, .by_name = empty};
}

static const char variable_letters[] = "_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool is_variable(const char *name)
{
    return *name && !(*name >= '0' && *name <= '9') && strspn(name, variable_letters) == strlen(name);
}

static void add_variable(void *ctx, const struct np_variable *variable)
{
    struct np_environment *environment = ctx;
    if (is_variable(variable->name))
        *(struct np_variable *)np_push(environment->units->arena, &environment->variables, &environment->n,
                                       &environment->capacity, sizeof *environment->variables) = *variable;
}

static void add_secret(void *ctx, const struct np_variable *variable)
{
    struct np_variable secret = *variable;
    secret.is_secret = true;
    add_variable(ctx, &secret);
}

/* One word of Environment=: specifiers are filled in after the quotes are gone. */
static void take_assignment(struct np_environment *environment, const char *word, struct np_position at)
{
    const char *equals = strchr(word, '=');
    if (!equals)
        return;
    add_variable(environment,
                 &(struct np_variable){.name = np_strndup(environment->units->arena, word, (size_t)(equals - word)),
                                       .value = np_unit_expand(environment->units, environment->unit, equals + 1),
                                       .at = at});
}

static void take_words(struct np_environment *environment, const struct np_setting *setting, bool unset)
{
    struct np_arena *arena = environment->units->arena;
    struct np_text rest = setting->value;
    const char *word;
    while (np_unit_word(arena, &rest, &word) > 0)
        if (unset)
            *np_map_at(&environment->unset, word) = environment;
        else
            take_assignment(environment, word, setting->at);
}

bool np_environment_take(struct np_environment *environment, const struct np_setting *setting)
{
    const bool is_empty = !setting->value.len, unset = np_text_is(setting->key, "UnsetEnvironment");
    if (np_text_is(setting->key, "EnvironmentFile")) {
        if (is_empty)
            environment->n_files = 0;
        else
            *(struct np_setting *)np_push(environment->units->arena, &environment->files, &environment->n_files,
                                          &environment->files_capacity, sizeof *environment->files) = *setting;
        return true;
    }
    if (!unset && !np_text_is(setting->key, "Environment"))
        return false;
    if (is_empty && unset)
        environment->unset = (struct np_map){.arena = environment->units->arena};
    else if (is_empty)
        environment->n = 0;
    take_words(environment, setting, unset);
    return true;
}

static void add_unread(struct np_environment *environment, struct np_position at, const char *what)
{
    *(struct np_setting *)np_push(environment->units->arena, &environment->unread, &environment->n_unread,
                                  &environment->unread_capacity, sizeof *environment->unread) =
        (struct np_setting){.value = np_text_of(what), .at = at};
}

static void read_file(struct np_environment *environment, struct np_position at, const char *path, bool may_be_missing)
{
    struct np_files *files = environment->units->files;
    const struct np_file *file;
    const char *why;
    switch (np_files_try(files, path, &file, &why)) {
    case NP_READ_OK:
        np_environment_of(files, file, add_secret, environment);
        break;
    case NP_READ_ABSENT:
        if (!may_be_missing)
            add_unread(
                environment, at,
                np_sprintf(environment->units->arena, "%s: no such file: systemd does not start the unit", path));
        break;
    case NP_READ_DENIED:
        np_files_gap(files, at,
                     np_sprintf(environment->units->arena, "%s: this user may not read it.", np_host_words.elevate),
                     "%s: %s", path, why);
        break;
    case NP_READ_BAD:
        np_files_gap(files, at, np_units_hint(files, at), "%s: %s", path, why);
        break;
    }
}

static void read_files(struct np_environment *environment, const struct np_setting *setting)
{
    struct np_units *units = environment->units;
    const bool may_be_missing = setting->value.ptr[0] == '-';
    const char *text = np_text_dup(units->arena, setting->value) + may_be_missing;
    const char *path = np_unit_expand(units, environment->unit, text);
    const char *const *paths = &path;
    size_t n = 1;
    if (!path) {
        if (!np_unit_is_template(environment->unit))
            np_files_gap(units->files, setting->at, np_units_hint(units->files, setting->at),
                         "EnvironmentFile=%s: not known here", np_files_text(units->files, setting->value));
        return;
    }
    if (*path != '/') {
        add_unread(environment, setting->at,
                   np_sprintf(units->arena, "EnvironmentFile=%s: no absolute path, which systemd ignores",
                              np_files_text(units->files, setting->value)));
        return;
    }
    if (strpbrk(path, "*?["))
        np_files_find(units->files, setting->at, path, &paths, &n);
    for (size_t i = 0; i < n; i++)
        read_file(environment, setting->at, paths[i], may_be_missing);
}

/* "NAME" or "NAME=VALUE", which takes away only that value. */
static bool is_unset(const struct np_environment *environment, const struct np_variable *variable)
{
    const struct np_map *unset = &environment->unset;
    if (!unset->n || np_map_find(unset, variable->name))
        return unset->n > 0;
    return variable->value &&
           np_map_find(unset, np_sprintf(environment->units->arena, "%s=%s", variable->name, variable->value));
}

/* Each name once, with its last value. */
static void keep_last(struct np_environment *environment)
{
    struct np_map last = {.arena = environment->units->arena};
    size_t n = 0;
    for (size_t i = 0; i < environment->n; i++)
        *np_map_at(&last, environment->variables[i].name) = &environment->variables[i];
    for (size_t i = 0; i < environment->n; i++) {
        const struct np_variable variable = environment->variables[i];
        if (np_map_find(&last, variable.name) == &environment->variables[i] && !is_unset(environment, &variable))
            environment->variables[n++] = variable;
    }
    environment->n = n;
    for (size_t i = 0; i < n; i++)
        *np_map_at(&environment->by_name, environment->variables[i].name) = &environment->variables[i];
}

/* systemd says it as well, when it starts the unit; most units have no port. */
static void say_unread(const struct np_environment *environment, bool (*matters)(const char *name))
{
    struct np_files *files = environment->units->files;
    bool is_worth_it = !matters;
    for (size_t i = 0; i < environment->n && environment->n_unread && !is_worth_it; i++)
        is_worth_it = matters(environment->variables[i].name);
    for (size_t i = 0; i < environment->n_unread; i++) {
        const struct np_setting *unread = &environment->unread[i];
        (is_worth_it ? np_files_warn : np_files_note)(files, unread->at, "%s", unread->value.ptr);
    }
}

void np_environment_finish(struct np_environment *environment, bool (*matters)(const char *name))
{
    for (size_t i = 0; i < environment->n_files; i++)
        read_files(environment, &environment->files[i]);
    keep_last(environment);
    say_unread(environment, matters);
}

const struct np_variable *np_environment_find(const struct np_environment *environment, const char *name)
{
    return np_map_find(&environment->by_name, name);
}

/* NULL: not known here, as where so much is filled in that nothing could be started with it. */
static const char *value_of(struct np_environment *environment, const char *name)
{
    const struct np_variable *variable = np_environment_find(environment, name);
    if (variable && variable->value)
        environment->n_filled += strlen(variable->value);
    return variable && environment->n_filled <= FILLED_MAX ? variable->value : NULL;
}

/* "${NAME}": how long it is. 0: it is none. */
static size_t braced_length(const char *text)
{
    const char *name = text + 2;
    if (text[0] != '$' || text[1] != '{' || !*name || strchr("0123456789", *name))
        return 0;
    const size_t n = strspn(name, variable_letters);
    return n && name[n] == '}' ? n + 3 : 0;
}

const char *np_environment_expand(struct np_environment *environment, const char *word)
{
    struct np_arena *arena = environment->units->arena;
    struct np_buf out = {.arena = arena};
    if (*word == '$' && is_variable(word + 1))
        return value_of(environment, word + 1);
    np_buf_add(&out, "", 0);
    for (const char *p = word; *p; p++) {
        const size_t n = braced_length(p);
        const char *value = n ? value_of(environment, np_strndup(arena, p + 2, n - 3)) : NULL;
        if (n && !value)
            return NULL;
        if (value)
            np_buf_puts(&out, value);
        else
            np_buf_add(&out, p, 1);
        p += n ? n - 1 : p[0] == '$' && p[1] == '$';
    }
    return out.ptr;
}

/* ---- Files of assignments ------------------------------------------------------------------------------------- */

static bool is_end(int c)
{
    return c == '\n' || c == '\r' || c < 0;
}

/* To the end of the line. A backslash there does not continue a comment since systemd 254; what did before was lost. */
static void skip_comment(struct np_cursor *c)
{
    while (!is_end(np_cursor_peek(c)))
        np_cursor_next(c);
}

static void read_single_quoted(struct np_cursor *c, struct np_buf *out)
{
    for (int b; (b = np_cursor_next(c)) >= 0 && b != '\'';)
        np_buf_add(out, (char[]){(char)b}, 1);
}

/* A backslash counts before few characters, and joins lines. */
static void read_double_quoted(struct np_cursor *c, struct np_buf *out)
{
    for (int b; (b = np_cursor_next(c)) >= 0 && b != '"';) {
        if (b == '\\') {
            b = np_cursor_next(c);
            if (b < 0)
                return;
            if (!strchr("\"\\`$\n", b))
                np_buf_add(out, "\\", 1);
            if (b == '\n')
                continue;
        }
        np_buf_add(out, (char[]){(char)b}, 1);
    }
}

/* Without quotes, which mean nothing any more once a value has begun. Blanks at its end go, unless one was escaped. */
static void read_plain(struct np_cursor *c, struct np_buf *out)
{
    size_t keep = out->len;
    while (!is_end(np_cursor_peek(c))) {
        int b = np_cursor_next(c);
        const bool escaped = b == '\\';
        if (escaped && ((b = np_cursor_next(c)) < 0 || b == '\n' || b == '\r'))
            continue;
        np_buf_add(out, (char[]){(char)b}, 1);
        if (escaped || !is_space(b))
            keep = out->len;
    }
    out->len = keep;
    out->ptr[keep] = '\0';
}

/* Quoted parts first, one after another; then what is not quoted, to the line's end. */
static const char *read_value(struct np_files *files, struct np_cursor *c)
{
    struct np_buf out = {.arena = files->ret->arena};
    np_buf_add(&out, "", 0);
    while (!is_end(np_cursor_peek(c))) {
        const int b = np_cursor_peek(c);
        if (b == '\'' || b == '"') {
            np_cursor_next(c);
            (b == '"' ? read_double_quoted : read_single_quoted)(c, &out);
        } else if (is_space(b)) {
            np_cursor_next(c);
        } else {
            read_plain(c, &out);
        }
    }
    return out.ptr;
}

void np_environment_of(struct np_files *files, const struct np_file *file, np_variable_fn *each, void *ctx)
{
    struct np_cursor c;
    np_cursor_init(&c, file);
    while (np_cursor_peek(&c) >= 0) {
        const int b = np_cursor_peek(&c);
        if (is_space(b)) {
            np_cursor_next(&c);
        } else if (b == '#' || b == ';') {
            skip_comment(&c);
        } else {
            const char *begin = c.at;
            struct np_variable variable = {.at = np_cursor_position(&c)};
            while (!is_end(np_cursor_peek(&c)) && np_cursor_peek(&c) != '=')
                np_cursor_next(&c);
            if (np_cursor_peek(&c) != '=')
                continue;
            const struct np_text name = np_text_trim((struct np_text){begin, (size_t)(c.at - begin)});
            np_cursor_next(&c);
            variable.name = np_text_dup(files->ret->arena, name);
            variable.value = read_value(files, &c);
            each(ctx, &variable);
        }
    }
}
