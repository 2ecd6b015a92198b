# SPDX-License-Identifier: MIT
"""Which leases and events are shown: those that have all that was asked for."""
import pytest


@pytest.fixture
def population(nextport):
    """shop/QA has two ports, shop/Prod one of a deployment, blog one, and nobody one."""
    nextport("next", "--project", "Shop", "--environment", "QA", "--name", "Http", "--name", "Https")
    nextport("next", "--project", "shop", "--environment", "Prod", "--fresh", "--deployment", "D-1")
    nextport("next", "--project", "blog", "--label", "team=web")
    assert nextport("next").port == 49004


@pytest.mark.parametrize("asked, ports", [
    ((), [49000, 49001, 49002, 49003, 49004]),
    ((49001,), [49001]),
    (("--id", "3"), [49002]),
    (("--project", "SHOP"), [49000, 49001, 49002]),
    (("--environment", "qa"), [49000, 49001]),
    (("--label", "Team=WEB"), [49003]),
    (("--project", "shop", "--name", "Https"), [49001]),
    (("--name", "Port"), [49002, 49003, 49004]),
    (("--deployment", "D-1"), [49002]),
    (("--project", "shop", "--tenant", "t"), []),
    ((49001, "--project", "blog"), []),
    (("--project", "sho"), []),
])
def test_leases_are_those_that_have_all_that_is_asked(nextport, population, asked, ports):
    done = nextport("leases", "--format", "json", *asked)
    assert done.status == 0, done
    assert [lease["port"] for lease in done.json["leases"]] == ports


@pytest.mark.parametrize("asked, ports", [
    ((), [None, 49000, 49001, 49002, 49003, 49004]),
    (("--limit", "2"), [49003, 49004]),
    (("--project", "Shop", "--limit", "1"), [49002]),
    (("--environment", "QA"), [49000, 49001]),
    ((49003,), [49003]),
    (("--id", "3"), [49002]),
    (("--name", "Https"), [49001]),
    (("--deployment", "D-1"), [49002]),
    (("-D", "d-1"), []),
    (("--label", "team=none"), []),
])
def test_events_are_those_that_have_all_that_is_asked_the_newest_last(nextport, population, asked, ports):
    done = nextport("log", "--format", "json", *asked)
    assert done.status == 0, done
    assert [event["port"] for event in done.json["events"]] == ports


def test_the_history_of_a_lease_outlives_it_and_says_who_asked_for_what(nextport, population):
    assert nextport("release", 49003).status == 0
    events = nextport("log", "--format", "json", 49003).json["events"]
    assert [event["kind"] for event in events] == ["granted", "released"]
    assert events[0]["owner"] == "blog team=web" and events[0]["request"].startswith("next ")
    assert events[0]["before"] is None and events[1]["after"]["state"] == "quarantined"


@pytest.mark.parametrize("command", ["leases", "log"])
def test_no_ledger_is_no_lease_and_no_event_and_none_is_made(nextport, ledger, command):
    done = nextport(command, "--format", "json", "--project", "shop")
    assert done.status == 0 and done.json[{"leases": "leases", "log": "events"}[command]] == []
    assert not ledger.exists()


@pytest.mark.parametrize("command", ["leases", "log"])
def test_a_label_that_is_none_is_refused(nextport, population, command):
    refused = nextport(command, "--project", "#{Octopus.Project.Name}")
    assert refused.status == 2 and "substitute" in refused.log


@pytest.mark.parametrize("command", [("release",), ("next",), ("next", "--fresh", "--deployment", "D-2")])
def test_an_empty_tenant_alone_names_neither_nobody_nor_everybody(nextport, population, command):
    refused = nextport(*command, "--tenant", "")
    assert refused.status == 2 and "they name no owner" in refused.log
    states = {lease["state"] for lease in nextport("leases", "--format", "json").json["leases"]}
    assert states == {"pending"}


def test_the_map_has_every_claim_of_the_pool_and_nothing_else(nextport, population, holder):
    holder("listen127", 49010)
    holder("listen127", 48000)
    done = nextport("map", "--format", "json", "--range", "49000-49009,49010", "--exclude", "49002")
    assert done.status == 0, done
    assert done.json["pool"] == [{"first": 49000, "last": 49001}, {"first": 49003, "last": 49010}]
    claims = [(claim["first"], claim["last"], claim["kind"]) for claim in done.json["claims"]]
    assert claims == [(port, port, "leased") for port in (49000, 49001, 49003, 49004)] + [(49010, 49010, "socket")]


def test_what_next_avoids_is_not_called_free(nextport, tmp_path):
    asked = ("--range", "6660-6670", "--avoid", "browser")
    free = nextport("free", "--format", "json", *asked).json
    assert free["count"] == 6 and nextport("next", *asked).port == free["free"][0]["first"]
    (tmp_path / "nextport.conf").write_text("[pool]\nrange = 6660-6670\navoid = browser\n")
    claims = nextport("map", "--format", "json").json["claims"]
    assert [(claim["first"], claim["last"]) for claim in claims if claim["kind"] == "reserved"] == [(6665, 6669)]
