"""Engines beside the desk, stopped by the test that started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antifraud.queues import EmbeddedRedis
from tests.engine_process import EngineProcess


@pytest.fixture
def start_engine(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Callable[..., EngineProcess]]:
    started: list[EngineProcess] = []

    def start(*arguments: str) -> EngineProcess:
        engine = EngineProcess(redis_server.url, tmp_path, *arguments)
        started.append(engine)
        return engine.start()

    yield start
    for engine in started:
        if engine.process is not None:
            if engine.process.poll() is None:
                engine.kill()
            if engine.process.stdout is not None:
                engine.process.stdout.close()
