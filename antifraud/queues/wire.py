"""One connection to Redis for the two things that the engine does for every batch: read the log, write a transaction.

redis-py connects (address, TLS, login, protocol version); then the connection is taken over. Every request is one write
and one wake-up, whatever it holds, and hiredis packs and parses. redis-py wakes up, sets a timer and looks for retries
for every single answer, which was a third of the engine's time for a call (docs/adr/0007).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, cast

import hiredis
import redis.asyncio as aredis
from redis import exceptions as redis_errors

from antifraud.domain import QueueError

Entry = tuple[bytes, dict[bytes, bytes]]


def _packed(*parts: str | bytes | int) -> bytes:
    return cast("bytes", hiredis.pack_command(parts))  # type: ignore[arg-type]  # its stub has tuples of one part only


_MULTI: Final = _packed("MULTI")
_EXEC: Final = _packed("EXEC")
_NO_MASTER: Final = ("READONLY", "MASTERDOWN", "LOADING")


class Wire:
    """A connection that is made when it is first needed, and again after it was lost. One request at a time.

    ``timeout_s``: for an answer, beside the time that the request itself may wait. Whatever goes wrong is raised as
    one of ``REDIS_ERRORS``, and nothing of the connection is kept.
    """

    def __init__(self, client: aredis.Redis, timeout_s: float) -> None:
        self._client, self._timeout_s = client, timeout_s
        self._link: _Link | None = None

    # -- requests ------------------------------------------------------------------------------------------------

    async def read(self, positions: Mapping[str, str], *, count: int, block_ms: int) -> dict[bytes, list[Entry]]:
        """What streams hold after ``positions`` (stream → id), at most ``count`` entries each; waits ``block_ms``."""
        command = _packed("XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", *positions, *positions.values())
        (answer,) = await self._ask(command, 1, block_ms / 1000)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            return {}
        streams = answer.items() if isinstance(answer, dict) else answer
        return {key: [(at, dict(zip(kv[::2], kv[1::2], strict=True))) for at, kv in found] for key, found in streams}

    def transaction(self) -> Transaction:
        """A transaction to be filled and executed."""
        return Transaction(self)

    async def execute(self, commands: list[bytes]) -> list[Any]:
        """Do ``commands`` as one transaction; their results, of which those that failed are exceptions.

        A command that fails while it is carried out does not undo the others. ResponseError when none was carried out.
        """
        answers = await self._ask(b"".join((_MULTI, *commands, _EXEC)), len(commands) + 2)
        done = answers[-1]
        if isinstance(done, Exception):
            why = next(answer for answer in answers if isinstance(answer, Exception))
            if str(why).startswith(_NO_MASTER) and self._link is not None:
                self._link.lose(why)  # its name may stand for another Redis by now
            raise why
        return [_known(result) for result in done]

    async def aclose(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.lose(redis_errors.ConnectionError("closed"))

    async def _ask(self, packed: bytes, answers: int, waits_s: float = 0.0) -> list[Any]:
        link = self._link
        if link is None or link.lost:
            self._link = link = await self._connect()
        return await link.ask(packed, answers, self._timeout_s + waits_s)

    async def _connect(self) -> _Link:
        pool: Any = self._client.connection_pool
        connection: Any = pool.make_connection()
        await connection.connect()
        writer = cast("asyncio.StreamWriter | None", getattr(connection, "_writer", None))
        if writer is None:
            raise QueueError("this redis-py keeps its connections in another way", hint="install the locked packages")
        # Ours from here on: redis-py must neither read from it nor close it.
        connection._reader = connection._writer = None  # noqa: SLF001
        return _Link(writer)


class _Link(asyncio.Protocol):
    """One connection, taken over from ``writer`` until it is lost."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer  # kept, for it would close the transport when nobody had it any more
        self._parser = hiredis.Reader()
        self._answers: list[Any] = []
        self._wanted = 0
        self._waiting: asyncio.Future[list[Any]] | None = None
        self.lost = False
        writer.transport.set_protocol(self)

    async def ask(self, packed: bytes, answers: int, seconds: float) -> list[Any]:
        """Send ``packed``, and wait up to ``seconds`` for so many answers; errors among them are exceptions."""
        loop = asyncio.get_running_loop()
        self._answers, self._wanted = [], answers
        self._waiting = waiting = loop.create_future()
        timer = loop.call_later(seconds, self._too_late, seconds)
        try:
            self._writer.transport.write(packed)
            return [_known(answer) for answer in await waiting]
        except BaseException:
            self.lose(redis_errors.ConnectionError("given up"))
            raise
        finally:
            timer.cancel()
            self._answers, self._waiting = [], None

    def lose(self, why: Exception) -> None:
        """Close the connection; whoever waits for an answer is told ``why`` there is none."""
        if not self.lost:
            self.lost = True
            self._writer.transport.abort()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(why)

    def _too_late(self, waited_s: float) -> None:
        self.lose(redis_errors.TimeoutError(f"no answer in {waited_s:g} s"))

    def data_received(self, data: bytes) -> None:
        """Part of an answer has come."""
        waiting = self._waiting
        try:
            self._parser.feed(data)
            while (answer := self._parser.gets()) is not False:
                if not isinstance(answer, hiredis.PushNotification):
                    self._answers.append(answer)
        except hiredis.HiredisError as error:
            self.lose(redis_errors.InvalidResponse(f"not the Redis protocol: {error}"))
            return
        if waiting is None or len(self._answers) > self._wanted:
            if self._answers:
                self.lose(redis_errors.InvalidResponse("an answer that nobody asked for"))
        elif len(self._answers) == self._wanted and not waiting.done():
            waiting.set_result(self._answers)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side, or ``lose``, has closed the connection."""
        self.lose(redis_errors.ConnectionError(f"connection lost: {exc or 'closed by Redis'}"))


class Transaction:
    """Commands that are carried out together, packed as they come."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._packed: list[bytes] = []

    def rpush(self, key: str, *values: str | bytes) -> None:
        """Put ``values`` at the end of a list."""
        self._packed.append(_packed("RPUSH", key, *values))

    def pexpire(self, key: str, milliseconds: int) -> None:
        """Let a key end after ``milliseconds``."""
        self._packed.append(_packed("PEXPIRE", key, milliseconds))

    def xadd(self, key: str, fields: Mapping[str, str | bytes], *, maxlen: int = 0, approximate: bool = True) -> None:
        """Append an entry to a stream, and cut the stream to (about) ``maxlen`` entries when that is not 0."""
        cut = ("MAXLEN", "~" if approximate else "=", maxlen) if maxlen else ()
        flat = [part for pair in fields.items() for part in pair]
        self._packed.append(_packed("XADD", key, *cut, "*", *flat))

    def hset(
        self, key: str, field: str = "", value: str | bytes = b"", *, mapping: Mapping[str, str | bytes] | None = None
    ) -> None:
        """Set ``field``, or all those of ``mapping``, of a hash."""
        flat = (field, value) if mapping is None else [part for pair in mapping.items() for part in pair]
        self._packed.append(_packed("HSET", key, *flat))

    def hdel(self, key: str, field: str) -> None:
        """Take ``field`` out of a hash."""
        self._packed.append(_packed("HDEL", key, field))

    async def execute(self) -> list[Any]:
        """As ``Wire.execute``; may be done again after it failed."""
        return await self._wire.execute(self._packed)


def _known(answer: Any) -> Any:
    """hiredis' errors as those of redis-py; everything else as it is."""
    return redis_errors.ResponseError(str(answer)) if isinstance(answer, hiredis.ReplyError) else answer
