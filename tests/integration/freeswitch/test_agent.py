"""The agent with a real Redis and a FreeSWITCH's event socket over TCP; as a process as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antifraud.queues import EmbeddedRedis, connect
from sip_adapters.switches.freeswitch import AGENT
from tests.agent_commands import NUMBER, OTHER, as_process, command, register, results, running
from tests.engine_stand_in import until
from tests.freeswitch_events import PASSWORD, FakeFreeSwitch

pytestmark = pytest.mark.needs("redis")
UUID = "0b5a8f3e-8d0c-4b0e-9a34-6a1f3c1d2e4f"


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


async def test_the_list_calls_and_a_restart(
    freeswitch: FakeFreeSwitch, redis_server: EmbeddedRedis, redis: Any, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(f"{PASSWORD}\n")
    freeswitch.database = {"antifraud_block_+77010000099": "1"}  # somebody wrote it there by hand
    freeswitch.channels = {UUID: (NUMBER, OTHER, "a@192.0.2.1")}
    await register(redis, NUMBER, 1)
    options = {"address": f"127.0.0.1:{freeswitch.port}", "password_file": str(tmp_path / "secret"), "lease_s": 1.0}
    async with running(AGENT, redis_server.url, **options):
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


async def test_as_a_process(
    freeswitch: FakeFreeSwitch, redis_server: EmbeddedRedis, redis: Any, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(f"{PASSWORD}\n")
    await register(redis, NUMBER, 1)
    options = {"address": f"127.0.0.1:{freeswitch.port}", "password_file": str(tmp_path / "secret")}
    async with as_process("freeswitch", redis_server.url, **options):
        await until(lambda: NUMBER in listed(freeswitch))
