"""Starter packs through the real path: events are normalised, folded and decided, and the drafts are in shadow.

The tests in the rule files give values; here numbering, windows and the SIP parser make them.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from antifraud.decision import Decider, load_bundle
from antifraud.domain import CallEvent, Decision, EventKind
from antifraud.numbering import Numbering, load_dial_plan
from antifraud.settings import load_settings
from sip_adapters.sip.event import invite_event
from sip_adapters.sip.message import parse

ROOT = Path(__file__).parents[3]
AT = 1_768_719_600.0
"""Sunday, 2026-01-18 12:00 in Kazakhstan."""

INVITE = """\
INVITE sip:+77170000002@callee.example SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK-1
Max-Forwards: 70
From: <sip:{caller}@caller.example>;tag=1
To: <sip:+77170000002@callee.example>
Call-ID: {call_id}
CSeq: 1 INVITE
Contact: <sip:192.0.2.7>
{more}Content-Length: 0

"""


def in_shadow(folder: Path, packs: Iterable[str]) -> Path:
    """A copy of the rules in which the drafts of ``packs`` are evaluated."""
    shutil.copytree(ROOT / "rules", folder)
    (folder / "rules.lock").unlink()
    for pack in packs:
        for path in (folder / "packs" / pack).glob("*.yaml"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("  stage: draft\n", "  stage: shadow\n"), encoding="utf-8")
    return folder


def decider_of(rules: Path) -> Decider:
    settings = load_settings(ROOT / "config", env={}, overrides={"model": None})
    numbering = Numbering(load_dial_plan(settings.dial_plan_path))
    return Decider(load_bundle(rules, settings.utc_offset_min), settings.policy(), numbering)


@pytest.fixture(scope="module")
def decider(tmp_path_factory: pytest.TempPathFactory) -> Decider:
    """One for all: the tests keep to callers of their own."""
    folder = tmp_path_factory.mktemp("packs") / "rules"
    return decider_of(in_shadow(folder, ("stir", "sip-abuse", "irsf-pbx", "robocall")))


def hit(decision: Decision) -> set[str]:
    return {reason.by.removeprefix("rule:") for reason in decision.reasons}


def calls(caller: str, callees: Iterable[str], trunk: str, gap: float = 20.0, **ended: object) -> list[CallEvent]:
    """One call after another, each with its release."""
    events = []
    for number, callee in enumerate(callees):
        setup = CallEvent(
            kind=EventKind.SETUP, call_id=f"{caller}-{number}", ts=AT + gap * number, switch="sw-kz-75", trunk=trunk,
            src_ip="192.0.2.7", caller_raw=caller, callee_raw=callee,
        )  # fmt: skip
        release = {"kind": EventKind.RELEASE, "ts": setup.ts + gap / 2, "talk_s": 0.0, "ring_s": 1.0, **ended}
        fields = {name: getattr(setup, name) for name in setup.__struct_fields__}
        events += [setup, CallEvent(**{**fields, **release})]
    return events


# Protection


def test_what_comes_on_a_trunk_of_a_dispatch_centre_is_protected(tmp_path: Path) -> None:
    rules = in_shadow(tmp_path / "rules", ())
    forged = CallEvent(
        kind=EventKind.SETUP, call_id="1", ts=AT, switch="sw-kz-75", trunk="sub-dispatch-1", caller_raw="103",
        callee_raw="+77170000002", user_agent="friendly-scanner",
    )  # fmt: skip
    (decision,) = decider_of(rules).decide([forged])
    assert (decision.full_verdict, decision.protected) == ("block", False)
    path = rules / "lists/dispatch_trunks.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("entries: []", "entries: [sub-dispatch-1]"), "utf-8")
    (decision,) = decider_of(rules).decide([forged])
    assert (decision.full_verdict, decision.protected) == ("allow", True)
    assert hit(decision) == {"list:dispatch_trunks"}


@pytest.mark.parametrize("number", ["112", "101", "102", "103", "104", "109", "111", "150", "1414", "1424"])
def test_emergency_and_state_numbers_are_reached_by_anybody(decider: Decider, number: str) -> None:
    call = CallEvent(
        kind=EventKind.SETUP, call_id=number, ts=AT, switch="sw-kz-75", trunk="sub-1", caller_raw="+77010000001",
        callee_raw=number, user_agent="friendly-scanner",
    )  # fmt: skip
    (decision,) = decider.decide([call])
    assert (decision.full_verdict, decision.protected) == ("allow", True)


def test_a_hospital_that_the_operator_has_entered_is_reached_by_anybody(tmp_path: Path) -> None:
    rules = in_shadow(tmp_path / "rules", ())
    path = rules / "lists/hospitals_and_banks.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("entries: []", 'entries: ["+7 717 000 0009"]'), "utf-8")
    call = CallEvent(
        kind=EventKind.SETUP, call_id="1", ts=AT, switch="sw-kz-75", trunk="sub-1", caller_raw="+77010000001",
        callee_raw="87170000009", user_agent="friendly-scanner",
    )  # fmt: skip
    (decision,) = decider_of(rules).decide([call])
    assert (decision.full_verdict, decision.protected) == ("allow", True)
    assert hit(decision) == {"list:hospitals_and_banks"}


# Signatures and identities, as a SIP message carries them


def passport(attest: str) -> str:
    """A PASSporT as RFC 8588 has it, serialised as RFC 8225 section 9 says; the signature is none."""
    header = '{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://cert.example/shaken.pem"}'
    claims = (
        f'{{"attest":"{attest}","dest":{{"tn":["77170000002"]}},"iat":{AT:.0f},"orig":{{"tn":"77010000001"}},'
        '"origid":"00000000-0000-4000-8000-000000000000"}'
    )
    pieces = [base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in (header, claims, "signature")]
    return ".".join(pieces) + ';info=<https://cert.example/shaken.pem>;alg=ES256;ppt="shaken"'


def by_sip(decider: Decider, caller: str, trunk: str, **headers: str) -> set[str]:
    more = "".join(f"{name}: {value}\n" for name, value in headers.items())
    text = INVITE.format(caller=caller, call_id=f"{trunk}-{len(more)}-{caller[:9]}", more=more)
    event = invite_event(
        parse(text.replace("\n", "\r\n").encode()), ts=AT, source="test", switch="sw-kz-75", trunk=trunk,
        src_ip="192.0.2.7",
    )  # fmt: skip
    (decision,) = decider.decide([event])
    return hit(decision)


def test_attestations_are_read_off_the_message(decider: Decider) -> None:
    assert by_sip(decider, "+77010000011", "nat-1", Identity=passport("C")) == {"signed_by_a_gateway"}
    assert by_sip(decider, "+77010000012", "nat-1", Identity=passport("B")) == set()
    assert by_sip(decider, "+77010000013", "nat-1", Identity=passport("A")) == set()
    assert by_sip(decider, "+77010000014", "nat-1") == set()
    assert by_sip(decider, "+77990000001", "nat-1", Identity=passport("A")) == {"vouched_for_number_nobody_has"}
    assert by_sip(decider, "+77010000015", "nat-1", Identity="signed-by-the-bank") == {"malformed_identity"}


def test_commands_in_the_place_of_a_number_are_seen(decider: Decider) -> None:
    assert "markup_in_identity" in by_sip(decider, "1%27%20or%20%271%27=%271", "sub-1")
    headers = {"User-Agent": "x$(reboot)"}
    assert "markup_in_identity" in by_sip(decider, "+77270000011", "sub-1", **headers)
    assert by_sip(decider, "+77270000012", "sub-1") == set()


# Bursts


def test_an_extension_that_guesses_prefixes_is_challenged_and_one_that_talks_is_not(decider: Decider) -> None:
    guesses = [f"{prefix}442079460001" for prefix in ("00", "900", "9011", "810", "0", "011", "9810", "80")]
    *_, last = decider.decide(calls("1001", guesses, "sub-1", cause=21))
    assert {"extension_tries_again_and_again", "no_number_in_identity"} <= hit(last)
    talks = [f"+7727000{n:04}" for n in range(8)]
    *_, last = decider.decide(calls("1002", talks, "sub-2", talk_s=45.0, cause=16))
    assert "extension_tries_again_and_again" not in hit(last)


def test_calls_to_satellites_and_to_many_foreign_blocks_are_challenged(decider: Decider) -> None:
    first, second, third = decider.decide(calls("+77270000002", ["+881600000001"] * 3, "sub-1", talk_s=9.0))
    assert "burst_to_high_cost_range" not in hit(first) | hit(second)
    assert "burst_to_high_cost_range" in hit(third)
    spread = [f"+442079{n}0001" for n in range(10, 25)]
    *_, last = decider.decide(calls("+77270000003", spread, "sub-1", talk_s=9.0))
    assert "many_foreign_blocks_off_hours" in hit(last)


def test_a_robot_in_two_blocks_is_challenged_and_a_school_that_talks_is_not(decider: Decider) -> None:
    block = [f"+7717000{n:04}" for n in range(0, 300, 20)] + [f"+7717001{n:04}" for n in range(0, 300, 20)]
    *_, last = decider.decide(calls("+77010000004", block, "nat-1", talk_s=5.0))
    assert "few_blocks_short_calls" in hit(last)
    *_, last = decider.decide(calls("+77270000005", block, "nat-1", talk_s=60.0))
    assert "few_blocks_short_calls" not in hit(last)
