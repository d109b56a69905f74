"""Does kill -9 change anything? 200,000 calls through a real Redis and real engines that are killed in the middle.

The events of a simulated national day go into the log of a private Redis, never far ahead of the engine. ``--kills``
times, at places drawn by ``--seed``, the engine process gets SIGKILL and another is started at once; the last one is
killed too when everything is decided. Then an engine without snapshot and position reads the same log from its start,
undisturbed. ``same_decisions``: all decisions of both runs, in their order, byte for byte (verdicts, reasons, scores).

``same_vectors``: one decider takes the snapshot that the engine killed last on the way had left and folds the rest of
the log, the other folds all of the log. The feature vectors of the calls behind the snapshot are the same to the last
bit. So is (``same_answers``) what both then say of ``--probes`` new calls between the parties of earlier ones, which
asks their whole state.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from redis import Redis

from antifraud.cli.assembly import assemble
from antifraud.decision import Decider
from antifraud.domain import AntifraudError, CallEvent, EventKind, check_event
from antifraud.engine.snapshots import SnapshotStore
from antifraud.features import Fold
from antifraud.queues import EmbeddedRedis, Keys, decode_event, encode_event
from benchmarks.features import traffic
from benchmarks.features.measure import machine, say

SHARD = "kill9"
KEYS = Keys(SHARD)
_CHUNK = 1_000
_AHEAD_CALLS = 4_000
_PAGE = 5_000
_RETENTION_S = 172_800.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    traffic.add_calls(parser, whole=200_000, quick=6_000)
    parser.add_argument("--kills", type=int, default=5, help="how often the engine is killed before the end")
    parser.add_argument("--probes", type=int, default=20_000, help="new calls that ask for the final state")
    parser.add_argument("--model", default="", help="the model; by default the configured one, 'none' if it is unsound")


def run(options: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    where = {"model": options.model or _usable_model()}
    calls = traffic.calls_of(options)
    events = traffic.national(calls, options.seed)
    with tempfile.TemporaryDirectory(prefix="k9-") as name, EmbeddedRedis() as server:
        directory = Path(name)
        redis = Redis(unix_socket_path=str(server.socket_path), socket_timeout=60)
        engines = _Engines(server.url, directory, where["model"])
        began = time.perf_counter()
        recovered = _killed(redis, engines, directory, events, options)
        killed_s = time.perf_counter() - began
        killed = _decisions(redis)
        log = list(_entries(redis, KEYS.calls))
        reports = sum(fields.get(b"reporter") == b"engine" for _, fields in log)

        redis.delete(KEYS.position, KEYS.decisions, KEYS.lease)
        began = time.perf_counter()
        engines.start(directory / "whole")
        _wait_for(redis, engines, log[-1][0])
        whole_s = time.perf_counter() - began
        engines.kill()
        whole = _decisions(redis)[: len(killed)]
        redis.close()
        vectors = _vectors(where, directory / "kept", log, options)
    return {
        "benchmark": "features.kill_9",
        "machine": machine(),
        "model": where["model"] or "configured",
        "calls": calls,
        "events": len(events),
        "entries_of_the_log": len(log),
        "reports_by_the_engine": reports,
        "kills": len(recovered),
        "recovered_in_s": recovered,
        "decisions": len(killed),
        "same_decisions": killed == whole,
        "decisions_that_differ": sum(one != other for one, other in zip(killed, whole, strict=False)),
        **vectors,
        "seconds": {"killed": round(killed_s, 1), "undisturbed": round(whole_s, 1)},
    }


def _usable_model() -> str:
    """ "" for the configured model when it loads, otherwise "none"."""
    try:
        assemble({})
    except AntifraudError:
        return "none"
    return ""


# --- engines --------------------------------------------------------------------------------------------------------


class _Engines:
    """One engine process after another, each ended by its own process id."""

    def __init__(self, url: str, directory: Path, model: str) -> None:
        self._url = url
        self._log = directory / "engine.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            **os.environ,
            "ANTIFRAUD_SHARD": SHARD,
            "ANTIFRAUD_ENGINE_SNAPSHOT_EVERY_S": "1",
            **({"ANTIFRAUD_MODEL": model} if model else {}),
        }

    def start(self, snapshots: Path) -> float:
        """Start an engine and wait until it serves; the seconds that this took."""
        began = time.perf_counter()
        command = [
            sys.executable, "-m", "antifraud.cli", "engine", f"--redis={self._url}", f"--snapshots={snapshots}",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=self._environment, start_new_session=True
            )
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith(b"ready "):
            if not line:
                raise SystemExit(f"the engine did not start:\n{self._log.read_text()[-2000:]}")
        return time.perf_counter() - began

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self.check()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def check(self) -> None:
        """SystemExit when the engine has ended of itself."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"the engine ended of itself:\n{self._log.read_text()[-2000:]}")


def _killed(
    redis: Redis, engines: _Engines, directory: Path, events: list[CallEvent], options: argparse.Namespace
) -> list[float]:
    """Feed ``events`` and kill the engine on the way; how long each new one took to serve.

    The newest snapshot that a killed engine had left at its death is also kept in ``directory``/kept.
    """
    snapshots, kept = directory / "killed", directory / "kept"
    draw = random.Random(options.seed)
    shift = time.time() - events[-1].ts
    places = sorted(draw.sample(range(len(events) // 10, len(events) - len(events) // 20), options.kills))
    recovered = []
    engines.start(snapshots)
    setups = 0
    try:
        for low in range(0, len(events), _CHUNK):
            with redis.pipeline(transaction=False) as pipe:
                for event in events[low : low + _CHUNK]:
                    pipe.xadd(KEYS.calls, encode_event(msgspec.structs.replace(event, ts=event.ts + shift)))  # type: ignore[arg-type]
                    setups += event.kind is EventKind.SETUP
                pipe.execute()
            say(f"{low} of {len(events)} events, killed {len(recovered)} times")
            while places and places[0] < low + _CHUNK:
                places.pop(0)
                # A short log must not be over before the first snapshot is due.
                while not places and not list(snapshots.glob("*.snapshot")):
                    engines.check()
                    time.sleep(0.1)
                time.sleep(draw.uniform(0.0, 0.3))
                engines.kill()
                _keep_newest(snapshots, kept)
                recovered.append(round(engines.start(snapshots), 2))
            while setups - int(redis.xlen(KEYS.decisions)) > _AHEAD_CALLS:
                engines.check()
                time.sleep(0.01)
        last = None
        while last != (last := _last(redis)):  # a report may still be coming
            _wait_for(redis, engines, last)
            time.sleep(0.5)
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            engines.kill()
    return recovered


def _keep_newest(snapshots: Path, kept: Path) -> None:
    """The store throws old snapshots away; a second link keeps the one that is the newest now."""
    found = sorted(snapshots.glob("*.snapshot"), key=lambda path: path.stat().st_mtime_ns)
    if found:
        kept.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(found[-1], kept / found[-1].name)


def _last(redis: Redis) -> bytes:
    entries: Any = redis.xrevrange(KEYS.calls, count=1)
    found: bytes = entries[0][0]
    return found


def _wait_for(redis: Redis, engines: _Engines, entry_id: bytes) -> None:
    """Until the engine has committed ``entry_id``."""
    while _order(redis.hget(KEYS.position, "id") or b"0-0") < _order(entry_id):  # type: ignore[arg-type]
        engines.check()
        time.sleep(0.05)


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)


def _entries(redis: Redis, key: str) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """All of a stream, page by page."""
    start = "-"
    while True:
        page: Any = redis.xrange(key, start, count=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        start = f"({page[-1][0].decode()}"


def _decisions(redis: Redis) -> list[bytes]:
    return [fields[b"d"] for _, fields in _entries(redis, KEYS.decisions)]


# --- vectors --------------------------------------------------------------------------------------------------------


def _vectors(
    where: dict[str, str], snapshots: Path, log: list[tuple[bytes, dict[bytes, bytes]]], options: argparse.Namespace
) -> dict[str, object]:
    """What a restored state and one that was folded from the start say of the same calls."""
    _, restored = assemble(where)
    _, folded = assemble(where)
    windows = folded.bundle.windows
    found = SnapshotStore(snapshots, SHARD).load(windows, _RETENTION_S, restored.fold.limits)
    if found is None:
        raise SystemExit("the killed engines left no snapshot")
    restored.fold, position = found.fold, found.position
    at = sum(_order(entry_id) <= _order(position.encode()) for entry_id, _ in log)
    events = [check_event(decode_event(fields)) for _, fields in log]
    folded.fold = Fold(windows, limits=folded.fold.limits)
    folded.absorb(events[:at])
    ours, theirs = _in_batches(restored, events[at:], 512), _in_batches(folded, events[at:], 300)
    probes = _probes(events, options)
    say("asking for the final state")
    final, final_too = _in_batches(restored, probes, 512), _in_batches(folded, probes, 1_000)
    return {
        "snapshot_stands_at_entry": at,
        "vectors": len(ours),
        "same_vectors": ours.tobytes() == theirs.tobytes(),
        "probes": len(final),
        "same_answers": final.tobytes() == final_too.tobytes(),
        "columns": final.shape[1],
    }


def _in_batches(decider: Decider, events: list[CallEvent], size: int) -> npt.NDArray[np.float64]:
    empty = np.empty((0, len(decider.feature_names)))
    return np.concatenate([empty, *(decider.vectors(events[at : at + size]) for at in range(0, len(events), size))])


def _probes(events: list[CallEvent], options: argparse.Namespace) -> list[CallEvent]:
    """New calls like earlier ones, and back from their callees."""
    draw = random.Random(options.seed)
    setups = [event for event in events if event.kind is EventKind.SETUP]
    now = max(event.ts for event in events) + 1.0
    probes = []
    for number, event in enumerate(draw.choices(setups, k=options.probes)):
        changes: dict[str, Any] = {"call_id": f"probe-{number}", "ts": now + number / 1_000}
        if number % 2 and event.caller_raw:
            changes |= {"caller_raw": event.callee_raw, "callee_raw": event.caller_raw, "asserted": ""}
        probes.append(msgspec.structs.replace(event, **changes))
    return probes
