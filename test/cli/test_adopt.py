# SPDX-License-Identifier: MIT
"""Leasing what is there already: what is configured, to the one it is configured for; and a port fixed by hand."""
import json
import os
import sqlite3
import subprocess
import xml.sax.saxutils

import pytest

from conftest import locked


@pytest.fixture
def iis(tmp_path):
    """Writes an applicationHost.config of sites: iis({"Shop": [49000, 49001]}). Bindings may also be written out."""

    def write(sites):
        rows = []
        for number, (name, ports) in enumerate(sites.items(), 1):
            bindings = "".join('<binding protocol="http" bindingInformation="%s" />' %
                               (port if isinstance(port, str) else f"*:{port}:") for port in ports)
            quoted = xml.sax.saxutils.quoteattr(name, {"\n": "&#10;", "\t": "&#9;"})
            rows.append(f'<site name={quoted} id="{number}"><bindings>{bindings}</bindings></site>')
        file = tmp_path / "applicationHost.config"
        file.write_text("<configuration><system.applicationHost><sites>\n%s\n</sites></system.applicationHost>"
                        "</configuration>" % "\n".join(rows), encoding="utf-8")
        (tmp_path / "nextport.conf").write_text(f"[iis]\nfiles = {file}\n")
        return file

    return write


def leases(nextport):
    return nextport("leases", "--format", "json").json["leases"]


def adopt(nextport, *options):
    done = nextport("adopt", "--apply", "--format", "json", *options)
    assert done.status == 0, done
    return done


def brief(rows):
    return [(row["port"], row["owner"], row["name"]) for row in rows]


def events(ledger, kind):
    db = sqlite3.connect(ledger)
    rows = db.execute("SELECT port FROM event WHERE kind = ? ORDER BY id", (kind,)).fetchall()
    db.close()
    return [port for port, in rows]


# ---- Adopt ----------------------------------------------------------------------------------------------------------


def test_without_apply_it_only_says_what_it_would_lease(nextport, iis, ledger):
    iis({"Shop": [49000], "Blog": [49001]})
    done = nextport("adopt", "--format", "json")
    assert done.status == 0 and done.json["dry_run"] and not done.json["changed"], done
    assert brief(done.json["leases"]) == [(49000, "Shop", "Port"), (49001, "Blog", "Port")]
    assert not ledger.exists()
    assert nextport("adopt").status == 0 and not ledger.exists()


def test_each_site_gets_its_ports_by_its_name(nextport, iis, ledger):
    iis({"Shop QA": [49000, 49003, 49001], "Blog": [49002]})
    done = adopt(nextport)
    assert done.json["changed"] and not done.json["dry_run"]
    assert brief(leases(nextport)) == [(49000, "Shop QA", "Port"), (49001, "Shop QA", "Port2"), (49002, "Blog", "Port"),
                                       (49003, "Shop QA", "Port3")]
    for lease in leases(nextport):
        assert lease["labels"] == {"project": lease["owner"]}
        assert (lease["state"], lease["expires"], lease["protocol"]) == ("confirmed", None, "tcp")
        assert lease["holder"] == f"iis: {lease['owner']}"
    assert done.json["leases"] == leases(nextport)
    assert events(ledger, "adopted") == [49000, 49001, 49002, 49003]


def test_a_second_run_changes_nothing(nextport, iis, ledger):
    iis({"Shop": [49000, 49001]})
    adopt(nextport)
    before = nextport("export").text.splitlines()[1:]
    again = adopt(nextport)
    assert again.json["changed"] is False and again.json["leases"] == []
    assert nextport("export").text.splitlines()[1:] == before
    assert events(ledger, "adopted") == [49000, 49001]


def test_what_came_later_is_adopted_beside_what_was(nextport, iis):
    iis({"Shop": [49000]})
    adopt(nextport)
    iis({"Shop": [49000, 49005], "Blog": [49001]})
    assert brief(adopt(nextport).json["leases"]) == [(49001, "Blog", "Port"), (49005, "Shop", "Port2")]


def test_names_that_the_owner_has_are_left_to_it(nextport, iis):
    for name in ("Port", "Port3"):
        nextport("next", "--project", "SHOP", "--name", name)
    nextport("next", "--project", "Shop", "--fresh", "--deployment", "D1", "--name", "Port2")
    iis({"Shop": [50001, 50002, 50003]})
    assert brief(adopt(nextport).json["leases"]) == [(50001, "Shop", "Port2"), (50002, "Shop", "Port4"),
                                                     (50003, "Shop", "Port5")]


def test_an_adopted_port_is_its_owners(nextport, iis):
    iis({"Shop": [49007]})
    adopt(nextport)
    assert nextport("next", "--project", "shop").port == 49007
    assert nextport("next", "--project", "blog").port != 49007


def test_a_port_that_has_a_lease_keeps_it(nextport, iis):
    port = nextport("next", "--project", "Blog").port
    other = nextport("next").port
    iis({"Shop": [port, other]})
    assert adopt(nextport).json["leases"] == []
    assert [lease["owner"] for lease in leases(nextport)] == ["Blog", None]


def test_a_port_that_several_share_has_one_lease(nextport, iis):
    iis({"Web 2": ["*:49000:b.example"], "Web 10": ["*:49000:a.example", 49001], "Web 1": ["*:49000:c.example"]})
    done = adopt(nextport)
    assert brief(done.json["leases"]) == [(49000, "Web 1", "Port"), (49001, "Web 10", "Port")]
    assert "port 49000: shared with 'Web 10', 'Web 2'; its one lease is for 'Web 1'" in done.log + str(done.json["notes"])


def test_given_labels_go_to_all_and_a_given_project_is_stronger(nextport, iis):
    iis({"Shop": [49000], "Blog": [49001]})
    adopt(nextport, "--environment", "QA", "--label", "team=web")
    assert [lease["labels"] for lease in leases(nextport)] == [
        {"project": "Shop", "environment": "QA", "team": "web"}, {"project": "Blog", "environment": "QA", "team": "web"}]
    iis({"Shop": [49010], "Blog": [49011]})
    assert brief(adopt(nextport, "--project", "All").json["leases"]) == [(49010, "All", "Port"), (49011, "All", "Port2")]


@pytest.mark.parametrize("options", [["--label", "x"], ["--label", "x="], ["--project", "#{P}"], ["--project", ""],
                                     ["--label", "a=1", "--label", "A=2"]])
def test_labels_that_are_none_are_refused_before_anything_is_leased(nextport, iis, ledger, options):
    iis({"Shop": [49000]})
    refused = nextport("adopt", "--apply", *options)
    assert refused.status == 2 and refused.out == b"" and not ledger.exists(), refused


@pytest.mark.parametrize("name, shown", [
    ("x" * 201, "x" * 30),
    ("Shop\nQA", "Shop\\x0aQA"),
    ("#{Octopus.Project}", "#{Octopus.Project}"),
])
def test_a_site_whose_name_is_no_owners_is_left_out_and_named(nextport, iis, name, shown):
    iis({name: [49000], "Good": [49001]})
    done = adopt(nextport)
    assert brief(done.json["leases"]) == [(49001, "Good", "Port")]
    [note] = [note["text"] for note in done.json["notes"] if note["level"] == "warning"]
    assert note.startswith("port 49000: left out") and shown in note, done


def test_names_are_kept_as_they_are(nextport, iis):
    iis({"Straße / ##octopus[x] 'a' \"b\"": [49000]})
    [lease] = adopt(nextport).json["leases"]
    assert lease["labels"]["project"] == "Straße / ##octopus[x] 'a' \"b\""


def test_sites_whose_names_differ_in_case_alone_are_one_owner(nextport, iis):
    iis({"Shop": [49000], "SHOP": [49001]})
    assert [row[2] for row in brief(adopt(nextport).json["leases"])] == ["Port", "Port2"]


def test_only_ports_of_the_pool_are_adopted(nextport, iis):
    iis({"Shop": [80, 48999, 49000, 49001]})
    assert [row[0] for row in brief(adopt(nextport, "--exclude", "49001").json["leases"])] == [49000]
    assert [row[0] for row in brief(adopt(nextport, "--range", "1-1024").json["leases"])] == [80]


def test_two_who_adopt_at_once_adopt_once(nextport, iis, program, ledger, tmp_path):
    iis({f"Site {number}": [49000 + number] for number in range(50)})
    nextport("next")
    with locked(ledger):
        env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG=str(tmp_path / "nextport.conf"))
        both = [subprocess.Popen([program, "adopt", "--apply", "--format", "json"], env=env, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE) for _ in range(2)]
    counts = sorted(len(json.loads(one.communicate(timeout=60)[0])["leases"]) for one in both)
    assert counts == [0, 50] and len(leases(nextport)) == 51


def test_a_configuration_that_cannot_be_read_adopts_nothing(nextport, iis, ledger):
    iis({"Shop": [49000]}).write_text("<configuration><oops")
    refused = nextport("adopt", "--apply")
    assert refused.status == 4 and not ledger.exists(), refused


@pytest.mark.parametrize("source", ["os", "probe", "ledger"])
def test_a_source_that_does_not_say_whose_a_port_is_is_refused(nextport, source):
    refused = nextport("adopt", "--source", source)
    assert refused.status == 2 and "does not say whose a port is" in refused.log and "iis" in refused.log


def test_an_unknown_source_is_refused(nextport):
    refused = nextport("adopt", "--source", "tomcat")
    assert refused.status == 2 and "tomcat" in refused.log


def test_a_root_can_be_tried_but_not_adopted(nextport, iis, tmp_path):
    assert nextport("adopt", "--root", tmp_path).status == 0
    assert nextport("adopt", "--root", tmp_path, "--apply").status == 2


@pytest.mark.linux("asks which program has a socket of this system")
def test_programs_are_adopted_only_when_they_are_asked_for(nextport, holder):
    for port, kind in enumerate(("listen4", "udp", "bound", "failed-connect"), 49000):
        holder(kind, port)
    assert nextport("adopt", "--format", "json").json["leases"] == []
    done = adopt(nextport, "--source", "sockets")
    assert brief(done.json["leases"]) == [(49000, "holder", "Port"), (49001, "holder", "Port2")]
    assert [lease["protocol"] for lease in leases(nextport)] == ["tcp", "udp"]
    assert [lease["holder"] for lease in leases(nextport)] == ["sockets: holder"] * 2
    assert adopt(nextport, "--source", "sockets").json["leases"] == []


@pytest.mark.linux("asks which program has a socket of this system")
def test_a_port_by_both_protocols_is_leased_for_both(nextport, holder):
    holder("listen4", 49000)
    holder("udp", 49000)
    [lease] = adopt(nextport, "--source", "sockets").json["leases"]
    assert lease["protocol"] == "both"


@pytest.mark.linux("asks which program has a socket of this system")
def test_what_is_configured_says_more_than_what_runs(nextport, iis, holder):
    iis({"Shop": [49000]})
    holder("listen4", 49000)
    holder("listen4", 49001)
    done = adopt(nextport, "--source", "sockets", "--source", "iis")
    assert brief(done.json["leases"]) == [(49000, "Shop", "Port"), (49001, "holder", "Port")]


def test_what_is_configured_for_all_the_pool_is_adopted_in_one_go(nextport, iis):
    iis({"One": list(range(49000, 57000)), **{f"S{port}": [port] for port in range(57000, 65001)}})
    assert len(adopt(nextport).json["leases"]) == 16001
    assert len({(lease["owner"], lease["name"]) for lease in leases(nextport)}) == 16001


# ---- Assign ---------------------------------------------------------------------------------------------------------


def assign(nextport, *words):
    done = nextport("assign", *words, "--format", "json")
    assert done.status == 0, done
    return done.json


def test_a_port_is_leased_to_the_owner_that_is_named(nextport, ledger):
    done = assign(nextport, 49123, "--project", "Shop", "--environment", "QA", "--name", "Web", "--deployment", "D1")
    [lease] = done["leases"]
    assert done["changed"] and lease["owner"] == "Shop/QA"
    assert leases(nextport) == [lease]
    assert (lease["port"], lease["name"], lease["deployment"], lease["state"]) == (49123, "Web", "D1", "pending")
    assert lease["expires"] - lease["created"] == 7 * 86400
    assert events(ledger, "assigned") == [49123]
    assert nextport("next", "--project", "Shop", "--environment", "QA", "--name", "Web", "--fresh", "--deployment",
                    "D1").port == 49123


def test_it_may_lie_outside_the_pool_and_live_as_long_as_one_says(nextport, tmp_path):
    (tmp_path / "nextport.conf").write_text("[lease]\nowned = 2h\npending = 3h\n")
    [lease] = assign(nextport, 8080, "--project", "Shop")["leases"]
    assert lease["expires"] - lease["created"] == 7200


def test_the_same_again_changes_nothing(nextport, ledger):
    first = assign(nextport, 49123, "--project", "Shop")
    again = assign(nextport, 49123, "--project", "SHOP")
    assert first["changed"] and again["changed"] is False
    assert again["leases"] == first["leases"] and events(ledger, "assigned") == [49123]


def test_a_dry_run_writes_nothing(nextport, ledger):
    done = assign(nextport, 49123, "--project", "Shop", "--dry-run")
    assert done["dry_run"] and not done["changed"] and len(done["leases"]) == 1
    assert not ledger.exists()


@pytest.mark.parametrize("words", [
    ["49123"], ["0", "--project", "S"], ["65536", "--project", "S"], ["x", "--project", "S"], ["--project", "S"],
    ["49123", "--project", ""], ["49123", "--project", "#{P}"], ["49123", "--environment", "QA"],
    ["49123", "--project", "S", "--name", ""], ["49123", "--project", "S", "--name", "a\nb"],
    ["49123", "--project", "S", "--deployment", ""], ["49123", "49124", "--project", "S"],
    ["49123", "--project", "S", "--name", "A", "--name", "B"],
])
def test_half_an_assignment_is_refused(nextport, ledger, words):
    refused = nextport("assign", *words)
    assert refused.status == 2 and refused.out == b"" and not ledger.exists(), refused


def test_the_lease_of_another_stands_in_the_way(nextport):
    nextport("assign", 49000, "--project", "Blog", "--environment", "QA")
    refused = nextport("assign", 49000, "--project", "Shop")
    assert refused.status == 6 and "port 49000 is leased to Blog/QA ('Port', pending)" in refused.log, refused
    assert "nextport release 49000" in refused.log
    same = nextport("assign", 49000, "--project", "Blog", "--environment", "QA", "--name", "Web")
    assert same.status == 6, "one port has one lease"
    nobody = nextport("next").port
    assert "leased to nobody in particular" in nextport("assign", nobody, "--project", "Shop").log


def test_in_use_does_not_take_a_lease_from_another(nextport):
    nextport("assign", 49000, "--project", "Blog")
    assert nextport("assign", 49000, "--project", "Shop", "--in-use").status == 6


def test_an_owner_has_one_port_for_a_name(nextport):
    nextport("assign", 49000, "--project", "Shop")
    refused = nextport("assign", 49001, "--project", "Shop")
    assert refused.status == 6 and "Shop has port 49000 for 'Port' already" in refused.log, refused
    assert "nextport release 49000" in refused.log
    assert assign(nextport, 49001, "--project", "Shop", "--name", "Web")["changed"]
    assert assign(nextport, 49002, "--project", "Shop", "--deployment", "D1")["changed"]
    assert [lease["port"] for lease in leases(nextport)] == [49000, 49001, 49002]


def test_what_one_gave_back_does_not_keep_one_from_another_port(nextport):
    nextport("assign", 49000, "--project", "Shop")
    assert nextport("release", 49000).status == 0
    assert assign(nextport, 49001, "--project", "Shop")["changed"]
    assert brief(leases(nextport)) == [(49000, None, "Port"), (49001, "Shop", "Port")]
    assert [lease["state"] for lease in leases(nextport)] == ["quarantined", "pending"], "what it left rests"


def test_an_owner_takes_its_resting_port_back_and_nobody_else_does(nextport):
    nextport("assign", 49000, "--project", "Shop")
    nextport("release", 49000)
    refused = nextport("assign", 49000, "--project", "Blog")
    assert refused.status == 6 and "quarantined" in refused.log and "rests" in refused.log, refused
    [lease] = assign(nextport, 49000, "--project", "Shop")["leases"]
    assert lease["state"] == "pending" and leases(nextport) == [lease]


def outlive(nextport, ledger, port, by, *options):
    """Leases a port whose time is over at once: the lease's times are moved into the past."""
    assign(nextport, port, "--project", "Blog", *options)
    db = sqlite3.connect(ledger)
    db.execute("UPDATE lease SET created = created - ?1, renewed = renewed - ?1, expires = max(expires - ?1, 0)", (by,))
    db.commit()
    db.close()


def test_a_lease_that_is_over_stands_in_nobodys_way(nextport, ledger):
    outlive(nextport, ledger, 49000, 8 * 86400)
    assert assign(nextport, 49000, "--project", "Shop", "--dry-run")["leases"][0]["owner"] == "Shop"
    assert brief(leases(nextport)) == [(49000, "Blog", "Port")]
    assign(nextport, 49000, "--project", "Shop")
    assert brief(leases(nextport)) == [(49000, "Shop", "Port")]
    assert events(ledger, "expired") == [49000]


def test_a_lease_that_is_over_and_used_is_not(nextport, ledger, holder):
    port = holder("listen4", 0).port
    outlive(nextport, ledger, port, 8 * 86400, "--in-use")
    assert nextport("assign", port, "--project", "Shop", "--in-use").status == 6
    assert brief(leases(nextport)) == [(port, "Blog", "Port")]


def test_a_port_that_has_rested_is_free_for_all(nextport, ledger):
    assign(nextport, 49000, "--project", "Blog")
    nextport("release", 49000)
    assert nextport("assign", 49000, "--project", "Shop").status == 6
    db = sqlite3.connect(ledger)
    db.execute("UPDATE lease SET renewed = renewed - 3600, expires = expires - 3600")
    db.commit()
    db.close()
    assert assign(nextport, 49000, "--project", "Shop")["changed"]
    assert brief(leases(nextport)) == [(49000, "Shop", "Port")]


def test_a_site_that_is_configured_for_it_stands_in_the_way(nextport, iis):
    iis({"Blog": [49001], "Shop": [49000]})
    refused = nextport("assign", 49000, "--project", "Shop")
    assert refused.status == 6, refused
    assert "port 49000 is used by site 'Shop' (iis, " in refused.log and "applicationHost.config:3)" in refused.log
    assert "--in-use" in refused.log
    done = assign(nextport, 49000, "--project", "Shop", "--in-use")
    [lease] = done["leases"]
    assert (lease["state"], lease["holder"], lease["expires"]) == ("confirmed", "iis: Shop", None)
    assert nextport("next", "--project", "Shop").port == 49000


def test_a_program_that_has_it_stands_in_the_way(nextport, holder):
    port = holder("listen4", 0).port
    refused = nextport("assign", port, "--project", "Shop")
    assert refused.status == 6 and f"port {port}" in refused.log and "--in-use" in refused.log, refused
    [lease] = assign(nextport, port, "--project", "Shop", "--in-use")["leases"]
    assert lease["state"] == "confirmed"


@pytest.mark.linux("asks which program has a socket of this system")
def test_the_program_is_named(nextport, holder):
    server = holder("listen4", 0)
    refused = nextport("assign", server.port, "--project", "Shop")
    assert f"is used by program 'holder' (sockets, process {server.pid})" in refused.log, refused
    [lease] = assign(nextport, server.port, "--project", "Shop", "--in-use")["leases"]
    assert lease["holder"] == "sockets: holder"


@pytest.mark.linux("Windows lets a connection's port be bound")
def test_a_connection_has_a_port_only_for_now(nextport, holder):
    port = holder("outgoing4-bind", 0).port
    refused = nextport("assign", port, "--project", "Shop")
    assert refused.status == 6 and "a connection has port" in refused.log and "Try again" in refused.log, refused
    [lease] = assign(nextport, port, "--project", "Shop", "--in-use")["leases"]
    assert lease["state"] == "pending" and lease["holder"] is None, "a connection never confirms a lease"


def test_in_use_before_anything_uses_it_is_a_promise(nextport):
    [lease] = assign(nextport, 49000, "--project", "Shop", "--in-use")["leases"]
    assert lease["state"] == "pending" and lease["holder"] is None


def test_a_site_of_a_resting_lease_is_the_owners_own(nextport, iis):
    iis({"Shop": [49000]})
    adopt(nextport)
    nextport("release", 49000)
    [lease] = assign(nextport, 49000, "--project", "Shop")["leases"]
    assert lease["state"] == "confirmed" and lease["holder"] == "iis: Shop"


def test_what_cannot_be_read_may_have_the_port(nextport, iis, ledger):
    iis({"Shop": [49000]}).write_text("<configuration><oops")
    assert nextport("assign", 49001, "--project", "Shop").status == 4
    assert not ledger.exists()
    assert nextport("assign", 49001, "--project", "Shop", "--policy", "iis=warn").status == 0


def test_history_says_what_was_asked(nextport, ledger):
    nextport("assign", 49000, "--project", "Shop")
    db = sqlite3.connect(ledger)
    [[request]] = db.execute("SELECT request FROM event WHERE kind = 'assigned'").fetchall()
    db.close()
    assert request.startswith("assign") and "Shop" in request
