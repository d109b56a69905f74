"""FreeSWITCH as a ``SwitchPort``: API commands over one inbound event-socket connection.

The block list is a realm of mod_hash: the key is the number, the value the epoch second at which the block ends. The
dialplan compares that with the clock, so a block ends without being told. mod_hash forgets it all when FreeSWITCH
ends; ``core_uuid``, which is another after each start, tells the runner.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Literal

from sip_adapters.agents import RefusedError, UnreachableError
from sip_adapters.switches.freeswitch import protocol_esl as esl
from sip_adapters.switches.freeswitch.connection import Connection

_MOST_LOOKED_AT: Final = 500
_TAIL: Final = 7


class FreeSwitch:
    """The FreeSWITCH whose event socket is at ``host``:``port``; it has ``timeout_s`` for each answer."""

    def __init__(self, host: str, port: int, password: str, timeout_s: float = 2.0, *, realm: str = esl.REALM) -> None:
        self._connection = Connection(host, port, password, timeout_s)
        self._realm = realm

    async def epoch(self) -> str:
        core = await self._connection.api(esl.api("global_getvar", "core_uuid"))
        if not esl.is_uuid(core):
            raise UnreachableError(f"the switch answers global_getvar core_uuid with {esl.printable(core)[:40]!r}")
        return core

    async def block(self, number: str, until: float) -> None:
        self._check("hash insert", await self._connection.api(esl.insert(self._realm, number, round(until))))

    async def unblock(self, number: str) -> None:
        answer = await self._connection.api(esl.delete(self._realm, number))
        if not answer.lower().startswith("-err not found"):
            self._check("hash delete", answer)

    async def listed(self) -> AsyncIterator[tuple[str, float]]:
        text = await self._connection.api(esl.api("hash_dump", "db", self._realm))
        if text.startswith(("Usage", "-ERR", "-USAGE")):
            raise RefusedError(f"hash_dump: the switch says {esl.printable(text)[:120]}; it needs mod_hash with realms")
        for pair in esl.dumped(text, self._realm):
            yield pair

    async def release(self, call_id: str, caller: str, callee: str) -> Literal["done", "gone"]:
        if esl.is_uuid(call_id) and await self._connection.api(esl.exists(call_id)) == "true":
            return await self._kill(call_id)
        return await self._kill_by_call_id(call_id, caller, callee)

    async def close(self) -> None:
        await self._connection.close()

    async def _kill_by_call_id(self, call_id: str, caller: str, callee: str) -> Literal["done", "gone"]:
        """The channel whose SIP Call-ID is ``call_id``: those with the call's numbers are asked first."""
        found = esl.channels(await self._connection.api(esl.api("show", "channels", "as", "json")) or "{}")
        found.sort(key=lambda channel: not (_alike(channel.cid_num, caller) or _alike(channel.dest, callee)))
        for channel in found[:_MOST_LOOKED_AT]:
            if await self._connection.api(esl.get_call_id(channel.uuid)) == call_id:
                return await self._kill(channel.uuid)
        if len(found) > _MOST_LOOKED_AT:
            raise RefusedError(
                f"the call was not among the likeliest {_MOST_LOOKED_AT} of {len(found)}; report calls by their UUID"
            )
        return "gone"

    async def _kill(self, uuid: str) -> Literal["done", "gone"]:
        answer = await self._connection.api(esl.kill(uuid))
        if answer.startswith("-ERR No such channel"):
            return "gone"
        self._check("uuid_kill", answer)
        return "done"

    def _check(self, command: str, answer: str) -> None:
        if not answer.startswith("+OK"):
            raise RefusedError(f"{command}: the switch says {esl.printable(answer)[:120] or 'nothing'}")


def _alike(one: str, other: str) -> bool:
    """Whether two numbers end in the same seven digits."""
    return len(one) >= _TAIL and len(other) >= _TAIL and one[-_TAIL:] == other[-_TAIL:]
