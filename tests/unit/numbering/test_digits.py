"""Merged digit patterns against the regular expressions that they were made of."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.numbering.digits import Automaton, PatternError

_digit = st.sampled_from("0123")
_set = st.sampled_from(["[01]", "[1-3]", "[0-13]", "\\d", "[023]"])
_atom = st.one_of(_digit, _set)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        inner.map(lambda part: f"(?:{part})?"),
        st.tuples(inner, st.integers(0, 2), st.integers(0, 2)).map(
            lambda parts: f"(?:{parts[0]}){{{parts[1]},{parts[1] + parts[2]}}}"
        ),
    )


_patterns = st.recursive(_atom, _compound, max_leaves=6)


def _leaf(labels: int) -> tuple[int]:
    return LEAVES.setdefault(labels, (labels,))


LEAVES: dict[int, tuple[int]] = {}


def _walk(frozen: Any, digits: str) -> int:
    for digit in digits:
        if frozen.__class__ is not dict:
            break
        frozen = frozen[digit]
    labels: int = frozen[0]
    return labels


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.lists(_patterns, min_size=1, max_size=3), _patterns, st.lists(st.text("01234", max_size=9), max_size=20))
def test_a_walk_finds_exactly_the_patterns_that_match(patterns: list[str], prefix: str, texts: list[str]) -> None:
    automaton = Automaton()
    for index, pattern in enumerate(patterns):
        automaton.add(pattern, 1 << index)
    automaton.add_prefix(prefix, 1 << 10)
    trees = [automaton.freeze(length, _leaf, {}) for length in range(10)]
    for text in texts:
        expected = sum(1 << index for index, pattern in enumerate(patterns) if re.fullmatch(pattern, text))
        if any(re.fullmatch(prefix, text[:end]) for end in range(1, len(text) + 1)):
            expected |= 1 << 10
        assert _walk(trees[len(text)], text) == expected


def test_decisions_fall_as_early_as_they_can() -> None:
    automaton = Automaton()
    automaton.add("7[01]\\d{8}", 1)
    tree = automaton.freeze(10, _leaf, {})
    assert tree["7"]["0"] == (1,)
    assert tree["1"] == (0,)
    assert automaton.freeze(9, _leaf, {}) == (0,)


def test_equal_subtrees_are_one_object() -> None:
    automaton = Automaton()
    automaton.add("[12]3[45]\\d", 1)
    tree = automaton.freeze(4, _leaf, {})
    assert tree["1"] is tree["2"]


@pytest.mark.parametrize(
    "pattern", ["a", "1+", "1*", "(?=1)2", "[^1]", "[]", "[1", "(1", "1)", "1{", "1{a}", "\\w", "1{1,2,3}"]
)
def test_unfamiliar_syntax_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        Automaton().add(pattern, 1)
