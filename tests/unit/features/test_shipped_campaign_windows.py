"""Windows of rules/windows.yaml that remember campaigns: what an analyst would count by hand, and no more."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from antifraud.decision.facts import ROW
from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, WindowSet, load_windows
from antifraud.rulekit import compile_where, load_fields
from tests.property.features.streams import ROOMY

ROOT = Path(__file__).parents[3]
T = 1_767_225_600.0
LINE, VICTIM, OTHER, THIRD = "+77000000001", "+77010000001", "+77010000002", "+77010000003"
nan = pytest.approx(math.nan, nan_ok=True)


@cache
def shipped() -> WindowSet:
    fields = load_fields(ROOT / "rules" / "fields.yaml")
    return load_windows(
        ROOT / "rules" / "windows.yaml", lambda text, where, on: compile_where(text, where, fields, ROW, on)
    )


def row(event: CallEvent) -> list[object]:
    """What conditions read of ``event``."""
    said = [getattr(event, name, None) for name in ROW]
    return [event.kind.value, *(None if value == "" else value for value in said[1:])]


def call(ts: float, caller: str, callee: str, **more: Any) -> CallEvent:
    return CallEvent(kind=EventKind.SETUP, call_id=f"{ts}{caller}{callee}", ts=ts, caller=caller, callee=callee, **more)


def ended(ts: float, caller: str, callee: str, ring_s: float, talk_s: float) -> CallEvent:
    fields: dict[str, Any] = {"ring_s": ring_s, "talk_s": talk_s}
    return CallEvent(kind=EventKind.RELEASE, call_id=f"{ts}{caller}", ts=ts, caller=caller, callee=callee, **fields)


def told(ts: float, caller: str, callee: str, label: str) -> CallEvent:
    fields: dict[str, Any] = {"label": label, "reporter": "engine"}
    return CallEvent(kind=EventKind.REPORT, call_id=f"{ts}{caller}", ts=ts, caller=caller, callee=callee, **fields)


def last(name: str, *events: CallEvent) -> float:
    """The window ``name`` of the last set-up among ``events``."""
    fold = Fold(shipped(), limits=ROOMY)
    values = fold.fold(events, [row(event) for event in events]).values
    return float(values[-1, shipped().names.index(name)])


def test_how_often_a_number_has_called_the_one_it_calls_now() -> None:
    log = [call(T, LINE, VICTIM), call(T + 60, LINE, OTHER), call(T + 120, LINE, VICTIM)]
    assert last("pair_calls_24h", *log, call(T + 180, LINE, VICTIM)) == 2
    assert last("pair_calls_24h", *log, call(T + 180, LINE, THIRD)) == 0
    assert last("pair_calls_24h", *log, call(T + 180, VICTIM, LINE)) == 0, "the other way round is another pair"
    assert last("pair_calls_24h", *log, call(T + 86_400 + 180, LINE, VICTIM)) == 0


def test_how_many_people_call_a_caller() -> None:
    log = [call(T, VICTIM, LINE), call(T + 1, VICTIM, LINE), call(T + 2, OTHER, LINE), call(T + 3, LINE, OTHER)]
    assert last("caller_received_from_24h", *log, call(T + 9, LINE, THIRD)) == 2
    assert last("caller_received_from_24h", *log, call(T + 9, THIRD, LINE)) == 0


def test_first_calls_in_a_block_of_ten_thousand() -> None:
    log = [call(T + second, f"+7700000{second:04}", VICTIM) for second in range(1, 4)]
    log += [call(T + 5, "+77000000001", VICTIM)]
    assert last("prefix_new_caller_share_24h", *log, call(T + 9, "+77000009999", VICTIM)) == pytest.approx(3 / 4)
    assert last("prefix_new_caller_share_24h", *log, call(T + 9, "+77000010000", VICTIM)) == nan


def test_numbers_called_from_one_hundred() -> None:
    log = [call(T, "+77000000001", VICTIM), call(T + 1, "+77000000099", OTHER), call(T + 2, "+77000000100", THIRD)]
    assert last("hundred_callees_24h", *log, call(T + 9, "+77000000050", VICTIM)) == 2
    assert last("hundred_callees_24h", *log, call(T + 9, "+77000000150", VICTIM)) == 1


def test_single_rings_from_a_block_of_a_hundred_thousand() -> None:
    log = [
        ended(T, "+77000000001", VICTIM, ring_s=3.0, talk_s=0.0),
        ended(T + 1, "+77000012345", OTHER, ring_s=7.9, talk_s=0.0),
        ended(T + 2, "+77000023456", OTHER, ring_s=8.0, talk_s=0.0),
        ended(T + 3, "+77000034567", OTHER, ring_s=3.0, talk_s=2.0),
        ended(T + 4, "+77000112345", OTHER, ring_s=3.0, talk_s=0.0),
    ]
    assert last("range_one_ring_share_1h", *log, call(T + 9, "+77000099999", THIRD)) == pytest.approx(1 / 2)
    assert last("range_one_ring_share_1h", *log, call(T + 9, "+77000100000", THIRD)) == 1
    assert last("range_one_ring_share_1h", *log, call(T + 9, "+77000200000", THIRD)) == nan


def test_whether_the_number_called_has_ever_called_anybody() -> None:
    log = [call(T, VICTIM, OTHER), call(T + 50, VICTIM, THIRD)]
    assert last("callee_own_calls_age", *log, call(T + 100, LINE, VICTIM)) == 100
    assert last("callee_own_calls_age", *log, call(T + 100, LINE, OTHER)) == nan, "it was called, and never called"


def test_calls_to_a_victim_that_were_stopped() -> None:
    log = [told(T, LINE, VICTIM, "stopped"), told(T + 1, OTHER, VICTIM, "fraud"), told(T + 2, LINE, THIRD, "stopped")]
    assert last("callee_stopped_2h", *log, call(T + 600, OTHER, VICTIM)) == 1
    assert last("callee_stopped_2h", *log, call(T + 600, VICTIM, OTHER)) == 0, "of a caller it says nothing"
    assert last("callee_stopped_2h", *log, call(T + 7200, OTHER, VICTIM)) == 0


def test_first_calls_by_one_software() -> None:
    log = [
        call(T, LINE, VICTIM, fingerprint="one"),
        call(T + 1, LINE, OTHER, fingerprint="one"),
        call(T + 2, OTHER, VICTIM, fingerprint="another"),
    ]
    assert last("fingerprint_new_caller_share_1h", *log, call(T + 9, THIRD, VICTIM, fingerprint="one")) == 1 / 2
    assert last("fingerprint_new_caller_share_1h", *log, call(T + 9, THIRD, VICTIM)) == nan


def test_numbers_called_from_one_handset_whatever_its_card() -> None:
    handset = "350000000000006"
    log = [
        call(T, LINE, VICTIM, imei=handset, imsi="401010000000001"),
        call(T + 1, OTHER, THIRD, imei=handset, imsi="401010000000002"),
        call(T + 2, OTHER, THIRD, imei=handset, imsi="401010000000002"),
        call(T + 3, OTHER, LINE, imei="350000000000014", imsi="401010000000002"),
    ]
    assert last("imei_callees_24h", *log, call(T + 9, LINE, OTHER, imei=handset)) == 2
    assert last("imei_callees_24h", *log, call(T + 9, LINE, OTHER)) == nan
