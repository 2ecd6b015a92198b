# SPDX-License-Identifier: MIT
"""Export and import: what leaves a ledger comes back as it was, and what is not an export changes nothing."""
import json
import sqlite3
import time

import pytest

from conftest import SITE

NOW = int(time.time())
LEASE = {"port": 49000, "protocol": "tcp", "name": "Port", "labels": {"project": "Shop"}, "deployment": None,
         "state": "pending", "holder": None, "created": NOW, "renewed": NOW, "expires": NOW + 7 * 86400, "looks": 0,
         "process": None}
CONFIRMED = {"state": "confirmed", "expires": None}


def lease(**fields):
    return {**LEASE, **fields}


def export(*leases, **header):
    """The lines of an export."""
    first = {"nextport": "leases", "schema": 1, "host": "srv1", "machine_id": None, "exported": NOW,
             "leases": len(leases), **header}
    return [json.dumps(line) for line in (first, *leases, {"end": True, "leases": len(leases)})]


def as_bytes(lines):
    return "".join(line + "\n" for line in lines).encode()


@pytest.fixture
def load(nextport, tmp_path):
    """Imports lines, bytes, or a file, into this test's ledger."""

    def run(what, *options, **kwargs):
        file = tmp_path / "leases.jsonl"
        file.write_bytes(what if isinstance(what, bytes) else as_bytes(what))
        return nextport("import", *options, "leases.jsonl", cwd=tmp_path, **kwargs)

    return run


def leases(nextport, **kwargs):
    return nextport("leases", "--format", "json", **kwargs).json["leases"]


@pytest.fixture
def site(tmp_path):
    """Options of import that show a site configured for a port."""

    def options(name, port):
        (tmp_path / "applicationHost.config").write_text(SITE.format(name, port))
        return "--iis-config", tmp_path / "applicationHost.config"

    return options


def kept(done):
    """An export's leases, without what is said of the moment."""
    lines = done.text.splitlines()
    assert json.loads(lines[-1]) == {"end": True, "leases": len(lines) - 2}
    return lines[1:-1]


def refused(done, ledger, *words):
    assert done.status == 2 and done.out == b"", done
    for word in words:
        assert word in done.log, done
    assert not ledger.exists(), "nothing is made for an export that cannot be read"


# ---- Out ------------------------------------------------------------------------------------------------------------


def test_an_export_has_every_lease_by_port_and_says_how_many(nextport):
    nextport("assign", 50000, "--project", "Shop", "--environment", "QA", "--label", "team=web", "--name", "Admin")
    first = nextport("next", "--project", "Blog").port
    second = nextport("next", "--ttl", "1h").port
    done = nextport("export")
    lines = [json.loads(line) for line in done.text.splitlines()]
    assert done.status == 0 and done.out.endswith(b"\n")
    assert lines[0].items() >= {"nextport": "leases", "schema": 1, "leases": 3}.items()
    assert list(lines[0]) == ["nextport", "schema", "host", "machine_id", "exported", "leases"]
    assert lines[-1] == {"end": True, "leases": 3}
    assert [line["port"] for line in lines[1:-1]] == [first, second, 50000]
    assert [list(line) for line in lines[1:-1]] == [list(LEASE)] * 3
    assert list(lines[3]["labels"].items()) == [("project", "Shop"), ("environment", "QA"), ("team", "web")]
    assert lines[3]["name"] == "Admin" and lines[2]["labels"] == {}
    assert lines[2]["expires"] - lines[2]["renewed"] == 3600


def test_an_export_only_reads(nextport, ledger):
    done = nextport("export")
    assert done.status == 0 and kept(done) == []
    assert not ledger.exists()
    nextport("next")
    assert kept(nextport("export")) == kept(nextport("export"))


def test_a_ledger_that_cannot_be_read_is_not_exported_as_an_empty_one(nextport, ledger):
    nextport("next")
    ledger.write_bytes(b"this is no ledger" * 1000)
    done = nextport("export")
    assert done.status == 5 and done.out == b"", done


# ---- There and back -------------------------------------------------------------------------------------------------


def test_what_was_exported_comes_back_as_it_was(nextport, load, tmp_path):
    nextport("next", "--project", "Shop", "--environment", "QA", "--name", "Web", "--name", "API")
    nextport("next", "--project", "Straße ##octopus", "--label", "x.y=\u00e9 \"quoted\" \\ \U0001f600")
    nextport("next", "--project", "Shop", "--fresh", "--deployment", "Deployments-1")
    nextport("next")
    given_back = nextport("next", "--project", "Gone").port
    nextport("release", given_back)
    whole = nextport("export")
    other = {"NEXTPORT_LEDGER": str(tmp_path / "other.db")}
    dry = load(whole.out, "--dry-run", "--format", "json", env=other)
    assert dry.status == 0 and len(dry.json["leases"]) == 6 and dry.json["changed"] is False, dry
    assert not (tmp_path / "other.db").exists()
    done = load(whole.out, "--format", "json", env=other)
    assert done.status == 0 and done.json["changed"] is True, done
    assert kept(nextport("export", env=other)) == kept(whole)
    assert [one["port"] for one in done.json["leases"]] == [one["port"] for one in leases(nextport)]


def test_an_owner_keeps_its_port_on_the_new_machine(nextport, load):
    assert load(export(lease(port=49123, labels={"project": "Shop", "environment": "QA"}))).status == 0
    assert nextport("next", "--project", "shop", "--environment", "qa").port == 49123


def test_an_import_repeated_changes_nothing(nextport, load):
    lines = export(lease(), lease(port=49001, labels={"project": "Blog"}), lease(port=49002, labels={}))
    assert load(lines).status == 0
    before = kept(nextport("export"))
    again = load(lines, "--format", "json")
    assert again.status == 0 and again.json["changed"] is False and again.json["leases"] == []
    assert kept(nextport("export")) == before


def test_a_lease_that_lived_on_meanwhile_is_still_the_same(nextport, load, holder):
    lines = export(lease(port=49005))
    assert load(lines).status == 0
    nextport("release", 49005)
    again = load(lines, "--format", "json")
    assert again.status == 0 and again.json["changed"] is False, again
    assert [one["state"] for one in leases(nextport)] == ["quarantined"], "an old export does not undo what was done since"


def test_only_what_is_new_is_added(nextport, load):
    load(export(lease()))
    done = load(export(lease(), lease(port=49001, labels={"project": "Blog"})), "--format", "json")
    assert [one["port"] for one in done.json["leases"]] == [49001]
    assert [one["port"] for one in leases(nextport)] == [49000, 49001]


def test_a_confirmed_lease_stays_so_until_looks_here_miss_it(nextport, load):
    assert load(export(lease(**CONFIRMED, holder="iis: Shop", looks=0))).status == 0
    [one] = leases(nextport)
    assert (one["state"], one["holder"], one["expires"]) == ("confirmed", "iis: Shop", None)
    assert nextport("next").port != 49000


def test_looks_of_another_machine_do_not_count_here(nextport, load):
    assert load(export(lease(state="absent", looks=500, expires=NOW + 1))).status == 0
    assert [one["looks"] for one in leases(nextport)] == [0]


def test_a_process_of_another_time_is_not_the_one_with_its_number_here(nextport, load):
    assert load(export(lease(**CONFIRMED, holder="sockets: x", process="1 1 boot"))).status == 0
    [one] = leases(nextport)
    assert one["process"] is None and one["state"] == "pending" and one["holder"] is None
    assert one["expires"] - one["renewed"] == 7 * 86400


def test_leases_that_are_not_of_the_pool_come_along(nextport, load):
    assert load(export(lease(port=81), lease(port=65535, labels={"project": "B"}, protocol="udp"))).status == 0
    assert [(one["port"], one["protocol"]) for one in leases(nextport)] == [(81, "tcp"), (65535, "udp")]


def test_standard_input_is_an_export_too(nextport, tmp_path):
    file = tmp_path / "x"
    file.write_bytes(as_bytes(export(lease())))
    for words in (["import"], ["import", "-"]):
        with open(file, "rb") as stream:
            assert nextport(*words, stdin=stream).status == 0


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(nextport, load):
    assert load(b"\xef\xbb\xbf" + as_bytes(export(lease())).replace(b"\n", b"\r\n") + b"\r\n\r\n").status == 0
    assert len(leases(nextport)) == 1
    assert load(as_bytes(export(lease())).rstrip(b"\n")).status == 0, "the last line needs no end"


def test_history_says_that_it_was_imported(nextport, load, ledger):
    assert load(export(lease())).status == 0
    with sqlite3.connect(ledger) as db:
        assert ("imported", 49000) in db.execute("SELECT kind, port FROM event").fetchall()
    db.close()


# ---- Conflicts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("here, there, words", [
    (dict(labels={"project": "Blog"}), dict(), ["port 49000 of Shop ('Port') is leased to Blog ('Port') here"]),
    (dict(labels={}), dict(), ["port 49000 of Shop ('Port') is leased to nobody in particular ('Port') here"]),
    (dict(labels={}), dict(labels={}, created=NOW + 1), ["is leased to nobody in particular"]),
    (dict(name="Web"), dict(), ["of Shop ('Port') is leased to Shop ('Web') here"]),
    (dict(protocol="udp"), dict(), ["port 49000 of Shop"]),
    (dict(deployment="D1"), dict(), ["Shop ('Port', deployment D1)"]),
    (dict(port=49007), dict(), ["Shop ('Port') has port 49000 in the export and port 49007 here"]),
    (dict(port=49007, labels={"project": "SHOP"}), dict(), ["has port 49000 in the export and port 49007 here"]),
])
def test_an_export_that_contradicts_this_ledger_changes_nothing(nextport, load, here, there, words):
    assert load(export(lease(**here))).status == 0
    before = kept(nextport("export"))
    for option in ([], ["--dry-run"]):
        done = load(export(lease(port=48000, labels={"project": "New"}), lease(**there)), *option)
        assert done.status == 6 and done.out == b"", done
        assert "leases.jsonl:3:" in done.log and all(word in done.log for word in words), done
    assert kept(nextport("export")) == before


def test_a_port_that_rests_here_is_named_as_one(nextport, load):
    load(export(lease(labels={"project": "Blog"})))
    assert "nextport release 49000" in load(export(lease())).log
    nextport("release", 49000)
    done = load(export(lease()))
    assert done.status == 6 and "rests" in done.log, done


def test_one_owner_may_have_ports_by_other_names_and_deployments(nextport, load):
    load(export(lease()))
    done = load(export(lease(port=49001, name="Web"), lease(port=49002, deployment="D1"),
                       lease(port=49003, labels={"project": "Shop", "environment": "QA"})))
    assert done.status == 0, done
    assert len(leases(nextport)) == 4


# ---- What is no export ----------------------------------------------------------------------------------------------


def test_an_export_cut_after_any_line_is_refused(load, ledger):
    lines = export(lease(), lease(port=49001, labels={"project": "B"}))
    for n in range(len(lines)):
        done = load(lines[:n])
        refused(done, ledger, "leases.jsonl: it is cut short" if n else "leases.jsonl: it is empty")


def test_an_export_cut_within_any_line_is_refused(load, ledger):
    whole = as_bytes(export(lease()))
    for line, cut in ((1, 40), (2, whole.index(b"\n") + 30), (3, len(whole) - 4)):
        refused(load(whole[:cut]), ledger, f"leases.jsonl:{line}:")


def test_a_line_that_is_missing_in_the_middle_is_missed(load, ledger):
    lines = export(lease(), lease(port=49001, labels={"project": "B"}))
    refused(load(lines[:1] + lines[2:]), ledger, "leases.jsonl:3: 1 leases are here, the first line says 2")
    refused(load(lines[1:]), ledger, "leases.jsonl:1: this is no export of leases")
    refused(load(lines[:2] + lines[3:]), ledger, "the last 2")


def test_nothing_may_follow_the_end(load, ledger):
    lines = export(lease())
    refused(load(lines + lines), ledger, "leases.jsonl:4: more follows after the end")
    refused(load(lines + ["", "x"]), ledger, "leases.jsonl:5: more follows")


@pytest.mark.parametrize("content, words", [
    (b"", ["it is empty", "'nextport export' writes"]),
    (b"\n\n\n", [":1:"]),
    (b"{}\n", [":1: this is no export of leases"]),
    (b"[]\n", [":1:1: the value is not an object"]),
    (b"{\n  \"nextport\": \"leases\"\n}\n", [":1:2:"]),
    (b'{"nextport":"events","schema":1}\n', [":1: this is no export of leases"]),
    (b'{"schema":1,"host":"x","leases":[],"notes":[]}\n', [":1:"]),
    (b"port,name\n49000,x\n", [":1:1: a value is missing: 'p' is here"]),
    (b"\x00" * 100, [":1:1: a value is missing: byte 0x00 is here"]),
    (b"\x7fELF\x02\x01\x01\x00", [":1:1:"]),
    (b"\xff\xfe" + '{"nextport"'.encode("utf-16-le"), [":1:1:", "UTF-16", "PowerShell"]),
    ('{"nextport"'.encode("utf-16-le"), ["UTF-16"]),
])
def test_another_file_is_told_from_an_export(load, ledger, content, words):
    refused(load(content), ledger, "leases.jsonl", *words)


def test_an_export_of_a_newer_release_is_named_as_one(load, ledger):
    later = export(lease(), schema=2, leases={"count": 1}, more=[1, {"x": None}])
    refused(load(later), ledger, "leases.jsonl:1: the export has schema 2, made by a newer nextport")


@pytest.mark.parametrize("header, words", [
    (dict(more=1), "the key 'more' is not known"),
    (dict(schema=0), "'schema' is not a whole number"),
    (dict(schema="1"), "'schema' is not a whole number"),
    (dict(leases=-1), "'leases' is not a whole number"),
    (dict(leases=65536), "'leases' is not a whole number"),
    (dict(exported=10**15), "'exported' is not a whole number"),
    (dict(host=None), "'host' is not a string"),
    (dict(machine_id=7), "'machine_id' is not a string"),
])
def test_a_header_that_is_none_is_refused(load, ledger, header, words):
    refused(load(export(lease(), **header)), ledger, "leases.jsonl:1:", words)


def test_a_header_without_a_key_is_refused(load, ledger):
    for key in ("host", "machine_id", "exported", "leases"):
        lines = export(lease())
        header = json.loads(lines[0])
        del header[key]
        refused(load([json.dumps(header)] + lines[1:]), ledger, "leases.jsonl:1:", f"the key '{key}' is missing")


@pytest.mark.parametrize("fields, words", [
    (dict(port=0), "'port' is not a whole number from 1 to 65535"),
    (dict(port=65536), "'port' is not a whole number from 1 to 65535"),
    (dict(port=49000.5), "'port' is not a whole number"),
    (dict(port="49000"), "'port' is not a whole number"),
    (dict(port=None), "'port' is not a whole number"),
    (dict(port=[49000]), "'port' is not a whole number"),
    (dict(protocol="sctp"), "'protocol' is not tcp, udp or both"),
    (dict(protocol=None), "'protocol' is not a string"),
    (dict(name=""), "the name"),
    (dict(name=None), "'name' is not a string"),
    (dict(name="x" * 201), "the name"),
    (dict(name="a\nb"), "the name"),
    (dict(name="a\x00b"), "'name' holds a NUL character"),
    (dict(labels=None), "'labels' is not an object"),
    (dict(labels=["project"]), "'labels' is not an object"),
    (dict(labels={"project": 1}), "'project' is not a string"),
    (dict(labels={"project": ""}), "label 'project'"),
    (dict(labels={"project": "#{Octopus.Project.Name}"}), "label 'project'"),
    (dict(labels={"project": "a\x1bb"}), "label 'project'"),
    (dict(labels={"project": "a\x00b"}), "'project' holds a NUL character"),
    (dict(labels={"project": "x" * 201}), "label 'project'"),
    (dict(labels={"environment": "QA"}), "without a project"),
    (dict(labels={"1": "x"}), "'1' is not the key of a label"),
    (dict(labels={"a\x00b": "x"}), "NUL"),
    (dict(labels={f"k{i}": "x" for i in range(17)}), "more than 16 labels"),
    (dict(labels={"project": "a", "PROJECT": "b"}), "label 'project' is given twice"),
    (dict(deployment=""), "the deployment"),
    (dict(deployment="D1", labels={}), "a deployment without labels"),
    (dict(state="lost"), "'state' is not pending, confirmed, absent or quarantined"),
    (dict(state=0), "'state' is not a string"),
    (dict(state="confirmed"), "a lease that is confirmed does not expire"),
    (dict(expires=None), "a lease that is pending has an end"),
    (dict(expires=0), "'expires' is not a whole number"),
    (dict(expires=-1), "'expires' is not a whole number"),
    (dict(expires=NOW + 3651 * 86400), "it lasts for more than ten years"),
    (dict(expires=2**63), "'expires' is not a whole number"),
    (dict(created=0), "'created' is not a whole number"),
    (dict(created=-5), "'created' is not a whole number"),
    (dict(renewed=10**18), "'renewed' is not a whole number"),
    (dict(renewed="2026-11-22"), "'renewed' is not a whole number"),
    (dict(looks=-1), "'looks' is not a whole number"),
    (dict(looks=2**32), "'looks' is not a whole number"),
    (dict(holder=7), "'holder' is not a string"),
    (dict(process={}), "'process' is not a string"),
    (dict(id=7), "the key 'id' is not known"),
    (dict(owner="Shop"), "the key 'owner' is not known"),
    ({"a\nb": 1}, "the key 'a\\x0ab' is not known"),
])
def test_a_line_that_no_ledger_wrote_is_refused(load, ledger, fields, words):
    good = lease(port=48000, labels={"project": "Good"})
    refused(load(export(good, lease(**fields))), ledger, "leases.jsonl:3:", words)


def test_a_line_without_a_key_is_refused(load, ledger):
    for key in LEASE:
        short = lease()
        del short[key]
        refused(load(export(short)), ledger, "leases.jsonl:2:", f"the key '{key}' is missing")


def test_a_key_twice_is_refused(load, ledger):
    lines = export(lease())
    for n, old, new in ((0, '"schema": 1', '"schema": 1, "schema": 1'), (1, '"looks": 0', '"looks": 0, "looks": 0'),
                        (2, '"end": true', '"end": true, "end": true'),
                        (1, '"project": "Shop"', '"project": "Shop", "project": "Shop"')):
        changed = list(lines)
        changed[n] = changed[n].replace(old, new)
        assert changed != lines
        refused(load(changed), ledger, f"leases.jsonl:{n + 1}:", "twice")


@pytest.mark.parametrize("line", ["", "null", "[]", "1", "{}", '"x"', '{"end":false,"leases":1}', '{"end":true}',
                                  '{"end":true,"leases":1,"x":1}', '{"end":true,"leases":1}x', "{\"port\":1"])
def test_a_line_of_another_shape_is_refused(load, ledger, line):
    lines = export(lease())
    refused(load(lines[:2] + [line] + lines[2:]), ledger, "leases.jsonl:3:")


def test_ports_and_owners_are_there_once(load, ledger):
    twice = [lease(), lease(labels={"project": "B"})]
    refused(load(export(*twice)), ledger, "leases.jsonl:3: port 49000 is here twice")
    owner = [lease(), lease(port=49001, labels={"project": "B"}), lease(port=49002, labels={"project": "SHOP"})]
    refused(load(export(*owner)), ledger, "leases.jsonl:4:", "port 49000 and port 49002 for 'Port'")


@pytest.mark.parametrize("raw, words", [
    (b'{"port":\x00', "byte 0x00"),
    (b'{"name":"\x00"', "control character 0x00"),
    (b'{"name":"\xff"', "byte 0xff is not UTF-8"),
    (b'{"name":"\xc0\xaf"', "not UTF-8"),
    (b'{"name":"\xed\xa0\x80"', "not UTF-8"),
    (b'{"name":"\\ud800"', "surrogate"),
    (b'{"name":"\\q"', "escape"),
    (b'{"holder":' + b"[" * 60000, "'holder' is not a string"),
    (b'{"x":' + b"[" * 60000, "the key 'x' is not known"),
    (b"[" * 60000, "is not an object"),
    (b"{" * 60000, ":3:2:"),
    (b'{"labels":' + b'{"a":' * 10000, "'a' is not a string"),
    (b'{"labels":' + b'{"a":' * 20000, "the line has 100010 bytes"),
    (b'{"port":' + b"9" * 60000, "'port' is not a whole number"),
])
def test_hostile_lines_are_refused(load, ledger, raw, words):
    lines = as_bytes(export(lease(), lease(port=49001))).splitlines(keepends=True)
    refused(load(b"".join(lines[:2]) + raw + b"\n" + b"".join(lines[2:])), ledger, "leases.jsonl:3:", words)


def test_a_header_nested_deeper_than_any_is_refused(load, ledger):
    refused(load(b'{"x":' + b"[" * 60000 + b"\n"), ledger, "leases.jsonl:1:", "nested more than 64 levels")


def test_a_line_of_100_megabytes_is_refused(load, ledger):
    head = as_bytes(export(lease())[:1])
    refused(load(head + b'{"name":"' + b"x" * (100 << 20) + b'"}\n'), ledger, "leases.jsonl:2: the line has 1048")
    refused(load(b"{" * (100 << 20)), ledger, "leases.jsonl:1:")


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(nextport, ledger, tmp_path):
    for name in (tmp_path / "missing", tmp_path):
        done = nextport("import", name)
        assert done.status == 2 and done.out == b"" and not ledger.exists(), done


def test_what_a_line_holds_cannot_speak_to_a_deployment_system(load, ledger):
    done = load(export(lease(), **{"##octopus[setVariable x='y']\n##octopus[x]": 1}))
    refused(done, ledger, "is not known")
    assert "##octopus" not in done.log and done.log.count("\n") == 2


def test_a_full_export_is_imported_in_one_go(nextport, load):
    many = [lease(port=port, labels={"project": f"P{port}"}) for port in range(1, 65536)]
    assert load(export(*many), "--in-use").status == 0  # some of them are
    assert kept(nextport("export")) == kept(nextport("export")) and len(leases(nextport)) == 65535
    again = load(export(*many), "--format", "json")
    assert again.status == 0 and again.json["changed"] is False


# ---- Who uses the ports here -----------------------------------------------------------------------------------------

SHOPS = {"holder": "iis: Shop", **CONFIRMED}


@pytest.mark.parametrize("fields, who", [
    (SHOPS, "iis: Blog has it, and not iis: Shop"),
    ({}, "iis: Blog has it"),
    ({"labels": {}}, "iis: Blog has it"),
])
def test_a_port_that_a_stranger_has_here_is_imported_for_nobody(nextport, load, ledger, site, fields, who):
    """All or nothing: the other port is not leased either."""
    done = load(export(lease(port=49001), lease(**fields, name="Admin")), *site("Blog", 49000))
    assert done.status == 6 and f"leases.jsonl:3: port 49000 of" in done.log and who in done.log, done
    assert "Nothing was changed" in done.log and leases(nextport) == []


@pytest.mark.parametrize("fields", [SHOPS, {"holder": "iis: Shop"}])
def test_the_holder_that_the_lease_has_recorded_is_no_stranger(nextport, load, site, fields):
    assert load(export(lease(**fields)), *site("Shop", 49000)).status == 0
    assert leases(nextport)[0]["holder"] == "iis: Shop"


@pytest.mark.parametrize("fields", [SHOPS, {}])
def test_in_use_says_that_who_uses_the_ports_is_who_they_are_leased_to(nextport, load, site, fields):
    options = site("Blog", 49000)
    assert load(export(lease(**fields)), "--in-use", *options).status == 0
    assert leases(nextport)[0]["state"] == fields.get("state", "pending")


def test_what_rests_keeps_its_port_whoever_has_it(nextport, load, site):
    rests = lease(state="quarantined", labels={})
    assert load(export(rests), *site("Blog", 49000)).status == 0
    assert leases(nextport)[0]["state"] == "quarantined"


def test_a_passing_connection_is_no_stranger(nextport, load, holder):
    holder("outgoing4-bind", 49000)
    assert load(export(lease())).status == 0 and len(leases(nextport)) == 1


@pytest.mark.linux("Wine does not tell which program has a socket")
def test_a_program_that_listens_on_an_imported_port_is_a_stranger(nextport, load, holder):
    holder("listen4", 49000)
    done = load(export(lease(**SHOPS)), "--dry-run")
    assert done.status == 6 and "sockets: holder has it, and not iis: Shop" in done.log, done


def test_an_import_that_cannot_see_who_is_configured_changes_nothing(load, ledger, tmp_path):
    done = load(export(lease()), "--iis-config", tmp_path / "missing")
    assert done.status == 4 and not ledger.exists(), done
    assert load(export(lease()), "--iis-config", tmp_path / "missing", "--policy", "iis=warn").status == 0
