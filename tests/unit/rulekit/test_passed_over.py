"""Files that are not loaded: which are a problem and which nobody expects to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.rulekit import passed_over

from .workbench import load, problems, rule_text, write


@pytest.mark.parametrize(
    "name",
    ["a.yml", "a.YAML", "a.Yml", "a.yaml.txt", "a.yml.TXT", "a.yaml.disabled", "a b.yaml.doc"],
)
def test_what_is_meant_as_yaml_is_a_problem(tmp_path: Path, name: str) -> None:
    write(tmp_path, {f"packs/demo/{name}": rule_text()})
    (problem,) = problems(tmp_path)
    assert problem.where is not None
    assert problem.where.file.endswith(name)


@pytest.mark.parametrize(
    "name",
    [
        ".a.yaml",
        "a.yaml~",
        "#a.yaml#",
        "a.yaml.bak",
        "a.yaml.orig",
        "a.yaml.swp",
        ".a.yaml.x1.new",
        "README.md",
        "a.txt",
    ],
)
def test_what_nobody_expects_to_be_read_is_none(tmp_path: Path, name: str) -> None:
    folders = ("packs", "packs/demo", "packs/demo/more", "packs/demo/.git", "lists", "lists/more", ".")
    write(tmp_path, {"packs/demo/sample.yaml": rule_text(), **{f"{folder}/{name}": "x: [" for folder in folders}})
    assert [rule.id for rule in load(tmp_path).rules] == ["sample"]


def test_other_folders_of_the_directory_are_none(tmp_path: Path) -> None:
    others = {f"{folder}/sample.yaml": "x: [" for folder in ("schema", "drafts", "packs/.old", "docs/packs")}
    assert problems(write(tmp_path, {**others, "compose.yaml": "x: [", "rules.lock.yaml": ""})) == ()


def test_a_folder_of_very_many_files_is_looked_at_within_bounds(tmp_path: Path) -> None:
    write(tmp_path, {f"packs/demo/more/{number}.yaml": "" for number in range(passed_over.MAX_TOLD + 20)})
    assert len(problems(tmp_path)) == passed_over.MAX_TOLD
    deep = "packs/other/" + "x/" * (passed_over.MAX_DEPTH + 3)
    (tmp_path / "packs/other/loop").parent.mkdir()
    (tmp_path / "packs/other/loop").symlink_to(tmp_path)
    write(tmp_path, {f"{deep}sample.yaml": ""})
    assert len(problems(tmp_path)) <= 2 * passed_over.MAX_TOLD  # so many for each pack
