"""One line of a CDR file to the events of one call. No I/O.

A record is one line: a quote that never ends damages its own line only, never what follows it. A complete record
becomes setup, answer (if answered) and release, each with its own time.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import math
from collections.abc import Sequence
from typing import Final

import msgspec

from antifraud.domain import CallEvent, EventError, EventKind, Quarantined, UsageError, check_event
from sip_adapters.cdr.mapping import Column, MappingFile
from sip_adapters.sip import call_id_text, cause_of, clean, is_plain, quarantined

SOURCE: Final = "cdr"
MAX_LINE: Final = 65_536
_CLOCK_SLACK_S: Final = 1.5
_BOM: Final = b"\xef\xbb\xbf"
_NO_TIME: Final = ("", "0", "0.0", "null", "none", "-", "n/a")
_UNIT: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


class Rows:
    """Reads the lines of one file. ``header`` is its first line where the mapping says that it has one.

    Raises UsageError when the header lacks a column that the mapping needs.
    """

    def __init__(self, mapping: MappingFile, header: bytes | None = None) -> None:
        self._mapping = mapping
        names = list(mapping.columns)
        if mapping.header:
            names = [name.strip() for name in self._split(header or b"")]
            missing = [name for name in mapping.needed() if name not in names]
            if missing:
                raise UsageError(
                    f"the header line has no column {', '.join(missing)} (mapping {mapping.name})",
                    hint=f"it has {', '.join(clean(name)[:40] for name in names[:30])}; choose another mapping",
                )
        self._at = {name: at for at, name in reversed(list(enumerate(names)))}
        self._least = 1 + max((self._at[name] for name in mapping.needed()), default=0)

    def events(self, line: bytes) -> list[CallEvent] | Quarantined | None:
        """The events of ``line``; what is wrong with it; None for an empty line. Never raises."""
        if not line.strip(b" \t\r\n\x00"):
            return None
        if len(line) > MAX_LINE:
            return quarantined("line-too-long", f"more than {MAX_LINE} bytes", SOURCE, line)
        try:
            return self._events(line)
        except EventError as error:
            return quarantined(error.code, error.detail, SOURCE, line)

    def _split(self, line: bytes) -> list[str]:
        mapping = self._mapping
        text = line.removeprefix(_BOM).rstrip(b"\r\n").decode(mapping.encoding, "replace")
        try:
            rows = list(csv.reader([text], delimiter=mapping.delimiter, quotechar=mapping.quote, strict=True))
        except csv.Error as error:
            code = "quote-unbalanced" if text.count(mapping.quote) % 2 else "csv-garbled"
            raise EventError(code, str(error)) from None
        return rows[0] if len(rows) == 1 else []

    def _events(self, line: bytes) -> list[CallEvent]:
        cells = self._split(line)
        if len(cells) < self._least:
            raise EventError("columns-missing", f"{len(cells)} columns, the mapping needs {self._least}")
        setup_ts, answer_ts, release_ts = self._times(cells)
        texts = {name: self._text(cells, column) for name, column in self._mapping.fields.items()}
        texts = {name: text for name, text in texts.items() if text}
        call_id = texts.pop("call_id", "")
        if not call_id:
            call_id = "cdr-" + hashlib.blake2b(line.strip(), digest_size=12).hexdigest()
        elif not is_plain(call_id) or len(call_id) > 200:
            call_id = call_id_text(call_id.encode("utf-8", "replace").decode("latin-1"))
        bare = CallEvent(kind=EventKind.SETUP, call_id=call_id, ts=setup_ts, source=SOURCE)
        setup = msgspec.structs.replace(bare, **{**self._mapping.constant, **texts})
        events = [check_event(setup)]
        if answer_ts is not None:
            events.append(check_event(msgspec.structs.replace(setup, kind=EventKind.ANSWER, ts=answer_ts)))
        if release_ts is not None:
            connected = release_ts if answer_ts is None else answer_ts
            release = msgspec.structs.replace(
                setup,
                kind=EventKind.RELEASE,
                ts=release_ts,
                ring_s=round(connected - setup_ts, 6),
                talk_s=0.0 if answer_ts is None else round(release_ts - answer_ts, 6),
                pdd_s=self._duration(cells, "pdd"),
                cause=self._cause(cells),
            )
            events.append(check_event(release))
        return events

    def _cell(self, cells: Sequence[str], column: Column | None) -> str:
        at = -1 if column is None else self._at.get(column.name, -1)
        return cells[at].strip() if 0 <= at < len(cells) else ""

    def _text(self, cells: Sequence[str], column: Column) -> str:
        text = clean(self._cell(cells, column))
        if not text and not column.optional and column.name != self._mapping.fields["caller_raw"].name:
            raise EventError("value-missing", f"column {column.name} is empty")
        return text

    def _times(self, cells: Sequence[str]) -> tuple[float, float | None, float | None]:
        """(setup, answer, release) in epoch seconds; what no column says follows from the durations."""
        times = self._mapping.times
        setup = self._time(cells, times["setup"])
        if setup is None:
            raise EventError("time-missing", f"column {times['setup'].name} holds no time")
        answer = self._time(cells, times.get("answer"))
        release = self._time(cells, times.get("release"))
        total, talk, ring = (self._duration(cells, name) for name in ("total", "talk", "ring"))
        if release is None and total is not None:
            release = setup + total
        if answer is None and talk:
            if ring is not None:
                answer = setup + ring
            elif release is not None:
                answer = release - talk
            else:
                raise EventError("times-inconsistent", f"talked for {talk:g} s, but nothing says when")
        if release is None and answer is not None and talk is not None:
            release = answer + talk
        answer = self._not_before(setup, answer, "answer")
        release = self._not_before(setup if answer is None else answer, release, "release")
        return setup, answer, release

    @staticmethod
    def _not_before(earlier: float, later: float | None, what: str) -> float | None:
        """``later``, moved up where it lies before ``earlier`` by no more than the rounding to whole seconds."""
        if later is None or later >= earlier:
            return later
        if later < earlier - _CLOCK_SLACK_S:
            raise EventError("times-inconsistent", f"{what} lies {earlier - later:.0f} s before what precedes it")
        return earlier

    def _time(self, cells: Sequence[str], column: Column | None) -> float | None:
        text = self._cell(cells, column)
        if text.lower() in _NO_TIME or text.startswith("0000-00-00"):
            return None
        form = self._mapping.time_format
        try:
            if form in ("epoch", "epoch_ms"):
                number = float(text[:40])
                seconds = number / 1000.0 if form == "epoch_ms" else number
            else:
                moment = dt.datetime.fromisoformat(text) if form == "iso" else dt.datetime.strptime(text, form)  # noqa: DTZ007
                aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=self._mapping.zone)
                seconds = aware.timestamp()
        except (ValueError, OverflowError, OSError):
            seconds = math.nan
        if not math.isfinite(seconds):
            assert column is not None, "no column, no text"
            raise EventError("time-garbled", f"column {column.name}: {clean(text[:40])!r} is no time ({form})")
        return seconds or None

    def _duration(self, cells: Sequence[str], name: str) -> float | None:
        column = self._mapping.durations.get(name)
        text = self._cell(cells, column)
        if not text:
            return None
        try:
            if self._mapping.unit == "hms":
                seconds = 0.0
                for piece in text.split(":")[:3]:
                    seconds = seconds * 60 + float(piece)
            else:
                seconds = float(text[:40]) * _UNIT[self._mapping.unit]
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            raise EventError("duration-garbled", f"{name}: {clean(text[:40])!r} is no duration")
        return seconds

    def _cause(self, cells: Sequence[str]) -> int | None:
        text = self._cell(cells, self._mapping.cause)
        if not text:
            return None
        if self._mapping.cause_kind == "words":
            return self._mapping.cause_words.get(text.upper())
        if not (text.isascii() and text.isdigit()) or len(text) > 4:
            raise EventError("cause-garbled", f"{clean(text[:40])!r} is no cause")
        number = int(text)
        if self._mapping.cause_kind == "q850":
            return number
        if number < 300:
            return 16 if number >= 200 else None
        return cause_of(number)
