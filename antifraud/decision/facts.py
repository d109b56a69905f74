"""What is true of one event by itself: its row of fields and facts, and the numbers the model sees of them.

A row is a plain list; ``ROW`` names its positions. Rules, window predicates and the model all read the same row, so
what a rule says of a call and what the model has learnt of it cannot drift apart. Missing is None, never "".
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from antifraud.decision.policy import Policy
from antifraud.domain import CallEvent
from antifraud.numbering import NumberFacts, Numbering

EVENT_ROW: Final = (
    "kind", "call_id", "source", "switch", "trunk", "caller_raw", "callee_raw", "caller", "callee", "asserted",
    "diversion", "privacy", "identity", "src_ip", "transport", "user_agent", "fingerprint", "imsi", "imei", "cell",
    "label", "reporter", "ts", "ring_s", "talk_s", "pdd_s", "cause", "weight", "roaming",
)  # fmt: skip
FACT_ROW: Final = (
    "caller_kind", "caller_country", "caller_type", "caller_operator", "caller_region", "callee_kind",
    "callee_country", "callee_type", "callee_operator", "callee_region", "trunk_class", "region", "home_country",
    "caller_valid", "caller_possible", "caller_emergency", "caller_short", "caller_anonymous", "callee_valid",
    "callee_possible", "callee_emergency", "callee_short", "asserted_differs", "hour", "weekday",
)  # fmt: skip

ROW: Final[tuple[str, ...]] = EVENT_ROW + FACT_ROW
"""The names of a row's positions, in order; windows and ``score`` follow them."""

TALK_SO_FAR: Final = "talk_so_far_s"
"""What stands after the score in the row of a call in progress."""

MODEL_FACTS: Final = (
    "caller_foreign", "caller_valid", "caller_mobile", "caller_fixed", "caller_short", "caller_anonymous",
    "callee_mobile", "callee_foreign", "trunk_international", "trunk_subscriber", "spoofed_cli", "asserted_differs",
    "diverted", "hour",
)  # fmt: skip
"""The facts that the model is given, after the windows: 1, 0 or NaN for missing; ``hour`` is 0-23."""

_MAX_TRUNKS: Final = 10_000
_MOBILE: Final = ("mobile", "fixed_or_mobile")
_FIXED: Final = ("fixed", "fixed_or_mobile")


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """An event with its numbers normalised, its row, its region, and the model's view of its facts.

    ``placed``: a known switch gave the region, or the callee's number did where the event names no switch.
    ``traveller``: a home mobile that comes in from abroad and of which nobody has said whether it roams; most likely
    a subscriber who calls home.
    """

    event: CallEvent
    row: list[object]
    region: str
    emergency: bool
    vector: tuple[float, ...]
    placed: bool
    traveller: bool


class FactBook:
    """Turns events into rows for one policy and one dial plan. Pure: the same event gives the same row."""

    def __init__(self, numbering: Numbering, policy: Policy) -> None:
        self._numbering = numbering
        self._policy = policy
        self._trunk_classes: dict[str, str] = {}

    def trunk_class(self, trunk: str) -> str:
        """The class of ``trunk``, remembered; forgotten as a whole when somebody rotates trunk names."""
        found = self._trunk_classes.get(trunk)
        if found is None:
            if len(self._trunk_classes) >= _MAX_TRUNKS:
                self._trunk_classes.clear()
            found = self._trunk_classes[trunk] = self._policy.trunk_class(trunk)
        return found

    def prepare(self, event: CallEvent) -> Prepared:
        """The event normalised by the dial plan, with its facts.

        The caller is the asserted identity where the switch passed one (RFC 3325), otherwise the From. The region
        is the switch's; where the switch has none, that of the callee's geographic number; else the default.
        """
        policy = self._policy
        trunk_class = self.trunk_class(event.trunk) if event.trunk else ""
        international = trunk_class == "international"
        presented = event.caller_raw or event.caller
        caller = self._numbering.facts(event.asserted or presented, international=international)
        callee = self._numbering.facts(event.callee_raw or event.callee)
        asserted_differs: bool | None = None
        if event.asserted and presented:
            from_number = self._numbering.facts(presented, international=international).number
            asserted_differs = bool(from_number) and from_number != caller.number
        region = policy.switches.get(event.switch, "") or callee.region
        # A switch that gives a name nobody knows is misspelt or foreign: it must not bring enforcement along.
        known = not event.switch or event.switch in policy.switches
        placed = known and region in policy.regions
        if region not in policy.regions:
            region = policy.default_region
        # In doubt a *called* number is an emergency; a calling one is only when it is presented exactly as the code.
        calling_service = caller.emergency and caller.number == (event.asserted or presented)
        normalised = msgspec.structs.replace(event, caller=caller.number, callee=callee.number)
        local = event.ts + policy.utc_offset_min * 60
        hour = float(local % 86_400 // 3_600)
        row: list[object] = [
            event.kind.value, event.call_id, event.source or None, event.switch or None, event.trunk or None,
            event.caller_raw or None, event.callee_raw or None, caller.number or None, callee.number or None,
            event.asserted or None, event.diversion or None, event.privacy or None, event.identity or None,
            event.src_ip or None, event.transport or None, event.user_agent or None, event.fingerprint or None,
            event.imsi or None, event.imei or None, event.cell or None, event.label or None, event.reporter or None,
            event.ts, event.ring_s, event.talk_s, event.pdd_s, event.cause, event.weight, event.roaming,
            caller.kind, caller.country or None, caller.type, caller.operator or None, caller.region or None,
            callee.kind, callee.country or None, callee.type, callee.operator or None, callee.region or None,
            trunk_class or None, region, policy.country,
            caller.valid, caller.possible, calling_service, caller.short, caller.kind == "anonymous",
            callee.valid, callee.possible, callee.emergency, callee.short, asserted_differs,
            hour, float((local // 86_400 + 3) % 7),
        ]  # fmt: skip
        vector = self._vector(event, caller, callee, trunk_class, asserted_differs, hour)
        traveller = (
            international and event.roaming is None and caller.country == policy.country and caller.type in _MOBILE
        )
        return Prepared(normalised, row, region, callee.emergency, vector, placed, traveller)

    def _vector(
        self,
        event: CallEvent,
        caller: NumberFacts,
        callee: NumberFacts,
        trunk_class: str,
        asserted_differs: bool | None,
        hour: float,
    ) -> tuple[float, ...]:
        home = self._policy.country
        nan = math.nan
        international = nan if not trunk_class else float(trunk_class == "international")
        spoofed = float(caller.country == home and trunk_class == "international" and event.roaming is not True)
        if spoofed and event.roaming is None:
            # Not known to roam is not known to be at home: the model must be able to tell the two apart.
            spoofed = nan
        return (
            nan if not caller.country else float(caller.country != home),
            float(caller.valid),
            float(caller.type in _MOBILE),
            float(caller.type in _FIXED),
            float(caller.short),
            float(caller.kind == "anonymous"),
            float(callee.type in _MOBILE),
            nan if not callee.country else float(callee.country != home),
            international,
            nan if not trunk_class else float(trunk_class == "subscriber"),
            spoofed,
            nan if asserted_differs is None else float(asserted_differs),
            float(bool(event.diversion)),
            hour,
        )
