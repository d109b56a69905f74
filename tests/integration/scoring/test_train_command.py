"""`antifraud model train` of calls: mixed volumes, several processes, options, a search, reports of a log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from antifraud.cli import training_rows
from antifraud.cli.labelled_events import wanted
from antifraud.cli.training_rows import Scratch, make_rows
from antifraud.domain import CallEvent, Decision, EventKind, UsageError
from antifraud.journal.store import write_decisions
from antifraud.scoring import Model
from antifraud.simulator import simulate


def _run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", "model", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, cwd=cwd)


def test_processes_beside_each_other_make_the_rows_that_one_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_rows, "_WORTH_CALLS", 1)
    source = wanted((), "1-4", (700, 1500), 1.0, "national", "")
    assert source.total == 4400
    made = []
    for processes in (1, 2):
        directory = tmp_path / str(processes)
        directory.mkdir()
        told: list[int] = []
        made.append(
            make_rows(source, "", "", [3, 0, 5], Scratch(directory, 1 << 30), processes=processes, on_call=told.append)
        )
        assert told[-1] == 4400
    one, two = made
    assert one.rows.shape == (4400, 3)
    assert one.rows.take(0, 4400).tobytes() == two.rows.take(0, 4400).tobytes()
    assert one.labels.ts.tobytes() == two.labels.ts.tobytes()
    assert one.labels.campaign.texts().tolist() == two.labels.campaign.texts().tolist()
    pauses = np.flatnonzero(np.diff(one.labels.ts) > 6 * 3600) + 1
    assert np.diff([0, *pauses, 4400]).tolist() == [700, 1500, 700, 1500]


def test_what_goes_wrong_in_another_process_is_said_as_in_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_rows, "_WORTH_BYTES", 1)
    for name in ("a", "b"):
        event = CallEvent(EventKind.SETUP, name, 1_767_553_200.0, callee_raw="+77010000001")
        (tmp_path / f"{name}.jsonl").write_bytes(msgspec.json.encode(event))
    source = wanted((tmp_path / "a.jsonl", tmp_path / "b.jsonl"), "", 1, 1.0, "", "")
    with pytest.raises(UsageError, match=r"[ab]\.jsonl:1: the event has no truth") as caught:
        make_rows(source, "", "", [0], Scratch(tmp_path, 1 << 30), processes=2)
    assert "--labels reports" in caught.value.render()


def test_a_searched_model_says_what_was_tried_and_is_made_again_by_its_command(tmp_path: Path) -> None:
    out = tmp_path / "toy" / "1"
    found = _run(
        "train", "--seeds", "1-8", "--days", "1", "--calls", "600,1500", "--trees", "10", "--search", "3",
        "--fraud-weight", "2", "--out", str(out), "--json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    result = json.loads(found.stdout)
    assert result["threads"] >= 1
    assert set(result["seconds"]) == {"rows", "training"}
    training = json.loads(_run("card", str(out), "--json").stdout)["training"]
    assert training["search"]["trials"] == 3
    assert training["search"]["tried"][0]["share"] == 1.0
    assert training["version"]
    assert training["calls"] == [600, 1500]
    assert [one["file"] for one in training["scenario_files"]] == ["national.yaml"]
    assert "threads" not in training
    command = training["command"]
    assert "--calls 600,1500" in command
    assert "--search 3" in command
    assert "--fraud-weight 2" in command
    again = _run(*command.split()[2:], "--out", str(tmp_path / "again" / "1"), "--name", "toy", "--threads", "1")
    assert again.returncode == 0, again.stderr
    for name in ("manifest.toml", "model.txt", "golden.csv", "reference.json", "card.md"):
        assert _without_revision(tmp_path / "again" / "1" / name) == _without_revision(out / name), name


def _without_revision(path: Path) -> list[str]:
    """The lines of a file of a model; somebody may commit while it is trained again."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if not line.startswith("revision = ")]


def test_a_search_by_minutes_names_what_it_found(tmp_path: Path) -> None:
    out = tmp_path / "toy" / "1"
    found = _run(
        "train",
        "--seeds",
        "1-8",
        "--days",
        "1",
        "--calls",
        "1000",
        "--trees",
        "10",
        "--search-minutes",
        "0.05",
        "--out",
        str(out),
    )
    assert found.returncode == 0, found.stderr
    training = json.loads(_run("card", str(out), "--json").stdout)["training"]
    assert training["search"]["trainings"] >= 1
    assert "--search" not in training["command"]
    again = _run(*training["command"].split()[2:], "--out", str(tmp_path / "again" / "1"), "--name", "toy")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "1" / "model.txt").read_bytes() == (out / "model.txt").read_bytes()


def test_a_held_out_scenario_is_taken_when_that_is_said(tmp_path: Path) -> None:
    out = tmp_path / "toy" / "1"
    source = ("--seeds", "1-12", "--days", "1", "--calls", "3000", "--scenario", "heldout-sims", "--trees", "5")
    found = _run("train", *source, "--allow-held-out", "--out", str(out))
    assert found.returncode == 0, found.stderr
    training = json.loads(_run("card", str(out), "--json").stdout)["training"]
    assert "--allow-held-out" in training["command"]
    assert [one["file"] for one in training["scenario_files"]] == ["heldout-sims.yaml", "national.yaml"]


def _log(path: Path) -> list[CallEvent]:
    """Twelve days in which most fraud is reported within hours or days, in a file without any truth."""
    rng = np.random.default_rng(4)
    events: list[CallEvent] = []
    for item in simulate("national", 11, 24_000, days=12.0):
        if item.event.kind is EventKind.REPORT:
            continue
        events.append(item.event)
        if item.event.kind is EventKind.SETUP and item.truth.fraud and rng.random() < 0.8:
            events.append(
                msgspec.structs.replace(
                    item.event, kind=EventKind.REPORT, ts=item.event.ts + 60 + rng.exponential(20_000), label="fraud",
                    reporter="subscriber", weight=1.0,
                )
            )  # fmt: skip
    events.sort(key=lambda event: event.ts)
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    return events


def test_a_model_learns_from_reports_of_a_log_and_leaves_out_what_was_stopped(tmp_path: Path) -> None:
    events = _log(tmp_path / "log.jsonl")
    setups = [event for event in events if event.kind is EventKind.SETUP]
    reported = {event.call_id for event in events if event.kind is EventKind.REPORT}
    blocked = [event for event in setups[:3000] if event.call_id not in reported][:100]
    decisions = [
        (f"{index}-0", Decision(event.call_id, event.call_id, event.ts, "kz", "", "block", "block", "block"))
        for index, event in enumerate(blocked, 1)
    ]
    write_decisions(tmp_path / "journal", "kz", decisions)
    found = _run(
        "train", "log.jsonl", "--journal", "journal", "--since", "2026-01-04", "--until", "2026-01-15", "--trees", "15",
        "--label-delay", "36h", "--out", "own/1", cwd=tmp_path,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "100 stopped and not reported" in found.stderr
    assert "as reported" in found.stdout
    made = Model.load(tmp_path / "own" / "1").manifest
    training = made.training
    assert training["labels"] == "reports"
    assert training["log"]["stopped_unreported"] == 100
    assert training["last_ts"] <= training["until_ts"] - training["label_delay_s"]
    assert training["label_delay_s"] == 36 * 3600
    assert made.metrics["auc"] > 0.6
    card = (tmp_path / "own" / "1" / "card.md").read_text(encoding="utf-8")
    assert "Labelled by reports" in card
    assert "synthetic" not in card
    assert "--labels reports --journal journal --since 2026-01-04 --until 2026-01-15 --label-delay 2160m" in card
    # What came after the end of training time is no matter, and the command makes the same trees again.
    end = training["until_ts"]
    (tmp_path / "log.jsonl").write_bytes(
        b"".join(msgspec.json.encode(event) + b"\n" for event in events if event.ts <= end)
    )
    again = _run(*training["command"].split()[2:], "--out", "again/1", "--name", "own", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again/1/model.txt").read_bytes() == (tmp_path / "own/1/model.txt").read_bytes()
