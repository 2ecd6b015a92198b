# SPDX-License-Identifier: MIT
"""Fills the network namespace it runs in with sockets, prints "ready", and keeps them until its input ends.

    population.py established N   N sockets of connections whose local ports are outside the pool
    population.py listening A B   a listener on every port from A to B
    population.py nothing
"""
import os
import resource
import socket
import subprocess
import sys

SPARE = 64  # descriptors that are not ours to fill


def descriptors():
    """As many as one process may have; root may ask for more than it was given."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (65536, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
            return limit - SPARE
        except (ValueError, OSError):
            continue
    raise OSError("no limit of descriptors fits")


def share(work, capacity):
    """Splits work into parts that one process can hold."""
    return [work[i:i + capacity] for i in range(0, len(work), capacity)]


def connect_pairs(index, part):
    """One server address for each process, so that no destination runs out of client ports."""
    held = []
    server = socket.create_server((f"127.2.0.{index + 1}", 80), backlog=16)
    for _ in part:
        client = socket.create_connection(server.getsockname())
        held += [client, server.accept()[0]]
    return held + [server]


def listen_all(_, part):
    return [socket.create_server(("127.0.0.1", port), backlog=1) for port in part]


def hold(make, parts):
    """Forks one holder for each part, waits until all are built, and ends when standard input does."""
    children = []
    ready, tell = os.pipe()
    for index, part in enumerate(parts):
        child = os.fork()
        if child == 0:
            held = make(index, part)
            os.write(tell, b"+")
            os.close(tell)
            sys.stdin.buffer.read()
            os._exit(0 if held else 1)
        children.append(child)
    os.close(tell)
    built = 0
    while built < len(parts):
        got = os.read(ready, 64)
        if not got:
            sys.exit("population: a holder failed")
        built += len(got)
    print("ready", flush=True)
    sys.stdin.buffer.read()
    for child in children:
        os.waitpid(child, 0)


def client_ports(first, last):
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as setting:
        setting.write(f"{first} {last}")


def main(kind, *numbers):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    numbers = [int(number) for number in numbers]
    limit = descriptors()
    if kind == "established":
        client_ports(1024, 48999)
        hold(connect_pairs, share(range(numbers[0] // 2), min(limit // 2, 9500)))
    elif kind == "listening":
        hold(listen_all, share(range(numbers[0], numbers[1] + 1), limit))
    else:
        hold(None, [])


if __name__ == "__main__":
    main(*sys.argv[1:])
