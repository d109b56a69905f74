"""The redirect server on a UDP socket: datagrams to the protocol, its actions to the socket and to Redis.

Events are appended in batches that nobody waits to fill: what comes in while one append is under way is the next
batch. A log that cannot be reached costs no call its way: whoever waits is let go on at once, and the events are
kept (bounded) and appended later without a question, behind the questions of those who still wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from antifraud.domain import CallEvent, ConfigError, Quarantined, QueueError
from antifraud.queues import CallLog, Reply, ReplyInbox, check_cancelled, connect
from sip_adapters.redirect.options import Options, read_options
from sip_adapters.redirect.protocol import Action, Ask, Count, Put, Record, Redirect, Send, Withdraw

_LOG: Final = logging.getLogger("antifraud.adapters.redirect")
MAX_BATCH: Final = 512
MAX_QUEUE = 20_000
"""Events that wait for an append; more push the oldest among the late ones."""

MAX_BACKLOG = 20_000
"""Late events, which nobody waits for; more push the oldest out."""

QUARANTINE_PER_FLUSH: Final = 50
FLUSH_S = 1.0
_RECEIVE_BUFFER: Final = 4 << 20
_DRAIN_S: Final = 2.0


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
        self._log = log
        self._inbox = inbox
        self._protocol = Redirect(options, secret=secrets.token_bytes(32), reply=inbox.key)
        self._transport: asyncio.DatagramTransport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._queue: deque[CallEvent] = deque()
        self._backlog: deque[CallEvent] = deque()
        self._wanted = asyncio.Event()
        self._counts: Counter[str] = Counter()
        self._bad: list[Quarantined] = []
        self._gone = False

    @property
    def queued(self) -> int:
        """Events that wait for an append."""
        return len(self._queue)

    @property
    def late(self) -> int:
        """Events that are appended when there is room, without a question."""
        return len(self._backlog)

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
                group.create_task(self._append_forever())
                group.create_task(self._flush_forever())
                ready(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            transport.close()
            await self._drain()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """One datagram came in."""
        # Event time is the wall clock: it is compared with what other switches write.
        self._perform(self._protocol.receive(data, (addr[0], addr[1]), time.monotonic(), time.time()))

    def error_received(self, exc: Exception) -> None:  # noqa: ARG002 - asyncio names it
        """An ICMP error for something that was sent; the sender's retransmissions deal with it."""
        self._counts["redirect.icmp"] += 1

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Send(data, address):
                    self._send(data, address)
                case Ask(event):
                    self._ask(event)
                case Record(event):
                    self._enqueue(event)
                case Withdraw(call_id):
                    self._inbox.forget(call_id)
                case Count(name):
                    self._counts[name] += 1
                case Put(item):
                    if len(self._bad) < QUARANTINE_PER_FLUSH:
                        self._bad.append(item)
                    else:
                        self._counts[f"quarantine.{item.code}"] += 1
                        self._counts["redirect.quarantine-full"] += 1
        self._arm()

    def _send(self, data: bytes, address: tuple[str, int]) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._transport.sendto(data, address)
        except (OSError, ValueError):
            self._counts["redirect.unsent"] += 1

    def _ask(self, event: CallEvent) -> None:
        future = self._inbox.expect(event.call_id)
        future.add_done_callback(lambda done: self._answered(event.call_id, done))
        self._enqueue(event)

    def _answered(self, call_id: str, done: asyncio.Future[Reply]) -> None:
        if not done.cancelled():
            self._perform(self._protocol.decide(call_id, done.result(), time.monotonic()))

    def _enqueue(self, event: CallEvent) -> None:
        self._queue.append(event)
        if len(self._queue) > MAX_QUEUE:
            self._let_go(self._queue.popleft())
        self._wanted.set()

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

    async def _append_forever(self) -> None:
        pause = 0.05
        while True:
            check_cancelled()
            if not self._backlog:
                await self._wanted.wait()
            self._wanted.clear()
            batch = self._next_batch()
            if self._queue:
                self._wanted.set()
            late = [self._backlog.popleft() for _ in range(min(len(self._backlog), MAX_BATCH - len(batch)))]
            try:
                # Late events come second: whoever waits must not wait for them.
                await self._log.append([*batch, *late])
            except asyncio.CancelledError:
                self._queue.extendleft(reversed([*batch, *late]))
                raise
            except QueueError as error:
                self._log_is_gone(batch, late, error)
                # Whoever comes now is told at once; the pause only spares the next attempt.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), pause)
                pause = min(pause * 2, 1.0)
                continue
            pause = 0.05
            if self._gone:
                self._gone = False
                _LOG.info("the log takes events again")

    def _next_batch(self) -> list[CallEvent]:
        """The next events to append. A question whose call has been decided meanwhile is none any more: it must not
        stand before those of calls that still wait."""
        batch: list[CallEvent] = []
        while self._queue and len(batch) < MAX_BATCH:
            event = self._queue.popleft()
            if event.reply and not self._protocol.waits_for(event):
                self._postpone(event)
            else:
                batch.append(event)
        return batch

    def _postpone(self, event: CallEvent) -> None:
        """Put ``event`` among the late ones."""
        self._backlog.append(_without_question(event))
        self._trim()

    def _trim(self) -> None:
        while len(self._backlog) > MAX_BACKLOG:
            self._backlog.popleft()
            self._counts["redirect.event-lost"] += 1

    def _let_go(self, event: CallEvent) -> None:
        """``event`` is late now; the call that waits for it goes on."""
        if event.reply and self._protocol.waits_for(event):
            self._inbox.forget(event.call_id)
            self._perform(self._protocol.decide(event.call_id, None, time.monotonic()))
        self._postpone(event)

    def _log_is_gone(self, batch: Sequence[CallEvent], late: Sequence[CallEvent], error: QueueError) -> None:
        """Whoever waits goes on, also those who came during the attempt: a log that hangs hangs for them too."""
        if not self._gone:
            self._gone = True
            _LOG.warning("calls go on without a verdict: %s", error)
        self._counts["redirect.log-failed"] += 1
        self._backlog.extendleft(reversed(late))
        self._trim()
        for event in batch:
            self._let_go(event)
        while self._queue:
            self._let_go(self._queue.popleft())
        self._wanted.clear()

    async def _drain(self) -> None:
        """The last events and counts, when the server ends; what Redis does not take at once is given up."""
        with contextlib.suppress(QueueError, TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._log.append([_without_question(event) for event in (*self._queue, *self._backlog)])
                await self._flush()

    async def _flush_forever(self) -> None:
        """Counters and quarantine once a second; at most 50 quarantined datagrams each time, so a flood of garbage
        is counted but cannot fill Redis."""
        while True:
            check_cancelled()
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        counts, self._counts = self._counts, Counter()
        bad, self._bad = self._bad, []
        try:
            await self._log.count(counts)
        except QueueError:
            self._counts.update(counts)
        try:
            await self._log.quarantine(bad)
        except QueueError:
            self._bad = [*bad, *self._bad][:QUARANTINE_PER_FLUSH]


def _without_question(event: CallEvent) -> CallEvent:
    return msgspec.structs.replace(event, reply="", deadline_ms=0)


ADAPTER: Final = RedirectAdapter()
