/* Which rules make a program unreachable: those that certainly meet connections from elsewhere to this machine, and hand
 * them to somebody who is not the program that listens on the port. Here, other than where ports are given, doubt speaks
 * for the rule: what is not understood makes nobody unreachable.
 * SPDX-License-Identifier: MIT */
#include "host/linux/nat.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <string.h>

/* ---- Addresses ------------------------------------------------------------------------------------------------ */

static const char *address_text(struct np_arena *arena, const struct np_nat_address *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(address->size == 16 ? AF_INET6 : AF_INET, address->bytes, text, sizeof text);
    return np_sprintf(arena, address->size == 16 ? "[%s]" : "%s", text);
}

static bool is_under(const struct np_nat_address *own, const uint8_t *address, const uint8_t *mask, size_t size)
{
    bool same = own->size == size;
    for (size_t i = 0; i < size && same; i++)
        same = ((own->bytes[i] ^ address[i]) & mask[i]) == 0;
    return same;
}

static bool is_all(const uint8_t *mask, size_t size, uint8_t byte)
{
    for (size_t i = 0; i < size; i++)
        if (mask[i] != byte)
            return false;
    return true;
}

void np_nat_address(struct np_nat_rules *rules, struct np_nat_rule *rule, const uint8_t *address, const uint8_t *mask,
                    size_t size, bool negated)
{
    const struct np_nat_address *found = NULL;
    if (is_all(mask, size, 0) && !negated)
        return;
    for (size_t i = 0; i < rules->n_own && !found; i++)
        if (is_under(&rules->own[i], address, mask, size))
            found = &rules->own[i];
    const enum np_nat_to to = negated ? found ? NP_NAT_UNKNOWN : NP_NAT_ANY : found ? NP_NAT_HERE : NP_NAT_ELSEWHERE;
    rule->own =
        found && !negated && is_all(mask, size, 0xff) && rules->thorough ? address_text(rules->arena, found) : NULL;
    if (rule->to == NP_NAT_ANY || to == NP_NAT_ELSEWHERE)
        rule->to = to;
    else if (to != NP_NAT_ANY && rule->to != NP_NAT_ELSEWHERE)
        rule->to = NP_NAT_UNKNOWN;
}

/* ---- Where connections end ------------------------------------------------------------------------------------ */

/* "10.0.0.2:80", "[fd00::2]", ":80": the address is empty where there is none. */
static void split_target(const char *text, char address[INET6_ADDRSTRLEN], uint16_t *ret_port)
{
    struct np_text whole = np_text_of(text);
    const char *colon = strrchr(text, ':');
    *ret_port = 0;
    if (colon && (*text != '[' || colon[-1] == ']') && (*text == '[' || strchr(text, ':') == colon)) {
        np_text_port(np_text_of(colon + 1), ret_port);
        whole.len = (size_t)(colon - text);
    }
    if (whole.len >= 2 && *whole.ptr == '[')
        whole = (struct np_text){whole.ptr + 1, whole.len - 2};
    whole.len = whole.len < INET6_ADDRSTRLEN ? whole.len : 0;
    memcpy(address, whole.ptr, whole.len);
    address[whole.len] = '\0';
}

static bool is_own(const struct np_nat_rules *rules, const char *text)
{
    static const uint8_t loopback_6[16] = {[15] = 1};
    struct np_nat_address address = {.size = strchr(text, ':') ? 16 : 4};
    if (inet_pton(address.size == 16 ? AF_INET6 : AF_INET, text, address.bytes) != 1)
        return false;
    bool found =
        address.size == 4 ? address.bytes[0] == 127 : memcmp(address.bytes, loopback_6, sizeof loopback_6) == 0;
    for (size_t i = 0; i < rules->n_own && !found; i++)
        found = rules->own[i].size == address.size && memcmp(rules->own[i].bytes, address.bytes, address.size) == 0;
    return found;
}

/* Does what hands on say that connections end at another place than the port that they were made to? *ret_port: of this
 * machine, 0: of another one. A target that is a map or has no words may be this machine. */
static bool goes_away(const struct np_nat_rules *rules, const char *holder, uint16_t *ret_port)
{
    char address[INET6_ADDRSTRLEN];
    const char *to = holder ? strstr(holder, " to ") : NULL;
    uint16_t port;
    *ret_port = 0;
    if (!to || strncmp(holder, "TPROXY", 6) == 0) /* a proxy in between, which may well go on to the program */
        return false;
    split_target(to + strlen(" to "), address, &port);
    if (strncmp(holder, "DNAT", 4) == 0 && *address && !is_own(rules, address))
        return true;
    *ret_port = port;
    return port != 0;
}

/* ---- Which chains are reached, and what they do ---------------------------------------------------------------- */

/* What a rule lets pass never gets to those behind it in the chain. */
static void add_passed(const struct np_nat_rule *rule, struct np_portset *passed)
{
    bool named = rule->first > 1 || rule->last < 65535;
    for (size_t i = 0; i < rule->n_matches; i++) {
        const struct np_nat_match *match = &rule->matches[i];
        named = named || !match->negated;
        if (match->negated ? rule->passes : rule->passes || match->passes)
            np_portset_add(passed, match->negated ? 1 : match->first, match->negated ? 65535 : match->last);
    }
    const bool is_for_others =
        rule->to == NP_NAT_ELSEWHERE || (rule->to == NP_NAT_ANY && (rule->is_for_some || rule->by_interface));
    if (rule->passes && !is_for_others && (!named || rule->first > 1 || rule->last < 65535))
        np_portset_add(passed, rule->first, rule->last);
}

static bool are_passed(const struct np_nat_rule *rule, const struct np_portset *passed)
{
    uint16_t next = np_portset_next(passed, rule->first);
    bool found = next && next <= rule->last && (rule->first > 1 || rule->last < 65535);
    for (size_t i = 0; i < rule->n_matches && !found; i++) {
        next = np_portset_next(passed, rule->matches[i].first);
        found = next && next <= rule->matches[i].last;
    }
    return found || np_portset_count(passed) == 65535;
}

/* The rules of a chain follow each other. */
static void find_certain(struct np_nat_rules *rules)
{
    struct np_portset passed = {{0}};
    bool is_empty = true;
    for (size_t i = 0; i < rules->n_rules; i++) {
        struct np_nat_rule *rule = rules->rules[i];
        if (i > 0 &&
            (rule->table != rules->rules[i - 1]->table || strcmp(rule->chain, rules->rules[i - 1]->chain) != 0)) {
            if (!is_empty)
                memset(&passed, 0, sizeof passed);
            is_empty = true;
        }
        rule->is_certain = (rule->to == NP_NAT_ANY || rule->to == NP_NAT_HERE) && !rule->is_for_some && !rule->vague &&
                           rule->protocol && (is_empty || !are_passed(rule, &passed));
        bool passes = rule->passes;
        for (size_t j = 0; j < rule->n_matches && !passes; j++)
            passes = rule->matches[j].passes;
        if (passes)
            add_passed(rule, &passed);
        is_empty = is_empty && !passes;
    }
}

static struct np_nat_chain *chain_of(const struct np_nat_rules *rules, const struct np_nat_rule *rule)
{
    return np_nat_find_chain(rules, rule->table, rule->chain);
}

/* Says it of the chain that is jumped to, or from. */
static bool spread(const struct np_nat_rules *rules, const struct np_nat_rule *rule, const char *jump)
{
    bool more = false;
    if (!jump || !rule->is_certain)
        return false;
    struct np_nat_chain *from = chain_of(rules, rule), *to = np_nat_find_chain(rules, rule->table, jump);
    if (!from || !to)
        return false;
    if (from->is_outside && !to->is_outside)
        more = to->is_outside = true;
    if (to->delivers && !from->delivers)
        more = from->delivers = true;
    return more;
}

void np_nat_reach(struct np_nat_rules *rules)
{
    bool more = true;
    uint16_t port;
    find_certain(rules);
    for (size_t i = 0; i < rules->n_chains; i++)
        rules->chains[i].is_outside = rules->chains[i].hook == NF_INET_PRE_ROUTING;
    for (size_t i = 0; i < rules->n_rules; i++) {
        const struct np_nat_rule *rule = rules->rules[i];
        struct np_nat_chain *chain = rule->act == NP_NAT_TAKES && rule->is_certain ? chain_of(rules, rule) : NULL;
        if (chain && goes_away(rules, rule->holder, &port))
            chain->delivers = true;
    }
    while (more) {
        more = false;
        for (size_t i = 0; i < rules->n_rules; i++) {
            const struct np_nat_rule *rule = rules->rules[i];
            more = spread(rules, rule, rule->jump) || more;
            for (size_t j = 0; j < rule->n_matches; j++)
                more = (!rule->matches[j].vague && spread(rules, rule, rule->matches[j].jump)) || more;
        }
    }
}

/* ---- Rows ----------------------------------------------------------------------------------------------------- */

bool np_nat_marks_alike(const struct np_nat_rules *rules, const struct np_nat_rule *a, const struct np_nat_rule *b)
{
    uint16_t port_a, port_b;
    if (!a->is_certain || !b->is_certain)
        return a->is_certain == b->is_certain;
    return a->family == b->family && np_equal(a->own, b->own) && np_equal(a->jump, b->jump) &&
           goes_away(rules, a->holder, &port_a) == goes_away(rules, b->holder, &port_b) && port_a == port_b;
}

void np_nat_mark(const struct np_nat_rules *rules, const struct np_nat_rule *rule, const struct np_nat_match *match,
                 struct np_nat_row *row)
{
    const struct np_nat_chain *chain = chain_of(rules, rule);
    const char *jump = match && match->jump ? match->jump : rule->jump;
    if (!chain || !chain->is_outside || !rule->is_certain || row->conditional || !row->ports.first)
        return;
    const struct np_nat_chain *to = jump ? np_nat_find_chain(rules, rule->table, jump) : NULL;
    row->hijacks = to ? to->delivers : rule->act == NP_NAT_TAKES && goes_away(rules, row->holder, &row->ends);
    row->reach = rule->own                      ? rule->own
                 : rule->family == NFPROTO_IPV4 ? "0.0.0.0"
                 : rule->family == NFPROTO_IPV6 ? "[::]"
                                                : NULL;
}
