"""The row of an event: every name stands beside its own value."""

from __future__ import annotations

from antifraud.cli.assembly import build_numbering
from antifraud.decision import ROW, FactBook, Policy, RegionPolicy
from antifraud.domain import CallEvent, Ceiling, EventKind
from antifraud.settings import load_settings

BOOK = FactBook(
    build_numbering(load_settings(env={}), warm=False),
    Policy(
        shard="kz", country="KZ", default_region="KZ-75",
        regions={"KZ-75": RegionPolicy(code="KZ-75", ceiling=Ceiling.BLOCK)},
    ),
)  # fmt: skip
TEXTS = (
    "call_id", "source", "switch", "trunk", "caller_raw", "callee_raw", "asserted", "diversion", "privacy", "identity",
    "src_ip", "transport", "user_agent", "fingerprint", "imsi", "imei", "cell", "label", "reporter",
)  # fmt: skip


def test_every_field_stands_at_its_name() -> None:
    texts = {name: f"the {name}" for name in TEXTS}
    numbers = {"ts": 1.8e9, "ring_s": 11.0, "talk_s": 12.0, "pdd_s": 3.5, "weight": 2.0}
    event = CallEvent(kind=EventKind.RELEASE, **texts, **numbers, cause=17, roaming=True)  # type: ignore[arg-type]
    row = BOOK.prepare(event).row
    assert len(row) == len(ROW)
    found = dict(zip(ROW, row, strict=True))
    assert {name: found[name] for name in (*TEXTS, *numbers, "cause", "roaming", "kind")} == {
        **texts, **numbers, "cause": 17, "roaming": True, "kind": "release",
    }  # fmt: skip


def test_what_is_not_known_is_missing() -> None:
    found = dict(zip(ROW, BOOK.prepare(CallEvent(EventKind.SETUP, "c", 1.8e9, callee_raw="112")).row, strict=True))
    assert [found[name] for name in ("ring_s", "talk_s", "pdd_s", "cause", "weight", "trunk", "label")] == [None] * 7
