"""What the redirect server answers with replies that speak a dialect, and while nobody decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from antifraud.domain import CallEvent, ConfigError
from antifraud.queues import Reply
from sip_adapters.conformance import invite
from sip_adapters.redirect import Ask, Count, Redirect, Send, read_options
from sip_adapters.sip import Message, parse
from tests.undecided import policy

PEER = ("192.0.2.10", 5060)
TS = 1_732_338_000.0
PLUS = 'SIP;cause=603;text="v=analytics1;url=https://redress.example/b;id=0f3a";location=RLN'


def server(**options: Any) -> Redirect:
    return Redirect(read_options({"deadline_ms": 150, **options}), secret=b"secret", reply="af:{kz}:reply:r1")


def sent(actions: Sequence[object]) -> list[bytes]:
    return [action.data for action in actions if isinstance(action, Send)]


def asked(redirect: Redirect) -> CallEvent:
    (event,) = [action.event for action in redirect.receive(invite(), PEER, 0.0, TS) if isinstance(action, Ask)]
    return event


def decide(redirect: Redirect, reply: Reply) -> tuple[Message, str]:
    event = asked(redirect)
    (raw,) = sent(redirect.decide(event.call_id, reply, 0.01))
    return parse(raw), raw.partition(b"\r\n")[0].decode()


def test_a_refusal_in_a_dialect() -> None:
    lines = f"Call-Info: <data:application/jose,a.b.c>;purpose=jwscard\nReason: {PLUS}\nVia: evil\nContact: <sip:x@y>"
    reply = Reply("block", sip_code=603, phrase="Network Blocked", headers=lines, text="why", decision="d1")
    answer, first = decide(server(), reply)
    assert first == "SIP/2.0 603 Network Blocked"
    assert answer.values("reason") == [PLUS]
    assert answer.values("call-info") == ["<data:application/jose,a.b.c>;purpose=jwscard"]
    assert answer.values("contact") == []
    assert len(answer.values("via")) == 1
    assert answer.first("x-antifraud-decision") == "d1"


def test_a_long_card_is_not_cut() -> None:
    card = f"<data:application/jose,{'a' * 1500}.b.c>;purpose=jwscard"
    answer, _ = decide(server(), Reply("block", sip_code=608, headers=f"Call-Info: {card}"))
    assert answer.values("call-info") == [card]


@pytest.mark.parametrize("phrase", ["", "Bad\r\nX: y", "вон", "x" * 41])
def test_a_phrase_that_is_none_is_not_used(phrase: str) -> None:
    _, first = decide(server(), Reply("block", sip_code=608, phrase=phrase))
    assert first == "SIP/2.0 608 Rejected"


def test_a_phrase_belongs_to_its_status() -> None:
    _, first = decide(server(), Reply("block", sip_code=200, phrase="OK"))
    assert first == "SIP/2.0 608 Rejected"


def test_a_cause_of_its_own() -> None:
    answer, _ = decide(server(), Reply("block", sip_code=480, cause=18))
    assert answer.values("reason") == ["SIP;cause=480", "Q.850;cause=18"]


def test_reasons_that_are_kept_back() -> None:
    tell_tale = 'Reason: SIP;cause=608;text="tell-tale"\nReason: Q.850;cause=21'
    answer, _ = decide(server(tell_reason=False), Reply("block", sip_code=608, headers=tell_tale))
    assert answer.values("reason") == ["SIP;cause=608", "Q.850;cause=21"]
    answer, _ = decide(server(tell_reason=False), Reply("block", sip_code=603, headers=f"Reason: {PLUS}"))
    assert answer.values("reason") == [PLUS]


def test_a_label_comes_with_what_the_switch_is_to_set() -> None:
    lines = 'P-Asserted-Identity: "scam?" <tel:+77010000001>\nReason: Q.850;cause=1'
    answer, _ = decide(server(), Reply("label", label="scam?", headers=lines))
    assert answer.status == 404
    assert answer.values("p-asserted-identity") == ['"scam?" <tel:+77010000001>']
    assert answer.values("reason") == []


def test_a_label_by_redirection() -> None:
    answer, _ = decide(server(), Reply("label", label="scam?", sip_code=302, target="tel:+77010000002"))
    assert (answer.status, answer.first("contact")) == (302, "<tel:+77010000002>")
    assert answer.first("x-antifraud-verdict") == "label"
    nowhere, _ = decide(server(), Reply("label", label="scam?", sip_code=302, target="javascript:x"))
    assert nowhere.status == 404


def test_a_diversion_says_whom_the_call_was_for() -> None:
    lines = "Diversion: <tel:+77010000002>;reason=deflection"
    answer, _ = decide(server(), Reply("divert", sip_code=302, target="sip:desk@192.0.2.9", headers=lines))
    assert (answer.status, answer.first("contact")) == (302, "<sip:desk@192.0.2.9>")
    assert answer.values("diversion") == ["<tel:+77010000002>;reason=deflection"]


# While nobody decides


def late(redirect: Redirect) -> tuple[Message, str, list[str]]:
    redirect.receive(invite(), PEER, 0.0, TS)
    actions = redirect.tick(0.2)
    raw = sent(actions)[-1]
    counts = [action.name for action in actions if isinstance(action, Count)]
    return parse(raw), raw.partition(b"\r\n")[0].decode(), counts


def test_without_a_policy_calls_go_on() -> None:
    answer, _, counts = late(server())
    assert (answer.status, counts) == (404, ["redirect.go-on.deadline"])


def test_a_label_while_nobody_decides() -> None:
    answer, _, _ = late(server(fail=policy(**{"any.late": "label"})))
    assert (answer.status, answer.first("x-antifraud-verdict")) == (404, "label")
    assert answer.first("x-antifraud-label").encode("latin-1").decode() == "Возможно, мошенники"


def test_refusals_while_nobody_decides() -> None:
    answer, first, counts = late(server(fail=policy(**{"any.late": "emergency_only"})))
    assert first == "SIP/2.0 503 Service Unavailable"
    assert (answer.values("reason"), answer.values("retry-after")) == (["Q.850;cause=41"], ["30"])
    assert counts == ["redirect.fail.refused"]
    answer, first, _ = late(server(fail=policy(**{"any.late": "refuse"})))
    assert (first, answer.values("retry-after")) == ("SIP/2.0 608 Rejected", [])


def test_reasons_and_trunks_are_told_apart() -> None:
    found = policy(**{"international.late": "refuse", "any.redis": "refuse"})
    assert late(server(fail=found, trunk="intl-1"))[0].status == 608
    assert late(server(fail=found, trunk="nat-1"))[0].status == 404
    redirect = server(fail=found, trunk="nat-1")
    event = asked(redirect)
    assert parse(sent(redirect.decide(event.call_id, None, 0.01))[0]).status == 608
    crowded = server(fail=policy(**{"any.overload": "emergency_only"}), max_pending=1)
    crowded.receive(invite(branch="z9hG4bK-1", call_id="one"), PEER, 0.0, TS)
    full = crowded.receive(invite(branch="z9hG4bK-2", call_id="two"), PEER, 0.0, TS)
    assert parse(sent(full)[0]).status == 503


@pytest.mark.parametrize(
    ("callee", "trunk", "status"),
    [
        ("112", "intl-1", 404),
        ("109", "intl-1", 404),
        ("1414", "sub-1", 404),
        ("+77270000001", "sub-1", 404),
        ("87270000001", "", 404),
        ("+442079460000", "sub-1", 503),
        ("810442079460000", "nat-1", 503),
        ("+77270000001", "intl-1", 503),
    ],
)
def test_national_calls_alone(callee: str, trunk: str, status: int) -> None:
    redirect = server(fail=policy(**{"any.late": "national_only"}), trunk=trunk)
    actions = redirect.receive(invite(callee=callee), PEER, 0.0, TS)
    answers = sent(actions) or sent(redirect.tick(0.2))
    assert parse(answers[-1]).status == status


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"abroad": "("}, "adapters.redirect.fail.abroad: no regular expression"),
        ({"actions": {"any": {"late": "open"}}}, "adapters.redirect.fail.actions"),
        ({"refuse": {"status": 200, "phrase": "OK", "cause": 1}}, "adapters.redirect.fail.refuse.status"),
        ({"protected_callees": ["x" * 500]}, "adapters.redirect.fail.protected_callees"),
    ],
)
def test_a_policy_that_is_none_is_refused(change: dict[str, Any], wrong: str) -> None:
    found = {**policy(**{"any.late": "refuse"}), **change}
    with pytest.raises(ConfigError) as caught:
        read_options({"fail": found})
    assert wrong in caught.value.render()


def test_the_exported_policy_is_what_the_adapter_reads() -> None:
    found = policy(**{"any.late": "refuse"})
    options = read_options({"fail": found})
    assert options.fail is not None
    assert msgspec.to_builtins(options.fail.section.refuse) == {"status": 608, "phrase": "Rejected", "cause": 21}
