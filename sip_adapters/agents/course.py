"""What an agent does about a command, and which numbers differ between register and switch. No I/O, no clock.

The register is the truth. A command about a number says no more than "look there": whatever it asks for, the switch is
given what the register says now. So commands may come twice, late, out of order or not at all, and an agent needs no
memory of its own: an old command cannot bring back an old state. An ``unblock`` that the register does not know of yet
is obeyed all the same, because keeping an honest caller out is the worst mistake there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from antifraud.queues.commands import Block, Command

SAME_END_S: Final = 1.5
"""Ends that differ by less are the same: switches keep whole seconds."""


class Step(msgspec.Struct, frozen=True):
    """One thing to do to the switch and what to report when it is done.

    ``do``: ``block`` (``number`` until ``until``), ``unblock``, ``release``, ``resync``, or empty for nothing.
    """

    do: str
    result: str
    detail: str = ""
    number: str = ""
    until: float = 0.0


def wanted_until(entry: Block | None, region: str, now: float) -> float:
    """Until when (epoch s) the switches of ``region`` are to block the number of ``entry``; 0: they are not."""
    if entry is None or entry.state != "blocked" or not entry.holds(now):
        return 0.0
    if entry.region and entry.region != region:
        return 0.0
    return entry.until


def plan(command: Command, entry: Block | None, region: str, now: float) -> Step:
    """What to do about ``command`` at a switch of ``region`` when the register says ``entry`` about its number.

    A command that has expired is left, except an unblock, which is never too late.
    """
    late = 0 < command.expires <= now
    match command.op:
        case "release":
            return Step("", "expired") if late else Step("release", "done")
        case "resync":
            return Step("", "expired") if late else Step("resync", "done")
        case "unblock":
            return _unblock(command, entry, region, now)
        case _:
            return _block(command, entry, region, now, late)


def _unblock(command: Command, entry: Block | None, region: str, now: float) -> Step:
    until = wanted_until(entry, region, now)
    if entry is not None and until and entry.seq > command.seq:
        return Step("block", "superseded", "the register has it blocked since", command.number, until)
    if entry is not None and entry.seq > command.seq:
        return Step("unblock", "superseded", "the register has something newer", command.number)
    return Step("unblock", "done", "", command.number)


def _block(command: Command, entry: Block | None, region: str, now: float, late: bool) -> Step:
    if late or command.until <= now:
        return Step("", "expired")
    until = wanted_until(entry, region, now)
    if not until:
        detail = "the register does not have it blocked" + ("" if entry is None or not entry.region else " here")
        return Step("unblock", "superseded", detail, command.number)
    assert entry is not None
    if entry.seq > command.seq:
        return Step("block", "superseded", "the register has something newer", command.number, until)
    return Step("block", "done", "", command.number, until)


class Comparison:
    """What differs between the numbers that a switch holds and those that it is to hold.

    Give it the switch's list, then every entry of the register once or more often; ``missing`` comes at once,
    ``surplus`` is what is left at the end. Memory: one entry a blocked number.
    """

    def __init__(self, held: Iterable[tuple[str, float]]) -> None:
        self._held = dict(held)
        self._seen: set[str] = set()
        self.held = len(self._held)
        self.wanted = 0

    def missing(self, number: str, until: float) -> bool:
        """Whether ``number``, to be blocked until ``until``, is not on the switch, or with another end."""
        if number in self._seen:
            return False
        self._seen.add(number)
        self.wanted += 1
        held = self._held.pop(number, 0.0)
        return abs(held - until) > SAME_END_S

    def surplus(self) -> list[str]:
        """The numbers on the switch that nobody wanted."""
        return sorted(self._held)
