"""Tests with events, as a person runs them: ``rules test``, ``lint``, ``promote``, and what is printed."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from antifraud.rulekit.stream import ENDS, REPORTED
from antifraud.rulekit.stream_form import ENTRY_KEYS, KEYS

from .test_commands import ROOT, antifraud

RULE = """\
rule: strangers
title: many strangers call one person
owner: tests
why: a chain
false_positives: an advertisement
params:
  strangers: 3
when: |
  callee_new_callers_2h >= params.strangers
  and trunk_class == "international"
then:
  verdict: label
  label: Look out
  reason: "{callee_new_callers_2h} strangers"
rollout:
  stage: draft
  review_by: 2031-01-01
tests:
  - name: the fourth stranger
    each: {callee: "+77010000001", trunk_class: international}
    events:
      - {at: 0s, repeat: 4, every: 10m, caller: "+2322000000#", ring_s: 6, talk_s: 30}
    expect: hit
  - name: inside the country
    like: the fourth stranger
    each: {trunk_class: national}
    expect: no_hit
  - name: one stranger who calls four times
    like: the fourth stranger
    events:
      - {at: 0s, repeat: 4, every: 10m, caller: "+23220000001", ring_s: 6, talk_s: 30}
    expect: no_hit
"""
BY = ("--by", "Ann", "--why", "tests are complete")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory mine/ with one rule, and no fields or windows of its own."""
    pack = tmp_path / "mine" / "packs" / "demo"
    pack.mkdir(parents=True)
    (pack / "strangers.yaml").write_text(RULE, encoding="utf-8")
    return tmp_path


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "mine/packs/demo/strangers.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_they_run_beside_the_others_and_prove_terms(folder: Path) -> None:
    done = antifraud("test", "mine", "--strict", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 tests of 1 rule: all passed\n", "")
    report = json.loads(antifraud("test", "mine", "--json", cwd=folder).stdout)
    assert report == {
        "directory": "mine",
        "rules": 1,
        "passed": 3,
        "replayed": 3,
        "failed": [],
        "unproven": [],
    }


def test_a_failure_shows_what_the_windows_really_held(folder: Path) -> None:
    change(folder, 'repeat: 4, every: 10m, caller: "+2322000000#"', 'repeat: 3, every: 10m, caller: "+2322000000#"')
    done = antifraud("test", "mine", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "mine/packs/demo/strangers.yaml:19:5: demo/strangers: failed: the fourth stranger",
        "  expected a hit, but the rule did not hit",
        "  judged: +23220000003 → +77010000001 at 20m, after 6 events (line 22)",
        "    fails    callee_new_callers_2h >= params.strangers   callee_new_callers_2h = 2, params.strangers = 3",
        '    holds    trunk_class == "international"              trunk_class = "international"',
        "",
        'demo/strangers: no test shows that this term matters: trunk_class == "international"',
        "    add a test that expects no_hit and in which only that term does not hold",
        "",
        "3 tests of 1 rule: 1 failed",
    ]
    (failure,) = json.loads(antifraud("test", "mine", "--json", cwd=folder).stdout)["failed"]
    assert failure["judged"] == {
        "line": 22,
        "at_s": 1200.0,
        "after_events": 6,
        "caller": "+23220000003",
        "callee": "+77010000001",
    }
    assert failure["explanation"]["terms"][0]["values"] == {"callee_new_callers_2h": 2.0, "params.strangers": 3.0}


def test_a_terminal_is_asked_for_patience_and_left_as_it_was(folder: Path) -> None:
    own, other = pty.openpty()
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    code = "from antifraud.cli import main; main()"
    command = [sys.executable, "-c", code, "rules", "test", "mine"]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=other, timeout=120, check=True
    )
    os.close(other)
    said = os.read(own, 4_096).decode()
    os.close(own)
    assert done.stdout == b"3 tests of 1 rule: all passed\n"
    assert said.startswith("replaying events")
    assert said.endswith("\r\033[K")


def test_they_count_for_a_promotion(folder: Path) -> None:
    assert antifraud("lock", "mine", *BY, cwd=folder).returncode == 0
    change(folder, 'repeat: 4, every: 10m, caller: "+2322000000#"', 'repeat: 2, every: 10m, caller: "+2322000000#"')
    done = antifraud("promote", "strangers", "--rules", "mine", "--to", "shadow", *BY, "--json", cwd=folder)
    assert done.returncode == 1
    codes = {problem["code"] for problem in json.loads(done.stdout)["problems"]}
    assert codes == {"promote-fails", "promote-unproven"}
    change(folder, "repeat: 2, every: 10m", "repeat: 4, every: 10m")
    done = antifraud("promote", "strangers", "--rules", "mine", "--to", "shadow", *BY, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    change(folder, "every: 10m", "every: 11m")
    assert antifraud("lock", "mine", *BY, cwd=folder).stdout == "nothing that rules decide has changed\n"


def test_lint_checks_them_without_folding(folder: Path) -> None:
    code = (
        "import sys\nfrom antifraud.cli.rules import rules\n"
        "try:\n    rules.main(['lint', 'mine'], standalone_mode=False)\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('numpy', 'numba', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "1 rule in 1 pack, 0 lists: nothing wrong\n[]\n"
    change(folder, "every: 10m, caller", "evry: 10m, caller")
    done = antifraud("lint", "mine", cwd=folder)
    assert done.returncode == 1
    assert "did you mean every?" in done.stdout


def test_the_configuration_says_which_trunk_is_which(folder: Path) -> None:
    change(folder, "trunk_class: international}", "trunk: sbc-7}")
    change(folder, "each: {trunk_class: national}", "each: {trunk: home-1}")
    assert antifraud("test", "mine", cwd=folder).returncode == 1
    config = folder / "config"
    (config / "regions").mkdir(parents=True)
    (config / "dialplans").symlink_to(ROOT / "config" / "dialplans")
    (config / "regions" / "KZ-71.yaml").symlink_to(ROOT / "config" / "regions" / "KZ-71.yaml")
    (config / "default.yaml").write_text(
        "shard: kz\ncountry: KZ\ndial_plan: kz\ndefault_region: KZ-71\nmodel: null\n"
        'trunks: [{match: "sbc-*", class: international}, {match: "home-*", class: national}]\n',
        encoding="utf-8",
    )
    done = antifraud("test", "mine", "--strict", "--config", "config", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 tests of 1 rule: all passed\n", "")


def test_what_is_wrong_with_configuration_or_windows_is_said(folder: Path) -> None:
    done = antifraud("test", "mine", "--config", "nowhere", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere does not exist" in done.stderr
    (folder / "mine/windows.yaml").write_text(
        "windows:\n  callee_new_callers_2h: {kind: count, by: calee, over: 2h, doc: {en: a, ru: b, kk: c}}\n"
    )
    done = antifraud("test", "mine", cwd=folder)
    assert done.returncode == 2
    assert "windows.yaml:2:" in done.stderr
    assert "Traceback" not in done.stderr
    # Rules whose tests give their windows do not need a word of it.
    change(
        folder,
        RULE[RULE.index("tests:") :],
        "tests:\n  - {name: a, given: {callee_new_callers_2h: 1}, expect: no_hit}\n",
    )
    assert antifraud("test", "mine", "--config", "nowhere", cwd=folder).returncode == 0


HOW_TO = (ROOT / "docs/how-to/test-a-rule-with-calls.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs/reference/rule-language.md").read_text(encoding="utf-8")


def yaml_blocks(text: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


def test_the_how_to_says_what_happens(tmp_path: Path) -> None:
    """Its tests, put into the shipped rule that it names, give its output, place by place."""
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    path = tmp_path / "rules/packs/kz-callcentre/sequential_dialling.yaml"
    first, second, chain, single = yaml_blocks(HOW_TO)
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("tests:")] + first + second, encoding="utf-8")
    done = antifraud("test", "rules", "--rule", "sequential_dialling", cwd=tmp_path)
    assert done.returncode == 1
    said = re.search(r"sequential_dialling\n(rules/.*?\n)\n", HOW_TO, re.DOTALL)
    assert said is not None
    without_lines = re.compile(r":\d+:5:|line \d+")
    assert without_lines.sub("", said[1]) == without_lines.sub("", done.stdout.partition("\n\n")[0] + "\n")
    assert done.stdout.endswith("2 tests of 1 rule: 1 failed\n")
    # Fourteen, as it advises, are enough.
    path.write_text(path.read_text(encoding="utf-8").replace("repeat: 12", "repeat: 14"), encoding="utf-8")
    assert antifraud("test", "rules", "--rule", "sequential_dialling", cwd=tmp_path).returncode == 0
    for fragment in (chain, single):
        path.write_text(
            text[: text.index("tests:")]
            + first.replace("repeat: 12", "repeat: 14")
            + f"  - name: more\n{fragment}    expect: no_hit\n",
            encoding="utf-8",
        )
        done = antifraud("test", "rules", "--rule", "sequential_dialling", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_reference_shows_a_test_that_passes(folder: Path) -> None:
    # The other one tests a rule about calls in progress.
    (shown,) = [block for block in yaml_blocks(REFERENCE) if "events:" in block and "release" not in block]
    rule = (ROOT / "rules/packs/kz-callcentre/sequential_dialling.yaml").read_text(encoding="utf-8")
    assert shown in rule
    for key in (*ENTRY_KEYS, *KEYS, *ENDS, *REPORTED):
        assert f"`{key}`" in REFERENCE, key
