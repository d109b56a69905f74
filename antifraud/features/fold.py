"""The fold: a batch of events in, the windows of every set-up at its exact place in the log out.

Turning events into arrays is Python, everything after that is ``kernels``. The state is a function of the events in
their order and of the limits alone: neither the sizes of the batches nor the secret change a value.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
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
from antifraud.features.plan import BUCKET_WORDS, EVENT_CODES, T_EXTS, UNIT_BYTES, UNIT_WORDS, Identity, make_plan
from antifraud.features.windows import NUMBER_FIELDS, Predicate, WindowSet, WindowSpec, digest_of

_SEPARATOR: Final = "\0"
_SECRET_BYTES: Final = 32
_MOST_UNITS: Final = (1 << 31) - 1
_MOST_REMEMBERED: Final = 1 << 30
#: Bytes that one unit takes with its share of the chains' heads, and one remembered event with its of the index.
_PER_UNIT: Final = UNIT_BYTES + 4
_PER_SEEN: Final = 8 * kernels.SEEN_WIDTH + 32
_CODES: Final = {kind.value: code for kind, code in EVENT_CODES.items()}
_SETUP_CODE: Final = EVENT_CODES[EventKind.SETUP]
_REPORT_CODE: Final = EVENT_CODES[EventKind.REPORT]
_GIB: Final = 1 << 30
_PAGE_BYTES: Final = 4096
_CALLERS: Final = "caller"

Mask = Callable[[Sequence[object]], int]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much the fold may hold; reaching a limit costs the oldest memories, never the process.

    ``units`` of 32 bytes for everything that is kept of callers, callees, pairs and all other keys; ``pairs_per_key``
    of one key in one stream; ``remembered`` events for recognising duplicates.
    """

    units: int = (_GIB - _PER_SEEN * (1 << 20)) // _PER_UNIT
    pairs_per_key: int = 1 << 16
    remembered: int = 1 << 20

    @classmethod
    def of_memory(cls, bytes_: int) -> Limits:
        """Limits under which a fold stays below ``bytes_`` when everything is full. ConfigError for less than 1 MiB."""
        if bytes_ < 1 << 20:
            raise ConfigError(
                f"a memory limit of {bytes_} bytes for the windows is too small",
                hint="give at least 1048576 bytes (1MiB)",
            )
        remembered = min(1 << 20, bytes_ // 10 // _PER_SEEN)
        units = min(_MOST_UNITS, (bytes_ - _PER_SEEN * remembered) // _PER_UNIT)
        return cls(units=units, remembered=remembered)


class Folded(msgspec.Struct, frozen=True):
    """What one batch gave: ``values[i, w]`` is window ``w`` of the i-th set-up, NaN where it is missing.

    ``duplicate[i]`` says that this set-up was in the log before and was not counted again. ``known_since[i]`` is
    ``Fold.known_since`` at its place in the log, whatever the batch.
    """

    values: npt.NDArray[np.float64]
    duplicate: npt.NDArray[np.bool_]
    known_since: npt.NDArray[np.float64]


class Fold:
    """The windows over everything folded so far.

    ``secret`` (32 bytes) keys the hashes against attackers who choose numbers and Call-IDs; without one the fold
    draws its own. ``began`` is the time (epoch s) of the first event that was folded, NaN before there was one: what
    lies before it the windows cannot know. Not safe to share between threads.
    """

    def __init__(self, windows: WindowSet, *, limits: Limits | None = None, secret: bytes | None = None) -> None:
        self.windows = windows
        self.limits = limits if limits is not None else Limits()
        self.secret = os.urandom(_SECRET_BYTES) if secret is None else secret
        if len(self.secret) != _SECRET_BYTES:
            raise ConfigError(f"the secret of the windows has {len(self.secret)} bytes, {_SECRET_BYTES} are due")
        self.began = math.nan
        self._plan = make_plan(windows)
        self._lay_out()
        # attrgetter of several names gives the tuple of texts of one event in one call.
        self._texts: Callable[[CallEvent], tuple[str, ...]] = attrgetter(*self._plan.fields)
        self._masks = tuple(self._mask(texts) for texts in self._plan.conditions)
        self._numbers = tuple(attrgetter(name) for name in self._plan.numbers)
        self._carrying = frozenset(_CODES[NUMBER_FIELDS[name]] for name in self._plan.numbers)

    def _mask(self, texts: Sequence[str]) -> Mask | None:
        """One function for all conditions on one kind of event: bit i of its answer is the i-th of them."""
        if not texts:
            return None
        predicates = [self.windows.predicates.get(text, _never) for text in texts]
        if self.windows.combine is not None and _never not in predicates:
            return self.windows.combine(predicates)
        return _one_by_one(predicates)

    def _lay_out(self) -> None:
        limits, plan = self.limits, self._plan
        least = plan.units_of_one_event() + 8
        _check_limit("units", limits.units, least, _MOST_UNITS)
        _check_limit("pairs_per_key", limits.pairs_per_key, 1, _MOST_UNITS)
        _check_limit("remembered", limits.remembered, 1, _MOST_REMEMBERED)
        heads = 1 << max(3, limits.units.bit_length() - 1)
        seen_places = 1 << max(3, (2 * limits.remembered - 1).bit_length())
        # Zeros are lent by the system page by page as they are used: a large limit costs nothing until then.
        try:
            # Unit 0 is nobody's: 0 is how a link says that there is none. The heads of the chains lie at the end.
            self._units = np.zeros((limits.units + 1) * UNIT_WORDS + heads, np.int32)
            self._seen = np.zeros((limits.remembered, kernels.SEEN_WIDTH), np.int64)
            self._seen_index = np.zeros(seen_places, np.int64)
        except MemoryError as error:
            raise ConfigError(
                f"the windows' limit of {limits.units * _PER_UNIT} bytes is more than this machine can hold",
                hint="lower features.memory_limit",
            ) from error
        self._longs = self._units.view(np.int64)
        self._heads = self._units[(limits.units + 1) * UNIT_WORDS :]
        self._secret = np.frombuffer(self.secret, dtype="<u8").astype(np.uint64)
        self._m = self._machine(heads, seen_places)
        of_tables, of_streams = int(self._m[kernels.B_OF_TABLES]), int(self._m[kernels.B_OF_STREAMS])
        self._counters = self._m[: kernels.C_SEEN + 1]
        self._of_tables = self._m[of_tables : of_tables + len(plan.tables) * kernels.M_WIDTH].reshape(
            -1, kernels.M_WIDTH
        )
        self._of_streams = self._m[of_streams : of_streams + len(plan.streams) * kernels.Q_WIDTH].reshape(
            -1, kernels.Q_WIDTH
        )

    def _machine(self, heads: int, seen_places: int) -> npt.NDArray[np.int64]:
        """Counters, plan and the space for one event in one array, with where each of them begins."""
        limits, plan = self.limits, self._plan
        exts = max((int(table[T_EXTS]) for table in plan.tables), default=0)
        sizes = {
            kernels.B_OF_TABLES: len(plan.tables) * kernels.M_WIDTH,
            kernels.B_OF_STREAMS: len(plan.streams) * kernels.Q_WIDTH,
            kernels.B_ROW_OF: len(plan.views),
            kernels.B_EXT_OF: len(plan.views) * exts,
            kernels.B_IN_USE: len(plan.tables),
            kernels.B_TOUCHED: len(plan.tables),
            kernels.B_PASSES: len(plan.operations),
            kernels.B_PAIR_OF: len(plan.operations),
            kernels.B_NUMBER: len(plan.panes),
            kernels.B_SUMS: len(plan.reads) * BUCKET_WORDS,
            kernels.B_PAIR_HOME: len(plan.operations),
            kernels.B_WALKS: 5 * len(plan.reads),
            kernels.B_AHEAD: kernels.AHEAD * (1 + len(plan.keys) + len(plan.views)),
        }
        whole = kernels.M_BEGIN + sum(part.size for part in plan.parts) + sum(sizes.values())
        m = np.zeros(whole, np.int64)
        m[kernels.C_USED], m[kernels.C_LEFT] = 1, limits.units
        m[kernels.C_SEEN_CAPACITY], m[kernels.C_SEEN_MASK] = limits.remembered, seen_places - 1
        m[kernels.C_HEADS_MASK], m[kernels.C_PER_KEY], m[kernels.C_EXTS] = heads - 1, limits.pairs_per_key, exts
        m[kernels.C_SECRET_2 : kernels.C_SECRET_3 + 1] = self._secret[2:].view(np.int64)
        m[kernels.C_CALLERS] = plan.table_names.index(_CALLERS) if _CALLERS in plan.table_names else -1
        m[kernels.B_HEADS] = (limits.units + 1) * UNIT_WORDS
        begin = kernels.M_BEGIN
        for number, part in enumerate(plan.parts):
            m[kernels.B_KEYS + number], m[kernels.N_KEYS + number] = begin, len(part)
            m[begin : begin + part.size] = part.reshape(-1)
            begin += part.size
        for place, size in sizes.items():
            m[place] = begin
            begin += size
        return m

    @property
    def known_since(self) -> float:
        """Epoch s from which on every caller that called is known; NaN before the first event.

        It is ``began``, or later when callers were forgotten for want of memory: whoever was counted last before then
        may look as if he had never called.
        """
        callers = int(self._m[kernels.C_CALLERS])
        lost = int(self._of_tables[callers, kernels.M_LOST]) if callers >= 0 else 0
        return max(self.began, kernels.EPOCH_S + lost) if lost else self.began

    def fold(self, events: Sequence[CallEvent], rows: Sequence[Sequence[object] | None]) -> Folded:
        """Fold ``events`` in their order; one row of values for every set-up among them, in the same order.

        ``rows[i]`` is what conditions read of ``events[i]``; it is looked at for kinds in ``windows.row_kinds``
        only. Where such an event has None instead, no condition holds for it.
        """
        if len(rows) != len(events):
            raise ValueError(f"{len(events)} events with {len(rows)} rows")
        codes = [_CODES[event.kind._value_] for event in events]
        setups = codes.count(_SETUP_CODE)
        values = np.empty((setups, len(self.windows.specs)), np.float64)
        duplicate = np.zeros(setups, np.bool_)
        lost = np.zeros(setups, np.int64)
        if not codes:
            return Folded(values, duplicate, np.empty(0))
        at = [event.ts for event in events]
        times = np.array(at, np.float64)
        if not math.isfinite(sum(at)):
            raise ValueError("an event without a finite time; check_event refuses such events")
        if self.began != self.began:
            self.began = events[0].ts
        fields = self._hashed(events)
        satisfied = self._satisfied(rows, codes)
        if _REPORT_CODE in codes:
            _mark_taken_back(events, codes, times, satisfied)
        kernels.fold_batch(
            self._m,
            self._units,
            self._longs,
            self._seen,
            self._seen_index,
            fields,
            np.array(codes, np.int8),
            times,
            satisfied,
            self._amounts(events, codes),
            values,
            duplicate,
            lost,
        )
        return Folded(values, duplicate, np.maximum(self.began, kernels.EPOCH_S + lost))

    def probe(self, events: Sequence[CallEvent], times: Sequence[float]) -> npt.NDArray[np.float64]:
        """The windows of ``events`` (set-ups) as of ``times`` (epoch s), without counting them or anything else.

        float64[events, windows], NaN where a window is missing. A call that was folded counts as one that went before.
        """
        from antifraud.features.probing import probe_batch

        values = np.empty((len(events), len(self.windows.specs)), np.float64)
        if not events:
            return values
        at = np.array(times, np.float64)
        if len(times) != len(events) or not math.isfinite(at.sum()):
            raise ValueError(f"{len(events)} calls are asked about at {len(times)} times, each of them finite")
        fields = self._hashed(events)
        kinds = np.full(len(events), _SETUP_CODE, np.int8)
        probe_batch(self._m, self._units, self._longs, self._seen_index, fields, kinds, at, values)
        return values

    def _hashed(self, events: Sequence[CallEvent]) -> npt.NDArray[np.int64]:
        """The texts of the events as the kernels see them: int64[events, texts]."""
        buffer, ends, ends_known = _texts_to_bytes(list(chain.from_iterable(map(self._texts, events))))
        texts = len(self._plan.fields)
        fields = np.empty((len(events), texts), np.int64)
        kernels.hash_texts(buffer, ends, ends_known, texts, self._secret, fields)
        return fields

    def _satisfied(self, rows: Sequence[Sequence[object] | None], codes: list[int]) -> npt.NDArray[np.int64]:
        """For every event the bits of the conditions that hold."""
        satisfied = [0] * len(codes)
        for place, code in enumerate(codes):
            mask, row = self._masks[code], rows[place]
            if mask is not None and row is not None:
                satisfied[place] = mask(row)
        return np.array(satisfied, np.int64)

    def _amounts(self, events: Sequence[CallEvent], codes: list[int]) -> npt.NDArray[np.float64]:
        """The numbers that windows add up: float64[events, numbers], NaN where one is not known."""
        numbers = np.full((len(events), len(self._numbers)), np.nan)
        places = [place for place, code in enumerate(codes) if code in self._carrying]
        if places:
            carrying = [events[place] for place in places]
            for column, number in enumerate(self._numbers):
                numbers[places, column] = list(map(number, carrying))  # None becomes NaN
        return numbers

    def touch(self) -> None:
        """Have the system lend the memory of all indexes now, not while the first calls wait: some hundred megabytes in
        huge pages, each of which is wiped when it is first written to. Changes nothing else."""
        for index in (self._heads, self._seen_index):
            pages = index[:: _PAGE_BYTES // index.itemsize]
            pages += 0

    def stats(self) -> dict[str, int | float]:
        """Counters since the beginning (they survive snapshots) and the fill of every table and stream.

        ``<table>.keys`` are held now in ``<table>.bytes``, ``<table>.evicted`` left for lack of room;
        ``<stream>.pairs`` are held, ``<stream>.cut`` left because their key had too many or room was needed; ``late``
        counts additions that came after their bucket had gone. ``known_since`` is as the property says, 0 before the
        first event. ``memory_bytes`` is what is in use of
        ``memory_limit_bytes``.
        """
        counters = self._counters
        remembered = min(int(counters[kernels.C_SEEN]), self.limits.remembered)
        known_since = self.known_since
        held = int(self._of_tables[:, kernels.M_UNITS].sum())
        fixed = self._heads.nbytes + self._seen_index.nbytes
        found: dict[str, int | float] = {
            "events": int(counters[kernels.C_EVENTS]),
            "setups": int(counters[kernels.C_SETUPS]),
            "duplicates": int(counters[kernels.C_DUPLICATES]),
            "late": int(counters[kernels.C_LATE]),
            "remembered": remembered,
            "remembered_limit": self.limits.remembered,
            "evicted": int(self._of_tables[:, kernels.M_EVICTED].sum()),
            "known_since": known_since if known_since == known_since else 0.0,
            "memory_bytes": fixed + 8 * kernels.SEEN_WIDTH * remembered + UNIT_BYTES * held,
            "memory_limit_bytes": fixed + self._seen.nbytes + UNIT_BYTES * self.limits.units,
        }
        for name, row in zip(self._plan.table_names, self._of_tables.tolist(), strict=True):
            found[f"{name}.keys"] = row[kernels.M_KEYS]
            found[f"{name}.bytes"] = UNIT_BYTES * row[kernels.M_UNITS]
            found[f"{name}.evicted"] = row[kernels.M_EVICTED]
        for name, row in zip(self._plan.stream_names, self._of_streams.tolist(), strict=True):
            found[f"{name}.pairs"] = row[kernels.Q_PAIRS]
            found[f"{name}.cut"] = row[kernels.Q_CUT]
        return found

    @property
    def memory(self) -> npt.NDArray[np.int32]:
        """The units themselves and the heads of their chains; for whoever minds how the system holds them."""
        return self._units

    @property
    def primitives(self) -> Iterable[Identity]:
        """What windows are made of here: what two folds both have of these, one can take over from the other."""
        return self._plan.places

    def longest_search(self) -> int:
        """The longest search that any key, pair or remembered event needs now; for tests and diagnosis, slow."""
        probe = kernels.longest_probe(self._seen_index, 0, int(self._m[kernels.C_SEEN_MASK]))
        return max(int(probe), int(kernels.longest_chain(self._m, self._units)))

    # --- snapshots ----------------------------------------------------------------------------------------------

    def save(self, path: str | Path, position: str) -> None:
        """Write a snapshot that stands at ``position`` of the log; the file is whole or not there at all."""
        arrays = self._used_arrays()
        header = snapshot.Header(
            windows=self.windows.digest,
            specs=[msgspec.structs.replace(spec, doc={}) for spec in self.windows.specs],
            position=position,
            limits=msgspec.structs.asdict(self.limits),
            secret=self.secret.hex(),
            arrays=[(name, array.dtype.str, array.size) for name, array in arrays],
            began=self.began if self.began == self.began else 0.0,
        )
        snapshot.write(Path(path), header, [array for _, array in arrays])

    @classmethod
    def load(cls, path: str | Path, windows: WindowSet, *, limits: Limits | None = None) -> tuple[Fold, str]:
        """The fold of a snapshot and the position of the log at which it stands.

        Without ``limits`` those of the snapshot hold; with others everything is moved into memory of that size, and
        what does not fit is forgotten as it would be while folding. Raises SnapshotError where the file is missing,
        damaged, of another version, or made with other windows (``load_stayed`` reads those).
        """
        old, position = cls._load(Path(path), windows)
        if limits is None or limits == old.limits:
            return old, position
        return cls.merged(windows, [old], limits=limits), position

    @classmethod
    def load_stayed(cls, path: str | Path, windows: WindowSet) -> tuple[Fold, str, tuple[str, ...]]:
        """The fold of a snapshot that was made with other windows, its position, and which of ``windows`` it lacks.

        The fold still has its old windows: ``merged`` takes over those that stayed. Fold the log up to the position
        into ``Fold(windows.subset(lacking), secret=fold.secret)`` and merge the two.
        """
        with snapshot.Reader(Path(path)) as reader:
            specs = tuple(reader.header.specs)
        old_set = WindowSet(tuple(spec.name for spec in specs), specs, digest_of(specs))
        old, position = cls._load(Path(path), old_set)
        had = set(old_set.digests.values())
        lacking = tuple(name for name, digest in windows.digests.items() if digest not in had)
        return old, position, lacking

    @classmethod
    def _load(cls, path: Path, windows: WindowSet) -> tuple[Fold, str]:
        with snapshot.Reader(path) as reader:
            header = reader.header
            if header.windows != windows.digest:
                raise SnapshotError(
                    "windows",
                    f"{path}: the snapshot was made with other windows",
                    hint=f"it carries {header.windows[:8]}, the windows in use are {windows.digest[:8]}",
                )
            try:
                saved = msgspec.convert(header.limits, Limits)
                fold = cls(windows, limits=saved, secret=bytes.fromhex(header.secret))
            except (ValueError, ConfigError) as error:
                raise SnapshotError("damaged", f"{path}: the snapshot's header makes no sense: {error}") from error
            fold._fill(reader, path)
            reader.finish()
            # Nothing was folded yet: the first event is still to come.
            fold.began = header.began if fold._counters[kernels.C_EVENTS] else math.nan
        kernels.index_seen(fold._m, fold._seen, fold._seen_index)
        return fold, header.position

    def _used_arrays(self) -> list[tuple[str, npt.NDArray[Any]]]:
        """Everything worth keeping, by name: counters, heads, and the units that were ever used."""
        kept = min(int(self._counters[kernels.C_SEEN]), self.limits.remembered)
        oldest = int(self._counters[kernels.C_SEEN]) - kept
        return [
            ("counters", self._counters[: kernels.C_SEEN]),
            ("table counters", self._of_tables.reshape(-1)),
            ("stream counters", self._of_streams.reshape(-1)),
            ("seen", self._seen[(np.arange(kept) + oldest) % self.limits.remembered].reshape(-1)),
            ("heads", self._heads),
            ("units", self._units[: int(self._counters[kernels.C_USED]) * UNIT_WORDS]),
        ]

    def _fill(self, reader: snapshot.Reader, path: Path) -> None:
        reader.read("counters", self._counters[: kernels.C_SEEN])
        reader.read("table counters", self._of_tables.reshape(-1))
        reader.read("stream counters", self._of_streams.reshape(-1))
        kept, rest = divmod(reader.size("seen"), kernels.SEEN_WIDTH)
        used = int(self._counters[kernels.C_USED])
        if rest or not 0 <= kept <= self.limits.remembered or not 1 <= used <= self.limits.units + 1:
            raise SnapshotError("damaged", f"{path}: the snapshot holds more than its own limits")
        reader.read("seen", self._seen[:kept].reshape(-1))
        self._counters[kernels.C_SEEN] = kept
        reader.read("heads", self._heads)
        reader.read("units", self._units[: used * UNIT_WORDS])
        # The checksum is no signature: who may write the file can make one of his own, and then the units are believed.
        # What a wrong head would lead astray at once is looked at all the same.
        left = int(self._counters[kernels.C_LEFT])
        if not 0 <= left <= self.limits.units:
            raise SnapshotError("damaged", f"{path}: the snapshot counts more free places than there are")
        places = (self._heads, self._of_tables[:, : kernels.M_NEWEST + 1], self._counters[kernels.C_FREE])
        if any(part.size and not 0 <= part.min() <= part.max() < used for part in map(np.asarray, places)):
            raise SnapshotError("damaged", f"{path}: the snapshot points outside itself")

    # --- other windows, other limits ----------------------------------------------------------------------------

    @classmethod
    def merged(cls, windows: WindowSet, sources: Sequence[Fold], *, limits: Limits | None = None) -> Fold:
        """A fold of ``windows`` made of what ``sources`` know at one and the same position of the log.

        Sources share one secret. What several of them know is taken from the last one, and so are the counters and
        the memory of duplicates. A window that none of them has begins empty. Keys that only earlier sources have
        count as used longer ago than all others.
        """
        last = sources[-1]
        if any(source.secret != last.secret for source in sources):
            raise ValueError("folds with different secrets cannot be merged")
        fold = cls(windows, limits=limits if limits is not None else last.limits, secret=last.secret)
        for place, source in enumerate(sources):
            fold._adopt(source, set().union(*(set(after.primitives) for after in sources[place + 1 :])))
        fold._take_counters(last)
        known = [source.began for source in sources if source.began == source.began]
        fold.began = min(known, default=math.nan)
        return fold

    def _adopt(self, source: Fold, elsewhere: set[Identity]) -> None:
        """Take over every row of ``source`` with the primitives that both have and that nobody later has."""
        mine, theirs = self._plan, source._plan
        columns: list[list[int]] = []
        words: list[list[int]] = []
        streams: list[list[int]] = []
        for identity, place in mine.places.items():
            other = theirs.places.get(identity)
            if other is None:
                continue
            if place.kind == "stream":
                streams.append([place.table, other.where, place.where])
            elif identity in elsewhere:
                continue
            elif place.kind == "pane":
                columns.append([place.table, other.where, other.column, place.where, place.column])
            else:
                words.append([place.table, other.where, other.column, place.where, place.column])
                if place.kind == "quad":
                    words.append([place.table, other.where, other.column + 2, place.where, place.column + 2])
        for number, name in enumerate(theirs.table_names):
            if name in mine.table_names:
                table = mine.table_names.index(name)
                kernels.adopt_rows(
                    self._m, self._units, self._longs, table, source._m, source._units, source._longs, number,
                    _rows_of(columns, table, 5), _rows_of(words, table, 5), _rows_of(streams, table, 3),
                )  # fmt: skip

    def _take_counters(self, source: Fold) -> None:
        for counter in (kernels.C_EVENTS, kernels.C_SETUPS, kernels.C_DUPLICATES, kernels.C_LATE):
            self._counters[counter] = source._counters[counter]
        for number, name in enumerate(self._plan.table_names):
            if name in source._plan.table_names:
                other = source._of_tables[source._plan.table_names.index(name)]
                self._of_tables[number, kernels.M_EVICTED] += other[kernels.M_EVICTED]
                mine = self._of_tables[number]
                mine[kernels.M_LOST] = max(mine[kernels.M_LOST], other[kernels.M_LOST])
        for number, name in enumerate(self._plan.stream_names):
            if name in source._plan.stream_names:
                cut = source._of_streams[source._plan.stream_names.index(name)][kernels.Q_CUT]
                self._of_streams[number, kernels.Q_CUT] += cut
        newest = int(source._counters[kernels.C_SEEN])
        kept = min(newest, source.limits.remembered, self.limits.remembered)
        places = np.arange(newest - kept, newest) % source.limits.remembered
        self._seen[:kept] = source._seen[places]
        self._counters[kernels.C_SEEN] = kept
        kernels.index_seen(self._m, self._seen, self._seen_index)


def warm_up() -> None:
    """Compile the kernels, or take them from the disk cache, before the first call is waiting for them."""
    specs = (
        WindowSpec(name="calls", kind="count", by=("caller",), over_s=60, buckets=12),
        WindowSpec(name="talk", kind="sum", by=("caller",), on="release", over_s=60, buckets=12, of="talk_s"),
    )
    small = Limits(units=4096, pairs_per_key=8, remembered=8)
    windows = WindowSet(("calls", "talk"), specs, "")
    fold = Fold(windows, limits=small, secret=bytes(_SECRET_BYTES))
    event = CallEvent(kind=EventKind.SETUP, call_id="1", ts=1_700_000_000.0, caller="+15550100", callee="+15550101")
    fold.fold([event], [None])
    fold.probe([event], [event.ts])
    Fold.merged(windows, [fold])


def _mark_taken_back(
    events: Sequence[CallEvent], codes: list[int], times: npt.NDArray[np.float64], satisfied: npt.NDArray[np.int64]
) -> None:
    """Have reports that take back earlier ones stand at the time of those."""
    for place, code in enumerate(codes):
        if code == _REPORT_CODE:
            then = events[place].takes_back
            if then is not None:
                if not math.isfinite(then):
                    raise ValueError(
                        "a report that takes back one without a finite time; check_event refuses such events"
                    )
                times[place] = then
                satisfied[place] |= kernels.TAKES_BACK


def _never(_row: Sequence[object]) -> bool:
    return False


def _one_by_one(predicates: Sequence[Predicate]) -> Mask:
    pairs = tuple((predicate, 1 << bit) for bit, predicate in enumerate(predicates))

    def mask(row: Sequence[object]) -> int:
        bits = 0
        for holds, bit in pairs:
            if holds(row):
                bits |= bit
        return bits

    return mask


def _rows_of(rows: list[list[int]], table: int, width: int) -> npt.NDArray[np.int64]:
    own = [row for row in rows if row[0] == table]
    return np.array(own, np.int64).reshape(len(own), width)


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


def _check_limit(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(
            f"the windows' limit {name} is {value}, with these windows it can be from {least} to {most}",
            hint="raise features.memory_limit" if value < least else "lower features.memory_limit",
        )
