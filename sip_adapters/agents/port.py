"""What the runner asks of a switch, and how a switch says no. Implement ``SwitchPort`` and nothing else for a new kind.

All of it may be asked again at any time: blocking a blocked number, freeing a free one and ending an ended call do no
harm. The runner never asks two things at once of one port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from antifraud.domain import AntifraudError


class UnreachableError(AntifraudError):
    """The switch does not answer, or answers nonsense: it is asked again later. Whether it obeyed is not known."""

    exit_code = 1


class RefusedError(AntifraudError):
    """The switch says no to this one thing, and would say so again."""

    exit_code = 1


class SwitchPort(Protocol):
    """One switch. Every call ends within a few seconds, whatever the switch does, and takes bounded memory.

    Raises UnreachableError and RefusedError, nothing else. Numbers are E.164 with "+", times epoch seconds.
    """

    async def epoch(self) -> str:
        """A text that changes when the switch has started anew and so may have forgotten its block list."""
        ...

    async def block(self, number: str, until: float) -> None:
        """Refuse calls from ``number`` until ``until``; the end takes effect without being told again."""
        ...

    async def unblock(self, number: str) -> None:
        """Let calls from ``number`` pass. No error when it is not blocked."""
        ...

    async def release(self, call_id: str, caller: str, callee: str) -> Literal["done", "gone"]:
        """End the call in progress ``call_id`` on both sides; "gone" when there is none.

        ``caller`` and ``callee`` are for switches that find a call by its numbers; they may be empty.
        """
        ...

    def listed(self) -> AsyncIterator[tuple[str, float]]:
        """Every blocked number with its end. A number that is blocked or freed meanwhile may come or not."""
        ...

    async def close(self) -> None:
        """Let go of connections; the next call makes new ones."""
        ...
