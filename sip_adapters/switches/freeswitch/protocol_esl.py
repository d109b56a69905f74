"""FreeSWITCH's event socket as bytes: what is received becomes messages, commands become bytes. No sockets here.

A message is lines ``Name: value`` that end with LF, an empty line, and as many bytes as ``Content-Length`` says
(developer.signalwire.com/freeswitch, "mod_event_socket"). In the answer to ``connect`` the values of the lines are
escaped as in URLs. The answers to commands come in the order of the commands; there is no number to tell them apart,
so after a time-out the connection is worth nothing.

Everything received is bounded and may be nonsense: UnreachableError. Everything sent is made here out of checked
values: a number is E.164, a channel a UUID, a text has no line end: RefusedError otherwise.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec

from antifraud.queues.commands import is_number
from sip_adapters.agents import RefusedError, UnreachableError

LONGEST_LINE: Final = 65_536
MOST_LINES: Final = 4_096
LARGEST_HEAD: Final = 1 << 20
LARGEST_BODY: Final = 64 << 20
"""Bytes. A list of 1,000,000 numbers is one body of 45 MB."""

REALM: Final = "antifraud_block"
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_REALM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_CAUSE: Final = re.compile(r"[A-Z][A-Z_]{2,40}\Z")
_APPLICATION: Final = re.compile(r"[a-z][a-z_]{1,31}\Z")
_MOST_CHANNELS: Final = 200_000
_LONGEST_ARGUMENT: Final = 1_024
_EVENTS: Final = re.compile(r"[A-Z_]{1,40}(?: [A-Z_]{1,40}){0,15}\Z")


class Message(NamedTuple):
    """One message: its lines by name (the first of each counts), and its body."""

    headers: dict[str, str]
    body: bytes = b""

    @property
    def kind(self) -> str:
        """Its Content-Type."""
        return self.headers.get("content-type", "")

    @property
    def reply(self) -> str:
        """What a ``command/reply`` says: ``+OK …`` or ``-ERR …``."""
        return self.headers.get("reply-text", "")

    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class EslReader:
    """Takes bytes as they come and gives messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._headers: dict[str, str] = {}
        self._lines = 0
        self._head = 0
        self._body = -1

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes. UnreachableError, after which the connection is worth nothing."""
        self._buffer += data
        messages: list[Message] = []
        while True:
            if self._body >= 0:
                if len(self._buffer) < self._body:
                    return messages
                messages.append(Message(self._headers, bytes(self._buffer[: self._body])))
                del self._buffer[: self._body]
                self._headers, self._lines, self._head, self._body = {}, 0, 0, -1
            end = self._buffer.find(b"\n", self._searched)
            if (len(self._buffer) if end < 0 else end) > LONGEST_LINE:
                raise UnreachableError(f"the switch sends a line of more than {LONGEST_LINE} bytes")
            if end < 0:
                self._searched = len(self._buffer)
                return messages
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            self._searched = 0
            self._line(line)

    def _line(self, line: bytes) -> None:
        if not line:
            if self._headers:
                self._body = _length(self._headers.get("content-length", ""))
            return
        self._lines += 1
        self._head += len(line)
        if self._lines > MOST_LINES or self._head > LARGEST_HEAD:
            raise UnreachableError(f"the switch sends a message of more than {MOST_LINES} lines")
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if not colon:
            raise UnreachableError(f"what answers there is no event socket: {printable(name)[:60]!r}")
        self._headers.setdefault(name.strip().lower(), value.strip())


def _length(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 9) or int(text) > LARGEST_BODY:
        raise UnreachableError(f"the switch announces a body of {printable(text)[:40]!r} bytes")
    return int(text)


def authenticate(password: str) -> bytes:
    """The command that logs in."""
    return _command("auth", password)


def api(command: str, *arguments: str) -> bytes:
    """One API command. The arguments are checked by those who make them; line ends are refused here again."""
    return _command("api", " ".join([command, *arguments]))


def subscribe(names: str) -> bytes:
    """The command that asks for the events ``names`` as JSON."""
    if not _EVENTS.match(names):
        raise RefusedError(f"{names[:60]!r} are no names of events")
    return _command("event json", names)


def execute(application: str, argument: str = "") -> bytes:
    """Run one application of the dialplan on the channel of an outbound socket."""
    if not _APPLICATION.match(application):
        raise RefusedError(f"{application[:40]!r} is no application")
    lines = ["sendmsg", "call-command: execute", f"execute-app-name: {application}", "event-lock: true"]
    if argument:
        lines.insert(3, f"execute-app-arg: {checked(argument)}")
    return ("\n".join(lines) + "\n\n").encode()


def hang_up(cause: str) -> bytes:
    """End the channel of an outbound socket with ``cause``: the number or the name of a Q.850 cause."""
    if not (cause.isascii() and cause.isdigit() and 1 <= len(cause) <= 3) and not _CAUSE.match(cause):
        raise RefusedError(f"{cause[:40]!r} is no cause")
    return f"sendmsg\ncall-command: hangup\nhangup-cause: {cause}\n\n".encode()


def checked(text: str) -> str:
    """``text``, which is to be the rest of one line; RefusedError when it could be read as more than that."""
    if not text or len(text) > _LONGEST_ARGUMENT or not text.isprintable():
        raise RefusedError(f"{text[:60]!r} cannot be said to the switch")
    return text


def _command(word: str, rest: str) -> bytes:
    return f"{word} {checked(rest)}\n\n".encode()


def number_key(number: str) -> str:
    """``number`` as a key of mod_hash; RefusedError when it is not E.164."""
    if not is_number(number):
        raise RefusedError(f"{number[:40]!r} is no E.164 number")
    return number


def is_realm(text: str) -> bool:
    """Whether ``text`` can be a realm of mod_hash."""
    return _REALM.match(text) is not None


def is_uuid(text: str) -> bool:
    """Whether ``text`` is the id of a channel: a UUID in its usual form (RFC 9562 section 4)."""
    return _UUID.match(text) is not None


def insert(realm: str, number: str, until: int) -> bytes:
    """Put ``number`` with its end (epoch s) into the hash ``realm``."""
    return api("hash", f"insert/{realm}/{number_key(number)}/{until:d}")


def delete(realm: str, number: str) -> bytes:
    """Take ``number`` out of the hash ``realm``."""
    return api("hash", f"delete/{realm}/{number_key(number)}")


def kill(uuid: str, cause: str = "CALL_REJECTED") -> bytes:
    """End the call of the channel ``uuid``."""
    if not is_uuid(uuid) or not _CAUSE.match(cause):
        raise RefusedError(f"{uuid[:40]!r} is no channel")
    return api("uuid_kill", uuid, cause)


def exists(uuid: str) -> bytes:
    """Ask whether there is a channel ``uuid``: ``true`` or ``false``."""
    if not is_uuid(uuid):
        raise RefusedError(f"{uuid[:40]!r} is no channel")
    return api("uuid_exists", uuid)


def get_call_id(uuid: str) -> bytes:
    """Ask for the SIP Call-ID of the channel ``uuid``."""
    if not is_uuid(uuid):
        raise RefusedError(f"{uuid[:40]!r} is no channel")
    return api("uuid_getvar", uuid, "sip_call_id")


def dumped(text: str, realm: str) -> list[tuple[str, float]]:
    """(number, end) out of ``hash_dump db REALM``: lines ``D/REALM_NUMBER/END``; others are passed over."""
    found: list[tuple[str, float]] = []
    head = f"D/{realm}_"
    for line in text.split("\n"):
        if line.startswith(head):
            number, _, end = line[len(head) :].partition("/")
            if is_number(number):
                found.append((number, float(end) if end.isascii() and end.isdigit() and len(end) <= 12 else 0.0))
    return found


class Channel(msgspec.Struct, frozen=True):
    """A channel out of ``show channels as json``."""

    uuid: str = ""
    direction: str = ""
    cid_num: str = ""
    dest: str = ""


class _Shown(msgspec.Struct, frozen=True):
    rows: list[Channel] = []


def channels(text: str) -> list[Channel]:
    """The calling sides out of ``show channels as json``; those whose id is no UUID are left out."""
    try:
        shown = msgspec.json.decode(text, type=_Shown)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UnreachableError(f"the switch answers show channels with something else: {str(error)[:120]}") from None
    if len(shown.rows) > _MOST_CHANNELS:
        raise RefusedError(f"the switch has more than {_MOST_CHANNELS:,} channels")
    return [row for row in shown.rows if row.direction in ("inbound", "") and is_uuid(row.uuid)]


def variables(message: Message) -> dict[str, str]:
    """The values of the lines of the answer to ``connect``, without their escapes; names in lower case."""
    return {name: unquote(value, errors="replace") for name, value in message.headers.items()}


def event(message: Message) -> dict[str, str]:
    """The event in a ``text/event-json``, names in lower case; UnreachableError when it is none."""
    try:
        found = msgspec.json.decode(message.body, type=dict[str, str | float | bool | list[str] | None])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UnreachableError(f"the switch sends an event that is none: {str(error)[:120]}") from None
    return {name.lower(): value for name, value in found.items() if isinstance(value, str)}


def printable(text: str) -> str:
    """``text`` as it may stand in a message to people."""
    return "".join(char if char.isprintable() else " " for char in text)
