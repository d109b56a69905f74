"""The slow oracle: what docs/reference/windows.md says, in plain Python over plain lists. Shares no code with the fold.

It keeps every counted event and works each value out from them when it is asked. How much fits into a given memory is
the fold's business: the oracle is told how many keys and pairs were forgotten, and knows which ones those must be.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from antifraud.domain import CallEvent
from antifraud.features import WindowSpec

EPOCH = 946_684_800
DUPLICATE_MS = 600_000
Table = tuple[tuple[str, ...], int]


class Key:
    """What is known of one key of one table."""

    def __init__(self) -> None:
        #: the newest second of any event that this key was counted in
        self.clock = 0
        #: window → (milliseconds, amount) of everything that its condition counted
        self.counted: dict[str, list[tuple[int, Any]]] = {}
        #: window → as above, for the denominators of shares and means
        self.among: dict[str, list[tuple[int, Any]]] = {}
        #: window → what was called last: item, how often in a row, second
        self.called: dict[str, tuple[Any, int, int]] = {}
        #: stream → item → last second; in the order of their last event in the log
        self.pairs: dict[tuple[Any, ...], OrderedDict[Any, int]] = {}


class Oracle:
    """``fold`` takes one event and answers one list of values for a set-up, None for anything else."""

    def __init__(self, specs: Sequence[WindowSpec], holds: Mapping[str, Any], remembered: int) -> None:
        self.specs = specs
        self.holds = holds
        #: stream → (width, buckets) of every length of time that it is counted over
        self.streams: dict[tuple[Any, ...], set[tuple[int, int]]] = {}
        self.tables: dict[Table, OrderedDict[Any, Key]] = {}
        for spec in specs:
            if spec.kind in ("ratio", "balance"):
                continue
            self.tables.setdefault(table_of(spec), OrderedDict())
            if spec.kind in ("distinct", "open"):
                self.streams.setdefault(stream_of(spec), set()).add((spec.over_s // spec.buckets, spec.buckets))
            if spec.new == "pair":
                self.tables.setdefault(CALLERS, OrderedDict())
                self.streams.setdefault(CALLEES, set()).add((spec.over_s // spec.buckets, spec.buckets))
            elif spec.new:
                # The memory of ``new``, forgotten when the key is evicted from its own table.
                self.tables.setdefault(((spec.new,), 0), OrderedDict())
        self.first: dict[str, dict[str, int]] = {"caller": {}, "callee": {}}
        #: what was counted last, with its milliseconds
        self.seen: deque[tuple[tuple[str, ...], int]] = deque(maxlen=remembered)

    # --- one event --------------------------------------------------------------------------------------------

    def fold(self, event: CallEvent, row: Sequence[object] | None) -> tuple[list[float], bool] | None:
        ms = round((event.ts - EPOCH) * 1000)
        kind = event.kind.value
        identity: tuple[str, ...] = (kind, event.call_id, event.caller, event.callee)
        if kind == "report":
            identity += (event.label, event.reporter)
        gone = ("taken back", *identity)
        if kind == "report" and event.takes_back is not None:
            then = round((event.takes_back - EPOCH) * 1000)
            if (gone, then) in self.seen:
                return None
            if (identity, then) in self.seen:
                self.seen[self.seen.index((identity, then))] = (gone, then)
            else:
                self.seen.append((gone, then))
            self.take_back(event, row, then)
            return None
        duplicate = any(one == identity and abs(at - ms) <= DUPLICATE_MS for one, at in self.seen)
        duplicate = duplicate or (gone, ms) in self.seen
        answer = None
        if kind == "setup":
            answer = (self.values(event, ms), duplicate)
        if not duplicate:
            self.seen.append((identity, ms))
            self.count(event, row, ms)
        return answer

    def values(self, event: CallEvent, ms: int) -> list[float]:
        found: dict[str, float] = {}
        for spec in self.specs:
            if spec.kind in ("ratio", "balance"):
                above, below = found[spec.of], found[spec.to]
                below = above + below if spec.kind == "balance" else below
                found[spec.name] = above / below if below > 0 else math.nan
            else:
                found[spec.name] = self.value(spec, event, ms)
        return list(found.values())

    def count(self, event: CallEvent, row: Sequence[object] | None, ms: int) -> None:
        kind, second = event.kind.value, ms // 1000
        among: list[WindowSpec] = []
        full: list[WindowSpec] = []
        for spec in self.specs:
            if spec.on != kind or spec.kind in ("ratio", "balance") or key_of(event, spec.by, spec.cut) is None:
                continue
            if spec.kind in ("sum", "mean", "max") and getattr(event, spec.of) is None:
                continue
            if spec.kind in ("distinct", "repeat") and key_of(event, (spec.of,), spec.cut) is None:
                continue
            if spec.among and not self.true(spec.among, row):
                continue
            new = not spec.new or self.is_new(event, spec, ms)
            if spec.kind == "share":
                among.append(spec)
            if new and (not spec.where or self.true(spec.where, row)):
                full.append(spec)
        streams = {stream_of(spec) for spec in full if spec.kind in ("distinct", "open")}
        if kind == "setup" and CALLEES in self.streams and event.caller and event.callee:
            streams.add(CALLEES)
        closed = [
            (stream, key)
            for stream in self.streams
            if kind == "release" and stream[1] == "call_id" and (key := key_of(event, *stream[0])) is not None
            if (last := (entry := self.tables[stream[0]].get(key, Key())).pairs.get(stream, {}).get(event.call_id))
            is not None
            if not self.is_dead(stream, last, entry.clock)
        ]
        new_fields = {spec.new for spec in self.specs if spec.new in ("caller", "callee")} if kind == "setup" else set()
        touched = {table_of(spec) for spec in (*among, *full)} | {stream[0] for stream in streams}
        touched |= {stream[0] for stream, _ in closed}
        touched |= {((field,), 0) for field in new_fields if getattr(event, field)}
        for table in touched:
            keys = self.tables[table]
            key = key_of(event, *table)
            entry = keys.setdefault(key, Key())
            entry.clock = max(entry.clock, second)
            keys.move_to_end(key)
        for stream, key in closed:
            self.drop_dead(stream, self.tables[stream[0]][key])
            self.tables[stream[0]][key].pairs[stream].pop(event.call_id, None)
        for spec in among:
            self.entry(spec, event).among.setdefault(spec.name, []).append((ms, None))
        for stream in streams:
            self.pair(stream, event, second)
        for spec in full:
            entry = self.entry(spec, event)
            if spec.kind == "sequential":
                before, _, _ = entry.called.get(spec.name, ("", 0, 0))
                entry.called[spec.name] = (event.callee, 0, 0)
                if neighbours(before, event.callee, spec.step):
                    entry.counted.setdefault(spec.name, []).append((ms, None))
            elif spec.kind == "repeat":
                item = key_of(event, (spec.of,), spec.cut)
                before, times, last = entry.called.get(spec.name, (None, 0, 0))
                again = before == item and abs(second - last) <= spec.over_s
                entry.called[spec.name] = (item, times + 1 if again else 1, second)
            elif spec.kind not in ("distinct", "open"):
                amount = round(getattr(event, spec.of) * 1000) if spec.of else None
                entry.counted.setdefault(spec.name, []).append((ms, amount))
                if spec.kind == "mean":
                    entry.among.setdefault(spec.name, []).append((ms, None))
        for field in new_fields:
            number = getattr(event, field)
            if number:
                first = self.first[field]
                first[number] = min(first.get(number, ms), ms)

    def take_back(self, event: CallEvent, row: Sequence[object] | None, ms: int) -> None:
        """Counts and sums lose what a report gave them, in the bucket of its time and never below 0."""
        for spec in self.specs:
            if spec.on != "report" or spec.kind not in ("count", "sum", "mean", "share"):
                continue
            entry = self.tables[table_of(spec)].get(key_of(event, spec.by, spec.cut))
            missing = spec.of and getattr(event, spec.of) is None
            if entry is None or missing or (spec.among and not self.true(spec.among, row)):
                continue
            full = not spec.where or self.true(spec.where, row)
            width = spec.over_s // spec.buckets
            counts = [entry.among] if spec.kind == "share" else [entry.among] * (full and spec.kind == "mean")
            counts += [entry.counted] * (full and spec.kind in ("count", "share"))
            for counted in counts:
                held = counted.get(spec.name, [])
                at = next((one for one in held if one[0] // 1000 // width == ms // 1000 // width), None)
                if at is not None:
                    held.remove(at)
            if full and spec.kind in ("sum", "mean"):
                held = entry.counted.get(spec.name, [])
                total = sum(amount for at, amount in held if at // 1000 // width == ms // 1000 // width)
                held.append((ms, -min(total, round(getattr(event, spec.of) * 1000))))

    def true(self, text: str, row: Sequence[object] | None) -> bool:
        return row is not None and bool(self.holds[text](row))

    def is_new(self, event: CallEvent, spec: WindowSpec, ms: int) -> bool:
        if spec.new == "pair":
            if not event.caller or not event.callee:
                return False
            entry = self.tables[CALLERS].get((event.caller,), Key())
            last = entry.pairs.get(CALLEES, {}).get(event.callee)
            width = spec.over_s // spec.buckets
            return last is None or last // width <= max(ms // 1000, entry.clock) // width - spec.buckets
        number = getattr(event, spec.new)
        if not number:
            return False
        first = self.first[spec.new].get(number)
        return first is None or (spec.new_within_s > 0 and first >= ms - 1000 * spec.new_within_s)

    # --- memory -----------------------------------------------------------------------------------------------

    def entry(self, spec: WindowSpec, event: CallEvent) -> Key:
        return self.tables[table_of(spec)][key_of(event, spec.by, spec.cut)]

    def evict(self, table: Table) -> None:
        """The key of ``table`` that was counted longest ago is forgotten."""
        key, _ = self.tables[table].popitem(last=False)
        if table in (CALLERS, (("callee",), 0)):
            self.first[table[0][0]].pop(key[0], None)

    def cut(self, stream: tuple[Any, ...], event: CallEvent) -> None:
        """The oldest pair of the event's key is forgotten."""
        self.tables[stream[0]][key_of(event, *stream[0])].pairs[stream].popitem(last=False)

    def is_dead(self, stream: tuple[Any, ...], last: int, clock: int) -> bool:
        return all(last // width <= clock // width - buckets for width, buckets in self.streams[stream])

    def drop_dead(self, stream: tuple[Any, ...], entry: Key) -> None:
        pairs = entry.pairs.setdefault(stream, OrderedDict())
        while pairs and self.is_dead(stream, next(iter(pairs.values())), entry.clock):
            pairs.popitem(last=False)

    def pair(self, stream: tuple[Any, ...], event: CallEvent, second: int) -> None:
        (by, cut), of, of_cut = stream[0], stream[1], stream[2]
        entry = self.tables[by, cut][key_of(event, by, cut)]
        item = event.call_id if of == "call_id" else key_of(event, (of,), of_cut)
        if stream == CALLEES:
            item = event.callee
        elif isinstance(item, tuple):
            (item,) = item
        self.drop_dead(stream, entry)
        pairs = entry.pairs[stream]
        if item in pairs:
            pairs[item] = max(pairs[item], second)
            pairs.move_to_end(item)
        elif not self.is_dead(stream, second, entry.clock):
            pairs[item] = second

    # --- values -----------------------------------------------------------------------------------------------

    def value(self, spec: WindowSpec, event: CallEvent, ms: int) -> float:
        key = key_of(event, spec.seen_by or spec.by, spec.cut)
        if key is None:
            return math.nan
        entry = self.tables[table_of(spec)].get(key, Key())
        counted = entry.counted.get(spec.name, [])
        if spec.kind == "age":
            return max(0, ms - min(at for at, _ in counted)) / 1000 if counted else math.nan
        if spec.kind == "idle":
            return max(0, ms - max(at for at, _ in counted)) / 1000 if counted else math.nan
        if spec.kind == "repeat":
            item, times, last = entry.called.get(spec.name, (None, 0, 0))
            same = item is not None and item == key_of(event, (spec.of,), spec.cut)
            return times if same and abs(ms // 1000 - last) <= spec.over_s else 0
        width = spec.over_s // spec.buckets
        now = ms // 1000 // width
        since = max(now, entry.clock // width) - spec.buckets
        if spec.kind in ("distinct", "open"):
            return sum(since < last // width <= now for last in entry.pairs.get(stream_of(spec), {}).values())
        inside = [amount for at, amount in counted if since < at // 1000 // width <= now]
        if spec.kind in ("count", "sequential"):
            return len(inside)
        if spec.kind == "sum":
            return sum(inside) / 1000
        if spec.kind == "max":
            return max(inside) / 1000 if inside else math.nan
        whole = sum(since < at // 1000 // width <= now for at, _ in entry.among.get(spec.name, []))
        if spec.kind == "mean":
            return sum(inside) / 1000 / whole if whole else math.nan
        return len(inside) / whole if whole else math.nan


CALLERS: Table = (("caller",), 0)
CALLEES = (CALLERS, "callee", 0, "setup", "", "", 0, 0)


def table_of(spec: WindowSpec) -> Table:
    return (spec.by, spec.cut if any(field.endswith("_prefix") for field in spec.by) else 0)


def stream_of(spec: WindowSpec) -> tuple[Any, ...]:
    of = "call_id" if spec.kind == "open" else spec.of
    cut = spec.cut if of.endswith("_prefix") else 0
    over = spec.over_s if spec.new == "pair" else 0
    return (table_of(spec), of, cut, spec.on, spec.where, spec.new, spec.new_within_s, over)


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
