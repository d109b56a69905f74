"""The manager interface's framing: transcripts, the same cut at any place, and hostile ones."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_adapters.agents import RefusedError, UnreachableError
from sip_adapters.switches.asterisk import protocol_ami as ami

TRANSCRIPT = (
    b"Asterisk Call Manager/9.0.0\r\n"
    b"Response: Success\r\nActionID: af-1\r\nMessage: Authentication accepted\r\n\r\n"
    b"Event: FullyBooted\r\nPrivilege: system,all\r\n\r\n"
    b"Event: DBGetTreeResponse\r\nKey: /antifraud_block/+77010000001\r\nVal: 1796069373\r\nActionID: af-2\r\n\r\n"
    b"Response: Success\r\nCoreStartupDate: 2026-11-30\r\nCoreStartupTime: 10:11:12\r\n\r\n"
)


def messages(*pieces: bytes) -> list[ami.Message]:
    reader = ami.AmiReader()
    return [message for piece in pieces for message in reader.feed(piece)]


def test_a_transcript() -> None:
    accepted, booted, entry, status = messages(TRANSCRIPT)
    assert accepted.succeeded
    assert accepted.first("actionid") == "af-1"
    assert ami.said(accepted) == "Authentication accepted"
    assert not booted.succeeded
    assert ami.tree_entry(entry, "antifraud_block") == ("+77010000001", 1796069373.0)
    assert ami.tree_entry(entry, "other") is None
    assert ami.epoch(status) == "2026-11-30 10:11:12"


@given(st.lists(st.integers(0, len(TRANSCRIPT)), max_size=12))
def test_where_it_is_cut_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TRANSCRIPT)]
    pieces = [TRANSCRIPT[start:end] for start, end in pairwise(edges)]
    assert messages(*pieces) == messages(TRANSCRIPT)


@given(st.lists(st.binary(max_size=200), max_size=8), st.booleans())
def test_nonsense_is_bounded_and_classified(pieces: list[bytes], greeted: bool) -> None:
    reader = ami.AmiReader()
    with contextlib.suppress(UnreachableError):
        for piece in [b"Asterisk Call Manager/9.0.0\r\n"] * greeted + pieces:
            for message in reader.feed(piece):
                assert message.headers
                assert all("\n" not in value for _, value in message.headers)
    assert len(reader._buffer) <= ami.LONGEST_LINE + 200


def test_an_endless_line_ends() -> None:
    reader = ami.AmiReader()
    reader.feed(TRANSCRIPT)
    for _ in range(16):
        reader.feed(b"x" * 1000)
    with pytest.raises(UnreachableError, match="a line of more than 16384 bytes"):
        reader.feed(b"x" * 1000)
    with pytest.raises(UnreachableError, match="a line of more than"):
        messages(b"y" * 20_000 + b"\r\n")


def test_an_endless_message_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ami, "MOST_HEADERS", 100)
    with pytest.raises(UnreachableError, match="a message of more than"):
        messages(TRANSCRIPT, b"Output: a\r\n" * 101)


def test_another_service_is_told() -> None:
    with pytest.raises(UnreachableError, match=r"no Asterisk manager: 'SSH-2\.0-x'"):
        messages(b"SSH-2.0-x\r\n")


@given(st.text(max_size=40))
def test_no_value_begins_a_line_of_its_own(text: str) -> None:
    try:
        raw = ami.action("DBPut", "af-1", {"Key": text})
    except RefusedError:
        return
    lines = raw.decode().split("\r\n")
    assert lines == ["Action: DBPut", "ActionID: af-1", f"Key: {text}", "", ""]
    assert "\n" not in text


@pytest.mark.parametrize("evil", ["1\r\nAction: Command", "1\n", "\x00", "a" * 513, "\u2028x"])
def test_injection_is_refused(evil: str) -> None:
    with pytest.raises(RefusedError):
        ami.action("DBPut", "af-1", {"Val": evil})
    with pytest.raises(RefusedError):
        ami.action("DBPut", "af-1", {evil: "1"})
    with pytest.raises(RefusedError):
        ami.number_key(evil)


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("PJSIP/trunk-00000001", True),
        ("SIP/+77010000001@192.0.2.1-0000000a", True),
        ("Local/100@from-internal-00000001;1", True),
        ("/PJSIP.*/", False),
        ("PJSIP/", False),
        ("PJSIP/a b", False),
        ("PJSIP/a\r\nCause: 1", False),
        ("", False),
    ],
)
def test_only_the_name_of_one_channel_is_hung_up(name: str, sound: bool) -> None:
    assert ami.is_channel(name) is sound


def test_the_database_as_the_command_line_shows_it() -> None:
    lines = [
        "/antifraud_block/+77010000001                     : 1796069373               ",
        "/antifraud_block/+77010000002                     : soon",
        "/antifraud_block/junk                             : 1",
        "/other/+77010000003                               : 1",
        "4 results found.",
    ]
    message = ami.Message((("Response", "Success"), *(("Output", line) for line in lines)))
    assert ami.shown_entries(message, "antifraud_block") == [("+77010000001", 1796069373.0), ("+77010000002", 0.0)]


def test_a_call_is_known_by_its_id_or_its_variable() -> None:
    status = ami.Message((("Event", "Status"), ("Uniqueid", "17.4"), ("Variable", "ANTIFRAUD_CALL=1=2@x")))
    assert ami.is_call(status, "17.4", "ANTIFRAUD_CALL")
    assert ami.is_call(status, "1=2@x", "ANTIFRAUD_CALL")
    assert not ami.is_call(status, "1=2@x", "OTHER")
    assert not ami.is_call(status, "17", "ANTIFRAUD_CALL")
