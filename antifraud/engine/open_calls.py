"""The calls in progress on disk, beside the snapshot of the windows that stands at the same place of the log.

A digest, then the calls as MessagePack. A file that is missing, damaged or of another version costs the memory of which
calls were going on, and nothing else: those are then not intercepted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from antifraud.decision.calls_in_progress import MOST_CALLS, OpenCall
from antifraud.domain import EventError, check_event

MAX_BYTES: Final = 512 << 20
_MAGIC: Final = b"antifraud calls 1\n"
_DIGEST: Final = 16
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[OpenCall])


def write_calls(path: Path, calls: Sequence[OpenCall]) -> None:
    """Write ``calls``; the file is whole or not there at all. Raises OSError."""
    content = _ENCODER.encode(calls)
    unfinished = path.with_name(path.name + ".part")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + _digest(content) + content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def read_calls(path: Path) -> list[OpenCall] | None:
    """The calls, oldest first; None where there is no file that can be used."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    head = len(_MAGIC) + _DIGEST
    content = raw[head:]
    if len(raw) > MAX_BYTES or raw[:head] != _MAGIC + _digest(content):
        return None
    try:
        calls = _DECODER.decode(content)
        for call in calls:
            check_event(call.event)
    except (msgspec.MsgspecError, EventError, RecursionError):
        return None
    return calls[-MOST_CALLS:]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()
