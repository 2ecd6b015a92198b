# SPDX-License-Identifier: MIT
"""The example of the library, as it is built from the sources and from an installed copy."""
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT, Done

pytestmark = pytest.mark.linux("the shared library")


def test_the_example_leases_the_port_that_it_prints(nextport, ledger):
    example = Done(subprocess.run([str(BUILD / "test" / "example-next"), str(ledger)], capture_output=True,
                                  env=dict(os.environ, NEXTPORT_CONFIG="")))
    assert example.port == 49000
    assert [lease["port"] for lease in nextport("leases", "--format", "json").json["leases"]] == [49000]


def test_the_example_says_what_it_could_not_do(tmp_path):
    run = subprocess.run([str(BUILD / "test" / "example-next"), str(tmp_path / "missing" / "ledger.db")],
                         capture_output=True, text=True, env=dict(os.environ, NEXTPORT_CONFIG=""))
    assert run.returncode != 0 and run.stdout == ""
    assert "missing" in run.stderr


def test_an_installed_library_is_found_by_pkg_config(tmp_path, ledger):
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed")
    if "asan" in BUILD.name:
        pytest.skip("a plain program cannot load a library built with sanitizers")
    subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--destdir", str(tmp_path)],
                   check=True, capture_output=True)
    pc = next(pathlib.Path(tmp_path).rglob("nextport.pc"))
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(tmp_path), NEXTPORT_CONFIG="")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "nextport"], check=True, capture_output=True,
                           text=True, env=env).stdout.split()
    program = tmp_path / "example"
    subprocess.run(["cc", str(ROOT / "examples" / "next.c"), "-o", str(program), *flags], check=True)
    env["LD_LIBRARY_PATH"] = str(pc.parent.parent)
    assert Done(subprocess.run([str(program), str(ledger)], capture_output=True, env=env)).port == 49000
