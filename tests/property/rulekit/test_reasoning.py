"""What is said to follow from a condition does follow, on any row."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from antifraud.rulekit.interpreter import Interpreter
from antifraud.rulekit.reasoning import alternatives, bare, contradiction, implies, settle
from antifraud.rulekit.tree import (
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Literal,
    Missing,
    Not,
    OneOf,
    OneOfParam,
    Or,
    Param,
    Prefix,
    Truth,
)

from .conditions import PARAMS, SLOTS, conditions, rows
from .test_compiler import LOOKUPS

BRISK = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
N0, N1, T0 = SLOTS["n0"], SLOTS["n1"], SLOTS["caller"]

# Conditions about very few values, so that they meet and contradict each other often.
_figures = st.sampled_from((0.0, 1.0, 2.0, 3.0)).map(Literal)
_quantities = st.sampled_from([N0, N1, Arithmetic("-", N0, N1)])
_words = st.sampled_from(("", "a", "ab", "b"))
_lists_of_words = st.lists(_words, min_size=1, max_size=3).map(tuple)
close_leaves: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Compare, st.sampled_from(("==", "!=", "<", "<=", ">", ">=")), _quantities, _figures),
    st.builds(Compare, st.sampled_from(("==", "!=", "<", "<=", ">", ">=")), _figures, _quantities),
    st.builds(Compare, st.sampled_from(("==", "!=", "<", "<=", ">", ">=")), _quantities, _quantities),
    st.builds(Compare, st.sampled_from(("<", ">=", "==")), _quantities, st.just(Param("number", "number"))),
    st.builds(Compare, st.sampled_from(("==", "!=")), st.just(T0), _words.map(Literal)),
    st.builds(Between, _quantities, _figures, _figures),
    st.builds(OneOf, st.just(N0), st.lists(st.sampled_from((0.0, 1.0, 2.0)), min_size=1, max_size=3).map(tuple)),
    st.builds(OneOf, st.just(T0), _lists_of_words),
    st.builds(OneOfParam, st.just(T0), st.just(Param("words", "texts"))),
    st.builds(Prefix, st.just(T0), _lists_of_words),
    st.builds(Prefix, st.just(T0), st.just(Param("words", "texts"))),
    st.builds(Missing, st.sampled_from([N0, T0])),
    st.builds(Truth, st.just(SLOTS["b0"])),
)
close: st.SearchStrategy[Condition] = st.recursive(
    close_leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=4).map(lambda terms: And(tuple(terms))),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: Or(tuple(terms))),
    ),
    max_leaves=8,
)
_numbers = st.sampled_from((None, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0))
_texts = st.sampled_from((None, "", "a", "ab", "abc", "b", "c"))
close_rows = st.tuples(
    _numbers, _numbers, _numbers, _numbers, _texts, _texts, _texts, *[st.sampled_from((None, True, False))] * 2
).map(list)
several = st.lists(close_rows, min_size=1, max_size=12)


def holds(condition: Condition, row: list[Any]) -> bool:
    return Interpreter(row, PARAMS, LOOKUPS).holds(condition) is True


@BRISK
@given(close, several)
def test_what_can_never_be_true_is_never_true(condition: Condition, calls: list[list[Any]]) -> None:
    found = contradiction(condition)
    event(f"contradiction: {found is not None}")
    if found is not None:
        assert not any(holds(condition, row) for row in calls)
    if contradiction(settle(condition, PARAMS)) is not None:
        assert not any(holds(condition, row) for row in calls)


@BRISK
@given(close, close, several)
def test_what_is_implied_is_true(one: Condition, other: Condition, calls: list[list[Any]]) -> None:
    proven = implies(one, other)
    event(f"implied: {proven}")
    for row in calls:
        if proven and holds(one, row):
            assert holds(other, row)
        if implies(settle(one, PARAMS), settle(other, PARAMS)) and holds(one, row):
            assert holds(other, row)


@BRISK
@given(close_leaves, st.lists(close_leaves, max_size=3), close_leaves, several)
def test_of_single_claims(leaf: Condition, more: list[Condition], other: Condition, calls: list[list[Any]]) -> None:
    both = And((leaf, *more))
    for wanted in (other, Not(other)):
        proven = implies(both, wanted)
        event(f"implied: {proven}")
        if proven:
            assert all(holds(wanted, row) for row in calls if holds(both, row))


@BRISK
@given(conditions, conditions, rows)
def test_of_any_conditions(one: Condition, other: Condition, row: list[Any]) -> None:
    if contradiction(one) is not None:
        assert not holds(one, row)
    if implies(one, other) and holds(one, row):
        assert holds(other, row)


@BRISK
@given(close, close)
def test_what_has_to_be_found(one: Condition, other: Condition) -> None:
    both = And((one, other))
    assert implies(one, one)
    if all(alternatives(condition) is not None for condition in (both, one, other)):
        assert implies(both, one)
        assert implies(one, Or((one, other)))
        assert contradiction(And((one, Not(one)))) is not None or alternatives(And((one, Not(one)))) is None


@BRISK
@given(conditions, rows)
def test_settled_conditions_mean_the_same(condition: Condition, row: list[Any]) -> None:
    settled = settle(condition, PARAMS)
    assert Interpreter(row, {}, LOOKUPS).holds(settled) == Interpreter(row, PARAMS, LOOKUPS).holds(condition)
    assert bare(settled) == settle(bare(condition), PARAMS)
