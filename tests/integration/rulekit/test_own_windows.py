"""Windows that a rule declares for itself: lint, tests, replay, diff, lock, the bundle, the fold and the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antifraud.decision import ROW, load_bundle
from antifraud.domain import BundleError
from antifraud.features.plan import make_plan
from antifraud.rulekit import RuleSet, read_own_windows

from .test_commands import ROOT, antifraud

RULE = """\
rule: short_calls_now
title: many very short calls within seven minutes
owner: tests
why: a robot hangs up at once
false_positives: none that are known
params:
  calls: 3
windows:
  - caller_callees_10m
  - name: short_7m
    kind: count
    by: caller
    over: 7m
    on: release
    where: talk_s < 5
  - name: calls_7m
    kind: count
    by: caller
    over: 7m
  - name: short_share_7m
    kind: ratio
    of: short_7m
    to: calls_7m
when: |
  short_7m >= params.calls
  and short_share_7m > 0.5
unless:
  - {name: lab, when: trunk == "lab" and caller_callees_10m < 2, owner: tests, until: 2035-01-01}
then:
  verdict: label
  label: Robot
  reason: "{caller}: {short_7m} calls, {short_share_7m:percent} of them short"
rollout:
  stage: shadow
tests:
  - name: a robot
    given: {caller: "+77000000001", short_7m: 9, short_share_7m: 0.9}
    expect: hit
  - name: few
    like: a robot
    given: {short_7m: 2}
    expect: no_hit
  - name: long ones too
    like: a robot
    given: {short_share_7m: 0.2}
    expect: no_hit
  - name: calls that end at once
    each: {caller: "+77000000001", talk_s: 1}
    events:
      - {at: 0s, callee: "+7727200000#", repeat: 4, every: 20s}
      - {at: 3m, callee: "+77272000009"}
    expect: hit
  - name: the same, eight minutes later
    each: {caller: "+77000000001", talk_s: 1}
    events:
      - {at: 0s, callee: "+7727200000#", repeat: 4, every: 20s}
      - {at: 10m, callee: "+77272000009"}
    expect: no_hit
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A rules directory with one rule, as the engine reads it."""
    pack = tmp_path / "rules/packs/demo"
    pack.mkdir(parents=True)
    (tmp_path / "rules/lists").mkdir()
    for name in ("fields.yaml", "windows.yaml", "calendar.yaml"):
        (tmp_path / "rules" / name).write_bytes((ROOT / "rules" / name).read_bytes())
    (pack / "short_calls_now.yaml").write_text(RULE, encoding="utf-8")
    return tmp_path / "rules"


def change(folder: Path, before: str, after: str) -> None:
    path = folder / "packs/demo/short_calls_now.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def run(*arguments: str) -> dict[str, Any]:
    done = antifraud(*arguments, "--json")
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_lint_and_tests_know_them(folder: Path) -> None:
    assert run("lint", str(folder))["problems"] == []
    report = run("test", str(folder), "--strict")
    assert (report["failed"], report["unproven"], report["replayed"]) == ([], [], 2)
    assert antifraud("fmt", str(folder)).returncode == 0
    formatted = (folder / "packs/demo/short_calls_now.yaml").read_text(encoding="utf-8")
    assert RULE[RULE.index("windows:") : RULE.index("unless:")] in formatted
    assert "| `short_calls_now.short_7m` | count | caller | 7m |" in antifraud("reference", str(folder)).stdout


def test_the_rule_calls_them_by_their_own_names(folder: Path) -> None:
    call = '{"caller": "+77000000001", "short_7m": 4, "short_share_7m": 0.75}'
    done = antifraud("explain", "short_calls_now", "--rules", str(folder), "--call", call)
    assert done.stdout.splitlines()[1:3] == [
        "  holds    short_7m >= params.calls   short_7m = 4, params.calls = 3",
        "  holds    short_share_7m > 0.5       short_share_7m = 0.75",
    ]
    assert done.stdout.endswith("reason: +77000000001: 4 calls, 75 % of them short\n")


def test_what_is_wrong_with_them_is_said_in_the_file_of_the_rule(folder: Path) -> None:
    change(folder, "over: 7m\n    on: release", "over: 7 m\n    on: release")
    change(folder, "over: 7m\n  - name: short_share_7m", "over: 40d\n  - name: short_share_7m")
    change(folder, "verdict: label", "verdict: labell")
    problems = run("lint", str(folder))["problems"]
    assert [(item["file"].rpartition("/")[2], item["line"], item["message"]) for item in problems] == [
        ("short_calls_now.yaml", 13, "over '7 m' is no length of time"),
        ("short_calls_now.yaml", 19, "over '40d' is out of range"),
        ("short_calls_now.yaml", 30, "verdict cannot be labell"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("name: short_7m", "name: hour", "is a field or fact of a call"),
        ("name: short_7m", "name: caller_age", "is a window of windows.yaml"),
        ("name: short_7m", "name: calls_7m", "stands twice"),
        ("name: short_7m", "name: missing", "is a function of the language"),
        ("where: talk_s < 5", "where: talk_s < params.calls", "params cannot be used"),
        ("on: release\n", "on: setup\n", "talk_s is not known at setup"),
        ("kind: count", "kіnd: count", "not Latin, though it looks so"),
        ("by: caller", "by: [caller, caller]", "names a field twice"),
        ("    by: caller\n", "    by: caller\n    every: 3m\n", "unknown key 'every'"),
    ],
)
def test_declarations_that_cannot_be_meant(folder: Path, before: str, after: str, said: str) -> None:
    change(folder, before, after)
    done = antifraud("lint", str(folder))
    assert done.returncode == 1
    assert said in done.stdout
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert said in caught.value.render()


def test_a_ratio_is_never_made_of_the_windows_of_another_rule(folder: Path) -> None:
    other = RULE.replace("rule: short_calls_now", "rule: another").replace("of: short_7m", "of: calls_7m")
    other = other.replace("to: calls_7m", "to: short_calls_now.calls_7m")
    (folder / "packs/demo/another.yaml").write_text(other, encoding="utf-8")
    assert "window 'short_calls_now.calls_7m' is unknown" in antifraud("lint", str(folder)).stdout


def test_the_bundle_has_them_behind_those_that_everybody_has(folder: Path) -> None:
    bundle = load_bundle(folder)
    own = ("short_calls_now.short_7m", "short_calls_now.calls_7m", "short_calls_now.short_share_7m")
    assert bundle.windows.names[-3:] == own
    assert isinstance(bundle.rules, RuleSet)
    assert tuple(bundle.rules.names.order) == (*ROW, *bundle.windows.names, "score", "talk_so_far_s")
    assert bundle.windows.specs[-1].of == "short_calls_now.short_7m"
    assert set(own) <= bundle.windows.digests.keys()


def test_identical_content_is_kept_once_whoever_declares_it(folder: Path) -> None:
    alone = load_bundle(folder).windows
    other = RULE.replace("rule: short_calls_now", "rule: another").replace("short_7m", "brief_7m")
    (folder / "packs/demo/another.yaml").write_text(other, encoding="utf-8")
    both = load_bundle(folder).windows
    assert both.digests["another.brief_7m"] == both.digests["short_calls_now.short_7m"]
    assert len(both.names) == len(alone.names) + 3
    assert make_plan(both).panes.tolist() == make_plan(alone).panes.tolist()


def test_a_draft_costs_nothing_until_it_is_promoted(folder: Path) -> None:
    change(folder, "stage: shadow", "stage: draft")
    assert [item.live for item in read_own_windows(folder)] == [False]
    plain, tried = load_bundle(folder), load_bundle(folder, drafts=True)
    assert "short_calls_now.short_7m" not in plain.windows.names
    assert "short_calls_now.short_7m" in tried.windows.names
    assert isinstance(plain.rules, RuleSet)
    assert plain.rules.evaluate([None] * (len(ROW) + len(plain.windows.names) + 1), plain.rules.params({})) == []
    assert run("test", str(folder), "--strict")["failed"] == []


def test_promoting_says_when_the_engine_has_to_be_restarted(folder: Path) -> None:
    change(folder, "stage: shadow", "stage: draft\n  review_by: 2035-01-01\n  false_hits_per_million: 20")
    assert antifraud("lock", str(folder), "--by", "Ann", "--why", "begin").returncode == 0
    said = {}
    for stage, more in (("shadow", ()), ("canary", ("--percent", "5")), ("retired", ())):
        to = (
            "promote",
            "short_calls_now",
            "--rules",
            str(folder),
            "--to",
            stage,
            "--by",
            "Ann",
            "--why",
            "a try",
            *more,
        )
        done = antifraud(*to)
        assert done.returncode == 0, done.stdout
        said[stage] = "restart the engine" in done.stdout
    assert said == {"shadow": True, "canary": False, "retired": True}


def test_diff_and_lock_see_that_one_has_changed(folder: Path, tmp_path: Path) -> None:
    sound = folder / "packs/demo/short_calls_now.yaml"
    change(folder, "stage: shadow", "stage: enforce\n  false_hits_per_million: 20\n  review_by: 2035-01-01")
    change(folder, "verdict: label\n  label: Robot", "verdict: divert")
    before = tmp_path / "before"
    (before / "packs/demo").mkdir(parents=True)
    (before / "packs/demo/short_calls_now.yaml").write_bytes(sound.read_bytes())
    done = antifraud("lock", str(folder), "--by", "Ann", "--why", "begin", "--approved-by", "Bob")
    assert done.returncode == 0, done.stdout
    assert run("lint", str(folder))["problems"] == []
    change(folder, "where: talk_s < 5", "where: talk_s < 50")
    assert [item["code"] for item in run("lint", str(folder))["problems"]] == ["lock-changed"]
    found = run("diff", str(before), str(folder))
    assert {item["window"]: item["level"] for item in found["windows"]} == {
        "short_calls_now.short_7m": "major",
        "short_calls_now.short_share_7m": "major",
    }
