"""The FastAGI server that an Asterisk's dialplan asks: ``agi://…/ask`` for a call, ``agi://…/ended`` at its end.

What the dialplan knows stands in channel variables (``ASKED``), what it is to do is put into others; the verdict comes
last, so that a dialplan that finds it finds all of it, and one that finds none lets the call go on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import EventError
from sip_adapters.asking import Order
from sip_adapters.sip import clean, quarantined
from sip_adapters.switches.asterisk import protocol_agi as agi
from sip_adapters.switches.asterisk.follower import Follower
from sip_adapters.switches.options import read_address, read_secret, read_section
from sip_adapters.switches.serving import (
    CHUNK,
    Listen,
    Section,
    Service,
    SwitchName,
    read_place,
    run_service,
    setup_event,
)

NAME: Final = "asterisk"
ASKED: Final = (
    ("ANTIFRAUD_CALL", ""),
    ("ANTIFRAUD_ROAMING", ""),
    ("ANTIFRAUD_TRUNK", "trunk"),
    ("ANTIFRAUD_ASSERTED", "asserted"),
    ("ANTIFRAUD_DIVERSION", "diversion"),
    ("ANTIFRAUD_IDENTITY", "identity"),
    ("ANTIFRAUD_SOURCE", "src_ip"),
    ("ANTIFRAUD_AGENT", "user_agent"),
)
"""Channel variables that are read, and the field of the event that each becomes as it is."""

_CUT_AT: Final = 1_023
"""Characters to which Asterisk cuts the value of a variable without saying so."""

_UNAVAILABLE: Final = 503
_CONGESTION: Final = 42
"""Switching equipment congestion (Q.850): chan_pjsip makes 503 of it, after which another route is tried; not of 41."""

_RESTRICTED: Final = 0x20
_PRESENTATION: Final = 0x60


class Events(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where answers of calls are told: the manager interface, a user with the right to read ``call``, its secret."""

    address: Annotated[str, msgspec.Meta(max_length=300)] = "127.0.0.1:5038"
    user: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")] = "antifraud"
    secret_file: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class Options(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``adapters.asterisk`` of config/.

    ``events``: where answers are told as they come; without it they are reported when the call has ended.
    """

    listen: Listen = "127.0.0.1:4573"
    switch: SwitchName = "asterisk"
    events: Events | None = None


_OK: Final = 200
_DEAD: Final = 511


class CallerGoneError(EOFError):
    """The caller has hung up, or Asterisk has ended the conversation."""


class Conversation:
    """One AGI session: one command at a time, each answered before the next.

    ``ended``: the channel has ended anyway, so that being told of it again is no reason to stop.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ended = False
        self._reader = reader
        self._writer = writer
        self._agi = agi.AgiReader()
        self._said: deque[agi.Said] = deque()

    async def environment(self) -> agi.Environment:
        """What Asterisk says first. EventError for what is no AGI."""
        found = await self._next()
        assert isinstance(found, agi.Environment)
        return found

    async def get(self, name: str) -> str:
        """A channel variable, "" when it is not set. EventError("agi-garbled") when that cannot be said."""
        answer = await self._ask(agi.get_variable(name))
        if isinstance(answer, agi.Garbled):
            raise EventError("agi-garbled", f"{name} is answered by {answer.line!r}")
        if answer.code == _DEAD and not self.ended:
            raise CallerGoneError
        if answer.code != _OK:
            raise EventError("agi-garbled", f"{name} is refused with {answer.code}")
        return answer.value

    async def set(self, name: str, value: str) -> None:
        """Set a channel variable."""
        await self._ask(agi.set_variable(name, value))

    async def _ask(self, command: bytes) -> agi.Answer | agi.Garbled:
        self._writer.write(command)
        await self._writer.drain()
        while True:
            found = await self._next()
            if isinstance(found, agi.Answer | agi.Garbled):
                return found
            if isinstance(found, agi.Hangup) and not self.ended:
                raise CallerGoneError

    async def _next(self) -> agi.Said:
        while not self._said:
            data = await self._reader.read(CHUNK)
            if not data:
                raise CallerGoneError
            self._said.extend(self._agi.feed(data))
        return self._said.popleft()


class Server:
    """What is done with one connection of Asterisk."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one AGI session. What cannot be understood of it costs the call nothing but its verdict."""
        try:
            await self._serve(Conversation(reader, writer), time.monotonic())
        except EventError as error:
            self._garbled(error)

    def _garbled(self, error: EventError) -> None:
        self._service.asker.put(quarantined(error.code, error.detail, NAME, b""))

    async def _serve(self, talk: Conversation, began: float) -> None:
        about = await talk.environment()
        match about.get("network_script").strip("/").partition("?")[0]:
            case "ask":
                await self._ask(talk, about, began)
            case "ended":
                await self._ended(talk, about)
            case other:
                self._service.asker.put(
                    quarantined("agi-script-unknown", f"script {other[:40]!r} is neither ask nor ended", NAME, b"")
                )

    async def _ask(self, talk: Conversation, about: agi.Environment, began: float) -> None:
        callee = await talk.get("ANTIFRAUD_CALLEE") or about.get("dnid") or about.get("extension")
        garbled = False
        found: dict[str, str] = {}
        if self._service.is_emergency(callee):
            await talk.set("ANTIFRAUD_VERDICT", "emergency")
        else:
            try:
                for name, _ in ASKED:
                    found[name] = await talk.get(name)
            except EventError as error:
                # A header that spoils an answer must not keep its call from being judged: what is known has to do.
                self._garbled(error)
                garbled = True
            if len(found.get("ANTIFRAUD_IDENTITY", "")) >= _CUT_AT:
                # Half a signature would count as a wrong one.
                found["ANTIFRAUD_IDENTITY"] = ""
        texts = {field: found.get(name, "") for name, field in ASKED if field}
        event = setup_event(
            NAME,
            self._service.own,
            found.get("ANTIFRAUD_CALL") or about.get("uniqueid"),
            found.get("ANTIFRAUD_ROAMING", ""),
            caller_raw=about.get("callerid"),
            callee_raw=callee,
            privacy="id" if _is_restricted(about.get("callingpres")) else "",
            **(
                texts
                | {
                    "trunk": texts.get("trunk") or about.get("accountcode"),
                    "src_ip": _host(texts.get("src_ip", "")),
                }
            ),
        )
        order = await self._service.decide(about.get("uniqueid"), event, began, callee, garbled=garbled)
        if order.verdict == "emergency":
            return
        for name, value in told(order, event.call_id):
            await talk.set(name, value)

    async def _ended(self, talk: Conversation, about: agi.Environment) -> None:
        talk.ended = True
        cause = talked = None
        try:
            cause = _whole(await talk.get("HANGUPCAUSE"))
            talked = _whole(await talk.get("ANSWEREDTIME"))
        except EventError as error:
            self._garbled(error)  # and it has ended all the same
        self._service.ended(about.get("uniqueid"), cause or None, float(talked) if talked is not None else None)


def told(order: Order, call_id: str) -> list[tuple[str, str]]:
    """The channel variables that carry ``order``, the verdict last; empty ones are left out."""
    cause = _CONGESTION if order.status == _UNAVAILABLE else order.cause
    values = (
        ("ANTIFRAUD_CALL", clean(call_id)),
        ("ANTIFRAUD_TARGET", order.target),
        ("ANTIFRAUD_LABEL", order.label),
        ("ANTIFRAUD_REASON", order.reason),
        ("ANTIFRAUD_CAUSE", str(cause or "")),
        ("ANTIFRAUD_STATUS", str(order.status or "")),
        ("ANTIFRAUD_DECISION", order.decision),
        ("ANTIFRAUD_VERDICT", order.verdict),
    )
    return [(name, value) for name, value in values if value]


class AsteriskAdapter:
    """The adapter that ``antifraud adapter asterisk`` runs."""

    name = NAME
    summary = "FastAGI server: an Asterisk's dialplan asks about a call and finds the verdict in channel variables"

    async def run(
        self, *, shard: str, redis_url: str, options: Mapping[str, Any], ready: Callable[[str], None]
    ) -> None:
        """Serve until cancelled."""
        own = read_section(f"adapters.{NAME}", Options, options)
        place = read_place(f"adapters.{NAME}", own)
        login: tuple[str, int, str, str] | None = None
        if own.events is not None:
            where = f"adapters.{NAME}.events"
            host, port = read_address(f"{where}.address", own.events.address)
            login = (host, port, own.events.user, read_secret(f"{where}.secret_file", own.events.secret_file))

        async def serve(service: Service) -> None:
            beside: list[Awaitable[None]] = []
            if login is not None:
                lost = partial(service.asker.count, "events-lost")
                beside.append(Follower(*login, answered=service.answered, lost=lost).run())
            await service.serve(Server(service).handle, ready, beside)

        await run_service(NAME, own, place, shard=shard, redis_url=redis_url, serve=serve)


def _is_restricted(presentation: str) -> bool:
    """Whether the caller asks not to be shown (the presentation indicator of Q.931 4.5.10, as Asterisk numbers it)."""
    number = _whole(presentation)
    return number is not None and number & _PRESENTATION == _RESTRICTED


def _host(address: str) -> str:
    """The host of ``host:port`` or ``[v6]:port``, as Asterisk names the other side of a channel."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _whole(text: str) -> int | None:
    text = text.partition(".")[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 7 else None


ADAPTER: Final = AsteriskAdapter()
