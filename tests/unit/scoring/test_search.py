"""The search: bounded, reproducible, judged on the second slice alone, and told in the manifest."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antifraud.scoring import Model
from antifraud.scoring.search import BRACKET, MOST_TOLD, RATES, RandomSearch, draw, merit, part_of
from antifraud.scoring.training import Options, Rows, split, train

_spec = importlib.util.spec_from_file_location("scoring_rows", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
_rows = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_rows)
QUICK = Options(trees=8, leaves=7, threads=1)


def _train(out: Path, search: RandomSearch, rows: Rows | None = None) -> dict[str, Any]:
    return train(
        rows or _rows.made_rows(), names=_rows.NAMES, windows=_rows.WINDOWS, out=out, name="toy", version="1",
        options=QUICK, search=search,
    )  # fmt: skip


def test_the_same_seed_tries_and_chooses_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _train(tmp_path / name, RandomSearch(6))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    told = Model.load(tmp_path / "a").manifest.training["search"]
    assert told["trials"] == 6
    # What was given, six on a ninth, two on a third, one on all.
    assert told["trainings"] == 1 + 6 + 2 + 1
    assert [row["share"] for row in told["tried"]] == [1.0, 1.0, 0.3333, 0.3333, *[0.1111] * 6]
    chosen = next(row for row in told["tried"] if row["trial"] == told["chosen"] and row["share"] == 1.0)
    manifest = Model.load(tmp_path / "a").manifest
    for name in ("leaves", "learning_rate", "min_leaf", "feature_fraction", "lambda_l2", "fraud_weight", "trees"):
        assert manifest.training[name] == chosen[name]


def test_what_is_chosen_is_never_worse_on_the_second_slice_than_what_was_given(tmp_path: Path) -> None:
    search = RandomSearch(BRACKET)
    _train(tmp_path / "a", search)
    whole = {trial.number: trial.merit for trial in search.tried if trial.share == 1.0}
    chosen = Model.load(tmp_path / "a").manifest.training["search"]["chosen"]
    assert whole[chosen] == max(whole.values())
    assert 0 in whole


def test_the_slices_that_certify_and_measure_do_not_matter_to_the_choice(tmp_path: Path) -> None:
    rows, other = _rows.made_rows(), _rows.made_rows()
    later = np.concatenate(split(rows, QUICK.slices)[2:])
    other.X = other.X.copy()
    other.X[later] = np.random.default_rng(5).permutation(other.X[later])
    one, two = RandomSearch(4), RandomSearch(4)
    _train(tmp_path / "a", one, rows)
    _train(tmp_path / "b", two, other)
    assert one.tried == two.tried
    assert (tmp_path / "a" / "model.txt").read_bytes() == (tmp_path / "b" / "model.txt").read_bytes()


def test_it_ends_when_it_is_told_to_and_still_has_a_choice(tmp_path: Path) -> None:
    left = iter([True, True, True, False])
    search = RandomSearch(1000, go_on=lambda: next(left, False))
    _train(tmp_path / "a", search)
    told = Model.load(tmp_path / "a").manifest.training["search"]
    assert told["trials"] == 2
    assert told["trainings"] == 3
    assert told["chosen"] == 0


def test_the_manifest_tells_of_so_many_and_no_more(tmp_path: Path) -> None:
    search = RandomSearch(4 * BRACKET)
    _train(tmp_path / "a", search)
    told = Model.load(tmp_path / "a").manifest.training["search"]
    assert told["trainings"] == len(search.tried) == 1 + 4 * (9 + 3 + 1)
    assert len(told["tried"]) == MOST_TOLD


def test_progress_is_told_before_each_training(tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    search = RandomSearch(3, on_trial=lambda *told: seen.append(told))
    _train(tmp_path / "a", search)
    assert [drawn for drawn, _most, _best in seen] == [0, 1, 2, 3, 3]
    assert {most for _drawn, most, _best in seen} == {3}
    assert seen[0][2] == 0.0
    assert seen[-1][2] > 0.0


def test_candidates_follow_from_seed_and_number() -> None:
    assert draw(QUICK, 5) == draw(QUICK, 5)
    assert len({draw(QUICK, number).learning_rate for number in range(1, 40)}) > 30
    assert draw(Options(seed=2), 5) != draw(Options(seed=1, trees=100), 5)
    for number in range(1, 200):
        one = draw(Options(), number)
        assert 2 <= one.leaves <= 255
        assert one.trees <= 400
        assert 0.001 <= one.learning_rate <= 1
        assert 0 < one.feature_fraction <= 1


def test_merit_counts_fraud_above_the_honest_calls_that_may_be_hit() -> None:
    y = np.zeros(10_100, dtype=bool)
    y[:100] = True
    scores = np.where(y, 0.9, 0.1)
    scores[100:102] = 1.0  # two honest calls above all fraud: too many for 1e-4, allowed for 2e-4 and 5e-4
    assert merit(y, scores).recall == pytest.approx(2 / 3, abs=1e-6)
    assert len(RATES) == 3


def test_a_part_has_all_fraud_and_every_so_manieth_honest_call() -> None:
    rows = _rows.made_rows(days=2)
    part = part_of(rows, 1 / 9)
    assert rows.y[part].sum() == rows.y.sum()
    assert abs((~rows.y[part]).sum() - (~rows.y).sum() / 9) < 1
    assert (np.diff(part) > 0).all()
