"""Declarations: what is read, and how mistakes are shown (golden files; WRITE_GOLDEN=1 writes them anew)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antifraud.domain import BundleError, EventKind, Location
from antifraud.features import KINDS, WindowSet, load_windows
from tests.property.features.streams import compile_where

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GOLDEN = sorted(path.stem for path in (HERE / "golden").glob("*.yaml"))


def load(tmp_path: Path, text: str) -> WindowSet:
    path = tmp_path / "windows.yaml"
    path.write_text(text, encoding="utf-8")
    return load_windows(path, compile_where)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_mistake_is_shown_with_its_place_and_a_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE / "golden")
    with pytest.raises(BundleError) as caught:
        load_windows(f"{name}.yaml", compile_where)
    expected = Path(f"{name}.txt")
    if os.environ.get("WRITE_GOLDEN"):
        expected.write_text(caught.value.render() + "\n", encoding="utf-8")
    assert caught.value.render() + "\n" == expected.read_text(encoding="utf-8")


def test_a_file_that_is_not_there_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.yaml: cannot be read: No such file"):
        load_windows(tmp_path / "none.yaml", compile_where)


def test_a_file_of_absurd_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("#" * 1_000_001)
    with pytest.raises(BundleError, match="larger than"):
        load_windows(tmp_path / "w.yaml", compile_where)


def test_deep_nesting_is_refused_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        load(tmp_path, "windows: " + "[" * 20_000)


def test_the_shipped_windows_load_and_explain_themselves() -> None:
    windows = load_windows(ROOT / "rules" / "windows.yaml", compile_where)
    assert windows.names == (
        "caller_calls_1m",
        "caller_calls_1h",
        "caller_callees_10m",
        "caller_callees_1h",
        "caller_sequential_10m",
        "caller_short_share_1h",
        "caller_age",
        "caller_reports_30d",
        "callee_calls_1h",
        "callee_new_callers_2h",
        "callee_talk_new_2h",
        "prefix_callees_10m",
        "prefix_callers_10m",
    )
    assert windows.row_kinds == {EventKind.RELEASE, EventKind.REPORT}
    for spec in windows.specs:
        assert set(spec.doc) == {"en", "ru", "kk"}
        assert len(set(spec.doc.values())) == 3


BASE = """
windows:
  calls:
    kind: count
    by: caller
    over: {over}
    doc: {{en: {doc}, ru: б, kk: в}}
"""


def test_the_digest_follows_the_meaning_not_the_words(tmp_path: Path) -> None:
    one = load(tmp_path, BASE.format(over="1m", doc="a"))
    assert load(tmp_path, "version: 1" + BASE.format(over="60s", doc="b")).digest == one.digest
    assert load(tmp_path, BASE.format(over="2m", doc="a")).digest != one.digest


def test_defaults(tmp_path: Path) -> None:
    (spec,) = load(tmp_path, BASE.format(over="1m", doc="a")).specs
    assert (spec.on, spec.over_s, spec.buckets, spec.bucket_s) == ("setup", 60, 12, 5)


@pytest.mark.parametrize(("over", "buckets"), [("1s", 1), ("7s", 7), ("10s", 10), ("13s", 1), ("25s", 5), ("30d", 12)])
def test_buckets_are_whole_seconds(tmp_path: Path, over: str, buckets: int) -> None:
    (spec,) = load(tmp_path, BASE.format(over=over, doc="a")).specs
    assert spec.buckets == buckets
    assert spec.bucket_s * spec.buckets == spec.over_s


def test_the_condition_is_compiled_where_its_text_stands(tmp_path: Path) -> None:
    places: list[Location] = []

    def remember(text: str, where: Location):  # type: ignore[no-untyped-def]
        places.append(where)
        return lambda row: True

    path = tmp_path / "w.yaml"
    lines = [
        "windows:",
        "  a: {kind: count, by: caller, over: 1m, where: 'x', doc: {en: a, ru: b, kk: c}}",
        "  b:",
        "    {kind: count, by: caller, over: 1m, where: y, doc: {en: a, ru: b, kk: c}}",
        "  c:",
        "    kind: count",
        "    by: caller",
        "    over: 1m",
        "    where: |",
        "",
        "        z",
        "    doc: {en: a, ru: b, kk: c}",
    ]
    path.write_text("\n".join(lines))
    load_windows(path, remember)
    for place, text in zip(places, "xyz", strict=True):
        assert lines[place.line - 1][place.column - 1] == text


def test_every_kind_is_described() -> None:
    assert set(KINDS) == {"count", "distinct", "share", "sequential", "sum", "mean", "age", "idle"}
    page = (ROOT / "docs" / "reference" / "windows.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"`{kind}`" in page
