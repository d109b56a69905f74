"""Desks: who takes a diverted call, when, and how many at once. Pure: time is event time, and nothing is read here.

A place at a desk is taken when a call is diverted to it and given back by the call's release, or after ``hold_s`` where
no release comes. What a desk says of itself (``Heard``) counts more than what was worked out: people log in and out.
The board is part of the engine's state, as the windows are: the same log and the same words of the desks give the same
diversions, whatever the batches. ``changes`` is what must be written down with the decisions for that to outlive a
restart.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: "mon-fri 08:00-20:00", "sat,sun 10:00-16:00", "daily 22:00-06:00" (over midnight: of the day on which it begins).
HOURS: Final = (
    r"^(daily|(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun)|(,(mon|tue|wed|thu|fri|sat|sun)){0,6}))"
    r" ([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z"
)
MOST_PLACES: Final = 100_000
_DAY_S: Final = 86_400.0
_THURSDAY: Final = 3
_LAST: Final = "\U0010ffff"
"""Behind every decision id."""
_HOURS: Final = re.compile(HOURS)


class Hours(msgspec.Struct, frozen=True):
    """Working hours: ``days`` (0 is Monday) from ``first_s`` until before ``after_s``, seconds of the local day.

    ``after_s`` at or below ``first_s`` is on the next day.
    """

    days: tuple[int, ...]
    first_s: float
    after_s: float

    def open_at(self, local: float) -> bool:
        """Whether the local time (epoch seconds plus the offset from UTC) lies within."""
        day, second = divmod(local, _DAY_S)
        weekday = int(day + _THURSDAY) % 7
        if self.first_s < self.after_s:
            return weekday in self.days and self.first_s <= second < self.after_s
        return (weekday in self.days and second >= self.first_s) or (
            (weekday - 1) % 7 in self.days and second < self.after_s
        )


def parse_hours(text: str) -> Hours:
    """The hours that ``text`` says (see HOURS); ValueError when it says none."""
    if not _HOURS.match(text):
        raise ValueError(f"{text!r} is no working hours: write mon-fri 08:00-20:00")
    named, _, times = text.partition(" ")
    if named == "daily":
        days = tuple(range(7))
    elif "-" in named:
        first, last = (DAYS.index(day) for day in named.split("-"))
        days = tuple(day % 7 for day in range(first, last + 1 if last >= first else last + 8))
    else:
        days = tuple(DAYS.index(day) for day in named.split(","))
    begin, end = (int(time[:2]) * 3_600.0 + int(time[3:]) * 60.0 for time in times.split("-"))
    return Hours(days, begin, end)


class Desk(msgspec.Struct, frozen=True):
    """One desk: its SIP URI, the languages it speaks, when it works (never said: always), how many calls it takes.

    ``calls`` at once and ``queue`` waiting; both 0: as many as come. ``hold_s``: after so many seconds a place is free
    again though no release came. ``silent_s``: a desk that has said nothing of itself for so long counts as closed; 0:
    nobody waits for it to say anything. ``one_caller``: how many places the calls of one number may have; 0: all.
    """

    name: str
    target: str
    languages: tuple[str, ...] = ()
    hours: tuple[Hours, ...] = ()
    calls: int = 0
    queue: int = 0
    hold_s: float = 900.0
    silent_s: float = 0.0
    one_caller: int = 0

    @property
    def places(self) -> int:
        """How many calls it takes, those that wait included; 0: as many as come."""
        return self.calls + self.queue


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """What a desk said of itself at epoch second ``ts``: how many more calls it can take."""

    free: int
    ts: float


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A place taken: at which desk, by which call, at which epoch second, from which number."""

    desk: str
    call_id: str
    ts: float
    caller: str = ""


class DeskBoard:
    """Which places are taken. ``changes``: decision id → place, None for one that was given back."""

    def __init__(self, desks: Iterable[Desk] = (), offset_s: float = 0.0) -> None:
        self._desks = {desk.name: desk for desk in desks}
        self._offset_s = offset_s
        self._places: dict[str, Place] = {}
        self._by_call: dict[str, set[str]] = {}
        # Since when each place is taken and by which decision, oldest first: a desk may have very many of them.
        self._taken: dict[str, list[tuple[float, str]]] = {name: [] for name in self._desks}
        self._of_caller: Counter[tuple[str, str]] = Counter()
        self._heard: dict[str, Heard] = {}
        self.changes: dict[str, Place | None] = {}

    def __bool__(self) -> bool:
        return bool(self._desks)

    @property
    def desks(self) -> Mapping[str, Desk]:
        """The desks by name."""
        return self._desks

    def taken(self, name: str) -> int:
        """How many places of desk ``name`` are taken."""
        return len(self._taken.get(name, ()))

    def heard(self, name: str, free: int, ts: float) -> bool:
        """Desk ``name`` says that it can take ``free`` more calls at epoch second ``ts``; False for one unknown."""
        if name not in self._desks:
            return False
        before = self._heard.get(name)
        if before is None or ts >= before.ts:
            self._heard[name] = Heard(max(0, free), ts)
        return True

    def take(
        self, names: Iterable[str], decision: str, call_id: str, ts: float, language: str, caller: str = ""
    ) -> Desk | None:
        """A place for a call, at the first of ``names`` that is open and has one; None when there is none.

        Desks that speak ``language`` come first. A call that has a place keeps it: a repeated setup takes no second.
        ``caller``: the calling number; calls that show none are not counted together.
        """
        held = self._places.get(decision)
        if held is not None:
            return self._desks.get(held.desk)
        listed = [self._desks[name] for name in names if name in self._desks]
        speaking = [desk for desk in listed if not desk.languages or language in desk.languages]
        for desk in (*speaking, *(desk for desk in listed if desk not in speaking)):
            if self._open(desk, ts) and self._free(desk, ts) > 0 and not self._has_enough(desk, caller):
                self._take(decision, Place(desk.name, call_id, ts, caller))
                return desk
        return None

    def give_back(self, call_id: str) -> None:
        """The call has ended; its place is free."""
        for decision in sorted(self._by_call.get(call_id, ())):
            self._drop(decision)

    def restore(self, places: Mapping[str, Place], heard: Mapping[str, Heard]) -> None:
        """Take over what was written down; places at desks that are no longer there are left out."""
        for decision in list(self._places):
            self._drop(decision)
        for decision, place in sorted(places.items(), key=lambda item: (item[1].ts, item[0])):
            if place.desk in self._desks:
                self._take(decision, place)
        self._heard = {name: word for name, word in heard.items() if name in self._desks}
        self.changes.clear()

    @property
    def words(self) -> Mapping[str, Heard]:
        """What the desks last said of themselves."""
        return self._heard

    def _open(self, desk: Desk, ts: float) -> bool:
        if desk.hours and not any(hours.open_at(ts + self._offset_s) for hours in desk.hours):
            return False
        if desk.silent_s <= 0:
            return True
        word = self._heard.get(desk.name)
        return word is not None and ts - word.ts <= desk.silent_s

    def _free(self, desk: Desk, ts: float) -> int:
        taken = self._taken[desk.name]
        while taken and taken[0][0] + desk.hold_s <= ts:
            self._drop(taken[0][1])
        free = desk.places - len(taken) if desk.places else MOST_PLACES - len(taken)
        word = self._heard.get(desk.name)
        if word is not None and (desk.silent_s <= 0 or ts - word.ts <= desk.silent_s):
            free = min(free, word.free - (len(taken) - bisect_right(taken, (word.ts, _LAST))))
        return free

    def _has_enough(self, desk: Desk, caller: str) -> bool:
        return bool(desk.one_caller and caller) and self._of_caller[desk.name, caller] >= desk.one_caller

    def _take(self, decision: str, place: Place) -> None:
        self._places[decision] = place
        self._of_caller[place.desk, place.caller] += 1
        insort(self._taken[place.desk], (place.ts, decision))
        self._by_call.setdefault(place.call_id, set()).add(decision)
        self.changes[decision] = place

    def _drop(self, decision: str) -> None:
        place = self._places.pop(decision)
        taken = self._taken[place.desk]
        del taken[bisect_left(taken, (place.ts, decision))]
        self._of_caller[place.desk, place.caller] -= 1
        if not self._of_caller[place.desk, place.caller]:
            del self._of_caller[place.desk, place.caller]
        left = self._by_call[place.call_id]
        left.discard(decision)
        if not left:
            del self._by_call[place.call_id]
        self.changes[decision] = None
