"""Orders as commands to a channel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.queues import Reply
from sip_adapters.asking import UNDECIDED, order_of
from sip_adapters.switches.freeswitch.adapter import obey


def said(raw: bytes) -> str:
    """A command as ``application argument``."""
    lines = dict(line.split(": ", 1) for line in raw.decode().split("\n") if ": " in line)
    if "hangup-cause" in lines:
        return f"hangup {lines['hangup-cause']}"
    return f"{lines['execute-app-name']} {lines['execute-app-arg']}" if lines else raw.decode().strip()


def test_a_block() -> None:
    order = order_of(Reply("block", sip_code=603, phrase="Decline", cause=21, decision="d7"))
    common = ["resume", "set antifraud_cause=21", "set antifraud_decision=d7", "set antifraud_verdict=block"]
    assert [said(raw) for raw in obey(order, respond=True)] == [*common, "respond 603 Decline", "hangup 21"]
    assert [said(raw) for raw in obey(order, respond=False)] == [*common, "hangup 21"]


def test_the_others_go_on() -> None:
    label = order_of(Reply("label", label="Possible fraud"))
    assert [said(raw) for raw in obey(label, respond=True)] == [
        "resume",
        "set antifraud_label=Possible fraud",
        "set effective_caller_id_name=Possible fraud",
        "set antifraud_verdict=label",
    ]
    divert = order_of(Reply("divert", target="sip:desk@192.0.2.9"))
    assert [said(raw) for raw in obey(divert, respond=True)] == [
        "resume",
        "set antifraud_target=sip:desk@192.0.2.9",
        "set antifraud_verdict=divert",
    ]
    assert [said(raw) for raw in obey(UNDECIDED, respond=True)] == ["resume", "set antifraud_verdict=none"]


@pytest.mark.parametrize("verdict", ["label", "divert", "challenge", "block", "allow", "?"])
@given(text=st.text(max_size=120), target=st.text(max_size=60), phrase=st.text(max_size=30))
def test_whatever_a_reply_says_each_command_is_one(verdict: str, text: str, target: str, phrase: str) -> None:
    reply = Reply(verdict, label=text, text=text, target=target, phrase=phrase, decision=text, sip_code=603)
    commands = obey(order_of(reply), respond=True)
    for raw in commands:
        assert raw.endswith(b"\n\n")
        assert raw.count(b"\n\n") == 1
        assert b"${" not in raw
    assert any(said(raw).startswith("hangup") for raw in commands) == (verdict == "block")
