/* What is acknowledged survives a power cut. Every write and sync of the ledger's files is recorded below SQLite; then, for
 * points of this record, the files are made anew as a cut there may have left them: with all that was synced, and of the
 * rest nothing, everything, or some sectors.
 *
 * Taken for granted, as by SQLite (https://sqlite.org/psow.html): a write that is cut short harms no bytes beside its own,
 * and what a sync returned for is on the disk. A new file's name is there after its first sync.
 * SPDX-License-Identifier: MIT */
#include "lib/ledger_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/owner.h"

enum { SECTOR = 512, N_CUTS = 700, N_TRANSACTIONS = 40 };

static uint64_t random_state;

static unsigned pick(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

/* ---- The record ---------------------------------------------------------------------------------------------- */

enum file { LEDGER, LOG, N_FILES };
enum deed { WRITE, TRUNCATE, SYNC, ACKNOWLEDGED };

static const char *const suffixes[N_FILES] = {"", "-wal"};

struct entry {
    enum deed deed;
    enum file file;
    int64_t at; /* of a write; the size of what is truncated */
    size_t n;
    unsigned char *bytes;
};

static struct record {
    struct np_arena *arena;
    struct entry *entries;
    size_t n, capacity;
    bool on;
} record;

static void note(enum deed deed, enum file file, int64_t at, const void *bytes, size_t n)
{
    if (!record.on)
        return;
    struct entry *e = np_push(record.arena, &record.entries, &record.n, &record.capacity, sizeof *e);
    *e = (struct entry){deed, file, at, n, NULL};
    if (n > 0)
        e->bytes = memcpy(np_alloc(record.arena, n), bytes, n);
}

/* ---- The system under SQLite, with a record of what is done to the ledger ---- */

struct watched {
    sqlite3_file base;
    enum file file; /* N_FILES: of no concern */
    sqlite3_file *real;
};

static sqlite3_vfs *real_vfs;

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct watched *)f)->real;
}

static void note_of(sqlite3_file *f, enum deed deed, int64_t at, const void *bytes, size_t n)
{
    const struct watched *w = (struct watched *)f;
    if (w->file != N_FILES)
        note(deed, w->file, at, bytes, n);
}

static int watched_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int watched_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), to, n, at);
}

static int watched_write(sqlite3_file *f, const void *bytes, int n, sqlite3_int64 at)
{
    note_of(f, WRITE, at, bytes, (size_t)n);
    return real_of(f)->pMethods->xWrite(real_of(f), bytes, n, at);
}

static int watched_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    note_of(f, TRUNCATE, size, NULL, 0);
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

/* The disk is not asked: this machine's power stays on. */
static int watched_sync(sqlite3_file *f, int flags)
{
    (void)flags;
    note_of(f, SYNC, 0, NULL, 0);
    return SQLITE_OK;
}

static int watched_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), ret);
}

static int watched_lock(sqlite3_file *f, int lock)
{
    return real_of(f)->pMethods->xLock(real_of(f), lock);
}

static int watched_unlock(sqlite3_file *f, int lock)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), lock);
}

static int watched_is_reserved(sqlite3_file *f, int *ret)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}

static int watched_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int watched_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int watched_traits(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int watched_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, ret);
}

static int watched_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void watched_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int watched_shm_unmap(sqlite3_file *f, int remove_it)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove_it);
}

static const sqlite3_io_methods watched_methods = {
    .iVersion = 2, /* no memory map, which writes unseen */
    .xClose = watched_close,
    .xRead = watched_read,
    .xWrite = watched_write,
    .xTruncate = watched_truncate,
    .xSync = watched_sync,
    .xFileSize = watched_size,
    .xLock = watched_lock,
    .xUnlock = watched_unlock,
    .xCheckReservedLock = watched_is_reserved,
    .xFileControl = watched_control,
    .xSectorSize = watched_sector,
    .xDeviceCharacteristics = watched_traits,
    .xShmMap = watched_shm_map,
    .xShmLock = watched_shm_lock,
    .xShmBarrier = watched_shm_barrier,
    .xShmUnmap = watched_shm_unmap,
};

static int watched_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    struct watched *w = (struct watched *)f;
    (void)vfs;
    w->file = flags & SQLITE_OPEN_MAIN_DB ? LEDGER : flags & SQLITE_OPEN_WAL ? LOG : N_FILES;
    w->real = (sqlite3_file *)(w + 1);
    int code = real_vfs->xOpen(real_vfs, name, w->real, flags, ret_flags);
    w->base.pMethods = w->real->pMethods != NULL ? &watched_methods : NULL;
    return code;
}

static sqlite3_vfs watched_vfs;

static int watch(void **state)
{
    (void)state;
    sqlite3_initialize();
    real_vfs = sqlite3_vfs_find(NULL);
    watched_vfs = *real_vfs;
    watched_vfs.zName = "watched";
    watched_vfs.pNext = NULL;
    watched_vfs.szOsFile = (int)sizeof(struct watched) + real_vfs->szOsFile;
    watched_vfs.xOpen = watched_open;
    return sqlite3_vfs_register(&watched_vfs, 1);
}

static int unwatch(void **state)
{
    (void)state;
    return sqlite3_vfs_unregister(&watched_vfs) != SQLITE_OK || sqlite3_vfs_register(real_vfs, 1) != SQLITE_OK;
}

/* ---- What a ledger says -------------------------------------------------------------------------------------- */

static void mix(uint64_t *hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        *hash = (*hash ^ p[i]) * UINT64_C(1099511628211);
}

static void mix_text(uint64_t *hash, const char *text)
{
    mix(hash, text != NULL ? text : "-", text != NULL ? strlen(text) + 1 : 1);
}

static void mix_lease(uint64_t *hash, const struct nextport_lease *lease)
{
    const int64_t numbers[] = {lease->id,      lease->port,    (int64_t)lease->protocol, (int64_t)lease->state,
                               lease->created, lease->renewed, lease->expires,           lease->looks};
    const char *const texts[] = {lease->name,       lease->owner,  lease->owner_key,
                                 lease->deployment, lease->holder, lease->process};
    mix(hash, numbers, sizeof numbers);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mix_text(hash, texts[i]);
}

static void mix_event(uint64_t *hash, const struct nextport_event *event)
{
    const char *const texts[] = {event->kind, event->owner, event->request, event->before, event->after};
    mix(hash, &event->id, sizeof event->id);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mix_text(hash, texts[i]);
}

static struct np_actor who;

/* Every lease and event, in one number. */
static uint64_t said(enum np_access access)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    struct np_leases leases = {.arena = np_arena_new()};
    struct nextport_event *events;
    struct np_ledger_health health;
    struct np_ledger *l = NULL;
    size_t n;
    assert_ok(OPS.open(&l, path, access, &who, &err));
    assert_ok(OPS.leases(l, "", SIZE_MAX, &leases, &err));
    assert_ok(OPS.events(l, &(struct np_event_query){0}, leases.arena, &events, &n, &err));
    assert_ok(OPS.health(l, leases.arena, &health, &err));
    assert_null(health.problem);
    for (size_t i = 0; i < leases.n; i++)
        mix_lease(&hash, &leases.items[i]);
    for (size_t i = 0; i < n; i++)
        mix_event(&hash, &events[i]);
    OPS.close(l);
    np_arena_free(leases.arena);
    return hash;
}

/* What was said after each acknowledged transaction. */
static uint64_t states[N_TRANSACTIONS + 2];
static size_t n_states;

static void acknowledge(void)
{
    record.on = false;
    states[n_states++] = said(NP_LEDGER_READ);
    record.on = true;
    note(ACKNOWLEDGED, N_FILES, 0, NULL, 0);
}

/* ---- A cut --------------------------------------------------------------------------------------------------- */

enum rest { NOTHING, EVERYTHING, SOME, N_RESTS };

struct disk {
    bool there;
    unsigned char *bytes;
    size_t n, capacity;
};

static void set_size(struct disk *d, size_t n)
{
    if (n > d->capacity) {
        d->capacity = 2 * n;
        d->bytes = realloc(d->bytes, d->capacity);
        assert_non_null(d->bytes);
    }
    if (n > d->n)
        memset(d->bytes + d->n, 0, n - d->n);
    d->n = n;
}

static void put(struct disk *d, int64_t at, const unsigned char *bytes, size_t n)
{
    if (d->n < (size_t)at + n)
        set_size(d, (size_t)at + n);
    if (n > 0)
        memcpy(d->bytes + at, bytes, n);
}

/* Each sector of it by chance. */
static void put_torn(struct disk *d, const struct entry *e)
{
    for (size_t done = 0; done < e->n;) {
        size_t n = SECTOR - ((size_t)e->at + done) % SECTOR;
        n = n < e->n - done ? n : e->n - done;
        if (pick(2))
            put(d, e->at + (int64_t)done, e->bytes + done, n);
        done += n;
    }
}

static void apply(struct disk *d, const struct entry *e, bool torn)
{
    d->there = true;
    if (e->deed == TRUNCATE && (!torn || pick(2)))
        set_size(d, (size_t)e->at);
    if (e->deed == WRITE && torn && pick(3) == 0) /* whole writes too, so that frames are not all broken */
        torn = false;
    if (e->deed == WRITE && torn)
        put_torn(d, e);
    else if (e->deed == WRITE)
        put(d, e->at, e->bytes, e->n);
}

static struct disk before[N_FILES]; /* when the record began */

/* One file as it may be after `cut` entries. */
static void restore(enum file file, size_t cut, enum rest rest)
{
    static struct disk d;
    size_t synced = 0;
    for (size_t i = 0; i < cut; i++)
        if (record.entries[i].file == file && record.entries[i].deed == SYNC)
            synced = i;
    set_size(&d, 0);
    put(&d, 0, before[file].bytes, before[file].n);
    d.there = before[file].there;
    for (size_t i = 0; i < (rest == NOTHING ? synced : cut); i++)
        if (record.entries[i].file == file)
            apply(&d, &record.entries[i], i > synced && rest == SOME);
    if (d.there)
        write_bytes(beside(suffixes[file]), -1, (const char *)d.bytes, d.n);
    else
        remove(beside(suffixes[file]));
}

/* Alternatives: the state acknowledged last, and the one that was under way. */
static size_t acknowledged_before(size_t cut)
{
    size_t n = 0;
    for (size_t i = 0; i < cut; i++)
        n += record.entries[i].deed == ACKNOWLEDGED;
    return n;
}

static void assert_one_of_both(size_t cut, enum rest rest, uint64_t got)
{
    const size_t n = acknowledged_before(cut);
    if (got == states[n] || (n + 1 < n_states && got == states[n + 1]))
        return;
    for (size_t i = 0; i < n_states; i++)
        if (got == states[i])
            fail_msg("cut %zu of %zu, rest %d: state %zu, acknowledged was %zu", cut, record.n, rest, i, n);
    fail_msg("cut %zu of %zu, rest %d: a state that never was", cut, record.n, rest);
}

static void cut_the_power(size_t cut, enum rest rest)
{
    remove(beside("-shm"));
    for (enum file file = LEDGER; file < N_FILES; file++)
        restore(file, cut, rest);
    /* Whoever comes first. A writer brings an old ledger forward at once, and so reads another one. */
    const bool may_write = acknowledged_before(cut) > 0;
    assert_one_of_both(cut, rest, said(may_write && pick(2) ? NP_LEDGER_WRITE : NP_LEDGER_READ));
    if (pick(8) > 0)
        return;
    struct np_ledger *l = NULL;
    assert_ok(OPS.open(&l, path, NP_LEDGER_WRITE, &who, &err));
    assert_ok(grant(l, 65000, NULL));
    commit(l);
    (void)said(NP_LEDGER_READ); /* it works on */
}

static void begin_record(void)
{
    for (enum file file = LEDGER; file < N_FILES; file++) {
        static char bytes[1 << 17];
        before[file].there = np_host_exists(beside(suffixes[file]));
        set_size(&before[file], 0);
        if (before[file].there)
            put(&before[file], 0, (unsigned char *)bytes, read_bytes(beside(suffixes[file]), bytes, sizeof bytes));
    }
    random_state = (uint64_t)time(NULL) * 2 + 1;
    print_message("# seed %llu\n", (unsigned long long)random_state);
    record = (struct record){.arena = np_arena_new()};
    n_states = 0;
    states[n_states++] = said(NP_LEDGER_READ);
    record.on = true;
}

/* Each point with nothing more than was synced, and chosen ones with other rests. */
static void cut_everywhere(void)
{
    record.on = false;
    size_t n_syncs = 0;
    for (size_t i = 0; i < record.n; i++) {
        n_syncs += record.entries[i].deed == SYNC;
        if (record.entries[i].deed != WRITE) {
            cut_the_power(i, NOTHING);
            cut_the_power(i, EVERYTHING);
        }
    }
    for (int i = 0; i < N_CUTS; i++)
        cut_the_power(pick((unsigned)record.n + 1), pick(4) ? SOME : EVERYTHING);
    print_message("# %zu writes and syncs, %zu syncs, %zu transactions\n", record.n, n_syncs, n_states - 1);
    assert_true(n_syncs >= n_states - 1);
    np_arena_free(record.arena);
    for (enum file file = LEDGER; file < N_FILES; file++)
        set_size(&before[file], 0);
}

/* ---- Transactions -------------------------------------------------------------------------------------------- */

static void change(struct np_ledger *l)
{
    struct np_arena *a = np_arena_new();
    struct nextport_lease lease;
    const uint16_t port = (uint16_t)(49000 + pick(20));
    const struct nextport_label labels[] = {{"project", "shop"}, {"port", np_sprintf(a, "%u", port)}};
    struct np_owner owner;
    bool found;
    assert_ok(np_owner_make(&owner, labels, 2, a, &err));
    assert_ok(OPS.find(l, "", port, a, &lease, &found, &err));
    if (!found) {
        lease = (struct nextport_lease){.port = port,
                                        .protocol = NEXTPORT_TCP,
                                        .name = "Port",
                                        .owner_key = owner.key,
                                        .labels = owner.labels,
                                        .n_labels = owner.n_labels,
                                        .expires = 1700086400};
        assert_ok(OPS.add(l, &lease, "granted", &err));
    } else if (pick(3)) {
        lease.state = lease.state == NEXTPORT_PENDING ? NEXTPORT_CONFIRMED : NEXTPORT_PENDING;
        lease.looks++;
        assert_ok(OPS.save(l, &lease, "confirmed", &err));
    } else {
        assert_ok(OPS.drop(l, &lease, "expired", &err));
    }
    np_arena_free(a);
}

static void no_acknowledged_lease_is_lost_and_none_is_half_there(void **state)
{
    (void)state;
    who = actor;
    create();
    begin_record();
    for (int i = 0; i < N_TRANSACTIONS; i++) {
        struct np_ledger *l = NULL;
        assert_ok(OPS.open(&l, path, NP_LEDGER_WRITE, &who, &err));
        for (unsigned n = 1 + pick(3); n > 0; n--)
            change(l);
        assert_ok(OPS.end(l, true, &err));
        OPS.close(l);
        acknowledge();
    }
    cut_everywhere();
}

static void a_ledger_that_is_brought_forward_is_the_old_one_or_the_new_one(void **state)
{
    (void)state;
    static char bytes[1 << 16];
    who = actor;
    who.machine_id = "0123456789abcdef0123456789abcdef";
    write_bytes(path, -1, bytes, read_bytes(TEST_DIR "/ledger/schema-1.db", bytes, sizeof bytes));
    begin_record();
    for (uint16_t port = 49010; port < 49013; port++) {
        struct np_ledger *l = NULL;
        assert_ok(OPS.open(&l, path, NP_LEDGER_WRITE, &who, &err));
        assert_ok(grant(l, port, NULL));
        assert_ok(OPS.end(l, true, &err));
        OPS.close(l);
        acknowledge();
    }
    cut_everywhere();
}

static int set_up(void **state)
{
    return make_folder(state) != 0 || watch(state) != 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    return unwatch(state) != 0 || remove_folder(state) != 0 ? -1 : 0;
}

#define CUT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CUT_TEST(no_acknowledged_lease_is_lost_and_none_is_half_there),
        CUT_TEST(a_ledger_that_is_brought_forward_is_the_old_one_or_the_new_one),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
