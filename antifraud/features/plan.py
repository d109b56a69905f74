"""From declared windows to the numbers that the kernels read: keys, tables, rings, streams, operations, features.

A window is made of primitives (a ring of counts, a ring of sums, a stream of pairs, a first or last time) that live
in the row of one key. Primitives of identical content are stored once, however many windows read them. The column
constants here are the contract with ``kernels``; neither side knows anything else of the other.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import EventKind
from antifraud.features.windows import WindowSet, WindowSpec

Int64s = npt.NDArray[np.int64]

EVENT_CODES: Final = {kind: code for code, kind in enumerate(EventKind)}
SETUP: Final = EVENT_CODES[EventKind.SETUP]
REPORT: Final = EVENT_CODES[EventKind.REPORT]

#: The text fields that every event is recognised by (the last two in reports only): always first among the fields.
IDENTITY_FIELDS: Final = ("caller", "callee", "label", "reporter")

# Keys: how the key of a table, or the item of a pair, is made.
KEY_FIELD, KEY_PREFIX, KEY_PAIR = 0, 1, 2

# Columns of ``tables``.
T_KEY, T_INTS, T_INT_WIDTH, T_LONGS, T_LONG_WIDTH, T_INDEX, T_MASK, T_CAPACITY, T_STREAM, T_STREAMS, T_USED_BY = range(
    11
)
# Columns of ``streams``.
S_TABLE, S_ITEM, S_COLUMN, S_RING, S_RINGS, S_PAIRS, S_CAPACITY, S_INDEX, S_MASK, S_PER_KEY = range(10)
# Columns of ``rings``; the slots of a ring of sums lie in longs, of all others right behind their head in ints.
R_TABLE, R_HEAD, R_SLOTS, R_WIDTH, R_LONG = range(5)
# Columns of ``operations``.
O_CODE, O_TABLE, O_CONDITIONS, O_WHAT, O_ITEM, O_STEP, O_COLUMN, O_NEW_TABLE, O_NEW_COLUMN, O_NEW_WITHIN = range(10)
DO_COUNT, DO_SUM, DO_PAIR, DO_FIRST, DO_LAST, DO_SEQUENTIAL = range(6)
# Columns of ``features``.
F_CODE, F_TABLE, F_A, F_B = range(4)
READ_COUNT, READ_SHARE, READ_SUM, READ_MEAN, READ_SINCE = range(5)

#: The first columns of a row: neighbours in the order of use (ints), the key itself (longs).
ROW_OLDER, ROW_NEWER, ROW_INTS = 0, 1, 2
ROW_KEY, ROW_LONGS = 0, 1


class _Condition(NamedTuple):
    """What an event must satisfy to be counted by a primitive."""

    on: str
    texts: tuple[str, ...]
    has: str
    new: str
    new_within_s: int


class Plan(msgspec.Struct, frozen=True):
    """The layout of the state for one WindowSet, before capacities are known.

    ``fields`` are the text fields that are hashed per event; ``conditions`` and ``numbers`` say per kind of event
    which bit stands for which condition or known number. ``tables``, ``streams`` hold widths and columns; bases
    and capacities are filled in by the fold.
    """

    fields: tuple[str, ...]
    numbers: tuple[str, ...]
    conditions: tuple[tuple[tuple[str, int], ...], ...]
    known: tuple[tuple[tuple[str, int], ...], ...]
    keys: Int64s
    tables: Int64s
    streams: Int64s
    rings: Int64s
    operations: Int64s
    spans: Int64s
    features: Int64s
    table_names: tuple[str, ...]
    stream_names: tuple[str, ...]


def make_plan(windows: WindowSet) -> Plan:
    """Lay out the state for ``windows``."""
    return _Planner(windows).plan()


class _Table(msgspec.Struct):
    key: int
    name: str
    ints: int = ROW_INTS
    longs: int = ROW_LONGS


class _Stream(msgspec.Struct):
    table: int
    item: int
    column: int
    name: str
    rings: list[tuple[int, int]]
    condition: _Condition


class _Planner:
    def __init__(self, windows: WindowSet) -> None:
        self.windows = windows
        self.fields = list(IDENTITY_FIELDS)
        self.numbers: list[str] = []
        self.keys: dict[tuple[int, int, int], int] = {}
        self.tables: dict[tuple[tuple[str, ...], int], int] = {}
        self.table_list: list[_Table] = []
        self.streams: dict[tuple[int, int, _Condition], int] = {}
        self.stream_list: list[_Stream] = []
        self.rings: dict[tuple[object, ...], int] = {}
        self.ring_rows: list[list[int]] = []
        self.columns: dict[tuple[object, ...], int] = {}
        self.operations: list[list[int]] = []
        self.bits: list[dict[tuple[str, str], int]] = [{} for _ in EventKind]
        self.stream_reads: list[tuple[int, int, int, int]] = []

    def plan(self) -> Plan:
        features = [self._feature(place, spec) for place, spec in enumerate(self.windows.specs)]
        streams = self._streams()
        for stream, over, buckets, feature in self.stream_reads:
            first = streams[stream][S_RING]
            features[feature][F_A] = first + self.stream_list[stream].rings.index((over, buckets))
        tables = []
        for number, table in enumerate(self.table_list):
            row = [0] * 11
            row[T_KEY], row[T_INT_WIDTH], row[T_LONG_WIDTH] = table.key, table.ints, table.longs
            own = [s for s, stream in enumerate(self.stream_list) if stream.table == number]
            row[T_STREAM], row[T_STREAMS] = (own[0] if own else 0), len(own)
            row[T_USED_BY] = sum(
                1 << kind
                for kind in range(len(EventKind))
                if any(op[0] == kind and number in (op[1 + O_TABLE], op[1 + O_NEW_TABLE]) for op in self.operations)
            )
            tables.append(row)
        self.operations.sort(key=lambda op: (op[0], op[1 + O_TABLE]))
        spans = []
        for kind in range(len(EventKind)):
            places = [place for place, op in enumerate(self.operations) if op[0] == kind]
            spans.append([places[0], places[-1] + 1] if places else [0, 0])
        return Plan(
            fields=tuple(self.fields),
            numbers=tuple(self.numbers),
            conditions=tuple(
                tuple((text, bit) for (what, text), bit in bits.items() if what == "where") for bits in self.bits
            ),
            known=tuple(
                tuple((text, bit) for (what, text), bit in bits.items() if what == "has") for bits in self.bits
            ),
            keys=_matrix([list(key) for key in self.keys], 3),
            tables=_matrix(tables, 11),
            streams=_matrix(streams, 10),
            rings=_matrix(self.ring_rows, 5),
            operations=_matrix([op[1:] for op in self.operations], 10),
            spans=_matrix(spans, 2),
            features=_matrix(features, 4),
            table_names=tuple(table.name for table in self.table_list),
            stream_names=tuple(stream.name for stream in self.stream_list),
        )

    def _streams(self) -> list[list[int]]:
        # Streams of one table lie side by side, and so do the rings of one stream: the kernels read ranges.
        order = sorted(range(len(self.stream_list)), key=lambda s: (self.stream_list[s].table, s))
        moved = {old: new for new, old in enumerate(order)}
        self.stream_list = [self.stream_list[old] for old in order]
        self.stream_reads = [(moved[s], over, buckets, f) for s, over, buckets, f in self.stream_reads]
        rows = []
        for number, stream in enumerate(self.stream_list):
            row = [0] * 10
            row[S_TABLE], row[S_ITEM], row[S_COLUMN] = stream.table, stream.item, stream.column
            row[S_RING], row[S_RINGS] = len(self.ring_rows), len(stream.rings)
            for over, buckets in stream.rings:
                self._add_ring(stream.table, over, buckets, longs=False)
            rows.append(row)
            self._operate(stream.condition, DO_PAIR, stream.table, what=number, item=stream.item)
        return rows

    def _feature(self, place: int, spec: WindowSpec) -> list[int]:
        table = self._table(spec.by, spec.cut)
        texts = tuple(sorted({text for text in (spec.where, spec.among) if text}))
        has = spec.of if spec.kind in ("sum", "mean") else ""
        condition = _Condition(spec.on, texts, has, spec.new, spec.new_within_s)
        over, buckets = spec.over_s, spec.buckets
        if spec.kind == "count":
            return [READ_COUNT, table, self._counts(table, condition, over, buckets), 0]
        if spec.kind == "share":
            among = condition._replace(texts=(spec.among,) if spec.among else ())
            part = self._counts(table, condition, over, buckets)
            return [READ_SHARE, table, part, self._counts(table, among, over, buckets)]
        if spec.kind == "sum":
            return [READ_SUM, table, self._sums(table, condition, over, buckets), 0]
        if spec.kind == "mean":
            total = self._sums(table, condition, over, buckets)
            return [READ_MEAN, table, total, self._counts(table, condition, over, buckets)]
        if spec.kind == "distinct":
            return self._distinct(place, spec, table, condition)
        if spec.kind == "sequential":
            return [READ_COUNT, table, self._sequential(spec, table, condition), 0]
        code = DO_FIRST if spec.kind == "age" else DO_LAST
        return [READ_SINCE, table, self._time(table, condition, code), 0]

    def _distinct(self, place: int, spec: WindowSpec, table: int, condition: _Condition) -> list[int]:
        item = self._key((spec.of,), spec.cut)
        identity = (table, item, condition)
        if identity not in self.streams:
            self.streams[identity] = len(self.stream_list)
            name = f"{self.table_list[table].name}>{spec.of}"
            taken = sum(stream.name.split("#")[0] == name for stream in self.stream_list)
            column = self._ints(table, 3)
            self.stream_list.append(
                _Stream(table, item, column, f"{name}#{taken + 1}" if taken else name, [], condition)
            )
        stream = self.streams[identity]
        size = (spec.over_s, spec.buckets)
        if size not in self.stream_list[stream].rings:
            self.stream_list[stream].rings.append(size)
        self.stream_reads.append((stream, *size, place))
        return [READ_COUNT, table, 0, 0]

    def _key(self, by: tuple[str, ...], cut: int) -> int:
        parts = []
        for field in by:
            prefix = field.endswith("_prefix")
            base = field.removesuffix("_prefix")
            if base not in self.fields:
                self.fields.append(base)
            shape = (
                (KEY_PREFIX, self.fields.index(base), 10**cut) if prefix else (KEY_FIELD, self.fields.index(base), 0)
            )
            parts.append(self.keys.setdefault(shape, len(self.keys)))
        key = parts[0]
        for part in parts[1:]:
            key = self.keys.setdefault((KEY_PAIR, key, part), len(self.keys))
        return key

    def _table(self, by: tuple[str, ...], cut: int) -> int:
        cut = cut if any(field.endswith("_prefix") for field in by) else 0
        identity = (by, cut)
        if identity not in self.tables:
            self.tables[identity] = len(self.table_list)
            name = "+".join(by) + (f"-{cut}" if cut else "")
            self.table_list.append(_Table(self._key(by, cut), name))
        return self.tables[identity]

    def _ints(self, table: int, count: int) -> int:
        column = self.table_list[table].ints
        self.table_list[table].ints += count
        return column

    def _longs(self, table: int, count: int) -> int:
        column = self.table_list[table].longs
        self.table_list[table].longs += count
        return column

    def _add_ring(self, table: int, over: int, buckets: int, *, longs: bool) -> int:
        head = self._ints(table, 1 if longs else 1 + buckets)
        slots = self._longs(table, buckets) if longs else head + 1
        self.ring_rows.append([table, head, buckets, over // buckets, slots if longs else -1])
        return len(self.ring_rows) - 1

    def _counts(self, table: int, condition: _Condition, over: int, buckets: int) -> int:
        identity = ("count", table, condition, over, buckets)
        if identity not in self.rings:
            self.rings[identity] = self._add_ring(table, over, buckets, longs=False)
            self._operate(condition, DO_COUNT, table, what=self.rings[identity])
        return self.rings[identity]

    def _sums(self, table: int, condition: _Condition, over: int, buckets: int) -> int:
        identity = ("sum", table, condition, over, buckets)
        if identity not in self.rings:
            if condition.has not in self.numbers:
                self.numbers.append(condition.has)
            self.rings[identity] = self._add_ring(table, over, buckets, longs=True)
            number = self.numbers.index(condition.has)
            self._operate(condition, DO_SUM, table, what=self.rings[identity], item=number)
        return self.rings[identity]

    def _sequential(self, spec: WindowSpec, table: int, condition: _Condition) -> int:
        identity = ("sequential", table, condition, spec.over_s, spec.buckets, spec.step)
        if identity not in self.rings:
            ring = self.rings[identity] = self._add_ring(table, spec.over_s, spec.buckets, longs=False)
            column, item = self._longs(table, 1), self._key(("callee",), 0)
            self._operate(condition, DO_SEQUENTIAL, table, what=ring, item=item, step=spec.step, column=column)
        return self.rings[identity]

    def _time(self, table: int, condition: _Condition, code: int) -> int:
        identity = (code, table, condition)
        if identity not in self.columns:
            self.columns[identity] = self._longs(table, 1)
            self._operate(condition, code, table, column=self.columns[identity])
        return self.columns[identity]

    def _bit(self, kind: int, what: str, text: str) -> int:
        return 1 << self.bits[kind].setdefault((what, text), len(self.bits[kind]))

    def _operate(
        self,
        condition: _Condition,
        code: int,
        table: int,
        *,
        what: int = 0,
        item: int = 0,
        step: int = 0,
        column: int = 0,
    ) -> None:
        kind = EVENT_CODES[EventKind(condition.on)]
        mask = 0
        for text in condition.texts:
            mask |= self._bit(kind, "where", text)
        if condition.has:
            mask |= self._bit(kind, "has", condition.has)
        row = [code, table, mask, what, item, step, column, -1, 0, 0]
        if condition.new:
            # "Never seen" is what the age of the caller or callee is made of: its first set-up.
            seen = self._table((condition.new,), 0)
            row[O_NEW_TABLE] = seen
            row[O_NEW_COLUMN] = self._time(seen, _Condition("setup", (), "", "", 0), DO_FIRST)
            row[O_NEW_WITHIN] = condition.new_within_s * 1000
        self.operations.append([kind, *row])


def _matrix(rows: list[list[int]], width: int) -> Int64s:
    return np.array(rows, dtype=np.int64).reshape(len(rows), width)
