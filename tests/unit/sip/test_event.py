"""INVITE to event: identity, trust, fingerprint, causes; and responses that nobody can break out of."""

from __future__ import annotations

import pytest

from antifraud.domain import CallEvent, EventError
from sip_adapters.conformance import invite
from sip_adapters.sip import (
    SipError,
    agent_family,
    build_response,
    call_id_text,
    caller_identity,
    cause_of,
    fingerprint,
    invite_event,
    make_tag,
    parse,
    quarantined,
    quoted,
    stamp_via,
    stated_cause,
)

TS = 1_732_338_000.0


def event_of(raw: bytes, *, trust_asserted: bool = True) -> CallEvent:
    return invite_event(parse(raw), ts=TS, source="test", trust_asserted=trust_asserted)


def test_all_that_an_invite_says_about_its_caller() -> None:
    raw = invite(
        extra=[
            'P-Asserted-Identity: "Ann, B." <sip:ann@h>, <tel:+77000000009>',
            "P-Preferred-Identity: <sip:+77000000007@h>",
            "Privacy: id;header",
            "Diversion: <sip:+77000000005@h>;reason=unconditional, <sip:+77000000004@h>",
            "History-Info: <sip:+77000000003@h>;index=1, <sip:+77000000002@h>;index=1.1",
            "Identity: eyJ;info=<https://c.example/a.pem>",
        ]
    )
    who = caller_identity(parse(raw))
    assert (who.presented, who.asserted, who.preferred) == ("+77000000001", "+77000000009", "+77000000007")
    assert (who.privacy, who.diversion) == ("id;header", "+77000000005")
    assert who.identity.startswith("eyJ")


def test_history_info_stands_in_for_diversion() -> None:
    raw = invite(extra=["History-Info: <sip:+77000000003@h?Reason=SIP>;index=1, <sip:+77000000002@h>;index=1.1"])
    assert event_of(raw).diversion == "+77000000003"


def test_a_damaged_ornament_costs_no_verdict() -> None:
    raw = invite(extra=['P-Asserted-Identity: "never ends', "Diversion: <<<>>>", "Privacy:"])
    event = event_of(raw)
    assert (event.asserted, event.diversion, event.privacy) == ("", "", "")


def test_an_identity_is_believed_only_from_a_trusted_peer() -> None:
    raw = invite(extra=["P-Asserted-Identity: <sip:+77000000009@h>"])
    assert event_of(raw).asserted == "+77000000009"
    assert event_of(raw, trust_asserted=False).asserted == ""


def test_the_to_header_stands_in_for_a_request_uri_without_a_number() -> None:
    raw = invite().replace(b"INVITE sip:+77000000002@203.0.113.5", b"INVITE sip:203.0.113.5")
    assert event_of(raw).callee_raw == "+77000000002"


def test_nobody_called_is_484() -> None:
    raw = invite().replace(b"sip:+77000000002@", b"sip:")
    with pytest.raises(SipError) as caught:
        event_of(raw)
    assert caught.value.status == 484


@pytest.mark.parametrize(("who", "status"), [("caller", 400), ("callee", 414)])
def test_a_number_of_four_hundred_digits_is_refused(who: str, status: int) -> None:
    with pytest.raises(SipError) as caught:
        event_of(invite(**{who: "9" * 400}))
    assert caught.value.status == status


def test_long_texts_are_cut_and_call_ids_stay_apart() -> None:
    event = event_of(invite(extra=["User-Agent: " + "A" * 8_192]))
    assert len(event.user_agent) == 256
    one, two = call_id_text("x" * 300 + "1"), call_id_text("x" * 300 + "2")
    assert one != two
    assert len(one) <= 256
    assert call_id_text("a\xff") != call_id_text("a\xfe")
    assert call_id_text("plain@host") == "plain@host"


def test_an_absurd_time_is_refused() -> None:
    with pytest.raises(EventError, match="ts-absurd"):
        invite_event(parse(invite()), ts=0.0, source="test")


def test_the_fingerprint_knows_software_not_calls() -> None:
    base = fingerprint(parse(invite(extra=["User-Agent: Dialler 1.2"])))
    assert len(base) == 16
    same = invite(caller="+77000000099", callee="+77000000098", call_id="z", extra=["User-Agent: Dialler 1.9"])
    routed = same.replace(b"Max-Forwards", b"Record-Route: <sip:p>\r\nVia: SIP/2.0/UDP q\r\nMax-Forwards")
    assert fingerprint(parse(same)) == base
    assert fingerprint(parse(routed)) == base
    assert fingerprint(parse(invite(extra=["User-Agent: Other"]))) != base
    assert fingerprint(parse(invite(extra=["USER-AGENT: Dialler 1.2"]))) != base
    assert fingerprint(parse(invite(extra=["User-Agent: Dialler 1.2"], body=b"v=0\r\n"))) != base


def test_the_fingerprint_is_the_same_everywhere() -> None:
    assert fingerprint(parse(invite(extra=["User-Agent: Dialler 1.2"]))) == "f4da7a68f82fc9e7"


@pytest.mark.parametrize(
    ("text", "family"),
    [("Asterisk PBX 18.2.0", "asterisk pbx"), ("friendly-scanner", "friendly-scanner"), ("(x) FPBX-16", "x"), ("", "")],
)
def test_agent_families(text: str, family: str) -> None:
    assert agent_family(text) == family


@pytest.mark.parametrize(
    ("status", "reason", "cause"),
    [(486, "", 17), (404, "", 1), (487, "", 16), (608, "", 21), (499, "", 41), (599, "", 41), (699, "", 17),
     (503, "Q.850;cause=34;text=x", 34), (503, "SIP;cause=480, Q.850 ;cause=27", 27), (503, "Q.850;cause=999", 41)],
)  # fmt: skip
def test_causes(status: int, reason: str, cause: int) -> None:
    assert cause_of(status, reason) == cause


def test_a_reason_without_q850_states_nothing() -> None:
    assert stated_cause('SIP;cause=200;text="Call completed elsewhere"') is None


def test_a_response_repeats_the_request_and_adds_a_tag() -> None:
    raw = invite(extra=["Via: SIP/2.0/UDP second.example;branch=z9hG4bKb"])
    answer = build_response(parse(raw).envelope, 608, to_tag="mine", source=("198.51.100.7", 4000))
    message = parse(answer)
    assert (message.status, message.reason, message.to.tag) == (608, "Rejected", "mine")
    assert b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-sample-1;rport=4000;received=198.51.100.7\r\n" in answer
    assert b"\r\nVia: SIP/2.0/UDP second.example;branch=z9hG4bKb\r\n" in answer
    assert build_response(message.envelope, 200, to_tag="other").count(b"tag=mine") == 1


@pytest.mark.parametrize(
    ("via", "stamped"),
    [
        ("SIP/2.0/UDP 192.0.2.1:5060;branch=b", "SIP/2.0/UDP 192.0.2.1:5060;branch=b"),
        ("SIP/2.0/UDP host:5060;branch=b", "SIP/2.0/UDP host:5060;branch=b;received=192.0.2.1"),
        ("SIP/2.0/UDP host;rport;branch=b, SIP/2.0/UDP x;rport",
         "SIP/2.0/UDP host;rport=9;branch=b;received=192.0.2.1, SIP/2.0/UDP x;rport"),
        ('SIP/2.0/UDP host;x=";rport,";received=1.1.1.1', 'SIP/2.0/UDP host;x=";rport,";received=192.0.2.1'),
        ("SIP/2.0/UDP host;reportx;rport=1", "SIP/2.0/UDP host;reportx;rport=9;received=192.0.2.1"),
    ],
)  # fmt: skip
def test_the_top_via_is_stamped(via: str, stamped: str) -> None:
    assert stamp_via(via, "192.0.2.1", 9) == stamped


def test_nothing_that_we_add_can_end_a_line() -> None:
    envelope = parse(invite()).envelope
    evil = "x\r\nContact: <sip:evil@h>\r\n\r\nINVITE"
    answer = build_response(
        envelope, 404, reason=evil, headers=[("X-Label", evil), ("Reason", f"SIP;text={quoted(evil + chr(34))}")]
    )
    message = parse(answer)
    assert message.values("contact") == []
    assert answer.count(b"\r\n\r\n") == 1
    assert '\\"' in message.first("reason")


def test_tags_cannot_be_guessed_and_do_not_change() -> None:
    assert make_tag(b"s", "a", "b") == make_tag(b"s", "a", "b")
    assert len({make_tag(b"s", "a", "b"), make_tag(b"s", "ab", ""), make_tag(b"t", "a", "b")}) == 3


def test_quarantined_bytes_are_plain_text() -> None:
    item = quarantined("some-code", "bad \x1b[31m", "test", b"\xff\x00\r\n\\a" + b"b" * 9_000)
    assert item.raw.startswith("\\xff\\x00\\r\\n\\\\a")
    assert len(item.raw) == 512
    assert item.detail.isprintable()
