"""The call card: who calls whom, why the call was diverted, and what is known of calls like it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from antifraud.desk.cases import CaseBook, Outcome
from antifraud.domain import Decision
from antifraud.numbering import Numbering

LOOK_BACK_S: Final = 86_400.0
MOST_SIMILAR: Final = 10

Explain = Callable[[Decision], Sequence[str]]


class Party(msgspec.Struct, frozen=True):
    """One side of the call: its number and what the dial plan says of it (empty where it says nothing)."""

    number: str
    kind: str
    country: str
    type: str
    operator: str
    region: str


class Similar(msgspec.Struct, frozen=True):
    """Another case: what it shares with this one (``caller``, ``neighbour``, ``callee``), and what came of it."""

    shares: str
    decision: str
    ts: float
    caller: str
    callee: str
    verdict: str
    full_verdict: str
    reason: str
    outcome: str


class Card(msgspec.Struct, frozen=True):
    """The card, as JSON. Times are epoch seconds, texts in the region's language.

    ``similar_counts``: how many cases of the last 24 hours share a caller, a hundred of numbers, or a callee with this
    one, and how many of them were found to be fraud or honest; ``similar`` shows the newest ten.
    """

    v: int
    decision: str
    ts: float
    shard: str
    region: str
    switch: str
    trunk: str
    call_id: str
    caller: Party
    callee: Party
    verdict: str
    full_verdict: str
    ceiling: str
    desk: str
    protected: bool
    reasons: tuple[str, ...]
    score: float | None
    explanation: tuple[str, ...]
    similar_counts: dict[str, int]
    similar: tuple[Similar, ...]
    outcome: Outcome | None
    model: str
    bundle: str


def make_card(decision: Decision, book: CaseBook, numbering: Numbering, explain: Explain | None) -> Card:
    """The card of ``decision``. ``explain`` gives sentences on the score, where there is a model to ask."""
    counts: Counter[str] = Counter()
    found: list[Similar] = []
    for shares, other in book.like(decision, decision.ts - LOOK_BACK_S):
        outcome = book.outcome(other.id)
        counts[shares] += 1
        if outcome is not None:
            counts[outcome.label] += 1
        found.append(
            Similar(
                shares, other.id, other.ts, other.caller, other.callee, other.verdict, other.full_verdict,
                other.reason, outcome.label if outcome is not None else "",
            )
        )  # fmt: skip
    found.sort(key=lambda one: (-one.ts, one.decision))
    return Card(
        v=1,
        decision=decision.id,
        ts=decision.ts,
        shard=decision.shard,
        region=decision.region,
        switch=decision.switch,
        trunk=decision.trunk,
        call_id=decision.call_id,
        caller=_party(numbering, decision.caller),
        callee=_party(numbering, decision.callee),
        verdict=decision.verdict,
        full_verdict=decision.full_verdict,
        ceiling=decision.ceiling,
        desk=decision.desk,
        protected=decision.protected,
        reasons=tuple(reason.text for reason in decision.reasons),
        score=decision.score,
        explanation=tuple(explain(decision)) if explain is not None else (),
        similar_counts={name: counts[name] for name in ("caller", "neighbour", "callee", "fraud", "honest", "unclear")},
        similar=tuple(found[:MOST_SIMILAR]),
        outcome=book.outcome(decision.id),
        model=decision.model,
        bundle=decision.bundle,
    )


def _party(numbering: Numbering, number: str) -> Party:
    facts = numbering.facts(number)
    return Party(number, facts.kind, facts.country, facts.type, facts.operator, facts.region)
