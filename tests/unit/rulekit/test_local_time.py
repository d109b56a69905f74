"""weekend(), night(), time_between(), holiday(), and the calendar that ships."""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path

import pytest

from antifraud.domain import BundleError, Location
from antifraud.rulekit import RuleProblem, RuleSet, compile_where, read_calendar, run_tests
from antifraud.rulekit.crosscheck import check_calendar
from antifraud.rulekit.local_time import shown_moment, time_of_day
from antifraud.rulekit.texts import LANGUAGES

from .test_logic import holds, unknown
from .workbench import CALENDAR, RULES, load, load_one, problems, row, rule_text, vocabulary, write

HOLIDAYS = """
  - {date: 2026-01-01, name: {en: New Year, ru: Новый год}}
  - {date: 2027-12-16, name: Independence Day}"""


def at(text: str) -> float:
    """The epoch second of a local date and time (UTC+5)."""
    return dt.datetime.fromisoformat(f"{text}+05:00").timestamp()


@pytest.mark.parametrize(
    ("clock", "night"),
    [
        ("21:59:59.999", False),
        ("22:00", True),
        ("23:59:59", True),
        ("00:00", True),
        ("05:59:59.999", True),
        ("06:00", False),
        ("12:00", False),
    ],
)
def test_night(clock: str, night: bool) -> None:
    ts = at(f"2026-06-03T{clock}")
    assert holds("night()", ts=ts) == night
    assert holds("not night()", ts=ts) != night
    assert holds('night("22:00", "06:00")', ts=ts) == night
    assert holds('time_between("22:00", "06:00")', ts=ts) == night


@pytest.mark.parametrize(
    ("clock", "inside"), [("08:59", False), ("09:00", True), ("17:59", True), ("18:00", False), ("00:00", False)]
)
def test_a_time_within_one_day(clock: str, inside: bool) -> None:
    assert holds('time_between("09:00", "18:00")', ts=at(f"2026-06-03T{clock}")) == inside


def test_midnight_may_be_either_end() -> None:
    assert holds('time_between("00:00", "06:00")', ts=at("2026-06-03T00:00"))
    assert holds('time_between("22:00", "00:00")', ts=at("2026-06-03T23:59"))
    assert not holds('time_between("22:00", "00:00")', ts=at("2026-06-03T00:00"))


@pytest.mark.parametrize(
    ("moment", "weekend"),
    [
        ("2026-06-05T23:59:59", False),
        ("2026-06-06T00:00", True),
        ("2026-06-07T23:59:59", True),
        ("2026-06-08T00:00", False),
        ("1969-12-27T12:00", True),
    ],
)
def test_weekend(moment: str, weekend: bool) -> None:
    assert holds("weekend()", ts=at(moment)) == weekend
    assert holds("not weekend()", ts=at(moment)) != weekend
    assert holds("weekend() == true", ts=at(moment)) == weekend


@pytest.mark.parametrize("condition", ["weekend()", "night()", 'time_between("01:00", "02:00")'])
@pytest.mark.parametrize("ts", [None, float("inf")])
def test_without_a_time_nothing_is_known(condition: str, ts: float | None) -> None:
    assert unknown(condition, ts=ts)


def test_local_time_is_that_of_the_shard() -> None:
    fields, _windows, order = vocabulary()
    call = row(ts=dt.datetime(2026, 6, 3, 22, 30, tzinfo=dt.UTC).timestamp())
    for offset, night in ((0, True), (-60, False), (300, True), (480, False)):
        where = Location("w", 1, 1)
        assert compile_where("night()", where, fields, order, "setup", utc_offset_min=offset)(call) == night


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ('time_between("24:00", "06:00")', "bad-time"),
        ('time_between(22, "06:00")', "bad-time"),
        ('time_between(hour, "06:00")', "bad-time"),
        ('time_between("22", "06:00")', "bad-time"),
        ('time_between("06:00", "06:00")', "time-empty"),
        ('time_between("06:00")', "argument-count"),
        ('night("06:00")', "argument-count"),
        ("weekend(ts)", "argument-count"),
        ("weekend", "unknown-name"),
        ("holiday()", "not-available"),
        ("weekend() > 3", "condition-as-value"),
        ("Night()", "word-case"),
        ("nigth()", "unknown-function"),
    ],
)
def test_what_cannot_be_asked(condition: str, code: str) -> None:
    fields, _windows, order = vocabulary()
    with pytest.raises(BundleError) as caught:
        compile_where(condition, Location("w", 1, 1), fields, order, "setup")
    assert [problem.code for problem in caught.value.problems if isinstance(problem, RuleProblem)] == [code]


def rules(folder: Path, when: str, params: str = "") -> RuleSet:
    text = rule_text(when, params=params)
    return load(write(folder, {"packs/demo/sample.yaml": text, "calendar.yaml": CALENDAR.format(holidays=HOLIDAYS)}))


def hit(found: RuleSet, moment: str) -> bool:
    rule = found.rule("sample")
    return bool(found.compile_single(rule)(row(ts=at(moment)), list(rule.params.values())))


def test_holidays(tmp_path: Path) -> None:
    asked, denied = rules(tmp_path / "a", "holiday()"), rules(tmp_path / "b", "not holiday()")
    for moment, holiday in (("2026-01-01T00:00", True), ("2026-01-01T23:59", True), ("2026-01-02T00:00", False)):
        assert hit(asked, moment) == holiday
        assert hit(denied, moment) != holiday
    # Beyond the years of the calendar nobody knows.
    for moment in ("2025-12-31T23:59", "2028-01-01T00:00"):
        assert not hit(asked, moment)
        assert not hit(denied, moment)
    assert hit(denied, "2027-12-31T23:59")


def test_the_hours_may_be_parameters(tmp_path: Path) -> None:
    found = rules(
        tmp_path, "time_between(params.from, params.to)".replace("from", "begin"), "params: {begin: 22.5, to: 6}\n"
    )
    assert hit(found, "2026-06-03T22:30")
    assert not hit(found, "2026-06-03T22:29")
    assert not hit(found, "2026-06-03T06:00")
    call, rule = row(ts=at("2026-06-03T20:00")), found.rule("sample")
    assert found.compile_single(rule)(call, [19.0, 6.0]) == (0,)
    assert found.compile_single(rule)(call, [19.0, 19.0]) == ()


def test_a_test_in_a_file_gives_ts_and_no_more(tmp_path: Path) -> None:
    tests = """\
tests:
  - name: at night on a holiday
    given: {ts: 2026-01-01T23:00:00+05:00}
    expect: hit
  - name: by day
    like: at night on a holiday
    given: {ts: 2026-01-01T12:00:00+05:00}
    expect: no_hit
"""
    text = rule_text("night() and holiday() and not weekend()") + tests
    found = load(write(tmp_path, {"packs/demo/sample.yaml": text, "calendar.yaml": CALENDAR.format(holidays=HOLIDAYS)}))
    assert all(result.passed for result in run_tests(found))


def test_an_explanation_says_the_local_time(tmp_path: Path) -> None:
    found = rules(tmp_path, "night() and time_between(params.a, params.b) and holiday()", "params: {a: 1, b: 2}\n")
    terms = found.explain("sample", row(ts=at("2026-01-01T17:00"))).terms
    assert [(term.text, term.held) for term in terms] == [
        ("night()", False),
        ("time_between(params.a, params.b)", False),
        ("holiday()", True),
    ]
    assert terms[0].values == (("local time", "Thu 2026-01-01 17:00"),)
    assert terms[1].values == (("local time", "Thu 2026-01-01 17:00"), ("params.a", 1.0), ("params.b", 2.0))
    assert found.explain("sample", row(ts=None)).terms[0].values == (("local time", None),)


def test_an_explanation_names_the_holiday(tmp_path: Path) -> None:
    found = rules(tmp_path, "holiday() and not night()")
    on, off = row(ts=at("2026-01-01T17:00")), row(ts=at("2026-01-04T17:00"))
    assert found.explain("sample", on).terms[0].values[1:] == (("holiday", "New Year"),)
    assert found.explain("sample", on, language="ru").terms[0].values[1:] == (("holiday", "Новый год"),)
    assert found.explain("sample", off).terms[0].values[1:] == ()
    assert found.explain("sample", row(ts=float("nan"))).terms[0].values[1:] == ()


@pytest.mark.parametrize(
    ("today", "years"),
    [
        ("2026-05-01", ()),
        ("2027-09-30", ()),
        ("2027-10-01", (2028,)),
        ("2028-01-01", (2028,)),
        ("2028-11-01", (2028, 2029)),
    ],
)
def test_a_calendar_that_runs_out(tmp_path: Path, today: str, years: tuple[int, ...]) -> None:
    write(tmp_path, {"calendar.yaml": CALENDAR.format(holidays=HOLIDAYS)})
    found = check_calendar(tmp_path, at(f"{today}T00:00"))
    assert [problem.message.split()[3] for problem in found] == [str(year) for year in years]


def test_a_year_that_is_covered_and_empty_is_found_at_any_time(tmp_path: Path) -> None:
    text = CALENDAR.format(holidays=HOLIDAYS).replace("[2026, 2027]", "[2026, 2030]")
    write(tmp_path, {"calendar.yaml": text})
    found = check_calendar(tmp_path, at("2026-05-01T00:00"))
    assert [problem.message.split()[3] for problem in found] == ["2028", "2029", "2030"]


def test_without_a_calendar_or_with_a_broken_one_there_is_nothing_to_run_out(tmp_path: Path) -> None:
    write(tmp_path, {})
    assert check_calendar(tmp_path, at("2035-01-01T00:00")) == []
    write(tmp_path, {"calendar.yaml": "country: KZ\n"})
    assert check_calendar(tmp_path, at("2035-01-01T00:00")) == []


def test_moments_beyond_all_calendars_are_shown_as_they_are() -> None:
    assert shown_moment(1e300, 0.0) == "1e+300"
    assert time_of_day("07:05") == 25_500.0
    assert time_of_day("7:05") is None


def test_a_calendar_decides_the_digest(tmp_path: Path) -> None:
    with_days = rules(tmp_path / "a", "night()")
    without = load_one(tmp_path / "b", rule_text("night()"))
    assert with_days.digest != without.digest


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("years: [2026, 2027]", "years: [2027, 2026]"), "out-of-range"),
        (("years: [2026, 2027]", "years: [2026]"), "holiday-year"),
        (("years: [2026, 2027]", "years: [all]"), "not-a-number"),
        (("utc_offset_min: 300", "utc_offset_min: 5000"), "out-of-range"),
        (("2027-12-16", "2027-13-16"), "not-a-date"),
        (("country: KZ", "country: kz"), "bad-name"),
        (("country: KZ", "country: КZ"), "bad-name"),
        (("2027-12-16", "2026-01-01"), "entry-twice"),
        (("source: made up\n", ""), "missing-key"),
        (("name: {en", "nme: {en"), "unknown-key"),
        (("country: KZ", "country: Kazakhstan"), "text-too-long"),
    ],
)
def test_a_broken_calendar_is_refused(tmp_path: Path, change: tuple[str, str], code: str) -> None:
    text = CALENDAR.format(holidays=HOLIDAYS)
    assert change[0] in text
    folder = write(tmp_path, {"calendar.yaml": text.replace(*change)})
    assert code in {problem.code for problem in problems(folder) if isinstance(problem, RuleProblem)}


@cache
def shipped() -> dict[dt.date, str]:
    local, sheet, _raw = read_calendar(RULES)
    assert not sheet.problems
    return {dt.date(1970, 1, 1) + dt.timedelta(days=day): name.get("en") for day, name in local.holidays.items()}


def test_the_shipped_calendar_is_that_of_kazakhstan() -> None:
    local, _sheet, _raw = read_calendar(RULES)
    assert local.utc_offset_min == 300
    assert {date.year for date in shipped()} == {2026, 2027}
    for name in local.holidays.values():
        assert tuple(language for language, _text in name.versions) == LANGUAGES
    fixed = [
        (1, 1),
        (1, 2),
        (1, 7),
        (3, 8),
        (3, 21),
        (3, 22),
        (3, 23),
        (5, 1),
        (5, 7),
        (5, 9),
        (7, 6),
        (10, 25),
        (12, 16),
    ]
    for year in (2026, 2027):
        assert {dt.date(year, month, day) for month, day in fixed} <= set(shipped())
        assert [name for date, name in shipped().items() if date.year == year].count("Kurban Ait") == 1
        assert dt.date(year, 8, 30) not in shipped()  # Constitution Day moved to 15 March
    assert dt.date(2027, 3, 15) in shipped()
    assert dt.date(2026, 3, 15) not in shipped()


def test_a_holiday_on_a_weekend_gives_the_next_working_day_off() -> None:
    moving = {date for date, name in shipped().items() if name not in ("Kurban Ait", "Orthodox Christmas")}
    plain = {date for date in moving if not shipped()[date].startswith("day off")}
    expected = set(plain)
    for date in sorted(plain):
        if date.weekday() >= 5:
            day = date
            while day in expected or day.weekday() >= 5:
                day += dt.timedelta(days=1)
            expected.add(day)
    assert moving == expected
