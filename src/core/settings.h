/* Settings: one table of keys, whatever they are set by (file, environment, option), with the origin of each value.
 * SPDX-License-Identifier: MIT */
#ifndef NP_SETTINGS_H
#define NP_SETTINGS_H

#include "core/lease.h"

/* How strongly a value binds: a stronger one is not replaced by a weaker one set later. */
enum np_strength { NP_BY_DEFAULT, NP_BY_FILE, NP_BY_ENVIRONMENT, NP_BY_CALLER };

#define NP_POOL_DEFAULT "49000-65000"

/* Named by the sources' table, so that core need not know it. */
struct np_policy_setting {
    const char *source;
    enum nextport_policy policy;
    bool fixed; /* cannot be weakened: the probe, the ledger */
};

struct np_setting_value {
    enum np_strength strength;
    const char *origin, *text;
};

struct np_string_list {
    const char **items;
    size_t n, capacity;
};

struct np_settings {
    struct np_arena *arena;
    struct np_portset pool, exclude;
    struct np_portset machine_pool; /* as the machine is configured, whatever this request asks for */
    enum nextport_protocol protocol;
    bool select_owner; /* the search begins where the owner's key says */
    bool avoid_browser, avoid_services;
    enum nextport_severity fail_on; /* the least that makes `check` fail */
    int64_t pending_s;              /* how long an unused lease lives; of an owner: */
    int64_t owned_s;
    struct np_lifetimes lifetimes;
    int64_t history_s;  /* how long the events of what has ended are kept */
    int64_t wait_s;     /* for the ledger's lock */
    const char *ledger; /* NULL: the default place */
    bool user;          /* a ledger of the user's own */
    const char *format; /* NULL: plain or table */
    bool strict;
    const char *root;            /* NULL: this machine */
    struct np_string_list dumps; /* sources whose servers may be run to say their configuration */
    struct np_string_list iis_files;
    bool iis_express; /* read the user's own as well */
    struct np_string_list nginx_files, apache_files, haproxy_files, systemd_files, quadlet_files;
    struct np_policy_setting *policies;
    size_t n_policies;
    const char *const *formats;      /* known to the writers; borrowed, ends with NULL */
    struct np_setting_value *values; /* one for each row of the table, then one for each policy */
};

/* `policies` is the sources' table with defaults, copied. `formats` is the writers' names, ending in NULL, borrowed. */
void np_settings_init(struct np_settings *, struct np_arena *, const struct np_policy_setting *policies, size_t n,
                      const char *const *formats);

/* NEXTPORT_INPUT: unknown key (hint: the nearest), or a value that does not fit. */
enum nextport_status np_settings_set(struct np_settings *, const char *key, struct np_text value, enum np_strength,
                                     const char *origin, struct nextport_error *);

/* INI: "[section]" lines, "key = value" lines, comments from # or ; at the start of a line, blank lines. Values run to
 * the end of the line, blanks trimmed. Errors name FILE:LINE. */
enum nextport_status np_settings_parse(struct np_settings *, const char *file, struct np_text bytes,
                                       struct nextport_error *);

enum nextport_policy np_settings_policy(const struct np_settings *, const char *source);
/* What the value in force was set by; NP_BY_DEFAULT for an unknown key. */
enum np_strength np_settings_strength(const struct np_settings *, const char *key);
/* Set by something stronger than `than`? */
bool np_settings_is_set(const struct np_settings *, const char *key, enum np_strength than);

/* Every setting in force: section, name, value, origin. */
void np_settings_items(const struct np_settings *, struct np_arena *, struct nextport_item **ret, size_t *ret_n);

#endif
