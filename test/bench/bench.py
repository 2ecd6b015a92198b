# SPDX-License-Identifier: MIT
"""Measures the release build and prints a Markdown table of ratios. Called by script/bench.

Every figure is the median of runs in turns A B A B. Each `next` of a row does all it does for a user, lease on disk
included; `release` then undoes it, untimed, so that every run meets the same ledger. All rows run in network
namespaces of their own, so that they measure nextport and not what else this machine happens to listen on.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "test" / "bench"
RELEASE = ROOT / "build" / "release"
SCRATCH = ROOT / "build" / "bench"
NPM = ROOT / "build" / "bench-npm"
NEXTPORT = RELEASE / "nextport"
EMPTY = RELEASE / "test" / "empty"
NODE_PEERS = ("get-port@7.2.0", "portfinder@1.0.38", "detect-port@2.1.0")
FIRST, LAST = 49000, 65000
PYTHON = "/usr/bin/python3"


def say(text):
    print(f"script/bench: {text}", file=sys.stderr, flush=True)


# ---- Running --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def population(*what):
    """A network namespace with these sockets in it, by the file that names it."""
    child = subprocess.Popen(["unshare", "--net", PYTHON, "-B", HERE / "population.py", *map(str, what)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if child.stdout.readline() != b"ready\n":
            sys.exit(f"script/bench: could not build the sockets: {' '.join(map(str, what))}")
        yield f"@/proc/{child.pid}/ns/net"
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()


class Run:
    """One command to measure: where, what, what undoes it, and how it must end."""

    def __init__(self, words, net=None, after=None, status=0):
        self.words, self.net, self.after, self.status = words, net, after, status

    def spelled(self):
        after = ["+++", *self.after] if self.after else []
        return ["--", *([self.net] if self.net else []), *self.words, *after]


class Figure:
    def __init__(self, line):
        median, ratio, status = line.split()
        self.ms, self.ratio, self.status = float(median) / 1000, float(ratio), int(status)


def measure(rounds, *runs, parallel=1, out=None):
    """One Figure for each run; ratios are to the first."""
    command = [RELEASE / "test" / "spawn", "--rounds", rounds, "--parallel", parallel, *(["--out", out] if out else [])]
    for run in runs:
        command += run.spelled()
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True)
    figures = [Figure(line) for line in done.stdout.splitlines()]
    for run, figure in zip(runs, figures):
        if figure.status != run.status:
            sys.exit(f"script/bench: status {figure.status}: {' '.join(map(str, run.words))}")
    return figures


class Ledger:
    """A fresh ledger on a real disk, and the commands on it."""

    def __init__(self, name, *options):
        self.folder = SCRATCH / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.common = ["--ledger", self.folder / "ledger.db"]
        self.options = [*options]

    def call(self, net, *words):
        return subprocess.run(["nsenter", f"--net={net[1:]}", NEXTPORT, *map(str, words), *self.common],
                              check=True, stdout=subprocess.PIPE, text=True).stdout

    def next(self, net, status=0):
        """`next`, undone by releasing what it is about to give."""
        words = [NEXTPORT, "next", *self.common, *self.options]
        if status != 0:
            return Run(words, net, status=status)
        port = int(self.call(net, "next", "--quiet", "--dry-run", *self.options))
        return Run(words, net, after=[NEXTPORT, "release", port, *self.common])

    def fill(self, net, leases):
        for _ in range(leases // 100):
            self.call(net, "next", "--quiet", "--count", 100)


def row(what, figure, against, ratio, goal=None):
    verdict = "" if goal is None else f"{goal:g}" + ("" if ratio <= goal else " **missed**")
    return f"| {what} | {figure} | {against} | {ratio:.2f} | {verdict} |"


def ms(value):
    return f"{value:.2f} ms"


def compare(rounds, what, loaded, base, against, goal=None):
    one, two = measure(rounds, base, loaded)
    return [row(what, ms(two.ms), f"{against}: {ms(one.ms)}", two.ratio, goal)]


# ---- The rows -------------------------------------------------------------------------------------------------------


def whole(rounds, idle):
    run = Ledger("whole").next(idle)
    append = Run([RELEASE / "test" / "append", SCRATCH / "appended"], idle)
    return [*compare(rounds, "`nextport next`, lease on disk", run, Run([EMPTY], idle), "empty static program", 2.6),
            *compare(rounds, "the same", run, append, "static program that appends a line and syncs it")]


def sockets(rounds, idle):
    say("building 100,000 established sockets")
    base = Ledger("sockets-idle").next(idle)
    with population("established", 100000) as busy:
        return compare(rounds, "100,000 established sockets", Ledger("sockets").next(busy), base, "none", 1.2)


SITE = """            <site name="shop {0} &amp; kasse" id="{0}" serverAutoStart="true">
                <application path="/" applicationPool="shop{0}">
                    <virtualDirectory path="/" physicalPath="D:\\sites\\shop{0}\\current" />
                </application>
                <bindings>
                    <binding protocol="http" bindingInformation="*:{1}:shop{0}.example.org" />
                </bindings>
            </site>
"""


def iis_file(folder, size):
    """An applicationHost.config of this many bytes, one port of the pool for each site."""
    sites, length, number = [], 0, 0
    while length < size:
        sites.append(SITE.format(number + 1, FIRST + number))
        length += len(sites[-1])
        number += 1
    path = folder / "applicationHost.config"
    path.write_text('<?xml version="1.0" encoding="UTF-8"?>\n<configuration>\n    <system.applicationHost>\n'
                    "        <sites>\n" + "".join(sites) + "        </sites>\n    </system.applicationHost>\n"
                    "</configuration>\n")
    return path, number


def iis(rounds, idle):
    ledger = Ledger("iis")
    path, sites = iis_file(ledger.folder, 200 * 1024)
    ledger.options = ["--iis-config", path]
    return compare(rounds, f"IIS file of 200 KB, {sites} sites", ledger.next(idle), Ledger("iis-none").next(idle),
                   "no IIS file", 2)


def leases(rounds, idle):
    ledger = Ledger("leases")
    ledger.fill(idle, 10000)
    return compare(rounds, "10,000 leases", ledger.next(idle), Ledger("leases-none").next(idle), "empty ledger", 1.5)


@contextlib.contextmanager
def sleepers(number):
    children = [subprocess.Popen(["sleep", "infinity"], stdin=subprocess.DEVNULL) for _ in range(number)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def processes(rounds, idle):
    """Processes cannot be switched on for single runs, so blocks take turns."""
    run = Ledger("processes").next(idle)
    without, beside = [], []
    for _ in range(4):
        without.append(measure(max(5, rounds // 4), run)[0].ms)
        with sleepers(500):
            beside.append(measure(max(5, rounds // 4), run)[0].ms)
    base, loaded = statistics.median(without), statistics.median(beside)
    return [row("500 more processes running", ms(loaded), f"none: {ms(base)}", loaded / base)]


def full(rounds, idle):
    say("building 16,001 listeners")
    with population("listening", FIRST, LAST) as busy:
        return compare(rounds, "all 16,001 ports listening (status 3)", Ledger("full").next(busy, status=3),
                       Ledger("full-idle").next(idle), "none listening")


def parallel(rounds, idle, callers=64):
    ledger = Ledger("parallel")
    rounds = max(5, min(rounds // 5, (LAST - FIRST) // callers - 2))
    out = ledger.folder / "answers"
    run = Run([NEXTPORT, "next", *ledger.common], idle)
    base, figure = measure(rounds, Run([EMPTY], idle), run, parallel=callers, out=out)
    answers = sorted(map(int, out.read_text().split()))
    # one round more: the untimed one that warms the caches
    gapless = answers == list(range(FIRST, FIRST + callers * (rounds + 1)))
    held = [lease["port"] for lease in json.loads(ledger.call(idle, "leases", "--format", "json"))["leases"]]
    if not gapless or sorted(held) != answers:
        sys.exit("script/bench: parallel callers got ports twice, with gaps, or without a lease")
    return [row(f"{callers} callers at once, {len(answers)} answers, all distinct and gapless", ms(figure.ms),
                f"{callers} empty programs: {ms(base.ms)}", figure.ratio, 3)]


def node_peers():
    """The peers from npm that can be run, installed once."""
    if not shutil.which("npm"):
        say("get-port, portfinder and detect-port left out: npm is not installed")
        return {}
    if not (NPM / "node_modules" / "get-port").is_dir():
        say(f"installing {' '.join(NODE_PEERS)}")
        NPM.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", NPM, *NODE_PEERS],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            say("get-port, portfinder and detect-port left out: npm could not install them")
            return {}
    for script in (HERE / "peers").glob("*.mjs"):
        shutil.copy(script, NPM)  # node looks for packages beside the script
    return {f"{name} (node)": ["node", NPM / f"{name.partition('@')[0]}.mjs"] for name in NODE_PEERS}


def peers(rounds, idle):
    commands = {"`ss -Htan \\| awk`": ["sh", HERE / "peers" / "ss-awk.sh"], **node_peers()}
    if subprocess.run([PYTHON, "-c", "import port_for"], stderr=subprocess.DEVNULL).returncode == 0:
        commands["port-for (python)"] = [PYTHON, HERE / "peers" / "port-for.py"]
    else:
        say("port-for left out: python3-port-for is not installed")
    base = Ledger("peers").next(idle)
    figures = measure(max(5, rounds // 5), base, *(Run(words, idle) for words in commands.values()))
    return [row(name, ms(figure.ms), f"`nextport next`: {ms(figures[0].ms)}", figure.ratio)
            for name, figure in zip(commands, figures[1:])]


ROWS = {name.__name__: name for name in (whole, sockets, iis, leases, processes, full, parallel, peers)}


def main():
    asked = argparse.ArgumentParser(prog="script/bench", description="Measures nextport; prints a table of ratios.")
    asked.add_argument("--rounds", type=int, default=101, help="runs of each command (default: 101)")
    asked.add_argument("--only", action="append", choices=ROWS, metavar="NAME", help=f"one of {', '.join(ROWS)}")
    options = asked.parse_args()
    # an administrator's settings must not steer the figures
    for name in [name for name in os.environ if name.startswith("NEXTPORT_")]:
        del os.environ[name]
    SCRATCH.mkdir(parents=True, exist_ok=True)
    settings = SCRATCH / "nextport.conf"
    settings.write_text("")
    os.environ["NEXTPORT_CONFIG"] = str(settings)
    print(f"Medians of {options.rounds} runs in turns, made by `script/bench --rounds {options.rounds}`"
          f" ({os.cpu_count()} CPUs).\n")
    print("| measured | median | against | ratio | goal |\n| --- | ---: | --- | ---: | --- |", flush=True)
    with population("nothing") as idle:
        for name in options.only or ROWS:
            print(*ROWS[name](max(5, options.rounds), idle), sep="\n", flush=True)


if __name__ == "__main__":
    main()
