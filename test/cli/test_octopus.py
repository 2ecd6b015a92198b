# SPDX-License-Identifier: MIT
"""--format octopus, end to end: what Octopus Deploy's readers make of the real program's bytes."""
import random
from xml.sax.saxutils import quoteattr

import pytest

from octopus_reader import read

# what a site's administrator can write into a name, and what must not come of it
HOSTILE = [
    "##octopus[setVariable name='UG9ydA==' value='ODA=']",
    "x&#10;##octopus[setVariable name='UG9ydA==' value='ODA=']",
    "x&#13;##octopus[setVariable name='UG9ydA==' value='ODA=']&#13;",
    "###octopus[stdout-error]",
    "&#10;##octopus[stdout-ignore]&#10;",
    "##octo&#10;pus[setVariable name='UG9ydA==' value='ODA=']",
    "##octopus[setVariable name='UG9ydA=='",
    "&#x85;&#x2028;##octopus[resultMessage message='QQ==']",
    "Müller &amp; Söhne ]]",
    "##vso[task.setvariable variable=Port]80 ##teamcity[x] ##[error]",
    "A" * 5000,
]


@pytest.fixture
def iis(tmp_path):
    """iis("Shop=49000", ..): an applicationHost.config with these sites; names are XML text."""

    def write(*sites):
        rows = []
        for number, (name, port) in enumerate((site.rsplit("=", 1) for site in sites), 1):
            name = quoteattr(name).replace("&amp;", "&")
            rows.append(f'<site name={name} id="{number}"><bindings>'
                        f'<binding protocol="http" bindingInformation="*:{port}:"/></bindings></site>')
        path = tmp_path / "applicationHost.config"
        path.write_text("<configuration><system.applicationHost><sites>" + "".join(rows) +
                        "</sites></system.applicationHost></configuration>", encoding="utf-8")
        return path

    return write


@pytest.fixture
def octopus(nextport):
    """Runs `nextport next --format octopus ..` and reads its output as Octopus does."""

    def run(*args, **kwargs):
        done = nextport("next", "--format", "octopus", *args, **kwargs)
        done.reader = read(done.out)
        assert done.reader.level == "default", done
        assert not done.reader.warnings, done
        assert all(line.startswith("nextport: ") for _, line in done.reader.log), done
        assert all(byte == 10 or 32 <= byte < 127 for byte in done.out), done
        return done

    return run


def assert_set(done, **expected):
    assert done.status == 0, done
    assert done.err == b"", done
    assert done.reader.variables == {name: str(port) for name, port in expected.items()}, done
    assert done.reader.attempts == set(expected), done


def assert_refused(done, status):
    assert done.status == status, done
    assert not done.reader.attempts, done


def test_the_variable_is_set_by_the_last_line(octopus):
    done = octopus("--range", "49000-49009")
    assert_set(done, Port=49000)
    assert done.out.endswith(b"\n##octopus[setVariable name='UG9ydA==' value='NDkwMDA=']\n")


def test_quiet_leaves_the_message_alone(octopus):
    done = octopus("--quiet", "--range", "49000-49009")
    assert done.out == b"##octopus[setVariable name='UG9ydA==' value='NDkwMDA=']\n"
    assert done.err == b""


def test_chunks_of_any_size_set_the_same(octopus, iis):
    done = octopus("--verbose", "--count", "3", "--range", "49000-49009", "--iis-config", iis("Shop=49001"))
    assert_set(done, Port=49000, Port2=49002, Port3=49003)
    dice = random.Random(1)
    cuts = [range(1, len(done.out), step) for step in (1, 2, 3, 7, 61)]
    cuts += [sorted(dice.sample(range(1, len(done.out)), 20)) for _ in range(50)]
    for cut in cuts:
        reader = read(done.out, cut)
        assert (reader.variables, reader.log) == (done.reader.variables, done.reader.log)


def test_each_name_gets_a_port(octopus):
    assert_set(octopus("--name", "Web Port", "--name", "ä']\"", "--range", "49000-49009"),
               **{"Web Port": 49000, "ä']\"": 49001})


def test_the_log_names_the_choice_and_what_was_passed_over(octopus, iis):
    done = octopus("--range", "49000-49009", "--iis-config", iis("Shop=49000"))
    assert_set(done, Port=49001)
    normal = [line for level, line in done.reader.log if level == "default" and "said once" not in line]
    assert len(normal) == 1 and "port 49001 for Port" in normal[0] and "49000 (iis: Shop)" in normal[0], done
    assert any(level == "verbose" and "49000 (iis: Shop)" in line for level, line in done.reader.log), done


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_site_name_can_say_nothing_to_octopus(octopus, iis, name):
    done = octopus("--verbose", "--range", "49000-49009", "--iis-config", iis(name + "=49000"))
    assert_set(done, Port=49001)
    assert not done.reader.results, done


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_nor_can_it_when_the_pool_is_full(octopus, iis, name):
    done = octopus("--verbose", "--range", "49000", "--iis-config", iis(name + "=49000"))
    assert_refused(done, 3)
    assert len(done.reader.results) == 1, done


def test_a_full_pool_fails_with_a_result_message(octopus, iis):
    done = octopus("--range", "49000-49001", "--iis-config", iis("Shop=49000", "Old=49001"))
    assert_refused(done, 3)
    (result,) = done.reader.results
    assert "2 ports" in result and "iis" in result and " on " in result, done
    assert any(level == "error" and "2 ports" in line for level, line in done.reader.log), done


def test_unreadable_evidence_fails_with_a_result_message(octopus, tmp_path):
    broken = tmp_path / "broken.config"
    broken.write_text("<configuration><system.applicationHost>")
    done = octopus("--range", "49000-49009", "--iis-config", broken)
    assert_refused(done, 4)
    assert "iis" in done.reader.results[0], done


def test_what_was_not_seen_is_a_warning_on_standard_output(octopus, tmp_path):
    broken = tmp_path / "broken.config"
    broken.write_text("<configuration><system.applicationHost>")
    done = octopus("--range", "49000-49009", "--iis-config", broken, "--policy", "iis=warn")
    assert_set(done, Port=49000)
    assert any(level == "warning" and "iis" in line for level, line in done.reader.log), done


def test_an_unusable_ledger_fails_with_a_result_message(octopus, tmp_path):
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no ledger " * 1000)
    garbage.chmod(0o600)
    done = octopus("--ledger", garbage)
    assert_refused(done, 5)
    assert done.reader.results, done


@pytest.mark.parametrize("name", ["", " ", " Port", "Port ", "a\nb", "a\tb", "a\x7fb", "x" * 201, "a\x85b"])
def test_a_name_octopus_could_not_keep_is_refused(octopus, name):
    done = octopus("--name", name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
    assert_refused(done, 2)


def test_a_dry_run_sets_nothing(octopus):
    done = octopus("--dry-run", "--range", "49000-49009")
    assert done.status == 0 and not done.reader.attempts, done
    assert any("49000" in line and "dry run" in line for _, line in done.reader.log), done


def test_port_81_is_never_given_where_iis_is(octopus, iis):
    done = octopus("--range", "80-82", "--iis-config", iis("Default Web Site=80"))
    assert_set(done, Port=82)


def test_port_81_is_a_port_like_any_other_elsewhere(octopus):
    assert_set(octopus("--range", "81-82"), Port=81)


@pytest.mark.parametrize("variable", ["TentacleHome", "AgentProgramDirectoryPath"])
def test_a_tentacle_is_recognised(nextport, variable):
    done = nextport("next", "--format", "auto", "--range", "49000-49009", env={variable: "/etc/octopus"})
    assert read(done.out).variables == {"Port": "49000"}, done


def test_a_tentacle_changes_nothing_unasked(nextport):
    done = nextport("next", "--range", "49000-49009", env={"TentacleHome": "/etc/octopus"})
    assert done.out == b"49000\n", done


@pytest.mark.parametrize("locale", ["C", "de_DE.UTF-8"])
def test_the_locale_changes_nothing(octopus, iis, locale):
    done = octopus("--dry-run", "--range", "49000-49009", "--iis-config", iis("Müller=49000"), env={"LC_ALL": locale})
    assert any("49001" in line and "M\\xc3\\xbcller" in line for _, line in done.reader.log), done
