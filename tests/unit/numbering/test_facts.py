"""Every form in which a number arrives, and the facts that follow."""

from __future__ import annotations

import string
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import antifraud.numbering
from antifraud.numbering import NumberFacts, Numbering, load_dial_plan
from antifraud.numbering.facts import LONGEST_NUMBER

ROOT = Path(__file__).resolve().parents[3]
PLAN = load_dial_plan(ROOT / "config/dialplans/kz.yaml")
KZ = Numbering(PLAN)

MOBILE = "+77000001234"


def test_exported_names() -> None:
    assert antifraud.numbering.__all__ == sorted(antifraud.numbering.__all__)
    assert set(antifraud.numbering.__all__) == {
        "DialPlan",
        "EmergencyCode",
        "NumberFacts",
        "Numbering",
        "load_dial_plan",
    }


@pytest.mark.parametrize(
    "raw",
    [
        "+77000001234",
        "77000001234",
        "87000001234",
        "7000001234",
        "0077000001234",
        "81077000001234",
        "8~10 7 700 000 12 34",
        "8 700 000 12 34",
        "8 (700) 000-12-34",
        "+7 700 000-12-34",
        "+7.700.000.12.34",
        "  +77000001234\r\n",
        "++77000001234",
        "+78700 000 1234",  # trunk prefix after the calling code
        "tel:+77000001234",
        "tel:+7-700-000-1234;ext=12",
        "TEL:7000001234;phone-context=+7",
        "tel:0001234;phone-context=+7700",
        "sip:+77000001234@192.0.2.1",
        "sips:87000001234@example.invalid:5061;user=phone?subject=x",
        "sip:%2B77000001234@192.0.2.1",
        "sip:+77000001234;npdi;rn=+77000009999@192.0.2.1;user=phone",
        "sip:77000001234:secret@192.0.2.1",
        '"Asel" <sip:+77000001234@192.0.2.1>;tag=1',
        '"+79160000000 <x>" <sip:+77000001234@192.0.2.1>'.replace("<x>", ""),
        "<tel:+77000001234>",
        "+77000001234@192.0.2.1",
        "'+77000001234",
        "\u202a+7\u00a0700\u2011000\u201112\u201134\u202c",
        "\uff0b\uff17\uff17\uff10\uff10\uff10\uff10\uff10\uff11\uff12\uff13\uff14",
        "+\u0667\u0667\u0660\u0660\u0660\u0660\u0660\u0661\u0662\u0663\u0664",
        "+\u06f7\u06f7\u06f0\u06f0\u06f0\u06f0\u06f0\u06f1\u06f2\u06f3\u06f4",
        "87000001234#",
    ],
)
def test_every_form_of_a_home_number(raw: str) -> None:
    assert KZ.facts(raw) == NumberFacts(
        MOBILE, "e164", "KZ", "mobile", "Tele2/Altel", "", valid=True, possible=True, emergency=False, short=False
    )
    assert KZ.normalise(raw) == MOBILE


@pytest.mark.parametrize(
    ("raw", "number", "country"),
    [
        ("+998900001234", "+998900001234", "UZ"),
        ("998900001234", "+998900001234", "UZ"),
        ("810998900001234", "+998900001234", "UZ"),
        ("00998900001234", "+998900001234", "UZ"),
        ("84950001234", "+74950001234", "RU"),
        ("+74950001234", "+74950001234", "RU"),
        ("79160001234", "+79160001234", "RU"),
        ("442071838750", "+442071838750", "GB"),
        ("81312345678", "+81312345678", "JP"),  # no home number, though it begins with the trunk prefix
        ("+80012345678", "+80012345678", "001"),
        ("+12125550123", "+12125550123", "US"),
    ],
)
def test_foreign_numbers_on_a_national_trunk(raw: str, number: str, country: str) -> None:
    facts = KZ.facts(raw)
    assert (facts.kind, facts.number, facts.country, facts.valid) == ("e164", number, country, True)
    assert (facts.operator, facts.region) == ("", "")


@pytest.mark.parametrize(
    ("raw", "number", "country", "valid"),
    [
        ("998900001234", "+998900001234", "UZ", True),
        ("442071838750", "+442071838750", "GB", True),
        ("77000001234", MOBILE, "KZ", True),
        ("+77000001234", MOBILE, "KZ", True),
        # A home number in national form: what a forger shows. As +870… it would be a satellite telephone.
        ("87000001234", MOBILE, "KZ", True),
        ("7000001234", MOBILE, "KZ", True),
        ("0077000001234", MOBILE, "KZ", True),
        ("81077000001234", MOBILE, "KZ", True),
        ("77990001234", "+77990001234", "KZ", False),
        ("sip:87000001234@192.0.2.1", MOBILE, "KZ", True),
        # Vietnam or, in national form, Ryazan: here the international reading wins.
        ("84912345678", "+84912345678", "VN", True),
        ("85221234567", "+85221234567", "HK", True),
    ],
)
def test_digits_on_an_international_trunk(raw: str, number: str, country: str, valid: bool) -> None:
    facts = KZ.facts(raw, international=True)
    assert (facts.kind, facts.number, facts.country, facts.valid) == ("e164", number, country, valid)


@pytest.mark.parametrize(
    ("raw", "number"),
    [("87990001234", "+77990001234"), ("77990001234", "+77990001234"), ("7990001234", "+77990001234")],
)
def test_a_forged_home_number_stays_a_home_number(raw: str, number: str) -> None:
    facts = KZ.facts(raw)
    assert (facts.number, facts.country, facts.valid, facts.possible) == (number, "KZ", False, True)


@pytest.mark.parametrize(
    ("raw", "country", "line", "valid"),
    [
        ("+77000001234", "KZ", "mobile", True),
        ("+77272123456", "KZ", "fixed", True),
        ("+76120001234", "KZ", "unknown", False),
        ("+70120001234", "KZ", "unknown", False),
        ("+77990001234", "KZ", "unknown", False),
        ("+78000800000", "KZ", "toll_free", True),  # phonenumbers says RU
        ("+78001000000", "RU", "toll_free", True),
        ("+79160001234", "RU", "mobile", True),
        ("+71230001234", "RU", "unknown", False),
        ("+75120001234", "RU", "unknown", False),
        ("+78120001234", "RU", "fixed", True),
    ],
)
def test_the_calling_code_is_split_between_its_countries(raw: str, country: str, line: str, valid: bool) -> None:
    facts = KZ.facts(raw)
    assert (facts.kind, facts.country, facts.type, facts.valid) == ("e164", country, line, valid)


def test_the_reserved_calling_code_shows_as_a_home_number_that_cannot_be() -> None:
    facts = KZ.facts("+997 700 000 12 34")
    assert facts == NumberFacts("+9977000001234", "e164", "KZ", possible=True)
    assert KZ.facts("009977000001234") == facts
    assert KZ.facts("9977000001234", international=True) == facts
    assert KZ.facts("+997700").kind == "unknown"


EMERGENCY = ["112", "101", "102", "103", "104"]


@pytest.mark.parametrize("international", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        "{}", "+{}", "+7{}", "7{}", "8{}", "00{}", "810{}", "007{}", "8107{}", "727{}", "7727{}", "8727{}", "+7727{}",
        "7172{}", "87172{}", "+77172{}", "77172{}", "71030{}", "+771030{}", "871030{}", "8107727{}", "tel:{}",
        "tel:{};phone-context=+7", "tel:{};phone-context=+7727", "tel:{};phone-context=+44",
        "tel:{};phone-context=example.kz", "sip:{}@192.0.2.1", "sip:{};phone-context=+7@192.0.2.1;user=phone",
        "sip:{}", "sip:+7{}@192.0.2.1", "<sip:8{}@192.0.2.1>", " {} ", "{}#", "{}@host",
    ],
)  # fmt: skip
@pytest.mark.parametrize("code", EMERGENCY)
def test_an_emergency_call_is_recognised_however_it_is_written(code: str, form: str, international: bool) -> None:
    facts = KZ.facts(form.format(code), international=international)
    assert facts == NumberFacts(code, "short", "KZ", "short", valid=True, possible=True, emergency=True, short=True)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("1-1-2", "112"),
        ("\uff11\uff11\uff12", "112"),
        ("\u0661\u0661\u0662", "112"),
        ("911", "112"),
        ("8911", "112"),
        ("01", "101"),
        ("02", "102"),
        ("03", "103"),
        ("04", "104"),
        ("urn:service:sos", "112"),
        ("urn:service:sos.police", "102"),
        ("URN:SERVICE:SOS.FIRE", "101"),
        ("<urn:service:sos.ambulance>", "103"),
        ("urn:service:sos.poison", "112"),
    ],
)
def test_other_names_of_emergency_services(raw: str, code: str) -> None:
    facts = KZ.facts(raw)
    assert (facts.number, facts.kind, facts.emergency) == (code, "short", True)


@pytest.mark.parametrize(
    "raw",
    [
        "+77000000112",
        "87272000112",
        "+442071838112",
        "urn:service:counseling",
        "112112",
        "11",
        "1120",
        "+44112",
        "86112",
    ],
)
def test_what_only_ends_like_an_emergency_call_is_none(raw: str) -> None:
    assert not KZ.facts(raw).emergency


@pytest.mark.parametrize("international", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        # to withhold or show one's number, and other service codes
        "#31#{}", "*31#{}", "*31*{}", "*30#{}", "#30#{}", "*31#*30#{}", "*67{}", "*67 {}", "*67,{}", "*82{}", "141{}",
        "141,{}", "sip:%2331%23{}@192.0.2.1", "tel:*31#{}", "sip:*67{}@192.0.2.1;user=phone", "#31#+7{}", "#31#0{}",
        # keys pressed too often
        "*{}", "#{}", "**{}", "{}*", "{}##", "*{}#",
        # out of a private exchange
        "0{}", "00{}", "000{}", "9{}", "0-{}", "9-{}", "9,{}", "0,{}", "9p{}", "0ww{}", "8,{}", "sip:9{}@192.0.2.1",
        # pauses, punctuation, extensions, ports
        "{},", "{},,1", "{}p1", "{}P1", "{}w", "{}W1", "{}x5", "{} ext. 5", "{}/1", "{}:5060", "{}?", "{}!", "{}&a=b",
        "{};ext=5", "sip:{},,1@192.0.2.1", "sip:{}:5060", "sip:{},1", "+7{},1", "727{},,1", "tel:{}p1",
        # whatever the host
        "{}@anonymous.invalid", "sip:{}@anonymous.invalid", "sip:{}@a@b", "sip:{}@", "<sip:{}@[2001:db8::1]:5060>",
        "\uff03\uff13\uff11\uff03{}", "{}\uff03", "{}\x00",
    ],
)  # fmt: skip
@pytest.mark.parametrize("code", EMERGENCY)
def test_an_emergency_call_is_recognised_through_what_is_dialled_around_it(
    code: str, form: str, international: bool
) -> None:
    facts = KZ.facts(form.format(code), international=international)
    assert facts == NumberFacts(code, "short", "KZ", "short", valid=True, possible=True, emergency=True, short=True)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("sos", "112"),
        ("SOS", "112"),
        ("sip:sos@x", "112"),
        ("sip:sos", "112"),
        ("sips:Sos@192.0.2.1;user=phone", "112"),
        ("sip:sos@anonymous.invalid", "112"),
        ("sip:sos.police@192.0.2.1", "102"),
        ("urn:service:sos@192.0.2.1", "112"),
        ("urn:service:sos.fire;x=y", "101"),
        ("sip:urn:service:sos.ambulance@192.0.2.1", "103"),
        ("1911", "112"),
        ("+1911", "112"),
        ("001911", "112"),
        ("8101911", "112"),
        ("9911", "112"),
        ("*67911", "112"),
        ("999", "112"),
        ("110", "112"),
        ("000", "112"),
        ("999#", "112"),
        ("sip:999@192.0.2.1", "112"),
        ("#31#999", "112"),
        ("+7110", "112"),  # was a spelling of the short code 110 before
        ("\u0661\u0661\u0662,\u0661", "112"),
    ],
)
def test_emergency_calls_in_the_words_of_other_countries(raw: str, code: str) -> None:
    for international in (False, True):
        facts = KZ.facts(raw, international=international)
        assert (facts.number, facts.kind, facts.emergency) == (code, "short", True)


@pytest.mark.parametrize(
    "raw",
    [
        "7999", "8999", "9999", "0000", "7000", "8000", "+7000", "1101", "9110", "*100#", "#31#", "*31#109",
        "109,,1", "+77000000112,1", "*67+77000000112", "9,87000000112", "103abc", "police102", "sosed",
        "sip:112.0.0.1", "sip:101.example.invalid", "sip:soso@sos", "sip:alice@112", "sip:Kaspi;x=112@192.0.2.1",
        "911/123-45-67", "8/7172/11-21-12", "*112112", "9,1121", "0001120", "+441120", "9,", "", "*", "901", "0001",
    ],
)  # fmt: skip
def test_nothing_else_becomes_an_emergency_call(raw: str) -> None:
    for international in (False, True):
        assert KZ.facts(raw, international=international).emergency is False


def test_a_short_code_that_the_plan_names_is_no_prefixed_emergency_code() -> None:
    numbering = Numbering(msgspec.structs.replace(PLAN, short_codes={**PLAN.short_codes, "9112": "A bank"}))
    assert numbering.facts("9112") == NumberFacts("9112", "short", "KZ", "short", valid=True, possible=True, short=True)
    assert numbering.facts("9101").emergency


@pytest.mark.parametrize("form", ["{}", "+{}", "7{}", "+7{}", "8{}", "007{}", "sip:+7{}@192.0.2.1", "tel:{}"])
@pytest.mark.parametrize("code", ["105", "109", "111", "160", "169", "1414", "1430", "1499", "2121", "4040", "30400"])
def test_short_codes_never_become_long_numbers(code: str, form: str) -> None:
    for international in (False, True):
        facts = KZ.facts(form.format(code), international=international)
        assert (facts.number, facts.kind, facts.short, facts.emergency) == (code, "short", True, False)


@pytest.mark.parametrize("raw", ["2501234", "345678", "12345", "250123", "8495123", "0", "000000", "7", "87"])
def test_local_numbers_and_scraps_stay_digits(raw: str) -> None:
    assert KZ.facts(raw) == NumberFacts(raw, "unknown")


@pytest.mark.parametrize(
    "raw",
    [
        "", " ", "-", "anonymous", "Anonymous", "ANONYMOUS@ANONYMOUS.INVALID", "sip:anonymous@anonymous.invalid",
        '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=9', "sip:c8oqz84zk7z@anonymous.invalid", "restricted",
        "unavailable", "Unknown", "private", "withheld", "sip:restricted@192.0.2.1", "tel:anonymous", '""', "null",
        "sip:%61nonymous@192.0.2.1", "sip:@192.0.2.1", "Скрытый номер",
    ],
)  # fmt: skip
def test_anonymous_callers(raw: str) -> None:
    assert KZ.facts(raw) == NumberFacts("", "anonymous", "", "anonymous")


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("Kaspi", "Kaspi"),
        ("sip:Kaspi@192.0.2.1", "Kaspi"),
        ("Каспи Банк", "Каспи Банк"),
        ("1-800-FLOWERS", "1-800-FLOWERS"),
        ("police102", "police102"),
        ("B\u202eank", "Bank"),
        ("x" * 300, "x" * LONGEST_NUMBER),
    ],
)
def test_names_stay_text(raw: str, number: str) -> None:
    assert KZ.facts(raw) == NumberFacts(number, "alphanumeric", "", "alphanumeric")


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("1" * 40, "1" * LONGEST_NUMBER),
        ("+" + "7" * 40, "7" * LONGEST_NUMBER),
        ("9" * 100_000, "9" * LONGEST_NUMBER),
        ("+7700\x000001234", "77000001234"),
        ("+7700\n0001234", "77000001234"),
        ("sip:7700%000001234@192.0.2.1", "77000001234"),
        ("\x7f", ""),
        ("+", ""),
        ("*100#", "100"),
        ("+7+7000001234", "77000001234"),
        ("77000001234*9", "770000012349"),
        ("sip:192.0.2.1", ""),
        ("sip:example.invalid:5060", ""),
        ("+999123456789", "999123456789"),
        ("\ud800", ""),
        ("²³¹", ""),
        ("???", ""),
    ],
)
def test_garbage_is_unknown(raw: str, number: str) -> None:
    assert KZ.facts(raw) == NumberFacts(number, "unknown")
    assert KZ.facts(raw, international=True) == NumberFacts(number, "unknown")


_texts = st.one_of(
    st.text(max_size=300),
    st.text(string.digits + "+*#-() ;:@<>\"'%=.,~", max_size=60),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["sip:", "tel:", "<sip:", "sips:", "+", "00", "810", "8", "urn:service:", '"x" <']),
        st.text(string.digits, max_size=45),
        st.sampled_from(
            ["", "@h", ";phone-context=+7", ";phone-context=", ">", "@anonymous.invalid", "%", "%2", "%00"]
        ),
    ),
)


@settings(max_examples=600, deadline=None, database=None, derandomize=True)
@given(_texts, st.booleans())
def test_any_text_gives_consistent_facts(raw: str, international: bool) -> None:
    facts = KZ.facts(raw, international=international)
    assert KZ.facts(raw, international=international) == facts
    assert len(facts.number) <= LONGEST_NUMBER
    assert facts.number.encode(errors="strict") is not None
    digits = facts.number.removeprefix("+")
    match facts.kind:
        case "e164":
            assert facts.number[0] == "+"
            assert digits.isascii()
            assert digits.isdecimal()
        case "short":
            assert facts.short
            assert digits == facts.number
        case "alphanumeric":
            assert not facts.valid
        case "anonymous":
            assert facts.number == ""
        case kind:
            assert kind == "unknown"
            assert digits == facts.number
            assert facts.number == "" or facts.number.isdecimal()
    if facts.emergency:
        assert facts.number in EMERGENCY


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(_texts, st.booleans())
def test_a_normalised_number_is_already_normal(raw: str, international: bool) -> None:
    facts = KZ.facts(raw, international=international)
    if facts.kind in ("e164", "short"):
        assert KZ.facts(facts.number, international=international) == facts
        assert KZ.facts(facts.number) == facts


def test_the_cache_changes_nothing_and_stays_small() -> None:
    small = Numbering(PLAN, cache_size=8)
    none = Numbering(PLAN, cache_size=0)
    for turn in range(3):
        for number in range(40):
            raw = f"sip:8700000{number:04d}@192.0.2.{turn}"
            expected = KZ.facts(f"+7700000{number:04d}")
            assert small.facts(raw) == small.facts(raw) == none.facts(raw) == expected
            assert len(small._recent) + len(small._older) <= 8
    assert none._recent == {}


def test_the_cache_keeps_trunk_directions_apart() -> None:
    numbering = Numbering(PLAN)
    for _ in range(2):
        assert numbering.normalise("8491 234-56-78") == "+74912345678"
        assert numbering.normalise("8491 234-56-78", international=True) == "+84912345678"


def test_facts_are_frozen_values() -> None:
    facts = KZ.facts("112")
    with pytest.raises(AttributeError):
        facts.emergency = False  # type: ignore[misc]
    assert msgspec.json.decode(msgspec.json.encode(facts), type=NumberFacts) == facts


def test_warm_compiles_every_country() -> None:
    numbering = Numbering(PLAN)
    codes = set(numbering._codes.by_start.values())
    assert len(codes) > 200
    assert all(code.roots is None for code in codes)
    numbering.facts(MOBILE)
    assert [code.code for code in codes if code.roots is not None] == ["7"]
    numbering.warm()
    assert all(code.roots is not None for code in codes)
    assert numbering.facts(MOBILE) == KZ.facts(MOBILE)
