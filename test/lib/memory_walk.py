# SPDX-License-Identifier: MIT
"""Changes a machine's configurations at random and asks after each change with what was seen before, and without: both
answers must be the same. Run in a mount namespace of its own by test/cli/test_memory_walk.py:

    memory_walk.py PROGRAM SEED STEPS USER      USER: root or nobody
"""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

NOBODY = 65534
HIDDEN = ("/run", "/home", "/root", "/var/lib", "/usr/local", "/srv", "/mnt")
OF_SERVERS = ("nginx", "haproxy", "apache2", "systemd", "containers", "docker", "alternatives", "ssl")
SIGNS = ("/usr/local/sbin/haproxy", "/usr/local/sbin/nginx", "/var/lib/containers")

# folder: the names of its files
MACHINE = {
    "/etc/nginx": ["nginx.conf", "later.conf", "other.conf"],
    "/etc/nginx/sites-available": ["a.conf", "b.conf"],
    "/etc/nginx/sites-enabled": ["a.conf", "b.conf", "c"],
    "/usr/local/nginx/conf": ["nginx.conf"],
    "/etc/haproxy": ["haproxy.cfg", "more.cfg"],
    "/etc/haproxy/conf.d": ["a.cfg", "b.cfg"],
    "/etc/apache2": ["apache2.conf", "ports.conf", "envvars", "flag"],
    "/etc/apache2/sites-enabled": ["a.conf", "b.conf"],
    "/etc/systemd/system": ["shop.socket", "shop.service", "shop@.socket", "shop@49017.socket", "haproxy.service"],
    "/etc/systemd/system/shop.socket.d": ["10.conf", "20.conf"],
    "/etc/systemd/system/sockets.target.wants": ["shop.socket", "shop@49018.socket"],
    "/run/systemd/system": ["shop.socket", "web.service"],
    "/etc/systemd/user": ["shop.socket"],
    "/root/.config/systemd/user": ["shop.socket"],
    "/etc/containers/systemd": ["a.container", "b.container"],
    "/var/lib/docker/containers/abc": ["hostconfig.json", "config.v2.json"],
    "/srv/data/containers/def": ["hostconfig.json", "config.v2.json"],
    "/etc/docker": ["daemon.json"],
}


class Walk:
    def __init__(self, program, seed, user):
        self.dice, self.user, self.steps = random.Random(seed), user, []
        self.home = pathlib.Path("/home/walk")
        self.home.mkdir(mode=0o700)
        self.program = self.home.with_name("nextport")
        shutil.copy(program, self.program)
        self.ledger = self.home / "ledger.db"
        self.seen = self.home / f"ledger.db-seen-{0 if user == 'root' else NOBODY}"
        if user != "root":
            os.chown(self.home, NOBODY, NOBODY)
        for folder in MACHINE:
            os.makedirs(folder, exist_ok=True)

    # ---- The machine ----

    def port(self):
        return 49000 + self.dice.randrange(30)

    def content(self, folder, name):
        port = self.port()
        if name == "envvars":
            return f"export P={port}\n"
        if name == "daemon.json":
            return json.dumps({"data-root": self.dice.choice(["/var/lib/docker", "/srv/data"])})
        if name.endswith(".json"):
            return json.dumps({"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": str(port)}]}, "Name": "/c"})
        if name in ("nginx.conf", "other.conf"):
            return f"events {{}} http {{ include sites-enabled/*; include later.conf; server {{ listen {port}; }} }}\n"
        if "nginx" in folder:
            return f"server {{ listen {port}; }}\n"
        if "haproxy" in folder:
            return f"frontend f\n bind :{port}\n"
        if name == "apache2.conf":
            return f"Listen {port}\nIncludeOptional sites-enabled/*.conf\nInclude ports.conf\n"
        if "apache2" in folder:
            return self.dice.choice([f"Listen {port}\n", "Listen ${P}\n",
                                     f"<IfFile /etc/apache2/flag>\nListen {port}\n</IfFile>\n"])
        if name.endswith(".container"):
            return f"[Container]\nImage=x\nPublishPort={port}:80\n"
        return self.dice.choice([f"[Socket]\nListenStream={port}\n", "[Socket]\nListenStream=%i\n",
                                 f"[Service]\nEnvironment=PORT={port}\n",
                                 "[Service]\nEnvironmentFile=-/etc/apache2/envvars\n",
                                 "[Service]\nExecStart=/usr/sbin/nginx -c /etc/nginx/other.conf\n",
                                 "[Service]\nExecStart=/usr/sbin/haproxy -f /etc/haproxy/more.cfg\n", ""])

    def any(self):
        folder = self.dice.choice(list(MACHINE))
        return folder, self.dice.choice(MACHINE[folder])

    def write(self, folder, name):
        pathlib.Path(folder, name).write_text(self.content(folder, name))

    def replace(self, folder, name):
        pathlib.Path(folder, ".new").write_text(self.content(folder, name))
        os.rename(f"{folder}/.new", f"{folder}/{name}")

    def rewrite_in_place(self, folder, name):
        """With the size, as it may be, and the date of before."""
        before = os.stat(f"{folder}/{name}")
        with open(f"{folder}/{name}", "r+") as file:
            file.write(self.content(folder, name))
        os.utime(f"{folder}/{name}", ns=(before.st_atime_ns, before.st_mtime_ns))

    def remove(self, folder, name):
        os.unlink(f"{folder}/{name}")

    def link(self, folder, name):
        target = self.dice.choice(["/".join(self.any()), self.any()[1], "/dev/null", name])
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder}/{name}")
        os.symlink(target, f"{folder}/{name}")

    def rename(self, folder, name):
        names = [f"{folder}/{name}", f"{folder}/{name}.off"]
        os.rename(*(names if os.path.lexists(names[0]) else reversed(names)))

    def move_folder(self, folder, _):
        names = [folder, f"{folder}.off"]
        os.rename(*(names if os.path.lexists(names[0]) else reversed(names)))

    def close(self, folder, name):
        what = self.dice.choice([folder, f"{folder}/{name}"])
        os.chmod(what, self.dice.choice([0o700, 0o755, 0o755]))

    def sign(self, _folder, _name):
        sign = pathlib.Path(self.dice.choice(SIGNS))
        if sign.is_file():
            sign.unlink()
        elif not sign.exists():
            sign.parent.mkdir(parents=True, exist_ok=True)
            sign.touch()

    CHANGES = {write: 5, replace: 2, rewrite_in_place: 2, remove: 1, link: 2, rename: 2, move_folder: 1, close: 2, sign: 1}

    def change(self):
        change, = self.dice.choices(list(self.CHANGES), list(self.CHANGES.values()))
        folder, name = self.any()
        with contextlib.suppress(OSError):
            change(self, folder, name)
            self.steps.append(f"{change.__name__} {folder}/{name}")

    # ---- The requests ----

    def ask(self, *words):
        """What is seen is the answer, whatever a source then makes of it: a bad sighting shall not end it."""
        policies = [word for source in ("nginx", "apache", "haproxy", "systemd", "quadlet", "docker", "podman")
                    for word in ("--policy", f"{source}=warn")]
        as_user = dict(user=NOBODY, group=NOBODY, extra_groups=[]) if self.user != "root" else {}
        done = subprocess.run([self.program, "next", "--ledger", self.ledger, "--format", "json", "-v", *policies, *words],
                              env={"HOME": str(self.home)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, cwd="/", **as_user)
        return done.returncode, re.sub(r'"expires":\d+', "", done.stdout), done.stderr

    def compare(self):
        with_memory = self.ask("--dry-run", "--range", "49000-49200")
        with contextlib.suppress(FileNotFoundError):
            self.seen.rename(self.home / "away")
        without = self.ask("--dry-run", "--range", "49000-49200")
        with contextlib.suppress(FileNotFoundError):
            (self.home / "away").rename(self.seen)
        if with_memory != without:
            steps = "\n".join(self.steps[-12:])
            sys.exit(f"with what was seen before:\n{with_memory}\nwithout:\n{without}\nafter:\n{steps}")


def hide_the_machine():
    """Nothing of what follows may reach it: every folder above what is changed is another one here."""
    for folder in HIDDEN:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder], check=True)
    shutil.copytree("/etc", "/mnt/etc", symlinks=True, ignore=shutil.ignore_patterns(*OF_SERVERS))
    subprocess.run(["mount", "--bind", "/mnt/etc", "/etc"], check=True)


def main():
    program, seed, steps, user = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    hide_the_machine()
    walk = Walk(program, seed, user)
    remembered = 0
    for _ in range(steps):
        for _ in range(walk.dice.randrange(3)):
            walk.change()
        if walk.dice.random() < 0.7:  # takes what was seen for true, looks whether it was, and leaves what it saw
            status, _, log = walk.ask("--range", "52000-65000")
            if status:
                sys.exit(f"status {status}: {log}")
        remembered += walk.seen.exists()
        walk.compare()
    print(remembered)


main()
