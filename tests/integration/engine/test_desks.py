"""Desks beside a running engine: their places outlive a crash, and what they say of themselves counts."""

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
from tests.engine_process import EngineProcess, wait_until

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
Start = Callable[..., EngineProcess]
ROOT = Path(__file__).resolve().parents[3]
DESKS = """
desks:
  first: {target: "sip:first@desk.example", calls: 2}
  second: {target: "sip:second@desk.example", calls: 1}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder)
    default = folder / "default.yaml"
    default.write_text(default.read_text(encoding="utf-8").replace("\ndesks: {}\n", DESKS), encoding="utf-8")
    region = folder / "regions" / "KZ-75.yaml"
    region.write_text(
        "name: {en: Almaty, ru: Алматы, kk: Алматы}\n"
        "policy: {ceiling: divert, desk: {queues: [first, second], overflow: label}}\n",
        encoding="utf-8",
    )
    return folder


def spoofed(number: int, **changes: Any) -> CallEvent:
    event = CallEvent(
        kind=EventKind.SETUP, call_id=f"c{number}", ts=time.time(), switch="sw-kz-75", trunk="intl-1",
        caller_raw=f"+7701000{number:04}", callee_raw="+77000000002", roaming=False,
    )  # fmt: skip
    return msgspec.structs.replace(event, **changes)


def ask(client: redis.Redis, event: CallEvent) -> dict[str, Any]:
    """The verdict, waited for as a switch does, for as long as a busy machine may need."""
    reply = KEYS.reply(f"t:{event.call_id}:{time.monotonic_ns()}")
    client.xadd(KEYS.calls, encode_event(msgspec.structs.replace(event, reply=reply, deadline_ms=20_000)))  # type: ignore[arg-type]
    found: Any = client.blpop([reply], timeout=20)
    assert found is not None
    return dict(json.loads(found[1]))


def targets(client: redis.Redis, *numbers: int) -> list[str]:
    said = [ask(client, spoofed(number)) for number in numbers]
    return [one.get("target", one["verdict"]) for one in said]


FIRST, SECOND = "sip:first@desk.example", "sip:second@desk.example"


def test_places_outlive_a_crash_and_are_given_back_by_a_release(
    redis_client: redis.Redis, start_engine: Start, config: Path
) -> None:
    engine = start_engine(f"--config={config}")
    assert targets(redis_client, 0, 1, 2, 3) == [FIRST, FIRST, SECOND, "label"]
    engine.kill()
    start_engine(f"--config={config}")
    assert targets(redis_client, 4) == ["label"]
    ended = spoofed(1, kind=EventKind.RELEASE, talk_s=20.0, roaming=None)
    redis_client.xadd(KEYS.calls, encode_event(ended))  # type: ignore[arg-type]
    assert targets(redis_client, 5, 6) == [FIRST, "label"]


def test_what_a_desk_says_of_itself_counts_and_nonsense_goes_to_the_quarantine(
    redis_client: redis.Redis, start_engine: Start, config: Path
) -> None:
    start_engine(f"--config={config}")
    redis_client.xadd(KEYS.desk_state, {"desk": "first", "free": "0"})
    for nonsense in ({"desk": "first", "free": "many"}, {"desk": "nowhere", "free": "1"}, {"x": "y" * 5000}):
        redis_client.xadd(KEYS.desk_state, nonsense)  # type: ignore[arg-type]
    wait_until(lambda: redis_client.hget(KEYS.counters, "control_refused") == b"3")
    assert targets(redis_client, 0, 1) == [SECOND, "label"]
    redis_client.xadd(KEYS.desk_state, {"desk": "first", "free": "1"})
    assert targets(redis_client, 2, 3) == [FIRST, "label"]
    refused: Any = redis_client.xrange(KEYS.quarantine)
    codes = [fields[b"code"] for _entry, fields in refused]
    assert codes == [b"desk-garbled", b"desk-unknown", b"desk-garbled"]


def test_the_register_of_places_that_somebody_broke_costs_places_not_calls(
    redis_client: redis.Redis, start_engine: Start, config: Path
) -> None:
    redis_client.hset(
        KEYS.desks, mapping={"p:0": "nonsense", "h:first": "[1", "position": "x", "p:1": '["first","c",1]'}
    )
    start_engine(f"--config={config}")
    assert targets(redis_client, 0, 1, 2, 3) == [FIRST, FIRST, SECOND, "label"]
