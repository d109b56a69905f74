"""Calls in progress through a real engine and Redis: how soon a command follows, and that a crash repeats none."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import Keys, encode_event
from antifraud.queues.commands import BlockRequest, Command, decode_command, encode_request
from tests.engine_process import EngineProcess, wait_until

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
ROOT = Path(__file__).resolve().parents[3]
SWITCH = "sw-kz-75"
Start = Callable[..., EngineProcess]

RULES = {
    "at_answer": ("answer", 'prefix_in(caller, ["+770100000"])', 'caller: "+77010000001"'),
    "at_report": (
        "report",
        'label == "fraud" and prefix_in(caller, ["+770100001"])',
        'label: fraud, caller: "+77010000101"',
    ),
    "at_tick": (
        "tick",
        'talk_so_far_s >= 1 and prefix_in(caller, ["+770100002"])',
        'talk_so_far_s: 9, caller: "+77010000201"',
    ),
}
RULE = """\
rule: {name}
title: a rule of the test
owner: fraud-desk
why: it is a test
false_positives: none
on: {on}
when: |
  {when}
then: {{command: release, reason: "{{caller}} is of the test"}}
rollout: {{stage: enforce, false_hits_per_million: 1}}
tests:
  - {{name: a, given: {{{hit}}}, expect: release}}
  - {{name: b, given: {{caller: "+77020000001"}}, expect: no_hit}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", folder)
    (folder / "packs" / "calls").mkdir()
    for name, (on, when, hit) in RULES.items():
        (folder / "packs" / "calls" / f"{name}.yaml").write_text(RULE.format(name=name, on=on, when=when, hit=hit))
    return folder


class Shard:
    """Events told to the engine, and the commands that come of them."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def tell(self, kind: str, call_id: str, caller: str, **changes: Any) -> int:
        """Append an event; when the log took it, in milliseconds."""
        event = CallEvent(
            EventKind(kind), call_id, time.time(), switch=SWITCH, trunk="nat-1",
            caller_raw=caller, callee_raw="+77020000009",
        )  # fmt: skip
        entry: Any = self.client.xadd(KEYS.calls, encode_event(msgspec.structs.replace(event, **changes)))  # type: ignore[arg-type]
        return _milliseconds(entry)

    def talk(self, call_id: str, caller: str, **changes: Any) -> int:
        self.tell("setup", call_id, caller, **changes)
        return self.tell("answer", call_id, caller, **changes)

    def commands(self, switch: str = SWITCH) -> list[tuple[int, Command]]:
        found: Any = self.client.xrange(KEYS.commands(switch))
        return [(_milliseconds(entry), decode_command(fields)) for entry, fields in found]

    def released(self, call_id: str, seconds: float = 20.0) -> tuple[int, Command]:
        def found() -> list[tuple[int, Command]]:
            return [item for item in self.commands() if item[1].call_id == call_id]

        (one,) = wait_until(found, seconds)
        return one

    def decisions(self, call_id: str) -> list[dict[str, Any]]:
        found: Any = self.client.xrange(KEYS.decisions)
        told = [json.loads(fields[b"d"]) for _entry, fields in found]
        return [one for one in told if one["call_id"] == call_id and one.get("on")]

    def ask_release(self, call_id: str) -> str:
        """Why the engine refused to release the call; empty when it did not."""
        request = BlockRequest("release", "a.analyst", "a victim", call_id=call_id, switch=SWITCH)
        entry: Any = self.client.xadd(KEYS.block_requests, encode_request(request))  # type: ignore[arg-type]
        wait_until(lambda: self.client.hget(KEYS.position, "block_requests") == entry)
        found: Any = self.client.xrevrange(KEYS.quarantine)
        refused = [fields for _id, fields in found if fields[b"raw"].startswith(entry + b" ")]
        return refused[0][b"code"].decode() if refused else ""


def _milliseconds(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])


def test_a_command_follows_its_trigger_within_two_seconds(
    start_engine: Start, redis_client: redis.Redis, rules: Path
) -> None:
    engine = start_engine(f"--rules={rules}")
    shard = Shard(redis_client)
    answered = shard.talk("a1", "+77010000001")
    ticking = shard.talk("t1", "+77010000201")
    shard.talk("r1", "+77010000101")
    reported = shard.tell("report", "r1", "+77010000101", label="fraud", reporter="subscriber")
    delays = {
        "answer": shard.released("a1")[0] - answered,
        "report": shard.released("r1")[0] - reported,
        "tick": shard.released("t1")[0] - ticking - 10_000,
    }
    assert all(0 <= delay < 2_000 for delay in delays.values()), delays
    _at, command = shard.released("a1")
    assert (command.op, command.caller, command.callee) == ("release", "+77010000001", "+77020000009")
    assert (command.by, command.reason) == ("rule:at_answer", "+77010000001 is of the test")
    assert command.expires == pytest.approx(command.at + 30)
    (decision,) = shard.decisions("a1")
    assert (decision["id"], decision["verdict"], decision["on"]) == (command.decision, "release", "answer")

    # Never an emergency call, never under a lower ceiling, never a call that has ended.
    shard.talk("a2", "+77010000001", callee_raw="112")
    shard.talk("a3", "+77010000001", switch="sw-kz-71")
    shard.talk("r2", "+77010000102")
    shard.tell("release", "r2", "+77010000102")
    shard.tell("report", "r2", "+77010000102", label="fraud")
    shard.talk("a4", "+77010000004")
    shard.released("a4")
    assert [command.call_id for _at, command in shard.commands()] == ["a1", "r1", "t1", "a4"]
    assert shard.commands("sw-kz-71") == []
    assert [one["verdict"] for one in shard.decisions("a3")] == ["alert"]
    assert shard.decisions("a2") == []

    # A person may end a call that goes on, and no other.
    shard.talk("p1", "+77030000001")
    shard.talk("p2", "+77030000001", callee_raw="112")
    wait_until(
        lambda: redis_client.hget(KEYS.position, "id") == redis_client.xinfo_stream(KEYS.calls)["last-generated-id"]
    )
    assert shard.ask_release("p1") == ""
    assert shard.released("p1")[1].by == "analyst:a.analyst"
    assert shard.ask_release("p2") == "release-unknown"
    assert shard.ask_release("nobody") == "release-unknown"
    assert engine.stop() == 0


def test_the_configuration_says_how_often_the_engine_looks(
    start_engine: Start, redis_client: redis.Redis, rules: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    default = config / "default.yaml"
    default.write_text(default.read_text(encoding="utf-8").replace("tick_s: 10.0", "tick_s: 1.5"), encoding="utf-8")
    engine = start_engine(f"--rules={rules}", f"--config={config}")
    shard = Shard(redis_client)
    ticking = shard.talk("t1", "+77010000201")
    assert 1_500 <= shard.released("t1")[0] - ticking < 5_000
    assert engine.stop() == 0


def test_a_crash_repeats_no_command_and_forgets_no_call(
    start_engine: Start, redis_client: redis.Redis, rules: Path
) -> None:
    shard = Shard(redis_client)
    engine = start_engine(f"--rules={rules}")
    shard.talk("before", "+77010000201")
    wait_until(lambda: shard.client.xlen(KEYS.decisions) == 1)
    assert engine.stop() == 0  # with a snapshot in which the call goes on
    engine = start_engine(f"--rules={rules}")
    shard.talk("after", "+77010000202")
    shard.released("before")
    shard.released("after")
    engine.kill()
    wait_until(lambda: not redis_client.exists(KEYS.lease))
    engine = start_engine(f"--rules={rules}")
    late = shard.talk("late", "+77010000203")
    assert shard.released("late")[0] - late < 12_000
    # Two looks later the others have not been ended again.
    assert [command.call_id for _at, command in shard.commands()] == ["before", "after", "late"]
    assert engine.stop() == 0
