# SPDX-License-Identifier: MIT
"""The model of giving a port (doc/model) keeps its promises in every order of steps, and each defect is found."""
import re
import shutil
import subprocess

import pytest

from conftest import ROOT

MODEL = ROOT / "doc" / "model" / "allocation.pml"
pytestmark = pytest.mark.linux("the model knows no system; once is enough")


@pytest.fixture
def check(tmp_path):
    """check("LOOK_FIRST"): (errors found, what the checker said)"""
    if not shutil.which("spin"):
        pytest.skip("spin is not installed")

    def run(*defines, live=False):
        words = [f"-D{word}" for word in (*defines, *(["LIVE"] if live else []))]
        kind = ["-DNFAIR=3"] if live else ["-DSAFETY"]
        search = ["-a", "-f"] if live else []
        for command in (["spin", "-a", *words, str(MODEL)], ["cc", "-O1", *kind, "-o", "pan", "pan.c"]):
            subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        done = subprocess.run(["./pan", *search, "-m100000"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                              timeout=300)
        errors = re.search(r"errors: (\d+)", done.stdout)
        assert errors and "error: max search depth too small" not in done.stdout, done.stdout
        return int(errors[1]), done.stdout

    return run


@pytest.mark.parametrize("variant", [(), ("NO_QUEUE",)], ids=["with the queue", "with the transaction alone"])
def test_no_order_of_steps_breaks_a_promise(check, variant):
    errors, said = check(*variant)
    assert errors == 0, said
    assert int(re.search(r"(\d+) states, stored", said)[1]) > 1000000, "the model has shrunk: it proves less"


def test_whoever_is_killed_everyone_else_gets_an_answer(check):
    errors, said = check(live=True)
    assert errors == 0, said


@pytest.mark.parametrize("defect, broken", [
    ("LOOK_FIRST", "told"),
    ("LOOK_ONCE", "seen==configured"),
    ("CLOSE_FIRST", "bound[port]==me"),
    ("ANSWER_FIRST", "row[port]=="),
    ("WITHDRAW_BLINDLY", "told[port]==0"),
    ("SWEEP_BLINDLY", "bound[port]!="),
])
def test_a_defect_is_found(check, defect, broken):
    errors, said = check(defect)
    assert errors == 1 and "assertion violated" in said, said
    assert broken in said.split("assertion violated")[1].splitlines()[0], said


def test_a_lock_that_outlives_its_holder_is_found(check):
    errors, said = check("LOCK_OUTLIVES", live=True)
    assert errors == 1 and "acceptance cycle" in said, said
