"""``false_hits_per_million``: what is accepted, who needs one, and where it stands in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.domain import Stage
from antifraud.rulekit.crosscheck import cross_check
from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.layout import layout_file
from antifraud.rulekit.promotion import check_promotion
from antifraud.rulekit.sources import RuleSources

from .release import BUDGET, day, decision, locked, rule, rules
from .workbench import load_one, problems, rule_text, write


@pytest.mark.parametrize(("words", "value"), [("20", 20.0), ("0.5", 0.5), ("100_000", 100_000.0), ("1e3", 1_000.0)])
def test_a_budget_is_read_at_any_stage(tmp_path: Path, words: str, value: float) -> None:
    text = rule_text(rollout=f"  false_hits_per_million: {words}\n")
    assert load_one(tmp_path, text).rule("sample").false_hits_per_million == value
    assert load_one(tmp_path, rule_text()).rule("sample").false_hits_per_million is None


@pytest.mark.parametrize("words", ["0", "-1", "100001", "1e9"])
def test_a_budget_out_of_range_is_refused_at_its_place(tmp_path: Path, words: str) -> None:
    text = rule_text(rollout=f"  false_hits_per_million: {words}\n")
    (problem,) = problems(write(tmp_path, {"packs/demo/sample.yaml": text}))
    assert problem.message == "false_hits_per_million must be between 0, excluded, and 100000"
    assert "none at all cannot be shown" in problem.hint
    assert problem.where is not None
    assert text.splitlines()[problem.where.line - 1][problem.where.column - 1 :] == words


@pytest.mark.parametrize("words", ["few", '"20"', "[20]", "yes", ".nan", ".inf", ""])
def test_a_budget_is_a_number(tmp_path: Path, words: str) -> None:
    text = rule_text(rollout=f"  false_hits_per_million: {words}\n")
    (problem,) = problems(write(tmp_path, {"packs/demo/sample.yaml": text}))
    assert problem.message == "false_hits_per_million must be a number"


@pytest.mark.parametrize(
    ("stage", "verdict", "needed"),
    [
        ("draft", "block", False),
        ("shadow", "block", False),
        ("canary", "label", True),
        ("enforce", "block", True),
        ("enforce", "protect", False),
        ("retired", "block", False),
    ],
)
def test_lint_asks_for_it_where_a_rule_acts(tmp_path: Path, stage: str, verdict: str, needed: bool) -> None:
    percent = "  percent: 5\n" if stage == "canary" else ""
    found = rules(tmp_path, rule(stage=stage, verdict=verdict, rollout=percent))
    codes = [problem.code for problem in cross_check(found, RuleSources(), day("2026-12-01"))]
    assert codes == (["budget-missing"] if needed else [])
    if verdict != "protect":
        found = rules(tmp_path, rule(stage=stage, verdict=verdict, rollout=percent + BUDGET))
        assert cross_check(found, RuleSources(), day("2026-12-01")) == []


def test_promotion_asks_for_it_from_canary_on(tmp_path: Path) -> None:
    def codes(to: Stage, stage: str, verdict: str = "block", rollout: str = "") -> list[str]:
        found = rules(tmp_path, rule(stage=stage, verdict=verdict, rollout=rollout))
        lock = locked(found)
        problems = check_promotion(found, found.rules[0], lock, RuleSources(), to, 5.0, decision("Bob"))
        return [problem.code for problem in problems]

    assert codes(Stage.SHADOW, "draft") == []
    assert codes(Stage.CANARY, "shadow") == ["promote-budget"]
    assert codes(Stage.CANARY, "shadow", rollout=BUDGET) == []
    assert codes(Stage.ENFORCE, "canary", rollout="  percent: 5\n") == ["promote-budget"]
    assert codes(Stage.ENFORCE, "draft", verdict="protect") == []
    # Back goes always.
    assert codes(Stage.SHADOW, "enforce") == []


@pytest.mark.parametrize("command", ["alert", "release"])
def test_a_rule_on_calls_in_progress_has_the_same_limits(tmp_path: Path, command: str) -> None:
    def codes(to: Stage, stage: str, rollout: str = "") -> tuple[list[str], list[str]]:
        text = rule(stage=stage, rollout=rollout).replace("when: |", "on: answer\nwhen: |")
        found = rules(tmp_path, text.replace("verdict: block", f"command: {command}"))
        problems = check_promotion(found, found.rules[0], locked(found), RuleSources(), to, 5.0, decision("Bob"))
        asked = cross_check(found, RuleSources(), day("2026-12-01"))
        return [problem.code for problem in problems], [problem.code for problem in asked]

    assert codes(Stage.CANARY, "shadow") == (["promote-budget"], [])
    assert codes(Stage.ENFORCE, "canary", "  percent: 5\n") == (["promote-budget"], ["budget-missing"])
    assert codes(Stage.ENFORCE, "canary", "  percent: 5\n" + BUDGET) == ([], [])


def test_fmt_puts_it_behind_the_percent_and_keeps_what_is_said_beside_it() -> None:
    mixed = "  review_by: 2027-01-01\n  false_hits_per_million: 20   # travellers\n  percent: 5\n"
    text = layout_file(Sheet("sample.yaml", rule(stage="canary", rollout=mixed)))
    assert text is not None
    rollout = text[text.index("rollout:") : text.index("tests:")]
    assert rollout.splitlines()[1:] == [
        "  stage: canary",
        "  percent: 5",
        "  false_hits_per_million: 20  # travellers",
        "  review_by: 2027-01-01",
    ]
