"""One decision out of the journal, by its id."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

from antifraud.domain import AntifraudError, Decision, Problem
from antifraud.journal.store import _COLUMNS, _decisions, journal_files

LOOK_BACK_DAYS: Final = 31


def find_decision(directory: Path, identity: str, today: dt.date, days: int = LOOK_BACK_DAYS) -> Decision | None:
    """The decision ``identity`` among those of the ``days`` up to ``today`` (UTC), newest day first; None for none.

    Files are read one after another, and of each only what may hold the id. Raises AntifraudError for a damaged one.
    """
    import pyarrow as pa
    from pyarrow import compute, parquet

    files = sorted(journal_files(directory, today - dt.timedelta(days=days), today), reverse=True)
    for path in files:
        try:
            with parquet.ParquetFile(path) as file:
                columns = [name for name in _COLUMNS if name in set(file.schema_arrow.names)]
                for group in range(file.num_row_groups):
                    held = file.read_row_group(group, columns=["id"]).column("id")
                    place = compute.index(held, identity).as_py()
                    if place >= 0:
                        row = file.read_row_group(group, columns=columns).slice(place, 1)
                        return next(iter(_decisions(row.to_pylist())))
        except (pa.ArrowException, OSError) as error:
            message = f"{path}: not a journal file or damaged"
            raise AntifraudError(message, problems=[Problem(message, hint=str(error).splitlines()[0])]) from error
    return None
