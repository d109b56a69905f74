"""The recent cases in memory: decisions that full enforcement would not simply have allowed, and what became of them.

Bounded: at most ``most`` cases, the oldest leave first. What is looked up by number is bounded by them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from antifraud.domain import Decision, Verdict

#: Outcomes that somebody at a desk can give. *unclear* is kept with the case and reported to nobody.
OUTCOMES: Final = ("fraud", "honest", "unclear")
BLOCK_DIGITS: Final = 2
"""Numbers that differ in the last two digits only are neighbours: campaigns rent numbers by the hundred."""
_WALKED: Final = 1_000
_MOST_OUTCOMES: Final = 200_000


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody at a desk found: ``label`` is one of OUTCOMES, ``who`` found it, ``at`` (epoch s)."""

    decision: str
    label: str
    who: str
    at: float
    note: str = ""


class CaseBook:
    """Cases by decision id, and which cases share a number with another one."""

    def __init__(self, most: int = 200_000) -> None:
        self._most = max(1, most)
        self._cases: OrderedDict[str, Decision] = OrderedDict()
        self._by: dict[tuple[str, str], OrderedDict[str, None]] = {}
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._cases)

    def add(self, decision: Decision) -> None:
        """Keep ``decision`` if there is something in it to look at; a repeated one changes nothing."""
        if decision.full_verdict == Verdict.ALLOW.word and decision.verdict == Verdict.ALLOW.word:
            return
        if decision.id in self._cases:
            return
        with self._lock:
            self._cases[decision.id] = decision
            for key in _keys(decision):
                self._by.setdefault(key, OrderedDict())[decision.id] = None
            if len(self._cases) > self._most:
                _id, old = self._cases.popitem(last=False)
                for key in _keys(old):
                    held = self._by[key]
                    held.pop(old.id, None)
                    if not held:
                        del self._by[key]

    def find(self, identity: str) -> Decision | None:
        """The case with that decision id."""
        return self._cases.get(identity)

    def note(self, outcome: Outcome) -> None:
        """Keep what came of a case; the last word counts."""
        self._outcomes[outcome.decision] = outcome
        self._outcomes.move_to_end(outcome.decision)
        if len(self._outcomes) > _MOST_OUTCOMES:
            self._outcomes.popitem(last=False)

    def outcome(self, identity: str) -> Outcome | None:
        """What came of the case, if somebody said."""
        return self._outcomes.get(identity)

    def like(self, decision: Decision, since: float) -> Iterator[tuple[str, Decision]]:
        """Other cases from ``since`` (epoch s) on, newest first within each kind: (what they share, the case).

        ``caller``: the same number calls; ``neighbour``: a number of the same hundred; ``callee``: the same number is
        called. A case comes once. At most 1,000 of each kind are looked at.
        """
        seen = {decision.id}
        for what, key in zip(("caller", "neighbour", "callee"), _keys(decision, blank=True), strict=True):
            # A copy, and cases that may have gone: this runs in a thread while the book takes in others.
            with self._lock:
                held = list(islice(reversed(self._by.get(key, {})), _WALKED))
            for identity in held:
                found = self._cases.get(identity)
                if found is None or found.ts < since or identity in seen:
                    continue
                seen.add(identity)
                yield what, found


def _keys(decision: Decision, *, blank: bool = False) -> list[tuple[str, str]]:
    caller, callee = decision.caller, decision.callee
    keys = [("caller", caller), ("block", caller[:-BLOCK_DIGITS] if len(caller) > 6 else ""), ("callee", callee)]
    return keys if blank else [key for key in keys if key[1]]
