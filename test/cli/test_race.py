# SPDX-License-Identifier: MIT
"""Many callers at once, callers that die, and callers that stand still: no port twice, no acknowledged lease lost."""
import json
import os
import random
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from conftest import WINDOWS

CALLERS = 8 if WINDOWS else 64  # under Wine all go through one server
FIRST = 49000
ROUNDS = int(os.environ.get("NEXTPORT_ROUNDS", "20"))
ANSWER = re.compile(rb"^(\d+)\n$")


@pytest.fixture
def callers(program, ledger, tmp_path):
    """callers(): as many programs, waiting at a gate; open it with callers.go()."""
    return Callers(program, ledger, tmp_path)


class Callers:
    def __init__(self, program, ledger, tmp_path):
        conf = tmp_path / "nextport.conf"
        conf.touch()
        self.program = program
        self.words = lambda caller: ["next", "--quiet"]
        self.env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG=str(conf))
        self.children = []

    def wait_at_gate(self):
        """Each shell becomes the program when the gate's last writer is gone."""
        gate, self.gate = os.pipe()
        shell = ["sh", "-c", 'read -r go; exec "$@"', "sh", self.program]
        self.children = [subprocess.Popen([*shell, *self.words(caller)], stdin=gate, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, env=self.env) for caller in range(CALLERS)]
        os.close(gate)

    def go(self):
        os.close(self.gate)
        return time.monotonic()

    def all_at_once(self, words):
        """What they say who are begun together; words(caller): the words of each."""
        self.words = words
        self.wait_at_gate()
        self.go()
        outcomes = self.collect()
        assert [status for status, _, _ in outcomes] == [0] * CALLERS, outcomes
        return outcomes

    def collect(self):
        """What each one said, when all have ended: (status, standard output, standard error)."""
        said = [(child.communicate(timeout=120), child) for child in self.children]
        return [(child.returncode, out, err) for (out, err), child in said]


def look_into(ledger):
    """(ports of the live leases, what SQLite thinks of the file)"""
    database = sqlite3.connect(ledger)
    try:
        ports = [port for (port,) in database.execute("SELECT port FROM lease ORDER BY port")]
        return ports, database.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        database.close()


def acknowledged(outcomes):
    """Ports of the answers that arrived whole; half an answer is none."""
    return [int(match[1]) for match in (ANSWER.match(out) for _, out, _ in outcomes) if match]


def test_callers_at_once_get_the_lowest_ports_without_gaps(callers, ledger):
    given = []
    for turn in range(ROUNDS):
        callers.wait_at_gate()
        callers.go()
        outcomes = callers.collect()
        assert [status for status, _, _ in outcomes] == [0] * CALLERS, outcomes
        ports = sorted(acknowledged(outcomes))
        assert ports == list(range(FIRST + turn * CALLERS, FIRST + (turn + 1) * CALLERS)), f"round {turn}"
        given += ports
    assert look_into(ledger) == (given, "ok")


def kill_at_random(callers, started, within, dice):
    """Ends every other caller, each at its own moment."""
    victims = [(dice.uniform(0, within), child) for child in callers.children[::2]]
    for moment, child in sorted(victims, key=lambda victim: victim[0]):
        time.sleep(max(0, started + moment - time.monotonic()))
        child.kill()


def test_a_killed_caller_costs_nobody_a_port_and_loses_no_acknowledged_one(callers, ledger):
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    callers.wait_at_gate()
    started = callers.go()
    given = acknowledged(callers.collect())
    within = time.monotonic() - started  # kills are spread over as long as an undisturbed round takes
    killed = 0
    for turn in range(max(3, ROUNDS // 2)):
        callers.wait_at_gate()
        kill_at_random(callers, callers.go(), within, dice)
        outcomes = callers.collect()
        ended = [status for status, _, _ in outcomes]
        assert set(ended) <= {0, -signal.SIGKILL}, (seed, turn, outcomes)
        killed += ended.count(-signal.SIGKILL)
        given += acknowledged(outcomes)
        ports, health = look_into(ledger)
        assert health == "ok", (seed, turn)
        assert set(given) <= set(ports), (seed, turn, sorted(set(given) - set(ports)))
        assert len(set(given)) == len(given), (seed, turn)
    assert killed > 0, "nobody was killed in time: the test proved nothing"


def test_the_ledger_goes_on_after_its_writers_were_killed(callers, ledger, nextport):
    callers.wait_at_gate()
    callers.go()
    first = callers.children[0].stdout.read()  # others are in the middle of it now
    for child in callers.children:
        child.kill()
    given = acknowledged([(0, first, b"")] + callers.collect()[1:])
    assert nextport("next", "-q").port not in given
    assert look_into(ledger)[1] == "ok"


# ---- Owners ----------------------------------------------------------------------------------------------------------


def owned(ledger):
    """{(owner, name): port} of the leases that are not given back; the events must tell of the same rows."""
    database = sqlite3.connect(ledger)
    try:
        rows = database.execute("SELECT id, port, owner_key, name, state FROM lease ORDER BY id").fetchall()
        told = {}
        for lease, detail in database.execute("SELECT lease, detail FROM event WHERE lease NOT NULL ORDER BY id"):
            told[lease] = detail and json.loads(detail)
        replayed = [(row["id"], row["port"], row["owner_key"], row["name"], row["state"])
                    for row in told.values() if row]
        assert sorted(replayed) == rows
        return {(owner, name): port for _, port, owner, name, state in rows if state != "quarantined"}
    finally:
        database.close()


def test_one_owner_gets_one_port_however_many_ask_for_it_at_once(callers, ledger):
    outcomes = callers.all_at_once(lambda caller: ["next", "--quiet", "--project", "shop" if caller % 2 else "SHOP"])
    assert acknowledged(outcomes) == [FIRST] * CALLERS
    assert owned(ledger) == {("project=shop", "Port"): FIRST}


def test_one_owner_gets_the_same_three_ports_however_many_ask_for_them_at_once(callers, ledger):
    outcomes = callers.all_at_once(lambda caller: ["next", "--quiet", "--project", "shop", "--count", "3"])
    assert {out for _, out, _ in outcomes} == {"".join(f"{FIRST + i}\n" for i in range(3)).encode()}
    assert len(owned(ledger)) == 3


def test_owners_that_are_released_meanwhile_never_share_a_port(callers, ledger):
    """Each owner's port is asked for, given back and asked for again, by callers that know nothing of each other."""
    for turn in range(max(2, ROUNDS // 4)):
        outcomes = callers.all_at_once(lambda caller: ["release" if caller % 4 == 3 and turn else "next", "--quiet",
                                                       "--project", f"shop {caller % 8}"])
        given = {}
        for caller, (_, out, _) in enumerate(outcomes):
            match = ANSWER.match(out)
            if match:
                given.setdefault(int(match[1]), set()).add(caller % 8)
        assert all(len(owners) == 1 for owners in given.values()), (turn, given)
        ports = list(owned(ledger).values())
        assert len(set(ports)) == len(ports), turn
        assert look_into(ledger)[1] == "ok", turn


def test_a_sweep_takes_no_port_from_those_who_ask_meanwhile(callers, nextport, ledger):
    """Half of the leases are due; what is asked for at that moment is an owner's own again, or another one's."""
    half = CALLERS // 2
    callers.all_at_once(lambda caller: ["next", "--quiet", "--project", f"shop {caller}"])
    with sqlite3.connect(ledger) as database:
        database.execute("UPDATE lease SET expires = 1 WHERE id % 2 = 0")
    database.close()
    outcomes = callers.all_at_once(lambda caller: ["next", "--quiet", "--project", f"shop {caller}"]
                                   if caller < half else ["sweep", "--quiet"])
    given = acknowledged(outcomes[:half])
    assert len(set(given)) == half
    left = owned(ledger)
    assert [left[f"project=shop {caller}", "Port"] for caller in range(half)] == given
    assert nextport("sweep").status == 0
    assert [owned(ledger)[f"project=shop {caller}", "Port"] for caller in range(half)] == given


@pytest.mark.linux("a full pipe that blocks its writer until the reader goes")
def test_a_lost_answer_takes_the_port_from_nobody_who_was_told_it_since(program, nextport, ledger, tmp_path):
    """The first caller cannot hand its answer over; a second one of the same owner gets the port; then the first one
    learns that nobody reads it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG=str(tmp_path / "nextport.conf"))
    first = subprocess.Popen([program, "next", "--quiet", "--project", "shop"], env=env, stdout=writer)
    os.close(writer)
    try:
        deadline = time.monotonic() + 30
        while not (ledger.exists() and look_into(ledger)[0]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert nextport("next", "--quiet", "--project", "shop").port == FIRST
    finally:
        os.close(reader)
        first.wait(timeout=30)
    assert first.returncode != 0
    assert owned(ledger) == {("project=shop", "Port"): FIRST}
    assert nextport("next", "--quiet").port == FIRST + 1


HOLD = """
import fcntl, os, sys, time
lock = open(sys.argv[1], "r+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.truncate(0)
lock.write(f"{os.getpid()} {int(time.time())} holder of the lock\\n")
lock.flush()
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock_holder(nextport, ledger):
    """A process that holds the ledger's lock and left its name in it, as nextport does."""
    assert nextport("next").status == 0  # makes the ledger
    child = subprocess.Popen([sys.executable, "-c", HOLD, f"{ledger}-lock"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "locked\n"
    yield child
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()


@pytest.mark.linux("flock, stopped processes; test/unit/lock_windows_test.c has the like")
def test_a_stopped_lock_holder_is_named_when_the_deadline_is_over(nextport, ledger, lock_holder):
    lock_holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, lock_holder.pid, os.WSTOPPED | os.WNOWAIT)
    before = look_into(ledger)
    started = time.monotonic()
    done = nextport("next", "--wait", "1s")
    waited = time.monotonic() - started
    assert done.status == 8, done
    assert done.out == b""
    assert str(lock_holder.pid) in done.log and "stopped" in done.log, done
    assert f"kill -CONT {lock_holder.pid}" in done.log, done
    assert 0.9 <= waited < 10, waited
    assert look_into(ledger) == before


@pytest.mark.linux("flock, stopped processes; test/unit/lock_windows_test.c has the like")
def test_without_waiting_a_held_lock_is_told_at_once(nextport, lock_holder):
    done = nextport("next", "--wait", "0")
    assert (done.status, done.out) == (8, b""), done
    assert str(lock_holder.pid) in done.log, done


@pytest.mark.linux("flock, stopped processes; test/unit/lock_windows_test.c has the like")
def test_a_killed_lock_holder_frees_the_lock_at_once(program, ledger, tmp_path, lock_holder):
    env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG=str(tmp_path / "nextport.conf"))
    waiter = subprocess.Popen([program, "next", "--quiet", "--wait", "60s"], env=env, stdout=subprocess.PIPE)
    try:
        wait_until_blocked_by(lock_holder.pid, waiter.pid)
        lock_holder.kill()
        started = time.monotonic()
        ready, _, _ = select.select([waiter.stdout], [], [], 30)
        assert ready and waiter.stdout.readline() == b"49001\n"
        assert waiter.wait(timeout=30) == 0
        assert time.monotonic() - started < 10
    finally:
        waiter.kill()
        waiter.wait()
        waiter.stdout.close()


def wait_until_blocked_by(holder, waiter):
    """/proc/locks shows waiters as '1: -> FLOCK ADVISORY WRITE PID ..' below the lock's holder."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with open("/proc/locks") as locks:
            rows = locks.read()
        if re.search(rf"-> FLOCK +ADVISORY +WRITE +{waiter} ", rows):
            return
        time.sleep(0.01)
    pytest.fail(f"{waiter} never waited for {holder}")


@pytest.mark.linux("flock, stopped processes; test/unit/lock_windows_test.c has the like")
def test_leases_and_looks_do_not_wait_for_a_held_lock(nextport, lock_holder):
    for words in (["leases"], ["free"], ["why", "49000"], ["next", "--dry-run"]):
        assert nextport(*words).status == 0, words


@pytest.mark.linux("flock, stopped processes; test/unit/lock_windows_test.c has the like")
def test_only_who_may_write_the_ledger_may_open_its_lock(nextport, ledger):
    assert nextport("next").status == 0
    mode = os.stat(f"{ledger}-lock").st_mode & 0o777
    assert mode & 0o007 == 0, oct(mode)  # whoever may open it, be it to read, may hold it
