"""SIP messages seen on the wire to call events: one setup a call, its answer, its release.

A call is a Call-ID with a From tag. Re-sent INVITEs, repeats with credentials (401, 407 and the other "try again"
answers of RFC 3261 §8.1.3.5) and re-INVITEs inside the dialogue belong to the call they repeat. Where a capture holds
both sides of a proxy, only the leg that was seen first speaks: its responses carry its own top Via.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from antifraud.domain import CallEvent, EventKind
from sip_adapters.sip import (
    NORMAL_CLEARING,
    Message,
    SipError,
    cause_of,
    follow_up,
    invite_event,
    stated_cause,
    wire_text,
)

SOURCE: Final = "capture"
_MAX_CALLS: Final = 100_000
_TRY_AGAIN: Final = frozenset({401, 407, 413, 415, 416, 420, 421, 422, 428, 494})


class _Call:
    __slots__ = ("answered", "cseq", "leg", "progress", "released", "ringing", "setup")

    def __init__(self, setup: CallEvent, leg: str, cseq: int) -> None:
        self.setup = setup
        self.leg = leg
        self.cseq = cseq
        self.progress: float | None = None
        self.ringing: float | None = None
        self.answered: float | None = None
        self.released = False


class Calls:
    """The calls of one capture, at most 100,000 at a time (the longest untouched gives way)."""

    def __init__(self, *, switch: str = "", trunk: str = "", trust_asserted: bool = True) -> None:
        self._switch = switch
        self._trunk = trunk
        self._trust_asserted = trust_asserted
        self._calls: OrderedDict[tuple[str, str], _Call] = OrderedDict()
        self._ids: dict[str, tuple[str, str]] = {}

    def feed(self, message: Message, *, ts: float, src_ip: str, transport: str) -> list[CallEvent]:
        """The events that ``message`` makes, none or one. Raises EventError (SipError) for an INVITE that is no
        call."""
        if message.is_request:
            if message.method == "INVITE":
                return self._invite(message, ts, src_ip, transport)
            if message.method in ("BYE", "CANCEL"):
                return self._hang_up(message, ts)
            return []
        return self._response(message, ts) if message.cseq_method == "INVITE" else []

    def _invite(self, message: Message, ts: float, src_ip: str, transport: str) -> list[CallEvent]:
        key = (message.call_id, message.sender.tag)
        call = self._find(message)
        if message.to.tag:
            if call is None:
                raise SipError("dialog-unknown", "an INVITE inside a dialogue whose beginning was not captured", 481)
            return []
        if call is not None and not (call.released and message.cseq > call.cseq and message.via.sent_by == call.leg):
            if message.via.sent_by == call.leg:
                call.cseq = max(call.cseq, message.cseq)
            return []
        event = invite_event(
            message,
            ts=ts,
            source=SOURCE,
            switch=self._switch,
            trunk=self._trunk,
            src_ip=src_ip,
            transport=transport,
            trust_asserted=self._trust_asserted,
        )
        if event.call_id in self._ids:
            # The same Call-ID again for another call: a second caller, or a redial after a final failure.
            suffix = f"~{message.cseq}" if call is not None else f"~{wire_text(message.sender.tag)[:24]}"
            event = msgspec.structs.replace(event, call_id=event.call_id + suffix)
        self._calls[key] = _Call(event, message.via.sent_by, message.cseq)
        self._calls.move_to_end(key)
        self._ids[event.call_id] = key
        while len(self._calls) > _MAX_CALLS:
            _, oldest = self._calls.popitem(last=False)
            self._ids.pop(oldest.setup.call_id, None)
        return [event]

    def _response(self, message: Message, ts: float) -> list[CallEvent]:
        call = self._find(message)
        if call is None or call.released or call.answered is not None or message.via.sent_by != call.leg:
            return []
        if message.status < 200:
            if 180 <= message.status < 190 and call.progress is None:
                call.progress = ts
            if message.status in (180, 183) and call.ringing is None:
                call.ringing = ts
            return []
        if message.status < 300:
            call.answered = ts
            call.progress = ts if call.progress is None else call.progress
            return [follow_up(call.setup, EventKind.ANSWER, ts)]
        if message.status < 400 or message.status in _TRY_AGAIN or message.cseq < call.cseq:
            return []
        call.progress = ts if call.progress is None else call.progress
        return self._release(call, ts, cause_of(message.status, _reasons(message)))

    def _hang_up(self, message: Message, ts: float) -> list[CallEvent]:
        call = self._find(message)
        if call is None or call.released:
            return []
        if message.method == "CANCEL" and (call.answered is not None or message.via.sent_by != call.leg):
            return []
        stated = stated_cause(_reasons(message))
        return self._release(call, ts, NORMAL_CLEARING if stated is None else stated)

    @staticmethod
    def _release(call: _Call, ts: float, cause: int) -> list[CallEvent]:
        """The release. It rang from the first 180/183; without one an answered call from its setup, another not.

        The post-dial delay ends with the first 18x or the final answer; a call given up before them has none.
        """
        call.released = True
        until = ts if call.answered is None else call.answered
        rang_from = call.ringing
        if rang_from is None:
            rang_from = until if call.answered is None else call.setup.ts
        release = follow_up(call.setup, EventKind.RELEASE, ts)
        return [
            msgspec.structs.replace(
                release,
                ring_s=round(max(0.0, until - rang_from), 6),
                talk_s=0.0 if call.answered is None else round(max(0.0, ts - call.answered), 6),
                pdd_s=None if call.progress is None else round(max(0.0, call.progress - call.setup.ts), 6),
                cause=cause,
            )
        ]

    def _find(self, message: Message) -> _Call | None:
        for tag in (message.sender.tag, message.to.tag):
            key = (message.call_id, tag)
            call = self._calls.get(key)
            if call is not None:
                self._calls.move_to_end(key)
                return call
        return None


def _reasons(message: Message) -> str:
    return ",".join(message.values("reason"))
