"""Local time as rules speak of it, and rules/calendar.yaml: which days are holidays.

Local time is a fixed distance from UTC, as everywhere in the product: a time-zone database that changes under an
engine would change its decisions. Days are counted from 1970-01-01, seconds of the day from midnight.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from antifraud.domain import lookalikes
from antifraud.rulekit import form
from antifraud.rulekit.documents import Node, Scalar, Sheet, parse_sheet, read_sheet
from antifraud.rulekit.messages import Message
from antifraud.rulekit.texts import LocalText

NIGHT: Final = (22 * 3_600.0, 6 * 3_600.0)
"""What ``night()`` means where nothing else is said: from 22:00 to 06:00."""

CALENDAR: Final = "calendar.yaml"
KEYS: Final = ("country", "source", "utc_offset_min", "years", "holidays")
DEFAULT_OFFSET_MIN: Final = 300
LEAST_OFFSET_MIN: Final = -720
MOST_OFFSET_MIN: Final = 840
MOST_HOLIDAYS: Final = 2_000
_ENTRY_KEYS: Final = ("date", "name")
_MAX_BYTES: Final = 256 * 1024
MAX_NODES: Final = 20_000
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_EPOCH: Final = dt.date(1970, 1, 1)
_DAY: Final = 86_400.0
_PUBLISHED: Final = 10
"""The month from which on the holidays of the next year can be known."""
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class LocalTime(msgspec.Struct, frozen=True):
    """What rules need to know of a country's time.

    ``utc_offset_min`` minutes ahead of UTC. ``holidays`` day → name, known from day ``first`` until before ``after``;
    ``known`` says whether there is a calendar at all.
    """

    utc_offset_min: int = DEFAULT_OFFSET_MIN
    holidays: Mapping[int, LocalText] = {}
    first: int = 0
    after: int = 0

    @property
    def known(self) -> bool:
        """Whether somebody has said which days are holidays."""
        return self.after > self.first

    @property
    def offset_s(self) -> float:
        """Seconds that local time is ahead of UTC."""
        return self.utc_offset_min * 60.0

    @property
    def last_year(self) -> int:
        """The last year that the calendar covers."""
        return (_EPOCH + dt.timedelta(self.after - 1)).year

    def holiday(self, ts: object) -> LocalText | None:
        """What the holiday is called on whose local day ``ts`` (epoch seconds) lies; None on any other day."""
        if not isinstance(ts, (int, float)) or not math.isfinite(ts):
            return None
        return self.holidays.get(int((ts + self.offset_s) // _DAY))

    def unentered(self, today: float) -> tuple[int, ...]:
        """The years without any holiday that should have some by now, the epoch second ``today``.

        The current one, the next one from 1 October on (by then governments have published theirs), and whatever the
        calendar says that it covers.
        """
        day = _EPOCH + dt.timedelta(days=(today + self.offset_s) // _DAY)
        wanted = {day.year, day.year + 1 if day.month >= _PUBLISHED else day.year}
        if self.known:
            covered = range((_EPOCH + dt.timedelta(self.first)).year, (_EPOCH + dt.timedelta(self.after)).year)
            wanted.update(year for year in covered if year >= day.year)
        entered = {(_EPOCH + dt.timedelta(number)).year for number in self.holidays}
        return tuple(sorted(wanted - entered))


def time_of_day(text: str) -> float | None:
    """``22:30`` as seconds of the day; None when it is no time."""
    found = _TIME.match(text)
    return None if found is None else int(found[1]) * 3_600.0 + int(found[2]) * 60.0


def shown_moment(ts: float, offset_s: float) -> str:
    """The local time of ``ts`` for people: ``Thu 2026-01-01 17:00``."""
    try:
        moment = dt.datetime.fromtimestamp(ts + offset_s, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return f"{ts:g}"
    return f"{_DAYS[moment.weekday()]} {moment:%Y-%m-%d %H:%M}"


def read_calendar(rules_dir: Path, utc_offset_min: int | None = None) -> tuple[LocalTime, Sheet, bytes]:
    """The calendar of a rules directory, its sheet with what is wrong with it, and its bytes.

    Without a calendar.yaml nothing is known of holidays. ``utc_offset_min`` takes the place of the file's own, which
    holds where nobody says otherwise: for checking rules at a desk.
    """
    path = rules_dir / CALENDAR
    if not os.path.lexists(path):  # a link that leads nowhere is a mistake, not a directory without a calendar
        offset = DEFAULT_OFFSET_MIN if utc_offset_min is None else utc_offset_min
        return LocalTime(offset), Sheet(str(path)), b""
    sheet, raw = read_sheet(path, limit=_MAX_BYTES)
    root = parse_sheet(sheet, max_nodes=MAX_NODES)
    found = _calendar(sheet, root) if root is not None else LocalTime()
    if utc_offset_min is not None:
        found = msgspec.structs.replace(found, utc_offset_min=utc_offset_min)
    return found, sheet, raw


def _calendar(sheet: Sheet, root: Node) -> LocalTime:
    found = form.keys(sheet, root, "this calendar", KEYS, KEYS)
    if len(found) < len(KEYS):
        return LocalTime()
    country = form.text(sheet, found["country"][1], "country", 2)
    if country is not None and not re.fullmatch("[A-Z]{2}", country):
        hint = lookalikes.advice(country) or "a country is two capital Latin letters, such as KZ"
        sheet.at(found["country"][1], Message.BAD_NAME, hint=hint, name=country, what="a country")
    form.text(sheet, found["source"][1], "source", 2_000)
    offset = form.number(sheet, found["utc_offset_min"][1], "utc_offset_min")
    if offset is not None and not (LEAST_OFFSET_MIN <= offset <= MOST_OFFSET_MIN and offset == int(offset)):
        low, high = LEAST_OFFSET_MIN, MOST_OFFSET_MIN
        sheet.at(found["utc_offset_min"][1], Message.OUT_OF_RANGE, what="utc_offset_min", low=low, high=high)
    years = _years(sheet, found["years"][1])
    holidays: dict[int, LocalText] = {}
    lines: dict[int, int] = {}
    for item in form.items(sheet, found["holidays"][1], "holidays", MOST_HOLIDAYS):
        entry = form.keys(sheet, item, "a holiday", _ENTRY_KEYS, _ENTRY_KEYS)
        if len(entry) < len(_ENTRY_KEYS):
            continue
        name = form.as_local_text(sheet, entry["name"][1], "name", 200)
        date = _date(sheet, entry["date"][1])
        if date is None:
            continue
        day = (date - _EPOCH).days
        if date.year not in years:
            sheet.at(entry["date"][1], Message.HOLIDAY_YEAR, value=date.isoformat())
        elif day in holidays:
            sheet.at(entry["date"][1], Message.ENTRY_TWICE, value=date.isoformat(), line=lines[day])
        else:
            holidays[day], lines[day] = name, item.line
    if offset is None or not years:
        return LocalTime()
    first, after = dt.date(min(years), 1, 1), dt.date(max(years) + 1, 1, 1)
    return LocalTime(int(offset), holidays, (first - _EPOCH).days, (after - _EPOCH).days)


def _years(sheet: Sheet, node: Node) -> range:
    """The years that the calendar covers: [first, last], or one alone."""
    years = [form.number(sheet, item, "a year") for item in form.items(sheet, node, "years", 2)]
    whole = [int(year) for year in years if year is not None]
    if len(whole) < len(years) or not whole:
        return range(0)
    if any(not 1970 <= year <= 2999 for year in whole) or whole[0] > whole[-1]:
        sheet.at(node, Message.OUT_OF_RANGE, what="years", low="1970", high="2999, the first year first")
        return range(0)
    return range(whole[0], whole[-1] + 1)


def _date(sheet: Sheet, node: Node) -> dt.date | None:
    if isinstance(node, Scalar) and _DATE.match(node.value.strip()):
        try:
            return dt.date.fromisoformat(node.value.strip())
        except ValueError:
            pass
    sheet.at(node, Message.NOT_A_DATE, what="date")
    return None
