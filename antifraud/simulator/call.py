"""One simulated call before it becomes a column entry, and the event with its truth that users get."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from antifraud.domain import CallEvent


class Truth(msgspec.Struct, frozen=True):
    """What a call really is: fraud or not, of which campaign ("" when honest), and which behaviour made it."""

    fraud: bool
    campaign: str
    scenario: str


class SimulatedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event and the truth about its call."""

    event: CallEvent
    truth: Truth


class Origin(msgspec.Struct, frozen=True):
    """What a peer on a trunk looks like in SIP."""

    src_ip: str
    transport: str
    user_agent: str
    fingerprint: str


class Oddity(NamedTuple):
    """What a call shows that numbers and known peers cannot say: its texts as presented, its own peer."""

    caller: str
    callee: str
    origin: Origin


class Call(NamedTuple):
    """A call of a campaign. ``talk_s`` None: not answered. ``report_after_s`` 0: nobody complains.

    ``region``, ``trunk`` and ``origin`` are indices into the world's switches, trunks and origins; numbers are whole
    numbers with their country code, 0 for none; ``roaming`` is 1, 0 or -1 (not known). ``ring_s`` counts from the setup
    to the answer or, without one, to the end. ``seat`` is which of the campaign's numbers was used, ``victim`` the
    person called; -1 for none.
    """

    ts: float
    region: int
    trunk: int
    origin: int
    caller: int
    callee: int
    caller_form: int
    callee_form: int
    ring_s: float
    talk_s: float | None
    cause: int
    report_after_s: float
    truth: Truth
    roaming: int = -1
    imsi: int = 0
    imei: int = 0
    cell: int = 0
    seat: int = -1
    victim: int = -1
    odd: Oddity | None = None
