"""What every ``SwitchPort`` must do, written once, and a switch in memory that does it, for tests of the runner.

``MemorySwitch`` can be told to misbehave; what it was asked stands in ``asked``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Literal

from sip_adapters.agents import RefusedError, SwitchPort, UnreachableError

NUMBERS: Final = ("+77010000001", "+77010000002", "+77010000101", "+442079460000", "+1112")


class MemorySwitch:
    """A switch that is a dict. ``away``: it answers nothing; ``refuses``, ``mute``: numbers and calls of which it says
    no, or nothing at all though it answers otherwise."""

    def __init__(self) -> None:
        self.blocked: dict[str, float] = {}
        self.calls: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.away = False
        self.refuses: set[str] = set()
        self.mute: set[str] = set()
        self.slow_s = 0.0
        self.most_at_once = 0
        self._starts = 1
        self._at_once = 0

    def restart(self) -> None:
        """Forget everything, as after a crash."""
        self.blocked.clear()
        self.calls.clear()
        self._starts += 1

    async def epoch(self) -> str:
        await self._answer("epoch", "")
        return str(self._starts)

    async def block(self, number: str, until: float) -> None:
        await self._answer("block", number)
        self.blocked[number] = float(round(until))

    async def unblock(self, number: str) -> None:
        await self._answer("unblock", number)
        self.blocked.pop(number, None)

    async def release(self, call_id: str, caller: str, callee: str) -> Literal["done", "gone"]:  # noqa: ARG002
        await self._answer("release", call_id)
        if call_id not in self.calls:
            return "gone"
        self.calls.remove(call_id)
        return "done"

    async def listed(self) -> AsyncIterator[tuple[str, float]]:
        await self._answer("listed", "")
        for pair in list(self.blocked.items()):
            yield pair

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _answer(self, what: str, about: str) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self.slow_s)
            self.asked.append((what, about))
            if self.away or about in self.mute:
                raise UnreachableError("the switch does not answer")
            if about in self.refuses:
                raise RefusedError("the switch says no")
        finally:
            self._at_once -= 1


async def _list(port: SwitchPort) -> dict[str, float]:
    return {number: until async for number, until in port.listed()}


async def blocked_numbers_are_listed_with_their_ends(port: SwitchPort) -> None:
    """Within a second and a half, each once."""
    until = time.time() + 600
    for number in NUMBERS:
        await port.block(number, until)
    listed = await _list(port)
    assert set(NUMBERS) <= set(listed), (NUMBERS, listed)
    assert all(abs(listed[number] - until) <= 1.5 for number in NUMBERS), listed


async def a_block_may_be_repeated_and_changed(port: SwitchPort) -> None:
    """The last end counts, be it earlier or later."""
    now = time.time()
    for left in (600, 600, 60, 6_000):
        await port.block(NUMBERS[0], now + left)
        assert abs((await _list(port))[NUMBERS[0]] - now - left) <= 1.5, left


async def an_unblock_may_be_repeated(port: SwitchPort) -> None:
    """Also for numbers that were never blocked."""
    await port.block(NUMBERS[1], time.time() + 600)
    for number in (NUMBERS[1], NUMBERS[1], "+77010009999"):
        await port.unblock(number)
        assert number not in await _list(port), number


async def an_unknown_call_is_gone(port: SwitchPort) -> None:
    """Whatever its Call-ID looks like."""
    for call_id in ("no-such-call@example.test", 'a"b\\c {} \u0416 %s ', "x" * 200):
        assert await port.release(call_id, "", "") == "gone", call_id


async def the_epoch_stays_the_same(port: SwitchPort) -> None:
    """As long as the switch runs, whatever is done to it."""
    before = await port.epoch()
    await port.block(NUMBERS[0], time.time() + 600)
    assert before == await port.epoch()
    assert before


async def it_works_again_after_close(port: SwitchPort) -> None:
    """The next call makes its own connection."""
    await port.close()
    await port.close()
    assert await port.epoch()


CHECKS: Final[tuple[Callable[[SwitchPort], Awaitable[None]], ...]] = (
    blocked_numbers_are_listed_with_their_ends,
    a_block_may_be_repeated_and_changed,
    an_unblock_may_be_repeated,
    an_unknown_call_is_gone,
    the_epoch_stays_the_same,
    it_works_again_after_close,
)
