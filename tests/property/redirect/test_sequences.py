"""The redirect server under any sequence of datagrams, verdicts and time: bounded, quiet at the end, no call
unanswered."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.queues import Reply
from sip_adapters.conformance import invite, request
from sip_adapters.redirect import Ask, Count, Redirect, Send, read_options
from sip_adapters.sip import parse

CALLS = 4
STEP = st.tuples(
    st.sampled_from(["INVITE", "ACK", "CANCEL", "OPTIONS", "verdict", "gone", "garbage"]),
    st.integers(0, CALLS - 1),
    st.floats(0.0, 8.0, allow_nan=False),
    st.sampled_from(["allow", "block", "divert", "label", "challenge"]),
)


@given(st.lists(STEP, max_size=40), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_any_sequence(steps: list[tuple[str, int, float, str]], max_pending: int) -> None:
    redirect = Redirect(read_options({"max_pending": max_pending}), secret=b"s", reply="r")
    peer = ("192.0.2.10", 5060)
    now = 0.0
    asked: dict[str, int] = {}
    finals: dict[str, set[bytes]] = {}

    def perform(actions: list[object]) -> None:
        if Count("redirect.full") in actions:
            return
        for action in actions:
            if isinstance(action, Ask):
                asked[action.event.call_id] = asked.get(action.event.call_id, 0) + 1
            elif isinstance(action, Send) and b"CSeq: 1 INVITE" in action.data:
                message = parse(action.data)
                if message.status >= 200 and message.status != 400:
                    finals.setdefault(message.call_id, set()).add(action.data)

    for what, number, wait, verdict in steps:
        now += wait
        perform(list(redirect.tick(now)))
        name, branch = f"call-{number}", f"z9hG4bK-{number}"
        if what == "verdict":
            perform(list(redirect.decide(name, Reply(verdict=verdict, target="sip:desk@h"), now)))
        elif what == "gone":
            perform(list(redirect.decide(name, None, now)))
        elif what == "garbage":
            perform(list(redirect.receive(b"\xff" * 50, peer, now, 1_732_338_000.0)))
        else:
            raw = (
                invite(call_id=name, branch=branch)
                if what == "INVITE"
                else request(what, call_id=name, branch=branch, to_tag="x" if what == "ACK" else "")
            )
            perform(list(redirect.receive(raw, peer, now, 1_732_338_000.0)))
        assert redirect.pending <= max_pending
        assert redirect.kept <= max_pending * 8
    for _ in range(1_000):
        wake = redirect.next_wake()
        if wake is None:
            break
        perform(list(redirect.tick(wake)))
    assert (redirect.pending, redirect.kept, redirect.next_wake()) == (0, 0, None)
    assert set(finals) == set(asked)
    # One question has one answer, however often it is sent.
    assert all(len(finals[name]) <= asked[name] for name in asked)
