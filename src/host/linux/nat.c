/* Asks the kernel for the rules that hand ports to somebody without a socket: nf_tables over netlink, ip_tables and
 * ip6_tables by getsockopt(2), IPVS by its file. nat_*.c read the answers.
 *
 * A question may make the kernel load the module that it is for. ip_tables is asked only for tables that it has already, or
 * the question itself would make them. nf_tables, which has no such list, is not asked where it is known to be a module that
 * is not loaded. Where the same is known of every module that can hand something on, there is nothing to ask: a rule keeps
 * those that it needs. Anyone may see that, unlike the rules.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"
#include "host/linux/nat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { RECEIVE_SIZE = 64 * 1024, TRIES = 5 };

/* ---- Files ---------------------------------------------------------------------------------------------------- */

/* Reads a file of the kernel's whole. Returns an errno value. */
static int slurp(struct np_arena *arena, const char *path, struct np_text *ret)
{
    struct np_buf buf = {.arena = arena};
    char chunk[4096];
    ssize_t n;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    np_buf_puts(&buf, "");
    while ((n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0)
            np_buf_add(&buf, chunk, (size_t)n);
    }
    const int failed = n < 0 ? errno : 0;
    close(fd);
    *ret = (struct np_text){buf.ptr, buf.len};
    return failed;
}

/* ---- Modules -------------------------------------------------------------------------------------------------- */

/* Are all of these modules, and none of them loaded? What cannot be known is not so. */
static bool is_without(struct np_arena *arena, const char *const *modules)
{
    struct utsname system;
    struct np_text built_in;
    for (size_t i = 0; modules[i]; i++)
        if (access(np_sprintf(arena, "/sys/module/%s", modules[i]), F_OK) == 0 || errno != ENOENT)
            return false;
    if (access("/sys/module", F_OK) != 0 || uname(&system) != 0 ||
        slurp(arena, np_sprintf(arena, "/lib/modules/%s/modules.builtin", system.release), &built_in) != 0)
        return false;
    for (size_t i = 0; modules[i]; i++)
        if (strstr(built_in.ptr, np_sprintf(arena, "/%s.ko", modules[i])))
            return false;
    return built_in.len > 0;
}

/* One of these is needed by whatever hands on; which one TPROXY needs, depends on the kernel's age. */
static bool cannot_hand_on(struct np_arena *arena)
{
    static const char *const modules[] = {
        "nf_nat", "nf_tproxy_ipv4", "nf_tproxy_ipv6", "nf_tproxy_core", "xt_TPROXY", "nft_tproxy", NULL};
    return is_without(arena, modules);
}

/* ---- nf_tables ------------------------------------------------------------------------------------------------ */

/* What is asked in one dump: all of a kind, or the elements of one set. */
struct question {
    unsigned type;
    int family;
    const char *table, *set; /* NULL: of all */
};

struct request {
    struct nlmsghdr header;
    struct nfgenmsg family;
    char attributes[2 * (NLA_HDRLEN + NFT_NAME_MAXLEN)];
};

static void add_name(struct request *request, unsigned type, const char *name)
{
    const size_t at = NLMSG_ALIGN(request->header.nlmsg_len) - NLMSG_SPACE(sizeof request->family);
    const size_t n = strnlen(name, NFT_NAME_MAXLEN - 1);
    const struct nlattr head = {.nla_len = (uint16_t)(NLA_HDRLEN + n + 1), .nla_type = (uint16_t)type};
    memcpy(request->attributes + at, &head, sizeof head);
    memcpy(request->attributes + at + NLA_HDRLEN, name, n); /* the rest is 0 */
    request->header.nlmsg_len += (uint32_t)NLA_ALIGN(head.nla_len);
}

static struct request compose(const struct question *question)
{
    struct request request = {.header = {.nlmsg_len = NLMSG_SPACE(sizeof(struct nfgenmsg)),
                                         .nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | question->type),
                                         .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
                              .family = {.nfgen_family = (uint8_t)question->family, .version = NFNETLINK_V0}};
    if (question->table)
        add_name(&request, NFTA_SET_ELEM_LIST_TABLE, question->table);
    if (question->set)
        add_name(&request, NFTA_SET_ELEM_LIST_SET, question->set);
    return request;
}

/* Returns an errno value; EAGAIN: the rules were changed meanwhile. */
static int ask(int fd, struct np_nft *nft, const struct question *question, char *buf)
{
    const struct request request = compose(question);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, &request, request.header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return errno;
    for (bool done = false; !done;) {
        const ssize_t n = np_netlink_receive(fd, buf, RECEIVE_SIZE);
        if (n < 0)
            return errno == ENOBUFS ? EAGAIN : errno;
        const int failed = np_nft_take(nft, buf, (size_t)n, &done);
        if (failed)
            return failed;
    }
    return 0;
}

/* Is there one that takes something, or one that may? */
static bool any_table(const struct np_nat_rules *rules, bool takes)
{
    for (size_t i = 0; i < rules->n_tables; i++)
        if (takes ? rules->tables[i]->takes : rules->tables[i]->may_take)
            return true;
    return false;
}

/* The rules of tables that may hand something on: a firewall's own are thousands on some machines. */
static int ask_for_rules(int fd, struct np_nft *nft, const struct np_nat_rules *rules, char *buf)
{
    int failed = 0;
    for (size_t i = 0; i < rules->n_tables && !failed; i++)
        if (rules->tables[i]->may_take)
            failed =
                ask(fd, nft,
                    &(struct question){
                        .type = NFT_MSG_GETRULE, .family = rules->tables[i]->family, .table = rules->tables[i]->name},
                    buf);
    return failed;
}

static int ask_for_sets(int fd, struct np_nft *nft, char *buf)
{
    struct question question = {.type = NFT_MSG_GETSET};
    int failed = ask(fd, nft, &question, buf);
    question.type = NFT_MSG_GETSETELEM;
    for (size_t i = 0; !failed && np_nft_set(nft, i, &question.family, &question.table, &question.set); i++)
        failed = ask(fd, nft, &question, buf);
    return failed;
}

/* Where no chain can hand anything on, as on most machines, the chains are all that is asked for. A table or a set that went
 * away since is a change. The tables come last, for the generation that they carry: an answer without rules has none. */
static int ask_all(int fd, struct np_nat_rules *rules, char *buf)
{
    struct np_nft *nft = np_nft_new(rules);
    int failed = ask(fd, nft, &(struct question){.type = NFT_MSG_GETCHAIN}, buf);
    if (failed || !any_table(rules, false))
        return failed;
    failed = ask_for_rules(fd, nft, rules, buf);
    if (!failed && any_table(rules, true))
        failed = ask_for_sets(fd, nft, buf);
    if (!failed)
        failed = ask(fd, nft, &(struct question){.type = NFT_MSG_GETTABLE}, buf);
    if (!failed)
        np_nft_finish(nft);
    return failed == ENOENT ? EAGAIN : failed;
}

/* Each try on a socket and with rules of its own: what is left of a disturbed one goes away with it. */
static int ask_nft(struct np_arena *arena, struct np_nat_rules *ret)
{
    const struct np_nat_rules before = *ret;
    if (is_without(arena, (const char *const[]){"nf_tables", NULL}))
        return EOPNOTSUPP;
    char *buf = np_room(arena, RECEIVE_SIZE);
    int failed = EAGAIN;
    for (int i = 0; i < TRIES && failed == EAGAIN; i++) {
        const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
        if (fd < 0)
            return errno;
        *ret = before;
        failed = ask_all(fd, ret, buf);
        close(fd);
    }
    return failed;
}

/* ---- ip_tables ------------------------------------------------------------------------------------------------ */

/* Both families ask alike; their structures differ only in their entries. */
struct xt {
    int family, domain, level, get_info, get_entries;
    const char *names; /* where the tables are listed that there are */
};

static int get_entries(int fd, const struct xt *xt, const char *name, struct np_arena *arena, struct np_text *ret,
                       uint32_t hooks[NF_INET_NUMHOOKS])
{
    struct ipt_getinfo info = {.valid_hooks = 0};
    socklen_t size = sizeof info;
    memcpy(info.name, name, strlen(name));
    if (getsockopt(fd, xt->level, xt->get_info, &info, &size) != 0)
        return errno;
    for (size_t i = 0; i < NF_INET_NUMHOOKS; i++)
        hooks[i] = info.valid_hooks & 1u << i ? info.hook_entry[i] : UINT32_MAX;
    struct ipt_get_entries head = {.size = info.size};
    memcpy(head.name, name, strlen(name));
    char *all = np_alloc(arena, sizeof head + info.size);
    memcpy(all, &head, sizeof head);
    size = (socklen_t)(sizeof head + info.size);
    if (getsockopt(fd, xt->level, xt->get_entries, all, &size) != 0)
        return errno;
    *ret = (struct np_text){all + sizeof head, info.size};
    return 0;
}

static int ask_table(struct np_nat_rules *rules, const struct xt *xt, const char *name)
{
    uint32_t hooks[NF_INET_NUMHOOKS];
    struct np_text entries;
    int failed = EAGAIN;
    const int fd = socket(xt->domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    for (int i = 0; i < TRIES && failed == EAGAIN; i++) /* it grew between the two questions */
        failed = get_entries(fd, xt, name, rules->arena, &entries, hooks);
    close(fd);
    if (failed)
        return failed;
    return np_xt_table(rules, xt->family, name, entries, hooks) ? 0 : EBADMSG;
}

/* Only these two tables can hand a packet to somebody else. ENOENT: this system has no ip_tables. */
static int ask_xt(struct np_nat_rules *rules, const struct xt *xt)
{
    struct np_text names, name;
    int failed = slurp(rules->arena, xt->names, &names);
    while (!failed && np_text_split(&names, '\n', &name)) {
        const char *const wanted = np_text_is(name, "nat") ? "nat" : np_text_is(name, "mangle") ? "mangle" : NULL;
        if (wanted)
            failed = ask_table(rules, xt, wanted);
    }
    return failed;
}

/* ---- Addresses ------------------------------------------------------------------------------------------------ */

/* Nobody reaches a loopback address from elsewhere; its interface may have others as well. */
static bool read_address(const struct ifaddrs *from, struct np_nat_address *ret)
{
    const int family = from->ifa_addr ? from->ifa_addr->sa_family : AF_UNSPEC;
    const void *bytes = NULL;
    if (family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)from->ifa_addr)->sin_addr;
    if (family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)from->ifa_addr)->sin6_addr;
    if (!bytes)
        return false;
    ret->size = family == AF_INET ? 4 : 16;
    memcpy(ret->bytes, bytes, ret->size);
    return family == AF_INET ? ret->bytes[0] != IN_LOOPBACKNET : !IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)bytes);
}

static bool find_own(struct np_nat_rules *rules)
{
    struct ifaddrs *all;
    struct np_nat_address *own = NULL, address;
    size_t capacity = 0;
    if (getifaddrs(&all) != 0)
        return false;
    for (const struct ifaddrs *one = all; one; one = one->ifa_next)
        if (read_address(one, &address))
            *(struct np_nat_address *)np_push(rules->arena, &own, &rules->n_own, &capacity, sizeof address) = address;
    freeifaddrs(all);
    rules->own = own;
    return true;
}

/* ---- All ------------------------------------------------------------------------------------------------------ */

static bool is_denied(int failed)
{
    return failed == EPERM || failed == EACCES;
}

/* Answers of a kernel without nfnetlink, nf_tables or ip_tables. */
static bool is_absent(int failed)
{
    return failed == EPROTONOSUPPORT || failed == EAFNOSUPPORT || failed == EOPNOTSUPP || failed == EINVAL ||
           failed == ENOENT || failed == ENOPROTOOPT;
}

static enum nextport_status settle(struct np_arena *arena, const char *what, int failed, struct np_nat *ret,
                                   struct nextport_error *err)
{
    if (is_absent(failed))
        return NEXTPORT_OK;
    ret->present = true;
    if (!failed)
        return NEXTPORT_OK;
    if (!is_denied(failed))
        return np_fail_errno(err, NEXTPORT_BLIND, failed, "read %s", what);
    ret->unseen = ret->unseen ? np_sprintf(arena, "%s, %s", ret->unseen, what) : what;
    return NEXTPORT_OK;
}

static enum nextport_status ask_netfilter(struct np_nat_rules *rules, struct np_nat *ret, struct nextport_error *err)
{
    static const struct xt kinds[] = {
        {NFPROTO_IPV4, AF_INET, IPPROTO_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES, "/proc/net/ip_tables_names"},
        {NFPROTO_IPV6, AF_INET6, IPPROTO_IPV6, IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES, "/proc/net/ip6_tables_names"}};
    static const char *const names[] = {"ip_tables", "ip6_tables"};
    if (rules->thorough && !find_own(rules))
        return np_fail_errno(err, NEXTPORT_BLIND, errno, "read this machine's addresses");
    enum nextport_status status = settle(rules->arena, "nf_tables", ask_nft(rules->arena, rules), ret, err);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && status == NEXTPORT_OK; i++)
        status = settle(rules->arena, names[i], ask_xt(rules, &kinds[i]), ret, err);
    if (status == NEXTPORT_OK)
        np_nat_rows(rules);
    return status;
}

enum nextport_status np_host_nat(struct np_arena *arena, bool thorough, struct np_nat *ret, struct nextport_error *err)
{
    struct np_nat_rules rules = {.arena = arena, .thorough = thorough};
    struct np_text services;
    *ret = (struct np_nat){0};
    if (!cannot_hand_on(arena) && ask_netfilter(&rules, ret, err) != NEXTPORT_OK)
        return err->status;
    int failed = slurp(arena, "/proc/net/ip_vs", &services);
    if (!failed && !np_ipvs_parse(&rules, services))
        failed = EBADMSG;
    if (settle(arena, "IPVS", failed, ret, err) != NEXTPORT_OK)
        return err->status;
    ret->rows = rules.rows;
    ret->n = rules.n_rows;
    return NEXTPORT_OK;
}
