"""Thresholds with a bounded false rate: exact binomial (Clopper-Pearson) bounds on a slice the model has not seen.

The number of errors that a budget allows follows from the size of the slice alone, before any score is looked at.
The threshold is then the smallest value above the score of the benign call that would be one error too many. The
rate of benign calls above that order statistic is Beta(errors + 1, n - errors), so the bound holds with the stated
confidence for calls that are exchangeable with those of the slice (Vovk, "Conditional validity", 2012, gives the
same law for split conformal prediction). Calls are not exchangeable, though: those of one organisation are alike, and
one network is not another. A margin therefore chooses the threshold for a part of the budget; the bound that is
written down is the binomial one, and what the margin is for is said beside it.

A class of callers (``classes``) has thresholds of its own, chosen in the same way among its honest calls alone. What
is promised of all calls together stays: see ``certify_classes``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
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


class ClassCertificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same of one class of callers. Without a ``threshold`` the score never asks for this verdict about it."""

    budget: float
    n: int
    errors: int
    bound: float
    confidence: float
    met: bool
    threshold: float | None = None


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


def certify_classes(
    benign: npt.NDArray[np.float64],
    codes: npt.NDArray[np.int8],
    names: Sequence[str],
    overall: Certificate,
    *,
    floor: float = 0.0,
    margin: float = 1.0,
    milder: Mapping[str, ClassCertificate] | None = None,
    never: Collection[str] = (),
) -> tuple[Certificate, dict[str, ClassCertificate]]:
    """One certificate for each class in ``names``, and what is then certain of all calls together.

    ``codes`` are the classes of the honest calls ``benign`` as places in ``names``; ``overall`` is what ``certify``
    said of all of them. A class is held to the same budget as all:

    - it is large enough to show that: its threshold is chosen among its own calls, not under ``floor``;
    - it is too small: the strictest of the threshold that none of its calls reached and the overall one;
    - it has no honest call, or one of them has the highest score there is: no threshold, so no verdict. Classes named
      in ``never`` get none either; ``overall`` must then have been chosen as if none of their calls were hit.

    A class's own threshold may be milder than the overall one where that keeps the promise about all calls. With
    errors e in all and k classes that have thresholds, the rate of all is about Gamma(e + k) / n, the sum of the
    classes' Gamma(e_c + 1) / n: the bound is that of e + k - 1 errors. Where that is above the budget, no class is
    milder than the overall threshold, whose own bound then holds. Which of the two follows from sizes alone.

    ``milder`` are the certificates of the next milder verdict: no threshold lies below the one there.
    """
    n, confidence, budget = overall.n, overall.confidence, overall.budget
    parts = [np.sort(benign[codes == code])[::-1] for code in range(len(names))]
    allowed = [allowed_errors(len(part), budget / margin, confidence) for part in parts]
    held = [errors for name, part, errors in zip(names, parts, allowed, strict=True) if len(part) and name not in never]
    together = max(0, sum(max(0, errors) for errors in held) + len(held) - 1)
    together_bound = upper_bound(min(n, together), n, confidence)
    apart = together_bound <= budget
    found: dict[str, ClassCertificate] = {}
    hit = 0
    for name, part, errors in zip(names, parts, allowed, strict=True):
        threshold = None if name in never else _class_threshold(part, errors, floor, overall.threshold, apart=apart)
        if threshold is not None and milder is not None:
            below = milder[name].threshold
            threshold = None if below is None else max(threshold, below)
        if threshold is None:
            found[name] = ClassCertificate(budget, len(part), 0, 0.0, confidence, met=True)
            continue
        made = int(np.count_nonzero(part >= threshold))
        hit += made
        bound = upper_bound(max(errors, made, 0), len(part), confidence)
        found[name] = ClassCertificate(budget, len(part), made, bound, confidence, bound <= budget, threshold)
    bound = together_bound if apart else overall.bound
    return Certificate(overall.threshold, budget, n, hit, bound, confidence, bound <= budget), found


def _class_threshold(
    ordered: npt.NDArray[np.float64], errors: int, floor: float, overall: float, *, apart: bool
) -> float | None:
    """The threshold of a class with the scores ``ordered`` (falling) that is allowed ``errors``; None for none."""
    if not len(ordered):
        return None
    least = floor if apart and errors >= 0 else max(floor, overall)
    threshold = max(float(np.nextafter(ordered[max(0, errors)], np.inf)), least) if errors < len(ordered) else least
    return threshold if threshold <= 1.0 else None
