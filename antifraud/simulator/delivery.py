"""How events reach a log in practice: nearly all at once and in order, a few twice, a few late.

A switch repeats what was not acknowledged; a record waits for a busy link. The event itself (its time, its call id)
stays as it was; only when it arrives changes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from antifraud.simulator.call import SimulatedEvent
from antifraud.simulator.scenario import Delivery

_LATEST_S: Final = 600.0
_REPEAT_S: Final = 0.5
"""Timer T1 of RFC 3261: what is not acknowledged is sent again after half a second."""

_DICE: Final = 8192


def as_delivered(events: Iterable[SimulatedEvent], delivery: Delivery, seed: int) -> Iterator[SimulatedEvent]:
    """``events`` (in order of time) in the order of their arrival; the same seed, the same order.

    Late events wait in memory, at most ten minutes' worth of them.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0xDE11])))
    waiting: list[tuple[float, int, SimulatedEvent]] = []
    dice: list[float] = []
    twice, late = delivery.duplicate_share, delivery.duplicate_share + delivery.late_share
    sequence = 0
    for item in events:
        now = item.event.ts
        while waiting and waiting[0][0] <= now:
            yield heapq.heappop(waiting)[2]
        if not dice:
            dice = rng.random(_DICE).tolist()
        chance = dice.pop()
        if chance >= late:
            yield item
            continue
        sequence += 1
        if chance < twice:
            yield item
            heapq.heappush(waiting, (now + _REPEAT_S * (1 + int(rng.integers(0, 3))), sequence, item))
        else:
            wait = min(_LATEST_S, float(rng.lognormal(np.log(delivery.late_s), 1.0)))
            heapq.heappush(waiting, (now + wait, sequence, item))
    while waiting:
        yield heapq.heappop(waiting)[2]
