"""Synthetic rows that can be learnt, and a model trained on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from antifraud.scoring.training import Options, Rows, train

NAMES = ("caller_calls_1h", "caller_age", "spoofed_cli", "noise")
WINDOWS = {"unused": "0" * 16, "caller_age": "a" * 16, "caller_calls_1h": "c" * 16}
START = 1_767_553_200.0


def made_rows(seed: int = 1, days: int = 12, per_day: int = 1500) -> Rows:
    """Days with a pause between them, each with campaigns of its own; fraud is 4 % and half visible."""
    rng = np.random.default_rng(seed)
    count = days * per_day
    ts = np.concatenate([START + day * 2 * 86_400 + np.sort(rng.uniform(0, 86_400, per_day)) for day in range(days)])
    y = rng.random(count) < 0.04
    calls = rng.poisson(np.where(y, 9.0, 2.0)).astype(float)
    age = np.where(rng.random(count) < np.where(y, 0.7, 0.1), np.nan, rng.exponential(1e5, count))
    spoofed = (rng.random(count) < np.where(y, 0.5, 0.002)).astype(float)
    day = np.repeat(np.arange(days), per_day)
    campaign = np.where(y, np.char.add("c", np.char.add(day.astype(str), (rng.integers(0, 3, count)).astype(str))), "")
    scenario = np.where(y, "call_centre", "person")
    return Rows(np.stack([calls, age, spoofed, rng.random(count)], axis=1), y, ts, campaign, scenario)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "toy" / "1"
    train(
        made_rows(), names=NAMES, windows=WINDOWS, out=out, name="toy", version="1",
        options=Options(trees=20, leaves=7, threads=1), provenance={"command": "antifraud model train"},
    )  # fmt: skip
    return out


@pytest.fixture
def model_dir(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(trained, tmp_path / "model"))
