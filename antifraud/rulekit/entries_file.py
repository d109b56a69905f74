"""The CSV file beside a list: a header, then one entry a line, up to five millions of them, read once.

Columns: ``value`` (or ``from`` and ``to`` for ranges), and if you like ``until``, ``owner``, ``source``, ``note``;
separated by commas or semicolons, quoted as RFC 4180 says, never over several lines. Only the spans and ends of the
entries are kept in memory; who answers for an entry is read again from its line when somebody asks (``read_lines``).
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from antifraud.rulekit.documents import MAX_PROBLEMS_A_FILE, Sheet
from antifraud.rulekit.entries import FOREVER, plain_entry, plain_range
from antifraud.rulekit.form import end_of
from antifraud.rulekit.messages import Message, did_you_mean
from antifraud.rulekit.sorted_entries import Gathering

COLUMNS: Final = ("value", "from", "to", "until", "owner", "source", "note")
WRITTEN: Final = ("value", "until", "owner", "source", "note")
"""The columns of a file that we write ourselves."""
MAX_ROWS: Final = 5_000_000
MAX_BYTES: Final = 512 * 1024 * 1024
MAX_LINE: Final = 4_096
LIMITS: Final = {"value": 256, "from": 64, "to": 64, "until": 64, "owner": 128, "source": 500, "note": 500}
FEW: Final = 500_000
"""The most trunks and user agents: a list of them is looked through, not computed with."""

_BLOCK: Final = 1 << 20
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]|\r(?!\n)")
_PLAIN: Final = {
    "numbers": re.compile(r"\+[1-9][0-9]{4,14}\Z"),
    "prefixes": re.compile(r"\+[1-9][0-9]{0,13}\Z"),
    "ranges": re.compile(r"\+[1-9][0-9]{4,14}-\+[1-9][0-9]{4,14}\Z"),
}
"""Entries as calls carry them, which need no second look."""
_SPREADSHEET: Final = re.compile(r"[0-9][0-9., ]*([eE][+-]?[0-9]+)?\Z")
_BOM: Final = b"\xef\xbb\xbf"


class Hashing(Protocol):
    """What takes bytes in, such as a hash."""

    def update(self, data: bytes, /) -> None:
        """Take ``data``."""


class Writing(Protocol):
    """What takes texts, such as a file."""

    def write(self, text: str, /) -> object:
        """Take ``text``."""


class Row(msgspec.Struct, frozen=True):
    """One entry as it stands in a file: the plain value, its end, and who answers for it (empty: the list's)."""

    plain: str
    ends: float
    line: int
    owner: str = ""
    source: str = ""
    note: str = ""


def most_rows(kind: str) -> int:
    """How many entries a file may have."""
    return MAX_ROWS if kind in ("numbers", "prefixes", "ranges") else FEW


class _RowSheet(Sheet):
    """A sheet of a file that is not kept: only the line at hand can be shown."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.at_hand: tuple[int, str] = (0, "")

    def line(self, number: int) -> str:
        """The text of the line that is being read."""
        return self.at_hand[1] if number == self.at_hand[0] else ""


class _Layout(msgspec.Struct, frozen=True):
    """What the header says: the separator and the place of each column."""

    separator: str
    width: int
    places: dict[str, int]


def read_entries(path: Path, kind: str, into: Gathering, digest: Hashing | None = None) -> Sheet:
    """Read ``path`` into ``into``; the sheet has what is wrong with it. ``digest`` is given every byte."""
    sheet = _RowSheet(str(path))
    _Reader(sheet, kind, lambda row: into.add(row.plain, row.ends, row.line), into).read(_lines(path, sheet, digest))
    return sheet


def copy_rows(
    path: Path, kind: str, out: Writing, without: bytearray, watch: Hashing | None = None
) -> tuple[int, Sheet]:
    """Write the rows of ``path`` to ``out`` as lines of the columns ``WRITTEN``, and how many they were.

    ``without`` has a 1 at the number of each line that is left out, as far as it goes. Rows that stand so already are
    copied as they are, unchecked but for their value. The sheet has what is wrong with ``path``; ``watch`` is given
    every byte that is read.
    """
    sheet = _RowSheet(str(path))
    writer = csv.writer(out, lineterminator="\n")
    copied = 0

    def left_out(number: int) -> bool:
        return number < len(without) and without[number] == 1

    def took(row: Row) -> int:
        nonlocal copied
        if not left_out(row.line):
            copied += 1
            writer.writerow((row.plain, _end_text(row.ends), row.owner, row.source, row.note))
        return 0

    def unlike() -> Iterator[tuple[int, str]]:
        nonlocal copied
        alike = False
        plain, commas = _PLAIN.get(kind), len(WRITTEN) - 1
        for number, line in _lines(path, sheet, watch):
            if number == 1:
                alike = plain is not None and line == ",".join(WRITTEN)
            elif alike and '"' not in line and len(line) <= MAX_LINE and line.count(",") == commas:
                value = line.partition(",")[0]
                if plain is not None and plain.match(value) and (kind != "ranges" or _in_order(value)):
                    if not left_out(number):
                        copied += 1
                        out.write(f"{line}\n")
                    continue
            yield number, line

    _Reader(sheet, kind, took, None).read(unlike())
    return copied, sheet


def _end_text(ends: float) -> str:
    return "" if ends == FOREVER else dt.datetime.fromtimestamp(ends, dt.UTC).isoformat()


def first_rows(path: Path, kind: str, count: int) -> list[Row]:
    """The first sound rows, at most ``count``, with all that they say."""
    sheet = _RowSheet(str(path))
    rows: list[Row] = []

    def took(row: Row) -> int:
        rows.append(row)
        return 0

    def some() -> Iterator[tuple[int, str]]:
        for line in _lines(path, sheet, None):
            if len(rows) >= count:
                return
            yield line

    _Reader(sheet, kind, took, None).read(some())
    return rows


def read_lines(path: Path, kind: str, wanted: Iterable[int]) -> list[Row]:
    """The sound rows on these lines, with all that they say; nothing of a file that has changed or gone."""
    lines = set(wanted)
    last = max(lines, default=0)
    sheet = _RowSheet(str(path))
    rows: list[Row] = []

    def took(row: Row) -> int:
        rows.append(row)
        return 0

    def chosen() -> Iterator[tuple[int, str]]:
        for number, line in _lines(path, sheet, None):
            if number > last:
                return
            if number == 1 or number in lines:
                yield number, line

    _Reader(sheet, kind, took, None).read(chosen())
    return rows


def note_twice(path: Path, twice: Mapping[int, tuple[int, str]], sheet: Sheet, where: str = "") -> None:
    """Note in ``sheet`` that entries of ``path`` are given a second time: line → (line of the first, the entry).

    ``where``: the file in which they are given first, when it is another one.
    """
    shown = _RowSheet(str(path))
    last = max(twice, default=0)
    for number, text in _lines(path, shown, None):
        if number > last:
            break
        if number in twice:
            shown.at_hand = (number, text)
            line, value = twice[number]
            hint = f"it is on line {line} of {where}: take it out of one of the two" if where else ""
            shown.add(Message.ENTRY_TWICE, number, 1, max(1, len(text)), hint=hint, value=value, line=line)
    sheet.problems += shown.problems


def _lines(path: Path, sheet: _RowSheet, digest: Hashing | None) -> Iterator[tuple[int, str]]:
    """(number, text) of each line; ends with a problem noted where the file is no text or too much of it."""
    number = total = 0
    rest = b""
    try:
        if not path.is_file():
            sheet.add(Message.FILE_UNREADABLE, reason="it is no file" if path.exists() else "it does not exist")
            return
        with path.open("rb") as stream:
            while True:
                block = stream.read(_BLOCK)
                if digest is not None:
                    digest.update(block)
                total += len(block)
                if total > MAX_BYTES:
                    sheet.add(Message.CSV_TOO_BIG, number + 1, limit=MAX_BYTES, what="bytes")
                    return
                # Whole lines only: a character of several bytes is never cut.
                cut = block.rfind(b"\n") + 1 if block else 0
                part, rest = (rest + block[:cut], block[cut:]) if cut else (b"" if block else rest, rest + block)
                if not part:
                    if not block:
                        return
                    if len(rest) > MAX_LINE * 4:
                        sheet.add(Message.CSV_LINE, number + 1, 1, limit=MAX_LINE)
                        return
                    continue
                if number == 0:
                    part = part.removeprefix(_BOM)
                text = _text(part, number, sheet)
                if text is None:
                    return
                lines = text.split("\n")
                if block and lines[-1] == "":
                    lines.pop()
                for line in lines:
                    number += 1
                    yield number, line
                if not block:
                    # A number that is cut short is another number, and nobody else can tell.
                    sheet.add(Message.CSV_CUT, number, len(lines[-1]) + 1)
                    return
    except OSError as error:
        sheet.add(Message.FILE_UNREADABLE, reason=error.strerror or type(error).__name__)


def _text(part: bytes, before: int, sheet: _RowSheet) -> str | None:
    try:
        text = part.decode("utf-8")
    except UnicodeDecodeError as error:
        line = before + part.count(b"\n", 0, error.start) + 1
        start = part.rfind(b"\n", 0, error.start) + 1
        column = len(part[start : error.start].decode("utf-8", "replace")) + 1
        sheet.add(Message.FILE_NOT_UTF8, line, column, offset=error.start - start + 1)
        return None
    found = _CONTROL.search(text)
    if found is not None:
        line = before + text.count("\n", 0, found.start()) + 1
        start = text.rfind("\n", 0, found.start()) + 1
        sheet.add(Message.CONTROL_CHARACTER, line, found.start() - start + 1, number=f"{ord(found[0]):04X}")
        return None
    return text.replace("\r\n", "\n")


class _Reader:
    def __init__(self, sheet: _RowSheet, kind: str, take: Callable[[Row], int], quick: Gathering | None) -> None:
        self._sheet, self._kind, self._take = sheet, kind, take
        self._quick = quick if kind in _PLAIN else None
        self._most = most_rows(kind)
        self._ends: dict[str, float] = {}

    def read(self, lines: Iterator[tuple[int, str]]) -> None:
        """Read the header, then every row."""
        sheet = self._sheet
        layout: _Layout | None = None
        rows = 0
        numbers = self._kind != "ranges"
        quick, plain = self._quick, _PLAIN.get(self._kind, _PLAIN["numbers"]).match
        for number, line in lines:
            if layout is None:
                sheet.at_hand = (number, line)
                layout = self._header(line)
                if layout is None:
                    return
                value, until = layout.places.get("value", -1), layout.places.get("until", -1)
                if "from" in layout.places:
                    quick = None
                continue
            if not line or line.isspace():
                continue
            rows += 1
            if rows > self._most:
                sheet.add(Message.CSV_TOO_BIG, number, limit=self._most, what="entries")
                return
            if quick is not None and '"' not in line and len(line) <= MAX_LINE:
                # By far the most lines: an entry as calls carry it, and an end that was read before.
                fields = line.split(layout.separator)
                if len(fields) == layout.width and plain(fields[value]) and (numbers or _in_order(fields[value])):
                    ends = self._ends.get(fields[until]) if until >= 0 else FOREVER
                    if ends is not None and max(map(len, fields)) <= 128:
                        quick.add(fields[value], ends, number)
                        continue
            sheet.at_hand = (number, line)
            self._row(number, line, layout)
            if len(sheet.problems) >= MAX_PROBLEMS_A_FILE:
                return
        if layout is None and not sheet.problems:
            sheet.add(Message.CSV_EMPTY)

    def _header(self, line: str) -> _Layout | None:
        separator = ";" if line.count(";") > line.count(",") else ","
        fields = self._fields(1, line, separator)
        if fields is None:
            return None
        known = [name for name in COLUMNS if name not in ("from", "to") or self._kind == "ranges"]
        places: dict[str, int] = {}
        for at, (field, column) in enumerate(fields):
            name = field.strip().lower()
            if name not in known:
                hint = did_you_mean(name, known, f"known columns: {', '.join(known)}")
                self._note(Message.CSV_COLUMN, 1, column, field, hint=hint, name=name or "an empty text", known="")
            elif name in places:
                self._note(Message.DUPLICATE_KEY, 1, column, field, name=name, line=1)
            places.setdefault(name, at)
        if "value" not in places and not {"from", "to"} <= places.keys():
            self._sheet.add(Message.CSV_HEADER, 1, 1, name="value", known=", ".join(known))
        return None if self._sheet.problems else _Layout(separator, len(fields), places)

    def _row(self, number: int, line: str, layout: _Layout) -> None:
        fields = self._fields(number, line, layout.separator)
        if fields is None:
            return
        if len(fields) != layout.width:
            self._sheet.add(Message.CSV_FIELDS, number, 1, len(line), found=len(fields), wanted=layout.width)
            return
        texts: dict[str, tuple[str, int]] = {}
        for name, at in layout.places.items():
            text, column = fields[at]
            texts[name] = (text.strip(), column)
            if len(text) > LIMITS[name]:
                self._note(Message.TEXT_TOO_LONG, number, column, text, what=name, length=len(text), limit=LIMITS[name])
                return
        plain = self._plain(number, texts)
        ends = self._end(number, *texts.get("until", ("", 1)))
        if plain is None or ends is None:
            return
        owner, source, note = (texts.get(name, ("", 0))[0] for name in ("owner", "source", "note"))
        earlier = self._take(Row(plain, ends, number, owner, source, note))
        if earlier:
            shown = f"line {earlier}" if earlier > 0 else f"line {-earlier} of the list file"
            _, column = texts.get("value", texts.get("from", ("", 1)))
            self._note(
                Message.ENTRY_TWICE,
                number,
                column,
                plain,
                value=plain,
                line=earlier,
                hint=f"it was first given on {shown}",
            )

    def _plain(self, number: int, texts: dict[str, tuple[str, int]]) -> str | None:
        value, column = texts.get("value", ("", 1))
        low, high = texts.get("from", ("", 1)), texts.get("to", ("", 1))
        if low[0] or high[0]:
            if value:
                self._note(
                    Message.ENTRY_NOT_RANGE, number, column, value, value=value, hint="give value, or from and to"
                )
                return None
            plain = plain_range(low[0], high[0])
            value, column = f"{low[0]}-{high[0]}", low[1]
        elif not value:
            self._sheet.add(Message.NO_VALUE, number, column, what="value")
            return None
        else:
            plain = plain_entry(self._kind, value)
        if isinstance(plain, str):
            return plain
        hint = ""
        if self._kind not in ("trunks", "user_agents") and _SPREADSHEET.match(value):
            hint = "write it in full with +; a spreadsheet drops the + of a number: format the column as text first"
        self._note(plain, number, column, value, hint=hint, value=value)
        return None

    def _end(self, number: int, text: str, column: int) -> float | None:
        if not text:
            self._ends[""] = FOREVER
            return FOREVER
        ends = self._ends.get(text)
        if ends is None:
            ends = end_of(text)
            if ends is None:
                self._note(Message.NOT_A_DATE, number, column, text, what="until")
            elif len(self._ends) < 100_000:
                self._ends[text] = ends
        return ends

    def _fields(self, number: int, line: str, separator: str) -> list[tuple[str, int]] | None:
        """(text, column) of each field; None with the problem noted."""
        if len(line) > MAX_LINE:
            self._sheet.add(Message.CSV_LINE, number, 1, limit=MAX_LINE)
            return None
        fields: list[tuple[str, int]] = []
        at = 0
        while True:
            if line.startswith('"', at):
                text, stop = _quoted(line, at + 1)
                if stop < 0 or (stop < len(line) and line[stop] != separator):
                    self._sheet.add(Message.CSV_QUOTE, number, at + 1, max(1, len(line) - at))
                    return None
                fields.append((text, at + 2))
            else:
                stop = line.find(separator, at)
                stop = len(line) if stop < 0 else stop
                fields.append((line[at:stop], at + 1))
            if stop >= len(line):
                return fields
            at = stop + 1

    def _note(
        self, message: Message, line: int, column: int, text: str, /, *, hint: str = "", **values: object
    ) -> None:
        self._sheet.add(message, line, column, max(1, len(text)), hint=hint, **values)


def _in_order(plain: str) -> bool:
    """Whether both ends of a range have as many digits, the smaller first."""
    first, _, last = plain.partition("-")
    return len(first) == len(last) and first <= last


def _quoted(line: str, at: int) -> tuple[str, int]:
    """The quoted text that begins at ``at`` and the place after its closing quote; -1 when it has none."""
    parts: list[str] = []
    while True:
        stop = line.find('"', at)
        if stop < 0:
            return "", -1
        parts.append(line[at:stop])
        if not line.startswith('"', stop + 1):
            return "".join(parts), stop + 1
        parts.append('"')
        at = stop + 2
