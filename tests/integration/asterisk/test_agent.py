"""The agent with a real Redis and an Asterisk's manager interface over TCP; as a process as well."""

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
from sip_adapters.switches.asterisk import AGENT
from tests.asterisk_manager import SECRET, FakeAsterisk

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
SWITCH = "sw-kz-75"
NUMBER, OTHER = "+77010000001", "+77010000002"


async def until(ready: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.02)


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    server = FakeAsterisk()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Any]:
    client = connect(redis_server.url)
    yield client
    await client.aclose()


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
    asterisk: FakeAsterisk, redis_server: EmbeddedRedis, redis: Any, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    asterisk.database = {"+77010000099": "1"}  # somebody wrote it there by hand
    asterisk.channels = {"PJSIP/trunk-00000001": ("1796069373.4", "a@192.0.2.1")}
    await register(redis, NUMBER, 1)
    options = {"address": f"127.0.0.1:{asterisk.port}", "secret_file": str(tmp_path / "secret"), "lease_s": 1.0}
    task = asyncio.create_task(
        AGENT.run(
            shard="kz", switch=SWITCH, region="", redis_url=redis_server.url, options=options, ready=lambda _: None
        )
    )
    try:
        await until(lambda: set(asterisk.database) == {NUMBER})
        await register(redis, OTHER, 2)
        await command(redis, "block", 2, number=OTHER, until=time.time() + 600)
        await command(redis, "release", 3, call_id="a@192.0.2.1")
        await command(redis, "release", 4, call_id="a@192.0.2.1")
        assert await results(redis, 3) == [("block", "done"), ("release", "done"), ("release", "gone")]
        assert set(asterisk.database) == {NUMBER, OTHER}
        assert asterisk.hung_up == [("PJSIP/trunk-00000001", "21")]
        await asterisk.stop()
        asterisk.database, asterisk.started = {}, "2026-12-01"
        await command(redis, "unblock", 5, number=NUMBER)
        await asyncio.sleep(0.3)
        assert len(await results(redis, 3)) == 3  # nothing is settled while the switch is away
        await asterisk.start()
        await until(lambda: OTHER in asterisk.database)
        assert (await results(redis, 4))[3] == ("unblock", "done")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_as_a_process(asterisk: FakeAsterisk, redis_server: EmbeddedRedis, redis: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    await register(redis, NUMBER, 1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "antifraud.cli", "agent", "asterisk", f"--switch={SWITCH}", f"--redis={redis_server.url}",
        f"--set=address=127.0.0.1:{asterisk.port}", f"--set=secret_file={tmp_path / 'secret'}",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line.startswith(b"ready ")
        await until(lambda: NUMBER in asterisk.database)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, said
    assert b"Traceback" not in said
