# SPDX-License-Identifier: MIT
"""Containers and the ports they publish: Docker's files, the socket of an engine, played by a double, and Podman itself.

What lies in /var/lib and /run is the test's own: each program is run with folders of the test's mounted there.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import threading

import pytest

SAMPLES = pathlib.Path(__file__).resolve().parents[1] / "source"
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18
ID = "ab12" * 16
NEVER = "0001-01-01T00:00:00Z"

pytestmark = pytest.mark.linux("mounts folders of its own, and speaks over a Unix socket")


def bindings(*ports, inside="80/tcp"):
    return {inside: [{"HostIp": "", "HostPort": str(port)} for port in ports]}


def inspection(name, ports, running=False, restart="no", **more):
    """What an engine says of one container."""
    return {"Id": ID, "Name": f"/{name}",
            "State": {"Status": "running" if running else "created", "Running": running, "StartedAt": NEVER},
            "HostConfig": {"NetworkMode": "default", "PortBindings": ports, "PublishAllPorts": False,
                           "RestartPolicy": {"Name": restart, "MaximumRetryCount": 0}},
            "NetworkSettings": {"Ports": ports if running else {}}, **more}


class Machine:
    """A machine with containers: its folders, and nextport run in it."""

    def __init__(self, folder, run):
        self.run_program = run
        self.lib, self.run, self.home, self.etc = (folder / name for name in ("lib", "run", "home", "etc"))
        for place in (self.lib, self.run, self.home, self.etc):
            place.mkdir()
        if os.path.isdir("/etc/containers"):  # what Podman needs of it
            shutil.copytree("/etc/containers", self.etc, symlinks=True, dirs_exist_ok=True)
        self.data = self.lib / "docker"

    def enter(self, user=None):
        """In the child: these folders in the places of the machine's."""
        def prepare():
            libc = ctypes.CDLL(None, use_errno=True)
            calls = [libc.unshare(CLONE_NEWNS), libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)]
            places = [(self.lib, b"/var/lib"), (self.run, b"/run"), (self.home, b"/home")]
            if os.path.isdir("/etc/containers"):
                places.append((self.etc, b"/etc/containers"))
            for here, there in places:
                calls.append(libc.mount(bytes(here), there, None, MS_BIND, None))
            if any(calls):
                raise OSError(ctypes.get_errno(), "mount")
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
        return prepare

    def __call__(self, *args, user=None, **kwargs):
        return self.run_program(*args, preexec_fn=self.enter(user), **kwargs)

    def put(self, number, name, ports, running=False, restart="no", below="containers"):
        """A container as Docker keeps it on disk."""
        folder = self.data / below / f"{number:064x}"
        folder.mkdir(parents=True)
        whole = inspection(name, ports, running, restart)
        (folder / "hostconfig.json").write_text(json.dumps(whole.pop("HostConfig"), separators=(",", ":")))
        del whole["State"]["Status"]
        (folder / "config.v2.json").write_text(json.dumps(whole, separators=(",", ":")))
        return folder

    def claims(self, *args, source="docker", **kwargs):
        done = self("used", "--source", source, "--format", "json", *args, **kwargs)
        assert done.status == 0, done
        return done.json["claims"], done.json["sources"][0]


@pytest.fixture
def machine(tmp_path, nextport):
    if os.geteuid() != 0:
        pytest.skip("mounting folders needs root")
    folder = tmp_path / "machine"
    folder.mkdir()
    return Machine(folder, nextport)


def holders(claims):
    return {claim["first"]: claim["holder"] for claim in claims}


# ---- Docker's files -------------------------------------------------------------------------------------------------


def test_a_machine_without_containers_has_neither_engine(machine):
    for source in ("docker", "podman"):
        claims, seen = machine.claims(source=source)
        assert claims == [] and seen["sight"] == "absent"
    done = machine("next")
    assert done.port == 49000 and "docker" not in done.log and "podman" not in done.log


def test_the_port_of_a_stopped_container_is_not_given(machine):
    machine.put(1, "shop", bindings(49000), restart="unless-stopped")
    done = machine("next")
    assert done.port == 49001 and "49000 (docker: shop)" in done.log, done
    why = machine("why", 49000)
    assert "published for shop" in why.text and "created, not running, restart unless-stopped" in why.text, why


def test_a_claim_names_container_state_and_place(machine):
    folder = machine.put(1, "shop", bindings(49000, inside="53/udp"), running=True, restart="always")
    (claim,), seen = machine.claims()
    assert seen["sight"] == "seen" and seen["policy"] == "warn"
    assert (claim["kind"], claim["protocol"], claim["holder"]) == ("published", "udp", "shop")
    assert claim["detail"] == "53/udp, running, restart always"
    assert (claim["file"], claim["line"]) == (f"/var/lib/docker/containers/{folder.name}/hostconfig.json", 1)


def test_a_port_chosen_at_start_has_a_number_only_while_it_runs(machine):
    folder = machine.put(1, "shop", bindings(""))
    (claim,), _ = machine.claims()
    assert (claim["first"], claim["certainty"]) == (None, "unresolved")
    state = json.loads((folder / "config.v2.json").read_text())
    state["State"]["Running"], state["NetworkSettings"]["Ports"] = True, bindings(49000)
    (folder / "config.v2.json").write_text(json.dumps(state))
    (claim,), _ = machine.claims()
    assert (claim["first"], claim["certainty"]) == (49000, "declared")


def test_a_range_of_which_the_engine_takes_one_is_kept_whole(machine):
    machine.put(1, "shop", bindings("49000-49009"))
    assert machine("next").port == 49010


def test_the_data_root_is_where_the_configuration_says(nextport, tmp_path):
    data = tmp_path / "srv" / "docker [1]" / "containers" / ID
    data.mkdir(parents=True)
    (data / "hostconfig.json").write_text(json.dumps({"PortBindings": bindings(49000)}))
    (tmp_path / "etc" / "docker").mkdir(parents=True)
    (tmp_path / "etc" / "docker" / "daemon.json").write_text('{"debug": true, "data-root": "/srv/docker [1]"}')
    used = nextport("used", "--source", "docker", "--root", tmp_path, "--format", "json").json
    assert holders(used["claims"]) == {49000: ID[:12]} and used["sources"][0]["sight"] == "seen"


def test_a_configuration_that_cannot_be_read_is_said_and_the_usual_folder_read(nextport, tmp_path):
    data = tmp_path / "var" / "lib" / "docker" / "containers" / ID
    data.mkdir(parents=True)
    (data / "hostconfig.json").write_text(json.dumps({"PortBindings": bindings(49000)}))
    (tmp_path / "etc" / "docker").mkdir(parents=True)
    (tmp_path / "etc" / "docker" / "daemon.json").write_text('{"data-root": 7}')
    used = nextport("used", "--source", "docker", "--root", tmp_path, "--format", "json").json
    assert holders(used["claims"]) == {49000: ID[:12]}
    assert used["sources"][0]["sight"] == "partial" and "daemon.json:1:15: 'data-root'" in used["sources"][0]["why"]


UNIT = "usr/lib/systemd/system/docker.service"
OVERRIDE = "etc/systemd/system/docker.service.d/override.conf"
DOCKERD = "[Service]\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\nEnvironmentFile=-/etc/default/docker\n"


def put(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def starts(words):
    return f"[Service]\nExecStart=\nExecStart=/usr/bin/dockerd {words}\n"


@pytest.mark.parametrize("files", [
    {OVERRIDE: starts("-H fd:// --data-root /srv/docker")}, {OVERRIDE: starts("--data-root=/srv/docker -H fd://")},
    {OVERRIDE: starts("-g /srv/docker")}, {OVERRIDE: starts("-g/srv/docker")}, {OVERRIDE: starts("--graph /srv/docker")},
    {OVERRIDE: starts("--config-file /srv/docker.json"), "srv/docker.json": '{"data-root": "/srv/docker"}'},
    {OVERRIDE: "[Service]\nEnvironment=WHERE=/srv\n" + starts("--data-root ${WHERE}/docker")},
    {"etc/default/docker": 'DOCKER_OPTS="--data-root /srv/docker"\n'},
    {"etc/systemd/system/second.service": starts("--data-root srv/docker -p /run/second.pid")},
])
def test_the_data_root_is_where_a_service_says(nextport, tmp_path, files):
    """What lies in the usual folder counts beside it."""
    for path, text in {UNIT: DOCKERD, **files}.items():
        put(tmp_path, path, text)
    for folder, port in (("srv/docker", 49000), ("var/lib/docker", 49001)):
        put(tmp_path, f"{folder}/containers/{ID}/hostconfig.json", json.dumps({"PortBindings": bindings(port)}))
    used = nextport("used", "--source", "docker", "--root", tmp_path, "--format", "json").json
    assert sorted(holders(used["claims"])) == [49000, 49001] and used["sources"][0]["sight"] == "seen", used
    assert [claim["count"] for claim in used["claims"]] == [1, 1]


@pytest.mark.parametrize("words", ["--data-root ${NOWHERE}", "--data-root", "--label ${NOBODY}",
                                   "--config-file=/srv/docker.json"])
def test_a_start_of_docker_that_is_not_known_is_said(nextport, tmp_path, words):
    put(tmp_path, UNIT, DOCKERD)
    put(tmp_path, OVERRIDE, "[Service]\nEnvironmentFile=/dev/null\nPassEnvironment=NOWHERE NOBODY\n" + starts(words))
    put(tmp_path, "srv/docker.json", "{")
    used = nextport("used", "--source", "docker", "--root", tmp_path, "--format", "json").json
    assert used["sources"][0]["sight"] == "partial", used


def test_containers_of_mapped_users_are_found(machine):
    machine.put(1, "shop", bindings(49000), below="100000.100000/containers")
    assert holders(machine.claims()[0]) == {49000: "shop"}


def spoil_fifo(file):
    file.unlink()
    os.mkfifo(file)


def spoil_loop(file):
    file.unlink()
    file.symlink_to(file)


def spoil_folder(file):
    file.unlink()
    file.mkdir()


def spoil_size(file):
    os.truncate(file, 1 << 40)


def spoil_end(file):
    file.write_text(file.read_text()[:60])


@pytest.mark.parametrize("spoil, why", [
    (spoil_fifo, "a FIFO, not a file"), (spoil_loop, "symbolic links"), (spoil_folder, "a folder, not a file"),
    (spoil_size, "larger than"), (spoil_end, ".json:1:"), (pathlib.Path.unlink, "no such file")])
@pytest.mark.parametrize("name", ["hostconfig.json", "config.v2.json"])
def test_a_file_that_cannot_be_read_is_never_a_container_without_ports(machine, spoil, why, name):
    spoiled = machine.put(1, "spoiled", bindings(49000)) / name
    machine.put(2, "shop", bindings(49001))
    spoil(spoiled)
    claims, seen = machine.claims()
    assert holders(claims)[49001] == "shop"
    if name == "config.v2.json":
        assert 49000 in holders(claims)
    if (spoil, name) == (pathlib.Path.unlink, "config.v2.json"):
        return  # of a container that is being made
    assert seen["sight"] == "partial" and why in seen["why"] and name in seen["why"], seen
    done = machine("next")
    assert done.status == 0 and "containers not inspected" in done.log, done
    assert machine("next", "--policy", "docker=require").status == 4


def test_a_container_that_publishes_nothing_is_seen_by_one_file(machine):
    """Its state cannot matter: of a thousand such containers half of the files are not even opened."""
    os.mkfifo(machine.put(1, "inner", {}) / "config.v2.json.new")
    os.rename(machine.data / "containers" / f"{1:064x}" / "config.v2.json.new",
              machine.data / "containers" / f"{1:064x}" / "config.v2.json")
    machine.put(2, "shop", bindings(49000))
    claims, seen = machine.claims()
    assert holders(claims) == {49000: "shop"} and seen["sight"] == "seen", seen


def test_what_is_left_of_a_removed_container_is_none(machine):
    (machine.data / "containers" / ID / "mounts").mkdir(parents=True)
    (machine.data / "containers" / "a-file").touch()
    claims, seen = machine.claims()
    assert claims == [] and seen["sight"] == "seen"


def test_a_thousand_containers_are_all_seen(machine):
    for i in range(1000):
        machine.put(i, f"shop-{i}", bindings(49000 + i))
    claims, seen = machine.claims()
    assert len(claims) == 1000 and seen["sight"] == "seen"
    assert machine("next").port == 50000


def test_only_who_asks_adopts_from_containers(machine):
    machine.put(1, "shop", bindings(49000))
    assert machine("adopt", "--format", "json").json["leases"] == []
    lease, = machine("adopt", "--source", "docker", "--apply", "--format", "json").json["leases"]
    assert (lease["port"], lease["owner"]) == (49000, "shop")


# ---- The engine's socket --------------------------------------------------------------------------------------------


def plain(body, status="200 OK", more=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def chunked(body, size=7):
    body = json.dumps(body).encode()
    parts = [body[i:i + size] for i in range(0, len(body), size)]
    return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
            b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n")


class Double:
    """An engine: answers(target) gives the bytes of an answer; None: it keeps silent; b"": it hangs up."""

    def __init__(self, path, answers):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.answers, self.asked, self.open = answers, [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        try:
            with connection, connection.makefile("rb") as stream:
                while line := stream.readline():
                    while stream.readline() not in (b"\r\n", b""):
                        pass
                    target = line.split()[1].decode()
                    self.asked.append(target)
                    answer = self.answers(target)
                    if answer == b"":
                        return
                    if answer is not None:
                        connection.sendall(answer)
        except OSError:
            pass  # the program has gone

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def engine(machine):
    running = []

    def start(answers, path="docker.sock"):
        running.append(Double(machine.run / path, answers))
        return running[-1]

    yield start
    for double in running:
        double.stop()


def answering(containers, form=plain, listed=None):
    """The answers of an engine that has these containers: {id: inspection}."""
    def answer(target):
        if target == "/containers/json?all=1":
            return form([{"Id": id, **(listed or {})} for id in containers])
        id = target.split("/")[2]
        return form(containers[id]) if id in containers else plain({"message": "none"}, "404 Not Found")
    return answer


@pytest.mark.parametrize("form", [plain, chunked])
def test_an_engine_is_asked_for_each_container(machine, engine, form):
    """Its list hides what is stopped, and some ports of what runs: nothing is taken from there."""
    hidden = {"Ports": [{"PublicPort": 49005, "Type": "tcp"}]}
    double = engine(answering({"a1": inspection("shop", bindings(49000, 49001)), "b2": inspection("blog", {})},
                              form, hidden))
    claims, seen = machine.claims()
    assert holders(claims) == {49000: "shop", 49001: "shop"} and seen["sight"] == "seen"
    assert double.asked == ["/containers/json?all=1", "/containers/a1/json", "/containers/b2/json"]
    assert machine("next").port == 49002


@pytest.mark.parametrize("sample, source, path", [("docker/recorded-inspection.in", "docker", "docker.sock"),
                                                  ("podman/recorded-shop.in", "podman", "podman/podman.sock")])
def test_recorded_answers_say_what_the_samples_say(machine, engine, sample, source, path):
    recorded = json.loads((SAMPLES / sample).read_text())
    if source == "podman":
        (machine.lib / "containers/storage").mkdir(parents=True)
        (machine.lib / "containers/storage/db.sql").touch()
    engine(answering({recorded["Id"]: recorded}, chunked), path)
    claims, seen = machine.claims(source=source)
    assert {49100, 49102, 49103, 49104, 49105} <= set(holders(claims)) and seen["sight"] == "seen"


def test_an_engine_that_runs_is_asked_where_no_container_is_found(machine, engine):
    """It may have been told of another folder in a way that is not known. One that does not run is not started for that."""
    double = engine(answering({"a1": inspection("shop", bindings(49000))}))
    (machine.data / "containers").mkdir(parents=True)
    assert machine.claims()[1]["sight"] == "seen" and double.asked == []
    assert machine("next").port == 49000
    (machine.run / "docker.pid").write_text("1")
    claims, seen = machine.claims()
    assert holders(claims) == {49000: "shop"} and seen["sight"] == "seen"
    assert machine("next").port == 49001
    double.asked.clear()
    machine.put(1, "blog", bindings(49005))
    assert holders(machine.claims()[0]) == {49005: "blog"} and double.asked == []


def test_an_engine_that_ended_where_no_container_is_found_is_no_gap(machine):
    (machine.data / "containers").mkdir(parents=True)
    (machine.run / "docker.pid").write_text("1")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(machine.run / "docker.sock"))
    assert machine.claims()[1]["sight"] == "seen"


def test_a_container_removed_meanwhile_is_none(machine, engine):
    engine(lambda target: plain([{"Id": "a1"}]) if "all=1" in target else plain({}, "404 Not Found"))
    claims, seen = machine.claims()
    assert claims == [] and seen["sight"] == "seen"


def test_an_engine_that_closes_each_connection_is_asked_again(machine, engine):
    def answers(target):
        body = [{"Id": "a1"}] if "all=1" in target else inspection("shop", bindings(49000))
        return plain(body, more="Connection: close\r\n")
    engine(answers)
    assert holders(machine.claims()[0]) == {49000: "shop"}


BROKEN = {
    "silent": None,
    "hangs up": b"",
    "not HTTP": b"hello\r\n\r\n",
    "an error": plain({}, "500 Internal Server Error"),
    "denied": plain({}, "403 Forbidden"),
    "no length": b"HTTP/1.1 200 OK\r\n\r\n[]",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[] ",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n[]",
    "a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[",
    "a huge chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n[",
    "a chunk without size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n[",
    "a chunk that does not end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]x\r\n",
    "compressed": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "an endless line": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100000,
    "not JSON": plain(b"<html>"),
    "cut off": plain(b'[{"Id":"a1"'),
    "not a list": plain({"Id": "a1"}),
    "not containers": plain([1, 2]),
    "no id": plain([{"Name": "x"}]),
    "a path for an id": plain([{"Id": "../../images"}]),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_an_engine_that_answers_badly_is_said_and_stops_nobody(machine, engine, answer):
    double = engine(lambda target: answer)
    done = machine("next")
    assert done.port == 49000 and "containers not inspected: /var/run/docker.sock" in done.log, done
    assert not any("images" in target for target in double.asked)
    assert machine("next", "--policy", "docker=require").status == 4


@pytest.mark.parametrize("answer", [None, b"", plain({}, "500 Oh"), plain({}), plain({"HostConfig": []})],
                         ids=["silent", "hangs up", "an error", "no bindings", "no object"])
def test_what_was_inspected_before_it_failed_is_kept(machine, engine, answer):
    good = answering({"a1": inspection("shop", bindings(49000)), "b2": {}})
    engine(lambda target: answer if "b2" in target else good(target))
    claims, seen = machine.claims()
    assert holders(claims) == {49000: "shop"} and seen["sight"] == "partial", seen
    assert machine("next").port == 49001


def test_a_socket_that_nobody_answers_at_is_said(machine):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(machine.run / "docker.sock"))
    _, seen = machine.claims()
    assert seen["sight"] == "partial" and "connection refused" in seen["why"].lower(), seen


def test_who_may_not_read_files_asks_the_engine(machine, engine):
    machine.put(1, "shop", bindings(49000))
    machine.data.chmod(0o710)
    (machine.data / "containers").chmod(0o710)
    for folder in (machine.lib, machine.run):
        folder.chmod(0o755)
    env = {"NEXTPORT_CONFIG": None, "NEXTPORT_LEDGER": None}
    _, seen = machine.claims(user=65534, env=env)
    assert seen["sight"] == "partial" and "Run as root" in seen["hint"] and "denied" in seen["why"].lower(), seen
    engine(answering({"a1": inspection("shop", bindings(49000))}))
    _, seen = machine.claims(user=65534, env=env)
    assert seen["sight"] == "partial" and "group docker" in seen["hint"], seen
    (machine.run / "docker.sock").chmod(0o666)
    claims, seen = machine.claims(user=65534, env=env)
    assert holders(claims) == {49000: "shop"} and seen["sight"] == "seen"


# ---- Podman ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["libpod/bolt_state.db", "db.sql"])
def test_podman_is_asked_only_where_it_has_containers(machine, engine, database):
    double = engine(answering({"a1": inspection("shop", bindings(49000))}), "podman/podman.sock")
    assert machine.claims(source="podman")[1]["sight"] == "absent" and double.asked == []
    place = machine.lib / "containers/storage" / database
    place.parent.mkdir(parents=True)
    place.touch()
    claims, seen = machine.claims(source="podman")
    assert holders(claims) == {49000: "shop"} and seen["sight"] == "seen"
    assert machine("next").port == 49001


# As libpod/sqlite_state_internal.go makes them; only what a container's ports need.
SCHEMA = """
CREATE TABLE DBConfig(ID INTEGER PRIMARY KEY NOT NULL, SchemaVersion INTEGER NOT NULL, CHECK (ID IN (1)));
CREATE TABLE ContainerConfig(ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, PodID TEXT, JSON TEXT NOT NULL);
CREATE TABLE ContainerState(ID TEXT PRIMARY KEY NOT NULL, State INTEGER NOT NULL, ExitCode INTEGER, JSON TEXT NOT NULL);
INSERT INTO DBConfig VALUES(1, 1);
"""
# As Podman 4.3.1 wrote it, of -p 49000:80 -p 49000:53/udp -p 127.0.0.1:49001-49003:81-83 -p [::1]:49010:90
PORTS = [{"host_ip": "", "container_port": 80, "host_port": 49000, "range": 1, "protocol": "tcp"},
         {"host_ip": "", "container_port": 53, "host_port": 49000, "range": 1, "protocol": "udp"},
         {"host_ip": "127.0.0.1", "container_port": 81, "host_port": 49001, "range": 3, "protocol": "tcp"},
         {"host_ip": "::1", "container_port": 90, "host_port": 49010, "range": 1, "protocol": "tcp"}]
CONFIGURED, RUNNING = 1, 3


def podman_state(place, *containers, version=1):
    """A database of Podman's with these containers: (name, configuration, state)."""
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(place / "db.sql")) as db, db:
        db.executescript(SCHEMA)
        db.execute("UPDATE DBConfig SET SchemaVersion = ?", (version,))
        for number, (name, config, state) in enumerate(containers):
            text = config if isinstance(config, str) else json.dumps({"id": ID, "name": name, **config})
            db.execute("INSERT INTO ContainerConfig VALUES(?, ?, NULL, ?)", (str(number), name, text))
            db.execute("INSERT INTO ContainerState VALUES(?, ?, 0, '{}')", (str(number), state))
    return place / "db.sql"


def shop():
    return ("shop", {"newPortMappings": PORTS, "networkMode": "bridge", "restart_policy": "always"}, CONFIGURED)


def test_podmans_sqlite_is_read_without_podman(machine, engine):
    double = engine(answering({}), "podman/podman.sock")
    file = podman_state(machine.lib / "containers/storage", shop(), ("inner", {"networkMode": "bridge"}, RUNNING),
                        ("blog", {"newPortMappings": [{**PORTS[0], "host_port": 49020}]}, RUNNING))
    before = file.read_bytes(), sorted(file.parent.iterdir()), file.stat().st_mtime_ns
    claims, seen = machine.claims(source="podman")
    assert seen["sight"] == "seen" and double.asked == [], seen
    assert holders(claims) == {**dict.fromkeys([49000, 49001, 49002, 49003, 49010], "shop"), 49020: "blog"}
    assert {(c["first"], c["protocol"], c["address"], c["detail"]) for c in claims if c["first"] in (49000, 49003, 49010)} \
        == {(49000, "tcp", "*", "80/tcp, created, not running, restart always"),
            (49000, "udp", "*", "53/udp, created, not running, restart always"),
            (49003, "tcp", "127.0.0.1", "83/tcp, created, not running, restart always"),
            (49010, "tcp", "[::1]", "90/tcp, created, not running, restart always")}
    assert [c["detail"] for c in claims if c["first"] == 49020] == ["80/tcp, running"]
    assert {c["file"] for c in claims} == {"/var/lib/containers/storage/db.sql"}
    assert machine("next").port == 49004
    assert (file.read_bytes(), sorted(file.parent.iterdir()), file.stat().st_mtime_ns) == before


def test_podmans_sqlite_of_an_image_is_read(nextport, tmp_path):
    podman_state(tmp_path / "var/lib/containers/storage", shop())
    for number, user in enumerate(("alice", "bob")):
        podman_state(tmp_path / "home" / user / ".local/share/containers/storage",
                     (user, {"newPortMappings": [{**PORTS[0], "host_port": 49020 + number}]}, CONFIGURED))
    used = nextport("used", "--source", "podman", "--root", tmp_path, "--format", "json").json
    found = holders(used["claims"])
    assert used["sources"][0]["sight"] == "seen" and (found[49003], found[49020], found[49021]) == ("shop", "alice", "bob")


def with_journal(file):
    """A write that was broken off, or goes on."""
    file.with_name("db.sql-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7")


def with_log(file):
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA journal_mode = WAL")


def with_older_state(file):
    (file.parent / "libpod").mkdir()
    (file.parent / "libpod/bolt_state.db").touch()


def cut_off(file):
    os.truncate(file, 5000)


def of_no_known_form(file):
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE DBConfig SET SchemaVersion = 2")


def with_a_container_that_is_none(file):
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.execute("""INSERT INTO ContainerConfig VALUES('9', 'a', NULL, '{"newPortMappings":[{"host_port":"49005"}]}')""")


def with_a_container_without_end(file):
    """One page of the file, of which four megabytes and a byte are made."""
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.executescript("""DROP TABLE ContainerConfig; CREATE TABLE ContainerConfig(ID TEXT, Name TEXT,
            JSON TEXT GENERATED ALWAYS AS (zeroblob(4 * 1024 * 1024 + 1)));
            INSERT INTO ContainerConfig(ID, Name) VALUES('9', 'a')""")


def with_a_view_without_end(file):
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.executescript("""DROP TABLE ContainerConfig; CREATE VIEW ContainerConfig(ID, Name, JSON) AS
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, 'a', '{}' FROM n""")


def with_containers_without_end(file):
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.executemany("INSERT INTO ContainerConfig VALUES(?, ?, NULL, '{}')", ((str(i), f"c{i}") for i in range(9, 10100)))


def with_ports_without_end(file):
    ports = json.dumps({"newPortMappings": [{**PORTS[0], "range": 60000, "host_port": 1}] * 10})
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.execute("INSERT INTO ContainerConfig VALUES('9', 'a', NULL, ?)", (ports,))


@pytest.mark.parametrize("spoil", [with_journal, with_log, with_older_state, cut_off, of_no_known_form,
                                   with_a_container_that_is_none, with_a_container_without_end,
                                   with_a_view_without_end, with_containers_without_end, with_ports_without_end])
def test_podman_is_asked_where_its_sqlite_cannot_be_trusted(machine, engine, spoil):
    spoil(podman_state(machine.lib / "containers/storage", shop()))
    _, seen = machine.claims(source="podman")
    assert seen["sight"] == "partial" and "/var/lib/containers/storage" in seen["why"], seen
    engine(answering({"a1": inspection("blog", bindings(49011))}), "podman/podman.sock")
    claims, seen = machine.claims(source="podman")
    assert seen["sight"] == "seen" and holders(claims)[49011] == "blog", seen


def test_podman_that_does_not_answer_and_other_users_are_said(machine, nextport, tmp_path):
    place = machine.lib / "containers/storage"
    place.mkdir(parents=True)
    (place / "db.sql").touch()
    _, seen = machine.claims(source="podman")
    assert seen["sight"] == "partial" and "podman.socket" in seen["hint"], seen
    shutil.rmtree(place)
    other = machine.home / "ann/.local/share/containers/storage/libpod"
    other.mkdir(parents=True)
    (other / "bolt_state.db").touch()
    _, seen = machine.claims(source="podman")
    assert seen["sight"] == "partial" and "/home/ann/" in seen["why"] and "another user" in seen["why"], seen


def test_who_may_not_look_into_podmans_storage_is_told_so(machine):
    (machine.lib / "containers/storage").mkdir(parents=True)
    (machine.lib / "containers").chmod(0o700)
    for folder in (machine.lib, machine.run):
        folder.chmod(0o755)
    _, seen = machine.claims(source="podman", user=65534, env={"NEXTPORT_CONFIG": None, "NEXTPORT_LEDGER": None})
    assert seen["sight"] == "partial" and "/var/lib/containers" in seen["why"], seen
    assert "permission denied" in seen["why"] and "podman.sock" not in seen["why"] and "Run as root" in seen["hint"], seen


def test_below_a_root_podman_cannot_be_asked(nextport, tmp_path):
    place = tmp_path / "var/lib/containers/storage"
    place.mkdir(parents=True)
    (place / "db.sql").touch()
    used = nextport("used", "--source", "podman", "--root", tmp_path, "--format", "json").json
    assert used["sources"][0]["sight"] == "partial"


ETC, SHARE = "etc/containers/storage.conf", "usr/share/containers/storage.conf"
ALICES = "home/alice/.config/containers/storage.conf"


@pytest.mark.parametrize("files, place", [
    ({ETC: '[storage]\ndriver = "vfs"\ngraphroot = "/srv/[x]" # there\n'}, "srv/[x]"),
    ({SHARE: "[storage]\ngraphroot = '/srv/x'\n"}, "srv/x"),
    ({ETC: '[storage]\ngraphroot = "$HOME/x"\n', SHARE: '[storage]\ngraphroot = "/srv/y"\n'}, "root/x"),
    ({ETC: '[storage]\nrootless_storage_path = "/srv/$USER/$UID"\n'}, "srv/alice/1000"),
    ({ETC: '[storage]\nrootless_storage_path = "$HOME/x"\n'}, "home/alice/x"),
    ({ALICES: '[storage]\ngraphroot = "/srv/alices"\n'}, "srv/alices"),
    ({ALICES: 'storage.rootless_storage_path = "$HOME/y"\n', "home/bob/y/z": ""}, "home/alice/y"),
])
def test_podmans_storage_is_where_its_configuration_says(nextport, tmp_path, files, place):
    """What lies in the usual place counts beside it: it may be what is left of before."""
    for path, text in files.items():
        put(tmp_path, path, text)
    podman_state(tmp_path / place, shop())
    podman_state(tmp_path / "var/lib/containers/storage", ("blog", {"newPortMappings": [{**PORTS[0], "host_port": 49020}]},
                                                           CONFIGURED))
    used = nextport("used", "--source", "podman", "--root", tmp_path, "--format", "json").json
    assert used["sources"][0]["sight"] == "seen", used
    assert {49000: "shop", 49020: "blog"}.items() <= holders(used["claims"]).items()


@pytest.mark.parametrize("text, why", [("[storage]\ngraphroot = [\n", "storage.conf:2: a value that is not a string"),
                                       ('[storage]\ngraphroot = "/srv/$WHO"\n', "not known here"),
                                       ("no TOML\n", "storage.conf:1: ")])
def test_a_configuration_of_podmans_that_is_not_understood_is_said(nextport, tmp_path, text, why):
    put(tmp_path, ETC, text)
    podman_state(tmp_path / "var/lib/containers/storage", shop())
    used = nextport("used", "--source", "podman", "--root", tmp_path, "--format", "json").json
    assert 49000 in holders(used["claims"])
    assert used["sources"][0]["sight"] == "partial" and why in used["sources"][0]["why"], used


needs_etc = pytest.mark.skipif(not os.path.isdir("/etc/containers"), reason="there is no /etc/containers to mount upon")


@needs_etc
def test_a_storage_of_podmans_that_is_moved_is_noticed_by_the_next_request(machine):
    podman_state(machine.lib / "x", shop())
    assert machine("next").port == 49000
    assert machine("next").port == 49001
    (machine.etc / "storage.conf").write_text('[storage]\ngraphroot = "/var/lib/x"\n')
    assert machine("next").port == 49004


@needs_etc
def test_an_older_database_in_a_moved_storage_is_asked_for_once(machine, engine):
    double = engine(answering({"a1": inspection("shop", bindings(49000))}), "podman/podman.sock")
    (machine.etc / "storage.conf").write_text('[storage]\ngraphroot = "/var/lib/x"\n')
    for storage in ("x", "containers/storage"):
        put(machine.lib, f"{storage}/libpod/bolt_state.db", "")
        claims, seen = machine.claims(source="podman")
        assert holders(claims) == {49000: "shop"} and seen["sight"] == "seen"
        assert double.asked == ["/containers/json?all=1", "/containers/a1/json"]
        double.asked.clear()


def test_a_users_own_configuration_of_podman_is_that_users(machine, open_folder):
    """Root says that there is one, and opens neither it nor what it names."""
    alice = machine.home / "alice"
    put(alice, ".config/containers/storage.conf", '[storage]\ngraphroot = "/var/lib/alices"\n')
    podman_state(machine.lib / "alices", shop())
    for folder, _, names in os.walk(machine.lib.parent):
        os.chmod(folder, 0o755)
    claims, seen = machine.claims(source="podman")
    assert claims == [] and seen["sight"] == "partial" and "of another user" in seen["why"], seen
    plain = {"NEXTPORT_CONFIG": None, "NEXTPORT_LEDGER": None, "HOME": "/home/alice"}
    claims, seen = machine.claims(source="podman", user=65534, env=plain)
    assert {49000, 49010} <= set(holders(claims)) and seen["sight"] == "seen", seen


@pytest.mark.skipif(not (shutil.which("podman") and shutil.which("busybox")), reason="podman or busybox is missing")
def test_podman_itself_and_a_storage_in_another_place(machine, tmp_path):
    (tmp_path / "rootfs/bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), tmp_path / "rootfs/bin")
    (machine.etc / "storage.conf").write_text('[storage]\ndriver = "vfs"\nrunroot = "/run/x"\n'
                                              'graphroot = "/var/lib/elsewhere"\n')
    words = ["podman", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "create", "--name", "shop",
             "--publish", "49321:80", "--rootfs", tmp_path / "rootfs", "/bin/busybox", "true"]
    made = subprocess.run(words, preexec_fn=machine.enter(), timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if made.returncode != 0:
        pytest.skip(f"podman cannot make a container here: {made.stderr.decode()[-300:]}")
    claims, seen = machine.claims(source="podman")
    assert 49321 in holders(claims) or (seen["sight"] == "partial" and "/var/lib/elsewhere/" in seen["why"]), seen


@pytest.mark.skipif(not (shutil.which("podman") and shutil.which("busybox")), reason="podman or busybox is missing")
def test_podman_itself_and_a_container_that_never_ran(machine, tmp_path):
    def podman(*args, **kwargs):
        words = ["podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        return subprocess.run([*words, *args], preexec_fn=machine.enter(), check=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)

    image = tmp_path / "image" / "bin"
    image.mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), image)
    archive = subprocess.run(["tar", "-C", tmp_path / "image", "-c", "."], check=True, stdout=subprocess.PIPE).stdout
    try:
        podman("import", "-", "image:1", input=archive)
        podman("create", "--name", "shop", "--restart", "always", "-p", "49000:80", "-p", "127.0.0.1:49001-49003:81-83",
               "-p", "49000:53/udp", "image:1", "/bin/busybox", "true")
    except subprocess.CalledProcessError as failure:
        pytest.skip(f"podman cannot make a container here: {failure.stderr.decode()[-300:]}")
    (machine.run / "podman").mkdir(exist_ok=True)
    # it says nothing when it is ready, so it is given the socket as systemd would give it
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(machine.run / "podman/podman.sock"))
    listener.listen()

    def activate():
        machine.enter()()
        os.dup2(listener.fileno(), 3)
        os.environ["LISTEN_PID"] = str(os.getpid())
    service = subprocess.Popen(["sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec podman --storage-driver vfs --cgroup-manager '
                                            'cgroupfs --events-backend file system service --time 60'],
                               preexec_fn=activate, pass_fds=[3], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        claims, seen = machine.claims(source="podman")
        assert seen["sight"] == "seen", seen
        assert holders(claims) == dict.fromkeys(range(49000, 49004), "shop")
        assert {claim["protocol"] for claim in claims if claim["first"] == 49000} == {"tcp", "udp"}
        assert machine("next").port == 49004
    finally:
        service.terminate()
        service.wait(timeout=20)
        listener.close()
