"""Labels by reports: whose word counts, what is too young to be called honest, and what must never be a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from antifraud.backtest.reported import DEFAULT_DELAY_S, Reported, key_of, reported
from antifraud.domain import CallEvent, EventKind, Quarantined, UsageError

_START = 1_767_553_200.0
_DAY = 86_400.0


class _Maker:
    """Gives each setup its time and how many reports were folded before it; new are those before ``settled``."""

    def __init__(self, settled: float = 0.0) -> None:
        self._reports, self._settled = 0, settled

    def vectors(
        self, events: Sequence[CallEvent], stops: list[CallEvent] | None = None, new: list[bool] | None = None
    ) -> npt.NDArray[np.float64]:
        rows = []
        for event in events:
            self._reports += event.kind is EventKind.REPORT
            if event.kind is EventKind.SETUP:
                rows.append([event.ts, float(self._reports)])
                if new is not None:
                    new.append(event.ts < self._settled)
        return np.array(rows, dtype=np.float64).reshape(len(rows), 2)


def _call(name: str, day: float, caller: str = "+77010000001") -> CallEvent:
    return CallEvent(EventKind.SETUP, name, _START + day * _DAY, caller_raw=caller, callee_raw="+77010000099")


def _report(name: str, day: float, label: str = "fraud", reporter: str = "subscriber", **more: Any) -> CallEvent:
    return CallEvent(
        EventKind.REPORT, name, _START + day * _DAY, caller_raw="+77010000001", label=label, reporter=reporter, **more
    )


def _of(*events: CallEvent | Quarantined, days: float = 2.0, **more: Any) -> tuple[Reported, npt.NDArray[np.float64]]:
    blocks: list[npt.NDArray[np.float64]] = []
    found = reported(events, _Maker(), blocks.append, label_delay_s=days * _DAY, **more)
    return found, np.concatenate(blocks)


def _labels(found: Reported) -> list[tuple[float, bool]]:
    return [(round((ts - _START) / _DAY, 3), bool(y)) for ts, y in zip(found.labels.ts, found.labels.y, strict=True)]


def test_old_calls_are_honest_unless_somebody_said_otherwise_and_young_ones_are_nothing() -> None:
    found, rows = _of(
        _call("a", 0),
        _call("b", 1),
        _call("c", 2),
        _call("d", 7.5),
        _report("b", 2.5),
        _report("d", 7.6),
        _call("e", 9),
    )
    assert _labels(found) == [(0, False), (1, True), (2, False)]
    assert found.counts["too_young"] == 2  # also the one that was reported: only frauds of the last days would be left
    assert rows[found.kept, 0].tolist() == found.labels.ts.tolist()
    assert found.labels.campaign.texts().tolist()[0] == ""
    assert found.labels.campaign.texts().tolist()[1] != ""


@pytest.mark.parametrize(
    ("reports", "fraud", "said"),
    [
        ([("fraud", "subscriber")], True, "fraud by subscriber"),
        ([("fraud", "subscriber"), ("honest", "desk")], False, "honest by desk"),
        ([("honest", "desk"), ("fraud", "subscriber")], False, "honest by desk"),
        ([("honest", "desk"), ("fraud", "analyst")], True, "fraud by analyst"),
        ([("fraud", "analyst"), ("honest", "desk"), ("honest", "subscriber")], True, "fraud by analyst"),
        ([("honest", "analyst"), ("fraud", "analyst")], True, "fraud by analyst"),
        ([("fraud", "607")], True, "fraud by others"),
        ([("fraud", "607"), ("honest", "subscriber")], False, "honest by subscriber"),
        ([("spam", "subscriber")], False, "not reported"),
        ([("fraud", "engine")], False, "not reported"),
    ],
)
def test_whose_word_counts(reports: list[tuple[str, str]], fraud: bool, said: str) -> None:
    told = [_report("a", 1 + at / 10, label, who) for at, (label, who) in enumerate(reports)]
    found, _rows = _of(_call("a", 0), _call("z", 0.5), _report("z", 0.9), *told, _call("end", 9))
    assert _labels(found)[0] == (0, fraud)
    assert found.labels.scenario.texts().tolist()[0] == said


def test_a_report_that_was_taken_back_by_then_teaches_nothing() -> None:
    told = _report("a", 1, "fraud", "desk")
    back = msgspec.structs.replace(told, ts=_START + 3 * _DAY, takes_back=told.ts)
    more = [_call("a", 0), _call("z", 0.5), _report("z", 0.9), told, back, _call("end", 9)]
    found, _rows = _of(*more)
    assert _labels(found)[0] == (0, False)
    assert found.labels.scenario.texts().tolist()[0] == "not reported"
    assert found.counts["reports"] == 1
    found, _rows = _of(*more, until=_START + 2.9 * _DAY, days=0.5)
    assert _labels(found)[0] == (0, True), "nobody knew it yet"
    again = _report("a", 4, "fraud", "desk")
    found, _rows = _of(*more, again)
    assert _labels(found)[0] == (0, True)


def test_stopped_calls_that_nobody_judged_are_not_taken_for_honest() -> None:
    events = (
        _call("a", 0), _call("b", 0.1), _call("c", 0.2), _call("z", 0.3),
        _report("a", 0, "stopped", "engine"), _report("b", 0.1, "stopped", "engine"),
        _report("b", 0.2, "honest", "desk"),
        _report("z", 1), _call("end", 9),
    )  # fmt: skip
    found, _rows = _of(*events)
    assert _labels(found) == [(0.1, False), (0.2, False), (0.3, True)]
    assert found.counts["stopped_unreported"] == 1
    # What was carried out counts more than what would have been.
    found, _rows = _of(*events, stopped=np.array([key_of("c")], dtype=np.uint64))
    assert _labels(found) == [(0, False), (0.1, False), (0.3, True)]


def test_repeated_setups_reports_without_a_call_and_what_is_garbled_are_counted() -> None:
    found, _rows = _of(
        _call("a", 0), _call("a", 0.5), _call("z", 0.6), _report("z", 1), _report("nobody", 1), _report("late", 0.1),
        _call("late", 0.2), Quarantined("event-garbled", "x"),
        CallEvent(EventKind.SETUP, "odd", float("nan"), callee_raw="1"), _call("end", 9),
    )  # fmt: skip
    assert _labels(found) == [(0, False), (0.2, False), (0.6, True)]
    assert found.counts["repeated"] == 1
    assert found.counts["reports_without_call"] == 2  # one came before its call: it is about another of that id
    assert found.counts["not_understood"] == 2


def test_since_warms_windows_and_teaches_nothing_of_before() -> None:
    found, rows = _of(
        _call("a", 0), _report("a", 0.1), _call("b", 1), _report("b", 1.1), _call("c", 1.5), _call("end", 9),
        since=_START + _DAY / 2,
    )  # fmt: skip
    assert _labels(found) == [(1, True), (1.5, False)]
    assert rows[found.kept, 1].tolist() == [1.0, 2.0]


def test_the_delay_follows_from_reports_where_there_are_enough() -> None:
    many = [_call(f"{n}", n / 100) for n in range(100)] + [_report(f"{n}", n / 100 + 0.25) for n in range(100)]
    blocks: list[npt.NDArray[np.float64]] = []
    found = reported([*many, _call("end", 9)], _Maker(), blocks.append)
    assert found.label_delay_s == pytest.approx(0.25 * _DAY)
    few = reported([*many[:40], *many[100:140], _call("end", 9)], _Maker(), blocks.append)
    assert few.label_delay_s == DEFAULT_DELAY_S


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "there is no call"),
        ([_report("a", 1)], "there is no call"),
        ([_call("a", 0), _call("b", 1)], "no call is old enough"),
        ([_call("a", 0), _call("b", 9)], "none of 1 calls was reported"),
    ],
)
def test_what_teaches_nothing_is_refused(events: list[CallEvent], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _of(*events)


def test_calls_from_while_an_engine_is_new_are_marked_and_alone_they_teach_nothing() -> None:
    told = (_call("a", 0), _call("b", 1), _report("b", 1.5), _call("c", 2), _call("end", 9))
    found = reported(told, _Maker(_START + 1.5 * _DAY), lambda _rows: None, label_delay_s=2 * _DAY)
    assert found.labels.new.tolist() == [True, True, False]
    with pytest.raises(UsageError, match="all 3 calls are from while an engine is new"):
        reported(told, _Maker(_START + 3 * _DAY), lambda _rows: None, label_delay_s=2 * _DAY)
