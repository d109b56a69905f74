"""How grave it is when the calendar, a field, a window or a region's parameter changes, by what it can do to calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from antifraud.domain import ConfigError
from antifraud.rulekit import RuleSet
from antifraud.rulekit.comparison import Change, ItemChange, compare, declarations
from antifraud.rulekit.context_comparison import compare_calendars, compare_fields, compare_regions
from antifraud.rulekit.documents import Sheet, parse_sheet

from .release import rule
from .workbench import CALENDAR, load, write

YEAR = "\n  - {date: 2026-01-01, name: New Year}"
NAURYZ = YEAR + "\n  - {date: 2026-03-21, name: Nauryz}"
HOLIDAY = "caller_calls_1h >= params.calls\nand holiday()"
WORKDAY = "caller_calls_1h >= params.calls\nand not holiday()"
_TESTS = rule()[rule().index("tests:") :]


def loaded(folder: Path, holidays: str, *texts: str, years: str = "2026, 2027", offset: int = 300) -> RuleSet:
    calendar = CALENDAR.format(holidays=holidays or "[]").replace("2026, 2027", years).replace("300", str(offset))
    files = {f"packs/demo/{text.split()[1]}.yaml": text for text in texts}
    return load(write(folder, {"calendar.yaml": calendar, **files}))


def only(items: Any) -> ItemChange:
    (item,) = items
    assert isinstance(item, ItemChange)
    return item


@pytest.mark.parametrize(
    ("when", "verdict", "stage", "before", "after", "level"),
    [
        (HOLIDAY, "block", "enforce", YEAR, NAURYZ, "major"),
        (HOLIDAY, "block", "enforce", NAURYZ, YEAR, "patch"),
        (WORKDAY, "block", "enforce", YEAR, NAURYZ, "patch"),
        (WORKDAY, "block", "enforce", NAURYZ, YEAR, "major"),
        (HOLIDAY, "block", "shadow", YEAR, NAURYZ, "minor"),
        (HOLIDAY, "label", "enforce", YEAR, NAURYZ, "minor"),
        (HOLIDAY, "protect", "enforce", YEAR, NAURYZ, "patch"),
        (HOLIDAY, "protect", "enforce", NAURYZ, YEAR, "major"),
        ("caller_calls_1h >= params.calls", "block", "enforce", YEAR, NAURYZ, "patch"),
    ],
)
def test_a_day_more_or_less(
    tmp_path: Path, when: str, verdict: str, stage: str, before: str, after: str, level: str
) -> None:
    text = rule(when=when, verdict=verdict, stage=stage)
    old, new = loaded(tmp_path / "a", before, text), loaded(tmp_path / "b", after, text)
    assert only(compare_calendars(old, new)).level == level
    assert compare(old, new).level is None, "the rule itself says what it said"


def test_years_that_are_covered_since_make_both_answers_possible(tmp_path: Path) -> None:
    for when in (HOLIDAY, WORKDAY):
        text = rule(when=when, verdict="block", stage="enforce")
        old = loaded(tmp_path / "a", YEAR, text, years="2026, 2026")
        new = loaded(tmp_path / "b", YEAR, text)
        (change,) = only(compare_calendars(old, new)).changes
        assert (change.what, change.level, change.before, change.after) == (
            "years",
            "major",
            "2026 to 2026",
            "2026 to 2027",
        )


def test_local_time_of_the_calendar_is_for_the_desk(tmp_path: Path) -> None:
    text = rule(when="night()\nand caller_calls_1h >= params.calls", verdict="block", stage="enforce")
    old, new = loaded(tmp_path / "a", YEAR, text), loaded(tmp_path / "b", YEAR, text, offset=360)
    (change,) = only(compare_calendars(old, new)).changes
    assert (change.what, change.level) == ("utc_offset_min", "patch")
    assert compare(old, new).level is None


def test_the_same_calendar_is_no_change_and_another_name_a_patch(tmp_path: Path) -> None:
    old, new = loaded(tmp_path / "a", YEAR), loaded(tmp_path / "b", YEAR.replace("New Year", "New Year's Day"))
    assert list(compare_calendars(old, old)) == []
    assert only(compare_calendars(old, new)).changes == (Change("names", "patch", "text", "", "2026-01-01"),)


def test_fields(tmp_path: Path) -> None:
    rules = loaded(tmp_path, YEAR)
    fields = dict(rules.names.fields)
    fields["hour"] = msgspec.structs.replace(fields["hour"], since="release")
    fields["mood"] = fields.pop("weekday")
    other = loaded(tmp_path, YEAR)
    other.names = msgspec.structs.replace(rules.names, fields=fields)
    found = {item.name: (item.kind, item.level, item.changes[0].what) for item in compare_fields(rules, other)}
    assert found == {
        "hour": ("changed", "patch", "since"),
        "mood": ("added", "patch", "field"),
        "weekday": ("removed", "patch", "field"),
    }


def test_parameters_of_regions_are_graded_by_what_holds_there(tmp_path: Path) -> None:
    text = rule(verdict="block", stage="enforce")
    rules = loaded(tmp_path, YEAR, text)
    strict, mild = {"sample": {"calls": 10}}, {"sample": {"calls": 90}}
    for before, after, level in (
        ({}, strict, "major"),
        ({}, mild, "patch"),
        (strict, {}, "patch"),
        (mild, {}, "major"),
        (mild, strict, "major"),
        (strict, mild, "patch"),
    ):
        (change,) = only(compare_regions(rules, rules, {"KZ-75": before}, {"KZ-75": after})).changes
        assert (change.what, change.level) == ("sample.calls", level), (before, after)
    assert list(compare_regions(rules, rules, {"KZ-75": strict}, {"KZ-75": strict, "KZ-71": {}})) == []
    same = {"KZ-75": {"sample": {"calls": 20}}}
    assert list(compare_regions(rules, rules, {}, same)) == [], "what a region says holds there already"


def test_what_is_set_of_a_rule_that_does_not_exist_decides_nothing(tmp_path: Path) -> None:
    rules = loaded(tmp_path, YEAR, rule())
    assert list(compare_regions(rules, rules, {}, {"KZ-75": {"gone": {"calls": 3}}})) == []


def test_a_region_cannot_be_graded_that_sets_what_does_not_exist(tmp_path: Path) -> None:
    rules = loaded(tmp_path, YEAR, rule())
    with pytest.raises(ConfigError, match="did you mean calls"):
        list(compare_regions(rules, rules, {}, {"KZ-75": {"sample": {"cals": 3}}}))


WINDOWS = """\
windows:
  stopped_1h: {kind: count, by: caller, on: report, where: 'label == "stopped"', over: 1h, doc: {en: a}}
  all_1h: {kind: count, by: caller, over: 1h}
  share_1h: {kind: ratio, of: stopped_1h, to: all_1h}
"""


def test_a_ratio_changes_with_what_it_is_made_of() -> None:
    def said(text: str) -> dict[str, str]:
        return declarations(parse_sheet(Sheet("windows.yaml", text), max_nodes=1_000))

    before = said(WINDOWS)
    after = said(
        WINDOWS.replace("all_1h: {kind: count, by: caller, over: 1h}", "all_1h: {kind: count, by: caller, over: 2h}")
    )
    assert {name for name in before if before[name] != after[name]} == {"all_1h", "share_1h"}
    assert said(WINDOWS.replace("en: a", "en: b")) == before
