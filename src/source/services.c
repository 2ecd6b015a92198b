/* Services that start a program.
 * SPDX-License-Identifier: MIT */
#include "source/services.h"

#include <string.h>

struct commands {
    struct np_units *units;
    struct np_environment *environment;
    struct np_setting *items;
    size_t n, capacity;
};

static void take(void *ctx, const struct np_setting *setting)
{
    struct commands *commands = ctx;
    if (!np_text_is(setting->section, "Service") || np_environment_take(commands->environment, setting) ||
        !np_text_is(setting->key, "ExecStart"))
        return;
    if (!setting->value.len)
        commands->n = 0;
    else
        *(struct np_setting *)np_push(commands->units->files->ret->arena, &commands->items, &commands->n,
                                      &commands->capacity, sizeof *commands->items) = *setting;
}

/* What stands before a program says how it is started; behind '@' a name follows under which it knows itself. */
static bool starts(const char *word, const char *program, bool *ret_named)
{
    const size_t n = strspn(word, "@-:+!|");
    const char *path = word + n, *slash = strrchr(path, '/');
    *ret_named = memchr(word, '@', n) != NULL;
    return strcmp(slash ? slash + 1 : path, program) == 0 && !strstr(path, "/init.d/");
}

struct words {
    struct np_arena *arena;
    const char **items;
    size_t n, capacity;
};

static void add_word(struct words *words, const char *word)
{
    *(const char **)np_push(words->arena, &words->items, &words->n, &words->capacity, sizeof *words->items) = word;
}

/* A variable alone may have several words in it, and none where it is not set. */
static void expand_word(const struct np_service *service, struct words *words, const char *word)
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

static bool take_command(struct np_service *service, const struct np_setting *command, const char *program)
{
    struct words words = {.arena = service->environment.units->files->ret->arena};
    struct np_text rest = command->value;
    const char *word;
    bool named;
    if (np_unit_word(words.arena, &rest, &word) <= 0 || !starts(word, program, &named))
        return false;
    if (named)
        np_unit_word(words.arena, &rest, &word);
    np_environment_finish(&service->environment, NULL);
    while (np_unit_word(words.arena, &rest, &word) > 0)
        expand_word(service, &words, word);
    service->words = words.items;
    service->n = words.n;
    service->at = command->at;
    return true;
}

bool np_service_read(struct np_units *units, const struct np_unit *unit, const char *program, struct np_service *ret)
{
    struct commands commands = {.units = units, .environment = &ret->environment};
    *ret = (struct np_service){.unit = unit};
    np_environment_init(&ret->environment, units, unit);
    if (!np_unit_read(units, unit, take, &commands))
        return false;
    for (size_t i = 0; i < commands.n; i++)
        if (take_command(ret, &commands.items[i], program))
            return true;
    return false;
}

static bool is_worth_reading(const struct np_unit *unit, const char *program)
{
    static const char *const vendors[] = {"/usr/lib/", "/lib/"};
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++)
        if (strncmp(unit->path, vendors[i], strlen(vendors[i])) == 0)
            return strstr(unit->name, program) != NULL;
    return true;
}

void np_services_of(struct np_units *units, const char *program, const char *but, const struct np_service **ret,
                    size_t *ret_n)
{
    struct np_arena *arena = units->files->ret->arena;
    const struct np_unit *const *all, *const *chosen;
    struct np_service *services = NULL, service;
    size_t n_all, n, capacity = 0;
    *ret_n = 0;
    np_units_all(units, ".service", &all, &n_all);
    for (size_t i = 0; i < n_all; i++) {
        if (!is_worth_reading(all[i], program) || (but && strcmp(all[i]->name, but) == 0))
            continue;
        chosen = &all[i];
        n = 1;
        if (np_unit_is_template(all[i]))
            np_units_instances(units, all[i], &chosen, &n);
        for (size_t k = 0; k < n; k++)
            if (np_service_read(units, chosen[k], program, &service))
                *(struct np_service *)np_push(arena, &services, ret_n, &capacity, sizeof service) = service;
    }
    *ret = services;
}
