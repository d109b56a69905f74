"""Events on their way into the log, in batches that nobody waits to fill: what comes in while one append is under way
is the next batch. Counters and quarantine go the same way, once a second.

A log that cannot be reached costs no call its way: whoever waits for a verdict is let go on at once, and the events
are kept (bounded) and appended later without a question, behind the questions of those who still wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from antifraud.domain import CallEvent, Quarantined, QueueError
from antifraud.queues import CallLog, check_cancelled

_LOG: Final = logging.getLogger("antifraud.adapters")
MAX_BATCH: Final = 512
MAX_QUEUE = 20_000
"""Events that wait for an append; more push the oldest among the late ones."""

MAX_LATE = 20_000
"""Late events, which nobody waits for; more push the oldest out."""

QUARANTINE_PER_FLUSH: Final = 50
"""A flood of garbage is counted and cannot fill Redis."""

FLUSH_S = 1.0
_DRAIN_S: Final = 2.0
_SHORTEST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0


class EventBacklog:
    """The events, counts and quarantined items of one adapter, whose own counters begin with ``name``.

    ``waits_for`` says whether a call still waits for the verdict that its event asks for. ``let_go`` lets such a call
    go on, because its question will not be asked; it is called for events that ``waits_for`` is true of alone, and may
    come back here with other events.
    """

    def __init__(
        self,
        log: CallLog,
        *,
        name: str,
        waits_for: Callable[[CallEvent], bool],
        let_go: Callable[[CallEvent], None],
    ) -> None:
        self._log = log
        self._name = name
        self._logger = _LOG.getChild(name)
        self._waits_for = waits_for
        self._let_go = let_go
        self._queue: deque[CallEvent] = deque()
        self._late: deque[CallEvent] = deque()
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
        return len(self._late)

    def add(self, event: CallEvent) -> None:
        """Append ``event`` as soon as may be; with its question, if it has one, as long as a call waits for it."""
        self._queue.append(event)
        if len(self._queue) > MAX_QUEUE:
            self._give_up(self._queue.popleft())
        self._wanted.set()

    def count(self, name: str, number: int = 1) -> None:
        """Add to the counter ``name``, one of a fixed set."""
        self._counts[name] += number

    def put(self, item: Quarantined) -> None:
        """Put ``item`` into quarantine; a flood is counted and not kept."""
        if len(self._bad) < QUARANTINE_PER_FLUSH:
            self._bad.append(item)
        else:
            self.count(f"quarantine.{item.code}")
            self.count(f"{self._name}.quarantine-full")

    async def run(self) -> None:
        """Append and flush until cancelled; ``drain`` writes what is left then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._append_forever())
            group.create_task(self._flush_forever())

    async def drain(self) -> None:
        """The last events and counts; what Redis does not take at once is given up."""
        with contextlib.suppress(QueueError, TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._log.append([without_question(event) for event in (*self._queue, *self._late)])
                await self._flush()

    async def _append_forever(self) -> None:
        pause = _SHORTEST_PAUSE_S
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
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                continue
            pause = _SHORTEST_PAUSE_S
            if self._gone:
                self._gone = False
                self._logger.info("the log takes events again")

    def _next_batch(self) -> list[CallEvent]:
        """The next events to append. A question whose call has been decided or has gone on meanwhile is none any more:
        it must not stand before those of calls that still wait."""
        batch: list[CallEvent] = []
        while self._queue and len(batch) < MAX_BATCH:
            event = self._queue.popleft()
            if event.reply and not self._waits_for(event):
                self._postpone(event)
            else:
                batch.append(event)
        return batch

    def _postpone(self, event: CallEvent) -> None:
        self._late.append(without_question(event))
        self._trim()

    def _trim(self) -> None:
        while len(self._late) > MAX_LATE:
            self._late.popleft()
            self.count(f"{self._name}.event-lost")

    def _give_up(self, event: CallEvent) -> None:
        """``event`` is late now; the call that waits for it goes on."""
        if event.reply and self._waits_for(event):
            self._let_go(event)
        self._postpone(event)

    def _log_is_gone(self, batch: Sequence[CallEvent], late: Sequence[CallEvent], error: QueueError) -> None:
        """Whoever waits goes on, also those who came during the attempt: a log that hangs hangs for them too."""
        if not self._gone:
            self._gone = True
            self._logger.warning("calls go on without a verdict: %s", error)
        self.count(f"{self._name}.log-failed")
        self._late.extendleft(reversed(late))
        self._trim()
        for event in batch:
            self._give_up(event)
        while self._queue:
            self._give_up(self._queue.popleft())
        self._wanted.clear()

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


def without_question(event: CallEvent) -> CallEvent:
    """``event`` for the log alone: nobody waits for a verdict on it."""
    return msgspec.structs.replace(event, reply="", deadline_ms=0)
