"""A region that sets what the rules do not have: every command that needs the rules names the place in config/."""

from __future__ import annotations

import json
import re
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


def test_the_doctor_says_it_under_parameters_and_nowhere_else(tmp_path: Path) -> None:
    folder, place = configuration(tmp_path, "many_distinct_callees: {callee: 60}")
    found = {item["area"]: item for item in json.loads(antifraud("doctor", f"--config={folder}", "--json").stdout)}
    assert found["parameters"]["state"] == "fail"
    assert f"{place}29: the rule many_distinct_callees has no parameter callee" in found["parameters"]["text"]
    assert found["model"]["state"] == "warn"
    assert "KZ-71" not in found["model"]["text"]


def test_the_doctor_counts_what_regions_set(tmp_path: Path) -> None:
    folder, _place = configuration(tmp_path, "many_distinct_callees: {callees: 60}")
    found = {item["area"]: item for item in json.loads(antifraud("doctor", f"--config={folder}", "--json").stdout)}
    assert found["parameters"]["state"] == "ok"
    assert re.fullmatch("regions set [2-9] of the rules' parameters, and all of them fit", found["parameters"]["text"])
    assert found["model"]["state"] == "ok"
