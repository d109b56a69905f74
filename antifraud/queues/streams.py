"""The Redis side of adapters: connecting with time-outs, appending events, waiting for replies."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis.asyncio as aredis
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from antifraud.domain import CallEvent, EventError, Quarantined, QueueError
from antifraud.queues.protocol import (
    QUARANTINE_MAXLEN,
    Keys,
    Reply,
    decode_reply,
    encode_event,
    encode_quarantined,
)

REDIS_ERRORS = (redis_errors.RedisError, OSError, asyncio.TimeoutError)
"""What a Redis that is gone, slow, full or refusing raises."""

CALLS_MAXLEN = 2_000_000
"""The safety net under the trimming by age: an adapter never lets the log grow past this."""

_INBOX_POLL_S = 0.5


def connect(url: str, *, timeout_s: float = 2.0, name: str = "") -> aredis.Redis:
    """A client with time-outs on connecting and on every answer, no silent retries, bytes in and out.

    ``url``: ``redis://``, ``rediss://`` or ``unix://``. Raises QueueError for an address that is none.
    """
    options: dict[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}
    try:
        client: aredis.Redis = aredis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            health_check_interval=15,
            client_name=name or None,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
    except (ValueError, TypeError) as error:
        raise QueueError(
            f"the Redis address {shown_url(url)!r} cannot be used: {error}",
            hint="write redis://host:6379/0, rediss://… or unix:///path/to/socket",
        ) from None
    return client


def shown_url(url: str) -> str:
    """``url`` as it may be shown to people and written to logs: without user name and password."""
    head, separator, rest = url.partition("://")
    return f"{head}{separator}{rest.rpartition('@')[2]}" if separator else url


def check_cancelled() -> None:
    """Raise CancelledError when the running task has been cancelled and did not notice.

    In Python 3.11 ``asyncio.wait_for``, through which redis-py writes, loses a cancellation that comes in just as
    it finishes (python/cpython#86296); a loop without end must therefore ask at every turn.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class CallLog:
    """Appends events, quarantine and counts of one shard."""

    def __init__(self, redis: aredis.Redis, shard: str) -> None:
        self._redis = redis
        self.keys = Keys(shard)

    async def append(self, events: Sequence[CallEvent]) -> list[str]:
        """Append ``events`` in order, one round trip; the ids of their entries. Raises QueueError, all or in part."""
        if not events:
            return []
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for event in events:
                    pipe.xadd(self.keys.calls, encode_event(event), maxlen=CALLS_MAXLEN, approximate=True)  # type: ignore[arg-type]
                ids = await pipe.execute()
        except REDIS_ERRORS as error:
            raise QueueError(f"the log did not take {len(events)} event(s): {error}") from error
        return [entry_id.decode() for entry_id in ids]

    async def quarantine(self, items: Sequence[Quarantined]) -> None:
        """Keep ``items`` for people to look at, and count them by class. Raises QueueError."""
        if not items:
            return
        now = time.time()
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for item in items:
                    entry = encode_quarantined(item, now)
                    pipe.xadd(self.keys.quarantine, entry, maxlen=QUARANTINE_MAXLEN, approximate=True)  # type: ignore[arg-type]
                    pipe.hincrby(self.keys.counters, f"quarantine.{item.code}", 1)
                await pipe.execute()
        except REDIS_ERRORS as error:
            raise QueueError(f"quarantine did not take {len(items)} item(s): {error}") from error

    async def count(self, counts: Mapping[str, int]) -> None:
        """Add ``counts`` to the shard's counters. Raises QueueError."""
        if not counts:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for name, number in counts.items():
                    pipe.hincrby(self.keys.counters, name, number)
                await pipe.execute()
        except REDIS_ERRORS as error:
            raise QueueError(f"the counters did not take {len(counts)} count(s): {error}") from error


class ReplyInbox:
    """One reply list for a whole adapter process: replies are handed to the calls that wait for them.

    A connection per waiting call would cost a socket each; here one BLPOP loop drains the list in batches and
    resolves futures by call id. Replies that nobody waits for any more are dropped and counted in ``dropped``.
    """

    def __init__(self, redis: aredis.Redis, shard: str, owner: str) -> None:
        self._redis = redis
        self.key = Keys(shard).reply(owner)
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self.dropped = 0
        self.garbled = 0
        self.connected = False

    def expect(self, call_id: str) -> asyncio.Future[Reply]:
        """A future for the reply to ``call_id``; a second call of that id shares it."""
        future = self._waiting.get(call_id)
        if future is None or future.done():
            future = asyncio.get_running_loop().create_future()
            self._waiting[call_id] = future
        return future

    def forget(self, call_id: str) -> None:
        """Nobody waits for ``call_id`` any more."""
        future = self._waiting.pop(call_id, None)
        if future is not None and not future.done():
            future.cancel()

    async def run(self) -> None:
        """Drain until cancelled; an unreachable Redis is tried again after a short pause."""
        pause = 0.05
        while True:
            check_cancelled()
            try:
                popped = await self._redis.blpop([self.key], timeout=_INBOX_POLL_S)
                self.connected = True
                pause = 0.05
                if popped is None:
                    continue
                self._deliver(cast("bytes", popped[1]))
                more = await self._redis.lpop(self.key, 512)
                for raw in cast("list[bytes]", more or []):
                    self._deliver(raw)
            except REDIS_ERRORS:
                self.connected = False
                with contextlib.suppress(*REDIS_ERRORS):
                    await self._redis.connection_pool.disconnect(inuse_connections=False)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)

    def _deliver(self, raw: bytes) -> None:
        try:
            reply = decode_reply(raw)
        except EventError:
            self.garbled += 1
            return
        future = self._waiting.pop(reply.call_id, None)
        if future is None or future.done():
            self.dropped += 1
            return
        future.set_result(reply)
