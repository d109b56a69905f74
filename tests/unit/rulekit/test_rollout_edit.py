"""The edit that a promotion makes in a rule's file: stage, percent and by, and nothing else."""

from __future__ import annotations

import pytest

from antifraud.domain import BundleError, Stage
from antifraud.rulekit.promotion import with_rollout
from antifraud.rulekit.sources import RuleSource

HEAD = "rule: sample   # first\ntitle:   'odd   layout'\n"
TAIL = "tests:\n- {name: a,   expect: hit}\n"

CASES = {
    "percent comes": (
        "rollout:\n  # watched\n  stage: shadow   # since May\n  by: Ann\n",
        Stage.CANARY,
        5.0,
        "rollout:\n  # watched\n  stage: canary   # since May\n  percent: 5\n  by: Bob\n",
    ),
    "percent changes": (
        "rollout:\n  percent:   5  # few\n  stage: 'canary'\n",
        Stage.CANARY,
        12.5,
        "rollout:\n  percent:   12.5  # few\n  stage: canary\n",
    ),
    "percent goes": (
        "rollout:\n  stage: canary\n  percent: 5\n  review_by: 2027-01-01\n",
        Stage.ENFORCE,
        100.0,
        "rollout:\n  stage: enforce\n  review_by: 2027-01-01\n",
    ),
    "percent goes, its comment stays": (
        "rollout:\n  stage: canary\n  percent: 5  # one in twenty\n",
        Stage.SHADOW,
        100.0,
        "rollout:\n  stage: shadow\n  # one in twenty\n",
    ),
    "in brackets, percent comes": (
        "rollout: {stage: shadow, by: 'me'}  # yes\n",
        Stage.CANARY,
        5.0,
        "rollout: {stage: canary, percent: 5, by: Bob}  # yes\n",
    ),
    "in brackets, percent goes": (
        "rollout: { stage: canary , percent: 5, by: me }\n",
        Stage.RETIRED,
        100.0,
        "rollout: { stage: retired , by: Bob }\n",
    ),
    "in brackets, percent first": (
        "rollout: {percent: 5, stage: canary}\n",
        Stage.DRAFT,
        100.0,
        "rollout: {stage: draft}\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tail", [TAIL, ""])
def test_edits(case: str, tail: str) -> None:
    before, stage, percent, after = CASES[case]
    source = RuleSource.parse("sample.yaml", HEAD + before + tail)
    assert with_rollout(source, stage, percent, "Bob") == HEAD + after + tail


def test_at_the_very_end_of_a_file() -> None:
    source = RuleSource.parse("sample.yaml", HEAD + "rollout:\n  stage: shadow")
    assert with_rollout(source, Stage.CANARY, 5.0, "Bob") == HEAD + "rollout:\n  stage: canary\n  percent: 5"
    source = RuleSource.parse("sample.yaml", HEAD + "rollout:\n  stage: canary\n  percent: 5")
    assert with_rollout(source, Stage.DRAFT, 5.0, "Bob") == HEAD + "rollout:\n  stage: draft\n"


def test_names_that_need_quotes() -> None:
    source = RuleSource.parse("sample.yaml", HEAD + "rollout:\n  stage: shadow\n  by: x\n")
    text = with_rollout(source, Stage.DRAFT, 100.0, 'a: "b" # c')
    assert RuleSource.parse("sample.yaml", text).text("rollout", "by") == 'a: "b" # c'


def test_what_cannot_be_edited_safely_is_refused() -> None:
    text = HEAD + "rollout: {stage: canary, percent: 5 # five\n  , by: x}\n"
    try:
        after = with_rollout(RuleSource.parse("sample.yaml", text), Stage.SHADOW, 100.0, "Bob")
    except BundleError as error:
        assert "without touching something else" in str(error)  # noqa: PT017 - either is right
    else:
        assert "# five" in after
