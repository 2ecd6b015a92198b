# SPDX-License-Identifier: MIT
"""nextport protect on Windows: the dynamic ranges move beside the pool, are remembered, and come back. A double of netsh
obeys (test/windows/fake_netsh.c)."""
import os
import pathlib

import pytest
from test_windows import machine, netsh, on_machine  # noqa: F401 (fixtures)

pytestmark = pytest.mark.windows("netsh and its dynamic ranges")
ALL = [(family, protocol) for family in ("ipv4", "ipv6") for protocol in ("tcp", "udp")]
USUAL, BESIDE = (49152, 16384), (32616, 16384)  # first port and how many; BESIDE: below the pool of 49000-65000
FAILED, CONFLICT = 1, 6


@pytest.fixture
def answers(netsh):  # noqa: F811
    """The folder of what netsh says in this test."""
    return pathlib.Path(os.environ["FAKE_NETSH_DIR"])


@pytest.fixture
def ranges(answers):
    """What netsh says of the four dynamic ranges: (first, number) of each."""
    def read():
        said = [(answers / f"{family}-dynamic-{protocol}").read_text() for family, protocol in ALL]
        return [tuple(int(line.split(":")[1]) for line in text.splitlines() if ":" in line) for text in said]
    return read


@pytest.fixture
def kept(machine):  # noqa: F811
    return machine / "dynamic-ports"


@pytest.fixture
def protect(on_machine, answers):  # noqa: F811
    """protect("--apply"): the answer, which must be one; told to a netsh of this test's own."""
    def run(*words):
        done = on_machine("protect", *words, "--format", "json")
        assert done.status == 0, str(done)
        return done.json
    return run


def commands(answers):
    calls = answers / "calls"
    return [call for call in calls.read_text().splitlines() if "-set-" in call] if calls.exists() else []


def test_what_would_be_done_is_shown_and_nothing_is_done(protect, ranges, answers, kept):
    answer = protect()
    assert not answer["changed"] and not kept.exists() and commands(answers) == []
    assert answer["raw"].splitlines() == [
        f"netsh int {family} set dynamicport {protocol} start=32616 num=16384" for family, protocol in ALL]


def test_all_ranges_move_beside_the_pool_and_come_back(protect, ranges, kept, answers):
    (answers / "ipv6-dynamic-udp").write_text((answers / "ipv6-dynamic-udp").read_text().replace("49152", "40000"))
    assert protect("--apply")["changed"] and ranges() == [BESIDE] * 4 and kept.exists()
    assert protect("--undo")["changed"] and ranges() == [USUAL] * 3 + [(40000, 16384)] and not kept.exists()
    assert not protect("--undo")["changed"]


def test_applied_twice_it_changes_nothing_more(protect, ranges, kept, answers):
    protect("--apply")
    before, told = kept.read_bytes(), commands(answers)
    assert not protect("--apply")["changed"]
    assert kept.read_bytes() == before and commands(answers) == told


def test_what_was_before_the_first_change_comes_back(protect, ranges):
    protect("--apply")
    protect("--apply", "--range", "40000-41000")
    assert ranges() == [(49152, 16384)] * 4, "above that pool, at the upper end"
    protect("--apply")
    protect("--undo")
    assert ranges() == [USUAL] * 4


def test_what_somebody_else_changed_since_is_left_alone(protect, ranges, answers):
    protect("--apply")
    file = answers / "ipv4-dynamic-tcp"
    file.write_text(file.read_text().replace("32616", "20000"))
    assert protect("--undo")["changed"]
    assert ranges() == [(20000, 16384)] + [USUAL] * 3


def test_a_range_that_does_not_move_is_an_error_and_the_others_move_back(on_machine, protect, ranges, answers,  # noqa: F811
                                                                         kept):
    (answers / "deaf-ipv6-tcp").touch()
    refused = on_machine("protect", "--apply")
    assert refused.status == FAILED and "ipv6 set dynamicport tcp" in refused.log, refused
    assert ranges() == [USUAL] * 4 and not kept.exists()
    (answers / "deaf-ipv6-tcp").unlink()
    assert protect("--apply")["changed"] and ranges() == [BESIDE] * 4


def test_a_pool_without_room_beside_it_is_refused(on_machine, ranges, kept):  # noqa: F811
    refused = on_machine("protect", "--apply", "--range", "1100-65000")
    assert refused.status == FAILED and "1000" in refused.log, refused
    assert ranges() == [USUAL] * 4 and not kept.exists()


def test_next_knows_the_new_range_at_once(protect, on_machine):  # noqa: F811
    assert on_machine("setup").status == 0
    on_machine("next", "-q")
    protect("--apply")
    rows = {item["name"]: item for item in on_machine("doctor", "--format", "json").json["items"]}
    assert "0 of 16001" in rows["ephemeral ports"]["value"], rows


def test_a_damaged_memory_is_not_believed(on_machine, protect, ranges, kept):  # noqa: F811
    protect("--apply")
    kept.write_text(kept.read_text().replace("end\n", ""))
    for action in ("--apply", "--undo"):
        refused = on_machine("protect", action)
        assert refused.status == CONFLICT and "dynamic-ports" in refused.log, refused
    assert ranges() == [BESIDE] * 4
