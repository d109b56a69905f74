"""What honest calls look like, feature by feature: written into the manifest when a model is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from antifraud.scoring.manifest import Usual

_MOST_ROWS: Final = 200_000
_SHARES: Final = (0.05, 0.5, 0.95)


def usual_values(honest: npt.NDArray[np.float64], names: Sequence[str]) -> dict[str, Usual]:
    """By name, the usual values of the columns of ``honest`` (float64[calls, features], NaN missing).

    All of them are values that some call had. A column that no call has a value in is left out. Of very many calls
    every so-manieth is looked at.
    """
    rows = honest[:: -(-len(honest) // _MOST_ROWS) or 1]
    found = {}
    for index, name in enumerate(names):
        column = rows[:, index]
        known = column[~np.isnan(column)]
        if len(known):
            low, median, high = np.quantile(known, _SHARES, method="inverted_cdf").tolist()
            found[name] = Usual(low, median, high)
    return found
