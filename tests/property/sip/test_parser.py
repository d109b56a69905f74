"""Whatever bytes come in, the parser answers with a message or with its own error, and what it lets through is
text."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from antifraud.domain import EventError
from antifraud.queues import decode_event, encode_event
from sip_adapters.conformance import good_invites, hostile_datagrams, mutated
from sip_adapters.sip import (
    Framer,
    SipError,
    build_response,
    caller_identity,
    fingerprint,
    invite_event,
    looks_like_sip,
    parse,
    parse_address,
    parse_uri,
    parse_via,
    split_list,
    stamp_via,
)

SIPPY = st.text(alphabet=st.sampled_from('<>"\\;:,@?=% \t\r\nabzAZ019+-.[]()sipltag\x00\x7f\xff'), max_size=80).map(
    lambda text: text.encode("latin-1")
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A good INVITE of which a few pieces are replaced."""
    data = draw(st.sampled_from(good_invites()))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(st.one_of(SIPPY, st.binary(max_size=40))) + data[start + draw(st.integers(0, 40)) :]
    return data


@given(st.one_of(messages(), st.binary(max_size=2_000), SIPPY))
@example(b"INVITE sip:a@b SIP/2.0\r\n\r\n")
@settings(max_examples=600, deadline=None)
def test_parsing_never_raises_anything_else_and_what_comes_out_is_text(data: bytes) -> None:
    looks_like_sip(data)
    for infer in (False, True):
        try:
            message = parse(data, cut=infer, infer=infer)
        except SipError as error:
            check_error(error)
            if error.envelope is not None:
                check_response(build_response(error.envelope, error.status, to_tag="t", source=("192.0.2.1", 9)))
            continue
        caller_identity(message)
        assert len(fingerprint(message)) in (0, 16)
        if message.is_request:
            check_response(build_response(message.envelope, 404, to_tag="t", source=("192.0.2.1", 9)))
        if message.method == "INVITE":
            try:
                event = invite_event(message, ts=1_732_338_000.0, source="test")
            except EventError:
                continue
            wire = {name.encode(): value.encode() for name, value in encode_event(event).items()}
            assert decode_event(wire) == event


def check_error(error: SipError) -> None:
    """A stable code and a detail that a terminal can show."""
    assert error.code
    assert error.detail.isprintable()


def check_response(data: bytes) -> None:
    """One head, no body, no header that the request has smuggled in."""
    assert data.endswith(b"\r\nContent-Length: 0\r\n\r\n")
    assert data.count(b"\r\n\r\n") == 1
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    names = {line.split(b":", 1)[0] for line in data.split(b"\r\n")[1:-2]}
    assert names <= {b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Content-Length"}


@given(SIPPY)
@settings(max_examples=500, deadline=None)
def test_addresses_uris_and_vias(data: bytes) -> None:
    text = data.decode("latin-1")
    for read in (
        parse_uri,
        parse_via,
        split_list,
        lambda raw: parse_address(raw, what="x"),
        lambda raw: parse_address(raw, what="x", infer=True).uri.number,
        lambda raw: stamp_via(raw, "192.0.2.1", 9),
    ):
        try:
            read(text)
        except SipError as error:
            check_error(error)


@given(st.lists(st.one_of(messages(), SIPPY), max_size=4), st.integers(1, 300))
@settings(max_examples=150, deadline=None)
def test_a_stream_gives_the_same_messages_however_it_is_cut(parts: list[bytes], step: int) -> None:
    stream = b"".join(parts)

    def run(size: int) -> tuple[list[tuple[bytes, bool]], bytes]:
        framer = Framer()
        found = [item for at in range(0, len(stream), size) for item in framer.feed(stream[at : at + size])]
        return found, framer.flush()

    assert run(step) == run(max(1, len(stream)))


RUNS = (
    b'"', b'"\\', b"\\\"", b" ", b";rport=", b";rport= ", b"<", b";", b",", b";tag", b"%", b"Q.850;cause", b"=\t",
    b"<sip:a@b>,",
)  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["From", "To", "Via", "Contact", "P-Asserted-Identity", "Diversion", "Reason", "CSeq"])
def test_no_pattern_runs_backwards(name: str) -> None:
    """Sixteen kilobytes of whatever a careless pattern would try again at every character: a quadratic one needs
    minutes here, ours milliseconds."""
    (good,) = good_invites(1)
    kept = [line for line in good.split(b"\r\n") if not line.startswith(name.encode() + b": ")]
    for run in RUNS:
        for tail in (b"", b"x"):
            value = (b"SIP/2.0/UDP h" if name == "Via" else b"") + run * (16_000 // len(run)) + tail
            raw = b"\r\n".join([kept[0], name.encode() + b": " + value, *kept[1:]])
            try:
                message = parse(raw)
            except SipError as error:
                envelope = error.envelope
            else:
                caller_identity(message)
                envelope = message.envelope
            if envelope is not None:
                build_response(envelope, 400, to_tag="t", source=("192.0.2.1", 9))


def test_mutations_of_hostile_datagrams() -> None:
    for data in mutated([*good_invites(), *hostile_datagrams()], 2_000, seed=1):
        try:
            parse(data)
        except SipError:
            continue
