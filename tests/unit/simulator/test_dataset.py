"""Rows for training: aligned with the setups, and what would spoil a measurement is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from antifraud.domain import CallEvent, EventKind, UsageError
from antifraud.simulator import SimulatedEvent, simulate
from antifraud.simulator.dataset import labelled_rows


class _Maker:
    """Says of each setup its place among the events this maker has seen, and its time."""

    def __init__(self) -> None:
        self._seen = 0

    def vectors(self, events: Sequence[CallEvent]) -> npt.NDArray[np.float64]:
        rows = []
        for event in events:
            if event.kind is EventKind.SETUP:
                rows.append([float(self._seen), event.ts])
                self._seen += 1
        return np.array(rows, dtype=np.float64).reshape(len(rows), 2)


@pytest.fixture(scope="module")
def events() -> list[SimulatedEvent]:
    return list(simulate("national", 1, 6000))


def test_rows_line_up_with_setups_and_every_source_begins_anew(events: list[SimulatedEvent]) -> None:
    data = labelled_rows([("a", events), ("b", events)], _Maker)
    setups = [item for item in events if item.event.kind is EventKind.SETUP]
    assert len(data.y) == 2 * len(setups)
    assert data.X[:, 1].tolist() == data.ts.tolist() == [item.event.ts for item in setups] * 2
    assert data.X[len(setups), 0] == 0.0
    assert data.y.tolist() == [item.truth.fraud for item in setups] * 2
    assert [bool(campaign) for campaign in data.campaign] == data.y.tolist()


def test_duplicates_disorder_and_nothing_are_refused(events: list[SimulatedEvent]) -> None:
    with pytest.raises(UsageError, match="set up twice"):
        labelled_rows([("a", [events[0], events[0]])], _Maker)
    with pytest.raises(UsageError, match="back in time"):
        labelled_rows([("a", events[::-1])], _Maker)
    with pytest.raises(UsageError, match="no call"):
        labelled_rows([("a", [])], _Maker)
    with pytest.raises(UsageError, match="no events"):
        labelled_rows([], _Maker)
