"""A calendar that runs out: said by lint and by doctor before rules that ask for holidays fall silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.cli.doctor import _calendar
from tests.unit.rulekit.workbench import CALENDAR, rule_text, write

from .test_commands import antifraud

YEAR = "\n  - {date: 2027-01-01, name: New Year}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    calendar = CALENDAR.format(holidays=YEAR).replace("[2026, 2027]", "[2027, 2027]")
    return write(tmp_path, {"packs/demo/sample.yaml": rule_text("holiday()"), "calendar.yaml": calendar})


def test_lint_warns_by_its_day(folder: Path) -> None:
    assert "nothing wrong" in antifraud("lint", str(folder), "--today", "2027-09-30", "--strict").stdout
    done = antifraud("lint", str(folder), "--today", "2027-10-01")
    assert done.returncode == 0
    assert "calendar.yaml:4:8: warning: no holiday of 2028 is entered here" in done.stdout
    assert antifraud("lint", str(folder), "--today", "2027-10-01", "--strict").returncode == 1


def test_doctor_warns(tmp_path: Path) -> None:
    past = CALENDAR.format(holidays=YEAR.replace("2027", "2020")).replace("[2026, 2027]", "[2020, 2020]")
    ended, none, broken = (tmp_path / name for name in ("ended", "none", "broken"))
    write(ended, {"calendar.yaml": past})
    write(none, {})
    write(broken, {"calendar.yaml": "country: KZ\n"})
    (finding,) = _calendar(ended)
    assert (finding.area, finding.state) == ("calendar", "warn")
    assert str(ended / "calendar.yaml") in finding.hint
    (finding,) = _calendar(none)
    assert finding.state == "ok"
    assert list(_calendar(broken)) == [], "that is said with the rules"
