# SPDX-License-Identifier: MIT
"""The README is run: each command of it, in order, with the output it shows; its recipes by the Octopus reader."""
import json
import os
import re
import socket
import subprocess

import pytest

import octopus_reader
from conftest import ROOT

TEXT = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def steps():
    """(command, what the README shows for it), in order."""
    for block in blocks("console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            yield command, shown


def settled(text):
    """Without what differs from day to day and from machine to machine, and what is said once for each ledger."""
    text = re.sub(r"^nextport: [^\n]*\(said once\)\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"source (nat|kubernetes|nginx|apache|haproxy|systemd|docker|podman|quadlet): (seen|absent)", r"source \1: absent",
                  text)
    text = text.replace(f"nextport: {socket.gethostname()}:", "nextport: web1:")
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME", text)


@pytest.fixture
def shell(program, ledger, tmp_path):
    """Runs a line as a person or a step would, with the program on PATH."""
    env = dict(os.environ, PATH=f"{os.path.dirname(program)}:{os.environ['PATH']}", NEXTPORT_LEDGER=str(ledger),
               NEXTPORT_CONFIG="/dev/null", LC_ALL="C.UTF-8", NO_COLOR="1")

    def run(line):
        return subprocess.run(["bash", "-c", line], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60)

    return run


@pytest.mark.linux("what a step logs names the sources of its system")
def test_the_tour_prints_what_it_shows(shell):
    seen = 0
    for command, shown in steps():
        if not command.startswith("nextport "):
            continue
        done = shell(command)
        assert settled(done.stdout + done.stderr) == settled(shown), command
        seen += 1
    assert seen >= 6


def test_the_first_lines_print_what_they_show(shell):
    """`./script/run` is `nextport next` once everything is built."""
    (command, shown), *_ = steps()
    assert command == "./script/run"
    done = shell("nextport next")
    assert settled(done.stdout + done.stderr) == settled(shown)


def test_the_octopus_step_sets_the_variable(shell):
    step, *_ = [block for block in blocks("bash") if "octopus" in block]
    done = shell(step)
    assert done.returncode == 0 and done.stderr == ""
    reader = octopus_reader.Reader()
    reader.feed(done.stdout.encode())
    reader.close()
    assert reader.variables == {"Port": "49000"}


def test_the_octopus_step_fails_when_there_is_no_port(shell):
    step, *_ = [block for block in blocks("bash") if "octopus" in block]
    assert shell(step.replace("nextport next", "nextport next --range 80 --exclude 80")).returncode == 2


def test_the_plain_recipe_stops_the_script_when_there_is_no_port(shell):
    recipe, *_ = [block for block in blocks("bash") if "octopus" not in block]
    assert shell(recipe + "echo $port").stdout == "49000\n"
    failed = shell(recipe.replace("nextport next", "nextport next --iis-config /nonexistent") + "echo $port")
    assert (failed.returncode, failed.stdout) == (4, "")


def test_the_binding_is_json_that_names_the_steps_output():
    binding, = json.loads(blocks("json")[0])
    assert binding["port"] == "#{Octopus.Action[Allocate port].Output.Port}"
    assert 'called "Allocate port"' in TEXT
