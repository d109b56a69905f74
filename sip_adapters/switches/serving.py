"""What adapters share that a switch's dialplan asks over TCP: options, connections, the question, what follows.

One connection is one call. Whatever goes wrong with it (nonsense, silence, a missing log) ends the connection without a
word, and a dialplan that got no word lets the call go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import resource
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import LIMITS, CallEvent, ConfigError, EventError, EventKind, Quarantined, check_event
from antifraud.queues import CallLog, Reply, ReplyInbox, connect
from sip_adapters.asking import (
    EMERGENCY,
    UNDECIDED,
    Asker,
    Book,
    EmergencyNumbers,
    FailPolicy,
    FailSection,
    Order,
    order_of,
    order_without_verdict,
)
from sip_adapters.asking.emergency import NUMBERS, PREFIX
from sip_adapters.sip import SipError, call_id_text, clean, parse_address
from sip_adapters.switches.options import read_address

_LOG: Final = logging.getLogger("antifraud.adapters")
CHUNK: Final = 65_536
GRACE_S: Final = 1.0
"""What a conversation may take beside waiting for the verdict."""

_TRUTHS: Final = {"1": True, "0": False}
_UNREADABLE: Final = "\ufffd"
"""What stands for bytes that are no UTF-8."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Listen = Annotated[str, msgspec.Meta(max_length=300)]
SwitchName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options that all of them have.

    ``listen``: ``host:port``, port 0 takes a free one. ``switch``: the name in every event. ``deadline_ms``: when a
    call goes on without a verdict. ``emergency``, ``emergency_prefix``: numbers that are never asked about.
    ``max_waiting``: calls that wait at one time; more go on without being asked about. ``max_followed``: calls of which
    answer and end are awaited. ``peers``: the only networks that are answered; needed where others than this machine
    can reach ``listen``. ``fail``: what becomes of calls while nobody decides; without it they go on.
    """

    listen: Listen
    switch: SwitchName
    deadline_ms: Annotated[int, msgspec.Meta(ge=10, le=30_000)] = 150
    emergency: Annotated[tuple[str, ...], msgspec.Meta(max_length=1_000)] = NUMBERS
    emergency_prefix: Annotated[str, msgspec.Meta(max_length=1_000)] = PREFIX
    max_waiting: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 4_096
    max_followed: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 50_000
    peers: Annotated[tuple[str, ...], msgspec.Meta(max_length=1_000)] = ()
    fail: FailSection | None = None


class Place(msgspec.Struct, frozen=True):
    """Where is listened, for whom, which numbers are emergency calls, and what is done while nobody decides."""

    host: str
    port: int
    peers: tuple[Network, ...]
    emergency: EmergencyNumbers
    fail: FailPolicy | None = None


def read_place(where: str, own: Section) -> Place:
    """The section made ready; ConfigError says what in it cannot be."""
    host, port = read_address(f"{where}.listen", own.listen)
    try:
        emergency = EmergencyNumbers(own.emergency, own.emergency_prefix)
    except ValueError as error:
        raise ConfigError(f"{where}.emergency: {error}", hint="write digits, e.g. 112; a prefix such as 7|8") from None
    peers: list[Network] = []
    for text in own.peers:
        try:
            peers.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ConfigError(
                f"{where}.peers: {text[:60]!r} is no address or network", hint="write 192.0.2.7 or 192.0.2.0/24"
            ) from None
    if not peers and not _is_this_machine(host):
        raise ConfigError(
            f"{where}.peers: {own.listen} can be reached by others, and who connects there is believed",
            hint="name the switch's address in peers, or listen on 127.0.0.1",
        )
    fail = FailPolicy(own.fail, f"{where}.fail") if own.fail is not None else None
    if fail is not None and fail.problems:
        raise ConfigError.of(fail.problems)
    return Place(host, port, tuple(peers), emergency, fail)


class Service:
    """One listening socket, one log, one book. ``name`` is the source of its events."""

    def __init__(self, name: str, own: Section, place: Place, log: CallLog, inbox: ReplyInbox) -> None:
        self.name = name
        self.own = own
        self.book = Book(own.max_followed)
        self.asker = Asker(log, inbox, name=name, deadline_s=own.deadline_ms / 1000, most=own.max_waiting)
        self._place = place
        self._connections: set[asyncio.StreamWriter] = set()

    def is_emergency(self, callee: str) -> bool:
        """Whether nobody is to be asked about a call to ``callee``."""
        return callee in self._place.emergency

    async def decide(self, key: str, event: CallEvent, began: float, dialled: str, *, garbled: bool = False) -> Order:
        """What becomes of the call ``key`` of the setup ``event``, for which the switch came at ``began``
        (monotonic s). ``dialled`` is the called number as the switch told it, before it was cut and made printable.
        ``garbled``: something of what it told could not be understood. No rung of the fail policy refuses such a call,
        nor one that the switch told of when the deadline was over: a verdict alone does.

        Calls that go on are in the book then. EventError is dealt with: such a call goes on.
        """
        if self.is_emergency(dialled):
            self.asker.count("emergency")
            with contextlib.suppress(EventError):
                self.asker.record(check_event(event))
            return EMERGENCY
        try:
            event = check_event(event)
        except EventError as error:
            self.asker.put(Quarantined(error.code, error.detail[:300], self.name, clean(event.call_id)[:200]))
            return UNDECIDED
        self.book.begin(key, event)
        if time.monotonic() >= began + self.own.deadline_ms / 1000:
            # The switch was late, not whoever decides.
            self.asker.record(event)
            self.asker.count("told-late")
            self.asker.count("verdict.none")
            return UNDECIDED
        answer = await self.asker.ask(event, began)
        if isinstance(answer, Reply):
            order = order_of(answer)
            self.asker.count(f"verdict.{order.verdict}")
        else:
            fail = None if garbled or _UNREADABLE in dialled else self._place.fail
            order = order_without_verdict(fail, event, answer)
            self.asker.count("fail.refused" if order.verdict == "block" else "verdict.none")
        if order.verdict == "block":
            self.book.drop(key)
        return order

    def answered(self, key: str) -> None:
        """The call ``key`` was answered just now."""
        event = self.book.answer(key, time.time())
        if event is not None:
            self.asker.record(event)

    def ended(self, key: str, cause: int | None, talk_s: float | None) -> None:
        """The call ``key`` ended just now after ``talk_s`` seconds of talk, None where the switch does not say."""
        events = self.book.end(key, time.time(), cause, talk_s)
        if not events:
            self.asker.count("end-unknown")
        for event in events:
            with contextlib.suppress(EventError):
                self.asker.record(check_event(event))

    async def serve(self, handle: Handle, ready: Callable[[str], None], beside: Sequence[Awaitable[None]] = ()) -> None:
        """Bind, tell ``ready`` the address, hand each connection to ``handle`` until cancelled; ``beside`` runs too."""
        place = self._place
        _make_room(2 * self.own.max_waiting + 256)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._connection(handle, reader, writer)

        try:
            server = await asyncio.start_server(connected, place.host, place.port, limit=CHUNK, backlog=1024)
        except OSError as error:
            raise ConfigError(
                f"adapters.{self.name}.listen: {self.own.listen} cannot be served: {error.strerror or error}",
                hint="take another port, or 0 for a free one",
            ) from None
        host, port = server.sockets[0].getsockname()[:2]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.asker.run())
                for other in beside:
                    group.create_task(_awaited(other))
                ready(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        finally:
            server.close()
            for writer in list(self._connections):
                writer.close()

    async def _connection(self, handle: Handle, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = (writer.get_extra_info("peername") or ("",))[0]
        if not self._is_peer(peer) or len(self._connections) >= 2 * self.own.max_waiting:
            self.asker.count("turned-away")
            writer.close()
            return
        self._connections.add(writer)
        try:
            async with asyncio.timeout(self.own.deadline_ms / 1000 + GRACE_S):
                await handle(reader, writer)
        except TimeoutError:
            self.asker.count("conversation-late")
        except (OSError, EOFError):
            self.asker.count("conversation-broken")
        except Exception:  # noqa: BLE001
            # A fault of ours must cost this one call its verdict and no more.
            self.asker.count("fault")
            _LOG.exception("%s: a call goes on without a verdict", self.name)
        finally:
            self._connections.discard(writer)
            writer.close()

    def _is_peer(self, text: str) -> bool:
        if not self._place.peers:
            return True
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._place.peers)


async def run_service(
    name: str, own: Section, place: Place, *, shard: str, redis_url: str, serve: Callable[[Service], Awaitable[None]]
) -> None:
    """Make a Service with Redis connections of its own and run ``serve`` with it; QueueError for a Redis address."""
    # One owner a process: two processes that shared a reply list would take each other's verdicts.
    owner = f"{name}-{os.getpid()}-{secrets.token_hex(8)}"
    writing = connect(redis_url, name=f"{name}-log")
    reading = connect(redis_url, name=f"{name}-inbox")
    try:
        await serve(Service(name, own, place, CallLog(writing, shard), ReplyInbox(reading, shard, owner)))
    finally:
        for client in (writing, reading):
            with contextlib.suppress(Exception):
                await client.aclose()


def setup_event(name: str, own: Section, call_id: str, roaming: str, **texts: str) -> CallEvent:
    """The setup event of what a dialplan told: texts are cut to their limits and made printable.

    ``roaming`` is known where it is ``1`` or ``0``.
    ``asserted`` and ``diversion`` may be whole header values; their numbers are taken.
    """
    fields: dict[str, Any] = {field: clean(text.strip())[: LIMITS[field]] for field, text in texts.items() if text}
    for field in ("asserted", "diversion"):
        if field in texts:
            fields[field] = number_of(texts[field])
    return CallEvent(
        kind=EventKind.SETUP, call_id=call_id_text(call_id), ts=time.time(), source=name, switch=own.switch,
        roaming=_TRUTHS.get(roaming.strip()), **fields,
    )  # fmt: skip


def number_of(text: str) -> str:
    """The number in an address such as ``"A" <sip:+77010000001@x>``, or the text where it is none."""
    text = text.strip()[:1024]
    if ":" not in text:
        return clean(text)[: LIMITS["asserted"]]
    try:
        return parse_address(text, what="asserted").uri.number[: LIMITS["asserted"]]
    except SipError:
        return ""


def _make_room(files: int) -> None:
    """Have the kernel allow so many open files, or as many as it may: a call each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _awaited(other: Awaitable[None]) -> None:
    await other
