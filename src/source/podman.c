/* Podman has no daemon. What its containers publish lies in a database of its own. SQLite's, which it has since 4.8, is read;
 * otherwise Podman is asked, by the socket that its service or systemd keeps, and only where there is a database: to ask may
 * start it.
 * SPDX-License-Identifier: MIT */
#include "base/map.h"
#include "source/container.h"
#include "source/engine.h"
#include "source/podman_state.h"

#include <string.h>

/* Below the folder of a storage; which one depends on its release. */
static const char sqlite[] = "db.sql";
static const char *const databases[] = {"libpod/bolt_state.db", sqlite};

enum { DATABASE_MAX = 64 * 1024 * 1024 };

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

static void look_at_database(struct np_engine_look *engine, const char *path, const char *endpoint)
{
    struct np_arena *arena = engine->look->ret->arena;
    const char *why, *database = np_reader_shown(engine->look->reader, path);
    if ((endpoint || engine->look->settings->root) && read_database(engine->look, path))
        return;
    if (engine->look->settings->root)
        np_engine_unseen(engine, np_sprintf(arena, "%s: only Podman itself reads it", database), NULL);
    else if (!endpoint)
        np_engine_unseen(engine, np_sprintf(arena, "%s: of another user", database),
                         "Ask that user: 'podman ps --all'.");
    else if (np_engine_ask(engine, endpoint, NULL, &why) == NP_READ_ABSENT)
        np_engine_unseen(engine, np_sprintf(arena, "%s: nobody answers at %s", database, endpoint),
                         "Start Podman's socket: 'systemctl enable --now podman.socket'.");
}

/* What may not be looked into may have a database, of which Podman may tell this user all the same. */
static void look_behind(struct np_engine_look *engine, const char *why, const char *endpoint)
{
    const char *why_not;
    if (endpoint && !engine->look->settings->root && np_engine_ask(engine, endpoint, NULL, &why_not) != NP_READ_ABSENT)
        return;
    np_engine_unseen(engine, why, np_sprintf(engine->look->ret->arena, "%s.", np_host_words.elevate));
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
    struct np_engine_look engine = {.look = look, .source = &np_source_podman};
    if (!look->settings->root && !is_installed(look)) {
        np_engine_sight(&engine, false);
        return NEXTPORT_OK;
    }
    const struct np_podman_place *places;
    bool present = false;
    const size_t n = np_host_podman(look->ret->arena, look->settings->root != NULL, &places);
    for (size_t i = 0; i < n; i++) {
        const struct found found = find_databases(look, places[i].storage);
        present = present || found.n > 0 || found.why;
        for (size_t k = 0; k < found.n; k++)
            look_at_database(&engine, found.paths[k], places[i].endpoint);
        if (found.why)
            look_behind(&engine, found.why, found.n > 0 ? NULL : places[i].endpoint);
    }
    np_engine_sight(&engine, present);
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
