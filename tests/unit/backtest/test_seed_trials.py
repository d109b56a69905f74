"""A certificate on fresh seeds: what chance allows, what a kept result must be, when it is violated."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.backtest.seed_trials import Trial, allowed_violations, read_trial, summary, trial
from antifraud.domain import UsageError
from antifraud.scoring.certificate import lower_bound
from tests.unit.scoring.judged import made_calls, subject

CALLS = made_calls(sources=1)


@pytest.mark.parametrize(("seeds", "allowed"), [(1, 0), (2, 1), (20, 3), (40, 4)])
def test_what_chance_allows(seeds: int, allowed: int) -> None:
    assert allowed_violations(seeds) == allowed
    # Against drawing: more than allowed at most one time in twenty, and one fewer would be too few.
    drawn = np.random.default_rng(1).binomial(seeds, 0.05, 200_000)
    assert np.mean(drawn > allowed) <= 0.052
    assert allowed == 0 or np.mean(drawn > allowed - 1) > 0.05


def made(seed: int = 1, budget: float = 1e-3) -> Trial:
    return trial(CALLS, subject(budget), "national", seed, "seal")


def test_honest_calls_are_counted_at_each_threshold() -> None:
    honest = ~CALLS.fraud
    found = made()
    for level, threshold in (("block", 0.97), ("divert", 0.8)):
        part = found.levels[level]
        hit = honest & (CALLS.score >= threshold)
        assert part.honest_calls == hit.sum() == sum(part.by_behaviour.values())
        assert part.at_least == lower_bound(int(hit.sum()), int(honest.sum()))
        assert part.violated == (part.at_least > part.budget)


def test_a_kept_trial_is_read_only_when_it_was_asked_like_this() -> None:
    content = msgspec.json.encode(made())
    assert read_trial(content, "seal") == made()
    assert read_trial(content, "another model") is None
    assert read_trial(content[:-20], "seal") is None
    assert read_trial(msgspec.json.encode(msgspec.structs.replace(made(), honest_calls=1)), "seal") is None
    assert read_trial(msgspec.json.encode(msgspec.structs.replace(made(), levels={})), "seal") is None


@given(st.binary(max_size=200))
def test_any_other_file_is_no_trial(content: bytes) -> None:
    assert read_trial(content, "seal") is None


def marked(violated: bool) -> Trial:
    """A seed that is far within its budgets, marked as violated at block or not."""
    one = made()
    levels = {
        level: msgspec.structs.replace(part, budget=0.5, violated=violated and level == "block")
        for level, part in one.levels.items()
    }
    return msgspec.structs.replace(one, levels=levels)


def test_more_violations_than_chance_allows_violate_the_certificate() -> None:
    for violated, held in ((3, True), (4, False)):
        found = summary([marked(True)] * violated + [marked(False)] * (20 - violated))
        block = found["scenarios"][0]["levels"]["block"]
        assert (block["violations"], block["allowed"], block["held"]) == (violated, 3, held)
        assert found["held"] == held


def test_all_seeds_together_violate_it_too() -> None:
    one = made(budget=1e-3)
    hit = one.levels["block"].honest_calls
    # Each seed alone is just not above the budget, all of them together are.
    budget = lower_bound(hit, one.honest_calls) * 1.05
    levels = {k: msgspec.structs.replace(v, budget=budget, violated=False) for k, v in one.levels.items()}
    found = summary([msgspec.structs.replace(one, levels=levels)] * 20)
    block = found["scenarios"][0]["levels"]["block"]
    assert (block["violations"], block["held"]) == (0, False)


def test_scenarios_are_judged_apart() -> None:
    other = msgspec.structs.replace(made(budget=1e-6), scenario="heldout-sims")
    found = summary([made(budget=0.5), other])
    assert [(one["scenario"], one["levels"]["block"]["held"]) for one in found["scenarios"]] == [
        ("national", True),
        ("heldout-sims", False),
    ]
    assert not found["held"]


def test_a_seed_without_honest_calls_proves_nothing() -> None:
    with pytest.raises(UsageError, match="no honest call"):
        trial(msgspec.structs.replace(CALLS, fraud=np.ones_like(CALLS.fraud)), subject(), "national", 1, "seal")
