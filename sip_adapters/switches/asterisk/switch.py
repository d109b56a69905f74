"""Asterisk as a ``SwitchPort``: one connection to the manager interface, one action at a time.

The block list is the family ``antifraud_block`` of Asterisk's own database (astdb): the key is the number, the value
the epoch second at which the block ends. The dialplan compares that with the clock, so a block ends without being told.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, Literal

from sip_adapters.agents import RefusedError, UnreachableError
from sip_adapters.switches.asterisk import protocol_ami as ami

_CHUNK: Final = 65_536
_MOST_EVENTS: Final = 2_000_000
_LIST_S: Final = 60.0
_CALL_REJECTED: Final = "21"
_UNKNOWN: Final = ("invalid/unknown command", "unknown command")
_NOT_FOUND: Final = ("not found", "no such channel", "could not be deleted")

Keep = Callable[[ami.Message], None]


class AsteriskSwitch:
    """The Asterisk whose manager interface is at ``host``:``port``; it has ``timeout_s`` for each answer.

    ``variable`` is the channel variable in which the dialplan keeps the id that the call was reported by.
    """

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        secret: str,
        timeout_s: float = 2.0,
        *,
        family: str = "antifraud_block",
        variable: str = "ANTIFRAUD_CALL",
    ) -> None:
        self._host = host
        self._port = port
        self._user = user
        self._secret = secret
        self._timeout_s = timeout_s
        self._family = family
        self._variable = variable
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._reader = ami.AmiReader()
        self._token = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._has_tree = True

    async def epoch(self) -> str:
        return ami.epoch(await self._ask("CoreStatus", {}))

    async def block(self, number: str, until: float) -> None:
        key = ami.number_key(number)
        await self._ask("DBPut", {"Family": self._family, "Key": key, "Val": str(round(until))})

    async def unblock(self, number: str) -> None:
        fields = {"Family": self._family, "Key": ami.number_key(number)}
        answer = await self._question("DBDel", fields)
        if answer.succeeded:
            return
        # An error of the database and an entry that is not there may be said alike: only looking tells.
        if not _says(answer, _NOT_FOUND) or (await self._question("DBGet", fields)).succeeded:
            raise _refused("DBDel", answer)

    async def listed(self) -> AsyncIterator[tuple[str, float]]:
        for pair in await self._list():
            yield pair

    async def release(self, call_id: str, caller: str, callee: str) -> Literal["done", "gone"]:  # noqa: ARG002
        channels: list[str] = []

        def keep(message: ami.Message) -> None:
            if message.first("Event") == "Status" and ami.is_call(message, call_id, self._variable):
                channels.append(message.first("Channel"))

        await self._ask("Status", {"Variables": self._variable}, "StatusComplete", keep)
        ended = False
        for channel in channels[:8]:
            if not ami.is_channel(channel):
                raise RefusedError(f"the call's channel is called {channel[:80]!r}, which cannot be said to the switch")
            answer = await self._question("Hangup", {"Channel": channel, "Cause": _CALL_REJECTED})
            if answer.succeeded:
                ended = True
            elif not _says(answer, _NOT_FOUND):
                raise _refused("Hangup", answer)
        return "done" if ended else "gone"

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream[1].close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(0.5):
                    await stream[1].wait_closed()

    async def _list(self) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []

        def keep(message: ami.Message) -> None:
            entry = ami.tree_entry(message, self._family)
            if entry is not None:
                found.append(entry)

        if self._has_tree:
            answer = await self._question("DBGetTree", {"Family": self._family}, "DBGetTreeComplete", keep)
            if answer.succeeded or _says(answer, _NOT_FOUND):
                return found
            if not _says(answer, _UNKNOWN):
                raise _refused("DBGetTree", answer)
            self._has_tree = False
        command = f"database show {self._family}"
        return ami.shown_entries(await self._ask("Command", {"Command": command}), self._family)

    async def _ask(self, name: str, fields: Mapping[str, str], end: str = "", keep: Keep | None = None) -> ami.Message:
        """The response; RefusedError when the switch says no."""
        answer = await self._question(name, fields, end, keep)
        if not answer.succeeded:
            raise _refused(name, answer)
        return answer

    async def _question(
        self, name: str, fields: Mapping[str, str], end: str = "", keep: Keep | None = None
    ) -> ami.Message:
        """The response, whatever it says; with ``end`` after the event of that name, ``keep`` having had the others."""
        identity = self._identity()
        raw = ami.action(name, identity, fields)
        try:
            async with asyncio.timeout(self._timeout_s):
                writer = (await self._connected())[1]
                writer.write(raw)
                await writer.drain()
            return await self._answer(identity, end, keep)
        except TimeoutError:
            await self.close()
            raise UnreachableError(f"{name}: the switch does not answer within {self._timeout_s:g} s") from None
        except OSError as error:
            await self.close()
            raise UnreachableError(f"the switch cannot be reached at {self._where}: {_why(error)}") from None
        except UnreachableError:
            await self.close()
            raise
        except asyncio.CancelledError:
            # What is on its way would be taken for the answer to the next question.
            await self.close()
            raise

    async def _answer(self, identity: str, end: str, keep: Keep | None) -> ami.Message:
        response: ami.Message | None = None
        events = 0
        async with asyncio.timeout(_LIST_S if end else self._timeout_s):
            while True:
                for message in await self._receive():
                    events += 1
                    if events > _MOST_EVENTS:
                        raise UnreachableError(f"the switch sends more than {_MOST_EVENTS:,} messages")
                    if message.first("ActionID") != identity:
                        continue
                    if message.first("Response"):
                        response = message
                        if not end or not message.succeeded:
                            return message
                    elif end and message.first("Event") == end:
                        if response is None:
                            raise UnreachableError(f"the switch sends {end} before it answers")
                        return response
                    elif keep is not None:
                        keep(message)

    async def _receive(self) -> list[ami.Message]:
        assert self._stream is not None
        async with asyncio.timeout(self._timeout_s):
            data = await self._stream[0].read(_CHUNK)
        if not data:
            raise UnreachableError("the switch has closed the connection")
        return self._reader.feed(data)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._stream is not None:
            return self._stream
        self._stream = stream = await asyncio.open_connection(self._host, self._port, limit=_CHUNK)
        self._reader = ami.AmiReader()
        identity = self._identity()
        login = {"Username": self._user, "Secret": self._secret, "Events": "off"}
        stream[1].write(ami.action("Login", identity, login))
        answer = await self._answer(identity, "", None)
        if not answer.succeeded:
            # Not RefusedError: nothing is wrong with the command, and it is wanted once the secret is right.
            raise UnreachableError(f"the switch does not let {self._user} in: {ami.said(answer)}")
        return stream

    def _identity(self) -> str:
        return f"af-{self._token}-{next(self._numbers)}"

    @property
    def _where(self) -> str:
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"


def _says(answer: ami.Message, words: tuple[str, ...]) -> bool:
    text = answer.first("Message").lower()
    return any(word in text for word in words)


def _refused(name: str, answer: ami.Message) -> RefusedError:
    return RefusedError(f"{name}: the switch says {ami.said(answer)}")


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
