/* Rules that hand ports to somebody without a socket: what netfilter's tables say, read from bytes alone, so that it can be
 * tried on recorded ones. nat.c asks the kernel for them.
 *
 * Rules are collected from nf_tables (nat_nft.c) and from the older ip_tables (nat_xt.c) into one form; np_nat_rows() then
 * says which ports they take (nat_rules.c). It rather takes a port too many than one too few.
 * SPDX-License-Identifier: MIT */
#ifndef NP_LINUX_NAT_H
#define NP_LINUX_NAT_H

#include "host/host.h"

/* What a rule does with what it matches. */
enum np_nat_act {
    NP_NAT_NOTHING, /* lets pass, drops, counts */
    NP_NAT_LEADS,   /* to another chain, or marks it for another rule */
    NP_NAT_TAKES,   /* hands it to somebody: DNAT, REDIRECT, TPROXY */
};

/* What a rule says of the address that a connection is made to. */
enum np_nat_to {
    NP_NAT_ANY,       /* every one of this machine's */
    NP_NAT_HERE,      /* some, and one of this machine's is among them */
    NP_NAT_ELSEWHERE, /* none of this machine's */
    NP_NAT_UNKNOWN,
};

struct np_nat_address {
    uint8_t bytes[16];
    size_t size; /* 4 or 16 */
};

struct np_nat_table {
    int family; /* NFPROTO_* */
    const char *name;
    bool takes;    /* a rule in it does */
    bool may_take; /* of nf_tables: it has a chain where packets can be handed on */
    bool is_older; /* of ip_tables, which number their rules and give them no handles */
};

struct np_nat_chain {
    const struct np_nat_table *table;
    const char *name;
    int hook;        /* NF_INET_*; -1: others jump here */
    bool open;       /* reached by (nearly) every port */
    bool is_outside; /* certainly reached by packets from elsewhere that are meant for this machine */
    bool delivers;   /* hands some of what reaches it to somebody */
};

/* Ports that a rule names. */
struct np_nat_match {
    uint16_t first, last;
    enum nextport_protocol protocol;
    bool negated;       /* all but these */
    bool vague;         /* at most these */
    const char *holder; /* NULL: as the rule says */
    const char *jump;   /* the chain that these lead to; NULL: as the rule says */
    bool passes;        /* these are let pass */
};

struct np_nat_rule {
    struct np_nat_table *table;
    const char *chain;
    enum np_nat_act act;
    bool from_here;                  /* changes only where packets come from */
    enum nextport_protocol protocol; /* 0: neither TCP nor UDP */
    const char *holder, *comment;    /* NULL: not said */
    const char *jump;                /* the chain it leads to; NULL: none */
    uint16_t first, last;            /* what the comparisons leave of all ports */
    bool by_port;                    /* one of them was about ports */
    bool vague;
    int family;        /* NFPROTO_*; of what it takes */
    uint64_t number;   /* its handle, or its place in the chain, from 1; 0: not known */
    bool passes;       /* accepts, drops or returns */
    bool by_interface; /* has a condition on where packets come in */
    bool is_for_some;  /* has another one on where they come from, or one that is not understood */
    enum np_nat_to to;
    const char *own;              /* the one address of this machine's that it is about; NULL: several */
    bool is_certain;              /* who comes from elsewhere meets it, at those interfaces */
    struct np_nat_match *matches; /* from lists, beyond those */
    size_t n_matches, matches_capacity;
    struct np_nat_rule *like;    /* one before it that has the same ones; NULL: none */
    struct np_nat_rule *speaker; /* whose rows say what those of its matches would; NULL: its own do */
    const char *others;          /* the rules that it speaks for; NULL: none, or not told */
    size_t n_others;
};

struct np_nat_rules {
    struct np_arena *arena;
    bool thorough; /* say which rule it is, and find out which ones take connections to this machine */
    const struct np_nat_address *own; /* this machine's, but for loopback */
    size_t n_own;
    struct np_nat_table **tables;
    size_t n_tables, tables_capacity;
    struct np_nat_chain *chains;
    size_t n_chains, chains_capacity;
    struct np_nat_rule **rules;
    size_t n_rules, rules_capacity;
    struct np_nat_row *rows;
    size_t n_rows, rows_capacity;
    const struct np_nat_rule *described; /* the rule of the last plain description */
    const char *description;
};

/* ---- The common form (nat_rules.c) ---- */

/* `is_older`: of ip_tables; nf_tables may have one of the same name beside it. */
struct np_nat_table *np_nat_table(struct np_nat_rules *, int family, const char *name, bool is_older);
void np_nat_chain(struct np_nat_rules *, const struct np_nat_table *, const char *name, int hook);
struct np_nat_rule *np_nat_rule(struct np_nat_rules *, struct np_nat_table *, const char *chain);
/* Narrows a rule down to these ports. */
void np_nat_narrow(struct np_nat_rules *, struct np_nat_rule *, uint16_t first, uint16_t last, bool vague);
void np_nat_match(struct np_nat_rules *, struct np_nat_rule *, const struct np_nat_match *);
/* The rule, which has none yet, gets the first n matches of another one, and shares their memory. */
void np_nat_share(struct np_nat_rule *, struct np_nat_rule *like, size_t n);
void np_nat_protocol(struct np_nat_rule *, unsigned ip_protocol);
/* The rule is about this address and those like it under the mask, or about all others. */
void np_nat_address(struct np_nat_rules *, struct np_nat_rule *, const uint8_t *address, const uint8_t *mask,
                    size_t size, bool negated);
void np_nat_takes(struct np_nat_rule *, const char *holder);
/* "DNAT to 172.17.0.2:80"; address and port may be missing (NULL, 0). Addresses of 4 or 16 bytes. */
const char *np_nat_target(struct np_arena *, const char *what, const uint8_t *address, size_t size, uint16_t port);
/* Is it about (nearly) every port, as far as is known? */
bool np_nat_is_wide(const struct np_nat_rule *);
/* What the rules take; rows of no port for rules that take (nearly) all of them. */
void np_nat_rows(struct np_nat_rules *);
/* NULL: there is no such chain. To be asked when all chains were collected and np_nat_rows() has sorted them. */
struct np_nat_chain *np_nat_find_chain(const struct np_nat_rules *, const struct np_nat_table *, const char *name);

/* ---- Who is never reached because of a rule (nat_reach.c) ---- */

/* Which rules certainly meet connections from elsewhere to this machine. */
void np_nat_reach(struct np_nat_rules *);
/* Are the rows of matches that both have marked alike? */
bool np_nat_marks_alike(const struct np_nat_rules *, const struct np_nat_rule *, const struct np_nat_rule *);
/* Marks a row as one that takes such connections, where it is certain. `match` NULL: as the rule says. */
void np_nat_mark(const struct np_nat_rules *, const struct np_nat_rule *, const struct np_nat_match *match,
                 struct np_nat_row *);

/* ---- nf_tables, as it answers over netlink (nat_nft.c) ---- */

struct np_nft;

struct np_nft *np_nft_new(struct np_nat_rules *);
/* One or more netlink messages: chains and rules, sets and elements, in this order. 0, or an errno value: EAGAIN: the rules were
 * changed meanwhile, so all must be read again. *ret_done: the end of a dump was among them. */
int np_nft_take(struct np_nft *, const void *bytes, size_t len, bool *ret_done);
/* The i-th set whose elements are needed; false when there are no more. To be asked when all rules were taken. */
bool np_nft_set(struct np_nft *, size_t i, int *ret_family, const char **ret_table, const char **ret_set);
/* All was taken: completes the rules. */
void np_nft_finish(struct np_nft *);

/* ---- ip_tables and what nf_tables has of it (nat_xt.c) ---- */

void np_xt_match(struct np_nat_rules *, struct np_nat_rule *, const char *name, unsigned revision, struct np_text info);
void np_xt_target(struct np_nat_rules *, struct np_nat_rule *, const char *name, unsigned revision,
                  struct np_text info);
/* The entries of a table of ip_tables (NFPROTO_IPV4) or ip6_tables; `hooks` are the offsets of its NF_INET_NUMHOOKS built-in
 * chains, UINT32_MAX where there is none. false: they make no sense. */
bool np_xt_table(struct np_nat_rules *, int family, const char *name, struct np_text entries, const uint32_t *hooks);

/* ---- IPVS (nat_rules.c): the text of /proc/net/ip_vs ---- */

bool np_ipvs_parse(struct np_nat_rules *, struct np_text);

#endif
