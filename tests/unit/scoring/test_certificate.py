"""Exact binomial bounds and the thresholds that follow from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from antifraud.domain import ModelError
from antifraud.scoring.certificate import allowed_errors, certify, certify_classes, lower_bound, upper_bound


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


CLASS_NAMES = ("spared", "hard", "small", "easy")


@st.composite
def honest_calls(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores and classes: any sizes, classes without a call, ties, and the highest score there is."""
    sizes = draw(st.tuples(*[st.sampled_from([0, 1, 7, 300, 4_000]) for _ in CLASS_NAMES]).filter(any))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = [rng.random(size) ** draw(st.sampled_from([1.0, 4.0, 30.0])) for size in sizes]
    scores = np.round(np.concatenate(parts), draw(st.sampled_from([1, 3, 17])))
    codes = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
    order = rng.permutation(len(scores))
    return scores[order], codes[order]


@given(calls=honest_calls(), budget=st.sampled_from([1e-4, 1e-3, 0.02, 0.3]), margin=st.sampled_from([1.0, 2.0]))
@hypothesis_settings(deadline=None)
def test_no_class_has_more_errors_than_its_size_allows(
    calls: tuple[np.ndarray, np.ndarray], budget: float, margin: float
) -> None:
    scores, codes = calls
    reachable = np.where(codes == 0, -1.0, scores)
    overall = certify(reachable, budget, floor=0.3, margin=margin)
    together, classes = certify_classes(
        reachable, codes, CLASS_NAMES, overall, floor=0.3, margin=margin, never=("spared",)
    )
    assert list(classes) == list(CLASS_NAMES)
    assert classes["spared"].threshold is None
    hit = 0
    for code, (name, one) in enumerate(classes.items()):
        own = scores[codes == code]
        assert one.n == len(own)
        if one.threshold is None:
            assert (one.errors, one.bound, one.met) == (0, 0.0, True)
            assert name == "spared" or not len(own) or own.max() == 1.0
            continue
        made = int(np.count_nonzero(own >= one.threshold))
        hit += made
        assert one.errors == made <= max(0, allowed_errors(len(own), budget / margin))
        assert one.bound >= upper_bound(made, len(own)) * (1 - 1e-9)
        assert one.met == (one.bound <= budget)
        assert 0.3 <= one.threshold <= 1.0
        if allowed_errors(len(own), budget / margin) < 0:
            assert made == 0
            assert one.threshold >= overall.threshold
    assert together.errors == hit
    assert together.threshold == overall.threshold
    assert together.bound >= upper_bound(hit, len(scores)) * (1 - 1e-9)
    if together.bound > overall.bound and not together.met:
        raise AssertionError("classes must not cost the promise about all calls")
    harder = certify(reachable, budget / 10, floor=0.3, margin=margin)
    _all, block = certify_classes(
        reachable, codes, CLASS_NAMES, harder, floor=0.3, margin=margin, milder=classes, never=("spared",)
    )
    for name in CLASS_NAMES:
        low, high = classes[name].threshold, block[name].threshold
        assert high is None or (low is not None and low <= high)


def test_the_promise_about_all_calls_holds_as_often_as_it_says() -> None:
    """Two classes, one of which is hit ten times as easily: the rate of all stays within the bound."""
    rng = np.random.default_rng(5)
    budget, n, shares, violated, milder = 0.02, 4_000, (0.7, 0.3), 0, 0
    for _ in range(300):
        codes = (rng.random(n) < shares[1]).astype(np.int8)
        scores = rng.random(n) ** np.where(codes == 1, 0.5, 4.0)
        overall = certify(scores, budget)
        together, classes = certify_classes(scores, codes, ("easy", "hard"), overall)
        at = [classes[name].threshold for name in ("easy", "hard")]
        assert at[0] is not None
        assert at[1] is not None
        milder += at[0] < overall.threshold
        rate = shares[0] * (1 - at[0] ** (1 / 4.0)) + shares[1] * (1 - at[1] ** (1 / 0.5))
        violated += rate > together.bound
    assert milder == 300  # otherwise nothing is tried here
    assert violated <= 26  # 5 % of 300 is 15; three standard errors more
