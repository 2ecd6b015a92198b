/* SPDX-License-Identifier: MIT */
#include "host/windows/dynamic.h"

#include <string.h>

static unsigned size_of(struct nextport_range range)
{
    return range.last - range.first + 1u;
}

bool np_dynamic_choose(const struct np_portset *pool, unsigned size, struct nextport_range *ret)
{
    struct np_portset rest = {{0}};
    struct nextport_range run, room = {1, 0};
    np_portset_add(&rest, NP_DYNAMIC_LOWEST, UINT16_MAX);
    np_portset_subtract(&rest, pool);
    for (uint32_t from = 1; np_portset_run(&rest, from, &run); from = run.last + UINT32_C(1))
        if (room.last < room.first || size_of(run) > size_of(room) ||
            (run.last == UINT16_MAX && size_of(run) >= NP_DYNAMIC_FEWEST))
            room = run;
    if (room.last < room.first || size_of(room) < NP_DYNAMIC_FEWEST)
        return false;
    const unsigned wanted = size < NP_DYNAMIC_FEWEST ? NP_DYNAMIC_FEWEST : size,
                   num = wanted < size_of(room) ? wanted : size_of(room);
    *ret = (struct nextport_range){(uint16_t)(room.last - num + 1), room.last};
    return true;
}

/* ---- Words --------------------------------------------------------------------------------------------------- */

static const char *family(const struct np_dynamic *row)
{
    return row->ipv6 ? "ipv6" : "ipv4";
}

static const char *protocol(const struct np_dynamic *row)
{
    return row->protocol == NEXTPORT_UDP ? "udp" : "tcp";
}

char *np_dynamic_question(struct np_arena *arena, const struct np_dynamic *row)
{
    return np_sprintf(arena, "int %s show dynamicport %s", family(row), protocol(row));
}

char *np_dynamic_command(struct np_arena *arena, const struct np_dynamic *row, struct nextport_range range)
{
    return np_sprintf(arena, "int %s set dynamicport %s start=%u num=%u", family(row), protocol(row), range.first,
                      size_of(range));
}

static const char header[] = "nextport dynamic-ports 1";

/* "ipv4 tcp 49152 65535 32616 48999": as it was, and what it was changed to. */
char *np_dynamic_compose(struct np_arena *arena, const struct np_dynamic *rows, size_t n)
{
    struct np_buf out = {.arena = arena};
    np_buf_printf(&out, "%s\n", header);
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&out, "%s %s %u %u %u %u\n", family(&rows[i]), protocol(&rows[i]), rows[i].now.first,
                      rows[i].now.last, rows[i].set.first, rows[i].set.last);
    np_buf_puts(&out, "end\n");
    return out.ptr;
}

static bool parse_range(struct np_text *line, struct nextport_range *ret)
{
    struct np_text first, last;
    return np_text_split(line, ' ', &first) && np_text_split(line, ' ', &last) && np_text_port(first, &ret->first) &&
           np_text_port(last, &ret->last) && ret->first <= ret->last;
}

static bool parse_row(struct np_text line, struct np_dynamic *ret)
{
    struct np_text word, which;
    if (!np_text_split(&line, ' ', &word) || !np_text_split(&line, ' ', &which) ||
        !(np_text_is(word, "ipv4") || np_text_is(word, "ipv6")) ||
        !(np_text_is(which, "tcp") || np_text_is(which, "udp")))
        return false;
    ret->ipv6 = np_text_is(word, "ipv6");
    ret->protocol = np_text_is(which, "udp") ? NEXTPORT_UDP : NEXTPORT_TCP;
    return parse_range(&line, &ret->now) && parse_range(&line, &ret->set) && !line.ptr;
}

bool np_dynamic_read(struct np_text text, struct np_dynamic ret[NP_DYNAMIC_RANGES], size_t *ret_n)
{
    struct np_text line;
    *ret_n = 0;
    if (!np_text_split(&text, '\n', &line) || !np_text_is(line, header))
        return false;
    while (np_text_split(&text, '\n', &line)) {
        if (np_text_is(line, "end"))
            return text.len == 0;
        if (*ret_n == NP_DYNAMIC_RANGES || !parse_row(line, &ret[*ret_n]))
            return false;
        ++*ret_n;
    }
    return false;
}
