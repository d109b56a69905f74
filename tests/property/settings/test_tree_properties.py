"""Any text is either understood or refused with a place; understood means the same as to other YAML readers."""

from __future__ import annotations

import re
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.domain import ConfigError
from antifraud.settings.check import check
from antifraud.settings.schema import Document
from antifraud.settings.tree import Node, Source, loose, merge, read_text

PIECES = [
    "a", "b: ", ": ", "- ", "\n", "  ", "\t", "{", "}", "[", "]", ",", "'", '"', "#", "&x ", "*x", "!!str ", "|", ">",
    "---", "...", "%", "@", "`", "?", "~", "1", "\u0430", "\x00", "\x85", "\ufeff", "\U0001f600", "policy:", "engine:",
    "redis: {url: x}", "<<: ", "ceiling: off",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=80)
keys = st.text(st.characters(categories=("L", "Nd")), min_size=1, max_size=8)
#: What YAML 1.1 takes for text and leaves without quotes, and YAML 1.2 for a number (core schema, 10.3.2).
BETWEEN_VERSIONS = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+\Z")
plain = st.text(st.characters(exclude_categories=("C",))).filter(lambda text: not BETWEEN_VERSIONS.match(text))
scalars = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | plain
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)
mappings = st.dictionaries(keys, values, max_size=5)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_any_text_is_understood_or_refused_at_a_place(text: str) -> None:
    try:
        node = read_text(text, "x.yaml")
        problems = check(node, Document)
    except ConfigError as error:
        problems = list(error.problems)
    for problem in problems:
        assert problem.where is not None
        assert problem.where.file == "x.yaml"
        assert problem.render().startswith("x.yaml")


@settings(max_examples=100, deadline=None)
@given(mappings)
def test_what_other_writers_write_is_read_as_they_meant_it(mapping: dict[str, Any]) -> None:
    text = yaml.safe_dump(mapping, allow_unicode=True, width=1_000_000)
    assert read_text(text, "x").plain() == mapping


def tree(mapping: dict[str, Any]) -> Node:
    return loose(mapping, Source("x"))


def laid_over(below: Any, above: Any) -> Any:
    """The oracle of merging: what the documentation says, without places."""
    if not isinstance(below, dict):
        return above
    if above is None:
        return below
    if not isinstance(above, dict):
        return above
    return below | {key: laid_over(below[key], value) if key in below else value for key, value in above.items()}


small = st.dictionaries(st.sampled_from("abc"), st.recursive(
    st.none() | st.integers(0, 9),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(st.integers(), max_size=2),
    max_leaves=8,
), max_size=3)  # fmt: skip


@settings(deadline=None)
@given(small, small)
def test_layers_are_merged_as_documented(below: dict[str, Any], above: dict[str, Any]) -> None:
    assert merge(tree(below), tree(above)).plain() == laid_over(below, above)
