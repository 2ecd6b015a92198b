/* What is a finding and what is none, as situations anyone can read. '_' in a name stands for a blank.
 *
 *     site NAME SCHEME ADDRESS PORT [HOST]    IIS is configured so; `dropped`: before a clear
 *     malformed NAME PORT                     a number in a setting that is none
 *     server SOURCE NAME PORT                 another source is configured so, and does not know its programs
 *     socket PROGRAM ADDRESS PORT             a standing one; PROGRAM '-': not visible; `passing`: an outgoing connection
 *     reserved SOURCE HOLDER FIRST-LAST      also `published`
 *     lease PORT STATE OWNER HOLDER           '-': none
 *     elsewhere PORT                          a lease of another ledger that this one honours
 *     pool RANGES   excluded RANGES   protected RANGES   ephemeral FIRST-LAST
 *     rule HOLDER ADDRESS PORT [ENDS]         of NAT, for who connects to that address; ends at a port of this machine
 *     kubernetes FIRST-LAST    shared            noledger           unseen SOURCE
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/audit.h"

static const int64_t NOW = 1000000;

struct scene {
    struct np_arena *arena;
    struct np_settings settings;
    struct np_evidence evidence;
    struct np_leases leases;
    struct np_audit audit;
};

/* ---- Situations ----------------------------------------------------------------------------------------------- */

enum { WORDS = 7 };

static const char *word_of(struct scene *scene, const char *text)
{
    char *word = np_strdup(scene->arena, text && strcmp(text, "-") != 0 ? text : NULL);
    for (char *p = word; p && *p; p++)
        if (*p == '_')
            *p = ' ';
    return word;
}

static uint16_t port_of(const char *text)
{
    uint16_t port = 0;
    assert_true(np_text_port(np_text_of(text), &port));
    return port;
}

static struct nextport_range range_of(const char *text)
{
    unsigned first, last;
    if (sscanf(text, "%u-%u", &first, &last) == 1)
        last = first;
    return (struct nextport_range){(uint16_t)first, (uint16_t)last};
}

static void add_ports(struct np_portset *set, const char *text)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(np_portset_parse(set, np_text_of(text), "ports", &err), NEXTPORT_OK);
}

static void add_site(struct scene *scene, char **words, enum nextport_certainty certainty)
{
    const uint16_t port = port_of(words[4]);
    np_evidence_claim(&scene->evidence, &(struct nextport_claim){.first = port,
                                                                 .last = port,
                                                                 .protocol = NEXTPORT_TCP,
                                                                 .kind = NEXTPORT_CONFIGURED,
                                                                 .certainty = certainty,
                                                                 .address = words[3],
                                                                 .holder = word_of(scene, words[1]),
                                                                 .host = words[5],
                                                                 .scheme = word_of(scene, words[2]),
                                                                 .detail = words[2],
                                                                 .source = "iis",
                                                                 .file = "a.config",
                                                                 .line = (unsigned)scene->evidence.n_claims + 1});
}

static void line_site(struct scene *scene, char **words)
{
    add_site(scene, words, NEXTPORT_DECLARED);
}

static void line_dropped(struct scene *scene, char **words)
{
    add_site(scene, words, NEXTPORT_CONDITIONAL);
}

static void add_claim(struct scene *scene, struct nextport_range ports, const char *source, const char *holder,
                      enum nextport_kind kind)
{
    np_evidence_claim(&scene->evidence, &(struct nextport_claim){.first = ports.first,
                                                                 .last = ports.last,
                                                                 .protocol = NEXTPORT_TCP,
                                                                 .kind = kind,
                                                                 .holder = word_of(scene, holder),
                                                                 .source = source,
                                                                 .file = "a.config",
                                                                 .line = 7});
}

static void line_malformed(struct scene *scene, char **words)
{
    add_claim(scene, range_of(words[2]), "iis", words[1], NEXTPORT_SUSPECT);
}

static void line_server(struct scene *scene, char **words)
{
    add_claim(scene, range_of(words[3]), words[1], words[2], NEXTPORT_CONFIGURED);
}

static void line_reserved(struct scene *scene, char **words)
{
    add_claim(scene, range_of(words[3]), words[1], words[2], NEXTPORT_RESERVED);
}

static void line_published(struct scene *scene, char **words)
{
    add_claim(scene, range_of(words[3]), words[1], words[2], NEXTPORT_PUBLISHED);
}

static void line_elsewhere(struct scene *scene, char **words)
{
    add_claim(scene, range_of(words[1]), "ledger", "somebody", NEXTPORT_LEASED);
}

static void add_socket(struct scene *scene, char **words, bool transient, enum nextport_protocol protocol)
{
    const uint16_t port = port_of(words[3]);
    np_evidence_claim(&scene->evidence, &(struct nextport_claim){.first = port,
                                                                 .last = port,
                                                                 .protocol = protocol,
                                                                 .kind = NEXTPORT_SOCKET,
                                                                 .transient = transient,
                                                                 .address = words[2],
                                                                 .holder = word_of(scene, words[1]),
                                                                 .source = "sockets",
                                                                 .pid = 4000 - (int64_t)scene->evidence.n_claims});
}

static void line_socket(struct scene *scene, char **words)
{
    add_socket(scene, words, false, NEXTPORT_TCP);
}

static void line_passing(struct scene *scene, char **words)
{
    add_socket(scene, words, true, NEXTPORT_TCP);
}

static void line_udp(struct scene *scene, char **words)
{
    add_socket(scene, words, false, NEXTPORT_UDP);
}

/* Those that pend are due in an hour, and those called overdue were an hour ago. */
static void line_lease(struct scene *scene, char **words)
{
    struct nextport_lease *lease =
        np_push(scene->arena, &scene->leases.items, &scene->leases.n, &scene->leases.capacity, sizeof *lease);
    *lease = (struct nextport_lease){.id = 1,
                                     .port = port_of(words[1]),
                                     .protocol = NEXTPORT_TCP,
                                     .name = "Port",
                                     .owner = word_of(scene, words[3]),
                                     .holder = word_of(scene, words[4]),
                                     .created = NOW - 7200,
                                     .renewed = NOW - 7200};
    for (unsigned state = NEXTPORT_PENDING; state <= NEXTPORT_RESTING; state++)
        if (strcmp(np_state_name((enum nextport_lease_state)state), words[2]) == 0)
            lease->state = (enum nextport_lease_state)state;
    if (lease->state != NEXTPORT_CONFIRMED)
        lease->expires = strcmp(words[2], "overdue") == 0 ? NOW - 3600 : NOW + 3600;
    np_portset_add(&scene->leases.taken, lease->port, lease->port);
}

static void line_pool(struct scene *scene, char **words)
{
    scene->settings.pool = (struct np_portset){{0}};
    add_ports(&scene->settings.pool, words[1]);
}

static void line_exclude(struct scene *scene, char **words)
{
    add_ports(&scene->settings.exclude, words[1]);
}

static void line_excluded(struct scene *scene, char **words)
{
    add_ports(&scene->audit.excluded, words[1]);
    add_claim(scene, range_of(words[1]), "os", "the_system", NEXTPORT_RESERVED);
}

static void line_protected(struct scene *scene, char **words)
{
    add_ports(&scene->audit.protected, words[1]);
}

static void line_ephemeral(struct scene *scene, char **words)
{
    scene->audit.ephemeral_first = range_of(words[1]).first;
    scene->audit.ephemeral_last = range_of(words[1]).last;
}

static void line_kubernetes(struct scene *scene, char **words)
{
    add_claim(scene, range_of(words[1]), "kubernetes", "Kubernetes", NEXTPORT_RESERVED);
}

static void line_shared(struct scene *scene, char **words)
{
    (void)words;
    np_evidence_fact(&scene->evidence, "shared-configuration",
                     &(struct nextport_claim){.certainty = NEXTPORT_UNRESOLVED,
                                              .holder = "IIS",
                                              .detail = "redirected to \\\\farm\\iis",
                                              .source = "iis",
                                              .file = "redirection.config",
                                              .line = 3});
}

static void line_rule(struct scene *scene, char **words)
{
    const uint16_t port = port_of(words[3]);
    const struct nextport_claim where = {.first = port,
                                         .last = port,
                                         .protocol = NEXTPORT_TCP,
                                         .kind = NEXTPORT_PUBLISHED,
                                         .address = word_of(scene, words[2]),
                                         .holder = word_of(scene, words[1]),
                                         .detail = "nat PREROUTING rule 1",
                                         .source = "nat"};
    np_evidence_claim(&scene->evidence, &where);
    np_evidence_fact(&scene->evidence, "hijacked", &where)->ends = words[4] ? port_of(words[4]) : 0;
}

static void line_noledger(struct scene *scene, char **words)
{
    (void)words;
    scene->audit.has_ledger = false;
}

static void line_unseen(struct scene *scene, char **words)
{
    np_evidence_sight(&scene->evidence, words[1], NEXTPORT_UNREADABLE, NEXTPORT_WARN, "denied", NULL);
    scene->audit.whole = false;
}

static const struct {
    const char *word;
    void (*take)(struct scene *, char **words);
    int n; /* words it needs */
} lines[] = {
    {"site", line_site, 5},
    {"dropped", line_dropped, 5},
    {"malformed", line_malformed, 3},
    {"server", line_server, 4},
    {"socket", line_socket, 4},
    {"passing", line_passing, 4},
    {"udp", line_udp, 4},
    {"reserved", line_reserved, 4},
    {"published", line_published, 4},
    {"lease", line_lease, 5},
    {"elsewhere", line_elsewhere, 2},
    {"pool", line_pool, 2},
    {"exclude", line_exclude, 2},
    {"excluded", line_excluded, 2},
    {"protected", line_protected, 2},
    {"ephemeral", line_ephemeral, 2},
    {"kubernetes", line_kubernetes, 2},
    {"shared", line_shared, 1},
    {"rule", line_rule, 4},
    {"noledger", line_noledger, 1},
    {"unseen", line_unseen, 2},
};

static void read_line(struct scene *scene, char *line)
{
    char *words[WORDS] = {NULL};
    int n = 0;
    for (char *word = strtok(line, " "); word && n < WORDS - 1; word = strtok(NULL, " "))
        words[n++] = word;
    for (size_t i = 0; n > 0 && i < sizeof lines / sizeof *lines; i++)
        if (strcmp(words[0], lines[i].word) == 0 && n >= lines[i].n) {
            lines[i].take(scene, words);
            return;
        }
    fail_msg("what is '%s'?", line);
}

static const char *const *programs_of(const char *source)
{
    static const char *const iis[] = {"System", "w3wp", "ftpsvc", NULL}, *const docker[] = {"docker-proxy", NULL};
    return strcmp(source, "iis") == 0 ? iis : strcmp(source, "docker") == 0 ? docker : NULL;
}

static char *time_text(struct np_arena *arena, int64_t seconds)
{
    return np_sprintf(arena, "%lld", (long long)seconds);
}

static struct scene *scene_of(const char *situation)
{
    struct np_arena *arena = np_arena_new();
    struct scene *scene = np_alloc(arena, sizeof *scene);
    scene->arena = scene->evidence.arena = scene->leases.arena = arena;
    scene->settings.lifetimes.absent_s = 5 * 3600;
    np_portset_add(&scene->settings.pool, 49000, 65000);
    scene->audit = (struct np_audit){.settings = &scene->settings,
                                     .evidence = &scene->evidence,
                                     .leases = &scene->leases,
                                     .has_ledger = true,
                                     .whole = true,
                                     .now = NOW,
                                     .programs = programs_of,
                                     .time_text = time_text};
    struct np_text rest = np_text_of(situation), line;
    while (np_text_split(&rest, '\n', &line))
        if (line.len > 0)
            read_line(scene, np_text_dup(arena, line));
    return scene;
}

static const char *findings_of(struct scene *scene, bool sentences)
{
    struct np_buf out = {.arena = scene->arena};
    const struct nextport_finding *findings;
    size_t n;
    np_audit(&scene->audit, scene->arena, &findings, &n);
    np_buf_puts(&out, "");
    for (size_t i = 0; i < n; i++) {
        assert_non_null(findings[i].cure);
        assert_true(findings[i].n_evidence > 0 || strcmp(findings[i].slug, "ephemeral") == 0);
        np_buf_printf(&out, "%s %s %u-%u%s%s\n", np_severity_name(findings[i].severity), findings[i].slug,
                      findings[i].first, findings[i].last, sentences ? ": " : "", sentences ? findings[i].text : "");
    }
    return out.ptr;
}

/* ---- The table ------------------------------------------------------------------------------------------------ */

static const struct example {
    const char *promise, *situation, *findings;
} examples[] = {
    /* two holders */
    {"two_sites_with_the_same_binding_conflict", "site Shop http * 80\nsite Blog http * 80\n",
     "error two-holders 80-80\n"},
    {"many_holders_are_one_finding", "site A http * 80\nsite B http * 80\nsite C http * 80\nsite D https * 80\n",
     "error two-holders 80-80\n"},
    {"host_names_share_a_port", "site Shop http * 80 shop.local\nsite Blog http * 80 blog.local\n", ""},
    {"a_host_name_and_none_share_a_port", "site Shop http * 80 shop.local\nsite Blog http * 80\n", ""},
    {"one_host_name_in_two_spellings_conflicts", "site Shop http * 80 shop.local\nsite Blog http * 80 Shop.LOCAL\n",
     "error two-holders 80-80\n"},
    {"addresses_share_a_port", "site Shop http 10.0.0.1 80\nsite Blog http 10.0.0.2 80\n", ""},
    {"every_address_and_one_share_a_port", "site Shop http * 80\nsite Blog http 10.0.0.2 80\n", ""},
    {"one_address_conflicts", "site Shop http [::1] 80\nsite Blog http [::1] 80\n", "error two-holders 80-80\n"},
    {"http_and_https_with_the_same_name_conflict", "site Shop http * 80 shop.local\nsite Blog https * 80 shop.local\n",
     "error two-holders 80-80\n"},
    {"one_site_twice_is_fine", "site Shop http * 80\nsite Shop http * 80\nsite Shop https * 443\n", ""},
    {"net_tcp_sites_share_a_port_by_path", "site Shop net.tcp * 808\nsite Blog net.tcp * 808\n", ""},
    {"net_tcp_and_http_conflict_whatever_the_name", "site Shop net.tcp * 808\nsite Blog http * 808 blog.local\n",
     "error two-holders 808-808\n"},
    {"ftp_and_http_on_two_addresses_share_a_port", "site Shop ftp 10.0.0.1 8021\nsite Blog http 10.0.0.2 8021\n", ""},
    {"a_binding_before_a_clear_is_no_conflict", "site Shop http * 80\ndropped Blog http * 80\n", ""},
    {"servers_of_two_kinds_conflict", "site Shop http * 80 shop.local\nserver nginx blog 80\n",
     "error two-holders 80-80\n"},
    {"a_foreign_program_on_a_sites_port_conflicts", "site Shop http * 80 shop.local\nsocket nginx 0.0.0.0 80\n",
     "error two-holders 80-80\n"},
    {"each_foreign_program_is_a_finding",
     "site Shop http * 80\nsocket nginx 0.0.0.0 80\nsocket caddy [::] 80\nsocket nginx [::] 80\n",
     "error two-holders 80-80\nerror two-holders 80-80\n"},
    {"a_foreign_program_on_another_address_is_fine", "site Shop http 10.0.0.1 80\nsocket nginx 127.0.0.1 80\n", ""},
    {"a_foreign_program_on_the_same_address_conflicts",
     "site Shop http 127.0.0.1 80\nsocket java [::ffff:127.0.0.1] 80\n", "error two-holders 80-80\n"},
    {"the_other_family_is_fine", "site Shop http [::1] 80\nsocket nginx 0.0.0.0 80\n", ""},
    {"the_system_listens_for_sites", "site Shop http * 80\nsocket System_(HTTP.sys_or_another_driver) [::] 80\n", ""},
    {"a_worker_listens_for_sites", "site Shop http * 80\nsocket W3WP.EXE [::] 80\n", ""},
    {"a_service_listens_for_sites", "site Shop ftp * 2021\nsocket svchost.exe_(W3SVC,_FTPSVC) [::] 2021\n", ""},
    {"another_service_does_not", "site Shop ftp * 2021\nsocket svchost.exe_(TermService) [::] 2021\n",
     "error two-holders 2021-2021\n"},
    {"a_program_that_cannot_be_seen_is_nobodys_conflict", "site Shop http * 80\nsocket - 0.0.0.0 80\n", ""},
    {"a_server_whose_programs_are_not_known_has_any", "server nginx blog 80\nsocket nginx.real 0.0.0.0 80\n", ""},
    {"a_connection_passes", "site Shop http * 50000\nelsewhere 50000\npassing curl 10.0.0.1 50000\n", ""},
    {"another_protocol_is_another_port", "site Shop http * 80\nudp caddy 0.0.0.0 80\n", ""},
    {"sockets_share_what_the_kernel_lets_them", "socket nginx 0.0.0.0 80\nsocket caddy 0.0.0.0 80\n", ""},

    /* excluded */
    {"a_site_in_an_excluded_range_cannot_start", "site Shop http * 8080\nexcluded 8000-8099\n",
     "error excluded 8080-8080\n"},
    {"a_lease_in_an_excluded_range_is_of_no_use", "lease 50010 pending shop -\nexcluded 50000-50059\n",
     "error excluded 50010-50010\n"},
    {"what_is_in_use_was_not_excluded", "site Shop http * 8080\nexcluded 8080\nsocket System [::] 8080\n", ""},
    {"what_an_administrator_reserved_may_be_used", "site Shop http * 8080\nreserved os an_administrator 8000-8099\n",
     ""},
    {"a_lease_given_back_counts_nowhere", "lease 50010 quarantined shop -\nexcluded 50000-50059\n", ""},

    /* leases and what is there */
    {"a_leases_holder_on_its_port_is_fine",
     "lease 50000 confirmed shop iis:_Shop\nsite Shop http * 50000\nsocket System [::] 50000\n", ""},
    {"another_holder_on_a_leases_port_is_a_hazard", "lease 50000 confirmed shop iis:_Shop\nsite Blog http * 50000\n",
     "hazard wrong-holder 50000-50000\n"},
    {"another_program_on_a_leases_port_is_a_hazard",
     "lease 50000 confirmed shop sockets:_nginx\nsocket caddy 0.0.0.0 50000\n", "hazard wrong-holder 50000-50000\n"},
    {"the_holder_among_others_is_fine",
     "lease 50000 confirmed shop sockets:_nginx\nsocket caddy 0.0.0.0 50000\nsocket nginx 0.0.0.0 50000\n", ""},
    {"an_unknown_program_may_be_the_holder",
     "lease 50000 confirmed shop sockets:_nginx\nsocket - 0.0.0.0 50000\nsocket caddy 0.0.0.0 50000\n", ""},
    {"the_system_may_be_the_sites", "lease 50000 confirmed shop iis:_Shop\nsocket System [::] 50000\n", ""},
    {"a_holder_that_would_not_be_seen_may_be_there",
     "lease 50000 confirmed shop iis:_Shop\nsocket caddy [::] 50000\nunseen iis\n", ""},
    {"a_lease_of_nobody_has_no_wrong_holder", "lease 50000 confirmed - sockets:_nginx\nsocket caddy 0.0.0.0 50000\n",
     ""},
    {"a_confirmed_lease_without_use_is_a_hazard", "lease 50000 confirmed shop iis:_Shop\n",
     "hazard unused-lease 50000-50000\n"},
    {"an_absent_lease_is_a_hazard", "lease 50000 absent shop iis:_Shop\npassing curl 10.0.0.1 50000\n",
     "hazard unused-lease 50000-50000\n"},
    {"a_lease_that_is_used_again_is_fine", "lease 50000 absent shop sockets:_a\nsocket a 0.0.0.0 50000\n", ""},
    {"what_was_not_seen_may_be_in_use",
     "lease 50000 confirmed shop iis:_Shop\nlease 50001 overdue shop -\nunseen iis\n", ""},
    {"a_pending_lease_has_its_time", "lease 50000 pending shop -\n", ""},
    {"a_pending_lease_past_its_end_is_a_hazard", "lease 50000 overdue shop -\n", "hazard overdue 50000-50000\n"},
    {"a_late_lease_that_is_used_is_fine", "lease 50000 overdue shop -\nsite Shop http * 50000\n", ""},

    /* sites and the pool */
    {"a_site_without_a_lease_is_a_hint", "site Shop http * 50000\n", "hint no-lease 50000-50000\n"},
    {"sites_that_share_a_port_are_one_hint", "site Shop http * 50000 shop.local\nsite Blog http * 50000 blog.local\n",
     "hint no-lease 50000-50000\n"},
    {"a_site_outside_the_pool_needs_no_lease", "site Shop http * 8080\npool 9000-9100\n", ""},
    {"an_excluded_port_is_outside_the_pool", "site Shop http * 50000\nexclude 50000\n", ""},
    {"a_lease_of_the_machines_ledger_counts", "site Shop http * 50000\nelsewhere 50000\n", ""},
    {"without_a_ledger_nothing_is_said_of_leases", "site Shop http * 50000\nlease 50001 overdue a -\nnoledger\n", ""},
    {"a_site_on_several_ports_of_which_some_are_leased_has_leftovers",
     "site Shop http * 50000\nsite Shop http * 50001\nlease 50001 confirmed shop iis:_Shop\n",
     "hazard leftover-bindings 50000-50000\nhint no-lease 50000-50000\n"},
    {"a_site_that_leased_all_its_ports_has_none",
     "site Shop http * 50000\nsite Shop http * 50001\nlease 50000 confirmed shop iis:_Shop\n"
     "lease 50001 confirmed shop iis:_Shop\n",
     ""},
    {"leftovers_are_seen_without_a_ledger", "site Shop http * 50000\nsite Shop http * 50001\nnoledger\n",
     "hazard leftover-bindings 50000-50000\n"},
    {"several_services_of_a_site_are_no_leftovers",
     "site Shop http * 50000\nsite Shop https * 50001\nsite Shop http * 50002 www.shop.local\nnoledger\n", ""},
    {"several_binds_of_a_section_and_ports_of_a_unit_are_no_leftovers",
     "server haproxy shop 50000\nserver haproxy shop 50001\nserver systemd a.socket 50002\n"
     "server systemd a.socket 50003\nnoledger\n",
     ""},
    {"several_ports_of_another_server_are", "server nginx shop 50000\nserver nginx shop 50001\nnoledger\n",
     "hazard leftover-bindings 50000-50000\n"},
    {"ports_outside_the_pool_are_no_leftovers", "site Shop http * 80\nsite Shop http * 8080\n", ""},
    {"a_port_that_browsers_block_is_a_hazard_for_a_site", "site Shop https * 6000 a\nsite Blog http * 6000 b\n",
     "hazard browser-blocked 6000-6000\n"},
    {"and_for_a_lease", "lease 6666 pending shop -\n", "hazard browser-blocked 6666-6666\n"},
    {"but_not_for_ftp", "site Shop ftp * 21\n", ""},
    {"a_range_that_a_server_keeps_is_a_hazard_for_a_site_inside",
     "site Shop http * 50000\nelsewhere 50000\nlease 50007 pending shop -\nreserved iis IIS_FTP 49900-50100\n",
     "hazard reserved-range 49900-50100\n"},
    {"a_reserved_port_of_a_site_is_its_own", "site Shop https * 443\nreserved httpsys HTTP.sys 443\n", ""},
    {"rules_of_nat_are_no_holders",
     "published nat DNAT 50000\npublished nat chain 50000\nsite Shop http * 50000\n"
     "elsewhere 50000\n",
     ""},
    {"a_rule_robs_a_program_of_its_clients", "rule DNAT 0.0.0.0 80\nsocket nginx 0.0.0.0 80\n",
     "hazard hijacked 80-80\n"},
    {"and_one_for_both_families", "rule DNAT - 80\nsocket nginx [::] 80\n", "hazard hijacked 80-80\n"},
    {"and_a_site_of_its", "rule DNAT 10.0.0.1 80\nsite Shop http * 80\n", "hazard hijacked 80-80\n"},
    {"several_rules_on_one_port_are_one_finding",
     "rule DNAT 0.0.0.0 80\nrule DNAT [::] 80\nsocket nginx 0.0.0.0 80\nsocket nginx [::] 80\n",
     "hazard hijacked 80-80\n"},
    {"a_rule_for_another_address_robs_nobody", "rule DNAT 10.0.0.2 80\nsocket nginx 10.0.0.1 80\n", ""},
    {"a_rule_of_ipv6_leaves_ipv4_alone", "rule DNAT [::] 80\nsocket nginx 0.0.0.0 80\n", ""},
    {"a_rule_does_not_meet_those_on_loopback",
     "rule DNAT - 80\nsocket a 127.0.0.1 80\nsocket a [::1] 80\nsocket a [::ffff:127.0.0.1] 80\n", ""},
    {"a_program_that_cannot_be_seen_may_be_the_rules_own", "rule DNAT 0.0.0.0 80\nsocket - 0.0.0.0 80\n", ""},
    {"an_engine_keeps_the_port_of_its_rule_by_a_socket",
     "rule DNAT 0.0.0.0 80\nsocket docker-proxy 0.0.0.0 80\nsocket nginx 10.0.0.1 80\n", ""},
    {"kube_proxy_does_so_too", "rule chain 0.0.0.0 30080\nsocket kube-proxy [::] 30080\n", ""},
    {"a_container_is_who_its_rule_is_for", "rule DNAT 0.0.0.0 80\npublished docker shop 80\n", ""},
    {"a_rule_to_another_port_of_the_program_robs_it_of_nothing",
     "rule REDIRECT 0.0.0.0 80 8080\nsocket java [::] 80\nsocket java [::] 8080\n", ""},
    {"but_one_to_another_programs_port_does",
     "rule REDIRECT 0.0.0.0 80 8080\nsocket nginx [::] 80\nsocket java [::] 8080\n", "hazard hijacked 80-80\n"},
    {"a_rule_to_the_same_port_changes_nothing", "rule REDIRECT 0.0.0.0 80 80\nsocket nginx [::] 80\n", ""},
    {"a_malformed_setting_is_a_hazard", "malformed Shop 808\nmalformed Shop 9090\n", "hazard malformed 808-808\n"},

    /* the machine */
    {"a_shared_configuration_is_a_hazard", "shared\n", "hazard shared-configuration 0-0\n"},
    {"node_ports_are_one_hazard", "kubernetes 30000-32767\nsite Shop http * 30080\nlease 31000 pending shop -\n",
     "hazard node-port 30080-31000\n"},
    {"without_kubernetes_there_are_none", "site Shop http * 30080\n", ""},
    {"node_ports_are_those_of_its_own_range", "kubernetes 20000-20100\nsite Shop http * 20080\nsite B http * 30080\n",
     "hazard node-port 20080-20080\n"},
    {"other_ports_are_not_kubernetes", "kubernetes 30000-32767\nsite Shop http * 8080\n", ""},
    {"a_pool_that_connections_reach_is_one_hint", "ephemeral 49152-65535\n", "hint ephemeral 49152-65000\n"},
    {"a_protected_pool_is_none", "ephemeral 32768-60999\nprotected 49000-65000\n", ""},
    {"a_pool_elsewhere_is_none", "ephemeral 32768-60999\npool 20000-29999\n", ""},

    {"the_gravest_come_first_then_the_lowest_ports",
     "ephemeral 49152-65535\nsite Shop http * 50000\nsite Blog http * 6000\nsite Wiki http * 443\nsite News http * "
     "443\n"
     "site Shop http * 81\nsite Blog http * 81\n",
     "error two-holders 81-81\nerror two-holders 443-443\nhazard browser-blocked 6000-6000\n"
     "hint ephemeral 49152-65000\nhint no-lease 50000-50000\n"},
    {"a_machine_without_anything_is_sound", "", ""},
};

static void an_example(void **state)
{
    const struct example *example = *state;
    struct scene *scene = scene_of(example->situation);
    assert_string_equal(findings_of(scene, false), example->findings);
    np_arena_free(scene->arena);
}

/* ---- What a table cannot say ---------------------------------------------------------------------------------- */

/* Backwards, as another look at the same machine may list them. */
static void the_order_of_the_evidence_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct scene *scene = scene_of(examples[i].situation);
        const char *before = findings_of(scene, true);
        struct np_evidence *evidence = &scene->evidence;
        for (size_t j = 0; 2 * j + 1 < evidence->n_claims; j++) {
            struct nextport_claim other = evidence->claims[j];
            evidence->claims[j] = evidence->claims[evidence->n_claims - 1 - j];
            evidence->claims[evidence->n_claims - 1 - j] = other;
        }
        if (!strstr(before, "malformed")) /* whose numbers are shown as they are written */
            assert_string_equal(findings_of(scene, true), before);
        np_arena_free(scene->arena);
    }
}

static void sentences_name_who_and_where(void **state)
{
    (void)state;
    static const struct {
        const char *situation, *sentence;
    } rows[] = {
        {"site Shop http * 80\nsite Blog http * 80\n", "port 80 is configured for \"Blog\" and \"Shop\", all on the "
                                                       "address * and for every host name: only one of them "
                                                       "can start"},
        {"site A http * 80 x\nsite B http * 80 x\nsite C http * 80 x\nsite D http * 80 x\n",
         "port 80 is configured for \"A\", \"B\", \"C\" and others, all on the address * and for the host name x: only "
         "one "
         "of them can start"},
        {"site Shop http * 808\nsite Blog net.tcp * 808\n",
         "port 808 is configured for \"Shop\" (http) and for \"Blog\" (net.tcp), which cannot share it"},
        {"site Shop http * 80\nsocket nginx 0.0.0.0 80\n",
         "port 80 is configured for \"Shop\", and the program nginx has it"},
        {"lease 50000 confirmed shop/QA iis:_Shop\nsite Blog http * 50000\n",
         "port 50000, leased to shop/QA as \"Port\", was used by iis: Shop, and now iis: Blog has it"},
        {"lease 50000 confirmed shop/QA iis:_Shop\n",
         "nothing uses port 50000, leased to shop/QA as \"Port\": iis: Shop was seen there on 992800"},
        {"lease 50000 absent shop/QA iis:_Shop\n",
         "nothing uses port 50000, leased to shop/QA as \"Port\": iis: Shop was missed there first on 985600"},
        {"lease 50000 overdue - -\n", "nothing uses port 50000, leased as \"Port\": it was promised until 996400"},
        {"ephemeral 60000-65535\n",
         "outgoing connections take ports from 60000 to 65535, so they may take 5001 of the pool's 16001 ports"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scene *scene = scene_of(rows[i].situation);
        const struct nextport_finding *findings;
        size_t n;
        np_audit(&scene->audit, scene->arena, &findings, &n);
        assert_true(n > 0);
        assert_string_equal(findings[0].text, rows[i].sentence);
        np_arena_free(scene->arena);
    }
}

static void evidence_says_where_it_is_written_and_who_runs(void **state)
{
    (void)state;
    struct scene *scene = scene_of("site Shop http * 80\nsocket nginx 0.0.0.0 80\nsocket nginx 0.0.0.0 80\n");
    const struct nextport_finding *findings;
    size_t n;
    np_audit(&scene->audit, scene->arena, &findings, &n);
    assert_int_equal(n, 1);
    assert_int_equal(findings[0].n_evidence, 2);
    assert_string_equal(findings[0].evidence[0].holder, "nginx");
    assert_int_equal(findings[0].evidence[0].pid, 3998); /* the lowest */
    assert_string_equal(findings[0].evidence[1].file, "a.config");
    assert_int_equal(findings[0].evidence[1].line, 1);
    np_arena_free(scene->arena);
}

/* Thousands of sites on one port, told apart by host name, and thousands of sockets there. */
static void many_sites_on_one_port_are_no_trouble(void **state)
{
    (void)state;
    struct scene *scene = scene_of("");
    char line[128];
    for (int i = 0; i < 20000; i++) {
        snprintf(line, sizeof line, "site Site%d http * 80 s%d.local", i, i);
        read_line(scene, line);
        snprintf(line, sizeof line, "socket nginx 10.0.%d.%d 80", i / 256, i % 256);
        read_line(scene, line);
    }
    assert_string_equal(findings_of(scene, false), "error two-holders 80-80\n");
    np_arena_free(scene->arena);
}

static void many_addresses_on_one_port_are_no_trouble(void **state)
{
    (void)state;
    struct scene *scene = scene_of("");
    char line[128];
    for (int i = 0; i < 20000; i++) {
        snprintf(line, sizeof line, "site Site%d %s 10.0.%d.%d 80", i, i % 2 ? "http" : "ftp", i / 256, i % 256);
        read_line(scene, line);
        snprintf(line, sizeof line, "socket nginx 10.1.%d.%d 80", i / 256, i % 256);
        read_line(scene, line);
    }
    assert_string_equal(findings_of(scene, false), "");
    snprintf(line, sizeof line, "socket caddy [::ffff:10.0.9.9] 80");
    read_line(scene, line);
    assert_string_equal(findings_of(scene, false), "error two-holders 80-80\n");
    np_arena_free(scene->arena);
}

static void severities_are_words(void **state)
{
    (void)state;
    enum nextport_severity severity;
    for (unsigned i = NEXTPORT_HINT; i <= NEXTPORT_ERROR; i++) {
        assert_true(np_severity_parse(np_text_of(np_severity_name((enum nextport_severity)i)), &severity));
        assert_int_equal(severity, i);
    }
    assert_false(np_severity_parse(np_text_of("warning"), &severity));
}

int main(void)
{
    enum { EXAMPLES = sizeof examples / sizeof *examples, OTHERS = 6 };
    struct CMUnitTest tests[EXAMPLES + OTHERS] = {
        cmocka_unit_test(the_order_of_the_evidence_changes_nothing),
        cmocka_unit_test(sentences_name_who_and_where),
        cmocka_unit_test(evidence_says_where_it_is_written_and_who_runs),
        cmocka_unit_test(many_sites_on_one_port_are_no_trouble),
        cmocka_unit_test(many_addresses_on_one_port_are_no_trouble),
        cmocka_unit_test(severities_are_words),
    };
    for (size_t i = 0; i < EXAMPLES; i++)
        tests[OTHERS + i] =
            (struct CMUnitTest){examples[i].promise, an_example, NULL, NULL, (void *)(uintptr_t)&examples[i]};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
