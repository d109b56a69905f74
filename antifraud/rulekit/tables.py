"""What lists are looked up in: one table a list, made from its entries, changed at run time without compiling anything.

Every table answers the same question, ``until(text, otherwise)``: the latest second at which an entry that takes in
the text ends. Short lists are dictionaries. Long ones, and ranges, are sorted arrays (16 to 40 bytes an entry, where a
dictionary takes about 100) and a directory that leads to the right few of them.

``amend`` puts run-time changes over the entries of the files: an addition lengthens or adds, never shortens; a removal
hides exactly the entry that it names. Each call gives all changes of the list and replaces those of the last call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Final

from antifraud.rulekit.entries import DIGITS, FOREVER, POWERS, WIDTHS, Span, span_of
from antifraud.rulekit.interpreter import NEVER, Lookup
from antifraud.rulekit.sorted_entries import BITS, MASK, Columns, Keys
from antifraud.rulekit.spans import Directory, Piece, sweep, without_overlap

_MEMORY: Final = 4_096
_GRAM: Final = 4
_PLACES: Final = tuple(width << BITS for width in WIDTHS)
_LEAST: Final = _PLACES[2]
_MOST: Final = _PLACES[1]
"""Between them is what begins with a digit from 1 to 9 and goes on with digits."""
_FEW: Final = {"numbers": 200_000, "prefixes": 10_000}
"""Up to how many entries a dictionary is taken: quicker, and no more than some 25 MB."""


class Table(ABC):
    """One list as it is looked up."""

    _until: Lookup

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._added: dict[str, float] = {}
        self._removed: frozenset[str] = frozenset()

    @property
    def until(self) -> Lookup:
        """What answers; the same for the table's whole life.

        A table that held it would hold itself, and millions of entries would stay until the collector comes by.
        """
        return self._until

    def amend(self, added: Mapping[str, float], removed: Collection[str]) -> None:
        """Put these run-time changes, of plain entries, in the place of those of the last call."""
        hidden = frozenset(removed)
        touched = {plain for plain, _ends in added.items() ^ self._added.items()} | (hidden ^ self._removed)
        self._added, self._removed = dict(added), hidden
        for plain in touched:
            ends = NEVER if plain in hidden else self._columns.find(plain)[0]
            self._put(plain, max(ends, added.get(plain, NEVER)))

    @abstractmethod
    def _put(self, plain: str, ends: float) -> None:
        """From now on the entry ends then; NEVER: it is not there."""


class _Numbers(Table):
    """Few numbers: a dictionary, whose own ``get`` is the quickest that there is."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._entries = {plain: ends for plain, ends, _line in columns.plain()}
        self._until = self._entries.get

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
        self._until = self._entries.until

    def _put(self, plain: str, ends: float) -> None:
        self._entries.put(plain, ends)


class _Remembering(Table):
    """Remembers its last few thousand answers; the memory is emptied as a whole when somebody fills it."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._memory: dict[str, float] = {}

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


class _ManyNumbers(Table):
    """Many numbers, sorted; short codes and what was changed at run time stand apart."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._keys, self._moments, self._seconds = columns.keys, columns.ends.moments, columns.ends.seconds
        self._directories = _by_length(columns.keys, 1)
        self._parts = [_part(directory) for directory in self._directories]
        self._apart = {text: ends for text, (ends, _line) in columns.texts.items()}

    def _put(self, plain: str, ends: float) -> None:
        if plain not in self._columns.texts and ends == self._columns.find(plain)[0]:
            self._apart.pop(plain, None)
        else:
            self._apart[plain] = ends

    def _until(self, text: str, otherwise: float) -> float:
        ends = self._apart.get(text)
        if ends is None:
            try:
                base, shift, blocks, starts, _marks = self._parts[len(text)]
                number = int(text)
            except (IndexError, ValueError):
                return otherwise
            place = number + 1 << BITS
            block = place - base >> shift
            if 0 <= block < blocks:
                at = bisect_left(self._keys, place, starts[block], starts[block + 1]) - 1
            else:
                directory = self._directories[len(text)]
                if directory is None:
                    return otherwise
                at = directory.before(self._keys, place) - 1
                if at < directory.low:
                    return otherwise
            key = self._keys[at]
            # A number of as many digits as the text has behind its first character: that must be the +, and the digits
            # ours, because Python reads 7_700 and other digits than ours as numbers too.
            if key >> BITS != number or text[0] != "+" or not text.isascii():
                return otherwise
            ends = self._seconds[at] if self._seconds else self._moments[key & MASK]
        if ends > otherwise:
            return ends
        return otherwise


class _Overlaid(Table):
    """Spans without overlap, made of those of the files, and run-time changes beside them.

    Changes cut the numbers into pieces. In some the answer is final: where an entry was taken out, what is left of the
    others is worked out at once. In others, where entries were only added, it is the least that there can be. A mark
    on each block of the directory says whether a piece touches it, so all other look-ups cost what they did before.
    """

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._keys, self._ends = without_overlap(columns)
        self._moments, self._seconds = self._ends
        self._points: list[int] = []
        """Where pieces begin and end; ``_floors[n]`` and ``_final[n]`` hold before the n-th of them."""
        self._floors: list[float] = []
        self._final: list[bool] = []
        self._spans: dict[str, Span] = {}
        self._left: dict[Span, tuple[list[Span], list[Piece]]] = {}
        """What is left where entries were taken out: the span → (what of it is hidden, pieces)."""

    def _put(self, plain: str, ends: float) -> None:
        """Nothing: spans are amended as a whole."""

    def amend(self, added: Mapping[str, float], removed: Collection[str]) -> None:
        super().amend(added, removed)
        kind, known = self._columns.kind, self._spans
        spans = {plain: known.get(plain) or span_of(kind, plain) for plain in chain(added, removed)}
        self._spans = {plain: span for plain, span in spans.items() if span is not None}
        more = sorted((span, added[plain]) for plain, span in self._spans.items() if plain in added)
        pieces = list(sweep((first, last + 1, ends) for (first, last), ends in more))
        zones = self._zones(sorted(self._spans[plain] for plain in removed if plain in self._spans))
        self._left = {zone: self._left_in(zone, gone) for zone, gone in zones.items()}
        left = [piece for _gone, found in self._left.values() for piece in found]
        finals = [(first, last + 1) for first, last in self._left]
        finals += [(first, stop) for first, stop, ends in pieces if ends == FOREVER]
        edges = {edge for first, stop, _ends in chain(pieces, left) for edge in (first, stop)}
        points = sorted(edges.union(*finals))
        place = {point: at for at, point in enumerate(points, 1)}
        self._points = points
        self._floors, self._final = [NEVER] * (len(points) + 1), [False] * (len(points) + 1)
        for first, stop in finals:
            for at in range(place[first], place[stop]):
                self._final[at] = True
        for first, stop, ends in chain(pieces, left):
            for at in range(place[first], place[stop]):
                self._floors[at] = max(self._floors[at], ends)
        self._mark([*finals, *((first, stop) for first, stop, _ends in pieces)])

    @abstractmethod
    def _mark(self, pieces: Sequence[Span]) -> None:
        """Mark the blocks that a piece (first number, the one behind its last) touches."""

    @staticmethod
    def _zones(removed: Sequence[Span]) -> dict[Span, list[Span]]:
        """Spans without overlap with the removed entries that each is made of."""
        zones: dict[Span, list[Span]] = {}
        low, high = 0, -1
        gone: list[Span] = []
        for first, last in removed:
            if first > high:
                low, high, gone = first, last, []
            else:
                del zones[low, high]
                high = max(high, last)
            gone.append((first, last))
            zones[low, high] = gone
        return zones

    def _left_in(self, zone: Span, gone: list[Span]) -> tuple[list[Span], list[Piece]]:
        """What the entries of the files come to in ``zone`` without those that are ``gone``; worked out once."""
        known = self._left.get(zone)
        if known is not None and known[0] == gone:
            return known
        columns, (low, high) = self._columns, zone
        spans = [(*columns.span(at), columns.end(at)) for at in columns.covering(low, high)]
        hidden = set(gone)
        return gone, list(sweep((max(low, a), min(high, b) + 1, ends) for a, b, ends in spans if (a, b) not in hidden))

    def _answer(self, number: int, directory: Directory | None) -> float:
        """The latest end at ``number``, with all changes."""
        floor = NEVER
        if self._points:
            piece = bisect_right(self._points, number)
            floor = self._floors[piece]
            if self._final[piece]:
                return floor
        at = directory.before(self._keys, number + 1 << BITS) if directory is not None else 0
        if at & 1:
            return max(floor, self._ends.of(self._keys[at - 1], at >> 1))
        return floor


class _Ranges(_Overlaid):
    """Ranges of numbers."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._directories = _by_length(self._keys, 2)
        self._parts = [_part(directory) for directory in self._directories]

    def _mark(self, pieces: Sequence[Span]) -> None:
        for length, directory in enumerate(self._directories):
            if directory is not None:
                self._parts[length] = _part(directory, directory.marked(pieces))

    def _until(self, text: str, otherwise: float) -> float:
        try:
            base, shift, blocks, starts, marks = self._parts[len(text)]
            number = int(text)
        except (IndexError, ValueError):
            return otherwise
        place = number + 1 << BITS
        block = place - base >> shift
        if not 0 <= block < blocks or (marks and marks[block]):
            ends = self._answer(number, self._directories[len(text)])
            if ends > otherwise and text == f"+{number}":
                return ends
            return otherwise
        at = bisect_left(self._keys, place, starts[block], starts[block + 1])
        # As for numbers: so many digits, and the +, and they are ours.
        if at & 1 and text[0] == "+" and text.isascii():
            ends = self._seconds[at >> 1] if self._seconds else self._moments[self._keys[at - 1] & MASK]
            if ends > otherwise:
                return ends
        return otherwise


class _ManyPrefixes(_Overlaid):
    """Many beginnings of numbers; those without + are short codes and stay texts."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._directory = Directory(self._keys, 0, len(self._keys)) if len(self._keys) else None
        self._part = _part(self._directory)
        self._short = Beginnings((text, ends) for text, (ends, _line) in columns.texts.items())

    def _put(self, plain: str, ends: float) -> None:
        if plain[0] != "+":
            self._short.put(plain, ends)

    def _mark(self, pieces: Sequence[Span]) -> None:
        if self._directory is not None:
            self._part = _part(self._directory, self._directory.marked(pieces))

    def _until(self, text: str, otherwise: float) -> float:
        base, shift, blocks, starts, marks = self._part
        try:
            # To the base of eleven a letter a is what comes behind all digits, and is read so.
            place = (int(text, 11) + 1) * _PLACES[len(text)]
        except (IndexError, ValueError):
            return self._slowly(text, otherwise)
        if text[0] != "+":
            return self._slowly(text, otherwise)
        block = place - base >> shift
        if not 0 <= block < blocks or (marks and marks[block]):
            if not (_LEAST < place <= _MOST and text.isascii()):
                return self._slowly(text, otherwise)
            ends = self._answer((place >> BITS) - 1, self._directory)
        else:
            at = bisect_left(self._keys, place, starts[block], starts[block + 1])
            if not at & 1:
                return otherwise
            if not text.isascii():
                return self._slowly(text, otherwise)
            ends = self._seconds[at >> 1] if self._seconds else self._moments[self._keys[at - 1] & MASK]
        if ends > otherwise:
            return ends
        return otherwise

    def _slowly(self, text: str, otherwise: float) -> float:
        """Of any text: of short codes, and of what is a number only in part or not at all."""
        if text[:1] != "+":
            return self._short.until(text, otherwise) if self._short.lengths else otherwise
        digits = text[1 : DIGITS + 1]
        if not (digits.isdigit() and digits.isascii()):
            digits = _leading_digits(digits)
            if not digits:
                return otherwise
        number = (int(digits, 11) + 1) * WIDTHS[len(digits) + 1] - 1
        return max(otherwise, self._answer(number, self._directory))


def _leading_digits(text: str) -> str:
    for at, char in enumerate(text):
        if not "0" <= char <= "9":
            return text[:at]
    return text


_Part = tuple[int, int, int, Keys, bytearray]
"""Of a directory, all that most look-ups need: its base, shift, blocks, starts and marks."""
_NO_BLOCKS: Final[_Part] = (0, 0, 0, array("i"), bytearray())


def _part(directory: Directory | None, marks: bytearray = _NO_BLOCKS[4]) -> _Part:
    if directory is None:
        return _NO_BLOCKS
    return directory.base, directory.shift, directory.blocks, directory.starts, marks


def _by_length(keys: Keys, step: int) -> list[Directory | None]:
    """A directory for the numbers of each length, counted with the +, so that those of one country stand together.

    Each entry has ``step`` keys.
    """
    firsts = memoryview(keys)[::step]
    edges = [step * bisect_left(firsts, power << BITS) for power in POWERS]
    found = [Directory(keys, low, high) if low < high else None for low, high in pairwise(edges)]
    return [None, None, *found]


def table_of(columns: Columns, *, few: int | None = None) -> Table:
    """The table for these entries; ``few`` says up to how many of them a dictionary is taken."""
    small = len(columns) <= (_FEW.get(columns.kind, 0) if few is None else few)
    match columns.kind:
        case "numbers":
            return _Numbers(columns) if small else _ManyNumbers(columns)
        case "prefixes":
            return _Prefixes(columns) if small else _ManyPrefixes(columns)
        case "ranges":
            return _Ranges(columns)
        case "trunks":
            return _Trunks(columns)
        case _:
            return _Agents(columns)
