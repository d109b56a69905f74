"""``antifraud lists``: what is refused before Redis is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from antifraud.cli.lists import lists
from antifraud.domain import AntifraudError, QueueError, UsageError

LIST = """\
list: {name}
title: a list for a test
kind: {kind}
owner: tests
source: made up
entries: []
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("ANTIFRAUD_ENGINE_SNAPSHOT_DIR", str(tmp_path / "state" / "snapshots"))
    (tmp_path / "lists").mkdir()
    (tmp_path / "packs").mkdir()
    for kind in ("numbers", "prefixes", "trunks"):
        (tmp_path / "lists" / f"bad_{kind}.yaml").write_text(LIST.format(name=f"bad_{kind}", kind=kind))
    return tmp_path


def refused(rules: Path, *arguments: str) -> AntifraudError:
    done = CliRunner().invoke(lists, [arguments[0], f"--rules={rules}", *arguments[1:]])
    assert isinstance(done.exception, AntifraudError), done.output
    return done.exception


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("bad_numbers", "7701000", "7701000 is no short code of the dial plan"),
        ("bad_numbers", "12345", "12345 is no short code"),
        ("bad_numbers", "8112", "8112 is carried by calls as 112"),
        ("bad_prefixes", "8701", "8701 is no short code"),
    ],
)
def test_digits_that_no_call_carries_are_refused(rules: Path, name: str, value: str, said: str) -> None:
    error = refused(rules, "add", name, value, "--why", "a test")
    assert isinstance(error, UsageError)
    assert said in error.render()
    # Who knows that calls carry them can say so; then only Redis is wanting.
    assert isinstance(refused(rules, "add", name, value, "--why", "a test", "--unknown-code"), QueueError)


@pytest.mark.parametrize(
    ("name", "value"),
    [("bad_numbers", "1414"), ("bad_numbers", "+77010000001"), ("bad_prefixes", "14"), ("bad_trunks", "12345")],
)
def test_what_calls_carry_is_taken(rules: Path, name: str, value: str) -> None:
    assert isinstance(refused(rules, "add", name, value, "--why", "a test"), QueueError)


@pytest.mark.parametrize("value", ["hello", "", "+7701x", "Kaspi Bank"])
def test_what_is_no_number_is_not_looked_up(rules: Path, value: str) -> None:
    error = refused(rules, "check", value)
    assert isinstance(error, UsageError)
    assert "is no number" in error.render()


@pytest.mark.parametrize("value", ["87010000001", "+7 701 000 00 01", "1414", "12345"])
def test_numbers_are_looked_up(rules: Path, value: str) -> None:
    done = CliRunner().invoke(lists, ["check", f"--rules={rules}", value])
    assert done.exit_code == 0
    assert "is in no list" in done.output
