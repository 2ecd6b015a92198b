/* Fuzzes the parser of the source that FUZZ_ROW names in the environment, so that its samples are its seeds as they are.
 * Input: main file [RS redirection.config [RS any other included file]]. RS is the byte 0x1e, which is in no text file.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "source/podman_storage.h"
#include "source/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD_SEPARATOR = 0x1e,
    READS_MAX = 5, /* of one input, so that files which include each other by ever new names do not take all the time */
};

struct parts {
    struct np_text main, redirection, other; /* ptr NULL: absent */
    unsigned n_reads;
};

static enum np_read read_part(void *ctx, struct np_arena *arena, const char *path, struct np_text *ret,
                              const char **why)
{
    struct parts *parts = ctx;
    const struct np_text absent = {NULL, 0};
    const struct np_text part = ++parts->n_reads > READS_MAX  ? absent
                                : strstr(path, "redirection") ? parts->redirection
                                                              : parts->other;
    *why = part.ptr ? NULL : "no such file";
    if (part.ptr)
        *ret = (struct np_text){np_text_dup(arena, part), part.len}; /* which shows when it is used for too long */
    return part.ptr ? NP_READ_OK : NP_READ_ABSENT;
}

/* Folders of units: a template, an instance of it with drop-ins, and a service; all of one content. */
static enum np_read list_parts(void *ctx, const char *folder, const struct np_entry **ret, size_t *ret_n,
                               const char **why)
{
    static const struct np_entry units[] = {{"a.service", NP_ENTRY_FILE, NULL},
                                            {"b.socket", NP_ENTRY_LINK, "shop@1.socket"},
                                            {"shop@.socket", NP_ENTRY_FILE, NULL},
                                            {"shop@1.socket.d", NP_ENTRY_FOLDER, NULL},
                                            {"x.target.wants", NP_ENTRY_FOLDER, NULL}};
    static const struct np_entry wants[] = {{"shop@8000.socket", NP_ENTRY_LINK, "x"}};
    static const struct np_entry drop_ins[] = {{"x.conf", NP_ENTRY_FILE, NULL}};
    const struct parts *parts = ctx;
    (void)why;
    if (!parts->other.ptr)
        return NP_READ_ABSENT;
    const bool is_wants = strstr(folder, ".wants"), is_drop_ins = strstr(folder, ".d/") || strstr(folder, "socket.d");
    *ret = is_wants ? wants : is_drop_ins ? drop_ins : units;
    *ret_n = is_wants || is_drop_ins ? 1 : sizeof units / sizeof *units;
    return NP_READ_OK;
}

/* Every pattern matches the other file. */
static enum np_read match_other(void *ctx, const char *pattern, const char *const **ret, size_t *ret_n,
                                const char **why)
{
    static const char *const matched[] = {"/etc/other.conf"};
    (void)ctx, (void)pattern, (void)why;
    *ret = matched;
    *ret_n = 1;
    return NP_READ_OK;
}

static const struct np_source *choose(void)
{
    const char *row = getenv("FUZZ_ROW");
    const struct np_source *source = row ? np_source_find(row) : NULL;
    if (!source || !source->parse) {
        fprintf(stderr, "FUZZ_ROW: %s: not a source with a parser\n", row ? row : "not set");
        exit(2);
    }
    return source;
}

/* What must hold of every claim, whatever was read. */
static void check(const struct np_evidence *evidence)
{
    for (size_t i = 0; i < evidence->n_claims; i++) {
        const struct nextport_claim *claim = &evidence->claims[i];
        bool range = claim->first > 0 && claim->first <= claim->last;
        if ((!range && claim->certainty != NEXTPORT_UNRESOLVED) || !claim->source || !claim->count)
            abort();
    }
}

/* Podman's other grammar. */
static void read_storage(struct np_arena *arena, struct np_text bytes)
{
    static const struct np_podman_place place = {.home = "/home/*", .uid = "1000"};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_podman_storage said;
    if (np_podman_storage_read(arena, "/etc/main.conf", bytes, &said, &err) != NEXTPORT_OK && !*err.text)
        abort();
    if (said.graphroot)
        np_podman_storage_glob(arena, said.graphroot, &place);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct np_arena *arena = np_arena_new();
    struct np_log log = {.arena = arena};
    struct np_evidence evidence = {.arena = arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct parts parts = {.main = {"", 0}};
    struct np_text input = {(const char *)data, size};
    const struct np_source *source = choose();
    np_text_split(&input, RECORD_SEPARATOR, &parts.main);
    np_text_split(&input, RECORD_SEPARATOR, &parts.redirection);
    np_text_split(&input, RECORD_SEPARATOR, &parts.other);
    if (!parts.redirection.len) /* so that an input can have an included file and no redirection */
        parts.redirection.ptr = NULL;
    const struct np_include include = {.read = read_part, .glob = match_other, .list = list_parts, .ctx = &parts};
    if (source->parse(&evidence, "/etc/main.conf", parts.main, &include, &err) != NEXTPORT_OK && !*err.text)
        abort();
    check(&evidence);
    if (source == &np_source_podman)
        read_storage(arena, parts.main);
    np_evidence_sort(&evidence, false);
    np_arena_free(arena);
    return 0;
}
