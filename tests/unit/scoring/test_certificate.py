"""Exact binomial bounds and the thresholds that follow from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from antifraud.domain import ModelError
from antifraud.scoring.certificate import allowed_errors, certify, lower_bound, upper_bound


def _tail(errors: int, n: int, p: float) -> float:
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(errors + 1))


@pytest.mark.parametrize(("errors", "n"), [(0, 1), (0, 29956), (1, 50), (5, 100), (49, 60), (99, 100), (3, 1000)])
def test_the_bound_is_the_rate_at_which_so_few_errors_are_a_5_percent_chance(errors: int, n: int) -> None:
    bound = upper_bound(errors, n)
    if n <= 1000:
        assert _tail(errors, n, bound) == pytest.approx(0.05, rel=1e-6)
    if errors == 0:
        assert bound == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)


def test_bounds_agree_with_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    for errors, n in ((0, 10), (12, 200_000), (500, 100_000), (9_999, 10_000)):
        assert upper_bound(errors, n) == pytest.approx(
            float(special.betaincinv(errors + 1, n - errors, 0.95)), rel=1e-7
        )


@pytest.mark.parametrize(("errors", "n"), [(1, 50), (5, 100), (49, 60), (100, 100), (3, 1000)])
def test_the_lower_bound_is_the_rate_at_which_so_many_errors_are_a_5_percent_chance(errors: int, n: int) -> None:
    assert 1.0 - _tail(errors - 1, n, lower_bound(errors, n)) == pytest.approx(0.05, rel=1e-6)


def test_ends_and_nonsense() -> None:
    assert upper_bound(7, 7) == 1.0
    assert lower_bound(0, 100) == 0.0
    assert lower_bound(5, 100) == pytest.approx(0.0199, abs=2e-4)
    with pytest.raises(ValueError, match="errors among"):
        upper_bound(3, 2)


def test_how_many_errors_a_budget_allows() -> None:
    assert allowed_errors(29_955, 1e-4) == -1
    assert allowed_errors(29_957, 1e-4) == 0
    for n in (40_000, 100_000, 300_000):
        allowed = allowed_errors(n, 1e-4)
        assert upper_bound(allowed, n) <= 1e-4 < upper_bound(allowed + 1, n)
    assert allowed_errors(0, 0.5) == -1


def test_the_threshold_lets_exactly_so_many_through() -> None:
    scores = np.linspace(0.0, 0.99, 100_000)
    found = certify(scores, 1e-4)
    assert found.errors == allowed_errors(100_000, 1e-4) == int(np.count_nonzero(scores >= found.threshold))
    assert found.met
    assert found.bound <= 1e-4


def test_too_small_a_slice_allows_no_error_and_says_so() -> None:
    scores = np.linspace(0.0, 0.9, 5_000)
    found = certify(scores, 1e-4)
    assert not found.met
    assert found.errors == 0
    assert found.threshold > 0.9
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 5_000))


def test_a_floor_lifts_the_threshold_and_ties_are_counted() -> None:
    assert certify(np.zeros(100_000), 1e-4, floor=0.7).threshold == 0.7
    tied = np.array([0.5] * 1_000 + [0.1] * 99_000)
    found = certify(tied, 1e-4)
    assert found.threshold > 0.5
    assert found.errors == 0


def test_a_margin_is_stricter_and_the_promise_stays_the_budget() -> None:
    scores = np.linspace(0.0, 0.99, 200_000)
    plain, careful = certify(scores, 1e-4), certify(scores, 1e-4, margin=3.0)
    assert careful.errors == allowed_errors(200_000, 1e-4 / 3.0) < plain.errors
    assert careful.threshold > plain.threshold
    assert careful.budget == 1e-4
    assert careful.bound <= 1e-4 / 3.0
    small = certify(scores[:40_000], 1e-4, margin=3.0)
    assert small.errors == 0
    assert small.met


def test_scores_at_the_very_top_are_not_hidden() -> None:
    found = certify(np.array([1.0] * 500 + [0.1] * 99_500), 1e-4)
    assert found.threshold == 1.0
    assert found.errors == 500
    assert not found.met


def test_the_bound_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    budget, n, violated = 0.01, 1_000, 0
    for _ in range(400):
        threshold = certify(rng.random(n), budget).threshold
        violated += (1.0 - threshold) > budget
    assert violated <= 34  # 5 % of 400 is 20; three standard errors more


def test_nothing_to_choose_on_is_refused() -> None:
    with pytest.raises(ModelError):
        certify(np.array([]), 1e-4)
    with pytest.raises(ModelError):
        certify(np.array([0.1, np.nan]), 1e-4)
