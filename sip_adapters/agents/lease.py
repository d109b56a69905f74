"""One agent a switch: a key in Redis that the agent renews and that ends by itself when it is gone.

The holder also keeps, by the monotonic clock, until when its lease can be relied on, so that an agent that was stopped
and goes on much later touches nothing before it has looked. What it reports is written only while the key is its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import redis.asyncio as aredis
from redis.exceptions import WatchError

from antifraud.domain import QueueError

_TRIES: Final = 50


class LeaseLostError(QueueError):
    """Another agent serves the switch, or may by now."""


class Lease:
    """The lease ``key`` for ``owner`` (a text of this process alone), for ``seconds`` at a time."""

    def __init__(self, redis: aredis.Redis, key: str, owner: str, seconds: float) -> None:
        self._redis = redis
        self._key = key
        self._owner = owner.encode()
        self._seconds = seconds
        self._relied_on_until = 0.0

    async def take(self) -> bytes | None:
        """Take the lease when nobody has it or it is ours; the owner's text when somebody else has."""
        began = time.monotonic()
        taken = await self._redis.set(self._key, self._owner, px=self._milliseconds, nx=True)
        if not taken:
            holder: Any = await self._redis.get(self._key)
            if holder != self._owner:
                return bytes(holder or b"nobody yet")
            await self.renew()
            return None
        self._relied_on_until = began + self._seconds
        return None

    async def renew(self) -> None:
        """Hold it for another while. Raises LeaseLostError; redis-py's errors when Redis cannot be asked."""
        began = time.monotonic()
        await self.write(lambda pipe: pipe.set(self._key, self._owner, px=self._milliseconds))
        self._relied_on_until = began + self._seconds

    def check(self) -> None:
        """Raises LeaseLostError when the lease may have ended by now."""
        if time.monotonic() >= self._relied_on_until:
            raise LeaseLostError("the lease was not renewed in time")

    async def write(self, fill: Callable[[Any], object]) -> None:
        """Run the commands that ``fill`` adds to a pipeline as one transaction, if the lease is still ours then."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for _ in range(_TRIES):
                await pipe.watch(self._key)
                holder: Any = await pipe.get(self._key)
                if holder != self._owner:
                    raise LeaseLostError(f"{(holder or b'nobody').decode('utf-8', 'replace')} holds the lease")
                pipe.multi()  # type: ignore[no-untyped-call]
                fill(pipe)
                try:
                    await pipe.execute()
                except WatchError:  # our own renewal came in between
                    continue
                return
        raise LeaseLostError("the lease changes all the time")

    async def give_up(self) -> None:
        """Let a standby take over at once."""
        self._relied_on_until = 0.0
        await self.write(lambda pipe: pipe.delete(self._key))

    @property
    def _milliseconds(self) -> int:
        return int(self._seconds * 1000)
