"""The how-to about notebooks does what it says, and the table holds what the engine sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antifraud.cli.assembly import assemble
from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, Limits, frame
from antifraud.simulator import simulate
from antifraud.simulator.files import write_events

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "windows-in-a-notebook.md"


@pytest.fixture(scope="module")
def decider() -> Any:
    return assemble({"model": "none"})[1]


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_events(simulate("national", 1, calls=3000), Path("day.jsonl"))
    code = PAGE.read_text(encoding="utf-8").split("```python")[1].split("```")[0]
    scope: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), scope)
    table = scope["table"]
    assert table.num_rows == 3000
    assert table.schema.names[5:] == list(scope["decider"].bundle.windows.names)
    assert table.column("caller_answered_share_24h").null_count < 3000


def test_the_table_holds_what_the_engine_sees_whatever_the_batches(decider: Any) -> None:
    events = [item.event for item in simulate("national", 2, calls=2000)]
    prepared = [decider.prepare(event) for event in events]
    rows = {id(item.event): item.row for item in prepared}
    windows = decider.bundle.windows
    table = frame((item.event for item in prepared), windows, lambda event: rows[id(event)])
    wanted = decider.vectors(events)[:, : len(windows.names)]
    got = np.column_stack([table.column(name).to_numpy(zero_copy_only=False) for name in windows.names])
    assert got.tobytes() == wanted.tobytes()
    assert table.column("ts").to_pylist() == [event.ts for event in events if event.kind is EventKind.SETUP]
    assert not any(table.column("duplicate").to_pylist())
    assert table.schema.metadata[b"windows"].decode() == windows.digest


def test_it_goes_on_where_a_fold_stands(decider: Any) -> None:
    windows = decider.bundle.windows
    prepared = [decider.prepare(item.event) for item in simulate("national", 2, calls=300)]
    rows = {id(item.event): item.row for item in prepared}
    events = [item.event for item in prepared]
    whole = frame(events, windows, lambda event: rows[id(event)])
    fold = Fold(windows)
    parts = [frame(part, windows, lambda event: rows[id(event)], fold=fold) for part in (events[:400], events[400:])]
    assert [part.num_rows for part in parts] == [
        sum(event.kind is EventKind.SETUP for event in part) for part in (events[:400], events[400:])
    ]
    assert whole.to_pylist() == [row for part in parts for row in part.to_pylist()]


def test_nothing_gives_an_empty_table_with_all_columns(decider: Any) -> None:
    table = frame([], decider.bundle.windows, lambda event: None)
    assert table.num_rows == 0
    assert len(table.schema.names) == 5 + len(decider.bundle.windows.names)


def test_texts_that_are_no_characters_stay_readable(decider: Any) -> None:
    event = CallEvent(kind=EventKind.SETUP, call_id="\ud800", ts=1.8e9, caller="+77000000001", callee="x\udcff")
    (row,) = frame([event], decider.bundle.windows, lambda event: None).to_pylist()
    assert (row["call_id"], row["callee"]) == ("?", "x?")


def test_misuse_is_said_in_words(decider: Any) -> None:
    windows = decider.bundle.windows
    with pytest.raises(ValueError, match="row_of"):
        frame([], windows)
    with pytest.raises(ValueError, match="its own limits"):
        frame([], windows, lambda event: None, fold=Fold(windows), limits=Limits())
    with pytest.raises(ValueError, match="other windows"):
        frame([], windows, lambda event: None, fold=Fold(windows.subset(["caller_age"])))
