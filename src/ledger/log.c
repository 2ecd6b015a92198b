/* How a writer opens the write-ahead log.
 *
 * SQLite syncs the log's folder once in each process, together with the first sync of a log that it may have created; in
 * a process that commits once, that is a second flush of the disk for each commit. But a log begins with a header, and
 * the header is synced before a transaction is written behind it: with synchronous=FULL or NORMAL, so by whichever
 * program. A log that is longer than its header has a name that was synced, and is opened as what is not to be created.
 *
 * SPDX-License-Identifier: MIT */
#include "ledger/sqlite.h"

#include <stdio.h>

enum { HEADER_SIZE = 32 }; /* https://sqlite.org/fileformat.html#the_write_ahead_log */

/* False: there is none that may be written, or none with a transaction in it; nothing is left open. */
static bool open_begun(sqlite3_vfs *base, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    sqlite3_int64 size = 0;
    int got = 0; /* SQLite opens for reading what it may not write */
    bool begun = base->xOpen(base, name, f, flags & ~SQLITE_OPEN_CREATE, &got) == SQLITE_OK &&
                 (got & SQLITE_OPEN_READWRITE) != 0 && f->pMethods->xFileSize(f, &size) == SQLITE_OK &&
                 size > HEADER_SIZE;
    if (!begun && f->pMethods != NULL)
        f->pMethods->xClose(f);
    if (begun && ret_flags != NULL)
        *ret_flags = got;
    return begun;
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    sqlite3_vfs *base = ((struct np_log_vfs *)vfs)->base;
    if ((flags & SQLITE_OPEN_WAL) != 0 && open_begun(base, name, f, flags, ret_flags))
        return SQLITE_OK;
    return base->xOpen(base, name, f, flags, ret_flags);
}

const char *np_log_register(struct np_log_vfs *v, const char *usual)
{
    sqlite3_vfs *base = sqlite3_vfs_find(usual);
    snprintf(v->name, sizeof v->name, "nextport-%p", (void *)v); /* one for each connection */
    v->base = base;
    v->vfs = *base;
    v->vfs.pNext = NULL;
    v->vfs.zName = v->name;
    v->vfs.xOpen = open_file;
    return sqlite3_vfs_register(&v->vfs, 0) == SQLITE_OK ? v->name : usual;
}

void np_log_unregister(struct np_log_vfs *v)
{
    if (v->base != NULL)
        sqlite3_vfs_unregister(&v->vfs);
    v->base = NULL;
}
