"""Columns say of every row what the interpreter says of it: all kinds of terms, anything missing, any numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.rulekit import columns as columns_module
from antifraud.rulekit.columns import Coded, Column, ColumnRules, code_texts
from antifraud.rulekit.compiler import Clause
from antifraud.rulekit.interpreter import Interpreter
from antifraud.rulekit.tree import Condition, Not

from .conditions import ORDER, PARAMS, SLOTS, conditions, rows
from .test_compiler import BRISK, LOOKUPS


def columns_of(calls: list[list[Any]]) -> dict[str, Column]:
    """The rows turned into columns, in the form that suits each type best."""
    made: dict[str, Column] = {}
    for name, values in zip(ORDER, map(list, zip(*calls, strict=True)), strict=True):
        if SLOTS[name].type == "text":
            made[name] = code_texts(values)
        elif SLOTS[name].type == "bool":
            made[name] = np.array([-1 if value is None else int(value) for value in values], dtype=np.int8)
        else:
            made[name] = np.array([math.nan if value is None else value for value in values])
    return made


OTHER_PARAMS: dict[str, Any] = {
    "number": 22.5,
    "word": "c",
    "flag": False,
    "words": ("abc", "+77001"),
    "figures": tuple(float(number) for number in range(1, 12)),
}


@settings(BRISK, max_examples=300)
@given(st.lists(conditions, min_size=1, max_size=4), st.lists(rows, min_size=1, max_size=12))
def test_columns_equal_the_interpreter(several: list[Condition], calls: list[list[Any]]) -> None:
    # Each condition and its opposite, with two rules' parameters: rules share what they may share and nothing else.
    asked = [
        (Clause(form), params)
        for condition in several
        for form in (condition, Not(condition))
        for params in (PARAMS, OTHER_PARAMS)
    ]
    keys = [f"{number}" for number in range(len(asked))]
    rules = ColumnRules(keys, [clause for clause, _ in asked], LOOKUPS)
    found = rules.evaluate(columns_of(calls), len(calls), [params for _, params in asked])
    assert list(found) == keys
    for number, row in enumerate(calls):
        for key, (clause, params) in zip(keys, asked, strict=True):
            held = Interpreter(row, params, LOOKUPS).holds(clause.when)
            assert found[key][number] == (held is True), (clause.when, row)


@BRISK
@given(conditions, conditions, st.sampled_from((-1.0, 0.0, 2.0, 1e300)), st.lists(rows, min_size=1, max_size=5))
def test_exceptions(when: Condition, exception: Condition, ends: float, calls: list[list[Any]]) -> None:
    rules = ColumnRules(["x"], [Clause(when, ((exception, ends),), SLOTS["ts"])], LOOKUPS)
    found = rules.evaluate(columns_of(calls), len(calls), [PARAMS])["x"]
    for number, row in enumerate(calls):
        holds = Interpreter(row, PARAMS, LOOKUPS).holds
        spared = row[0] is not None and row[0] < ends and holds(exception) is True
        assert found[number] == (holds(when) is True and not spared)


@BRISK
@given(conditions, st.lists(rows, min_size=5, max_size=12))
def test_blocks_make_no_difference(condition: Condition, calls: list[list[Any]]) -> None:
    rules = ColumnRules(["x"], [Clause(condition)], LOOKUPS)
    whole = rules.evaluate(columns_of(calls), len(calls), [PARAMS])["x"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns_module, "BLOCK", 3)
        assert (rules.evaluate(columns_of(calls), len(calls), [PARAMS])["x"] == whole).all()


@BRISK
@given(conditions, st.lists(rows, min_size=1, max_size=6))
def test_every_form_of_a_column_means_the_same(condition: Condition, calls: list[list[Any]]) -> None:
    rules = ColumnRules(["x"], [Clause(condition)], LOOKUPS)
    best = rules.evaluate(columns_of(calls), len(calls), [PARAMS])["x"]
    plain: dict[str, Column] = {name: [row[index] for row in calls] for index, name in enumerate(ORDER)}
    assert (rules.evaluate(plain, len(calls), [PARAMS])["x"] == best).all()
    # A dictionary may repeat words and hold words that no row has.
    loose: dict[str, Column] = {}
    for name, column in columns_of(calls).items():
        if isinstance(column, Coded):
            size = len(column.words)
            codes = np.where(column.codes >= 0, column.codes + size * (np.arange(len(calls)) % 2), -1)
            loose[name] = Coded(codes.astype(np.int32), (*column.words, *column.words, "unseen"))
    assert (rules.evaluate({**plain, **loose}, len(calls), [PARAMS])["x"] == best).all()
    # A column without a missing value may be of a narrower type.
    assert set(rules.reads) <= set(ORDER)
