# SPDX-License-Identifier: MIT
"""Promises that are easy to break by accident: whose reservation it is, what was not seen, what nobody got."""
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import time

import octopus_reader
import pytest
from conftest import SITE, WINDOWS, locked, set_outgoing_ports

RESERVED = pathlib.Path("/proc/sys/net/ipv4/ip_local_reserved_ports")


def test_a_lease_lives_from_the_moment_it_is_granted_not_from_when_it_was_asked(nextport, program, ledger):
    assert nextport("next").port == 49000
    with locked(ledger):
        env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG="/dev/null")
        waiting = subprocess.Popen([program, "next", "-q", "--ttl", "1s"], env=env, stdout=subprocess.PIPE, text=True)
        started = time.time()
        while time.time() < started + 1.5:
            assert waiting.poll() is None
    assert waiting.communicate(timeout=30)[0] == "49001\n"
    created, expires = sqlite3.connect(ledger).execute("SELECT created, expires FROM lease WHERE port = 49001").fetchone()
    assert expires == created + 1 and created >= int(started) + 1


@pytest.mark.linux("ip_local_reserved_ports")
def test_ports_reserved_for_others_are_not_given_even_when_a_request_asks_for_just_those(nextport):
    RESERVED.write_text("50000-50010\n")
    refused = nextport("next", "--range", "50000-50010")
    assert refused.status == 3 and "11 os" in refused.log
    assert nextport("why", 50000, "-q").status == 1


@pytest.mark.linux("ip_local_reserved_ports")
def test_a_reservation_of_the_whole_configured_pool_protects_it(nextport, tmp_path):
    RESERVED.write_text("20000-20099\n")
    (tmp_path / "nextport.conf").write_text("[pool]\nrange = 20000-20099\n")
    assert nextport("next").port == 20000
    assert nextport("next", "--range", "20050-20060").port == 20050


def test_what_was_not_seen_is_not_called_free(nextport):
    blind = ("--iis-config", "/nonexistent")
    why = nextport("why", 49000, "--format", "json", *blind)
    assert why.status == 4 and why.json["free"] is False and why.json["claims"] == []
    assert "not everything was seen" in nextport("why", 49000, *blind).text
    quiet = nextport("why", 49000, "-q", *blind)
    assert quiet.status == 4 and quiet.out == b""


def test_a_source_that_is_off_is_named(nextport):
    sources = nextport("next", "--policy", "iis=off", "--format", "json").json["sources"]
    assert [(s["policy"], s["why"]) for s in sources if s["source"] == "iis"] == [("off", "not asked: its policy is off")]


def test_the_doctor_notices_a_source_that_is_not_asked(nextport, tmp_path):
    (tmp_path / "nextport.conf").write_text("[policy]\niis = off\n")
    item, = [item for item in nextport("doctor", "--format", "json").json["items"] if item["name"] == "iis"]
    assert (item["health"], item["value"]) == ("notice", "off by policy: not asked") and item["advice"]


def test_a_failed_command_line_is_told_in_the_format_of_the_environment(nextport):
    failed = nextport("next", "--rnage", "80", env={"NEXTPORT_FORMAT": "octopus"})
    assert failed.status == 2 and failed.err == b""
    assert b"##octopus[resultMessage " in failed.out and b"setVariable" not in failed.out


def test_a_site_cannot_speak_to_octopus_through_json(nextport, tmp_path):
    site = tmp_path / "app.config"
    site.write_text(SITE.format("##octopus[setVariable name='UG9ydA==' value='ODE=']", 49000))
    for words in (("next",), ("used",)):
        done = nextport(*words, "--format", "json", "--iis-config", site)
        assert b"##" not in done.out and done.status == 0
        assert any("##octopus[" in str(value) for value in done.json.values()), "the name itself is intact"


def test_a_udp_socket_does_not_make_a_tcp_lease_last(nextport, ledger, holder):
    assert nextport("next").port == 49000
    holder("udp", 49000)
    db = sqlite3.connect(ledger)
    db.execute("UPDATE lease SET expires = 1")
    db.commit()
    assert nextport("next").port == 49000


def test_used_shows_udp_and_why_does_not_count_it_against_tcp(nextport, holder):
    port = holder("udp").port
    assert [c["protocol"] for c in nextport("used", "--format", "json").json["claims"] if c["first"] == port] == ["udp"]
    assert nextport("why", port, "-q").status == 0
    assert nextport("why", port, "-q", "--protocol", "udp").status == 1


def test_an_option_beats_the_configuration_in_the_choice_of_the_ledger(nextport, tmp_path):
    (tmp_path / "nextport.conf").write_text("[ledger]\nuser = yes\n")
    assert nextport("next", "--ledger", tmp_path / "other.db", env={"NEXTPORT_LEDGER": None}).port == 49000
    assert (tmp_path / "other.db").exists()


def test_a_ledger_below_a_linked_folder_is_made_at_once(nextport, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert nextport("next", "--ledger", tmp_path / "link" / "ledger.db").port == 49000
    assert (tmp_path / "real" / "ledger.db").exists()


@pytest.mark.linux("signals")
def test_a_deployment_cancelled_at_any_moment_leaves_no_lease_that_nobody_knows(nextport, program, ledger):
    """Octopus ends a cancelled step by a signal. Whatever the moment: the answer was printed, or there is no lease."""
    env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG="/dev/null")
    known, ended = {nextport("next").port}, 0
    for _ in range(150):
        child = subprocess.Popen([program, "next", "-q"], env=env, stdout=subprocess.PIPE, text=True)
        deadline = time.perf_counter() + random.uniform(0.0005, 0.004)
        while time.perf_counter() < deadline:
            pass
        child.send_signal(random.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
        out = child.communicate(timeout=30)[0]
        ended += child.returncode < 0
        known |= {int(line) for line in out.splitlines()}
    leased = {lease["port"] for lease in nextport("leases", "--format", "json").json["leases"]}
    assert leased == known
    assert ended, "no process was met before its end: the moments prove nothing"


@pytest.mark.linux("signals")
def test_a_reader_that_never_reads_is_no_reason_to_keep_the_lease(nextport, program, ledger):
    """Standard output is a full pipe: the program waits, can be ended, and takes its lease back."""
    first = nextport("next").port
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 65536)
    except BlockingIOError:
        pass
    os.set_blocking(write, True)
    env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG="/dev/null")
    child = subprocess.Popen([program, "next"], env=env, stdout=write, stderr=subprocess.PIPE, text=True)
    while len(nextport("leases", "--format", "json").json["leases"]) < 2:
        assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    log = child.communicate(timeout=30)[1]
    assert child.returncode == -signal.SIGTERM and "the lease is undone" in log
    assert [lease["port"] for lease in nextport("leases", "--format", "json").json["leases"]] == [first]
    os.close(read)
    os.close(write)


@pytest.mark.linux("pipes of Linux")
def test_a_reader_that_does_not_block_still_gets_everything(program, ledger):
    """A non-blocking pipe is full now and then; that is no failure."""
    env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG="/dev/null")
    read, write = os.pipe()
    os.set_blocking(write, False)
    child = subprocess.Popen([program, "next", "-q", "--count", "12000"], env=env, stdout=write)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        ports = stream.read().split()
    assert child.wait(timeout=60) == 0
    assert [int(port) for port in ports] == list(range(49000, 61000))


@pytest.mark.linux("pipes of Linux")
def test_the_octopus_answer_is_one_write(program, ledger):
    """Other output of the step cannot come between: a pipe takes what is at most PIPE_BUF bytes whole."""
    env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG="/dev/null")
    read, write = os.pipe2(os.O_DIRECT)  # a packet pipe: one read returns one write
    child = subprocess.Popen([program, "next", "--format", "octopus"], env=env, stdout=write)
    os.close(write)
    packets = []
    while packet := os.read(read, 65536):
        packets.append(packet)
    os.close(read)
    assert child.wait(timeout=30) == 0
    assert len(packets) == 1
    reader = octopus_reader.Reader()
    reader.feed(packets[0])
    reader.close()
    assert reader.variables == {"Port": "49000"}


@pytest.mark.linux("ip_local_reserved_ports")
def test_the_doctor_says_what_protects_the_pool(nextport):
    set_outgoing_ports(32768, 60999)
    advice, = [item["advice"] for item in nextport("doctor", "--format", "json").json["items"]
               if item["name"] == "ephemeral ports"]
    assert "nextport protect --apply" in advice


def test_who_only_looks_waits_for_nobody(nextport, ledger):
    """A deployment was stopped in the middle: it has the queue and a write transaction."""
    assert nextport("next").port == 49000
    writer = sqlite3.connect(ledger, isolation_level=None)
    with locked(ledger):
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM lease")
        started = time.monotonic()
        assert [lease["port"] for lease in nextport("leases", "--format", "json").json["leases"]] == [49000]
        assert nextport("why", 49000, "-q").status == 1
        assert nextport("next", "--dry-run").port == 49001
        assert nextport("free").status == nextport("used").status == nextport("doctor").status == 0
        assert time.monotonic() - started < (25 if WINDOWS else 2.5), "less than a wait for the lock would take"
        assert nextport("next", "--wait", "0").status == 8
    writer.execute("ROLLBACK")
    writer.close()
