"""Simulated events in files: JSON lines (one event with its truth a line) and Parquet, written and read streaming."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec

from antifraud.domain import CallEvent, EventError, EventKind, UsageError, check_event
from antifraud.simulator.call import SimulatedEvent, Truth

Format = Literal["jsonl", "parquet"]

_BLOCK: Final = 50_000
_NUMBERS: Final = ("ts", "ring_s", "talk_s", "pdd_s", "weight")
_WHOLE: Final = ("cause", "deadline_ms")
#: Columns that files written by earlier versions lack: nothing is known of them there.
_LATER: Final = frozenset({"pdd_s"})


class UnlabelledError(UsageError):
    """Events without the truth about their calls, where it is needed."""


class _Labelled(msgspec.Struct):
    """What stands beside the event's fields in a line of a JSONL file."""

    truth: Truth | None = None


def format_of(path: Path, wanted: str | None = None) -> Format:
    """``wanted``, else what the name of ``path`` says; JSON lines when it says nothing."""
    if wanted == "parquet" or (wanted is None and path.suffix == ".parquet"):
        return "parquet"
    return "jsonl"


def write_events(
    events: Iterable[SimulatedEvent], path: Path, wanted: Format = "jsonl", on_call: Callable[[int], None] | None = None
) -> tuple[int, int]:
    """Write ``events`` to ``path`` ("-" is standard output, JSON lines only); how many events and calls there were.

    A file appears whole or not at all. ``on_call`` is told the number of calls so far, now and then. UsageError when
    the file cannot be written.
    """
    if str(path) == "-":
        if wanted != "jsonl":
            raise UsageError("Parquet cannot be written to standard output", hint="name a file, or use --format jsonl")
        with os.fdopen(os.dup(1), "wb") as out:
            return _write_jsonl(events, out, on_call)
    # The name carries the process, so that two runs into the same file do not mix.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            if wanted == "parquet":
                written = _write_parquet(events, part, on_call)
            else:
                with part.open("wb") as out:
                    written = _write_jsonl(events, out, on_call)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        hint = "check that the directory exists, is writable and has room"
        raise UsageError(f"cannot write {path}: {error.strerror or error}", hint=hint) from error
    return written


def _write_jsonl(
    events: Iterable[SimulatedEvent], out: IO[bytes], on_call: Callable[[int], None] | None
) -> tuple[int, int]:
    encoder = msgspec.json.Encoder()
    truths: dict[Truth, bytes] = {}
    count = calls = 0
    block = bytearray()
    for item in events:
        truth = truths.get(item.truth)
        if truth is None:
            if len(truths) > 10_000:
                truths.clear()
            truth = truths[item.truth] = b',"truth":' + encoder.encode(item.truth) + b"}\n"
        block += encoder.encode(item.event)[:-1]
        block += truth
        count += 1
        if item.event.kind is EventKind.SETUP:
            calls += 1
            if on_call is not None and not calls & 1023:
                on_call(calls)
        if len(block) > 1 << 20:
            out.write(block)
            block.clear()
    out.write(block)
    return count, calls


def _write_parquet(
    events: Iterable[SimulatedEvent], path: Path, on_call: Callable[[int], None] | None
) -> tuple[int, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = CallEvent.__struct_fields__
    kinds = {"roaming": pa.bool_()}
    kinds |= dict.fromkeys(_NUMBERS, pa.float64()) | dict.fromkeys(_WHOLE, pa.int64())
    schema = pa.schema(
        [pa.field(name, kinds.get(name, pa.string())) for name in names]
        + [
            pa.field("truth_fraud", pa.bool_()),
            pa.field("truth_campaign", pa.string()),
            pa.field("truth_scenario", pa.string()),
        ]
    )
    count = calls = 0
    rows: list[SimulatedEvent] = []

    def flush(writer: Any) -> None:
        columns: list[Any] = [[getattr(row.event, name) for row in rows] for name in names]
        columns[0] = [kind.value for kind in columns[0]]
        columns += [[getattr(row.truth, name) for row in rows] for name in ("fraud", "campaign", "scenario")]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        writer.write_table(pa.table(arrays, schema=schema))
        rows.clear()

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for item in events:
            rows.append(item)
            count += 1
            if item.event.kind is EventKind.SETUP:
                calls += 1
                if on_call is not None and not calls & 1023:
                    on_call(calls)
            if len(rows) >= _BLOCK:
                flush(writer)
        if rows:
            flush(writer)
    return count, calls


def read_events(path: Path) -> Iterator[SimulatedEvent]:
    """The events of a file that ``write_events`` wrote, in the file's order.

    UsageError, with file and line, when the file is no such file, is cut short, or lacks the truth about a call.
    """
    try:
        with path.open("rb") as source:
            head = source.read(4)
            if head == b"PAR1":
                yield from _read_parquet(path)
                return
            source.seek(0)
            yield from _read_jsonl(path, source)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}", hint="check the name") from error


def _read_jsonl(path: Path, source: IO[bytes]) -> Iterator[SimulatedEvent]:
    decode_event, decode_truth = msgspec.json.Decoder(CallEvent).decode, msgspec.json.Decoder(_Labelled).decode
    truths: dict[Truth, Truth] = {}
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        try:
            event, truth = check_event(decode_event(line)), decode_truth(line).truth
            if truth is None:
                raise UnlabelledError(
                    f"{path}:{number}: the event has no truth", hint="files made by `antifraud simulate` carry it"
                )
        except (msgspec.DecodeError, EventError) as error:
            hint = "the file may be cut short or edited; make it again with `antifraud simulate`"
            raise UsageError(f"{path}:{number}: not an event: {error}", hint=hint) from error
        yield SimulatedEvent(event, truths.setdefault(truth, truth))


def _read_parquet(path: Path) -> Iterator[SimulatedEvent]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = CallEvent.__struct_fields__
    wanted = {*names, "truth_fraud", "truth_campaign", "truth_scenario"}
    try:
        with pq.ParquetFile(path) as file:
            there = set(file.schema_arrow.names)
            missing = sorted(wanted - there - _LATER)
            if missing:
                raise UnlabelledError(
                    f"{path}: no column {', '.join(missing[:5])}", hint="files made by `antifraud simulate` carry it"
                )
            names = tuple(name for name in names if name in there)
            truths: dict[Truth, Truth] = {}
            row_number = 0
            for batch in file.iter_batches(batch_size=_BLOCK):
                for row in batch.to_pylist():
                    row_number += 1
                    try:
                        truth = Truth(row["truth_fraud"], row["truth_campaign"], row["truth_scenario"])
                        fields = {name: row[name] for name in names if row[name] is not None}
                        event = check_event(msgspec.convert(fields, CallEvent))
                    except (msgspec.ValidationError, EventError, ValueError) as error:
                        hint = "make the file again with `antifraud simulate`, or leave the row out"
                        raise UsageError(f"{path}: row {row_number}: not an event: {error}", hint=hint) from error
                    yield SimulatedEvent(event, truths.setdefault(truth, truth))
    except pa.ArrowException as error:
        hint = "the file may be cut short; make it again with `antifraud simulate`"
        raise UsageError(f"{path}: not a Parquet file that can be read: {error}", hint=hint) from error
