"""The agent's runner with a real Redis and a switch in memory that can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import redis.asyncio as aredis

from antifraud.queues import EmbeddedRedis, Keys, connect
from antifraud.queues.commands import (
    GROUP,
    Block,
    Command,
    Outcome,
    command_id,
    decode_outcome,
    encode_block,
    encode_command,
)
from sip_adapters.agents import Agent, AgentOptions
from sip_adapters.conformance.switches import MemorySwitch

pytestmark = pytest.mark.needs("redis")
SWITCH = "sw-kz-75"
KEYS = Keys("kz")
STREAM = KEYS.commands(SWITCH)
OPTIONS = AgentOptions("kz", SWITCH, "KZ-75", consumer="a", lease_s=1.0, epoch_s=0.05, resync_s=600.0)


class Desk:
    """What a test does on the engine's side: writes the register and commands, reads outcomes."""

    def __init__(self, client: aredis.Redis) -> None:
        self.redis: Any = client
        self.given = 0

    async def register(
        self, number: str, state: str = "blocked", seq: int = 1, left: float = 600, region: str = ""
    ) -> None:
        block = Block(number, state, time.time() + left, seq, region)
        await self.redis.hset(KEYS.blocks, number, encode_block(block))

    async def command(self, op: str, number: str = "", seq: int = 1, **more: Any) -> Command:
        self.given += 1
        until = time.time() + 600 if op == "block" else 0.0
        identity = command_id(SWITCH, op, number or str(self.given), seq, "")
        command = Command(identity, op, number, until=until, seq=seq, at=time.time(), **more)
        await self.redis.xadd(STREAM, encode_command(command))
        return command

    async def block(self, number: str, seq: int = 1) -> Command:
        await self.register(number, seq=seq)
        return await self.command("block", number, seq)

    async def outcomes(self) -> list[Outcome]:
        return [decode_outcome(fields) for _, fields in await self.redis.xrange(KEYS.outcomes)]

    async def results(self, count: int, seconds: float = 10) -> list[tuple[str, str]]:
        """(operation, result) of the first ``count`` outcomes, once they are there."""
        await until(lambda: self.has_outcomes(count), seconds)
        return [(outcome.op, outcome.result) for outcome in await self.outcomes()]

    async def has_outcomes(self, count: int) -> bool:
        return bool(await self.redis.xlen(KEYS.outcomes) >= count)

    async def pending(self) -> int:
        return int((await self.redis.xpending(STREAM, GROUP))["pending"])

    async def counter(self, name: str) -> int:
        return int(await self.redis.hget(KEYS.counters, name) or 0)

    async def state(self) -> dict[str, Any]:
        return dict(msgspec.json.decode(await self.redis.hget(KEYS.agents, SWITCH) or b"{}"))


async def until(ready: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while True:
        found = ready()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def agent(
    url: str, switch: MemorySwitch, options: AgentOptions = OPTIONS, *, cleanly: bool = True
) -> AsyncIterator[Agent]:
    """An agent that serves; when not ``cleanly`` its lease stays behind, as when it was killed."""
    made = Agent(url, switch, options)
    task = asyncio.create_task(made.run(lambda _: None))
    try:
        yield made
        assert not task.done(), task
    finally:
        if not cleanly:
            made._lease.give_up = _nothing  # type: ignore[method-assign]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _nothing() -> None:
    pass


@pytest.fixture
async def desk(redis_server: EmbeddedRedis) -> AsyncIterator[Desk]:
    client = connect(redis_server.url)
    yield Desk(client)
    await client.aclose()


async def test_commands_are_carried_out_reported_and_acknowledged(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    switch.calls.add("call-1")
    async with agent(redis_server.url, switch):
        await desk.block("+77010000001")
        await desk.command("release", call_id="call-1")
        await desk.command("release", call_id="call-1")
        assert await desk.results(3) == [("block", "done"), ("release", "done"), ("release", "gone")]
        assert list(switch.blocked) == ["+77010000001"]
        await desk.register("+77010000001", "cleared", 2)
        await desk.command("unblock", "+77010000001", 2)
        assert (await desk.results(4))[3] == ("unblock", "done")
        assert switch.blocked == {}
        assert await desk.pending() == 0
        first = (await desk.outcomes())[0]
        assert (first.switch, first.agent) == (SWITCH, "a")
        assert 0 < first.took_s < 5


async def test_old_and_repeated_commands_bring_no_old_state_back(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    await desk.register("+77010000001", "cleared", 7)
    for seq in (5, 5, 6):
        await desk.command("block", "+77010000001", seq)
    await desk.command("unblock", "+77010000001", 7)
    await desk.command("block", "+77010000001", 5)
    async with agent(redis_server.url, switch):
        results = await desk.results(5)
    assert results == [("block", "superseded")] * 3 + [("unblock", "done"), ("block", "superseded")]
    assert switch.blocked == {}
    assert ("block", "+77010000001") not in switch.asked


async def test_what_cannot_be_understood_is_refused_and_quarantined(redis_server: EmbeddedRedis, desk: Desk) -> None:
    await desk.redis.xadd(STREAM, {"op": "destroy", "id": "beef"})
    await desk.redis.xadd(STREAM, {"op": "block", "id": "no hex\r\n", "number": "+77010000001", "until": "1e12"})
    await desk.redis.xadd(STREAM, {"op": "block", "id": "ab", "number": "'; DROP", "until": "1e12"})
    await desk.redis.xadd(STREAM, {b"\xff\x00": b"\xff" * 9000})
    await desk.block("+77010000002")
    async with agent(redis_server.url, MemorySwitch()):
        results = await desk.results(5)
        assert results == [("", "refused")] * 4 + [("block", "done")]
        assert await desk.pending() == 0
    assert (await desk.outcomes())[0].id == "beef"
    kept = await desk.redis.xrange(KEYS.quarantine)
    codes = [fields[b"code"].decode() for _, fields in kept]
    assert codes == ["command-op-unknown", "command-id", "command-subject", "command-too-large"]
    assert all(fields[b"source"] == b"agent.sw-kz-75" for _, fields in kept)
    assert all(len(fields[b"raw"]) <= 2048 for _, fields in kept)


async def test_a_switch_that_is_away_loses_nothing(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    switch.away = True
    for number in range(250):
        await desk.block(f"+7701000{number:04d}")
    async with agent(redis_server.url, switch):
        await until(lambda: len(switch.asked) > 4)
        assert await desk.outcomes() == []
        assert 0 < await desk.pending() <= 100
        await until(lambda: _trouble(desk))
        switch.away = False
        assert await desk.results(250, 15) == [("block", "done")] * 250
        await until(lambda: len(switch.blocked) == 250)
        assert await desk.pending() == 0


async def _trouble(desk: Desk) -> bool:
    return "does not answer" in (await desk.state()).get("trouble", "")


async def test_what_only_one_command_suffers_from_does_not_hold_the_others_up(
    redis_server: EmbeddedRedis, desk: Desk
) -> None:
    switch = MemorySwitch()
    switch.refuses.add("refused")
    switch.mute.add("mute")
    await desk.command("release", call_id="refused")
    await desk.command("release", call_id="mute")
    await desk.block("+77010000003")
    async with agent(redis_server.url, switch):
        assert await desk.results(3) == [("release", "failed"), ("release", "failed"), ("block", "done")]
    details = [outcome.detail for outcome in await desk.outcomes()]
    assert details[:2] == ["the switch says no", "the switch answers, but not this: the switch does not answer"]


async def test_a_restarted_switch_gets_its_list_again(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    async with agent(redis_server.url, switch):
        for number in range(2_500):
            await desk.register(f"+7701000{number:04d}")
        await desk.register("+77010009001", "cleared")
        await desk.register("+77010009002", region="KZ-75")
        await desk.register("+77010009003", region="KZ-10")
        await desk.register("+77010009004", left=-1)
        await desk.redis.hset(KEYS.blocks, "+77010009005", "garbage")
        await desk.redis.hset(KEYS.blocks, "+77010009006", encode_block(Block("+77010000001", "blocked", 2e9, 1)))
        switch.blocked["+77010009001"] = switch.blocked["+77010009900"] = time.time() + 600
        await until(lambda: _resyncs(desk, 1))
        switch.restart()
        switch.blocked["+77010009901"] = time.time() + 600
        await until(lambda: _resyncs(desk, 2))
        expected = {f"+7701000{number:04d}" for number in range(2_500)} | {"+77010009002"}
        await until(lambda: set(switch.blocked) == expected)
        await until(lambda: _synced(desk, 2_501))
        assert (await desk.state())["garbled"] == 2
        assert await desk.counter("agent.removed") >= 1
        assert switch.most_at_once == 1


async def _resyncs(desk: Desk, count: int) -> bool:
    return await desk.counter("agent.resyncs") >= count


async def _synced(desk: Desk, wanted: int) -> bool:
    return bool((await desk.state()).get("wanted") == wanted)


async def test_resync_on_command_mends_what_somebody_else_did(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    await desk.register("+77010000001")
    async with agent(redis_server.url, switch):
        await until(lambda: list(switch.blocked) == ["+77010000001"])
        await until(lambda: _resyncs(desk, 1))
        switch.blocked = {"+77010000009": time.time() + 99}
        await desk.command("resync")
        await desk.command("resync")
        assert await desk.results(2) == [("resync", "done")] * 2
        assert list(switch.blocked) == ["+77010000001"]
        assert (await desk.outcomes())[0].detail.startswith("1 blocked, 1 added, 1 removed, in ")
        assert await desk.pending() == 0


async def test_a_number_that_is_refused_keeps_nobody_else_from_being_freed_or_blocked(
    redis_server: EmbeddedRedis, desk: Desk
) -> None:
    switch = MemorySwitch()
    switch.blocked["+77010000009"] = time.time() + 600
    for number in range(3):
        await desk.register(f"+7701000000{number}")
    switch.refuses.add("+77010000000")
    await desk.command("resync")
    async with agent(redis_server.url, switch):
        assert await desk.results(1) == [("resync", "failed")]
        assert set(switch.blocked) == {"+77010000001", "+77010000002"}
        assert switch.asked.index(("unblock", "+77010000009")) < switch.asked.index(("block", "+77010000001"))
        await until(lambda: _refused(desk))
    assert "1 refused: the switch says no" in (await desk.outcomes())[0].detail


async def _refused(desk: Desk) -> bool:
    return (await desk.state()).get("refused") == 1


async def test_an_end_that_differs_is_mended(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    switch.blocked["+77010000001"] = time.time() + 5
    await desk.register("+77010000001", left=600)
    async with agent(redis_server.url, switch):
        await until(lambda: switch.blocked["+77010000001"] > time.time() + 500)


async def test_commands_do_not_wait_for_a_comparison(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    switch.slow_s = 0.001
    for number in range(3_000):
        await desk.register(f"+7701000{number:04d}")
    async with agent(redis_server.url, switch):
        await until(lambda: len(switch.blocked) > 300)
        began = time.monotonic()
        await desk.block("+77010009999")
        await until(lambda: "+77010009999" in switch.blocked)
        assert time.monotonic() - began < 1.5
        assert len(switch.blocked) < 3_000


async def test_pending_commands_of_an_agent_that_was_killed_are_taken_up(
    redis_server: EmbeddedRedis, desk: Desk
) -> None:
    switch = MemorySwitch()
    switch.away = True
    await desk.block("+77010000001")
    async with agent(redis_server.url, switch, cleanly=False):
        await until(lambda: _pending(desk, 1))
    switch.away = False
    await desk.block("+77010000002")
    async with agent(redis_server.url, switch):
        assert await desk.results(2) == [("block", "done")] * 2


async def test_another_agent_claims_what_was_left_for_five_seconds(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    switch.away = True
    await desk.block("+77010000001")
    async with agent(redis_server.url, switch):
        await until(lambda: _pending(desk, 1))
    switch.away = False
    async with agent(redis_server.url, switch, msgspec.structs.replace(OPTIONS, consumer="b")):
        assert await desk.results(1, 15) == [("block", "done")]
        assert (await desk.outcomes())[0].agent == "b"


async def _pending(desk: Desk, count: int) -> bool:
    with contextlib.suppress(Exception):
        return await desk.pending() == count
    return False


async def test_a_second_agent_stands_by_and_takes_over(redis_server: EmbeddedRedis, desk: Desk) -> None:
    first, second = MemorySwitch(), MemorySwitch()
    other = msgspec.structs.replace(OPTIONS, consumer="b")
    async with agent(redis_server.url, second, other):
        await until(lambda: _resyncs_of(second))
        async with agent(redis_server.url, first):
            for number in range(20):
                await desk.block(f"+7701000{number:04d}")
            assert len(await desk.results(20)) == 20
            assert first.asked == []
            assert len(second.blocked) == 20
    async with agent(redis_server.url, first):
        await until(lambda: len(first.blocked) == 20)


def _resyncs_of(switch: MemorySwitch) -> bool:
    return ("listed", "") in switch.asked


async def test_an_agent_that_lost_its_lease_settles_nothing(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    switch.slow_s = 0.3
    async with agent(redis_server.url, switch):
        await until(lambda: _resyncs_of(switch))
        await desk.block("+77010000001")
        await until(lambda: ("block", "+77010000001") in switch.asked or _pending(desk, 1))
        await desk.redis.set(KEYS.agent(SWITCH), "somebody else", px=60_000)
        await asyncio.sleep(1.5)
        assert await desk.outcomes() == []
        asked = len(switch.asked)
        await asyncio.sleep(0.5)
        assert len(switch.asked) == asked
        await desk.redis.delete(KEYS.agent(SWITCH))
        assert await desk.results(1) == [("block", "done")]


async def test_a_deleted_stream_and_a_lost_register_do_no_harm(redis_server: EmbeddedRedis, desk: Desk) -> None:
    switch = MemorySwitch()
    async with agent(redis_server.url, switch):
        await desk.block("+77010000001")
        await desk.results(1)
        await desk.redis.delete(STREAM, KEYS.blocks)
        await desk.command("resync")
        assert (await desk.results(2))[1] == ("resync", "done")
        assert switch.blocked == {}


async def test_redis_that_comes_back_is_used_again(tmp_path: Any) -> None:
    switch = MemorySwitch()
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    try:
        async with agent(server.url, switch):
            await until(lambda: _resyncs_of(switch))
            server.stop()
            await asyncio.sleep(0.5)
            server.start()
            client = connect(server.url)
            desk = Desk(client)
            await desk.block("+77010000001")
            assert await desk.results(1, 20) == [("block", "done")]
            await client.aclose()
    finally:
        server.stop()
