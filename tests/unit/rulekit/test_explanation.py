"""Explanations: every term in the words of the person who wrote it, with what it saw."""

from __future__ import annotations

from pathlib import Path

from antifraud.rulekit import run_rule_tests, unproven_terms

from .workbench import load_one, row, rule_text

WHEN = """\
trunk_class == "international"
and (missing(caller_age) or caller_age < params.new)   # new
and not (callee_short or hour not in [1, 2])
and between(caller_calls_1m * 2, 1, 9)"""
PARAMS = "params:\n  new: 60\n"


def test_terms_groups_and_values(tmp_path: Path) -> None:
    rules = load_one(tmp_path, rule_text(WHEN, params=PARAMS))
    call = row(trunk_class="international", caller_age=30.0, hour=2.0, caller_calls_1m=40.0)
    explanation = rules.explain("sample", call)
    assert not explanation.hit
    shown = [("  " * term.depth + term.text, term.held, dict(term.values)) for term in explanation.terms]
    assert shown == [
        ('trunk_class == "international"', True, {"trunk_class": "international"}),
        ("any of", True, {}),
        ("  missing(caller_age)", False, {"caller_age": 30.0}),
        ("  caller_age < params.new", True, {"caller_age": 30.0, "params.new": 60.0}),
        ("not", None, {}),
        ("  any of", None, {}),
        ("    callee_short", None, {"callee_short": None}),
        ("    not hour in [1, 2]", False, {"hour": 2.0}),
        ("between(caller_calls_1m * 2, 1, 9)", False, {"caller_calls_1m": 40.0}),
    ]


def test_a_regions_parameters_are_shown(tmp_path: Path) -> None:
    rules = load_one(tmp_path, rule_text("caller_calls_1h > params.new", params=PARAMS))
    explanation = rules.explain("sample", row(caller_calls_1h=50.0), rules.params({"sample": {"new": 40}}))
    assert explanation.hit
    assert dict(explanation.terms[0].values) == {"caller_calls_1h": 50.0, "params.new": 40.0}


TESTS = """\
tests:
  - name: late call from abroad
    given: {hour: 23, trunk_class: international, ts: 2026-05-01T23:00:00+05:00}
    expect: hit
  - name: during the day
    like: late call from abroad
    given: {hour: 12}
    expect: no_hit
  - name: with another limit
    like: during the day
    params: {late: 10}
    expect: hit
  - name: nothing is known
    expect: no_hit
"""
LATE = 'hour > params.late and trunk_class == "international"'


def test_tests_of_a_rule_run_and_inherit(tmp_path: Path) -> None:
    rules = load_one(tmp_path, rule_text(LATE, params="params:\n  late: 22\n") + TESTS)
    results = run_rule_tests(rules, rules.rule("sample"))
    assert [(result.test.name, result.passed) for result in results] == [
        ("late call from abroad", True),
        ("during the day", True),
        ("with another limit", True),
        ("nothing is known", True),
    ]
    assert results[1].test.given["ts"] == 1_777_658_400.0
    assert results[1].test.given["trunk_class"] == "international"


def test_a_failing_test_says_what_each_term_saw(tmp_path: Path) -> None:
    text = rule_text(LATE, params="params:\n  late: 22\n") + TESTS.replace("{hour: 23,", "{hour: 21,")
    rules = load_one(tmp_path, text)
    result = run_rule_tests(rules, rules.rule("sample"))[0]
    assert (result.passed, result.hit) == (False, False)
    assert result.explanation.terms[0].held is False


def test_a_term_that_no_test_proves_is_named(tmp_path: Path) -> None:
    rules = load_one(tmp_path, rule_text(LATE, params="params:\n  late: 22\n") + TESTS)
    (term,) = unproven_terms(rules, rules.rule("sample"))
    assert term.term == 'trunk_class == "international"'
