"""Looking for the options with which trees do best: a bounded random search, most of it on a part of the calls.

Candidates are drawn nine at a time. All nine grow on a ninth of the honest calls, the best three of them on a third,
the best one on all (successive halving: Jamieson and Talwalkar, 2016; Li et al., "Hyperband", 2018). All fraud takes
part always: there is little of it. Trees are stopped and judged on the second slice in time, which the model is
calibrated on too; the slices that certify and measure are never looked at, so what they say stays true whatever was
tried. What is cared about is fraud that is found while hardly any honest call is hit.

Draws follow from the seed alone. Where time is the bound, the caller's ``go_on`` says when to stop: no clock is read
here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.scoring.metrics import average_precision, recall, threshold_at
from antifraud.scoring.training import Binned, Options, Rows, best_trees, raw_scores_of, threads_of

#: Shares of honest calls that may be hit, at which the fraud that is found counts.
RATES: Final = (1e-4, 2e-4, 5e-4)
#: Candidates of one bracket, and what part of them, and of the honest calls, each of its rounds has.
BRACKET: Final = 9
_KEPT: Final = 3
#: What the manifest tells at most.
MOST_TOLD: Final = 40
MOST_TRIALS: Final = 1000
_PATIENCE_SHARE: Final = 0.2

Indices = npt.NDArray[np.int64]


class Merit(msgspec.Struct, frozen=True, order=True):
    """How good trees are on the second slice: the mean recall at ``RATES``, then average precision."""

    recall: float
    average_precision: float


class Trial(msgspec.Struct, frozen=True):
    """One training: number 0 has the options that were given. ``share`` is the part of the honest calls it grew on."""

    number: int
    share: float
    options: Options
    merit: Merit
    trees: int


OnTrial = Callable[[int, int, float], None]
"""Told before each training: candidates drawn so far, how many there may be, the best recall so far."""


def merit(y: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> Merit:
    """The merit of ``scores`` (float64[n], higher is worse) of calls of which ``y`` are fraud."""
    benign = scores[~y]
    found = [recall(y, scores, threshold_at(benign, rate)) for rate in RATES]
    return Merit(round(math.fsum(found) / len(found), 6), round(average_precision(y, scores), 6))


def draw(base: Options, number: int) -> Options:
    """Candidate ``number``, from 1 on: ``base`` with other values, always the same for the same seed and number."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([base.seed, 0x5EA2C4, number])))

    def log(low: float, high: float) -> float:
        return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")

    leaves, rate, least = round(log(6, 96)), log(0.03, 0.25), round(log(20, 800))
    fraction, ridge = round(float(rng.uniform(0.25, 1.0)), 2), log(0.1, 100.0)
    weight = base.fraud_weight if rng.random() < 0.5 else log(0.3, 10.0)
    # Slow learning needs more trees. The engine pays for every tree and leaf, so neither may grow without bound.
    trees = min(400, max(base.trees, round(base.trees * 0.1 / rate)))
    return msgspec.structs.replace(
        base,
        leaves=leaves,
        learning_rate=rate,
        min_leaf=least,
        feature_fraction=fraction,
        lambda_l2=ridge,
        fraud_weight=weight,
        trees=trees,
        patience=max(base.patience, round(trees * _PATIENCE_SHARE)),
    )


class RandomSearch:
    """A search of at most ``trials`` candidates that ends early when ``go_on`` says no.

    Calling it as ``train``'s ``search`` gives the best options and what the manifest tells. The options that were
    given are always tried on all calls, and stay when nothing beats them.
    """

    def __init__(
        self, trials: int, *, go_on: Callable[[], bool] | None = None, on_trial: OnTrial | None = None
    ) -> None:
        if not 1 <= trials <= MOST_TRIALS:
            raise ValueError(f"{trials} trials, not 1 to {MOST_TRIALS}")
        self._most = trials
        self._go_on = go_on if go_on is not None else _always
        self._on_trial = on_trial
        self.tried: list[Trial] = []

    def __call__(
        self, grow: Rows, stop: Rows, names: Sequence[str], options: Options
    ) -> tuple[Options, dict[str, Any]]:
        """The best options for trees grown on ``grow`` and judged on ``stop``, and a table for the manifest."""
        self.tried = []
        binned = Binned(grow, stop, names, options)
        drawn = 0
        self._try(binned, grow, stop, 0, 1.0, options, drawn)
        while drawn < self._most and self._go_on():
            size = min(BRACKET, self._most - drawn)
            candidates = [(drawn + 1 + at, draw(options, drawn + 1 + at)) for at in range(size)]
            share = 1.0 / (BRACKET if size > _KEPT else _KEPT if size > 1 else 1)
            while candidates:
                results = []
                for number, one in candidates:
                    if not self._go_on():
                        break
                    drawn = max(drawn, number)
                    results.append(self._try(binned, grow, stop, number, share, one, drawn))
                if share >= 1.0 or len(results) < len(candidates):
                    break
                results.sort(key=lambda trial: (trial.merit, -trial.number), reverse=True)
                kept = results[: max(1, len(results) // _KEPT)]
                candidates = [(trial.number, trial.options) for trial in kept]
                share = min(1.0, share * _KEPT)
        whole = [trial for trial in self.tried if trial.share >= 1.0]
        best = max(whole, key=lambda trial: (trial.merit, -trial.number))
        return best.options, self._told(best, drawn, int((~stop.y).sum()))

    def _try(
        self, binned: Binned, grow: Rows, stop: Rows, number: int, share: float, options: Options, drawn: int
    ) -> Trial:
        if self._on_trial is not None:
            known = [trial.merit.recall for trial in self.tried if trial.share >= 1.0]
            self._on_trial(drawn, self._most, max(known, default=0.0))
        booster = binned.grown(options, rows=part_of(grow, share) if share < 1.0 else None)
        scores = raw_scores_of(booster, stop.X, threads_of(options))
        trial = Trial(number, share, options, merit(stop.y, scores), best_trees(booster))
        self.tried.append(trial)
        return trial

    def _told(self, best: Trial, drawn: int, honest: int) -> dict[str, Any]:
        shown = sorted(self.tried, key=lambda trial: (trial.share, trial.merit, -trial.number), reverse=True)
        return {
            "trials": drawn,
            "trainings": len(self.tried),
            "chosen": best.number,
            "judged_by": f"mean share of fraud found at {', '.join(f'{rate:g}' for rate in RATES)} of honest calls",
            "honest_calls": honest,
            "tried": [_row(trial) for trial in shown[:MOST_TOLD]],
        }


def _row(trial: Trial) -> dict[str, Any]:
    options = trial.options
    return {
        "trial": trial.number,
        "share": round(trial.share, 4),
        "recall": trial.merit.recall,
        "average_precision": trial.merit.average_precision,
        "trees": trial.trees,
        "leaves": options.leaves,
        "learning_rate": options.learning_rate,
        "min_leaf": options.min_leaf,
        "feature_fraction": options.feature_fraction,
        "lambda_l2": options.lambda_l2,
        "fraud_weight": options.fraud_weight,
    }


def part_of(rows: Rows, share: float) -> Indices:
    """Rising indices of all fraud in ``rows`` and of every so-manieth honest call."""
    honest = np.flatnonzero(~rows.y)
    step = max(1, round(1.0 / share))
    return np.sort(np.concatenate([np.flatnonzero(rows.y), honest[::step]]))


def _always() -> bool:
    return True
