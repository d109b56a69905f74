"""Single events in one line, and a fold to put them through."""

from __future__ import annotations

from typing import Any

from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, Limits, WindowSpec
from tests.property.features.streams import ROOMY, row_of, window_set

T = 1_767_225_600.0
CALLER, CALLEE = "+77000000001", "+77010000001"


def setup(ts: float, caller: str = CALLER, callee: str = CALLEE, call_id: str = "", trunk: str = "") -> CallEvent:
    return CallEvent(
        kind=EventKind.SETUP,
        call_id=call_id or f"{ts}{caller}{callee}",
        ts=ts,
        caller=caller,
        callee=callee,
        trunk=trunk,
    )


def answer(ts: float, call_id: str, caller: str = CALLER) -> CallEvent:
    return CallEvent(kind=EventKind.ANSWER, call_id=call_id, ts=ts, caller=caller, callee=CALLEE)


def release(ts: float, talk_s: float | None, caller: str = CALLER, call_id: str = "", **more: Any) -> CallEvent:
    fields = {"callee": CALLEE, **more}
    return CallEvent(
        kind=EventKind.RELEASE, call_id=call_id or f"{ts}{caller}", ts=ts, caller=caller, talk_s=talk_s, **fields
    )


def report(ts: float, label: str, reporter: str, call_id: str = "c1") -> CallEvent:
    return CallEvent(
        kind=EventKind.REPORT, call_id=call_id, ts=ts, caller=CALLER, callee=CALLEE, label=label, reporter=reporter
    )


def fold_of(*specs: WindowSpec, limits: Limits = ROOMY) -> Fold:
    return Fold(window_set(specs), limits=limits)


def values(fold: Fold, *events: CallEvent) -> list[list[float]]:
    """The windows of every set-up among ``events``."""
    return fold.fold(events, [row_of(event) for event in events]).values.tolist()


def column(fold: Fold, *events: CallEvent) -> list[float]:
    """As ``values``, for a fold of one window."""
    return [row[0] for row in values(fold, *events)]
