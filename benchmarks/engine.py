"""The engine through real Redis beside an *echo* engine, in one run: the same transport, once without thinking.

    .venv/bin/python benchmarks/engine.py [--calls N] [--window N]

Both run as processes of their own against one private Redis. A feeder keeps ``window`` calls waiting for their verdict
(a closed loop), as many switches would, and measures calls a second and the time from append to verdict. Prints JSON:
both figures and their ratio. The machine's noise hits both alike, so compare the ratio, not the figures, between runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import CallLog, EmbeddedRedis, Keys, Reply, ReplyInbox, connect, decode_event, encode_reply
from antifraud.simulator import simulate

SHARD = "bench"


async def echo(url: str) -> None:
    """Answer every setup with allow and keep the position, exactly as the engine talks to Redis."""
    redis = connect(url)
    keys = Keys(SHARD)
    place = "$"
    print("ready", flush=True)
    while True:
        found: Any = await redis.xread({keys.calls: place}, count=512, block=200)
        for _stream, entries in found or ():
            async with redis.pipeline(transaction=True) as pipe:
                for entry_id, fields in entries:
                    place = entry_id.decode()
                    event = decode_event(fields)
                    if event.kind is EventKind.SETUP:
                        pipe.rpush(event.reply, encode_reply(Reply("allow", call_id=event.call_id)))
                        pipe.pexpire(event.reply, 1000)
                        pipe.xadd(keys.decisions, {"d": b'{"verdict":"allow"}'})
                pipe.hset(keys.position, mapping={"id": place})
                await pipe.execute()


async def feed(url: str, events: list[CallEvent], calls: int, window: int) -> dict[str, float]:
    """Place ``calls`` calls, ``window`` of them waiting at any time; the other events go along unanswered."""
    redis, waiting = connect(url, timeout_s=30), connect(url, timeout_s=30)
    log = CallLog(redis, SHARD)
    inbox = ReplyInbox(waiting, SHARD, f"bench-{secrets.token_hex(4)}")
    drain = asyncio.create_task(inbox.run())
    gate = asyncio.Semaphore(window)
    seconds: list[float] = []
    pending: list[CallEvent] = []
    wake = asyncio.Event()
    done = False
    run = secrets.token_hex(4)

    async def append() -> None:
        while not done or pending:
            await wake.wait()
            wake.clear()
            while pending:
                batch = pending[:512]
                del pending[:512]
                await log.append(batch)

    async def call(event: CallEvent) -> None:
        started = time.perf_counter()
        try:
            future = inbox.expect(event.call_id)
            pending.append(event)
            wake.set()
            await asyncio.wait_for(future, 30)
            seconds.append(time.perf_counter() - started)
        finally:
            gate.release()

    appender = asyncio.create_task(append())
    tasks = []
    shift = time.time() - events[0].ts
    began = time.perf_counter()
    placed = 0
    for event in events:
        event = msgspec.structs.replace(event, ts=event.ts + shift, call_id=f"{run}-{event.call_id}")
        if event.kind is EventKind.SETUP:
            if placed >= calls:
                break
            placed += 1
            await gate.acquire()
            event = msgspec.structs.replace(event, reply=inbox.key, deadline_ms=30_000)
            tasks.append(asyncio.create_task(call(event)))
        else:
            pending.append(event)
            wake.set()
    await asyncio.gather(*tasks)
    elapsed = time.perf_counter() - began
    done = True
    wake.set()
    await appender
    drain.cancel()
    await asyncio.gather(drain, return_exceptions=True)
    await redis.aclose()
    await waiting.aclose()
    seconds.sort()
    return {
        "calls_per_s": round(len(seconds) / elapsed, 1),
        "p50_ms": round(1000 * seconds[len(seconds) // 2], 3),
        "p99_ms": round(1000 * seconds[int(len(seconds) * 0.99)], 3),
    }


def main() -> None:
    """Run both and print the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--echo", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo:
        asyncio.run(echo(options.echo))
        return
    events = [item.event for item in simulate("demo", 7, calls=options.calls, start_ts=1.8e9, rate=200.0)]
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="af") as directory:
        for name in ("echo", "engine"):
            with EmbeddedRedis() as redis:
                command = {
                    "echo": [sys.executable, __file__, "--echo", redis.url],
                    "engine": [sys.executable, "-m", "antifraud.cli", "engine", f"--redis={redis.url}",
                               f"--snapshots={directory}"],
                }[name]  # fmt: skip
                environment = {**os.environ, "ANTIFRAUD_SHARD": SHARD}
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
                try:
                    assert process.stdout is not None
                    if not process.stdout.readline().startswith(b"ready"):
                        raise SystemExit(f"the {name} did not start")
                    asyncio.run(feed(redis.url, events, min(2_000, options.calls), options.window))  # warm up
                    figures[name] = asyncio.run(feed(redis.url, events, options.calls, options.window))
                finally:
                    process.terminate()
                    process.wait(timeout=20)
    ratio = figures["engine"]["calls_per_s"] / figures["echo"]["calls_per_s"]
    result = {
        "benchmark": Path(__file__).stem,
        "calls": options.calls,
        "waiting_at_once": options.window,
        **figures,
        "engine_to_echo_calls_per_s": round(ratio, 3),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
