"""The tutorial, followed to the letter: its files, its commands, and what they print."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .test_commands import ROOT, antifraud

TUTORIAL = (ROOT / "docs/tutorial/first-rule.md").read_text(encoding="utf-8")
PROMOTING = (ROOT / "docs/how-to/promote-a-rule.md").read_text(encoding="utf-8")
FALSE_POSITIVES = (ROOT / "docs/how-to/handle-a-false-positive.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs/reference/rule-language.md").read_text(encoding="utf-8")


def command_line(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "antifraud.cli", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_tutorial_prints_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "my-rules/packs/mine").mkdir(parents=True)
    rule = tmp_path / "my-rules/packs/mine/night_ring.yaml"
    first, tests, one_more, params, rollout, region = blocks(TUTORIAL, "yaml")
    mkdir, wrong, right, three, four, explained, named, tried = blocks(TUTORIAL, "console")
    assert mkdir == "$ mkdir -p my-rules/packs/mine\n"

    corrected = first.replace("internatonal", "international")
    steps = [(wrong, first), (right, corrected), (three, corrected + tests), (four, corrected + tests + one_more)]
    for block, content in [*steps, (explained, corrected + tests + one_more)]:
        rule.write_text(content, encoding="utf-8")
        command, _, printed = block.partition("\n")
        arguments = shlex.split(command.removeprefix("$ antifraud rules "))
        assert antifraud(*arguments, cwd=tmp_path).stdout == printed

    when = corrected[corrected.index("when: |") : corrected.index("then:")]
    draft = corrected.replace(when, params) + tests + one_more
    for block, content in ((named, draft), (tried, draft.replace("rollout:\n  stage: draft\n", rollout))):
        rule.write_text(content, encoding="utf-8")
        command, _, printed = block.partition("\n")
        assert antifraud(*shlex.split(command.removeprefix("$ antifraud rules ")), cwd=tmp_path).stdout == printed
    assert antifraud("test", "my-rules", "--strict", cwd=tmp_path).returncode == 0

    shutil.copytree(ROOT / "config", tmp_path / "config")
    file = tmp_path / "config/regions/KZ-71.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("policy:\n", f"policy:\n{region}", 1), encoding="utf-8")
    regions = ("--regions", str(ROOT / "config"), "config")
    done = antifraud("diff", "my-rules", "my-rules", *regions, "--json", cwd=tmp_path)
    (changed,) = json.loads(done.stdout)["regions"]
    assert (changed["region"], changed["level"]) == ("KZ-71", "patch")
    assert [(item["what"], item["before"], item["after"]) for item in changed["changes"]] == [
        ("night_ring.callees", "20", "60")
    ]

    # Step 8 stands behind step 7 because a region cannot set what the rules in force do not have.
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    validate = ("config", "validate", "--config", "config", "--set", "rules=rules")
    refused = command_line(*validate, cwd=tmp_path)
    assert refused.returncode == 2
    assert "config/regions/KZ-71.yaml:" in refused.stderr
    assert "there is no rule night_ring in rules\n" in refused.stderr
    shutil.copy(rule, tmp_path / "rules/packs/kz-callcentre/night_ring.yaml")
    assert command_line(*validate, cwd=tmp_path).returncode == 0


def test_promoting_prints_what_the_page_says(tmp_path: Path) -> None:
    """The page goes on with the rule of the tutorial, as its step 6 has left it."""
    (tmp_path / "my-rules/packs/mine").mkdir(parents=True)
    first, tests, one_more, params, rollout, _region = blocks(TUTORIAL, "yaml")
    corrected = first.replace("internatonal", "international")
    when = corrected[corrected.index("when: |") : corrected.index("then:")]
    draft = corrected.replace(when, params) + tests + one_more
    path = tmp_path / "my-rules/packs/mine/night_ring.yaml"
    again, budget = blocks(PROMOTING, "yaml")
    left = draft.replace("rollout:\n  stage: draft\n", rollout)
    assert left.count(rollout) == 1
    path.write_text(left.replace(rollout, again), encoding="utf-8")
    for block in blocks(PROMOTING, "console"):
        command, _, printed = block.partition("\n")
        if "--to canary" in command:
            shadow = path.read_text(encoding="utf-8")
            path.write_text(shadow.replace("rollout:\n  stage: shadow\n", budget), encoding="utf-8")
        arguments = shlex.split(command.removeprefix("$ antifraud rules "))
        assert antifraud(*arguments, cwd=tmp_path).stdout == printed
    assert antifraud("lint", "my-rules", "--strict", cwd=tmp_path).returncode == 0


def test_the_exception_of_the_page_on_false_positives_is_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", folder)
    path = folder / "packs/kz-callcentre/many_distinct_callees.yaml"
    (block,) = blocks(FALSE_POSITIVES, "yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("unless:\n", block, 1), encoding="utf-8")
    assert antifraud("test", str(folder), "--strict").returncode == 0
    assert antifraud("fmt", str(folder), "--check").returncode == 0
    report = json.loads(antifraud("diff", str(ROOT / "rules"), str(folder), "--json").stdout)
    assert [(rule["rule"], rule["level"]) for rule in report["rules"]] == [("many_distinct_callees", "patch")]


@pytest.mark.parametrize("name", ["rule", "list"])
def test_the_examples_of_the_reference_are_accepted(tmp_path: Path, name: str) -> None:
    rule = next(block for block in blocks(REFERENCE, "yaml") if "\nrule: " in block)
    example = next(block for block in blocks(REFERENCE, "yaml") if "\nlist: " in block)
    pack = tmp_path / "packs/demo"
    pack.mkdir(parents=True)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/honest_heavy_callers.yaml").write_text(example, encoding="utf-8")
    if name == "rule":
        (pack / "many_distinct_callees.yaml").write_text(rule, encoding="utf-8")
    done = antifraud("test", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
