# SPDX-License-Identifier: MIT
"""Bad input: each case with its exact status, and a message that says what happened, where, and what to do."""
import os
import pathlib
import resource
import sqlite3
import subprocess

import pytest

from conftest import BUILD, NOBODY, WINDOWS, Done

OK, FAILED, INPUT, FULL, BLIND, LEDGER, CONFLICT, DENIED, RETRY = range(9)
GIB = 1 << 30


def refused(done, status, *words):
    """Nothing on standard output, this status, and every word in the message, in any case."""
    assert done.status == status, done
    assert done.out == b"", done
    said = done.log
    assert said.startswith("nextport: "), done
    assert all(ord(c) >= 32 or c == "\n" for c in said), done
    for word in words:
        assert str(word).lower() in said.lower(), (word, done)


# ---- The command line -----------------------------------------------------------------------------------------------

WORDS = [
    # ranges
    (["next", "--range", "65000-49000"], INPUT, ["--range", "65000-49000"]),
    (["next", "--range", ""], INPUT, ["--range", "no ports", "49000-65000"]),
    (["next", "--range", ","], INPUT, ["--range"]),
    (["next", "--range", "0"], INPUT, ["--range", "'0'", "65535"]),
    (["next", "--range", "65536"], INPUT, ["--range", "65536", "65535"]),
    (["next", "--range", "80-"], INPUT, ["--range", "80-"]),
    (["next", "--range", "-80"], INPUT, ["--range", "-80"]),
    (["next", "--range", "80-90-100"], INPUT, ["--range", "80-90-100"]),
    (["next", "--range", "http"], INPUT, ["--range", "http"]),
    (["next", "--range", "1e4"], INPUT, ["--range", "1e4"]),
    (["next", "--range", "0x50"], INPUT, ["--range", "0x50"]),
    (["next", "--range", "99999999999999999999"], INPUT, ["--range", "65535"]),
    (["next", "--range", "4294967376"], INPUT, ["--range", "4294967376"]),  # 80 modulo 2^32
    (["next", "--range", "49000-50000,49500-51000"], INPUT, ["--range", "overlap", "49500"]),
    (["next", "--range", "49000-65000,"], INPUT, ["--range"]),
    (["free", "--range", "80-"], INPUT, ["--range", "80-"]),
    (["used", "--range", "0-10"], INPUT, ["--range", "0-10"]),
    (["next", "--exclude", "x"], INPUT, ["--exclude", "'x'"]),
    (["next", "--range", "49000", "--exclude", "49000"], INPUT, ["excluded", "49000"]),
    # numbers
    (["next", "--count", "0"], INPUT, ["--count", "'0'"]),
    (["next", "--count", "-1"], INPUT, ["--count", "-1"]),
    (["next", "--count", "many"], INPUT, ["--count", "many"]),
    (["next", "--count", "2x"], INPUT, ["--count", "2x"]),
    (["next", "--count", ""], INPUT, ["--count"]),
    (["next", "--count", "99999999999999999999"], INPUT, ["--count", "99999999999999999999"]),
    (["next", "--count", "18446744073709551617"], INPUT, ["--count"]),  # 1 modulo 2^64
    (["next", "--count", "2", "--name", "A", "--name", "B"], INPUT, ["count", "name"]),
    (["why", "0"], INPUT, ["'0'", "65535"]),
    (["why", "65536"], INPUT, ["65536", "65535"]),
    (["why", "-1"], INPUT, ["-1"]),
    (["why", "http"], INPUT, ["http"]),
    (["why", "4294967376"], INPUT, ["4294967376"]),
    (["why", ""], INPUT, ["''"]),
    (["release", "0"], INPUT, ["'0'"]),
    (["release", "80x"], INPUT, ["80x"]),
    (["release", "--id", "0"], INPUT, ["--id", "'0'"]),
    (["release", "--id", "-5"], INPUT, ["--id", "-5"]),
    (["release", "--id", "9223372036854775808"], INPUT, ["--id"]),
    (["release", "--id", "1", "49000"], INPUT, ["--id"]),
    (["release"], INPUT, ["port", "--id", "nextport leases"]),
    # durations
    (["next", "--ttl", "0"], INPUT, ["--ttl", "'0'", "24h"]),
    (["next", "--ttl", "5x"], INPUT, ["--ttl", "5x", "24h"]),
    (["next", "--ttl", "-1h"], INPUT, ["--ttl", "-1h"]),
    (["next", "--ttl", ""], INPUT, ["--ttl"]),
    (["next", "--ttl", "h"], INPUT, ["--ttl", "'h'"]),
    (["next", "--ttl", "99999999999999999999d"], INPUT, ["--ttl"]),
    (["next", "--ttl", "106751991167300d"], INPUT, ["--ttl"]),  # beyond 2^63 seconds
    (["next", "--wait", "-1s"], INPUT, ["--wait", "-1s"]),
    (["next", "--wait", "soon"], INPUT, ["--wait", "soon"]),
    # words that are not known
    (["next", "--format", "xml"], INPUT, ["--format", "xml", "plain", "json", "octopus"]),
    (["next", "--format", "jsno"], INPUT, ["--format", "jsno", "json"]),
    (["next", "--format", ""], INPUT, ["--format"]),
    (["next", "--format", "table"], INPUT, ["table"]),
    (["used", "--source", "iss"], INPUT, ["iss", "iis"]),
    (["used", "--source", ""], INPUT, ["source"]),
    (["next", "--policy", "iss=warn"], INPUT, ["--policy", "iss", "iis"]),
    (["next", "--policy", "iis=maybe"], INPUT, ["--policy", "maybe", "require", "warn", "off"]),
    (["next", "--policy", "iis"], INPUT, ["--policy", "'iis'"]),
    (["next", "--policy", "=off"], INPUT, ["--policy"]),
    (["next", "--policy", "probe=off"], INPUT, ["probe", "weakened"]),
    (["next", "--policy", "ledger=warn"], INPUT, ["ledger", "weakened"]),
    (["next", "--protocol", "sctp"], INPUT, ["--protocol", "sctp", "tcp", "udp", "both"]),
    (["nxet"], INPUT, ["nxet", "next"]),
    (["release-port", "80"], INPUT, ["release-port"]),
    ([], INPUT, ["nextport next"]),
    (["--range", "80", "next"], INPUT, ["--range", "before the command"]),
    (["next", "--rnage", "80"], INPUT, ["--rnage", "--range"]),
    (["next", "--raw"], INPUT, ["--raw", "It is --raw of doctor."]),
    (["leases", "--keep", "2"], INPUT, ["'--keep' of leases", "It is --keep of next."]),
    (["leases", "-c2"], INPUT, ["'-c' of leases", "It is --count of next."]),
    (["sweep", "--id=7"], INPUT, ["It is --id of leases, release and log."]),
    (["next", "-z"], INPUT, ["-z", "nextport next --help"]),
    (["next", "--dry-run=yes"], INPUT, ["--dry-run", "no value", "Write --dry-run alone."]),
    (["next", "--range"], INPUT, ["--range", "value", "Write --range PORTS"]),
    (["next", "-P"], INPUT, ["'-P' needs a value", "Write --project NAME"]),
    (["next", "49000"], INPUT, ["49000", "Write 'nextport next';"]),
    (["why"], INPUT, ["PORT", "Write 'nextport why PORT'"]),
    (["why", "80", "81"], INPUT, ["'81'", "Write 'nextport why PORT'"]),
    (["next", "--keep", "2"], INPUT, ["--fresh", "--deployment ID"]),
    (["release", "--project", "a", "--name", "a", "--name", "b"], INPUT, ["twice", "leave it out"]),
    (["import", "no-such-export"], INPUT, ["no-such-export", "'nextport export'"]),
    (["help", "9"], INPUT, ["'9'"]),
    # names
    (["next", "--name", ""], INPUT, ["name", "empty"]),
    (["next", "--name", "a\nb"], INPUT, ["name", "control character"]),
    (["next", "--name", "a\x1b[31mb"], INPUT, ["name", "control character"]),
    (["next", "--name", "a\x7fb"], INPUT, ["name", "control character"]),
    pytest.param(["next", "--name", b"a\xff"], INPUT, ["name", "UTF-8"],
                 marks=pytest.mark.linux("words of Windows are UTF-16")),
    (["next", "--name", "x" * 5000], INPUT, ["name", "5000", "Give a shorter one."]),
    (["next", "--name", "A", "--name", "A"], INPUT, ["'A'", "twice", "a name of its own"]),
    # what does not go together
    (["next", "--root", "/"], INPUT, ["--root", "--dry-run"]),
    (["next", "--user", "--ledger", "other.db"], INPUT, ["--user", "--ledger", "Leave one of them out"]),
    (["next", "--ledger", ""], INPUT, ["--ledger", "empty", "Give a path or leave it out"]),
    (["next", "--config", "/nowhere/nextport.conf"], INPUT, ["/nowhere/nextport.conf", "no such f"]),
    (["next", "--root", "/nowhere", "--dry-run"], INPUT, ["/nowhere", "no such f", "--root takes the folder"]),
]


@pytest.fixture
def say(program, ledger, tmp_path):
    """Like `nextport`, for words that are not text."""
    class Said:
        def __init__(self, done):
            self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
            self.log = done.stderr.decode(errors="replace")

        def __repr__(self):
            return f"status {self.status}\nout: {self.out!r}\nerr: {self.err!r}"

    def run(words):
        conf = tmp_path / "nextport.conf"
        conf.touch()
        env = dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG=str(conf), LC_ALL="C.UTF-8", NO_COLOR="1")
        return Said(subprocess.run([program, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, timeout=60))

    return run


@pytest.mark.parametrize("words, status, message", WORDS, ids=[repr(case[0])[:60] for case in WORDS])
def test_a_bad_command_line_is_refused(say, ledger, words, status, message):
    refused(say(words), status, *message)
    assert not ledger.exists(), "a refused request left a ledger"


def test_a_format_that_cannot_write_the_answer_is_refused_in_its_own_words(nextport):
    done = nextport("used", "--format", "octopus")
    assert done.status == INPUT and b"cannot write this answer" in done.out and b"json" in done.out, done
    assert b"setVariable" not in done.out, done


def test_a_refusal_in_json_has_the_same_status_and_message(nextport):
    done = nextport("next", "--format", "json", "--ttl", "5x")
    assert done.status == INPUT, done
    error = done.json["error"]
    assert error["status"] == INPUT and error["slug"] and "5x" in error["message"] and "24h" in error["hint"], done


# ---- Files that are not what they should be -------------------------------------------------------------------------

BILLION_LAUGHS = ('<?xml version="1.0"?>\n<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
                  '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>\n'
                  "<configuration><system.applicationHost><sites>&d;</sites></system.applicationHost>"
                  "</configuration>\n")
SITES = ('<?xml version="1.0"?>\n<configuration><system.applicationHost><sites><site name="shop" id="1"><bindings>'
         '<binding protocol="http" bindingInformation="*:49000:" /></bindings></site></sites>'
         "</system.applicationHost></configuration>\n")


def sparse(path):
    with open(path, "wb") as file:
        file.truncate(GIB)


FILES = {
    "folder": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "one GiB": sparse,
    "device": lambda path: os.symlink("/dev/zero", path),
    "missing": lambda path: None,
    "link to itself": lambda path: os.symlink(path.name, path),
    "truncated": lambda path: path.write_text(SITES[: len(SITES) // 2]),
    "billion laughs": lambda path: path.write_text(BILLION_LAUGHS),
    "wrong root": lambda path: path.write_text("<html><body/></html>\n"),
    "empty": lambda path: path.touch(),
    "not xml": lambda path: path.write_bytes(bytes(range(256)) * 20),
}
UNIX = {"fifo", "device", "link to itself"}  # Wine takes what they lead to for a file
IIS = [("folder", ["folder"]), ("fifo", ["fifo"]), ("one GiB", ["larger"]), ("device", ["device"]),
       ("missing", ["no such file"]), ("link to itself", ["link"]), ("truncated", [":2:"]),
       ("billion laughs", [":2:", "document type"]),
       ("wrong root", ["<html>", "<configuration>"]), ("empty", []), ("not xml", [])]
CONF = [("folder", ["folder"]), ("fifo", ["fifo"]), ("one GiB", ["larger"]), ("device", ["device"]),
        ("missing", ["no such file"]), ("link to itself", ["link"]), ("not xml", [":1:"])]
if WINDOWS:
    IIS, CONF = ([row for row in rows if row[0] not in UNIX] for rows in (IIS, CONF))


@pytest.mark.parametrize("kind, words", IIS, ids=[kind for kind, _ in IIS])
@pytest.mark.parametrize("command", [["next"], ["free"]], ids=["next", "free"])
def test_an_iis_file_that_cannot_be_understood_stops_the_answer(nextport, tmp_path, ledger, command, kind, words):
    path = tmp_path / "applicationHost.config"
    FILES[kind](path)
    done = nextport(*command, "--iis-config", path)
    assert done.status == BLIND, done
    assert "iis" in done.log and str(path) in done.log, done
    for word in words:
        assert word.lower() in done.log.lower(), (word, done)
    if command == ["next"]:
        assert done.out == b"", done
        assert not ledger.exists() or leases_in(ledger) == []


def test_with_policy_warn_an_unreadable_iis_file_is_named_beside_the_answer(nextport, tmp_path):
    path = tmp_path / "applicationHost.config"
    path.write_text(BILLION_LAUGHS)
    done = nextport("next", "--iis-config", path, "--policy", "iis=warn")
    assert done.port == 49000 and str(path) in done.log, done


@pytest.mark.parametrize("kind, words", CONF, ids=[kind for kind, _ in CONF])
def test_a_configuration_file_that_cannot_be_read_is_refused(nextport, tmp_path, kind, words):
    path = tmp_path / "other.conf"
    FILES[kind](path)
    refused(nextport("next", "--config", path), INPUT, path, *words)


SETTINGS = [
    ("[pool]\nrnage = 80\n", [":2:", "rnage", "pool.range"]),
    ("[pol]\nrange = 80\n", [":1:", "[pol]", "[pool]"]),
    ("range = 80\n", [":1:", "section"]),
    ("[pool]\nrange\n", [":2:", "key = value"]),
    ("[pool\nrange = 80\n", [":1:", "]"]),
    ("[pool]\nrange = 80-\n", [":2:", "80-"]),
    ("[pool]\nrange = 80\nrange = 81\n", [":3:", "line 2"]),
    ("[lease]\npending = 5x\n", [":2:", "5x"]),
    ("[policy]\nprobe = off\n", [":2:", "probe", "weakened"]),
    ("[output]\nformat = xml\n", [":2:", "xml", "json"]),
]


@pytest.mark.parametrize("text, words", SETTINGS, ids=[text.strip().replace("\n", "; ") for text, _ in SETTINGS])
def test_a_wrong_setting_is_an_error_with_its_line_and_the_nearest_name(nextport, tmp_path, text, words):
    path = tmp_path / "other.conf"
    path.write_text(text)
    refused(nextport("next", "--config", path), INPUT, path, *words)


@pytest.mark.linux("as another user")
def test_an_iis_file_that_this_user_may_not_read_stops_the_answer(as_nobody, open_folder):
    path = open_folder / "applicationHost.config"
    path.write_text(SITES)
    path.chmod(0o600)
    done = as_nobody("next", "--dry-run", "--iis-config", path)
    refused(done, BLIND, path, "permission denied", "root")


@pytest.mark.linux("as another user")
def test_a_configuration_file_that_this_user_may_not_read_is_refused(as_nobody, open_folder):
    path = open_folder / "nextport.conf"
    path.write_text("")
    path.chmod(0o600)
    refused(as_nobody("next", "--dry-run", "--config", path), DENIED, path, "permission denied", "readable")


# ---- Ledgers --------------------------------------------------------------------------------------------------------


def leases_in(ledger):
    database = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return [port for (port,) in database.execute("SELECT port FROM lease ORDER BY port")]
    finally:
        database.close()


def in_mount(script, *words):
    """Runs the program in a mount namespace of its own, after `script` changed it. "$@" is the program."""
    probe = subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.PIPE, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no mount namespace: {probe.stderr.strip()}")
    env = dict(os.environ, LC_ALL="C.UTF-8", NO_COLOR="1")
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", str(BUILD / "nextport"), *map(str, words)]
    return Done(subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, timeout=60))


@pytest.mark.linux("a mount namespace")
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_ledger_on_a_read_only_file_system_is_unusable_and_gives_no_port(nextport, ledger, tmp_path, existing):
    if existing:
        nextport("next")
    script = f'mount --bind "{tmp_path}" "{tmp_path}"; mount -o remount,bind,ro "{tmp_path}"; exec "$@"'
    refused(in_mount(script, "next", "--config", tmp_path / "nextport.conf", "--ledger", ledger),
            LEDGER, ledger, "read-only")


@pytest.mark.linux("a mount namespace")
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_ledger_on_a_full_file_system_is_unusable_and_gives_no_port(nextport, tmp_path, existing):
    disk = tmp_path / "disk"
    disk.mkdir()
    make = '"$@" >/dev/null; "$@" >/dev/null; ' if existing else ""
    script = (f'mount -t tmpfs -o size=1m,mode=0755 none "{disk}"; cd "{disk}"; {make}'
              'dd if=/dev/zero of=filler bs=4096 status=none 2>/dev/null || :; '
              # what is left of the last page, and of the log's reserved space, is used up by asking again
              'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do '
              '  "$@" || exit; done')
    done = in_mount(script, "next", "--quiet", "--config", tmp_path / "nextport.conf", "--ledger", "ledger.db")
    assert done.status == LEDGER, done
    granted = done.text.split()
    assert len(granted) < 20 and len(set(granted)) == len(granted), done
    assert "full" in done.log.lower() or "no space" in done.log.lower(), done


def test_a_ledger_owned_by_somebody_else_is_refused(nextport, ledger):
    nextport("next")
    try:
        os.chown(ledger, NOBODY, NOBODY)
    except OSError as refusal:
        pytest.skip(f"cannot give a file away here: {refusal}")
    refused(nextport("next"), DENIED, ledger, "own")


def test_a_ledger_that_everybody_may_write_is_refused(nextport, ledger):
    nextport("next")
    ledger.chmod(0o666)
    refused(nextport("next"), DENIED, ledger, "writ")


def test_a_ledger_in_a_folder_that_everybody_may_write_is_refused(nextport, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    refused(nextport("next", "--ledger", folder / "ledger.db"), DENIED, folder, "writ")


@pytest.mark.linux("Wine follows links of the file system without a word")
@pytest.mark.parametrize("suffix", ["", "-lock", "-wal"])
def test_a_link_in_the_ledgers_place_is_refused_and_not_followed(nextport, ledger, tmp_path, suffix):
    nextport("next")
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    place = pathlib.Path(f"{ledger}{suffix}")
    place.unlink(missing_ok=True)
    place.symlink_to(target)
    done = nextport("next")
    assert done.status in (LEDGER, DENIED), done
    refused(done, done.status, place, "link")
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("content, words", [
    (b"", ["ledger"]),
    (b"not a database, but long enough to be taken for one " * 100, ["ledger"]),
    (b"SQLite format 3\0" + bytes(4080), ["ledger"]),
], ids=["empty", "text", "header only"])
def test_a_damaged_or_foreign_ledger_is_left_as_it_is(nextport, ledger, content, words):
    ledger.write_bytes(content)
    ledger.chmod(0o600)
    refused(nextport("next"), LEDGER, ledger, *words)
    assert ledger.read_bytes() == content


def test_a_database_of_another_program_is_left_as_it_is(nextport, ledger):
    database = sqlite3.connect(ledger)
    database.execute("CREATE TABLE customers(name TEXT)")
    database.commit()
    database.close()
    ledger.chmod(0o600)
    before = ledger.read_bytes()
    refused(nextport("next"), LEDGER, ledger)
    assert ledger.read_bytes() == before


def test_a_ledger_of_a_later_schema_is_left_alone(nextport, ledger):
    nextport("next")
    database = sqlite3.connect(ledger)
    database.execute("PRAGMA user_version = 1000")
    database.close()
    refused(nextport("next"), LEDGER, ledger, "newer", "1000")


def test_a_ledger_whose_folder_is_missing_is_refused(nextport, tmp_path):
    done = nextport("next", "--ledger", tmp_path / "no" / "ledger.db")
    assert done.status != OK, done
    refused(done, done.status, tmp_path / "no")


@pytest.mark.parametrize("kind", ["folder"] if WINDOWS else ["folder", "fifo", "device"])
def test_a_ledger_that_is_no_file_is_refused_without_waiting(nextport, ledger, kind):
    FILES[kind](ledger)
    refused(nextport("next"), LEDGER, ledger)


# ---- Where the answer goes ------------------------------------------------------------------------------------------


def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb")


@pytest.mark.parametrize("form", ["plain", "json", "octopus"])
@pytest.mark.parametrize("out", [lambda: open("/dev/full", "wb"), closed_pipe], ids=["full", "closed pipe"])
def test_no_lease_is_kept_for_an_answer_that_nobody_got(nextport, ledger, out, form):
    with out() as stdout:
        done = nextport("next", "--format", form, stdout=stdout)
    assert done.status == FAILED, done.err
    assert b"standard output" in done.err and b"undone" in done.err, done.err
    assert leases_in(ledger) == []
    assert nextport("next").port == 49000


@pytest.mark.parametrize("command", ["used", "free", "help"])
def test_a_reader_that_has_seen_enough_is_no_matter(nextport, command):
    with closed_pipe() as stdout:
        assert nextport(command, stdout=stdout).err == b""


def with_streams_closed(closed, program, *words):
    return subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", program, *map(str, words)],
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)


def test_without_any_standard_output_no_lease_is_kept(program, ledger, tmp_path):
    (tmp_path / "nextport.conf").touch()
    done = with_streams_closed(">&-", program, "next", "--ledger", ledger, "--config", tmp_path / "nextport.conf")
    assert done.returncode == FAILED, done.stderr
    assert not ledger.exists() or leases_in(ledger) == []


def test_a_help_text_that_cannot_be_written_is_a_failure(nextport):
    with open("/dev/full", "wb") as full:
        assert nextport("--help", stdout=full).status == FAILED


@pytest.mark.linux("Wine's own start takes the numbers of closed streams")
def test_every_standard_stream_may_be_closed_without_harm_to_the_ledger(program, nextport, ledger, tmp_path):
    nextport("next")
    done = with_streams_closed("<&- >&- 2>&-", program, "next", "--ledger", ledger, "--config",
                               tmp_path / "nextport.conf")
    assert done.returncode == FAILED
    assert leases_in(ledger) == [49000]
    database = sqlite3.connect(ledger)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


@pytest.mark.linux("a limit of open files")
def test_few_descriptors_are_an_error_and_not_a_wrong_answer(nextport, ledger):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = nextport("next", "--count", "100",
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, min(24, limit))))
    assert done.status in (FAILED, BLIND), done
    assert "too many open files" in done.log and "ulimit -n" in done.log, done
    assert done.out == b"" and done.log, done
    assert not ledger.exists() or leases_in(ledger) == []


# ---- The environment ------------------------------------------------------------------------------------------------


@pytest.mark.linux("HOME")
def test_without_home_the_users_ledger_is_found_by_the_password_database(nextport):
    done = nextport("next", "--user", "--dry-run", env={"HOME": None, "NEXTPORT_LEDGER": None})
    assert done.status == OK, done


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """A German locale: its numbers have dots between thousands, its messages would be German."""
    folder = tmp_path_factory.mktemp("locales")
    made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", folder / "de_DE.UTF-8"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if made.returncode != 0:
        pytest.skip(f"localedef cannot make de_DE: {made.stdout.strip()}")
    return {"LOCPATH": str(folder), "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "LANGUAGE": "de"}


@pytest.mark.parametrize("words", [["next"], ["leases", "--format", "json"], ["free", "--format", "json"],
                                   ["why", "49000"], ["help", "3"], ["next", "--ttl", "5x"]], ids=" ".join)
def test_the_locale_changes_nothing(nextport, ledger, german, words):
    said = []
    for env in ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C"}, german):
        done = nextport(*words, env=env)
        said.append((done.status, done.out))
        if ledger.exists():
            ledger.unlink()
            for beside in ("-wal", "-shm"):
                ledger.with_name(ledger.name + beside).unlink(missing_ok=True)
    assert said[0] == said[1] == said[2]
