"""A short stream of events that a test replays: what stands in the file, and the events that it means.

Times are seconds after the beginning of the test. What facts and windows come of the events is not known here: whoever
replays them asks the code that the engine asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from antifraud.domain import CallEvent, EventError, EventKind, check_event
from antifraud.rulekit.form import Value

CALL: Final = "call"
KINDS: Final = (CALL, *(kind.value for kind in EventKind))
"""What an entry can be: a whole call, or one of its events."""
ENDS: Final = ("ring_s", "talk_s", "pdd_s", "cause")
"""How a call went; known when it is released."""
REPORTED: Final = ("label", "reporter", "weight")
TRUNK_CLASS: Final = "trunk_class"
"""The one fact that an entry gives: which trunk is of which class is a matter of configuration, not of the call."""
MAX_EVENTS: Final = 2_000
MAX_SPAN_S: Final = 31 * 86_400.0

_NEVER_GIVEN: Final = ("kind", "call_id", "ts", "takes_back", "reply", "deadline_ms")
_SET_UP: Final = tuple(name for name in CallEvent.__struct_fields__ if name not in (*_NEVER_GIVEN, *ENDS, *REPORTED))
CARRIED: Final[Mapping[str, tuple[str, ...]]] = {
    CALL: (*_SET_UP, TRUNK_CLASS, *ENDS),
    "setup": (*_SET_UP, TRUNK_CLASS),
    "answer": (*_SET_UP, TRUNK_CLASS),
    "release": (*_SET_UP, TRUNK_CLASS, *ENDS),
    "report": (*_SET_UP, TRUNK_CLASS, *REPORTED),
}
"""What an entry of each kind can say."""
GIVEN: Final = (*_SET_UP, TRUNK_CLASS, *ENDS, *REPORTED)

_RAW: Final = {"caller": "caller_raw", "callee": "callee_raw", "caller_raw": "caller", "callee_raw": "callee"}
"""A party is given as a number or as it was presented; who says the one does not mean the other any more."""
_COUNTED: Final = re.compile("#+")

Values = Mapping[str, Value | None]


class Entry(msgspec.Struct, frozen=True):
    """One entry of a stream: an event or a whole call, ``repeat`` times, ``every`` seconds after each other.

    ``call`` names it, so that an answer, a release or a report can say which call they belong to.
    """

    kind: str
    at: float
    values: Values
    call: str = ""
    repeat: int = 1
    every: float = 0.0
    line: int = 0
    column: int = 0

    @property
    def sets_up(self) -> bool:
        """Whether a call begins here."""
        return self.kind in (CALL, "setup")


class Stream(msgspec.Struct, frozen=True):
    """The events of one test. ``each`` holds for every entry that does not say otherwise.

    ``starts`` is the epoch second of 0s. ``judge`` names the call that is judged; empty: the last one that is set up.
    ``country`` (ISO 3166-1) says by whose dial plan numbers are read; empty: that of the configuration.
    """

    entries: tuple[Entry, ...]
    starts: float
    each: Values = {}
    judge: str = ""
    country: str = ""

    @property
    def size(self) -> int:
        """How many events it stands for, at most: a call that ends is set up, answered and released."""
        total = 0
        for entry in self.entries:
            ends = entry.kind == CALL and any(name in self.each or name in entry.values for name in ENDS)
            total += entry.repeat * (3 if ends else 1)
        return total

    def said(self) -> tuple[object, ...]:
        """What it says, places in the file left aside."""
        entries = [msgspec.structs.replace(entry, line=0, column=0) for entry in self.entries]
        return (entries, self.starts, dict(self.each), self.judge, self.country)


class Played(msgspec.Struct, frozen=True):
    """The events of a stream in the order of time. ``judged`` is the place of the set-up that is judged, and ``entry``
    where it comes from; ``trunks`` are the classes that the test gives to trunks.
    """

    events: tuple[CallEvent, ...]
    judged: int
    entry: Entry
    trunks: Mapping[str, str]


class _Placed(msgspec.Struct):
    """A call that has been set up: what was said of it, and when it was answered."""

    values: dict[str, Value]
    call_id: str
    ts: float
    answered: float | None = None


def released_early(stream: Stream) -> Iterator[tuple[Entry, float]]:
    """The releases that come before the last answer of their call, each with the second of that answer.

    Entries are in the order in which they *begin*, so only an answer that is repeated can come after the release.
    """
    answers: dict[str, float] = {}
    for entry in stream.entries:
        if entry.kind == "answer":
            answers[entry.call] = entry.at + (entry.repeat - 1) * entry.every
        elif entry.kind == "release" and entry.at < answers.get(entry.call, entry.at):
            yield entry, answers[entry.call]


def play(stream: Stream) -> Played:
    """The events of a stream that has been checked."""
    trunks: dict[str, str] = {}
    timed = [(event, entry) for entry, events in played_entries(stream, trunks) for event in events]
    timed.sort(key=lambda item: item[0].ts)  # at the same time, the order of the file
    judged = [
        place
        for place, (event, entry) in enumerate(timed)
        if event.kind is EventKind.SETUP and (not stream.judge or entry.call == stream.judge)
    ][-1]
    return Played(tuple(event for event, _entry in timed), judged, timed[judged][1], trunks)


def played_entries(
    stream: Stream, trunks: dict[str, str], *, ends: bool = False
) -> Iterator[tuple[Entry, Iterator[CallEvent]]]:
    """Each entry with its events, in the order of the file; ``trunks`` takes the classes that the test gives to trunks.

    The events of an entry have to be taken before the next one is asked for: a release needs to know of the answer.
    ``ends`` leaves out all repetitions but the first and the last, between which nothing new can go wrong.
    EventError when one would be refused.
    """
    placed: dict[str, _Placed] = {}
    for number, entry in enumerate(stream.entries, 1):
        counts = sorted({1, entry.repeat}) if ends else range(1, entry.repeat + 1)
        yield entry, _repetitions(stream, number, entry, counts, placed, trunks)


def _repetitions(
    stream: Stream,
    number: int,
    entry: Entry,
    counts: Iterable[int],
    placed: dict[str, _Placed],
    trunks: dict[str, str],
) -> Iterator[CallEvent]:
    for count in counts:
        values = values_of(stream, entry, count, placed.get(entry.call))
        name, kind = trunk_of(values)
        if kind:
            trunks[name] = kind
        call = _Placed(values, f"{number}.{count}", stream.starts + entry.at + (count - 1) * entry.every)
        yield from _events(entry.kind, call, placed.get(entry.call))
        if entry.sets_up and entry.call:
            placed[entry.call] = call


def values_of(stream: Stream, entry: Entry, count: int, call: _Placed | None = None) -> dict[str, Value]:
    """What the ``count``-th repetition of an entry says: of its own, of its call, and of what holds for each entry."""
    inherited: dict[str, Value | None] = {**stream.each, **({} if call is None else call.values)}
    for name in entry.values:
        inherited.pop(_RAW.get(name, ""), None)
    carried = CARRIED[entry.kind]
    found: dict[str, Value] = {}
    for name, value in {**inherited, **entry.values}.items():
        if value is not None and name in carried:
            counted = isinstance(value, str) and entry.repeat > 1 and name != TRUNK_CLASS
            found[name] = counted_off(str(value), count) if counted else value
    return found


def counted_off(text: str, count: int) -> str:
    """``text`` with the digits of ``count`` for its #: ``+770100000##`` is ``+77010000007`` the seventh time."""
    return _COUNTED.sub(lambda found: str(count).zfill(len(found.group())), text)


def most_repetitions(text: str) -> int:
    """How often ``text`` can be counted off."""
    return min((10 ** len(found) - 1 for found in _COUNTED.findall(text)), default=MAX_EVENTS)


def trunk_of(values: Mapping[str, Value | None]) -> tuple[str, str]:
    """The trunk and the class that the test gives it; one that has a class only is called by it."""
    kind = values.get(TRUNK_CLASS) or ""
    return str(values.get("trunk") or kind), str(kind)


def ends_of(stream: Stream, entry: Entry, calls: Mapping[str, Entry]) -> Iterator[CallEvent]:
    """The events of the first and of the last repetition, for checking. EventError when one would be refused."""
    named = calls.get(entry.call)
    call = None
    if named is not None and not entry.sets_up:
        call = _Placed(values_of(stream, named, 1), "call", stream.starts + named.at)
    for count in sorted({1, entry.repeat}):
        values = values_of(stream, entry, count, call)
        ts = stream.starts + entry.at + (count - 1) * entry.every
        yield from _events(entry.kind, _Placed(values, "call", ts), call)


def _events(kind: str, now: _Placed, call: _Placed | None) -> Sequence[CallEvent]:
    """The events of one repetition; ``call`` is what an answer, a release or a report belongs to."""
    values = now.values
    if kind == "report":
        return [_event(EventKind.REPORT, now.call_id if call is None else call.call_id, now.ts, values)]
    if kind == "answer" and call is not None:
        call.answered = now.ts
        return [_event(EventKind.ANSWER, call.call_id, now.ts, values)]
    if kind == "release" and call is not None:
        connected = now.ts if call.answered is None else call.answered
        went = {"ring_s": round(connected - call.ts, 3), "talk_s": round(now.ts - connected, 3)}
        return [_event(EventKind.RELEASE, call.call_id, now.ts, {**went, **values})]
    found = [_event(EventKind.SETUP, now.call_id, now.ts, values)]
    if any(name in values for name in ENDS):
        connected = round(now.ts + _seconds(values, "ring_s"), 3)
        talk = _seconds(values, "talk_s")
        if talk > 0:
            found.append(_event(EventKind.ANSWER, now.call_id, connected, values))
        released = {**values, "talk_s": talk}
        found.append(_event(EventKind.RELEASE, now.call_id, round(connected + talk, 3), released))
    return found


def _seconds(values: Mapping[str, Value], name: str) -> float:
    value = values.get(name)
    return value if isinstance(value, float) else 0.0


def _event(kind: EventKind, call_id: str, ts: float, values: Mapping[str, Value]) -> CallEvent:
    """One event as a switch would send it. EventError when it would be refused."""
    said: dict[str, Any] = {name: values[name] for name in CARRIED[kind.value] if name in values}
    for party in ("caller", "callee"):
        if party in said:
            said[f"{party}_raw"] = said.pop(party)
    if said.pop(TRUNK_CLASS, None) is not None:
        said["trunk"] = trunk_of(values)[0]
    cause = said.get("cause")
    if cause is not None:
        if cause != cause // 1:
            raise EventError("cause-absurd", f"cause {cause:g} is no Q.850 cause (0-127)")
        said["cause"] = int(cause)
    return check_event(CallEvent(kind, call_id, ts, **said))
