"""The slow oracle: what docs/reference/windows.md says, in plain Python over plain lists. Shares no code with the fold.

It keeps every counted event and works each value out from them when it is asked. Forgetting (limits) is modelled by
throwing away what belongs to a key or a pair.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from antifraud.domain import CallEvent
from antifraud.features import Limits, WindowSpec

EPOCH = 946_684_800
DUPLICATE_MS = 600_000


class Key:
    """What is known of one key of one table."""

    def __init__(self) -> None:
        #: window → (milliseconds, amount) of everything that its condition counted
        self.counted: dict[str, list[tuple[int, Any]]] = {}
        #: window → as above, for the denominators of shares
        self.among: dict[str, list[tuple[int, Any]]] = {}
        #: window → the callee of the last counted call
        self.called: dict[str, str] = {}
        #: stream → item → last second; in the order of their last event in the log
        self.pairs: dict[tuple[Any, ...], OrderedDict[Any, int]] = {}
        #: stream → the newest second that was counted
        self.newest: dict[tuple[Any, ...], int] = {}


class Oracle:
    """``fold`` takes one event and answers one list of values for a set-up, None for anything else."""

    def __init__(self, specs: Sequence[WindowSpec], holds: Mapping[str, Any], limits: Limits) -> None:
        self.specs = specs
        self.holds = holds
        self.limits = limits
        self.tables: dict[tuple[Any, ...], OrderedDict[Any, Key]] = {table_of(spec): OrderedDict() for spec in specs}
        #: who called, ever; the memory of ``new`` (forgotten when the key is evicted from its own table)
        for field in {spec.new for spec in specs if spec.new}:
            self.tables.setdefault(((field,), 0), OrderedDict())
        self.first: dict[str, dict[str, int]] = {"caller": {}, "callee": {}}
        #: what was counted last, with its milliseconds
        self.seen: deque[tuple[tuple[str, ...], int]] = deque(maxlen=limits.remembered)
        self.evicted = 0
        self.cut = 0

    # --- one event --------------------------------------------------------------------------------------------

    def fold(self, event: CallEvent, row: Sequence[object] | None) -> tuple[list[float], bool] | None:
        ms = round((event.ts - EPOCH) * 1000)
        kind = event.kind.value
        identity: tuple[str, ...] = (kind, event.call_id, event.caller, event.callee)
        if kind == "report":
            identity += (event.label, event.reporter)
        duplicate = any(one == identity and abs(at - ms) <= DUPLICATE_MS for one, at in self.seen)
        answer = None
        if kind == "setup":
            answer = ([self.value(spec, event, ms) for spec in self.specs], duplicate)
        if not duplicate:
            self.seen.append((identity, ms))
            self.count(event, row, ms)
        return answer

    def count(self, event: CallEvent, row: Sequence[object] | None, ms: int) -> None:
        kind = event.kind.value
        among: list[WindowSpec] = []
        full: list[WindowSpec] = []
        for spec in self.specs:
            if spec.on != kind or key_of(event, spec.by, spec.cut) is None:
                continue
            if spec.kind in ("sum", "mean") and getattr(event, spec.of) is None:
                continue
            if spec.kind == "distinct" and key_of(event, (spec.of,), spec.cut) is None:
                continue
            if spec.among and not self.true(spec.among, row):
                continue
            if spec.new and not self.is_new(event, spec, ms):
                continue
            among.append(spec)
            if not spec.where or self.true(spec.where, row):
                full.append(spec)
        new_fields = {spec.new for spec in self.specs if spec.new} if kind == "setup" else set()
        touched = {table_of(spec) for spec in among if spec.kind == "share"} | {table_of(spec) for spec in full}
        touched |= {((field,), 0) for field in new_fields if getattr(event, field)}
        for table in touched:
            self.touch(table, key_of(event, *table))
        for spec in among:
            if spec.kind == "share":
                self.entry(spec, event).among.setdefault(spec.name, []).append((ms, None))
        streams_done = set()
        for spec in full:
            entry = self.entry(spec, event)
            if spec.kind == "distinct":
                if stream_of(spec) not in streams_done:
                    streams_done.add(stream_of(spec))
                    self.pair(spec, entry, event, ms // 1000)
            elif spec.kind == "sequential":
                before = entry.called.get(spec.name, "")
                entry.called[spec.name] = event.callee
                if neighbours(before, event.callee, spec.step):
                    entry.counted.setdefault(spec.name, []).append((ms, None))
            else:
                amount = round(getattr(event, spec.of) * 1000) if spec.of else None
                entry.counted.setdefault(spec.name, []).append((ms, amount))
        for field in new_fields:
            number = getattr(event, field)
            if number:
                first = self.first[field]
                first[number] = min(first.get(number, ms), ms)

    def true(self, text: str, row: Sequence[object] | None) -> bool:
        return row is not None and bool(self.holds[text](row))

    def is_new(self, event: CallEvent, spec: WindowSpec, ms: int) -> bool:
        number = getattr(event, spec.new)
        if not number:
            return False
        first = self.first[spec.new].get(number)
        return first is None or (spec.new_within_s > 0 and first >= ms - 1000 * spec.new_within_s)

    # --- memory -----------------------------------------------------------------------------------------------

    def entry(self, spec: WindowSpec, event: CallEvent) -> Key:
        return self.tables[table_of(spec)][key_of(event, spec.by, spec.cut)]

    def touch(self, table: tuple[Any, ...], key: Any) -> None:
        keys = self.tables[table]
        if key not in keys:
            if len(keys) >= self.limits.keys:
                self.evict(table)
            keys[key] = Key()
        keys.move_to_end(key)

    def evict(self, table: tuple[Any, ...]) -> None:
        key, _ = self.tables[table].popitem(last=False)
        if table in ((("caller",), 0), (("callee",), 0)):
            self.first[table[0][0]].pop(key[0], None)
        self.evicted += 1

    def pair(self, spec: WindowSpec, entry: Key, event: CallEvent, second: int) -> None:
        stream, table = stream_of(spec), table_of(spec)
        item = key_of(event, (spec.of,), spec.cut)
        widths = [
            (s.over_s // s.buckets, s.buckets) for s in self.specs if s.kind == "distinct" and stream_of(s) == stream
        ]
        newest = entry.newest[stream] = max(second, entry.newest.get(stream, 0))
        pairs = entry.pairs.setdefault(stream, OrderedDict())

        def dead(last: int) -> bool:
            return all(last // width <= newest // width - buckets for width, buckets in widths)

        while pairs and dead(next(iter(pairs.values()))):
            pairs.popitem(last=False)
        if item in pairs:
            pairs[item] = max(pairs[item], second)
            pairs.move_to_end(item)
            return
        if dead(second):
            return
        if len(pairs) >= self.limits.pairs_per_key:
            pairs.popitem(last=False)
            self.cut += 1

        def full() -> bool:
            held = sum(len(key.pairs.get(stream, ())) for key in self.tables[table].values())
            return held >= self.limits.pairs

        while full() and next(iter(self.tables[table].values())) is not entry:
            self.evict(table)
        if full():
            pairs.popitem(last=False)
            self.cut += 1
        pairs[item] = second

    # --- values -----------------------------------------------------------------------------------------------

    def value(self, spec: WindowSpec, event: CallEvent, ms: int) -> float:
        key = key_of(event, spec.by, spec.cut)
        if key is None:
            return math.nan
        entry = self.tables[table_of(spec)].get(key, Key())
        counted = entry.counted.get(spec.name, [])
        if spec.kind == "age":
            return max(0, ms - min(at for at, _ in counted)) / 1000 if counted else math.nan
        if spec.kind == "idle":
            return max(0, ms - max(at for at, _ in counted)) / 1000 if counted else math.nan
        width = spec.over_s // spec.buckets
        now = ms // 1000 // width
        if spec.kind == "distinct":
            pairs = entry.pairs.get(stream_of(spec), {})
            since = max(now, entry.newest.get(stream_of(spec), 0) // width) - spec.buckets
            return sum(since < last // width <= now for last in pairs.values())
        among = entry.among.get(spec.name, []) if spec.kind == "share" else counted
        newest = max((at // 1000 // width for at, _ in among), default=0)
        since = max(now, newest) - spec.buckets
        inside = [amount for at, amount in counted if since < at // 1000 // width <= now]
        if spec.kind in ("count", "sequential"):
            return len(inside)
        if spec.kind == "sum":
            return sum(inside) / 1000
        if spec.kind == "mean":
            return sum(inside) / 1000 / len(inside) if inside else math.nan
        whole = sum(since < at // 1000 // width <= now for at, _ in among)
        return len(inside) / whole if whole else math.nan


def table_of(spec: WindowSpec) -> tuple[Any, ...]:
    return (spec.by, spec.cut if any(field.endswith("_prefix") for field in spec.by) else 0)


def stream_of(spec: WindowSpec) -> tuple[Any, ...]:
    return (table_of(spec), spec.of, spec.cut, spec.on, spec.where, spec.new, spec.new_within_s)


def key_of(event: CallEvent, by: tuple[str, ...], cut: int) -> tuple[str, ...] | None:
    parts = []
    for field in by:
        text = getattr(event, field.removesuffix("_prefix"))
        if field.endswith("_prefix"):
            digits = text[1:]
            long_enough = len(digits) - cut >= 3
            text = text[: len(text) - cut] if is_number(text) and long_enough else ""
        if not text:
            return None
        parts.append(text)
    return tuple(parts)


def is_number(text: str) -> bool:
    return text[:1] == "+" and 1 <= len(text) - 1 <= 18 and all(c in "0123456789" for c in text[1:])


def neighbours(one: str, other: str, step: int) -> bool:
    if not (is_number(one) and is_number(other)):
        return False
    return 1 <= abs(int("1" + one[1:]) - int("1" + other[1:])) <= step
