"""The spans of a cold start hold every call once, and a budget's state follows from exact bounds."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from antifraud.scoring.certificate import lower_bound, upper_bound
from antifraud.scoring.cold_start import OPEN, SHOWN, SPANS, VIOLATED, budget_state, cold_start, running_s
from antifraud.scoring.judged_calls import ENGINE, SCORE, Calls, Side
from tests.unit.scoring.judged import BLOCK, DIVERT, made_calls, subject


def stretched() -> Calls:
    """Two sources, each over a day and a half, the second a week later."""
    calls = made_calls()
    half = len(calls.ts) // 2
    since = np.concatenate([np.linspace(0, 130_000, half), np.linspace(0, 130_000, half)])
    return msgspec.structs.replace(calls, ts=1.7e9 + since + calls.source * 604_800.0)


def test_each_source_has_its_own_beginning() -> None:
    calls = stretched()
    since = running_s(calls)
    for source in (0, 1):
        these = calls.source == source
        assert since[these].min() == 0.0
        assert since[these].max() == pytest.approx(130_000)


def test_spans_hold_every_call_once_and_count_what_happens_in_them() -> None:
    calls, model = stretched(), subject()
    at_block = calls.score >= model.block_at
    fraud = Side(calls, calls.fraud, 30, 1)
    found = cold_start(calls, fraud, calls.verdicts, at_block, model)
    assert [one["span"] for one in found] == [name for name, _begin in SPANS]
    assert sum(one["honest_calls"] for one in found) == (~calls.fraud).sum()
    assert sum(one["fraud_calls"] for one in found) == calls.fraud.sum()
    since = running_s(calls)
    for one, low, high in zip(found, (0, 600, 3600, 86_400), (600, 3600, 86_400, np.inf), strict=True):
        these = (since >= low) & (since < high)
        honest = these & ~calls.fraud
        for system in (SCORE, ENGINE):
            part = one["systems"][system]
            assert part["stopped"]["honest_calls"] == (calls.verdicts[system][honest] >= DIVERT).sum()
            assert part["blocked"]["honest_calls"] == (calls.verdicts[system][honest] >= BLOCK).sum()
            assert part["fraud_stopped"] == (calls.verdicts[system][these & calls.fraud] >= DIVERT).sum()
        by_score = one["blocked_by_score"]
        assert by_score["honest_calls"] == (at_block & honest).sum()
        assert by_score["at_most"] == upper_bound(by_score["honest_calls"], int(honest.sum()))
        assert by_score["at_least"] == lower_bound(by_score["honest_calls"], int(honest.sum()))
        causes = sum(cause["calls"] for cause in one["honest_stopped_by"])
        assert causes == one["systems"][ENGINE]["stopped"]["honest_calls"]


def test_an_hour_has_no_later_spans() -> None:
    calls = made_calls(sources=1, count=1500)  # one call a second
    fraud = Side(calls, calls.fraud, 20, 1)
    found = cold_start(calls, fraud, calls.verdicts, calls.score >= 2.0, subject())
    assert [one["span"] for one in found] == ["first_10_minutes", "first_hour"]


@pytest.mark.parametrize(
    ("hit", "count", "state"),
    [(0, 0, OPEN), (0, 1000, OPEN), (0, 29_956, SHOWN), (0, 29_955, OPEN), (10, 50_000, VIOLATED), (5, 50_000, OPEN)],
)
def test_few_calls_leave_a_budget_of_1_in_10000_open(hit: int, count: int, state: str) -> None:
    assert budget_state(hit, count, 1e-4) == state
