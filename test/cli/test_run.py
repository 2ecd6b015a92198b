# SPDX-License-Identifier: MIT
"""script/run of a checkout that is built: whose ledger each command works on.

Each test has a mount namespace with a /var/lib and an /etc of its own, so that the machine's ledger is never touched."""
import os
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

pytestmark = [pytest.mark.linux("folders and users of Linux"),
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a mount namespace and another user")]

# what each command that takes --user is tried with, in an order in which each one ends with 0
COMMANDS = ["next -q", "exec -q -- true", "exec -q --name A sh -c 'true' -u", "assign 49500 --project shop", "leases", "log",
            "used", "free", "why 49001", "map", "check", "adopt --apply", "export", "import $HOME/exported", "sweep", "doctor",
            "config", "release 49500"]
SAID = "script/run: the machine's ledger /var/lib/nextport/ledger.db "


@pytest.fixture
def checkout(open_folder):
    """A checkout that is built, without what is only needed to build."""
    for folder in ("script", "include", "src", "build/release"):
        (open_folder / folder).mkdir(parents=True)
    for name in ("meson.build", "meson_options.txt"):
        (open_folder / name).touch()
    shutil.copy(ROOT / "script" / "run", open_folder / "script")
    shutil.copy(BUILD / "nextport", open_folder / "build/release")
    (open_folder / "build/release/.built").touch()
    return open_folder


@pytest.fixture
def machine(checkout):
    """Runs a script on a machine without a ledger: `run ARGS` is script/run as root, `user ARGS` as nobody,
    `member ARGS` as nobody in the group nextport."""
    prelude = f"""
set -e
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir /var/lib/etc /var/lib/home
cp /etc/passwd /etc/group /var/lib/etc
sed -i /^nextport:/d /var/lib/etc/group
touch /var/lib/etc/gshadow
mount --bind /var/lib/etc /etc
chown 65534:65534 /var/lib/home
export HOME=/var/lib/home
mine=$HOME/.local/state/nextport/ledger.db
run() {{ {checkout}/script/run "$@"; }}
user() {{ setpriv --reuid=65534 --regid=65534 --clear-groups {checkout}/script/run "$@"; }}
member() {{
    setpriv --reuid=65534 --regid=65534 --groups "$(getent group nextport | cut -d: -f3)" {checkout}/script/run "$@"
}}
set +e
"""

    def run(script):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("NEXTPORT_", "XDG_"))}
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "bash", "-c", prelude + script], env=env,
                              cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    return run


def lines_said(done):
    return [line for line in done.stderr.splitlines() if line.startswith("script/run: ")]


def test_root_makes_the_machines_ledger_once(machine):
    done = machine("run; run next -q; run leases --format json -q | grep -o '\"port\":[0-9]*'; test -e $mine; echo $?")
    assert "49001" in done.stdout, done
    assert lines_said(done) == ["script/run: making the machine's ledger /var/lib/nextport/ledger.db"], done


def test_help_makes_no_ledger(machine):
    done = machine("run next --help; run --version; user next --help; user help; ls /var/lib")
    assert lines_said(done) == [] and "nextport" not in done.stdout.splitlines(), done


@pytest.mark.parametrize("made, why", [("", "is not there (run as root once to make it)"),
                                       ("run next -q", "is not yours to write")])
def test_an_ordinary_user_works_on_one_ledger_of_their_own(machine, made, why):
    tried = "\n".join(f"echo {number} >&2; user {command} >/dev/null; echo \"{number} $?\"" for number, command in
                      enumerate(COMMANDS))
    done = machine(f"""
{{ {made or ":"}; }} >/dev/null 2>&1
printf '%s\\n' '{{"nextport":"leases","schema":1,"host":"a","machine_id":null,"exported":1795385587,"leases":0}}' \\
    '{{"end":true,"leases":0}}' >$HOME/exported
{tried}
""")
    assert done.stdout.splitlines() == [f"{number} 0" for number in range(len(COMMANDS))], done
    assert lines_said(done) == [f"{SAID}{why}: using --user"] * len(COMMANDS), done


def test_what_was_granted_is_what_is_shown(machine):
    done = machine("run next -q; user next -q; user leases -q --format json; user log -q --format json; user doctor -q")
    machines, own, leases, log, doctor = done.stdout.split("\n", 4)
    assert (machines, own) == ("49000", "49001"), done
    assert '"port":49001' in leases and '"port":49000' not in leases, done
    assert '"port":49001' in log and '"port":49000' not in log, done
    assert "/var/lib/home/.local/state/nextport/ledger.db" in doctor, done


def test_a_member_of_the_group_works_on_the_machines(machine):
    done = machine("run next -q; member next -q; run leases -q --format json")
    assert done.stdout.startswith("49000\n49001\n") and '"port":49001' in done.stdout, done
    assert lines_said(done) == ["script/run: making the machine's ledger /var/lib/nextport/ledger.db"], done


@pytest.mark.parametrize("words", [
    "next -q --ledger $HOME/l.db", "next -q --ledger=$HOME/l.db", "next -ql $HOME/l.db", "next -q -l $HOME/l.db",
    "next -q --name --user --ledger $HOME/l.db", "exec -q --name A --ledger $HOME/l.db -- true",
    "exec -q -t 1h -l $HOME/l.db true", "next -q --user", "next -qu", "next -q --root / --dry-run",
])
def test_what_was_chosen_stays(machine, words):
    done = machine(f"user {words}; echo $?")
    assert done.stdout.splitlines()[-1] == "0" and lines_said(done) == [], done


@pytest.mark.parametrize("words", ["next -q --name --user", "next -q -L a=--ledger", "exec -q true --user"])
def test_a_value_and_the_words_of_a_command_choose_nothing(machine, words):
    done = machine(f"user {words}; echo $?")
    assert done.stdout.splitlines()[-1] == "0" and len(lines_said(done)) == 1, done


@pytest.mark.parametrize("how", ["export NEXTPORT_LEDGER=$HOME/l.db; user next", "user next --config $HOME/c",
                                 "user next --config=$HOME/c", "export NEXTPORT_CONFIG=$HOME/c; user next"])
def test_a_ledger_that_is_configured_stays(machine, how):
    done = machine(f"""printf '[ledger]\\nfile = %s/l.db\\n' $HOME >$HOME/c; {how}; stat -c %n $HOME/l.db""")
    assert done.stdout.splitlines() == ["49000", "/var/lib/home/l.db"] and lines_said(done) == [], done


@pytest.mark.parametrize("words, status", [("setup", 7), ("protect", 0), ("help", 0), ("leasse", 2)])
def test_a_command_without_a_ledger_of_ones_own_is_left_alone(machine, words, status):
    done = machine(f"user {words} >/dev/null; echo $?")
    assert done.stdout == f"{status}\n" and lines_said(done) == [], done
