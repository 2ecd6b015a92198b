# SPDX-License-Identifier: MIT
"""`why` calls a port free when `next` would give it, and tells each reason once."""
import pathlib

import pytest

from conftest import SITE

RESERVED = pathlib.Path("/proc/sys/net/ipv4/ip_local_reserved_ports")


@pytest.fixture
def files(tmp_path):
    """A quadlet, a site, web servers and a proxy, with ports of every kind; options that have them read."""
    texts = {"quadlet": "[Container]\nPublishPort=80\nPublishPort=49001:80\nPublishPort=49002:80/udp\n",
             "iis": SITE.format("Shop", 49003),
             "apache": "Listen ${Port}\nListen 49004\n<IfDefine NEVER>\nListen 49005\n</IfDefine>\nListen 49006x\n",
             "haproxy": "frontend f\n bind :49007\n bind :${PORT}\n"}
    endings = {"quadlet": ".container", "iis": ".config", "apache": ".conf", "haproxy": ".cfg"}
    options = []
    for source, text in texts.items():
        file = tmp_path / (source + endings[source])
        file.write_text(text)
        options += [f"--{source}-config", file]
    return options


def claims(nextport, files):
    answer = nextport("used", "--range", "49000-49012", "--format", "json", *files).json
    return {(claim["kind"], claim["certainty"]) for claim in answer["claims"]}


def agree(nextport, files, port, *options):
    """Is it free, as both say?"""
    given = nextport("next", "--range", f"{port}-{port}", "--dry-run", *options, *files)
    told = nextport("why", port, "-q", *options, *files)
    assert (given.status, told.status) in ((0, 0), (3, 1)), (given, told)
    return told.status == 0


def test_why_agrees_with_next_whatever_kind_of_claim_there_is(nextport, files, holder):
    assert nextport("next", "--range", "49008").port == 49008
    holder("listen4", 49009)
    holder("udp", 49010)
    holder("timewait-server", 49011)
    free = {port for port in range(49000, 49013) if agree(nextport, files, port)}
    seen = claims(nextport, files)
    assert {49000, 49002, 49012} <= free and not free & {49001, 49003, 49004, 49006, 49007, 49008, 49009}, free
    assert {("socket", "declared"), ("configured", "declared"), ("configured", "conditional"), ("leased", "declared"),
            ("suspect", "conditional"), ("published", "declared"), ("published", "unresolved"),
            ("configured", "unresolved")} <= seen
    for port, is_free in ((49001, True), (49002, False), (49008, False), (49010, False)):
        assert agree(nextport, files, port, "--protocol", "udp") == is_free, port


def test_why_agrees_with_next_about_what_is_avoided(nextport, files):
    assert not agree(nextport, files, 6667, "--avoid", "browser")
    assert agree(nextport, files, 6667)


@pytest.mark.linux("ip_local_reserved_ports")
def test_why_agrees_with_next_about_what_is_reserved(nextport, files):
    RESERVED.write_text("49012\n")
    assert not agree(nextport, files, 49012)
    assert "reserved" in {kind for kind, _ in claims(nextport, files)}


def test_what_may_be_any_port_is_told_below_the_verdict(nextport, files):
    told = nextport("why", 49000, *files).text.splitlines()
    assert told[0] == "port 49000 is free, as far as could be seen" and "  probe: it can be bound" in told
    assert sum(line.startswith("  perhaps quadlet: published for systemd-quadlet, unresolved") for line in told) == 1
    assert not any(line.startswith("to make it free") for line in told)
    taken = nextport("why", 49003, *files).text.splitlines()
    assert taken[0] == "port 49003 is taken" and any(line.startswith("  perhaps quadlet") for line in taken)
    cures = taken[taken.index("to make it free:") + 1:]
    assert cures[:1] == ["  change or remove the setting; stopping the site is not enough"], taken
    assert not cures[1:] or cures[1].startswith("not fully seen"), taken


def test_rows_that_read_alike_are_one_in_the_table_and_stay_two_for_programs(nextport, tmp_path):
    file = tmp_path / "httpd.conf"
    file.write_text("Listen 49000\n<VirtualHost *:49000>\nServerName a.example\nServerAlias b.example c.example\n"
                    "</VirtualHost>\n")
    look = ("used", "--source", "apache", "--range", "49000", "--apache-config", file)
    rows = nextport(*look).text.splitlines()
    assert len(nextport(*look, "--format", "json").json["claims"]) == 3
    assert len(rows) == 2, rows  # the titles, and the host under three names
    told = nextport("why", 49000, "--apache-config", file).text.splitlines()
    assert len(told) == len(set(told)), told


def test_a_full_pool_names_the_one_who_has_most_of_it(nextport, tmp_path):
    file = tmp_path / "shop.container"
    file.write_text("[Container]\nPublishPort=49000-49018:80-98\n")
    done = nextport("next", "--range", "49000-49018", "--quadlet-config", file)
    assert done.status == 3 and "19 ports: 19 quadlet" in done.log
    assert f"systemd-shop (quadlet, {file}:2) has 19 of them: widen the pool" in done.log, done
    done = nextport("next", "--count", 19, "--range", "49000-49030", "--quadlet-config", file)
    assert done.status == 3 and "12 free" in done.log and "19 of them" in done.log
    done = nextport("next", "--count", 60, "--range", "49000-49058", "--quadlet-config", file)
    assert done.status == 3 and "of them" not in done.log and "Widen the pool" in done.log
