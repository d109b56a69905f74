"""A region that sets what the rules do not have: every command that needs the rules names the place in config/."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .test_commands import ROOT, antifraud


def configuration(tmp_path: Path, rules: str) -> tuple[Path, str]:
    """A copy of config/ where KZ-71 sets ``rules``, and the place of that."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    file = tmp_path / "config/regions/KZ-71.yaml"
    before, policy, after = file.read_text(encoding="utf-8").partition("policy:\n")
    file.write_text(f"{before}{policy}  rules:\n    {rules}\n{after}", encoding="utf-8")
    return tmp_path / "config", f"{file}:{before.count(chr(10)) + 3}:"


@pytest.mark.parametrize(
    "command",
    [("config", "validate"), ("engine", "--redis=unix:///nowhere"), ("replay", "events.jsonl"), ("doctor",)],
    ids=lambda command: command[0],
)
def test_a_parameter_of_a_rule_that_is_not_there(tmp_path: Path, command: tuple[str, ...]) -> None:
    folder, place = configuration(tmp_path, "night_ring: {callees: 60}")
    done = antifraud(*command, f"--config={folder}")
    assert done.returncode == (1 if command[0] == "doctor" else 2)
    assert f"{place}5: there is no rule night_ring in " in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_backtest_names_the_place_of_a_value_that_does_not_fit(tmp_path: Path) -> None:
    folder, place = configuration(tmp_path, 'many_distinct_callees: {callees: "60"}')
    done = antifraud("backtest", "--seeds=1", "--calls=100", f"--config={folder}")
    assert done.returncode == 2
    assert f"{place}38: the parameter callees of the rule many_distinct_callees cannot be '60'" in done.stderr
