"""Replies become orders that mean nothing else to a dialplan; what is not understood lets the call go on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.queues import Reply
from sip_adapters.asking import UNDECIDED, Order, order_of

MEANINGFUL = set("\"'\\${}[]<>(),;|&`%=~^*@#\r\n\t\x00")


def test_each_verdict() -> None:
    assert order_of(Reply("allow", decision="d1")) == Order("allow", decision="d1")
    assert order_of(Reply("label", label="Possible fraud", text="why", decision="d1")) == Order(
        "label", label="Possible fraud", reason="why", decision="d1"
    )
    assert order_of(Reply("divert", target="sip:desk@192.0.2.9:5060;transport=tcp")) == Order(
        "divert", target="sip:desk@192.0.2.9:5060;transport=tcp"
    )
    assert order_of(Reply("block", sip_code=603, phrase="Decline", cause=17, text="spoofed")) == Order(
        "block", reason="spoofed", cause=17, status=603, phrase="Decline"
    )
    assert order_of(Reply("block", sip_code=200, phrase="OK", cause=999)) == Order(
        "block", cause=21, status=608, phrase="Rejected"
    )
    assert order_of(Reply("forward")) == UNDECIDED


@pytest.mark.parametrize(
    "target",
    [
        "", "desk", "tel:112", "sip:", "sip:a@", "sip:a@b c", "sip:${SHELL(id)}@x", "sip:a@b,tT", "sip:a@b&sip:c@d",
        "sip:a@b\r\nX: y", "sip:a@b\n", "sip:a@b|x", "sip:a@[::1", "sip:a@b;x=y", "http://x", "sip:a@b?Replaces=c",
        "sip:\u0661@b", "sip:" + "a" * 300 + "@b",
    ],
)  # fmt: skip
def test_a_diversion_to_nowhere_is_a_label(target: str) -> None:
    order = order_of(Reply("divert", target=target, text="robot"))
    assert (order.verdict, order.target, order.label) == ("label", "", "robot")


@pytest.mark.parametrize("target", ["sip:desk@d.example", "sips:d.example", "sip:+77010000001@[2001:db8::1]:5060"])
def test_usable_targets(target: str) -> None:
    assert order_of(Reply("challenge", target=target)).target == target


@given(
    st.builds(
        Reply,
        verdict=st.sampled_from(["allow", "label", "challenge", "divert", "block", "", "x"]),
        decision=st.text(max_size=70),
        sip_code=st.integers(-(2**40), 2**40),
        text=st.text(max_size=500),
        target=st.text(max_size=60) | st.text("sip:@a.;=[]$", max_size=30).map(lambda text: f"sip:{text}"),
        label=st.text(max_size=500),
        phrase=st.text(max_size=50),
        cause=st.integers(-(2**40), 2**40),
    )
)
def test_whatever_a_reply_says_the_order_is_harmless(reply: Reply) -> None:
    order = order_of(reply)
    for text in (order.label, order.reason, order.decision, order.phrase):
        assert not MEANINGFUL & set(text)
        assert len(text) <= 80
        assert text.isprintable()
    assert not set(order.target) & set("\"'\\${}<>(),|&`% \r\n")
    assert order.target.isprintable()
    assert 0 <= order.cause <= 127
    assert order.status == 0 or 400 <= order.status <= 699
    assert (order.verdict == "block") == bool(order.cause)
    assert bool(order.target) == (order.verdict in ("divert", "challenge"))
