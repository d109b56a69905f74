"""Metrics and calibration against slow, obvious versions of themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from antifraud.scoring.calibration import Calibration, fit
from antifraud.scoring.metrics import auc, average_precision, pr_curve, recall, roc_curve, threshold_at


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(1)
    score = rng.integers(0, 8, 200).astype(float)
    y = rng.random(200) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in score[y] for b in score[~y]]
    assert auc(y, score) == pytest.approx(sum(pairs) / len(pairs))
    assert auc(y, y.astype(float)) == 1.0
    assert math.isnan(auc(np.ones(3, dtype=bool), np.zeros(3)))


def test_average_precision_by_hand() -> None:
    y = np.array([True, False, True, False, False])
    assert average_precision(y, np.array([0.9, 0.8, 0.7, 0.2, 0.1])) == pytest.approx((1.0 + 2 / 3) / 2)
    # All tied: precision is the share of fraud, in whatever order the rows come.
    assert average_precision(y, np.zeros(5)) == pytest.approx(0.4)
    assert math.isnan(average_precision(np.zeros(2, dtype=bool), np.zeros(2)))


def test_recall_counts_the_threshold_itself() -> None:
    y = np.array([True, True, False])
    assert recall(y, np.array([0.5, 0.4, 0.9]), 0.5) == 0.5
    assert math.isnan(recall(np.zeros(1, dtype=bool), np.zeros(1), 0.5))


def test_calibration_finds_the_distortion_and_keeps_the_order() -> None:
    rng = np.random.default_rng(2)
    z = rng.normal(-2, 2, 40_000)
    y = rng.random(40_000) < 1 / (1 + np.exp(-z))
    found = fit(z * 2.0 + 1.0, y)
    assert found.slope == pytest.approx(0.5, rel=0.05)
    assert found.intercept == pytest.approx(-0.5, abs=0.08)
    p = found.probabilities(np.sort(z))
    assert (np.diff(p) >= 0).all()


def test_calibration_without_both_classes_or_with_perfect_separation_is_harmless() -> None:
    raw = np.linspace(-5, 5, 1000)
    assert fit(raw, np.zeros(1000, dtype=bool)) == Calibration()
    separated = fit(raw, raw > 0)
    assert separated.slope > 0
    wrong = fit(raw, raw < 0)
    assert wrong == Calibration()


def test_probabilities_are_probabilities_at_the_extremes() -> None:
    p = Calibration().probabilities(np.array([-1e9, -800.0, 0.0, 800.0, 1e9]))
    assert np.isfinite(p).all()
    assert p[2] == 0.5
    assert p.min() >= 0.0
    assert p.max() <= 1.0


def test_a_threshold_lets_no_more_through_than_it_may() -> None:
    rng = np.random.default_rng(1)
    for benign in (rng.random(5000), rng.integers(0, 9, 5000) / 8.0, np.ones(100)):
        for rate in (0.0, 1e-4, 0.01, 0.3, 1.0):
            at = threshold_at(benign, rate)
            assert np.count_nonzero(benign >= at) <= rate * len(benign)
            lower = benign[benign < at]
            if len(lower):  # the next lower one would let too many through
                assert np.count_nonzero(benign >= lower.max()) > rate * len(benign)
    assert threshold_at(np.zeros(0), 0.5) == np.inf


def test_curves_agree_with_counting_at_every_threshold() -> None:
    rng = np.random.default_rng(2)
    y, score = rng.random(400) < 0.3, rng.integers(0, 30, 400) / 30.0
    false, found = roc_curve(y, score)
    recalls, precision = pr_curve(y, score)
    steps = np.unique(score)[::-1]
    assert false.tolist() == [0.0, *(np.mean(score[~y] >= at) for at in steps)]
    assert found.tolist() == [0.0, *(np.mean(score[y] >= at) for at in steps)]
    assert recalls.tolist() == found[1:].tolist()
    assert precision.tolist() == [np.mean(y[score >= at]) for at in steps]
    area = (np.diff(false) * (found[1:] + found[:-1]) / 2).sum()
    assert area == pytest.approx(auc(y, score))
