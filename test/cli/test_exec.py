# SPDX-License-Identifier: MIT
"""`nextport exec`: a lease for the life of a command, which notices nothing of it but its port."""
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys

import pytest
from conftest import BUILD, WINDOWS, has_open, locked

COMMAND = str(BUILD / "test" / ("command.exe" if WINDOWS else "command"))
POOL = range(49000, 65001)
OURS, CANNOT_RUN, NOT_FOUND = 125, 126, 127

python = [sys.executable, "-c"]


@pytest.fixture
def environment(ledger, tmp_path):
    return dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG="/dev/null", LC_ALL="C.UTF-8")


@pytest.fixture
def begin(program, environment):
    """begin("exec", ..): the program, running; it is ended with the test."""
    running = []

    def start(*words, **kwargs):
        kwargs = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment,
                  **kwargs}
        child = subprocess.Popen([program, *map(str, words)], **kwargs)
        running.append(child)
        return child

    yield start
    for child in running:
        with contextlib.suppress(ProcessLookupError):
            if child.poll() is None:
                child.kill()
        child.communicate()


def leases(nextport):
    done = nextport("leases", "--format", "json")
    assert done.status == 0, done
    return done.json["leases"]


def states(nextport):
    return [(lease["port"], lease["state"]) for lease in leases(nextport)]


# ---- The command gets its ports -------------------------------------------------------------------------------------


def test_the_port_is_in_the_environment_and_nothing_else_is_said(nextport):
    done = nextport("exec", COMMAND, "values", "PORT")
    assert (done.status, done.err) == (0, b"") and done.port in POOL, done


def test_each_name_is_a_variable(nextport):
    done = nextport("exec", "--name", "HTTP_PORT", "-n", "admin", "--", COMMAND, "values", "HTTP_PORT", "admin", "PORT")
    first, second, none = done.text.split()
    assert int(first) in POOL and int(second) in POOL and first != second and none == "-", done


def test_a_port_replaces_what_the_variable_was(nextport):
    assert nextport("exec", COMMAND, "values", "PORT", env={"PORT": "80"}).port in POOL


def test_the_commands_words_and_options_are_its_own(nextport):
    words = ["--name", "PATH", "-v", "--", "--help", "a b", "", '"', "\\", "a\\\\\"b\\", "é", "*", "%PATH%", "^&|<>"]
    done = nextport("exec", COMMAND, "words", *words)
    # a program of Windows that has main() is given bytes of the code page
    assert done.out.decode("latin-1" if WINDOWS else "utf-8").splitlines() == [f"<{word}>" for word in words], done
    assert nextport("exec", "--", COMMAND, "words", *words).out == done.out


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_the_commands_status_is_the_programs(nextport, status):
    done = nextport("exec", COMMAND, "end", status)
    assert (done.status, done.out, done.err) == (status, b"", b"")


def test_verbose_says_how_the_port_was_chosen(nextport):
    done = nextport("exec", "--verbose", COMMAND, "values", "PORT")
    assert f"port {done.port} for PORT" in done.log


def test_the_format_that_the_environment_prefers_is_for_answers(nextport):
    for name in ("json", "octopus"):
        assert nextport("exec", COMMAND, "values", "PORT", env={"NEXTPORT_FORMAT": name}).port in POOL


def test_two_commands_have_two_ports(nextport, begin):
    first = begin("exec", COMMAND, "wait", "PORT")
    port = int(first.stdout.readline())
    assert port in [lease["port"] for lease in leases(nextport)]
    assert nextport("exec", COMMAND, "values", "PORT").port != port
    assert nextport("next", "-q").port != port
    first.communicate()
    assert first.returncode == 0


def test_its_help_says_where_the_options_stand(nextport):
    done = nextport("exec", "--help")
    assert done.status == 0 and "nextport exec [OPTIONS] [--] COMMAND [ARG]..." in done.text, done


# ---- What cannot be -------------------------------------------------------------------------------------------------


def test_a_command_that_is_not_there_leaves_no_lease(nextport):
    for word in ("no-such-command", "./no-such-command"):
        done = nextport("exec", word)
        assert (done.status, done.out) == (NOT_FOUND, b"") and word in done.log, done
    assert leases(nextport) == []


@pytest.mark.linux("a file is a program by its name there")
def test_a_command_that_is_no_program_leaves_no_lease(nextport, tmp_path):
    (tmp_path / "text").write_text("not a program")
    done = nextport("exec", tmp_path / "text")
    assert done.status == CANNOT_RUN and "text" in done.log, done
    assert nextport("exec", tmp_path).status == CANNOT_RUN
    assert leases(nextport) == []


@pytest.mark.windows("a file is a program by its bytes elsewhere")
def test_an_exe_that_is_no_program_leaves_no_lease(nextport, tmp_path):
    (tmp_path / "text.exe").write_text("not a program")
    done = nextport("exec", tmp_path / "text.exe")
    assert done.status == CANNOT_RUN and "text" in done.log, done
    assert leases(nextport) == []


@pytest.mark.parametrize("name", ["", "1ST", "WEB-PORT", "A B", "A=B", "ä", "PATH", "LD_PRELOAD", "LISTEN_FDS", "HOME",
                                  "IFS", "BASH_ENV", "SystemRoot", "Path", "NEXTPORT_LEDGER"])
def test_names_that_would_break_the_command_are_refused_before_anything_is_leased(nextport, ledger, name):
    done = nextport("exec", "--name", name, COMMAND, "end", 0)
    assert (done.status, done.out) == (OURS, b"") and "--name" in done.log, done
    assert "status 2" in done.log and not ledger.exists(), done


def test_two_names_are_two_variables_on_every_system(nextport, ledger):
    done = nextport("exec", "-n", "Web", "-n", "WEB", COMMAND, "end", 0)
    assert done.status == OURS and not ledger.exists(), done


def test_its_own_failures_are_told_from_the_commands(nextport):
    assert nextport("exec").status == OURS
    assert nextport("exec", "--no-such-option", COMMAND).status == OURS
    held = nextport("next").port
    done = nextport("exec", "--range", f"{held}-{held}", COMMAND, "end", 0)
    assert done.status == OURS and "status 3, full" in done.log and done.out == b"", done
    done = nextport("exec", "--no-such-option", COMMAND, env={"NEXTPORT_FORMAT": "json"})
    assert done.status == OURS and done.out == b"" and done.err, done


# ---- Its life -------------------------------------------------------------------------------------------------------


def test_what_it_was_told_to_run_is_in_the_history_and_the_words_are_not(nextport, ledger):
    assert nextport("exec", "--label", "team=web", COMMAND, "words", "secret").status == 0
    with contextlib.closing(sqlite3.connect(ledger)) as kept:
        history = "\n".join(kept.iterdump())
    assert f"exec --label team=web {COMMAND}'" in history and "secret" not in history, history


def test_the_lease_ends_with_the_command(nextport, begin):
    child = begin("exec", COMMAND, "wait", "PORT")
    port = int(child.stdout.readline())
    assert nextport("sweep").status == 0
    assert states(nextport) == [(port, "pending")]
    child.communicate()
    assert nextport("sweep").status == 0
    assert states(nextport) == [(port, "quarantined")]


def test_a_command_that_is_killed_ends_its_lease(nextport, begin):
    child = begin("exec", COMMAND, "wait", "PORT")
    port = int(child.stdout.readline())
    child.kill()
    child.wait(timeout=60)
    assert nextport("sweep").status == 0
    assert states(nextport) == [(port, "quarantined")]


def test_the_next_request_ends_it_as_well(nextport, begin):
    child = begin("exec", COMMAND, "wait", "PORT")
    port = int(child.stdout.readline())
    child.kill()
    child.wait(timeout=60)
    assert nextport("next", "-q").port != port
    assert (port, "quarantined") in states(nextport)


def test_an_owner_has_one_command_at_a_time(nextport, begin):
    owner = ["--project", "shop", "--environment", "QA"]
    child = begin("exec", *owner, COMMAND, "wait", "PORT")
    port = int(child.stdout.readline())
    second = nextport("exec", *owner, COMMAND, "values", "PORT")
    assert second.status == OURS and "status 6, conflict" in second.log, second
    child.communicate()
    assert nextport("exec", *owner, COMMAND, "values", "PORT").port == port


def test_a_request_of_its_owner_leaves_the_lease_to_the_command_that_runs(nextport, begin):
    child = begin("exec", "--project", "shop", COMMAND, "wait", "PORT")
    port = int(child.stdout.readline())
    assert nextport("next", "--project", "shop", "--name", "PORT").port == port
    assert nextport("exec", "--project", "shop", COMMAND, "values", "PORT").status == OURS


def test_a_lease_that_was_promised_before_outlives_the_command(nextport):
    port = nextport("next", "--project", "shop", "--name", "PORT").port
    assert nextport("exec", "--project", "shop", "no-such-command").status == NOT_FOUND
    assert nextport("exec", "--project", "shop", COMMAND, "values", "PORT").port == port
    assert nextport("sweep").status == 0
    assert states(nextport) == [(port, "pending")]


@pytest.mark.linux("holder")
def test_a_command_does_not_take_the_lease_from_what_runs_on_its_port(nextport, holder):
    port = nextport("next", "--project", "shop", "--name", "PORT").port
    holder("listen4", port)
    refused = nextport("exec", "--project", "shop", COMMAND, "values", "PORT")
    assert refused.status == OURS and f"port {port} of shop cannot be bound now" in refused.log, refused
    assert [state for state in states(nextport) if state[0] == port]


SERVED_ONCE = """
import os, socket
with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as server:
    print(os.environ["PORT"], flush=True)
    server.accept()[0].close()
"""


@pytest.mark.linux("commands of Linux")
@pytest.mark.parametrize("listen", [[], ["--listen"]])
def test_a_server_that_is_started_again_has_its_port_beside_old_connections(begin, listen):
    """TIME_WAIT, which whoever closes first is left with."""
    ports = []
    for _ in range(3):
        child = begin("exec", "--project", "shop", *listen, *python, SERVER if listen else SERVED_ONCE)
        ports.append(int(child.stdout.readline()))
        talk(ports[-1])
        assert child.communicate()[1] == b""
    assert len(set(ports)) == 1, ports


# ---- The program becomes the command --------------------------------------------------------------------------------

ON_LINUX = pytest.mark.linux("no program becomes another on Windows")
TELL_STATE = "print(open('/proc/self/status').read())"
TELL_FILES = "import os; print(sorted((fd, os.readlink(f'/proc/self/fd/{fd}')) for fd in os.listdir('/proc/self/fd')))"
TELL_ALL = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(k + b'=' + v for k, v in os.environb.items()))"


@ON_LINUX
def test_a_signal_that_ends_the_command_is_seen_by_its_caller(nextport):
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
        done = nextport("exec", *python, f"import os, signal; signal.signal({int(number)}, signal.SIG_DFL) "
                        f"if {int(number)} != 9 else 0; os.kill(os.getpid(), {int(number)})")
        assert done.status == -number, done


@ON_LINUX
def test_the_command_has_the_programs_number_and_gets_its_signals(begin):
    child = begin("exec", *python, "import os, signal, sys\n"
                  "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
                  "print(os.getpid(), flush=True)\nsignal.pause()")
    assert int(child.stdout.readline()) == child.pid
    child.terminate()
    assert child.wait(timeout=20) == 5


def of_state(text, *keys):
    return [line for line in text.splitlines() if line.startswith(keys)]


@ON_LINUX
@pytest.mark.parametrize("ignored", [[], [signal.SIGPIPE], [signal.SIGHUP, signal.SIGINT], [signal.SIGUSR1]])
@pytest.mark.parametrize("blocked", [[], [signal.SIGTERM, signal.SIGUSR2]])
def test_signals_are_as_they_were(nextport, ignored, blocked):
    def prepare():
        for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    told = ["cat", "/proc/self/status"]
    keys = ("SigBlk", "SigIgn", "SigPnd", "ShdPnd")
    direct = subprocess.run(told, stdout=subprocess.PIPE, text=True, restore_signals=False, preexec_fn=prepare).stdout
    done = nextport("exec", *told, restore_signals=False, preexec_fn=prepare)
    assert of_state(done.text, *keys) == of_state(direct, *keys) and len(of_state(direct, *keys)) == 4


@ON_LINUX
def test_limits_and_the_rest_of_the_process_are_as_they_were(nextport):
    for file in ("limits", "oom_score_adj", "cgroup", "coredump_filter"):
        told = ["cat", f"/proc/self/{file}"]
        assert nextport("exec", *told).out == subprocess.check_output(told)
    keys = ("Umask", "Groups", "NoNewPrivs", "Seccomp", "CapEff", "Threads")
    told = ["cat", "/proc/self/status"]
    assert of_state(nextport("exec", *told).text, *keys) == of_state(subprocess.check_output(told, text=True), *keys)


@ON_LINUX
def test_the_environment_is_untouched_but_for_the_port(program, environment):
    environment.update({"ODD": "a\nb=c", "EMPTY": ""})
    direct = subprocess.check_output([*python, TELL_ALL], env=environment).split(b"\0")
    ours = subprocess.check_output([program, "exec", *python, TELL_ALL], env=environment).split(b"\0")
    port = [entry for entry in ours if entry.startswith(b"PORT=")]
    assert len(port) == 1 and [entry for entry in ours if entry not in port] == direct


@ON_LINUX
def test_the_command_has_the_descriptors_that_it_would_have_had(program, environment, tmp_path):
    with open(tmp_path / "kept", "w+") as kept:
        how = {"env": environment, "stdin": kept, "stderr": kept, "pass_fds": [kept.fileno()]}
        direct = subprocess.check_output([*python, "import os; print(os.listdir('/proc/self/fd'))"], **how)
        ours = subprocess.check_output([program, "exec", *python, "import os; print(os.listdir('/proc/self/fd'))"],
                                       **how)
        links = subprocess.check_output([program, "exec", *python, TELL_FILES.replace("readlink(", "path.realpath(")],
                                        **how).decode()
        assert ours == direct and "ledger" not in links and "socket" not in links, links


@ON_LINUX
def test_streams_that_were_closed_stay_closed(program, environment, tmp_path):
    tell = tmp_path / "tell.py"
    tell.write_text("import errno, os, sys\n"
                    "def state(fd):\n"
                    "    try:\n"
                    "        return os.fstat(fd).st_ino\n"
                    "    except OSError as closed:\n"
                    "        return closed.errno\n"
                    "states = [state(fd) for fd in range(3)]\n"
                    "open(sys.argv[1], 'w').write(str(states))\n")
    for closed in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"):
        for name in ("direct", "ours"):
            before = f"{program} exec" if name == "ours" else ""
            subprocess.run(["bash", "-c", f"{before} {sys.executable} {tell} {tmp_path / name} {closed}"],
                           env=environment, check=True)
        assert (tmp_path / "direct").read_text() == (tmp_path / "ours").read_text(), closed


@ON_LINUX
def test_standard_input_and_output_are_the_commands(nextport):
    done = nextport("exec", "cat", stdin=None, input=b"all of it\0\n")
    assert (done.out, done.err) == (b"all of it\0\n", b"")


@ON_LINUX
def test_one_that_is_interrupted_in_the_queue_leaves_no_lease(nextport, begin, ledger):
    port = nextport("next", "-q").port
    with locked(ledger):
        child = begin("exec", COMMAND, "end", 0)
        while not has_open(child.pid, f"{ledger}-lock"):
            assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=20) == -signal.SIGTERM
    assert [lease["port"] for lease in leases(nextport)] == [port]


@ON_LINUX
def test_a_signal_at_any_moment_ends_the_program_or_the_command(begin):
    """Whatever the moment: none is lost between the two."""
    for turn in range(40):
        child = begin("exec", "sleep", "60")
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=turn / 2000)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=20) == -signal.SIGTERM, child.stderr.read()


# ---- Listening sockets ----------------------------------------------------------------------------------------------

SERVER = """
import os, socket, sys
assert int(os.environ["LISTEN_PID"]) == os.getpid(), os.environ["LISTEN_PID"]
names = os.environ["LISTEN_FDNAMES"].split(":")
assert len(names) == int(os.environ["LISTEN_FDS"])
print(*(os.environ[name] for name in names), flush=True)
for fd, name in enumerate(names, 3):
    with socket.socket(fileno=fd) as listening:
        peer, _ = listening.accept()
        with peer:
            peer.sendall(f"{name} {listening.getsockname()[1]}".encode())
"""


def talk(port, host="127.0.0.1"):
    with socket.create_connection((host, port), timeout=20) as peer:
        return b"".join(iter(lambda: peer.recv(100), b"")).decode()


@ON_LINUX
def test_a_listening_socket_is_handed_over(begin):
    child = begin("exec", "--listen", *python, SERVER)
    port = int(child.stdout.readline())
    assert talk(port) == f"PORT {port}"
    out, err = child.communicate()
    assert (child.returncode, out, err) == (0, b"", b"")


@ON_LINUX
def test_sockets_come_in_the_order_of_their_names(begin, tmp_path):
    names = [f"P{i}" for i in range(12)]
    with open(tmp_path / "kept", "w+") as kept:
        inherited = [os.dup2(kept.fileno(), fd) for fd in (100, 101)]
        words = [word for name in names for word in ("--name", name)]
        child = begin("exec", "--listen", *words, *python, SERVER, pass_fds=[kept.fileno(), *inherited])
        for fd in inherited:
            os.close(fd)
    ports = [int(port) for port in child.stdout.readline().split()]
    assert len(set(ports)) == len(names)
    for name, port in zip(names, ports):
        assert talk(port, "::1") == f"{name} {port}"
    assert child.communicate()[1] == b""


@ON_LINUX
def test_a_connection_that_comes_before_the_command_is_ready_waits(begin):
    child = begin("exec", "--listen", *python, "import os, sys; print(os.environ['PORT'], flush=True); "
                  "sys.stdin.read()\n" + SERVER)
    port = int(child.stdout.readline())
    with socket.create_connection(("127.0.0.1", port), timeout=20) as early:
        child.stdin.close()
        assert early.recv(100).decode() == f"PORT {port}"
    child.stdin = None


@ON_LINUX
def test_nothing_but_the_sockets_is_handed_over(nextport):
    done = nextport("exec", "--listen", "-n", "A", "-n", "B", *python, "import os; print(os.listdir('/proc/self/fd'))")
    assert eval(done.text) == ["0", "1", "2", "3", "4", "5"], done  # 5: the folder that is listed


@ON_LINUX
def test_without_listen_the_port_is_free_for_the_command(nextport):
    bind = "import os, socket; socket.create_server(('127.0.0.1', int(os.environ['PORT'])))"
    assert nextport("exec", *python, bind).status == 0


@ON_LINUX
def test_only_tcp_is_listened_on(nextport):
    done = nextport("exec", "--listen", "--protocol", "udp", COMMAND, "end", 0)
    assert done.status == OURS and "TCP" in done.log, done
    assert leases(nextport) == []


@ON_LINUX
def test_sockets_that_a_supervisor_handed_over_are_not_covered_by_others(nextport):
    told = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
    words = [str(BUILD / "nextport"), "exec", "--listen", COMMAND, "end", "0"]
    done = subprocess.run(["sh", "-c", told, "sh", *words], capture_output=True, text=True)
    assert done.returncode == OURS and "LISTEN_FDS" in done.stderr, done


@pytest.mark.windows("sockets are handed over elsewhere")
def test_windows_hands_no_sockets_over(nextport, ledger):
    done = nextport("exec", "--listen", COMMAND, "end", 0)
    assert done.status == OURS and "LISTEN_FDS" in done.log and "status 2" in done.log, done
    assert not ledger.exists()


# ---- Windows --------------------------------------------------------------------------------------------------------

BATCH = "@echo off\r\necho [%~1][%~2]\r\nexit /b %PORT:~0,1%\r\n"


@pytest.mark.windows("batch files")
def test_a_batch_file_gets_its_port_and_its_words(nextport, tmp_path):
    (tmp_path / "run me.cmd").write_text(BATCH)
    done = nextport("exec", tmp_path / "run me.cmd", "a b", "(c)")
    assert (done.status, done.text.strip()) == (4, "[a b][(c)]"), done


@pytest.mark.windows("batch files")
@pytest.mark.parametrize("word", ['"', "%PATH%", "a&calc", "a|b", "<a", "^a", "!a!", "a\r\nb"])
def test_words_that_cmd_would_run_are_refused(nextport, ledger, tmp_path, word):
    (tmp_path / "run.bat").write_text(BATCH)
    for name in ("run.bat", "run.bat.", "run.bat ", "RUN.BAT", "run"):
        done = nextport("exec", tmp_path / name, word)
        assert done.status == OURS and "cmd.exe" in done.log and not ledger.exists(), (name, done)


@pytest.mark.windows("a program is found by its name and an ending")
def test_commands_are_found_by_path_and_not_where_one_stands(nextport, tmp_path):
    (tmp_path / "here.cmd").write_text("@exit /b 3\r\n")
    assert nextport("exec", "cmd", "/c", "exit", "9").status == 9
    assert nextport("exec", "here", cwd=tmp_path).status == NOT_FOUND
    assert nextport("exec", ".\\here", cwd=tmp_path).status == 3


@pytest.mark.windows("there the program goes on beside the command")
def test_the_command_ends_with_the_program(begin, nextport):
    child = begin("exec", COMMAND, "wait", "PORT")
    assert int(child.stdout.readline()) in POOL
    child.kill()
    assert child.stdout.read() == b""  # whoever has the pipe's other end is gone


@pytest.mark.windows("there the program goes on beside the command")
def test_ctrl_c_is_for_the_command(begin):
    child = begin("exec", COMMAND, "wait", "PORT")
    assert int(child.stdout.readline()) in POOL
    child.send_signal(signal.SIGINT)  # Wine makes Ctrl-C of it, of this program alone
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=0.5)
    child.communicate()
    assert child.returncode == 0


@pytest.mark.windows("there the program goes on beside the command")
def test_what_the_command_left_running_goes_on(nextport, tmp_path):
    """As it does elsewhere: a program that puts itself into the background has ended for its caller."""
    command = "Z:" + COMMAND.replace("/", "\\")  # a word that begins with '/' would be an option
    (tmp_path / "leave.cmd").write_text(f"@start /b {command} wait PORT >left 2>nul\r\n@exit /b 0\r\n")
    read, write = os.pipe()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # what is left running would keep them open
    assert nextport("exec", tmp_path / "leave.cmd", cwd=tmp_path, stdin=read, **quiet).status == 0
    os.close(read)
    os.write(write, b"still there")  # and somebody may read it
    os.close(write)
    while not (said := (tmp_path / "left").read_text()):
        continue
    assert int(said) in POOL


@pytest.mark.windows("there the program goes on beside the command")
def test_the_lease_is_given_back_at_once(nextport):
    port = nextport("exec", COMMAND, "values", "PORT").port
    assert port not in [lease["port"] for lease in leases(nextport) if lease["state"] == "pending"]
