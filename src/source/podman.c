/* Podman has no daemon. What its containers publish lies in a database of its own. SQLite's, which it has since 4.8, is read;
 * otherwise Podman is asked, by the socket that its service or systemd keeps, and only where there is a database: to ask may
 * start it.
 * SPDX-License-Identifier: MIT */
#include "base/map.h"
#include "source/container.h"
#include "source/engine.h"
#include "source/podman_state.h"
#include "source/podman_storage.h"
#include "source/text_files.h"

#include <string.h>

/* Below the folder of a storage; which one depends on its release. */
static const char sqlite[] = "db.sql";
static const char *const databases[] = {"libpod/bolt_state.db", sqlite};

/* What configures storages: of the machine the first that is there, of a user one in the home. */
static const char *const configs[] = {"/etc/containers/storage.conf", "/usr/share/containers/storage.conf"};
static const char own_config[] = ".config/containers/storage.conf";

enum { DATABASE_MAX = 64 * 1024 * 1024, CONFIG_MAX = 1024 * 1024 };

static enum nextport_status parse(struct np_evidence *ret, const char *file, struct np_text bytes,
                                  const struct np_include *include, struct nextport_error *err)
{
    if (np_podman_state_is_one(bytes))
        return np_podman_state_claim(ret, include && include->shown ? include->shown(include->ctx, file) : file, bytes,
                                     err);
    const struct np_container_text inspection = {include && include->shown ? include->shown(include->ctx, file) : file,
                                                 bytes};
    return np_container_claim(ret, np_source_podman.name, "unnamed", &inspection, NULL, NULL, err);
}

struct found {
    struct np_look *look;
    struct np_map folders; /* that have one */
    const char **paths;
    size_t n, capacity;
    const char *why; /* NULL, or what could not be looked into, and may have more */
};

/* Those of one kind, where there is no older one beside it. */
static void find_kind(struct found *ret, const char *storage, const char *kind)
{
    struct np_arena *arena = ret->look->ret->arena;
    const char *const *paths, *why;
    size_t n;
    np_reader_glob(ret->look->reader, np_sprintf(arena, "%s/%s", storage, kind), &paths, &n, &why);
    ret->why = ret->why ? ret->why : why;
    for (size_t i = 0; i < n; i++) {
        void **at = np_map_at(&ret->folders, np_strndup(arena, paths[i], strlen(paths[i]) - strlen(kind)));
        if (!*at)
            *(const char **)np_push(arena, &ret->paths, &ret->n, &ret->capacity, sizeof *ret->paths) = paths[i];
        *at = ret;
    }
}

/* The databases below `storage`, a glob. Where there is no storage, which is usual, that is one look. */
static struct found find_databases(struct np_look *look, const char *storage)
{
    struct found ret = {.look = look, .folders = {.arena = look->ret->arena}};
    const char *const *paths;
    size_t n;
    np_reader_glob(look->reader, storage, &paths, &n, &ret.why);
    for (size_t i = 0; n > 0 && i < sizeof databases / sizeof *databases; i++)
        find_kind(&ret, storage, databases[i]);
    return ret;
}

/* While it is written there is a journal beside it. */
static bool is_being_written(struct np_look *look, const char *database)
{
    const char *why;
    struct np_text bytes;
    return np_reader_read(look->reader, np_sprintf(look->ret->arena, "%s-journal", database), DATABASE_MAX, &bytes,
                          &why) != NP_READ_ABSENT;
}

/* False: it is not SQLite's, is being written, or cannot be read. An older one beside it is found first, and may be the one
 * in use. The reader sees to it that the file is not written while it is read; the journal tells of a write that began
 * before, or that was broken off. */
static bool read_database(struct np_look *look, const char *database)
{
    const size_t len = strlen(database), end = strlen(sqlite);
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_text bytes;
    const char *why;
    if (len < end || strcmp(database + len - end, sqlite) != 0 || is_being_written(look, database) ||
        np_reader_read(look->reader, database, DATABASE_MAX, &bytes, &why) != NP_READ_OK ||
        is_being_written(look, database))
        return false;
    if (np_podman_state_claim(look->ret, np_reader_shown(look->reader, database), bytes, &err) == NEXTPORT_OK)
        return true;
    np_note(look->ret->log, NEXTPORT_VERBOSE, "podman: %s", err.text);
    return false;
}

struct podman {
    struct np_engine_look engine;
    const char *asked; /* the endpoint that was asked last, of all its containers, which may lie in several places */
    enum np_read answer;
    bool present;
};

static enum np_read ask(struct podman *podman, const char *endpoint)
{
    const char *why;
    if (!np_equal(podman->asked, endpoint))
        podman->answer = np_engine_ask(&podman->engine, endpoint, NULL, &why);
    podman->asked = endpoint;
    return podman->answer;
}

static const char ask_user[] = "Ask that user: 'podman ps --all'.";

static void look_at_database(struct podman *podman, const char *path, const char *endpoint)
{
    struct np_look *look = podman->engine.look;
    struct np_arena *arena = look->ret->arena;
    const char *database = np_reader_shown(look->reader, path);
    if ((endpoint || look->settings->root) && read_database(look, path))
        return;
    if (look->settings->root)
        np_engine_unseen(&podman->engine, np_sprintf(arena, "%s: only Podman itself reads it", database), NULL);
    else if (!endpoint)
        np_engine_unseen(&podman->engine, np_sprintf(arena, "%s: of another user", database), ask_user);
    else if (ask(podman, endpoint) == NP_READ_ABSENT)
        np_engine_unseen(&podman->engine, np_sprintf(arena, "%s: nobody answers at %s", database, endpoint),
                         "Start Podman's socket: 'systemctl enable --now podman.socket'.");
}

/* What may not be looked into may have a database, of which Podman may tell this user all the same. */
static void look_behind(struct podman *podman, const char *why, const char *endpoint)
{
    struct np_look *look = podman->engine.look;
    if (endpoint && !look->settings->root && ask(podman, endpoint) != NP_READ_ABSENT)
        return;
    np_engine_unseen(&podman->engine, why, np_sprintf(look->ret->arena, "%s.", np_host_words.elevate));
}

/* `storage` is a glob. */
static void look_below(struct podman *podman, const char *storage, const char *endpoint)
{
    const struct found found = find_databases(podman->engine.look, storage);
    podman->present = podman->present || found.n > 0 || found.why;
    for (size_t i = 0; i < found.n; i++)
        look_at_database(podman, found.paths[i], endpoint);
    if (found.why)
        look_behind(podman, found.why, found.n > 0 ? NULL : endpoint);
}

/* ---- Where it is told to keep them ------------------------------------------------------------------------------ */

/* false: there is none. */
static bool read_config(struct podman *podman, const char *file, struct np_podman_storage *ret)
{
    struct np_look *look = podman->engine.look;
    const char *why, *shown = np_reader_shown(look->reader, file);
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_text bytes;
    const enum np_read outcome = np_reader_read(look->reader, file, CONFIG_MAX, &bytes, &why);
    *ret = (struct np_podman_storage){.file = shown};
    if (outcome == NP_READ_OK && np_podman_storage_read(look->ret->arena, shown, bytes, ret, &err) != NEXTPORT_OK)
        np_engine_unseen(&podman->engine, np_strdup(look->ret->arena, err.text), "Mend the file.");
    if (outcome == NP_READ_DENIED || outcome == NP_READ_BAD)
        np_engine_unseen(&podman->engine, np_sprintf(look->ret->arena, "%s: %s", shown, why), NULL);
    return outcome != NP_READ_ABSENT;
}

/* Beside the usual place, where something may be left of before. `path` NULL: there is no other. */
static void look_at_path(struct podman *podman, const struct np_podman_storage *said, const char *path,
                         const struct np_podman_place *place)
{
    struct np_arena *arena = podman->engine.look->ret->arena;
    const char *storage = path && *path ? np_podman_storage_glob(arena, path, place) : place->storage;
    if (!storage)
        np_engine_unseen(&podman->engine, np_sprintf(arena, "%s: where its path lies is not known here", said->file),
                         NULL);
    else if (strcmp(storage, place->storage) != 0)
        look_below(podman, storage, place->endpoint);
}

/* Root opens no file that is another user's to choose. */
static void look_at_user(struct podman *podman, const struct np_podman_place *place, const char *file)
{
    struct np_look *look = podman->engine.look;
    struct np_arena *arena = look->ret->arena;
    struct np_podman_storage said;
    struct np_podman_place own = *place;
    if (!place->endpoint && !look->settings->root) {
        np_engine_unseen(&podman->engine,
                         np_sprintf(arena, "%s: of another user, who may have a storage elsewhere", file), ask_user);
        return;
    }
    read_config(podman, file, &said);
    own.home = np_files_literally(arena, np_strndup(arena, file, strlen(file) - strlen(own_config) - 1));
    look_at_path(podman, &said, said.graphroot, &own);
    look_at_path(podman, &said, said.rootless_path, &own);
}

static void look_at_place(struct podman *podman, const struct np_podman_place *place,
                          const struct np_podman_storage *machine)
{
    struct np_look *look = podman->engine.look;
    const char *const *files, *why;
    size_t n = 0;
    look_below(podman, place->storage, place->endpoint);
    look_at_path(podman, machine, place->rootless ? machine->rootless_path : machine->graphroot, place);
    if (place->rootless) /* a home that hides it hides its storage as well */
        np_reader_glob(look->reader, np_sprintf(look->ret->arena, "%s/%s", place->home, own_config), &files, &n, &why);
    for (size_t i = 0; i < n; i++)
        look_at_user(podman, place, files[i]);
}

/* Every machine has homes that others may not look into: they are worth a word only where there is a Podman. */
static bool is_installed(const struct np_look *look)
{
    static const char *const signs[] = {"/usr/bin/podman", "/usr/local/bin/podman", "/var/lib/containers"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (np_reader_exists(look->reader, signs[i]))
            return true;
    return false;
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    (void)err;
    struct podman podman = {.engine = {.look = look, .source = &np_source_podman}};
    const struct np_podman_place *places;
    struct np_podman_storage machine = {.file = NULL};
    const bool may_be_there = look->settings->root || is_installed(look);
    const size_t n = may_be_there ? np_host_podman(look->ret->arena, look->settings->root != NULL, &places) : 0;
    for (size_t i = 0; n > 0 && i < sizeof configs / sizeof *configs; i++)
        if (read_config(&podman, configs[i], &machine))
            break;
    for (size_t i = 0; i < n; i++)
        look_at_place(&podman, &places[i], &machine);
    np_engine_sight(&podman.engine, podman.present);
    return NEXTPORT_OK;
}

const char *const np_podman_programs[] = {"conmon",     "rootlessport", "slirp4netns", "pasta",
                                          "pasta.avx2", "podman",       NULL};

const struct np_source np_source_podman = {
    .name = "podman",
    .about = "ports that Podman's containers publish, running or stopped",
    .policy = NEXTPORT_WARN,
    .narrow = true,
    .files = true,
    .adopts = "project",
    .adopts_when_asked = true,
    .programs = np_podman_programs,
    .look = look,
    .parse = parse,
};
