# SPDX-License-Identifier: MIT
"""What one request leaves for the next: what did not change is not read again, and whatever did is noticed."""
import contextlib
import ctypes
import json
import os
import shutil
import stat
import struct
import subprocess
import time

import pytest

from conftest import SITE, has_open, locked

pytestmark = pytest.mark.linux("nothing is kept on Windows")

IN_OPEN = 0x20
libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def watching(*folders):
    """Gives a function that lists the names in these folders that anybody has opened since."""
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0 and all(libc.inotify_add_watch(fd, os.fsencode(folder), IN_OPEN) >= 0 for folder in folders)

    def opened():
        names, events = set(), b""
        with contextlib.suppress(BlockingIOError):
            while True:
                events += os.read(fd, 65536)
        while events:
            length = struct.unpack_from("iIII", events)[3]
            names.add(events[16:16 + length].rstrip(b"\0").decode())
            events = events[16 + length:]
        return sorted(names - {""})

    try:
        yield opened
    finally:
        os.close(fd)


def taken_by(done, source):
    """The ports of a source that an answer passed over."""
    assert done.status == 0, done
    return {port for row in done.json["rejected"] if row["source"] == source
            for port in range(row["first"], row["last"] + 1)}


class Machine:
    """An nginx.conf with a folder of sites, and the requests beside them."""

    def __init__(self, nextport, ledger, folder):
        self.nextport, self.ledger, self.main, self.sites = nextport, ledger, folder / "nginx.conf", folder / "sites"
        self.sites.mkdir()
        self.main.write_text("events { }\nhttp { include sites/*.conf; }\n")
        self.seen = ledger.with_name(f"{ledger.name}-seen-{os.geteuid()}")
        # an answer names what it passed over: the sites' ports among these, which are leased as well
        assert nextport("next", "--count", 10).status == 0

    def site(self, name, port):
        (self.sites / f"{name}.conf").write_text(f"server {{ listen {port}; }}\n")

    def ask(self, *more):
        """One more port; returns those of the sites, as this request saw them."""
        done = self.nextport("next", "--format", "json", "--nginx-config", self.main, *more)
        taken = taken_by(done, "nginx")
        assert done.json["ports"][0]["port"] not in taken
        return taken

    def settle(self):
        """Asks until what is there is old enough to be remembered: times of files have no finer grain. Returns what the
        last request saw, which read nothing."""
        for _ in range(200):
            with watching(self.main.parent, self.sites) as opened:
                taken = self.ask()
                if not set(opened()) & {self.main.name, *os.listdir(self.sites)}:
                    return taken
            time.sleep(0.01)
        raise AssertionError("everything is read again and again")


@pytest.fixture
def machine(nextport, ledger, tmp_path):
    return Machine(nextport, ledger, tmp_path)


def replace(machine):
    """As a deployment tool does: a new file in the place of the old one."""
    new = machine.sites / "new"
    new.write_text("server { listen 49001; }\n")
    new.rename(machine.sites / "a.conf")


def rewrite_with_the_same_size_and_times(machine):
    file = machine.sites / "a.conf"
    before = file.stat()
    file.write_text("server { listen 49001; }\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def retarget(machine):
    other = machine.sites / "other"
    other.write_text("server { listen 49001; }\n")
    (machine.sites / "a.conf").unlink()
    (machine.sites / "a.conf").symlink_to("other")


def include_another(machine):
    machine.main.write_text("events { }\nhttp { server { listen 49001; } }\n")


def add_what_was_missing(machine):
    machine.main.write_text("events { }\nhttp { include later.conf; }\n")
    machine.settle()
    (machine.main.parent / "later.conf").write_text("server { listen 49001; }\n")


def exchange_the_folder(machine):
    machine.sites.rename(machine.sites.with_name("old"))
    machine.sites.mkdir()
    machine.site("b", 49001)


@pytest.mark.parametrize("change, expected", [
    (lambda machine: machine.site("a", 49001), {49001}),
    (lambda machine: machine.site("b", 49001), {49000, 49001}),
    (lambda machine: (machine.sites / "a.conf").unlink(), set()),
    (lambda machine: (machine.sites / "a.conf").rename(machine.sites / "a.off"), set()),
    (replace, {49001}),
    (rewrite_with_the_same_size_and_times, {49001}),
    (retarget, {49001}),
    (include_another, {49001}),
    (add_what_was_missing, {49001}),
    (exchange_the_folder, {49001}),
])
def test_a_change_is_noticed_at_once_and_nothing_else_is_read_again(machine, change, expected):
    machine.site("a", 49000)
    assert machine.settle() == {49000}
    change(machine)
    assert machine.ask() == expected
    assert machine.settle() == expected


def test_a_source_that_changed_costs_no_other_one_its_memory(machine, tmp_path):
    machine.site("a", 49000)
    iis = tmp_path / "iis"
    iis.mkdir()
    (iis / "applicationHost.config").write_text(SITE.format("Shop", 49001))
    more = ("--iis-config", iis / "applicationHost.config")
    for _ in range(200):
        with watching(iis) as opened:
            machine.ask(*more)
            if not opened():
                break
        time.sleep(0.01)
    machine.site("a", 49002)
    with watching(iis, machine.sites) as opened:
        machine.ask(*more)
        assert opened() == ["a.conf"]


def test_whoever_wants_the_whole_picture_reads_everything(machine):
    machine.site("a", 49000)
    machine.settle()
    for command in (["used"], ["free"], ["why", "49000"], ["check"], ["doctor"]):
        with watching(machine.sites) as opened:
            machine.nextport(*command, "--nginx-config", machine.main)
            assert opened() == ["a.conf"], command


def test_a_dry_run_reads_what_changed_and_leaves_nothing(machine):
    machine.site("a", 49000)
    machine.settle()
    before = machine.seen.read_bytes()
    assert machine.ask("--dry-run") == {49000}
    machine.site("a", 49001)
    assert machine.ask("--dry-run") == {49001}
    assert machine.seen.read_bytes() == before


def test_what_changes_while_the_lock_is_waited_for_counts(machine, program, ledger, tmp_path):
    machine.site("a", 49000)
    machine.settle()
    with locked(ledger):
        child = subprocess.Popen([program, "next", "--nginx-config", machine.main, "--format", "json"], text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=dict(os.environ, NEXTPORT_LEDGER=str(ledger),
                                          NEXTPORT_CONFIG=str(tmp_path / "nextport.conf")))
        while not has_open(child.pid, f"{ledger}-lock"):
            assert child.poll() is None
            time.sleep(0.001)
        machine.site("b", 49500)
        machine.site("a", "49000-49499")
    out, log = child.communicate(timeout=60)
    assert child.returncode == 0, log
    assert json.loads(out)["ports"][0]["port"] > 49500


def test_a_condition_that_asks_for_a_file_is_asked_again(nextport, tmp_path):
    """Apache's <IfFile> reads nothing of the file, and follows links to it."""
    flag, target, main = tmp_path / "flag", tmp_path / "maintenance", tmp_path / "httpd.conf"
    main.write_text(f'ServerRoot {tmp_path}\n<IfFile "{flag}">\nListen 49000\n</IfFile>\nListen 49001\n')
    target.touch()
    flag.symlink_to(target)

    def taken():
        return taken_by(nextport("next", "--apache-config", main, "--format", "json"), "apache")

    assert nextport("next", "--count", 10).status == 0
    for _ in range(4):
        assert taken() == {49000, 49001}
        time.sleep(0.01)
    target.unlink()
    assert taken() == {49001}
    target.touch()
    assert taken() == {49000, 49001}


def test_what_comes_to_where_a_user_may_not_look_is_said(as_nobody, open_folder):
    main = open_folder / "nginx.conf"
    main.write_text("events { }\nhttp { include later/*.conf; }\n")
    home = open_folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    words = ("next", "--ledger", home / "ledger.db", "--nginx-config", main)
    for _ in range(4):
        assert b"permission denied" not in as_nobody(*words, HOME=home).err
        time.sleep(0.01)
    (open_folder / "later").mkdir(mode=0o700)
    assert b"permission denied" in as_nobody(*words, HOME=home).err


def test_other_settings_are_other_eyes(machine, tmp_path):
    machine.site("a", 49000)
    machine.settle()
    other = tmp_path / "other.conf"
    other.write_text("events { }\nhttp { server { listen 49001; } }\n")
    for _ in range(3):
        assert machine.ask("--nginx-config", other) == {49000, 49001}
        assert machine.ask() == {49000}


def test_a_bad_memory_is_no_memory(machine):
    machine.site("a", 49000)
    machine.settle()
    good = machine.seen.read_bytes()
    flipped = bytearray(good)
    for at in range(0, len(good), max(1, len(good) // 60)):
        flipped[at] ^= 0xff
    bad = [b"", b"\0", b"nextport", bytes(flipped), os.urandom(len(good)), good + b"x"]
    bad += [good[:length] for length in range(1, len(good), max(1, len(good) // 25))]
    bad += [good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1:] for at in range(0, len(good), max(1, len(good) // 25))]
    for content in bad:
        machine.seen.write_bytes(content)
        assert machine.ask() == {49000}
    assert machine.settle() == {49000}


def test_nobody_but_its_reader_may_have_written_it(machine, tmp_path):
    """A memory that says what it does not know would hide a site from whoever believes it."""
    machine.settle()
    without = tmp_path / "without"
    shutil.copy2(machine.seen, without)
    machine.site("a", 49000)
    assert machine.settle() == {49000}

    def refused(put):
        with contextlib.suppress(FileNotFoundError):
            machine.seen.unlink()
        put()
        with watching(machine.sites) as opened:
            assert machine.ask() == {49000}
            assert opened() == ["a.conf"]

    kept = tmp_path / "kept"
    shutil.copy2(machine.seen, kept)
    refused(lambda: machine.seen.symlink_to(kept))
    refused(lambda: (shutil.copy2(kept, machine.seen), machine.seen.chmod(0o660)))
    refused(lambda: (shutil.copy2(kept, machine.seen), machine.seen.chmod(0o602)))
    refused(lambda: os.mkfifo(machine.seen))
    if os.geteuid() == 0:
        refused(lambda: (shutil.copy2(kept, machine.seen), os.chown(machine.seen, 65534, -1)))
    refused(lambda: shutil.copy2(without, machine.seen))  # true once: its times tell that it is not any more


def test_it_is_closed_to_others_and_a_half_written_one_is_not_left(machine):
    machine.site("a", 49000)
    machine.seen.with_name(f"{machine.seen.name}-new").write_text("of a request that was killed")
    machine.settle()
    assert stat.S_IMODE(machine.seen.stat().st_mode) == 0o600
    assert sorted(path.name for path in machine.seen.parent.glob("*-seen-*")) == [machine.seen.name]


def test_where_it_cannot_be_kept_a_port_is_given_all_the_same(machine):
    machine.site("a", 49000)
    machine.ask()
    with contextlib.suppress(FileNotFoundError):
        machine.seen.unlink()
    machine.seen.mkdir()
    machine.seen.with_name(f"{machine.seen.name}-new").mkdir()
    for _ in range(3):
        assert machine.ask() == {49000}


def test_each_user_has_one_of_its_own(as_nobody, open_folder):
    """What one user may read another may not."""
    private = open_folder / "nginx.conf"
    private.write_text("events { }\nhttp { server { listen 49000; } }\n")
    home = open_folder / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    home.chmod(0o700)
    ledger = home / "ledger.db"
    words = ("next", "--ledger", ledger, "--nginx-config", private)
    for _ in range(3):
        assert as_nobody(*words, HOME=home).port > 49000
    private.chmod(0o600)
    assert as_nobody(*words, HOME=home).status == 4
    assert [path.name for path in home.glob("*-seen-*")] in ([], ["ledger.db-seen-65534"])


def test_nginx_that_is_started_with_another_file_is_noticed(machine, tmp_path):
    """The command line of the process counts, though no file of it changed."""
    pid_file = "/run/nginx.pid"
    if os.geteuid() != 0 or os.path.exists(pid_file):
        pytest.skip("needs root, and no nginx that runs")
    own = tmp_path / "own.conf"
    own.write_text("events { }\nhttp { server { listen 49100; } }\n")
    machine.site("a", 49000)
    machine.settle()
    # what nginx's master calls itself
    child = subprocess.Popen([f"nginx: master process /usr/sbin/nginx -c {own}", "60"], executable="/bin/sleep")
    try:
        with open(pid_file, "x") as file:
            file.write(f"{child.pid}\n")
        assert machine.ask("--range", "49100-49200") == {49100}
    finally:
        os.unlink(pid_file)
        child.kill()
        child.wait()
    assert machine.ask("--range", "49100-49200") == set()


IMAGES = """
set -e
mount -t tmpfs none /mnt
mkdir -p /mnt/from/sites /mnt/image /mnt/below /mnt/seen
for number in 1 2; do
    echo "server { listen 4900$number; }" >/mnt/from/sites/a.conf
    touch -d @1 /mnt/from/sites/a.conf /mnt/from/sites /mnt/from
    truncate -s 1M /mnt/$number.img
    mke2fs -q -t ext4 -O ^has_journal -I 256 -d /mnt/from /mnt/$number.img
    for path in / /sites /sites/a.conf; do
        debugfs -w -R "set_inode_field $path ctime 19700102000000" /mnt/$number.img 2>/dev/null
        debugfs -w -R "set_inode_field $path ctime_extra 0" /mnt/$number.img 2>/dev/null
    done
done
show() {
    mount -o loop,ro /mnt/$1.img /mnt/image
    mount -t overlay -o ro,lowerdir=/mnt/image:/mnt/below none /mnt/seen
    stat -c "%d %i %s %.9Y %.9Z" /mnt/seen/sites/a.conf
}
ask() {
    "$PROGRAM" next --nginx-config "$MAIN" --range 49001-49010 --quiet
    sleep 0.05
}
show 1; ask; ask
umount /mnt/seen /mnt/image
show 2; ask
"""


def test_an_image_that_looks_as_the_last_one_did_is_another(program, ledger, tmp_path):
    """As extensions of a system are: built with the same times, and put in the place of one another while it runs."""
    main = tmp_path / "nginx.conf"
    main.write_text("events { }\nhttp { include /mnt/seen/sites/*.conf; }\n")
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "bash", "-c", IMAGES], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          env=dict(os.environ, PROGRAM=program, MAIN=str(main), NEXTPORT_LEDGER=str(ledger),
                                   NEXTPORT_CONFIG=os.devnull, PATH=f"{os.environ['PATH']}:/usr/sbin:/sbin"))
    if done.returncode != 0:
        pytest.skip(f"no images can be mounted here: {done.stderr}")
    before, first, second, after, third = done.stdout.splitlines()
    assert before == after, "the images should not be told apart by this"
    assert (first, second, third) == ("49002", "49003", "49001"), done
