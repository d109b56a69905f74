"""The model that ships: whole, small, honest about itself, and fitting the rules that ship with it."""

from __future__ import annotations

import pytest

from antifraud.decision import MODEL_FACTS, load_bundle
from antifraud.scoring import Model
from antifraud.scoring.certificate import upper_bound
from antifraud.settings import data_dir

DIRECTORIES = sorted(path.parent for path in data_dir("models").glob("*/*/manifest.toml"))


def test_there_is_one() -> None:
    assert DIRECTORIES


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_it_is_whole_small_and_fits_the_rules(directory) -> None:  # type: ignore[no-untyped-def]
    model = Model.load(directory)
    assert f"{model.manifest.name}/{model.manifest.version}" == f"{directory.parent.name}/{directory.name}"
    assert (directory / "model.txt").stat().st_size < 310_000
    windows = load_bundle(data_dir("rules")).windows
    assert model.features == (*windows.names, *MODEL_FACTS)
    assert model.windows_digest == windows.digest


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_its_certificate_can_be_recomputed(directory) -> None:  # type: ignore[no-untyped-def]
    manifest = Model.load(directory).manifest
    block = manifest.certificate["block"]
    assert block.budget <= 1e-4
    assert block.met
    assert upper_bound(block.errors, block.n, block.confidence) <= block.bound * (1 + 1e-9) <= block.budget * (1 + 1e-9)
    assert manifest.training["command"].startswith("antifraud model train")
    assert "synthetic" in (directory / "card.md").read_text(encoding="utf-8").lower()
    for name in ("manifest.toml", "card.md", "golden.csv"):
        assert "/home/" not in (directory / name).read_text(encoding="utf-8")
