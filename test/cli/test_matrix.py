# SPDX-License-Identifier: MIT
"""Whatever a socket is doing on a port, `next` does not give that port and `why` names what is there."""
import os

import pytest
from conftest import WINDOWS

SEEN = {
    # situation: (protocol, state as `why` names it, will pass by itself)
    "listen4": ("tcp", "listening", False),
    "listen127": ("tcp", "listening", False),
    "listen127other": ("tcp", "listening", False),
    "listendev": ("tcp", "listening", False),
    "listen6": ("tcp", "listening", False),
    "listen6mapped": ("tcp", "listening", False),
    "listen6only": ("tcp", "listening", False),
    "listen6lo": ("tcp", "listening", False),
    "reuseport": ("tcp", "listening", False),
    "reuseport-ra": ("tcp", "listening", False),
    "mptcp": ("tcp", "listening", False),
    "transparent": ("tcp", "listening", False),
    "bound": ("tcp", "bound", False),
    "bound-ra": ("tcp", "bound", False),
    "bound6": ("tcp", "bound", False),
    "failed-connect": ("tcp", "bound", False),
    "outgoing4": ("tcp", "established", True),
    "outgoing4-bind": ("tcp", "established", True),
    "outgoing6": ("tcp", "established", True),
    "outgoing-ra-noport": ("tcp", "established", True),
    "synsent": ("tcp", "syn-sent", True),
    "accepted": ("tcp", "established", True),
    "accepted-ra": ("tcp", "established", True),
    "accepted6": ("tcp", "established", True),
    "closewait": ("tcp", "close-wait", True),
    "finwait2": ("tcp", "fin-wait-2", True),
    "timewait-server": ("tcp", "time-wait", True),
    "timewait-server-ra": ("tcp", "time-wait", True),
    "timewait-outgoing": ("tcp", "time-wait", True),
    "synqueue": ("tcp", "syn-received", True),
    "udp": ("udp", "bound", False),
    "udp6": ("udp", "bound", False),
    "udp-connected": ("udp", "connected", True),
}
ORPHANS = {"finwait2", "timewait-server", "timewait-server-ra", "timewait-outgoing", "synqueue"}
UNSEEN = {
    # situation: what `why -v` says of it
    "udp": "in use, udp" if WINDOWS else "in use by holder, udp",
    "raw": "raw sockets",
    "other-namespace": "other network",
}
if WINDOWS:
    del SEEN["bound-ra"]  # Wine binds with the SO_REUSEADDR of Linux, which does not mind this one
    SEEN["udp-connected"] = ("udp", "bound", False)  # its table of UDP sockets knows no state
# Windows, and Linux before 6.8, do not list sockets that are bound and do not listen; the probe notices them all the same.
LISTS_BOUND = not WINDOWS and tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 8)
LISTED = [name for name, (protocol, state, _) in SEEN.items() if LISTS_BOUND or (protocol, state) != ("tcp", "bound")]


def around(port):
    return f"{port}-{port + 9}"


@pytest.mark.parametrize("situation", SEEN)
def test_a_port_in_use_is_never_given(nextport, holder, situation):
    port = holder(situation).port
    given = nextport("next", "--range", around(port), "--protocol", SEEN[situation][0]).port
    assert port < given <= port + 9


@pytest.mark.parametrize("situation", SEEN)
def test_a_port_in_use_alone_in_its_pool_is_refused(nextport, holder, situation):
    port = holder(situation).port
    done = nextport("next", "--range", f"{port}-{port}", "--protocol", SEEN[situation][0])
    assert (done.status, done.out) == (3, b"")


@pytest.mark.parametrize("situation", LISTED)
def test_why_names_what_is_there(nextport, holder, situation):
    protocol, state, transient = SEEN[situation]
    child = holder(situation)
    answer = nextport("why", child.port, "--protocol", protocol, "--format", "json").json
    assert not answer["free"]
    assert answer["probe"] == "taken" or (WINDOWS and transient)
    claim = next(c for c in answer["claims"] if c["detail"] == state)
    assert (claim["protocol"], claim["transient"], claim["source"]) == (protocol, transient, "sockets")
    if situation not in ORPHANS and not WINDOWS:  # Wine knows no process of any socket
        assert (claim["holder"], claim["pid"]) == ("holder", child.pid)


@pytest.mark.parametrize("situation", LISTED)
def test_used_lists_it(nextport, holder, situation):
    protocol, state, _ = SEEN[situation]
    port = holder(situation).port
    answer = nextport("used", "--range", f"{port}-{port}", "--protocol", protocol, "--format", "json").json
    assert state in [claim["detail"] for claim in answer["claims"]]


@pytest.mark.parametrize("situation", UNSEEN)
def test_what_takes_no_tcp_port_here_leaves_it_free_and_that_is_said(nextport, holder, situation):
    port = holder(situation).port
    done = nextport("why", port, "-v")
    assert done.status == 0
    assert UNSEEN[situation] in done.text + done.log
    assert nextport("next", "--range", around(port)).port == port


def test_both_protocols_must_be_free(nextport, holder):
    port = holder("udp").port
    assert nextport("next", "--range", around(port), "--protocol", "both").port > port


@pytest.mark.linux("as another user")
def test_programs_that_this_user_may_not_see_are_said_to_be_hidden(nextport, holder):
    port = holder("listen4").port
    done = nextport("used", "--range", f"{port}-{port}", "--format", "json", user=65534, group=65534, extra_groups=[],
                    env={"NEXTPORT_CONFIG": None, "NEXTPORT_LEDGER": None})
    assert done.status == 0, done
    assert [claim["holder"] for claim in done.json["claims"]] == [None]
    assert any("root sees them" in str(note) for note in done.json["notes"])


@pytest.mark.linux("ip_local_reserved_ports")
def test_ports_that_an_administrator_reserved_are_not_given(nextport):
    write_sysctl("ip_local_reserved_ports", "50000-50002")
    assert nextport("next", "--range", "50000-50010").port == 50003
    answer = nextport("why", "50001", "--format", "json").json
    assert [claim["kind"] for claim in answer["claims"]] == ["reserved"]


@pytest.mark.linux("ip_local_reserved_ports")
def test_a_reserved_list_that_covers_the_pool_protects_it(nextport):
    write_sysctl("ip_local_reserved_ports", "49000-65000")
    done = nextport("next", "--range", "50000-50010", "-v")
    assert done.port == 50000
    assert "protected" in done.log


def test_a_range_that_is_full_of_sockets_is_told_with_its_numbers(nextport, holder):
    first = holder("listen4").port
    done = nextport("next", "--range", f"{first}-{first}")
    assert done.status == 3
    assert "1 port" in done.log


def write_sysctl(name, text):
    with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
        file.write(text + "\n")
