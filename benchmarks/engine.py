"""The engine through real Redis beside an *echo* engine, in one run: the same transport, once without thinking.

    .venv/bin/python benchmarks/engine.py [--calls N] [--window N] [--challenger NAME/VERSION]

With ``--challenger`` a third one runs: the engine with a second model that scores every call beside the first.

All run as processes of their own against a private Redis. A feeder appends calls in waves of ``window`` (with the
answers and releases that belong between them), waits for the verdicts of a wave and appends the next, and measures
calls a second and the time from the append of a wave to each of its verdicts. Prints JSON: all figures and their
ratio. The machine's noise hits all alike, so compare the ratio, not the figures, between runs.
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
from redis import Redis

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import EmbeddedRedis, Keys, Reply, connect, decode_event, encode_event, encode_reply
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


def feed(url: str, events: list[CallEvent], calls: int, window: int) -> dict[str, float]:
    """Place ``calls`` calls in waves of ``window``: append a wave, wait for all of its verdicts, append the next."""
    redis = Redis.from_url(url, socket_timeout=60)
    keys = Keys(SHARD)
    run = secrets.token_hex(4)
    reply = keys.reply(f"bench-{run}")
    shift = time.time() - events[0].ts
    waves: list[list[dict[str, str]]] = [[]]
    waiting = [0]
    for event in events:
        if waiting[-1] == window and event.kind is EventKind.SETUP:
            waves.append([])
            waiting.append(0)
        changes = {"ts": event.ts + shift, "call_id": f"{run}-{event.call_id}"}
        if event.kind is EventKind.SETUP:
            changes |= {"reply": reply, "deadline_ms": 30_000}
            waiting[-1] += 1
        waves[-1].append(encode_event(msgspec.structs.replace(event, **changes)))
        if len(waves) * window > calls and waiting[-1] == window:
            break
    seconds: list[float] = []
    began = time.perf_counter()
    for wave, expected in zip(waves, waiting, strict=True):
        started = time.perf_counter()
        with redis.pipeline(transaction=False) as pipe:
            for fields in wave:
                pipe.xadd(keys.calls, fields)
            pipe.execute()
        while expected:
            if redis.blpop([reply], timeout=30) is None:
                raise SystemExit("a verdict did not come")
            more: Any = redis.lpop(reply, 10_000)
            got = 1 + len(more or ())
            expected -= got
            seconds += [time.perf_counter() - started] * got
    elapsed = time.perf_counter() - began
    redis.close()
    seconds.sort()
    return {
        "calls_per_s": round(len(seconds) / elapsed, 1),
        "events_per_s": round(sum(map(len, waves)) / elapsed, 1),
        "p50_ms": round(1000 * seconds[len(seconds) // 2], 3),
        "p99_ms": round(1000 * seconds[int(len(seconds) * 0.99)], 3),
    }


def main() -> None:
    """Run all of them and print the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--challenger", metavar="NAME/VERSION", default="")
    parser.add_argument("--echo", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo:
        asyncio.run(echo(options.echo))
        return
    events = [item.event for item in simulate("demo", 7, calls=options.calls, start_ts=1.8e9, rate=200.0)]
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="af") as directory:
        for name in ("echo", "engine", *(("with_challenger",) if options.challenger else ())):
            with EmbeddedRedis() as redis:
                engine = [sys.executable, "-m", "antifraud.cli", "engine", f"--redis={redis.url}"]
                command = {
                    "echo": [sys.executable, __file__, "--echo", redis.url],
                    "engine": [*engine, f"--snapshots={directory}/engine"],
                    "with_challenger": [*engine, f"--snapshots={directory}/with_challenger"],
                }[name]
                environment = {**os.environ, "ANTIFRAUD_SHARD": SHARD}
                if name == "with_challenger":
                    environment["ANTIFRAUD_CHALLENGER"] = options.challenger
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
                try:
                    assert process.stdout is not None
                    if not process.stdout.readline().startswith(b"ready"):
                        raise SystemExit(f"the {name} did not start")
                    feed(redis.url, events, min(2_000, options.calls), options.window)  # warm up
                    figures[name] = feed(redis.url, events, options.calls, options.window)
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
    if options.challenger:
        ratio = figures["with_challenger"]["calls_per_s"] / figures["engine"]["calls_per_s"]
        result["with_challenger_to_engine_calls_per_s"] = round(ratio, 3)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
