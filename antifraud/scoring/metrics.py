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


def macro_f1(y: Bools, said: Bools) -> float:
    """The mean of the F1 of both classes: what is ``said`` to be fraud against ``y``."""
    scores = []
    for truth, answer in ((y, said), (~y, ~said)):
        both = int((truth & answer).sum())
        named = int(truth.sum()) + int(answer.sum())
        scores.append(2 * both / named if named else 0.0)
    return sum(scores) / 2


def precision_at(prevalence: float, found: float, false: float) -> float:
    """The share of fraud among what is said to be fraud, where ``prevalence`` of all is fraud.

    ``found`` is the share of fraud that is found, ``false`` the share of the honest that is hit; neither depends on
    how many of a table are fraud, so a table with a third of it says what one with a thousandth would give. NaN when
    nothing is said to be fraud.
    """
    right, wrong = prevalence * found, (1.0 - prevalence) * false
    return right / (right + wrong) if right + wrong > 0 else float("nan")


def threshold_at(benign: Floats, rate: float) -> float:
    """The lowest threshold that no more than ``rate`` of the ``benign`` scores reach; infinite without any score."""
    if not len(benign):
        return float("inf")
    allowed = int(rate * len(benign))
    if allowed >= len(benign):
        return float(benign.min())
    at = len(benign) - 1 - allowed
    return float(np.nextafter(np.partition(benign, at)[at], np.inf))


def roc_curve(y: Bools, score: Floats) -> tuple[Floats, Floats]:
    """False rate and recall at every threshold that some call reaches, from the highest score down; (0, 0) first."""
    found, false = _counted(y, score)
    return false / max(1, len(y) - int(y.sum())), found / max(1, int(y.sum()))


def pr_curve(y: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Recall and precision at every threshold that some call reaches, from the highest score down."""
    found, false = _counted(y, score)
    return found[1:] / max(1, int(y.sum())), found[1:] / (found[1:] + false[1:])


def _counted(y: Bools, score: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(order) else np.zeros(0, dtype=np.int64)
    found = np.concatenate([[0.0], np.cumsum(y[order], dtype=np.float64)[ends]])
    return found, np.concatenate([[0.0], ends + 1.0]) - found
