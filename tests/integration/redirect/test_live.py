"""The redirect server over real UDP and a real Redis, with a stand-in for the engine; and with Redis gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import CallAnswer, CallEvent, ConfigError, EventKind, PlacedCall, UsageError
from antifraud.queues import EmbeddedRedis, Keys, Reply, connect, decode_event, encode_reply
from sip_adapters.conformance import hostile_datagrams, invite
from sip_adapters.redirect import ADAPTER, CALLER, PlaceCall

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("test")
VERDICTS = {"1": "block", "2": "divert", "3": "label", "4": "challenge", "5": "allow"}


@contextlib.asynccontextmanager
async def adapter(url: str, **options: Any) -> AsyncIterator[str]:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    settings = {"trusted_headers": True, **options}
    task = asyncio.create_task(ADAPTER.run(shard="test", redis_url=url, options=settings, ready=address.set_result))
    try:
        await asyncio.wait({address, task}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        if task.done():
            task.result()
        yield address.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConfigError):
            await task


@contextlib.asynccontextmanager
async def caller(address: str) -> AsyncIterator[PlaceCall]:
    place = await CALLER.open(address)
    try:
        yield place
    finally:
        place.close()


async def stand_in(url: str, seen: list[CallEvent]) -> None:
    """Answers by the last digit of the called number."""
    client = connect(url)
    last = "0"
    try:
        while True:
            found: Any = await client.xread({KEYS.calls: last}, count=500, block=200)
            for _, entries in found:
                async with client.pipeline(transaction=False) as pipe:
                    for entry_id, fields in entries:
                        last = entry_id
                        event = decode_event(fields)
                        seen.append(event)
                        verdict = VERDICTS.get(event.callee_raw[-1])
                        if event.reply and verdict:
                            reply = Reply(
                                verdict=verdict, call_id=event.call_id, target="sip:desk@192.0.2.9", label="warn"
                            )
                            pipe.rpush(event.reply, encode_reply(reply))
                    await pipe.execute()
    finally:
        await client.aclose()


@pytest.fixture
async def seen(redis_server: EmbeddedRedis) -> AsyncIterator[list[CallEvent]]:
    events: list[CallEvent] = []
    task = asyncio.create_task(stand_in(redis_server.url, events))
    yield events
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def find_sipp() -> str:
    found = shutil.which("sipp", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    assert found is not None
    return found


async def first_entry(client: Any) -> None:
    while not await client.xlen(KEYS.calls):  # noqa: ASYNC110 - the event happens in another process
        await asyncio.sleep(0.02)


def call(number: int, callee: str, **fields: Any) -> PlacedCall:
    return PlacedCall(
        CallEvent(
            kind=EventKind.SETUP,
            call_id=f"live-{number}",
            ts=0.0,
            caller_raw="+77000000001",
            callee_raw=callee,
            **fields,
        )
    )


async def test_every_verdict_comes_back(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    async with adapter(redis_server.url, deadline_ms=5_000) as address, caller(address) as place:
        answers = {digit: await place(call(int(digit), f"+7700000000{digit}", trunk="intl-1")) for digit in VERDICTS}
    assert {digit: answer.verdict for digit, answer in answers.items()} == VERDICTS
    assert [answers[digit].status for digit in "12345"] == [608, 302, 404, 302, 404]
    assert {event.trunk for event in seen} == {"intl-1"}


async def test_three_hundred_calls_at_once_over_one_socket(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    async with adapter(redis_server.url, deadline_ms=20_000) as address, caller(address) as place:
        answers: list[CallAnswer] = await asyncio.gather(*(place(call(at, f"+77000000{at:03d}1")) for at in range(300)))
    assert {answer.status for answer in answers} == {608}
    assert len({event.call_id for event in seen}) == 300


async def test_no_engine_and_every_call_goes_on(redis_server: EmbeddedRedis) -> None:
    async with adapter(redis_server.url, deadline_ms=100) as address, caller(address) as place:
        answers = await asyncio.gather(*(place(call(at, "+77000000001")) for at in range(20)))
        assert {(answer.verdict, answer.status) for answer in answers} == {("allow", 404)}
    client = connect(redis_server.url)
    assert await client.xlen(KEYS.calls) == 20
    counters: Mapping[bytes, bytes] = await client.hgetall(KEYS.counters)
    await client.aclose()
    assert counters[b"redirect.go-on.deadline"] == b"20"


async def test_no_redis_and_every_call_goes_on() -> None:
    async with adapter("unix:///nonexistent/redis.sock", deadline_ms=5_000) as address, caller(address) as place:
        answers = await asyncio.gather(*(place(call(at, "+77000000001")) for at in range(20)))
    assert {answer.status for answer in answers} == {404}


async def test_redis_that_hangs_holds_no_call(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    async with adapter(redis_server.url, deadline_ms=150) as address, caller(address) as place:
        os.kill(redis_server.pid, signal.SIGSTOP)
        try:
            answers = await asyncio.gather(*(place(call(at, "+77000000001")) for at in range(20)))
        finally:
            os.kill(redis_server.pid, signal.SIGCONT)
    assert {answer.status for answer in answers} == {404}


async def test_calls_during_an_outage_reach_the_log_afterwards(
    redis_server: EmbeddedRedis, free_port: Callable[[], int]
) -> None:
    port = free_port()
    async with adapter(f"redis://127.0.0.1:{port}/0", deadline_ms=500) as address, caller(address) as place:
        assert (await place(call(1, "+77000000001"))).status == 404
        with EmbeddedRedis(tcp_port=port) as later:
            client = connect(later.url)
            await first_entry(client)
            (entry,) = await client.xrange(KEYS.calls)
            await client.aclose()
    event = decode_event(entry[1])
    assert (event.call_id, event.reply, event.deadline_ms) == ("live-1", "", 0)


async def test_garbage_is_counted_and_a_flood_of_it_cannot_fill_redis(redis_server: EmbeddedRedis) -> None:
    async with adapter(redis_server.url) as address:
        host, port = address.rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((host, int(port)))
            for _ in range(20):
                for datagram in hostile_datagrams():
                    sender.send(datagram)
                await asyncio.sleep(0.005)
            sender.send(invite(callee="112", call_id="last"))
            sender.settimeout(0)
            client = connect(redis_server.url)
            await first_entry(client)
    counters: Mapping[bytes, bytes] = await client.hgetall(KEYS.counters)
    kept = await client.xlen(KEYS.quarantine)
    await client.aclose()
    total = int(counters[b"redirect.malformed"])
    by_code = sum(int(number) for name, number in counters.items() if name.startswith(b"quarantine."))
    assert total == by_code == 20 * len(hostile_datagrams())
    assert 0 < kept <= 150 < total


@pytest.mark.needs("sipp")
async def test_sipp_gets_an_answer_to_every_call(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    """SIPp numbers its calls, so the stand-in answers half of them and leaves half to the deadline."""
    async with adapter(redis_server.url, deadline_ms=100) as address:
        process = await asyncio.create_subprocess_exec(
            find_sipp(), address, "-sf", str(Path(__file__).with_name("uac.xml")), "-i", "127.0.0.1",
            "-r", "150", "-m", "300", "-nostdin", "-timeout", "60", "-timeout_error",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert await process.wait() == 0
    assert len({event.call_id for event in seen}) == 300
    client = connect(redis_server.url)
    counters: Mapping[bytes, bytes] = await client.hgetall(KEYS.counters)
    await client.aclose()
    assert int(counters[b"redirect.invite"]) == 300


async def test_an_address_that_cannot_be_served_or_called() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:5060 cannot be served"):
        async with adapter("unix:///nonexistent", listen="192.0.2.1:5060"):
            pass
    with pytest.raises(UsageError, match="is no address"):
        await CALLER.open("nowhere")
