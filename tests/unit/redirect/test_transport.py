"""The server between its protocol and a log that hangs, fails or loses a cancellation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from antifraud.domain import CallEvent, Quarantined, QueueError
from antifraud.queues import CallLog, Reply, ReplyInbox
from sip_adapters.asking import backlog
from sip_adapters.conformance import invite
from sip_adapters.redirect import Server, read_options

PEER = ("192.0.2.10", 5060)


class Log:
    """Takes batches, or raises; ``gate`` holds an append up, ``deaf`` swallows a cancellation as redis-py can."""

    def __init__(self, *, fails: bool = False, deaf: bool = False) -> None:
        self.fails = fails
        self.deaf = deaf
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.batches: list[list[CallEvent]] = []
        self.attempts = 0

    async def append(self, events: Sequence[CallEvent]) -> list[str]:
        self.attempts += 1
        await self._wait()
        if self.fails:
            raise QueueError("the log is gone")
        if events:
            self.batches.append(list(events))
        return []

    async def count(self, counts: Mapping[str, int]) -> None:
        await self._wait()

    async def quarantine(self, items: Sequence[Quarantined]) -> None:
        pass

    async def _wait(self) -> None:
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            if not self.deaf:
                raise
            self.gate.set()


class Inbox:
    """Replies never come; ``waiting`` are the calls that hope for one."""

    key = "af:{test}:reply:r1"

    def __init__(self) -> None:
        self.waiting: set[str] = set()

    def expect(self, call_id: str) -> asyncio.Future[Reply]:
        self.waiting.add(call_id)
        return asyncio.get_running_loop().create_future()

    def forget(self, call_id: str) -> None:
        self.waiting.discard(call_id)

    async def run(self) -> None:
        await asyncio.Event().wait()


def server(log: Log, inbox: Inbox, **options: object) -> Server:
    return Server(
        read_options({"deadline_ms": 30_000, **options}), cast("CallLog", log), cast("ReplyInbox", inbox)
    )  # fmt: skip


def place(one: Server, number: int) -> None:
    one.datagram_received(invite(call_id=f"call-{number}", branch=f"z9hG4bK-{number}"), PEER)


async def ends(task: asyncio.Task[None]) -> bool:
    """Whether ``task`` ends when it is cancelled once."""
    task.cancel()
    await asyncio.wait([task], timeout=2)
    ended = task.done()
    task.cancel()
    return ended


async def until(log: Log, number: int) -> None:
    while sum(map(len, log.batches)) < number:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0)


async def test_a_lost_cancellation_does_not_keep_the_appending_alive() -> None:
    log = Log(deaf=True)
    log.gate.clear()
    one = server(log, Inbox())
    task = asyncio.create_task(one.serve(lambda _: None))
    place(one, 1)
    await log.entered.wait()
    assert await ends(task)


async def test_a_lost_cancellation_does_not_keep_the_flushing_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "FLUSH_S", 0.0)
    log = Log(deaf=True)
    log.gate.clear()
    task = asyncio.create_task(server(log, Inbox()).serve(lambda _: None))
    await log.entered.wait()
    assert await ends(task)


async def test_a_log_that_fails_lets_the_whole_queue_go_on_and_asks_nothing_later() -> None:
    log, inbox = Log(fails=True), Inbox()
    log.gate.clear()
    one = server(log, inbox)
    task = asyncio.create_task(one.serve(lambda _: None))
    place(one, 0)
    await log.entered.wait()
    for number in range(1, 1_500):
        place(one, number)
    assert len(inbox.waiting) == 1_500
    log.gate.set()
    while inbox.waiting:  # noqa: ASYNC110 - a set has no event
        await asyncio.sleep(0)
    assert (one.queued, one.late, log.attempts) == (0, 1_500, 1)
    log.fails = False
    place(one, 9_999)
    await until(log, 1_501)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert log.batches[0][0].call_id == "call-9999"
    assert [(event.reply, event.deadline_ms) for event in log.batches[0][:2]] == [(inbox.key, 30_000), ("", 0)]
    assert sum(1 for batch in log.batches for event in batch if event.reply) == 1


async def test_a_call_that_is_decided_is_no_question_any_more() -> None:
    log, inbox = Log(), Inbox()
    log.gate.clear()
    one = server(log, inbox)
    task = asyncio.create_task(one.serve(lambda _: None))
    place(one, 0)
    await log.entered.wait()
    place(one, 1)
    one.datagram_received(invite(call_id="call-1", branch="z9hG4bK-1").replace(b"INVITE", b"CANCEL"), PEER)
    place(one, 2)
    log.gate.set()
    await until(log, 3)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    asked = [(event.call_id, bool(event.reply)) for batch in log.batches for event in batch]
    assert asked == [("call-0", True), ("call-2", True), ("call-1", False)]


async def test_a_log_that_hangs_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_QUEUE", 30)
    monkeypatch.setattr(backlog, "MAX_LATE", 40)
    log, inbox = Log(), Inbox()
    log.gate.clear()
    one = server(log, inbox)
    for number in range(200):
        place(one, number)
        assert one.queued <= 30
        assert one.late <= 40
    assert (one.queued, one.late) == (30, 40)
    # Who waits in vain is let go on.
    assert inbox.waiting == {f"call-{number}" for number in range(170, 200)}
