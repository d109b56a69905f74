"""A real engine process, a real Redis, and what the tests need to talk to both."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from antifraud.queues import EmbeddedRedis, Keys

KEYS = Keys("kz")


class EngineProcess:
    """``antifraud engine`` as people run it, stopped by its own process id."""

    def __init__(self, url: str, directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.log = directory / "engine.log"
        self._command = [
            sys.executable, "-m", "antifraud.cli", "engine", f"--redis={url}", f"--snapshots={directory / 's'}", *arguments,
        ]  # fmt: skip
        self._environment = {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> EngineProcess:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, env=self._environment, start_new_session=True
            )
        if wait:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line.startswith(b"ready "), self.log.read_text()
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self) -> int:
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


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


def wait_until(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true result of ``check``; an assertion when there is none in time."""

    async def poll() -> Any:
        for _ in range(int(seconds / 0.05)):
            found = check()
            if found:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError("it did not happen in time")

    return asyncio.run(poll())
