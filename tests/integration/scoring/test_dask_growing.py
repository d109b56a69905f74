"""Trees that two workers of a real Dask cluster grow: a model that loads, finds fraud, and predicts LightGBM's bits."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")
pytest.importorskip("sklearn")

_PROGRAM = """
import sys
from pathlib import Path
from antifraud.cli.dask_growing import on_dask
from antifraud.scoring import Model
from antifraud.scoring.training import Options, train

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[2])
    import conftest as rows
    with on_dask("local", 2) as grower:
        metrics = train(
            rows.made_rows(), names=rows.NAMES, windows=rows.WINDOWS, out=Path(sys.argv[1]), name="toy", version="1",
            options=Options(trees=15, leaves=7, threads=1), grower=grower,
        )
    print(metrics["auc"], Model.load(Path(sys.argv[1])).manifest.training["trees"])
"""


def test_two_workers_grow_a_model_that_loads(tmp_path: Path) -> None:
    program = tmp_path / "grow.py"
    program.write_text(_PROGRAM, encoding="utf-8")
    rows = Path(__file__).parents[2] / "unit" / "scoring"
    command = [sys.executable, str(program), str(tmp_path / "toy" / "1"), str(rows)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert found.returncode == 0, found.stderr[-2000:]
    area, trees = found.stdout.split("\n")[-2].split()
    assert float(area) > 0.9
    assert 1 <= int(trees) <= 15
    assert sorted(path.name for path in (tmp_path / "toy" / "1").iterdir()) == [
        "card.md", "golden.csv", "manifest.toml", "model.txt",
    ]  # fmt: skip


def test_a_scheduler_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "antifraud.cli", "model", "train", "--seeds", "1-8", "--days", "1", "--calls", "300",
        "--dask", "nonsense://", "--out", str(tmp_path / "x" / "1"),
    ]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert found.returncode == 2, found.stderr
    assert "no Dask scheduler answers at 'nonsense://'" in found.stderr
    assert "Traceback" not in found.stderr


def test_what_it_needs_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from antifraud.cli.dask_growing import on_dask
    from antifraud.domain import UsageError

    there = importlib.util.find_spec

    def hidden(name: str, package: str | None = None) -> object:
        return None if name == "pandas" else there(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    with pytest.raises(UsageError, match="not there: pandas"), on_dask("local", 1):
        pass
