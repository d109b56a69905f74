"""Other windows, damaged snapshots: what stayed is kept, what is new comes from the log, and the values are right."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import redis

from antifraud.cli.assembly import assemble
from antifraud.decision import Decider
from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold
from antifraud.queues import Keys, decode_event, encode_event
from antifraud.simulator import simulate
from tests.engine_process import EngineProcess, wait_until

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., EngineProcess]
WITHOUT_MODEL = {"ANTIFRAUD_MODEL": "none", "ANTIFRAUD_FEATURES_MEMORY_LIMIT": "64MiB"}


def append(client: redis.Redis, events: list[CallEvent]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for event in events:
            pipe.xadd(KEYS.calls, encode_event(event))  # type: ignore[arg-type]
        pipe.execute()


def caught_up(client: redis.Redis) -> None:
    def is_so() -> bool:
        last: Any = client.xrevrange(KEYS.calls, count=1)
        return client.hget(KEYS.position, "id") == last[0][0]

    wait_until(is_so)


def traffic() -> list[CallEvent]:
    made = [item.event for item in simulate("demo", 3, calls=1_500, start_ts=1.8e9, rate=1.0)]
    shift = time.time() - made[-1].ts
    return [msgspec.structs.replace(event, ts=event.ts + shift) for event in made]


def decider(rules: Path) -> Decider:
    return assemble({"model": "none", "rules_dir": str(rules)})[1]


def answers(of: Decider, fold: Fold, events: list[CallEvent]) -> np.ndarray:
    """The windows of the last set-ups once more, under new names: what the fold knows now of everybody in them."""
    calls = [event for event in events if event.kind is EventKind.SETUP][-300:]
    asked = [msgspec.structs.replace(call, call_id=f"again-{n}", ts=events[-1].ts) for n, call in enumerate(calls)]
    prepared = [of.prepare(event) for event in asked]
    return fold.fold([item.event for item in prepared], [item.row for item in prepared]).values


def from_the_log(client: redis.Redis, rules: Path) -> tuple[Decider, Fold]:
    """A fold of the windows in ``rules`` over the whole log, made here."""
    fresh = decider(rules)
    entries: Any = client.xrange(KEYS.calls)
    fresh.absorb([decode_event(fields) for _id, fields in entries])
    return fresh, fresh.fold


def newest(directory: Path) -> Path:
    return max(directory.glob("*.snapshot"), key=lambda path: path.stat().st_mtime_ns)


def test_windows_that_stay_are_kept_and_new_ones_are_folded_from_the_log(
    start_engine: Start, redis_client: redis.Redis, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", rules)
    events = traffic()
    half = len(events) // 2
    engine = start_engine(f"--rules={rules}", environment=WITHOUT_MODEL)
    append(redis_client, events[:half])
    caught_up(redis_client)
    assert engine.stop() == 0

    declared = (rules / "windows.yaml").read_text(encoding="utf-8")
    old = declared.index("  fingerprint_calls_1h:")
    texts = "\n    doc: {en: calls, ru: вызовы, kk: қоңыраулар}\n\n"
    added = (
        f"  caller_calls_7m:\n    kind: count\n    by: caller\n    over: 7m{texts}"
        f"  callee_spread_3h:\n    kind: distinct\n    of: callee\n    by: caller\n    for: callee\n    over: 3h{texts}"
        f"  switch_new_pairs_1h:\n    kind: share\n    by: switch\n    new: pair\n    over: 1h{texts}"
    )
    changed = declared[:old] + added + declared[old:].replace("over: 1h", "over: 2h", 1)
    (rules / "windows.yaml").write_text(changed, encoding="utf-8")
    engine = start_engine(f"--rules={rules}", environment=WITHOUT_MODEL)
    # The share that is made of the changed window is new with it.
    assert "5 are new and folded from the log" in engine.log.read_text()
    append(redis_client, events[half:])
    caught_up(redis_client)
    assert engine.stop() == 0

    fresh, whole = from_the_log(redis_client, rules)
    taken_over, position = Fold.load(newest(tmp_path / "s"), fresh.bundle.windows)
    assert position == redis_client.xrevrange(KEYS.calls, count=1)[0][0].decode()  # type: ignore[index]
    got, wanted = answers(fresh, taken_over, events), answers(fresh, whole, events)
    for place, name in enumerate(fresh.bundle.windows.names):
        assert got[:, place].tobytes() == wanted[:, place].tobytes(), name
    column = fresh.bundle.windows.names.index("caller_calls_7m")
    assert np.nansum(wanted[:, column]) > 0


def test_a_damaged_snapshot_is_passed_over_for_the_one_before_it(
    start_engine: Start, redis_client: redis.Redis, tmp_path: Path
) -> None:
    events = traffic()
    third = len(events) // 3
    for part in range(2):
        engine = start_engine(environment=WITHOUT_MODEL)
        append(redis_client, events[part * third : (part + 1) * third])
        caught_up(redis_client)
        assert engine.stop() == 0
    path = newest(tmp_path / "s")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)

    engine = start_engine(environment=WITHOUT_MODEL)
    log = engine.log.read_text()
    assert f"snapshot {path.name} is refused" in log
    assert "entries folded again" in log
    append(redis_client, events[2 * third :])
    caught_up(redis_client)
    assert engine.stop() == 0
    fresh, whole = from_the_log(redis_client, ROOT / "rules")
    restored, _ = Fold.load(newest(tmp_path / "s"), fresh.bundle.windows)
    assert answers(fresh, restored, events).tobytes() == answers(fresh, whole, events).tobytes()
