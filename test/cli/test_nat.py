# SPDX-License-Identifier: MIT
"""Ports that NAT hands to somebody although a bind succeeds: real rules in a namespace, made by nft and iptables."""
import contextlib
import ipaddress
import os
import pathlib
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys

import pytest

from conftest import NATIVE, NOBODY

pytestmark = pytest.mark.linux("NAT of Windows keeps its ports by exclusions")

SERVE = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(sys.argv[3].encode())
    connection.close()
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as connection:
    print(connection.recv(100).decode())
"""


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def rules(text):
    needs("nft")
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def call(*words):
    needs(words[0])
    subprocess.run(list(map(str, words)), check=True)


def nat(text):
    rules("table ip shop {\n" + text.replace("PREROUTING", "type nat hook prerouting priority -100") + "\n}\n")


def claims(nextport, *words):
    return nextport("used", "--source", "nat", "--format", "json", *words).json["claims"]


def shown(nextport):
    return [(c["first"], c["last"], c["protocol"], c["holder"], re.sub(r" (handle|rule) \d+", "", c["detail"]))
            for c in claims(nextport)]


DNAT = "DNAT to 10.0.0.2:80"
FORMS = {
    "a plain range": ("chain pre { PREROUTING; tcp dport 49000-49001 dnat to 10.0.0.2:80; }",
                      [(49000, 49001, DNAT)]),
    "a set of ports and intervals": ("chain pre { PREROUTING; tcp dport { 49000, 49002-49005 } dnat to 10.0.0.2:80; }",
                                     [(49000, 49000, DNAT), (49002, 49005, DNAT)]),
    "a map to targets": ("chain pre { PREROUTING; dnat to tcp dport map { 49000 : 10.0.0.2, 49003 : 10.0.0.3 }; }",
                         [(49000, 49000, "DNAT to 10.0.0.2"), (49003, 49003, "DNAT to 10.0.0.3")]),
    "a map to chains": ("chain web { meta l4proto tcp dnat to 10.0.0.2:80; }\n"
                        "chain pre { PREROUTING; tcp dport vmap { 49000 : goto web }; }",
                        [(49000, 49000, "chain web")]),
    "a redirection": ("chain pre { PREROUTING; tcp dport 49000 redirect to :8080; }",
                      [(49000, 49000, "REDIRECT to :8080")]),
    "a named set of protocols and ports": ("set open { type inet_proto . inet_service; elements = { tcp . 49000 }; }\n"
                                           "chain pre { PREROUTING; meta l4proto . th dport @open dnat to 10.0.0.2; }",
                                           [(49000, 49000, "DNAT to 10.0.0.2")]),
    "a set of what a mask leaves": ("chain pre { PREROUTING; tcp dport & 0xfff8 { 49000, 49003 } dnat to 10.0.0.2:80; }",
                                    [(49000, 49007, DNAT)]),
    "a map of what a mask leaves": ("chain pre { PREROUTING; dnat ip to tcp dport & 0xfff8 map { 49000 : 10.0.0.2 }; }",
                                    [(49000, 49007, "DNAT to 10.0.0.2")]),
    "a mask in a key of several fields": ("chain web { meta l4proto tcp dnat to 10.0.0.2:80; }\n"
                                          "chain pre { PREROUTING;\n"
                                          "ip daddr . tcp dport & 0xfff8 vmap { 192.0.2.1 . 49000 : jump web }; }",
                                          [(49000, 49007, "chain web")]),
}


PLACES = {
    "nat, hook prerouting": ("ip", "chain c { type nat hook prerouting priority -100; tcp dport 49000 redirect to :9; }"),
    "nat, hook output": ("ip6", "chain c { type nat hook output priority -100; tcp dport 49000 redirect to :9; }"),
    "nat, behind a jump": ("inet", "chain to { tcp dport 49000 redirect to :9; }\n"
                                   "chain c { type nat hook prerouting priority -100; jump to; }"),
    "filter, hook prerouting": ("ip", "chain c { type filter hook prerouting priority -150;\n"
                                      "tcp dport 49000 tproxy to :9 meta mark set 1; }"),
}


@pytest.mark.parametrize("place", PLACES)
def test_rules_are_found_in_every_chain_that_can_hand_on(nextport, place):
    family, chains = PLACES[place]
    rules("table ip wall { chain input { type filter hook input priority 0; tcp dport 49000-49999 accept; }\n"
          "chain forward { type filter hook forward priority 0; tcp dport 49000-49999 accept; }\n}\n"
          f"table {family} wall2 {{ {chains}\n}}\n"
          "table inet zero { chain output { type filter hook output priority 0; tcp dport 49001 accept; }\n}\n")
    assert [row[:3] for row in shown(nextport)] == [(49000, 49000, "tcp")]
    assert nextport("next").port == 49001


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_rule_takes_its_ports(nextport, form):
    text, expected = FORMS[form]
    assert nextport("next", "--dry-run").port == 49000
    nat(text)
    assert [row[:2] + row[3:4] for row in shown(nextport)] == expected
    taken = {port for first, last, _ in expected for port in range(first, last + 1)}
    assert nextport("next").port == min(set(range(49000, 49010)) - taken)
    assert "nat" in nextport("why", 49000).text


MASKED = {
    "one number": "tcp dport & 0xfff0 == 49008",
    "numbers": "tcp dport & 0xfff0 { 49008, 49011, 49056 }",
    "an interval": "tcp dport & 0xfff0 { 49008-49047 }",
    "from a number on": "tcp dport & 0xfff0 >= 49088",
    "a mask with a gap": "tcp dport & 0xfff5 { 49008 }",
    "bits turned round": "tcp dport & 0xfff0 ^ 0xff00 { 16496 }",
    "the high byte": "tcp sport & 0 == 0 @th,16,8 { 0xbf, 0xc1 }",
}


@pytest.mark.parametrize("form", MASKED)
def test_what_a_mask_covers_is_taken_where_the_kernel_hands_it_on(nextport, form):
    tried = range(48960, 49170)
    rules("table ip shop { chain out { type nat hook output priority -100; " + MASKED[form] + " redirect to :9; }\n}\n")
    with socket.create_server(("127.0.0.1", 9), backlog=len(tried)):
        handed = set()
        for port in tried:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 10):
                handed.add(port)
    taken = {port for c in claims(nextport) for port in range(c["first"], c["last"] + 1)} & set(tried)
    assert handed and handed <= taken
    assert len(taken) - len(handed) <= 16


IPTABLES = {
    "DNAT": ("-p tcp --dport 49000 -j DNAT --to-destination 172.17.0.2:80",
             [(49000, 49000, "tcp", "DNAT to 172.17.0.2:80", "nat PREROUTING")]),
    "udp range": ("-p udp --dport 49000:49009 -m comment --comment web -j REDIRECT --to-ports 80",
                  [(49000, 49009, "udp", "REDIRECT to :80", "nat PREROUTING: web")]),
    "multiport": ("-p tcp -m multiport --dports 49000,49002:49005 -j DNAT --to-destination 172.17.0.2",
                  [(49000, 49000, "tcp", "DNAT to 172.17.0.2", "nat PREROUTING"),
                   (49002, 49005, "tcp", "DNAT to 172.17.0.2", "nat PREROUTING")]),
}


@pytest.mark.parametrize("backend", ["nft", "legacy"])
@pytest.mark.parametrize("form", IPTABLES)
def test_rules_of_iptables_take_their_ports(nextport, form, backend):
    rule, expected = IPTABLES[form]
    call(f"iptables-{backend}", "-t", "nat", "-A", "PREROUTING", *rule.split())
    assert shown(nextport) == expected
    assert nextport("next", "--protocol", expected[0][2]).port == (49010 if "udp" in form else 49001)


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_rules_of_ip6tables_take_their_ports(nextport, backend):
    call(f"ip6tables-{backend}", "-t", "nat", "-A", "PREROUTING", *"-p tcp --dport 49000 -j DNAT".split(),
         "--to-destination", "[fd00::2]:80")
    assert shown(nextport) == [(49000, 49000, "tcp", "DNAT to [fd00::2]:80", "nat PREROUTING (ip6)")]


def test_a_port_of_a_rule_is_taken_in_its_protocol_only(nextport):
    nat("chain pre { PREROUTING; udp dport 49000 redirect to :53; }")
    assert nextport("next").port == 49000
    assert nextport("next", "--protocol", "udp").port == 49001


def test_firewalls_and_source_nat_take_nothing(nextport):
    rules("table ip shop {\n"
          "chain post { type nat hook postrouting priority 100; tcp dport 49000 masquerade; }\n"
          "chain in { type filter hook input priority 0; tcp dport { 22, 49000-49010 } accept; }\n"
          "chain pre { type nat hook prerouting priority -100; tcp dport 50000 redirect to :80; }\n}\n")
    assert [row[:2] for row in shown(nextport)] == [(50000, 50000)]
    assert nextport("next").port == 49000


def test_a_rule_for_every_port_is_told_and_leaves_the_pool_usable(nextport):
    nat("chain pre { PREROUTING; ip daddr 192.0.2.1 dnat to 10.0.0.2; tcp dport 1024-65535 redirect to :9; }")
    assert [(c["first"], c["certainty"], c["detail"]) for c in claims(nextport)] == [
        (None, "unresolved", "shop pre handle 2, every port"),
        (None, "unresolved", "shop pre handle 3, ports 1024-65535")]
    done = nextport("next")
    assert done.port == 49000 and "2 NAT rules are about (nearly) every port" in done.log


WEB = "chain web { meta l4proto tcp redirect to :9; }\n"
WIDE = {
    "a range, and a jump": (WEB + "chain pre { PREROUTING; tcp dport 1024-65535 jump web; }", "web"),
    "an interval of a set, and a jump": (WEB + "chain pre { PREROUTING; tcp dport { 22, 1024-65535 } jump web; }", "web"),
    "the rest of a map to chains": (WEB + "chain pre { PREROUTING; tcp dport vmap { 5000 : accept, * : jump web }; }",
                                    "web"),
    "an interval in a key of several fields": (
        WEB + 'chain pre { PREROUTING; iifname . tcp dport vmap { "eth0" . 1024-65535 : jump web }; }', "web"),
    "a range before a map to chains": (
        WEB + "chain pre { PREROUTING; tcp dport 1024-65535 ip saddr vmap { 192.0.2.1 : jump web }; }", "web"),
    "jump behind jump": (WEB + "chain to { tcp dport != 22 jump web; }\n"
                         "chain pre { PREROUTING; tcp dport 1024-65535 jump to; }", "web"),
    "the rest of a map to targets": (
        "chain pre { PREROUTING; dnat to tcp dport map { 5000 : 10.0.0.1, * : 10.0.0.2 }; }", "pre"),
    "all ports but one": ("chain pre { PREROUTING; tcp dport 1-65535 tcp dport != 22 redirect to :9; }", "pre"),
}


def wide(nextport):
    return [(c["first"], c["certainty"], c["detail"].split()[1]) for c in claims(nextport) if c["first"] not in (22, 5000)]


@pytest.mark.parametrize("form", WIDE)
def test_too_many_ports_are_told_wherever_the_rule_says_so(nextport, form):
    text, chain = WIDE[form]
    nat(text)
    assert wide(nextport) == [(None, "unresolved", chain)]
    done = nextport("next")
    assert done.port == 49000 and "1 NAT rule is about (nearly) every port" in done.log


@pytest.mark.parametrize("tool", ["iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"])
def test_too_many_ports_are_told_of_iptables(nextport, tool):
    for rule in ("-N C1", "-N C2", "-A PREROUTING -j C1", "-A C1 -p tcp --dport 5011: -j C2",
                 "-A C2 -p tcp ! --dport 5500 -j REDIRECT --to-ports 9"):
        call(tool, "-t", "nat", *rule.split())
    assert wide(nextport) == [(None, "unresolved", "C2")]


def test_what_follows_a_port_that_is_named_is_not_told(nextport):
    nat(WEB + "chain pre { PREROUTING; tcp dport 50000-50009 jump web; tcp dport { 50010, 50020-50029 } jump web;\n"
        "tcp dport 50030 ip saddr vmap { 192.0.2.1 : jump web }; }")
    assert [row[:2] for row in shown(nextport)] == [(50000, 50009), (50010, 50010), (50020, 50029), (50030, 50030)]


def test_rules_by_one_set_say_its_ports_once(nextport):
    nat("set open { type inet_service; elements = { 49000, 49002 }; }\n"
        "chain pre { PREROUTING; ip saddr 192.0.2.1 accept; ip daddr 10.0.0.1 tcp dport @open dnat to 10.1.0.1:80;\n"
        "ip daddr 10.0.0.2 tcp dport @open dnat to 10.1.0.2:80; udp dport @open dnat to 10.1.0.3;\n"
        "tcp dport @open tcp dport 49009 accept; ip daddr 10.0.0.4 tcp dport @open dnat to 10.1.0.4:80; }")
    told = [(c["first"], c["protocol"], c["certainty"], c["holder"], re.sub(r"\d+", "N", c["detail"]))
            for c in claims(nextport)]
    assert sorted(told) == sorted(
        [(port, *row) for port in (49000, 49002) for row in [
            ("tcp", "declared", "DNAT to 10.1.0.1:80", "shop pre handle N, also handle N, N"),
            ("udp", "declared", "DNAT to 10.1.0.3", "shop pre handle N"),
            ("tcp", "conditional", None, "shop pre handle N")]] + [
            (49009, "tcp", "conditional", None, "shop pre handle N")], key=str) or told
    assert nextport("next").port == 49001


def test_many_rules_by_one_set_of_many_ports_are_not_told_one_by_one(nextport):
    ports = range(30000, 50000, 10)
    nat("set open { type inet_service; elements = { " + ", ".join(map(str, ports)) + " }; }\nchain pre { PREROUTING;\n" +
        "".join(f"ip daddr 10.0.0.{i} tcp dport @open dnat to 10.1.0.{i}:80;\n" for i in range(100)) + "}")
    told = claims(nextport)
    assert [c["first"] for c in told] == list(ports)
    assert all(c["detail"].endswith(" and 91 more") for c in told)


def kube_proxy(services):
    """Three chains for each service, and the jumps between them; every second one has a NodePort."""
    chains, entries = [":SERVICES - [0:0]", ":NODEPORTS - [0:0]"], ["-A PREROUTING -j SERVICES"]
    for i in range(services):
        chains += [f":{kind}-{i} - [0:0]" for kind in ("SVC", "EXT", "SEP")]
        entries += [f"-A SERVICES -d 10.96.{i >> 8}.{i & 255}/32 -p tcp --dport 80 -j SVC-{i}", f"-A EXT-{i} -j SVC-{i}",
                    f"-A SVC-{i} -j SEP-{i}", f"-A SEP-{i} -p tcp -j DNAT --to-destination 10.97.{i >> 8}.{i & 255}:80"]
        if i % 2:
            entries.append(f"-A NODEPORTS -p tcp --dport {20000 + i} -j EXT-{i}")
    return "\n".join(["*nat", *chains, *entries, "-A SERVICES -j NODEPORTS", "COMMIT", ""])


def cpu(*words):
    """Seconds of processor time, of the system's as well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_table_of_many_chains_costs_what_reading_it_costs(nextport):
    """Where each jump was looked for among all chains, it was twenty times as much."""
    needs("iptables-legacy-restore", "iptables-legacy-save")
    subprocess.run(["iptables-legacy-restore"], input=kube_proxy(10000), text=True, check=True)
    done = nextport("used", "--source", "nat", "--format", "json")
    assert len(done.json["claims"]) == 15000
    assert cpu(*done.args) < 10 * cpu("iptables-legacy-save", "-t", "nat")


def test_looking_makes_no_table_of_iptables(nextport):
    """Asking ip_tables for a table makes it."""
    names = pathlib.Path("/proc/self/net/ip_tables_names")
    if not names.exists():
        pytest.skip("this kernel has no ip_tables")
    nextport("used", "--source", "nat")
    nextport("next")
    assert names.read_text() == ""


def test_an_ordinary_user_is_told_that_nat_was_not_inspected(as_nobody):
    nat("chain pre { PREROUTING; tcp dport 49000 redirect to :8080; }")
    words = ("next", "--dry-run", "--policy", "podman=off", "--ledger", "/nonexistent/ledger.db")
    done = as_nobody(*words)
    assert done.log.count("NAT") == 1, done
    assert "NAT was not inspected). Run as root to see it, or do without: '--policy nat=off'." in done.log, done
    quiet = as_nobody(*words, "--quiet")
    assert (quiet.text, quiet.log) == ("49000\n", ""), quiet
    done = as_nobody("used", "--source", "nat")
    assert done.status == 0 and "nat (partial)" in done.text and "Run as root" in done.text, done
    refused = as_nobody("used", "--source", "nat", "--policy", "nat=require")
    assert refused.status == 4 and "NAT was not inspected" in refused.log, refused
    silent = as_nobody("used", "--source", "nat", "--policy", "nat=off")
    assert silent.status == 0 and "NAT was not inspected" not in silent.text + silent.log, silent


MODULES = """
set -e
mkdir -p top/modules/$(uname -r) work
printf '%s' "$1" > top/modules/$(uname -r)/modules.builtin
mount -t overlay none -o lowerdir=/usr/lib,upperdir=top,workdir=work /usr/lib 2>/dev/null || exit 77
test -e /lib/modules/$(uname -r)/modules.builtin || exit 77
shift
setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""


@pytest.mark.parametrize("built_in, told", [
    ("kernel/fs/ext4/ext4.ko\nkernel/net/netfilter/x_tables.ko\n", False),
    ("kernel/fs/ext4/ext4.ko\nkernel/net/netfilter/nf_nat.ko\n", True),
    ("kernel/net/ipv4/netfilter/nf_tproxy_ipv4.ko\n", True),
    ("", True),
])
def test_who_may_not_look_is_told_nothing_where_no_module_can_hand_on(as_nobody, tmp_path, built_in, told):
    """A list of this kernel's modules is laid over its own, for one process to see."""
    needs("unshare", "setpriv")
    if pathlib.Path("/sys/module/nf_nat").exists():
        pytest.skip("nf_nat is loaded")
    program = as_nobody("--version").args[0]
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'd=$1; shift; mount -t tmpfs none "$d"; cd "$d"\n' + MODULES, "sh", disk, built_in,
         program, "next", "--dry-run", "--ledger", "/nonexistent/ledger.db", "--policy", "podman=off"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": "/nonexistent"})
    if done.returncode == 77:
        pytest.skip("no overlay file system")
    assert done.returncode == 0 and done.stdout == "49000\n", done
    assert ("NAT was not inspected" in done.stderr) == told, done


def change(ledger, statement):
    with contextlib.closing(sqlite3.connect(ledger)) as db, db:
        db.execute(statement)


def test_leases_of_an_ordinary_user_end_all_the_same(as_nobody, open_folder):
    """Who can never see NAT would else keep every port for ever."""
    folder = open_folder / "ledger"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    words = ("next", "--ledger", str(folder / "ledger.db"))
    assert as_nobody(*words).port == 49000
    change(folder / "ledger.db", "UPDATE lease SET expires = 1")
    assert as_nobody(*words).port == 49000


def test_a_lease_that_nat_was_seen_to_use_is_kept_by_who_cannot_see_it(nextport, as_nobody, open_folder):
    folder = open_folder / "ledger"
    folder.mkdir(mode=0o700)
    ledger = folder / "ledger.db"
    assert nextport("next", "--ledger", ledger).port == 49000
    nat("chain pre { PREROUTING; tcp dport 49000 redirect to :8080; }")
    assert nextport("sweep", "--ledger", ledger).status == 0
    lease, = nextport("leases", "--format", "json", "--ledger", ledger).json["leases"]
    assert (lease["state"], lease["holder"]) == ("confirmed", "nat: REDIRECT to :8080")
    change(ledger, "DELETE FROM meta WHERE key LIKE 'note:looked%'")  # another look is due
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    assert as_nobody("next", "--ledger", str(ledger)).port == 49001
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        states = db.execute("SELECT port, state FROM lease ORDER BY port").fetchall()
    assert states == [(49000, "confirmed"), (49001, "pending")]


@contextlib.contextmanager
def a_namespace():
    """A process that keeps a network namespace; its id names it."""
    child = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo ready; read end"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        yield child.pid
    finally:
        child.stdin.close()
        child.wait(timeout=20)
        child.stdout.close()


def inside(pid, *words):
    return ["nsenter", f"--net=/proc/{pid}/ns/net", *map(str, words)]


def link(pid, name, here, there):
    """A cable to that namespace, which goes by the address `here` to everywhere else."""
    call("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", pid)
    call("ip", "address", "add", f"{here}/24", "dev", name)
    call("ip", "link", "set", name, "up")
    for words in (["address", "add", f"{there}/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                  ["route", "add", "default", "via", here]):
        call(*inside(pid, "ip", *words))


@contextlib.contextmanager
def serving(place, port, word, pid=None):
    words = [sys.executable, "-c", SERVE, place, str(port), word]
    child = subprocess.Popen(inside(pid, *words) if pid else words, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        yield
    finally:
        child.kill()
        child.wait(timeout=20)
        child.stdout.close()


@pytest.mark.parametrize("backend", ["nft", "iptables-nft", "iptables-legacy"])
def test_a_port_whose_clients_reach_somebody_else_is_not_given(nextport, backend):
    """The bind succeeds, a check on loopback is green, and every client reaches the container."""
    needs("ip", "nsenter", "unshare")
    host, container = ipaddress.ip_address("198.18.1.1"), ipaddress.ip_address("198.18.2.1")
    with a_namespace() as client, a_namespace() as box:
        link(client, "client", host, host + 1)
        link(box, "box", container, container + 1)
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        if backend == "nft":
            nat(f"chain pre {{ PREROUTING; tcp dport 49000 dnat to {container + 1}:80; }}")
        else:
            call(backend, "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", 49000, "-j", "DNAT",
                 "--to-destination", f"{container + 1}:80")
        with serving(str(container + 1), 80, "container", box), serving("0.0.0.0", 49000, "host"):
            def ask(where):
                return subprocess.check_output(where, text=True).strip()
            assert ask([sys.executable, "-c", ASK, "127.0.0.1", "49000"]) == "host"
            assert ask(inside(client, sys.executable, "-c", ASK, host, 49000)) == "container"
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", 49000))  # free, as far as a bind tells
        done = nextport("next", "--format", "json").json
        assert done["ports"][0]["port"] == 49001
        assert [(row["first"], row["source"]) for row in done["rejected"]] == [(49000, "nat")]


def findings(nextport, *words):
    """The ports of `hijacked` findings."""
    answer = nextport("check", "--format", "json", *words).json
    return [found for found in answer["findings"] if found["slug"] == "hijacked"]


def ports(nextport):
    return [found["first"] for found in findings(nextport)]


@pytest.fixture
def elsewhere():
    """This machine has an address, 198.18.1.1, that others can reach."""
    needs("ip")
    call("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
    call("ip", "address", "add", "198.18.1.1/24", "dev", "here")
    call("ip", "link", "set", "here", "up")


@pytest.mark.parametrize("backend, where", [("nft", "shop pre handle 2"), ("iptables-nft", "nat PREROUTING handle 2"),
                                            ("iptables-legacy", "nat PREROUTING rule 1")])
def test_check_tells_of_a_program_whose_clients_a_rule_sends_elsewhere(nextport, holder, backend, where):
    holder("listen4", 49000)
    assert findings(nextport) == []
    if backend == "nft":
        nat("chain pre { PREROUTING; tcp dport 49000 dnat to 10.0.0.2:80; }")
    else:
        call(backend, "-t", "nat", "-A", "PREROUTING", *"-p tcp --dport 49000 -j DNAT --to 10.0.0.2:80".split())
    found, = findings(nextport)
    assert (found["severity"], found["first"], found["last"]) == ("hazard", 49000, 49000)
    assert f'do not reach "holder": a NAT rule ({where}) says DNAT to 10.0.0.2:80' in found["text"]
    rule, program = found["evidence"]
    assert (rule["source"], rule["holder"], rule["detail"]) == ("nat", DNAT, where)
    assert (program["source"], program["holder"], program["address"]) == ("sockets", "holder", "0.0.0.0")
    text = nextport("check").text
    assert "HAZARD  port 49000  hijacked" in text and where in text and "-> Remove the rule" in text
    report = nextport("check", "--format", "junit", "--fail-on", "hazard")
    assert report.status == 6 and 'name="hijacked 49000"' in report.text


def test_a_configured_site_is_robbed_as_well(nextport, tmp_path):
    nat("chain pre { PREROUTING; tcp dport 49000 dnat to 10.0.0.2:80; }")
    site = tmp_path / "nginx.conf"
    site.write_text("events {}\nhttp {\n    server { listen 49000; server_name shop.local; }\n}\n")
    found, = findings(nextport, "--nginx-config", site)
    assert found["evidence"][1]["file"] == str(site) and found["evidence"][1]["line"] == 3


ROBBED = {
    "a chain that is jumped to": "chain to { meta l4proto tcp dnat to 10.0.0.2:80; }\n"
                                 "chain pre { PREROUTING; tcp dport 49000 jump to; }",
    "a set, behind a rule by it for others": "set open { type inet_service; elements = { 49000 }; }\n"
                                             "chain pre { PREROUTING; ip daddr 192.0.2.1 tcp dport @open dnat to 10.0.0.2;\n"
                                             "tcp dport @open dnat to 10.0.0.2:80; }",
    "a map": "chain pre { PREROUTING; dnat to tcp dport map { 49000 : 10.0.0.2 }; }",
    "this machine's address": "chain pre { PREROUTING; ip daddr 198.18.1.1 tcp dport 49000 dnat to 10.0.0.2:80; }",
    "its network": "chain pre { PREROUTING; ip daddr 198.18.0.0/16 tcp dport 49000 dnat to 10.0.0.2:80; }",
    "an address of this machine": "chain pre { PREROUTING; fib daddr type local tcp dport 49000 dnat to 10.0.0.2:80; }",
    "an interface": 'chain pre { PREROUTING; iifname "eth0" tcp dport 49000 dnat to 10.0.0.2:80; }',
    "others let pass before": "chain pre { PREROUTING; ip daddr 10.0.0.9 accept; tcp dport 49009 accept;\n"
                              'iifname "docker0" return; tcp dport 49000 dnat to 10.0.0.2:80; }',
    "another port of this machine": "chain pre { PREROUTING; tcp dport 49000 redirect to :49009; }",
}


@pytest.mark.parametrize("form", ROBBED)
def test_a_rule_that_meets_everybody_robs_the_program(nextport, holder, elsewhere, form):
    nat(ROBBED[form])
    holder("listen4", 49000)
    assert ports(nextport) == [49000]


FINE = {
    "another machine's address": "chain pre { PREROUTING; ip daddr 192.0.2.1 tcp dport 49000 dnat to 10.0.0.2:80; }",
    "another machine's, before a jump": "chain to { tcp dport 49000 dnat to 10.0.0.2:80; }\n"
                                        "chain pre { PREROUTING; ip daddr 192.0.2.1 jump to; }",
    "addresses of a set": "chain pre { PREROUTING; ip daddr . tcp dport { 192.0.2.1 . 49000 } dnat to 10.0.0.2:80; }",
    "a service's address in a map": "chain to { meta l4proto tcp dnat to 10.0.0.2:80; }\n"
                                    "chain pre { PREROUTING; ip daddr . tcp dport vmap { 10.96.0.1 . 49000 : goto to }; }",
    "some clients alone": "chain pre { PREROUTING; ip saddr 10.0.0.9 tcp dport 49000 dnat to 10.0.0.2:80; }",
    "this machine's own connections": "chain out { type nat hook output priority -100; tcp dport 49000 redirect to :9; }",
    "the same port": "chain pre { PREROUTING; tcp dport 49000 redirect to :49000; }",
    "no other port": "chain pre { PREROUTING; tcp dport 49000 redirect; }",
    "this machine after all": "chain pre { PREROUTING; tcp dport 49000 dnat to 198.18.1.1; }",
    "let pass before": "chain pre { PREROUTING; ip daddr 198.18.1.1 accept; tcp dport 49000 redirect to :9; }",
    "its port let pass before": "chain pre { PREROUTING; tcp dport { 22, 49000 } accept; tcp dport 49000 redirect to :9; }",
    "its port let pass by a map": "chain to { tcp dport 49000 dnat to 10.0.0.2:80; }\n"
                                  "chain pre { PREROUTING; tcp dport vmap { 49000 : accept, * : jump to }; }",
    "some clients alone, by a map": "chain to { tcp dport 49000 dnat to 10.0.0.2:80; }\n"
                                    "chain pre { PREROUTING; ip saddr vmap { 10.0.0.9 : jump to }; }",
    "a chain that hands on nothing": "chain counts { counter; }\n"
                                     "chain pre { PREROUTING; tcp dport 49000 jump counts; tcp dport 49009 redirect; }",
    "another protocol": "chain pre { PREROUTING; udp dport 49000 dnat to 10.0.0.2:80; }",
    "every port": "chain pre { PREROUTING; ip saddr 10.0.0.9 dnat to 10.0.0.2; }",
}


@pytest.mark.parametrize("form", FINE)
def test_a_rule_that_may_be_about_others_is_no_finding(nextport, holder, elsewhere, form):
    nat(FINE[form])
    holder("listen4", 49000)
    assert ports(nextport) == []


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_rules_as_engines_and_kube_proxy_make_them_are_followed(nextport, holder, elsewhere, backend):
    holder("listen4", 49000)
    holder("listen4", 49001)
    holder("listen4", 49002)
    for rule in ("-N DOCKER", "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER", "-A DOCKER -i docker0 -j RETURN",
                 "-A DOCKER ! -i docker0 -p tcp --dport 49000 -j DNAT --to-destination 172.17.0.2:80",
                 "-N SERVICES", "-N NODEPORTS", "-N EXT", "-N SEP", "-A PREROUTING -j SERVICES",
                 "-A SERVICES -d 10.96.0.1/32 -p tcp --dport 49002 -j EXT",
                 "-A SERVICES -m addrtype --dst-type LOCAL -j NODEPORTS", "-A NODEPORTS -p tcp --dport 49001 -j EXT",
                 "-A EXT -m statistic --mode random --probability 0.5 -j SEP", "-A EXT -j SEP",
                 "-A SEP -s 10.0.0.7/32 -j MARK --set-mark 1", "-A SEP -p tcp -j DNAT --to-destination 10.0.0.7:80"):
        call(f"iptables-{backend}", "-t", "nat", *rule.split())
    assert ports(nextport) == [49000, 49001]


@pytest.mark.parametrize("name", ["docker-proxy", "conmon", "kube-proxy"])
def test_who_keeps_a_port_for_its_own_rule_is_no_conflict(nextport, tmp_path, name):
    nat("chain pre { PREROUTING; tcp dport 49000 dnat to 10.0.0.2:80; }")
    copy = shutil.copy(NATIVE / "test" / "holder", tmp_path / name)
    child = subprocess.Popen([copy, "listen4", "49000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready 49000\n"
        assert ports(nextport) == []
    finally:
        child.stdin.close()
        child.wait(timeout=20)
        child.stdout.close()


def test_who_listens_on_loopback_alone_has_the_port_beside_a_rule(nextport, holder):
    nat("chain pre { PREROUTING; tcp dport 49000 dnat to 10.0.0.2:80; }")
    holder("listen127", 49000)
    assert ports(nextport) == []


def test_a_program_on_both_ports_of_a_redirection_has_its_clients(nextport, elsewhere):
    nat("chain pre { PREROUTING; tcp dport 49000 redirect to :49001; }")
    with socket.create_server(("0.0.0.0", 49000)), socket.create_server(("0.0.0.0", 49001)):
        assert ports(nextport) == []


@pytest.mark.parametrize("file, line, expected", [
    (None, None, (30000, 32767)),
    ("etc/rancher/k3s/config.yaml", 'service-node-port-range: "20000-20100"', (20000, 20100)),
    ("etc/kubernetes/manifests/kube-apiserver.yaml", "    - --service-node-port-range=20000+100", (20000, 20100)),
    ("etc/rancher/k3s/config.yaml", '# service-node-port-range: "20000-20100"', (30000, 32767)),
    ("etc/rancher/k3s/config.yaml", "x: don't # --service-node-port-range=1-2", (30000, 32767)),
    ("etc/rancher/k3s/config.yaml", 'x: "a # b"\nservice-node-port-range: 20000-20100 # 1-2', (20000, 20100)),
    ("etc/rancher/k3s/config.yaml.d/10-ports.yaml", "kube-apiserver-arg:\n- service-node-port-range=20000-20100",
     (20000, 20100)),
    ("etc/rancher/rke2/config.yaml", "service-node-port-range: 20000-20100", (20000, 20100)),
    ("etc/rancher/rke2/config.yaml.d/a.yml", "service-node-port-range: 20000-20100", (20000, 20100)),
    ("etc/k0s/k0s.yaml", "spec:\n  api:\n    extraArgs:\n      service-node-port-range: 20000-20100", (20000, 20100)),
    ("var/snap/microk8s/current/args/kube-apiserver", "--service-node-port-range=20000-20100", (20000, 20100)),
    ("etc/kubernetes/manifests/kube-apiserver.yaml",
     "    - --service-node-port-range\n\n    # of old\n    - 20000-20100", (20000, 20100)),
    ("etc/kubernetes/manifests/kube-apiserver.yaml", '    - "--service-node-port-range"\n    - "20000-20100"',
     (20000, 20100)),
    ("etc/kubernetes/manifests/kube-apiserver.yaml", '  command: [a, "--service-node-port-range", "20000-20100"]',
     (20000, 20100)),
])
def test_node_ports_are_kept_where_kubernetes_lives(nextport, tmp_path, file, line, expected):
    root = tmp_path / "disk"
    root.mkdir()
    words = ("used", "--root", root, "--source", "kubernetes", "--format", "json")
    assert nextport(*words).json["claims"] == []
    (root / "var/lib/kubelet").mkdir(parents=True)
    if file:
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text(f"kind: Pod\n{line}\n")
    done = nextport(*words).json
    claim, = done["claims"]
    assert (claim["first"], claim["last"]) == expected and claim["kind"] == "reserved"
    assert done["sources"][0]["sight"] == "seen"
    first, last = expected
    done = nextport("next", "--dry-run", "--root", root, "--range", f"{first}-{last + 1}")
    assert done.port == last + 1


@pytest.mark.parametrize("text, line", [("- --service-node-port-range\n- --x\n", 1), ("- --service-node-port-range\n", 1),
                                        ("service-node-port-range: some\n", 1), ("x: y\nservice-node-port-range:\n\n", 2),
                                        ("- --service-node-port-range\n- --service-node-port-range=20000-20100\n", 1)])
def test_a_range_that_is_not_understood_is_said_and_the_usual_one_kept(nextport, tmp_path, text, line):
    file = tmp_path / "disk/etc/rancher/k3s/config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    used = nextport("used", "--root", tmp_path / "disk", "--source", "kubernetes", "--format", "json").json
    assert (30000, 32767) in [(claim["first"], claim["last"]) for claim in used["claims"]]
    assert used["sources"][0]["sight"] == "partial" and f"config.yaml:{line}: " in used["sources"][0]["why"], used


def test_every_range_that_a_file_sets_is_kept(nextport, tmp_path):
    """Which one counts is Kubernetes' to say."""
    for path, text in (("config.yaml", "20000-20100"), ("config.yaml.d/a.yaml", "21000-21100")):
        file = tmp_path / "disk/etc/rancher/k3s" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"service-node-port-range: {text}\n")
    used = nextport("used", "--root", tmp_path / "disk", "--source", "kubernetes", "--format", "json").json
    assert [(claim["first"], claim["last"]) for claim in used["claims"]] == [(20000, 20100), (21000, 21100)]
    assert used["sources"][0]["sight"] == "seen"
