"""``antifraud rules …`` as a person runs it: what is printed, and the exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from antifraud.rulekit import read_own_windows, read_window_names

ROOT = Path(__file__).parents[3]

RULE = """\
rule: night_calls
title: {en: calls at night, ru: ночные вызовы}
owner: tests
why: people sleep
false_positives: those who do not
params:
  late: 22
when: |
  hour > params.late
  and trunk_class == "international"
unless:
  - {name: lab, when: trunk == "lab", owner: tests, until: 2027-01-01}
then:
  verdict: label
  label: Late
  reason: {en: "{caller} called at {hour}", ru: "{caller} звонил в {hour}"}
rollout:
  stage: shadow
tests:
  - name: late
    given: {caller: "+15550100", hour: 23, trunk_class: international}
    expect: hit
  - name: noon
    like: late
    given: {hour: 12}
    expect: no_hit
"""


def antifraud(*arguments: str, cwd: Path = ROOT, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The command, as the console script runs it."""
    code = "from antifraud.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "rules", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with one rule and no fields or windows of its own."""
    pack = tmp_path / "mine" / "packs" / "demo"
    pack.mkdir(parents=True)
    (pack / "night_calls.yaml").write_text(RULE, encoding="utf-8")
    return tmp_path


def test_lint_of_the_shipped_rules() -> None:
    done = antifraud("lint")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing wrong" in done.stdout
    report = json.loads(antifraud("lint", "--json").stdout)
    assert report["problems"] == []
    assert report["rules"] >= 10


def test_lint_of_one_file_says_what_is_wrong_with_that_file(folder: Path) -> None:
    pack = folder / "mine" / "packs" / "demo"
    (pack / "broken.yaml").write_text(RULE.replace("night_calls", "broken").replace("hour >", "huor >"))
    good, bad = "mine/packs/demo/night_calls.yaml", "mine/packs/demo/broken.yaml"
    done = antifraud("lint", good, cwd=folder)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "1 file: nothing wrong")
    assert "1 problem in other files of mine; rules were not compared with each other" in done.stdout
    done = antifraud("lint", "broken.yaml", "night_calls.yaml", cwd=pack)
    assert done.returncode == 1
    assert "broken.yaml:9:3: there is no field, fact or window huor" in done.stdout
    assert "2 files: 1 problem" in done.stdout
    told = json.loads(antifraud("lint", bad, "--json", cwd=folder).stdout)
    assert [problem["code"] for problem in told["problems"]] == ["unknown-name"]
    assert told["problems_elsewhere"] == 0

    # Compared with all the others: what another rule says already is found in the file that is asked about.
    (pack / "broken.yaml").write_text(RULE.replace("night_calls", "broken").replace("Late", "Later"))
    done = antifraud("lint", good, "--strict", cwd=folder)
    assert done.returncode == 1
    assert "broken hit the same calls" in done.stdout
    assert antifraud("lint", bad, "--strict", cwd=folder).returncode == 0


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["mine/packs/demo/none.yaml"], "none.yaml does not exist"),
        (["mine/packs/demo/night_calls.yaml", "none.yaml"], "none.yaml does not exist"),
        (["loose.yaml"], "lies in no rules directory"),
        (["mine", "mine/packs/demo/night_calls.yaml"], "name one rules directory, or files of one"),
        (["mine", "mine"], "only one rules directory"),
    ],
)
def test_lint_of_places_that_cannot_be_meant(folder: Path, places: list[str], said: str) -> None:
    (folder / "loose.yaml").write_text(RULE)
    done = antifraud("lint", *places, cwd=folder)
    assert done.returncode == 2
    assert said in done.stderr


def test_lint_of_a_directory_that_has_rules_only(folder: Path) -> None:
    done = antifraud("lint", "mine", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "1 rule in 1 pack, 0 lists: nothing wrong\n")


@pytest.mark.parametrize("name", ["caller_kind", "hour", "score", "and", "missing", "params", "trunk_class"])
def test_a_window_cannot_take_a_name_that_means_something_else(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", folder)
    with (folder / "windows.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\n  {name}:\n    {{kind: count, by: caller, over: 7m, doc: {{en: a, ru: b, kk: c}}}}\n")
    done = antifraud("lint", str(folder))
    assert done.returncode == 1
    assert f"{name!r} is " in done.stdout
    assert "1 problem" in done.stdout


def test_lint_reads_the_windows_as_the_engine_does(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", folder)
    own = sum(len(item.names) for item in read_own_windows(folder))
    declared = len(read_window_names(folder / "windows.yaml")) + own
    assert f"{declared} windows: nothing wrong" in antifraud("lint", str(folder)).stdout
    path = folder / "windows.yaml"
    sound = path.read_text(encoding="utf-8")
    broken = sound.replace("    on: release\n    where: talk_s > 0", "    where: talk_s > 0", 1).replace(
        "over: 30d", "over: 31d", 1
    )
    path.write_text(broken, encoding="utf-8")
    done = antifraud("lint", str(folder))
    assert done.returncode == 1
    assert "talk_s is not known at setup" in done.stdout
    assert "over '31d' is out of range" in done.stdout
    assert "2 problems" in done.stdout
    path.write_text("windows: [", encoding="utf-8")
    done = antifraud("lint", str(folder))
    assert done.returncode == 1
    assert "1 problem" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_lint_shows_every_problem_and_fails(folder: Path) -> None:
    path = folder / "mine/packs/demo/night_calls.yaml"
    path.write_text(
        RULE.replace("hour > params.late", "huor > params.late").replace("verdict: label", "verdict: lable")
    )
    done = antifraud("lint", "mine", cwd=folder)
    assert done.returncode == 1
    assert "mine/packs/demo/night_calls.yaml:9:3: there is no field, fact or window huor" in done.stdout
    assert "did you mean hour?" in done.stdout
    assert "did you mean label?" in done.stdout
    assert done.stdout.endswith("2 problems\n")
    report = json.loads(antifraud("lint", "mine", "--json", cwd=folder).stdout)
    assert [(found["code"], found["line"]) for found in report["problems"]] == [("unknown-name", 9), ("not-one-of", 14)]


def test_wrong_use() -> None:
    for arguments in (("lint", "nowhere"), ("test", "nowhere"), ("explain", "nobody", "--call", "{}"), ("sing",)):
        done = antifraud(*arguments)
        assert done.returncode == 2, arguments
        assert done.stderr
        assert "Traceback" not in done.stderr


def test_tests_pass_and_unproven_terms_are_named(folder: Path) -> None:
    done = antifraud("test", "mine", cwd=folder)
    assert done.returncode == 0
    assert 'no test shows that this term matters: trunk_class == "international"' in done.stdout
    assert done.stdout.endswith("2 tests of 1 rule: all passed\n")
    assert antifraud("test", "mine", "--strict", cwd=folder).returncode == 1


def test_the_shipped_rules_pass_their_tests_strictly() -> None:
    done = antifraud("test", "--strict", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert (report["failed"], report["unproven"]) == ([], [])
    assert report["passed"] >= 40


def test_a_failing_test_fails_and_is_explained(folder: Path) -> None:
    path = folder / "mine/packs/demo/night_calls.yaml"
    path.write_text(RULE.replace("late: 22", "late: 23"), encoding="utf-8")
    done = antifraud("test", "mine", "--rule", "night_calls", cwd=folder)
    assert done.returncode == 1
    assert "night_calls.yaml:20:5: demo/night_calls: failed: late" in done.stdout
    assert "expected a hit, but the rule did not hit" in done.stdout
    assert "hour = 23, params.late = 23" in done.stdout
    (failure,) = json.loads(antifraud("test", "mine", "--json", cwd=folder).stdout)["failed"]
    assert (failure["test"], failure["expected"], failure["got"]) == ("late", "hit", "no_hit")


def test_rules_that_do_not_compile_cannot_be_tested(folder: Path) -> None:
    (folder / "mine/packs/demo/night_calls.yaml").write_text("rule: night_calls\n", encoding="utf-8")
    done = antifraud("test", "mine", cwd=folder)
    assert done.returncode == 2
    assert "this rule has no title" in done.stderr


def test_explain_in_the_language_of_the_reader(folder: Path) -> None:
    call = '{"caller": "+15550100", "hour": 23, "trunk_class": "international", "trunk": null}'
    done = antifraud("explain", "night_calls", "--rules", "mine", "--call", call, "--language", "ru", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "demo/night_calls (shadow): hit: label",
        "  holds    hour > params.late               hour = 23, params.late = 22",
        '  holds    trunk_class == "international"   trunk_class = "international"',
        "  unless lab: does not apply",
        '    unknown  trunk == "lab"   trunk = missing',
        "  reason: +15550100 звонил в 23",
    ]


def test_explain_takes_the_call_from_a_file_or_standard_input(folder: Path) -> None:
    call = '{"hour": 3}'
    (folder / "call.json").write_text(call)
    for given in ("@call.json", "-"):
        done = antifraud("explain", "night_calls", "--rules", "mine", "--call", given, "--json", cwd=folder, stdin=call)
        found = json.loads(done.stdout)
        assert (found["hit"], found["terms"][0]["held"], found["terms"][1]["held"]) == (False, False, None)


@pytest.mark.parametrize("call", ['{"huor": 3}', '{"hour": "3"}', "{hour", "[]", "", '{"roaming": 1}', "@nowhere.json"])
def test_explain_refuses_a_call_that_it_cannot_mean(folder: Path, call: str) -> None:
    done = antifraud("explain", "night_calls", "--rules", "mine", "--call", call, cwd=folder)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_schemas_are_written_for_a_directory(folder: Path) -> None:
    done = antifraud("schema", "mine", cwd=folder)
    assert done.returncode == 0
    schema = json.loads((folder / "mine/schema/rule.schema.json").read_text(encoding="utf-8"))
    assert schema["required"][0] == "rule"
