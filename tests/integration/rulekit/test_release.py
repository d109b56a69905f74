"""fmt, new, diff, lock and promote as a person runs them: what is printed, what is written, and the exit codes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .test_commands import ROOT, RULE, antifraud

LABELLED = RULE.replace("stage: shadow", "stage: shadow\n  false_hits_per_million: 50\n  review_by: 2031-01-01")
PROVEN = (
    LABELLED
    + """\
  - name: at home
    like: late
    given: {trunk_class: national}
    expect: no_hit
"""
)
BY = ("--by", "Ann", "--why", "it has been watched")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory mine/ with one rule at shadow and its lock."""
    pack = tmp_path / "mine" / "packs" / "demo"
    pack.mkdir(parents=True)
    (pack / "night_calls.yaml").write_text(PROVEN, encoding="utf-8")
    assert antifraud("lock", "mine", *BY, cwd=tmp_path).returncode == 0
    return tmp_path


def rule_of(folder: Path) -> Path:
    return folder / "mine/packs/demo/night_calls.yaml"


def promote(folder: Path, to: str, *more: str) -> subprocess.CompletedProcess[str]:
    return antifraud("promote", "night_calls", "--rules", "mine", "--to", to, *BY, *more, cwd=folder)


def codes(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [problem["code"] for problem in json.loads(done.stdout)["problems"]]


# fmt


def test_fmt_shows_changes_and_checks(folder: Path) -> None:
    path = rule_of(folder)
    before = path.read_text(encoding="utf-8")
    done = antifraud("fmt", "mine", "--check", cwd=folder)
    assert done.returncode == 1
    assert "-title: {en: calls at night, ru: ночные вызовы}\n" in done.stdout
    assert "+  ru: ночные вызовы\n" in done.stdout
    assert done.stdout.endswith("1 file is not in form of 1\n")
    assert path.read_text(encoding="utf-8") == before
    done = antifraud("fmt", "mine", cwd=folder)
    assert (done.returncode, done.stdout) == (
        0,
        "mine/packs/demo/night_calls.yaml brought into form\n1 file changed of 1\n",
    )
    assert antifraud("fmt", "mine", "--check", cwd=folder).stdout == "1 file in form\n"
    assert antifraud("lint", "mine", cwd=folder).returncode == 0
    assert antifraud("test", "mine", "--strict", cwd=folder).returncode == 0


def test_fmt_of_files_folders_and_standard_input(folder: Path) -> None:
    path = rule_of(folder)
    text = path.read_text(encoding="utf-8")
    for place in ("mine/packs/demo", "mine/packs/demo/night_calls.yaml"):
        report = json.loads(antifraud("fmt", place, "--check", "--json", cwd=folder).stdout)
        assert report == {"files": 1, "changed": ["mine/packs/demo/night_calls.yaml"], "problems": []}
    done = antifraud("fmt", "-", cwd=folder, stdin=text)
    assert done.returncode == 0
    antifraud("fmt", "mine", cwd=folder)
    assert done.stdout == path.read_text(encoding="utf-8")
    done = antifraud("fmt", "-", cwd=folder, stdin="rule: [")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be read as YAML" in done.stderr


def test_fmt_leaves_what_it_cannot_read_and_goes_on(folder: Path) -> None:
    broken = folder / "mine/packs/demo/broken.yaml"
    broken.write_text("rule: broken\nwhen: [\n", encoding="utf-8")
    done = antifraud("fmt", "mine", cwd=folder)
    assert done.returncode == 1
    assert "broken.yaml:3:1: this cannot be read as YAML" in done.stdout
    assert "night_calls.yaml brought into form" in done.stdout
    assert broken.read_text(encoding="utf-8") == "rule: broken\nwhen: [\n"
    assert antifraud("fmt", "nowhere", cwd=folder).returncode == 2


def test_fmt_keeps_the_permissions_of_a_file(folder: Path) -> None:
    rule_of(folder).chmod(0o640)
    antifraud("fmt", "mine", cwd=folder)
    assert stat.S_IMODE(rule_of(folder).stat().st_mode) == 0o640


def test_the_shipped_rules_are_in_form() -> None:
    assert antifraud("fmt", "--check").returncode == 0


# new


@pytest.mark.parametrize("verdict", ["protect", "label", "challenge", "divert", "block"])
def test_a_new_rule_is_a_draft_that_passes_everything(folder: Path, verdict: str) -> None:
    done = antifraud("new", "robots", "--pack", "demo", "--verdict", verdict, "--rules", "mine", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.startswith("mine/packs/demo/robots.yaml written\n")
    assert antifraud("lint", "mine", "--strict", cwd=folder).returncode == 0
    assert antifraud("test", "mine", "--rule", "robots", "--strict", cwd=folder).returncode == 0
    assert antifraud("fmt", "mine/packs/demo/robots.yaml", "--check", cwd=folder).returncode == 0
    step = "enforce" if verdict == "protect" else "shadow"
    options = ("--rules", "mine", "--to", step, *BY, "--approved-by", "Bob", "--json")
    done = antifraud("promote", "robots", *options, cwd=folder)
    assert done.returncode == 1
    assert set(codes(done)) == {"promote-unfinished"}


def test_a_new_rule_takes_no_name_that_exists(folder: Path) -> None:
    done = antifraud("new", "night_calls", "--pack", "other", "--rules", "mine", cwd=folder)
    assert done.returncode == 2
    assert "there is a rule night_calls already: mine/packs/demo/night_calls.yaml" in done.stderr
    for name, pack in (("Night", "demo"), ("ночь", "demo"), ("../x", "demo"), ("x", "../demo"), ("x", "De mo")):
        done = antifraud("new", name, "--pack", pack, "--rules", "mine", cwd=folder)
        assert done.returncode == 2
        assert "cannot be the name of" in done.stderr
    report = json.loads(antifraud("new", "x", "--pack", "dem", "--rules", "mine", "--json", cwd=folder).stdout)
    assert report == {"rule": "x", "pack": "dem", "file": "mine/packs/dem/x.yaml", "new_pack": True}


# diff


def test_diff_of_directories(folder: Path) -> None:
    shutil.copytree(folder / "mine", folder / "other")
    path = folder / "other/packs/demo/night_calls.yaml"
    text = PROVEN.replace("late: 22", "late: 21").replace("verdict: label", "verdict: block")
    path.write_text(text.replace("stage: shadow", "stage: enforce"), encoding="utf-8")
    done = antifraud("diff", "mine", "other", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "major  demo/night_calls",
        "  major  verdict: harder",
        "           - label",
        "           + block",
        "  major  stage: goes further",
        "           - shadow",
        "           + enforce",
        "  major  params.late: may hit more calls",
        "           - 22",
        "           + 21",
        "",
        "1 rule different: major",
    ]
    assert antifraud("diff", "mine", "other", "--fail-on", "major", cwd=folder).returncode == 1
    assert antifraud("diff", "other", "mine", "--fail-on", "minor", cwd=folder).returncode == 0
    assert antifraud("diff", "mine", "mine", cwd=folder).stdout == "nothing is different\n"
    report = json.loads(antifraud("diff", "mine", "other", "--json", cwd=folder).stdout)
    assert (report["before"], report["after"], report["level"]) == ("mine", "other", "major")
    (rule,) = report["rules"]
    assert (rule["rule"], rule["pack"], rule["kind"], rule["level"]) == ("night_calls", "demo", "changed", "major")
    assert rule["changes"][0] == {
        "what": "verdict",
        "level": "major",
        "words": "harder",
        "before": "label",
        "after": "block",
    }


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"},
    )


def test_diff_with_a_state_in_git(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", "mine")
    git(folder, "commit", "-q", "-m", "first")
    rule_of(folder).write_text(
        PROVEN.replace("  and trunk_class", "  and roaming\n  and trunk_class"), encoding="utf-8"
    )
    done = antifraud("diff", "HEAD:mine", "mine", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "  patch  condition: hits no call that it did not hit before\n           + and roaming\n" in done.stdout
    for wrong in ("HEAD:nothing", "HEAD~9:mine", "--output=x", "nothing"):
        done = antifraud("diff", "--", wrong, "mine", cwd=folder)
        assert done.returncode == 2
        assert "is neither a directory nor a state in git" in done.stderr
    rule_of(folder).write_text("rule: night_calls\n", encoding="utf-8")
    git(folder, "commit", "-q", "-a", "-m", "broken")
    done = antifraud("diff", "HEAD:mine", "mine", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("HEAD:mine/packs/demo/night_calls.yaml:1:1: this rule has no title")


# lint


def test_lint_compares_rules_and_knows_the_day(folder: Path) -> None:
    done = antifraud("lint", "mine", "--today", "2031-01-02", cwd=folder)
    assert done.returncode == 0
    assert "night_calls.yaml:12:60: warning: the exception lab ended on 2027-01-01" in done.stdout
    assert "warning: the review of this rule was due on 2031-01-01" in done.stdout
    assert done.stdout.endswith("1 rule in 1 pack, 0 lists: 2 warnings\n")
    assert antifraud("lint", "mine", "--today", "2031-01-02", "--strict", cwd=folder).returncode == 1
    report = json.loads(antifraud("lint", "mine", "--today", "2031-01-02", "--json", cwd=folder).stdout)
    assert report["problems"] == []
    assert [item["code"] for item in report["warnings"]] == ["exception-ended", "review-overdue"]
    assert antifraud("lint", "mine", "--today", "tomorrow", cwd=folder).returncode == 2


def test_lint_finds_a_rule_that_never_hits(folder: Path) -> None:
    rule_of(folder).write_text(PROVEN.replace("  and trunk_class", "  and hour < 3\n  and hour > 5\n  and trunk_class"))
    done = antifraud("lint", "mine", cwd=folder)
    assert done.returncode == 1
    assert "this rule can never hit: hour < 3 and hour > 5 are never true of one call" in done.stdout


def test_lint_knows_what_was_decided(folder: Path) -> None:
    path = rule_of(folder)
    path.write_text(PROVEN.replace("stage: shadow", "stage: enforce").replace("late: 22", "late: 21"), encoding="utf-8")
    done = antifraud("lint", "mine", "--json", cwd=folder)
    assert done.returncode == 1
    assert codes(done) == ["lock-stage", "lock-changed"]
    (folder / "mine/rules.lock").write_text("format: 7\nrules: {}\n", encoding="utf-8")
    assert codes(antifraud("lint", "mine", "--json", cwd=folder)) == ["lock-unreadable"]
    done = promote(folder, "canary", "--percent", "5")
    assert done.returncode == 2
    assert "rules.lock cannot be used" in done.stderr


# lock and promote


def test_a_rule_goes_its_way(folder: Path) -> None:
    path, lock = rule_of(folder), folder / "mine/rules.lock"
    assert codes(promote(folder, "enforce", "--json")) == ["promote-skips"]
    assert promote(folder, "canary").returncode == 2
    assert promote(folder, "shadow", "--percent", "5").returncode == 2
    assert promote(folder, "canary", "--percent", "100").returncode == 2
    done = promote(folder, "canary", "--percent", "5")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[:2] == [
        "demo/night_calls: shadow → canary 5 %, version 1",
        "    mine/packs/demo/night_calls.yaml and mine/rules.lock written; commit them together",
    ]
    assert path.read_text(encoding="utf-8") == PROVEN.replace("stage: shadow", "stage: canary\n  percent: 5")
    assert "    stage: canary\n    percent: 5\n" in lock.read_text(encoding="utf-8")
    assert codes(promote(folder, "enforce", "--json")) == ["promote-approval"]
    assert codes(promote(folder, "enforce", "--json", "--approved-by", "ANN")) == ["promote-approval"]
    done = promote(folder, "enforce", "--json", "--approved-by", "Bob")
    assert json.loads(done.stdout) == {
        "rule": "night_calls",
        "from": "canary",
        "to": "enforce",
        "percent": None,
        "version": 1,
        "file": "mine/packs/demo/night_calls.yaml",
        "problems": [],
    }
    assert path.read_text(encoding="utf-8") == PROVEN.replace("stage: shadow", "stage: enforce")
    assert "approvals: [Bob]" in lock.read_text(encoding="utf-8")
    assert antifraud("lint", "mine", cwd=folder).returncode == 0
    assert promote(folder, "retired").returncode == 0
    assert path.read_text(encoding="utf-8") == PROVEN.replace("stage: shadow", "stage: retired")
    assert codes(promote(folder, "shadow", "--json")) == ["promote-skips"]
    assert promote(folder, "draft").returncode == 0


def test_what_stands_against_a_promotion_changes_nothing(folder: Path) -> None:
    path, lock = rule_of(folder), folder / "mine/rules.lock"
    locked = lock.read_bytes()

    def refused(text: str, *expected: str) -> None:
        path.write_text(text, encoding="utf-8")
        done = promote(folder, "canary", "--percent", "5", "--json")
        assert (done.returncode, sorted(set(codes(done)))) == (1, sorted(expected))
        assert path.read_text(encoding="utf-8") == text
        assert lock.read_bytes() == locked

    refused(LABELLED, "promote-unproven")
    refused(PROVEN.replace("late: 22", "late: 23"), "promote-fails", "promote-unproven")
    refused(PROVEN.replace("2031-01-01", "2020-01-01"), "promote-overdue")
    refused(PROVEN.replace("people sleep", "TODO"), "promote-unfinished")
    refused(PROVEN.replace("  false_hits_per_million: 50\n", ""), "promote-budget")
    done = antifraud("promote", "night_cals", "--rules", "mine", "--to", "draft", *BY, cwd=folder)
    assert done.returncode == 2
    assert "did you mean night_calls?" in done.stderr
    done = antifraud(
        "promote", "night_calls", "--rules", "mine", "--to", "draft", "--by", " ", "--why", "x", cwd=folder
    )
    assert done.returncode == 2
    lock.unlink()
    assert codes(promote(folder, "canary", "--percent", "5", "--json")) == ["lock-none"]


def test_a_stage_edited_by_hand_is_mended_by_a_decision(folder: Path) -> None:
    path = rule_of(folder)
    path.write_text(PROVEN.replace("stage: shadow", "stage: enforce"), encoding="utf-8")
    done = antifraud("lint", "mine", cwd=folder)
    assert done.returncode == 1
    assert "the stage was edited by hand: here enforce, in rules.lock shadow" in done.stdout
    assert codes(antifraud("lock", "mine", *BY, "--json", cwd=folder)) == ["lock-stage"]
    assert codes(promote(folder, "enforce", "--approved-by", "Bob", "--json")) == ["promote-skips"]
    assert promote(folder, "shadow").returncode == 0
    assert path.read_text(encoding="utf-8") == PROVEN
    assert antifraud("lint", "mine", cwd=folder).returncode == 0


def test_lock_counts_versions_up(folder: Path) -> None:
    path, lock = rule_of(folder), folder / "mine/rules.lock"
    assert antifraud("lock", "mine", *BY, cwd=folder).stdout == "nothing that rules decide has changed\n"
    path.write_text(PROVEN.replace("calls at night", "late calls"), encoding="utf-8")
    assert antifraud("lock", "mine", *BY, cwd=folder).stdout == "nothing that rules decide has changed\n"
    path.write_text(PROVEN.replace("late: 22", "late: 21"), encoding="utf-8")
    done = antifraud("lock", "mine", *BY, cwd=folder)
    assert done.stdout.startswith("night_calls: changed, version 2\n")
    path.unlink()
    done = antifraud("lint", "mine", cwd=folder)
    assert "warning: rules.lock names the rule night_calls, which does not exist any more" in done.stdout
    assert json.loads(antifraud("lock", "mine", *BY, "--json", cwd=folder).stdout)["removed"] == ["night_calls"]
    assert lock.read_text(encoding="utf-8").endswith("rules: {}\n")


def test_nothing_half_written_is_left_when_the_disk_takes_no_more(folder: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); from antifraud.cli import main; main()"
    arguments = ["promote", "night_calls", "--rules", "mine", "--to", "canary", *BY, "--percent", "5"]
    done = subprocess.run(
        [sys.executable, "-c", code, "rules", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert rule_of(folder).read_text(encoding="utf-8") == PROVEN
    assert "stage: shadow" in (folder / "mine/rules.lock").read_text(encoding="utf-8")
    assert sorted(path.name for path in (folder / "mine").iterdir()) == ["packs", "rules.lock"]


@pytest.mark.parametrize("command", ["fmt", "new", "diff", "lock", "promote", "lint", "test", "explain", "schema"])
def test_help_is_in_plain_words(command: str) -> None:
    done = antifraud(command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_the_shipped_rules_have_nothing_to_complain_about() -> None:
    report: dict[str, Any] = json.loads(antifraud("lint", "--today", "2026-12-01", "--json").stdout)
    assert (report["problems"], report["warnings"]) == ([], [])
    assert ROOT.joinpath("rules/rules.lock").is_file()
