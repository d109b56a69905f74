"""Whatever an event holds comes back, flat or packed; whatever bytes come in, only EventError goes out."""

from __future__ import annotations

import contextlib
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.domain import LIMITS, TEXT_FIELDS, CallEvent, Decision, EventError, EventKind, Reason
from antifraud.queues import (
    Keys,
    Reply,
    decode_decision,
    decode_event,
    decode_reply,
    encode_decision,
    encode_event,
    encode_reply,
    waiting_switch,
)
from antifraud.queues.protocol import MAX_FIELDS, _clean, _unpack

PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), max_size=40)
SECONDS = st.floats(0, 1e6, allow_nan=False)


@st.composite
def events(draw: st.DrawFn) -> CallEvent:
    texts = {name: draw(PRINTABLE)[: LIMITS[name]] for name in TEXT_FIELDS}
    return CallEvent(
        kind=draw(st.sampled_from(EventKind)),
        ts=draw(st.floats(-1e12, 1e12, allow_nan=False)),
        roaming=draw(st.none() | st.booleans()),
        ring_s=draw(st.none() | SECONDS),
        talk_s=draw(st.none() | SECONDS),
        pdd_s=draw(st.none() | SECONDS),
        weight=draw(st.none() | SECONDS),
        cause=draw(st.none() | st.integers(0, 127)),
        deadline_ms=draw(st.integers(0, 60_000)),
        **texts,
    )


def wire(fields: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in fields.items()}


@given(events())
def test_flat_round_trip(event: CallEvent) -> None:
    assert decode_event(wire(encode_event(event))) == event


@given(events())
def test_packed_round_trip(event: CallEvent) -> None:
    packed = "&".join(f"{name}={quote(value, safe='')}" for name, value in encode_event(event).items())
    assert decode_event({b"q": packed.encode()}) == event


@given(
    st.lists(
        st.sampled_from(["a", "b", "=", "&", "+", "%", "%41", "%3D", "%26", "%2", "%zz", "%C3", "%A9", "é", "\n", ";"]),
        max_size=40,
    )
    .map("".join)
    .map(str.encode)
    | st.binary(max_size=60)
)
def test_packed_fields_are_read_as_the_standard_library_reads_them(packed: bytes) -> None:
    pairs = parse_qsl(packed.decode("utf-8", "replace"), errors="replace")
    expected = {name: _clean(value) for name, value in pairs}
    if packed.count(b"&") >= MAX_FIELDS or len(expected) < len(pairs):
        with pytest.raises(EventError):
            _unpack(packed)
    else:
        assert _unpack(packed) == expected


@given(
    st.dictionaries(st.binary(max_size=12) | st.sampled_from([b"q", b"kind", b"ts", b"cause"]), st.binary(max_size=80))
)
def test_any_bytes_give_an_event_or_an_event_error(fields: dict[bytes, bytes]) -> None:
    fields.setdefault(b"kind", b"setup")
    with contextlib.suppress(EventError):
        event = decode_event(fields)
        for name in TEXT_FIELDS:
            getattr(event, name).encode("utf-8")
            assert getattr(event, name).isprintable()
    reply, call_id = waiting_switch(fields)
    assert len(reply) <= 256
    assert len(call_id) <= 256


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({b"kind": b"party"}, "kind-unknown"),
        ({}, "kind-unknown"),
        ({b"kind": b"setup", b"ts": b"soon"}, "number-garbled"),
        ({b"kind": b"setup", b"ts": b"nan"}, "number-garbled"),
        ({b"kind": b"setup", b"ts": b"1" * 400}, "number-garbled"),
        ({b"kind": b"release", b"pdd_s": b"3,2"}, "number-garbled"),
        ({b"kind": b"setup", b"cause": b"9" * 100_000}, "entry-too-large"),
        ({b"kind": b"setup", b"cause": b"9" * 5_000}, "number-garbled"),
        ({b"kind": b"setup", b"roaming": b"perhaps"}, "roaming-unknown"),
        ({b"f%d" % n: b"x" for n in range(65)}, "too-many-fields"),
        ({b"q": b"&".join(b"f%d=x" % n for n in range(65))}, "too-many-fields"),
        ({b"q": b"kind=setup&call_id=a&call_id=b"}, "field-twice"),
        ({b"kind": b"setup", b"user_agent": b"x" * 70_000}, "entry-too-large"),
    ],
)
def test_what_is_refused_has_a_stable_code(fields: dict[bytes, bytes], code: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_event(fields)
    assert caught.value.code == code


def test_control_characters_become_spaces_and_bad_utf8_is_replaced() -> None:
    event = decode_event({b"kind": b"setup", b"call_id": b"a\r\nXADD\x00b", b"user_agent": b"\xff\xfe ok"})
    assert event.call_id == "a  XADD b"
    assert event.user_agent == "\ufffd\ufffd ok"


@given(st.text(max_size=60))
def test_only_this_shards_reply_keys_are_pushed_to(token: str) -> None:
    keys = Keys("kz")
    assert not keys.is_reply(token)
    assert not keys.is_reply("af:{ru}:reply:" + token)
    harmless = (
        bool(token)
        and token.isascii()
        and token.replace("-", "a").replace("_", "a").replace(".", "a").replace(":", "a").isalnum()
    )
    assert keys.is_reply(keys.reply(token)) == harmless
    assert keys.reply_of(keys.reply(token)) == ((keys.reply(token), "") if harmless else ("", "")) or "#" in token
    assert keys.reply_of(keys.reply("sw") + "#" + token) == ((keys.reply("sw"), token) if harmless else ("", ""))
    assert keys.reply_of("af:{ru}:reply:sw#" + token) == ("", "")


@given(PRINTABLE, PRINTABLE, st.integers(0, 699))
def test_replies_round_trip_and_carry_the_version(call_id: str, text: str, code: int) -> None:
    reply = Reply("block", call_id=call_id, decision="d", sip_code=code, text=text, target="sip:d@x", label="l")
    assert decode_reply(encode_reply(reply)) == reply
    assert b'"v":1' in encode_reply(reply)
    assert b'"v":1' in encode_reply(Reply("allow"))


@given(st.binary(max_size=200))
def test_garbled_replies_are_refused(raw: bytes) -> None:
    with pytest.raises(EventError, match="reply-garbled"):
        decode_reply(raw)


def test_decisions_round_trip() -> None:
    decision = Decision(
        id="1", call_id="c", ts=1.5, shard="kz", region="KZ-75", verdict="label", full_verdict="block",
        ceiling="label", score=0.25, reasons=(Reason("rule:x", "block", "why", "shadow"),),
    )  # fmt: skip
    fields = {name.encode(): value for name, value in encode_decision(decision).items()}
    assert decode_decision(fields) == decision
    for broken in ({}, {b"d": b"{"}, {b"d": b"\xff"}):
        with pytest.raises(EventError):
            decode_decision(broken)


@pytest.mark.parametrize("shard", ["", "KZ", "a b", "x" * 33, "{kz}", "kz\n"])
def test_shard_names_are_harmless(shard: str) -> None:
    with pytest.raises(ValueError, match="use 1-32"):
        Keys(shard)
