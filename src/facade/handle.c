/* The handle, its settings, and what is built in.
 * SPDX-License-Identifier: MIT */
#include "facade/run.h"

#include <string.h>

enum { CONFIG_LIMIT = 1024 * 1024 }; /* bytes of a configuration file: far beyond any real one */

const char *nextport_version(void)
{
    return NEXTPORT_VERSION;
}

static const char *nth_word(const void *ctx, size_t i)
{
    const char *const *words = ctx;
    return words[i];
}

const char *nextport_nearest(const char *word, const char *const words[])
{
    return np_nearest(word, nth_word, words);
}

void nextport_result_free(struct nextport_result *result)
{
    if (result)
        np_arena_free(((struct answer *)result)->arena);
}

static size_t n_sources(void)
{
    size_t n = 0;
    while (np_sources[n])
        n++;
    return n;
}

static const char *const *format_names(struct np_arena *arena)
{
    size_t n = 0;
    while (np_writers[n])
        n++;
    const char **names = np_alloc_array(arena, n + 2, sizeof *names);
    for (size_t i = 0; i < n; i++)
        names[i] = np_writers[i]->name;
    names[n] = "auto";
    return names;
}

struct nextport *nextport_new(void)
{
    struct np_arena *arena = np_arena_new();
    struct nextport *np = np_alloc(arena, sizeof *np);
    size_t n = n_sources();
    struct np_policy_setting *policies = np_alloc_array(arena, n, sizeof *policies);
    for (size_t i = 0; i < n; i++)
        policies[i] = (struct np_policy_setting){np_sources[i]->name, np_sources[i]->policy, np_sources[i]->fixed};
    np->arena = arena;
    np_settings_init(&np->settings, arena, policies, n, format_names(arena));
    return np;
}

void nextport_free(struct nextport *np)
{
    if (!np)
        return;
    np_arena_free(np->rendered);
    np_arena_free(np->arena);
}

enum nextport_status nextport_set(struct nextport *np, const char *key, const char *value, const char *origin,
                                  struct nextport_error *err)
{
    return np_settings_set(&np->settings, key, np_text_of(value), NP_BY_CALLER, origin, err);
}

static enum nextport_status unreadable_file(const char *file, const char *why, enum nextport_status status,
                                            const char *hint, struct nextport_error *err)
{
    np_fail(err, status, "configuration file %s: %s", file, why);
    np_hint(err, "%s", hint);
    return status;
}

static enum nextport_status load_file(struct nextport *np, struct np_reader *reader, const char *file, bool must_exist,
                                      struct nextport_error *err)
{
    struct np_text bytes;
    const char *why;
    switch (np_reader_read(reader, file, CONFIG_LIMIT, &bytes, &why)) {
    case NP_READ_OK:
        return np_settings_parse(&np->settings, file, bytes, err);
    case NP_READ_ABSENT:
        return must_exist ? unreadable_file(file, why, NEXTPORT_INPUT, "It was named, so it must be there.", err)
                          : NEXTPORT_OK;
    case NP_READ_DENIED:
        return unreadable_file(file, why, NEXTPORT_DENIED, "Make it readable for everyone: it holds no secrets.", err);
    case NP_READ_BAD:
        break;
    }
    return unreadable_file(file, why, NEXTPORT_INPUT, "It is a small text file, see nextport.conf(5).", err);
}

enum nextport_status nextport_load(struct nextport *np, const char *file, struct nextport_error *err)
{
    static const struct {
        const char *name, *key;
    } variables[] = {{"NEXTPORT_LEDGER", "ledger.file"}, {"NEXTPORT_FORMAT", "output.format"}};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = np_host_env(np->arena, variables[i].name);
        if (value && np_settings_set(&np->settings, variables[i].key, np_text_of(value), NP_BY_ENVIRONMENT,
                                     variables[i].name, err) != NEXTPORT_OK)
            return err->status;
    }
    const char *named = file ? file : np_host_env(np->arena, "NEXTPORT_CONFIG");
    struct np_reader *reader;
    if (named && (strcmp(named, "/dev/null") == 0 || np_equal_nocase(named, "NUL"))) /* the usual ways to say: none */
        return NEXTPORT_OK;
    if (np_reader_open(&reader, NULL, np->arena, err) != NEXTPORT_OK)
        return err->status;
    const char *usual = NULL;
    enum nextport_status status = named ? NEXTPORT_OK : np_host_config_file(np->arena, &usual, err);
    if (status == NEXTPORT_OK && (named || usual))
        status = load_file(np, reader, named ? named : usual, named != NULL, err);
    np_reader_close(reader);
    return status;
}

/* ---- What is built in ---------------------------------------------------------------------------------------- */

bool nextport_about_source(size_t i, struct nextport_about *ret)
{
    if (i >= n_sources())
        return false;
    *ret = (struct nextport_about){np_sources[i]->name, np_sources[i]->about};
    return true;
}

bool nextport_about_format(size_t i, struct nextport_about *ret)
{
    size_t n = 0;
    while (np_writers[n] && n < i)
        n++;
    if (!np_writers[n])
        return false;
    *ret = (struct nextport_about){np_writers[n]->name, np_writers[n]->about};
    return true;
}
