"""``antifraud blocks add``: what it says of numbers that cannot be blocked, and of those that nobody can have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from antifraud.cli.assembly import build_numbering
from antifraud.cli.blocks import blocks, doubts
from antifraud.domain import QueueError, UsageError
from antifraud.settings import load_settings

GOLDEN = Path(__file__).parent / "golden_blocks"
NUMBERING = build_numbering(load_settings(env={}), warm=False)
REFUSED = {
    "emergency": "112",
    "short": "+71414",
    "no-country": "+999123456789",
    "country-alone": "+44 7",
    "too-long": "+33 1 23 45 67 89 01 23 45 67",
    "local": "123-45-67",
    "name": "My Bank",
    "withheld": "anonymous",
    "nothing": "",
}
DOUBTED = {
    "too-short": "+770100000",
    "too-long-of-a-country": "+7701000000123",
    "not-given-out": "+76000000000",
    "shared-code": "+15550000000",
    "shared-code-too-short": "+1212555",
    "reserved": "+9977010000001",
}


@pytest.fixture(autouse=True)
def no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)


@pytest.mark.parametrize(("name", "number"), REFUSED.items(), ids=REFUSED)
@pytest.mark.parametrize("command", ["add", "remove"])
def test_what_no_call_can_carry_is_refused(
    command: str, name: str, number: str, golden: Callable[[Path, str], None]
) -> None:
    done = CliRunner().invoke(blocks, [command, "--why", "a test", "--", number])
    assert isinstance(done.exception, UsageError)
    golden(GOLDEN / f"{name}.txt", done.exception.render() + "\n")


@pytest.mark.parametrize(("name", "number"), DOUBTED.items(), ids=DOUBTED)
def test_what_nobody_can_have_is_doubted_and_taken(name: str, number: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"{name}.txt", doubts(NUMBERING.facts(number)) + "\n")
    # It is Redis that is wanting.
    done = CliRunner().invoke(blocks, ["add", number, "--why", "a test"])
    assert isinstance(done.exception, QueueError)


@pytest.mark.parametrize("number", ["+77010000001", "87010000001", "+77172500001", "+442079460000", "+5491112345678"])
def test_of_a_number_that_somebody_may_have_nothing_is_said(number: str) -> None:
    assert doubts(NUMBERING.facts(number)) == ""
