/* The audit. What is in use or configured is indexed by port and put in order there, so that all questions about one
 * port are answered side by side; nothing compares everything with everything.
 * SPDX-License-Identifier: MIT */
#include "core/audit.h"

#include "core/hazards.h"

#include <stdlib.h>
#include <string.h>

enum {
    EVIDENCE_MAX = 16, /* claims that one finding shows */
    NAMED_MAX = 3,     /* holders that its sentence names */
    PORTS = 65536,
};

/* ---- What there is to be found ------------------------------------------------------------------------------- */

enum rule {
    TWO_HOLDERS,
    EXCLUDED,
    WRONG_HOLDER,
    HIJACKED,
    LEFTOVER_BINDINGS,
    SHARED_CONFIGURATION,
    NODE_PORT,
    BROWSER_BLOCKED,
    RESERVED_RANGE,
    MALFORMED,
    UNUSED_LEASE,
    OVERDUE,
    NO_LEASE,
    EPHEMERAL,
};

static const struct {
    enum nextport_severity severity;
    const char *slug, *cure;
} rules[] = {
    [TWO_HOLDERS] =
        {NEXTPORT_ERROR, "two-holders",
         "Give one of them another port: 'nextport next' finds one. Web sites can also be told apart by host "
         "name."},
    [EXCLUDED] = {NEXTPORT_ERROR, "excluded",
                  "Take a port outside the excluded range: 'nextport next' gives none inside."},
    [WRONG_HOLDER] = {NEXTPORT_HAZARD, "wrong-holder",
                      "Give the one that has it now a port of its own, or ask again for the owner: it is moved to "
                      "another port."},
    [HIJACKED] = {NEXTPORT_HAZARD, "hijacked",
                  "Remove the rule, or give the program another port: 'nextport next' gives none that a rule takes."},
    [LEFTOVER_BINDINGS] = {NEXTPORT_HAZARD, "leftover-bindings",
                           "Remove the bindings that nothing needs, and let the deployment replace bindings instead of "
                           "merging them. Where all are needed, lease them all: 'nextport adopt'."},
    [SHARED_CONFIGURATION] = {NEXTPORT_HAZARD, "shared-configuration",
                              "Lease ports on one of the servers that share it, and use its answers on the others."},
    [NODE_PORT] = {NEXTPORT_HAZARD, "node-port",
                   "Choose a pool outside that range, or give Kubernetes another one (--service-node-port-range of its "
                   "API server)."},
    [BROWSER_BLOCKED] = {NEXTPORT_HAZARD, "browser-blocked", "Use another port for what browsers shall reach."},
    [RESERVED_RANGE] = {NEXTPORT_HAZARD, "reserved-range",
                        "Move the range, or take ports outside it: 'nextport next' gives none inside."},
    [MALFORMED] = {NEXTPORT_HAZARD, "malformed", "Mend the setting: doc/sources has its grammar."},
    [UNUSED_LEASE] =
        {NEXTPORT_HAZARD, "unused-lease",
         "If its application is gone, 'nextport release PORT' gives the port back. 'nextport sweep' ends the "
         "lease when it was unseen for long enough."},
    [OVERDUE] = {NEXTPORT_HAZARD, "overdue", "'nextport sweep' ends it, and so does a 'nextport next' that comes by."},
    [NO_LEASE] = {NEXTPORT_HINT, "no-lease", "'nextport adopt --apply' leases it."},
    [EPHEMERAL] = {NEXTPORT_HINT, "ephemeral", "'nextport protect --apply' keeps them out."},
};

static const char *const severity_names[] = {
    [NEXTPORT_HINT] = "hint",
    [NEXTPORT_HAZARD] = "hazard",
    [NEXTPORT_ERROR] = "error",
};

const char *np_severity_name(enum nextport_severity severity)
{
    return severity_names[severity];
}

bool np_severity_parse(struct np_text text, enum nextport_severity *ret)
{
    for (unsigned i = NEXTPORT_HINT; i <= NEXTPORT_ERROR; i++)
        if (np_text_is(text, severity_names[i])) {
            *ret = (enum nextport_severity)i;
            return true;
        }
    return false;
}

/* How those share a port that speak the same: by address and host name, or by path. */
static const struct family {
    const char *scheme, *name;
    bool by_path;
} families[] = {
    {"http", "http", false},
    {"https", "http", false},
    {"ftp", "ftp", false},
    {"net.tcp", "net.tcp", true},
};

struct auditor {
    const struct np_audit *ask;
    struct np_arena *arena;
    struct np_portset pool;
    struct np_portset leased;           /* in this ledger, or in one that it honours */
    const struct nextport_claim **uses; /* standing sockets and what is configured, by port, in order */
    uint32_t *first;                    /* of each port in `uses`; up to that of the next one */
    struct nextport_finding *findings;
    size_t n, capacity;
};

/* The claims of one port. */
struct slice {
    const struct nextport_claim **items;
    size_t n;
};

static struct slice slice_of(const struct auditor *a, uint16_t port)
{
    return (struct slice){a->uses + a->first[port], a->first[port + 1] - a->first[port]};
}

/* ---- Making a finding ---------------------------------------------------------------------------------------- */

/* The claims that speak for a finding, and whom they name. */
struct proof {
    struct nextport_claim *items;
    size_t n, capacity, n_total;
    const char *names[NAMED_MAX];
    size_t n_names; /* more than NAMED_MAX: there are others */
};

static bool is_named(const struct proof *proof, const char *name)
{
    for (size_t i = 0; i < proof->n_names && i < NAMED_MAX; i++)
        if (strcmp(proof->names[i], name) == 0)
            return true;
    return false;
}

static void prove(struct auditor *a, struct proof *proof, const struct nextport_claim *claim)
{
    if (proof->n_total++ < EVIDENCE_MAX)
        *(struct nextport_claim *)np_push(a->arena, &proof->items, &proof->n, &proof->capacity, sizeof *claim) = *claim;
    if (!claim->holder || is_named(proof, claim->holder))
        return;
    if (proof->n_names < NAMED_MAX)
        proof->names[proof->n_names] = claim->holder;
    proof->n_names++;
}

/* "Shop", "Blog", "Wiki" and others */
static const char *names_of(struct auditor *a, const struct proof *proof)
{
    struct np_buf out = {.arena = a->arena};
    const size_t n = proof->n_names < NAMED_MAX ? proof->n_names : NAMED_MAX;
    const bool others = proof->n_names > NAMED_MAX;
    np_buf_puts(&out, "");
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&out, "%s\"%s\"", i == 0 ? "" : i + 1 == n && !others ? " and " : ", ", proof->names[i]);
    np_buf_puts(&out, others ? " and others" : "");
    return out.ptr;
}

static void find(struct auditor *a, enum rule rule, struct nextport_range ports, const struct proof *proof,
                 const char *text)
{
    struct nextport_finding *finding = np_push(a->arena, &a->findings, &a->n, &a->capacity, sizeof *finding);
    *finding = (struct nextport_finding){.severity = rules[rule].severity,
                                         .slug = rules[rule].slug,
                                         .first = ports.first,
                                         .last = ports.last,
                                         .text = text,
                                         .cure = rules[rule].cure,
                                         .evidence = proof->items,
                                         .n_evidence = proof->n};
}

static struct nextport_range only(uint16_t port)
{
    return (struct nextport_range){port, port};
}

static struct nextport_claim claim_of(const struct nextport_lease *lease)
{
    return (struct nextport_claim){.first = lease->port,
                                   .last = lease->port,
                                   .protocol = lease->protocol,
                                   .kind = NEXTPORT_LEASED,
                                   .holder = lease->owner ? lease->owner : lease->name,
                                   .detail = np_state_name(lease->state),
                                   .source = "ledger",
                                   .count = 1};
}

/* port 49000, leased to shop/QA as "Port" */
static const char *lease_text(struct auditor *a, const struct nextport_lease *lease)
{
    if (lease->owner)
        return np_sprintf(a->arena, "port %u, leased to %s as \"%s\"", lease->port, lease->owner, lease->name);
    return np_sprintf(a->arena, "port %u, leased as \"%s\"", lease->port, lease->name);
}

/* Is the lease one that somebody relies on? One that was given back is not. */
static bool counts(const struct nextport_lease *lease)
{
    return lease->state != NEXTPORT_RESTING;
}

/* ---- The index ----------------------------------------------------------------------------------------------- */

static int compare_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static const struct family *family_of(const struct nextport_claim *claim)
{
    for (size_t i = 0; claim->scheme && i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].scheme, claim->scheme) == 0)
            return &families[i];
    return NULL;
}

static const char *family_name(const struct nextport_claim *claim)
{
    const struct family *family = family_of(claim);
    return family ? family->name : claim->scheme;
}

/* What is configured, by who can share with whom, then sockets by their program; each by address. */
static int compare_kinds(const struct nextport_claim *a, const struct nextport_claim *b)
{
    int d = compare_number(a->kind == NEXTPORT_SOCKET, b->kind == NEXTPORT_SOCKET);
    return d ? d : a->kind == NEXTPORT_SOCKET ? np_compare(a->holder, b->holder) : 0;
}

static int compare_groups(const struct nextport_claim *a, const struct nextport_claim *b)
{
    int d = np_compare(a->source, b->source);
    return d ? d : np_compare(family_name(a), family_name(b));
}

static int compare_endpoints(const struct nextport_claim *a, const struct nextport_claim *b)
{
    int d = np_compare_nocase(a->address, b->address);
    return d ? d : np_compare_nocase(a->host, b->host);
}

static int compare_uses(const void *pa, const void *pb)
{
    const struct nextport_claim *a = *(const struct nextport_claim *const *)pa,
                                *b = *(const struct nextport_claim *const *)pb;
    int d = compare_kinds(a, b);
    d = d ? d : compare_groups(a, b);
    d = d ? d : compare_endpoints(a, b);
    d = d ? d : np_compare(a->holder, b->holder);
    d = d ? d : np_compare(a->scheme, b->scheme);
    d = d ? d : np_compare(a->file, b->file);
    d = d ? d : compare_number(a->line, b->line);
    d = d ? d : compare_number(a->protocol, b->protocol);
    return d ? d : compare_number(a->pid, b->pid); /* of equal ones, show the oldest */
}

static bool is_use(const struct nextport_claim *claim)
{
    return claim->first && claim->certainty != NEXTPORT_UNRESOLVED && np_claim_is_use(claim);
}

static void index_uses(struct auditor *a)
{
    const struct np_evidence *evidence = a->ask->evidence;
    a->first = np_alloc_array(a->arena, PORTS + 2, sizeof *a->first);
    for (size_t i = 0; i < evidence->n_claims; i++)
        for (uint32_t port = evidence->claims[i].first;
             is_use(&evidence->claims[i]) && port <= evidence->claims[i].last; port++)
            a->first[port + 2]++;
    for (uint32_t port = 2; port < PORTS + 2; port++)
        a->first[port] += a->first[port - 1];
    /* first[port + 1] is where the next claim of `port` goes, and in the end where those of port + 1 begin */
    a->uses = np_alloc_array(a->arena, a->first[PORTS + 1], sizeof *a->uses);
    for (size_t i = 0; i < evidence->n_claims; i++)
        for (uint32_t port = evidence->claims[i].first;
             is_use(&evidence->claims[i]) && port <= evidence->claims[i].last; port++)
            a->uses[a->first[port + 1]++] = &evidence->claims[i];
    for (uint32_t port = 1; port < PORTS; port++) {
        struct slice slice = slice_of(a, (uint16_t)port);
        if (slice.n > 1)
            qsort(slice.items, slice.n, sizeof *slice.items, compare_uses);
    }
}

static void collect_leases(struct auditor *a)
{
    for (size_t i = 0; i < a->ask->leases->n; i++)
        np_portset_add(&a->leased, a->ask->leases->items[i].port, a->ask->leases->items[i].port);
    for (size_t i = 0; i < a->ask->evidence->n_claims; i++)
        if (a->ask->evidence->claims[i].kind == NEXTPORT_LEASED)
            np_portset_add(&a->leased, a->ask->evidence->claims[i].first, a->ask->evidence->claims[i].last);
}

/* ---- Two holders --------------------------------------------------------------------------------------------- */

/* Where a claim listens. */
struct place {
    unsigned families; /* 1: IPv4, 2: IPv6 */
    bool every;        /* address of them */
    const char *address;
    size_t length; /* of an IPv4 address, which may stand inside an IPv6 one */
};

static struct place place_of(const char *address)
{
    static const char mapped[] = "[::ffff:";
    if (!address || !*address || strcmp(address, "*") == 0 || strcmp(address, "[::]") == 0)
        return (struct place){3, true, "", 0};
    if (strcmp(address, "0.0.0.0") == 0)
        return (struct place){1, true, "", 0};
    const size_t prefix = strlen(mapped);
    if (strncmp(address, mapped, prefix) == 0 && strchr(address, '.'))
        return (struct place){1, false, address + prefix, strcspn(address + prefix, "]")};
    return (struct place){strchr(address, ':') ? 2 : 1, false, address, strlen(address)};
}

/* Could a connection be meant for both? */
static bool meet(const struct nextport_claim *a, const struct nextport_claim *b)
{
    const struct place x = place_of(a->address), y = place_of(b->address);
    if (!(x.families & y.families) || !(a->protocol & b->protocol))
        return false;
    if (x.every || y.every)
        return true;
    return x.families == 1 ? x.length == y.length && memcmp(x.address, y.address, x.length) == 0
                           : np_equal_nocase(x.address, y.address);
}

/* Is it certain enough, and known whose it is, to be called a conflict? A rule of NAT says where packets go and not for whom,
 * and may be about another address: it is no party to one. */
static bool is_declared(const struct nextport_claim *claim)
{
    return claim->kind != NEXTPORT_SOCKET && strcmp(claim->source, "nat") != 0 &&
           claim->certainty == NEXTPORT_DECLARED && claim->holder;
}

/* How many of the slice are configured or published: they come first. */
static size_t count_configured(struct slice slice)
{
    size_t n = 0;
    while (n < slice.n && slice.items[n]->kind != NEXTPORT_SOCKET)
        n++;
    return n;
}

static void find_equal(struct auditor *a, uint16_t port, struct slice run)
{
    const struct family *family = family_of(run.items[0]);
    const char *host = run.items[0]->host, *address = run.items[0]->address;
    struct proof proof = {0};
    if (family && family->by_path)
        return;
    for (size_t i = 0; i < run.n; i++)
        if (is_declared(run.items[i]))
            prove(a, &proof, run.items[i]);
    if (proof.n_names < 2)
        return;
    find(a, TWO_HOLDERS, only(port), &proof,
         np_sprintf(a->arena,
                    "port %u is configured for %s, all on the address %s and %s%s: only one of them can start", port,
                    names_of(a, &proof), address ? address : "*", host ? "for the host name " : "for every host name",
                    host ? host : ""));
}

/* Those that share a port by address and host name, and have both the same. */
static void check_equal(struct auditor *a, uint16_t port, struct slice configured)
{
    for (size_t begin = 0, end; begin < configured.n; begin = end) {
        const struct nextport_claim *one = configured.items[begin];
        for (end = begin + 1; end < configured.n; end++)
            if (compare_groups(one, configured.items[end]) != 0 || compare_endpoints(one, configured.items[end]) != 0)
                break;
        if (end > begin + 1)
            find_equal(a, port, (struct slice){configured.items + begin, end - begin});
    }
}

typedef bool clash_fn(const struct nextport_claim *, const struct nextport_claim *);

static bool conflict(const struct nextport_claim *a, const struct nextport_claim *b)
{
    return is_declared(a) && is_declared(b) && strcmp(a->holder, b->holder) != 0 && meet(a, b);
}

static const char *spoken(const struct nextport_claim *claim)
{
    return claim->scheme ? claim->scheme : claim->source;
}

/* The first of a slice in the order of addresses that has just this one, and clashes with the claim. */
static const struct nextport_claim *first_at(const char *address, struct slice sorted,
                                             const struct nextport_claim *claim, clash_fn *clash)
{
    size_t low = 0, high = sorted.n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (np_compare_nocase(sorted.items[middle]->address, address) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < sorted.n && np_compare_nocase(sorted.items[low]->address, address) == 0; low++)
        if (clash(claim, sorted.items[low]))
            return sorted.items[low];
    return NULL;
}

/* The first of a slice in the order of addresses that clashes with the claim; NULL: none. A claim on one address needs
 * only be compared with those on every address and on the same one: there may be thousands of others. */
static const struct nextport_claim *first_clash(struct auditor *a, const struct nextport_claim *claim,
                                                struct slice sorted, clash_fn *clash)
{
    const char *addresses[] = {NULL, "", "*", "0.0.0.0", "[::]", claim->address, NULL};
    const size_t n = sizeof addresses / sizeof *addresses;
    const struct place place = place_of(claim->address);
    for (size_t i = 0; place.every && i < sorted.n; i++)
        if (clash(claim, sorted.items[i]))
            return sorted.items[i];
    if (place.every)
        return NULL;
    addresses[n - 1] = np_sprintf(a->arena, "[::ffff:%s]", claim->address); /* an IPv4 address on an IPv6 socket */
    for (size_t i = 0; i < n; i++) {
        const struct nextport_claim *found = first_at(addresses[i], sorted, claim, clash);
        if (found)
            return found;
    }
    return NULL;
}

/* Those that do not speak the same share nothing but different addresses. One pair tells of two groups. */
static void compare_two_groups(struct auditor *a, uint16_t port, struct slice group, struct slice others)
{
    for (size_t i = 0; i < group.n; i++) {
        const struct nextport_claim *one = group.items[i], *other = first_clash(a, one, others, conflict);
        struct proof proof = {0};
        if (!other)
            continue;
        prove(a, &proof, one);
        prove(a, &proof, other);
        find(a, TWO_HOLDERS, only(port), &proof,
             np_sprintf(a->arena, "port %u is configured for \"%s\" (%s) and for \"%s\" (%s), which cannot share it",
                        port, one->holder, spoken(one), other->holder, spoken(other)));
        return;
    }
}

/* The group that begins at `begin`: of one source, and able to share. */
static struct slice group_at(struct slice configured, size_t begin)
{
    size_t end = begin;
    while (end < configured.n && compare_groups(configured.items[begin], configured.items[end]) == 0)
        end++;
    return (struct slice){configured.items + begin, end - begin};
}

static void check_unlike(struct auditor *a, uint16_t port, struct slice configured)
{
    struct slice group, others;
    for (size_t i = 0; i < configured.n; i += group.n) {
        group = group_at(configured, i);
        for (size_t j = i + group.n; j < configured.n; j += others.n) {
            others = group_at(configured, j);
            compare_two_groups(a, port, group, others);
        }
    }
}

/* Is the program, as the system shows it ("w3wp.exe", "svchost.exe (ftpsvc, W3SVC)"), called so, or has it such a
 * service? */
static bool is_called(const char *program, const char *word)
{
    const char *services = strstr(program, " (");
    struct np_text name = {program, services ? (size_t)(services - program) : strlen(program)}, service, rest;
    if (name.len > 4 && np_text_is_nocase((struct np_text){name.ptr + name.len - 4, 4}, ".exe"))
        name.len -= 4;
    if (np_text_is_nocase(name, word))
        return true;
    if (!services)
        return false;
    rest = (struct np_text){services + 2, strcspn(services + 2, ")")};
    while (np_text_split(&rest, ',', &service))
        if (np_text_is_nocase(np_text_trim(service), word))
            return true;
    return false;
}

static bool is_one_of(const char *const *programs, const char *program)
{
    for (; *programs; programs++)
        if (is_called(program, *programs))
            return true;
    return false;
}

static const char *const *programs_of(const struct auditor *a, const char *source)
{
    return a->ask->programs ? a->ask->programs(source) : NULL;
}

/* Is it certain that the program is another one than what the claim is configured for? */
static bool is_stranger(const struct auditor *a, const struct nextport_claim *claim,
                        const struct nextport_claim *socket)
{
    const char *const *programs = programs_of(a, claim->source);
    return programs && !is_one_of(programs, socket->holder) && strcmp(socket->holder, claim->holder) != 0;
}

static void check_program(struct auditor *a, uint16_t port, struct slice configured, struct slice sockets)
{
    const struct nextport_claim *socket = sockets.items[0];
    struct proof proof = {0}, shown = {0};
    for (size_t i = 0; i < configured.n; i++) {
        const struct nextport_claim *claim = configured.items[i];
        if (is_declared(claim) && is_stranger(a, claim, socket) && first_clash(a, claim, sockets, meet))
            prove(a, &proof, claim);
    }
    if (!proof.n)
        return;
    prove(a, &shown, socket);
    for (size_t i = 0; i < proof.n; i++)
        prove(a, &shown, &proof.items[i]);
    find(a, TWO_HOLDERS, only(port), &shown,
         np_sprintf(a->arena, "port %u is configured for %s, and the program %s has it", port, names_of(a, &proof),
                    socket->holder));
}

/* What is configured, and each program that has a socket there. */
static void check_programs(struct auditor *a, uint16_t port, struct slice configured, struct slice sockets)
{
    for (size_t begin = 0, end; begin < sockets.n; begin = end) {
        for (end = begin + 1; end < sockets.n; end++)
            if (!np_equal(sockets.items[begin]->holder, sockets.items[end]->holder))
                break;
        if (sockets.items[begin]->holder)
            check_program(a, port, configured, (struct slice){sockets.items + begin, end - begin});
    }
}

static void check_two_holders(struct auditor *a, uint16_t port, struct slice slice)
{
    const size_t n = count_configured(slice);
    const struct slice configured = {slice.items, n}, sockets = {slice.items + n, slice.n - n};
    check_equal(a, port, configured);
    check_unlike(a, port, configured);
    check_programs(a, port, configured, sockets);
}

/* ---- What is kept for others --------------------------------------------------------------------------------- */

/* Those who count on one of the range's ports: what is configured there, and leases. `working`: also where somebody
 * listens, who could bind it after all. */
static void prove_users(struct auditor *a, struct proof *proof, const struct nextport_claim *range, uint16_t port,
                        bool working)
{
    const struct slice slice = slice_of(a, port);
    const struct nextport_lease *lease = np_leases_at(a->ask->leases, port);
    const size_t configured = count_configured(slice);
    if (slice.n > configured && !working)
        return;
    for (size_t i = 0; i < configured; i++)
        if (is_declared(slice.items[i]) && slice.items[i]->protocol & range->protocol)
            prove(a, proof, slice.items[i]);
    if (lease && a->ask->has_ledger && counts(lease) && lease->protocol & range->protocol) {
        const struct nextport_claim claim = claim_of(lease);
        prove(a, proof, &claim);
    }
}

/* What the system gives to nobody. A service of the system keeps ports back while it has them itself, so that a port in
 * use proves that its user may have it. */
static void check_excluded(struct auditor *a, const struct nextport_claim *range, struct np_portset *told)
{
    for (uint32_t port = range->first; port <= range->last; port++) {
        struct proof proof = {0}, shown = {0};
        if (np_portset_has(told, (uint16_t)port))
            continue;
        prove_users(a, &proof, range, (uint16_t)port, false);
        if (!proof.n)
            continue;
        np_portset_add(told, (uint16_t)port, (uint16_t)port);
        prove(a, &shown, range);
        for (size_t i = 0; i < proof.n; i++)
            prove(a, &shown, &proof.items[i]);
        find(a, EXCLUDED, only((uint16_t)port), &shown,
             np_sprintf(a->arena, "port %u of %s lies in %u-%u, which the system keeps back (%s: %s)", (unsigned)port,
                        names_of(a, &proof), range->first, range->last, range->holder ? range->holder : "unknown",
                        range->detail ? range->detail : "excluded"));
    }
}

/* A range that a server keeps for itself, as FTP does for its data. */
static void check_range(struct auditor *a, const struct nextport_claim *range)
{
    struct proof proof = {0}, shown = {0};
    for (uint32_t port = range->first; port <= range->last; port++)
        prove_users(a, &proof, range, (uint16_t)port, true);
    if (!proof.n)
        return;
    prove(a, &shown, range);
    for (size_t i = 0; i < proof.n; i++)
        prove(a, &shown, &proof.items[i]);
    const struct nextport_range ports = {range->first, range->last};
    find(a, RESERVED_RANGE, ports, &shown,
         np_sprintf(a->arena, "ports %u-%u are kept for %s (%s), and %s count%s on ports inside", range->first,
                    range->last, range->holder ? range->holder : range->source,
                    range->detail ? range->detail : "reserved", names_of(a, &proof), proof.n_names == 1 ? "s" : ""));
}

/* They have a finding of their own. */
static bool is_node_ports(const struct nextport_claim *claim)
{
    return claim->kind == NEXTPORT_RESERVED && strcmp(claim->source, "kubernetes") == 0;
}

static void check_reserved(struct auditor *a)
{
    const struct np_evidence *evidence = a->ask->evidence;
    struct np_portset told = {{0}};
    for (size_t i = 0; i < evidence->n_claims; i++) {
        const struct nextport_claim *claim = &evidence->claims[i];
        if (claim->kind != NEXTPORT_RESERVED || !claim->first || is_node_ports(claim))
            continue;
        if (strcmp(claim->source, "os") != 0 && claim->first < claim->last)
            check_range(a, claim);
        else if (strcmp(claim->source, "os") == 0 && np_portset_has(&a->ask->excluded, claim->first))
            check_excluded(a, claim, &told);
    }
}

/* ---- Leases -------------------------------------------------------------------------------------------------- */

static bool is_used(const struct auditor *a, const struct nextport_lease *lease)
{
    const struct slice slice = slice_of(a, lease->port);
    for (size_t i = 0; i < slice.n; i++)
        if (slice.items[i]->protocol & lease->protocol)
            return true;
    return false;
}

/* The source of the holder that the lease has recorded; NULL: not said. */
static const char *recorded_source(struct auditor *a, const struct nextport_lease *lease)
{
    const char *colon = strstr(lease->holder, ": ");
    return colon ? np_strndup(a->arena, lease->holder, (size_t)(colon - lease->holder)) : NULL;
}

/* Would it have been seen? */
static bool was_seen(const struct auditor *a, const char *source)
{
    const struct nextport_sighting *s = source ? np_evidence_sighting(a->ask->evidence, source) : NULL;
    return a->ask->whole || (s && (s->sight == NEXTPORT_SEEN || (s->sight == NEXTPORT_ABSENT && !s->why)));
}

/* A known holder that is not the one recorded, as long as the one recorded is not seen, and would be, and nobody is
 * unknown. A program of the source that was recorded may be the holder's. */
static const struct nextport_claim *usurper(struct auditor *a, const struct nextport_lease *lease)
{
    const struct slice slice = slice_of(a, lease->port);
    const char *source = recorded_source(a, lease);
    const char *const *own = source ? programs_of(a, source) : NULL;
    const struct nextport_claim *found = NULL;
    if (!was_seen(a, source))
        return NULL;
    for (size_t i = 0; i < slice.n; i++) {
        const struct nextport_claim *claim = slice.items[i];
        if (!(claim->protocol & lease->protocol))
            continue;
        if (!claim->holder || np_holder_kin(lease->holder, claim) != NP_STRANGER)
            return NULL;
        if (!found && !(claim->kind == NEXTPORT_SOCKET && own && is_one_of(own, claim->holder)))
            found = claim;
    }
    return found;
}

static void check_holder(struct auditor *a, const struct nextport_lease *lease)
{
    const struct nextport_claim *found = lease->owner && lease->holder && counts(lease) ? usurper(a, lease) : NULL,
                                own = claim_of(lease);
    struct proof proof = {0};
    if (!found)
        return;
    prove(a, &proof, found);
    prove(a, &proof, &own);
    find(a, WRONG_HOLDER, only(lease->port), &proof,
         np_sprintf(a->arena, "%s, was used by %s, and now %s has it", lease_text(a, lease), lease->holder,
                    np_holder_of(a->arena, found)));
}

static bool is_overdue(const struct np_audit *ask, const struct nextport_lease *lease)
{
    return lease->state == NEXTPORT_PENDING && lease->expires && lease->expires < ask->now;
}

static const char *since_when(struct auditor *a, const struct nextport_lease *lease)
{
    const struct np_audit *ask = a->ask;
    const char *holder = lease->holder ? lease->holder : "somebody unknown";
    if (lease->state == NEXTPORT_PENDING)
        return np_sprintf(a->arena, "it was promised until %s", ask->time_text(a->arena, lease->expires));
    if (lease->state == NEXTPORT_CONFIRMED)
        return np_sprintf(a->arena, "%s was seen there on %s", holder, ask->time_text(a->arena, lease->renewed));
    return np_sprintf(a->arena, "%s was missed there first on %s", holder,
                      ask->time_text(a->arena, lease->expires - ask->settings->lifetimes.absent_s));
}

/* What was not seen proves nothing unless everything was looked at. */
static void check_use(struct auditor *a, const struct nextport_lease *lease)
{
    const bool overdue = is_overdue(a->ask, lease);
    const struct nextport_claim own = claim_of(lease);
    struct proof proof = {0};
    if (!a->ask->whole || !counts(lease) || (lease->state == NEXTPORT_PENDING && !overdue) || is_used(a, lease))
        return;
    prove(a, &proof, &own);
    find(a, overdue ? OVERDUE : UNUSED_LEASE, only(lease->port), &proof,
         np_sprintf(a->arena, "nothing uses %s: %s", lease_text(a, lease), since_when(a, lease)));
}

static void check_leases(struct auditor *a)
{
    for (size_t i = 0; i < a->ask->leases->n && a->ask->has_ledger; i++) {
        check_holder(a, &a->ask->leases->items[i]);
        check_use(a, &a->ask->leases->items[i]);
    }
}

static void check_no_lease(struct auditor *a, uint16_t port, struct slice slice)
{
    struct proof proof = {0};
    if (!a->ask->has_ledger || np_portset_has(&a->leased, port) || !np_portset_has(&a->pool, port))
        return;
    for (size_t i = 0; i < slice.n; i++)
        if (slice.items[i]->kind == NEXTPORT_CONFIGURED && slice.items[i]->holder)
            prove(a, &proof, slice.items[i]);
    if (proof.n)
        find(
            a, NO_LEASE, only(port), &proof,
            np_sprintf(a->arena, "port %u of the pool is configured for %s and not leased", port, names_of(a, &proof)));
}

/* ---- Bindings ------------------------------------------------------------------------------------------------ */

/* By what is one service of one site on several ports. */
static int compare_services(const struct nextport_claim *a, const struct nextport_claim *b)
{
    int d = np_compare(a->source, b->source);
    d = d ? d : np_compare(a->holder, b->holder);
    d = d ? d : np_compare(a->file, b->file);
    d = d ? d : np_compare(a->scheme, b->scheme);
    return d ? d : compare_endpoints(a, b);
}

static int compare_bindings(const void *pa, const void *pb)
{
    const struct nextport_claim *a = *(const struct nextport_claim *const *)pa,
                                *b = *(const struct nextport_claim *const *)pb;
    int d = compare_services(a, b);
    d = d ? d : compare_number(a->first, b->first);
    return d ? d : compare_number(a->line, b->line);
}

/* "49000, 49001 and 5 more" */
static const char *ports_of(struct auditor *a, const struct proof *proof)
{
    enum { SHOWN = 5 };
    struct np_buf out = {.arena = a->arena};
    for (size_t i = 0; i < proof->n && i < SHOWN; i++)
        np_buf_printf(&out, "%s%u", i == 0 ? "" : i + 1 == proof->n_total ? " and " : ", ", proof->items[i].first);
    if (proof->n_total > SHOWN)
        np_buf_printf(&out, " and %zu more", proof->n_total - SHOWN);
    return out.ptr;
}

static void find_leftovers(struct auditor *a, struct slice run)
{
    struct proof all = {0}, open = {0};
    for (size_t i = 0; i < run.n; i++) {
        if (i > 0 && run.items[i]->first == run.items[i - 1]->first)
            continue;
        prove(a, &all, run.items[i]);
        if (!np_portset_has(&a->leased, run.items[i]->first))
            prove(a, &open, run.items[i]);
    }
    if (all.n_total < 2 || (a->ask->has_ledger && !open.n))
        return;
    const char *leased =
        !a->ask->has_ledger ? ""
        : open.n_total == all.n_total
            ? ", none of them leased"
            : np_sprintf(a->arena, ", of which %s %s not leased", ports_of(a, &open), open.n_total == 1 ? "is" : "are");
    find(a, LEFTOVER_BINDINGS, only(a->ask->has_ledger ? open.items[0].first : all.items[0].first), &all,
         np_sprintf(a->arena,
                    "\"%s\" has %zu %s bindings that differ only in their ports, %s%s: deployments may have left "
                    "some behind",
                    run.items[0]->holder, all.n_total, spoken(run.items[0]), ports_of(a, &all), leased));
}

/* A section of HAProxy and a unit of systemd have as many ports as whoever wrote them wanted; no deployment merges its own
 * into them. */
static bool may_be_merged(const struct nextport_claim *claim)
{
    return strcmp(claim->source, "haproxy") != 0 && strcmp(claim->source, "systemd") != 0;
}

static void check_leftovers(struct auditor *a)
{
    const struct np_evidence *evidence = a->ask->evidence;
    struct slice all = {np_alloc_array(a->arena, evidence->n_claims, sizeof *all.items), 0};
    for (size_t i = 0; i < evidence->n_claims; i++) {
        const struct nextport_claim *claim = &evidence->claims[i];
        if (claim->kind == NEXTPORT_CONFIGURED && is_declared(claim) && may_be_merged(claim) &&
            claim->first == claim->last && np_portset_has(&a->pool, claim->first))
            all.items[all.n++] = claim;
    }
    if (all.n > 1)
        qsort(all.items, all.n, sizeof *all.items, compare_bindings);
    for (size_t begin = 0, end; begin < all.n; begin = end) {
        for (end = begin + 1; end < all.n; end++)
            if (compare_services(all.items[begin], all.items[end]) != 0)
                break;
        find_leftovers(a, (struct slice){all.items + begin, end - begin});
    }
}

static bool same_setting(const struct nextport_claim *a, const struct nextport_claim *b)
{
    return a->kind == b->kind && a->line == b->line && np_compare(a->source, b->source) == 0 &&
           np_compare(a->file, b->file) == 0 && np_compare(a->holder, b->holder) == 0;
}

static void check_malformed(struct auditor *a)
{
    const struct np_evidence *evidence = a->ask->evidence;
    for (size_t i = 0, next; i < evidence->n_claims; i = next) {
        const struct nextport_claim *claim = &evidence->claims[i];
        struct proof proof = {0};
        for (next = i; next < evidence->n_claims && same_setting(claim, &evidence->claims[next]); next++)
            prove(a, &proof, &evidence->claims[next]);
        if (claim->kind == NEXTPORT_SUSPECT)
            find(a, MALFORMED, only(claim->first), &proof,
                 np_sprintf(a->arena, "a setting of \"%s\" is malformed (%s): it takes no port, and %s %s avoided",
                            claim->holder ? claim->holder : claim->source, claim->detail ? claim->detail : "no detail",
                            ports_of(a, &proof), proof.n_total == 1 ? "is" : "are"));
    }
}

static bool is_web(const struct nextport_claim *claim)
{
    const struct family *family = is_declared(claim) ? family_of(claim) : NULL;
    return family && strcmp(family->name, "http") == 0;
}

static void check_browsers(struct auditor *a)
{
    struct np_portset blocked = {{0}};
    np_hazards_browser(&blocked);
    for (uint16_t port = np_portset_next(&blocked, 1); port;
         port = port < 65535 ? np_portset_next(&blocked, (uint16_t)(port + 1)) : 0) {
        const struct slice slice = slice_of(a, port);
        const struct nextport_lease *lease = np_leases_at(a->ask->leases, port);
        struct proof proof = {0};
        for (size_t i = 0; i < slice.n; i++)
            if (is_web(slice.items[i]))
                prove(a, &proof, slice.items[i]);
        if (lease && a->ask->has_ledger && counts(lease)) {
            const struct nextport_claim claim = claim_of(lease);
            prove(a, &proof, &claim);
        }
        if (proof.n)
            find(a, BROWSER_BLOCKED, only(port), &proof,
                 np_sprintf(a->arena, "browsers do not connect to port %u, which %s %s", port, names_of(a, &proof),
                            proof.n_names == 1 ? "has" : "have"));
    }
}

/* ---- Rules that take what a program listens for ----------------------------------------------------------------- */

/* Those who make such rules for their containers and services keep the ports by sockets as well: it is one thing. */
static bool makes_rules(const struct auditor *a, const struct nextport_claim *claim)
{
    static const char *const engines[] = {"docker", "podman"};
    static const char *const agents[] = {"kube-proxy", "kubelet", "k3s",     "k3s-server", "k3s-agent", "rke2",
                                         "k0s",        "crio",    "nerdctl", "containerd", NULL};
    if (claim->kind != NEXTPORT_SOCKET || !claim->holder)
        return false;
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        const char *const *programs = programs_of(a, engines[i]);
        if (programs && is_one_of(programs, claim->holder))
            return true;
    }
    return is_one_of(agents, claim->holder);
}

/* Does somebody who connects from elsewhere look for this one, and meet the rule instead? What only this machine reaches is
 * not concerned, nor is a program that cannot be seen: it may be the rule's own. */
static bool is_robbed(const struct np_fact *rule, const struct nextport_claim *claim)
{
    const char *address = claim->address ? claim->address : "*";
    const bool is_local = strncmp(address, "127.", 4) == 0 || strncmp(address, "[::ffff:127.", 12) == 0 ||
                          strcmp(address, "[::1]") == 0 || np_equal_nocase(address, "localhost");
    const bool is_4_only = place_of(address).families == 1,
               is_rule_6 = rule->where.address && strchr(rule->where.address, ':');
    if (is_local || (is_4_only && is_rule_6) || !claim->holder || !meet(&rule->where, claim))
        return false;
    return claim->kind == NEXTPORT_SOCKET || (claim->kind == NEXTPORT_CONFIGURED && is_declared(claim));
}

/* Does the rule lead to another port of the same program? */
static bool is_given_back(const struct auditor *a, const struct np_fact *rule, uint16_t port,
                          const struct nextport_claim *claim)
{
    if (!rule->ends || rule->ends == port)
        return rule->ends == port;
    const struct slice slice = slice_of(a, rule->ends);
    for (size_t i = 0; i < slice.n; i++)
        if (slice.items[i]->holder && slice.items[i]->kind == claim->kind &&
            strcmp(slice.items[i]->holder, claim->holder) == 0)
            return true;
    return false;
}

static void check_hijack(struct auditor *a, const struct np_fact *rule, uint16_t port, struct np_portset *told)
{
    const struct slice slice = slice_of(a, port);
    struct proof proof = {0}, shown = {0};
    for (size_t i = 0; i < slice.n; i++) {
        if (makes_rules(a, slice.items[i]))
            return;
        if (is_robbed(rule, slice.items[i]) && !is_given_back(a, rule, port, slice.items[i]))
            prove(a, &proof, slice.items[i]);
    }
    if (!proof.n)
        return;
    np_portset_add(told, port, port);
    prove(a, &shown, &rule->where);
    for (size_t i = 0; i < proof.n; i++)
        prove(a, &shown, &proof.items[i]);
    find(a, HIJACKED, only(port), &shown,
         np_sprintf(a->arena, "connections from elsewhere to port %u do not reach %s: a NAT rule (%s) says %s", port,
                    names_of(a, &proof), rule->where.detail, rule->where.holder));
}

static void check_hijacks(struct auditor *a)
{
    struct np_portset told = {{0}};
    for (size_t i = 0; i < a->ask->evidence->n_facts; i++) {
        const struct np_fact *fact = &a->ask->evidence->facts[i];
        if (strcmp(fact->slug, rules[HIJACKED].slug) != 0)
            continue;
        for (uint32_t port = fact->where.first; port <= fact->where.last; port++)
            if (!np_portset_has(&told, (uint16_t)port))
                check_hijack(a, fact, (uint16_t)port, &told);
    }
}

/* ---- The machine --------------------------------------------------------------------------------------------- */

static void check_facts(struct auditor *a)
{
    for (size_t i = 0; i < a->ask->evidence->n_facts; i++) {
        const struct np_fact *fact = &a->ask->evidence->facts[i];
        struct proof proof = {0};
        if (strcmp(fact->slug, rules[SHARED_CONFIGURATION].slug) != 0)
            continue;
        prove(a, &proof, &fact->where);
        find(a, SHARED_CONFIGURATION, only(0), &proof,
             np_sprintf(a->arena,
                        "the configuration of %s is shared with other servers (%s), and the ledger is this "
                        "machine's alone: each server may give the same port away",
                        fact->where.holder ? fact->where.holder : fact->where.source,
                        fact->where.detail ? fact->where.detail : "redirected"));
    }
}

static void check_node_range(struct auditor *a, const struct nextport_claim *range)
{
    struct proof proof = {0};
    struct nextport_range ports = {0, 0};
    for (uint32_t port = range->first; port <= range->last; port++) {
        const size_t before = proof.n_total;
        prove_users(a, &proof, range, (uint16_t)port, true);
        if (proof.n_total == before)
            continue;
        ports = (struct nextport_range){ports.first ? ports.first : (uint16_t)port, (uint16_t)port};
    }
    if (!proof.n)
        return;
    find(a, NODE_PORT, ports, &proof,
         np_sprintf(a->arena,
                    "Kubernetes runs here (%s) and gives ports from %u to %u to its services: %s count%s on ports "
                    "among them",
                    range->file ? range->file : range->source, range->first, range->last, names_of(a, &proof),
                    proof.n_names == 1 ? "s" : ""));
}

static void check_node_ports(struct auditor *a)
{
    for (size_t i = 0; i < a->ask->evidence->n_claims; i++)
        if (is_node_ports(&a->ask->evidence->claims[i]))
            check_node_range(a, &a->ask->evidence->claims[i]);
}

/* One finding for the whole pool. */
static void check_ephemeral(struct auditor *a)
{
    const struct np_audit *ask = a->ask;
    struct np_portset open = {{0}}, safe = a->pool, risky = a->pool;
    struct nextport_range run, ports = {0, 0};
    const struct proof proof = {0};
    if (!ask->ephemeral_first || ask->ephemeral_first > ask->ephemeral_last)
        return;
    np_portset_add(&open, ask->ephemeral_first, ask->ephemeral_last);
    np_portset_subtract(&open, &ask->protected);
    np_portset_subtract(&safe, &open);
    np_portset_subtract(&risky, &safe);
    for (uint32_t from = 1; np_portset_run(&risky, from, &run); from = run.last + UINT32_C(1))
        ports = (struct nextport_range){ports.first ? ports.first : run.first, run.last};
    if (!ports.first)
        return;
    find(a, EPHEMERAL, ports, &proof,
         np_sprintf(a->arena,
                    "outgoing connections take ports from %u to %u, so they may take %u of the pool's %u ports",
                    ask->ephemeral_first, ask->ephemeral_last, np_portset_count(&risky), np_portset_count(&a->pool)));
}

/* ---- All of it ----------------------------------------------------------------------------------------------- */

static int compare_findings(const void *pa, const void *pb)
{
    const struct nextport_finding *a = pa, *b = pb;
    int d = compare_number(b->severity, a->severity);
    d = d ? d : compare_number(a->first, b->first);
    d = d ? d : strcmp(a->slug, b->slug);
    return d ? d : strcmp(a->text, b->text);
}

void np_audit(const struct np_audit *ask, struct np_arena *arena, const struct nextport_finding **ret, size_t *ret_n)
{
    struct auditor a = {.ask = ask, .arena = arena, .pool = ask->settings->pool};
    np_portset_subtract(&a.pool, &ask->settings->exclude);
    index_uses(&a);
    collect_leases(&a);
    for (uint32_t port = 1; port < PORTS; port++) {
        const struct slice slice = slice_of(&a, (uint16_t)port);
        if (!slice.n)
            continue;
        check_two_holders(&a, (uint16_t)port, slice);
        check_no_lease(&a, (uint16_t)port, slice);
    }
    check_reserved(&a);
    check_leases(&a);
    check_leftovers(&a);
    check_malformed(&a);
    check_browsers(&a);
    check_facts(&a);
    check_hijacks(&a);
    check_node_ports(&a);
    check_ephemeral(&a);
    if (a.n > 1)
        qsort(a.findings, a.n, sizeof *a.findings, compare_findings);
    *ret = a.findings;
    *ret_n = a.n;
}
