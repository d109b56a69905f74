"""Reloading: another process compiles the rules, a thread takes them in, and the engine swaps one reference.

The engine's own loop does next to nothing: it starts the process and, between two batches, asks whether a new bundle
is there. The thread makes the bundle of what the process wrote in steps of a fraction of a millisecond and sleeps in
between, so that a decision never waits for more than one of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from antifraud.decision import Bundle
from antifraud.decision.bundle import read_bundle
from antifraud.domain import AntifraudError, BundleError
from antifraud.engine.compiling import Request, program_digest, read_answer
from antifraud.engine.rules_state import UNKNOWN, RulesState
from antifraud.engine.run_time_lists import RunTimeLists
from antifraud.rulekit import Ahead

_LOG: Final = logging.getLogger("antifraud.engine")
PAUSE_S: Final = 0.001
LONGEST_S: Final = 300
MEMORY: Final = 4 << 30
"""Bytes that compiling may take: a list of a million entries takes some hundred megabytes while it is read."""
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
NICE: Final = 10
_BEGIN: Final = f"""
import contextlib, json, os, sys
# Before anything else: below the engine in rank, also where the engine has real-time priority.
with contextlib.suppress(OSError):
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
os.nice({NICE})
sys.path[:] = json.loads(sys.argv[1])
from antifraud.engine.compiling import main
main()
"""
"""What the process runs: the program of the engine, found where the engine found it."""


class RulesPlace(msgspec.Struct, frozen=True):
    """Where an engine's rules lie, the local time of its calls, and what the files looked like when they were read.

    ``check`` raises ConfigError where what regions set does not fit the parameters that rules declare (rule →
    parameter → value), with the place in config/ that says it. Any thread calls it.
    """

    directory: Path
    utc_offset_min: int
    state: RulesState = UNKNOWN
    check: Callable[[Mapping[str, Mapping[str, Any]]], None] | None = None


class Loaded(msgspec.Struct, frozen=True):
    """What came of a reload: a bundle, or the error that refuses it. ``seconds``: how long it took."""

    bundle: Bundle | None
    error: AntifraudError | None
    state: RulesState
    seconds: float
    ahead: Ahead | None = None
    """What ``RunTimeLists.prepare`` said of the bundle."""


class Reloader:
    """Compiles the rules again when it is asked to. One at a time; what is asked for meanwhile is done once more after.

    ``lists`` has the bundle in force, whose windows and unchanged lists go into the new one, and the run-time changes
    that are put over it.
    """

    def __init__(
        self, place: RulesPlace, lists: RunTimeLists, *, longest_s: int = LONGEST_S, memory: int = MEMORY
    ) -> None:
        self._place = place
        self._lists = lists
        self._longest_s = longest_s
        self._memory = memory
        self._program = program_digest()
        self._task: asyncio.Task[Loaded] | None = None
        self._again = False
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def request(self) -> None:
        """Compile the rules; ``poll`` gives what comes of it."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(asyncio.to_thread(self.load))
        else:
            self._again = True  # what is being compiled may have been read before the newest edit

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come, or to be polled."""
        return self._task is not None

    def poll(self) -> Loaded | None:
        """What came of the last request, once; None while it is being worked on."""
        if self._task is None or not self._task.done():
            return None
        task, self._task = self._task, None
        if self._again:
            self._again = False
            self.request()
        return task.result()

    async def close(self) -> None:
        """End whatever is going on; nothing comes of it."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def load(self) -> Loaded:
        """Compile the rules and take them in, in this thread, which mostly sleeps."""
        begun = time.monotonic()
        current = self._lists.bundle
        request = Request(
            str(self._place.directory),
            self._place.utc_offset_min,
            current.known_lists(),
            self._program,
            self._longest_s,
            self._memory,
        )
        state = UNKNOWN
        try:
            reply, written = read_answer(self._answer(msgspec.msgpack.encode(request)))
            state, refused = reply.state, reply.error
            if reply.crash:
                _LOG.error("the process that compiles rules failed:\n%s", reply.crash)
                refused = _fault(reply.crash.strip().rpartition("\n")[2])
            if refused is None:
                bundle = read_bundle(written, current, self._pause)
                if self._place.check is not None:
                    self._place.check(bundle.rules.defaults)
                ahead = self._lists.prepare(bundle)
                return Loaded(bundle, None, state, time.monotonic() - begun, ahead)
        except AntifraudError as error:
            refused = error
        except Exception as error:  # noqa: BLE001 - whatever a broken file leads to, the engine goes on
            if not self._closed:
                _LOG.exception("the new bundle cannot be taken in")
            refused = _fault(f"{type(error).__name__}: {error}")
        return Loaded(None, refused, state, time.monotonic() - begun)

    def _pause(self) -> None:
        time.sleep(PAUSE_S)
        if self._closed:
            raise InterruptedError("the engine is stopping")

    def _answer(self, request: bytes) -> memoryview:
        """What the compiling process answers; BundleError when it does not answer."""
        given, answer = os.memfd_create("antifraud-request"), os.memfd_create("antifraud-bundle")
        try:
            with open(given, "wb", closefd=False) as stream:
                stream.write(request)
            os.lseek(given, 0, os.SEEK_SET)
            code = self._run(given, answer)
            size = os.fstat(answer).st_size
            if code != 0 or size == 0:
                raise _ended(code, self._longest_s)
            return memoryview(mmap.mmap(answer, size, prot=mmap.PROT_READ))
        finally:
            os.close(given)
            os.close(answer)

    def _run(self, given: int, answer: int) -> int:
        """Run the process to its end; its exit code, negative for a signal.

        It gets no more of the environment than it needs: it reads what others wrote.
        """
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        try:
            process = self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-c", _BEGIN, json.dumps(sys.path)],
                stdin=given,
                stdout=answer,
                env=environment,
            )
        except OSError as error:
            message = f"no process can be started to compile the rules: {error.strerror}"
            raise BundleError(message, hint="reload once the machine has room for it") from None
        if self._closed:
            process.kill()
        try:
            return process.wait(self._longest_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return -signal.SIGXCPU
        finally:
            self._process = None


def _fault(what: str) -> BundleError:
    return BundleError(
        f"the rules cannot be compiled: {what}",
        hint="this is a fault of the program: report it with the lines of the log before this one",
    )


def _ended(code: int, longest_s: int) -> BundleError:
    """Why there is no answer from a process that ended with ``code``."""
    if code == -signal.SIGXCPU:
        return BundleError(
            f"compiling the rules takes longer than {longest_s} seconds",
            hint="shorten the lists or the rules, or see what else keeps this machine busy",
        )
    if code < 0:
        name = signal.Signals(-code).name
        hint = "this machine may have run out of memory" if code == -signal.SIGKILL else "look at the log of the system"
        return BundleError(f"the process that compiles the rules was ended by {name}", hint=hint)
    hint = "what it said stands in the log before this line"
    return BundleError(f"the process that compiles the rules ended with exit code {code}", hint=hint)
