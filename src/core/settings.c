/* SPDX-License-Identifier: MIT */
#include "core/settings.h"

#include "core/audit.h"

#include <string.h>

typedef enum nextport_status apply_fn(struct np_settings *, struct np_text, const char *what, struct nextport_error *);

struct setting {
    const char *key;
    const char *fallback; /* the default, as text; NULL: unset */
    bool list;
    apply_fn *apply;
};

static enum nextport_status apply_range(struct np_settings *s, struct np_text value, const char *what,
                                        struct nextport_error *err)
{
    struct np_portset pool = {{0}};
    if (np_portset_parse(&pool, value, what, err) != NEXTPORT_OK)
        return err->status;
    s->pool = pool;
    return NEXTPORT_OK;
}

static enum nextport_status apply_exclude(struct np_settings *s, struct np_text value, const char *what,
                                          struct nextport_error *err)
{
    return np_portset_parse(&s->exclude, value, what, err);
}

static enum nextport_status apply_protocol(struct np_settings *s, struct np_text value, const char *what,
                                           struct nextport_error *err)
{
    if (np_protocol_parse(value, &s->protocol))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is not a protocol", what, (int)value.len, value.ptr);
    np_hint(err, "Protocols are tcp, udp and both.");
    return err->status;
}

static enum nextport_status duration(int64_t *ret, struct np_text value, const char *what, struct nextport_error *err)
{
    if (np_text_duration(value, ret))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is not a duration", what, (int)value.len, value.ptr);
    np_hint(err, "Durations are 1 second to 10 years: 90s, 15m, 24h, 7d.");
    return err->status;
}

static enum nextport_status apply_pending(struct np_settings *s, struct np_text value, const char *what,
                                          struct nextport_error *err)
{
    return duration(&s->pending_s, value, what, err);
}

static enum nextport_status apply_owned(struct np_settings *s, struct np_text value, const char *what,
                                        struct nextport_error *err)
{
    return duration(&s->owned_s, value, what, err);
}

static enum nextport_status apply_absent(struct np_settings *s, struct np_text value, const char *what,
                                         struct nextport_error *err)
{
    return duration(&s->lifetimes.absent_s, value, what, err);
}

static enum nextport_status apply_rest(struct np_settings *s, struct np_text value, const char *what,
                                       struct nextport_error *err)
{
    return duration(&s->lifetimes.rest_s, value, what, err);
}

static enum nextport_status apply_look(struct np_settings *s, struct np_text value, const char *what,
                                       struct nextport_error *err)
{
    return duration(&s->lifetimes.look_s, value, what, err);
}

static enum nextport_status apply_looks(struct np_settings *s, struct np_text value, const char *what,
                                        struct nextport_error *err)
{
    uint64_t looks;
    if (!np_text_u64(value, 1000, &looks) || looks < 1) {
        np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is not a number of looks", what, (int)value.len, value.ptr);
        np_hint(err, "Write a number from 1 to 1000.");
        return err->status;
    }
    s->lifetimes.looks = (unsigned)looks;
    return NEXTPORT_OK;
}

static enum nextport_status apply_history(struct np_settings *s, struct np_text value, const char *what,
                                          struct nextport_error *err)
{
    return duration(&s->history_s, value, what, err);
}

static enum nextport_status apply_select(struct np_settings *s, struct np_text value, const char *what,
                                         struct nextport_error *err)
{
    s->select_owner = np_text_is(value, "owner");
    if (s->select_owner || np_text_is(value, "lowest"))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is no way to select", what, (int)value.len, value.ptr);
    np_hint(err, "Write lowest or owner.");
    return err->status;
}

static enum nextport_status apply_avoid(struct np_settings *s, struct np_text value, const char *what,
                                        struct nextport_error *err)
{
    struct np_text rest = value, part;
    s->avoid_browser = s->avoid_services = false;
    while (!np_text_is(value, "none") && np_text_split(&rest, ',', &part)) {
        const struct np_text word = np_text_trim(part);
        s->avoid_browser = s->avoid_browser || np_text_is(word, "browser");
        s->avoid_services = s->avoid_services || np_text_is(word, "services");
        if (np_text_is(word, "browser") || np_text_is(word, "services"))
            continue;
        np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is nothing to avoid", what, (int)word.len, word.ptr);
        np_hint(err, "Write browser, services, browser,services or none.");
        return err->status;
    }
    return NEXTPORT_OK;
}

static enum nextport_status apply_fail_on(struct np_settings *s, struct np_text value, const char *what,
                                          struct nextport_error *err)
{
    if (np_severity_parse(value, &s->fail_on))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is no severity", what, (int)value.len, value.ptr);
    np_hint(err, "Severities are hint, hazard and error.");
    return err->status;
}

static enum nextport_status apply_wait(struct np_settings *s, struct np_text value, const char *what,
                                       struct nextport_error *err)
{
    if (np_text_is(value, "0") || np_text_is(value, "0s")) {
        s->wait_s = 0;
        return NEXTPORT_OK;
    }
    if (np_text_duration(value, &s->wait_s))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is not a duration", what, (int)value.len, value.ptr);
    np_hint(err, "Write 0 to wait for nobody, or 1 second to 10 years: 90s, 15m, 24h, 7d.");
    return err->status;
}

static enum nextport_status path(const char **ret, struct np_settings *s, struct np_text value, const char *what,
                                 struct nextport_error *err)
{
    if (!value.len) {
        np_fail(err, NEXTPORT_INPUT, "%s: the path is empty", what);
        np_hint(err, "Give a path or leave it out; a variable that it was made of is probably empty.");
        return err->status;
    }
    *ret = np_text_dup(s->arena, value);
    return NEXTPORT_OK;
}

static enum nextport_status apply_ledger(struct np_settings *s, struct np_text value, const char *what,
                                         struct nextport_error *err)
{
    return path(&s->ledger, s, value, what, err);
}

static enum nextport_status apply_root(struct np_settings *s, struct np_text value, const char *what,
                                       struct nextport_error *err)
{
    return path(&s->root, s, value, what, err);
}

static enum nextport_status add_path(struct np_string_list *list, struct np_settings *s, struct np_text value,
                                     const char *what, struct nextport_error *err)
{
    const char *file = NULL;
    if (path(&file, s, value, what, err) != NEXTPORT_OK)
        return err->status;
    *(const char **)np_push(s->arena, &list->items, &list->n, &list->capacity, sizeof *list->items) = file;
    return NEXTPORT_OK;
}

static enum nextport_status apply_iis_files(struct np_settings *s, struct np_text value, const char *what,
                                            struct nextport_error *err)
{
    return add_path(&s->iis_files, s, value, what, err);
}

static enum nextport_status apply_nginx_files(struct np_settings *s, struct np_text value, const char *what,
                                              struct nextport_error *err)
{
    return add_path(&s->nginx_files, s, value, what, err);
}

static enum nextport_status apply_haproxy_files(struct np_settings *s, struct np_text value, const char *what,
                                                struct nextport_error *err)
{
    return add_path(&s->haproxy_files, s, value, what, err);
}

static enum nextport_status apply_systemd_files(struct np_settings *s, struct np_text value, const char *what,
                                                struct nextport_error *err)
{
    return add_path(&s->systemd_files, s, value, what, err);
}

static enum nextport_status apply_apache_files(struct np_settings *s, struct np_text value, const char *what,
                                               struct nextport_error *err)
{
    return add_path(&s->apache_files, s, value, what, err);
}

static enum nextport_status apply_quadlet_files(struct np_settings *s, struct np_text value, const char *what,
                                                struct nextport_error *err)
{
    return add_path(&s->quadlet_files, s, value, what, err);
}

static enum nextport_status apply_dump(struct np_settings *s, struct np_text value, const char *what,
                                       struct nextport_error *err)
{
    if (!value.len)
        return np_fail(err, NEXTPORT_INPUT, "%s: the name of the source is empty", what);
    *(const char **)np_push(s->arena, &s->dumps.items, &s->dumps.n, &s->dumps.capacity, sizeof *s->dumps.items) =
        np_text_dup(s->arena, value);
    return NEXTPORT_OK;
}

static enum nextport_status boolean(bool *ret, struct np_text value, const char *what, struct nextport_error *err)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"yes", true}, {"no", false}, {"true", true}, {"false", false}, {"on", true}, {"off", false}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (np_text_is_nocase(value, words[i].word)) {
            *ret = words[i].value;
            return NEXTPORT_OK;
        }
    np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is neither yes nor no", what, (int)value.len, value.ptr);
    np_hint(err, "Write yes or no.");
    return err->status;
}

static enum nextport_status apply_user(struct np_settings *s, struct np_text value, const char *what,
                                       struct nextport_error *err)
{
    return boolean(&s->user, value, what, err);
}

static enum nextport_status apply_iis_express(struct np_settings *s, struct np_text value, const char *what,
                                              struct nextport_error *err)
{
    return boolean(&s->iis_express, value, what, err);
}

static enum nextport_status apply_strict(struct np_settings *s, struct np_text value, const char *what,
                                         struct nextport_error *err)
{
    return boolean(&s->strict, value, what, err);
}

static const char *nth_word(const void *ctx, size_t i)
{
    const char *const *words = ctx;
    return words[i];
}

static enum nextport_status apply_format(struct np_settings *s, struct np_text value, const char *what,
                                         struct nextport_error *err)
{
    char *word = np_text_dup(s->arena, value);
    for (size_t i = 0; s->formats[i]; i++)
        if (strcmp(word, s->formats[i]) == 0) {
            s->format = word;
            return NEXTPORT_OK;
        }
    const char *nearest = np_nearest(word, nth_word, s->formats);
    np_fail(err, NEXTPORT_INPUT, "%s: unknown format '%s'", what, np_neutral(s->arena, word, false));
    if (nearest)
        np_hint(err, "Did you mean '%s'?", nearest);
    struct np_buf names = {.arena = s->arena};
    for (size_t i = 0; s->formats[i]; i++)
        np_buf_printf(&names, "%s%s", i ? ", " : "", s->formats[i]);
    np_hint(err, "Formats are %s.", names.ptr);
    return err->status;
}

enum { POOL_RANGE }; /* the first row */

static const struct setting table[] = {
    {"pool.range", NP_POOL_DEFAULT, false, apply_range},
    {"pool.exclude", NULL, true, apply_exclude},
    {"pool.protocol", "tcp", false, apply_protocol},
    {"pool.select", "lowest", false, apply_select},
    {"pool.avoid", "none", false, apply_avoid},
    {"lease.pending", "24h", false, apply_pending},
    {"lease.owned", "7d", false, apply_owned},
    {"lease.absent", "7d", false, apply_absent},
    {"check.fail-on", "error", false, apply_fail_on},
    {"lease.looks", "3", false, apply_looks},
    {"lease.look", "1h", false, apply_look},
    {"lease.rest", "120s", false, apply_rest},
    {"history.keep", "400d", false, apply_history},
    {"ledger.file", NULL, false, apply_ledger},
    {"ledger.user", "no", false, apply_user},
    {"ledger.wait", "30s", false, apply_wait},
    {"output.format", NULL, false, apply_format},
    {"iis.files", NULL, true, apply_iis_files},
    {"iis.express", "no", false, apply_iis_express},
    {"nginx.files", NULL, true, apply_nginx_files},
    {"haproxy.files", NULL, true, apply_haproxy_files},
    {"systemd.files", NULL, true, apply_systemd_files},
    {"apache.files", NULL, true, apply_apache_files},
    {"quadlet.files", NULL, true, apply_quadlet_files},
    {"machine.root", NULL, false, apply_root},
    {"machine.dump", NULL, true, apply_dump},
    {"policy.strict", "no", false, apply_strict},
};

enum { N_SETTINGS = sizeof table / sizeof *table };

static const char policy_section[] = "policy.";

/* The slot of a key in `values`: a row of the table, or behind them a policy. -1: unknown. */
static int slot_of(const struct np_settings *s, const char *key)
{
    for (int i = 0; i < N_SETTINGS; i++)
        if (strcmp(table[i].key, key) == 0)
            return i;
    if (strncmp(key, policy_section, sizeof policy_section - 1) == 0)
        for (size_t i = 0; i < s->n_policies; i++)
            if (strcmp(s->policies[i].source, key + sizeof policy_section - 1) == 0)
                return N_SETTINGS + (int)i;
    return -1;
}

static const char *key_of(const struct np_settings *s, size_t slot)
{
    if (slot < N_SETTINGS)
        return table[slot].key;
    if (slot < N_SETTINGS + s->n_policies)
        return np_sprintf(s->arena, "%s%s", policy_section, s->policies[slot - N_SETTINGS].source);
    return NULL;
}

static const char *nth_key(const void *ctx, size_t i)
{
    return key_of(ctx, i);
}

static enum nextport_status apply_policy(struct np_settings *s, size_t i, struct np_text value, const char *what,
                                         struct nextport_error *err)
{
    struct np_policy_setting *policy = &s->policies[i];
    enum nextport_policy parsed;
    if (!np_policy_parse(value, &parsed)) {
        np_fail(err, NEXTPORT_INPUT, "%s: '%.*s' is not a policy", what, (int)value.len, value.ptr);
        np_hint(err, "Policies are require, warn and off.");
        return err->status;
    }
    if (policy->fixed && parsed != NEXTPORT_REQUIRE) {
        np_fail(err, NEXTPORT_INPUT, "%s: the policy of '%s' cannot be weakened", what, policy->source);
        np_hint(err, "Without it a port could be given that is taken or promised.");
        return err->status;
    }
    policy->policy = parsed;
    return NEXTPORT_OK;
}

static enum nextport_status apply(struct np_settings *s, int slot, struct np_text value, const char *what,
                                  struct nextport_error *err)
{
    return slot < N_SETTINGS ? table[slot].apply(s, value, what, err)
                             : apply_policy(s, (size_t)(slot - N_SETTINGS), value, what, err);
}

void np_settings_init(struct np_settings *s, struct np_arena *arena, const struct np_policy_setting *policies, size_t n,
                      const char *const *formats)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    *s = (struct np_settings){.arena = arena, .n_policies = n, .formats = formats};
    s->policies = np_alloc_array(arena, n, sizeof *policies);
    s->values = np_alloc_array(arena, N_SETTINGS + n, sizeof *s->values);
    for (size_t i = 0; i < n; i++) {
        s->policies[i] = policies[i];
        s->values[N_SETTINGS + i].text = np_policy_name(policies[i].policy);
    }
    for (int i = 0; i < N_SETTINGS; i++) {
        s->values[i].text = table[i].fallback;
        if (table[i].fallback)
            apply(s, i, np_text_of(table[i].fallback), "default", &err);
    }
    s->machine_pool = s->pool;
}

static enum nextport_status unknown(const struct np_settings *s, const char *key, const char *origin,
                                    struct nextport_error *err)
{
    const char *nearest = np_nearest(key, nth_key, s);
    np_fail(err, NEXTPORT_INPUT, "%s: unknown setting '%s'", origin, np_neutral(s->arena, key, false));
    if (nearest)
        np_hint(err, "Did you mean '%s'?", nearest);
    np_hint(err, "'nextport config' lists every setting.");
    return err->status;
}

/* A value that is overridden must be sound all the same: it is tried on a copy. */
static enum nextport_status set(struct np_settings *s, int slot, struct np_text value, enum np_strength strength,
                                const char *what, const char *origin, struct nextport_error *err)
{
    struct np_setting_value *held = &s->values[slot];
    bool list = slot < N_SETTINGS && table[slot].list;
    value = np_text_trim(value);
    if (!list && held->strength > strength) {
        struct np_settings scratch = *s;
        scratch.policies = np_alloc_array(s->arena, s->n_policies, sizeof *s->policies);
        memcpy(scratch.policies, s->policies, s->n_policies * sizeof *s->policies);
        if (apply(&scratch, slot, value, what, err) != NEXTPORT_OK)
            return err->status;
        if (strength <= NP_BY_FILE && slot == POOL_RANGE)
            s->machine_pool = scratch.pool;
        return NEXTPORT_OK;
    }
    if (apply(s, slot, value, what, err) != NEXTPORT_OK)
        return err->status;
    if (strength <= NP_BY_FILE && slot == POOL_RANGE)
        s->machine_pool = s->pool;
    const char *text = np_text_dup(s->arena, value), *from = np_strdup(s->arena, origin);
    bool more = list && held->origin;
    held->text = more ? np_sprintf(s->arena, "%s,%s", held->text, text) : text;
    held->origin = more && strcmp(held->origin, from) != 0 ? np_sprintf(s->arena, "%s, %s", held->origin, from) : from;
    if (strength > held->strength)
        held->strength = strength;
    return NEXTPORT_OK;
}

enum nextport_status np_settings_set(struct np_settings *s, const char *key, struct np_text value,
                                     enum np_strength strength, const char *origin, struct nextport_error *err)
{
    int slot = slot_of(s, key);
    return slot < 0 ? unknown(s, key, origin, err) : set(s, slot, value, strength, origin, origin, err);
}

/* ---- The file ------------------------------------------------------------------------------------------------ */

struct ini {
    struct np_settings *settings;
    const char *file;
    unsigned line;
    const char *section; /* NULL before the first */
    unsigned *set_in;    /* per slot: the line that set it, 0 none */
};

static bool known_section(const struct np_settings *s, const char *section)
{
    const char *key;
    size_t n = strlen(section);
    for (size_t i = 0; (key = key_of(s, i)); i++)
        if (strncmp(key, section, n) == 0 && key[n] == '.')
            return true;
    return false;
}

static const char *nth_section(const void *ctx, size_t i)
{
    const struct np_settings *s = ctx;
    const char *key = key_of(s, i);
    return key ? np_strndup(s->arena, key, strcspn(key, ".")) : NULL;
}

static enum nextport_status parse_section(struct ini *ini, struct np_text line, struct nextport_error *err)
{
    struct np_arena *arena = ini->settings->arena;
    if (line.ptr[line.len - 1] != ']')
        return np_fail(err, NEXTPORT_INPUT, "%s:%u: the section's closing ']' is missing", ini->file, ini->line);
    struct np_text name = np_text_trim((struct np_text){line.ptr + 1, line.len - 2});
    ini->section = np_text_dup(arena, name);
    if (known_section(ini->settings, ini->section))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_INPUT, "%s:%u: unknown section [%s]", ini->file, ini->line,
            np_neutral(arena, ini->section, false));
    const char *nearest = np_nearest(ini->section, nth_section, ini->settings);
    if (nearest)
        np_hint(err, "Did you mean [%s]?", nearest);
    np_hint(err, "'nextport config' lists every section.");
    return err->status;
}

static enum nextport_status parse_value(struct ini *ini, struct np_text line, struct nextport_error *err)
{
    struct np_settings *s = ini->settings;
    struct np_text key, value = line;
    np_text_split(&value, '=', &key);
    if (!value.ptr) {
        np_fail(err, NEXTPORT_INPUT, "%s:%u: neither '[section]' nor 'key = value'", ini->file, ini->line);
        np_hint(err, "Comments begin with # or ; at the start of a line.");
        return err->status;
    }
    if (!ini->section)
        return np_fail(err, NEXTPORT_INPUT, "%s:%u: a setting before the first [section]", ini->file, ini->line);
    key = np_text_trim(key);
    const char *full = np_sprintf(s->arena, "%s.%.*s", ini->section, (int)key.len, key.ptr);
    const char *origin = np_sprintf(s->arena, "%s:%u", ini->file, ini->line);
    int slot = slot_of(s, full);
    if (slot < 0)
        return unknown(s, full, origin, err);
    const bool is_list = slot < N_SETTINGS && table[slot].list; /* behind the table are the policies */
    if (ini->set_in[slot] && !is_list)
        return np_fail(err, NEXTPORT_INPUT, "%s: %s was set already in line %u", origin, full, ini->set_in[slot]);
    ini->set_in[slot] = ini->line;
    const char *what = np_sprintf(s->arena, "%s: %s", origin, full);
    return set(s, slot, value, NP_BY_FILE, what, origin, err);
}

static enum nextport_status not_utf8(const char *file, unsigned line, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_INPUT, "%s:%u: not text in UTF-8", file, line);
    np_hint(err, "Save it as UTF-8; some editors and shells write UTF-16 or a code page of their own.");
    return err->status;
}

enum nextport_status np_settings_parse(struct np_settings *s, const char *file, struct np_text bytes,
                                       struct nextport_error *err)
{
    struct ini ini = {.settings = s, .file = file};
    struct np_text line;
    ini.set_in = np_alloc_array(s->arena, N_SETTINGS + s->n_policies, sizeof *ini.set_in);
    if (bytes.len >= 3 && memcmp(bytes.ptr, "\xef\xbb\xbf", 3) == 0)
        bytes.ptr += 3, bytes.len -= 3;
    while (np_text_split(&bytes, '\n', &line)) {
        ini.line++;
        line = np_text_trim(line);
        if (!line.len || line.ptr[0] == '#' || line.ptr[0] == ';')
            continue;
        if (memchr(line.ptr, '\0', line.len) || !np_utf8_valid(line))
            return not_utf8(file, ini.line, err);
        enum nextport_status status =
            line.ptr[0] == '[' ? parse_section(&ini, line, err) : parse_value(&ini, line, err);
        if (status != NEXTPORT_OK)
            return status;
    }
    return NEXTPORT_OK;
}

/* ---- Asking -------------------------------------------------------------------------------------------------- */

enum nextport_policy np_settings_policy(const struct np_settings *s, const char *source)
{
    for (size_t i = 0; i < s->n_policies; i++)
        if (strcmp(s->policies[i].source, source) == 0)
            return s->strict && s->policies[i].policy == NEXTPORT_WARN ? NEXTPORT_REQUIRE : s->policies[i].policy;
    return NEXTPORT_REQUIRE;
}

enum np_strength np_settings_strength(const struct np_settings *s, const char *key)
{
    int slot = slot_of(s, key);
    return slot < 0 ? NP_BY_DEFAULT : s->values[slot].strength;
}

bool np_settings_is_set(const struct np_settings *s, const char *key, enum np_strength than)
{
    int slot = slot_of(s, key);
    return slot >= 0 && s->values[slot].origin && s->values[slot].strength > than;
}

void np_settings_items(const struct np_settings *s, struct np_arena *arena, struct nextport_item **ret, size_t *ret_n)
{
    size_t n = N_SETTINGS + s->n_policies;
    *ret = np_alloc_array(arena, n, sizeof **ret);
    *ret_n = n;
    for (size_t i = 0; i < n; i++) {
        const char *key = key_of(s, i), *dot = strchr(key, '.');
        (*ret)[i] = (struct nextport_item){
            .section = np_strndup(arena, key, (size_t)(dot - key)),
            .name = np_strdup(arena, dot + 1),
            .value = np_strdup(arena, s->values[i].text),
            .origin = np_strdup(arena, s->values[i].origin ? s->values[i].origin : "default"),
        };
    }
}
