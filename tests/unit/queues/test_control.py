"""Control entries on the wire."""

from __future__ import annotations

import pytest

from antifraud.domain import EventError
from antifraud.queues import Control, decode_control, encode_control


@pytest.mark.parametrize(
    "control",
    [
        Control("kill", "operations", "drill"),
        Control("list.add", "a", "b", "bad", "+77010000001", until="2027-06-30"),
        Control("list.add", "a", "b", "bad", first="+77010000000", last="+77010000009"),
        Control("list.remove", "a", "b", "bad", "112"),
    ],
)
def test_what_is_written_reads_back(control: Control) -> None:
    wire = {name.encode(): value.encode() for name, value in encode_control(control).items()}
    assert decode_control(wire) == control
    assert b"first" not in wire


def test_control_characters_and_bytes_that_are_no_text_do_no_harm() -> None:
    wire = {b"op": b" kill\n", b"who": b"a\x1b[31m\xff", b"why": b"x" * 500, b"\xff": b"?"}
    control = decode_control(wire)
    assert control.who.isprintable()
    assert len(control.why) == 200


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        ({}, "control-op-unknown"),
        ({b"op": b"kill"}, "control-nobody"),
        ({b"op": b"kill", b"who": b"\x00", b"why": b"x"}, "control-nobody"),
        ({b"op": b"list.add", b"who": b"a", b"why": b"b", b"value": b"112"}, "list-value"),
        ({b"op": b"list.add", b"who": b"a", b"why": b"b", b"list": b"x", b"from": b"+7"}, "list-value"),
        ({b"op": b"kill", b"why": b"x" * 9_000}, "control-too-large"),
        ({str(number).encode(): b"" for number in range(65)}, "control-too-many-fields"),
    ],
)
def test_what_is_refused(wire: dict[bytes, bytes], code: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_control(wire)
    assert caught.value.code == code
