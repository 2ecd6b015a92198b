# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests: the real program, in a network namespace of each test's own.

NEXTPORT_BUILD names the build directory (script/test sets it): the program, the holder and the example live there.
"""
import ctypes
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("NEXTPORT_BUILD", ROOT / "build" / "release")).resolve()
CLONE_NEWNET = 0x40000000
# an applicationHost.config of one site: SITE.format(name, port)
SITE = """<configuration><system.applicationHost><sites><site name="{0}" id="1"><bindings>
<binding protocol="http" bindingInformation="*:{1}:" /></bindings></site></sites></system.applicationHost></configuration>"""
sys.path.insert(0, str(ROOT / "test" / "lib"))
# what the person or the deployment tool around the tests has set must not steer them
for name in list(os.environ):
    if name.startswith(("NEXTPORT_", "Tentacle", "AgentProgram", "XDG_")):
        if name not in ("NEXTPORT_BUILD", "NEXTPORT_ROUNDS"):
            del os.environ[name]


@pytest.fixture(autouse=True)
def namespace():
    """A fresh network namespace with only loopback: every port of it is this test's."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        pytest.skip("no network namespace: needs root (" + os.strerror(ctypes.get_errno()) + ")")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Done:
    """What a run of the program left: status, out and err as bytes."""

    def __init__(self, process):
        self.status, self.out, self.err = process.returncode, process.stdout, process.stderr

    @property
    def text(self):
        return self.out.decode()

    @property
    def log(self):
        return self.err.decode()

    @property
    def port(self):
        assert self.status == 0, self
        return int(self.out)

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"status {self.status}\nout: {self.out.decode(errors='replace')}\nerr: {self.err.decode(errors='replace')}"


@pytest.fixture
def program():
    return str(BUILD / "nextport")


@pytest.fixture
def ledger(tmp_path):
    """A ledger file's place; the ledger is made by the first `next`."""
    return tmp_path / "ledger.db"


@pytest.fixture
def nextport(program, ledger, tmp_path):
    """Runs the program with a ledger and a configuration of the test's own: nextport("next", "--count", "2")."""
    conf = tmp_path / "nextport.conf"
    conf.touch()

    def run(*args, env=None, **kwargs):
        full = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG=str(conf), LC_ALL="C.UTF-8", NO_COLOR="1")
        full.update(env or {})
        full = {k: v for k, v in full.items() if v is not None}
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        return Done(subprocess.run([program, *map(str, args)], env=full, timeout=120, **kwargs))

    return run


@pytest.fixture
def holder():
    """holder("listen4", port): builds one situation of test/lib/holder.c and keeps it until the test ends."""
    running = []

    def hold(*args):
        child = subprocess.Popen([str(BUILD / "test" / "holder"), *map(str, args)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(child)
        ready = child.stdout.readline()
        if ready.startswith("skip "):
            pytest.skip(ready[5:].strip())
        assert ready.startswith("ready"), f"holder {args}: {ready!r}"
        child.port = int(ready.split()[1]) if len(ready.split()) > 1 else None
        return child

    yield hold
    for child in running:
        child.stdin.close()  # the holder ends at end of input
        child.wait(timeout=20)
        child.stdout.close()
