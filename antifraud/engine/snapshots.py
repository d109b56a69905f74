"""Where snapshots of the fold lie and which one is taken: the newest sound one, then the one before it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from antifraud.decision.calls_in_progress import OpenCall
from antifraud.engine.open_calls import read_calls, write_calls
from antifraud.features import Fold, Limits, SnapshotError, WindowSet

_LOG = logging.getLogger("antifraud.engine")
_KEPT: Final = 2
_MAX_S: Final = 300.0
_HUGE: Final = 2 << 20
_COLLAPSE: Final = 25
_MEND_S: Final = 0.004
_libc: Final = ctypes.CDLL(None)
_SNAPSHOT: Final = ".snapshot"
_CALLS: Final = ".calls"
_NAME: Final = re.compile(r"([a-z0-9_-]{1,32})\.([0-9]{1,20})-([0-9]{1,20})\.snapshot", re.ASCII)


class Restored(NamedTuple):
    """A state and the stream id at which it stands.

    ``changed``: it was made with other windows than those in use now, of which it lacks ``lacking``.
    """

    fold: Fold
    position: str
    lacking: tuple[str, ...] = ()
    changed: bool = False


class SnapshotStore:
    """The snapshots of one shard in one directory; the name of each is the stream id that it stands at."""

    def __init__(self, directory: Path, shard: str) -> None:
        self._directory = directory
        self._shard = shard
        self._child = 0
        self._deadline = 0.0
        #: The address from which on memory is to be mended; -1 when there is nothing to mend.
        self._torn = -1

    def _files(self) -> list[Path]:
        """The snapshots, oldest first; whatever else lies in the directory is no concern of ours."""
        with contextlib.suppress(FileNotFoundError):
            found = [path for path in self._directory.iterdir() if self._position(path) and path.is_file()]
            return sorted(found, key=self._position)
        return []

    def _position(self, path: Path) -> tuple[int, ...]:
        """The stream id in a snapshot's name; empty for a name that is none of ours."""
        match = _NAME.fullmatch(path.name)
        return (int(match[2]), int(match[3])) if match is not None and match[1] == self._shard else ()

    def _named(self, path: Path, restored: Restored) -> Restored:
        """``restored``, which must stand where the name of its file says."""
        if restored.position != "{}-{}".format(*self._position(path)):
            raise SnapshotError("damaged", f"{path}: the snapshot stands elsewhere than its name says")
        return restored

    def _remove(self, files: Iterable[Path]) -> None:
        for path in files:
            for one in (path, path.with_suffix(_CALLS)) if path.suffix == _SNAPSHOT else (path,):
                try:
                    one.unlink(missing_ok=True)
                except OSError as error:
                    _LOG.warning("%s cannot be removed: %s", one, error.strerror)

    def _clear_unfinished(self) -> None:
        """Remove what a child that was ended left behind: it contains phone numbers and is of no use."""
        self._remove(self._directory.glob(f"{self._shard}.*.snapshot.part"))
        self._remove(self._directory.glob(f"{self._shard}.*{_CALLS}.part"))

    def oldest_position(self) -> str | None:
        """The stream id of the oldest snapshot kept; None when there is none."""
        files = self._files()
        return "{}-{}".format(*self._position(files[0])) if files else None

    def save(self, fold: Fold, position: str, calls: Sequence[OpenCall] = ()) -> None:
        """Write the state at ``position`` with the ``calls`` in progress; the one before is kept, older ones go.

        Raises OSError.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        write_calls(self._directory / f"{self._shard}.{position}{_CALLS}", calls)
        fold.save(self._directory / f"{self._shard}.{position}.snapshot", position)
        self._remove(self._files()[:-_KEPT])

    def load_calls(self, position: str) -> list[OpenCall]:
        """The calls that were going on at the snapshot of ``position``; none where that is not known."""
        calls = read_calls(self._directory / f"{self._shard}.{position}{_CALLS}")
        if calls is None:
            _LOG.warning("which calls were going on at %s is not known; they are not intercepted", position)
        return calls or []

    def start(self, fold: Fold, position: str, calls: Sequence[OpenCall] = ()) -> None:
        """Let a child process ``save``; nothing happens while an earlier one is still at it. Raises OSError.

        A forked child sees the memory as it was at the fork, at the price of a copied page table instead of copied
        tables; this is how Redis itself writes. The child touches nothing but the file and ends without cleaning up.
        """
        if self._child:
            return
        self._child = os.fork()
        if self._child:
            self._deadline = time.monotonic() + _MAX_S
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.nice(5)
            self.save(fold, position, calls)
            code = 0
        finally:
            os._exit(code)

    def poll(self) -> bool | None:
        """Whether the child has written its snapshot; None while it has not ended or there is none."""
        if not self._child:
            return None
        ended, status = os.waitpid(self._child, os.WNOHANG)
        if not ended:
            if time.monotonic() > self._deadline:
                self.abandon()
                return False
            return None
        self._child = 0
        self._torn = 0
        return status == 0

    @property
    def is_torn(self) -> bool:
        """Whether memory has still to be mended after the last snapshot."""
        return self._torn >= 0

    def mend(self, fold: Fold) -> None:
        """Put memory that a snapshot tore apart together again, a few milliseconds at a time.

        While a child shares the memory, every piece that is written to is torn into pages of 4 KiB, and the next fork
        has to copy an entry for each of them: with millions of callers that takes hundreds of milliseconds. The
        system can make huge pages of them again (Linux 6.1, MADV_COLLAPSE); where it cannot, nothing is lost.
        """
        if self._torn < 0 or self._child:
            return
        memory = fold.memory
        address, end = memory.ctypes.data, memory.ctypes.data + memory.nbytes
        piece = max(self._torn, -(-address // _HUGE) * _HUGE)
        until = time.monotonic() + _MEND_S
        while piece + _HUGE <= end and time.monotonic() < until:
            # Pieces that were never used stay so: the call refuses them (EINVAL), and all of them where it is unknown.
            _libc.madvise(ctypes.c_void_p(piece), ctypes.c_size_t(_HUGE), _COLLAPSE)
            piece += _HUGE
        self._torn = piece if piece + _HUGE <= end else -1

    def abandon(self) -> None:
        """End the child, if there is one; the file it was writing is never put in place."""
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0
            self._torn = 0
            self._clear_unfinished()

    def load(
        self, windows: WindowSet, retention_s: float, limits: Limits | None = None, last_id: str | None = None
    ) -> Restored | None:
        """The newest sound state; None when there is none (the log is then folded from its start).

        ``limits`` hold from now on; None keeps those that the snapshot was made with. A snapshot that was made with
        other windows is given as it is, with the names of those that it lacks. One that stands after ``last_id``, the
        newest of the log, is of another log and left alone.
        """
        self._clear_unfinished()
        for path in reversed(self._files()):
            if last_id is not None and self._position(path) > tuple(map(int, last_id.split("-"))):
                _LOG.error("snapshot %s is of another log and is left alone", path.name)
                continue
            try:
                try:
                    return self._named(path, Restored(*Fold.load(path, windows, limits=limits)))
                except SnapshotError as error:
                    if error.reason != "windows":
                        raise
                return self._named(path, Restored(*Fold.load_stayed(path, windows), changed=True))
            except SnapshotError as error:
                _LOG.warning(
                    "snapshot %s is refused (%s); one before it is looked for, otherwise the log of up to %.0f h is "
                    "folded again",
                    path.name,
                    error,
                    retention_s / 3600,
                )
        return None
