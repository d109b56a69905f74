"""Models of numbers: fair slices, honest figures, files that load, scores with reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from antifraud.domain import ModelError
from antifraud.scoring import Model
from antifraud.scoring.columns import columns_of
from antifraud.scoring.metrics import macro_f1, precision_at
from antifraud.scoring.number_table import Table
from antifraud.scoring.numbers import Scored, number_options, quarters, score_numbers, train_numbers

NAMES = ("calls", "peers", "handsets", "noise")
ROWS = 1500


def made_numbers(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of which a fifth are gateways: many calls to many peers from many handsets, but not always."""
    rng = np.random.default_rng(seed)
    y = rng.random(ROWS) < 0.2
    calls = rng.poisson(np.where(y, 38.0, 25.0)).astype(float)
    peers = np.where(rng.random(ROWS) < 0.1, np.nan, calls * rng.uniform(0.3, np.where(y, 1.0, 0.7)))
    handsets = 1.0 + rng.poisson(np.where(y, 1.5, 0.2))
    return np.stack([calls, peers.round(), handsets, rng.random(ROWS)], axis=1), y


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "mules" / "1"
    values, y = made_numbers()
    train_numbers(
        values, y, names=NAMES, out=out, name="mules", version="1", options=number_options(trees=60, threads=1)
    )
    return out


def _table(path: Path, values: np.ndarray, names: tuple[str, ...] = NAMES) -> Table:
    rows = [
        ",".join([f"+7700{at:06d}", *("" if value != value else repr(value) for value in row)])
        for at, row in enumerate(values.tolist())
    ]
    path.write_text("\n".join([",".join(["number", *names]), *rows]) + "\n", encoding="utf-8")
    return Table(path)


def test_rounds_divide_each_class_alike_and_four_of_them_use_every_row_once() -> None:
    y = np.random.default_rng(1).random(1001) < 0.3
    parts = list(quarters(y, 5, 1))
    for teach, held_out in parts:
        assert sorted([*teach, *held_out]) == list(range(1001))
        assert abs(len(held_out) - 1001 / 4) <= 2
        assert abs(int(y[held_out].sum()) - y.sum() / 4) <= 1
    assert sorted(np.concatenate([held_out for _teach, held_out in parts[:4]])) == list(range(1001))
    assert any((parts[0][1] != other).any() for _teach, other in parts[4:] if len(other) == len(parts[0][1]))


def test_what_is_written_says_what_it_is_and_how_good(trained: Path) -> None:
    manifest = Model.load(trained).manifest
    repeated = manifest.metrics["repeated"]
    assert manifest.training["mode"] == "numbers"
    assert manifest.windows == {}
    assert repeated["rounds"] == 5
    assert 0.9 < repeated["auc"] < 1.0
    assert 0.7 < repeated["macro_f1"] < 1.0
    assert 0.0 < repeated["auc_deviation"] < 0.1
    for level, part in repeated["levels"].items():
        for rare in ("0.001", "0.01"):
            expected = precision_at(float(rare), part["recall"], part["false"])
            assert part[f"precision_{rare}"] == pytest.approx(expected, abs=1e-3)
            if level != "even":
                assert part[f"precision_{rare}_at_least"] <= part[f"precision_{rare}"]
        assert part["precision_0.001"] <= part["precision_0.01"]
    assert sum(manifest.training["slice_rows"]) == ROWS
    card = (trained / "card.md").read_text(encoding="utf-8")
    assert "A model of numbers" in card
    assert "synthetic" not in card
    assert f"{repeated['auc']:.4f}" in card
    assert "precision at 0.1 % fraud" in card


def test_the_certificate_holds_on_numbers_that_nobody_has_seen(trained: Path) -> None:
    model = Model.load(trained)
    values, y = made_numbers(seed=99)
    scores = model.predict(values)
    for level, certificate in model.manifest.certificate.items():
        false = float((scores[~y] >= certificate.threshold).mean())
        assert false <= certificate.bound + 3 * np.sqrt(certificate.bound / (~y).sum()), level


def test_the_same_table_gives_the_same_files(trained: Path, tmp_path: Path) -> None:
    values, y = made_numbers()
    options = number_options(trees=60, threads=1)
    train_numbers(values, y, names=NAMES, out=tmp_path / "1", name="mules", version="1", options=options)
    for name in ("manifest.toml", "model.txt", "golden.csv", "card.md"):
        assert (tmp_path / "1" / name).read_bytes() == (trained / name).read_bytes()


def test_the_engine_refuses_a_model_of_numbers(trained: Path) -> None:
    with pytest.raises(ModelError, match="scores numbers from tables, not calls"):
        columns_of(Model.load(trained), {}, ("hour",))


def test_scores_are_the_models_whatever_the_order_of_columns_and_reasons_are_the_strongest(
    trained: Path, tmp_path: Path
) -> None:
    model = Model.load(trained)
    values, _y = made_numbers(seed=7)
    values[0] = [150.0, 140.0, 6.0, 0.5]
    shuffled = ("noise", "handsets", "unknown", "calls", "peers")
    columns = np.stack([values[:, 3], values[:, 2], np.zeros(ROWS), values[:, 0], values[:, 1]], axis=1)
    found = list(score_numbers(model, _table(tmp_path / "n.csv", columns, shuffled)))
    assert [one.score for one in found] == model.predict(values).tolist()
    assert found[0].id == "+7700000000"
    assert found[0].verdict == "block"
    assert len(found[0].reasons) == 3
    assert any(reason.startswith("handsets 6 (usual 1)") for reason in found[0].reasons)
    thresholds = model.thresholds
    added = model.contributions(values)
    for at, one in enumerate(found):
        reached = {"block": thresholds.block, "divert": thresholds.divert, "label": thresholds.label}
        assert one.verdict == next((name for name, least in reached.items() if one.score >= least), "")
        assert bool(one.reasons) == bool(one.verdict)
        if one.reasons:
            assert one.reasons[0].split(" ")[0] == NAMES[int(added[at].argmax())]
    every: list[Scored] = list(score_numbers(model, _table(tmp_path / "n.csv", values), reasons=1, every=True))
    assert [bool(one.reasons) for one in every] == (added > 0).any(axis=1).tolist()
    assert [one.score for one in every] == [one.score for one in found]


def test_contributions_add_up_to_the_raw_score(trained: Path) -> None:
    model = Model.load(trained)
    values, _y = made_numbers(seed=3)
    added = model.contributions(values[:50])
    p = model.predict(values[:50])
    calibration = model.manifest.calibration
    raw = (np.log(p / (1 - p)) - calibration.intercept) / calibration.slope
    rest = raw - added.sum(axis=1)
    assert np.ptp(rest) < 1e-9  # what every row begins with
    assert model.contributions(values[:0]).shape == (0, 4)


def test_a_model_of_calls_scores_no_table(tmp_path: Path) -> None:
    from antifraud.settings import load_settings

    model = Model.load(load_settings(env={}).model_dir)
    values, _y = made_numbers()
    with pytest.raises(ModelError, match="is one of calls") as caught:
        list(score_numbers(model, _table(tmp_path / "n.csv", values)))
    assert "--table" in caught.value.render()


def test_macro_f1_and_precision_by_hand() -> None:
    y = np.array([True, True, True, False, False])
    said = np.array([True, True, False, True, False])
    assert macro_f1(y, said) == pytest.approx((2 * 2 / 6 + 2 * 1 / 4) / 2)
    assert macro_f1(y, y) == 1.0
    assert precision_at(0.01, 0.5, 0.005) == pytest.approx(0.005 / (0.005 + 0.99 * 0.005))
    assert precision_at(0.32, 0.8, 0.0) == 1.0
    assert np.isnan(precision_at(0.01, 0.0, 0.0))
