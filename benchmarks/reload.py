"""How long decisions wait while rules are reloaded: ``python -m benchmarks.reload`` prints JSON.

A rules directory with copies of the shipped packs, 1,000 rules in all, every one of them evaluated. Calls come at a
fixed pace, and the delay of each is counted from the moment at which it was due, so that one long stall is seen in
every call that had to wait for it. Three rules are changed before every reload.

``loop``: decisions and reloads in one event loop, nothing else. ``thread`` compiles in a thread of the same process,
which is what a reload costs when nobody takes care; ``child`` is what the engine does. ``engine``: the engine as a
process of its own beside a real Redis; delays are from the entry of a call in the log to the entry of its decision, by
the clock of Redis, in whole milliseconds. Delays are milliseconds, times of a whole reload seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from redis import Redis

from antifraud.cli.assembly import assemble
from antifraud.decision import Decider, load_bundle
from antifraud.domain import CallEvent, EventKind
from antifraud.engine.reloading import Reloader, RulesPlace
from antifraud.engine.run_time_lists import RunTimeLists
from antifraud.queues import EmbeddedRedis, Keys, encode_event
from antifraud.simulator import simulate

ROOT = Path(__file__).parent.parent
SHARD = "bench"


LIST = """\
list: reported_callers
title: numbers
kind: numbers
owner: benchmark
source: made up
entries_file: reported_callers.csv
"""


def write_rules(folder: Path, count: int, entries: int) -> list[Path]:
    """A rules directory with ``count`` rules, copies of the shipped ones, and a list; the files of the rules."""
    for name in ("fields.yaml", "windows.yaml", "calendar.yaml"):
        shutil.copy(ROOT / "rules" / name, folder / name)
    shutil.copytree(ROOT / "rules" / "lists", folder / "lists")
    if entries:
        (folder / "lists" / "reported_callers.yaml").write_text(LIST, encoding="utf-8")
        numbers = "".join(f"+7701{number:07d}\n" for number in range(entries))
        (folder / "lists" / "reported_callers.csv").write_text(f"value\n{numbers}", encoding="utf-8")
    shipped = sorted((ROOT / "rules" / "packs").glob("*/*.yaml"))
    written: list[Path] = []
    for number in range(count):
        source = shipped[number % len(shipped)]
        # The first copy keeps its name: regions set parameters of rules by it.
        name = source.stem if number < len(shipped) else f"{source.stem}_{number // len(shipped)}"
        text = re.sub(r"^rule: .*$", f"rule: {name}", source.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
        # What is not evaluated costs nothing to evaluate: drafts are put on trial.
        text = text.replace("  stage: draft\n", "  stage: shadow\n")
        path = folder / "packs" / source.parent.name / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def change(folder: Path, files: Sequence[Path], turn: int) -> None:
    """Another text in three of the rules, and another entry in the list if there is one."""
    for place in (0, len(files) // 2, len(files) - 1):
        text = files[place].read_text(encoding="utf-8")
        text = re.sub(r"^owner: .*$", f"owner: bench-{turn}", text, count=1, flags=re.MULTILINE)
        files[place].write_text(text, encoding="utf-8")
    path = folder / "lists" / "reported_callers.csv"
    if path.exists():
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"+7702{turn:07d}\n")


def batches(calls: int, size: int) -> Iterator[list[CallEvent]]:
    """Set-ups of the simulated country, ``size`` at a time."""
    found = (item.event for item in simulate("demo", 7, calls=calls, start_ts=1.8e9, rate=200.0))
    batch: list[CallEvent] = []
    for event in found:
        if event.kind is EventKind.SETUP:
            batch.append(event)
            if len(batch) == size:
                yield batch
                batch = []


def summary(delays: Sequence[float]) -> dict[str, float]:
    """The distribution of delays, milliseconds."""
    if not delays:
        return {"decisions": 0}
    values = np.array(delays)
    return {
        "decisions": len(delays),
        "p50": round(float(np.percentile(values, 50)), 3),
        "p99": round(float(np.percentile(values, 99)), 3),
        "p99.9": round(float(np.percentile(values, 99.9)), 3),
        "longest": round(float(values.max()), 3),
    }


# -- decisions and reloads in one loop ---------------------------------------------------------------------------------


async def paced(decider: Decider, source: Iterator[list[CallEvent]], gap: float, stop: asyncio.Event) -> list[Any]:
    """Decide a batch every ``gap`` seconds until ``stop``: (due, delay in ms) of each decision."""
    seen: list[tuple[float, float]] = []
    due = time.perf_counter() + gap
    while not stop.is_set():
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        decisions = decider.decide(next(source))
        done = time.perf_counter()
        seen += [(due, (done - due) * 1000)] * len(decisions)
        due += gap
    return seen


async def in_one_loop(options: argparse.Namespace, reload: Callable[[Decider, Path], Awaitable[None]]) -> Any:
    """Delays without a reload and during several."""
    if options.realtime:
        first_in_line(0)
    with tempfile.TemporaryDirectory(prefix="af") as directory:
        folder = Path(directory)
        files = write_rules(folder, options.rules, options.entries)
        _settings, decider = assemble({"rules_dir": str(folder)}, live=True)
        gc.collect()
        gc.freeze()
        source = itertools.cycle(list(batches(40_000, options.batch)))
        decider.swap(decider.bundle.without_sources())
        stop = asyncio.Event()
        deciding = asyncio.create_task(paced(decider, source, options.batch / options.pace, stop))
        await asyncio.sleep(1.0)  # memory is touched for the first time, which is not what is measured here
        warm = time.perf_counter()
        await asyncio.sleep(options.quiet)
        spans: list[tuple[float, float]] = []
        for turn in range(options.reloads):
            change(folder, files, turn)
            before = decider.bundle.digest
            begun = time.perf_counter()
            await reload(decider, folder)
            spans.append((begun, time.perf_counter()))
            assert decider.bundle.digest != before
            await asyncio.sleep(0.5)
        stop.set()
        return report([one for one in await deciding if one[0] > warm], spans)


def report(seen: Sequence[tuple[float, float]], spans: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Delays within and outside of ``spans``; half a second after each counts to neither."""
    quiet: list[float] = []
    during: list[float] = []
    for due, delay in seen:
        if any(begun <= due + delay / 1000 and due <= ended for begun, ended in spans):
            during.append(delay)
        elif due < spans[0][0]:
            quiet.append(delay)
    return {
        "without_a_reload_ms": summary(quiet),
        "during_reloads_ms": summary(during),
        "reload_s": [round(ended - begun, 2) for begun, ended in spans],
    }


async def by_thread(decider: Decider, folder: Path) -> None:
    """Compile in a thread of this process."""
    decider.swap(await asyncio.to_thread(load_bundle, folder, 300))


async def by_child(decider: Decider, folder: Path) -> None:
    """Compile as the engine does."""
    lists = RunTimeLists(decider)
    reloader = Reloader(RulesPlace(folder, 300), lists)
    reloader.request()
    while (loaded := reloader.poll()) is None:  # noqa: ASYNC110 - as the engine asks, between two batches
        await asyncio.sleep(0.001)
    assert loaded.bundle is not None, loaded.error
    lists.take(loaded.bundle, loaded.ahead)


# -- the engine as a process -------------------------------------------------------------------------------------------


def feed(redis: Redis, keys: Keys, source: Iterator[list[CallEvent]], gap: float, until: Callable[[], bool]) -> None:
    """Append a batch every ``gap`` seconds until ``until`` says so, asked about every tenth of a second."""
    due = time.perf_counter()
    asked = due
    shift: float | None = None
    while True:
        due += gap
        time.sleep(max(0.0, due - time.perf_counter()))
        with redis.pipeline(transaction=False) as pipe:
            for event in next(source):
                shift = time.time() - event.ts if shift is None else shift
                pipe.xadd(keys.calls, encode_event(msgspec.structs.replace(event, ts=event.ts + shift)))  # type: ignore[arg-type]
            pipe.execute()
        if due - asked > 0.1:
            asked = due
            if until():
                return


def as_a_process(options: argparse.Namespace) -> dict[str, Any]:
    """Delays of the engine's decisions without a reload and during several."""
    with tempfile.TemporaryDirectory(prefix="af") as directory, EmbeddedRedis() as server:
        folder = Path(directory) / "rules"
        folder.mkdir()
        files = write_rules(folder, options.rules, options.entries)
        command = [sys.executable, "-m", "antifraud.cli", "engine", f"--redis={server.url}", f"--rules={folder}",
                   f"--snapshots={directory}/snapshots"]  # fmt: skip
        environment = {**os.environ, "ANTIFRAUD_SHARD": SHARD}
        with (Path(directory) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        try:
            assert process.stdout is not None
            if not process.stdout.readline().startswith(b"ready"):
                raise SystemExit((Path(directory) / "log").read_text())
            if options.realtime:
                for pid in (process.pid, server.pid, 0):
                    first_in_line(pid)
            redis = Redis(unix_socket_path=str(server.socket_path), socket_timeout=30)
            keys = Keys(SHARD)
            source, gap = batches(100_000, options.batch), options.batch / options.pace

            def lasting(seconds: float) -> Callable[[], bool]:
                end = time.perf_counter() + seconds
                return lambda: time.perf_counter() > end

            def reloaded() -> int:
                counts: Any = redis.hmget(keys.counters, "reloads", "reload_refused")
                if counts[1]:
                    raise SystemExit((Path(directory) / "log").read_text())
                return int(counts[0] or 0)

            feed(redis, keys, source, gap, lasting(3.0))  # warm up
            first = redis_now(redis)
            feed(redis, keys, source, gap, lasting(options.quiet))
            spans: list[tuple[float, float]] = []
            for turn in range(options.reloads):
                change(folder, files, turn)
                begun = redis_now(redis)
                process.send_signal(signal.SIGHUP)
                feed(redis, keys, source, gap, lambda turn=turn: reloaded() > turn)  # type: ignore[misc]
                spans.append((begun, redis_now(redis)))
                feed(redis, keys, source, gap, lasting(0.5))
            time.sleep(0.5)
            seen = [(due, delay) for due, delay in delays_in(redis, keys) if due >= first]
            redis.close()
            return report(seen, spans)
        finally:
            process.terminate()
            process.wait(timeout=30)


def first_in_line(pid: int) -> None:
    """Give all threads of a process real-time priority; one inherits it from the other, and from their process."""
    for thread in (Path("/proc") / str(pid or os.getpid()) / "task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(1))


def redis_now(redis: Redis) -> float:
    """The clock of Redis, epoch seconds."""
    seconds, micros = redis.time()  # type: ignore[misc]
    return float(seconds) + float(micros) / 1e6


def delays_in(redis: Redis, keys: Keys) -> list[tuple[float, float]]:
    """(arrival, delay in ms) of every decision in the streams."""
    arrived: dict[bytes, int] = {}
    for entry_id, fields in redis.xrange(keys.calls):  # type: ignore[union-attr,misc]
        arrived[fields[b"call_id"]] = int(entry_id.split(b"-")[0])
    found: list[tuple[float, float]] = []
    for entry_id, fields in redis.xrange(keys.decisions):  # type: ignore[union-attr,misc]
        came = arrived[json.loads(fields[b"d"])["call_id"].encode()]
        found.append((came / 1000, float(int(entry_id.split(b"-")[0]) - came)))
    assert len(found) == len(arrived), f"{len(arrived)} calls, {len(found)} decisions"
    return found


def main() -> None:
    """Run all and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rules", type=int, default=1_000)
    parser.add_argument("--reloads", type=int, default=5)
    parser.add_argument("--entries", type=int, default=0, help="entries of a list of numbers that changes every time")
    parser.add_argument("--pace", type=float, default=1_000.0, help="decisions a second")
    parser.add_argument("--batch", type=int, default=4, help="decisions at a time")
    parser.add_argument("--quiet", type=float, default=8.0, help="seconds without a reload")
    parser.add_argument(
        "--realtime", action="store_true", help="what is measured goes before all other work of this machine (root)"
    )
    parser.add_argument("--only", choices=("thread", "child", "engine"))
    options = parser.parse_args()
    run: Callable[[Any], Any]
    try:
        import uvloop
    except ImportError:
        run = asyncio.run
    else:
        run = uvloop.run
    result: dict[str, Any] = {
        "benchmark": Path(__file__).stem,
        "python": platform.python_version(),
        "rules": options.rules,
        "decisions_a_second": options.pace,
        "batch": options.batch,
        "changed_entries": options.entries,
    }
    for name, reload in (("thread", by_thread), ("child", by_child)):
        if options.only in (None, name):
            result[name] = run(in_one_loop(options, reload))
    if options.only in (None, "engine"):
        result["engine"] = as_a_process(options)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
