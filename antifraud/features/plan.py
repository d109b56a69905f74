"""From declared windows to the numbers that the kernels read: keys, tables, panes, streams, operations, features.

A window is made of primitives that live with one key: columns of counts, sums or maxima in time buckets, streams of
pairs, a first or last time, the number called last. Primitives of identical content are stored once, however many
windows read them. The column constants here are the contract with ``kernels``; neither side knows anything else of
the other.

A *table* holds the keys of one ``by``. A *view* is a table looked up by some key of the present call: usually its own,
but also that of another field (``for``). A *pane* is the buckets of one length and number that a key has; its columns
are what is counted in each of them. A bucket in which nothing was counted takes no memory.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import EventKind
from antifraud.features.windows import DERIVED, WindowSet, WindowSpec

Int64s = npt.NDArray[np.int64]
#: What makes a primitive the same in two plans.
Identity = tuple[object, ...]

EVENT_CODES: Final = {kind: code for code, kind in enumerate(EventKind)}
SETUP: Final = EVENT_CODES[EventKind.SETUP]
REPORT: Final = EVENT_CODES[EventKind.REPORT]

#: The text fields that every event is recognised by (the last two in reports only): always first among the fields.
IDENTITY_FIELDS: Final = ("call_id", "caller", "callee", "label", "reporter")

#: Memory is handed out in units of this many bytes: a row's head, a part of its payload, a bucket, a pair.
UNIT_BYTES: Final = 32
UNIT_WORDS: Final = UNIT_BYTES // 4

# Keys: how the key of a table, or the item of a pair, is made.
KEY_FIELD, KEY_PREFIX, KEY_PAIR, KEY_WIDTH = range(4)
# Columns of ``tables``.
T_KEY, T_EXTS, T_PANE, T_PANES, T_STREAM, T_STREAMS, T_USED_BY, T_WIDTH = range(8)
# Columns of ``views``; the first ones are the tables by their own keys.
V_TABLE, V_KEY, V_WIDTH = range(3)
# Columns of ``panes``: where its newest bucket is named (part of the payload, word in it), how long and how many
# its buckets are, how many counts they begin with when they hold nothing else, and what each of their words holds.
P_TABLE, P_EXT, P_WORD, P_SECONDS, P_SLOTS, P_COUNTS, P_TYPES, P_WIDTH = range(8)
#: What a word of a bucket holds: two bits each in P_TYPES, the first word lowest. A sum takes two words.
HOLDS_NOTHING, HOLDS_COUNT, HOLDS_SUM, HOLDS_MAXIMUM = range(4)
# Columns of ``streams``; three words of the payload: oldest pair, newest pair, how many.
S_TABLE, S_ITEM, S_EXT, S_WORD, S_GRID, S_GRIDS, S_WIDTH = range(7)
# Columns of ``grids``: where a stream's pairs are counted by the bucket of their last occurrence.
G_PANE, G_COLUMN, G_WIDTH = range(3)
# Columns of ``operations``: what is done, where (pane and column or stream, part and word of the payload), with what
# (item's key or number's place, step), which number must be known (-1: none), and whether it wants something new
# (which table or stream, where in it).
(
    O_CODE, O_TABLE, O_CONDITIONS, O_WHAT, O_COLUMN, O_EXT, O_WORD, O_ITEM, O_STEP, O_HAS, O_NEW, O_NEW_WHAT,
    O_NEW_WHERE, O_NEW_WORD, O_NEW_WITHIN, O_WIDTH,
) = range(16)  # fmt: skip
# The order matters: from DO_PAIR on an operation has an item, from DO_FIRST on a word of the payload.
DO_COUNT, DO_SUM, DO_MAX, DO_PAIR, DO_CLOSE, DO_FIRST, DO_LAST, DO_SEQUENTIAL, DO_REPEAT = range(9)
NEW_NOT_ASKED, NEW_KEY, NEW_PAIR = range(3)
# Columns of ``reads``: the panes that the windows of a set-up are made of.
R_VIEW, R_PANE, R_WIDTH = range(3)
# Columns of ``features``.
F_CODE, F_VIEW, F_A, F_B, F_C, F_D, F_WIDTH = range(7)
(
    READ_COUNT, READ_SHARE, READ_SUM, READ_MEAN, READ_MAX, READ_SINCE, READ_REPEAT, READ_RATIO, READ_BALANCE,
) = range(9)  # fmt: skip

#: The words of a row's head.
ROW_KEY, ROW_NEXT, ROW_TAG, ROW_OLDER, ROW_NEWER, ROW_CLOCK, ROW_EXT = 0, 2, 3, 4, 5, 6, 7
#: The words of a part of a row's payload: the next part, then 7 words; 64-bit values begin at 2, 4 and 6.
EXT_NEXT, EXT_FIRST = 0, 1
#: The words of a bucket: the next older one, its number, then 6 words of what was counted in it.
BUCKET_NEXT, BUCKET_NUMBER, BUCKET_FIRST = 0, 1, 2
BUCKET_WORDS: Final = 6
#: The words of a pair.
PAIR_ITEM, PAIR_NEXT, PAIR_TAG, PAIR_OLDER, PAIR_NEWER, PAIR_LAST, PAIR_PARENT = 0, 2, 3, 4, 5, 6, 7


class Condition(NamedTuple):
    """What an event must satisfy to be counted by a primitive."""

    on: str
    texts: tuple[str, ...] = ()
    has: str = ""
    new: str = ""
    new_within_s: int = 0
    new_grid: tuple[int, int] = (0, 0)


ANY_SETUP: Final = Condition("setup")


class Place(NamedTuple):
    """Where a primitive lives: a column of a pane, a stream, or a word of a row's payload."""

    table: int
    kind: str
    where: int
    column: int


class Plan(msgspec.Struct, frozen=True):
    """The layout of the state for one WindowSet; it does not depend on how much memory there is.

    ``fields`` are the text fields that are hashed per event. ``conditions`` lists per kind of event the conditions in
    the order of their bits. ``places`` and ``table_names`` tell what is the same in another plan.
    """

    fields: tuple[str, ...]
    numbers: tuple[str, ...]
    conditions: tuple[tuple[str, ...], ...]
    keys: Int64s
    tables: Int64s
    views: Int64s
    panes: Int64s
    streams: Int64s
    grids: Int64s
    operations: Int64s
    spans: Int64s
    reads: Int64s
    features: Int64s
    table_names: tuple[str, ...]
    stream_names: tuple[str, ...]
    places: dict[Identity, Place]

    @property
    def parts(self) -> tuple[Int64s, ...]:
        """Everything that the kernels read, in the order in which they know it."""
        return (
            self.keys, self.tables, self.views, self.panes, self.streams, self.grids, self.operations, self.spans,
            self.reads, self.features,
        )  # fmt: skip

    def units_of_one_event(self) -> int:
        """The most units that the keys of one event can need, however long they have been filling up."""
        rows = sum(1 + int(table[T_EXTS]) for table in self.tables)
        buckets = sum(1 + int(pane[P_SLOTS]) for pane in self.panes)
        return rows + buckets + 2 * len(self.streams)


def make_plan(windows: WindowSet) -> Plan:
    """Lay out the state for ``windows``."""
    return _Planner(windows).plan()


class _Table(msgspec.Struct):
    key: int
    name: str
    #: For every part of the payload, which of its words 1-7 are taken.
    exts: list[list[bool]] = []


class _Pane(msgspec.Struct):
    table: int
    over: int
    buckets: int
    group: str
    ext: int
    word: int
    #: What each of the six words holds.
    types: list[int]

    def place(self, holds: int) -> int:
        """A free word for a column (the first of two for a sum), which is then taken; -1 when there is none."""
        size = 2 if holds == HOLDS_SUM else 1
        for word in range(0, BUCKET_WORDS, size):
            if not any(self.types[word : word + size]):
                self.types[word] = holds
                if size == 2:
                    self.types[word + 1] = _SECOND_HALF
                return word
        return -1

    def row(self) -> list[int]:
        """This pane as the kernels know it."""
        counts = 0 if {HOLDS_SUM, HOLDS_MAXIMUM} & set(self.types) else self.types.count(HOLDS_COUNT)
        types = sum((holds & 3 if holds != _SECOND_HALF else 0) << (2 * word) for word, holds in enumerate(self.types))
        return [self.table, self.ext, self.word, self.over // self.buckets, self.buckets, counts, types]


class _Stream(msgspec.Struct):
    table: int
    item: int
    name: str
    ext: int
    word: int
    grids: dict[tuple[int, int], tuple[int, int]] = {}


class _Planner:
    def __init__(self, windows: WindowSet) -> None:
        self.windows = windows
        self.fields = list(IDENTITY_FIELDS)
        self.numbers: list[str] = []
        self.keys: dict[tuple[int, int, int], int] = {}
        self.tables: dict[tuple[tuple[str, ...], int], int] = {}
        self.table_list: list[_Table] = []
        self.views: dict[tuple[int, int], int] = {}
        self.panes: list[_Pane] = []
        self.streams: dict[Identity, int] = {}
        self.stream_list: list[_Stream] = []
        self.places: dict[Identity, Place] = {}
        self.operations: list[list[int]] = []
        self.texts: list[list[str]] = [[] for _ in EventKind]
        #: (view's table, view's key, pane) → place among the reads; views of other keys are numbered at the end.
        self.reads: dict[tuple[int, int, int], int] = {}
        self.by_name: dict[str, int] = {}

    def plan(self) -> Plan:
        raw = []
        for place, spec in enumerate(self.windows.specs):
            raw.append(self._feature(spec))
            self.by_name[spec.name] = place
        pane_order = sorted(range(len(self.panes)), key=lambda p: (self.panes[p].table, p))
        pane_at = {old: new for new, old in enumerate(pane_order)}
        stream_order = sorted(range(len(self.stream_list)), key=lambda s: (self.stream_list[s].table, s))
        stream_at = {old: new for new, old in enumerate(stream_order)}
        self._renumber(pane_at, stream_at)
        panes = [self.panes[old] for old in pane_order]
        streams = [self.stream_list[old] for old in stream_order]
        grids: list[list[int]] = []
        stream_rows = []
        for stream in streams:
            row = [stream.table, stream.item, stream.ext, stream.word, len(grids), len(stream.grids)]
            grids += [[pane_at[pane], column] for pane, column in stream.grids.values()]
            stream_rows.append(row)
        tables = []
        for number, table in enumerate(self.table_list):
            row = [0] * T_WIDTH
            row[T_KEY], row[T_EXTS] = table.key, len(table.exts)
            row[T_PANE], row[T_PANES] = _span([pane.table for pane in panes], number)
            row[T_STREAM], row[T_STREAMS] = _span([stream.table for stream in streams], number)
            row[T_USED_BY] = sum(1 << kind for kind in range(len(EventKind)) if self._used(kind, number, streams))
            tables.append(row)
        self.operations.sort(key=lambda op: (op[0], op[1 + O_TABLE]))
        own = {(number, table.key): number for number, table in enumerate(self.table_list)}
        views = {**own, **{view: len(own) + at for at, view in enumerate(v for v in self.views if v not in own)}}
        reads = [[views[table, key], pane_at[pane]] for table, key, pane in self.reads]
        features = [[code, 0 if view is None else views[view], *rest] for code, view, rest in raw]
        return Plan(
            fields=tuple(self.fields),
            numbers=tuple(self.numbers),
            conditions=tuple(tuple(texts) for texts in self.texts),
            keys=_matrix([list(key) for key in self.keys], KEY_WIDTH),
            tables=_matrix(tables, T_WIDTH),
            views=_matrix([list(view) for view in views], V_WIDTH),
            panes=_matrix([pane.row() for pane in panes], P_WIDTH),
            streams=_matrix(stream_rows, S_WIDTH),
            grids=_matrix(grids, G_WIDTH),
            operations=_matrix([op[1:] for op in self.operations], O_WIDTH),
            spans=_matrix([_bounds([op[0] for op in self.operations], kind) for kind in range(len(EventKind))], 2),
            reads=_matrix(reads, R_WIDTH),
            features=_matrix(features, F_WIDTH),
            table_names=tuple(table.name for table in self.table_list),
            stream_names=tuple(stream.name for stream in streams),
            places=self.places,
        )

    def _renumber(self, pane_at: dict[int, int], stream_at: dict[int, int]) -> None:
        """Panes and streams of one table lie side by side; whoever names one by number learns its new one."""
        for op in self.operations:
            if op[1 + O_CODE] in (DO_PAIR, DO_CLOSE):
                op[1 + O_WHAT] = stream_at[op[1 + O_WHAT]]
            elif op[1 + O_CODE] in _IN_PANES:
                op[1 + O_WHAT] = pane_at[op[1 + O_WHAT]]
            if op[1 + O_NEW] == NEW_PAIR:
                op[1 + O_NEW_WHAT] = stream_at[op[1 + O_NEW_WHAT]]
                op[1 + O_NEW_WHERE] = pane_at[op[1 + O_NEW_WHERE]]
        for identity, place in self.places.items():
            if place.kind == "stream":
                self.places[identity] = place._replace(where=stream_at[place.where])
            elif place.kind == "pane":
                self.places[identity] = place._replace(where=pane_at[place.where])

    def _used(self, kind: int, table: int, streams: list[_Stream]) -> bool:
        for op in self.operations:
            if op[0] != kind:
                continue
            if op[1 + O_TABLE] == table:
                return True
            if op[1 + O_NEW] == NEW_KEY and op[1 + O_NEW_WHAT] == table:
                return True
            if op[1 + O_NEW] == NEW_PAIR and streams[op[1 + O_NEW_WHAT]].table == table:
                return True
        return False

    # --- windows ------------------------------------------------------------------------------------------------

    def _feature(self, spec: WindowSpec) -> tuple[int, tuple[int, int] | None, list[int]]:
        """Code, view as (table, key) where the window has one, and the four things that the code wants to know."""
        if spec.kind in DERIVED:
            code = READ_RATIO if spec.kind == "ratio" else READ_BALANCE
            return code, None, [self.by_name[spec.of], self.by_name[spec.to], 0, 0]
        table = self._table(spec.by, spec.cut)
        key = self._key(spec.seen_by, spec.cut) if spec.seen_by else self.table_list[table].key
        view = (table, key)
        self.views.setdefault(view, len(self.views))
        texts = tuple(sorted({text for text in (spec.where, spec.among) if text}))
        has = spec.of if spec.kind in ("sum", "mean", "max") else ""
        grid = (spec.over_s, spec.buckets)
        asks = spec.new_grid if spec.new == "pair" else (0, 0)
        condition = Condition(spec.on, texts, has, spec.new, spec.new_within_s, asks)
        if spec.kind == "count":
            return READ_COUNT, view, [self._read(view, self._counts(table, condition, grid)), 0, 0, 0]
        if spec.kind == "share":
            among = Condition(spec.on, (spec.among,) if spec.among else ())
            part = self._read(view, self._counts(table, condition, grid))
            return READ_SHARE, view, [part, self._read(view, self._counts(table, among, grid)), 0, 0]
        if spec.kind == "sum":
            return READ_SUM, view, [self._read(view, self._amounts(table, condition, grid, DO_SUM)), 0, 0, 0]
        if spec.kind == "max":
            return READ_MAX, view, [self._read(view, self._amounts(table, condition, grid, DO_MAX)), 0, 0, 0]
        if spec.kind == "mean":
            total = self._read(view, self._amounts(table, condition, grid, DO_SUM))
            return READ_MEAN, view, [total, self._read(view, self._counts(table, condition, grid)), 0, 0]
        if spec.kind in ("distinct", "open"):
            return READ_COUNT, view, [self._read(view, self._pairs(spec, table, condition, grid)), 0, 0, 0]
        if spec.kind == "sequential":
            return READ_COUNT, view, [self._read(view, self._sequential(spec, table, condition, grid)), 0, 0, 0]
        if spec.kind == "repeat":
            item = self._key((spec.of,), spec.cut)
            place = self._repeat(spec, table, condition, item)
            return READ_REPEAT, view, [place.where, place.column, item, spec.over_s]
        place = self._time(table, condition, DO_FIRST if spec.kind == "age" else DO_LAST)
        return READ_SINCE, view, [place.where, place.column, 0, 0]

    def _read(self, view: tuple[int, int], place: Place) -> int:
        """Where the value of a column is found once the panes of a set-up are read."""
        at = self.reads.setdefault((*view, place.where), len(self.reads))
        return at * BUCKET_WORDS + place.column

    # --- keys and tables ----------------------------------------------------------------------------------------

    def _key(self, by: tuple[str, ...], cut: int) -> int:
        parts = []
        for field in by:
            prefix = field.endswith("_prefix")
            base = field.removesuffix("_prefix")
            if base not in self.fields:
                self.fields.append(base)
            at = self.fields.index(base)
            shape = (KEY_PREFIX, at, 10**cut) if prefix else (KEY_FIELD, at, 0)
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

    def _payload(self, table: int, words: int) -> tuple[int, int]:
        """A free place in a row's payload: (part, word). 2 and 4 words begin where a 64-bit value may stand."""
        exts = self.table_list[table].exts
        begins = range(EXT_FIRST if words % 2 else 2, UNIT_WORDS - words + 1, 1 if words % 2 else 2)
        for number, taken in enumerate(exts):
            for word in begins:
                if not any(taken[word : word + words]):
                    taken[word : word + words] = [True] * words
                    return number, word
        exts.append([True] + [False] * (UNIT_WORDS - 1))
        return self._payload(table, words)

    # --- primitives ---------------------------------------------------------------------------------------------

    def _column(self, table: int, holds: int, grid: tuple[int, int], group: str) -> tuple[int, int]:
        """A free column for buckets of this grid: (pane, word). Columns of one kind of event share buckets."""
        for number, pane in enumerate(self.panes):
            if (pane.table, pane.over, pane.buckets, pane.group) == (table, *grid, group):
                word = pane.place(holds)
                if word >= 0:
                    return number, word
        ext, word = self._payload(table, 1)
        pane = _Pane(table, *grid, group, ext, word, [HOLDS_NOTHING] * BUCKET_WORDS)
        self.panes.append(pane)
        return len(self.panes) - 1, pane.place(holds)

    def _counts(self, table: int, condition: Condition, grid: tuple[int, int]) -> Place:
        identity: Identity = ("count", self._name(table), condition, grid)
        if identity not in self.places:
            pane, column = self._column(table, HOLDS_COUNT, grid, condition.on)
            self.places[identity] = Place(table, "pane", pane, column)
            self._operate(condition, DO_COUNT, table, what=pane, column=column)
        return self.places[identity]

    def _amounts(self, table: int, condition: Condition, grid: tuple[int, int], code: int) -> Place:
        identity: Identity = ("sum" if code == DO_SUM else "max", self._name(table), condition, grid)
        if identity not in self.places:
            pane, column = self._column(table, HOLDS_SUM if code == DO_SUM else HOLDS_MAXIMUM, grid, condition.on)
            self.places[identity] = Place(table, "pane", pane, column)
            self._operate(condition, code, table, what=pane, column=column, item=self._number(condition.has))
        return self.places[identity]

    def _sequential(self, spec: WindowSpec, table: int, condition: Condition, grid: tuple[int, int]) -> Place:
        identity: Identity = ("sequential", self._name(table), condition, grid, spec.step)
        if identity not in self.places:
            pane, column = self._column(table, HOLDS_COUNT, grid, condition.on)
            ext, word = self._payload(table, 2)
            self.places[identity] = Place(table, "pane", pane, column)
            self.places[("last called", *identity[1:])] = Place(table, "long", ext, word)
            item = self._key(("callee",), 0)
            at = {"what": pane, "column": column, "ext": ext, "word": word}
            self._operate(condition, DO_SEQUENTIAL, table, item=item, step=spec.step, **at)
        return self.places[identity]

    def _repeat(self, spec: WindowSpec, table: int, condition: Condition, item: int) -> Place:
        identity: Identity = ("repeat", self._name(table), condition, spec.of, spec.cut, spec.over_s)
        if identity not in self.places:
            # Four words: the item (64 bits), how many in a row, the second of the last.
            ext, word = self._payload(table, 4)
            self.places[identity] = Place(table, "quad", ext, word)
            self._operate(condition, DO_REPEAT, table, ext=ext, word=word, item=item, step=spec.over_s)
        return self.places[identity]

    def _time(self, table: int, condition: Condition, code: int) -> Place:
        identity: Identity = ("first" if code == DO_FIRST else "last", self._name(table), condition)
        if identity not in self.places:
            ext, word = self._payload(table, 2)
            self.places[identity] = Place(table, "long", ext, word)
            self._operate(condition, code, table, ext=ext, word=word)
        return self.places[identity]

    def _pairs(self, spec: WindowSpec, table: int, condition: Condition, grid: tuple[int, int]) -> Place:
        """The column that counts the pairs of a stream; the stream is made at its first use."""
        of = "call_id" if spec.kind == "open" else spec.of
        cut = spec.cut if of.endswith("_prefix") else 0
        return self._pair_column(table, spec.kind, of, cut, condition, grid)

    def _pair_column(
        self, table: int, kind: str, of: str, cut: int, condition: Condition, grid: tuple[int, int]
    ) -> Place:
        identity: Identity = (kind, self._name(table), of, cut, condition)
        if identity not in self.streams:
            number = self.streams[identity] = len(self.stream_list)
            name = f"{self.table_list[table].name}>{of}"
            taken = sum(stream.name.split("#")[0] == name for stream in self.stream_list)
            ext, word = self._payload(table, 3)
            item = self._key((of,), cut)
            self.stream_list.append(_Stream(table, item, f"{name}#{taken + 1}" if taken else name, ext, word))
            self.places[identity] = Place(table, "stream", number, 0)
            self._operate(condition, DO_PAIR, table, what=number, item=item)
            if kind == "open":
                self._operate(Condition("release"), DO_CLOSE, table, what=number, item=item)
        stream = self.stream_list[self.streams[identity]]
        if grid not in stream.grids:
            stream.grids[grid] = self._column(table, HOLDS_COUNT, grid, condition.on)
        pane, column = stream.grids[grid]
        return Place(table, "pane", pane, column)

    def _name(self, table: int) -> str:
        return self.table_list[table].name

    # --- operations ---------------------------------------------------------------------------------------------

    def _number(self, name: str) -> int:
        if name not in self.numbers:
            self.numbers.append(name)
        return self.numbers.index(name)

    def _operate(
        self,
        condition: Condition,
        code: int,
        table: int,
        *,
        what: int = 0,
        column: int = 0,
        ext: int = 0,
        word: int = 0,
        item: int = 0,
        step: int = 0,
    ) -> None:
        kind = EVENT_CODES[EventKind(condition.on)]
        mask = 0
        for text in condition.texts:
            if text not in self.texts[kind]:
                self.texts[kind].append(text)
            mask |= 1 << self.texts[kind].index(text)
        row = [0] * O_WIDTH
        row[O_CODE], row[O_TABLE], row[O_CONDITIONS] = code, table, mask
        row[O_WHAT], row[O_COLUMN], row[O_EXT], row[O_WORD] = what, column, ext, word
        row[O_ITEM], row[O_STEP] = item, step
        row[O_HAS] = self._number(condition.has) if condition.has else -1
        op = [kind, *row]
        self.operations.append(op)
        if condition.new == "pair":
            # "Not called before" is what the distinct callees of a caller over the same stretch are made of.
            callers = self._table(("caller",), 0)
            pane = self._pair_column(callers, "distinct", "callee", 0, ANY_SETUP, condition.new_grid).where
            stream = self.streams["distinct", self._name(callers), "callee", 0, ANY_SETUP]
            op[1 + O_NEW], op[1 + O_NEW_WHAT], op[1 + O_NEW_WHERE] = NEW_PAIR, stream, pane
        elif condition.new:
            # "Never seen" is what the age of the caller or callee is made of: its first set-up.
            seen = self._table((condition.new,), 0)
            place = self._time(seen, ANY_SETUP, DO_FIRST)
            op[1 + O_NEW], op[1 + O_NEW_WHAT] = NEW_KEY, seen
            op[1 + O_NEW_WHERE], op[1 + O_NEW_WORD] = place.where, place.column
            op[1 + O_NEW_WITHIN] = condition.new_within_s * 1000


_SECOND_HALF: Final = 4
_IN_PANES: Final = (DO_COUNT, DO_SUM, DO_MAX, DO_SEQUENTIAL)


def _span(owners: list[int], owner: int) -> tuple[int, int]:
    """The first place and the number of the rows that belong to ``owner``; they lie side by side."""
    count = owners.count(owner)
    return (owners.index(owner) if count else 0), count


def _bounds(kinds: list[int], kind: int) -> list[int]:
    begin, count = _span(kinds, kind)
    return [begin, begin + count]


def _matrix(rows: list[list[int]], width: int) -> Int64s:
    return np.array(rows, dtype=np.int64).reshape(len(rows), width)
