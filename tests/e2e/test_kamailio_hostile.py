"""Headers that attackers write: the event arrives as it was sent, and Redis runs nothing but what the switch meant."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from antifraud.domain import CallEvent, check_event
from antifraud.queues import Reply
from tests.e2e.conftest import Rig
from tests.e2e.processes import ScriptedEngine

pytestmark = pytest.mark.needs("redis", "kamailio")

CALLEE = b"77000000002"
SWITCH_COMMANDS = {"xadd", "lpop", "auth", "ping", "select"}
TEST_COMMANDS = {
    "info",
    "hello",
    "client|setinfo",
    "config|resetstat",
    "xread",
    "xrange",
    "xrevrange",
    "rpush",
    "pexpire",
}


@contextmanager
def nothing_but_its_own_commands(rig: Rig, calls: int) -> Iterator[None]:
    """Assert that meanwhile the switch appended ``calls`` entries and ran no command that is not its own."""
    before = rig.redis.command_counts()
    yield
    after = rig.redis.command_counts()
    run = {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
    assert set(run) <= SWITCH_COMMANDS | TEST_COMMANDS
    assert run["xadd"] == calls
    with rig.redis.client() as client:
        keys = {key for key in client.keys("*") if not key.startswith(b"af:{kz}:reply:kamailio:")}
        assert keys == {b"af:{kz}:calls"}


def as_decoded(raw: bytes) -> str:
    """What the protocol makes of raw bytes: UTF-8 with replacement, unprintable characters as spaces."""
    text = raw.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text)


def judged(rig: Rig, **call: object) -> CallEvent:
    """Place one call that the engine blocks; it must be blocked, as the one new entry of the log, which is returned."""
    seen = len(rig.redis.calls())
    with ScriptedEngine(rig.redis, lambda event: Reply("block", call_id=event.call_id, sip_code=608)):
        answer = rig.client.invite(CALLEE, **call)  # type: ignore[arg-type]
    assert answer.status == 608
    events = rig.redis.calls()
    assert len(events) == seen + 1
    event = events[-1]
    assert check_event(event).kind is event.kind
    assert (event.switch, event.trunk, event.source) == ("kamailio", "example", "kamailio")
    return event


USER_AGENTS = {
    "spaces": b"a  b   c",
    "quotes": b'"a" \'b\' `c` \\" \\',
    "percent": b"%s %n %b %x %d %% %25 %00 %0d%0a %",
    "form": b"x&call_id=evil&kind=release&reply=af:{kz}:calls;y=z+w",
    "redis": b"x\tXADD af:{kz}:calls * kind setup *3 $3 SET",
    "pseudo-variables": b"$ru $var(af_q) $(ua{s.len}) $$ #!define",
    "controls": bytes(range(1, 9)) + b"\x0b\x0c" + bytes(range(14, 32)) + b"\x7f.",
    "nul": b"before\x00after",
    "not utf-8": b"\xff\xfe\xc3\x28\xed\xa0\x80 caf\xe9",
    "utf-8": "Қазақстан ☎".encode(),
    "eight kilobytes": b"A%" * 4096,
    "eight kilobytes of controls": b"\x01%&" * 2731,
}


@pytest.mark.parametrize("value", USER_AGENTS.values(), ids=USER_AGENTS.keys())
def test_a_user_agent_arrives_as_it_was_sent(patient: Rig, value: bytes) -> None:
    with nothing_but_its_own_commands(patient, calls=1):
        event = judged(patient, headers={b"User-Agent": value})
    assert event.user_agent[:256] == as_decoded(value)[:256]


def test_a_folded_header_stays_one_value(patient: Rig) -> None:
    folded = b"one\r\n  FLUSHALL\r\n\tXADD af:{kz}:calls * q kind=setup"
    with nothing_but_its_own_commands(patient, calls=1):
        event = judged(patient, headers={b"User-Agent": folded, b"Subject": b"x\r\n\tFLUSHALL"})
    assert event.user_agent == as_decoded(folded)


def test_a_bare_line_end_splits_a_header_and_nothing_more(patient: Rig) -> None:
    """A lone LF ends a header line for Kamailio too; what follows is another header, not another command."""
    with nothing_but_its_own_commands(patient, calls=1):
        event = judged(patient, headers={b"User-Agent": b"one\nX-Two: SET a b\nX-Three: *1"})
    assert event.user_agent == "one"


@pytest.mark.parametrize(
    "call_id",
    [b"plain@host", b'a&b=c%s"\\%25+;@h', b"call_id=evil&kind=report", "ид@хост".encode(), b"x" * 250],
    ids=["plain", "punctuation", "form", "utf-8", "longest"],
)
def test_a_call_id_arrives_as_it_was_sent(patient: Rig, call_id: bytes) -> None:
    assert judged(patient, call_id=call_id).call_id == as_decoded(call_id)


def test_an_endless_call_id_is_cut_and_stays_unique(patient: Rig) -> None:
    one = judged(patient, call_id=b"y" * 2000 + b"1").call_id
    two = judged(patient, call_id=b"y" * 2000 + b"2").call_id
    assert one != two
    assert one.startswith("y" * 200 + "~")
    assert len(one) == len(two) == 233


def test_every_hostile_header_at_once_still_fits(trusting: Rig) -> None:
    """The worst case of every field together stays within what Kamailio hands to a module."""
    worst = b"%\xff" * 2000
    with nothing_but_its_own_commands(trusting, calls=1):
        event = judged(
            trusting,
            call_id=b"%" * 250,
            from_=b'"x" <sip:' + b"%25" * 400 + b"@example.test>",
            headers={
                b"User-Agent": worst,
                b"Diversion": b"<sip:" + b"%00" * 400 + b"@example.test>",
                b"Privacy": worst,
                b"Identity": worst,
                b"P-Asserted-Identity": b"<sip:" + b"%25" * 400 + b"@example.test>",
            },
        )
    assert event.call_id == "%" * 250
    assert event.caller_raw == "%" * 256
    assert event.asserted == "%" * 256
    assert event.diversion == ("%00" * 400)[:256]
    assert event.user_agent.startswith("%\ufffd%\ufffd")
    assert event.identity == ""


def test_a_long_but_honest_identity_arrives_whole(patient: Rig) -> None:
    identity = (
        b"eyJhbGciOiJFUzI1NiJ9." + b"QUJDREVGR0g" * 300 + b".c2ln;info=<https://cert.example.test/c.pem>;ppt=shaken"
    )
    assert judged(patient, headers={b"Identity": identity}).identity == identity.decode()


@pytest.mark.parametrize(
    "identity",
    [b"@@@<<>", b"<sip:>", b'"unbalanced <sip:+77000000001@h>', b"<sip:%zz%00@h>", b"", b"\xff\x00"],
)
def test_a_broken_asserted_identity_costs_no_call_its_verdict(trusting: Rig, identity: bytes) -> None:
    event = judged(trusting, headers={b"P-Asserted-Identity": identity})
    assert event.caller_raw == "+77000000001"


@pytest.mark.parametrize(
    "headers",
    [
        {b"P-Asserted-Identity": b"<sip:112@example.test>"},
        {b"p-asserted-identity": b"<tel:+77170000009>, <sip:112@example.test>"},
        {b"P-Asserted-Identity": b"<tel:112>", b"antifraud_trusted": b"1", b"X-Antifraud-Trusted": b"1"},
    ],
    ids=["emergency", "two", "with a claim to be trusted"],
)
def test_a_caller_cannot_choose_the_number_that_is_judged(patient: Rig, headers: dict[bytes, bytes]) -> None:
    event = judged(patient, headers=headers)
    assert (event.caller_raw, event.asserted) == ("+77000000001", "")


def test_a_call_to_nobody_in_particular_is_judged_too(patient: Rig) -> None:
    uri = b"sip:127.0.0.1:%d" % patient.switch.port
    assert judged(patient, uri=uri).callee_raw == uri.decode()
    assert judged(patient, uri=uri, to=b"<sip:+77000000004@example.test>").callee_raw == "+77000000004"


@pytest.mark.parametrize("caller", [b"%2B77000000001", b"+77000000001;isub=1", b"+7700000000%31"])
def test_a_caller_cannot_hide_behind_escapes(patient: Rig, caller: bytes) -> None:
    assert judged(patient, from_=b"<sip:%s@example.test>" % caller).caller_raw == "+77000000001"


@pytest.mark.parametrize(
    ("callee", "decoded"),
    [
        (b"%37%37000000002", "77000000002"),
        (b"%00%0d%0a77", "%00%0d%0a77"),
        (b"77%zz", "77%zz"),
        (b"7" * 900, "7" * 256),
    ],
)
def test_an_escaped_called_number_is_read_where_the_escapes_are_sound(
    patient: Rig, callee: bytes, decoded: str
) -> None:
    assert judged(patient, uri=b"sip:%s@127.0.0.1:%d" % (callee, patient.switch.port)).callee_raw == decoded


def test_random_bytes_in_every_header(patient: Rig) -> None:
    """Forty calls whose headers hold whatever bytes: each is one event, each gets its verdict."""
    dice = random.Random(20260723)

    def noise() -> bytes:
        return bytes(
            dice.choice([byte for byte in range(256) if byte not in b"\r\n"]) for _ in range(dice.randint(1, 300))
        )

    with nothing_but_its_own_commands(patient, calls=40):
        for _ in range(40):
            value = b"x" + noise() + b"x"
            event = judged(
                patient, headers={b"User-Agent": value, b"Identity": b"x" + noise(), b"Privacy": b"x" + noise()}
            )
            assert (
                event.user_agent[:200] == as_decoded(value)[:200]
            )  # the cut at 256 bytes may fall before 256 characters
    assert patient.switch.running
