/* The name service, asked through getent(1): its plugins belong to the libc of the system, and the program brings its own
 * libc along. Rare: what is in /etc/group and HOME answers first.
 * SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "host/linux/linux.h"

#include <stdio.h>

enum { LINE_LIMIT = 1 << 20, BUDGET_MS = 5000 }; /* a group may have many members, and be asked of another machine */

static bool field_of(struct np_text text, unsigned field, char *ret, size_t size)
{
    struct np_text line, part;
    if (!np_text_split(&text, '\n', &line))
        return false;
    for (unsigned i = 0; i <= field; i++)
        if (!np_text_split(&line, ':', &part))
            return false;
    return snprintf(ret, size, "%.*s", (int)part.len, part.ptr) < (int)size;
}

bool np_name_field(const char *database, const char *key, unsigned field, char *ret, size_t size)
{
    const char *words[] = {database, key, NULL}, *environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    const struct np_program getent = {.file = "/usr/bin/getent",
                                      .words = words,
                                      .environment = environment,
                                      .limit = LINE_LIMIT,
                                      .budget_ms = BUDGET_MS};
    struct np_arena *arena = np_arena_new();
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    struct np_printed said;
    const bool found = np_host_run(arena, &getent, &said, &ignored) == NEXTPORT_OK && said.status == 0 &&
                       field_of(said.out, field, ret, size);
    np_arena_free(arena);
    return found;
}
