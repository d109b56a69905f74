"""What may be forged or come in masses must not hold up the calls that wait for their verdict."""

from __future__ import annotations

import time

import msgspec
import pytest

from antifraud.decision.calls_in_progress import MOST_DUE, CallsInProgress
from antifraud.decision.desks import MOST_PLACES, Desk, DeskBoard, Place
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


def test_one_caller_does_not_fill_a_desk_that_says_how_many_places_one_may_have() -> None:
    desks = DeskBoard([Desk("a", "sip:a@desk.example", calls=3, queue=1, one_caller=2)])

    def take(number: int, caller: str) -> bool:
        return desks.take(("a",), f"d{number}", f"c{number}", T0 + number, "ru", caller) is not None

    assert [take(number, "+77010000001") for number in range(4)] == [True, True, False, False]
    assert take(0, "+77010000001")  # a repeated setup keeps its place
    assert take(5, "+77010000002")
    desks.give_back("c0")
    assert take(6, "+77010000001")
    # Who shows no number is many.
    assert take(7, "")
    assert desks.taken("a") == 4


def test_who_has_how_many_places_outlives_a_restart() -> None:
    desk = Desk("a", "sip:a@desk.example", one_caller=1)
    before = DeskBoard([desk])
    assert before.take(("a",), "d1", "c1", T0, "ru", "+77010000001") is not None
    places = {key: place for key, place in before.changes.items() if place is not None}
    wire = {key: msgspec.json.decode(msgspec.json.encode(place), type=Place) for key, place in places.items()}
    after = DeskBoard([desk])
    # One that an older version wrote down has no caller.
    after.restore({**wire, "d0": msgspec.json.decode(b'["a","c0",1.0]', type=Place)}, {})
    assert after.take(("a",), "d2", "c2", T0 + 1, "ru", "+77010000001") is None
    after.give_back("c1")
    assert after.take(("a",), "d3", "c3", T0 + 2, "ru", "+77010000001") is not None
