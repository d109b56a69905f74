"""What lists are looked up in: one table a list, made from its entries, changed at run time without compiling anything.

Every table answers the same question, ``until(text, otherwise)``: the latest second at which an entry that takes in
the text ends. Small lists are dictionaries. Large ones are sorted spans without overlap in plain arrays (16 to 60 bytes
an entry, where a dictionary takes about 100) and a small directory that leads to the right few of them.

``amend`` puts run-time changes over the entries of the files: an addition lengthens or adds, never shortens; a removal
hides exactly the entry that it names. Each call gives all changes of the list and replaces those of the last call.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from antifraud.rulekit.entries import DIGITS, FOREVER, POWERS, SMALL, Columns, Span, span_of
from antifraud.rulekit.interpreter import NEVER, Lookup

_MEMORY: Final = 4_096
_LONGEST: Final = DIGITS + 1
_SHARED: Final = 4
"""How many spans share a block of the directory, more or less."""
_GRAM: Final = 4
_DEPTH: Final = {width: DIGITS - power for power, width in enumerate(POWERS)}
"""How many digits are given where so many numbers begin with them."""
_DIRECTORY: Final = 20_000
"""From how many spans on a directory pays."""


_FEW: Final = 200_000
"""Up to how many entries a dictionary is taken: quicker, and no more than some 25 MB."""
_NONE: Final = array("B")


class Table(ABC):
    """One list as it is looked up. ``until`` stays the same object for the table's whole life."""

    until: Lookup

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._touched: set[str] = set()

    def amend(self, added: Mapping[str, float], removed: Collection[str]) -> None:
        """Put these run-time changes, of plain entries, in the place of those of the last call."""
        touched = {*added, *removed}
        for plain in self._touched | touched:
            ends = NEVER if plain in removed else self._columns.find(plain)[0]
            self._put(plain, max(ends, added.get(plain, NEVER)))
        self._touched = touched

    @abstractmethod
    def _put(self, plain: str, ends: float) -> None:
        """From now on the entry ends then; NEVER: it is not there."""


class _Numbers(Table):
    """Few numbers: a dictionary, whose own ``get`` is the quickest that there is."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._entries = {plain: ends for plain, ends, _line in columns.plain()}
        self.until = self._entries.get

    def _put(self, plain: str, ends: float) -> None:
        if ends == NEVER:
            self._entries.pop(plain, None)
        else:
            self._entries[plain] = ends


class Beginnings:
    """Beginnings of texts: one dictionary probe for each length that occurs."""

    def __init__(self, entries: Iterable[tuple[str, float]] = ()) -> None:
        self._entries: dict[str, float] = {}
        self._counts: Counter[int] = Counter()
        self.lengths: tuple[int, ...] = ()
        for text, ends in entries:
            self._entries[text] = ends
            self._counts[len(text)] += 1
        self.lengths = tuple(sorted(self._counts))

    def put(self, text: str, ends: float) -> None:
        """From now on the beginning ends then; NEVER: it is not there."""
        before = self._entries.pop(text, NEVER)
        if ends != NEVER:
            self._entries[text] = ends
        self._counts[len(text)] += (ends != NEVER) - (before != NEVER)
        self.lengths = tuple(sorted(length for length, count in self._counts.items() if count))

    def until(self, text: str, otherwise: float) -> float:
        """The latest end among the beginnings of ``text``."""
        latest, entries = otherwise, self._entries
        for length in self.lengths:
            ends = entries.get(text[:length], NEVER)
            if ends > latest:
                latest = ends
        return latest


class _Prefixes(Table):
    """Few beginnings of numbers."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._entries = Beginnings((plain, ends) for plain, ends, _line in columns.plain())
        self.until = self._entries.until

    def _put(self, plain: str, ends: float) -> None:
        self._entries.put(plain, ends)


class _Remembering(Table):
    """Remembers its last few thousand answers; the memory is emptied as a whole when somebody fills it."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._memory: dict[str, float] = {}
        self.until = self._until

    def amend(self, added: Mapping[str, float], removed: Collection[str]) -> None:
        super().amend(added, removed)
        self._memory.clear()

    def _until(self, text: str, otherwise: float) -> float:
        found = self._memory.get(text)
        if found is None:
            found = self._search(text)
            if len(self._memory) >= _MEMORY:
                self._memory.clear()
            self._memory[text] = found
        if found > otherwise:
            return found
        return otherwise

    @abstractmethod
    def _search(self, text: str) -> float: ...


class _Trunks(_Remembering):
    """Names of trunks, some with a * at their end."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._exact: dict[str, float] = {}
        self._open = Beginnings((name[:-1], ends) for name, ends, _ in columns.plain() if name.endswith("*"))
        self._exact.update({name: ends for name, ends, _ in columns.plain() if not name.endswith("*")})

    def _put(self, plain: str, ends: float) -> None:
        if plain.endswith("*"):
            self._open.put(plain[:-1], ends)
        elif ends == NEVER:
            self._exact.pop(plain, None)
        else:
            self._exact[plain] = ends

    def _search(self, text: str) -> float:
        return self._open.until(text, self._exact.get(text, NEVER))


class _Agents(_Remembering):
    """Pieces of user agents, recognised anywhere and whatever the case.

    Pieces are kept by their first four letters, so that a user agent costs its own length, however long the list is.
    """

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._grams: dict[str, Beginnings] = {}
        by_gram: dict[str, list[tuple[str, float]]] = {}
        for piece, ends, _line in columns.plain():
            by_gram.setdefault(piece[:_GRAM], []).append((piece, ends))
        for gram, pieces in by_gram.items():
            self._grams[gram] = Beginnings(pieces)

    def _put(self, plain: str, ends: float) -> None:
        self._grams.setdefault(plain[:_GRAM], Beginnings()).put(plain, ends)

    def _search(self, text: str) -> float:
        folded, grams, latest = text.casefold(), self._grams, NEVER
        for at in range(len(folded) - _GRAM + 1):
            pieces = grams.get(folded[at : at + _GRAM])
            if pieces is not None:
                latest = pieces.until(folded[at:], latest)
        return latest


class Spans:
    """Spans without overlap, sorted, with the end of each; made by ``flatten``.

    ``depths`` (for beginnings of numbers only) has the digits of the longest of the entries that a span lies in.
    """

    __slots__ = ("base", "blocks", "depths", "ends", "firsts", "lasts", "shift", "starts")

    def __init__(self, firsts: array[int], lasts: array[int], ends: array[float], depths: array[int] = _NONE) -> None:
        self.firsts, self.lasts, self.ends, self.depths = firsts, lasts, ends, depths
        self.base, self.shift, self.blocks = 0, 0, 0
        self.starts = array("I", [0])
        if len(firsts) >= _DIRECTORY:
            self._directory()

    def _directory(self) -> None:
        """Cut the numbers into blocks of equal width and note where the spans of each begin.

        A few outliers at both ends are left to plain bisection, so that one number of another country does not
        stretch the blocks of all others.
        """
        import numpy as np

        firsts = np.frombuffer(self.firsts, dtype=np.int64)
        apart = len(firsts) // 200
        self.base = int(firsts[apart])
        width = int(firsts[-1 - apart]) - self.base
        self.shift = (width // max(1, len(firsts) // _SHARED)).bit_length()
        self.blocks = (width >> self.shift) + 1
        edges = self.base + (np.arange(self.blocks + 1, dtype=np.int64) << self.shift)
        self.starts = array("I", np.searchsorted(firsts, edges).astype(np.uint32).tobytes())

    def find(self, key: int) -> int:
        """The span that ``key`` lies in; -1 when it lies in none."""
        block = (key - self.base) >> self.shift
        if 0 <= block < self.blocks:
            at = bisect_right(self.firsts, key, self.starts[block], self.starts[block + 1]) - 1
        else:
            at = bisect_right(self.firsts, key) - 1
        return at if at >= 0 and self.lasts[at] >= key else -1

    def between(self, low: int, high: int) -> Spans:
        """What of these spans lies between ``low`` and ``high``."""
        chosen = [at for at in range(len(self.firsts)) if self.firsts[at] <= high and self.lasts[at] >= low]
        return Spans(
            array("q", [max(low, self.firsts[at]) for at in chosen]),
            array("q", [min(high, self.lasts[at]) for at in chosen]),
            array("d", [self.end(at) for at in chosen]),
            array("B", [self.depths[at] for at in chosen]) if self.depths else _NONE,
        )

    def end(self, at: int) -> float:
        """The end of span ``at``."""
        return self.ends[at] if self.ends else FOREVER


NO_SPANS: Final = Spans(array("q"), array("q"), array("d"))


def flatten(firsts: array[int], lasts: array[int], ends: array[float], *, depths: bool = False) -> Spans:
    """Entries sorted by their first number, which may overlap, as spans that do not, each with the latest end."""
    if _apart(firsts, lasts):
        return Spans(firsts, lasts, ends, _depths(firsts, lasts) if depths else _NONE)
    out_firsts, out_lasts, out_ends, out_depths = array("q"), array("q"), array("d"), array("B")
    open_ends: list[tuple[float, int]] = []
    open_widths: list[tuple[int, int]] = []
    at, place, count = 0, 0, len(firsts)
    while at < count or open_ends:
        if not open_ends:
            place = firsts[at]
        while at < count and firsts[at] <= place:
            heapq.heappush(open_ends, (-(ends[at] if ends else FOREVER), lasts[at]))
            if depths:
                heapq.heappush(open_widths, (lasts[at] - firsts[at] + 1, lasts[at]))
            at += 1
        while open_ends and open_ends[0][1] < place:
            heapq.heappop(open_ends)
        while open_widths and open_widths[0][1] < place:
            heapq.heappop(open_widths)
        if not open_ends:
            continue
        negative, stop = open_ends[0]
        depth = 0
        if depths:
            width, narrow_stop = open_widths[0]
            depth = _DEPTH[width]
            stop = min(stop, narrow_stop)
        if at < count:
            stop = min(stop, firsts[at] - 1)
        if out_lasts and out_lasts[-1] == place - 1 and out_ends[-1] == -negative and out_depths[-1] == depth:
            out_lasts[-1] = stop
        else:
            out_firsts.append(place)
            out_lasts.append(stop)
            out_ends.append(-negative)
            out_depths.append(depth)
        place = stop + 1
    return Spans(out_firsts, out_lasts, out_ends, out_depths if depths else _NONE)


def _depths(firsts: array[int], lasts: array[int]) -> array[int]:
    return array("B", [_DEPTH[last - first + 1] for first, last in zip(firsts, lasts, strict=True)])


def _apart(firsts: array[int], lasts: array[int]) -> bool:
    if firsts is lasts or len(firsts) < 2:
        return True
    if len(firsts) <= SMALL:
        return all(lasts[at] < firsts[at + 1] for at in range(len(firsts) - 1))
    import numpy as np

    closed = np.frombuffer(lasts, dtype=np.int64)
    opened = np.frombuffer(firsts, dtype=np.int64)
    return bool(np.all(closed[:-1] < opened[1:]))


class _ManyNumbers(Table):
    """Many numbers, sorted; short codes and what was changed at run time stand apart."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        spans = Spans(columns.firsts, columns.firsts, columns.ends)
        self._firsts, self._ends, self._whole = columns.firsts, columns.ends, len(columns.firsts)
        self._base, self._shift, self._blocks, self._starts = spans.base, spans.shift, spans.blocks, spans.starts
        self._apart = {text: ends for text, (ends, _line) in columns.texts.items()}
        self.until = self._until

    def _put(self, plain: str, ends: float) -> None:
        if plain not in self._columns.texts and ends == self._columns.find(plain)[0]:
            self._apart.pop(plain, None)
        else:
            self._apart[plain] = ends

    def _until(self, text: str, otherwise: float) -> float:
        ends = self._apart.get(text)
        if ends is None:
            try:
                key = int(text)
            except ValueError:
                return otherwise
            block = (key - self._base) >> self._shift
            if 0 <= block < self._blocks:
                at = bisect_left(self._firsts, key, self._starts[block], self._starts[block + 1])
            else:
                at = bisect_left(self._firsts, key)
            # Python reads +7_700, 7700 and other digits than ours as numbers too.
            if at == self._whole or self._firsts[at] != key or text != f"+{key}":
                return otherwise
            ends = self._ends[at] if self._ends else FOREVER
        if ends > otherwise:
            return ends
        return otherwise


class _Overlaid(Table):
    """Spans that may overlap, with run-time changes beside them: additions in one small set of spans, and where a
    removed entry was, what is left of the others in another."""

    def __init__(self, columns: Columns, *, depths: bool) -> None:
        super().__init__(columns)
        self._depths = depths
        self._spans = flatten(columns.firsts, columns.lasts, columns.ends, depths=depths)
        self._zones, self._left, self._more = NO_SPANS, NO_SPANS, NO_SPANS
        self._removed: frozenset[str] = frozenset()

    def _put(self, plain: str, ends: float) -> None:
        raise AssertionError(f"{plain} until {ends}: these are amended as a whole")

    def amend(self, added: Mapping[str, float], removed: Collection[str]) -> None:
        kind = self._columns.kind
        spans = sorted((span_of(kind, plain) or (0, 0), ends) for plain, ends in added.items() if plain[0] == "+")
        self._more = NO_SPANS
        if spans:
            firsts = array("q", [span[0] for span, _ends in spans])
            lasts = array("q", [span[1] for span, _ends in spans])
            self._more = flatten(firsts, lasts, array("d", [ends for _span, ends in spans]))
        if self._removed != frozenset(removed):
            self._removed = frozenset(removed)
            self._cut_out([span for span in (span_of(kind, plain) for plain in removed) if span is not None])

    def _cut_out(self, removed: Sequence[Span]) -> None:
        """Work out anew what holds where removed entries were."""
        columns, gone = self._columns, set(removed)
        zones: list[list[int]] = []
        for first, last in sorted(gone):
            if zones and first <= zones[-1][1]:
                zones[-1][1] = max(zones[-1][1], last)
            else:
                zones.append([first, last])
        firsts, lasts = array("q"), array("q")
        ends, depths = array("d"), array("B")
        for low, high in zones:
            pieces = [
                (columns.firsts[at], columns.lasts[at], columns.end(at))
                for at in columns.covering(low, high)
                if (columns.firsts[at], columns.lasts[at]) not in gone
            ]
            left = flatten(
                array("q", [first for first, _last, _end in pieces]),
                array("q", [last for _first, last, _end in pieces]),
                array("d", [end for _first, _last, end in pieces]),
                depths=self._depths,
            ).between(low, high)
            firsts.extend(left.firsts)
            lasts.extend(left.lasts)
            ends.extend([left.end(at) for at in range(len(left.firsts))])
            depths.extend(left.depths)
        self._left = Spans(firsts, lasts, ends, depths)
        opened, closed = array("q", [low for low, _high in zones]), array("q", [high for _low, high in zones])
        self._zones = Spans(opened, closed, array("d"))


class _Ranges(_Overlaid):
    """Ranges of numbers."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns, depths=False)
        self.until = self._until

    def _until(self, text: str, otherwise: float) -> float:
        try:
            key = int(text)
        except ValueError:
            return otherwise
        spans = self._spans
        if self._zones.firsts and self._zones.find(key) >= 0:
            spans = self._left
        block = (key - spans.base) >> spans.shift
        if 0 <= block < spans.blocks:
            at = bisect_right(spans.firsts, key, spans.starts[block], spans.starts[block + 1]) - 1
        else:
            at = bisect_right(spans.firsts, key) - 1
        ends = otherwise
        if at >= 0 and spans.lasts[at] >= key:
            ends = spans.ends[at] if spans.ends else FOREVER
        if self._more.firsts:
            at = self._more.find(key)
            if at >= 0:
                ends = max(ends, self._more.end(at))
        # Python reads +7_700, 7700 and other digits than ours as numbers too.
        return ends if ends > otherwise and text == f"+{key}" else otherwise


class _ManyPrefixes(_Overlaid):
    """Many beginnings of numbers, as spans of fifteen-digit numbers; those without + as texts."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns, depths=True)
        self._short = Beginnings((text, ends) for text, (ends, _line) in columns.texts.items())
        self._added = Beginnings()
        self.until = self._until

    def amend(self, added: Mapping[str, float], removed: Collection[str]) -> None:
        super().amend({}, removed)
        spans = {plain: ends for plain, ends in added.items() if plain[0] == "+"}
        self._added = Beginnings(spans.items())
        texts = self._columns.texts
        for plain in self._touched | {*added, *removed}:
            if plain[0] != "+":
                ends = NEVER if plain in removed else texts.get(plain, (NEVER, 0))[0]
                self._short.put(plain, max(ends, added.get(plain, NEVER)))
        self._touched = {*added, *removed}

    def _until(self, text: str, otherwise: float) -> float:
        if text[:1] != "+":
            return self._short.until(text, otherwise)
        digits = text[1:_LONGEST]
        if not (digits.isdigit() and digits.isascii()):
            digits = _leading_digits(digits)
            if not digits:
                return otherwise
        key = int(digits) * POWERS[DIGITS - len(digits)]
        spans = self._spans
        if self._zones.firsts and self._zones.find(key) >= 0:
            spans = self._left
        block = (key - spans.base) >> spans.shift
        if 0 <= block < spans.blocks:
            at = bisect_right(spans.firsts, key, spans.starts[block], spans.starts[block + 1]) - 1
        else:
            at = bisect_right(spans.firsts, key) - 1
        if self._added.lengths:
            otherwise = self._added.until(text, otherwise)
        if at < 0 or spans.lasts[at] < key:
            return otherwise
        if spans.depths[at] > len(digits):
            return self._step_by_step(digits, otherwise)
        ends = spans.ends[at] if spans.ends else FOREVER
        if ends > otherwise:
            return ends
        return otherwise

    def _step_by_step(self, digits: str, otherwise: float) -> float:
        """Of a text that is shorter than entries that go on from it with zeros."""
        for length in range(1, len(digits) + 1):
            plain = f"+{digits[:length]}"
            if digits[0] != "0" and plain not in self._removed and length < DIGITS:
                otherwise = max(otherwise, self._columns.find(plain)[0])
        return otherwise


def _leading_digits(text: str) -> str:
    for at, char in enumerate(text):
        if not "0" <= char <= "9":
            return text[:at]
    return text


def table_of(columns: Columns, *, small: int = _FEW) -> Table:
    """The table for these entries; ``small`` says up to how many of them a dictionary is taken."""
    few = len(columns) <= small
    match columns.kind:
        case "numbers":
            return _Numbers(columns) if few else _ManyNumbers(columns)
        case "prefixes":
            return _Prefixes(columns) if few else _ManyPrefixes(columns)
        case "ranges":
            return _Ranges(columns)
        case "trunks":
            return _Trunks(columns)
        case _:
            return _Agents(columns)
