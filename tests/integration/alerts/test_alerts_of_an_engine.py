"""An engine as people run it: its alerts say why of the score, in the region's language."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import EmbeddedRedis, Keys, connect, encode_event
from antifraud.settings import load_settings
from tests.engine_process import EngineProcess

pytestmark = pytest.mark.needs("redis", "mosquitto")


async def test_an_alert_says_why_of_the_score(
    redis_server: EmbeddedRedis, broker: Any, inbox: Any, tmp_path: Path, until: Callable[..., Any]
) -> None:
    environment = {"ANTIFRAUD_ALERTS_URL": broker.url, "ANTIFRAUD_ALERTS_TOPIC_PREFIX": "operator/antifraud"}
    engine = EngineProcess(redis_server.url, tmp_path, environment=environment)
    await asyncio.to_thread(engine.start)
    redis = connect(redis_server.url)
    try:
        now = time.time()
        for number in range(30):
            event = CallEvent(
                kind=EventKind.SETUP, call_id=f"c{number}", ts=now + number / 100, switch="sw-kz-75", trunk="intl-1",
                caller_raw="+77010000003", callee_raw=f"8701000{number:04}",
            )  # fmt: skip
            await redis.xadd(Keys("kz").calls, encode_event(event))  # type: ignore[arg-type]
        await until(lambda: any(payload["explanation"] for _topic, payload in inbox.messages))
    finally:
        await redis.aclose()
        assert await asyncio.to_thread(engine.stop) == 0
    explained = [payload for _topic, payload in inbox.messages if payload["explanation"]]
    assert all(any(reason["by"] == "score" for reason in payload["reasons"]) for payload in explained)
    assert "номер этой страны пришёл из-за границы, и неизвестно, в роуминге ли он" in explained[0]["explanation"]
    assert load_settings(env={}).policy().region("KZ-75").language == "ru"
