"""Emergency numbers are the same here and at the redirect adapter, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_adapters.asking import EmergencyNumbers
from sip_adapters.asking.emergency import bare
from sip_adapters.redirect.options import bare_number, read_options

REDIRECT = read_options({}).emergency
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


@given(DIALLED)
def test_both_adapters_agree(number: str) -> None:
    assert bare(number) == bare_number(number)
    assert (number in OURS) == (len(bare(number)) <= 20 and REDIRECT.fullmatch(bare_number(number)) is not None)


@pytest.mark.parametrize(("numbers", "prefix"), [(("a",), ""), (("",), ""), (("112",), "(")])
def test_what_is_no_number_is_refused(numbers: tuple[str, ...], prefix: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        EmergencyNumbers(numbers, prefix)


def test_none_at_all_is_possible() -> None:
    assert "112" not in EmergencyNumbers(())
