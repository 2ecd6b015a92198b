/* Services that start a program: its words and its environment. For servers that are configured by files which a
 * service names.
 * SPDX-License-Identifier: MIT */
#ifndef NP_SERVICES_H
#define NP_SERVICES_H

#include "source/units.h"

struct np_service {
    const struct np_unit *unit;
    /* Behind the program, with specifiers and variables filled in. NULL: one that is not known here. */
    const char *const *words;
    size_t n;
    const char *folder;    /* in which it starts; NULL: not known here */
    struct np_position at; /* of the ExecStart= */
    struct np_environment environment;
};

struct np_services {
    struct np_service *items;
    size_t n, capacity;
};

/* Adds each command of a service that starts `program` ("haproxy", in whatever folder but that of init scripts), by itself, by
 * env, nice and their like, by a script that hands its words on, or by the string of a shell. Where one may be that is not
 * understood this is a gap. In the arena, as is what follows. */
void np_service_read(struct np_units *, const struct np_unit *, const char *program, struct np_services *ret);

/* The services that do, by name: of those that came with the system (/usr/lib) only such whose names have that of the
 * program in them, so that few files are read; all others. Of templates the instances that something wants. `but` (NULL:
 * none) is left out. */
void np_services_of(struct np_units *, const char *program, const char *but, struct np_services *ret);

#endif
