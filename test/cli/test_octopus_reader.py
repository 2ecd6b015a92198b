# SPDX-License-Identifier: MIT
"""The reader that the Octopus tests trust: how each of Octopus's readers takes each shape of input."""
import base64

import pytest

from octopus_reader import read

pytestmark = pytest.mark.linux("no program at all")

PORT, P8080 = "name='UG9ydA=='", "value='ODA4MA=='"
GOOD = f"##octopus[setVariable {PORT} value='NDkxNTI=']"
OTHER = f"##octopus[setVariable {PORT} {P8080}]"
SET, SET_8080, NOTHING = {"Port": "49152"}, {"Port": "8080"}, {}

# what it is, the input, what A sets, what S sets, what counts
VECTORS = [
    ("alone on its line", GOOD + "\n", SET, SET, SET),
    ("crlf", GOOD + "\r\n", SET, SET, SET),
    ("bare cr", GOOD + "\r", SET, SET, SET),
    ("end of input", GOOD, SET, SET, SET),
    ("after a log line", "nextport: hello\n" + GOOD + "\n", SET, SET, SET),
    ("double quotes", GOOD.replace("'", '"'), SET, SET, NOTHING),
    ("blank before", " " + OTHER, SET_8080, NOTHING, NOTHING),
    ("text before", "port: " + OTHER, SET_8080, NOTHING, NOTHING),
    ("byte order mark before", "\ufeff" + OTHER, SET_8080, NOTHING, NOTHING),
    ("colour before", "\x1b[0m" + OTHER, SET_8080, NOTHING, NOTHING),
    ("hash before", "#" + GOOD, NOTHING, NOTHING, NOTHING),
    ("text after", GOOD + " done", SET, SET, NOTHING),
    ("two adjacent", GOOD + OTHER, SET, SET_8080, NOTHING),
    ("two with a blank between", GOOD + " " + OTHER, SET, SET, NOTHING),
    ("broken in base64", GOOD.replace("NDkx", "NDkx\n"), SET, NOTHING, NOTHING),
    ("broken label", GOOD.replace("##octo", "##octo\n"), SET, NOTHING, NOTHING),
    ("no closing bracket", GOOD[:-1] + "\n" + OTHER + "\n", NOTHING, NOTHING, NOTHING),
    ("raw value of four digits", f"##octopus[setVariable {PORT} value='8080']", {"Port": "\ufffdO4"},
     {"Port": "\ufffdO4"}, {"Port": "\ufffdO4"}),
    ("raw value of five digits", f"##octopus[setVariable {PORT} value='49152']", NOTHING, NOTHING, NOTHING),
    ("padding missing", f"##octopus[setVariable {PORT} value='NDkxNTI']", NOTHING, NOTHING, NOTHING),
    ("url-safe alphabet", f"##octopus[setVariable {PORT} value='_-8=']", NOTHING, NOTHING, NOTHING),
    ("duplicate attribute", f"##octopus[setVariable {PORT} {PORT} {P8080}]", NOTHING, NOTHING, NOTHING),
    ("unquoted", "##octopus[setVariable name=UG9ydA== value=ODA4MA==]", NOTHING, NOTHING, NOTHING),
    ("wrong case of the name", GOOD.replace("setV", "setv"), NOTHING, NOTHING, NOTHING),
    ("other case of an attribute", GOOD.replace("name=", "NAME="), SET, SET, NOTHING),
    ("empty value", f"##octopus[setVariable {PORT} value='']", {"Port": ""}, {"Port": ""}, NOTHING),
    ("no value", f"##octopus[setVariable {PORT}]", {"Port": None}, NOTHING, NOTHING),
    ("empty name", "##octopus[setVariable name='' value='ODA4MA==']", NOTHING, {"": "8080"}, NOTHING),
    ("entity", f"##octopus[setVariable {PORT} value='&#78;DkxNTI=']", SET, SET, NOTHING),
    ("bracket in a value", f"##octopus[setVariable {PORT} value=']']", NOTHING, NOTHING, NOTHING),
    ("no bracket", f"##octopussetVariable {PORT} {P8080}]", SET_8080, SET_8080, NOTHING),
    ("double bracket", GOOD.replace("[", "[["), SET, SET, NOTHING),
]
IDS = [vector[0] for vector in VECTORS]


@pytest.fixture(autouse=True)
def namespace():
    """Nothing here touches the network."""


@pytest.mark.parametrize("what, text, a, s, counts", VECTORS, ids=IDS)
def test_each_reader_takes_it_as_observed(what, text, a, s, counts):
    reader = read(text.encode())
    assert (reader.calamari.variables, reader.server.variables, reader.variables) == (a, s, counts)


@pytest.mark.parametrize("what, text, a, s, counts", VECTORS, ids=IDS)
def test_chunks_change_nothing(what, text, a, s, counts):
    data = text.encode()
    reader = read(data, range(1, len(data)))
    assert (reader.calamari.variables, reader.server.variables, reader.variables) == (a, s, counts)


def test_a_level_lasts_until_the_next():
    reader = read(b"a\n##octopus[stdout-warning]\nb\nc\n##octopus[stdout-default]\nd\n")
    assert reader.log == [("default", "a"), ("warning", "b"), ("warning", "c"), ("default", "d")]
    assert reader.level == "default"
    assert read(b"##octopus[stdout-error]\nb\n").level == "error"


def test_a_result_message_is_read():
    message = base64.b64encode("nein: ä".encode()).decode()
    assert read(f"##octopus[resultMessage message='{message}']\n".encode()).results == ["nein: ä"]


def test_what_the_server_cannot_parse_is_a_warning():
    reader = read(f"##octopus[setVariable {PORT} value=']']\n".encode())
    assert len(reader.warnings) == 1 and reader.log == [("default", "']")]
