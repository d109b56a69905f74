"""The engine's own connection, against a real Redis and against a server that is none."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from redis import exceptions as redis_errors

from antifraud.queues import REDIS_ERRORS, EmbeddedRedis, connect
from antifraud.queues.wire import Wire

pytestmark = pytest.mark.needs("redis")


@pytest.fixture(params=["", "protocol=2", "protocol=3"])
async def wire(redis_server: EmbeddedRedis, request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    url, option = redis_server.url, str(request.param)
    client = connect(f"{url}{'&' if '?' in url else '?'}{option}" if option else url, timeout_s=0.5)
    made = Wire(client, 0.5)
    yield made
    await made.aclose()
    await client.aclose()


async def test_what_a_transaction_writes_is_read_back(wire: Wire) -> None:
    pipe = wire.transaction()
    pipe.xadd("log", {"a": "ünï", "b": b"\x00\r\n", "c": ""})
    pipe.xadd("log", {"n": "2"}, maxlen=1000)
    pipe.xadd("cut", {"n": "1"}, maxlen=1, approximate=False)
    pipe.xadd("cut", {"n": "2"}, maxlen=1, approximate=False)
    pipe.rpush("list", "one", b"two")
    pipe.pexpire("list", 60_000)
    pipe.hset("hash", "gone", "1")
    pipe.hset("hash", mapping={"id": "7", "at": b"8"})
    pipe.hdel("hash", "gone")
    results = await pipe.execute()
    assert results[4:] == [2, 1, 1, 2, 1]
    found = await wire.read({"log": "0-0", "cut": "0-0", "nothing": "0-0"}, count=10, block_ms=1)
    assert [fields for _at, fields in found[b"log"]] == [
        {b"a": "ünï".encode(), b"b": b"\x00\r\n", b"c": b""},
        {b"n": b"2"},
    ]
    assert [at for at, _fields in found[b"log"]] == results[:2]
    assert [fields for _at, fields in found[b"cut"]] == [{b"n": b"2"}]
    assert b"nothing" not in found
    assert len((await wire.read({"log": "0-0"}, count=1, block_ms=1))[b"log"]) == 1
    assert await wire.read({"nothing": "$"}, count=10, block_ms=1) == {}


async def test_much_at_once_comes_whole(wire: Wire) -> None:
    """More than one read from the socket brings."""
    pipe = wire.transaction()
    for number in range(2_000):
        pipe.xadd("log", {"n": str(number), "filling": "x" * 500})
    assert len(await pipe.execute()) == 2_000
    found = await wire.read({"log": "0-0"}, count=5_000, block_ms=1)
    assert [fields[b"n"] for _at, fields in found[b"log"]] == [b"%d" % number for number in range(2_000)]


async def test_a_command_that_fails_does_not_undo_the_others(wire: Wire) -> None:
    pipe = wire.transaction()
    pipe.xadd("stream", {"a": "b"})
    pipe.rpush("stream", "no list")
    pipe.hset("hash", "a", "b")
    results = await pipe.execute()
    assert isinstance(results[1], redis_errors.ResponseError)
    assert "WRONGTYPE" in str(results[1])
    assert results[2] == 1
    with pytest.raises(redis_errors.ResponseError, match="WRONGTYPE"):
        await wire.read({"hash": "0-0"}, count=1, block_ms=1)
    assert await wire.read({"none": "0-0"}, count=1, block_ms=1) == {}, "the connection goes on"


async def test_a_transaction_that_redis_refuses_is_an_error_and_may_be_done_again(
    wire: Wire, redis_server: EmbeddedRedis
) -> None:
    admin = connect(redis_server.url)
    pipe = wire.transaction()
    pipe.rpush("list", "one")
    await admin.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis_errors.ResponseError, match="OOM"):
            await pipe.execute()
    finally:
        await admin.config_set("maxmemory", "0")
    assert await pipe.execute() == [1]
    await admin.aclose()


async def test_a_redis_that_is_no_master_any_more_is_left(wire: Wire, redis_server: EmbeddedRedis) -> None:
    """The address may stand for another one by then."""
    admin = connect(redis_server.url)
    pipe = wire.transaction()
    pipe.rpush("list", "one")
    assert await pipe.execute() == [1]
    before = (await admin.info("stats"))["total_connections_received"]
    await admin.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(redis_errors.ResponseError, match="READONLY"):
            await pipe.execute()
    finally:
        await admin.replicaof("no", "one")
    assert await pipe.execute() == [2]
    assert (await admin.info("stats"))["total_connections_received"] == before + 1
    await admin.aclose()


async def test_a_redis_that_hangs_is_an_error_in_bounded_time_and_its_answer_belongs_to_nobody(
    wire: Wire, redis_server: EmbeddedRedis
) -> None:
    assert await wire.read({"log": "0-0"}, count=1, block_ms=1) == {}
    os.kill(redis_server.pid, signal.SIGSTOP)
    pipe = wire.transaction()
    pipe.hset("hash", "a", "1")
    try:
        with pytest.raises(redis_errors.TimeoutError, match=r"no answer in 0\.5 s"):
            await asyncio.wait_for(pipe.execute(), 10)
        with pytest.raises(REDIS_ERRORS):
            await asyncio.wait_for(pipe.execute(), 10)
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    assert await wire.read({"log": "0-0"}, count=1, block_ms=1) == {}
    assert await pipe.execute() in ([0], [1])


async def test_a_connection_that_is_killed_is_made_again(wire: Wire, redis_server: EmbeddedRedis) -> None:
    admin = connect(redis_server.url)
    assert await wire.read({"log": "0-0"}, count=1, block_ms=1) == {}
    reading = asyncio.create_task(wire.read({"log": "0-0"}, count=1, block_ms=5_000))
    await asyncio.sleep(0.1)
    await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(redis_errors.ConnectionError, match="connection lost"):
        await asyncio.wait_for(reading, 10)
    assert await wire.read({"log": "0-0"}, count=1, block_ms=1) == {}
    await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.1)
    assert await wire.read({"log": "0-0"}, count=1, block_ms=1) == {}, "lost while nobody asked: nobody notices"
    await admin.aclose()


async def test_a_request_that_is_given_up_leaves_no_answer_behind(wire: Wire) -> None:
    reading = asyncio.create_task(wire.read({"log": "$"}, count=1, block_ms=5_000))
    await asyncio.sleep(0.1)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    pipe = wire.transaction()
    pipe.rpush("list", "one")
    assert await pipe.execute() == [1]


async def test_nobody_there_is_an_error(unused_tcp_port: int) -> None:
    client = connect(f"redis://127.0.0.1:{unused_tcp_port}", timeout_s=0.5)
    with pytest.raises(REDIS_ERRORS):
        await Wire(client, 0.5).read({"log": "0-0"}, count=1, block_ms=1)
    await client.aclose()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not the Redis protocol"),
        (b"*-1\r\n*-1\r\n", "nobody asked for"),
        (b">2\r\n+invalidate\r\n*-1\r\n*-1\r\n", ""),
        (b">2\r\n+inval|idate\r\n*-1\r\n*|-1\r\n|>2\r\n+invalidate\r\n*-1\r\n", ""),
        (b"$999999999\r\nabc", "no answer in"),
        (b"", "connection lost"),
    ],
)
async def test_a_server_that_says_something_else(said: bytes, why: str) -> None:
    """What is no answer is an error in bounded time; a push between answers is passed over."""

    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.append(task)
        while line := await reader.read(65_536):
            if b"XREAD" in line:
                for part in said.split(b"|"):
                    writer.write(part)
                    await asyncio.sleep(0.02)
                if not said:
                    break
            elif b"PING" in line:
                writer.write(b"+PONG\r\n")
            else:
                writer.write(b"+OK\r\n" * line.count(b"*"))
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}?protocol=2", timeout_s=0.5)
    wire = Wire(client, 0.5)
    try:
        if why:
            with pytest.raises(REDIS_ERRORS, match=why):
                await asyncio.wait_for(wire.read({"log": "0-0"}, count=1, block_ms=1), 10)
        else:
            assert await wire.read({"log": "0-0"}, count=1, block_ms=1) == {}
            await asyncio.sleep(0.1)
            assert await wire.read({"log": "0-0"}, count=1, block_ms=1) == {}
            assert len(served) == 1, "one connection"
    finally:
        await wire.aclose()
        await client.aclose()
        await asyncio.gather(*served)
        server.close()
