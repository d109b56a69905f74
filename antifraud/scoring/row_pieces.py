"""Rows of training that need not fit into memory: pieces on disk that are read as they are needed, and coded texts.

A piece is a file of float64 in numpy's format, mapped into memory: the system reads its pages when they are looked at
and takes them back when memory is short. Values keep all 64 bits, because the engine compares in 64 bits too and a
model must be certified on what it will see. Nothing here copies more than ``CHUNK`` rows unless it is asked to.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import ModelError, UsageError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: Rows that are looked at together.
CHUNK: Final = 16_384


class RowPieces:
    """float64[n, columns] in pieces one after the other, of which some rows and some columns may be chosen.

    Choosing copies nothing. Rows are chosen by rising indices, so that reading goes forward through the files.
    """

    def __init__(self, pieces: Sequence[Floats], rows: Indices | None = None, columns: Indices | None = None) -> None:
        self._pieces = tuple(pieces)
        self._ends = np.cumsum([len(piece) for piece in self._pieces], dtype=np.int64)
        self._rows = rows
        self._columns = columns
        widths = {piece.shape[1] for piece in self._pieces}
        if len(widths) != 1 or any(piece.ndim != 2 for piece in self._pieces):
            raise ModelError(f"pieces of rows have {sorted(widths)} columns: they are not of one making")
        self._width = widths.pop()

    @classmethod
    def of(cls, rows: Floats | RowPieces) -> RowPieces:
        """``rows`` as pieces: an array is one piece."""
        if isinstance(rows, RowPieces):
            return rows
        if rows.ndim != 2:
            raise ModelError(f"rows of shape {rows.shape}, not of two dimensions")
        return cls([rows])

    @classmethod
    def of_files(cls, paths: Sequence[Path]) -> RowPieces:
        """The pieces that ``PieceWriter`` wrote, mapped for reading. ModelError when one is no such file."""
        found: list[Floats] = []
        for path in paths:
            try:
                piece = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise ModelError(f"{path}: no piece of rows: {error}", hint="train again") from error
            if piece.ndim != 2 or piece.dtype != np.float64:
                raise ModelError(f"{path}: {piece.dtype} of {piece.ndim} dimensions is no piece of rows")
            found.append(piece)
        return cls(found)

    def __len__(self) -> int:
        if self._rows is not None:
            return len(self._rows)
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self._width if self._columns is None else len(self._columns)

    def picked(self, rows: Indices) -> RowPieces:
        """The rows at ``rows``, which must rise."""
        if len(rows) and (np.any(np.diff(rows) <= 0) or rows[0] < 0 or rows[-1] >= len(self)):
            raise ValueError("rows are chosen by rising indices")
        return RowPieces(self._pieces, rows if self._rows is None else self._rows[rows], self._columns)

    def of_columns(self, columns: Sequence[int]) -> RowPieces:
        """The columns at ``columns``, in that order."""
        chosen = np.asarray(columns, dtype=np.int64)
        return RowPieces(self._pieces, self._rows, chosen if self._columns is None else self._columns[chosen])

    def take(self, low: int, high: int) -> Floats:
        """A copy of the rows from ``low`` to ``high`` (excluded), in one layout: C order."""
        low, high = max(0, low), min(high, len(self))
        if self._rows is None:
            return self._gathered(np.arange(low, high, dtype=np.int64))
        return self._gathered(self._rows[low:high])

    def at(self, rows: Indices) -> Floats:
        """A copy of the rows at ``rows``, in their order, whatever it is."""
        wanted = rows if self._rows is None else self._rows[rows]
        rising, place = np.unique(wanted, return_inverse=True)
        found: Floats = self._gathered(rising)[place]
        return found

    def chunks(self, size: int = CHUNK) -> Iterator[Floats]:
        """Copies of all rows, ``size`` at a time."""
        for low in range(0, len(self), size):
            yield self.take(low, low + size)

    def column(self, index: int) -> Floats:
        """A copy of one column: float64[n]."""
        place = index if self._columns is None else int(self._columns[index])
        whole = np.concatenate([piece[:, place] for piece in self._pieces])
        return whole if self._rows is None else whole[self._rows]

    def _gathered(self, rows: Indices) -> Floats:
        found = np.empty((len(rows), self.shape[1]), dtype=np.float64)
        starts = np.concatenate([[0], self._ends[:-1]])
        cuts = np.searchsorted(rows, self._ends)
        before = 0
        for piece, start, cut in zip(self._pieces, starts.tolist(), cuts.tolist(), strict=True):
            if cut > before:
                inside = rows[before:cut] - start
                low, high = int(inside[0]), int(inside[-1]) + 1
                block = piece[low:high] if high - low == len(inside) else piece[inside]
                found[before:cut] = block if self._columns is None else block[:, self._columns]
            before = cut
        return found


class PieceWriter:
    """Writes blocks of rows one after the other into a piece file. ``close`` makes it readable.

    ``most`` bytes are the bound; UsageError when more rows come, and when the disk does not take them.
    """

    def __init__(self, path: Path, columns: int, most: int) -> None:
        self._path = path
        self._columns = columns
        self._most = self._room = most
        self.rows = 0
        try:
            self._file = path.open("wb")
            self._file.write(self._header())
        except OSError as error:
            raise _full(path, error) from error

    def _header(self) -> bytes:
        head = io.BytesIO()
        # numpy leaves room in the header for a longer shape, so that it can be written again at the end.
        shape = (self.rows, self._columns)
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
        return head.getvalue()

    def add(self, block: Floats) -> None:
        """Append ``block``: float64[rows, columns]."""
        block = np.ascontiguousarray(block, dtype="<f8")
        if block.ndim != 2 or block.shape[1] != self._columns:
            raise ValueError(f"a block of shape {block.shape} for {self._columns} columns")
        self._room -= block.nbytes
        if self._room < 0:
            raise UsageError(
                f"the rows take more than the {self._most:,} bytes that they may take",
                hint="allow more, such as --scratch-limit 64GiB, or give fewer calls or --features",
            )
        try:
            self._file.write(block.data)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.close()  # what it still holds cannot be written either
            raise _full(self._path, error) from error
        self.rows += len(block)

    def close(self) -> None:
        """Write down how many rows there are, and close; nothing more where writing has failed."""
        if self._file.closed:
            return
        try:
            with self._file as file:
                head = self._header()
                file.seek(0)
                file.write(head)
        except OSError as error:
            raise _full(self._path, error) from error


def _full(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot write {path}: {error.strerror or error}",
        hint="name a directory with room for eight bytes a feature a call: --scratch DIR",
    )


class Coded(msgspec.Struct):
    """Texts of which there are few: ``names`` in order of their first use, and for every row its place among them."""

    codes: npt.NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, texts: npt.NDArray[np.str_] | Coded) -> Coded:
        """``texts`` coded."""
        if isinstance(texts, Coded):
            return texts
        names, first, inverse = np.unique(texts, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        place = np.empty(len(order), dtype=np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        return cls(place[inverse.reshape(-1)], tuple(names[order].tolist()))

    @classmethod
    def joined(cls, parts: Sequence[Coded]) -> Coded:
        """``parts`` one after the other; the same text has the same code."""
        known: dict[str, int] = {}
        codes = []
        for part in parts:
            places = np.array([known.setdefault(name, len(known)) for name in part.names], dtype=np.int32)
            codes.append(places[part.codes] if len(part.codes) else part.codes)
        return cls(np.concatenate(codes) if codes else np.zeros(0, dtype=np.int32), tuple(known))

    def picked(self, rows: Indices) -> Coded:
        """The rows at ``rows``."""
        return Coded(self.codes[rows], self.names)

    def __len__(self) -> int:
        return len(self.codes)

    def texts(self) -> npt.NDArray[np.str_]:
        """The texts themselves."""
        return np.array(self.names or ("",), dtype=np.str_)[self.codes]

    def where(self, name: str) -> npt.NDArray[np.bool_]:
        """Which rows have ``name``."""
        found: npt.NDArray[np.bool_] = self.codes == (self.names.index(name) if name in self.names else -1)
        return found
