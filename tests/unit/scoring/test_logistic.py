"""The baseline finds the weights that made the data, and the minimum of its own loss."""

from __future__ import annotations

import numpy as np
import pytest

from antifraud.domain import ModelError
from antifraud.scoring.logistic import fit, fit_sampled
from antifraud.scoring.metrics import auc


def made(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two columns on which the class depends, one that it does not, and the true log odds."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (count, 3))
    odds = -2.0 + 1.5 * np.sign(x[:, 0]) * np.log1p(np.abs(x[:, 0])) - 1.0 * (x[:, 1] > 0)
    return x, rng.random(count) < 1 / (1 + np.exp(-odds)), odds


def test_it_finds_what_made_the_data() -> None:
    x, y, odds = made(40_000)
    x[:, 1] = x[:, 1] > 0
    fitted = fit(x, y)
    said = np.log(fitted.predict(x) / (1 - fitted.predict(x)))
    assert np.abs(said - odds).mean() < 0.06
    # At the minimum, the scores of a class-free column and the constant add up to what was seen.
    assert fitted.predict(x).sum() == pytest.approx(y.sum(), rel=1e-4)


def test_missing_values_carry_what_they_say() -> None:
    rng = np.random.default_rng(2)
    y = rng.random(5000) < 0.2
    x = rng.normal(0, 1, (5000, 2))
    x[:, 0] = np.where(rng.random(5000) < np.where(y, 0.8, 0.1), np.nan, x[:, 0])
    x[:, 1] = np.nan  # known of nobody
    fitted = fit(x.astype(np.float32), y)
    assert fitted.indicated.tolist() == [0]
    assert auc(y, fitted.predict(x)) > 0.8
    assert np.isfinite(fitted.predict(np.array([[np.nan, 3.0], [1e300, -1e300]]))).all()


def test_classes_that_a_column_separates_keep_finite_weights() -> None:
    y = np.arange(2000) % 2 == 0
    fitted = fit(y[:, None].astype(float) * 3, y)
    assert np.isfinite(fitted.weights).all()
    assert fitted.predict(np.array([[3.0]]))[0] > 0.99


def test_a_sample_stands_for_all() -> None:
    x, y, _odds = made(60_000)
    everything = np.arange(len(y))
    whole, part = fit_sampled(x, y, everything), fit_sampled(x, y, everything, most_benign=5000)
    assert np.abs(whole.predict(x[:1000]) - part.predict(x[:1000])).mean() < 0.02
    half = everything[: len(y) // 2]
    assert np.array_equal(fit_sampled(x, y, half).weights, fit(x[half], y[half]).weights)


def test_one_class_is_refused() -> None:
    with pytest.raises(ModelError, match="one class teaches nothing"):
        fit(np.zeros((10, 1)), np.zeros(10, dtype=np.bool_))
