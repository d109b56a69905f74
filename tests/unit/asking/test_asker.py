"""A question gets its reply, or the reason why there is none: late, redis, overload."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import cast

from antifraud.domain import CallEvent, EventKind, Quarantined, QueueError
from antifraud.queues import CallLog, Reply, ReplyInbox
from sip_adapters.asking import Asker


class Log:
    """Takes events, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.events: list[CallEvent] = []
        self.counts: Counter[str] = Counter()

    async def append(self, events: Sequence[CallEvent]) -> list[str]:
        if self.fails:
            raise QueueError("the log is gone")
        self.events += events
        return []

    async def count(self, counts: Mapping[str, int]) -> None:
        self.counts.update(counts)

    async def quarantine(self, items: Sequence[Quarantined]) -> None:
        pass


class Inbox:
    """Hands over what the test replies."""

    key = "af:{test}:reply:r1"

    def __init__(self) -> None:
        self.futures: dict[str, asyncio.Future[Reply]] = {}

    def expect(self, call_id: str) -> asyncio.Future[Reply]:
        self.futures[call_id] = asyncio.get_running_loop().create_future()
        return self.futures[call_id]

    def forget(self, call_id: str) -> None:
        if call_id in self.futures:
            self.futures.pop(call_id).cancel()

    async def run(self) -> None:
        await asyncio.Event().wait()


def setup(n: int = 1) -> CallEvent:
    return CallEvent(EventKind.SETUP, f"c{n}", 1.0, caller_raw="+77010000001", callee_raw="+77010000002")


@contextlib.asynccontextmanager
async def asking(log: Log, inbox: Inbox, *, deadline_s: float = 5.0, most: int = 10) -> AsyncIterator[Asker]:
    asker = Asker(cast("CallLog", log), cast("ReplyInbox", inbox), name="test", deadline_s=deadline_s, most=most)
    task = asyncio.create_task(asker.run())
    try:
        yield asker
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def started(inbox: Inbox, number: int) -> None:
    async with asyncio.timeout(10):
        while len(inbox.futures) < number:  # noqa: ASYNC110 - a dictionary has no event
            await asyncio.sleep(0)


async def test_a_reply() -> None:
    log, inbox = Log(), Inbox()
    async with asking(log, inbox) as asker:
        asked = asyncio.create_task(asker.ask(setup(), time.monotonic()))
        await started(inbox, 1)
        while not log.events:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0)
        inbox.futures["c1"].set_result(Reply("allow", call_id="c1"))
        assert await asked == Reply("allow", call_id="c1")
        assert asker.waiting == 0
    assert [(event.call_id, event.reply, event.deadline_ms) for event in log.events] == [("c1", inbox.key, 5000)]
    assert log.counts == {}


async def test_nobody_replies_in_time() -> None:
    log, inbox = Log(), Inbox()
    async with asking(log, inbox, deadline_s=0.02) as asker:
        assert await asker.ask(setup(), time.monotonic()) == "late"
    assert inbox.futures == {}
    assert log.counts == {"test.late": 1}


async def test_a_log_that_is_gone() -> None:
    log, inbox = Log(fails=True), Inbox()
    async with asking(log, inbox) as asker:
        async with asyncio.timeout(2):
            assert await asker.ask(setup(), time.monotonic()) == "redis"
        log.fails = False
    assert [event.reply for event in log.events] == [""]
    assert log.counts == {"test.late": 1, "test.log-failed": 1}


async def test_too_many_wait() -> None:
    log, inbox = Log(), Inbox()
    async with asking(log, inbox, most=2) as asker:
        others = [asyncio.create_task(asker.ask(setup(n), time.monotonic())) for n in (1, 2)]
        await started(inbox, 2)
        assert await asker.ask(setup(3), time.monotonic()) == "overload"
        for call_id, future in list(inbox.futures.items()):
            future.set_result(Reply("allow", call_id=call_id))
        await asyncio.gather(*others)
    assert sorted((event.call_id, bool(event.reply)) for event in log.events) == [
        ("c1", True),
        ("c2", True),
        ("c3", False),
    ]
    assert log.counts == {"test.full": 1}


async def test_the_same_id_twice_is_two_questions() -> None:
    log, inbox = Log(), Inbox()
    async with asking(log, inbox) as asker:
        both = [asyncio.create_task(asker.ask(setup(1), time.monotonic())) for _ in range(2)]
        await started(inbox, 2)
        assert sorted(inbox.futures) == ["c1", "c1~1"]
        for call_id, verdict in (("c1", "allow"), ("c1~1", "block")):
            inbox.futures[call_id].set_result(Reply(verdict, call_id=call_id))
        found = await asyncio.gather(*both)
    assert [reply.verdict for reply in found if isinstance(reply, Reply)] == ["allow", "block"]
