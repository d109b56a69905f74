"""Replay: events of files through the very ``decide`` of the live engine, one decision a call."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from antifraud.decision import Decider
from antifraud.domain import CallEvent, Decision, EventError, Quarantined, check_event

_BATCH: Final = 512
_REORDER: Final = 200_000


def in_time_order(
    items: Iterable[CallEvent | Quarantined], *, horizon: int = _REORDER
) -> Iterator[CallEvent | Quarantined]:
    """``items`` sorted by time as far as ``horizon`` events of look-ahead allow; equal times keep their order.

    A CDR is written at the end of its call and expands to events in the past, so files are only nearly sorted.
    """
    heap: list[tuple[float, int, CallEvent]] = []
    for number, item in enumerate(items):
        if isinstance(item, Quarantined):
            yield item
            continue
        # NaN times sort nowhere; they go on at once and are refused by check_event.
        if item.ts != item.ts:
            yield item
            continue
        heapq.heappush(heap, (item.ts, number, item))
        if len(heap) > horizon:
            yield heapq.heappop(heap)[2]
    while heap:
        yield heapq.heappop(heap)[2]


class Replay:
    """Decides about the calls of a stream of events. ``counts`` and ``quarantined`` tell what became of the input."""

    def __init__(self, decider: Decider, *, keep_quarantined: int = 1000) -> None:
        self._decider = decider
        self._keep = keep_quarantined
        self.counts: Counter[str] = Counter()
        self.quarantined: list[Quarantined] = []

    def run(self, items: Iterable[CallEvent | Quarantined]) -> Iterator[Decision]:
        """One decision a call: a repeated setup of the same call is counted as duplicate and not decided again."""
        batch: list[CallEvent] = []
        for item in items:
            event = self._checked(item)
            if event is None:
                continue
            batch.append(event)
            if len(batch) >= _BATCH:
                yield from self._decide(batch)
                batch = []
        yield from self._decide(batch)

    def _checked(self, item: CallEvent | Quarantined) -> CallEvent | None:
        if isinstance(item, CallEvent):
            try:
                event = check_event(item)
            except EventError as error:
                item = Quarantined(error.code, error.detail, item.source, item.call_id[:256])
            else:
                self.counts["events." + event.kind.value] += 1
                return event
        self.counts["quarantine." + item.code] += 1
        if len(self.quarantined) < self._keep:
            self.quarantined.append(item)
        return None

    def _decide(self, batch: list[CallEvent]) -> Iterator[Decision]:
        for decision in self._decider.decide(batch):
            if decision.duplicate:
                self.counts["duplicates"] += 1
                continue
            self.counts["decisions." + decision.verdict] += 1
            yield decision
