"""The agent with a real Redis and an Asterisk's manager interface over TCP; as a process as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antifraud.queues import EmbeddedRedis, connect
from sip_adapters.switches.asterisk import AGENT
from tests.agent_commands import NUMBER, OTHER, as_process, command, register, results, running
from tests.asterisk_manager import SECRET, FakeAsterisk
from tests.engine_stand_in import until

pytestmark = pytest.mark.needs("redis")


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


async def test_the_list_calls_and_a_restart(
    asterisk: FakeAsterisk, redis_server: EmbeddedRedis, redis: Any, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    asterisk.database = {"+77010000099": "1"}  # somebody wrote it there by hand
    asterisk.channels = {"PJSIP/trunk-00000001": ("1796069373.4", "a@192.0.2.1")}
    await register(redis, NUMBER, 1)
    options = {"address": f"127.0.0.1:{asterisk.port}", "secret_file": str(tmp_path / "secret"), "lease_s": 1.0}
    async with running(AGENT, redis_server.url, **options):
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


async def test_as_a_process(asterisk: FakeAsterisk, redis_server: EmbeddedRedis, redis: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    await register(redis, NUMBER, 1)
    options = {"address": f"127.0.0.1:{asterisk.port}", "secret_file": str(tmp_path / "secret")}
    async with as_process("asterisk", redis_server.url, **options):
        await until(lambda: NUMBER in asterisk.database)
