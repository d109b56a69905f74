"""Alerts through a real Redis and a real mosquitto: topics, payloads, and what happens when either goes away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import Decision, Reason
from antifraud.engine.alerts import GROUP, Explain, run_alerts
from antifraud.queues import EmbeddedRedis, Keys, connect, encode_decision
from antifraud.settings import AlertSettings

pytestmark = pytest.mark.needs("redis", "mosquitto")
KEYS = Keys("kz")


def decision(number: int, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "id": f"d{number:04d}",
        "call_id": f"call-{number}@switch.example",
        "ts": 1_763_800_000.0 + number,
        "shard": "kz",
        "region": "KZ-75",
        "verdict": "block",
        "full_verdict": "block",
        "ceiling": "block",
        "caller": "+77000000001",
        "callee": "+77000000002",
        "reasons": (Reason("rule:spoofed-cli", "block", "номер Казахстана пришёл из-за рубежа"),),
        "score": 0.98,
    }
    return Decision(**values | changes)


async def write(redis: Any, *decisions: Decision) -> None:
    for one in decisions:
        await redis.xadd(KEYS.decisions, encode_decision(one))


@contextlib.asynccontextmanager
async def running(url: str, options: AlertSettings, explain: Explain | None = None) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_alerts(url, "kz", options, stop, explain=explain))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def waiting(redis: Any) -> int:
    """Entries that the group has not acknowledged: given out, or not yet read."""
    for group in await redis.xinfo_groups(KEYS.decisions):
        if group["name"] == GROUP.encode():
            return int(group["pending"]) + int(group["lag"] or 0)
    return int(await redis.xlen(KEYS.decisions))


@pytest.fixture
def options(broker: Any) -> AlertSettings:
    return AlertSettings(url=broker.url, topic_prefix="operator/antifraud", consumer="here", timeout_s=5.0)


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Any]:
    client = connect(redis_server.url)
    yield client
    await client.aclose()


async def test_every_region_and_verdict_has_its_topic_and_what_is_allowed_stays_quiet(
    redis: Any, redis_server: EmbeddedRedis, inbox: Any, options: AlertSettings, until: Callable[..., Any]
) -> None:
    await write(
        redis,
        decision(1),
        decision(2, region="KZ-71", verdict="divert", ceiling="divert", target="sip:desk@kz-71.desk.example"),
        decision(3, region="KZ-23", verdict="allow", ceiling="shadow"),
        decision(4, region="KZ-10", verdict="allow", ceiling="off"),
        decision(5, verdict="allow", full_verdict="allow"),
        decision(6, duplicate=True),
        decision(7, protected=True, verdict="allow"),
        decision(8, late=True, score=None),
        decision(9, region="KZ-11", verdict="label", full_verdict="label", ceiling="label"),
    )
    async with running(redis_server.url, options):
        await until(lambda: "d0009" in inbox.ids)
    assert sorted((topic, payload["id"]) for topic, payload in inbox.messages) == [
        ("operator/antifraud/kz/KZ-11/label", "d0009"),
        ("operator/antifraud/kz/KZ-23/allow", "d0003"),
        ("operator/antifraud/kz/KZ-71/divert", "d0002"),
        ("operator/antifraud/kz/KZ-75/block", "d0001"),
        ("operator/antifraud/kz/KZ-75/block", "d0008"),
    ]
    by_id = {payload["id"]: payload for _topic, payload in inbox.messages}
    assert by_id["d0002"] == {
        "v": 1,
        "id": "d0002",
        "call_id": "call-2@switch.example",
        "ts": 1_763_800_002.0,
        "shard": "kz",
        "region": "KZ-71",
        "ceiling": "divert",
        "caller": "+77000000001",
        "callee": "+77000000002",
        "verdict": "divert",
        "full_verdict": "block",
        "reasons": [{"by": "rule:spoofed-cli", "verdict": "block", "text": "номер Казахстана пришёл из-за рубежа"}],
        "target": "sip:desk@kz-71.desk.example",
        "score": 0.98,
        "late": False,
        "explanation": [],
    }
    assert by_id["d0008"]["late"] is True
    assert by_id["d0008"]["score"] is None
    assert await waiting(redis) == 0
    assert await redis.hget(KEYS.counters, "alerts.published") == b"5"


async def test_nothing_is_lost_while_the_broker_is_away(
    redis: Any,
    redis_server: EmbeddedRedis,
    broker: Any,
    inbox: Any,
    options: AlertSettings,
    until: Callable[..., Any],
) -> None:
    async with running(redis_server.url, options):
        await write(redis, *(decision(number) for number in range(40)))
        await until(lambda: len(inbox.ids) == 40)
        await asyncio.to_thread(broker.stop)
        await write(redis, *(decision(number) for number in range(40, 640)))
        assert await waiting(redis) == 600
        (group,) = await redis.xinfo_groups(KEYS.decisions)
        assert group["pending"] <= 256, "more than one batch was taken out of Redis"
        await asyncio.to_thread(broker.start)
        await until(lambda: len(inbox.ids) == 640)
    assert inbox.ids == {f"d{number:04d}" for number in range(640)}
    assert await waiting(redis) == 0


async def test_a_broker_that_was_never_there_is_waited_for(
    redis: Any,
    redis_server: EmbeddedRedis,
    broker: Any,
    inbox: Any,
    options: AlertSettings,
    until: Callable[..., Any],
) -> None:
    await asyncio.to_thread(broker.stop)
    async with running(redis_server.url, options):
        await write(redis, decision(1))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(broker.start)
        await until(lambda: inbox.ids == {"d0001"})


async def test_a_broker_with_tls_and_a_password(
    tmp_path: Path, redis: Any, redis_server: EmbeddedRedis, secure_broker: Any, until: Callable[..., Any]
) -> None:
    options = AlertSettings(
        url=f"mqtts://antifraud@localhost:{secure_broker.port}",
        password_file=str(secure_broker.password_file),
        ca_file=str(secure_broker.ca_file),
    )
    await write(redis, decision(1))
    async with running(redis_server.url, options):
        async with asyncio.timeout(30):
            while not await redis.hget(KEYS.counters, "alerts.published"):  # noqa: ASYNC110 - nobody here could set an event
                await asyncio.sleep(0.02)


async def test_a_redis_that_restarts_goes_on_where_it_was(
    tmp_path: Path, inbox: Any, options: AlertSettings, until: Callable[..., Any]
) -> None:
    server = EmbeddedRedis(tmp_path / "r")
    server.start()
    client = connect(server.url)
    try:
        async with running(server.url, options):
            await write(client, decision(1))
            await until(lambda: inbox.ids == {"d0001"})
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.start)
            await client.connection_pool.disconnect()
            await write(client, decision(2))
            await until(lambda: inbox.ids == {"d0001", "d0002"})
    finally:
        await client.aclose()
        server.stop()


async def test_a_redis_that_lost_everything_gets_its_group_back(
    redis: Any, redis_server: EmbeddedRedis, inbox: Any, options: AlertSettings, until: Callable[..., Any]
) -> None:
    async with running(redis_server.url, options):
        await write(redis, decision(1))
        await until(lambda: "d0001" in inbox.ids)
        await redis.flushall()
        await write(redis, decision(2))
        await until(lambda: "d0002" in inbox.ids)


async def test_what_a_dead_process_was_given_is_sent_by_the_next_one(
    redis: Any, redis_server: EmbeddedRedis, inbox: Any, options: AlertSettings, until: Callable[..., Any]
) -> None:
    await redis.xgroup_create(KEYS.decisions, GROUP, id="0", mkstream=True)
    await write(redis, decision(1), decision(2))
    given = await redis.xreadgroup(GROUP, "here", {KEYS.decisions: ">"})
    assert len(given[0][1]) == 2
    async with running(redis_server.url, options):
        await until(lambda: inbox.ids == {"d0001", "d0002"})
    assert await waiting(redis) == 0


async def test_another_machines_leftovers_are_taken_over(
    redis: Any, redis_server: EmbeddedRedis, inbox: Any, options: AlertSettings, until: Callable[..., Any]
) -> None:
    await redis.xgroup_create(KEYS.decisions, GROUP, id="0", mkstream=True)
    await write(redis, decision(1), decision(2))
    ((_stream, entries),) = await redis.xreadgroup(GROUP, "gone", {KEYS.decisions: ">"})
    # Two minutes without a sign of life from that consumer.
    await redis.xclaim(
        KEYS.decisions, GROUP, "gone", min_idle_time=0, message_ids=[entry for entry, _ in entries], idle=120_000
    )
    async with running(redis_server.url, options):
        await until(lambda: inbox.ids == {"d0001", "d0002"})
    assert await waiting(redis) == 0


async def test_garbled_and_trimmed_entries_are_counted_and_stop_nothing(
    redis: Any, redis_server: EmbeddedRedis, inbox: Any, options: AlertSettings, until: Callable[..., Any]
) -> None:
    await redis.xgroup_create(KEYS.decisions, GROUP, id="0", mkstream=True)
    await write(redis, decision(1))
    ((_stream, entries),) = await redis.xreadgroup(GROUP, "here", {KEYS.decisions: ">"})
    await redis.xdel(KEYS.decisions, entries[0][0])
    await redis.xadd(KEYS.decisions, {"d": b'{"id":"\xff'})
    await redis.xadd(KEYS.decisions, {"something": "else"})
    await write(redis, decision(2))
    async with running(redis_server.url, options):
        await until(lambda: inbox.ids == {"d0002"})
    assert await waiting(redis) == 0
    assert await redis.hmget(KEYS.counters, "alerts.lost", "alerts.garbled") == [b"1", b"2"]


async def test_whoever_turns_alerts_on_is_not_told_about_days_that_are_over(
    redis: Any, redis_server: EmbeddedRedis, inbox: Any, options: AlertSettings, until: Callable[..., Any]
) -> None:
    seconds, _micros = await redis.time()
    await redis.xadd(KEYS.decisions, encode_decision(decision(1)), id=f"{seconds * 1000 - 3_600_000}-0")
    await write(redis, decision(2))
    async with running(redis_server.url, options):
        await until(lambda: "d0002" in inbox.ids)
    assert inbox.ids == {"d0002"}


async def test_alerts_say_why_of_the_score_and_never_wait_long_for_it(
    redis: Any, redis_server: EmbeddedRedis, inbox: Any, options: AlertSettings, until: Callable[..., Any]
) -> None:
    threads = set()

    def explain(one: Decision) -> tuple[str, ...]:
        threads.add(threading.current_thread())
        time.sleep(0.3 if one.id == "d0002" else 0)
        return ("почему", one.id)

    await write(redis, decision(0), *(decision(number, features=(1.0, None)) for number in (1, 2, 3)))
    async with running(redis_server.url, options, explain):
        await until(lambda: "d0003" in inbox.ids)
        await write(redis, decision(4, features=(1.0, None)))
        await until(lambda: "d0004" in inbox.ids)
    said = {payload["id"]: payload["explanation"] for _topic, payload in inbox.messages}
    assert said == {
        "d0000": [],
        "d0001": ["почему", "d0001"],
        "d0002": ["почему", "d0002"],
        "d0003": [],  # the time for this batch was over
        "d0004": ["почему", "d0004"],
    }
    assert threading.current_thread() not in threads
    assert await redis.hget(KEYS.counters, "alerts.unexplained") == b"1"


async def test_alerts_go_on_when_nothing_can_be_explained(
    redis: Any, redis_server: EmbeddedRedis, inbox: Any, options: AlertSettings, until: Callable[..., Any]
) -> None:
    def explain(one: Decision) -> tuple[str, ...]:
        raise ValueError(one.id)

    await write(redis, decision(1, features=(1.0,)), decision(2, features=(1.0,)))
    async with running(redis_server.url, options, explain):
        await until(lambda: {"d0001", "d0002"} <= set(inbox.ids))
    assert [payload["explanation"] for _topic, payload in inbox.messages] == [[], []]
