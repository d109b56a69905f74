"""The fold equals the slow oracle on random streams: late events, ties, duplicates, clock jumps, small memories."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, Limits, warm_up
from tests.property.features.oracle import Oracle
from tests.property.features.streams import ROOMY, SPECS, events, row_of, window_set

WINDOWS = window_set()
SECRET = bytes(range(32))
THOROUGH = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    warm_up()


def fold_all(
    log: Sequence[CallEvent], sizes: Sequence[int], limits: Limits, secret: bytes = SECRET
) -> tuple[Fold, np.ndarray, list[bool]]:
    fold = Fold(WINDOWS, limits=limits, secret=secret)
    values, duplicates = [], []
    begin = turn = 0
    while begin < len(log):
        batch = log[begin : begin + sizes[turn % len(sizes)]]
        folded = fold.fold(batch, [row_of(event) for event in batch])
        values.append(folded.values)
        duplicates += folded.duplicate.tolist()
        begin += len(batch)
        turn += 1
    return fold, np.concatenate(values), duplicates


def expect(log: Sequence[CallEvent], limits: Limits) -> tuple[Oracle, list[list[float]], list[bool]]:
    oracle = Oracle(SPECS, WINDOWS.predicates, limits)
    answers = [answer for event in log if (answer := oracle.fold(event, row_of(event))) is not None]
    return oracle, [values for values, _ in answers], [duplicate for _, duplicate in answers]


def same(got: np.ndarray, wanted: list[list[float]]) -> None:
    assert len(got) == len(wanted)
    for number, (row, right) in enumerate(zip(got.tolist(), wanted, strict=True)):
        for spec, a, b in zip(SPECS, row, right, strict=True):
            assert a == b or (math.isnan(a) and math.isnan(b)), f"set-up {number}, {spec.name}: {a} is not {b}"


@THOROUGH
@given(log=events())
def test_values_equal_the_oracle(log: list[CallEvent]) -> None:
    fold, values, duplicates = fold_all(log, [7], ROOMY)
    _, wanted, wanted_duplicates = expect(log, ROOMY)
    same(values, wanted)
    assert duplicates == wanted_duplicates
    assert fold.stats()["caller.evicted"] == 0


@THOROUGH
@given(
    log=events(most=80),
    limits=st.builds(
        Limits,
        keys=st.integers(1, 5),
        pairs=st.integers(1, 8),
        pairs_per_key=st.integers(1, 4),
        remembered=st.integers(1, 12),
    ),
)
def test_small_memories_forget_what_the_oracle_forgets(log: list[CallEvent], limits: Limits) -> None:
    fold, values, duplicates = fold_all(log, [1, 5], limits)
    oracle, wanted, wanted_duplicates = expect(log, limits)
    same(values, wanted)
    assert duplicates == wanted_duplicates
    stats = fold.stats()
    assert sum(value for name, value in stats.items() if name.endswith(".evicted")) == oracle.evicted
    assert sum(value for name, value in stats.items() if name.endswith(".cut")) == oracle.cut


@THOROUGH
@given(
    log=events(), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5), secret=st.binary(min_size=32, max_size=32)
)
def test_neither_batch_sizes_nor_the_secret_change_a_bit(log: list[CallEvent], sizes: list[int], secret: bytes) -> None:
    _, one, _ = fold_all(log, [1], ROOMY)
    _, other, _ = fold_all(log, sizes, ROOMY, secret)
    assert one.tobytes() == other.tobytes()


@settings(THOROUGH, max_examples=40)
@given(
    log=events(),
    cut=st.integers(0, 60),
    limits=st.sampled_from([ROOMY, Limits(keys=3, pairs=5, pairs_per_key=3, remembered=4)]),
)
def test_a_fold_taken_up_from_a_snapshot_goes_on_bit_for_bit(
    log: list[CallEvent], cut: int, limits: Limits, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("snapshots") / "s"
    cut = min(cut, len(log))
    whole, values, _ = fold_all(log, [9], limits)
    first, before, _ = fold_all(log[:cut], [9], limits) if cut else (Fold(WINDOWS, limits=limits), values[:0], [])
    first.save(path, f"{cut}-0")
    second, position = Fold.load(path, WINDOWS)
    assert position == f"{cut}-0"
    rest = log[cut:]
    after = second.fold(rest, [row_of(event) for event in rest]).values
    assert np.concatenate([before, after]).tobytes() == values.tobytes()
    assert second.stats() == whole.stats()


@settings(THOROUGH, max_examples=60)
@given(
    gaps=st.lists(st.floats(0, 40), min_size=2, max_size=40),
    items=st.lists(st.integers(0, 6), min_size=40, max_size=40),
)
def test_on_a_stream_in_order_values_lie_between_the_exact_ones_of_over_and_of_over_less_a_bucket(
    gaps: list[float], items: list[int]
) -> None:
    """No oracle in between: the definition of a window itself, half-open, ties in the order of the log."""
    times = [round(1_767_225_600 + t, 3) for t in np.cumsum(gaps)]
    log = [
        CallEvent(kind=EventKind.SETUP, call_id=str(i), ts=t, caller="+77000000001", callee=f"+7701000000{items[i]}")
        for i, t in enumerate(times)
    ]
    _, values, _ = fold_all(log, [64], ROOMY)
    for name, over, bucket in (("calls_1m", 60, 5), ("calls_10s", 10, 1), ("callees_10m", 600, 50)):
        column = WINDOWS.names.index(name)
        for i, t in enumerate(times):
            exact = {
                length: [items[j] if "callees" in name else j for j in range(i) if times[j] >= t - length]
                for length in (over, over - bucket)
            }
            assert len(set(exact[over - bucket])) <= values[i, column] <= len(set(exact[over]))
