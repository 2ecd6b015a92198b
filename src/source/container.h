/* What containers publish: one container of an engine, as Docker and those that speak like it describe it, and a port as
 * people ask for it. Pure.
 * SPDX-License-Identifier: MIT */
#ifndef NP_CONTAINER_H
#define NP_CONTAINER_H

#include "source/source.h"

/* How many characters of its number name a container, here as with the engines. */
enum { NP_CONTAINER_ID = 12 };

/* What a container publishes, as a person writes it. */
struct np_published {
    const char *address;           /* "*", "127.0.0.1", "[::1]" */
    struct nextport_range outside; /* on this machine; 0-0: the engine chooses */
    struct nextport_range inside;
    unsigned protocol; /* 0: neither TCP nor UDP */
};

/* [[ADDRESS:][HOSTPORT]:]CONTAINERPORT[/PROTOCOL]; both ports may be ranges, whose lengths are not compared. NULL, or what
 * is wrong with it. */
const char *np_published_parse(struct np_arena *, struct np_text, struct np_published *ret);

/* Where a description comes from. Texts are borrowed until the claims are made. */
struct np_container_text {
    const char *origin; /* a file's path, or what was asked: names the lines */
    struct np_text bytes;
};

/* Reads a container's config.v2.json: name, state, and the numbers that were chosen when it was started. bytes.ptr NULL:
 * there is none. */
typedef struct np_container_text np_container_state_fn(void *ctx);

/* Claims what one container publishes, running or stopped. `id` names it while nothing else does. `ports` holds the port
 * bindings: hostconfig.json, or the engine's answer to an inspection, which has everything. `state` (NULL: there is none) is
 * asked only for a container that publishes something. A binding that is none is a warning with its line. NEXTPORT_BLIND: a
 * text is not what it should be; what it said until then is claimed. */
enum nextport_status np_container_claim(struct np_evidence *, const char *source, const char *id,
                                        const struct np_container_text *ports, np_container_state_fn *state, void *ctx,
                                        struct nextport_error *);

/* That have the sockets of Podman's containers; ends in NULL. */
extern const char *const np_podman_programs[];

#endif
