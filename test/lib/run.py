# SPDX-License-Identifier: MIT
"""Builds nextport and runs its suites; the last line counts. Called by script/test.

Every skip is printed with its reason, every failure with its output. A sanitizer's finding fails the test it is in.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

import wine

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
SANITIZE = ["--buildtype=debugoptimized", "-Db_sanitize=address,undefined", "-Db_lundef=false"]
# name: meson's options, and the compiler where it matters
BUILDS = {
    "release": (["--buildtype=release"], None),
    "asan": (SANITIZE, None),
    "windows": (["--buildtype=release", "--cross-file", "cross/x86_64-w64-mingw32.ini"], None),
    "fuzz": (SANITIZE + ["-Dfuzz=true"], "clang"),
}
TESTED = ("release", "asan", "windows")
# use_sigaltstack=0: a cancelled thread leaves marks on its stack that the sanitizer's own way out then trips over
SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1:use_sigaltstack=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
# fuzz target, and of "source" the row: the samples that seed it
SEEDS = {f"source-{folder.name}": [f"test/source/{folder.name}/*.in"] for folder in (ROOT / "test/source").iterdir()} | {
    "settings": ["test/settings/*.conf", "test/settings/*.in"],
    "labels": ["test/labels/*.in"],
    "json": ["test/json/*.json"],
    "import": ["test/json/*.json"],
    "nat": ["test/nat/*.in"],
    "http": ["test/http/*.in"],
    "memory": ["test/memory/*.in"],
}


class Length:
    """How much of each suite is run."""

    def __init__(self, full):
        self.rounds = {"release": 100 if full else 20, "asan": 10 if full else 2, "windows": 10 if full else 2}
        self.steps = {"release": 5000 if full else 300, "asan": 1000 if full else 100}
        self.fuzz_seconds = 600 if full else 10


class Tally:
    """Counts, and says what a person must know."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def fail(self, what, output=""):
        self.failed += 1
        print(f"FAILED {what}", *(f"    {line}" for line in output.splitlines()), sep="\n")

    def skip(self, what, reason):
        self.skipped += 1
        print(f"skipped {what}: {reason}")

    def step(self, what, before, started):
        passed, failed, skipped = self.passed - before[0], self.failed - before[1], self.skipped - before[2]
        took = time.monotonic() - started
        print(f"{what}: {passed} ok, {failed} not ok, {skipped} left out, {took:.1f} s", flush=True)

    @property
    def counts(self):
        return self.passed, self.failed, self.skipped


def call(command, timeout=1800, **env):
    """Runs a command to its end; (status, standard output, standard error). One that hangs ends with its children."""
    child = subprocess.Popen([str(word) for word in command], cwd=ROOT, env={**os.environ, **SANITIZERS, **env},
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True)
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        err += f"\nended after {timeout} s".encode()
    return child.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def build(name, targets=()):
    """Builds one of BUILDS; None, or what went wrong."""
    options, compiler = BUILDS[name]
    folder = BUILD / name
    env = {"CC": compiler} if compiler else {}
    commands = [["ninja", "-C", folder, *targets]]
    if not (folder / "build.ninja").exists():
        commands.insert(0, ["meson", "setup", folder, ROOT, *options])
    elif "unit-base" not in (folder / "build.ninja").read_text():
        # set up before the tests' libraries were installed
        commands.insert(0, ["meson", "setup", "--wipe", folder, ROOT, *options])
    for command in commands:
        status, out, err = call(command, **env)
        if status != 0:
            return out + err
    if name == "windows":
        wine.wrap(folder)
        wine.make_prefix(folder / "wine")
    return None


def build_all(tally, names):
    """The builds that succeeded, of those named."""
    good = []
    for name in names:
        started = time.monotonic()
        trouble = build(name)
        if trouble is None:
            good.append(name)
            print(f"build {name}: {time.monotonic() - started:.1f} s", flush=True)
        else:
            tally.fail(f"build {name}", trouble)
    return good


# ---- C unit tests, which speak TAP ----------------------------------------------------------------------------------

TAP = re.compile(r"^(not )?ok (\d+)(?: -)? *(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)", re.MULTILINE)
NOTHING = re.compile(r"\A1\.\.0 # SKIP (.+)\n\Z")  # all that is said by a program that skips everything


def read_tap(out, err):
    """(bad, name, what was said before it) of each row; a skip without a word has its place instead."""
    places = iter([line.strip() for line in err.splitlines() if line.endswith("Skipped!")])
    said = []
    for line in out.splitlines():
        match = TAP.match(line)
        if not match:
            said.append(line.lstrip("# "))
            continue
        bad, _, name = match.groups()
        skipped = name.startswith("# SKIP")
        place = next(places, "no reason given") if skipped else ""
        yield bad, name, "; ".join(filter(None, said)) or place
        said = []


def skips_everything(tally, what, status, out):
    nothing = NOTHING.match(out)
    if not nothing or status != 0:
        return False
    tally.skip(what, nothing[1])
    return True


def judge_tap(tally, what, status, out, err):
    """Counts the rows of one program. cmocka writes a skip as 'not ok N # SKIP name' and its place to stderr."""
    if skips_everything(tally, what, status, out):
        return
    planned = PLAN.search(out)
    rows = list(read_tap(PLAN.sub("", out), err))
    failed_before = tally.failed
    for bad, name, said in rows:
        if name.startswith("# SKIP"):
            tally.skip(f"{what} {name[6:].strip()}", said)
        elif bad:
            tally.fail(f"{what} {name}", f"{said}\n{err}")
        else:
            tally.passed += 1
    complete = planned and int(planned[1]) == len(rows)
    if tally.failed == failed_before and (status != 0 or not complete):
        tally.fail(f"{what}: status {status}, {len(rows)} of {planned[1] if planned else 'unknown'} tests", out + err)


def unit_programs(name):
    if name == "windows":
        return sorted((BUILD / name / "test").glob("unit-*.exe"))
    found = sorted((BUILD / name / "test").glob("unit-*"))
    return [path for path in found if path.is_file() and os.access(path, os.X_OK)]


def unit_runs(name):
    """(what, command) of each unit test of a build. One for Windows is run in every way that it knows."""
    for program in unit_programs(name):
        if name != "windows":
            yield f"{program.name} ({name})", [program]
            continue
        for way in wine.WAYS.get(program.stem, [""]):
            yield f"{program.stem} ({', '.join(filter(None, (name, way)))})", [
                "/usr/bin/python3", "-B", ROOT / "test/lib/wine.py", BUILD / name / "wine", program, way,
                BUILD / "release/test/holder"]


def unit(tally, length, builds):
    for name in builds:
        started, before = time.monotonic(), tally.counts
        for what, command in unit_runs(name):
            status, out, err = call(command, timeout=600, CMOCKA_MESSAGE_OUTPUT="TAP")
            if status != 0 and name == "windows":  # as try_again_under_wine() says
                print(f"tried again {what}: status {status}\n{out}{err}")
                status, out, err = call(command, timeout=600, CMOCKA_MESSAGE_OUTPUT="TAP")
            judge_tap(tally, what, status, out, err)
        tally.step(f"unit ({name})", before, started)


# ---- Python tests ---------------------------------------------------------------------------------------------------


WINE_TRIES = 5  # more failures than these at once are not Wine's


def run_pytest(name, tests, **env):
    """(status, what was printed, the test cases of its report) of one run."""
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "report.xml"
        command = ["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--tb=short",
                   f"--junitxml={report}", *tests]
        status, out, err = call(command, NEXTPORT_BUILD=str(BUILD / name), **env)
        cases = list(xml.etree.ElementTree.parse(report).iter("testcase")) if report.exists() else []
    return status, out + err, cases


def module_of(case):
    return case.get("classname", "").rpartition(".")[2]


def trouble_of(case):
    """None, or what a test case said when it failed."""
    found = case.find("failure") if case.find("failure") is not None else case.find("error")
    return None if found is None else found.text or found.get("message") or ""


def try_again_under_wine(cases, **env):
    """Wine's own programs die now and then and take a test with them, which is tried once more. Nothing is tried again
    on Linux: there, a test that fails now and then has found something."""
    failed = [case for case in cases if trouble_of(case) is not None]
    if not 0 < len(failed) <= WINE_TRIES:
        return cases
    for case in failed:
        print(f"tried again {module_of(case)} {case.get('name')} (windows): {trouble_of(case)}")
    tests = [f"{ROOT}/test/cli/{module_of(case)}.py::{case.get('name')}" for case in failed]
    _, _, again = run_pytest("windows", tests, **env)
    return [case for case in cases if case not in failed] + (again if len(again) == len(failed) else failed)


def pytest(tally, what, name, files, **env):
    started, before = time.monotonic(), tally.counts
    status, said, cases = run_pytest(name, files, **env)
    if status not in (0, 1) or not cases:
        tally.fail(f"{what} ({name}): pytest ended with status {status}", said)
    for case in try_again_under_wine(cases, **env) if name == "windows" else cases:
        judge_case(tally, f"{module_of(case)} {case.get('name')} ({name})", case)
    tally.step(f"{what} ({name})", before, started)


def judge_case(tally, what, case):
    if trouble_of(case) is not None:
        tally.fail(what, trouble_of(case))
    elif case.find("skipped") is not None:
        tally.skip(what, case.find("skipped").get("message"))
    else:
        tally.passed += 1


def cli(tally, length, builds):
    own = ("test_race.py", "test_project.py", "test_allocation.py", "test_model.py", "test_memory_walk.py")
    files = [path for path in sorted((ROOT / "test" / "cli").glob("test_*.py")) if path.name not in own]
    for name in builds:
        pytest(tally, "cli", name, files)


def race(tally, length, builds):
    for name in builds:
        pytest(tally, "race", name, [ROOT / "test/cli/test_race.py"], NEXTPORT_ROUNDS=str(length.rounds[name]))


def model(tally, length, builds):
    """What was thought out, tried: every order of steps in a model, and walks at random with the real program."""
    for name in [name for name in builds if name in length.steps]:
        steps = os.environ.get("NEXTPORT_STEPS", str(length.steps[name]))
        pytest(tally, "model", name, [ROOT / "test/cli" / f"test_{walk}.py" for walk in ("model", "memory_walk")],
               NEXTPORT_STEPS=steps)
    if "release" in builds:
        pytest(tally, "allocation", "release", [ROOT / "test/cli/test_allocation.py"])


def project(tally, length, builds):
    if "release" in builds:
        pytest(tally, "project", "release", [ROOT / "test/cli/test_project.py"])


# ---- Packages -------------------------------------------------------------------------------------------------------


def figures(tally):
    """How big nextport.exe is, and how long it takes to start."""
    folder, what = BUILD / "windows", "start-up of nextport.exe"
    status, out, err = call(["/usr/bin/python3", "-B", ROOT / "test/lib/wine.py", folder / "wine", folder / "nextport",
                             folder / "test/empty.exe"])
    if skips_everything(tally, what, status, out):
        return
    if status == 0 and out:
        tally.passed += 1
        print(out, end="")
    else:
        tally.fail(f"{what}: status {status}", out + err)


def package(tally, length, builds):
    """What is given to others, built twice: the same bytes."""
    started, before = time.monotonic(), tally.counts
    status, out, err = call([ROOT / "script/package", "windows", "--check"])
    if status == 0:
        tally.passed += 1
        print(*out.splitlines(), sep="\n")
    else:
        tally.fail(f"script/package windows --check: status {status}", out + err)
    if "windows" in builds:
        figures(tally)
    tally.step("package", before, started)


# ---- Fuzzing --------------------------------------------------------------------------------------------------------


def corpus(name):
    """A folder with the samples and whatever earlier runs found worth keeping."""
    folder = BUILD / "fuzz" / f"corpus-{name}"
    folder.mkdir(exist_ok=True)
    for pattern in SEEDS[name]:
        for sample in ROOT.glob(pattern):
            (folder / sample.name).write_bytes(sample.read_bytes())
    return folder


def fuzz_one(name, seconds):
    target, _, row = name.partition("-")
    program, found = BUILD / "fuzz" / "test" / f"fuzz-{target}", BUILD / "fuzz" / f"{name}-"
    return call([program, f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=65536",
                 "-print_final_stats=1", f"-artifact_prefix={found}", corpus(name)], timeout=seconds + 300, FUZZ_ROW=row)


def fuzz(tally, length, builds):
    if not shutil.which("clang"):
        for name in SEEDS:
            tally.skip(f"fuzz {name}", "clang is not installed")
        return
    trouble = build("fuzz", sorted({f"test/fuzz-{name.partition('-')[0]}" for name in SEEDS}))
    if trouble is not None:
        tally.fail("build fuzz", trouble)
        return
    started, before = time.monotonic(), tally.counts
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        outcomes = list(pool.map(lambda name: fuzz_one(name, length.fuzz_seconds), SEEDS))
    for name, (status, out, err) in zip(SEEDS, outcomes):
        runs = re.search(r"number_of_executed_units: (\d+)", err)
        if status == 0 and runs and int(runs[1]) > 0:
            tally.passed += 1
            print(f"fuzz {name}: {runs[1]} inputs")
        else:
            tally.fail(f"fuzz {name}: status {status}", (out + err)[-20000:])
    tally.step("fuzz", before, started)


SUITES = {"project": project, "unit": unit, "cli": cli, "race": race, "model": model, "package": package, "fuzz": fuzz}


def main(words):
    full = "full" in words
    chosen = [word for word in words if word != "full"] or list(SUITES)
    unknown = [word for word in chosen if word not in SUITES]
    if unknown:
        print(f"script/test: no such suite: {unknown[0]!r} (full, {', '.join(SUITES)})", file=sys.stderr)
        return 2
    tally = Tally()
    builds = build_all(tally, TESTED) if set(chosen) != {"fuzz"} else []
    for name in SUITES:
        if name in chosen:
            SUITES[name](tally, Length(full), builds)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", flush=True)
    return 0 if tally.passed and not tally.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
