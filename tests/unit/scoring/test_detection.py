"""Time to detect against counting by hand, campaign by campaign."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from antifraud.scoring.detection import Campaigns, add_detection, p90
from antifraud.scoring.judged_calls import ENGINE, Side
from tests.unit.scoring.judged import BLOCK, DIVERT, made_calls

CALLS = made_calls()
FRAUD = Side(CALLS, CALLS.fraud, 40, 1)


def firsts(least: int, most: int) -> list[tuple[float, float]]:
    """Of each campaign: number and minutes of the first call with a verdict from ``least`` to ``most``."""
    found = []
    for campaign in range(int(CALLS.campaign.max()) + 1):
        these = np.flatnonzero(CALLS.campaign == campaign)
        verdict = CALLS.verdicts[ENGINE][these]
        hit = np.flatnonzero((verdict >= least) & (verdict <= most))
        if len(hit):
            minutes = (CALLS.ts[these[hit[0]]] - CALLS.ts[these[0]]) / 60
            found.append((float(hit[0] + 1), float(minutes)))
        else:
            found.append((np.inf, np.inf))
    return found


@pytest.fixture(scope="module")
def detection() -> dict[str, Any]:
    systems: dict[str, dict[str, Any]] = {ENGINE: {"stopped": {}}}
    add_detection(systems, CALLS, FRAUD, CALLS.verdicts)
    return systems[ENGINE]["detection"]


@pytest.mark.parametrize(
    ("word", "least", "most"), [("stopped", DIVERT, 99), ("diverted", DIVERT, DIVERT), ("blocked", BLOCK, 99)]
)
def test_the_first_of_each_kind_is_found(word: str, least: int, most: int, detection: dict[str, Any]) -> None:
    by_hand = firsts(least, most)
    until = detection[f"until_{word}"]
    calls, minutes = (sorted(column) for column in zip(*by_hand, strict=True))
    assert until["campaigns"] == sum(np.isfinite(calls))
    assert until["never"] == pytest.approx(np.mean(np.isinf(calls)))
    assert until["calls"].value == calls[(len(calls) - 1) // 2]
    assert until["minutes"].value == pytest.approx(minutes[(len(minutes) - 1) // 2])
    for one in until["by_call"]:
        assert one["share"] == pytest.approx(np.mean(np.array(calls) <= one["call"]))
    for one in until["by_minute"]:
        assert one["share"] == pytest.approx(np.mean(np.array(minutes) <= one["minute"]))


def test_never_counts_as_later_than_everything() -> None:
    assert p90(np.array([1.0, 2.0, np.inf])) is None
    assert p90(np.array([*range(1, 10), np.inf], dtype=np.float64)) == 9.0
    assert p90(np.zeros(0)) is None


def test_kinds_hold_every_campaign_once() -> None:
    found = Campaigns(CALLS, FRAUD).by_behaviour(CALLS, CALLS.verdicts[ENGINE])
    assert sum(one["campaigns"] for one in found) == CALLS.campaign.max() + 1
    assert [one["name"] for one in found] == [CALLS.behaviours[1]]
    by_hand = sorted(call for call, _minutes in firsts(BLOCK, 99))
    assert found[0]["until_blocked"]["calls"] == by_hand[int(np.ceil(len(by_hand) / 2)) - 1]


def test_a_system_that_stops_nothing_never_does() -> None:
    nothing = np.zeros(len(CALLS.fraud), dtype=np.uint8)
    until = Campaigns(CALLS, FRAUD).until(nothing > 0)
    assert (until["campaigns"], until["never"], until["calls_p90"]) == (0, 1.0, None)
    assert not np.isfinite(until["calls"].value)
