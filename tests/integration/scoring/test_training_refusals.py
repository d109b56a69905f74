"""What `antifraud model train` refuses, word for word: each message says what is wrong and what to do.

After one was changed on purpose: ``ANTIFRAUD_GOLDEN=write pytest tests/integration/scoring/test_training_refusals.py``,
and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from antifraud.cli.model import model
from antifraud.domain import AntifraudError, EventKind
from antifraud.simulator import SimulatedEvent, simulate
from antifraud.simulator.files import write_events

_GOLDEN = Path(__file__).with_name("golden_train")
_CALLS = 1500
_OUT = ("--out", "m/toy/1")


@pytest.fixture(scope="module")
def events() -> list[SimulatedEvent]:
    return list(simulate("national", 3, _CALLS, days=1.0))


Write = Callable[[list[SimulatedEvent]], list[str]]


def _same_file(events: list[SimulatedEvent]) -> list[str]:
    write_events(events, Path("day.jsonl"))
    return ["day.jsonl", "day.jsonl"]


def _same_content(events: list[SimulatedEvent]) -> list[str]:
    write_events(events, Path("day.jsonl"))
    Path("copy.jsonl").write_bytes(Path("day.jsonl").read_bytes())
    return ["day.jsonl", "copy.jsonl"]


def _overlap(events: list[SimulatedEvent]) -> list[str]:
    write_events(events, Path("day.jsonl"))
    write_events(events[len(events) // 2 :], Path("half.parquet"), "parquet")
    return ["day.jsonl", "half.parquet"]


def _twice(events: list[SimulatedEvent]) -> list[str]:
    write_events([events[0], *events], Path("day.jsonl"))
    return ["day.jsonl"]


def _no_truth(events: list[SimulatedEvent]) -> list[str]:
    lines = [msgspec.json.encode(item.event) for item in events[:20]]
    Path("log.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return ["log.jsonl"]


def _no_truth_column(events: list[SimulatedEvent]) -> list[str]:
    write_events(events[:50], Path("day.parquet"), "parquet")
    pq.write_table(pq.read_table("day.parquet").drop_columns(["truth_fraud"]), "log.parquet")
    return ["log.parquet"]


def _no_time(events: list[SimulatedEvent]) -> list[str]:
    write_events(events[:50], Path("day.parquet"), "parquet")
    table = pq.read_table("day.parquet")
    times = pc.if_else(pa.array([row == 7 for row in range(len(table))]), float("nan"), table["ts"])
    pq.write_table(table.set_column(table.schema.get_field_index("ts"), "ts", times), "day.parquet")
    return ["day.parquet"]


def _all_honest(events: list[SimulatedEvent]) -> list[str]:
    write_events([item for item in events if not item.truth.fraud], Path("day.jsonl"))
    return ["day.jsonl"]


def _no_calls(events: list[SimulatedEvent]) -> list[str]:
    write_events([item for item in events if item.event.kind is not EventKind.SETUP], Path("day.jsonl"))
    return ["day.jsonl"]


def _log(*more: str, reports: bool = True) -> Write:
    def write(events: list[SimulatedEvent]) -> list[str]:
        kept = [item.event for item in events if reports or item.event.kind is not EventKind.REPORT]
        Path("log.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in kept))
        return ["log.jsonl", *more]

    return write


def _said(*arguments: str) -> Write:
    return lambda _events: list(arguments)


_SEEDS = ("--seeds", "1-8", "--days", "1", "--calls", "1000")
_CASES: dict[str, Write] = {
    "same-file": _same_file,
    "same-content": _same_content,
    "overlap": _overlap,
    "call-twice": _twice,
    "no-truth": _no_truth,
    "no-truth-column": _no_truth_column,
    "no-time": _no_time,
    "one-class": _all_honest,
    "no-calls": _no_calls,
    "no-file": _said("nothing.jsonl"),
    "held-out": _said("--seeds", "1-8", "--days", "1", "--calls", "1000", "--scenario", "heldout-nights"),
    "journal-alone": _said("--journal", "journal"),
    "reports-of-seeds": _said(*_SEEDS, "--labels", "reports"),
    "until-of-truth": _said(*_SEEDS, "--until", "2026-01-06"),
    "until-no-day": _log("--labels", "reports", "--until", "yesterday"),
    "delay-no-time": _log("--labels", "reports", "--label-delay", "soon"),
    "too-young": _log("--labels", "reports"),
    "before-everything": _log("--labels", "reports", "--until", "2025-01-31"),
    "no-reports": _log("--labels", "reports", "--label-delay", "1h", reports=False),
    "journal-nowhere": _log("--journal", "nowhere"),
    "scratch-too-small": _said(*_SEEDS, "--features", "hour,caller_age", "--scratch-limit", "100kB"),
    "scratch-no-size": _said(*_SEEDS, "--scratch-limit", "much"),
    "scratch-nowhere": _said(*_SEEDS, "--scratch", "no/such/place"),
    "scratch-too-small-for-file": lambda events: [*_all_honest(events), "--scratch-limit", "100kB"],
}


@pytest.mark.parametrize("name", sorted(_CASES))
def test_refusals(name: str, events: list[SimulatedEvent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = _CASES[name](events)
    with pytest.raises(AntifraudError) as caught:
        model.main(["train", *arguments, *_OUT], standalone_mode=False)
    assert caught.value.exit_code == 2
    found = caught.value.render() + "\n"
    golden = _GOLDEN / f"{name}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        _GOLDEN.mkdir(exist_ok=True)
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")
    assert len(found.splitlines()) >= 2, "what to do is said too"
    assert not Path("m").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--seeds", "1-8", "--days", "1", "--calls", "1000"],
            "1 days of a seed are an engine's first 24 hours, in which no score stops a call: they teach nothing",
        ),
        (
            ["day.jsonl"],
            "day.jsonl: all 1,500 calls are from while an engine is new, when no score stops a call",
        ),
    ],
)
def test_calls_of_a_new_engine_alone_teach_nothing(
    arguments: list[str],
    said: str,
    events: list[SimulatedEvent],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTIFRAUD_ENGINE_WARM_UP_S", "86400")
    write_events(events, Path("day.jsonl"))
    with pytest.raises(AntifraudError) as caught:
        model.main(["train", *arguments, *_OUT], standalone_mode=False)
    assert said in caught.value.render()
    assert "such as --days 2" in (caught.value.problems[0].hint or "")


def test_every_golden_file_has_its_case() -> None:
    assert {path.stem for path in _GOLDEN.glob("*.txt")} == set(_CASES)


@pytest.mark.parametrize("calls", ["0", "20000,,5", "many", "1,-2", ",".join(["5"] * 21)])
def test_volumes_that_cannot_be_meant(calls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import click

    monkeypatch.chdir(tmp_path)
    with pytest.raises((AntifraudError, click.BadParameter)):
        model.main(["train", "--seeds", "1-8", "--days", "1", "--calls", calls, *_OUT], standalone_mode=False)
    assert not list(tmp_path.iterdir())
