"""Events in files: nothing is lost, and what is broken is named by line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from antifraud.domain import UsageError
from antifraud.simulator import SimulatedEvent, simulate
from antifraud.simulator.files import Format, format_of, read_events, write_events


@pytest.fixture(scope="module")
def events() -> list[SimulatedEvent]:
    return list(simulate("national", 1, 2000))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, events: list[SimulatedEvent], form: Format) -> None:
    path = tmp_path / f"events.{form}"
    assert write_events(events, path, form) == (len(events), 2000)
    assert list(read_events(path)) == events
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_parquet_file_from_before_the_post_dial_delay_is_read(tmp_path: Path, events: list[SimulatedEvent]) -> None:
    from pyarrow import parquet

    path = tmp_path / "events.parquet"
    write_events(events, path, "parquet")
    assert parquet.read_schema(path).field("pdd_s").type == "double"
    parquet.write_table(parquet.ParquetFile(path).read().drop_columns(["pdd_s"]), path)
    older = [msgspec.structs.replace(item, event=msgspec.structs.replace(item.event, pdd_s=None)) for item in events]
    assert list(read_events(path)) == older


def test_a_line_is_the_event_with_its_truth(tmp_path: Path, events: list[SimulatedEvent]) -> None:
    path = tmp_path / "events.jsonl"
    write_events(events, path)
    line = msgspec.json.decode(path.read_bytes().splitlines()[0])
    assert line["kind"] == "setup"
    assert set(line["truth"]) == {"fraud", "campaign", "scenario"}
    assert line["call_id"] == events[0].event.call_id


def test_a_file_cut_in_a_line_is_refused_with_its_number(tmp_path: Path, events: list[SimulatedEvent]) -> None:
    path = tmp_path / "events.jsonl"
    write_events(events[:10], path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"events\.jsonl:10: not an event"):
        list(read_events(path))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"kind":"setup","call_id":"a","ts":1767553200.0,"callee_raw":"1"}', "no truth"),
        (b'{"kind":"setup","call_id":"a","ts":5.0,"callee_raw":"1","truth":null}', "ts-absurd"),
        (b'{"kind":"song","call_id":"a","ts":1767553200.0}', "not an event"),
        (b'{"kind":"setup","call_id":"a","ts":"now"}', "not an event"),
        (b"\xff\xfe", "not an event"),
        (b"[]", "not an event"),
    ],
)
def test_a_bad_line_is_refused(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(UsageError, match=said):
        list(read_events(path))


def test_a_cut_parquet_file_is_refused(tmp_path: Path, events: list[SimulatedEvent]) -> None:
    path = tmp_path / "events.parquet"
    write_events(events, path, "parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match="Parquet"):
        list(read_events(path))


def test_a_failed_run_leaves_nothing_behind(tmp_path: Path, events: list[SimulatedEvent]) -> None:
    def breaking() -> object:
        yield from events[:5]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_events(breaking(), tmp_path / "events.jsonl")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_missing_directory_is_said(tmp_path: Path, events: list[SimulatedEvent]) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write_events(events, tmp_path / "no" / "events.jsonl")
    with pytest.raises(UsageError, match="cannot read"):
        list(read_events(tmp_path / "nothing.jsonl"))


def test_the_format_follows_the_name_unless_said() -> None:
    assert format_of(Path("a.parquet")) == "parquet"
    assert format_of(Path("a.jsonl")) == "jsonl"
    assert format_of(Path("a")) == "jsonl"
    assert format_of(Path("a.parquet"), "jsonl") == "jsonl"
