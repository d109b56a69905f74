"""The entries of one list, millions of them, sorted and held close together.

Spans of numbers lie in one array of *keys*: a number moved up by eleven bits, and in those bits which of the list's
ends it has. People write dates and there are few of them, so an end costs no memory, and no look-up has to go for it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Final, NamedTuple, Union

from antifraud.rulekit.entries import FOREVER, WIDTHS, Span, shown_span, span_of
from antifraud.rulekit.interpreter import NEVER

SMALL: Final = 50_000
"""Up to here plain Python sorts; beyond, numpy, whose memory the system may lay on large pages."""
BITS: Final = 11
MASK: Final = (1 << BITS) - 1

Keys = Union["array[int]", "memoryview"]


def room_for(count: int, typecode: str = "q") -> Keys:
    """Room for so many numbers; where there are many, on the large pages that the system has for numpy."""
    if count <= SMALL:
        return array(typecode, [0]) * count
    import numpy as np

    return np.empty(count, dtype=typecode).data


class Ends(NamedTuple):
    """The seconds at which entries end, by the low bits of their keys.

    A list with more different ends than fit there has them in ``seconds``, by the place of the entry.
    """

    moments: list[float]
    seconds: array[float]

    def of(self, key: int, at: int) -> float:
        """The end of the entry ``at``, whose first key is ``key``."""
        return self.seconds[at] if self.seconds else self.moments[key & MASK]

    @property
    def one(self) -> bool:
        """Whether all entries hold for good."""
        return len(self.moments) == 1 and not self.seconds


class Columns:
    """All entries of one list, sorted. ``lines`` are those of the entries file, and negative those of the list file.

    ``keys`` has those of a list of numbers, and for spans in turn that of the first number of each and that of the one
    behind its last. ``texts`` has what is no span: text → (end, line).
    """

    __slots__ = ("_apart", "_reach", "ends", "keys", "kind", "lines", "texts")

    def __init__(
        self, kind: str, keys: Keys, ends: Ends, lines: array[int], texts: dict[str, tuple[float, int]]
    ) -> None:
        self.kind, self.keys, self.ends, self.lines, self.texts = kind, keys, ends, lines, texts
        self._apart: bool | None = None
        # The last key of any span so far, made when it is first asked for.
        self._reach = array("q")

    def __len__(self) -> int:
        return len(self.lines) + len(self.texts)

    @property
    def step(self) -> int:
        """How many keys an entry has."""
        return 1 if self.kind == "numbers" else 2

    @property
    def firsts(self) -> Sequence[int]:
        """The key of the first number of each span."""
        return memoryview(self.keys)[:: self.step]

    @property
    def stops(self) -> Sequence[int]:
        """The key of the number behind each span; not for numbers."""
        return memoryview(self.keys)[1::2]

    @property
    def apart(self) -> bool:
        """Whether no two spans have a number in common."""
        if self._apart is None:
            self._apart = self.kind == "numbers" or _ascending(self.keys)
        return self._apart

    def span(self, at: int) -> Span:
        """First and last number of span ``at``."""
        first = self.keys[at * self.step] >> BITS
        return (first, first) if self.kind == "numbers" else (first, (self.keys[2 * at + 1] >> BITS) - 1)

    def shown(self, at: int) -> str:
        """The plain entry of span ``at``."""
        return shown_span(self.kind, *self.span(at))

    def end(self, at: int) -> float:
        """The second at which entry ``at`` ends."""
        return self.ends.of(self.keys[at * self.step], at)

    def find(self, plain: str) -> tuple[float, int]:
        """(end, line) of exactly this entry; (NEVER, 0) when it does not stand here."""
        span = span_of(self.kind, plain)
        if span is None:
            return self.texts.get(plain, (NEVER, 0))
        at = self.index(*span)
        return (self.end(at), self.lines[at]) if at >= 0 else (NEVER, 0)

    def index(self, first: int, last: int) -> int:
        """Where the span stands; -1 when it does not."""
        at, stop = self._from(first), self._from(first + 1)
        if self.kind == "numbers":
            return at if at < stop else -1
        at = bisect_left(self.stops, (last + 1) << BITS, at, stop)
        return at if at < stop and self.span(at) == (first, last) else -1

    def all_lines(self) -> Iterator[int]:
        """The line of each entry."""
        return chain(self.lines, (line for _end, line in self.texts.values()))

    def common(self, other: Columns) -> Iterator[tuple[int, int]]:
        """(line, line of ``other``) of each entry that stands in both."""
        place, count = 0, len(other.lines)
        span = other.span(0) if count else (0, 0)
        for at, line in enumerate(self.lines):
            mine = self.span(at)
            while place < count and span < mine:
                place += 1
                span = other.span(place) if place < count else span
            if place == count:
                break
            if span == mine:
                yield line, other.lines[place]
        for text, (_end, line) in self.texts.items():
            if text in other.texts:
                yield line, other.texts[text][1]

    def plain(self) -> Iterator[tuple[str, float, int]]:
        """(plain entry, end, line) of each, spans in order, then texts in the order of the files."""
        for at, line in enumerate(self.lines):
            yield self.shown(at), self.end(at), line
        for text, (end, line) in self.texts.items():
            yield text, end, line

    def covering(self, first: int, last: int) -> list[int]:
        """Where the spans stand that have a number between ``first`` and ``last``."""
        start = self._from(first)
        return [*self._reaching(first, start), *range(start, self._from(last + 1))]

    def crowd(self, first: int, last: int) -> int:
        """How many spans have a number between ``first`` and ``last``."""
        start = self._from(first)
        return len(self._reaching(first, start)) + self._from(last + 1) - start

    def _from(self, number: int) -> int:
        """The first span that begins with ``number`` or behind it."""
        return bisect_left(self.firsts, number << BITS)

    def _reaching(self, number: int, start: int) -> list[int]:
        """Which of the spans before ``start`` have ``number``."""
        if self.kind == "numbers":
            return []
        key = number << BITS
        if self.apart:
            return [start - 1] if start and self.stops[start - 1] > key else []
        if self.kind == "prefixes":
            begins = (number - number % width for width in WIDTHS[2:])
            found = [self.index(first, first + width - 1) for first, width in zip(begins, WIDTHS[2:], strict=True)]
            return sorted(at for at in found if 0 <= at < start)
        if len(self.lines) <= SMALL:
            if not self._reach:
                self._reach = array("q", accumulate(self.stops, max))
            place = bisect_left(self._reach, key + 1, 0, start)
            return [at for at in range(place, start) if self.stops[at] > key]
        import numpy as np

        stops = np.frombuffer(self.keys, dtype=np.int64)[1::2]
        if not self._reach:
            self._reach = array("q", np.maximum.accumulate(stops).tobytes())
        place = bisect_left(self._reach, key + 1, 0, start)
        return [place + int(at) for at in np.flatnonzero(stops[place:start] > key)]


def _ascending(keys: Keys) -> bool:
    if len(keys) <= SMALL:
        return all(before <= after for before, after in pairwise(keys))
    import numpy as np

    placed = np.frombuffer(keys, dtype=np.int64)
    return bool(np.all(placed[:-1] <= placed[1:]))


class Gathering:
    """Entries of one list as they are read, in any order."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.firsts = array("q")
        self.lasts = self.firsts if kind == "numbers" else array("q")
        self.lines = array("i")
        self.texts: dict[str, tuple[float, int]] = {}
        self._moments = {FOREVER: 0}
        # Which of the moments each entry has, or its second itself; nothing while all hold for good.
        self._numbers = array("H")
        self._seconds = array("d")

    def __len__(self) -> int:
        return len(self.firsts) + len(self.texts)

    def add(self, plain: str, ends: float, line: int) -> int:
        """Take a plain entry. The line of an earlier one that is the same text, else 0; spans are compared later."""
        span = span_of(self.kind, plain)
        if span is None:
            earlier = self.texts.get(plain)
            if earlier is not None:
                return earlier[1]
            self.texts[plain] = (ends, line)
            return 0
        if ends != FOREVER or self._numbers or self._seconds:
            self._end(ends)
        self.firsts.append(span[0])
        if self.kind != "numbers":
            self.lasts.append(span[1])
        self.lines.append(line)
        return 0

    def _end(self, ends: float) -> None:
        if self._seconds:
            self._seconds.append(ends)
            return
        if not self._numbers:
            self._numbers = array("H", [0]) * len(self.lines)
        number = self._moments.setdefault(ends, len(self._moments))
        if number <= MASK:
            self._numbers.append(number)
            return
        moments = list(self._moments)
        self._seconds = array("d", map(moments.__getitem__, self._numbers))
        self._seconds.append(ends)
        self._moments, self._numbers = {FOREVER: 0}, array("H")

    def sorted(self) -> tuple[Columns, list[Span]]:
        """The columns, and (line, earlier line) of entries that stand there twice."""
        firsts, lasts, numbers = self.firsts, self.lasts, self._numbers
        keys: Keys
        if len(firsts) <= SMALL:
            order: Any = sorted(range(len(firsts)), key=lambda at: (firsts[at], lasts[at]))
            same = [at for at in range(1, len(order)) if self._equal(order[at - 1], order[at])]
            keys = array("q")
            for at in order:
                keys.append(firsts[at] << BITS | (numbers[at] if numbers else 0))
                if self.kind != "numbers":
                    keys.append((lasts[at] + 1) << BITS)
        else:
            keys, order, same = self._sorted_by_numpy()
        lines = _ordered(self.lines, order)
        ends = Ends(list(self._moments), _ordered(self._seconds, order))
        return Columns(self.kind, keys, ends, lines, self.texts), [(lines[at], lines[at - 1]) for at in same]

    def _equal(self, one: int, other: int) -> bool:
        return self.firsts[one] == self.firsts[other] and self.lasts[one] == self.lasts[other]

    def _sorted_by_numpy(self) -> tuple[Keys, Any, list[int]]:
        import numpy as np

        firsts = np.frombuffer(self.firsts, dtype=np.int64)
        lasts = np.frombuffer(self.lasts, dtype=np.int64)
        step = 1 if self.kind == "numbers" else 2
        order = np.argsort(firsts, kind="stable") if step == 1 else np.lexsort((lasts, firsts))
        keys = np.empty(step * len(firsts), dtype=np.int64)
        keys[::step] = firsts[order]
        if step == 2:
            keys[1::2] = lasts[order] + 1
        same = keys[step:] == keys[:-step]
        twice = np.flatnonzero(same[::2] & same[1::2] if step == 2 else same)[:100] + 1
        keys <<= BITS
        if self._numbers:
            keys[::step] |= np.frombuffer(self._numbers, dtype=np.uint16)[order]
        return keys.data, order, twice.tolist()


def _ordered(values: array[Any], order: Any) -> array[Any]:
    if not values:
        return values
    if len(order) <= SMALL:
        return array(values.typecode, [values[place] for place in order])
    import numpy as np

    made = array(values.typecode, [values[0]]) * len(order)
    given, taken = np.frombuffer(values, dtype=values.typecode), np.frombuffer(made, dtype=values.typecode)
    np.take(given, order, out=taken, mode="clip")
    return made
