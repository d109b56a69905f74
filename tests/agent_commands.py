"""What the engine does to an agent, by hand: the register, commands, and the outcomes that come back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from antifraud.domain import SwitchAgent
from antifraud.queues import Keys
from antifraud.queues.commands import Block, Command, decode_outcome, encode_block, encode_command

SHARD = "kz"
KEYS = Keys(SHARD)
SWITCH = "sw-kz-75"
NUMBER, OTHER = "+77010000001", "+77010000002"


async def register(redis: Any, number: str, seq: int) -> None:
    """``number`` is blocked for ten minutes."""
    block = Block(number, "blocked", time.time() + 600, seq)
    await redis.hset(KEYS.blocks, number, encode_block(block))


async def command(redis: Any, op: str, seq: int, **more: Any) -> None:
    """Tell the switch."""
    made = Command(f"{seq:016x}", op, seq=seq, at=time.time(), **more)
    await redis.xadd(KEYS.commands(SWITCH), encode_command(made))


async def results(redis: Any, count: int) -> list[tuple[str, str]]:
    """Operation and result of the outcomes, as soon as there are ``count``."""
    end = time.monotonic() + 20
    while True:
        entries = await redis.xrange(KEYS.outcomes)
        if len(entries) >= count:
            outcomes = [decode_outcome(fields) for _, fields in entries]
            return [(outcome.op, outcome.result) for outcome in outcomes]
        assert time.monotonic() < end, entries
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(agent: SwitchAgent, url: str, **options: Any) -> AsyncIterator[None]:
    """``agent`` serves the switch."""
    task = asyncio.create_task(
        agent.run(shard=SHARD, switch=SWITCH, region="", redis_url=url, options=options, ready=lambda _: None)
    )
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def as_process(name: str, url: str, **options: str) -> AsyncIterator[None]:
    """``antifraud agent NAME`` serves the switch, and is stopped by its own process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "antifraud.cli", "agent", name, f"--switch={SWITCH}", f"--redis={url}",
        *(f"--set={option}={value}" for option, value in options.items()),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line.startswith(b"ready ")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, said
    assert b"Traceback" not in said
