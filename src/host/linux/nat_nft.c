/* nf_tables' rules, as netlink tells them: each is a program for a machine of 64 bytes of registers. It is followed only as
 * far as ports go: which bytes of the registers hold the destination port, the protocol, or a number that was loaded, and
 * what they are compared with. Numbers of attributes are in network order, numbers of the message's head are not.
 * SPDX-License-Identifier: MIT */
#include "host/linux/nat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

enum {
    REGISTERS = 64,   /* bytes */
    SLOT = 4,         /* a register's; a field of a set's key takes as many of them as it needs */
    DATA_MAX = 20,    /* what a map can give us: an address of 16 bytes and a port */
    COMMENT_TYPE = 0, /* of nft's notes in a rule's user data */
    ELEM_CATCHALL = 2,
};

/* What a byte of the registers holds. */
enum tag { OTHER, PORT_HIGH, PORT_LOW, PROTOCOL, NUMBER, TO, TO_KIND, INTERFACE };

struct byte {
    enum tag tag;
    uint8_t number; /* of NUMBER; of TO, the address that packets go to: which byte of it */
    bool masked;    /* (what it held & mask) ^ xor */
    uint8_t mask, xor;
};

struct machine {
    struct np_nft *nft;
    struct np_nat_rule *rule;
    struct byte registers[REGISTERS];
    const char *map; /* whose data was loaded last */
    size_t to_size;  /* of the address in TO */
};

struct element {
    struct np_text key, key_end, data; /* ptr NULL: not there */
    const char *chain;                 /* of its verdict */
    uint32_t flags;
};

struct set {
    const struct np_nat_table *table;
    const char *name;
    uint32_t flags, key_len;
    struct element *elements;
    size_t n, capacity;
    const struct use *named; /* the last one by which its ports were named, as the first matches of a rule */
    size_t n_named;
};

/* What is compared of a port: (port & mask) ^ flip. */
struct view {
    uint16_t mask, flip;
};

/* A rule that looks something up. */
struct use {
    struct np_nat_rule *rule;
    const char *set;
    unsigned port, protocol, to; /* where they stand in the key; REGISTERS: not in it */
    struct view view;
    bool negated, verdict;
};

struct np_nft {
    struct np_nat_rules *rules;
    struct set *sets;
    size_t n_sets, sets_capacity;
    bool sorted;
    struct use *uses;
    size_t n_uses, uses_capacity;
    struct use **wanted; /* one for each set whose elements are needed */
    size_t n_wanted, wanted_capacity;
    bool asked;
    bool has_generation;
    uint16_t generation;
};

/* ---- Attributes ----------------------------------------------------------------------------------------------- */

struct attribute {
    unsigned type;
    struct np_text value;
};

static bool next_attribute(struct np_text *rest, struct attribute *ret)
{
    struct nlattr head;
    if (rest->len < sizeof head)
        return false;
    memcpy(&head, rest->ptr, sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > rest->len)
        return false;
    ret->type = head.nla_type & NLA_TYPE_MASK;
    ret->value = (struct np_text){rest->ptr + sizeof head, head.nla_len - sizeof head};
    const size_t step = NLA_ALIGN(head.nla_len);
    rest->ptr += step < rest->len ? step : rest->len;
    rest->len -= step < rest->len ? step : rest->len;
    return true;
}

static struct np_text find(struct np_text attributes, unsigned type)
{
    struct attribute a;
    while (next_attribute(&attributes, &a))
        if (a.type == type)
            return a.value;
    return (struct np_text){NULL, 0};
}

static bool has(struct np_text attributes, unsigned type)
{
    return find(attributes, type).ptr;
}

static uint32_t number(struct np_text attributes, unsigned type)
{
    const struct np_text value = find(attributes, type);
    uint32_t n = 0;
    if (value.len >= sizeof n)
        memcpy(&n, value.ptr, sizeof n);
    return ntohl(n);
}

/* "" when it is not there. */
static const char *string(struct np_arena *arena, struct np_text attributes, unsigned type)
{
    const struct np_text value = find(attributes, type);
    const char *end = value.len ? memchr(value.ptr, '\0', value.len) : NULL;
    return value.ptr ? np_strndup(arena, value.ptr, end ? (size_t)(end - value.ptr) : value.len) : "";
}

/* A number compared with or loaded: NFTA_DATA_VALUE within `type`. */
static struct np_text data_of(struct np_text attributes, unsigned type)
{
    return find(find(attributes, type), NFTA_DATA_VALUE);
}

/* ---- Registers ------------------------------------------------------------------------------------------------ */

/* The first byte of a register; REGISTERS when there is no such register. */
static unsigned place(struct np_text attributes, unsigned type)
{
    const uint32_t reg = number(attributes, type);
    if (reg >= NFT_REG32_00 && reg <= NFT_REG32_15)
        return (reg - NFT_REG32_00) * SLOT;
    return reg >= NFT_REG_1 && reg <= NFT_REG_4 ? (reg - NFT_REG_1) * NFT_REG_SIZE : REGISTERS;
}

static void forget(struct machine *m, unsigned at, size_t n)
{
    for (size_t i = at; i < at + (n + SLOT - 1) / SLOT * SLOT && i < REGISTERS; i++)
        m->registers[i] = (struct byte){.tag = OTHER};
}

static void put(struct machine *m, size_t at, enum tag tag)
{
    if (at < REGISTERS)
        m->registers[at] = (struct byte){.tag = tag};
}

/* A byte of the network header: of the address that the packet goes to? `end`: of what is loaded together, which tells IPv6
 * where the table has both. */
static void load_address_byte(struct machine *m, size_t at, uint32_t from, uint32_t end)
{
    enum { TO_4 = 16, TO_6 = 24 };
    const int family = m->rule->table->family;
    const bool is_6 = family == NFPROTO_IPV6 || (family != NFPROTO_IPV4 && end > TO_4 + 4);
    const uint32_t first = is_6 ? TO_6 : TO_4, size = is_6 ? 16 : 4;
    if (at >= REGISTERS || from < first || from >= first + size)
        return;
    m->to_size = size;
    m->registers[at] = (struct byte){.tag = TO, .number = (uint8_t)(from - first)};
}

static void load_payload(struct machine *m, struct np_text e)
{
    enum { PORT = 2, PROTOCOL_4 = 9, PROTOCOL_6 = 6 };
    const unsigned at = place(e, NFTA_PAYLOAD_DREG);
    const uint32_t base = number(e, NFTA_PAYLOAD_BASE), offset = number(e, NFTA_PAYLOAD_OFFSET),
                   len = number(e, NFTA_PAYLOAD_LEN);
    if (has(e, NFTA_PAYLOAD_SREG)) {
        m->rule->act = m->rule->act == NP_NAT_NOTHING ? NP_NAT_LEADS : m->rule->act; /* it rewrites the packet */
        return;
    }
    forget(m, at, len);
    for (uint32_t i = 0; i < len && i < REGISTERS; i++) {
        const uint32_t from = offset + i;
        if (base == NFT_PAYLOAD_TRANSPORT_HEADER && (from == PORT || from == PORT + 1))
            put(m, at + i, from == PORT ? PORT_HIGH : PORT_LOW);
        else if (base == NFT_PAYLOAD_NETWORK_HEADER && len == 1 &&
                 from == (m->rule->table->family == NFPROTO_IPV6 ? PROTOCOL_6 : PROTOCOL_4))
            put(m, at, PROTOCOL);
        else if (base == NFT_PAYLOAD_NETWORK_HEADER)
            load_address_byte(m, at + i, from, offset + len);
    }
}

static void leads(struct np_nat_rule *rule)
{
    if (rule->act == NP_NAT_NOTHING)
        rule->act = NP_NAT_LEADS;
}

static void load_meta(struct machine *m, struct np_text e)
{
    const unsigned at = place(e, NFTA_META_DREG);
    if (has(e, NFTA_META_SREG)) {
        leads(m->rule); /* it may set a mark that another rule looks for */
        return;
    }
    forget(m, at, NFT_REG_SIZE);
    const uint32_t key = number(e, NFTA_META_KEY);
    if (key == NFT_META_L4PROTO)
        put(m, at, PROTOCOL);
    const bool is_interface =
        key == NFT_META_IIF || key == NFT_META_IIFNAME || key == NFT_META_IIFTYPE || key == NFT_META_IIFGROUP;
    for (unsigned i = 0; i < NFT_REG_SIZE && is_interface; i++)
        put(m, at + i, INTERFACE);
}

/* The port that a connection was made to at first is as good as the packet's. */
static void load_ct(struct machine *m, struct np_text e)
{
    const unsigned at = place(e, NFTA_CT_DREG);
    if (has(e, NFTA_CT_SREG)) {
        leads(m->rule);
        return;
    }
    forget(m, at, NFT_REG_SIZE);
    if (number(e, NFTA_CT_KEY) == NFT_CT_PROTOCOL)
        put(m, at, PROTOCOL);
    if (number(e, NFTA_CT_KEY) != NFT_CT_PROTO_DST)
        return;
    put(m, at, PORT_HIGH);
    put(m, at + 1, PORT_LOW);
}

/* "fib daddr type": whether the packet goes to an address of this machine's, among others. */
static void load_fib(struct machine *m, struct np_text e)
{
    const unsigned at = place(e, NFTA_FIB_DREG);
    forget(m, at, SLOT);
    for (unsigned i = 0; i < SLOT && number(e, NFTA_FIB_RESULT) == NFT_FIB_RESULT_ADDRTYPE &&
                         number(e, NFTA_FIB_FLAGS) & NFTA_FIB_F_DADDR;
         i++)
        put(m, at + i, TO_KIND);
}

static void jump(struct machine *m, const char *chain)
{
    m->rule->jump = chain;
    leads(m->rule);
    if (!m->rule->holder)
        m->rule->holder = np_sprintf(m->nft->rules->arena, "chain %s", chain);
}

static void load_immediate(struct machine *m, struct np_text e)
{
    const unsigned at = place(e, NFTA_IMMEDIATE_DREG);
    const struct np_text value = data_of(e, NFTA_IMMEDIATE_DATA),
                         verdict = find(find(e, NFTA_IMMEDIATE_DATA), NFTA_DATA_VERDICT);
    if (verdict.ptr && has(verdict, NFTA_VERDICT_CHAIN))
        jump(m, string(m->nft->rules->arena, verdict, NFTA_VERDICT_CHAIN));
    else if (verdict.ptr && (int)number(verdict, NFTA_VERDICT_CODE) != NFT_CONTINUE)
        m->rule->passes = true;
    forget(m, at, value.len);
    for (size_t i = 0; i < value.len && at + i < REGISTERS; i++)
        m->registers[at + i] = (struct byte){.tag = NUMBER, .number = (uint8_t)value.ptr[i]};
}

/* (value & mask) ^ xor, byte by byte. A shift moves a port to where it is none any more. */
static void compute_bitwise(struct machine *m, struct np_text e)
{
    const unsigned from = place(e, NFTA_BITWISE_SREG), to = place(e, NFTA_BITWISE_DREG);
    const uint32_t len = number(e, NFTA_BITWISE_LEN);
    const struct np_text mask = data_of(e, NFTA_BITWISE_MASK), xor = data_of(e, NFTA_BITWISE_XOR);
    struct byte bytes[REGISTERS] = {{.tag = OTHER}};
    const bool is_mask = number(e, NFTA_BITWISE_OP) == NFT_BITWISE_MASK_XOR && mask.ptr && xor.ptr;
    for (uint32_t i = 0; is_mask && i < len && from + i < REGISTERS && i < mask.len && i < xor.len; i++) {
        struct byte *byte = &bytes[i];
        *byte = m->registers[from + i];
        byte->mask = (uint8_t)((byte->masked ? byte->mask : 0xff) & (uint8_t)mask.ptr[i]);
        byte->xor = (uint8_t)((byte->masked ? byte->xor : 0) & (uint8_t)mask.ptr[i]) ^ (uint8_t) xor.ptr[i];
        byte->masked = byte->mask != 0xff || byte->xor != 0;
        if (byte->tag == NUMBER || (byte->tag == PROTOCOL && byte->masked))
            byte->tag = OTHER;
    }
    forget(m, to, len);
    for (uint32_t i = 0; i < len && i < REGISTERS && to + i < REGISTERS; i++)
        m->registers[to + i] = bytes[i];
}

/* What is in network order is not turned round, but for single bytes, which stay what they are. */
static void compute_byteorder(struct machine *m, struct np_text e)
{
    const unsigned from = place(e, NFTA_BYTEORDER_SREG), to = place(e, NFTA_BYTEORDER_DREG);
    const uint32_t len = number(e, NFTA_BYTEORDER_LEN);
    const struct byte single = from < REGISTERS && len == 1 ? m->registers[from] : (struct byte){.tag = OTHER};
    forget(m, to, len);
    if (to < REGISTERS)
        m->registers[to] = single;
}

/* ---- Comparisons ---------------------------------------------------------------------------------------------- */

/* A port's two bytes among the first `n` of a register. */
static bool find_port(const struct machine *m, unsigned at, size_t n, unsigned *ret)
{
    for (size_t i = 0; i < n && at + i < REGISTERS; i++)
        if (m->registers[at + i].tag == PORT_HIGH) {
            *ret = (unsigned)i;
            return true;
        }
    return false;
}

static uint16_t port_in(struct np_text data, size_t at)
{
    const unsigned high = at < data.len ? (unsigned char)data.ptr[at] : 0,
                   low = at + 1 < data.len ? (unsigned char)data.ptr[at + 1] : 0;
    return (uint16_t)(high << 8 | low);
}

static struct view view_of(const struct machine *m, unsigned at)
{
    const struct byte unloaded = {.masked = true}, *high = &m->registers[at];
    const struct byte *low = at + 1 < REGISTERS && high[1].tag == PORT_LOW ? high + 1 : &unloaded;
    const unsigned high_mask = high->masked ? high->mask : 0xff, low_mask = low->masked ? low->mask : 0xff,
                   high_flip = high->masked ? high->xor : 0, low_flip = low->masked ? low->xor : 0;
    return (struct view){(uint16_t)(high_mask << 8 | low_mask), (uint16_t)(high_flip << 8 | low_flip)};
}

static bool is_whole(struct view view)
{
    return view.mask == 0xffff && !view.flip;
}

/* The bits that are not the same in all numbers of an interval. */
static uint32_t loose_bits(uint32_t first, uint32_t last)
{
    uint32_t bits = first ^ last;
    for (unsigned i = 1; i < 16; i *= 2)
        bits |= bits >> i;
    return bits;
}

/* Is there a port that looks like one of these numbers? */
static bool is_possible(struct view view, uint32_t first, uint32_t last)
{
    return !((first ^ view.flip) & (uint16_t)~view.mask & ~loose_bits(first, last));
}

/* From an interval of what is compared to the least range that is known to hold all ports that look so. *vague: perhaps
 * others as well. */
static void widen(struct view view, uint32_t *first, uint32_t *last, bool *vague)
{
    const uint32_t from = *first, to = *last, loose = loose_bits(from, to), hidden = (uint16_t)~view.mask;
    const bool has_gaps = hidden & (hidden + 1);
    *vague = *vague || (!is_whole(view) && (from != to || has_gaps));
    *first = (from ^ view.flip) & view.mask & ~loose;
    *last = *first | hidden | loose;
    if (!view.flip && *first < from)
        *first = from;
    if (!view.flip && *last > to + hidden)
        *last = to + hidden;
}

static void narrow(struct machine *m, struct view view, uint32_t first, uint32_t last)
{
    bool vague = false;
    if (first > last)
        return;
    widen(view, &first, &last, &vague);
    if (last > 0)
        np_nat_narrow(m->nft->rules, m->rule, (uint16_t)(first ? first : 1), (uint16_t)last, vague);
}

static void exclude(struct machine *m, struct view view, uint16_t first, uint16_t last)
{
    if (!is_whole(view))
        m->rule->vague = true;
    else if (last && first <= last)
        np_nat_match(m->nft->rules, m->rule,
                     &(struct np_nat_match){
                         .first = first ? first : 1, .last = last, .protocol = NEXTPORT_BOTH, .negated = true});
}

static void compare_port(struct machine *m, unsigned at, enum nft_cmp_ops op, uint16_t port)
{
    const struct view view = view_of(m, at);
    switch (op) {
    case NFT_CMP_EQ:
        narrow(m, view, port, port);
        break;
    case NFT_CMP_NEQ:
        exclude(m, view, port, port);
        break;
    case NFT_CMP_LT:
        if (port)
            narrow(m, view, 0, port - 1u);
        break;
    case NFT_CMP_LTE:
        narrow(m, view, 0, port);
        break;
    case NFT_CMP_GT:
        narrow(m, view, port + 1u, 65535);
        break;
    case NFT_CMP_GTE:
        narrow(m, view, port, 65535);
        break;
    }
}

/* A bit pattern that the address is compared with, or a part of it. */
static void compare_address(struct machine *m, unsigned at, enum nft_cmp_ops op, struct np_text data)
{
    uint8_t address[16] = {0}, mask[16] = {0};
    for (size_t i = 0; i < data.len && at + i < REGISTERS; i++) {
        const struct byte *byte = &m->registers[at + i];
        if (byte->tag != TO || byte->number >= sizeof address)
            continue;
        address[byte->number] = (uint8_t)data.ptr[i];
        mask[byte->number] = byte->masked ? byte->mask : 0xff;
        if (byte->masked && byte->xor)
            op = NFT_CMP_GT; /* nobody writes that */
    }
    if (op == NFT_CMP_EQ || op == NFT_CMP_NEQ)
        np_nat_address(m->nft->rules, m->rule, address, mask, m->to_size, op == NFT_CMP_NEQ);
    else
        m->rule->to = NP_NAT_UNKNOWN;
}

static void compare_kind(struct machine *m, enum nft_cmp_ops op, struct np_text data)
{
    enum { LOCAL = 2 }; /* RTN_LOCAL */
    uint32_t kind = 0;
    memcpy(&kind, data.ptr, data.len < sizeof kind ? data.len : sizeof kind);
    if (op != NFT_CMP_EQ || kind != LOCAL)
        m->rule->to = NP_NAT_UNKNOWN;
}

static bool holds(const struct machine *m, unsigned at, size_t n, enum tag tag)
{
    for (size_t i = 0; i < n && at + i < REGISTERS; i++)
        if (m->registers[at + i].tag == tag)
            return true;
    return false;
}

/* What of a comparison is about who meets the rule at all. */
static void compare_place(struct machine *m, unsigned at, enum nft_cmp_ops op, struct np_text data)
{
    if (holds(m, at, data.len, TO))
        compare_address(m, at, op, data);
    if (holds(m, at, data.len, TO_KIND))
        compare_kind(m, op, data);
    if (holds(m, at, data.len, INTERFACE))
        m->rule->by_interface = true;
    if (holds(m, at, data.len, OTHER) || holds(m, at, data.len, NUMBER))
        m->rule->is_for_some = true;
}

static void compare(struct machine *m, struct np_text e)
{
    const unsigned at = place(e, NFTA_CMP_SREG);
    const enum nft_cmp_ops op = (enum nft_cmp_ops)number(e, NFTA_CMP_OP);
    const struct np_text data = data_of(e, NFTA_CMP_DATA);
    unsigned port;
    compare_place(m, at, op, data);
    if (at < REGISTERS && data.len && m->registers[at].tag == PROTOCOL && op == NFT_CMP_EQ)
        np_nat_protocol(m->rule, (unsigned char)data.ptr[0]);
    if (find_port(m, at, data.len, &port))
        compare_port(m, at + port, op, port_in(data, port));
}

static void compare_range(struct machine *m, struct np_text e)
{
    const unsigned at = place(e, NFTA_RANGE_SREG);
    const struct np_text from = data_of(e, NFTA_RANGE_FROM_DATA), to = data_of(e, NFTA_RANGE_TO_DATA);
    unsigned port;
    compare_place(m, at, NFT_CMP_GT, from);
    if (!find_port(m, at, from.len < to.len ? from.len : to.len, &port))
        return;
    if (number(e, NFTA_RANGE_OP) == NFT_RANGE_NEQ)
        exclude(m, view_of(m, at + port), port_in(from, port), port_in(to, port));
    else
        narrow(m, view_of(m, at + port), port_in(from, port), port_in(to, port));
}

static unsigned key_place(const struct machine *m, unsigned at, enum tag tag)
{
    for (unsigned i = 0; at + i < REGISTERS; i++)
        if (m->registers[at + i].tag == tag)
            return i;
    return REGISTERS;
}

static void look_up(struct machine *m, struct np_text e)
{
    const unsigned at = place(e, NFTA_LOOKUP_SREG), to = place(e, NFTA_LOOKUP_DREG);
    struct np_arena *arena = m->nft->rules->arena;
    struct use *use = np_push(arena, &m->nft->uses, &m->nft->n_uses, &m->nft->uses_capacity, sizeof *use);
    *use = (struct use){.rule = m->rule,
                        .set = string(arena, e, NFTA_LOOKUP_SET),
                        .port = key_place(m, at, PORT_HIGH),
                        .protocol = key_place(m, at, PROTOCOL),
                        .to = key_place(m, at, TO),
                        .negated = number(e, NFTA_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV,
                        .verdict = has(e, NFTA_LOOKUP_DREG) && number(e, NFTA_LOOKUP_DREG) == NFT_REG_VERDICT};
    if (at < REGISTERS && m->registers[at].tag == INTERFACE)
        m->rule->by_interface = true;
    else if (use->port == REGISTERS && use->protocol == REGISTERS && use->to == REGISTERS)
        m->rule->is_for_some = true;
    if (key_place(m, at, TO_KIND) < REGISTERS)
        m->rule->to = NP_NAT_UNKNOWN;
    if (use->port < REGISTERS)
        use->view = view_of(m, at + use->port);
    if (!has(e, NFTA_LOOKUP_DREG))
        return;
    leads(m->rule);
    forget(m, to, DATA_MAX);
    m->map = use->set;
}

/* ---- What a rule does in the end ------------------------------------------------------------------------------ */

/* The numbers loaded into a register. */
static bool numbers(const struct machine *m, unsigned at, size_t n, uint8_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (at + i >= REGISTERS || m->registers[at + i].tag != NUMBER)
            return false;
        ret[i] = m->registers[at + i].number;
    }
    return true;
}

static void take(struct machine *m, const char *what, int family, unsigned address_at, unsigned port_at)
{
    struct np_arena *arena = m->nft->rules->arena;
    uint8_t address[16], port[2] = {0, 0};
    const size_t size = family == NFPROTO_IPV6 ? 16 : 4;
    const bool has_address = numbers(m, address_at, size, address), has_port = numbers(m, port_at, sizeof port, port);
    if (!has_address && !has_port && m->map)
        np_nat_takes(m->rule,
                     np_sprintf(arena, strncmp(m->map, "__", 2) == 0 ? "%s by a map" : "%s by map %s", what, m->map));
    else
        np_nat_takes(m->rule, np_nat_target(arena, what, has_address ? address : NULL, size,
                                            (uint16_t)(port[0] << 8 | port[1])));
}

static void do_nat(struct machine *m, struct np_text e)
{
    if (number(e, NFTA_NAT_TYPE) == NFT_NAT_SNAT)
        m->rule->from_here = true;
    else
        take(m, "DNAT", (int)number(e, NFTA_NAT_FAMILY), place(e, NFTA_NAT_REG_ADDR_MIN),
             place(e, NFTA_NAT_REG_PROTO_MIN));
    if (number(e, NFTA_NAT_FAMILY) == NFPROTO_IPV4 || number(e, NFTA_NAT_FAMILY) == NFPROTO_IPV6)
        m->rule->family = (int)number(e, NFTA_NAT_FAMILY);
}

static void do_redirect(struct machine *m, struct np_text e)
{
    take(m, "REDIRECT", NFPROTO_IPV4, REGISTERS, place(e, NFTA_REDIR_REG_PROTO_MIN));
}

static void do_tproxy(struct machine *m, struct np_text e)
{
    take(m, "TPROXY", (int)number(e, NFTA_TPROXY_FAMILY), place(e, NFTA_TPROXY_REG_ADDR),
         place(e, NFTA_TPROXY_REG_PORT));
}

static void do_masquerade(struct machine *m, struct np_text e)
{
    (void)e;
    m->rule->from_here = true;
}

static void do_lead(struct machine *m, struct np_text e)
{
    (void)e;
    leads(m->rule);
}

static void do_match(struct machine *m, struct np_text e)
{
    np_xt_match(m->nft->rules, m->rule, string(m->nft->rules->arena, e, NFTA_MATCH_NAME), number(e, NFTA_MATCH_REV),
                find(e, NFTA_MATCH_INFO));
}

static void do_target(struct machine *m, struct np_text e)
{
    np_xt_target(m->nft->rules, m->rule, string(m->nft->rules->arena, e, NFTA_TARGET_NAME), number(e, NFTA_TARGET_REV),
                 find(e, NFTA_TARGET_INFO));
}

static void do_pass(struct machine *m, struct np_text e)
{
    (void)e;
    m->rule->passes = true;
}

static void do_nothing(struct machine *m, struct np_text e)
{
    (void)m, (void)e;
}

static const struct {
    const char *name;
    void (*run)(struct machine *, struct np_text attributes);
} expressions[] = {
    {"cmp", compare},
    {"payload", load_payload},
    {"immediate", load_immediate},
    {"meta", load_meta},
    {"ct", load_ct},
    {"bitwise", compute_bitwise},
    {"byteorder", compute_byteorder},
    {"fib", load_fib},
    {"range", compare_range},
    {"lookup", look_up},
    {"nat", do_nat},
    {"redir", do_redirect},
    {"tproxy", do_tproxy},
    {"masq", do_masquerade},
    {"dynset", do_lead},
    {"match", do_match},
    {"target", do_target},
    {"counter", do_nothing},
    {"limit", do_nothing},
    {"log", do_nothing},
    {"quota", do_nothing},
    {"connlimit", do_nothing},
    {"last", do_nothing},
    {"reject", do_pass},
    {"notrack", do_nothing},
    {"queue", do_nothing},
    {"objref", do_nothing},
};

/* An expression that is not known may have changed any register. */
static void run(struct machine *m, struct np_text name, struct np_text attributes)
{
    while (name.len && !name.ptr[name.len - 1])
        name.len--;
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++)
        if (np_text_is(name, expressions[i].name)) {
            expressions[i].run(m, attributes);
            return;
        }
    forget(m, 0, REGISTERS);
}

/* ---- Messages ------------------------------------------------------------------------------------------------- */

/* nft's notes: a type, a length, and as many bytes. */
static const char *comment_of(struct np_arena *arena, struct np_text notes)
{
    while (notes.len >= 2) {
        const size_t type = (unsigned char)notes.ptr[0], len = (unsigned char)notes.ptr[1];
        if (len > notes.len - 2)
            break;
        if (type == COMMENT_TYPE && len > 1)
            return np_strndup(arena, notes.ptr + 2, notes.ptr[1 + len] ? len : len - 1);
        notes.ptr += 2 + len;
        notes.len -= 2 + len;
    }
    return NULL;
}

static uint64_t handle_of(struct np_text e)
{
    const struct np_text value = find(e, NFTA_RULE_HANDLE);
    uint64_t n = 0;
    for (size_t i = 0; i < value.len && i < sizeof n; i++)
        n = n << 8 | (unsigned char)value.ptr[i];
    return n;
}

static void take_rule(struct np_nft *nft, int family, struct np_text e)
{
    struct np_arena *arena = nft->rules->arena;
    struct np_nat_table *table = np_nat_table(nft->rules, family, string(arena, e, NFTA_RULE_TABLE), false);
    struct machine m = {.nft = nft, .rule = np_nat_rule(nft->rules, table, string(arena, e, NFTA_RULE_CHAIN))};
    struct np_text list = find(e, NFTA_RULE_EXPRESSIONS), compat = find(e, NFTA_RULE_COMPAT);
    struct attribute item;
    m.rule->number = handle_of(e);
    m.rule->comment = comment_of(arena, find(e, NFTA_RULE_USERDATA));
    if (compat.ptr && !(number(compat, NFTA_RULE_COMPAT_FLAGS) & NFT_RULE_COMPAT_F_INV) &&
        number(compat, NFTA_RULE_COMPAT_PROTO))
        np_nat_protocol(m.rule, number(compat, NFTA_RULE_COMPAT_PROTO));
    while (next_attribute(&list, &item))
        run(&m, find(item.value, NFTA_EXPR_NAME), find(item.value, NFTA_EXPR_DATA));
}

static void take_chain(struct np_nft *nft, int family, struct np_text e)
{
    struct np_arena *arena = nft->rules->arena;
    struct np_nat_table *table = np_nat_table(nft->rules, family, string(arena, e, NFTA_CHAIN_TABLE), false);
    const struct np_text hook = find(e, NFTA_CHAIN_HOOK);
    const bool is_early = hook.ptr && (number(hook, NFTA_HOOK_HOOKNUM) & 0xff) == NF_INET_PRE_ROUTING;
    table->may_take = table->may_take || is_early || strcmp(string(arena, e, NFTA_CHAIN_TYPE), "nat") == 0;
    np_nat_chain(nft->rules, table, string(arena, e, NFTA_CHAIN_NAME),
                 hook.ptr ? (int)(number(hook, NFTA_HOOK_HOOKNUM) & 0xff) : -1);
}

static int compare_sets(const void *a, const void *b)
{
    const struct set *one = a, *two = b;
    if (one->table != two->table)
        return (uintptr_t)one->table < (uintptr_t)two->table ? -1 : 1;
    return strcmp(one->name, two->name);
}

static struct set *find_set(struct np_nft *nft, const struct np_nat_table *table, const char *name)
{
    const struct set key = {.table = table, .name = name};
    if (!nft->n_sets)
        return NULL;
    if (!nft->sorted)
        qsort(nft->sets, nft->n_sets, sizeof *nft->sets, compare_sets);
    nft->sorted = true;
    return bsearch(&key, nft->sets, nft->n_sets, sizeof key, compare_sets);
}

static void take_set(struct np_nft *nft, int family, struct np_text e)
{
    struct np_arena *arena = nft->rules->arena;
    struct set *set = np_push(arena, &nft->sets, &nft->n_sets, &nft->sets_capacity, sizeof *set);
    set->table = np_nat_table(nft->rules, family, string(arena, e, NFTA_SET_TABLE), false);
    set->name = string(arena, e, NFTA_SET_NAME);
    set->flags = number(e, NFTA_SET_FLAGS);
    set->key_len = number(e, NFTA_SET_KEY_LEN);
    nft->sorted = false;
}

static struct np_text keep(struct np_arena *arena, struct np_text value)
{
    return (struct np_text){value.ptr ? np_strndup(arena, value.ptr, 0) : NULL, 0};
}

/* np_strndup() ends at a NUL; these are bytes. */
static struct np_text keep_bytes(struct np_arena *arena, struct np_text value)
{
    if (!value.ptr || !value.len)
        return keep(arena, value);
    char *bytes = np_alloc(arena, value.len);
    memcpy(bytes, value.ptr, value.len);
    return (struct np_text){bytes, value.len};
}

static void take_elements(struct np_nft *nft, int family, struct np_text e)
{
    struct np_arena *arena = nft->rules->arena;
    struct set *set = find_set(nft, np_nat_table(nft->rules, family, string(arena, e, NFTA_SET_ELEM_LIST_TABLE), false),
                               string(arena, e, NFTA_SET_ELEM_LIST_SET));
    struct np_text list = find(e, NFTA_SET_ELEM_LIST_ELEMENTS);
    struct attribute item;
    while (set && next_attribute(&list, &item)) {
        struct element *element = np_push(arena, &set->elements, &set->n, &set->capacity, sizeof *element);
        const struct np_text verdict = find(find(item.value, NFTA_SET_ELEM_DATA), NFTA_DATA_VERDICT);
        element->key = keep_bytes(arena, data_of(item.value, NFTA_SET_ELEM_KEY));
        element->key_end = keep_bytes(arena, data_of(item.value, NFTA_SET_ELEM_KEY_END));
        element->data = keep_bytes(arena, data_of(item.value, NFTA_SET_ELEM_DATA));
        element->flags = number(item.value, NFTA_SET_ELEM_FLAGS);
        if (verdict.ptr && has(verdict, NFTA_VERDICT_CHAIN))
            element->chain = string(arena, verdict, NFTA_VERDICT_CHAIN);
    }
}

struct np_nft *np_nft_new(struct np_nat_rules *rules)
{
    struct np_nft *nft = np_alloc(rules->arena, sizeof *nft);
    nft->rules = rules;
    return nft;
}

static int take_message(struct np_nft *nft, unsigned type, struct np_text payload)
{
    static const struct {
        unsigned type;
        void (*take)(struct np_nft *, int family, struct np_text attributes);
    } kinds[] = {{NFT_MSG_NEWRULE, take_rule},
                 {NFT_MSG_NEWCHAIN, take_chain},
                 {NFT_MSG_NEWSET, take_set},
                 {NFT_MSG_NEWSETELEM, take_elements}};
    struct nfgenmsg head;
    if (payload.len < sizeof head)
        return EBADMSG;
    memcpy(&head, payload.ptr, sizeof head);
    if (nft->has_generation && nft->generation != head.res_id)
        return EAGAIN;
    nft->has_generation = true;
    nft->generation = head.res_id;
    payload.ptr += NLMSG_ALIGN(sizeof head);
    payload.len -= NLMSG_ALIGN(sizeof head);
    struct np_text rest = payload;
    struct attribute a;
    while (next_attribute(&rest, &a))
        ;
    if (rest.len)
        return EBADMSG;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].type == type)
            kinds[i].take(nft, head.nfgen_family, payload);
    return 0;
}

int np_nft_take(struct np_nft *nft, const void *bytes, size_t len, bool *ret_done)
{
    struct np_text rest = {bytes, len};
    *ret_done = false;
    while (rest.len >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr head;
        memcpy(&head, rest.ptr, sizeof head);
        if (head.nlmsg_len < NLMSG_HDRLEN || head.nlmsg_len > rest.len)
            return EBADMSG;
        if (head.nlmsg_flags & NLM_F_DUMP_INTR || head.nlmsg_type == NLMSG_OVERRUN)
            return EAGAIN;
        const struct np_text payload = {rest.ptr + NLMSG_HDRLEN, head.nlmsg_len - NLMSG_HDRLEN};
        int code = 0; /* the end of a dump and an error both carry a negative errno value first */
        if (payload.len >= sizeof code)
            memcpy(&code, payload.ptr, sizeof code);
        if (head.nlmsg_type == NLMSG_ERROR)
            return code < 0 && code > -4096 ? -code : EBADMSG;
        if (head.nlmsg_type == NLMSG_DONE) {
            *ret_done = true;
            if (code)
                return code < 0 && code > -4096 ? -code : EBADMSG;
        }
        const int failed = NFNL_SUBSYS_ID(head.nlmsg_type) == NFNL_SUBSYS_NFTABLES
                               ? take_message(nft, NFNL_MSG_TYPE(head.nlmsg_type), payload)
                               : 0;
        if (failed)
            return failed;
        const size_t step = NLMSG_ALIGN(head.nlmsg_len);
        rest.ptr += step < rest.len ? step : rest.len;
        rest.len -= step < rest.len ? step : rest.len;
    }
    return rest.len ? EBADMSG : 0;
}

/* ---- Sets ----------------------------------------------------------------------------------------------------- */

static int compare_uses(const void *a, const void *b)
{
    const struct use *const *one = a, *const *two = b;
    if ((*one)->rule->table != (*two)->rule->table)
        return (uintptr_t)(*one)->rule->table < (uintptr_t)(*two)->rule->table ? -1 : 1;
    return strcmp((*one)->set, (*two)->set);
}

/* Sets with a port, or a protocol, in their keys, and those that lead to chains; of tables that take something. */
static void find_wanted(struct np_nft *nft)
{
    struct np_arena *arena = nft->rules->arena;
    size_t n = 0;
    nft->asked = true;
    for (size_t i = 0; i < nft->n_uses; i++) {
        struct use *use = &nft->uses[i];
        if (!use->rule->table->takes || (use->port == REGISTERS && use->protocol == REGISTERS && !use->verdict))
            continue;
        struct use **slot = np_push(arena, &nft->wanted, &nft->n_wanted, &nft->wanted_capacity, sizeof *slot);
        *slot = use;
    }
    if (nft->n_wanted)
        qsort(nft->wanted, nft->n_wanted, sizeof *nft->wanted, compare_uses);
    for (size_t i = 0; i < nft->n_wanted; i++)
        if (i == 0 || compare_uses(&nft->wanted[i], &nft->wanted[n - 1]) != 0)
            nft->wanted[n++] = nft->wanted[i];
    nft->n_wanted = n;
}

bool np_nft_set(struct np_nft *nft, size_t i, int *ret_family, const char **ret_table, const char **ret_set)
{
    if (!nft->asked)
        find_wanted(nft);
    if (i >= nft->n_wanted)
        return false;
    *ret_family = nft->wanted[i]->rule->table->family;
    *ret_table = nft->wanted[i]->rule->table->name;
    *ret_set = nft->wanted[i]->set;
    return true;
}

/* "10.0.0.2:80", from a map's data; NULL where it is something else. */
static const char *data_holder(struct np_arena *arena, const struct element *element)
{
    const size_t size = element->data.len == 16 || element->data.len == 20 ? 16 : 4;
    const bool has_port = element->data.len == size + SLOT;
    if (element->chain)
        return np_sprintf(arena, "chain %s", element->chain);
    if (element->data.len != size && !has_port)
        return NULL;
    return np_nat_target(arena, "DNAT", (const uint8_t *)element->data.ptr, size,
                         has_port ? port_in(element->data, size) : 0);
}

static enum nextport_protocol protocol_in(const struct use *use, const struct element *element)
{
    struct np_nat_rule any = {.protocol = NEXTPORT_BOTH};
    const struct np_text to = element->key_end.ptr ? element->key_end : element->key;
    if (use->protocol < element->key.len && use->protocol < to.len &&
        element->key.ptr[use->protocol] == to.ptr[use->protocol])
        np_nat_protocol(&any, (unsigned char)element->key.ptr[use->protocol]);
    return any.protocol;
}

/* `first` to `last`: what an element has in the port's place. */
static void name_ports(struct np_nft *nft, const struct use *use, const struct element *element, uint32_t first,
                       uint32_t last, bool vague)
{
    struct np_arena *arena = nft->rules->arena;
    const enum nextport_protocol protocol = protocol_in(use, element);
    if (first > last || !protocol || !is_possible(use->view, first, last))
        return;
    widen(use->view, &first, &last, &vague);
    if (!last)
        return;
    np_nat_match(nft->rules, use->rule,
                 &(struct np_nat_match){.first = (uint16_t)(first ? first : 1),
                                        .last = (uint16_t)last,
                                        .protocol = protocol,
                                        .negated = use->negated,
                                        .vague = vague,
                                        .holder = data_holder(arena, element),
                                        .jump = element->chain,
                                        .passes = use->verdict && !element->chain});
}

static int compare_elements(const void *a, const void *b)
{
    const struct element *one = a, *two = b;
    const unsigned p = port_in(one->key, 0), q = port_in(two->key, 0);
    if (p != q)
        return p < q ? -1 : 1;
    return (int)(two->flags & NFT_SET_ELEM_INTERVAL_END) - (int)(one->flags & NFT_SET_ELEM_INTERVAL_END);
}

/* A set of intervals of ports alone keeps where each begins, and, marked, where the next one does not. */
static void name_intervals(struct np_nft *nft, const struct use *use, struct set *set)
{
    if (set->n)
        qsort(set->elements, set->n, sizeof *set->elements, compare_elements);
    for (size_t i = 0; i < set->n; i++) {
        const struct element *element = &set->elements[i];
        if (element->flags & (NFT_SET_ELEM_INTERVAL_END | ELEM_CATCHALL) || !element->key.len)
            continue;
        size_t end = i + 1;
        while (end < set->n && set->elements[end].flags & ELEM_CATCHALL)
            end++;
        const uint32_t after = element->key_end.len ? port_in(element->key_end, 0) + 1u
                               : end < set->n       ? port_in(set->elements[end].key, 0)
                                                    : 65536;
        name_ports(nft, use, element, port_in(element->key, 0), after - (after > 0), false);
    }
}

/* Each element has the port in its place. Where intervals of several fields were kept as one, as before Linux 5.6, only the
 * ends are known. */
static void name_elements(struct np_nft *nft, const struct use *use, struct set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct element *element = &set->elements[i];
        const struct np_text to = element->key_end.ptr ? element->key_end : element->key;
        if (use->port >= element->key.len || use->port >= to.len)
            continue;
        name_ports(nft, use, element, port_in(element->key, use->port), port_in(to, use->port),
                   set->flags & NFT_SET_INTERVAL && !element->key_end.ptr);
    }
}

/* Does the rule look at the ports of a set as another one does that has no other list before it? */
static bool is_same_look(const struct use *use, const struct use *other)
{
    return other && !use->rule->n_matches && use->port == other->port && use->protocol == other->protocol &&
           use->view.mask == other->view.mask && use->view.flip == other->view.flip && use->negated == other->negated &&
           use->verdict == other->verdict;
}

/* "*" is all ports that the other elements do not name. */
static void name_all(struct np_nft *nft, const struct use *use, struct set *set)
{
    const bool is_first = !use->rule->n_matches;
    use->rule->by_port = use->rule->by_port || !use->negated;
    if (is_same_look(use, set->named)) {
        np_nat_share(use->rule, set->named->rule, set->n_named);
        return;
    }
    if (set->flags & NFT_SET_INTERVAL && set->key_len <= SLOT)
        name_intervals(nft, use, set);
    else
        name_elements(nft, use, set);
    for (size_t i = 0; i < set->n; i++)
        if (set->elements[i].flags & ELEM_CATCHALL)
            name_ports(nft, use, &set->elements[i], 0, 65535, true);
    if (is_first && use->rule->n_matches) {
        set->named = use;
        set->n_named = use->rule->n_matches;
    }
}

/* A set of protocols alone: those in it. */
static void name_protocols(const struct use *use, const struct set *set)
{
    unsigned protocols = 0;
    for (size_t i = 0; i < set->n; i++)
        if (!(set->flags & NFT_SET_INTERVAL) || !(set->elements[i].flags & NFT_SET_ELEM_INTERVAL_END))
            protocols |= protocol_in(use, &set->elements[i]);
    if (!use->negated && !(set->flags & NFT_SET_INTERVAL))
        use->rule->protocol = (enum nextport_protocol)(use->rule->protocol & protocols);
}

/* Other chains that a rule leads to by a map, whatever the port, but for what its own conditions say. */
static void lead_on(struct np_nft *nft, const struct use *use, const struct set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        if (!set->elements[i].chain)
            continue;
        struct np_nat_rule *rule = np_nat_rule(nft->rules, use->rule->table, use->rule->chain);
        rule->act = NP_NAT_LEADS;
        rule->jump = set->elements[i].chain;
        rule->by_port = !np_nat_is_wide(use->rule);
        rule->is_for_some = true; /* who is in the map is not looked at, nor who was let pass before */
    }
}

static struct set *set_of(struct np_nft *nft, const struct use *use)
{
    return use->rule->table->takes ? find_set(nft, use->rule->table, use->set) : NULL;
}

/* A rule by a set that could not be seen is about some ports of which none is known. */
void np_nft_finish(struct np_nft *nft)
{
    for (size_t i = 0; i < nft->n_uses; i++) {
        const struct use *use = &nft->uses[i];
        struct set *set = set_of(nft, use);
        if (use->to < (set ? set->key_len : REGISTERS))
            use->rule->to = NP_NAT_UNKNOWN; /* its addresses are not looked at */
        if (set && use->port < set->key_len)
            name_all(nft, use, set);
        else if (set && use->protocol == 0 && set->key_len == 1)
            name_protocols(use, set);
    }
    for (size_t i = 0; i < nft->n_uses; i++) { /* when it is known what the rules' other lists name */
        const struct use *use = &nft->uses[i];
        const struct set *set = set_of(nft, use);
        if (set && use->verdict && use->port >= set->key_len)
            lead_on(nft, use, set);
    }
}
