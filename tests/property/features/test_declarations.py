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
"""
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


@SETTINGS
@given(data=st.data())
def test_edited_declarations(path: Path, data: st.DataObject) -> None:
    text = BASE
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 12))
        piece = data.draw(
            st.sampled_from(["", ":", "[", "{", "- ", "\n", "\t", "'", "&a ", "*a", "!!int ", "0", "-1", "é", "|\n"])
        )
        text = text[:place] + piece + text[place + gone :]
    read(path, text.encode("utf-8"))


@SETTINGS
@given(raw=st.binary(max_size=60))
def test_anything_at_all(path: Path, raw: bytes) -> None:
    read(path, b"windows:\n  a: " + raw)
