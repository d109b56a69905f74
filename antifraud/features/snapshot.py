"""The file of a snapshot: written whole or not at all, and refused when a single byte of it is wrong.

Layout, little-endian: magic, version (4 bytes), length of the header (4), SHA-256 of the header, cut to 16 bytes, the
header as JSON, the arrays one after the other as the header lists them, SHA-256 (16 bytes of it) of everything since
the header: processors have instructions for it, so that it is the quickest of the strong ones. An array is cut into
pieces of 4 MiB (the last one is shorter); each stands there as its length when packed (4 bytes) and that many bytes of
LZ4, about half of what it takes in memory: a disk writes slower than two cores pack. The header names the windows'
digest and the position in the log. The file contains phone numbers: only its owner may read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import msgspec
import numpy.typing as npt

from antifraud.features.errors import SnapshotError
from antifraud.features.windows import WindowSpec

MAGIC: Final = b"AFWINDOW"
VERSION: Final = 5
_PREFIX: Final = struct.Struct("<8sII16s")
_DIGEST_BYTES: Final = 16
_MOST_HEADER: Final = 1 << 20
_CHUNK: Final = 1 << 22
_LENGTH: Final = struct.Struct("<I")
#: Threads that pack, and how many pieces may be under way.
_PACKERS, _UNDER_WAY = 2, 4
#: After so many bytes what was written is forced to disk and leaves the system's cache of files. Left there, gigabytes
#: of a file that nobody reads fill the memory, and a process that needs a huge page waits while the system makes room.
_FORCED: Final = 1 << 27
#: What LZ4 can make of a piece that cannot be packed.
_MOST_PACKED: Final = _CHUNK + _CHUNK // 255 + 16


class Header(msgspec.Struct, frozen=True):
    """What a snapshot says of itself: digest and declarations of its windows, where in the log it stands, its limits.

    ``arrays`` are (name, dtype, number of elements) in the order of the file. ``began`` is the time of the first event
    that was ever folded (epoch s); 0, long ago, in snapshots that do not say.
    """

    windows: str
    specs: list[WindowSpec]
    position: str
    limits: dict[str, int]
    secret: str
    arrays: list[tuple[str, str, int]]
    began: float = 0.0


def write(path: Path, header: Header, arrays: Sequence[npt.NDArray[Any]]) -> None:
    """Write a snapshot beside ``path``, force it to disk, and put it in place in one step."""
    raw = msgspec.json.encode(header)
    part = path.with_name(path.name + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as stream:  # noqa: PTH123  (a descriptor, for the mode it was opened with)
            stream.write(_PREFIX.pack(MAGIC, VERSION, len(raw), _digest(raw)))
            stream.write(raw)
            with _Behind(_hash_and_write(body := hashlib.sha256(), stream)) as behind:
                for packed in _packed(arrays):
                    behind.do(packed)
            stream.write(body.digest()[:_DIGEST_BYTES])
            stream.flush()
            os.fsync(stream.fileno())
            _uncached(stream.fileno())
        part.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _packed(arrays: Sequence[npt.NDArray[Any]]) -> Iterator[Any]:
    """The pieces of ``arrays`` in their order, packed by several threads."""
    codec = _codec()
    under_way: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(_PACKERS) as pool:
        for array in arrays:
            view = array.data.cast("B") if array.size else memoryview(b"")
            for start in range(0, len(view), _CHUNK):
                under_way.append(pool.submit(codec.compress, view[start : start + _CHUNK]))
                if len(under_way) > _UNDER_WAY:
                    yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _codec() -> Any:
    import pyarrow as pa

    return pa.Codec("lz4_raw")


def _hash_and_write(body: Any, stream: BinaryIO) -> Callable[[Any], None]:
    written = 0

    def step(packed: Any) -> None:
        nonlocal written
        length = _LENGTH.pack(len(packed))
        body.update(length)
        body.update(packed)
        stream.write(length)
        stream.write(packed)
        written += len(packed)
        if written >= _FORCED:
            written = 0
            stream.flush()
            os.fsync(stream.fileno())
            _uncached(stream.fileno())

    return step


def _uncached(descriptor: int) -> None:
    """Let the system forget the pages of a file that are on disk; where it cannot, nothing is lost."""
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


class _Behind:
    """Takes a step with each piece in a thread of its own, while the caller makes the next piece.

    Pieces are not copied and must not change. What goes wrong in a step is raised by the next ``do`` or at the end.
    """

    def __init__(self, step: Callable[[Any], None]) -> None:
        self._step = step
        self._pieces: Queue[Any] = Queue(maxsize=4)
        self._error: Exception | None = None
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._error is None:
                try:
                    self._step(piece)
                except Exception as error:  # noqa: BLE001  (it is raised where the pieces come from)
                    self._error = error

    def do(self, piece: Any) -> None:
        """Hand over ``piece``; waits when the thread is four pieces behind."""
        if self._error is not None:
            raise self._error
        self._pieces.put(piece)

    def finish(self) -> None:
        """Wait until all pieces are done; none can be handed over after that."""
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        elif self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()


class Reader:
    """Reads one snapshot: the header at once, then the arrays in their order, then ``finish`` for the checksum."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._stream: BinaryIO = path.open("rb")
        except OSError as error:
            raise SnapshotError("missing", f"{path}: the snapshot cannot be read: {error.strerror}") from error
        self._body = hashlib.sha256()
        self._behind = _Behind(self._body.update)
        self._codec: Any = None
        self._place = 0
        try:
            self.header = self._read_header()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._behind.__exit__(kind or GeneratorExit, error, trace)
        self._stream.close()

    def _damaged(self, what: str) -> SnapshotError:
        return SnapshotError("damaged", f"{self.path}: the snapshot {what}")

    def _exactly(self, count: int) -> bytes:
        raw = self._stream.read(count)
        if len(raw) != count:
            raise self._damaged("ends early")
        return raw

    def _read_header(self) -> Header:
        magic, version, length, digest = _PREFIX.unpack(self._exactly(_PREFIX.size))
        if magic != MAGIC:
            raise self._damaged("does not begin as one")
        if version != VERSION:
            raise SnapshotError(
                "version", f"{self.path}: the snapshot has format {version}, this engine reads {VERSION}"
            )
        if length > _MOST_HEADER:
            raise self._damaged("has a header of absurd length")
        raw = self._exactly(length)
        if _digest(raw) != digest:
            raise self._damaged("has a damaged header")
        try:
            return msgspec.json.decode(raw, type=Header)
        except msgspec.MsgspecError as error:
            raise self._damaged(f"has a header that makes no sense: {error}") from error

    def size(self, name: str) -> int:
        """How many elements the next array has, which must be ``name``."""
        if self._place >= len(self.header.arrays) or self.header.arrays[self._place][0] != name:
            raise self._damaged(f"lacks {name!r}")
        return self.header.arrays[self._place][2]

    def read(self, name: str, into: npt.NDArray[Any]) -> None:
        """Read the next array, which must be ``name`` and fit ``into`` exactly."""
        if self.size(name) != into.size or self.header.arrays[self._place][1] != into.dtype.str:
            raise self._damaged(f"has {name!r} in another shape")
        self._place += 1
        if not into.size:
            return
        self._codec = self._codec or _codec()
        view = into.data.cast("B")
        for start in range(0, len(view), _CHUNK):
            piece = view[start : start + _CHUNK]
            raw = self._exactly(_LENGTH.size)
            (length,) = _LENGTH.unpack(raw)
            if not 0 < length <= _MOST_PACKED:
                raise self._damaged("has a piece of absurd length")
            packed = self._exactly(length)
            self._behind.do(raw)
            self._behind.do(packed)
            try:
                piece[:] = memoryview(self._codec.decompress(packed, len(piece))).cast("B")
            except (OSError, ValueError) as error:
                raise self._damaged("has a piece that cannot be unpacked") from error

    def finish(self) -> None:
        """Compare the checksum; SnapshotError when a byte of the arrays is not what was written."""
        self._behind.finish()
        if self._exactly(_DIGEST_BYTES) != self._body.digest()[:_DIGEST_BYTES]:
            raise self._damaged("does not have its checksum")
        if self._stream.read(1):
            raise self._damaged("goes on after its end")


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()[:_DIGEST_BYTES]
