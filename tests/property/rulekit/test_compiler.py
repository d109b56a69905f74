"""The compiled form of every condition means what the interpreter says: on any row, with anything missing."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from antifraud.domain import BundleError, Location
from antifraud.rulekit import combine_where, compile_where
from antifraud.rulekit.checker import MAX_DEPTH
from antifraud.rulekit.compiler import Clause, compile_pack, compile_predicate
from antifraud.rulekit.interpreter import Interpreter, Lookup
from antifraud.rulekit.tree import And, Condition, Not, Or

from .conditions import FIELDS, LISTS, NAMES, ORDER, PARAMS, SLOTS, check, conditions, rows, window_conditions, write

POSITIONS = {name: position for position, name in enumerate(PARAMS)}
PACKED = list(PARAMS.values())


def known(text: str, otherwise: float) -> float:
    return {"+77001234567": 100.0, "ab": float("inf")}.get(text, otherwise)


def blocks(text: str, otherwise: float) -> float:
    return 2.0 if text.startswith("+7700") else otherwise


LOOKUPS: dict[str, Lookup] = {"known": known, "blocks": blocks}

BRISK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@BRISK
@given(conditions, st.lists(rows, min_size=1, max_size=4))
def test_compiled_equals_interpreted(condition: Condition, calls: list[list[Any]]) -> None:
    function = compile_pack("p", [Clause(condition, (), None, POSITIONS)], LOOKUPS)
    opposite = compile_pack("p", [Clause(Not(condition), (), None, POSITIONS)], LOOKUPS)
    for row in calls:
        held = Interpreter(row, PARAMS, LOOKUPS).holds(condition)
        assert bool(function(row, PACKED)) == (held is True)
        assert bool(opposite(row, PACKED)) == (held is False)


@BRISK
@given(st.lists(conditions, min_size=1, max_size=5), rows)
def test_a_pack_gives_its_rules_in_order(several: list[Condition], row: list[Any]) -> None:
    function = compile_pack("p", [Clause(condition, (), None, POSITIONS) for condition in several], LOOKUPS)
    interpreter = Interpreter(row, PARAMS, LOOKUPS)
    expected = tuple(index for index, condition in enumerate(several) if interpreter.holds(condition) is True)
    assert function(row, PACKED) == expected


@BRISK
@given(conditions, conditions, st.sampled_from((-1.0, 0.0, 2.0, 1e300)), rows)
def test_exceptions(when: Condition, exception: Condition, ends: float, row: list[Any]) -> None:
    clause = Clause(when, ((exception, ends),), SLOTS["ts"], POSITIONS)
    interpreter = Interpreter(row, PARAMS, LOOKUPS)
    current = row[0] is not None and row[0] < ends
    spared = current and interpreter.holds(exception) is True
    hit = bool(compile_pack("p", [clause], LOOKUPS)(row, PACKED))
    assert hit == (interpreter.holds(when) is True and not spared)


# What a tree can have and a person may not write.
REFUSED = {
    "between-empty",
    "condition-too-deep",
    "condition-too-long",
    "condition-too-much",
    "constant-term",
    "divides-by-zero",
    "prefix-empty",
}


@BRISK
@given(conditions, rows)
def test_written_and_read_again(condition: Condition, row: list[Any]) -> None:
    text = write(condition)
    try:
        again = check(text)
    except BundleError as error:
        # Random trees can be larger than people's; only the bounds may refuse them.
        codes = {getattr(problem, "code", "") for problem in error.problems}
        assert codes <= REFUSED, text
        assume(False)
        raise
    assert write(again) == text
    first, second = Interpreter(row, PARAMS, LOOKUPS), Interpreter(row, PARAMS, LOOKUPS)
    assert first.holds(again) == second.holds(condition)


@BRISK
@given(window_conditions, rows)
def test_predicates_of_windows(condition: Condition, row: list[Any]) -> None:
    predicate = compile_predicate(condition)
    assert predicate.condition is condition
    assert predicate(row) is (Interpreter(row, PARAMS).holds(condition) is True)


@BRISK
@given(st.lists(window_conditions, max_size=8), st.lists(rows, min_size=1, max_size=4))
def test_the_mask_says_what_each_predicate_says(several: list[Condition], events: list[list[Any]]) -> None:
    predicates = [compile_predicate(condition) for condition in several]
    mask = combine_where(predicates)
    for row in events:
        found = mask(row)
        assert [bool(found >> bit & 1) for bit in range(len(several))] == [holds(row) for holds in predicates]
        assert found >> len(several) == 0


@BRISK
@given(st.lists(window_conditions, min_size=1, max_size=8), rows)
def test_conditions_written_in_a_file_combine(several: list[Condition], row: list[Any]) -> None:
    predicates = []
    for condition in several:
        try:
            predicates.append(compile_where(write(condition), Location("w", 1, 1), FIELDS, ORDER, "setup"))
        except BundleError:
            continue  # random trees can be larger than people's
    expected = sum(1 << bit for bit, holds in enumerate(predicates) if holds(row))
    assert combine_where(predicates)(row) == expected


@BRISK
@given(conditions, conditions, rows)
def test_the_laws_of_three_valued_logic(one: Condition, other: Condition, row: list[Any]) -> None:
    holds = Interpreter(row, PARAMS, LOOKUPS).holds
    assert holds(Not(Not(one))) == holds(one)
    assert holds(Not(And((one, other)))) == holds(Or((Not(one), Not(other))))
    assert holds(And((one, other))) == holds(And((other, one)))


def test_the_bounds_are_those_of_the_reference() -> None:
    assert MAX_DEPTH == 32
    assert set(LISTS) == set(LOOKUPS)
    assert set(NAMES.params) == set(PARAMS)
