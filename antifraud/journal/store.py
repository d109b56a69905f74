"""Decisions as Parquet files: how they are written so that they survive a crash, and read back without duplicates.

``<directory>/day=YYYY-MM-DD/<shard>-<first>-<last>-<digest>.parquet``: the UTC day of the call, the ids of the first
and last log entry in the file, and a digest of all of them, so that the same entries give the same name and two
different sets never overwrite each other. A file appears under its name only when all of its bytes are on disk.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from antifraud.domain import AntifraudError, Decision, Problem

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION: Final = "1"
_PARTIAL: Final = ".partial-"
_READ_ROWS: Final = 8_192
_DAY: Final = "day="
_COLUMNS: Final = tuple(field.name for field in msgspec.structs.fields(Decision))

Row = tuple[str, Decision]
"""The id of the entry in the decisions stream, and the decision."""


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, truth, number = pa.string(), pa.bool_(), pa.float64()
    reason = pa.struct([pa.field(name, text, nullable=False) for name in ("by", "verdict", "text", "stage")])
    kinds = {"ts": number, "score": number, "code": pa.int16(), "protected": truth, "duplicate": truth, "late": truth}
    kinds["block_until"] = number
    kinds["challenger_score"] = number
    kinds["features"] = pa.list_(pa.field("item", number))
    kinds["reasons"] = pa.list_(pa.field("item", reason, nullable=False))
    missing = ("score", "block_until", "challenger_score")
    fields = [pa.field(name, kinds.get(name, text), nullable=name in missing) for name in _COLUMNS]
    return pa.schema(fields, metadata={"antifraud.journal": FORMAT_VERSION})


def day_of(ts: float) -> str:
    """The UTC day of an event time, as it is written in the directory's name."""
    return dt.datetime.fromtimestamp(ts, tz=dt.UTC).date().isoformat()


def write_decisions(directory: Path, shard: str, rows: Sequence[Row]) -> list[Path]:
    """Write ``rows`` (in log order) as one file a day; when this returns they survive a power cut. Raises OSError."""
    days: dict[str, list[Row]] = {}
    for row in rows:
        days.setdefault(day_of(row[1].ts), []).append(row)
    return [_write_day(directory / f"{_DAY}{day}", shard, days[day]) for day in sorted(days)]


def _write_day(directory: Path, shard: str, rows: Sequence[Row]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    decisions = [decision for _entry, decision in rows]
    columns: dict[str, list[Any]] = {name: [getattr(one, name) for one in decisions] for name in _COLUMNS}
    columns["reasons"] = [
        [{"by": why.by, "verdict": why.verdict, "text": why.text, "stage": why.stage} for why in one.reasons]
        for one in decisions
    ]
    table = pa.table(columns, schema=_schema())
    made = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / _file_name(shard, [entry for entry, _decision in rows])
    partial = directory / f"{_PARTIAL}{os.getpid()}-{path.name}"
    try:
        with partial.open("wb") as file:
            parquet.write_table(table, file, compression="zstd", write_statistics=True)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_directory(directory)
    if made:
        _sync_directory(directory.parent)
        _sync_directory(directory.parent.parent)
    return path


def _file_name(shard: str, entries: Sequence[str]) -> str:
    digest = hashlib.blake2b(" ".join(entries).encode(), digest_size=6).hexdigest()
    return f"{shard}-{_sortable(entries[0])}-{_sortable(entries[-1])}-{digest}.parquet"


def _sortable(entry: str) -> str:
    milliseconds, _, sequence = entry.partition("-")
    return f"{int(milliseconds):013d}.{int(sequence or 0):06d}"


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(directory: Path) -> int:
    """Remove what writers that no longer run left half written; how many files that were."""
    removed = 0
    for path in sorted(directory.glob(f"{_DAY}*/{_PARTIAL}*")):
        owner = path.name.removeprefix(_PARTIAL).partition("-")[0]
        if owner.isdigit() and int(owner) != os.getpid() and Path(f"/proc/{owner}").exists():
            continue
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def journal_files(directory: Path, since: dt.date | None = None, until: dt.date | None = None) -> Iterator[Path]:
    """The files of the days from ``since`` to ``until`` (both included), day by day, in log order."""
    for day in sorted(directory.glob(f"{_DAY}*")):
        try:
            date = dt.date.fromisoformat(day.name.removeprefix(_DAY))
        except ValueError:
            continue
        if (since is None or date >= since) and (until is None or date <= until):
            yield from sorted(path for path in day.glob("*.parquet") if not path.name.startswith("."))


def read_journal(directory: Path, since: dt.date | None = None, until: dt.date | None = None) -> Iterator[Decision]:
    """Every decision once, day by day, within a day in log order.

    An entry may have been written twice (a crash between writing and acknowledging) and a switch may have asked
    twice; the first decision of an id within two days counts. Memory grows with the decisions of two days only.
    Raises AntifraudError, naming the file, when a file is damaged or is not a journal.
    """
    if not directory.is_dir():
        raise AntifraudError(f"{directory} is no directory", hint="name the directory that the journal is written to")
    seen: tuple[str, set[str], set[str]] = ("", set(), set())
    for path in journal_files(directory, since, until):
        day = path.parent.name
        if day != seen[0]:
            seen = (day, set(), seen[1])
        for decision in _read_file(path):
            if decision.id not in seen[1] and decision.id not in seen[2]:
                seen[1].add(decision.id)
                yield decision


def _read_file(path: Path) -> Iterator[Decision]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            columns = [name for name in _COLUMNS if name in present]
            for batch in file.iter_batches(batch_size=_READ_ROWS, columns=columns):
                yield from _decisions(batch.to_pylist())
    except (pa.ArrowException, OSError, msgspec.ValidationError) as error:
        message = f"{path}: not a journal file or damaged"
        raise AntifraudError(message, problems=[Problem(message, hint=str(error).splitlines()[0])]) from error


def _decisions(rows: Iterable[dict[str, Any]]) -> Iterator[Decision]:
    for row in rows:
        yield msgspec.convert(row, Decision)
