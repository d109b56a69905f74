"""What carries first calls: groups, the leading one, what falls away without one; a linear score knows the truth."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from antifraud.scoring.carrying import (
    ablation,
    by_behaviour,
    carried_by,
    group_of,
    groups_of,
    leading_features,
    leading_groups,
)
from antifraud.scoring.judged_calls import ENGINE, RULES, SCORE
from tests.unit.scoring.judged import DIVERT, made_calls, subject

CALLS = made_calls()


def linear(weights: tuple[float, ...]) -> np.ndarray:
    return np.array(weights)


def explained(weights: tuple[float, ...]) -> object:
    return msgspec.structs.replace(subject(), contributions=lambda rows: rows * linear(weights))


@pytest.mark.parametrize(
    ("feature", "window", "group"),
    [
        ("spoofed_cli", False, "spoofed CLI"),
        ("trunk_international", False, "spoofed CLI"),
        ("trunk_calls_1h", True, "trunk"),
        ("fingerprint_callers_1h", True, "fingerprint"),
        ("src_ip_calls_1m", True, "src_ip"),
        ("prefix_callers_10m", True, "prefix"),
        ("callee_new_callers_2h", True, "chain on the callee"),
        ("caller_mobile", False, "caller's kind of number"),
        ("caller_calls_1h", True, "caller's past"),
        ("hour", False, "hour"),
        ("something_new_1h", True, "something"),
    ],
)
def test_features_are_grouped_by_whose_past_or_what_fact_they_are(feature: str, window: bool, group: str) -> None:
    assert group_of(feature, window=window) == group


def test_every_feature_is_in_one_group() -> None:
    groups = groups_of(subject())
    assert sorted(column for columns in groups.values() for column in columns) == [0, 1, 2]


def test_the_group_that_adds_most_leads() -> None:
    rows = np.array([[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [-1.0, -1.0, -1.0]], dtype=np.float32)
    model = explained((1.0, 1.0, 1.0))
    assert leading_groups(rows, model) == ["caller's past", "prefix", "nothing"]
    assert leading_features(rows[:2], model) == {"caller_calls_1h": 1, "prefix_callers_10m": 1}
    assert leading_groups(rows, subject()) == ["nothing"] * 3  # nothing explains that model


def test_who_stops_first_calls_is_counted_call_by_call() -> None:
    among = CALLS.unseen
    found = carried_by(CALLS, CALLS.verdicts, among, explained((1.0, 0.0, 0.0)))
    stopped = (CALLS.verdicts[ENGINE] >= DIVERT) & among
    assert sum(one["fraud_calls"] for one in found) == (stopped & CALLS.fraud).sum()
    assert sum(one["honest_calls"] for one in found) == (stopped & ~CALLS.fraud).sum()
    by = {one["by"]: one for one in found}
    assert set(by) == {"rule:demo", "score: caller's past"}
    demo = stopped & CALLS.fraud & (CALLS.ground == 1)
    assert by["rule:demo"]["also_score_alone"] == (demo & (CALLS.verdicts[SCORE] >= DIVERT)).sum()
    assert by["rule:demo"]["also_rules_alone"] == demo.sum()


def test_what_the_score_reads_is_what_falls_away() -> None:
    model = subject()
    found = {one["missing"]: one for one in ablation(CALLS, CALLS.unseen, model, 1)}
    whole = found[""]
    fair = CALLS.unseen & ~CALLS.spared
    score = model.predict(CALLS.rows.astype(np.float64))
    assert whole["stopped"] == (score[fair & CALLS.fraud] >= model.divert_at).sum()
    assert whole["honest_blocked"] == (score[fair & ~CALLS.fraud] >= model.block_at).sum()
    assert whole["swapped_stopped"] == whole["stopped"]
    assert found["caller's past"]["stopped"] == 0  # a missing value has no score here
    assert found["caller's past"]["swapped_stopped"] < 0.1 * whole["stopped"]
    for name in ("prefix", "hour"):
        assert {**found[name], "missing": "", "features": []} == whole


def test_classes_with_thresholds_of_their_own_are_asked() -> None:
    strict = msgspec.structs.replace(subject(), thresholds_for=lambda rows, level: np.full(len(rows), np.inf))
    assert all(one["stopped"] == one["blocked"] == 0 for one in ablation(CALLS, CALLS.unseen, strict, 1))


def test_without_an_honest_first_call_nothing_can_be_taken_from_one() -> None:
    assert ablation(CALLS, CALLS.unseen & CALLS.fraud, subject(), 1) == []


def test_kinds_of_fraud_hold_every_first_call_once() -> None:
    found = by_behaviour(CALLS, CALLS.verdicts, CALLS.unseen)
    assert sum(one["calls"] for one in found) == (CALLS.unseen & CALLS.fraud).sum()
    for name in (RULES, SCORE, ENGINE):
        hit = (CALLS.verdicts[name] >= DIVERT) & CALLS.unseen & CALLS.fraud
        assert sum(one[name] for one in found) == hit.sum()
