"""The stages of a model: none is skipped, somebody says who and why, a second person agrees, and it is written down."""

from __future__ import annotations

import msgspec
import pytest

from antifraud.decision.model_promotion import following, promoted, promotion_problems, told
from antifraud.domain import Stage
from antifraud.scoring import Certificate, Manifest, Thresholds
from antifraud.scoring.calibration import Calibration
from antifraud.scoring.manifest import Artefact, Promotion

CERTIFIED = {level: Certificate(0.9, 1e-4, 100_000, 3, 7.8e-5, 0.95, True) for level in ("label", "divert", "block")}
MANIFEST = Manifest(
    format=3, name="toy", version="1", stage=Stage.SHADOW, digest="", features=("hour",), windows={},
    trees=Artefact("model.txt", ""), golden=Artefact("golden.csv", ""), calibration=Calibration(1.0, 0.0),
    thresholds=Thresholds(0.3, 0.5, 0.7), certificate=CERTIFIED, training={}, metrics={},
)  # fmt: skip


def at(stage: Stage, **changes: object) -> Manifest:
    return msgspec.structs.replace(MANIFEST, stage=stage, **changes)


def to(stage: Stage, percent: float = 0.0, **changes: object) -> Promotion:
    wanted = Promotion(stage, "Aizhan", "a week in shadow", "2026-02-01T10:00:00Z", percent, ("Daulet",))
    return msgspec.structs.replace(wanted, **changes)


def said(manifest: Manifest, wanted: Promotion, **known: bool) -> list[str]:
    return [problem.message for problem in promotion_problems(manifest, wanted, **known)]


UP = [
    (Stage.RETIRED, Stage.DRAFT),
    (Stage.DRAFT, Stage.SHADOW),
    (Stage.SHADOW, Stage.CANARY),
    (Stage.CANARY, Stage.ENFORCE),
]


@pytest.mark.parametrize("now", list(Stage))
@pytest.mark.parametrize("stage", list(Stage))
def test_one_step_up_or_any_number_down(now: Stage, stage: Stage) -> None:
    problems = said(at(now), to(stage, 5.0))
    down = [step for _low, step in UP].index(stage) if stage is not Stage.RETIRED else -1
    up = [step for _low, step in UP].index(now) if now is not Stage.RETIRED else -1
    if (now, stage) in UP or down < up or now is stage is Stage.CANARY:
        assert problems == []
    elif now is stage:
        assert problems == [f"toy 1 is at {now.value} already"]
    else:
        assert problems[0] == f"toy 1 is at {now.value}: it cannot go to {stage.value} at once"
    assert following(now) is dict(UP).get(now, now)


def test_a_canary_may_grow_and_has_to_have_a_share() -> None:
    canary = at(Stage.CANARY, percent=5.0)
    assert said(canary, to(Stage.CANARY, 20.0)) == []
    assert said(canary, to(Stage.CANARY, 5.0)) == ["toy 1 is at canary already"]
    assert said(at(Stage.SHADOW), to(Stage.CANARY, 0.0)) == ["toy 1: a canary of 0 % is none"]


@pytest.mark.parametrize("approvals", [(), ("aizhan",), ("  ",), (" Aizhan ",)])
def test_enforce_needs_somebody_else(approvals: tuple[str, ...]) -> None:
    assert said(at(Stage.CANARY), to(Stage.ENFORCE, approvals=approvals)) == ["toy 1: nobody but Aizhan agrees"]


def test_who_and_why_are_needed_whatever_the_stage() -> None:
    for stage in (Stage.SHADOW, Stage.CANARY, Stage.RETIRED):
        found = said(at(Stage.ENFORCE), to(stage, by=" ", why=""))
        assert found == ["toy 1: nobody says who decides this", "toy 1: nobody says why"]


def test_a_certificate_over_its_budget_stops_what_acts() -> None:
    over = {**CERTIFIED, "block": Certificate(0.9, 1e-4, 20_000, 0, 1.5e-4, 0.95, False)}
    small = at(Stage.SHADOW, certificate=over)
    found = said(small, to(Stage.CANARY, 5.0))
    assert found == ["toy 1: at most 1.5e-04 of honest calls would be hit by block, the budget is 1e-04"]
    assert said(small, to(Stage.CANARY, 5.0), despite_certificate=True) == []
    assert said(small, to(Stage.DRAFT)) == []
    # A certificate that only says of itself that it holds does not.
    vain = at(Stage.SHADOW, certificate={**over, "block": msgspec.structs.replace(over["block"], met=True)})
    assert len(said(vain, to(Stage.CANARY, 5.0))) == 1


def test_a_model_of_numbers_acts_on_no_call() -> None:
    numbers = at(Stage.SHADOW, training={"mode": "numbers"})
    assert said(numbers, to(Stage.CANARY, 5.0)) == ["toy 1 is a model of numbers"]


def test_what_was_decided_is_in_the_history() -> None:
    canary = promoted(at(Stage.SHADOW), to(Stage.CANARY, 5.0, by=" Aizhan "))
    enforced = promoted(canary, to(Stage.ENFORCE, why="nothing in a week", approvals=("Daulet", "aizhan", "Daulet")))
    assert (canary.percent, enforced.percent) == (5.0, 100.0)
    assert enforced.sealed() == MANIFEST.sealed()
    assert told(enforced.history) == [
        "2026-02-01T10:00:00Z  canary 5 %  Aizhan, agreed by Daulet: a week in shadow",
        "2026-02-01T10:00:00Z  enforce  Aizhan, agreed by Daulet: nothing in a week",
    ]
