"""InProgressCount: what rules on calls in progress would do, asked as the engine asks them, and what is counted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antifraud.backtest.hits import LabelledEvent
from antifraud.backtest.in_progress import InProgressCount, InProgressHits, rules_in_progress
from antifraud.cli.assembly import build_numbering
from antifraud.decision import Bundle, Decider, RegionPolicy, load_bundle
from antifraud.decision.interception import Interceptor
from antifraud.domain import CallEvent, Ceiling, EventKind, UsageError
from antifraud.features import Fold, Limits
from antifraud.rulekit import RuleSet
from antifraud.scoring import Model
from antifraud.settings import load_settings

SETTINGS = load_settings(env={})
NUMBERING = build_numbering(SETTINGS, warm=False)
LIMITS = Limits.of_memory(64 << 20)
START = 1_767_553_200.0
SCAMMER, SUBSCRIBER = "+77010000001", "+77010000009"

LATER = """\
rule: {name}
title: a rule of the test
owner: tests
why: it is a test
false_positives: none
on: {on}
when: |
  {when}
then: {{command: {command}, reason: "{{caller}} has talked {{talk_so_far_s}} s"}}
rollout: {{stage: {stage}{rollout}}}
tests:
  - {{name: a, given: {{{hit}}}, expect: hit}}
  - {{name: b, given: {{hour: 4, talk_so_far_s: 1}}, expect: no_hit}}
"""
AT_SETUP = """\
rule: {name}
title: a rule of the test
owner: tests
why: it is a test
false_positives: none
when: |
  {when}
then: {{verdict: {verdict}, reason: "because"}}
rollout: {{stage: {stage}{rollout}}}
tests:
  - {{name: a, given: {{caller: "+77010000001", callee: "+77020000002"}}, expect: hit}}
  - {{name: b, given: {{hour: 3}}, expect: no_hit}}
"""


def _rollout(stage: str, budget: float | None, percent: float) -> str:
    said = f", percent: {percent}" if stage == "canary" else ""
    return said + ("" if budget is None else f", false_hits_per_million: {budget}")


def later(
    name: str = "long_talk",
    when: str = "talk_so_far_s >= 60",
    *,
    on: str = "tick",
    command: str = "release",
    stage: str = "draft",
    budget: float | None = None,
    hit: str = "hour: 3, talk_so_far_s: 999",
) -> str:
    rollout = _rollout(stage, budget, 1)
    return LATER.format(name=name, when=when, on=on, command=command, stage=stage, rollout=rollout, hit=hit)


def at_setup(
    name: str = "known_scammer",
    when: str = f'caller == "{SCAMMER}"',
    *,
    verdict: str = "block",
    stage: str = "enforce",
    percent: float = 1,
) -> str:
    rollout = _rollout(stage, None if verdict == "protect" else 1.0, percent)
    return AT_SETUP.format(name=name, when=when, verdict=verdict, stage=stage, rollout=rollout)


def bundle_of(folder: Path, *texts: str) -> Bundle:
    """The product's fields and windows with the rules of some texts."""
    (folder / "packs" / "demo").mkdir(parents=True)
    (folder / "lists").mkdir()
    for name in ("fields.yaml", "windows.yaml", "calendar.yaml"):
        (folder / name).symlink_to(SETTINGS.rules_dir / name)
    for text in texts:
        (folder / "packs" / "demo" / f"{text.split()[1]}.yaml").write_text(text, encoding="utf-8")
    return load_bundle(folder, drafts=True)


def counting(bundle: Bundle, **options: Any) -> InProgressCount:
    return InProgressCount(bundle, SETTINGS.policy(), NUMBERING, limits=LIMITS, **options)


def event(kind: str, at: float, call_id: str, *, fraud: bool = False, **fields: Any) -> LabelledEvent:
    base: dict[str, Any] = {
        "source": "test", "switch": "sw-kz-75", "trunk": "nat-1", "caller_raw": SUBSCRIBER,
        "callee_raw": "+77020000002",
    }  # fmt: skip
    return LabelledEvent(CallEvent(EventKind(kind), call_id, START + at, **(base | fields)), fraud, "a tester")


def call(
    call_id: str = "c1", at: float = 0.0, talk: float | None = 100.0, *, fraud: bool = False, **fields: Any
) -> list[LabelledEvent]:
    """A call that rings for 5 s and is answered, unless ``talk`` is None."""
    found = [event("setup", at, call_id, fraud=fraud, **fields)]
    if talk is not None:
        found.append(event("answer", at + 5, call_id, fraud=fraud, **fields))
    ended = {"ring_s": 5.0, "talk_s": talk or 0.0}
    return [*found, event("release", at + 5 + (talk or 0.0), call_id, fraud=fraud, **ended, **fields)]


def counted(bundle: Bundle, *calls: Iterable[LabelledEvent], **options: Any) -> InProgressCount:
    count = counting(bundle, **options)
    events = sorted((item for one in calls for item in one), key=lambda item: item.event.ts)
    assert list(count.passing(events)) == events
    return count


def found(bundle: Bundle, *calls: Iterable[LabelledEvent], **options: Any) -> dict[str, InProgressHits]:
    return {item.rule.id: item for item in counted(bundle, *calls, **options).results()}


# When it is asked, and what comes of it


def test_a_long_talk_is_hit_at_the_tick_and_what_follows_is_what_would_have_been_cut(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, later(when="talk_so_far_s >= 55"))
    count = counted(
        bundle, call("h1", 0, 100), call("h2", 10, 40), call("f1", 20, 200, fraud=True), call("f2", 30, 50, fraud=True),
        call("h3", 40, None), examples=5,
    )  # fmt: skip
    (item,) = count.results()
    # A call that rings and is not answered never gets in progress.
    assert (count.honest, count.fraud, count.stopped_honest, count.stopped_fraud) == (2, 2, 0, 0)
    assert (item.honest_hits, item.callers, item.fraud_hits, item.fraud_alone) == (1, 1, 1, 1)
    assert item.talk_s == 60.0
    assert (item.cut_s, item.fraud_talk_s, item.cut_share) == (140.0, 250.0, 0.56)
    assert (item.per_10000, item.per_million) == (5_000.0, 500_000.0)
    (example,) = item.examples
    assert (example.call_id, example.ts, example.caller) == ("h1", START + 65, SUBSCRIBER)
    assert (example.behaviour, example.reason) == ("a tester", f"{SUBSCRIBER} has talked 60 s")


def test_a_call_that_ends_when_it_is_due_is_over(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, later())
    assert found(bundle, call(talk=60))["long_talk"].honest_hits == 0
    assert found(bundle, call(talk=60.5))["long_talk"].honest_hits == 1
    # Even if something else comes first at that very time, and the events are decided one by one.
    events = [*call("other", 65, None), *call(talk=60), *call("later", 66, 30)]
    for size in (1, 512):
        assert counted(bundle, events, at_a_time=size).results()[0].honest_hits == 0


def test_what_is_due_with_the_last_event_is_looked_at_and_no_more(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, later())
    going_on = call("going on", fraud=True)[:2]
    assert found(bundle, going_on, call("other", 60, None))["long_talk"].fraud_hits == 1
    item = found(bundle, going_on, [event("setup", 95, "other")])["long_talk"]
    # Of a call whose end the log does not tell, what is known of it counts.
    assert (item.fraud_hits, round(item.cut_s, 3), round(item.fraud_talk_s, 3)) == (1, 30.0, 90.0)
    assert found(bundle, going_on, [event("setup", 64, "other")])["long_talk"].fraud_hits == 0


def test_calls_are_looked_at_as_often_as_the_engine_is_told_to(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, later(when="talk_so_far_s >= 12"))
    talked = {tick_s: found(bundle, call(), tick_s=tick_s)["long_talk"].talk_s for tick_s in (0.5, 10.0, 60.0)}
    assert talked == {0.5: 12.0, 10.0: 20.0, 60.0: 60.0}


def test_answers_and_reports_are_looked_at_as_of_their_own_event(tmp_path: Path) -> None:
    bundle = bundle_of(
        tmp_path,
        later("answered", "callee_calls_1h == 1", on="answer", hit="callee_calls_1h: 1"),
        later("reported", 'label == "fraud" and caller_reports_30d == 1', on="report", command="alert",
              hit='label: "fraud", caller_reports_30d: 1'),
    )  # fmt: skip
    told: dict[str, Any] = {"label": "fraud", "reporter": "subscriber"}
    results = found(
        bundle,
        call("c1", 0, 100),
        # Another call to the same number in the same second as the answer comes too late to be counted.
        call("c2", 5.2, None, caller_raw="+77010000003"),
        [event("report", 50, "c0", **told), event("report", 50.1, "c00", **told)],
    )
    assert (results["answered"].honest_hits, results["answered"].talk_s) == (1, 0.0)
    assert (results["reported"].honest_hits, results["reported"].talk_s) == (1, 45.0)
    assert (results["answered"].looks, results["reported"].looks) == (1, 2)


def test_it_hits_what_the_engine_would_alert_on(tmp_path: Path) -> None:
    """The same calls, told to an engine event by event."""
    bundle = bundle_of(
        tmp_path,
        later("busy", "caller_calls_1h >= 2 and talk_so_far_s >= 20", stage="shadow", command="alert",
              hit="caller_calls_1h: 2, talk_so_far_s: 20"),
        later(stage="shadow"),
    )  # fmt: skip
    calls = [call(f"c{n}", 7.5 * n, 15.0 * n, caller_raw=f"+7701000000{n % 3}") for n in range(12)]
    events = sorted((item for one in calls for item in one), key=lambda item: item.event.ts)
    policy = msgspec.structs.replace(
        SETTINGS.policy(), regions={"KZ-75": RegionPolicy("KZ-75")}, default_region="KZ-75"
    )
    decider = Decider(bundle, policy, NUMBERING, fold=Fold(bundle.windows, limits=LIMITS))
    interceptor = Interceptor(decider)
    live = []
    for item in events:
        while (due := interceptor.calls.next_tick) is not None and due < item.event.ts:
            live += interceptor.advance(due)
        prepared = [decider.prepare(item.event)]
        interceptor.note(prepared, [item.event.ts], decider.decide_prepared(prepared))
    hits = {name: sum(f"rule:{name}" in {reason.by for reason in one.reasons} for one in live) for name in
            ("busy", "long_talk")}  # fmt: skip
    results = found(bundle, events)
    assert {name: item.honest_hits for name, item in results.items()} == hits
    assert all(hits.values())


# Which calls get in progress


@pytest.mark.parametrize(
    ("rule", "stopped"),
    [
        (at_setup(), True),
        (at_setup(verdict="divert"), True),
        (at_setup(verdict="challenge"), True),
        (at_setup(stage="shadow"), False),
        (at_setup(stage="draft"), False),
        (at_setup(stage="canary", percent=99.99), True),
        (at_setup(stage="canary", percent=1), False),
        (at_setup("other", 'caller == "+77010000002"'), False),
    ],
)
def test_what_rules_on_setups_stop_at_their_stages_never_gets_in_progress(
    tmp_path: Path, rule: str, stopped: bool
) -> None:
    assert SETTINGS.policy().region("KZ-75").ceiling is not Ceiling.OFF
    count = counted(
        bundle_of(tmp_path, rule, later()),
        call("f", caller_raw=SCAMMER, fraud=True), call("h", 10, caller_raw=SCAMMER), call("n", 20),
    )  # fmt: skip
    (item,) = count.results()
    if stopped:
        assert (count.honest, count.fraud, count.stopped_honest, count.stopped_fraud) == (1, 0, 1, 1)
        assert (item.honest, item.honest_hits, item.fraud_hits, item.fraud_talk_s) == (1, 1, 0, 0.0)
    else:
        assert (count.honest, count.fraud, count.stopped_honest, count.stopped_fraud) == (2, 1, 0, 0)
        assert (item.honest_hits, item.fraud_hits) == (2, 1)


@pytest.mark.parametrize("ceiling", list(Ceiling))
def test_neither_ceilings_nor_full_desks_matter(tmp_path: Path, ceiling: Ceiling) -> None:
    bundle = bundle_of(tmp_path, at_setup(verdict="divert"), later())
    policy = SETTINGS.policy()
    regions = {"KZ-75": RegionPolicy("KZ-75", ceiling, params={"gone": {"x": 1}})}
    policy = msgspec.structs.replace(policy, regions=regions, default_region="KZ-75")
    count = InProgressCount(bundle, policy, NUMBERING, limits=LIMITS)
    list(count.passing([*call("h"), *call("f", 200, caller_raw=SCAMMER, fraud=True)]))
    assert (count.honest, count.fraud, count.stopped_fraud) == (1, 0, 1)
    assert count.results()[0].honest_hits == 1


def test_protected_and_emergency_calls_are_in_progress_and_never_hit(tmp_path: Path) -> None:
    bundle = bundle_of(
        tmp_path, later(), at_setup("guarded", 'callee == "+77020000002"', verdict="protect"),
        at_setup("proposed", 'callee == "+77020000002"', verdict="protect", stage="draft"),
    )  # fmt: skip
    count = counted(bundle, call("guarded"), call("112", 1, callee_raw="112"), call("n", 2, callee_raw="+77020000005"))
    assert (count.honest, count.results()[0].honest_hits) == (3, 1)
    # A rule that would protect and is a draft protects nobody yet.
    proposed = bundle_of(tmp_path / "two", later(), at_setup("p", verdict="protect", stage="draft"))
    assert found(proposed, call(caller_raw=SCAMMER))["long_talk"].honest_hits == 1


def test_what_a_desk_hands_back_is_not_in_progress(tmp_path: Path) -> None:
    policy = msgspec.structs.replace(SETTINGS.policy(), trunks=(("desk-*", "desk"),))
    count = InProgressCount(bundle_of(tmp_path, later()), policy, NUMBERING, limits=LIMITS)
    list(count.passing(call(trunk="desk-1")))
    assert (count.honest, count.results()[0].honest_hits) == (0, 0)


# What is counted


def test_each_rule_counts_by_itself_and_as_if_at_enforce(tmp_path: Path) -> None:
    bundle = bundle_of(
        tmp_path,
        later("early", "talk_so_far_s >= 20", stage="enforce", budget=5),
        later("late", "talk_so_far_s >= 90", command="alert", stage="canary", budget=5),
        later("drafted", "talk_so_far_s >= 50"),
        later("old", "talk_so_far_s >= 10", stage="retired"),
    )
    assert isinstance(bundle.rules, RuleSet)
    assert [rule.id for rule in rules_in_progress(bundle.rules)] == ["drafted", "early", "late"]
    results = found(bundle, call("h"), call("f", 10, 300, fraud=True))
    # The rule that would have ended the call at 20 s hides it from none of the others.
    assert {name: (item.honest_hits, item.fraud_hits, item.talk_s) for name, item in results.items()} == {
        "early": (1, 1, 20.0), "late": (1, 1, 90.0), "drafted": (1, 1, 50.0),
    }  # fmt: skip
    # An alert does not do what a release does; a draft is in nobody's way.
    assert {name: item.fraud_alone for name, item in results.items()} == {"early": 1, "late": 0, "drafted": 0}
    assert {name: item.acts for name, item in results.items()} == {"early": True, "late": True, "drafted": False}
    assert results["late"].rule.stage.value == "canary"
    assert results["early"].rule.verdict == "release"


def test_more_rules_than_a_decision_has_room_for_are_all_counted(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, *(later(f"rule_{number:02}") for number in range(12)))
    assert {item.honest_hits for item in found(bundle, call()).values()} == {1}


def test_a_budget_holds_for_calls_that_are_answered(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, later(stage="canary", budget=20))
    (item,) = found(bundle, *(call(f"c{n}", n, 30) for n in range(5))).values()
    assert (item.honest, item.budget, item.outcome) == (5, 20.0, "open")
    assert msgspec.structs.replace(item, honest=300_000).outcome == "kept"
    # Where nothing was ever looked at, no number of calls shows anything.
    assert msgspec.structs.replace(item, honest=300_000, looks=0).outcome == "open"
    assert msgspec.structs.replace(item, honest=1_000, honest_hits=9).outcome == "above"
    (empty,) = found(bundle).values()
    assert (empty.honest, empty.per_million, empty.per_10000, empty.at_least) == (0, 0.0, 0.0, 0.0)
    assert (empty.at_most, empty.outcome, empty.talk_s, empty.cut_share) == (1_000_000, "open", None, 0.0)


def test_every_source_begins_with_empty_windows_and_no_calls(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, later("again", "caller_calls_1h >= 2", hit="caller_calls_1h: 2"))
    count = counting(bundle)
    list(count.passing(call("c1")[:2]))
    list(count.passing([event("setup", 100, "c2"), event("answer", 101, "c2"), event("setup", 300, "c3")]))
    assert (count.honest, count.results()[0].honest_hits) == (2, 0)


def test_calls_that_never_end_are_forgotten_as_the_engine_forgets_them(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, later())
    endless = call("endless", fraud=True)[:2]
    count = counted(bundle, endless, *(call(f"c{n}", 3_600.0 * n, None) for n in range(1, 7)))
    (item,) = count.results()
    assert (count.fraud, item.fraud_hits, item.cut_s) == (1, 1, 4 * 3_600.0 - 65.0)


def test_what_rules_in_force_would_stop_comes_back_into_the_windows(tmp_path: Path) -> None:
    often = later("often", "trunk_stopped_1h >= 2", hit="trunk_stopped_1h: 2")
    scams = [call(f"s{n}", n, None, caller_raw=SCAMMER) for n in range(2)]
    bundle = bundle_of(tmp_path, at_setup(stage="shadow"), often)
    assert found(bundle, *scams, call("n", 5))["often"].honest_hits == 1
    assert found(bundle, *scams, call("n", 5), feedback=False)["often"].honest_hits == 0


def test_rules_that_read_the_score_get_it_and_the_model_stops_nothing(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, later("scored", "score >= 0", hit="score: 0.5"))
    assert SETTINGS.model_dir is not None
    count = counted(bundle, call(), model=Model.load(SETTINGS.model_dir))
    assert (count.honest, count.results()[0].honest_hits) == (1, 1)
    assert found(bundle, call())["scored"].honest_hits == 0


def test_events_out_of_order_are_refused(tmp_path: Path) -> None:
    count = counting(bundle_of(tmp_path, later()))
    with pytest.raises(UsageError, match=r"day\.jsonl: call c1 goes back in time"):
        list(count.passing([event("setup", 2, "c2"), event("setup", 1, "c1")], "day.jsonl"))


def test_looks_that_fail_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(Fold, "probe", refuse)
    count = counted(bundle_of(tmp_path, later()), call())
    assert (count.failures, count.results()[0].honest_hits) == (9, 0)
