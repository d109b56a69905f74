"""``antifraud config``: what people and scripts see, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from antifraud.cli.config import config
from antifraud.domain import ConfigError, UsageError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _only_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ANTIFRAUD_") or name == "REDIS_URL":
            monkeypatch.delenv(name)
    monkeypatch.chdir(ROOT)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(config, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_validate_says_what_it_found() -> None:
    result = run("validate")
    assert result.exit_code == 0
    assert "20 regions" in result.output
    assert "no problems" in result.output


def test_validate_shows_all_problems_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text("shard: KZ\ndeadline_ms: 1\n")
    result = run("validate", "--config", str(tmp_path))
    assert result.exit_code == 2
    assert f"{tmp_path}/default.yaml:1:8: shard must be" in result.stderr
    assert f"{tmp_path}/default.yaml:2:14: deadline_ms must be" in result.stderr
    assert "3 problems" in result.stderr
    machine = run("validate", "--config", str(tmp_path), "--json")
    assert machine.exit_code == 2
    problems = json.loads(machine.stdout)["problems"]
    assert problems[0]["where"] == {"file": f"{tmp_path}/default.yaml", "line": 1, "column": 8}


def test_validate_checks_what_set_says() -> None:
    result = run("validate", "--set", "engine.max_batch=0")
    assert result.exit_code == 2
    result = run("validate", "--set", "engine.max_batch")
    assert result.exit_code == 2
    assert "has no =" in result.stderr


def test_show_tells_a_region_with_the_place_of_every_value() -> None:
    result = run("show", "--region", "kz-35")
    lines = {line.split()[0]: line.split()[1:] for line in result.output.splitlines() if line.startswith("policy.")}
    assert lines["policy.ceiling"] == ["block", "config/regions/KZ-35.yaml:9:12"]
    assert lines["policy.block.code"][0] == "603"
    assert lines["policy.thresholds.block"][1].startswith("config/default.yaml:")
    assert "Қарағанды облысы" in result.output
    assert "sw-kz-35" in result.output


def test_show_as_json() -> None:
    shown = json.loads(run("show", "--region", "KZ-75", "--json", "--set", "policy.ceiling=off").output)
    assert shown["region"] == "KZ-75"
    assert shown["values"]["policy.ceiling"] == {
        "value": "off",
        "where": {"file": "command line", "line": None, "column": None},
    }
    everything = json.loads(run("show", "--json", "--set", "redis.url=redis://u:p@h.example").output)
    assert everything["values"]["redis.url"]["value"] == "redis://u:***@h.example"
    assert everything["regions"]["KZ-75"] == "block"


def test_a_region_that_is_not_there_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        run("show", "--region", "KZ-57")
    assert "did you mean" in caught.value.render()


def test_diff_of_two_regions() -> None:
    result = run("diff", "KZ-75", "KZ-23")
    assert result.exit_code == 0
    assert "block → shadow" in result.output
    assert run("diff", "KZ-75", "KZ-23", "--exit-code").exit_code == 1
    assert run("diff", "KZ-75", "KZ-75", "--exit-code").output == "no differences\n"
    settings = {item["setting"] for item in json.loads(run("diff", "KZ-75", "KZ-23", "--json").output)}
    assert settings == {"policy.ceiling", "policy.desk.target", "policy.language"}


def test_diff_of_two_directories(tmp_path: Path) -> None:
    for name, ceiling in (("a", "shadow"), ("b", "label")):
        directory = tmp_path / name / "regions"
        directory.mkdir(parents=True)
        (tmp_path / name / "default.yaml").write_text("default_region: KZ-75\n")
        (directory / "KZ-75.yaml").write_text(f"name: {{en: A, ru: A, kk: A}}\npolicy: {{ceiling: {ceiling}}}\n")
    (tmp_path / "b" / "regions" / "KZ-71.yaml").write_text("name: {en: B, ru: B, kk: B}\n")
    rows = json.loads(run("diff", str(tmp_path / "a"), str(tmp_path / "b"), "--json").output)
    found = {row["setting"]: (row["a"] and row["a"]["value"], row["b"] and row["b"]["value"]) for row in rows}
    assert found["KZ-75: policy.ceiling"] == ("shadow", "label")
    assert found["KZ-71: policy.ceiling"] == (None, "shadow")
    with pytest.raises(UsageError, match="is no directory"):
        run("diff", str(tmp_path / "a"), "KZ-75")
    (tmp_path / "b" / "default.yaml").write_text("shard: [\n")
    with pytest.raises(ConfigError):
        run("diff", str(tmp_path / "a"), str(tmp_path / "b"))


def test_schema_writes_what_is_committed(tmp_path: Path) -> None:
    run("schema", "--write", str(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["config.schema.json", "dialects.schema.json", "region.schema.json"]
    for name in names:
        assert json.loads((tmp_path / name).read_text())["$schema"].endswith("2020-12/schema")


def test_nothing_heavy_is_imported() -> None:
    """What makes these commands answer at once: none of the large libraries is touched."""
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from antifraud.cli.config import config\n"
        "result = CliRunner().invoke(config, ['show', '--region', 'KZ-75'])\n"
        "assert result.exit_code == 0, result.output\n"
        "heavy = {'numpy', 'numba', 'lightgbm', 'pyarrow', 'pydantic', 'redis', 'rich', 'asyncio', 'phonenumbers'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout == "[]\n", result.stderr
