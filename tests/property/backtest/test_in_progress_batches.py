"""What rules on calls in progress hit follows from the log alone: not from how many events are decided at once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.backtest.hits import LabelledEvent
from antifraud.backtest.in_progress import InProgressCount
from antifraud.cli.assembly import build_numbering
from antifraud.decision import Bundle, load_bundle
from antifraud.domain import CallEvent, EventKind
from antifraud.features import Limits
from antifraud.settings import load_settings

SETTINGS = load_settings(env={})
NUMBERING = build_numbering(SETTINGS, warm=False)
LIMITS = Limits.of_memory(64 << 20)
START = 1_767_553_200.0

AT_SETUP = """\
rule: often
title: a rule of the test
owner: tests
why: it is a test
false_positives: none
when: caller_calls_1h >= 2
then: {verdict: block, reason: "because"}
rollout: {stage: enforce, false_hits_per_million: 1}
tests:
  - {name: a, given: {caller_calls_1h: 2}, expect: hit}
  - {name: b, given: {caller_calls_1h: 1}, expect: no_hit}
"""
LATER = """\
rule: %s
title: a rule of the test
owner: tests
why: it is a test
false_positives: none
on: %s
when: %s
then: {command: release, reason: "because"}
rollout: {stage: draft}
tests:
  - {name: a, given: {%s}, expect: hit}
  - {name: b, given: {hour: 1}, expect: no_hit}
"""
RULES = {
    "often": AT_SETUP,
    "busy": LATER % ("busy", "tick", "callee_calls_1h >= 2", "callee_calls_1h: 2"),
    "stopped": LATER % ("stopped", "tick", "trunk_stopped_1h >= 1", "trunk_stopped_1h: 1"),
    "long": LATER % ("long", "tick", "talk_so_far_s >= 20", "talk_so_far_s: 20"),
    "told": LATER % ("told", "report", "caller_reports_30d >= 2", "caller_reports_30d: 2"),
    "taken": LATER % ("taken", "answer", "callee_calls_1h >= 2", "callee_calls_1h: 2"),
}


@cache
def bundle(chosen: tuple[str, ...]) -> Bundle:
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "packs" / "demo").mkdir(parents=True)
        (folder / "lists").mkdir()
        for name in ("fields.yaml", "windows.yaml", "calendar.yaml"):
            (folder / name).symlink_to(SETTINGS.rules_dir / name)
        for name in ("often", *chosen):
            (folder / "packs" / "demo" / f"{name}.yaml").write_text(RULES[name], encoding="utf-8")
        return load_bundle(folder, drafts=True)


def _event(kind: EventKind, at: float, call: int, caller: int, callee: int, *, fraud: bool) -> LabelledEvent:
    report = kind is EventKind.REPORT
    event = CallEvent(
        kind, f"c{call}", START + at, "test", switch="sw-kz-75", trunk="nat-1", caller_raw=f"+7701000000{caller}",
        callee_raw=f"+7702000000{callee}", label="fraud" if report else "", reporter="subscriber" if report else "",
    )  # fmt: skip
    return LabelledEvent(event, fraud)


# Whole and half seconds make many things happen at the same time: events, looks, reports that are read back.
TIMES = st.integers(0, 400).map(lambda half: half / 2) | st.integers(0, 1_600_000).map(lambda part: part / 8_000)
EVENTS = st.lists(
    st.builds(
        _event,
        st.sampled_from([EventKind.SETUP, EventKind.SETUP, EventKind.ANSWER, EventKind.ANSWER, EventKind.RELEASE,
                         EventKind.REPORT]),
        TIMES,
        st.integers(0, 9),
        st.integers(0, 3),
        st.integers(0, 2),
        fraud=st.booleans(),
    ),
    min_size=40,
    max_size=60,
).map(lambda events: sorted(events, key=lambda item: item.event.ts))  # fmt: skip


def counted(chosen: tuple[str, ...], events: list[LabelledEvent], tick_s: float, at_a_time: int) -> tuple[object, ...]:
    count = InProgressCount(
        bundle(chosen), SETTINGS.policy(), NUMBERING, limits=LIMITS, examples=100, tick_s=tick_s, at_a_time=at_a_time
    )
    assert list(count.passing(events)) == events
    return (
        count.honest, count.fraud, count.stopped_honest, count.stopped_fraud, count.fraud_talk_s, count.failures,
        [(item.rule.id, item.looks, item.honest_hits, item.callers, item.fraud_hits, item.fraud_alone, item.talk_s,
          item.cut_s, item.examples) for item in count.results()],
    )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    events=EVENTS,
    chosen=st.sampled_from([("busy", "stopped", "long"), ("told", "long"), ("taken", "stopped"), tuple(RULES)[1:]]),
    sizes=st.tuples(st.integers(2, 9), st.just(512)),
    tick_s=st.sampled_from([10.0, 10.0, 0.5, 0.2]),
)
def test_how_many_events_are_decided_at_once_changes_nothing(
    events: list[LabelledEvent], chosen: tuple[str, ...], sizes: tuple[int, int], tick_s: float
) -> None:
    alone = counted(chosen, events, tick_s, 1)
    for size in sizes:
        assert counted(chosen, events, tick_s, size) == alone
