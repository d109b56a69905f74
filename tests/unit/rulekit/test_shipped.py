"""The rules and lists that ship: what they promise to analysts and to the people who are called."""

from __future__ import annotations

from functools import cache

import pytest

from antifraud.cli.rules_replay import replay_of
from antifraud.domain import Stage
from antifraud.rulekit import Replay, Rule, RuleSet, run_tests, unproven_terms
from antifraud.rulekit.rule import LIVE
from antifraud.rulekit.texts import LANGUAGES

from .workbench import RULES, load, row


@cache
def shipped() -> RuleSet:
    return load(RULES)


@cache
def replay() -> Replay:
    return replay_of(RULES, shipped())


def hits(**given: object) -> dict[str, str]:
    rules = shipped()
    return {hit.by: hit.verdict for hit in rules.evaluate(row(home_country="KZ", **given), rules.params({}))}


def test_all_tests_in_the_rules_pass() -> None:
    results = run_tests(shipped(), replay())
    assert len(results) >= 4 * len(shipped().rules)
    assert [f"{result.rule}: {result.test.name}" for result in results if not result.passed] == []


@pytest.mark.parametrize("rule", shipped().rules, ids=lambda rule: rule.id)
def test_every_term_is_proven_by_a_test(rule: Rule) -> None:
    assert unproven_terms(shipped(), rule, replay()) == []


def test_rules_on_bursts_and_chains_are_shown_real_ones() -> None:
    """Whatever a window counts, some test lets it count: none of these rules rests on given numbers alone."""
    streamed = {rule.id for rule in shipped().rules if any(test.stream is not None for test in rule.tests)}
    assert {
        "callback_to_one_ring_abroad",
        "many_distinct_callees",
        "many_sims_one_handset",
        "number_rotation",
        "one_ring_from_abroad",
        "sequential_dialling",
        "under_attack_by_home_numbers",
    } <= streamed
    for rule in shipped().rules:
        expected = {test.expect_hit for test in rule.tests if test.stream is not None}
        assert rule.id not in streamed or expected == {True, False}, rule.id


@pytest.mark.parametrize("rule", shipped().rules, ids=lambda rule: rule.id)
def test_every_rule_says_why_and_whom_it_may_hurt_in_every_language(rule: Rule) -> None:
    for text in (rule.title, rule.why, rule.false_positives, rule.reason):
        assert tuple(language for language, _version in text.versions) == LANGUAGES
    assert rule.review_by
    assert rule.by


def test_the_stages_are_used() -> None:
    stages = {rule.stage for rule in shipped().rules}
    assert {Stage.SHADOW, Stage.CANARY, Stage.ENFORCE} <= stages
    # Rules that nobody has put on trial yet may ship as drafts; what was taken out of service does not.
    assert all(rule.stage in (*LIVE, Stage.DRAFT) for rule in shipped().rules)


def test_emergency_and_state_numbers_are_protected_whatever_else_is_true() -> None:
    bad = {
        "caller": "+77000000001",
        "trunk_class": "international",
        "caller_country": "KZ",
        "caller_kind": "e164",
        "roaming": False,
        "caller_reports_30d": 99.0,
    }
    assert "protect" in hits(callee="112", callee_emergency=True, **bad).values()
    assert hits(callee="1414", callee_emergency=False, **bad)["list:state_numbers"] == "protect"


def test_a_forged_state_number_is_not_protected_but_blocked() -> None:
    found = hits(caller="1414", caller_short=True, trunk_class="international", callee="+77000000002")
    assert found == {"rule:short_code_on_international_trunk": "block"}
    assert hits(caller="1414", caller_short=True, trunk_class="national", callee="+77000000002") == {
        "list:state_numbers": "protect"
    }


def test_a_traveller_whose_roaming_nobody_checks_is_never_blocked_or_diverted() -> None:
    call = {
        "caller": "+77000000001",
        "caller_country": "KZ",
        "caller_kind": "e164",
        "caller_type": "mobile",
        "caller_possible": True,
        "caller_valid": True,
        "trunk_class": "international",
    }
    assert hits(**call) == {"rule:mobile_cli_roaming_unknown": "label"}
    assert hits(roaming=True, **call) == {}
    assert hits(roaming=False, **call) == {"rule:national_cli_on_international_trunk": "block"}


HONEST = {
    "courier": {"caller_type": "mobile", "caller_callees_10m": 3.0, "caller_short_share_1h": 0.4},
    "one-time codes": {"caller_type": "fixed", "caller_callees_10m": 18.0, "caller_short_share_1h": 0.6},
    "utility": {"caller_type": "fixed", "caller_callees_10m": 25.0, "caller_short_share_1h": 0.5},
    "office calling its own extensions": {"caller_type": "fixed", "caller_sequential_10m": 2.0},
    "somebody with an advertisement": {"callee_new_callers_2h": 12.0, "callee_calls_1h": 6.0},
    "busy block of a mobile operator": {"prefix_callers_10m": 300.0, "prefix_callees_10m": 900.0},
    "anonymous caller from abroad": {
        "trunk_class": "international",
        "caller_kind": "anonymous",
        "caller_anonymous": True,
        "caller_possible": False,
        "caller_valid": False,
    },
    "nothing known at all": {"caller": None, "trunk_class": None},
}


@pytest.mark.parametrize("who", HONEST)
def test_honest_callers_are_left_alone(who: str) -> None:
    call: dict[str, object] = {"caller": "+77000000001", "trunk_class": "national", "caller_country": "KZ"}
    assert hits(**{**call, **HONEST[who]}) == {}
