"""Post-dial delay: how long a call takes from its setup until the far end is alerted.

It follows from where the call goes (the class of its trunk, the line type of the called number) and from chance, and
is drawn in one place for honest and fraudulent calls alike: nothing here sees the truth about a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from antifraud.simulator.call import Call
from antifraud.simulator.world import MOBILE_PREFIXES, Ints, unit

#: Shortest and longest delay in seconds. A mobile must be paged first, a fixed line only be rung; across borders every
#: network on the way adds its own.
FIXED: Final = (0.5, 2.0)
MOBILE: Final = (2.0, 6.0)
ABROAD: Final = (3.0, 10.0)

_MOBILE_STARTS: Final = frozenset(str(prefix) for prefix in MOBILE_PREFIXES.tolist())
_SHORT: Final = 6


def delay_range(trunk: str, callee: str) -> tuple[float, float]:
    """The bounds, in seconds, for a call that came in on ``trunk`` to ``callee`` as it was dialled."""
    if trunk.startswith("intl"):
        return ABROAD
    digits = callee.removeprefix("+")
    if len(digits) <= _SHORT:
        return FIXED
    if len(digits) == 11 and digits.startswith(("77", "87")):
        return MOBILE if digits[1:4] in _MOBILE_STARTS else FIXED
    return ABROAD


def post_dial_delays(calls: Sequence[Call], numbers: Ints, key: int) -> list[float]:
    """Seconds for each of ``calls``, whose running numbers are ``numbers``; the same numbers and key, the same delays.

    Between the bounds the logarithm is triangular. A call that was answered, refused or given up sooner than it would
    have been alerted has its whole ring time as the delay: that was the first its caller heard.
    """
    if not calls:
        return []
    low, high = np.array([delay_range(call.trunk, call.callee) for call in calls], dtype=np.float64).T
    chance = (unit(numbers, key ^ 0xDD1) + unit(numbers, key ^ 0xDD2)) / 2
    ring = np.array([call.ring_s for call in calls], dtype=np.float64)
    found: list[float] = np.minimum(np.round(low * (high / low) ** chance, 3), ring).tolist()
    return found
