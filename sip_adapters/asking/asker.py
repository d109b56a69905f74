"""Events into the log, verdicts back: nobody waits longer than the deadline, whatever becomes of Redis or the engine.

Events are appended in batches that nobody waits to fill. When the log cannot be reached, whoever waits is told at once,
and the events are kept (bounded) and appended later without a question, behind the questions of those who still wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

import msgspec

from antifraud.domain import CallEvent, Quarantined, QueueError
from antifraud.queues import CallLog, Reply, ReplyInbox, check_cancelled

_LOG: Final = logging.getLogger("antifraud.adapters")
MAX_BATCH: Final = 512
MAX_LATE: Final = 20_000
"""Events that nobody waits for; more push the oldest out."""

QUARANTINE_PER_FLUSH: Final = 50
FLUSH_S: Final = 1.0
_DRAIN_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 1.0


class Asker:
    """Asks for calls of one adapter, whose counters begin with ``name``; each waits at most ``deadline_s`` seconds.

    At most ``most`` calls wait at one time; more go on without being asked about.
    """

    def __init__(self, log: CallLog, inbox: ReplyInbox, *, name: str, deadline_s: float, most: int) -> None:
        self._log = log
        self._inbox = inbox
        self._name = name
        self._deadline_s = deadline_s
        self._most = most
        self._waiting: set[str] = set()
        self._queue: deque[CallEvent] = deque()
        self._late: deque[CallEvent] = deque()
        self._wanted = asyncio.Event()
        self._counts: Counter[str] = Counter()
        self._bad: list[Quarantined] = []
        self._again = itertools.count(1)
        self._gone = False

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    async def run(self) -> None:
        """Serve until cancelled; then what is left is written if Redis takes it at once."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._inbox.run())
                group.create_task(self._append_forever())
                group.create_task(self._flush_forever())
        finally:
            await self._drain()

    async def ask(self, event: CallEvent, began: float) -> Reply | None:
        """The reply to the setup ``event``; None when there is none within the deadline, counted from ``began``
        (monotonic s), which is when the switch came to us."""
        if len(self._waiting) >= self._most:
            self.count("full")
            self.record(event)
            return None
        call_id = event.call_id
        if call_id in self._waiting:
            # Replies are told apart by the id alone, and a caller who chooses it must not get another call's verdict.
            call_id = f"{call_id[:230]}~{next(self._again)}"
        self._waiting.add(call_id)
        future = self._inbox.expect(call_id)
        question = msgspec.structs.replace(
            event, call_id=call_id, reply=self._inbox.key, deadline_ms=round(self._deadline_s * 1000)
        )
        self._queue.append(question)
        self._wanted.set()
        try:
            await asyncio.wait({future}, timeout=max(0.0, began + self._deadline_s - time.monotonic()))
            if future.done() and not future.cancelled():
                return future.result()
        finally:
            self._waiting.discard(call_id)
            self._inbox.forget(call_id)
        self.count("late")
        return None

    def record(self, event: CallEvent) -> None:
        """Append ``event``; nobody waits for a verdict."""
        self._queue.append(_without_question(event))
        if len(self._queue) > MAX_LATE:
            self._postpone(self._queue.popleft())
        self._wanted.set()

    def count(self, what: str, number: int = 1) -> None:
        """Add to the counter ``what``, one of a fixed set."""
        self._counts[f"{self._name}.{what}"] += number

    def put(self, item: Quarantined) -> None:
        """Put ``item`` into quarantine; a flood is counted and not kept."""
        if len(self._bad) < QUARANTINE_PER_FLUSH:
            self._bad.append(item)
        else:
            self._counts[f"quarantine.{item.code}"] += 1
            self.count("quarantine-full")

    async def _append_forever(self) -> None:
        pause = 0.05
        while True:
            check_cancelled()
            if not self._late:
                await self._wanted.wait()
            self._wanted.clear()
            batch = self._next_batch()
            if self._queue:
                self._wanted.set()
            late = [self._late.popleft() for _ in range(min(len(self._late), MAX_BATCH - len(batch)))]
            try:
                await self._log.append([*batch, *late])
            except asyncio.CancelledError:
                self._queue.extendleft(reversed([*batch, *late]))
                raise
            except QueueError as error:
                self._log_is_gone(batch, late, error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                continue
            pause = 0.05
            if self._gone:
                self._gone = False
                _LOG.info("the log takes events again")

    def _next_batch(self) -> list[CallEvent]:
        """The next events to append. A call that has gone on meanwhile asks no more: it must not stand before those
        that still wait."""
        batch: list[CallEvent] = []
        while self._queue and len(batch) < MAX_BATCH:
            event = self._queue.popleft()
            if event.reply and event.call_id not in self._waiting:
                self._postpone(event)
            else:
                batch.append(event)
        return batch

    def _postpone(self, event: CallEvent) -> None:
        self._late.append(_without_question(event))
        if len(self._late) > MAX_LATE:
            self._late.popleft()
            self.count("event-lost")

    def _log_is_gone(self, batch: Sequence[CallEvent], late: Sequence[CallEvent], error: QueueError) -> None:
        """Whoever waits is told, also those who came during the attempt: a log that hangs hangs for them too."""
        if not self._gone:
            self._gone = True
            _LOG.warning("calls go on without a verdict: %s", error)
        self.count("log-failed")
        self._late.extendleft(reversed(late))
        for event in (*batch, *self._queue):
            if event.reply:
                self._inbox.forget(event.call_id)
            self._postpone(event)
        self._queue.clear()
        self._wanted.clear()

    async def _drain(self) -> None:
        with contextlib.suppress(QueueError, TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._log.append([_without_question(event) for event in (*self._queue, *self._late)])
                await self._flush()

    async def _flush_forever(self) -> None:
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
