"""Intervals over clusters: calls that hang together count as one."""

from __future__ import annotations

import numpy as np
import pytest

from antifraud.scoring.certificate import upper_bound
from antifraud.scoring.metrics import threshold_at
from antifraud.scoring.resampling import Clusters, false_rate, recall_at_rate


def test_a_share_is_that_of_the_calls_and_its_interval_that_of_the_clusters() -> None:
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(40), 50)
    hit = np.repeat(rng.random(40) < 0.5, 50)  # all calls of a cluster fare alike
    together = Clusters(clusters, 400, 1).shares(hit).of(0)
    alone = Clusters(np.arange(2000), 400, 1).shares(hit).of(0)
    assert together.value == alone.value == pytest.approx(hit.mean())
    # 40 draws instead of 2,000: wider by the root of 50.
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(50**0.5, rel=0.25)
    spread = (hit.mean() * (1 - hit.mean()) / 40) ** 0.5
    assert together.high - together.low == pytest.approx(2 * 1.96 * spread, rel=0.2)


def test_groups_weights_and_calls_left_out() -> None:
    clusters = Clusters(np.array([0, 0, 1, 1, 2]), 50, 1)
    hit = np.array([True, False, True, True, False])
    groups = np.array([0, 0, 1, 0, -1])
    weights = np.array([1.0, 3.0, 5.0, 4.0, 100.0])
    found = clusters.shares(hit, groups, 3, weights)
    assert found.total.tolist() == [8.0, 5.0, 0.0]
    assert found.hit.tolist() == [5.0, 5.0, 0.0]
    assert found.value[:2].tolist() == [5 / 8, 1.0]
    assert np.isnan(found.value[2])
    assert np.isnan(found.high[2])
    assert (found.low[:2] <= found.value[:2]).all()
    assert (found.value[:2] <= found.high[:2]).all()


def test_the_same_seed_draws_the_same() -> None:
    codes = np.arange(300) // 3
    hit = np.arange(300) % 7 == 0
    first, again, other = (Clusters(codes, 30, seed).shares(hit).of(0) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_no_hit_is_not_certainty() -> None:
    shares = Clusters(np.arange(1000), 50, 1).shares(np.zeros(1000, dtype=np.bool_))
    assert shares.of(0).high == 0.0
    assert false_rate(shares).high == upper_bound(0, 1000)


def test_recall_at_a_rate_chooses_its_threshold_anew_on_every_draw() -> None:
    rng = np.random.default_rng(3)
    benign, fraud = rng.normal(0, 1, 20_000), rng.normal(2.5, 1, 600)
    at = threshold_at(benign, 0.001)
    callers, campaigns = Clusters(np.arange(20_000) // 4, 100, 1), Clusters(np.arange(600) // 20, 100, 2)
    found = recall_at_rate(fraud, campaigns, benign, callers, 0.001, at)
    assert found.value == np.mean(fraud >= at)
    drawn = []
    for honest, bad in zip(callers.draws, campaigns.draws, strict=True):
        copies = np.repeat(benign, honest[callers.codes])
        cut = threshold_at(copies, 0.001)
        drawn.append(np.mean(np.repeat(fraud, bad[campaigns.codes]) >= cut))
    assert found.low == pytest.approx(np.quantile(drawn, 0.025))
    assert found.high == pytest.approx(np.quantile(drawn, 0.975))


def test_a_median_may_be_never() -> None:
    clusters = Clusters(np.arange(5), 100, 1)
    assert clusters.median(np.array([1.0, 2.0, 3.0, np.inf, np.inf])).value == 3.0
    assert clusters.median(np.array([1.0, 2.0, np.inf, np.inf, np.inf])).value == np.inf
    assert np.isnan(Clusters(np.zeros(0, dtype=np.int64), 20, 1).median(np.zeros(0)).value)
