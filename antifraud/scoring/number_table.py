"""Tables of numbers: CSV with a line for each subscriber, read in bounded memory, refused with line and column.

The first line names the columns; commas separate, UTF-8, an empty cell is a missing value. A line is a row: a quoted
cell cannot go over the end of its line.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import Location, Problem, UsageError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Names that the column of numbers has where --id names none.
USUAL_IDS: Final = ("number", "number_id", "msisdn", "subscriber", "id")
LARGEST: Final = 1e18
_MOST_COLUMNS: Final = 2000
_LONGEST_LINE: Final = 1 << 20
_MOST_ROWS: Final = 200_000_000
# What is taken in at a time, at most: lines, and bytes.
_CHUNK: Final = 4096
_CHUNK_BYTES: Final = 2 << 20
_ID: Final = re.compile(r"[+0-9A-Za-z][0-9A-Za-z._:@/+-]{0,63}")
_MISSING: Final = float("nan")
_NOT_COMMAS: Final = "save it with commas between the cells"


class Chunk(msgspec.Struct):
    """Some rows one after the other: ids (empty without a column of them), X float64[n, columns], y where asked."""

    ids: list[str]
    X: Floats
    y: Bools


class Table:
    """A table of numbers in a file. Iterating reads it from the beginning; it can be read more than once."""

    def __init__(self, path: Path, *, id_column: str = "", label: str = "") -> None:
        """Look at the header of ``path``; UsageError when it cannot be one, or has no ``id_column`` or ``label``."""
        self.path = path
        with _opened(path) as file:
            self.header = self._header(file)
        if id_column:
            self._need(id_column)
        self.id_column = id_column or next((name for name in USUAL_IDS if name in self.header), "")
        self.label = label
        if label:
            self._need(label)
        if label and label == self.id_column:
            raise UsageError(f"--label and --id both name {label!r}", hint="they are two columns")

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.path.stat().st_size

    @property
    def candidates(self) -> tuple[str, ...]:
        """The columns that can be features: all but the id and the label."""
        return tuple(name for name in self.header if name not in (self.id_column, self.label))

    def check_has(self, columns: Sequence[str]) -> None:
        """UsageError that names those of ``columns`` that the table does not have."""
        problems = []
        for name in columns:
            if name not in self.header:
                near = difflib.get_close_matches(name, self.header, 1)
                hint = (
                    f"did you mean {near[0]!r}?" if near else "add the column; where a value is unknown leave it empty"
                )
                problems.append(Problem(f"there is no column {name!r}", Location(str(self.path), 1), hint=hint))
        if problems:
            raise UsageError.of(problems[:5])

    def chunks(self, columns: Sequence[str], on_bytes: Callable[[int], None] | None = None) -> Iterator[Chunk]:
        """The rows in ``columns``, in order; ``on_bytes`` is told how much of the file is read.

        UsageError at the first row that cannot be read, with its line and column; at the end when an id came twice.
        """
        self.check_has(columns)
        places = [self.header.index(name) for name in columns]
        id_place = self.header.index(self.id_column) if self.id_column else -1
        label_place = self.header.index(self.label) if self.label else -1
        seen = array("q")
        read = 0
        with _opened(self.path) as file:
            self._header(file)
            for block in _blocks(file, self.path):
                chunk = self._chunk(block, places, id_place, label_place)
                seen.extend(map(_hashed, chunk.ids))
                read += sum(len(line) for _number, line in block)
                if on_bytes is not None:
                    on_bytes(read)
                yield chunk
        self._refuse_twice(seen, id_place)

    def _chunk(self, block: list[tuple[int, str]], places: list[int], id_place: int, label_place: int) -> Chunk:
        ids: list[str] = []
        table: list[list[float]] = []
        labels: list[bool] = []
        empty: list[int] = []
        width = len(self.header)
        for number, line in block:
            cells = self._cells(number, line)
            if len(cells) != width:
                self._refuse(
                    f"{len(cells)} cells where the header has {width}", number, hint="quote a cell that has a comma"
                )
            try:
                picked = [cells[place] for place in places]
                empty.append(picked.count(""))
                table.append([float(cell) if cell else _MISSING for cell in picked])
            except ValueError:
                self._refuse_values(number, line, places)
            if id_place >= 0:
                if not _ID.fullmatch(cells[id_place]):
                    self._refuse_id(number, line, id_place)
                ids.append(cells[id_place])
            if label_place >= 0:
                if cells[label_place] not in ("0", "1"):
                    self._refuse_label(number, line, label_place)
                labels.append(cells[label_place] == "1")
        rows = np.array(table, dtype=np.float64).reshape(len(block), len(places))
        odd = (np.abs(rows) > LARGEST).any(axis=1) | (np.isnan(rows).sum(axis=1) != np.array(empty))
        for at in np.flatnonzero(odd).tolist():
            self._refuse_values(*block[at], places)
        return Chunk(ids, rows, np.array(labels, dtype=np.bool_))

    # ------------------------------------------------------------------ what is refused

    def _header(self, file: BinaryIO) -> list[str]:
        lines = next(_blocks(file, self.path, 1), [])
        where = Location(str(self.path), 1)
        if not lines or lines[0][0] != 1:
            raise UsageError.of([Problem("there is no header", where, hint="the first line names the columns")])
        line = lines[0][1]
        names = self._cells(1, line.removeprefix("\ufeff"))
        if len(names) == 1 and any(mark in line for mark in ";\t|"):
            raise UsageError.of([Problem("its cells are not separated by commas", where, hint=_NOT_COMMAS)])
        if len(names) > _MOST_COLUMNS:
            hint = f"at most {_MOST_COLUMNS}: leave out what says nothing about a number"
            raise UsageError.of([Problem(f"{len(names)} columns", where, hint=hint)])
        for at, name in enumerate(names):
            if not name or not name.isprintable() or len(name) > 64:
                self._refuse("a column has no name that can be said", 1, line, at, "name it with a-z, 0-9 and _")
            if name in names[:at]:
                self._refuse(f"the column {name!r} comes twice", 1, line, at, "rename one, or leave it out")
        return names

    def _need(self, name: str) -> None:
        if name not in self.header:
            self.check_has([name])

    def _cells(self, number: int, line: str) -> list[str]:
        line = line.rstrip("\r\n")
        if '"' not in line:
            return line.split(",")
        try:
            return next(csv.reader([line], strict=True))
        except csv.Error as error:
            self._refuse(
                f"quotes that do not close: {error}", number, hint='a cell ends on its line; write " in it as ""'
            )

    def _refuse_values(self, number: int, line: str, places: Sequence[int]) -> NoReturn:
        """Raise what is wrong with the first cell of the line that is not a number."""
        cells = self._cells(number, line)
        for place in places:
            name, cell = self.header[place], cells[place]
            try:
                value = float(cell) if cell else 0.0
            except ValueError:
                hint = "write it as a number, decimals behind a point; leave the cell empty when it is unknown"
                if self.label:
                    hint += f"; or leave the column out: --features -{name}"
                self._refuse(f"{name} is {_shown(cell)}, which is no number", number, line, place, hint)
            if math.isnan(value):
                self._refuse(
                    f"{name} is {_shown(cell)}", number, line, place, "leave the cell empty when it is unknown"
                )
            if math.isinf(value) and not any(letter.isdigit() for letter in cell):
                hint = "a share of nothing is unknown: leave the cell empty"
                self._refuse(f"{name} is {_shown(cell)}", number, line, place, hint)
            if abs(value) > LARGEST:
                hint = "no count, time or amount is that large: mend what made the table"
                self._refuse(f"{name} is {_shown(cell)}, beyond {LARGEST:.0e}", number, line, place, hint)
        raise AssertionError("a line that was found wrong is right")

    def _refuse_id(self, number: int, line: str, place: int) -> NoReturn:
        cell = self._cells(number, line)[place]
        what = f"{_shown(cell)} in {self.id_column} is no number or id" if cell else f"{self.id_column} is empty"
        hint = "letters, digits and . _ : @ / + - up to 64; --id NAME says which column it is"
        self._refuse(what, number, line, place, hint)

    def _refuse_label(self, number: int, line: str, place: int) -> NoReturn:
        cell = self._cells(number, line)[place]
        hint = "write 1 for fraud and 0 for honest; leave lines out whose label is not known"
        self._refuse(f"{self.label} is {_shown(cell)}", number, line, place, hint)

    def _refuse_twice(self, seen: array[int], id_place: int) -> None:
        """UsageError when an id came twice. Only hashes were kept, so the file is read again to be sure."""
        hashes = np.sort(np.frombuffer(seen, dtype=np.int64))
        twice = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if not twice:
            return
        first: dict[str, int] = {}
        with _opened(self.path) as file:
            self._header(file)
            for block in _blocks(file, self.path):
                for number, line in block:
                    one = self._cells(number, line)[id_place]
                    if _hashed(one) not in twice:
                        continue
                    if one in first:
                        what = f"{one} comes twice, first on line {first[one]}"
                        self._refuse(what, number, line, id_place, "one line for each number: add them up")
                    first[one] = number

    def _refuse(self, what: str, number: int, line: str = "", place: int = 0, hint: str = "") -> NoReturn:
        column, width = _column(line, place) if line else (0, 1)
        where = Location(str(self.path), number, column)
        raise UsageError.of([Problem(what, where, hint=hint, source_line=_printable(line), width=width)])


def _column(line: str, place: int) -> tuple[int, int]:
    """Where cell ``place`` of ``line`` begins, from 1, and how wide it is."""
    quoted, begins = False, [0]
    text = line.rstrip("\r\n")
    for at, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            begins.append(at + 1)
    begins.append(len(text) + 1)
    return begins[place] + 1, max(1, begins[place + 1] - begins[place] - 1)


def _hashed(one: str) -> int:
    """Eight bytes that stand for an id while a file is read; ids themselves would take ten times as much."""
    return hash(one)


def _printable(line: str) -> str:
    """The line without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line.rstrip("\r\n"))


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


def _opened(path: Path) -> BinaryIO:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no ordinary file", hint="write the table to a file first: it is read twice")
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}", hint="check the path") from error


def _blocks(file: BinaryIO, path: Path, most: int = _CHUNK) -> Iterator[list[tuple[int, str]]]:
    """The lines of ``file`` from where it stands, at most ``most`` at a time; blank ones are counted and left out."""
    number = 1 if file.tell() else 0
    block: list[tuple[int, str]] = []
    size = 0
    while True:
        line = file.readline(_LONGEST_LINE)
        if not line:
            break
        number += 1
        where = Location(str(path), number)
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            hint = "this is no table of numbers, or a quote does not close"
            raise UsageError.of([Problem(f"the line is longer than {_LONGEST_LINE:,} bytes", where, hint=hint)])
        if number > _MOST_ROWS:
            raise UsageError.of([Problem(f"more than {_MOST_ROWS:,} lines", where, hint="split the table")])
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            at = Location(str(path), number, error.start + 1)
            raise UsageError.of([Problem("this is not UTF-8", at, hint="save the table as UTF-8")]) from error
        if not text.strip():
            continue
        block.append((number, text))
        size += len(line)
        if len(block) == most or size >= _CHUNK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block
