"""Whatever stands in windows.yaml, it either loads or is refused in words; it never ends in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifraud.domain import BundleError
from antifraud.features import load_windows
from antifraud.features.plan import make_plan
from tests.property.features.streams import compile_where

BASE = """version: 1
windows:
  callees:
    {kind: distinct, of: callee, by: caller, over: 10m, doc: {en: a, ru: b, kk: c}}
  short:
    kind: share
    by: [caller, caller_prefix]
    cut: 3
    on: release
    where: talk_s < 10
    among: |
      cause == 16
    over: 1h
    buckets: 6
    new: caller
    new_within: 2h
    doc: {en: a, ru: b, kk: c}
  talking:
    {kind: open, by: trunk, on: answer, over: 2h, buckets: 8, doc: {en: a, ru: b, kk: c}}
  redials: {kind: repeat, of: callee_prefix, cut: 3, by: caller, over: 10m, doc: {en: a, ru: b, kk: c}}
  longest:
    kind: max
    of: talk_s
    on: release
    by: [caller, callee]
    for: [callee, caller]
    over: 1d
    doc: {en: a, ru: b, kk: c}
  new_pairs:
    kind: share
    by: caller
    new: pair
    over: 1d
    doc: {en: a, ru: b, kk: c}
  per_callee: {kind: ratio, of: longest, to: callees, doc: {en: a, ru: b, kk: c}}
  out_in:
    kind: balance
    of: talking
    to: redials
    doc: {en: a, ru: b, kk: c}
"""
# fmt: off
PIECES = [
    "", ":", "[", "{", "- ", "\n", "\t", "'", "&a ", "*a", "!!int ", "0", "-1", "é", "|\n", "setup", "pair", "ratio",
]
# fmt: on
SETTINGS = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("declarations") / "windows.yaml"


def read(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    refused: BundleError | None = None
    try:
        make_plan(load_windows(path, compile_where))
    except BundleError as error:
        refused = error
    if refused is not None:
        assert refused.problems
        assert "windows.yaml" in refused.render()


def test_what_is_edited_below_loads(path: Path) -> None:
    path.write_text(BASE, encoding="utf-8")
    names = ("callees", "short", "talking", "redials", "longest", "new_pairs", "per_callee", "out_in")
    assert load_windows(path, compile_where).names == names


@SETTINGS
@given(data=st.data())
def test_edited_declarations(path: Path, data: st.DataObject) -> None:
    text = BASE
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 12))
        piece = data.draw(st.sampled_from(PIECES))
        text = text[:place] + piece + text[place + gone :]
    read(path, text.encode("utf-8"))


@SETTINGS
@given(raw=st.binary(max_size=60))
def test_anything_at_all(path: Path, raw: bytes) -> None:
    read(path, b"windows:\n  a: " + raw)
