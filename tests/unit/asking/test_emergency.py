"""Emergency numbers are recognised however they are written, and nothing else is taken for one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_adapters.asking import EmergencyNumbers
from sip_adapters.asking.emergency import is_code

OURS = EmergencyNumbers()
DIALLED = st.text("0123456789+-. ()#/[]~_;*٠١٢", max_size=14) | st.sampled_from(["", "7", "8", "+7", "8727"]).flatmap(
    lambda head: st.sampled_from(["112", "101", "102", "103", "104", "911", "01", "1120"]).map(lambda code: head + code)
)


@pytest.mark.parametrize("number", ["112", "+112", "1-1-2", "8112", "7727112", "urn:service:sos.police", "112#", "١١٢"])
def test_emergency_calls(number: str) -> None:
    assert number in OURS


@pytest.mark.parametrize("number", ["", "1120", "+77010000112", "77010000001", "0", "urn:service:counseling", "x112"])
def test_other_calls(number: str) -> None:
    assert number not in OURS


def is_known(dialled: str) -> bool:
    """What the numbers and the prefix say by default, spelt out: the codes, behind what they may stand."""
    kept = (char for char in dialled.partition(";")[0] if char not in "-. ()/[]~_")
    number = "".join(str(int(char)) if char.isdecimal() else char for char in kept).lstrip("+").rstrip("#")
    if number in ("01", "02", "03", "04"):
        return True
    head, code = number[:-3], number[-3:]
    if code not in ("101", "102", "103", "104", "112", "911"):
        return False
    if head in ("", "810", "00"):
        return True
    areas = (head.removeprefix(country) for country in ("", "7", "8", "8107", "007") if head.startswith(country))
    return any(
        area == "" or (area.isdigit() and (re.match("7..$", area) or re.match("7[12]...?$", area))) for area in areas
    )


@given(DIALLED)
def test_however_they_are_written(number: str) -> None:
    assert (number in OURS) == is_known(number)


@given(st.integers(0, 2_000), st.sampled_from(["-", " ", "\N{MINUS SIGN}"]))
def test_no_length_of_separators_hides_one(many: int, separator: str) -> None:
    assert "1" + separator * many + "12" in OURS
    assert "112" + separator * many + "5" not in OURS


@pytest.mark.parametrize("number", ["112", "1-1-2", "+112", "١١٢", "01"])
def test_codes(number: str) -> None:
    assert is_code(number)
    assert number in EmergencyNumbers([number])


@pytest.mark.parametrize("text", ["", "police", "+", "112a", ";112"])
def test_what_is_no_code(text: str) -> None:
    assert not is_code(text)


@pytest.mark.parametrize(("numbers", "prefix"), [(("a",), ""), (("",), ""), (("112",), "(")])
def test_what_is_no_number_is_refused(numbers: tuple[str, ...], prefix: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        EmergencyNumbers(numbers, prefix)


def test_none_at_all_is_possible() -> None:
    assert "112" not in EmergencyNumbers(())
