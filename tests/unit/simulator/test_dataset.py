"""Rows for training: aligned with the setups, and what would spoil a measurement is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from antifraud.cli.assembly import build_numbering
from antifraud.decision import Decider, load_bundle, stopped_report
from antifraud.domain import CallEvent, EventKind, UsageError
from antifraud.features import Fold, WindowSet
from antifraud.features.fold import Folded
from antifraud.settings import load_settings
from antifraud.simulator import SimulatedEvent, simulate
from antifraud.simulator.dataset import labelled, labelled_rows


class _Maker:
    """Says of each setup its place among the events this maker has seen, and its time."""

    def __init__(self) -> None:
        self._seen = 0

    def vectors(
        self, events: Sequence[CallEvent], stops: list[CallEvent] | None = None, new: list[bool] | None = None
    ) -> npt.NDArray[np.float64]:
        rows = []
        for event in events:
            if event.kind is EventKind.SETUP:
                rows.append([float(self._seen), event.ts])
                self._seen += 1
        if new is not None:
            new += [self.is_new(ts) for _number, ts in rows]
        return np.array(rows, dtype=np.float64).reshape(len(rows), 2)

    def absorb(self, events: Sequence[CallEvent]) -> None:
        raise AssertionError("it stops nothing")

    def is_new(self, ts: float) -> bool:
        return False


class _Aging(_Maker):
    """Is new for six hours after the first event that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self._began = float("inf")

    def vectors(
        self, events: Sequence[CallEvent], stops: list[CallEvent] | None = None, new: list[bool] | None = None
    ) -> npt.NDArray[np.float64]:
        self._began = min(self._began, events[0].ts)
        return super().vectors(events, stops, new)

    def is_new(self, ts: float) -> bool:
        return ts - self._began < 6 * 3600


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


def test_calls_of_a_new_engine_are_marked(events: list[SimulatedEvent]) -> None:
    rows: list[npt.NDArray[np.float64]] = []
    found = labelled("a", events, _Aging(), rows.append)
    setups = [item.event for item in events if item.event.kind is EventKind.SETUP]
    assert len(np.concatenate(rows)) == len(found.new) == len(setups)
    assert found.new.tolist() == [event.ts - events[0].event.ts < 6 * 3600 for event in setups]
    assert 0 < found.new.sum() < len(setups)
    with pytest.raises(UsageError, match="while an engine is new"):
        labelled("a", events[:50], _Aging(), rows.append)


def test_duplicates_disorder_and_nothing_are_refused(events: list[SimulatedEvent]) -> None:
    with pytest.raises(UsageError, match="set up twice"):
        labelled_rows([("a", [events[0], events[0]])], _Maker)
    with pytest.raises(UsageError, match="back in time"):
        labelled_rows([("a", events[::-1])], _Maker)
    with pytest.raises(UsageError, match="no call"):
        labelled_rows([("a", [])], _Maker)
    with pytest.raises(UsageError, match="no events"):
        labelled_rows([], _Maker)


def test_what_the_rules_stop_goes_back_into_the_windows_as_live() -> None:
    settings = load_settings(env={"ANTIFRAUD_ENGINE_WARM_UP_S": "0"})
    bundle, numbering = load_bundle(settings.rules_dir, settings.utc_offset_min), build_numbering(settings, warm=False)
    calls = list(simulate("national", 3, 6000, days=0.3))

    def fresh(fold: Fold | None = None) -> Decider:
        return Decider(bundle, settings.policy(), numbering, fold=fold)

    names = fresh().feature_names
    data = labelled_rows([("seed 3", calls)], fresh)
    assert np.nanmax(data.X[:, [place for place, name in enumerate(names) if "stopped" in name]]) > 0.0

    fold, batch = _Remembering(bundle.windows), list[CallEvent]()
    live = fresh(fold)
    for event in (item.event for item in calls):
        if batch and event.ts - batch[0].ts >= 30.0:
            _decide(live, batch)
            batch.clear()
        batch.append(event)
    _decide(live, batch)
    width = len(bundle.windows.names)
    assert np.array_equal(np.concatenate(fold.values), data.X[:, :width], equal_nan=True)


class _Remembering(Fold):
    """Keeps the windows of every set-up."""

    def __init__(self, windows: WindowSet) -> None:
        super().__init__(windows)
        self.values: list[npt.NDArray[np.float64]] = []

    def fold(self, events: Sequence[CallEvent], rows: Sequence[Sequence[object] | None]) -> Folded:
        found = super().fold(events, rows)
        self.values.append(found.values.copy())
        return found


def _decide(live: Decider, batch: Sequence[CallEvent]) -> None:
    """Decide about ``batch`` and report what would be stopped, as the engine does."""
    setups = [event for event in batch if event.kind is EventKind.SETUP]
    stops = [
        stopped_report(event)
        for event, decision in zip(setups, live.decide(batch), strict=True)
        if decision.full_verdict in ("divert", "block") and not decision.protected
    ]
    live.absorb([report for report in stops if report is not None])
