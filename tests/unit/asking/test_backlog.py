"""Events on their way into a log that is slow, gone or swallows a cancellation: who waits is first, or goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import cast

import pytest

from antifraud.domain import CallEvent, EventKind, Quarantined, QueueError
from antifraud.queues import CallLog
from sip_adapters.asking import EventBacklog, backlog


class Log:
    """Takes batches, or raises; ``gate`` holds an append up, ``deaf`` swallows a cancellation as redis-py can."""

    def __init__(self) -> None:
        self.fails = False
        self.deaf = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.batches: list[list[CallEvent]] = []
        self.counts: Counter[str] = Counter()
        self.bad: list[Quarantined] = []
        self.attempts = 0

    @property
    def ids(self) -> list[str]:
        return [event.call_id for batch in self.batches for event in batch]

    async def append(self, events: Sequence[CallEvent]) -> list[str]:
        self.attempts += 1
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            if not self.deaf:
                raise
            self.gate.set()
        if self.fails:
            raise QueueError("the log is gone")
        if events:
            self.batches.append(list(events))
        return []

    async def count(self, counts: Mapping[str, int]) -> None:
        if self.fails:
            raise QueueError("the log is gone")
        self.counts.update(counts)

    async def quarantine(self, items: Sequence[Quarantined]) -> None:
        if self.fails:
            raise QueueError("the log is gone")
        self.bad += items


class Waiting:
    """Who waits, and who was let go on."""

    def __init__(self) -> None:
        self.calls: set[str] = set()
        self.gone_on: list[str] = []

    def has(self, event: CallEvent) -> bool:
        return event.call_id in self.calls

    def let_go(self, event: CallEvent) -> None:
        self.calls.remove(event.call_id)
        self.gone_on.append(event.call_id)


def question(n: int) -> CallEvent:
    return CallEvent(
        EventKind.SETUP, f"q{n}", 1.0, caller_raw="1", callee_raw="2", reply="af:{kz}:reply:x", deadline_ms=150
    )


def word(n: int) -> CallEvent:
    return CallEvent(EventKind.RELEASE, f"w{n}", 1.0, caller_raw="1", callee_raw="2")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def events(log: Log, waiting: Waiting) -> EventBacklog:
    return EventBacklog(cast("CallLog", log), name="test", waits_for=waiting.has, let_go=waiting.let_go)


@contextlib.asynccontextmanager
async def running(events: EventBacklog) -> AsyncIterator[asyncio.Task[None]]:
    """As adapters run it: what is left is drained at the end."""
    task = asyncio.create_task(events.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await events.drain()


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not ready():  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0)


async def test_what_comes_in_meanwhile_is_the_next_batch(log: Log, waiting: Waiting, events: EventBacklog) -> None:
    log.gate.clear()
    async with running(events):
        events.add(word(0))
        await log.entered.wait()
        for n in range(1, 1_000):
            events.add(word(n))
        log.gate.set()
        await until(lambda: len(log.ids) == 1_000)
    assert [len(batch) for batch in log.batches] == [1, 512, 487]
    assert log.ids == [f"w{n}" for n in range(1_000)]


async def test_a_question_that_nobody_waits_for_any_more_comes_behind_the_others(
    log: Log, waiting: Waiting, events: EventBacklog
) -> None:
    log.gate.clear()
    async with running(events):
        events.add(word(0))
        await log.entered.wait()
        waiting.calls = {"q2"}
        events.add(question(1))
        events.add(question(2))
        log.gate.set()
        await until(lambda: len(log.ids) == 3)
    assert log.ids == ["w0", "q2", "q1"]
    assert [event.deadline_ms for event in log.batches[1]] == [150, 0]
    assert [event.reply for event in log.batches[1]] == ["af:{kz}:reply:x", ""]
    assert waiting.gone_on == []


async def test_a_log_that_is_gone_lets_everybody_go_on_and_is_told_later(
    log: Log, waiting: Waiting, events: EventBacklog, caplog: pytest.LogCaptureFixture
) -> None:
    log.fails = True
    log.gate.clear()
    async with running(events):
        waiting.calls = {"q0", "q1", "q3"}
        events.add(question(0))
        await log.entered.wait()
        for n in (1, 2, 3):
            events.add(question(n))
        log.gate.set()
        await until(lambda: not waiting.calls)
        assert waiting.gone_on == ["q0", "q1", "q3"]
        assert (events.queued, events.late, log.attempts) == (0, 4, 1)
        log.fails = False
        waiting.calls = {"q9"}
        events.add(question(9))
        await until(lambda: len(log.ids) == 5)
    assert log.ids == ["q9", "q0", "q1", "q2", "q3"]
    assert [bool(event.reply) for event in log.batches[0]] == [True, False, False, False, False]
    assert log.counts["test.log-failed"] == 1
    assert caplog.messages == ["calls go on without a verdict: the log is gone"]


async def test_late_events_keep_their_order_through_failures(log: Log, waiting: Waiting, events: EventBacklog) -> None:
    log.fails = True
    async with running(events):
        for n in range(3):
            events.add(word(n))
        await until(lambda: log.attempts == 3)
        log.fails = False
        await until(lambda: len(log.ids) == 3)
    assert log.ids == ["w0", "w1", "w2"]
    assert log.counts["test.log-failed"] >= 3


async def test_a_log_that_hangs_cannot_fill_the_memory(
    log: Log, waiting: Waiting, events: EventBacklog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MAX_QUEUE", 30)
    monkeypatch.setattr(backlog, "MAX_LATE", 40)
    for n in range(200):
        waiting.calls.add(f"q{n}")
        events.add(question(n))
        assert events.queued <= 30
        assert events.late <= 40
    assert waiting.calls == {f"q{n}" for n in range(170, 200)}
    await events.drain()
    assert log.ids == [f"q{n}" for n in (*range(170, 200), *range(130, 170))]
    assert log.counts == {"test.event-lost": 130}
    assert not any(event.reply for batch in log.batches for event in batch)


async def test_late_events_that_fail_again_cannot_fill_the_memory(
    log: Log, waiting: Waiting, events: EventBacklog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come back out of the append to others that became late meanwhile; the oldest give way."""
    monkeypatch.setattr(backlog, "MAX_QUEUE", 10)
    monkeypatch.setattr(backlog, "MAX_LATE", 40)
    log.fails = True
    log.gate.clear()
    async with running(events):
        for n in range(50):
            events.add(word(n))
        await until(lambda: log.attempts == 1)  # w40 to w49 with w0 to w39
        for n in range(50, 80):
            events.add(word(n))
        assert (events.queued, events.late) == (10, 20)
        log.gate.set()
        await until(lambda: events.queued == 0)
        assert events.late == 40
        log.fails = False
        await until(lambda: len(log.ids) == 40)
    assert log.ids == [f"w{n}" for n in (*range(50, 70), *range(40, 50), *range(70, 80))]
    assert log.counts["test.event-lost"] == 40


async def test_a_flood_of_garbage_is_counted(log: Log, events: EventBacklog) -> None:
    log.fails = True
    for n in range(60):
        events.put(Quarantined("sip-broken", str(n), "test", ""))
    await events.drain()
    events.put(Quarantined("sip-broken", "one more", "test", ""))
    log.fails = False
    await events.drain()
    assert [item.detail for item in log.bad] == [str(n) for n in range(50)]
    assert log.counts == {"quarantine.sip-broken": 11, "test.quarantine-full": 11}


async def test_counts_that_redis_did_not_take_are_told_later(
    log: Log, events: EventBacklog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "FLUSH_S", 0.0)
    log.fails = True
    events.count("test.a")
    events.count("test.b", 2)
    async with running(events):
        await asyncio.sleep(0.01)
        assert log.counts == {}
        log.fails = False
        events.count("test.a")
        await until(lambda: bool(log.counts))
    assert log.counts == {"test.a": 2, "test.b": 2}


async def test_what_is_left_at_the_end_is_written_without_questions(
    log: Log, waiting: Waiting, events: EventBacklog
) -> None:
    """Also what an append was under way with."""
    log.gate.clear()
    async with running(events) as task:
        waiting.calls = {"q0", "q1"}
        events.add(question(0))
        await log.entered.wait()
        events.add(question(1))
        task.cancel()
        await asyncio.wait([task])
        log.gate.set()
    assert log.ids == ["q0", "q1"]
    assert not any(event.reply for batch in log.batches for event in batch)


async def test_a_redis_that_hangs_does_not_keep_the_end(
    log: Log, events: EventBacklog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_DRAIN_S", 0.01)
    log.gate.clear()
    events.add(word(0))
    async with asyncio.timeout(2):
        await events.drain()
    assert log.ids == []


async def test_a_lost_cancellation_does_not_keep_the_appending_alive(log: Log, events: EventBacklog) -> None:
    log.deaf = True
    log.gate.clear()
    task = asyncio.create_task(events.run())
    events.add(word(0))
    await log.entered.wait()
    task.cancel()
    await asyncio.wait([task], timeout=2)
    assert task.done()
