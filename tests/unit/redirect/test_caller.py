"""The caller's INVITEs carry the event whole, and its reading of answers."""

from __future__ import annotations

import pytest

from antifraud.domain import CallEvent, EventKind
from sip_adapters.redirect.answer import verdict_of
from sip_adapters.redirect.caller import build_invite
from sip_adapters.sip import caller_identity, parse


def test_what_goes_in_comes_out() -> None:
    event = CallEvent(
        kind=EventKind.SETUP,
        call_id="sim-1",
        ts=1_732_338_000.0,
        caller_raw="+77000000001",
        callee_raw="8 700 (000) 00-02;x=1@evil",
        asserted="+77000000003",
        diversion="+77000000004",
        user_agent="Абонент\r\nX-Evil: yes",
        switch="sw-1",
        trunk="intl-1",
        roaming=True,
    )
    message = parse(build_invite(event, "z9hG4bK-1", "127.0.0.1:5060"))
    who = caller_identity(message)
    assert (who.presented, who.asserted, who.diversion) == ("+77000000001", "+77000000003", "+77000000004")
    assert message.uri is not None
    assert message.uri.number == "8 700 (000) 00-02"
    assert message.call_id == "sim-1"
    assert not message.values("x-evil")
    assert (message.first("x-antifraud-trunk"), message.first("x-antifraud-roaming")) == ("intl-1", "yes")


def test_a_caller_without_a_number_is_anonymous() -> None:
    event = CallEvent(kind=EventKind.SETUP, call_id="id with space", ts=0.0, callee="+77000000002")
    message = parse(build_invite(event, "z9hG4bK-1", "127.0.0.1:5060"))
    assert message.sender.uri.user == "anonymous"
    assert message.call_id == "id%20with%20space"


@pytest.mark.parametrize(
    ("status", "stated", "verdict"),
    [(404, "label", "label"), (404, "none", "allow"), (404, "", "allow"), (302, "", "divert"), (608, "", "block"),
     (603, "", "block"), (302, "challenge", "challenge"), (486, "", "allow"), (404, "\x00nonsense", "allow")],
)  # fmt: skip
def test_answers_are_read_back(status: int, stated: str, verdict: str) -> None:
    assert verdict_of(status, stated) == verdict
