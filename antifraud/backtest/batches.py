"""Labelled events in batches, as an engine would read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from antifraud.domain import CallEvent, UsageError


class HasEvent(Protocol):
    """Something with an event in it."""

    @property
    def event(self) -> CallEvent:
        """The event."""


Item = TypeVar("Item", bound=HasEvent)


def batches(events: Iterable[Item], name: str, *, at_most: int, within_s: float) -> Iterator[list[Item]]:
    """``events`` in their order, ``at_most`` at a time, those of a batch less than ``within_s`` seconds apart.

    ``name`` is what the events are called in messages. UsageError when one goes back in time.
    """
    batch: list[Item] = []
    last = float("-inf")
    for item in events:
        ts = item.event.ts
        if ts < last:
            hint = "sort the events by time: antifraud simulate writes them so"
            raise UsageError(f"{name or 'the events'}: call {item.event.call_id} goes back in time", hint=hint)
        last = ts
        if batch and (len(batch) >= at_most or ts - batch[0].event.ts >= within_s):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
