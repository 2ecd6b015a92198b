/* Fuzzes every parser of a source. Input: [row] main file [RS redirection.config [RS any other included file]].
 * A first byte below the number of parsers chooses one and is not part of the file; any other leaves the first, so that
 * its samples can be replayed as they are. RS is the byte 0x1e, which is in no text file.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "source/source.h"

#include <stdlib.h>
#include <string.h>

enum { RECORD_SEPARATOR = 0x1e };

struct parts {
    struct np_text main, redirection, other; /* ptr NULL: absent */
};

static enum np_read read_part(void *ctx, const char *path, struct np_text *ret, const char **why)
{
    const struct parts *parts = ctx;
    *ret = strstr(path, "redirection") ? parts->redirection : parts->other;
    *why = ret->ptr ? NULL : "no such file";
    return ret->ptr ? NP_READ_OK : NP_READ_ABSENT;
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

static const struct np_source *choose(struct np_text *input)
{
    const struct np_source *rows[64];
    size_t n = 0;
    for (size_t i = 0; np_sources[i] && n < sizeof rows / sizeof *rows; i++)
        if (np_sources[i]->parse)
            rows[n++] = np_sources[i];
    if (!input->len || (unsigned char)input->ptr[0] >= n)
        return rows[0];
    input->ptr++, input->len--;
    return rows[(unsigned char)input->ptr[-1]];
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct np_arena *arena = np_arena_new();
    struct np_log log = {.arena = arena};
    struct np_evidence evidence = {.arena = arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct parts parts = {{"", 0}, {NULL, 0}, {NULL, 0}};
    struct np_text input = {(const char *)data, size};
    const struct np_source *source = choose(&input);
    np_text_split(&input, RECORD_SEPARATOR, &parts.main);
    np_text_split(&input, RECORD_SEPARATOR, &parts.redirection);
    np_text_split(&input, RECORD_SEPARATOR, &parts.other);
    if (!parts.redirection.len) /* so that an input can have an included file and no redirection */
        parts.redirection.ptr = NULL;
    const struct np_include include = {.read = read_part, .list = list_parts, .ctx = &parts};
    if (source->parse(&evidence, "/etc/main.conf", parts.main, &include, &err) != NEXTPORT_OK && !*err.text)
        abort();
    check(&evidence);
    np_evidence_sort(&evidence, false);
    np_arena_free(arena);
    return 0;
}
