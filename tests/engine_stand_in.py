"""A stand-in for the engine that answers by the last digit of the called number, and adapters that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

import msgspec

from antifraud.domain import CallEvent, ConfigError
from antifraud.queues import Keys, Reply, connect, decode_event, encode_reply

SHARD = "test"
KEYS = Keys(SHARD)


class Adapter(Protocol):
    """What ``antifraud adapter`` runs."""

    async def run(
        self, *, shard: str, redis_url: str, options: Mapping[str, Any], ready: Callable[[str], None]
    ) -> None:
        """Serve until cancelled."""


@contextlib.asynccontextmanager
async def serving(adapter: Adapter, url: str, **options: Any) -> AsyncIterator[int]:
    """The port of ``adapter``."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    settings = {"listen": "127.0.0.1:0", "deadline_ms": 1000, **options}
    task = asyncio.create_task(adapter.run(shard=SHARD, redis_url=url, options=settings, ready=address.set_result))
    try:
        await asyncio.wait({address, task}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        if task.done():
            task.result()
        yield int(address.result().rpartition(":")[2])
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConfigError):
            await task


@contextlib.asynccontextmanager
async def answering(url: str, replies: Mapping[str, Reply]) -> AsyncIterator[list[CallEvent]]:
    """The events that come into the log; ``replies`` is last digit of the called number → what is replied."""
    seen: list[CallEvent] = []
    task = asyncio.create_task(_answer(url, replies, seen))
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _answer(url: str, replies: Mapping[str, Reply], seen: list[CallEvent]) -> None:
    client = connect(url)
    last: Any = "0"
    try:
        while True:
            found: Any = await client.xread({KEYS.calls: last}, count=500, block=200)
            for _, entries in found:
                for entry_id, fields in entries:
                    last = entry_id
                    event = decode_event(fields)
                    seen.append(event)
                    reply = replies.get(event.callee_raw[-1])
                    if event.reply and reply is not None:
                        raw = encode_reply(msgspec.structs.replace(reply, call_id=event.call_id))
                        await client.rpush(event.reply, raw)  # type: ignore[misc]
    finally:
        await client.aclose()


async def until(ready: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for ``ready``."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.01)


async def counters(url: str) -> dict[str, int]:
    """The counters of the shard."""
    client = connect(url)
    try:
        found: Any = await client.hgetall(KEYS.counters)  # type: ignore[misc]
        return {name.decode(): int(value) for name, value in found.items()}
    finally:
        await client.aclose()
