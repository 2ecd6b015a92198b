/* Docker: the ports that its containers publish, running or stopped. Its files are read where they may be, as they need
 * no engine that runs; else the engine is asked. doc/sources/docker.md says what is read.
 * SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "source/container.h"
#include "source/engine.h"
#include "source/services.h"

#include <string.h>

enum {
    CONFIG_MAX = 1024 * 1024,
    FILE_MAX = 4 * 1024 * 1024,    /* a container's labels and environment are in its files */
    TOTAL_MAX = 256 * 1024 * 1024, /* of all files */
};

static struct np_text folder_of(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash ? (struct np_text){file, (size_t)(slash - file)} : np_text_of(".");
}

static const char *last_part(struct np_text path)
{
    const char *part = path.ptr;
    for (const char *p = path.ptr; p < path.ptr + path.len; p++)
        if (*p == '/')
            part = p + 1;
    return part;
}

static const char *shown(const struct np_include *include, const char *path)
{
    return include && include->shown ? include->shown(include->ctx, path) : path;
}

/* ---- One container ---------------------------------------------------------------------------------------------- */

/* The other file of a container, which may not be needed. */
struct other {
    struct np_arena *arena;
    const char *path;
    const struct np_include *include;
    enum np_read outcome;
    const char *why;
};

static struct np_container_text read_other(void *ctx)
{
    struct other *other = ctx;
    struct np_container_text ret = {.origin = shown(other->include, other->path)};
    if (other->include && other->include->read)
        other->outcome = other->include->read(other->include->ctx, other->arena, other->path, &ret.bytes, &other->why);
    if (other->outcome != NP_READ_OK)
        ret.bytes.ptr = NULL;
    return ret;
}

/* `file` is a hostconfig.json; what it does not say is in config.v2.json beside it. */
static enum nextport_status parse(struct np_evidence *ret, const char *file, struct np_text bytes,
                                  const struct np_include *include, struct nextport_error *err)
{
    const struct np_text folder = folder_of(file);
    struct other other = {.arena = ret->arena,
                          .path = np_sprintf(ret->arena, "%.*s/config.v2.json", (int)folder.len, folder.ptr),
                          .include = include,
                          .outcome = NP_READ_ABSENT};
    const char *id = np_text_dup(
        ret->arena, (struct np_text){last_part(folder), (size_t)(folder.ptr + folder.len - last_part(folder))});
    const struct np_container_text ports = {shown(include, file), bytes};
    enum nextport_status status = np_container_claim(ret, np_source_docker.name, id, &ports, read_other, &other, err);
    if (status == NEXTPORT_OK && (other.outcome == NP_READ_DENIED || other.outcome == NP_READ_BAD))
        status = np_fail(err, NEXTPORT_BLIND, "%s: %s", shown(include, other.path), other.why);
    return status;
}

struct files {
    struct np_engine_look engine;
    size_t total;           /* bytes */
    size_t n_containers;    /* that have files here */
    struct np_map looked;   /* folders that were looked at */
    const char *config_why; /* where they are could not be read; NULL: it could */
};

static enum np_read read_file(void *ctx, struct np_arena *arena, const char *path, struct np_text *ret,
                              const char **why)
{
    struct files *files = ctx;
    struct np_reader *reader = files->engine.look->reader;
    if (files->total > TOTAL_MAX) {
        *why = "more than is read of all containers together";
        return NP_READ_BAD;
    }
    const enum np_read outcome = np_reader_read_into(reader, arena, path, FILE_MAX, ret, why);
    files->total += ret->len;
    return outcome;
}

static const char *show(void *ctx, const char *path)
{
    const struct files *files = ctx;
    return np_reader_shown(files->engine.look->reader, path);
}

static void unseen_file(struct files *files, const char *path, const char *why)
{
    np_engine_unseen(&files->engine, np_sprintf(files->engine.look->ret->arena, "%s: %s", show(files, path), why),
                     NULL);
}

static void look_at_container(struct files *files, const char *folder)
{
    struct np_evidence *ret = files->engine.look->ret;
    const struct np_include include = {.read = read_file, .shown = show, .ctx = files};
    const char *file = np_sprintf(ret->arena, "%s/hostconfig.json", folder), *why = NULL;
    const char *other = np_sprintf(ret->arena, "%s/config.v2.json", folder), *why_not;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_text bytes;
    const enum np_read outcome = read_file(files, ret->arena, file, &bytes, &why);
    files->n_containers += outcome != NP_READ_ABSENT;
    switch (outcome) {
    case NP_READ_OK:
        if (parse(ret, file, bytes, &include, &err) != NEXTPORT_OK)
            np_engine_unseen(&files->engine, np_strdup(ret->arena, err.text), NULL);
        return;
    case NP_READ_ABSENT: /* what is left of a container that was removed, unless it has its other file */
        if (read_file(files, ret->arena, other, &bytes, &why_not) != NP_READ_ABSENT)
            unseen_file(files, file, why);
        return;
    case NP_READ_DENIED:
    case NP_READ_BAD:
        unseen_file(files, file, why);
        return;
    }
}

/* ---- Where they are --------------------------------------------------------------------------------------------- */

static void missed(struct files *files, const char *why)
{
    files->config_why = files->config_why ? files->config_why : why;
}

/* What a configuration says; NULL: nothing. With one that it would not start with Docker leaves its containers where they
 * were. */
static const char *configured_root(struct files *files, const char *config)
{
    static const char *const keys[] = {"data-root", "graph", NULL}; /* "graph" is the old name */
    struct np_look *look = files->engine.look;
    const char *found = NULL, *why;
    struct np_text bytes;
    struct np_json_reader json;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const enum np_read outcome = np_reader_read(look->reader, config, CONFIG_MAX, &bytes, &why);
    if (outcome == NP_READ_ABSENT)
        return NULL;
    if (outcome != NP_READ_OK) {
        missed(files, np_sprintf(look->ret->arena, "%s: %s", show(files, config), why));
        return NULL;
    }
    np_json_reader_init(&json, bytes, 0, look->ret->arena);
    np_json_enter(&json, NP_JSON_OBJECT);
    while (np_json_next(&json) == NP_JSON_KEY)
        if (np_json_which(&json, keys, NULL) >= 0)
            found = np_json_read_text(&json);
        else
            np_json_skip(&json);
    np_json_finish(&json);
    if (np_json_is_bad(&json)) {
        np_json_fail(&json, show(files, config), &err);
        missed(files, np_strdup(look->ret->arena, err.text));
    }
    return found && *found ? found : NULL;
}

/* What services give dockerd beside its configuration. */
struct start {
    const char *path;
    bool is_config;
};

struct starts {
    struct start *items;
    size_t n, capacity;
};

/* "--data-root=DIR", "--data-root DIR", "-gDIR". Returns how many words it takes; 0: it is another option. *ret NULL: not known
 * here. */
static size_t take_option(const struct np_service *service, size_t i, const char *option, const char **ret)
{
    const char *word = service->words[i];
    const size_t n = strlen(option);
    const bool is_long = option[1] == '-';
    if (strncmp(word, option, n) != 0 || (is_long && word[n] && word[n] != '='))
        return 0;
    *ret = word[n] ? word + n + (word[n] == '=') : i + 1 < service->n ? service->words[i + 1] : NULL;
    return word[n] ? 1 : 2;
}

static void take_path(struct starts *ret, struct np_files *files, const struct np_service *service, struct start start)
{
    if (start.path && start.path[0] != '/' && service->folder)
        start.path = np_sprintf(files->ret->arena, "%s/%s", service->folder, start.path);
    if (start.path && start.path[0] == '/')
        *(struct start *)np_push(files->ret->arena, &ret->items, &ret->n, &ret->capacity, sizeof start) = start;
    else
        np_files_gap(files, service->at, NULL, "where this has Docker keep its containers is not known here");
}

static void take_words(struct starts *ret, struct np_files *files, const struct np_service *service)
{
    static const struct {
        const char *option;
        bool is_config;
    } options[] = {{"--data-root", false}, {"--graph", false}, {"-g", false}, {"--config-file", true}};
    for (size_t i = 0; i < service->n;) {
        const char *path = NULL;
        size_t n = 0, k = 0;
        if (service->words[i])
            while (k < sizeof options / sizeof *options && !n)
                n = take_option(service, i, options[k++].option, &path);
        if (n || !service->words[i])
            take_path(ret, files, service, (struct start){path, n && options[k - 1].is_config});
        i += n ? n : 1;
    }
}

static bool find_starts(struct np_files *files, struct np_position whole, void *ctx)
{
    static const char program[] = "dockerd", own[] = "docker.service";
    static const char *const suffixes[] = {".service", NULL};
    static const struct np_units_place place = {
        .folders = np_units_system_folders, .suffixes = suffixes, .is_system = true, .by_systemd = true};
    struct starts *starts = ctx;
    struct np_units *units = np_alloc(files->ret->arena, sizeof *units);
    struct np_services services = {0};
    starts->n = 0;
    np_units_init(units, files, whole, &place);
    const struct np_unit *unit = np_units_find(units, own);
    if (unit)
        np_service_read(units, unit, program, &services);
    np_services_of(units, program, own, &services);
    for (size_t i = 0; i < services.n; i++)
        take_words(starts, files, &services.items[i]);
    return false;
}

/* What is not understood there is no sighting of its own: an engine that answers makes up for it. */
static struct starts read_services(struct files *files)
{
    struct starts ret = {.items = NULL};
    struct np_look aside = *files->engine.look;
    struct np_evidence said = {.arena = aside.ret->arena, .log = aside.ret->log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    aside.ret = &said;
    if (np_files_look_around(&aside, &np_source_docker, find_starts, &ret, &err) != NEXTPORT_OK)
        missed(files, np_strdup(said.arena, err.text));
    for (size_t i = 0; i < said.n_sightings; i++)
        missed(files, said.sightings[i].why);
    return ret;
}

static bool is_installed(const struct np_look *look)
{
    static const char *const signs[] = {"/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"};
    bool found = false;
    for (size_t i = 0; i < sizeof signs / sizeof *signs && !found; i++)
        found = np_reader_exists(look->reader, signs[i]);
    return found;
}

/* The folders of all containers: below `pattern`, which takes glob characters. *why: NULL, or what could not be looked
 * into. */
static void look_below(struct files *files, const char *pattern, const char **why)
{
    const char *const *folders;
    size_t n;
    np_reader_glob(files->engine.look->reader, pattern, &folders, &n, why);
    for (size_t i = 0; i < n; i++)
        look_at_container(files, folders[i]);
}

/* *present: the folder is there. Where users are mapped (userns-remap), the containers lie in a folder named after their
 * numbers. Returns what could not be looked into, or NULL. */
static const char *look_at_root(struct files *files, const char *data, bool *present)
{
    struct np_look *look = files->engine.look;
    struct np_arena *arena = look->ret->arena;
    const char *const *found, *why, *why_mapped, *glob = np_files_literally(arena, data);
    void **looked = np_map_at(&files->looked, data);
    size_t n;
    if (*looked)
        return NULL;
    *looked = files;
    np_reader_glob(look->reader, glob, &found, &n, &why);
    *present = *present || n > 0;
    if (n == 0)
        return why;
    look_below(files, np_sprintf(arena, "%s/containers/*", glob), &why);
    look_below(files, np_sprintf(arena, "%s/[0-9]*.[0-9]*/containers/*", glob), &why_mapped);
    return why ? why : why_mapped;
}

/* In every folder that it may have been told: what lies in one that it has left only excludes more. */
static const char *look_at_files(struct files *files, const struct np_engine_place *place, bool *present)
{
    struct np_look *look = files->engine.look;
    const char *root = configured_root(files, place->config);
    const char *why_not = look_at_root(files, root ? root : place->data, present);
    const bool has_services = look->settings->root || *present || is_installed(look);
    const struct starts starts = has_services ? read_services(files) : (struct starts){.items = NULL};
    for (size_t i = 0; i < starts.n; i++) {
        root = starts.items[i].is_config ? configured_root(files, starts.items[i].path) : starts.items[i].path;
        const char *why = look_at_root(files, root ? root : place->data, present);
        why_not = why_not ? why_not : why;
    }
    return why_not;
}

/* Where files tell all, an engine that runs may still have its containers elsewhere, started in a way that is not known; it is
 * no loss when that one does not answer. */
static enum np_read ask(struct files *files, const struct np_engine_place *place, bool is_needed)
{
    const struct np_engine_look before = files->engine;
    const char *why;
    if (!is_needed && place->running && !np_reader_exists(before.look->reader, place->running))
        return NP_READ_ABSENT; /* its socket may be systemd's: to ask would start it */
    const enum np_read answer = np_engine_ask(&files->engine, place->endpoint, place->group, &why);
    if (!is_needed && answer != NP_READ_OK)
        files->engine = before;
    return answer;
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    (void)err;
    struct files files = {.engine = {.look = look, .source = &np_source_docker}, .looked.arena = look->ret->arena};
    const bool below_root = look->settings->root != NULL;
    const struct np_engine_place place = np_host_docker(look->ret->arena, below_root);
    bool present = false;
    const char *why_not = look_at_files(&files, &place, &present);
    enum np_read asked = NP_READ_ABSENT;
    if (!below_root && (why_not || !files.n_containers))
        asked = ask(&files, &place, why_not || !present);
    if (why_not && asked == NP_READ_ABSENT)
        np_engine_unseen(&files.engine, why_not, np_sprintf(look->ret->arena, "%s.", np_host_words.elevate));
    if (files.config_why && asked != NP_READ_OK) /* an engine that answered knows where its containers are */
        np_engine_unseen(&files.engine, files.config_why,
                         "Mend what is named, or leave the ports of 'docker ps --all' out of the pool by --exclude.");
    np_engine_sight(&files.engine, present || asked == NP_READ_OK);
    return NEXTPORT_OK;
}

static const char *const programs[] = {"docker-proxy", "dockerd", "rootlesskit", "rootlessport", NULL};

const struct np_source np_source_docker = {
    .name = "docker",
    .about = "ports that Docker's containers publish, running or stopped",
    .policy = NEXTPORT_WARN,
    .narrow = true,
    .files = true,
    .adopts = "project",
    .adopts_when_asked = true,
    .programs = programs,
    .look = look,
    .parse = parse,
};
