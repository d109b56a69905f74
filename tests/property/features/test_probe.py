"""A probe says what a fold would have said, at any moment, and leaves no trace in it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, warm_up
from tests.property.features.streams import ROOMY, events, row_of, window_set

WINDOWS = window_set()
THOROUGH = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    warm_up()


@THOROUGH
@given(log=events(), later=st.floats(0.0, 7_200.0))
def test_a_probe_equals_the_fold_and_changes_nothing(
    log: list[CallEvent], later: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fold, untouched = (Fold(WINDOWS, limits=ROOMY, secret=bytes(32)) for _ in range(2))
    calls = [msgspec.structs.replace(event, kind=EventKind.SETUP) for event in log]
    for event in log:
        # Asked many at a time, at their own time and at others, in between.
        fold.probe(calls, [call.ts + later for call in calls])
        probed = fold.probe([event], [event.ts])
        folded = fold.fold([event], [row_of(event)])
        again = untouched.fold([event], [row_of(event)])
        assert np.array_equal(folded.values, again.values, equal_nan=True)
        if event.kind is EventKind.SETUP:
            assert np.array_equal(probed, folded.values, equal_nan=True)
    assert fold.stats() == untouched.stats()
    folder: Path = tmp_path_factory.mktemp("probe")
    fold.save(folder / "a", "1-0")
    untouched.save(folder / "b", "1-0")
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()


def test_a_probe_needs_a_finite_time_for_each_call() -> None:
    call = CallEvent(EventKind.SETUP, "c1", 1.8e9, caller="+77010000001", callee="+77020000002")
    fold = Fold(WINDOWS, limits=ROOMY, secret=bytes(32))
    assert fold.probe([], []).shape == (0, len(WINDOWS.specs))
    with pytest.raises(ValueError, match="finite"):
        fold.probe([call], [float("nan")])
    with pytest.raises(ValueError, match="finite"):
        fold.probe([call], [])
