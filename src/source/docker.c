/* Docker: the ports that its containers publish, running or stopped. Its files are read where they may be, as they need
 * no engine that runs; else the engine is asked. doc/sources/docker.md says what is read.
 * SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "source/container.h"
#include "source/engine.h"
#include "source/text_files.h"

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
    const char *config_why; /* the configuration could not be read; NULL: it could, or there is none */
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
    switch (read_file(files, ret->arena, file, &bytes, &why)) {
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

/* A configuration that Docker would not start with leaves its containers where they were. */
static const char *data_root(struct files *files, const struct np_engine_place *place)
{
    static const char *const keys[] = {"data-root", "graph", NULL}; /* "graph" is the old name */
    struct np_look *look = files->engine.look;
    const char *found = NULL, *why;
    struct np_text bytes;
    struct np_json_reader json;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const enum np_read outcome = np_reader_read(look->reader, place->config, CONFIG_MAX, &bytes, &why);
    if (outcome == NP_READ_ABSENT)
        return place->data;
    if (outcome != NP_READ_OK) {
        files->config_why = np_sprintf(look->ret->arena, "%s: %s", show(files, place->config), why);
        return place->data;
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
        np_json_fail(&json, show(files, place->config), &err);
        files->config_why = np_strdup(look->ret->arena, err.text);
    }
    return found && *found ? found : place->data;
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

/* *ret_present: the folder is there. Where users are mapped (userns-remap), the containers lie in a folder named after
 * their numbers. Returns what could not be looked into, or NULL. */
static const char *look_at_files(struct files *files, const char *data, bool *ret_present)
{
    struct np_look *look = files->engine.look;
    struct np_arena *arena = look->ret->arena;
    const char *const *found, *why, *why_mapped, *glob = np_files_literally(arena, data);
    size_t n;
    np_reader_glob(look->reader, glob, &found, &n, &why);
    *ret_present = n > 0;
    if (n == 0)
        return why;
    look_below(files, np_sprintf(arena, "%s/containers/*", glob), &why);
    look_below(files, np_sprintf(arena, "%s/[0-9]*.[0-9]*/containers/*", glob), &why_mapped);
    return why ? why : why_mapped;
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    (void)err;
    struct files files = {.engine = {.look = look, .source = &np_source_docker}};
    const bool below_root = look->settings->root != NULL;
    const struct np_engine_place place = np_host_docker(look->ret->arena, below_root);
    bool present;
    const char *why, *why_not = look_at_files(&files, data_root(&files, &place), &present);
    enum np_read asked = NP_READ_ABSENT;
    if (!below_root && (why_not || !present))
        asked = np_engine_ask(&files.engine, place.endpoint, place.group, &why);
    if (why_not && asked == NP_READ_ABSENT)
        np_engine_unseen(&files.engine, why_not, np_sprintf(look->ret->arena, "%s.", np_host_words.elevate));
    if (files.config_why && asked != NP_READ_OK) /* an engine that answered knows where its containers are */
        np_engine_unseen(&files.engine, files.config_why, NULL);
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
