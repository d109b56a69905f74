"""Where snapshots of the fold lie and which one is taken: the newest sound one, then the one before it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from antifraud.features import Fold, Frozen, SnapshotError, WindowSet

_LOG = logging.getLogger("antifraud.engine")
_KEPT: Final = 2


class SnapshotStore:
    """The snapshots of one shard in one directory; the name of each is the stream id that it stands at."""

    def __init__(self, directory: Path, shard: str) -> None:
        self._directory = directory
        self._shard = shard

    def _files(self) -> list[Path]:
        """Oldest first."""
        found = self._directory.glob(f"{self._shard}.*.snapshot")
        return sorted(found, key=lambda path: _position(path.name))

    def oldest_position(self) -> str | None:
        """The stream id of the oldest snapshot kept; None when there is none."""
        files = self._files()
        return "{}-{}".format(*_position(files[0].name)) if files else None

    def write(self, frozen: Frozen) -> None:
        """Write a state; the one before is kept, older ones go. Any thread, one at a time. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        frozen.write(self._directory / f"{self._shard}.{frozen.header.position}.snapshot")
        for old in self._files()[:-_KEPT]:
            old.unlink(missing_ok=True)

    def load(self, windows: WindowSet, retention_s: float) -> tuple[Fold, str] | None:
        """The newest sound state and its position; None when there is none (the log is then folded from its start)."""
        for path in reversed(self._files()):
            try:
                return Fold.load(path, windows)
            except SnapshotError as error:
                _LOG.warning(
                    "snapshot %s is refused (%s); the log of up to %.0f h is folded again",
                    path.name,
                    error,
                    retention_s / 3600,
                )
        return None


def _position(name: str) -> tuple[int, int]:
    """The stream id in a snapshot's name; (0, 0) for a name that has none."""
    milliseconds, _, sequence = name.split(".")[-2].partition("-")
    return (int(milliseconds), int(sequence)) if milliseconds.isdigit() and sequence.isdigit() else (0, 0)
