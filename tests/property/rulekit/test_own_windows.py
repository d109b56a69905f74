"""Whatever a rule file says under ``windows``: it is read, or refused in words by one of the two who read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from antifraud.domain import BundleError, Location
from antifraud.features import load_windows
from antifraud.features.windows import Predicate
from antifraud.rulekit import compile_where, read_own_windows, taken_names
from tests.unit.rulekit.workbench import load, rule_text, vocabulary, write

BRISK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
KEYS = (
    "name", "kind", "by", "for", "over", "on", "of", "to", "where", "among", "new", "new_within", "step",
    "cut", "doc",
)  # fmt: skip
VALUES = (
    "a", "b", "hour", "caller", "callee", "trunk", "count", "ratio", "share", "distinct", "mean", "talk_s", "7m", "0s",
    "release", "setup", "report", "3", "-1", "talk_s < 5", "'", "[caller, callee]", "[]", "{}", "{en: a}", "&a x", "*a",
    "!!int 3", "caller_calls_1h", "сaller", "", "~", "null", "|", "'a'", '"a"', "a.b", "sample.a",
    "99999999999999999999",
)  # fmt: skip
entries = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=8)
flow = entries.map(lambda item: "{" + ", ".join(f"{key}: {value}" for key, value in item.items()) + "}")
items = st.lists(st.one_of(flow, st.sampled_from(VALUES)), max_size=4)


SHARED = """\
windows:
  caller_calls_1h: {kind: count, by: caller, over: 1h, doc: {en: a, ru: b, kk: c}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("own"), {"windows.yaml": SHARED})


def refused(read: Callable[[], object]) -> str:
    """What is said; empty when nothing is wrong."""
    try:
        read()
    except BundleError as error:
        return error.render()
    return ""


def check(folder: Path, windows: str) -> None:
    fields = vocabulary()[0]
    write(folder, {"packs/demo/sample.yaml": rule_text(params=windows)})

    def where(text: str, place: Location, on: str) -> Predicate:
        return compile_where(text, place, fields, tuple(fields), on)

    own = read_own_windows(folder)
    names: list[str] = []
    shared = folder / "windows.yaml"
    counted = refused(lambda: names.extend(load_windows(shared, where, taken=taken_names(fields), own=own).names))
    asked = refused(lambda: load(folder))
    assert not counted or "sample.yaml" in counted
    assert not asked or "sample.yaml" in asked
    if not counted and not asked:
        assert {name for item in own for name in item.scoped} <= set(names)


@BRISK
@given(items)
@example(["{name: a, kind: count, by: caller, over: 7m}", "{name: b, kind: ratio, of: a, to: caller_calls_1h}"])
@example(["{name: a, kind: ratio, of: a, to: a}"])
@example(["{name: a, name: b, kind: count}"])
def test_any_declarations(folder: Path, found: list[str]) -> None:
    check(folder, "windows:\n" + "".join(f"  - {item}\n" for item in found))


@BRISK
@given(st.text(max_size=80))
@example("{name: a, kind: count}")
@example("{? [a] : b, kind: c}")
def test_any_text(folder: Path, text: str) -> None:
    check(folder, f"windows: {text}\n" if "kind" in text else f"windows: [{{name: a, kind: count, x: {text}}}]\n")
