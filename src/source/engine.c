/* SPDX-License-Identifier: MIT */
#include "source/engine.h"

#include "base/json.h"
#include "source/container.h"
#include "source/http.h"

#include <string.h>

enum {
    BUDGET_MS = 200,           /* of a request that somebody's deployment waits for */
    BUDGET_THOROUGH_MS = 3000, /* of a look that a person waits for */
    LIST_MAX = 32 * 1024 * 1024,
    INSPECTION_MAX = 4 * 1024 * 1024,
    WARNINGS_MAX = 10,
    ID_MAX = 128,
};

void np_engine_unseen(struct np_engine_look *engine, const char *why, const char *hint)
{
    if (engine->n_unseen++ == 0) {
        engine->why = why;
        engine->hint = hint;
    } else if (engine->n_unseen <= WARNINGS_MAX) {
        np_note(engine->look->ret->log, NEXTPORT_WARNING, "%s: %s", engine->source->name, why);
    }
}

void np_engine_sight(struct np_engine_look *engine, bool present)
{
    const struct np_source *source = engine->source;
    struct np_evidence *ret = engine->look->ret;
    const enum nextport_policy policy = np_settings_policy(engine->look->settings, source->name);
    if (engine->n_unseen > 0)
        np_evidence_sight(ret, source->name, NEXTPORT_PARTIAL, policy,
                          engine->n_unseen == 1 ? np_sprintf(ret->arena, "containers not inspected: %s", engine->why)
                                                : np_sprintf(ret->arena, "containers not inspected: %s, and %zu more",
                                                             engine->why, engine->n_unseen - 1),
                          engine->hint);
    else
        np_evidence_sight(ret, source->name, present ? NEXTPORT_SEEN : NEXTPORT_ABSENT, policy, NULL, NULL);
}

/* ---- Asking ----------------------------------------------------------------------------------------------------- */

struct ids {
    const char **items;
    size_t n, capacity;
};

/* It becomes a part of what is asked next. */
static bool is_id(const char *text)
{
    const size_t n = text ? strlen(text) : 0;
    return n > 0 && n <= ID_MAX && strspn(text, "0123456789abcdefABCDEF") == n;
}

static void read_listed(struct np_json_reader *json, struct ids *ids)
{
    static const char *const keys[] = {"Id", NULL};
    uint64_t seen = 0;
    const char *id = NULL;
    while (np_json_next(json) == NP_JSON_KEY)
        if (np_json_which(json, keys, &seen) == 0)
            id = np_json_read_text(json);
        else
            np_json_skip(json);
    if (!is_id(id))
        np_json_refuse(json, "a container without an Id");
    else
        *(const char **)np_push(json->arena, &ids->items, &ids->n, &ids->capacity, sizeof *ids->items) = id;
}

static enum nextport_status read_list(struct np_evidence *ret, const char *origin, struct np_text bytes,
                                      struct ids *ids, struct nextport_error *err)
{
    struct np_json_reader json;
    np_json_reader_init(&json, bytes, 0, ret->arena);
    np_json_enter(&json, NP_JSON_ARRAY);
    while (np_json_next(&json) == NP_JSON_OBJECT)
        read_listed(&json, ids);
    if (json.token != NP_JSON_ARRAY_END)
        np_json_refuse(&json, "the list has something that is not a container");
    np_json_finish(&json);
    return np_json_is_bad(&json) ? np_json_fail(&json, origin, err) : NEXTPORT_OK;
}

static bool inspect(struct np_engine_look *engine, struct np_http *http, const char *endpoint, const char *id,
                    const char **why)
{
    struct np_evidence *ret = engine->look->ret;
    const char *target = np_sprintf(ret->arena, "/containers/%s/json", id);
    struct np_container_text inspection = {
        .origin = np_sprintf(ret->arena, "%s/containers/%.*s/json", endpoint, NP_CONTAINER_ID, id)};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    switch (np_http_get(http, target, INSPECTION_MAX, &inspection.bytes, why)) {
    case NP_READ_OK:
        break;
    case NP_READ_ABSENT: /* removed since it was listed */
        return true;
    case NP_READ_DENIED:
    case NP_READ_BAD:
        return false;
    }
    if (np_container_claim(ret, engine->source->name, id, &inspection, NULL, NULL, &err) != NEXTPORT_OK)
        np_engine_unseen(engine, np_strdup(ret->arena, err.text), NULL);
    return true;
}

static const char *hint_of(struct np_engine_look *engine, enum np_read outcome, const char *group)
{
    if (outcome != NP_READ_DENIED)
        return NULL;
    if (!group)
        return np_sprintf(engine->look->ret->arena, "%s.", np_host_words.elevate);
    return np_sprintf(engine->look->ret->arena, "%s, or as a member of the group %s.", np_host_words.elevate, group);
}

/* All of them, or as many as the time allows. */
static void inspect_all(struct np_engine_look *engine, struct np_http *http, const char *endpoint)
{
    static const char list[] = "/containers/json?all=1";
    struct np_arena *arena = engine->look->ret->arena;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct ids ids = {0};
    struct np_text bytes;
    const char *why;
    const enum np_read outcome = np_http_get(http, list, LIST_MAX, &bytes, &why);
    if (outcome != NP_READ_OK) {
        np_engine_unseen(engine, np_sprintf(arena, "%s: %s", endpoint, why), hint_of(engine, outcome, NULL));
        return;
    }
    if (read_list(engine->look->ret, np_sprintf(arena, "%s%s", endpoint, list), bytes, &ids, &err) != NEXTPORT_OK)
        np_engine_unseen(engine, np_strdup(arena, err.text), NULL);
    for (size_t i = 0; i < ids.n; i++)
        if (!inspect(engine, http, endpoint, ids.items[i], &why)) {
            np_engine_unseen(engine, np_sprintf(arena, "%s: %s, after %zu of %zu", endpoint, why, i, ids.n), NULL);
            return;
        }
}

enum np_read np_engine_ask(struct np_engine_look *engine, const char *endpoint, const char *group, const char **why)
{
    struct np_http *http = NULL;
    engine->look->is_live = true;
    const unsigned budget = engine->look->thorough ? BUDGET_THOROUGH_MS : BUDGET_MS;
    const enum np_read outcome = np_http_open(&http, engine->look->ret->arena, endpoint, budget, why);
    if (outcome == NP_READ_OK)
        inspect_all(engine, http, endpoint);
    else if (outcome != NP_READ_ABSENT)
        np_engine_unseen(engine, np_sprintf(engine->look->ret->arena, "%s: %s", endpoint, *why),
                         hint_of(engine, outcome, group));
    np_http_close(http);
    return outcome;
}
