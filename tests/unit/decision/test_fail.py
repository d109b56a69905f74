"""The fail policy: every rung under every ceiling, who always goes on, and what a switch is handed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antifraud.cli.assembly import build_numbering
from antifraud.decision import Bundle, Decider, load_bundle
from antifraud.decision.desks import Desk
from antifraud.decision.fail import FailAction, FailPolicy, FailReason, fallback
from antifraud.decision.switch_fail import Refusal, number_pattern, protecting, switch_fail
from antifraud.domain import CallEvent, Ceiling, ConfigError, EventKind, Verdict
from antifraud.numbering import load_dial_plan
from antifraud.settings import load_settings

SETTINGS = load_settings(env={})
PLAN = load_dial_plan(SETTINGS.dial_plan_path)
CLASSES = ("international", "national", "subscriber", "")
REFUSE = Refusal(608, "Rejected", 21)
TS = 1_795_435_200.0


def everywhere(action: FailAction) -> FailPolicy:
    return FailPolicy({"any": {reason.value: action for reason in FailReason}})


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(SETTINGS.rules_dir)


def test_without_a_word_every_call_goes_on() -> None:
    policy = SETTINGS.policy()
    for region in policy.regions.values():
        for kind, reason in itertools.product(CLASSES, FailReason):
            fell = fallback(region.fail, Ceiling.BLOCK, kind, reason, protected=False, abroad=True)
            assert (fell.verdict, fell.code) == (Verdict.ALLOW, 0)


@pytest.mark.parametrize(
    ("action", "kind", "abroad", "verdict", "code"),
    [
        (FailAction.ALLOW, "international", True, Verdict.ALLOW, 0),
        (FailAction.LABEL, "national", None, Verdict.LABEL, 0),
        (FailAction.NATIONAL_ONLY, "national", False, Verdict.ALLOW, 0),
        (FailAction.NATIONAL_ONLY, "subscriber", True, Verdict.BLOCK, 503),
        (FailAction.NATIONAL_ONLY, "international", False, Verdict.BLOCK, 503),
        (FailAction.NATIONAL_ONLY, "", None, Verdict.ALLOW, 0),
        (FailAction.EMERGENCY_ONLY, "national", False, Verdict.BLOCK, 503),
        (FailAction.REFUSE, "national", False, Verdict.BLOCK, 0),
    ],
)
def test_rungs(action: FailAction, kind: str, abroad: bool | None, verdict: Verdict, code: int) -> None:
    fell = fallback(everywhere(action), Ceiling.BLOCK, kind, FailReason.LATE, protected=False, abroad=abroad)
    assert (fell.verdict, fell.code) == (verdict, code)


def test_protected_calls_go_on_whatever_is_said() -> None:
    for action, ceiling, kind, reason in itertools.product(FailAction, Ceiling, (*CLASSES, "desk"), FailReason):
        fell = fallback(everywhere(action), ceiling, kind, reason, protected=True, abroad=True)
        assert fell.verdict is Verdict.ALLOW


def test_no_rung_reaches_above_the_ceiling() -> None:
    for action, ceiling, kind in itertools.product(FailAction, Ceiling, CLASSES):
        fell = fallback(everywhere(action), ceiling, kind, FailReason.REDIS, protected=False, abroad=True)
        assert fell.verdict <= ceiling.verdict
        if ceiling is not Ceiling.BLOCK:
            assert fell.verdict <= Verdict.LABEL


def test_what_a_desk_hands_back_goes_on() -> None:
    fell = fallback(everywhere(FailAction.REFUSE), Ceiling.BLOCK, "desk", FailReason.LATE, protected=False)
    assert fell.verdict is Verdict.ALLOW


def test_a_class_of_trunks_goes_before_any() -> None:
    policy = FailPolicy({"any": {"late": FailAction.REFUSE}, "national": {"late": FailAction.ALLOW}})
    assert policy.rung("national", FailReason.LATE) is FailAction.ALLOW
    assert policy.rung("international", FailReason.LATE) is FailAction.REFUSE
    assert policy.rung("national", FailReason.REDIS) is FailAction.ALLOW


def broken_decider(bundle: Bundle, action: str, monkeypatch: pytest.MonkeyPatch) -> Decider:
    """A decider whose rules cannot be evaluated, under a fail policy."""
    settings = load_settings(env={}, overrides={"policy.fail.any.bundle_missing": action, "policy.ceiling": "block"})
    decider = Decider(bundle, settings.policy(), build_numbering(settings, warm=False))

    def broken(*_: object) -> None:
        raise RuntimeError("lost")

    monkeypatch.setattr(decider.bundle.rules, "evaluate", broken)
    return decider


def setup(**changes: Any) -> CallEvent:
    event = CallEvent(
        kind=EventKind.SETUP, call_id="c", ts=TS, switch="sw-kz-75", trunk="sub-1", caller_raw="+77010000001",
        callee_raw="87010000002",
    )  # fmt: skip
    return msgspec.structs.replace(event, **changes)


@pytest.mark.parametrize(
    ("action", "verdict", "code"),
    [("allow", "allow", 0), ("label", "label", 0), ("national_only", "allow", 0), ("emergency_only", "block", 503),
     ("refuse", "block", 0)],
)  # fmt: skip
def test_a_call_that_cannot_be_judged(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, action: str, verdict: str, code: int
) -> None:
    decider = broken_decider(bundle, action, monkeypatch)
    (decision,) = decider.decide([setup()])
    assert (decision.verdict, decision.code, decision.full_verdict) == (verdict, code, "allow")
    assert decision.reasons[0].by == "engine"
    assert decision.reasons[0].verdict == verdict
    abroad = {"national_only": "block"}.get(action, verdict)
    (decision,) = decider.decide([setup(call_id="d", callee_raw="+442079460000")])
    assert decision.verdict == abroad
    # Emergency calls, state numbers, hospitals: whatever is wrong with the rules.
    for callee in ("112", "103", "109", "1414"):
        (decision,) = decider.decide([setup(call_id=callee, callee_raw=callee)])
        assert decision.verdict == "allow", callee


def test_where_nobody_can_say_whether_a_call_is_protected_it_goes_on(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    decider = broken_decider(bundle, "refuse", monkeypatch)

    def unknown(*_: object) -> str:
        raise RuntimeError("lists are gone too")

    monkeypatch.setattr(decider, "protection_of", unknown)
    (decision,) = decider.decide([setup()])
    assert decision.verdict == "allow"


def test_the_kill_switch_is_above_the_fail_policy(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    decider = broken_decider(bundle, "refuse", monkeypatch)
    decider.killed = True
    (decision,) = decider.decide([setup()])
    assert decision.verdict == "allow"


def test_an_unknown_switch_is_left_alone(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    decider = broken_decider(bundle, "refuse", monkeypatch)
    (decision,) = decider.decide([setup(switch="misspelt")])
    assert decision.verdict == "allow"


def test_what_a_switch_is_handed(bundle: Bundle) -> None:
    overrides = {"policy.fail.any.late": "national_only", "policy.fail.international.redis": "refuse"}
    policy = load_settings(env={}, overrides=overrides).policy()
    made = switch_fail(policy, "sw-kz-75", PLAN, REFUSE)
    assert made.refuses
    assert not made.open
    assert made.actions["any"] == {"late": "national_only", "redis": "allow", "overload": "allow"}
    assert made.actions["international"] == {"late": "national_only", "redis": "refuse", "overload": "allow"}
    full = protecting(made, bundle.rules, PLAN)
    assert any(re.search(pattern, "109") for pattern in full.protected_callees)
    assert any(re.search(pattern, "1414") for pattern in full.protected_callers)
    # Under a lower ceiling the same words refuse nobody; where nothing is carried out they do nothing.
    mild = switch_fail(policy, "sw-kz-71", PLAN, REFUSE)
    assert (mild.ceiling, mild.refuses, mild.open) == ("divert", False, False)
    assert {word for found in mild.actions.values() for word in found.values()} == {"allow", "label"}
    shadow = next(name for name, code in policy.switches.items() if policy.region(code).ceiling is Ceiling.SHADOW)
    assert switch_fail(policy, shadow, PLAN, REFUSE).open


@pytest.mark.parametrize(
    ("number", "dialled", "others"),
    [
        ("+77270000001", ["+77270000001", "77270000001", "87270000001", "7270000001", "81077270000001"],
         ["+77270000002", "7270000001 1", "+17270000001"]),
        ("+442079460000", ["+442079460000", "810442079460000", "00442079460000"], ["442079460000", "2079460000"]),
        ("109", ["109"], ["1091", "8109", "+7109"]),
    ],
)  # fmt: skip
def test_numbers_are_known_as_they_are_dialled(number: str, dialled: list[str], others: list[str]) -> None:
    pattern = re.compile(number_pattern(number, PLAN))
    assert [text for text in dialled if not pattern.search(text)] == []
    assert [text for text in others if pattern.search(text)] == []


def test_what_is_dialled_abroad() -> None:
    made = switch_fail(SETTINGS.policy(), "sw-kz-75", PLAN, REFUSE)

    def leaves(number: str) -> bool:
        return bool(re.search(made.abroad, number)) and not re.search(made.home, number)

    assert [number for number in ("+442079460000", "810442079460000", "+79010000001") if not leaves(number)] == []
    home = ("+77010000001", "87010000001", "77010000001", "7010000001", "81077010000001", "109", "")
    assert [number for number in home if leaves(number)] == []


def test_a_list_that_a_switch_cannot_be_told_forbids_hard_rungs(
    write_rules: Callable[[Mapping[str, str]], Path],
) -> None:
    ranges = (
        "list: trusted_ranges\ntitle: {en: trusted, ru: доверенные, kk: сенімді}\nclass: protect\nkind: ranges\n"
        "protects: callee\nowner: fraud-desk\nsource: test\nentries:\n  - {from: '+77010001000', to: '+77010001999'}\n"
    )
    rules = load_bundle(write_rules({"lists/trusted_ranges.yaml": ranges})).rules
    policy = load_settings(env={}, overrides={"policy.fail.any.late": "refuse"}).policy()
    with pytest.raises(ConfigError) as caught:
        protecting(switch_fail(policy, "sw-kz-75", PLAN, REFUSE), rules, PLAN)
    assert caught.value.render() == (
        "the list trusted_ranges protects, and is of kind ranges, which a switch cannot be told\n"
        "    set the fail policy no harder than label for this switch's region (policy.fail)"
    )


@pytest.fixture
def write_rules(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """The shipped rules with files added."""
    import shutil

    def written(files: Mapping[str, str]) -> Path:
        folder = tmp_path / "rules"
        shutil.copytree(SETTINGS.rules_dir, folder)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    return written


@pytest.mark.parametrize(
    ("rungs", "verdict", "code"),
    [
        ({}, "label", 0),
        ({"any": {"desk_full": FailAction.ALLOW}}, "allow", 0),
        ({"international": {"desk_full": FailAction.EMERGENCY_ONLY}}, "block", 503),
        ({"national": {"desk_full": FailAction.REFUSE}}, "label", 0),
    ],
)
def test_a_desk_that_is_full(bundle: Bundle, rungs: dict[str, dict[str, FailAction]], verdict: str, code: int) -> None:
    """Unless the fail policy speaks of the trunk's class, what the region says of its desks holds (label)."""
    policy = SETTINGS.policy()
    region = msgspec.structs.replace(policy.region("KZ-75"), queues=("d",), fail=FailPolicy(rungs))
    policy = msgspec.structs.replace(
        policy,
        regions={**policy.regions, "KZ-75": region},
        desks=(Desk(name="d", target="sip:d@desk.example", calls=1),),
    )
    decider = Decider(bundle, policy, build_numbering(SETTINGS, warm=False))
    # A fixed home number that comes in from abroad goes to the desk, which has one place.
    calls = [setup(call_id=f"c{at}", trunk="intl-1", caller_raw=f"+7727200000{at}") for at in range(2)]
    first, second = decider.decide(calls)
    assert (first.verdict, first.target) == ("divert", "sip:d@desk.example")
    assert (second.verdict, second.code) == (verdict, code)
