"""The figures of the engine: what Prometheus reads, what lies in Redis, and that neither disturbs a call."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from antifraud.domain import ConfigError
from antifraud.engine import Board, Figures
from antifraud.engine.metrics import MetricsServer
from antifraud.queues import Keys
from tests.engine_process import EngineProcess, wait_until
from tests.integration.engine.test_engine import answer, setup_event

KEYS = Keys("kz")
Start = Callable[..., EngineProcess]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(url: str) -> Samples:
    with urllib.request.urlopen(url, timeout=10) as response:
        text = response.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_figures_are_served_as_prometheus_reads_them() -> None:
    board = Board("kz")
    with MetricsServer("127.0.0.1:0", board) as server:
        samples = read(server.url)
        assert value(samples, "antifraud_serving") == 0
        assert value(samples, "antifraud_decisions_total", verdict="block") == 0
        assert value(samples, "antifraud_latency_seconds_count") == 0
        fold = {
            "events": 70, "late": 2, "duplicates": 3, "memory_bytes": 1000, "memory_limit_bytes": 4000, "evicted": 9,
            "caller.keys": 5, "caller.bytes": 640, "caller.evicted": 9, "caller+callee.keys": 6,
            "caller>callee.pairs": 7, "caller>callee.cut": 1,
        }  # fmt: skip
        counts = {
            "events": 70, "decisions.block": 4, "quarantine.ts-absurd": 2, "latency_ms.5": 3, "latency_ms.1000": 2,
            "latency_ms.more": 1, "something_new": 8, "others.a": 1, "others.b": 2,
        }  # fmt: skip
        board.publish(Figures(counts=counts, latency_s=4.5, fold=fold, serving=True, bundle="abc"))
        samples = read(server.url)
        assert value(samples, "antifraud_serving") == 1
        assert value(samples, "antifraud_events_total") == 70
        assert value(samples, "antifraud_decisions_total", verdict="block") == 4
        assert value(samples, "antifraud_decisions_total", verdict="allow") == 0
        assert value(samples, "antifraud_quarantine_total", code="ts-absurd") == 2
        assert value(samples, "antifraud_something_new_total") == 8
        assert value(samples, "antifraud_others_total", kind="b") == 2
        assert value(samples, "antifraud_latency_seconds_bucket", le="0.002") == 0
        assert value(samples, "antifraud_latency_seconds_bucket", le="0.005") == 3
        assert value(samples, "antifraud_latency_seconds_bucket", le="1.0") == 5
        assert value(samples, "antifraud_latency_seconds_bucket", le="+Inf") == 6
        assert value(samples, "antifraud_latency_seconds_count") == 6
        assert value(samples, "antifraud_latency_seconds_sum") == 4.5
        assert value(samples, "antifraud_features_keys", table="caller+callee") == 6
        assert value(samples, "antifraud_features_bytes", table="caller") == 640
        assert value(samples, "antifraud_features_evicted_total", table="caller") == 9
        assert value(samples, "antifraud_features_pairs", stream="caller>callee") == 7
        assert value(samples, "antifraud_features_cut_total", stream="caller>callee") == 1
        assert value(samples, "antifraud_features_memory_bytes") == 1000
        assert value(samples, "antifraud_features_memory_limit_bytes") == 4000
        assert value(samples, "antifraud_features_late_total") == 2
        assert value(samples, "antifraud_features_duplicates_total") == 3


def test_only_metrics_are_served_and_a_silent_asker_is_left_behind() -> None:
    with MetricsServer("127.0.0.1:0", Board("kz")) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
        assert caught.value.code == 404
        caught.value.close()
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)) as rude:
            rude.sendall(b"\x00\xff\r\n\r\n" * 100)
            assert value(read(server.url), "antifraud_serving") == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_an_address_that_cannot_be_used_is_said_in_words() -> None:
    with MetricsServer("127.0.0.1:0", Board("kz")) as server:
        taken = server.url.removeprefix("http://").removesuffix("/metrics")
        with pytest.raises(ConfigError, match=f"metrics.listen {taken} cannot be used: Address already in use"):
            MetricsServer(taken, Board("kz"))
    with pytest.raises(ConfigError, match="cannot be used"):
        MetricsServer("no-such-host.invalid:9464", Board("kz"))


@pytest.mark.needs("redis")
def test_the_engine_publishes_its_figures(
    start_engine: Start, redis_client: redis.Redis, free_port: Callable[[], int]
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    environment = {"ANTIFRAUD_METRICS_LISTEN": listen, "ANTIFRAUD_FEATURES_MEMORY_LIMIT": "128MiB"}
    redis_client.hset(KEYS.features, "gone.keys", "7")
    start_engine(environment=environment)
    redis_client.xadd(KEYS.calls, setup_event("one"))
    redis_client.xadd(KEYS.calls, setup_event("one"))
    redis_client.xadd(KEYS.calls, setup_event("two", trunk="intl-1", caller_raw="+77000000003", roaming=False))
    redis_client.xadd(KEYS.calls, {"kind": "nonsense"})
    for call_id in ("one", "one", "two"):
        answer(redis_client, call_id)

    def figures() -> dict[str, float]:
        found: Any = redis_client.hgetall(KEYS.features)
        return {name.decode(): float(number) for name, number in found.items()}

    wait_until(lambda: figures().get("events") == 4)  # three setups and the report about the one that was stopped
    assert "gone.keys" not in figures()
    assert figures()["duplicates"] == 1
    assert 0 < figures()["memory_bytes"] <= figures()["memory_limit_bytes"] <= 128 << 20
    assert figures()["caller.keys"] == 2

    samples = wait_until(
        lambda: (found := read(f"http://{listen}/metrics"))[("antifraud_events_total", ())] == 5 and found
    )
    assert value(samples, "antifraud_serving") == 1
    assert value(samples, "antifraud_decisions_total", verdict="allow") == 2
    assert value(samples, "antifraud_quarantine_total", code="kind-unknown") == 1
    assert value(samples, "antifraud_feedback_total") == 1
    assert value(samples, "antifraud_latency_seconds_count") == 3
    assert value(samples, "antifraud_features_keys", table="caller") == 2
    assert value(samples, "antifraud_features_events_total") == 4

    # The address is taken: a second engine there says so and ends; the first goes on.
    second = start_engine(wait=False, environment=environment)
    assert second.process is not None
    assert second.process.wait(timeout=60) == 2
    text = second.log.read_text()
    assert f"metrics.listen {listen} cannot be used: Address already in use" in text
    assert "Traceback" not in text
    redis_client.xadd(KEYS.calls, setup_event("three"))
    assert answer(redis_client, "three")["verdict"] == "allow"


@pytest.mark.needs("redis")
def test_the_address_is_free_again_when_the_engine_was_killed_while_it_wrote_a_snapshot(
    start_engine: Start, redis_client: redis.Redis, free_port: Callable[[], int]
) -> None:
    environment = {"ANTIFRAUD_METRICS_LISTEN": f"127.0.0.1:{free_port()}", "ANTIFRAUD_ENGINE_SNAPSHOT_EVERY_S": "1"}
    for number in range(2):
        engine = start_engine(environment=environment)
        redis_client.xadd(KEYS.calls, setup_event(f"call{number}"))
        answer(redis_client, f"call{number}")
        time.sleep(1.3)
        engine.kill()
