"""The ladder while nobody decides: who goes on whatever the rung, and what a dialplan is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.domain import CallEvent, EventKind
from sip_adapters.asking import UNDECIDED, FailPolicy, FailSection, Order, Reason, order_without_verdict
from tests.undecided import policy

UNAVAILABLE = Order("block", cause=41, status=503, phrase="Service Unavailable")
REFUSED = Order("block", cause=21, status=608, phrase="Rejected")
LABELLING = policy(**{"any.late": "label"})


def ladder(**rungs: str) -> FailPolicy:
    return made(policy(**rungs))


def made(found: dict[str, Any]) -> FailPolicy:
    fail = FailPolicy(msgspec.convert(found, FailSection), "adapters.x.fail")
    assert fail.problems == []
    return fail


def call(callee: str = "+77010000002", trunk: str = "nat-1", **more: str) -> CallEvent:
    return CallEvent(EventKind.SETUP, "c", 1.0, caller_raw="+77010000001", callee_raw=callee, trunk=trunk, **more)


@pytest.mark.parametrize("reason", ["late", "redis", "overload"])
def test_without_a_policy_calls_go_on(reason: Reason) -> None:
    assert order_without_verdict(None, call(), reason) == UNDECIDED


@pytest.mark.parametrize(
    ("rung", "order"),
    [
        ("label", Order("label", label="Возможно мошенники")),
        ("national_only", UNDECIDED),
        ("emergency_only", UNAVAILABLE),
        ("refuse", REFUSED),
    ],
)
def test_rungs(rung: str, order: Order) -> None:
    fail = ladder(**{"any.late": rung})
    assert order_without_verdict(fail, call(), "late") == order
    assert order_without_verdict(fail, call(), "redis") == UNDECIDED


@pytest.mark.parametrize(
    ("callee", "trunk", "order"),
    [
        ("+442079460000", "nat-1", UNAVAILABLE),
        ("810-44-2079460000", "", UNAVAILABLE),
        ("+77010000002", "intl-1", UNAVAILABLE),
        ("8 (701) 000-00-02", "sub-1", UNDECIDED),
    ],
)
def test_national_calls_alone(callee: str, trunk: str, order: Order) -> None:
    fail = ladder(**{"any.redis": "national_only"})
    assert order_without_verdict(fail, call(callee, trunk), "redis") == order


def test_classes_of_trunks_go_before_any() -> None:
    fail = ladder(**{"any.overload": "refuse", "international.overload": "emergency_only"})
    assert order_without_verdict(fail, call(trunk="nat-1"), "overload") == REFUSED
    assert order_without_verdict(fail, call(trunk="intl-1"), "overload") == UNAVAILABLE


def test_who_always_goes_on() -> None:
    found = policy(**{"any.late": "refuse"}) | {
        "protected_callees": ["^109$"],
        "protected_callers": ["^[+]77270000001$"],
        "protected_trunks": ["hospital-*"],
    }
    fail = made(found)
    assert order_without_verdict(fail, call("1-0-9"), "late") == UNDECIDED
    assert order_without_verdict(fail, call(trunk="hospital-1"), "late") == UNDECIDED
    assert order_without_verdict(fail, call(asserted="+77270000001"), "late") == UNDECIDED
    # From abroad a caller can show any number.
    assert order_without_verdict(fail, call(trunk="intl-1", asserted="+77270000001"), "late") == REFUSED
    assert order_without_verdict(fail, call("1090"), "late") == REFUSED


def test_patterns_that_are_none_are_named() -> None:
    section = msgspec.convert(policy(**{"any.late": "refuse"}) | {"home": "("}, FailSection)
    (problem,) = FailPolicy(section, "adapters.x.fail").problems
    assert problem.message.startswith("adapters.x.fail.home: no regular expression")


@given(label=st.text(max_size=200))
def test_whatever_the_label_is_it_is_harmless(label: str) -> None:
    fail = made(LABELLING | {"label": label})
    order = order_without_verdict(fail, call(), "late")
    assert order.verdict == "label"
    assert order.label
    assert not set(order.label) & set("\"'\\${}[]<>(),;|&`%=~^*@#\r\n")
