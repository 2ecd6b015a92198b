/* SQLite in the program nextport, where nobody else uses it: one thread, a process that lives for two milliseconds. The
 * library leaves these settings to the program that links it, for they are the process's (https://sqlite.org/c3ref/config.html).
 *
 * A connection begins with room for a hundred pages and for a thousand small things, and touches all of it; the program
 * reads a dozen pages.
 * SPDX-License-Identifier: MIT */
#include <sqlite3.h>
#include <stddef.h>

/* Before main(), and before SQLite is asked for anything. What it refuses stays as it was. */
__attribute__((constructor)) static void settle_sqlite(void)
{
    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 128, 30);
}
