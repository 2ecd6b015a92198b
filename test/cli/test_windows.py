# SPDX-License-Identifier: MIT
"""What only Windows has: its own IIS, HTTP.sys, netsh, %ProgramData%, Ctrl-C, and paths that Linux does not know."""
import os
import shutil
import signal
import subprocess

import octopus_reader
import pytest
import wine
from conftest import BUILD, SITE, Done, has_open, locked

pytestmark = pytest.mark.windows("Windows' own evidence and places")
IIS = f"{wine.SYSTEM}/inetsrv/config/applicationHost.config"
SERVICE = r"HKLM\SYSTEM\CurrentControlSet\Services\W3SVC"
REFUSES_BY_DEFAULT = 4
USUAL = ("49000", "49001", "49002")


@pytest.fixture
def disk(windows):
    """disk("drive_c/x", "text"): writes a file of the Windows disk, for this test only."""
    made = []

    def write(path, text):
        path = windows.prefix / path
        missing = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        made.extend([path, *missing])
        return path

    yield write
    for path in made:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@pytest.fixture
def registry():
    """Adds a key to the registry, for this test only."""
    keys = []

    def add(key):
        subprocess.run(["wine", "reg", "add", key, "/f"], check=True, **wine.QUIET)
        keys.append(key)

    yield add
    for key in keys:
        subprocess.run(["wine", "reg", "delete", key, "/f"], check=True, **wine.QUIET)


@pytest.fixture
def machine(windows):
    """This machine without a ledger, before and after."""
    folder = windows.prefix / "drive_c/ProgramData/nextport"
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    if folder.exists():
        folder.chmod(0o755)
    wine.set_up_machine(windows.prefix, BUILD / "nextport")


@pytest.fixture
def on_machine(nextport):
    """The program with the machine's own ledger and configuration."""
    return lambda *words, **env: nextport(*words, env={"NEXTPORT_LEDGER": None, "NEXTPORT_CONFIG": None, **env})


@pytest.fixture
def beside():
    """beside("http_server", ..): a Windows program that says it is ready and ends at the end of its input."""
    running = []

    def start(name, *words):
        child = subprocess.Popen(["wine", str(BUILD / "test" / f"{name}.exe"), *map(str, words)], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        running.append(child)
        ready = child.stdout.readline().split()
        assert ready[:1] == ["ready"], (name, words, ready)
        child.port = int(ready[1]) if len(ready) > 1 else None
        return child

    yield start
    for child in running:
        child.stdin.close()
        child.wait(timeout=30)
        child.stdout.close()


@pytest.fixture
def netsh(tmp_path, monkeypatch, windows, machine):
    """netsh(kind="excluded", family="ipv4", protocol="tcp", sample="excluded-german"): what netsh says in this test."""
    for known in (windows.prefix / "drive_c/users").glob("*/AppData/Local/nextport/os-ports"):
        known.unlink()
    folder = tmp_path / "answers"
    shutil.copytree(os.environ["FAKE_NETSH_DIR"], folder, ignore=shutil.ignore_patterns("calls"))
    monkeypatch.setenv("FAKE_NETSH_DIR", str(folder))

    def say(kind, family, protocol, sample):
        shutil.copyfile(wine.SAMPLES / f"{sample}.in", folder / f"{family}-{kind}-{protocol}")

    def asked():
        calls = folder / "calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    say.asked = asked
    return say


def holders(nextport, source, *words):
    claims = nextport("used", "--source", source, "--format", "json", *words).json["claims"]
    return {claim["first"]: claim["holder"] for claim in claims}


# ---- IIS ------------------------------------------------------------------------------------------------------------


def test_the_sites_of_this_machines_iis_keep_their_ports(nextport, disk):
    disk(IIS, SITE.format("Shop", 49000))
    assert nextport("next", "-q").port == 49001
    why = nextport("why", 49000).text
    assert "Shop" in why and "C:/windows/system32/inetsrv/config/applicationHost.config:2" in why


def test_where_iis_is_installed_a_missing_configuration_is_no_empty_one(nextport, registry, ledger):
    assert nextport("doctor").status == 0
    registry(SERVICE)
    done = nextport("next")
    assert done.status == REFUSES_BY_DEFAULT and done.out == b"", done
    assert "IIS is installed" in done.log and not ledger.exists(), done


def test_a_shared_configuration_is_read_where_it_lies(nextport, disk):
    disk(IIS, "<configuration/>")
    disk("drive_c/shared/applicationHost.config", SITE.format("Farm", 49000))
    redirection = '<configuration><configurationRedirection enabled="true" path="{}"/></configuration>'
    for folder in (r"C:\shared", r"%SystemDrive%\shared", "c:/SHARED"):
        disk(IIS.replace("applicationHost", "redirection"), redirection.format(folder))
        assert holders(nextport, "iis")[49000] == "Farm", folder
    disk(IIS.replace("applicationHost", "redirection"), redirection.format(r"\\nowhere\iis"))
    done = nextport("next")
    assert done.status == REFUSES_BY_DEFAULT and r"\\nowhere\iis" in done.log, done


def test_the_sites_of_iis_express_count_on_request(nextport, disk):
    documents = f"drive_c/users/{wine.USER}/Documents"
    disk(f"{documents}/IISExpress/config/applicationhost.config", SITE.format("WebSite1", 49000))
    assert nextport("next", "--dry-run", "-q").port == 49000
    assert nextport("next", "--dry-run", "-q", "--iis-express").port == 49001


# ---- HTTP.sys -------------------------------------------------------------------------------------------------------


def test_a_port_behind_http_sys_is_never_given(nextport, beside):
    port = beside("http_server", "http://+:0/shop/").port
    assert nextport("next", "-q", "--range", f"{port}-{port + 9}").port > port
    assert not nextport("why", port, "--format", "json").json["free"]


def test_reservations_and_certificates_keep_their_ports(nextport, windows, tmp_path):
    rows = tmp_path / "rows"
    rows.write_text("url http://+:49000/shop/\naddress 0.0.0.0 49001\nname www.example.com 49002\nstore 49003\n"
                    "url https://[::1]:49004/\n")
    double = {"WINEDLLOVERRIDES": os.environ["WINEDLLOVERRIDES"] + ";httpapi=n", "FAKE_HTTP_ROWS": str(rows)}
    with wine.doubled(windows.prefix, "httpapi.dll", BUILD / "test" / "httpapi.dll"):
        used = nextport("used", "--source", "httpsys", "--format", "json", env=double).json["claims"]
        assert [claim["first"] for claim in used] == list(range(49000, 49005))
        assert {claim["kind"] for claim in used} == {"reserved"}
        assert "http://+:49000/shop/" in used[0]["detail"]
        assert nextport("next", "-q", env=double).port == 49005
        rows.write_text("error address 5\n")
        done = nextport("next", env=double)
        assert done.status == REFUSES_BY_DEFAULT and "httpsys" in done.log, done


# ---- What netsh says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["english", "german", "french", "japanese"])
def test_excluded_ranges_are_not_given_whatever_the_language(nextport, netsh, language):
    netsh("excluded", "ipv4", "tcp", f"excluded-{language}")
    used = nextport("used", "--source", "os", "--format", "json").json["claims"]
    assert used and {claim["kind"] for claim in used} == {"reserved"}
    for claim in used:
        done = nextport("next", "--dry-run", "--range", f"{claim['first']}-{claim['last']}")
        assert done.status == 3 and "os" in done.log, done


def test_a_site_in_an_excluded_range_is_an_error(nextport, netsh, disk):
    netsh("excluded", "ipv4", "tcp", "excluded-english")
    disk(IIS, SITE.format("Shop", 50010))
    done = nextport("check", "--range", "20000-20999", "--format", "json")
    found = [(row["slug"], row["first"], row["evidence"][0]["last"]) for row in done.json["findings"]]
    assert done.status == 6 and found == [("excluded", 50010, 50059)], done


@pytest.mark.parametrize("sample", ["empty", "error", "help", "not-found", "excluded-truncated"])
def test_what_netsh_does_not_say_is_unknown_and_not_nothing(nextport, netsh, sample, ledger):
    netsh("excluded", "ipv6", "tcp", sample)
    done = nextport("next")
    assert done.status == REFUSES_BY_DEFAULT and "netsh" in done.log and not ledger.exists(), done
    accepted = nextport("next", "--policy", "os=warn")
    assert accepted.port == 49000 and "netsh" in accepted.log


def test_wines_own_netsh_says_nothing(nextport, netsh):
    overrides = os.environ["WINEDLLOVERRIDES"].replace("netsh.exe=n,b", "netsh.exe=b")
    assert nextport("next", env={"WINEDLLOVERRIDES": overrides}).status == REFUSES_BY_DEFAULT


def test_netsh_is_asked_once_per_boot_and_by_whoever_looks_closely(on_machine, netsh, machine):
    assert on_machine("setup").status == 0
    on_machine("next", "-q")
    asked = netsh.asked()
    assert asked > 0
    for port in USUAL[1:]:
        assert on_machine("next", "-q").text.strip() == port
    assert netsh.asked() == asked
    netsh("excluded", "ipv4", "tcp", "excluded-english")
    assert "5357" in on_machine("used", "--source", "os").text
    assert netsh.asked() > asked
    refreshed = netsh.asked()
    assert on_machine("next", "-q", "--range", "5357-5358").port == 5358
    assert netsh.asked() == refreshed


# ---- Sockets --------------------------------------------------------------------------------------------------------

SITUATIONS = ["listen4", "listen4-exclusive", "listen4-reuse", "listen127", "listen127-exclusive", "listen6",
              "listen6-exclusive", "listen6only", "listen6lo", "bound", "bound-exclusive", "bound6", "outgoing4",
              "outgoing4-bind", "outgoing6", "accepted", "accepted6", "closewait", "timewait-server",
              "timewait-outgoing"]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_port_that_a_windows_program_uses_is_never_given(nextport, beside, situation):
    port = beside("holder_windows", situation).port
    assert nextport("next", "-q", "--range", f"{port}-{port + 9}").port > port
    assert nextport("next", "--range", f"{port}-{port}").status == 3


# ---- The machine's ledger -------------------------------------------------------------------------------------------


def test_setup_makes_the_ledger_once_and_remove_leaves_it(on_machine, machine):
    missing = on_machine("leases")
    assert missing.status == 0 and not machine.exists()
    first = on_machine("setup")
    assert first.status == 0 and "C:/ProgramData/nextport/ledger.db" in first.text, first
    assert (machine / "nextport.conf").read_bytes() == b""
    assert on_machine("next", "-q").port == 49000
    assert "was there" in on_machine("setup").text
    removed = on_machine("setup", "--remove")
    assert removed.status == 0 and "C:/ProgramData/nextport" in removed.text, removed
    assert (machine / "ledger.db").exists()
    assert [lease["port"] for lease in on_machine("leases", "--format", "json").json["leases"]] == [49000]


@pytest.mark.parametrize("weak", ["folder", "ledger", "configuration"])
def test_what_strangers_may_write_is_refused_and_not_read(on_machine, machine, weak):
    assert on_machine("setup").status == 0
    path = {"folder": machine, "ledger": machine / "ledger.db", "configuration": machine / "nextport.conf"}[weak]
    (machine / "nextport.conf").write_text("[pool]\nrange = 7-9\n")
    path.chmod(0o777)
    before = (machine / "ledger.db").read_bytes()
    done = on_machine("next")
    assert done.status == 7 and done.out == b"" and "Everyone" in done.log, done
    assert (machine / "ledger.db").read_bytes() == before


def test_the_machines_configuration_counts(on_machine, machine):
    assert on_machine("setup").status == 0
    (machine / "nextport.conf").write_text("[pool]\nrange = 20000-20099\n")
    assert on_machine("next", "-q").port == 20000


def test_a_ledger_of_the_users_own(on_machine, machine, windows):
    own = windows.prefix / f"drive_c/users/{wine.USER}/AppData/Local/nextport"
    shutil.rmtree(own, ignore_errors=True)
    assert on_machine("next", "--user", "-q").port == 49000
    assert (own / "ledger.db").exists() and not machine.exists()
    shutil.rmtree(own)


@pytest.mark.parametrize("name", ["ä ö.db", "日本.db", "%41#.db", "x" * 200 + ".db"])
def test_a_ledger_may_have_any_name(nextport, tmp_path, name):
    folder = tmp_path / "ordner mit ß" / ("long" * 40)
    folder.mkdir(parents=True)
    for port in USUAL:
        assert nextport("next", "-q", "--ledger", folder / name).text.strip() == port
    assert (folder / name).exists()
    assert len(str(folder / name)) > 260 or "x" not in name


def test_backslashes_and_drives_are_paths(nextport, ledger):
    windows = "Z:" + str(ledger).replace("/", "\\")
    assert nextport("next", "-q", "--ledger", windows).port == 49000
    assert nextport("next", "-q", "--ledger", ledger).port == 49001


@pytest.mark.parametrize("path", [r"\\server\share\ledger.db", "NUL", r"\\.\pipe\x", "C:\\x\\ledger.db:stream"])
def test_a_path_that_is_no_file_of_a_local_disk_is_refused(nextport, path):
    done = nextport("next", "--ledger", path)
    assert done.status in (2, 5, 7) and done.out == b"" and done.log.count("nextport:") == 2, done


# ---- Octopus, streams, signals --------------------------------------------------------------------------------------


def test_octopus_gets_ascii_lines_and_nothing_on_standard_error(nextport, disk):
    disk(IIS, SITE.format("Gr\u00fc\u00dfe", 49000))
    done = nextport("next", "--format", "auto", "-v", env={"TentacleHome": r"C:\Octopus"})
    assert done.status == 0 and done.err == b"", done
    assert done.out.isascii() and b"\r" not in done.out
    reader = octopus_reader.Reader()
    reader.feed(done.out)
    reader.close()
    assert reader.variables == {"Port": "49001"}
    failed = nextport("next", "--format", "octopus", "--range", "49000-49000")
    assert failed.status == 3 and failed.err == b"" and failed.out.isascii()


def test_an_answer_goes_to_a_file_as_it_goes_to_a_pipe(nextport, tmp_path):
    with open(tmp_path / "out", "wb") as file:
        assert nextport("next", stdout=file).status == 0
    assert (tmp_path / "out").read_bytes() == b"49000\n"
    assert nextport("next").out == b"49001\n"


@pytest.fixture
def request_under_way(program, ledger):
    """Starts a request that a test interrupts: Wine makes Ctrl-C of SIGINT. It would wait longer than the test does."""
    env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG="/dev/null")
    return lambda: subprocess.Popen([program, "next", "-q", "--wait", "1h"], env=env, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL)


def leased(nextport):
    return [lease["port"] for lease in nextport("leases", "--format", "json").json["leases"]]


def test_a_request_that_is_interrupted_in_the_queue_has_no_lease(nextport, request_under_way, ledger):
    assert nextport("next", "-q").port == 49000
    for _ in range(3):
        with locked(ledger):
            child = request_under_way()
            while not has_open(child.pid, f"{ledger}-lock"):
                assert child.poll() is None
            child.send_signal(signal.SIGINT)
            # Wine ends a program that does not handle Ctrl-C with 0; Windows with 0xC000013A
            assert child.communicate(timeout=60)[0] == b""
    assert leased(nextport) == [49000]
    assert nextport("next", "-q").port == 49001


def test_a_request_that_is_interrupted_tells_its_port_or_has_no_lease(nextport, request_under_way):
    """Whatever the moment, be it before the program runs or after its end."""
    known = {nextport("next", "-q").port}
    for turn in range(8):
        child = request_under_way()
        try:
            child.wait(timeout=0.05 + turn * 0.05)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
        known |= {int(line) for line in child.communicate(timeout=60)[0].splitlines()}
    assert set(leased(nextport)) == known


def test_help_version_and_statuses(nextport):
    assert nextport("--version").text.startswith("nextport ")
    assert "\r" not in nextport("--help").text
    for words, status in ((["next"], 0), (["nxet"], 2), (["next", "--range", "x"], 2), (["why", "49000", "-q"], 1)):
        assert nextport(*words).status == status, words


# ---- The file itself ------------------------------------------------------------------------------------------------


def described():
    done = subprocess.run(["x86_64-w64-mingw32-objdump", "-p", BUILD / "nextport.exe"], capture_output=True, check=True)
    return Done(done).text


def test_the_program_has_its_hardening():
    text = described()
    for flag in ("DYNAMIC_BASE", "NX_COMPAT", "HIGH_ENTROPY_VA"):
        assert flag in text, flag
    assert "Subsystem\t\t00000003" in text


def test_the_program_needs_only_what_every_windows_has(windows):
    needed = {line.split()[-1].lower() for line in described().splitlines() if "DLL Name:" in line}
    assert needed and all((windows.prefix / wine.SYSTEM / name).exists() for name in needed), needed
    assert not [name for name in needed if "gcc" in name or "pthread" in name or "ssp" in name]
