"""The decisions stream as one consumer of a group sees it: what it was given before, what others left, what is new."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis.asyncio as aredis
from redis import exceptions as redis_errors

from antifraud.queues import REDIS_ERRORS, Keys

_ACK_AT_ONCE: Final = 1_000

Entry = tuple[str, Mapping[bytes, bytes]]


class DecisionFeed:
    """Reads entries that nobody else of the group is given; they stay *pending* until they are acknowledged.

    After ``resync`` everything that this consumer was given and has not acknowledged comes again, first of all.
    An entry whose fields are empty was trimmed from the stream before it was acknowledged.
    """

    def __init__(self, client: aredis.Redis, shard: str, group: str, consumer: str) -> None:
        self._redis = client
        self._stream = Keys(shard).decisions
        self._group = group
        self._consumer = consumer
        self._resume = "0"
        self._claimed = "0-0"

    async def resync(self) -> None:
        """Begin, or begin again after a lost connection: make the group, and re-read what is pending."""
        with contextlib.suppress(*REDIS_ERRORS):
            await self._redis.connection_pool.disconnect(inuse_connections=False)
        try:
            await self._redis.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except redis_errors.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._resume = "0"

    async def read(self, count: int, block_ms: int) -> list[Entry]:
        """Up to ``count`` entries; waits up to ``block_ms`` for new ones."""
        if self._resume:
            entries = await self._fetch(self._resume, count, None)
            self._resume = entries[-1][0] if entries else ""
            if entries:
                return entries
        return await self._fetch(">", count, max(1, block_ms))

    async def _fetch(self, place: str, count: int, block_ms: int | None) -> list[Entry]:
        found: Any = await self._redis.xreadgroup(
            self._group, self._consumer, {self._stream: place}, count=count, block=block_ms
        )
        return _entries(found[0][1]) if found else []

    async def claim(self, count: int, idle_ms: int) -> list[Entry]:
        """Entries that another consumer was given more than ``idle_ms`` ago: it is gone, they are ours now."""
        answer: Any = await self._redis.xautoclaim(
            self._stream, self._group, self._consumer, min_idle_time=idle_ms, start_id=self._claimed, count=count
        )
        self._claimed = answer[0].decode()
        # Redis 7 forgets entries that were trimmed meanwhile and says which they were, whoever had been given them.
        trimmed = answer[2] if len(answer) > 2 else ()
        return [*_entries(answer[1]), *((entry.decode(), {}) for entry in trimmed)]

    async def acknowledge(self, ids: Sequence[str]) -> None:
        """These entries are done with."""
        for start in range(0, len(ids), _ACK_AT_ONCE):
            await self._redis.xack(self._stream, self._group, *ids[start : start + _ACK_AT_ONCE])


def _entries(raw: Sequence[tuple[bytes | None, Mapping[bytes, bytes] | None]]) -> list[Entry]:
    return [(entry.decode(), fields or {}) for entry, fields in raw if entry is not None]
