"""Thresholds by class of callers, regions within the certificate, a model's canary, and the challenger beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.cli.assembly import build_numbering
from antifraud.decision import MODEL_FACTS, Bundle, Decider, Policy, RegionPolicy, load_bundle
from antifraud.decision.policy import score_levels
from antifraud.domain import CallEvent, Ceiling, Decision, EventKind, Stage, Verdict
from antifraud.scoring import ClassThresholds
from antifraud.scoring.classes import Classifier
from antifraud.settings import load_settings
from antifraud.simulator import simulate

SETTINGS = load_settings(env={})
NUMBERING = build_numbering(SETTINGS, warm=False)
FEATURES = ("caller_age", "caller_calls_1h", "caller_foreign", "trunk_international", "caller_mobile", "spoofed_cli")
NEVER = ClassThresholds(None, None, None)


class Scripted:
    """A model whose score is a hundredth of the calls in the last hour, or one number; thresholds by class as given."""

    of_numbers = False

    def __init__(
        self, bundle: Bundle, thresholds: Mapping[str, ClassThresholds], score: float | None = None,
        stage: Stage = Stage.ENFORCE, percent: float = 100.0, name: str = "scripted/1@0",
    ) -> None:  # fmt: skip
        self.id, self.features, self.stage, self.percent = name, FEATURES, stage, percent
        self.windows = {one: bundle.windows.digests[one] for one in FEATURES if one not in MODEL_FACTS}
        self._classifier = Classifier(FEATURES)
        self.class_names = self._classifier.names
        self.class_thresholds = tuple(thresholds.get(one, NEVER) for one in self.class_names)
        self._score = score

    def predict(self, rows: Any) -> Any:
        if self._score is not None:
            return np.full(len(rows), self._score)
        return np.nan_to_num(rows[:, FEATURES.index("caller_calls_1h")]) / 100.0

    def classes(self, rows: Any) -> Any:
        return self._classifier.of(rows)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(SETTINGS.rules_dir)


def policy(**changes: Any) -> Policy:
    region = RegionPolicy(code="KZ-75", ceiling=Ceiling.BLOCK, desk="sip:desk@desk.example", **changes)
    return Policy(
        shard="kz", country="KZ", default_region="KZ-75", regions={"KZ-75": region}, switches={"sw": "KZ-75"},
        trunks=(("intl-*", "international"), ("sub-*", "subscriber")),
    )  # fmt: skip


def setup(call_id: str = "c1", **changes: Any) -> CallEvent:
    fields = {"ts": 1.8e9, "switch": "sw", "trunk": "sub-1", "caller_raw": "+77010000001", "callee_raw": "+77020000002"}
    return CallEvent(kind=EventKind.SETUP, call_id=call_id, **{**fields, **changes})  # type: ignore[arg-type]


def made(bundle: Bundle, model: Any, challenger: Any = None, **changes: Any) -> Decider:
    return Decider(bundle, policy(**changes), NUMBERING, model, challenger=challenger)


def one(decider: Decider, event: CallEvent) -> Decision:
    (decision,) = decider.decide([event])
    return decision


LEVELS = {
    "unseen": ClassThresholds(0.2, 0.6, 0.9),
    "light": ClassThresholds(0.2, 0.4, 0.5),
    "foreign": ClassThresholds(0.2, 0.4, None),
    "roaming_unknown": ClassThresholds(0.2, 0.4, 0.5),
}


def test_a_verdict_needs_the_threshold_of_the_callers_class(bundle: Bundle) -> None:
    decider = made(bundle, Scripted(bundle, LEVELS, score=0.7))
    first, second = decider.decide([setup("c1"), setup("c2", ts=1.8e9 + 600)])
    assert [(one.caller_class, one.full_verdict) for one in (first, second)] == [
        ("unseen", "divert"),
        ("light", "block"),
    ]
    abroad = setup("c3", trunk="intl-1", caller_raw="+13125550100")
    found = one(decider, abroad)
    assert (found.caller_class, found.full_verdict) == ("foreign", "divert")


def test_who_may_roam_is_labelled_at_the_most_whatever_the_thresholds(bundle: Bundle) -> None:
    decider = made(bundle, Scripted(bundle, LEVELS, score=1.0))
    found = one(decider, setup(trunk="intl-1"))
    assert found.caller_class == "roaming_unknown"
    assert all(reason.verdict == "label" for reason in found.reasons if reason.by == "score")


def test_a_class_without_certified_thresholds_is_never_hit(bundle: Bundle) -> None:
    decider = made(bundle, Scripted(bundle, {}, score=1.0))
    found = one(decider, setup())
    assert (found.full_verdict, found.reasons, found.score) == ("allow", (), 1.0)
    # Nor by a region that names a threshold, unless it says that it goes beyond what is certain.
    assert one(made(bundle, Scripted(bundle, {}, score=1.0), block_at=0.5), setup()).full_verdict == "allow"
    beyond = made(bundle, Scripted(bundle, {}, score=1.0), block_at=0.5, within_certificate=False)
    assert one(beyond, setup()).full_verdict == "block"


def test_the_same_decisions_whatever_the_batch(bundle: Bundle) -> None:
    events = [item.event for item in simulate("demo", 7, calls=1500, start_ts=1.8e9, rate=60.0)]

    def decided(size: int) -> list[Decision]:
        decider = made(bundle, Scripted(bundle, LEVELS), Scripted(bundle, LEVELS, score=0.55, name="rival/1@0"))
        return [one for at in range(0, len(events), size) for one in decider.decide(events[at : at + size])]

    whole = decided(len(events))
    assert {one.caller_class for one in whole} >= {"unseen", "light", "foreign"}
    assert {one.challenger for one in whole} == {"rival/1@0"}
    assert decided(1) == whole
    assert decided(37) == whole


SCORE = st.one_of(st.none(), st.floats(0.0, 1.0))


@given(own=st.tuples(SCORE, SCORE, SCORE, SCORE), certified=st.tuples(SCORE, SCORE, SCORE), score=st.floats(0.0, 1.0))
def test_no_region_within_the_certificate_is_milder_than_it(
    own: tuple[float | None, ...], certified: tuple[float | None, ...], score: float
) -> None:
    theirs = ClassThresholds(*certified)
    region = RegionPolicy("KZ-75", Ceiling.BLOCK, *own)
    asked = {verdict for at, verdict in score_levels(region, theirs) if score >= at}
    for verdict, at in ((Verdict.BLOCK, theirs.block), (Verdict.DIVERT, theirs.divert), (Verdict.LABEL, theirs.label)):
        if at is None or score < at:
            assert verdict not in asked
    if theirs.label is None or score < theirs.label:
        assert Verdict.CHALLENGE not in asked
    if own[1] is None:
        assert Verdict.CHALLENGE not in {verdict for _at, verdict in score_levels(region, theirs)}


def test_a_stricter_region_stays_stricter_for_every_class(bundle: Bundle) -> None:
    decider = made(bundle, Scripted(bundle, LEVELS, score=0.7), block_at=0.8)
    decisions = decider.decide([setup("c1"), setup("c2", ts=1.8e9 + 600)])
    assert [one.full_verdict for one in decisions] == ["divert", "divert"]


def test_a_models_canary_is_the_same_callers_every_time_and_as_many_as_said(bundle: Bundle) -> None:
    levels = {"unseen": ClassThresholds(0.1, 0.1, 0.1)}

    def blocked(percent: float) -> set[str]:
        model = Scripted(bundle, levels, score=0.5, stage=Stage.CANARY, percent=percent)
        calls = [setup(f"c{n}", caller_raw=f"+7701000{n:04}", ts=1.8e9 + n) for n in range(1000)]
        decisions = made(bundle, model).decide(calls)
        assert {one.full_verdict for one in decisions} == {"block"}
        stages = {reason.stage for one in decisions for reason in one.reasons if reason.by == "score"}
        assert stages <= {"canary", "enforce"}
        return {one.caller for one in decisions if one.verdict == "block"}

    tenth, half = blocked(10.0), blocked(50.0)
    assert tenth == blocked(10.0)
    assert tenth < half
    assert 60 <= len(tenth) <= 150
    assert 400 <= len(half) <= 600
    assert blocked(0.0) == set()


def test_only_the_model_in_force_acts_and_both_scores_are_written_down(bundle: Bundle) -> None:
    quiet = Scripted(bundle, LEVELS, score=0.0)
    rival = Scripted(bundle, LEVELS, score=0.95, name="rival/2@0")
    found = one(made(bundle, quiet, rival), setup())
    assert (found.verdict, found.full_verdict, found.reasons, found.features) == ("allow", "allow", (), ())
    assert (found.model, found.score) == ("scripted/1@0", 0.0)
    assert (found.challenger, found.challenger_score, found.challenger_verdict) == ("rival/2@0", 0.95, "block")
    alone = one(made(bundle, None, rival), setup())
    assert (alone.verdict, alone.score, alone.challenger_verdict) == ("allow", None, "block")


def test_decisions_are_those_of_the_model_alone_but_for_what_the_challenger_says(bundle: Bundle) -> None:
    events = [item.event for item in simulate("demo", 3, calls=1200, start_ts=1.8e9, rate=60.0)]
    alone = made(bundle, Scripted(bundle, LEVELS)).decide(events)
    both = made(bundle, Scripted(bundle, LEVELS), Scripted(bundle, LEVELS, score=1.0, name="rival/1@0")).decide(events)
    assert any(one.challenger_verdict != one.full_verdict for one in both)
    plain = [msgspec.structs.replace(one, challenger="", challenger_score=None, challenger_verdict="") for one in both]
    assert plain == alone


def test_the_challengers_verdict_has_the_rules_and_spares_whom_they_protect(bundle: Bundle) -> None:
    nothing = Scripted(bundle, {}, score=0.0, name="rival/1@0")
    spoofed = one(made(bundle, None, nothing), setup(trunk="intl-1", roaming=False))
    assert (spoofed.full_verdict, spoofed.challenger_verdict) == ("block", "block")
    certain = Scripted(bundle, LEVELS, score=1.0, name="rival/1@0")
    emergency = one(made(bundle, None, certain), setup(callee_raw="112"))
    assert (emergency.protected, emergency.challenger_verdict) == (True, "allow")
    listed = one(made(bundle, None, certain), setup(callee_raw="1414"))
    assert (listed.protected, listed.challenger_verdict) == (True, "allow")


def test_a_challenger_that_does_not_fit_is_left_out_and_says_why(bundle: Bundle) -> None:
    rival = Scripted(bundle, LEVELS, score=1.0, name="rival/1@0")
    rival.windows = {**rival.windows, "caller_age": "0" * 16}
    decider = made(bundle, Scripted(bundle, LEVELS, score=0.0), rival)
    assert decider.challenger is None
    assert decider.challenger_refused is not None
    assert "windows changed since it was trained: caller_age" in decider.challenger_refused.render()
    found = one(decider, setup())
    assert (found.model, found.challenger, found.challenger_verdict) == ("scripted/1@0", "", "")
