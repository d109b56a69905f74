"""The server that a FreeSWITCH's dialplan asks by ``socket … async full`` (outbound event socket).

FreeSWITCH connects for each call and tells its channel variables. The verdict is set as channel variables
(``antifraud_verdict`` last); a blocked call is refused and hung up here; then the conversation ends, and the dialplan
goes on by itself (``socket_resume``): it sends the call to the desk, or on its way. With ``events`` a second
connection, inbound to FreeSWITCH, tells of answer and end of the calls that went on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from sip_adapters.agents import RefusedError, UnreachableError
from sip_adapters.asking import Order
from sip_adapters.sip import quarantined
from sip_adapters.switches.freeswitch import protocol_esl as esl
from sip_adapters.switches.freeswitch.connection import Connection
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

NAME: Final = "freeswitch"
ASKED: Final = (
    # Not first the caller id: mod_sofia takes it from a P-Asserted-Identity, whoever wrote that.
    ("caller_raw", ("variable_antifraud_caller", "variable_sip_from_user", "caller-caller-id-number")),
    ("trunk", ("variable_antifraud_trunk", "variable_sofia_profile_name")),
    ("asserted", ("variable_antifraud_asserted",)),
    ("diversion", ("variable_antifraud_diversion", "caller-rdnis")),
    ("identity", ("variable_antifraud_identity", "variable_sip_i_identity", "variable_sip_h_identity")),
    ("src_ip", ("variable_sip_network_ip", "caller-network-addr")),
    ("user_agent", ("variable_sip_user_agent",)),
    ("transport", ("variable_sip_via_protocol",)),
)
"""Field of the event, and the lines that it is taken from: the first that says something."""

CALLEE: Final = ("variable_antifraud_callee", "caller-destination-number", "variable_sip_to_user")
_LOG: Final = logging.getLogger("antifraud.adapters.freeswitch")
_ANSWERED: Final = "CHANNEL_ANSWER"
_ENDED: Final = "CHANNEL_HANGUP_COMPLETE"
_LONGEST_PAUSE_S: Final = 5.0
_SILENCE_S: Final = 90.0
"""FreeSWITCH sends a HEARTBEAT every 20 s."""


class Events(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where answer and end of calls are told: the inbound event socket and the file of its password."""

    address: Annotated[str, msgspec.Meta(max_length=300)] = "127.0.0.1:8021"
    password_file: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class Options(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``adapters.freeswitch`` of config/.

    ``respond``: refuse by the SIP status of the verdict before the call is hung up. ``events``: where answer and end
    of calls are told; without it they are not reported.
    """

    listen: Listen = "127.0.0.1:8084"
    switch: SwitchName = "freeswitch"
    respond: bool = True
    events: Events | None = None


class SocketClosedError(EOFError):
    """FreeSWITCH has ended the conversation: the caller has gone."""


class Conversation:
    """One call on the outbound socket: one command at a time, each answered before the next."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._esl = esl.EslReader()
        self._arrived: deque[esl.Message] = deque()

    async def say(self, raw: bytes) -> esl.Message:
        """The answer to a command."""
        self._writer.write(raw)
        await self._writer.drain()
        while True:
            while not self._arrived:
                data = await self._reader.read(CHUNK)
                if not data:
                    raise SocketClosedError
                self._arrived.extend(self._esl.feed(data))
            message = self._arrived.popleft()
            if message.kind == "text/disconnect-notice":
                raise SocketClosedError
            if message.kind == "command/reply":
                return message


class Server:
    """What is done with one call."""

    def __init__(self, service: Service, *, respond: bool) -> None:
        self._service = service
        self._respond = respond

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask about one call, and have the channel do what the verdict is."""
        began = time.monotonic()
        talk = Conversation(reader, writer)
        try:
            found = esl.variables(await talk.say(b"connect\n\n"))
        except UnreachableError as error:
            self._service.asker.put(quarantined("esl-garbled", str(error), NAME, b""))
            return
        uuid = found.get("unique-id", "") or found.get("caller-unique-id", "")
        if not uuid:
            self._service.asker.put(quarantined("esl-garbled", "a channel without Unique-ID", NAME, b""))
            return
        callee = _first(found, CALLEE)
        event = setup_event(
            NAME,
            self._service.own,
            found.get("variable_antifraud_call", "") or uuid,
            found.get("variable_antifraud_roaming", ""),
            callee_raw=callee,
            privacy="id" if found.get("caller-privacy-hide-number", "").lower() in ("true", "yes") else "",
            **{field: _first(found, names) for field, names in ASKED},
        )
        order = await self._service.decide(uuid, event, began, callee)
        try:
            for raw in obey(order, respond=self._respond):
                await talk.say(raw)
        except (UnreachableError, RefusedError):
            self._service.asker.count("conversation-broken")


def obey(order: Order, *, respond: bool) -> list[bytes]:
    """The commands that carry ``order`` out on the channel.

    ``resume`` comes before the variables: whatever ends the conversation then, the dialplan goes on.
    """
    values = (
        ("antifraud_target", order.target),
        ("antifraud_label", order.label),
        ("antifraud_reason", order.reason),
        ("antifraud_cause", str(order.cause or "")),
        ("antifraud_decision", order.decision),
        ("effective_caller_id_name", order.label if order.verdict == "label" else ""),
        ("antifraud_verdict", order.verdict),
    )
    said = [b"resume\n\n", *(esl.execute("set", f"{name}={value}") for name, value in values if value)]
    if order.verdict == "block":
        if respond:
            said.append(esl.execute("respond", f"{order.status} {order.phrase}"))
        said.append(esl.hang_up(str(order.cause)))
    return said


class Follower:
    """Tells the book of answers and ends, out of the events of an inbound connection that is made anew when it ends."""

    def __init__(self, service: Service, connection: Connection) -> None:
        self._service = service
        self._connection = connection

    async def run(self) -> None:
        """Serve until cancelled."""
        pause = 0.2
        trouble = False
        try:
            while True:
                try:
                    await self._connection.ask(esl.subscribe(f"HEARTBEAT {_ANSWERED} {_ENDED}"), "command/reply")
                    if trouble:
                        _LOG.info("answer and end of calls are told again")
                    pause, trouble = 0.2, False
                    while True:
                        async with asyncio.timeout(_SILENCE_S):
                            message = await self._connection.next_event()
                        self.take(esl.event(message))
                except (UnreachableError, TimeoutError) as error:
                    if not trouble:
                        _LOG.warning(
                            "answer and end of calls are not told: %s", str(error) or "the switch says nothing"
                        )
                    trouble = True
                    self._service.asker.count("events-lost")
                    await self._connection.close()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
        finally:
            await self._connection.close()

    def take(self, event: Mapping[str, str]) -> None:
        """One event. Those of channels that nobody asked about are passed over."""
        uuid = event.get("unique-id", "")
        if not self._service.book.has(uuid):
            return
        if event.get("event-name") == _ANSWERED:
            self._service.answered(uuid)
        elif event.get("event-name") == _ENDED:
            cause = _whole(event.get("variable_hangup_cause_q850", ""))
            talk = _whole(event.get("variable_billmsec", ""))
            self._service.ended(uuid, cause, talk / 1000 if talk is not None else None)


class FreeSwitchAdapter:
    """The adapter that ``antifraud adapter freeswitch`` runs."""

    name = NAME
    summary = "outbound event socket: a FreeSWITCH's dialplan asks about a call and is told what becomes of it"

    async def run(
        self, *, shard: str, redis_url: str, options: Mapping[str, Any], ready: Callable[[str], None]
    ) -> None:
        """Serve until cancelled."""
        where = f"adapters.{NAME}"
        own = read_section(where, Options, options)
        place = read_place(where, own)
        connection: Connection | None = None
        if own.events is not None:
            host, port = read_address(f"{where}.events.address", own.events.address)
            password = read_secret(f"{where}.events.password_file", own.events.password_file)
            connection = Connection(host, port, password, 2.0)

        async def serve(service: Service) -> None:
            beside: list[Awaitable[None]] = []
            if connection is not None:
                beside.append(Follower(service, connection).run())
            await service.serve(Server(service, respond=own.respond).handle, ready, beside)

        await run_service(NAME, own, place, shard=shard, redis_url=redis_url, serve=serve)


def _first(found: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := found.get(name, "")) and value != "_undef_"), "")


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


ADAPTER: Final = FreeSwitchAdapter()
