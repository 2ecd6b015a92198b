# SPDX-License-Identifier: MIT
"""A second nextport, small and slow: doc/lifetimes.md word by word, to be compared with the real one.

It knows no files, no sockets and no clock. `Facts` are what a look at the machine finds, a lease is a value, and what a
request does is said as a `Change`: the leases after it, the events, and the answer.
"""
import dataclasses

PENDING, CONFIRMED, ABSENT, QUARANTINED = "pending", "confirmed", "absent", "quarantined"
HOUR, DAY = 3600, 86400
UNOWNED, OWNED = DAY, 7 * DAY  # lease.pending, lease.owned
GONE, LOOKS, LOOK, REST = 7 * DAY, 3, HOUR, 120  # lease.absent, lease.looks, lease.look, lease.rest

OK, FULL, BLIND, CONFLICT, DENIED = 0, 3, 4, 6, 7


@dataclasses.dataclass(frozen=True)
class Lease:
    id: int | None  # None: the real one gives it a number
    port: int
    owner: str  # the key; "": nobody
    name: str
    deployment: str
    state: str
    holder: object  # "SOURCE: WHO" or None; a frozenset of them where more than one would be right
    created: int
    renewed: int
    expires: int  # 0: never while in use
    looks: int
    process: str | None = None  # that it lives with; here only such as have ended


@dataclasses.dataclass
class Facts:
    """What one look finds."""
    sites: dict  # port: the names of the sites that are configured for it
    standing: dict  # port: the programs that listen on it; None: one that cannot be seen
    passing: set  # ports that are occupied, and no more: by outgoing connections, TIME_WAIT, what is bound and silent
    hidden: bool = False  # the sites could not be read, and policy says to go on
    blind: bool = False  # the sites could not be read, and policy says to refuse

    def users(self, port):
        """Who has the port in standing use, the best evidence first: a configuration, a socket."""
        return ([("iis", site) for site in self.sites.get(port, [])] +
                [("sockets", program) for program in self.standing.get(port, [])])

    def known(self, port):
        return [f"{source}: {who}" for source, who in self.users(port) if who]

    def occupied(self, port):
        return bool(self.standing.get(port)) or port in self.passing

    def free(self, port):
        return not self.users(port) and not self.occupied(port)

    def confirms(self, port):
        """The holders that a confirmation may record: those of the best kind of evidence that says who."""
        users = self.users(port)
        known = [user for user in users if user[1]]
        if users[0][0] == "sockets":  # a configuration always says who
            known = known or [users[0]]
        best = [user for user in known if user[0] == known[0][0]]
        return frozenset(f"{source}: {who}" if who else None for source, who in best)


@dataclasses.dataclass(frozen=True)
class Ask:
    """A request of `next`. An owner and no deployment: the owner's port; no owner: a fresh one."""
    owner: str = ""
    names: tuple = ("Port",)
    deployment: str = ""
    keep: int = 0
    no_move: bool = False
    ttl: int = 0
    pool: range = range(0)


@dataclasses.dataclass
class Change:
    leases: list
    events: list  # (kind, port)
    answer: list = dataclasses.field(default_factory=list)  # (name, port, verdict, the port it moved from)
    status: int = OK


def refused(leases, status):
    return Change(list(leases), [], status=status)


# ---- What a look does ------------------------------------------------------------------------------------------------


def is_due(lease, now):
    return lease.expires != 0 and lease.expires <= now


def is_counted(lease, now, looked):
    """An hour after the last look: of an absent lease the one that was counted, else that of all leases."""
    if lease.state == ABSENT:
        return now - lease.renewed >= LOOK
    return looked > now or now - looked >= LOOK


def step(lease, facts, now, counted):
    """(the lease after a look, or None; its event, or None): the first row of the table that fits."""
    port, due = lease.port, is_due(lease, now)
    if lease.renewed > now:
        left = max(0, lease.expires - lease.renewed)
        return dataclasses.replace(lease, renewed=now, expires=lease.expires and now + left), "rebased"
    if facts.users(port):
        if lease.state in (PENDING, ABSENT):
            return confirmed(lease, facts, now), "confirmed"
        return lease, None
    if facts.hidden:
        return lease, None
    if lease.process and lease.state != QUARANTINED and not facts.occupied(port):
        return rested(lease, now), "ended"
    if lease.state == PENDING and due and not facts.occupied(port):
        return None, "expired"
    if lease.state == CONFIRMED and counted:
        return dataclasses.replace(lease, state=ABSENT, renewed=now, expires=now + GONE, looks=1), "absent"
    if lease.state == ABSENT and counted:
        if due and lease.looks + 1 >= LOOKS and not facts.occupied(port):
            return None, "expired"
        return dataclasses.replace(lease, renewed=now, looks=lease.looks + 1), None
    if lease.state == QUARANTINED and due and not facts.occupied(port):
        return None, "rested"
    return lease, None


def rested(lease, now):
    return dataclasses.replace(lease, state=QUARANTINED, renewed=now, expires=now + REST, process=None)


def confirmed(lease, facts, now):
    holders = facts.confirms(lease.port)
    return dataclasses.replace(lease, state=CONFIRMED, holder=holders, renewed=now, expires=0, looks=0)


def step_all(leases, facts, now, looked, chosen=lambda lease: True):
    """Those that are chosen make their step."""
    after, events = [], []
    for lease in leases:
        stepped, event = step(lease, facts, now, is_counted(lease, now, looked)) if chosen(lease) else (lease, None)
        after += [stepped] if stepped else []
        events += [(event, lease.port)] if event else []
    return after, events


def sweep(leases, facts, now, looked):
    if facts.blind:
        return refused(leases, BLIND)
    return Change(*step_all(leases, facts, now, looked))


# ---- What an owner gets ----------------------------------------------------------------------------------------------


def again(lease, facts, pool):
    """kept, returned, confirmed or moved: what an owner gets that asks again."""
    known, users = facts.known(lease.port), facts.users(lease.port)
    if lease.port not in pool:
        return "moved"
    if lease.holder in known:
        verdict = "kept" if lease.state == CONFIRMED else "confirmed"
    elif known and not lease.holder:
        verdict = "confirmed"
    elif len(known) < len(users):
        verdict = "kept"  # somebody, but who cannot be seen
    elif known and facts.hidden and (lease.holder or "").startswith("iis: "):
        verdict = "kept"  # its holder may be there as well
    elif known:
        return "moved"
    else:
        verdict = "kept"
    return "returned" if lease.state == QUARANTINED else verdict


def promised(lease, ask, now):
    lives = ask.ttl or (OWNED if ask.owner else UNOWNED)
    return dataclasses.replace(lease, state=PENDING, renewed=now, expires=now + lives, looks=0, process=None)


def renewed(lease, verdict, ask, facts, now):
    if verdict == "confirmed":
        return confirmed(lease, facts, now)
    if verdict == "kept" and lease.state == CONFIRMED and not lease.process:
        return dataclasses.replace(lease, renewed=now)
    return promised(lease, ask, now)


def fresh_ports(pool, taken, facts):
    return (port for port in pool if port not in taken and facts.free(port))


def next_port(leases, ask, facts, now, looked, stepped):
    """`stepped` says which other leases have made their step: each request makes the few that are due."""
    if facts.blind:
        return refused(leases, BLIND)
    own = {lease.name: lease for lease in leases
           if ask.owner and (lease.owner, lease.deployment) == (ask.owner, ask.deployment) and lease.name in ask.names}
    asked = {lease.id for lease in own.values()}
    asked |= {lease.id for lease in leases if ask.keep and lease.owner == ask.owner}
    verdicts = {name: again(lease, facts, ask.pool) for name, lease in own.items()}
    if ask.no_move and "moved" in verdicts.values():
        return refused(leases, CONFLICT)
    others, events = step_all([lease for lease in leases if lease.id not in {own[name].id for name in own}], facts, now,
                              looked, lambda lease: lease.id not in asked and stepped(lease))
    fresh = fresh_ports(ask.pool, {lease.port for lease in others} | {lease.port for lease in own.values()}, facts)
    full = Change([*others, *own.values()], list(events), status=FULL)  # what was moved on on the way stays so
    change = Change(others, events)
    for name in ask.names:
        if name in own and verdicts[name] != "moved":
            lease = renewed(own[name], verdicts[name], ask, facts, now)
            change.answer.append((name, lease.port, "keep", None))
            event = verdicts[name]
        else:
            port = next(fresh, None)
            if port is None:
                return full
            old = own.get(name)
            lease = dataclasses.replace(old, port=port, holder=None) if old else Lease(
                None, port, ask.owner, name, ask.deployment, PENDING, None, now, now, 0, 0)
            lease = promised(lease, ask, now)
            change.answer.append((name, port, "move" if old else "grant", old.port if old else None))
            event = "moved" if old else "granted"
        change.leases.append(lease)
        change.events.append((event, lease.port))
        if event == "moved":
            left_behind(change, old, now)
    return trimmed(change, ask, facts, now)


def left_behind(change, old, now):
    """The port that a lease has left rests, nobody's."""
    change.leases.append(Lease(None, old.port, "", old.name, "", QUARANTINED, old.holder, now, now, now + REST, 0))
    change.events.append(("released", old.port))


def trimmed(change, ask, facts, now):
    """--keep N: deployments of this owner but the newest N are given back, unless they are in use."""
    if not ask.keep:
        return change
    old = [lease for lease in change.leases if lease.owner == ask.owner and lease.state != QUARANTINED and
           lease.deployment not in ("", ask.deployment)]
    newest = {}
    for lease in old:
        newest[lease.deployment] = max(newest.get(lease.deployment, 0), lease.id)
    mine = max((lease.id for lease in change.leases if lease.id and (lease.owner, lease.deployment) ==
                (ask.owner, ask.deployment)), default=None)
    ranked = sorted(newest, key=newest.get, reverse=True)
    later = [deployment for deployment in ranked if mine and newest[deployment] > mine]
    over = ranked[max(ask.keep - 1, len(later)):]
    if facts.hidden:
        return change
    return given_back(change, [lease for lease in old if lease.deployment in over and not facts.users(lease.port)], now)


# ---- Giving back, and leasing by hand --------------------------------------------------------------------------------


def given_back(change, chosen, now):
    for lease in chosen:
        change.leases.remove(lease)
        change.leases.append(rested(lease, now))
        change.events.append(("released", lease.port))
    return change


def release(leases, now, owner="", port=0, id=0):
    """Of the owner, when one is named; a port or number of somebody else's is then denied."""
    found = [lease for lease in leases if lease.state != QUARANTINED and (not port or lease.port == port) and
             (not id or lease.id == id)]
    if owner and (port or id) and any(lease.owner != owner for lease in found):
        return refused(leases, DENIED)
    return given_back(Change(list(leases), []), [lease for lease in found if not owner or lease.owner == owner], now)


def assign(leases, facts, now, port, owner, name, in_use):
    """A port fixed by hand. One that rests, of this owner and name, becomes this one; another's that is over ends, and one
    that rests when this owner is said to use the port."""
    if facts.blind:
        return refused(leases, BLIND)
    own = next((lease for lease in leases if (lease.owner, lease.name, lease.deployment) == (owner, name, "")), None)
    left, events = step_all(leases, facts, now, now, lambda lease: lease.port == port and lease is not own and
                            is_due(lease, now) and step(lease, facts, now, False)[0] is None)
    if in_use and any(lease.port == port and lease is not own and lease.state == QUARANTINED for lease in left):
        left = [lease for lease in left if lease.port != port or lease is own]
        events = [*events, ("rested", port)]
    if any(lease.port == port and lease is not own for lease in left):
        return refused(leases, CONFLICT)
    if own and own.state != QUARANTINED:
        return refused(leases, OK if own.port == port else CONFLICT)
    returns = own and own.port == port and facts.users(port) and own.holder in facts.confirms(port)
    if not facts.free(port) and not in_use and not returns:
        return refused(leases, CONFLICT)
    created = own.created if own else now
    lease = Lease(own and own.id, port, owner, name, "", PENDING, None, created, now, now + OWNED, 0)
    if facts.users(port):
        lease = confirmed(lease, facts, now)
    change = Change([lease, *(other for other in left if other is not own)], [*events, ("assigned", port)])
    if own and own.port != port:
        left_behind(change, own, now)
    return change


def adopt(leases, facts, now, pool):
    """Each port of the pool that a site is configured for and not leased, or rests; of several sites the first by name."""
    if facts.blind:
        return refused(leases, BLIND)
    resting = [lease for lease in leases if lease.state == QUARANTINED and lease.port in pool and
               facts.sites.get(lease.port)]
    change = Change([lease for lease in leases if lease not in resting],
                    [("rested", lease.port) for lease in sorted(resting, key=lambda lease: lease.port)])
    taken = {lease.port for lease in change.leases}
    for port in pool:
        if port in taken or not facts.sites.get(port):
            continue
        site = min(facts.sites[port])
        owner = "project=" + site.lower()
        names = {lease.name for lease in change.leases if (lease.owner, lease.deployment) == (owner, "")}
        name = next(name for name in ["Port", *(f"Port{i}" for i in range(2, 99))] if name not in names)
        change.leases.append(Lease(None, port, owner, name, "", CONFIRMED, f"iis: {site}", now, now, 0, 0))
        change.events.append(("adopted", port))
    return change
