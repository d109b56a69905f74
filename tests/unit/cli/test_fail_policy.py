"""``antifraud config fail-policy`` and ``config card``: what people, programs and Kamailio are told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from antifraud.cli.config import config
from antifraud.cli.fail_policy import fail_options
from antifraud.domain import ConfigError, UsageError
from antifraud.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).parent / "golden_fail_policy"
HARD = {"ANTIFRAUD_POLICY_FAIL_ANY_LATE": "national_only", "ANTIFRAUD_POLICY_FAIL_INTERNATIONAL_REDIS": "refuse"}


@pytest.fixture(autouse=True)
def _only_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if (name.startswith("ANTIFRAUD_") and name != "ANTIFRAUD_GOLDEN") or name == "REDIS_URL":
            monkeypatch.delenv(name)
    monkeypatch.chdir(ROOT)


def run(*arguments: str, **env: str) -> Result:
    result = CliRunner(env=env).invoke(config, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "switch", "style", "env"),
    [
        ("open.txt", "sw-kz-75", "text", {}),
        ("open.cfg", "sw-kz-75", "kamailio", {}),
        ("hard.txt", "sw-kz-75", "text", HARD),
        ("hard.cfg", "sw-kz-75", "kamailio", HARD),
        ("capped.txt", "sw-kz-71", "text", HARD),
    ],
)
def test_output(name: str, switch: str, style: str, env: dict[str, str]) -> None:
    compare(name, run("fail-policy", "--switch", switch, "--format", style, **env).output)


def test_json() -> None:
    found = json.loads(run("fail-policy", "--switch", "sw-kz-75", "--format", "json", **HARD).output)
    assert found["version"] == 1
    assert found["actions"]["international"]["redis"] == "refuse"
    assert "^109$" in found["protected_callees"]
    # What the region's switches are told of a refusal: KZ-35 has older ones.
    older = json.loads(run("fail-policy", "--switch", "sw-kz-35", "--format", "json", **HARD).output)
    assert older["refuse"] == {"status": 603, "phrase": "Decline", "cause": 21}


def test_a_switch_that_is_not_there_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        run("fail-policy", "--switch", "sw-kz-57")
    assert caught.value.render() == "there is no switch sw-kz-57\n    did you mean sw-kz-79?"


def test_config_show_displays_the_ladder() -> None:
    shown = run("show", "--region", "KZ-75", **HARD).output
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.startswith("policy.fail")}
    assert len(lines) == 20
    assert lines["policy.fail.any.late"][0] == "national_only"
    assert lines["policy.fail.international.redis"][0] == "refuse"
    assert lines["policy.fail.national.redis"][0] == "null"


def test_an_adapter_is_handed_a_policy_only_where_there_is_one() -> None:
    assert fail_options(load_settings(env={}), "sw-kz-75") is None
    settings = load_settings(env={}, overrides={"policy.fail.any.late": "label"})
    found = fail_options(settings, "sw-kz-75")
    assert found is not None
    assert found["actions"]["any"]["late"] == "label"
    assert fail_options(settings, "misspelt") is None


def test_a_card_is_printed_for_publishing(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run("card", "--region", "KZ-75")
    assert caught.value.render() == (
        "KZ-75 signs no card\n    set policy.redress.key_file, name, and url, tel or email"
    )
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(key)
    env = {
        "ANTIFRAUD_POLICY_REDRESS_KEY_FILE": str(tmp_path / "key.pem"),
        "ANTIFRAUD_POLICY_REDRESS_NAME": "Redress",
        "ANTIFRAUD_POLICY_REDRESS_TEL": "+77010000000",
    }
    token = run("card", "--region", "KZ-75", **env).output.strip()
    assert token.count(".") == 2
    assert run("validate", **env).exit_code == 0
    (tmp_path / "key.pem").write_text("nothing")
    result = run("validate", **env)
    assert result.exit_code == 2
    assert "there is no private key in it" in result.stderr
    with pytest.raises(ConfigError):
        run("card", "--region", "KZ-75", **env)
