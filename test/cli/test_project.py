# SPDX-License-Identifier: MIT
"""Promises of the project itself: its layout, its binaries, its documents."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

HEADERS_OF_C = set("""assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
    stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar
    wctype""".split())
# what each part may include of the others; nextport.h is for all
ARROWS = {
    "base": {"base"},
    "core": {"base", "core"},
    "host": {"base", "core", "host"},
    "source": {"base", "core", "host", "source"},
    "ledger": {"base", "core", "host", "ledger"},
    "output": {"base", "core", "output"},
    "facade": {"base", "core", "host", "source", "ledger", "output", "facade"},
    "cli": {"cli"},
}
# what else each part may include, beside standard C
LIBRARIES = {"ledger": {"sqlite3.h"}, "source": {"expat.h", "sqlite3.h"}, "cli": {"getopt.h"}}
# files for one system: everything in a folder of its name, or ending in it
SYSTEM_FILE = re.compile(r"/(linux|windows)/|_(linux|windows)\.c$")
SYSTEM_CONDITION = re.compile(r"^\s*#\s*(?:el)?if(?:n?def)?\b.*\b"
                              r"(__linux__|__unix__|_WIN32|_WIN64|__APPLE__|__FreeBSD__|_MSC_VER)\b", re.MULTILINE)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


@pytest.fixture(autouse=True)
def namespace():
    """Nothing here opens a socket."""


def files(*folders, ends=(".c", ".h")):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.name.endswith(ends)]


def shown(path):
    return str(path.relative_to(ROOT))


def lines_of(*command, **kwargs):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **kwargs)
    return done.returncode, done.stdout


# ---- Layout ---------------------------------------------------------------------------------------------------------


def part_of(path):
    return path.relative_to(ROOT / "src").parts[0]


def may_include(path, quote, name):
    part = part_of(path)
    if name == "nextport.h":
        return True
    if quote == '"':
        beside = (path.parent / name).exists() and "/" not in name
        return beside or name.split("/")[0] in ARROWS[part] and part != "cli"
    if name.removesuffix(".h") in HEADERS_OF_C or name in LIBRARIES.get(part, ()):
        return True
    return bool(SYSTEM_FILE.search(shown(path)))


def test_includes_follow_the_arrows():
    wrong = [f"{shown(path)} includes {name}" for path in files("src")
             for quote, name in INCLUDE.findall(path.read_text()) if not may_include(path, quote, name)]
    assert wrong == []


def test_every_folder_of_the_source_has_its_place():
    assert {part_of(path) for path in files("src")} == set(ARROWS)


def test_a_system_difference_is_a_file_not_a_branch():
    wrong = [f"{shown(path)}: {match[0].strip()}" for path in files("src") if "src/host/" not in str(path)
             for match in SYSTEM_CONDITION.finditer(path.read_text())]
    assert wrong == []


def test_every_source_file_names_its_licence():
    ours = files("src", "include", "test", "examples", "script", ".ci", ends=(".c", ".h", ".py", ".mjs", ".sh"))
    ours += [path for folder in ("script", ".ci") for path in (ROOT / folder).iterdir()]
    ours += [ROOT / "meson.build", ROOT / "meson_options.txt", ROOT / "test/meson.build", ROOT / "doc/meson.build"]
    assert [shown(path) for path in ours if "SPDX-License-Identifier: MIT" not in path.read_text()[:4000]] == []


def test_clang_format_has_nothing_to_say():
    if not shutil.which("clang-format"):
        pytest.skip("clang-format is not installed")
    ours = files("src", "include", "test", "examples")
    status, said = lines_of("clang-format", "--dry-run", "--Werror", *ours, cwd=ROOT)
    assert status == 0, said


def test_shellcheck_has_nothing_to_say():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    scripts = [path for path in files("script", ".ci", "test", "examples", ends=("",)) if is_shell(path)]
    assert len(scripts) >= 5
    status, said = lines_of("shellcheck", *scripts)
    assert status == 0, said


def is_shell(path):
    if not path.is_file():
        return False
    with path.open("rb") as script:
        return re.match(rb"#!/bin/(ba)?sh\n", script.read(16)) is not None


def test_every_script_can_be_run():
    scripts = [path for path in files("script", ".ci", ends=("",)) if path.is_file()]
    assert [shown(path) for path in scripts if not os.access(path, os.X_OK)] == []


# ---- The hot binary -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readelf():
    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed")

    def read(*options):
        status, said = lines_of("readelf", "--wide", *options, BUILD / "nextport", env=dict(os.environ, LC_ALL="C"))
        assert status == 0, said
        return said

    return read


def test_the_program_starts_with_libc_alone(readelf):
    needed = set(re.findall(r"\(NEEDED\).*\[(.+?)\]", readelf("--dynamic")))
    assert "libc.so.6" in needed
    assert needed <= {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


def test_the_program_is_loaded_anywhere_and_its_tables_are_read_only(readelf):
    assert re.search(r"Type:\s+DYN", readelf("--file-header"))
    dynamic, segments = readelf("--dynamic"), readelf("--program-headers")
    assert re.search(r"FLAGS_1.*\bPIE\b", dynamic)
    assert re.search(r"BIND_NOW|FLAGS_1.*\bNOW\b", dynamic)
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+RW\s", segments), "the stack is executable"


def test_the_program_checks_its_stack_and_its_buffers(readelf):
    symbols = readelf("--symbols", "--dyn-syms")
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__(v?snprintf|v?fprintf|memcpy|memmove|memset|read|pread|strcpy|strcat)_chk", symbols)


def test_the_library_shows_only_what_its_header_promises():
    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed")
    status, said = lines_of("readelf", "--wide", "--dyn-syms", BUILD / "libnextport.so")
    assert status == 0, said
    shown_names = set(re.findall(r"(?:FUNC|OBJECT)\s+GLOBAL\s+DEFAULT\s+(?!UND)\S+\s+([^\s@]+)", said))
    header = (ROOT / "include/nextport.h").read_text()
    promised = set(re.findall(r"^NEXTPORT_API\b[^;]*?\b(nextport_\w+)\s*[(;\[]", header, re.MULTILINE))
    assert shown_names == promised


# ---- Documents ------------------------------------------------------------------------------------------------------


def manual(page):
    built = BUILD / "doc" / page
    if not built.exists():
        pytest.skip("scdoc is not installed: no manual pages are built")
    return built


@pytest.mark.parametrize("page", ["nextport.1", "nextport.3", "nextport.conf.5"])
def test_manual_pages_are_sound(page):
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed")
    status, said = lines_of("mandoc", "-T", "lint", "-W", "error", manual(page))
    assert status == 0, said
    assert len(manual(page).read_text().splitlines()) > 20, "the page says nothing"


def commands(program):
    status, said = lines_of(program, "--help")
    assert status == 0, said
    rows = said.partition("\ncommands\n")[2].partition("\n\n")[0]
    return re.findall(r"^  (\w+)  ", rows, re.MULTILINE)


def options_in_help(program):
    found = set()
    for command in commands(program):
        status, said = lines_of(program, command, "--help")
        assert status == 0, said
        found |= set(re.findall(r"^(?:  -\w,|     ) (--[a-z][a-z-]+)", said, re.MULTILINE))
    return found


def test_the_text_of_each_option_in_help_begins_two_blanks_after_it_or_below(program):
    option = re.compile(r"  (-\w, |    )--[a-z-]+( [A-Z=]+)?(  +\S.*|$)")
    for command in set(commands(program)) - {"help"}:
        said = lines_of(program, command, "--help")[1].partition("\noptions\n")[2].splitlines()
        assert said and max(map(len, said)) < 80, command
        for line, below in zip(said, [*said[1:], ""]):
            told = option.fullmatch(line)
            assert told or line.startswith(" " * 20), (command, line)
            assert not told or told.group(3) or below.startswith(" " * 20), (command, line)


def manual_text():
    """The page's words, without scdoc's escapes."""
    return re.sub(r"[\\*_]", "", (ROOT / "doc/man/nextport.1.scd").read_text())


def test_every_option_is_in_the_manual_and_every_option_there_exists(program):
    known, documented = options_in_help(program), set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", manual_text()))
    assert known, "--help lists no options"
    assert {"in --help only": known - documented, "in the manual only": documented - known} == {
        "in --help only": set(), "in the manual only": set()}


def test_every_command_is_in_the_manual(program):
    text = manual_text()
    entry = r"^(?:#+ )?(?:nextport )?{}\b"
    assert [name for name in commands(program) if not re.search(entry.format(name), text, re.MULTILINE)] == []


README_COMMAND = re.compile(r"^\s*(?:\$ |sudo |# )*(?:\./script/run|script/run|nextport) +([a-z][a-z-]*)", re.MULTILINE)


def test_the_commands_of_the_readme_exist(program):
    readme = ROOT / "README.md"
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL)
    used = {word for block in blocks for word in README_COMMAND.findall(block)}
    assert used, "the README shows no command"
    assert used - set(commands(program)) == set()


def test_the_options_of_the_readme_exist(program):
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()
             if re.match(r"\s*(?:\$ |sudo )*(?:\./script/run|nextport)\b", line)]
    used = {word for line in lines for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)}
    assert used - options_in_help(program) == set()


@pytest.mark.parametrize("script", ["run", "test", "bench"])
def test_the_readme_opens_with_the_scripts(script):
    assert f"./script/{script}" in (ROOT / "README.md").read_text()


def test_links_between_documents_lead_somewhere():
    broken = []
    for page in [ROOT / "README.md", *sorted(pathlib.Path(ROOT / "doc").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{shown(page)}: {target}")
    assert broken == []
