"""The call event: one flat record whatever the source, and the bounds that every event must keep.

Times are event time in epoch seconds, durations are seconds, numbers are E.164 with "+" once normalised (the raw
form is kept). Everything in an event may come from an attacker; ``check_event`` is the one gate that all of them
pass before they are folded.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

import msgspec

from antifraud.domain.errors import EventError


class EventKind(Enum):
    """What happened: a call was set up, answered, released, or somebody reported on it."""

    SETUP = "setup"
    ANSWER = "answer"
    RELEASE = "release"
    REPORT = "report"


class CallEvent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One thing that happened to one call. Empty text and None mean: not known.

    ``kind`` setup (INVITE, IAM), answer, release, report. ``reply`` is the Redis key on which somebody waits for
    the verdict, and ``deadline_ms`` how long it is worth anything; empty means that nobody waits. ``pdd_s`` is the
    post-dial delay: from the setup to the first sign that the far end is being alerted (180/183, ACM). ``takes_back``
    makes a report the end of an earlier one in the same words: it is the time (epoch s) of that one.
    """

    kind: EventKind
    call_id: str
    ts: float
    source: str = ""
    switch: str = ""
    trunk: str = ""
    caller_raw: str = ""
    callee_raw: str = ""
    caller: str = ""
    callee: str = ""
    asserted: str = ""
    diversion: str = ""
    privacy: str = ""
    identity: str = ""
    src_ip: str = ""
    transport: str = ""
    user_agent: str = ""
    fingerprint: str = ""
    imsi: str = ""
    imei: str = ""
    cell: str = ""
    roaming: bool | None = None
    ring_s: float | None = None
    talk_s: float | None = None
    pdd_s: float | None = None
    cause: int | None = None
    label: str = ""
    reporter: str = ""
    weight: float | None = None
    takes_back: float | None = None
    reply: str = ""
    deadline_ms: int = 0


class Quarantined(msgspec.Struct, frozen=True):
    """Input that could not be understood: its class, what exactly was wrong, where it came from, its first bytes."""

    code: str
    detail: str
    source: str = ""
    raw: str = ""


TEXT_FIELDS: Final = (
    "call_id",
    "source",
    "switch",
    "trunk",
    "caller_raw",
    "callee_raw",
    "caller",
    "callee",
    "asserted",
    "diversion",
    "privacy",
    "identity",
    "src_ip",
    "transport",
    "user_agent",
    "fingerprint",
    "imsi",
    "imei",
    "cell",
    "label",
    "reporter",
    "reply",
)
NUMERIC_FIELDS: Final = ("ts", "ring_s", "talk_s", "pdd_s", "cause", "weight", "takes_back", "deadline_ms")

#: The longest value, in characters, that a text field may carry. Longer is refused where it identifies the call
#: and cut where it only describes it (see CUT_FIELDS).
LIMITS: Final[dict[str, int]] = {
    "call_id": 256,
    "source": 64,
    "switch": 64,
    "trunk": 64,
    "caller_raw": 256,
    "callee_raw": 256,
    "caller": 32,
    "callee": 32,
    "asserted": 256,
    "diversion": 256,
    "privacy": 64,
    "identity": 4096,
    "src_ip": 64,
    "transport": 16,
    "user_agent": 256,
    "fingerprint": 64,
    "imsi": 32,
    "imei": 32,
    "cell": 64,
    "label": 64,
    "reporter": 64,
    "reply": 256,
}

#: Descriptive fields: a longer value is cut, because eight kilobytes of User-Agent must not cost a call its verdict.
CUT_FIELDS: Final = ("user_agent", "diversion", "privacy", "identity", "asserted", "transport", "label")

EARLIEST_TS: Final = 946_684_800.0  # 2000-01-01, older than any switch that still sends CDRs
LATEST_TS: Final = 4_102_444_800.0  # 2100-01-01
MAX_DURATION_S: Final = 30 * 86_400.0
MAX_AHEAD_S: Final = 300.0
MAX_BEHIND_S: Final = 40 * 86_400.0
MAX_DEADLINE_MS: Final = 60_000


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def check_event(event: CallEvent, arrival: float | None = None) -> CallEvent:
    """The event, with over-long descriptive text cut, or EventError with a stable code.

    ``arrival`` is the epoch second at which the log took the event; with it, events from the future (over 300 s)
    and from the far past (over 40 days) are refused, so that one wrong clock cannot move the windows. Without it
    (replay of files) only absolute bounds hold.
    """
    if not event.call_id:
        raise EventError("call-id-missing", "an event needs the id of its call")
    if not _finite(event.ts) or not EARLIEST_TS <= event.ts < LATEST_TS:
        raise EventError("ts-absurd", f"time {event.ts!r} lies outside 2000-2100")
    if arrival is not None:
        if event.ts > arrival + MAX_AHEAD_S:
            raise EventError("ts-future", f"time {event.ts:.3f} is {event.ts - arrival:.0f} s after it arrived")
        if event.ts < arrival - MAX_BEHIND_S:
            raise EventError("ts-past", f"time {event.ts:.3f} is {arrival - event.ts:.0f} s before it arrived")
    for name, value in (("ring_s", event.ring_s), ("talk_s", event.talk_s), ("pdd_s", event.pdd_s)):
        if value is not None and not (math.isfinite(value) and 0.0 <= value <= MAX_DURATION_S):
            raise EventError("duration-absurd", f"{name} {value!r} is not between 0 and 30 days")
    if event.cause is not None and not 0 <= event.cause <= 127:
        raise EventError("cause-absurd", f"cause {event.cause!r} is no Q.850 cause (0-127)")
    if event.weight is not None and not (math.isfinite(event.weight) and 0.0 <= event.weight <= 1000.0):
        raise EventError("weight-absurd", f"weight {event.weight!r} is not between 0 and 1000")
    if event.takes_back is not None and not (
        event.kind is EventKind.REPORT and EARLIEST_TS <= event.takes_back <= event.ts
    ):
        raise EventError("takes-back-absurd", f"takes_back {event.takes_back!r} is not the time of an earlier report")
    if not 0 <= event.deadline_ms <= MAX_DEADLINE_MS:
        raise EventError("deadline-absurd", f"deadline_ms {event.deadline_ms!r} is not between 0 and 60000")
    if event.kind is not EventKind.REPORT and not (event.callee_raw or event.callee):
        raise EventError("callee-missing", f"a {event.kind.value} needs the called number")
    if event.kind is EventKind.REPORT and not (event.caller_raw or event.caller):
        raise EventError("caller-missing", "a report needs the number that it is about")
    cut: dict[str, str] = {}
    for name, limit in LIMITS.items():
        text: str = getattr(event, name)
        if len(text) > limit:
            if name not in CUT_FIELDS:
                raise EventError("field-too-long", f"{name} has {len(text)} characters, at most {limit}")
            cut[name] = text[:limit]
    return msgspec.structs.replace(event, **cut) if cut else event
