"""Calibration: raw scores of the trees to probabilities, fitted on a slice that the trees were not grown on."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ROUNDS: Final = 100
_RIDGE: Final = 1e-3


class Calibration(msgspec.Struct, frozen=True):
    """Platt's form: probability = 1 / (1 + exp(-(slope * raw + intercept))), ``slope`` above 0, so order is kept."""

    slope: float = 1.0
    intercept: float = 0.0

    def probabilities(self, raw: Floats) -> Floats:
        """The probabilities of raw scores, element by element, so that a batch gives the bits a single call gives."""
        # numpy's vector exp may differ in the last bit between the body and the tail of an array; libm's does not.
        slope, intercept = self.slope, self.intercept
        return np.array([_logistic(slope * value + intercept) for value in raw.tolist()], dtype=np.float64)


def _logistic(z: float) -> float:
    if z >= 0:
        return 1.0 / (1.0 + math.exp(-z))
    grown = math.exp(max(z, -700.0))
    return grown / (1.0 + grown)


def fit(raw: Floats, y: npt.NDArray[np.bool_]) -> Calibration:
    """The calibration by Newton's method, pulled a little towards the identity; the identity without both classes."""
    if not y.any() or y.all():
        return Calibration()
    theta = np.array([1.0, 0.0])
    target = y.astype(np.float64)
    for _ in range(_ROUNDS):
        z = np.clip(theta[0] * raw + theta[1], -700, 700)
        p = 1.0 / (1.0 + np.exp(-z))
        w = p * (1.0 - p)
        gradient = np.array([((p - target) * raw).sum(), (p - target).sum()]) + _RIDGE * (theta - [1.0, 0.0])
        cross = (w * raw).sum()
        hessian = np.array([[(w * raw * raw).sum() + _RIDGE, cross], [cross, w.sum() + _RIDGE]])
        step = np.linalg.solve(hessian, gradient)
        length = float(np.abs(step).max())
        theta = theta - step * min(1.0, 1.0 / length if length > 0 else 1.0)
        if length < 1e-10:
            break
    slope, intercept = float(theta[0]), float(theta[1])
    # Separation without a limit, or trees that are wrong on this slice: keep what the trees say.
    if not (math.isfinite(slope) and math.isfinite(intercept) and 0.05 < slope < 20):
        return Calibration()
    return Calibration(slope, intercept)
