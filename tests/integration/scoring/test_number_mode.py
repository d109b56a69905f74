"""`antifraud model train --table` and `model score`: real subscribers where they are, made-up ones everywhere."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest


def _run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", "model", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=cwd, env=environment)


def _numbers(path: Path, count: int = 1200) -> Path:
    draw = random.Random(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["msisdn", "calls", "peers", "fraud"])
        for at in range(count):
            fraud = draw.random() < 0.2
            calls = draw.randint(20, 200) if fraud else draw.randint(1, 80)
            writer.writerow([f"+7700{at:07d}", calls, draw.randint(1, calls) if at % 9 else "", int(fraud)])
    return path


@pytest.mark.needs("shared_data")
def test_real_subscribers(shared_data: Path, tmp_path: Path) -> None:
    table = shared_data / "numbers_sichuan.csv"
    found = _run("train", "--table", str(table), "--label", "label", "--out", "own/1", "--json", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    repeated = json.loads(found.stdout)["metrics"]["repeated"]
    assert repeated["rounds"] == 5
    assert repeated["auc"] >= 0.955
    assert repeated["macro_f1"] >= 0.905
    label = repeated["levels"]["label"]
    assert 0 < label["precision_0.001"] < label["precision_0.01"] < 1
    assert label["recall"] > 0.7
    scored = _run("score", "own/1", "--table", str(table), "--out", "scores.csv", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4885
    assert all(line["reason_1"] for line in lines if line["verdict"])
    # Real data stays where it is: the manifest says which file it was, by name and hash.
    assert str(shared_data) not in (tmp_path / "own" / "1" / "manifest.toml").read_text(encoding="utf-8")


def test_train_score_and_make_it_again(tmp_path: Path) -> None:
    _numbers(tmp_path / "n.csv")
    asked = ("--table", "n.csv", "--label", "fraud", "--trees", "40", "--out", "own/1")
    found = _run("train", *asked, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "5 rounds of three quarters to learn, one to measure: AUC 0." in found.stdout
    assert "where 1 in 1,000 is" in found.stdout
    manifest = json.loads(_run("card", "own/1", "--json", cwd=tmp_path).stdout)
    again = manifest["training"]["command"].split()[2:]
    assert _run(*again, "--out", "again/1", "--name", "own", cwd=tmp_path).returncode == 0
    for name in ("manifest.toml", "model.txt", "golden.csv", "card.md"):
        assert (tmp_path / "again" / "1" / name).read_bytes() == (tmp_path / "own" / "1" / name).read_bytes()
    scored = _run("score", "own/1", "--table", "n.csv", "--out", "s.csv", "--reasons", "2", "--json", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    summary = json.loads(scored.stdout)
    assert summary["numbers"] == 1200 == sum(summary["verdicts"].values())
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["msisdn", "score", "verdict", "reason_1", "reason_2"]
    assert [line[0] for line in lines[1:]] == [f"+7700{at:07d}" for at in range(1200)]
    assert all(0 <= float(line[1]) <= 1 for line in lines[1:])


def test_a_bad_line_at_the_end_leaves_no_scores_behind(tmp_path: Path) -> None:
    table = _numbers(tmp_path / "n.csv", 6000)
    asked = ("--table", "n.csv", "--label", "fraud", "--trees", "10", "--out", "own/1")
    assert _run("train", *asked, cwd=tmp_path).returncode == 0
    (tmp_path / "s.csv").write_text("before", encoding="utf-8")
    with table.open("a", encoding="utf-8") as file:
        file.write("+77009999999,4,x,0\n")
    found = _run("score", "own/1", "--table", "n.csv", "--out", "s.csv", cwd=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith("n.csv:6002:16: peers is 'x', which is no number\n")
    assert (tmp_path / "s.csv").read_text(encoding="utf-8") == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.csv", "own", "s.csv"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--table", "n.csv", "--out", "m/1"], "which column says who is fraud?"),
        (["train", "--label", "fraud", "--seeds", "1", "--out", "m/1"], "--label and --id are about a --table"),
        (["train", "--table", "n.csv", "--label", "fraud", "--seeds", "1", "--out", "m/1"], "not on both"),
        (["train", "--table", "n.csv", "--label", "frau", "--out", "m/1"], "did you mean 'fraud'?"),
        (["train", "--table", "n.csv", "--label", "fraud", "--features", "call", "--out", "m/1"], "no column 'call'"),
        (["train", "--table", "none.csv", "--label", "fraud", "--out", "m/1"], "cannot read none.csv"),
        (["train", "--table", ".", "--label", "fraud", "--out", "m/1"], "no ordinary file"),
        (["train", "--table", "n.csv", "--label", "calls", "--out", "m/1"], "n.csv:2:"),
        (["train", "--table", "leak.csv", "--label", "fraud", "--out", "m/1"], "the column closed alone tells"),
        (["score", "nowhere", "--table", "n.csv", "--out", "s.csv"], "there is no model in nowhere"),
        (["score", "nowhere", "--out", "s.csv"], "--table"),
    ],
)
def test_misuse_is_said_without_a_traceback(arguments: list[str], said: str, tmp_path: Path) -> None:
    table = _numbers(tmp_path / "n.csv", 300)
    rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    with (tmp_path / "leak.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["closed" if at == 0 else row[3], *row] for at, row in enumerate(rows)])
    found = _run(*arguments, cwd=tmp_path)
    assert found.returncode == 2, (found.stdout, found.stderr)
    assert "Traceback" not in found.stderr
    assert said in found.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leak.csv", "n.csv"]


def test_the_table_is_not_written_over(tmp_path: Path) -> None:
    _numbers(tmp_path / "n.csv")
    asked = ("--table", "n.csv", "--label", "fraud", "--trees", "10", "--out", "own/1")
    assert _run("train", *asked, cwd=tmp_path).returncode == 0
    before = (tmp_path / "n.csv").read_bytes()
    for out in ("n.csv", "./n.csv", "own"):
        found = _run("score", "own/1", "--table", "n.csv", "--out", out, cwd=tmp_path)
        assert found.returncode == 2
        assert "name another" in found.stderr
    assert (tmp_path / "n.csv").read_bytes() == before
