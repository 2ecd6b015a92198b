/* What the last request saw of each source in files is used again as long as nothing of all that it looked at has changed:
 * to ask for the times of a file costs a tenth of reading it. A source that sees anything else is looked at anew, and so
 * is everything by whoever asks for the whole picture (`used`, `why`, `check`).
 *
 * The file is packed: what it was seen with (build of the program, user, settings that say where to look), then for each
 * source a whole with a sum: its name, what it looked at (np_reader_write_down) and what it saw (np_evidence_write_down).
 * SPDX-License-Identifier: MIT */
#include "base/pack.h"
#include "facade/run.h"

#include <string.h>

enum { SOURCES_MAX = NP_READER_NOBODY };

/* What was seen of one source. */
struct record {
    struct np_text before;       /* in an earlier request: what it looked at and saw; ptr NULL: it is not known */
    struct np_mark since, until; /* in this one */
    bool is_new;                 /* what has come in this one counts */
};

struct np_memory {
    const char *key;
    bool is_kept;     /* for the next request */
    bool is_new;      /* something was seen that is not in the file */
    bool may_believe; /* before it is looked whether things are still so */
    bool has_believed;
    struct record of[SOURCES_MAX]; /* by the order of the table */
};

static void add_list(struct np_buf *key, const struct np_string_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        np_buf_printf(key, "\n%s", list->items[i]);
    np_buf_puts(key, "\n-");
}

/* NULL: nothing can be kept here. */
static const char *key_of(struct np_run *run)
{
    const struct np_settings *s = &run->np->settings;
    const struct np_string_list *lists[] = {&s->iis_files,     &s->nginx_files,   &s->apache_files,
                                            &s->haproxy_files, &s->systemd_files, &s->quadlet_files};
    const char *view = np_host_view(run->arena), *home = np_host_env(run->arena, "HOME");
    struct np_buf key = {.arena = run->arena};
    if (!view)
        return NULL;
    np_buf_printf(&key, "%s\n%s\n%d", view, home && !np_host_privileged() ? home : "", s->iis_express);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        add_list(&key, lists[i]);
    return key.ptr;
}

/* One source's whole, with its sum and name before it. */
static void read_record(struct np_memory *memory, struct np_text whole)
{
    if (!np_unpack_sum(&whole))
        return;
    struct np_unpack unpack = np_unpack_begin(whole);
    const char *name = np_unpack_text(&unpack);
    for (size_t i = 0; np_sources[i] && i < SOURCES_MAX; i++)
        if (np_equal(np_sources[i]->name, name))
            memory->of[i].before = (struct np_text){unpack.at, (size_t)(unpack.end - unpack.at)};
}

static void read_all(struct np_memory *memory, struct np_text bytes)
{
    struct np_unpack unpack = np_unpack_begin(bytes);
    if (!np_equal(np_unpack_text(&unpack), memory->key))
        return;
    while (!unpack.broken && unpack.at < unpack.end)
        read_record(memory, np_unpack_bytes(&unpack));
}

void np_run_remember(struct np_run *run, bool dry_run)
{
    const bool dumps = run->np->settings.dumps.n > 0; /* a program is not run before it is known that it need be */
    struct np_text bytes;
    const char *key = run->np->settings.root ? NULL : key_of(run);
    if (!key)
        return;
    run->memory = np_alloc(run->arena, sizeof *run->memory);
    run->memory->key = key;
    run->memory->is_kept = !dry_run;
    run->memory->may_believe = !dry_run && !dumps;
    if (np_host_recall(run->arena, run->path, &bytes))
        read_all(run->memory, bytes);
}

bool np_run_recall(struct np_run *run, unsigned source)
{
    struct np_memory *memory = run->memory;
    const char *name = np_sources[source]->name;
    const enum nextport_policy policy = np_settings_policy(&run->np->settings, name);
    if (!memory || !np_sources[source]->files || !memory->of[source].before.ptr)
        return false;
    struct np_unpack unpack = np_unpack_begin(memory->of[source].before);
    if (!np_reader_take_over(run->reader, &unpack, memory->may_believe) ||
        !np_evidence_read(&run->evidence, name, policy, &unpack))
        return false;
    memory->has_believed = memory->has_believed || memory->may_believe;
    return true;
}

bool np_run_doubt(struct np_run *run)
{
    const bool has_believed = run->memory && run->memory->has_believed;
    if (run->memory)
        run->memory->may_believe = run->memory->has_believed = false;
    return has_believed;
}

void np_run_forget_news(struct np_run *run)
{
    for (size_t i = 0; run->memory && i < SOURCES_MAX; i++)
        run->memory->of[i].is_new = false;
}

void np_run_learn(struct np_run *run, unsigned source, struct np_mark since, bool is_live)
{
    if (!run->memory || !run->memory->is_kept || !np_sources[source]->files)
        return;
    const bool is_new = !is_live && np_evidence_is_whole(&run->evidence, np_sources[source]->name);
    run->memory->of[source] =
        (struct record){.since = since, .until = np_evidence_mark(&run->evidence), .is_new = is_new};
    run->memory->is_new = run->memory->is_new || is_new;
}

/* What is new is written down only now: under the lock it may have been looked at again. NULL: it is no use. */
static struct np_text write_down(struct np_run *run, unsigned source, struct np_arena *scratch)
{
    const struct record *record = &run->memory->of[source];
    struct np_buf whole = {.arena = scratch};
    np_pack_text(&whole, np_sources[source]->name);
    if (!np_reader_write_down(run->reader, source, &whole) ||
        !np_evidence_write_down(&run->evidence, record->since, record->until, np_sources[source]->name, &whole))
        return (struct np_text){0};
    np_pack_sum(&whole);
    return (struct np_text){whole.ptr, whole.len};
}

/* As it was read. */
static struct np_text as_before(const struct record *record, const char *name, struct np_arena *scratch)
{
    struct np_buf whole = {.arena = scratch};
    np_pack_text(&whole, name);
    np_buf_add(&whole, record->before.ptr, record->before.len);
    np_pack_sum(&whole);
    return (struct np_text){whole.ptr, whole.len};
}

/* As np_pack_bytes() does it, without a second copy of what may be megabytes. */
static void keep_bytes(struct np_keeper *keeper, struct np_arena *scratch, struct np_text bytes)
{
    struct np_buf length = {.arena = scratch};
    np_pack_number(&length, (uint64_t)bytes.len + 1);
    np_host_keep_more(keeper, (struct np_text){length.ptr, length.len});
    np_host_keep_more(keeper, bytes);
    np_host_keep_more(keeper, (struct np_text){"", 1});
}

static void keep_all(struct np_run *run, struct np_arena *scratch, const struct np_text *news)
{
    struct np_keeper *keeper = np_host_keep(scratch, run->path);
    if (!keeper)
        return;
    keep_bytes(keeper, scratch, np_text_of(run->memory->key));
    for (unsigned i = 0; np_sources[i] && i < SOURCES_MAX; i++)
        if (news[i].ptr)
            keep_bytes(keeper, scratch, news[i]);
        else if (run->memory->of[i].before.ptr)
            keep_bytes(keeper, scratch, as_before(&run->memory->of[i], np_sources[i]->name, scratch));
    np_host_keep_end(keeper);
}

void np_run_keep_memory(struct np_run *run)
{
    const struct np_memory *memory = run->memory;
    struct np_text news[SOURCES_MAX] = {{0}};
    struct np_arena *scratch = memory && memory->is_new ? np_arena_new() : NULL;
    bool any = false;
    for (unsigned i = 0; scratch && np_sources[i] && i < SOURCES_MAX; i++) {
        news[i] = memory->of[i].is_new ? write_down(run, i, scratch) : news[i];
        any = any || news[i].ptr;
    }
    if (any)
        keep_all(run, scratch, news);
    np_arena_free(scratch);
}
