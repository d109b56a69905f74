"""Where our language and CEL say the same, they mean the same: Google's own CEL is asked about the same calls.

The common part: comparisons, arithmetic on doubles, in, beginnings, patterns (CEL has RE2 too), and, or, not. Missing
values and calculations without a result are ours alone, so calls that lead to them are passed over.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from antifraud.rulekit.columns import ColumnRules
from antifraud.rulekit.compiler import Clause, compile_predicate
from antifraud.rulekit.interpreter import Interpreter
from antifraud.rulekit.tree import (
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Literal,
    Matches,
    Negative,
    Not,
    OneOf,
    Or,
    Prefix,
    Slot,
    Truth,
    Value,
    leaves_of,
    values_of,
)

from .conditions import BOOLS, FIGURES, NUMBERS, ORDER, PATTERNS, SIGNS, SLOTS, TEXTS, WORDS, number_slots, text_slots
from .test_columns import columns_of
from .test_compiler import BRISK

cel = pytest.importorskip("cel_expr_python.cel")


@cache
def environment() -> Any:
    """CEL with the names of the row."""
    kinds = {"number": cel.Type.DOUBLE, "text": cel.Type.STRING, "bool": cel.Type.BOOL}
    return cel.NewEnv(variables={name: kinds[slot.type] for name, slot in SLOTS.items()})


numbers: st.SearchStrategy[Value] = st.recursive(
    st.one_of(number_slots, st.sampled_from(FIGURES).map(Literal)),
    lambda inner: st.one_of(st.builds(Arithmetic, st.sampled_from("+-*/"), inner, inner), inner.map(Negative)),
    max_leaves=5,
)
texts: st.SearchStrategy[Value] = st.one_of(text_slots, st.sampled_from(WORDS).map(Literal))
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)
leaves: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Compare, st.sampled_from(SIGNS), number_slots, numbers),
    st.builds(Compare, st.sampled_from(SIGNS), numbers, number_slots),
    st.builds(Compare, st.sampled_from(("==", "!=")), text_slots, texts),
    st.builds(Between, number_slots, numbers, numbers),
    st.builds(OneOf, number_slots, st.lists(st.sampled_from(FIGURES), min_size=1, max_size=3).map(tuple)),
    st.builds(OneOf, text_slots, words),
    st.builds(Prefix, text_slots, words),
    st.builds(Matches, text_slots, st.sampled_from(PATTERNS)),
    st.builds(Truth, st.sampled_from([SLOTS[name] for name in BOOLS])),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: And(tuple(terms))),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: Or(tuple(terms))),
    ),
    max_leaves=8,
)
_figures = st.one_of(st.sampled_from(FIGURES), st.floats(-1e6, 1e6))
rows = st.tuples(
    *[_figures] * (1 + len(NUMBERS)),
    *[st.one_of(st.sampled_from(WORDS), st.text("ab7+c", max_size=6))] * len(TEXTS),
    *[st.booleans()] * len(BOOLS),
).map(list)


def write_value(value: Value) -> str:
    match value:
        case Literal(inner):
            return f'"{inner}"' if isinstance(inner, str) else f"({inner!r})"
        case Slot(name):
            return name
        case Negative(inner):
            return f"(-{write_value(inner)})"
        case Arithmetic(sign, left, right):
            return f"({write_value(left)} {sign} {write_value(right)})"
    raise AssertionError(value)


def write(condition: Condition) -> str:
    """The condition in CEL."""
    match condition:
        case Compare(sign, left, right):
            return f"{write_value(left)} {sign} {write_value(right)}"
        case Between(value, low, high):
            shown = write_value(value)
            return f"({write_value(low)} <= {shown} && {shown} <= {write_value(high)})"
        case OneOf(value, choices):
            return f"{write_value(value)} in [{', '.join(write_value(Literal(choice)) for choice in choices)}]"
        case Prefix(Slot(name), prefixes):
            return "(" + " || ".join(f'{name}.startsWith("{prefix}")' for prefix in prefixes) + ")"
        case Matches(Slot(name), pattern):
            return f'{name}.matches(r"{pattern}")'
        case Truth(Slot(name)):
            return name
        case Not(term):
            return f"!({write(term)})"
        case And(terms):
            return " && ".join(f"({write(term)})" for term in terms)
        case Or(terms):
            return " || ".join(f"({write(term)})" for term in terms)
    raise AssertionError(condition)


def _parts(value: Value) -> list[Value]:
    match value:
        case Negative(inner):
            return [value, *_parts(inner)]
        case Arithmetic(_, left, right):
            return [value, *_parts(left), *_parts(right)]
        case _:
            return [value]


def plain(condition: Condition, interpreter: Interpreter) -> bool:
    """Whether every calculation in the condition has a result that both languages have."""
    found = [
        interpreter.value(part)
        for leaf in leaves_of(condition)
        for value in values_of(leaf)
        for part in _parts(value)
        if isinstance(part, (Arithmetic, Negative))
    ]
    return all(number is not None and math.isfinite(number) for number in found)


@settings(BRISK, max_examples=300)
@given(conditions, rows)
def test_cel_says_the_same(condition: Condition, row: list[Any]) -> None:
    interpreter = Interpreter(row, {})
    assume(plain(condition, interpreter))
    said = environment().compile(write(condition)).eval(data=dict(zip(ORDER, row, strict=True))).value()
    assert isinstance(said, bool), said
    assert interpreter.holds(condition) is said
    assert compile_predicate(condition)(row) is said
    columns = ColumnRules(["x"], [Clause(condition)], {}).evaluate(columns_of([row]), 1, [{}])
    assert bool(columns["x"][0]) is said
