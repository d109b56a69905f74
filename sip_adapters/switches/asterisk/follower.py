"""Tells of calls that are answered, out of the events of a manager connection that is made anew when it ends.

``DialEnd`` with ``DialStatus: ANSWER`` names the calling channel in ``Uniqueid`` (docs.asterisk.org, "AMI events").
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Final

from sip_adapters.agents import UnreachableError
from sip_adapters.switches.asterisk import protocol_ami as ami

_LOG: Final = logging.getLogger("antifraud.adapters.asterisk")
_CHUNK: Final = 65_536
_CONNECT_S: Final = 5.0
_PING_EVERY_S: Final = 15.0
_SILENCE_S: Final = 45.0
_LONGEST_PAUSE_S: Final = 5.0


class Follower:
    """Calls ``answered`` with the Uniqueid of each call that is answered, and ``lost`` when events were lost."""

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        secret: str,
        *,
        answered: Callable[[str], None],
        lost: Callable[[], None],
    ) -> None:
        self._address = (host, port)
        self._login = {"Username": user, "Secret": secret, "Events": "call"}
        self._answered = answered
        self._lost = lost

    async def run(self) -> None:
        """Serve until cancelled."""
        pause, trouble = 0.2, False
        while True:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    reader, writer = await asyncio.open_connection(*self._address, limit=_CHUNK)
                messages = self._messages(reader, writer)
                try:
                    async for message in messages:
                        if message.first("Response") and message.first("ActionID") == "af-login":
                            if not message.succeeded:
                                raise UnreachableError(f"the switch does not let us in: {ami.said(message)}")
                            if trouble:
                                _LOG.info("answers of calls are told again")
                            pause, trouble = 0.2, False
                        self.take(message)
                finally:
                    await messages.aclose()
                    writer.close()
            except (UnreachableError, OSError, TimeoutError) as error:
                if not trouble:
                    _LOG.warning("answers of calls are not told: %s", str(error) or "the switch says nothing")
                trouble = True
                self._lost()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def take(self, message: ami.Message) -> None:
        """One message; all but an answer is passed over."""
        if message.first("Event") == "DialEnd" and message.first("DialStatus") == "ANSWER":
            self._answered(message.first("Uniqueid"))

    async def _messages(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncGenerator[ami.Message, None]:
        """What comes, as long as something does; a question every 15 s sees to that."""
        protocol = ami.AmiReader()
        numbers = itertools.count(1)
        writer.write(ami.action("Login", "af-login", self._login))
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            data = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PING_EVERY_S):
                    data = await reader.read(_CHUNK)
            if data is None:
                if loop.time() - heard > _SILENCE_S:
                    raise UnreachableError("the switch says nothing")
                writer.write(ami.action("Ping", f"af-ping-{next(numbers)}", {}))
                continue
            if not data:
                raise UnreachableError("the switch has closed the connection")
            heard = loop.time()
            for message in protocol.feed(data):
                yield message
