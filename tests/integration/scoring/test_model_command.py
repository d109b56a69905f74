"""`antifraud model` end to end: simulated calls through the real fold and facts, into a model that fits the engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def _run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, cwd=cwd)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "toy" / "7"
    found = _run("model", "train", "--seeds", "1-8", "--calls", "2000", "--trees", "15", "--out", str(out), "--json")
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    result = json.loads(found.stdout)
    assert result["model"].startswith("toy/7@")
    assert result["metrics"]["auc"] > 0.6
    return out


def test_the_manifest_says_how_to_make_it_again_and_no_path(model_dir: Path) -> None:
    text = (model_dir / "manifest.toml").read_text(encoding="utf-8")
    assert "antifraud model train --seeds 1-8 --calls 2000" in text
    assert str(model_dir.parent.parent) not in text


def test_training_from_files_uses_the_same_rows(model_dir: Path, tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        path = tmp_path / f"s{seed}.{'parquet' if seed == 2 else 'jsonl'}"
        assert _run("simulate", "--seed", str(seed), "--calls", "1000", "--out", str(path)).returncode == 0
        paths.append(str(path))
    files = _run("model", "evaluate", str(model_dir), *paths, "--json")
    seeds = _run("model", "evaluate", str(model_dir), "--seeds", "1", "--calls", "1000", "--json")
    assert files.returncode in (0, 1), files.stderr
    assert json.loads(files.stdout)["metrics"]["rows"] == 2000
    assert json.loads(seeds.stdout)["metrics"]["rows"] == 1000


def test_card_and_promote(model_dir: Path) -> None:
    card = _run("model", "card", str(model_dir))
    assert card.returncode == 0
    assert "synthetic" in card.stdout
    done = _run("model", "promote", str(model_dir), "--to", "enforce", "--json")
    assert json.loads(done.stdout) == {
        "model": json.loads(done.stdout)["model"],
        "from": "shadow",
        "to": "enforce",
    }
    assert json.loads(_run("model", "card", str(model_dir), "--json").stdout)["stage"] == "enforce"
    assert _run("model", "promote", str(model_dir), "--to", "shadow").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--out", "m/x/1"],
        ["train", "--seeds", "3-1", "--out", "m/x/1"],
        ["train", "--seeds", "1,1", "--out", "m/x/1"],
        ["train", "--seeds", "one", "--out", "m/x/1"],
        ["train", "nothing.jsonl", "--out", "m/x/1"],
        ["train", "--seeds", "1", "--calls", "0", "--out", "m/x/1"],
        ["train", "--seeds", "1", "--calls", "100", "--out", "m/x/1"],
        ["train", "--seeds", "1", "--out", "m/x/1", "--name", "../evil"],
        ["train", "--seeds", "1", "--out", "m/x/1", "--block-budget", "0.1", "--divert-budget", "0.01"],
        ["train", "--seeds", "1", "--calls", "10", "--scenario", "nowhere", "--out", "m/x/1"],
        ["card", "nowhere"],
        ["promote", "nowhere", "--to", "shadow"],
        ["promote", "nowhere", "--to", "orbit"],
        ["evaluate", "nowhere", "--seeds", "1"],
    ],
)
def test_misuse_is_said_without_a_traceback(arguments: list[str], tmp_path: Path) -> None:
    found = _run("model", *arguments, cwd=tmp_path)
    assert found.returncode == 2, (found.stdout, found.stderr)
    assert "Traceback" not in found.stderr
    assert found.stderr
    assert not list(tmp_path.iterdir())
