"""A snapshot moved into other limits, and one taken over by a changed set of windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest

from antifraud.domain import CallEvent
from antifraud.features import Fold, Limits, SnapshotError, WindowSet, WindowSpec
from tests.property.features.streams import ROOMY, SPECS, row_of, window, window_set
from tests.unit.features.calls import T, answer, release, report, setup

SECRET = bytes(32)
POSITION = "1767225600000-7"


def folded(fold: Fold, log: Sequence[CallEvent]) -> np.ndarray:
    return fold.fold(log, [row_of(event) for event in log]).values


def traffic(seed: int, begin: float, end: float, callers: int = 40) -> list[CallEvent]:
    """Calls with answers, ends and now and then a report, in the order of time."""
    random = Random(seed)
    log = []
    ts = begin
    while ts < end:
        caller = f"+77000000{random.randrange(callers):03d}"
        callee = (
            f"+77000000{random.randrange(30):03d}" if random.random() < 0.6 else f"+77010000{random.randrange(20):03d}"
        )
        call_id, trunk, talk = f"{seed}-{len(log)}", f"T{random.randrange(4)}", random.choice([0.0, 4.0, 25.5, 301.0])
        log.append(setup(ts, caller, callee, call_id, trunk))
        if talk:
            log.append(answer(ts + 1, call_id, caller))
        if random.random() < 0.9:
            more = {"callee": callee, "trunk": trunk, "cause": random.choice([16, 21, None])}
            log.append(release(ts + 2 + talk, talk, caller, call_id, **more))
        if random.random() < 0.1:
            said = report(ts + 3, random.choice(["fraud", "honest"]), random.choice(["desk", "other desk"]), call_id)
            log.append(msgspec.structs.replace(said, caller=caller, callee=callee, weight=random.choice([0.5, 1.0])))
        ts += random.random() * 9
    return sorted(log, key=lambda event: event.ts)


# --- other limits -----------------------------------------------------------------------------------------------

BY_CALLER = window_set([spec for spec in SPECS if spec.by == ("caller",) and not spec.seen_by and spec.new != "caller"])


def by_last_call(log: Sequence[CallEvent]) -> list[CallEvent]:
    """The last set-up of every caller, longest idle first."""
    last: dict[str, CallEvent] = {}
    for event in log:
        if event.kind.value == "setup":
            last.pop(event.caller, None)
            last[event.caller] = event
    return list(last.values())


def test_in_larger_limits_everything_goes_on(tmp_path: Path) -> None:
    windows = window_set()
    original = Fold(windows, limits=ROOMY, secret=SECRET)
    folded(original, traffic(1, T, T + 3000))
    original.save(tmp_path / "s", POSITION)
    larger = msgspec.structs.replace(ROOMY, units=300_000, remembered=100_000)
    moved, position = Fold.load(tmp_path / "s", windows, limits=larger)
    assert (moved.limits, position) == (larger, POSITION)
    rest = traffic(2, T + 3000, T + 5000)
    assert folded(moved, rest).tobytes() == folded(original, rest).tobytes()
    before, after = original.stats(), moved.stats()
    for name, value in before.items():
        if name in ("remembered_limit", "memory_limit_bytes", "memory_bytes"):
            continue
        if name.endswith((".bytes", ".pairs")):
            assert 0.8 * value <= after[name] <= value, f"{name}: what no window holds any more is left behind"
        else:
            assert after[name] == value, name


def test_in_exactly_the_same_room_everything_goes_on(tmp_path: Path) -> None:
    original = Fold(BY_CALLER, limits=ROOMY, secret=SECRET)
    folded(original, traffic(1, T, T + 3000))
    original.save(tmp_path / "s", POSITION)
    used = int(original.stats()["caller.bytes"]) // 32
    moved, _ = Fold.load(tmp_path / "s", BY_CALLER, limits=msgspec.structs.replace(ROOMY, units=used))
    assert moved.stats()["caller.evicted"] == 0
    last = by_last_call(traffic(1, T, T + 3000))
    assert folded(moved, last).tobytes() == folded(original, last).tobytes()


@pytest.mark.parametrize("part", [0.9, 0.5, 0.25])
def test_in_smaller_limits_the_callers_that_were_counted_last_keep_all_they_had(tmp_path: Path, part: float) -> None:
    log = [event for event in traffic(3, T, T + 1500, callers=200) if event.kind.value == "setup"]
    original = Fold(BY_CALLER, limits=ROOMY, secret=SECRET)
    folded(original, log)
    original.save(tmp_path / "s", POSITION)
    units = int(part * original.stats()["caller.bytes"] / 32)
    moved, _ = Fold.load(tmp_path / "s", BY_CALLER, limits=msgspec.structs.replace(ROOMY, units=units))
    stats = moved.stats()
    callers = by_last_call(log)
    kept = int(stats["caller.keys"])
    assert kept + stats["caller.evicted"] == len(callers) == original.stats()["caller.keys"]
    assert 0.9 * units < stats["caller.bytes"] / 32 <= units, "no more is forgotten than has to be"

    # New calls in the order in which the callers were counted last: first of those that are still there, newest first.
    # A call that is one of the original's duplicates would be recognised; these are new ones.
    now = T + 1500
    ask = [msgspec.structs.replace(event, call_id=f"again {event.call_id}", ts=now) for event in callers]
    nobody = folded(Fold(BY_CALLER, limits=ROOMY), ask[:1])
    for place, question in enumerate(ask):
        one, _ = Fold.load(tmp_path / "s", BY_CALLER, limits=moved.limits)
        got = folded(one, [question])
        if place < len(callers) - kept:
            assert got.tobytes() == nobody.tobytes(), "forgotten as a whole"
        else:
            fresh, _ = Fold.load(tmp_path / "s", BY_CALLER)
            assert got.tobytes() == folded(fresh, [question]).tobytes(), "kept as a whole"

    # The newest half of those that are kept call on: the two folds cannot be told apart.
    busy = {event.caller for event in callers[-(kept // 2) :]}
    rest = [event for event in traffic(4, now, now + 900, callers=200) if event.caller in busy]
    assert len(rest) > 10
    assert folded(moved, rest).tobytes() == folded(original, rest).tobytes()


def test_in_smaller_limits_every_table_keeps_its_own_newest_keys(tmp_path: Path) -> None:
    windows = window_set(
        [
            window("calls", "count", "caller", 3600, 12),
            window("called", "count", "callee", 3600, 12),
            window("trunk_calls", "count", "trunk", 3600, 12),
        ]
    )
    log = [setup(T + i, f"+7700{i:07d}", f"+7701{i % 300:07d}", trunk=f"T{i % 5}") for i in range(500)]
    original = Fold(windows, limits=ROOMY, secret=SECRET)
    folded(original, log)
    original.save(tmp_path / "s", POSITION)
    moved, _ = Fold.load(tmp_path / "s", windows, limits=msgspec.structs.replace(ROOMY, units=600))
    stats = moved.stats()
    assert stats["trunk.keys"] == 5, "a small table gives nothing"
    assert abs(stats["caller.bytes"] - stats["callee.bytes"]) <= 2 * 96
    known = moved.fold(log, [None] * len(log))  # every one is a repetition: answered, not counted
    assert known.duplicate.all()
    calls, called = known.values[:, 0], known.values[:, 1]
    assert np.flatnonzero(calls).tolist() == list(range(500 - int(stats["caller.keys"]), 500))
    newest = np.flatnonzero(called[200:]) + 200
    assert newest.tolist() == list(range(500 - int(stats["callee.keys"]), 500))


def test_in_smaller_limits_a_key_keeps_its_newest_pairs(tmp_path: Path) -> None:
    windows = window_set([window("callees", "distinct", "caller", 600, 12, of="callee")])
    log = [setup(T + i, callee=f"+7701{i:07d}") for i in range(50)]
    original = Fold(windows, limits=ROOMY, secret=SECRET)
    again = msgspec.structs.replace(log[0], ts=T + 50, call_id="again")
    folded(original, [*log, again])
    original.save(tmp_path / "s", POSITION)
    moved, _ = Fold.load(tmp_path / "s", windows, limits=msgspec.structs.replace(ROOMY, pairs_per_key=10))
    assert folded(moved, [again]).tolist() == [[10]]
    assert moved.stats()["caller>callee.cut"] == 40
    kept = [log[0], *log[41:]]
    folded(moved, [msgspec.structs.replace(event, ts=T + 60, call_id=f"2 {event.call_id}") for event in kept])
    assert moved.stats()["caller>callee.cut"] == 40, "all of these were still held"


def test_what_was_forgotten_before_and_on_moving_is_added_up(tmp_path: Path) -> None:
    windows = window_set([window("calls", "count", "caller", 3600, 12)])
    original = Fold(windows, limits=Limits(units=300, remembered=1000), secret=SECRET)
    folded(original, [setup(T + i, f"+7700{i:07d}") for i in range(150)])
    assert original.stats()["caller.evicted"] == 50
    original.save(tmp_path / "s", POSITION)
    moved, _ = Fold.load(tmp_path / "s", windows, limits=Limits(units=150, remembered=1000))
    assert moved.stats()["caller.evicted"] == 100
    assert moved.stats()["caller.keys"] == 50


# --- other windows ----------------------------------------------------------------------------------------------


def saved(path: Path, windows: WindowSet, log: Sequence[CallEvent], limits: Limits = ROOMY) -> Fold:
    """A fold of ``log`` of which a snapshot lies in ``path``."""
    fold = Fold(windows, limits=limits, secret=SECRET)
    folded(fold, log)
    fold.save(path, POSITION)
    return fold


def changed(specs: Sequence[WindowSpec]) -> list[WindowSpec]:
    """``specs`` with some removed, one added, some renamed, in another order; ratios still stand below their parts."""
    gone = {"calls_1s", "idle", "longest", "talk_mean", "new_pairs"}
    names = {"calls_1h": "calls_in_an_hour", "short": "short_calls", "in_a_row": "redials", "out_in": "out_to_in"}
    added = window("called_by", "distinct", "callee", 3600, 12, of="trunk")
    stayed = [
        msgspec.structs.replace(
            spec, name=names.get(spec.name, spec.name), of=names.get(spec.of, spec.of), to=names.get(spec.to, spec.to)
        )
        for spec in specs
        if spec.name not in gone
    ]
    plain = [spec for spec in stayed if spec.kind not in ("ratio", "balance")]
    return [added, *reversed(plain), *(spec for spec in stayed if spec not in plain)]


def test_windows_that_stayed_go_on_bit_for_bit(tmp_path: Path) -> None:
    old_set, new_set = window_set(), window_set(changed(SPECS))
    log = traffic(5, T, T + 6000)
    uninterrupted = saved(tmp_path / "s", old_set, log)
    stayed, position, lacking = Fold.load_stayed(tmp_path / "s", new_set)
    assert position == POSITION
    assert lacking == ("called_by",)
    fold = Fold.merged(new_set, [stayed])
    rest = traffic(6, T + 6000, T + 12_000)
    got, wanted = folded(fold, rest), folded(uninterrupted, rest)
    by_digest = {digest: name for name, digest in old_set.digests.items()}
    pairs = {name: by_digest[digest] for name, digest in new_set.digests.items() if name != "called_by"}
    assert pairs["calls_in_an_hour"] == "calls_1h"
    assert len(pairs) == len(new_set.specs) - 1
    for new_name, old_name in pairs.items():
        mine, theirs = got[:, new_set.names.index(new_name)], wanted[:, old_set.names.index(old_name)]
        assert mine.tobytes() == theirs.tobytes(), new_name
        assert len(np.unique(theirs[~np.isnan(theirs)])) > 1, f"{new_name} tells nothing apart here"


def test_a_window_that_nobody_knows_begins_empty(tmp_path: Path) -> None:
    old_set = window_set([window("calls", "count", "caller", 600, 12)])
    age = window("age", "age", "caller")
    new_set = window_set([age, window("callees", "distinct", "caller", 600, 12, of="callee"), *old_set.specs])
    saved(tmp_path / "s", old_set, [setup(T), setup(T + 1)])
    stayed, _, lacking = Fold.load_stayed(tmp_path / "s", new_set)
    assert lacking == ("age", "callees")
    fold = Fold.merged(new_set, [stayed])
    first, second = folded(fold, [setup(T + 2), setup(T + 3)]).tolist()
    assert (np.isnan(first[0]), first[1:]) == (True, [0, 2])
    assert second == [1, 1, 3]


def test_a_window_filled_up_from_the_log_is_as_though_it_had_always_been_there(tmp_path: Path) -> None:
    old_set = window_set([spec for spec in SPECS if spec.name in ("calls_1h", "short", "callees_10s")])
    new_set = window_set()
    log, rest = traffic(7, T, T + 6000), traffic(8, T + 6000, T + 9000)
    saved(tmp_path / "s", old_set, log)
    stayed, _, lacking = Fold.load_stayed(tmp_path / "s", new_set)
    backfill = Fold(new_set.subset(lacking), limits=stayed.limits, secret=stayed.secret)
    folded(backfill, log)
    fold = Fold.merged(new_set, [backfill, stayed])
    always = Fold(new_set, limits=ROOMY, secret=SECRET)
    folded(always, log)
    assert folded(fold, rest).tobytes() == folded(always, rest).tobytes()
    for counter in ("events", "setups", "duplicates", "evicted", "remembered"):
        assert fold.stats()[counter] == always.stats()[counter], counter


def test_an_unchanged_set_lacks_nothing(tmp_path: Path) -> None:
    saved(tmp_path / "s", window_set(), traffic(1, T, T + 100))
    assert Fold.load_stayed(tmp_path / "s", window_set())[2] == ()


def test_a_longer_window_of_the_same_pairs_lacks_what_the_shorter_one_did_not_keep(tmp_path: Path) -> None:
    short = window("callees_1m", "distinct", "caller", 60, 12, of="callee")
    long = window("callees_1h", "distinct", "caller", 3600, 12, of="callee")
    log = [setup(T + 100 * i, callee=f"+7701000000{i}") for i in range(5)]
    saved(tmp_path / "s", window_set([short]), log)
    both = window_set([short, long])
    stayed, _, lacking = Fold.load_stayed(tmp_path / "s", both)
    assert lacking == ("callees_1h",)
    backfill = Fold(both.subset(lacking), limits=ROOMY, secret=stayed.secret)
    folded(backfill, log)
    assert folded(Fold.merged(both, [backfill, stayed]), [setup(T + 401)]).tolist() == [[1, 5]]
    assert folded(Fold.merged(both, [stayed]), [setup(T + 401)]).tolist() == [[1, 1]], "without the log"


def test_a_ratio_that_is_added_brings_its_windows(tmp_path: Path) -> None:
    calls, callees = window("a", "count", "caller", 600, 12), window("b", "distinct", "caller", 600, 12, of="callee")
    saved(tmp_path / "s", window_set([calls]), [setup(T), setup(T + 1), setup(T + 2, callee="+77010000002")])
    new_set = window_set([calls, callees, window("r", "ratio", "", of="a", to="b")])
    stayed, _, lacking = Fold.load_stayed(tmp_path / "s", new_set)
    assert lacking == ("b", "r")
    assert new_set.subset(lacking).names == ("a", "b", "r")
    backfill = Fold(new_set.subset(lacking), limits=ROOMY, secret=stayed.secret)
    folded(backfill, [setup(T), setup(T + 1), setup(T + 2, callee="+77010000002")])
    assert folded(Fold.merged(new_set, [backfill, stayed]), [setup(T + 3)]).tolist() == [[3, 2, 1.5]]


def test_keys_that_only_the_backfill_knows_leave_before_all_others(tmp_path: Path) -> None:
    calls, talk = window("calls", "count", "caller", 3600, 12), window("called", "count", "caller", 600, 12)
    log = [setup(T + i, f"+7700{i:07d}") for i in range(20)]
    tight = Limits(units=30, remembered=100)  # ten callers
    saved(tmp_path / "s", window_set([calls]), log, tight)
    new_set = window_set([calls, talk])
    stayed, _, lacking = Fold.load_stayed(tmp_path / "s", new_set)
    backfill = Fold(new_set.subset(lacking), limits=ROOMY, secret=stayed.secret)
    folded(backfill, log)
    fold = Fold.merged(new_set, [backfill, stayed], limits=msgspec.structs.replace(ROOMY, units=4 * 15))
    assert fold.limits.units == 60
    found = fold.fold(log, [None] * 20)
    assert found.duplicate.all()
    assert found.values[:, 0].tolist() == [0] * 10 + [1] * 10, "what the snapshot had forgotten stays forgotten"
    assert found.values[-10:, 1].tolist() == [1] * 10
    assert found.values[:10, 1].sum() >= 4, "there is room for some that the log had kept"
    first = int(np.argmax(found.values[:, 1]))
    assert found.values[first:10, 1].tolist() == [1] * (10 - first), "the newest of them"


def test_folds_with_different_secrets_cannot_be_merged() -> None:
    windows = window_set([window("calls", "count", "caller", 600, 12)])
    with pytest.raises(ValueError, match="different secrets"):
        Fold.merged(windows, [Fold(windows, limits=ROOMY), Fold(windows, limits=ROOMY)])


@pytest.mark.parametrize("place", [3, 9, 40, 400, -1])
def test_a_damaged_snapshot_is_not_taken_over(tmp_path: Path, place: int) -> None:
    saved(tmp_path / "s", window_set(), [setup(T)])
    raw = bytearray((tmp_path / "s").read_bytes())
    raw[place] ^= 1
    (tmp_path / "s").write_bytes(raw)
    with pytest.raises(SnapshotError) as caught:
        Fold.load_stayed(tmp_path / "s", window_set(SPECS[:3]))
    assert caught.value.reason in ("damaged", "version")


def test_a_missing_snapshot_is_not_taken_over(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError) as caught:
        Fold.load_stayed(tmp_path / "s", window_set())
    assert caught.value.reason == "missing"
