/* Sources: whatever yields claims. One file and one row in table.c each.
 * SPDX-License-Identifier: MIT */
#ifndef NP_SOURCE_H
#define NP_SOURCE_H

#include "core/settings.h"
#include "host/host.h"

/* The claims that only servers' own programs made. */
struct np_dumped {
    const struct nextport_claim **items;
    size_t n, capacity;
};

/* One look at the machine. */
struct np_look {
    const struct np_settings *settings;
    struct np_reader *reader;        /* below settings->root */
    struct np_reader *given;         /* for files that a person named: they do not lie below the root */
    struct np_evidence *ret;         /* claims and one sighting go here */
    struct np_portset ports;         /* only these matter; a source may ignore it */
    enum nextport_protocol protocol; /* of sockets */
    struct np_dumped *dumped;        /* a dump adds its claims */
    bool is_locked;                  /* others wait: no program is run, and what `dumped` has from before counts on */
    bool thorough;                   /* for a person to read, not for `next`: with programs, and nothing from a cache */
    bool is_live;                    /* set by a source: a program was asked, and may say something else any time */
    const struct np_os_ports
        *ret_os; /* what the system said, in the arena of `ret`; left alone when it was not asked */
};

/* Reads the files that a configuration includes, for parsers that stay pure (text_files.h). Returns what
 * np_reader_read_into() does. */
struct np_include {
    /* The bytes, and nothing else, go into the arena that is given. */
    enum np_read (*read)(void *ctx, struct np_arena *, const char *path, struct np_text *ret, const char **why);
    /* How a person would name the path. NULL: as it is. */
    const char *(*shown)(void *ctx, const char *path);
    /* Where an absolute Windows path lies on this machine; NULL, or a NULL answer: drive C is the root, and all there is. */
    const char *(*place)(void *ctx, struct np_arena *, const char *path);
    /* What np_reader_glob() does. NULL: no pattern matches anything. */
    enum np_read (*glob)(void *ctx, const char *pattern, const char *const **ret, size_t *ret_n, const char **why);
    /* What np_reader_list() and np_reader_is_same() do. NULL: there are no folders. */
    enum np_read (*list)(void *ctx, const char *folder, const struct np_entry **ret, size_t *ret_n, const char **why);
    bool (*is_same)(void *ctx, const char *path, const char *other);
    void *ctx;
};

struct np_source {
    const char *name, *about;
    enum nextport_policy policy; /* by default, for what cannot be seen */
    bool fixed;                  /* the policy cannot be weakened */
    /* Most users can never see it whole. What it hides may be the use of a lease that it was seen to use, and of no other:
     * else no lease of those users would ever end. */
    bool narrow;
    /* Declarations in files: all that look() learns of the machine it asks the reader, but for what makes it set
     * np_look.is_live. So it need not look again as long as nothing of that has changed. */
    bool files;
    /* Which label `adopt` fills with the holder of a claim ("project"); NULL: who holds a port here is nobody to lease to. */
    const char *adopts;
    bool adopts_when_asked; /* only where the source is named */
    /* What of a claim's holder is that label's value ("shop" of "frontend shop"); in the arena or the claim's. NULL: the
     * holder itself. */
    const char *(*label)(struct np_arena *, const struct nextport_claim *);
    /* The programs that have the sockets of this source's claims, ending in NULL: their holder is the claim's, and no
     * stranger. "w3wp" is also w3wp.exe, and "ftpsvc" a service of that name in svchost.exe. NULL: not known. */
    const char *const *programs;
    /* Looks, and makes exactly one sighting. A status other than NEXTPORT_OK is a failure of the look itself. NULL: the
     * facade itself asks (the probe, the ledger); the row gives name and policy. */
    enum nextport_status (*look)(struct np_look *, struct nextport_error *);
    /* The pure half of a file source: what one main file, with what it includes, says. For tests and fuzzing. */
    enum nextport_status (*parse)(struct np_evidence *, const char *file, struct np_text bytes,
                                  const struct np_include *, struct nextport_error *);
    /* Runs the server's own program to have it say its configuration, and adds to what look() saw; only where a person asked
     * for it (--dump). What went wrong is a warning and makes the sighting partial. NULL: there is none, and `no_dump` says
     * why one that exists is not offered. */
    enum nextport_status (*dump)(struct np_look *, struct nextport_error *);
    const char *no_dump;
};

/* A socket as a claim, without the program that has it. */
struct nextport_claim np_socket_claim(const struct np_socket *);

extern const struct np_source *const np_sources[]; /* ends with NULL, in the order that help prints */
const struct np_source *np_source_find(const char *name);

extern const struct np_source np_source_apache, np_source_docker, np_source_haproxy, np_source_httpsys, np_source_iis,
    np_source_kubernetes, np_source_ledger, np_source_nat, np_source_nginx, np_source_os, np_source_podman,
    np_source_probe, np_source_quadlet, np_source_sockets, np_source_systemd;

#endif
