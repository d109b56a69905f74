"""Kamailio as a ``SwitchPort``: one datagram socket to module jsonrpcs, one question at a time.

The socket is connected and has an address that Linux makes up (unix(7), autobind): nobody but the switch can send to
it, and Kamailio needs no right to write into any directory of ours. The socket file is the switch's: whoever may write
to it commands the switch, so its owner and mode are all the protection there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator
from typing import Any, Final, Literal

from antifraud.queues.commands import MAX_BLOCK_S
from sip_adapters.agents import RefusedError, UnreachableError
from sip_adapters.switches.kamailio import rpc

_LOG: Final = logging.getLogger("antifraud.agents.kamailio")
_LONGEST_ID: Final = 250
"""Characters of a Call-ID that antifraud.cfg reports whole."""
_FEW: Final = 8
_MOST: Final = 64
_BYE_HEADERS: Final = "Reason: Q.850;cause=21\r\n"
_STRANGERS: Final = 64
_ENDING: Final = "antifraud_ending"


class KamailioSwitch:
    """The Kamailio behind the socket file ``path``; it has ``timeout_s`` for an answer."""

    def __init__(self, path: str, timeout_s: float = 2.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._identity = 0
        self.rewritten = 0
        """Pages that were too full to be read and were emptied instead."""

    async def epoch(self) -> str:
        return rpc.epoch(await self._ask("core.uptime"))

    async def block(self, number: str, until: float) -> None:
        left = min(max(1, round(until - time.time())), int(MAX_BLOCK_S))
        await self._ask("htable.setxs", rpc.table_of(number), number, str(round(until)), left)

    async def unblock(self, number: str) -> None:
        found = await self._question("htable.delete", rpc.table_of(number), number)
        if isinstance(found, rpc.Fault) and not (found.code == 404 and "not found" in found.message):
            raise _refused("htable.delete", found)

    async def listed(self) -> AsyncIterator[tuple[str, float]]:
        sizes = rpc.tables(await self._ask("htable.stats"))
        for page in range(rpc.PAGES):
            name = rpc.page_name(page)
            size = sizes.get(name)
            if size is None:
                raise RefusedError(f"the switch has no table {name}; #!define ANTIFRAUD_BLOCKLIST before the include")
            if size > rpc.FULLEST_PAGE:
                # Its list fits no datagram. Emptied, it is filled again by whoever asked.
                _LOG.warning("%s has %d numbers, too many to be compared; it is emptied and filled again", name, size)
                await self._ask("htable.flush", name)
                self.rewritten += 1
            elif size:
                for pair in rpc.numbers(await self._ask("htable.dump", name)):
                    yield pair

    async def release(self, call_id: str, caller: str, callee: str) -> Literal["done", "gone"]:
        if len(call_id) > _LONGEST_ID and "~" in call_id:
            raise RefusedError("the Call-ID was too long to be reported whole; the call cannot be found by it")
        going_on = [call for call in await self._calls(call_id) if call.call_id == call_id and call.state < 5]
        # Whoever calls chooses the Call-ID, and may give it to several calls: none of them is to stand before another,
        # or to be ended in its place.
        found = rpc.between(going_on, caller, callee)
        if not found and len(going_on) >= _MOST:
            raise RefusedError(
                f"{_MOST} calls and more have this Call-ID, and the one that is meant is not among these"
            )
        trouble = ""
        for call in found:
            trouble = await self._end(call) or trouble
        if trouble:
            # It may have been answered or ended in between: another look tells.
            raise UnreachableError(f"the call was not ended: {trouble}")
        return "done" if found else "gone"

    async def _calls(self, call_id: str) -> list[rpc.Dialog]:
        """The calls with this Call-ID, ``_MOST`` at most; ``dlg.dlg_list`` would answer with the last one alone.

        Whoever calls could make the answer too large for a datagram, and none comes then.
        """
        calls: list[rpc.Dialog] = []
        for most in (_FEW, _MOST):
            found = await self._question("dlg.list_match", "callid", "eq", call_id, most)
            if isinstance(found, rpc.Fault):
                if found.code == 404:
                    return []
                raise _refused("dlg.list_match", found)
            calls = rpc.dialogs(found)
            if len(calls) < most:
                break
        return calls

    async def _end(self, call: rpc.Dialog) -> str:
        """What the switch says when it does not."""
        if call.state >= 3:  # answered, whether the caller has acknowledged it or not
            # Told first, or an answer to the first BYE may come before the second is sent: see antifraud_dialogs.cfg.
            await self._question("htable.sets", _ENDING, call.call_id, "1")
            found = await self._question("dlg.end_dlg", call.h_entry, call.h_id, _BYE_HEADERS)
            if isinstance(found, rpc.Fault):
                await self._question("htable.delete", _ENDING, call.call_id)
        else:
            found = await self._question("tm.cancel", call.call_id, call.caller.cseq or "1")
        return f"the switch says {found.code} {found.message}" if isinstance(found, rpc.Fault) else ""

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _ask(self, method: str, *parameters: str | int) -> Any:
        """The result; RefusedError when the switch says no."""
        found = await self._question(method, *parameters)
        if isinstance(found, rpc.Fault):
            raise _refused(method, found)
        return found

    async def _question(self, method: str, *parameters: str | int) -> Any:
        """The result or the fault."""
        self._identity = rpc.next_identity(self._identity or secrets.randbelow(2**30))
        raw = rpc.question(self._identity, method, parameters)
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = self._connected()
                await _send(connection, raw)
                for _ in range(_STRANGERS):
                    found = rpc.answer(await _receive(connection), self._identity)
                    if found is not None:
                        return found
        except TimeoutError:
            await self.close()
            raise UnreachableError(f"{method}: the switch does not answer within {self._timeout_s:g} s") from None
        except OSError as error:
            await self.close()
            what = error.strerror or str(error)
            raise UnreachableError(f"the switch cannot be reached at {self._path}: {what.lower()}") from None
        except UnreachableError:
            await self.close()
            raise
        await self.close()
        raise UnreachableError(f"{method}: the switch answers other questions than this one")

    def _connected(self) -> socket.socket:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            try:
                made.bind("")
                made.connect(self._path)
            except OSError:
                made.close()
                raise
            self._socket = made
        return self._socket


def _refused(method: str, fault: rpc.Fault) -> RefusedError:
    return RefusedError(f"{method}: the switch says {fault.code} {fault.message}")


async def _send(connection: socket.socket, raw: bytes) -> None:
    while True:
        try:
            connection.send(raw)
        except BlockingIOError:  # the switch has not read what came before
            await asyncio.sleep(0.005)
        else:
            return


async def _receive(connection: socket.socket) -> bytes:
    """The next datagram. OSError; UnreachableError when it is larger than any answer."""
    loop = asyncio.get_running_loop()
    while True:
        with contextlib.suppress(BlockingIOError):
            raw, _, flags, _ = connection.recvmsg(rpc.LARGEST_ANSWER)
            if flags & socket.MSG_TRUNC:
                raise UnreachableError(f"the switch answers more than {rpc.LARGEST_ANSWER} bytes")
            return raw
        arrived = loop.create_future()
        loop.add_reader(connection.fileno(), _tell, arrived)
        try:
            await arrived
        finally:
            loop.remove_reader(connection.fileno())


def _tell(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)
