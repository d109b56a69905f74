"""Fixtures: a Redis client and engines that are stopped by the test that started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from antifraud.queues import EmbeddedRedis
from tests.engine_process import EngineProcess


@pytest.fixture
def redis_client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    client = redis.Redis(unix_socket_path=str(redis_server.socket_path), socket_timeout=10)
    yield client
    client.close()


@pytest.fixture
def start_engine(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Callable[..., EngineProcess]]:
    started: list[EngineProcess] = []

    def start(*arguments: str, wait: bool = True, environment: dict[str, str] | None = None) -> EngineProcess:
        engine = EngineProcess(redis_server.url, tmp_path, *arguments, environment=environment)
        started.append(engine)
        return engine.start(wait=wait)

    yield start
    for engine in started:
        if engine.process is not None:
            if engine.process.poll() is None:
                engine.kill()
            if engine.process.stdout is not None:
                engine.process.stdout.close()
