# SPDX-License-Identifier: MIT
"""A walk at random through the life of leases, beside the reference allocator of test/lib/reference.py.

After every step the real program's answer, the ledger's rows and its events are what the reference says, and the
invariants of doc/lifetimes.md hold. A failure prints the seed and the steps that led to it:

    NEXTPORT_SEED=4711 NEXTPORT_STEPS=300 script/test model

The clock is not touched. What the ledger remembers is moved the other way instead, which is the same.
"""
import collections
import dataclasses
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import time

import pytest

import reference
from reference import Ask, Facts, Lease

pytestmark = pytest.mark.linux("sockets of namespaces and of named programs; the rules are the same code on both")

STEPS = int(os.environ.get("NEXTPORT_STEPS", "300"))
POOL = range(49100, 49128)
OUTSIDE = range(50000, 50003)  # fixed by hand, not of the pool
OWNERS = [  # options, and the key; some differ in nothing but ASCII case
    (("--project", "Shop"), "project=shop"),
    (("--project", "SHOP"), "project=shop"),
    (("--project", "Shop", "--environment", "QA"), "project=shop\nenvironment=qa"),
    (("--environment", "qa", "--project", "shop"), "project=shop\nenvironment=qa"),
    (("--project", "Shop", "--environment", "QA", "--channel", "x"), "project=shop\nenvironment=qa\nchannel=x"),
    (("--project", "Shop", "--channel", "", "--tenant", "T"), "project=shop\ntenant=t"),
    (("--project", "Straße"), "project=straße"),
    (("--project", "STRASSE"), "project=strasse"),
    (("--label", "team=web"), "team=web"),
    (("--project", "Kasse", "--label", "b=1", "--label", "a=2"), "project=kasse\na=2\nb=1"),
    (("--project", "a=b"), "project=a=b"),
    (("--project", "Lager"), "project=lager"),
]
NAMES = [("Port",), ("Port",), ("Port",), ("Http", "Https")]
PROGRAMS = ["java", "node", "w3wp"]
SITES = ["Shop", "Kasse", "Lager QA", "Portal"]
HEAD = "<configuration><system.applicationHost><sites>\n"
TAIL = "</sites></system.applicationHost></configuration>\n"


# ---- The machine -----------------------------------------------------------------------------------------------------

# A program of a name of its own that has sockets. Each line of its input is done when it has answered.
PROGRAM = """
import ctypes, os, socket, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
held = {}
far = socket.create_server(("127.0.0.1", 0))

def connect(port):
    near = socket.socket()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    near.bind(("127.0.0.1", port))
    near.connect(far.getsockname())
    return [near, far.accept()[0]]

def hide(port):  # in flight between two sockets: no program has it
    one, other = socket.socketpair()
    with socket.create_server(("127.0.0.1", port)) as server:
        socket.send_fds(one, [b"x"], [server.fileno()])
    return [one, other]

def bind(port):
    bound = socket.socket()
    bound.bind(("0.0.0.0", port))
    return [bound]

def pass_by(port):  # leaves TIME_WAIT
    near, there = connect(port)
    near.shutdown(socket.SHUT_WR)
    assert there.recv(1) == b""
    there.close()
    assert near.recv(1) == b""
    near.close()
    return []

make = {"listen": lambda port: [socket.create_server(("", port))], "bind": bind, "hide": hide, "connect": connect,
        "pass": pass_by}
for line in sys.stdin:
    what, port = line.split()
    port = int(port)
    try:
        if what == "close":
            for one in held.pop(port):
                one.close()
        else:
            held[port] = make[what](port)
        print("ok", flush=True)
    except OSError as reason:
        print(reason, flush=True)
"""


class Machine:
    """Sites, programs, connections; what it was told to have is what a look must find."""

    def __init__(self, folder):
        self.file = folder / "applicationHost.config"
        self.sites, self.file_is = {}, "whole"  # name: its ports
        self.held = {}  # port: (kind of socket, program)
        self.programs = {name: subprocess.Popen([sys.executable, "-c", PROGRAM, name], text=True,
                                                stdin=subprocess.PIPE, stdout=subprocess.PIPE) for name in PROGRAMS}
        self.write()

    def stop(self):
        for program in self.programs.values():
            program.stdin.close()
            program.wait()
            program.stdout.close()

    def tell(self, program, what, port):
        child = self.programs[program]
        print(what, port, file=child.stdin, flush=True)
        return child.stdout.readline().strip()

    def hold(self, program, what, port):
        """Whether that could be: a port may be taken."""
        if port in self.held or self.tell(program, what, port) != "ok":
            return False
        if what != "pass":
            self.held[port] = (what, program)
        return True

    def let_go(self, port):
        assert self.tell(self.held.pop(port)[1], "close", port) == "ok"

    def write(self):
        rows = [f'<site name="{name}" id="{number + 1}"><bindings>' +
                "".join(f'<binding protocol="http" bindingInformation="*:{port}:" />' for port in ports) +
                "</bindings></site>\n" for number, (name, ports) in enumerate(self.sites.items())]
        whole = HEAD + "".join(rows) + TAIL
        self.file.write_text(whole[:-len(TAIL) // 2] if self.file_is == "half written" else whole)
        if self.file_is == "gone":
            self.file.unlink()

    def facts(self, hidden=False, silent=False):
        """`silent`: the look finds sockets that are bound and do not listen as well."""
        sites, standing = collections.defaultdict(list), collections.defaultdict(list)
        for name, ports in self.sites.items():
            for port in ports if self.file_is != "gone" else ():
                sites[port].append(name)  # of a file that is half written what is before the break is seen
        for port, (what, program) in self.held.items():
            if what in ("listen", "hide") or (silent and what == "bind"):
                standing[port].append(None if what == "hide" else program)
        broken = self.file_is != "whole"
        return Facts(sites, standing, self.passing(), hidden=hidden and broken, blind=not hidden and broken)

    def passing(self):
        """Connections; TIME_WAIT, which ends when it likes, so it is asked of the kernel; and sockets that are bound
        and do not listen: finding out whose would take a walk over all connections."""
        with open("/proc/self/net/tcp") as table:
            rows = [line.split() for line in table][1:]
        return {int(row[1].split(":")[1], 16) for row in rows if row[3] != "0A"} | {
            port for port, (what, _) in self.held.items() if what == "bind"}


# ---- The ledger, as anyone can read it -------------------------------------------------------------------------------

# what an event tells of a lease; the times are left out, because the test moves those of the rows
TOLD = ("id", "port", "protocol", "owner_key", "labels", "deployment", "name", "state", "holder", "process")


class Book:
    def __init__(self, file):
        self.file, self.seen, self.replayed = file, 0, {}

    def ask(self, query, *values):
        if not self.file.exists():
            return []
        db = sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)
        db.row_factory = sqlite3.Row
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    def rows(self):
        return self.ask("SELECT * FROM lease ORDER BY port")

    def leases(self):
        return [Lease(row["id"], row["port"], row["owner_key"], row["name"], row["deployment"], row["state"],
                      row["holder"], row["created"], row["renewed"], row["expires"], row["looks"], row["process"])
                for row in self.rows()]

    def looked(self):
        """When all leases were looked at last."""
        rows = self.ask("SELECT value FROM meta WHERE key LIKE 'note:looked%'")
        return int(rows[0]["value"]) if rows else 0

    def new_events(self):
        """(kind, port) of what was added since the last call; replays it."""
        rows = self.ask("SELECT * FROM event WHERE id > ? AND lease NOT NULL ORDER BY id", self.seen)
        for row in rows:
            self.seen = row["id"]
            before = self.replayed.pop(row["lease"], None)
            told = json.loads(row["before"]) if row["before"] else None
            assert (before is None) == (told is None), f"event {row['id']}: it begins what was there, or the like"
            assert before is None or before == {key: told[key] for key in TOLD}, f"event {row['id']}: a gap before it"
            if row["detail"]:
                after = json.loads(row["detail"])
                self.replayed[row["lease"]] = {key: after[key] for key in TOLD}
        return [(row["kind"], row["port"]) for row in rows]

    def move_clock(self, seconds):
        """As if the clock went on, or back."""
        if not self.file.exists():
            return
        with sqlite3.connect(self.file) as db:
            db.execute("UPDATE lease SET created = created - ?1, renewed = renewed - ?1,"
                       " expires = CASE WHEN expires > 0 THEN max(1, expires - ?1) ELSE 0 END", (seconds,))
            db.execute("UPDATE meta SET value = CAST(value AS INTEGER) - ?1 WHERE key LIKE 'note:looked%'", (seconds,))
        db.close()


# ---- Comparing -------------------------------------------------------------------------------------------------------


class Mismatch(AssertionError):
    pass


def is_as(expected, real):
    """Is the real lease what was expected? Times within seconds, and numbers the real one chose."""
    holder = expected.holder if isinstance(expected.holder, frozenset) else {expected.holder}
    exact = dataclasses.replace(expected, id=expected.id or real.id, holder=real.holder, created=real.created,
                                renewed=real.renewed, expires=real.expires)
    near = all(abs(a - b) <= 10 for a, b in ((expected.created, real.created), (expected.renewed, real.renewed),
                                             (expected.expires, real.expires)))
    return exact == real and near and real.holder in holder


def compare(change, real, events):
    expected = {lease.port: lease for lease in change.leases}
    have = {lease.port: lease for lease in real}
    if len(have) != len(real) or len(expected) != len(change.leases):
        raise Mismatch("a port has two leases")
    for port in sorted({*expected, *have}):
        if port not in expected or port not in have or not is_as(expected[port], have[port]):
            raise Mismatch(f"port {port}: expected {expected.get(port)}, is {have.get(port)}")
    if sorted(change.events) != sorted(events):
        raise Mismatch(f"expected the events {sorted(change.events)}, there are {sorted(events)}")


# ---- The walk --------------------------------------------------------------------------------------------------------


class Walk:
    def __init__(self, run, program, env, machine, book, dice):
        self.run, self.program, self.env, self.machine, self.book, self.dice = run, program, env, machine, book, dice
        self.steps, self.deployments, self.counts = [], 0, collections.Counter()
        self.hidden = self.silent = False

    def note(self, *words):
        self.steps.append(" ".join(map(str, words)))

    def options(self, hidden):
        return ["--iis-config", self.machine.file, *(["--policy", "iis=warn"] if hidden else [])]

    def command(self, words, predict, answered=None):
        """Runs the real program beside the reference. `predict(before, facts, now, looked, stepped)` gives a Change, or
        None where the document leaves it open."""
        for _ in range(3):
            self.keep_from_edges()
            before, facts, looked = self.book.leases(), self.facts(), self.book.looked()
            killed = self.dice.random() < 0.04
            self.note("nextport", *words, "(killed)" if killed else "")
            now = int(time.time())
            done = self.kill(words) if killed else self.run(*words)
            real, events = self.book.leases(), self.book.new_events()
            self.check_invariants(before, real, facts)
            changed = {lease.id for lease in before} - {lease.id for lease in before if lease in real}
            change = predict(before, facts, now, looked, lambda lease: lease.id in changed)
            if self.machine.passing() == facts.passing:
                return self.judge(done, change, before, real, events, facts, now, answered)
        return None  # TIME_WAIT ended in the middle, and again

    def judge(self, done, change, before, real, events, facts, now, answered):
        if done is None and real == before and not events:
            self.counts["killed before"] += 1
            return None
        if change is None:
            return done
        self.steps[-1] += f" -> {'killed after' if done is None else done.status}"
        if done is not None and done.status != change.status:
            raise Mismatch(f"expected status {change.status}: {done}")
        compare(change, real, events)
        self.counts[f"status {change.status}"] += 1
        self.counts.update(kind for kind, _ in events)
        if done is not None and done.status == 0 and answered:
            answered(done, change)
        return done

    def kill(self, words):
        child = subprocess.Popen([self.program, *map(str, words)], env=self.env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(self.dice.uniform(0, 0.006))
        child.kill()
        child.wait()
        return None

    def facts(self):
        return self.machine.facts(self.hidden, self.silent)

    def keep_from_edges(self):
        """Nothing becomes due between our look and the program's."""
        while any(0 < edge - int(time.time()) <= 8 for edge in self.edges()):
            self.book.move_clock(10)

    def edges(self):
        for lease in self.book.leases():
            yield from (lease.expires, lease.renewed, lease.renewed + reference.LOOK)
        yield from (self.book.looked(), self.book.looked() + reference.LOOK)

    def check_invariants(self, before, real, facts):
        replayed = sorted(self.book.replayed.values(), key=lambda lease: lease["port"])
        rows = [{key: row[key] for key in TOLD} for row in self.book.rows()]
        if replayed != rows:
            raise Mismatch(f"the events replay to {replayed}, and the ledger has {rows}")
        there, leased = {lease.id for lease in real}, {lease.port for lease in real}
        for lease in before:
            if lease.id in there or (lease.state == reference.QUARANTINED and lease.port in leased):
                continue  # it is there, or what was given back has been given to whose it is
            if (facts.users(lease.port) or facts.hidden or facts.blind):
                raise Mismatch(f"{lease} is in use or may be, and was ended")

    # ---- Requests ----

    def do_next(self):
        options, key = self.dice.choice([*OWNERS, *OWNERS, ((), ""), ((), "")])
        names, more, ask = self.dice.choice(NAMES), [], Ask(owner=key, pool=POOL)
        if self.dice.random() < 0.1:
            names, more = ("Port", "Port2", "Port3"), ["--count", "3"]
        elif names != ("Port",):
            more = [word for name in names for word in ("--name", name)]
        if key and self.dice.random() < 0.25:
            ask = dataclasses.replace(ask, **self.choose_deployment())
            more += ["--fresh", "--deployment", ask.deployment, *(["--keep", ask.keep] if ask.keep else [])]
        if self.dice.random() < 0.15:
            ask = dataclasses.replace(ask, ttl=2 * reference.HOUR)
            more += ["--ttl", "2h"]
        if self.dice.random() < 0.1:
            ask = dataclasses.replace(ask, no_move=True)
            more += ["--no-move"]
        if self.dice.random() < 0.1:
            ask = dataclasses.replace(ask, pool=POOL[4:])
        self.hidden = self.dice.random() < 0.5
        ask = dataclasses.replace(ask, names=names)
        words = ["next", "--range", f"{ask.pool[0]}-{ask.pool[-1]}", "--format", "json", *options, *more,
                 *self.options(self.hidden)]
        self.command(words, lambda before, facts, now, looked, stepped:
                     reference.next_port(before, ask, facts, now, looked, stepped), self.check_answer)

    def choose_deployment(self):
        """A new one, or the retry of a recent one."""
        if self.dice.random() < 0.6:
            self.deployments += 1
        recent = max(1, self.deployments - self.dice.choice([0, 0, 0, 1, 2]))
        return {"deployment": f"Deployments-{recent:05}", "keep": self.dice.choice([0, 1, 2, 3])}

    def check_answer(self, done, change):
        told = [(port["name"], port["port"], port["verdict"], port["moved_from"]) for port in done.json["ports"]]
        if told != change.answer:
            raise Mismatch(f"expected the answer {change.answer}: {done}")

    def do_release(self):
        leases = self.book.leases()
        options, key = self.dice.choice(OWNERS)
        lease = self.dice.choice(leases) if leases else None
        which, words = {"owner": key}, [*options]
        if lease and self.dice.random() < 0.6:
            by_port = self.dice.random() < 0.5
            which = {"port": lease.port} if by_port else {"id": lease.id}
            words = [lease.port] if by_port else ["--id", lease.id]
            if self.dice.random() < 0.3:
                which["owner"], words = key, [*words, *options]
        self.hidden = True  # it does not look
        self.command(["release", *words], lambda before, facts, now, looked, stepped:
                     reference.release(before, now, **which))

    def do_sweep(self):
        self.hidden = self.dice.random() < 0.3
        self.command(["sweep", *self.options(self.hidden)], lambda before, facts, now, looked, stepped:
                     reference.sweep(before, facts, now, looked))

    def do_assign(self):
        options, key = self.dice.choice(OWNERS)
        port, in_use = self.dice.choice([*POOL, *OUTSIDE]), self.dice.random() < 0.3
        self.hidden, self.silent = False, True
        words = ["assign", port, *options, *(["--in-use"] if in_use else []), *self.options(False)]
        self.command(words, lambda before, facts, now, looked, stepped:
                     reference.assign(before, facts, now, port, key, "Port", in_use))
        self.silent = False

    def do_adopt(self):
        self.hidden = self.dice.random() < 0.5
        self.command(["adopt", "--apply", "--range", f"{POOL[0]}-{POOL[-1]}", *self.options(self.hidden)],
                     lambda before, facts, now, looked, stepped: reference.adopt(before, facts, now, POOL))

    def do_exec(self):
        """A command that ends at once. Its lease is the walk's business from then on."""
        options, _ = self.dice.choice([*OWNERS, ((), "")])
        self.hidden = False
        self.command(["exec", "--range", f"{POOL[0]}-{POOL[-1]}", *options, *self.options(False), "--", "true"],
                     lambda before, facts, now, looked, stepped: None)

    # ---- What happens meanwhile ----

    def do_time(self):
        seconds = self.dice.choice([60, 200, 1800, 3700, 7500, 3 * reference.HOUR, reference.DAY, reference.DAY * 2,
                                    reference.DAY * 8, -200, -2 * reference.HOUR, -2 * reference.DAY])
        self.note("clock", f"{seconds:+}")
        self.book.move_clock(seconds)

    def port(self):
        """One that is leased, or any."""
        leased = [lease.port for lease in self.book.leases()]
        return self.dice.choice(leased if leased and self.dice.random() < 0.6 else [*POOL, *OUTSIDE])

    def do_socket(self):
        port = self.port()
        what = self.dice.choice(["listen", "listen", "listen", "bind", "hide", "connect", "pass"])
        program = self.dice.choice(PROGRAMS)
        if self.machine.hold(program, what, port):
            self.note(program, what, port)

    def do_close(self):
        if self.machine.held:
            port = self.dice.choice(sorted(self.machine.held))
            self.note("close", port)
            self.machine.let_go(port)

    def do_site(self):
        """Added, given another port or one more, renamed, deleted; its application starts with it or does not."""
        sites, dice = self.machine.sites, self.dice
        name, other = dice.choice(SITES), dice.choice(SITES)
        port = self.port()
        if name in sites and dice.random() < 0.3:
            del sites[name]
        elif name in sites and other not in sites and dice.random() < 0.3:
            sites[other] = sites.pop(name)
        elif name in sites and dice.random() < 0.3:
            sites[name] = sorted({*sites[name], port})
        else:
            sites[name] = [port]
        self.note("sites", json.dumps(sites))
        self.machine.write()
        if dice.random() < 0.3 and name in sites and self.machine.hold("w3wp", "listen", port):
            self.note("w3wp", "listen", port)

    def do_spoil(self):
        """The configuration is half written, gone, or whole again."""
        whole = self.machine.file_is == "whole"
        self.machine.file_is = self.dice.choice(["half written", "gone"]) if whole else "whole"
        self.note("configuration", self.machine.file_is)
        self.machine.write()

    def do_round_trip(self):
        """What is exported can be imported: here nothing changes, and elsewhere the same comes out."""
        out = self.run("export")
        before, events = self.book.rows(), self.book.new_events()
        self.note("export, import")
        if out.status != 0:
            raise Mismatch(f"export: {out}")
        file = self.machine.file.with_name("export.jsonl")
        file.write_bytes(out.out)
        again = self.run("import", file)
        if again.status != 0 or self.book.rows() != before or events or self.book.new_events():
            raise Mismatch(f"an import of what is there changed it: {again}")

    WEIGHTS = {"do_next": 36, "do_release": 10, "do_sweep": 10, "do_assign": 5, "do_adopt": 3,
               "do_exec": 4, "do_time": 14, "do_socket": 10,
               "do_close": 6, "do_site": 8, "do_spoil": 2, "do_round_trip": 1}

    def go(self, n):
        for number in range(n):
            if self.machine.file_is != "whole" and self.dice.random() < 0.3:
                self.do_spoil()  # not for long
            what, = self.dice.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))
            try:
                getattr(self, what)()
            except (Mismatch, AssertionError) as trouble:
                self.explain(number, trouble)

    def explain(self, number, trouble):
        leases = "\n".join(map(str, self.book.leases()))
        steps = "\n".join(self.steps[-60:])
        pytest.fail(f"step {number} of seed {os.environ['NEXTPORT_SEED']}: {trouble}\n\nthe last steps:\n{steps}\n\n"
                    f"the ledger:\n{leases}\n\nthe machine:\n{self.machine.facts()}", pytrace=False)


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    made.stop()


def test_the_program_and_the_reference_agree_at_every_step(nextport, program, ledger, tmp_path, machine):
    os.environ.setdefault("NEXTPORT_SEED", str(random.randrange(2**32)))
    env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG=str(tmp_path / "nextport.conf"))
    dice = random.Random(int(os.environ["NEXTPORT_SEED"]))
    walk = Walk(nextport, program, env, machine, Book(ledger), dice)
    walk.go(STEPS)
    print(dict(walk.counts))
    if STEPS >= 300:
        for kind in ("granted", "kept", "confirmed", "released", "expired"):
            assert walk.counts[kind], f"nothing was {kind}: the walk proves little (seed {os.environ['NEXTPORT_SEED']})"


def test_with_looks_and_time_enough_every_lease_that_nothing_uses_ends(nextport, ledger, machine):
    """Nothing lives for ever unseen, whatever it was."""
    book, options = Book(ledger), ["--iis-config", machine.file]
    machine.sites = {"Shop": [POOL[1]]}
    machine.write()
    assert machine.hold("java", "listen", POOL[2])
    for owner in ((), ("--project", "a"), ("--project", "b"), ("--project", "c"), ("--project", "d")):
        assert nextport("next", "--range", f"{POOL[0]}-{POOL[-1]}", *owner, *options).status == 0
    assert nextport("release", "--project", "d").status == 0
    machine.sites = {"Shop": [book.leases()[1].port]}
    machine.write()
    assert machine.hold("node", "listen", book.leases()[2].port)
    assert nextport("sweep", *options).status == 0
    assert [lease.state for lease in book.leases()].count("confirmed") == 2
    machine.sites = {}
    machine.write()
    for port in list(machine.held):
        machine.let_go(port)
    for _ in range(reference.LOOKS + 2):
        book.move_clock(reference.DAY * 4)
        assert nextport("sweep", *options).status == 0
    assert book.leases() == []
