"""Every shipped dialect against what its document says, with the whole text of what a switch is told."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from antifraud.dialects import BY_STATUS, SAYINGS, Choice, Redress, Speaker, Wording
from antifraud.domain import Decision, Reason
from antifraud.settings import load_settings

TABLE = load_settings(env={}).dialects
REDRESS = Redress(
    name="Redress", url="https://redress.example/blocked", tel="+77010000000", email="redress@operator.example"
)

#: RFC 3398 §8.2.6.1 (SIP status to ISUP cause), and ATIS-1000099 and RFC 8688 for what came later.
Q850 = {403: 21, 404: 1, 480: 18, 486: 17, 503: 41, 600: 17, 603: 21, 607: 21, 608: 21}
#: RFC 3261 §21, RFC 8197 §5, RFC 8688 §5.1, ATIS-1000099.
PHRASES = {
    403: {"Forbidden"},
    404: {"Not Found"},
    480: {"Temporarily Unavailable"},
    486: {"Busy Here"},
    503: {"Service Unavailable"},
    600: {"Busy Everywhere"},
    603: {"Decline", "Network Blocked"},
    607: {"Unwanted"},
    608: {"Rejected"},
}
#: RFC 3326 §2: protocol, cause, a quoted text; RFC 8606 §4 adds the location.
REASON = re.compile(r'(SIP|Q\.850);cause=([0-9]{1,3})(;text="([^"\\]*)")?(;location=[A-Z0-9]{1,4})?\Z')


def decision(**changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "id": "0f3a9c0011223344", "call_id": "c", "ts": 1.0, "shard": "kz", "region": "KZ-75", "verdict": "block",
        "full_verdict": "block", "ceiling": "block", "caller": "+77010000001", "callee": "+77010000002",
        "switch": "sw", "reasons": (Reason("rule:r", "block", "сорок абонентов за десять минут"),),
    }  # fmt: skip
    return Decision(**{**fields, **changes})


def speaker(choice: Choice, redress: Redress = REDRESS, status: int = 608, **switches: Choice) -> Speaker:
    return Speaker(TABLE, {"KZ-75": choice}, switches, {"KZ-75": status}, {"KZ-75": redress}, {})


def said(dialect: str, verdict: str = "block", **changes: Any) -> Wording:
    defaults: dict[str, Any] = {"divert": {"target": "sip:desk@192.0.2.9"}, "label": {"label": "Возможно, мошенники"}}
    fields = {"verdict": verdict, **defaults.get(verdict, {}), **changes}
    return speaker(msgspec.structs.replace(Choice(), **{verdict: dialect})).say(decision(**fields), 0.0)


@pytest.mark.parametrize("name", [name for name, item in TABLE.items() if "block" in item.forms and name != "radius"])
def test_refusals_have_the_phrase_and_the_cause_of_their_status(name: str) -> None:
    wording = said(name)
    assert wording.phrase in PHRASES[wording.status]
    assert wording.cause == Q850[wording.status]
    for header, value in wording.headers:
        if header == "Reason":
            found = REASON.match(value)
            assert found is not None, value
            assert int(found[2]) == (wording.status if found[1] == "SIP" else wording.cause)
    # RFC 3326 §2: at most one Reason a protocol.
    protocols = [value.partition(";")[0] for header, value in wording.headers if header == "Reason"]
    assert len(set(protocols)) == len(protocols)


def test_608_without_a_card() -> None:
    wording = said("rfc8688")
    assert (wording.status, wording.phrase, wording.dialect) == (608, "Rejected", "rfc8688")
    assert wording.headers == (
        ("Reason", 'SIP;cause=608;text="сорок абонентов за десять минут"'),
        ("Reason", "Q.850;cause=21"),
    )


def test_603_plus_word_for_word() -> None:
    """ATIS-1000099: phrase Network Blocked, text of AVPs that begins with the version, a contact, a location."""
    wording = said("fcc603")
    assert (wording.status, wording.phrase) == (603, "Network Blocked")
    assert wording.headers == (
        (
            "Reason",
            (
                'SIP;cause=603;text="v=analytics1;url=https://redress.example/blocked;tel=+77010000000;'
                'email=redress@operator.example;id=0f3a9c0011223344";location=RLN'
            ),
        ),
    )
    only_tel = speaker(Choice(block="fcc603"), Redress(tel="+77010000000")).say(decision(), 0.0)
    assert 'text="v=analytics1;tel=+77010000000;id=' in only_tel.headers[0][1]


def test_607_is_said_only_of_the_rule_that_people_stand_behind() -> None:
    voice = speaker(Choice(by_rule={"refused_by_subscribers": "human607"}))
    by_people = decision(reasons=(Reason("rule:refused_by_subscribers", "block", "they said no"),))
    assert voice.say(by_people, 0.0).status == 607
    assert voice.say(decision(), 0.0).status == 608
    # A rule that only looks on, or whose verdict was not the block, does not make it a person's refusal.
    shadow = Reason("rule:refused_by_subscribers", "block", "they said no", "shadow")
    assert voice.say(decision(reasons=(shadow, Reason("rule:r", "block", "why"))), 0.0).status == 608
    mild = Reason("rule:refused_by_subscribers", "label", "they said no")
    assert voice.say(decision(reasons=(Reason("rule:r", "block", "why"), mild)), 0.0).status == 608


def test_503_says_when_to_try_again() -> None:
    assert ("Retry-After", "30") in said("plain503").headers


def test_a_busy_line_gives_nothing_away() -> None:
    for name in ("plain404", "plain480", "plain486", "plain600"):
        assert said(name).headers == (("Reason", f"Q.850;cause={Q850[int(name[-3:])]}"),)


def test_302_tells_the_desk_whom_the_call_was_for() -> None:
    for verdict in ("divert", "challenge"):
        wording = said("redirect302", verdict, target="sip:desk@192.0.2.9")
        assert wording.status == 302
        # RFC 5806 §5: Diversion names who diverted, with one of its reasons.
        assert wording.headers == (("Diversion", "<tel:+77010000002>;reason=deflection"),)
    assert said("redirect302", "divert", callee="").headers == ()


def test_labels() -> None:
    assert said("label-header", "label").headers == ()
    pai = '"Возможно, мошенники" <tel:+77010000001>'
    assert said("label-pai", "label").headers == (("P-Asserted-Identity", pai),)
    assert said("label-cnam", "label").headers == (("X-CNAM", "Возможно, мошенники"),)
    verstat = '"Возможно, мошенники" <tel:+77010000001;verstat=TN-Validation-Failed>'
    assert said("verstat", "label").headers == (("P-Asserted-Identity", verstat),)
    again = said("label302", "label")
    assert (again.status, again.target) == (302, "tel:+77010000002")


def test_a_withheld_number_is_asserted_by_nobody() -> None:
    for name in ("label-pai", "verstat"):
        assert said(name, "label", caller="").headers == ()


def test_radius() -> None:
    """RFC 2865 §4.2, §4.3: an Access-Reject for a refusal, an Access-Accept for whatever goes on; §5.44 for what may
    stand in them."""
    block = said("radius")
    assert (block.packet, block.attributes) == (
        "Access-Reject",
        (("Reply-Message", "сорок абонентов за десять минут"),),
    )
    assert (block.status, block.headers) == (0, ())
    divert = said("radius", "divert")
    assert divert.packet == "Access-Accept"
    assert ("Cisco-AVPair", "antifraud-target=sip:desk@192.0.2.9") in divert.attributes
    label = said("radius", "label")
    assert ("Cisco-AVPair", "antifraud-label=Возможно, мошенники") in label.attributes
    assert said("radius", "allow").packet == "Access-Accept"
    # RFC 2865 §5: an attribute is at most 253 bytes long.
    for verdict in SAYINGS:
        wording = said("radius", verdict, reasons=(Reason("rule:r", verdict, "ж" * 500),), label="ж" * 500)
        for name, value in wording.attributes:
            # … and one of a vendor, of which RFC 2865 §5.26 takes six, still shorter.
            assert len(value.encode()) <= 247, (verdict, name)


def test_the_status_of_a_rule_or_of_the_region_chooses_a_dialect() -> None:
    for status, name in BY_STATUS.items():
        assert TABLE[name].forms["block"].status == status
        assert speaker(Choice(), status=status).say(decision(), 0.0).dialect == name
        assert speaker(Choice(block="rfc8688")).say(decision(code=status), 0.0).dialect == name
    # The chosen dialect stays where it says that status already, and where it says no status at all.
    assert speaker(Choice(block="fcc603")).say(decision(code=603), 0.0).dialect == "fcc603"
    assert speaker(Choice(block="radius")).say(decision(code=486), 0.0).dialect == "radius"
    assert speaker(Choice(block="fcc603")).say(decision(code=699), 0.0).dialect == "fcc603"


def test_a_switch_may_want_another_dialect_than_its_region() -> None:
    voice = speaker(Choice(block="rfc8688", label="label-pai"), old=Choice(block="plain403"))
    assert voice.say(decision(switch="old"), 0.0).status == 403
    assert voice.say(decision(switch="new"), 0.0).status == 608
    assert voice.say(decision(switch="old", verdict="label", label="x"), 0.0).dialect == "label-pai"


def test_a_reason_that_is_kept_back() -> None:
    wording = speaker(Choice(reason=False)).say(decision(), 0.0)
    assert wording.text == ""
    assert wording.headers[0] == ("Reason", 'SIP;cause=608;text="decision 0f3a9c0011223344"')
    hushed = speaker(Choice(), sw=Choice(reason=False)).say(decision(), 0.0)
    assert hushed.text == ""


def test_a_call_that_goes_on_is_told_nothing() -> None:
    quiet = speaker(Choice(block="rfc8688", divert="redirect302", label="label-header"))
    assert quiet.say(decision(verdict="allow"), 0.0) == Wording()


def test_every_dialect_names_its_document() -> None:
    for dialect in TABLE.values():
        assert dialect.about
        assert dialect.source
