#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Records the samples of this folder: sets the rules up in a network namespace of its own and keeps what the kernel says.

Needs root, nft and iptables. The first byte of a sample says what follows: 'n' answers of nf_tables as they came over
netlink, '4' and '6' a table of ip_tables or ip6_tables (the offsets of its five hooks, 0xffffffff for none, and its
entries, in this machine's layout), 'v' the text of /proc/net/ip_vs.
"""
import ctypes
import os
import pathlib
import socket
import struct
import subprocess
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "lib"))
import wine  # noqa: E402

NFNL_NFTABLES, NETLINK_NETFILTER, DUMP = 10, 12, 0x301
GETCHAIN, GETRULE, NEWSET, GETSET, GETSETELEM = 4, 7, 9, 10, 13
NLMSG_DONE = 3

IPTABLES = """
-t nat -A PREROUTING -p tcp --dport 49200 -j DNAT --to-destination 172.17.0.2:80
-t nat -A PREROUTING -p udp --dport 49201:49210 -m comment --comment web -j REDIRECT --to-ports 80
-t nat -A PREROUTING -p tcp -m multiport --dports 49220,49230:49240 -j DNAT --to-destination 172.17.0.2
-t nat -N KUBE-SEP
-t nat -A PREROUTING -p tcp --dport 49280 -j KUBE-SEP
-t nat -A KUBE-SEP -p tcp -j DNAT --to-destination 10.0.0.9:80
-t nat -A PREROUTING -p tcp ! --dport 49290 -j RETURN
-t nat -A POSTROUTING -p tcp --dport 49270 -j MASQUERADE
-t nat -A OUTPUT -d 192.0.2.1 -j DNAT --to-destination 10.0.0.10
-t mangle -A PREROUTING -p tcp --dport 49260 -j TPROXY --on-port 5000 --tproxy-mark 1
-t filter -A INPUT -p tcp --dport 49299 -j ACCEPT
"""
IP6TABLES = """
-t nat -A PREROUTING -p tcp --dport 49250 -j DNAT --to-destination [fd00::2]:80
-t nat -A PREROUTING -p udp --dport 49340:49349 -m comment --comment six -j REDIRECT --to-ports 80
"""


def ask(sock, kind, family=0, attributes=b""):
    """Every datagram of one dump."""
    sock.send(struct.pack("=IHHIIBBH", 20 + len(attributes), NFNL_NFTABLES << 8 | kind, DUMP, 0, 0, family, 0, 0)
              + attributes)
    answer = b""
    while True:
        data = sock.recv(1 << 16)
        answer += data
        at = 0
        while at < len(data):
            size, what = struct.unpack_from("=IH", data, at)
            if what == NLMSG_DONE:
                return answer
            at += size + 3 & ~3


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def sets(answer):
    at = 0
    while at < len(answer):
        size, what = struct.unpack_from("=IH", answer, at)
        if what == NFNL_NFTABLES << 8 | NEWSET:
            values, here = {}, at + 20
            while here < at + size:
                length, kind = struct.unpack_from("=HH", answer, here)
                values[kind & 0x3fff] = answer[here + 4:here + length]
                here += length + 3 & ~3
            yield answer[at + 16], values[1], values[2]
        at += size + 3 & ~3


def record_nft(name):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        answer = ask(sock, GETRULE) + ask(sock, GETCHAIN) + ask(sock, GETSET)
        for family, table, name_of_set in list(sets(answer)):
            answer += ask(sock, GETSETELEM, family, attribute(1, table) + attribute(2, name_of_set))
    (FOLDER / name).write_bytes(b"n" + answer)


def record_xt(name, kind, family, level):
    libc = ctypes.CDLL(None, use_errno=True)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        def get(option, buf):
            size = ctypes.c_uint(len(buf))
            assert libc.getsockopt(sock.fileno(), level, option, buf, ctypes.byref(size)) == 0, ctypes.get_errno()
            return buf.raw
        info = get(64, ctypes.create_string_buffer(b"nat", 84))
        valid, *hooks = struct.unpack_from("=I5I", info, 32)
        size = struct.unpack_from("=I", info, 80)[0]
        # the size stands behind the name, and the entries begin at the next multiple of eight
        all = get(65, ctypes.create_string_buffer(struct.pack("=32sI", b"nat", size), 40 + size))
    hooks = [offset if valid >> i & 1 else 0xffffffff for i, offset in enumerate(hooks)]
    (FOLDER / name).write_bytes(kind + struct.pack("=5I", *hooks) + all[40:])


def add(program, rules):
    for rule in rules.strip().splitlines():
        subprocess.run([program, *rule.split()], check=True)


def main():
    for name in ("forms", "many"):
        wine.enter_namespace()
        subprocess.run(["nft", "-f", FOLDER / f"{name}.nft"], check=True)
        record_nft(f"{name}.in")
    wine.enter_namespace()
    add("iptables-nft", IPTABLES)
    add("ip6tables-nft", IP6TABLES)
    record_nft("iptables.in")
    add("iptables-legacy", IPTABLES)
    add("ip6tables-legacy", IP6TABLES)
    record_xt("legacy.in", b"4", socket.AF_INET, 0)
    record_xt("legacy6.in", b"6", socket.AF_INET6, 41)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("record.py: run as root")
    main()
