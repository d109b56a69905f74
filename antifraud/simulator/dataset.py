"""Labelled rows for training: simulated events through the same fold and facts as the live engine.

Every source (a file, or a seed) gets a fresh decider, as a newly installed engine would be. Calls from while it is new
(``engine.warm_up_s``) are marked: trees grow on them, so that they do not take a stranger for a fraudster where
everybody is one, but no score stops a call then, so none is calibrated, certified or measured on them. What the rules
would stop goes back into the windows, as live; what a model would stop does not, or it would learn from its own echo.
Only setups become rows; nothing that happens
after a setup is in its row. Rows go out block by block, so that they need not fit into memory; labels and times are
kept, some 30 bytes a call.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import CallEvent, EventKind, UsageError
from antifraud.scoring.labels import Labels, VectorMaker
from antifraud.scoring.row_pieces import Coded
from antifraud.simulator.call import SimulatedEvent

Floats = npt.NDArray[np.float64]

BATCH: Final = 2048
BATCH_S: Final = 30.0
"""An engine reads back within a second what its rules stop; here it is half a minute of event time, to be quick."""


class HeardMaker(VectorMaker, Protocol):
    """A decider whose rules are heard: what they would stop can go back into its windows."""

    def absorb(self, events: Sequence[CallEvent]) -> None:
        """Fold ``events`` about which nothing is asked."""
        ...


class _Codes:
    """Texts as they come, coded."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._codes = array("i")

    def add(self, text: str) -> None:
        self._codes.append(self._known.setdefault(text, len(self._known)))

    def coded(self) -> Coded:
        return Coded(np.array(self._codes, dtype=np.int32), tuple(self._known))


def labelled(
    name: str,
    events: Iterable[SimulatedEvent],
    maker: HeardMaker,
    add: Callable[[Floats], None],
    on_call: Callable[[int], None] | None = None,
    *,
    keys: bool = False,
) -> Labels:
    """The labels of the calls of one source; ``add`` is given their rows, some thousands at a time.

    ``events`` are in order of time. ``on_call`` is told how many calls a batch had. UsageError, with ``name``, when
    the source goes back in time, has a call twice, none, or none of which the score has a say.
    """
    fraud, new, times, digests = array("b"), array("b"), array("d"), array("Q")
    campaigns, behaviours = _Codes(), _Codes()
    seen: set[str] = set()
    last = float("-inf")
    for batch in _batches(events):
        before = len(times)
        for item in batch:
            event, truth = item.event, item.truth
            if not event.ts >= last:
                hint = "sort the events by time: antifraud simulate writes them so, without --as-delivered"
                raise UsageError(f"{name}: call {event.call_id} goes back in time", hint=hint)
            last = event.ts
            if event.kind is not EventKind.SETUP:
                continue
            if event.call_id in seen:
                hint = "a duplicated call would be in training and in measurement: simulate without --as-delivered"
                raise UsageError(f"{name}: the call {event.call_id} is set up twice", hint=hint)
            seen.add(event.call_id)
            fraud.append(truth.fraud)
            times.append(event.ts)
            campaigns.add(truth.campaign if truth.fraud else "")
            behaviours.add(truth.scenario)
            if keys:
                digests.append(call_key(event))
        stops: list[CallEvent] = []
        waiting: list[bool] = []
        rows = maker.vectors([item.event for item in batch], stops, waiting)
        if stops:
            maker.absorb(stops)
        assert len(rows) == len(waiting) == len(times) - before, "a vector for every setup"
        new.extend(waiting)
        add(rows)
        if on_call is not None:
            on_call(len(rows))
    if not seen:
        raise UsageError(f"{name}: there is no call in it", hint="make events with `antifraud simulate`")
    if all(new):
        raise UsageError(
            f"{name}: all {len(seen):,} calls are from while an engine is new, when no score stops a call",
            hint="give a longer time, such as --days 2 or files of more days, or lower engine.warm_up_s",
        )
    return Labels(
        np.array(fraud, dtype=np.bool_),
        np.array(times, dtype=np.float64),
        campaigns.coded(),
        behaviours.coded(),
        np.array(digests, dtype=np.uint64),
        np.array(new, dtype=np.bool_),
    )


def call_key(event: CallEvent) -> int:
    """64 bits that the same call, at the same time, between the same numbers, has in whatever file it stands."""
    numbers = f"{event.caller_raw or event.caller}\0{event.callee_raw or event.callee}"
    text = f"{event.call_id}\0{event.ts!r}\0{numbers}"
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def check_apart(names: Sequence[str], parts: Sequence[Labels]) -> None:
    """UsageError when a call of one source (``names``, with their ``parts``) is in another too."""
    keys = np.concatenate([part.keys for part in parts])
    if not len(keys):
        return
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if not len(again):
        return
    of = np.repeat(np.arange(len(parts)), [len(part.keys) for part in parts])
    one, other = int(order[again[0]]), int(order[again[0] + 1])
    when = dt.datetime.fromtimestamp(float(np.concatenate([part.ts for part in parts])[one]), tz=dt.UTC)
    raise UsageError(
        f"{names[of[one]]} and {names[of[other]]} have {len(again)} calls in common, one of "
        f"{when.isoformat(sep=' ', timespec='milliseconds').removesuffix('+00:00')} UTC: they would be in training "
        "and in measurement",
        hint="name each file once, and files of days or seeds that do not overlap",
    )


class Labelled(msgspec.Struct):
    """Rows of setups in memory with their labels."""

    X: Floats
    y: npt.NDArray[np.bool_]
    ts: Floats
    campaign: npt.NDArray[np.str_]
    scenario: npt.NDArray[np.str_]


def labelled_rows(
    sources: Iterable[tuple[str, Iterable[SimulatedEvent]]],
    fresh: Callable[[], HeardMaker],
    on_call: Callable[[int], None] | None = None,
) -> Labelled:
    """The rows of all ``sources`` (name and events in order of time), one after the other, in memory.

    ``fresh`` makes the decider of a source; ``on_call`` is told the number of rows so far. Raises what ``labelled``
    raises, and UsageError without any source.
    """
    blocks: list[Floats] = []
    parts: list[Labels] = []
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        if on_call is not None:
            on_call(done)

    for name, events in sources:
        parts.append(labelled(name, events, fresh(), blocks.append, told))
    if not parts:
        raise UsageError("there are no events to train on", hint="name files of `antifraud simulate`, or give --seeds")
    found = Labels.joined(parts)
    return Labelled(np.concatenate(blocks), found.y, found.ts, found.campaign.texts(), found.scenario.texts())


def _batches(events: Iterable[SimulatedEvent]) -> Iterator[list[SimulatedEvent]]:
    batch: list[SimulatedEvent] = []
    for item in events:
        if batch and (len(batch) >= BATCH or item.event.ts - batch[0].event.ts >= BATCH_S):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
