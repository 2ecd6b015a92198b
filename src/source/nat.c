/* Ports that the kernel's address translation hands to somebody: no socket has them, a bind succeeds, and whoever connects
 * from elsewhere reaches somebody else.
 * SPDX-License-Identifier: MIT */
#include "source/source.h"

static void sight(struct np_look *look, enum nextport_sight sight, const char *why, const char *hint)
{
    np_evidence_sight(look->ret, "nat", sight, np_settings_policy(look->settings, "nat"), why, hint);
}

/* A rule for every port would leave none to give, and most such rules are about other addresses than this machine's: it is
 * told and takes nothing. */
static void claim(struct np_look *look, const struct np_nat_row *row)
{
    struct nextport_claim claim = {.first = row->ports.first,
                                   .last = row->ports.last,
                                   .protocol = row->protocol,
                                   .kind = NEXTPORT_PUBLISHED,
                                   .certainty = !row->ports.first  ? NEXTPORT_UNRESOLVED
                                                : row->conditional ? NEXTPORT_CONDITIONAL
                                                                   : NEXTPORT_DECLARED,
                                   .address = row->address,
                                   .holder = row->holder,
                                   .detail = row->detail,
                                   .source = "nat"};
    np_evidence_claim(look->ret, &claim);
    if (!row->hijacks)
        return;
    claim.address = row->reach;
    np_evidence_fact(look->ret, "hijacked", &claim)->ends = row->ends;
}

static void sight_unseen(struct np_look *look, const struct np_nat *nat)
{
    const char *how = np_host_privileged() ? "Give it the capability CAP_NET_ADMIN" : np_host_words.elevate;
    np_note(look->ret->log, NEXTPORT_VERBOSE, "nat: this user may not read %s", nat->unseen);
    sight(look, NEXTPORT_PARTIAL, "NAT was not inspected",
          np_sprintf(look->ret->arena, "%s to see it, or do without: '--policy nat=off'.", how));
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    struct np_nat nat;
    size_t n_wide = 0;
    if (look->settings->root) {
        sight(look, NEXTPORT_ABSENT, "--root reads files only", NULL);
        return NEXTPORT_OK;
    }
    if (np_host_nat(look->ret->arena, look->thorough, &nat, err) != NEXTPORT_OK) {
        sight(look, NEXTPORT_UNREADABLE, err->text, err->hint[0] ? err->hint : NULL);
        *err = (struct nextport_error)NEXTPORT_ERROR_INIT;
        return NEXTPORT_OK;
    }
    for (size_t i = 0; i < nat.n; i++) {
        claim(look, &nat.rows[i]);
        n_wide += !nat.rows[i].ports.first;
    }
    if (n_wide)
        np_note(look->ret->log, NEXTPORT_INFO,
                "%zu NAT rule%s (nearly) every port and take%s none from the pool: 'nextport used --source nat' shows "
                "%s",
                n_wide, n_wide == 1 ? " is about" : "s are about", n_wide == 1 ? "s" : "", n_wide == 1 ? "it" : "them");
    if (nat.unseen)
        sight_unseen(look, &nat);
    else
        sight(look, nat.present ? NEXTPORT_SEEN : NEXTPORT_ABSENT, NULL, NULL);
    return NEXTPORT_OK;
}

const struct np_source np_source_nat = {
    .name = "nat",
    .about = "ports that NAT hands to somebody without a socket",
    .policy = NEXTPORT_WARN,
    .narrow = true,
    .look = look,
};
