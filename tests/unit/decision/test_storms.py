"""What may be forged or come in masses must not hold up the calls that wait for their verdict."""

from __future__ import annotations

import time

import pytest

from antifraud.decision.calls_in_progress import MOST_DUE, CallsInProgress
from antifraud.decision.desks import MOST_PLACES, Desk, DeskBoard
from tests.unit.decision.test_calls_in_progress import T0, followed


def test_many_reports_at_once_look_at_a_bounded_number_of_calls() -> None:
    """Five hundred reports of a number with 256 calls would be 128,000 calls to be judged in one turn: seconds."""
    calls = CallsInProgress()
    calls.watch(frozenset({"report"}))
    for number in range(200):
        followed(calls, "setup", T0, f"c{number}")
        followed(calls, "answer", T0, f"c{number}")
    for number in range(20):
        followed(calls, "report", T0, f"r{number}")
    assert len(calls.take()) == MOST_DUE
    assert calls.counts["calls_not_looked_at"] == 20 * 200 - MOST_DUE
    followed(calls, "report", T0, "r20")
    assert len(calls.take()) == 200


@pytest.mark.parametrize("said", [False, True])
def test_a_desk_without_limits_that_is_never_told_of_a_release_stays_quick(said: bool) -> None:
    """A caller who never hangs up must not make every further diversion dearer."""
    def seconds(first: int, count: int) -> float:
        began = time.perf_counter()
        for number in range(first, first + count):
            assert desks.take(("open",), f"d{number}", f"c{number}", T0 + number / 1000, "ru") is not None
        return time.perf_counter() - began

    desks = DeskBoard([Desk("open", "sip:open@desk.example", hold_s=1e6)])
    if said:
        desks.heard("open", 999_999, T0 - 1)
    seconds(0, 1_000)
    few = min(seconds(1_000 + 200 * turn, 200) for turn in range(3))
    seconds(2_000, 18_000)
    many = min(seconds(20_000 + 200 * turn, 200) for turn in range(3))
    assert many < 4 * few + 0.002
    assert MOST_PLACES > 21_000
