"""The regulators' presets as an operator uses them: the page's own files, real numbering and facts; no effect at home.

In a copy of the rules the presets stand in shadow, so a decision's ``full_verdict`` is what they would do.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections import Counter
from functools import cache
from pathlib import Path

import msgspec
import phonenumbers
import pytest

from antifraud.decision import Decider, load_bundle
from antifraud.domain import CallEvent, Decision, EventKind, Stage, Verdict
from antifraud.numbering import Numbering, load_dial_plan
from antifraud.rulekit import Rule, RuleSet, load_fields, load_rules, read_window_names
from antifraud.rulekit.texts import LANGUAGES
from antifraud.settings import load_settings
from antifraud.simulator import simulate

from .test_commands import ROOT, antifraud

PAGE = (ROOT / "docs/how-to/use-a-regulator-preset.md").read_text(encoding="utf-8")
HOME = {"ofcom": "GB", "fcc": "US", "india": "IN", "singapore": "SG"}
REGION = {"GB": "GB-LND", "US": "US-NY", "IN": "IN-DL", "SG": "SG-01"}
AT = 1_767_268_800.0
KZ_CALLS = 5_000


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@cache
def shipped() -> RuleSet:
    folder = ROOT / "rules"
    fields, windows = load_fields(folder / "fields.yaml"), read_window_names(folder / "windows.yaml")
    return load_rules(folder, fields=fields, windows=windows, order=(*fields, *windows, "score"))


def presets() -> list[Rule]:
    return [rule for rule in shipped().rules if rule.pack.startswith("preset-")]


def sample(country: str, kind: int) -> str:
    """A number of that kind which libphonenumber names as an example; the tables hold it for valid."""
    number = phonenumbers.example_number_for_type(country, kind)
    assert number is not None
    return f"+{number.country_code}{phonenumbers.national_significant_number(number)}"


def mobile(country: str) -> str:
    return sample(country, phonenumbers.PhoneNumberType.MOBILE)


def only_presets(folder: Path) -> Path:
    """A copy of the rules without any other pack, the presets in shadow."""
    shutil.copytree(ROOT / "rules", folder)
    (folder / "rules.lock").unlink()
    for pack in (folder / "packs").iterdir():
        if not pack.name.startswith("preset-"):
            shutil.rmtree(pack)
    for path in (folder / "packs").rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("  stage: draft\n", "  stage: shadow\n"), encoding="utf-8")
    return folder


def configuration(folder: Path, home: str) -> Path:
    """The page's configuration, for another country as well: its code and region changed."""
    document, region = blocks("yaml")
    shutil.copytree(ROOT / "config/dialplans", folder / "dialplans")
    (folder / "regions").mkdir()
    for text, path in ((document, "default.yaml"), (region, f"regions/{REGION[home]}.yaml")):
        for old, new in (("GB-LND", REGION[home]), ("GB\n", f"{home}\n"), (": gb\n", f": {home.lower()}\n")):
            text = text.replace(old, new)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def deciders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Decider]:
    """A decider of each preset's country."""
    rules = only_presets(tmp_path_factory.mktemp("presets") / "rules")
    found = {}
    for home in HOME.values():
        folder = configuration(tmp_path_factory.mktemp("config"), home)
        settings = load_settings(folder, env={}, overrides={"rules": str(rules)})
        numbering = Numbering(load_dial_plan(settings.dial_plan_path))
        found[home] = Decider(load_bundle(settings.rules_dir, settings.utc_offset_min), settings.policy(), numbering)
    return found


def decide(decider: Decider, **call: object) -> Decision:
    fields = {"trunk": "intl-1", "switch": "sw-lnd-1", "callee_raw": mobile(decider.policy.country), **call}
    event = CallEvent(kind=EventKind.SETUP, call_id=repr(sorted(fields.items())), ts=AT, **fields)  # type: ignore[arg-type]
    (decision,) = decider.decide([event])
    return decision


def hit(decision: Decision) -> set[str]:
    return {reason.by.removeprefix("rule:") for reason in decision.reasons}


# What ships


def test_every_preset_ships_as_drafts_of_its_own_country() -> None:
    assert {rule.pack for rule in presets()} == {f"preset-{name}" for name in HOME}
    for rule in presets():
        assert rule.stage is Stage.DRAFT
        assert rule.id.startswith(rule.pack.removeprefix("preset-") + "_")
        home = HOME[rule.pack.removeprefix("preset-")]
        assert {test.given.get("home_country") for test in rule.tests if test.expect_hit} == {home}


def test_what_a_preset_says_of_a_regulator_has_a_source_with_a_date_in_every_language() -> None:
    for rule in presets():
        assert tuple(language for language, _text in rule.why.versions) == LANGUAGES
        for _language, text in rule.why.versions:
            assert re.search(r"\b20[12][0-9]\b|47 CFR [0-9.]+", text), rule.id


@pytest.mark.parametrize("rule", presets(), ids=lambda rule: rule.id)
def test_nothing_that_a_preset_hits_is_hit_in_another_country(rule: Rule) -> None:
    rules = shipped()
    compiled = rules.compile_single(rule)
    for test in rule.tests:
        values = list({**rule.params, **test.params}.values())
        row = rules.row({**test.given, "home_country": "KZ"})
        assert not compiled(row, values)


# The page


def test_the_page_is_right(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    copying, promoting = blocks("console")
    for line in copying.replace("$ ", "").splitlines():
        command, *arguments = shlex.split(line)
        paths = [tmp_path / argument for argument in arguments if not argument.startswith("-")]
        if command == "cp":
            shutil.copytree(paths[0], paths[1])
        else:
            assert command == "rm"
            for path in paths:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    configuration(tmp_path / "gb-config", "GB")
    settings = load_settings(tmp_path / "gb-config", env={})
    assert settings.notes == ()
    assert settings.rules_dir.resolve() == (tmp_path / "gb-rules").resolve()
    for line in promoting.replace("$ antifraud rules ", "").splitlines():
        done = antifraud(*shlex.split(line), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert antifraud("lint", "gb-rules", cwd=tmp_path).returncode == 0
    assert antifraud("test", "gb-rules", "--strict", cwd=tmp_path).returncode == 0
    bundle = load_bundle(settings.rules_dir, settings.utc_offset_min)
    decider = Decider(bundle, settings.policy(), Numbering(load_dial_plan(settings.dial_plan_path)))
    decision = decide(decider, caller_raw="+442079460999", trunk="nat-1")
    assert hit(decision) == {"ofcom_do_not_originate"}
    assert (decision.full_verdict, decision.verdict, decision.ceiling) == ("block", "allow", "label")


def test_the_page_names_every_pack_and_every_list_of_the_presets() -> None:
    for name in (*HOME, *(item.name for item in shipped().lists)):
        assert name in PAGE or not name.startswith(tuple(HOME)), name


# Through numbering and facts


@pytest.mark.parametrize(
    ("home", "call", "rules", "verdict"),
    [
        ("GB", {"caller_raw": "+442079460012"}, {"ofcom_uk_number_from_abroad"}, "block"),
        ("GB", {"caller_raw": "02079460012"}, {"ofcom_uk_number_from_abroad"}, "block"),
        ("GB", {"caller_raw": "+442079460012", "trunk": "nat-1"}, set(), "allow"),
        ("GB", {"caller_raw": "+442079460012", "diversion": "+442079460001"}, set(), "allow"),
        ("GB", {"caller_raw": "+442079460905"}, set(), "allow"),
        (
            "GB",
            {"caller_raw": "+442079460012", "asserted": "+33199000001"},
            {"ofcom_uk_presentation_number_from_abroad"},
            "block",
        ),
        ("GB", {"caller_raw": "+449098790001", "trunk": "nat-1"}, {"ofcom_premium_rate_cli"}, "block"),
        ("GB", {"caller_raw": "+4420794", "trunk": "nat-1"}, {"ofcom_wrong_length"}, "block"),
        (
            "GB",
            {"caller_raw": "+447700900123", "trunk": "nat-1"},
            {"ofcom_not_allocated", "ofcom_not_in_tables"},
            "block",
        ),
        ("GB", {"caller_raw": "+441632960001", "trunk": "nat-1"}, {"ofcom_not_in_tables"}, "label"),
        ("GB", {"caller_raw": mobile("GB")}, {"ofcom_mobile_from_abroad_not_verified"}, "label"),
        ("GB", {"caller_raw": mobile("GB"), "roaming": True}, set(), "allow"),
        ("GB", {"caller_raw": mobile("GG")}, set(), "allow"),
        ("GB", {"caller_raw": "+12025550101"}, set(), "allow"),
        ("GB", {"caller_raw": "anonymous"}, set(), "allow"),
        ("US", {"caller_raw": "+12025550199", "trunk": "nat-1"}, {"fcc_do_not_originate"}, "block"),
        ("US", {"caller_raw": "+12025550185", "trunk": "nat-1"}, {"fcc_unused_number"}, "block"),
        ("US", {"caller_raw": "+11234567890", "trunk": "nat-1"}, {"fcc_invalid_number"}, "block"),
        ("US", {"caller_raw": "+19110000001", "trunk": "nat-1"}, set(), "allow"),
        ("US", {"caller_raw": "+12225550100", "trunk": "nat-1"}, {"fcc_not_in_tables"}, "label"),
        ("US", {"caller_raw": "+12025550101"}, {"fcc_american_number_from_abroad_unsigned"}, "label"),
        ("US", {"caller_raw": "+17875550101"}, {"fcc_american_number_from_abroad_unsigned"}, "label"),
        ("US", {"caller_raw": "+12025550101", "identity": "e30.e30.c2ln"}, set(), "allow"),
        ("US", {"caller_raw": "+12025550101", "trunk": "nat-1"}, set(), "allow"),
        ("US", {"caller_raw": "+14165550101"}, set(), "allow"),
        ("IN", {"caller_raw": "anonymous"}, {"india_no_proper_cli_from_abroad", "india_international_call"}, "block"),
        ("IN", {"caller_raw": "+3312"}, {"india_no_proper_cli_from_abroad", "india_international_call"}, "block"),
        (
            "IN",
            {"caller_raw": "+915000000001"},
            {"india_fixed_number_from_abroad", "india_international_call"},
            "block",
        ),
        (
            "IN",
            {"caller_raw": mobile("IN"), "roaming": False},
            {"india_mobile_from_abroad_not_roaming", "india_international_call"},
            "block",
        ),
        ("IN", {"caller_raw": mobile("IN")}, {"india_international_call"}, "label"),
        (
            "IN",
            {"caller_raw": "+911601000001"},
            {"india_commercial_series_from_abroad", "india_international_call"},
            "block",
        ),
        ("IN", {"caller_raw": "+442079460012"}, {"india_international_call"}, "label"),
        ("IN", {"caller_raw": "anonymous", "trunk": "nat-1"}, set(), "allow"),
        (
            "SG",
            {"caller_raw": "+6570000001"},
            {"singapore_fixed_number_from_abroad", "singapore_overseas_call"},
            "block",
        ),
        (
            "SG",
            {"caller_raw": mobile("SG"), "roaming": False},
            {"singapore_mobile_from_abroad_not_roaming", "singapore_overseas_call"},
            "block",
        ),
        ("SG", {"caller_raw": mobile("SG")}, {"singapore_overseas_call"}, "label"),
        ("SG", {"caller_raw": "+65999"}, {"singapore_imitated_number_from_abroad", "singapore_overseas_call"}, "block"),
        (
            "SG",
            {"caller_raw": "+442079460012", "callee_raw": "+6570000009"},
            {"singapore_no_overseas_calls", "singapore_overseas_call"},
            "block",
        ),
        ("SG", {"caller_raw": mobile("SG"), "trunk": "nat-1"}, set(), "allow"),
    ],
)
def test_a_call_in_the_presets_country(
    deciders: dict[str, Decider], home: str, call: dict[str, object], rules: set[str], verdict: str
) -> None:
    decision = decide(deciders[home], **call)
    assert hit(decision) == rules
    assert decision.full_verdict == verdict
    assert decision.verdict == "allow"
    assert decision.region == REGION[home]


@pytest.mark.parametrize(
    ("home", "dialled"),
    [
        *(("GB", code) for code in ("999", "112", "+44999", "999#", "9,999", "urn:service:sos.police")),
        *(("US", code) for code in ("911", "1911", "+1911", "988", "9911", "urn:service:sos")),
        *(("IN", code) for code in ("112", "100", "101", "102", "108", "+91112", "urn:service:sos.fire")),
        *(("SG", code) for code in ("999", "995", "112", "911", "+65995", "urn:service:sos.ambulance")),
    ],
)
def test_an_emergency_call_goes_through_whatever_the_caller_shows(
    deciders: dict[str, Decider], home: str, dialled: str
) -> None:
    forged = {"GB": "+442079460999", "US": "+12025550199", "IN": "anonymous", "SG": "+6570000001"}[home]
    assert decide(deciders[home], caller_raw=forged).full_verdict == "block"
    decision = decide(deciders[home], caller_raw=forged, callee_raw=dialled)
    assert (decision.full_verdict, decision.protected) == ("allow", True)


@pytest.mark.parametrize("home", HOME.values())
def test_no_subscribers_number_is_taken_for_an_emergency(home: str) -> None:
    numbering = Numbering(load_dial_plan(ROOT / f"config/dialplans/{home.lower()}.yaml"))
    for kind in range(11):
        number = phonenumbers.example_number_for_type(home, kind)
        if number is None:
            continue
        national = phonenumbers.national_significant_number(number)
        abroad = f"{number.country_code}{national}"
        for text in (f"+{abroad}", abroad, f"00{abroad}", national, f"0{national}"):
            assert not numbering.facts(text).emergency, text


def test_a_frequent_caller_from_abroad_is_challenged_and_a_sales_floor_is_labelled(
    deciders: dict[str, Decider],
) -> None:
    def calls(home: str, caller: str, trunk: str, count: int) -> Decision:
        events = [
            CallEvent(
                kind=EventKind.SETUP, call_id=f"{caller}-{n}", ts=AT + n, switch="sw-lnd-1", trunk=trunk,
                caller_raw=caller, callee_raw=f"+{'65' if home == 'SG' else '91'}5{n:0{7 if home == 'SG' else 9}}",
            )
            for n in range(count)
        ]  # fmt: skip
        return deciders[home].decide(events)[-1]

    robot = calls("SG", "+442079460077", "intl-1", 62)
    assert "singapore_unusually_frequent_from_abroad" in hit(robot)
    assert Verdict.parse(robot.full_verdict) is Verdict.CHALLENGE
    floor = calls("IN", "+915000000077", "sub-1", 152)
    assert hit(floor) == {"india_bulk_calls_outside_the_series"}
    registered = calls("IN", "+911400000077", "sub-1", 152)
    assert hit(registered) == set()


# At home


def test_the_presets_hit_no_call_of_kazakhstan_whatever_their_stage(tmp_path: Path) -> None:
    """Simulated calls of Kazakhstan, all presets evaluated: none hits. With another home the same calls do hit."""
    settings = load_settings(ROOT / "config", env={}, overrides={"model": None})
    bundle = load_bundle(only_presets(tmp_path / "rules"), settings.utc_offset_min)
    numbering = Numbering(load_dial_plan(settings.dial_plan_path))
    events = [item.event for item in simulate("national", 11, KZ_CALLS)]
    found: dict[str, Counter[str]] = {}
    policy = settings.policy()
    regions = {code: msgspec.structs.replace(region, params={}) for code, region in policy.regions.items()}
    for home in ("KZ", "IN"):
        policy = msgspec.structs.replace(policy, country=home, regions=regions)
        decisions = Decider(bundle, policy, numbering).decide(events)
        assert len(decisions) >= KZ_CALLS
        found[home] = Counter(name for decision in decisions for name in hit(decision) if "_" in name)
    assert {name for name in found["KZ"] if name.startswith(tuple(HOME))} == set()
    assert found["IN"]["india_international_call"] > 20
