"""The fold case by case: what analysts may rely on, and what attackers may not do."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import antifraud.features
from antifraud.domain import CallEvent, ConfigError
from antifraud.features import Fold, Limits, kernels, warm_up
from tests.property.features.streams import ROOMY, window, window_set
from tests.unit.features.calls import T, fold_of, release, report, setup, values

COUNT = window("calls", "count", "caller", 60, 12)
CALLEES = window("callees", "distinct", "caller", 600, 12, of="callee")


def test_a_call_does_not_count_itself_but_one_of_the_same_instant_before_it() -> None:
    first, tie, later = values(fold_of(COUNT), setup(T), setup(T, call_id="tie"), setup(T + 1))
    assert (first, tie, later) == ([0], [1], [2])


def test_a_window_forgets_by_whole_buckets() -> None:
    # Buckets of 5 s: the one of T is left when T + 60 begins, not a moment earlier.
    assert values(fold_of(COUNT), setup(T), setup(T + 59.999), setup(T + 60)) == [[0], [1], [1]]


def test_a_missing_number_has_no_past_and_leaves_none() -> None:
    fold = fold_of(COUNT, CALLEES, window("called", "count", "callee", 60, 12))
    rows = values(fold, setup(T, caller=""), setup(T + 1, caller=""))
    assert [math.isnan(value) for value in rows[1]] == [True, True, False]
    assert rows[1][2] == 1
    assert fold.stats()["caller.keys"] == 0


def test_never_seen_is_zero_for_counts_and_missing_for_shares_and_ages() -> None:
    fold = fold_of(
        COUNT,
        CALLEES,
        window("talk", "sum", "caller", 60, 12, on="release", of="talk_s"),
        window("mean", "mean", "caller", 60, 12, on="release", of="talk_s"),
        window("short", "share", "caller", 60, 12, on="release", where="talk_s < 10"),
        window("age", "age", "caller"),
        window("idle", "idle", "caller"),
    )
    (row,) = values(fold, setup(T))
    assert row[:3] == [0, 0, 0]
    assert all(math.isnan(value) for value in row[3:])


def test_shares_sums_and_means_of_releases() -> None:
    fold = fold_of(
        window("talk", "sum", "caller", 60, 12, on="release", of="talk_s"),
        window("mean", "mean", "caller", 60, 12, on="release", of="talk_s"),
        window("short", "share", "caller", 60, 12, on="release", where="talk_s < 10"),
    )
    log = [release(T, 2.5), release(T + 1, 30.0), release(T + 2, None), setup(T + 3), setup(T + 70)]
    inside, after = values(fold, *log)
    assert inside == [32.5, 16.25, 1 / 3]
    assert after[0] == 0
    assert all(math.isnan(value) for value in after[1:])


def test_a_share_seen_by_a_late_set_up_is_of_one_stretch_of_time() -> None:
    fold = fold_of(window("short", "share", "caller", 60, 12, on="release", where="talk_s < 10"))
    # The release at T + 65 pushes the short one at T out of the whole, and so out of the part.
    log = [release(T, 1.0), release(T + 20, 50.0), release(T + 65, 50.0), setup(T + 30)]
    assert values(fold, *log) == [[0.0]]


def test_new_means_never_seen_when_they_called() -> None:
    fold = fold_of(window("chain", "distinct", "callee", 7200, 12, of="caller", new="caller"))
    victim, other = "+77010000001", "+77010000009"
    log = [
        setup(T, "+77000000001", other),  # known from here on, to whomever it calls later
        setup(T + 10, "+77000000001", victim),
        setup(T + 20, "+77000000002", victim),
        setup(T + 30, "+77000000003", victim),
        setup(T + 40, "+77000000003", victim),
        setup(T + 50, "+77000000004", victim),
    ]
    assert values(fold, *log) == [[0], [0], [0], [1], [2], [2]]


def test_new_within_holds_to_the_last_millisecond() -> None:
    fresh = window("fresh", "count", "caller", 3600, 12, on="release", new="caller", new_within_s=60)
    caller = "+77000000001"
    log = [setup(T, caller), release(T + 60, 1.0, caller), release(T + 60.001, 1.0, caller), setup(T + 61, caller)]
    assert values(fold_of(fresh), *log) == [[0], [1]]


def test_a_late_occurrence_does_not_age_a_pair() -> None:
    assert values(fold_of(CALLEES), setup(T + 100), setup(T, call_id="late"), setup(T + 650)) == [[0], [0], [1]]


def test_sequential_counts_neighbours_not_redials() -> None:
    fold = fold_of(window("sequential", "sequential", "caller", 600, 12, step=2))
    called = ["+77010000010", "+77010000011", "+77010000011", "+77010000009", "+77010000012", "101", "102"]
    rows = values(fold, *(setup(T + i, callee=number) for i, number in enumerate(called)), setup(T + 9))
    assert [row[0] for row in rows] == [0, 0, 1, 1, 2, 2, 2, 2]


def test_a_repeated_event_is_answered_and_not_counted_again() -> None:
    fold = fold_of(COUNT)
    call = setup(T, call_id="one")
    folded = fold.fold([call, call, setup(T + 1, call_id="one", callee="+77010000002")], [None] * 3)
    assert folded.values.tolist() == [[0], [1], [1]]
    assert folded.duplicate.tolist() == [False, True, False]
    assert fold.stats()["duplicates"] == 1


def test_a_report_with_another_label_or_reporter_is_another_report() -> None:
    fold = fold_of(window("reports", "count", "caller", 3600, 12, on="report"))
    told = [
        report(T, "honest", "subscriber"),
        report(T + 1, "fraud", "subscriber"),
        report(T + 2, "fraud", "desk"),
        report(T + 3, "desk", "fraud"),
        report(T + 4, "", "fraud"),
        report(T + 5, "fraud", ""),
        report(T + 6, "", ""),
    ]
    assert values(fold, *told, setup(T + 10)) == [[7]]
    again = [msgspec.structs.replace(one, ts=one.ts + 60) for one in told]
    assert values(fold, *again, setup(T + 100)) == [[7]]
    assert fold.stats()["duplicates"] == 7


REPORTED = (
    window("reports", "count", "caller", 30 * 86_400, 30, on="report", where="label == 'fraud'"),
    window("weight", "sum", "caller", 3600, 12, on="report", of="weight"),
    window("reporters", "distinct", "caller", 3600, 12, on="report", of="reporter"),
)


def taken_back(one: CallEvent, ts: float) -> CallEvent:
    return msgspec.structs.replace(one, ts=ts, takes_back=one.ts)


def test_a_report_that_is_taken_back_is_neither_counted_nor_remembered() -> None:
    fold = fold_of(*REPORTED)
    fraud = msgspec.structs.replace(report(T, "fraud", "desk"), weight=1.5)
    other = msgspec.structs.replace(report(T + 1, "fraud", "subscriber"), weight=1.0)
    assert values(fold, fraud, other, setup(T + 2)) == [[2, 2.5, 2]]
    back = taken_back(fraud, T + 3)
    assert values(fold, back, setup(T + 4)) == [[1, 1.0, 2]], "distinct counts stay as they are"
    assert values(fold, back, fraud, setup(T + 5)) == [[1, 1.0, 2]], "what comes a second time changes nothing"
    again = msgspec.structs.replace(fraud, ts=T + 6)
    assert values(fold, again, setup(T + 7)) == [[2, 2.5, 2]], "and what is said again is said again"
    assert values(fold, back, taken_back(again, T + 8), setup(T + 9)) == [[1, 1.0, 2]]
    assert fold.stats()["duplicates"] == 3


def test_a_report_is_taken_back_weeks_later_and_after_a_restart(tmp_path: Path) -> None:
    fold = fold_of(*REPORTED, limits=msgspec.structs.replace(ROOMY, remembered=2))
    fraud = msgspec.structs.replace(report(T, "fraud", "desk"), weight=1.0)
    values(fold, fraud, *(setup(T + 60 * day, callee=f"+7701000{day:04}") for day in range(1, 9)))
    fold.save(tmp_path / "snapshot", "1-0")
    fold, _ = Fold.load(tmp_path / "snapshot", fold.windows)
    late = T + 20 * 86_400
    assert values(fold, setup(late), taken_back(fraud, late + 1), setup(late + 2)) == [[1, 0, 0], [0, 0, 0]]
    assert values(fold, taken_back(fraud, late + 1), setup(late + 3)) == [[0, 0, 0]], "and never below 0"


def test_who_takes_back_a_report_of_which_nothing_is_known_leaves_nothing_behind() -> None:
    fold = fold_of(*REPORTED)
    values(fold, taken_back(report(T, "fraud", "desk"), T + 1))
    assert fold.stats()["caller.keys"] == 0
    with pytest.raises(ValueError, match="finite"):
        values(fold, msgspec.structs.replace(report(T, "fraud", "desk"), takes_back=math.nan))


def test_label_and_reporter_tell_reports_apart_and_nothing_else() -> None:
    fold = fold_of(COUNT)
    call = setup(T, call_id="one")
    folded = fold.fold([call, msgspec.structs.replace(call, label="fraud", reporter="desk")], [None, None])
    assert folded.duplicate.tolist() == [False, True]


@pytest.mark.parametrize("begin", [T, T + 5_999, T + 5_400])
@pytest.mark.parametrize(
    ("apart", "duplicate"),
    [(0.0, True), (0.5, True), (600.0, True), (600.001, False), (1_200.0, False), (6_000.0, False), (86_400.0, False)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_event_is_recognised_within_ten_minutes_either_way(
    begin: float, apart: float, duplicate: bool, sign: int
) -> None:
    fold = fold_of(COUNT)
    log = [setup(begin, call_id="one"), setup(begin + sign * apart, call_id="one")]
    assert fold.fold(log, [None, None]).duplicate.tolist() == [False, duplicate]


def test_what_the_log_delivers_again_is_recognised_however_long_ago_it_was_counted() -> None:
    fold = fold_of(COUNT)
    calls = [setup(T + 601 * i, call_id="constant") for i in range(40)]
    others = [setup(T + 86_400 + i) for i in range(100)]
    assert not fold.fold([*calls, *others], [None] * 140).duplicate.any()
    assert fold.fold(calls, [None] * 40).duplicate.all()
    assert fold.stats()["remembered"] == 140


def test_repetitions_do_not_put_off_the_end_of_the_ten_minutes() -> None:
    fold = fold_of(window("calls", "count", "caller", 3600, 12))
    log = [setup(T + i, call_id="constant") for i in range(3000)]
    folded = fold.fold(log, [None] * len(log))
    assert np.flatnonzero(~folded.duplicate).tolist() == [0, 601, 1202, 1803, 2404]
    assert values(fold, setup(T + 3000)) == [[5]]


def test_a_repeated_set_up_sees_its_first_copy_and_all_since() -> None:
    fold = fold_of(COUNT, CALLEES, window("age", "age", "caller"))
    first = setup(T, call_id="one")
    before, _, again = values(fold, first, setup(T + 1, callee="+77010000002"), first)
    assert before[:2] == [0, 0]
    assert math.isnan(before[2])
    assert again == [2, 2, 0]


def test_one_call_id_over_months_does_not_crowd_the_index() -> None:
    fold = Fold(window_set([COUNT]), limits=Limits(units=64, remembered=8192), secret=bytes(32))
    log = [setup(T + 600.001 * i, call_id="constant") for i in range(20_000)]
    assert not fold.fold(log, [None] * len(log)).duplicate.any()
    assert fold.longest_search() < 400, "ten share a place, not all of them"
    assert fold.fold(log[-8192:], [None] * 8192).duplicate.all()
    assert not fold.fold([log[0]], [None]).duplicate.any(), "long forgotten"


def test_a_clock_ahead_or_behind_harms_nothing_but_itself() -> None:
    fold = fold_of(COUNT, CALLEES, window("age", "age", "caller"))
    log = [setup(T), setup(T + 300, callee="+77010000002"), setup(T - 40 * 86_400, callee="+77010000003"), setup(T + 1)]
    rows = values(fold, *log, setup(T + 301))
    assert rows[2] == [0, 0, 0]
    assert rows[3][0] == 0, "the minute of T has left the ring, the one 300 s ahead is not yet"
    assert rows[4][:2] == [1, 2]
    assert rows[4][2] == 40 * 86_400 + 301


@pytest.mark.parametrize("ts", [946_684_800.0, 4_102_444_799.0, -1e300, 1e300, 0.0])
def test_absurd_times_corrupt_no_table(ts: float) -> None:
    fold = fold_of(COUNT, CALLEES, window("age", "age", "caller"), window("second", "count", "caller", 1, 1))
    rows = values(fold, setup(T), setup(ts), setup(ts, call_id="2"), setup(T, call_id="3"))
    assert np.isfinite(rows).sum() == 15, "only the very first call has no age"
    assert all(0 <= value <= 1e10 for value in rows[-1])


def test_a_time_that_is_no_number_is_refused_before_anything_is_folded() -> None:
    fold = fold_of(COUNT)
    with pytest.raises(ValueError, match="finite"):
        fold.fold([setup(T), setup(math.nan)], [None, None])
    assert fold.stats()["events"] == 0


def test_rows_must_line_up_with_events() -> None:
    with pytest.raises(ValueError, match="1 events with 0 rows"):
        fold_of(COUNT).fold([setup(T)], [])


def test_an_event_without_a_row_satisfies_no_condition() -> None:
    fold = fold_of(window("short", "share", "caller", 60, 12, on="release", where="talk_s < 10"))
    fold.fold([release(T, 1.0)], [None])
    assert values(fold, setup(T + 1)) == [[0.0]]


def test_nothing_folded_gives_nothing() -> None:
    folded = fold_of(COUNT).fold([], [])
    assert folded.values.shape == (0, 1)
    assert folded.duplicate.shape == (0,)


def test_no_windows_at_all() -> None:
    folded = fold_of().fold([setup(T)], [None])
    assert folded.values.shape == (1, 0)


def test_texts_with_separators_and_lone_surrogates_stay_apart() -> None:
    fold = fold_of(COUNT, window("trunk", "count", "trunk", 60, 12))
    odd = ["a\0b", "a", "\0", "\ud800", "\udcff", "я", "a\0"]
    log = [setup(T, caller=text, call_id=f"x\0{number}") for number, text in enumerate(odd)]
    assert [row[0] for row in values(fold, *log)] == [0] * len(odd)
    again = [setup(T + 1, caller=text, call_id=f"y{number}") for number, text in enumerate(odd)]
    assert [row[0] for row in values(fold, *again)] == [1] * len(odd)


@pytest.mark.parametrize("stride", [1, 2**10, 2**20, 10_000])
def test_regular_numbers_do_not_crowd_the_index(stride: int) -> None:
    fold = Fold(window_set([COUNT, CALLEES]), limits=Limits(units=65_536, remembered=8192), secret=bytes(32))
    batch = [setup(T, f"+7{10**9 + i * stride}", "+77010000001", call_id=str(i)) for i in range(8000)]
    fold.fold(batch, [None] * len(batch))
    assert fold.longest_search() < 64


def mixed(numbers: list[int], secret: int) -> set[int]:
    """Where the kernels look for ``numbers`` under a secret."""
    machine = np.zeros(kernels.M_BEGIN, np.int64)
    machine[[kernels.C_SECRET_2, kernels.C_SECRET_3]] = secret, secret + 1
    return {int(kernels.mix(np.int64(number), machine)) for number in numbers}


def test_the_secret_decides_where_a_key_lies() -> None:
    numbers = [10**11 + i for i in range(64)]
    one, other = mixed(numbers, 2), mixed(numbers, 6)
    assert not one & other
    assert len(one) == 64


def test_text_is_hashed_with_siphash_1_3() -> None:
    """Python's own hash of text is SipHash-1-3 of the same bytes; a known key makes the two comparable."""
    # PYTHONHASHSEED=0 sets the key of Python's hash to zero.
    code = "print(hash(b'antifraud'), hash(b'12345678'), hash(b''), __import__('sys').hash_info.algorithm)"
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True
    ).stdout.split()
    if found[3] != "siphash13":
        pytest.skip(f"this Python hashes with {found[3]}")
    key = np.zeros(4, np.uint64)
    for text, expected in ((b"antifraud", found[0]), (b"12345678", found[1])):
        buffer = np.frombuffer(text, np.uint8)
        assert np.uint64(kernels.sip(buffer, 0, len(text), key)) == np.int64(int(expected)).astype(np.uint64)


def test_equal_content_is_stored_once() -> None:
    held = []
    for specs in ([COUNT], [COUNT, window("again", "count", "caller", 60, 12)]):
        fold = fold_of(*specs)
        values(fold, setup(T), setup(T + 10))
        held.append(fold.stats()["caller.bytes"])
    assert held[0] == held[1] > 0


def test_a_bucket_in_which_nothing_happened_takes_no_memory() -> None:
    fold = fold_of(window("calls", "count", "caller", 86_400, 240))
    values(fold, setup(T), setup(T + 1))
    first = fold.stats()["caller.bytes"]
    values(fold, setup(T + 80_000))
    assert fold.stats()["caller.bytes"] == first + 32


def test_no_window_set_and_no_batch_makes_the_kernel_compile_again() -> None:
    warm_up()
    watched = (kernels.fold_batch, kernels.hash_texts, kernels.adopt_rows, kernels.index_seen)
    before = [list(kernel.signatures) for kernel in watched]
    values(fold_of(window("age", "age", "caller")), setup(T))
    values(fold_of(), setup(T, caller="odd\0"), release(T, 1.0))
    whole = Fold(window_set(), limits=ROOMY)
    values(whole, setup(T), release(T, 1.0), setup(T))
    Fold.merged(window_set([COUNT]), [whole])
    Fold.merged(window_set(), [whole])
    assert [list(kernel.signatures) for kernel in watched] == before
    assert [len(signatures) for signatures in before] == [1] * len(watched)


def test_a_secret_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="secret"):
        Fold(window_set([COUNT]), secret=b"short")


def test_the_public_names() -> None:
    assert antifraud.features.__all__ == [
        "KINDS",
        "Fold",
        "Folded",
        "Limits",
        "SnapshotError",
        "WindowSet",
        "WindowSpec",
        "frame",
        "load_windows",
        "warm_up",
    ]
    for name in antifraud.features.__all__:
        assert getattr(antifraud.features, name) is not None
    with pytest.raises(AttributeError):
        antifraud.features.nothing  # noqa: B018


def test_reading_declarations_loads_neither_numpy_nor_numba() -> None:
    code = (
        "import sys; from antifraud.features import load_windows; print(sorted({'numba', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
