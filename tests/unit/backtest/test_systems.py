"""What each system would have done is what a decider of the live engine does, fed with its own stops."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from antifraud.backtest.systems import SideBySide
from antifraud.cli.assembly import build_numbering
from antifraud.decision import Bundle, Decider, load_bundle, stopped_report
from antifraud.domain import CallEvent, Decision, EventKind, UsageError, Verdict
from antifraud.features import Fold, Limits
from antifraud.scoring import Model
from antifraud.scoring.judged_calls import ENGINE, RULES, SCORE, Calls
from antifraud.settings import load_settings
from antifraud.simulator import SimulatedEvent, simulate

SETTINGS = load_settings(env={"ANTIFRAUD_ENGINE_WARM_UP_S": "300"})
NUMBERING = build_numbering(SETTINGS, warm=False)
LIMITS = Limits.of_memory(64 << 20)
CALLS = 1500


@cache
def bundle() -> Bundle:
    return load_bundle(SETTINGS.rules_dir, SETTINGS.utc_offset_min)


@cache
def model() -> Model:
    assert SETTINGS.model_dir is not None
    return Model.load(SETTINGS.model_dir)


@cache
def events() -> tuple[SimulatedEvent, ...]:
    return tuple(simulate("national", 34, CALLS, days=0.2))


def contest() -> SideBySide:
    return SideBySide(bundle(), SETTINGS.policy(), NUMBERING, model(), limits=LIMITS)


@pytest.fixture(scope="module")
def calls() -> Calls:
    run = contest()
    run.add(events(), "seed 34")
    return run.calls()


def decided(with_model: bool) -> list[Decision]:
    """The decisions of one decider, in the batches and with the feedback of the contest."""
    decider = Decider(
        bundle(), SETTINGS.policy(), NUMBERING, model() if with_model else None,
        Fold(bundle().windows, limits=LIMITS, secret=bytes(32)),
    )  # fmt: skip
    found: list[Decision] = []
    for batch in _tens(events()):
        decisions = decider.decide(batch)
        setups = [event for event in batch if event.kind is EventKind.SETUP]
        reports = [
            stopped_report(event)
            for event, decision in zip(setups, decisions, strict=True)
            if decision.full_verdict in ("divert", "block") and not decision.protected
        ]
        decider.absorb([report for report in reports if report is not None])
        found += decisions
    return found


def _tens(items: tuple[SimulatedEvent, ...]) -> Iterator[list[CallEvent]]:
    batch: list[CallEvent] = []
    for item in items:
        if batch and item.event.ts - batch[0].ts >= 10.0:
            yield batch
            batch = []
        batch.append(item.event)
    yield batch


def test_the_whole_engine_and_rules_alone_are_the_live_ones(calls: Calls) -> None:
    for name, with_model in ((ENGINE, True), (RULES, False)):
        found = decided(with_model)
        assert [int(Verdict.parse(one.full_verdict)) for one in found] == calls.verdicts[name].tolist()
        assert [one.region for one in found] == [calls.regions[code] for code in calls.region]
    assert (calls.verdicts[ENGINE] >= Verdict.DIVERT).any()


def test_the_score_alone_follows_from_score_and_threshold(calls: Calls) -> None:
    rows = calls.rows.astype(np.float64)
    verdicts = {"block": Verdict.BLOCK, "divert": Verdict.DIVERT, "label": Verdict.LABEL}
    reached = [calls.score >= model().thresholds_for(rows, level) for level in verdicts]
    by_hand = np.select(reached, [int(verdict) for verdict in verdicts.values()], 0)
    free = ~calls.spared
    assert free.any()
    assert np.array_equal(calls.verdicts[SCORE][free], by_hand[free])
    assert (calls.verdicts[SCORE][calls.spared] <= Verdict.LABEL).all()
    assert np.allclose(model().predict(calls.rows.astype(np.float64)), calls.score, atol=1e-3)


def test_columns_say_what_the_events_say(calls: Calls) -> None:
    setups = [item for item in events() if item.event.kind is EventKind.SETUP]
    assert len(calls.ts) == len(setups) == CALLS
    assert calls.ts.tolist() == [item.event.ts for item in setups]
    assert calls.fraud.tolist() == [item.truth.fraud for item in setups]
    assert [calls.behaviours[code] for code in calls.behaviour] == [item.truth.scenario for item in setups]
    campaigns = {item.truth.campaign for item in setups if item.truth.fraud}
    assert len(set(calls.campaign[calls.fraud].tolist())) == len(campaigns)
    assert (calls.campaign[~calls.fraud] == -1).all()
    talked = {item.event.call_id: item.event.talk_s or 0.0 for item in events() if item.event.kind is EventKind.RELEASE}
    expected = [talked.get(item.event.call_id, 0.0) if item.truth.fraud else 0.0 for item in setups]
    assert np.allclose(calls.talk_s, expected, rtol=1e-6)
    # No cluster holds honest and fraudulent calls together.
    assert not set(calls.cluster[calls.fraud].tolist()) & set(calls.cluster[~calls.fraud].tolist())


def test_each_source_begins_anew_and_repeated_set_ups_count_once(calls: Calls) -> None:
    run = contest()
    run.add(events()[:900], "a")
    run.add(events()[:900], "b")
    found = run.calls()
    first = found.source == 0
    assert np.array_equal(found.score[first], found.score[~first])
    assert len(set(found.cluster.tolist())) == 2 * len(set(found.cluster[first].tolist()))
    twice = contest()
    setup = next(item for item in events() if item.event.kind is EventKind.SETUP)
    twice.add([setup, setup], "twice")
    assert (len(twice.calls().ts), twice.repeated) == (1, 1)


def test_nothing_and_time_going_back_are_refused() -> None:
    with pytest.raises(UsageError, match="there is no call in it"):
        contest().add([], "empty")
    with pytest.raises(UsageError, match="goes back in time"):
        contest().add([events()[5], events()[0]], "backwards")
