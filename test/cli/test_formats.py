# SPDX-License-Identifier: MIT
"""Every command in every format: an answer, or a refusal that says what to use instead."""
import json
import xml.etree.ElementTree

import pytest
from conftest import SITE

FORMATS = ["plain", "table", "json", "octopus", "junit"]
GRANTS, EXPORT, PEOPLE, CHECK = ("plain", "json", "octopus"), ("plain",), ("table", "json"), ("table", "json", "junit")
COMMANDS = {
    "next": (["next"], GRANTS),
    "used": (["used"], PEOPLE),
    "free": (["free"], PEOPLE),
    "why": (["why", "49000"], PEOPLE),
    "leases": (["leases"], PEOPLE),
    "release": (["release", "49000"], PEOPLE),
    "assign": (["assign", "8080", "--project", "shop"], PEOPLE),
    "adopt": (["adopt"], PEOPLE),
    "check": (["check"], CHECK),
    "protect": (["protect"], PEOPLE),
    "map": (["map"], PEOPLE),
    "log": (["log"], PEOPLE),
    "export": (["export"], EXPORT),
    "import": (["import", "-"], PEOPLE),
    "sweep": (["sweep"], PEOPLE),
    "doctor": (["doctor"], PEOPLE),
    "setup": (["setup"], PEOPLE),
    "config": (["config"], PEOPLE),
}


@pytest.fixture
def lines(nextport):
    """An export of one lease."""
    nextport("next", "--project", "shop", "--name", "Old")
    return nextport("export").out


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_in_its_formats_and_refuses_the_others(nextport, ledger, lines, command, form):
    words, fitting = COMMANDS[command]
    if command == "setup":
        words = [*words, "--ledger", ledger]
    done = nextport(*words, "--format", form, **({"input": lines, "stdin": None} if command == "import" else {}))
    if form in fitting:
        assert done.status in (0, 6), done
        assert done.out or command == "export"
        if form == "json":
            assert json.loads(done.out)["schema"] == 1
        return
    said = done.text + done.log
    assert done.status == 2, done
    assert f"--format: {form} cannot write this answer" in said
    for name in fitting:
        assert name in said.split("cannot write")[1], done


@pytest.mark.parametrize("command", COMMANDS)
def test_a_format_of_the_configuration_never_stands_in_the_way(nextport, ledger, lines, tmp_path, command):
    words, _ = COMMANDS[command]
    (tmp_path / "nextport.conf").write_text("[output]\nformat = junit\n")
    if command == "setup":
        words = [*words, "--ledger", ledger]
    done = nextport(*words, **({"input": lines, "stdin": None} if command == "import" else {}))
    assert done.status in (0, 6), done


def test_an_export_is_nothing_but_its_lines(nextport):
    nextport("next", "--project", "shop")
    done = nextport("export")
    assert done.status == 0 and done.log == "", done
    for line in done.text.splitlines():
        json.loads(line)


def test_a_report_is_xml_with_a_case_for_each_finding(nextport, tmp_path):
    config = tmp_path / "applicationHost.config"
    config.write_text(SITE.format("Gr\u00fc\u00dfe &lt;b&gt; ]]&gt;", 49000), encoding="utf-8")
    words = ["check", "--iis-config", config, "--range", "49000-49009"]
    done = nextport(*words, "--format", "junit")
    assert done.status in (0, 6) and done.out.isascii(), done
    suite = xml.etree.ElementTree.fromstring(done.out).find("testsuite")
    findings = nextport(*words, "--format", "json").json["findings"]
    cases = suite.findall("testcase")
    assert [case.get("classname").rpartition(".")[2] for case in cases] == [f["slug"] for f in findings]
    assert int(suite.get("tests")) == len(cases) == len(findings) > 0
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    assert any("Gr\u00fc\u00dfe <b> ]]>" in "".join(case.itertext()) for case in cases)
    assert nextport(*words, "--format", "junit").out == done.out


def test_a_check_that_could_not_look_is_a_report_with_an_error(nextport, tmp_path):
    (tmp_path / "broken.config").write_text("<configuration>")
    done = nextport("check", "--iis-config", tmp_path / "broken.config", "--format", "junit")
    assert done.status == 4, done
    suite = xml.etree.ElementTree.fromstring(done.out).find("testsuite")
    assert suite.get("errors") == "1" and suite.find("testcase/error").get("type") == "blind"


def test_what_was_changed_is_said_on_the_log(nextport):
    port = nextport("next", "--project", "shop").port
    assert f"gave back port {port} of shop" in nextport("release", port).log
    assert nextport("release", port, "--quiet").log == ""


def test_a_kept_port_says_whose_and_why(nextport):
    nextport("next", "--project", "shop", "--environment", "QA")
    assert "kept for shop/QA: " in nextport("next", "--project", "shop", "--environment", "QA").log


def test_a_moved_port_says_from_where_to_where_and_why(nextport):
    before = nextport("next", "--project", "shop", "--range", "49000-49009").port
    done = nextport("next", "--project", "shop", "--range", "49010-49019")
    assert f"moved from {before} to {done.port} for shop, because " in done.log
