"""Every finding of the commands on whole rule sets has one golden file: what a person sees.

After one was changed on purpose: ``ANTIFRAUD_GOLDEN=write pytest tests/unit/rulekit/test_findings.py``, and read the
difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest

from antifraud.domain import BundleError, Location, Problem, Stage
from antifraud.rulekit import RuleProblem
from antifraud.rulekit.crosscheck import check_calendar, cross_check
from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.findings import Finding, is_warning
from antifraud.rulekit.layout import layout_file
from antifraud.rulekit.lock import compare_with_lock, read_lock
from antifraud.rulekit.promotion import check_promotion
from antifraud.rulekit.sources import RuleSources

from .release import BUDGET, PARAMS, WHEN, day, decision, exception, locked, rule, rules
from .workbench import CALENDAR, list_text, write

GOLDEN = Path(__file__).parent / "golden_findings"
Found = Iterable[Problem]
Case = Callable[[Path], Found]


def crossed(*texts: str, today: str = "2026-12-01", **lists: str) -> Case:
    return lambda folder: cross_check(rules(folder, *texts, **lists), RuleSources(), day(today))


def against_lock(before: str, after: str, *gone: str) -> Case:
    def found(folder: Path) -> Found:
        lock = locked(rules(folder, before, *gone))
        return compare_with_lock(rules(folder, after), lock, RuleSources(), "rules.lock")

    return found


def unknown_to_lock(folder: Path) -> Found:
    return compare_with_lock(rules(folder, rule(stage="enforce")), {}, RuleSources(), "rules.lock")


def unreadable_lock(folder: Path) -> Found:
    try:
        read_lock(Sheet("rules.lock", "format: 1\nrules:\n  sample:\n    version: one\n    stage: shadow\n"))
    except BundleError as error:
        return error.problems
    return []


def calendar_of(*years: int) -> Case:
    def found(folder: Path) -> Found:
        holidays = "".join(f"\n  - {{date: {year}-01-01, name: New Year}}" for year in years)
        text = CALENDAR.format(holidays=holidays).replace("[2026, 2027]", f"[{years[0]}, {years[-1]}]")
        return check_calendar(write(folder, {"calendar.yaml": text}), day("2028-11-01"))

    return found


def laid_out(text: str) -> Case:
    def found(folder: Path) -> Found:
        sheet = Sheet("sample.yaml", text)
        assert layout_file(sheet) is None
        return sheet.problems

    return found


def promoted(to: Stage, text: str | None = None, *approvals: str, now: Stage | None = None, locks: bool = True) -> Case:
    def found(folder: Path) -> Found:
        loaded = rules(folder, text or rule())
        lock = locked(loaded)
        if now is not None:
            lock = {name: msgspec.structs.replace(entry, stage=now) for name, entry in lock.items()}
        percent = 5.0 if to is Stage.CANARY else 100.0
        chosen = loaded.rule("sample")
        return check_promotion(
            loaded, chosen, lock if locks else None, RuleSources(), to, percent, decision(*approvals)
        )

    return found


def made(finding: Finding) -> Case:
    """Of findings that say that the product itself has failed: they cannot be brought about."""
    return lambda folder: [finding.problem(Location("packs/demo/sample.yaml", 12, 3))]


_HITS = "tests:\n  - name: late\n    given: {hour: 23, caller_calls_1h: 50}\n    expect: hit\n"
CASES: dict[Finding, Case] = {
    Finding.NEITHER_RULE_NOR_LIST: laid_out("windows: []\n"),
    Finding.LAYOUT_UNSAFE: made(Finding.LAYOUT_UNSAFE),
    Finding.NEVER_HITS: crossed(rule(when=f"{WHEN}\nand hour < 6", stage="draft")),
    Finding.NEVER_HITS_ALONE: crossed(rule(when="hour < hour\nand caller_calls_1h > params.calls")),
    Finding.NEVER_HITS_PARAMS: crossed(rule(when=f"{WHEN}\nand caller_calls_1h < 10")),
    Finding.SHADOWED: crossed(
        rule("strict", when=f"{WHEN}\nand callee_short"), rule("wide", stage="enforce", params="params:\n  calls: 10\n")
    ),
    Finding.SAID_TWICE: crossed(rule("one"), rule("two", when="caller_calls_1h >= params.calls\nand hour > 22")),
    Finding.VERDICTS_DIFFER: crossed(rule("one", stage="enforce"), rule("two", verdict="label", stage="enforce")),
    Finding.PARAM_ONLY_SHOWN: crossed(
        rule(params=f"{PARAMS}  days: 7\n", reason='"{caller} within {params.days} days"'),
    ),
    Finding.BUDGET_MISSING: crossed(rule(stage="canary", rollout="  percent: 5\n")),
    Finding.EXCEPTION_ENDED: crossed(rule(unless=exception(until="2026-11-30"))),
    Finding.ENTRIES_ENDED: crossed(
        rule(),
        known=list_text("known", '\n  - "+77000000001"\n  - {value: "+77000000002", until: 2026-11-30}'),
    ),
    Finding.REVIEW_OVERDUE: crossed(rule(rollout="  review_by: 2026-11-30\n")),
    Finding.CALENDAR_ENDS: calendar_of(2027, 2028),
    Finding.LOCK_CHANGED: against_lock(rule(), rule(params="params:\n  calls: 10\n")),
    Finding.LOCK_STAGE: against_lock(rule(), rule(stage="enforce")),
    Finding.LOCK_PERCENT: against_lock(
        rule(stage="canary", rollout="  percent: 5\n"), rule(stage="canary", rollout="  percent: 50\n")
    ),
    Finding.LOCK_BUDGET: against_lock(
        rule(stage="enforce", rollout=BUDGET), rule(stage="enforce", rollout=BUDGET.replace("20", "500"))
    ),
    Finding.LOCK_UNKNOWN: unknown_to_lock,
    Finding.LOCK_GONE: against_lock(rule(), rule(), rule("gone")),
    Finding.LOCK_UNREADABLE: unreadable_lock,
    Finding.LOCK_NONE: promoted(Stage.CANARY, locks=False),
    Finding.PROMOTE_SKIPS: promoted(Stage.ENFORCE, None, "Bob"),
    Finding.PROMOTE_SAME: promoted(Stage.SHADOW),
    Finding.PROMOTE_TESTS: promoted(Stage.SHADOW, rule(stage="draft").split("tests:")[0] + _HITS),
    Finding.PROMOTE_FAILS: promoted(Stage.CANARY, rule(params="params:\n  calls: 60\n")),
    Finding.PROMOTE_UNPROVEN: promoted(Stage.CANARY, rule(when=f"{WHEN}\nand not callee_short")),
    Finding.PROMOTE_BUDGET: promoted(Stage.CANARY),
    Finding.PROMOTE_UNFINISHED: promoted(Stage.SHADOW, rule(stage="draft", reason='"TODO say it: {caller}"')),
    Finding.PROMOTE_OVERDUE: promoted(Stage.CANARY, rule(rollout="  review_by: 2026-11-30\n")),
    Finding.PROMOTE_APPROVAL: promoted(Stage.ENFORCE, rule(), " ann ", now=Stage.CANARY),
    Finding.PROMOTE_PROTECT: promoted(Stage.RETIRED, rule(verdict="protect", stage="enforce"), "ann"),
    Finding.ROLLOUT_UNSAFE: made(Finding.ROLLOUT_UNSAFE),
}


@pytest.mark.parametrize("finding", list(Finding), ids=lambda finding: finding.code)
def test_what_people_see(finding: Finding, tmp_path: Path) -> None:
    problems = [
        item for item in CASES[finding](tmp_path) if isinstance(item, RuleProblem) and item.code == finding.code
    ]
    assert problems
    shown = "\n".join(item.render() for item in problems).replace(f"{tmp_path}/", "") + "\n"
    golden = GOLDEN / f"{finding.code}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8")


def test_every_finding_has_its_file() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {finding.code for finding in Finding}


def test_findings_keep_the_house_rules() -> None:
    for finding in Finding:
        _warning, sentence, hint = finding.value
        assert not sentence.endswith("."), finding
        assert not sentence[0].isupper(), finding
        assert hint, finding
        assert is_warning(finding.problem(None, **dict.fromkeys(_names(sentence + hint), "x"))) == finding.warning


def _names(text: str) -> set[str]:
    return {piece.split("}")[0] for piece in text.split("{")[1:]}
