"""Usual values: values that honest calls had, written when a model is trained; a model without them still loads."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from antifraud.scoring import Model, read_manifest, write_manifest
from antifraud.scoring.manifest import Usual
from antifraud.scoring.usual import usual_values


def test_they_are_values_that_calls_had_and_missing_ones_do_not_count() -> None:
    counts = np.arange(100.0)
    some = np.where(np.arange(100) < 90, np.nan, 7.0)
    rows = np.stack([counts, some, np.full(100, np.nan)], axis=1)
    found = usual_values(rows, ("counts", "some", "none"))
    assert found == {"counts": Usual(4.0, 49.0, 94.0), "some": Usual(7.0, 7.0, 7.0)}
    assert usual_values(rows[:0], ("counts", "some", "none")) == {}


def test_of_very_many_calls_a_part_is_enough() -> None:
    rows = np.arange(600_001.0)[:, None]
    (usual,) = usual_values(rows, ("n",)).values()
    assert abs(usual.median - 300_000) < 10


def test_training_writes_those_of_honest_calls(model_dir: Path) -> None:
    usual = read_manifest(model_dir / "manifest.toml").usual
    assert usual["caller_calls_1h"] == Usual(0.0, 2.0, 5.0)  # honest calls are drawn from Poisson(2), fraud from 9
    assert usual["spoofed_cli"] == Usual(0.0, 0.0, 0.0)


def test_a_model_without_them_is_the_same_model(model_dir: Path) -> None:
    loaded = Model.load(model_dir)
    path = model_dir / "manifest.toml"
    write_manifest(msgspec.structs.replace(read_manifest(path), usual={}), path)
    again = Model.load(model_dir)
    assert again.id == loaded.id
    assert again.manifest.usual == {}
