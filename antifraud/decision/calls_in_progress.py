"""Calls in progress: which there are, and when one of them is to be looked at. A function of the events in their order.

A call is followed from its setup to its release. It is looked at when it is answered, every few seconds while people
talk (*tick*), and when somebody reports one of its parties. Times are those at which the log took an event, one clock
for all switches: the clock of a switch that is wrong must not make a short call look long.

Whoever calls chooses the Call-ID, and may give it to several calls at a time. Each of them is followed, and the end of
one is not taken for that of another.

The table is bounded by count and age; what is forgotten is only not intercepted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final

import msgspec

from antifraud.decision.facts import ROW, Prepared
from antifraud.domain import CallEvent, Decision, EventKind

MOST_CALLS: Final = 100_000
MOST_AGE_S: Final = 4 * 3_600.0
TICK_S: Final = 10.0
MOST_OF_ONE_NUMBER: Final = 256
"""How many calls of one number are looked at because of one report."""
MOST_WITH_ONE_ID: Final = 64
"""How many calls of one switch are followed that have the same Call-ID."""
MOST_DUE: Final = 1_024
"""How many calls are looked at in one turn because their time has come or somebody reports their numbers: setups that
wait are decided in the same turn. The others whose time has come follow in the next; those reported are counted."""
_TRUNK_CLASS: Final = ROW.index("trunk_class")
_PASSED_ON: Final = frozenset(("allow", "label"))
"""Verdicts after which the caller talks to whom they called; else they talk to a desk or to nobody."""

_SETUP: Final = EventKind.SETUP
_ANSWER: Final = EventKind.ANSWER
_RELEASE: Final = EventKind.RELEASE

Key = tuple[str, str, int]
"""The switch, its Call-ID, and which of the calls that have this Call-ID at a time: 0, nearly always."""


class OpenCall(msgspec.Struct, gc=False):
    """A call from its setup on. ``began`` and ``answered`` (None: not yet) are log times, epoch seconds.

    ``event`` is the setup with its numbers normalised, ``score`` what the model said then. ``judged``: its decision is
    known and let it through; a call of which that is not known is never ended. ``fired`` are the rules that have hit
    it, ``released`` whether a release was asked for. ``place`` tells it from other calls with its Call-ID; a call that
    is not ``passed_on`` went to a desk, and is never looked at.
    """

    event: CallEvent
    began: float
    score: float | None = None
    judged: bool = False
    answered: float | None = None
    due: float = 0.0
    fired: tuple[str, ...] = ()
    released: bool = False
    place: int = 0
    passed_on: bool = True

    @property
    def key(self) -> Key:
        """Where it is found."""
        return self.event.switch, self.event.call_id, self.place


class Moment(msgspec.Struct, frozen=True):
    """A call to be looked at: ``on`` answer, tick or report, at log time ``at``; ``report`` is what was said of it."""

    call: OpenCall
    on: str
    at: float
    report: CallEvent | None = None


class CallsInProgress:
    """The calls of one shard that go on. ``counts`` says what was forgotten."""

    def __init__(self, *, most: int = MOST_CALLS, most_age_s: float = MOST_AGE_S, tick_s: float = TICK_S) -> None:
        self._most, self._most_age_s, self._tick_s = most, most_age_s, tick_s
        self._calls: dict[Key, OpenCall] = {}
        self._places: dict[tuple[str, str], list[int]] = {}  # of the Call-IDs that more than one call has, or had
        self._of_number: dict[str, dict[Key, None]] = {}
        self._ticks: deque[tuple[float, Key]] = deque()
        self._moments: list[Moment] = []
        self.now = 0.0
        self._watched: frozenset[str] = frozenset()
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._calls)

    def get(self, switch: str, call_id: str) -> OpenCall | None:
        """The call, if it goes on; of several with this Call-ID the first that is known to have been let through."""
        found = self._with_id(switch, call_id)
        return next((call for call in found if call.judged), found[0] if found else None)

    def _with_id(self, switch: str, call_id: str) -> list[OpenCall]:
        places = self._places.get((switch, call_id), (0,))
        found = (self._calls.get((switch, call_id, place)) for place in places)
        return [call for call in found if call is not None]

    @property
    def watched(self) -> frozenset[str]:
        """The moments that anybody wants to look at: answer, tick, report."""
        return self._watched

    def watch(self, moments: frozenset[str]) -> None:
        """From now on look at these moments; where none is wanted, following a call costs next to nothing."""
        if moments != self._watched:
            self._watched = moments
            self._index()

    def _index(self) -> None:
        """Have the calls that are answered found by what is watched of them."""
        self._of_number.clear()
        self._ticks.clear()
        for call in sorted(self.open(), key=lambda one: one.due):
            self._enter(call.key, call)

    def follow(
        self, items: Sequence[Prepared], times: Sequence[float], decisions: Sequence[Decision] | None = None
    ) -> None:
        """Take note of events that the log took at ``times`` (epoch s), and of what was decided about the setups.

        ``decisions`` of the setups among them, in order; None where that is not known.
        """
        calls, shared = self._calls, self._places
        known = iter(decisions) if decisions is not None else repeat(None)
        for item, at in zip(items, times, strict=True):
            event = item.event
            kind = event.kind
            key = event.switch, event.call_id, 0
            if kind is _SETUP:
                decision = next(known)
                if (decision is None or decision.verdict != "block") and item.row[_TRUNK_CLASS] != "desk":
                    place: int | None = 0
                    if key in calls or (shared and key[:2] in shared):
                        place = self._place_for(event)
                    if place is not None:
                        self._begin(event, at, decision, place)
            elif kind is _ANSWER:
                call = self._meant(event) if shared and key[:2] in shared else calls.get(key)
                if call is not None and call.answered is None and call.passed_on:
                    call.answered, call.due = at, at + self._tick_s
                    if self._watched:
                        self._enter(call.key, call)
                        if "answer" in self._watched:
                            self._moments.append(Moment(call, "answer", at))
            elif kind is _RELEASE:
                if shared and key[:2] in shared:
                    key = self._meant(event).key
                self._close(key)
            elif "report" in self._watched:
                self._report(event, at)
        if times and times[-1] > self.now:
            self.now = times[-1]

    def _begin(self, event: CallEvent, at: float, decision: Decision | None, place: int) -> None:
        if len(self._calls) >= self._most:
            self._close(next(iter(self._calls)))
            self.counts["calls_forgotten.many"] += 1
        call = OpenCall(event, at, place=place)
        if decision is not None:
            call.score, call.passed_on = decision.score, decision.verdict in _PASSED_ON
            call.judged = call.passed_on and not decision.protected
        if place:
            self._places.setdefault((event.switch, event.call_id), [0]).append(place)
        self._calls[call.key] = call

    def _place_for(self, event: CallEvent) -> int | None:
        """The place of another call with a Call-ID that is taken; None for the same call again, and for too many."""
        found = self._with_id(event.switch, event.call_id)
        if any(_is_same(call.event, event) for call in found):
            return None
        if len(found) >= MOST_WITH_ONE_ID:
            self.counts["calls_forgotten.same_id"] += 1
            return None
        return found[-1].place + 1

    def _meant(self, event: CallEvent) -> OpenCall:
        """Which of several calls with one Call-ID was answered, or has ended.

        One with the same numbers, if there is any; of these the one that began when the event says it did. An event
        without these times means the last one that was answered, or was not, as it has to be.
        """
        found = self._with_id(event.switch, event.call_id)
        found = [call for call in found if _has_numbers(call.event, event)] or found
        release = event.kind is _RELEASE
        if event.ring_s is not None and (event.talk_s is not None or not release):
            began = event.ts - event.ring_s - (event.talk_s or 0.0 if release else 0.0)
            return min(found, key=lambda call: abs(call.event.ts - began))
        answered = release and event.talk_s != 0
        return next((call for call in reversed(found) if (call.answered is not None) is answered), found[-1])

    def _enter(self, key: Key, call: OpenCall) -> None:
        """From now on it ticks, and is found by its numbers."""
        if "tick" in self._watched:
            self._ticks.append((call.due, key))
        if "report" in self._watched:
            for number in (call.event.caller, call.event.callee):
                if number:
                    self._of_number.setdefault(number, {})[key] = None

    def _close(self, key: Key) -> None:
        call = self._calls.pop(key, None)
        if call is None:
            return
        if self._places:
            self._leave(key)
        if not self._of_number:
            return
        for number in (call.event.caller, call.event.callee):
            found = self._of_number.get(number)
            if found is not None:
                found.pop(key, None)
                if not found:
                    del self._of_number[number]

    def _leave(self, key: Key) -> None:
        places = self._places.get(key[:2])
        if places is not None:
            places.remove(key[2])
            if places in ([], [0]):
                del self._places[key[:2]]

    def _report(self, event: CallEvent, at: float) -> None:
        # What the engine itself writes into the log is no news of a call that goes on, nor is what is taken back.
        if event.source == "engine" or event.takes_back is not None:
            return
        reported = self._of_number.get(event.caller, {})
        for count, key in enumerate(reported):
            if count >= MOST_OF_ONE_NUMBER or len(self._moments) >= MOST_DUE:
                self.counts["calls_not_looked_at"] += len(reported) - count
                break
            self._moments.append(Moment(self._calls[key], "report", at, event))

    def advance(self, now: float) -> bool:
        """Let the time come to ``now`` (epoch s); whether there is more to look at than one turn can take."""
        self.now = now = max(self.now, now)
        self._forget_old(now - self._most_age_s)
        ticks = self._ticks
        while ticks and ticks[0][0] <= now:
            if len(self._moments) >= MOST_DUE:
                return True
            due, key = ticks.popleft()
            call = self._calls.get(key)
            if call is None or call.due != due or call.released:
                continue
            call.due = now + self._tick_s
            ticks.append((call.due, key))
            self._moments.append(Moment(call, "tick", now))
        return False

    @property
    def next_tick(self) -> float | None:
        """The log time at which a call is due next (epoch s); None when none is."""
        return self._ticks[0][0] if self._ticks else None

    def _forget_old(self, began: float) -> None:
        while self._calls:
            key, call = next(iter(self._calls.items()))
            if call.began > began:
                return
            self._close(key)
            self.counts["calls_forgotten.old"] += 1

    def take(self) -> list[Moment]:
        """The moments since the last call."""
        moments, self._moments = self._moments, []
        return moments

    # Kept over a restart

    def dump(self) -> list[OpenCall]:
        """All calls, oldest first, as ``restore`` takes them."""
        return list(self._calls.values())

    def restore(self, calls: Iterable[OpenCall]) -> None:
        """Have these calls and no others, oldest first."""
        self._calls.clear()
        self._moments.clear()
        self._places.clear()
        for call in calls:
            self._calls[call.key] = call
        for switch, call_id, place in self._calls:
            if place:
                self._places[switch, call_id] = []
        if self._places:
            for switch, call_id, place in self._calls:
                self._places.get((switch, call_id), []).append(place)
        self._index()

    def open(self) -> Iterator[OpenCall]:
        """The calls that are answered."""
        return (call for call in self._calls.values() if call.answered is not None)

    def learn(self, decision: Decision) -> None:
        """Take what was decided, before a restart, of a call that is followed again.

        Of this very call: one before it, which is over, may have had the same Call-ID.
        """
        for call in self._with_id(decision.switch, decision.call_id):
            same = decision.ts >= call.began if decision.on else decision.ts == call.event.ts
            if not same or not _has_numbers(call.event, decision):
                continue
            if decision.on:
                call.fired += tuple(reason.by for reason in decision.reasons if reason.by not in call.fired)
                call.released = call.released or decision.verdict == "release"
            elif decision.verdict == "block":
                self._close(call.key)
            else:
                call.score, call.passed_on = decision.score, decision.verdict in _PASSED_ON
                call.judged = call.passed_on and not decision.protected


def _has_numbers(setup: CallEvent, other: CallEvent | Decision) -> bool:
    return setup.caller == other.caller and setup.callee == other.callee


def _is_same(setup: CallEvent, again: CallEvent) -> bool:
    return setup.ts == again.ts and _has_numbers(setup, again)
