"""The windows of many events as one table, for training and notebooks: the same fold as in the engine.

A column of float64 for every window, in the order of the declarations, after the columns that say which call a row is
about. What is missing is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from antifraud.domain import CallEvent, EventKind
from antifraud.features.fold import Fold, Limits
from antifraud.features.windows import WindowSet

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH: Final = 4096
#: What says which call a row is about.
CALL_COLUMNS: Final = ("call_id", "ts", "caller", "callee", "duplicate")

RowOf = Callable[[CallEvent], Sequence[object] | None]


def frame(
    events: Iterable[CallEvent],
    windows: WindowSet,
    row_of: RowOf | None = None,
    *,
    fold: Fold | None = None,
    limits: Limits | None = None,
) -> pa.Table:
    """Fold ``events`` (normalised, in the order of the log) and give one row for every set-up among them.

    ``row_of`` makes of an event what conditions read (``FactBook.prepare(event).row`` for the shipped rules); it is
    asked only for kinds of event that some condition is about, and may be left out when none is. ``fold`` goes on
    where it stands; without one a new, empty one is used. Events are taken one batch at a time, so only the rows of
    the result are held in memory. Raises ValueError when conditions need rows and there are none.
    """
    import pyarrow as pa  # half a second that nothing else here needs

    kinds = windows.row_kinds
    if kinds and row_of is None:
        raise ValueError("these windows have conditions: say with row_of what they read of an event")
    if fold is not None and limits is not None:
        raise ValueError("a fold has its own limits: give one or the other")
    fold = fold if fold is not None else Fold(windows, limits=limits)
    if fold.windows.digest != windows.digest:
        raise ValueError("the fold was made for other windows")
    batches = []
    schema = _schema(windows)
    source = iter(events)
    while batch := list(islice(source, _BATCH)):
        rows = [row_of(event) if row_of is not None and event.kind in kinds else None for event in batch]
        folded = fold.fold(batch, rows)
        calls = [event for event in batch if event.kind is EventKind.SETUP]
        columns = [
            pa.array([_clean(event.call_id) for event in calls], pa.string()),
            pa.array([event.ts for event in calls], pa.float64()),
            pa.array([_clean(event.caller) for event in calls], pa.string()),
            pa.array([_clean(event.callee) for event in calls], pa.string()),
            pa.array(folded.duplicate),
        ]
        for place in range(len(windows.names)):
            values = np.ascontiguousarray(folded.values[:, place])
            columns.append(pa.array(values, pa.float64(), mask=np.isnan(values)))
        batches.append(pa.record_batch(columns, schema=schema))
    return pa.Table.from_batches(batches, schema=schema)


def _schema(windows: WindowSet) -> pa.Schema:
    import pyarrow as pa

    fields = [
        pa.field("call_id", pa.string()),
        pa.field("ts", pa.float64()),
        pa.field("caller", pa.string()),
        pa.field("callee", pa.string()),
        pa.field("duplicate", pa.bool_()),
    ]
    fields += [pa.field(name, pa.float64()) for name in windows.names]
    return pa.schema(fields, metadata={"windows": windows.digest})


def _clean(text: str) -> str:
    """Text as Arrow can hold it: a lone surrogate, which is no character, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
