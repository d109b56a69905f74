"""Follows a growing file: complete lines out, and the position from which a restart goes on.

Nothing is lost when the file is rotated (renamed or copied and emptied), also while nobody was looking; a line may
come twice after a crash, which the log takes without harm. No Redis and no parsing here; every method may block on
the disk, so call it in a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from sip_adapters.cdr.rows import MAX_LINE

HEAD_BYTES: Final = 256
CHUNK_BYTES: Final = 1 << 18
QUIET_POLLS: Final = 3
_MAX_SIBLINGS: Final = 256
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".zip")


class Position(msgspec.Struct, frozen=True):
    """Where reading stands. ``head`` is a digest of the file's first ``head_len`` bytes: it tells a file that was
    emptied and written anew from one that has grown. ``skipping``: inside a line that is too long."""

    device: int
    inode: int
    offset: int
    head_len: int = 0
    head: str = ""
    skipping: bool = False
    v: int = 1


class Chunk(msgspec.Struct, frozen=True):
    """Complete lines without their line ends, the first line of their file (where it is a header), and the position
    behind them. A line that is too long comes as its first MAX_LINE + 1 bytes."""

    lines: tuple[bytes, ...]
    header: bytes | None
    position: Position | None


_NOTHING: Final = Chunk((), None, None)
_DECODER: Final = msgspec.json.Decoder(Position)


def load_position(path: Path) -> Position | None:
    """The position kept in ``path``; None when there is none or it is damaged (then reading begins anew)."""
    try:
        return _DECODER.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def save_position(path: Path, position: Position) -> None:
    """Keep ``position`` in ``path``, whole or not at all (written beside it, synced, renamed over it)."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(msgspec.json.encode(position) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    with contextlib.suppress(OSError):
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class Tail:
    """One file that grows. ``has_header``: the first line of each file names its columns and is not a record.

    ``restarts`` counts how often the file was found emptied, ``lost`` how often the place where reading stood could
    not be found again (the rotated file was packed or removed before it was read to its end).
    """

    def __init__(
        self, path: Path, position: Position | None = None, *, has_header: bool = False, from_end: bool = False
    ) -> None:
        self._path = path
        self._resume = position
        self._has_header = has_header
        self._from_end = from_end and position is None
        self._file: BinaryIO | None = None
        self._offset = 0
        self._head = b""
        self._header: bytes | None = None
        self._skipping = False
        self._quiet = 0
        self._next: list[Path] = []
        self.restarts = 0
        self.lost = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def poll(self, most: int = 512) -> Chunk:
        """Up to ``most`` new lines; an empty chunk when there is nothing new. Raises OSError only for a file that
        exists and cannot be read."""
        file = self._current()
        if file is not None and self._was_replaced(file):
            self._start_over()
            file = self._current()
        if file is None:
            return _NOTHING
        chunk = self._read(file, most)
        if chunk.position is None:
            return self._turn(file)
        self._quiet = 0
        return chunk

    def _current(self) -> BinaryIO | None:
        if self._file is None:
            self._open()
        return self._file

    def _open(self) -> bool:
        """Open what is to be read next: what was read last, wherever it lies now, or the file itself."""
        resume, self._resume = self._resume, None
        if resume is not None:
            if self._reopen(resume):
                return True
            self.lost += 1
        while self._next:
            if self._take(self._next.pop(0), None):
                return True
        taken = self._take(self._path, None)
        if taken and self._from_end and self._file is not None:
            self._offset = _last_line_end(self._file)
        self._from_end = False
        return taken

    def _take(self, path: Path, position: Position | None) -> bool:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        self.close()
        self._file = file
        self._offset = 0 if position is None else position.offset
        self._skipping = position is not None and position.skipping
        self._head = b"" if position is None else _pread(file, 0, position.head_len)
        self._header = None
        self._quiet = 0
        if self._has_header and self._offset:
            self._header = _pread(file, 0, MAX_LINE).split(b"\n", 1)[0].rstrip(b"\r")
        return True

    def _reopen(self, position: Position) -> bool:
        """Find the file that ``position`` speaks of, under its name or a rotated one, and what came after it."""
        places = [self._path, *self._siblings()]
        matching = [place for place in places if _matches(place, position)]
        same = [place for place in matching if _inode(place) == (position.device, position.inode)]
        # Copied and emptied: the copy has another inode and the same beginning.
        found = next(iter(same or matching), None)
        if found is None or not self._take(found, position):
            return False
        if found != self._path:
            age = _mtime(found)
            newer = [place for place in self._siblings() if place != found and _mtime(place) > age]
            self._next = sorted(newer, key=_mtime)
        return True

    def _siblings(self) -> list[Path]:
        """Rotated files beside the followed one: Master.csv.1, Master.csv-20241123 …, packed ones left out."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._path.parent) if entry.is_file())
        except OSError:
            return []
        stem = self._path.name
        rotated = [name for name in names if name.startswith((stem + ".", stem + "-")) and not name.endswith(_PACKED)]
        kept = [name for name in rotated if not name.endswith((".new", ".checkpoint"))]
        return [self._path.parent / name for name in kept[:_MAX_SIBLINGS]]

    def _was_replaced(self, file: BinaryIO) -> bool:
        """Whether the open file was emptied, perhaps written anew since."""
        if os.fstat(file.fileno()).st_size < self._offset:
            return True
        return bool(self._head) and _pread(file, 0, len(self._head)) != self._head

    def _start_over(self) -> None:
        """The file was copied and emptied: what was not read yet may lie in the copy."""
        position = self._position()
        self.close()
        self.restarts += 1
        if not self._reopen(position):
            self.lost += 1
            self._take(self._path, None)

    def _read(self, file: BinaryIO, most: int) -> Chunk:
        data = _pread(file, self._offset, CHUNK_BYTES)
        if self._offset < HEAD_BYTES and len(self._head) < HEAD_BYTES:
            self._head = _pread(file, 0, HEAD_BYTES)
        lines: list[bytes] = []
        at = 0
        moved = False
        while len(lines) < most:
            end = data.find(b"\n", at)
            if end < 0:
                if len(data) - at > MAX_LINE:  # report a line that is too long once, pass over the rest of it
                    if not self._skipping:
                        lines.append(data[at : at + MAX_LINE + 1])
                    self._skipping = True
                    at = len(data)
                    moved = True
                elif self._skipping and at < len(data):
                    at = len(data)
                    moved = True
                break
            line = data[at:end]
            first = self._offset == 0 and at == 0
            at = end + 1
            moved = True
            if self._skipping:
                self._skipping = False
            elif first and self._has_header:
                self._header = line.rstrip(b"\r")
            else:
                lines.append(line[: MAX_LINE + 1].rstrip(b"\r"))
        if not moved:
            return _NOTHING
        self._offset += at
        return Chunk(tuple(lines), self._header, self._position())

    def _turn(self, file: BinaryIO) -> Chunk:
        """Nothing new: go on to the next file once this one is no longer the one that is written."""
        mine = os.fstat(file.fileno())
        current = _inode(self._path)
        if not self._next and (current is None or current == (mine.st_dev, mine.st_ino)):
            self._quiet = 0
            return _NOTHING
        self._quiet += 1
        # A writer may keep the renamed file open a little longer than its new name exists.
        if self._quiet < QUIET_POLLS:
            return _NOTHING
        rest = b"" if self._skipping else _pread(file, self._offset, MAX_LINE + 1)
        header = self._header
        behind = self._position()
        if not self._open():
            self._resume = behind
            return _NOTHING
        # The last line of a finished file needs no line end; the position already lies in the file that follows.
        return Chunk((rest.rstrip(b"\r"),), header, self._position()) if rest else _NOTHING

    def _position(self) -> Position:
        assert self._file is not None, "an open file has a position"
        info = os.fstat(self._file.fileno())
        head_len = min(len(self._head), self._offset)
        head = hashlib.blake2b(self._head[:head_len], digest_size=16).hexdigest()
        return Position(info.st_dev, info.st_ino, self._offset, head_len, head, self._skipping)


def _pread(file: BinaryIO, offset: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, offset)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _matches(path: Path, position: Position) -> bool:
    """Whether ``path`` begins as the file of ``position`` did and reaches at least as far."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < position.offset:
                return False
            head = _pread(file, 0, min(position.head_len, HEAD_BYTES))
    except OSError:
        return False
    return hashlib.blake2b(head, digest_size=16).hexdigest() == position.head


def _last_line_end(file: BinaryIO) -> int:
    """The offset behind the last complete line."""
    size = os.fstat(file.fileno()).st_size
    start = max(0, size - MAX_LINE - 1)
    return start + _pread(file, start, size - start).rfind(b"\n") + 1
