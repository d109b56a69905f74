"""Post-dial delay: how long a call takes from its setup until the far end is alerted.

It follows from where the call goes (the class of its trunk, the line type of the called number) and from chance, and
is drawn in one place for honest and fraudulent calls alike: nothing here sees the truth about a call.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from antifraud.simulator.plan import MOBILE_PREFIXES, Bools, Ints, home, unit

#: Shortest and longest delay in seconds. A mobile must be paged first, a fixed line only be rung; across borders every
#: network on the way adds its own.
FIXED: Final = (0.5, 2.0)
MOBILE: Final = (2.0, 6.0)
ABROAD: Final = (3.0, 10.0)

_BOUNDS: Final = np.array([FIXED, MOBILE, ABROAD])
_SHORT_BELOW: Final = 1_000_000
_IS_MOBILE: Final = np.isin(np.arange(1000), MOBILE_PREFIXES)


def delay_class(from_abroad: Bools, callees: Ints) -> Ints:
    """0 fixed, 1 mobile, 2 abroad: of calls that came in from abroad or not, to ``callees`` (with country code)."""
    at_home = home(callees)
    mobile = at_home & _IS_MOBILE[np.where(at_home, callees // 10_000_000 % 1000, 0)]
    near = (at_home | (callees < _SHORT_BELOW)) & ~from_abroad
    return np.where(near, mobile.astype(np.int64), 2)


def post_dial_delays(
    from_abroad: Bools, callees: Ints, ring: npt.NDArray[np.float64], numbers: Ints, key: int
) -> npt.NDArray[np.float64]:
    """Seconds for each call, whose running numbers are ``numbers``; the same numbers and key, the same delays.

    Between the bounds the logarithm is triangular. A call that was answered, refused or given up sooner than it would
    have been alerted has its whole ``ring`` time (seconds) as the delay: that was the first its caller heard.
    """
    low, high = _BOUNDS[delay_class(from_abroad, callees)].T
    chance = (unit(numbers, key ^ 0xDD1) + unit(numbers, key ^ 0xDD2)) / 2
    delays: npt.NDArray[np.float64] = np.minimum(np.round(low * (high / low) ** chance, 3), ring)
    return delays
