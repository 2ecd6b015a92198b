# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests: the real program, in a network namespace of each test's own.

NEXTPORT_BUILD names the build directory (script/test sets it): the program, the holder and the example live there. A
build for Windows runs under Wine, by the same tests: what cannot be so on one of the systems is marked with the reason,
@pytest.mark.linux("..") or @pytest.mark.windows("..").
"""
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("NEXTPORT_BUILD", ROOT / "build" / "release")).resolve()
WINDOWS = (BUILD / "nextport.exe").exists()
LOCKED_BYTE = 1 << 62  # src/host/windows/lock.c; Wine makes a record lock of it
# programs of this system that the tests run beside nextport.exe
NATIVE = ROOT / "build" / "release" if WINDOWS else BUILD
# an applicationHost.config of one site: SITE.format(name, port)
SITE = """<configuration><system.applicationHost><sites><site name="{0}" id="1"><bindings>
<binding protocol="http" bindingInformation="*:{1}:" /></bindings></site></sites></system.applicationHost>
</configuration>"""
sys.path.insert(0, str(ROOT / "test" / "lib"))
import wine  # noqa: E402
from wine import CLONE_NEWNET, set_outgoing_ports  # noqa: E402,F401

# what the person or the deployment tool around the tests has set must not steer them
for name in list(os.environ):
    if name.startswith(("NEXTPORT_", "Tentacle", "AgentProgram", "XDG_")):
        if name not in ("NEXTPORT_BUILD", "NEXTPORT_ROUNDS", "NEXTPORT_SEED", "NEXTPORT_STEPS", "NEXTPORT_WINEPREFIX"):
            del os.environ[name]


def closed_folder():
    """A folder for the tests' files below folders that only we may write to. Windows knows no sticky folder: Wine shows
    /tmp, and all below it, as a place where everybody may exchange what others keep."""
    here = BUILD / "scratch"
    if any(folder.stat().st_mode & stat.S_IWOTH for folder in here.parents):
        here = pathlib.Path(f"/run/nextport-test-{os.getpid()}")
    return here


def pytest_unconfigure(config):
    if WINDOWS and config.option.basetemp:
        shutil.rmtree(config.option.basetemp, ignore_errors=True)


def pytest_configure(config):
    config.addinivalue_line("markers", "linux(why): cannot be so on Windows, or not under Wine")
    config.addinivalue_line("markers", "windows(why): only Windows has it")
    if WINDOWS and not config.option.basetemp:
        config.option.basetemp = closed_folder()


def pytest_collection_modifyitems(config, items):
    """Each program runs the tests that are meant for it."""
    other = "linux" if WINDOWS else "windows"
    dropped = [item for item in items if item.get_closest_marker(other)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


@pytest.fixture(scope="session")
def windows(tmp_path_factory):
    """Wine, in a namespace that is kept while no test leaves a socket behind. None on Linux."""
    if not WINDOWS:
        yield None
        return
    try:
        running = wine.Wine(os.environ.get("NEXTPORT_WINEPREFIX", BUILD / "wine"))
    except wine.NoNamespace as reason:
        pytest.skip(str(reason))
    with contextlib.ExitStack() as stack:
        stack.callback(running.stop)
        answers = tmp_path_factory.mktemp("netsh")
        stack.enter_context(wine.answering_netsh(running.prefix, BUILD / "test" / "fake_netsh.exe", answers))
        wine.set_up_machine(running.prefix, BUILD / "nextport")
        yield running


@pytest.fixture(autouse=True)
def namespace(windows):
    """A fresh network namespace with only loopback: every port of it is this test's."""
    if windows:
        windows.fresh()
        return
    try:
        wine.enter_namespace()
    except wine.NoNamespace as reason:
        pytest.skip(str(reason))


class Done:
    """What a run of the program left: status, out and err as bytes."""

    def __init__(self, process):
        self.status, self.out, self.err = process.returncode, process.stdout, process.stderr
        self.args = process.args

    @property
    def text(self):
        return self.out.decode()

    @property
    def log(self):
        return self.err.decode()

    @property
    def port(self):
        assert self.status == 0, str(self)
        return int(self.out)

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        out, err = (stream.decode(errors="replace") for stream in (self.out, self.err))
        return f"status {self.status}\nout: {out}\nerr: {err}"


@contextlib.contextmanager
def locked(ledger):
    """Has the queue before the ledger, as a request has it while it works."""
    with open(f"{ledger}-lock", "r+") as lock:
        if WINDOWS:
            fcntl.lockf(lock, fcntl.LOCK_EX, 1, LOCKED_BYTE)
        else:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def has_open(pid, path):
    """Does that process have the file open?"""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(f"/proc/{pid}/fd/{fd}") == str(path):
                return True
    return False


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


NOBODY = 65534


@pytest.fixture
def open_folder():
    """A folder that every user may look into: pytest's own are closed."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="nextport-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def as_nobody(program, open_folder):
    """Runs a copy of the program as a user without any right, whose home is the folder of the copy."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    copy = shutil.copy(program, open_folder)

    def run(*words, **env):
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(open_folder),
               **{name: str(value) for name, value in env.items()}}
        try:
            return Done(subprocess.run([str(copy), *map(str, words)], env=env, user=NOBODY, group=NOBODY, extra_groups=[],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       timeout=60, cwd="/"))
        except OSError as refusal:
            pytest.skip(f"cannot become another user here: {refusal}")

    return run


@pytest.fixture
def holder():
    """holder("listen4", port): builds one situation of test/lib/holder.c and keeps it until the test ends."""
    running = []

    def hold(*args):
        child = subprocess.Popen([str(NATIVE / "test" / "holder"), *map(str, args)],
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
