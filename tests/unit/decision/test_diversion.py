"""Calls are diverted to desks that have a place; what happens when none has one; what a desk hands back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.cli.assembly import build_numbering
from antifraud.decision import Decider, Policy, RegionPolicy, load_bundle
from antifraud.decision.blocked_numbers import NumberState
from antifraud.decision.desks import Desk
from antifraud.domain import CallEvent, Ceiling, EventKind, Verdict
from antifraud.settings import load_settings

SETTINGS = load_settings(env={})
NUMBERING = build_numbering(SETTINGS, warm=False)
NOON = 1_796_040_000.0
DESKS = (Desk("first", "sip:first@desk.example", calls=1, queue=1), Desk("second", "sip:second@desk.example", calls=1))


BUNDLE = load_bundle(SETTINGS.rules_dir)


def decider(ceiling: Ceiling = Ceiling.DIVERT, **changes: Any) -> Decider:
    """Spoofed calls are fraud by rule; under the ceiling *divert* they go to the desks."""
    named = {"queues": ("first", "second"), **changes}
    region = RegionPolicy(code="KZ-75", ceiling=ceiling, **named)
    policy = Policy(
        shard="kz", country="KZ", default_region="KZ-75", regions={"KZ-75": region}, switches={"sw": "KZ-75"},
        trunks=(("intl-*", "international"), ("desk-*", "desk")), desks=DESKS,
    )  # fmt: skip
    return Decider(BUNDLE, policy, NUMBERING)


def spoofed(number: int, **changes: Any) -> CallEvent:
    event = CallEvent(
        kind=EventKind.SETUP, call_id=f"c{number}", ts=NOON + number, switch="sw", trunk="intl-1",
        caller_raw=f"+7701000{number:04}", callee_raw="+77000000002", roaming=False,
    )  # fmt: skip
    return msgspec.structs.replace(event, **changes)


def ended(number: int, after: float) -> CallEvent:
    return spoofed(number, kind=EventKind.RELEASE, ts=NOON + after, talk_s=5.0, roaming=None)


def where(found: Sequence[Any]) -> list[str]:
    return [one.desk or one.verdict for one in found]


def test_calls_fill_the_desks_in_their_order_and_then_overflow() -> None:
    engine = decider()
    found = engine.decide([spoofed(n) for n in range(5)])
    assert where(found) == ["first", "first", "second", "label", "label"]
    assert [one.target for one in found[:3]] == ["sip:first@desk.example"] * 2 + ["sip:second@desk.example"]
    assert found[3].reasons[-1].by == "desk"
    assert found[3].target == ""
    assert found[3].label


def test_a_place_is_free_from_the_release_on_and_not_before() -> None:
    engine = decider()
    engine.decide([spoofed(n) for n in range(3)])
    found = engine.decide([spoofed(3), ended(0, 10), spoofed(4), spoofed(5), ended(1, 11), ended(2, 11)])
    assert where(found) == ["label", "first", "label"]
    assert where(engine.decide([spoofed(6), spoofed(7)])) == ["first", "second"]


@pytest.mark.parametrize(
    ("ceiling", "overflow", "verdict"),
    [
        (Ceiling.DIVERT, Verdict.ALLOW, "allow"),
        (Ceiling.DIVERT, Verdict.LABEL, "label"),
        (Ceiling.DIVERT, Verdict.CHALLENGE, "challenge"),
        (Ceiling.DIVERT, Verdict.BLOCK, "label"),
    ],
)
def test_the_overflow_is_never_harder_than_the_ceiling(ceiling: Ceiling, overflow: Verdict, verdict: str) -> None:
    engine = decider(ceiling, overflow=overflow, challenge="sip:ivr@desk.example")
    found = engine.decide([spoofed(n) for n in range(4)])
    assert found[3].verdict == verdict
    assert found[3].full_verdict == "block"
    assert found[3].target == ("sip:ivr@desk.example" if verdict == "challenge" else "")


def test_a_repeated_setup_is_answered_alike_and_takes_no_second_place() -> None:
    engine = decider()
    assert where(engine.decide([spoofed(0)])) == ["first"]
    assert where(engine.decide([spoofed(0)])) == ["first"]
    assert engine.desks.taken("first") == 1


def test_under_the_kill_switch_and_in_shadow_nobody_takes_a_place() -> None:
    engine = decider()
    engine.killed = True
    engine.decide([spoofed(0)])
    assert engine.desks.taken("first") == 0
    shadow = decider(Ceiling.SHADOW)
    assert shadow.decide([spoofed(0)])[0].verdict == "allow"
    assert shadow.desks.taken("first") == 0


def test_what_a_desk_hands_back_is_not_judged_again() -> None:
    engine = decider()
    (found,) = engine.decide([spoofed(0, trunk="desk-1")])
    assert (found.verdict, found.full_verdict, found.protected) == ("allow", "allow", True)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=25),
    st.lists(st.integers(1, 25), min_size=1, max_size=6),
)
def test_the_same_diversions_whatever_the_batches(steps: list[tuple[bool, int]], cuts: list[int]) -> None:
    events = [
        ended(number, after=20.0 + place) if is_end else spoofed(number, ts=NOON + place)
        for place, (is_end, number) in enumerate(steps)
    ]
    at_once, in_parts = decider(), decider()
    whole = at_once.decide(events)
    parts = []
    start = 0
    for size in [*cuts, len(events)]:
        parts += in_parts.decide(events[start : start + size])
        start += size
    assert parts == whole
    assert in_parts.desks.changes == at_once.desks.changes


def challenged(number: int, **changes: Any) -> CallEvent:
    values: dict[str, Any] = {"call_id": f"q{number}", "ts": NOON + number, "callee_raw": f"+7700000{number:04}"}
    return spoofed(1, **{**values, **changes})


def answered(number: int, label: str) -> CallEvent:
    return challenged(number, kind=EventKind.REPORT, label=label, reporter="challenge", roaming=None)


def test_who_passed_a_challenge_is_not_asked_again_and_who_failed_is() -> None:
    engine = decider(Ceiling.CHALLENGE, challenge="sip:ivr@desk.example")
    assert where(engine.decide([challenged(1), answered(1, "failed"), challenged(2)])) == ["challenge", "challenge"]
    (found,) = engine.decide([answered(2, "passed"), challenged(3)])
    # Full enforcement would block it: the callee is warned, and the caller is left in peace.
    assert (found.verdict, found.full_verdict, found.target) == ("label", "block", "")
    assert found.reasons[-1].by == "challenge"
    (later,) = engine.decide([challenged(4, ts=NOON + 2 * 86_400)])
    assert later.verdict == "challenge"


def test_only_the_machine_that_asks_can_say_that_somebody_passed() -> None:
    engine = decider(Ceiling.CHALLENGE, challenge="sip:ivr@desk.example")
    forged = challenged(1, kind=EventKind.REPORT, label="passed", reporter="subscriber", roaming=None)
    assert where(engine.decide([forged, challenged(2)])) == ["challenge"]


def test_a_number_that_was_cleared_is_stopped_by_nothing_unless_it_is_spoofed() -> None:
    engine = decider(Ceiling.BLOCK)
    scanner = {"caller_raw": "+442079460001", "user_agent": "friendly-scanner", "roaming": None}
    assert engine.decide([spoofed(1, **scanner)])[0].verdict == "block"
    cleared = NumberState(False, NOON + 1000, 1, "", "analyst:a")
    engine.numbers = {"+442079460001": cleared, "+77010000004": cleared}
    (found,) = engine.decide([spoofed(2, **scanner)])
    assert (found.verdict, found.full_verdict, found.reasons[-1].by) == ("label", "block", "blocks")
    assert engine.decide([spoofed(3, **scanner, ts=NOON + 1000)])[0].verdict == "block", "cleared until then"
    assert engine.decide([spoofed(4)])[0].verdict == "block", "this is not the subscriber who was cleared"
