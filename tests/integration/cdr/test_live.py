"""The CDR adapter with a real Redis: followed, killed, restarted, and with Redis gone for a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import CallEvent, ConfigError
from antifraud.queues import EmbeddedRedis, Keys, connect, decode_event
from sip_adapters.cdr import ADAPTER

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("test")
HEADER = b"call_id,caller,callee,start,answer,end\n"


def record(at: int) -> bytes:
    return f"c{at},+77000000001,+7700000{at:04d},2024-11-23T10:00:00,,2024-11-23T10:00:30\n".encode()


@contextlib.asynccontextmanager
async def following(url: str, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
    ready = asyncio.Event()
    settings = {"mapping": "generic", "poll_s": 0.02, "enabled": True, "config_dir": "", **options}
    task = asyncio.create_task(ADAPTER.run(shard="test", redis_url=url, options=settings, ready=lambda _: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if task.done():
            task.result()
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConfigError):
            await task


async def log(url: str, least: int) -> list[CallEvent]:
    """The events in the log once there are at least ``least``."""
    client = connect(url)
    try:
        while await client.xlen(KEYS.calls) < least:  # noqa: ASYNC110 - the events come from another task's Redis
            await asyncio.sleep(0.02)
        entries: Any = await client.xrange(KEYS.calls)
        return [decode_event(fields) for _, fields in entries]
    finally:
        await client.aclose()


async def test_a_growing_file_and_a_restart(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_bytes(HEADER + b"".join(map(record, range(1000))) + b"broken\n" + record(1000)[:20])
    async with following(redis_server.url, file=str(path)):
        await log(redis_server.url, 2000)
        while not (tmp_path / "calls.csv.checkpoint").exists():  # noqa: ASYNC110 - a file cannot call back
            await asyncio.sleep(0.02)
    with path.open("ab") as file:
        file.write(record(1000)[20:] + record(1001))
    async with following(redis_server.url, file=str(path)):
        events = await log(redis_server.url, 2004)
    keys = {(event.kind, event.call_id) for event in events}
    assert len(keys) == 2004
    client = connect(redis_server.url)
    counters: Mapping[bytes, bytes] = await client.hgetall(KEYS.counters)
    await client.aclose()
    assert counters[b"quarantine.columns-missing"] in (b"1", b"2")


async def test_nothing_is_lost_while_redis_is_away(tmp_path: Path, free_port: Callable[[], int]) -> None:
    path = tmp_path / "calls.csv"
    path.write_bytes(HEADER + record(1))
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    async with following(url, file=str(path), checkpoint=str(tmp_path / "kept")):
        await asyncio.sleep(0.05)
        assert not (tmp_path / "kept").exists()
        with EmbeddedRedis(tcp_port=port):
            events = await log(url, 2)
    assert [event.call_id for event in events] == ["c1", "c1"]


async def test_other_columns_after_a_rotation(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_bytes(HEADER + record(1))
    async with following(redis_server.url, file=str(path)):
        await log(redis_server.url, 2)
        path.rename(tmp_path / "calls.csv.1")
        path.write_bytes(b"other,columns\n1,2\n")
        client = connect(redis_server.url)
        while not await client.xlen(KEYS.quarantine):  # noqa: ASYNC110 - Redis cannot call back
            await asyncio.sleep(0.02)
        path.rename(tmp_path / "calls.csv.2")
        path.write_bytes(HEADER + record(2))
        events = await log(redis_server.url, 4)
        await client.aclose()
    assert {event.call_id for event in events} == {"c1", "c2"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "adapters.cdr.file is missing"),
        ({"file": "x", "mapping": "nonsense"}, "there is no CDR mapping"),
        ({"file": "x", "poll_s": "never"}, "adapters.cdr: expected `float`"),
        ({"file": "x", "fiel": "y"}, "unknown field `fiel`"),
    ],
)
async def test_mistakes_in_the_options(options: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        async with following("unix:///nonexistent", **options):
            pass
    assert words in caught.value.render()
