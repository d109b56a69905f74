"""A real engine process beside a real Redis, for tests that need one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class EngineProcess:
    """``antifraud engine`` as people run it, stopped by its own process id."""

    def __init__(self, url: str, directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.log = directory / "engine.log"
        self._command = [
            sys.executable, "-m", "antifraud.cli", "engine", f"--redis={url}", f"--snapshots={directory / 's'}",
            *arguments,
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
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def wait_until(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true result of ``check``; an assertion when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")
