# SPDX-License-Identifier: MIT
"""Docker on Windows: its files in %ProgramData%, and its engine behind a named pipe, played by a double."""
import json

import pytest

from test_containers import bindings, inspection
from test_windows import beside, disk  # noqa: F401

pytestmark = pytest.mark.windows("Docker's places and pipe on Windows")
FOLDER = "drive_c/ProgramData/docker"


def claims(nextport):
    used = nextport("used", "--source", "docker", "--format", "json").json
    return {claim["first"]: claim["holder"] for claim in used["claims"]}, used["sources"][0]


@pytest.fixture
def engine(beside, tmp_path):  # noqa: F811
    """engine({id: inspection}): the double with these containers; what is None it does not answer."""
    def start(containers):
        folder = tmp_path / "engine"
        folder.mkdir()
        answers = {"list": [{"Id": id} for id in containers], **containers}
        for name, answer in answers.items():
            (folder / name).write_text("" if answer is None else json.dumps(answer))
        return beside("fake_docker", folder)
    return start


def test_a_machine_without_docker_has_none(nextport):
    assert claims(nextport)[1]["sight"] == "absent"


def test_the_files_of_a_stopped_container_are_read(nextport, disk):  # noqa: F811
    whole = inspection("shop", bindings(49000))
    disk(f"{FOLDER}/containers/ab12/hostconfig.json", json.dumps(whole.pop("HostConfig")))
    disk(f"{FOLDER}/containers/ab12/config.v2.json", json.dumps(whole))
    assert claims(nextport)[0] == {49000: "shop"}
    assert nextport("next").port == 49001


def test_the_engine_is_asked_by_its_pipe(nextport, engine):
    engine({"a1": inspection("shop", bindings(49000, "49001-49004")), "b2": inspection("x" * 30000, bindings(49005))})
    found, seen = claims(nextport)
    assert found[49000] == "shop" and 49005 in found and seen["sight"] == "seen", seen
    assert nextport("next").port == 49006


def test_an_engine_that_keeps_silent_stops_nobody(nextport, engine):
    engine({"a1": inspection("shop", bindings(49000)), "b2": None})
    done = nextport("next")
    assert done.port == 49001 and "did not answer in time, after 1 of 2" in done.log, done
    assert claims(nextport)[0] == {49000: "shop"}
