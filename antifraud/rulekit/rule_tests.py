"""Running the tests that stand in rule files, and finding terms that no test proves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from antifraud.rulekit.explanation import Explanation, phrase
from antifraud.rulekit.form import Value
from antifraud.rulekit.rule import Rule, RuleTest
from antifraud.rulekit.ruleset import RuleSet
from antifraud.rulekit.tree import And

Replay = Callable[[RuleTest], Sequence[Mapping[str, Value | None]]]
"""Asked about a test with events: the fields, facts and windows of the call that is judged, as an engine has them that
was sent these events; once for each time that the rule looks at it (a call in progress may be looked at many times).
"""


class TestResult(msgspec.Struct, frozen=True):
    """What became of one test of one rule."""

    __test__ = False  # a name that begins with Test is otherwise collected by pytest

    rule: str
    pack: str
    test: RuleTest
    hit: bool
    explanation: Explanation

    @property
    def passed(self) -> bool:
        """Whether the rule did what the test expects."""
        return self.hit == self.test.expect_hit


class UnprovenTerm(msgspec.Struct, frozen=True):
    """A term of a rule's condition that could be removed without any test failing."""

    rule: str
    pack: str
    term: str


def no_replay(test: RuleTest) -> Sequence[Mapping[str, Value | None]]:
    """Stands where no test is expected to have events. Raises ValueError."""
    raise ValueError(f"{test.where}: {test.name} has events, and there is nothing to replay them with")


def run_rule_tests(rules: RuleSet, rule: Rule, replay: Replay = no_replay) -> list[TestResult]:
    """The tests of ``rule``, through the compiled code; explanations come from the interpreter.

    The two are proven equal elsewhere; should they ever differ, the compiled one counts and the difference shows.
    ``replay`` is asked about tests that have events.
    """
    hits = rules.compile_single(rule)
    defaults = rules.params({})
    results = []
    for test in rule.tests:
        rows = _rows(rules, test, replay)
        params: Mapping[str, Value] = {**rule.params, **test.params}  # in the order of rule.params
        chosen = msgspec.structs.replace(defaults, by_rule={**defaults.by_rule, rule.id: params})
        hit = next((row for row in rows if hits(row, list(params.values()))), None)
        explanation = rules.explain(rule.id, hit if hit is not None else rows[-1], chosen)
        results.append(TestResult(rule.id, rule.pack, test, hit is not None, explanation))
    return results


def run_tests(rules: RuleSet, replay: Replay = no_replay) -> list[TestResult]:
    """The tests of every rule, drafts and retired ones included."""
    return [result for rule in rules.rules for result in run_rule_tests(rules, rule, replay)]


def unproven_terms(rules: RuleSet, rule: Rule, replay: Replay = no_replay) -> list[UnprovenTerm]:
    """The terms of the condition's outermost *and* that no test shows to matter.

    A term matters when some test that expects no hit would be hit without it: every other term is true there, this
    one is not, and no exception spares the call.
    """
    terms = rule.when.terms if isinstance(rule.when, And) else (rule.when,)
    proven: set[int] = set()
    for test in rule.tests:
        if test.expect_hit:
            continue
        for row in _rows(rules, test, replay):
            interpreter = rules.interpreter(row, {**rule.params, **test.params})
            failing = [position for position, term in enumerate(terms) if interpreter.holds(term) is not True]
            if len(failing) == 1:
                proven.add(failing[0])
    return [
        UnprovenTerm(rule.id, rule.pack, phrase(term)) for position, term in enumerate(terms) if position not in proven
    ]


def _rows(rules: RuleSet, test: RuleTest, replay: Replay) -> list[list[object]]:
    """The call as the rule sees it, at least once: a call that it never looks at has nothing to hit."""
    seen = (test.given,) if test.stream is None else replay(test) or ({},)
    return [rules.row(values) for values in seen]
