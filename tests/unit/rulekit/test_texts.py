"""Texts in several languages and the values inside them."""

from __future__ import annotations

import pytest

from antifraud.rulekit import LocalText
from antifraud.rulekit.texts import Placeholder, show, split_template


def test_a_language_falls_back_to_english_then_to_what_there_is() -> None:
    text = LocalText((("en", "hello"), ("ru", "привет")))
    assert (text.get("ru"), text.get("kk"), text.get("en")) == ("привет", "hello", "hello")
    assert LocalText((("kk", "сәлем"),)).get("ru") == "сәлем"
    assert LocalText((("", "all"),)).get("kk") == "all"
    assert LocalText().get("en") == ""
    assert not LocalText()


@pytest.mark.parametrize(
    ("value", "form", "language", "shown"),
    [
        (None, "", "en", "unknown"),
        (1980.3, "", "en", "1980"),
        (999.7, "", "en", "1000"),
        (-123_456.7, "", "en", "-123457"),
        (99.96, "", "en", "100"),
        (None, "percent", "kk", "белгісіз"),
        (True, "", "ru", "да"),
        (3.0, "", "en", "3"),
        (0.123456, "", "en", "0.123"),
        (0.5, "percent", "ru", "50 %"),
        (1_767_268_800.0, "", "en", "1767268800"),
        (float("inf"), "", "en", "unknown"),
        (("a", "b"), "", "en", "a, b"),
        ("tab\there", "", "en", "tab·here"),
    ],
)
def test_values_as_people_read_them(value: object, form: str, language: str, shown: str) -> None:
    assert show(value, form, language) == shown


def test_templates() -> None:
    pieces, faults = split_template("{{a}} {caller} {x:percent}!")
    assert pieces == ["{", "a", "}", " ", Placeholder("caller"), " ", Placeholder("x", "percent"), "!"]
    assert not faults
    assert [(fault.offset, fault.inside) for fault in split_template("a { b } c }")[1]] == [(10, None)]
