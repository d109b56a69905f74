"""The model that ships: whole, small, honest about itself, and fitting the rules that ship with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antifraud.decision import MODEL_FACTS, load_bundle
from antifraud.scoring import Model
from antifraud.scoring.certificate import upper_bound
from antifraud.scoring.columns import columns_of
from antifraud.settings import data_dir, load_settings


def newest(model: Path) -> Path:
    """The directory of the highest version of ``model``: 10 is above 9."""
    return max(
        (path.parent for path in model.glob("*/manifest.toml")),
        key=lambda path: [int(part) for part in re.findall("[0-9]+", path.name)],
    )


@pytest.fixture(scope="module")
def directory() -> Path:
    return newest(data_dir("models") / "kz-calls")


def test_the_newest_version_is_the_highest_number(tmp_path: Path) -> None:
    for version in ("1", "9", "10", "11"):
        (tmp_path / version).mkdir()
        if version != "11":
            (tmp_path / version / "manifest.toml").touch()
    assert newest(tmp_path) == tmp_path / "10"


def test_the_default_configuration_names_it(directory: Path) -> None:
    assert load_settings(env={}).model_dir == directory


def test_it_is_whole_small_and_fits_the_rules(directory: Path) -> None:
    model = Model.load(directory)
    assert f"{model.manifest.name}/{model.manifest.version}" == f"{directory.parent.name}/{directory.name}"
    assert (directory / "model.txt").stat().st_size < 1_200_000
    windows = load_bundle(data_dir("rules")).windows
    assert len(columns_of(model, windows.digests, MODEL_FACTS)) == len(model.features)


def test_its_certificate_can_be_recomputed(directory: Path) -> None:
    manifest = Model.load(directory).manifest
    block = manifest.certificate["block"]
    assert block.budget <= 1e-4
    assert block.met
    assert upper_bound(block.errors, block.n, block.confidence) <= block.bound * (1 + 1e-9) <= block.budget * (1 + 1e-9)
    for levels in manifest.classes.values():
        for one in levels.values():
            if one.threshold is not None:
                assert upper_bound(one.errors, one.n, one.confidence) <= one.bound * (1 + 1e-9)
                assert one.met == (one.bound <= one.budget)
    assert manifest.training["command"].startswith("antifraud model train")
    assert "synthetic" in (directory / "card.md").read_text(encoding="utf-8").lower()
    for name in ("manifest.toml", "card.md", "golden.csv"):
        assert "/home/" not in (directory / name).read_text(encoding="utf-8")
