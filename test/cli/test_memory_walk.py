# SPDX-License-Identifier: MIT
"""A walk at random through the configurations of a machine: what a request remembers is what another one sees afresh.

A failure prints the changes that led to it, and the seed:

    NEXTPORT_SEED=4711 NEXTPORT_STEPS=300 script/test model
"""
import os
import random
import subprocess

import pytest

from conftest import ROOT

pytestmark = pytest.mark.linux("nothing is kept on Windows")

STEPS = int(os.environ.get("NEXTPORT_STEPS", "300"))


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_what_is_remembered_is_what_would_be_seen(program, tmp_path, user):
    if os.geteuid() != 0:
        pytest.skip("needs root, to hide the configurations of this machine")
    seed = os.environ.get("NEXTPORT_SEED", str(random.randrange(2**32)))
    walk = [ROOT / "test" / "lib" / "memory_walk.py", program, seed, str(STEPS), user]
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "/usr/bin/python3", "-B", *walk],
                          env=dict(os.environ, NEXTPORT_CONFIG=os.devnull), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"
    assert int(done.stdout) > STEPS / 2, f"seed {seed}: little was remembered, so little was tried"
