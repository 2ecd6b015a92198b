/* The sources: one row each.
 * SPDX-License-Identifier: MIT */
#include "source/source.h"

#include <string.h>

/* The ledger is asked by the facade, which holds its lock; the row gives the name and the policy. */
const struct np_source np_source_ledger = {
    .name = "ledger",
    .about = "ports that nextport has promised",
    .policy = NEXTPORT_REQUIRE,
    .fixed = true,
};

const struct np_source *const np_sources[] = {
    &np_source_ledger, &np_source_probe,      &np_source_sockets, &np_source_os,
    &np_source_nat,    &np_source_kubernetes, &np_source_httpsys, &np_source_iis,
    &np_source_nginx,  &np_source_apache,     &np_source_haproxy, &np_source_systemd,
    &np_source_docker, &np_source_podman,     &np_source_quadlet, NULL,
};

const struct np_source *np_source_find(const char *name)
{
    for (size_t i = 0; np_sources[i]; i++)
        if (strcmp(np_sources[i]->name, name) == 0)
            return np_sources[i];
    return NULL;
}
