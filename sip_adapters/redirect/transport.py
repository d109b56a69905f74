"""The redirect server on a UDP socket: datagrams to the protocol, its actions to the socket and to Redis.

The way of events into the log, and what becomes of those who wait when there is none, is ``EventBacklog``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from antifraud.domain import CallEvent, ConfigError
from antifraud.queues import CallLog, Reply, ReplyInbox, connect
from sip_adapters.asking import EventBacklog
from sip_adapters.redirect.options import Options, read_options
from sip_adapters.redirect.protocol import Action, Ask, Count, Put, Record, Redirect, Send, Withdraw

_RECEIVE_BUFFER: Final = 4 << 20


class RedirectAdapter:
    """The adapter that ``antifraud adapter redirect`` runs."""

    name = "redirect"
    summary = "SIP redirect server over UDP: a switch asks with an INVITE and is answered 302, 608 or go on"

    async def run(
        self, *, shard: str, redis_url: str, options: Mapping[str, Any], ready: Callable[[str], None]
    ) -> None:
        """Serve until cancelled."""
        settings = read_options(options)
        # One owner a process: two processes that shared a reply list would take each other's verdicts.
        owner = f"redirect-{os.getpid()}-{secrets.token_hex(8)}"
        writing = connect(redis_url, name="redirect-log")
        reading = connect(redis_url, name="redirect-inbox")
        try:
            inbox = ReplyInbox(reading, shard, owner)
            server = Server(settings, CallLog(writing, shard), inbox)
            await server.serve(ready)
        finally:
            for client in (writing, reading):
                with contextlib.suppress(Exception):
                    await client.aclose()


class Server(asyncio.DatagramProtocol):
    """One socket, one protocol object, one log."""

    def __init__(self, options: Options, log: CallLog, inbox: ReplyInbox) -> None:
        self._options = options
        self._inbox = inbox
        self._protocol = Redirect(options, secret=secrets.token_bytes(32), reply=inbox.key)
        self._transport: asyncio.DatagramTransport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._backlog = EventBacklog(
            log, name="redirect", waits_for=self._protocol.waits_for, let_go=self._without_verdict
        )

    @property
    def queued(self) -> int:
        """Events that wait for an append."""
        return self._backlog.queued

    @property
    def late(self) -> int:
        """Events that are appended when there is room, without a question."""
        return self._backlog.late

    async def serve(self, ready: Callable[[str], None]) -> None:
        """Bind, tell ``ready`` the address, serve until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            transport, _ = await self._loop.create_datagram_endpoint(
                lambda: self, local_addr=(self._options.host, self._options.port)
            )
        except OSError as error:
            raise ConfigError(
                f"adapters.redirect.listen: {self._options.section.listen} cannot be served: {error.strerror or error}",
                hint="take another port, or 0 for a free one",
            ) from None
        raw = transport.get_extra_info("socket")
        if raw is not None:
            # A burst of INVITEs waits in the kernel while one batch is encoded; refused sizes are cut by the kernel.
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        host, port = transport.get_extra_info("sockname")[:2]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._inbox.run())
                group.create_task(self._backlog.run())
                ready(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            transport.close()
            await self._backlog.drain()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """One datagram came in."""
        # Event time is the wall clock: it is compared with what other switches write.
        self._perform(self._protocol.receive(data, (addr[0], addr[1]), time.monotonic(), time.time()))

    def error_received(self, exc: Exception) -> None:  # noqa: ARG002 - asyncio names it
        """An ICMP error for something that was sent; the sender's retransmissions deal with it."""
        self._backlog.count("redirect.icmp")

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Send(data, address):
                    self._send(data, address)
                case Ask(event):
                    self._ask(event)
                case Record(event):
                    self._backlog.add(event)
                case Withdraw(call_id):
                    self._inbox.forget(call_id)
                case Count(name):
                    self._backlog.count(name)
                case Put(item):
                    self._backlog.put(item)
        self._arm()

    def _send(self, data: bytes, address: tuple[str, int]) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._transport.sendto(data, address)
        except (OSError, ValueError):
            self._backlog.count("redirect.unsent")

    def _ask(self, event: CallEvent) -> None:
        future = self._inbox.expect(event.call_id)
        future.add_done_callback(lambda done: self._answered(event.call_id, done))
        self._backlog.add(event)

    def _answered(self, call_id: str, done: asyncio.Future[Reply]) -> None:
        if not done.cancelled():
            self._perform(self._protocol.decide(call_id, done.result(), time.monotonic()))

    def _without_verdict(self, event: CallEvent) -> None:
        """The call of ``event`` waits for a verdict that will not come."""
        self._inbox.forget(event.call_id)
        self._perform(self._protocol.decide(event.call_id, None, time.monotonic()))

    def _arm(self) -> None:
        """One timer stands for all of the protocol's."""
        wake = self._protocol.next_wake()
        if self._timer is not None:
            if self._armed_for == wake:
                return
            self._timer.cancel()
            self._timer = None
        if wake is not None and self._loop is not None:
            self._armed_for = wake
            self._timer = self._loop.call_later(max(0.0, wake - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._perform(self._protocol.tick(time.monotonic()))


ADAPTER: Final = RedirectAdapter()
