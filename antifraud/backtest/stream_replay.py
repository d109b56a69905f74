"""What an engine knows of the call that a rule test judges, once it has been sent the events of the test.

Numbers, facts and windows are those of the live engine: its own code reads and folds. Each test has a memory of its
own, a small one that begins empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from antifraud.backtest.in_progress import due_before
from antifraud.decision import ROW, FactBook, Policy, Prepared
from antifraud.decision.calls_in_progress import CallsInProgress
from antifraud.decision.facts import TALK_SO_FAR
from antifraud.decision.interception import moment_rows
from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, Limits, WindowSet
from antifraud.numbering import Numbering
from antifraud.rulekit import RuleTest
from antifraud.rulekit.form import Value
from antifraud.rulekit.stream import play

MEMORY_BYTES: Final = 64 << 20
"""Room for the windows of one test: nothing is forgotten for lack of it, and what is not used costs nothing."""

_SECRET: Final = bytes(32)
"""Tests are the same every time; nobody attacks them."""


class _ToldTrunks(Policy, frozen=True):
    """A policy for which a test has said of which class some trunks are."""

    told: Mapping[str, str] = {}

    def trunk_class(self, trunk: str) -> str:
        """The class that the test says, else that of the configuration."""
        return self.told.get(trunk) or super().trunk_class(trunk)


class StreamReplay:
    """Replays tests with events (a ``rulekit.Replay``). ``windows`` are those that rules read, ``policy`` says which
    trunk is of which class and what time it is where the calls are.

    ``numbering`` gives the numbers of a country, "" being that of the policy; it raises what is wrong with it.
    """

    def __init__(self, windows: WindowSet, policy: Policy, numbering: Callable[[str, RuleTest], Numbering]) -> None:
        self._windows = windows
        self._policy = policy
        self._numbering = numbering
        self._known: dict[int, tuple[RuleTest, Sequence[Mapping[str, Value | None]]]] = {}

    def __call__(self, test: RuleTest) -> Sequence[Mapping[str, Value | None]]:
        """The fields, facts and windows of the call that ``test`` judges; what is missing is None.

        Once for a call that is judged at its setup, else once for every moment at which the rule looks at it; a call
        goes on until it is released, and the test ends with its last event.
        """
        # Asked twice, for the result and for what it proves. The test is kept, so that its identity stays its own.
        known = self._known.get(id(test))
        if known is None:
            known = self._known[id(test)] = (test, self._replayed(test))
        return known[1]

    def _replayed(self, test: RuleTest) -> Sequence[Mapping[str, Value | None]]:
        assert test.stream is not None, "only tests with events are replayed"
        played = play(test.stream)
        country = test.stream.country
        told = msgspec.structs.asdict(self._policy) | ({"country": country} if country else {})
        facts = FactBook(self._numbering(country, test), _ToldTrunks(**told, told=played.trunks))
        fold = Fold(self._windows, limits=Limits.of_memory(MEMORY_BYTES), secret=_SECRET)
        if test.on != "setup":
            prepared = [facts.prepare(event) for event in played.events]
            return self._moments(test.on, prepared, played.events[played.judged], facts, fold)
        # What comes after the call that is judged says nothing about it.
        prepared = [facts.prepare(event) for event in played.events[: played.judged + 1]]
        folded = fold.fold([item.event for item in prepared], [item.row for item in prepared])
        judged = prepared[-1]
        assert judged.event.kind is EventKind.SETUP, "what is judged is a set-up"
        values: dict[str, Value | None] = dict(zip(ROW, judged.row, strict=True))  # type: ignore[arg-type]
        windows = folded.values[-1].tolist()
        return (
            values
            | {
                name: None if value != value else value
                for name, value in zip(self._windows.names, windows, strict=True)
            },
        )

    def _moments(
        self, on: str, prepared: Sequence[Prepared], judged: CallEvent, facts: FactBook, fold: Fold
    ) -> Sequence[Mapping[str, Value | None]]:
        """What the rule sees of the call ``judged`` each time that it looks at it.

        The engine looks when a call is due and between events, and so does this.
        """
        calls = CallsInProgress()
        calls.watch(frozenset((on,)))
        seen: list[Mapping[str, Value | None]] = []
        times = [item.event.ts for item in prepared]
        for item, until in zip(prepared, [*times[1:], times[-1]], strict=True):
            fold.fold([item.event], [item.row])
            calls.follow([item], [item.event.ts])
            calls.advance(item.event.ts)
            seen += self._looks(calls, judged, facts, fold)
            for due in due_before(calls, until):
                calls.advance(due)
                seen += self._looks(calls, judged, facts, fold)
        return seen

    def _looks(
        self, calls: CallsInProgress, judged: CallEvent, facts: FactBook, fold: Fold
    ) -> Iterator[Mapping[str, Value | None]]:
        moments = [one for one in calls.take() if one.call.event.call_id == judged.call_id]
        items = [facts.prepare(one.call.event) for one in moments]
        names = (*ROW, *self._windows.names, "score", TALK_SO_FAR)
        for row in moment_rows(moments, items, fold, self._policy.utc_offset_min) if moments else ():
            yield dict(zip(names, row, strict=True))  # type: ignore[arg-type]
