"""The Asterisk Manager Interface as bytes: what is received becomes messages, actions become bytes. No sockets here.

Asterisk greets with one line (``Asterisk Call Manager/…``). After that both sides send messages: lines ``Name: value``
that end with CR LF, and an empty line behind the last (docs.asterisk.org, "AMI v2 Specification"). An action carries an
``ActionID`` that comes back in its response and in the events of the list that it asked for.

Everything received is bounded and may be nonsense: UnreachableError. Everything sent is checked, so that no value can
begin a line of its own: RefusedError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from antifraud.queues.commands import is_number
from sip_adapters.agents import RefusedError, UnreachableError

GREETING: Final = "Asterisk Call Manager/"
LONGEST_LINE: Final = 16_384
LARGEST_MESSAGE: Final = 64 << 20
"""Bytes. The answer to one command line is one message, and a list of 500,000 numbers is one of 45 MB."""

MOST_HEADERS: Final = 2_000_000
LONGEST_VALUE: Final = 512
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}\Z")
_CHANNEL: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,31}/[A-Za-z0-9@._:;+=~#*%\[\]-]{1,200}\Z")
_FAMILY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
_SHOWN: Final = re.compile(r"/([^/\s]{1,64})/(\S{1,64})\s*: (.*)\Z")


class Message(NamedTuple):
    """One message: its headers in their order, names as they came."""

    headers: tuple[tuple[str, str], ...]

    def first(self, name: str) -> str:
        """The value of the first header ``name`` in any case; "" when there is none."""
        lower = name.lower()
        return next((value for own, value in self.headers if own.lower() == lower), "")

    def all(self, name: str) -> list[str]:
        """The values of all headers ``name``."""
        lower = name.lower()
        return [value for own, value in self.headers if own.lower() == lower]

    @property
    def succeeded(self) -> bool:
        """Whether it is a response that says yes."""
        return self.first("Response").lower() == "success"


class AmiReader:
    """Takes bytes as they come and gives messages; ``greeting`` is the first line, "" before it is there."""

    def __init__(self) -> None:
        self.greeting = ""
        self._buffer = bytearray()
        self._searched = 0
        self._headers: list[tuple[str, str]] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes. UnreachableError, after which the connection is worth nothing."""
        self._buffer += data
        messages: list[Message] = []
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            self._searched = 0
            if len(line) > LONGEST_LINE:
                break
            message = self._line(line.decode("utf-8", "replace"), end + 1)
            if message is not None:
                messages.append(message)
        else:
            self._searched = len(self._buffer)
            if len(self._buffer) <= LONGEST_LINE:
                return messages
        raise UnreachableError(f"the switch sends a line of more than {LONGEST_LINE} bytes")

    def _line(self, line: str, size: int) -> Message | None:
        if not self.greeting:
            if not line.startswith(GREETING):
                raise UnreachableError(f"what answers there is no Asterisk manager: {_printable(line)[:60]!r}")
            self.greeting = _printable(line)[:80]
            return None
        if not line:
            headers, self._headers, self._size = self._headers, [], 0
            return Message(tuple(headers)) if headers else None
        self._size += size
        if self._size > LARGEST_MESSAGE or len(self._headers) >= MOST_HEADERS:
            raise UnreachableError(f"the switch sends a message of more than {LARGEST_MESSAGE >> 20} MiB")
        name, colon, value = line.partition(":")
        if colon:  # other lines are the rest of a value that had a line end in it: nobody here asks for such
            self._headers.append((name.strip()[:64], value.removeprefix(" ")))
        return None


def action(name: str, identity: str, fields: Mapping[str, str]) -> bytes:
    """One action. RefusedError when a name or a value could be read as anything else than what it is."""
    lines = [("Action", name), ("ActionID", identity), *fields.items()]
    for key, value in lines:
        if not _NAME.match(key) or len(value) > LONGEST_VALUE or not value.isprintable():
            raise RefusedError(f"{key[:40]!r} with {value[:60]!r} cannot be said to the switch")
    return "".join(f"{key}: {value}\r\n" for key, value in lines).encode() + b"\r\n"


def number_key(number: str) -> str:
    """``number`` as a key of the database; RefusedError when it is not E.164."""
    if not is_number(number):
        raise RefusedError(f"{number[:40]!r} is no E.164 number")
    return number


def is_family(text: str) -> bool:
    """Whether ``text`` can be a family of the database."""
    return _FAMILY.match(text) is not None


def is_channel(text: str) -> bool:
    """Whether ``text`` is the name of one channel. One that begins with "/" would be a pattern for many."""
    return _CHANNEL.match(text) is not None


def tree_entry(message: Message, family: str) -> tuple[str, float] | None:
    """(number, end) out of an event ``DBGetTreeResponse``; None when it is of no number in ``family``."""
    own, _, number = message.first("Key").removeprefix("/").partition("/")
    return (number, end_of(message.first("Val"))) if own == family and is_number(number) else None


def shown_entries(message: Message, family: str) -> list[tuple[str, float]]:
    """(number, end) out of the answer to ``database show FAMILY``; lines about anything else are passed over."""
    found: list[tuple[str, float]] = []
    for line in message.all("Output"):
        shown = _SHOWN.match(line)
        if shown is not None and shown[1] == family and is_number(shown[2]):
            found.append((shown[2], end_of(shown[3].strip())))
    return found


def end_of(text: str) -> float:
    """The epoch second that ``text`` says; 0 when it says none, so that the entry gets mended."""
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0.0


def epoch(message: Message) -> str:
    """Since when Asterisk runs, out of the response to ``CoreStatus``."""
    since = f"{message.first('CoreStartupDate')} {message.first('CoreStartupTime')}".strip()
    if not since:
        raise UnreachableError("the switch answers CoreStatus without CoreStartupDate")
    return _printable(since)[:64]


def is_call(message: Message, call_id: str, variable: str) -> bool:
    """Whether the event ``Status`` is of the channel of the call ``call_id``, by its own id or by ``variable``."""
    if message.first("Uniqueid") == call_id:
        return True
    return any(
        value.partition("=")[2] == call_id for value in message.all("Variable") if value.startswith(f"{variable}=")
    )


def said(message: Message) -> str:
    """What a response says, for people."""
    return _printable(message.first("Message") or message.first("Response"))[:160] or "nothing"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
