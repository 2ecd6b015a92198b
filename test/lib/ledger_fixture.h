/* What the tests of the ledger share. Each test has a folder of its own, with the ledger in it or not yet.
 * SPDX-License-Identifier: MIT */
#ifndef LEDGER_FIXTURE_H
#define LEDGER_FIXTURE_H

#include "host/host.h"
#include "ledger/ledger.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/scratch.h"

#define OPS np_ledger_sqlite

extern const struct np_actor actor;
extern char folder[SCRATCH_PATH], path[SCRATCH_PATH + 64];
extern struct nextport_error err;

int make_folder(void **state);
int remove_folder(void **state);

#define LEDGER_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        if ((call) != NEXTPORT_OK)                                                                                     \
            fail_msg("%s: %d %s (%s)", #call, err.status, err.text, err.hint);                                         \
    } while (0)

/* A neighbour's name, until the next call. */
const char *beside(const char *suffix);

void create(void);
struct np_ledger *open_as(enum np_access);
struct np_ledger *begun(void); /* to write */
void commit(struct np_ledger *);
enum nextport_status grant(struct np_ledger *, uint16_t port, int64_t *ret_id);
enum nextport_status confirm(struct np_ledger *, const struct nextport_lease *, const char *holder);
int64_t grant_one(uint16_t port); /* in a transaction of its own; the lease's id */
size_t count(struct np_ledger *);

/* What another tool does to the file: SQLite's result. */
int sql(const char *statement);
/* Another program that has the ledger open and read it. */
sqlite3 *open_shell(void);

/* `at` < 0: the file is made anew. */
void write_bytes(const char *file, long at, const char *bytes, size_t n);
/* At most `size`. */
size_t read_bytes(const char *file, char *ret, size_t size);
/* Every byte of a file, to see that nothing touched it. */
uint64_t fingerprint(const char *file);

void assert_refused(enum np_access, enum nextport_status, const char *text);
void assert_refused_always(const char *text);

/* Makes a ledger with two leases; `ret` is what its -shm was when there was one. Returns the length. */
size_t make_stale_index(char *ret, size_t size);

#endif
