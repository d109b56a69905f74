"""What Kamailio does with each verdict, and with replies that are damaged, hostile or late."""

from __future__ import annotations

import time

import pytest

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import Reply
from tests.e2e.conftest import PATIENT, Build, Rig
from tests.e2e.processes import ScriptedEngine, SipClient

pytestmark = pytest.mark.needs("redis", "kamailio")

CALLEE = b"77000000002"
PASSED = 486
"""What the next hop answers: the call got through to it."""


def header_lines(invite: bytes, name: bytes) -> list[bytes]:
    """The values of a header in a raw message, in order."""
    lines = invite.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return [line.partition(b":")[2].strip() for line in lines if line.lower().startswith(name.lower() + b":")]


def test_allow_goes_on_to_the_next_hop(patient: Rig) -> None:
    seen = len(patient.next_hop.invites)
    with ScriptedEngine(patient.redis, lambda event: Reply("allow", call_id=event.call_id, decision="d-1")):
        answer = patient.client.invite(CALLEE)
    assert answer.status == PASSED
    assert len(patient.next_hop.invites) == seen + 1
    assert header_lines(patient.next_hop.invites[-1], b"X-Antifraud-Label") == []


def test_the_event_says_who_called_whom_and_where_the_answer_goes(trusting: Rig) -> None:
    before = time.time()
    with ScriptedEngine(trusting.redis, lambda event: Reply("allow", call_id=event.call_id)):
        trusting.client.invite(
            CALLEE,
            call_id=b"who@whom",
            from_=b'"Bank" <sip:+77000000007;cpc=ordinary@example.test>',
            headers={
                b"User-Agent": b"Softswitch 1.0",
                b"P-Asserted-Identity": b"<tel:+77000000008>",
                b"Diversion": b"<sip:+77000000009@example.test>;reason=unconditional",
                b"Privacy": b"id",
                b"Identity": b"eyJhbGciOiJFUzI1NiJ9.e30.c2ln;info=<https://cert.example.test/c.pem>;alg=ES256;ppt=shaken",
            },
        )
    event = trusting.redis.calls()[-1]
    assert before - 1 < event.ts < time.time() + 1
    assert event.reply.startswith("af:{kz}:reply:kamailio:")
    assert event == CallEvent(
        kind=EventKind.SETUP,
        call_id="who@whom",
        ts=event.ts,
        source="kamailio",
        switch="kamailio",
        trunk="example",
        caller_raw="+77000000007",
        callee_raw="77000000002",
        asserted="+77000000008",
        diversion="+77000000009",
        privacy="id",
        identity="eyJhbGciOiJFUzI1NiJ9.e30.c2ln;info=<https://cert.example.test/c.pem>;alg=ES256;ppt=shaken",
        src_ip="127.0.0.1",
        transport="udp",
        user_agent="Softswitch 1.0",
        reply=event.reply,
        deadline_ms=4000,
    )


def asserted_by(rig: Rig, client: SipClient) -> str:
    """What the engine is told when ``client`` sends a P-Asserted-Identity of another number than its From."""
    with ScriptedEngine(rig.redis, lambda event: Reply("allow", call_id=event.call_id)):
        client.invite(CALLEE, headers={b"P-Asserted-Identity": b"<sip:+77000000008@example.test>"})
    event = rig.redis.calls()[-1]
    assert event.caller_raw == "+77000000001"
    return event.asserted


def test_nobody_is_believed_who_was_not_named_as_trusted(patient: Rig) -> None:
    assert asserted_by(patient, patient.client) == ""


def test_only_the_trusted_peer_is_believed(rig: Build) -> None:
    """One worker, so that a call would find whatever the call before it left behind."""
    defines = {"WORKERS": "1", "ANTIFRAUD_MAX_WAITING": "1", "TRUSTED_PEER": '"127.0.0.2"'}
    switch = rig(defines={**PATIENT, **defines})
    with SipClient(switch.switch.port, "127.0.0.2") as peer:
        assert asserted_by(switch, switch.client) == ""
        assert asserted_by(switch, peer) == "+77000000008"
        assert asserted_by(switch, switch.client) == ""


def test_where_all_are_trusted_one_peer_may_be_excepted(rig: Build) -> None:
    defines = {"ANTIFRAUD_TRUST_ASSERTED": "1", "TRUSTED_PEER": '"127.0.0.1"'}
    switch = rig(defines={**PATIENT, **defines})
    with SipClient(switch.switch.port, "127.0.0.2") as stranger:
        assert asserted_by(switch, stranger) == ""
        assert asserted_by(switch, switch.client) == "+77000000008"


@pytest.mark.parametrize(
    ("code", "status", "phrase"),
    [
        (608, 608, "Rejected"),
        (603, 603, "Network Blocked"),
        (607, 607, "Unwanted"),
        (0, 608, "Rejected"),
        (200, 608, "Rejected"),
    ],
)
def test_block_refuses_with_the_code_of_the_reply(patient: Rig, code: int, status: int, phrase: str) -> None:
    seen = len(patient.next_hop.invites)
    reply = Reply("block", decision="d-2", sip_code=code, text="сорок абонентов за десять минут")
    with ScriptedEngine(patient.redis, lambda event: reply):
        answer = patient.client.invite(CALLEE)
    assert (answer.status, answer.phrase) == (status, phrase)
    reasons = [value.decode() for name, value in answer.headers if name == "Reason"]
    assert reasons == [f'SIP;cause={status};text="сорок абонентов за десять минут"', "Q.850;cause=21"]
    assert len(patient.next_hop.invites) == seen


def test_label_marks_the_call_for_the_switches_behind(patient: Rig) -> None:
    with ScriptedEngine(patient.redis, lambda event: Reply("label", label="Возможно, мошенники")):
        answer = patient.client.invite(CALLEE)
    assert answer.status == PASSED
    assert header_lines(patient.next_hop.invites[-1], b"X-Antifraud-Label") == ["Возможно, мошенники".encode()]


def test_a_caller_cannot_label_or_clear_himself(patient: Rig) -> None:
    with ScriptedEngine(patient.redis, lambda event: Reply("allow")):
        patient.client.invite(
            CALLEE,
            headers={b"X-Antifraud-Label": b"verified bank", b"x-antifraud-diverted": b"1", b"X-Other": b"stays"},
        )
    invite = patient.next_hop.invites[-1]
    assert header_lines(invite, b"X-Antifraud-Label") == []
    assert header_lines(invite, b"X-Antifraud-Diverted") == []
    assert header_lines(invite, b"X-Other") == [b"stays"]


@pytest.mark.parametrize("verdict", ["divert", "challenge"])
def test_divert_takes_the_call_to_the_target(patient: Rig, verdict: str) -> None:
    target = f"sip:desk@127.0.0.1:{patient.next_hop.port}"
    with ScriptedEngine(patient.redis, lambda event: Reply(verdict, target=target)):
        answer = patient.client.invite(CALLEE)
    assert answer.status == PASSED
    invite = patient.next_hop.invites[-1]
    assert invite.startswith(f"INVITE {target} SIP/2.0\r\n".encode())
    original = f"<sip:{CALLEE.decode()}@127.0.0.1:{patient.switch.port}>;reason=deflection"
    assert header_lines(invite, b"Diversion") == [original.encode()]


@pytest.mark.parametrize(
    "target",
    [
        "",
        "desk",
        "tel:+77000000003",
        "sip:desk@host\r\nX-Evil: 1",
        "sip:desk@host>;x=<y",
        "sip:desk@ho st",
        "sip:%0d%0a@host",
        "sip:desk@host?Subject=x",
    ],
)
def test_where_there_is_no_usable_target_the_callee_is_warned(patient: Rig, target: str) -> None:
    with ScriptedEngine(patient.redis, lambda event: Reply("divert", target=target, text="chain of calls")):
        answer = patient.client.invite(CALLEE)
    assert answer.status == PASSED
    invite = patient.next_hop.invites[-1]
    assert invite.startswith(b"INVITE sip:" + CALLEE + b"@")
    assert header_lines(invite, b"X-Antifraud-Label") == [b"chain of calls"]


def test_text_cannot_break_out_of_its_header(patient: Rig) -> None:
    evil = 'he said "no"\\\r\nX-Evil: 1\r\n\r\nINVITE \x00\x01\x7f sip:x'
    with ScriptedEngine(patient.redis, lambda event: Reply("block", sip_code=608, text=evil)):
        answer = patient.client.invite(CALLEE)
    assert answer.status == 608
    assert answer.header("X-Evil") is None
    reason = answer.header("Reason")
    assert reason is not None
    assert reason.startswith('SIP;cause=608;text="he said  no ')
    assert reason.count('"') == 2
    assert "\\" not in reason
    with ScriptedEngine(patient.redis, lambda event: Reply("label", label="x\r\nX-Evil: 1")):
        patient.client.invite(CALLEE)
    invite = patient.next_hop.invites[-1]
    assert header_lines(invite, b"X-Antifraud-Label") == [b"x  X-Evil: 1"]
    assert header_lines(invite, b"X-Evil") == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"{",
        b"[]",
        b'{"verdict":null}',
        b'{"verdict":["block"]}',
        b'{"verdict":"destroy"}',
        b"{}",
        b"\xff\x00",
    ],
)
def test_a_reply_that_cannot_be_read_lets_the_call_pass(patient: Rig, raw: bytes) -> None:
    with ScriptedEngine(patient.redis, lambda event: raw):
        assert patient.client.invite(CALLEE).status == PASSED
    with ScriptedEngine(patient.redis, lambda event: Reply("block", sip_code=608)):
        assert patient.client.invite(CALLEE).status == 608


@pytest.mark.parametrize(
    ("callee", "uri"),
    [
        *(
            (number, None)
            for number in (
                b"112",
                b"101",
                b"102",
                b"103",
                b"104",
                b"01",
                b"+7112",
                b"7112",
                b"8112",
                b"8727112",
                b"87172112",
                b"8107112",
                b"00112",
                b"911",
            )
        ),
        (b"1-1-2", None),
        (b"%31%312", None),
        (b"112;phone-context=+7", None),
        (b"", b"tel:112"),
        (b"", b"urn:service:sos"),
        (b"", b"urn:service:sos.police"),
    ],
)
def test_an_emergency_call_asks_nobody(patient: Rig, callee: bytes, uri: bytes | None) -> None:
    own = ("info", "hello", "client|setinfo", "xrange", "xlen")
    entries = len(patient.redis.calls())
    before = patient.redis.command_counts()
    answer = patient.client.invite(callee, uri=uri, headers={b"X-Antifraud-Label": b"untouched"})
    after = patient.redis.command_counts()
    assert answer.status == PASSED
    assert {name: after[name] - before.get(name, 0) for name in after if name not in own} == dict.fromkeys(
        (name for name in after if name not in own), 0
    )
    assert len(patient.redis.calls()) == entries
    assert header_lines(patient.next_hop.invites[-1], b"X-Antifraud-Label") == [b"untouched"]


@pytest.mark.parametrize("callee", [b"77001120112", b"1120", b"01123", b"+71121", b"77112"])
def test_a_number_that_only_looks_like_an_emergency_is_judged(patient: Rig, callee: bytes) -> None:
    with ScriptedEngine(patient.redis, lambda event: Reply("block", sip_code=608)):
        assert patient.client.invite(callee).status == 608


def test_a_late_verdict_is_never_taken_for_the_next_call(rig: Build) -> None:
    """One worker, so that the next call has the same connection; the first verdict comes after its deadline."""
    switch = rig(defines={"WORKERS": "1", "ANTIFRAUD_DEADLINE_MS": "300", "ANTIFRAUD_MAX_WAITING": "1"})

    def script(event: CallEvent) -> Reply | None:
        if event.callee_raw == "77000000003":
            time.sleep(0.6)
            return Reply("block", sip_code=608, text="late")
        return Reply("label", label=event.callee_raw)

    with ScriptedEngine(switch.redis, script):
        assert switch.client.invite(b"77000000003").status == PASSED
        labels = []
        for number in range(20, 30):
            assert switch.client.invite(b"770000000%d" % number).status == PASSED
            labels += header_lines(switch.next_hop.invites[-1], b"X-Antifraud-Label")
            time.sleep(0.1)
    # Calls that waited while the engine slept go unlabelled; no call ever gets the verdict of another one.
    assert labels
    assert labels == [b"770000000%d" % number for number in range(30 - len(labels), 30)]


def test_the_desk_hands_calls_back_with_its_secret_mark_only(rig: Build) -> None:
    switch = rig(defines={**PATIENT, "ANTIFRAUD_LOOP_SECRET": '"s3cret-mark"'})
    target = f"sip:desk@127.0.0.1:{switch.next_hop.port}"
    with ScriptedEngine(switch.redis, lambda event: Reply("divert", target=target)):
        switch.client.invite(CALLEE)
        assert header_lines(switch.next_hop.invites[-1], b"X-Antifraud-Diverted") == [b"s3cret-mark"]
        switch.client.invite(CALLEE, headers={b"X-Antifraud-Diverted": b"s3cret-mark"})
        back = switch.next_hop.invites[-1]
        assert back.startswith(b"INVITE sip:" + CALLEE)
        assert header_lines(back, b"X-Antifraud-Diverted") == []
        switch.client.invite(CALLEE, headers={b"X-Antifraud-Diverted": b"guess"})
        assert switch.next_hop.invites[-1].startswith(b"INVITE " + target.encode())
    assert len(switch.redis.calls()) == 2


def test_divert_as_a_redirection(rig: Build) -> None:
    switch = rig(defines={**PATIENT, "ANTIFRAUD_REDIRECT": "1", "ANTIFRAUD_HIDE_REASON": "1"})
    with ScriptedEngine(switch.redis, lambda event: Reply("divert", target="sips:desk@desk.example.test:5061")):
        answer = switch.client.invite(CALLEE)
    assert (answer.status, answer.phrase) == (302, "Moved Temporarily")
    assert answer.header("Contact") == "<sips:desk@desk.example.test:5061>"
    with ScriptedEngine(switch.redis, lambda event: Reply("block", sip_code=608, decision="d-9", text="tell-tale")):
        answer = switch.client.invite(CALLEE)
    assert answer.header("Reason") == 'SIP;cause=608;text="decision d-9"'
    assert switch.next_hop.invites == []
