"""The process that reads and compiles rules for a running engine, and what it says when it is done.

Compiling holds Python's interpreter lock for seconds; here it holds that of another process, which runs with low
priority, within bounds of time and memory, and without the engine's environment. It is given a ``Request`` on
standard input and answers on standard output: a ``Reply``, its length, and before them the bundle if there is one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Mapping
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from antifraud.decision.bundle import load_bundle, write_bundle
from antifraud.domain import AntifraudError, BundleError, ConfigError, ModelError, Problem
from antifraud.engine.rules_state import UNKNOWN, RulesState, rules_state
from antifraud.rulekit.list_folder import KnownList

_LENGTH: Final = 4
_PACKAGES: Final = ("domain", "numbering", "features", "rulekit", "decision", "engine")
_ATTEMPTS: Final = 3
_CLASSES: Final = {found.__name__: found for found in (BundleError, ConfigError, ModelError)}


class Request(msgspec.Struct, frozen=True):
    """What is to be compiled. ``program`` is the digest of the engine's own program (see ``program_digest``).

    ``seconds`` of the processor and ``memory`` (bytes of address space) bound the process.
    """

    rules_dir: str
    utc_offset_min: int
    known: Mapping[str, KnownList]
    program: str
    seconds: int
    memory: int


class Reply(msgspec.Struct, frozen=True):
    """How it went: nothing but ``state`` when there is a bundle, else what was wrong.

    ``state`` is that of the rules directory before it was read. ``kind`` is the class of the error that carries the
    ``problems``. ``crash`` is for the program's own mistakes.
    """

    state: RulesState = UNKNOWN
    kind: str = ""
    problems: tuple[Problem, ...] = ()
    crash: str = ""

    @property
    def error(self) -> AntifraudError | None:
        """The error that is carried, as it would have been raised here; None for a bundle."""
        return _CLASSES.get(self.kind, BundleError).of(self.problems) if self.problems else None


_REPLY: Final = msgspec.msgpack.Decoder(Reply)


def program_digest() -> str:
    """A digest of the program that makes bundles and takes them: the sources as they are now, and the Python.

    An engine goes on with the program that it began with when another version is installed under it. A bundle that
    the new one compiles may mean other things to the old one, so it must not be taken.
    """
    digest = hashlib.blake2b(f"{sys.version}\0".encode() + MAGIC_NUMBER, digest_size=16)
    root = Path(__file__).resolve().parent.parent
    for package in _PACKAGES:
        for path in sorted((root / package).glob("*.py")):
            digest.update(f"\0{package}/{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _refusal(error: AntifraudError, state: RulesState = UNKNOWN) -> Reply:
    return Reply(state, type(error).__name__, error.problems)


def compile_bundle(request: Request, stream: BinaryIO) -> Reply:
    """Write the bundle into ``stream`` and say how it went. Files that change meanwhile are read once more."""
    if program_digest() != request.program:
        message = "the program was changed since this engine was started; it keeps the rules it has"
        return _refusal(BundleError(message, hint="restart the engine: it then takes the new program and the rules"))
    rules_dir = Path(request.rules_dir)
    state = rules_state(rules_dir)
    for _attempt in range(_ATTEMPTS):
        before, refused = state, None
        try:
            bundle = load_bundle(rules_dir, request.utc_offset_min, request.known)
        except AntifraudError as error:
            refused = _refusal(error, before)
        state = rules_state(rules_dir)
        if state == before:
            break
    else:
        message = f"the files in {rules_dir} changed {_ATTEMPTS} times while they were read"
        return _refusal(BundleError(message, hint="put all of them in place, then reload"))
    if refused is not None:
        return refused
    write_bundle(bundle, {name: item.stamp for name, item in request.known.items()}, stream)
    return Reply(state)


def bounded_reply(request: Request, stream: BinaryIO) -> Reply:
    """``compile_bundle`` within the bounds of the request; whatever goes wrong is said in the reply.

    The address space is bounded while the rules are compiled and free again for the answer. The kernel refuses memory
    in two ways, as an allocation that fails and as a system call that does (ENOMEM); both mean the same.
    """
    if _address_space() > request.memory:
        return _too_large(request)
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (request.seconds, request.seconds))
        resource.setrlimit(resource.RLIMIT_AS, (request.memory, hard))
        return compile_bundle(request, stream)
    except Exception as error:  # noqa: BLE001 - whatever a broken file does to the compiler, the engine is told
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return _too_large(request)
        return Reply(crash=traceback.format_exc(limit=-5))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _too_large(request: Request) -> Reply:
    message = f"compiling the rules takes more than {request.memory >> 20} MiB of memory"
    return _refusal(BundleError(message, hint="shorten the lists, or split them"))


def _address_space() -> int:
    """The bytes of address space that this process has (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def main() -> None:
    """Read the request from standard input, write the answer to standard output, and end at once."""
    # The engine ends this process when it is told to stop itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stream = sys.stdout.buffer
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    reply = bounded_reply(request, stream)
    content = msgspec.msgpack.encode(reply)
    stream.write(content + len(content).to_bytes(_LENGTH, "little"))
    stream.flush()
    os._exit(0)  # taking all of it down again in order would take as long as making it


def read_answer(content: memoryview) -> tuple[Reply, memoryview]:
    """The reply in an answer, and the bundle before it. ValueError for an answer that is not whole."""
    size = int.from_bytes(content[-_LENGTH:], "little")
    if not 0 < size <= len(content) - _LENGTH:
        raise ValueError("the answer is cut off")
    return _REPLY.decode(content[-_LENGTH - size : -_LENGTH]), content[: -_LENGTH - size]
