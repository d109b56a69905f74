"""The same typed trees over columns instead of rows: for backtests, millions of calls at a time.

As in ``compiler``, three-valued logic costs nothing: every condition is written out as "it is true" or as "it is
false". A missing number is NaN, which fulfils no comparison; a missing text has the code -1, a missing yes/no the value
-1. Whatever a condition asks of a text (equal, one of, begins with, a pattern, a list) is asked once of each different
text and then looked up by its code. Expressions that several rules share are worked out once a block, and blocks are
small enough to stay in the processor's cache.

Numpy is loaded with this module, so the rule commands do not import it.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.rulekit.compiler import OPPOSITE, Clause, make_function
from antifraud.rulekit.interpreter import DAY, NEVER, Interpreter, Lookup
from antifraud.rulekit.patterns import finder
from antifraud.rulekit.tree import (
    BOOL,
    TEXT,
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Holiday,
    Leaf,
    Listed,
    Literal,
    Matches,
    Missing,
    Negative,
    Not,
    OneOf,
    OneOfParam,
    Or,
    Param,
    Prefix,
    Slot,
    TimeBetween,
    Truth,
    Value,
    Weekend,
    atoms_of,
    values_of,
)

BLOCK: Final = 16_384
"""Rows that are worked on at a time."""

_FEW: Final = 8
_ABSENT: Final = -2
_LOCAL: Final = re.compile(r"\bV\d+\b")  # a capital, which no parameter has

Mask = npt.NDArray[np.bool_]


class Coded(msgspec.Struct, frozen=True):
    """A column of texts as a dictionary: ``words[codes[i]]`` is the text of row i, code -1 is missing.

    Words may repeat and need not be sorted: what Arrow and Parquet store as dictionaries fits as it is, with
    ``codes = array.indices.fill_null(-1)`` and ``words = array.dictionary``.
    """

    codes: npt.NDArray[np.int32]
    words: tuple[str, ...]


Column = Coded | npt.ArrayLike
"""Texts: ``Coded``, or text and None. Numbers: NaN or None is missing. Yes/no: True, False, and None, NaN or -1."""


def code_texts(values: Iterable[str | None]) -> Coded:
    """The texts as a dictionary; None is missing."""
    known: dict[str, int] = {}
    codes = [-1 if value is None else known.setdefault(value, len(known)) for value in values]
    return Coded(np.array(codes, dtype=np.int32), tuple(known))


class ColumnRules:
    """Clauses compiled for columns. ``keys`` names them; ``params`` are their parameters at each position."""

    def __init__(self, keys: Sequence[str], clauses: Sequence[Clause], lists: Mapping[str, Lookup]) -> None:
        self.keys = tuple(keys)
        writer = _Writer()
        for position, clause in enumerate(clauses):
            writer.rule(position, clause)
        self._slots = tuple(writer.slots.items())
        self._tables = tuple(writer.tables)
        self._lists = lists
        namespace = {"divide": _divide, "one_of": _one_of}
        self._function: Callable[..., None] = make_function(writer.source(), "<columns>", "block", namespace)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that are looked at."""
        return tuple(slot.name for slot, _ in self._slots)

    def evaluate(self, columns: Mapping[str, Column], n: int, params: Sequence[Mapping[str, Any]]) -> dict[str, Mask]:
        """Which of ``n`` rows each clause is true of; ``params`` are those of each clause.

        A column that is not there is missing everywhere. ValueError for a column of another length.
        """
        found = {slot: _column(slot, columns.get(slot.name), n) for slot, _ in self._slots}
        words = {slot: column.words for slot, column in found.items() if isinstance(column, Coded)}
        arrays = [column.codes if isinstance(column, Coded) else column for column in found.values()]
        tables = [make(words, params, self._lists) for make in self._tables]
        masks = [np.empty(n, dtype=np.bool_) for _ in self.keys]
        with np.errstate(all="ignore"):
            for start in range(0, n, BLOCK):
                part = slice(start, start + BLOCK)
                self._function([array[part] for array in arrays], tables, params, [mask[part] for mask in masks])
        return dict(zip(self.keys, masks, strict=True))


def _column(slot: Slot, given: Column | None, n: int) -> Coded | npt.NDArray[Any]:
    """The column as blocks read it: codes, float64 with NaN, or int8 with -1."""
    if slot.type == TEXT:
        if given is None:
            return Coded(np.full(n, -1, dtype=np.int32), ())
        coded = given if isinstance(given, Coded) else code_texts(np.asarray(given, dtype=object).tolist())
        _check(slot, coded.codes, n)
        if n and (int(coded.codes.max()) >= len(coded.words) or int(coded.codes.min()) < -1):
            raise ValueError(f"the column {slot.name} has codes without words")
        return coded
    if given is None:
        return np.full(n, -1, dtype=np.int8) if slot.type == BOOL else np.full(n, np.nan)
    array = np.asarray(given)
    _check(slot, array, n)
    if slot.type != BOOL:
        return array.astype(np.float64, copy=False)
    if array.dtype == np.bool_ or array.dtype == np.int8:
        return array.view(np.int8)
    numbers = array.astype(np.float64)
    return np.where(np.isnan(numbers), -1.0, numbers).astype(np.int8)


def _check(slot: Slot, array: npt.NDArray[Any], n: int) -> None:
    if array.shape != (n,):
        raise ValueError(f"the column {slot.name} has the shape {array.shape}, expected ({n},)")


def _divide(above: Any, below: Any) -> Any:
    """Division by zero is missing."""
    return np.where(below == 0, np.nan, np.divide(above, below))


def _one_of(number: Any, choices: Sequence[float]) -> Any:
    if len(choices) <= _FEW:
        found = number == choices[0]
        for choice in choices[1:]:
            found = found | (number == choice)
        return found
    return np.isin(number, np.asarray(choices, dtype=np.float64))


_TextLeaf = Compare | OneOf | OneOfParam | Prefix | Matches
"""Leaves that ask about one text."""

# What is worked out once for all blocks: (words of each text column, parameters of each clause, lists) → a table.
_Words = Mapping[Slot, tuple[str, ...]]
_Make = Callable[[_Words, Sequence[Mapping[str, Any]], Mapping[str, Lookup]], Any]


class _Writer:
    """Writes conditions as one straight line of numpy calls; an expression that was written before is used again."""

    def __init__(self) -> None:
        self.slots: dict[Slot, str] = {}
        self.tables: list[_Make] = []
        self._tables: dict[object, str] = {}
        self._lines: list[tuple[str, str]] = []
        self._names: dict[str, str] = {}
        self._position = 0

    def rule(self, position: int, clause: Clause) -> None:
        """The lines that fill mask ``position``."""
        self._position = position
        parts = [self._condition(clause.when, True)]
        for exception, ends in clause.unless:
            assert clause.ts is not None, "a rule with exceptions has the time of the call"
            current = self._let(f"{self._slot(clause.ts)} < {ends!r}")
            spared = self._let(f"{current} & {self._condition(exception, True)}")
            parts.append(self._let(f"~{spared}"))
        self._lines.append(("", f"out[{position}][:] = {self._joined(parts, '&')}"))

    def source(self) -> str:
        """The function; what is not needed any more is let go, so that memory stays bounded."""
        last: dict[str, int] = {}
        for number, (_name, code) in enumerate(self._lines):
            last.update(dict.fromkeys(_LOCAL.findall(code), number))
        loads = [f" {name} = c[{number}]" for number, name in enumerate(self.slots.values())]
        body: list[str] = []
        for number, (name, code) in enumerate(self._lines):
            body.append(f" {name} = {code}" if name else f" {code}")
            gone = [used for used in dict.fromkeys(_LOCAL.findall(code)) if last[used] == number]
            if gone:
                body.append(f" del {', '.join(gone)}")
        return "\n".join(["def block(c, t, p, out):", *loads, *body, " return None"])

    def _let(self, code: str) -> str:
        """The name of the value of ``code``."""
        name = self._names.get(code)
        if name is None:
            name = self._names[code] = f"V{len(self._names)}"
            self._lines.append((name, code))
        return name

    def _slot(self, slot: Slot) -> str:
        return self.slots.setdefault(slot, f"c{len(self.slots)}")

    def _table(self, key: object, make: _Make) -> str:
        name = self._tables.get(key)
        if name is None:
            name = self._tables[key] = f"t[{len(self.tables)}]"
            self.tables.append(make)
        return name

    def _joined(self, parts: Sequence[str], sign: str) -> str:
        """The parts in their order, two at a time, so that rules that begin alike share their beginning."""
        joined = parts[0]
        for part in parts[1:]:
            joined = self._let(f"{joined} {sign} {part}")
        return joined

    def _condition(self, condition: Condition, wanted: bool) -> str:
        match condition:
            case Not(term):
                return self._condition(term, not wanted)
            case And(terms):
                return self._joined([self._condition(term, wanted) for term in terms], "&" if wanted else "|")
            case Or(terms):
                return self._joined([self._condition(term, wanted) for term in terms], "|" if wanted else "&")
            case Between(value, low, high):
                return self._condition(And((Compare("<=", low, value), Compare("<=", value, high))), wanted)
            case _:
                values = values_of(condition)
                varies = any(isinstance(atom, Slot) for value in values for atom in atoms_of(value))
                if varies or isinstance(condition, Listed):
                    return self._leaf(condition, wanted)
                return self._fixed(condition, wanted)

    def _fixed(self, leaf: Leaf, wanted: bool) -> str:
        """A leaf that is the same for all rows."""
        position = self._position

        def make(_words: _Words, params: Sequence[Mapping[str, Any]], lists: Mapping[str, Lookup]) -> Any:
            return np.bool_(Interpreter((), params[position], lists).holds(leaf) is wanted)

        return self._table((position, leaf, wanted), make)

    def _leaf(self, leaf: Leaf, wanted: bool) -> str:
        match leaf:
            case Missing(slot):
                name = self._slot(slot)
                if slot.type in (TEXT, BOOL):
                    return self._let(f"{name} {'<' if wanted else '>='} 0")
                return self._let(f"{name} {'!=' if wanted else '=='} {name}")
            case Truth(Slot() as slot):
                return self._let(f"{self._slot(slot)} == {1 if wanted else 0}")
            case Compare(sign, left, right):
                if _is_text(left) or _is_text(right):
                    return self._same_text(left, right, (sign == "==") == wanted)
                return self._compare(sign if wanted else OPPOSITE[sign], self._value(left), self._value(right))
            case (
                OneOf(Slot(_, _, "text") as slot)
                | OneOfParam(Slot(_, _, "text") as slot)
                | Prefix(Slot() as slot)
                | Matches(Slot() as slot)
            ):
                return self._asked(slot, leaf, wanted)
            case OneOf(value, choices):
                return self._number_in(value, repr(choices), wanted)
            case OneOfParam(value, param):
                return self._number_in(value, self._value(param), wanted)
            case Listed(value, name, ts):
                ends = self._ends(value, name)
                return self._let(f"{ends} {'>' if wanted else '<='} {self._slot(ts)}")
            case TimeBetween() | Weekend() | Holiday():
                return self._timed(leaf, wanted)
            case _:
                raise AssertionError("a leaf without a slot is written before")

    def _compare(self, sign: str, first: str, second: str) -> str:
        if sign == "!=":
            below, above = self._let(f"{first} < {second}"), self._let(f"{first} > {second}")
            return self._let(f"{below} | {above}")
        return self._let(f"{first} {sign} {second}")

    def _number_in(self, value: Value, choices: str, wanted: bool) -> str:
        number = self._value(value)
        found = self._let(f"one_of({number}, {choices})")
        if wanted:
            return found
        known = self._let(f"{number} == {number}")
        return self._let(f"{known} & ~{found}")

    def _asked(self, slot: Slot, leaf: _TextLeaf, wanted: bool) -> str:
        """What the leaf says of each different text, looked up by its code."""
        position = self._position

        def make(words: _Words, params: Sequence[Mapping[str, Any]], _lists: Mapping[str, Lookup]) -> Any:
            answers = np.zeros(len(words[slot]) + 1, dtype=np.bool_)  # the last one is that of a missing text
            asked = map(_test(leaf, params[position]), words[slot])
            answers[:-1] = np.fromiter(asked, dtype=np.bool_, count=len(words[slot]))
            answers[:-1] ^= not wanted
            return answers

        named = any(isinstance(atom, Param) for value in values_of(leaf) for atom in atoms_of(value))
        key = (msgspec.structs.replace(leaf, source=""), position if named else None, wanted)
        return self._let(f"{self._table(key, make)}[{self._slot(slot)}]")

    def _ends(self, value: Value, name: str) -> str:
        """Until when the text of each row is in the list; NaN where the text is missing."""
        if not isinstance(value, Slot):
            position = self._position

            def fixed(_words: _Words, params: Sequence[Mapping[str, Any]], lists: Mapping[str, Lookup]) -> Any:
                return lists[name](Interpreter((), params[position]).value(value), NEVER)

            return self._table(("ends", position, value, name), fixed)
        slot = value

        def make(words: _Words, _params: Sequence[Mapping[str, Any]], lists: Mapping[str, Lookup]) -> Any:
            until = lists[name]
            return np.array([*(until(word, NEVER) for word in words[slot]), np.nan])

        return self._let(f"{self._table(('ends', slot, name), make)}[{self._slot(slot)}]")

    def _same_text(self, left: Value, right: Value, equal: bool) -> str:
        if not isinstance(left, Slot):
            left, right = right, left
        assert isinstance(left, Slot)
        if not isinstance(right, Slot):
            return self._asked(left, Compare("==", left, right), equal)
        first, second = left, right

        def make(words: _Words, _params: Sequence[Mapping[str, Any]], _lists: Mapping[str, Lookup]) -> Any:
            known: dict[str, int] = {}
            codes = [known.setdefault(word, len(known)) for word in (*words[first], *words[second])]
            size = len(words[first])
            # A missing text on either side must differ from all that the other side can be.
            return (
                np.array([*codes[:size], -1], dtype=np.int32),
                np.array([*codes[size:], _ABSENT], dtype=np.int32),
            )

        table = self._table(("codes", first, second), make)
        one = self._let(f"{table}[0][{self._slot(first)}]")
        other = self._let(f"{table}[1][{self._slot(second)}]")
        if equal:
            return self._let(f"{one} == {other}")
        known = self._let(f"{one} >= 0")
        both = self._let(f"{known} & ({other} >= 0)")
        return self._let(f"{both} & ({one} != {other})")

    def _timed(self, leaf: TimeBetween | Weekend | Holiday, wanted: bool) -> str:
        moment = self._let(f"{self._slot(leaf.ts)} + {leaf.offset_s!r}")
        if isinstance(leaf, TimeBetween):
            first, second = self._value(leaf.start), self._value(leaf.end)
            second_of_day = self._let(f"{moment} % {DAY!r}")
            since = self._let(f"({second_of_day} - {first}) % {DAY!r}")
            lasts = self._let(f"({second} - {first}) % {DAY!r}")
            return self._let(f"{since} {'<' if wanted else '>='} {lasts}")
        day = self._let(f"{moment} // {DAY!r}")
        if isinstance(leaf, Weekend):
            weekday = self._let(f"({day} + 3.0) % 7.0")
            return self._let(f"{weekday} {'>=' if wanted else '<'} 5.0")
        found = self._let(f"one_of({day}, {leaf.days!r})") if leaf.days else self._let(f"{day} != {day}")
        if wanted:
            return found
        begun, over = self._let(f"{day} >= {leaf.first!r}"), self._let(f"{day} < {leaf.after!r}")
        return self._let(f"{begun} & {over} & ~{found}")

    def _value(self, value: Value) -> str:
        match value:
            case Literal(inner):
                return f"({inner!r})" if isinstance(inner, float) and inner < 0 else repr(inner)
            case Slot():
                return self._slot(value)
            case Param(name):
                return f"p[{self._position}][{name!r}]"
            case Negative(inner):
                return self._let(f"-{self._value(inner)}")
            case Arithmetic("/", left, right):
                return self._let(f"divide({self._value(left)}, {self._value(right)})")
            case Arithmetic(sign, left, right):
                return self._let(f"{self._value(left)} {sign} {self._value(right)}")


def _test(leaf: _TextLeaf, params: Mapping[str, Any]) -> Callable[[str], bool]:
    """The function that says whether the leaf, which asks about one text, is true of it."""
    match leaf:
        case Compare(_, _, right):
            expected = Interpreter((), params).value(right)
            return functools.partial(operator.eq, expected)
        case OneOf(_, choices):
            return frozenset(choices).__contains__
        case OneOfParam(_, param):
            return frozenset(params[param.name]).__contains__
        case Prefix(_, prefixes):
            chosen = tuple(params[prefixes.name]) if isinstance(prefixes, Param) else prefixes
            return lambda text: text.startswith(chosen)
        case Matches(_, pattern):
            return finder(pattern)


def _is_text(value: Value) -> bool:
    match value:
        case Literal(inner):
            return isinstance(inner, str)
        case Slot(_, _, kind) | Param(_, kind):
            return kind == TEXT
        case _:
            return False
