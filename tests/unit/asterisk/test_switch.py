"""The port over a real socket: what every port must do, calls, and switches that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import ConfigError
from sip_adapters.agents import RefusedError, SwitchPort, UnreachableError
from sip_adapters.conformance.switches import CHECKS
from sip_adapters.switches.asterisk import AsteriskSwitch
from sip_adapters.switches.asterisk.agent import Options, make_switch
from sip_adapters.switches.options import read_section

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture
async def port(asterisk: Any) -> AsyncIterator[AsteriskSwitch]:
    made = AsteriskSwitch("127.0.0.1", asterisk.port, "antifraud", "correct-horse", 1.0)
    yield made
    await made.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("tree", [True, False], ids=["DBGetTree", "database-show"])
async def test_it_is_a_port(
    asterisk: Any, port: AsteriskSwitch, tree: bool, check: Callable[[SwitchPort], Awaitable[None]]
) -> None:
    asterisk.has_tree = tree
    await check(port)


async def test_a_call_is_ended_by_either_of_its_ids(asterisk: Any, port: AsteriskSwitch) -> None:
    asterisk.channels = {
        "PJSIP/trunk-00000001": ("1796069373.1", "a@192.0.2.1"),
        "PJSIP/trunk-00000002": ("1796069373.2", ""),
        "PJSIP/trunk-00000003": ("1796069373.3", "c@192.0.2.1"),
    }
    assert await port.release("a@192.0.2.1", "", "") == "done"
    assert await port.release("1796069373.2", "", "") == "done"
    assert await port.release("a@192.0.2.1", "", "") == "gone"
    assert asterisk.hung_up == [("PJSIP/trunk-00000001", "21"), ("PJSIP/trunk-00000002", "21")]


async def test_a_channel_name_that_could_be_a_pattern_is_not_said(asterisk: Any, port: AsteriskSwitch) -> None:
    asterisk.channels = {"/PJSIP.*/": ("1796069373.1", "")}
    with pytest.raises(RefusedError, match="cannot be said"):
        await port.release("1796069373.1", "", "")
    assert asterisk.hung_up == []


async def test_a_number_that_is_none_is_never_said(asterisk: Any, port: AsteriskSwitch) -> None:
    for evil in ("77010000001", "+7701\r\nAction: Command", "", "+" + "1" * 16):
        with pytest.raises(RefusedError):
            await port.block(evil, time.time() + 60)
        with pytest.raises(RefusedError):
            await port.unblock(evil)
    assert asterisk.seen == []


async def test_a_wrong_secret_is_trouble_not_a_refusal(asterisk: Any) -> None:
    port = AsteriskSwitch("127.0.0.1", asterisk.port, "antifraud", "wrong", 1.0)
    with pytest.raises(UnreachableError, match="does not let antifraud in: Authentication failed"):
        await port.epoch()
    await port.close()


@pytest.mark.parametrize("action", ["Login", "CoreStatus", "DBPut"])
async def test_a_silent_switch_is_given_up(asterisk: Any, action: str) -> None:
    port = AsteriskSwitch("127.0.0.1", asterisk.port, "antifraud", "correct-horse", 0.2)
    asterisk.silent.add(action)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"does not answer within 0\.2 s"):
        await (port.block("+77010000001", time.time() + 60) if action == "DBPut" else port.epoch())
    assert time.monotonic() - began < 2
    asterisk.silent.clear()
    assert await port.epoch()
    await port.close()


async def test_a_list_that_never_ends_is_given_up(asterisk: Any, port: AsteriskSwitch) -> None:
    await port.epoch()
    asterisk.garbage = b"Event: DBGetTreeResponse\r\nKey: /antifraud_block/+77010000001\r\nVal: 1\r\n\r\n"
    with pytest.raises(UnreachableError, match="does not answer"):
        _ = [pair async for pair in port.listed()]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff" * 40_000,
        b"Response: Success\r\nActionID: af-0\r\n\r\n" * 3,
        b"Response: Success\r\nActionID",
        b"\r\n" * 5_000,
    ],
)
async def test_nonsense_is_no_answer(asterisk: Any, garbage: bytes) -> None:
    port = AsteriskSwitch("127.0.0.1", asterisk.port, "antifraud", "correct-horse", 0.3)
    await port.epoch()
    asterisk.garbage = garbage
    with pytest.raises(UnreachableError):
        await port.block("+77010000001", time.time() + 60)
    asterisk.garbage = None
    await port.block("+77010000001", time.time() + 60)
    assert "+77010000001" in asterisk.database
    await port.close()


async def test_an_answer_is_not_taken_for_the_next_one(asterisk: Any, port: AsteriskSwitch) -> None:
    """A question that is given up in the middle takes its connection with it."""
    await port.epoch()
    asterisk.silent.add("DBPut")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(port.block("+77010000001", time.time() + 60), 0.05)
    asterisk.silent.clear()
    assert await port.epoch() == "2026-11-30 10:11:12"
    assert asterisk.connections == 2


async def test_a_restart_is_seen(asterisk: Any, port: AsteriskSwitch) -> None:
    before = await port.epoch()
    await asterisk.stop()
    with pytest.raises(UnreachableError):
        await port.epoch()
    asterisk.started = "2026-12-01"
    await asterisk.start()
    assert await port.epoch() != before


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("unknown-option", {"adress": "127.0.0.1:5038"}),
        ("no-address", {"address": "here", "secret_file": "secret"}),
        ("no-secret", {}),
        ("missing-secret", {"secret_file": "/nonexistent/secret"}),
        ("strange-user", {"user": "a\r\nb"}),
        ("strange-family", {"family": "a/b"}),
        ("timeout", {"timeout_s": 0}),
    ],
)
def test_mistakes_are_named(name: str, section: dict[str, Any], golden: Callable[[Path, str], None]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_switch("sw-kz-75", read_section("agents.sw-kz-75", Options, section))
    golden(GOLDEN / f"agent-{name}.txt", "\n".join(f"{p.message}\n    {p.hint}" for p in caught.value.problems) + "\n")
