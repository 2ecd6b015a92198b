/* What Windows keeps for itself: excluded port ranges, and the range of outgoing connections. No documented function
 * lists them, so netsh.exe is asked, for IPv4 and IPv6.
 *
 * That takes a good part of a second, so what it said is remembered for an hour of one start of the system, in a file beside
 * the ledger, and only believed where strangers cannot have written it. The file is a convenience: one that is damaged,
 * of another start or cannot be written is no error, only slower. Callers that find none may all ask; the last one wins.
 * SPDX-License-Identifier: MIT */
#include "host/windows/dynamic.h"
#include "host/windows/netsh.h"
#include "host/windows/os.h"
#include "host/windows/shelf.h"

#include <stdlib.h>
#include <string.h>

struct fact {
    struct np_excluded excluded;
    enum nextport_protocol protocol;
};

struct facts {
    uint64_t started, asked; /* when the system started, in Unix seconds; when netsh was asked, in seconds after that */
    struct nextport_range dynamic;
    struct fact *rows;
    size_t n, capacity;
};

static void add_fact(struct np_arena *arena, struct facts *facts, enum nextport_protocol protocol,
                     const struct np_excluded *excluded)
{
    struct fact *row = np_push(arena, &facts->rows, &facts->n, &facts->capacity, sizeof *row);
    *row = (struct fact){.excluded = *excluded, .protocol = protocol};
}

/* ---- Asking -------------------------------------------------------------------------------------------------- */

static const struct question {
    const char *arguments;
    enum nextport_protocol protocol;
    bool dynamic, ipv6;
} questions[] = {
    {"int ipv4 show dynamicport tcp", NEXTPORT_TCP, true, false},
    {"int ipv6 show dynamicport tcp", NEXTPORT_TCP, true, true},
    {"int ipv4 show excludedportrange protocol=tcp", NEXTPORT_TCP, false, false},
    {"int ipv6 show excludedportrange protocol=tcp", NEXTPORT_TCP, false, true},
    {"int ipv4 show excludedportrange protocol=udp", NEXTPORT_UDP, false, false},
    {"int ipv6 show excludedportrange protocol=udp", NEXTPORT_UDP, false, true},
};

/* Where the ranges of IPv4 and IPv6 differ, what reaches from the lower to the upper end: a pool beside it is safe from
 * both. */
static bool learn_dynamic(struct facts *facts, struct np_text said)
{
    struct nextport_range range;
    if (!np_netsh_dynamic(said, &range))
        return false;
    struct nextport_range *all = &facts->dynamic;
    if (all->first == 0 || range.first < all->first)
        all->first = range.first;
    if (range.last > all->last)
        all->last = range.last;
    return true;
}

static bool learn_excluded(struct np_arena *arena, struct facts *facts, enum nextport_protocol protocol,
                           struct np_text said)
{
    const struct np_excluded *rows;
    size_t n;
    if (!np_netsh_excluded(arena, said, &rows, &n))
        return false;
    for (size_t i = 0; i < n; i++)
        add_fact(arena, facts, protocol, &rows[i]);
    return true;
}

/* Twice, because a process may fail to start for reasons that pass: a scanner that has the file, a moment without
 * memory. What it says is not asked for again. */
enum nextport_status np_netsh_run(struct np_arena *arena, const char *arguments, struct np_text *ret, DWORD *ret_ended,
                                  enum nextport_status status, struct nextport_error *err)
{
    enum { LIMIT = 1 << 20, WAIT_MS = 15000, PAUSE_MS = 100 };
    const wchar_t *words = np_wide(arena, arguments);
    if (np_run_program(arena, L"netsh.exe", words, LIMIT, WAIT_MS, ret, ret_ended, status, err) == NEXTPORT_OK)
        return NEXTPORT_OK;
    Sleep(PAUSE_MS);
    return np_run_program(arena, L"netsh.exe", words, LIMIT, WAIT_MS, ret, ret_ended, status, err);
}

static enum nextport_status ask(struct np_arena *arena, const struct question *question, struct facts *facts,
                                struct nextport_error *err)
{
    const char *arguments = question->arguments;
    struct np_text said;
    DWORD ended;
    if (np_netsh_run(arena, arguments, &said, &ended, NEXTPORT_BLIND, err) == NEXTPORT_OK) {
        /* A whole answer is one, whatever it ended with: netsh's statuses are not documented. */
        if (question->dynamic ? learn_dynamic(facts, said) : learn_excluded(arena, facts, question->protocol, said))
            return NEXTPORT_OK;
        np_fail(err, NEXTPORT_BLIND, "netsh %s: it said nothing that can be read, and ended with status %lu", arguments,
                ended);
    }
    np_hint(err,
            "It says which ports Windows keeps for itself. See what 'netsh %s' prints; '--policy os=warn' accepts the "
            "risk.",
            arguments);
    return err->status;
}

static int compare_facts(const void *one, const void *other)
{
    const struct fact *a = one, *b = other;
    if (a->protocol != b->protocol)
        return a->protocol < b->protocol ? -1 : 1;
    if (a->excluded.ports.first != b->excluded.ports.first)
        return a->excluded.ports.first < b->excluded.ports.first ? -1 : 1;
    if (a->excluded.ports.last != b->excluded.ports.last)
        return a->excluded.ports.last < b->excluded.ports.last ? -1 : 1;
    return (int)a->excluded.administered - (int)b->excluded.administered;
}

/* What holds for IPv4 usually holds for IPv6 too, and is said once. */
static void merge_equal(struct facts *facts)
{
    size_t n = 0;
    if (facts->n > 0)
        qsort(facts->rows, facts->n, sizeof *facts->rows, compare_facts);
    for (size_t i = 0; i < facts->n; i++)
        if (n == 0 || compare_facts(&facts->rows[n - 1], &facts->rows[i]) != 0)
            facts->rows[n++] = facts->rows[i];
    facts->n = n;
}

/* Only where the system says so itself: any other failure is no reason not to ask. */
bool np_has_no_ipv6(void)
{
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    if (np_winsock(&ignored) != NEXTPORT_OK)
        return false;
    const SOCKET s = socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP);
    if (s == INVALID_SOCKET)
        return WSAGetLastError() == WSAEAFNOSUPPORT;
    closesocket(s);
    return false;
}

static enum nextport_status ask_all(struct np_arena *arena, struct facts *facts, struct nextport_error *err)
{
    const bool only_ipv4 = np_has_no_ipv6();
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        if (!(only_ipv4 && questions[i].ipv6) && ask(arena, &questions[i], facts, err) != NEXTPORT_OK)
            return err->status;
    merge_equal(facts);
    return NEXTPORT_OK;
}

/* ---- The words of the file ----------------------------------------------------------------------------------- */

static const char header[] = "nextport os-ports 1";

static struct np_text write_facts(struct np_arena *arena, const struct facts *facts)
{
    struct np_buf out = {.arena = arena};
    np_buf_printf(&out, "%s\nstarted %llu\nasked %llu\ndynamic %u %u\n", header, (unsigned long long)facts->started,
                  (unsigned long long)facts->asked, facts->dynamic.first, facts->dynamic.last);
    for (size_t i = 0; i < facts->n; i++) {
        const struct np_excluded *e = &facts->rows[i].excluded;
        np_buf_printf(&out, "%s %u %u%s\n", facts->rows[i].protocol == NEXTPORT_UDP ? "udp" : "tcp", e->ports.first,
                      e->ports.last, e->administered ? " *" : "");
    }
    np_buf_puts(&out, "end\n");
    return (struct np_text){out.ptr, out.len};
}

/* "WORD NUMBER" */
static bool parse_time(struct np_text *rest, const char *word, uint64_t *ret)
{
    struct np_text line, first;
    return np_text_split(rest, '\n', &line) && np_text_split(&line, ' ', &first) && np_text_is(first, word) &&
           np_text_u64(line, INT64_MAX, ret);
}

/* "PORT PORT" and perhaps "*" */
static bool parse_range(struct np_text line, struct np_excluded *ret)
{
    struct np_text first, last;
    if (!np_text_split(&line, ' ', &first) || !np_text_split(&line, ' ', &last) ||
        !np_text_port(first, &ret->ports.first) || !np_text_port(last, &ret->ports.last))
        return false;
    ret->administered = line.len > 0;
    return ret->ports.first <= ret->ports.last && (!ret->administered || np_text_is(line, "*"));
}

static bool parse_facts(struct np_arena *arena, struct np_text text, struct facts *ret)
{
    struct np_text line, word;
    struct np_excluded row;
    if (!np_text_split(&text, '\n', &line) || !np_text_is(line, header) ||
        !parse_time(&text, "started", &ret->started) || !parse_time(&text, "asked", &ret->asked) ||
        !np_text_split(&text, '\n', &line) || !np_text_split(&line, ' ', &word) || !np_text_is(word, "dynamic") ||
        !parse_range(line, &row) || row.administered)
        return false;
    ret->dynamic = row.ports;
    while (np_text_split(&text, '\n', &line)) {
        if (np_text_is(line, "end"))
            return text.len == 0;
        if (!np_text_split(&line, ' ', &word) || !(np_text_is(word, "tcp") || np_text_is(word, "udp")) ||
            !parse_range(line, &row))
            return false;
        add_fact(arena, ret, np_text_is(word, "udp") ? NEXTPORT_UDP : NEXTPORT_TCP, &row);
    }
    return false;
}

/* ---- Remembering --------------------------------------------------------------------------------------------- */

static const char file_name[] = "os-ports";
static const enum np_place places[] = {NP_PLACE_MACHINE, NP_PLACE_USER};

/* Two starts are one when they lie closer than this: the clock may be set, or run unlike the counter of the time since the
 * start. What was asked sooner after a start is not remembered, because the next start could then be as close, and
 * because services that keep ranges for themselves may still be starting. */
enum { TOLERANCE_S = 60 };

static void set_times(struct facts *facts)
{
    const uint64_t up = GetTickCount64() / 1000, now = (uint64_t)np_host_now();
    facts->asked = up;
    facts->started = now > up ? now - up : 0;
}

/* An administrator may exclude a range at any time, and nothing tells: it is seen within the hour. */
enum { BELIEVED_S = 3600 };

static bool is_of_this_start(const struct facts *facts, const struct facts *now)
{
    const uint64_t apart =
        facts->started > now->started ? facts->started - now->started : now->started - facts->started;
    return apart < TOLERANCE_S && facts->asked >= TOLERANCE_S && facts->asked <= now->asked &&
           now->asked - facts->asked < BELIEVED_S;
}

/* Whoever is no administrator writes beside their own ledger, so the later word counts. */
static bool recall(struct np_arena *arena, struct facts *ret)
{
    struct facts now = {0};
    struct np_shelf shelf;
    struct np_text text;
    bool found = false;
    set_times(&now);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct facts facts = {0};
        if (!np_shelf_find(arena, places[i], &shelf) || !np_shelf_read(arena, &shelf, file_name, &text) ||
            !parse_facts(arena, text, &facts) || !is_of_this_start(&facts, &now) ||
            (found && facts.asked <= ret->asked))
            continue;
        *ret = facts;
        found = true;
    }
    return found;
}

static void remember(struct np_arena *arena, const struct facts *facts)
{
    const struct np_text text = write_facts(arena, facts);
    struct np_shelf shelf;
    if (facts->asked < TOLERANCE_S)
        return;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if ((places[i] != NP_PLACE_MACHINE || np_host_privileged()) && np_shelf_find(arena, places[i], &shelf) &&
            np_shelf_write(arena, &shelf, file_name, text))
            return;
}

void np_forget_os_ports(struct np_arena *arena)
{
    struct np_shelf shelf;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (np_shelf_find(arena, places[i], &shelf))
            np_shelf_remove(arena, &shelf, file_name);
}

/* ---- The answer ---------------------------------------------------------------------------------------------- */

static const struct np_os_range *name_holders(struct np_arena *arena, const struct facts *facts)
{
    struct np_os_range *ranges = np_alloc_array(arena, facts->n, sizeof *ranges);
    for (size_t i = 0; i < facts->n; i++) {
        const struct fact *row = &facts->rows[i];
        ranges[i] = (struct np_os_range){.ports = row->excluded.ports,
                                         .protocol = row->protocol,
                                         .holder = "the system",
                                         .detail = "excluded port range"};
        if (row->excluded.administered) {
            ranges[i].holder = "an administrator";
            ranges[i].detail = "excluded port range, administered (HTTP.sys may not use it)";
        }
    }
    return ranges;
}

enum nextport_status np_host_os_ports(struct np_arena *arena, bool fresh, struct np_os_ports *ret,
                                      struct nextport_error *err)
{
    struct facts facts = {0};
    if (fresh || !recall(arena, &facts)) {
        facts = (struct facts){0};
        set_times(&facts); /* before: what changes while netsh speaks may be missing */
        if (ask_all(arena, &facts, err) != NEXTPORT_OK)
            return err->status;
        remember(arena, &facts);
    }
    *ret = (struct np_os_ports){.ephemeral_first = facts.dynamic.first,
                                .ephemeral_last = facts.dynamic.last,
                                .reserved_by = "the system",
                                .excluded = name_holders(arena, &facts),
                                .n_excluded = facts.n,
                                .may_bind_low = true};
    return NEXTPORT_OK;
}

const char *np_host_services_file(struct np_arena *arena)
{
    char *folder = np_narrow(arena, np_system_folder(arena));
    for (char *p = folder; *p; p++)
        if (*p == '\\')
            *p = '/';
    return np_sprintf(arena, "%s/drivers/etc/services", folder);
}
