"""A certificate put to the test on fresh seeds: on how many of them it is violated, and how many chance allows.

A seed is one simulated network. It violates a budget when the exact lower bound of its share of honest calls at or
above the threshold is over the budget, with 95 % confidence; a rate right at the budget does that on one seed in
twenty by chance alone. So a few violations may be chance, and how many follows from the binomial law.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import numpy as np

from antifraud.domain import UsageError
from antifraud.scoring.certificate import CONFIDENCE, lower_bound, upper_bound
from antifraud.scoring.cold_start import running_s
from antifraud.scoring.judged_calls import ENGINE, Calls, Subject, blocks, stops

FORMAT: Final = "antifraud.certificate-trial/1"
LEVELS: Final = ("block", "divert")
#: A network cannot have more honest calls than are simulated; a file that says so was made otherwise.
_MOST_CALLS: Final = 100_000_000


class Level(msgspec.Struct, frozen=True):
    """Of one seed's honest calls, how many score at or above their threshold, against the ``budget``.

    ``threshold`` is that of all calls together; a class of callers may have its own, which then counts.
    ``at_least`` is the exact lower 95 % bound of their share. ``by_behaviour`` counts them by who called.
    """

    threshold: float
    budget: float
    honest_calls: int
    at_least: float
    violated: bool
    by_behaviour: dict[str, int] = {}


class Trial(msgspec.Struct, frozen=True):
    """One seed of one scenario. ``asked`` seals what was run, so that an older result is not taken for this one.

    ``stopped`` and ``blocked`` are honest calls that the whole engine, rules and score, would stop and block.
    """

    format: str
    asked: str
    scenario: str
    seed: int
    honest_calls: int
    fraud_calls: int
    fraud_stopped: int
    stopped: int
    blocked: int
    levels: dict[str, Level]


def allowed_violations(seeds: int, confidence: float = CONFIDENCE) -> int:
    """The most seeds of ``seeds`` that may be violated: more are so by chance with at most 1 - ``confidence``, where
    each is with that same probability. 3 of 20.
    """
    alpha = 1.0 - confidence
    reached = 0.0
    for violated in range(seeds + 1):
        reached += math.comb(seeds, violated) * alpha**violated * confidence ** (seeds - violated)
        if reached >= confidence:
            return violated
    return seeds


def trial(calls: Calls, subject: Subject, scenario: str, seed: int, asked: str, after_s: float = 0.0) -> Trial:
    """What the calls of one seed say, but those of its first ``after_s`` seconds; UsageError when none is honest."""
    counted_in = running_s(calls) >= after_s
    honest = ~calls.fraud & counted_in
    count = int(honest.sum())
    if not count:
        raise UsageError(f"seed {seed} of {scenario} has no honest call", hint="simulate more calls: --calls 60000")
    levels = {}
    for level, threshold in (("block", subject.block_at), ("divert", subject.divert_at)):
        hit = honest & subject.reaches(calls.rows, calls.score, level)
        made, budget = int(hit.sum()), subject.budgets[level]
        counted = np.bincount(calls.behaviour[hit], minlength=len(calls.behaviours)).tolist()
        at_least = lower_bound(made, count)
        levels[level] = Level(
            threshold,
            budget,
            made,
            at_least,
            at_least > budget,
            {name: number for name, number in sorted(zip(calls.behaviours, counted, strict=True)) if number},
        )
    engine = calls.verdicts[ENGINE]
    return Trial(
        FORMAT,
        asked,
        scenario,
        seed,
        count,
        int((calls.fraud & counted_in).sum()),
        int((stops(engine) & calls.fraud & counted_in).sum()),
        int((stops(engine) & honest).sum()),
        int((blocks(engine) & honest).sum()),
        levels,
    )


def read_trial(content: bytes, asked: str) -> Trial | None:
    """The trial that ``content`` holds; None when it is none, is cut short, or was ``asked`` otherwise."""
    try:
        found = msgspec.json.decode(content, type=Trial)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if found.format != FORMAT or found.asked != asked or set(found.levels) != set(LEVELS):
        return None
    if not 0 < found.honest_calls <= _MOST_CALLS:
        return None
    if any(not 0 <= level.honest_calls <= found.honest_calls for level in found.levels.values()):
        return None
    return found


def summary(trials: Iterable[Trial]) -> dict[str, Any]:
    """Verdicts by scenario and threshold: ``violations`` of ``seeds``, ``allowed``, the pooled rate with its bounds.

    ``held`` is false where more seeds are violated than chance allows, or all of them together are.
    """
    by_scenario: dict[str, list[Trial]] = {}
    for one in trials:
        by_scenario.setdefault(one.scenario, []).append(one)
    scenarios: list[dict[str, Any]] = []
    held = True
    for name, these in by_scenario.items():
        count = sum(one.honest_calls for one in these)
        allowed = allowed_violations(len(these))
        levels = {}
        for level in LEVELS:
            hit = sum(one.levels[level].honest_calls for one in these)
            budget = these[0].levels[level].budget
            violations = sum(one.levels[level].violated for one in these)
            together = lower_bound(hit, count)
            levels[level] = {
                "budget": budget,
                "threshold": these[0].levels[level].threshold,
                "honest_calls": hit,
                "share": hit / count,
                "at_least": together,
                "at_most": upper_bound(hit, count),
                "violations": violations,
                "allowed": allowed,
                "held": violations <= allowed and together <= budget,
            }
            held = held and violations <= allowed and together <= budget
        scenarios.append({"scenario": name, "seeds": len(these), "honest_calls": count, "levels": levels})
    return {
        "format": FORMAT,
        "confidence": CONFIDENCE,
        "held": held,
        "scenarios": scenarios,
    }
