# SPDX-License-Identifier: MIT
"""What becomes of a lease: confirmed when seen in standing use, ended when due and unused, kept when one cannot know."""
import ctypes
import os
import pathlib
import sqlite3
import subprocess

import pytest

from conftest import CLONE_NEWNET, SITE, locked


@pytest.fixture
def due(ledger):
    """Makes every lease due, as a day would."""

    def pass_time():
        with sqlite3.connect(ledger) as db:
            db.execute("UPDATE lease SET expires = 1 WHERE expires > 0")
        db.close()

    return pass_time


@pytest.fixture
def leases(nextport):
    def list_leases():
        done = nextport("leases", "--format", "json")
        assert done.status == 0, done
        return {lease["port"]: lease["state"] for lease in done.json["leases"]}

    return list_leases


def events(ledger):
    db = sqlite3.connect(ledger)
    rows = db.execute("SELECT kind, port FROM event WHERE port IS NOT NULL ORDER BY id").fetchall()
    db.close()
    return rows


def test_an_unused_lease_that_is_due_ends_and_its_port_is_given_again(nextport, due, leases, ledger):
    assert nextport("next").port == 49000
    due()
    assert nextport("next").port == 49000
    assert leases() == {49000: "pending"}
    assert events(ledger) == [("granted", 49000), ("expired", 49000), ("granted", 49000)]


def test_a_lease_that_is_not_due_stays(nextport, leases):
    assert [nextport("next").port for _ in range(3)] == [49000, 49001, 49002]
    assert set(leases()) == {49000, 49001, 49002}


def test_a_lease_that_is_due_and_listened_on_is_confirmed(nextport, due, leases, holder):
    assert nextport("next").port == 49000
    holder("listen127", 49000)
    due()
    assert nextport("next").port == 49001
    assert leases() == {49000: "confirmed", 49001: "pending"}


def test_a_confirmed_lease_does_not_end_by_time(nextport, due, leases, holder):
    assert nextport("next").port == 49000
    running = holder("listen4", 49000)
    due()
    nextport("next")
    running.stdin.close()
    running.wait(timeout=20)
    due()
    assert nextport("next").port == 49001, "the second lease was due, the first is confirmed"
    assert leases()[49000] == "confirmed"


def test_a_passing_connection_neither_confirms_nor_ends_a_lease(nextport, due, leases, holder):
    assert nextport("next").port == 49000
    holder("outgoing4-bind", 49000)
    due()
    assert nextport("next").port == 49001
    assert leases() == {49000: "pending", 49001: "pending"}


def test_what_an_unreadable_source_may_hide_is_not_ended(nextport, due, leases, tmp_path):
    assert nextport("next").port == 49000
    due()
    given = nextport("next", "--iis-config", tmp_path / "missing", "--policy", "iis=warn")
    assert given.port == 49001
    assert leases() == {49000: "pending", 49001: "pending"}


def test_a_stopped_sites_port_is_confirmed_and_stays(nextport, due, leases, tmp_path):
    assert nextport("next").port == 49000
    site = tmp_path / "app.config"
    site.write_text(SITE.format("Shop", 49000))
    due()
    assert nextport("next", "--iis-config", site).port == 49001
    assert leases()[49000] == "confirmed"


def test_a_full_pool_ends_as_many_due_leases_as_it_takes(nextport, due, leases):
    """Each request moves on a bounded number of leases, but none is refused while there are more to end."""
    pool = ("--range", "49000-49299")
    assert nextport("next", "--count", 300, *pool).status == 0
    assert nextport("next", *pool).status == 3
    due()
    assert len(nextport("next", "--count", 300, *pool).text.split()) == 300
    assert set(leases().values()) == {"pending"}


def test_the_time_to_live_is_what_was_asked(nextport):
    nextport("next", "--ttl", "2h")
    lease, = nextport("leases", "--format", "json").json["leases"]
    assert lease["expires"] - lease["created"] == 7200


def test_a_dry_run_ends_nothing(nextport, due, leases, ledger):
    assert nextport("next").port == 49000
    due()
    assert nextport("next", "--dry-run").port == 49000, "as the real one would"
    assert leases() == {49000: "pending"}
    assert events(ledger) == [("granted", 49000)]


@pytest.mark.parametrize("pool, port", [("49000-49199", 49130), ("49000-49129", 49100)])
def test_a_dry_run_ends_no_more_leases_than_the_real_one(nextport, ledger, pool, port):
    """Each request moves on the lowest few; all, where it would find no port else."""
    assert nextport("next", "--count", 130).status == 0
    with sqlite3.connect(ledger) as db:
        db.execute("UPDATE lease SET state = 'confirmed', expires = 0 WHERE port < 49080")
        db.execute("UPDATE lease SET expires = 1 WHERE port >= 49100")
        db.execute("DELETE FROM meta WHERE key LIKE 'note:looked%'")
    db.close()
    foreseen = nextport("next", "--dry-run", "--range", pool).port
    assert nextport("next", "--range", pool).port == foreseen == port


def test_a_dry_run_gives_no_port_that_is_due_but_in_use(nextport, due, holder):
    assert nextport("next").port == 49000
    holder("listen6", 49000)
    due()
    assert nextport("next", "--dry-run").port == 49001


def test_a_released_port_rests_before_somebody_else_gets_it_and_its_history_stays(nextport, due, leases, ledger):
    assert nextport("next").port == 49000
    assert nextport("release", 49000).status == 0
    assert leases() == {49000: "quarantined"}
    assert nextport("next").port == 49001
    due()
    assert nextport("next").port == 49000
    assert events(ledger)[:3] == [("granted", 49000), ("released", 49000), ("granted", 49001)]
    assert sorted(events(ledger)[3:5]) == [("expired", 49001), ("rested", 49000)]


def test_only_its_owner_gets_a_released_port_back_at_once(nextport, leases):
    shop, other = ("--project", "shop"), ("--project", "other")
    assert nextport("next", *shop).port == 49000
    assert nextport("release", *shop).status == 0
    assert nextport("next", *other).port == 49001
    assert nextport("next", *shop).port == 49000
    assert leases() == {49000: "pending", 49001: "pending"}


@pytest.mark.linux("network namespaces")
def test_another_network_namespace_has_leases_of_its_own(nextport, leases):
    """The same ledger file, another set of ports: what is promised there does not matter here."""
    assert nextport("next").port == 49000
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
        assert nextport("next").port == 49000
        assert leases() == {49000: "pending"}
    finally:
        ctypes.CDLL(None).setns(here, CLONE_NEWNET)
        os.close(here)
    assert nextport("next").port == 49001


@pytest.fixture
def elsewhere(nextport):
    """A lease in a network namespace beside this one; its process keeps that one until it is ended."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        assert nextport("next").port == 49000
    finally:
        ctypes.CDLL(None).setns(here, CLONE_NEWNET)
        os.close(here)
    yield child
    child.stdin.close()
    child.wait(timeout=20)


def turn(ledger, value):
    """Changes what is remembered of a namespace, as SQL says it; of those that are gone, when there are any."""
    with sqlite3.connect(ledger) as db:
        notes = "key LIKE 'note:scope:%'"
        if db.execute(f"SELECT 1 FROM meta WHERE {notes} AND value LIKE '% gone %'").fetchone():
            notes += " AND value LIKE '% gone %'"
        db.execute(f"UPDATE meta SET value = {value} WHERE {notes}")
    db.close()


LONG_AGO = "substr(value, 1, instr(value, ' gone ')) || 'gone 1700000000'"


def in_ledger(ledger):
    with sqlite3.connect(ledger) as db:
        rows = db.execute("SELECT port FROM lease ORDER BY id").fetchall()
    db.close()
    return [port for port, in rows]


@pytest.mark.linux("network namespaces")
def test_leases_of_a_network_namespace_that_may_have_ended_stay_while_the_system_runs(nextport, elsewhere, ledger):
    """A socket or an open file may keep it, in any process and on the way between two: nobody can tell."""
    assert nextport("next").port == 49000
    elsewhere.stdin.close()
    elsewhere.wait(timeout=20)
    turn(ledger, "value || ' gone 1700000000'")  # whatever was believed of it
    assert nextport("sweep").status == 0
    assert in_ledger(ledger) == [49000, 49000]
    assert "2 leases (1 of other network namespaces)" in nextport("doctor").text
    assert nextport("sweep", "-v").text == "nothing had to be done\n"


@pytest.mark.linux("network namespaces")
def test_leases_of_a_network_namespace_that_the_system_has_ended_end_a_week_later(nextport, elsewhere, ledger):
    """As if the system had been started anew."""
    assert nextport("next").port == 49000
    turn(ledger, "'00000000' || substr(value, 9)")
    assert "has ended: its leases are kept" in nextport("sweep", "-v").log
    assert in_ledger(ledger) == [49000, 49000]
    turn(ledger, LONG_AGO)
    done = nextport("sweep")
    assert done.text == "expired port 49000 (lease 1, pending, for Port)\n" and "is gone for long" in done.log, done
    assert in_ledger(ledger) == [49000] and events(ledger)[-1] == ("expired", 49000)
    with sqlite3.connect(ledger) as db:  # nothing is left of it
        assert len(db.execute("SELECT key FROM meta WHERE key LIKE 'note:scope:%'").fetchall()) == 1
    db.close()


@pytest.mark.linux("network namespaces")
@pytest.mark.parametrize("more", ["", ":4026531836:4026531834:4026532000"], ids=["now", "an older nextport's"])
def test_a_network_namespace_that_asks_again_lives(nextport, elsewhere, ledger, more):
    turn(ledger, f"'00000000{more} gone 1700000000'")
    there = os.open(f"/proc/{elsewhere.pid}/ns/net", os.O_RDONLY)
    back = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        assert ctypes.CDLL(None).setns(there, CLONE_NEWNET) == 0
        assert nextport("next").port == 49001
    finally:
        ctypes.CDLL(None).setns(back, CLONE_NEWNET)
        os.close(there)
        os.close(back)
    assert nextport("sweep").status == 0
    assert in_ledger(ledger) == [49000, 49001]


@pytest.mark.linux("network namespaces")
def test_each_network_namespace_has_its_leases_looked_at(nextport, elsewhere, ledger, holder, leases):
    """A look there does not count as one here."""
    assert nextport("next").port == 49000
    child = holder("listen4", 49000)
    assert nextport("sweep").status == 0 and leases() == {49000: "confirmed"}
    child.stdin.close()
    child.wait(timeout=20)
    with sqlite3.connect(ledger) as db:
        here = db.execute("SELECT scope FROM lease WHERE state = 'confirmed'").fetchone()[0]
        db.execute("UPDATE meta SET value = value - 4000 WHERE key = ?", (f"note:looked:{here}",))
    db.close()
    there = os.open(f"/proc/{elsewhere.pid}/ns/net", os.O_RDONLY)
    back = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        assert ctypes.CDLL(None).setns(there, CLONE_NEWNET) == 0
        assert nextport("sweep").status == 0
    finally:
        ctypes.CDLL(None).setns(back, CLONE_NEWNET)
        os.close(there)
        os.close(back)
    assert nextport("sweep").status == 0 and leases() == {49000: "absent"}


def test_a_clock_that_goes_back_ends_nothing(nextport, leases, ledger):
    assert nextport("next").port == 49000
    with sqlite3.connect(ledger) as db:  # as if it had been granted in the future
        db.execute("UPDATE lease SET created = created + 86400 * 365, expires = expires + 86400 * 365")
    db.close()
    assert nextport("next").port == 49001
    assert pathlib.Path(ledger).exists() and leases() == {49000: "pending", 49001: "pending"}


# ---- sweep ----------------------------------------------------------------------------------------------------------


def test_sweep_ends_what_lapsed_and_confirms_what_is_used(nextport, due, leases, ledger, holder):
    assert len(nextport("next", "--count", 3).text.split()) == 3
    holder("listen127", 49001)
    due()
    done = nextport("sweep")
    assert done.status == 0, done
    assert done.text.splitlines() == ["expired port 49000 (lease 1, pending, for Port)",
                                      "expired port 49002 (lease 3, pending, for Port3)",
                                      "1 lease was seen in use and confirmed"], done
    assert leases() == {49001: "confirmed"}
    assert sorted(events(ledger)[3:]) == [("confirmed", 49001), ("expired", 49000), ("expired", 49002)]


def test_sweep_confirms_what_is_used_before_it_is_due(nextport, leases, holder):
    assert nextport("next").port == 49000
    holder("listen4", 49000)
    assert nextport("sweep", "--format", "json").json["confirmed"] == 1
    assert leases() == {49000: "confirmed"}


def test_sweep_reaches_leases_outside_the_pool(nextport, due, leases):
    assert nextport("next", "--range", "8000-8009").port == 8000
    due()
    assert nextport("sweep").status == 0
    assert leases() == {}


def test_sweep_does_all_in_many_small_transactions(nextport, due, leases, holder):
    assert nextport("next", "--count", 300).status == 0
    holder("listen4", 49250)
    due()
    done = nextport("sweep", "--format", "json").json
    assert (done["changed"], len(done["ended"]), done["confirmed"]) == (True, 299, 1)
    assert [lease["port"] for lease in done["ended"]] == [port for port in range(49000, 49300) if port != 49250]
    assert leases() == {49250: "confirmed"}


def test_sweep_with_nothing_to_do_writes_nothing(nextport, ledger):
    assert nextport("next").port == 49000
    before = events(ledger)
    done = nextport("sweep", "-v")
    assert (done.status, done.text) == (0, "nothing had to be done\n") and "no lease had to be moved on" in done.log
    quiet = nextport("sweep", "--quiet")
    assert (quiet.status, quiet.out, quiet.err) == (0, b"", b"")
    assert events(ledger) == before


def test_sweep_without_a_ledger_makes_none(nextport, ledger):
    done = nextport("sweep", "--format", "json")
    assert done.status == 0 and done.json["changed"] is False and done.json["ended"] == []
    assert not list(ledger.parent.glob("ledger.db*"))


def test_sweep_ends_nothing_that_an_unreadable_source_may_hide(nextport, due, leases, tmp_path):
    assert nextport("next").port == 49000
    due()
    refused = nextport("sweep", "--iis-config", tmp_path / "missing", "--policy", "iis=require")
    assert (refused.status, refused.out) == (4, b""), refused
    warned = nextport("sweep", "--iis-config", tmp_path / "missing", "--policy", "iis=warn")
    assert warned.status == 0 and "1 due lease is kept: what was not seen may use its port" in warned.log, warned
    assert leases() == {49000: "pending"}


def test_sweep_keeps_what_something_passing_occupies(nextport, due, leases, holder):
    assert nextport("next").port == 49000
    holder("outgoing4-bind", 49000)
    due()
    done = nextport("sweep", "-v")
    assert done.status == 0 and "1 due lease is kept: something has its port" in done.log, done
    assert leases() == {49000: "pending"}


def test_sweep_gives_up_when_another_has_the_ledger(nextport, ledger):
    assert nextport("next").port == 49000
    with locked(ledger):
        done = nextport("sweep", "--wait", "0")
    assert done.status == 8 and done.out == b"", done


def test_sweep_of_files_alone_is_refused(nextport, tmp_path):
    (tmp_path / "nextport.conf").write_text(f"[machine]\nroot = {tmp_path}\n")
    done = nextport("sweep")
    assert done.status == 2, done
