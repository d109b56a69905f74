"""rules.lock: what counts as a change, and that the file is read as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.domain import BundleError, Stage
from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.lock import LockEntry, approvers, compare_with_lock, content_of, read_lock, write_lock
from antifraud.rulekit.promotion import check_locking, check_promotion, decided, following, milder
from antifraud.rulekit.sources import RuleSources

from .release import BUDGET, PARAMS, WHEN, decision, exception, locked, rule, rules
from .workbench import RULES, load


def content(folder: Path, **parts: str) -> str:
    found = rules(folder, rule(**parts))
    return content_of(found.rule("sample"), RuleSources()(found.rule("sample")))


def test_what_is_no_change(tmp_path: Path) -> None:
    first = content(tmp_path)
    assert content(tmp_path, reason="another reason", rollout="  review_by: 2027-01-01\n") == first
    assert content(tmp_path, stage="enforce") == first
    assert content(tmp_path, when=f"# why\nhour>22.0 and\n({'caller_calls_1h'})  >=params.calls") != first
    assert content(tmp_path, when="# why\nhour>22.0 and\ncaller_calls_1h   >=params.calls  # so") == first
    spared = content(tmp_path, unless=exception())
    assert content(tmp_path, unless=exception(name="other")) == spared


def test_what_is_a_change(tmp_path: Path) -> None:
    found = {
        content(tmp_path),
        content(tmp_path, verdict="divert"),
        content(tmp_path, when=WHEN.replace("22", "21")),
        content(tmp_path, params=PARAMS.replace("20", "21")),
        content(tmp_path, unless=exception()),
        content(tmp_path, unless=exception(until="2027-01-02")),
        content(tmp_path, unless=exception(when='trunk == "lab-2"')),
    }
    assert len(found) == 7


def test_written_and_read_again() -> None:
    lock = {
        "b": LockEntry(3, "0123456789abcdef", Stage.CANARY, 12.5, "2026-12-01T09:00:00Z", "Ann: 7", 'so "it" is # x'),
        "a": LockEntry(
            1, "fedcba9876543210", Stage.ENFORCE, 100.0, "2026-12-01T09:00:00Z", "112", "yes", ("Bob", "c, d"), 0.5
        ),
    }
    text = write_lock(lock)
    assert read_lock(Sheet("rules.lock", text)) == lock
    assert text.index("  a:") < text.index("  b:")
    assert read_lock(Sheet("rules.lock", write_lock({}))) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "format: 2\nrules: {}\n",
        "rules: {}\n",
        "format: 1\nrules: []\n",
        "format: 1\nrules: {a: {version: 0, content: '0123456789abcdef', stage: draft, when: x, by: y, why: z}}\n",
        "format: 1\nrules: {a: {version: 1, content: '0123', stage: draft, when: x, by: y, why: z}}\n",
        "format: 1\nrules: {a: {version: 1, content: '0123456789abcdef', stage: live, when: x, by: y, why: z}}\n",
        "format: 1\nrules: &a {}\n",
    ],
)
def test_a_damaged_lock_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match=r"rules\.lock cannot be used"):
        read_lock(Sheet("rules.lock", text))


def test_drafts_and_retired_rules_may_change_freely(tmp_path: Path) -> None:
    lock = locked(rules(tmp_path, rule(stage="draft"), rule("old", stage="retired")))
    changed = PARAMS.replace("20", "21")
    found = rules(tmp_path, rule(stage="draft", params=changed), rule("old", stage="retired", params=changed))
    assert compare_with_lock(found, lock, RuleSources(), "rules.lock") == []
    assert compare_with_lock(rules(tmp_path, rule(stage="draft")), {}, RuleSources(), "rules.lock") == []


def test_approvers_are_others() -> None:
    assert approvers("Ann Lee", ["ann  lee", " ", "Bob", "BOB", "Eve"]) == ("Bob", "Eve")


def test_steps(tmp_path: Path) -> None:
    usual = rules(tmp_path, rule()).rule("sample")
    order = [Stage.DRAFT]
    while following(usual, order[-1]) is not order[-1]:
        order.append(following(usual, order[-1]))
    assert order == [Stage.DRAFT, Stage.SHADOW, Stage.CANARY, Stage.ENFORCE]
    protects = rules(tmp_path, rule(verdict="protect", stage="draft")).rule("sample")
    assert following(protects, Stage.DRAFT) is Stage.ENFORCE
    assert following(usual, Stage.RETIRED) is Stage.DRAFT
    assert milder(Stage.RETIRED, Stage.DRAFT)
    assert not milder(Stage.ENFORCE, Stage.ENFORCE)


def test_back_goes_always(tmp_path: Path) -> None:
    failing = rule(
        stage="enforce", params=PARAMS.replace("20", "60"), rollout="  review_by: 2020-01-01\n", reason="TODO"
    )
    found = rules(tmp_path, failing)
    for to in (Stage.CANARY, Stage.SHADOW, Stage.DRAFT, Stage.RETIRED):
        problems = check_promotion(found, found.rule("sample"), locked(found), RuleSources(), to, 5.0, decision())
        assert problems == []


def test_the_lock_counts_where_the_file_was_edited_by_hand(tmp_path: Path) -> None:
    lock = locked(rules(tmp_path, rule()))
    found = rules(tmp_path, rule(stage="enforce", rollout=BUDGET))
    for to, codes in (
        (Stage.ENFORCE, ["promote-skips"]),
        (Stage.CANARY, []),
        (Stage.SHADOW, []),
        (Stage.DRAFT, []),
    ):
        problems = check_promotion(found, found.rule("sample"), lock, RuleSources(), to, 5.0, decision("Bob"))
        assert [problem.code for problem in problems] == codes, to


def test_a_rule_that_the_lock_does_not_know_begins_as_a_draft(tmp_path: Path) -> None:
    found = rules(tmp_path, rule(stage="canary", rollout="  percent: 5\n"))
    check = lambda to: check_promotion(found, found.rule("sample"), {}, RuleSources(), to, 5.0, decision())  # noqa: E731
    assert [problem.code for problem in check(Stage.CANARY)] == ["promote-skips"]
    assert check(Stage.SHADOW) == []


def test_a_changed_rule_at_enforce_needs_a_second_person_again(tmp_path: Path) -> None:
    lock = locked(rules(tmp_path, rule(stage="enforce")))
    found = rules(tmp_path, rule(stage="enforce", params=PARAMS.replace("20", "21"), rollout=BUDGET))
    for approvals, codes in (((), ["promote-approval"]), (("Bob",), [])):
        choice = decision(*approvals)
        locking, problems = check_locking(found, found.rules, lock, RuleSources(), choice, "rules.lock")
        assert [problem.code for problem in problems] == codes
        assert (locking.changed, locking.lock["sample"].version) == (("sample",), 2)
        problems = check_promotion(found, found.rules[0], lock, RuleSources(), Stage.ENFORCE, 100.0, choice)
        assert [problem.code for problem in problems] == codes


def test_a_raised_budget_has_to_be_decided(tmp_path: Path) -> None:
    lock = locked(rules(tmp_path, rule(stage="enforce", rollout=BUDGET)))
    for budget, codes in (("19", []), ("20", []), ("20.5", ["lock-budget"]), ("2000", ["lock-budget"])):
        raised = BUDGET.replace("20", budget)
        found = rules(tmp_path, rule(stage="enforce", rollout=raised))
        assert [problem.code for problem in compare_with_lock(found, lock, RuleSources(), "rules.lock")] == codes
        for approvals in ((), ("Bob",)):
            choice = decision(*approvals)
            again = check_promotion(found, found.rules[0], lock, RuleSources(), Stage.ENFORCE, 100.0, choice)
            locking, problems = check_locking(found, found.rules, lock, RuleSources(), choice, "rules.lock")
            if not codes:
                assert [problem.code for problem in again] == ["promote-same"]
                assert (locking.changed, problems) == ((), [])
                continue
            wanted = [] if approvals else ["promote-approval"]
            assert [problem.code for problem in again] == wanted
            assert [problem.code for problem in problems] == wanted
            assert (locking.changed, locking.lock["sample"].version) == (("sample",), 1)
            assert compare_with_lock(found, locking.lock, RuleSources(), "rules.lock") == []


def test_a_lock_that_knows_no_budget_asks_for_it_once_the_rule_acts(tmp_path: Path) -> None:
    lock = locked(rules(tmp_path, rule(stage="enforce")))
    found = rules(tmp_path, rule(stage="enforce", rollout=BUDGET))
    assert [one.code for one in compare_with_lock(found, lock, RuleSources(), "rules.lock")] == ["lock-budget"]
    lock = locked(rules(tmp_path, rule(stage="shadow")))
    found = rules(tmp_path, rule(stage="shadow", rollout=BUDGET))
    assert compare_with_lock(found, lock, RuleSources(), "rules.lock") == []


def test_a_rule_that_protects_goes_back_only_when_two_agree(tmp_path: Path) -> None:
    found = rules(tmp_path, rule(verdict="protect", stage="enforce"))
    for to in (Stage.RETIRED, Stage.SHADOW):
        for approvals, codes in (((), ["promote-protect"]), (("ann",), ["promote-protect"]), (("Bob",), [])):
            choice = decision(*approvals)
            problems = check_promotion(found, found.rules[0], locked(found), RuleSources(), to, 100.0, choice)
            assert [problem.code for problem in problems] == codes


def test_locking_changes_no_stage_and_takes_in_no_rule_by_the_back_door(tmp_path: Path) -> None:
    lock = locked(rules(tmp_path, rule(), rule("gone")))
    found = rules(tmp_path, rule(stage="enforce"), rule("fresh"), rule("first", stage="draft"))
    locking, problems = check_locking(found, found.rules, lock, RuleSources(), decision("Bob"), "rules.lock")
    assert sorted(problem.code for problem in problems) == ["lock-stage", "lock-unknown"]
    assert locking.removed == ("gone",)
    assert set(locking.lock) == {"sample"}


def test_the_first_lock_takes_over_what_is_there(tmp_path: Path) -> None:
    found = rules(tmp_path, rule(stage="enforce"), rule("fresh"), rule("first", stage="draft"))
    locking, problems = check_locking(found, found.rules, None, RuleSources(), decision("Bob"), "rules.lock")
    assert problems == []
    assert locking.added == ("fresh", "sample")
    assert compare_with_lock(found, locking.lock, RuleSources(), "rules.lock") == []


def test_versions_count_up_with_the_content_only() -> None:
    first = decided("0" * 16, None, Stage.SHADOW, 100.0, decision())
    same = decided("0" * 16, first, Stage.CANARY, 5.0, decision())
    other = decided("1" * 16, same, Stage.ENFORCE, 100.0, decision("Bob", "Ann"))
    assert [entry.version for entry in (first, same, other)] == [1, 1, 2]
    assert [entry.percent for entry in (first, same, other)] == [100.0, 5.0, 100.0]
    assert other.approvals == ("Bob",)


def test_the_shipped_lock_knows_the_shipped_rules() -> None:
    lock = read_lock(Sheet("rules.lock", (RULES / "rules.lock").read_text(encoding="utf-8")))
    assert compare_with_lock(load(RULES), lock, RuleSources(), "rules.lock") == []
