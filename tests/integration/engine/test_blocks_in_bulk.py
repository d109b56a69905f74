"""Many numbers blocked at once do not make the calls wait that come in meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import Keys, encode_event
from antifraud.queues.commands import BlockRequest, encode_request
from tests.engine_process import EngineProcess

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
COUNT = 6_000


def test_calls_are_answered_while_a_whole_list_is_blocked(
    start_engine: Callable[..., EngineProcess], redis_client: redis.Redis
) -> None:
    client = redis_client
    start_engine()
    ask(client, 0)  # the first call warms up what is only made when it is needed
    pipe = client.pipeline(transaction=False)
    for number in range(COUNT):
        request = BlockRequest("block", "a.analyst", "a list of the test", f"+7701{number:07}")
        pipe.xadd(KEYS.block_requests, encode_request(request))  # type: ignore[arg-type]
    pipe.execute()
    waited: list[float] = []
    while client.hlen(KEYS.blocks) < COUNT:
        waited.append(ask(client, len(waited) + 1))
        time.sleep(0.01)
    print(f"\n{len(waited)} calls waited {[round(one * 1000) for one in sorted(waited)][-5:]} ms at most")
    assert len(waited) > 5
    # The machine may stand still now and then, but hardly for half of the calls.
    assert sorted(waited)[len(waited) // 2] < 0.1


def ask(client: redis.Redis, number: int) -> float:
    """Seconds from the event of a call to its verdict."""
    key = KEYS.reply(f"bulk-{number}")
    event = CallEvent(
        kind=EventKind.SETUP, call_id=f"bulk-{number}", ts=time.time(), switch="sw-kz-75", trunk="nat-1",
        caller_raw="+77020000001", callee_raw="+77020000009", reply=key, deadline_ms=10_000,
    )  # fmt: skip
    began = time.monotonic()
    client.xadd(KEYS.calls, encode_event(event))  # type: ignore[arg-type]
    answer: Any = client.blpop([key], timeout=20)
    assert answer is not None
    return time.monotonic() - began
