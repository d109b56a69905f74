"""Which days are holidays in a simulated country: those of rules/calendar.yaml, which rules go by too."""

from __future__ import annotations

from antifraud.rulekit import read_calendar
from antifraud.settings.directories import data_dir
from antifraud.simulator.scenario import Settings


def holidays_of(settings: Settings) -> frozenset[int]:
    """The holidays, as days since 1970; none where the scenario says nothing of them. A bad calendar has none."""
    if settings.rhythm.holiday is None:
        return frozenset()
    found, _sheet, _raw = read_calendar(data_dir("rules"), settings.utc_offset_min)
    return frozenset(found.holidays)
