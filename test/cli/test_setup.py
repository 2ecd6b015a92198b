# SPDX-License-Identifier: MIT
"""The machine's own ledger: made once by root, used by the group, refused when it is weaker than promised.

Each test has a mount namespace with a /var/lib and an /etc of its own, so that the real ones are never touched.
"""
import os
import shutil
import subprocess

import pytest

pytestmark = [pytest.mark.linux("folders, users and groups of Linux"),
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a mount namespace, users and groups")]


@pytest.fixture
def machine(program, tmp_path):
    """Runs a script as root of a machine without a ledger; nextport is on its PATH, `as_user CMD` is nobody,
    `as_member CMD` is nobody in the group nextport."""
    etc, bin_dir = tmp_path / "etc", tmp_path / "bin"
    shutil.copytree("/etc", etc, symlinks=True, ignore=shutil.ignore_patterns("alternatives", "ssl", "nextport"))
    for name in ("group", "gshadow"):  # a machine that never saw nextport, whatever this one has
        file = etc / name
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if not line.startswith("nextport:")))
    bin_dir.mkdir()
    shutil.copy(program, bin_dir / "nextport")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        os.chmod(folder, 0o755)

    def run(script):
        prelude = f"""
set -e
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount --bind {etc} /etc
export PATH={bin_dir}:$PATH HOME=/nonexistent
as_user() {{ setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }}
as_member() {{ setpriv --reuid=65534 --regid=65534 --groups "$(getent group nextport | cut -d: -f3)" "$@"; }}
set +e
"""
        env = {k: v for k, v in os.environ.items() if not k.startswith("NEXTPORT_")}
        env["NEXTPORT_CONFIG"] = "/dev/null"
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "bash", "-c", prelude + script],
                              env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    yield run


def test_setup_makes_group_folder_and_ledger_and_members_may_lease(machine):
    done = machine("""
nextport setup >/dev/null; echo "setup $?"
stat -c '%a %U:%G' /var/lib/nextport /var/lib/nextport/ledger.db
as_member nextport next -q; echo "member $?"
as_member nextport next -q; echo "member $?"
nextport next -q; echo "root $?"
as_user nextport leases --format json -q | grep -c '"port":49002'
stat -c '%a %G %n' /var/lib/nextport/*
""")
    out = done.stdout.splitlines()
    assert out[:10] == ["setup 0", "2775 root:nextport", "664 root:nextport", "49000", "member 0", "49001", "member 0",
                        "49002", "root 0", "1"], done
    # what stands beside the ledger is the group's too, but for what each user saw; and the lock is nobody else's to hold
    kept = [line for line in out[10:] if "-seen-" in line]
    assert all(line.split()[1] == "nextport" for line in out[10:] if line not in kept), done
    assert {tuple(line.split()[:2]) for line in kept} <= {("600", "root"), ("600", "nogroup")}, done
    assert [line.split()[0] for line in out[10:] if line.endswith("-lock")] == ["660"], done


def test_setup_is_repeatable(machine):
    done = machine("nextport setup >/dev/null && nextport next -q && nextport setup --format json && nextport next -q")
    first, setup, second = done.stdout.splitlines()
    assert (first, second) == ("49000", "49001") and '"changed":false' in setup


def test_root_makes_a_ledger_of_its_own_on_first_use(machine):
    done = machine("nextport next -q; stat -c '%a %U:%G' /var/lib/nextport; as_user nextport next; echo $?")
    out = done.stdout.splitlines()
    assert out == ["49000", "755 root:root", "7"], done
    assert "nextport setup" in done.stderr or "--user" in done.stderr


def test_without_a_ledger_an_ordinary_user_is_told_the_cure(machine):
    done = machine("as_user nextport next; echo $?")
    assert done.stdout == "7\n", done
    assert "setup" in done.stderr and "--user" in done.stderr


def test_setup_needs_root(machine):
    done = machine("as_user nextport setup; echo $?")
    assert done.stdout == "7\n" and "sudo nextport setup" in done.stderr


def test_setup_mends_the_modes_of_a_ledger_that_root_made(machine):
    done = machine("nextport next -q; nextport setup >/dev/null; as_member nextport next -q")
    assert done.stdout.splitlines() == ["49000", "49001"], done


@pytest.mark.parametrize("weaken, status", [
    ("chmod o+w /var/lib/nextport", 7),
    ("chmod o+w /var/lib/nextport/ledger.db", 7),
    ("chown 65534 /var/lib/nextport/ledger.db", 7),
    ("chown 65534 /var/lib/nextport", 7),
    ("chgrp 65534 /var/lib/nextport/ledger.db", 7),
    ("ln -sf /tmp/elsewhere /var/lib/nextport/ledger.db", 5),
])
def test_a_machine_ledger_weaker_than_promised_is_refused(machine, weaken, status):
    done = machine(f"nextport setup >/dev/null; {weaken}; nextport next; echo $?")
    assert done.stdout.splitlines() == [str(status)], done
    assert "/var/lib/nextport" in done.stderr


def test_a_users_own_ledger_honours_the_machines(machine, tmp_path):
    done = machine("""
nextport setup >/dev/null; nextport next -q
mkdir -m 700 /var/lib/home && chown 65534 /var/lib/home
as_user env HOME=/var/lib/home nextport next --user -q
stat -c '%a' /var/lib/home/.local/state/nextport
""")
    assert done.stdout.splitlines() == ["49000", "49001", "700"], done


def test_a_users_ledger_says_when_it_does_not_know_the_machines(machine):
    done = machine("""
nextport setup >/dev/null; nextport next -q; chmod 600 /var/lib/nextport/ledger.db*
mkdir -m 700 /var/lib/home && chown 65534 /var/lib/home
as_user env HOME=/var/lib/home nextport next --user --dry-run; echo "warned $?"
as_user env HOME=/var/lib/home nextport next --user --strict; echo "strict $?"
""")
    assert done.stdout.splitlines() == ["49000", "49000", "warned 0", "strict 4"], done
    assert "machine's own leases are not known" in done.stderr


def test_what_setup_made_is_taken_back_and_the_ledger_stays(machine):
    done = machine("""
nextport setup >/dev/null; as_member nextport next -q; gid=$(getent group nextport | cut -d: -f3)
nextport setup --remove; echo "remove $?"
getent group nextport || echo "no group"
stat -c '%a %U:%G' /var/lib/nextport
find /var/lib/nextport -group $gid -o -perm /022
setpriv --reuid=65534 --regid=65534 --groups $gid nextport next; echo "later group $?"
nextport next -q
nextport setup --remove --format json
""")
    out = done.stdout.splitlines()
    assert out[0] == "49000" and "remove 0" in out, done
    answer = "\n".join(out[:out.index("remove 0")])
    assert "nextport: removed" in answer and "/var/lib/nextport/ledger.db: stays" in answer, done
    assert out[out.index("remove 0") + 1:-1] == ["no group", "755 root:root", "later group 7", "49001"], done
    assert '"changed":false' in out[-1]


def test_a_removal_does_not_make_trusted_what_was_not(machine):
    done = machine("""
nextport setup >/dev/null; chown 65534 /var/lib/nextport/ledger.db
nextport setup --remove; echo $?
getent group nextport || echo "no group"
stat -c '%u' /var/lib/nextport/ledger.db
nextport next; echo $?
""")
    assert done.stdout.splitlines() == ["7", "no group", "65534", "7"], done
    assert "is left as it is" in done.stderr


def test_a_removal_that_was_cut_off_is_refused_until_the_group_is_back(machine):
    done = machine("""
nextport setup >/dev/null; gid=$(getent group nextport | cut -d: -f3); groupdel nextport
nextport next; echo $?
nextport setup --remove; echo $?
groupadd -r -g $gid nextport; nextport setup --remove >/dev/null; echo $?
stat -c '%a %U:%G' /var/lib/nextport /var/lib/nextport/ledger.db
nextport next -q
""")
    assert done.stdout.splitlines() == ["7", "7", "0", "755 root:root", "644 root:root", "49000"], done


def test_removal_of_what_was_never_set_up_makes_nothing(machine):
    done = machine("nextport setup --remove --format json; echo $?; ls -A /var/lib")
    answer, status = done.stdout.splitlines()
    assert status == "0" and '"changed":false' in answer, done


def test_removal_needs_root_and_the_machines_ledger(machine):
    done = machine("""
nextport setup >/dev/null
as_user nextport setup --remove; echo $?
nextport setup --remove --ledger /var/lib/mine.db; echo $?
getent group nextport >/dev/null && echo "still there"
""")
    assert done.stdout.splitlines() == ["7", "2", "still there"], done
    assert "sudo nextport setup" in done.stderr


def test_members_may_sweep_the_machines_ledger_and_strangers_may_not(machine):
    done = machine("""
nextport setup >/dev/null; as_member nextport next -q --ttl 1s
as_user nextport sweep; echo "stranger $?"
as_member nextport sweep; echo "member $?"
""")
    assert "stranger 7" in done.stdout and "member 0" in done.stdout, done
