# SPDX-License-Identifier: MIT
"""nextport check: what is wrong on a machine or will be. test/unit/audit_test.c has the table of findings; here they come
from real files, sockets and leases, with their statuses."""
import os
import pathlib
import re
import socket
import sqlite3
import subprocess
import sys

import pytest

from conftest import ROOT

LIVE = "Windows/System32/inetsrv/config/applicationHost.config"
POOL = ("--range", "20000-20999")  # outside of what outgoing connections take


def config(*sites):
    """An applicationHost.config: config(("Shop", "http *:20000:"), ...); one line for each site."""
    rows = []
    for i, (name, *bindings) in enumerate(sites):
        items = "".join('<binding protocol="{}" bindingInformation="{}"/>'.format(*b.split(" ")) for b in bindings)
        rows.append(f'<site name="{name}" id="{i + 1}"><bindings>{items}</bindings></site>')
    return "<configuration><system.applicationHost><sites>\n" + "\n".join(rows) + \
        "\n</sites></system.applicationHost></configuration>\n"


@pytest.fixture
def sites(tmp_path):
    def write(*rows, path="applicationHost.config"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(config(*rows))
        return file

    return write


@pytest.fixture
def check(nextport):
    """The answer of `check` in a pool that is safe from outgoing connections."""

    def run(*args, status=0, **kwargs):
        done = nextport("check", *POOL, "--format", "json", *args, **kwargs)
        assert done.status == status, done
        return done.json

    return run


def slugs(answer):
    return [(found["severity"], found["slug"], found["first"]) for found in answer["findings"]]


def test_a_sound_machine_has_no_findings(check):
    assert check()["findings"] == []


def test_two_sites_on_one_port_are_a_conflict(check, sites):
    file = sites(("Shop", "http *:20000:"), ("Blog", "http *:20000:"))
    found = check("--iis-config", file, status=6)
    assert slugs(found) == [("error", "two-holders", 20000), ("hint", "no-lease", 20000)]
    assert '"Blog" and "Shop"' in found["findings"][0]["text"] and found["findings"][0]["cure"]
    assert [(row["holder"], pathlib.PurePath(row["file"]).name, row["line"])
            for row in found["findings"][0]["evidence"]] == [("Blog", file.name, 3), ("Shop", file.name, 2)]


def test_host_names_and_addresses_share_a_port(check, sites):
    file = sites(("Shop", "http *:8080:shop.local"), ("Blog", "http *:8080:blog.local"), ("Rest", "http *:8080:"),
                 ("Ten", "http 10.0.0.1:8080:"), ("Six", "http [::1]:8080:"))
    assert check("--iis-config", file)["findings"] == []


@pytest.mark.parametrize("severity, status", [("hint", 6), ("hazard", 0), ("error", 0), (None, 0)])
def test_a_hint_fails_only_who_asks_for_it(nextport, sites, severity, status):
    file = sites(("Shop", "http *:20000:"))
    options = ("--fail-on", severity) if severity else ()
    done = nextport("check", *POOL, "--iis-config", file, "--format", "json", *options)
    assert done.status == status and slugs(done.json) == [("hint", "no-lease", 20000)]


@pytest.mark.parametrize("severity, status", [("hint", 6), ("hazard", 6), ("error", 0)])
def test_a_hazard_fails_who_asks_for_hazards(nextport, sites, severity, status):
    file = sites(("Shop", "http *:6000:"))
    done = nextport("check", *POOL, "--iis-config", file, "--format", "json", "--fail-on", severity)
    assert done.status == status and slugs(done.json) == [("hazard", "browser-blocked", 6000)]


def test_an_unknown_severity_is_a_slip(nextport):
    assert nextport("check", "--fail-on", "warning").status == 2


@pytest.mark.linux("Wine does not show whose sockets of this system are")
def test_a_program_on_a_sites_port_is_a_conflict(check, sites, holder):
    file = sites(("Shop", "http *:20000:shop.local", "http *:20001:"))
    child = holder("listen4", 20000)
    found = check("--iis-config", file, status=6)["findings"][0]
    assert (found["slug"], found["first"]) == ("two-holders", 20000)
    assert found["evidence"][0]["holder"] == "holder" and found["evidence"][0]["pid"] == child.pid
    assert found["evidence"][1]["holder"] == "Shop" and found["evidence"][1]["host"] == "shop.local"


@pytest.mark.linux("Wine does not show whose sockets of this system are")
def test_a_program_on_another_address_is_none(check, sites, holder):
    file = sites(("Shop", "http 127.0.0.2:20000:"))
    holder("listen127", 20000)
    assert [slug for _, slug, _ in slugs(check("--iis-config", file))] == ["no-lease"]


@pytest.mark.linux("Wine does not show whose sockets of this system are")
def test_two_sockets_share_what_the_kernel_lets_them(check, holder):
    holder("listen4", 20000)
    holder("listen6only", 20000)
    assert check()["findings"] == []


def test_a_leased_site_has_no_hint(check, nextport, sites):
    assert nextport("next", *POOL).port == 20000
    assert check("--iis-config", sites(("Shop", "http *:20000:")))["findings"] == []


def test_leftovers_of_merged_deployments_are_a_hazard(check, nextport, sites):
    assert nextport("next", *POOL).port == 20000
    file = sites(("Shop", "http *:20000:", "http *:20005:", "https *:20443:"))
    found = check("--iis-config", file)
    assert slugs(found) == [("hazard", "leftover-bindings", 20005), ("hint", "no-lease", 20005),
                            ("hint", "no-lease", 20443)]
    assert [row["first"] for row in found["findings"][0]["evidence"]] == [20000, 20005]


@pytest.mark.linux("Wine does not show whose sockets of this system are")
def test_a_lease_without_its_holder_is_a_hazard(check, nextport, holder):
    assert nextport("next", *POOL, "--project", "shop").port == 20000
    first = holder("listen4", 20000)
    assert nextport("sweep").status == 0
    assert check()["findings"] == []
    first.stdin.close()
    first.wait(timeout=20)
    found = check()
    assert slugs(found) == [("hazard", "unused-lease", 20000)]
    assert "shop" in found["findings"][0]["text"] and "sockets: holder" in found["findings"][0]["text"]
    with socket.create_server(("127.0.0.1", 20000)):
        assert slugs(check()) == [("hazard", "wrong-holder", 20000)]


def test_a_promise_that_lapsed_is_a_hazard(check, nextport, ledger):
    assert nextport("next", *POOL).port == 20000
    with sqlite3.connect(ledger) as db:  # as if its time were over
        db.execute("UPDATE lease SET expires = 1")
    db.close()
    assert slugs(check()) == [("hazard", "overdue", 20000)]


def test_a_malformed_binding_is_a_hazard(check, sites):
    assert slugs(check("--iis-config", sites(("Shop", "net.tcp *:808")))) == [("hazard", "malformed", 808)]


@pytest.mark.linux("Windows has another range")
def test_a_pool_that_connections_reach_is_one_hint(nextport):
    first, last = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    done = nextport("check", "--range", f"{first}-{last}", "--format", "json")
    assert done.status == 0 and slugs(done.json) == [("hint", "ephemeral", first)]
    assert done.json["findings"][0]["last"] == last


# ---- A machine's files ----------------------------------------------------------------------------------------------


def test_a_root_is_checked_by_its_files_alone(check, sites, tmp_path, holder):
    sites(("Shop", "http *:20000:"), ("Blog", "http *:20000:"), path=f"disk/{LIVE}")
    holder("listen4", 20000)
    found = check("--root", tmp_path / "disk", status=6, env={"NEXTPORT_LEDGER": None})
    assert slugs(found) == [("error", "two-holders", 20000)], "no sockets, and no leases either"


def test_a_roots_leases_are_those_of_the_ledger_that_is_named(check, nextport, sites, tmp_path, ledger):
    assert nextport("next", *POOL).port == 20000
    sites(("Shop", "http *:20001:"), path=f"disk/{LIVE}")
    found = check("--root", tmp_path / "disk", "--ledger", ledger)
    assert slugs(found) == [("hint", "no-lease", 20001)], "who does not look at sockets calls nothing unused"


@pytest.mark.parametrize("folder", ["var/lib/kubelet", "etc/rancher/k3s", "var/lib/rancher/rke2", "var/lib/k0s/kubelet",
                                    "var/snap/microk8s/common/var/lib/kubelet"])
def test_node_ports_are_a_hazard_where_kubernetes_lives(check, sites, tmp_path, folder):
    sites(("Shop", "http *:30080:"), path=f"disk/{LIVE}")
    assert check("--root", tmp_path / "disk")["findings"] == []
    (tmp_path / "disk" / folder).mkdir(parents=True)
    found = check("--root", tmp_path / "disk")
    assert slugs(found) == [("hazard", "node-port", 30080)]
    assert folder in found["findings"][0]["text"].replace("\\", "/")


def test_a_shared_configuration_is_a_hazard(check, sites, tmp_path):
    sites(("Shop", "http *:80:"), path="disk/shared/applicationHost.config")
    sites(path=f"disk/{LIVE}")
    redirection = tmp_path / "disk" / pathlib.Path(LIVE).parent / "redirection.config"
    redirection.write_text('<configuration>\n<configurationRedirection enabled="true" path="C:\\shared"/>\n'
                           "</configuration>\n")
    found = check("--root", tmp_path / "disk")
    assert slugs(found) == [("hazard", "shared-configuration", None)]
    evidence, = found["findings"][0]["evidence"]
    assert pathlib.PurePath(evidence["file"]).name == "redirection.config" and evidence["line"] == 2


# ---- What cannot be seen --------------------------------------------------------------------------------------------


def test_what_is_required_and_unreadable_keeps_the_findings_so_far(nextport, sites, tmp_path):
    file = sites(("Shop", "http *:8080:"), ("Blog", "http *:8080:"))
    done = nextport("check", *POOL, "--iis-config", file, "--iis-config", tmp_path / "none", "--format", "json")
    assert done.status == 4, done
    assert slugs(done.json) == [("error", "two-holders", 8080)]


def test_what_is_only_warned_of_does_not_fail(nextport, tmp_path):
    done = nextport("check", *POOL, "--iis-config", tmp_path / "none", "--policy", "iis=warn", "--format", "json")
    assert done.status == 0 and done.json["findings"] == []
    iis, = (row for row in done.json["sources"] if row["source"] == "iis")
    assert (iis["sight"], iis["policy"]) == ("unreadable", "warn")


def test_check_leaves_no_trace(check, ledger):
    check()
    assert not ledger.exists()


# ---- The answer -----------------------------------------------------------------------------------------------------


def test_the_same_machine_gives_the_same_answer(nextport, sites, holder):
    file = sites(*((f"Site {i}", f"http *:{20000 + i % 7}:", f"net.tcp {20000 + i % 5}:*") for i in range(40)))
    for port in (20003, 20001, 20002):
        holder("listen4", port)
    once, again = (nextport("check", *POOL, "--iis-config", file, "--format", "json") for _ in range(2))
    assert once.status == again.status == 6 and once.out == again.out
    order = {"error": 0, "hazard": 1, "hint": 2}
    keys = [(order[row["severity"]], row["first"], row["slug"]) for row in once.json["findings"]]
    assert keys == sorted(keys) and len(set(keys)) > 10


def test_people_get_the_finding_its_place_and_its_cure(nextport, sites):
    file = sites(("Shop", "http *:20000:"), ("Blog", "http *:20000:"))
    text = nextport("check", *POOL, "--iis-config", file, "--format", "table").text
    assert "two-holders" in text and "20000" in text and "applicationHost.config:2" in text and "nextport next" in text


def test_every_kind_of_finding_is_documented():
    rules = (ROOT / "src/core/audit.c").read_text().split("} rules[] = {")[1].split("\n};")[0]
    severities = {"ERROR": "error", "HAZARD": "hazard", "HINT": "hint"}
    built = {(slug, severities[severity])
             for severity, slug in re.findall(r"\{NEXTPORT_(\w+),\s*\"([a-z-]+)\"", rules)}
    page = (ROOT / "doc/check.md").read_text()
    assert set(re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", page, re.MULTILINE)) == built and len(built) == 14


@pytest.mark.linux("counts processor time, which Wine hides")
def test_what_check_adds_to_looking_does_not_grow_out_of_proportion(program, sites, tmp_path):
    """2,000 sites, and 10,000 sockets."""
    file = sites(*((f"Site {i}", f"http *:{20000 + i // 4}:s{i}.local") for i in range(2000)))
    holding = subprocess.Popen(
        [sys.executable, "-c", "import resource, socket, sys\n"
         "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
         "try:\n    resource.setrlimit(resource.RLIMIT_NOFILE, (20000, max(hard, 20000)))\n"
         "except ValueError:\n    print('skip', flush=True); sys.exit()\n"
         "kept = []\n"
         "for port in range(30000, 40000):\n"
         "    s = socket.socket(); s.bind(('127.0.0.1', port)); s.listen(1); kept.append(s)\n"
         "print('ready', flush=True); sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if holding.stdout.readline() != "ready\n":
            pytest.skip("so many files may not be open here")
        used, check = (min(spent(program, command, file, tmp_path) for _ in range(3)) for command in ("used", "check"))
    finally:
        holding.stdin.close()
        holding.wait(timeout=20)
        holding.stdout.close()
    assert check <= 10 * used


def spent(program, command, file, tmp_path):
    """Seconds of processor time."""
    env = dict(os.environ, NEXTPORT_LEDGER=str(tmp_path / "none.db"), NEXTPORT_CONFIG="/dev/null")
    before = os.times()
    done = subprocess.run([program, command, "--range", "1-65535", "--iis-config", str(file), "--format", "json"],
                          env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    after = os.times()
    assert done.returncode == 0, f"{command}: status {done.returncode}"
    return after.children_user + after.children_system - before.children_user - before.children_system
