"""`antifraud simulate`: what people and scripts see."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_writes_a_file_and_a_summary(tmp_path: Path) -> None:
    out = tmp_path / "events.jsonl"
    found = _run("--seed", "3", "--calls", "50", "--start", "2026-02-01T09:00", "--out", str(out), "--json")
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    summary = json.loads(found.stdout)
    assert summary["calls"] == 50
    assert summary["events"] == len(out.read_text(encoding="utf-8").splitlines())
    assert summary["start"] == 1_769_918_400.0  # local time of the scenario, UTC+5


def test_events_as_they_arrive_are_still_so_many_calls(tmp_path: Path) -> None:
    out = tmp_path / "events.jsonl"
    found = _run("--calls", "2000", "--as-delivered", "--out", str(out), "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["calls"] == 2000
    times = [json.loads(line)["ts"] for line in out.read_text(encoding="utf-8").splitlines()]
    assert times != sorted(times)


def test_a_pipe_gets_events_and_nothing_else() -> None:
    found = _run("--calls", "5", "--out", "-")
    assert found.returncode == 0
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert {line["kind"] for line in lines} >= {"setup", "release"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "x"],
        ["--calls", "0", "--out", "x"],
        ["--calls", "many", "--out", "x"],
        ["--calls", "5", "--out", "-", "--start", "yesterday"],
        ["--calls", "5", "--out", "-", "--start", "1767553200000"],
        ["--calls", "5", "--out", "-", "--scenario", "nowhere"],
        ["--calls", "5", "--out", "-", "--format", "parquet"],
        ["--calls", "5", "--out", "no/such/dir/x"],
        ["--calls", "5", "--out", "-", "--days", "1", "--calls-per-second", "1"],
        ["--calls", "5", "--out", "-", "--seed", "-4"],
        ["--days", "-1", "--calls-per-second", "nan", "--out", "-"],
    ],
)
def test_misuse_is_said_without_a_traceback(arguments: list[str], tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "antifraud.cli", "simulate", *arguments],
        capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert found.returncode == 2, found.stderr
    assert "Traceback" not in found.stderr
    assert found.stderr
    assert not list(tmp_path.iterdir())
