"""Starts parts as processes of their own, waits until each is ready, restarts and stops them by process id."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from antifraud.domain import QueueError

PARENT: Final = "ANTIFRAUD_PARENT"
"""The environment variable that tells a part which process it belongs to: it ends when that one does."""

_LOG = logging.getLogger("antifraud.up")
_START_S = 120.0
_STOP_S = 15.0


class Part(msgspec.Struct, frozen=True):
    """One process: what to call it, the arguments of ``antifraud``, and what is added to its environment."""

    name: str
    arguments: list[str]
    log: str = ""
    environment: dict[str, str] = {}


class Supervisor:
    """Owns the processes it starts; leaving the context stops all of them, last started first."""

    def __init__(self, *, restart: bool = False) -> None:
        self._restart = restart
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for process in reversed(list(self._processes.values())):
            await _stop(process)

    def pid(self, name: str) -> int:
        """The process id of the part called ``name``."""
        return self._processes[name].pid

    async def start(self, part: Part) -> str:
        """Start ``part``; the address that it says it serves. QueueError with its last words when it fails."""
        address = await self._launch(part)
        self._watchers.append(asyncio.create_task(self._watch(part)))
        return address

    async def _launch(self, part: Part) -> str:
        sink = Path(part.log).open("ab") if part.log else None  # noqa: SIM115, ASYNC230 - the child's, closed below
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "antifraud.cli", *part.arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=sink, start_new_session=True,
                env={**os.environ, **part.environment, PARENT: str(os.getpid())},
            )  # fmt: skip
        finally:
            if sink is not None:
                sink.close()
        self._processes[part.name] = process
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), _START_S)
        except TimeoutError:
            line = b"silence"
        if not line.startswith(b"ready "):
            await _stop(process)
            raise QueueError(f"{part.name} did not start", hint=_last_words(part))
        return line[6:].decode("utf-8", "replace").strip()

    async def _watch(self, part: Part) -> None:
        pause = 0.2
        while not self._stopping:
            process = self._processes[part.name]
            assert process.stdout is not None
            while await process.stdout.read(65_536):
                pass
            code = await process.wait()
            if not self._restart:
                return
            _LOG.error("%s ended with code %s; starting it again in %.1f s", part.name, code, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)
            with contextlib.suppress(QueueError):
                await self._launch(part)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _last_words(part: Part) -> str:
    if not part.log:
        return "its messages stand above"
    try:
        return Path(part.log).read_bytes()[-1500:].decode("utf-8", "replace").strip() or "it said nothing"
    except OSError:
        return f"see {part.log}"
