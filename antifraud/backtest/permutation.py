"""Labelled events with the names in them permuted: what is left of a verdict when a name no longer says anything.

Two ways. *Renamed*: a random bijection of the names that occur, one name for another wherever it stands. Who belongs
together stays together, so windows count as before; what knew a name by heart is lost. *Shuffled*: each call takes
the name of another call, so that nobody belongs together by it any more. What stays in both: which calls have a name at
all, the class of a trunk, and what the dial plan says of a number; those are facts, not names.

Events are read twice: once for the names, once to change them. The same events and seed give the same result.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, Literal, TypeVar

import msgspec
import numpy as np

from antifraud.backtest.systems import Labelled, Truth
from antifraud.domain import CallEvent, EventKind, UsageError
from antifraud.numbering import NumberFacts, Numbering

How = Literal["renamed", "shuffled"]
HOWS: Final[tuple[How, ...]] = ("renamed", "shuffled")
#: What can be permuted, and the fields that belong to it; ``prefix`` is about the numbers themselves.
WHAT: Final[dict[str, tuple[str, ...]]] = {
    "trunk": ("trunk",),
    "fingerprint": ("fingerprint", "user_agent"),
    "prefix": ("caller_raw", "callee_raw", "caller", "callee", "asserted"),
    "src_ip": ("src_ip",),
}

_MOST_CALLS: Final = 2_000_000
_MOST_NUMBERS: Final = 5_000_000
_MOST_NAMES: Final = 1_000_000
#: The last four digits are a line, the three before them its block of 10,000; what stands before both is kept.
_LINE: Final = 4
_BLOCK: Final = 3
#: "+", and a country code with an area code at the least, before block and line: shorter ones are short codes.
_SHORTEST: Final = 11

Value = TypeVar("Value")


class Permuted(msgspec.Struct, frozen=True):
    """An event with other names in it, and the truth about its call."""

    event: CallEvent
    truth: Truth


def wanted_permutations(text: str) -> tuple[str, ...]:
    """The parts of "trunk,fingerprint"; UsageError for one that is not known or named twice."""
    found = tuple(part for part in (piece.strip() for piece in text.split(",")) if part)
    for part in found:
        if part not in WHAT:
            raise UsageError(f"{part[:40]!r} cannot be permuted", hint=f"name some of {', '.join(WHAT)}")
    if len(set(found)) != len(found):
        raise UsageError(f"--permute names something twice: {text[:80]!r}", hint="each once")
    return found


def permuted(
    first: Iterable[Labelled],
    again: Iterable[Labelled],
    what: str,
    how: How,
    *,
    trunk_class: Callable[[str], str],
    numbering: Numbering,
    seed: int = 1,
) -> Iterator[Permuted]:
    """The events of ``again`` with ``what`` of them permuted; ``first`` are the same events, to learn the names from.

    UsageError for more calls, names or numbers than fit in memory.
    """
    rng = np.random.default_rng([seed, zlib.crc32(f"{what} {how}".encode())])
    change: Callable[[CallEvent], CallEvent]
    if what == "prefix":
        change = _Numbers(first, how, rng, numbering, trunk_class).changed
    elif how == "renamed":
        change = _Renamed(first, WHAT[what], rng, trunk_class).changed
    else:
        change = _Shuffled(first, WHAT[what], rng, trunk_class).changed
    for item in again:
        yield Permuted(change(item.event), item.truth)


class _Strata(Generic[Value]):
    """Values in groups; only within a group does one take the place of another."""

    def __init__(self, most: int, what: str) -> None:
        self._groups: dict[object, dict[Value, None]] = {}
        self._count, self._most, self._what = 0, most, what

    def add(self, group: object, value: Value) -> None:
        values = self._groups.setdefault(group, {})
        if value not in values:
            self._count += 1
            if self._count > self._most:
                raise UsageError(
                    f"more than {self._most:,} different {self._what} in the events", hint="permute fewer calls"
                )
            values[value] = None

    def bijection(self, rng: np.random.Generator) -> dict[object, dict[Value, Value]]:
        """For each group a random one-to-one mapping of its values onto themselves."""
        found = {}
        for group, values in self._groups.items():
            held = list(values)
            found[group] = {held[at]: held[to] for at, to in enumerate(rng.permutation(len(held)).tolist())}
        return found


class _Renamed:
    """Every name of each field becomes another name of that field; trunks one of their own class."""

    def __init__(
        self,
        events: Iterable[Labelled],
        fields: tuple[str, ...],
        rng: np.random.Generator,
        trunk_class: Callable[[str], str],
    ) -> None:
        self._class = trunk_class
        names: _Strata[str] = _Strata(_MOST_NAMES, "names")
        for item in events:
            for field in fields:
                name = getattr(item.event, field)
                if name:
                    names.add(self._group(field, name), name)
        self._fields, self._to = fields, names.bijection(rng)

    def changed(self, event: CallEvent) -> CallEvent:
        new = {}
        for field in self._fields:
            name = getattr(event, field)
            if name:
                new[field] = self._to[self._group(field, name)][name]
        return msgspec.structs.replace(event, **new) if new else event

    def _group(self, field: str, name: str) -> object:
        return (field, self._class(name) if field == "trunk" else "")


class _Shuffled:
    """Every call takes the names of another call that has some; trunks from calls of the same class of trunk."""

    def __init__(
        self,
        events: Iterable[Labelled],
        fields: tuple[str, ...],
        rng: np.random.Generator,
        trunk_class: Callable[[str], str],
    ) -> None:
        self._fields = fields
        self._rows: dict[str, int] = {}
        self._known: list[tuple[str, ...]] = []
        codes, groups = array("i"), array("i")
        known: dict[tuple[str, ...], int] = {}
        classes: dict[object, int] = {}
        for item in events:
            event = item.event
            if event.kind is not EventKind.SETUP or event.call_id in self._rows:
                continue
            names = tuple(getattr(event, field) for field in fields)
            if not any(names):
                continue
            if len(self._rows) >= _MOST_CALLS:
                raise UsageError(f"more than {_MOST_CALLS:,} calls to shuffle", hint="permute fewer calls")
            self._rows[event.call_id] = len(codes)
            codes.append(known.setdefault(names, len(known)))
            # Names change places among calls that have the same ones, so that who has no name gets none.
            there = tuple(map(bool, names))
            group = (trunk_class(names[0]) if fields == ("trunk",) else "", there)
            groups.append(classes.setdefault(group, len(classes)))
        self._known = list(known)
        place, self._codes = np.array(groups, dtype=np.int64), np.array(codes, dtype=np.int64)
        for code in range(len(classes)):
            these = np.flatnonzero(place == code)
            self._codes[these] = self._codes[rng.permutation(these)]

    def changed(self, event: CallEvent) -> CallEvent:
        row = self._rows.get(event.call_id)
        if row is None:
            return event
        names = self._known[int(self._codes[row])]
        # Answers and releases carry fewer fields than setups: what is not known of them stays so.
        new = {field: name for field, name in zip(self._fields, names, strict=True) if self._takes(event, field)}
        return msgspec.structs.replace(event, **new) if new else event

    @staticmethod
    def _takes(event: CallEvent, field: str) -> bool:
        return event.kind is EventKind.SETUP or bool(getattr(event, field))


class _Numbers:
    """Blocks of 10,000 numbers change places, or callers their numbers, among those of which the dial plan says the
    same. A number is the same wherever it stands: as caller, callee, asserted identity, in a report."""

    def __init__(
        self,
        events: Iterable[Labelled],
        how: How,
        rng: np.random.Generator,
        numbering: Numbering,
        trunk_class: Callable[[str], str],
    ) -> None:
        self._blocks, self._numbering, self._class = how == "renamed", numbering, trunk_class
        self._strata: dict[str, object] = {}
        values: _Strata[str] = _Strata(_MOST_NUMBERS, "numbers")
        for item in events:
            if item.event.kind is EventKind.SETUP:
                self._learn(item.event, values)
        self._to = values.bijection(rng)

    def changed(self, event: CallEvent) -> CallEvent:
        new = {}
        for field in WHAT["prefix"]:
            text = getattr(event, field)
            if text:
                changed = self._written(text, self._facts(event, field, text).number)
                if changed != text:
                    new[field] = changed
        return msgspec.structs.replace(event, **new) if new else event

    def _learn(self, event: CallEvent, values: _Strata[str]) -> None:
        for field in WHAT["prefix"]:
            text = getattr(event, field)
            if not text:
                continue
            facts = self._facts(event, field, text)
            number = facts.number
            if len(number) < _SHORTEST or not number[1:].isdigit():
                continue
            key = number[:-_LINE] if self._blocks else number
            if not self._blocks and field.startswith("callee"):
                continue  # only callers change their numbers, then also where they are called
            if key not in self._strata:
                head = number[: -_LINE - _BLOCK]
                # A block's facts are those of the first of its numbers that is met.
                self._strata[key] = (head, len(number), facts.valid, facts.type, facts.operator, facts.region)
                values.add(self._strata[key], key)

    def _facts(self, event: CallEvent, field: str, text: str) -> NumberFacts:
        abroad = not field.startswith("callee") and bool(event.trunk) and self._class(event.trunk) == "international"
        return self._numbering.facts(text, international=abroad)

    def _written(self, text: str, number: str) -> str:
        key = number[:-_LINE] if self._blocks else number
        stratum = self._strata.get(key)
        if stratum is None:
            return text
        new = self._to[stratum][key] + (number[-_LINE:] if self._blocks else "")
        tail = _LINE + _BLOCK
        at = text.rfind(number[-tail:])
        # As the switch wrote it, with other digits; where it puts marks between digits, in full.
        return new if at < 0 else text[:at] + new[-tail:] + text[at + tail :]
