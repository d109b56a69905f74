"""What the engine's commands expect of an adapter, a file reader and a caller; found by entry points, never imported.

Entry-point groups: ``antifraud.adapters`` (live sources), ``antifraud.agents`` (carry commands out on a switch),
``antifraud.readers`` (files), ``antifraud.callers`` (place calls on an adapter the way a switch would).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from antifraud.domain.event import CallEvent, Quarantined


class Adapter(Protocol):
    """A live source. ``options`` comes from the ``adapters.<name>`` section of config/."""

    name: str
    summary: str

    async def run(
        self,
        *,
        shard: str,
        redis_url: str,
        options: Mapping[str, Any],
        ready: Callable[[str], None],
    ) -> None:
        """Serve until cancelled. ``ready`` is called once with the address that is served, e.g. ``127.0.0.1:5060``."""
        ...


class SwitchAgent(Protocol):
    """Carries the engine's commands out on one kind of switch. ``options`` is ``agents.<switch>`` of config/."""

    name: str
    summary: str

    async def run(
        self,
        *,
        shard: str,
        switch: str,
        region: str,
        redis_url: str,
        options: Mapping[str, Any],
        ready: Callable[[str], None],
    ) -> None:
        """Serve ``switch``, which belongs to ``region`` ("" when unknown), until cancelled; ``ready`` once."""
        ...


class Reader(Protocol):
    """A file format."""

    name: str
    summary: str

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether a file that begins with ``head`` (up to 4,096 bytes) is of this format."""
        ...

    def read(self, path: Path, options: Mapping[str, Any]) -> Iterator[CallEvent | Quarantined]:
        """The file's events in the order of their times as far as the format allows; bad pieces as Quarantined."""
        ...


class PlacedCall(msgspec.Struct, frozen=True):
    """One call to place: the event as the simulator made it (kind setup)."""

    event: CallEvent


class CallAnswer(msgspec.Struct, frozen=True):
    """What came back: the verdict in our word (``allow`` … ``block``), seconds it took, the protocol's status."""

    verdict: str
    seconds: float
    status: int


class Caller(Protocol):
    """Places calls on an adapter and reads the verdict back in the adapter's own protocol."""

    name: str

    def open(self, address: str) -> Awaitable[Callable[[PlacedCall], Awaitable[CallAnswer]]]:
        """Connect to the adapter at ``address``; the result places one call and waits for its verdict."""
        ...
