"""The fold equals the slow oracle on random streams: late events, ties, duplicates, clock jumps, small memories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, Limits, kernels, warm_up
from antifraud.features.plan import UNIT_WORDS, make_plan
from tests.property.features.oracle import Oracle
from tests.property.features.streams import OF_REPORTS, ROOMY, SPECS, events, row_of, window_set

ALL = (*SPECS, *OF_REPORTS)
WINDOWS = window_set(ALL)
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


def expect(log: Sequence[CallEvent], limits: Limits) -> tuple[list[list[float]], list[bool]]:
    oracle = Oracle(ALL, WINDOWS.predicates, limits.remembered)
    answers = [answer for event in log if (answer := oracle.fold(event, row_of(event))) is not None]
    return [values for values, _ in answers], [duplicate for _, duplicate in answers]


def same(got: np.ndarray, wanted: list[list[float]], first: int = 0) -> None:
    assert len(got) == len(wanted)
    for number, (row, right) in enumerate(zip(got.tolist(), wanted, strict=True), first):
        for spec, a, b in zip(ALL, row, right, strict=True):
            assert a == b or (math.isnan(a) and math.isnan(b)), f"set-up {number}, {spec.name}: {a} is not {b}"


@THOROUGH
@given(log=events())
def test_values_equal_the_oracle(log: list[CallEvent]) -> None:
    fold, values, duplicates = fold_all(log, [7], ROOMY)
    wanted, wanted_duplicates = expect(log, ROOMY)
    same(values, wanted)
    assert duplicates == wanted_duplicates
    assert fold.stats()["evicted"] == 0


LEAST = make_plan(WINDOWS).units_of_one_event() + 8


def table_name(table: tuple[tuple[str, ...], int]) -> str:
    return "+".join(table[0]) + (f"-{table[1]}" if table[1] else "")


def stream_names(oracle: Oracle) -> dict[str, tuple[Any, ...]]:
    names: dict[str, tuple[Any, ...]] = {}
    for stream in oracle.streams:
        name = f"{table_name(stream[0])}>{stream[1]}"
        taken = sum(other.split("#")[0] == name for other in names)
        names[f"{name}#{taken + 1}" if taken else name] = stream
    return names


def audit(fold: Fold) -> None:
    """Every unit is free or held exactly once, and every row and pair is found where it is looked for."""
    units, heads = fold._units.reshape(-1, UNIT_WORDS), fold._heads
    counters = fold._m.tolist()
    free = []
    unit = counters[kernels.C_FREE]
    while unit:
        free.append(unit)
        unit = int(units[unit, 0])
    assert len(set(free)) == len(free)
    assert counters[kernels.C_LEFT] == len(free) + fold.limits.units + 1 - counters[kernels.C_USED]
    held = fold._of_tables[:, kernels.M_UNITS].sum()
    assert held + counters[kernels.C_LEFT] == fold.limits.units
    chained = []
    for head in heads.tolist():
        while head:
            chained.append(head)
            head = int(units[head, 2])
    assert len(set(chained)) == len(chained)
    assert not set(chained) & set(free)
    pairs = fold._of_streams[:, kernels.Q_PAIRS].sum()
    assert len(chained) == fold._of_tables[:, kernels.M_KEYS].sum() + pairs
    for table in fold._of_tables:
        rows, row = 0, int(table[kernels.M_OLDEST])
        while row:
            rows, newest = rows + 1, row
            row = int(units[row, 5])
        assert rows == table[kernels.M_KEYS]
        assert not rows or newest == table[kernels.M_NEWEST]


@THOROUGH
@given(
    log=events(most=80),
    limits=st.builds(
        Limits, units=st.integers(LEAST, LEAST + 200), pairs_per_key=st.integers(1, 4), remembered=st.integers(1, 12)
    ),
)
def test_small_memories_forget_the_longest_idle(log: list[CallEvent], limits: Limits) -> None:
    """The oracle is told how many keys and pairs had to go at each event; which ones, it knows from the contract."""
    fold = Fold(WINDOWS, limits=limits, secret=SECRET)
    oracle = Oracle(ALL, WINDOWS.predicates, limits.remembered)
    tables = {table_name(table): table for table in oracle.tables}
    streams = stream_names(oracle)
    before = fold.stats()
    for number, event in enumerate(log):
        folded = fold.fold([event], [row_of(event)])
        answer = oracle.fold(event, row_of(event))
        if answer is not None:
            same(folded.values, [answer[0]], number)
            assert folded.duplicate.tolist() == [answer[1]]
        after = fold.stats()
        for name, value in after.items():
            owner, _, what = name.rpartition(".")
            for _ in range(int(value - before[name]) if owner and what in ("evicted", "cut") else 0):
                if what == "evicted":
                    oracle.evict(tables[owner])
                else:
                    oracle.cut(streams[owner], event)
        assert after["memory_bytes"] <= after["memory_limit_bytes"]
        for name, table in tables.items():
            assert after[f"{name}.keys"] == len(oracle.tables[table]), name
        before = after
    audit(fold)


@THOROUGH
@given(
    log=events(most=80),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    secret=st.binary(min_size=32, max_size=32),
    limits=st.sampled_from([ROOMY, Limits(units=LEAST, pairs_per_key=3, remembered=4)]),
)
def test_neither_batch_sizes_nor_the_secret_change_a_bit(
    log: list[CallEvent], sizes: list[int], secret: bytes, limits: Limits
) -> None:
    first, one, _ = fold_all(log, [1], limits)
    second, other, _ = fold_all(log, sizes, limits, secret)
    assert one.tobytes() == other.tobytes()
    assert first.stats() == second.stats()


@settings(THOROUGH, max_examples=40)
@given(
    log=events(),
    cut=st.integers(0, 60),
    limits=st.sampled_from([ROOMY, Limits(units=LEAST, pairs_per_key=3, remembered=4)]),
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
