"""Tests with events are judged by what an engine would have known: the same facts, the same windows."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import pytest

from antifraud.backtest.stream_replay import MEMORY_BYTES, StreamReplay
from antifraud.cli.assembly import build_numbering
from antifraud.cli.rules_folder import load as load_folder
from antifraud.cli.rules_replay import replay_of
from antifraud.decision import ROW, Bundle, Decider, FactBook, Policy, load_bundle
from antifraud.domain import Ceiling, EventKind, Location, Stage, UsageError
from antifraud.features import Fold, Limits
from antifraud.rulekit import RuleSet, RuleTest, run_rule_tests
from antifraud.rulekit.rule import SETUP
from antifraud.rulekit.stream import MAX_EVENTS, Entry, Stream, play
from antifraud.settings import load_settings

SETTINGS = load_settings(env={})
NUMBERING = build_numbering(SETTINGS, warm=False)
START = 1_767_268_800.0


@cache
def bundle() -> Bundle:
    return load_bundle(SETTINGS.rules_dir, SETTINGS.utc_offset_min)


@cache
def shipped() -> RuleSet:
    rules = bundle().rules
    assert isinstance(rules, RuleSet)
    return rules


def replay() -> StreamReplay:
    return StreamReplay(bundle().windows, SETTINGS.policy(), lambda _country, _test: NUMBERING)


def a_test(*entries: Entry, **told: object) -> RuleTest:
    return RuleTest("a", {}, {}, True, Location("sample", 1, 1), Stream(entries, START, **told))  # type: ignore[arg-type]


def streamed() -> list[RuleTest]:
    rules = [rule for rule in shipped().rules if rule.on == SETUP]
    return [test for rule in rules for test in rule.tests if test.stream is not None]


def engine_of(test: RuleTest) -> tuple[Decider, int]:
    """An engine that has been told, in its configuration, what the test says of trunks; and the place of the call."""
    assert test.stream is not None
    policy = SETTINGS.policy()
    found = play(test.stream)
    policy = msgspec.structs.replace(policy, trunks=(*found.trunks.items(), *policy.trunks))
    return Decider(
        bundle(), policy, NUMBERING, fold=Fold(bundle().windows, limits=Limits.of_memory(1 << 26))
    ), found.judged


@pytest.mark.parametrize("test", streamed(), ids=lambda test: test.name)
def test_an_engine_that_gets_the_events_one_by_one_knows_the_same(test: RuleTest) -> None:
    """Through ``Decider``, as the live engine does it: event by event, with another secret."""
    assert test.stream is not None
    engine, judged = engine_of(test)
    events = play(test.stream).events
    for event in events[:judged]:
        engine.absorb([event])
    known = engine.prepare(events[judged])
    (vector,) = engine.vectors([events[judged]]).tolist()
    windows = {
        name: None if value != value else value for name, value in zip(bundle().windows.names, vector, strict=False)
    }
    assert replay()(test) == (dict(zip(ROW, known.row, strict=True)) | windows,)
    assert engine.fold.stats()["setups"] == sum(event.kind is EventKind.SETUP for event in events[: judged + 1])


def test_an_engine_stops_the_call_that_the_test_says_is_hit() -> None:
    rule = shipped().rule("sequential_dialling")
    assert rule.stage is Stage.ENFORCE
    for test in rule.tests:
        if test.stream is None:
            continue
        engine, judged = engine_of(test)
        decisions = engine.decide(play(test.stream).events[: judged + 1])
        hit = any(reason.by == "rule:sequential_dialling" for reason in decisions[-1].reasons)
        assert hit == test.expect_hit
        assert (decisions[-1].full_verdict == "block") == test.expect_hit


def test_what_happens_after_the_judged_call_does_not_matter() -> None:
    caller, callee = "+77000000001", "+77010000001"
    before = Entry("call", 0.0, {"caller": caller, "callee": callee, "talk_s": 3.0})
    judged = Entry("call", 60.0, {"caller": caller, "callee": callee, "talk_s": 3.0}, call="judged")
    after = Entry("call", 61.0, {"caller": caller, "callee": callee}, repeat=9, every=1.0)
    (one,), (other,) = replay()(a_test(before, judged)), replay()(a_test(before, judged, after, judge="judged"))
    assert {**one, "call_id": ""} == {**other, "call_id": ""}
    assert one["caller_calls_10m"] == 1.0
    assert one["caller_short_share_1h"] == 1.0


def test_numbers_trunks_and_local_time_are_those_of_the_engine() -> None:
    (seen,) = replay()(a_test(Entry("call", 0.0, {"caller": "87010000001", "callee": "112", "trunk": "intl-7"})))
    assert (seen["caller_raw"], seen["caller"], seen["caller_country"]) == ("87010000001", "+77010000001", "KZ")
    assert (seen["callee_emergency"], seen["trunk_class"], seen["hour"]) == (True, "international", 17.0)
    assert (seen["roaming"], seen["caller_age"], seen["caller_calls_1h"]) == (None, None, 0.0)


def test_a_class_that_the_test_gives_takes_the_place_of_the_configured_one() -> None:
    entry = Entry("call", 0.0, {"callee": "+77010000001", "trunk": "intl-[7]*", "trunk_class": "national"})
    assert replay()(a_test(entry))[0]["trunk_class"] == "national"


def test_nothing_is_forgotten_in_the_longest_test_of_strangers() -> None:
    """Every party, trunk, address and handset of every event is another one."""
    fields = ("trunk", "switch", "src_ip", "user_agent", "fingerprint", "imsi", "imei", "cell", "source")
    values = {name: f"{name}-####" for name in fields}
    numbers = {"caller": "+7700####000", "callee": "+7701####000"}
    entry = Entry("setup", 0.0, {**values, **numbers}, repeat=MAX_EVENTS, every=1.0)
    test = a_test(entry)
    assert test.stream is not None
    facts = FactBook(NUMBERING, SETTINGS.policy())
    prepared = [facts.prepare(event) for event in play(test.stream).events]
    fold = Fold(bundle().windows, limits=Limits.of_memory(MEMORY_BYTES))
    fold.fold([item.event for item in prepared], [item.row for item in prepared])
    stats = fold.stats()
    assert stats["setups"] == MAX_EVENTS
    assert stats["evicted"] == 0
    assert stats["remembered_limit"] >= MAX_EVENTS
    assert sum(value for name, value in stats.items() if name.endswith(".cut")) == 0
    assert stats["memory_bytes"] < MEMORY_BYTES / 2


# By the configuration


RULE = """\
rule: sample
title: a rule
owner: tests
why: because
false_positives: none
when: |
  caller_country == home_country
  and caller_calls_10m >= 2
  and hour >= 23
then: {verdict: label, label: A, reason: a}
rollout: {stage: draft}
tests:
  - name: at home
    country: GB
    starts: 2026-05-01T23:58:00+05:00
    each: {caller: "+442079460001"}
    events:
      - {at: 0s, repeat: 3, every: 20s, callee: "+44207946000#"}
    expect: hit
  - name: abroad
    like: at home
    country: KZ
    expect: no_hit
  - name: after midnight
    like: at home
    starts: 2026-05-02T00:00:00+05:00
    expect: no_hit
"""


def folder_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "packs" / "demo" / "sample.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return tmp_path


def test_a_test_may_say_by_whose_dial_plan_numbers_are_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, RULE)
    rules = load_folder(folder)
    results = run_rule_tests(rules, rules.rule("sample"), replay_of(folder, rules))
    assert [(result.test.name, result.passed) for result in results] == [
        ("at home", True),
        ("abroad", True),
        ("after midnight", True),
    ]
    failing = [[term.text for term in result.explanation.terms if not term.held] for result in results]
    assert failing == [[], ["caller_country == home_country"], ["hour >= 23"]]


def test_a_country_without_a_dial_plan_is_named_with_the_test(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, RULE.replace("GB", "AQ"))
    rules = load_folder(folder)
    with pytest.raises(UsageError) as caught:
        run_rule_tests(rules, rules.rule("sample"), replay_of(folder, rules))
    shown = caught.value.render()
    assert "sample.yaml:13:5: at home: there is no dial plan" in shown
    assert "dialplans/aq.yaml" in shown


def test_the_policy_is_left_as_it_is() -> None:
    policy: Policy = SETTINGS.policy()
    before = msgspec.json.encode(policy)
    StreamReplay(bundle().windows, policy, lambda _country, _test: NUMBERING)(
        a_test(Entry("call", 0.0, {"callee": "+77010000001", "trunk_class": "national"}))
    )
    assert msgspec.json.encode(policy) == before
    assert policy.region("KZ-75").ceiling in Ceiling
