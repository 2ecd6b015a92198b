# SPDX-License-Identifier: MIT
"""Reads a step's standard output the way Octopus Deploy does; written from the observed behaviour of its readers.

Octopus reads service messages twice. Calamari's reader (A) decides what the running action sees, the server's (S) what
later steps see; engines that speak the same language (the strict one) want the message alone on its line, in one form.
A variable counts as set only where all three agree, because that is what a deployment can rely on.

    reader = Reader()
    for chunk in output:
        reader.feed(chunk)
    reader.close()
    reader.variables, reader.level, reader.results, reader.log
"""
import base64
import binascii
import codecs
import re
import xml.etree.ElementTree as xml

LABEL = "##octopus"  # what either reader looks for; the bracket after it may be missing or double
LEVELS = {"stdout-" + level: level for level in "verbose default warning error highlight wait ignore".split()}
BASE64 = "[A-Za-z0-9+/]+={0,2}"
STRICT = re.compile(rf"##octopus\[setVariable name='({BASE64})' value='({BASE64})'\]")


class NotAMessage(ValueError):
    """The text between the label and the bracket cannot be read."""


def decode_value(text):
    """Strict alphabet and padding, blanks ignored; bytes that are not UTF-8 become U+FFFD."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise NotAMessage(text) from wrong
    return data.decode("utf-8", "replace")


def parse_message(content):
    """(name, attributes) of what stood between the label and the first closing bracket."""
    text = content.strip().lstrip("[").replace("\r", "").replace("\n", "")
    try:
        element = xml.fromstring(f"<{text}/>")
    except xml.ParseError as wrong:
        raise NotAMessage(text) from wrong
    return element.tag, {key.lower(): decode_value(value) for key, value in element.attrib.items()}


class CalamariReader:
    """A: finds the label anywhere, even broken over lines, and ignores what follows a message on its line."""

    def __init__(self):
        self.variables, self.matched, self.content, self.skipping = {}, 0, None, False

    def char(self, c):
        if self.skipping:
            self.skipping = c != "\n"
        elif self.content is not None:
            self._inside(c)
        elif c != "\n":
            self.matched = self.matched + 1 if c == LABEL[self.matched] else 0
            if self.matched == len(LABEL):
                self.matched, self.content = 0, ""

    def _inside(self, c):
        if c != "]":
            self.content += c
            return
        try:
            name, attributes = parse_message(self.content)
        except NotAMessage:
            name = None
        if name == "setVariable" and attributes.get("name", "").strip():
            self.variables[attributes["name"]] = attributes.get("value")
        self.content, self.skipping = None, True


class ServerReader:
    """S: a message begins a line or follows another one directly; everything else is log text at the level in force."""

    def __init__(self):
        self.variables, self.level, self.log, self.results, self.warnings = {}, "default", [], [], []
        self.text, self.content, self.matching = "", None, True

    def char(self, c):
        if self.content is not None:
            self._inside(c)
        elif c == "\n":
            self._end_line()
        else:
            self.text += c
            self.matching = self.matching and LABEL.startswith(self.text)
            if self.matching and self.text == LABEL:
                self.content, self.text = "", ""

    def close(self):
        if self.content is not None:
            self.warnings.append(LABEL + self.content)
        self._end_line()

    def _end_line(self):
        if self.text:
            self.log.append((self.level, self.text))
        self.text, self.matching = "", True

    def _inside(self, c):
        if c != "]":
            self.content += c
            return
        try:
            if "\n" in self.content:
                raise NotAMessage(self.content)
            self._obey(*parse_message(self.content))
        except NotAMessage:
            self.warnings.append(LABEL + self.content + "]")
        self.content, self.matching = None, True

    def _obey(self, name, attributes):
        if name == "setVariable" and "name" in attributes and "value" in attributes:
            self.variables[attributes["name"]] = attributes["value"]
        elif name == "resultMessage":
            self.results.append(attributes.get("message"))
        elif name in LEVELS:
            self.level = LEVELS[name]


class StrictReader:
    """The whole line is one message, written in the one form that every engine reads."""

    def __init__(self):
        self.variables, self.line = {}, ""

    def char(self, c):
        if c != "\n":
            self.line += c
            return
        match = STRICT.fullmatch(self.line)
        if match:
            try:
                name, value = map(decode_value, match.groups())
                self.variables[name] = value
            except NotAMessage:
                pass
        self.line = ""

    def close(self):
        self.char("\n")


class Reader:
    """All of them on one stream of bytes, cut anywhere. A bare CR ends a line as well as LF and CRLF do."""

    def __init__(self):
        self.calamari, self.server, self.strict = CalamariReader(), ServerReader(), StrictReader()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._after_cr = False

    def feed(self, data):
        self._chars(self._decoder.decode(data))

    def close(self):
        self._chars(self._decoder.decode(b"", final=True))
        self.server.close()
        self.strict.close()

    def _chars(self, text):
        for c in text:
            if not (c == "\n" and self._after_cr):
                for reader in (self.calamari, self.server, self.strict):
                    reader.char("\n" if c == "\r" else c)
            self._after_cr = c == "\r"

    @property
    def variables(self):
        """What a deployment can rely on."""
        a, s = self.calamari.variables, self.server.variables
        return {n: v for n, v in self.strict.variables.items() if v and a.get(n) == v and s.get(n) == v}

    @property
    def attempts(self):
        """Every name that any reader would set to anything."""
        return set(self.calamari.variables) | set(self.server.variables) | set(self.strict.variables)

    level = property(lambda self: self.server.level)
    log = property(lambda self: self.server.log)
    results = property(lambda self: self.server.results)
    warnings = property(lambda self: self.server.warnings)


def read(data, cuts=()):
    """Everything at once, or in the pieces that `cuts` (ascending offsets) make."""
    reader = Reader()
    edges = [0, *cuts, len(data)]
    for begin, end in zip(edges, edges[1:]):
        reader.feed(data[begin:end])
    reader.close()
    return reader
