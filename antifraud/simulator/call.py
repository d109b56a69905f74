"""One simulated call before it becomes events, and the events it becomes."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from antifraud.domain import CallEvent, EventKind

SOURCE: Final = "simulator"


class Truth(msgspec.Struct, frozen=True):
    """What a call really is: fraud or not, of which campaign ("" when honest), and which behaviour made it."""

    fraud: bool
    campaign: str
    scenario: str


class SimulatedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event and the truth about its call."""

    event: CallEvent
    truth: Truth


class Call(NamedTuple):
    """A whole call as its maker knows it. ``talk_s`` None: not answered. ``report_after_s`` 0: nobody complains.

    ``ring_s`` counts from the setup to the answer or, without one, to the end; it includes the post-dial delay
    ``pdd_s``, which is therefore never longer. No maker sets ``pdd_s``: the stream does, for all calls alike.
    """

    ts: float
    switch: str
    trunk: str
    caller: str
    callee: str
    asserted: str
    diversion: str
    privacy: str
    src_ip: str
    transport: str
    user_agent: str
    fingerprint: str
    imsi: str
    imei: str
    cell: str
    roaming: bool | None
    ring_s: float
    talk_s: float | None
    cause: int
    report_after_s: float
    truth: Truth
    pdd_s: float = 0.0


def events_of(call: Call, call_id: str) -> list[SimulatedEvent]:
    """Setup, answer where there is one, release, and a report where somebody complains; in order of time."""
    truth = call.truth
    ring, talk = call.ring_s, call.talk_s
    made = [
        SimulatedEvent(
            CallEvent(
                EventKind.SETUP,
                call_id,
                call.ts,
                SOURCE,
                call.switch,
                call.trunk,
                call.caller,
                call.callee,
                "",
                "",
                call.asserted,
                call.diversion,
                call.privacy,
                "",
                call.src_ip,
                call.transport,
                call.user_agent,
                call.fingerprint,
                call.imsi,
                call.imei,
                call.cell,
                call.roaming,
            ),
            truth,
        )
    ]
    end = call.ts + ring
    if talk is not None:
        made.append(SimulatedEvent(_later(call, EventKind.ANSWER, call_id, round(end, 3), ring, None, None), truth))
        end += talk
    talked = 0.0 if talk is None else talk
    end = round(end, 3)
    made.append(SimulatedEvent(_later(call, EventKind.RELEASE, call_id, end, ring, talked, call.cause), truth))
    if call.report_after_s > 0:
        report = CallEvent(
            EventKind.REPORT,
            call_id,
            round(end + call.report_after_s, 3),
            SOURCE,
            call.switch,
            call.trunk,
            call.caller,
            call.callee,
            asserted=call.asserted,
            label="fraud",
            reporter="subscriber",
            weight=1.0,
        )
        made.append(SimulatedEvent(report, truth))
    return made


def _later(
    call: Call, kind: EventKind, call_id: str, ts: float, ring: float, talk: float | None, cause: int | None
) -> CallEvent:
    # Answers and releases name the parties as the setup did, so that the same caller is recognised.
    return CallEvent(
        kind,
        call_id,
        ts,
        SOURCE,
        call.switch,
        call.trunk,
        call.caller,
        call.callee,
        "",
        "",
        call.asserted,
        ring_s=ring if kind is EventKind.RELEASE else None,
        talk_s=talk,
        pdd_s=call.pdd_s if kind is EventKind.RELEASE else None,
        cause=cause,
    )
