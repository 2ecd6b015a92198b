# SPDX-License-Identifier: MIT
"""What becomes of a lease: confirmed when seen in standing use, ended when due and unused, kept when one cannot know."""
import ctypes
import os
import pathlib
import sqlite3

import pytest

from conftest import CLONE_NEWNET, SITE


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


def test_a_dry_run_gives_no_port_that_is_due_but_in_use(nextport, due, holder):
    assert nextport("next").port == 49000
    holder("listen6", 49000)
    due()
    assert nextport("next", "--dry-run").port == 49001


def test_a_released_port_is_free_at_once_and_its_history_stays(nextport, leases, ledger):
    assert nextport("next").port == 49000
    assert nextport("release", 49000).status == 0
    assert leases() == {}
    assert nextport("next").port == 49000
    assert events(ledger) == [("granted", 49000), ("released", 49000), ("granted", 49000)]


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


def test_a_clock_that_goes_back_ends_nothing(nextport, leases, ledger):
    assert nextport("next").port == 49000
    with sqlite3.connect(ledger) as db:  # as if it had been granted in the future
        db.execute("UPDATE lease SET created = created + 86400 * 365, expires = expires + 86400 * 365")
    db.close()
    assert nextport("next").port == 49001
    assert pathlib.Path(ledger).exists() and leases() == {49000: "pending", 49001: "pending"}
