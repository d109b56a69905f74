"""The table of the reference, line by line: what is patch, minor and major."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.rulekit.comparison import Change, compare, declarations
from antifraud.rulekit.documents import Sheet, parse_sheet

from .release import PARAMS, WHEN, day, exception, rule, rules
from .workbench import list_text

ENFORCE = {"stage": "enforce"}
CANARY = {"stage": "canary", "rollout": "  percent: 5\n"}


def changes(folder: Path, before: dict[str, str] | None, after: dict[str, str] | None) -> tuple[Change, ...]:
    old = rules(folder / "old", *([rule(**before)] if before is not None else []))
    new = rules(folder / "new", *([rule(**after)] if after is not None else []))
    found = compare(old, new, now=day("2026-12-01"))
    return found.rules[0].changes if found.rules else ()


CASES: dict[str, tuple[dict[str, str] | None, dict[str, str] | None, str, str]] = {
    # new and removed rules
    "a new rule that blocks": (None, ENFORCE, "rule", "major"),
    "a new rule that diverts some": (None, {**CANARY, "verdict": "divert"}, "rule", "major"),
    "a new rule that labels": (None, {**ENFORCE, "verdict": "label"}, "rule", "minor"),
    "a new rule in shadow": (None, {}, "rule", "minor"),
    "a new draft": (None, {"stage": "draft"}, "rule", "patch"),
    "a rule removed": (ENFORCE, None, "rule", "patch"),
    "a rule that protects, removed": ({**ENFORCE, "verdict": "protect"}, None, "rule", "major"),
    # verdict, stage, percent
    "harder": ({**ENFORCE, "verdict": "divert"}, ENFORCE, "verdict", "major"),
    "harder, but no stop": ({**ENFORCE, "verdict": "label"}, {**ENFORCE, "verdict": "challenge"}, "verdict", "minor"),
    "harder in shadow": ({"verdict": "label"}, {}, "verdict", "minor"),
    "milder": (ENFORCE, {**ENFORCE, "verdict": "divert"}, "verdict", "patch"),
    "protects no more": ({**ENFORCE, "verdict": "protect"}, ENFORCE, "verdict", "major"),
    "to shadow": ({"stage": "draft"}, {}, "stage", "minor"),
    "to canary": ({}, CANARY, "stage", "major"),
    "to enforce": (CANARY, ENFORCE, "stage", "major"),
    "a label to enforce": ({**CANARY, "verdict": "label"}, {**ENFORCE, "verdict": "label"}, "stage", "minor"),
    "back": (ENFORCE, {}, "stage", "patch"),
    "protection back": ({**ENFORCE, "verdict": "protect"}, {"stage": "draft", "verdict": "protect"}, "stage", "major"),
    "more callers": (CANARY, {**CANARY, "rollout": "  percent: 6\n"}, "percent", "major"),
    "fewer callers": (CANARY, {**CANARY, "rollout": "  percent: 4\n"}, "percent", "patch"),
    # the budget of false hits
    "a larger budget": (
        {**ENFORCE, "rollout": "  false_hits_per_million: 20\n"},
        {**ENFORCE, "rollout": "  false_hits_per_million: 50\n"},
        "false_hits_per_million",
        "minor",
    ),
    "a smaller budget": (
        {**ENFORCE, "rollout": "  false_hits_per_million: 20\n"},
        {**ENFORCE, "rollout": "  false_hits_per_million: 10\n"},
        "false_hits_per_million",
        "patch",
    ),
    "a first budget": (
        ENFORCE,
        {**ENFORCE, "rollout": "  false_hits_per_million: 20\n"},
        "false_hits_per_million",
        "patch",
    ),
    "no budget any more": (
        {**CANARY, "rollout": "  percent: 5\n  false_hits_per_million: 20\n"},
        CANARY,
        "false_hits_per_million",
        "minor",
    ),
    "a larger budget in shadow": (
        {"rollout": "  false_hits_per_million: 20\n"},
        {"rollout": "  false_hits_per_million: 50\n"},
        "false_hits_per_million",
        "patch",
    ),
    # condition and parameters
    "another term": (ENFORCE, {**ENFORCE, "when": f"{WHEN}\nand callee_short"}, "condition", "patch"),
    "a term less": ({**ENFORCE, "when": f"{WHEN}\nand callee_short"}, ENFORCE, "condition", "major"),
    "a stricter threshold": (ENFORCE, {**ENFORCE, "when": WHEN.replace("22", "22.5")}, "condition", "patch"),
    "a looser threshold": (ENFORCE, {**ENFORCE, "when": WHEN.replace("22", "21")}, "condition", "major"),
    "a stricter parameter": (ENFORCE, {**ENFORCE, "params": "params:\n  calls: 30\n"}, "params.calls", "patch"),
    "a looser parameter": (ENFORCE, {**ENFORCE, "params": "params:\n  calls: 10\n"}, "params.calls", "major"),
    "a looser parameter in shadow": ({}, {"params": "params:\n  calls: 10\n"}, "params.calls", "minor"),
    "a looser parameter of a draft": (
        {"stage": "draft"},
        {"stage": "draft", "params": "params:\n  calls: 10\n"},
        "params.calls",
        "patch",
    ),
    "a parameter that a region may have set": (
        ENFORCE,
        {**ENFORCE, "when": "hour > 22\nand caller_calls_1h >= 99", "params": ""},
        "condition",
        "major",
    ),
    "a number made a parameter": (
        {**ENFORCE, "when": "hour > 22\nand caller_calls_1h >= 20", "params": ""},
        ENFORCE,
        "condition",
        "patch",
    ),
    "in another order": (
        ENFORCE,
        {**ENFORCE, "when": "caller_calls_1h >= params.calls\nand hour > 22"},
        "condition",
        "patch",
    ),
    "something else": (ENFORCE, {**ENFORCE, "when": f"{WHEN}\nor callee_short"}, "condition", "major"),
    "protects fewer": (
        {**ENFORCE, "verdict": "protect"},
        {**ENFORCE, "verdict": "protect", "when": f"{WHEN}\nand callee_short"},
        "condition",
        "major",
    ),
    "protects more": (
        {**ENFORCE, "verdict": "protect", "when": f"{WHEN}\nand callee_short"},
        {**ENFORCE, "verdict": "protect"},
        "condition",
        "patch",
    ),
    # exceptions
    "an exception": (ENFORCE, {**ENFORCE, "unless": exception()}, "exception lab", "patch"),
    "an exception removed": ({**ENFORCE, "unless": exception()}, ENFORCE, "exception lab", "major"),
    "an exception that had ended": (
        {**ENFORCE, "unless": exception(until="2026-11-30")},
        ENFORCE,
        "exception lab",
        "patch",
    ),
    "an exception that ends earlier": (
        {**ENFORCE, "unless": exception()},
        {**ENFORCE, "unless": exception(until="2026-12-31")},
        "exception lab",
        "major",
    ),
    "an exception that ends later": (
        {**ENFORCE, "unless": exception()},
        {**ENFORCE, "unless": exception(until="2027-12-31")},
        "exception lab",
        "patch",
    ),
    "a narrower exception": (
        {**ENFORCE, "unless": exception()},
        {**ENFORCE, "unless": exception(when='trunk == "lab" and callee_short')},
        "exception lab",
        "major",
    ),
    "an exception written into the condition": (
        {**ENFORCE, "unless": exception()},
        {**ENFORCE, "when": f'{WHEN}\nand trunk != "lab"'},
        "exception lab",
        "patch",
    ),
    "an exception to protection": (
        {**ENFORCE, "verdict": "protect"},
        {**ENFORCE, "verdict": "protect", "unless": exception()},
        "exception lab",
        "major",
    ),
    # texts
    "a reason": (ENFORCE, {**ENFORCE, "reason": "another reason"}, "reason", "patch"),
    "a day of review": (ENFORCE, {**ENFORCE, "rollout": "  review_by: 2027-01-01\n"}, "review_by", "patch"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_table(case: str, tmp_path: Path) -> None:
    before, after, what, level = CASES[case]
    found = {change.what: change.level for change in changes(tmp_path, before, after)}
    assert found[what] == level, found


def test_a_condition_whose_layout_differs_is_the_same(tmp_path: Path) -> None:
    assert changes(tmp_path, {}, {"when": f"# so\n{WHEN.replace(' and ', '   and ')}  # there"}) == ()


@pytest.mark.parametrize(
    ("when", "unless", "after", "level"),
    [
        ("caller in lists.known", "", '["+77000000001", "+77000000002"]', "major"),
        ("caller in lists.known", "", "[]", "patch"),
        ("caller not in lists.known", "", "[]", "major"),
        ("caller not in lists.known", "", '["+77000000001", "+77000000002"]', "patch"),
        ("callee_short", exception(when="caller in lists.known"), "[]", "major"),
        ("callee_short", exception(when="caller in lists.known"), '["+77000000001", "+77000000002"]', "patch"),
        ("callee_short", "", "[]", "patch"),
        (
            "callee_short",
            exception(when="caller in lists.known"),
            '[{value: "+77000000001", until: 2027-01-01}]',
            "major",
        ),
    ],
)
def test_lists(tmp_path: Path, when: str, unless: str, after: str, level: str) -> None:
    text = rule(when=when, unless=unless, params="", stage="enforce")
    old = rules(tmp_path / "old", text, known=list_text("known", '["+77000000001"]'))
    new = rules(tmp_path / "new", text, known=list_text("known", after))
    found = compare(old, new, now=day("2026-12-01"))
    assert found.rules == ()
    assert [(item.name, item.level) for item in found.lists] == [("known", level)]


def test_lists_that_protect(tmp_path: Path) -> None:
    head = "class: protect\n"
    one = rules(tmp_path / "one", known=list_text("known", '["+77000000001"]', head=head))
    both = rules(tmp_path / "both", known=list_text("known", '["+77000000001"]', head=head + "protects: both\n"))
    fewer = rules(tmp_path / "fewer", known=list_text("known", "[]", head=head))
    none = rules(tmp_path / "none")
    loose = rules(tmp_path / "loose", known=list_text("known", '["+77000000001"]', head=head + "removable: true\n"))
    pairs = (
        (one, both, "patch"),
        (both, one, "major"),
        (one, fewer, "major"),
        (one, none, "major"),
        (none, one, "patch"),
        (one, loose, "major"),
        (loose, one, "patch"),
    )
    for old, new, level in pairs:
        assert compare(old, new).level == level


def test_windows(tmp_path: Path) -> None:
    def said(over: str, doc: str) -> dict[str, str]:
        text = f"version: 1\nwindows:\n  caller_calls_1h:\n    kind: count\n    over: {over}\n    doc: {{en: {doc}}}\n"
        return declarations(parse_sheet(Sheet("windows.yaml", text), max_nodes=100))

    found = rules(tmp_path, rule(stage="enforce"))
    assert compare(found, found, windows=(said("1h", "a"), said("1h", "b"))).level is None
    assert compare(found, found, windows=(said("1h", "a"), said("2h", "a"))).level == "major"
    shadow = rules(tmp_path, rule())
    assert compare(shadow, shadow, windows=(said("1h", "a"), said("2h", "a"))).level == "minor"
    assert compare(found, found, windows=({}, said("2h", "a"))).level == "patch"


def test_texts_of_changes_are_short_and_readable(tmp_path: Path) -> None:
    (change,) = changes(tmp_path, ENFORCE, {**ENFORCE, "reason": '"{caller} called at {hour}"'})
    assert (change.before, change.after) == ("a reason", "{caller} called at {hour}")
    (change,) = changes(tmp_path, ENFORCE, {**ENFORCE, "params": PARAMS.replace("20", "0.5")})
    assert (change.before, change.after, change.words) == ("20", "0.5", "may hit more calls")
