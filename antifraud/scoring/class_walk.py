"""Which class a row is in, as machine code: no array is made for a condition. Called by ``classes`` alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from antifraud.jit import compiled

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]


@compiled
def classify(
    rows: Floats,
    column: Integers,
    kind: Integers,
    value: Floats,
    ends: Integers,
    codes: Codes,
    rest: int,
    found: Codes,
) -> None:
    """Write the code of the first part whose conditions all hold, ``rest`` where none does.

    Conditions of part p stand before ``ends[p]``. Kinds: 0 is equal to, 1 at least, 2 missing.
    """
    for row in range(rows.shape[0]):
        code = rest
        at = 0
        for part in range(ends.shape[0]):
            holds = True
            for test in range(at, ends[part]):
                seen = rows[row, column[test]]
                if kind[test] == 0:
                    holds = holds and seen == value[test]
                elif kind[test] == 1:
                    holds = holds and seen >= value[test]
                else:
                    holds = holds and seen != seen
            at = ends[part]
            if holds:
                code = codes[part]
                break
        found[row] = code
