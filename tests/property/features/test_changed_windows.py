"""A snapshot taken over by a changed set of windows goes on as though the new set had been there from the beginning.

One thing is left over of a window that was removed: how far its events had moved the buckets of their keys. Only events
that are late against those can tell, so logs are in order where windows are removed; the last test shows the case.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, Limits, WindowSet, WindowSpec, warm_up
from antifraud.features.windows import DERIVED
from tests.property.features.streams import ROOMY, SPECS, START, events, row_of, window, window_set
from tests.property.features.test_fold_against_oracle import LEAST, audit

SECRET = bytes(range(32))
THOROUGH = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    warm_up()


def whole(specs: Sequence[WindowSpec]) -> list[WindowSpec]:
    """``specs`` in their order, and before each ratio or balance the windows that it is worked out from."""
    by_name = {spec.name: spec for spec in SPECS}
    found: dict[str, WindowSpec] = {}
    for spec in specs:
        if spec.kind in DERIVED:
            for name in (spec.of, spec.to):
                found.setdefault(name, by_name[name])
        found.setdefault(spec.name, spec)
    return list(found.values())


@st.composite
def sets(draw: st.DrawFn, of: Sequence[WindowSpec] = SPECS) -> list[WindowSpec]:
    """Some of ``of`` in any order."""
    return whole(draw(st.permutations(of))[: draw(st.integers(0, len(of)))])


@st.composite
def grown_sets(draw: st.DrawFn) -> tuple[list[WindowSpec], list[WindowSpec]]:
    """A set, and one that has all of its windows and perhaps more, in another order."""
    new = draw(sets())
    old = draw(sets(new)) if new else []
    return old, new


def renamed(specs: Sequence[WindowSpec]) -> list[WindowSpec]:
    return [
        msgspec.structs.replace(
            spec,
            name=f"{spec.name}_2",
            of=f"{spec.of}_2" if spec.kind in DERIVED else spec.of,
            to=f"{spec.to}_2" if spec.kind in DERIVED else "",
        )
        for spec in specs
    ]


def folded(fold: Fold, log: Sequence[CallEvent]) -> np.ndarray:
    return fold.fold(log, [row_of(event) for event in log]).values


def taken_over(old: WindowSet, new: WindowSet, log: Sequence[CallEvent], path: str) -> Fold:
    """What has been folded with ``old``, gone over to ``new`` by way of a snapshot."""
    before = Fold(old, limits=ROOMY, secret=SECRET)
    folded(before, log)
    return gone_over(before, new, log, path)


def gone_over(before: Fold, new: WindowSet, log: Sequence[CallEvent], path: str) -> Fold:
    old = before.windows
    before.save(path, "5-0")
    stayed, position, lacking = Fold.load_stayed(path, new)
    assert position == "5-0"
    assert set(lacking) == {name for name, digest in new.digests.items() if digest not in old.digests.values()}
    backfill = Fold(new.subset(lacking), limits=stayed.limits, secret=stayed.secret)
    folded(backfill, log)
    return Fold.merged(new, [backfill, stayed])


def compare(old: list[WindowSpec], new: list[WindowSpec], log: list[CallEvent], cut: int, path: str) -> None:
    old_set, new_set = window_set(old), window_set(new)
    cut = min(cut, len(log))
    begun_with_new = Fold(new_set, limits=ROOMY, secret=SECRET)
    folded(begun_with_new, log[:cut])
    changed = taken_over(old_set, new_set, log[:cut], path)
    for number, event in enumerate(log[cut:], cut):
        got, wanted = (fold.fold([event], [row_of(event)]) for fold in (changed, begun_with_new))
        assert got.duplicate.tolist() == wanted.duplicate.tolist()
        for name, a, b in zip(new_set.names, got.values.T, wanted.values.T, strict=True):
            assert a.tobytes() == b.tobytes(), f"event {number}, {name}: {a} is not {b}"
    assert changed.stats()["evicted"] == 0
    audit(changed)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("changed") / "s")


@THOROUGH
@given(change=grown_sets(), rename=st.booleans(), log=events(), cut=st.integers(0, 60))
def test_added_windows_are_as_though_they_had_been_there_from_the_beginning(
    change: tuple[list[WindowSpec], list[WindowSpec]], rename: bool, log: list[CallEvent], cut: int, path: str
) -> None:
    old, new = change
    compare(old, renamed(new) if rename else new, log, cut, path)


@THOROUGH
@given(old=sets(), new=sets(), rename=st.booleans(), log=events(), cut=st.integers(0, 60))
def test_any_change_is_as_though_the_new_set_had_been_there_from_the_beginning(
    old: list[WindowSpec], new: list[WindowSpec], rename: bool, log: list[CallEvent], cut: int, path: str
) -> None:
    in_order = sorted(log, key=lambda event: event.ts)
    compare(old, renamed(new) if rename else new, in_order, cut, path)


@THOROUGH
@given(old=sets(), new=sets(), last=sets(), log=events(), cuts=st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_changes_may_follow_each_other(
    old: list[WindowSpec],
    new: list[WindowSpec],
    last: list[WindowSpec],
    log: list[CallEvent],
    cuts: tuple[int, int],
    path: str,
) -> None:
    """The second change takes over what the first one had taken over."""
    in_order = sorted(log, key=lambda event: event.ts)
    first, second = sorted(min(cut, len(log)) for cut in cuts)
    begun_with_last = Fold(window_set(last), limits=ROOMY, secret=SECRET)
    folded(begun_with_last, in_order[:second])
    changed = taken_over(window_set(old), window_set(new), in_order[:first], path)
    folded(changed, in_order[first:second])
    changed = gone_over(changed, window_set(last), in_order[:second], path)
    rest = in_order[second:]
    assert folded(changed, rest).tobytes() == folded(begun_with_last, rest).tobytes()
    audit(changed)


SMALL = st.builds(
    Limits, units=st.integers(LEAST, LEAST + 300), pairs_per_key=st.integers(1, 5), remembered=st.just(12)
)


@THOROUGH
@given(log=events(most=80), rest=events(most=20), limits=SMALL, others=SMALL)
def test_moved_into_another_small_memory_nothing_is_lost_uncounted(
    log: list[CallEvent], rest: list[CallEvent], limits: Limits, others: Limits
) -> None:
    """Every key is still held or counted as evicted; every unit is accounted for, also after folding on."""
    windows = window_set()
    fold = Fold(windows, limits=limits, secret=SECRET)
    folded(fold, log)
    moved = Fold.merged(windows, [fold], limits=others)
    audit(moved)
    before, after = fold.stats(), moved.stats()
    for table in (name.removesuffix(".keys") for name in before if name.endswith(".keys")):
        known = before[f"{table}.keys"] + before[f"{table}.evicted"]
        assert after[f"{table}.keys"] + after[f"{table}.evicted"] == known, table
    assert after["memory_bytes"] <= after["memory_limit_bytes"]
    folded(moved, rest)
    audit(moved)


def test_a_late_event_can_tell_that_a_removed_window_had_counted_a_later_one(path: str) -> None:
    """The buckets of a key move on with its newest counted event, even one that only the removed window counted."""
    calls = window("calls", "count", "caller", 1, 1)
    talking = window("talking", "open", "caller", 3600, 12, on="answer")
    number = {"caller": "+77000000001", "callee": "+77010000001"}
    answered = CallEvent(kind=EventKind.ANSWER, call_id="0", ts=START, **number)
    late = [CallEvent(kind=EventKind.SETUP, call_id=call_id, ts=START - 0.5, **number) for call_id in "12"]
    later = [CallEvent(kind=EventKind.SETUP, call_id=call_id, ts=START + 1, **number) for call_id in "34"]
    changed = taken_over(window_set([calls, talking]), window_set([calls]), [answered], path)
    begun_with_new = Fold(window_set([calls]), limits=ROOMY, secret=SECRET)
    assert folded(begun_with_new, [answered, *late, *later])[:, 0].tolist() == [0, 1, 0, 1]
    assert folded(changed, [*late, *later])[:, 0].tolist() == [0, 0, 0, 1], "the second of the late ones has gone"
