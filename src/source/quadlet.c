/* Quadlet: the ports that .container, .pod and .kube files publish, before there is any container. A generator makes
 * services of the files, and the services run Podman with "--publish" as written; its grammar is Podman's.
 * doc/sources/quadlet.md says what is read and what each outcome means.
 * SPDX-License-Identifier: MIT */
#include "source/container.h"
#include "source/units.h"

#include <string.h>

enum { DEPTH_MAX = 20 }; /* of folders in folders */

static const char admins[] = "/etc/containers/systemd", users[] = "/etc/containers/systemd/users",
                  run[] = "/run/containers/systemd";
static const char *const system_folders[] = {run, admins, "/usr/share/containers/systemd", NULL};

enum kind { CONTAINER, POD, KUBE };

static const struct kind_row {
    const char *suffix, *section, *name_key; /* name_key: what names the container; NULL: what the YAML says */
} kinds[] = {{".container", "Container", "ContainerName"}, {".pod", "Pod", "PodName"}, {".kube", "Kube", NULL}};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

static const char *const suffixes[] = {".container", ".pod", ".kube", NULL};

struct values {
    struct np_setting *items;
    size_t n, capacity;
};

/* One unit, with what matters of its settings. */
struct quadlet {
    struct np_files *files;
    struct np_units *units;
    struct np_arena *arena;
    const struct np_unit *unit;
    enum kind kind;
    bool any_kind; /* the file's name does not say it, but its first section that could */
    struct values ports, networks, args;
    struct np_text name, service_name, pod, default_instance;
    struct np_environment environment;
    bool discards_ports; /* Podman does, in the networks that this one joins */
    const char *holder;  /* NULL: not known */
    bool is_possible;    /* a template of which no instance is known */
};

/* ---- Settings ------------------------------------------------------------------------------------------------- */

/* An empty assignment takes back all before it. */
static void add_value(struct quadlet *q, struct values *values, const struct np_setting *setting)
{
    if (!setting->value.len)
        values->n = 0;
    else
        *(struct np_setting *)np_push(q->arena, &values->items, &values->n, &values->capacity, sizeof *values->items) =
            *setting;
}

static void take_own(struct quadlet *q, const struct np_setting *setting)
{
    const struct {
        const char *key;
        struct values *values;
        struct np_text *last;
    } keys[] = {{"PublishPort", &q->ports, NULL}, {"Network", &q->networks, NULL},
                {"PodmanArgs", &q->args, NULL},   {"ServiceName", NULL, &q->service_name},
                {"Pod", NULL, &q->pod},           {kinds[q->kind].name_key, NULL, &q->name}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].key && np_text_is(setting->key, keys[i].key)) {
            if (keys[i].values)
                add_value(q, keys[i].values, setting);
            else
                *keys[i].last = setting->value;
        }
}

static void take(void *ctx, const struct np_setting *setting)
{
    struct quadlet *q = ctx;
    for (size_t i = 0; i < N_KINDS && q->any_kind; i++)
        if (np_text_is(setting->section, kinds[i].section)) {
            q->kind = (enum kind)i;
            q->any_kind = false;
        }
    if (np_text_is(setting->section, kinds[q->kind].section))
        take_own(q, setting);
    else if (np_text_is(setting->section, "Service"))
        np_environment_take(&q->environment, setting);
    else if (np_text_is(setting->section, "Install") && np_text_is(setting->key, "DefaultInstance"))
        q->default_instance = setting->value;
}

/* ---- Who publishes -------------------------------------------------------------------------------------------- */

/* A file that was given may be called anything. */
static const char *stem_of(const struct quadlet *q)
{
    const char *name = q->unit->name;
    return np_text_ends(np_text_of(name), q->unit->suffix)
               ? np_strndup(q->arena, name, strlen(name) - strlen(q->unit->suffix))
               : name;
}

/* A name that is given, with its specifiers; NULL: not known. Those that name the service are another's where that has a
 * name of its own, and a pod's service always has. */
static const char *given_name(struct quadlet *q)
{
    const char *name = np_text_dup(q->arena, q->name);
    if (strchr(name, '%') && (q->service_name.len || q->kind == POD))
        return NULL;
    return np_unit_expand(q->units, q->unit, name);
}

static const char *default_name(struct quadlet *q)
{
    const bool service = q->kind == CONTAINER && q->service_name.len;
    if (q->kind == CONTAINER && q->unit->instance)
        return np_sprintf(q->arena, "systemd-%s_%s", q->unit->prefix, q->unit->instance);
    return np_sprintf(q->arena, "systemd-%s", service ? np_text_dup(q->arena, q->service_name) : stem_of(q));
}

/* As Podman will show it: a pod's ports are those of its infra container. What a .kube file plays has names of its own. */
static const char *holder_of(struct quadlet *q)
{
    if (q->kind == KUBE || np_unit_is_template(q->unit))
        return NULL;
    const char *name = q->name.len ? given_name(q) : default_name(q);
    return name && q->kind == POD ? np_sprintf(q->arena, "%s-infra", name) : name;
}

/* ---- Ports ---------------------------------------------------------------------------------------------------- */

static void claim_unknown(struct quadlet *q, struct np_position at, struct nextport_claim claim, const char *why)
{
    claim.certainty = NEXTPORT_UNRESOLVED;
    claim.detail = np_sprintf(q->arena, "%s, %s", claim.detail, why);
    np_files_claim(q->files, at, claim);
}

/* Of a template nobody knows which instances there will be: that is no gap. */
static void claim_unresolved(struct quadlet *q, struct np_position at, const struct nextport_claim *claim)
{
    if (!q->is_possible)
        np_files_gap(q->files, at, "Leave the port out of the pool by --exclude, or write its number.",
                     "%s: which port it means is not known here", claim->detail);
    claim_unknown(q, at, *claim, "which is not known here");
}

static void refuse(struct quadlet *q, struct np_position at, const char *detail, const char *why)
{
    np_files_warn(q->files, at, "%s: %s, so Podman refuses it", detail, why);
}

static unsigned length(struct nextport_range range)
{
    return range.last - range.first;
}

/* One of "8080:80,8443:443". */
static void take_port(struct quadlet *q, struct np_text text, struct np_position at, struct nextport_claim claim)
{
    struct np_published port;
    const char *wrong = np_published_parse(q->arena, text, &port);
    if (!wrong && port.outside.first && length(port.outside) != length(port.inside))
        wrong = "its ranges differ in length";
    if (wrong) {
        refuse(q, at, claim.detail, wrong);
        return;
    }
    claim.protocol = (enum nextport_protocol)port.protocol;
    claim.address = strcmp(port.address, "0.0.0.0") == 0 ? "*" : port.address;
    if (!port.protocol)
        return;
    if (!port.outside.first) {
        claim_unknown(q, at, claim, "its port is chosen when it starts");
        return;
    }
    claim.first = port.outside.first;
    claim.last = port.outside.last;
    np_files_claim(q->files, at, claim);
}

static struct np_text without_quotes(struct np_text text)
{
    const bool quoted = text.len > 1 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"';
    return quoted ? (struct np_text){text.ptr + 1, text.len - 2} : text;
}

/* Specifiers and variables are filled in by systemd, when it runs Podman; and Podman takes a list. */
static void take_ports(struct quadlet *q, struct np_text text, struct np_position at, const char *key)
{
    struct nextport_claim claim = {.protocol = NEXTPORT_TCP,
                                   .kind = NEXTPORT_PUBLISHED,
                                   .certainty = q->is_possible ? NEXTPORT_CONDITIONAL : NEXTPORT_DECLARED,
                                   .holder = q->holder};
    claim.detail = np_sprintf(q->arena, "%s%s", key, np_files_text(q->files, text));
    if (q->discards_ports) {
        np_files_warn(q->files, at, "%s: Podman discards it, for the container shares a network", claim.detail);
        return;
    }
    if (q->kind == CONTAINER && q->pod.len) {
        refuse(q, at, claim.detail, "a container in a pod publishes nothing of its own");
        return;
    }
    const char *filled = np_unit_expand(q->units, q->unit, np_text_dup(q->arena, text));
    filled = filled ? np_environment_expand(&q->environment, filled) : NULL;
    if (!filled) {
        claim_unresolved(q, at, &claim);
        return;
    }
    struct np_text rest = np_text_of(filled), item;
    while (rest.len && np_text_split(&rest, ',', &item))
        take_port(q, without_quotes(item), at, claim);
}

/* "=VALUE", "VALUE" or the next word; `at` is behind the option's name. */
static bool take_value(struct quadlet *q, const char *at, struct np_text *rest, const char **ret)
{
    *ret = at + (*at == '=');
    return *at || np_unit_word(q->arena, rest, ret) > 0;
}

static bool take_option(struct quadlet *q, const char *word, const char *option, struct np_text *rest, const char **ret)
{
    const size_t n = strlen(option);
    return strncmp(word, option, n) == 0 && (!word[n] || word[n] == '=') && take_value(q, word + n, rest, ret);
}

/* Letters of Podman's that have no value may stand before one that has: "-itp 8080:80". NULL: it is no word of letters. */
static const char *behind_switches(const char *word)
{
    return word[0] == '-' && word[1] != '-' ? word + 1 + strspn(word + 1, "diqtP") : NULL;
}

static bool take_letter(struct quadlet *q, const char *word, struct np_text *rest, const char **ret)
{
    const char *at = behind_switches(word);
    return at && *at == 'p' && take_value(q, at + 1, rest, ret);
}

static bool publishes_all(const char *word)
{
    const char *at = behind_switches(word);
    return at ? memchr(word, 'P', (size_t)(at - word)) && strcmp(at, "=false") != 0
              : strcmp(word, "--publish-all") == 0;
}

static bool shares_network(struct np_text network)
{
    static const char *const prefixes[] = {"container:", "ns:"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (network.len > strlen(prefixes[i]) && memcmp(network.ptr, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    const char *suffix = kinds[CONTAINER].suffix;
    const size_t n = strlen(suffix);
    return np_text_is(network, "host") || np_text_is(network, "none") ||
           (network.len > n && memcmp(network.ptr + network.len - n, suffix, n) == 0);
}

/* PodmanArgs=: what Quadlet has no key for is said there, and sometimes what it has one for. `ports`: take these; else
 * the networks. */
static void take_args(struct quadlet *q, const struct np_setting *setting, bool ports)
{
    struct np_text rest = setting->value;
    const char *word, *value;
    while (np_unit_word(q->arena, &rest, &word) > 0) {
        if (ports && publishes_all(word))
            claim_unknown(
                q, setting->at,
                (struct nextport_claim){
                    .protocol = NEXTPORT_BOTH, .kind = NEXTPORT_PUBLISHED, .holder = q->holder, .detail = word},
                "chosen when it starts");
        if (take_option(q, word, "--network", &rest, &value) || take_option(q, word, "--net", &rest, &value)) {
            if (!ports && shares_network(np_text_of(value)))
                q->discards_ports = true;
        } else if (take_option(q, word, "--publish", &rest, &value) || take_letter(q, word, &rest, &value)) {
            if (ports)
                take_ports(q, np_text_of(value), setting->at, "--publish=");
        }
    }
}

/* A .kube file's network is the pods', whose ports its own YAML could publish elsewhere. */
static void judge_network(struct quadlet *q)
{
    for (size_t i = 0; i < q->networks.n && q->kind != KUBE; i++)
        q->discards_ports = q->discards_ports || shares_network(q->networks.items[i].value);
    for (size_t i = 0; i < q->args.n && q->kind != KUBE; i++)
        take_args(q, &q->args.items[i], false);
}

static bool needs_environment(const struct quadlet *q)
{
    for (size_t i = 0; i < q->ports.n; i++)
        if (memchr(q->ports.items[i].value.ptr, '$', q->ports.items[i].value.len))
            return true;
    return q->args.n > 0;
}

static void claim_all(struct quadlet *q)
{
    q->holder = holder_of(q);
    if (needs_environment(q))
        np_environment_finish(&q->environment, NULL);
    judge_network(q);
    for (size_t i = 0; i < q->ports.n; i++)
        take_ports(q, q->ports.items[i].value, q->ports.items[i].at, "PublishPort=");
    for (size_t i = 0; i < q->args.n; i++)
        take_args(q, &q->args.items[i], true);
}

/* ---- Units ---------------------------------------------------------------------------------------------------- */

static struct quadlet begin(struct np_units *units, const struct np_unit *unit)
{
    struct quadlet q = {.files = units->files, .units = units, .arena = units->files->ret->arena, .unit = unit};
    for (size_t i = 0; i < N_KINDS; i++)
        if (strcmp(unit->suffix, kinds[i].suffix) == 0)
            q.kind = (enum kind)i;
    np_environment_init(&q.environment, units, unit);
    return q;
}

static void claim_unit(struct np_units *units, const struct np_unit *unit)
{
    struct quadlet q = begin(units, unit);
    if (np_unit_read(units, unit, take, &q))
        claim_all(&q);
}

/* The instances that links make, and the one that is the default; without any it may become one at any time. */
static void claim_template(struct np_units *units, const struct np_unit *template)
{
    const struct np_unit *const *instances, *instance = NULL;
    size_t n;
    struct quadlet q = begin(units, template);
    np_units_instances(units, template, &instances, &n);
    for (size_t i = 0; i < n; i++)
        claim_unit(units, instances[i]);
    if (!np_unit_read(units, template, take, &q))
        return;
    if (q.default_instance.len)
        instance = np_units_find(units, np_sprintf(q.arena, "%s@%s%s", template->prefix,
                                                   np_text_dup(q.arena, q.default_instance), template->suffix));
    q.is_possible = true;
    if (instance)
        claim_unit(units, instance);
    else if (!n)
        claim_all(&q);
}

/* ---- Managers ------------------------------------------------------------------------------------------------- */

struct look {
    struct np_files *files;
    struct np_position whole;
    struct np_arena *arena;
    bool present;
};

struct folders {
    const char *paths[NP_UNITS_FOLDERS_MAX + 1]; /* ends with NULL */
    size_t n;
    bool more; /* than that, or deeper ones, which has been said */
};

static bool is_full(const struct folders *folders)
{
    return folders->n == NP_UNITS_FOLDERS_MAX;
}

static void say_more(struct look *l, struct folders *folders, const char *path)
{
    if (!folders->more)
        np_files_gap(l->files, l->whole, "Put the files into fewer folders.",
                     "%s: not read, for there are more than %d folders, or deeper ones than %d",
                     np_files_shown(l->files, path), NP_UNITS_FOLDERS_MAX, DEPTH_MAX);
    folders->more = true;
}

static bool is_number(const char *name)
{
    return name[strspn(name, "0123456789")] == '\0';
}

/* A link may lead to a folder that is listed already. */
static bool is_known(struct look *l, const struct folders *folders, const char *path)
{
    const struct np_include *include = l->files->include;
    for (size_t i = 0; i < folders->n; i++)
        if (include->is_same && include->is_same(include->ctx, path, folders->paths[i]))
            return true;
    return false;
}

/* Could it be a folder of units? Those of drop-ins are none, and what lies below "users" is another manager's. */
static bool may_hold_units(const char *folder, const struct np_entry *entry)
{
    for (size_t i = 0; suffixes[i]; i++)
        if (np_text_ends(np_text_of(entry->name), suffixes[i]))
            return false;
    const bool is_users = strcmp(folder, admins) == 0 && strcmp(entry->name, "users") == 0,
               is_uid = strcmp(folder, users) == 0 && is_number(entry->name);
    return entry->kind != NP_ENTRY_FILE && entry->kind != NP_ENTRY_OTHER &&
           !np_text_ends(np_text_of(entry->name), ".d") && !is_users && !is_uid;
}

/* The folder and those in it, in the order in which Quadlet finds them. */
static void add_folders(struct look *l, struct folders *ret, const char *path,
                        unsigned depth) /* NOLINT(misc-no-recursion) */
{
    const struct np_entry *entries;
    size_t n;
    if (is_full(ret) && ret->more)
        return;
    np_files_list(l->files, l->whole, path, &entries, &n);
    if (!n)
        return;
    if (is_full(ret) || depth > DEPTH_MAX) {
        say_more(l, ret, path);
        return;
    }
    ret->paths[ret->n++] = path;
    for (size_t i = 0; i < n; i++) {
        const char *below = np_sprintf(l->arena, "%s/%s", path, entries[i].name);
        if (may_hold_units(path, &entries[i]) && (entries[i].kind != NP_ENTRY_LINK || !is_known(l, ret, below)))
            add_folders(l, ret, below, depth + 1);
    }
}

static bool is_below(const char *path, const char *folder)
{
    const size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* Every unit of a manager; `own`: only those below this folder, for the others lend it nothing but drop-ins. */
static void look_at_manager(struct look *l, const struct folders *folders, const char *own, bool is_system)
{
    struct np_units_place *place = np_alloc(l->arena, sizeof *place);
    struct np_units *units = np_alloc(l->arena, sizeof *units);
    *place = (struct np_units_place){.folders = folders->paths, .suffixes = suffixes, .is_system = is_system};
    np_units_init(units, l->files, l->whole, place);
    for (size_t i = 0; i < N_KINDS; i++) {
        const struct np_unit *const *all;
        size_t n;
        np_units_all(units, suffixes[i], &all, &n);
        for (size_t k = 0; k < n; k++) {
            if (own && !is_below(all[k]->path, own))
                continue;
            l->present = true;
            if (np_unit_is_template(all[k]))
                claim_template(units, all[k]);
            else
                claim_unit(units, all[k]);
        }
    }
}

static void look_at_user(struct look *l, const char *folder, const struct folders *everybodys)
{
    struct folders *folders = np_alloc(l->arena, sizeof *folders);
    add_folders(l, folders, folder, 0);
    if (!folders->n)
        return;
    for (size_t i = 0; i < everybodys->n; i++)
        if (is_full(folders))
            say_more(l, folders, everybodys->paths[i]);
        else
            folders->paths[folders->n++] = everybodys->paths[i];
    look_at_manager(l, folders, folder, false);
}

/* What an administrator put there for all users, and for some. */
static void look_at_users(struct look *l, struct folders *everybodys)
{
    const struct np_entry *entries;
    size_t n;
    add_folders(l, everybodys, users, 0);
    if (everybodys->n)
        look_at_manager(l, everybodys, NULL, false);
    np_files_list(l->files, l->whole, users, &entries, &n);
    for (size_t i = 0; i < n; i++)
        if (is_number(entries[i].name))
            look_at_user(l, np_sprintf(l->arena, "%s/%s", users, entries[i].name), everybodys);
}

/* This user's alone. */
static void look_at_home(struct look *l, const char *home, const struct folders *everybodys)
{
    if (home)
        look_at_user(l, np_sprintf(l->arena, "%s/.config/containers/systemd", home), everybodys);
}

/* Podman itself keeps its folder in /run from others than root: that would be a gap on most machines, and what lies there
 * is there for a test, until the next start. */
static bool is_kept_from_us(struct look *l, const char *folder)
{
    const struct np_entry *entries;
    const char *why;
    size_t n;
    if (folder != run || np_files_try_list(l->files, folder, &entries, &n, &why) != NP_READ_DENIED)
        return false;
    np_note(l->files->ret->log, NEXTPORT_VERBOSE, "quadlet: %s: %s", np_files_shown(l->files, folder), why);
    return true;
}

static bool look_around(struct np_files *files, struct np_position whole, void *ctx)
{
    const struct np_look *look = ctx;
    struct look l = {.files = files, .whole = whole, .arena = files->ret->arena};
    struct folders *machines = np_alloc(l.arena, sizeof *machines), *everybodys = np_alloc(l.arena, sizeof *everybodys);
    for (size_t i = 0; system_folders[i]; i++)
        if (!is_kept_from_us(&l, system_folders[i]))
            add_folders(&l, machines, system_folders[i], 0);
    if (machines->n)
        look_at_manager(&l, machines, NULL, true);
    for (size_t i = 0; i < machines->n; i++)
        if (strcmp(machines->paths[i], admins) == 0)
            look_at_users(&l, everybodys);
    look_at_home(&l, np_host_home(l.arena, look->settings->root != NULL), everybodys);
    return l.present;
}

/* ---- The source ----------------------------------------------------------------------------------------------- */

static enum nextport_status parse_given(void *ctx, const struct np_file *file)
{
    static const char *const none[] = {NULL};
    static const struct np_units_place place = {.folders = none, .suffixes = suffixes, .is_system = true};
    struct np_units units;
    np_units_init(&units, ctx, (struct np_position){.file = file}, &place);
    const struct np_unit *unit = np_units_given(&units, file, kinds[CONTAINER].suffix);
    struct quadlet q = begin(&units, unit);
    q.any_kind = !np_text_ends(np_text_of(file->path), unit->suffix);
    q.is_possible = np_unit_is_template(unit);
    if (np_unit_read(&units, unit, take, &q))
        claim_all(&q);
    return NEXTPORT_OK;
}

static enum nextport_status parse(struct np_evidence *ret, const char *file, struct np_text bytes,
                                  const struct np_include *include, struct nextport_error *err)
{
    struct np_files files;
    np_files_init(&files, np_source_quadlet.name, ret, include, err);
    np_files_main(&files, file, bytes, parse_given, &files);
    return np_files_finish(&files);
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    static const char *const none[] = {NULL};
    if (np_files_look_around(look, &np_source_quadlet, look_around, look, err) != NEXTPORT_OK)
        return err->status;
    return np_files_look(look, &np_source_quadlet, &look->settings->quadlet_files, none, err);
}

/* "systemd-" and "-infra" are what Quadlet and Podman make of the name that a person gave. */
static const char *label(struct np_arena *arena, const struct nextport_claim *claim)
{
    static const char prefix[] = "systemd-", suffix[] = "-infra";
    const char *name = claim->holder;
    if (strncmp(name, prefix, strlen(prefix)) == 0 && name[strlen(prefix)])
        name += strlen(prefix);
    const size_t n = strlen(name), m = strlen(suffix);
    return n > m && np_text_ends(np_text_of(name), suffix) ? np_strndup(arena, name, n - m) : name;
}

const struct np_source np_source_quadlet = {
    .name = "quadlet",
    .about = "ports that files of Quadlet publish, whether there is a container or not",
    .policy = NEXTPORT_REQUIRE,
    .narrow = true,
    .files = true,
    .adopts = "project",
    .adopts_when_asked = true,
    .label = label,
    .programs = np_podman_programs,
    .look = look,
    .parse = parse,
};
