"""Commands to switches: what is written reads back equal, and what must not be obeyed is refused by class."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.domain import EventError
from antifraud.queues.commands import (
    Block,
    BlockRequest,
    Command,
    Outcome,
    command_id,
    decode_block,
    decode_command,
    decode_outcome,
    decode_request,
    encode_block,
    encode_command,
    encode_outcome,
    encode_request,
)

NUMBER = "+77010000001"


def wire(fields: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in fields.items()}


def test_a_command_reads_back() -> None:
    command = Command(
        command_id("sw-1", "block", NUMBER, 7, "d1"),
        "block",
        NUMBER,
        until=1795411673.25,
        seq=1795411600123000,
        reason="reported by three subscribers",
        by="rule:many_reports",
        decision="0123456789abcdef",
        at=1795411600.123,
    )
    assert decode_command(wire(encode_command(command))) == command


def test_the_same_command_has_the_same_id_and_another_has_another() -> None:
    first = command_id("sw-1", "block", NUMBER, 7, "d1")
    assert first == command_id("sw-1", "block", NUMBER, 7, "d1")
    assert first != command_id("sw-2", "block", NUMBER, 7, "d1")
    assert first != command_id("sw-1", "unblock", NUMBER, 7, "d1")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"op": "reboot", "id": "ab"}, "command-op-unknown"),
        ({"op": "block", "number": NUMBER, "until": "9"}, "command-id"),
        ({"op": "block", "id": "ab; quit", "number": NUMBER}, "command-id"),
        ({"op": "block", "id": "ab", "number": "+7701\r\nAction: Originate", "until": "9"}, "command-subject"),
        ({"op": "block", "id": "ab", "number": "87010000001", "until": "9"}, "command-subject"),
        ({"op": "block", "id": "ab", "number": "+٧٧٠١٠٠٠", "until": "9"}, "command-subject"),
        ({"op": "block", "id": "ab", "number": NUMBER}, "command-subject"),
        ({"op": "block", "id": "ab", "number": NUMBER, "until": "nan"}, "command-number"),
        ({"op": "block", "id": "ab", "number": NUMBER, "until": "1e400"}, "command-number"),
        ({"op": "release", "id": "ab"}, "command-subject"),
        ({"op": "release", "id": "ab", "call_id": "x" * 257}, "command-too-large"),
        ({"op": "release", "id": "ab", "call_id": "x", "reason": "y" * 9000}, "command-too-large"),
    ],
)
def test_what_must_not_be_obeyed_is_refused(fields: dict[str, str], code: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_command(wire(fields))
    assert caught.value.code == code


def test_outcomes_blocks_and_requests_read_back() -> None:
    outcome = Outcome("ab", "sw-1", "block", "done", agent="host:1", at=5.5, took_s=0.25)
    assert decode_outcome(wire(encode_outcome(outcome))) == outcome
    block = Block(NUMBER, "blocked", 1795411673.0, 3, reason="r", by="rule:x", decision="d", at=1.0, id="5-0")
    assert decode_block(encode_block(block)) == block
    assert block.holds(1795411672.0)
    assert not block.holds(1795411673.0)
    request = BlockRequest("unblock", "a.analyst", "appeal 17", NUMBER, until=1795411673.0)
    assert decode_request(wire(encode_request(request))) == request


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"op": "kill", "who": "a", "why": "b"}, "request-op-unknown"),
        ({"op": "block", "number": NUMBER}, "request-nobody"),
        ({"op": "block", "number": "7701", "who": "a", "why": "b"}, "request-subject"),
        ({"op": "release", "call_id": "x", "who": "a", "why": "b"}, "request-subject"),
        ({"op": "resync", "switch": "sw 1", "who": "a", "why": "b"}, "request-subject"),
        ({"op": "block", "number": NUMBER, "until": "tomorrow", "who": "a", "why": "b"}, "request-until"),
    ],
)
def test_requests_that_cannot_be_obeyed(fields: dict[str, str], code: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_request(wire(fields))
    assert caught.value.code == code


@given(st.dictionaries(st.binary(max_size=12), st.binary(max_size=300), max_size=12))
def test_anything_else_is_refused_or_understood_but_never_crashes(fields: dict[bytes, bytes]) -> None:
    for decode in (decode_command, decode_outcome, decode_request):
        found: Any = None
        with contextlib.suppress(EventError):
            found = decode(fields)
        if found is not None:
            assert all(str(getattr(found, name)).isprintable() for name in found.__struct_fields__)


@given(st.binary(max_size=200))
def test_a_garbled_register_is_said_to_be_so(raw: bytes) -> None:
    with pytest.raises(EventError):
        decode_block(raw)
