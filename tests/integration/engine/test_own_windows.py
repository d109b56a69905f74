"""A rule with windows of its own and a way of its own to refuse: what a switch gets from the engine as a process."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from antifraud.domain import EventKind
from tests.engine_process import EngineProcess

from .test_engine import KEYS, ROOT, answer, decisions, setup_event

pytestmark = pytest.mark.needs("redis")
Start = Callable[..., EngineProcess]
WITHOUT_MODEL = {"ANTIFRAUD_MODEL": "null"}

RULE = """\
rule: hangs_up_at_once
title: many calls of this number ended at once within seven minutes
owner: tests
why: a robot hangs up at once
false_positives: none that are known
windows:
  - name: at_once_7m
    kind: count
    by: caller
    over: 7m
    on: release
    where: talk_s < 2
when: at_once_7m >= 3
then:
  verdict: block
  code: 486
  reason: "{caller} hung up at once {at_once_7m} times"
rollout:
  stage: enforce
  false_hits_per_million: 20
tests:
  - {name: a robot, given: {at_once_7m: 3}, expect: hit}
  - {name: a person, given: {at_once_7m: 2}, expect: no_hit}
"""


def call(client: redis.Redis, number: int, **changes: Any) -> dict[str, Any]:
    """One call that ends at once; what the switch was told about it."""
    call_id = f"c{number}"
    client.xadd(KEYS.calls, setup_event(call_id, **changes))
    told = answer(client, call_id)
    ended = {"kind": EventKind.RELEASE, "ts": time.time(), "talk_s": 0.5, "ring_s": 3.0, "reply": ""}
    client.xadd(KEYS.calls, setup_event(call_id, **{**changes, **ended}))
    return told


def test_a_rule_counts_and_refuses_in_its_own_way(
    start_engine: Start, redis_client: redis.Redis, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", rules)
    (rules / "packs/mine").mkdir()
    (rules / "packs/mine/hangs_up_at_once.yaml").write_text(RULE, encoding="utf-8")
    engine = start_engine(f"--rules={rules}", environment=WITHOUT_MODEL)
    told = [call(redis_client, number, callee_raw=f"8700000001{number}") for number in range(5)]
    assert [item["verdict"] for item in told] == ["allow", "allow", "allow", "block", "block"]
    assert told[3]["code"] == 486
    assert told[3]["text"].endswith("3 times")
    assert decisions(redis_client)[3]["code"] == 486
    # In a region that diverts what would be blocked, nothing is refused.
    diverted = call(redis_client, 9, switch="sw-kz-71", callee_raw="87000000099")
    assert (diverted["verdict"], diverted["code"]) == ("divert", 302)
    assert engine.stop() == 0
