"""Labelled rows for training: simulated events through the same fold and facts as the live engine.

Every source (a file, or a seed) gets a fresh decider, as a newly installed engine would be, so the rows include the
cold start. Only setups become rows; nothing that happens after a setup is in its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import CallEvent, EventKind, UsageError
from antifraud.simulator.call import SimulatedEvent

_BATCH: Final = 2048


class VectorMaker(Protocol):
    """What a decider offers here: fold events, and give the feature vectors of the setups among them."""

    def vectors(self, events: Sequence[CallEvent]) -> npt.NDArray[np.float64]:
        """float64[setups, features] of the setups among ``events``, in their order."""
        ...


class Labelled(msgspec.Struct):
    """Rows of setups with their labels: ``campaign`` "" means honest, ``scenario`` is the behaviour."""

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.bool_]
    ts: npt.NDArray[np.float64]
    campaign: npt.NDArray[np.str_]
    scenario: npt.NDArray[np.str_]


def labelled_rows(
    sources: Iterable[tuple[str, Iterable[SimulatedEvent]]],
    fresh: Callable[[], VectorMaker],
    on_call: Callable[[int], None] | None = None,
) -> Labelled:
    """The rows of all ``sources`` (name and events in order of time), one after the other.

    ``fresh`` makes the decider of a source; ``on_call`` is told the number of rows so far. UsageError when a source
    is not in order of time or has a call twice.
    """
    blocks: list[npt.NDArray[np.float64]] = []
    labels: list[bool] = []
    times: list[float] = []
    texts: dict[str, str] = {}
    campaigns: list[str] = []
    behaviours: list[str] = []
    for name, events in sources:
        maker = fresh()
        seen: set[str] = set()
        last = float("-inf")
        for batch in _batches(events):
            for item in batch:
                event, truth = item.event, item.truth
                if event.ts < last:
                    hint = "sort the events by time: antifraud simulate writes them so, without --as-delivered"
                    raise UsageError(f"{name}: call {event.call_id} goes back in time", hint=hint)
                last = event.ts
                if event.kind is not EventKind.SETUP:
                    continue
                if event.call_id in seen:
                    hint = "a duplicated call would be in training and in measurement: simulate without --as-delivered"
                    raise UsageError(f"{name}: the call {event.call_id} is set up twice", hint=hint)
                seen.add(event.call_id)
                labels.append(truth.fraud)
                times.append(event.ts)
                campaigns.append(texts.setdefault(truth.campaign, truth.campaign) if truth.fraud else "")
                behaviours.append(texts.setdefault(truth.scenario, truth.scenario))
            blocks.append(maker.vectors([item.event for item in batch]))
            if on_call is not None:
                on_call(len(labels))
        if not seen:
            raise UsageError(f"{name}: there is no call in it", hint="make events with `antifraud simulate`")
    if not blocks:
        raise UsageError("there are no events to train on", hint="name files of `antifraud simulate`, or give --seeds")
    matrix = np.concatenate(blocks)
    assert len(matrix) == len(labels), "a vector for every setup"
    return Labelled(
        matrix,
        np.array(labels, dtype=np.bool_),
        np.array(times, dtype=np.float64),
        np.array(campaigns, dtype=np.str_),
        np.array(behaviours, dtype=np.str_),
    )


def _batches(events: Iterable[SimulatedEvent]) -> Iterator[list[SimulatedEvent]]:
    source = iter(events)
    while batch := list(islice(source, _BATCH)):
        yield batch
