"""What the commands on whole rule sets can find: a stable code, the sentence, how to mend it, and how grave it is.

``messages`` holds what is wrong with one file by itself. Here stands what shows only when rules are compared with each
other, with rules.lock, or with a day. A *problem* fails the command, a *warning* is shown; ``--strict`` makes it fail.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from antifraud.domain import Location, Problem
from antifraud.rulekit.documents import Node, Scalar, Sheet
from antifraud.rulekit.messages import RuleProblem, shorten


@unique
class Finding(Enum):
    """(is it a warning, sentence, hint)."""

    # Formatting
    NEITHER_RULE_NOR_LIST = (
        False,
        "this is neither a rule nor a list",
        "a rule begins with `rule:`, a list with `list:`",
    )
    LAYOUT_UNSAFE = (
        False,
        "this file cannot be brought into form without losing something, so it was left as it is",
        "please report it, with the file; until then lay it out by hand",
    )

    # Rules compared with each other
    NEVER_HITS = (
        False,
        "this rule can never hit: {terms} are never true of one call",
        "change one of them, or join them with or",
    )
    NEVER_HITS_ALONE = (
        False,
        "this rule can never hit: {terms} is never true",
        "compare with a value that occurs",
    )
    NEVER_HITS_PARAMS = (
        True,
        "with its own parameters this rule can never hit: {terms} {are}",
        "change the parameter, unless regions are meant to set it",
    )
    SHADOWED = (
        True,
        "this rule changes nothing: {other} hits the same calls and more, with the verdict {verdict} at {stage}",
        "retire one of them, or give this one a condition or a verdict of its own",
    )
    SAID_TWICE = (
        True,
        "this rule and {other} hit the same calls with the same verdict",
        "retire one of them",
    )
    VERDICTS_DIFFER = (
        True,
        "this rule and {other} hit the same calls, with different verdicts: {verdict} here, {verdict_there} there",
        "only the graver one counts; keep that rule",
    )
    BUDGET_MISSING = (
        False,
        "this rule is at {stage} and does not say how many honest calls it may hit",
        "measure it with antifraud backtest, then write under rollout such as `false_hits_per_million: 20`",
    )
    PARAM_ONLY_SHOWN = (
        True,
        "the parameter {name} stands in a text only; no condition uses it",
        "use params.{name} in the condition, or write the value into the text",
    )

    # The day
    EXCEPTION_ENDED = (
        True,
        "the exception {name} ended on {day}",
        "remove it, or ask {owner} whether it is to go on and give it a new end",
    )
    ENTRIES_ENDED = (
        True,
        "{count} of this list ended: {entries}",
        "remove what is not needed any more, or ask {owner} for a new end",
    )
    REVIEW_OVERDUE = (
        True,
        "the review of this rule was due on {day}",
        "look at what it has hit since, then write the day of the next review",
    )

    CALENDAR_ENDS = (
        True,
        "no holiday of {year} is entered here, so holiday() holds on none of its days",
        "enter the days of {year} as soon as they are published, and add it to `years`; moved days off are days too",
    )

    # rules.lock
    LOCK_CHANGED = (
        False,
        "what this rule decides has changed since version {version}, and rules.lock does not know",
        'read the change, then: antifraud rules lock --rule {rule} --by … --why "…"',
    )
    LOCK_STAGE = (
        False,
        "the stage was edited by hand: here {stage}, in rules.lock {locked}",
        (
            "write {locked} here again, or have {stage} decided: "
            'antifraud rules promote {rule} --to {stage} --by … --why "…"'
        ),
    )
    LOCK_PERCENT = (
        False,
        "the percent was edited by hand: here {percent}, in rules.lock {locked}",
        (
            "write {locked} here again, or have {percent} decided: "
            'antifraud rules promote {rule} --to canary --percent {percent} --by … --why "…"'
        ),
    )
    LOCK_BUDGET = (
        False,
        "the budget of false hits was raised by hand: here {budget}, in rules.lock {locked}",
        (
            "write what is in rules.lock here again, or have {budget} decided: "
            'antifraud rules lock --rule {rule} --by … --why "…"'
        ),
    )
    LOCK_UNKNOWN = (
        False,
        "this rule is at {stage}, but rules.lock does not know it",
        (
            "write `stage: draft` here, then promote it step by step: "
            'antifraud rules promote {rule} --to {first} --by … --why "…"'
        ),
    )
    LOCK_GONE = (
        True,
        "rules.lock names the rule {rule}, which does not exist any more",
        'antifraud rules lock --by … --why "…" takes it out',
    )
    LOCK_UNREADABLE = (
        False,
        "rules.lock cannot be used: {reason}",
        "take the last good one from git; it is written by antifraud rules lock and promote, never by hand",
    )

    # Promoting
    LOCK_NONE = (
        False,
        "there is no rules.lock here yet, so nobody knows what was decided before",
        'begin with: antifraud rules lock --by … --why "…"',
    )
    PROMOTE_SKIPS = (
        False,
        "{rule} is at {stage}; the next stage is {following}, not {to}",
        "a rule comes into force in steps: promote it to {following} first and look at what it hits",
    )
    PROMOTE_SAME = (
        False,
        "{rule} is at {stage} already, and nothing has changed",
        "nothing has to be done",
    )
    PROMOTE_TESTS = (
        False,
        "{rule} has no test that expects {expect}",
        "add one: a rule shows what it hits and what it spares",
    )
    PROMOTE_FAILS = (
        False,
        "the test fails: {test}",
        "antifraud rules test --rule {rule} shows why",
    )
    PROMOTE_UNPROVEN = (
        False,
        "no test shows that this term matters: {term}",
        "add a test that expects no_hit and in which only that term does not hold",
    )
    PROMOTE_BUDGET = (
        False,
        "{rule} does not say how many honest calls it may hit",
        "measure it with antifraud backtest, then write under rollout such as `false_hits_per_million: 20`",
    )
    PROMOTE_UNFINISHED = (
        False,
        "{what} still says TODO",
        "write what is meant; people will read it",
    )
    PROMOTE_OVERDUE = (
        False,
        "the review of {rule} was due on {day}",
        "look at what it has hit since, then write the day of the next review under rollout.review_by",
    )
    ROLLOUT_UNSAFE = (
        False,
        "the rollout of this rule cannot be edited without touching something else",
        "write stage, percent and by on lines of their own, and try again",
    )
    PROMOTE_APPROVAL = (
        False,
        "a second person has to approve what goes to enforce",
        "ask somebody else than {by} to read it, and add --approved-by NAME",
    )

    PROMOTE_PROTECT = (
        False,
        "a second person has to approve that {rule} no longer protects",
        "without it calls can be stopped that nothing may stop: ask somebody else than {by}, add --approved-by NAME",
    )

    @property
    def code(self) -> str:
        """The stable name, as in ``--json`` and as the golden file is called."""
        return self.name.lower().replace("_", "-")

    @property
    def warning(self) -> bool:
        """Whether it is shown only, and fails nothing."""
        return self.value[0]

    def problem(self, where: Location | None, /, *, line: str = "", width: int = 1, **values: object) -> RuleProblem:
        """The problem at a place; ``line`` is the file's line there."""
        shown = {name: shorten(value) if isinstance(value, str) else value for name, value in values.items()}
        _warning, sentence, hint = self.value
        return RuleProblem(sentence.format(**shown), where, hint.format(**shown), line, width, code=self.code)

    def at(self, sheet: Sheet, node: Node, /, **values: object) -> RuleProblem:
        """The problem at a node of a file."""
        width = node.width if isinstance(node, Scalar) else 1
        where = Location(sheet.name, node.line, node.column)
        return self.problem(where, line=sheet.line(node.line), width=width, **values)


_WARNINGS: Final = frozenset(finding.code for finding in Finding if finding.warning)


def is_warning(problem: Problem) -> bool:
    """Whether a problem is a warning."""
    return isinstance(problem, RuleProblem) and problem.code in _WARNINGS
