"""Logistic regression by Newton's method: the baseline that a model of trees has to beat. Plain numpy.

Values are squeezed (sign times log of one more than the size), because windows count and counts have long tails; then
standardised. A missing value becomes the mean, and a column of its own says that it was missing. A small ridge keeps
the weights finite where a column alone tells the classes apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import ModelError

Floats = npt.NDArray[np.float64]

_RIDGE: Final = 1.0
_ROUNDS: Final = 50
_CLOSE: Final = 1e-6
_BLOCK: Final = 65_536
_FARTHEST: Final = 8.0
"""Standard deviations; what lies beyond is as far as that."""


class Logistic(msgspec.Struct, frozen=True):
    """Weights of squeezed and standardised columns, then of the columns in ``indicated``, then the constant."""

    mean: Floats
    scale: Floats
    indicated: npt.NDArray[np.intp]
    weights: Floats

    def predict(self, rows: npt.NDArray[Any]) -> Floats:
        """Probabilities of fraud, float64[n], of ``rows`` [n, features]; NaN means missing."""
        found = np.empty(len(rows), dtype=np.float64)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            found[start : start + len(block)] = _sigmoid(self._design(block) @ self.weights)
        return found

    def _design(self, rows: npt.NDArray[Any]) -> Floats:
        return _design(_squeezed(rows), self.mean, self.scale, self.indicated)


def fit(rows: npt.NDArray[Any], y: npt.NDArray[np.bool_], weights: Floats | None = None) -> Logistic:
    """The regression of ``y`` on ``rows`` [n, features]; each row counts ``weights``, by default 1.

    ModelError without both classes.
    """
    if not y.any() or y.all():
        raise ModelError("one class teaches nothing", hint="give events with fraudulent and honest calls")
    weight = np.ones(len(y)) if weights is None else weights
    mean, scale, indicated = _standard(rows, weight)
    width = rows.shape[1] + len(indicated) + 1
    ridge = np.full(width, _RIDGE)
    ridge[-1] = 0.0
    target = y.astype(np.float64)

    def blocks() -> Iterator[tuple[Floats, Floats, Floats]]:
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            yield _design(_squeezed(rows[part]), mean, scale, indicated), target[part], weight[part]

    share = float(np.average(target, weights=weight))
    theta = np.zeros(width)
    theta[-1] = np.log(share / (1.0 - share))
    loss = _loss(blocks, theta, ridge)
    for _ in range(_ROUNDS):
        gradient, hessian = ridge * theta, np.diag(ridge)
        for design, answer, counts in blocks():
            p = _sigmoid(design @ theta)
            gradient += design.T @ (counts * (p - answer))
            hessian += (design * (counts * p * (1.0 - p))[:, None]).T @ design
        hessian[np.diag_indices(width)] += 1e-9
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while (tried := _loss(blocks, theta - size * step, ridge)) > loss and size > 1e-4:
            size /= 2
        if tried >= loss:
            break
        gained, theta, loss = loss - tried, theta - size * step, tried
        if gained < _CLOSE * (1.0 + abs(loss)):
            break
    return Logistic(mean, scale, indicated, theta)


def fit_sampled(
    rows: npt.NDArray[Any],
    y: npt.NDArray[np.bool_],
    among: npt.NDArray[np.intp],
    *,
    most_benign: int = 200_000,
    seed: int = 1,
) -> Logistic:
    """As ``fit``, on the rows ``among``: all fraud, and at most ``most_benign`` benign ones that stand for the rest."""
    fraud, benign = among[y[among]], among[~y[among]]
    weight = 1.0
    if len(benign) > most_benign:
        weight = len(benign) / most_benign
        benign = np.random.default_rng(seed).choice(benign, most_benign, replace=False)
    chosen = np.sort(np.concatenate([fraud, benign]))
    return fit(rows[chosen], y[chosen], np.where(y[chosen], 1.0, weight))


def _loss(blocks: Callable[[], Iterator[tuple[Floats, Floats, Floats]]], theta: Floats, ridge: Floats) -> float:
    loss = 0.5 * float((ridge * theta * theta).sum())
    for design, answer, counts in blocks():
        z = design @ theta
        loss += float((counts * (np.logaddexp(0.0, z) - answer * z)).sum())
    return loss


def _standard(rows: npt.NDArray[Any], weight: Floats) -> tuple[Floats, Floats, npt.NDArray[np.intp]]:
    """Mean and deviation of every squeezed column, and which columns have both missing and known values."""
    means: list[float] = []
    scales: list[float] = []
    indicated: list[int] = []
    for column in range(rows.shape[1]):
        values = _squeezed(rows[:, column])
        known = ~np.isnan(values)
        if known.any() and not known.all():
            indicated.append(column)
        counts = weight[known]
        mean = float(np.average(values[known], weights=counts)) if known.any() else 0.0
        spread = float(np.sqrt(np.average((values[known] - mean) ** 2, weights=counts))) if known.any() else 0.0
        means.append(mean)
        scales.append(spread if spread > 0 else 1.0)
    return np.array(means), np.array(scales), np.array(indicated, dtype=np.intp)


def _squeezed(values: npt.NDArray[Any]) -> Floats:
    wide = values.astype(np.float64)
    return np.asarray(np.sign(wide) * np.log1p(np.abs(wide)), dtype=np.float64)


def _design(squeezed: Floats, mean: Floats, scale: Floats, indicated: Sequence[int] | npt.NDArray[np.intp]) -> Floats:
    missing = np.isnan(squeezed)
    standard = np.clip((squeezed - mean) / scale, -_FARTHEST, _FARTHEST)
    standard[missing] = 0.0
    return np.concatenate([standard, missing[:, indicated], np.ones((len(squeezed), 1))], axis=1, dtype=np.float64)


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), dtype=np.float64)
