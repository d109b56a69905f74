"""Cold start: how an engine does that has just begun and has seen nobody yet, by how long it has been running.

What it cannot know yet it must not punish. Each span of time is held against the budgets by itself, with exact
binomial bounds; a span with few calls can hardly prove anything, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from antifraud.scoring.certificate import lower_bound, upper_bound
from antifraud.scoring.judged_calls import (
    ENGINE,
    SCORE,
    Bools,
    Calls,
    Floats,
    Integers,
    Side,
    Subject,
    Verdicts,
    blocks,
    stops,
)

#: Name, and from which second on (up to the next one's); the last has no end.
SPANS: Final = (("first_10_minutes", 0.0), ("first_hour", 600.0), ("first_day", 3600.0), ("later", 86_400.0))
#: What is known of a budget: its exact upper bound is within it; neither bound says anything; the lower one is above.
SHOWN, OPEN, VIOLATED = "shown", "open", "violated"
_MOST_NAMED: Final = 5


def running_s(calls: Calls) -> Floats:
    """How many seconds after its source's first call each call was made."""
    began = np.full(len(calls.sources), np.inf)
    np.minimum.at(began, calls.source, calls.ts)
    since: Floats = calls.ts - began[calls.source]
    return since


def budget_state(hit: int, count: int, budget: float) -> str:
    """Whether ``hit`` of ``count`` honest calls show that the budget is kept, leave it open, or violate it (95 %)."""
    if lower_bound(hit, count) > budget:
        return VIOLATED
    return SHOWN if count and upper_bound(hit, count) <= budget else OPEN


def cold_start(
    calls: Calls, fraud: Side, verdicts: Mapping[str, Verdicts], at_block: Bools, subject: Subject
) -> list[dict[str, Any]]:
    """One entry a span that has calls: what each system stops and blocks in it, and what is known of the budgets.

    ``at_block`` are calls whose score reaches the threshold of block.
    """
    span = np.searchsorted([begin for _name, begin in SPANS], running_s(calls), side="right") - 1
    recalls = {
        name: fraud.clusters.shares(stops(verdict)[fraud.index], span[fraud.index], len(SPANS))
        for name, verdict in verdicts.items()
    }
    found = []
    for at, (name, begin) in enumerate(SPANS):
        these = span == at
        honest = these & ~calls.fraud
        count = int(honest.sum())
        if not these.any():
            continue
        end = SPANS[at + 1][1] if at + 1 < len(SPANS) else None
        systems = {}
        for system, verdict in verdicts.items():
            systems[system] = {
                "fraud_stopped": int(recalls[system].hit[at]),
                "recall": recalls[system].of(at),
                "stopped": _counted(stops(verdict) & honest, count, subject.budgets["divert"]),
                "blocked": _counted(blocks(verdict) & honest, count, subject.budgets["block"]),
            }
        engine = verdicts[ENGINE]
        found.append(
            {
                "span": name,
                "from_s": begin,
                "to_s": end,
                "honest_calls": count,
                "fraud_calls": int((these & calls.fraud).sum()),
                "blocked_by_score": _counted(at_block & honest, count, subject.budgets["block"]),
                "systems": systems,
                "honest_blocked_by": _most(calls.ground, calls.grounds, blocks(engine) & honest),
                "honest_stopped_by": _most(calls.ground, calls.grounds, stops(engine) & honest),
                "honest_stopped_behaviours": _most(calls.behaviour, calls.behaviours, stops(engine) & honest),
                "leading": _leading(calls, subject, stops(verdicts[SCORE]) & honest),
            }
        )
    return found


def _counted(hit: Bools, count: int, budget: float) -> dict[str, Any]:
    made = int(hit.sum())
    return {
        "honest_calls": made,
        "share": made / count if count else None,
        "at_least": lower_bound(made, count),
        "at_most": upper_bound(made, count) if count else 1.0,
        "budget": budget,
        "state": budget_state(made, count, budget),
    }


def _most(codes: Integers, names: list[str], among: Bools) -> list[dict[str, Any]]:
    counted = np.bincount(codes[among & (codes >= 0)], minlength=len(names))
    order = sorted(range(len(names)), key=lambda at: (-int(counted[at]), names[at]))
    return [{"name": names[at] or "unnamed", "calls": int(counted[at])} for at in order if counted[at]][:_MOST_NAMED]


def _leading(calls: Calls, subject: Subject, among: Bools) -> list[dict[str, Any]]:
    """The feature that raises the score most, of the calls in ``among``."""
    from antifraud.scoring.carrying import leading_features

    return [
        {"name": name, "calls": count}
        for name, count in leading_features(calls.rows[among], subject).most_common(_MOST_NAMED)
    ]
