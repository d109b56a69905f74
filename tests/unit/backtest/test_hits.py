"""HitCount: the same hits as a call-by-call count, each rule as if at enforce, and what the figures mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antifraud.backtest.hits import HitCount, LabelledEvent, RuleHits, as_if_enforced, reads_score
from antifraud.cli.assembly import build_numbering
from antifraud.decision import Bundle, FactBook, load_bundle
from antifraud.domain import CallEvent, EventKind, Stage, UsageError
from antifraud.features import Fold
from antifraud.rulekit import RuleSet
from antifraud.rulekit.rule import SETUP
from antifraud.scoring import Model
from antifraud.settings import load_settings
from antifraud.simulator import simulate

SETTINGS = load_settings(env={})
POLICY = SETTINGS.policy()
NUMBERING = build_numbering(SETTINGS, warm=False)
START = 1_767_553_200.0

RULE = """\
rule: {name}
title: a rule for a test
owner: tests
why: because
false_positives: none
when: |
  {when}
{unless}then:
  verdict: {verdict}
{then}  reason: "{{caller}} called {{callee}}"
rollout:
  stage: {stage}
{rollout}tests:
  - name: hit
    given: {hit}
    expect: hit
  - name: spared
    given: {{hour: 3}}
    expect: no_hit
"""
FROM_A = 'caller == "+77010000001"'
HIT_A = '{caller: "+77010000001"}'


def rule(
    name: str,
    when: str = FROM_A,
    *,
    verdict: str = "block",
    stage: str = "enforce",
    unless: str = "",
    budget: float | None = None,
    hit: str = HIT_A,
) -> str:
    then = "  label: a label\n" if verdict == "label" else ""
    rollout = "  percent: 1\n" if stage == "canary" else ""
    rollout += "" if budget is None else f"  false_hits_per_million: {budget}\n"
    return RULE.format(
        name=name, when=when, verdict=verdict, then=then, stage=stage, unless=unless, rollout=rollout, hit=hit
    )


def bundle_of(folder: Path, *texts: str, **lists: str) -> Bundle:
    """The product's fields and windows with the rules of some texts."""
    (folder / "packs" / "demo").mkdir(parents=True)
    (folder / "lists").mkdir()
    for name in ("fields.yaml", "windows.yaml", "calendar.yaml"):
        (folder / name).symlink_to(SETTINGS.rules_dir / name)
    for text in texts:
        (folder / "packs" / "demo" / f"{text.split()[1]}.yaml").write_text(text, encoding="utf-8")
    for name, text in lists.items():
        (folder / "lists" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_bundle(folder, drafts=True)


def counting(bundle: Bundle, **options: Any) -> HitCount:
    assert isinstance(bundle.rules, RuleSet)
    known = {item.id for item in bundle.rules.rules}
    regions = {
        code: msgspec.structs.replace(
            region, params={name: values for name, values in region.params.items() if name in known}
        )
        for code, region in POLICY.regions.items()
    }
    policy = msgspec.structs.replace(POLICY, regions=regions)
    return HitCount(bundle.windows, bundle.rules, policy, NUMBERING, **options)


def call(
    number: int, *, caller: str = "+77010000001", callee: str = "+77020000002", fraud: bool = False, **fields: Any
) -> LabelledEvent:
    """One set-up inside the country, a second after the one before."""
    event = CallEvent(
        EventKind.SETUP, f"call-{number}", START + number, "test", trunk=fields.pop("trunk", "nat-1"),
        caller_raw=caller, callee_raw=callee, **fields,
    )  # fmt: skip
    return LabelledEvent(event, fraud, "a tester")


def found(bundle: Bundle, events: Iterable[LabelledEvent], **options: Any) -> dict[str, RuleHits]:
    count = counting(bundle, **options)
    count.add(events)
    return {item.rule.id: item for item in count.results()}


# The same as call by call


def one_by_one(bundle: Bundle, events: Sequence[LabelledEvent]) -> tuple[Counter[str], Counter[str]]:
    """Honest and fraudulent calls that each rule hits, by the compiler for rows and the decision's own facts."""
    rules = bundle.rules
    assert isinstance(rules, RuleSet)
    facts, fold = FactBook(NUMBERING, POLICY), Fold(bundle.windows)
    params = {code: rules.params(region.params) for code, region in POLICY.regions.items()}
    judging = [item for item in rules.rules if item.stage is not Stage.RETIRED and item.on == SETUP]
    alone = {item.id: rules.compile_single(item) for item in judging}
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for label in events:
        item = facts.prepare(label.event)
        values = fold.fold([item.event], [item.row]).values
        if label.event.kind is not EventKind.SETUP:
            continue
        row = [*item.row, *(None if value != value else value for value in values[0].tolist()), None]
        chosen = params[item.region]
        protected = item.emergency or any(hit.verdict == "protect" for hit in rules.evaluate(row, chosen))
        for name, function in alone.items():
            if protected and rules.rule(name).verdict != "protect":
                continue
            if function(row, tuple(chosen.by_rule[name].values())):
                counts[label.fraud][name] += 1
    return counts


def test_columns_find_what_a_count_call_by_call_finds() -> None:
    bundle = load_bundle(SETTINGS.rules_dir, SETTINGS.utc_offset_min)
    events = [
        LabelledEvent(item.event, item.truth.fraud, item.truth.scenario)
        for item in simulate("demo", 5, 6_000, START + 12 * 3600, 40.0)
    ]
    honest, fraud = one_by_one(bundle, events)
    results = found(bundle, events, feedback=False)
    assert {name: item.honest_hits for name, item in results.items() if item.honest_hits} == dict(honest)
    assert {name: item.fraud_hits for name, item in results.items() if item.fraud_hits} == dict(fraud)
    # The traffic says something: emergency calls are protected, and several rules hit fraudulent ones.
    assert honest["emergency"]
    assert len(fraud) >= 4


# As if at enforce


def test_drafts_and_canaries_count_in_full_and_retired_rules_not_at_all(tmp_path: Path) -> None:
    texts = [rule(stage, stage=stage) for stage in ("draft", "shadow", "canary", "enforce", "retired")]
    results = found(bundle_of(tmp_path, *texts), [call(number) for number in range(5)])
    assert {name: item.honest_hits for name, item in results.items()} == dict.fromkeys(
        ("canary", "draft", "enforce", "shadow"), 5
    )
    assert {name: item.rule.stage.value for name, item in results.items()} == {name: name for name in results}
    assert {name for name, item in results.items() if item.acts} == {"canary", "enforce"}


def test_exceptions_and_protection_spare_calls(tmp_path: Path) -> None:
    unless = "unless:\n  - {name: lab, when: 'trunk == \"lab\"', owner: tests, until: 2027-01-01}\n"
    bundle = bundle_of(
        tmp_path,
        rule("from_a", unless=unless),
        rule("guarded", 'callee == "+77020000003"', verdict="protect", hit='{callee: "+77020000003"}'),
        rule("proposed", 'callee == "+77020000002"', verdict="protect", stage="draft", hit='{callee: "+77020000002"}'),
        banks="list: banks\ntitle: banks\nclass: protect\nkind: numbers\nowner: us\nsource: us\n"
        'entries: ["+77020000004"]\n',
    )
    callees = ("+77020000002", "+77020000003", "+77020000004", "112")
    events = [call(number, callee=callee) for number, callee in enumerate(callees)]
    results = found(bundle, [*events, call(9, trunk="lab")])
    assert results["from_a"].honest == 5
    assert results["from_a"].honest_hits == 1
    assert results["guarded"].honest_hits == 1
    # A rule that would protect and is a draft protects nobody yet.
    assert results["proposed"].honest_hits == 2


def test_regions_have_their_own_parameters() -> None:
    bundle = load_bundle(SETTINGS.rules_dir, SETTINGS.utc_offset_min)
    assert POLICY.regions["KZ-35"].params == {"many_distinct_callees": {"callees": 60}}
    events = []
    for number in range(55):
        ended = {"talk_s": 1.0, "ring_s": 3.0}
        for switch in ("sw-kz-35", "sw-kz-75"):
            caller = "+77010000035" if switch == "sw-kz-35" else "+77010000075"
            event = call(4 * number, caller=caller, callee=f"+770200{number:05}", switch=switch).event
            event = msgspec.structs.replace(event, call_id=f"{switch}-{number}")
            events.append(LabelledEvent(event, False))
            over = msgspec.structs.replace(event, kind=EventKind.RELEASE, ts=event.ts + 3.0, **ended)
            events.append(LabelledEvent(over, False))
    events.sort(key=lambda item: item.event.ts)
    results = found(bundle, events)
    # The 41st different number and on, and only where 40 is enough.
    assert results["many_distinct_callees"].honest_hits == 15
    assert results["many_distinct_callees"].callers == 1


# What is counted


def test_honest_and_fraudulent_calls_are_told_apart_and_repeated_ones_counted_once(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, rule("from_a"))
    events = [
        call(1),
        call(1),
        call(2),
        call(3, caller="+77010000009"),
        call(4, fraud=True),
        call(5, caller="+77010000009", fraud=True),
    ]
    count = counting(bundle, examples=1)
    count.add(events)
    (item,) = count.results()
    assert (count.honest, count.fraud, count.repeated) == (3, 2, 1)
    assert (item.honest, item.honest_hits, item.callers, item.fraud, item.fraud_hits) == (3, 2, 1, 2, 1)
    (example,) = item.examples
    assert (example.call_id, example.behaviour) == ("call-1", "a tester")
    assert example.reason == "+77010000001 called +77020000002"


def test_alone_is_what_no_other_rule_in_force_does_as_gravely(tmp_path: Path) -> None:
    bundle = bundle_of(
        tmp_path,
        rule("blocks"),
        rule("blocks_more", "hour >= 0", hit="{hour: 4}", stage="draft"),
        rule("labels", "hour >= 0", verdict="label", hit="{hour: 4}"),
    )
    fraud = [call(1, fraud=True), call(2, caller="+77010000009", fraud=True), call(3, caller="+77010000008")]
    results = found(bundle, fraud)
    alone = {name: (item.fraud_hits, item.fraud_alone) for name, item in results.items()}
    # The draft adds the call that the other one, at enforce, does not block; the label adds that which nothing blocks.
    assert alone == {"blocks": (1, 1), "blocks_more": (2, 1), "labels": (2, 1)}


def test_every_source_begins_with_empty_windows(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, rule("again", "caller_calls_1h >= 2", hit="{caller_calls_1h: 2}"))
    count = counting(bundle)
    count.add([call(1), call(2), call(3)])
    count.add([call(1), call(2)])
    (item,) = count.results()
    assert (item.honest, item.honest_hits) == (5, 1)


def test_a_draft_has_the_windows_that_it_declares(tmp_path: Path) -> None:
    own = "windows:\n  - {name: mine, kind: count, by: caller, over: 7m}\n"
    text = rule("counting", "mine >= 2", stage="draft", hit="{mine: 2}").replace("when: |", f"{own}when: |")
    (item,) = found(bundle_of(tmp_path, text), [call(1), call(2), call(3), call(4)]).values()
    assert item.honest_hits == 2


def test_what_rules_in_force_would_stop_comes_back_into_the_windows(tmp_path: Path) -> None:
    stopped = rule("often", "trunk_stopped_1h >= 2", stage="draft", verdict="challenge", hit="{trunk_stopped_1h: 2}")
    later = call(200, caller="+77010000009")
    events = [call(1), call(2), later]
    in_force = bundle_of(tmp_path / "one", rule("from_a"), stopped)
    assert found(in_force, events)["often"].honest_hits == 1
    assert found(in_force, events, feedback=False)["often"].honest_hits == 0
    # A draft stops nothing, and what is protected is not stopped.
    draft = bundle_of(tmp_path / "two", rule("from_a", stage="draft"), stopped)
    assert found(draft, events)["often"].honest_hits == 0
    emergency = [call(1, callee="112"), call(2, callee="112"), later]
    assert found(in_force, emergency)["often"].honest_hits == 0


def test_rules_that_read_the_score_get_it(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, rule("scored", "score >= 0", hit="{score: 0.5}"), rule("plain"))
    assert isinstance(bundle.rules, RuleSet)
    assert reads_score(bundle.rules)
    assert SETTINGS.model_dir is not None
    model = Model.load(SETTINGS.model_dir)
    assert found(bundle, [call(1)], model=model)["scored"].honest_hits == 1
    assert found(bundle, [call(1)])["scored"].honest_hits == 0
    plain = bundle_of(tmp_path / "plain", rule("plain"), rule("old", "score >= 0", stage="retired"))
    assert isinstance(plain.rules, RuleSet)
    assert not reads_score(plain.rules)


def test_events_out_of_order_and_no_honest_calls_are_refused(tmp_path: Path) -> None:
    count = counting(bundle_of(tmp_path, rule("from_a")))
    with pytest.raises(UsageError, match=r"day\.jsonl: call call-1 goes back in time"):
        count.add([call(2), call(1)], "day.jsonl")
    count = counting(bundle_of(tmp_path / "two", rule("from_a")))
    count.add([call(1, fraud=True)])
    with pytest.raises(UsageError, match="no honest call"):
        count.results()


def test_the_rules_themselves_stay_as_they_are(tmp_path: Path) -> None:
    rules = bundle_of(tmp_path, rule("from_a", stage="canary"), rule("old", stage="retired")).rules
    assert isinstance(rules, RuleSet)
    enforced = as_if_enforced(rules)
    assert [(item.id, item.stage, item.percent) for item in enforced.rules] == [("from_a", Stage.ENFORCE, 100.0)]
    assert rules.rule("from_a").stage is Stage.CANARY


# What the figures mean


@pytest.mark.parametrize(
    ("honest_hits", "honest", "budget", "outcome"),
    [
        # With no hit at all, three million divided by the budget are enough: 299,572 for a budget of 10.
        (0, 299_571, 10.0, "open"),
        (0, 299_572, 10.0, "kept"),
        # One hit in 30,000 is 33 in a million, and can be chance; two are not.
        (1, 30_000, 10.0, "open"),
        (2, 30_000, 10.0, "above"),
        (100, 1_000_000, 90.0, "open"),
        (100, 1_000_000, 120.0, "kept"),
        (100, 1_000_000, 80.0, "above"),
        (5, 1_000, None, ""),
    ],
)
def test_an_outcome_needs_enough_calls(
    tmp_path: Path, honest_hits: int, honest: int, budget: float | None, outcome: str
) -> None:
    (one,) = found(bundle_of(tmp_path, rule("from_a", budget=budget)), [call(1)]).values()
    item = msgspec.structs.replace(one, honest_hits=honest_hits, honest=honest)
    assert item.outcome == outcome
    assert item.at_least <= item.per_million <= item.at_most
