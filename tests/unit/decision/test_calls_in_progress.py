"""Calls in progress: when they are looked at, what may be done to them, and that the table stays within its bounds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.cli.assembly import build_numbering
from antifraud.decision import Decider, Policy, RegionPolicy, load_bundle
from antifraud.decision.calls_in_progress import (
    MOST_DUE,
    MOST_OF_ONE_NUMBER,
    MOST_WITH_ONE_ID,
    CallsInProgress,
    OpenCall,
)
from antifraud.decision.interception import Interceptor
from antifraud.domain import CallEvent, Ceiling, Decision, EventKind
from antifraud.engine.open_calls import read_calls, write_calls
from antifraud.features import Fold, Limits
from antifraud.settings import load_settings

SETTINGS = load_settings(env={})
NUMBERING = build_numbering(SETTINGS, warm=False)
T0 = 1.8e9
CALLER, CALLEE = "+77010000001", "+77020000002"
Watch = Callable[..., "Watched"]

RULE = """\
rule: {name}
title: a rule of the test
owner: fraud-desk
why: it is a test
false_positives: none
on: {on}
when: |
  {when}
then: {{command: {command}, reason: "{{caller}} has talked {{talk_so_far_s}} s"}}
rollout: {{stage: {stage}{more}}}
tests:
  - {{name: a, given: {{{hit}}}, expect: hit}}
  - {{name: b, given: {{talk_so_far_s: 1}}, expect: no_hit}}
"""


class Watched:
    """A decider with one rule on calls in progress, and calls told to it event by event."""

    def __init__(self, decider: Decider) -> None:
        self.decider = decider
        self.interceptor = Interceptor(decider)

    def tell(self, *events: CallEvent) -> list[Decision]:
        prepared = [self.decider.prepare(event) for event in events]
        decisions = self.decider.decide_prepared(prepared)
        return self.interceptor.follow(prepared, [event.ts for event in events], decisions)

    def talk(self, call_id: str = "c1", at: float = T0, **changes: Any) -> list[Decision]:
        """A call that is set up and answered at once."""
        return self.tell(event("setup", at, call_id, **changes)) + self.tell(event("answer", at, call_id, **changes))


def event(kind: str, ts: float, call_id: str = "c1", **changes: Any) -> CallEvent:
    base = CallEvent(
        EventKind(kind), call_id, ts, switch="sw-kz-75", trunk="nat-1", caller_raw=CALLER, callee_raw=CALLEE
    )
    return msgspec.structs.replace(base, **changes)


def policy() -> Policy:
    regions = {
        "KZ-75": RegionPolicy("KZ-75", Ceiling.BLOCK),
        "KZ-71": RegionPolicy("KZ-71", Ceiling.DIVERT),
        "KZ-11": RegionPolicy("KZ-11", Ceiling.BLOCK, language="kk"),
    }
    return Policy(
        "kz", "KZ", "KZ-71", regions, {f"sw-{code.lower()}": code for code in regions},
        (("intl-*", "international"), ("nat-*", "national"), ("desk-*", "desk")),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy: Path = tmp_path_factory.mktemp("rules") / "rules"
    shutil.copytree(SETTINGS.rules_dir, copy)
    shutil.rmtree(copy / "packs")
    (copy / "packs" / "test").mkdir(parents=True)
    return copy


@pytest.fixture
def watch(folder: Path) -> Watch:
    def made(*rules: dict[str, str], **changes: str) -> Watched:
        for path in (folder / "packs" / "test").iterdir():
            path.unlink()
        for number, rule in enumerate(rules or ({},)):
            said = {
                "name": f"rule_{number}", "on": "tick", "when": "talk_so_far_s >= 60", "command": "release",
                "stage": "enforce", "more": "", "hit": "talk_so_far_s: 99", **changes, **rule,
            }  # fmt: skip
            if said["stage"] in ("enforce", "canary"):
                said["more"] = ", false_hits_per_million: 1" + said["more"]
            (folder / "packs" / "test" / f"{said['name']}.yaml").write_text(RULE.format(**said))
        bundle = load_bundle(folder)
        fold = Fold(bundle.windows, limits=Limits.of_memory(64 << 20))
        return Watched(Decider(bundle, policy(), NUMBERING, fold=fold))

    return made


def test_a_long_call_is_released_once_while_it_goes_on(watch: Watch) -> None:
    watched = watch()
    assert watched.talk() == []
    assert watched.interceptor.advance(T0 + 59) == []
    (decision,) = watched.interceptor.advance(T0 + 69)
    assert (decision.on, decision.verdict, decision.full_verdict) == ("tick", "release", "release")
    assert (decision.call_id, decision.switch, decision.caller) == ("c1", "sw-kz-75", CALLER)
    assert decision.reason == f"{CALLER} has talked 69 s"
    assert decision.ts == T0 + 69
    assert watched.interceptor.advance(T0 + 600) == []
    # The same call gives the same id, so that what is written twice is recognised.
    again = watch()
    again.talk()
    (repeated,) = again.interceptor.advance(T0 + 69)
    assert repeated.id == decision.id


def test_a_call_that_is_over_or_not_answered_is_not_looked_at(watch: Watch) -> None:
    watched = watch()
    watched.tell(event("setup", T0))
    watched.talk("c2")
    watched.tell(event("release", T0 + 30, "c2"))
    assert watched.interceptor.advance(T0 + 600) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"callee_raw": "112"},
        {"callee_raw": "1414"},
        {"trunk": "desk-1"},
    ],
    ids=["emergency", "state number", "from the desk"],
)
def test_what_is_protected_is_never_touched(watch: Watch, changes: dict[str, Any]) -> None:
    watched = watch()
    watched.talk(**changes)
    assert watched.interceptor.advance(T0 + 600) == []


@pytest.mark.parametrize(
    ("rule", "call", "verdict"),
    [
        ({"stage": "shadow"}, {}, "alert"),
        ({"command": "alert"}, {}, "alert"),
        ({"stage": "canary", "more": ", percent: 0.01"}, {}, "alert"),
        ({"stage": "canary", "more": ", percent: 99.99"}, {}, "release"),
        ({}, {"switch": "sw-kz-71"}, "alert"),
        ({}, {"switch": "nobody-knows"}, "alert"),
        ({}, {"switch": "sw-kz-11"}, "release"),
    ],
)
def test_less_than_full_enforcement_alerts(
    watch: Watch, rule: dict[str, str], call: dict[str, Any], verdict: str
) -> None:
    watched = watch(rule)
    watched.talk(**call)
    (decision,) = watched.interceptor.advance(T0 + 60)
    assert decision.verdict == verdict
    assert decision.full_verdict == rule.get("command", "release")


def test_the_kill_switch_stops_everything_and_the_record_goes_on(watch: Watch) -> None:
    watched = watch()
    watched.talk()
    watched.decider.killed = True
    (decision,) = watched.interceptor.advance(T0 + 60)
    assert (decision.verdict, decision.full_verdict) == ("allow", "release")
    assert decision.reasons[0].by == "engine"


def test_a_call_whose_decision_is_not_known_is_not_ended(watch: Watch) -> None:
    watched = watch()
    prepared = [watched.decider.prepare(event("setup", T0)), watched.decider.prepare(event("answer", T0))]
    watched.decider.absorb_prepared(prepared)
    watched.interceptor.note(prepared, [T0, T0])
    (decision,) = watched.interceptor.advance(T0 + 60)
    assert decision.verdict == "alert"


def test_what_was_decided_before_a_restart_is_not_done_again(watch: Watch) -> None:
    watched = watch()
    prepared = [watched.decider.prepare(event(kind, T0)) for kind in ("setup", "answer")]
    decisions = watched.decider.decide_prepared(prepared)
    watched.interceptor.follow(prepared, [T0, T0], decisions)
    (released,) = watched.interceptor.advance(T0 + 60)
    after = watch()
    after.interceptor.note(prepared, [T0, T0])
    for decision in (released, *decisions):  # as they are read: the newest first
        after.interceptor.calls.learn(decision)
    assert after.interceptor.advance(T0 + 120) == []
    other = watch()
    other.interceptor.note(prepared, [T0, T0])
    other.interceptor.calls.learn(decisions[0])
    assert [decision.verdict for decision in other.interceptor.advance(T0 + 60)] == ["release"]


@pytest.mark.parametrize(
    ("before", "now", "protected"), [("allow", "divert", False), ("allow", "allow", True), ("block", "allow", False)]
)
def test_after_a_restart_a_call_does_not_take_the_decision_about_one_before_it(
    watch: Watch, before: str, now: str, protected: bool
) -> None:
    """With the same Call-ID, which is over; and whatever was done to it was not done to this one."""
    watched = watch()
    setups = [event("setup", T0), event("setup", T0 + 60, callee_raw="+77020000003")]
    old, new = watched.decider.decide(setups)
    old = msgspec.structs.replace(old, verdict=before)
    new = msgspec.structs.replace(new, verdict=now, protected=protected)
    gone = msgspec.structs.replace(old, verdict="release", on="tick", ts=T0 + 30)
    watched.interceptor.note([watched.decider.prepare(setups[1])], [T0 + 60])
    for decision in (new, gone, old):  # as they are read: the newest first
        watched.interceptor.calls.learn(decision)
    (call,) = watched.interceptor.calls.dump()
    passed_on = now == "allow"
    assert (call.judged, call.passed_on, call.released) == (passed_on and not protected, passed_on, False)


def test_an_answer_and_a_report_are_moments_too(watch: Watch) -> None:
    hit = "caller: '+77010000001', talk_so_far_s: 0"
    watched = watch({"on": "answer", "when": "prefix_in(caller, ['+77010000001'])", "hit": hit})
    assert [decision.on for decision in watched.talk()] == ["answer"]
    hit = "label: fraud, reporter: subscriber, talk_so_far_s: 9"
    watched = watch({"on": "report", "when": "label == 'fraud' and talk_so_far_s >= 5", "hit": hit})
    assert watched.talk() == []
    report = event("report", T0 + 9, "other", label="fraud", reporter="subscriber", callee_raw="+77020000009")
    honest = msgspec.structs.replace(report, label="honest")
    own = msgspec.structs.replace(report, source="engine")
    another = msgspec.structs.replace(report, caller_raw="+77010000099")
    back = msgspec.structs.replace(report, takes_back=T0 + 8)
    assert watched.tell(honest, own, another, back) == []
    assert [(decision.on, decision.verdict) for decision in watched.tell(report)] == [("report", "release")]
    assert watched.tell(report) == []


def test_windows_are_those_of_the_moment_and_looking_counts_nothing(watch: Watch) -> None:
    watched = watch(
        {"when": "caller_calls_1h >= 3 and talk_so_far_s >= 60", "hit": "caller_calls_1h: 3, talk_so_far_s: 60"}
    )
    watched.talk()
    watched.tell(event("setup", T0 + 20, "c2"))
    assert watched.interceptor.advance(T0 + 65) == []
    before = watched.decider.fold.stats()
    watched.tell(event("setup", T0 + 66, "c3"))
    assert before["setups"] == 2
    (decision,) = watched.interceptor.advance(T0 + 80)
    assert decision.verdict == "release"
    assert watched.decider.fold.stats()["setups"] == 3


OTHER = "+77020000003"
ENDS = {
    "other numbers": {"callee_raw": OTHER},
    "the same numbers": {},
    "other numbers, no times": {"callee_raw": OTHER, "ring_s": None, "talk_s": None},
    "the same numbers, no times": {"ring_s": None},
}


@pytest.mark.parametrize("changes", ENDS.values(), ids=ENDS)
def test_another_call_with_the_same_call_id_hides_no_call(watch: Watch, changes: dict[str, Any]) -> None:
    """Whoever calls chooses the Call-ID: the end of one call is not that of another, and the second is followed too."""
    told = {"ring_s": 1.0, "talk_s": 0.0, **changes}
    setup = {name: value for name, value in changes.items() if name == "callee_raw"}
    watched = watch()
    watched.talk()
    watched.tell(event("setup", T0 + 5, **setup))
    watched.tell(event("release", T0 + 6, **told))
    (decision,) = watched.interceptor.advance(T0 + 69)
    assert (decision.verdict, decision.callee) == ("release", CALLEE)
    watched.tell(event("release", T0 + 70, ring_s=0.0, talk_s=70.0))
    assert len(watched.interceptor.calls) == 0

    # The other way round: the first call ends, the second goes on.
    watched = watch()
    watched.tell(event("setup", T0, **setup))
    watched.tell(event("setup", T0 + 5))
    watched.tell(event("answer", T0 + 5, ring_s=0.0))
    watched.tell(event("release", T0 + 6, **{**told, "ring_s": told["ring_s"] and 6.0}))
    (decision,) = watched.interceptor.advance(T0 + 69)
    assert (decision.verdict, decision.callee) == ("release", CALLEE)
    watched.tell(event("release", T0 + 70, ring_s=0.0, talk_s=65.0))
    assert len(watched.interceptor.calls) == 0


def test_calls_with_one_call_id_are_decided_each_for_itself(watch: Watch) -> None:
    watched = watch()
    watched.talk()
    watched.tell(event("setup", T0), event("setup", T0))  # the same call again
    assert len(watched.interceptor.calls) == 1
    watched.tell(event("setup", T0 + 10))
    watched.tell(event("answer", T0 + 11, ring_s=1.0))
    first = watched.interceptor.advance(T0 + 61)
    second = watched.interceptor.advance(T0 + 72)
    assert [decision.verdict for decision in (*first, *second)] == ["release", "release"]
    assert first[0].id != second[0].id


def test_after_a_restart_each_call_with_one_call_id_has_its_own_decision(watch: Watch) -> None:
    watched = watch()
    setups = [event("setup", T0), event("setup", T0 + 1), event("setup", T0 + 2, callee_raw="112")]
    prepared = [watched.decider.prepare(setup) for setup in setups]
    decisions = watched.decider.decide_prepared(prepared)
    diverted = msgspec.structs.replace(decisions[1], verdict="divert")
    watched.interceptor.note(prepared, [T0] * 3)
    for decision in (decisions[2], diverted, decisions[0]):
        watched.interceptor.calls.learn(decision)
    known = [(call.judged, call.passed_on) for call in watched.interceptor.calls.dump()]
    assert known == [(True, True), (False, False), (False, True)]
    found = watched.interceptor.calls.get("sw-kz-75", "c1")
    assert found is not None
    assert found.event.ts == T0


def test_a_rule_that_fails_costs_its_own_call_only(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watch()
    watched.talk()
    rules = watched.decider.bundle.rules

    def fails(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(rules, "evaluate_in_progress", fails)
    assert watched.interceptor.advance(T0 + 60) == []
    assert watched.interceptor.failures == 1


# The table


def followed(calls: CallsInProgress, kind: str, at: float, call_id: str, verdict: str = "", **changes: Any) -> None:
    class Item:
        """What a table needs of a prepared event."""

        def __init__(self, of: CallEvent) -> None:
            self.event = msgspec.structs.replace(of, caller=of.caller_raw, callee=of.callee_raw)
            self.row = [None] * 64

    item: Any = Item(event(kind, at, call_id, **changes))
    decided = Decision(
        "d", call_id, at, "kz", "KZ-75", verdict, verdict, "block", item.event.caller, item.event.callee,
        switch=item.event.switch,
    )  # fmt: skip
    calls.follow([item], [at], [decided] if verdict else None)


def test_the_table_is_bounded_by_count_and_age() -> None:
    calls = CallsInProgress(most=3, most_age_s=100.0)
    calls.watch(frozenset({"tick", "report"}))
    for number in range(5):
        followed(calls, "setup", T0 + number, f"c{number}")
        followed(calls, "answer", T0 + number, f"c{number}")
    assert [call.event.call_id for call in calls.dump()] == ["c2", "c3", "c4"]
    assert calls.counts["calls_forgotten.many"] == 2
    calls.advance(T0 + 103.5)
    assert [call.event.call_id for call in calls.dump()] == ["c4"]
    assert calls.counts["calls_forgotten.old"] == 2


@pytest.mark.parametrize("first", [True, False])
def test_the_end_of_a_diverted_call_is_not_that_of_another(first: bool) -> None:
    calls = CallsInProgress()
    calls.watch(frozenset({"tick"}))
    setups = [("divert", T0 + 1), ("allow", T0)]
    for verdict, at in setups if first else reversed(setups):
        followed(calls, "setup", at, "c", verdict, callee_raw=OTHER if verdict == "divert" else CALLEE)
    followed(calls, "answer", T0 + 2, "c", ring_s=1.0, callee_raw=OTHER)
    assert list(calls.open()) == []
    followed(calls, "answer", T0 + 2, "c", ring_s=2.0)
    followed(calls, "release", T0 + 3, "c", ring_s=1.0, talk_s=1.0, callee_raw=OTHER)
    assert [call.event.callee_raw for call in calls.open()] == [CALLEE]
    followed(calls, "setup", T0 + 4, "c", "block", callee_raw=OTHER)
    followed(calls, "release", T0 + 5, "c", ring_s=2.0, talk_s=3.0)
    assert len(calls) == 0


def test_calls_with_one_call_id_are_bounded() -> None:
    calls = CallsInProgress()
    for number in range(MOST_WITH_ONE_ID + 3):
        followed(calls, "setup", T0 + number, "c")
    assert len(calls) == MOST_WITH_ONE_ID
    assert calls.counts["calls_forgotten.same_id"] == 3
    for number in range(MOST_WITH_ONE_ID):
        followed(calls, "release", T0 + 500, "c", ring_s=500.0 - number, talk_s=0.0)
    assert len(calls) == 0


def test_one_report_looks_at_a_bounded_number_of_calls() -> None:
    calls = CallsInProgress()
    calls.watch(frozenset({"report"}))
    for number in range(MOST_OF_ONE_NUMBER + 7):
        followed(calls, "setup", T0, f"c{number}")
        followed(calls, "answer", T0, f"c{number}")
    followed(calls, "report", T0, "r")
    assert len(calls.take()) == MOST_OF_ONE_NUMBER
    assert calls.counts["calls_not_looked_at"] == 7


def test_many_calls_that_are_due_at_once_are_looked_at_in_turns() -> None:
    calls = CallsInProgress()
    calls.watch(frozenset({"tick"}))
    for number in range(MOST_DUE + 5):
        followed(calls, "setup", T0, f"c{number}")
        followed(calls, "answer", T0, f"c{number}")
    assert calls.advance(T0 + 10)
    assert len(calls.take()) == MOST_DUE
    assert not calls.advance(T0 + 10)
    assert len(calls.take()) == 5


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("setup", "answer", "release", "report", "time")),
        st.integers(0, 4),
        st.integers(0, 30_000),
        st.integers(0, 2),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_the_table_forgets_no_open_call_and_keeps_no_closed_one(steps: list[tuple[str, int, int, int]]) -> None:
    calls = CallsInProgress(tick_s=5.0)
    calls.watch(frozenset({"answer", "tick", "report"}))
    now = T0
    begun: dict[str, dict[float, float | None]] = {}  # by Call-ID: the setups, and when each was answered
    for kind, number, milliseconds, which in steps:
        now += milliseconds / 1000
        call_id = f"c{number}"
        mine = begun.setdefault(call_id, {})
        if kind == "time":
            calls.advance(now)
        elif kind in ("answer", "release") and mine:
            setup = list(mine)[which % len(mine)]
            answered = mine[setup]
            if kind == "answer":
                followed(calls, kind, now, call_id, ring_s=now - setup)
                mine[setup] = answered or now
            else:
                talk_s = now - answered if answered else 0.0
                followed(calls, kind, now, call_id, ring_s=now - setup - talk_s, talk_s=talk_s)
                del mine[setup]
        else:
            followed(calls, kind, now, call_id)
            if kind == "setup":
                mine.setdefault(now)
        open_calls = sorted((call_id, at) for call_id, mine in begun.items() for at in mine.values() if at)
        assert sorted((call.event.call_id, call.answered or 0) for call in calls.open()) == open_calls
        assert len(calls) == sum(map(len, begun.values()))
        for moment in calls.take():
            assert moment.on == "report" or moment.call.answered is not None
        # It is the same after it was written down and read again.
        other = CallsInProgress(tick_s=5.0)
        other.restore(calls.dump())
        assert [call.key for call in other.open()] == [call.key for call in calls.open()]
        assert other._places == calls._places


def test_calls_are_read_as_they_were_written_and_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "kz.1-0.calls"
    calls = [
        OpenCall(event("setup", T0, f"c{n}", roaming=True), T0, 0.5, True, T0 + 1, T0 + 11, ("rule:a",))
        for n in range(3)
    ]
    write_calls(path, calls)
    assert read_calls(path) == calls
    assert path.stat().st_mode & 0o77 == 0
    whole = path.read_bytes()
    for place in (0, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_calls(path) is None
    path.write_bytes(whole[:-5])
    assert read_calls(path) is None
    path.unlink()
    assert read_calls(path) is None
