"""The page of fields, functions and windows: its examples are true, nothing is left out, docs has the newest."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from antifraud.rulekit import lexer
from antifraud.rulekit.checker import FUNCTIONS
from antifraud.rulekit.language import LANGUAGE, PARAMS, Construct
from antifraud.rulekit.reference import MOMENTS
from antifraud.rulekit.reference_texts import TRANSLATED
from tests.unit.rulekit.workbench import CALENDAR, list_text, load, rule_text, vocabulary, write

from .test_commands import ROOT, antifraud

PAGE = ROOT / "docs/reference/fields-and-windows.md"
CONSTRUCTS = [construct for constructs in LANGUAGE.values() for construct in constructs]


def test_the_page_is_up_to_date() -> None:
    """After fields, windows or the language changed: antifraud rules reference --out PAGE."""
    made = antifraud("reference")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout == PAGE.read_text(encoding="utf-8")


def test_a_page_of_ones_own_rules(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "rules", tmp_path / "mine")
    with (tmp_path / "mine/windows.yaml").open("a", encoding="utf-8") as file:
        file.write(
            "\n  caller_calls_7m:\n    {kind: count, by: caller, over: 7m, where: 'hour < 6', "
            "doc: {en: a | b, ru: ночью, kk: түнде}}\n"
        )
    done = antifraud("reference", "mine", "--out", "page.md", "--language", "ru", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "page.md written\n")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| `caller_calls_7m` | count | caller | 7m | `where: hour < 6` | ночью |" in page
    assert "| a \\| b |" in antifraud("reference", "mine", cwd=tmp_path).stdout


@pytest.mark.parametrize(("language", "letters"), [("ru", "[а-яё]"), ("kk", "[а-яёәғқңөұүһі]")])
def test_a_page_in_another_language_has_no_english_words(language: str, letters: str) -> None:
    page = antifraud("reference", "--language", language).stdout
    plain = re.sub(r"`[^`]*`|\([\w-]+\.md\)", "", page)
    for line in plain.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        told = (
            cells[1:4] + cells[5:] if line.startswith("| ") and len(cells) == 5 else [line] if "|" not in line else []
        )
        for cell in told:
            assert not cell.strip(" -") or re.search(letters, cell), line
    heads = [line for line in plain.splitlines() if line.startswith(("#", "| window", "| field", "| written"))]
    assert heads
    assert all(re.search(letters, line) for line in heads), heads


def test_every_text_of_the_page_is_translated() -> None:
    said = set(LANGUAGE)
    said |= {text for construct in CONSTRUCTS for text in (construct.takes, construct.meaning, construct.missing)}
    said |= set(MOMENTS.values())
    assert said <= TRANSLATED.keys(), said - TRANSLATED.keys()
    for english, (russian, kazakh) in TRANSLATED.items():
        for pattern in (r"\{\w+\}", r"`[^`]*`", r"\d\d:\d\d", r"\(\S+\.md\)"):
            wanted = sorted(re.findall(pattern, english))
            assert sorted(re.findall(pattern, russian)) == sorted(re.findall(pattern, kazakh)) == wanted, english
        assert russian.endswith("\n") == kazakh.endswith("\n") == english.endswith("\n")


@pytest.mark.parametrize("construct", CONSTRUCTS, ids=lambda construct: construct.written)
def test_the_example_is_what_the_page_says(construct: Construct, tmp_path: Path) -> None:
    """Through the interpreter and the compiled code alike, as tests in rule files are run."""
    used = "".join(f"  {name}: {value}\n" for name, value in PARAMS.items() if f"params.{name}" in construct.example)
    text = rule_text(construct.example, params=f"params:\n{used}" if used else "")
    write(
        tmp_path,
        {
            "packs/demo/sample.yaml": text,
            "packs/demo/negated.yaml": text.replace("rule: sample", "rule: negated").replace(
                construct.example, f"not ({construct.example})"
            ),
            "lists/honest_heavy_callers.yaml": list_text("honest_heavy_callers", '["+77000000001"]'),
            "calendar.yaml": CALENDAR.format(holidays="\n  - {date: 2026-01-01, name: New Year}"),
        },
    )
    rules = load(tmp_path)
    for given, held in construct.cases:
        row = rules.row(given)
        for name, expected in (("sample", held), ("negated", None if held is None else not held)):
            rule = rules.rule(name)
            assert rules.interpreter(row, rule.params).holds(rule.when) is expected, given
            hit = rules.compile_single(rule)(row, list(rule.params.values()))
            assert bool(hit) == (expected is True), given


def test_every_case_of_three_is_shown() -> None:
    for construct in CONSTRUCTS:
        held = {case[1] for case in construct.cases}
        assert {True, False} <= held, construct.written
        assert (None in held) == ("never" not in construct.missing), construct.written


def test_nothing_is_left_out() -> None:
    said = " ".join(f"{construct.written} {construct.example}" for construct in CONSTRUCTS)
    for word in (*FUNCTIONS, *lexer._BINARY, *lexer._WORD_OPERATORS, "not", "not in", "params.", "lists."):
        assert word in said, word


def test_every_field_and_window_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    fields, windows, _order = vocabulary()
    for name in (*fields, *windows, "score"):
        assert page.count(f"| `{name}` | ") == 1, name
