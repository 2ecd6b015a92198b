/* SPDX-License-Identifier: MIT */
#include "host/linux/sysctl.h"

#include <string.h>

/* ---- Sets ---------------------------------------------------------------------------------------------------- */

static void unite(struct np_portset *set, const struct np_portset *other)
{
    for (size_t w = 0; w < sizeof set->word / sizeof *set->word; w++)
        set->word[w] |= other->word[w];
}

bool np_sysctl_covers(const struct np_portset *outer, const struct np_portset *inner)
{
    struct np_portset rest = *inner;
    np_portset_subtract(&rest, outer);
    return np_portset_next(&rest, 1) == 0;
}

/* ---- The kernel's list --------------------------------------------------------------------------------------- */

/* Bit 0 of the kernel's set means nothing. */
static bool parse_bound(struct np_text text, uint16_t *ret)
{
    uint64_t number;
    if (!np_text_u64(np_text_trim(text), UINT16_MAX, &number))
        return false;
    *ret = (uint16_t)number;
    return true;
}

bool np_sysctl_parse(struct np_portset *ret, struct np_text text)
{
    struct np_text part, low;
    text = np_text_trim(text);
    while (text.len > 0 && np_text_split(&text, ',', &part)) {
        uint16_t first, last;
        if (!np_text_split(&part, '-', &low) || !parse_bound(low, &first))
            return false;
        last = first;
        if ((part.ptr && !parse_bound(part, &last)) || last < first)
            return false;
        if (last > 0)
            np_portset_add(ret, first ? first : 1, last);
    }
    return true;
}

/* ---- Files of sysctl.d --------------------------------------------------------------------------------------- */

/* "net.ipv4.x", "net/ipv4/x", and "-net.ipv4.x", whose failure is ignored. */
static bool is_key(struct np_text text)
{
    text = np_text_trim(text);
    if (text.len > 0 && text.ptr[0] == '-')
        text.ptr++, text.len--;
    if (text.len != strlen(NP_SYSCTL_KEY))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != NP_SYSCTL_KEY[i] && !(text.ptr[i] == '/' && NP_SYSCTL_KEY[i] == '.'))
            return false;
    return true;
}

bool np_sysctl_setting(struct np_text bytes, struct np_portset *ret)
{
    bool found = false;
    struct np_text line, key;
    while (np_text_split(&bytes, '\n', &line)) {
        struct np_portset said = {{0}};
        line = np_text_trim(line);
        if (!line.len || line.ptr[0] == '#' || line.ptr[0] == ';' || !np_text_split(&line, '=', &key) || !line.ptr ||
            !is_key(key) || !np_sysctl_parse(&said, line))
            continue;
        *ret = said;
        found = true;
    }
    return found;
}

/* Shown indented, and then no wider than a terminal. */
static const char heading[] = "# Made by 'nextport protect --apply': it keeps outgoing connections out of\n"
                              "# a pool of ports. 'nextport protect --undo' takes back these and no other.\n"
                              "# Do not edit it: reserve other ports in another file, and apply again.\n";
static const char ours_line[] = "# nextport: ", scope_line[] = "# namespace: ", set_line[] = NP_SYSCTL_KEY " = ";
static const char machine[] = "the machine's own";

char *np_sysctl_compose(struct np_arena *arena, const struct np_sysctl_file *file)
{
    return np_sprintf(arena, "%s%s%s\n%s%s\n%s%s\n", heading, ours_line, np_portset_format(arena, &file->ours),
                      scope_line, file->scope[0] ? file->scope : machine, set_line,
                      np_portset_format(arena, &file->all));
}

/* The rest of the next line, which must begin with `word`. */
static bool next_line(struct np_text *rest, const char *word, struct np_text *ret)
{
    const size_t n = strlen(word);
    if (!np_text_split(rest, '\n', ret) || ret->len < n || memcmp(ret->ptr, word, n) != 0)
        return false;
    ret->ptr += n;
    ret->len -= n;
    return true;
}

bool np_sysctl_read(struct np_arena *arena, struct np_text text, struct np_sysctl_file *ret)
{
    const size_t n = strlen(heading);
    struct np_text rest = text, ours, scope, all;
    if (text.len < n || memcmp(text.ptr, heading, n) != 0)
        return false;
    rest.ptr += n;
    rest.len -= n;
    *ret = (struct np_sysctl_file){.scope = ""};
    if (!next_line(&rest, ours_line, &ours) || !np_sysctl_parse(&ret->ours, ours) ||
        !next_line(&rest, scope_line, &scope) || !next_line(&rest, set_line, &all) || !np_sysctl_parse(&ret->all, all))
        return false;
    if (!np_text_is(scope, machine))
        ret->scope = np_text_dup(arena, scope);
    return np_text_is(text, np_sysctl_compose(arena, ret));
}

/* ---- Whose is what ------------------------------------------------------------------------------------------- */

struct np_portset np_sysctl_ours(const struct np_sysctl_file *file, const struct np_portset *live, const char *scope)
{
    struct np_portset ret = {{0}};
    struct nextport_range run, found;
    if (!file || (!file->scope[0] && scope[0]))
        return ret;
    for (uint32_t from = 1; np_portset_run(&file->ours, from, &run); from = run.last + UINT32_C(1))
        if (np_portset_run(live, run.first, &found) && found.first == run.first && found.last >= run.last)
            np_portset_add(&ret, run.first, run.last);
    return ret;
}

struct np_portset np_sysctl_without(const struct np_sysctl_present *present)
{
    struct np_portset rest = present->live, ours = np_sysctl_ours(present->file, &present->live, present->scope);
    np_portset_subtract(&ours, &present->elsewhere); /* meanwhile somebody else wants it reserved, too */
    np_portset_subtract(&rest, &ours);
    return rest;
}

/* What outgoing connections may be given. */
static unsigned count_open(const struct np_sysctl_present *present, const struct np_portset *reserved)
{
    struct np_portset open = {{0}};
    np_portset_add(&open, present->ephemeral.first, present->ephemeral.last);
    np_portset_subtract(&open, reserved);
    return np_portset_count(&open);
}

static const char *why_not(struct np_arena *arena, const struct np_sysctl_present *present,
                           const struct np_sysctl_wanted *wanted)
{
    /* either may be the longer one: a list with more ports can have fewer ranges */
    const size_t now = strlen(np_portset_format(arena, &wanted->live)) + 1,
                 later = strlen(np_portset_format(arena, &wanted->file.all)) + 1, size = now > later ? now : later;
    if (size <= NP_SYSCTL_WRITE_MAX && strlen(np_sysctl_compose(arena, &wanted->file)) >= NP_SYSCTL_FILE_MAX)
        return "What others reserved in the pool cuts it into too many pieces to be written down: set "
               "net.ipv4.ip_local_port_range to a range beside the pool instead.";
    const unsigned before = count_open(present, &present->live), after = count_open(present, &wanted->live);
    if (size > NP_SYSCTL_WRITE_MAX)
        return np_sprintf(arena,
                          "The list of reserved ports would have %zu bytes, of which the kernel takes %d and drops the "
                          "rest: set net.ipv4.ip_local_port_range to a range beside the pool instead.",
                          size, NP_SYSCTL_WRITE_MAX);
    if (after < NP_SYSCTL_FEWEST && after < before)
        return np_sprintf(arena,
                          "Of the ports %u-%u, %u would be left for outgoing connections, and they need %d at least: "
                          "make the pool smaller, or widen net.ipv4.ip_local_port_range first.",
                          present->ephemeral.first, present->ephemeral.last, after, NP_SYSCTL_FEWEST);
    return NULL;
}

/* What is reserved for others at the next start: by their files, and by ours, where it is of this namespace. */
static struct np_portset of_others_later(const struct np_sysctl_present *present)
{
    struct np_portset ret = {{0}};
    if (present->file && strcmp(present->file->scope, present->scope) == 0) {
        ret = present->file->all;
        np_portset_subtract(&ret, &present->file->ours);
    }
    unite(&ret, &present->elsewhere);
    return ret;
}

void np_sysctl_want(struct np_arena *arena, const struct np_sysctl_present *present, const struct np_portset *pool,
                    struct np_sysctl_wanted *ret)
{
    const struct np_portset others = np_sysctl_without(present), later = of_others_later(present);
    *ret = (struct np_sysctl_wanted){.live = others, .file = {.all = others, .ours = *pool, .scope = present->scope}};
    unite(&ret->live, pool);
    unite(&ret->file.all, pool);
    unite(&ret->file.all, &later);
    np_portset_subtract(&ret->file.ours, &others);
    np_portset_subtract(&ret->file.ours, &later);
    ret->cannot = why_not(arena, present, ret);
}
