"""Rules that a running engine does not take, because a region sets a parameter that they have no more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from antifraud.queues import Keys
from tests.engine_process import EngineProcess, wait_until
from tests.integration.engine.test_engine import counter

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
ROOT = Path(__file__).resolve().parents[3]


def test_the_message_names_the_region_s_file(
    start_engine: Callable[..., EngineProcess], redis_client: redis.Redis, tmp_path: Path
) -> None:
    rules = shutil.copytree(ROOT / "rules", tmp_path / "rules")
    config = shutil.copytree(ROOT / "config", tmp_path / "config")
    region = config / "regions" / "KZ-71.yaml"
    before, policy, after = region.read_text(encoding="utf-8").partition("policy:\n")
    setting = "  rules:\n    many_distinct_callees: {callees: 60}\n"
    region.write_text(f"{before}{policy}{setting}{after}", encoding="utf-8")
    environment = {"ANTIFRAUD_ENGINE_WATCH_RULES_S": "0"}
    engine = start_engine(f"--rules={rules}", f"--config={config}", environment=environment)

    rule = rules / "packs" / "kz-callcentre" / "many_distinct_callees.yaml"
    text = rule.read_text(encoding="utf-8")
    rule.write_text(text.replace("params.callees", "params.most").replace("  callees:", "  most:"), encoding="utf-8")
    redis_client.xadd(KEYS.control, {"op": "reload", "who": "analyst", "why": "a test"})
    wait_until(lambda: counter(redis_client, "reload_refused") == 1)
    said = engine.log.read_text(encoding="utf-8")
    place = f"{region}:{before.count(chr(10)) + 3}:29"
    assert f"{place}: the rule many_distinct_callees has no parameter callees" in said

    rule.write_text(text, encoding="utf-8")
    redis_client.xadd(KEYS.control, {"op": "reload", "who": "analyst", "why": "as it was"})
    wait_until(lambda: counter(redis_client, "reloads") == 1)
    assert engine.stop() == 0
