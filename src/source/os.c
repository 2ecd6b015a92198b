/* What the system keeps for itself: ports that an administrator took out of automatic assignment, and ports that this
 * user may not bind.
 * SPDX-License-Identifier: MIT */
#include "source/source.h"

static void sight(struct np_look *look, enum nextport_sight sight, const char *why, const char *hint)
{
    np_evidence_sight(look->ret, "os", sight, np_settings_policy(look->settings, "os"), why, hint);
}

static bool covers(struct nextport_range outer, struct nextport_range inner)
{
    return outer.first <= inner.first && inner.last <= outer.last;
}

static bool covers_a_range(struct nextport_range reserved, const struct np_portset *pool)
{
    struct nextport_range run;
    for (uint32_t from = 1; np_portset_run(pool, from, &run); from = run.last + UINT32_C(1))
        if (covers(reserved, run))
            return true;
    return false;
}

static void say_protected(struct np_look *look, const struct np_os_ports *os, struct nextport_range run)
{
    np_note(look->ret->log, NEXTPORT_VERBOSE, "ports %u-%u are protected from outgoing connections (%s)", run.first,
            run.last, os->reserved_by);
}

/* What 'nextport protect' put into the list is protection. Of the rest, a range that covers a whole range of the machine's
 * configured pool keeps outgoing connections out of it, and is protection too. Anything else was reserved for some other
 * program, even if a request asks for just those ports. */
static void claim_reserved(struct np_look *look, const struct np_os_ports *os)
{
    struct np_portset others = os->reserved;
    struct nextport_range run;
    np_portset_subtract(&others, &os->protected);
    for (uint32_t from = 1; np_portset_run(&os->protected, from, &run); from = run.last + UINT32_C(1))
        say_protected(look, os, run);
    for (uint32_t from = 1; np_portset_run(&others, from, &run); from = run.last + UINT32_C(1)) {
        if (covers_a_range(run, &look->settings->machine_pool)) {
            say_protected(look, os, run);
            continue;
        }
        np_evidence_claim(look->ret, &(struct nextport_claim){.first = run.first,
                                                              .last = run.last,
                                                              .protocol = NEXTPORT_BOTH,
                                                              .kind = NEXTPORT_RESERVED,
                                                              .holder = "an administrator",
                                                              .detail = os->reserved_by,
                                                              .source = "os"});
    }
}

static void claim_excluded(struct np_look *look, const struct np_os_ports *os)
{
    for (size_t i = 0; i < os->n_excluded; i++)
        np_evidence_claim(look->ret, &(struct nextport_claim){.first = os->excluded[i].ports.first,
                                                              .last = os->excluded[i].ports.last,
                                                              .protocol = os->excluded[i].protocol,
                                                              .kind = NEXTPORT_RESERVED,
                                                              .holder = os->excluded[i].holder,
                                                              .detail = os->excluded[i].detail,
                                                              .source = "os"});
}

static void claim_privileged(struct np_look *look, const struct np_os_ports *os)
{
    uint16_t lowest = np_portset_next(&look->settings->pool, 1);
    if (os->may_bind_low || lowest == 0 || lowest >= os->unprivileged_first)
        return;
    np_evidence_claim(look->ret, &(struct nextport_claim){.first = 1,
                                                          .last = (uint16_t)(os->unprivileged_first - 1),
                                                          .protocol = NEXTPORT_BOTH,
                                                          .kind = NEXTPORT_RESERVED,
                                                          .holder = "privileged programs",
                                                          .detail = "net.ipv4.ip_unprivileged_port_start",
                                                          .source = "os"});
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    struct np_os_ports *os = np_alloc(look->ret->arena, sizeof *os);
    if (look->settings->root) {
        sight(look, NEXTPORT_ABSENT, "--root reads files only", NULL);
        return NEXTPORT_OK;
    }
    if (np_host_os_ports(look->ret->arena, look->thorough, os, err)) {
        sight(look, NEXTPORT_UNREADABLE, err->text, err->hint[0] ? err->hint : NULL);
        *err = (struct nextport_error)NEXTPORT_ERROR_INIT;
        return NEXTPORT_OK;
    }
    look->ret_os = os;
    claim_reserved(look, os);
    claim_excluded(look, os);
    claim_privileged(look, os);
    sight(look, NEXTPORT_SEEN, NULL, NULL);
    return NEXTPORT_OK;
}

const struct np_source np_source_os = {
    .name = "os",
    .about = "ports that the system keeps for itself",
    .policy = NEXTPORT_REQUIRE,
    .look = look,
};
