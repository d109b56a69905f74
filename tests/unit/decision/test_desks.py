"""Desks: hours, languages, places taken and given back, what desks say of themselves, and restarts."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.decision.desks import HOURS, Desk, DeskBoard, Heard, Place, parse_hours
from antifraud.settings import schema

NOON = dt.datetime(2026, 11, 30, 12, 0, tzinfo=dt.UTC).timestamp()  # a Monday
HOUR = 3_600.0


def test_configuration_checks_hours_by_the_same_pattern() -> None:
    assert schema.HOURS == HOURS


def board(*desks: Desk) -> DeskBoard:
    return DeskBoard(desks)


def desk(name: str, **more: object) -> Desk:
    return Desk(name, f"sip:{name}@desk.example", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "after_noon_h", "is_open"),
    [
        ("mon-fri 08:00-20:00", 0, True),
        ("mon-fri 08:00-20:00", 8, False),
        ("mon-fri 08:00-20:00", 5 * 24, False),
        ("mon-fri 08:00-12:00", 0, False),
        ("mon-fri 12:00-13:00", 0, True),
        ("sat,sun 10:00-24:00", 5 * 24 + 11, True),
        ("daily 22:00-06:00", 10, True),
        ("daily 22:00-06:00", 17, True),
        ("daily 22:00-06:00", 18, False),
        ("mon 22:00-06:00", 17, True),
        ("mon 22:00-06:00", 24 + 17, False),
        ("fri-mon 00:00-24:00", 0, True),
        ("fri-mon 00:00-24:00", 24, False),
    ],
)
def test_hours(text: str, after_noon_h: float, is_open: bool) -> None:
    assert parse_hours(text).open_at(NOON + after_noon_h * HOUR) is is_open


@pytest.mark.parametrize(
    "text", ["", "mon-fri", "mon-fri 8-20", "mon-fri 08:00-25:00", "someday 08:00-20:00", "mon 08:00-20:00 x"]
)
def test_what_is_no_hours(text: str) -> None:
    with pytest.raises(ValueError, match="working hours"):
        parse_hours(text)


def test_calls_go_to_the_first_desk_with_a_place_and_back_when_one_is_free() -> None:
    desks = board(desk("a", calls=1, queue=1), desk("b", calls=1))
    taken = [desks.take(("a", "b"), f"d{n}", f"c{n}", NOON + n, "ru") for n in range(4)]
    assert [one.name if one else "" for one in taken] == ["a", "a", "b", ""]
    desks.give_back("c0")
    again = desks.take(("a", "b"), "d9", "c9", NOON + 9, "ru")
    assert again is not None
    assert again.name == "a"


def test_a_repeated_setup_keeps_its_place_and_takes_no_other() -> None:
    desks = board(desk("a", calls=1), desk("b", calls=1))
    first = desks.take(("a", "b"), "d1", "c1", NOON, "ru")
    assert desks.take(("a", "b"), "d1", "c1", NOON + 1, "ru") is first
    assert desks.taken("a") == 1
    assert desks.taken("b") == 0


def test_calls_with_one_call_id_but_other_numbers_take_places_of_their_own() -> None:
    desks = board(desk("a", calls=2))
    assert desks.take(("a",), "d1", "same", NOON, "ru")
    assert desks.take(("a",), "d2", "same", NOON, "ru")
    assert desks.take(("a",), "d3", "same", NOON, "ru") is None
    desks.give_back("same")
    assert desks.taken("a") == 0


def test_who_speaks_the_language_comes_first() -> None:
    desks = board(desk("a", languages=("en",)), desk("b", languages=("kk", "ru")))
    found = desks.take(("a", "b"), "d1", "c1", NOON, "kk")
    assert found is not None
    assert found.name == "b"
    other = desks.take(("a", "b"), "d2", "c2", NOON, "en")
    assert other is not None
    assert other.name == "a"


def test_a_desk_that_is_closed_takes_nothing() -> None:
    desks = board(desk("a", hours=(parse_hours("mon-fri 08:00-12:00"),)), desk("b"))
    found = desks.take(("a", "b"), "d1", "c1", NOON, "ru")
    assert found is not None
    assert found.name == "b"


def test_a_place_is_free_after_its_time_though_no_release_came() -> None:
    desks = board(desk("a", calls=1, hold_s=600))
    assert desks.take(("a",), "d1", "c1", NOON, "ru")
    assert desks.take(("a",), "d2", "c2", NOON + 599, "ru") is None
    assert desks.take(("a",), "d2", "c2", NOON + 600, "ru")


def test_what_a_desk_says_of_itself_counts() -> None:
    desks = board(desk("a", calls=10))
    assert desks.heard("a", 1, NOON)
    assert desks.take(("a",), "d1", "c1", NOON + 1, "ru")
    assert desks.take(("a",), "d2", "c2", NOON + 2, "ru") is None
    assert desks.heard("a", 2, NOON - 60)  # an older word changes nothing
    assert desks.take(("a",), "d2", "c2", NOON + 3, "ru") is None
    desks.heard("a", 1, NOON + 4)
    assert desks.take(("a",), "d2", "c2", NOON + 5, "ru")
    assert not desks.heard("nowhere", 1, NOON)


def test_a_desk_that_must_speak_and_does_not_is_closed() -> None:
    desks = board(desk("a", silent_s=30))
    assert desks.take(("a",), "d1", "c1", NOON, "ru") is None
    desks.heard("a", 5, NOON)
    assert desks.take(("a",), "d1", "c1", NOON + 30, "ru")
    assert desks.take(("a",), "d2", "c2", NOON + 31, "ru") is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 12), st.integers(0, 400)),
        st.tuples(st.just("end"), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("heard"), st.integers(0, 3), st.integers(0, 400)),
    ),
    max_size=60,
)


def play(desks: DeskBoard, steps: list[tuple[str, int, int]]) -> list[str]:
    said = []
    for op, number, after in steps:
        if op == "take":
            found = desks.take(("a", "b"), f"d{number}", f"c{number}", NOON + after, "ru")
            said.append(found.name if found else "")
        elif op == "end":
            desks.give_back(f"c{number}")
        else:
            desks.heard("a", number, NOON + after)
        assert desks.taken("a") <= 2
        assert desks.taken("b") <= 3
    return said


@given(STEPS, STEPS)
def test_never_more_than_there_are_places_and_a_restart_changes_nothing(
    before: list[tuple[str, int, int]], after: list[tuple[str, int, int]]
) -> None:
    desks = (desk("a", calls=1, queue=1, hold_s=200), desk("b", calls=3))
    through, stopped = board(*desks), board(*desks)
    play(through, before)
    written: dict[str, Place] = {}
    play(stopped, before)
    for decision, place in stopped.changes.items():
        if place is None:
            written.pop(decision, None)
        else:
            written[decision] = place
    restarted = board(*desks)
    words: dict[str, Heard] = dict(stopped.words)
    restarted.restore(written, words)
    assert play(restarted, after) == play(through, after)


def test_places_at_a_desk_that_is_gone_are_left_out() -> None:
    desks = board(desk("a", calls=1))
    desks.restore({"d1": Place("a", "c1", NOON), "d2": Place("gone", "c2", NOON)}, {"gone": Heard(1, NOON)})
    assert desks.taken("a") == 1
    assert not desks.changes
