/* What rules take. A rule that names ports takes them when it hands packets to somebody, and may when it only leads on; one
 * that names none takes every port, but only where it is reached without a condition on ports: behind one, the rule with
 * the condition has named them, unless they are too many to be named.
 * SPDX-License-Identifier: MIT */
#include "host/linux/nat.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

enum {
    TOO_MANY = 32768,       /* ports of one rule, beyond which it is no port's own: half of all */
    TOO_MANY_PASSED = 1024, /* the same of a rule that takes nothing itself */
    OTHERS_TOLD = 8,        /* rules that another one speaks for; of more, how many */
    EVERY_FIRST = 1,
    EVERY_LAST = 65535,
};

/* ---- Collecting ---------------------------------------------------------------------------------------------- */

struct np_nat_table *np_nat_table(struct np_nat_rules *rules, int family, const char *name, bool is_older)
{
    for (size_t i = rules->n_tables; i > 0; i--) /* the last one, nearly always */
        if (rules->tables[i - 1]->family == family && rules->tables[i - 1]->is_older == is_older &&
            strcmp(rules->tables[i - 1]->name, name) == 0)
            return rules->tables[i - 1];
    struct np_nat_table *table = np_alloc(rules->arena, sizeof *table);
    *table = (struct np_nat_table){.family = family, .name = np_strdup(rules->arena, name), .is_older = is_older};
    struct np_nat_table **slot =
        np_push(rules->arena, &rules->tables, &rules->n_tables, &rules->tables_capacity, sizeof *slot);
    return *slot = table;
}

void np_nat_chain(struct np_nat_rules *rules, const struct np_nat_table *table, const char *name, int hook)
{
    struct np_nat_chain *chain =
        np_push(rules->arena, &rules->chains, &rules->n_chains, &rules->chains_capacity, sizeof *chain);
    *chain = (struct np_nat_chain){.table = table, .name = np_strdup(rules->arena, name), .hook = hook};
}

struct np_nat_rule *np_nat_rule(struct np_nat_rules *rules, struct np_nat_table *table, const char *chain)
{
    const struct np_nat_rule *last = rules->n_rules ? rules->rules[rules->n_rules - 1] : NULL;
    struct np_nat_rule *rule = np_alloc(rules->arena, sizeof *rule);
    struct np_nat_rule **slot =
        np_push(rules->arena, &rules->rules, &rules->n_rules, &rules->rules_capacity, sizeof *slot);
    rule->table = table;
    rule->chain = last && strcmp(last->chain, chain) == 0 ? last->chain : np_strdup(rules->arena, chain);
    rule->protocol = NEXTPORT_BOTH;
    rule->family = table->family;
    rule->first = EVERY_FIRST;
    rule->last = EVERY_LAST;
    return *slot = rule;
}

void np_nat_match(struct np_nat_rules *rules, struct np_nat_rule *rule, const struct np_nat_match *match)
{
    struct np_nat_match *slot =
        np_push(rules->arena, &rule->matches, &rule->n_matches, &rule->matches_capacity, sizeof *slot);
    *slot = *match;
    rule->by_port = rule->by_port || !match->negated;
}

void np_nat_share(struct np_nat_rule *rule, struct np_nat_rule *like, size_t n)
{
    rule->matches = like->matches;
    rule->n_matches = rule->matches_capacity = n;
    rule->like = like;
}

/* "1-65535" is no condition. Conditions that exclude each other are a rule misread, or one that matches nothing: what they
 * name is kept all the same. */
void np_nat_narrow(struct np_nat_rules *rules, struct np_nat_rule *rule, uint16_t first, uint16_t last, bool vague)
{
    const uint16_t from = first > rule->first ? first : rule->first, to = last < rule->last ? last : rule->last;
    rule->by_port = rule->by_port || first > EVERY_FIRST || last < EVERY_LAST;
    rule->vague = rule->vague || vague;
    if (from <= to) {
        rule->first = from;
        rule->last = to;
    } else if (first <= last) {
        np_nat_match(rules, rule,
                     &(struct np_nat_match){.first = first, .last = last, .protocol = NEXTPORT_BOTH, .vague = true});
    }
}

void np_nat_protocol(struct np_nat_rule *rule, unsigned ip_protocol)
{
    const unsigned is = ip_protocol == IPPROTO_TCP ? NEXTPORT_TCP : ip_protocol == IPPROTO_UDP ? NEXTPORT_UDP : 0;
    rule->protocol = (enum nextport_protocol)(rule->protocol & is);
}

void np_nat_takes(struct np_nat_rule *rule, const char *holder)
{
    rule->act = NP_NAT_TAKES;
    rule->table->takes = true;
    rule->holder = holder;
}

const char *np_nat_target(struct np_arena *arena, const char *what, const uint8_t *address, size_t size, uint16_t port)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (address)
        inet_ntop(size == 16 ? AF_INET6 : AF_INET, address, text, sizeof text);
    if (!port)
        return *text ? np_sprintf(arena, "%s to %s", what, text) : what;
    return np_sprintf(arena, size == 16 && *text ? "%s to [%s]:%u" : "%s to %s:%u", what, text, port);
}

/* ---- Which chains are reached by every port ------------------------------------------------------------------- */

static int compare_chains(const void *a, const void *b)
{
    const struct np_nat_chain *one = a, *two = b;
    if (one->table != two->table)
        return (uintptr_t)one->table < (uintptr_t)two->table ? -1 : 1;
    return strcmp(one->name, two->name);
}

struct np_nat_chain *np_nat_find_chain(const struct np_nat_rules *rules, const struct np_nat_table *table,
                                       const char *name)
{
    const struct np_nat_chain key = {.table = table, .name = name};
    return rules->n_chains ? bsearch(&key, rules->chains, rules->n_chains, sizeof key, compare_chains) : NULL;
}

/* Where packets have been routed already, nothing is handed to somebody else any more. */
static bool is_too_late(const struct np_nat_chain *chain)
{
    return chain &&
           (chain->hook == NF_INET_LOCAL_IN || chain->hook == NF_INET_FORWARD || chain->hook == NF_INET_POST_ROUTING);
}

static bool is_open(const struct np_nat_chain *chain)
{
    return !chain || chain->open;
}

static bool are_too_many(uint16_t first, uint16_t last)
{
    return last - first >= TOO_MANY;
}

/* One by a set with nothing in it is about none. */
bool np_nat_is_wide(const struct np_nat_rule *rule)
{
    bool has_lists = false;
    if (!are_too_many(rule->first, rule->last))
        return false;
    for (size_t i = 0; i < rule->n_matches; i++) {
        const struct np_nat_match *match = &rule->matches[i];
        has_lists = has_lists || !match->negated;
        if (!match->negated && are_too_many(match->first, match->last))
            return true;
    }
    return !has_lists && (!rule->by_port || rule->first > EVERY_FIRST || rule->last < EVERY_LAST);
}

static bool open_chain(const struct np_nat_rules *rules, const struct np_nat_rule *rule, const char *name)
{
    struct np_nat_chain *to = name ? np_nat_find_chain(rules, rule->table, name) : NULL;
    if (!to || to->open)
        return false;
    return to->open = true;
}

static bool open_led(const struct np_nat_rules *rules, const struct np_nat_rule *rule)
{
    bool more = open_chain(rules, rule, rule->jump);
    for (size_t i = 0; i < rule->n_matches; i++)
        if (!rule->matches[i].negated && are_too_many(rule->matches[i].first, rule->matches[i].last))
            more = open_chain(rules, rule, rule->matches[i].jump) || more;
    return more;
}

static void open_chains(struct np_nat_rules *rules)
{
    bool more = true;
    for (size_t i = 0; i < rules->n_chains; i++)
        rules->chains[i].open = rules->chains[i].hook >= 0 && !is_too_late(&rules->chains[i]);
    while (more) {
        more = false;
        for (size_t i = 0; i < rules->n_rules; i++) {
            const struct np_nat_rule *rule = rules->rules[i];
            if (rule->act != NP_NAT_NOTHING && rule->table->takes && np_nat_is_wide(rule) &&
                is_open(np_nat_find_chain(rules, rule->table, rule->chain)))
                more = open_led(rules, rule) || more;
        }
    }
}

/* ---- Rows ----------------------------------------------------------------------------------------------------- */

static const char *family_name(int family)
{
    static const struct {
        int family;
        const char *name;
    } names[] = {{NFPROTO_INET, " (inet)"},
                 {NFPROTO_IPV6, " (ip6)"},
                 {NFPROTO_NETDEV, " (netdev)"},
                 {NFPROTO_BRIDGE, " (bridge)"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].family == family)
            return names[i].name;
    return "";
}

/* Which rule it is, in the words of those who list and delete them by it. */
static const char *number_of(const struct np_nat_rules *rules, const struct np_nat_rule *rule)
{
    if (!rules->thorough || !rule->number)
        return "";
    return np_sprintf(rules->arena, " %s %" PRIu64, rule->table->is_older ? "rule" : "handle", rule->number);
}

static const char *describe(struct np_nat_rules *rules, const struct np_nat_rule *rule, const char *more)
{
    return np_sprintf(rules->arena, "%s %s%s%s%s%s%s%s", rule->table->name, rule->chain, number_of(rules, rule),
                      family_name(rule->table->family), rule->comment ? ": " : "", rule->comment ? rule->comment : "",
                      *more ? ", " : "", more);
}

/* The rules of a chain follow each other, and most say nothing of their own: they share one text. */
static struct np_nat_row *add_row(struct np_nat_rules *rules, const struct np_nat_rule *rule, const char *more)
{
    const struct np_nat_rule *like = rules->described;
    struct np_nat_row *row = np_push(rules->arena, &rules->rows, &rules->n_rows, &rules->rows_capacity, sizeof *row);
    const bool plain = !rule->comment && !*more;
    *row = (struct np_nat_row){.protocol = rule->protocol, .holder = rule->holder};
    if (plain && like && like->table == rule->table && strcmp(like->chain, rule->chain) == 0 &&
        (like == rule || !rules->thorough)) {
        row->detail = rules->description;
        return row;
    }
    row->detail = describe(rules, rule, more);
    if (plain) {
        rules->described = rule;
        rules->description = row->detail;
    }
    return row;
}

/* Are the rows of one rule's matches those of the other's, but for where the ports go? */
static bool say_alike(const struct np_nat_rules *rules, const struct np_nat_rule *a, const struct np_nat_rule *b)
{
    return a->matches == b->matches && a->n_matches == b->n_matches && a->table == b->table && a->act == b->act &&
           a->from_here == b->from_here && a->protocol == b->protocol && strcmp(a->chain, b->chain) == 0 &&
           (!rules->thorough || np_nat_marks_alike(rules, a, b));
}

/* A hundred rules by one set of twenty thousand ports would be two million rows: one of them speaks for the others. */
static void find_speakers(struct np_nat_rules *rules)
{
    for (size_t i = 0; i < rules->n_rules; i++) {
        struct np_nat_rule *rule = rules->rules[i], *like = rule->like;
        while (like && !say_alike(rules, rule, like))
            like = like->like;
        if (!like)
            continue;
        struct np_nat_rule *speaker = rule->speaker = like->speaker ? like->speaker : like;
        if (rules->thorough && ++speaker->n_others <= OTHERS_TOLD)
            speaker->others =
                np_sprintf(rules->arena, "%s%s%" PRIu64, speaker->others ? speaker->others : "also handle",
                           speaker->others ? ", " : " ", rule->number);
    }
}

static const char *others_of(const struct np_nat_rules *rules, const struct np_nat_rule *rule)
{
    if (rule->n_others <= OTHERS_TOLD)
        return rule->others ? rule->others : "";
    return np_sprintf(rules->arena, "%s and %zu more", rule->others, rule->n_others - OTHERS_TOLD);
}

static void claim(struct np_nat_rules *rules, const struct np_nat_rule *rule, const struct np_nat_match *match,
                  const char *others)
{
    const unsigned protocol = match->protocol & rule->protocol;
    const bool is_wide = match->first <= match->last && are_too_many(match->first, match->last);
    if (!protocol || match->first > match->last || (rule->act != NP_NAT_TAKES && is_wide) ||
        (rule->act == NP_NAT_NOTHING && match->last - match->first >= TOO_MANY_PASSED))
        return;
    const bool is_every = match->first == EVERY_FIRST && match->last == EVERY_LAST;
    const char *const which = is_every  ? "every port"
                              : is_wide ? np_sprintf(rules->arena, "ports %u-%u", match->first, match->last)
                                        : "";
    struct np_nat_row *row = add_row(rules, rule,
                                     *which && *others ? np_sprintf(rules->arena, "%s, %s", which, others)
                                     : *which          ? which
                                                       : others);
    if (!is_wide)
        row->ports = (struct nextport_range){match->first, match->last};
    row->protocol = (enum nextport_protocol)protocol;
    row->conditional = match->vague || rule->act == NP_NAT_NOTHING;
    row->holder = match->holder ? match->holder : rule->holder;
    if (rules->thorough)
        np_nat_mark(rules, rule, match, row);
}

/* Of a rule that passes over some ports, those are what the rules behind it are about. */
static void claim_rule(struct np_nat_rules *rules, const struct np_nat_rule *rule)
{
    const struct np_nat_chain *chain = np_nat_find_chain(rules, rule->table, rule->chain);
    struct np_nat_match match;
    if (!rule->table->takes || !rule->protocol || is_too_late(chain) || (rule->from_here && rule->act != NP_NAT_TAKES))
        return;
    const char *const others = others_of(rules, rule);
    for (size_t i = 0; i < rule->n_matches && !rule->speaker; i++) {
        match = rule->matches[i];
        if (!match.negated || rule->act != NP_NAT_TAKES) {
            match.vague = match.vague || match.negated;
            claim(rules, rule, &match, others);
        }
    }
    match = (struct np_nat_match){
        .first = rule->first, .last = rule->last, .protocol = NEXTPORT_BOTH, .vague = rule->vague};
    if (rule->first > EVERY_FIRST || rule->last < EVERY_LAST)
        claim(rules, rule, &match, "");
    else if (rule->act == NP_NAT_TAKES && !rule->n_matches && (rule->by_port || is_open(chain)))
        add_row(rules, rule, "every port");
    else if (rule->act == NP_NAT_TAKES && !rule->by_port && is_open(chain))
        add_row(rules, rule, "nearly every port");
}

void np_nat_rows(struct np_nat_rules *rules)
{
    if (rules->n_chains)
        qsort(rules->chains, rules->n_chains, sizeof *rules->chains, compare_chains);
    open_chains(rules);
    if (rules->thorough)
        np_nat_reach(rules);
    find_speakers(rules);
    for (size_t i = 0; i < rules->n_rules; i++)
        claim_rule(rules, rules->rules[i]);
}

/* ---- IPVS ----------------------------------------------------------------------------------------------------- */

static struct np_text next_word(struct np_text *line)
{
    while (line->len && (line->ptr[0] == ' ' || line->ptr[0] == '\t'))
        line->ptr++, line->len--;
    struct np_text word = {line->ptr, 0};
    while (word.len < line->len && line->ptr[word.len] != ' ' && line->ptr[word.len] != '\t')
        word.len++;
    line->ptr += word.len;
    line->len -= word.len;
    return word;
}

static bool read_hex(struct np_text digits, size_t n, uint32_t *ret)
{
    *ret = 0;
    if (digits.len != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char c = digits.ptr[i];
        const int value = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                 : -1;
        if (value < 0)
            return false;
        *ret = *ret << 4 | (uint32_t)value;
    }
    return true;
}

/* "C0A80001:0050", "[2001:0db8:0000:0000:0000:0000:0000:0001]:0050" */
static bool read_place(struct np_arena *arena, struct np_text word, const char **ret_address, uint16_t *ret_port)
{
    uint32_t port, address;
    size_t colon = word.len;
    while (colon > 0 && word.ptr[colon - 1] != ':')
        colon--;
    if (colon == 0 || !read_hex((struct np_text){word.ptr + colon, word.len - colon}, 4, &port))
        return false;
    *ret_port = (uint16_t)port;
    word.len = colon - 1;
    if (word.len > 1 && word.ptr[0] == '[' && word.ptr[word.len - 1] == ']') {
        *ret_address = np_text_dup(arena, word);
        return true;
    }
    if (!read_hex(word, 8, &address))
        return false;
    *ret_address =
        np_sprintf(arena, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
    return true;
}

/* A service on no port takes every one; one of a firewall mark takes what the rules have marked. */
static bool read_service(struct np_nat_rules *rules, struct np_text kind, struct np_text rest, bool *ret_is_row)
{
    const char *address = NULL;
    uint16_t port = 0;
    const struct np_text place = next_word(&rest);
    *ret_is_row = !np_text_is(kind, "SCTP");
    if (!np_text_is(kind, "FWM") && !read_place(rules->arena, place, &address, &port))
        return false;
    if (!*ret_is_row)
        return true;
    struct np_nat_row *row = np_push(rules->arena, &rules->rows, &rules->n_rows, &rules->rows_capacity, sizeof *row);
    *row = (struct np_nat_row){.ports = {port, port},
                               .protocol = np_text_is(kind, "TCP")   ? NEXTPORT_TCP
                                           : np_text_is(kind, "UDP") ? NEXTPORT_UDP
                                                                     : NEXTPORT_BOTH,
                               .address = address,
                               .holder = "IPVS",
                               .detail = port      ? "virtual service"
                                         : address ? "virtual service, every port"
                                                   : "virtual service of a firewall mark"};
    return true;
}

bool np_ipvs_parse(struct np_nat_rules *rules, struct np_text text)
{
    struct np_text line;
    bool is_row = false;
    for (size_t n = 0; np_text_split(&text, '\n', &line); n++) {
        const struct np_text kind = next_word(&line);
        const char *address;
        uint16_t port;
        if (!kind.len || n < 2 || (n == 2 && np_text_is(kind, "->"))) /* the head has three lines */
            continue;
        if (!np_text_is(kind, "->")) {
            if (!read_service(rules, kind, line, &is_row))
                return false;
            continue;
        }
        if (!read_place(rules->arena, next_word(&line), &address, &port))
            return false;
        if (is_row) /* the first one of several */
            rules->rows[rules->n_rows - 1].holder = np_sprintf(rules->arena, "IPVS to %s:%u", address, port);
        is_row = false;
    }
    return true;
}
