# SPDX-License-Identifier: MIT
"""nextport.exe under Wine: a prefix, and a wineserver in a network namespace of its own.

The wineserver has the sockets of every Windows program, so it must live in the namespace that the tests look at, and
whoever is in that namespace already starts it. Its first program starts services that keep whatever they were given as
standard error: they are started here, before a test captures anything, or the reader of that pipe would wait for ever.
"""
import contextlib
import ctypes
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

CLONE_NEWNET = 0x40000000
SAMPLES = pathlib.Path(__file__).resolve().parents[1] / "netsh"
SYSTEM = "drive_c/windows/system32"
DOUBLED = ("netsh.exe", "httpapi.dll")  # the system's files in whose place a test may put its own
USER = "tester"  # who runs Windows programs here, whatever this person's name
OVERRIDES = "mscoree,mshtml=;winedbg.exe=d;netsh.exe=n,b"
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
WRAPPER = """#!/bin/sh
# SPDX-License-Identifier: MIT
# nextport.exe as a program of this system, for the tests that know it by its name. Made by test/lib/wine.py.
exec wine "${0%/*}/nextport.exe" "$@"
"""


def environment(prefix):
    """What keeps Wine quiet, offline and away from the person's own prefix. In the C locale it garbles arguments."""
    return {"WINEPREFIX": str(prefix), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": OVERRIDES, "LC_ALL": "C.UTF-8",
            "DISPLAY": "", "USER": USER, "LOGNAME": USER}


def wrap(folder):
    """Makes FOLDER/nextport, which runs FOLDER/nextport.exe."""
    wrapper = pathlib.Path(folder) / "nextport"
    wrapper.write_text(WRAPPER)
    wrapper.chmod(0o755)


def wait_ended(prefix):
    subprocess.run(["wineserver", "-k"], env={**os.environ, **environment(prefix)}, timeout=60, **QUIET)
    subprocess.run(["wineserver", "-w"], env={**os.environ, **environment(prefix)}, timeout=60, **QUIET)


def make_prefix(prefix):
    """A Windows 10 of 64 bits, made once, and what of it is doubled later, kept. An interrupted one is made again."""
    prefix = pathlib.Path(prefix)
    kept = prefix / "kept"
    done = kept / "complete"
    if done.exists():
        return
    kept.mkdir(parents=True, exist_ok=True)
    wait_ended(prefix)
    for name in DOUBLED:  # what is there may be a double: Wine brings back only what is missing
        (prefix / SYSTEM / name).unlink(missing_ok=True)
    env = {**os.environ, **environment(prefix)}
    for command in (["wine", "wineboot", "-u"], ["wine", "winecfg", "-v", "win10"]):
        subprocess.run(command, env=env, check=True, timeout=300, **QUIET)
    subprocess.run(["wineserver", "-w"], env=env, timeout=120, **QUIET)
    for name in DOUBLED:
        shutil.copyfile(prefix / SYSTEM / name, kept / name)
    for link in list((prefix / "drive_c/users").rglob("*")):
        if link.is_symlink():  # Documents and the like would be this person's own folders
            link.unlink()
            link.mkdir()
    done.touch()


def restore(prefix, name):
    """Puts Windows' own file of that name back in its place."""
    shutil.copyfile(prefix / "kept" / name, prefix / SYSTEM / name)


@contextlib.contextmanager
def doubled(prefix, name, double):
    """Has a double in the place of a system's file. After one that was killed, the next `Wine` restores the file."""
    try:
        shutil.copyfile(double, prefix / SYSTEM / name)
        yield
    finally:
        restore(prefix, name)


class NoNamespace(Exception):
    """A test cannot have a network of its own: the reason why it is skipped."""


def enter_namespace():
    """Takes this process into a fresh network namespace with only loopback, in which the system itself picks no port of
    the pool: what a test connects would take one of the ports that it expects to get, once in some hundred runs."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise NoNamespace(f"no network namespace: needs root ({os.strerror(ctypes.get_errno())})")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    set_outgoing_ports(32768, 48999)


def set_outgoing_ports(first, last):
    """Where the system picks the ports of outgoing connections in this namespace. Fresh, it is 32768-60999."""
    pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{first} {last}\n")


def has_sockets():
    """Is there any TCP or UDP socket in this namespace?"""
    return any(len(pathlib.Path(f"/proc/self/net/{table}").read_text().splitlines()) > 1
               for table in ("tcp", "tcp6", "udp", "udp6"))


@contextlib.contextmanager
def answering_netsh(prefix, program, answers):
    """Wine's own netsh says nothing, which is no evidence: one that prints recorded text takes its place. A test
    changes the texts in the folder `answers`; what they are now is the usual state of a server."""
    answers.mkdir(exist_ok=True)
    for family in ("ipv4", "ipv6"):
        for protocol in ("tcp", "udp"):
            shutil.copyfile(SAMPLES / "excluded-empty.in", answers / f"{family}-excluded-{protocol}")
            shutil.copyfile(SAMPLES / "dynamic-english.in", answers / f"{family}-dynamic-{protocol}")
    os.environ["FAKE_NETSH_DIR"] = str(answers)
    with doubled(prefix, "netsh.exe", program):
        yield


def set_up_machine(prefix, program):
    """Makes the machine's ledger anew. What netsh says is remembered beside it, which spares every request six runs."""
    shutil.rmtree(pathlib.Path(prefix) / "drive_c/ProgramData/nextport", ignore_errors=True)
    subprocess.run([program, "setup"], check=True, timeout=120, **QUIET)


class Wine:
    """A running wineserver in this process' namespace; `fresh()` makes sure no socket of an earlier test is left."""

    def __init__(self, prefix):
        enter_namespace()  # first: whoever may not touches nothing
        self.prefix = prefix = pathlib.Path(prefix).resolve()
        self.guard = None
        make_prefix(prefix)
        os.environ.update(environment(prefix))
        self.stop()  # one that an interrupted run left behind looks at another namespace
        for name in DOUBLED:  # and what it doubled is still so
            restore(prefix, name)
        self.start()

    def start(self):
        """Now and then Wine's first program dies while the services come up, and what is left answers nobody: then all of
        it is begun anew."""
        for tries_left in (2, 1, 0):
            # a wineserver outlives whoever is killed, and so does its guard, who ends it then
            self.guard = subprocess.Popen(["sh", "-c", "read -r _; exec wineserver -k"], start_new_session=True,
                                          **{**QUIET, "stdin": subprocess.PIPE})
            try:
                subprocess.run(["wineserver", "-p"], check=True, timeout=60, **QUIET)
                subprocess.run(["wine", "cmd", "/c", "exit"], check=True, timeout=60, **QUIET)
                return
            except subprocess.SubprocessError:
                self.stop()
                if not tries_left:
                    raise

    def fresh(self):
        if has_sockets():
            self.stop()
            enter_namespace()
            self.start()

    def stop(self):
        wait_ended(self.prefix)
        if self.guard:
            self.guard.communicate()
            self.guard = None


# ---- Unit tests of nextport.exe's insides ---------------------------------------------------------------------------

NATIVE = ["listen4", "listen127", "listen6", "listen6only", "bound", "udp", "accepted", "outgoing4",
          "timewait-outgoing"]


# Where Wine has nothing to ask, a test is run with its own nothing, and with a double that serves what it is told.
OWN, DOUBLE = "Wine's own", "double"
WAYS = {"unit-os_windows": [OWN, DOUBLE], "unit-httpsys_windows": [OWN, DOUBLE]}


def way_environment(program, way, scratch):
    overrides = os.environ["WINEDLLOVERRIDES"]
    if (program, way) == ("unit-os_windows", OWN):
        return {"FAKE_NETSH_DIR": "", "WINEDLLOVERRIDES": overrides.replace("netsh.exe=n,b", "netsh.exe=b")}
    if (program, way) == ("unit-os_windows", DOUBLE):
        (scratch / "empty").mkdir()
        return {"FAKE_NETSH_DIR": str(scratch / "empty")}
    if (program, way) == ("unit-httpsys_windows", DOUBLE):
        return {"FAKE_HTTP_ROWS": str(scratch / "rows"), "WINEDLLOVERRIDES": overrides + ";httpapi=n"}
    return {}


def hold(holder, situation):
    """A native socket, for Windows programs to look at; it lives as long as the process."""
    child = subprocess.Popen([holder, situation], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said = child.stdout.readline().split()
    return child, f"{situation}={said[1]}" if said[:1] == ["ready"] else None


def run_unit(prefix, program, way, holder):
    """Runs one unit test in one way of its own, beside a wineserver in a fresh namespace; returns its status."""
    wine = Wine(prefix)
    with contextlib.ExitStack() as stack:
        stack.callback(wine.stop)
        scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=program.parent)))
        stack.enter_context(answering_netsh(wine.prefix, program.parent / "fake_netsh.exe", scratch / "netsh"))
        stack.enter_context(doubled(wine.prefix, "httpapi.dll", program.parent / "httpapi.dll"))
        held = [hold(holder, situation) for situation in NATIVE] if program.stem == "unit-probe_windows" else []
        for child, _ in held:
            stack.callback(child.communicate)
        env = {**os.environ, **way_environment(program.stem, way, scratch),
               "NEXTPORT_TEST_NATIVE": " ".join(port for _, port in held if port)}
        env = {name: value for name, value in env.items() if value}
        return subprocess.run(["wine", program], env=env).returncode


# ---- Figures --------------------------------------------------------------------------------------------------------


def median_ms(command, rounds=11):
    def once():
        started = time.perf_counter()
        subprocess.run(command, check=True, timeout=60, **QUIET)
        return (time.perf_counter() - started) * 1000

    return statistics.median(once() for _ in range(rounds))


def tell_start_up(prefix, program, empty):
    """Prints how big the program is, and how long it takes to start beside one that does nothing."""
    running = Wine(prefix)
    with contextlib.ExitStack() as stack:
        stack.callback(running.stop)
        fake = program.parent / "test" / "fake_netsh.exe"
        stack.enter_context(answering_netsh(running.prefix, fake, running.prefix / "netsh"))
        set_up_machine(running.prefix, program)
        version, nothing = median_ms([program, "--version"]), median_ms(["wine", empty])
        request = median_ms([program, "next", "-q"])
    size = (program.parent / "nextport.exe").stat().st_size
    print(f"nextport.exe: {size} bytes; under Wine --version takes {version:.0f} ms, next {request:.0f} ms, "
          f"a program that does nothing {nothing:.0f} ms")


def main(prefix, program, *words):
    """PREFIX PROGRAM WAY HOLDER: as run_unit() says; PREFIX PROGRAM EMPTY: as tell_start_up() says. Where neither can
    be, TAP's plan of a program that skips everything."""
    try:
        return (run_unit if len(words) == 2 else tell_start_up)(prefix, pathlib.Path(program), *words)
    except NoNamespace as reason:
        print(f"1..0 # SKIP {reason}")
        return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
