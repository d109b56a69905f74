"""Thresholds with a bounded false rate: exact binomial (Clopper-Pearson) bounds on a slice the model has not seen.

The number of errors that a budget allows follows from the size of the slice alone, before any score is looked at.
The threshold is then the smallest value above the score of the benign call that would be one error too many. The
rate of benign calls above that order statistic is Beta(errors + 1, n - errors), so the bound holds with the stated
confidence for calls that are exchangeable with those of the slice (Vovk, "Conditional validity", 2012, gives the
same law for split conformal prediction). Calls are not exchangeable, though: those of one organisation are alike, and
one network is not another. A margin therefore chooses the threshold for a part of the budget; the bound that is
written down is the binomial one, and what the margin is for is said beside it.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import ModelError

CONFIDENCE: Final = 0.95


class Certificate(msgspec.Struct, frozen=True):
    """What is known about one threshold: among ``n`` benign calls ``errors`` lay at or above it.

    With ``confidence`` at most ``bound`` of benign calls do. ``met`` says whether that is within ``budget``; when
    the slice is too small for the budget, the threshold allows no error at all and ``met`` is false.
    """

    threshold: float
    budget: float
    n: int
    errors: int
    bound: float
    confidence: float
    met: bool


def upper_bound(errors: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The exact one-sided upper confidence bound of a binomial rate (Clopper and Pearson, 1934)."""
    if not 0 <= errors <= n:
        raise ValueError(f"{errors} errors among {n}")
    if errors == n:
        return 1.0
    return _rate_at(errors, n, confidence, errors / n)


def _rate_at(errors: int, n: int, confidence: float, low: float) -> float:
    """The rate, above ``low``, at which no more than ``errors`` among ``n`` have probability 1 - confidence."""
    # log C(n, k) for k = 0 ... errors.
    k = np.arange(errors + 1, dtype=np.float64)
    choose = np.concatenate([[0.0], np.cumsum(np.log(n - k[1:] + 1) - np.log(k[1:]))])
    high = 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        terms = choose + k * math.log(middle) + (n - k) * math.log1p(-middle)
        top = float(terms.max())
        tail = math.exp(top) * float(np.exp(terms - top).sum()) if top > -700 else 0.0
        low, high = (middle, high) if tail > 1.0 - confidence else (low, middle)
    return high


def allowed_errors(n: int, budget: float, confidence: float = CONFIDENCE) -> int:
    """The most errors among ``n`` whose upper bound is within ``budget``; -1 when not even none is."""
    if n <= 0 or upper_bound(0, n, confidence) > budget:
        return -1
    low, high = 0, min(n, math.ceil(budget * n) + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if upper_bound(middle, n, confidence) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def certify(
    benign: npt.NDArray[np.float64],
    budget: float,
    *,
    floor: float = 0.0,
    margin: float = 1.0,
    confidence: float = CONFIDENCE,
) -> Certificate:
    """The lowest threshold, not under ``floor``, that keeps the false rate within ``budget / margin`` on ``benign``.

    ``met`` of the result is about ``budget`` itself. A slice too small for the margin allows no error.
    """
    n = len(benign)
    if n == 0:
        raise ModelError("there is no benign call to choose thresholds on", hint="give more events, or a longer span")
    if not np.isfinite(benign).all():
        raise ModelError("a score is not a number", hint="the model is damaged; train it again")
    errors = max(0, allowed_errors(n, budget / margin, confidence))
    ordered = np.sort(benign)[::-1]
    threshold = float(np.nextafter(ordered[errors], np.inf)) if errors < n else 0.0
    threshold = min(1.0, max(threshold, floor))
    made = int(np.count_nonzero(benign >= threshold))
    # The order statistic was chosen ahead, so the bound is that of the errors allowed, not of the errors seen.
    bound = upper_bound(max(errors, made), n, confidence)
    return Certificate(threshold, budget, n, made, bound, confidence, bound <= budget)


def lower_bound(errors: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The exact one-sided lower confidence bound of a binomial rate."""
    if not 0 <= errors <= n:
        raise ValueError(f"{errors} errors among {n}")
    # The rate at which so many errors have probability 1 - confidence: one fewer, at most, has the rest of it.
    return _rate_at(errors - 1, n, 1.0 - confidence, 0.0) if errors else 0.0
