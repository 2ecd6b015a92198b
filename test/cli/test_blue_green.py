# SPDX-License-Identifier: MIT
"""doc/blue-green.md, run: the nginx script with a real nginx, the IIS steps on a configuration edited as they do."""
import contextlib
import http.client
import os
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

from conftest import BUILD, ROOT

SCRIPT = ROOT / "examples" / "blue-green" / "nginx-deploy.sh"
DAY = 86400
OWNER = ("--project", "shop", "--environment", "QA")


def deploy_words(deployment, *more):
    return ("next", *OWNER, "--fresh", "--deployment", deployment, "--keep", "2", *more)


def leases(nextport):
    """{deployment: (port, state)}"""
    done = nextport("leases", "--format", "json", *OWNER)
    assert done.status == 0, done
    return {lease["deployment"]: (lease["port"], lease["state"]) for lease in done.json["leases"]}


# ---- nginx ----------------------------------------------------------------------------------------------------------

FRONT = 8080
NGINX = """user root;
worker_processes 1;
pid {0}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {0}/body;
    proxy_temp_path {0}/proxy;
    fastcgi_temp_path {0}/fastcgi;
    uwsgi_temp_path {0}/uwsgi;
    scgi_temp_path {0}/scgi;
    include {0}/conf.d/*.conf;
}}
"""
# Sourced by bash before the script: ends it without a word before its Nth command, or counts its commands.
CRASH = """n=0
crash()
{
    if [[ $BASHPID != "$$" ]]; then return; fi
    n=$((n + 1))
    if [[ $n == "$CRASH_AT" ]]; then kill -KILL $$; fi
    if [[ $CRASH_AT == never ]]; then echo "$n" >"$CRASH_COUNT"; fi
}
set -T
trap crash DEBUG
"""


def soon(true):
    """A worker of nginx that was told to go may take one more connection."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end


def nginx_program():
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if not found:
        pytest.skip("nginx is not installed")
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    return found


class Site:
    """nginx with a folder of its own, and the script that deploys to it."""

    def __init__(self, folder, ledger):
        self.folder, self.configs = folder, folder / "conf.d"
        self.configs.mkdir()
        (folder / "nginx.conf").write_text(NGINX.format(folder))
        (folder / "crash.sh").write_text(CRASH)
        self.nginx = [nginx_program(), "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
        self.env = dict(os.environ, PATH=f"{BUILD}:{os.environ['PATH']}", NEXTPORT_LEDGER=str(ledger),
                        NEXTPORT_CONFIG="/dev/null", LC_ALL="C.UTF-8", CONFIGS=str(self.configs), FRONT=str(FRONT),
                        NGINX_COMMAND=" ".join(self.nginx), SECONDS_TO_DRAIN="0", SECONDS_TO_START="20")

    def content(self, deployment, text=None):
        """What a deployment serves; None: nothing, so that it is not healthy."""
        folder = self.folder / "content" / deployment
        folder.mkdir(parents=True, exist_ok=True)
        if text is not None:
            (folder / "index.html").write_text(text)
        return folder

    def run(self, deployment, folder=None, **env):
        folder = folder or self.content(deployment, deployment)
        return subprocess.run([str(SCRIPT), "shop", "QA", deployment, str(folder)], env={**self.env, **env},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def deploy(self, deployment):
        done = self.run(deployment)
        assert done.returncode == 0, done
        soon(lambda: self.serves() == deployment)
        return self.port(deployment)

    def port(self, deployment):
        block = (self.configs / f"shop.QA.deployment.{deployment}.conf").read_text()
        return int(re.search(r"listen 127\.0\.0\.1:(\d+);", block)[1])

    @staticmethod
    def serves(port=FRONT):
        """What is answered there; None: nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                return answer.read().decode() if answer.status == 200 else None
            except OSError:
                return None

    def blocks(self):
        return sorted(path.name.removeprefix("shop.QA.deployment.").removesuffix(".conf")
                      for path in self.configs.glob("shop.QA.deployment.*.conf"))

    def master(self):
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.folder / "nginx.pid").read_text())
        return None

    def stop(self):
        """The process has ended, and so have those it started, as they hold the other end of a pipe no longer."""
        pid = self.master()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            watched = os.pidfd_open(pid)
            os.kill(pid, signal.SIGTERM)
            assert select.select([watched], [], [], 60)[0], "nginx does not end"
            os.close(watched)


@pytest.fixture
def site(tmp_path, ledger):
    made = Site(tmp_path, ledger)
    yield made
    made.stop()


on_linux = pytest.mark.linux("nginx of this system")


@on_linux
def test_each_deployment_has_a_port_and_the_one_before_goes(nextport, site):
    assert [site.deploy(name) for name in ("D-417", "D-418")] == [49000, 49001]
    assert site.blocks() == ["D-418"]
    soon(lambda: site.serves(49000) is None)
    assert leases(nextport) == {"D-417": (49000, "pending"), "D-418": (49001, "pending")}
    assert nextport("sweep").status == 0
    assert leases(nextport) == {"D-417": (49000, "pending"), "D-418": (49001, "confirmed")}
    assert site.deploy("D-419") == 49002, "49000 rests"
    assert leases(nextport) == {"D-417": (49000, "quarantined"), "D-418": (49001, "confirmed"),
                                "D-419": (49002, "pending")}
    assert nextport("sweep").status == 0
    lease = nextport("leases", "--format", "json", "--deployment", "D-419").json["leases"][0]
    assert (lease["state"], lease["holder"]) == ("confirmed", "sockets: nginx")
    check = nextport("check", "--format", "json")
    assert check.status == 0 and [found for found in check.json["findings"] if found["severity"] == "error"] == [], check


@on_linux
def test_a_deployment_repeated_has_the_same_port_and_serves_all_the_time(nextport, site):
    port = site.deploy("D-417")
    master = site.master()
    assert site.deploy("D-417") == port and site.master() == master
    assert site.blocks() == ["D-417"] and list(leases(nextport)) == ["D-417"]


@on_linux
def test_going_back_finds_the_port_that_the_deployment_had(site):
    before = site.deploy("D-417")
    assert site.deploy("D-418") != before
    assert site.deploy("D-417") == before


@on_linux
def test_what_is_not_healthy_is_not_switched_to(nextport, site):
    site.deploy("D-417")
    failed = site.run("D-418", site.content("D-418"), SECONDS_TO_START="1")
    assert failed.returncode == 1 and "D-418 does not answer on port 49001: what served before serves on" in failed.stderr
    assert site.serves() == "D-417" and site.blocks() == ["D-417"]
    assert leases(nextport)["D-418"] == (49001, "pending"), "it keeps its port for the repetition"
    assert site.deploy("D-418") == 49001


@on_linux
def test_a_failed_repetition_does_not_take_away_what_serves(site):
    site.deploy("D-417")
    (site.content("D-417") / "index.html").unlink()
    failed = site.run("D-417", site.content("D-417"), SECONDS_TO_START="1")
    assert failed.returncode == 1 and site.blocks() == ["D-417"]
    assert site.deploy("D-417") == 49000


@on_linux
def test_a_front_that_cannot_be_opened_is_switched_back(site, holder):
    holder("listen4", FRONT)
    failed = site.run("D-417", SECONDS_TO_START="1")
    assert failed.returncode == 1 and "switched back" in failed.stderr, failed
    assert list(site.configs.glob("*.conf")) == []


@on_linux
def test_no_port_is_no_deployment(site, holder):
    site.deploy("D-417")
    failed = site.run("D-418", NEXTPORT_CONFIG="/nonexistent")
    assert failed.returncode != 0 and site.serves() == "D-417" and site.blocks() == ["D-417"]


@on_linux
@pytest.mark.parametrize("words", [("shop", "QA", "D 1"), ("shop", "", "D-1"), ("sh;op", "QA", "D-1"), ("shop", "QA", "")])
def test_words_that_nginx_would_read_otherwise_are_refused(site, words):
    done = subprocess.run([str(SCRIPT), *words, str(site.folder)], env=site.env, capture_output=True, text=True)
    assert done.returncode == 2 and "are allowed" in done.stderr
    assert list(site.configs.iterdir()) == []


def crash_points(site):
    count = site.folder / "count"
    done = site.run("D-count", BASH_ENV=str(site.folder / "crash.sh"), CRASH_AT="never", CRASH_COUNT=str(count))
    assert done.returncode == 0, done
    total = int(count.read_text())
    assert total > 30
    return range(15, total + 1, max(1, total // 12))


@on_linux
def test_after_a_crash_at_any_line_something_serves_and_a_repetition_succeeds(nextport, site):
    serving, points = "D-count", crash_points(site)
    for i, point in enumerate(points):
        deployment = f"D-{i}"
        crashed = site.run(deployment, BASH_ENV=str(site.folder / "crash.sh"), CRASH_AT=str(point))
        soon(lambda: site.serves() in (serving, deployment))
        leased = leases(nextport).get(deployment)
        port = site.deploy(deployment)
        assert leased is None or leased[0] == port, "the port that the crashed one was promised"
        assert site.blocks() == [deployment]
        assert crashed.returncode in (-signal.SIGKILL, 0)
        serving = deployment
    assert nextport("check").status == 0


@on_linux
def test_a_stopped_nginx_that_nobody_named_is_not_seen_but_its_leases_hold(nextport, site):
    """Its configuration lies in no usual place: what says that the port is taken is the lease."""
    port = site.deploy("D-417")
    assert nextport("sweep").status == 0
    site.stop()
    assert nextport("next").port != port
    claims = nextport("why", port, "--format", "json").json["claims"]
    assert {claim["source"] for claim in claims if not claim["transient"]} == {"ledger"}
    assert site.deploy("D-417") == port


# ---- IIS ------------------------------------------------------------------------------------------------------------

SITES = """<configuration><system.applicationHost><sites>
{}
</sites></system.applicationHost></configuration>
"""
ONE = """<site name="{0}" id="{1}" serverAutoStart="{3}"><bindings>
<binding protocol="http" bindingInformation="127.0.0.1:{2}:" /></bindings></site>"""


class Server:
    """An applicationHost.config, edited as the steps of doc/blue-green.md have it edited."""

    def __init__(self, path, nextport):
        self.path, self.nextport, self.sites = path, nextport, {}
        self.write()

    def write(self):
        rows = [ONE.format(name, i, port, str(started).lower()) for i, (name, (port, started)) in
                enumerate(self.sites.items(), 1)]
        self.path.write_text(SITES.format("\n".join(rows)))

    def run(self, *words):
        return self.nextport(*words, "--iis-config", self.path)

    def deploy(self, deployment, **options):
        """The step, and the site that it makes."""
        done = self.run(*deploy_words(deployment), **options)
        self.set(f"shop-{deployment}", done.port)
        return done

    def set(self, name, port, started=True):
        self.sites[name] = (port, started)
        self.write()

    def stop(self, name):
        self.set(name, self.sites[name][0], False)

    def delete(self, name):
        del self.sites[name]
        self.write()

    def rename(self, old, new):
        self.sites[new] = self.sites.pop(old)
        self.write()


@pytest.fixture
def server(tmp_path, nextport):
    return Server(tmp_path / "applicationHost.config", nextport)


@pytest.fixture
def later(ledger):
    """later(seconds): the ledger as if that much time had passed."""

    def shift(seconds):
        with contextlib.closing(sqlite3.connect(ledger)) as db, db:
            db.execute("UPDATE lease SET created = created - ?, renewed = renewed - ?", (seconds, seconds))
            db.execute("UPDATE lease SET expires = expires - ? WHERE expires > 0", (seconds,))
            db.execute("UPDATE meta SET value = CAST(value AS INTEGER) - ? WHERE key LIKE 'note:looked%'", (seconds,))

    return shift


def test_a_site_for_each_deployment_stopped_and_deleted_in_turn(nextport, server):
    assert server.deploy("417").port == 49000
    assert server.deploy("418").port == 49001
    assert server.run("sweep").status == 0
    server.stop("shop-417")
    assert leases(nextport) == {"417": (49000, "confirmed"), "418": (49001, "confirmed")}
    third = server.deploy("419")
    assert third.port == 49002
    assert "port 49000 of deployment 417 stays leased: shop-417 still uses it" in third.log, "stopped, but configured"
    server.delete("shop-417")
    server.stop("shop-418")
    fourth = server.deploy("420")
    assert fourth.port == 49003 and "port 49000 of deployment 417 is released" in fourth.log
    assert "port 49001 of deployment 418 stays leased" in fourth.log
    assert leases(nextport) == {"417": (49000, "quarantined"), "418": (49001, "confirmed"),
                                "419": (49002, "pending"), "420": (49003, "pending")}


def test_a_step_repeated_has_the_same_port_before_and_after_its_site_is_made(server):
    first = server.run(*deploy_words("417")).port
    assert server.run(*deploy_words("417")).port == first
    server.set("shop-417", first)
    again = server.run(*deploy_words("417"))
    assert again.port == first and "iis: shop-417 has it" in again.log


def test_two_deployments_at_once_never_share_a_port(server):
    assert server.run(*deploy_words("417")).port != server.run(*deploy_words("418")).port


def test_a_deleted_site_gives_its_port_back_by_itself(nextport, server, later):
    server.deploy("417")
    server.deploy("418")
    assert "2 leases were seen in use and confirmed" in server.run("sweep").text
    server.delete("shop-417")
    later(3601)
    done = server.run("sweep")
    assert "1 lease is no longer seen in use and absent now" in done.text
    assert leases(nextport)["417"] == (49000, "absent")
    for _ in range(2):
        later(3601)
        server.run("sweep")
    assert leases(nextport)["417"] == (49000, "absent"), "three looks, but not seven days"
    later(7 * DAY)
    assert "expired port 49000" in server.run("sweep").text
    assert leases(nextport) == {"418": (49001, "confirmed")}


def test_a_renamed_site_is_a_stranger_until_it_is_said_to_be_the_same(nextport, server):
    port = server.deploy("417").port
    assert server.run("sweep").status == 0
    server.rename("shop-417", "shop-new")
    refused = server.run(*deploy_words("417", "--no-move"))
    assert refused.status == 6 and "iis: shop-new has it, and not iis: shop-417" in refused.log
    assert nextport("release", port).status == 0
    assert server.run("assign", port, *OWNER, "--deployment", "417", "--in-use").status == 0
    assert server.run(*deploy_words("417", "--no-move")).port == port
    assert leases(nextport) == {"417": (port, "confirmed")}
