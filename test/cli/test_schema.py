# SPDX-License-Identifier: MIT
"""Every JSON answer of the real program is what doc/schema promises."""
import json

import pytest

from conftest import ROOT, SITE

jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")

FOLDER = ROOT / "doc" / "schema"
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
STORE = {f"{FOLDER.as_uri()}/{name}.json": schema for name, schema in SCHEMAS.items()}
SITES = """<configuration><system.applicationHost><sites>
<site name="Shop &quot;\\ &#10;ä" id="1"><bindings>
  <binding protocol="http" bindingInformation="*:49000:" /><binding protocol="http" bindingInformation="*:99999:" />
</bindings></site></sites></system.applicationHost></configuration>"""


def check(done, name, status=0):
    """The answer is one line of ASCII that fits the schema."""
    assert done.status == status, done
    assert done.out.endswith(b"\n") and done.out.count(b"\n") == 1 and done.out.isascii(), done
    resolver = jsonschema.RefResolver(f"{FOLDER.as_uri()}/{name}.json", SCHEMAS[name], store=STORE)
    jsonschema.Draft202012Validator(SCHEMAS[name], resolver=resolver).validate(done.json)
    return done.json


@pytest.fixture
def sites(tmp_path):
    path = tmp_path / "applicationHost.config"
    path.write_text(SITES, encoding="utf-8")
    return path


@pytest.fixture
def answer(nextport):
    """answer("used", ..): the command's JSON, checked against the schema of its name."""

    def run(command, *args, schema=None, status=0, **kwargs):
        return check(nextport(command, *args, "--format", "json", **kwargs), schema or command, status)

    return run


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_next(answer, sites):
    found = answer("next", "--range", "49000-49009", "--count", "2", "--iis-config", sites)
    assert [granted["port"] for granted in found["ports"]] == [49001, 49002]
    assert found["rejected"][0]["source"] == "iis" and found["rejected"][0]["holder"] == 'Shop "\\ \nä'
    assert list(found) == ["schema", "host", "verdict", "owner", "changed", "dry_run", "ports", "rejected", "unseen",
                           "sources", "notes"]


def test_a_dry_run_has_no_lease(answer):
    found = answer("next", "--dry-run", "--range", "49000-49009")
    assert found["dry_run"] and not found["changed"] and found["ports"][0]["lease_id"] is None


def test_used(answer, sites, holder):
    holder("listen4", 49003)
    found = answer("used", "--range", "49000-49009", "--iis-config", sites)
    assert {49000, 49003} <= {claim["first"] for claim in found["claims"]}
    answer("used", "--all", "--iis-config", sites)


def test_free(answer, sites):
    found = answer("free", "--range", "49000-49009", "--iis-config", sites)
    assert found["count"] == 9 and found["free"] == [{"first": 49001, "last": 49009}]


def test_why(answer, sites):
    free = answer("why", "49001", "--iis-config", sites)
    assert free["free"] and free["lease"] is None and free["probe"] == "free"
    answer("next", "--range", "49001-49009")
    leased = answer("why", "49001")
    assert not leased["free"] and leased["lease"]["port"] == 49001
    taken = answer("why", "49000", "--iis-config", sites)
    assert not taken["free"] and taken["claims"][0]["file"] == str(sites) and taken["claims"][0]["line"]


def test_leases_and_release(answer):
    assert answer("leases")["leases"] == []
    port = answer("next")["ports"][0]["port"]
    assert [lease["port"] for lease in answer("leases")["leases"]] == [port]
    assert answer("release", port)["changed"] is True
    assert answer("release", port)["changed"] is False


OWNER = ("--project", "Shop", "--environment", "Qualität", "--label", "team=web")


def test_an_owner_is_told_with_its_labels_in_order(answer):
    first = answer("next", *OWNER)
    assert (first["verdict"], first["ports"][0]["verdict"]) == ("grant", "grant")
    again = answer("next", *OWNER)
    assert (again["verdict"], again["owner"]) == ("keep", first["owner"])
    assert again["ports"][0]["why"] and again["ports"][0]["moved_from"] is None
    lease, = answer("leases")["leases"]
    assert list(lease["labels"].items()) == [("project", "Shop"), ("environment", "Qualität"), ("team", "web")]
    assert lease["owner"] == first["owner"] and lease["renewed"] >= lease["created"]


def test_a_move_names_the_port_before(answer):
    first = answer("next", *OWNER, "--range", "49000-49009")["ports"][0]["port"]
    moved = answer("next", *OWNER, "--range", "49010-49019")
    assert moved["verdict"] == "move" and moved["ports"][0]["moved_from"] == first


def test_every_state_is_a_state(answer):
    port = answer("next", *OWNER)["ports"][0]["port"]
    answer("release", port)
    assert [lease["state"] for lease in answer("leases")["leases"]] == ["quarantined"]


def test_assign(answer):
    assert answer("assign", "8080", *OWNER, "--dry-run")["dry_run"] is True
    assert answer("leases")["leases"] == []
    assert answer("assign", "8080", *OWNER)["changed"] is True
    again = answer("assign", "8080", *OWNER)
    assert again["changed"] is False
    answer("assign", "8080", "--project", "other", schema="error", status=6)


def test_adopt(answer, tmp_path):
    sites = tmp_path / "sites.config"
    sites.write_text(SITE.format("Shop QA", 49000))
    shown = answer("adopt", "--iis-config", sites)
    assert (shown["changed"], shown["dry_run"]) == (False, True)
    done = answer("adopt", "--apply", "--iis-config", sites)
    assert [lease["port"] for lease in done["leases"]] == [lease["port"] for lease in shown["leases"]] == [49000]
    assert done["changed"] and done["leases"][0]["labels"]


def test_export_and_import(answer, nextport, tmp_path):
    answer("next", *OWNER)
    (tmp_path / "leases.jsonl").write_bytes(nextport("export").out)
    elsewhere = ("--ledger", tmp_path / "other.db")
    assert answer("import", tmp_path / "leases.jsonl", *elsewhere)["changed"] is True
    assert answer("import", tmp_path / "leases.jsonl", *elsewhere)["changed"] is False
    copy, = answer("leases", *elsewhere)["leases"]
    lease, = answer("leases")["leases"]
    assert (copy["port"], copy["labels"]) == (lease["port"], lease["labels"])


def test_check(answer, sites):
    found = answer("check", "--iis-config", sites)
    assert found["findings"] and {"iis"} <= {row["source"] for row in found["sources"]}
    assert any(finding["evidence"] for finding in found["findings"])


def test_protect(answer):
    found = answer("protect")
    assert found["changed"] is False and found["items"]


def test_log(answer):
    port = answer("next", *OWNER)["ports"][0]["port"]
    answer("release", port)
    events = answer("log")["events"]
    assert [event["kind"] for event in events][-2:] == ["granted", "released"]
    assert events[-2]["before"] is None and events[-2]["after"]["port"] == port
    assert events[-1]["owner"] and events[-1]["request"]


def test_map(answer, sites):
    found = answer("map", "--range", "49000-49009", "--exclude", "49005", "--iis-config", sites)
    assert found["pool"] == [{"first": 49000, "last": 49004}, {"first": 49006, "last": 49009}]
    assert 49000 in [claim["first"] for claim in found["claims"]]


def test_doctor(answer, sites):
    found = answer("doctor", "--iis-config", sites)
    assert {"iis", "sockets"} <= {item["name"] for item in found["items"]} and "raw" not in found
    assert answer("doctor", "--raw", "--iis-config", sites)["raw"]


def test_setup(answer, ledger):
    assert answer("setup", "--ledger", ledger)["changed"] is True
    assert answer("setup", "--ledger", ledger)["changed"] is False


def test_config(answer):
    found = answer("config")
    assert {"pool.range"} <= {f"{item['section']}.{item['name']}" for item in found["items"]}


def test_a_full_pool_says_what_takes_it(answer, sites):
    found = answer("next", "--range", "49000", "--iis-config", sites, schema="error", status=3)
    assert found["error"]["slug"] == "full" and found["exhausted"] and found["rejected"]


def test_a_refusal_names_its_status(answer, tmp_path):
    found = answer("next", "--range", "5-3", schema="error", status=2)
    assert (found["error"]["status"], found["error"]["slug"]) == (2, "input")
    answer("leases", "--ledger", tmp_path, schema="error", status=5)


@pytest.mark.parametrize("command", [["used"], ["free"], ["why", "49000"], ["check"], ["map"]])
def test_a_look_that_failed_keeps_what_was_seen(answer, tmp_path, command):
    broken = tmp_path / "broken.config"
    broken.write_text("<configuration>")
    found = answer(*command, "--iis-config", broken, status=4)
    assert found["error"]["slug"] == "blind"
    assert {"iis": "unreadable"}.items() <= {row["source"]: row["sight"] for row in found["sources"]}.items()


def test_doctor_says_what_failed_beside_what_it_found(answer, tmp_path):
    broken = tmp_path / "broken.config"
    broken.write_text("<configuration>")
    found = answer("doctor", "--iis-config", broken, status=4)
    assert found["error"]["slug"] == "blind"
    assert [(row["health"], row["advice"]) for row in found["items"] if row["name"] == "iis"][0][0] == "bad"


def test_the_log_of_a_json_answer_is_warnings_and_errors_only(nextport):
    done = nextport("next", "--format", "json", "--range", "49000-49009")
    assert done.err == b"", done
