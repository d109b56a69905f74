"""When a rules directory counts as changed, and when as come to rest: what editors and copying programs really do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from antifraud.engine.rules_state import UNKNOWN, RulesWatch, rules_state

RULE = "packs/demo/one.yaml"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    for name in (RULE, "lists/numbers.yaml", "lists/numbers.csv", "fields.yaml", "windows.yaml", "calendar.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("first")
    return folder


def written_beside(path: Path) -> None:
    """As editors and rsync save: a file of another name, then one rename."""
    beside = path.with_name(f".{path.name}.swp")
    beside.write_text("other")
    beside.replace(path)


def same_size_and_time(path: Path) -> None:
    """As a program that puts the old time back."""
    before = path.stat()
    path.write_text("FIRST")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / RULE).write_text("other"),
        lambda folder: (folder / "lists/numbers.csv").write_text("first and more"),
        lambda folder: (folder / "windows.yaml").write_text("other"),
        lambda folder: (folder / "calendar.yaml").unlink(),
        lambda folder: (folder / RULE).unlink(),
        lambda folder: (folder / RULE).rename(folder / "packs/demo/two.yaml"),
        lambda folder: shutil.copytree(folder / "packs/demo", folder / "packs/more"),
        lambda folder: shutil.rmtree(folder / "packs/demo"),
        lambda folder: (folder / "packs/empty").mkdir(),
        lambda folder: (folder / "packs/demo/two.yml").write_text("a suffix that is refused"),
        lambda folder: shutil.rmtree(folder),
        lambda folder: written_beside(folder / RULE),
        lambda folder: same_size_and_time(folder / RULE),
    ],
)
def test_what_a_bundle_is_read_from_counts(rules: Path, change: Callable[[Path], object]) -> None:
    before = rules_state(rules)
    assert rules_state(rules) == before != UNKNOWN
    change(rules)
    assert rules_state(rules) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "packs/demo/.one.yaml.swp").write_text("an editor's"),
        lambda folder: (folder / "packs/demo/one.yaml~").write_text("an editor's"),
        lambda folder: (folder / "lists/.numbers.csv.Xa81b").write_text("half of it"),
        lambda folder: (folder / "rules.lock").write_text("who and when"),
        lambda folder: (folder / "README.md").write_text("what this is"),
        lambda folder: (folder / ".git").mkdir(),
        lambda folder: (folder / "schema").mkdir(),
        lambda folder: (folder / RULE).read_text(),
    ],
)
def test_what_is_not_read_does_not(rules: Path, change: Callable[[Path], object]) -> None:
    before = rules_state(rules)
    change(rules)
    assert rules_state(rules) == before


def test_a_link_that_is_put_elsewhere_counts(rules: Path, tmp_path: Path) -> None:
    """As releases are put in place: a link is replaced, no file is touched."""
    shutil.copytree(rules, tmp_path / "next")
    link = tmp_path / "current"
    link.symlink_to(rules)
    before = rules_state(link)
    (tmp_path / "new").symlink_to(tmp_path / "next")
    (tmp_path / "new").replace(link)
    assert rules_state(link) != before


def test_what_cannot_be_looked_at_is_no_error(rules: Path, tmp_path: Path) -> None:
    (rules / "packs/demo/dangling.yaml").symlink_to(tmp_path / "nowhere")
    (rules / "packs/loop").symlink_to(rules / "packs/loop")
    assert rules_state(rules) == rules_state(rules)
    assert rules_state(tmp_path / "nowhere") == rules_state(tmp_path / "nowhere")


def test_a_change_is_taken_once_it_has_come_to_rest(rules: Path) -> None:
    watch = RulesWatch(rules, rules_state(rules))
    assert [watch.look(), watch.look()] == [False, False]
    with (rules / "lists/numbers.csv").open("a") as stream:
        # A large file that is being written in place, for longer than one look.
        for _ in range(3):
            stream.write("+77010000001\n")
            stream.flush()
            assert not watch.look()
    assert watch.look()
    assert [watch.look(), watch.look()] == [False, False]
    # Whoever was told to reload has read it: it is no news any more.
    (rules / RULE).write_text("other")
    assert not watch.look()
    watch.take(rules_state(rules))
    assert watch.is_current()
    assert [watch.look(), watch.look()] == [False, False]
    (rules / RULE).write_text("yet another")
    assert not watch.is_current()
    assert [watch.look(), watch.look(), watch.look()] == [False, True, False]


def test_what_could_not_be_read_is_not_tried_again_and_again(rules: Path) -> None:
    watch = RulesWatch(rules, rules_state(rules))
    (rules / RULE).write_text("other")
    assert [watch.look(), watch.look()] == [False, True]
    watch.take(UNKNOWN)
    assert [watch.look(), watch.look(), watch.look()] == [False, False, False]
    (rules / RULE).write_text("yet another")
    assert [watch.look(), watch.look()] == [False, True]


def test_what_nobody_has_read_is_news(rules: Path) -> None:
    watch = RulesWatch(rules, UNKNOWN)
    assert [watch.look(), watch.look(), watch.look()] == [False, True, False]
