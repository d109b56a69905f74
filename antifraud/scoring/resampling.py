"""Bootstrap over clusters: calls of one campaign, or of one honest caller, come and go together.

Calls of one campaign are alike; an interval that took each for a draw of its own would be too narrow by far. So whole
clusters are drawn with replacement, campaigns and honest callers each among themselves (Field and Welsh, 2007,
"Bootstrapping clustered data"), and everything is counted again on each draw. Seeded: the same calls and seed give the
same intervals.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.scoring.certificate import upper_bound

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CONFIDENCE: Final = 0.95
_MOST: Final = 255


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its interval: 95 % two-sided percentiles of the bootstrap; NaN where nothing was measured."""

    value: float
    low: float
    high: float


class Shares(msgspec.Struct, frozen=True):
    """Of each group: what was measured, what of it was hit, and the share with its interval."""

    total: Floats
    hit: Floats
    value: Floats
    low: Floats
    high: Floats

    def of(self, group: int) -> Estimate:
        """The share of one group."""
        return Estimate(float(self.value[group]), float(self.low[group]), float(self.high[group]))


class Clusters:
    """Clusters of calls with ``rounds`` draws of them. ``codes`` says the cluster of each call, from 0 on."""

    def __init__(self, codes: Integers, rounds: int, seed: int) -> None:
        self.codes = codes
        self.count = int(codes.max()) + 1 if len(codes) else 0
        rng = np.random.default_rng(np.random.SeedSequence([seed, self.count]))
        # How often each cluster is drawn; one byte each, so that 200 draws of a million clusters fit in memory.
        self.draws = np.empty((rounds, self.count), dtype=np.uint8)
        for draw in self.draws:
            drawn = np.bincount(rng.integers(0, self.count, self.count), minlength=self.count) if self.count else draw
            draw[:] = np.minimum(drawn, _MOST)

    def shares(
        self, hit: npt.NDArray[np.bool_], groups: Integers | None = None, count: int = 1, weights: Floats | None = None
    ) -> Shares:
        """The share of calls hit in each of ``count`` groups; each call counts ``weights``, by default 1.

        A group of -1 leaves the call out.
        """
        codes, weight = self.codes, np.ones(len(self.codes)) if weights is None else weights
        group = np.zeros(len(codes), dtype=np.int64) if groups is None else groups.astype(np.int64)
        if (group < 0).any():
            keep = group >= 0
            codes, hit, weight, group = codes[keep], hit[keep], weight[keep], group[keep]
        pairs, inverse = np.unique(codes * count + group, return_inverse=True)
        total = np.bincount(inverse, weights=weight, minlength=len(pairs))
        found = np.bincount(inverse, weights=weight * hit, minlength=len(pairs))
        cluster, of = pairs // count, pairs % count
        some = np.flatnonzero(found)  # few clusters are hit, most of them honest callers that nothing stops
        rates = np.full((len(self.draws), count), np.nan)
        for row, draw in zip(rates, self.draws, strict=True):
            measured = np.bincount(of, weights=total * draw[cluster], minlength=count)
            hits = np.bincount(of[some], weights=found[some] * draw[cluster[some]], minlength=count)
            np.divide(hits, measured, out=row, where=measured > 0)
        counted = np.bincount(of, weights=total, minlength=count).astype(np.float64)
        made = np.bincount(of, weights=found, minlength=count).astype(np.float64)
        value = np.divide(made, counted, out=np.full(count, np.nan), where=counted > 0)
        low, high = _interval(rates)
        return Shares(counted, made, value, np.fmin(low, value), np.fmax(high, value))

    def median(self, values: Floats) -> Estimate:
        """The median of ``values``, one for each cluster, with its interval; infinite ones count, NaN are none."""
        if not len(values):
            return Estimate(float("nan"), float("nan"), float("nan"))
        order = np.argsort(values, kind="stable")
        drawn = np.empty((len(self.draws), 1))
        for row, draw in zip(drawn, self.draws, strict=True):
            reached = np.cumsum(draw[order].astype(np.int64))
            row[0] = values[order[min(len(order) - 1, int(np.searchsorted(reached, reached[-1] / 2)))]]
        middle = float(values[order[(len(order) - 1) // 2]])
        if not np.isfinite(drawn).all():
            ordered = np.sort(drawn[:, 0])
            last = len(ordered) - 1
            return Estimate(middle, float(ordered[int(0.025 * last)]), float(ordered[int(np.ceil(0.975 * last))]))
        low, high = _interval(drawn)
        return Estimate(middle, float(low[0]), float(high[0]))


def recall_at_rate(
    fraud: Floats, campaigns: Clusters, benign: Floats, callers: Clusters, rate: float, threshold: float
) -> Estimate:
    """The share of ``fraud`` scores at or above ``threshold``, the one that lets ``rate`` of ``benign`` ones through.

    The interval chooses the threshold anew on every draw: it is part of what is uncertain.
    """
    if not len(fraud) or not len(benign):
        return Estimate(float("nan"), float("nan"), float("nan"))
    # Only the highest benign scores can decide about the threshold; ten times as many as the rate allows are enough
    # for any draw.
    keep = min(len(benign), max(1000, int(10 * rate * len(benign))))
    top = np.argpartition(benign, len(benign) - keep)[len(benign) - keep :]
    top = top[np.argsort(-benign[top], kind="stable")]
    scores, owners = benign[top], callers.codes[top]
    sizes = np.bincount(callers.codes, minlength=callers.count).astype(np.float64)
    order = np.argsort(fraud, kind="stable")
    ordered, campaign = fraud[order], campaigns.codes[order]
    drawn = np.empty((len(callers.draws), 1))
    for row, honest, bad in zip(drawn, callers.draws, campaigns.draws, strict=True):
        allowed = np.floor(rate * float(sizes @ honest))
        reached = np.cumsum(honest[owners].astype(np.int64))
        first_over = int(np.searchsorted(reached, allowed, side="right"))
        at = np.nextafter(scores[first_over], np.inf) if first_over < len(scores) else scores[-1]
        weights = bad[campaign].astype(np.float64)
        from_here = int(np.searchsorted(ordered, at, side="left"))
        row[0] = weights[from_here:].sum() / weights.sum() if weights.any() else np.nan
    value = float(np.count_nonzero(fraud >= threshold) / len(fraud))
    low, high = _interval(drawn)
    return Estimate(value, min(value, float(low[0])), max(value, float(high[0])))


def false_rate(shares: Shares, group: int = 0) -> Estimate:
    """The share of one group, whose upper end is never below the exact binomial bound.

    Where hardly anybody was hit the draws all look alike, and a bootstrap alone would be certain of too much.
    """
    estimate = shares.of(group)
    total, hit = int(shares.total[group]), int(shares.hit[group])
    if not total:
        return estimate
    return Estimate(estimate.value, estimate.low, max(estimate.high, upper_bound(hit, total, CONFIDENCE)))


def _interval(draws: Floats) -> tuple[Floats, Floats]:
    """The middle 95 % of each column, leaving out draws in which nothing was measured."""
    low, high = np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
    for column in range(draws.shape[1]):
        known = draws[:, column][~np.isnan(draws[:, column])]
        if len(known):
            low[column], high[column] = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return low, high
