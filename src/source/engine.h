/* What the sources of container engines share: asking one over its socket, and saying what was not seen.
 * SPDX-License-Identifier: MIT */
#ifndef NP_ENGINE_H
#define NP_ENGINE_H

#include "source/source.h"

/* What became of looking at one engine. */
struct np_engine_look {
    struct np_look *look;
    const struct np_source *source;
    size_t n_unseen;        /* containers, or places where some may be */
    const char *why, *hint; /* of the first of them; hint NULL: none */
};

/* Notes that something was not seen; a warning with each `why`, up to a bound. */
void np_engine_unseen(struct np_engine_look *, const char *why, const char *hint);

/* Lists the containers over `endpoint` and inspects each: the list itself hides the ports of what is stopped. The answer
 * is that of np_stream_open(); all else that goes wrong is unseen. */
enum np_read np_engine_ask(struct np_engine_look *, const char *endpoint, const char *group, const char **why);

/* The one sighting. `present`: there is such an engine, or was. */
void np_engine_sight(struct np_engine_look *, bool present);

#endif
