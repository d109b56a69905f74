"""One connection to the event socket of a FreeSWITCH: logs in, asks one thing at a time, hands events on."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

from sip_adapters.agents import UnreachableError
from sip_adapters.switches.freeswitch import protocol_esl as esl

_CHUNK: Final = 65_536
_MOST_STRANGERS: Final = 10_000
_LIST_S: Final = 30.0


class Connection:
    """Made by the first question; the switch at ``host``:``port`` has ``timeout_s`` for each answer.

    Nothing is asked twice at once. Events that come meanwhile are kept by ``events``, at most so many.
    """

    def __init__(self, host: str, port: int, password: str, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._password = password
        self._timeout_s = timeout_s
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._reader = esl.EslReader()
        self._arrived: deque[esl.Message] = deque()
        self.events: deque[esl.Message] = deque(maxlen=_MOST_STRANGERS)

    async def api(self, raw: bytes) -> str:
        """The body of the answer to an API command, line ends around it removed."""
        return (await self.ask(raw, "api/response")).text().strip()

    async def ask(self, raw: bytes, kind: str) -> esl.Message:
        """The answer to ``raw``, a message of the Content-Type ``kind``. UnreachableError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                writer = (await self._connected())[1]
                writer.write(raw)
                await writer.drain()
            async with asyncio.timeout(_LIST_S):
                return await self._answer(kind)
        except TimeoutError:
            await self.close()
            raise UnreachableError(f"the switch does not answer within {self._timeout_s:g} s") from None
        except OSError as error:
            await self.close()
            what = (error.strerror or str(error)).lower()
            raise UnreachableError(f"the switch cannot be reached at {self.where}: {what}") from None
        except (UnreachableError, asyncio.CancelledError):
            # What is on its way would be taken for the answer to the next question.
            await self.close()
            raise

    async def next_event(self) -> esl.Message:
        """The next event, however long it takes. UnreachableError when the connection ends."""
        while not self.events:
            try:
                message = await self._receive(None)
            except OSError as error:
                await self.close()
                what = (error.strerror or str(error)).lower()
                raise UnreachableError(f"the switch cannot be reached at {self.where}: {what}") from None
            if message.kind == "text/event-json":
                self.events.append(message)
        return self.events.popleft()

    async def close(self) -> None:
        """Let go of it; the next question makes a new one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream[1].close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(0.5):
                    await stream[1].wait_closed()

    @property
    def where(self) -> str:
        """The address, for people."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    async def _answer(self, kind: str) -> esl.Message:
        for _ in range(_MOST_STRANGERS):
            message = await self._receive(self._timeout_s)
            if message.kind == kind:
                return message
            if message.kind == "text/event-json":
                self.events.append(message)
            elif message.kind in ("command/reply", "api/response", "auth/request"):
                raise UnreachableError(f"the switch answers with {esl.printable(message.kind)[:40]}, not {kind}")
        raise UnreachableError("the switch sends everything but an answer")

    async def _receive(self, timeout_s: float | None) -> esl.Message:
        while not self._arrived:
            if self._stream is None:
                raise UnreachableError("there is no connection to the switch")
            async with asyncio.timeout(timeout_s):
                data = await self._stream[0].read(_CHUNK)
            if not data:
                await self.close()
                raise UnreachableError("the switch has closed the connection")
            self._arrived.extend(self._reader.feed(data))
        message = self._arrived.popleft()
        if message.kind in ("text/disconnect-notice", "text/rude-rejection"):
            said = esl.printable(message.text())[:80].strip()
            await self.close()
            raise UnreachableError(f"the switch ends the connection: {said}")
        return message

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._stream is not None:
            return self._stream
        self._reader = esl.EslReader()
        self._arrived.clear()
        self.events.clear()
        self._stream = stream = await asyncio.open_connection(self._host, self._port, limit=_CHUNK)
        await self._answer("auth/request")
        stream[1].write(esl.authenticate(self._password))
        answer = await self._answer("command/reply")
        if not answer.reply.startswith("+OK"):
            # Not RefusedError: nothing is wrong with the command, and it is wanted once the password is right.
            raise UnreachableError(f"the switch does not let us in: {esl.printable(answer.reply)[:80] or 'no word'}")
        return stream
