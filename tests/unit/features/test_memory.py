"""What is forgotten when the memory is full: always something, never the wrong thing, and it is counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from antifraud.domain import CallEvent, ConfigError
from antifraud.features import Fold, Limits
from antifraud.features import fold as fold_module
from antifraud.features.plan import make_plan
from tests.property.features.streams import ROOMY, window, window_set
from tests.unit.features.calls import T, fold_of, setup, values

COUNT = window("calls", "count", "caller", 3600, 12)
AGE = window("age", "age", "caller")
CALLEES = window("callees", "distinct", "caller", 3600, 12, of="callee")
CALLED = window("called", "count", "callee", 3600, 12)
TRUNK = window("trunk_calls", "count", "trunk", 3600, 12)
TRUNK_CALLERS = window("trunk_callers", "distinct", "trunk", 3600, 12, of="caller")
#: Head, payload and one bucket: what a key with nothing but one count takes.
ONE_COUNT = 3


def caller(number: int) -> str:
    return f"+7700{number:07d}"


def callee(number: int) -> str:
    return f"+7701{number:07d}"


def flood(begin: int, end: int, **fixed: str) -> list[CallEvent]:
    """Calls of rotating callers, ten a second; to rotating callees unless one is given."""
    return [setup(T + i / 10, **{"caller": caller(i), "callee": callee(i), **fixed}) for i in range(begin, end)]


def fold_in_batches(fold: Fold, log: Sequence[CallEvent]) -> None:
    for begin in range(0, len(log), 1000):
        batch = log[begin : begin + 1000]
        fold.fold(batch, [None] * len(batch))


def again(fold: Fold, log: Sequence[CallEvent]) -> list[list[float]]:
    """What is known now of calls that were folded before: a repetition is answered and leaves no trace."""
    found = fold.fold(log, [None] * len(log))
    assert found.duplicate.all()
    return found.values.tolist()


# --- whose turn it is -------------------------------------------------------------------------------------------


def test_the_key_that_was_counted_longest_ago_leaves() -> None:
    fold = fold_of(COUNT, limits=Limits(units=10 * ONE_COUNT, remembered=100))
    calls = [setup(T + i, caller(i)) for i in range(10)]
    values(fold, *calls, setup(T + 10, caller(0)))
    assert fold.stats()["caller.evicted"] == 0
    values(fold, setup(T + 11, caller(10)))
    assert fold.stats()["caller.evicted"] == 1
    assert [row[0] for row in again(fold, calls)] == [2, 0, 1, 1, 1, 1, 1, 1, 1, 1]


def test_it_is_known_since_when_nobody_was_forgotten(tmp_path: Path) -> None:
    """Whoever has been quiet for longer than the last caller that left may have been forgotten as well."""
    limits = Limits(units=10 * ONE_COUNT, remembered=100)
    fold = fold_of(COUNT, limits=limits)
    assert math.isnan(fold.known_since)
    values(fold, *(setup(T + i, caller(i)) for i in range(10)))
    assert fold.known_since == fold.began == T
    values(fold, setup(T + 20, caller(10)), setup(T + 21, caller(11)), setup(T + 22, caller(12)))
    assert (fold.began, fold.known_since) == (T, T + 2)
    fold.save(tmp_path / "snapshot", "1-0")
    restored, _position = Fold.load(tmp_path / "snapshot", fold.windows)
    assert restored.known_since == T + 2
    wider, _position = Fold.load(tmp_path / "snapshot", fold.windows, limits=Limits(units=1000, remembered=100))
    assert wider.known_since == T + 2, "more room does not bring back whom it had lost"


def test_touching_the_indexes_changes_nothing() -> None:
    touched, other = (fold_of(COUNT, CALLEES, limits=ROOMY) for _ in range(2))
    log = flood(0, 300)
    for fold in (touched, other):
        fold_in_batches(fold, log[:200])
    touched.touch()
    assert touched.stats() == other.stats()
    assert again(touched, log[:200]) == again(other, log[:200])
    for fold in (touched, other):
        fold_in_batches(fold, log[200:])
    assert again(touched, log) == again(other, log)


def test_being_asked_for_is_not_being_counted() -> None:
    fold = fold_of(COUNT, limits=Limits(units=10 * ONE_COUNT, remembered=100))
    calls = [setup(T + i, caller(i)) for i in range(10)]
    values(fold, *calls)
    again(fold, calls[:1])  # a repetition looks at the past of the first caller and counts nothing
    values(fold, setup(T + 11, caller(10)))
    assert [row[0] for row in again(fold, calls[:2])] == [0, 1]


def test_a_key_that_left_is_as_though_it_had_never_been_seen() -> None:
    new_calls = window("new_calls", "count", "callee", 3600, 12, new="caller")
    fold = fold_of(COUNT, AGE, CALLEES, new_calls, limits=Limits(units=400, remembered=1000))
    values(fold, setup(T, caller(0), callee(0)), setup(T + 1, caller(0), callee(0)))
    fold_in_batches(fold, flood(100, 400, callee=callee(1)))
    assert fold.stats()["caller.evicted"] > 0
    back = values(fold, setup(T + 100, caller(0), callee(0)), setup(T + 101, caller(0), callee(0)))
    assert [row[0] for row in back] == [0, 1]
    assert math.isnan(back[0][1])
    assert back[1][1] == 1
    assert [row[2] for row in back] == [0, 1]
    assert [row[3] for row in back] == [1, 2], "new for the second time"


def test_the_table_that_holds_most_memory_gives() -> None:
    fold = fold_of(COUNT, CALLED, limits=Limits(units=3000, remembered=100_000))
    fold_in_batches(fold, flood(0, 2000, callee=callee(0)))
    stats = fold.stats()
    assert (stats["caller.keys"], stats["callee.keys"]) == (2000 - stats["caller.evicted"], 1)
    assert stats["callee.evicted"] == 0
    fold_in_batches(fold, flood(2000, 4000, caller=caller(0)))
    stats = fold.stats()
    assert abs(stats["caller.bytes"] - stats["callee.bytes"]) <= 32 * ONE_COUNT, "callees took half, not more"
    assert stats["callee.evicted"] > 0


# --- isolation --------------------------------------------------------------------------------------------------


def test_a_flood_of_rotating_callers_leaves_callees_and_trunks_alone() -> None:
    windows = window_set([COUNT, AGE, CALLEES, CALLED, TRUNK, TRUNK_CALLERS])
    tight = Fold(windows, limits=Limits(units=3000, pairs_per_key=300, remembered=100_000))
    roomy = Fold(windows, limits=Limits(units=1_000_000, pairs_per_key=300, remembered=100_000))
    quiet = [setup(T + i, caller(i % 3), callee(i % 10), trunk=f"T{i % 2}") for i in range(100)]
    for fold in (tight, roomy):
        fold_in_batches(fold, quiet)
        fold_in_batches(fold, flood(1000, 21_000, callee=callee(500), trunk="T9"))
    stats = tight.stats()
    assert stats["caller.evicted"] > 19_000
    assert stats["callee.evicted"] == stats["trunk.evicted"] == 0
    calls = [setup(T + 2200 + i, "", callee(i), trunk=f"T{i % 2}") for i in range(10)]
    seen = [values(fold, *calls) for fold in (tight, roomy)]
    assert [row[3:] for row in seen[0]] == [row[3:] for row in seen[1]] != [[0, 0, 0]] * 10


def test_rotating_callers_and_callees_stay_within_the_limits() -> None:
    fold = fold_of(COUNT, CALLEES, limits=Limits(units=2500, pairs_per_key=100, remembered=300))
    fold_in_batches(fold, flood(0, 20_000))
    stats = fold.stats()
    # Head, payload, one bucket that holds both counts, one pair.
    assert stats["caller.keys"] == 2500 // 4
    assert stats["caller.evicted"] == 20_000 - 2500 // 4
    assert stats["caller>callee.pairs"] == stats["caller.keys"]
    assert stats["caller>callee.cut"] == 0
    assert stats["remembered"] == 300
    assert stats["memory_bytes"] <= stats["memory_limit_bytes"]
    assert fold.longest_search() < 40


def test_one_key_cannot_take_the_pairs_of_all() -> None:
    fold = fold_of(CALLEES, limits=Limits(units=1000, pairs_per_key=50, remembered=1000))
    quiet = caller(2)
    values(fold, *(setup(T + i, quiet, callee(i)) for i in range(20)))
    hog = [setup(T + 30 + i / 100, caller(1), callee(i)) for i in range(5000)]
    fold_in_batches(fold, hog)
    assert fold.stats()["caller>callee.cut"] == 4950
    assert values(fold, setup(T + 90, quiet), setup(T + 90, caller(1))) == [[20], [50]]
    assert fold.stats()["caller.evicted"] == 0


def test_one_trunk_that_holds_everything_gives_its_oldest_pairs() -> None:
    fold = fold_of(TRUNK_CALLERS, limits=Limits(units=100, remembered=10_000))
    calls = flood(0, 1000, trunk="T1")
    fold_in_batches(fold, calls)
    stats = fold.stats()
    held = int(stats["trunk>caller.pairs"])
    assert stats["trunk.evicted"] == 0
    assert stats["trunk>caller.cut"] == 1000 - held
    assert 90 <= held <= 100 - ONE_COUNT
    assert again(fold, calls[-1:]) == [[held]], "what is gone no longer counts"
    before = fold.stats()["trunk>caller.cut"]
    values(fold, *(setup(T + 101, caller(1000 - held + i), trunk="T1", call_id=f"b{i}") for i in range(held)))
    assert fold.stats()["trunk>caller.cut"] == before, "the callers that are held are the last ones"


def test_a_trunk_with_many_pairs_is_not_forgotten_for_a_call_of_another() -> None:
    fold = fold_of(TRUNK, TRUNK_CALLERS, limits=Limits(units=1000, remembered=4000))
    fold_in_batches(fold, flood(0, 2000, trunk="T1"))
    held = fold.stats()["trunk>caller.pairs"]
    fold_in_batches(fold, flood(2000, 2050, trunk="T2"))
    stats = fold.stats()
    assert stats["trunk.evicted"] == 0
    assert stats["trunk.keys"] == 2
    assert stats["trunk>caller.pairs"] <= held
    (first,) = again(fold, [setup(T + 199.9, caller(1999), callee(1999), trunk="T1")])
    assert first[0] == 2000, "what T1 counted is still there"
    assert first[1] < held, "only some of its pairs are not"
    # A few pairs do not save a key: it leaves as a whole.
    small = fold_of(TRUNK, TRUNK_CALLERS, limits=Limits(units=250, remembered=4000))
    fold_in_batches(small, flood(0, 200, trunk="T1"))
    fold_in_batches(small, flood(200, 300, trunk="T2"))
    assert small.stats()["trunk.evicted"] == 1


def test_a_pair_that_was_used_again_is_not_the_oldest() -> None:
    fold = fold_of(CALLEES, limits=msgspec.structs.replace(ROOMY, pairs_per_key=3))
    values(fold, *(setup(T + i, callee=callee(i)) for i in range(3)), setup(T + 3, callee=callee(0)))
    values(fold, setup(T + 4, callee=callee(3)))  # callee 1 leaves
    assert fold.stats()["caller>callee.cut"] == 1
    values(fold, setup(T + 5, callee=callee(0)), setup(T + 6, callee=callee(2)), setup(T + 7, callee=callee(3)))
    assert fold.stats()["caller>callee.cut"] == 1
    values(fold, setup(T + 8, callee=callee(1)))
    assert fold.stats()["caller>callee.cut"] == 2


# --- counters ---------------------------------------------------------------------------------------------------


def test_the_counters_add_up() -> None:
    specs = [COUNT, AGE, CALLEES, CALLED, TRUNK, TRUNK_CALLERS]
    fold = fold_of(*specs, limits=Limits(units=2000, pairs_per_key=200, remembered=500))
    log = [setup(T + i / 10, caller(i), callee(i % 77), trunk=f"T{i % 3}") for i in range(5000)]
    fold_in_batches(fold, log)
    stats = fold.stats()
    assert stats["events"] == stats["setups"] == 5000
    assert (stats["duplicates"], stats["late"]) == (0, 0)
    assert (stats["remembered"], stats["remembered_limit"]) == (500, 500)
    assert stats["caller.keys"] + stats["caller.evicted"] == 5000, "each caller came once"
    assert stats["evicted"] == sum(stats[f"{table}.evicted"] for table in ("caller", "callee", "trunk"))
    held = sum(stats[f"{table}.bytes"] for table in ("caller", "callee", "trunk"))
    assert 0.95 * 32 * 2000 < held <= 32 * 2000
    assert stats["trunk>caller.pairs"] == 3 * 200
    assert stats["trunk>caller.cut"] == 5000 - 3 * 200
    assert held < stats["memory_bytes"] <= stats["memory_limit_bytes"]


def test_what_is_late_is_counted() -> None:
    fold = fold_of(COUNT, CALLEES)
    values(fold, setup(T), setup(T - 4000, callee=callee(2)))
    assert fold.stats()["late"] == 2, "one count, one pair"


def test_nothing_is_taken_up_before_it_is_used() -> None:
    fold = fold_of(COUNT)
    stats = fold.stats()
    assert (stats["caller.keys"], stats["caller.bytes"], stats["evicted"]) == (0, 0, 0)
    values(fold, setup(T))
    assert fold.stats()["caller.bytes"] == 32 * ONE_COUNT


# --- limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mebibytes", [1, 2, 3, 5, 16, 100, 256, 1000])
def test_a_fold_stays_below_the_memory_it_was_given(mebibytes: int) -> None:
    limits = Limits.of_memory(mebibytes * 2**20)
    fold = fold_of(COUNT, limits=limits)
    assert 0.75 * mebibytes * 2**20 < fold.stats()["memory_limit_bytes"] <= mebibytes * 2**20
    arrays = (fold._units, fold._seen, fold._seen_index)
    assert sum(array.nbytes for array in arrays) <= mebibytes * 2**20 + 64


@pytest.mark.parametrize("absurd", [0, -1, 1, 2**20 - 1, -(2**70)])
def test_a_memory_limit_that_is_too_small_is_refused_with_a_remedy(absurd: int) -> None:
    with pytest.raises(ConfigError, match=f"limit of {absurd} bytes for the windows is too small") as caught:
        Limits.of_memory(absurd)
    assert "give at least 1048576 bytes" in caught.value.render()


@pytest.mark.parametrize("absurd", [2**40, 2**64, 10**30])
def test_a_memory_limit_beyond_any_machine_gives_the_most_that_can_be_counted(absurd: int) -> None:
    limits = Limits.of_memory(absurd)
    assert (limits.units, limits.remembered) == (2**31 - 1, 2**20)


def test_memory_that_the_machine_does_not_have_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(fold_module.np, "zeros", none_left)
    with pytest.raises(ConfigError, match="more than this machine can hold") as caught:
        fold_of(COUNT)
    assert "features.memory_limit" in caught.value.render()


def test_the_least_memory_holds_one_event_of_all_windows() -> None:
    windows = window_set()
    least = make_plan(windows).units_of_one_event() + 8
    fold = Fold(windows, limits=Limits(units=least, remembered=8))
    fold_in_batches(fold, flood(0, 500, trunk="T2"))
    assert fold.stats()["caller.keys"] >= 1
    with pytest.raises(ConfigError, match=f"units is {least - 1}, with these windows it can be from {least} to"):
        Fold(windows, limits=Limits(units=least - 1))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"units": 0}, "the windows' limit units is 0"),
        ({"units": -5}, "the windows' limit units is -5"),
        ({"units": 2**31}, "the windows' limit units is 2147483648"),
        ({"pairs_per_key": 0}, "the windows' limit pairs_per_key is 0"),
        ({"remembered": 0}, "the windows' limit remembered is 0"),
        ({"remembered": 2**31}, "the windows' limit remembered is 2147483648"),
    ],
)
def test_senseless_limits_are_refused(limits: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fold_of(COUNT, limits=Limits(**limits))


def test_a_large_limit_costs_nothing_until_it_is_used() -> None:
    fold = fold_of(COUNT, limits=Limits(units=50_000_000))
    values(fold, setup(T))
    assert fold.stats()["caller.bytes"] == 32 * ONE_COUNT
    assert np.count_nonzero(fold._units[: 32 * 4]) > 0
