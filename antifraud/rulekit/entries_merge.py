"""Taking the entries of one CSV file over into that of a list: all of it or nothing, in bounded memory.

Rows go from file to file one by one; of each file only the spans of its entries are held, as lists hold them. An entry
that stands in both moves to where the new file has it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from antifraud.domain import BundleError
from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.entries_file import MAX_BYTES, WRITTEN, Hashing, copy_rows, most_rows, note_twice, read_entries
from antifraud.rulekit.lists import ListFile
from antifraud.rulekit.messages import Message
from antifraud.rulekit.sorted_entries import Columns, Gathering

_SHOWN: Final = 20


class Merged(NamedTuple):
    """How many entries are new, now are as the new file says, and are as they were."""

    added: int
    changed: int
    kept: int


def merge_entries(item: ListFile, file: Path, *, replace: bool, watch: Hashing | None = None) -> Merged:
    """Write the CSV file of ``item`` anew, with the entries of ``file`` and (not for ``replace``) those that it had.

    BundleError with the problems of ``file`` and their places: then nothing is written. OSError when the list's file
    cannot be written, ValueError when it has none. ``watch`` is given every byte that is read.
    """
    target = item.entries_file
    if target is None:
        raise ValueError(f"{item.name} has no CSV file")
    new = _read(file, item.kind, watch)
    out_of_place: dict[int, int] = {}
    changed = 0
    left_out = bytearray(max(0, max(item.entries.all_lines(), default=0)) + 1)
    for line, theirs in item.entries.common(new):
        if line < 0:
            out_of_place[theirs] = -line
        elif not replace:
            left_out[line] = 1
            changed += 1
    if out_of_place:
        _refuse_own(item, file, new, out_of_place)
    had = 0 if replace else sum(line > 0 for line in item.entries.all_lines())
    if len(new) + had - changed > most_rows(item.kind):
        _refuse_size(file, most_rows(item.kind), "entries")
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=target.parent, prefix=".import-", suffix=".csv", delete=False
    ) as out:
        temporary = Path(out.name)
        try:
            out.write(",".join(WRITTEN) + "\n")
            kept = 0
            if not replace:
                kept, sheet = copy_rows(target, item.kind, out, left_out, watch)
                _raise(sheet)
            taken, sheet = copy_rows(file, item.kind, out, bytearray(), watch)
            _raise(sheet)
            out.flush()
            os.fsync(out.fileno())
            if temporary.stat().st_size > MAX_BYTES:
                _refuse_size(file, MAX_BYTES, "bytes")
            # What is about to take the place of the list's file reads as a whole.
            _read(temporary, item.kind, watch)
            temporary.chmod(target.stat().st_mode & 0o777)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    return Merged(taken - changed, changed, kept)


def _read(file: Path, kind: str, watch: Hashing | None) -> Columns:
    gathering = Gathering(kind)
    sheet = read_entries(file, kind, gathering, watch)
    columns, twice = gathering.sorted()
    pairs = {max(pair): min(pair) for pair in twice}
    note_twice(file, {second: (first, _shown(columns, second)) for second, first in pairs.items()}, sheet)
    _raise(sheet)
    return columns


def _refuse_own(item: ListFile, file: Path, new: Columns, out_of_place: dict[int, int]) -> None:
    """Entries that the list file itself has are not changed by a command."""
    sheet = Sheet(str(file))
    some = {theirs: (out_of_place[theirs], _shown(new, theirs)) for theirs in sorted(out_of_place)[:_SHOWN]}
    note_twice(file, some, sheet, item.sheet.name)
    _raise(sheet)


def _shown(columns: Columns, line: int) -> str:
    """The entry on that line."""
    if line in columns.lines:
        return columns.shown(columns.lines.index(line))
    return next(text for text, (_end, number) in columns.texts.items() if number == line)


def _refuse_size(file: Path, limit: int, what: str) -> None:
    sheet = Sheet(str(file))
    sheet.add(Message.CSV_TOO_BIG, limit=limit, what=f"{what}, with those that the list has")
    _raise(sheet)


def _raise(sheet: Sheet) -> None:
    if sheet.problems:
        raise BundleError.of(sheet.sorted_problems())
