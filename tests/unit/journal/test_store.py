"""Journal files without Redis: names, duplicates, damage."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import AntifraudError, Decision
from antifraud.journal import journal_files, read_journal, write_decisions
from antifraud.journal.store import day_of, remove_partial

NOON = 1_763_812_800.0


def decision(number: int, **changes: Any) -> Decision:
    values: dict[str, Any] = {"id": f"d{number}", "call_id": f"c{number}", "ts": NOON + number, "shard": "kz"}
    return Decision(
        **values | {"region": "KZ-75", "verdict": "allow", "full_verdict": "allow", "ceiling": "block"} | changes
    )


def ids(directory: Path, **days: dt.date) -> list[str]:
    return [one.id for one in read_journal(directory, **days)]


def test_the_same_entries_give_the_same_file_and_others_do_not_overwrite_it(tmp_path: Path) -> None:
    first = write_decisions(tmp_path, "kz", [("5-0", decision(1)), ("6-0", decision(2)), ("7-0", decision(3))])
    assert write_decisions(tmp_path, "kz", [("5-0", decision(1)), ("6-0", decision(2)), ("7-0", decision(3))]) == first
    write_decisions(tmp_path, "kz", [("5-0", decision(1)), ("7-0", decision(3))])
    assert len(list(journal_files(tmp_path))) == 2
    assert sorted(ids(tmp_path)) == ["d1", "d2", "d3"]


def test_files_are_read_in_the_order_of_the_log(tmp_path: Path) -> None:
    write_decisions(tmp_path, "kz", [("1763812800000-10", decision(3))])
    write_decisions(tmp_path, "kz", [("1763812800000-9", decision(2))])
    write_decisions(tmp_path, "kz", [("999-0", decision(1))])
    assert ids(tmp_path) == ["d1", "d2", "d3"]


def test_a_repeated_setup_past_midnight_is_not_a_second_call(tmp_path: Path) -> None:
    before = decision(1, ts=NOON + 43_199.0)
    after = decision(1, ts=NOON + 43_201.0, duplicate=True)
    write_decisions(tmp_path, "kz", [("1-0", before), ("2-0", after), ("3-0", decision(2, ts=NOON + 43_202.0))])
    assert next(iter(read_journal(tmp_path))) == before
    assert ids(tmp_path) == ["d1", "d2"]


def test_days_can_be_chosen(tmp_path: Path) -> None:
    write_decisions(tmp_path, "kz", [(f"{day}-0", decision(day, ts=NOON + day * 86_400)) for day in range(1, 5)])
    assert ids(tmp_path, since=dt.date(2025, 11, 24), until=dt.date(2025, 11, 25)) == ["d2", "d3"]


@pytest.mark.parametrize(
    ("ts", "day"),
    [(946_684_800.0, "2000-01-01"), (1_763_855_999.999, "2025-11-22"), (1_763_856_000.0, "2025-11-23")],
)
def test_days_are_those_of_utc(ts: float, day: str) -> None:
    assert day_of(ts) == day


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (path,) = write_decisions(tmp_path, "kz", [("1-0", decision(1))])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(AntifraudError, match=re.escape(f"{path}: not a journal file or damaged")):
        ids(tmp_path)


def test_a_parquet_file_of_something_else_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    (tmp_path / "day=2025-11-22").mkdir()
    path = tmp_path / "day=2025-11-22" / "other.parquet"
    parquet.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(AntifraudError, match=re.escape(f"{path}: not a journal file or damaged")):
        ids(tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AntifraudError, match="is no directory"):
        ids(tmp_path / "nowhere")


def test_columns_that_a_newer_version_added_or_an_older_one_lacked_do_not_matter(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    (path,) = write_decisions(tmp_path, "kz", [("1-0", decision(1, label="x", score=0.5))])
    table = parquet.ParquetFile(path).read().drop_columns(["label"]).append_column("later", pa.array(["?"]))
    parquet.write_table(table, path)
    assert list(read_journal(tmp_path)) == [decision(1, score=0.5)]


def test_half_written_files_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    day = tmp_path / "day=2025-11-22"
    day.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = day / f".partial-{ended.pid}-a.parquet", day / f".partial-{os.getppid()}-b.parquet"
    dead.write_bytes(b"x")
    alive.write_bytes(b"x")
    assert ids(tmp_path) == []
    assert remove_partial(tmp_path) == 1
    assert alive.exists()
    assert not dead.exists()


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("antifraud.journal.store.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_decisions(tmp_path, "kz", [("1-0", decision(1))])
    assert list((tmp_path / "day=2025-11-22").iterdir()) == []


def test_pyarrow_is_imported_only_when_it_is_needed() -> None:
    program = "import sys, antifraud.journal; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
