/* Where Podman is told to keep its containers: storage.conf, which is TOML. Pure, from the file's bytes.
 * SPDX-License-Identifier: MIT */
#ifndef NP_PODMAN_STORAGE_H
#define NP_PODMAN_STORAGE_H

#include "host/host.h"

/* Of [storage], as written, with variables in it; NULL: not said. */
struct np_podman_storage {
    const char *file;
    const char *graphroot;
    const char *rootless_path; /* of ordinary users */
};

/* `file` names it. NEXTPORT_BLIND: it is not understood as far as that needs; what it said until then stays. */
enum nextport_status np_podman_storage_read(struct np_arena *, const char *file, struct np_text bytes,
                                            struct np_podman_storage *ret, struct nextport_error *);

/* A path of it as a glob, with the variables that the place knows. NULL: it has another one, or is not absolute. */
const char *np_podman_storage_glob(struct np_arena *, const char *path, const struct np_podman_place *);

#endif
