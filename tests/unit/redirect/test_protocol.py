"""The redirect server's state table, without a socket or a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import CallEvent
from antifraud.numbering import Numbering, load_dial_plan
from antifraud.queues import Reply
from sip_adapters.conformance import good_invites, hostile_datagrams, invite, request, response
from sip_adapters.redirect import Ask, Count, Put, Record, Redirect, Send, Withdraw, read_options
from sip_adapters.sip import Message, parse

DIAL_PLAN = Path(__file__).parents[3] / "config/dialplans/kz.yaml"
PEER = ("192.0.2.10", 5060)
TS = 1_732_338_000.0
OPTIONS: dict[str, Any] = {"deadline_ms": 150}


def server(**options: Any) -> Redirect:
    return Redirect(read_options({**OPTIONS, **options}), secret=b"secret", reply="af:{kz}:reply:r1")


def sent(actions: Sequence[object]) -> list[Message]:
    return [parse(action.data) for action in actions if isinstance(action, Send)]


def asked(actions: Sequence[object]) -> list[CallEvent]:
    return [action.event for action in actions if isinstance(action, Ask)]


def sent_lines(actions: Sequence[object]) -> list[bytes]:
    return [action.data.partition(b"\r\n")[0] for action in actions if isinstance(action, Send)]


def counted(actions: Sequence[object]) -> list[str]:
    return [action.name for action in actions if isinstance(action, Count)]


def ask(redirect: Redirect, raw: bytes = b"", now: float = 0.0) -> CallEvent:
    (event,) = asked(redirect.receive(raw or invite(), PEER, now, TS))
    return event


def decide(redirect: Redirect, reply: Reply, now: float = 0.01, raw: bytes = b"") -> Message:
    event = ask(redirect, raw)
    (answer,) = sent(redirect.decide(event.call_id, reply, now))
    return answer


def test_an_invite_is_asked_about_with_reply_key_and_deadline() -> None:
    redirect = server(switch="sbc-1", trunk="intl-1")
    event = ask(redirect)
    assert (event.reply, event.deadline_ms) == ("af:{kz}:reply:r1", 150)
    assert (event.source, event.switch, event.trunk, event.src_ip) == ("redirect", "sbc-1", "intl-1", "192.0.2.10")
    assert redirect.pending == 1


def test_block() -> None:
    answer = decide(server(), Reply(verdict="block", text='many "calls"\r\nX: y', decision="d1"))
    assert answer.status == 608
    assert answer.values("reason") == ['SIP;cause=608;text="many \\"calls\\"  X: y"', "Q.850;cause=21"]
    assert answer.first("x-antifraud-verdict") == "block"
    assert answer.first("x-antifraud-decision") == "d1"
    assert answer.to.tag


@pytest.mark.parametrize(("code", "status"), [(603, 603), (0, 608), (200, 608), (302, 608), (9999, 608)])
def test_a_block_takes_a_refusing_code_only(code: int, status: int) -> None:
    assert decide(server(), Reply(verdict="block", sip_code=code)).status == status


def test_the_reason_can_be_kept_back() -> None:
    answer = decide(server(tell_reason=False), Reply(verdict="block", text="secret"))
    assert answer.values("reason")[0] == "SIP;cause=608"


@pytest.mark.parametrize("verdict", ["divert", "challenge"])
def test_divert(verdict: str) -> None:
    answer = decide(server(), Reply(verdict=verdict, target="sip:desk@203.0.113.9:5080"))
    assert (answer.status, answer.first("contact")) == (302, "<sip:desk@203.0.113.9:5080>")
    assert answer.first("x-antifraud-verdict") == verdict


@pytest.mark.parametrize("target", ["", "desk", "http://x", "sip:a b@c", "sip:x@h>\r\nX: y", "sip:ж@h"])
def test_a_diversion_to_nowhere_goes_on_with_a_label(target: str) -> None:
    answer = decide(server(), Reply(verdict="divert", target=target, label="fraud?"))
    assert (answer.status, answer.first("x-antifraud-label")) == (404, "fraud?")
    assert not answer.values("contact")


def test_label_and_allow_go_on() -> None:
    answer = decide(server(go_on_status=503), Reply(verdict="label", label="Возможно, мошенник"))
    assert answer.status == 503
    assert answer.first("x-antifraud-label").encode("latin-1").decode() == "Возможно, мошенник"
    assert decide(server(), Reply(verdict="allow")).status == 404
    assert decide(server(), Reply(verdict="no-such-word")).status == 404


def test_without_a_verdict_the_call_goes_on_at_its_deadline() -> None:
    redirect = server()
    event = ask(redirect)
    assert redirect.next_wake() == pytest.approx(0.15)
    assert redirect.tick(0.149) == []
    actions = redirect.tick(0.15)
    (answer,) = sent(actions)
    assert (answer.status, answer.first("x-antifraud-verdict")) == (404, "none")
    assert Withdraw(event.call_id) in actions
    assert "redirect.go-on.deadline" in counted(actions)
    assert redirect.decide(event.call_id, Reply(verdict="block"), 0.2) == []


def test_a_log_that_is_gone_lets_the_call_go_on_at_once() -> None:
    redirect = server()
    event = ask(redirect)
    (answer,) = sent(redirect.decide(event.call_id, None, 0.001))
    assert answer.status == 404


def test_trying_only_when_the_answer_takes_longer() -> None:
    redirect = server(deadline_ms=1000)
    ask(redirect)
    (trying,) = sent(redirect.tick(0.2))
    assert (trying.status, trying.to.tag) == (100, "")
    (again,) = sent(redirect.receive(invite(), PEER, 0.5, TS))
    assert again.status == 100
    (final,) = sent(redirect.tick(1.0))
    assert final.status == 404


def test_a_repeated_invite_gets_the_same_answer_and_no_second_question() -> None:
    redirect = server()
    assert sent(redirect.receive(invite(), PEER, 0.0, TS)) == []
    again = redirect.receive(invite(), PEER, 0.05, TS)
    assert (asked(again), sent(again)) == ([], [])
    first = redirect.decide("sample-1@192.0.2.10", Reply(verdict="block"), 0.06)
    later = redirect.receive(invite(), PEER, 0.07, TS)
    assert [action for action in later if isinstance(action, Send)] == [a for a in first if isinstance(a, Send)]


def test_the_final_answer_is_repeated_until_the_ack_and_no_longer() -> None:
    redirect = server()
    decide(redirect, Reply(verdict="block"), now=0.0)
    times: list[float] = []
    while (wake := redirect.next_wake()) is not None:
        assert len(times) < 20
        if sent(redirect.tick(wake)):
            times.append(wake)
    assert times == pytest.approx([0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
    assert redirect.kept == 0


def test_an_ack_ends_the_repeating_and_the_transaction_after_timer_i() -> None:
    redirect = server()
    answer = decide(redirect, Reply(verdict="block"), now=0.0)
    ack = request("ACK", to_tag=answer.to.tag)
    assert sent(redirect.receive(ack, PEER, 0.1, TS)) == []
    assert sent(redirect.tick(4.0)) == []
    assert sent(redirect.receive(invite(), PEER, 4.5, TS)) == []
    assert redirect.kept == 1
    redirect.tick(5.2)
    assert (redirect.kept, redirect.next_wake()) == (0, None)


def test_an_ack_for_nobody_is_counted_and_never_answered() -> None:
    actions = server().receive(request("ACK"), PEER, 0.0, TS)
    assert (sent(actions), counted(actions)) == ([], ["redirect.stray-ack"])


def test_cancel_ends_a_call_that_waits() -> None:
    redirect = server()
    event = ask(redirect)
    actions = redirect.receive(request("CANCEL"), PEER, 0.05, TS)
    ok, ended = sent(actions)
    assert (ok.status, ok.cseq_method, ended.status, ended.cseq_method) == (200, "CANCEL", 487, "INVITE")
    assert ok.to.tag == ended.to.tag
    assert Withdraw(event.call_id) in actions
    assert redirect.pending == 0


def test_cancel_after_the_answer_changes_nothing() -> None:
    redirect = server()
    decide(redirect, Reply(verdict="block"))
    assert [message.status for message in sent(redirect.receive(request("CANCEL"), PEER, 0.05, TS))] == [200]


def test_cancel_for_nobody() -> None:
    assert [message.status for message in sent(server().receive(request("CANCEL"), PEER, 0.0, TS))] == [481]


def test_transactions_of_rfc_2543_have_no_magic_cookie() -> None:
    redirect = server()
    ask(redirect, invite(branch="old"))
    assert asked(redirect.receive(invite(branch="old"), PEER, 0.01, TS)) == []
    ok, ended = sent(redirect.receive(request("CANCEL", branch="old"), PEER, 0.02, TS))
    assert (ok.status, ended.status) == (200, 487)
    assert sent(redirect.receive(request("ACK", branch="old", to_tag=ended.to.tag), PEER, 0.03, TS)) == []
    assert sent(redirect.tick(1.0)) == []


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("OPTIONS"), 200),
        (request("REGISTER"), 405),
        (request("BYE", to_tag="x"), 405),
        (request("OPTIONS", max_forwards=0), 483),
        (request("INVITE", max_forwards=0), 483),
        (invite(to_tag="dialogue"), 481),
        (invite().replace(b"SIP/2.0\r\nVia", b"SIP/2.7\r\nVia"), 505),
        (invite().replace(b"INVITE sip:", b"INVITE isbn:"), 416),
        (invite().replace(b"sip:+77000000002@", b"sip:"), 484),
        (invite(callee="9" * 300), 414),
        (invite().replace(b"Max-Forwards: 70", b"Max-Forwards: -1"), 400),
    ],
)
def test_what_is_answered_at_once(raw: bytes, status: int) -> None:
    redirect = server()
    (answer,) = sent(redirect.receive(raw, PEER, 0.0, TS))
    assert answer.status == status
    assert answer.to.tag
    assert answer.call_id == "sample-1@192.0.2.10"
    if status in (200, 405):
        assert answer.first("allow") == "INVITE, ACK, CANCEL, OPTIONS"
    assert redirect.pending == 0


def test_responses_and_keepalives_are_counted_only() -> None:
    redirect = server()
    assert redirect.receive(response(200), PEER, 0.0, TS) == [Count("redirect.stray-response")]
    assert redirect.receive(b"\r\n\r\n", PEER, 0.0, TS) == [Count("redirect.keepalive")]


@pytest.mark.parametrize("raw", hostile_datagrams())
def test_every_hostile_datagram_is_counted_and_quarantined_with_a_reason(raw: bytes) -> None:
    actions = server().receive(raw, PEER, 0.0, TS)
    (put,) = [action for action in actions if isinstance(action, Put)]
    assert put.item.code
    assert "192.0.2.10" in put.item.detail
    assert "redirect.malformed" in counted(actions)
    for action in actions:
        if isinstance(action, Send):
            assert action.data[:9] in (b"SIP/2.0 4", b"SIP/2.0 5"), action.data[:40]
            assert action.data.count(b"\r\n\r\n") == 1


def test_no_counter_is_named_by_the_wire() -> None:
    redirect = server()
    raws = [*hostile_datagrams(), *(request(f"METHOD{at}", call_id=f"x{at}") for at in range(50))]
    names = {name for raw in raws for name in counted(redirect.receive(raw, PEER, 0.0, TS))}
    assert names == {"redirect.malformed", "redirect.other-method"}


@pytest.mark.parametrize(
    "uri",
    [
        "sip:112@h", "sip:+112@h", "sip:1-1-2@h", "sip:101@h", "sip:104@h", "sip:01@h", "sip:04@h", "sip:911@h",
        "sip:+7112@h", "sip:7112@h", "sip:8112@h", "sip:+7911@h", "sip:8727112@h", "sip:+7727112@h", "sip:727112@h",
        "sip:87172112@h", "sip:71030112@h", "sip:8~107112@h", "sip:00112@h", "sip:007103@h",
        "sip:112;phone-context=+7727@h", "sip:112%23@h", "sip:%31%31%32@h", "sip:112:secret@h", "sip:112",
        "sip:%EF%BC%91%EF%BC%91%EF%BC%92@h", "tel:112", "tel:+7-112", "tel:112;phone-context=+44",
        "urn:service:sos", "urn:service:sos.ambulance", "URN:Service:SOS",
    ],
)  # fmt: skip
def test_emergency_calls_are_never_asked_about(uri: str) -> None:
    redirect = server()
    raw = invite(callee="112").replace(b"INVITE sip:112@203.0.113.5", f"INVITE {uri}".encode())
    raw = raw.replace(b"To: <sip:112@", b"To: <sip:+77000000002@")
    actions = redirect.receive(raw, PEER, 0.0, TS)
    (answer,) = sent(actions)
    (record,) = [action.event for action in actions if isinstance(action, Record)]
    assert (answer.status, asked(actions), redirect.pending) == (404, [], 0)
    assert "redirect.emergency" in counted(actions)
    assert (record.reply, record.deadline_ms) == ("", 0)


def test_an_emergency_call_goes_on_whatever_else_is_wrong_and_however_full_it_is() -> None:
    redirect = server(max_pending=1)
    ask(redirect)
    raw = invite(callee="112", caller="9" * 400, call_id="sos", branch="z9hG4bK-sos")
    actions = redirect.receive(raw, PEER, 0.0, TS)
    assert [message.status for message in sent(actions)] == [404]
    assert [action.item.code for action in actions if isinstance(action, Put)] == ["number-too-long"]


@pytest.mark.parametrize(
    "callee", ["+77270000112", "87000000112", "+770000112", "801", "1120", "109", "0112", "+44112"]
)
def test_what_only_looks_like_an_emergency_number_is_asked_about(callee: str) -> None:
    assert asked(server().receive(invite(callee=callee), PEER, 0.0, TS))


def test_every_spelling_that_numbering_knows_is_known_here() -> None:
    numbering = Numbering(load_dial_plan(DIAL_PLAN))
    before = ["", "+", "7", "+7", "8", "810", "8~10", "00", "8107", "007", "727", "7172", "71030", "77273"]
    before += [f"{prefix}{area}" for prefix in ("7", "+7", "8", "8107", "007") for area in ("727", "7172", "71030")]
    codes = ["101", "102", "103", "104", "112", "911", "01", "02", "03", "04"]
    known = [text for prefix in before for code in codes if numbering.facts(text := prefix + code).emergency]
    assert len(known) > 100
    redirect = server()
    assert [text for text in known if "redirect.emergency" not in counted(redirect.receive(
        invite(callee=text, call_id=text, branch=f"z9hG4bK{text}"), PEER, 0.0, TS
    ))] == []  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"From: <sip:", b'From: "odd <sip:'),
        (b"Max-Forwards: 70", b"Max-Forwards: 0"),
        (b"Max-Forwards: 70", b"Max-Forwards: many"),
        (b"SIP/2.0\r\nVia", b"SIP/2.7\r\nVia"),
        (b"Max-Forwards: 70", b"no header at all"),
        (b"CSeq: 1 INVITE", b"CSeq: one INVITE"),
        (b"112@203.0.113.5 SIP", b"112@203.0.113.5?a=b SIP"),
    ],
)
def test_a_malformed_invite_to_an_emergency_number_goes_on(old: bytes, new: bytes) -> None:
    good = invite(callee="112")
    assert old in good
    raw = good.replace(old, new, 1)
    actions = server().receive(raw, PEER, 0.0, TS)
    (answer,) = sent_lines(actions)
    assert answer == b"SIP/2.0 404 Not Found"
    assert {"redirect.emergency", "redirect.malformed"} <= set(counted(actions))
    assert [action for action in actions if isinstance(action, Put)]
    honest = server().receive(raw.replace(b"sip:112@", b"sip:+77000000002@"), PEER, 0.0, TS)
    assert sent_lines(honest) != [answer]


def test_the_list_of_emergency_numbers_is_configuration() -> None:
    assert server(emergency=["999"]).receive(invite(callee="999"), PEER, 0.0, TS)[0] == Count("redirect.emergency")
    assert asked(server(emergency=["999"]).receive(invite(callee="112"), PEER, 0.0, TS))


def test_a_full_table_lets_calls_go_on_and_recovers() -> None:
    redirect = server(max_pending=2)
    raws = good_invites(3)
    ask(redirect, raws[0])
    ask(redirect, raws[1])
    actions = redirect.receive(raws[2], PEER, 0.0, TS)
    (answer,) = sent(actions)
    assert (answer.status, answer.first("x-antifraud-verdict"), asked(actions)) == (404, "none", [])
    assert "redirect.full" in counted(actions)
    (record,) = [action.event for action in actions if isinstance(action, Record)]
    assert (record.reply, record.deadline_ms) == ("", 0)
    assert redirect.pending == 2
    redirect.tick(0.15)
    assert asked(redirect.receive(raws[2], PEER, 0.2, TS))


def test_answered_transactions_give_way_to_new_ones() -> None:
    redirect = server(max_pending=2)
    for at in range(100):
        event = ask(redirect, invite(call_id=f"c{at}", branch=f"z9hG4bK{at}"))
        redirect.decide(event.call_id, Reply(verdict="allow"), 0.0)
    assert redirect.kept == 16
    redirect.tick(100.0)
    assert (redirect.kept, redirect.next_wake()) == (0, None)


def test_the_same_call_over_two_branches_is_asked_once_and_answered_twice() -> None:
    redirect = server()
    event = ask(redirect)
    second = redirect.receive(invite(branch="z9hG4bK-other"), PEER, 0.01, TS)
    assert asked(second) == []
    answers = sent(redirect.decide(event.call_id, Reply(verdict="block"), 0.02))
    assert [(answer.status, answer.via.branch) for answer in answers] == [
        (608, "z9hG4bK-sample-1"),
        (608, "z9hG4bK-other"),
    ]


def test_nobody_borrows_another_calls_verdict() -> None:
    redirect = server()
    first = ask(redirect)
    thief = ask(redirect, invite(caller="+77000000666", branch="z9hG4bK-thief"))
    assert thief.call_id != first.call_id
    assert [m.status for m in sent(redirect.decide(first.call_id, Reply(verdict="allow"), 0.01))] == [404]
    assert [m.status for m in sent(redirect.decide(thief.call_id, Reply(verdict="block"), 0.01))] == [608]


def cancelled(redirect: Redirect, now: float = 0.001) -> None:
    assert [m.status for m in sent(redirect.receive(request("CANCEL"), PEER, now, TS))] == [200, 487]


def test_nobody_borrows_the_verdict_on_a_cancelled_call() -> None:
    redirect = server()
    first = ask(redirect)
    cancelled(redirect)
    thief = ask(redirect, invite(caller="+77000000666", branch="z9hG4bK-thief"), now=0.002)
    assert thief.call_id != first.call_id
    assert redirect.decide(first.call_id, Reply(verdict="allow"), 0.003) == []
    assert [m.status for m in sent(redirect.decide(thief.call_id, Reply(verdict="block"), 0.01))] == [608]


def test_nobody_borrows_the_verdict_on_a_call_whose_deadline_has_passed() -> None:
    redirect = server()
    first = ask(redirect)
    redirect.tick(0.15)
    thief = ask(redirect, invite(caller="+77000000666", branch="z9hG4bK-thief"), now=0.16)
    assert thief.call_id != first.call_id


def test_nobody_borrows_the_second_verdict_on_a_call_that_was_asked_about_twice() -> None:
    redirect = server()
    first = ask(redirect)
    cancelled(redirect)
    again = ask(redirect, invite(branch="z9hG4bK-again"), now=0.002)
    assert again.call_id == first.call_id
    assert [m.status for m in sent(redirect.decide(first.call_id, Reply(verdict="allow"), 0.003))] == [404]
    thief = ask(redirect, invite(caller="+77000000666", branch="z9hG4bK-thief"), now=0.004)
    assert thief.call_id != first.call_id


def test_a_withdrawn_question_is_remembered_for_a_while_and_not_for_ever() -> None:
    redirect = server(max_pending=2)
    first = ask(redirect)
    cancelled(redirect)
    late = ask(redirect, invite(caller="+77000000666", branch="z9hG4bK-late"), now=60.0)
    assert late.call_id == first.call_id
    for at in range(50):
        ask(redirect, invite(call_id=f"c{at}", branch=f"z9hG4bK{at}"), now=61.0 + at)
        redirect.tick(61.5 + at)
    assert redirect.remembered <= 16


def test_the_id_of_a_renamed_question_cannot_be_guessed_and_is_not_believed() -> None:
    """Whoever sends a Call-ID that looks like a renamed one gets no verdict of the call that is so renamed."""
    redirect, other = server(), Redirect(read_options(OPTIONS), secret=b"another secret", reply="r")
    fraud = invite(caller="+77000000666", branch="z9hG4bK-fraud")
    names = []
    for one in (redirect, other):
        ask(one)
        names.append(ask(one, fraud).call_id)
    assert names[0] != names[1]
    fresh = server()
    bait = ask(fresh, invite(caller="+77000000777", call_id=names[0], branch="z9hG4bK-bait"))
    ask(fresh)
    assert ask(fresh, fraud).call_id not in (bait.call_id, "sample-1@192.0.2.10")


def test_cancelling_one_branch_leaves_the_other_waiting() -> None:
    redirect = server()
    event = ask(redirect)
    redirect.receive(invite(branch="z9hG4bK-other"), PEER, 0.01, TS)
    actions = redirect.receive(request("CANCEL", branch="z9hG4bK-other"), PEER, 0.02, TS)
    assert not [action for action in actions if isinstance(action, Withdraw)]
    assert [m.status for m in sent(redirect.decide(event.call_id, Reply(verdict="block"), 0.03))] == [608]


def test_answers_go_to_where_the_question_came_from() -> None:
    redirect = server()
    forged = invite(via="203.0.113.99:5099").replace(b";rport", b";maddr=203.0.113.98")
    redirect.receive(forged, ("198.51.100.1", 4444), 0.0, TS)
    (action,) = [a for a in redirect.tick(0.2) if isinstance(a, Send)]
    assert action.address == ("198.51.100.1", 5099)
    assert b";received=198.51.100.1\r\n" in action.data
    redirect.receive(invite(branch="z9hG4bKr"), ("198.51.100.1", 4444), 1.0, TS)
    (action,) = [a for a in redirect.tick(1.2) if isinstance(a, Send) and b"z9hG4bKr" in a.data]
    assert action.address == ("198.51.100.1", 4444)


@pytest.mark.parametrize(
    ("options", "raw", "trunk"),
    [
        ({"trunk": "fixed"}, invite(), "fixed"),
        ({"trunk": "fixed", "trunk_by_source": {"192.0.2.0/24": "net", "192.0.2.10": "host"}}, invite(), "host"),
        ({"trunk_by_source": {"198.51.100.0/24": "net"}, "trunk": "fixed"}, invite(), "fixed"),
        ({"trunk_param": "tgrp"}, invite().replace(b"0002@203.0.113.5 SIP", b"0002;tgrp=in-7@203.0.113.5 SIP"), "in-7"),
        ({"trunk_param": "OTG"}, invite().replace(b"@203.0.113.5 SIP", b"@203.0.113.5;otg=in-8 SIP"), "in-8"),
        ({"headers": {"trunk": "X-Trunk"}, "trunk": "fixed"}, invite(extra=["x-trunk: h-1"]), "h-1"),
        ({"trusted_headers": True}, invite(extra=["X-Antifraud-Trunk: " + "t" * 99]), "t" * 64),
        ({}, invite(extra=["X-Antifraud-Trunk: forged"]), ""),
    ],
)
def test_where_the_trunk_comes_from(options: Mapping[str, Any], raw: bytes, trunk: str) -> None:
    assert ask(server(**options), raw).trunk == trunk


def test_a_trusted_switch_hands_over_what_it_knows() -> None:
    raw = invite(extra=["X-Antifraud-Switch: sw-2", "X-Antifraud-Roaming: yes", "X-Antifraud-Imsi: 401010000000001"])
    event = ask(server(trusted_headers="true"), raw)
    assert (event.switch, event.roaming, event.imsi) == ("sw-2", True, "401010000000001")
    assert ask(server(trusted_headers=True), invite(extra=["X-Antifraud-Roaming: perhaps"])).roaming is None


def test_strangers_are_not_answered() -> None:
    redirect = server(peers=["198.51.100.0/24", "2001:db8::/32"])
    assert redirect.receive(invite(), PEER, 0.0, TS) == [Count("redirect.stranger")]
    assert asked(redirect.receive(invite(), ("2001:db8::7", 5060), 0.0, TS))


def test_eight_kilobytes_of_user_agent_cost_no_verdict() -> None:
    assert len(ask(server(), invite(extra=["User-Agent: " + "A" * 8_192])).user_agent) == 256
