"""Our tables say what phonenumbers says, over the metadata of every country.

``CallingCodes`` without a dial plan must agree in everything. ``Numbering`` with the plan of Kazakhstan may differ
in exactly what ``expected`` spells out, and docs/reference/numbering.md lists the same deviations.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumberType

from antifraud.numbering import Numbering, load_dial_plan
from antifraud.numbering.countries import CallingCodes

ROOT = Path(__file__).resolve().parents[3]
REGIONS = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
CODES = sorted(REGIONS)
DESCRIPTIONS = (
    "general_desc", "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip",
    "pager", "uan", "voicemail",
)  # fmt: skip
TYPES = {
    PhoneNumberType.FIXED_LINE: "fixed",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "uan",
    PhoneNumberType.VOICEMAIL: "voicemail",
    PhoneNumberType.UNKNOWN: "unknown",
}
SETTINGS = settings(
    max_examples=400, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

Answer = tuple[str, str, str, bool, bool]


def oracle(digits: str) -> Answer | None:
    """Number, country, type, valid, possible as phonenumbers has them for "+" + digits."""
    try:
        number = phonenumbers.parse("+" + digits)
    except phonenumbers.NumberParseException:
        return None
    return (
        f"{number.country_code}{phonenumbers.national_significant_number(number)}",
        phonenumbers.region_code_for_number(number) or "",
        TYPES[phonenumbers.number_type(number)],
        phonenumbers.is_valid_number(number),
        phonenumbers.is_possible_number(number),
    )


@cache
def tables() -> CallingCodes:
    return CallingCodes()


@cache
def numbering() -> Numbering:
    return Numbering(load_dial_plan(ROOT / "config/dialplans/kz.yaml"))


def ours(digits: str) -> Answer | None:
    found = tables().look_up(digits)
    if found is None:
        return None
    number, (country, line, _, _, valid, possible, _) = found
    return number, country, line, valid, possible


def expected(digits: str) -> Answer | None:
    """What the plan of Kazakhstan makes of the oracle's answer: the intended deviations, all of them."""
    if digits.startswith("997") and len(digits) == 13:
        return digits, "KZ", "unknown", False, True
    answer = oracle(digits)
    if answer is None or not answer[0].startswith("7"):
        return answer
    number, country, line, valid, possible = answer
    national = number[1:]
    if national.startswith(("0", "6", "7", "800080")):
        country = "KZ"
    elif country == "":
        country = "RU"
    return number, country, line, valid, possible


@cache
def examples() -> tuple[str, ...]:
    found = set()
    for code, regions in REGIONS.items():
        for region in regions:
            metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
            for field in DESCRIPTIONS:
                description = getattr(metadata, field)
                if description is not None and description.example_number:
                    found.add(f"{code}{description.example_number}")
    return tuple(sorted(found))


def test_examples_of_every_type_of_every_region() -> None:
    assert len(examples()) > 1_000
    assert {digits: ours(digits) for digits in examples()} == {digits: oracle(digits) for digits in examples()}


def test_no_number_is_known_where_phonenumbers_cannot_parse() -> None:
    refused = ("", "7", "77", "0077011234567", "999123456789", "997123", "1" * 21, "7" * 19, "4" * 30)
    assert [ours(digits) for digits in refused] == [oracle(digits) for digits in refused] == [None] * len(refused)


@pytest.mark.parametrize("part", range(4))
def test_every_branch_of_every_table(part: int) -> None:
    """One number through every edge of every decision tree, so that no compiled pattern goes unseen."""
    chance = random.Random(part)
    wrong = {}
    seen = 0
    for code in CODES[part::4]:
        calling_code = tables().by_start[str(code).ljust(3, "0")]
        visited: set[int] = set()
        for length, root in enumerate(calling_code.roots or calling_code.compile()):
            waiting = [("", root)]
            while waiting:
                start, node = waiting.pop()
                if node.__class__ is dict and id(node) in visited:
                    continue
                if node.__class__ is dict:
                    visited.add(id(node))
                    waiting += [(start + digit, child) for digit, child in sorted(node.items())]
                    continue
                rest = "".join(chance.choice("0123456789") for _ in range(length - len(start)))
                digits = f"{code}{start}{rest}"
                seen += 1
                if ours(digits) != oracle(digits):
                    wrong[digits] = (ours(digits), oracle(digits))
    assert wrong == {}
    assert seen > 5_000


def test_random_numbers_of_every_calling_code_and_length() -> None:
    chance = random.Random(7)
    wrong = {}
    for code in CODES:
        for length in range(20):
            for _ in range(4):
                digits = str(code) + "".join(chance.choice("0123456789") for _ in range(length))
                if ours(digits) != oracle(digits):
                    wrong[digits] = (ours(digits), oracle(digits))
    assert wrong == {}


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An example number with digits changed, inserted or taken out, also right after its calling code."""
    digits = list(draw(st.sampled_from(examples())))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(digits) - 1))
        digit = draw(st.sampled_from("0123456789"))
        match draw(st.sampled_from(("change", "insert", "remove"))):
            case "change":
                digits[at] = digit
            case "insert":
                digits.insert(at, digit)
            case "remove" if len(digits) > 1:
                del digits[at]
    return "".join(digits)


@st.composite
def with_national_prefix(draw: st.DrawFn) -> str:
    """A calling code, something like a national prefix, and an example number of that code."""
    code = draw(st.sampled_from(CODES))
    mine = [digits for digits in examples() if digits.startswith(str(code))]
    example = draw(st.sampled_from(mine or examples()))
    prefix = draw(st.sampled_from(("0", "1", "8", "06", "80", "90", "011", "1015", "18002", "9011")))
    return str(code) + prefix + example[len(str(code)) :]


@SETTINGS
@given(st.one_of(mutated(), with_national_prefix(), st.text("0123456789", min_size=1, max_size=21)))
def test_mutations(digits: str) -> None:
    assert ours(digits) == oracle(digits)


@SETTINGS
@given(
    st.one_of(
        mutated(),
        with_national_prefix(),
        st.text("0123456789", max_size=14).map(lambda rest: "7" + rest),
        st.text("0123456789", max_size=7).map(lambda rest: "7800080" + rest),
        st.text("0123456789", min_size=9, max_size=11).map(lambda rest: "997" + rest),
        st.text("0123456789", min_size=1, max_size=21),
    )
)
def test_numbering_differs_only_as_intended(digits: str) -> None:
    facts = numbering().facts("+" + digits)
    if facts.kind == "short":
        answer = oracle(digits)
        assert answer is None or not answer[3], "a valid number was taken for a short code"
        return
    answer = expected(digits)
    if answer is None:
        assert (facts.kind, facts.number) == ("unknown", digits)
    else:
        number, country, line, valid, possible = answer
        assert (facts.kind, facts.number) == ("e164", "+" + number)
        assert (facts.country, facts.type, facts.valid, facts.possible) == (country, line, valid, possible)


def test_no_spelling_of_a_short_code_is_a_valid_number() -> None:
    """What is taken for 112 or 1414 may not be anybody's number, however it is read."""
    plain = Numbering(load_dial_plan(ROOT / "config/dialplans/kz.yaml"))
    spellings = dict(plain._short)
    plain._short = {}
    assert len(spellings) > 10_000
    valid = [
        digits
        for digits in spellings
        if plain.facts("+" + digits).valid or plain.facts(digits).valid or plain.facts(digits, international=True).valid
    ]
    assert valid == []


@SETTINGS
@given(
    st.sampled_from(("", "+", "00", "810", "8", "9,", "*67", "*31#", "#31#", "141", "0", "sip:")),
    st.one_of(st.sampled_from(examples()), mutated(), st.text("0123456789", max_size=11).map(lambda rest: "7" + rest)),
    st.sampled_from(("", ",,1", "p1", "w", "#", "*", "/1", ":5060", "@anonymous.invalid")),
    st.booleans(),
)
def test_nothing_around_a_valid_number_makes_it_an_emergency(
    before: str, digits: str, after: str, international: bool
) -> None:
    """Service codes, pauses and hosts lead to an emergency code only; no subscriber's number is read as one."""
    answer = oracle(digits)
    if answer is not None and answer[3]:
        assert not numbering().facts(before + digits + after, international=international).emergency
