"""What ``config validate`` says of the rules' parameters that regions set. UPDATE_GOLDEN=1 rewrites what is expected.

A case is one text file: files below the working directory, then the expected message.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from antifraud.cli.config import config

GOLDEN = Path(__file__).parent / "golden_rule_parameters"
CASES = sorted(GOLDEN.glob("*.txt"))
SMALLEST = {
    "config/default.yaml": "default_region: KZ-75\nrules: ../rules\n",
    "config/regions/KZ-75.yaml": "name: {en: Almaty, ru: Алматы, kk: Алматы}\n",
    "config/regions/KZ-71.yaml": "name: {en: Astana, ru: Астана, kk: Астана}\n",
    "rules/packs/mine/night_ring.yaml": "rule: night_ring\nparams:\n  callees: 20\n  lands: [KZ]\n",
}


def validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], *arguments: str) -> Result:
    for name in [name for name in os.environ if name.startswith("ANTIFRAUD_")]:
        monkeypatch.delenv(name)
    for name, text in {**SMALLEST, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return CliRunner().invoke(config, ["validate", "--config", "config", *arguments])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_message(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = re.split(r"^--- ([^\s]+)\n", case.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    arguments = found.pop("arguments", "").split()
    expected = found.pop("expected", "")
    result = validate(tmp_path, monkeypatch, found, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    if os.environ.get("UPDATE_GOLDEN"):
        before = case.read_text(encoding="utf-8").split("--- expected\n")[0]
        case.write_text(f"{before}--- expected\n{result.stderr}", encoding="utf-8")
    else:
        assert result.stderr == expected


def test_there_are_cases() -> None:
    assert len(CASES) >= 5


def test_what_fits_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    region = SMALLEST["config/regions/KZ-75.yaml"]
    rules = "policy: {rules: {night_ring: {callees: 60, lands: [KZ, KG]}}}\n"
    result = validate(tmp_path, monkeypatch, {"config/regions/KZ-75.yaml": region + rules})
    assert (result.exit_code, result.stderr) == (0, "")


def test_no_rule_is_looked_at_where_no_region_sets_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = validate(tmp_path, monkeypatch, {}, "--set", "rules=nowhere")
    assert (result.exit_code, result.stderr) == (0, "")


def test_only_the_rules_are_read_of_which_a_parameter_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "config/regions/KZ-75.yaml": SMALLEST["config/regions/KZ-75.yaml"] + "policy: {rules: {night_ring: {}}}\n",
        "rules/packs/mine/unfinished.yaml": "rule: [\n",
    }
    result = validate(tmp_path, monkeypatch, files)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_flood_of_problems_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = "".join(f"    none_{number}: {{}}\n" for number in range(130))
    region = SMALLEST["config/regions/KZ-75.yaml"] + f"policy:\n  rules:\n{rules}"
    result = validate(tmp_path, monkeypatch, {"config/regions/KZ-75.yaml": region})
    assert result.exit_code == 2
    assert result.stderr.count("there is no rule") == 100
    assert "and 30 more problems" in result.stderr
