/* The reader's half that is the same on every system: what was read is remembered, files are read whole and unmoved,
 * and patterns are walked.
 * SPDX-License-Identifier: MIT */
#include "host/reader.h"

#include "base/map.h"
#include "base/pack.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    GLOB_MATCHES = 100000, /* more than any server's folder of sites; a bound on what an image can make us do */
    GLOB_ENTRIES = 200000, /* names looked at for one pattern */
    FIRST_READ = 4096,     /* for files that do not know their size, as in /proc */
};

/* What was asked about a path. */
enum way {
    BY_STAMP,    /* what lies there: it was read, listed or found missing */
    BY_TARGET,   /* does it lead to anything? */
    BY_PRESENCE, /* has anything that name? */
    BY_COMMAND,  /* how was the process started whose number is in the file? */
    N_WAYS
};

/* What was at a path when it was looked at. */
struct seen {
    struct seen *next;
    const char *path;
    enum way way;
    struct np_stamp stamp;
    bool settling;   /* so fresh that a later change could leave the same times */
    bool moved;      /* it was something else when it was looked at before, and somebody may have used that */
    unsigned look;   /* in which it was seen last */
    uint64_t askers; /* in that look, a bit for each */
};

struct np_reader {
    struct np_disk disk;
    struct np_arena *arena;
    struct np_arena *into; /* for the bytes of the file being read */
    struct seen *seen;     /* the latest first */
    struct np_map by_path[N_WAYS];
    struct np_map lists; /* of folders that were settled: struct list */
    unsigned look;
    uint64_t asker; /* a bit */
};

enum nextport_status np_reader_open(struct np_reader **ret, const char *root, struct np_arena *arena,
                                    struct nextport_error *err)
{
    struct np_reader *reader = np_alloc(arena, sizeof *reader);
    *reader = (struct np_reader){
        .disk = {.arena = arena, .root = root ? np_disk_slashed(arena, np_strdup(arena, root)) : NULL},
        .arena = arena,
        .lists = {.arena = arena},
        .asker = 1};
    for (size_t i = 0; i < N_WAYS; i++)
        reader->by_path[i].arena = arena;
    if (root && np_disk_open_root(&reader->disk, root, err) != NEXTPORT_OK) {
        np_hint(err, "--root takes the folder below which the files of a machine lie, such as a mounted image.");
        return err->status;
    }
    *ret = reader;
    return NEXTPORT_OK;
}

void np_reader_close(struct np_reader *reader)
{
    if (reader && reader->disk.root)
        np_disk_close(reader->disk.folder);
}

bool np_reader_has_root(const struct np_reader *reader)
{
    return reader->disk.root != NULL;
}

const struct np_disk *np_reader_disk(const struct np_reader *reader)
{
    return &reader->disk;
}

const char *np_reader_shown(struct np_reader *reader, const char *path)
{
    const char *root = reader->disk.root, *shown = np_disk_slashed(reader->arena, path);
    size_t len = root ? strlen(root) : 0;
    while (len > 0 && root[len - 1] == '/')
        len--;
    return len ? np_sprintf(reader->arena, "%.*s%s", (int)len, root, shown) : shown;
}

/* ---- What was seen ------------------------------------------------------------------------------------------- */

static bool is_same(const struct np_stamp *a, const struct np_stamp *b)
{
    return a->present == b->present && a->reason == b->reason && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->written == b->written && a->changed == b->changed && a->mount == b->mount;
}

/* Keeps one stamp for each path, the last. To be called before the bytes are read: what is written later shows. The path
 * lives as long as the reader. */
static void remember_kept(struct np_reader *reader, enum way way, const char *path, const struct np_stamp *stamp)
{
    void **at = np_map_at(&reader->by_path[way], path);
    struct seen *seen = *at;
    if (!seen) {
        seen = np_alloc(reader->arena, sizeof *seen);
        *seen = (struct seen){.next = reader->seen, .path = path, .way = way};
        *at = reader->seen = seen;
    } else if (seen->look != reader->look) {
        seen->askers = 0;
        seen->moved = false;
    } else {
        seen->moved = seen->moved || !is_same(&seen->stamp, stamp);
    }
    seen->look = reader->look;
    seen->askers |= reader->asker;
    seen->stamp = *stamp;
    seen->settling = np_stamp_settles(stamp);
}

static void remember(struct np_reader *reader, enum way way, const char *path, const struct np_stamp *stamp)
{
    const struct seen *seen = np_map_find(&reader->by_path[way], path);
    remember_kept(reader, way, seen ? seen->path : np_strdup(reader->arena, path), stamp);
}

static struct np_stamp stamp_at(const struct np_reader *reader, const char *path)
{
    struct np_stamp stamp = {0};
    const int reason = np_disk_look(&reader->disk, path, &stamp);
    return reason == 0 ? stamp : (struct np_stamp){.reason = np_disk_is_absent(reason) ? 0 : reason};
}

/* Nothing at all needs no second look. */
void np_reader_remember_failure(struct np_reader *reader, const char *path, int reason)
{
    const struct np_stamp stamp = np_disk_is_missing(reason) ? (struct np_stamp){0} : stamp_at(reader, path);
    remember(reader, BY_STAMP, path, &stamp);
}

/* A command line has no times: its bytes stand for it. */
static struct np_stamp stamp_of_command(const char *command)
{
    if (!command)
        return (struct np_stamp){0};
    return (struct np_stamp){.present = true, .inode = np_sum(np_text_of(command)), .size = strlen(command)};
}

static struct np_stamp look_again(const struct np_reader *reader, enum way way, const char *path)
{
    if (way == BY_PRESENCE)
        return (struct np_stamp){.present = np_host_exists(path)};
    if (way == BY_TARGET) {
        const struct np_stamp stamp = stamp_at(reader, path);
        return (struct np_stamp){.present = stamp.present, .reason = stamp.reason};
    }
    if (way == BY_COMMAND)
        return stamp_of_command(np_host_command_of(reader->arena, path));
    return stamp_at(reader, path);
}

bool np_reader_exists(struct np_reader *reader, const char *path)
{
    const struct np_stamp stamp = look_again(reader, BY_PRESENCE, path);
    remember(reader, BY_PRESENCE, path, &stamp);
    return stamp.present;
}

const char *np_reader_command_of(struct np_reader *reader, const char *pid_file)
{
    const char *command = np_host_command_of(reader->arena, pid_file);
    const struct np_stamp stamp = stamp_of_command(command);
    remember(reader, BY_COMMAND, pid_file, &stamp);
    return command;
}

void np_reader_begin_look(struct np_reader *reader)
{
    reader->look++;
}

void np_reader_ask_for(struct np_reader *reader, unsigned asker)
{
    reader->asker = UINT64_C(1) << asker;
}

bool np_reader_changed(struct np_reader *reader)
{
    for (const struct seen *seen = reader->seen; seen; seen = seen->next) {
        if (seen->look != reader->look)
            continue;
        if (seen->settling || seen->moved)
            return true;
        const struct np_stamp now = look_again(reader, seen->way, seen->path);
        if (!is_same(&now, &seen->stamp))
            return true;
    }
    return false;
}

/* ---- What was seen, for later ---------------------------------------------------------------------------------- */

/* The devices, and for what is missing the folders, of which it is known whether times tell of every change there. */
struct trust {
    struct np_arena *arena;
    struct np_map known;
};

static bool may_trust(struct trust *trust, const char *key, const char *path)
{
    static char yes, no;
    void **known = np_map_at(&trust->known, key);
    if (!*known)
        *known = np_disk_times_tell(path) ? &yes : &no;
    return *known == &yes;
}

/* What lies at a path may be another disk than its folder. */
static bool times_tell(struct trust *trust, const struct seen *seen)
{
    const char *slash = strrchr(seen->path, '/');
    if (seen->way == BY_COMMAND)
        return true;
    if (seen->way == BY_PRESENCE || seen->way == BY_TARGET)
        return np_disk_times_tell(seen->path);
    if (np_stamp_is_ambiguous(&seen->stamp))
        return false;
    if (seen->stamp.present)
        return may_trust(trust, np_sprintf(trust->arena, "%" PRIu64, seen->stamp.device), seen->path);
    const char *folder = slash ? np_strndup(trust->arena, seen->path, (size_t)(slash - seen->path) + 1) : ".";
    return may_trust(trust, folder, folder);
}

/* What a stamp has of something that is there, in one piece: numbers are read one by one for each file, in each request. */
enum { STAMP_NUMBERS = 6 };

static void write_stamp(struct np_buf *buf, const struct np_stamp *stamp)
{
    const uint64_t numbers[STAMP_NUMBERS] = {
        stamp->device, stamp->inode, stamp->size, (uint64_t)stamp->written, (uint64_t)stamp->changed, stamp->mount};
    np_pack_number(buf, stamp->present);
    np_pack_number(buf, (unsigned)stamp->reason);
    if (stamp->present)
        np_pack_bytes(buf, (struct np_text){(const char *)numbers, sizeof numbers});
}

static struct np_stamp read_stamp(struct np_unpack *unpack)
{
    struct np_stamp stamp = {.present = np_unpack_number(unpack, 1)};
    stamp.reason = (int)np_unpack_number(unpack, INT_MAX);
    if (!stamp.present)
        return stamp;
    uint64_t numbers[STAMP_NUMBERS] = {0};
    const struct np_text bytes = np_unpack_bytes(unpack);
    if (bytes.len == sizeof numbers)
        memcpy(numbers, bytes.ptr, sizeof numbers);
    else
        unpack->broken = true;
    stamp.device = numbers[0];
    stamp.inode = numbers[1];
    stamp.size = numbers[2];
    stamp.written = (int64_t)numbers[3];
    stamp.changed = (int64_t)numbers[4];
    stamp.mount = numbers[5];
    return stamp;
}

static bool is_seen_by(const struct np_reader *reader, const struct seen *seen, unsigned asker)
{
    return seen->look == reader->look && seen->askers & UINT64_C(1) << asker;
}

bool np_reader_write_down(struct np_reader *reader, unsigned asker, struct np_buf *ret)
{
    struct trust trust = {.arena = ret->arena, .known = {.arena = ret->arena}};
    size_t n = 0;
    for (const struct seen *seen = reader->seen; seen; seen = seen->next)
        n += is_seen_by(reader, seen, asker);
    np_pack_number(ret, n);
    for (const struct seen *seen = reader->seen; seen; seen = seen->next) {
        if (!is_seen_by(reader, seen, asker))
            continue;
        if (seen->settling || seen->moved || !times_tell(&trust, seen))
            return false;
        np_pack_number(ret, seen->way);
        np_pack_text(ret, seen->path);
        write_stamp(ret, &seen->stamp);
    }
    return !reader->disk.root;
}

/* What this look has seen already need not be looked at again. */
static bool is_still_so(const struct np_reader *reader, const struct seen *written)
{
    const struct seen *seen = np_map_find(&reader->by_path[written->way], written->path);
    const struct np_stamp now =
        seen && seen->look == reader->look ? seen->stamp : look_again(reader, written->way, written->path);
    return is_same(&now, &written->stamp);
}

static bool read_seen(struct np_unpack *unpack, struct seen *ret)
{
    ret->way = (enum way)np_unpack_number(unpack, N_WAYS - 1);
    ret->path = np_unpack_text(unpack);
    ret->stamp = read_stamp(unpack);
    return !unpack->broken && ret->path;
}

bool np_reader_take_over(struct np_reader *reader, struct np_unpack *written, bool unseen)
{
    const uint64_t n = np_unpack_number(written, SIZE_MAX);
    struct np_unpack again = *written;
    struct seen seen = {0};
    for (uint64_t i = 0; i < n; i++)
        if (!read_seen(written, &seen) || (!unseen && !is_still_so(reader, &seen)))
            return false;
    for (uint64_t i = 0; i < n && read_seen(&again, &seen); i++)
        remember_kept(reader, seen.way, seen.path, &seen.stamp);
    return !written->broken;
}

/* ---- Reading ------------------------------------------------------------------------------------------------- */

static enum np_read failed_read(struct np_reader *reader, int reason, const char **why)
{
    *why = np_disk_because(reader->arena, reason);
    if (np_disk_is_absent(reason))
        return NP_READ_ABSENT;
    return np_disk_is_denied(reason) ? NP_READ_DENIED : NP_READ_BAD;
}

static enum np_read too_large(struct np_reader *reader, size_t limit, const char **why)
{
    *why = np_sprintf(reader->arena, "larger than %zu bytes, the most that is read", limit);
    return NP_READ_BAD;
}

/* Reads to the end, up to `limit` and one byte more to know that there is more. */
static enum np_read read_bytes(struct np_reader *reader, intptr_t file, size_t expected, size_t limit,
                               struct np_text *ret, const char **why)
{
    size_t len = 0, n = 0, capacity = expected ? expected + 1 : FIRST_READ;
    char *bytes = np_room(reader->into, capacity + 1);
    for (;;) {
        const int reason = np_disk_read(file, bytes + len, capacity - len, &n);
        if (reason)
            return failed_read(reader, reason, why);
        len += n;
        if (len > limit)
            return too_large(reader, limit, why);
        if (n == 0 || (expected && len == expected)) /* had it grown meanwhile, its times would tell */
            break;
        if (len == capacity) {
            char *larger = np_room(reader->into, 2 * capacity + 1);
            bytes = memcpy(larger, bytes, len);
            capacity *= 2;
        }
    }
    bytes[len] = '\0';
    *ret = (struct np_text){.ptr = bytes, .len = len};
    return NP_READ_OK;
}

/* *ret_moved: the file was written while we read. A file of size 0 may be one of /proc that does not say its size. */
static enum np_read read_file(struct np_reader *reader, const char *path, intptr_t file, size_t limit,
                              struct np_text *ret, const char **why, bool *ret_moved)
{
    struct np_stamp before = {0}, after = {0};
    int reason = np_disk_stamp(file, &before);
    remember(reader, BY_STAMP, path, &before);
    if (before.not_file) {
        *why = np_sprintf(reader->arena, "%s, not a file", before.not_file);
        return NP_READ_BAD;
    }
    if (reason)
        return failed_read(reader, reason, why);
    if (before.size > limit)
        return too_large(reader, limit, why);
    enum np_read outcome = read_bytes(reader, file, (size_t)before.size, limit, ret, why);
    reason = np_disk_stamp(file, &after);
    if (reason)
        return failed_read(reader, reason, why);
    *ret_moved = !is_same(&before, &after) || (outcome == NP_READ_OK && before.size && ret->len != before.size);
    return outcome;
}

static enum np_read read_once(struct np_reader *reader, const char *path, size_t limit, struct np_text *ret,
                              const char **why, bool *ret_moved)
{
    intptr_t file;
    const int reason = np_disk_open(&reader->disk, path, NP_TO_READ, &file);
    if (reason) {
        np_reader_remember_failure(reader, path, reason);
        return failed_read(reader, reason, why);
    }
    enum np_read outcome = read_file(reader, path, file, limit, ret, why, ret_moved);
    np_disk_close(file);
    return outcome;
}

enum np_read np_reader_read_into(struct np_reader *reader, struct np_arena *into, const char *path, size_t limit,
                                 struct np_text *ret, const char **why)
{
    reader->into = into;
    for (int i = 0; i < 2; i++) {
        bool moved = false;
        *ret = (struct np_text){0};
        *why = NULL;
        enum np_read outcome = read_once(reader, path, limit, ret, why, &moved);
        if (!moved)
            return outcome;
    }
    *ret = (struct np_text){0};
    *why = "it was written while it was read, twice";
    return NP_READ_BAD;
}

enum np_read np_reader_read(struct np_reader *reader, const char *path, size_t limit, struct np_text *ret,
                            const char **why)
{
    return np_reader_read_into(reader, reader->arena, path, limit, ret, why);
}

/* ---- Folders ------------------------------------------------------------------------------------------------- */

bool np_next_component(struct np_text *rest, struct np_text *part)
{
    do {
        if (!np_text_split(rest, '/', part))
            return false;
    } while (part->len == 0);
    return true;
}

/* Its stamp is taken before its names are read: what comes later shows. */
int np_reader_names(struct np_reader *reader, const char *folder, np_name_fn *each, void *ctx)
{
    const char *path = np_disk_folder(reader->arena, folder);
    struct np_stamp stamp = {0};
    intptr_t file;
    int reason = np_disk_open(&reader->disk, path, NP_TO_LIST, &file);
    if (reason) {
        np_reader_remember_failure(reader, path, reason);
        return reason;
    }
    if (np_disk_stamp(file, &stamp) != 0)
        stamp = (struct np_stamp){0};
    remember(reader, BY_STAMP, path, &stamp);
    reason = np_disk_list(reader->arena, file, each, ctx);
    np_disk_close(file);
    return reason;
}

/* A folder as people know it. */
static const char *shown_folder(struct np_reader *reader, const char *folder)
{
    return np_reader_shown(reader, np_disk_folder(reader->arena, folder));
}

const char *np_reader_unreadable(struct np_reader *reader, const char *folder, int reason)
{
    return np_sprintf(reader->arena, "%s: %s", shown_folder(reader, folder), np_disk_because(reader->arena, reason));
}

struct list {
    struct np_arena *arena;
    struct np_entry *entries;
    size_t n, capacity;
    struct np_stamp stamp; /* of the folder */
};

static bool list_name(void *ctx, const char *name, enum np_entry_kind kind)
{
    struct list *list = ctx;
    if (kind != NP_ENTRY_BROKEN)
        *(struct np_entry *)np_push(list->arena, &list->entries, &list->n, &list->capacity, sizeof *list->entries) =
            (struct np_entry){.name = np_strdup(list->arena, name), .kind = kind};
    return list->n <= GLOB_ENTRIES;
}

/* What the folder's names did not tell. */
static void complete(struct np_reader *reader, const char *folder, struct np_entry *entry)
{
    if (entry->kind != NP_ENTRY_LINK && entry->kind != NP_ENTRY_UNKNOWN)
        return;
    entry->link = np_disk_link(&reader->disk, np_sprintf(reader->arena, "%s/%s", folder, entry->name));
    if (entry->link)
        entry->kind = NP_ENTRY_LINK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct np_entry *)a)->name, ((const struct np_entry *)b)->name);
}

/* Several sources ask for the same folders. As long as its stamp is the same, a folder has the same names and links. */
static const struct list *find_list(struct np_reader *reader, const char *folder)
{
    const struct list *list = np_map_find(&reader->lists, folder);
    if (!list)
        return NULL;
    const char *path = np_disk_folder(reader->arena, folder);
    const struct np_stamp now = stamp_at(reader, path);
    if (!is_same(&now, &list->stamp))
        return NULL;
    remember(reader, BY_STAMP, path, &now);
    return list;
}

static void keep_list(struct np_reader *reader, const char *folder, const struct list *list)
{
    const struct seen *seen = np_map_find(&reader->by_path[BY_STAMP], np_disk_folder(reader->arena, folder));
    if (!seen || seen->settling || !seen->stamp.present)
        return;
    struct list *kept = np_alloc(reader->arena, sizeof *kept);
    *kept = *list;
    kept->stamp = seen->stamp;
    *np_map_at(&reader->lists, np_strdup(reader->arena, folder)) = kept;
}

enum np_read np_reader_list(struct np_reader *reader, const char *folder, const struct np_entry **ret, size_t *ret_n,
                            const char **why)
{
    const struct list *before = find_list(reader, folder);
    if (before) {
        *ret = before->entries;
        *ret_n = before->n;
        *why = NULL;
        return NP_READ_OK;
    }
    struct list list = {.arena = reader->arena};
    const int reason = np_reader_names(reader, folder, list_name, &list);
    for (size_t i = 0; i < list.n; i++)
        complete(reader, folder, &list.entries[i]);
    if (list.n > 1)
        qsort(list.entries, list.n, sizeof *list.entries, by_name);
    *ret = list.entries;
    *ret_n = list.n;
    *why = NULL;
    if (reason)
        return failed_read(reader, reason, why);
    if (list.n <= GLOB_ENTRIES) {
        keep_list(reader, folder, &list);
        return NP_READ_OK;
    }
    *why = "too many names";
    return NP_READ_BAD;
}

bool np_reader_is_same(struct np_reader *reader, const char *path, const char *other)
{
    const struct np_stamp a = stamp_at(reader, path), b = stamp_at(reader, other);
    remember(reader, BY_STAMP, path, &a);
    remember(reader, BY_STAMP, other, &b);
    return a.present && b.present && a.device == b.device && a.inode == b.inode;
}

/* ---- Globs --------------------------------------------------------------------------------------------------- */

struct glob {
    struct np_reader *reader;
    const char **paths;
    size_t n, capacity, entries;
    enum np_read outcome;
    const char *why;
};

struct glob_name {
    const char *name;
    bool is_there; /* for certain: no link, which may lead nowhere */
};

/* One folder of a pattern being matched against one component. */
struct glob_level {
    struct glob *glob;
    const char *folder, *pattern;
    struct glob_name *names;
    size_t n, capacity;
};

static const char *join(const struct glob *glob, const char *folder, const char *name)
{
    return np_sprintf(glob->reader->arena, "%s/%s", folder, name);
}

/* A worse reason stays. */
static void glob_failed(struct glob *glob, const char *folder, int reason)
{
    if (glob->outcome == NP_READ_BAD)
        return;
    glob->outcome = np_disk_is_denied(reason) ? NP_READ_DENIED : NP_READ_BAD;
    glob->why = np_reader_unreadable(glob->reader, folder, reason);
}

static bool over_budget(struct glob *glob, const char *folder)
{
    if (glob->n < GLOB_MATCHES && glob->entries <= GLOB_ENTRIES)
        return false;
    glob->outcome = NP_READ_BAD;
    glob->why = np_sprintf(glob->reader->arena, "%s: too many names", shown_folder(glob->reader, folder));
    return true;
}

static bool match_name(void *ctx, const char *name, enum np_entry_kind kind)
{
    struct glob_level *level = ctx;
    struct np_arena *arena = level->glob->reader->arena;
    if (++level->glob->entries > GLOB_ENTRIES)
        return false;
    if (!np_disk_matches(level->pattern, name))
        return true;
    if (kind == NP_ENTRY_BROKEN)
        glob_failed(level->glob, join(level->glob, level->folder, name), np_disk_broken_name);
    else
        *(struct glob_name *)np_push(arena, &level->names, &level->n, &level->capacity, sizeof *level->names) =
            (struct glob_name){np_strdup(arena, name), kind == NP_ENTRY_FILE || kind == NP_ENTRY_FOLDER};
    return true;
}

static void glob_keep(struct glob *glob, const char *path)
{
    *(const char **)np_push(glob->reader->arena, &glob->paths, &glob->n, &glob->capacity, sizeof *glob->paths) = path;
}

/* `named`: a folder has that name. A link that leads nowhere is kept then, as the servers' own patterns keep it. */
static void glob_keep_present(struct glob *glob, const char *path, bool named)
{
    struct np_stamp stamp;
    const int reason = np_disk_look(&glob->reader->disk, path, &stamp);
    if (reason == 0) {
        stamp = (struct np_stamp){.present = true};
        remember(glob->reader, BY_TARGET, path, &stamp);
        glob_keep(glob, path);
        return;
    }
    if (!np_disk_is_absent(reason))
        glob_failed(glob, path, reason);
    else if (named)
        glob_keep(glob, path);
    np_reader_remember_failure(glob->reader, path, reason);
}

/* The depth is that of the pattern. */
static void glob_below(struct glob *glob, const char *folder, struct np_text rest) /* NOLINT(misc-no-recursion) */
{
    struct np_text part, behind;
    struct np_arena *arena = glob->reader->arena;
    if (over_budget(glob, folder))
        return;
    if (!np_next_component(&rest, &part)) {
        glob_keep_present(glob, np_disk_folder(arena, folder), false);
        return;
    }
    struct glob_level level = {.glob = glob, .folder = folder, .pattern = np_text_dup(arena, part)};
    if (!strpbrk(level.pattern, np_disk_special)) {
        glob_below(glob, join(glob, folder, level.pattern), rest);
        return;
    }
    const int reason = np_reader_names(glob->reader, folder, match_name, &level);
    if (!np_disk_is_absent(reason))
        glob_failed(glob, folder, reason);
    behind = rest;
    const bool is_last = !np_next_component(&behind, &part);
    for (size_t i = 0; i < level.n && !over_budget(glob, folder); i++) {
        const char *path = join(glob, folder, level.names[i].name);
        if (is_last && level.names[i].is_there)
            glob_keep(glob, path);
        else if (is_last)
            glob_keep_present(glob, path, true);
        else
            glob_below(glob, path, rest);
    }
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum np_read np_reader_glob(struct np_reader *reader, const char *pattern, const char *const **ret, size_t *ret_n,
                            const char **why)
{
    struct glob glob = {.reader = reader};
    struct np_text rest = np_text_of(np_disk_slashed(reader->arena, pattern));
    const char *start = NULL;
    const int reason = np_disk_start(&reader->disk, &rest, &start);
    if (reason == 0)
        glob_below(&glob, start, rest);
    else
        glob_failed(&glob, pattern, reason);
    if (glob.n > 1)
        qsort(glob.paths, glob.n, sizeof *glob.paths, by_bytes);
    *ret = glob.paths;
    *ret_n = glob.n;
    *why = glob.why;
    return glob.outcome;
}
