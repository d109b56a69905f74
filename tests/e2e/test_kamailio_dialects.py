"""What Kamailio does with the phrase and the header lines of a reply's dialect, and with lines that it must not use."""

from __future__ import annotations

import pytest

from antifraud.queues import Reply
from tests.e2e.conftest import PATIENT, Build, Rig
from tests.e2e.processes import NextHop, ScriptedEngine, SipResponse
from tests.e2e.test_kamailio_verdicts import CALLEE, PASSED, header_lines

pytestmark = pytest.mark.needs("redis", "kamailio")

NETWORK_BLOCKED = 'SIP;cause=603;text="v=analytics1;url=https://redress.example/b;id=0f3a";location=RLN'


def values(answer: SipResponse, name: str) -> list[str]:
    return [value.decode() for found, value in answer.headers if found.lower() == name.lower()]


def test_a_refusal_carries_the_lines_of_its_dialect_in_their_order(patient: Rig) -> None:
    card = "<data:application/jose," + "e30" * 250 + ".c2ln.c2ln>;purpose=jwscard"
    lines = f'Call-Info: {card}\nReason: SIP;cause=608;text="сорок абонентов"\nReason: Q.850;cause=21'
    reply = Reply("block", decision="d-1", sip_code=608, text="сорок абонентов", phrase="Rejected", headers=lines)
    with ScriptedEngine(patient.redis, lambda event: reply):
        answer = patient.client.invite(CALLEE)
    assert (answer.status, answer.phrase) == (608, "Rejected")
    assert values(answer, "Call-Info") == [card]
    assert values(answer, "Reason") == ['SIP;cause=608;text="сорок абонентов"', "Q.850;cause=21"]


def test_603_plus(patient: Rig) -> None:
    reply = Reply("block", sip_code=603, text="why", phrase="Network Blocked", headers=f"Reason: {NETWORK_BLOCKED}")
    with ScriptedEngine(patient.redis, lambda event: reply):
        answer = patient.client.invite(CALLEE)
    assert (answer.status, answer.phrase) == (603, "Network Blocked")
    assert values(answer, "Reason") == [NETWORK_BLOCKED]


def test_an_old_code_with_a_cause_of_its_own(patient: Rig) -> None:
    reply = Reply("block", sip_code=480, text="why", phrase="Temporarily Unavailable", cause=18)
    with ScriptedEngine(patient.redis, lambda event: reply):
        answer = patient.client.invite(CALLEE)
    assert (answer.status, answer.phrase) == (480, "Temporarily Unavailable")
    assert values(answer, "Reason") == ['SIP;cause=480;text="why"', "Q.850;cause=18"]


@pytest.mark.parametrize(
    "line",
    [
        "Via: SIP/2.0/UDP 192.0.2.1",
        "Contact: <sip:thief@evil.example>",
        "To: <sip:x@y>",
        "X-Antifraud-Diverted: secret",
        "x-aNTIFRAUD-Label: verified",
        "Content-Length: 100",
        "Reason",
        "Reason: ",
        "Reason: a\rX-Evil: 1",
        "Reason:no space",
        " Reason: folded",
    ],
)
def test_other_lines_are_left_out(patient: Rig, line: str) -> None:
    reply = Reply("block", sip_code=403, headers=f"{line}\nX-Fine: 1\n")
    with ScriptedEngine(patient.redis, lambda event: reply):
        answer = patient.client.invite(CALLEE)
    assert answer.status == 403
    assert values(answer, "X-Fine") == ["1"]
    assert values(answer, "X-Evil") == []
    assert values(answer, "Reason") == []
    assert values(answer, "Contact") == []
    assert values(answer, "Content-Length") == ["0"]
    assert not [name for name, _ in answer.headers if name.lower().startswith("x-antifraud")]
    with ScriptedEngine(patient.redis, lambda event: Reply("label", label="ok", headers=f"{line}\nX-Fine: 1\n")):
        patient.client.invite(CALLEE)
    invite = patient.next_hop.invites[-1]
    assert header_lines(invite, b"X-Fine") == [b"1"]
    assert header_lines(invite, b"X-Antifraud-Label") == [b"ok"]
    assert header_lines(invite, b"X-Antifraud-Diverted") == []
    assert header_lines(invite, b"Reason") == []


def test_too_many_lines_and_too_much_text_are_no_lines(patient: Rig) -> None:
    many = "\n".join(f"X-Line: {number}" for number in range(40))
    with ScriptedEngine(patient.redis, lambda event: Reply("block", sip_code=608, headers=many)):
        assert len(values(patient.client.invite(CALLEE), "X-Line")) == 16
    with ScriptedEngine(patient.redis, lambda event: Reply("block", sip_code=608, headers="X-Line: " + "y" * 5000)):
        answer = patient.client.invite(CALLEE)
    assert answer.status == 608
    assert values(answer, "Reason") == ["SIP;cause=608", "Q.850;cause=21"]


@pytest.mark.parametrize("phrase", ["", "Rejected\r\nX-Evil: 1", "вон", "x" * 41, "608 (evil)"])
def test_a_phrase_that_is_none_is_not_used(patient: Rig, phrase: str) -> None:
    with ScriptedEngine(patient.redis, lambda event: Reply("block", sip_code=608, phrase=phrase)):
        answer = patient.client.invite(CALLEE)
    assert (answer.status, answer.phrase) == (608, "Rejected")
    assert values(answer, "X-Evil") == []


def test_a_label_takes_the_place_of_what_the_caller_asserted(patient: Rig) -> None:
    lines = 'P-Asserted-Identity: "Возможно, мошенники" <tel:+77010000001;verstat=TN-Validation-Failed>\nX-CNAM: scam?'
    reply = Reply("label", label="Возможно, мошенники", headers=lines)
    with ScriptedEngine(patient.redis, lambda event: reply):
        answer = patient.client.invite(
            CALLEE,
            headers={b"P-Asserted-Identity": b'"My Bank" <sip:+77000000009@example.test>', b"X-CNAM": b"My Bank"},
        )
    assert answer.status == PASSED
    invite = patient.next_hop.invites[-1]
    assert header_lines(invite, b"P-Asserted-Identity") == [
        '"Возможно, мошенники" <tel:+77010000001;verstat=TN-Validation-Failed>'.encode()
    ]
    assert header_lines(invite, b"X-CNAM") == [b"scam?"]
    assert header_lines(invite, b"X-Antifraud-Label") == ["Возможно, мошенники".encode()]


def test_a_hidden_reason_leaves_the_contact_of_603_plus(rig: Build) -> None:
    switch = rig(defines={**PATIENT, "ANTIFRAUD_HIDE_REASON": "1"})
    tell_tale = 'Reason: SIP;cause=608;text="tell-tale"\nReason: Q.850;cause=21'
    with ScriptedEngine(switch.redis, lambda event: Reply("block", sip_code=608, headers=tell_tale)):
        assert values(switch.client.invite(CALLEE), "Reason") == ["SIP;cause=608", "Q.850;cause=21"]
    plus = Reply("block", sip_code=603, headers=f"Reason: {NETWORK_BLOCKED}")
    with ScriptedEngine(switch.redis, lambda event: plus):
        assert values(switch.client.invite(CALLEE), "Reason") == [NETWORK_BLOCKED]


def test_a_redirection_says_whom_the_call_was_for(rig: Build) -> None:
    switch = rig(defines={**PATIENT, "ANTIFRAUD_REDIRECT": "1"})
    reply = Reply(
        "divert",
        sip_code=302,
        target="sip:desk@192.0.2.9",
        headers="Diversion: <tel:+77000000002>;reason=deflection\nContact: <sip:thief@evil.example>",
    )
    with ScriptedEngine(switch.redis, lambda event: reply):
        answer = switch.client.invite(CALLEE)
    assert answer.status == 302
    assert values(answer, "Contact") == ["<sip:desk@192.0.2.9>"]
    assert values(answer, "Diversion") == ["<tel:+77000000002>;reason=deflection"]


def test_a_caller_whose_network_does_not_know_608_hears_an_announcement(rig: Build) -> None:
    """RFC 8688 §3.4."""
    with NextHop() as machine:
        announcement = f"sip:refused@127.0.0.1:{machine.port}"
        switch = rig(defines={**PATIENT, "ANTIFRAUD_ANNOUNCEMENT": f'"{announcement}"', "ANTIFRAUD_FEATURE_CAPS": "1"})
        with ScriptedEngine(switch.redis, lambda event: Reply("block", sip_code=608)):
            switch.client.invite(CALLEE)
            assert [invite.split(b" ")[1].decode() for invite in machine.invites] == [announcement]
            declared = switch.client.invite(CALLEE, headers={b"Feature-Caps": b"*;+g.3gpp.srvcc,*;+sip.608"})
            assert declared.status == 608
        with ScriptedEngine(switch.redis, lambda event: Reply("block", sip_code=603)):
            assert switch.client.invite(CALLEE).status == 603
        assert len(machine.invites) == 1
    assert switch.next_hop.invites == []


def test_a_switch_promises_to_hand_608_back(rig: Build) -> None:
    """RFC 6809 §4, RFC 8688 §3.3."""
    switch = rig(defines={**PATIENT, "ANTIFRAUD_FEATURE_CAPS": "1"})
    with ScriptedEngine(switch.redis, lambda event: Reply("allow")):
        switch.client.invite(CALLEE)
        assert header_lines(switch.next_hop.invites[-1], b"Feature-Caps") == [b"*;+sip.608"]
        switch.client.invite(CALLEE, headers={b"Feature-Caps": b"*;+sip.608"})
        assert header_lines(switch.next_hop.invites[-1], b"Feature-Caps") == [b"*;+sip.608"]
    assert switch.client.invite(b"112").status == PASSED
    assert header_lines(switch.next_hop.invites[-1], b"Feature-Caps") == []
