/* Takes out of a ledger the leases that are newer than one: forget LEDGER ID [SEEN]. They leave no event and no rest, and the
 * log is left as it is: the next run meets what the last one met; with SEEN, what that has seen of files is forgotten too.
 * SPDX-License-Identifier: MIT */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static int forget(sqlite3 *db, const char *after)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "DELETE FROM lease WHERE id > CAST(?1 AS INTEGER)", -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, after, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int main(int argc, char *argv[])
{
    sqlite3 *db = NULL;
    if (argc != 3 && argc != 4)
        return 2;
    if (argc == 4)
        remove(argv[3]);
    int code = sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = forget(db, argv[2]);
    if (code != SQLITE_OK)
        fprintf(stderr, "forget: %s: %s\n", argv[1], sqlite3_errmsg(db));
    sqlite3_close(db);
    return code == SQLITE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
