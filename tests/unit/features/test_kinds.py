"""The kinds of window case by case, and the keys that change what a window counts or whose past it shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from antifraud.decision.facts import ROW
from antifraud.domain import CallEvent, EventKind, Location
from antifraud.features import Fold, Limits, WindowSet, WindowSpec
from antifraud.features.windows import Predicate, digest_of
from antifraud.rulekit import combine_where, compile_where, load_fields
from tests.property.features.streams import ROOMY, SPECS, row_of, window, window_set
from tests.unit.features.calls import CALLEE, CALLER, T, answer, column, fold_of, release, report, setup, values

ROOT = Path(__file__).parents[3]
OTHER, THIRD = "+77010000002", "+77010000003"
nan = pytest.approx(math.nan, nan_ok=True)

# --- open -------------------------------------------------------------------------------------------------------

TALKING = window("talking", "open", "caller", 3600, 12, on="answer")


def test_open_calls_are_those_that_began_and_were_not_released() -> None:
    log = [answer(T, "a"), answer(T + 1, "b"), setup(T + 2), release(T + 3, 3.0, call_id="a"), setup(T + 4)]
    assert column(fold_of(TALKING), *log) == [2, 1]


def test_a_set_up_that_was_never_answered_is_no_open_talk_but_an_open_call() -> None:
    calling = window("calling", "open", "caller", 3600, 12, on="setup")
    log = [setup(T, call_id="a"), setup(T + 1, call_id="b"), release(T + 2, 0.0, call_id="a"), setup(T + 3)]
    assert values(fold_of(TALKING, calling), *log) == [[0, 0], [0, 1], [0, 1]]


def test_the_open_calls_of_others_are_not_counted() -> None:
    log = [
        answer(T, "a", caller="+77000000002"),
        answer(T, "b"),
        release(T + 1, 1.0, "+77000000002", "b"),
        setup(T + 2),
    ]
    assert column(fold_of(TALKING), *log) == [1], "the release names another caller: it ends another call"


def test_a_release_whose_beginning_nobody_saw_leaves_no_trace() -> None:
    fold = fold_of(TALKING)
    assert values(fold, release(T, 3.0, call_id="unseen")) == []
    assert fold.stats()["caller.keys"] == 0
    assert column(fold, answer(T + 1, "a"), release(T + 2, 1.0, call_id="unseen as well"), setup(T + 3)) == [1]


def test_a_call_whose_release_was_lost_counts_until_over_has_passed() -> None:
    # Buckets of 5 minutes: the one of T is left when T + 3600 begins.
    assert column(fold_of(TALKING), answer(T, "lost"), setup(T + 3599.999), setup(T + 3600)) == [1, 0]


def test_a_call_that_is_answered_twice_is_open_once() -> None:
    log = [answer(T, "a"), answer(T + 700, "a"), setup(T + 701), release(T + 702, 702.0, call_id="a"), setup(T + 703)]
    assert column(fold_of(TALKING), *log) == [1, 0]


def test_open_calls_never_fall_below_zero() -> None:
    fold = fold_of(TALKING)
    ends = [release(T + 10 + 601 * i, 1.0, call_id="a") for i in range(4)]
    assert column(fold, answer(T, "a"), *ends, setup(T + 2000)) == [0], "released four times"
    late = [answer(T + 7200, "b"), setup(T + 11_000), release(T + 11_001, 1.0, call_id="b"), setup(T + 11_002)]
    assert column(fold, *late) == [0, 0], "released after it had aged out"


def test_open_calls_that_were_cut_are_not_subtracted_a_second_time() -> None:
    fold = fold_of(TALKING, limits=msgspec.structs.replace(ROOMY, pairs_per_key=2))
    answers = [answer(T + i, call_id) for i, call_id in enumerate("abc")]
    ends = [[release(T + 10 + i, 1.0, call_id=call_id), setup(T + 10 + i)] for i, call_id in enumerate("abc")]
    assert column(fold, *answers, setup(T + 5)) == [2]
    assert fold.stats()["caller>call_id.cut"] == 1
    assert column(fold, *ends[0], *ends[1], *ends[2]) == [2, 1, 0]


# --- repeat -----------------------------------------------------------------------------------------------------

IN_A_ROW = window("in_a_row", "repeat", "caller", 600, of="callee")


def test_repeat_counts_calls_in_a_row_to_the_number_called_now() -> None:
    called = [CALLEE, CALLEE, CALLEE, OTHER, CALLEE, CALLEE]
    log = [setup(T + i, callee=number) for i, number in enumerate(called)]
    assert column(fold_of(IN_A_ROW), *log) == [0, 1, 2, 0, 0, 1]


def test_a_pause_longer_than_over_begins_a_new_row() -> None:
    begins = [0, 600, 1200, 1801, 1802]
    assert column(fold_of(IN_A_ROW), *(setup(T + begin) for begin in begins)) == [0, 1, 2, 0, 1]


def test_a_call_to_nobody_neither_repeats_nor_ends_a_row() -> None:
    log = [setup(T), setup(T + 1, callee=""), setup(T + 2), setup(T + 3, caller="")]
    assert column(fold_of(IN_A_ROW), *log) == [0, 0, 1, nan]


def test_repeat_passes_over_calls_that_its_condition_does_not_hold_for() -> None:
    fold = fold_of(msgspec.structs.replace(IN_A_ROW, where="trunk == 'T2'"))
    log = [setup(T, trunk="T2"), setup(T + 1, callee=OTHER, trunk="T1"), setup(T + 2, trunk="T2"), setup(T + 3)]
    assert column(fold, *log) == [0, 0, 1, 2]


def test_repeat_of_a_prefix_is_about_the_block_that_is_called() -> None:
    fold = fold_of(window("in_a_row", "repeat", "caller", 600, of="callee_prefix", cut=4))
    called = ["+77010000001", "+77010009999", "+77010010000", "101"]
    assert column(fold, *(setup(T + i, callee=number) for i, number in enumerate(called))) == [0, 1, 0, 0]


# --- max --------------------------------------------------------------------------------------------------------

LONGEST = window("longest", "max", "caller", 600, 12, on="release", of="talk_s")


def test_max_is_the_largest_value_that_the_window_still_holds() -> None:
    log = [release(T, 30.5), release(T + 300, 2.5), release(T + 301, None), setup(T + 302), setup(T + 600)]
    assert column(fold_of(LONGEST), *log) == [30.5, 2.5]


def test_max_is_missing_where_nothing_was_measured_and_zero_where_zero_was() -> None:
    fold = fold_of(LONGEST)
    assert column(fold, setup(T), release(T + 1, None), setup(T + 2)) == [nan, nan]
    assert column(fold, release(T + 3, 0.0), setup(T + 4), setup(T + 700)) == [0, nan]


def test_max_holds_the_longest_call_there_can_be() -> None:
    assert column(fold_of(LONGEST), release(T, 2_592_000.0), release(T + 1, 1.0), setup(T + 2)) == [2_592_000]


# --- ratio and balance ------------------------------------------------------------------------------------------

OUT = window("out", "count", "caller", 3600, 12)
IN = window("received", "count", "callee", 3600, 12, seen_by=("caller",))
CALLEES = window("callees", "distinct", "caller", 600, 12, of="callee")


def test_a_ratio_is_one_window_by_another_and_missing_where_that_is_zero() -> None:
    fold = fold_of(OUT, CALLEES, window("per_callee", "ratio", "", of="out", to="callees"))
    rows = values(fold, setup(T), setup(T + 1), setup(T + 2, callee=OTHER), setup(T + 3), setup(T + 900))
    assert [row[2] for row in rows] == [nan, 1, 2, 1.5, nan]
    assert rows[4][:2] == [4, 0], "four calls, none of them in the last ten minutes"


def test_a_ratio_with_a_missing_window_is_missing() -> None:
    fold = fold_of(LONGEST, OUT, window("ratio", "ratio", "", of="longest", to="out"))
    assert [row[2] for row in values(fold, setup(T), setup(T + 1), release(T + 2, 6.0), setup(T + 3))] == [nan, nan, 3]


def test_a_balance_is_the_part_of_the_whole() -> None:
    fold = fold_of(OUT, IN, window("balance", "balance", "", of="out", to="received"))
    log = [setup(T), setup(T + 1), setup(T + 2), setup(T + 3, CALLEE, CALLER), setup(T + 4), setup(T + 5, "", CALLER)]
    assert [row[2] for row in values(fold, *log)] == [nan, 1, 1, 0, 0.75, nan]


# --- for --------------------------------------------------------------------------------------------------------


def test_for_shows_the_past_that_another_number_has() -> None:
    log = [setup(T, CALLEE, CALLER), setup(T + 1, OTHER, CALLER), setup(T + 2), setup(T + 3, callee=OTHER)]
    assert column(fold_of(IN), *log) == [0, 0, 2, 2], "calls to the number that calls now"


def test_for_asks_whether_this_is_a_call_back() -> None:
    back = window("called_me", "count", "caller+callee", 600, 12, seen_by=("callee", "caller"))
    log = [setup(T), setup(T + 1), setup(T + 2, CALLEE, CALLER), setup(T + 3, OTHER, CALLER), setup(T + 4)]
    assert column(fold_of(back), *log) == [0, 0, 2, 0, 1]


def test_for_with_events_other_than_set_ups() -> None:
    reports = window("callee_reports", "count", "caller", 3600, 12, on="report", seen_by=("callee",))
    log = [report(T, "fraud", "desk"), setup(T + 1), setup(T + 2, callee=CALLER)]
    assert column(fold_of(reports), *log) == [0, 1], "reported as a caller, now called"


def test_for_is_missing_where_the_field_is() -> None:
    fold = fold_of(IN)
    log = [setup(T, caller=""), setup(T + 1, callee=CALLER), setup(T + 2, caller="")]
    assert column(fold, *log) == [nan, 0, nan]


# --- new --------------------------------------------------------------------------------------------------------


def test_a_pair_is_new_when_it_has_not_called_within_over() -> None:
    # Buckets of 50 s: a pair of T is new again from T + 600 on.
    fold = fold_of(window("new_pairs", "count", "caller", 600, 12, new="pair"))
    log = [setup(T), setup(T + 1), setup(T + 599.999), setup(T + 1149), setup(T + 1749), setup(T + 1800)]
    assert column(fold, *log) == [0, 1, 1, 0, 0, 1]
    # The call of T + 1149 came 549 s after the one before and was not new; that of T + 1749 was.


def test_new_pairs_go_one_way_and_need_both_numbers() -> None:
    fold = fold_of(window("new_pairs", "count", "trunk", 600, 12, new="pair"))
    log = [
        setup(T, trunk="T1"),
        setup(T + 1, CALLEE, CALLER, trunk="T1"),
        setup(T + 2, caller="", trunk="T1"),
        setup(T + 3, callee="", trunk="T1"),
        setup(T + 4, trunk="T1"),
    ]
    assert column(fold, *log) == [0, 1, 2, 2, 2]


def test_in_a_share_new_belongs_to_the_part_and_not_to_the_whole() -> None:
    new_pairs = window("new_pairs", "share", "caller", 600, 12, new="pair")
    new_callers = window("new_callers", "share", "trunk", 600, 12, new="caller")
    calls = [(CALLER, CALLEE), (CALLER, CALLEE), (CALLER, OTHER), ("+77000000002", CALLEE), (CALLER, THIRD)]
    log = [setup(T + i, caller, callee, trunk="T1") for i, (caller, callee) in enumerate(calls)]
    rows = values(fold_of(new_pairs, new_callers), *log)
    assert [row[0] for row in rows] == [nan, 1, 1 / 2, nan, 2 / 3]
    assert [row[1] for row in rows] == [nan, 1, 1 / 2, 1 / 3, 2 / 4]


def test_a_share_with_new_where_and_among() -> None:
    fold = fold_of(
        window("share", "share", "callee", 600, 12, on="release", new="caller", new_within_s=60, where="talk_s < 10",
               among="cause == 16")
    )  # fmt: skip
    log = [
        setup(T, call_id="a"),
        release(T + 1, 1.0, call_id="b", cause=16),  # short, and of somebody new
        release(T + 2, 50.0, call_id="c", cause=16),  # not short
        release(T + 3, 1.0, call_id="d", cause=21),  # not of those that the share is of
        release(T + 100, 1.0, call_id="e", cause=16),  # short, of somebody known for longer than a minute
        setup(T + 101),
    ]
    assert column(fold, *log) == [nan, 1 / 3]


# --- conditions -------------------------------------------------------------------------------------------------


def rule_windows(*specs: WindowSpec) -> WindowSet:
    """``specs`` with the conditions that rules are written in."""
    fields = load_fields(ROOT / "rules" / "fields.yaml")
    places = [(spec, text) for spec in specs for text in (spec.where, spec.among) if text]
    predicates = {text: compile_where(text, Location("test", 1, 1), fields, ROW, spec.on) for spec, text in places}
    return WindowSet(tuple(spec.name for spec in specs), specs, digest_of(specs), predicates, combine_where)


def facts(**known: object) -> list[object]:
    return [known.get(name) for name in ROW]


def test_the_hour_of_the_day_may_stand_in_a_condition() -> None:
    fold = Fold(
        rule_windows(window("night", "share", "caller", 86_400, 12, where="hour >= 23 or hour < 6")), limits=ROOMY
    )
    hours: list[float | None] = [22.0, 23.0, 0.0, 5.0, 6.0, None]
    rows = [facts(hour=hour) for hour in hours]
    found = fold.fold([setup(T + i) for i in range(len(hours))], rows).values[:, 0].tolist()
    assert found == [nan, 0, 1 / 2, 2 / 3, 3 / 4, 3 / 5]
    assert fold.fold([setup(T + 10)], [facts()]).values.tolist() == [[3 / 6]], "no hour is no night"


def mixed_log() -> list[CallEvent]:
    log = []
    for i in range(200):
        caller = f"+7700000000{i % 7}"
        log.append(setup(T + 3 * i, caller, f"+770100000{i % 11:02d}", trunk=f"T{i % 3}"))
        log.append(release(T + 3 * i + 1, float(i % 23), caller, cause=(16, 21, None)[i % 4 % 3], trunk=f"T{i % 3}"))
        if i % 5 == 0:
            log.append(report(T + 3 * i + 2, ("fraud", "honest")[i % 2], f"desk {i}"))
    return log


def test_combine_makes_one_function_per_kind_of_event_and_changes_no_value() -> None:
    made: list[int] = []

    def counting(predicates: Sequence[Predicate]) -> Callable[[Sequence[object]], int]:
        made.append(len(predicates))
        return combine_where(predicates)

    log, one_by_one = mixed_log(), window_set()
    found = []
    for windows in (one_by_one, msgspec.structs.replace(one_by_one, combine=counting)):
        fold = Fold(windows, limits=ROOMY)
        found.append(fold.fold(log, [row_of(event) for event in log]).values)
    assert found[0].tobytes() == found[1].tobytes()
    texts: dict[str, set[str]] = {}
    for spec in SPECS:
        texts.setdefault(spec.on, set()).update({spec.where, spec.among} - {""})
    assert sorted(made) == sorted(len(conditions) for conditions in texts.values() if conditions)
    for spec, values_of in zip(SPECS, found[0].T, strict=True):
        if (spec.where or spec.among) and spec.kind not in ("open", "repeat", "sequential"):
            assert len(np.unique(values_of[~np.isnan(values_of)])) > 1, f"{spec.name} tells nothing apart"


def test_rows_of_events_without_conditions_are_never_looked_at() -> None:
    windows = window_set([window("t2", "count", "caller", 60, 12, where="trunk == 'T2'")])

    class Untouchable(list[object]):
        def __iter__(self) -> Iterator[object]:
            raise AssertionError("nobody asked for this row")

    call = setup(T, trunk="T2")
    fold = Fold(windows, limits=ROOMY)
    fold.fold([call, release(T + 1, 1.0)], [row_of(call), Untouchable()])
    assert windows.row_kinds == {EventKind.SETUP}
    assert column(fold, setup(T + 2)) == [1]


# --- sets of windows --------------------------------------------------------------------------------------------


def test_a_subset_takes_along_what_its_ratios_are_made_of() -> None:
    windows = window_set()
    assert windows.subset(["per_callee"]).names == ("calls_1h", "callees_10m", "per_callee")
    assert windows.subset(["out_in", "calls_1s"]).names == ("calls_1s", "calls_1h", "received", "out_in")
    assert windows.subset([]).names == ()
    assert windows.subset(windows.names) == windows
    part = windows.subset(["short_normal"])
    assert part.names == ("short_normal",)
    assert part.digest == digest_of(part.specs) != windows.digest
    assert part.predicates == windows.predicates


def test_equal_content_has_an_equal_digest_whatever_its_name() -> None:
    digests = window_set().digests
    assert digests["calls_1m"] == digests["calls_1m_again"]
    assert len(set(digests.values())) == len(digests) - 1
    renamed = window_set([msgspec.structs.replace(spec, name=f"{spec.name}_2", doc={"en": "x"}) for spec in SPECS[:3]])
    assert list(renamed.digests.values()) == [digests[spec.name] for spec in SPECS[:3]]


def test_the_digest_of_a_ratio_is_that_of_the_windows_it_is_made_of() -> None:
    def ratio(first: str, second: str, over: int = 3600) -> str:
        specs = [
            window(first, "count", "caller", over, 12),
            window(second, "count", "callee", 600, 12),
            window("r", "ratio", "", of=first, to=second),
        ]
        return window_set(specs).digests["r"]

    assert ratio("a", "b") == ratio("c", "d")
    assert ratio("a", "b", 7200) != ratio("a", "b")


def test_a_call_that_began_too_long_ago_does_not_count_when_it_ends() -> None:
    """Whether its pair still lies in memory must not be seen: after a move to other limits it does not."""
    windows = [window("talking", "open", "caller", 60, 12, on="answer"), window("calls", "count", "caller", 60, 12)]
    begin = [answer(T, "c1"), setup(T + 100, call_id="c2")]
    rest = [release(T + 200, 3.0, call_id="c1"), setup(T + 110, call_id="c3")]
    straight, moved = fold_of(*windows), fold_of(*windows)
    values(straight, *begin)
    values(moved, *begin)
    moved = Fold.merged(moved.windows, [moved], limits=Limits(units=5000, pairs_per_key=64, remembered=100))
    assert values(moved, *rest) == values(straight, *rest) == [[0, 1]]


@pytest.mark.parametrize("talk_s", [1e300, -1e300, 1e12])
def test_absurd_amounts_stay_numbers(talk_s: float) -> None:
    fold = fold_of(
        window("talk", "sum", "caller", 60, 12, on="release", of="talk_s"),
        window("longest", "max", "caller", 60, 12, on="release", of="talk_s"),
    )
    ((total, longest),) = values(fold, release(T, talk_s), setup(T + 1))
    assert 0 <= total <= 1e9
    assert 0 <= longest <= 1e9
