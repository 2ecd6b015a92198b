/* The matches and targets of ip_tables, as the kernel keeps them: structures of the machine's own layout. nf_tables carries
 * the same ones where iptables writes its rules there.
 * SPDX-License-Identifier: MIT */
#include "host/linux/nat.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_TPROXY.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdlib.h>
#include <string.h>

/* As much of a structure as there is; the rest is 0. */
static void copy(void *ret, size_t size, struct np_text from)
{
    memset(ret, 0, size);
    if (from.len)
        memcpy(ret, from.ptr, from.len < size ? from.len : size);
}

/* ---- Matches -------------------------------------------------------------------------------------------------- */

static void match_ports(struct np_nat_rules *rules, struct np_nat_rule *rule, const uint16_t ports[2], bool negated)
{
    if (ports[0] == 0 && ports[1] == 65535)
        return;
    if (negated)
        np_nat_match(
            rules, rule,
            &(struct np_nat_match){
                .first = ports[0] ? ports[0] : 1, .last = ports[1], .protocol = NEXTPORT_BOTH, .negated = true});
    else
        np_nat_narrow(rules, rule, ports[0] ? ports[0] : 1, ports[1], false);
}

static void match_tcp(struct np_nat_rules *rules, struct np_nat_rule *rule, unsigned revision, struct np_text info)
{
    struct xt_tcp tcp;
    (void)revision;
    copy(&tcp, sizeof tcp, info);
    np_nat_protocol(rule, IPPROTO_TCP);
    match_ports(rules, rule, tcp.dpts, tcp.invflags & XT_TCP_INV_DSTPT);
}

static void match_udp(struct np_nat_rules *rules, struct np_nat_rule *rule, unsigned revision, struct np_text info)
{
    struct xt_udp udp;
    (void)revision;
    copy(&udp, sizeof udp, info);
    np_nat_protocol(rule, IPPROTO_UDP);
    match_ports(rules, rule, udp.dpts, udp.invflags & XT_UDP_INV_DSTPT);
}

/* Revision 0 has no ranges and no negation: the rest of its structure is 0. */
static void match_multiport(struct np_nat_rules *rules, struct np_nat_rule *rule, unsigned revision,
                            struct np_text info)
{
    struct xt_multiport_v1 multiport;
    if (revision == 0 && info.len > sizeof(struct xt_multiport))
        info.len = sizeof(struct xt_multiport);
    copy(&multiport, sizeof multiport, info);
    if (multiport.flags == XT_MULTIPORT_SOURCE)
        return;
    for (size_t i = 0; i < multiport.count && i < XT_MULTI_PORTS; i++) {
        const uint16_t first = multiport.ports[i];
        const bool is_range = multiport.pflags[i] && i + 1 < XT_MULTI_PORTS;
        const uint16_t last = is_range ? multiport.ports[++i] : first;
        if (last && first <= last)
            np_nat_match(rules, rule,
                         &(struct np_nat_match){.first = first ? first : 1,
                                                .last = last,
                                                .protocol = NEXTPORT_BOTH,
                                                .negated = multiport.invert,
                                                .vague = multiport.flags == XT_MULTIPORT_EITHER});
    }
}

static void match_comment(struct np_nat_rules *rules, struct np_nat_rule *rule, unsigned revision, struct np_text info)
{
    (void)revision;
    const char *end = info.len ? memchr(info.ptr, '\0', info.len) : NULL;
    if (end)
        info.len = (size_t)(end - info.ptr);
    if (info.len && info.len < XT_MAX_COMMENT_LEN)
        rule->comment = np_text_dup(rules->arena, info);
}

/* "One of this machine's addresses" is every one of them; for what is said of another kind, nothing is certain. */
static void match_addrtype(struct np_nat_rules *rules, struct np_nat_rule *rule, unsigned revision, struct np_text info)
{
    struct xt_addrtype_info zero;
    struct xt_addrtype_info_v1 one;
    (void)rules;
    copy(&zero, sizeof zero, info);
    copy(&one, sizeof one, info);
    const unsigned dest = revision == 0 ? zero.dest : one.dest, source = revision == 0 ? zero.source : one.source;
    const bool inverted = revision == 0 ? zero.invert_dest : one.flags & XT_ADDRTYPE_INVERT_DEST;
    const bool is_limited = revision > 0 && one.flags & (XT_ADDRTYPE_LIMIT_IFACE_IN | XT_ADDRTYPE_LIMIT_IFACE_OUT);
    rule->is_for_some = rule->is_for_some || source;
    if (dest && (inverted || is_limited || !(dest & XT_ADDRTYPE_LOCAL)))
        rule->to = NP_NAT_UNKNOWN;
}

static void match_some(struct np_nat_rules *rules, struct np_nat_rule *rule, unsigned revision, struct np_text info)
{
    (void)rules, (void)revision, (void)info;
    rule->is_for_some = true;
}

static void match_interface(struct np_nat_rules *rules, struct np_nat_rule *rule, unsigned revision,
                            struct np_text info)
{
    (void)rules, (void)revision, (void)info;
    rule->by_interface = true;
}

void np_xt_match(struct np_nat_rules *rules, struct np_nat_rule *rule, const char *name, unsigned revision,
                 struct np_text info)
{
    static const struct {
        const char *name;
        void (*read)(struct np_nat_rules *, struct np_nat_rule *, unsigned revision, struct np_text);
    } matches[] = {{"tcp", match_tcp},         {"udp", match_udp},           {"multiport", match_multiport},
                   {"comment", match_comment}, {"addrtype", match_addrtype}, {"mark", match_some},
                   {"connmark", match_some},   {"physdev", match_interface}, {"mac", match_some},
                   {"limit", match_some},      {"statistic", match_some},    {"time", match_some}};
    for (size_t i = 0; i < sizeof matches / sizeof *matches; i++)
        if (strcmp(matches[i].name, name) == 0) {
            matches[i].read(rules, rule, revision, info);
            return;
        }
    rule->is_for_some = true;
    rule->to = NP_NAT_UNKNOWN;
}

/* ---- Targets -------------------------------------------------------------------------------------------------- */

static const char *compat_target(struct np_arena *arena, const char *what, struct np_text info)
{
    struct nf_nat_ipv4_multi_range_compat all;
    copy(&all, sizeof all, info);
    const struct nf_nat_ipv4_range *range = &all.range[0];
    return np_nat_target(arena, what, range->flags & NF_NAT_RANGE_MAP_IPS ? (const uint8_t *)&range->min_ip : NULL, 4,
                         range->flags & NF_NAT_RANGE_PROTO_SPECIFIED ? ntohs(range->min.all) : 0);
}

static const char *range_target(struct np_arena *arena, const char *what, int family, struct np_text info)
{
    struct nf_nat_range range;
    copy(&range, sizeof range, info);
    return np_nat_target(arena, what, range.flags & NF_NAT_RANGE_MAP_IPS ? (const uint8_t *)&range.min_addr : NULL,
                         family == NFPROTO_IPV6 ? 16 : 4,
                         range.flags & NF_NAT_RANGE_PROTO_SPECIFIED ? ntohs(range.min_proto.all) : 0);
}

/* The first revision of DNAT and REDIRECT is of IPv4 alone; REDIRECT for IPv6 counts its revisions anew. */
static const char *nat_target(struct np_arena *arena, const char *what, int family, unsigned revision,
                              struct np_text info)
{
    return revision == 0 && family != NFPROTO_IPV6 ? compat_target(arena, what, info)
                                                   : range_target(arena, what, family, info);
}

static const char *tproxy_target(struct np_arena *arena, const char *what, int family, unsigned revision,
                                 struct np_text info)
{
    struct xt_tproxy_target_info_v1 one;
    (void)family;
    if (revision == 0) {
        struct xt_tproxy_target_info zero;
        copy(&zero, sizeof zero, info);
        return np_nat_target(arena, what, NULL, 4, ntohs(zero.lport));
    }
    copy(&one, sizeof one, info);
    return np_nat_target(arena, what, NULL, 4, ntohs(one.lport));
}

static const char *plain_target(struct np_arena *arena, const char *what, int family, unsigned revision,
                                struct np_text info)
{
    (void)arena, (void)family, (void)revision, (void)info;
    return what;
}

/* Targets that are not listed may mark a packet for another rule. */
void np_xt_target(struct np_nat_rules *rules, struct np_nat_rule *rule, const char *name, unsigned revision,
                  struct np_text info)
{
    static const struct {
        const char *name;
        const char *(*holder)(struct np_arena *, const char *, int family, unsigned revision, struct np_text);
    } taking[] = {{"DNAT", nat_target}, {"REDIRECT", nat_target}, {"TPROXY", tproxy_target}, {"NETMAP", plain_target}};
    static const char *const source[] = {"SNAT", "MASQUERADE", "DNPT", "SNPT"};
    static const char *const ending[] = {"ACCEPT", "DROP", "RETURN", "REJECT"};
    static const char *const passing[] = {"ACCEPT", "DROP", "RETURN",  "REJECT", "LOG",
                                          "NFLOG",  "CT",   "NOTRACK", "TRACE"};
    for (size_t i = 0; i < sizeof taking / sizeof *taking; i++)
        if (strcmp(taking[i].name, name) == 0) {
            np_nat_takes(rule, taking[i].holder(rules->arena, taking[i].name, rule->table->family, revision, info));
            return;
        }
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        if (strcmp(ending[i], name) == 0)
            rule->passes = true;
    for (size_t i = 0; i < sizeof source / sizeof *source; i++)
        if (strcmp(source[i], name) == 0)
            rule->from_here = true;
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        if (strcmp(passing[i], name) == 0)
            return;
    if (!rule->from_here && rule->act == NP_NAT_NOTHING)
        rule->act = NP_NAT_LEADS;
}

/* ---- A table of ip_tables ------------------------------------------------------------------------------------- */

/* What both families' entries have in common. */
struct entry {
    size_t header, target, next; /* sizes and offsets within it */
    unsigned protocol;           /* 0: any */
    bool by_interface;           /* where packets come in */
    bool is_for_some;            /* where they come from */
    const uint8_t *to, *to_mask; /* of the address that they go to; within the entry */
    bool to_negated;
};

struct part {
    char name[XT_EXTENSION_MAXNAMELEN + 1];
    unsigned revision;
    size_t size;
    struct np_text info;
};

static bool is_zero(const void *bytes, size_t n)
{
    const uint8_t *byte = bytes;
    while (n && !byte[n - 1])
        n--;
    return n == 0;
}

static bool read_entry(int family, struct np_text bytes, struct entry *ret)
{
    const uint8_t *here = (const uint8_t *)bytes.ptr;
    if (family == NFPROTO_IPV6) {
        struct ip6t_entry entry;
        if (bytes.len < sizeof entry)
            return false;
        memcpy(&entry, bytes.ptr, sizeof entry);
        const bool known = entry.ipv6.flags & IP6T_F_PROTO && !(entry.ipv6.invflags & IP6T_INV_PROTO);
        *ret = (struct entry){.header = sizeof entry,
                              .target = entry.target_offset,
                              .next = entry.next_offset,
                              .protocol = known ? entry.ipv6.proto : 0,
                              .by_interface = *entry.ipv6.iniface,
                              .is_for_some = *entry.ipv6.outiface || !is_zero(&entry.ipv6.smsk, sizeof entry.ipv6.smsk),
                              .to = here + offsetof(struct ip6t_entry, ipv6.dst),
                              .to_mask = here + offsetof(struct ip6t_entry, ipv6.dmsk),
                              .to_negated = entry.ipv6.invflags & IP6T_INV_DSTIP};
    } else {
        struct ipt_entry entry;
        if (bytes.len < sizeof entry)
            return false;
        memcpy(&entry, bytes.ptr, sizeof entry);
        const bool known = !(entry.ip.invflags & IPT_INV_PROTO);
        *ret = (struct entry){.header = sizeof entry,
                              .target = entry.target_offset,
                              .next = entry.next_offset,
                              .protocol = known ? entry.ip.proto : 0,
                              .by_interface = *entry.ip.iniface,
                              .is_for_some = *entry.ip.outiface || entry.ip.smsk.s_addr,
                              .to = here + offsetof(struct ipt_entry, ip.dst),
                              .to_mask = here + offsetof(struct ipt_entry, ip.dmsk),
                              .to_negated = entry.ip.invflags & IPT_INV_DSTIP};
    }
    return ret->header <= ret->target && ret->target + sizeof(struct xt_entry_target) <= ret->next &&
           ret->next <= bytes.len;
}

/* A match or a target: they begin alike. */
static bool read_part(struct np_text bytes, struct part *ret)
{
    struct xt_entry_match match;
    if (bytes.len < sizeof match)
        return false;
    memcpy(&match, bytes.ptr, sizeof match);
    ret->size = match.u.user.match_size;
    ret->revision = match.u.user.revision;
    memcpy(ret->name, match.u.user.name, sizeof match.u.user.name);
    ret->name[sizeof match.u.user.name] = '\0';
    if (ret->size < sizeof match || ret->size > bytes.len)
        return false;
    ret->info = (struct np_text){bytes.ptr + sizeof match, ret->size - sizeof match};
    return true;
}

/* Where a chain's first rule stands. */
struct start {
    size_t offset;
    const char *name;
    int hook; /* -1: none of its own */
};

struct starts {
    struct start *items;
    size_t n, capacity;
};

static int compare_starts(const void *a, const void *b)
{
    const struct start *one = a, *two = b;
    return (one->offset > two->offset) - (one->offset < two->offset);
}

/* They are in order: kube-proxy makes tens of thousands of chains, and as many jumps to them. */
static const struct start *start_at(const struct starts *starts, size_t offset)
{
    const struct start key = {.offset = offset};
    return starts->n ? bsearch(&key, starts->items, starts->n, sizeof key, compare_starts) : NULL;
}

/* A chain of the user's own has an entry before its first rule, which is an error with the name for a text. */
static bool find_starts(struct np_arena *arena, int family, struct np_text entries, const uint32_t *hooks,
                        struct starts *ret)
{
    static const char *const built_in[NF_INET_NUMHOOKS] = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"};
    struct entry entry;
    struct part target;
    for (int i = 0; i < NF_INET_NUMHOOKS; i++) {
        if (hooks[i] == UINT32_MAX)
            continue;
        struct start *start = np_push(arena, &ret->items, &ret->n, &ret->capacity, sizeof *start);
        *start = (struct start){hooks[i], built_in[i], i};
    }
    for (size_t at = 0; at < entries.len; at += entry.next) {
        const struct np_text rest = {entries.ptr + at, entries.len - at};
        if (!read_entry(family, rest, &entry) ||
            !read_part((struct np_text){rest.ptr + entry.target, entry.next - entry.target}, &target))
            return false;
        if (strcmp(target.name, XT_ERROR_TARGET) != 0 || at + entry.next == entries.len) /* the last one is the end */
            continue;
        struct start *start = np_push(arena, &ret->items, &ret->n, &ret->capacity, sizeof *start);
        *start = (struct start){at + entry.next, np_strndup(arena, target.info.ptr, target.info.len), -1};
    }
    if (ret->n)
        qsort(ret->items, ret->n, sizeof *ret->items, compare_starts);
    return true;
}

static bool read_matches(struct np_nat_rules *rules, struct np_nat_rule *rule, struct np_text bytes)
{
    struct part match;
    for (; bytes.len; bytes.ptr += match.size, bytes.len -= match.size) {
        if (!read_part(bytes, &match))
            return false;
        np_xt_match(rules, rule, match.name, match.revision, match.info);
    }
    return true;
}

static void read_target(struct np_nat_rules *rules, struct np_nat_rule *rule, const struct part *target,
                        const struct starts *starts)
{
    int verdict = -1;
    if (*target->name) {
        np_xt_target(rules, rule, target->name, target->revision, target->info);
        return;
    }
    copy(&verdict, sizeof verdict, target->info);
    const struct start *to = verdict >= 0 ? start_at(starts, (size_t)verdict) : NULL;
    rule->passes = verdict < 0;
    if (!to)
        return;
    rule->jump = to->name;
    rule->act = NP_NAT_LEADS;
    rule->holder = np_sprintf(rules->arena, "chain %s", to->name);
}

bool np_xt_table(struct np_nat_rules *rules, int family, const char *name, struct np_text entries,
                 const uint32_t *hooks)
{
    struct np_nat_table *table = np_nat_table(rules, family, name, true);
    const size_t address_size = family == NFPROTO_IPV6 ? 16 : 4;
    uint64_t n = 0;
    const char *chain = "?";
    struct starts starts = {NULL, 0, 0};
    struct entry entry;
    struct part target;
    if (!find_starts(rules->arena, family, entries, hooks, &starts))
        return false;
    for (size_t i = 0; i < starts.n; i++)
        np_nat_chain(rules, table, starts.items[i].name, starts.items[i].hook);
    for (size_t at = 0; at < entries.len; at += entry.next) {
        const struct np_text rest = {entries.ptr + at, entries.len - at};
        const struct start *begins = start_at(&starts, at);
        chain = begins ? begins->name : chain;
        n = begins ? 0 : n;
        if (!read_entry(family, rest, &entry) ||
            !read_part((struct np_text){rest.ptr + entry.target, entry.next - entry.target}, &target))
            return false;
        if (strcmp(target.name, XT_ERROR_TARGET) == 0)
            continue; /* the head of a chain, or the end */
        struct np_nat_rule *rule = np_nat_rule(rules, table, chain);
        rule->number = ++n;
        rule->by_interface = entry.by_interface;
        rule->is_for_some = entry.is_for_some;
        np_nat_address(rules, rule, entry.to, entry.to_mask, address_size, entry.to_negated);
        if (entry.protocol)
            np_nat_protocol(rule, entry.protocol);
        if (!read_matches(rules, rule, (struct np_text){rest.ptr + entry.header, entry.target - entry.header}))
            return false;
        read_target(rules, rule, &target, &starts);
    }
    return true;
}
