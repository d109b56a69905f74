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
from sip_adapters.switches.freeswitch import FreeSwitch
from sip_adapters.switches.freeswitch.agent import Options, make_switch
from sip_adapters.switches.options import read_section

GOLDEN = Path(__file__).with_name("golden")
UUID = "0b5a8f3e-8d0c-4b0e-9a34-6a1f3c1d2e4{}"


@pytest.fixture
async def port(freeswitch: Any) -> AsyncIterator[FreeSwitch]:
    made = FreeSwitch("127.0.0.1", freeswitch.port, "ClueCon-not", 1.0)
    yield made
    await made.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_is_a_port(port: FreeSwitch, check: Callable[[SwitchPort], Awaitable[None]]) -> None:
    await check(port)


async def test_a_call_is_ended_by_either_of_its_ids(freeswitch: Any, port: FreeSwitch) -> None:
    first, second = UUID.format(1), UUID.format(2)
    freeswitch.channels = {
        first: ("+77010000001", "+77010000101", "a@192.0.2.1"),
        second: ("+77010000002", "+77010000102", "b@192.0.2.1"),
    }
    assert await port.release(first, "", "") == "done"
    assert await port.release("b@192.0.2.1", "+77010000002", "+77010000102") == "done"
    assert await port.release(first, "", "") == "gone"
    assert freeswitch.killed == [(first, "CALL_REJECTED"), (second, "CALL_REJECTED")]


async def test_calls_with_the_same_numbers_are_looked_at_first(freeswitch: Any, port: FreeSwitch) -> None:
    freeswitch.channels = {UUID.format(n): (f"+7701000000{n}", "+77010000101", f"{n}@x") for n in range(10)}
    assert await port.release("7@x", "87010000007", "") == "done"
    asked = [command for command in freeswitch.seen if "uuid_getvar" in command]
    assert len(asked) == 1


async def test_a_number_that_is_none_is_never_said(freeswitch: Any, port: FreeSwitch) -> None:
    for evil in ("77010000001", "+7701\n\napi shutdown", "", "+7701/x"):
        with pytest.raises(RefusedError):
            await port.block(evil, time.time() + 60)
        with pytest.raises(RefusedError):
            await port.unblock(evil)
    assert freeswitch.seen == []


async def test_a_wrong_password_is_trouble_not_a_refusal(freeswitch: Any) -> None:
    port = FreeSwitch("127.0.0.1", freeswitch.port, "wrong", 1.0)
    with pytest.raises(UnreachableError, match="does not let us in: -ERR invalid"):
        await port.epoch()
    await port.close()


async def test_a_rejection_by_address_is_told(freeswitch: Any, port: FreeSwitch) -> None:
    freeswitch.rejects = True
    with pytest.raises(UnreachableError, match=r"Access Denied|closed the connection"):
        await port.epoch()


@pytest.mark.parametrize("word", ["auth", "hash"])
async def test_a_silent_switch_is_given_up(freeswitch: Any, word: str) -> None:
    port = FreeSwitch("127.0.0.1", freeswitch.port, "ClueCon-not", 0.2)
    freeswitch.silent.add(word)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"does not answer within 0\.2 s"):
        await port.block("+77010000001", time.time() + 60)
    assert time.monotonic() - began < 2
    freeswitch.silent.clear()
    assert await port.epoch() == freeswitch.core
    await port.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff" * 40_000,
        b"Content-Type: command/reply\nReply-Text: +OK\n\n",
        b"Content-Type: api/response\nContent-Length: 999999999\n\n",
        b"Content-Type: api/response\nContent-Length: 50\n\n+OK",
        b"Content-Type: api/resp",
        b"Content-Type: text/disconnect-notice\n\n",
        b"\n" * 5_000,
    ],
)
async def test_nonsense_is_no_answer(freeswitch: Any, garbage: bytes) -> None:
    port = FreeSwitch("127.0.0.1", freeswitch.port, "ClueCon-not", 0.3)
    await port.epoch()
    freeswitch.garbage = garbage
    with pytest.raises(UnreachableError):
        await port.block("+77010000001", time.time() + 60)
    freeswitch.garbage = None
    await port.block("+77010000001", time.time() + 60)
    assert "antifraud_block_+77010000001" in freeswitch.database
    await port.close()


async def test_an_answer_is_not_taken_for_the_next_one(freeswitch: Any, port: FreeSwitch) -> None:
    """There is no number to tell answers apart: a question given up takes its connection with it."""
    await port.epoch()
    freeswitch.silent.add("hash")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(port.block("+77010000001", time.time() + 60), 0.05)
    freeswitch.silent.clear()
    assert await port.epoch() == freeswitch.core
    assert freeswitch.connections == 2


async def test_a_restart_is_seen(freeswitch: Any, port: FreeSwitch) -> None:
    before = await port.epoch()
    await freeswitch.stop()
    with pytest.raises(UnreachableError):
        await port.epoch()
    freeswitch.core = UUID.format(9)
    await freeswitch.start()
    assert await port.epoch() != before


async def test_a_switch_without_the_module_says_no(freeswitch: Any, port: FreeSwitch, monkeypatch: Any) -> None:
    monkeypatch.setattr(freeswitch, "_api", lambda command: f"-ERR {command.split(' ')[0]} Command not found!\n")
    with pytest.raises(RefusedError, match="hash insert: the switch says -ERR hash Command not found!"):
        await port.block("+77010000001", time.time() + 60)
    with pytest.raises(RefusedError, match="it needs mod_hash"):
        _ = [pair async for pair in port.listed()]
    with pytest.raises(UnreachableError):
        await port.epoch()


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("unknown-option", {"secret_file": "x"}),
        ("no-address", {"address": "127.0.0.1"}),
        ("no-password", {}),
        ("strange-realm", {"realm": "a/b"}),
    ],
)
def test_mistakes_are_named(name: str, section: dict[str, Any], golden: Callable[[Path, str], None]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_switch("sw-kz-75", read_section("agents.sw-kz-75", Options, section))
    golden(GOLDEN / f"agent-{name}.txt", "\n".join(f"{p.message}\n    {p.hint}" for p in caught.value.problems) + "\n")
