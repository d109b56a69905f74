"""The declared windows in plain Python: the yardstick beside the fold, written as for production and not as a target.

Driven by the same ``WindowSpec``s, so it always has the windows that ship. At start-up they become, for every kind of
event, lists of closures grouped by key; nothing is looked up by name while events pass. Equal content is stored once:
counts of one condition share one sorted list however many lengths of time they are asked for, and so do distinct
counts. Conditions are the bundle's own compiled ones, all of one event at once.

Windows are exact and half-open, ``[t - over, t)``, where the fold goes by buckets. The log must be in order of time.
What has left the longest window goes when its key is touched; keys themselves stay for ever.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from antifraud.domain import CallEvent, EventKind
from antifraud.features import WindowSet, WindowSpec
from antifraud.features.windows import NUMBER_FIELDS

REMEMBERED = 1 << 20
DUPLICATE_S = 600.0

State = list[Any]
Keys = list[Any]
Read = Callable[[State, float, Keys, list[float]], None]
Write = Callable[[State, float, Keys, CallEvent], None]
#: The fields of a key and how many digits are cut off its prefixes.
KeyOf = tuple[tuple[str, ...], int]


class PlainWindows:
    """The windows over everything folded so far; ``fold`` answers the values of a set-up, None for anything else."""

    def __init__(self, windows: WindowSet) -> None:
        self._seen: OrderedDict[tuple[str, ...], float] = OrderedDict()
        # Once to learn which keys every kind of event needs, and once more with those keys in a handy order.
        self._lay_out(windows, {})
        self._lay_out(windows, {name: kind.key_order() for name, kind in self._kinds.items()})

    def _lay_out(self, windows: WindowSet, orders: dict[str, list[KeyOf]]) -> None:
        self._kinds = {kind.value: _Kind(orders.get(kind.value, [])) for kind in EventKind}
        self._tables: dict[KeyOf, _Table] = {}
        self._derived: list[tuple[int, int, int, bool]] = []
        self._empty: list[float] = []
        self._setup = self._kinds[EventKind.SETUP.value]
        places = {spec.name: place for place, spec in enumerate(windows.specs)}
        for place, spec in enumerate(windows.specs):
            if spec.kind in ("ratio", "balance"):
                self._derived.append((place, places[spec.of], places[spec.to], spec.kind == "balance"))
                self._empty.append(math.nan)
            else:
                self._add(spec, place)
        for kind in self._kinds.values():
            kind.finish(windows)

    def keys(self) -> dict[str, int]:
        """How many keys every table holds."""
        return {"+".join(by) + (f"-{cut}" if cut else ""): len(one.states) for (by, cut), one in self._tables.items()}

    def fold(self, event: CallEvent, row: Sequence[object] | None) -> list[float] | None:
        """Fold one event; ``row`` is what its conditions read."""
        name = event.kind._value_
        kind = self._kinds[name]
        ts = event.ts
        keys = kind.keys_of(event)
        values = self._values(ts, keys) if kind is self._setup else None

        identity: tuple[str, ...] = (name, event.call_id, event.caller, event.callee)
        if name == "report":
            identity += (event.label, event.reporter)
        seen = self._seen
        before = seen.get(identity)
        if before is not None:
            if ts - before <= DUPLICATE_S:
                return values
            seen.move_to_end(identity)
        seen[identity] = ts
        if len(seen) > REMEMBERED:
            seen.popitem(last=False)

        # Which conditions hold is settled before anything is counted.
        holds = kind.where(row) if kind.where is not None and row is not None else 0
        for number, bit in kind.known:
            if number(event) is not None:
                holds |= bit
        for is_new, bit in kind.new:
            if is_new(keys, ts):
                holds |= bit
        for states, place, empty, writes in kind.writes:
            key = keys[place]
            if not key:
                continue
            state = states.get(key)
            for need, item, write in writes:
                if holds & need == need and (item is None or keys[item]):
                    if state is None:
                        state = states[key] = empty.copy()
                    write(state, ts, keys, event)
        for states, place, slot, item in kind.closes:
            state = states.get(keys[place])
            if state is not None and state[slot]:
                state[slot].pop(keys[item], None)
        return values

    def _values(self, ts: float, keys: Keys) -> list[float]:
        values = self._empty.copy()
        for states, place, missing, reads in self._setup.reads:
            key = keys[place]
            if not key:
                for at in missing:
                    values[at] = math.nan
                continue
            state = states.get(key)
            if state is not None:
                for read in reads:
                    read(state, ts, keys, values)
        for at, of, to, balance in self._derived:
            above, below = values[of], values[to]
            if balance:
                below += above
            if below > 0:
                values[at] = above / below
        return values

    # --- start-up: from declarations to closures ------------------------------------------------------------------

    def _add(self, spec: WindowSpec, place: int) -> None:
        table = self._table(spec.by, spec.cut)
        view = self._setup.view(table, self._setup.key(spec.seen_by or spec.by, spec.cut))
        view.places.append(place)
        zero = spec.kind in ("count", "distinct", "sequential", "sum", "open", "repeat")
        self._empty.append(0.0 if zero else math.nan)
        kind = self._kinds[spec.on]
        need = self._need(spec, spec.where, spec.among)
        same = (table.by, table.cut, spec.on, spec.where, spec.among, spec.new, spec.new_within_s)
        if spec.new == "pair":
            same += (spec.over_s,)
        if spec.kind == "count":
            view.length(self._count(table, kind, need, same, spec.over_s), place, spec.over_s)
        elif spec.kind == "share":
            part = self._count(table, kind, need, same, spec.over_s)
            whole_need = self._need(None, spec.among, "", kind=kind)
            everything = (table.by, table.cut, spec.on, "", spec.among, "", 0)
            whole = self._count(table, kind, whole_need, everything, spec.over_s)
            view.reads.append(_share(part.slot, whole.slot, spec.over_s, place))
        elif spec.kind == "sequential":
            slot = table.slot()
            kind.write(table, need, None, _Sequential(slot, kind.key(("callee",), 0), spec.over_s, spec.step).write)
            view.reads.append(_read_sequential(slot, spec.over_s, place))
        elif spec.kind == "distinct":
            view.length(self._distinct(table, kind, need, same, spec.of, spec.cut, spec.over_s), place, spec.over_s)
        elif spec.kind in ("sum", "mean"):
            slot = table.slot()
            kind.write(table, need, None, _add_amount(slot, spec.of, spec.over_s))
            view.reads.append(_read_amount(slot, spec.over_s, place, mean=spec.kind == "mean"))
        elif spec.kind == "max":
            slot = table.slot()
            kind.write(table, need, None, _add_maximum(slot, spec.of))
            view.reads.append(_read_maximum(slot, spec.over_s, place))
        elif spec.kind == "open":
            slot = table.slot()
            item = kind.key(("call_id",), 0)
            kind.write(table, need, item, _add_open(slot, item))
            end = self._kinds[EventKind.RELEASE.value]
            end.closes.append((table.states, end.key(spec.by, spec.cut), slot, end.key(("call_id",), 0)))
            view.reads.append(_read_open(slot, spec.over_s, place))
        elif spec.kind == "repeat":
            slot = table.slot()
            item = kind.key((spec.of,), spec.cut)
            kind.write(table, need, item, _add_repeat(slot, item, spec.over_s))
            view.reads.append(_read_repeat(slot, self._setup.key((spec.of,), spec.cut), spec.over_s, place))
        elif spec.kind == "age":
            view.reads.append(_since(self._first(table, kind, need, same), place))
        else:
            slot = table.slot()
            kind.write(table, need, None, _set_last(slot))
            view.reads.append(_since(slot, place))

    def _table(self, by: tuple[str, ...], cut: int) -> _Table:
        cut = cut if any(field.endswith("_prefix") for field in by) else 0
        return self._tables.setdefault((by, cut), _Table(by, cut))

    def _count(self, table: _Table, kind: _Kind, need: int, same: tuple[object, ...], over: int) -> _Times:
        found = table.shared.get(("times", *same))
        if found is None:
            found = table.shared["times", *same] = _Times(table.slot())
            kind.write(table, need, None, found)
        found.lengths.add(over)
        return found

    def _distinct(
        self, table: _Table, kind: _Kind, need: int, same: tuple[object, ...], of: str, cut: int, over: int
    ) -> _Distinct:
        cut = cut if of.endswith("_prefix") else 0
        found = table.shared.get(("distinct", of, cut, *same))
        if found is None:
            item = kind.key((of,), cut)
            found = table.shared["distinct", of, cut, *same] = _Distinct(table.slot(), item)
            kind.write(table, need, item, found)
        found.lengths.add(over)
        return found

    def _first(self, table: _Table, kind: _Kind, need: int, same: tuple[object, ...]) -> int:
        found = table.shared.get(("first", *same))
        if found is None:
            found = table.shared["first", *same] = table.slot()
            kind.write(table, need, None, _set_first(found))
        slot: int = found
        return slot

    def _need(self, spec: WindowSpec | None, *texts: str, kind: _Kind | None = None) -> int:
        """The bits that must be set for an event to count."""
        kind = self._kinds[spec.on] if spec is not None else kind
        assert kind is not None
        need = 0
        for text in texts:
            if text:
                need |= kind.condition(text)
        if spec is not None and spec.kind in ("sum", "mean", "max"):
            need |= kind.number(spec.of)
        if spec is not None and spec.new == "pair":
            callers = self._table(("caller",), 0)
            plain = (callers.by, 0, "setup", "", "", "", 0)
            pairs = self._distinct(callers, self._setup, 0, plain, "callee", 0, spec.over_s)
            caller, callee = kind.key(("caller",), 0), kind.key(("callee",), 0)
            test = _is_new_pair(callers.states, pairs.slot, caller, callee, spec.over_s)
            need |= kind.asked(("pair", spec.over_s), test)
        elif spec is not None and spec.new:
            table = self._table((spec.new,), 0)
            first = self._first(table, self._setup, 0, ((spec.new,), 0, "setup", "", "", "", 0))
            test = _is_new(table.states, first, kind.key((spec.new,), 0), spec.new_within_s)
            need |= kind.asked((spec.new, spec.new_within_s), test)
        return need


class _Table:
    """All keys of one ``by``; a key's state is a list with a slot for everything that is kept of it."""

    def __init__(self, by: tuple[str, ...], cut: int) -> None:
        self.by = by
        self.cut = cut
        self.states: dict[Any, State] = {}
        self.empty: State = []
        self.shared: dict[tuple[object, ...], Any] = {}

    def slot(self) -> int:
        self.empty.append(None)
        return len(self.empty) - 1


class _View:
    """What a set-up reads of one table by one key."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self.reads: list[Read] = []
        self._lengths: dict[int, list[tuple[int, int]]] = {}

    def length(self, of: _Times | _Distinct, place: int, over: int) -> None:
        """One more length of time over which something is counted: all of them are read in one go."""
        if of.slot not in self._lengths:
            lengths = self._lengths[of.slot] = []
            self.reads.append(of.reader(lengths))
        self._lengths[of.slot].append((place, over))


class _Kind:
    """Everything that is done for one kind of event."""

    def __init__(self, keys: list[KeyOf]) -> None:
        self.where: Callable[[Sequence[object]], int] | None = None
        self.known: list[tuple[Callable[[CallEvent], object], int]] = []
        self.new: list[tuple[Callable[[Keys, float], bool], int]] = []
        self.writes: list[tuple[dict[Any, State], int, State, list[tuple[int, int | None, Write]]]] = []
        self.closes: list[tuple[dict[Any, State], int, int, int]] = []
        self.reads: list[tuple[dict[Any, State], int, list[int], list[Read]]] = []
        self.keys_of: Callable[[CallEvent], Keys] = lambda _event: []
        self._keys: dict[KeyOf, int] = {key: place for place, key in enumerate(keys)}
        self._texts: list[str] = []
        self._bits: dict[tuple[object, ...], int] = {}
        self._by_table: dict[int, tuple[_Table, list[tuple[int, int | None, Write | _Times | _Distinct]]]] = {}
        self._views: dict[tuple[int, int], tuple[_Table, _View]] = {}

    def key(self, by: tuple[str, ...], cut: int) -> int:
        """Where among an event's keys this one stands."""
        cut = cut if any(field.endswith("_prefix") for field in by) else 0
        return self._keys.setdefault((by, cut), len(self._keys))

    def key_order(self) -> list[KeyOf]:
        """The keys as ``_keys_of`` wants them: plain fields, then prefixes, then several fields together."""
        parts = {((field,), cut if field.endswith("_prefix") else 0) for by, cut in self._keys for field in by}
        bases = {((by[0].removesuffix("_prefix"),), 0) for by, _ in parts}
        return sorted({*self._keys, *parts, *bases}, key=lambda key: (len(key[0]), key[1], key[0]))

    def condition(self, text: str) -> int:
        if text not in self._texts:
            self._texts.append(text)
        return 1 << self._texts.index(text)

    def number(self, name: str) -> int:
        if ("number", name) not in self._bits:
            bit = self._bits["number", name] = 1 << (64 + list(NUMBER_FIELDS).index(name))
            self.known.append((attrgetter(name), bit))
        return self._bits["number", name]

    def asked(self, what: tuple[object, ...], test: Callable[[Keys, float], bool]) -> int:
        if what not in self._bits:
            bit = self._bits[what] = 1 << (80 + len(self.new))
            self.new.append((test, bit))
        return self._bits[what]

    def write(self, table: _Table, need: int, item: int | None, write: Write | _Times | _Distinct) -> None:
        self._by_table.setdefault(id(table), (table, []))[1].append((need, item, write))

    def view(self, table: _Table, key: int) -> _View:
        return self._views.setdefault((id(table), key), (table, _View()))[1]

    def finish(self, windows: WindowSet) -> None:
        if self._texts:
            tests = [windows.predicates[text] for text in self._texts]
            self.where = windows.combine(tests) if windows.combine is not None else _one_by_one(tests)
        for table, kept in self._by_table.values():
            writes = [(need, item, one if callable(one) else one.writer()) for need, item, one in kept]
            self.writes.append((table.states, self.key(table.by, table.cut), table.empty, writes))
        for (_, key), (table, view) in self._views.items():
            self.reads.append((table.states, key, view.places, view.reads))
        self.keys_of = _keys_of(self.key_order(), list(self._keys))


def _one_by_one(tests: list[Callable[[Sequence[object]], bool]]) -> Callable[[Sequence[object]], int]:
    return lambda row: sum(1 << bit for bit, test in enumerate(tests) if test(row))


def _keys_of(keys: list[KeyOf], asked: list[KeyOf]) -> Callable[[CallEvent], Keys]:
    """A function from an event to all its keys in order; "" for one that it does not have."""
    plain = [by[0] for by, cut in keys if len(by) == 1 and not cut]
    if not plain or keys != asked:
        return lambda _event: []
    getter = attrgetter(*plain)
    texts: Callable[[CallEvent], tuple[str, ...]] = getter if len(plain) > 1 else lambda event: (getter(event),)
    prefixes = [(plain.index(by[0].removesuffix("_prefix")), cut) for by, cut in keys if len(by) == 1 and cut]
    several = [
        [keys.index(((field,), cut if field.endswith("_prefix") else 0)) for field in by]
        for by, cut in keys
        if len(by) > 1
    ]

    def keys_of(event: CallEvent) -> Keys:
        found: Keys = list(texts(event))
        for base, cut in prefixes:
            found.append(_prefix(found[base], cut))
        for parts in several:
            key = tuple([found[part] for part in parts])
            found.append(key if all(key) else "")
        return found

    return keys_of


def _is_e164(text: str) -> bool:
    return text[:1] == "+" and 2 <= len(text) <= 19 and text[1:].isdigit() and text.isascii()


def _prefix(text: str, cut: int) -> str:
    return text[:-cut] if len(text) >= cut + 4 and _is_e164(text) else ""


# --- what is kept of a key ----------------------------------------------------------------------------------------


class _Times:
    """Times of events of one condition, sorted: a count over any length of time is one search."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.lengths: set[int] = set()

    def writer(self) -> Write:
        slot, longest = self.slot, max(self.lengths)

        def write(state: State, ts: float, keys: Keys, event: CallEvent) -> None:
            times = state[slot]
            if times is None:
                state[slot] = [ts]
                return
            if times[0] < ts - longest:
                del times[: bisect_left(times, ts - longest)]
            times.append(ts)

        return write

    def reader(self, lengths: list[tuple[int, int]]) -> Read:
        slot = self.slot

        def read(state: State, ts: float, keys: Keys, values: list[float]) -> None:
            times = state[slot]
            if times is not None:
                size = len(times)
                for place, over in lengths:
                    values[place] = size - bisect_left(times, ts - over)

        return read


class _Distinct:
    """The last time of every item in order; with several lengths of time also all last times sorted."""

    def __init__(self, slot: int, item: int) -> None:
        self.slot = slot
        self.item = item
        self.lengths: set[int] = set()

    def writer(self) -> Write:
        slot, item_at, longest = self.slot, self.item, max(self.lengths)

        def write_one(state: State, ts: float, keys: Keys, event: CallEvent) -> None:
            item = keys[item_at]
            last = state[slot]
            if last is None:
                last = state[slot] = OrderedDict()
            while last and next(iter(last.values())) < ts - longest:
                last.popitem(last=False)
            last[item] = ts
            last.move_to_end(item)

        def write_several(state: State, ts: float, keys: Keys, event: CallEvent) -> None:
            item = keys[item_at]
            last = state[slot]
            if last is None:
                last = state[slot] = _Sorted()
            times = last.times
            before = last.get(item)
            if before is not None:
                del times[bisect_left(times, before)]
            last[item] = ts
            last.move_to_end(item)
            times.append(ts)
            if times[0] < ts - longest:
                gone = bisect_left(times, ts - longest)
                del times[:gone]
                for _ in range(gone):
                    last.popitem(last=False)

        return write_several if len(self.lengths) > 1 else write_one

    def reader(self, lengths: list[tuple[int, int]]) -> Read:
        slot, all_lengths = self.slot, self.lengths

        def read(state: State, ts: float, keys: Keys, values: list[float]) -> None:
            last = state[slot]
            if last is None:
                return
            if len(all_lengths) > 1:
                times = last.times
                size = len(times)
                for place, over in lengths:
                    values[place] = size - bisect_left(times, ts - over)
                return
            while last and next(iter(last.values())) < ts - lengths[0][1]:
                last.popitem(last=False)
            for place, _ in lengths:
                values[place] = len(last)

        return read


class _Sorted(OrderedDict[Any, float]):
    """Items with their last times, and those times by themselves, sorted."""

    __slots__ = ("times",)

    def __init__(self) -> None:
        self.times: list[float] = []


class _Sequential:
    """The number called before, and the times of calls to a number next to it."""

    def __init__(self, slot: int, item: int, over: int, step: int) -> None:
        self.slot, self.item, self.over, self.step = slot, item, over, step

    def write(self, state: State, ts: float, keys: Keys, event: CallEvent) -> None:
        text = keys[self.item]
        number = int("1" + text[1:]) if _is_e164(text) else 0
        known = state[self.slot]
        if known is None:
            state[self.slot] = [number, deque()]
            return
        before, times = known
        known[0] = number
        if number and before and 1 <= abs(number - before) <= self.step:
            times.append(ts)


def _read_sequential(slot: int, over: int, place: int) -> Read:
    def read(state: State, ts: float, keys: Keys, values: list[float]) -> None:
        known = state[slot]
        if known is not None:
            times = known[1]
            while times and times[0] < ts - over:
                times.popleft()
            values[place] = len(times)

    return read


def _share(part: int, whole: int, over: int, place: int) -> Read:
    def read(state: State, ts: float, keys: Keys, values: list[float]) -> None:
        times = state[whole]
        if times:
            since = ts - over
            below = len(times) - bisect_left(times, since)
            if below:
                times = state[part]
                values[place] = (len(times) - bisect_left(times, since)) / below if times else 0.0

    return read


def _add_amount(slot: int, of: str, over: int) -> Write:
    """Sums are kept in thousandths: whole numbers come out the same whatever was added and taken away again."""
    amount = attrgetter(of)

    def write(state: State, ts: float, keys: Keys, event: CallEvent) -> None:
        thousandths = round(1000 * amount(event))
        kept = state[slot]
        if kept is None:
            state[slot] = [deque(((ts, thousandths),)), thousandths]
            return
        items = kept[0]
        while items and items[0][0] < ts - over:
            kept[1] -= items.popleft()[1]
        items.append((ts, thousandths))
        kept[1] += thousandths

    return write


def _read_amount(slot: int, over: int, place: int, *, mean: bool) -> Read:
    def read(state: State, ts: float, keys: Keys, values: list[float]) -> None:
        kept = state[slot]
        if kept is None:
            return
        items = kept[0]
        while items and items[0][0] < ts - over:
            kept[1] -= items.popleft()[1]
        if not mean:
            values[place] = kept[1] / 1000
        elif items:
            values[place] = kept[1] / 1000 / len(items)

    return read


def _add_maximum(slot: int, of: str) -> Write:
    """Only what nothing later exceeds is kept: the largest stands first."""
    amount = attrgetter(of)

    def write(state: State, ts: float, keys: Keys, event: CallEvent) -> None:
        size = amount(event)
        items = state[slot]
        if items is None:
            items = state[slot] = deque()
        while items and items[-1][1] <= size:
            items.pop()
        items.append((ts, size))

    return write


def _read_maximum(slot: int, over: int, place: int) -> Read:
    def read(state: State, ts: float, keys: Keys, values: list[float]) -> None:
        items = state[slot]
        if items is None:
            return
        while items and items[0][0] < ts - over:
            items.popleft()
        if items:
            values[place] = items[0][1]

    return read


def _add_open(slot: int, item: int) -> Write:
    def write(state: State, ts: float, keys: Keys, event: CallEvent) -> None:
        calls = state[slot]
        if calls is None:
            calls = state[slot] = OrderedDict()
        calls[keys[item]] = ts
        calls.move_to_end(keys[item])

    return write


def _read_open(slot: int, over: int, place: int) -> Read:
    def read(state: State, ts: float, keys: Keys, values: list[float]) -> None:
        calls = state[slot]
        if calls:
            while calls and next(iter(calls.values())) < ts - over:
                calls.popitem(last=False)
            values[place] = len(calls)

    return read


def _add_repeat(slot: int, item: int, over: int) -> Write:
    def write(state: State, ts: float, keys: Keys, event: CallEvent) -> None:
        known = state[slot]
        if known is not None and known[0] == keys[item] and ts - known[2] <= over:
            known[1] += 1
            known[2] = ts
        else:
            state[slot] = [keys[item], 1, ts]

    return write


def _read_repeat(slot: int, item: int, over: int, place: int) -> Read:
    def read(state: State, ts: float, keys: Keys, values: list[float]) -> None:
        known = state[slot]
        if known is not None and known[0] == keys[item] and ts - known[2] <= over:
            values[place] = known[1]

    return read


def _set_first(slot: int) -> Write:
    def write(state: State, ts: float, keys: Keys, event: CallEvent) -> None:
        if state[slot] is None:
            state[slot] = ts

    return write


def _set_last(slot: int) -> Write:
    def write(state: State, ts: float, keys: Keys, event: CallEvent) -> None:
        state[slot] = ts

    return write


def _since(slot: int, place: int) -> Read:
    def read(state: State, ts: float, keys: Keys, values: list[float]) -> None:
        then = state[slot]
        if then is not None:
            values[place] = ts - then

    return read


def _is_new(states: dict[Any, State], slot: int, key: int, within: int) -> Callable[[Keys, float], bool]:
    def is_new(keys: Keys, ts: float) -> bool:
        if not keys[key]:
            return False
        state = states.get(keys[key])
        if state is None or state[slot] is None:
            return True
        return within > 0 and bool(state[slot] >= ts - within)

    return is_new


def _is_new_pair(
    states: dict[Any, State], slot: int, caller: int, callee: int, over: int
) -> Callable[[Keys, float], bool]:
    def is_new(keys: Keys, ts: float) -> bool:
        if not keys[caller] or not keys[callee]:
            return False
        state = states.get(keys[caller])
        if state is None or state[slot] is None:
            return True
        last = state[slot].get(keys[callee])
        return last is None or last < ts - over

    return is_new
