"""Explanations as people read them, in three languages: one golden file each. ``GOLDEN_WRITE=1`` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antifraud.decision.bundle import load_window_set
from antifraud.decision.explaining import meanings
from antifraud.rulekit import load_fields
from antifraud.scoring.explanation import Change, Explanation, Ground, Meaning
from antifraud.scoring.manifest import Usual
from antifraud.scoring.sentences import duration, name_of, sentences, shown
from antifraud.settings import data_dir

GOLDEN = Path(__file__).parent / "golden_explanations"
LANGUAGES = ("en", "ru", "kk")

CASES = {
    "many numbers, above what is usual": Explanation(
        0.981, "block",
        (
            Ground("caller_callees_10m", 38.0, 2.5, Usual(0.0, 1.0, 3.0)),
            Ground("caller_short_share_1h", 0.913, 1.2, Usual(0.0, 0.1, 0.455)),
            Ground("caller_age", None, 0.5, Usual(60.0, 86_400.0, 172_800.0), first=True),
        ),
        (Change("caller_callees_10m", None, 11.0),), "allow", pairs=True,
    ),
    "durations, below and within what is usual": Explanation(
        0.42, "label",
        (
            Ground("caller_age", 125.0, 2.0, Usual(3600.0, 86_400.0, 2e6)),
            Ground("caller_mean_talk_24h", 21.4, 1.0, Usual(10.0, 95.2, 600.0)),
            Ground("callee_talk_new_2h", 5421.0, 0.5, Usual(0.0, 0.0, 61.5)),
        ),
        (Change("caller_age", 93_784.5, None),), "allow",
    ),
    "facts, two changes": Explanation(
        0.7, "challenge",
        (
            Ground("trunk_international", 1.0, 2.0, Usual(0.0, 0.0, 1.0)),
            Ground("hour", 3.0, 1.0, Usual(8.0, 14.0, 21.0)),
            Ground("callee_mobile", 0.0, 0.5, Usual(0.0, 1.0, 1.0)),
        ),
        (Change("trunk_international", 0.0, 0.0), Change("caller_calls_24h", 2.0, 2.0)), "allow", pairs=True,
    ),
    "unknown values, no usual ones, a range, milder only": Explanation(
        0.99, "block",
        (
            Ground("spoofed_cli", None, 2.0),
            Ground("caller_short_share_1h", None, 1.0),
            Ground("a_window_that_is_gone", 2.5, 0.5),
        ),
        (Change("caller_calls_1h", 2.0, 5.0),), "divert",
    ),
    "a share between two bounds": Explanation(
        0.4, "label", (Ground("caller_outbound_balance_24h", 1.0, 1.0),),
        (Change("caller_outbound_balance_24h", 0.2931, 0.57),), "allow",
    ),
    "bounds within one hundredth": Explanation(
        0.4, "label", (), (Change("caller_outbound_balance_24h", 0.2931, 0.2937),), "allow",
    ),
    "nothing helps": Explanation(0.99, "block", (Ground("caller_reports_30d", 1.0, 1.0),)),
    "nothing helps, pairs neither": Explanation(0.99, "block", (Ground("caller_reports_30d", 1.0, 1.0),), pairs=True),
    "allowed": Explanation(0.01, "allow", (Ground("caller_reports_30d", 1.0, 1.0, Usual(0.0, 0.0, 0.0)),)),
    "diverted otherwise labelled": Explanation(
        0.8, "divert", (), (Change("caller_calls_1h", None, 5.0),), "label",
    ),
    "blocked otherwise challenged": Explanation(
        0.99, "block", (), (Change("caller_calls_1h", None, 0.0),), "challenge",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def known() -> dict[str, Meaning]:
    rules = data_dir("rules")
    return meanings(load_window_set(rules / "windows.yaml", load_fields(rules / "fields.yaml"), 300))


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences(known: dict[str, Meaning], language: str) -> None:
    lines: list[str] = []
    for title, explanation in CASES.items():
        lines += [f"# {title}", *sentences(explanation, known, language), ""]
    said = "\n".join(lines)
    path = GOLDEN / f"{language}.txt"
    if os.environ.get("GOLDEN_WRITE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(said, encoding="utf-8")
    assert said == path.read_text(encoding="utf-8")


def test_a_language_that_nobody_speaks_is_english(known: dict[str, Meaning]) -> None:
    explanation = CASES["nothing helps"]
    assert sentences(explanation, known, "fr") == sentences(explanation, known, "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_shipped_window_and_fact_has_a_name_without_asides(known: dict[str, Meaning], language: str) -> None:
    for name, meaning in known.items():
        said = name_of(meaning, language)
        assert meaning.doc[language], name
        assert len(said) > 5, name
        assert not any(aside in said for aside in (";", "ASR", "ACD", "PDD", "DDC")), said
        if meaning.form == "share":
            assert not any(aside in said for aside in ("(0", "(от 0", "0-ден")), said


@pytest.mark.parametrize(
    ("seconds", "en", "ru", "kk"),
    [
        (0, "0 seconds", "0 секунд", "0 секунд"),
        (1, "1 second", "1 секунда", "1 секунд"),
        (62, "1 minute 2 seconds", "1 минута 2 секунды", "1 минут 2 секунд"),
        (11 * 60, "11 minutes", "11 минут", "11 минут"),
        (21 * 60 + 14, "21 minutes 14 seconds", "21 минута 14 секунд", "21 минут 14 секунд"),
        (3600 + 5, "1 hour", "1 час", "1 сағат"),
        (22 * 3600 + 180, "22 hours 3 minutes", "22 часа 3 минуты", "22 сағат 3 минут"),
        (86_400 * 111 + 3600 * 5, "111 days 5 hours", "111 дней 5 часов", "111 тәулік 5 сағат"),
        (86_400 * 3, "3 days", "3 дня", "3 тәулік"),
    ],
)
def test_durations(seconds: int, en: str, ru: str, kk: str) -> None:
    assert [duration(seconds, language) for language in LANGUAGES] == [en, ru, kk]


def test_rounding_is_inwards_and_keeps_what_is_whole() -> None:
    assert shown(0.29, "share", "en", "down") == shown(0.29, "share", "en", "up") == "29 %"
    assert shown(0.2999, "share", "en", "down") == "29 %"
    assert shown(0.2901, "share", "en", "up") == "30 %"
    assert shown(59.99, "seconds", "en", "down") == "59"
    assert shown(59.99, "seconds", "en", "up") == "60 (1 minute)"
    assert shown(2.25, "number", "en") == "2.25"
