"""FastAGI as bytes: what Asterisk says about a call, its answers, and the commands. No sockets here.

Asterisk connects and sends lines ``agi_name: value`` and an empty line. Then it obeys commands, one line each, and
answers ``200 result=1 (value)``; a wrong command is answered with lines ``520-…`` up to one that begins ``520 ``, a
line ``100 …`` says that the answer is still to come, and ``HANGUP`` that the caller has gone (docs.asterisk.org,
"Asterisk Gateway Interface").
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from antifraud.domain import EventError

LONGEST_LINE: Final = 16_384
MOST_LINES: Final = 256
LONGEST_VALUE: Final = 300
_NAME: Final = re.compile(r"agi_[a-z0-9_]{1,40}\Z")
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,39}\Z")
_ANSWER: Final = re.compile(r"200 result=(-?[0-9]{1,9})(?: \((.*)\))?(?: [^()]*)?\Z")
_REFUSAL: Final = re.compile(r"([13456789][0-9]{2})(?: .*)?\Z")


class Environment(NamedTuple):
    """What Asterisk says of the call, names without ``agi_``."""

    values: dict[str, str]

    def get(self, name: str) -> str:
        """The value, "" where there is none or Asterisk says ``unknown``."""
        value = self.values.get(name, "")
        return "" if value in ("unknown", "(null)") else value


class Answer(NamedTuple):
    """The answer to a command: ``code`` 200 is yes, ``value`` what stands in brackets."""

    code: int
    result: int
    value: str


class Garbled(NamedTuple):
    """A line that is no answer, where one is due."""

    line: str


class Hangup(NamedTuple):
    """The caller has gone."""


Said = Environment | Answer | Garbled | Hangup


class AgiReader:
    """Takes bytes as they come; gives the Environment first, then answers."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._values: dict[str, str] | None = {}
        self._lines = 0
        self._usage = ""

    def feed(self, data: bytes) -> list[Said]:
        """What ``data`` completes. EventError("agi-garbled") for what is no AGI, or too much."""
        self._buffer += data
        said: list[Said] = []
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if (len(self._buffer) if end < 0 else end) > LONGEST_LINE:
                raise EventError("agi-garbled", f"a line of more than {LONGEST_LINE} bytes")
            if end < 0:
                self._searched = len(self._buffer)
                return said
            line = bytes(self._buffer[:end]).removesuffix(b"\r").decode("utf-8", "replace")
            del self._buffer[: end + 1]
            self._searched = 0
            found = self._environment(line) if self._values is not None else self._answer(line)
            if found is not None:
                said.append(found)

    def _environment(self, line: str) -> Environment | None:
        assert self._values is not None
        if not line:
            values, self._values = self._values, None
            return Environment(values)
        self._lines += 1
        name, colon, value = line.partition(":")
        if self._lines > MOST_LINES or not colon or not _NAME.match(name):
            raise EventError("agi-garbled", f"{line[:60]!r} is no line of AGI")
        self._values.setdefault(name.removeprefix("agi_"), value.strip())
        return None

    def _answer(self, line: str) -> Answer | Garbled | Hangup | None:
        if line.startswith("HANGUP"):
            return Hangup()
        if self._usage and not line.startswith(self._usage):
            return None  # the usage that a 520- began is free text; what matters is the line that ends it
        self._usage = ""
        if not line:
            return None
        if line[3:4] == "-" and line[:3].isascii() and line[:3].isdigit():
            self._usage = f"{line[:3]} "
            return None
        if found := _ANSWER.match(line):
            return Answer(200, int(found[1]), found[2] or "")
        refusal = _REFUSAL.match(line)
        if refusal is None:
            return Garbled(line[:60])
        return None if line[0] == "1" else Answer(int(refusal[1]), 0, "")


def get_variable(name: str) -> bytes:
    """Ask for the channel variable ``name``; ValueError when it is none: names are ours, never from the wire."""
    if not _VARIABLE.match(name):
        raise ValueError(name)
    return f"GET VARIABLE {name}\n".encode()


def set_variable(name: str, value: str) -> bytes:
    """Set the channel variable ``name``. ValueError when the name is none, or the value has a line end or is longer
    than 300 characters."""
    if not _VARIABLE.match(name) or len(value) > LONGEST_VALUE or not value.isprintable():
        raise ValueError(f"{name[:40]} {value[:60]!r}")
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'SET VARIABLE {name} "{quoted}"\n'.encode()
