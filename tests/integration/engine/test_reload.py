"""Rules that change under a running engine: no call is lost, late or decided by half a bundle."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import redis

from antifraud.decision import load_bundle
from antifraud.queues import EmbeddedRedis, Keys
from tests.engine_process import EngineProcess, wait_until
from tests.integration.cli.test_commands import antifraud
from tests.integration.engine.test_engine import answer, counter, decisions, setup_event

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., EngineProcess]
RULE = """\
rule: caller_of_the_test
title: one caller
owner: fraud-desk
why: a test
false_positives: none
when: caller == "{caller}"
then: {{verdict: block, reason: "a test"}}
rollout: {{stage: enforce, false_hits_per_million: 1}}
tests:
  - {{name: a, given: {{caller: "{caller}"}}, expect: hit}}
  - {{name: b, given: {{caller: "+77010000009"}}, expect: no_hit}}
"""
ONE = "packs/kz-callcentre/caller_of_the_test.yaml"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", folder)
    write(folder, "+77010000001")
    return folder


def write(folder: Path, caller: str) -> None:
    """Put the rule in place as editors and copying programs do."""
    beside = (folder / ONE).with_suffix(".new")
    beside.write_text(RULE.format(caller=caller))
    beside.replace(folder / ONE)


def digest(folder: Path) -> str:
    return load_bundle(folder, 300).digest


def stopped(client: redis.Redis, call_id: str, caller: str) -> bool:
    client.xadd(KEYS.calls, setup_event(call_id, caller_raw=caller))
    answer(client, call_id)
    return decisions(client)[-1]["full_verdict"] == "block"


def test_calls_during_reloads_are_decided_by_one_bundle_or_the_other(
    start_engine: Start, redis_client: redis.Redis, redis_server: EmbeddedRedis, rules: Path
) -> None:
    engine = start_engine(f"--rules={rules}", environment={"ANTIFRAUD_ENGINE_WATCH_RULES_S": "0"})
    digests = [digest(rules)]
    enough = threading.Event()
    sent: list[str] = []

    def call() -> None:
        client = redis.Redis(unix_socket_path=str(redis_server.socket_path), socket_timeout=10)
        while not enough.is_set():
            call_id = f"c{len(sent)}"
            client.xadd(KEYS.calls, setup_event(call_id, deadline_ms=2_000))
            sent.append(call_id)
            time.sleep(0.002)
        client.close()

    calling = threading.Thread(target=call)
    calling.start()
    try:
        time.sleep(0.5)
        for turn in range(1, 4):
            write(rules, f"+7701000{turn + 1:04}")
            digests.append(digest(rules))
            assert engine.process is not None
            if turn == 2:
                engine.process.send_signal(signal.SIGHUP)
            else:
                redis_client.xadd(KEYS.control, {"op": "reload", "who": "analyst", "why": "a test"})
            wait_until(lambda turn=turn: counter(redis_client, "reloads") == turn)
        time.sleep(0.3)
    finally:
        enough.set()
        calling.join()
    wait_until(lambda: len(decisions(redis_client)) >= len(sent))
    made = decisions(redis_client)
    assert [one["call_id"] for one in made] == sent
    assert [bundle for bundle, _ in groupby(one["bundle"] for one in made)] == digests
    assert not any(one.get("late") for one in made)
    assert len(set(digests)) == 4
    # Whoever waited has got an answer.
    assert sum(redis_client.llen(KEYS.reply(call_id)) for call_id in sent[-100:]) == 100


def test_a_changed_file_is_taken_by_itself_and_a_faulty_one_is_not(
    start_engine: Start, redis_client: redis.Redis, redis_server: EmbeddedRedis, rules: Path,
    free_port: Callable[[], int],
) -> None:  # fmt: skip
    listen = f"127.0.0.1:{free_port()}"
    environment = {"ANTIFRAUD_ENGINE_WATCH_RULES_S": "0.2", "ANTIFRAUD_METRICS_LISTEN": listen}
    engine = start_engine(f"--rules={rules}", environment=environment)

    def doctor() -> dict[str, Any]:
        found = json.loads(antifraud("doctor", "--json", f"--redis={redis_server.url}", f"--rules={rules}").stdout)
        return next(one for one in found if one["area"] == "rules in force")

    def metrics() -> str:
        with urllib.request.urlopen(f"http://{listen}/metrics", timeout=10) as response:
            return str(response.read().decode())

    assert stopped(redis_client, "first", "+77010000001")
    write(rules, "+77010000002")
    wait_until(lambda: counter(redis_client, "reloads") == 1)
    assert stopped(redis_client, "second", "+77010000002")
    assert not stopped(redis_client, "third", "+77010000001")
    wait_until(lambda: redis_client.hget(KEYS.position, "bundle") == digest(rules).encode())
    assert doctor() == {"area": "rules in force", "state": "ok", "text": f"bundle {digest(rules)}", "hint": ""}

    sound = (rules / ONE).read_text()
    good = digest(rules)
    (rules / ONE).write_text(sound.replace("caller ==", "callr =="))
    wait_until(lambda: counter(redis_client, "reload_refused") == 1)
    assert f"{rules / ONE}:6:7: " in engine.log.read_text()
    assert "did you mean caller?" in engine.log.read_text()
    assert stopped(redis_client, "fourth", "+77010000002")
    wait_until(lambda: "antifraud_rules_refused 1.0" in metrics())
    found = doctor()
    assert found["state"] == "warn"
    assert f"goes on with bundle {good}" in found["text"]
    assert f"{rules / ONE}:6:7: " in found["text"]
    # It is said once, not at every look.
    time.sleep(1.0)
    assert counter(redis_client, "reload_refused") == 1

    (rules / ONE).write_text(sound)
    wait_until(lambda: counter(redis_client, "reloads") == 2)
    wait_until(lambda: "antifraud_rules_refused 0.0" in metrics())
    assert "the rules are those that are in force" in engine.log.read_text()
    assert doctor()["state"] == "ok"


def test_the_last_of_many_quick_edits_wins(start_engine: Start, redis_client: redis.Redis, rules: Path) -> None:
    start_engine(f"--rules={rules}", environment={"ANTIFRAUD_ENGINE_WATCH_RULES_S": "0.2"})
    for turn in range(20):
        write(rules, f"+7701000{turn:04}")
        redis_client.xadd(KEYS.control, {"op": "reload", "who": "analyst", "why": "a test"})
        time.sleep(0.05)
    wanted = digest(rules).encode()
    wait_until(lambda: redis_client.hget(KEYS.position, "bundle") == wanted)
    assert stopped(redis_client, "last", "+77010000019")
    # Twenty edits within a second are compiled a few times, not twenty.
    assert counter(redis_client, "reloads") <= 5


def test_other_windows_wait_for_a_restart_and_the_rules_of_before_go_on(
    start_engine: Start, redis_client: redis.Redis, rules: Path
) -> None:
    engine = start_engine(f"--rules={rules}", environment={"ANTIFRAUD_ENGINE_WATCH_RULES_S": "0.2"})
    before = digest(rules)
    declared = (rules / "windows.yaml").read_text(encoding="utf-8")
    added = "  caller_calls_7m:\n    kind: count\n    by: caller\n    over: 7m\n    doc: {en: a, ru: б, kk: в}\n\n"
    place = declared.index("  caller_calls_1m:")
    (rules / "windows.yaml").write_text(declared[:place] + added + declared[place:], encoding="utf-8")
    write(rules, "+77010000002")
    wait_until(lambda: counter(redis_client, "reload_refused") == 1)
    assert "the windows have changed (new: caller_calls_7m)" in engine.log.read_text()
    assert stopped(redis_client, "before", "+77010000001")
    assert decisions(redis_client)[-1]["bundle"] == before
    assert engine.stop() == 0
    start_engine(f"--rules={rules}")
    assert stopped(redis_client, "after", "+77010000002")
    assert decisions(redis_client)[-1]["bundle"] == digest(rules)


def test_a_standby_takes_over_with_the_rules_as_they_are_then(
    start_engine: Start, redis_client: redis.Redis, rules: Path
) -> None:
    environment = {"ANTIFRAUD_ENGINE_LEASE_S": "1", "ANTIFRAUD_ENGINE_WATCH_RULES_S": "0"}
    first = start_engine(f"--rules={rules}", environment=environment)
    second = start_engine(f"--rules={rules}", wait=False, environment=environment)
    wait_until(lambda: "standing by" in second.log.read_text(), 60)
    write(rules, "+77010000002")
    first.kill()
    assert stopped(redis_client, "one", "+77010000002")
    assert decisions(redis_client)[-1]["bundle"] == digest(rules)
