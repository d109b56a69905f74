"""The fold: a batch of events in, the windows of every set-up at its exact place in the log out.

Turning events into arrays is Python, everything after that is ``kernels``. The state is a function of the events in
their order and of the limits alone: neither the sizes of the batches nor the secret change a value.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import CallEvent, ConfigError, EventKind
from antifraud.features import kernels, snapshot
from antifraud.features.errors import SnapshotError
from antifraud.features.plan import (
    EVENT_CODES,
    S_CAPACITY,
    S_INDEX,
    S_MASK,
    S_PAIRS,
    S_PER_KEY,
    T_CAPACITY,
    T_INDEX,
    T_INT_WIDTH,
    T_INTS,
    T_LONG_WIDTH,
    T_LONGS,
    T_MASK,
    Plan,
    make_plan,
)
from antifraud.features.windows import Predicate, WindowSet, WindowSpec

_SEPARATOR: Final = "\0"
_PAIR_BYTES: Final = 4 * kernels.PAIR_WIDTH + 8
_SEEN_BYTES: Final = 8 * kernels.SEEN_WIDTH
_SECRET_BYTES: Final = 32
_MOST_ROWS: Final = 1 << 30
_CODES: Final = {kind.value: code for kind, code in EVENT_CODES.items()}
_SETUP_CODE: Final = EVENT_CODES[EventKind.SETUP]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much the fold may hold; reaching a limit costs the oldest memories, never the process.

    ``keys`` per table (callers, callees, prefixes …), ``pairs`` per stream of a distinct count, ``pairs_per_key``
    of one key in one stream, ``remembered`` events for recognising duplicates. Powers of two fill their indexes best.
    """

    keys: int = 1 << 20
    pairs: int = 1 << 21
    pairs_per_key: int = 1 << 16
    remembered: int = 1 << 20

    @classmethod
    def of_memory(cls, windows: WindowSet, bytes_: int) -> Limits:
        """Limits under which the fold of ``windows`` stays below ``bytes_`` when everything is full."""
        plan = make_plan(windows)
        # An index has between two and four places of 8 bytes for each entry; the worst case is meant here.
        per_event = _SEEN_BYTES + 32
        remembered = max(1024, bytes_ // 10 // per_event)
        pairs_per_row = 4
        per_key = sum(4 * int(row[T_INT_WIDTH]) + 8 * int(row[T_LONG_WIDTH]) + 32 for row in plan.tables)
        per_key += pairs_per_row * len(plan.streams) * (_PAIR_BYTES + 32)
        keys = min(_MOST_ROWS // pairs_per_row, max(0, bytes_ - per_event * remembered) // max(per_key, 1))
        if keys < 1000:
            raise ConfigError(
                f"a memory limit of {bytes_} bytes holds only {keys} keys",
                hint=f"these windows need {per_key} bytes a key; allow at least {1100 * per_key} bytes",
            )
        pairs = keys * pairs_per_row
        return cls(keys=keys, pairs=pairs, pairs_per_key=max(1, min(65_536, pairs // 8)), remembered=remembered)


class Folded(msgspec.Struct, frozen=True):
    """What one batch gave: ``values[i, w]`` is window ``w`` of the i-th set-up, NaN where it is missing.

    ``duplicate[i]`` says that this set-up was in the log before and was not counted again.
    """

    values: npt.NDArray[np.float64]
    duplicate: npt.NDArray[np.bool_]


class Fold:
    """The windows over everything folded so far.

    ``secret`` (32 bytes) keys the hashes against attackers who choose numbers and Call-IDs; without one the fold
    draws its own. Not safe to share between threads.
    """

    def __init__(self, windows: WindowSet, *, limits: Limits | None = None, secret: bytes | None = None) -> None:
        self.windows = windows
        self.limits = limits if limits is not None else Limits()
        self._secret_bytes = os.urandom(_SECRET_BYTES) if secret is None else secret
        if len(self._secret_bytes) != _SECRET_BYTES:
            raise ConfigError(f"the secret of the windows has {len(self._secret_bytes)} bytes, {_SECRET_BYTES} are due")
        _check_limits(self.limits)
        self._plan = make_plan(windows)
        self._lay_out(self._plan, self.limits)
        # attrgetter of several names gives the tuple of texts of one event in one call.
        self._texts: Callable[[CallEvent], tuple[str, ...]] = attrgetter("call_id", *self._plan.fields)
        self._conditions: tuple[tuple[tuple[Predicate, int], ...], ...] = tuple(
            tuple((windows.predicates[text], 1 << bit) for text, bit in row) for row in self._plan.conditions
        )
        self._known: tuple[tuple[tuple[str, int], ...], ...] = tuple(
            tuple((name, 1 << bit) for name, bit in row) for row in self._plan.known
        )
        self._conditional = tuple(
            bool(conditions or known) for conditions, known in zip(self._conditions, self._known, strict=True)
        )

    def _lay_out(self, plan: Plan, limits: Limits) -> None:
        tables, streams = plan.tables.copy(), plan.streams.copy()
        ints = longs = pairs = index = 0
        for table in tables:
            table[T_CAPACITY] = limits.keys
            table[T_INTS], table[T_LONGS], table[T_INDEX] = ints, longs, index
            table[T_MASK] = _index_size(limits.keys) - 1
            ints += limits.keys * int(table[T_INT_WIDTH])
            longs += limits.keys * int(table[T_LONG_WIDTH])
            index += int(table[T_MASK]) + 1
        for stream in streams:
            stream[S_CAPACITY], stream[S_PER_KEY] = limits.pairs, limits.pairs_per_key
            stream[S_PAIRS], stream[S_INDEX] = pairs, index
            stream[S_MASK] = _index_size(limits.pairs) - 1
            pairs += limits.pairs
            index += int(stream[S_MASK]) + 1
        self._counters = np.zeros(kernels.G_WIDTH, np.int64)
        self._counters[kernels.G_SEEN_CAPACITY] = limits.remembered
        self._counters[kernels.G_SEEN_INDEX] = index
        self._counters[kernels.G_SEEN_MASK] = _index_size(limits.remembered) - 1
        index += _index_size(limits.remembered)
        self._tables, self._streams = tables, streams
        self._table_counters = np.zeros((len(tables), kernels.M_WIDTH), np.int64)
        self._stream_counters = np.zeros((len(streams), kernels.P_WIDTH), np.int64)
        # Zeros are lent by the system page by page as they are used: a large limit costs nothing until then.
        try:
            self._index = np.zeros(index, np.int64)
            self._ints = np.zeros(ints, np.int32)
            self._longs = np.zeros(longs, np.int64)
            self._pairs = np.zeros((pairs, kernels.PAIR_WIDTH), np.int32)
            self._items = np.zeros(pairs, np.int64)
            self._seen = np.zeros((limits.remembered, kernels.SEEN_WIDTH), np.int64)
        except MemoryError as error:
            raise ConfigError(
                f"the windows' limits ({limits.keys} keys, {limits.pairs} pairs) are more than this machine can hold",
                hint="give Limits.of_memory the bytes that may be used",
            ) from error
        widest = max(len(plan.fields), len(tables), len(plan.keys), len(plan.operations), len(plan.rings), 1)
        self._scratch = np.zeros((7, widest), np.int64)
        self._secret = np.frombuffer(self._secret_bytes, dtype="<u8").astype(np.uint64)

    def fold(self, events: Sequence[CallEvent], rows: Sequence[Sequence[object] | None]) -> Folded:
        """Fold ``events`` in their order; one row of values for every set-up among them, in the same order.

        ``rows[i]`` is what conditions read of ``events[i]``; it is looked at for kinds in ``windows.row_kinds``
        only. Where such an event has None instead, no condition holds for it.
        """
        if len(rows) != len(events):
            raise ValueError(f"{len(events)} events with {len(rows)} rows")
        codes = [_CODES[event.kind._value_] for event in events]
        kinds = np.array(codes, np.int8)
        setups = codes.count(_SETUP_CODE)
        values = np.empty((setups, len(self.windows.specs)), np.float64)
        duplicate = np.zeros(setups, np.bool_)
        if not codes:
            return Folded(values, duplicate)
        buffer, ends, ends_known = _texts_to_bytes(list(chain.from_iterable(map(self._texts, events))))
        times = [event.ts for event in events]
        if not math.isfinite(sum(times)):
            raise ValueError("an event without a finite time; check_event refuses such events")
        conditions, numbers = self._satisfied(events, rows, codes)
        kernels.fold_batch(
            self._plan.keys,
            self._tables,
            self._streams,
            self._plan.rings,
            self._plan.operations,
            self._plan.spans,
            self._plan.features,
            self._secret,
            self._table_counters,
            self._stream_counters,
            self._counters,
            self._index,
            self._ints,
            self._longs,
            self._pairs,
            self._items,
            self._seen,
            self._scratch,
            buffer,
            ends,
            ends_known,
            kinds,
            np.array(times, np.float64),
            conditions,
            numbers,
            values,
            duplicate,
        )
        return Folded(values, duplicate)

    def _satisfied(
        self, events: Sequence[CallEvent], rows: Sequence[Sequence[object] | None], codes: list[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """For every event the bits of the conditions that hold, and the numbers that windows add up."""
        masks = [0] * len(codes)
        for place, code in enumerate(codes):
            if not self._conditional[code]:
                continue
            mask = 0
            row = rows[place]
            if row is not None:
                for holds, bit in self._conditions[code]:
                    if holds(row):
                        mask |= bit
            for name, bit in self._known[code]:
                if getattr(events[place], name) is not None:
                    mask |= bit
            masks[place] = mask
        names = self._plan.numbers
        numbers = np.empty((len(codes), len(names)), np.float64)
        for column, name in enumerate(names):
            numbers[:, column] = [getattr(event, name) for event in events]  # None becomes NaN
        return np.array(masks, np.int64), numbers

    def stats(self) -> dict[str, int | float]:
        """Counters since the beginning (they survive snapshots) and the fill of every table and stream.

        ``<table>.keys`` are held now, ``.evicted`` left for lack of room; ``<stream>.pairs`` likewise, ``.cut``
        left because their key had too many; ``late`` counts additions that came after their bucket had gone.
        """
        found: dict[str, int | float] = {
            "events": int(self._counters[kernels.G_EVENTS]),
            "setups": int(self._counters[kernels.G_SETUPS]),
            "duplicates": int(self._counters[kernels.G_DUPLICATES]),
            "late": int(self._counters[kernels.G_LATE]),
            "remembered": min(int(self._counters[kernels.G_SEEN]), self.limits.remembered),
            "remembered_limit": self.limits.remembered,
        }
        used = self._index.nbytes + _SEEN_BYTES * int(found["remembered"])
        for name, table, counters in zip(self._plan.table_names, self._tables, self._table_counters, strict=True):
            found[f"{name}.keys"] = int(counters[kernels.M_LIVE])
            found[f"{name}.keys_limit"] = self.limits.keys
            found[f"{name}.evicted"] = int(counters[kernels.M_EVICTED])
            found[f"{name}.bytes_per_key"] = 4 * int(table[T_INT_WIDTH]) + 8 * int(table[T_LONG_WIDTH])
            used += int(counters[kernels.M_USED]) * int(found[f"{name}.bytes_per_key"])
        for name, counters in zip(self._plan.stream_names, self._stream_counters, strict=True):
            found[f"{name}.pairs"] = int(counters[kernels.P_LIVE])
            found[f"{name}.pairs_limit"] = self.limits.pairs
            found[f"{name}.cut"] = int(counters[kernels.P_CUT])
            used += int(counters[kernels.P_USED]) * _PAIR_BYTES
        found["memory_bytes"] = used
        found["memory_limit_bytes"] = sum(
            array.nbytes for array in (self._index, self._ints, self._longs, self._pairs, self._items, self._seen)
        )
        return found

    def longest_probe(self) -> int:
        """The longest search that any key, pair or remembered event needs now; for tests and diagnosis, slow."""
        spans = [(int(table[T_INDEX]), int(table[T_MASK])) for table in self._tables]
        spans += [(int(stream[S_INDEX]), int(stream[S_MASK])) for stream in self._streams]
        spans.append((int(self._counters[kernels.G_SEEN_INDEX]), int(self._counters[kernels.G_SEEN_MASK])))
        return max(int(kernels.longest_probe(self._index, base, mask)) for base, mask in spans)

    def reindex(self) -> None:
        """Build the index anew from the rows; no value changes."""
        self._index[:] = 0
        kernels.rebuild_index(
            self._tables,
            self._streams,
            self._secret,
            self._table_counters,
            self._counters,
            self._index,
            self._ints,
            self._longs,
            self._pairs,
            self._items,
            self._seen,
        )

    def save(self, path: str | Path, position: str) -> None:
        """Write a snapshot that stands at ``position`` of the log; the file is whole or not there at all."""
        arrays = self._used_arrays()
        header = snapshot.Header(
            windows=self.windows.digest,
            position=position,
            limits=msgspec.structs.asdict(self.limits),
            secret=self._secret_bytes.hex(),
            arrays=[(name, array.dtype.str, array.size) for name, array in arrays],
        )
        snapshot.write(Path(path), header, [array for _, array in arrays])

    @classmethod
    def load(cls, path: str | Path, windows: WindowSet, *, limits: Limits | None = None) -> tuple[Fold, str]:
        """The fold of a snapshot and the position of the log at which it stands.

        Without ``limits`` those of the snapshot hold. Raises SnapshotError where the file is missing, damaged, of
        another version, made with other windows, or holds more than ``limits`` allow.
        """
        with snapshot.Reader(Path(path)) as reader:
            header = reader.header
            if header.windows != windows.digest:
                raise SnapshotError(
                    "windows",
                    f"{path}: the snapshot was made with other windows",
                    hint=f"it carries {header.windows[:8]}, the windows in use are {windows.digest[:8]}",
                )
            try:
                secret = bytes.fromhex(header.secret)
                saved = msgspec.convert(header.limits, Limits)
                fold = cls(windows, limits=limits if limits is not None else saved, secret=secret)
            except (ValueError, ConfigError) as error:
                raise SnapshotError("damaged", f"{path}: the snapshot's header makes no sense: {error}") from error
            fold._fill(reader, path, saved)
            reader.finish()
        fold.reindex()
        return fold, header.position

    def _used_arrays(self) -> list[tuple[str, npt.NDArray[Any]]]:
        """Everything worth keeping, by name: counters, and the part of every array that was ever used."""
        kept = min(int(self._counters[kernels.G_SEEN]), self.limits.remembered)
        oldest = int(self._counters[kernels.G_SEEN]) - kept
        seen = self._seen[(np.arange(kept) + oldest) % self.limits.remembered].reshape(-1)
        found: list[tuple[str, npt.NDArray[Any]]] = [
            ("counters", self._counters[: kernels.G_SEEN]),
            ("table counters", self._table_counters.reshape(-1)),
            ("stream counters", self._stream_counters.reshape(-1)),
            ("seen", seen),
        ]
        for name, table, counters in zip(self._plan.table_names, self._tables, self._table_counters, strict=True):
            found += self._rows_of(name, table, int(counters[kernels.M_USED]))
        for name, stream, counters in zip(self._plan.stream_names, self._streams, self._stream_counters, strict=True):
            found += self._pairs_of(name, stream, int(counters[kernels.P_USED]))
        return found

    def _rows_of(self, name: str, table: npt.NDArray[np.int64], rows: int) -> list[tuple[str, npt.NDArray[Any]]]:
        ints, longs = int(table[T_INTS]), int(table[T_LONGS])
        return [
            (f"{name} ints", self._ints[ints : ints + rows * int(table[T_INT_WIDTH])]),
            (f"{name} longs", self._longs[longs : longs + rows * int(table[T_LONG_WIDTH])]),
        ]

    def _pairs_of(self, name: str, stream: npt.NDArray[np.int64], pairs: int) -> list[tuple[str, npt.NDArray[Any]]]:
        first = int(stream[S_PAIRS])
        return [
            (f"{name} pairs", self._pairs[first : first + pairs].reshape(-1)),
            (f"{name} items", self._items[first : first + pairs]),
        ]

    def _fill(self, reader: snapshot.Reader, path: str | Path, saved: Limits) -> None:
        reader.read("counters", self._counters[: kernels.G_SEEN])
        reader.read("table counters", self._table_counters.reshape(-1))
        reader.read("stream counters", self._stream_counters.reshape(-1))
        kept, rest = divmod(reader.size("seen"), kernels.SEEN_WIDTH)
        if rest or not 0 <= kept <= saved.remembered:
            raise SnapshotError("damaged", f"{path}: the snapshot remembers more events than its own limit")
        seen = np.zeros((kept, kernels.SEEN_WIDTH), np.int64)
        reader.read("seen", seen)
        kept = min(kept, self.limits.remembered)
        self._seen[:kept] = seen[len(seen) - kept :]
        self._counters[kernels.G_SEEN] = kept
        for name, table, counters in zip(self._plan.table_names, self._tables, self._table_counters, strict=True):
            rows = int(counters[kernels.M_USED])
            self._fits(path, f"keys of {name}", rows, self.limits.keys, reader.size(f"{name} ints"), table[T_INT_WIDTH])
            for part, array in self._rows_of(name, table, rows):
                reader.read(part, array)
        for name, stream, counters in zip(self._plan.stream_names, self._streams, self._stream_counters, strict=True):
            pairs = int(counters[kernels.P_USED])
            size = reader.size(f"{name} pairs")
            self._fits(path, f"pairs of {name}", pairs, self.limits.pairs, size, kernels.PAIR_WIDTH)
            for part, array in self._pairs_of(name, stream, pairs):
                reader.read(part, array)

    @staticmethod
    def _fits(path: str | Path, what: str, used: int, limit: int, size: int, width: int) -> None:
        # The header has its own checksum and is known to be sound; the counters are not yet.
        if used * width != size:
            raise SnapshotError("damaged", f"{path}: the snapshot's counters do not agree with its header")
        if used > limit:
            raise SnapshotError(
                "limits",
                f"{path}: the snapshot holds {used} {what}, the limit is {limit}",
                hint="raise the limit, or start without the snapshot and replay the log",
            )


def warm_up() -> None:
    """Compile the kernels, or take them from the disk cache, before the first call is waiting for them."""
    specs = (
        WindowSpec(name="calls", kind="count", by=("caller",), over_s=60, buckets=12),
        WindowSpec(name="talk", kind="sum", by=("caller",), on="release", over_s=60, buckets=12, of="talk_s"),
    )
    small = Limits(keys=8, pairs=8, pairs_per_key=8, remembered=8)
    fold = Fold(WindowSet(("calls", "talk"), specs, ""), limits=small, secret=bytes(_SECRET_BYTES))
    event = CallEvent(kind=EventKind.SETUP, call_id="1", ts=1_700_000_000.0, caller="+15550100", callee="+15550101")
    fold.fold([event], [None])
    fold.reindex()


def _texts_to_bytes(texts: list[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], bool]:
    """All texts in one buffer, a separator byte behind each; where each of them ends, and whether that is known.

    Lone surrogates are kept, not refused. Usually the separators tell where texts end, and the kernel looks for
    them. A text that itself contains the separator would move all that follow: then the ends are counted here.
    """
    blob = (_SEPARATOR.join(texts) + _SEPARATOR).encode("utf-8", "surrogatepass")
    buffer = np.frombuffer(blob, np.uint8)
    if blob.count(0) == len(texts):
        return buffer, np.empty(len(texts), np.int64), False
    lengths = [len(text.encode("utf-8", "surrogatepass")) + 1 for text in texts]
    return buffer, np.cumsum(np.array(lengths, np.int64)) - 1, True


def _index_size(entries: int) -> int:
    """Places for ``entries``: a power of two, never more than half full, so that searches stay short."""
    return 1 << max(3, (2 * entries - 1).bit_length())


def _check_limits(limits: Limits) -> None:
    for name, value in msgspec.structs.asdict(limits).items():
        if not 1 <= value <= _MOST_ROWS:
            raise ConfigError(f"the limit {name} is {value}, it can be from 1 to {_MOST_ROWS}")
