"""Declarations: what is read, and how mistakes are shown (golden files; WRITE_GOLDEN=1 writes them anew)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antifraud import rulekit
from antifraud.decision.facts import ROW
from antifraud.domain import BundleError, EventKind, Location
from antifraud.features import KINDS, WindowSet, load_windows
from antifraud.features.windows import CompileWhere, Predicate
from antifraud.rulekit import load_fields
from tests.property.features.streams import compile_where

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GOLDEN = sorted(path.stem for path in (HERE / "golden").glob("*.yaml"))


#: Golden files whose conditions are read as the engine reads them; the others have a stand-in for the rule language.
IN_THE_RULE_LANGUAGE = ("where_not_known",)


def rule_language() -> CompileWhere:
    fields = load_fields(ROOT / "rules" / "fields.yaml")
    return lambda text, where, on: rulekit.compile_where(text, where, fields, ROW, on)


def load(tmp_path: Path, text: str) -> WindowSet:
    path = tmp_path / "windows.yaml"
    path.write_text(text, encoding="utf-8")
    return load_windows(path, compile_where)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_mistake_is_shown_with_its_place_and_a_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE / "golden")
    with pytest.raises(BundleError) as caught:
        load_windows(f"{name}.yaml", rule_language() if name in IN_THE_RULE_LANGUAGE else compile_where)
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
        "caller_calls_1s",
        "caller_calls_1m",
        "caller_calls_10m",
        "caller_calls_1h",
        "caller_calls_24h",
        "caller_callees_1m",
        "caller_callees_10m",
        "caller_callees_1h",
        "caller_callees_24h",
        "caller_callee_prefixes_1h",
        "caller_new_pair_share_24h",
        "pair_calls_24h",
        "caller_sequential_10m",
        "caller_in_a_row_1h",
        "caller_night_share_24h",
        "caller_open_calls",
        "caller_age",
        "caller_idle",
        "caller_short_share_1h",
        "caller_one_ring_share_1h",
        "caller_answered_share_24h",
        "caller_mean_talk_24h",
        "caller_longest_talk_24h",
        "caller_received_24h",
        "caller_received_from_24h",
        "caller_outbound_balance_24h",
        "caller_reports_30d",
        "caller_stopped_24h",
        "caller_challenges_passed_24h",
        "caller_challenges_failed_24h",
        "prefix_callees_10m",
        "prefix_callers_10m",
        "prefix_new_callers_1h",
        "prefix_new_caller_share_24h",
        "hundred_callees_24h",
        "range_one_ring_share_1h",
        "prefix_reports_30d",
        "callee_calls_1h",
        "callee_callers_1h",
        "callee_new_callers_2h",
        "callee_talk_new_2h",
        "callee_age",
        "callee_own_calls_age",
        "callee_stopped_2h",
        "callee_reports_30d",
        "callee_block_calls_1h",
        "callback_one_ring_24h",
        "callback_new_talk_2h",
        "trunk_calls_1s",
        "trunk_calls_1m",
        "trunk_calls_1h",
        "trunk_callers_10m",
        "trunk_callees_10m",
        "trunk_new_caller_share_1h",
        "trunk_answered_share_1h",
        "trunk_mean_talk_1h",
        "trunk_mean_pdd_1h",
        "trunk_open_calls",
        "trunk_stopped_1h",
        "trunk_stopped_share_1h",
        "src_ip_calls_1m",
        "src_ip_callers_10m",
        "fingerprint_calls_1h",
        "fingerprint_callers_1h",
        "fingerprint_new_caller_share_1h",
        "fingerprint_stopped_1h",
        "fingerprint_stopped_share_1h",
        "imsi_imeis_24h",
        "imsi_cells_24h",
        "imei_imsis_24h",
        "imei_callees_24h",
        "switch_age",
    )
    assert windows.row_kinds == {EventKind.SETUP, EventKind.RELEASE, EventKind.REPORT}
    assert {spec.kind for spec in windows.specs} == set(KINDS)
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

    def remember(text: str, where: Location, on: str) -> Predicate:
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


def test_a_condition_is_compiled_once_for_every_kind_of_event_that_it_is_asked_about(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def remember(text: str, where: Location, on: str) -> Predicate:
        asked.append((text, on))
        return lambda row: True

    path = tmp_path / "w.yaml"
    path.write_text(
        "windows:\n"
        "  a: {kind: count, by: caller, over: 1m, where: x, doc: {en: a, ru: b, kk: c}}\n"
        "  b: {kind: count, by: callee, over: 1m, where: x, doc: {en: a, ru: b, kk: c}}\n"
        "  c: {kind: share, by: caller, on: report, over: 1m, where: x, among: y, doc: {en: a, ru: b, kk: c}}\n"
        "  d: {kind: open, by: caller, over: 1m, where: x, doc: {en: a, ru: b, kk: c}}\n"
    )
    windows = load_windows(path, remember)
    assert asked == [("x", "setup"), ("x", "report"), ("y", "report"), ("x", "answer")]
    assert set(windows.predicates) == {"x", "y"}
    assert windows.row_kinds == {EventKind.SETUP, EventKind.REPORT, EventKind.ANSWER}
    assert windows.combine is None


def test_the_way_to_combine_conditions_is_kept_with_the_windows(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(BASE.format(over="1m", doc="a"), encoding="utf-8")
    assert load_windows(path, compile_where, combine=rulekit.combine_where).combine is rulekit.combine_where


def test_more_conditions_than_fit_into_one_mask_are_refused(tmp_path: Path) -> None:
    def declared(count: int) -> str:
        line = "  w{n}: {{kind: count, by: caller, over: 1m, where: cause == {n}, doc: {{en: a, ru: b, kk: c}}}}\n"
        return "windows:\n" + "".join(line.format(n=n) for n in range(count))

    assert len(load(tmp_path, declared(56)).specs) == 56
    with pytest.raises(BundleError) as caught:
        load(tmp_path, declared(57))
    assert "57 different conditions on setup, at most 56 are possible" in caught.value.render()
    assert "let windows share conditions" in caught.value.render()


NEW_KINDS = """
windows:
  talking: {kind: open, by: caller, over: 2h, buckets: 8, doc: {en: a, ru: b, kk: c}}
  calling: {kind: open, by: trunk, on: setup, over: 2h, doc: {en: a, ru: b, kk: c}}
  redials: {kind: repeat, by: caller, over: 10m, doc: {en: a, ru: b, kk: c}}
  block_redials: {kind: repeat, by: caller, of: callee_prefix, cut: 3, over: 10m, doc: {en: a, ru: b, kk: c}}
  longest: {kind: max, by: caller, on: release, of: talk_s, over: 1d, doc: {en: a, ru: b, kk: c}}
  out: {kind: count, by: caller, for: caller, over: 1d, doc: {en: a, ru: b, kk: c}}
  received: {kind: count, by: callee, for: caller, over: 1d, doc: {en: a, ru: b, kk: c}}
  called_me: {kind: count, by: [caller, callee], for: [callee, caller], over: 1d, doc: {en: a, ru: b, kk: c}}
  new_pairs: {kind: share, by: caller, new: pair, over: 1d, doc: {en: a, ru: b, kk: c}}
  balance: {kind: balance, of: out, to: received, doc: {en: a, ru: b, kk: c}}
  ratio: {kind: ratio, of: out, to: redials, doc: {en: a, ru: b, kk: c}}
"""


def test_what_is_left_out_has_its_usual_value(tmp_path: Path) -> None:
    specs = {spec.name: spec for spec in load(tmp_path, NEW_KINDS).specs}
    assert (specs["talking"].on, specs["talking"].buckets, specs["calling"].on) == ("answer", 8, "setup")
    redials = specs["redials"]
    assert (redials.of, redials.on, redials.over_s, redials.buckets, redials.cut) == ("callee", "setup", 600, 0, 0)
    assert (specs["block_redials"].of, specs["block_redials"].cut) == ("callee_prefix", 3)
    assert (specs["longest"].of, specs["longest"].buckets) == ("talk_s", 12)
    assert specs["out"].seen_by == (), "looked up by its own key, as without 'for'"
    assert specs["received"].seen_by == ("caller",)
    assert specs["called_me"].seen_by == ("callee", "caller")
    assert (specs["new_pairs"].new, specs["new_pairs"].new_within_s, specs["new_pairs"].where) == ("pair", 0, "")
    for name, to in (("balance", "received"), ("ratio", "redials")):
        spec = specs[name]
        assert (spec.of, spec.to, spec.by, spec.over_s, spec.on) == ("out", to, (), 0, "setup")


def test_every_kind_is_described() -> None:
    assert tuple(KINDS) == (
        "count",
        "distinct",
        "share",
        "sequential",
        "sum",
        "mean",
        "max",
        "open",
        "repeat",
        "age",
        "idle",
        "ratio",
        "balance",
    )
    page = (ROOT / "docs" / "reference" / "windows.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"`{kind}`" in page
