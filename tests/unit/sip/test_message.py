"""The parser on made-up messages: forms, bounds, and what it must not swallow."""

from __future__ import annotations

import pytest

from sip_adapters.conformance import SDP, invite, request, response
from sip_adapters.sip import (
    MAX_HEADERS,
    MAX_MESSAGE,
    Framer,
    SipError,
    is_keepalive,
    looks_like_sip,
    parse,
    parse_address,
    parse_uri,
    parse_via,
    split_list,
)


def test_an_invite_taken_apart() -> None:
    message = parse(invite(caller="+77000000001", callee="112", call_id="a@b", cseq=7, from_tag="t"))
    assert message.method == "INVITE"
    assert message.uri is not None
    assert message.uri.number == "112"
    assert message.sender.uri.number == "+77000000001"
    assert (message.sender.tag, message.to.tag) == ("t", "")
    assert (message.call_id, message.cseq, message.cseq_method, message.max_forwards) == ("a@b", 7, "INVITE", 70)
    assert (message.via.transport, message.via.host, message.via.port) == ("UDP", "192.0.2.10", 5060)
    assert message.body == SDP


def test_a_response_taken_apart() -> None:
    message = parse(response(486, "Busy Here", extra=["Reason: Q.850;cause=17"]))
    assert not message.is_request
    assert (message.status, message.reason, message.first("reason")) == (486, "Busy Here", "Q.850;cause=17")


def test_compact_forms_folding_case_and_spaces_before_the_colon() -> None:
    raw = (
        b"INVITE sip:+77000000002@h SIP/2.0\r\nv: SIP/2.0/UDP a.example;branch=z9hG4bKx\r\nf : <sip:a@b>;TAG=1\r\n"
        b"T:\r\n <sip:+77000000002@h>\r\ni: id\r\nCSEQ: 1\r\n\tINVITE\r\nl: 0\r\n\r\n"
    )
    message = parse(raw)
    assert message.sender.tag == "1"
    assert message.to.uri.number == "+77000000002"
    assert message.cseq == 1


def test_bare_line_feeds_are_lines_too() -> None:
    assert parse(invite(body=b"").replace(b"\r\n", b"\n")).call_id == "sample-1@192.0.2.10"


def test_leading_line_ends_are_skipped_and_the_rest_of_a_datagram_is_not_read() -> None:
    message = parse(b"\r\n\r\n" + invite(body=b"") + b"INVITE sip:other@x SIP/2.0\r\n\r\n")
    assert message.body == b""


def test_several_vias_on_one_line_and_on_several() -> None:
    raw = invite().replace(b"Max-Forwards", b"Via: SIP/2.0/TCP c.example, SIP/2.0/UDP d.example\r\nMax-Forwards")
    message = parse(raw)
    assert message.via.host == "192.0.2.10"
    assert message.envelope.vias[1] == "SIP/2.0/TCP c.example, SIP/2.0/UDP d.example"


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ((b"SIP/2.0\r\nVia", b"SIP/2.1\r\nVia"), "version", 505),
        ((b"From:", b"Frm:"), "header-missing", 400),
        ((b"Call-ID: ", b"Call-ID: two words "), "call-id-garbled", 400),
        ((b"Max-Forwards: 70", b"Max-Forwards: 256"), "number-garbled", 400),
        ((b"Contact:", b"bad header name:"), "header-garbled", 400),
        ((b"Contact: ", b"Contact: \rX: "), "stray-cr", 400),
        ((b"To: <", b"To: < "), "uri-garbled", 400),
        ((b"SIP/2.0/UDP 192", b"SIP/2.0/UDP  ;192"), "via-garbled", 400),
        ((b":5060;branch", b":70000;branch"), "via-garbled", 400),
        ((b"@192.0.2.10>;tag", b"@192.0.2.10:99999>;tag"), "uri-garbled", 400),
        ((b"@192.0.2.10>;tag", b"@x@192.0.2.10>;tag"), "uri-garbled", 400),
        ((b"@192.0.2.10>;tag", b"@192.0.2.10;tag"), "address-garbled", 400),
    ],
)
def test_malformed_requests_can_be_answered(change: tuple[bytes, bytes], code: str, status: int) -> None:
    raw = invite().replace(*change, 1)
    assert raw != invite()
    with pytest.raises(SipError) as caught:
        parse(raw)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert (caught.value.envelope is None) == (code == "header-missing")


def test_an_ack_is_never_answered() -> None:
    with pytest.raises(SipError) as caught:
        parse(request("ACK").replace(b"Max-Forwards: 70", b"Max-Forwards: x"))
    assert caught.value.envelope is None


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty"),
        (b"\r\n", "empty"),
        (b"x" * (MAX_MESSAGE + 1), "too-large"),
        (b"INVITE " + b"x" * 9_000 + b" SIP/2.0\r\n\r\n", "start-line-too-long"),
        (b"hello\r\n\r\n", "not-sip"),
        (b"INVITE sip:a@b SIP/2.0\r\n" + b"X: y\r\n" * (MAX_HEADERS + 1) + b"\r\n", "too-many-headers"),
        (b"INVITE sip:a@b SIP/2.0\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", "header-too-long"),
        (invite()[:150], "truncated"),
    ],
)
def test_bounds(raw: bytes, code: str) -> None:
    with pytest.raises(SipError) as caught:
        parse(raw)
    assert caught.value.code == code


def test_eight_kilobytes_of_user_agent_are_fine() -> None:
    assert len(parse(invite(extra=["User-Agent: " + "A" * 8_192])).first("user-agent")) == 8_192


def test_a_cut_packet_keeps_its_call() -> None:
    cut = invite()[:-30]
    with pytest.raises(SipError, match="body-short"):
        parse(cut)
    assert parse(cut, cut=True).call_id == "sample-1@192.0.2.10"


@pytest.mark.parametrize("text", [b"\r\n\r\n", b"\x00", b"", b"\r\n"])
def test_keepalives(text: bytes) -> None:
    assert is_keepalive(text)


def test_what_looks_like_sip() -> None:
    assert looks_like_sip(b"\r\nSIP/2.0 200 OK\r\n")
    assert looks_like_sip(invite())
    assert not looks_like_sip(b"GET / HTTP/1.1\r\n\r\n")
    assert not looks_like_sip(b"\x80\x00 RTP")


@pytest.mark.parametrize(
    ("raw", "scheme", "number", "host", "port"),
    [
        ("sip:+77000000001@h.example", "sip", "+77000000001", "h.example", 0),
        ("SIPS:u:secret@[2001:db8::1]:5061;transport=tls", "sips", "u", "[2001:db8::1]", 5061),
        ("sip:+7700%3b1;phone-context=x@h", "sip", "+7700;1", "h", 0),
        ("sip:h.example", "sip", "", "h.example", 0),
        ("tel:+7-700-000-00-01;isub=1", "tel", "+7-700-000-00-01", "", 0),
        ("tel:112;phone-context=+7", "tel", "112", "", 0),
        ("urn:service:sos.police", "urn", "urn:service:sos.police", "", 0),
        ("sip:a%00b@h", "sip", "a\ufffdb", "h", 0),
    ],
)
def test_uris(raw: str, scheme: str, number: str, host: str, port: int) -> None:
    uri = parse_uri(raw)
    assert (uri.scheme, uri.number, uri.host, uri.port) == (scheme, number, host, port)


@pytest.mark.parametrize(
    "raw", ["", "sip:", "sip:@h", "nothing", "sip:a b@h", "sip:a@", "tel:", "sip:a@h:0", "sip:a@[x]"]
)
def test_no_uris(raw: str) -> None:
    with pytest.raises(SipError, match="uri-garbled"):
        parse_uri(raw)


@pytest.mark.parametrize(
    ("raw", "name", "number", "tag"),
    [
        ('"A \\"q\\" <x>" <sip:1@h>;tag=t', 'A "q" <x>', "1", "t"),
        ("sip:1@h;tag=t", "", "1", "t"),
        ("Ann <sip:1@h;x=y> ; tag = t", "Ann", "1", "t"),
        ('"\xd0\x90" <sip:1@h>', "А", "1", ""),
        ('"\xe9" <sip:1@h>', "é", "1", ""),
        ("<tel:+7700>;tag=t;tag=u", "", "+7700", "t"),
    ],
)
def test_addresses(raw: str, name: str, number: str, tag: str) -> None:
    address = parse_address(raw, what="from")
    assert (address.name, address.uri.number, address.tag) == (name, number, tag)


def test_inferring_quotes_needs_an_address_without_doubt() -> None:
    assert parse_address('\\"Ann\\" <sip:1@h>;tag=t', what="from", infer=True).uri.number == "1"
    with pytest.raises(SipError):
        parse_address('"Ann <sip:1@h> <sip:2@h>', what="from", infer=True)


def test_lists_split_outside_quotes_and_brackets() -> None:
    assert split_list('"a,b" <sip:1@h;x=1,2>, sip:2@h') == ['"a,b" <sip:1@h;x=1,2>', "sip:2@h"]


def test_a_via_with_everything() -> None:
    via = parse_via('SIP / 2.0 / TLS [2001:db8::9] ; branch=z9hG4bKa;x="q;,";rport')
    assert (via.transport, via.sent_by, via.branch) == ("TLS", "[2001:db8::9]:5061", "z9hG4bKa")


def test_a_stream_is_framed_however_it_is_cut() -> None:
    stream = b"\r\n\r\n" + invite(call_id="1") + request("BYE", call_id="2") + response(200, call_id="3")
    for step in (1, 7, 100, len(stream)):
        framer = Framer()
        found = [item for at in range(0, len(stream), step) for item in framer.feed(stream[at : at + step])]
        assert [parse(data).call_id for data, is_sip in found if is_sip] == ["1", "2", "3"]
        assert framer.pending == 0


def test_a_stream_finds_its_feet_again_and_stays_bounded() -> None:
    framer = Framer()
    found = framer.feed(b"HELO example\r\n\r\n" + invite())
    assert [is_sip for _, is_sip in found] == [False, True]
    assert not framer.feed(b"x" * 60_000)
    assert [is_sip for _, is_sip in framer.feed(b"x" * 60_000)] == [False]
    assert framer.pending == 0
