# SPDX-License-Identifier: MIT
"""Measures the release build and prints a Markdown table of ratios. Called by script/bench.

Every figure is the median of runs in turns A B A B. Each `next` of a row does all it does for a user, lease on disk
included; `forget` then takes the row out again, untimed, so that every run meets the same leases. All rows run in
network namespaces of their own and without the servers that are installed, so that they measure nextport and not what else
this machine happens to run.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import stat
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


# ---- The bare machine -----------------------------------------------------------------------------------------------

SERVERS = ("/etc/nginx", "/etc/haproxy", "/etc/apache2", "/etc/httpd", "/etc/docker", "/etc/cni", "/var/lib/docker",
           "/var/lib/containers", "/home")
FILES_OF_SERVERS = ("/etc/default/haproxy", "/usr/lib/systemd/system/haproxy.service",
                    "/etc/systemd/system/haproxy.service")
PROGRAM = pathlib.Path("/usr/bin/podman")


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)


def hide_servers():
    """Takes away what would be read of servers, in the mount namespace that script/bench made: folders and files are empty,
    and the program whose presence counts is whited out of its folder. What systemd has of its own stays."""
    layers = SCRATCH / "layers"
    layers.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "none", layers)
    (layers / "empty").touch()
    for folder in filter(os.path.isdir, SERVERS):
        if pathlib.Path(folder) not in ROOT.parents:
            mount("-t", "tmpfs", "-o", "size=64k", "none", folder)
    for file in filter(os.path.isfile, FILES_OF_SERVERS):
        mount("--bind", layers / "empty", file)
    if PROGRAM.exists():
        upper, work = layers / "upper", layers / "work"
        upper.mkdir()
        work.mkdir()
        os.mknod(upper / PROGRAM.name, stat.S_IFCHR, 0)
        mount("-t", "overlay", "-o", f"lowerdir={PROGRAM.parent},upperdir={upper},workdir={work}", "overlay", PROGRAM.parent)


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

    def __init__(self, words, net=None, after=None, statuses=(0,)):
        self.words, self.net, self.after, self.statuses = words, net, after, statuses

    def spelled(self):
        after = ["+++", *self.after] if self.after else []
        return ["--", *([self.net] if self.net else []), *self.words, *after]


class Figure:
    def __init__(self, line):
        median, ratio, status, memory = line.split()
        self.ms, self.ratio, self.status = float(median) / 1000, float(ratio), int(status)
        self.mib = int(memory) / 1024


def measure(rounds, *runs, parallel=1, out=None):
    """One Figure for each run; ratios are to the first."""
    command = [RELEASE / "test" / "spawn", "--rounds", rounds, "--parallel", parallel, *(["--out", out] if out else [])]
    for run in runs:
        command += run.spelled()
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True)
    figures = [Figure(line) for line in done.stdout.splitlines()]
    for run, figure in zip(runs, figures):
        if figure.status not in run.statuses:
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

    def next(self, net, *more, status=0, first=False):
        """`next`, undone by forgetting what it gives. A released port would rest, and the next run meet it. `first`: nothing
        is known of files that an earlier request has read."""
        words = [NEXTPORT, "next", *self.common, *self.options, *more]
        if status != 0:
            return Run(words, net, statuses=(status,))
        seen = [self.folder / f"ledger.db-seen-{os.geteuid()}"] if first else []
        return Run(words, net, after=[RELEASE / "test" / "forget", self.folder / "ledger.db", self.newest(), *seen])

    def again(self, net, *more):
        """`next` of an owner that has its port already."""
        words = [*self.options, "--project", "again", *more]
        self.call(net, "next", "--quiet", *words)
        return Run([NEXTPORT, "next", *self.common, *words], net)

    def newest(self):
        """The number of the newest lease."""
        file = self.folder / "ledger.db"
        if not file.exists():
            return 0
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return database.execute("SELECT ifnull(max(id), 0) FROM lease").fetchone()[0]

    def fill(self, net, leases):
        for _ in range(leases // 100):
            self.call(net, "next", "--quiet", "--count", 100)

    def write_history(self, net, leases, events):
        """Confirmed leases of as many owners, looked at just now, and their history, as years would leave it."""
        self.call(net, "next", "--quiet", "--project", "first")
        with contextlib.closing(sqlite3.connect(self.folder / "ledger.db", isolation_level=None)) as database:
            database.executescript(HISTORY.format(first=FIRST, last=FIRST + leases - 1, times=events // leases))


# The row that is there says how a lease of this namespace looks.
HISTORY = """
BEGIN;
CREATE TEMP TABLE port AS
    WITH RECURSIVE n(port) AS (SELECT {first} UNION ALL SELECT port + 1 FROM n WHERE port < {last})
    SELECT port FROM n WHERE port NOT IN (SELECT port FROM lease);
INSERT INTO lease(host, scope, port, protocol, owner_key, labels, deployment, name, ordinal, state, holder, created,
        renewed, expires, process, looks, rev)
    SELECT host, scope, port.port, protocol, 'project=app ' || port.port, 'project=App ' || port.port, '', 'Port', 0,
        'confirmed', 'iis: App ' || port.port, created, renewed, 0, NULL, 0, {times} FROM lease, port;
CREATE TEMP TABLE turn AS WITH RECURSIVE n(turn) AS (SELECT 1 UNION ALL SELECT turn + 1 FROM n WHERE turn < {times})
    SELECT turn FROM n;
INSERT INTO event(time, kind, lease, port, name, user, host, program, request, owner, before, detail)
    SELECT renewed, CASE WHEN turn = 1 THEN 'granted' ELSE 'kept' END, id, port, name, 'root', 'bench', 'nextport',
        'next --project App', labels, CASE WHEN turn > 1 THEN json END, json
    FROM turn, (SELECT *, json_object('id', id, 'host', host, 'scope', scope, 'port', port, 'protocol', protocol,
        'labels', labels, 'owner_key', owner_key, 'deployment', deployment, 'name', name, 'ordinal', ordinal,
        'state', state, 'holder', holder, 'created', created, 'renewed', renewed, 'expires', expires,
        'process', process, 'looks', looks, 'rev', rev) AS json FROM lease WHERE holder NOT NULL) ORDER BY turn, id;
COMMIT;
"""


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
    run, first = Ledger("whole").next(idle), Ledger("whole-first").next(idle, first=True)
    append = Run([RELEASE / "test" / "append", SCRATCH / "appended"], idle)
    return [*compare(rounds, "`nextport next`, lease on disk", run, Run([EMPTY], idle), "empty static program", 3),
            *compare(rounds, "the same", run, append, "static program that appends a line and syncs it"),
            *compare(rounds, "the first time, when every file is read", first, Run([EMPTY], idle), "empty static program")]


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


def iis_file(folder, size=0, at_least=0):
    """An applicationHost.config of this many bytes and sites, one port of the pool for each site."""
    sites, length, number = [], 0, 0
    while length < size or number < at_least:
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
    place = ledger.folder / "iis"  # not beside the ledger, whose folder changes with each request
    place.mkdir()
    path, sites = iis_file(place, 200 * 1024)
    ledger.options = ["--iis-config", path]
    none = Ledger("iis-none")
    return [*compare(rounds, f"IIS file of 200 KB, {sites} sites, the first time", ledger.next(idle, first=True),
                     none.next(idle, first=True), "no IIS file", 2),
            *compare(rounds, "the same again, when it has not changed", ledger.next(idle), none.next(idle), "no IIS file")]


def nat(rounds, idle):
    """Rules as a container engine writes them, one for each port, beyond the pool so that both runs give the same port."""
    base = Ledger("nat-none").next(idle)
    with population("nothing") as busy:
        rules = "".join(f"tcp dport {port} dnat to 172.17.0.2:80\n" for port in range(1000, 2000))
        subprocess.run(["nsenter", f"--net={busy[1:]}", "nft", "-f", "-"], check=True, text=True, input=(
            "table ip nat {\nchain pre {\ntype nat hook prerouting priority -100\n" + rules + "}\n}\n"))
        return compare(rounds, "1,000 NAT rules", Ledger("nat").next(busy), base, "none")


def stopped_containers(root, number):
    """The files of Docker for this many stopped containers, one port of the pool for each; as many bytes as it writes."""
    shutil.rmtree(root, ignore_errors=True)
    for i in range(number):
        folder = root / f"var/lib/docker/containers/{i:064x}"
        folder.mkdir(parents=True)
        filler = {f"Key{j}": None for j in range(80)}
        ports = {"80/tcp": [{"HostIp": "", "HostPort": str(FIRST + i)}]}
        (folder / "hostconfig.json").write_text(json.dumps({
            "NetworkMode": "default", "PortBindings": ports, **filler,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "PublishAllPorts": False}))
        (folder / "config.v2.json").write_text(json.dumps({
            "State": {"Running": False, "StartedAt": "0001-01-01T00:00:00Z"}, **filler,
            "NetworkSettings": {"Ports": None}, "Name": f"/shop-{i}"}))
    root.mkdir(parents=True, exist_ok=True)
    return root


def containers(rounds, idle):
    ledger = Ledger("containers")

    def dry(number):
        root = stopped_containers(SCRATCH / f"root-{number}", number)
        return Run([NEXTPORT, "next", "--dry-run", *ledger.common, "--root", root], idle)

    rows = []
    for number in (100, 1000, 4000):
        rows += compare(max(5, rounds // 5), f"`next --dry-run`, {number:,} stopped containers", dry(number), dry(0),
                        "no container")
    return rows


def nginx_files(folder, servers):
    """nginx.conf and a file for each server, one port of the pool for each of them, and the list of all the files."""
    sites = folder / "sites"
    sites.mkdir()
    main = folder / "nginx.conf"
    main.write_text("events { worker_connections 1024; }\nhttp {\n    include sites/*.conf;\n}\n")
    files = [main]
    for number in range(servers):
        files.append(sites / f"shop{number:05}.conf")
        files[-1].write_text(VHOST.replace("NAME", f"shop{number}").replace("PORT", str(FIRST + number)))
    names = folder / "files"
    names.write_text("".join(f"{file}\n" for file in files))
    return main, names


VHOST = """# NAME
server {
    listen PORT ssl;
    listen 127.0.0.1:PORT;
    server_name NAME.example.org www.NAME.example.org;
    root /srv/www/NAME/current/public;
    access_log /var/log/nginx/NAME.access.log;
    location / {
        try_files $uri $uri/ @app;
    }
    location @app {
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_pass http://127.0.0.1:8080;
    }
    location ~ "\\.(css|js|png)$" {
        expires 30d;
        return 200 "listen 9999; }";
    }
}
"""


def nginx(rounds, idle):
    """Reading what 5,000 servers declare against only reading the same files."""
    servers, ledger = 5000, Ledger("nginx")
    main, names = nginx_files(ledger.folder, servers)
    look = [NEXTPORT, "next", "--dry-run", *ledger.common, "--nginx-config", main]
    plain = [NEXTPORT, "next", "--dry-run", *Ledger("nginx-none").common]
    again = Ledger("nginx-again")
    again.options = ["--nginx-config", main]
    one, two, bare, three = measure(max(5, rounds // 5), Run([RELEASE / "test" / "read", names], idle), Run(look, idle),
                                    Run(plain, idle), again.next(idle))
    return [row(f"{servers} nginx servers in {servers + 1} files", ms(two.ms), f"`read` of the same files: {ms(one.ms)}",
                two.ratio, 4),
            row("the same, in memory", f"{two.mib:.1f} MiB", f"no nginx: {bare.mib:.1f} MiB", two.mib / bare.mib),
            row("`next` again, when none has changed", ms(three.ms), f"`read` of the same files: {ms(one.ms)}", three.ratio),
            row("the same, in memory (the first time included)", f"{three.mib:.1f} MiB", f"no nginx: {bare.mib:.1f} MiB",
                three.mib / bare.mib)]


FRONTEND = """frontend NAME
    bind 127.0.0.1:PORT
    bind :PORT ssl crt /etc/haproxy/certs/NAME.pem alpn h2,http/1.1
    mode http
    acl is_api path_beg /api
    http-request set-header X-Forwarded-Proto https
    use_backend NAME_api if is_api
    default_backend NAME

backend NAME
    server one 10.0.0.1:8080 check
    server two 10.0.0.2:8080 check

"""


def haproxy(rounds, idle):
    """Reading one file of 5,000 frontends against only reading the same file."""
    frontends, ledger = 5000, Ledger("haproxy")
    main, names = ledger.folder / "haproxy.cfg", ledger.folder / "files"
    main.write_text("global\n    maxconn 4096\n\ndefaults\n    timeout client 30s\n\n"
                    + "".join(FRONTEND.replace("NAME", f"shop{number}").replace("PORT", str(FIRST + number))
                              for number in range(frontends)))
    names.write_text(f"{main}\n")
    look = [NEXTPORT, "next", "--dry-run", *ledger.common, "--haproxy-config", main]
    plain = [NEXTPORT, "next", "--dry-run", *Ledger("haproxy-none").common]
    one, two, bare = measure(max(5, rounds // 5), Run([RELEASE / "test" / "read", names], idle), Run(look, idle),
                             Run(plain, idle))
    return [row(f"{frontends} HAProxy frontends in one file", ms(two.ms),
                f"`read` of it: {ms(one.ms)}; without it: {ms(bare.ms)}", two.ratio),
            row("the same, in memory", f"{two.mib:.1f} MiB", f"no frontends: {bare.mib:.1f} MiB", two.mib / bare.mib)]


def unit_files(root, sockets, services):
    """A machine's root with units, one port of the pool for each socket and every tenth service, and the list of the files."""
    folder = root / "usr" / "lib" / "systemd" / "system"
    wants = root / "etc" / "systemd" / "system" / "sockets.target.wants"
    folder.mkdir(parents=True)
    wants.mkdir(parents=True)
    files = []
    for number in range(sockets):
        files.append(folder / f"listen{number}.socket")
        files[-1].write_text(f"[Unit]\nDescription=Listener {number}\n\n[Socket]\nListenStream={FIRST + number}\n"
                             "Accept=no\n\n[Install]\nWantedBy=sockets.target\n")
        (wants / files[-1].name).symlink_to(f"/usr/lib/systemd/system/{files[-1].name}")
    for number in range(services):
        files.append(folder / f"serve{number}.service")
        port = f"Environment=PORT={FIRST + sockets + number}\n" if number % 10 == 0 else ""
        files[-1].write_text(f"[Unit]\nDescription=Service {number}\nAfter=network.target\n\n[Service]\nType=simple\n"
                             f"User=www-data\n{port}ExecStart=/srv/serve{number}/bin/serve --config /etc/serve{number}\n"
                             "Restart=on-failure\nProtectSystem=strict\nPrivateTmp=yes\nNoNewPrivileges=yes\n\n"
                             "[Install]\nWantedBy=multi-user.target\n")
    names = root.parent / "files"
    names.write_text("".join(f"{file}\n" for file in files))
    return names


def systemd(rounds, idle):
    """Reading what the units of a server declare against only reading the same files."""
    sockets, services, ledger = 30, 270, Ledger("systemd")
    root = ledger.folder / "root"
    names = unit_files(root, sockets, services)
    look = [NEXTPORT, "next", "--dry-run", *ledger.common, "--root", root]
    one, two, bare = measure(rounds, Run([RELEASE / "test" / "read", names], idle), Run(look, idle),
                             Run([*look, "--policy", "systemd=off"], idle))
    return [row(f"{sockets + services} units of systemd, {sockets} of them sockets", ms(two.ms),
                f"`read` of the same files: {ms(one.ms)}", two.ratio, 4),
            row("the same", ms(two.ms), f"without units: {ms(bare.ms)}", two.ms / bare.ms)]


def apache_files(folder, vhosts):
    """httpd.conf and a file for each virtual host, one port of the pool for each of them, and the list of all the files."""
    sites = folder / "sites"
    sites.mkdir()
    main = folder / "httpd.conf"
    main.write_text(f"ServerRoot {folder}\nIncludeOptional sites/*.conf\n")
    files = [main]
    for number in range(vhosts):
        files.append(sites / f"shop{number:05}.conf")
        files[-1].write_text(f"Listen {FIRST + number} https\n<VirtualHost *:{FIRST + number}>\n"
                             f"    ServerName shop{number}.example.org\n    ServerAlias www.shop{number}.example.org\n"
                             f"    DocumentRoot /srv/www/shop{number}\n    <Directory /srv/www/shop{number}>\n"
                             "        Require all granted\n    </Directory>\n</VirtualHost>\n")
    names = folder / "files"
    names.write_text("".join(f"{file}\n" for file in files))
    return main, names


def apache(rounds, idle):
    """Reading what 500 virtual hosts declare against only reading the same files."""
    vhosts, ledger = 500, Ledger("apache")
    main, names = apache_files(ledger.folder, vhosts)
    look = [NEXTPORT, "next", "--dry-run", *ledger.common, "--apache-config", main]
    one, two = measure(max(5, rounds // 5), Run([RELEASE / "test" / "read", names], idle), Run(look, idle))
    return [row(f"{vhosts} Apache virtual hosts in {vhosts + 1} files", ms(two.ms),
                f"`read` of the same files: {ms(one.ms)}", two.ratio, 4)]


def leases(rounds, idle):
    ledger = Ledger("leases")
    ledger.fill(idle, 10000)
    return compare(rounds, "10,000 leases", ledger.next(idle), Ledger("leases-none").next(idle), "empty ledger", 1.5)


def history(rounds, idle):
    ledger = Ledger("history")
    ledger.write_history(idle, 10000, 100000)
    owner = ("--project", "bench")
    return compare(rounds, "an owner, 10,000 leases and 100,000 events", ledger.next(idle, *owner),
                   Ledger("history-none").next(idle, *owner), "empty ledger", 1.5)


def kept(rounds, idle):
    return compare(rounds, "an owner's port again", Ledger("kept").again(idle),
                   Ledger("kept-fresh").next(idle, "--project", "bench"), "a fresh port for an owner")


def check(rounds, idle):
    say("building 10,000 established sockets")
    ledger = Ledger("check")
    path, sites = iis_file(ledger.folder, at_least=2000)
    options = [*ledger.common, "--iis-config", path]
    with population("established", 10000) as busy:
        # the sockets' listener may have the port of a site, which is a finding
        return compare(max(5, rounds // 5), f"`nextport check`, {sites} IIS sites, 10,000 sockets",
                       Run([NEXTPORT, "check", *options], busy, statuses=(0, 6)), Run([NEXTPORT, "used", *options], busy),
                       "`nextport used`", 10)


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


ROWS = {name.__name__: name for name in (whole, kept, sockets, iis, nginx, apache, haproxy, systemd, nat, containers,
                                          leases, history, check, processes, full, parallel, peers)}


def main():
    asked = argparse.ArgumentParser(prog="script/bench", description="Measures nextport; prints a table of ratios.")
    asked.add_argument("--rounds", type=int, default=101, help="runs of each command (default: 101)")
    asked.add_argument("--only", action="append", choices=ROWS, metavar="NAME", help=f"one of {', '.join(ROWS)}")
    options = asked.parse_args()
    # an administrator's settings must not steer the figures
    for name in [name for name in os.environ if name.startswith("NEXTPORT_")]:
        del os.environ[name]
    SCRATCH.mkdir(parents=True, exist_ok=True)
    hide_servers()
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
