"""Permuted runs beside the calls as they were: what is lost and gained is counted call by call."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from antifraud.domain import UsageError
from antifraud.scoring.judged_calls import ENGINE, Side
from antifraud.scoring.permutations import compare, permuted_run
from tests.unit.scoring.judged import DIVERT, made_calls, subject

CALLS = made_calls()
SIDES = Side(CALLS, CALLS.fraud, 20, 1), Side(CALLS, ~CALLS.fraud, 20, 2)


def test_the_same_verdicts_lose_and_gain_nothing() -> None:
    run = permuted_run("trunk", "renamed", CALLS, CALLS, subject())
    (one,) = compare(CALLS, *SIDES, subject(), [run])
    for part in one["systems"].values():
        assert (part["lost"], part["gained"]) == (0, 0)
    assert all(kind[ENGINE]["before"] == kind[ENGINE]["now"] for kind in one["fraud_behaviours"])


def test_lost_and_gained_calls_are_counted() -> None:
    verdicts = dict(CALLS.verdicts)
    before = verdicts[ENGINE] >= DIVERT
    stopped, passed = np.flatnonzero(before & CALLS.fraud)[:7], np.flatnonzero(~before & CALLS.fraud)[:3]
    changed = verdicts[ENGINE].copy()
    changed[stopped], changed[passed] = 0, DIVERT
    verdicts[ENGINE] = changed
    score = CALLS.score.copy()
    score[~CALLS.fraud] = 1.0
    now = msgspec.structs.replace(CALLS, verdicts=verdicts, score=score)
    (one,) = compare(CALLS, *SIDES, subject(), [permuted_run("prefix", "shuffled", now, CALLS, subject())])
    part = one["systems"][ENGINE]
    assert (part["lost"], part["gained"]) == (7, 3)
    assert part["stopped"]["fraud_calls"] == (before & CALLS.fraud).sum() - 4
    kinds = one["fraud_behaviours"]
    assert sum(kind[ENGINE]["before"] - kind[ENGINE]["now"] for kind in kinds) == 4
    assert one["blocked_by_score"] == (~CALLS.fraud).sum()
    assert one["violated"]


def test_other_calls_cannot_be_compared() -> None:
    other = msgspec.structs.replace(CALLS, ts=CALLS.ts + 1)
    with pytest.raises(UsageError, match="nothing to compare"):
        permuted_run("trunk", "renamed", other, CALLS, subject())
