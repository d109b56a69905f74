"""How well scores separate: area under the curve, average precision, recall. Plain numpy, no sampling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def auc(y: Bools, score: Floats) -> float:
    """The chance that a fraud call scores above a benign one, ties counting half; NaN without both classes."""
    positives = int(y.sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return float("nan")
    _values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2.0)[inverse]
    return float((ranks[y].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def average_precision(y: Bools, score: Floats) -> float:
    """The mean precision over the fraud calls, from the highest score down; NaN without fraud calls."""
    positives = int(y.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits, ordered = np.cumsum(y[order]), score[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits, seen = hits[ends], ends + 1.0
    gained = np.diff(np.concatenate([[0], hits]))
    return float((gained * hits / seen).sum() / positives)


def recall(y: Bools, score: Floats, threshold: float) -> float:
    """The share of fraud calls at or above ``threshold``; NaN without fraud calls."""
    positives = int(y.sum())
    return float(np.count_nonzero(score[y] >= threshold) / positives) if positives else float("nan")
