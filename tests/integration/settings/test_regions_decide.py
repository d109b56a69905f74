"""The shipped configuration with the real rules: the same call in regions with different ceilings."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.decision import Decider, load_bundle
from antifraud.domain import CallEvent, Ceiling, Decision, EventKind, Verdict
from antifraud.numbering import Numbering, load_dial_plan
from antifraud.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(ROOT / "config", env={}, overrides={"model": None})


@pytest.fixture(scope="module")
def decisions(settings: Settings) -> dict[str, Decision]:
    """One call per switch, alike but for the switch: a home number spoofed on an international trunk."""
    numbering = Numbering(load_dial_plan(settings.dial_plan_path))
    decider = Decider(load_bundle(ROOT / "rules"), settings.policy(), numbering)
    events = [
        CallEvent(
            kind=EventKind.SETUP,
            call_id=f"spoofed-{switch}",
            ts=1_763_812_800.0 + number,
            switch=switch,
            trunk="intl-17",
            caller_raw=f"+7717255{number:04d}",
            callee_raw=f"+770000000{number:02d}",
            roaming=False,
        )
        for number, switch in enumerate(sorted(settings.switches))
    ]
    return {decision.region: decision for decision in decider.decide(events)}


def test_every_region_gives_its_own_verdict_and_all_the_same_full_one(
    settings: Settings, decisions: dict[str, Decision]
) -> None:
    assert set(decisions) == set(settings.regions)
    (full,) = {decision.full_verdict for decision in decisions.values()}
    assert Verdict.parse(full) >= Verdict.DIVERT
    for code, decision in decisions.items():
        ceiling = Ceiling.parse(settings.regions[code].policy.ceiling)
        assert decision.ceiling == ceiling.word
        assert decision.verdict == min(Verdict.parse(full), ceiling.verdict).word


def test_a_diverted_call_goes_to_the_desk_of_its_region(decisions: dict[str, Decision]) -> None:
    diverted = {code: decision.target for code, decision in decisions.items() if decision.verdict == "divert"}
    assert "KZ-71" in diverted
    for code, target in diverted.items():
        assert target == f"sip:desk@{code.lower()}.desk.example"


def test_reasons_are_in_the_language_of_the_region(decisions: dict[str, Decision]) -> None:
    assert decisions["KZ-71"].reason != decisions["KZ-19"].reason
    assert set("әіңғүұқөһ") & set(decisions["KZ-19"].reason.lower()), "KZ-19 speaks Kazakh"
