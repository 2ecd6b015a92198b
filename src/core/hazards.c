/* SPDX-License-Identifier: MIT */
#include "core/hazards.h"

const uint16_t np_browser_blocked[] = {
    1,    7,    9,    11,   13,   15,   17,   19,   20,   21,   22,   23,   25,   37,    42,   43,   53,
    69,   77,   79,   87,   95,   101,  102,  103,  104,  109,  110,  111,  113,  115,   117,  119,  123,
    135,  137,  139,  143,  161,  179,  389,  427,  465,  512,  513,  514,  515,  526,   530,  531,  532,
    540,  548,  554,  556,  563,  587,  601,  636,  989,  990,  993,  995,  1719, 1720,  1723, 2049, 3659,
    4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
};
const unsigned np_n_browser_blocked = sizeof np_browser_blocked / sizeof *np_browser_blocked;

void np_hazards_browser(struct np_portset *ret)
{
    for (unsigned i = 0; i < np_n_browser_blocked; i++)
        np_portset_add(ret, np_browser_blocked[i], np_browser_blocked[i]);
}

/* The next word of a line, between blanks and tabs; false when there is none. */
static bool next_word(struct np_text *rest, struct np_text *ret)
{
    *rest = np_text_trim(*rest);
    ret->ptr = rest->ptr;
    ret->len = 0;
    while (ret->len < rest->len && rest->ptr[ret->len] != ' ' && rest->ptr[ret->len] != '\t')
        ret->len++;
    rest->ptr += ret->len;
    rest->len -= ret->len;
    return ret->len > 0;
}

/* "http  80/tcp  www  # a comment" */
static void add_service(struct np_portset *ret, struct np_text line)
{
    struct np_text said, name, place, port;
    uint16_t number;
    np_text_split(&line, '#', &said);
    if (!next_word(&said, &name) || !next_word(&said, &place))
        return;
    np_text_split(&place, '/', &port);
    if (place.ptr && np_text_port(port, &number) &&
        (np_text_is_nocase(place, "tcp") || np_text_is_nocase(place, "udp")))
        np_portset_add(ret, number, number);
}

void np_hazards_services(struct np_portset *ret, struct np_text bytes)
{
    struct np_text line;
    while (np_text_split(&bytes, '\n', &line))
        add_service(ret, line);
}
