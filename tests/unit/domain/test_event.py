"""The gate that every event passes: absurd values are refused with a stable code, long descriptions are cut."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from antifraud.domain import LIMITS, CallEvent, EventError, EventKind, check_event

GOOD = CallEvent(kind=EventKind.SETUP, call_id="c1", ts=1_800_000_000.0, caller_raw="+77000000001", callee_raw="112")


def test_a_good_event_passes_unchanged() -> None:
    assert check_event(GOOD, 1_800_000_000.0) is GOOD


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"call_id": ""}, "call-id-missing"),
        ({"call_id": "x" * 257}, "field-too-long"),
        ({"ts": 0.0}, "ts-absurd"),
        ({"ts": math.nan}, "ts-absurd"),
        ({"ts": math.inf}, "ts-absurd"),
        ({"ts": 4_102_444_800.0}, "ts-absurd"),
        ({"ts": 1_800_000_301.0}, "ts-future"),
        ({"ts": 1_800_000_000.0 - 41 * 86_400}, "ts-past"),
        ({"ring_s": -1.0}, "duration-absurd"),
        ({"talk_s": -0.001}, "duration-absurd"),
        ({"talk_s": 31 * 86_400.0}, "duration-absurd"),
        ({"talk_s": math.nan}, "duration-absurd"),
        ({"pdd_s": -0.001}, "duration-absurd"),
        ({"pdd_s": 31 * 86_400.0}, "duration-absurd"),
        ({"pdd_s": math.inf}, "duration-absurd"),
        ({"cause": 128}, "cause-absurd"),
        ({"cause": -1}, "cause-absurd"),
        ({"weight": -1.0}, "weight-absurd"),
        ({"takes_back": 1_799_999_000.0}, "takes-back-absurd"),
        ({"kind": EventKind.REPORT, "takes_back": 1_800_000_000.1}, "takes-back-absurd"),
        ({"kind": EventKind.REPORT, "takes_back": 0.0}, "takes-back-absurd"),
        ({"kind": EventKind.REPORT, "takes_back": math.nan}, "takes-back-absurd"),
        ({"deadline_ms": 60_001}, "deadline-absurd"),
        ({"deadline_ms": -1}, "deadline-absurd"),
        ({"callee_raw": ""}, "callee-missing"),
        ({"caller_raw": "9" * 300}, "field-too-long"),
        ({"kind": EventKind.REPORT, "caller_raw": ""}, "caller-missing"),
    ],
)
def test_absurd_events_are_refused_with_a_code(change: dict[str, Any], code: str) -> None:
    with pytest.raises(EventError) as caught:
        check_event(msgspec.structs.replace(GOOD, **change), 1_800_000_000.0)
    assert caught.value.code == code


def test_without_an_arrival_old_captures_are_welcome() -> None:
    old = msgspec.structs.replace(GOOD, ts=1_100_000_000.0)
    assert check_event(old) is old


def test_eight_kilobytes_of_user_agent_are_cut_not_refused() -> None:
    checked = check_event(msgspec.structs.replace(GOOD, user_agent="u" * 8192))
    assert len(checked.user_agent) == LIMITS["user_agent"]
    assert checked.call_id == GOOD.call_id
