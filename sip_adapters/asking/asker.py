"""Questions out, verdicts back: nobody waits longer than the deadline, whatever becomes of Redis or the engine."""

from __future__ import annotations

import asyncio
import itertools
import time

import msgspec

from antifraud.domain import CallEvent, Quarantined
from antifraud.queues import CallLog, Reply, ReplyInbox
from sip_adapters.asking.backlog import EventBacklog, without_question
from sip_adapters.asking.fail import Reason


class Asker:
    """Asks for calls of one adapter, whose counters begin with ``name``; each waits at most ``deadline_s`` seconds.

    At most ``most`` calls wait at one time; more go on without being asked about.
    """

    def __init__(self, log: CallLog, inbox: ReplyInbox, *, name: str, deadline_s: float, most: int) -> None:
        self._inbox = inbox
        self._name = name
        self._deadline_s = deadline_s
        self._most = most
        self._waiting: set[str] = set()
        self._again = itertools.count(1)
        self._backlog = EventBacklog(log, name=name, waits_for=self._waits_for, let_go=self._let_go)

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    async def run(self) -> None:
        """Serve until cancelled; then what is left is written if Redis takes it at once."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._inbox.run())
                group.create_task(self._backlog.run())
        finally:
            await self._backlog.drain()

    async def ask(self, event: CallEvent, began: float) -> Reply | Reason:
        """The reply to the setup ``event``, or why there is none within the deadline, counted from ``began``
        (monotonic s), which is when the switch came to us."""
        if len(self._waiting) >= self._most:
            self.count("full")
            self.record(event)
            return "overload"
        call_id = event.call_id
        if call_id in self._waiting:
            # Replies are told apart by the id alone, and a caller who chooses it must not get another call's verdict.
            call_id = f"{call_id[:230]}~{next(self._again)}"
        self._waiting.add(call_id)
        future = self._inbox.expect(call_id)
        self._backlog.add(
            msgspec.structs.replace(
                event, call_id=call_id, reply=self._inbox.key, deadline_ms=round(self._deadline_s * 1000)
            )
        )
        try:
            await asyncio.wait({future}, timeout=max(0.0, began + self._deadline_s - time.monotonic()))
            if future.done() and not future.cancelled():
                return future.result()
            reason: Reason = "redis" if future.cancelled() else "late"
        finally:
            self._waiting.discard(call_id)
            self._inbox.forget(call_id)
        self.count("late")
        return reason

    def record(self, event: CallEvent) -> None:
        """Append ``event``; nobody waits for a verdict."""
        self._backlog.add(without_question(event))

    def count(self, what: str, number: int = 1) -> None:
        """Add to the counter ``what``, one of a fixed set."""
        self._backlog.count(f"{self._name}.{what}", number)

    def put(self, item: Quarantined) -> None:
        """Put ``item`` into quarantine; a flood is counted and not kept."""
        self._backlog.put(item)

    def _waits_for(self, event: CallEvent) -> bool:
        return event.call_id in self._waiting

    def _let_go(self, event: CallEvent) -> None:
        self._inbox.forget(event.call_id)
