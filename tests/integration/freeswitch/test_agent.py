"""The agent with a real Redis and a FreeSWITCH's event socket over TCP; as a process as well."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from antifraud.queues import EmbeddedRedis, Keys, connect
from antifraud.queues.commands import Block, Command, decode_outcome, encode_block, encode_command
from sip_adapters.switches.freeswitch import AGENT
from tests.freeswitch_events import PASSWORD, FakeFreeSwitch

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
SWITCH = "sw-kz-75"
NUMBER, OTHER = "+77010000001", "+77010000002"
UUID = "0b5a8f3e-8d0c-4b0e-9a34-6a1f3c1d2e4f"


async def until(ready: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.02)


@pytest.fixture
async def freeswitch() -> AsyncIterator[FakeFreeSwitch]:
    server = FakeFreeSwitch()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Any]:
    client = connect(redis_server.url)
    yield client
    await client.aclose()


def listed(freeswitch: FakeFreeSwitch) -> set[str]:
    return {key.removeprefix("antifraud_block_") for key in freeswitch.database}


async def register(redis: Any, number: str, seq: int) -> None:
    block = Block(number, "blocked", time.time() + 600, seq)
    await redis.hset(KEYS.blocks, number, encode_block(block))


async def results(redis: Any, count: int) -> list[tuple[str, str]]:
    end = time.monotonic() + 20
    while True:
        entries = await redis.xrange(KEYS.outcomes)
        if len(entries) >= count:
            outcomes = [decode_outcome(fields) for _, fields in entries]
            return [(outcome.op, outcome.result) for outcome in outcomes]
        assert time.monotonic() < end, entries
        await asyncio.sleep(0.02)


async def command(redis: Any, op: str, seq: int, **more: Any) -> None:
    made = Command(f"{seq:016x}", op, seq=seq, at=time.time(), **more)
    await redis.xadd(KEYS.commands(SWITCH), encode_command(made))


async def test_the_list_calls_and_a_restart(
    freeswitch: FakeFreeSwitch, redis_server: EmbeddedRedis, redis: Any, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(f"{PASSWORD}\n")
    freeswitch.database = {"antifraud_block_+77010000099": "1"}  # somebody wrote it there by hand
    freeswitch.channels = {UUID: (NUMBER, OTHER, "a@192.0.2.1")}
    await register(redis, NUMBER, 1)
    options = {"address": f"127.0.0.1:{freeswitch.port}", "password_file": str(tmp_path / "secret"), "lease_s": 1.0}
    task = asyncio.create_task(
        AGENT.run(
            shard="kz", switch=SWITCH, region="", redis_url=redis_server.url, options=options, ready=lambda _: None
        )
    )
    try:
        await until(lambda: listed(freeswitch) == {NUMBER})
        await register(redis, OTHER, 2)
        await command(redis, "block", 2, number=OTHER, until=time.time() + 600)
        await command(redis, "release", 3, call_id="a@192.0.2.1")
        await command(redis, "release", 4, call_id="a@192.0.2.1")
        assert await results(redis, 3) == [("block", "done"), ("release", "done"), ("release", "gone")]
        assert listed(freeswitch) == {NUMBER, OTHER}
        assert freeswitch.killed == [(UUID, "CALL_REJECTED")]
        await freeswitch.stop()
        freeswitch.database, freeswitch.core = {}, UUID
        await command(redis, "unblock", 5, number=NUMBER)
        await asyncio.sleep(0.3)
        assert len(await results(redis, 3)) == 3  # nothing is settled while the switch is away
        await freeswitch.start()
        await until(lambda: OTHER in listed(freeswitch))
        assert (await results(redis, 4))[3] == ("unblock", "done")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_as_a_process(
    freeswitch: FakeFreeSwitch, redis_server: EmbeddedRedis, redis: Any, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(f"{PASSWORD}\n")
    await register(redis, NUMBER, 1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "antifraud.cli", "agent", "freeswitch",
        f"--switch={SWITCH}", f"--redis={redis_server.url}",
        f"--set=address=127.0.0.1:{freeswitch.port}", f"--set=password_file={tmp_path / 'secret'}",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line.startswith(b"ready ")
        await until(lambda: NUMBER in listed(freeswitch))
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, said
    assert b"Traceback" not in said
