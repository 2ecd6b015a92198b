# SPDX-License-Identifier: MIT
"""Source systemd: what it claims is what the real systemd takes from the same unit files, while no systemd runs here."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ANALYZE = shutil.which("systemd-analyze")
ACTIVATE = shutil.which("systemd-socket-activate")
MANAGER = pathlib.Path("/lib/systemd/systemd")
pytestmark = pytest.mark.linux("systemd does not run on Windows")
needs_analyze = pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
SYSTEM, VENDOR = "etc/systemd/system", "usr/lib/systemd/system"
RUNS_TRUE = "[Service]\nExecStart=/bin/true\n"

# listening lines of one socket unit, and the ports that are claimed; what systemd itself says of them is asked below
LISTENERS = {
    "port": ("ListenStream=8000", {("tcp", 8000)}),
    "zeros": ("ListenStream=008000", set()),
    "octal by a zero": ("ListenStream=010000", {("tcp", 4096)}),
    "octal by zeros": ("ListenStream=0017500", {("tcp", 8000)}),
    "octal by a zero behind a plus": ("ListenStream=+05006", {("tcp", 2566)}),
    "octal by a zero behind an address": ("ListenStream=127.0.0.1:05006", {("tcp", 2566)}),
    "octal by a zero, and no digit of it": ("ListenStream=05008", set()),
    "octal zeros": ("ListenStream=000", set()),
    "plus": ("ListenStream=+8000", {("tcp", 8000)}),
    "zero": ("ListenStream=0", set()),
    "too large": ("ListenStream=65536", set()),
    "minus": ("ListenStream=-1", set()),
    "name": ("ListenStream=http", set()),
    "hexadecimal": ("ListenStream=0x1F40", {("tcp", 8000)}),
    "hexadecimal with zeros": ("ListenStream=0x01b59", {("tcp", 7001)}),
    "hexadecimal behind a plus": ("ListenStream=+0x1F40", {("tcp", 8000)}),
    "octal": ("ListenStream=0o17500", {("tcp", 8000)}),
    "octal with zeros": ("ListenStream=0O0017500", {("tcp", 8000)}),
    "octal behind a plus": ("ListenStream=+0o17500", set()),
    "octal before a plus": ("ListenStream=0o+17500", {("tcp", 8000)}),
    "binary": ("ListenStream=0b101", {("tcp", 5)}),
    "binary with zeros": ("ListenStream=0b01001110001000", {("tcp", 5000)}),
    "binary behind a plus": ("ListenStream=+0b101", set()),
    "binary before a plus": ("ListenStream=0b+101", {("tcp", 5)}),
    "two signs": ("ListenStream=++8000", set()),
    "hexadecimal before a plus": ("ListenStream=0x+5", set()),
    "digits of another base": ("ListenStream=0b2", set()),
    "prefix alone": ("ListenStream=0x", set()),
    "two": ("ListenStream=8000 8001", set()),
    "quoted": ("ListenStream=\"8000\"", set()),
    "v4": ("ListenStream=127.0.0.1:8000", {("tcp", 8000)}),
    "v4 any": ("ListenStream=0.0.0.0:8000", {("tcp", 8000)}),
    "v4 without a port": ("ListenStream=127.0.0.1", set()),
    "v4 with port 0": ("ListenStream=127.0.0.1:0", set()),
    "v4 too short": ("ListenStream=127.1:8000", set()),
    "v4 too large": ("ListenStream=127.0.0.256:8000", set()),
    "v4 zeros": ("ListenStream=127.0.0.01:8000", set()),
    "v6": ("ListenStream=[::1]:8000", {("tcp", 8000)}),
    "v6 any": ("ListenStream=[::]:8000", {("tcp", 8000)}),
    "v6 without brackets": ("ListenStream=::1:8000", set()),
    "v6 without a port": ("ListenStream=[::1]", set()),
    "v4 in brackets": ("ListenStream=[127.0.0.1]:8000", set()),
    "v4 mapped": ("ListenStream=[::ffff:127.0.0.1]:8000", {("tcp", 8000)}),
    "interface in the brackets": ("ListenStream=[fe80::1%%lo]:8000", set()),
    "interface": ("ListenStream=[fe80::1]:8000%%lo", {("tcp", 8000)}),
    "interface v4": ("ListenStream=127.0.0.1:8000%%lo", {("tcp", 8000)}),
    "interface alone": ("ListenStream=8000%%lo", set()),
    "server name": ("ListenStream=127.0.0.1:8000#x", set()),
    "vsock": ("ListenStream=vsock:2:1234", set()),
    "host": ("ListenStream=localhost:8000", set()),
    "star": ("ListenStream=*:8000", set()),
    "colon": ("ListenStream=:8000", set()),
    "template that nobody filled in": ("ListenStream={{ port }}", set()),
    "datagram": ("ListenDatagram=8000", {("udp", 8000)}),
    "datagram v4": ("ListenDatagram=192.0.2.1:8000", {("udp", 8000)}),
    "packets": ("ListenSequentialPacket=8000", set()),
    "specifier": ("ListenStream=80%%00", set()),
    "unit's name": ("ListenStream=%p", set()),
    "no instance": ("ListenStream=8000%i", {("tcp", 8000)}),
    "reset": ("ListenStream=8000\nListenStream=", set()),
    "reset by another": ("ListenStream=8000\nListenDatagram=8001\nListenFIFO=", set()),
    "reset and again": ("ListenStream=8000\nListenStream=\nListenStream=8001", {("tcp", 8001)}),
    "blanks": ("  ListenStream  =  8000  ", {("tcp", 8000)}),
    "tabs": ("\tListenStream\t=\t8000\t", {("tcp", 8000)}),
    "carriage return": ("ListenStream=8000\r", {("tcp", 8000)}),
    "lone carriage return": ("X=1\rListenStream=8000", {("tcp", 8000)}),
    "continued": ("ListenStream=\\\n8000", {("tcp", 8000)}),
    "continued over a comment": ("ListenStream=\\\n# 1\n; 2\n  8000", {("tcp", 8000)}),
    "continued into another": ("ListenStream=8000 \\\nListenStream=8001", set()),
    "blank behind the backslash": ("ListenStream=8000\\ \nListenStream=8001", {("tcp", 8001)}),
    "two backslashes": ("X=\\\\\nListenStream=8000", {("tcp", 8000)}),
    "comment": ("#ListenStream=8000\n ;ListenStream=8001", set()),
    "comment behind": ("ListenStream=8000 # web", set()),
    "case": ("listenstream=8000", set()),
    "no value": ("ListenStream", set()),
    "another section": ("[Service]\nListenStream=8000\n[Socket]", set()),
    "section of nobody": ("[X-Socket]\nListenStream=8000", set()),
    "section twice": ("[Unit]\n[Socket]\nListenStream=8000", {("tcp", 8000)}),
    "blanks in a section": ("[ Socket ]\nListenStream=8000", set()),
    "section with a comment": ("[Socket] # x\nListenStream=8000", set()),
    "path": ("ListenStream=/run/x", set()),
    "abstract": ("ListenStream=@x", set()),
}


# units, those that default.target wants, and the ports that they have then; systemd itself is asked below
SITUATIONS = {
    "links to other forms of names": ({
        f"{SYSTEM}/a.socket": "-> t@1.socket", f"{VENDOR}/a.socket": "[Socket]\nListenStream=7000\n",
        f"{SYSTEM}/b.socket": "-> t@.socket", f"{VENDOR}/b.socket": "[Socket]\nListenStream=7001\n",
        f"{SYSTEM}/c.socket": "-> c.service", f"{VENDOR}/c.socket": "[Socket]\nListenStream=7002\n",
        f"{SYSTEM}/s@.socket": "-> a.socket", f"{VENDOR}/s@.socket": "[Socket]\nListenStream=7003\n",
        f"{SYSTEM}/d.socket": "-> deeper/d.service", f"{VENDOR}/d.socket": "[Socket]\nListenStream=7004\n",
        f"{SYSTEM}/e.socket": f"-> ../../../{VENDOR}/e.socket", f"{VENDOR}/e.socket": "[Socket]\nListenStream=7005\n",
        f"{SYSTEM}/i@2.socket": "-> t@3.socket", f"{VENDOR}/i@.socket": "[Socket]\nListenStream=7006\n",
        f"{VENDOR}/t@.socket": "[Socket]\nListenStream=/run/t-%i\n",
        **{f"{VENDOR}/{name}.service": RUNS_TRUE for name in ("a", "b", "c", "s@", "d", "e", "i@", "t@")}},
        ["a.socket", "b.socket", "c.socket", "s@1.socket", "d.socket", "e.socket", "i@2.socket"],
        {("tcp", port) for port in range(7000, 7007)}),
    "services that sockets start": ({
        f"{VENDOR}/app@.socket": "[Socket]\nListenStream=/run/app-%i\n",
        f"{VENDOR}/s@.socket": "[Socket]\nListenStream=/run/s-%i\nService=web@%i.service\n",
        f"{VENDOR}/p.socket": "[Socket]\nListenStream=/run/p\nService=web@8003.service\n",
        f"{VENDOR}/own@8004.socket": "[Socket]\nListenStream=/run/own\n",
        **{f"{VENDOR}/{name}@.service": "[Service]\nExecStart=/bin/true\nEnvironment=PORT=%i\n" for name in ("app", "web", "own")}},
        ["app@8001.socket", "s@8002.socket", "p.socket", "own@8004.socket"], {("tcp", port) for port in range(8001, 8005)}),
    "ends of lines": ({
        f"{SYSTEM}/a.socket": "[Socket]\nListenStream=7001\\\0\nListenStream=7002\nListenStream=7003\\\n\0\nListenStream=7004\n"
                              "ListenStream=7005\\\0\0ListenStream=7006\nListenStream=\\\n\r\0007007\n",
        f"{SYSTEM}/a.service": RUNS_TRUE},
        ["a.socket"], {("tcp", port) for port in range(7001, 7008)}),
    "drop-ins by the beginning of an instance's name": ({
        f"{VENDOR}/sv-c@.service": RUNS_TRUE, f"{VENDOR}/sv-c-d@.service": RUNS_TRUE,
        f"{VENDOR}/sv-@.service.d/port.conf": "[Service]\nEnvironment=PORT=8084\n",
        f"{SYSTEM}/sv-@blue.service.d/more.conf": "[Service]\nEnvironment=HTTP_PORT=8085\n",
        f"{SYSTEM}/sv-c-@.service.d/c.conf": "[Service]\nEnvironment=API_PORT=8086\n",
        f"{SYSTEM}/sv-.service.d/plain.conf": "[Service]\nEnvironment=WEB_PORT=8087\n",
        f"{SYSTEM}/sv-@red.service.d/no.conf": "[Service]\nEnvironment=HTTP_PORT=8088\n"},
        ["sv-c@blue.service", "sv-c-d@green.service"], {("tcp", port) for port in range(8084, 8088)}),
    "drop-ins by the beginning of an instance's name alone": ({
        f"{VENDOR}/sv-c@.service": RUNS_TRUE,
        f"{SYSTEM}/sv-@blue.service.d/more.conf": "[Service]\nEnvironment=HTTP_PORT=8085\n"},
        ["sv-c@blue.service"], {("tcp", 8085)}),
    "dashes beside one another": ({
        f"{VENDOR}/a--b.service": RUNS_TRUE, f"{VENDOR}/a-.service.d/x.conf": "[Service]\nEnvironment=PORT=8084\n",
        f"{VENDOR}/a--.service.d/y.conf": "[Service]\nEnvironment=API_PORT=8085\n"},
        ["a--b.service"], {("tcp", 8084), ("tcp", 8085)}),
    "the first drop-in of a name": ({
        f"{VENDOR}/a-b@.service": RUNS_TRUE,
        **{f"{VENDOR}/{name}.service.d/port.conf": f"[Service]\nEnvironment=PORT={8084 + i}\n"
           for i, name in enumerate(("a-", "a-@1", "a-@"))}},
        ["a-b@1.service"], {("tcp", 8084)}),
    "drop-ins of a template's other name": ({
        f"{VENDOR}/svc@.service": RUNS_TRUE, f"{SYSTEM}/al@.service": f"-> ../../../{VENDOR}/svc@.service",
        f"{SYSTEM}/al@blue.service.d/port.conf": "[Service]\nEnvironment=PORT=8081\n"},
        ["al@blue.service"], {("tcp", 8081)}),
    "drop-ins of an instance's other name": ({
        f"{VENDOR}/svc@.service": RUNS_TRUE, f"{SYSTEM}/al-x@blue.service": "-> svc@blue.service",
        f"{SYSTEM}/al-x@blue.service.d/port.conf": "[Service]\nEnvironment=PORT=8081\n",
        f"{SYSTEM}/al-x@.service.d/more.conf": "[Service]\nEnvironment=API_PORT=8082\n",
        f"{SYSTEM}/al-@blue.service.d/cut.conf": "[Service]\nEnvironment=WEB_PORT=8083\n"},
        ["al-x@blue.service"], {("tcp", 8081), ("tcp", 8082), ("tcp", 8083)}),
    "drop-ins by the beginning of another name": ({
        f"{VENDOR}/svc@.service": RUNS_TRUE, f"{SYSTEM}/al-x@.service": f"-> ../../../{VENDOR}/svc@.service",
        f"{SYSTEM}/al-@blue.service.d/port.conf": "[Service]\nEnvironment=PORT=8081\n"},
        ["svc@blue.service"], {("tcp", 8081)}),
}


def write(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            file.write_bytes(text)
        elif text.startswith("-> "):
            file.symlink_to(text[3:])
        else:
            file.write_bytes(text.encode())
    return root


def used(nextport, *options):
    done = nextport("used", "--source", "systemd", "--protocol", "both", "--range", "1-65535", "--format", "json",
                    "--all", *options)
    assert done.status == 0, done
    return done


def ports(nextport, *options):
    return {(row["protocol"], row["first"]) for row in used(nextport, *options).json["claims"] if row["first"]}


def of_each(nextport, *options):
    """The ports of each holder."""
    found = {}
    for row in used(nextport, *options).json["claims"]:
        if row["first"]:
            found.setdefault(row["holder"], set()).add((row["protocol"], row["first"]))
    return found


def verify(root, units, *folders):
    """What systemd says of units below `root`."""
    path = ":".join(str(root / folder) for folder in folders or (SYSTEM, VENDOR))
    done = subprocess.run([ANALYZE, "verify", "--man=no", "--generators=no", *units], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          env=dict(os.environ, SYSTEMD_UNIT_PATH=f"{path}:/usr/lib/systemd/system", LC_ALL="C",
                                   SYSTEMD_LOG_COLOR="0"))
    return done.stdout.decode(errors="replace")


def loaded(root):
    """The ports of all units that systemd itself loads for the default target below `root`, as its manager prints them."""
    if not MANAGER.exists() or os.geteuid() != 0:
        pytest.skip("systemd is not installed, or this is not root, so that only half of it was tested")
    said = subprocess.run([MANAGER, "--test", "--system", "--unit=default.target"], user=65534, group=65534, extra_groups=[],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, cwd="/",
                          env={"SYSTEMD_UNIT_PATH": f"{root / SYSTEM}:{root / VENDOR}", "SYSTEMD_LOG_TARGET": "console",
                               "HOME": "/tmp", "PATH": os.environ["PATH"]}).stdout.decode(errors="replace")
    assert "-> Unit default.target:" in said, said
    found = {("tcp" if kind == "Stream" else "udp", int(port))
             for kind, port in re.findall(r"(?m)^\t\tListen(Stream|Datagram): (?:.*:)?(\d+)$", said)}
    return found | {("tcp", int(port)) for port in re.findall(r"(?m)^\t\tEnvironment: \w*PORT\w*=(\d+)$", said)}


# ---- Beside the real systemd ----------------------------------------------------------------------------------------

def test_listening_lines_mean_what_systemd_takes_them_for(nextport, tmp_path):
    names = {f"unit{i}": name for i, name in enumerate(LISTENERS)}
    files = {}
    for unit, name in names.items():
        files[f"{SYSTEM}/{unit}.socket"] = f"[Socket]\n{LISTENERS[name][0]}\n"
        files[f"{SYSTEM}/{unit}.service"] = RUNS_TRUE
    claimed = of_each(nextport, "--root", write(tmp_path / "root", files))
    assert {name: claimed.get(f"{unit}.socket", set()) for unit, name in names.items()} == {
        name: wanted for name, (_, wanted) in LISTENERS.items()}
    if not ANALYZE:
        pytest.skip("systemd-analyze is not installed, so that only half of it was tested")
    said = verify(tmp_path / "root", [f"{unit}.socket" for unit in names])
    no_listener = "has no Listen setting|failed to load properly"
    refused = {name for unit, name in names.items() if re.search(rf"{unit}\.socket:? (Unit )?({no_listener})", said)}
    assert refused == {name for name, (text, wanted) in LISTENERS.items() if not wanted and not re.search("=[/@v]", text)}


@needs_analyze
def test_lines_that_systemd_ignores_are_named_by_file_and_line(nextport, tmp_path):
    text = ("[Socket]\n# a comment\nListenStream=8000\nListenStream=a\n\n  ListenDatagram = b:1 \r\n; x\n"
            "ListenStream=99999\nListenStream=[::1\nListenStream=/run/x\n[Socket]\nListenStream=c c\n")
    root = write(tmp_path / "root", {f"{SYSTEM}/a.socket": text, f"{SYSTEM}/a.service": RUNS_TRUE,
                                     f"{VENDOR}/a.socket.d/b.conf": "\n[Socket]\nListenStream=d\n"})
    lines = re.compile(rf"{re.escape(str(root))}\S+?:\d+")
    systemd = set(lines.findall(verify(root, ["a.socket"])))
    ours = set(lines.findall(used(nextport, "--root", root).log))
    assert ours == systemd and len(ours) == 6


@needs_analyze
def test_folders_count_in_systemds_order(nextport, tmp_path):
    said = subprocess.run([ANALYZE, "unit-paths"], stdout=subprocess.PIPE, check=True, text=True,
                          env={k: v for k, v in os.environ.items() if k != "SYSTEMD_UNIT_PATH"}).stdout
    folders = [folder.lstrip("/") for folder in said.split()]
    assert VENDOR in folders and len(folders) > 8
    root = write(tmp_path / "root", {f"{folder}/a.socket": f"[Socket]\nListenStream={8000 + i}\n"
                                     for i, folder in enumerate(folders)})
    for i, folder in enumerate(folders):
        assert ports(nextport, "--root", root) == {("tcp", 8000 + i)}
        (root / folder / "a.socket").unlink()
    assert ports(nextport, "--root", root) == set()


@needs_analyze
def test_drop_ins_count_in_systemds_order(nextport, tmp_path):
    """Each drop-in resets all before it, so that only the last one's port is left. It is taken away, and so on."""
    files = {f"{VENDOR}/shop-web@.socket": "[Socket]\nListenStream=8000\nAccept=no\n",
             f"{VENDOR}/shop-web@.service": RUNS_TRUE, f"{SYSTEM}/web@.socket": f"-> ../../../{VENDOR}/shop-web@.socket",
             f"{SYSTEM}/sockets.target.wants/shop-web@1.socket": "-> /nowhere"}
    port = 8000
    for folder in (SYSTEM, VENDOR):
        for name in ("shop-web@1.socket", "shop-web@.socket", "shop-.socket", "socket", "web@.socket", "web@1.socket",
                     "other.socket", "shop-web-.socket", "shop.socket"):
            for file in ("50.conf", f"{port % 7}.conf", "notes.txt", f"{name}.conf"):
                port += 1
                files[f"{folder}/{name}.d/{file}"] = f"[Socket]\nListenStream=\nListenStream={port}\nX{port}=1\n"
    root = write(tmp_path / "root", files)
    for _ in range(40):
        said = re.findall(r"(\S+\.conf):4: Unknown key", verify(root, ["shop-web@1.socket"]).split("shop-web@1.service")[0])
        order = [file for file in said if file.startswith(str(root))]
        names = [os.path.basename(file) for file in order]
        ends = [i for i in range(1, len(names)) if names[i] <= names[i - 1]]  # where it reads the next unit
        order = order[:ends[0]] if ends else order
        if not order:
            break
        text = open(order[-1]).read()
        assert ports(nextport, "--root", root) == {("tcp", int(re.search(r"ListenStream=(\d+)", text)[1]))}, order
        os.unlink(order[-1])
    assert ports(nextport, "--root", root) == {("tcp", 8000)}


@needs_analyze
def test_masks_links_and_what_is_no_file_are_what_they_are_to_systemd(nextport, tmp_path):
    def unit(port):
        return f"[Socket]\nListenStream={port}\n"

    names = ("plain", "null", "empty", "dangling", "linked", "alias", "circle", "fifo", "folder", "out")
    files = {f"{VENDOR}/{name}.socket": unit(8000 + i) for i, name in enumerate(names) if name not in ("alias", "out")}
    files.update({f"{VENDOR}/{name}.service": RUNS_TRUE for name in names})
    files.update({f"{SYSTEM}/null.socket": "-> /dev/null", f"{SYSTEM}/empty.socket": "",
                  f"{SYSTEM}/dangling.socket": "-> /nowhere/x.socket", "srv/x.socket": unit(8100),
                  f"{SYSTEM}/linked.socket": "-> ../../../srv/x.socket", f"{SYSTEM}/circle.socket": "-> round.socket",
                  f"{SYSTEM}/alias.socket": f"-> ../../../{VENDOR}/plain.socket",
                  f"{SYSTEM}/round.socket": "-> circle.socket", f"{SYSTEM}/folder.socket/x": "",
                  f"{SYSTEM}/out.socket": "-> ../../../srv/x.socket", f"{SYSTEM}/not~valid.socket": unit(8200)})
    root = write(tmp_path / "root", files)
    os.mkfifo(root / SYSTEM / "fifo.socket")
    claimed = of_each(nextport, "--root", root)
    for name in names:
        said = verify(root, [f"{name}.socket"])
        gone = f"Unit {name}.socket is masked" in said or f"Unit {name}.socket not found" in said
        assert gone == (f"{name}.socket" not in claimed and name != "alias"), said
    assert claimed["linked.socket"] == claimed["out.socket"] == {("tcp", 8100)}
    assert ("tcp", 8200) not in ports(nextport, "--root", root)


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_systemd_loads_is_claimed(nextport, open_folder, name):
    files, wanted, claimed = SITUATIONS[name]
    wants = {f"{SYSTEM}/default.target.wants/{unit}": f"-> ../{unit}" for unit in wanted}
    root = write(open_folder / "root", {f"{SYSTEM}/default.target": "[Unit]\nDefaultDependencies=no\n", **files, **wants})
    assert ports(nextport, "--root", root) == claimed
    assert loaded(root) == claimed


@pytest.mark.skipif(not ACTIVATE, reason="systemd-socket-activate is not installed")
@pytest.mark.parametrize("address", ["8000", "127.0.0.1:8001", "[::1]:8002", "0.0.0.0:8003", "[::]:8004", "010000",
                                     "127.0.0.1:05006", "+05006", "0x01390", "0b01001110001000"])
def test_systemd_itself_binds_what_is_claimed(nextport, tmp_path, address):
    root = write(tmp_path / "root", {f"{SYSTEM}/a.socket": f"[Socket]\nListenStream={address}\n"})
    child = subprocess.Popen([ACTIVATE, "-l", address, "/bin/true"], stderr=subprocess.PIPE, text=True)
    try:
        assert "Listening on" in child.stderr.readline()
        done = nextport("used", "--source", "sockets", "--range", "1-65535", "--format", "json")
        bound = {row["first"] for row in done.json["claims"]}
    finally:
        child.kill()
        child.communicate()
    assert {port for _, port in ports(nextport, "--root", root)} == bound


# ---- What it is for -------------------------------------------------------------------------------------------------

def test_next_avoids_the_ports_of_what_is_stopped(nextport, tmp_path):
    root = write(tmp_path / "root", {
        f"{VENDOR}/off.socket": "[Socket]\nListenStream=49000\n",
        f"{SYSTEM}/shop.service": "[Service]\nEnvironment=\"PORT=49001\"\nExecStart=/srv/shop\n",
        f"{SYSTEM}/net.service": "[Service]\nEnvironmentFile=-/etc/net.env\nExecStart=/usr/bin/dotnet /srv/net.dll\n",
        "etc/net.env": "ASPNETCORE_URLS='http://*:49002;https://[::]:49003'\n",
        f"{SYSTEM}/app@.service": "[Service]\nEnvironment=PORT=%i\n",
        f"{SYSTEM}/multi-user.target.wants/app@49004.service": "-> ../app@.service",
        "etc/systemd/user/all.socket": "[Socket]\nListenStream=49005\n",
        "root/.config/systemd/user/own.service": "[Service]\nEnvironment=PORT=49006\n",
        "root/.config/systemd/user/all.socket": "[Socket]\nListenStream=49007\n",
        "home/alice/.config/systemd/user/another.socket": "[Socket]\nListenStream=49008\n",
        f"{SYSTEM}/dns.socket": "[Socket]\nListenDatagram=49008\n"})
    given = nextport("next", "--dry-run", "--root", root)
    assert given.port == 49008
    for holder in ("systemd: off.socket", "systemd: shop.service", "systemd: net.service"):
        assert holder in given.log
    assert nextport("next", "--dry-run", "--root", root, "--protocol", "both").port == 49009


def test_a_named_file_is_read_wherever_it_lies(nextport, tmp_path):
    unit = tmp_path / "shop.socket"
    unit.write_text("[Socket]\nListenStream=49000\n")
    (tmp_path / "shop.socket.d").mkdir()
    (tmp_path / "shop.socket.d" / "more.conf").write_text("[Socket]\nListenStream=49001\n")
    assert nextport("next", "--systemd-config", unit).port == 49002
    missing = nextport("next", "--systemd-config", tmp_path / "missing.socket")
    assert missing.status == 4 and "missing.socket" in missing.log


def test_adopt_leases_to_a_project_that_is_called_as_the_unit(nextport, tmp_path):
    unit, conf = tmp_path / "shop.service", tmp_path / "nextport.conf"
    unit.write_text("[Service]\nEnvironment=PORT=49000\n")
    conf.write_text(f"[systemd]\nfiles = {unit}\n")
    assert nextport("adopt", "--apply").status == 0
    lease, = nextport("leases", "--format", "json").json["leases"]
    assert (lease["port"], lease["owner"], lease["holder"]) == (49000, "shop", "systemd: shop.service")


# ---- Its own programs ---------------------------------------------------------------------------------------------------

@pytest.fixture
def in_unit():
    """in_unit("shop.service", process): has it run where systemd would have put the unit's."""
    top = next((folder for folder in map(pathlib.Path, ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup"))
                if (folder / "cgroup.procs").exists() and os.access(folder, os.W_OK)), None)
    if top is None or os.geteuid() != 0:
        pytest.skip("no control groups can be made here")
    folder, inside = top / f"nextport-test-{os.getpid()}", []

    def put(unit, process):
        (folder / unit).mkdir(parents=True)
        (folder / unit / "cgroup.procs").write_text(str(process.pid))
        inside.append((process, folder / unit))

    yield put
    for process, unit in inside:
        (top / "cgroup.procs").write_text(str(process.pid))
        unit.rmdir()
    if folder.exists():
        folder.rmdir()


def owner_of_a_service(nextport, tmp_path):
    """Leased, and confirmed by the unit; then the unit names the port no longer."""
    unit = tmp_path / "shop.service"
    unit.write_text("[Service]\nEnvironment=PORT=49000\n")
    words = ("next", "--project", "shop", "--format", "json", "--systemd-config", unit)
    assert nextport("next", "--project", "shop").port == 49000
    assert nextport(*words).status == 0
    lease, = nextport("leases", "--format", "json").json["leases"]
    assert lease["holder"] == "systemd: shop.service"
    unit.write_text("[Service]\nExecStart=/srv/shop\n")
    return words


@pytest.mark.parametrize("runs_in, port, why", [
    ("shop.service", 49000, "sockets: holder has it"),
    (None, 49000, "sockets: holder has it, and may be systemd: shop.service"),
    ("blog.service", 49001, "sockets: holder has it, and not systemd: shop.service"),
])
def test_an_owner_keeps_the_port_that_its_own_service_has(nextport, tmp_path, holder, in_unit, runs_in, port, why):
    words = owner_of_a_service(nextport, tmp_path)
    program = holder("listen4", 49000)
    if runs_in:
        in_unit(runs_in, program)
    given, = nextport(*words).json["ports"]
    assert (given["port"], given["why"]) == (port, why)


def test_an_owner_keeps_its_port_when_its_program_becomes_a_unit(nextport, tmp_path, holder):
    assert nextport("next", "--project", "shop").port == 49000
    holder("listen4", 49000)
    assert nextport("sweep").status == 0
    unit = tmp_path / "shop.service"
    unit.write_text("[Service]\nEnvironment=PORT=49000\n")
    assert nextport("next", "--project", "shop", "--systemd-config", unit).port == 49000


def test_adopt_names_what_is_declared_as_the_holder(nextport, tmp_path):
    unit, conf = tmp_path / "shop.socket", tmp_path / "nextport.conf"
    unit.write_text("[Socket]\nListenStream=49000\n")
    (tmp_path / "app.service").write_text("[Service]\nEnvironment=PORT=49000\n")
    (tmp_path / "shop.service").write_text("[Service]\nEnvironment=PORT=49000\n")
    conf.write_text(f"[systemd]\nfiles = {tmp_path}/*.s*\n")
    done = nextport("adopt", "--apply")
    lease, = nextport("leases", "--format", "json").json["leases"]
    assert (lease["owner"], lease["holder"]) == ("shop", "systemd: shop.socket")
    assert "shared with 'app.service', 'shop.service'" in done.log


def test_what_nothing_enables_is_conditional(nextport, tmp_path):
    unit = "[Socket]\nListenStream=%s\n"
    root = write(tmp_path / "root", {f"{VENDOR}/on.socket": unit % 8000, f"{VENDOR}/off.socket": unit % 8001,
                                     f"{SYSTEM}/sockets.target.wants/on.socket": f"-> ../../../{VENDOR}/on.socket"})
    claims = used(nextport, "--root", root).json["claims"]
    assert {row["holder"]: row["certainty"] for row in claims} == {"on.socket": "declared", "off.socket": "conditional"}


def test_no_units_are_no_systemd(nextport, tmp_path):
    (tmp_path / "root").mkdir()
    sources = used(nextport, "--root", tmp_path / "root").json["sources"]
    assert [row["sight"] for row in sources] == ["absent"]


# ---- Bad input ------------------------------------------------------------------------------------------------------

def test_one_broken_unit_stops_nothing(nextport, tmp_path):
    units = {"binary.socket": b"\x7fELF\0\1\2[Socket]\nListenStream=\xff\xfe\n", "header.socket": "[Socket\nListenStream=1\n",
             "long.socket": "[Socket]\nListenStream=" + "8" * (1 << 20) + "\nListenStream=49000\n",
             "huge.service": "[Service]\nEnvironment=" + "A=b " * 100000 + "PORT=49001\n",
             "zero.socket": "[Socket]\nListenStream=0\nListenStream=65536\nListenStream=-1\nListenStream=http\n",
             "values.service": "[Service]\nEnvironment=PORT=0 HTTP_PORT=http API_PORT=-1 WEB_PORT=65536\n",
             "quotes.service": "[Service]\nEnvironment=\"PORT=49002\nEnvironment='API_PORT=49003\n",
             "files.service": "[Service]\nEnvironmentFile=/etc/loop/*\nEnvironmentFile=/dev/zero\nEnvironmentFile=/etc\nEnvironmentFile=-/etc/loop\n",
             "good.socket": "[Socket]\nListenStream=49004\n"}
    root = write(tmp_path / "root", {f"{SYSTEM}/{name}": text for name, text in units.items()})
    write(root, {"etc/loop": "-> loop", f"{SYSTEM}/device.socket": "-> /dev/zero", f"{SYSTEM}/loop.socket": "-> loop.socket",
                 f"{SYSTEM}/good.socket.d/loop.conf": "-> loop.conf", f"{SYSTEM}/good.socket.wants": "-> good.socket.wants",
                 f"{SYSTEM}/quotes.socket.d": "-> quotes.socket.d", "run/systemd/transient": "-> transient"})
    os.mkfifo(root / SYSTEM / "pipe.socket")
    os.mkfifo(root / SYSTEM / "good.socket.d" / "pipe.conf")
    given = nextport("next", "--dry-run", "--root", root, "--range", "49000-49004,49010")
    assert given.port == 49000
    given = nextport("next", "--dry-run", "--root", root, "--range", "49001,49004,49010")
    assert given.port == 49010 and "systemd: good.socket" in given.log
    assert nextport("next", "--dry-run", "--root", root, "--policy", "systemd=require").status == 4


def test_thousands_of_units_among_other_files_and_links_are_read(nextport, tmp_path):
    folder = tmp_path / "root" / SYSTEM
    folder.mkdir(parents=True)
    for i in range(3000):
        (folder / f"unit{i}.socket").write_text(f"[Socket]\nListenStream={49000 + i % 1000}\n")
    for i in range(6000):
        os.link(folder / "unit0.socket", folder / f"unit{i}.target")
        if i % 6 == 0:
            (folder / f"link{i}.socket").symlink_to(f"unit{i}.target")
    given = nextport("next", "--dry-run", "--root", tmp_path / "root")
    assert given.port == 50000


def test_reading_takes_no_longer_than_there_is_to_read(nextport, tmp_path):
    """Each of these would take many times as long where every line, link or instance was held against every other."""
    folder = tmp_path / "root" / SYSTEM
    lines = "".join(f"Environment=V{i}=1\nUnsetEnvironment=W{i}\n" for i in range(50000))
    write(tmp_path / "root", {f"{SYSTEM}/lines.service": f"[Service]\n{lines}Environment=PORT=49000\n",
                              f"{SYSTEM}/t@.service": "[Service]\nEnvironment=PORT=49001\n",
                              f"{SYSTEM}/other.service.d/a.conf": "[Service]\n"})
    (folder / "multi-user.target.wants").mkdir()
    for i in range(1000):
        (folder / f"t@link{i}.service").symlink_to("t@.service")
        (folder / f"u{i}@.service").symlink_to("t@.service")
        (folder / "multi-user.target.wants" / f"t@wanted{i}.service").symlink_to("../t@.service")
        (folder / f"t@apart{i}.service.d").mkdir()
    claimed = of_each(nextport, "--root", tmp_path / "root")
    assert len(claimed) == 3001 and claimed["t@apart1.service"] == claimed["t@link1.service"] == {("tcp", 49001)}


def test_values_and_words_take_no_longer_than_there_is_to_read(nextport, tmp_path):
    """Brackets and braces that open, and never close; and words that variables make of many times their length."""
    root = write(tmp_path / "root", {
        f"{SYSTEM}/a.service": "[Service]\nEnvironmentFile=/etc/env\n", "etc/env": "PORT=" + "[" * 4000000 + "\n",
        f"{SYSTEM}/haproxy.service": "[Service]\nEnvironment=A=" + "x" * 300000 + "\nExecStart=/usr/sbin/haproxy -f "
                                     + "${" * 100000 + " " + "${A}" * 100000 + "}\n"})
    assert "PORT is no port" in used(nextport, "--root", root).log
    assert nextport("used", "--source", "haproxy", "--root", root).status == 4


def test_more_drop_ins_than_can_be_read_are_a_gap(nextport, tmp_path):
    """A thousand instances, each with the drop-ins of a thousand other names."""
    folder = tmp_path / "root" / SYSTEM
    write(tmp_path / "root", {f"{SYSTEM}/t@.service": "[Service]\nEnvironment=PORT=49001\n"})
    for i in range(1000):
        (folder / f"t@link{i}.service").symlink_to("t@.service")
        (folder / f"u{i}@.service").symlink_to("t@.service")
        (folder / f"u{i}@.service.d").mkdir()
    done = used(nextport, "--root", tmp_path / "root")
    assert len(done.json["claims"]) == 1000
    assert done.json["sources"][0]["sight"] == "partial" and "more than 500000 drop-ins" in done.json["sources"][0]["why"]


def test_a_variable_claims_64_ports_and_more_are_a_gap(nextport, tmp_path):
    root = write(tmp_path / "root", {f"{SYSTEM}/a.service": "[Service]\nEnvironment=HTTP_PORTS="
                                                            f"{';'.join(map(str, range(8000, 8065)))}\n"})
    done = used(nextport, "--root", root)
    assert {row["first"] for row in done.json["claims"]} == set(range(8000, 8064))
    seen, = done.json["sources"]
    assert "more than 64 ports" in seen["why"] and f"Look at {root}/{SYSTEM}/a.service" in seen["hint"]


def test_a_unit_without_a_port_is_no_reason_to_warn(nextport, tmp_path):
    unit = "[Service]\nEnvironmentFile=/etc/default/nope\n"
    root = write(tmp_path / "root", {f"{SYSTEM}/a.service": unit})
    words = ("next", "--dry-run", "--root", root)
    assert "nope" not in nextport(*words).log
    assert f"{root}/{SYSTEM}/a.service:2:1: /etc/default/nope: no such file" in nextport(*words, "--verbose").log
    write(root, {f"{SYSTEM}/a.service": unit + "Environment=PORT=8000\n"})
    assert "/etc/default/nope: no such file" in nextport(*words).log


def test_an_instances_drop_ins_are_no_other_instances(nextport, tmp_path):
    root = write(tmp_path / "root", {
        f"{SYSTEM}/t@.service": "[Service]\nExecStart=/bin/true\n", f"{SYSTEM}/t@1.service": "-> t@.service",
        f"{SYSTEM}/t@2.service": "-> t@.service", f"{SYSTEM}/w@1.service": "-> t@.service",
        f"{SYSTEM}/t@1.service.d/a.conf": "[Service]\nEnvironment=PORT=8000\nX1=1\n",
        f"{SYSTEM}/t@2.service.d/b.conf": "[Service]\nEnvironment=API_PORT=8001\nX2=1\n"})
    assert of_each(nextport, "--root", root) == {"t@1.service": {("tcp", 8000)}, "t@2.service": {("tcp", 8001)}}
    if not ANALYZE:
        pytest.skip("systemd-analyze is not installed, so that only half of it was tested")
    assert {i for i in (1, 2) for k in (1, 2) if f"'X{k}'" in verify(root, [f"t@{i}.service"]) and i != k} == set()


@pytest.mark.linux("as another user")
def test_a_folder_that_may_not_be_read_is_named_once(nextport, as_nobody, open_folder):
    root = write(open_folder / "root", {f"{SYSTEM}/a.socket": "[Socket]\nListenStream=8000\n"})
    hidden = root / "etc/systemd/system.control"
    hidden.mkdir(0)
    seen, = as_nobody("used", "--source", "systemd", "--root", root, "--format", "json").json["sources"]
    assert (seen["sight"], seen["why"]) == ("partial", f"{hidden}: permission denied")


@pytest.mark.linux("as another user")
def test_an_environment_file_that_only_root_may_read_is_a_gap_to_others(nextport, as_nobody, open_folder):
    root = write(open_folder / "root", {f"{SYSTEM}/a.service": "[Service]\nEnvironmentFile=/etc/secret\nEnvironment=PORT=49000\n",
                                        "etc/secret": "PASSWORD=xyzzy\nHTTP_PORT=49001\n"})
    (root / "etc" / "secret").chmod(0)
    words = ("next", "--dry-run", "--root", root)
    assert nextport(*words).port == 49002
    given = as_nobody(*words)
    assert given.port == 49001 and "secret" in given.log
    assert as_nobody(*words, "--strict").status == 4


def test_what_a_file_of_the_environment_keeps_secret_is_never_said(nextport, tmp_path):
    root = write(tmp_path / "root", {f"{SYSTEM}/a.service": "[Service]\nEnvironmentFile=/etc/secret\n",
                                     "etc/secret": "PASSWORD=xyzzy\nxyzzy\nexport xyzzy=xyzzy\nPORT=xyzzy\n"
                                                   "HTTP_PORT=8000xyzzy\n"
                                                   "ASPNETCORE_URLS=http://u:xyzzy@h:80;xyzzy;http://xyzzy:1\nLISTEN_ADDR=xyzzy:81\n"
                                                   "HTTP_ADDR=1,xyzzy\n\"xyzzy\nPORT=1"})
    done = nextport("used", "--all", "--root", root, "--verbose", "--range", "1-65535")
    assert "xyzzy" not in done.text + done.log
