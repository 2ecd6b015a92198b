/* The list of writers. One row each.
 * SPDX-License-Identifier: MIT */
#include "output/writer.h"

#include <string.h>

const struct np_writer *const np_writers[] = {
    &np_writer_plain, &np_writer_table, &np_writer_json, &np_writer_octopus, &np_writer_junit, NULL,
};

const struct np_writer *np_writer_find(const char *name)
{
    for (size_t i = 0; np_writers[i]; i++)
        if (strcmp(np_writers[i]->name, name) == 0)
            return np_writers[i];
    return NULL;
}
