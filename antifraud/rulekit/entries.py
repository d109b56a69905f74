"""Entries of lists in the form that calls carry, and millions of them held close together, sorted.

A number is a whole number of at most fifteen digits, a beginning of numbers is the span of fifteen-digit numbers that
begin so, a range is the span that it says; names of trunks, pieces of user agents and short codes stay texts. What
an entry is looked up by is in ``tables.py``; here it is checked, kept and found again.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from antifraud.rulekit.interpreter import NEVER
from antifraud.rulekit.messages import Message

KINDS: Final = ("numbers", "prefixes", "ranges", "trunks", "user_agents")
FOREVER: Final = float("inf")
SMALL: Final = 50_000
"""Up to here plain Python sorts and dictionaries look up; beyond, numpy and the compact form."""

DIGITS: Final = 15
"""The most digits of a number in E.164."""
POWERS: Final = tuple(10**power for power in range(DIGITS + 1))

_SEPARATORS: Final = re.compile(r"[ ()\u00a0-]")
_E164: Final = re.compile(r"\+[1-9][0-9]{4,14}\Z")
_SHORT: Final = re.compile(r"[0-9]{2,8}\Z")
_PREFIX: Final = re.compile(r"\+[1-9][0-9]{0,13}\Z")
_TRUNK: Final = re.compile(r"[^\s*][^\s*]{0,62}\*?\Z|[^\s*]\*?\Z")
_JOINED: Final = re.compile(r"(\+[^+]*?)(?:-|\u2013|\.\.)?[ \u00a0]*(\+[^+]*)\Z")
_SPLIT: Final = re.compile(r"[-\u2013]|\.\.")

Span = tuple[int, int]
"""First and last number, both within."""


def plain_entry(kind: str, value: str) -> str | Message:
    """The entry as calls carry it, or what is wrong with it: numbers without spaces, hyphens and brackets.

    A range comes as ``+first-+last``, a piece of a user agent in small letters.
    """
    if kind == "trunks":
        return value if _TRUNK.match(value) else Message.ENTRY_BAD_TRUNK
    if kind == "user_agents":
        return value.casefold() if len(value) >= 4 else Message.ENTRY_SHORT_AGENT
    if kind == "ranges":
        return _plain_range(value)
    plain = _SEPARATORS.sub("", value)
    if kind == "numbers":
        return plain if _E164.match(plain) or _SHORT.match(plain) else Message.ENTRY_NOT_NUMBER
    return plain if _PREFIX.match(plain) or _SHORT.match(plain) else Message.ENTRY_NOT_PREFIX


def plain_range(first: str, last: str) -> str | Message:
    """The range from ``first`` to ``last``, both within; or what is wrong with it."""
    low, high = _SEPARATORS.sub("", first), _SEPARATORS.sub("", last)
    if not _E164.match(low) or not _E164.match(high):
        return Message.ENTRY_NOT_RANGE
    if len(low) != len(high) or low > high:
        return Message.ENTRY_RANGE_ORDER
    return f"{low}-{high}"


def _plain_range(value: str) -> str | Message:
    joined = _JOINED.match(value)
    if joined is not None:
        return plain_range(joined[1], joined[2])
    # A hyphen that does not join two numbers in full may mean anything: +77000000000-99 is no number.
    return Message.ENTRY_NOT_RANGE if _SPLIT.search(value) else plain_range(value, value)


def span_of(kind: str, plain: str) -> Span | None:
    """The span of a plain entry; None for one that stays a text."""
    if not plain.startswith("+") or kind in ("trunks", "user_agents"):
        return None
    if kind == "numbers":
        return int(plain), int(plain)
    if kind == "ranges":
        first, _, last = plain.partition("-")
        return int(first), int(last)
    width = POWERS[DIGITS - len(plain) + 1]
    return int(plain) * width, int(plain) * width + width - 1


def shown_span(kind: str, first: int, last: int) -> str:
    """The plain entry of a span."""
    if kind == "numbers":
        return f"+{first}"
    if kind == "ranges":
        return f"+{first}-+{last}"
    return f"+{first // (last - first + 1)}"


def reach(kind: str, plain: str) -> float:
    """How many numbers of the usual eleven digits a plain entry takes in; trunks and user agents are one."""
    if kind == "ranges":
        first, last = span_of(kind, plain) or (0, 0)
        return last - first + 1
    if kind == "prefixes":
        return 10.0 ** max(0, 11 - len(plain.removeprefix("+")))
    return 1


class Columns:
    """All entries of one list, sorted. ``lines`` are those of the entries file, and negative those of the list file.

    ``ends`` is empty when every entry holds for good. ``texts`` has what is no span: text → (end, line).
    """

    __slots__ = ("_reach", "ends", "firsts", "kind", "lasts", "lines", "texts")

    def __init__(
        self,
        kind: str,
        firsts: array[int],
        lasts: array[int],
        ends: array[float],
        lines: array[int],
        texts: dict[str, tuple[float, int]],
    ) -> None:
        self.kind, self.firsts, self.lasts, self.ends, self.lines, self.texts = (
            kind,
            firsts,
            lasts,
            ends,
            lines,
            texts,
        )
        # The last number of any span so far, made when it is first asked for.
        self._reach = array("q")

    def __len__(self) -> int:
        return len(self.firsts) + len(self.texts)

    def find(self, plain: str) -> tuple[float, int]:
        """(end, line) of exactly this entry; (NEVER, 0) when it does not stand here."""
        span = span_of(self.kind, plain)
        if span is None:
            return self.texts.get(plain, (NEVER, 0))
        at = self.index(*span)
        return (self.end(at), self.lines[at]) if at >= 0 else (NEVER, 0)

    def index(self, first: int, last: int) -> int:
        """Where the span stands; -1 when it does not."""
        at = bisect_left(self.firsts, first)
        stop = bisect_left(self.firsts, first + 1, at)
        at = bisect_left(self.lasts, last, at, stop)
        return at if at < stop and self.lasts[at] == last else -1

    def end(self, at: int) -> float:
        """The second at which entry ``at`` ends."""
        return self.ends[at] if self.ends else FOREVER

    def plain(self) -> Iterator[tuple[str, float, int]]:
        """(plain entry, end, line) of each, spans in order, then texts in the order of the files."""
        for at, (first, last) in enumerate(zip(self.firsts, self.lasts, strict=True)):
            yield shown_span(self.kind, first, last), self.end(at), self.lines[at]
        for text, (end, line) in self.texts.items():
            yield text, end, line

    def covering(self, first: int, last: int) -> list[int]:
        """Where the spans stand that have a number between ``first`` and ``last``."""
        stop = bisect_left(self.firsts, last + 1)
        if self.kind == "numbers":
            return list(range(bisect_left(self.firsts, first), stop))
        if len(self.firsts) <= SMALL:
            if not self._reach:
                self._reach = array("q", accumulate(self.lasts, max))
            return [at for at in range(bisect_left(self._reach, first), stop) if self.lasts[at] >= first]
        import numpy as np

        lasts = np.frombuffer(self.lasts, dtype=np.int64)
        if not self._reach:
            self._reach = array("q", np.maximum.accumulate(lasts).tobytes())
        start = bisect_left(self._reach, first)
        return [start + int(at) for at in np.flatnonzero(lasts[start:stop] >= first)]


class Gathering:
    """Entries of one list as they are read, in any order."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.firsts = array("q")
        self.lasts = self.firsts if kind == "numbers" else array("q")
        self.ends = array("d")
        self.lines = array("i")
        self.texts: dict[str, tuple[float, int]] = {}
        self._limited = False

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
        self.firsts.append(span[0])
        if self.kind != "numbers":
            self.lasts.append(span[1])
        if ends != FOREVER and not self._limited:
            self._limited = True
            self.ends = array("d", [FOREVER]) * (len(self.firsts) - 1)
        if self._limited:
            self.ends.append(ends)
        self.lines.append(line)
        return 0

    def sorted(self) -> tuple[Columns, list[Span]]:
        """The columns, and (line, earlier line) of entries that stand there twice."""
        firsts, lasts, ends, lines = self.firsts, self.lasts, self.ends, self.lines
        if len(firsts) <= SMALL:
            order = sorted(range(len(firsts)), key=lambda at: (firsts[at], lasts[at]))
            firsts, lines = array("q", [firsts[at] for at in order]), array("i", [lines[at] for at in order])
            lasts = firsts if self.kind == "numbers" else array("q", [lasts[at] for at in order])
            ends = array("d", [ends[at] for at in order]) if ends else ends
            same = [at for at in range(1, len(order)) if firsts[at] == firsts[at - 1] and lasts[at] == lasts[at - 1]]
        else:
            firsts, lasts, ends, lines, same = self._sorted_by_numpy()
        columns = Columns(self.kind, firsts, lasts, ends, lines, self.texts)
        return columns, [(lines[at], lines[at - 1]) for at in same]

    def _sorted_by_numpy(self) -> tuple[array[int], array[int], array[float], array[int], list[int]]:
        import numpy as np

        firsts = np.frombuffer(self.firsts, dtype=np.int64)
        lasts = np.frombuffer(self.lasts, dtype=np.int64)
        numbers = self.kind == "numbers"
        order = np.argsort(firsts, kind="stable") if numbers else np.lexsort((lasts, firsts))
        placed, closed = firsts[order], lasts[order]
        same = np.flatnonzero((placed[1:] == placed[:-1]) & (closed[1:] == closed[:-1])) + 1
        out_firsts = array("q", placed.tobytes())
        out_lasts = out_firsts if numbers else array("q", closed.tobytes())
        ends = array("d", np.frombuffer(self.ends)[order].tobytes()) if self.ends else self.ends
        lines = array("i", np.frombuffer(self.lines, dtype=np.int32)[order].tobytes())
        return out_firsts, out_lasts, ends, lines, [int(at) for at in same[:100]]
