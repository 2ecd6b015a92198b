# SPDX-License-Identifier: MIT
"""What an owner gets that asks: one test for each row of doc/lifetimes.md, and the options that say who it is."""
import os
import sqlite3
import subprocess

import pytest

from conftest import SITE, has_open, locked

SHOP = ("--project", "shop", "--environment", "QA")


@pytest.fixture
def ask(nextport):
    """ask(..): `next` for the owner as one object of JSON; the status must be 0."""

    def run(*more, owner=SHOP):
        done = nextport("next", *owner, "--format", "json", *more)
        assert done.status == 0, done
        answer, = done.json["ports"]
        return answer

    return run


@pytest.fixture
def sites(tmp_path):
    """sites("Shop", 49000): an applicationHost.config with this site, as options."""

    def write(name, port):
        file = tmp_path / "applicationHost.config"
        file.write_text(SITE.format(name, port))
        return "--iis-config", file

    return write


def lease(nextport, *which):
    """The one lease, beside what a moved one has left to rest."""
    found, = [row for row in nextport("leases", "--format", "json", *which).json["leases"]
              if row["owner"] or row["state"] != "quarantined"]
    return found


# ---- The verdict table ----------------------------------------------------------------------------------------------


def test_no_lease_a_fresh_port_is_granted(ask):
    answer = ask()
    assert (answer["port"], answer["verdict"], answer["why"]) == (49000, "grant", None)


def test_quarantined_the_same_port_is_taken_back(ask, nextport):
    ask()
    released, = nextport("release", *SHOP, "--format", "json").json["leases"]
    assert released["state"] == "quarantined" and released["expires"] - released["renewed"] == 120
    answer = ask()
    assert (answer["port"], answer["verdict"], answer["why"]) == (49000, "keep", "taken back while it rested")
    assert lease(nextport)["state"] == "pending"


def test_quarantined_and_used_by_its_holder_it_is_taken_back_and_says_so(ask, nextport, sites):
    ask()
    options = sites("Shop", 49000)
    ask(*options)
    nextport("release", *SHOP)
    assert ask(*options)["why"] == "taken back while it rested; iis: Shop has it"


def test_nothing_on_its_port_the_same_is_kept_and_its_time_begins_anew(ask):
    assert ask()["port"] == 49000
    again = ask()
    assert (again["port"], again["verdict"], again["why"]) == (49000, "keep", "nobody else is seen on it")


def test_something_transient_on_its_port_the_same_is_kept(ask, nextport, holder):
    ask()
    holder("outgoing4-bind", 49000)
    assert (ask()["port"], lease(nextport)["state"]) == (49000, "pending")


def test_its_recorded_holder_the_same_is_kept(ask, sites):
    ask()
    options = sites("Shop", 49000)
    assert ask(*options)["why"] == "iis: Shop has it: its application has started"
    assert ask(*options)["why"] == "iis: Shop has it"


@pytest.mark.linux("an ordinary user beside a program of root's")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_somebody_who_cannot_be_seen_the_same_is_kept(program, holder, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir(mode=0o755)
    os.chown(folder, 65534, 65534)
    for parent in folder.parents:
        if not parent.stat().st_mode & 1:
            parent.chmod(parent.stat().st_mode | 0o011)
    env = dict(os.environ, NEXTPORT_LEDGER=str(folder / "ledger.db"), NEXTPORT_CONFIG="/dev/null", LC_ALL="C.UTF-8")

    def run():
        return subprocess.run([program, "next", *SHOP], env=env, user=65534, group=65534, extra_groups=[], text=True,
                              capture_output=True, timeout=60)

    if run().returncode != 0:
        pytest.skip("an ordinary user cannot reach the program here")
    holder("listen4", 49000)
    again = run()
    assert again.stdout == "49000\n" and "who has it cannot be seen" in again.stderr, again


def test_somebody_known_confirms_a_lease_that_never_had_a_holder(ask, nextport, sites):
    ask()
    ask(*sites("Shop", 49000))
    found = lease(nextport)
    assert (found["state"], found["holder"], found["expires"]) == ("confirmed", "iis: Shop", None)


@pytest.fixture
def strangers(ask, sites):
    """The owner's port as a stranger's: options that show it."""
    ask()
    ask(*sites("Shop", 49000))
    return sites("Blog", 49000)


def test_a_stranger_on_its_port_moves_it(ask, nextport, strangers):
    answer = ask(*strangers)
    assert (answer["port"], answer["verdict"], answer["moved_from"]) == (49001, "move", 49000)
    assert answer["why"] == "iis: Blog has it, and not iis: Shop"
    found = lease(nextport)
    assert (found["port"], found["state"], found["holder"]) == (49001, "pending", None)


def test_the_history_says_why_a_port_was_moved_and_left(ask, nextport, strangers):
    why = ask(*strangers)["why"]
    left, = (e for e in nextport("log", "49000", "--format", "json").json["events"] if e["kind"] == "released")
    moved = nextport("log", "49001", "--format", "json").json["events"][-1]
    assert (moved["kind"], moved["reason"]) == ("moved", why) and left["reason"] == "its lease has another port now"
    assert "reason" not in moved["after"]
    assert f"49000 -> 49001\n{'':18}{why}\n" in nextport("log").text


def test_a_stranger_and_no_move_is_status_6_and_nothing_changes(nextport, strangers):
    refused = nextport("next", *SHOP, "--no-move", *strangers)
    assert (refused.status, refused.out) == (6, b"") and "iis: Blog has it, and not iis: Shop" in refused.log
    assert (lease(nextport)["port"], lease(nextport)["state"]) == (49000, "confirmed")


def test_another_pool_moves_it_unless_that_is_forbidden(ask, nextport):
    ask()
    other = ("--range", "50000-50009")
    refused = nextport("next", *SHOP, "--no-move", *other)
    assert refused.status == 6 and "it is not among the ports that were asked for" in refused.log
    assert ask(*other)["port"] == 50000


@pytest.mark.linux("Wine does not tell which program has a socket")
def test_another_protocol_beside_it_widens_the_lease_or_moves_it(ask, nextport, holder, sites):
    ask()
    assert ask("--protocol", "both")["port"] == 49000 and lease(nextport)["protocol"] == "both"
    blog, options = ("--project", "blog"), sites("Blog", 49001)
    assert ask(owner=blog)["port"] == 49001
    assert ask(*options, owner=blog)["port"] == 49001
    holder("udp", 49001)
    moved = ask("--protocol", "both", *options, owner=blog)
    assert (moved["port"], moved["verdict"], moved["why"]) == (49002, "move", "its udp side is taken: sockets: holder has it")


def test_a_port_assigned_outside_the_pool_stays_its_owners(ask, nextport, sites):
    options = sites("Web", 8080)
    assert nextport("assign", 8080, *SHOP, "--in-use", *options).status == 0
    assert ask(*options)["port"] == 8080, "the pool says where new ports come from"
    assert ask("--range", "49000-49009", *options)["port"] == 49000, "asked by name"


def test_what_a_move_has_left_rests(ask, nextport):
    assert ask()["port"] == 49000
    assert ask("--range", "50000-50009")["port"] == 50000
    assert nextport("next", "--project", "other").port == 49001
    states = {row["port"]: (row["state"], row["owner"]) for row in nextport("leases", "--format", "json").json["leases"]}
    assert states[49000] == ("quarantined", None)


def test_a_retried_older_deployment_releases_nothing_newer(nextport):
    def deploy(number, keep):
        return nextport("next", *SHOP, "--fresh", "--deployment", number, "--keep", keep)

    assert [deploy(1, 5).port, deploy(2, 5).port, deploy(3, 5).port] == [49000, 49001, 49002]
    again = deploy(2, 1)
    assert again.port == 49001 and "port 49000 of deployment 1 is released" in again.log
    kept = {row["deployment"]: row["state"] for row in nextport("leases", *SHOP, "--format", "json").json["leases"]}
    assert kept == {"1": "quarantined", "2": "pending", "3": "pending"}


def test_a_full_pool_is_not_full_for_ever(nextport, ledger, sites):
    """What a refused request has seen counts: three looks an hour apart, and seven days, end what nothing uses."""
    options = ("--range", "49000")
    assert nextport("next", *SHOP, *options).port == 49000
    assert nextport("sweep", *sites("Shop", 49000)).status == 0
    assert lease(nextport)["state"] == "confirmed"
    for _ in range(4):
        db = sqlite3.connect(ledger)
        db.execute("UPDATE lease SET renewed = renewed - 300000, expires = max(expires - 300000, 0)")
        db.execute("UPDATE meta SET value = CAST(value - 300000 AS TEXT) WHERE key LIKE 'note:looked%'")
        db.commit()
        db.close()
        done = nextport("next", "--project", "other", *options)
    assert done.port == 49000, done


# ---- Who it is ------------------------------------------------------------------------------------------------------


def test_a_port_selected_by_its_owner_is_the_same_on_empty_ledgers(nextport, tmp_path):
    chosen = [nextport("next", *SHOP, "--select", "owner", env={"NEXTPORT_LEDGER": str(tmp_path / name)}).port
              for name in ("one.db", "two.db")]
    assert chosen[0] == chosen[1] != 49000


def test_what_is_avoided_is_not_given_and_why_says_so(nextport):
    pool = ("--range", "6665-6670")
    assert nextport("next", *SHOP, *pool, "--avoid", "browser").port == 6670


@pytest.mark.parametrize("words, hint", [
    (("--environment", "QA"), "project"),
    (("--project", "#{Octopus.Project.Name}"), "substitute"),
    (("--project", ""), "empty"),
    (("--project", "a", "--project", "b"), "project"),
    (("--project", "x" * 201), "200"),
    (("--label", "nothing"), "label"),
    (("--project", "shop", "--fresh"), "--deployment"),
    (("--project", "shop", "--deployment", "D-1"), "--fresh"),
    (("--fresh", "--deployment", "D-1"), "owner"),
    (("--project", "shop", "--keep", "2"), "--fresh"),
    (("--project", "shop", "--fresh", "--deployment", "D-1", "--keep", "0"), "--keep"),
    (("--project", "shop", "--fresh", "--deployment", "#{Octopus.Deployment.Id}"), "substitute"),
])
def test_what_names_no_owner_is_refused_and_leases_nothing(nextport, ledger, words, hint):
    refused = nextport("next", *words)
    assert refused.status == 2 and hint in refused.log, refused
    assert not ledger.exists()


@pytest.mark.linux("looks into /proc for who waits")
def test_labels_come_from_the_environment_or_it_is_an_error(nextport):
    ask = ("next", "--labels-from-env")
    assert nextport(*ask).status == 2
    assert nextport(*ask, env={"NEXTPORT_PROJECT": "shop"}).port == 49000
    assert nextport(*ask, "--environment", "QA", env={"NEXTPORT_PROJECT": "shop"}).port == 49001
    assert nextport("next", "--project", "SHOP").port == 49000


@pytest.mark.linux("an empty variable")
def test_an_empty_variable_of_the_environment_is_no_owner(nextport):
    assert nextport("next", "--labels-from-env", env={"NEXTPORT_PROJECT": ""}).status == 2


def test_release_names_the_whole_owner(nextport):
    assert nextport("next", *SHOP, "--channel", "x").port == 49000
    done = nextport("release", *SHOP)
    assert done.status == 0 and "1 lease is of owners with more labels, as shop/QA/x" in done.log, done
    assert nextport("release", *SHOP, "--channel", "x", "--format", "json").json["changed"]


def test_a_request_killed_while_it_waits_leaves_its_port_to_the_repetition(program, nextport, ledger):
    """Whether the one that was killed had the lease already or not: the repetition gets the lowest port, once."""
    nextport("next")
    env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG="/dev/null")
    with locked(ledger):
        waiting = subprocess.Popen([program, "next", *SHOP], env=env, stdout=subprocess.PIPE)
        while not has_open(waiting.pid, f"{ledger}-lock"):
            assert waiting.poll() is None
        waiting.kill()
        waiting.communicate()
    assert [nextport("next", *SHOP).port for _ in range(2)] == [49001, 49001]
