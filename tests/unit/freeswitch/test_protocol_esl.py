"""The event socket's framing: transcripts, the same cut at any place, and hostile ones."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_adapters.agents import RefusedError, UnreachableError
from sip_adapters.switches.freeswitch import protocol_esl as esl

UUID = "0b5a8f3e-8d0c-4b0e-9a34-6a1f3c1d2e4f"
EVENT = b'{"Event-Name":"CHANNEL_ANSWER","Unique-ID":"0b5a8f3e-8d0c-4b0e-9a34-6a1f3c1d2e4f","x":7,"y":null}'
TRANSCRIPT = (
    b"Content-Type: auth/request\n\n"
    b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
    b"Content-Type: api/response\nContent-Length: 14\n\nUP 0 years\n\n\n\n"
    b"Content-Length: " + str(len(EVENT)).encode() + b"\nContent-Type: text/event-json\n\n" + EVENT +
    b"\n\nContent-Type: command/reply\nReply-Text: -ERR no\n\n"
)  # fmt: skip


def messages(*pieces: bytes) -> list[esl.Message]:
    reader = esl.EslReader()
    return [message for piece in pieces for message in reader.feed(piece)]


def test_a_transcript() -> None:
    request, accepted, answer, event, refused = messages(TRANSCRIPT)
    assert request.kind == "auth/request"
    assert accepted.reply == "+OK accepted"
    assert answer.text() == "UP 0 years\n\n\n\n"
    assert esl.event(event) == {"event-name": "CHANNEL_ANSWER", "unique-id": UUID}
    assert refused.reply == "-ERR no"


@given(st.lists(st.integers(0, len(TRANSCRIPT)), max_size=12))
def test_where_it_is_cut_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TRANSCRIPT)]
    pieces = [TRANSCRIPT[start:end] for start, end in pairwise(edges)]
    assert messages(*pieces) == messages(TRANSCRIPT)


@given(st.lists(st.binary(max_size=200) | st.sampled_from([b"a: b\n", b"\n", b"Content-Length: 5\n"]), max_size=10))
def test_nonsense_is_bounded_and_classified(pieces: list[bytes]) -> None:
    reader = esl.EslReader()
    with contextlib.suppress(UnreachableError):
        for piece in pieces:
            for message in reader.feed(piece):
                assert message.headers
    assert len(reader._buffer) <= sum(map(len, pieces))


@pytest.mark.parametrize("length", ["99999999", "999999999999", "-1", "1e3", "٣", "0x10", "7 7"])
def test_an_absurd_length_is_refused_before_anything_is_kept(length: str) -> None:
    with pytest.raises(UnreachableError, match="announces a body"):
        messages(f"Content-Type: api/response\nContent-Length: {length}\n\n".encode())


def test_endless_lines_and_heads_end() -> None:
    with pytest.raises(UnreachableError, match="a line of more than 65536 bytes"):
        messages(*[b"x" * 1000] * 100)
    with pytest.raises(UnreachableError, match="more than 4096 lines"):
        messages(*[b"a: b\n"] * 5000)
    with pytest.raises(UnreachableError, match="more than 4096 lines"):
        messages(*[b"a: " + b"b" * 60_000 + b"\n"] * 20)


def test_another_service_is_told() -> None:
    with pytest.raises(UnreachableError, match=r"no event socket: 'SSH-2\.0'"):
        messages(b"SSH-2.0\r\n")


@given(st.text(max_size=60))
def test_no_argument_begins_a_line_of_its_own(text: str) -> None:
    for make in (lambda: esl.api("status", text), lambda: esl.execute("set", text), lambda: esl.authenticate(text)):
        with contextlib.suppress(RefusedError):
            raw = make().decode()
            assert raw.endswith("\n\n")
            assert raw.count("\n") == (6 if raw.startswith("sendmsg") and text else 5 if raw.startswith("send") else 2)


@pytest.mark.parametrize(
    "evil",
    ["", "x", f"{UUID}\n", f"{UUID} all", UUID.replace("-", ""), "../../etc", "+7701\n\napi shutdown", "+7701/x/1"],
)
def test_what_is_no_channel_and_no_number_is_never_said(evil: str) -> None:
    for make in (
        lambda: esl.kill(evil),
        lambda: esl.exists(evil),
        lambda: esl.get_call_id(evil),
        lambda: esl.insert("antifraud_block", evil, 1),
        lambda: esl.delete("antifraud_block", evil),
        lambda: esl.hang_up(evil),
        lambda: esl.subscribe(evil + "\n\n"),
    ):
        with pytest.raises(RefusedError):
            make()


def test_commands() -> None:
    assert esl.insert("antifraud_block", "+77010000001", 7) == b"api hash insert/antifraud_block/+77010000001/7\n\n"
    assert esl.kill(UUID) == f"api uuid_kill {UUID} CALL_REJECTED\n\n".encode()
    assert esl.hang_up("21") == b"sendmsg\ncall-command: hangup\nhangup-cause: 21\n\n"
    assert esl.execute("set", "a=b") == (
        b"sendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: a=b\nevent-lock: true\n\n"
    )


def test_a_dump() -> None:
    text = (
        "D/antifraud_block_+77010000001/1796069373\nD/antifraud_block_+77010000002/soon\nD/antifraud_block_x/1\n"
        "L/antifraud_block_+77010000003/1/2/3/4\nD/other_+77010000004/9\n\nD/antifraud_block_+77010000005"
    )
    assert esl.dumped(text, "antifraud_block") == [
        ("+77010000001", 1796069373.0),
        ("+77010000002", 0.0),
        ("+77010000005", 0.0),
    ]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"rows":1}', '{"rows":[{"uuid":7}]}', "[" * 100_000])
def test_channels_that_are_none(text: str) -> None:
    with pytest.raises(UnreachableError):
        esl.channels(text)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"a":{}}', b"{" * 10_000])
def test_events_that_are_none(body: bytes) -> None:
    with pytest.raises(UnreachableError):
        esl.event(esl.Message({}, body))


def test_escapes_are_resolved_once() -> None:
    found = esl.variables(esl.Message({"caller-caller-id-number": "%2B77010000001", "variable_x": "a%250Ab"}))
    assert found == {"caller-caller-id-number": "+77010000001", "variable_x": "a%0Ab"}
