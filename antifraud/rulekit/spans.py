"""Spans of numbers that may overlap made into ones that do not, and the directory that leads to the right few of them.

Spans without overlap lie in one sorted array of keys: in turn the first number of a span and the one behind its last.
How many of them are not greater than a number says all: it lies in a span when that count is odd. So a look-up reads
one place of memory, and entries that are apart anyway are looked up where they are kept.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from antifraud.rulekit.entries import POWERS
from antifraud.rulekit.interpreter import NEVER
from antifraud.rulekit.sorted_entries import BITS, SMALL, Columns, Ends, Keys

_SHARED: Final = 8
"""How many keys share a block of the directory, more or less."""
_OUTLIERS: Final = 200
"""The share of the keys, at either end, that may lie far from all others."""

Piece = tuple[int, int, float]
"""First number, the one behind the last, and the second at which it ends."""
_LENGTHENED: Final = frozenset(POWERS)
"""No span goes on from numbers to those with a digit more."""
_NOTHING: Final[Piece] = (0, 0, NEVER)
_BEYOND: Final[Piece] = (1 << 62, 1 << 62, NEVER)


def without_overlap(columns: Columns) -> tuple[Keys, Ends]:
    """The spans of ``columns`` as keys of spans without overlap, with the latest end of each."""
    if columns.apart:
        return columns.keys, columns.ends
    if columns.ends.one:
        return _union(columns.keys), columns.ends
    numbers = {end: number for number, end in enumerate(columns.ends.moments)}
    keys, seconds = array("q"), array("d")
    for first, stop, end in sweep(_pieces(columns)):
        keys.append(first << BITS | numbers.get(end, 0))
        keys.append(stop << BITS)
        if columns.ends.seconds:
            seconds.append(end)
    return _laid_out(keys), Ends(columns.ends.moments, seconds)


def _pieces(columns: Columns) -> Iterator[Piece]:
    for at, (first, stop) in enumerate(zip(columns.firsts, columns.stops, strict=True)):
        yield first >> BITS, stop >> BITS, columns.ends.of(first, at)


def _laid_out(keys: Keys) -> Keys:
    if len(keys) <= SMALL:
        return keys
    import numpy as np

    return np.frombuffer(keys, dtype=np.int64).copy().data


def _union(keys: Keys) -> Keys:
    """What any of the spans takes in; all of them hold for good."""
    if len(keys) <= SMALL:
        merged = array("q")
        for at in range(0, len(keys), 2):
            if merged and keys[at] < merged[-1]:
                merged[-1] = max(merged[-1], keys[at + 1])
            else:
                merged.extend(keys[at : at + 2])
        return merged
    import numpy as np

    placed = np.frombuffer(keys, dtype=np.int64)
    reach = np.maximum.accumulate(placed[1::2])
    begins = np.flatnonzero(placed[2::2] >= reach[:-1]) + 1
    made = np.empty(2 * len(begins) + 2, dtype=np.int64)
    made[0], made[-1] = placed[0], reach[-1]
    made[2::2], made[1:-1:2] = placed[2 * begins], reach[begins - 1]
    return made.data


def sweep(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Pieces sorted by their first number, which may overlap, as ones that do not, each with the latest end."""
    held: list[tuple[float, int]] = []
    place, ready = 0, _NOTHING
    for first, stop, end in chain(pieces, (_BEYOND,)):
        # What ends last at each place up to where the next piece begins.
        while held and place < first:
            negative, last = held[0]
            if last <= place:
                heapq.heappop(held)
                continue
            upto = min(last, first)
            if ready[1] == place and ready[2] == -negative and place not in _LENGTHENED:
                ready = (ready[0], upto, -negative)
            else:
                if ready is not _NOTHING:
                    yield ready
                ready = (place, upto, -negative)
            place = upto
        place = first
        heapq.heappush(held, (-end, stop))
    if ready is not _NOTHING:
        yield ready


class Directory:
    """Leads into ``keys[low:high]``, which is sorted: blocks of equal width, and where the keys of each begin.

    A few outliers at both ends are left to plain bisection where they would make all blocks much wider.
    """

    __slots__ = ("base", "blocks", "high", "low", "shift", "starts")

    def __init__(self, keys: Keys, low: int, high: int) -> None:
        self.low, self.high = low, high
        count = high - low
        first, last = low, high - 1
        aside = count // _OUTLIERS
        if 2 * (keys[last - aside] - keys[first + aside]) < keys[last] - keys[first]:
            first, last = first + aside, last - aside
        # A number in a block is never less than that of the first key: what is behind it lies behind the base.
        self.base = (keys[first] >> BITS << BITS) + 1
        width = max(0, keys[last] - self.base)
        self.shift = (width // max(1, count // _SHARED)).bit_length()
        self.blocks = (width >> self.shift) + 1
        self.starts = self._starts(keys)

    def _starts(self, keys: Keys) -> Keys:
        after = bisect_left(keys, self.base + (self.blocks << self.shift), self.low, self.high)
        if self.high - self.low <= SMALL:
            starts, at = array("i"), self.low
            for block in range(self.blocks):
                at = bisect_left(keys, self.base + (block << self.shift), at, self.high)
                starts.append(at)
            starts.append(after)
            return starts
        import numpy as np

        placed = np.frombuffer(keys, dtype=np.int64)[self.low : self.high]
        edges = self.base + (np.arange(self.blocks, dtype=np.int64) << self.shift)
        found = np.empty(self.blocks + 1, dtype=np.int32)
        found[:-1], found[-1] = np.searchsorted(placed, edges) + self.low, after
        return found.data

    def before(self, keys: Keys, place: int) -> int:
        """How many of all keys are less than ``place``, which is one that these could have."""
        block = (place - self.base) >> self.shift
        if block < 0:
            return bisect_left(keys, place, self.low, self.starts[0])
        if block >= self.blocks:
            return bisect_left(keys, place, self.starts[-1], self.high)
        return bisect_left(keys, place, self.starts[block], self.starts[block + 1])

    def marked(self, pieces: Iterable[tuple[int, int]]) -> bytearray:
        """For each block, whether one of ``pieces`` (first number, the one behind the last) touches it; empty when
        none touches any."""
        marks = bytearray()
        base, shift, blocks = self.base, self.shift, self.blocks
        for first, stop in pieces:
            begin = max(0, (((first + 1) << BITS) - base) >> shift)
            end = min(blocks, (((stop << BITS) - base) >> shift) + 1)
            if begin < end:
                marks = marks or bytearray(blocks)
                marks[begin:end] = b"\1" * (end - begin)
        return marks
