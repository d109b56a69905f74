"""AGI's framing: transcripts, the same cut at any place, and hostile ones; values that are set cannot break out."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.domain import EventError
from antifraud.queues import Reply
from sip_adapters.asking import order_of
from sip_adapters.switches.asterisk import protocol_agi as agi
from sip_adapters.switches.asterisk.adapter import told

TRANSCRIPT = (
    b"agi_network: yes\nagi_network_script: ask\nagi_callerid: +77010000001\nagi_calleridname: unknown\n"
    b"agi_uniqueid: 1796069373.4\n\n"
    b"200 result=1 (+77010000002)\n200 result=0\n200 result=1 (a) (b)\nHANGUP\n"
    b"520-Invalid command syntax.  Proper usage follows:\nUsage: SET VARIABLE\n520 End of proper usage.\n"
    b"511 Command Not Permitted on a dead channel or intercept routine\n"
)


def said(*pieces: bytes) -> list[agi.Said]:
    reader = agi.AgiReader()
    return [found for piece in pieces for found in reader.feed(piece)]


def test_a_transcript() -> None:
    about, *rest = said(TRANSCRIPT)
    assert isinstance(about, agi.Environment)
    assert about.get("callerid") == "+77010000001"
    assert about.get("calleridname") == about.get("nothing") == ""
    assert rest == [
        agi.Answer(200, 1, "+77010000002"),
        agi.Answer(200, 0, ""),
        agi.Answer(200, 1, "a) (b"),
        agi.Hangup(),
        agi.Answer(520, 0, ""),
        agi.Answer(511, 0, ""),
    ]


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b"200", b"200 ", b"200 fine", b"200result=1 (x)", b"200 result=one", b"200 result=1 (cut off",
     b"\xff\xfe", b"20 result=1", b"cut off)"],
)  # fmt: skip
def test_an_answer_that_is_none_is_told(line: bytes) -> None:
    (_, *rest) = said(b"agi_network: yes\n\n" + line + b"\n200 result=1 (x)\n")
    assert [type(one) for one in rest] == [agi.Garbled, agi.Answer]


@pytest.mark.parametrize("line", [b"100 result=0 Trying...", b"", b"520-Usage\nnonsense\n200 result=1 (y)\n520-more"])
def test_what_is_no_answer_yet_is_passed_over(line: bytes) -> None:
    end = b"520 End of proper usage.\n" if line.startswith(b"520-") else b""
    (_, *rest) = said(b"agi_network: yes\n\n" + line + b"\n" + end + b"200 result=1 (x) endpos=7\n")
    assert rest == [*([agi.Answer(520, 0, "")] if end else []), agi.Answer(200, 1, "x")]


@given(st.lists(st.integers(0, len(TRANSCRIPT)), max_size=12))
def test_where_it_is_cut_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TRANSCRIPT)]
    assert said(*[TRANSCRIPT[a:b] for a, b in pairwise(edges)]) == said(TRANSCRIPT)


@given(st.lists(st.binary(max_size=200), max_size=8), st.booleans())
def test_nonsense_is_bounded_and_classified(pieces: list[bytes], begun: bool) -> None:
    reader = agi.AgiReader()
    with contextlib.suppress(EventError):
        for piece in [b"agi_network: yes\n\n"] * begun + pieces:
            reader.feed(piece)
    assert len(reader._buffer) <= agi.LONGEST_LINE + 200


@pytest.mark.parametrize(
    "raw", [b"GET / HTTP/1.1\r\n", b"x" * 20_000, b"agi_a: b\n" * 300, b"agi_A: b\n", b"\x00: 1\n"]
)
def test_what_is_no_agi_is_told(raw: bytes) -> None:
    with pytest.raises(EventError):
        said(raw)


@given(st.text(max_size=60))
def test_a_value_is_one_quoted_word(text: str) -> None:
    try:
        line = agi.set_variable("ANTIFRAUD_LABEL", text).decode()
    except ValueError:
        return
    assert line.count("\n") == 1
    body = line.removeprefix('SET VARIABLE ANTIFRAUD_LABEL "').removesuffix('"\n')
    # Read as Asterisk reads it: a backslash takes the next character as it is, a bare quote would end the word.
    read, escaped = "", False
    for char in body:
        assert escaped or char != '"'
        escaped = not escaped and char == "\\"
        read += "" if escaped else char
    assert not escaped
    assert read == text


@pytest.mark.parametrize("evil", ["a\nHANGUP", "a\r", "\x00", "x" * 301])
def test_line_ends_are_refused(evil: str) -> None:
    with pytest.raises(ValueError):
        agi.set_variable("ANTIFRAUD_LABEL", evil)
    with pytest.raises(ValueError):
        agi.get_variable(evil)


def test_the_verdict_is_told_last() -> None:
    order = order_of(Reply("block", decision="d7", sip_code=603, cause=21, text="spoofed"))
    assert told(order, "1796069373.4") == [
        ("ANTIFRAUD_CALL", "1796069373.4"),
        ("ANTIFRAUD_REASON", "spoofed"),
        ("ANTIFRAUD_CAUSE", "21"),
        ("ANTIFRAUD_STATUS", "603"),
        ("ANTIFRAUD_DECISION", "d7"),
        ("ANTIFRAUD_VERDICT", "block"),
    ]


@given(st.text(max_size=120), st.text(max_size=120), st.text(max_size=120))
def test_every_order_can_be_told(label: str, target: str, text: str) -> None:
    for verdict in ("label", "divert", "block", "allow", "?"):
        order = order_of(Reply(verdict, label=label, target=target, text=text, decision=text))
        for name, value in told(order, "1.2"):
            assert agi.set_variable(name, value).count(b"\n") == 1
