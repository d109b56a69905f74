"""How many processors there are to use, and what a manifest says of the state of the sources."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from antifraud.cli.processors import available
from antifraud.cli.provenance import file_digests, revision_of, scenario_digests
from antifraud.domain import UsageError
from antifraud.settings import data_dir


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(16)))


def _group(root: Path, group: str, content: str, name: str = "cpu.max") -> None:
    directory = root / group
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(content, encoding="ascii")


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("own", "groups", "count"),
    [
        ("0::/a/b", {"a/b": "max 100000"}, 16),
        ("0::/a/b", {"a/b": "250000 100000"}, 3),
        ("0::/a/b", {"a": "150000 100000", "a/b": "max 100000"}, 2),
        ("0::/a/b", {"a": "800000 100000", "a/b": "400000 100000"}, 4),
        ("0::/", {"": "50000 100000"}, 1),
        ("0::/../../x", {"x": "200000 100000"}, 2),
        ("0::/a", {"a": "nonsense"}, 16),
        ("0::/a", {"a": "-1 0"}, 16),
        ("", {}, 16),
    ],
)
def test_affinity_and_quota_bound_the_processors(tmp_path: Path, own: str, groups: dict[str, str], count: int) -> None:
    (tmp_path / "own").write_text(own, encoding="ascii")
    for group, content in groups.items():
        _group(tmp_path / "fs", group, content)
    assert available(tmp_path / "own", tmp_path / "fs") == count


@pytest.mark.usefixtures("many")
def test_control_groups_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("5:memory:/m\n4:cpu,cpuacct:/a\n", encoding="ascii")
    _group(tmp_path / "fs" / "cpu", "a", "300000", "cpu.cfs_quota_us")
    _group(tmp_path / "fs" / "cpu", "a", "100000", "cpu.cfs_period_us")
    assert available(tmp_path / "own", tmp_path / "fs") == 3


def test_here_there_is_at_least_one() -> None:
    assert 1 <= available() <= len(os.sched_getaffinity(0))


def _git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.net", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(root), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_the_revision_says_whether_what_decides_was_changed(tmp_path: Path) -> None:
    assert revision_of(tmp_path) == ""
    _git(tmp_path, "init", "-q")
    assert revision_of(tmp_path) == ""
    for name in ("antifraud", "rules", "docs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("one", encoding="utf-8")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "one")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    assert revision_of(tmp_path) == commit
    (tmp_path / "docs" / "a.txt").write_text("two", encoding="utf-8")
    assert revision_of(tmp_path) == commit
    (tmp_path / "rules" / "new.yaml").write_text("two", encoding="utf-8")
    assert revision_of(tmp_path) == f"{commit}+changed"
    (tmp_path / "rules" / "new.yaml").unlink()
    (tmp_path / "antifraud" / "a.txt").write_text("two", encoding="utf-8")
    assert revision_of(tmp_path) == f"{commit}+changed"


def test_where_there_is_no_git_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _git(tmp_path, "init", "-q")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision_of(tmp_path) == ""


def test_files_and_scenarios_are_named_by_their_digests(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    assert [one["file"] for one in file_digests([tmp_path / "a", tmp_path / "b"])] == ["a", "b"]
    (tmp_path / "b").write_bytes(b"one")
    with pytest.raises(UsageError, match="same content"):
        file_digests([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UsageError, match="cannot read"):
        file_digests([tmp_path / "c"])
    scenarios = data_dir("config") / "scenarios"
    assert [one["file"] for one in scenario_digests(scenarios / "national.yaml")] == ["national.yaml"]
    extended = scenario_digests(scenarios / "heldout-nights.yaml")
    assert [one["file"] for one in extended] == ["heldout-nights.yaml", "national.yaml"]
